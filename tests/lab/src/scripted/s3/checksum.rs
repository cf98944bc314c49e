//! Checksums as S3 keeps them: which algorithm, of the whole object or composed of its parts.

use super::content::{Content, Crc};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The algorithms that the server computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32.
    Crc32,
    /// CRC-32C.
    Crc32C,
    /// CRC-64/NVME: what S3 adds when the client gives none.
    Crc64Nvme,
    /// SHA-256.
    Sha256,
}

impl ChecksumAlgorithm {
    pub(super) const ALL: [Self; 4] = [Self::Crc32, Self::Crc32C, Self::Crc64Nvme, Self::Sha256];

    /// As the API names it: `CRC64NVME`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32C => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha256 => "SHA256",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32C => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The member of an answer's XML: `ChecksumCRC64NVME`.
    pub(super) fn member(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32C => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha256 => "ChecksumSHA256",
        }
    }

    fn raw(self, content: &Content) -> Vec<u8> {
        let short = |crc| u32::try_from(content.crc(crc)).unwrap_or_default().to_be_bytes().to_vec();
        match self {
            Self::Crc32 => short(Crc::Crc32),
            Self::Crc32C => short(Crc::Crc32C),
            Self::Crc64Nvme => content.crc(Crc::Crc64Nvme).to_be_bytes().to_vec(),
            Self::Sha256 => content.sha256().to_vec(),
        }
    }
}

/// Of what a checksum is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChecksumKind {
    /// The bytes of the object.
    FullObject,
    /// The checksums of its parts.
    Composite,
}

impl ChecksumKind {
    /// As the API names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

/// A checksum of an object or of a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum {
    /// Which.
    pub algorithm: ChecksumAlgorithm,
    /// Of what.
    pub kind: ChecksumKind,
    /// Base64; a composite one ends in `-` and the number of parts.
    pub value: String,
}

impl Checksum {
    pub(super) fn whole(algorithm: ChecksumAlgorithm, content: &Content) -> Self {
        Self { algorithm, kind: ChecksumKind::FullObject, value: STANDARD.encode(algorithm.raw(content)) }
    }

    /// The checksum of the checksums of the parts.
    pub(super) fn composed<'a>(algorithm: ChecksumAlgorithm, parts: impl Iterator<Item = &'a Content>) -> Self {
        let raws: Vec<Vec<u8>> = parts.map(|part| algorithm.raw(part)).collect();
        let joined = raws.concat();
        let value = match algorithm {
            ChecksumAlgorithm::Sha256 => STANDARD.encode(Sha256::digest(&joined)),
            other => STANDARD.encode(other.raw(&Content::of(vec![joined.into()]))),
        };
        Self { algorithm, kind: ChecksumKind::Composite, value: format!("{value}-{}", raws.len()) }
    }

    /// What S3 makes of parts: a CRC of the whole can be put together from theirs, a SHA cannot.
    pub(super) fn kind_for(algorithm: ChecksumAlgorithm, asked: Option<&str>) -> ChecksumKind {
        match (algorithm, asked) {
            (ChecksumAlgorithm::Crc64Nvme, _) => ChecksumKind::FullObject,
            (ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32C, Some("FULL_OBJECT")) => ChecksumKind::FullObject,
            _ => ChecksumKind::Composite,
        }
    }
}
