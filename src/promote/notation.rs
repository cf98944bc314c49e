//! How instants and spans of time are written in the journal, the API and the reports: RFC 3339 and seconds, so that a
//! human with a hex dump reads the same numbers as the API's clients.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::change::{SourceTime, Stamp};

/// An instant, written as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct When(pub SourceTime);

impl When {
    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Result<Self, String> {
        let at = humantime::parse_rfc3339_weak(text)
            .map_err(|e| format!("{text:?} is not an instant like 2026-11-23T14:02:07Z: {e}"))?;
        Ok(Self(Stamp::new(at, Duration::ZERO).wall))
    }

    /// To the second, rounded down: `2026-11-23T14:02:07Z`.
    pub fn to_second(self) -> String {
        let text = self.0.floor_to_second().to_string();
        text.strip_suffix(".000Z").map_or_else(|| text.clone(), |head| format!("{head}Z"))
    }

    /// The time of day, rounded down to the second: `14:02:07Z`.
    pub fn time_of_day(self) -> String {
        let text = self.to_second();
        text.split_once('T').map_or_else(|| text.clone(), |(_, time)| time.to_owned())
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        When::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A span of time, written as a number of seconds with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Secs(pub Duration);

impl Secs {
    /// Whole seconds, rounded up: what would accept a loss of this size.
    pub fn ceil(self) -> u64 {
        self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0)
    }
}

impl fmt::Display for Secs {
    /// `46.2 s`, `12 min 5 s`, `3 h 12 min`: rounded up, since a loss is never made to look smaller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.as_millis().div_ceil(100);
        let whole = self.ceil();
        match whole {
            0..120 => write!(f, "{}.{} s", tenths / 10, tenths % 10),
            120..7200 => write!(f, "{} min {} s", whole / 60, whole % 60),
            _ => write!(f, "{} h {} min", whole.div_ceil(60) / 60, whole.div_ceil(60) % 60),
        }
    }
}

impl Serialize for Secs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0.as_millis() as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Secs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(from)?;
        let millis = (seconds * 1000.0).round();
        if (0.0..1e15).contains(&millis) {
            Ok(Self(Duration::from_millis(millis as u64)))
        } else {
            Err(D::Error::custom(format!("{seconds} is not a number of seconds")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_read_back_and_round_down() {
        let when = When(SourceTime(1_763_900_527_999));
        assert_eq!(serde_json::to_string(&when).unwrap(), "\"2025-11-23T12:22:07.999Z\"");
        assert_eq!(serde_json::from_str::<When>("\"2025-11-23T12:22:07.999Z\"").unwrap(), when);
        assert_eq!(when.to_second(), "2025-11-23T12:22:07Z");
        assert_eq!(when.time_of_day(), "12:22:07Z");
        assert!(When::parse("14:02").is_err());
    }

    #[test]
    fn spans_round_up() {
        let shown = |ms| Secs(Duration::from_millis(ms)).to_string();
        assert_eq!(shown(0), "0.0 s");
        assert_eq!(shown(46_101), "46.2 s");
        assert_eq!(shown(125_000), "2 min 5 s");
        assert_eq!(shown(3 * 3_600_000 + 1), "3 h 1 min");
        assert_eq!(Secs(Duration::from_millis(46_001)).ceil(), 47);
        assert_eq!(serde_json::to_string(&Secs(Duration::from_millis(1_250))).unwrap(), "1.25");
        assert!(serde_json::from_str::<Secs>("-1").is_err());
    }
}
