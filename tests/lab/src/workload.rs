//! The workload: seeded writers that change tables in prodX and keep the truth ledger.
//!
//! Each writer owns its keys and has one change under way at a time, so the order of the changes of a key is known. A
//! writer makes one attempt a change. When the answer does not come, the change is unknown and may still take effect
//! later; the writer then leaves that key for ever and takes a new one in its place.
//! The rate is an upper bound: a slow region is not chased.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clients::{self, Endpoint};
use crate::ledger::Ledger;
use crate::random::Random;
use crate::tables::{KeyKind, TableSpec};
use crate::trouble::Trouble;

mod items;
mod seeds;
mod writer;

pub use seeds::Seeds;

/// What the items look like. Any item carries `rev`, which is different in every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A small record of a shop: text, numbers, a list of maps.
    Order,
    /// A session: bytes, a set of strings, a number.
    Session,
    /// Text of some kilobytes with nested metadata.
    Document,
    /// Every type that DynamoDB has, in every change another choice: unicode, empty strings and bytes, 38-digit numbers,
    /// the three sets, nested lists and maps, null, booleans.
    Everything,
}

/// Busy for a while, then quiet for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// How long the writers write.
    pub busy: Duration,
    /// How long they do not.
    pub quiet: Duration,
}

/// The traffic on one table.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// The table, which must exist.
    pub table: TableSpec,
    /// The table's ledger.
    pub ledger: Ledger,
    /// How many writers.
    pub writers: usize,
    /// How many keys each of them owns.
    pub keys: usize,
    /// Changes a second over all writers, at most.
    pub rate: f64,
    /// When they write; always, when absent.
    pub rhythm: Option<Rhythm>,
    /// What they write.
    pub shape: Shape,
    /// The share of the changes that go to a tenth of the keys.
    pub hot: f64,
    /// The share of the changes of existing items that delete. The next change of such a key creates it again.
    pub deletes: f64,
    /// The share of the changes of existing items that update one attribute in place.
    pub updates: f64,
    /// The share of the changes of existing items that put the same item again, which leaves no stream record.
    pub repeats: f64,
    /// The share of the items that carry about `big_bytes` more.
    pub big: f64,
    /// How much more; below 400 KB with the rest of the item.
    pub big_bytes: usize,
    /// All writers end after this many changes together (rounded up to a number for each); endless when absent.
    pub limit: Option<u64>,
}

impl Traffic {
    /// Steady traffic of small items on a table, no deletes.
    pub fn steady(table: TableSpec, rate: f64) -> Self {
        Self {
            table,
            ledger: Ledger::new(),
            writers: 4,
            keys: 50,
            rate,
            rhythm: None,
            shape: Shape::Order,
            hot: 0.5,
            deletes: 0.0,
            updates: 0.2,
            repeats: 0.0,
            big: 0.0,
            big_bytes: 0,
            limit: None,
        }
    }

    /// Everything at once, for the tests: all types, hot keys, deletes and re-creates, updates, repeated puts, and one
    /// item in two hundred of about 300 KB.
    pub fn everything(table: TableSpec, rate: f64) -> Self {
        Self {
            shape: Shape::Everything,
            deletes: 0.15,
            updates: 0.15,
            repeats: 0.03,
            big: 0.005,
            big_bytes: 300_000,
            ..Self::steady(table, rate)
        }
    }

    /// Bursts of sessions that come and go.
    pub fn bursts(table: TableSpec, rate: f64, rhythm: Rhythm) -> Self {
        Self { shape: Shape::Session, rhythm: Some(rhythm), deletes: 0.35, ..Self::steady(table, rate) }
    }

    /// Few and large documents.
    pub fn documents(table: TableSpec, rate: f64) -> Self {
        let big = (0.25, 300_000);
        Self { shape: Shape::Document, writers: 1, keys: 20, big: big.0, big_bytes: big.1, ..Self::steady(table, rate) }
    }
}

/// A table with a text key and a number as the sort key: what most tests need.
pub fn plain_table(name: &str) -> TableSpec {
    TableSpec::new(name, ("pk", KeyKind::Text)).with_range(("sk", KeyKind::Number))
}

/// What a writer does when the region does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSilence {
    /// It ends: the application died with its region.
    End,
    /// It waits until the region answers, then goes on with other keys.
    GoOn,
}

/// Running writers; dropping it stops them, with the change that is under way left unknown.
#[derive(Debug)]
pub struct Workload {
    writers: JoinSet<Result<(), Trouble>>,
    stop: CancellationToken,
    gate: Arc<RwLock<()>>,
    alive: Arc<Mutex<usize>>,
}

impl Workload {
    /// Starts the writers of all traffics against one region. Two workloads on the same table need different seeds: the
    /// seed is part of the keys.
    pub fn start(endpoint: &Endpoint, traffics: &[Traffic], seed: u64, on_silence: OnSilence) -> Self {
        let empty: Vec<_> = traffics.iter().map(|traffic| (traffic.clone(), Seeds::default())).collect();
        Self::start_seeded(endpoint, &empty, seed, on_silence)
    }

    /// As [`Self::start`], of writers whose keys hold what was planned with the same traffic and seed.
    pub fn start_seeded(endpoint: &Endpoint, traffics: &[(Traffic, Seeds)], seed: u64, on_silence: OnSilence) -> Self {
        let client = clients::dynamodb_once(endpoint);
        let stop = CancellationToken::new();
        let gate = Arc::new(RwLock::new(()));
        let alive = Arc::new(Mutex::new(0));
        let start = Instant::now();
        let mut writers = JoinSet::new();
        for (table, (traffic, seeds)) in traffics.iter().enumerate() {
            for number in 0..traffic.writers {
                let empty = || vec![writer::Slot::default(); traffic.keys.max(1)];
                let writer = writer::Writer {
                    client: client.clone(),
                    traffic: traffic.clone(),
                    seed,
                    number,
                    random: Random::fork(seed, (table * 1000 + number) as u64),
                    slots: seeds.slots_of(number).unwrap_or_else(empty),
                    stop: stop.clone(),
                    gate: gate.clone(),
                    on_silence,
                    start,
                };
                let alive = Alive::enter(&alive);
                writers.spawn(async move {
                    let _alive = alive;
                    writer.run().await
                });
            }
        }
        Self { writers, stop, gate, alive }
    }

    /// How many writers have not ended.
    pub fn alive(&self) -> usize {
        *self.alive.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Holds the writers between two changes: when this returns none is under way. Dropping the guard lets them go on.
    pub async fn pause(&self) -> OwnedRwLockWriteGuard<()> {
        self.gate.clone().write_owned().await
    }

    /// Stops the writers after the change that is under way. A writer that the region told that its request is wrong is
    /// a fault of the lab and reported here.
    pub async fn stop(mut self) -> Result<(), Trouble> {
        self.stop.cancel();
        self.finish().await
    }

    /// Waits until all writers have ended by themselves, by their limit or by silence.
    pub async fn finish(&mut self) -> Result<(), Trouble> {
        let mut result = Ok(());
        while let Some(ended) = self.writers.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(Trouble::new(format!("a writer broke: {error}"))));
            result = result.and(ended);
        }
        result
    }
}

/// Counts a writer for as long as its task exists.
#[derive(Debug)]
struct Alive(Arc<Mutex<usize>>);

impl Alive {
    fn enter(count: &Arc<Mutex<usize>>) -> Self {
        *count.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) -= 1;
    }
}

/// An item on its way to the SDK.
type Attributes = HashMap<String, aws_sdk_dynamodb::types::AttributeValue>;

#[cfg(test)]
mod tests;
