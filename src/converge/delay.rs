//! How long events take to the channel, and the allowance that follows from it (S3-13). Pure.
//!
//! What is measured is the channel's delay: from the change to when the channel took the message in. How long it then waited
//! for us is our own affair, or an outage of ours would stretch the allowance for a week.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::change::SourceTime;

/// So many days are remembered.
const DAYS: i64 = 7;
const DAY_MS: i64 = 24 * 3600 * 1000;

fn day(at: SourceTime) -> i64 {
    at.0.div_euclid(DAY_MS)
}

/// An event of `at` was taken in at `sent_at`. Says whether the record of its day has changed.
pub(super) fn note(delays: &mut BTreeMap<i64, u64>, at: SourceTime, sent_at: SourceTime) -> bool {
    let took = u64::try_from(sent_at.since(at).as_millis()).unwrap_or(u64::MAX);
    let longest = delays.entry(day(sent_at)).or_default();
    let longer = took > *longest;
    *longest = took.max(*longest);
    longer
}

/// Forgets what is too old.
pub(super) fn forget(delays: &mut BTreeMap<i64, u64>, now: SourceTime) {
    delays.retain(|at, _| *at > day(now) - DAYS);
}

/// D: an event is in the channel at most this long after its change.
pub(super) fn allowance(delays: &BTreeMap<i64, u64>, least: Duration) -> Duration {
    let longest = Duration::from_millis(delays.values().max().copied().unwrap_or(0));
    least.max(longest.saturating_mul(3) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(120);

    #[test]
    fn s3_13_the_longest_of_a_week_and_a_half_of_it() {
        let mut delays = BTreeMap::new();
        let at = SourceTime::from_secs(1_000_000);
        assert!(note(&mut delays, at, at + Duration::from_secs(3)));
        assert!(!note(&mut delays, at, at + Duration::from_secs(2)));
        assert_eq!(allowance(&delays, LEAST), LEAST);
        note(&mut delays, at, at + Duration::from_secs(1800));
        assert_eq!(allowance(&delays, LEAST), Duration::from_secs(2700));
        // An event of the future took no time at all.
        assert!(!note(&mut delays, at + Duration::from_secs(9000), at));
        forget(&mut delays, at + Duration::from_secs(6 * 86_400));
        assert_eq!(allowance(&delays, LEAST), Duration::from_secs(2700));
        forget(&mut delays, at + Duration::from_secs(8 * 86_400));
        assert_eq!(allowance(&delays, LEAST), LEAST);
    }
}
