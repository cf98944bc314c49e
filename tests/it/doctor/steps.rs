//! House rule 10 for the steps of a table: every change meets every trouble, and a promotion that dies anywhere comes to
//! the same end, with each change accepted once. The executor and the steps are real, the control plane is scripted with
//! AWS' rules: a table is UPDATING for a while and refuses other changes, TTL changes once an hour.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use plimsoll::change::{Method, SourceTime, Stamp, StoreId};
use plimsoll::config::Promote;
use plimsoll::promote::{
    CatchUp, Entry, Flow, IndexAuthority, Inputs, Journal, Kept, KeyRecord, PlanRecord, Principal, Promotions, Report,
    Request, Role, Secs, Stage, Step, gate, plan,
};
use plimsoll::rpo::Terms;
use plimsoll::seams::{Clock, SharedClock, SystemClock, SystemIds};
use plimsoll::stores::dynamodb::promote::settings::{Capacity, Promoting};
use plimsoll::stores::dynamodb::promote::{self as table, Standby};
use plimsoll::supervise::Tasks;
use plimsoll::watermark::keys::Prefix;
use plimsoll::watermark::memory::{MemoryIndex, Tail};
use plimsoll::watermark::{CommitError, Index, IndexError, Mark, Row, Seed, StoreRecord, Txn, Watermarks};
use plimsoll_lab::clients::{self, Endpoint};
use plimsoll_lab::scripted::{Billing, Fault, FaultRule, KeyKind, ScriptedAws, TableSpec, ViewType};

use crate::attack::fixture::{ORDERS, region};

/// A minute of the executor is so many of ours.
const HASTE: u32 = 25;

/// The machine's clocks, sped up, so that polls and pauses of seconds take none.
struct Hasty(SharedClock);

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> Stamp {
        let now = self.0.now();
        Stamp { wall: now.wall + now.mono * (HASTE - 1), mono: now.mono * HASTE }
    }
    async fn sleep(&self, d: Duration) {
        self.0.sleep(d / HASTE).await;
    }
}

const TERMS: Terms = Terms { objective: Duration::from_secs(3600), period: Duration::from_secs(2) };

fn promote() -> Promote {
    Promote { catch_up: Duration::ZERO, steps: Vec::new() }
}

/// A flow that has nothing to say.
struct Still;

#[async_trait]
impl Flow for Still {
    async fn catch_up(&self, _: Duration) -> Vec<CatchUp> {
        Vec::new()
    }
    async fn close(&self) -> Result<(), String> {
        Ok(())
    }
    fn reopen(&self) {}
}

/// When the process dies: before or after the commit of that number.
#[derive(Debug, Clone, Copy)]
enum Dies {
    Before(usize),
    After(usize),
}

/// The index of one process.
struct Dying {
    inner: MemoryIndex,
    commits: AtomicUsize,
    dies: Option<Dies>,
    dead: tokio::sync::watch::Sender<bool>,
}

impl Dying {
    async fn die<T>(&self) -> T {
        self.dead.send_replace(true);
        std::future::pending().await
    }
}

#[async_trait]
impl Index for Dying {
    async fn commit(&self, txn: Txn) -> Result<(), CommitError> {
        if *self.dead.borrow() {
            return self.die().await;
        }
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        match self.dies {
            Some(Dies::Before(at)) if at == number => self.die().await,
            Some(Dies::After(at)) if at == number => {
                self.inner.commit(txn).await?;
                self.die().await
            }
            _ => self.inner.commit(txn).await,
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

/// A standby region, and what is left of the processes.
struct World {
    y: Arc<ScriptedAws>,
    index: MemoryIndex,
    clock: SharedClock,
}

struct Process {
    promotions: Arc<Promotions>,
    index: Arc<Dying>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let y = region("us-west-2", seed);
        let spec = TableSpec::new(ORDERS, "pk").index("by-day", "day", KeyKind::S);
        y.create_table(spec.with(|settings| {
            settings.billing = Billing::Provisioned { read: 5, write: 5 };
            settings.updates_take = Duration::from_millis(60);
            settings.ttl_takes = Duration::from_secs(3600);
        }));
        let world = Self { y, index: MemoryIndex::new(), clock: Arc::new(Hasty(SystemClock::shared())) };
        let record = StoreRecord {
            seed: Seed::Done { at: SourceTime(0) },
            through: Some(world.clock.now().wall),
            method: Some(Method::Verified),
            ..StoreRecord::default()
        };
        let marks = vec![(StoreId::new(ORDERS).unwrap(), Mark { record, proved: None })];
        world.index.commit(Txn { marks, ..Txn::default() }).await.unwrap();
        world.ask().await;
        world
    }

    /// Somebody pressed promote, and that is all that happened.
    async fn ask(&self) {
        let stores = [(StoreId::new(ORDERS).unwrap(), TERMS)];
        let planned = plan::plan(&promote(), &stores, self.steps()).unwrap();
        let request = Request::from_json(br#"{"reason":"a test","accept_loss":{"orders":"1d"}}"#).unwrap();
        let used = KeyRecord { promotion: "p1".into(), request_hash: request.hash() };
        let snapshot = self.index.snapshot();
        let first = Entry::Requested {
            gate: gate::judge(self.clock.now(), Duration::ZERO, &snapshot, &stores, &request),
            request,
            by: Principal { name: "alice".into(), role: Role::Approver },
            key: "k".into(),
            plan: PlanRecord {
                hash: planned.hash,
                steps: planned.steps,
                objectives: planned.objectives,
                rto_seconds: Secs(Duration::from_secs(900)),
            },
        };
        let authority = Arc::new(IndexAuthority(Arc::new(self.index.clone()) as Arc<dyn Index>));
        Journal::begin("p1".into(), authority, Arc::clone(&self.clock), "k", &used, vec![first]).await.unwrap();
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        table::steps(&Standby {
            store: StoreId::new(ORDERS).unwrap(),
            client: clients::dynamodb_once(&Endpoint::new(self.y.endpoint(), "us-west-2")),
            table: ORDERS.into(),
            region: "us-west-2".into(),
            promoting: Promoting { capacity: Capacity::AtLeast { read: 20, write: 40 }, ..Promoting::default() },
            source: Some(r#"{"ttl":"ends"}"#.into()),
        })
    }

    fn process(&mut self, dies: Option<Dies>) -> Process {
        self.index = self.index.crash(Tail::Lost);
        let index = Arc::new(Dying {
            inner: self.index.clone(),
            commits: AtomicUsize::new(0),
            dies,
            dead: tokio::sync::watch::Sender::new(false),
        });
        let steps = self.steps();
        let promotions = Promotions::open(Inputs {
            index: Arc::clone(&index) as Arc<dyn Index>,
            flow: Arc::new(Still),
            clock: Arc::clone(&self.clock),
            ids: Arc::new(SystemIds),
            tasks: Tasks::new(),
            stores: vec![Kept {
                id: StoreId::new(ORDERS).unwrap(),
                terms: TERMS,
                steps: Arc::new(move |_| steps.clone()),
            }],
            promote: promote(),
            rto: Duration::from_secs(900),
            skew: Arc::new(|| Duration::ZERO),
        });
        Process { promotions: promotions.unwrap(), index }
    }

    /// What the table is to be, and how often it was told.
    fn judge(&self, report: &Report, what: &str) {
        let text = report.text();
        assert_eq!(report.stage, Stage::Completed, "{what}\n{text}");
        let settings = self.y.settings(ORDERS);
        assert!(settings.deletion_protection, "{what}\n{text}");
        assert_eq!(settings.billing, Billing::Provisioned { read: 20, write: 40 }, "{what}\n{text}");
        assert_eq!(settings.ttl.as_deref(), Some("ends"), "{what}\n{text}");
        assert!(!self.y.shards(ORDERS).is_empty(), "{what}: the stream is on\n{text}");
        for step in ["ttl", "stream", "deletion-protection", "capacity"] {
            let line = text.lines().find(|line| line.contains(&format!("orders.{step} "))).expect("it is told");
            assert!(line.split_whitespace().any(|word| word == "done" || word == "started"), "{what}: {line}");
        }
    }
}

impl Process {
    /// Takes the promotion up; its report, or `None` when the process died.
    async fn run(&self) -> Option<Report> {
        let mut dead = self.index.dead.subscribe();
        tokio::select! {
            report = self.to_the_end() => Some(report),
            _ = dead.wait_for(|dead| *dead) => None,
        }
    }

    async fn to_the_end(&self) -> Report {
        self.promotions.resume_all().await;
        loop {
            let report = self.promotions.get("p1").expect("it is known");
            assert_ne!(report.stage, Stage::Held, "{}", report.text());
            if report.stage.over() {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Changes that were sent: UpdateTable (stream, protection, capacity) and UpdateTimeToLive.
fn sent(y: &ScriptedAws) -> (u64, u64) {
    (y.calls("UpdateTable"), y.calls("UpdateTimeToLive"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule10_every_change_meets_every_trouble() {
    let changes = [("UpdateTable", 1), ("UpdateTable", 2), ("UpdateTable", 3), ("UpdateTimeToLive", 1)];
    let troubles = [
        Fault::Throttle,
        Fault::InternalError,
        Fault::Drop,
        Fault::LoseAnswer,
        Fault::LoseAnswerLate { delay: Duration::from_millis(50) },
        Fault::Delay(Duration::from_millis(100)),
        Fault::SlowAnswer(Duration::from_millis(100)),
    ];
    for (operation, nth) in changes {
        for trouble in &troubles {
            let what = format!("{operation} {nth} {trouble:?}");
            let mut world = World::new(1).await;
            let fault = world.y.fault(FaultRule::on(operation).nth(nth).fault(trouble.clone()));
            let report = world.process(None).run().await.expect("nothing kills it");
            assert_eq!(world.y.faults_applied(fault), 1, "{what}: it was met");
            world.judge(&report, &what);
            // What was refused is sent again; what took effect is not.
            let again = u64::from(matches!(trouble, Fault::Throttle | Fault::InternalError | Fault::Drop));
            let wanted = if operation == "UpdateTable" { (3 + again, 1) } else { (3, 1 + again) };
            assert_eq!(sent(&world.y), wanted, "{what}\n{}", report.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule10_every_look_meets_trouble() {
    for operation in ["Scan", "DescribeTable", "DescribeTimeToLive"] {
        for trouble in
            [Fault::Throttle, Fault::InternalError, Fault::Drop, Fault::SlowAnswer(Duration::from_millis(50))]
        {
            for nth in 1..=3 {
                let what = format!("{operation} {nth} {trouble:?}");
                let mut world = World::new(2).await;
                world.y.fault(FaultRule::on(operation).nth(nth).fault(trouble.clone()));
                let report = world.process(None).run().await.expect("nothing kills it");
                world.judge(&report, &what);
                assert_eq!(sent(&world.y), (3, 1), "{what}");
            }
        }
    }
}

/// SG-1: dies before and after every record; resumes; each change is sent once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sg1_a_promotion_of_a_table_dies_anywhere_and_comes_to_the_same_end() {
    let mut clean = World::new(3).await;
    let process = clean.process(None);
    let report = process.run().await.expect("nothing kills it");
    clean.judge(&report, "clean");
    let commits = process.index.commits.load(Ordering::SeqCst);
    assert!(commits > 15, "{commits} commits");
    for at in 0..commits {
        for dies in [Dies::Before(at), Dies::After(at)] {
            let what = format!("{dies:?} of {commits}");
            let mut world = World::new(3).await;
            let first = world.process(Some(dies));
            let mut report = first.run().await;
            if report.is_none() {
                report = world.process(None).run().await;
            }
            let report = report.expect("the second lives");
            world.judge(&report, &what);
            assert_eq!(sent(&world.y), (3, 1), "{what}\n{}", report.text());
        }
    }
}

/// Repeat: a table that is as it should be is looked at and left alone; one that has more is not lowered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sg2_a_second_promotion_of_the_same_table_sends_nothing() {
    let mut world = World::new(4).await;
    let report = world.process(None).run().await.expect("nothing kills it");
    world.judge(&report, "first");
    world.y.change_settings(ORDERS, |s| s.billing = Billing::Provisioned { read: 20, write: 90 });
    let other = World { y: Arc::clone(&world.y), ..World::new(5).await };
    let mut other = other;
    let report = other.process(None).run().await.expect("nothing kills it");
    assert_eq!(report.stage, Stage::Completed, "{}", report.text());
    assert_eq!(sent(&world.y), (3, 1), "{}", report.text());
    assert_eq!(world.y.settings(ORDERS).billing, Billing::Provisioned { read: 20, write: 90 });
}

/// SG-6: what AWS refuses for good is noted, what is busy for too long is noted, and neither holds the recovery up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sg6_refused_and_busy_changes_are_noted() {
    let mut world = World::new(6).await;
    world.y.fault(FaultRule::on("UpdateTable").fault(Fault::AccessDenied));
    world.y.fault(FaultRule::on("UpdateTimeToLive").fault(Fault::Validation("changed within the hour".into())));
    let report = world.process(None).run().await.expect("nothing kills it");
    let text = report.text();
    assert_eq!(report.stage, Stage::Completed, "{text}");
    assert_eq!(sent(&world.y), (3, 1), "nothing is tried again that was refused: {text}");
    assert!(text.contains("AccessDenied") && text.contains("changed within the hour"), "{text}");

    let mut world = World::new(7).await;
    world.y.change_settings(ORDERS, |s| s.status = Some("UPDATING".into()));
    let report = world.process(None).run().await.expect("nothing kills it");
    let text = report.text();
    assert_eq!((report.stage, sent(&world.y).0), (Stage::Completed, 0), "{text}");
    assert!(text.contains("the table is UPDATING"), "{text}");
}

/// A stream of another view and a TTL by another attribute cannot be led on from: said, and left as they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_are_said_and_left_alone() {
    let mut world = World::new(8).await;
    world.y.enable_stream(ORDERS, ViewType::KeysOnly);
    world.y.change_settings(ORDERS, |s| s.ttl = Some("other".into()));
    let report = world.process(None).run().await.expect("nothing kills it");
    let text = report.text();
    assert_eq!((report.stage, sent(&world.y)), (Stage::Completed, (2, 0)), "{text}");
    assert!(text.contains("KEYS_ONLY") && text.contains("TTL is on by other"), "{text}");
    assert_eq!(world.y.settings(ORDERS).ttl.as_deref(), Some("other"));
}
