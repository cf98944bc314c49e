//! What a test reads from a scripted server: contents, the truth ledger, counters.

use super::ScriptedAws;
use super::model::schema::Key;
use super::model::table::Change;
use super::model::value::Item;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Every value one key ever had, oldest first; `None` is a delete.
pub type Values = Vec<Option<Arc<Item>>>;

impl ScriptedAws {
    /// The items of a table by key, in their canonical form: two tables hold the same exactly when these are equal.
    #[track_caller]
    pub fn snapshot(&self, table: &str) -> BTreeMap<Key, Arc<Item>> {
        self.cell(table).lock().snapshot()
    }

    /// One item of a table.
    #[track_caller]
    pub fn item(&self, table: &str, key: &Key) -> Option<Arc<Item>> {
        self.cell(table).lock().get(key)
    }

    /// How many items a table holds.
    #[track_caller]
    pub fn item_count(&self, table: &str) -> usize {
        self.cell(table).lock().len()
    }

    /// The truth ledger: every change of a table, in the order of commit. No-op writes are not changes.
    #[track_caller]
    pub fn history(&self, table: &str) -> Vec<Arc<Change>> {
        self.cell(table).lock().log().iter().filter(|change| !change.is_noop()).map(Arc::clone).collect()
    }

    /// Every write that reached a table, no-op writes too, in the order of arrival.
    #[track_caller]
    pub fn arrivals(&self, table: &str) -> Vec<Arc<Change>> {
        self.cell(table).lock().log().to_vec()
    }

    /// Every value each key of a table ever had, in the order of arrival (I4). Repeated values are kept once a write.
    #[track_caller]
    pub fn values_by_key(&self, table: &str) -> HashMap<Arc<Key>, Values> {
        let cell = self.cell(table);
        let table = cell.lock();
        let mut values = HashMap::<Arc<Key>, Values>::new();
        for change in table.log() {
            values.entry(Arc::clone(&change.key)).or_default().push(change.new.clone());
        }
        values
    }

    /// Every value one key of a table ever had.
    #[track_caller]
    pub fn values_of(&self, table: &str, key: &Key) -> Values {
        let cell = self.cell(table);
        let table = cell.lock();
        table.log().iter().filter(|change| *change.key == *key).map(|change| change.new.clone()).collect()
    }

    /// Stops or starts the log of a table. It holds every image for ever: a long bench may not want it.
    #[track_caller]
    pub fn keep_log(&self, table: &str, keep: bool) {
        self.cell(table).lock().keep_log = keep;
    }

    /// Empties the log of a table; its items and streams stay.
    #[track_caller]
    pub fn clear_log(&self, table: &str) {
        self.cell(table).lock().clear_log();
    }

    /// Calls of one operation so far, failed ones too.
    pub fn calls(&self, op: &str) -> u64 {
        self.all_calls().get(op).copied().unwrap_or_default()
    }

    /// Calls so far, by operation.
    pub fn all_calls(&self) -> BTreeMap<&'static str, u64> {
        self.region.counters.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Items put over HTTP so far, no-op puts too.
    pub fn items_put(&self) -> u64 {
        self.region.counters.items_put.load(Ordering::Relaxed)
    }

    /// Items deleted over HTTP so far, missing ones too.
    pub fn items_deleted(&self) -> u64 {
        self.region.counters.items_deleted.load(Ordering::Relaxed)
    }
}
