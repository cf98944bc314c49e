//! What both buckets and the queues are.
//!
//! A bucket has no identity besides its name: AWS says of its creation date that it changes with its policy. So the
//! incarnation is the name, the prefix and the region; a bucket that was emptied, deleted and made anew has told that by
//! events, and a walk finds it otherwise.

use aws_sdk_s3::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::time::Duration;

use super::facts::lifecycle::Rule;
use super::facts::{Notifications, Queue, Recorded, Replication, Versioning};
use super::{Bucket, Versions};
use crate::aws::classify;
use crate::change::Class;
use crate::stores::StoreError;
use crate::stores::converge::Survey;

/// A lifecycle of which there is none, in S3's words.
pub(super) const NO_LIFECYCLE: &str = "NoSuchLifecycleConfiguration";
/// A replication of which there is none, in S3's words.
pub(super) const NO_REPLICATION: &str = "ReplicationConfigurationNotFoundError";

/// The service's own code of a refusal.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

impl Bucket {
    pub(super) async fn look(&self) -> Result<Survey, StoreError> {
        let settings = &self.settings;
        let here = (self.target.clone(), &settings.standby_bucket, "standby", &self.control.standby_region);
        let there = (self.source.clone(), &settings.bucket, "primary", &self.control.primary_region);
        let (source, standby) = futures_util::future::try_join(bucket(there), bucket(here)).await?;
        if settings.versions == Versions::History && standby != Versioning::Enabled {
            let on = format!("standby bucket {}", settings.standby_bucket);
            return Err(StoreError::new(
                Class::Invalid,
                "versions = \"history\" without versioning in the standby",
                on,
            )
            .hint("enable versioning on the standby bucket, or write versions = \"current\""));
        }
        self.refuse_replicated().await?;
        let queue = self.queue_facts(&settings.queue_url).await?;
        let dead = match &settings.dead_letter_url {
            Some(url) => Some(self.queue_facts(url).await?),
            None => None,
        };
        let channel = |queue: &Queue| format!("{}@{}", queue.arn, queue.created);
        let name = |queues: &[&Queue]| queues.iter().map(|queue| channel(queue)).collect::<Vec<_>>().join(" ");
        let queues: Vec<&Queue> = std::iter::once(&queue).chain(&dead).collect();
        // A message keeps its age when it is given up.
        let retention = queues.iter().map(|queue| queue.retention).min().unwrap_or(0);
        Ok(Survey {
            incarnation: format!("s3://{}/{} in {}", settings.bucket, settings.prefix, self.control.primary_region),
            channel: name(&queues),
            retention: Duration::from_secs(retention),
            about: Some(self.about(standby)),
            source: self.recorded(source).await.map(|recorded| recorded.text()),
            deaf: self.deaf().await,
        })
    }

    /// A bucket that sends its events nowhere is quiet like one that nobody writes to: an empty queue says nothing of it.
    async fn deaf(&self) -> Option<String> {
        let bucket = &self.settings.bucket;
        let answer = self.source.get_bucket_notification_configuration().bucket(bucket).send().await.ok()?;
        let sent = Notifications::of(&answer);
        let nowhere = !sent.event_bridge && sent.queues.is_empty() && sent.topics.is_empty();
        nowhere.then(|| format!("bucket {bucket} sends its events nowhere; `plimsoll doctor --online` says how to"))
    }

    /// How the store works, in a line.
    fn about(&self, standby: Versioning) -> String {
        let versions = match self.settings.versions {
            Versions::Current => "current versions",
            Versions::History => "all versions",
        };
        let excluded = match self.settings.exclude.as_slice() {
            [] => String::new(),
            some => format!(", without objects that are {}", some.join(" or ")),
        };
        format!(
            "{versions}, transfer {}, versioning of the standby {}{excluded}",
            self.transfer_words(),
            standby.words()
        )
    }

    /// Two that write to one bucket undo each other: AWS's own replication and we.
    async fn refuse_replicated(&self) -> Result<(), StoreError> {
        let bucket = &self.settings.bucket;
        let on = format!("primary bucket {bucket}");
        let answer = match self.source.get_bucket_replication().bucket(bucket).send().await {
            Ok(answer) => answer,
            // The examination says when it is not allowed to be asked.
            Err(error) if code(&error) == Some(NO_REPLICATION) || classify(&error, false) == Class::Denied => {
                return Ok(());
            }
            Err(error) => return Err(StoreError::of_call(&error, false, "GetBucketReplication", &on)),
        };
        let (standby, prefix) = (&self.settings.standby_bucket, &self.settings.prefix);
        let rules = Replication::of(answer.replication_configuration());
        match rules.iter().find(|rule| rule.enabled && rule.to == *standby && rule.meets(prefix)) {
            Some(rule) => {
                let what = format!("rule {} lets S3 replicate to {standby}, where this store copies to", rule.id);
                let hint =
                    "disable the rule; or let S3 replicate, and write mode = \"observe\" for this store under a new id";
                Err(StoreError::new(Class::Invalid, what, on).hint(hint))
            }
            None => Ok(()),
        }
    }

    pub(super) async fn queue_facts(&self, url: &str) -> Result<Queue, StoreError> {
        let ask = self.queue.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let answer = ask.send().await.map_err(|e| StoreError::of_call(&e, false, "GetQueueAttributes", url))?;
        let facts = answer.attributes().and_then(Queue::of);
        facts.ok_or_else(|| {
            StoreError::new(Class::Unavailable, "GetQueueAttributes", format!("{url}: an answer without ARN and times"))
        })
    }

    /// What a recovery must know of prodX; `None`: it is not told now, and what was told before stays.
    async fn recorded(&self, versioning: Versioning) -> Option<Recorded> {
        let ask = self.source.get_bucket_lifecycle_configuration().bucket(&self.settings.bucket);
        match ask.send().await {
            Ok(answer) => Some(Recorded { lifecycle: answer.rules().iter().map(Rule::of).collect(), versioning }),
            Err(error) if code(&error) == Some(NO_LIFECYCLE) => Some(Recorded { lifecycle: Vec::new(), versioning }),
            Err(_) => None,
        }
    }
}

/// A bucket is there, where it is said to be, and whether it keeps older versions.
async fn bucket((client, name, side, region): (Client, &String, &str, &String)) -> Result<Versioning, StoreError> {
    let on = format!("{side} bucket {name}");
    let head = client.head_bucket().bucket(name).send().await;
    let head = head.map_err(|e| {
        match e.raw_response().map(|raw| (raw.status().as_u16(), raw.headers().get("x-amz-bucket-region"))) {
            // A bucket of another region answers so, without a body.
            Some((301, there)) => elsewhere(&on, region, there.unwrap_or("another region")),
            // An answer to HEAD has no body and so no code: its status says the same.
            Some((403, _)) => StoreError::new(Class::Denied, "HeadBucket", &on)
                .hint("check the credentials and the policies in config/iam (s3:ListBucket)"),
            Some((404, _)) => StoreError::new(Class::Missing, "HeadBucket", &on).hint("check its name and region"),
            _ => StoreError::of_call(&e, false, "HeadBucket", &on),
        }
    })?;
    match head.bucket_region() {
        Some(there) if there != region => return Err(elsewhere(&on, region, there)),
        _ => {}
    }
    let answer = client.get_bucket_versioning().bucket(name).send().await;
    answer.map(|answer| Versioning::of(&answer)).map_err(|e| StoreError::of_call(&e, false, "GetBucketVersioning", &on))
}

fn elsewhere(on: &str, region: &str, there: &str) -> StoreError {
    StoreError::new(Class::Invalid, format!("the bucket is in {there} and not in {region}"), on)
        .hint("check the names of the buckets: bucket is in the primary region, standby_bucket in the standby region")
}
