//! Differences that are not proven. Pure: no I/O, no clock.
//!
//! A page of a verification that differs proves nothing: a change may be on its way. It is judged in three steps, `M` being
//! the instant up to which all changes are durable in the standby:
//! 1. the source had answered at `t`: wait until `M >= t`, so that all that it showed has arrived;
//! 2. look again, first at the source, which has answered at `u`, then at the standby: equal now is no difference;
//! 3. wait until `M >= u`: if no change of the key was read from a tail since the page was asked for, then none was
//!    committed until `u` that the standby had not got before it was looked at, and it differs. That is proof.
//!
//! A change that is read from a tail acquits its key at any time: its image replaces whatever the standby has. So a key that
//! is written all the time is acquitted at once, and nothing need be remembered of the changes themselves.

use std::collections::{HashMap, VecDeque};

use super::window::EntryNo;
use crate::change::{Change, Difference, Key, SourceTime};

/// A key under suspicion.
#[derive(Debug, Clone)]
pub(super) struct Suspect {
    /// The removal of the key.
    pub(super) change: Change,
    /// How it differs.
    pub(super) what: Difference,
    /// The lane that found it, and its entry there: the page is passed when it is judged.
    pub(super) lane: usize,
    pub(super) entry: EntryNo,
    number: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    all: HashMap<Key, Suspect>,
    /// To be looked at again, from this instant of the mark on.
    waiting: VecDeque<(SourceTime, u64, Key)>,
    /// Proven from this instant of the mark on.
    proving: VecDeque<(SourceTime, u64, Key)>,
    next: u64,
}

impl Suspects {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A page differs at a key; the source had answered at `read_at`. `false` when the key is under suspicion already.
    pub(super) fn add(&mut self, change: Change, what: Difference, at: (usize, EntryNo), read_at: SourceTime) -> bool {
        let (key, number) = (change.key.clone(), self.next);
        if self.all.contains_key(&key) {
            return false;
        }
        self.next += 1;
        self.waiting.push_back((read_at, number, key.clone()));
        self.all.insert(key, Suspect { change, what, lane: at.0, entry: at.1, number });
        true
    }

    /// A change of the key was read from a tail: it is acquitted.
    pub(super) fn read(&mut self, key: &Key) -> Option<Suspect> {
        self.all.remove(key)
    }

    /// Takes up to `most` that are to be looked at again.
    pub(super) fn due(&mut self, mark: Option<SourceTime>, most: usize) -> Vec<Suspect> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some((_, number, key)) =
                self.waiting.pop_front_if(|(from, ..)| mark.is_some_and(|mark| mark >= *from))
        {
            due.extend(self.get(&key, number).cloned());
        }
        due
    }

    /// They could not be looked at.
    pub(super) fn again(&mut self, suspects: Vec<Suspect>) {
        for suspect in suspects.into_iter().rev() {
            let key = suspect.change.key;
            if self.get(&key, suspect.number).is_some() {
                self.waiting.push_front((SourceTime(i64::MIN), suspect.number, key));
            }
        }
    }

    /// It was looked at again, and the source had answered at `read_at`. Gives it back when it is acquitted.
    pub(super) fn looked(
        &mut self,
        suspect: &Suspect,
        found: Option<Difference>,
        read_at: SourceTime,
    ) -> Option<Suspect> {
        let key = &suspect.change.key;
        self.get(key, suspect.number)?;
        match found {
            None => self.all.remove(key),
            Some(what) => {
                if let Some(suspect) = self.all.get_mut(key) {
                    suspect.what = what;
                }
                self.proving.push_back((read_at, suspect.number, key.clone()));
                None
            }
        }
    }

    /// Takes out those that are proven.
    pub(super) fn proven(&mut self, mark: Option<SourceTime>) -> Vec<Suspect> {
        let mut proven = Vec::new();
        while let Some((_, number, key)) =
            self.proving.pop_front_if(|(from, ..)| mark.is_some_and(|mark| mark >= *from))
        {
            if self.get(&key, number).is_some() {
                proven.extend(self.all.remove(&key));
            }
        }
        proven
    }

    /// The lane is none any more.
    pub(super) fn leave(&mut self, lane: usize) {
        self.all.retain(|_, suspect| suspect.lane != lane);
    }

    fn get(&self, key: &Key, number: u64) -> Option<&Suspect> {
        self.all.get(key).filter(|suspect| suspect.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Position;
    use std::sync::Arc;

    fn change(key: &'static str) -> Change {
        let position = Position("".into());
        Change { key: Key(key.into()), position, at: SourceTime(0), body: Arc::new(()), size: 1 }
    }

    fn suspects(keys: &[&'static str]) -> Suspects {
        let mut all = Suspects::default();
        for (n, key) in keys.iter().enumerate() {
            assert!(all.add(change(key), Difference::Differs, (0, EntryNo(n as u64)), SourceTime(10)));
        }
        all
    }

    fn keys(found: &[Suspect]) -> Vec<&[u8]> {
        found.iter().map(|s| s.change.key.0.as_ref()).collect()
    }

    #[test]
    fn only_what_differs_again_after_the_mark_and_is_never_read_is_proven() {
        let mut all = suspects(&["healed", "read", "bad"]);
        assert!(all.due(None, 9).is_empty() && all.due(Some(SourceTime(9)), 9).is_empty(), "changes are on their way");
        let due = all.due(Some(SourceTime(10)), 9);
        assert_eq!(keys(&due), [b"healed".as_slice(), b"read", b"bad"]);
        assert_eq!(all.looked(&due[0], None, SourceTime(20)).map(|s| s.entry), Some(EntryNo(0)));
        assert!(all.looked(&due[1], Some(Difference::Missing), SourceTime(20)).is_none());
        assert!(all.looked(&due[2], Some(Difference::Missing), SourceTime(20)).is_none());
        assert_eq!(all.read(&Key("read".into())).map(|s| s.entry), Some(EntryNo(1)));
        assert!(all.proven(Some(SourceTime(19))).is_empty(), "a change between the looks may still come");
        let proven = all.proven(Some(SourceTime(20)));
        assert_eq!((keys(&proven), proven[0].what), (vec![b"bad".as_slice()], Difference::Missing));
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn an_answer_about_a_former_suspicion_says_nothing_of_the_next() {
        let mut all = suspects(&["k"]);
        let old = all.due(Some(SourceTime(10)), 9);
        all.read(&Key("k".into()));
        all.add(change("k"), Difference::Orphan, (0, EntryNo(7)), SourceTime(30));
        assert!(!all.add(change("k"), Difference::Orphan, (0, EntryNo(8)), SourceTime(30)), "one at a time");
        all.looked(&old[0], Some(Difference::Differs), SourceTime(11));
        assert!(all.proven(Some(SourceTime(99))).is_empty());
        all.again(old);
        assert_eq!(all.due(Some(SourceTime(12)), 9).len(), 0);
        assert_eq!(all.due(Some(SourceTime(30)), 9).len(), 1);
    }

    #[test]
    fn a_look_that_failed_is_repeated_and_a_lane_that_is_gone_takes_its_suspects_with_it() {
        let mut all = suspects(&["a", "b"]);
        let due = all.due(Some(SourceTime(10)), 9);
        all.again(due);
        assert_eq!(keys(&all.due(Some(SourceTime(10)), 1)), [b"a".as_slice()]);
        all.leave(0);
        assert!(all.due(Some(SourceTime(10)), 9).is_empty() && all.len() == 0);
    }
}
