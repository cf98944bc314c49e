//! The world of these tests: what outlives a process (the index, the effects, the direction of the flow), and a process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::Instant;

use super::super::*;
use crate::change::{Method, SourceTime, Stamp, StoreId};
use crate::rpo::Terms;
use crate::seams::{SharedClock, SystemIds, TokioClock};
use crate::supervise::Tasks;
use crate::watermark::keys::Prefix;
use crate::watermark::memory::{Fault, MemoryIndex, Tail};
use crate::watermark::{CommitError, Index, IndexError, Mark, Row, Seed, StoreRecord, Txn, Watermarks};

/// What befalls the act of a step, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It fails and has no effect.
    Fails,
    /// The request is lost and the answer too.
    LostBefore,
    /// It takes effect and the answer is lost.
    LostAfter,
    /// The process dies before it takes effect.
    DiesBefore,
    /// The process dies after it took effect.
    DiesAfter,
    /// It takes a minute.
    Slow,
    /// It takes a minute, and the answer is lost.
    SlowLost,
    /// Its check fails.
    CheckFails,
    /// Its check hangs.
    CheckHangs,
    /// It has a bug.
    Panics,
}

/// What befalls the commit of that number, counted from the last start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trip {
    /// The process dies before it.
    DiesBefore,
    /// The process dies after it.
    DiesAfter,
    /// It fails.
    Fails,
    /// It fails and is durable all the same.
    FailsDurable,
    /// Durable, and no answer ever comes; the process lives.
    Mute,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Effect {
    pub(super) sent: u32,
    done_at: Option<Instant>,
}

/// What outlives a process.
pub(super) struct Lab {
    pub(super) index: Mutex<MemoryIndex>,
    pub(super) effects: Mutex<BTreeMap<String, Effect>>,
    pub(super) troubles: Mutex<BTreeMap<String, Trouble>>,
    dead: AtomicBool,
    began: Instant,
    pub(super) terms: Mutex<Vec<(StoreId, Terms)>>,
    pub(super) skew: Mutex<Duration>,
    /// Besides those of every plan.
    pub(super) extra: Mutex<Vec<Fake>>,
}

/// 2026-11-23T14:00:00Z.
pub(super) const BASE: u64 = 1_795_442_400;

pub(super) fn store(id: &str) -> StoreId {
    StoreId::new(id).unwrap()
}

pub(super) fn approver() -> Authorized {
    Authorized::new("alice", Role::Approver)
}

/// Accepts everything after BASE, so that no number refuses it.
pub(super) fn request() -> Request {
    Request::from_json(
        br#"{"reason":"prodX is gone","accept_loss":{"orders":"@2026-11-23T13:59:00Z","users":"@2026-11-23T13:59:00Z"}}"#,
    )
    .unwrap()
}

pub(super) fn mark(through: SourceTime) -> Mark {
    let record = StoreRecord {
        seed: Seed::Done { at: SourceTime(0) },
        through: Some(through),
        method: Some(Method::Verified),
        ..StoreRecord::default()
    };
    Mark { record, proved: None }
}

pub(super) fn base() -> SourceTime {
    SourceTime::from_secs(i64::try_from(BASE).unwrap())
}

impl Lab {
    /// Two stores with W at BASE, now being BASE + 5 s.
    pub(super) async fn new() -> Arc<Self> {
        let terms = Terms { objective: Duration::from_secs(30), period: Duration::from_secs(2) };
        let lab = Arc::new(Self {
            index: Mutex::new(MemoryIndex::new()),
            effects: Mutex::default(),
            troubles: Mutex::default(),
            dead: AtomicBool::new(false),
            began: Instant::now(),
            terms: Mutex::new(vec![(store("orders"), terms), (store("users"), terms)]),
            skew: Mutex::default(),
            extra: Mutex::default(),
        });
        lab.set("orders", mark(base())).await;
        lab.set("users", mark(base())).await;
        lab
    }

    pub(super) async fn set(&self, id: &str, mark: Mark) {
        let txn = Txn { marks: vec![(store(id), mark)], ..Txn::default() };
        self.index().commit(txn).await.unwrap();
    }

    pub(super) fn index(&self) -> MemoryIndex {
        self.index.lock().unwrap().clone()
    }

    pub(super) fn trouble(&self, step: &str, trouble: Trouble) {
        self.troubles.lock().unwrap().insert(step.into(), trouble);
    }

    pub(super) fn sent(&self, step: &str) -> u32 {
        self.effects.lock().unwrap().get(step).map_or(0, |e| e.sent)
    }

    pub(super) fn clock(&self) -> SharedClock {
        TokioClock::shared(UNIX_EPOCH + Duration::from_secs(BASE + 5) + self.began.elapsed())
    }

    pub(super) fn dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    async fn die(&self) -> ! {
        self.dead.store(true, Ordering::SeqCst);
        std::future::pending().await
    }

    async fn alive(&self) {
        if self.dead() {
            std::future::pending::<()>().await;
        }
    }

    fn effect(&self, step: &str, takes: Duration) {
        let mut effects = self.effects.lock().unwrap();
        let effect = effects.entry(step.into()).or_default();
        effect.sent += 1;
        effect.done_at = Some(Instant::now() + takes);
    }

    /// A new process on what the last one left.
    pub(super) fn process(self: &Arc<Self>, trip: Option<(usize, Trip)>) -> Process {
        let index = self.index().crash(Tail::Lost);
        *self.index.lock().unwrap() = index.clone();
        self.dead.store(false, Ordering::SeqCst);
        let dying = Arc::new(Dying { lab: Arc::clone(self), inner: index, commits: AtomicUsize::new(0), trip });
        let open = dying.inner.snapshot().fence.is_none();
        let flow =
            Arc::new(FakeFlow { index: dying.inner.clone(), open: AtomicBool::new(open), ..FakeFlow::default() });
        let tasks = Tasks::new();
        let stores = self.terms.lock().unwrap().clone();
        let lab = Arc::clone(self);
        let steps: StepsOf = Arc::new(move |_| steps(&lab));
        let none: StepsOf = Arc::new(|_| Vec::new());
        let kept = (0..).zip(stores).map(|(at, (id, terms))| Kept {
            id,
            terms,
            steps: Arc::clone(if at == 0 { &steps } else { &none }),
        });
        let lab = Arc::clone(self);
        let inputs = Inputs {
            index: Arc::clone(&dying) as Arc<dyn Index>,
            flow: Arc::clone(&flow) as Arc<dyn Flow>,
            clock: self.clock(),
            ids: Arc::new(SystemIds),
            tasks: tasks.clone(),
            stores: kept.collect(),
            promote: crate::config::Promote { catch_up: Duration::from_secs(10), steps: Vec::new() },
            rto: Duration::from_secs(900),
            skew: Arc::new(move || *lab.skew.lock().unwrap()),
        };
        let promotions = Promotions::open(inputs).expect("the journal reads");
        Process { lab: Arc::clone(self), promotions, flow, dying, tasks }
    }
}

/// A process.
pub(super) struct Process {
    pub(super) lab: Arc<Lab>,
    pub(super) promotions: Arc<Promotions>,
    pub(super) flow: Arc<FakeFlow>,
    pub(super) dying: Arc<Dying>,
    pub(super) tasks: Tasks,
}

impl Process {
    /// Starts one; with a fixed key, so that a process that died in the call is called again with it.
    pub(super) async fn start(&self) -> Option<Result<Started, StartError>> {
        let who = approver();
        let started = self.promotions.start(&who, request(), Some("key"));
        tokio::select! {
            biased;
            started = started => Some(started),
            () = self.death() => None,
        }
    }

    async fn death(&self) {
        while !self.lab.dead() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until nothing runs, or the process is dead. Gives the newest promotion.
    pub(super) async fn settle(&self) -> Option<Report> {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.lab.dead() {
                return None;
            }
            let last = self.promotions.list().pop()?;
            if last.stage.over() || last.stage == Stage::Held || last.stuck.is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                return self.promotions.get(&last.promotion);
            }
        }
    }
}

/// The index of one process: trips at the commit of a number.
pub(super) struct Dying {
    lab: Arc<Lab>,
    inner: MemoryIndex,
    pub(super) commits: AtomicUsize,
    trip: Option<(usize, Trip)>,
}

#[async_trait]
impl Index for Dying {
    async fn commit(&self, txn: Txn) -> Result<(), CommitError> {
        self.lab.alive().await;
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        match self.trip.filter(|(at, _)| *at == number) {
            None => self.inner.commit(txn).await,
            Some((_, Trip::DiesBefore)) => self.lab.die().await,
            Some((_, Trip::DiesAfter)) => {
                self.inner.commit(txn).await?;
                self.lab.die().await
            }
            Some((_, Trip::Mute)) => {
                self.inner.commit(txn).await?;
                std::future::pending().await
            }
            Some((_, Trip::Fails)) => {
                self.inner.fail_next([Fault::Lost]);
                self.inner.commit(txn).await
            }
            Some((_, Trip::FailsDurable)) => {
                self.inner.fail_next([Fault::Durable]);
                self.inner.commit(txn).await
            }
        }
    }
    fn snapshot(&self) -> Arc<Watermarks> {
        self.inner.snapshot()
    }
    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, IndexError> {
        self.inner.get(row)
    }
    fn scan(&self, prefix: &Prefix) -> Result<Vec<(Row, Vec<u8>)>, IndexError> {
        self.inner.scan(prefix)
    }
    fn health(&self) -> Result<(), String> {
        self.inner.health()
    }
}

/// The flow of one process. Notices when it is opened behind the fence.
#[derive(Default)]
pub(super) struct FakeFlow {
    index: MemoryIndex,
    pub(super) open: AtomicBool,
    /// Opened although the fence is durable: the unforgivable thing.
    pub(super) violated: AtomicBool,
    pub(super) refuses_to_close: AtomicBool,
    /// How long the catch-up takes, at most its bound.
    pub(super) takes: Mutex<Duration>,
    /// What the catch-up brings.
    pub(super) brings: Mutex<Vec<(StoreId, Mark)>>,
    pub(super) bound: Mutex<Option<Duration>>,
}

#[async_trait]
impl Flow for FakeFlow {
    async fn catch_up(&self, bound: Duration) -> Vec<CatchUp> {
        *self.bound.lock().unwrap() = Some(bound);
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes.min(bound)).await;
        let marks = self.brings.lock().unwrap().clone();
        if !marks.is_empty() {
            self.index.commit(Txn { marks, ..Txn::default() }).await.unwrap();
        }
        vec![CatchUp { store: store("orders"), left: 0, why: "prodX does not answer".into() }]
    }
    async fn close(&self) -> Result<(), String> {
        if self.refuses_to_close.load(Ordering::SeqCst) {
            return Err("a write is stuck".into());
        }
        self.open.store(false, Ordering::SeqCst);
        Ok(())
    }
    fn reopen(&self) {
        if self.index.snapshot().fence.is_some() {
            self.violated.store(true, Ordering::SeqCst);
        }
        self.open.store(true, Ordering::SeqCst);
    }
}

/// A step whose effect outlives the process.
#[derive(Clone)]
pub(super) struct Fake {
    pub(super) id: &'static str,
    pub(super) phase: Phase,
    pub(super) needs: Vec<StepId>,
    pub(super) required: bool,
    pub(super) repeat: Repeat,
    pub(super) checks: bool,
    pub(super) lab: Option<Arc<Lab>>,
}

pub(super) fn fake(id: &'static str, phase: Phase) -> Fake {
    Fake { id, phase, needs: Vec::new(), required: true, repeat: Repeat::Checked, checks: true, lab: None }
}

/// The steps of every plan of these tests, besides the spine's own.
pub(super) const STEPS: [&str; 5] = ["tell", "db-a", "db-b", "svc", "svc-after"];

fn steps(lab: &Arc<Lab>) -> Vec<Arc<dyn Step>> {
    let mut fakes = vec![
        Fake { required: false, ..fake("tell", Phase::Announce) },
        fake("db-a", Phase::Databases),
        fake("db-b", Phase::Databases),
        fake("svc", Phase::Services),
        Fake { needs: vec!["svc".into()], ..fake("svc-after", Phase::Services) },
    ];
    fakes.extend(lab.extra.lock().unwrap().iter().cloned());
    let with = |f: Fake| Arc::new(Fake { lab: Some(Arc::clone(lab)), ..f }) as Arc<dyn Step>;
    fakes.into_iter().map(with).collect()
}

impl Fake {
    fn lab(&self) -> &Arc<Lab> {
        self.lab.as_ref().unwrap()
    }
    fn take(&self, wanted: &[Trouble]) -> Option<Trouble> {
        let mut troubles = self.lab().troubles.lock().unwrap();
        let found = troubles.get(self.id).copied().filter(|t| wanted.contains(t))?;
        troubles.remove(self.id);
        Some(found)
    }
}

#[async_trait]
impl Step for Fake {
    fn id(&self) -> StepId {
        self.id.into()
    }
    fn describe(&self) -> Description {
        Description {
            phase: self.phase,
            needs: self.needs.clone(),
            calls: vec![format!("promote {}", self.id)],
            required: self.required,
            reversible: false,
            deadline: Duration::from_secs(300),
            poll: Duration::from_secs(1),
            deferred: false,
            repeat: self.repeat,
        }
    }
    async fn check(&self, _: &Context<'_>) -> Result<World, StepError> {
        self.lab().alive().await;
        match self.take(&[Trouble::CheckFails, Trouble::CheckHangs]) {
            Some(Trouble::CheckHangs) => std::future::pending().await,
            Some(_) => return Err(StepError::Failed("503".into())),
            None => {}
        }
        if !self.checks {
            return Ok(World::Unknowable);
        }
        let effect = self.lab().effects.lock().unwrap().get(self.id).copied();
        Ok(match effect.and_then(|e| e.done_at) {
            None => World::NotStarted("standby".into()),
            Some(at) if at <= Instant::now() => World::Done("primary".into()),
            Some(_) => World::InProgress("promoting".into()),
        })
    }
    async fn act(&self, _: &Context<'_>) -> Result<(), StepError> {
        use Trouble::*;
        let lab = self.lab();
        lab.alive().await;
        assert!(
            self.phase < Phase::Fence || lab.index().snapshot().fence.is_some(),
            "{} acted before the fence was durable",
            self.id
        );
        let lost = || StepError::Unknown("timed out".into());
        let trouble = self.take(&[Fails, LostBefore, LostAfter, DiesBefore, DiesAfter, Slow, SlowLost, Panics]);
        match trouble {
            Some(Fails) => return Err(StepError::Failed("throttled".into())),
            Some(LostBefore) => return Err(lost()),
            Some(Panics) => panic!("injected"),
            Some(DiesBefore) => lab.die().await,
            _ => {}
        }
        let slow = matches!(trouble, Some(Slow | SlowLost));
        lab.effect(self.id, if slow { Duration::from_secs(60) } else { Duration::ZERO });
        match trouble {
            Some(LostAfter | SlowLost) => Err(lost()),
            Some(DiesAfter) => lab.die().await,
            _ => Ok(()),
        }
    }
}

/// Now and then, as stamps for pure tests.
pub(super) fn at(secs: u64) -> Stamp {
    Stamp { wall: base() + Duration::from_secs(secs), mono: Duration::from_secs(1_000 + secs) }
}
