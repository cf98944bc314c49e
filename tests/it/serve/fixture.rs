//! A server on a free port of loopback, with an index that shows what it is told and a recovery that is a script.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use plimsoll::change::{Method, SourceTime, StoreId};
use plimsoll::config;
use plimsoll::promote::{Answers, Authorized};
use plimsoll::rpo::Terms;
use plimsoll::salvage::{Inputs, Salvages};
use plimsoll::seams::{SharedClock, SystemClock, SystemIds};
use plimsoll::serve::auth::Tokens;
use plimsoll::serve::problem::Problem;
use plimsoll::serve::{Event, Fleet, Limits, Listener, Recovery, Started, Timings, View, Watched};
use plimsoll::supervise::Tasks;
use plimsoll::telemetry::Metrics;
use plimsoll::watermark::keys::Prefix;
use plimsoll::watermark::{
    Board, CommitError, Index, IndexError, Mark, Row, Seed, StoreRecord, Txn, Vitals, Watermarks,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub(crate) const VIEWER: &str = "viewer-token";
pub(crate) const OPERATOR: &str = "operator-token";
pub(crate) const APPROVER: &str = "approver-token";

/// An index that shows what it is told.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) marks: Mutex<Watermarks>,
    pub(crate) ill: Mutex<Option<String>>,
}

#[async_trait]
impl Index for Shown {
    async fn commit(&self, _: Txn) -> Result<(), CommitError> {
        Err(CommitError::Closed)
    }
    fn snapshot(&self) -> Arc<Watermarks> {
        Arc::new(self.marks.lock().unwrap().clone())
    }
    fn get(&self, _: &Row) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(None)
    }
    fn scan(&self, _: &Prefix) -> Result<Vec<(Row, Vec<u8>)>, IndexError> {
        Ok(Vec::new())
    }
    fn health(&self) -> Result<(), String> {
        self.ill.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

/// Stores of which one is copied.
struct Kept;

#[async_trait]
impl plimsoll::serve::Keeping for Kept {
    async fn reseed(&self, store: &StoreId, allow_deletes: u64) -> Option<Result<String, String>> {
        (store.as_str() == "orders").then(|| match allow_deletes {
            13 => Err("a copy is under way".to_owned()),
            n => Ok(format!("up to {n}")),
        })
    }
}

/// A recovery that plays the events it is told.
pub(crate) struct Script {
    /// The events so far, and whether more follow.
    pub(crate) played: watch::Sender<(Vec<Event>, bool)>,
    /// The runs by idempotency key, and every body that was received.
    runs: Mutex<BTreeMap<String, String>>,
    pub(crate) bodies: Mutex<Vec<Value>>,
    /// The plan takes for ever.
    pub(crate) slow: Mutex<bool>,
}

impl Script {
    fn new() -> Self {
        Self {
            played: watch::Sender::default(),
            runs: Mutex::default(),
            bodies: Mutex::default(),
            slow: Mutex::default(),
        }
    }

    pub(crate) fn play(&self, name: &str, last: bool) {
        self.played.send_modify(|(events, over)| {
            let seq = events.len() as u64;
            events.push(Event { seq, name: name.to_owned(), data: json!({"event": name, "at": seq}) });
            *over = last;
        });
    }

    fn known(id: &str) -> Result<(), Problem> {
        if id.starts_with("run-") { Ok(()) } else { Err(Problem::not_found(format!("there is no promotion {id:?}"))) }
    }
}

#[async_trait]
impl Recovery for Script {
    fn phase(&self) -> String {
        "replicating".into()
    }
    fn timings(&self) -> Timings {
        Timings::default()
    }
    async fn plan(&self) -> Result<Value, Problem> {
        if *self.slow.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        Ok(json!({"steps": []}))
    }
    async fn start(&self, who: &Authorized, body: &[u8], key: Option<String>) -> Result<Started, Problem> {
        let body: Value = serde_json::from_slice(body).map_err(|e| Problem::bad_request(format!("not JSON: {e}")))?;
        if body["reason"] == "refuse" {
            let more = json!({"stores": [{"store": "orders", "why": "orders: 46.2 s would be lost"}]});
            return Err(Problem::new(StatusCode::CONFLICT, "gate-refused", "orders: 46.2 s would be lost").with(more));
        }
        self.bodies.lock().unwrap().push(json!({"who": who.principal().name, "body": body}));
        let mut runs = self.runs.lock().unwrap();
        let fresh = format!("run-{}", runs.len() + 1);
        let key = key.unwrap_or_else(|| fresh.clone());
        let repeated = runs.contains_key(&key);
        let id = runs.entry(key).or_insert(fresh).clone();
        Ok(Started { id, repeated, stage: "running".into() })
    }
    async fn list(&self) -> Result<Value, Problem> {
        Ok(json!([]))
    }
    async fn get(&self, id: &str) -> Result<Value, Problem> {
        Self::known(id)?;
        Ok(json!({"id": id}))
    }
    async fn text(&self, id: &str) -> Result<String, Problem> {
        Self::known(id)?;
        Ok(format!("Promotion {id}"))
    }
    async fn events(&self, id: &str, after: Option<u64>) -> Result<Vec<Event>, Problem> {
        Self::known(id)?;
        let mut seen = self.played.subscribe();
        let follows = |e: &Event| after.is_none_or(|after| e.seq > after);
        let later = |(events, over): &(Vec<Event>, bool)| *over || events.iter().any(follows);
        let now = seen.wait_for(later).await.expect("the script outlives the test");
        Ok(now.0.iter().filter(|e| follows(e)).cloned().collect())
    }
    async fn hold(&self, _: &Authorized, id: &str) -> Result<(), Problem> {
        Self::known(id)
    }
    async fn resume(&self, _: &Authorized, id: &str, _: Answers) -> Result<(), Problem> {
        Self::known(id)
    }
    async fn note(&self, who: &Authorized, id: &str, text: &str) -> Result<(), Problem> {
        self.bodies.lock().unwrap().push(json!({"who": who.principal().name, "note": text}));
        Self::known(id)
    }
}

pub(crate) fn orders() -> StoreId {
    StoreId::new("orders").unwrap()
}

pub(crate) fn terms() -> Terms {
    Terms { objective: Duration::from_secs(30), period: Duration::from_secs(1) }
}

/// The mark of a seeded store that has just been proved complete.
pub(crate) fn fresh_mark(clock: &SharedClock) -> Mark {
    let now = clock.now();
    let record = StoreRecord {
        seed: Seed::Done { at: SourceTime(0) },
        through: Some(now.wall),
        method: Some(Method::Verified),
        ..StoreRecord::default()
    };
    Mark { record, proved: Some(now) }
}

/// What a view is made of.
pub(crate) struct Parts {
    pub(crate) index: Arc<dyn Index>,
    pub(crate) recovery: Arc<dyn Recovery>,
    pub(crate) clock: SharedClock,
    pub(crate) tasks: Tasks,
}

impl Parts {
    pub(crate) fn view(&self, tokens: Tokens) -> View {
        let now = self.clock.now();
        let board = Arc::new(Board::default());
        board.post(&orders(), Vitals { source_answered: Some(now), last_progress: Some(now), ..Vitals::default() });
        let metrics = Metrics::new();
        metrics.store(&orders(), "dynamodb");
        View {
            fleet: Fleet {
                app: "shop".into(),
                primary: "us-east-1".into(),
                standby: "us-west-2".into(),
                rpo: Duration::from_secs(60),
                rto: Duration::from_secs(900),
                stores: vec![Watched { id: orders(), kind: "dynamodb", mode: "replicate", terms: terms() }],
            },
            index: Arc::clone(&self.index),
            board,
            recovery: Arc::clone(&self.recovery),
            salvage: self.salvage(),
            keeping: Arc::new(Kept),
            metrics,
            tokens,
            started: now,
            clock: Arc::clone(&self.clock),
            clock_skew: Box::new(|| Duration::ZERO),
            lifeless: Box::new(Vec::new),
            stopping: self.tasks.stopping(),
        }
    }
}

impl Parts {
    /// Of no store.
    fn salvage(&self) -> Arc<Salvages> {
        let inputs = Inputs {
            index: Arc::clone(&self.index),
            stores: Vec::new(),
            clock: Arc::clone(&self.clock),
            ids: Arc::new(SystemIds),
            app: "shop".into(),
            primary: "us-east-1".into(),
            standby: "us-west-2".into(),
            spill: std::env::temp_dir(),
            on_violation: Arc::new(|| ()),
            stopping: self.tasks.stopping(),
        };
        Salvages::open(inputs).unwrap()
    }
}

/// Binds and answers.
pub(crate) async fn launch(
    view: View,
    limits: Limits,
    tls: Option<config::Tls>,
    at: &str,
    tasks: &Tasks,
) -> SocketAddr {
    let serve = config::Serve { listen: at.parse().unwrap(), tokens_file: None, tls };
    let listener = Listener::bind(&serve, limits).await.unwrap();
    let address = listener.address();
    listener.run(Arc::new(view), tasks);
    address
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) index: Arc<Shown>,
    pub(crate) script: Arc<Script>,
    pub(crate) lifeless: Arc<Mutex<Vec<String>>>,
    pub(crate) tasks: Tasks,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) fn short() -> Limits {
    Limits {
        head: Duration::from_millis(400),
        handshake: Duration::from_millis(400),
        answer: Duration::from_secs(5),
        ..Limits::default()
    }
}

pub(crate) fn write_tokens(path: &Path) {
    let line = |name: &str, role: &str, token: &str| {
        let hash: String = Sha256::digest(token.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        format!("{name} {role} {hash}\n")
    };
    let text = line("vic", "viewer", VIEWER) + &line("olga", "operator", OPERATOR) + &line("ann", "approver", APPROVER);
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl Server {
    /// Plain HTTP, with tokens.
    pub(crate) async fn start() -> Self {
        Self::with(short(), None, true).await
    }

    pub(crate) async fn with(limits: Limits, tls: Option<config::Tls>, with_tokens: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        write_tokens(&path);
        let tokens = if with_tokens { Tokens::open(&path).unwrap() } else { Tokens::none() };
        let clock = SystemClock::shared();
        let index = Arc::new(Shown::default());
        index.marks.lock().unwrap().stores.insert(orders(), fresh_mark(&clock));
        let (script, tasks) = (Arc::new(Script::new()), Tasks::new());
        let lifeless = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&lifeless);
        let parts = Parts { index: index.clone(), recovery: script.clone(), clock, tasks: tasks.clone() };
        let view = View { lifeless: Box::new(move || shown.lock().unwrap().clone()), ..parts.view(tokens) };
        let address = launch(view, limits, tls, "127.0.0.1:0", &tasks).await;
        Self { address, index, script, lifeless, tasks, directory }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request with a token, or without one.
    pub(crate) async fn call(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> reqwest::Response {
        let client = reqwest::Client::new();
        let mut request = client.request(method.parse().unwrap(), self.url(path)).body(body.to_owned());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap()
    }

    /// Sends bytes and reads all that comes back until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may have answered and closed before it has read all.
        if let Err(error) = stream.write_all(bytes).await {
            eprintln!("the server closed early: {error}");
        }
        drain(&mut stream).await
    }
}

/// Reads until the far end closes, at most for ten seconds.
pub(crate) async fn drain(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut all)).await;
    if let Err(error) = read.expect("the server closes the connection") {
        eprintln!("reset after {} bytes: {error}", all.len());
    }
    String::from_utf8_lossy(&all).into_owned()
}
