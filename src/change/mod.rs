//! The words of the flow: what a source says, what became of a change, and what moves a watermark.
//!
//! Invariant: nothing in this module does I/O, reads a clock or names an AWS type. Everything above it (stores, replicate,
//! watermark, rpo, promote, serve) speaks in these words, so a new kind of store needs no new ones.

mod evidence;
mod finding;
mod ids;
mod time;

pub use evidence::{Difference, Evidence, Gap, GapCause, Method};
pub use finding::{ANSWERS, Examination, Finding, Severity};
pub use ids::{InvalidStoreId, Lane, LaneKind, Position, StoreId};
pub use time::{SourceTime, Stamp};

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// The identity of what a change is about (an item, an object, a user), in a canonical byte form that only its kind
/// understands. Two changes with equal keys must be applied in the order in which they were read.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub Bytes);

impl fmt::Debug for Key {
    /// Keys are customer data: logs show a digest, never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key#{:08x}", crc32fast::hash(&self.0))
    }
}

/// The image of a change as its kind holds it. Opaque to the spine; the kind downcasts it in `apply`.
pub type Body = Arc<dyn Any + Send + Sync>;

/// One change as read from a source: the full new image of a key, or its removal; never a diff, so that applying it
/// twice is the same as once (AP-1).
#[derive(Clone)]
pub struct Change {
    /// What it is about.
    pub key: Key,
    /// Where it stands in its lane; the position to resume after.
    pub position: Position,
    /// When the source says it was committed, rounded down to the source's precision.
    pub at: SourceTime,
    /// The image, for the kind's eyes.
    pub body: Body,
    /// Approximate size of the image, bytes; bounds memory.
    pub size: usize,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{} ({}, {} B)", self.key, self.position, self.at, self.size)
    }
}

/// One page of changes, in the order in which the source committed them per key.
#[derive(Debug, Default)]
pub struct Page {
    /// In lane order.
    pub changes: Vec<Change>,
    /// The source had as much as one call can carry: ask again at once.
    pub full: bool,
}

/// One page of a lane that goes through what exists (a scan, a sweep), or through what is to be copied again.
///
/// What it says is true of a moment between the start of its request and its answer, while the tails go on. So each of its
/// changes and findings is dropped if its key was read from a tail after that start: what the tail says is newer.
#[derive(Debug, Default)]
pub struct Part {
    /// What to write to the standby, keys distinct.
    pub changes: Vec<Change>,
    /// Keys that the source has.
    pub seen: Vec<Key>,
    /// Keys of the standby that the source does not have, each as the removal that would mend it.
    pub orphans: Vec<Change>,
    /// Keys at which the standby was seen to differ, each as the removal of its key. Nothing is proven by that: a change may
    /// be on its way.
    pub doubts: Vec<Doubt>,
    /// Our wall clock when the source had answered all that the page says of it.
    pub read_at: SourceTime,
    /// Keys that were dirty and are not any more once `changes` are durable.
    pub mended: Vec<Key>,
    /// Items that were looked at.
    pub looked: u64,
    /// Where the lane goes on; `None` when that was all of it.
    pub to: Option<Position>,
    /// How long the budget of the store wants the lane to rest before its next page.
    pub pause: Duration,
}

/// A key at which source and standby were seen to differ.
#[derive(Debug, Clone)]
pub struct Doubt {
    /// The removal of the key: its identity, and what its kind needs to look at it again.
    pub change: Change,
    /// What was seen.
    pub what: Difference,
}

/// What one read of a lane can say.
#[derive(Debug)]
pub enum Read {
    /// Changes, at least one.
    Records(Page),
    /// The source answered and had nothing. `asked_at` is the start of the request: what was committed (and visible)
    /// before it would have been in the answer, unless an empty page is not the tip (DS-10).
    Empty {
        /// Start of the request.
        asked_at: Stamp,
    },
    /// What follows the position is gone, and the copy of this epoch brings it: the lane is read on from whatever is left.
    /// Only of a lane of which nothing was handed out since the copy began.
    Anew,
    /// One page of a lane that goes through what exists.
    Part(Part),
    /// The lane is finished for ever and everything in it has been handed out by earlier reads. Its children are
    /// known and are committed together with the end (M2c).
    End {
        /// The lanes that continue it; empty only when the source itself has ended.
        children: Vec<LaneSeed>,
    },
    /// History that was never read is gone.
    Lost {
        /// What is missing and why.
        why: Gap,
    },
}

/// A lane that the source names and the index does not know yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneSeed {
    /// Its name.
    pub lane: Lane,
    /// The lane that must be drained before this one may be read.
    pub parent: Option<Lane>,
    /// When the source created it, if its name says so plausibly; a hint (DS-F6).
    pub born: Option<SourceTime>,
}

/// What became of one change that was given to `apply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Durable in the standby.
    Done,
    /// The standby refuses it and will go on refusing it: park the key, pin the watermark (AP-6).
    Parked(Reason),
    /// Not applied, or not known to be applied: the same change must be sent again.
    Retry(Class),
}

/// Why a change was parked, for a human.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(pub String);

/// What kind of failure a call met; decides retry and what a metric calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The far end asks us to slow down; the call had no effect.
    Throttled,
    /// No definite answer: the call may have taken effect, now or a little later (AP-3).
    Unknown,
    /// The far end failed (5xx) or could not be reached, and the call had no effect.
    Unavailable,
    /// The far end refuses us: credentials, permissions. A human must act.
    Denied,
    /// The far end says that the request is wrong.
    Invalid,
    /// What we ask for does not exist.
    Missing,
}

impl Class {
    /// Every class, in the order of the metric's label values.
    pub const ALL: [Class; 6] =
        [Class::Throttled, Class::Unknown, Class::Unavailable, Class::Denied, Class::Invalid, Class::Missing];

    /// The value of the metric label `class`.
    pub fn label(self) -> &'static str {
        match self {
            Class::Throttled => "throttled",
            Class::Unknown => "unknown_outcome",
            Class::Unavailable => "unavailable",
            Class::Denied => "denied",
            Class::Invalid => "invalid",
            Class::Missing => "missing",
        }
    }
}
