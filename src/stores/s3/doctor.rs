//! Asks the control planes of both buckets, of the queue and of what fills it. Reads only.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::Bucket;
use super::settings::S3Settings;
use crate::aws::Aws;
use crate::change::Finding;
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
    async fn examine(&self, _: Look<'_>) -> Vec<Finding> {
        Vec::new()
    }
}
