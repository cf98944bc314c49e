//! What the index holds for a kind: what made a key the same, and the work under way on it.
//!
//! What is settled and not durable yet is not in the index: the pages of it are laid over what is read, or a kind would be
//! told of a state that is already another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::backoff;
use crate::change::{Class, Key, StoreId};
use crate::seams::SharedClock;
use crate::stores::StoreError;
use crate::stores::converge::Notebook;
use crate::watermark::course::{KnownRecord, WorkRecord};
use crate::watermark::keys::Prefix;
use crate::watermark::{CommitError, Index, IndexError, Record, Row, Txn};

/// Attempts at a note before the call fails: the index may be in trouble for a moment.
const ATTEMPTS: u32 = 5;

/// What is settled and not durable yet, by key; `None`: nothing is left to know.
pub(super) type Overlay = Arc<RwLock<BTreeMap<Key, Option<KnownRecord>>>>;

/// Keys with what is known of them, and the last one if there may be more behind it.
type KnownPage = (Vec<(Key, Value)>, Option<Key>);

/// The notebook of one store.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) index: Arc<dyn Index>,
    pub(super) store: StoreId,
    pub(super) overlay: Overlay,
    pub(super) clock: SharedClock,
    /// Something is noted of the key that it was given out for.
    pub(super) noted: Arc<AtomicBool>,
}

impl Pages {
    fn bad(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::new(Class::Unavailable, "reading the index", format!("store {}", self.store)).because(error)
    }

    /// What is known of a key, with what only the spine looks at.
    pub(super) fn record(&self, key: &Key) -> Result<Option<KnownRecord>, StoreError> {
        if let Some(known) = self.overlay.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(known.clone());
        }
        let row = Row::Known { store: self.store.clone(), key: key.clone() };
        let Some(bytes) = self.index.get(&row).map_err(|e| self.bad(e))? else { return Ok(None) };
        KnownRecord::decode(&row, &bytes).map(Some).map_err(|e| self.bad(IndexError::from(e)))
    }

    /// A page of what is known after a key, and the last key of it if there may be more behind it.
    fn page(&self, after: Option<&Key>, most: usize) -> Result<KnownPage, StoreError> {
        let row = after.map(|key| Row::Known { store: self.store.clone(), key: key.clone() });
        let rows = self.index.range(&Prefix::known(&self.store), row.as_ref(), most).map_err(|e| self.bad(e))?;
        let full = rows.len() == most;
        let mut pages = BTreeMap::new();
        for (row, bytes) in rows {
            let record = KnownRecord::decode(&row, &bytes).map_err(|e| self.bad(IndexError::from(e)))?;
            if let Row::Known { key, .. } = row {
                pages.insert(key, Some(record));
            }
        }
        let last = full.then(|| pages.keys().next_back().cloned()).flatten();
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let inside = |key: &Key| after.is_none_or(|after| key > after) && last.as_ref().is_none_or(|last| key <= last);
        for (key, record) in overlay.iter().filter(|(key, _)| inside(key)) {
            pages.insert(key.clone(), record.clone());
        }
        Ok((pages.into_iter().filter_map(|(key, record)| Some((key, body(record?)?))).collect(), last))
    }
}

fn body(record: KnownRecord) -> Option<Value> {
    // What is excluded was not made the same.
    record.excluded.is_none().then_some(record.body)
}

#[async_trait]
impl Notebook for Pages {
    fn known(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        Ok(self.record(key)?.and_then(body))
    }

    fn known_after(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, Value)>, StoreError> {
        let mut found = Vec::new();
        let mut after = after.cloned();
        // What lies over a page may take all of it away, which is not the end.
        while found.len() < most {
            let (page, last) = self.page(after.as_ref(), most)?;
            found.extend(page);
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        found.truncate(most);
        Ok(found)
    }

    fn work(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let row = Row::Work { store: self.store.clone(), key: key.clone() };
        let Some(bytes) = self.index.get(&row).map_err(|e| self.bad(e))? else { return Ok(None) };
        self.noted.store(true, Ordering::Relaxed);
        WorkRecord::decode(&row, &bytes).map(|work| Some(work.body)).map_err(|e| self.bad(IndexError::from(e)))
    }

    async fn note_work(&self, key: &Key, work: Value) -> Result<(), StoreError> {
        let row = Row::Work { store: self.store.clone(), key: key.clone() };
        let bytes = WorkRecord { body: work }.encode(&row);
        self.noted.store(true, Ordering::Relaxed);
        let mut failures = 0;
        loop {
            let txn = Txn { puts: vec![(row.clone(), bytes.clone())], ..Txn::default() };
            match self.index.commit(txn).await {
                Ok(()) => return Ok(()),
                Err(error @ CommitError::Io { .. }) if failures < ATTEMPTS => {
                    failures += 1;
                    tracing::debug!(%error, "a note of work under way is written again");
                    self.clock.sleep(backoff(failures, Duration::from_secs(2), 0)).await;
                }
                Err(error) => {
                    let failed =
                        StoreError::new(Class::Unavailable, "writing the index", format!("store {}", self.store));
                    return Err(failed.because(error));
                }
            }
        }
    }
}
