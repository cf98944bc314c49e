//! What canaries have measured: how long a commit takes to become visible (A3), and how many empty pages came before it
//! although it had to be there (A1). Over a day that slides by the hour, in a few kilobytes. Pure.

use std::time::Duration;

/// Hours that are looked back at: 23 to 24 h of measurements count.
const HOURS: u64 = 24;
/// Buckets of one hour: up to 1 ms, then each a fourth wider than the one before; the last begins above an hour.
const BUCKETS: usize = 72;
/// The upper bound of the first bucket, seconds.
const FIRST: f64 = 0.001;
/// From one bound to the next.
const STEP: f64 = 1.25;

/// One hour.
#[derive(Debug, Clone)]
struct Hour {
    number: u64,
    counts: [u32; BUCKETS],
    longest: Duration,
    empties: u32,
}

/// The measurements of the last day.
#[derive(Debug, Default)]
pub(super) struct Measured {
    hours: Vec<Hour>,
}

/// What they come to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Summary {
    /// Half of the commits were visible within this.
    pub(super) p50: Duration,
    /// 99 of 100.
    pub(super) p99: Duration,
    /// The longest that one took.
    pub(super) longest: Duration,
    /// The most empty pages before one that should have been there.
    pub(super) empties: u32,
}

impl Measured {
    /// A canary was visible this long after its commit was acknowledged.
    pub(super) fn visible_after(&mut self, took: Duration, now: Duration) {
        let hour = self.hour(now);
        hour.counts[bucket(took)] = hour.counts[bucket(took)].saturating_add(1);
        hour.longest = hour.longest.max(took);
    }

    /// So many empty pages came before a canary that should have been on the first of them.
    pub(super) fn empties_before(&mut self, pages: u32, now: Duration) {
        let hour = self.hour(now);
        hour.empties = hour.empties.max(pages);
    }

    fn hour(&mut self, now: Duration) -> &mut Hour {
        let number = now.as_secs() / 3600;
        self.hours.retain(|hour| hour.number + HOURS > number);
        if self.hours.last().is_none_or(|hour| hour.number != number) {
            self.hours.push(Hour { number, counts: [0; BUCKETS], longest: Duration::ZERO, empties: 0 });
        }
        self.hours.last_mut().expect("it was just pushed")
    }

    /// All of it as of `now`; `None` before the first canary was seen.
    pub(super) fn summary(&self, now: Duration) -> Option<Summary> {
        let number = now.as_secs() / 3600;
        let hours = || self.hours.iter().filter(|hour| hour.number + HOURS > number);
        let mut counts = [0_u64; BUCKETS];
        for hour in hours() {
            counts.iter_mut().zip(hour.counts).for_each(|(sum, count)| *sum += u64::from(count));
        }
        let all: u64 = counts.iter().sum();
        let longest = hours().map(|hour| hour.longest).max()?;
        // Never more than the longest that was measured: a bucket's bound is no measurement.
        let quantile = |q: f64| {
            let rank = ((all as f64 * q).ceil() as u64).max(1);
            let mut seen = 0;
            let at = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            bound(at.unwrap_or(BUCKETS)).min(longest)
        };
        let empties = hours().map(|hour| hour.empties).max().unwrap_or(0);
        (all > 0).then(|| Summary { p50: quantile(0.5), p99: quantile(0.99), longest, empties })
    }
}

/// The bucket that a duration falls into.
fn bucket(took: Duration) -> usize {
    (0..BUCKETS - 1).find(|at| took <= bound(*at)).unwrap_or(BUCKETS - 1)
}

/// The upper bound of a bucket.
fn bound(at: usize) -> Duration {
    if at + 1 >= BUCKETS {
        return Duration::MAX;
    }
    Duration::from_secs_f64(FIRST * STEP.powi(i32::try_from(at).unwrap_or(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn nothing_is_known_before_the_first() {
        assert_eq!(Measured::default().summary(HOUR), None);
    }

    #[test]
    fn a_day_slides_and_little_is_kept() {
        let mut measured = Measured::default();
        measured.visible_after(Duration::from_secs(9), HOUR / 2);
        measured.empties_before(4, HOUR / 2);
        for hour in 1..200 {
            let now = HOUR * hour + HOUR / 2;
            measured.visible_after(Duration::from_millis(200), now);
            let summary = measured.summary(now).unwrap();
            assert_eq!(summary.longest > Duration::from_secs(1), hour < 24, "{hour}: {summary:?}");
            assert_eq!(summary.empties == 4, hour < 24, "{hour}: {summary:?}");
            assert!(measured.hours.len() <= 24, "{hour}");
        }
        assert_eq!(measured.summary(HOUR * 400), None, "what is older than a day is not known");
    }

    #[test]
    fn buckets_cover_an_hour() {
        assert!(bound(BUCKETS - 2) > HOUR && bound(BUCKETS - 2) < HOUR * 3, "{:?}", bound(BUCKETS - 2));
    }

    proptest! {
        /// A quantile is no less than the truth and at most a fourth (or a millisecond) more.
        #[test]
        fn quantiles_are_upper_bounds(millis in proptest::collection::vec(0_u64..10_000, 1..200)) {
            let mut measured = Measured::default();
            let mut sorted = millis.clone();
            sorted.sort_unstable();
            millis.iter().for_each(|ms| measured.visible_after(Duration::from_millis(*ms), HOUR));
            let summary = measured.summary(HOUR).unwrap();
            let exact = |q: f64| Duration::from_millis(sorted[((millis.len() as f64 * q).ceil() as usize).max(1) - 1]);
            for (got, truth) in [(summary.p50, exact(0.5)), (summary.p99, exact(0.99))] {
                prop_assert!(got >= truth && got <= truth.mul_f64(1.26) + Duration::from_millis(1), "{:?} {:?}", got, truth);
            }
            prop_assert_eq!(summary.longest, Duration::from_millis(*sorted.last().unwrap()));
        }
    }
}
