//! What a `[[store]]` of kind `s3` says: the buckets, the queue, how objects are carried over, and the numbers its proofs
//! rest on.

use std::time::Duration;

use crate::stores::converge::Tempo;

/// How bytes get to the standby bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// `server-side`, and `stream` where the standby cannot see the source bucket.
    Auto,
    /// S3 copies: CopyObject, UploadPartCopy.
    ServerSide,
    /// They go through us: GetObject, PutObject, UploadPart.
    Stream,
}

/// Which versions are carried over (S3-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The one that is current.
    Current,
    /// Each, in the order of the source.
    History,
}

/// What is carried over besides the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carry {
    /// Object tags.
    pub tags: bool,
    /// The access control list, as grants by canonical id.
    pub acl: bool,
    /// Retention and legal hold.
    pub lock: bool,
    /// Annotations (only `server-side` can copy them).
    pub annotations: bool,
    /// The storage class in the standby; `None`: the source's.
    pub storage_class: Option<String>,
    /// The key of the standby for objects that are encrypted with a KMS key in the source; `None`: the bucket's default.
    pub kms_key: Option<String>,
}

/// One bucket and its standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket in the primary region.
    pub bucket: String,
    /// The bucket in the standby region.
    pub standby_bucket: String,
    /// Only keys that start like this; empty: all.
    pub prefix: String,
    /// The event queue, in the standby region.
    pub queue_url: String,
    /// What the event queue gives up.
    pub dead_letter_url: Option<String>,
    /// How bytes get there.
    pub transfer: Transfer,
    /// Which versions.
    pub versions: Versions,
    /// What besides the bytes.
    pub carry: Carry,
    /// Classes of objects that need not be carried over (S3-7): `archived`, `sse-c`.
    pub exclude: Vec<String>,
    /// The key of the canary object; `None`: none.
    pub canary_key: Option<String>,
    /// The size of a part of a long copy, bytes, unless the source's own boundaries are kept.
    pub part_size: u64,
    /// Bytes of objects that go through us at one time, at most.
    pub memory: u64,
    /// A request without a body of its own is given up after this.
    pub attempt_timeout: Duration,
    /// A request that carries or copies bytes is given up after this.
    pub transfer_timeout: Duration,
    /// The numbers of the spine.
    pub tempo: Tempo,
}
