//! One schedule: what happens when, and what must hold at every moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use plimsoll::change::{Class, SourceTime, StoreId};
use plimsoll::promote::Flow as _;
use plimsoll::replicate::{Deps, Fleet, Meter, Pulse};
use plimsoll::rpo::{State, Terms, assess};
use plimsoll::seams::{Ids, SharedClock, TokioClock};
use plimsoll::stores::Store;
use plimsoll::supervise::Tasks;
use plimsoll::watermark::keys::Prefix;
use plimsoll::watermark::memory::{Fault, MemoryIndex, Tail};
use plimsoll::watermark::{Board, DirtyRecord, Index, Record as _, Row};
use tokio_util::sync::CancellationToken;

use crate::store::{REQUEST_LIFE, START, SimStore};
use crate::world::{Dice, MOST_EMPTIES, VISIBLE_WITHIN, World};

/// The rules of a run, and how a mutant breaks them.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) allowance: Duration,
    pub(crate) empty_run: u32,
    pub(crate) hold: Duration,
    pub(crate) children_do_not_wait: bool,
    pub(crate) children_registered_late: bool,
    pub(crate) apply_lies: bool,
    pub(crate) stale_scan: bool,
    pub(crate) begins_at_the_tip: bool,
    pub(crate) no_sweep: bool,
    /// What a verification proves is copied again.
    pub(crate) repair: bool,
    /// A page that differs is proof enough.
    pub(crate) no_second_look: bool,
    /// A page is judged before the changes that it shows have arrived.
    pub(crate) does_not_wait: bool,
    /// A key that was read from a tail stays under suspicion.
    pub(crate) forgets_what_is_read: bool,
    /// The store has canaries.
    pub(crate) canaries: bool,
    /// The publisher of the stream stands still for a while, now and then (DS-12).
    pub(crate) stalls: bool,
    /// Another fate of the same history: which answers are lost, late, short or throttled.
    pub(crate) luck: u64,
    /// The process is killed now and then.
    pub(crate) kills: bool,
    /// Records of a page of a shard, at most.
    pub(crate) page: u64,
    /// Items of a page of a copy, at most.
    pub(crate) copy_page: u64,
    pub(crate) segments: u32,
    pub(crate) batch: usize,
    pub(crate) concurrency: usize,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            allowance: VISIBLE_WITHIN + Duration::from_secs(1),
            empty_run: MOST_EMPTIES + 2,
            hold: REQUEST_LIFE,
            children_do_not_wait: false,
            children_registered_late: false,
            apply_lies: false,
            stale_scan: false,
            begins_at_the_tip: false,
            no_sweep: false,
            repair: false,
            no_second_look: false,
            does_not_wait: false,
            forgets_what_is_read: false,
            canaries: false,
            stalls: false,
            luck: 0,
            kills: true,
            page: 8,
            copy_page: 3,
            segments: 3,
            batch: 5,
            concurrency: 4,
        }
    }
}

/// What happened in a run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) writes: u64,
    pub(crate) kills: u64,
    pub(crate) splits: u64,
    pub(crate) strays: u64,
    pub(crate) late: u64,
    pub(crate) cuts: u64,
    pub(crate) copies: u64,
    pub(crate) reseeds: u64,
    pub(crate) tampered: u64,
    pub(crate) verified: u64,
    pub(crate) stalls: u64,
    pub(crate) canaries: u64,
    pub(crate) final_watermark: i64,
    /// What the standby holds in the end.
    pub(crate) end: BTreeMap<u64, u64>,
    /// What the source has been through: each version, and when.
    pub(crate) history: Vec<(u64, u64)>,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Totals) {
        self.writes += other.writes;
        self.kills += other.kills;
        self.splits += other.splits;
        self.strays += other.strays;
        self.late += other.late;
        self.cuts += other.cuts;
        self.copies += other.copies;
        self.reseeds += other.reseeds;
        self.tampered += other.tampered;
        self.verified += other.verified;
        self.stalls += other.stalls;
        self.canaries += other.canaries;
    }
}

#[derive(Default)]
struct Counts {
    violations: Mutex<u64>,
}

impl Meter for Counts {
    fn read(&self, _: u64) {}
    fn applied(&self, _: u64) {}
    fn error(&self, _: Class) {}
    fn latency(&self, _: Duration) {}
    fn violation(&self) {
        *self.violations.lock().unwrap() += 1;
    }
}

impl Pulse for Counts {
    fn beat(&self) {}
}

/// Jitter from the seed.
struct SeededIds(Mutex<Dice>);

impl Ids for SeededIds {
    fn fresh(&self) -> [u8; 16] {
        let mut dice = self.0.lock().unwrap();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&dice.next().to_be_bytes());
        bytes
    }
}

/// One life of the process.
struct Life {
    tasks: Tasks,
    dead: CancellationToken,
    /// Drivers end when nobody holds their fleet.
    fleet: Arc<Fleet>,
}

struct Run {
    world: Arc<Mutex<World>>,
    clock: SharedClock,
    schedule: Schedule,
    counts: Arc<Counts>,
    ids: Arc<SeededIds>,
    id: StoreId,
    board: Arc<Board>,
}

impl Run {
    fn start(&self, index: &MemoryIndex) -> Life {
        let (tasks, dead) = (Tasks::new(), CancellationToken::new());
        let store: Arc<dyn Store> = Arc::new(SimStore {
            id: self.id.clone(),
            world: Arc::clone(&self.world),
            clock: Arc::clone(&self.clock),
            schedule: self.schedule.clone(),
            dead: dead.clone(),
        });
        let deps = Deps {
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids) as Arc<dyn Ids>,
            index: Arc::new(index.clone()),
            board: Arc::clone(&self.board),
            meter: Arc::clone(&self.counts) as Arc<dyn Meter>,
            pulse: Arc::clone(&self.counts) as Arc<dyn Pulse>,
            skew: Arc::new(|| Duration::ZERO),
            clean_start: index.was_clean(),
        };
        let fleet = Fleet::start(&[store], |_| deps.clone(), &tasks, false, Arc::clone(&self.clock));
        Life { tasks, dead, fleet: fleet.expect("the index loads") }
    }

    fn now(&self) -> u64 {
        self.clock.now().wall.since(START).as_millis() as u64
    }

    /// I1, I2: the published watermark is sound and never goes back.
    fn check(&self, index: &MemoryIndex, highest: &mut SourceTime) -> Result<(), String> {
        let marks = index.snapshot();
        let Some(through) = marks.stores.get(&self.id).and_then(|m| m.record.through) else { return Ok(()) };
        self.check_found(index)?;
        let tampered = !self.world.lock().unwrap().ever_tampered.is_empty();
        // RP-9: what somebody else took from the standby takes the watermark back.
        if through < *highest && !tampered {
            return Err(format!("I2: W went back from {highest} to {through}"));
        }
        *highest = through;
        let watermark = through.since(START).as_millis() as u64;
        let world = self.world.lock().unwrap();
        let altered = &world.ever_tampered;
        world.unsound(watermark).map_or(Ok(()), |broken| {
            Err(format!("I1 at {}: {broken}; altered behind our back: {altered:?}", self.now()))
        })
    }

    /// What is proven to differ, by key.
    fn found(&self, index: &MemoryIndex) -> BTreeSet<u64> {
        let rows = index.scan(&Prefix::dirty(&self.id)).unwrap_or_default().into_iter();
        let proven = |(row, bytes): (Row, Vec<u8>)| {
            DirtyRecord::decode(&row, &bytes).unwrap().what?;
            let Row::Dirty { key, .. } = row else { return None };
            Some(u64::from_be_bytes(key.0[..8].try_into().unwrap()))
        };
        rows.filter_map(proven).collect()
    }

    /// No difference is found that nobody made.
    fn check_found(&self, index: &MemoryIndex) -> Result<(), String> {
        let found = self.found(index);
        let world = self.world.lock().unwrap();
        match found.iter().find(|key| !world.ever_tampered.contains(key)) {
            Some(key) => Err(format!("a false difference at {}: key {key}", self.now())),
            None => Ok(()),
        }
    }

    fn state(&self, index: &MemoryIndex) -> State {
        let terms = Terms { objective: Duration::from_secs(30), period: Duration::from_secs(1) };
        assess(self.clock.now(), Duration::ZERO, &self.id, &index.snapshot(), &terms).state
    }
}

/// Runs one schedule; `Err` says which promise it broke.
pub(crate) fn run(seed: u64, schedule: &Schedule) -> Result<Totals, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(play(seed, schedule))
}

async fn play(seed: u64, schedule: &Schedule) -> Result<Totals, String> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9).wrapping_add(1));
    let start = UNIX_EPOCH + Duration::from_millis(START.0 as u64);
    let run = Run {
        world: Arc::new(Mutex::new(World::new(seed ^ 0x5eed, schedule.luck))),
        clock: TokioClock::shared(start),
        schedule: Schedule { repair: dice.chance(50), ..schedule.clone() },
        counts: Arc::default(),
        ids: Arc::new(SeededIds(Mutex::new(Dice(seed ^ 0x1d5)))),
        id: StoreId::new("sim").unwrap(),
        board: Arc::default(),
    };
    let tampers = dice.chance(40);
    // A verification takes half a minute: in some runs nothing interrupts one, and keys rest for longer than that.
    // Not where the stream stands still: with few writes a shard that goes on late, behind a canary that was in time, is
    // beyond what canaries can tell (they are a sample of the shards).
    let steady = dice.chance(35) && !schedule.stalls;
    let mut index = MemoryIndex::new();
    let mut life = run.start(&index);
    let mut totals = Totals::default();
    let mut highest = SourceTime(i64::MIN);
    // Storms of half a second to some seconds, for a minute and a half.
    while run.now() < 90_000 {
        run.clock.sleep(Duration::from_millis(20 + dice.below(80))).await;
        let now = run.now();
        {
            let mut world = run.world.lock().unwrap();
            world.tick(now);
            if dice.chance(if steady { 8 } else { 35 }) {
                for _ in 0..=dice.below(3) {
                    world.write(now);
                    totals.writes += 1;
                }
            }
            if dice.below(1000) < 6 {
                world.split();
                totals.splits += 1;
            }
            if !steady && dice.below(1000) < 2 {
                world.trim(now);
            }
            if schedule.stalls && dice.below(1000) < 8 {
                world.stall(now);
                totals.stalls += 1;
            }
            if tampers && dice.below(1000) < 5 {
                world.tamper();
                totals.tampered += 1;
            }
            if !steady && dice.below(1000) < 4 {
                world.source_frozen = !world.source_frozen;
            }
            if !steady && dice.below(1000) < 4 {
                world.standby_frozen = !world.standby_frozen;
            }
        }
        match dice.below(1000) {
            0..4 => index.fail_next([if dice.chance(50) { Fault::Lost } else { Fault::Durable }]),
            4..8 => index.set_delay(Duration::from_millis(dice.below(400))),
            8..14 if !steady => {
                let tail = if dice.chance(50) { Tail::Lost } else { Tail::Torn { seed: dice.next() } };
                if !schedule.kills {
                    continue;
                }
                life.dead.cancel();
                index = index.crash(tail);
                drop(life.tasks.shutdown(Duration::ZERO).await);
                life = run.start(&index);
                totals.kills += 1;
            }
            _ => {}
        }
        run.check(&index, &mut highest)?;
    }
    if dice.chance(40) {
        cut_the_flow(&run, &life, &index, &mut highest).await?;
        totals.cuts += 1;
    } else {
        calm_down(&run, &life, &index, &mut highest).await?;
        totals.verified += 1;
    }
    let record = index.snapshot().stores.get(&run.id).map(|mark| mark.record.clone()).unwrap_or_default();
    totals.copies = u64::from(record.seed_run.is_some());
    totals.reseeds = record.epoch;
    let world = run.world.lock().unwrap();
    (totals.strays, totals.late) = (world.stray_count, world.late_count);
    totals.canaries = world.beats.len() as u64;
    totals.final_watermark = highest.0;
    totals.end = World::items(&world.standby);
    totals.history = world.truth.iter().map(|record| (record.version, record.committed)).collect();
    Ok(totals)
}

/// FO-2: in the middle of the storm the flow is closed, as a promotion does before its fence. Once that is answered, nothing
/// of ours changes the standby any more, strays included; and what was published stays sound.
async fn cut_the_flow(run: &Run, life: &Life, index: &MemoryIndex, highest: &mut SourceTime) -> Result<(), String> {
    let ticking = async {
        loop {
            run.clock.sleep(Duration::from_millis(50)).await;
            run.world.lock().unwrap().tick(run.now());
            if let Err(broken) = run.check(index, highest) {
                return broken;
            }
        }
    };
    let closing = async {
        life.fleet.catch_up(Duration::from_secs(5)).await;
        life.fleet.close().await
    };
    tokio::select! {
        broken = ticking => return Err(broken),
        closed = closing => closed?,
    }
    let (before, beats) = {
        let world = run.world.lock().unwrap();
        (world.standby.clone(), world.beats.len())
    };
    for _ in 0..600 {
        run.clock.sleep(Duration::from_millis(50)).await;
        let now = run.now();
        let mut world = run.world.lock().unwrap();
        world.write(now);
        world.tick(now);
        if world.standby != before {
            return Err(format!(
                "FO-2: the standby changed after the flow was closed: {before:?} -> {:?}",
                world.standby
            ));
        }
        if world.beats.len() != beats {
            return Err("FO-2: a canary was written after the flow was closed".into());
        }
        drop(world);
        run.check(index, highest)?;
    }
    Ok(())
}

/// I5: the faults end, and the standby becomes the source; the watermark follows, the state is `ok`; then the source falls
/// silent, and the state is `unknown` within three periods (I11).
async fn calm_down(run: &Run, life: &Life, index: &MemoryIndex, highest: &mut SourceTime) -> Result<(), String> {
    let end = run.now();
    {
        let mut world = run.world.lock().unwrap();
        (world.calm, world.source_frozen, world.standby_frozen) = (true, false, false);
        if world.held {
            world.stall(end);
        }
    }
    index.set_delay(Duration::ZERO);
    compare_all(run, life, index, highest).await?;
    for _ in 0..600 {
        run.clock.sleep(Duration::from_millis(100)).await;
        run.world.lock().unwrap().tick(run.now());
        run.check(index, highest)?;
    }
    {
        let world = run.world.lock().unwrap();
        if World::items(&world.standby) != World::items(&world.source) {
            return Err(format!(
                "I5: the standby is not the source: {:?} and {:?}; {:?}",
                world.standby,
                world.source,
                run.board.read(&run.id)
            ));
        }
    }
    if highest.since(START) < Duration::from_millis(end) {
        let behind = end.saturating_sub(highest.since(START).as_millis() as u64);
        return Err(format!(
            "P5: an idle healthy source, and W is {highest} at the end, {} ms before the end of the writes; {:?}",
            behind,
            run.board.read(&run.id)
        ));
    }
    if run.state(index) != State::Ok {
        return Err(format!("a healthy store is {:?}", run.state(index)));
    }
    let tampered = !run.world.lock().unwrap().ever_tampered.is_empty();
    if *run.counts.violations.lock().unwrap() > 0 && !tampered {
        return Err("a watermark was taken back".into());
    }
    run.world.lock().unwrap().source_frozen = true;
    run.clock.sleep(Duration::from_secs(14)).await;
    match run.state(index) {
        State::Unknown => Ok(()),
        other => Err(format!("I11: a source silent for 14 s leaves the state {other:?}")),
    }
}

/// Everything that somebody altered behind our back and that is not overwritten is found by the next verification, and
/// nothing else; and it is repaired.
async fn compare_all(run: &Run, life: &Life, index: &MemoryIndex, highest: &mut SourceTime) -> Result<(), String> {
    for _ in 0..300 {
        pass(run, index, highest).await?;
    }
    let asked = run.clock.now().wall;
    let differ = run.world.lock().unwrap().divergent();
    let record = || index.snapshot().stores.get(&run.id).map(|mark| mark.record.clone()).unwrap_or_default();
    let ended = |after: SourceTime| {
        let done = record().verify_run.is_some_and(|verify| verify.started_at >= after && verify.ended_at.is_some());
        done && record().verified_at >= Some(after)
    };
    let mut left = 1_500;
    while !ended(asked) && left > 0 {
        // It may be seeding still.
        if record().verify_run.is_none_or(|verify| verify.started_at < asked) {
            drop(life.fleet.verify(&run.id, false, 0).await);
        }
        pass(run, index, highest).await?;
        left -= 1;
    }
    let (found, repair) = (run.found(index), run.schedule.repair);
    let left = run.world.lock().unwrap().divergent();
    if !ended(asked) || (!repair && found != differ) || (repair && !left.is_empty()) {
        return Err(format!(
            "{differ:?} differ, {found:?} were found, {left:?} are left (repair: {repair}): {:?}",
            record()
        ));
    }
    let asked = run.clock.now().wall;
    let mut tries = 1_500;
    while !run.found(index).is_empty() || !ended(asked) {
        if record().verify_run.is_none_or(|verify| verify.started_at < asked || !verify.repair) {
            drop(life.fleet.verify(&run.id, true, 0).await);
        }
        pass(run, index, highest).await?;
        tries -= 1;
        if tries == 0 {
            return Err(format!("{:?} are not repaired", run.found(index)));
        }
    }
    Ok(())
}

async fn pass(run: &Run, index: &MemoryIndex, highest: &mut SourceTime) -> Result<(), String> {
    run.clock.sleep(Duration::from_millis(100)).await;
    run.world.lock().unwrap().tick(run.now());
    run.check(index, highest)
}
