//! The daemon: everything is opened before anything flows, and stopped in the reverse order.
//!
//! Start: log, index, clients, stores, drivers, promotions (an unfinished one goes on), listener, `READY=1`.
//! Stop: signal, stop reading and accepting, drain, last commit, leave the sign of a clean stop.
//!
//! A start fails only for what a human must mend: an index that cannot be used, an address that cannot be bound, files that
//! must not be trusted. An AWS region that does not answer is no reason: the state says `unknown` until it does.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::aws::Aws;
use crate::change::Class;
use crate::config::{Checked, Config, StoreConfig};
use crate::converge;
use crate::doctor::Rounds;
use crate::observe;
use crate::promote::{Flow, Flows, Inputs, Kept, Promotions};
use crate::replicate::{Deps, Fleet, Meter};
use crate::rpo::Terms;
use crate::salvage::{self, Salvages};
use crate::seams::{Ids, SharedClock, SystemClock, SystemIds};
use crate::serve::{self, Listener, Promoting, View, Watched};
use crate::stores::Store;
use crate::supervise::watchdog::{self, Notifier, Pulse, Pulses};
use crate::supervise::{TaskKind, Tasks};
use crate::telemetry::{self, Metrics, StoreMetrics};
use crate::watermark::records::Identity;
use crate::watermark::rocks::{self, RocksIndex};
use crate::watermark::{Board, Index};

/// From the signal to the end: draining, answering, the last commit.
const GRACE: Duration = Duration::from_secs(20);
/// A driver that shows no life for so long is stuck.
const LIFELESS: Duration = Duration::from_secs(20);
/// The configuration is refused, or something that only a human can mend.
const EX_CONFIG: u8 = 78;

/// Runs the daemon until a signal, or until it cannot go on.
pub async fn run(checked: Checked) -> ExitCode {
    if let Err(error) = telemetry::logs::start() {
        tracing::subscriber::with_default(tracing_subscriber::fmt().finish(), || tracing::error!("{error}"));
        return ExitCode::from(EX_CONFIG);
    }
    for warning in &checked.warnings {
        tracing::warn!("{warning}");
    }
    let notifier = Arc::new(Notifier::from_env());
    // Before anything is open: a signal in the middle of the start must end in an orderly stop, too.
    let signals = Signals::listen();
    let tasks = Tasks::new();
    match start(&checked.config, &tasks, &notifier).await {
        Ok(running) => running.until_the_end(signals, &tasks, &notifier).await,
        Err(error) => {
            tracing::error!("{error}");
            tasks.shutdown(GRACE).await;
            ExitCode::FAILURE
        }
    }
}

/// The signals that ask for a stop.
struct Signals(Option<(Signal, Signal)>);

impl Signals {
    /// From here on none of them ends the process by itself.
    fn listen() -> Self {
        Self(signal(SignalKind::terminate()).ok().zip(signal(SignalKind::interrupt()).ok()))
    }

    /// The next one, or one that came before this was called.
    async fn next(&mut self) -> &'static str {
        match &mut self.0 {
            Some((term, int)) => tokio::select! { _ = term.recv() => "SIGTERM", _ = int.recv() => "SIGINT" },
            None => std::future::pending().await,
        }
    }
}

/// What is open while the daemon runs.
struct Running {
    index: Arc<RocksIndex>,
    view: Arc<View>,
    /// Drivers end when nobody holds their fleet.
    fleet: Arc<Fleet>,
    convergers: Arc<converge::Fleet>,
    _observers: Arc<observe::Fleet>,
}

/// A store with what the process knows about it.
struct Open {
    store: Arc<dyn Store>,
    terms: Terms,
}

async fn start(config: &Config, tasks: &Tasks, notifier: &Arc<Notifier>) -> Result<Running, String> {
    let clock = SystemClock::shared();
    let metrics = Metrics::new();
    let tokens = serve::tokens(&config.serve).map_err(|e| e.to_string())?;
    let listener = Listener::bind(&config.serve, serve::Limits::default()).await.map_err(|e| e.to_string())?;
    let index = open_index(config, tasks, &clock, &metrics)?;
    let started = start_on(config, tasks, notifier, clock, metrics, tokens, listener, Arc::clone(&index)).await;
    if started.is_err() {
        // Writes of this process, or of one that was killed before it, may still be on their way (LE-4): the next start
        // must not think otherwise because this one ended in order.
        index.close_unclean().await;
    }
    started
}

/// The rest of the start, once the index is ours.
#[expect(clippy::too_many_arguments, reason = "each is one of the things that the start has opened, and used once")]
async fn start_on(
    config: &Config,
    tasks: &Tasks,
    notifier: &Arc<Notifier>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    tokens: serve::auth::Tokens,
    listener: Listener,
    index: Arc<RocksIndex>,
) -> Result<Running, String> {
    let ids: Arc<dyn Ids> = Arc::new(SystemIds);
    let requests = Arc::clone(&metrics);
    let on_request: crate::aws::OnRequest =
        Arc::new(move |service, operation, outcome| requests.aws_request(service, operation, outcome));
    let aws = Aws::open(&config.primary, &config.standby, &clock, &on_request).await;
    let primary = aws.primary.clone();
    let skew = Arc::new(move || primary.skew());
    let stores: Vec<Open> = config.stores.iter().map(|store| open_store(store, &aws)).collect();

    let board = Arc::new(Board::default());
    let pulses = Pulses::new(Arc::clone(&clock));
    let fenced = index.snapshot().fence.is_some();
    let all: Vec<Arc<dyn Store>> = stores.iter().map(|open| Arc::clone(&open.store)).collect();
    let deps = |store: &Arc<dyn Store>| Deps {
        clock: Arc::clone(&clock),
        ids: Arc::clone(&ids),
        index: Arc::clone(&index) as Arc<dyn Index>,
        board: Arc::clone(&board),
        meter: Arc::new(Count { store: metrics.store(store.id(), store.kind()), all: Arc::clone(&metrics) }),
        pulse: Arc::new(pulses.register(format!("driver of {}", store.id()), LIFELESS)),
        skew: Arc::clone(&skew) as Arc<dyn Fn() -> Duration + Send + Sync>,
        clean_start: index.was_clean(),
    };
    let fleet = Fleet::start(&all, deps, tasks, fenced, Arc::clone(&clock)).map_err(|e| e.to_string())?;
    let convergers =
        converge::Fleet::start(&all, deps, tasks, fenced, Arc::clone(&clock)).map_err(|e| e.to_string())?;
    let observers = observe::Fleet::start(&all, deps, tasks, fenced, Arc::clone(&clock)).map_err(|e| e.to_string())?;

    let promotions = Promotions::open(Inputs {
        index: Arc::clone(&index) as Arc<dyn Index>,
        flow: Arc::new(Flows(vec![
            Arc::clone(&fleet) as Arc<dyn Flow>,
            Arc::clone(&convergers) as Arc<dyn Flow>,
            Arc::clone(&observers) as Arc<dyn Flow>,
        ])),
        clock: Arc::clone(&clock),
        ids,
        tasks: tasks.clone(),
        stores: stores.iter().map(kept).collect(),
        promote: config.promote.clone(),
        rto: config.objectives.rto,
        skew: Arc::clone(&skew) as Arc<dyn Fn() -> Duration + Send + Sync>,
    })
    .map_err(|e| e.to_string())?;
    let resumed = promotions.resume_all().await;
    if !resumed.is_empty() {
        tracing::warn!(promotions = resumed.join(", "), "unfinished promotions go on");
    }

    let rounds = Rounds {
        clock: Arc::clone(&clock),
        ids: Arc::new(SystemIds),
        index: Arc::clone(&index) as Arc<dyn Index>,
        board: Arc::clone(&board),
        stores: all.clone(),
        stopping: tasks.stopping(),
    };
    tasks.spawn(TaskKind::Doctor, "doctor", async move {
        rounds.run().await;
        Ok(())
    });
    let violations = Arc::clone(&metrics);
    let salvage = Salvages::open(salvage::Inputs {
        index: Arc::clone(&index) as Arc<dyn Index>,
        stores: all,
        clock: Arc::clone(&clock),
        ids: Arc::new(SystemIds),
        app: config.app.clone(),
        primary: config.primary.region.clone(),
        standby: config.standby.region.clone(),
        spill: config.index_path.clone(),
        on_violation: Arc::new(move || violations.soundness_violation()),
        stopping: tasks.stopping(),
    })
    .map_err(|e| e.to_string())?;

    let beats = pulses.clone();
    let view = Arc::new(View {
        fleet: watched(config, &stores),
        index: Arc::clone(&index) as Arc<dyn Index>,
        board,
        recovery: Arc::new(Promoting(promotions)),
        salvage,
        keeping: Arc::new(Keeper(Arc::clone(&fleet), Arc::clone(&convergers))),
        metrics,
        tokens,
        started: clock.now(),
        clock: Arc::clone(&clock),
        clock_skew: Box::new(move || skew()),
        lifeless: Box::new(move || beats.overdue()),
        stopping: tasks.stopping(),
    });
    let address = listener.address();
    listener.run(Arc::clone(&view), tasks);
    watch_over(tasks, notifier, &view, pulses, clock);
    notifier.ready(&format!("listening on {address}; {}", view.words()));
    tracing::info!(app = config.app, %address, stores = stores.len(), "plimsoll runs");
    Ok(Running { index, view, fleet, convergers, _observers: observers })
}

fn open_index(
    config: &Config,
    tasks: &Tasks,
    clock: &SharedClock,
    metrics: &Arc<Metrics>,
) -> Result<Arc<RocksIndex>, String> {
    let metrics = Arc::clone(metrics);
    rocks::open(rocks::Open {
        path: config.index_path.clone(),
        identity: Identity {
            app: config.app.clone(),
            primary: config.primary.region.clone(),
            standby: config.standby.region.clone(),
        },
        tasks: tasks.clone(),
        clock: Arc::clone(clock),
        on_commit: Some(Box::new(move |took| metrics.index_commit(took))),
    })
    .map_err(|e| e.to_string())
}

fn open_store(config: &StoreConfig, aws: &Aws) -> Open {
    let store = config.settings.open(&config.id, aws);
    let terms = Terms { objective: config.rpo, period: store.period() };
    Open { store, terms }
}

/// A store as a promotion sees it.
fn kept(open: &Open) -> Kept {
    let store = Arc::clone(&open.store);
    Kept { id: store.id().clone(), terms: open.terms, steps: Arc::new(move |marks| store.promote_steps(marks)) }
}

fn watched(config: &Config, stores: &[Open]) -> serve::Fleet {
    serve::Fleet {
        app: config.app.clone(),
        primary: config.primary.region.clone(),
        standby: config.standby.region.clone(),
        rpo: config.objectives.rpo,
        rto: config.objectives.rto,
        stores: stores
            .iter()
            .map(|open| Watched {
                id: open.store.id().clone(),
                kind: open.store.kind(),
                mode: open.store.mode().label(),
                terms: open.terms,
            })
            .collect(),
    }
}

/// Feeds the watchdog while every essential task shows life, and tells systemd how things stand.
fn watch_over(tasks: &Tasks, notifier: &Arc<Notifier>, view: &Arc<View>, pulses: Pulses, clock: SharedClock) {
    let (notifier, view, stopping) = (Arc::clone(notifier), Arc::clone(view), tasks.stopping());
    tasks.spawn(TaskKind::Watchdog, "watchdog", async move {
        watchdog::watch(notifier, pulses, move || view.words(), clock, stopping).await;
        Ok(())
    });
}

impl Running {
    async fn until_the_end(self, mut signals: Signals, tasks: &Tasks, notifier: &Notifier) -> ExitCode {
        let mut code = ExitCode::SUCCESS;
        tokio::select! {
            signal = signals.next() => tracing::info!(signal, "stopping"),
            fatal = tasks.failed() => {
                // Essential: half a daemon that looks alive is worse than a restart.
                tracing::error!(%fatal, "an essential task ended; stopping so that the service manager restarts the process");
                code = ExitCode::FAILURE;
            }
        }
        notifier.stopping(GRACE);
        drop(self.view);
        // The drivers' last commits come first; the index is closed behind them.
        let late = tasks.shutdown(GRACE).await;
        if self.fleet.quiet() && self.convergers.quiet() {
            self.index.close().await;
        } else {
            self.index.close_unclean().await;
        }
        if !late.is_empty() {
            tracing::warn!(
                tasks = late.join(", "),
                "did not end in time; what they had not made durable is read again"
            );
        }
        code
    }
}

/// What operators ask of the drivers.
struct Keeper(Arc<Fleet>, Arc<converge::Fleet>);

#[async_trait::async_trait]
impl serve::Keeping for Keeper {
    async fn reseed(&self, store: &crate::change::StoreId, allow_deletes: u64) -> Option<Result<String, String>> {
        match self.0.reseed(store, allow_deletes).await {
            None => self.1.reseed(store, allow_deletes).await,
            answer => answer,
        }
    }

    async fn verify(
        &self,
        store: &crate::change::StoreId,
        repair: bool,
        allow_deletes: u64,
    ) -> Option<Result<String, String>> {
        match self.0.verify(store, repair, allow_deletes).await {
            None => self.1.verify(store, repair, allow_deletes).await,
            answer => answer,
        }
    }

    fn divergent(&self, store: &crate::change::StoreId, most: usize) -> Option<Result<Vec<serve::Divergent>, String>> {
        let shown = |item: crate::replicate::Divergent| serve::Divergent {
            key_sha256: Sha256::digest(&item.key.0).iter().map(|byte| format!("{byte:02x}")).collect(),
            key: item.text,
            what: item.what,
            found_at: item.found_at,
        };
        let found = self.0.divergent(store, most).or_else(|| self.1.divergent(store, most))?;
        Some(found.map(|items| items.into_iter().map(shown).collect()))
    }
}

/// The counts of one store.
struct Count {
    store: StoreMetrics,
    all: Arc<Metrics>,
}

impl Meter for Count {
    fn read(&self, changes: u64) {
        self.store.read(changes);
    }
    fn applied(&self, changes: u64) {
        self.store.applied(changes);
    }
    fn coalesced(&self, changes: u64) {
        self.store.coalesced(changes);
    }
    fn error(&self, class: Class) {
        self.store.error(class);
    }
    fn latency(&self, after: Duration) {
        self.store.latency(after);
    }
    fn violation(&self) {
        self.all.soundness_violation();
    }
    fn canary_roundtrip(&self, after: Duration) {
        self.store.canary_roundtrip(after);
    }
}

impl crate::replicate::Pulse for Pulse {
    fn beat(&self) {
        Pulse::beat(self);
    }
}
