//! Keys that were read from the tails while pages of a copy are on their way. Pure: no I/O, no clock.
//!
//! A page says what the source held at some moment after its request began. A change of a key that was read from a tail
//! before that is in the page already. One that was read after it may be newer than the page, so the page's image of that
//! key is dropped. Only the keys read since the oldest request that is still unanswered must be known, so what is kept is
//! bounded by the rate of changes times the duration of one request.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::change::Key;

/// The keys.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// When each was read last, monotonic.
    last: HashMap<Key, Duration>,
    /// In the order of reading.
    order: VecDeque<(Duration, Key)>,
    /// When the requests began that are not answered yet, and how many at each instant.
    asked: BTreeMap<Duration, usize>,
}

impl Recent {
    /// A request for a page begins.
    pub(super) fn begin(&mut self, asked: Duration) {
        *self.asked.entry(asked).or_default() += 1;
    }

    /// A request that began then was answered, and its answer was dealt with.
    pub(super) fn end(&mut self, asked: Duration) {
        if let Some(count) = self.asked.get_mut(&asked) {
            *count -= 1;
            if *count == 0 {
                self.asked.remove(&asked);
            }
        }
        let Some(oldest) = self.asked.keys().next().copied() else {
            self.last.clear();
            self.order.clear();
            return;
        };
        while let Some((at, key)) = self.order.pop_front_if(|(at, _)| *at < oldest) {
            if self.last.get(&key) == Some(&at) {
                self.last.remove(&key);
            }
        }
    }

    /// A change of this key was read from a tail.
    pub(super) fn read(&mut self, key: &Key, now: Duration) {
        if !self.asked.is_empty() {
            self.last.insert(key.clone(), now);
            self.order.push_back((now, key.clone()));
        }
    }

    /// Was a change of this key read from a tail since then? Only for the time of a request that is not ended.
    pub(super) fn since(&self, key: &Key, asked: Duration) -> bool {
        self.last.get(key).is_some_and(|at| *at >= asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key(vec![n].into())
    }

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn m1a_what_was_read_since_the_request_began_is_known() {
        let mut recent = Recent::default();
        recent.read(&key(1), S(1));
        recent.begin(S(2));
        recent.read(&key(2), S(2));
        recent.read(&key(3), S(4));
        assert!(!recent.since(&key(1), S(2)), "it is in the page");
        assert!(recent.since(&key(2), S(2)), "in doubt the tail is newer");
        assert!(recent.since(&key(3), S(2)));
    }

    #[test]
    fn only_what_an_open_request_needs_is_kept() {
        let mut recent = Recent::default();
        recent.begin(S(1));
        recent.begin(S(1));
        recent.begin(S(5));
        for at in 1..10 {
            recent.read(&key(at as u8), S(at));
            recent.read(&key(0), S(at));
        }
        recent.end(S(1));
        assert_eq!(recent.order.len(), 18, "another request of that instant is open");
        recent.end(S(1));
        assert!(recent.since(&key(7), S(5)) && recent.since(&key(0), S(5)));
        assert_eq!((recent.last.len(), recent.order.len()), (6, 10));
        recent.end(S(5));
        assert_eq!((recent.last.len(), recent.order.len()), (0, 0));
        recent.read(&key(1), S(11));
        assert_eq!(recent.order.len(), 0, "nobody asks");
    }
}
