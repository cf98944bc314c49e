//! One lane being read: what is in memory of it.

use std::time::Duration;

use super::pace::Pace;
use super::window::{EmptyRun, Window};
use crate::change::{Lane, Position, Stamp};
use crate::stores::contract::Rhythm;

/// A lane that is open, or was and still has changes under way.
pub(super) struct OpenLane {
    pub(super) lane: Lane,
    pub(super) window: Window,
    pub(super) empties: EmptyRun,
    pub(super) pace: Pace,
    /// The last position handed out: ahead of the durable one by what is in the window.
    pub(super) read_from: Option<Position>,
    /// A read is under way.
    pub(super) reading: bool,
    /// When to read next, monotonic.
    pub(super) due: Duration,
    /// Nothing more will be read.
    pub(super) ended: bool,
    /// The window has entries that may have become passable since it was last advanced.
    pub(super) moved: bool,
    /// When evidence of this lane last became durable in the standby.
    pub(super) proved: Option<Stamp>,
    /// Start of the last read that found nothing more, or failed: as of then this lane was caught up, as far as it can be.
    pub(super) settled: Option<Duration>,
}

impl OpenLane {
    pub(super) fn new(lane: Lane, position: Option<Position>, proved: Option<Stamp>, rhythm: &Rhythm) -> Self {
        Self {
            lane,
            window: Window::default(),
            empties: EmptyRun::default(),
            pace: Pace::new(rhythm.poll_min, rhythm.poll_max),
            read_from: position,
            reading: false,
            due: Duration::ZERO,
            ended: false,
            moved: false,
            proved,
            settled: None,
        }
    }
}
