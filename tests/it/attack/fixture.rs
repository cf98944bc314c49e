//! Two scripted regions and a daemon between them, with short rhythms so that a test takes seconds.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plimsoll_lab::clients::Endpoint;
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, Status, StoreSpec, binary};
use plimsoll_lab::random::Random;
use plimsoll_lab::scripted::{Item, Key, KeyPart, Options, ScriptedAws, TableSpec, Value, ViewType};
use serde_json::Value as Json;
use tempfile::TempDir;

/// The table, in both regions, and the id of its store.
pub(crate) const ORDERS: &str = "orders";

/// Every wait of a test is bounded by this, for a machine that compiles beside it. None is ever reached by a good one.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// The longest pause between two reads of an idle shard.
pub(crate) const POLL_MAX: Duration = Duration::from_millis(200);

/// How long after its commit a change may become visible.
pub(crate) const PROPAGATION: Duration = Duration::from_millis(500);

/// How long a write that was given up may still land.
pub(crate) const REQUEST_LIFE: Duration = Duration::from_secs(1);

/// A state is `unknown` without a proof for this long: the greater of three periods and 10 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The times above, as a store's configuration says them.
pub(crate) const RHYTHM: &str = r#"poll_min = "20ms"
poll_max = "200ms"
propagation = "500ms"
publish = "1s"
attempt_timeout = "500ms"
max_request_life = "1s"
survey_every = "500ms""#;

/// prodX, prodY and the folder of a daemon.
pub(crate) struct Pair {
    pub(crate) x: Arc<ScriptedAws>,
    pub(crate) y: Arc<ScriptedAws>,
    pub(crate) home: Home,
    folder: TempDir,
}

/// A table with a text key, as it is in the standby.
pub(crate) fn plain() -> TableSpec {
    TableSpec::new(ORDERS, "pk")
}

/// The same with a stream, as it is in prodX.
pub(crate) fn streamed() -> TableSpec {
    plain().stream(ViewType::NewAndOldImages)
}

pub(crate) fn region(name: &str, seed: u64) -> Arc<ScriptedAws> {
    Arc::new(ScriptedAws::start(Options { region: name.into(), seed, workers: 2 }).expect("a port is free"))
}

impl Pair {
    /// An empty table on both sides.
    pub(crate) fn new() -> Self {
        Self::with(streamed(), plain(), 1, |_| {})
    }

    /// Tables as given, and a configuration to which `adjust` does the rest.
    pub(crate) fn with(source: TableSpec, standby: TableSpec, seed: u64, adjust: impl FnOnce(&mut ConfigSpec)) -> Self {
        let (x, y) = (region("us-east-1", seed), region("us-west-2", seed + 1));
        x.create_table(source);
        y.create_table(standby);
        let store = StoreSpec { more: RHYTHM.into(), ..StoreSpec::table(ORDERS) };
        let ends = (Endpoint::new(x.endpoint(), "us-east-1"), Endpoint::new(y.endpoint(), "us-west-2"));
        let mut spec = ConfigSpec::new(&ends.0, &ends.1, vec![store]);
        adjust(&mut spec);
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::prepare(folder.path(), &spec).expect("a prepared folder");
        Self { x, y, home, folder }
    }

    /// The test's own folder.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Starts the daemon and waits for nothing.
    pub(crate) fn spawn(&self) -> Daemon {
        Daemon::spawn(&binary().expect("cargo built it"), &self.home).expect("it starts")
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) async fn start(&self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.wait_ready(LONG).await.expect("it answers");
        daemon
    }

    /// Starts the daemon and waits until the store is `ok`.
    pub(crate) async fn start_ok(&self) -> Daemon {
        let mut daemon = self.start().await;
        daemon.state("ok").await;
        daemon
    }

    /// Puts an item into prodX.
    pub(crate) fn put(&self, key: &str, version: u64) {
        self.x.put(ORDERS, item(key, version)).expect("a good item");
    }

    /// Waits until both tables hold the same, but for canaries.
    pub(crate) async fn converge(&self, daemon: &Daemon) {
        let held = |region: &ScriptedAws| {
            let mut items = region.snapshot(ORDERS);
            items.retain(|key, _| !is_canary(key));
            items
        };
        let same = || held(&self.x) == held(&self.y);
        if !came_true(LONG, || async { same() }).await {
            let (x, y) = (held(&self.x), held(&self.y));
            let differ = x.iter().filter(|(key, item)| y.get(*key) != Some(*item)).count();
            let extra = y.keys().filter(|key| !x.contains_key(*key)).count();
            panic!("{differ} items differ, {extra} are too many in prodY\n{}", daemon.tail(20));
        }
    }

    /// The version of a key in the standby.
    pub(crate) fn standby_version(&self, key: &str) -> Option<u64> {
        match self.y.item(ORDERS, &Key::of(key))?.get("v") {
            Some(Value::N(number)) => number.parse().ok(),
            _ => None,
        }
    }
}

/// An item with a version, and nothing else.
pub(crate) fn item(key: &str, version: u64) -> Item {
    Item::from([("pk".to_owned(), Value::s(key)), ("v".to_owned(), Value::n(version))])
}

/// Is this the key of a canary, as they are unless configured otherwise?
pub(crate) fn is_canary(key: &Key) -> bool {
    matches!(&key.hash, KeyPart::S(text) if text.starts_with("__rpo_canary#"))
}

/// Waits until `true`, at most `limit`.
pub(crate) async fn came_true<F: Future<Output = bool>>(limit: Duration, mut good: impl FnMut() -> F) -> bool {
    let deadline = Instant::now() + limit;
    while !good().await {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// Waits for something that must come.
#[track_caller]
pub(crate) fn until(what: &str, mut good: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move { assert!(came_true(LONG, || std::future::ready(good())).await, "{at}: never came: {what}") }
}

/// What tests ask a daemon again and again.
pub(crate) trait Ask {
    /// Waits until the store is in this state; the status that said so.
    async fn state(&mut self, state: &str) -> Status;
    /// Waits until a status pleases.
    async fn reach(&mut self, good: impl Fn(&Status) -> bool) -> Status;
    /// The status now.
    async fn now(&self) -> Status;
    /// A metric by the text of its line up to the value; `None` when it is absent.
    async fn metric(&self, series: &str) -> Option<f64>;
}

impl Ask for Daemon {
    async fn state(&mut self, state: &str) -> Status {
        self.reach(|status| status.state(ORDERS) == state).await
    }

    async fn reach(&mut self, good: impl Fn(&Status) -> bool) -> Status {
        match self.wait_status(LONG, good).await {
            Ok(status) => status,
            Err(trouble) => panic!("{trouble}\n{}", self.tail(20)),
        }
    }

    async fn now(&self) -> Status {
        self.client().status().await.expect("it answers")
    }

    async fn metric(&self, series: &str) -> Option<f64> {
        series_of(&self.client().metrics().await.expect("it answers"), series)
    }
}

/// The value of a series in a scrape.
pub(crate) fn series_of(scrape: &str, series: &str) -> Option<f64> {
    scrape.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// A series of the store.
pub(crate) fn of_store(name: &str) -> String {
    format!("plimsoll_{name}{{kind=\"dynamodb\",store=\"{ORDERS}\"}}")
}

/// A field of the store in a status.
pub(crate) fn field<'a>(status: &'a Status, name: &str) -> &'a Json {
    status.store(ORDERS).and_then(|store| store.get(name)).unwrap_or(&Json::Null)
}

/// The upper bound of the store, if it has one.
pub(crate) fn bound(status: &Status) -> Option<f64> {
    field(status, "rpo_upper_bound_seconds").as_f64()
}

/// What the store says is wrong.
pub(crate) fn note(status: &Status) -> &str {
    field(status, "note").as_str().unwrap_or_default()
}

/// Changes of prodX, at most so many a second, until it is stopped. Every image is another.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    /// Puts and some deletes on `keys` keys.
    pub(crate) fn start(x: &Arc<ScriptedAws>, keys: usize, per_second: u32, seed: u64) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (x, stopped, count) = (Arc::clone(x), Arc::clone(&stop), Arc::clone(&written));
        let task = tokio::spawn(async move {
            let mut random = Random::fork(seed, 7);
            while !stopped.load(Ordering::SeqCst) {
                let version = count.fetch_add(1, Ordering::SeqCst) + 1;
                let key = format!("k{}", random.below(keys));
                if random.chance(0.1) {
                    x.delete(ORDERS, Key::of(key));
                } else {
                    x.put(ORDERS, item(&key, version)).expect("a good item");
                }
                let pause = Duration::from_secs(1) / per_second;
                tokio::time::sleep(random.pause(pause / 2, pause * 3 / 2)).await;
            }
        });
        Self { stop, written, task }
    }

    /// Changes so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// Stops it; no change is made after this.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("the load ends well");
        self.written.load(Ordering::SeqCst)
    }
}
