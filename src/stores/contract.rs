//! What a kind of store owes the spine, and the state that the spine keeps for it.
//!
//! The spine owns the window of outstanding changes, the order per key, retries, commits and the only spawns; the kind
//! owns what its source means. Decisions about lanes are made by the kind as pure values ([`Transition`]) and carried out
//! by the spine in one atomic write, so a crash finds either all of a decision or none of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use super::canary::Canary;
use crate::change::{Change, Gap, Key, Lane, LaneSeed, Method, Outcome, Position, Read, SourceTime, Stamp, StoreId};
use crate::promote::Step;
use crate::watermark::{LanePhase, LaneRecord, ParkedRecord, Seed, StoreRecord, Watermarks};

/// One thing that is kept warm.
pub trait Store: Send + Sync {
    /// The operator's name for it.
    fn id(&self) -> &StoreId;

    /// The name of its kind.
    fn kind(&self) -> &'static str;

    /// How its bytes move.
    fn mode(&self) -> Mode<'_>;

    /// How often it is looked at, and the numbers its proofs rest on.
    fn rhythm(&self) -> Rhythm;

    /// The longest time between two proofs while all is well.
    fn period(&self) -> Duration {
        self.rhythm().poll_max
    }

    /// The watermark that the state proves, and how it is founded; `None` when nothing is proved. Pure.
    fn watermark(&self, state: &StoreState) -> Option<(SourceTime, Method)>;

    /// What a promotion does for this store. Pure.
    fn promote_steps(&self, marks: &Watermarks) -> Vec<Arc<dyn Step>>;
}

/// Who moves the bytes.
pub enum Mode<'a> {
    /// We do.
    Replicate(&'a dyn Replicate),
}

impl Mode<'_> {
    /// As in the configuration and the API.
    pub fn label(&self) -> &'static str {
        match self {
            Mode::Replicate(_) => "replicate",
        }
    }
}

/// The times that a store lives by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// The shortest pause between two reads of a lane that has changes.
    pub poll_min: Duration,
    /// The longest pause between two reads of an idle lane: the period of its proofs.
    pub poll_max: Duration,
    /// How many empty answers in a row are the tip of a lane (E of DS-10, assumption A1).
    pub empty_run: u32,
    /// P of DS-11: a change is visible to readers at most this long after its commit (assumption A3).
    pub propagation: Duration,
    /// What a record's own time may run ahead of other commits that are not visible yet (DS-11, "publish allowance").
    pub publish: Duration,
    /// How long a request that we gave up may still take effect (assumption A2).
    pub max_request_life: Duration,
    /// Requests to the standby at one time.
    pub apply_concurrency: usize,
    /// Changes in one `apply`, at most.
    pub apply_batch: usize,
    /// Time between two complete surveys of the lanes.
    pub survey_every: Duration,
}

/// A store whose bytes we move.
#[async_trait]
pub trait Replicate: Send + Sync {
    /// Looks at what the source is now (its identity, its lanes) and decides what follows from it. Reads only.
    async fn survey(&self, state: &StoreState, now: Stamp) -> Result<Vec<Transition>, StoreError>;

    /// Reads on in a lane. Reading again from the same position repeats the same changes, none is ever skipped.
    async fn read(&self, spot: Spot<'_>) -> Result<Read, StoreError>;

    /// Applies changes of distinct keys to the standby, an outcome each and in their order. `Done` only once the change
    /// is durable there.
    async fn apply(&self, changes: &[Change]) -> Applied;

    /// Its canaries, if it is to have any.
    fn canary(&self) -> Option<&dyn Canary> {
        None
    }

    /// The bytes to keep of a parked change.
    fn encode(&self, change: &Change) -> Bytes;

    /// Makes a change again of what [`Replicate::encode`] gave.
    fn decode(&self, key: &Key, parked: &ParkedRecord, body: &[u8]) -> Result<Change, StoreError>;
}

/// Where a read goes on.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'a> {
    /// Which source, as it was adopted.
    pub incarnation: &'a str,
    /// The lane.
    pub lane: &'a Lane,
    /// What is durable about it.
    pub record: &'a LaneRecord,
    /// The last position that was handed out; `None` when there was none.
    pub from: Option<&'a Position>,
}

/// What became of the changes of one `apply`.
#[derive(Debug, Default)]
pub struct Applied {
    /// One for each change, in their order.
    pub outcomes: Vec<Outcome>,
    /// What went wrong, if anything did, for a human.
    pub trouble: Option<StoreError>,
}

/// What a survey or the end of a lane decides. Applied to [`StoreState`] and to the index in one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The source was seen for the first time: this is what we copy.
    Adopt {
        /// Its identity.
        incarnation: String,
    },
    /// A lane is registered. A child inherits its parent's watermark, never now and never infinity (DS-11).
    Discover(LaneSeed),
    /// A lane was read to its end, everything in it is durable, and its children are registered with it (LE-6).
    Drain {
        /// The lane.
        lane: Lane,
        /// Its children.
        children: Vec<LaneSeed>,
    },
    /// A lane's history was lost.
    Lose {
        /// The lane.
        lane: Lane,
        /// How.
        gap: Gap,
    },
    /// The whole store lost history.
    Break(Gap),
    /// A drained lane that the source no longer lists is forgotten.
    Retire(Lane),
    /// Everything that existed before the tail began is in the standby.
    Seeded,
}

/// All that is known durably about one store, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreState {
    /// The store's own record.
    pub record: StoreRecord,
    /// The lanes of the current epoch.
    pub lanes: BTreeMap<Lane, LaneRecord>,
    /// Changes that the standby refuses.
    pub parked: BTreeMap<Key, ParkedRecord>,
}

/// The rows that a [`StoreState`] change touched.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Lanes written.
    pub lanes: Vec<Lane>,
    /// Lanes deleted.
    pub retired: Vec<Lane>,
}

impl StoreState {
    /// Applies a decision. Idempotent: applying it again changes nothing.
    pub fn apply(&mut self, transition: &Transition, now: SourceTime) -> Touched {
        let mut touched = Touched::default();
        match transition {
            Transition::Adopt { incarnation } => {
                self.record.incarnation.get_or_insert_with(|| incarnation.clone());
            }
            Transition::Discover(seed) => self.discover(seed, now, &mut touched),
            Transition::Drain { lane, children } => {
                for child in children {
                    self.discover(child, now, &mut touched);
                }
                self.close(lane, LanePhase::Drained, now, &mut touched);
            }
            Transition::Lose { lane, gap } => {
                // Not if it was drained while the survey that misses it was under way.
                if self.live_lanes().any(|(live, _)| live == lane) {
                    self.record.gap.get_or_insert_with(|| gap.clone());
                    self.close(lane, LanePhase::Lost, now, &mut touched);
                }
            }
            Transition::Break(gap) => {
                self.record.gap.get_or_insert_with(|| gap.clone());
            }
            Transition::Retire(lane) => {
                if self.lanes.remove(lane).is_some() {
                    touched.retired.push(lane.clone());
                }
            }
            Transition::Seeded => {
                if self.record.seed == Seed::Pending {
                    self.record.seed = Seed::Done { at: now };
                }
            }
        }
        self.open_ready(&mut touched);
        touched
    }

    /// Parents first (DS-4): a waiting lane may be read once its parent is closed, with every change of it durable, or was
    /// never there.
    fn open_ready(&mut self, touched: &mut Touched) {
        let closed =
            |lane: &Lane| self.lanes.get(lane).is_none_or(|r| matches!(r.phase, LanePhase::Drained | LanePhase::Lost));
        let ready: Vec<Lane> = self
            .lanes
            .iter()
            .filter(|(_, r)| r.phase == LanePhase::Waiting && r.parent.as_ref().is_none_or(closed))
            .map(|(lane, _)| lane.clone())
            .collect();
        for lane in ready {
            if let Some(record) = self.lanes.get_mut(&lane) {
                record.phase = LanePhase::Reading;
                touched.lanes.push(lane);
            }
        }
    }

    fn discover(&mut self, seed: &LaneSeed, now: SourceTime, touched: &mut Touched) {
        if self.lanes.contains_key(&seed.lane) {
            return;
        }
        let parent = seed.parent.as_ref().and_then(|lane| self.lanes.get(lane));
        let record = LaneRecord {
            parent: seed.parent.clone(),
            born: seed.born,
            first_seen: now,
            phase: LanePhase::Waiting,
            position: None,
            // Never now and never infinity: what the parent proved, or, for a lane that has none, what the store has
            // published; nothing at all during adoption.
            through: parent.map_or(self.record.through, |p| p.through),
            method: parent.map_or(Method::Assumed, |p| p.method),
            tip_at: None,
            closed_at: None,
        };
        self.lanes.insert(seed.lane.clone(), record);
        touched.lanes.push(seed.lane.clone());
    }

    fn close(&mut self, lane: &Lane, phase: LanePhase, now: SourceTime, touched: &mut Touched) {
        if let Some(record) = self.lanes.get_mut(lane)
            && matches!(record.phase, LanePhase::Waiting | LanePhase::Reading)
        {
            record.phase = phase;
            record.closed_at = Some(now);
            touched.lanes.push(lane.clone());
        }
    }

    /// The lanes that take part in the watermark: those whose changes are not all durable in the standby.
    pub fn live_lanes(&self) -> impl Iterator<Item = (&Lane, &LaneRecord)> {
        self.lanes.iter().filter(|(_, r)| matches!(r.phase, LanePhase::Waiting | LanePhase::Reading))
    }
}

/// A kind of store: what the registry knows about it.
pub struct Kind {
    /// As in the configuration: `kind = "dynamodb"`.
    pub name: &'static str,
    /// Whether it has that mode (`replicate`, `observe`); if not, a sentence that says what to do.
    pub supports: fn(mode: &str) -> Result<(), &'static str>,
    /// The keys of its part of a `[[store]]` table, as documented.
    pub keys: &'static [crate::config::Key],
    /// Reads its part of a `[[store]]` table; reports every problem and gives settings whenever it can (defaults for what
    /// is wrong), so that what rests on them is checked in the same run.
    pub read: fn(&mut crate::config::Section<'_>) -> Option<Arc<dyn Settings>>,
    /// A commented example of its `[[store]]` table, TOML.
    pub example: &'static str,
}

/// The settings of one store, checked.
pub trait Settings: Send + Sync + std::fmt::Debug {
    /// Opens it: makes clients, does no I/O.
    fn open(&self, id: &StoreId, aws: &crate::aws::Aws) -> Arc<dyn Store>;

    /// What the store reads and what it writes, for finding a source that is its own target: `(primary, standby)`.
    fn ends(&self) -> (String, String);

    /// The smallest RPO that an idle store can prove with these settings, for `check`.
    fn floor(&self) -> Duration;

    /// What the floor is made of, in the keys of the configuration: `propagation 10s + ...`.
    fn floor_words(&self) -> String;
}
