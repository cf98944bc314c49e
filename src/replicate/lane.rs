//! One lane being read: what is in memory of it.

use std::collections::VecDeque;
use std::time::Duration;

use super::pace::Pace;
use super::window::{EmptyRun, EntryNo, Window};
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
    /// As of when the source had given all it has, or did not answer, and the end of the window at that time.
    given: VecDeque<(Duration, EntryNo)>,
    /// The newest of these up to which everything is durable in the standby and in the index.
    pub(super) settled: Option<Duration>,
}

/// Unsettled instants that are remembered: a promotion needs the next one after its call, not every one.
const MOST_GIVEN: usize = 64;

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
            given: VecDeque::new(),
            settled: None,
        }
    }

    /// The source has given all it had as of `at`, as far as can be known.
    pub(super) fn gave_all(&mut self, at: Duration) {
        if self.given.len() < MOST_GIVEN {
            self.given.push_back((at, self.window.end()));
        }
    }

    /// Looks what has become durable; to be called when no commit is under way.
    pub(super) fn settle(&mut self) {
        while let Some((at, end)) = self.given.front().copied()
            && self.window.passed(end)
        {
            self.settled = Some(at);
            self.given.pop_front();
        }
    }
}
