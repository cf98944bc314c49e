//! The canary object: one small object with a key of its own in the source, written again and again, each time with another
//! content. Its event proves that the way to us is open (S3-12, S3-13); where S3 itself replicates, its arrival in the standby
//! is a sample of how late that is (OB-3).
//!
//! - What it says stands in its body and not in its metadata: a rule or a copy may change or drop that, and a body that is
//!   read is the body that was written.
//! - An object that is no canary is never overwritten, and an older canary never replaces a newer one, however late its
//!   request lands: it is written on the condition that what was read is still there.
//! - In a versioned bucket each canary leaves a version behind: a lifecycle rule for its key ends those.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize};

use super::Bucket;
use crate::change::{Class, SourceTime};
use crate::stores::StoreError;
use crate::stores::observe::{Beat, SeenBeat};

/// What the body of a canary says about itself.
const CANARY: &str = "canary";
/// A body that is longer is no canary's.
const LONGEST: i64 = 1024;

/// The body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    plimsoll: String,
    by: Arc<str>,
    seq: u64,
    at: i64,
}

/// The text of a canary.
fn text(beat: &Beat) -> String {
    let body = Body { plimsoll: CANARY.into(), by: Arc::clone(&beat.by), seq: beat.seq, at: beat.at.0 };
    serde_json::to_string(&body).unwrap_or_default()
}

/// The canary of a text; `None`: it is none.
fn beat_of(text: &[u8]) -> Option<SeenBeat> {
    let body: Body = serde_json::from_slice(text).ok()?;
    (body.plimsoll == CANARY).then_some(Beat { by: body.by, seq: body.seq, at: SourceTime(body.at) })
}

/// What stands under the key of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Nothing,
    /// A canary.
    Canary {
        /// What it says.
        beat: SeenBeat,
        etag: String,
    },
    /// Somebody's object.
    Other,
}

/// Where a canary stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Perch<'a> {
    pub(super) client: &'a Client,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    /// For a human: `source bucket photos`.
    pub(super) on: &'a str,
}

impl Perch<'_> {
    /// What is there.
    pub(super) async fn read(&self) -> Result<Standing, StoreError> {
        let call = "GetObject of the canary";
        let answer = match self.client.get_object().bucket(self.bucket).key(self.key).send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => {
                return Ok(Standing::Nothing);
            }
            Err(error) => return Err(StoreError::of_call(&error, false, call, self.on)),
        };
        if answer.content_length().is_none_or(|length| length > LONGEST) {
            return Ok(Standing::Other);
        }
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let body = answer.body.collect().await;
        let body = body.map_err(|e| StoreError::new(Class::Unavailable, call, self.on).because(e))?;
        Ok(beat_of(&body.into_bytes()).map_or(Standing::Other, |beat| Standing::Canary { beat, etag }))
    }

    /// Writes a canary there, unless something newer or something else is there.
    pub(super) async fn write(&self, beat: &Beat) -> Result<(), StoreError> {
        let call = "PutObject of the canary";
        let body = ByteStream::from(text(beat).into_bytes());
        let put = self.client.put_object().bucket(self.bucket).key(self.key);
        let put = put.content_type("application/json").body(body);
        let put = match self.read().await? {
            Standing::Nothing => put.if_none_match("*"),
            // Sent twice, or overtaken by a newer one: it is there.
            Standing::Canary { beat: stands, .. } if stands.by == beat.by && stands.seq >= beat.seq => return Ok(()),
            Standing::Canary { etag, .. } => put.if_match(etag),
            Standing::Other => {
                return Err(StoreError::new(Class::Invalid, call, self.on).hint(
                    "an object that is no canary stands under its key; set canary_key to a key that nobody uses",
                ));
            }
        };
        let Err(error) = put.send().await else { return Ok(()) };
        let code = aws_smithy_types::error::metadata::ProvideErrorMetadata::code(&error);
        if matches!(code, Some("PreconditionFailed" | "ConditionalRequestConflict")) {
            // A request of an earlier time, or another daemon, was there first. The next canary looks again.
            return Err(StoreError::new(Class::Unavailable, call, self.on)
                .because("another canary was written in the same moment".to_owned()));
        }
        Err(StoreError::of_call(&error, true, call, self.on))
    }
}

impl Bucket {
    /// Writes the canary in the source.
    pub(super) async fn write_canary(&self, beat: &Beat) -> Result<(), StoreError> {
        let on = format!("source bucket {}", self.settings.bucket);
        let Some(key) = &self.settings.canary_key else {
            return Err(StoreError::new(Class::Invalid, "PutObject of the canary", on).hint("set canary_key"));
        };
        Perch { client: &self.source, bucket: &self.settings.bucket, key, on: &on }.write(beat).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat() -> Beat {
        Beat { by: "me".into(), seq: 7, at: SourceTime(1_795_502_767_123) }
    }

    #[test]
    fn a_canary_reads_back_and_each_is_another() {
        assert_eq!(beat_of(text(&beat()).as_bytes()), Some(beat()));
        assert_eq!(text(&beat()), r#"{"plimsoll":"canary","by":"me","seq":7,"at":1795502767123}"#);
        assert_ne!(text(&beat()), text(&Beat { seq: 8, ..beat() }));
    }

    #[test]
    fn what_somebody_else_wrote_is_no_canary() {
        for other in [
            "",
            "{}",
            "hello",
            r#"{"plimsoll":"other","by":"me","seq":7,"at":1}"#,
            r#"{"plimsoll":"canary","by":"me","seq":-7,"at":1}"#,
            r#"{"plimsoll":"canary","by":"me","seq":7,"at":1,"more":1}"#,
            r#"{"plimsoll":"canary","by":"me","seq":7}"#,
        ] {
            assert_eq!(beat_of(other.as_bytes()), None, "{other}");
        }
    }
}
