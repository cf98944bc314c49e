//! What is passed in and never reached for: the clock and identifiers.
//!
//! Simulation stays honest only if no code asks the operating system behind its back; `clippy.toml` forbids the
//! shortcuts. This file is the one place that may take them.
#![expect(clippy::disallowed_methods, reason = "the seams end at the operating system")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;

use crate::change::Stamp;

/// Time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now, on both clocks.
    fn now(&self) -> Stamp;
    /// Returns after `d` of monotonic time.
    async fn sleep(&self, d: Duration);
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks, sleeping on tokio's timer.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic zero is now.
    pub fn shared() -> SharedClock {
        Arc::new(Self { start: Instant::now() })
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        Stamp::new(SystemTime::now(), self.start.elapsed())
    }
    async fn sleep(&self, d: Duration) {
        tokio::time::sleep(d).await;
    }
}

/// Tokio's own clock, for simulations under `tokio::time::pause`: monotonic time is tokio's, the wall starts at a given
/// instant and goes with it.
#[derive(Debug)]
pub struct TokioClock {
    start: tokio::time::Instant,
    wall: SystemTime,
}

impl TokioClock {
    /// A clock whose wall shows `wall` now.
    pub fn shared(wall: SystemTime) -> SharedClock {
        Arc::new(Self { start: tokio::time::Instant::now(), wall })
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Stamp {
        let mono = self.start.elapsed();
        Stamp::new(self.wall + mono, mono)
    }
    async fn sleep(&self, d: Duration) {
        tokio::time::sleep(d).await;
    }
}

/// `future`, or `None` after `d` of the given clock.
pub async fn timeout<T>(clock: &dyn Clock, d: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        out = future => Some(out),
        () = clock.sleep(d) => None,
    }
}

/// Identifiers and secrets.
pub trait Ids: Send + Sync {
    /// 128 fresh bits.
    fn fresh(&self) -> [u8; 16];

    /// A fresh identifier: 26 characters of Crockford base 32, fit for URLs.
    fn id(&self) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut bits = u128::from_be_bytes(self.fresh());
        let mut text = vec![b'0'; 26];
        for slot in text.iter_mut().rev() {
            *slot = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        String::from_utf8(text).expect("the alphabet is ASCII")
    }
}

/// The operating system's randomness.
#[derive(Debug, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    fn fresh(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives randomness");
        bytes
    }
}
