//! The keys of the configuration that are about canaries.

use std::collections::BTreeSet;
use std::time::Duration;

use super::item::{canonical_number, is_number};
use crate::config::{Key, Section, Takes, duration_words};
use crate::stores::contract::Rhythm;

/// Canary keys of one table, at most.
pub(super) const MOST_KEYS: u64 = 64;

/// Time between two writes, unless configured.
const EVERY: Duration = Duration::from_secs(10);

/// What keys begin with, unless configured: the policy allows these.
const PREFIX: &str = "__rpo_canary#";

/// Bytes of a prefix, at most: it is a sort key too, of at most 1024.
const LONGEST_PREFIX: usize = 256;

pub(in crate::stores::dynamodb) const CANARY_KEYS: Key = Key::optional(
    "canary_keys",
    Takes::Integer { min: 0, max: 100 },
    "3",
    "How many canaries are written to the primary table each time, each under a key of its own. They are the only items \
     that Plimsoll writes in prodX: allow it (config/iam/canary-x.json), and let other readers of the table skip them. Mode \
     replicate: none unless given, at most 64; with them the watermark goes no further than what they have proved (method \
     `verified`), so a stream that stands still is noticed. Mode observe: 3 unless given; the last to arrive counts.",
);
pub(in crate::stores::dynamodb) const CANARY_EVERY: Key = Key::optional(
    "canary_every",
    Takes::Duration { min: "100ms", max: "10m" },
    "\"5s\"",
    "Time between two writes of the canaries; it adds to the RPO that an idle table can prove. Mode replicate: 10s unless \
     given. Mode observe: without it there are no canaries, the number rests on a metric that is minutes old, and a table \
     with multi-Region strong consistency has none.",
);
pub(super) const CANARY_REPLICATE: Key = Key::default(
    "canary_replicate",
    Takes::Flag,
    "false",
    "Mode replicate. true: canaries are copied to the standby table like any item. false: they are filtered out.",
);
pub(in crate::stores::dynamodb) const CANARY_PREFIX: Key = Key::optional(
    "canary_prefix",
    Takes::Text,
    "\"__rpo_canary#\"",
    "What the keys of the canaries begin with; keep them for Plimsoll. Mode replicate: __rpo_canary# unless given, and where \
     the partition key is a number, see canary_numbers. Mode observe: plimsoll-canary- unless given, of numeric keys the \
     number is made of it, and an item that is no canary is never overwritten.",
);
pub(super) const CANARY_NUMBERS: Key = Key::default(
    "canary_numbers",
    Takes::Texts,
    "[]",
    "Mode replicate. Where the partition key is a number: as many numbers as canary_keys, written as texts, that no item of yours has.",
);

/// For the second that a record's time is rounded down to, and for the requests and the commit, in the floor.
const ALLOWANCE: Duration = Duration::from_secs(2);

/// The canaries of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanarySettings {
    /// So many are written each time; at least one.
    pub keys: u32,
    /// From one time to the next.
    pub every: Duration,
    /// They are copied to the standby.
    pub replicate: bool,
    /// What their keys begin with.
    pub prefix: String,
    /// Their keys where the partition key is a number.
    pub numbers: Vec<String>,
}

impl CanarySettings {
    /// The watermark is a canary's: written every so often, visible P later, found by the next read, of a second that it is
    /// rounded down to, less the publish allowance; and then each shard must be at its tip.
    pub(super) fn floor(&self, rhythm: &Rhythm) -> Duration {
        let reads = rhythm.poll_max * (rhythm.empty_run + 1);
        self.every + rhythm.propagation + reads + rhythm.publish + ALLOWANCE
    }

    pub(super) fn floor_words(&self, rhythm: &Rhythm) -> String {
        format!(
            "canary_every {} + propagation {} + (empty_run {} + 1) x poll_max {} + publish {} + {} for the rounding of a \
             record's time, the requests and the commit",
            duration_words(self.every),
            duration_words(rhythm.propagation),
            rhythm.empty_run,
            duration_words(rhythm.poll_max),
            duration_words(rhythm.publish),
            duration_words(ALLOWANCE)
        )
    }
}

/// Reads them; `None` when there are to be none.
pub(super) fn read(section: &mut Section<'_>) -> Option<CanarySettings> {
    let keys = section.opt_integer(&CANARY_KEYS).and_then(|keys| u32::try_from(keys).ok()).unwrap_or(0);
    let every = section.opt_duration(&CANARY_EVERY);
    let replicate = section.flag(&CANARY_REPLICATE);
    let prefix = section.text(&CANARY_PREFIX);
    let numbers = section.texts(&CANARY_NUMBERS).unwrap_or_default();
    if keys == 0 {
        let about = [
            (&CANARY_EVERY, every.is_some()),
            (&CANARY_REPLICATE, replicate),
            (&CANARY_PREFIX, prefix.is_some()),
            (&CANARY_NUMBERS, !numbers.is_empty()),
        ];
        if let Some((key, _)) = about.into_iter().find(|(_, given)| *given) {
            section.warn(key, "says nothing while there are no canaries", "set canary_keys to 1 or more, or delete it");
        }
        return None;
    }
    if u64::from(keys) > MOST_KEYS {
        section.problem(&CANARY_KEYS, "out of bounds", format!("write at most {MOST_KEYS} with mode = \"replicate\""));
    }
    let every = every.unwrap_or(EVERY);
    let prefix = prefix.unwrap_or_else(|| PREFIX.to_owned());
    if prefix.len() > LONGEST_PREFIX || prefix.chars().any(char::is_control) {
        let hint = format!("write at most {LONGEST_PREFIX} bytes without control characters");
        section.problem(&CANARY_PREFIX, "cannot begin the key of a canary", hint);
    }
    let distinct: BTreeSet<String> = numbers.iter().map(|n| canonical_number(n)).collect();
    if let Some(wrong) = numbers.iter().find(|n| !is_number(n)) {
        section.problem(&CANARY_NUMBERS, format!("{wrong:?} is no number"), "write them like [\"-1\", \"-2\"]");
    } else if distinct.len() != numbers.len() {
        section.problem(&CANARY_NUMBERS, "names a number twice", "each canary needs a key of its own");
    } else if !numbers.is_empty() && numbers.len() != keys as usize {
        let hint = format!("name {keys} of them, or set canary_keys = {}", numbers.len());
        section.problem(&CANARY_NUMBERS, format!("names {} and canary_keys is {keys}", numbers.len()), hint);
    }
    Some(CanarySettings { keys, every, replicate, prefix, numbers })
}
