//! What S3 tells of operations that it did not replicate. Pure.
//!
//! The events are `s3:Replication:OperationFailedReplication`, `OperationMissedThreshold` and `OperationNotTracked` (late, or
//! no longer followed by the metrics), and `OperationReplicatedAfterThreshold` (late, and there). They come in the format of
//! S3 notifications, directly to a queue in prodX or by a topic to one in prodY; EventBridge does not carry them. Keys are
//! form-url-encoded (S3-F4). `requestTime` is when the operation was asked for: that is what the watermark must not pass.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::Deserialize;

use crate::change::SourceTime;

/// An operation that was not replicated, as far as a message tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Failure {
    pub(super) key: String,
    /// `None`: the event does not say.
    pub(super) version: Option<String>,
    /// When the operation was asked for.
    pub(super) since: SourceTime,
    /// `OBJECT_PUT`; empty: the event does not say.
    pub(super) operation: String,
    /// Why, as AWS names it: `DstKmsKeyNotFound`.
    pub(super) reason: String,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// These were not replicated. None: it is about nothing that concerns us, a test for example.
    Failures(Vec<Failure>),
    /// It is not understood, and why.
    Strange(String),
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    #[serde(rename = "Event")]
    event: Option<String>,
    /// Of a topic.
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Message")]
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    event_time: String,
    s3: OfS3,
    replication_event_data: Option<Replication>,
}

#[derive(Deserialize)]
struct OfS3 {
    bucket: Named,
    object: Object,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    key: String,
    version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Replication {
    destination_bucket: Option<String>,
    s3_operation: Option<String>,
    request_time: Option<String>,
    failure_reason: Option<String>,
}

/// Understands a message about the replication of `bucket` to `standby_bucket`.
pub(super) fn understand(body: &str, bucket: &str, standby_bucket: &str) -> Notice {
    match read(body, bucket, standby_bucket, true) {
        Ok(failures) => Notice::Failures(failures),
        Err(why) => Notice::Strange(why),
    }
}

fn read(body: &str, bucket: &str, standby_bucket: &str, wrapped: bool) -> Result<Vec<Failure>, String> {
    let envelope: Envelope = serde_json::from_str(body).map_err(|e| format!("no event of S3: {e}"))?;
    if let (Some("Notification"), Some(message), true) = (envelope.kind.as_deref(), &envelope.message, wrapped) {
        return read(message, bucket, standby_bucket, false);
    }
    if envelope.event.as_deref() == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    let records = envelope.records.ok_or("neither records nor a notification of a topic")?;
    let mut failures = Vec::new();
    for record in records {
        let name = record.event_name.strip_prefix("s3:").unwrap_or(&record.event_name);
        let Some(name) = name.strip_prefix("Replication:") else { continue };
        let data = record.replication_event_data;
        let field = |of: fn(&Replication) -> &Option<String>| data.as_ref().and_then(|data| of(data).clone());
        let to = field(|data| &data.destination_bucket);
        let ours = to.as_deref().is_none_or(|to| to.rsplit(':').next() == Some(standby_bucket));
        if record.s3.bucket.name != bucket || !ours || name == "OperationReplicatedAfterThreshold" {
            continue;
        }
        let reason = match name {
            "OperationFailedReplication" => field(|data| &data.failure_reason).unwrap_or_else(|| "no reason".into()),
            "OperationMissedThreshold" => "later than its threshold".into(),
            "OperationNotTracked" => "no longer followed by the metrics".into(),
            other => other.to_owned(),
        };
        let at = field(|data| &data.request_time).unwrap_or(record.event_time);
        failures.push(Failure {
            key: decoded(&record.s3.object.key)?,
            version: record.s3.object.version_id,
            since: instant(&at).ok_or_else(|| format!("{at:?} is no time"))?,
            operation: field(|data| &data.s3_operation).unwrap_or_default(),
            reason,
        });
    }
    Ok(failures)
}

fn decoded(key: &str) -> Result<String, String> {
    let bytes = crate::stores::s3::list::page::decoded(key, true);
    String::from_utf8(bytes.0.to_vec()).map_err(|_| "a key that is not UTF-8".to_owned())
}

fn instant(text: &str) -> Option<SourceTime> {
    DateTime::from_str(text, Format::DateTimeWithOffset).ok()?.to_millis().ok().map(SourceTime)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(name: &str, destination: &str) -> serde_json::Value {
        json!({
            "eventVersion": "2.2", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-09-05T21:04:32.527Z", "eventName": name,
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": "photos", "arn": "arn:aws:s3:::photos"},
                "object": {"key": "red+flower%2B1.jpg", "size": 52, "eTag": "e", "versionId": "v1", "sequencer": "0066DA"}
            },
            "replicationEventData": {
                "replicationRuleId": "all", "destinationBucket": format!("arn:aws:s3:::{destination}"),
                "s3Operation": "OBJECT_PUT", "requestTime": "2026-09-05T21:03:59.168Z",
                "failureReason": "AssumeRoleNotPermitted"
            }
        })
    }

    fn failed(body: &str) -> Vec<Failure> {
        match understand(body, "photos", "photos-y") {
            Notice::Failures(failures) => failures,
            Notice::Strange(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_failure_is_told_with_the_time_of_its_request() {
        let body = json!({"Records": [record("Replication:OperationFailedReplication", "photos-y")]}).to_string();
        let found = failed(&body);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].key.as_str(), found[0].version.as_deref()), ("red flower+1.jpg", Some("v1")));
        assert_eq!(found[0].since.to_string(), "2026-09-05T21:03:59.168Z");
        assert_eq!((found[0].reason.as_str(), found[0].operation.as_str()), ("AssumeRoleNotPermitted", "OBJECT_PUT"));
        let by_topic = json!({"Type": "Notification", "MessageId": "m", "Message": body}).to_string();
        assert_eq!(failed(&by_topic), found);
    }

    #[test]
    fn what_is_late_or_not_followed_counts_and_what_came_late_does_not() {
        let of = |name: &str| failed(&json!({"Records": [record(name, "photos-y")]}).to_string()).len();
        assert_eq!(of("s3:Replication:OperationMissedThreshold"), 1);
        assert_eq!(of("Replication:OperationNotTracked"), 1);
        assert_eq!(of("Replication:OperationReplicatedAfterThreshold"), 0);
        assert_eq!(of("ObjectCreated:Put"), 0);
        let other = json!({"Records": [record("Replication:OperationFailedReplication", "elsewhere")]}).to_string();
        assert_eq!(failed(&other), []);
        assert_eq!(failed(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"photos"}"#), []);
    }

    #[test]
    fn anything_else_is_strange() {
        let mut untimed = record("Replication:OperationFailedReplication", "photos-y");
        untimed["replicationEventData"]["requestTime"] = json!("yesterday");
        for body in [
            "",
            "[]",
            "{}",
            "{\"Records\":7}",
            r#"{"Type":"Notification"}"#,
            &json!({"Records": [untimed]}).to_string(),
        ] {
            assert!(matches!(understand(body, "photos", "photos-y"), Notice::Strange(_)), "{body}");
        }
    }
}
