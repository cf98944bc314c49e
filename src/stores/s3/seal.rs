//! By what a copy in parts is checked from end to end: the checksum of the source's object, wherever S3 makes the same one
//! of parts (S3-F9). Pure.

use aws_sdk_s3::types::ChecksumType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::object::Checksum;

/// What an upload is checked by. Durable, within the note of the work under way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Seal {
    /// The algorithm of its parts, as in the API.
    pub(super) algorithm: Option<String>,
    /// S3 will make a checksum of the checksums of the parts, and they end where the source's do: they must be equal.
    pub(super) of_parts: bool,
    /// S3 will make a checksum of the whole, and it must be the source's.
    pub(super) whole: bool,
}

impl Seal {
    /// For a copy of an object with such a checksum; `kept`: in its own parts.
    pub(super) fn of(checksum: Option<&Checksum>, kept: bool) -> Self {
        let of = |algorithm: &str, of_parts, whole| Self { algorithm: Some(algorithm.to_owned()), of_parts, whole };
        match checksum {
            Some(c) if c.composite && kept && ["CRC32", "CRC32C", "SHA1", "SHA256"].contains(&c.algorithm) => {
                of(c.algorithm, true, false)
            }
            Some(c) if !c.composite && ["CRC64NVME", "CRC32", "CRC32C"].contains(&c.algorithm) => {
                of(c.algorithm, false, true)
            }
            // What S3 makes by default now.
            _ => of("CRC64NVME", false, false),
        }
    }

    /// S3 makes a checksum of the whole of parts, or one of those of the parts.
    pub(super) fn kind(&self) -> ChecksumType {
        if self.of_parts { ChecksumType::Composite } else { ChecksumType::FullObject }
    }

    /// What S3 says that it will make: where it is not what was asked for there is nothing to compare.
    pub(super) fn with_answer(mut self, composite: Option<bool>) -> Self {
        if composite == Some(true) {
            self.whole = false;
        } else if composite == Some(false) {
            self.of_parts = false;
        }
        self
    }

    /// The parts are not the source's, as far as we can make the checksum of their checksums: before anybody sees it.
    pub(super) fn belied<'a>(&self, source: Option<&Checksum>, parts: impl Iterator<Item = Option<&'a str>>) -> bool {
        let Some(source) = source.filter(|_| self.of_parts) else { return false };
        let raw: Option<Vec<Vec<u8>>> = parts.map(|part| STANDARD.decode(part?).ok()).collect();
        let Some(raw) = raw else { return false };
        let all = raw.concat();
        let value = match source.algorithm {
            "CRC32" => STANDARD.encode(crc32fast::hash(&all).to_be_bytes()),
            "CRC32C" => STANDARD.encode(crc32c(&all).to_be_bytes()),
            "SHA256" => STANDARD.encode(Sha256::digest(&all)),
            _ => return false,
        };
        number_off(&source.value) != value
    }

    /// The whole is not the source's, by what S3 says when it is complete.
    pub(super) fn belied_whole(&self, source: Option<&Checksum>, told: Option<&str>) -> bool {
        match (source.filter(|_| self.of_parts || self.whole), told) {
            (Some(source), Some(told)) => number_off(&source.value) != number_off(told),
            _ => false,
        }
    }
}

/// CRC-32C (Castagnoli), bit by bit: it is only ever asked of the checksums of parts, four bytes each.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
        (0..8).fold(sum ^ u32::from(*byte), step)
    })
}

/// Without the number of parts.
fn number_off(value: &str) -> &str {
    value.split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(algorithm: &'static str, value: &str, composite: bool) -> Checksum {
        Checksum { algorithm, value: value.into(), composite }
    }

    #[test]
    fn s3_f9_a_copy_in_parts_is_checked_by_the_sources_checksum_where_s3_makes_the_same() {
        let whole = Seal::of(Some(&checksum("CRC64NVME", "x", false)), false);
        assert!(whole.whole && !whole.of_parts && whole.kind() == ChecksumType::FullObject);
        let parts = Seal::of(Some(&checksum("SHA256", "x-2", true)), true);
        assert!(parts.of_parts && parts.kind() == ChecksumType::Composite);
        let lost = Seal::of(Some(&checksum("SHA256", "x-2", true)), false);
        assert_eq!((lost.algorithm.as_deref(), lost.of_parts, lost.whole), (Some("CRC64NVME"), false, false));
        let single = Seal::of(Some(&checksum("SHA256", "x", false)), false);
        assert_eq!((single.algorithm.as_deref(), single.whole), (Some("CRC64NVME"), false), "S3 makes none of parts");
        assert!(!whole.with_answer(Some(true)).whole, "S3 makes another one than was asked for");
    }

    #[test]
    fn crc32c_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn parts_that_are_not_the_sources_are_seen_before_they_are_completed() {
        let part = |bytes: &[u8]| STANDARD.encode(crc32fast::hash(bytes).to_be_bytes());
        let (a, b, c) = (part(b"a"), part(b"b"), part(b"c"));
        let all = [STANDARD.decode(&a).expect("a"), STANDARD.decode(&b).expect("b")].concat();
        let source = checksum("CRC32", &format!("{}-2", part(&all)), true);
        let seal = Seal::of(Some(&source), true);
        assert!(!seal.belied(Some(&source), [Some(a.as_str()), Some(b.as_str())].into_iter()));
        assert!(seal.belied(Some(&source), [Some(a.as_str()), Some(c.as_str())].into_iter()));
        assert!(!seal.belied(Some(&source), [Some(a.as_str()), None].into_iter()), "S3 did not say");
        assert!(seal.belied_whole(Some(&source), Some("AAAA-2")));
        assert!(!seal.belied_whole(Some(&source), Some(&source.value)));
        assert!(!seal.belied_whole(Some(&source), None));
    }
}
