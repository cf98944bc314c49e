//! Drives the stores whose bytes we move: read, apply, commit, release, and never another order.
//!
//! A crash between read and apply: nothing happened. Between apply and commit: read and applied again, same result. Between
//! commit and release: the source repeats itself, apply is idempotent. There is no fourth case.
//!
//! One driver per store ([`driver`]) is one task: it owns the store's state, and everything slow (a read, a write, a
//! commit, a survey) is a future that it waits for, so no lock guards the state and no step can be half done. What it
//! decides is pure and tested alone: the window of a lane, the order per key, the pace of reads.

mod canary;
mod copy;
mod decisions;
mod driver;
mod fleet;
mod lane;
mod load;
mod order;
mod pace;
mod pending;
mod recent;
mod suspects;
mod trouble;
mod verify;
mod vitals;
mod window;
mod writes;

#[cfg(test)]
pub(crate) mod testing;

pub use fleet::{Divergent, Fleet};
pub use load::{LoadError, load};
pub(crate) use trouble::Trouble;

use std::sync::Arc;
use std::time::Duration;

use crate::change::Class;
use crate::seams::{Ids, SharedClock};
use crate::watermark::{Board, Index};

/// What drivers count. Implemented by the telemetry of the process, and by tests.
pub trait Meter: Send + Sync {
    /// Changes were read.
    fn read(&self, changes: u64);
    /// Changes became durable in the standby.
    fn applied(&self, changes: u64);
    /// Changes were replaced by newer ones of their keys before they were written.
    fn coalesced(&self, changes: u64) {
        let _ = changes;
    }
    /// A call failed.
    fn error(&self, class: Class);
    /// A change became durable this long after its commit, to the source's precision.
    fn latency(&self, after: Duration);
    /// A published watermark was wrong.
    fn violation(&self);
    /// A canary was seen this long after it was written in the source.
    fn canary_roundtrip(&self, after: Duration) {
        let _ = after;
    }
}

/// A sign of life: [`Pulse::beat`] often, or the watchdog stops being fed.
pub trait Pulse: Send + Sync {
    /// The task is alive.
    fn beat(&self);
}

/// What a driver is given.
#[derive(Clone)]
pub struct Deps {
    /// Time.
    pub clock: SharedClock,
    /// Randomness, for jitter.
    pub ids: Arc<dyn Ids>,
    /// The index.
    pub index: Arc<dyn Index>,
    /// Where vital signs are shown.
    pub board: Arc<Board>,
    /// What is counted.
    pub meter: Arc<dyn Meter>,
    /// The sign of life.
    pub pulse: Arc<dyn Pulse>,
    /// The measured bound on how far our clock is from the source's.
    pub skew: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// The process before this one stopped cleanly: nothing that it sent can still land.
    pub clean_start: bool,
}

impl Deps {
    pub(crate) fn skew(&self) -> Duration {
        (self.skew)()
    }
}

/// Does the flow flow?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Valve {
    Open,
    Closed,
}

/// What a driver shows to a promotion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Changes read and not durable.
    pub(crate) backlog: u64,
    /// All open lanes had given all they have, or did not answer, as of this monotonic instant, and that is durable.
    pub(crate) settled: Option<Duration>,
    /// The source does not answer.
    pub(crate) source_trouble: Option<String>,
    /// The valve is closed, nothing is in flight, no stray can land, and the last commit is durable.
    pub(crate) closed: bool,
    /// The driver has ended, and nothing that it sent can land any more.
    pub(crate) quiet: bool,
}
