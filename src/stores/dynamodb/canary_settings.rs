//! The keys of the configuration that are about canaries.

use std::collections::BTreeSet;
use std::time::Duration;

use super::item::{canonical_number, is_number};
use crate::config::{Key, Section, Takes, duration_words};
use crate::stores::contract::Rhythm;

/// Canary keys of one table, at most.
pub(super) const MOST_KEYS: u64 = 64;

/// Bytes of a prefix, at most: it is a sort key too, of at most 1024.
const LONGEST_PREFIX: usize = 256;

pub(super) const CANARY_KEYS: Key = Key::default(
    "canary_keys",
    Takes::Integer { min: 0, max: MOST_KEYS },
    "0",
    "How many canaries are written to the primary table each time; 0: none. With canaries the watermark goes no further \
     than what they have proved (method `verified`), so a stream that stands still is noticed. They are the only items \
     that Plimsoll writes in prodX: allow it (config/iam/repl-canary-x.json), and let other readers of the stream skip them.",
);
pub(super) const CANARY_EVERY: Key = Key::default(
    "canary_every",
    Takes::Duration { min: "100ms", max: "10m" },
    "\"10s\"",
    "Time between two writes of the canaries. It adds to the RPO that an idle table can prove.",
);
pub(super) const CANARY_REPLICATE: Key = Key::default(
    "canary_replicate",
    Takes::Flag,
    "false",
    "true: canaries are copied to the standby table like any item. false: they are filtered out.",
);
pub(super) const CANARY_PREFIX: Key = Key::default(
    "canary_prefix",
    Takes::Text,
    "\"__rpo_canary#\"",
    "The partition keys of the canaries are this and a number; keep them for Plimsoll. Where the partition key is a \
     number, see canary_numbers.",
);
pub(super) const CANARY_NUMBERS: Key = Key::default(
    "canary_numbers",
    Takes::Texts,
    "[]",
    "Where the partition key is a number: as many numbers as canary_keys, written as texts, that no item of yours has.",
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
    let keys = u32::try_from(section.integer(&CANARY_KEYS)).expect("the bounds of the key are far below");
    let every = section.duration(&CANARY_EVERY);
    let replicate = section.flag(&CANARY_REPLICATE);
    let prefix = section.text(&CANARY_PREFIX).unwrap_or_default();
    let numbers = section.texts(&CANARY_NUMBERS).unwrap_or_default();
    if keys == 0 {
        let about = [
            (&CANARY_EVERY, format!("\"{}\"", duration_words(every)) != CANARY_EVERY.value),
            (&CANARY_REPLICATE, replicate),
            (&CANARY_PREFIX, format!("{prefix:?}") != CANARY_PREFIX.value),
            (&CANARY_NUMBERS, !numbers.is_empty()),
        ];
        if let Some((key, _)) = about.into_iter().find(|(_, changed)| *changed) {
            section.warn(key, "says nothing while there are no canaries", "set canary_keys to 1 or more, or delete it");
        }
        return None;
    }
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
