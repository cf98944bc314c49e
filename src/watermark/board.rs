//! What is known about a store right now and need not be durable: how busy it is and what troubles it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::change::{Examination, Stamp, StoreId};

/// How far a copy or a verification of what exists is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Its stage: `scan`, `sweep`, `removal` or `catch-up` of a copy; `verify`.
    pub what: &'static str,
    /// Items done in it.
    pub done: u64,
    /// Items in all; an estimate of the source's, and never less than `done`.
    pub total: u64,
    /// When it will be through, at the rate that was seen; `None` while that is not known.
    pub eta: Option<Duration>,
}

/// The vital signs of one store, as its driver last wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Changes read and not yet durable in the standby.
    pub backlog_items: u64,
    /// Changes parked because the standby refuses them.
    pub failed_items: u64,
    /// When a change was last made durable in the standby, or the source last proved that there was none.
    pub last_progress: Option<Stamp>,
    /// When the source last answered.
    pub source_answered: Option<Stamp>,
    /// Time until the source may forget a change that was not read yet; `None` when not known.
    pub retention_headroom: Option<Duration>,
    /// Items that are known to differ in the standby.
    pub divergent: u64,
    /// How far the copy or the verification under way is.
    pub progress: Option<Progress>,
    /// What is wrong and what to do, for a human; `None` when nothing is.
    pub trouble: Option<String>,
    /// What the store is and how it is set, for a human, even when all is well; `None` when there is nothing to say.
    pub about: Option<String>,
    /// What its canaries measured.
    pub canary: CanarySigns,
    /// What its proofs rest on; `None` before the driver said so.
    pub assumptions: Option<Assumptions>,
    /// The delivery allowance in force (D of S3-13); only of a store with an event channel.
    pub delivery: Option<Duration>,
    /// A store whose last complete walk began longer ago is not certified; only of a store that is walked.
    pub certify_within: Option<Duration>,
    /// Keys of which an event came behind the fence; only of a store with an event channel.
    pub late: Option<u64>,
}

/// What the canaries of a store measured over the last day; nothing before the first was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CanarySigns {
    /// Half of them were visible to readers within this after their commit.
    pub visible_p50: Option<Duration>,
    /// 99 of 100 were.
    pub visible_p99: Option<Duration>,
    /// The longest that one took (A3).
    pub visible_max: Option<Duration>,
    /// The most empty answers before one that had to be visible (A1).
    pub empty_run_max: Option<u32>,
}

/// What the proofs of a store rest on: numbers of the configuration that nobody promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumptions {
    /// A commit is visible within this (A3).
    pub propagation: Duration,
    /// Records become visible out of order of their times by at most this (A3).
    pub publish: Duration,
    /// A request that was given up takes effect within this, or never (A2).
    pub max_request_life: Duration,
    /// So many empty answers in a row are the tip (A1).
    pub empty_run: u32,
}

/// The vital signs of all stores.
#[derive(Debug, Default)]
pub struct Board {
    stores: RwLock<BTreeMap<StoreId, Vitals>>,
    examined: RwLock<BTreeMap<StoreId, Examination>>,
}

impl Board {
    /// Replaces one store's vital signs.
    pub fn post(&self, store: &StoreId, vitals: Vitals) {
        self.stores.write().unwrap_or_else(PoisonError::into_inner).insert(store.clone(), vitals);
    }

    /// One store's vital signs; the default before the first.
    pub fn read(&self, store: &StoreId) -> Vitals {
        self.stores.read().unwrap_or_else(PoisonError::into_inner).get(store).cloned().unwrap_or_default()
    }

    /// Replaces what the last examination of a store found.
    pub fn examined(&self, store: &StoreId, examination: Examination) {
        self.examined.write().unwrap_or_else(PoisonError::into_inner).insert(store.clone(), examination);
    }

    /// What the last examination of a store found; nothing before the first.
    pub fn examination(&self, store: &StoreId) -> Examination {
        self.examined.read().unwrap_or_else(PoisonError::into_inner).get(store).cloned().unwrap_or_default()
    }
}
