//! The counters and histograms that the flow feeds as it goes; judgements are made at the scrape (see `scrape`).
//!
//! Invariant: every counter that can be named at the start is there from the start with 0, every class of error too, so that
//! the first increase is an increase and not an appearance.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::catalogue::{self, Family, Shape};
use crate::change::{Class, StoreId};

/// The metrics of one process. Made once, shared; every method is cheap and never blocks for long.
pub struct Metrics {
    registry: Registry,
    read: IntCounterVec,
    applied: IntCounterVec,
    coalesced: IntCounterVec,
    errors: IntCounterVec,
    latency: HistogramVec,
    canary: HistogramVec,
    index_commit: Histogram,
    aws_requests: IntCounterVec,
    soundness: IntCounter,
    stores: Mutex<BTreeMap<StoreId, StoreMetrics>>,
}

/// The counters of one store. Cheap to clone.
#[derive(Clone)]
pub struct StoreMetrics {
    read: IntCounter,
    applied: IntCounter,
    coalesced: IntCounter,
    errors: [IntCounter; Class::ALL.len()],
    latency: Histogram,
    canary: Histogram,
}

impl StoreMetrics {
    /// `n` changes were read from the source.
    pub fn read(&self, n: u64) {
        self.read.inc_by(n);
    }

    /// `n` changes became durable in the standby.
    pub fn applied(&self, n: u64) {
        self.applied.inc_by(n);
    }

    /// `n` changes were replaced by a newer one of their key before they were written.
    pub fn coalesced(&self, n: u64) {
        self.coalesced.inc_by(n);
    }

    /// A call failed.
    pub fn error(&self, class: Class) {
        if let Some(counter) =
            Class::ALL.iter().zip(&self.errors).find(|(c, _)| **c == class).map(|(_, counter)| counter)
        {
            counter.inc();
        }
    }

    /// A change became durable in the standby this long after its commit in the source.
    pub fn latency(&self, d: Duration) {
        self.latency.observe(d.as_secs_f64());
    }

    /// A canary was seen in the standby this long after it was sent to the source.
    pub fn canary_roundtrip(&self, d: Duration) {
        self.canary.observe(d.as_secs_f64());
    }
}

impl Metrics {
    /// A registry of its own, with every counter that needs no store at 0.
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        Arc::new(Self {
            read: counters(&registry, &catalogue::STORE_CHANGES_READ),
            applied: counters(&registry, &catalogue::STORE_CHANGES_APPLIED),
            coalesced: counters(&registry, &catalogue::STORE_CHANGES_COALESCED),
            errors: counters(&registry, &catalogue::STORE_ERRORS),
            latency: histograms(&registry, &catalogue::REPLICATION_LATENCY),
            canary: histograms(&registry, &catalogue::CANARY_ROUNDTRIP),
            index_commit: histograms(&registry, &catalogue::INDEX_COMMIT).with_label_values::<&str>(&[]),
            aws_requests: counters(&registry, &catalogue::AWS_REQUESTS),
            soundness: counters(&registry, &catalogue::SOUNDNESS).with_label_values::<&str>(&[]),
            registry,
            stores: Mutex::default(),
        })
    }

    /// The counters of a store, all at 0 the first time. Asking again gives the same.
    pub fn store(&self, id: &StoreId, kind: &'static str) -> StoreMetrics {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = [id.as_str(), kind];
        let made = stores.entry(id.clone()).or_insert_with(|| StoreMetrics {
            read: self.read.with_label_values(&labels),
            applied: self.applied.with_label_values(&labels),
            coalesced: self.coalesced.with_label_values(&labels),
            errors: Class::ALL.map(|class| self.errors.with_label_values(&[id.as_str(), kind, class.label()])),
            latency: self.latency.with_label_values(&labels),
            canary: self.canary.with_label_values(&labels),
        });
        made.clone()
    }

    /// A synced write of the index took this long.
    pub fn index_commit(&self, d: Duration) {
        self.index_commit.observe(d.as_secs_f64());
    }

    /// A request was sent to AWS and ended like this: `ok`, `refused` (4xx), `failed` (another status), `no_answer`.
    pub fn aws_request(&self, service: &str, operation: &str, outcome: &str) {
        self.aws_requests.with_label_values(&[service, operation, outcome]).inc();
    }

    /// A published watermark was found untrue.
    pub fn soundness_violation(&self) {
        self.soundness.inc();
    }

    pub(super) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }
}

fn counters(registry: &Registry, family: &Family) -> IntCounterVec {
    debug_assert_eq!(family.shape, Shape::Counter);
    let vec = IntCounterVec::new(Opts::new(family.name, family.help), family.labels);
    registered(registry, vec.expect("the catalogue's names and labels are valid, a test says so"))
}

pub(super) fn histograms(registry: &Registry, family: &Family) -> HistogramVec {
    let Shape::Histogram(buckets) = family.shape else { unreachable!("{} is no histogram", family.name) };
    let opts = HistogramOpts::new(family.name, family.help).buckets(buckets.to_vec());
    registered(
        registry,
        HistogramVec::new(opts, family.labels).expect("the catalogue's names and labels are valid, a test says so"),
    )
}

/// Registers a collector; each family of the catalogue is registered once.
pub(super) fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("each family is registered once per registry");
    collector
}
