//! The state of one scripted server: its tables, its clock, its faults and its counters.
//!
//! Locks: the directory of tables is taken for a moment to find a table, then the table's own lock; never two tables
//! at once, and never a table while waiting.

use super::acting::Deed;
use super::clock::{ServerClock, epoch_millis};
use super::faults::{Call, Faults};
use super::gate::Gate;
use super::model::error::AwsError;
use super::model::schema::TableSpec;
use super::model::table::Table;
use super::payload::Spoil;
use super::rng::mix;
use super::scans::Scans;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a scripted server does with a call when a rule fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 400: ProvisionedThroughputExceededException from DynamoDB, ThrottlingException from Streams, RequestThrottled from
    /// SQS; 503 SlowDown from S3.
    Throttle,
    /// 500 InternalServerError (InternalError of S3, InternalFailure of SQS); nothing is done.
    InternalError,
    /// 400 ValidationException (InvalidRequest of S3) with this message; nothing is done.
    Validation(String),
    /// 400 AccessDeniedException (403 AccessDenied of S3); nothing is done.
    AccessDenied,
    /// Any other error; nothing is done.
    Error(AwsError),
    /// S3, SQS: the call is carried out, and answered with this error.
    ErrorAfterEffect(AwsError),
    /// S3: status 200 and this error as the body, as a long copy fails; nothing is done.
    ErrorInBody(AwsError),
    /// S3: status 200 and this error as the body; the call is carried out nevertheless.
    ErrorInBodyAfterEffect(AwsError),
    /// S3: the answer is right, its body or its checksum is not.
    Spoil(Spoil),
    /// BatchWriteItem and BatchGetItem do the first `keep` entries and return the rest as unprocessed. A batch of SQS fails
    /// the rest, and ReceiveMessage gives no more than these.
    Unprocessed {
        /// Entries that are done.
        keep: usize,
    },
    /// The connection is closed; nothing is done.
    Drop,
    /// The call is carried out, then the connection is closed without an answer.
    LoseAnswer,
    /// The connection is closed first, and the call is carried out this much later: the stray late write of AP-3.
    LoseAnswerLate {
        /// Real time between the two.
        delay: Duration,
    },
    /// As `LoseAnswerLate`, carried out when the test says so: [`super::ScriptedAws::release_held`].
    LoseAnswerHeld,
    /// The call is carried out this much later and then answered; it takes effect even when the client has gone.
    Delay(Duration),
    /// The call is carried out at once and answered this much later.
    SlowAnswer(Duration),
    /// Never answered, never carried out; the connection stays.
    Hang,
    /// Waits at the gate, then is carried out and answered. Not carried out when the client gives up first.
    Hold(Gate),
    /// Is carried out at once; its answer waits at the gate.
    HoldAnswer(Gate),
}

/// A table behind its lock.
#[derive(Debug)]
pub(crate) struct TableCell(Mutex<Table>);

impl TableCell {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic under the lock is a bug of this crate, and the test that caused it fails by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls and written items so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) items_put: AtomicU64,
    pub(crate) items_deleted: AtomicU64,
}

/// A scripted server's state.
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) clock: ServerClock,
    pub(crate) faults: Faults<Fault>,
    pub(crate) counters: Counters,
    pub(crate) scans: Scans,
    tables: RwLock<BTreeMap<String, Arc<TableCell>>>,
    /// Streams outlive their tables.
    streams: RwLock<HashMap<String, Arc<TableCell>>>,
    latency: RwLock<HashMap<String, Duration>>,
    held: Mutex<Vec<Deed>>,
    late: AtomicU64,
    seed: u64,
    made: AtomicU64,
    /// The last stream label given, in milliseconds.
    last_label: AtomicU64,
    /// Where it answers, and where work that outlives a request runs: known when the listener is.
    place: OnceLock<(String, tokio::runtime::Handle)>,
}

fn entered<T>(lock: Result<T, PoisonError<T>>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}

impl Fault {
    /// 412 PreconditionFailed; nothing is done.
    pub fn precondition_failed() -> Self {
        let words = "At least one of the pre-conditions you specified did not hold";
        Self::Error(AwsError::new(412, "PreconditionFailed", words))
    }

    /// 409 ConditionalRequestConflict: another write of the key was faster; nothing is done.
    pub fn conflict() -> Self {
        let words = "The conditional request cannot succeed due to a conflicting operation against this resource.";
        Self::Error(AwsError::new(409, "ConditionalRequestConflict", words))
    }

    /// 404 NoSuchUpload; nothing is done.
    pub fn no_such_upload() -> Self {
        Self::Error(AwsError::new(404, "NoSuchUpload", "The specified upload does not exist."))
    }
}

impl Region {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            clock: ServerClock::default(),
            faults: Faults::new(seed),
            counters: Counters::default(),
            scans: Scans::default(),
            tables: RwLock::default(),
            streams: RwLock::default(),
            latency: RwLock::default(),
            held: Mutex::default(),
            late: AtomicU64::new(0),
            seed,
            made: AtomicU64::new(0),
            last_label: AtomicU64::new(0),
            place: OnceLock::new(),
        }
    }

    /// Tells the region where it answers.
    pub(crate) fn placed(&self, endpoint: String, handle: tokio::runtime::Handle) {
        // It is told once, by the server that owns it.
        drop(self.place.set((endpoint, handle)));
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.place.get().map_or("", |(endpoint, _)| endpoint)
    }

    /// Runs something beside the requests; it ends with the server.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some((_, handle)) = self.place.get() {
            drop(handle.spawn(work));
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// A call has come: it is counted and takes its time. What goes wrong with it, if anything.
    pub(crate) async fn met(&self, op: &'static str, call: &Call<'_>) -> Option<Fault> {
        self.count_call(op);
        let latency = self.latency(op);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if self.faults.any() { self.faults.decide(call, self.now()) } else { None }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn table(&self, name: &str) -> Result<Arc<TableCell>, AwsError> {
        // A table may be named by its ARN.
        let short = name.rsplit_once(":table/").map_or(name, |(_, short)| short);
        entered(self.tables.read()).get(short).map(Arc::clone).ok_or_else(|| AwsError::table_not_found(short))
    }

    pub(crate) fn table_names(&self) -> Vec<String> {
        entered(self.tables.read()).keys().cloned().collect()
    }

    pub(crate) fn stream(&self, arn: &str) -> Result<Arc<TableCell>, AwsError> {
        entered(self.streams.read()).get(arn).map(Arc::clone).ok_or_else(|| AwsError::stream_not_found(arn))
    }

    /// Every table that has or had a stream, by stream ARN.
    pub(crate) fn streams(&self) -> BTreeMap<String, Arc<TableCell>> {
        entered(self.streams.read()).iter().map(|(arn, cell)| (arn.clone(), Arc::clone(cell))).collect()
    }

    /// Makes a table, with a TableId of its own.
    pub(crate) fn create(&self, spec: TableSpec) -> Result<Arc<TableCell>, AwsError> {
        let now = self.now();
        let mut tables = entered(self.tables.write());
        let name = spec.name.clone();
        if tables.contains_key(&name) {
            return Err(AwsError::new(400, "ResourceInUseException", format!("Table already exists: {name}")));
        }
        let made = self.made.fetch_add(1, Ordering::SeqCst);
        let (a, b) = (mix(self.seed ^ mix(made)), mix(mix(made) ^ !self.seed));
        let id = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        );
        let arn = format!("arn:aws:dynamodb:{}:000000000000:table/{name}", self.name);
        let table = Table::new(spec, id, arn, self.stream_label(), now);
        let arns: Vec<_> = table.streams.iter().map(|stream| stream.arn.to_string()).collect();
        let cell = Arc::new(TableCell(Mutex::new(table)));
        tables.insert(name, Arc::clone(&cell));
        for arn in arns {
            self.register_stream(arn, &cell);
        }
        Ok(cell)
    }

    /// A stream label as AWS writes it, `2026-11-23T14:02:07.123`, and never the same twice: a table that is deleted
    /// and made again within a millisecond has another stream.
    pub(crate) fn stream_label(&self) -> String {
        let now = epoch_millis(self.now());
        let next = |last: u64| now.max(last + 1);
        let last = self.last_label.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        let at = UNIX_EPOCH + Duration::from_millis(last.map_or(now, next));
        humantime::format_rfc3339_millis(at).to_string().trim_end_matches('Z').to_owned()
    }

    pub(crate) fn register_stream(&self, arn: String, cell: &Arc<TableCell>) {
        entered(self.streams.write()).insert(arn, Arc::clone(cell));
    }

    /// Removes a table; its streams stay readable.
    pub(crate) fn delete(&self, name: &str) -> Result<Arc<TableCell>, AwsError> {
        let cell = entered(self.tables.write()).remove(name).ok_or_else(|| AwsError::table_not_found(name))?;
        cell.lock().close_stream(self.now());
        Ok(cell)
    }

    /// Forgets a stream altogether, as AWS does a day after it was closed.
    pub(crate) fn forget_stream(&self, arn: &str) {
        entered(self.streams.write()).remove(arn);
    }

    pub(crate) fn set_latency(&self, op: &str, latency: Duration) {
        entered(self.latency.write()).insert(op.to_owned(), latency);
    }

    pub(crate) fn latency(&self, op: &str) -> Duration {
        let latency = entered(self.latency.read());
        latency.get(op).or_else(|| latency.get("*")).copied().unwrap_or_default()
    }

    pub(crate) fn count_call(&self, op: &'static str) {
        *entered(self.counters.calls.lock()).entry(op).or_default() += 1;
    }

    /// Keeps a request whose answer is lost until a test lets it take effect.
    pub(crate) fn hold(&self, deed: Deed) {
        entered(self.held.lock()).push(deed);
    }

    pub(crate) fn held(&self) -> usize {
        entered(self.held.lock()).len()
    }

    pub(crate) fn take_held(&self) -> Vec<Deed> {
        std::mem::take(&mut *entered(self.held.lock()))
    }

    /// Calls that were cut off from their clients and have not taken effect yet.
    pub(crate) fn late(&self) -> &AtomicU64 {
        &self.late
    }
}
