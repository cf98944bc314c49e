//! The driver of an observed store, beside a made-up pair of regions.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use plimsoll::change::{Class, Evidence, Method, SourceTime, StoreId};
use plimsoll::observe::Fleet;
use plimsoll::promote::{Flow as _, Step};
use plimsoll::replicate::{Deps, Meter, Pulse};
use plimsoll::rpo::{Rpo, State, Terms, assess};
use plimsoll::seams::{Ids, SharedClock, TokioClock};
use plimsoll::stores::contract::{Mode, Rhythm, Store};
use plimsoll::stores::observe::{Beat, Cadence, Facts, Look, Observe};
use plimsoll::stores::{StoreError, StoreState};
use plimsoll::supervise::Tasks;
use plimsoll::watermark::memory::{Fault, MemoryIndex, Tail};
use plimsoll::watermark::{Board, Index, Watermarks};

const S: fn(u64) -> Duration = Duration::from_secs;
const MS: fn(u64) -> Duration = Duration::from_millis;

/// Of an observed store only the period counts.
pub(crate) const RHYTHM: Rhythm = Rhythm {
    poll_min: Duration::from_secs(1),
    poll_max: Duration::from_secs(2),
    empty_run: 1,
    propagation: Duration::ZERO,
    publish: Duration::ZERO,
    max_request_life: Duration::ZERO,
    apply_concurrency: 1,
    apply_batch: 1,
    survey_every: Duration::from_secs(60),
};

/// prodX, prodY, and what stands between them.
#[derive(Debug, Default)]
struct World {
    x: Option<Beat>,
    y: Option<Beat>,
    /// prodX does not answer: a heartbeat hangs.
    dead: bool,
    /// What is written in prodX does not come to prodY.
    cut: bool,
    /// prodY does not answer: a look fails.
    blind: bool,
    /// A look never ends.
    hung: bool,
    /// Heartbeats that prodX has received.
    beats: u64,
    looks: u64,
    round_trips: u64,
}

type Shared = Arc<Mutex<World>>;

struct Fake {
    id: StoreId,
    world: Shared,
    clock: SharedClock,
}

impl Store for Fake {
    fn id(&self) -> &StoreId {
        &self.id
    }
    fn kind(&self) -> &'static str {
        "fake"
    }
    fn mode(&self) -> Mode<'_> {
        Mode::Observe(self)
    }
    fn rhythm(&self) -> Rhythm {
        RHYTHM
    }
    fn watermark(&self, state: &StoreState) -> Option<(SourceTime, Method)> {
        state.record.through.zip(state.record.method)
    }
    fn promote_steps(&self, _: &Watermarks) -> Vec<Arc<dyn Step>> {
        Vec::new()
    }
}

#[async_trait]
impl Observe for Fake {
    fn cadence(&self) -> Cadence {
        Cadence { look_every: S(1), beat_every: Some(S(2)) }
    }

    async fn observe(&self, look: Look<'_>) -> Result<(Vec<Evidence>, Facts), StoreError> {
        let (seen, hung) = {
            let mut world = self.world.lock().unwrap();
            world.looks += 1;
            if world.blind {
                return Err(StoreError::new(Class::Unavailable, "looking", "prodY"));
            }
            (world.y.clone(), world.hung)
        };
        if hung {
            std::future::pending::<()>().await;
        }
        let now = self.clock.now();
        let proof = look.beats.proof(std::slice::from_ref(&seen), now);
        let mut evidence = Vec::new();
        match &proof {
            Ok(proof) => evidence.push(Evidence::Advance { through: proof.sent.wall, method: Method::Verified }),
            Err(fault) => evidence.push(Evidence::Silent { since: now, what: fault.to_string() }),
        }
        let beat_seen = proof.ok().map(|proof| proof.seq);
        let facts = Facts { incarnation: Some("copy".into()), beat_seen, ..Facts::default() };
        Ok((evidence, facts))
    }

    async fn beat(&self, beat: &Beat) -> Result<(), StoreError> {
        let dead = self.world.lock().unwrap().dead;
        if dead {
            std::future::pending::<()>().await;
        }
        self.clock.sleep(MS(100)).await;
        let mut world = self.world.lock().unwrap();
        world.beats += 1;
        world.x = Some(beat.clone());
        if !world.cut {
            world.y = Some(beat.clone());
        }
        Ok(())
    }
}

struct Nothing(Shared);

impl Meter for Nothing {
    fn read(&self, _: u64) {}
    fn applied(&self, _: u64) {}
    fn error(&self, _: Class) {}
    fn latency(&self, _: Duration) {}
    fn violation(&self) {}
    fn canary_roundtrip(&self, _: Duration) {
        self.0.lock().unwrap().round_trips += 1;
    }
}

impl Pulse for Nothing {
    fn beat(&self) {}
}

struct Counted(Mutex<u128>);

impl Ids for Counted {
    fn fresh(&self) -> [u8; 16] {
        let mut last = self.0.lock().unwrap();
        *last += 1;
        last.to_be_bytes()
    }
}

/// A process.
struct Process {
    fleet: Arc<Fleet>,
    tasks: Tasks,
    index: MemoryIndex,
    board: Arc<Board>,
    clock: SharedClock,
}

fn id() -> StoreId {
    StoreId::new("orders").unwrap()
}

impl Process {
    fn start(world: &Shared, index: MemoryIndex, clock: &SharedClock, name: u128) -> Self {
        let (tasks, board) = (Tasks::new(), Arc::new(Board::default()));
        let store: Arc<dyn Store> = Arc::new(Fake { id: id(), world: Arc::clone(world), clock: Arc::clone(clock) });
        let ids: Arc<dyn Ids> = Arc::new(Counted(Mutex::new(name << 64)));
        let deps = |_: &Arc<dyn Store>| Deps {
            clock: Arc::clone(clock),
            ids: Arc::clone(&ids),
            index: Arc::new(index.clone()),
            board: Arc::clone(&board),
            meter: Arc::new(Nothing(Arc::clone(world))),
            pulse: Arc::new(Nothing(Arc::clone(world))),
            skew: Arc::new(|| Duration::ZERO),
            clean_start: true,
        };
        let fenced = index.snapshot().fence.is_some();
        let fleet = Fleet::start(&[store], deps, &tasks, fenced, Arc::clone(clock)).unwrap();
        Self { fleet, tasks, index, board, clock: Arc::clone(clock) }
    }

    fn rpo(&self) -> Rpo {
        let terms = Terms { objective: S(60), period: S(2) };
        assess(self.clock.now(), Duration::ZERO, &id(), &self.index.snapshot(), &terms)
    }

    fn watermark(&self) -> SourceTime {
        self.rpo().watermark.expect("a watermark")
    }

    /// The end of the process, in the middle of whatever it does; what was durable is.
    async fn kill(self) -> MemoryIndex {
        let left = self.index.crash(Tail::Lost);
        self.tasks.shutdown(Duration::ZERO).await;
        left
    }
}

fn begin() -> (Shared, SharedClock) {
    (Shared::default(), TokioClock::shared(UNIX_EPOCH + S(1_795_500_000)))
}

fn set(world: &Shared, change: impl FnOnce(&mut World)) {
    change(&mut world.lock().unwrap());
}

async fn pass(d: Duration) {
    tokio::time::sleep(d).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_ok_while_heartbeats_come_through_and_its_number_has_slope_one_when_they_do_not() {
    let (world, clock) = begin();
    let process = Process::start(&world, MemoryIndex::new(), &clock, 1);
    pass(S(5)).await;
    assert_eq!(process.rpo().state, State::Ok);
    assert!(process.rpo().rpo.is_some_and(|rpo| rpo < S(4)), "{:?}", process.rpo());
    assert!(world.lock().unwrap().round_trips >= 2);
    set(&world, |w| w.cut = true);
    let mut last = process.rpo().upper_bound.unwrap();
    let stood = process.clock.now().wall;
    for _ in 0..200 {
        pass(MS(100)).await;
        let bound = process.rpo().upper_bound.unwrap();
        assert!(bound <= last + MS(100), "P4: {last:?} to {bound:?}");
        last = bound;
    }
    assert_eq!(process.rpo().state, State::Unknown);
    assert!(process.watermark() <= stood && last >= S(20), "{last:?}");
    set(&world, |w| w.cut = false);
    pass(S(4)).await;
    assert_eq!(process.rpo().state, State::Ok);
}

#[tokio::test(start_paused = true)]
async fn fo2_no_heartbeat_is_sent_behind_a_closed_flow_not_even_by_the_next_process() {
    let (world, clock) = begin();
    let process = Process::start(&world, MemoryIndex::new(), &clock, 1);
    pass(S(5)).await;
    // One hangs in a dead prodX: it is waited for a little and given up.
    set(&world, |w| w.dead = true);
    pass(S(3)).await;
    let asked = clock.now();
    process.fleet.close().await.unwrap();
    assert!(clock.now().since(asked) < S(2));
    set(&world, |w| w.dead = false);
    let (beats, mark) = (world.lock().unwrap().beats, process.watermark());
    pass(S(60)).await;
    assert_eq!((world.lock().unwrap().beats, process.watermark()), (beats, mark));
    // Only a promotion that ends before its fence opens it again.
    process.fleet.reopen();
    pass(S(5)).await;
    assert!(world.lock().unwrap().beats > beats && process.watermark() > mark);
    process.fleet.close().await.unwrap();
    let fence = plimsoll::watermark::Fence { promotion: "p".into(), at: clock.now().wall, direction_epoch: 1 };
    let txn = plimsoll::watermark::Txn { fence: Some(fence), ..Default::default() };
    process.index.commit(txn).await.unwrap();
    let (beats, mark) = (world.lock().unwrap().beats, process.watermark());
    let index = process.kill().await;
    let next = Process::start(&world, index, &clock, 2);
    pass(S(60)).await;
    assert_eq!((world.lock().unwrap().beats, next.watermark()), (beats, mark));
    assert_eq!(next.rpo().state, State::Fenced);
}

#[tokio::test(start_paused = true)]
async fn a_catch_up_looks_once_more_and_never_waits_longer_than_it_may() {
    let (world, clock) = begin();
    let process = Process::start(&world, MemoryIndex::new(), &clock, 1);
    pass(S(5) + MS(300)).await;
    let asked = clock.now();
    let caught = process.fleet.catch_up(S(30)).await;
    assert_eq!((caught.len(), caught[0].left), (1, 0));
    assert!(clock.now().since(asked) < S(1), "{caught:?} after {:?}", clock.now().since(asked));
    assert!(process.watermark() >= asked.wall, "a heartbeat of its own: {:?}", process.rpo());
    pass(MS(10)).await;
    set(&world, |w| w.hung = true);
    let asked = clock.now();
    let caught = process.fleet.catch_up(S(3)).await;
    assert!(clock.now().since(asked) <= S(4) && caught[0].why.contains("without a look"), "{caught:?}");
    process.fleet.close().await.expect("a look that hangs holds nothing up");
}

#[tokio::test(start_paused = true)]
async fn rk6_killed_at_any_moment_it_never_goes_back_and_begins_as_unknown() {
    let (world, clock) = begin();
    let mut process = Process::start(&world, MemoryIndex::new(), &clock, 1);
    pass(S(5)).await;
    let mut last = process.watermark();
    for n in 0..60_u64 {
        let index = process.kill().await;
        process = Process::start(&world, index, &clock, u128::from(n) + 2);
        assert_eq!(process.rpo().state, State::Unknown, "no proof yet, {n}");
        assert!(process.watermark() >= last);
        last = process.watermark();
        pass(MS(37 * n)).await;
        assert!(process.watermark() >= last && process.watermark() <= clock.now().wall);
    }
    pass(S(5)).await;
    assert_eq!(process.rpo().state, State::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_tried_again_and_nothing_is_shown_before_it_is_durable() {
    let (world, clock) = begin();
    let process = Process::start(&world, MemoryIndex::new(), &clock, 1);
    pass(S(5)).await;
    process.index.fail_next([Fault::Lost, Fault::Durable, Fault::Lost]);
    pass(S(6)).await;
    assert_eq!(process.rpo().state, State::Ok);
    process.index.hold(true);
    pass(S(1)).await;
    let held = process.watermark();
    pass(S(15)).await;
    assert_eq!((process.watermark(), process.rpo().state), (held, State::Unknown));
    assert!(process.fleet.close().await.is_err(), "what is not durable is not closed");
    process.index.hold(false);
    process.fleet.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_prod_y_that_does_not_answer_is_said_and_asked_less_often() {
    let (world, clock) = begin();
    set(&world, |w| w.blind = true);
    let process = Process::start(&world, MemoryIndex::new(), &clock, 1);
    pass(S(60)).await;
    assert_eq!(process.rpo().state, State::Seeding);
    assert!(process.board.read(&id()).trouble.is_some_and(|t| t.contains("looking failed on prodY")));
    let looks = world.lock().unwrap().looks;
    assert!((10..40).contains(&looks), "{looks}");
    set(&world, |w| w.blind = false);
    pass(S(8)).await;
    assert_eq!((process.rpo().state, process.board.read(&id()).trouble), (State::Ok, None));
}
