//! What is stored under a key: versions, delete markers, and everything about a body that is not the body.

use super::checksum::Checksum;
use super::content::{BodyDigest, Content};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The version id of an object that was written while versioning was off or suspended.
pub const NULL_VERSION: &str = "null";

/// How an object is encrypted at rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encryption {
    /// `AES256`, `aws:kms`, `aws:kms:dsse`; of an SSE-C object empty.
    pub algorithm: String,
    /// The KMS key, when the algorithm has one.
    pub kms_key: Option<String>,
    /// A bucket key is used.
    pub bucket_key: bool,
    /// The object was written with a key of the customer's: nobody reads it without.
    pub customer_key: Option<String>,
}

/// Retention and legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub mode: Option<String>,
    /// As it came: an RFC 3339 instant.
    pub until: Option<String>,
    /// `ON` or `OFF`.
    pub legal_hold: Option<String>,
}

/// What a writer says about a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// Content headers in small letters: `content-type`, `cache-control`, ..., `x-amz-website-redirect-location`.
    pub headers: BTreeMap<String, String>,
    /// User metadata without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// Object tags.
    pub tags: BTreeMap<String, String>,
    /// `STANDARD`, `GLACIER`, ...
    pub storage_class: String,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// Retention and legal hold.
    pub lock: Lock,
    /// The access control list as XML grants or a canned name; `None`: private.
    pub acl: Option<String>,
    /// Annotations by name.
    pub annotations: BTreeMap<String, String>,
}

/// A part of a multipart object, as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) content: Content,
    pub(super) etag: String,
    pub(super) checksum: Option<Checksum>,
    pub(super) at: SystemTime,
}

/// A body and all that is said about it.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) content: Content,
    pub(super) digest: BodyDigest,
    /// Without quotes.
    pub(super) etag: String,
    /// The parts of a multipart object, in their order; none otherwise.
    pub(super) parts: Vec<Part>,
    pub(super) checksum: Option<Checksum>,
    pub(super) about: Description,
    /// What `x-amz-replication-status` says.
    pub(super) replication: Option<String>,
    /// What `x-amz-restore` says; an archived object with `ongoing-request="false"` can be read.
    pub(super) restore: Option<String>,
}

impl Stored {
    /// The object cannot be read before it is restored.
    pub(super) fn archived(&self) -> bool {
        let cold = matches!(self.about.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE" | "ARCHIVED");
        cold && !self.restore.as_deref().is_some_and(|restore| restore.contains("ongoing-request=\"false\""))
    }

    pub(super) fn view(&self) -> ObjectView {
        ObjectView {
            body: self.digest,
            etag: self.etag.clone(),
            parts: self.parts.len(),
            checksum: self.checksum.clone(),
            about: self.about.clone(),
        }
    }
}

/// What an object is, as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectView {
    /// Its bytes.
    pub body: BodyDigest,
    /// Without quotes.
    pub etag: String,
    /// Parts of a multipart object; 0 otherwise.
    pub parts: usize,
    /// The checksum that is kept with it.
    pub checksum: Option<Checksum>,
    /// What is said about it.
    pub about: Description,
}

/// One version of a key.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: Arc<str>,
    pub(super) at: SystemTime,
    /// `None`: a delete marker.
    pub(super) stored: Option<Arc<Stored>>,
}

/// A version of a key, as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionView {
    /// Its id; "null" without versioning.
    pub id: String,
    /// LastModified.
    pub at: SystemTime,
    /// `None`: a delete marker.
    pub object: Option<ObjectView>,
}
