//! Instants: of the source's clock, and of ours.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// An instant on the source's clock, in whole milliseconds since the Unix epoch. Watermarks are made of these.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct SourceTime(pub i64);

impl SourceTime {
    /// From whole seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1000)
    }

    /// Rounded down to the second: what a source with second precision can vouch for (DS-F12).
    pub const fn floor_to_second(self) -> Self {
        Self(self.0.div_euclid(1000) * 1000)
    }

    /// Seconds since the epoch, for metrics.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// `self - earlier`, zero when `earlier` is later.
    pub fn since(self, earlier: SourceTime) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Milliseconds of a duration, saturating.
fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

impl Sub<Duration> for SourceTime {
    type Output = SourceTime;
    fn sub(self, d: Duration) -> SourceTime {
        SourceTime(self.0.saturating_sub(millis(d)))
    }
}

impl Add<Duration> for SourceTime {
    type Output = SourceTime;
    fn add(self, d: Duration) -> SourceTime {
        SourceTime(self.0.saturating_add(millis(d)))
    }
}

impl fmt::Display for SourceTime {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0) {
            Ok(ms) => write!(f, "{}", humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms))),
            Err(_) => write!(f, "{} ms before 1970", self.0.unsigned_abs()),
        }
    }
}

impl fmt::Debug for SourceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One moment on two of our clocks: the wall, which names it, and the monotonic one, which ages it. A step of the wall
/// clock must never make an RPO look smaller (RP-5), so ages are always differences of `mono`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Our wall clock, Unix milliseconds. Comparable with [`SourceTime`] up to the measured clock skew.
    pub wall: SourceTime,
    /// Time since an arbitrary start of this process; never goes back, meaningless in another process.
    pub mono: Duration,
}

impl Stamp {
    /// From the two clocks.
    pub fn new(wall: SystemTime, mono: Duration) -> Self {
        let wall = match wall.duration_since(UNIX_EPOCH) {
            Ok(since) => SourceTime(millis(since)),
            Err(before) => SourceTime(-millis(before.duration())),
        };
        Self { wall, mono }
    }

    /// How long ago `earlier` was, by the monotonic clock; zero if it is later.
    pub fn since(self, earlier: Stamp) -> Duration {
        self.mono.saturating_sub(earlier.mono)
    }

    /// The same moment `d` later.
    pub fn after(self, d: Duration) -> Stamp {
        Stamp { wall: self.wall + d, mono: self.mono + d }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_and_printing() {
        let t = SourceTime(1_763_900_527_999);
        assert_eq!(t.floor_to_second(), SourceTime(1_763_900_527_000));
        assert_eq!(SourceTime(-1).floor_to_second(), SourceTime(-1000));
        assert_eq!(t.to_string(), "2025-11-23T12:22:07.999Z");
        assert_eq!(SourceTime(-5).to_string(), "5 ms before 1970");
        assert_eq!((t - Duration::MAX), SourceTime(t.0.saturating_sub(i64::MAX)));
    }

    #[test]
    fn age_ignores_a_step_of_the_wall_clock() {
        let a = Stamp { wall: SourceTime(10_000), mono: Duration::from_secs(5) };
        let b = Stamp { wall: SourceTime(1_000), mono: Duration::from_secs(8) };
        assert_eq!(b.since(a), Duration::from_secs(3));
        assert_eq!(a.since(b), Duration::ZERO);
    }
}
