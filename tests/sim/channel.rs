//! Seeded histories of an observed store: an ordered channel that stops and goes on, heartbeats that hang, are lost or land
//! late, a wall clock that is set, processes that are killed; and what must hold at every moment.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use plimsoll::change::{Class, Evidence, Method, SourceTime, Stamp, StoreId};
use plimsoll::observe::Fleet;
use plimsoll::promote::{Flow as _, Step};
use plimsoll::replicate::{Deps, Meter, Pulse};
use plimsoll::rpo::{State, Terms, assess};
use plimsoll::seams::{Clock, Ids, SharedClock};
use plimsoll::stores::contract::{Mode, Rhythm, Store};
use plimsoll::stores::observe::{Beat, Cadence, Facts, Look, Observe};
use plimsoll::stores::{StoreError, StoreState};
use plimsoll::supervise::Tasks;
use plimsoll::watermark::memory::{MemoryIndex, Tail};
use plimsoll::watermark::{Board, Index, Watermarks};

use crate::world::Dice;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// What is subtracted from a heartbeat: more than a step of the clock that goes unnoticed.
const PRECISION: Duration = Duration::from_millis(600);

/// How the rules of the kind are broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    No,
    /// The time that was read is believed.
    ReadTime,
    /// An empty answer is good news.
    Silence,
    /// A heartbeat proves up to its being seen.
    SeenTime,
}

enum Sent {
    Change,
    Beat(Beat),
}

struct Channel {
    dice: Dice,
    /// Committed in prodX and not in prodY: when, on prodX's clock, and what.
    on_its_way: VecDeque<(SourceTime, Sent)>,
    y: Option<Beat>,
    newest: Option<u64>,
    writer: Option<Arc<str>>,
    cut: bool,
    beats: u64,
}

impl Channel {
    fn commit(&mut self, now: SourceTime, what: Sent) {
        if let Sent::Beat(beat) = &what {
            self.beats += 1;
            if self.writer.as_ref() != Some(&beat.by) {
                (self.writer, self.newest) = (Some(Arc::clone(&beat.by)), None);
            }
            // The condition of the write.
            if self.newest.is_some_and(|newest| newest >= beat.seq) {
                return;
            }
            self.newest = Some(beat.seq);
        }
        self.on_its_way.push_back((now, what));
    }

    fn deliver(&mut self) {
        for _ in 0..self.dice.below(4) {
            if self.cut {
                return;
            }
            match self.on_its_way.pop_front() {
                Some((_, Sent::Beat(beat))) => self.y = Some(beat),
                Some((_, Sent::Change)) => {}
                None => return,
            }
        }
    }
}

/// prodX's clock is true; ours is off by what it was set to.
struct Clocks {
    start: tokio::time::Instant,
    off_by: Mutex<i64>,
}

impl Clocks {
    fn truth(&self) -> SourceTime {
        SourceTime(1_795_500_000_000) + self.start.elapsed()
    }
    fn skew(&self) -> Duration {
        MS(self.off_by.lock().unwrap().unsigned_abs())
    }
}

#[async_trait]
impl Clock for Clocks {
    fn now(&self) -> Stamp {
        let wall = self.truth().0 + *self.off_by.lock().unwrap();
        Stamp::new(UNIX_EPOCH + MS(wall.unsigned_abs()), self.start.elapsed())
    }
    async fn sleep(&self, d: Duration) {
        tokio::time::sleep(d).await;
    }
}

struct Ordered {
    id: StoreId,
    channel: Arc<Mutex<Channel>>,
    clocks: Arc<Clocks>,
    broken: Broken,
}

impl Store for Ordered {
    fn id(&self) -> &StoreId {
        &self.id
    }
    fn kind(&self) -> &'static str {
        "ordered"
    }
    fn mode(&self) -> Mode<'_> {
        Mode::Observe(self)
    }
    fn rhythm(&self) -> Rhythm {
        crate::observe::RHYTHM
    }
    fn watermark(&self, state: &StoreState) -> Option<(SourceTime, Method)> {
        state.record.through.zip(state.record.method)
    }
    fn promote_steps(&self, _: &Watermarks) -> Vec<Arc<dyn Step>> {
        Vec::new()
    }
}

#[async_trait]
impl Observe for Ordered {
    fn cadence(&self) -> Cadence {
        Cadence { look_every: MS(700), beat_every: Some(MS(1500)) }
    }

    async fn observe(&self, look: Look<'_>) -> Result<(Vec<Evidence>, Facts), StoreError> {
        let (pause, fails) = {
            let dice = &mut self.channel.lock().unwrap().dice;
            (MS(dice.below(300)), dice.below(10) == 0)
        };
        tokio::time::sleep(pause).await;
        if fails {
            return Err(StoreError::new(Class::Unavailable, "looking", "prodY"));
        }
        let seen = self.channel.lock().unwrap().y.clone();
        tokio::time::sleep(pause).await;
        let now = self.clocks.now();
        let proof = look.beats.proof(std::slice::from_ref(&seen), now);
        let through = match (self.broken, &proof, &seen) {
            (Broken::ReadTime, _, Some(seen)) => Some(seen.at + MS(3000)),
            (Broken::Silence, Err(_), _) => Some(now.wall),
            (Broken::SeenTime, Ok(_), _) => Some(now.wall),
            (_, Ok(proof), _) => Some(proof.sent.wall),
            _ => None,
        };
        let ours = |through: SourceTime| through - (look.skew)() - PRECISION;
        let advance = |through| Evidence::Advance { through: ours(through), method: Method::Verified };
        let facts = Facts { beat_seen: proof.ok().map(|proof| proof.seq), ..Facts::default() };
        Ok((through.map(advance).into_iter().collect(), facts))
    }

    async fn beat(&self, beat: &Beat) -> Result<(), StoreError> {
        let (pause, fate) = {
            let dice = &mut self.channel.lock().unwrap().dice;
            (MS(dice.below(400)), dice.below(12))
        };
        tokio::time::sleep(pause).await;
        let failed = || StoreError::new(Class::Unknown, "writing", "prodX");
        let land = |channel: &Mutex<Channel>, beat| {
            channel.lock().unwrap().commit(self.clocks.truth(), Sent::Beat(beat));
        };
        match fate {
            // Not sent, or never answered; the second lands after its caller has gone.
            0 => return Err(failed()),
            1 => {
                let (channel, clocks, beat) = (Arc::clone(&self.channel), Arc::clone(&self.clocks), beat.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(MS(4000)).await;
                    channel.lock().unwrap().commit(clocks.truth(), Sent::Beat(beat));
                });
                return Err(failed());
            }
            2 => {
                land(&self.channel, beat.clone());
                return Err(failed());
            }
            3 => {
                land(&self.channel, beat.clone());
                land(&self.channel, beat.clone());
            }
            _ => land(&self.channel, beat.clone()),
        }
        Ok(())
    }
}

struct Silent;

impl Meter for Silent {
    fn read(&self, _: u64) {}
    fn applied(&self, _: u64) {}
    fn error(&self, _: Class) {}
    fn latency(&self, _: Duration) {}
    fn violation(&self) {}
}

impl Pulse for Silent {
    fn beat(&self) {}
}

struct Names(Mutex<u128>);

impl Ids for Names {
    fn fresh(&self) -> [u8; 16] {
        let mut last = self.0.lock().unwrap();
        *last += 1;
        last.to_be_bytes()
    }
}

/// What happened in a history.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) ok: u64,
    pub(crate) unknown: u64,
    pub(crate) kills: u64,
    pub(crate) closes: u64,
}

/// Plays one history; `Err` says which promise was broken, and when.
pub(crate) async fn play(seed: u64, broken: Broken) -> Result<Seen, String> {
    let clocks = Arc::new(Clocks { start: tokio::time::Instant::now(), off_by: Mutex::new(0) });
    let channel = Channel {
        dice: Dice(seed),
        on_its_way: VecDeque::new(),
        y: None,
        newest: None,
        writer: None,
        cut: false,
        beats: 0,
    };
    let channel = Arc::new(Mutex::new(channel));
    let id = StoreId::new("orders").unwrap();
    let store: Arc<dyn Store> =
        Arc::new(Ordered { id: id.clone(), channel: Arc::clone(&channel), clocks: Arc::clone(&clocks), broken });
    let ids: Arc<dyn Ids> = Arc::new(Names(Mutex::new(0)));
    let shared: SharedClock = clocks.clone();
    let start = |index: &MemoryIndex| {
        let tasks = Tasks::new();
        let deps = |_: &Arc<dyn Store>| Deps {
            clock: Arc::clone(&shared),
            ids: Arc::clone(&ids),
            index: Arc::new(index.clone()),
            board: Arc::new(Board::default()),
            meter: Arc::new(Silent),
            pulse: Arc::new(Silent),
            skew: {
                let clocks = Arc::clone(&clocks);
                Arc::new(move || clocks.skew())
            },
            clean_start: false,
        };
        let fleet = Fleet::start(&[Arc::clone(&store)], deps, &tasks, false, Arc::clone(&shared)).unwrap();
        (fleet, tasks)
    };
    let mut dice = Dice(seed ^ 0x5eed);
    let mut index = MemoryIndex::new();
    index.set_delay(MS(20));
    let (mut fleet, mut tasks) = start(&index);
    let mut seen = Seen::default();
    let mut last: Option<SourceTime> = None;
    let mut closed: Option<(u64, Option<SourceTime>)> = None;
    for tick in 0..3000_u64 {
        tokio::time::sleep(MS(40)).await;
        {
            let mut channel = channel.lock().unwrap();
            if dice.below(3) == 0 {
                channel.commit(clocks.truth(), Sent::Change);
            }
            if dice.below(400) == 0 {
                channel.cut = !channel.cut;
            }
            channel.deliver();
        }
        match dice.below(1000) {
            0..4 => {
                let set = i64::try_from(dice.below(10_000)).unwrap() - 5000;
                *clocks.off_by.lock().unwrap() = set;
            }
            // A little, which is not noticed.
            4..8 => *clocks.off_by.lock().unwrap() += i64::try_from(dice.below(800)).unwrap() - 400,
            8..12 if closed.is_none() => {
                seen.kills += 1;
                let left = index.crash(Tail::Torn { seed: tick });
                tasks.shutdown(Duration::ZERO).await;
                index = left;
                (fleet, tasks) = start(&index);
            }
            12..15 if closed.is_none() => {
                seen.closes += 1;
                fleet.close().await.map_err(|e| format!("tick {tick}: {e}"))?;
                let mark = index.snapshot().stores.get(&id).and_then(|mark| mark.record.through);
                // One that was given up may still land.
                tokio::time::sleep(MS(5000)).await;
                closed = Some((channel.lock().unwrap().beats, mark));
            }
            15..30 if closed.take().is_some() => fleet.reopen(),
            _ => {}
        }
        let marks = index.snapshot();
        let through = marks.stores.get(&id).and_then(|mark| mark.record.through);
        if through < last {
            return Err(format!("P2, tick {tick}: back from {last:?} to {through:?}"));
        }
        last = through;
        if let Some((beats, mark)) = closed
            && (channel.lock().unwrap().beats, through) != (beats, mark)
        {
            return Err(format!("FO-2, tick {tick}: something moved behind a closed flow"));
        }
        if let Some(through) = through {
            if through > clocks.truth() {
                return Err(format!("P1, tick {tick}: {through} is after {}", clocks.truth()));
            }
            let missing = |(at, what): &&(SourceTime, Sent)| matches!(what, Sent::Change) && *at <= through;
            if let Some((at, _)) = channel.lock().unwrap().on_its_way.iter().find(missing) {
                return Err(format!("I1, tick {tick}: a change of {at} is missing below {through}"));
            }
        }
        let terms = Terms { objective: MS(60_000), period: MS(2000) };
        match assess(clocks.now(), clocks.skew(), &id, &marks, &terms).state {
            State::Ok => seen.ok += 1,
            State::Unknown => seen.unknown += 1,
            _ => {}
        }
    }
    Ok(seen)
}

/// Runs a history on a paused clock.
fn run(seed: u64, broken: Broken) -> Result<Seen, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(play(seed, broken))
}

#[test]
fn no_history_of_an_observed_store_breaks_a_promise() {
    let mut all = Seen::default();
    for seed in 0..200 {
        let seen = run(seed, Broken::No).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        all.ok += seen.ok;
        all.unknown += seen.unknown;
        all.kills += seen.kills;
        all.closes += seen.closes;
    }
    assert!(all.ok > 50_000 && all.unknown > 10_000 && all.kills > 500 && all.closes > 200, "{all:?}");
}

#[test]
fn what_breaks_the_rules_of_a_kind_is_caught() {
    for broken in [Broken::ReadTime, Broken::Silence, Broken::SeenTime] {
        let caught = (0..20).find_map(|seed| run(seed, broken).err());
        assert!(caught.is_some_and(|caught| caught.starts_with("I1") || caught.starts_with("P1")), "{broken:?}");
    }
}
