//! What the index holds of a store at the fence, for its kind to read: dirty keys, and what made the clean ones the same.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::change::{Class, Key, StoreId};
use crate::stores::converge::Notebook;
use crate::stores::salvage::Rest;
use crate::stores::{StoreError, StoreState};
use crate::watermark::course::{KnownRecord, MarkRecord, WorkRecord};
use crate::watermark::keys::Prefix;
use crate::watermark::{Index, Record, Row, StoreRecord};

/// The rows of one store. Nothing is written.
pub(super) struct Left {
    index: Arc<dyn Index>,
    store: StoreId,
}

impl Left {
    pub(super) fn new(index: Arc<dyn Index>, store: StoreId) -> Self {
        Self { index, store }
    }

    fn bad(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::new(Class::Unavailable, "reading the index", format!("store {}", self.store)).because(error)
    }

    /// The state of a store that is made the same key by key. Its keys, which may be many, are read page by page.
    pub(super) fn state(&self) -> Result<StoreState, StoreError> {
        let mut state = StoreState::default();
        if let Some(record) = self.read::<StoreRecord>(&Row::Store(self.store.clone()))? {
            state.record = record;
        }
        Ok(state)
    }

    /// What such a store had not understood at the fence.
    pub(super) fn unheard(&self) -> Result<Option<String>, StoreError> {
        let parked = self.index.scan(&Prefix::parked(&self.store)).map_err(|e| self.bad(e))?.len();
        let why = format!("{parked} messages were not understood: what they were about is told by a comparison only");
        Ok((parked > 0).then_some(why))
    }

    /// What another store was known to lack at the fence.
    pub(super) fn unmended(&self) -> Result<Option<String>, StoreError> {
        let dirty = self.index.scan(&Prefix::dirty(&self.store)).map_err(|e| self.bad(e))?.len();
        let why = format!("{dirty} keys were known to differ at the promotion and were not mended yet");
        Ok((dirty > 0).then_some(why))
    }

    fn read<R: Record>(&self, row: &Row) -> Result<Option<R>, StoreError> {
        let bytes = self.index.get(row).map_err(|e| self.bad(e))?;
        bytes.map(|bytes| R::decode(row, &bytes).map_err(|e| self.bad(e))).transpose()
    }

    fn page<R: Record>(
        &self,
        prefix: &Prefix,
        after: Option<Row>,
        most: usize,
        key: fn(Row) -> Option<Key>,
    ) -> Result<Vec<(Key, R)>, StoreError> {
        let rows = self.index.range(prefix, after.as_ref(), most).map_err(|e| self.bad(e))?;
        let mut found = Vec::with_capacity(rows.len());
        for (row, bytes) in rows {
            let record = R::decode(&row, &bytes).map_err(|e| self.bad(e))?;
            found.extend(key(row).map(|key| (key, record)));
        }
        Ok(found)
    }
}

#[async_trait]
impl Notebook for Left {
    fn known(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let known: Option<KnownRecord> = self.read(&Row::Known { store: self.store.clone(), key: key.clone() })?;
        // What is excluded was not made the same.
        Ok(known.filter(|known| known.excluded.is_none()).map(|known| known.body))
    }

    fn known_after(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, Value)>, StoreError> {
        let of = |key: &Key| Row::Known { store: self.store.clone(), key: key.clone() };
        let (mut found, mut after) = (Vec::new(), after.map(of));
        loop {
            let page: Vec<(Key, KnownRecord)> =
                self.page(&Prefix::known(&self.store), after, most, |row| match row {
                    Row::Known { key, .. } => Some(key),
                    _ => None,
                })?;
            let more = page.len() == most;
            after = page.last().map(|(key, _)| of(key));
            let kept = page.into_iter().filter(|(_, known)| known.excluded.is_none());
            found.extend(kept.map(|(key, known)| (key, known.body)));
            // A page of which nothing is kept is not the end.
            if !more || found.len() >= most {
                found.truncate(most);
                return Ok(found);
            }
        }
    }

    fn work(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let work: Option<WorkRecord> = self.read(&Row::Work { store: self.store.clone(), key: key.clone() })?;
        Ok(work.map(|work| work.body))
    }

    async fn note_work(&self, key: &Key, _: Value) -> Result<(), StoreError> {
        Err(StoreError::new(Class::Invalid, "writing behind the fence", format!("store {}, {key:?}", self.store)))
    }
}

impl Rest for Left {
    fn mark(&self, key: &Key) -> Result<Option<MarkRecord>, StoreError> {
        self.read(&Row::Dirty { store: self.store.clone(), key: key.clone() })
    }

    fn marks_after(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, MarkRecord)>, StoreError> {
        let after = after.map(|key| Row::Dirty { store: self.store.clone(), key: key.clone() });
        self.page(&Prefix::dirty(&self.store), after, most, |row| match row {
            Row::Dirty { key, .. } => Some(key),
            _ => None,
        })
    }
}
