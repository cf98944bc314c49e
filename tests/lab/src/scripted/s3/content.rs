//! The bytes of an object: held as they came in, or declared with a length only, and their digest.
//!
//! Real bytes are kept in the frames in which they came, so that a body of 64 MiB is never copied. Declared bytes repeat
//! a short block made from a seed; everything about them is true (a range, a checksum, a GET) without their being held,
//! so that an object of 5 GiB and one of 50 TiB cost nothing.

use crate::scripted::rng::Rng;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum_combine};
use sha2::{Digest as _, Sha256};

/// The length of the block that declared bytes repeat.
const BLOCK: u64 = 64 << 10;

/// The polynomials whose checksums of parts can be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crc {
    Crc32,
    Crc32C,
    Crc64Nvme,
}

impl Crc {
    fn of(self) -> CrcAlgorithm {
        match self {
            Self::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
            Self::Crc32C => CrcAlgorithm::Crc32Iscsi,
            Self::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        }
    }

    fn joined(self, (a, _): (u64, u64), (b, b_len): (u64, u64)) -> u64 {
        if b_len == 0 { a } else { checksum_combine(self.of(), a, b, b_len) }
    }
}

/// What the bytes of an object are, whichever way they came: the same digest is the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BodyDigest {
    /// Bytes.
    pub size: u64,
    /// CRC-64/NVME of all of them.
    pub crc64: u64,
    /// CRC-32C of all of them.
    pub crc32c: u32,
}

impl BodyDigest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            size: bytes.len() as u64,
            crc64: crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes),
            crc32c: crc_fast::crc32_iscsi(bytes),
        }
    }

    /// 32 hexadecimal digits, where S3 has an MD5: nothing may compute with an ETag, and this is much cheaper.
    pub(super) fn etag(self) -> String {
        format!("{:016x}{:08x}{:08x}", self.crc64, self.crc32c, self.size & 0xffff_ffff)
    }

    /// The digest of these bytes followed by others.
    fn then(self, next: Self) -> Self {
        let crc32c = Crc::Crc32C.joined((self.crc32c.into(), self.size), (next.crc32c.into(), next.size));
        Self {
            size: self.size + next.size,
            crc64: Crc::Crc64Nvme.joined((self.crc64, self.size), (next.crc64, next.size)),
            crc32c: u32::try_from(crc32c).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Clone)]
enum Segment {
    Held(Bytes),
    /// `len` bytes of the endless repetition of `block`, from `from` on.
    Declared {
        block: Bytes,
        from: u64,
        len: u64,
    },
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Declared { len, .. } => *len,
        }
    }

    fn slice(&self, from: u64, to: u64) -> Self {
        match self {
            Self::Held(bytes) => Self::Held(bytes.slice(position(from)..position(to))),
            Self::Declared { block, from: start, .. } => {
                Self::Declared { block: block.clone(), from: (start + from) % BLOCK, len: to - from }
            }
        }
    }

    fn crc(&self, crc: Crc) -> u64 {
        match self {
            Self::Held(bytes) => crc_fast::checksum(crc.of(), bytes),
            Self::Declared { block, from, len } => repeated(crc, block, *from, *len),
        }
    }
}

/// The checksum of a piece of a repetition: its ragged ends, and the whole blocks between them by doubling.
fn repeated(crc: Crc, block: &Bytes, from: u64, len: u64) -> u64 {
    let head = ((BLOCK - from) % BLOCK).min(len);
    let (whole, tail) = ((len - head) / BLOCK, (len - head) % BLOCK);
    let piece = |a: u64, b: u64| crc_fast::checksum(crc.of(), &block[position(a)..position(b)]);
    let mut sum = (piece(from, from + head), head);
    let (mut power, mut left) = ((piece(0, BLOCK), BLOCK), whole);
    while left > 0 {
        if left & 1 == 1 {
            sum = (crc.joined(sum, power), sum.1 + power.1);
        }
        power = (crc.joined(power, power), power.1 * 2);
        left >>= 1;
    }
    crc.joined(sum, (piece(0, tail), tail))
}

/// An offset inside what is in memory.
fn position(at: u64) -> usize {
    usize::try_from(at).expect("what is in memory has offsets that fit")
}

/// The bytes of an object or of a part of one. A clone shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Content(Vec<Segment>);

impl Content {
    /// The frames of a body. A small one is copied: its frame may hold a buffer that is much larger.
    pub(super) fn of(frames: Vec<Bytes>) -> Self {
        let size: usize = frames.iter().map(Bytes::len).sum();
        if size as u64 <= BLOCK {
            let bytes = frames.concat();
            return Self(if bytes.is_empty() { Vec::new() } else { vec![Segment::Held(bytes.into())] });
        }
        Self(frames.into_iter().filter(|frame| !frame.is_empty()).map(Segment::Held).collect())
    }

    /// Bytes that are declared: `len` of them, made from `seed`.
    pub(super) fn declared(seed: u64, len: u64) -> Self {
        let mut rng = Rng::new(seed);
        let block: Vec<u8> = (0..BLOCK / 8).flat_map(|_| rng.next().to_le_bytes()).collect();
        Self(vec![Segment::Declared { block: block.into(), from: 0, len }])
    }

    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(Segment::len).sum()
    }

    pub(super) fn append(&mut self, next: &Self) {
        self.0.extend(next.0.iter().cloned());
    }

    /// The bytes from `from` to before `to`, without copying any.
    pub(super) fn slice(&self, from: u64, to: u64) -> Self {
        let mut at = 0;
        let mut out = Vec::new();
        for segment in &self.0 {
            let (start, end) = (at, at + segment.len());
            let (a, b) = (from.max(start), to.min(end));
            if a < b {
                out.push(segment.slice(a - start, b - start));
            }
            at = end;
        }
        Self(out)
    }

    pub(super) fn crc(&self, crc: Crc) -> u64 {
        let join = |sum: (u64, u64), part: &Segment| (crc.joined(sum, (part.crc(crc), part.len())), sum.1 + part.len());
        let empty = (crc_fast::checksum(crc.of(), b""), 0);
        self.0.iter().fold(empty, join).0
    }

    pub(super) fn digest(&self) -> BodyDigest {
        let part = |segment: &Segment| BodyDigest {
            size: segment.len(),
            crc64: segment.crc(Crc::Crc64Nvme),
            crc32c: u32::try_from(segment.crc(Crc::Crc32C)).unwrap_or_default(),
        };
        self.0.iter().fold(BodyDigest::default(), |sum, segment| sum.then(part(segment)))
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        let mut sha = Sha256::new();
        for frame in self.frames() {
            sha.update(&frame);
        }
        sha.finalize().into()
    }

    /// All bytes, frame by frame. Declared ones are the same block again and again.
    pub(super) fn frames(&self) -> Frames {
        Frames { rest: self.0.clone().into() }
    }
}

/// The frames of a content, one after the other.
#[derive(Debug)]
pub(super) struct Frames {
    rest: std::collections::VecDeque<Segment>,
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match self.rest.pop_front()? {
            Segment::Held(bytes) => Some(bytes),
            Segment::Declared { block, from, len } => {
                let now = (BLOCK - from).min(len);
                if now < len {
                    self.rest.push_front(Segment::Declared { block: block.clone(), from: 0, len: len - now });
                }
                Some(block.slice(position(from)..position(from + now)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_bytes_have_the_checksums_of_the_bytes_that_they_stand_for() {
        let declared = Content::declared(7, 3 * BLOCK + 1234);
        let held = Content::of(vec![declared.frames().flatten().collect::<Vec<u8>>().into()]);
        assert_eq!(declared.len(), held.len());
        assert_eq!(declared.digest(), held.digest());
        for (from, to) in
            [(0, 0), (5, 9), (1, BLOCK), (BLOCK - 1, BLOCK + 1), (100, 3 * BLOCK + 1000), (BLOCK, 2 * BLOCK)]
        {
            let (a, b) = (declared.slice(from, to), held.slice(from, to));
            assert_eq!(a.digest(), b.digest(), "{from}..{to}");
            assert_eq!(a.crc(Crc::Crc32), b.crc(Crc::Crc32), "{from}..{to}");
            assert_eq!(a.sha256(), b.sha256(), "{from}..{to}");
            assert_eq!(a.frames().map(|frame| frame.len() as u64).sum::<u64>(), to - from);
        }
    }

    #[test]
    fn parts_put_together_are_the_whole_however_they_were_cut() {
        let whole = Content::declared(1, 10 << 30);
        let mut again = Content::default();
        for (from, to) in [(0, 5 << 30), (5 << 30, (7 << 30) + 11), ((7 << 30) + 11, 10 << 30)] {
            again.append(&whole.slice(from, to));
        }
        assert_eq!(again.digest(), whole.digest());
        assert_ne!(whole.digest(), Content::declared(2, 10 << 30).digest());
        assert_eq!(Content::default().digest().etag().len(), 32);
        assert_eq!(Content::of(vec!["123456789".into()]).crc(Crc::Crc32), 0xcbf4_3926);
    }
}
