//! What the transfers of one bucket share: the memory they may use, the way they take, and what was learned about both.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::settings::{S3Settings, Transfer};

/// The unit in which memory is lent.
const UNIT: u64 = 1024;

/// Shared by all transfers of a bucket.
pub(super) struct Hands {
    memory: Semaphore,
    units: u32,
    transfer: Transfer,
    switched: AtomicBool,
    why: OnceLock<String>,
    /// HEAD has told how many tags an object of the source has: without a number it has none. Only who may read them is told.
    pub(super) tags_shown: AtomicBool,
    /// What S3 sets.
    pub(super) limits: Limits,
}

/// What S3 sets (S3-F7, S3-F8).
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// CopyObject and PutObject take no more.
    pub(super) whole: u64,
    /// A part that is not the last has at least so much.
    pub(super) part_least: u64,
    /// And at most.
    pub(super) part_most: u64,
    /// An object has at most so many.
    pub(super) parts: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { whole: 5 << 30, part_least: 5 << 20, part_most: 5 << 30, parts: 10_000 }
    }
}

impl Hands {
    /// For a bucket of these settings.
    pub(super) fn new(settings: &S3Settings) -> Self {
        let units = u32::try_from(settings.memory.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        Self {
            memory: Semaphore::new(usize::try_from(units).unwrap_or(1)),
            units,
            transfer: settings.transfer,
            switched: AtomicBool::new(false),
            why: OnceLock::new(),
            tags_shown: AtomicBool::new(false),
            limits: Limits::default(),
        }
    }

    /// Waits until so much memory is free, and lends it. More than there is counts as all of it: a body is never larger
    /// than a part, and settings see to it that a part fits; a waiting transfer holds nothing else, so none waits for ever.
    pub(super) async fn lend(&self, bytes: u64) -> SemaphorePermit<'_> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units);
        self.memory.acquire_many(units).await.expect("the semaphore is never closed")
    }

    /// Bytes that one body may take in memory: what more have to pass without being held.
    pub(super) fn body_most(&self, part_size: u64) -> u64 {
        part_size.max(self.limits.part_least).min(u64::from(self.units) * UNIT)
    }

    /// Bytes go through us.
    pub(super) fn streams(&self) -> bool {
        match self.transfer {
            Transfer::Stream => true,
            Transfer::ServerSide => false,
            Transfer::Auto => self.switched.load(Ordering::Relaxed),
        }
    }

    /// Whether a copy that S3 could not make may be tried through us.
    pub(super) fn may_switch(&self) -> bool {
        self.transfer == Transfer::Auto
    }

    /// From now on bytes go through us; true when they did not before.
    pub(super) fn switch(&self, why: String) -> bool {
        self.why.get_or_init(|| why);
        !self.switched.swap(true, Ordering::Relaxed)
    }

    /// Which way bytes take, for a human.
    pub(super) fn words(&self) -> String {
        match (self.transfer, self.switched.load(Ordering::Relaxed)) {
            (Transfer::Stream, _) => "stream".to_owned(),
            (Transfer::ServerSide, _) => "server-side".to_owned(),
            (Transfer::Auto, false) => "server-side (auto)".to_owned(),
            (Transfer::Auto, true) => {
                let why = self.why.get().map_or("", String::as_str);
                format!("stream (auto: the standby cannot copy from the source bucket by itself: {why})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::s3::testing::settings;

    #[test]
    fn auto_switches_once_and_says_why() {
        let hands = Hands::new(&settings(Transfer::Auto));
        assert!(!hands.streams());
        assert_eq!(hands.words(), "server-side (auto)");
        assert!(hands.switch("NoSuchBucket".into()));
        assert!(!hands.switch("AccessDenied".into()));
        assert!(hands.streams());
        assert!(hands.words().contains("NoSuchBucket"), "{}", hands.words());
        assert!(!Hands::new(&settings(Transfer::ServerSide)).may_switch());
        assert!(Hands::new(&settings(Transfer::Stream)).streams());
    }

    #[tokio::test]
    async fn memory_is_lent_up_to_the_limit_and_no_further() {
        let mut limited = settings(Transfer::Stream);
        limited.memory = 10 * UNIT;
        let hands = Hands::new(&limited);
        let all = hands.lend(1 << 40).await;
        assert_eq!(hands.memory.available_permits(), 0);
        drop(all);
        let _one = hands.lend(1).await;
        assert_eq!(hands.memory.available_permits(), 9);
    }
}
