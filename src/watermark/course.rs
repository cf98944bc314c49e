//! What is durable about a store that is made the same key by key: its dirty keys, what is known of the clean ones, and
//! how far its events and its walks reach (semantics 3.2 to 3.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::{Difference, Key, SourceTime};

/// The part of a store's record that only such a store has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Course {
    /// The channel that the store was last read from; another one has lost what this one held (S3-17).
    #[serde(default)]
    pub channel: Option<String>,
    /// Our wall clock until when messages may be hidden that a former process took and did not give back (S3-14).
    #[serde(default)]
    pub hidden_until: Option<SourceTime>,
    /// Our wall clock when the event path was first set up for this incarnation.
    #[serde(default)]
    pub path_since: Option<SourceTime>,
    /// Our wall clock when the event path was proved: a canary was received, or it had time enough to take effect (S3-12).
    #[serde(default)]
    pub path_proved: Option<SourceTime>,
    /// The start of the latest clean drain (S3-13), our wall clock with the measured skew subtracted.
    #[serde(default)]
    pub drained: Option<SourceTime>,
    /// What the events alone prove (`W_event`).
    #[serde(default)]
    pub events_through: Option<SourceTime>,
    /// The start of the last complete walk whose differences are all settled (`W_certified`), skew subtracted.
    #[serde(default)]
    pub certified: Option<SourceTime>,
    /// The longest that an event took to the channel, milliseconds, by day since 1970; of the last 7 days (S3-13).
    #[serde(default)]
    pub delays: BTreeMap<i64, u64>,
    /// Events may have been lost or were not understood: only a walk that began later knows (S3-16, S3-17, S3-20).
    #[serde(default)]
    pub blind: Option<Blind>,
    /// The walk under way, or the last one.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// Keys that cannot be made the same, by class (S3-7).
    #[serde(default)]
    pub refused: BTreeMap<String, Tally>,
    /// The same, where the configuration says that they need not be.
    #[serde(default)]
    pub excluded: BTreeMap<String, Tally>,
    /// Differences that a walk found and no event had told of, since the index was made.
    #[serde(default)]
    pub untold: u64,
}

/// Events of this time on may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blind {
    /// The oldest change that may be missing.
    pub since: SourceTime,
    /// Our wall clock when it was noticed, last: a walk must have begun later.
    pub noticed_at: SourceTime,
    /// What happened, for a human.
    pub why: String,
}

/// How many and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Keys.
    pub items: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A walk of both ends, side by side (S3-10).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Walk {
    /// Our wall clock when it began, skew subtracted: it proves what was made before.
    pub began: SourceTime,
    /// Our wall clock when both ends had been listed; `None` while they are.
    #[serde(default)]
    pub listed_at: Option<SourceTime>,
    /// Our wall clock when all that it found was settled; `None` while it is not.
    #[serde(default)]
    pub ended_at: Option<SourceTime>,
    /// Why it began, for a human.
    #[serde(default)]
    pub cause: String,
    /// The parts of the key space.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Objects of the source that were looked at.
    #[serde(default)]
    pub looked: u64,
    /// Their bytes.
    #[serde(default)]
    pub bytes: u64,
    /// Objects of the standby that were looked at.
    #[serde(default)]
    pub standby: u64,
    /// Objects of the source that the walk before this one looked at; 0 when there was none. The total, as far as known.
    #[serde(default)]
    pub expected: u64,
    /// Keys that differ, or may.
    #[serde(default)]
    pub found: u64,
    /// Of those, keys that the standby has and the source does not: removed only below the guard (S3-11).
    #[serde(default)]
    pub orphans: u64,
    /// How many of them an operator allowed to be removed, beyond what the guard lets pass.
    #[serde(default)]
    pub allowed: u64,
    /// Each key is compared as if nothing was known of it.
    #[serde(default)]
    pub afresh: bool,
}

/// A part of the key space.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Part {
    /// Its first key, inclusive, base 64; empty: the first of all.
    pub start: String,
    /// The first key behind it, base 64; `None`: to the end.
    #[serde(default)]
    pub end: Option<String>,
    /// All up to here, inclusive, was looked at, base 64.
    #[serde(default)]
    pub at: Option<String>,
    /// All of it was.
    #[serde(default)]
    pub done: bool,
}

/// A dirty key: something happened to it, and both ends are not known to be the same since. At [`Row::Dirty`](super::Row).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRecord {
    /// When the oldest change was made that is not known to be in the standby. The pin.
    pub since: SourceTime,
    /// Our wall clock when the key became dirty.
    pub found_at: SourceTime,
    /// Goes up with each further word about the key: a mark is cleared only if it is still the one that was worked on.
    pub generation: u64,
    /// The walk under way found it.
    #[serde(default)]
    pub walked: bool,
    /// What the walk saw.
    #[serde(default)]
    pub what: Option<Difference>,
    /// It waits for the walk's guard, or for an operator, and pins nothing: it is a removal.
    #[serde(default)]
    pub held: bool,
    /// It cannot be made the same.
    #[serde(default)]
    pub refused: Option<Refused>,
    /// The event came behind the fence (FO-2): it was not applied and never will be by itself.
    #[serde(default)]
    pub late: bool,
    /// The source's order of the last event, for a human.
    #[serde(default)]
    pub order: Option<String>,
}

/// Why a key cannot be made the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its class.
    pub class: String,
    /// For a human.
    pub why: String,
    /// How large.
    pub bytes: u64,
    /// Our wall clock when that was last seen.
    pub at: SourceTime,
}

/// There is a [`MarkRecord`] of the key that pins the watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueRecord {}

/// What made a key the same on both ends, in the kind's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRecord {
    /// Those words.
    pub body: serde_json::Value,
    /// The key is not the same, and the configuration says that it need not be: its class and size.
    #[serde(default)]
    pub excluded: Option<(String, u64)>,
}

/// Work under way on a key, in the kind's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkRecord {
    /// Those words.
    pub body: serde_json::Value,
}

impl Part {
    /// A key as it is written here.
    pub fn text(key: &Key) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&key.0)
    }

    /// A key as it was written here; `None` if it was not.
    pub fn key(text: &str) -> Option<Key> {
        use base64::Engine as _;
        Some(Key(base64::engine::general_purpose::STANDARD.decode(text).ok()?.into()))
    }
}
