//! Who may say that a region is active: the journal, the direction epoch and the fence behind one trait. The index now; a
//! table in prodY when several daemons run.
//!
//! Invariant: a record that was written is never overwritten by another one, and the fence and the record of it are one
//! write.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::record::{JournalRecord, KeyRecord};
use crate::watermark::keys::Prefix;
use crate::watermark::{CommitError, Fence, Index, IndexError, Record, Row, Txn};

/// The journal cannot be read, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It was not written, or nobody knows: write the same again.
    #[error("the journal could not be written")]
    Write(#[source] CommitError),
    /// It could not be read.
    #[error("the journal could not be read")]
    Read(#[source] IndexError),
    /// Another record is there already: two promotions write one journal.
    #[error("record {seq} of promotion {promotion} is there already and says something else")]
    Taken {
        /// The promotion.
        promotion: String,
        /// The position.
        seq: u64,
    },
    /// Positions are missing.
    #[error("the journal of promotion {promotion} lacks record {seq}")]
    Hole {
        /// The promotion.
        promotion: String,
        /// The first that is missing.
        seq: u64,
    },
}

impl AuthorityError {
    /// With its causes, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// Journal, direction epoch and fence.
#[async_trait]
pub trait Authority: Send + Sync {
    /// Begins a journal: its first records and the idempotency key in one durable write.
    async fn begin(
        &self,
        promotion: &str,
        key: &str,
        used: &KeyRecord,
        records: &[JournalRecord],
    ) -> Result<(), AuthorityError>;

    /// Appends one record; durable when it returns. The same record may be written again at the same position.
    async fn append(&self, promotion: &str, seq: u64, record: &JournalRecord) -> Result<(), AuthorityError>;

    /// Appends the record of the fence and sets the fence, in one durable write (FO-2).
    async fn fence(
        &self,
        promotion: &str,
        seq: u64,
        record: &JournalRecord,
        fence: &Fence,
    ) -> Result<(), AuthorityError>;

    /// The fence, once durable.
    fn fenced(&self) -> Option<Fence>;

    /// What an idempotency key was used for.
    fn used(&self, key: &str) -> Result<Option<KeyRecord>, AuthorityError>;

    /// Every journal, by promotion, in order.
    fn journals(&self) -> Result<BTreeMap<String, Vec<JournalRecord>>, AuthorityError>;
}

/// The index as the authority.
pub struct IndexAuthority(pub Arc<dyn Index>);

/// The row of an idempotency key. The prefix leaves room for nonces of another use.
fn key_row(key: &str) -> Row {
    Row::Nonce(format!("promote:{key}"))
}

impl IndexAuthority {
    fn put(&self, promotion: &str, seq: u64, record: &JournalRecord) -> Result<(Row, Vec<u8>), AuthorityError> {
        let row = Row::Saga { promotion: promotion.to_owned(), seq };
        let value = record.encode(&row);
        match self.0.get(&row).map_err(AuthorityError::Read)? {
            Some(there) if there != value => Err(AuthorityError::Taken { promotion: promotion.to_owned(), seq }),
            _ => Ok((row, value)),
        }
    }

    async fn commit(&self, txn: Txn) -> Result<(), AuthorityError> {
        self.0.commit(txn).await.map_err(AuthorityError::Write)
    }
}

#[async_trait]
impl Authority for IndexAuthority {
    async fn begin(
        &self,
        promotion: &str,
        key: &str,
        used: &KeyRecord,
        records: &[JournalRecord],
    ) -> Result<(), AuthorityError> {
        let row = key_row(key);
        let mut puts = vec![(row.clone(), used.encode(&row))];
        for (seq, record) in (0..).zip(records) {
            puts.push(self.put(promotion, seq, record)?);
        }
        self.commit(Txn { puts, ..Txn::default() }).await
    }

    async fn append(&self, promotion: &str, seq: u64, record: &JournalRecord) -> Result<(), AuthorityError> {
        let puts = vec![self.put(promotion, seq, record)?];
        self.commit(Txn { puts, ..Txn::default() }).await
    }

    async fn fence(
        &self,
        promotion: &str,
        seq: u64,
        record: &JournalRecord,
        fence: &Fence,
    ) -> Result<(), AuthorityError> {
        let puts = vec![self.put(promotion, seq, record)?];
        self.commit(Txn { puts, fence: Some(fence.clone()), ..Txn::default() }).await
    }

    fn fenced(&self) -> Option<Fence> {
        self.0.snapshot().fence.clone()
    }

    fn used(&self, key: &str) -> Result<Option<KeyRecord>, AuthorityError> {
        let row = key_row(key);
        let value = self.0.get(&row).map_err(AuthorityError::Read)?;
        let record = value.map(|bytes| KeyRecord::decode(&row, &bytes)).transpose();
        record.map_err(|e| AuthorityError::Read(e.into()))
    }

    fn journals(&self) -> Result<BTreeMap<String, Vec<JournalRecord>>, AuthorityError> {
        let mut journals: BTreeMap<String, Vec<JournalRecord>> = BTreeMap::new();
        for (row, value) in self.0.scan(&Prefix::journals()).map_err(AuthorityError::Read)? {
            let Row::Saga { promotion, seq } = &row else { continue };
            let records = journals.entry(promotion.clone()).or_default();
            let next = records.len() as u64;
            if *seq != next {
                return Err(AuthorityError::Hole { promotion: promotion.clone(), seq: next });
            }
            records.push(JournalRecord::decode(&row, &value).map_err(|e| AuthorityError::Read(e.into()))?);
        }
        Ok(journals)
    }
}
