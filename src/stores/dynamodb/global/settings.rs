//! What a `[[store]]` of kind `dynamodb` in mode `observe` says: a global table, and what to observe it by.

use std::sync::Arc;
use std::time::Duration;

use crate::aws::Aws;
use crate::change::StoreId;
use crate::config::{Key, Section, Takes, duration_words};
use crate::stores::contract::{Settings, Store};
use crate::stores::dynamodb::canary_settings::{CANARY_EVERY, CANARY_KEYS, CANARY_PREFIX};
use crate::stores::dynamodb::settings::{
    ATTEMPT_TIMEOUT, OF_REPLICATE, STANDBY_TABLE, SURVEY_EVERY, TABLE, table_name,
};

/// Items that make a canary, unless configured.
const DEFAULT_KEYS: u32 = 3;
/// What their keys begin with, unless configured.
const DEFAULT_PREFIX: &str = "plimsoll-canary-";

pub(in crate::stores::dynamodb) const METRIC: Key = Key::default(
    "metric",
    Takes::Flag,
    "true",
    "Mode observe. CloudWatch's ReplicationLatency is asked in both regions. It bounds what the canary samples, and stands \
     in for it. Needs cloudwatch:GetMetricData in both regions.",
);
pub(in crate::stores::dynamodb) const METRIC_EVERY: Key = Key::default(
    "metric_every",
    Takes::Duration { min: "100ms", max: "10m" },
    "\"30s\"",
    "Mode observe. Between two questions to CloudWatch; a datapoint comes once a minute.",
);
pub(in crate::stores::dynamodb) const LOOK_EVERY: Key = Key::default(
    "look_every",
    Takes::Duration { min: "50ms", max: "60s" },
    "\"1s\"",
    "Mode observe. Between two looks for the canary in prodY.",
);
const OF_OBSERVE: &[&Key] = &[&METRIC, &METRIC_EVERY, &LOOK_EVERY];

/// For the replication of the canary, the requests and the commit, in the floor.
const PROOF_ALLOWANCE: Duration = Duration::from_secs(3);

/// A global table, and what it is observed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores::dynamodb) struct GlobalTableSettings {
    /// Its name, the same in every region.
    pub(super) table: String,
    /// Between two canaries; `None`: there are none.
    pub(super) canary_every: Option<Duration>,
    pub(super) canary_keys: u32,
    pub(super) canary_prefix: String,
    /// Between two questions to CloudWatch; `None`: it is not asked.
    pub(super) metric_every: Option<Duration>,
    pub(super) look_every: Duration,
    pub(super) survey_every: Duration,
    pub(super) attempt_timeout: Duration,
}

impl GlobalTableSettings {
    /// The longest time between two proofs while all is well.
    pub(super) fn period(&self) -> Duration {
        match self.canary_every {
            Some(every) => every.max(self.look_every),
            None => super::metric::MINUTE,
        }
    }
}

impl Settings for GlobalTableSettings {
    fn policies(&self) -> &'static [crate::stores::contract::IamPolicy] {
        crate::stores::dynamodb::operations::OF_OBSERVE
    }

    fn open(&self, id: &StoreId, aws: &Aws) -> Arc<dyn Store> {
        super::open(self.clone(), id, aws)
    }

    fn ends(&self) -> (String, String) {
        (self.table.clone(), self.table.clone())
    }

    fn floor(&self) -> Duration {
        match self.canary_every {
            Some(every) => every + self.look_every + super::sample::DATE_PRECISION + PROOF_ALLOWANCE,
            // Just before the next datapoint comes: its minute, the one that it may be about, and its delay.
            None => super::metric::MINUTE * 2 + super::metric::PUBLISH_DELAY,
        }
    }

    fn floor_words(&self) -> String {
        match self.canary_every {
            Some(every) => format!(
                "canary_every {} + look_every {} + {} for the clocks + {} for the replication and the commit",
                duration_words(every),
                duration_words(self.look_every),
                duration_words(super::sample::DATE_PRECISION),
                duration_words(PROOF_ALLOWANCE)
            ),
            None => format!(
                "two minutes of a metric and {} until CloudWatch shows it; set canary_every = \"5s\"",
                duration_words(super::metric::PUBLISH_DELAY)
            ),
        }
    }
}

/// The keys of this mode in the other one.
pub(in crate::stores::dynamodb) fn without_effect(section: &mut Section<'_>) {
    for key in OF_OBSERVE {
        section.without_effect(key, "has no effect with mode = \"replicate\"");
    }
}

pub(in crate::stores::dynamodb) fn read(section: &mut Section<'_>) -> Option<Arc<dyn Settings>> {
    for key in OF_REPLICATE {
        section.without_effect(key, "has no effect with mode = \"observe\"");
    }
    let table = table_name(section, &TABLE);
    let other = section.text(&STANDBY_TABLE).filter(|other| table.as_ref().is_some_and(|table| other != table));
    if other.is_some() {
        section.problem(&STANDBY_TABLE, "a global table has one name in every region", "remove it");
    }
    let canary_every = section.opt_duration(&CANARY_EVERY);
    let canary_keys = section.opt_integer(&CANARY_KEYS).and_then(|keys| u32::try_from(keys).ok());
    let canary_keys = canary_keys.unwrap_or(DEFAULT_KEYS);
    if canary_keys == 0 {
        section.problem(&CANARY_KEYS, "a canary of no item", "write 1 or more, or delete canary_every for none");
    }
    let canary_prefix = section.text(&CANARY_PREFIX).unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
    if canary_prefix.len() > 200 {
        section.problem(&CANARY_PREFIX, "longer than 200 bytes", "write a shorter one");
    }
    let metric = section.flag(&METRIC);
    let metric_every = section.duration(&METRIC_EVERY);
    if canary_every.is_none() && !metric && section.sound() {
        section.problem(
            &METRIC,
            "neither a canary nor the metric: nothing to observe by",
            "write canary_every = \"5s\"",
        );
    }
    let settings = GlobalTableSettings {
        table: table?,
        canary_every,
        canary_keys,
        canary_prefix,
        metric_every: metric.then_some(metric_every),
        look_every: section.duration(&LOOK_EVERY),
        survey_every: section.duration(&SURVEY_EVERY),
        attempt_timeout: section.duration(&ATTEMPT_TIMEOUT),
    };
    Some(Arc::new(settings))
}
