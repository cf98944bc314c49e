//! The window of one lane: what was read and is not yet durable in the standby, in lane order (AP-7).
//!
//! Invariant: a position, a watermark or the end of a lane leaves the window only when everything that was read before it
//! is settled. So evidence of the tip is an entry like any other: "nothing more as of `u`" counts only once all that was
//! read before `u` is durable. Pure: no I/O, no clock.

use std::collections::VecDeque;
use std::time::Duration;

use crate::change::{Key, LaneSeed, Method, Position, SourceTime, Stamp};
use crate::stores::contract::Rhythm;

/// The number of an entry within its lane, counted from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryNo(pub(super) u64);

#[derive(Debug)]
enum Entry {
    Change { position: Position, at: SourceTime, size: usize, settled: bool },
    Image { size: usize, settled: bool },
    Page(PageMark),
    Tip { asked_at: Stamp, worth: Worth },
    End { children: Vec<LaneSeed> },
}

/// The end of a page of a lane that goes through what exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PageMark {
    /// Where the lane goes on.
    pub(super) position: Option<Position>,
    /// Items that were looked at.
    pub(super) looked: u64,
    /// Items of the standby that the source does not have.
    pub(super) orphans: u64,
    /// Keys that differ no more.
    pub(super) mended: Vec<Key>,
}

/// What the proof of a tip is worth (DS-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// All that DS-11 says.
    Full,
    /// That, and no more than this.
    UpTo(SourceTime),
    /// It says when the lane was read, and nothing about what is in it.
    Nothing,
}

/// The window.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// Number of the front entry.
    front: u64,
}

/// What left the window.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last position that was passed.
    pub(super) position: Option<Position>,
    /// The best watermark that was passed, and how it is founded.
    pub(super) through: Option<(SourceTime, Method)>,
    /// The newest tip that was passed: when the request of its proof began.
    pub(super) tip: Option<Stamp>,
    /// The lane is finished: its children.
    pub(super) end: Option<Vec<LaneSeed>>,
    /// Changes that were passed.
    pub(super) changes: u64,
    /// Ends of pages that were passed.
    pub(super) pages: Vec<PageMark>,
}

impl Progress {
    /// Nothing left the window.
    pub(super) fn is_empty(&self) -> bool {
        *self == Progress::default()
    }

    fn raise(&mut self, through: SourceTime, method: Method) {
        if self.through.is_none_or(|(best, _)| through >= best) {
            self.through = Some((through, method));
        }
    }
}

impl Window {
    /// Adds a change that was read.
    pub(super) fn push_change(&mut self, position: Position, at: SourceTime, size: usize) -> EntryNo {
        self.push(Entry::Change { position, at, size, settled: false })
    }

    /// Adds an image of a page. It has no position of its own: the page is passed as a whole.
    pub(super) fn push_image(&mut self, size: usize) -> EntryNo {
        self.push(Entry::Image { size, settled: false })
    }

    /// Adds the end of a page.
    pub(super) fn push_page(&mut self, mark: PageMark) {
        self.push(Entry::Page(mark));
    }

    /// Adds the proof that the lane had nothing more as of `asked_at` (DS-10).
    pub(super) fn push_tip(&mut self, asked_at: Stamp, worth: Worth) {
        // Of two tips with nothing between them only the newer one says anything.
        if let Some(Entry::Tip { asked_at: last, worth: lately }) = self.entries.back_mut() {
            (*last, *lately) = (asked_at, worth);
        } else {
            self.push(Entry::Tip { asked_at, worth });
        }
    }

    /// Adds the end of the lane.
    pub(super) fn push_end(&mut self, children: Vec<LaneSeed>) {
        self.push(Entry::End { children });
    }

    fn push(&mut self, entry: Entry) -> EntryNo {
        let number = self.end();
        self.entries.push_back(entry);
        number
    }

    /// A change is durable in the standby, or durably parked. Gives its size, bytes; settling again gives `None`.
    pub(super) fn settle(&mut self, number: EntryNo) -> Option<usize> {
        let at = number.0.checked_sub(self.front).and_then(|at| usize::try_from(at).ok())?;
        match self.entries.get_mut(at)? {
            Entry::Change { settled, size, .. } | Entry::Image { settled, size } if !*settled => {
                *settled = true;
                Some(*size)
            }
            _ => None,
        }
    }

    /// The number that the next entry will have.
    pub(super) fn end(&self) -> EntryNo {
        EntryNo(self.front + self.entries.len() as u64)
    }

    /// Entries, settled or not.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Has every change before `end` left the window?
    pub(super) fn passed(&self, end: EntryNo) -> bool {
        let before = end.0.saturating_sub(self.front);
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        !self.entries.iter().take(before).any(|entry| matches!(entry, Entry::Change { .. }))
    }

    /// Has everything left the window?
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes out everything at the front that is settled. `skew` bounds how far our clock may run ahead of the source's:
    /// a tip is an instant of ours, and must not be credited beyond what it is on the source's clock (A5). It is the earlier
    /// of what the wall clock said then and what it says `now` of then: a step of it meanwhile credits nothing (RP-5).
    pub(super) fn advance(&mut self, rhythm: &Rhythm, skew: Duration, now: Stamp) -> Progress {
        let mut progress = Progress::default();
        while let Some(entry) = self.entries.front() {
            match entry {
                Entry::Change { settled: false, .. } | Entry::Image { settled: false, .. } => break,
                Entry::Image { .. } => {}
                Entry::Page(mark) => {
                    progress.position = mark.position.clone();
                    progress.pages.push(mark.clone());
                }
                Entry::Change { position, at, .. } => {
                    progress.position = Some(position.clone());
                    progress.raise(verified(*at, rhythm), Method::Verified);
                    progress.changes += 1;
                }
                Entry::Tip { asked_at, worth } => {
                    let asked = asked_at.wall.min(now.wall - now.since(*asked_at));
                    let through = asked - rhythm.propagation - skew;
                    match worth {
                        Worth::Full => progress.raise(through, Method::Assumed),
                        Worth::UpTo(most) => progress.raise(through.min(*most), Method::Assumed),
                        Worth::Nothing => {}
                    }
                    progress.tip = Some(*asked_at);
                }
                Entry::End { children } => progress.end = Some(children.clone()),
            }
            self.entries.pop_front();
            self.front += 1;
        }
        progress
    }
}

/// What a durably applied record proves (DS-11): records of the same second may follow it, and commits up to the publish
/// allowance before it may not be visible yet.
pub(super) fn verified(at: SourceTime, rhythm: &Rhythm) -> SourceTime {
    at.floor_to_second() - Duration::from_secs(1) - rhythm.publish
}

/// The unbroken run of empty answers at a lane's end (DS-10). An empty answer is not the tip: only `E` in a row are, and
/// they prove it as of the start of the first of the last `E`, so the proof slides with every further one.
#[derive(Debug, Default)]
pub(super) struct EmptyRun {
    starts: VecDeque<Stamp>,
}

impl EmptyRun {
    /// An empty answer to a request that began at `asked_at`. Gives the instant as of which the lane is at its tip.
    pub(super) fn empty(&mut self, asked_at: Stamp, run: u32) -> Option<Stamp> {
        self.starts.push_back(asked_at);
        let run = usize::try_from(run.max(1)).unwrap_or(usize::MAX);
        while self.starts.len() > run {
            self.starts.pop_front();
        }
        if self.starts.len() == run { self.starts.front().copied() } else { None }
    }

    /// Anything but an empty answer: the run is broken.
    pub(super) fn broken(&mut self) {
        self.starts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rhythm() -> Rhythm {
        crate::replicate::testing::RHYTHM
    }

    fn stamp(secs: u64) -> Stamp {
        Stamp { wall: SourceTime::from_secs(secs as i64), mono: Duration::from_secs(secs) }
    }

    fn at(secs: i64) -> SourceTime {
        SourceTime(secs * 1000 + 700)
    }

    fn pos(n: u64) -> Position {
        Position(n.to_string().into())
    }

    #[test]
    fn ap7_a_position_passes_only_behind_settled_changes() {
        let mut w = Window::default();
        let (a, b, c) =
            (w.push_change(pos(1), at(100), 8), w.push_change(pos(2), at(101), 8), w.push_change(pos(3), at(102), 8));
        w.settle(c);
        w.settle(b);
        assert!(w.advance(&rhythm(), Duration::ZERO, stamp(1000)).is_empty());
        w.settle(a);
        w.settle(a);
        let p = w.advance(&rhythm(), Duration::ZERO, stamp(1000));
        assert_eq!((p.position, p.changes), (Some(pos(3)), 3));
        assert_eq!(p.through, Some((SourceTime::from_secs(100), Method::Verified)), "102 - 1 - publish 1");
        assert!(w.entries.is_empty());
        assert_eq!(w.settle(EntryNo(1)), None, "a late second answer changes nothing");
    }

    #[test]
    fn ds11_a_tip_waits_for_what_was_read_before_it() {
        let mut w = Window::default();
        let a = w.push_change(pos(1), at(100), 8);
        w.push_tip(stamp(200), Worth::Full);
        assert!(w.advance(&rhythm(), Duration::ZERO, stamp(1000)).is_empty());
        w.settle(a);
        let p = w.advance(&rhythm(), Duration::ZERO, stamp(1000));
        assert_eq!(p.through, Some((SourceTime::from_secs(190), Method::Assumed)), "u - P");
        assert_eq!(p.tip, Some(stamp(200)));
    }

    #[test]
    fn ds11_the_better_of_record_and_tip_counts() {
        let mut w = Window::default();
        let a = w.push_change(pos(1), at(195), 8);
        w.push_tip(stamp(200), Worth::Full);
        w.settle(a);
        assert_eq!(
            w.advance(&rhythm(), Duration::ZERO, stamp(1000)).through,
            Some((SourceTime::from_secs(193), Method::Verified))
        );
    }

    /// M2a: a parent whose changes are only fetched must not end.
    #[test]
    fn m2a_the_end_waits_for_durability() {
        let mut w = Window::default();
        let a = w.push_change(pos(1), at(100), 8);
        w.push_end(vec![]);
        assert_eq!(w.advance(&rhythm(), Duration::ZERO, stamp(1000)).end, None);
        w.settle(a);
        assert_eq!(w.advance(&rhythm(), Duration::ZERO, stamp(1000)).end, Some(vec![]));
    }

    /// M3a and M3c: the tip is as of the first of E empty answers, never of one alone and never of the last.
    #[test]
    fn m3a_m3c_the_tip_needs_a_run_and_is_as_of_its_first_answer() {
        let mut run = EmptyRun::default();
        assert_eq!(run.empty(stamp(1), 3), None);
        assert_eq!(run.empty(stamp(2), 3), None);
        assert_eq!(run.empty(stamp(3), 3), Some(stamp(1)));
        assert_eq!(run.empty(stamp(4), 3), Some(stamp(2)), "it slides");
        run.broken();
        assert_eq!(run.empty(stamp(5), 3), None);
    }

    #[test]
    fn a5_a_clock_ahead_of_the_source_makes_a_tip_worth_less() {
        let mut w = Window::default();
        w.push_tip(stamp(200), Worth::Full);
        let p = w.advance(&rhythm(), Duration::from_secs(3), stamp(1000));
        assert_eq!(p.through, Some((SourceTime::from_secs(187), Method::Assumed)));
    }

    #[test]
    fn ds12_a_tip_is_worth_no_more_than_it_was_said_to_be() {
        let through = |worth| {
            let mut w = Window::default();
            w.push_tip(stamp(200), worth);
            let p = w.advance(&rhythm(), Duration::ZERO, stamp(1000));
            assert_eq!(p.tip, Some(stamp(200)), "it was read all the same");
            p.through.map(|(through, _)| through)
        };
        assert_eq!(through(Worth::UpTo(SourceTime::from_secs(150))), Some(SourceTime::from_secs(150)));
        assert_eq!(through(Worth::UpTo(SourceTime::from_secs(195))), Some(SourceTime::from_secs(190)));
        assert_eq!(through(Worth::Nothing), None);
    }

    #[test]
    fn rp5_a_step_of_the_wall_clock_while_a_tip_waits_credits_nothing() {
        for (then, now) in [(3_800, 210), (200, 3_810)] {
            let mut w = Window::default();
            w.push_tip(Stamp { wall: SourceTime::from_secs(then), ..stamp(200) }, Worth::Full);
            let now = Stamp { wall: SourceTime::from_secs(now), ..stamp(210) };
            let p = w.advance(&rhythm(), Duration::ZERO, now);
            assert_eq!(p.through, Some((SourceTime::from_secs(190), Method::Assumed)));
        }
    }

    #[test]
    fn tips_without_changes_between_them_take_one_place() {
        let mut w = Window::default();
        let a = w.push_change(pos(1), at(100), 8);
        for s in 0..1000 {
            w.push_tip(stamp(s), Worth::Full);
        }
        w.settle(a);
        assert_eq!(w.advance(&rhythm(), Duration::ZERO, stamp(1000)).tip, Some(stamp(999)));
    }
}
