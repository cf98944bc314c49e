//! One lane being read: what is in memory of it.

use std::collections::{BTreeSet, VecDeque};
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
    /// When to read next, monotonic.
    pub(super) due: Duration,
    /// Nothing more will be read.
    pub(super) ended: bool,
    /// It is no lane of the store any more; what of it is still being written settles here.
    pub(super) detached: bool,
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
            due: Duration::ZERO,
            ended: false,
            detached: false,
            moved: false,
            proved,
            given: VecDeque::new(),
            settled: None,
        }
    }

    /// Is anything of it still to come: a read, or a change, a proof or the end that waits in its window?
    pub(super) fn unfinished(&self) -> bool {
        !self.ended || !self.window.is_empty()
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

/// When each lane that may be read is to be read next. Whichever has waited longest comes first: when more are due than can
/// be read at one time, none starves, for one that is never read holds the whole store's watermark.
#[derive(Debug, Default)]
pub(super) struct Agenda(BTreeSet<(Duration, usize)>);

impl Agenda {
    /// Lane number `at` is to be read at `due`, monotonic. For a lane that is not on the agenda.
    pub(super) fn add(&mut self, due: Duration, at: usize) {
        self.0.insert((due, at));
    }

    /// Takes out the lane that is due longest.
    pub(super) fn take(&mut self, now: Duration) -> Option<usize> {
        let due = self.0.first().is_some_and(|(due, _)| *due <= now);
        if due { self.0.pop_first().map(|(_, at)| at) } else { None }
    }

    /// When the next lane is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.first().map(|(due, _)| *due)
    }

    /// Every lane is due now.
    pub(super) fn hurry(&mut self) {
        self.0 = std::mem::take(&mut self.0).into_iter().map(|(_, at)| (Duration::ZERO, at)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::SourceTime;

    /// A shard that was read to its end with changes still to be written: a catch-up must wait for them, and then for the
    /// children.
    #[test]
    fn an_ended_lane_is_unfinished_until_all_of_it_is_durable() {
        let rhythm = crate::replicate::testing::RHYTHM;
        let mut lane = OpenLane::new(Lane::tail("a"), None, None, &rhythm);
        assert!(lane.unfinished());
        let change = lane.window.push_change(Position("1".into()), SourceTime(0), 1);
        lane.window.push_end(vec![]);
        lane.ended = true;
        assert!(lane.unfinished());
        lane.window.settle(change);
        assert!(lane.unfinished(), "not in the index yet");
        lane.window.advance(&rhythm, Duration::ZERO, Stamp { wall: SourceTime(0), mono: Duration::ZERO });
        assert!(!lane.unfinished());
    }

    #[test]
    fn ds9_the_lane_that_waits_longest_is_read_first() {
        let at = Duration::from_secs;
        let mut agenda = Agenda::default();
        (0..3).for_each(|lane| agenda.add(Duration::ZERO, lane));
        assert_eq!((agenda.take(at(0)), agenda.take(at(0))), (Some(0), Some(1)));
        // Both are due again before the third was read once.
        (0..2).for_each(|lane| agenda.add(at(1), lane));
        assert_eq!(agenda.take(at(5)), Some(2));
        agenda.add(at(9), 2);
        assert_eq!((agenda.take(at(5)), agenda.take(at(5)), agenda.take(at(5))), (Some(0), Some(1), None));
        assert_eq!(agenda.next(), Some(at(9)));
        agenda.hurry();
        assert_eq!(agenda.take(at(5)), Some(2));
    }
}
