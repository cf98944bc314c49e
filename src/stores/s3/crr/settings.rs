//! What a `[[store]]` of kind `s3` in mode `observe` says: two buckets between which S3 replicates, and what to observe it by.

use std::sync::Arc;
use std::time::Duration;

use crate::aws::Aws;
use crate::change::StoreId;
use crate::config::{Key, Section, Takes, duration_words};
use crate::stores::contract::{End, IamPolicy, Settings, Store};
use crate::stores::s3::operations::{OF_OBSERVE, hole};

pub(in crate::stores::s3) const RULE_IDS: Key = Key::optional(
    "rule_ids",
    Takes::Texts,
    "[\"everything\"]",
    "Mode observe. The replication rules that are observed; every enabled one to the standby bucket without it. Named rules \
     are observed even when the primary cannot be asked which there are.",
);
pub(in crate::stores::s3) const METRIC: Key = Key::default(
    "metric",
    Takes::Flag,
    "true",
    "Mode observe. CloudWatch's ReplicationLatency is asked in the standby region, where it is published. It bounds what the \
     canary samples, minutes late. Needs metrics on the rule, and cloudwatch:GetMetricData in both regions.",
);
pub(in crate::stores::s3) const METRIC_EVERY: Key = Key::default(
    "metric_every",
    Takes::Duration { min: "100ms", max: "10m" },
    "\"30s\"",
    "Mode observe. Between two questions to CloudWatch; a datapoint comes once a minute.",
);
pub(in crate::stores::s3) const LOOK_EVERY: Key = Key::default(
    "look_every",
    Takes::Duration { min: "50ms", max: "60s" },
    "\"5s\"",
    "Mode observe. Between two looks for the canary in the standby bucket.",
);
pub(in crate::stores::s3) const FAILURES_QUEUE_URL: Key = Key::optional(
    "failures_queue_url",
    Takes::Text,
    "\"https://sqs.us-west-2.amazonaws.com/111122223333/shop-uploads-failures\"",
    "Mode observe. The queue of the s3:Replication events of the bucket, in either region: directly in the primary's, or \
     by an SNS topic in the standby's, where it survives the primary. For this store alone, without a redrive policy, \
     with a retention of 14 days: a message stays in it until what it tells of has arrived.",
);

/// The keys of this mode.
pub(in crate::stores::s3) const KEYS: &[&Key] = &[&RULE_IDS, &METRIC, &METRIC_EVERY, &LOOK_EVERY, &FAILURES_QUEUE_URL];

/// For the replication of the canary, the requests and the commit, in the floor.
const PROOF_ALLOWANCE: Duration = Duration::from_secs(15);

/// What both modes read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores::s3) struct Common {
    pub(in crate::stores::s3) bucket: String,
    pub(in crate::stores::s3) standby_bucket: String,
    /// Empty: all keys.
    pub(in crate::stores::s3) prefix: String,
    pub(in crate::stores::s3) canary_key: Option<String>,
    /// Between two canaries; `None`: there are none.
    pub(in crate::stores::s3) canary_every: Option<Duration>,
    pub(in crate::stores::s3) attempt_timeout: Duration,
}

/// Two buckets between which S3 replicates, and what that is observed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores::s3) struct ReplicatedSettings {
    pub(super) common: Common,
    /// None: every enabled rule to the standby bucket.
    pub(super) rule_ids: Vec<String>,
    /// Between two questions to CloudWatch; `None`: it is not asked.
    pub(super) metric_every: Option<Duration>,
    pub(super) look_every: Duration,
    pub(super) failures_queue_url: Option<String>,
}

impl ReplicatedSettings {
    /// The key of the canary and the time between two, where there is to be one.
    pub(super) fn canary(&self) -> Option<(&str, Duration)> {
        self.common.canary_key.as_deref().zip(self.common.canary_every)
    }

    /// The longest time between two proofs while all is well.
    pub(super) fn period(&self) -> Duration {
        let canary = self.canary().map_or(Duration::ZERO, |(_, every)| every.max(self.look_every));
        let metric = self.metric_every.map_or(Duration::ZERO, |every| every.max(super::metric::MINUTE));
        canary.max(metric)
    }
}

impl Settings for ReplicatedSettings {
    fn open(&self, id: &StoreId, aws: &Aws) -> Arc<dyn Store> {
        super::open(self.clone(), id, aws)
    }

    fn ends(&self) -> (String, String) {
        (self.common.bucket.clone(), self.common.standby_bucket.clone())
    }

    fn channels(&self) -> Vec<String> {
        self.failures_queue_url.iter().cloned().collect()
    }

    fn policies(&self) -> &'static [IamPolicy] {
        OF_OBSERVE
    }

    fn names(&self, policy: &IamPolicy) -> Vec<String> {
        match policy.hole {
            hole::QUEUE => self.channels().iter().filter_map(|url| url.rsplit('/').next().map(str::to_owned)).collect(),
            hole::CANARY => self.canary().map(|(key, _)| format!("{}/{key}", self.common.bucket)).into_iter().collect(),
            _ if policy.end == End::Primary => vec![self.common.bucket.clone()],
            _ => vec![self.common.standby_bucket.clone()],
        }
    }

    /// The later of the two that must speak.
    fn floor(&self) -> Duration {
        // Just before the next datapoint comes: its minute, the one that it may be about, and its delay.
        let metric = super::metric::MINUTE * 2 + super::metric::PUBLISH_DELAY;
        let canary = |every: Duration| every + self.look_every + super::sample::DATE_PRECISION + PROOF_ALLOWANCE;
        let metric = self.metric_every.map_or(Duration::ZERO, |_| metric);
        self.canary().map_or(Duration::ZERO, |(_, every)| canary(every)).max(metric)
    }

    fn floor_words(&self) -> String {
        match (self.metric_every, self.canary()) {
            (None, Some((_, every))) => format!(
                "canary_every {} + look_every {} + {} for the clocks + {} for the replication and the commit",
                duration_words(every),
                duration_words(self.look_every),
                duration_words(super::sample::DATE_PRECISION),
                duration_words(PROOF_ALLOWANCE)
            ),
            _ => format!(
                "two minutes of a metric and {} until CloudWatch shows it; metric = false leaves it to the canary, which \
                 is a sample",
                duration_words(super::metric::PUBLISH_DELAY)
            ),
        }
    }
}

/// The keys of this mode in the other one.
pub(in crate::stores::s3) fn without_effect(section: &mut Section<'_>) {
    for key in KEYS {
        section.without_effect(key, "has no effect with mode = \"replicate\"");
    }
}

/// Reads what is of this mode; what is common was read before.
pub(in crate::stores::s3) fn read(section: &mut Section<'_>, common: Option<Common>) -> Option<Arc<dyn Settings>> {
    let rule_ids = section.texts(&RULE_IDS).unwrap_or_default();
    let metric = section.flag(&METRIC);
    let metric_every = section.duration(&METRIC_EVERY);
    let look_every = section.duration(&LOOK_EVERY);
    let failures_queue_url = section.text(&FAILURES_QUEUE_URL);
    let canary = common.as_ref().is_none_or(|common| common.canary_key.is_some() && common.canary_every.is_some());
    if !canary && !metric && section.sound() {
        section.problem(
            &METRIC,
            "neither a canary nor the metric: nothing to observe by",
            "write canary_key = \"plimsoll-canary\"",
        );
    }
    Some(Arc::new(ReplicatedSettings {
        common: common?,
        rule_ids,
        metric_every: metric.then_some(metric_every),
        look_every,
        failures_queue_url,
    }))
}

/// The region of a queue as AWS writes it; `None`: it is not said.
pub(super) fn region_of(queue_url: &str) -> Option<&str> {
    let host = queue_url.split("//").nth(1)?.split('/').next()?;
    match host.split('.').collect::<Vec<_>>()[..] {
        ["sqs" | "sqs-fips", region, ..] if region != "amazonaws" => Some(region),
        [region, "queue", ..] => Some(region),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ReplicatedSettings {
        ReplicatedSettings {
            common: Common {
                bucket: "photos".into(),
                standby_bucket: "photos-y".into(),
                prefix: String::new(),
                canary_key: Some("c".into()),
                canary_every: Some(Duration::from_secs(30)),
                attempt_timeout: Duration::from_secs(5),
            },
            rule_ids: Vec::new(),
            metric_every: Some(Duration::from_secs(30)),
            look_every: Duration::from_secs(5),
            failures_queue_url: None,
        }
    }

    #[test]
    fn the_floor_is_that_of_the_later_of_the_two() {
        assert_eq!(settings().floor(), Duration::from_secs(300));
        let canary = ReplicatedSettings { metric_every: None, ..settings() };
        assert_eq!(canary.floor(), Duration::from_secs(51));
        assert!(canary.floor_words().contains("canary_every") && settings().floor_words().contains("metric"));
        assert_eq!(settings().period(), Duration::from_secs(60));
    }

    #[test]
    fn a_queue_says_its_region() {
        assert_eq!(region_of("https://sqs.us-west-2.amazonaws.com/111122223333/q"), Some("us-west-2"));
        assert_eq!(region_of("https://us-west-2.queue.amazonaws.com/111122223333/q"), Some("us-west-2"));
        assert_eq!(region_of("http://127.0.0.1:4566/000000000000/q"), None);
        assert_eq!(region_of("q"), None);
    }
}
