//! When the channels were empty (S3-13, S3-14, S3-16, S3-17). Pure: told of every poll, decides what it proves.
//!
//! Invariants
//! - A clean drain at u: the last poll of every receiver began at u or later and found nothing, and the depth that was asked
//!   for after all of them says that nothing waits, and that nobody holds more than we do.
//! - No drain counts before messages that a former process may hold have come back (S3-14), nor before the channel was seen.
//! - A channel that never runs dry proves less: the oldest message of a whole visibility window stands for u.

use std::collections::VecDeque;
use std::time::Duration;

use crate::change::{SourceTime, Stamp};
use crate::stores::converge::Depth;

/// So many spans make the window.
const SPANS: u32 = 8;
/// Messages that may vanish without a word: depths are estimates.
const VANISHED: u64 = 100;

#[derive(Debug, Clone, Copy)]
struct Poll {
    asked: Stamp,
    empty: bool,
}

/// A part of the window.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// Monotonic, in spans.
    number: u128,
    /// A poll of the main channel succeeded in it.
    polled: bool,
    oldest: Option<SourceTime>,
}

/// What a clean drain proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// Everything that was in the channel before this instant was received.
    Clean(Stamp),
    /// The same, and messages are gone that nobody gave us: so many.
    Vanished(Stamp, u64),
    /// Not empty, or others hold messages.
    No,
}

/// The receivers of a store.
#[derive(Debug)]
pub(super) struct Drain {
    /// The last poll that ended, of each receiver.
    last: Vec<Option<Poll>>,
    /// Nothing before this counts, monotonic.
    not_before: Duration,
    /// The instant that the last depth was asked about, monotonic.
    asked_about: Option<Duration>,
    /// What was known to wait and has not come yet.
    owed: u64,
    /// Of how many.
    owed_of: u64,
    window: VecDeque<Span>,
    span: Duration,
}

impl Drain {
    /// With so many receivers. Nothing counts before `not_before`; the window is `visibility` long.
    pub(super) fn new(receivers: usize, not_before: Duration, visibility: Duration) -> Self {
        Self {
            last: vec![None; receivers],
            not_before,
            asked_about: None,
            owed: 0,
            owed_of: 0,
            window: VecDeque::new(),
            span: (visibility / SPANS).max(Duration::from_millis(1)),
        }
    }

    /// What was proved so far is void: the channel may be another.
    pub(super) fn doubt(&mut self, now: Duration) {
        self.not_before = self.not_before.max(now);
        self.last.fill(None);
        self.window.clear();
        (self.owed, self.owed_of) = (0, 0);
    }

    /// A poll of a receiver has ended with these messages.
    pub(super) fn polled(&mut self, receiver: usize, asked: Stamp, sent: &[SourceTime], now: Stamp) {
        let Some(last) = self.last.get_mut(receiver) else { return };
        if last.is_none_or(|have| have.asked.mono <= asked.mono) {
            *last = Some(Poll { asked, empty: sent.is_empty() });
        }
        self.owed = self.owed.saturating_sub(sent.len() as u64);
        let number = now.mono.as_nanos() / self.span.as_nanos();
        if self.window.back().is_none_or(|span| span.number < number) {
            self.window.push_back(Span { number, polled: false, oldest: None });
        }
        while self.window.front().is_some_and(|span| span.number + u128::from(SPANS) < number) {
            self.window.pop_front();
        }
        if let Some(span) = self.window.back_mut() {
            span.polled |= receiver == 0 || !sent.is_empty();
            let oldest = sent.iter().min().copied();
            span.oldest = [span.oldest, oldest].into_iter().flatten().min();
        }
    }

    /// A poll failed.
    pub(super) fn failed(&mut self, receiver: usize) {
        if let Some(last) = self.last.get_mut(receiver) {
            *last = None;
        }
    }

    /// The instant that a depth is worth asking about: all receivers found nothing since, and it is a new one.
    pub(super) fn candidate(&self) -> Option<Stamp> {
        let polls = self.last.iter().map(|last| last.filter(|poll| poll.empty).map(|poll| poll.asked));
        let oldest = polls.collect::<Option<Vec<_>>>()?.into_iter().min_by_key(|asked| asked.mono)?;
        let new = self.asked_about.is_none_or(|about| oldest.mono > about);
        (oldest.mono >= self.not_before && new).then_some(oldest)
    }

    /// A depth is being asked for about this instant.
    pub(super) fn asking(&mut self, about: Stamp) {
        self.asked_about = Some(about.mono);
    }

    /// The depth that was asked for about `about`, `None` when just so. We held `ours` messages while it was asked for, at
    /// the least.
    pub(super) fn depth(&mut self, about: Option<Stamp>, depth: Depth, ours: u64) -> Drained {
        let empty = depth.waiting == 0 && depth.delayed == 0 && depth.held <= ours;
        if !empty {
            if depth.waiting > self.owed {
                (self.owed, self.owed_of) = (depth.waiting, depth.waiting);
            }
            return Drained::No;
        }
        let Some(about) = about else { return Drained::No };
        // It was doubted meanwhile.
        if about.mono < self.not_before {
            return Drained::No;
        }
        let (owed, of) = (self.owed, self.owed_of);
        (self.owed, self.owed_of) = (0, 0);
        if owed > VANISHED.max(of / 5) { Drained::Vanished(about, owed) } else { Drained::Clean(about) }
    }

    /// It failed: it is asked for again.
    pub(super) fn depth_failed(&mut self) {
        self.asked_about = None;
    }

    /// The oldest message of a whole window in which every span was polled (S3-13, for a channel that never runs dry).
    pub(super) fn busy(&self, now: Duration) -> Option<SourceTime> {
        let number = now.as_nanos() / self.span.as_nanos();
        let first = number.checked_sub(u128::from(SPANS))?;
        if self.not_before.as_nanos() > first * self.span.as_nanos() {
            return None;
        }
        let spans: Vec<&Span> = self.window.iter().filter(|span| span.number >= first).collect();
        let whole = spans.len() > SPANS as usize && spans.iter().all(|span| span.polled);
        if whole { spans.iter().filter_map(|span| span.oldest).min() } else { None }
    }

    /// The oldest message that was seen lately.
    pub(super) fn oldest_seen(&self) -> Option<SourceTime> {
        self.window.iter().filter_map(|span| span.oldest).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const VISIBILITY: Duration = Duration::from_secs(40);

    fn at(secs: u64) -> Stamp {
        Stamp { wall: SourceTime(1_000_000) + S(secs), mono: S(secs) }
    }
    fn sent(secs: u64) -> SourceTime {
        at(secs).wall
    }
    fn depth(waiting: u64, delayed: u64, held: u64) -> Depth {
        Depth { waiting, delayed, held }
    }

    #[test]
    fn s3_13_every_receiver_and_then_the_depth() {
        let mut drain = Drain::new(2, S(0), VISIBILITY);
        drain.polled(0, at(1), &[], at(21));
        assert_eq!(drain.candidate(), None, "the other has not said anything yet");
        drain.polled(1, at(5), &[], at(25));
        assert_eq!(drain.candidate(), Some(at(1)));
        drain.asking(at(1));
        assert_eq!(drain.candidate(), None, "asked about once");
        assert_eq!(drain.depth(Some(at(1)), depth(1, 0, 0), 0), Drained::No);
        assert_eq!(drain.depth(Some(at(1)), depth(0, 1, 0), 0), Drained::No);
        assert_eq!(drain.depth(Some(at(1)), depth(0, 0, 3), 2), Drained::No, "somebody else holds one");
        assert_eq!(drain.depth(Some(at(1)), depth(0, 0, 2), 2), Drained::Clean(at(1)));
        drain.polled(0, at(21), &[sent(20)], at(22));
        assert_eq!(drain.candidate(), None, "a receiver that found something must look again");
        drain.polled(0, at(22), &[], at(42));
        assert_eq!(drain.candidate(), Some(at(5)));
        drain.failed(0);
        assert_eq!(drain.candidate(), None);
    }

    #[test]
    fn s3_14_nothing_counts_while_a_former_process_may_hold_messages() {
        let mut drain = Drain::new(1, S(40), VISIBILITY);
        drain.polled(0, at(39), &[], at(59));
        assert_eq!(drain.candidate(), None);
        drain.polled(0, at(60), &[], at(80));
        assert_eq!(drain.candidate(), Some(at(60)));
        drain.asking(at(60));
        drain.doubt(S(81));
        assert_eq!(drain.depth(Some(at(60)), depth(0, 0, 0), 0), Drained::No, "doubted while it was asked");
    }

    #[test]
    fn s3_17_messages_that_are_gone_and_were_never_given_to_us() {
        let mut drain = Drain::new(1, S(0), VISIBILITY);
        drain.polled(0, at(1), &[sent(0)], at(1));
        assert_eq!(drain.depth(None, depth(5_000, 0, 1), 1), Drained::No);
        drain.polled(0, at(2), &[sent(0), sent(0)], at(2));
        drain.polled(0, at(3), &[], at(23));
        assert_eq!(drain.depth(Some(at(3)), depth(0, 0, 0), 0), Drained::Vanished(at(3), 4_998));
        assert_eq!(drain.depth(Some(at(3)), depth(0, 0, 0), 0), Drained::Clean(at(3)), "told once");
        assert_eq!(drain.depth(None, depth(90, 0, 0), 0), Drained::No);
        assert_eq!(drain.depth(Some(at(3)), depth(0, 0, 0), 0), Drained::Clean(at(3)), "estimates may be off");
    }

    #[test]
    fn s3_13_a_busy_channel_is_judged_by_a_whole_window() {
        let mut drain = Drain::new(1, S(0), VISIBILITY);
        let mut proved = None;
        for secs in 0..100 {
            drain.polled(0, at(secs), &[sent(secs.saturating_sub(7))], at(secs));
            proved = drain.busy(S(secs));
            assert!(proved.is_none_or(|at| at <= sent(secs.saturating_sub(40))), "{secs}");
        }
        assert!(proved.is_some_and(|at| at >= sent(45)));
        for secs in 110..140 {
            drain.polled(0, at(secs), &[sent(secs)], at(secs));
            assert_eq!(drain.busy(S(secs)), None, "nobody polled for a while: {secs}");
        }
    }
}
