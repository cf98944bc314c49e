//! Where the parts of a long copy end (S3-5, S3-F8). Pure.
//!
//! An object that was written in parts keeps its boundaries, so that a checksum over those of the parts, or an ETag, can be
//! compared. Any other is cut evenly, into parts as large as configured, or larger when there would be too many.

use serde::{Deserialize, Serialize};

use super::hands::Limits;

/// How an object is cut. Durable, within the note of the work under way: fields keep their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cut {
    /// Parts of this size, and a rest.
    #[serde(rename = "even")]
    Even(u64),
    /// Parts of these sizes.
    #[serde(rename = "sizes")]
    Sizes(Vec<u64>),
}

/// One part: its number from 1, its first and its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Part {
    /// Bytes.
    pub(super) fn size(self) -> u64 {
        self.last - self.first + 1
    }
}

impl Cut {
    /// An even cut.
    pub(super) fn even(size: u64, part: u64, limits: &Limits) -> Self {
        let least = size.div_ceil(limits.parts).max(limits.part_least);
        // In whole MiB, so that a part of a large object is no odd number.
        let part = part.max(least.div_ceil(1 << 20) << 20).min(limits.part_most.max(least));
        Cut::Even(part)
    }

    /// The cut of an object of so many parts whose first is so large, if all but the last may be as large as the first.
    pub(super) fn kept(size: u64, count: u32, first: u64) -> Option<Self> {
        let count = u64::from(count);
        let full = first.checked_mul(count.checked_sub(1)?)?;
        (first > 0 && full < size && size <= full.checked_add(first)?).then_some(Cut::Even(first))
    }

    /// The parts of an object of that size.
    pub(super) fn parts(&self, size: u64) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut first = 0;
        let mut push = |bytes: u64| {
            let bytes = bytes.min(size - first);
            if bytes > 0 {
                let number = i32::try_from(parts.len() + 1).unwrap_or(i32::MAX);
                parts.push(Part { number, first, last: first + bytes - 1 });
                first += bytes;
            }
            first < size
        };
        match self {
            Cut::Even(part) => while *part > 0 && push(*part) {},
            Cut::Sizes(sizes) => sizes.iter().for_each(|bytes| {
                push(*bytes);
            }),
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn cover(cut: &Cut, size: u64) -> Vec<u64> {
        let parts = cut.parts(size);
        let mut next = 0;
        for (part, number) in parts.iter().zip(1..) {
            assert_eq!((part.first, part.number), (next, number));
            next = part.last + 1;
        }
        assert_eq!(next, size, "all of it is covered");
        parts.iter().map(|part| part.size()).collect()
    }

    #[test]
    fn s3_f8_an_even_cut_has_no_more_than_ten_thousand_parts_of_five_mib_to_five_gib() {
        let limits = Limits::default();
        assert_eq!(cover(&Cut::even(20 * MIB, 8 * MIB, &limits), 20 * MIB), [8 * MIB, 8 * MIB, 4 * MIB]);
        assert_eq!(cover(&Cut::even(11 * MIB, 1, &limits), 11 * MIB), [5 * MIB, 5 * MIB, MIB]);
        let five = 5 << 30;
        for size in [five - 1, five, five + 1, 50_000_000_000_000, 10_000 * 16 * MIB + 1] {
            let sizes = cover(&Cut::even(size, 16 * MIB, &limits), size);
            assert!(sizes.len() <= 10_000, "{size}: {}", sizes.len());
            assert!(sizes.iter().all(|part| *part <= limits.part_most));
            assert!(sizes.iter().rev().skip(1).all(|part| *part >= limits.part_least));
        }
    }

    #[test]
    fn s3_5_boundaries_are_kept_where_the_first_part_tells_them() {
        assert_eq!(Cut::kept(20 * MIB, 3, 8 * MIB), Some(Cut::Even(8 * MIB)));
        assert_eq!(Cut::kept(24 * MIB, 3, 8 * MIB), Some(Cut::Even(8 * MIB)));
        assert_eq!(Cut::kept(16 * MIB, 3, 8 * MIB), None, "two would do: they are uneven");
        assert_eq!(Cut::kept(25 * MIB, 3, 8 * MIB), None);
        assert_eq!(Cut::kept(3, 1, 3), Some(Cut::Even(3)), "a single part");
        assert_eq!(Cut::kept(3, 0, 3), None);
        assert_eq!(cover(&Cut::Sizes(vec![5, 7, 1]), 13), [5, 7, 1]);
    }
}
