//! Multipart uploads: begun, given parts, completed or aborted.

use super::bucket::{Bucket, BucketQuirks};
use super::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use super::content::{BodyDigest, Content};
use super::object::{Description, Part, Stored};
use crate::scripted::model::error::AwsError;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// An upload that is under way.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) begun: SystemTime,
    pub(super) about: Description,
    pub(super) algorithm: ChecksumAlgorithm,
    pub(super) kind: ChecksumKind,
    pub(super) parts: BTreeMap<u32, Part>,
}

/// A part that CompleteMultipartUpload names.
#[derive(Debug, Clone)]
pub(super) struct NamedPart {
    pub(super) number: u32,
    pub(super) etag: String,
    /// The checksum that the client says it has.
    pub(super) checksum: Option<String>,
}

pub(super) fn no_such_upload() -> AwsError {
    let words = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been \
                 aborted or completed.";
    AwsError::new(404, "NoSuchUpload", words)
}

impl Bucket {
    pub(super) fn upload(&mut self, id: &str, key: &str) -> Result<&mut Upload, AwsError> {
        self.uploads.get_mut(id).filter(|upload| upload.key == key).ok_or_else(no_such_upload)
    }
}

impl Upload {
    /// The object that the named parts make.
    ///
    /// # Errors
    /// What AWS answers to parts that are missing, out of order or too small.
    pub(super) fn assembled(&self, named: &[NamedPart], quirks: &BucketQuirks) -> Result<Stored, AwsError> {
        if named.is_empty() {
            return Err(AwsError::new(400, "MalformedXML", "The XML you provided was not well-formed"));
        }
        if !named.is_sorted_by(|a, b| a.number < b.number) {
            let words = "The list of parts was not in ascending order. Parts must be ordered by part number.";
            return Err(AwsError::new(400, "InvalidPartOrder", words));
        }
        let invalid = |why: &str| {
            let words = format!("One or more of the specified parts could not be found: {why}");
            AwsError::new(400, "InvalidPart", words)
        };
        let mut parts = Vec::with_capacity(named.len());
        for name in named {
            let part = self.parts.get(&name.number).ok_or_else(|| invalid("it was not uploaded"))?;
            if part.etag != name.etag.trim_matches('"') {
                return Err(invalid("the entity tag does not match"));
            }
            let kept = part.checksum.as_ref().map(|checksum| &checksum.value);
            if name.checksum.is_some() && name.checksum.as_ref() != kept {
                return Err(invalid("the checksum does not match"));
            }
            parts.push(part.clone());
        }
        let (_, but_last) = parts.split_last().ok_or_else(|| invalid("there is none"))?;
        if but_last.iter().any(|part| part.content.len() < quirks.min_part) {
            let words = "Your proposed upload is smaller than the minimum allowed size";
            return Err(AwsError::new(400, "EntityTooSmall", words));
        }
        let mut content = Content::default();
        parts.iter().for_each(|part| content.append(&part.content));
        let checksum = match self.kind {
            ChecksumKind::FullObject => Checksum::whole(self.algorithm, &content),
            ChecksumKind::Composite => Checksum::composed(self.algorithm, parts.iter().map(|part| &part.content)),
        };
        Ok(Stored {
            digest: content.digest(),
            content,
            etag: etag_of_parts(&parts),
            parts,
            checksum: Some(checksum),
            about: self.about.clone(),
            replication: None,
            restore: None,
        })
    }
}

/// As S3 has it: a digest of the digests of the parts, and how many they are.
fn etag_of_parts(parts: &[Part]) -> String {
    let joined: Vec<u8> = parts.iter().flat_map(|part| part.etag.bytes()).collect();
    let digest: BodyDigest = Content::of(vec![joined.into()]).digest();
    format!("{}-{}", digest.etag(), parts.len())
}

/// Makes an object one that was uploaded in parts of these sizes.
pub(super) fn cut(stored: &mut Stored, sizes: &[u64], algorithm: Option<ChecksumAlgorithm>, at: SystemTime) {
    let mut from = 0;
    for (nth, size) in sizes.iter().enumerate() {
        let content = stored.content.slice(from, from + size);
        from += size;
        let checksum = algorithm.map(|algorithm| Checksum::whole(algorithm, &content));
        let number = u32::try_from(nth + 1).unwrap_or(u32::MAX);
        let etag = content.digest().etag();
        stored.parts.push(Part { number, etag, content, checksum, at });
    }
    stored.etag = etag_of_parts(&stored.parts);
    stored.checksum = algorithm.map(|algorithm| match Checksum::kind_for(algorithm, None) {
        ChecksumKind::FullObject => Checksum::whole(algorithm, &stored.content),
        ChecksumKind::Composite => Checksum::composed(algorithm, stored.parts.iter().map(|part| &part.content)),
    });
}
