//! Capacity units: what a call costs, what a table has used, and an optional limit that throttles.
//!
//! Units are DynamoDB's (Developer Guide, "Read and write operations"): a read costs one unit for each 4 KB begun and
//! half of it when it is eventually consistent; a write costs one unit for each KB begun of the larger of the item
//! before and after. Index writes are not counted. A limit is a token bucket on the server's clock: a call is let in
//! while anything is left and may overdraw it, as a page of a scan does on AWS; later calls wait until it is paid.

use super::error::AwsError;
use std::time::{Duration, SystemTime};

/// A limit of a table's capacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CapacityLimit {
    /// Read units a second; `None` is no limit.
    pub read: Option<f64>,
    /// Write units a second; `None` is no limit.
    pub write: Option<f64>,
    /// How much unused capacity is kept (300 s on AWS). A new limit begins with all of it.
    pub burst: Duration,
}

/// What a table has used since it was made, over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Consumed {
    /// Read units.
    pub read: f64,
    /// Write units.
    pub write: f64,
    /// Reads that were throttled: calls, and keys of batches.
    pub throttled_reads: u64,
    /// Writes that were throttled: calls, and entries of batches.
    pub throttled_writes: u64,
}

#[derive(Debug)]
struct Bucket {
    rate: f64,
    full: f64,
    left: f64,
    at: SystemTime,
}

impl Bucket {
    fn new(rate: f64, burst: Duration, now: SystemTime) -> Self {
        // Less than one unit would let nothing in for ever.
        let full = (rate * burst.as_secs_f64()).max(1.0);
        Self { rate, full, left: full, at: now }
    }

    fn lets_in(&mut self, now: SystemTime) -> bool {
        if let Ok(passed) = now.duration_since(self.at) {
            self.left = (self.left + passed.as_secs_f64() * self.rate).min(self.full);
            self.at = now;
        }
        self.left > 0.0
    }
}

/// The capacity of one table.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    limit: Option<CapacityLimit>,
    read: Option<Bucket>,
    write: Option<Bucket>,
    used: Consumed,
}

impl Meter {
    pub(crate) fn set_limit(&mut self, limit: Option<CapacityLimit>, now: SystemTime) {
        let bucket = |rate: Option<f64>, burst| rate.map(|rate| Bucket::new(rate, burst, now));
        self.read = limit.and_then(|limit| bucket(limit.read, limit.burst));
        self.write = limit.and_then(|limit| bucket(limit.write, limit.burst));
        self.limit = limit;
    }

    pub(crate) fn limit(&self) -> Option<CapacityLimit> {
        self.limit
    }

    pub(crate) fn limits_writes(&self) -> bool {
        self.write.is_some()
    }

    pub(crate) fn used(&self) -> Consumed {
        self.used
    }

    pub(crate) fn lets_read(&mut self, now: SystemTime) -> bool {
        let lets = self.read.as_mut().is_none_or(|bucket| bucket.lets_in(now));
        self.used.throttled_reads += u64::from(!lets);
        lets
    }

    pub(crate) fn lets_write(&mut self, now: SystemTime) -> bool {
        let lets = self.write.as_mut().is_none_or(|bucket| bucket.lets_in(now));
        self.used.throttled_writes += u64::from(!lets);
        lets
    }

    /// Pays for a read that was let in.
    pub(crate) fn charge_read(&mut self, units: f64) {
        self.used.read += units;
        if let Some(bucket) = &mut self.read {
            bucket.left -= units;
        }
    }

    /// Pays for a write that was let in.
    pub(crate) fn charge_write(&mut self, units: f64) {
        self.used.write += units;
        if let Some(bucket) = &mut self.write {
            bucket.left -= units;
        }
    }
}

/// What a table says when its capacity is used up.
pub(crate) fn throttled() -> AwsError {
    AwsError::new(
        400,
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
         provisioning level with the UpdateTable API.",
    )
}

fn blocks(bytes: usize, block: usize) -> f64 {
    let blocks = bytes.div_ceil(block).max(1);
    f64::from(u32::try_from(blocks).expect("no answer is larger than some megabytes"))
}

/// Units of reading `bytes`: the sum of a page of a scan, or one item. Finding nothing costs as much as one byte.
pub(crate) fn read_units(bytes: usize, consistent: bool) -> f64 {
    blocks(bytes, 4096) * if consistent { 1.0 } else { 0.5 }
}

/// Units of a write whose larger image has `bytes`.
pub(crate) fn write_units(bytes: usize) -> f64 {
    blocks(bytes, 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn units_are_begun_blocks() {
        assert_eq!((read_units(0, true), read_units(4096, true), read_units(4097, true)), (1.0, 1.0, 2.0));
        assert_eq!((read_units(0, false), read_units(8192, false), read_units(8193, false)), (0.5, 1.0, 1.5));
        assert_eq!((write_units(0), write_units(1024), write_units(1025)), (1.0, 1.0, 2.0));
    }

    #[test]
    fn a_bucket_may_be_overdrawn_and_is_paid_back() {
        let second = |s: u64| UNIX_EPOCH + Duration::from_secs(s);
        let mut meter = Meter::default();
        let limit = CapacityLimit { read: Some(10.0), write: None, burst: Duration::from_secs(2) };
        meter.set_limit(Some(limit), second(0));
        assert!(meter.lets_read(second(0)));
        meter.charge_read(128.0);
        assert!(!meter.lets_read(second(10)), "8 units are owed");
        assert!(meter.lets_read(second(11)));
        meter.charge_read(2.0);
        assert!(!meter.lets_read(second(11)));
        assert!(meter.lets_write(second(11)), "writes have no limit");
        let expected = Consumed { read: 130.0, write: 0.0, throttled_reads: 2, throttled_writes: 0 };
        assert_eq!(meter.used(), expected);
    }
}
