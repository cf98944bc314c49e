//! Two scripted regions with a bucket each, a queue in prodY, a daemon between them with short rhythms, and a watch that holds
//! every published watermark against what prodX committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use plimsoll_lab::clients::Endpoint;
use plimsoll_lab::daemon::{ConfigSpec, Daemon, DaemonClient, Home, Status, StoreSpec, binary};
use plimsoll_lab::scripted::s3::{Compare, EventRoute, NewObject, ObjectChange, ObjectView, Versioning};
use plimsoll_lab::scripted::sqs::QueueSettings;
use plimsoll_lab::scripted::{Options, ScriptedAws};
use serde_json::Value as Json;
use tempfile::TempDir;

/// The id of the store.
pub(super) const UPLOADS: &str = "uploads";
/// The bucket in prodX.
pub(super) const SOURCE: &str = "shop-uploads-x";
/// The bucket in prodY.
pub(super) const STANDBY: &str = "shop-uploads-y";
/// The queue in prodY.
pub(super) const EVENTS: &str = "uploads-events";
/// The key of the canary, where there is one. A walk leaves it out: it is nobody's object.
pub(super) const CANARY: &str = "ops/canary";
/// What it gives up.
pub(super) const DEAD: &str = "uploads-events-dead";

/// Every wait of a test is bounded by this. None is ever reached by a good one.
pub(super) const LONG: Duration = Duration::from_secs(120);

/// Short times, so that a test takes seconds. An event counts as delivered within a second.
pub(super) const RHYTHM: &str = r#"delivery = "1s"
poll_wait = "1s"
visibility = "2s"
settle = "0s"
attempt_timeout = "2s"
max_request_life = "4s"
reconcile_every = "1h"
list_rate = 1000"#;

/// prodX, prodY and the folder of a daemon.
pub(super) struct Scene {
    pub(super) x: Arc<ScriptedAws>,
    pub(super) y: Arc<ScriptedAws>,
    pub(super) home: Home,
    _folder: TempDir,
}

impl Scene {
    /// Two versioned buckets, empty, and a store that copies within the servers.
    pub(super) fn new() -> Self {
        Self::with(1, EventRoute::to(EVENTS), "server-side", "")
    }

    /// The same with another way of events and of transfer, and more lines of configuration.
    pub(super) fn with(seed: u64, route: EventRoute, transfer: &str, more: &str) -> Self {
        let region = |name: &str, seed| {
            Arc::new(ScriptedAws::start(Options { region: name.into(), seed, workers: 2 }).expect("a port is free"))
        };
        let (x, y) = (region("us-east-1", seed), region("us-west-2", seed + 1));
        let dead = y.sqs().create(DEAD, QueueSettings::default());
        let redrive = QueueSettings { redrive: Some((DEAD.into(), 10)), ..QueueSettings::default() };
        let url = y.sqs().create(EVENTS, redrive);
        x.s3().create(SOURCE, Versioning::On);
        y.s3().create(STANDBY, Versioning::On);
        x.s3().send_events(SOURCE, &y, route);
        y.s3().see(&x);
        let mut store = StoreSpec::bucket(UPLOADS, SOURCE, STANDBY, &url)
            .with_dead_letters(&dead)
            .with_transfer(transfer)
            .with_more(&merged(RHYTHM, more));
        store.rpo = Some("1h".into());
        let ends = (Endpoint::new(x.endpoint(), "us-east-1"), Endpoint::new(y.endpoint(), "us-west-2"));
        let spec = ConfigSpec::new(&ends.0, &ends.1, vec![store]);
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::prepare(folder.path(), &spec).expect("a prepared folder");
        Self { x, y, home, _folder: folder }
    }

    /// Starts the daemon and waits until it answers.
    pub(super) async fn start(&self) -> Daemon {
        let mut daemon = Daemon::spawn(&binary().expect("cargo built it"), &self.home).expect("it starts");
        daemon.wait_ready(LONG).await.expect("it answers");
        daemon
    }

    /// Starts the daemon and waits until the store is `ok`.
    pub(super) async fn start_ok(&self) -> Daemon {
        let mut daemon = self.start().await;
        daemon.reach(|status| status.state(UPLOADS) == "ok").await;
        daemon
    }

    /// Puts a small object into prodX.
    pub(super) fn put(&self, key: &str, text: &str) {
        self.x.s3().put(SOURCE, key, NewObject::bytes(text.as_bytes().to_vec()));
    }

    /// Waits until both buckets hold the same.
    pub(super) async fn converge(&self, daemon: &Daemon) {
        let compared = || self.x.s3().compare(SOURCE, &self.y, STANDBY, Compare::default());
        if !came_true(LONG, || std::future::ready(compared().equal())).await {
            panic!("{}\n{}", compared(), daemon.tail(30));
        }
    }

    /// Waits until the watermark has passed this moment.
    pub(super) async fn proven(&self, daemon: &mut Daemon) -> Status {
        let now = SystemTime::now();
        daemon.reach(|status| status.state(UPLOADS) == "ok" && status.watermark(UPLOADS).is_some_and(|w| w > now)).await
    }
}

/// The lines of `base`, but for keys that `more` sets, and those of `more`.
fn merged(base: &str, more: &str) -> String {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let set: BTreeSet<String> = more.lines().map(name).collect();
    let kept = base.lines().filter(|line| !set.contains(&name(line)));
    kept.chain(more.lines()).collect::<Vec<_>>().join("\n")
}

/// Waits until `true`, at most `limit`.
pub(super) async fn came_true<F: Future<Output = bool>>(limit: Duration, mut good: impl FnMut() -> F) -> bool {
    let deadline = std::time::Instant::now() + limit;
    while !good().await {
        if std::time::Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// What tests ask a daemon again and again.
pub(super) trait Ask {
    /// Waits until a status pleases.
    async fn reach(&mut self, good: impl Fn(&Status) -> bool) -> Status;
    /// The status now.
    async fn now(&self) -> Status;
    /// A metric of the store by its name without prefix; `None` when it is absent.
    async fn metric(&self, name: &str) -> Option<f64>;
    /// Published watermarks that were taken back.
    async fn violations(&self) -> f64;
}

impl Ask for Daemon {
    async fn reach(&mut self, good: impl Fn(&Status) -> bool) -> Status {
        match self.wait_status(LONG, good).await {
            Ok(status) => status,
            Err(trouble) => panic!("{trouble}\n{}", self.tail(30)),
        }
    }

    async fn now(&self) -> Status {
        self.client().status().await.expect("it answers")
    }

    async fn metric(&self, name: &str) -> Option<f64> {
        let series = format!("plimsoll_{name}{{kind=\"s3\",store=\"{UPLOADS}\"}}");
        value_of(&self.client().metrics().await.expect("it answers"), &series)
    }

    async fn violations(&self) -> f64 {
        let scrape = self.client().metrics().await.expect("it answers");
        value_of(&scrape, "plimsoll_rpo_soundness_violations_total").expect("it is there from the start")
    }
}

fn value_of(scrape: &str, series: &str) -> Option<f64> {
    scrape.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// A field of the store in a status.
pub(super) fn field<'a>(status: &'a Status, name: &str) -> &'a Json {
    &status.value["stores"][0][name]
}

/// The note of the store, or nothing.
pub(super) fn note(status: &Status) -> &str {
    field(status, "note").as_str().unwrap_or_default()
}

/// Watches the store over all restarts of its daemon: asks, reads the standby, then looks at what prodX committed. In that
/// order everything that a watermark promises is durable before the standby is read.
pub(super) struct Watch {
    lies: Arc<Mutex<Vec<String>>>,
    judged: Arc<Mutex<u64>>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Asks every few milliseconds.
    pub(super) fn start(scene: &Scene, client: &DaemonClient) -> Self {
        let (lies, judged, stop) = <(Arc<Mutex<Vec<String>>>, Arc<Mutex<u64>>, Arc<AtomicBool>)>::default();
        let (x, y, client) = (Arc::clone(&scene.x), Arc::clone(&scene.y), client.clone());
        let (told, count, stopped) = (Arc::clone(&lies), Arc::clone(&judged), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut highest = None;
            while !stopped.load(Ordering::SeqCst) {
                if let Ok(status) = client.status().await
                    && let Some(watermark) = status.watermark(UPLOADS)
                {
                    let standby = y.s3().snapshot(STANDBY);
                    let mut wrong = missing(&x.s3().history(SOURCE), &standby, watermark);
                    if highest.is_some_and(|highest| watermark < highest) {
                        wrong.push(format!("the watermark went back to {}", humantime::format_rfc3339(watermark)));
                    }
                    if watermark > SystemTime::now() {
                        wrong.push(format!("the watermark {} is ahead", humantime::format_rfc3339(watermark)));
                    }
                    highest = highest.max(Some(watermark));
                    told.lock().unwrap_or_else(PoisonError::into_inner).extend(wrong);
                    *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                }
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        });
        Self { lies, judged, stop, task }
    }

    /// Ends it, and fails the test if anything untrue was published.
    pub(super) async fn truthful(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("the watch ends well");
        let lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(lies.is_empty(), "{} lies:\n{}", lies.len(), lies[..lies.len().min(10)].join("\n"));
        let judged = *self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(judged > 0, "nothing was judged");
        judged
    }
}

/// I1: what was committed at or before `watermark` and is not in the standby, in words.
fn missing(
    history: &[Arc<ObjectChange>],
    standby: &BTreeMap<String, ObjectView>,
    watermark: SystemTime,
) -> Vec<String> {
    let mut keys: BTreeMap<&str, Vec<&ObjectChange>> = BTreeMap::new();
    for change in history.iter().filter(|change| &*change.key != CANARY) {
        keys.entry(&change.key).or_default().push(change);
    }
    let mut missing = Vec::new();
    for (key, changes) in keys {
        let last = changes.partition_point(|change| change.at <= watermark);
        let Some(promised) = last.checked_sub(1) else { continue };
        let held = standby.get(key);
        let is_held = |change: &&ObjectChange| match (&change.state, held) {
            (None, None) => true,
            (Some(state), Some(held)) => Compare::default().same(state, held),
            _ => false,
        };
        if !changes[promised..].iter().any(is_held) {
            let (at, mark) =
                (humantime::format_rfc3339_nanos(changes[promised].at), humantime::format_rfc3339_nanos(watermark));
            missing.push(format!("I1: {key:?}, committed {at}, is missing below the watermark {mark}"));
        }
    }
    missing
}
