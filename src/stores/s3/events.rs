//! What a message says (S3-20). Pure; no text panics.
//!
//! An event is believed in two things: that a key changed, and when. Everything else is looked at (S3-1), so every kind of
//! event marks its key: a restored archive can be copied now, a transition has another storage class, and of a kind that
//! is not known yet the same is true.
//!
//! - How the key is written is decided by the envelope, never by guessing (S3-F4): form-url-encoded in S3's own format, as
//!   it is in EventBridge's.
//! - A key outside of the prefix, and an event of another bucket, say nothing about this store: they are heard and left.
//!   The queue belongs to this store alone, so nobody else misses them; a rule that sends them should be narrower, and
//!   that is said ([`Told::others`]). To take them for strange would have the store walk both buckets for each.
//! - Whatever else cannot be understood may be about any key of ours: it is strange, with the reason.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use aws_smithy_types::date_time::Format;
use serde_json::Value;

use super::settings::LONGEST_KEY;
use crate::change::{Key, SourceTime};
use crate::stores::converge::{Event, Said};

/// An event whose time is told in whole seconds may be of the second before (S3-19).
const SECOND: i64 = 1000;
/// S3 says so of an object that it could not replicate by itself, without its `s3:`.
const FAILED: &str = "Replication:OperationFailedReplication";
/// The schema of S3's own format that is understood.
const MAJOR: &str = "2";

/// What an event must be about to be ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) bucket: &'a str,
    pub(super) prefix: &'a str,
    pub(super) canary: Option<&'a str>,
}

/// What a message says, and which other buckets it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) says: Said,
    pub(super) others: BTreeSet<String>,
}

/// One event, of whatever bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// `ObjectCreated:Put` in S3's own format, `Object Created` in EventBridge's.
    pub(super) name: String,
    pub(super) bucket: String,
    /// Decoded.
    pub(super) key: String,
    /// When S3 had processed the change, rounded down to what the envelope keeps.
    pub(super) at: SourceTime,
    /// The `sequencer`, compared by [`order`].
    pub(super) order: Option<String>,
}

impl Record {
    /// S3 says that it could not replicate this object by itself.
    pub(super) fn failed(&self) -> bool {
        self.name == FAILED
    }
}

/// What the message says for this store.
pub(super) fn understand(body: &str, scope: Scope<'_>) -> Told {
    let records = match records(body) {
        Ok(records) => records,
        Err(why) => return Told { says: Said::Strange(why), others: BTreeSet::new() },
    };
    let (ours, others): (Vec<Record>, Vec<Record>) = records.into_iter().partition(|r| r.bucket == scope.bucket);
    let mut events: Vec<Event> = Vec::new();
    for record in ours.into_iter().filter(|record| record.key.starts_with(scope.prefix)) {
        let event = Event {
            canary: scope.canary == Some(record.key.as_str()),
            failed: record.failed(),
            at: record.at,
            order: record.order.as_deref().map(Into::into),
            key: Key(record.key.into_bytes().into()),
        };
        match events.iter_mut().find(|have| have.key == event.key) {
            Some(have) => merge(have, &event),
            None => events.push(event),
        }
    }
    Told { says: Said::Events(events), others: others.into_iter().map(|record| record.bucket).collect() }
}

/// Two events of one key in one message: since the older one, in the order of the newer one.
fn merge(have: &mut Event, more: &Event) {
    have.at = have.at.min(more.at);
    have.failed |= more.failed;
    if let Some(theirs) = &more.order
        && have.order.as_ref().is_none_or(|ours| order(ours, theirs).is_lt())
    {
        have.order = Some(theirs.clone());
    }
}

/// The order of two sequencers of one key (S3-F2): the shorter is filled with zeros on its right, then they are compared
/// letter by letter. Filling on the left, or comparing as numbers, is wrong as soon as the lengths differ.
pub(super) fn order(a: &str, b: &str) -> Ordering {
    let digits = |text: &str, at: usize| text.as_bytes().get(at).map_or(b'0', u8::to_ascii_uppercase);
    let longest = a.len().max(b.len());
    (0..longest).map(|at| digits(a, at).cmp(&digits(b, at))).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Every event of a message; none when it is about nothing. `Err`: why it is not understood.
pub(super) fn records(body: &str) -> Result<Vec<Record>, String> {
    let body: Value = serde_json::from_str(body).map_err(|_| "it is no JSON".to_owned())?;
    // SNS around either of the others, once.
    match text(&body, "Type") {
        Some("Notification") if body.get("Message").is_some() => {
            let inner = text(&body, "Message").ok_or("a message of SNS that is no text")?;
            let inner: Value =
                serde_json::from_str(inner).map_err(|_| "a message of SNS whose text is no JSON".to_owned())?;
            plain(&inner)
        }
        Some(other @ ("SubscriptionConfirmation" | "UnsubscribeConfirmation")) => {
            Err(format!("{other} of SNS: its subscription is not confirmed, so no event comes that way; confirm it"))
        }
        _ => plain(&body),
    }
}

fn plain(body: &Value) -> Result<Vec<Record>, String> {
    if !body.is_object() {
        return Err("it is no JSON object".into());
    }
    if let Some(records) = body.get("Records") {
        let records = records.as_array().filter(|records| !records.is_empty());
        let records = records.ok_or("a notification without records")?;
        return records.iter().map(of_s3).collect();
    }
    // What S3 sends when a notification is configured.
    if text(body, "Event") == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    if body.get("detail-type").is_some() {
        return of_event_bridge(body).map(|record| vec![record]);
    }
    if body.get("bucket").is_some() && body.get("object").is_some() {
        return Err(
            "an event of EventBridge without its envelope, and so without its time: take the input transformer or \
                    input path off the rule's target"
                .into(),
        );
    }
    Err("neither a notification of S3 nor an event of EventBridge".into())
}

/// A record of S3's own format.
fn of_s3(record: &Value) -> Result<Record, String> {
    let source = text(record, "eventSource").unwrap_or_default();
    if source != "aws:s3" {
        return Err(format!("a record of {}, not of S3", shown(source)));
    }
    // Within a major version fields are only added.
    let version = text(record, "eventVersion").unwrap_or_default();
    if version.split('.').next() != Some(MAJOR) {
        return Err(format!("a record in version {} of S3's format; {MAJOR} is understood", shown(version)));
    }
    let name = text(record, "eventName").ok_or("a record without eventName")?;
    let object = record.get("s3").and_then(|s3| s3.get("object"));
    let bucket = record.get("s3").and_then(|s3| s3.get("bucket")).and_then(|bucket| text(bucket, "name"));
    let key = object.and_then(|object| text(object, "key")).ok_or("a record without the key of an object")?;
    let key = form_decoded(key).ok_or_else(|| format!("the key {} is not encoded as S3 does it", shown(key)))?;
    Ok(Record {
        name: name.strip_prefix("s3:").unwrap_or(name).to_owned(),
        bucket: bucket.ok_or("a record without the name of a bucket")?.to_owned(),
        key: fit(key)?,
        at: instant(text(record, "eventTime"), false)?,
        order: object.and_then(|object| text(object, "sequencer")).map(str::to_owned),
    })
}

/// An event in the envelope of EventBridge.
fn of_event_bridge(event: &Value) -> Result<Record, String> {
    let source = text(event, "source").unwrap_or_default();
    if source != "aws.s3" {
        return Err(format!("an event of {}, not of S3: narrow the rule to source aws.s3", shown(source)));
    }
    let name = text(event, "detail-type").ok_or("an event whose detail-type is no text")?;
    let detail = event.get("detail");
    let object = detail.and_then(|detail| detail.get("object"));
    let bucket = detail.and_then(|detail| detail.get("bucket")).and_then(|bucket| text(bucket, "name"));
    let (Some(bucket), Some(object)) = (bucket, object) else {
        return Err(format!(
            "an event {} without bucket and object: narrow the rule to the events of objects",
            shown(name)
        ));
    };
    Ok(Record {
        name: name.to_owned(),
        bucket: bucket.to_owned(),
        key: fit(text(object, "key").ok_or("an event without the key of its object")?.to_owned())?,
        at: instant(text(event, "time"), true)?,
        order: text(object, "sequencer").map(str::to_owned),
    })
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// A text of somebody else's, fit for a sentence.
fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

fn fit(key: String) -> Result<String, String> {
    match key.len() {
        0 => Err("an event with an empty key".into()),
        1..=LONGEST_KEY => Ok(key),
        more => Err(format!("an event with a key of {more} bytes; S3 has none of more than {LONGEST_KEY}")),
    }
}

/// When it was. EventBridge keeps seconds, rounded nobody knows how (S3-19), and so does a time without a fraction.
fn instant(text: Option<&str>, seconds: bool) -> Result<SourceTime, String> {
    let text = text.ok_or("an event without its time")?;
    let parsed = aws_smithy_types::DateTime::from_str(text, Format::DateTimeWithOffset);
    let at = parsed.ok().and_then(|at| at.to_millis().ok()).map(SourceTime);
    let at = at.ok_or_else(|| format!("an event whose time is {}", shown(text)))?;
    Ok(match seconds || !text.contains('.') {
        true => SourceTime(at.floor_to_second().0 - SECOND),
        false => at,
    })
}

/// `red+flower%2B.jpg` of `red flower+.jpg`. `None`: an escape that is none, or bytes that are no UTF-8, which no key is.
fn form_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
