//! An object as HEAD tells it, on either side.

use std::collections::BTreeMap;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumType;
use serde::Serialize;

use super::known::{Mark, bare};
use crate::change::SourceTime;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Object {
    /// Which.
    pub(super) mark: Mark,
    /// The checksum of all of it, if it has one.
    pub(super) checksum: Option<Checksum>,
    /// What the customer said of it.
    pub(super) headers: Headers,
    /// Metadata that HTTP cannot carry.
    pub(super) untold: u32,
    /// Its storage class; `None`: the standard one.
    pub(super) class: Option<String>,
    /// It lies in an archive and was not fetched from there.
    pub(super) archived: bool,
    /// How it is encrypted at rest: `AES256`, `aws:kms`, `aws:kms:dsse`.
    pub(super) encrypted: Option<String>,
    /// How many tags it has; `None`: HEAD did not say.
    pub(super) tags: Option<u32>,
    /// Retention and legal hold.
    pub(super) lock: Lock,
}

/// A checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksum {
    /// Its name, as in the API: `CRC64NVME`.
    pub(super) algorithm: &'static str,
    /// Base 64; `-N` behind it when composite.
    pub(super) value: String,
    /// It is of the checksums of the parts, and depends on where they end (S3-F9).
    pub(super) composite: bool,
}

/// What the customer said of an object: content headers and user metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Headers {
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    /// As it was written: it need not be a date.
    pub(super) expires: Option<String>,
    pub(super) redirect: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Retention and legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Lock {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub(super) mode: Option<String>,
    /// Until when.
    pub(super) until: Option<SourceTime>,
    /// It is on legal hold.
    pub(super) hold: bool,
}

/// What is carried over besides bytes and headers, and changes without a new object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Beside {
    /// Object tags; `None`: not carried.
    pub(super) tags: Option<BTreeMap<String, String>>,
    /// Grants, `who` to `permission`; `None`: not carried.
    pub(super) grants: Option<Vec<(String, String)>>,
    /// `None`: not carried.
    pub(super) lock: Option<Lock>,
    /// Annotations, name to ETag; `None`: not carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

/// Reads the checksum of any answer or part that has one.
macro_rules! checksum_of {
    ($from:expr) => {{
        let from = &$from;
        // The default first; an object has one, as a rule.
        [
            ("CRC64NVME", &from.checksum_crc64_nvme),
            ("CRC32C", &from.checksum_crc32_c),
            ("CRC32", &from.checksum_crc32),
            ("SHA256", &from.checksum_sha256),
            ("SHA1", &from.checksum_sha1),
            ("SHA512", &from.checksum_sha512),
            ("MD5", &from.checksum_md5),
            ("XXHASH128", &from.checksum_xxhash128),
            ("XXHASH3", &from.checksum_xxhash3),
            ("XXHASH64", &from.checksum_xxhash64),
        ]
        .into_iter()
        .find_map(|(algorithm, value)| Some((algorithm, value.clone()?)))
    }};
}
pub(super) use checksum_of;

/// Says a checksum in any request or part that takes one.
macro_rules! say_checksum {
    ($to:expr, $algorithm:expr, $value:expr) => {{
        let (to, value) = ($to, $value);
        match $algorithm {
            "CRC64NVME" => to.checksum_crc64_nvme(value),
            "CRC32C" => to.checksum_crc32_c(value),
            "CRC32" => to.checksum_crc32(value),
            "SHA256" => to.checksum_sha256(value),
            "SHA1" => to.checksum_sha1(value),
            "SHA512" => to.checksum_sha512(value),
            "MD5" => to.checksum_md5(value),
            "XXHASH128" => to.checksum_xxhash128(value),
            "XXHASH3" => to.checksum_xxhash3(value),
            "XXHASH64" => to.checksum_xxhash64(value),
            _ => to,
        }
    }};
}
pub(super) use say_checksum;

impl Object {
    /// From the answer of HeadObject.
    pub(super) fn read(answer: &HeadObjectOutput) -> Self {
        let composite = matches!(answer.checksum_type, Some(ChecksumType::Composite));
        let text = |words: Option<&str>| words.map(str::to_owned);
        Self {
            mark: Mark {
                etag: bare(answer.e_tag().unwrap_or_default()).to_owned(),
                version: text(answer.version_id()),
                size: answer.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                modified: instant(answer.last_modified()),
            },
            checksum: checksum_of!(answer).map(|(algorithm, value)| Checksum {
                algorithm,
                composite: composite || value.contains('-'),
                value,
            }),
            headers: Headers {
                cache_control: text(answer.cache_control()),
                content_disposition: text(answer.content_disposition()),
                content_encoding: text(answer.content_encoding()),
                content_language: text(answer.content_language()),
                content_type: text(answer.content_type()),
                expires: text(answer.expires_string()),
                redirect: text(answer.website_redirect_location()),
                metadata: answer.metadata().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            },
            untold: answer.missing_meta().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            class: answer.storage_class().map(|class| class.as_str().to_owned()),
            archived: archived(
                answer.storage_class().map(|class| class.as_str()),
                answer.archive_status().is_some(),
                answer.restore(),
            ),
            encrypted: answer.server_side_encryption().map(|how| how.as_str().to_owned()),
            tags: answer.tag_count().and_then(|n| u32::try_from(n).ok()),
            lock: Lock {
                mode: answer.object_lock_mode().map(|mode| mode.as_str().to_owned()),
                until: instant(answer.object_lock_retain_until_date()),
                hold: answer.object_lock_legal_hold_status().is_some_and(|status| status.as_str() == "ON"),
            },
        }
    }

    /// In how many parts it was written, as its ETag tells; `None`: in one go.
    pub(super) fn parts_of_etag(&self) -> Option<u32> {
        self.mark.etag.split_once('-')?.1.parse().ok().filter(|n| *n > 0)
    }

    /// Its ETag is a digest of its bytes (S3-F9): MD5, or MD5 over those of its parts. Not with a KMS key.
    pub(super) fn etag_tells(&self) -> bool {
        let plain = matches!(self.encrypted.as_deref(), None | Some("AES256"));
        let digest = self.mark.etag.split('-').next().unwrap_or_default();
        plain && digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit())
    }

    /// It is encrypted with a KMS key.
    pub(super) fn kms(&self) -> bool {
        self.encrypted.as_deref().is_some_and(|how| how.starts_with("aws:kms"))
    }
}

/// Whether it must be restored before it can be read. A restored copy says `ongoing-request="false"` as long as it lasts.
fn archived(class: Option<&str>, deep: bool, restore: Option<&str>) -> bool {
    let cold = deep || matches!(class, Some("GLACIER" | "DEEP_ARCHIVE"));
    cold && !restore.is_some_and(|words| words.contains("ongoing-request=\"false\""))
}

/// An instant of theirs.
pub(super) fn instant(time: Option<&aws_sdk_s3::primitives::DateTime>) -> Option<SourceTime> {
    time?.to_millis().ok().map(SourceTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_7_what_lies_in_an_archive_cannot_be_read_until_it_is_restored() {
        let restored = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"";
        assert!(archived(Some("GLACIER"), false, None));
        assert!(archived(Some("DEEP_ARCHIVE"), false, Some("ongoing-request=\"true\"")));
        assert!(!archived(Some("DEEP_ARCHIVE"), false, Some(restored)));
        assert!(archived(Some("INTELLIGENT_TIERING"), true, None));
        assert!(!archived(Some("INTELLIGENT_TIERING"), false, None));
        assert!(!archived(Some("GLACIER_IR"), false, None), "it is instant");
        assert!(!archived(None, false, None));
    }

    #[test]
    fn s3_f9_an_etag_tells_the_bytes_unless_a_kms_key_is_used() {
        let of = |etag: &str, encrypted: Option<&str>| Object {
            mark: Mark { etag: etag.into(), ..Mark::default() },
            encrypted: encrypted.map(str::to_owned),
            ..Object::default()
        };
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        assert!(of(md5, None).etag_tells());
        assert!(of(md5, Some("AES256")).etag_tells());
        assert!(of(&format!("{md5}-3"), None).etag_tells());
        assert!(!of(md5, Some("aws:kms")).etag_tells());
        assert!(!of("opaque", None).etag_tells());
        assert_eq!(of(&format!("{md5}-3"), None).parts_of_etag(), Some(3));
        assert_eq!(of(md5, None).parts_of_etag(), None);
    }

    #[test]
    fn a_checksum_of_parts_is_known_by_its_type_or_its_number() {
        let answer = HeadObjectOutput::builder().checksum_crc32("AAAAAA==-3").build();
        let checksum = Object::read(&answer).checksum.expect("a checksum");
        assert!(checksum.composite && checksum.algorithm == "CRC32");
        let answer = HeadObjectOutput::builder().checksum_crc64_nvme("AAAAAAAAAAA=").build();
        assert!(!Object::read(&answer).checksum.expect("a checksum").composite);
    }
}
