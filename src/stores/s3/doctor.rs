//! Asks the control planes of both buckets, of the queues and of what fills them, and on request exercises what reading
//! needs. Reads only; each question stands alone, so that one that is refused hides no other.

mod ask;
mod rules;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName;

use self::ask::{Asking, missing_is};
use super::drift::{self, Asked, Pair, Place, Refused, Seen, SeenQueue, SeenRules, check};
use super::facts::lifecycle::Rule;
use super::facts::{Encryption, Notifications, Queue, Recorded, Replication, Versioning, shut};
use super::settings::S3Settings;
use super::survey::{NO_LIFECYCLE, NO_REPLICATION};
use super::{Bucket, operations};
use crate::aws::Aws;
use crate::change::{Class, Finding, Severity};
use crate::stores::{Examine, Look};

/// What an examination and a promotion need besides the clients of the objects.
pub(super) struct Control {
    pub(super) primary_region: String,
    pub(super) standby_region: String,
    /// prodY's; its region is overridden where the routes of an access point are changed elsewhere.
    pub(super) s3control: aws_sdk_s3control::Client,
    /// prodX's.
    pub(super) rules_x: aws_sdk_eventbridge::Client,
    /// prodY's.
    pub(super) rules_y: aws_sdk_eventbridge::Client,
    /// Other buckets whose events came, and that this was said.
    others: Mutex<BTreeSet<String>>,
}

impl Control {
    pub(super) fn new(settings: &S3Settings, aws: &Aws) -> Self {
        let attempt = settings.attempt_timeout;
        Self {
            primary_region: aws.primary.region(),
            standby_region: aws.standby.region(),
            s3control: aws.standby.s3control(attempt),
            rules_x: aws.primary.eventbridge(attempt),
            rules_y: aws.standby.eventbridge(attempt),
            others: Mutex::default(),
        }
    }

    /// Whose clients reach nobody.
    #[cfg(test)]
    pub(super) fn nowhere() -> Self {
        let (nobody, region) = ("http://127.0.0.1:9", "us-west-2");
        let rules = || {
            let config = aws_sdk_eventbridge::Config::builder()
                .behavior_version(aws_sdk_eventbridge::config::BehaviorVersion::latest())
                .region(aws_sdk_eventbridge::config::Region::new(region));
            aws_sdk_eventbridge::Client::from_conf(config.endpoint_url(nobody).build())
        };
        let config = aws_sdk_s3control::Config::builder()
            .behavior_version(aws_sdk_s3control::config::BehaviorVersion::latest())
            .region(aws_sdk_s3control::config::Region::new(region));
        Self {
            primary_region: "us-east-1".into(),
            standby_region: region.into(),
            s3control: aws_sdk_s3control::Client::from_conf(config.endpoint_url(nobody).build()),
            rules_x: rules(),
            rules_y: rules(),
            others: Mutex::default(),
        }
    }

    /// Whether another bucket is heard of for the first time; of more than `most` nothing is said.
    pub(super) fn first_word_of(&self, other: &str, most: usize) -> bool {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.len() < most && others.insert(other.to_owned())
    }
}

#[async_trait]
impl Examine for Bucket {
    async fn examine(&self, how: Look<'_>) -> Vec<Finding> {
        let ((source, notifications), standby) =
            futures_util::future::join(self.see_source(how.probe), self.see_standby(how.probe)).await;
        let (queue, dead) = futures_util::future::join(self.see_queue("queue", &self.settings.queue_url), async {
            match &self.settings.dead_letter_url {
                Some(url) => Some(self.see_queue("dead-letter queue", url).await),
                None => None,
            }
        })
        .await;
        let (leaving, arriving) = self.see_rules(&queue, &notifications).await;
        let pair = Pair {
            settings: self.settings.clone(),
            source,
            standby,
            notifications,
            queue,
            dead,
            leaving,
            arriving,
            recorded: how.known.and_then(|record| Recorded::parse(record.source.as_deref())),
        };
        let mut found = drift::compare(&pair);
        if how.probe {
            // Whoever asks for an examination has none while an end is silent.
            for finding in found.iter_mut().filter(|f| f.check == check::ANSWERS && f.severity == Severity::Warning) {
                finding.severity = Severity::Problem;
            }
            found.extend(unasked(&pair));
        }
        if let Some(path) = &self.settings.promoting.replication_file {
            found.extend(prepared(&pair.standby.place, path));
        }
        found
    }
}

/// Whether a promotion can read the replication that it is to put.
fn prepared(place: &Place, path: &Path) -> Option<Finding> {
    let why = super::promote::replication_file(path).err()?;
    let finding =
        Finding::new(Severity::Problem, check::REPLICATION, place.words(), format!("{}: {why}", path.display()));
    Some(finding.to_do("write it as `aws s3api put-bucket-replication --replication-configuration` takes it"))
}

/// What this examination does not look at, so that nobody takes its silence for an answer.
fn unasked(pair: &Pair) -> Vec<Finding> {
    let mut found = vec![
        pair.standby
            .place
            .note(check::PERMISSIONS, "permissions to write are not tried, because trying them is writing")
            .to_do("plimsoll doctor --policies prints the policies to compare with"),
        pair.queue
            .place
            .note(check::QUEUE, "whether messages may be received and deleted is not tried: a message would be hidden")
            .to_do("the running daemon tries it all the time: plimsoll status"),
    ];
    if pair.settings.canary_key.is_none() {
        found.push(
            pair.standby
                .place
                .note(check::ENCRYPTION, "whether its key decrypts is not tried: there is no object to try it with")
                .to_do("set canary_key; then the canary is read in both regions"),
        );
    }
    found
}

impl Bucket {
    async fn see_source(&self, probe: bool) -> (Seen, Asked<Notifications>) {
        let place = Place {
            what: "primary bucket",
            name: self.settings.bucket.clone(),
            region: self.control.primary_region.clone(),
            policy: operations::READ_X,
        };
        let asking = Asking { clock: &self.clock };
        let bucket = self.settings.bucket.clone();
        let events = asking.again("s3:GetBucketNotification", || {
            self.source.get_bucket_notification_configuration().bucket(&bucket).send()
        });
        let (seen, events) = futures_util::future::join(self.see(&self.source, place, probe), events).await;
        (seen, events.map(|answer| Notifications::of(&answer)))
    }

    async fn see_standby(&self, probe: bool) -> Seen {
        let place = Place {
            what: "standby bucket",
            name: self.settings.standby_bucket.clone(),
            region: self.control.standby_region.clone(),
            policy: operations::WRITE_Y,
        };
        self.see(&self.target, place, probe).await
    }

    /// Asks the control plane of one bucket.
    async fn see(&self, client: &aws_sdk_s3::Client, place: Place, probe: bool) -> Seen {
        let asking = Asking { clock: &self.clock };
        let name = place.name.clone();
        let region = async {
            let asked = asking.again("s3:ListBucket", || client.head_bucket().bucket(&name).send()).await;
            asked.map(|head| head.bucket_region().map(str::to_owned))
        };
        let versioning = async {
            let ask = || client.get_bucket_versioning().bucket(&name).send();
            asking.again("s3:GetBucketVersioning", ask).await.map(|answer| Versioning::of(&answer))
        };
        let lifecycle = async {
            let ask = || client.get_bucket_lifecycle_configuration().bucket(&name).send();
            let asked = asking.again_or("s3:GetLifecycleConfiguration", NO_LIFECYCLE, ask).await;
            asked.map(|answer| answer.map(|all| all.rules().iter().map(Rule::of).collect()).unwrap_or_default())
        };
        let encryption = async {
            let none = "ServerSideEncryptionConfigurationNotFoundError";
            let ask = || client.get_bucket_encryption().bucket(&name).send();
            let asked = asking.again_or("s3:GetEncryptionConfiguration", none, ask).await;
            asked.map(|answer| answer.as_ref().and_then(Encryption::of))
        };
        let lock = async {
            let ask = || client.get_object_lock_configuration().bucket(&name).send();
            let none = "ObjectLockConfigurationNotFoundError";
            let asked = asking.again_or("s3:GetBucketObjectLockConfiguration", none, ask).await;
            asked.map(|answer| {
                let configuration = answer.as_ref().and_then(|a| a.object_lock_configuration());
                configuration.is_some_and(|c| c.object_lock_enabled().is_some())
            })
        };
        let public = async {
            let ask = || client.get_public_access_block().bucket(&name).send();
            let asked =
                asking.again_or("s3:GetBucketPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration", ask).await;
            asked.map(|answer| shut(answer.as_ref().and_then(|a| a.public_access_block_configuration())))
        };
        let ownership = async {
            let ask = || client.get_bucket_ownership_controls().bucket(&name).send();
            let asked = asking.again_or("s3:GetBucketOwnershipControls", "OwnershipControlsNotFoundError", ask).await;
            asked.map(|answer| {
                let rule = answer.as_ref().and_then(|a| a.ownership_controls()).and_then(|c| c.rules().first());
                rule.map(|rule| rule.object_ownership().as_str().to_owned())
            })
        };
        let replication = async {
            let ask = || client.get_bucket_replication().bucket(&name).send();
            let asked = asking.again_or("s3:GetReplicationConfiguration", NO_REPLICATION, ask).await;
            asked.map(|answer| Replication::of(answer.as_ref().and_then(|a| a.replication_configuration())))
        };
        let first = futures_util::future::join4(region, versioning, lifecycle, encryption);
        let second = futures_util::future::join4(lock, public, ownership, replication);
        let ((region, versioning, lifecycle, encryption), (lock, shut, ownership, replication)) =
            futures_util::future::join(first, second).await;
        let probes = if probe { self.probe(client, &name).await } else { Vec::new() };
        Seen { place, region, versioning, lifecycle, encryption, lock, shut, ownership, replication, probes }
    }

    /// Reads next to nothing: whether it is allowed is the answer.
    async fn probe(&self, client: &aws_sdk_s3::Client, bucket: &str) -> Vec<Asked<()>> {
        let asking = Asking { clock: &self.clock };
        let prefix = &self.settings.prefix;
        let ask = || client.list_objects_v2().bucket(bucket).prefix(prefix).max_keys(1).send();
        let mut probes = vec![asking.again("s3:ListBucket", ask).await.map(drop)];
        let Some(canary) = &self.settings.canary_key else { return probes };
        // The whole way of a read: it is decrypted too (S3-6). A canary that was not written yet is no answer to that.
        let read = |action, asked: Asked<()>| missing_is((), asked).map_err(|refused| Refused { action, ..refused });
        let ask = || client.get_object().bucket(bucket).key(canary).range("bytes=0-0").send();
        probes.push(read("s3:GetObject", asking.again("s3:GetObject", ask).await.map(drop)));
        if self.settings.carry.tags {
            let ask = || client.get_object_tagging().bucket(bucket).key(canary).send();
            probes.push(read("s3:GetObjectTagging", asking.again("s3:GetObjectTagging", ask).await.map(drop)));
        }
        probes
    }

    async fn see_queue(&self, what: &'static str, url: &str) -> SeenQueue {
        let asking = Asking { clock: &self.clock };
        let region = self.control.standby_region.clone();
        let place = Place { what, name: url.to_owned(), region, policy: operations::WRITE_Y };
        let ask = || self.queue.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All).send();
        let asked = asking.again("sqs:GetQueueAttributes", ask).await;
        let queue = asked.and_then(|answer| {
            let facts = answer.attributes().and_then(Queue::of);
            facts.ok_or_else(|| Refused {
                class: Class::Unavailable,
                action: "sqs:GetQueueAttributes",
                words: "an answer without ARN and times".into(),
            })
        });
        SeenQueue { place, queue }
    }

    /// The rules on the way, in both regions. Nothing is asked where events do not go by EventBridge.
    async fn see_rules(&self, queue: &SeenQueue, sent: &Asked<Notifications>) -> (SeenRules, SeenRules) {
        let place = |what, region: &String, policy| Place {
            what,
            name: "of EventBridge".into(),
            region: region.clone(),
            policy,
        };
        let mut leaving =
            SeenRules { place: place("rules", &self.control.primary_region, operations::READ_X), hops: Ok(Vec::new()) };
        let mut arriving = SeenRules {
            place: place("rules", &self.control.standby_region, operations::WRITE_Y),
            hops: Ok(Vec::new()),
        };
        if let (Ok(facts), true) = (&queue.queue, sent.as_ref().is_ok_and(|sent| sent.event_bridge)) {
            let asking = Asking { clock: &self.clock };
            let (buses, to_queue) = rules::arriving(asking, &self.control.rules_y, &facts.arn).await;
            arriving.hops = to_queue;
            leaving.hops = rules::leaving(asking, &self.control.rules_x, &buses).await;
        }
        (leaving, arriving)
    }
}
