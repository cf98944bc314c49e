//! A pair of scripted servers in this process with the real daemon between them in its own.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use plimsoll_lab::clients::Endpoint;
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, StoreSpec, binary};
use plimsoll_lab::scripted::{Options, ScriptedAws, TableSpec, ViewType};
use plimsoll_lab::trouble::{Because, Trouble};

use crate::bare::{self, Keeps};
use crate::report::Run;
use crate::usage::Usage;
use crate::work::{self, Op};

/// The table of the throughput runs.
pub(crate) const TABLE: &str = "busy";
/// Polls for work often, so that what is measured is the work and not the pause before it.
pub(crate) const EAGER: &str = "poll_min = \"20ms\"\npoll_max = \"20ms\"";
/// Longest time for anything to be reached; a bench must end.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// prodX and prodY.
pub(crate) struct Pair {
    pub(crate) x: ScriptedAws,
    pub(crate) y: ScriptedAws,
}

impl Pair {
    pub(crate) fn start() -> Result<Self, Trouble> {
        let start = |region: &str| {
            let options = Options { region: region.to_owned(), ..Options::default() };
            ScriptedAws::start(options).because("could not start a scripted server")
        };
        Ok(Self { x: start("us-east-1")?, y: start("us-west-2")? })
    }

    pub(crate) fn source(&self) -> Endpoint {
        Endpoint::new(self.x.endpoint(), "us-east-1")
    }

    pub(crate) fn target(&self) -> Endpoint {
        Endpoint::new(self.y.endpoint(), "us-west-2")
    }

    /// Makes a table in both.
    pub(crate) fn create(&self, table: &str, shards: usize) {
        self.x.create_table(TableSpec::new(table, "pk").stream(ViewType::NewAndOldImages).shards(shards));
        self.y.create_table(TableSpec::new(table, "pk"));
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        self.x.set_latency("*", latency);
        self.y.set_latency("*", latency);
    }

    /// Calls that both have answered so far.
    pub(crate) fn calls(&self) -> u64 {
        self.x.all_calls().values().chain(self.y.all_calls().values()).sum()
    }

    /// Starts the daemon between the two and waits until every table is proved.
    pub(crate) async fn daemon(&self, folder: &Path, stores: Vec<StoreSpec>) -> Result<Daemon, Trouble> {
        let home = Home::prepare(folder, &ConfigSpec::new(&self.source(), &self.target(), stores))?;
        ready(&home).await
    }

    fn written(&self) -> u64 {
        self.y.items_put() + self.y.items_deleted()
    }

    /// How many items differ.
    fn wrong(&self, table: &str) -> usize {
        let (x, y) = (self.x.snapshot(table), self.y.snapshot(table));
        let missing = x.iter().filter(|(key, item)| y.get(*key) != Some(*item)).count();
        missing + y.keys().filter(|key| !x.contains_key(*key)).count()
    }
}

/// Starts the daemon of a folder and waits until every store is `ok`.
pub(crate) async fn ready(home: &Home) -> Result<Daemon, Trouble> {
    let mut daemon = Daemon::spawn(&binary()?, home)?;
    daemon.wait_ready(LIMIT).await?;
    daemon.wait_status(LIMIT, |status| status.all("ok")).await?;
    Ok(daemon)
}

/// What a throughput run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) ops: Vec<Op>,
    pub(crate) shards: usize,
    /// Of every call.
    pub(crate) latency: Duration,
    /// Requests to the standby at one time.
    pub(crate) at_once: usize,
}

/// The daemon's run: from the moment the backlog can be read until the standby holds all of it.
pub(crate) async fn daemon_run(setup: &Setup) -> Result<Run, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let pair = Pair::start()?;
    let keys = work::keys(&pair.x);
    pair.create(TABLE, setup.shards);
    let mut store = StoreSpec::table(TABLE);
    // A thousand shards cannot be asked every 20 ms.
    let eager = if setup.shards > 100 { "" } else { EAGER };
    store.more = format!("{eager}\napply_concurrency = {}", setup.at_once);
    let mut daemon = pair.daemon(folder.path(), vec![store]).await?;
    pair.x.hold_stream(TABLE);
    work::load_scripted(&pair.x, TABLE, &setup.ops, &keys);
    pair.set_latency(setup.latency);
    tokio::time::sleep(Duration::from_millis(200)).await;

    let before = Usage::of(&daemon.pid().to_string())?;
    let began = SystemTime::now();
    pair.x.release_stream(TABLE);
    let deadline = Instant::now() + LIMIT;
    while pair.wrong(TABLE) > 0 {
        if Instant::now() > deadline {
            return Err(Trouble::new(format!("not converged after {LIMIT:?}:\n{}", daemon.tail(15))));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let last = pair.y.arrivals(TABLE).last().map_or(began, |change| change.commit);
    // The last commit belongs to the work.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = Usage::of(&daemon.pid().to_string())?;
    daemon.terminate(Duration::from_secs(10)).await;
    Ok(Run {
        changes: setup.ops.len() as u64,
        seconds: last.duration_since(began).unwrap_or_default().as_secs_f64(),
        cpu: after.cpu - before.cpu,
        peak: after.peak,
        writes: pair.written(),
        wrong: Some(pair.wrong(TABLE)),
    })
}

/// A bare loop's run over the same changes.
pub(crate) async fn bare_run(setup: &Setup, keeps: Keeps) -> Result<Run, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let pair = Pair::start()?;
    let keys = work::keys(&pair.x);
    pair.create(TABLE, 1);
    work::load_scripted(&pair.x, TABLE, &setup.ops, &keys);
    pair.set_latency(setup.latency);
    let (source, target) = (pair.source(), pair.target());
    let job = bare::Job {
        keeps,
        source: &source,
        target: &target,
        source_table: TABLE,
        target_table: TABLE,
        changes: setup.ops.len() as u64,
        at_once: setup.at_once,
    };
    let run = bare::run(&job, folder.path()).await?;
    Ok(Run { wrong: Some(pair.wrong(TABLE)), ..run })
}
