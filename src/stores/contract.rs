//! What a kind of store owes the spine, and the state that the spine keeps for it.
//!
//! The spine owns the window of outstanding changes, the order per key, retries, commits and the only spawns; the kind
//! owns what its source means. Decisions about lanes are made by the kind as pure values ([`Transition`]) and carried out
//! by the spine in one atomic write, so a crash finds either all of a decision or none of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::canary::Canary;
use super::{Converge, Observe, StoreError};
use crate::change::{
    Change, Class, Difference, Finding, Key, Lane, Method, Outcome, Position, Read, SourceTime, Stamp, StoreId,
};
use crate::promote::Step;
use crate::watermark::{LaneRecord, ParkedRecord, StoreRecord, Watermarks};

pub use super::state::{Reseed, StoreState, Touched, Transition};

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

    /// How its two ends are compared, if its kind can.
    fn examine(&self) -> Option<&dyn Examine> {
        None
    }

    /// How what it lost in a promotion is found and brought over; `None`: it cannot be.
    fn salvage(&self) -> Option<&dyn super::salvage::Salvage> {
        None
    }
}

/// A store that can say whether both its ends are as a recovery needs them.
#[async_trait]
pub trait Examine: Send + Sync {
    /// Looks at both ends and judges them. Reads only, and never fails: what cannot be asked is a finding too.
    async fn examine(&self, how: Look<'_>) -> Vec<Finding>;
}

/// How an examination looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look<'a> {
    /// What is durable about the store; `None` where the index is not at hand.
    pub known: Option<&'a StoreRecord>,
    /// Also exercise every permission that reading needs, by calls that read next to nothing.
    pub probe: bool,
}

/// Who moves the bytes.
pub enum Mode<'a> {
    /// We do, change by change in the source's order.
    Replicate(&'a dyn Replicate),
    /// We do, key by key as it is now.
    Converge(&'a dyn Converge),
    /// AWS does; we look.
    Observe(&'a dyn Observe),
}

impl Mode<'_> {
    /// As in the configuration and the API.
    pub fn label(&self) -> &'static str {
        match self {
            Mode::Replicate(_) | Mode::Converge(_) => "replicate",
            Mode::Observe(_) => "observe",
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

    /// What follows from the state alone, with every commit: a copy that goes on to its next stage, or is complete. Pure.
    /// `skew` bounds how far our clock is from the source's.
    fn proceed(&self, state: &StoreState, now: SourceTime, skew: Duration) -> Vec<Transition> {
        let _ = (state, now, skew);
        Vec::new()
    }

    /// What keeps a copy from its end that only a human can mend, and what to do. Pure.
    fn held(&self, state: &StoreState) -> Option<String> {
        let _ = state;
        None
    }

    /// Reads on in a lane. Reading again from the same position repeats the same changes, none is ever skipped.
    async fn read(&self, spot: Spot<'_>) -> Result<Read, StoreError>;

    /// Applies changes of distinct keys to the standby, an outcome each and in their order. `Done` only once the change
    /// is durable there.
    async fn apply(&self, changes: &[Change]) -> Applied;

    /// Looks at keys again, on both sides: the source first, consistently, then the standby, consistently. `keys` are removals
    /// as [`Doubt`](crate::change::Doubt)s hold them. Only asked of a kind whose pages have doubts.
    async fn compare(&self, keys: &[Change]) -> Result<Compared, StoreError> {
        Err(StoreError::new(Class::Invalid, "comparing", format!("{} keys of a kind that is not verified", keys.len())))
    }

    /// A key for a human: what [`Replicate::encode`] gave of its removal. `None` when it cannot be told.
    fn key_text(&self, body: &[u8]) -> Option<String> {
        let _ = body;
        None
    }

    /// Its canaries, if it is to have any.
    fn canary(&self) -> Option<&dyn Canary> {
        None
    }

    /// The bytes to keep of a parked change.
    fn encode(&self, change: &Change) -> Bytes;

    /// Makes a change again of what [`Replicate::encode`] gave.
    fn decode(&self, key: &Key, parked: &ParkedRecord, body: &[u8]) -> Result<Change, StoreError>;
}

/// What the spine has put aside for the lanes of a copy.
pub trait Shelf: Send + Sync {
    /// Did the scan of this epoch find the key in the source? `false` when that is not known.
    fn seen(&self, key: &Key) -> bool;

    /// The first `most` dirty keys after `after`, in key order, each with the change that [`Replicate::encode`] kept.
    fn dirty(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, Bytes)>, StoreError>;
}

/// Where a read goes on.
#[derive(Clone, Copy)]
pub struct Spot<'a> {
    /// Which source, as it was adopted.
    pub incarnation: &'a str,
    /// The lane.
    pub lane: &'a Lane,
    /// What is durable about it.
    pub record: &'a LaneRecord,
    /// The last position that was handed out; `None` when there was none.
    pub from: Option<&'a Position>,
    /// For the lanes of a copy.
    pub shelf: &'a dyn Shelf,
    /// The lane compares what exists instead of copying it: differences are told as doubts.
    pub verify: bool,
}

/// What a second look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// One for each key, in their order; `None`: the same on both sides.
    pub found: Vec<Option<Difference>>,
    /// Our wall clock when the source had answered.
    pub read_at: SourceTime,
    /// How long the budget of the store wants the next look to wait.
    pub pause: Duration,
}

/// What became of the changes of one `apply`.
#[derive(Debug, Default)]
pub struct Applied {
    /// One for each change, in their order.
    pub outcomes: Vec<Outcome>,
    /// What went wrong, if anything did, for a human.
    pub trouble: Option<StoreError>,
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

    /// What else it reads and must have for itself alone: queues, whose messages are gone when they were read.
    fn channels(&self) -> Vec<String> {
        Vec::new()
    }

    /// What the settings tell without asking anybody, given the names of the regions `(primary, standby)`.
    fn dry(&self, primary: &str, standby: &str) -> Vec<Finding> {
        let _ = (primary, standby);
        Vec::new()
    }

    /// The smallest RPO that an idle store can prove with these settings, for `check`.
    fn floor(&self) -> Duration;

    /// What the floor is made of, in the keys of the configuration: `propagation 10s + ...`.
    fn floor_words(&self) -> String;

    /// The permissions that it needs, for showing them.
    fn policies(&self) -> &'static [IamPolicy] {
        &[]
    }

    /// What stands in the hole of one of them; nothing: it is not needed.
    fn names(&self, policy: &IamPolicy) -> Vec<String> {
        let (source, target) = self.ends();
        match policy.end {
            End::Primary => vec![source],
            End::Standby => vec![target],
        }
    }
}

/// A region's part in the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// prodX.
    Primary,
    /// prodY.
    Standby,
}

/// The least that a role needs, as an IAM policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IamPolicy {
    /// The role's name: `replicate-read-x`.
    pub role: &'static str,
    /// Whose resources it is about.
    pub end: End,
    /// The policy document, JSON, with holes: `ACCOUNT`, `REGION_X` or `REGION_Y`, and `hole`.
    pub text: &'static str,
    /// What stands where the name of the store's end belongs.
    pub hole: &'static str,
}
