//! A replication configuration in a file, as `aws s3api put-bucket-replication --replication-configuration` takes it.
//!
//! A key that is not known is an error: a rule that says less than its author meant would copy more, or less.

use std::path::Path;

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types as sdk;
use serde::Deserialize;

/// A configuration of 1,000 rules fits.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Configuration {
    role: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Rule {
    #[serde(rename = "ID")]
    id: Option<String>,
    priority: Option<i32>,
    prefix: Option<String>,
    filter: Option<Filter>,
    status: String,
    source_selection_criteria: Option<Criteria>,
    existing_object_replication: Option<Status>,
    destination: Destination,
    delete_marker_replication: Option<Status>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Filter {
    prefix: Option<String>,
    tag: Option<Tag>,
    and: Option<And>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct And {
    prefix: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Status {
    status: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Criteria {
    sse_kms_encrypted_objects: Option<Status>,
    replica_modifications: Option<Status>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Destination {
    bucket: String,
    account: Option<String>,
    storage_class: Option<String>,
    access_control_translation: Option<Owner>,
    encryption_configuration: Option<Encryption>,
    replication_time: Option<Timed>,
    metrics: Option<Metered>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Owner {
    owner: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Encryption {
    #[serde(rename = "ReplicaKmsKeyID")]
    replica_kms_key_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Minutes {
    minutes: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Timed {
    status: String,
    time: Minutes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Metered {
    status: String,
    event_threshold: Option<Minutes>,
}

/// Reads it; the reason why not for a human.
pub(super) fn load(path: &Path) -> Result<sdk::ReplicationConfiguration, String> {
    let size = std::fs::metadata(path).map_err(|e| format!("it cannot be read: {e}"))?.len();
    if size > MOST_BYTES {
        return Err(format!("it has {size} bytes: no replication configuration is so long"));
    }
    parse(&std::fs::read_to_string(path).map_err(|e| format!("it cannot be read: {e}"))?)
}

pub(super) fn parse(text: &str) -> Result<sdk::ReplicationConfiguration, String> {
    let read: Configuration =
        serde_json::from_str(text).map_err(|e| format!("it is no replication configuration: {e}"))?;
    if read.rules.is_empty() {
        return Err("it has no rules".into());
    }
    read.to_sdk().map_err(|e| format!("it is no replication configuration: {e}"))
}

impl Configuration {
    fn to_sdk(&self) -> Result<sdk::ReplicationConfiguration, BuildError> {
        let rules = self.rules.iter().map(Rule::to_sdk).collect::<Result<Vec<_>, _>>()?;
        sdk::ReplicationConfiguration::builder().role(&self.role).set_rules(Some(rules)).build()
    }
}

impl Rule {
    fn to_sdk(&self) -> Result<sdk::ReplicationRule, BuildError> {
        #[expect(deprecated, reason = "rules of the first version still have it")]
        let rule = sdk::ReplicationRule::builder().set_prefix(self.prefix.clone());
        let existing = self
            .existing_object_replication
            .as_ref()
            .map(|existing| sdk::ExistingObjectReplication::builder().status(existing.status.as_str().into()).build());
        let markers = self
            .delete_marker_replication
            .as_ref()
            .map(|markers| sdk::DeleteMarkerReplication::builder().status(markers.status.as_str().into()).build());
        rule.set_id(self.id.clone())
            .set_priority(self.priority)
            .set_filter(self.filter.as_ref().map(Filter::to_sdk).transpose()?)
            .status(self.status.as_str().into())
            .set_source_selection_criteria(self.source_selection_criteria.as_ref().map(Criteria::to_sdk).transpose()?)
            .set_existing_object_replication(existing.transpose()?)
            .destination(self.destination.to_sdk()?)
            .set_delete_marker_replication(markers)
            .build()
    }
}

impl Tag {
    fn to_sdk(&self) -> Result<sdk::Tag, BuildError> {
        sdk::Tag::builder().key(&self.key).value(&self.value).build()
    }
}

impl Filter {
    fn to_sdk(&self) -> Result<sdk::ReplicationRuleFilter, BuildError> {
        let and = self.and.as_ref().map(|and| {
            let tags = and.tags.iter().map(Tag::to_sdk).collect::<Result<Vec<_>, _>>()?;
            let built = sdk::ReplicationRuleAndOperator::builder().set_prefix(and.prefix.clone());
            Ok::<_, BuildError>(built.set_tags(Some(tags).filter(|tags| !tags.is_empty())).build())
        });
        Ok(sdk::ReplicationRuleFilter::builder()
            .set_prefix(self.prefix.clone())
            .set_tag(self.tag.as_ref().map(Tag::to_sdk).transpose()?)
            .set_and(and.transpose()?)
            .build())
    }
}

impl Criteria {
    fn to_sdk(&self) -> Result<sdk::SourceSelectionCriteria, BuildError> {
        let kms = self
            .sse_kms_encrypted_objects
            .as_ref()
            .map(|kms| sdk::SseKmsEncryptedObjects::builder().status(kms.status.as_str().into()).build());
        let replicas = self
            .replica_modifications
            .as_ref()
            .map(|replicas| sdk::ReplicaModifications::builder().status(replicas.status.as_str().into()).build());
        Ok(sdk::SourceSelectionCriteria::builder()
            .set_sse_kms_encrypted_objects(kms.transpose()?)
            .set_replica_modifications(replicas.transpose()?)
            .build())
    }
}

impl Destination {
    fn to_sdk(&self) -> Result<sdk::Destination, BuildError> {
        let minutes = |minutes: &Minutes| sdk::ReplicationTimeValue::builder().minutes(minutes.minutes).build();
        let owner = self
            .access_control_translation
            .as_ref()
            .map(|owner| sdk::AccessControlTranslation::builder().owner(owner.owner.as_str().into()).build());
        let encryption = self.encryption_configuration.as_ref().map(|encryption| {
            let key = encryption.replica_kms_key_id.clone();
            sdk::EncryptionConfiguration::builder().set_replica_kms_key_id(key).build()
        });
        let time = self.replication_time.as_ref().map(|time| {
            sdk::ReplicationTime::builder().status(time.status.as_str().into()).time(minutes(&time.time)).build()
        });
        let metrics = self.metrics.as_ref().map(|metrics| {
            let after = metrics.event_threshold.as_ref().map(minutes);
            sdk::Metrics::builder().status(metrics.status.as_str().into()).set_event_threshold(after).build()
        });
        sdk::Destination::builder()
            .bucket(&self.bucket)
            .set_account(self.account.clone())
            .set_storage_class(self.storage_class.as_deref().map(sdk::StorageClass::from))
            .set_access_control_translation(owner.transpose()?)
            .set_encryption_configuration(encryption)
            .set_replication_time(time.transpose()?)
            .set_metrics(metrics.transpose()?)
            .build()
    }
}
