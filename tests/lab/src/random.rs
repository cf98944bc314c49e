//! Seeded randomness: the same seed gives the same run, so that a failure can be repeated by its seed.
//!
//! SplitMix64: tiny, good enough to choose keys and pauses, no dependency. Not for secrets.

use std::time::Duration;

/// A seeded sequence of random numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent sequence for a part of a run, the same one for the same seed and label.
    pub fn fork(seed: u64, label: u64) -> Self {
        let mut parent = Self(seed ^ label.wrapping_mul(0xA24B_AED4_963E_E407));
        Self(parent.next())
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "an endless sequence is no iterator that a for loop should see")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias of the modulo is below 2^-32 for the bounds used here.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        let drawn = self.next() % bound as u64;
        usize::try_from(drawn).expect("less than a usize bound")
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A pause between the two bounds, for "at a random moment": the driver of a crash loop sleeps it, then kills.
    pub fn pause(&mut self, shortest: Duration, longest: Duration) -> Duration {
        shortest + longest.saturating_sub(shortest).mul_f64(self.unit())
    }

    /// Random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_its_forks_differ() {
        let mut a = Random::new(7);
        let mut b = Random::new(7);
        assert_eq!((a.next(), a.bytes(5)), (b.next(), b.bytes(5)));
        assert_ne!(Random::fork(7, 1).next(), Random::fork(7, 2).next());
        assert_eq!(Random::fork(7, 1).next(), Random::fork(7, 1).next());
    }

    #[test]
    fn pauses_and_numbers_stay_in_their_bounds() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            let pause = random.pause(Duration::from_millis(10), Duration::from_millis(20));
            assert!((10..=20).contains(&pause.as_millis()));
            assert!(random.below(3) < 3);
            assert!((0.0..1.0).contains(&random.unit()));
        }
        assert_eq!(random.below(0), 0);
    }
}
