//! When to read a lane again (DS-9), and when to try again after a failure. Pure.

use std::time::Duration;

/// The longest pause between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// The pause before the next read of one lane.
#[derive(Debug)]
pub(super) struct Pace {
    shortest: Duration,
    longest: Duration,
    pause: Duration,
    failures: u32,
}

impl Pace {
    /// Between `shortest` and `longest`.
    pub(super) fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, pause: shortest, failures: 0 }
    }

    /// After a page of changes: at once when it was full (there is more), else after the shortest pause. No cap on full
    /// pages: no limit on reads of a shard is published (DS-F11), and throttling, when it comes, is heeded.
    pub(super) fn records(&mut self, full: bool) -> Duration {
        self.failures = 0;
        self.pause = self.shortest;
        if full { Duration::ZERO } else { self.shortest }
    }

    /// After an empty answer: twice the last pause, up to the longest.
    pub(super) fn empty(&mut self) -> Duration {
        self.failures = 0;
        let pause = self.pause;
        self.pause = (self.pause * 2).min(self.longest);
        pause.min(self.longest)
    }

    /// After a failure. `jitter` is in 0..=255.
    pub(super) fn failure(&mut self, jitter: u8) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.pause = self.shortest;
        backoff(self.failures, jitter)
    }

    /// More than one failure in a row: no accident.
    pub(super) fn failing(&self) -> bool {
        self.failures > 1
    }
}

/// How long to wait after `failures` failures in a row: 50 ms doubling to 5 s, less up to a half at random so that many
/// that failed together do not come back together.
pub(super) fn backoff(failures: u32, jitter: u8) -> Duration {
    let full = Duration::from_millis(50).saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_BACKOFF);
    full - full / 2 * u32::from(jitter) / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn ds9_quick_when_busy_slow_when_idle() {
        let mut pace = Pace::new(MS(250), MS(2000));
        assert_eq!(pace.records(true), MS(0));
        assert_eq!(pace.records(false), MS(250));
        let pauses: Vec<_> = (0..6).map(|_| pace.empty()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 2000, 2000].map(MS));
        assert_eq!(pace.records(false), MS(250), "a change makes it quick again");
    }

    #[test]
    fn failures_back_off_and_stay_bounded() {
        assert_eq!(backoff(1, 0), MS(50));
        assert_eq!(backoff(3, 0), MS(200));
        assert_eq!(backoff(u32::MAX, 0), LONGEST_BACKOFF);
        assert!(backoff(3, 255) >= MS(100));
        let mut pace = Pace::new(MS(250), MS(2000));
        for _ in 0..100 {
            assert!(pace.failure(7) <= LONGEST_BACKOFF);
        }
    }
}
