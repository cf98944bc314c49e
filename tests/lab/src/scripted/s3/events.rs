//! What an event looks like: the notification format of S3, EventBridge's envelope, and either within SNS's. Pure.

use super::super::clock::since_epoch;
use crate::scripted::rng::mix;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How an event is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Envelope {
    /// `Records`, the key form-url-encoded, milliseconds.
    #[default]
    S3,
    /// `detail-type` and `detail`, the key as it is, whole seconds.
    EventBridge,
    /// `Records` as the text of an SNS notification.
    Sns,
}

/// A committed change that is told.
#[derive(Debug, Clone)]
pub struct ObjectEvent {
    /// The number of the change in its bucket.
    pub number: u64,
    /// `ObjectCreated:Put`.
    pub name: &'static str,
    /// When it was committed, unless a rule made it older.
    pub at: SystemTime,
    /// The region of the bucket.
    pub region: Arc<str>,
    /// The bucket.
    pub bucket: Arc<str>,
    /// The key as it is.
    pub key: Arc<str>,
    /// Of a body that was stored.
    pub size: Option<u64>,
    /// Of a body.
    pub etag: Option<String>,
    /// In a versioned bucket.
    pub version_id: Option<String>,
}

impl ObjectEvent {
    /// Grows with the changes of a key when the shorter is padded with zeros on the right, and only then: some are longer
    /// than others, and some have lost zeros at their end.
    pub fn sequencer(&self) -> Option<String> {
        let ordered = self.name.starts_with("ObjectCreated") || self.name.starts_with("ObjectRemoved");
        let text = format!("0066{:013X}0", self.number);
        ordered.then(|| match self.number % 4 {
            0 => format!("{text}{:02X}", (mix(self.number) & 0xff) | 1),
            1 => text.trim_end_matches('0').to_owned(),
            _ => text,
        })
    }
}

/// The text of a message that tells of these events. EventBridge has one event a message: the first is told.
pub fn message(envelope: Envelope, events: &[ObjectEvent]) -> String {
    match envelope {
        Envelope::S3 => records(events).to_string(),
        Envelope::Sns => wrapped(&records(events).to_string(), events.first()).to_string(),
        Envelope::EventBridge => events.first().map(bridged).unwrap_or_default().to_string(),
    }
}

/// What S3 sends when notifications are set up.
pub fn test_message(envelope: Envelope, bucket: &str, at: SystemTime) -> String {
    let test = json!({
        "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": instant(at), "Bucket": bucket,
        "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
    });
    match envelope {
        Envelope::Sns => wrapped(&test.to_string(), None).to_string(),
        Envelope::S3 | Envelope::EventBridge => test.to_string(),
    }
}

fn instant(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

fn records(events: &[ObjectEvent]) -> Value {
    json!({ "Records": events.iter().map(record).collect::<Vec<_>>() })
}

fn record(event: &ObjectEvent) -> Value {
    let mut object = json!({ "key": form_encoded(&event.key) });
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object[name] = value;
        }
    };
    add("size", event.size.map(Value::from));
    add("eTag", event.etag.clone().map(Value::from));
    add("versionId", event.version_id.clone().map(Value::from));
    add("sequencer", event.sequencer().map(Value::from));
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": &*event.region, "eventTime": instant(event.at),
        "eventName": event.name, "userIdentity": { "principalId": "AWS:AIDAEXAMPLE" },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": { "x-amz-request-id": format!("{:016X}", mix(event.number)), "x-amz-id-2": "x" },
        "s3": {
            "s3SchemaVersion": "1.0", "configurationId": "plimsoll",
            "bucket": {
                "name": &*event.bucket, "ownerIdentity": { "principalId": "A3NL1KOZZKExample" },
                "arn": format!("arn:aws:s3:::{}", event.bucket),
            },
            "object": object,
        },
    })
}

fn wrapped(text: &str, event: Option<&ObjectEvent>) -> Value {
    let number = event.map_or(0, |event| event.number);
    json!({
        "Type": "Notification", "MessageId": uuid(number), "TopicArn": "arn:aws:sns:us-east-1:000000000000:objects",
        "Subject": "Amazon S3 Notification", "Message": text,
        "Timestamp": event.map(|event| instant(event.at)), "SignatureVersion": "1", "Signature": "none",
        "SigningCertURL": "https://sns.invalid/x.pem", "UnsubscribeURL": "https://sns.invalid/",
    })
}

fn bridged(event: &ObjectEvent) -> Value {
    let (kind, reason) = match event.name {
        "ObjectCreated:Put" => ("Object Created", Some("PutObject")),
        "ObjectCreated:Copy" => ("Object Created", Some("CopyObject")),
        "ObjectCreated:CompleteMultipartUpload" => ("Object Created", Some("CompleteMultipartUpload")),
        "ObjectTagging:Put" => ("Object Tags Added", None),
        "ObjectTagging:Delete" => ("Object Tags Deleted", None),
        "ObjectAcl:Put" => ("Object ACL Updated", None),
        "ObjectRestore:Completed" => ("Object Restore Completed", None),
        name if name.starts_with("LifecycleExpiration") => ("Object Deleted", Some("Lifecycle Expiration")),
        name if name.starts_with("ObjectRemoved") => ("Object Deleted", Some("DeleteObject")),
        name => (name, None),
    };
    let mut object = json!({ "key": &*event.key });
    let mut detail = json!({
        "version": "0", "bucket": { "name": &*event.bucket }, "request-id": format!("{:016X}", mix(event.number)),
        "requester": "000000000000", "source-ip-address": "127.0.0.1",
    });
    if let Some(size) = event.size {
        object["size"] = size.into();
    }
    if let Some(etag) = &event.etag {
        object["etag"] = etag.as_str().into();
    }
    if let Some(version) = &event.version_id {
        object["version-id"] = version.as_str().into();
    }
    if let Some(sequencer) = event.sequencer() {
        object["sequencer"] = sequencer.into();
    }
    if let Some(reason) = reason {
        detail["reason"] = reason.into();
    }
    if kind == "Object Deleted" {
        let marker = event.name.ends_with("DeleteMarkerCreated");
        detail["deletion-type"] = if marker { "Delete Marker Created" } else { "Permanently Deleted" }.into();
    }
    detail["object"] = object;
    // The envelope has whole seconds (S3-19).
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch(event.at).as_secs());
    json!({
        "version": "0", "id": uuid(event.number), "detail-type": kind, "source": "aws.s3", "account": "000000000000",
        "time": humantime::format_rfc3339_seconds(second).to_string(), "region": &*event.region,
        "resources": [format!("arn:aws:s3:::{}", event.bucket)], "detail": detail,
    })
}

fn uuid(number: u64) -> String {
    let (a, b) = (mix(number), mix(!number));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

/// As S3 writes a key into a notification (S3-F4): a space is a plus, a slash stays.
pub fn form_encoded(key: &str) -> String {
    key.bytes().fold(String::with_capacity(key.len()), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => {
                write!(out, "%{other:02X}").expect("a string takes everything");
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> ObjectEvent {
        ObjectEvent {
            number,
            name: "ObjectCreated:Put",
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            region: "us-east-1".into(),
            bucket: "b".into(),
            key: "a b+c%/é\n".into(),
            size: Some(3),
            etag: Some("e".into()),
            version_id: None,
        }
    }

    #[test]
    fn sequencers_grow_when_padded_on_the_right_and_differ_in_length() {
        let texts: Vec<String> = (1..2000).filter_map(|number| event(number).sequencer()).collect();
        let longest = texts.iter().map(String::len).max().unwrap_or_default();
        let padded: Vec<String> = texts.iter().map(|text| format!("{text:0<longest$}")).collect();
        assert!(padded.is_sorted_by(|a, b| a < b));
        let lengths: std::collections::BTreeSet<_> = texts.iter().map(String::len).collect();
        assert!(lengths.len() >= 3, "{lengths:?}");
        let numbers: Vec<u128> = texts.iter().map(|text| u128::from_str_radix(text, 16).unwrap()).collect();
        assert!(!numbers.is_sorted(), "as numbers they must be wrong somewhere");
    }

    #[test]
    fn each_envelope_has_its_own_way_with_keys_and_time() {
        let s3: Value = serde_json::from_str(&message(Envelope::S3, &[event(1), event(2)])).unwrap();
        assert_eq!(s3["Records"].as_array().unwrap().len(), 2);
        assert_eq!(s3["Records"][0]["s3"]["object"]["key"], "a+b%2Bc%25/%C3%A9%0A");
        assert_eq!(s3["Records"][0]["eventTime"], "1970-01-01T00:00:01.500Z");
        let bus: Value = serde_json::from_str(&message(Envelope::EventBridge, &[event(1)])).unwrap();
        assert_eq!(bus["detail"]["object"]["key"], "a b+c%/é\n");
        assert_eq!(bus["time"], "1970-01-01T00:00:01Z");
        let sns: Value = serde_json::from_str(&message(Envelope::Sns, &[event(1)])).unwrap();
        let inner: Value = serde_json::from_str(sns["Message"].as_str().unwrap()).unwrap();
        assert_eq!(inner["Records"][0]["eventName"], "ObjectCreated:Put");
    }
}
