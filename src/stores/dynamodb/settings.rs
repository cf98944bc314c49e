//! What a `[[store]]` of kind `dynamodb` says: the tables, and the numbers its proofs rest on.

use std::sync::Arc;
use std::time::Duration;

use super::budget::Shares;
use super::canary_settings::{
    self, CANARY_EVERY, CANARY_KEYS, CANARY_NUMBERS, CANARY_PREFIX, CANARY_REPLICATE, CanarySettings,
};
use super::global;
use super::promote::settings::{self as promoting, Promoting};
use super::verify_settings::{self as verify, VerifySettings};
use crate::aws::Aws;
use crate::change::StoreId;
use crate::config::{Key, Section, Takes, duration_words};
use crate::stores::contract::{IamPolicy, Rhythm, Settings, Store};
use crate::stores::seed::{OnGap, Policy};

pub(super) const TABLE: Key = Key::required(
    "table",
    Takes::Text,
    "\"orders\"",
    "The table in the primary region. Its stream must be on, with NEW_AND_OLD_IMAGES (or NEW_IMAGE).",
);
pub(super) const STANDBY_TABLE: Key = Key::optional(
    "standby_table",
    Takes::Text,
    "\"orders\"",
    "The table in the standby region; the same name otherwise.",
);
const POLL_MIN: Key = Key::default(
    "poll_min",
    Takes::Duration { min: "10ms", max: "10s" },
    "\"250ms\"",
    "The shortest pause between two reads of a shard that has changes. After a full page it is read on at once.",
);
const POLL_MAX: Key = Key::default(
    "poll_max",
    Takes::Duration { min: "10ms", max: "60s" },
    "\"2s\"",
    "The longest pause between two reads of an idle shard: how often it proves that nothing is missing.",
);
const EMPTY_RUN: Key = Key::default(
    "empty_run",
    Takes::Integer { min: 1, max: 1000 },
    "3",
    "How many empty reads in a row prove the tip of a shard. AWS promises no number; raise it where empty reads are \
     seen before data.",
);
const PROPAGATION: Key = Key::default(
    "propagation",
    Takes::Duration { min: "0s", max: "10m" },
    "\"10s\"",
    "A change is visible in the stream at most this long after its commit. Subtracted from every proof by idleness: \
     lowering it without a measurement makes the RPO a guess.",
);
const PUBLISH: Key = Key::default(
    "publish",
    Takes::Duration { min: "0s", max: "10m" },
    "\"1s\"",
    "How far the time of a record may run ahead of other commits that are not visible yet. Subtracted from every proof \
     by a record.",
);
pub(super) const ATTEMPT_TIMEOUT: Key = Key::default(
    "attempt_timeout",
    Takes::Duration { min: "100ms", max: "60s" },
    "\"5s\"",
    "A request is given up after this.",
);
const MAX_REQUEST_LIFE: Key = Key::optional(
    "max_request_life",
    Takes::Duration { min: "200ms", max: "15m" },
    "\"10s\"",
    "How long a request that was given up may still take effect; the next write to its key waits this long. At least \
     twice attempt_timeout; the greater of that and 10s otherwise.",
);
const APPLY_CONCURRENCY: Key = Key::default(
    "apply_concurrency",
    Takes::Integer { min: 1, max: 256 },
    "8",
    "Requests to the standby table at one time.",
);
const APPLY_BATCH: Key = Key::default(
    "apply_batch",
    Takes::Integer { min: 1, max: 25 },
    "25",
    "Changes in one request; BatchWriteItem takes 25.",
);
pub(super) const SURVEY_EVERY: Key = Key::default(
    "survey_every",
    Takes::Duration { min: "100ms", max: "10m" },
    "\"60s\"",
    "Time between two complete looks at the table's identity and its shards.",
);

const SEED_SEGMENTS: Key = Key::default(
    "seed_segments",
    Takes::Integer { min: 1, max: 32 },
    "8",
    "Parts of the table that a seed reads at one time.",
);
const SEED_READ_SHARE: Key = Key::default(
    "seed_read_share",
    Takes::Integer { min: 1, max: 100 },
    "20",
    "What a seed may use of the primary table's read capacity, percent: of what is provisioned, of the limit of an \
     on-demand table, or of 12,000 units a second.",
);
const SEED_STANDBY_SHARE: Key = Key::default(
    "seed_standby_share",
    Takes::Integer { min: 1, max: 100 },
    "80",
    "What a seed may use of the standby table's capacity, percent: of what is provisioned or the limit of an on-demand \
     table. Without either it writes as fast as the table takes.",
);
const SEED_READ_UNITS: Key = Key::optional(
    "seed_read_units",
    Takes::Integer { min: 1, max: 1_000_000 },
    "5000",
    "Read units a second that a seed may use of the primary table; instead of the share.",
);
const SEED_WRITE_UNITS: Key = Key::optional(
    "seed_write_units",
    Takes::Integer { min: 1, max: 1_000_000 },
    "20000",
    "Write units a second that a seed may use of the standby table; instead of the share.",
);
const SWEEP_LIMIT: Key = Key::default(
    "sweep_limit",
    Takes::Integer { min: 0, max: 1_000_000_000 },
    "1000",
    "So many items of the standby table that the primary does not have are removed by a seed without asking, or 1 % of \
     the primary's items if that is more. Beyond that it stops and says so.",
);
const ON_GAP: Key = Key::default(
    "on_gap",
    Takes::OneOf(&["reseed", "hold"]),
    "\"reseed\"",
    "What follows when changes are known to be lost: a copy of the whole table, or waiting for `plimsoll reseed`.",
);
const RESEED_EVERY: Key = Key::default(
    "reseed_every",
    Takes::Duration { min: "1s", max: "7d" },
    "\"1h\"",
    "The shortest time between the starts of two seeds that nobody asked for.",
);

/// The keys, as documented.
pub(super) const KEYS: &[Key] = &[
    TABLE,
    STANDBY_TABLE,
    POLL_MIN,
    POLL_MAX,
    EMPTY_RUN,
    PROPAGATION,
    PUBLISH,
    ATTEMPT_TIMEOUT,
    MAX_REQUEST_LIFE,
    APPLY_CONCURRENCY,
    APPLY_BATCH,
    SURVEY_EVERY,
    CANARY_KEYS,
    CANARY_EVERY,
    CANARY_REPLICATE,
    CANARY_PREFIX,
    CANARY_NUMBERS,
    SEED_SEGMENTS,
    SEED_READ_SHARE,
    SEED_STANDBY_SHARE,
    SEED_READ_UNITS,
    SEED_WRITE_UNITS,
    SWEEP_LIMIT,
    ON_GAP,
    RESEED_EVERY,
    verify::EVERY,
    verify::SHARE,
    verify::REPAIR,
    verify::ATTRIBUTES,
    promoting::STREAM,
    promoting::DELETION_PROTECTION,
    promoting::TTL,
    promoting::TTL_ATTRIBUTE,
    promoting::ON_DEMAND,
    promoting::READ_CAPACITY,
    promoting::WRITE_CAPACITY,
    global::settings::METRIC,
    global::settings::METRIC_EVERY,
    global::settings::LOOK_EVERY,
];

/// Those that an observed table has no use for.
pub(super) const OF_REPLICATE: &[&Key] = &[
    &CANARY_REPLICATE,
    &CANARY_NUMBERS,
    &POLL_MIN,
    &POLL_MAX,
    &EMPTY_RUN,
    &PROPAGATION,
    &PUBLISH,
    &MAX_REQUEST_LIFE,
    &APPLY_CONCURRENCY,
    &APPLY_BATCH,
    &SEED_SEGMENTS,
    &SEED_READ_SHARE,
    &SEED_STANDBY_SHARE,
    &SEED_READ_UNITS,
    &SEED_WRITE_UNITS,
    &SWEEP_LIMIT,
    &ON_GAP,
    &RESEED_EVERY,
];

/// The least life of a given-up request that is assumed unless configured (A2).
const DEFAULT_REQUEST_LIFE: Duration = Duration::from_secs(10);

/// For the requests themselves and the commit of the proof, in the floor.
const PROOF_ALLOWANCE: Duration = Duration::from_secs(1);

/// One table and its standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamoDbSettings {
    /// The table in the primary region.
    pub table: String,
    /// The table in the standby region.
    pub standby_table: String,
    /// The times and sizes it lives by.
    pub rhythm: Rhythm,
    /// A request is given up after this.
    pub attempt_timeout: Duration,
    /// Its canaries, if it is to have any.
    pub canary: Option<CanarySettings>,
    /// How it is seeded.
    pub seed: Policy,
    /// What a seed may use of the tables' capacity.
    pub(super) shares: Shares,
    /// How it is compared with its standby.
    pub(super) verify: VerifySettings,
    /// What a promotion does to the standby table.
    pub promoting: Promoting,
}

impl Settings for DynamoDbSettings {
    fn open(&self, id: &StoreId, aws: &Aws) -> Arc<dyn Store> {
        super::open(self.clone(), id, aws)
    }

    fn ends(&self) -> (String, String) {
        (self.table.clone(), self.standby_table.clone())
    }

    /// The tips of its shards, and its canaries: whichever proves less.
    fn floor(&self) -> Duration {
        let canary = self.canary.as_ref().map_or(Duration::ZERO, |canary| canary.floor(&self.rhythm));
        self.tip_floor().max(canary)
    }

    fn floor_words(&self) -> String {
        if let Some(canary) = self.canary.as_ref().filter(|canary| canary.floor(&self.rhythm) > self.tip_floor()) {
            return canary.floor_words(&self.rhythm);
        }
        format!(
            "propagation {} + empty_run {} x poll_max {} + {} for the requests and the commit",
            duration_words(self.rhythm.propagation),
            self.rhythm.empty_run,
            duration_words(self.rhythm.poll_max),
            duration_words(PROOF_ALLOWANCE)
        )
    }

    fn policies(&self) -> &'static [IamPolicy] {
        super::operations::OF_REPLICATE
    }
}

impl DynamoDbSettings {
    /// An idle shard at its tip proves, at each read, everything up to the start of the E-th most recent empty read less
    /// P (DS-10, DS-11). Just before the next proof arrives that start is E pauses old, so the age of the watermark
    /// swings up to P + E pauses, and what the requests and the commit take.
    fn tip_floor(&self) -> Duration {
        self.rhythm.propagation + self.rhythm.poll_max * self.rhythm.empty_run + PROOF_ALLOWANCE
    }
}

pub(super) fn supports(mode: &str) -> Result<(), &'static str> {
    match mode {
        "replicate" | "observe" => Ok(()),
        _ => Err("write mode = \"replicate\", or mode = \"observe\" for a global table"),
    }
}

pub(super) fn read(section: &mut Section<'_>) -> Option<Arc<dyn Settings>> {
    if section.peek("mode") == Some("observe") {
        return global::settings::read(section);
    }
    global::settings::without_effect(section);
    let table = table_name(section, &TABLE);
    let standby_table = match section.has(&STANDBY_TABLE) {
        true => table_name(section, &STANDBY_TABLE),
        false => {
            // Asked for all the same, so that it is a known key when another one is misspelt.
            section.text(&STANDBY_TABLE);
            table.clone()
        }
    };
    let poll_min = section.duration(&POLL_MIN);
    let poll_max = section.duration(&POLL_MAX);
    if poll_min > poll_max {
        let key = if section.has(&POLL_MIN) { &POLL_MIN } else { &POLL_MAX };
        let what =
            format!("poll_min {} is longer than poll_max {}", duration_words(poll_min), duration_words(poll_max));
        section.problem(key, what, "the shortest pause cannot be longer than the longest; change one of them");
    }
    let empty_run = count(section, &EMPTY_RUN);
    let propagation = section.duration(&PROPAGATION);
    let publish = section.duration(&PUBLISH);
    let attempt_timeout = section.duration(&ATTEMPT_TIMEOUT);
    let least = attempt_timeout * 2;
    let max_request_life = section.opt_duration(&MAX_REQUEST_LIFE).unwrap_or(DEFAULT_REQUEST_LIFE.max(least));
    if max_request_life < least {
        section.problem(
            &MAX_REQUEST_LIFE,
            format!(
                "below twice attempt_timeout ({}): an old write could land after a newer one",
                duration_words(least)
            ),
            format!("set it to \"{}\" or more, or lower attempt_timeout", duration_words(least)),
        );
    }
    let apply_concurrency = count(section, &APPLY_CONCURRENCY);
    let apply_batch = count(section, &APPLY_BATCH);
    let survey_every = section.duration(&SURVEY_EVERY);
    let rhythm = Rhythm {
        poll_min,
        poll_max,
        empty_run,
        propagation,
        publish,
        max_request_life,
        apply_concurrency: apply_concurrency as usize,
        apply_batch: apply_batch as usize,
        survey_every,
    };
    let (seed, shares, canary) = (seed(section), shares(section), canary_settings::read(section));
    let (promoting, verify) = (promoting::read(section), verify::read(section));
    let (table, standby_table) = (table?, standby_table?);
    Some(Arc::new(DynamoDbSettings {
        table,
        standby_table,
        rhythm,
        attempt_timeout,
        seed,
        shares,
        verify,
        promoting,
        canary,
    }))
}

fn seed(section: &mut Section<'_>) -> Policy {
    Policy {
        segments: count(section, &SEED_SEGMENTS),
        sweep_limit: section.integer(&SWEEP_LIMIT),
        on_gap: match section.text(&ON_GAP).as_deref() {
            Some("hold") => OnGap::Hold,
            _ => OnGap::Reseed,
        },
        every: section.duration(&RESEED_EVERY),
    }
}

fn shares(section: &mut Section<'_>) -> Shares {
    Shares {
        read_percent: count(section, &SEED_READ_SHARE),
        standby_percent: count(section, &SEED_STANDBY_SHARE),
        read_units: opt_count(section, &SEED_READ_UNITS),
        write_units: opt_count(section, &SEED_WRITE_UNITS),
    }
}

fn opt_count(section: &mut Section<'_>, key: &'static Key) -> Option<u32> {
    section.opt_integer(key).and_then(|n| u32::try_from(n).ok())
}

pub(super) fn count(section: &mut Section<'_>, key: &'static Key) -> u32 {
    u32::try_from(section.integer(key)).expect("the bounds of the key are far below")
}

/// A table's name as DynamoDB allows it: 3 to 255 of a-z, A-Z, 0-9, '_', '-' and '.'.
pub(super) fn table_name(section: &mut Section<'_>, key: &'static Key) -> Option<String> {
    let name = section.text(key)?;
    if let Some((_, bare)) = name.strip_prefix("arn:").and_then(|rest| rest.split_once(":table/")) {
        let bare = bare.split('/').next().unwrap_or(bare).to_owned();
        let bare = if bare.len() <= 255 { bare } else { "orders".to_owned() };
        let hint = format!("write {} = {bare:?}; another account is reached with role_arn of the region", key.name);
        section.problem(key, "an ARN, and the name of a table is needed", hint);
        return None;
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !(3..=255).contains(&name.len()) || !name.bytes().all(allowed) {
        section.problem(key, "cannot be the name of a table", "a name is 3 to 255 of a-z, A-Z, 0-9, '_', '-' and '.'");
        return None;
    }
    Some(name)
}
