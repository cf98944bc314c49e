//! Provenance: which state of the source made which object of the standby (S3-2). It is what the index remembers of a key
//! that is the same on both ends, and never stands in the customer's metadata or tags.
//!
//! A durable format: fields are added with a default and never change their meaning.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::change::SourceTime;

/// What [`Same::known`](crate::stores::converge::Same::known) holds for a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The source's object that was looked at last.
    pub(super) source: Mark,
    /// The standby's that was made of it.
    pub(super) target: Mark,
    /// Digest of content headers and user metadata.
    pub(super) headers: String,
    /// Digest of what is carried besides and can change without a new object: tags, access list, lock.
    pub(super) beside: String,
    /// In `history`: which version of the source is which of the standby, oldest first, the newest thousand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) versions: Vec<Pair>,
    /// In `history`: what is current in the source is a delete marker; the marks are of the newest object below it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
}

/// An object, as far as a listing and a HEAD agree on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Its ETag, without quotes.
    pub(super) etag: String,
    /// Its version; none where the bucket was never versioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// Bytes.
    pub(super) size: u64,
    /// When it was made, whole seconds: HEAD says no more. `None`: nobody said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) modified: Option<SourceTime>,
}

/// A version of the source and what it became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pair {
    /// The source's version.
    pub(super) source: String,
    /// The standby's.
    pub(super) target: String,
}

impl Known {
    /// As it was written; `None` if it was not by us, or by another that is to come: the key is compared as unknown then.
    pub(super) fn read(body: &Value) -> Option<Self> {
        Known::deserialize(body).ok()
    }

    /// As it is written.
    pub(super) fn written(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

impl Mark {
    /// Whether a listing shows this very object. A plain listing has no version; what is not said is not compared.
    pub(super) fn matches_listing(
        &self,
        etag: &str,
        size: u64,
        modified: Option<SourceTime>,
        version: Option<&str>,
    ) -> bool {
        let time = match (self.modified, modified) {
            (Some(ours), Some(theirs)) => ours.floor_to_second() == theirs.floor_to_second(),
            _ => true,
        };
        let same_version = match (self.version.as_deref(), version) {
            (Some(ours), Some(theirs)) => ours == theirs,
            // What a bucket held before it was versioned is called `null` later.
            (None, Some(theirs)) => theirs == "null",
            (_, None) => true,
        };
        self.etag == bare(etag) && self.size == size && time && same_version
    }

    /// The same, of an object that was looked at.
    pub(super) fn is(&self, other: &Mark) -> bool {
        let version = other.version.as_deref().unwrap_or("null");
        self.matches_listing(&other.etag, other.size, other.modified, Some(version))
            && self.version.as_deref().unwrap_or("null") == version
    }
}

/// An ETag without its quotes.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        let (etag, version) = ("e1".to_owned(), Some("v1".to_owned()));
        Mark { etag, version, size: 7, modified: Some(SourceTime(5_000)) }
    }

    #[test]
    fn s3_2_a_listing_shows_the_object_or_another_one() {
        assert!(mark().matches_listing("\"e1\"", 7, Some(SourceTime(5_999)), None), "milliseconds are not compared");
        assert!(mark().matches_listing("e1", 7, None, Some("v1")));
        assert!(!mark().matches_listing("e2", 7, None, None));
        assert!(!mark().matches_listing("e1", 8, None, None));
        assert!(!mark().matches_listing("e1", 7, Some(SourceTime(6_000)), None), "the same bytes, written again");
        assert!(!mark().matches_listing("e1", 7, None, Some("v2")));
    }

    #[test]
    fn an_object_from_before_versioning_is_the_null_version() {
        let old = Mark { version: None, ..mark() };
        assert!(old.is(&Mark { version: Some("null".into()), ..mark() }));
        assert!(Mark { version: Some("null".into()), ..mark() }.is(&old));
        assert!(!old.is(&mark()) && !mark().is(&old));
    }

    #[test]
    fn the_durable_form_is_this_one() {
        let known = Known {
            source: mark(),
            target: Mark { version: None, modified: None, ..mark() },
            headers: "h".into(),
            beside: "b".into(),
            versions: Vec::new(),
            deleted: false,
        };
        let text = r#"{"beside":"b","headers":"h","source":{"etag":"e1","modified":5000,"size":7,"version":"v1"},"target":{"etag":"e1","size":7}}"#;
        assert_eq!(known.written().expect("written").to_string(), text);
        assert_eq!(Known::read(&serde_json::from_str(text).expect("text")), Some(known));
        assert_eq!(Known::read(&serde_json::json!({"etag": 1})), None);
    }
}
