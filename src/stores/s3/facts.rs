//! Buckets, queues and rules as their control planes describe them, in plain values: what the examination and the promotion
//! steps are decided on. No I/O.

pub(super) mod lifecycle;

use std::collections::HashMap;

use aws_sdk_s3::operation::get_bucket_encryption::GetBucketEncryptionOutput;
use aws_sdk_s3::operation::get_bucket_notification_configuration::GetBucketNotificationConfigurationOutput;
use aws_sdk_s3::operation::get_bucket_versioning::GetBucketVersioningOutput;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, FilterRuleName, NotificationConfigurationFilter, PublicAccessBlockConfiguration,
    ReplicationConfiguration, ReplicationRule, ReplicationRuleStatus,
};
use aws_sdk_sqs::types::QueueAttributeName;
use serde::{Deserialize, Serialize};

use self::lifecycle::Rule;

/// Whether a bucket keeps older versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Versioning {
    /// Never did.
    #[default]
    Off,
    /// It does.
    Enabled,
    /// It did.
    Suspended,
}

impl Versioning {
    pub(super) fn of(answer: &GetBucketVersioningOutput) -> Self {
        match answer.status() {
            Some(BucketVersioningStatus::Enabled) => Self::Enabled,
            Some(BucketVersioningStatus::Suspended) => Self::Suspended,
            _ => Self::Off,
        }
    }

    /// For a human.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Enabled => "enabled",
            Self::Suspended => "suspended",
        }
    }
}

/// How a bucket encrypts what says nothing about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Encryption {
    /// `AES256`, `aws:kms`, `aws:kms:dsse`.
    pub(super) algorithm: String,
    /// The key, where one is named.
    pub(super) key: Option<String>,
}

impl Encryption {
    pub(super) fn of(answer: &GetBucketEncryptionOutput) -> Option<Self> {
        let rules = answer.server_side_encryption_configuration()?.rules();
        let default = rules.iter().find_map(|rule| rule.apply_server_side_encryption_by_default())?;
        Some(Self {
            algorithm: default.sse_algorithm().as_str().to_owned(),
            key: default.kms_master_key_id().map(str::to_owned),
        })
    }

    /// By a key in KMS.
    pub(super) fn kms(&self) -> bool {
        self.algorithm.starts_with("aws:kms")
    }
}

/// All four public doors are shut.
pub(super) fn shut(block: Option<&PublicAccessBlockConfiguration>) -> bool {
    block.is_some_and(|block| {
        [
            block.block_public_acls(),
            block.ignore_public_acls(),
            block.block_public_policy(),
            block.restrict_public_buckets(),
        ]
        .iter()
        .all(|door| *door == Some(true))
    })
}

/// A rule by which AWS itself replicates a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replication {
    pub(super) id: String,
    pub(super) enabled: bool,
    /// The destination's name.
    pub(super) to: String,
    /// Only of keys that start like this.
    pub(super) prefix: String,
}

impl Replication {
    pub(super) fn of(configuration: Option<&ReplicationConfiguration>) -> Vec<Self> {
        let rules = configuration.map(ReplicationConfiguration::rules).unwrap_or_default();
        rules
            .iter()
            .map(|rule| Self {
                id: rule.id().unwrap_or("without an id").to_owned(),
                enabled: *rule.status() == ReplicationRuleStatus::Enabled,
                to: rule.destination().map(|to| bucket_of(to.bucket()).to_owned()).unwrap_or_default(),
                prefix: prefix_of(rule).unwrap_or_default().to_owned(),
            })
            .collect()
    }
}

impl Replication {
    /// It has keys of a store with that prefix.
    pub(super) fn meets(&self, prefix: &str) -> bool {
        self.prefix.starts_with(prefix) || prefix.starts_with(&self.prefix)
    }
}

fn prefix_of(rule: &ReplicationRule) -> Option<&str> {
    match rule.filter() {
        Some(filter) => filter.prefix().or_else(|| filter.and()?.prefix()),
        #[expect(deprecated, reason = "rules of the first version still have it")]
        None => rule.prefix(),
    }
}

/// The name in `arn:aws:s3:::NAME`.
pub(super) fn bucket_of(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

/// The last part of the ARN of a queue: `arn:aws:sqs:REGION:ACCOUNT:NAME`.
pub(super) fn region_of(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

/// Where the events of a bucket go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Notifications {
    /// All events go to EventBridge.
    pub(super) event_bridge: bool,
    pub(super) queues: Vec<Notification>,
    pub(super) topics: Vec<Notification>,
}

/// One destination of some events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Notification {
    pub(super) arn: String,
    /// `s3:ObjectCreated:*`.
    pub(super) events: Vec<String>,
    pub(super) prefix: String,
    pub(super) suffix: String,
}

impl Notifications {
    pub(super) fn of(answer: &GetBucketNotificationConfigurationOutput) -> Self {
        let queues = answer.queue_configurations().iter();
        let topics = answer.topic_configurations().iter();
        Self {
            event_bridge: answer.event_bridge_configuration().is_some(),
            queues: queues.map(|to| Notification::of(to.queue_arn(), to.events(), to.filter())).collect(),
            topics: topics.map(|to| Notification::of(to.topic_arn(), to.events(), to.filter())).collect(),
        }
    }
}

impl Notification {
    fn of(arn: &str, events: &[Event], filter: Option<&NotificationConfigurationFilter>) -> Self {
        let rules = filter.and_then(|filter| filter.key()).map(|key| key.filter_rules()).unwrap_or_default();
        let rule = |name: &FilterRuleName| {
            let found = rules.iter().find(|rule| rule.name() == Some(name));
            found.and_then(|rule| rule.value()).unwrap_or_default().to_owned()
        };
        Self {
            arn: arn.to_owned(),
            events: events.iter().map(|event| event.as_str().to_owned()).collect(),
            prefix: rule(&FilterRuleName::Prefix),
            suffix: rule(&FilterRuleName::Suffix),
        }
    }
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Queue {
    pub(super) arn: String,
    /// Seconds of Unix time; another one is another queue (S3-17).
    pub(super) created: u64,
    /// How long it keeps a message, seconds.
    pub(super) retention: u64,
    /// How long a receipt hides a message unless it says otherwise, seconds.
    pub(super) visibility: u64,
    /// Before a message can be received, seconds.
    pub(super) delay: u64,
    /// Bytes.
    pub(super) largest: u64,
    /// Where it gives messages up to, and after how many receipts.
    pub(super) redrive: Option<(String, u64)>,
    pub(super) kms_key: Option<String>,
}

impl Queue {
    pub(super) fn of(attributes: &HashMap<QueueAttributeName, String>) -> Option<Self> {
        let text = |name| attributes.get(&name).cloned();
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok());
        Some(Self {
            arn: text(QueueAttributeName::QueueArn)?,
            created: number(QueueAttributeName::CreatedTimestamp)?,
            retention: number(QueueAttributeName::MessageRetentionPeriod)?,
            visibility: number(QueueAttributeName::VisibilityTimeout).unwrap_or(30),
            delay: number(QueueAttributeName::DelaySeconds).unwrap_or(0),
            largest: number(QueueAttributeName::MaximumMessageSize).unwrap_or(u64::MAX),
            redrive: text(QueueAttributeName::RedrivePolicy).as_deref().and_then(redrive),
            kms_key: text(QueueAttributeName::KmsMasterKeyId),
        })
    }
}

fn redrive(policy: &str) -> Option<(String, u64)> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    let most = policy.get("maxReceiveCount")?;
    // A text in some policies, a number in others.
    let most = most.as_u64().or_else(|| most.as_str()?.parse().ok())?;
    Some((policy.get("deadLetterTargetArn")?.as_str()?.to_owned(), most))
}

/// A rule of EventBridge with the one of its targets that is on our way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Hop {
    pub(super) rule: String,
    pub(super) bus: String,
    pub(super) enabled: bool,
    /// JSON; absent: it goes by a clock.
    pub(super) pattern: Option<String>,
    /// What it sends is not the event as it came.
    pub(super) rewritten: bool,
    /// Attempts, and seconds; absent: 185 in 24 h.
    pub(super) attempts: Option<i32>,
    pub(super) age: Option<i32>,
    pub(super) dead_letters: Option<String>,
}

/// What a recovery must know of the source bucket, kept in the index: when it is needed, prodX cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Recorded {
    /// Its lifecycle rules.
    #[serde(default)]
    pub(super) lifecycle: Vec<Rule>,
    /// Whether it keeps older versions.
    #[serde(default)]
    pub(super) versioning: Versioning,
}

impl Recorded {
    /// As it is kept.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// What is kept; `None` when it was never seen, or by a newer program in other words.
    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        serde_json::from_str(text?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::{
        Destination, EventBridgeConfiguration, FilterRule, QueueConfiguration, S3KeyFilter, ServerSideEncryption,
        ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    };

    #[test]
    fn a_queue_as_described() {
        let mut all = HashMap::from([
            (QueueAttributeName::QueueArn, "arn:aws:sqs:us-west-2:1:q".to_owned()),
            (QueueAttributeName::CreatedTimestamp, "1795527053".to_owned()),
            (QueueAttributeName::MessageRetentionPeriod, "345600".to_owned()),
            (
                QueueAttributeName::RedrivePolicy,
                r#"{"deadLetterTargetArn":"arn:aws:sqs:us-west-2:1:dead","maxReceiveCount":"5"}"#.to_owned(),
            ),
        ]);
        let queue = Queue::of(&all).unwrap();
        assert_eq!((queue.created, queue.retention, queue.visibility), (1_795_527_053, 345_600, 30));
        assert_eq!(queue.redrive, Some(("arn:aws:sqs:us-west-2:1:dead".into(), 5)));
        assert_eq!(region_of(&queue.arn), "us-west-2");
        all.remove(&QueueAttributeName::CreatedTimestamp);
        assert_eq!(Queue::of(&all), None, "which queue it is must be known");
    }

    #[test]
    fn where_events_go_as_described() {
        let rule = |name, value: &str| FilterRule::builder().name(name).value(value).build();
        let key = S3KeyFilter::builder()
            .filter_rules(rule(FilterRuleName::Prefix, "in/"))
            .filter_rules(rule(FilterRuleName::Suffix, ".pdf"));
        let to = QueueConfiguration::builder()
            .queue_arn("arn:q")
            .events(Event::S3ObjectCreated)
            .filter(NotificationConfigurationFilter::builder().key(key.build()).build());
        let answer = GetBucketNotificationConfigurationOutput::builder()
            .queue_configurations(to.build().unwrap())
            .event_bridge_configuration(EventBridgeConfiguration::builder().build());
        let seen = Notifications::of(&answer.build());
        assert!(seen.event_bridge && seen.topics.is_empty());
        let queue = Notification {
            arn: "arn:q".into(),
            events: vec!["s3:ObjectCreated:*".into()],
            prefix: "in/".into(),
            suffix: ".pdf".into(),
        };
        assert_eq!(seen.queues, [queue]);
    }

    #[test]
    fn a_bucket_as_described() {
        let to = Destination::builder().bucket("arn:aws:s3:::shop-y").build().unwrap();
        let rule = ReplicationRule::builder().id("r").status(ReplicationRuleStatus::Enabled).destination(to);
        let all = ReplicationConfiguration::builder().role("arn").rules(rule.build().unwrap()).build().unwrap();
        let seen = Replication::of(Some(&all));
        assert_eq!(seen, [Replication { id: "r".into(), enabled: true, to: "shop-y".into(), prefix: String::new() }]);
        assert!(Replication::of(None).is_empty());

        let by =
            ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms).kms_master_key_id("k");
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(by.build().unwrap());
        let all = ServerSideEncryptionConfiguration::builder().rules(rule.build()).build().unwrap();
        let answer = GetBucketEncryptionOutput::builder().server_side_encryption_configuration(all).build();
        let seen = Encryption::of(&answer).unwrap();
        assert!(seen.kms() && seen.key.as_deref() == Some("k"));
        assert_eq!(Encryption::of(&GetBucketEncryptionOutput::builder().build()), None);

        let half = PublicAccessBlockConfiguration::builder().block_public_acls(true).build();
        assert!(!shut(Some(&half)) && !shut(None));
    }

    #[test]
    fn what_is_recorded_reads_back_and_unknown_words_are_unknown() {
        let recorded =
            Recorded { lifecycle: vec![lifecycle::tests::expiring("e", true)], versioning: Versioning::Suspended };
        assert_eq!(Recorded::parse(Some(&recorded.text())), Some(recorded));
        assert_eq!(Recorded::parse(Some("{}")), Some(Recorded::default()));
        assert_eq!(Recorded::parse(None), None);
        assert_eq!(Recorded::parse(Some("half a rec")), None);
    }
}
