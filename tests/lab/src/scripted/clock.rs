//! The server's clock: real time plus or minus an offset that only a test moves.
//!
//! Commit stamps, shard ids, iterator ages, visibility delays and retention read this clock; answers that take time
//! (latency, delay faults) wait in real time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A wall clock that can be moved.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    offset_nanos: AtomicI64,
}

impl ServerClock {
    pub(crate) fn now(&self) -> SystemTime {
        let offset = self.offset_nanos.load(Ordering::SeqCst);
        let by = Duration::from_nanos(offset.unsigned_abs());
        if offset < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.offset_nanos.fetch_add(nanos(by), Ordering::SeqCst);
    }

    pub(crate) fn set_back(&self, by: Duration) {
        self.offset_nanos.fetch_sub(nanos(by), Ordering::SeqCst);
    }
}

fn nanos(by: Duration) -> i64 {
    i64::try_from(by.as_nanos()).expect("an offset of centuries is a mistake in the test")
}

/// Time since the epoch; zero for a time before it, which no clock here shows.
pub(crate) fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whole seconds since the epoch, rounded down, as AWS stamps stream records (DS-F12).
pub(crate) fn epoch_seconds(at: SystemTime) -> u64 {
    since_epoch(at).as_secs()
}

/// Milliseconds since the epoch, rounded down.
pub(crate) fn epoch_millis(at: SystemTime) -> u64 {
    u64::try_from(since_epoch(at).as_millis()).unwrap_or(u64::MAX)
}
