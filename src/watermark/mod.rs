//! The watermark index: for every store, the instant up to which the standby is proven complete, and all that it rests on.
//!
//! Invariants
//! - A watermark and the positions, parked changes and lanes that it rests on are one atomic, synced write (RK-1).
//! - What [`Index::snapshot`] shows is never ahead of what is durable: a mark is published after its write is synced.
//! - A store's watermark never goes back within an epoch, except by an explicit [`Retraction`], which is a soundness
//!   violation and is counted as one.
//! - Keys are append-only kinds, values carry a version and a checksum (house rule 8).
//!
//! The index deliberately knows no kind of store and no AWS type; and it is disposable: when it is lost, stores start
//! again from the source's history and from a seed, and say so.

mod board;
pub mod course;
mod directory;
pub mod keys;
pub mod memory;
pub mod records;
pub mod rocks;
mod writer;

pub use board::{Assumptions, Board, CanarySigns, Progress, Vitals};
pub use course::{Course, MarkRecord};
pub use keys::Row;
pub use records::{
    DirtyRecord, LanePhase, LaneRecord, ParkedRecord, Record, Seed, SeedRun, StoreRecord, VerifyRun, VerifyWish, Wanted,
};

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::change::{SourceTime, Stamp, StoreId};

/// The index cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Another process has it open.
    #[error("the index at {path} is in use by another process; stop it, or give this one another [index] path")]
    InUse {
        /// The index directory.
        path: String,
    },
    /// It belongs to another app or another pair of regions.
    #[error("the index at {path} belongs to {found}, not to {wanted}; give this app another [index] path")]
    Foreign {
        /// The index directory.
        path: String,
        /// Whose it is.
        found: String,
        /// Who asked.
        wanted: String,
    },
    /// It is damaged.
    #[error(
        "the index at {path} is damaged: {what}; move it away and start again: prodY loses nothing, but each store shows `seeding` until it is proven complete anew"
    )]
    Damaged {
        /// The index directory.
        path: String,
        /// What was found.
        what: String,
    },
    /// The storage failed.
    #[error("the index at {path} cannot be used: {what}")]
    Io {
        /// The index directory.
        path: String,
        /// The storage's own words.
        what: String,
    },
    /// Its keys are laid out for another version of this program.
    #[error(
        "the index at {path} has layout {found} and this program knows {known}; run the program that wrote it, or give \
         this one another [index] path"
    )]
    Layout {
        /// The index directory.
        path: String,
        /// The layout found.
        found: u32,
        /// The layout that this program reads and writes.
        known: u32,
    },
    /// A value cannot be trusted.
    #[error(transparent)]
    Record(#[from] records::BadRecord),
}

/// One atomic change of the index. Its parts are written in the order of the fields, but the clears come first: a row that
/// is both put and deleted is deleted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Txn {
    /// The stores whose mark changes, with the new mark.
    pub marks: Vec<(StoreId, Mark)>,
    /// Sets of rows to delete, before anything of this transaction is written. Marks and `meta` rows are in none.
    pub clears: Vec<keys::Prefix>,
    /// Rows to write, encoded with [`Record::encode`]. Marks and `meta` rows are the index's own: [`CommitError::Reserved`].
    pub puts: Vec<(Row, Vec<u8>)>,
    /// Rows to delete; a row that does not exist is no error.
    pub deletes: Vec<Row>,
    /// Allows the mark of one store to go back.
    pub retract: Option<Retraction>,
    /// Sets the fence, once and for all, in the same write.
    pub fence: Option<Fence>,
}

/// A watermark that must be taken back: it was published and is not true. The only unforgivable bug, so it is counted,
/// logged and paged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retraction {
    /// Whose.
    pub store: StoreId,
    /// What was found.
    pub why: String,
}

/// A store's durable record together with the moment of its newest proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What is durable.
    pub record: StoreRecord,
    /// When evidence last arrived that covers the whole store; `None` since the start of this process if none did (an
    /// old watermark is sound, but it is no sign of life; RK-6).
    pub proved: Option<Stamp>,
}

/// The durable sign that nothing flows from prodX to prodY any more (FO-2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The promotion that set it.
    pub promotion: String,
    /// Our wall clock at its commit.
    pub at: SourceTime,
    /// The direction epoch that it began.
    pub direction_epoch: u64,
}

/// Everything that is published: what [`crate::rpo::assess`] judges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// By store.
    pub stores: BTreeMap<StoreId, Mark>,
    /// Set once a promotion has fenced.
    pub fence: Option<Fence>,
}

/// Why a transaction was not committed. Nothing of it is durable, unless the error is [`CommitError::Io`], whose outcome
/// is unknown: send the same transaction again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The storage failed. The transaction may be repeated.
    #[error("the index at {path} could not be written: {what}")]
    Io {
        /// The index directory.
        path: String,
        /// The storage's own words.
        what: String,
    },
    /// A watermark would have gone back.
    #[error("store {store}: the watermark would go back from {from} to {to} without a retraction")]
    Regress {
        /// Whose.
        store: StoreId,
        /// The durable watermark.
        from: SourceTime,
        /// The refused one.
        to: SourceTime,
    },
    /// A mark of an older epoch arrived after a newer one.
    #[error("store {store}: epoch {got} is older than the durable epoch {have}")]
    OldEpoch {
        /// Whose.
        store: StoreId,
        /// The durable epoch.
        have: u64,
        /// The refused one.
        got: u64,
    },
    /// The fence is durable: no store's mark moves any more.
    #[error("the index is fenced by promotion {promotion}")]
    Fenced {
        /// Which promotion.
        promotion: String,
    },
    /// A row that only the index itself writes: marks go through [`Txn::marks`], the fence through [`Txn::fence`].
    #[error("{row:?} is written by the index itself, never as a row of a transaction")]
    Reserved {
        /// The row.
        row: Row,
    },
    /// Rows that only the index itself writes are never cleared.
    #[error("the rows of {keyspace} are the index's own and are never cleared")]
    Unclearable {
        /// Whose.
        keyspace: &'static str,
    },
    /// The writer has stopped.
    #[error("the index is closed")]
    Closed,
}

impl Txn {
    /// Every row that the transaction writes (`Some`) or deletes (`None`), in the order of writing.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (Row, Option<Vec<u8>>)> + '_ {
        let marks = self.marks.iter().map(|(store, mark)| {
            let row = Row::Store(store.clone());
            let value = mark.record.encode(&row);
            (row, Some(value))
        });
        let puts = self.puts.iter().map(|(row, value)| (row.clone(), Some(value.clone())));
        let deletes = self.deletes.iter().map(|row| (row.clone(), None));
        let fence = self.fence.iter().map(|fence| {
            let row = Row::Meta(keys::meta::FENCE);
            let value = fence.encode(&row);
            (row, Some(value))
        });
        marks.chain(puts).chain(deletes).chain(fence)
    }
}

/// The index as the rest of the process sees it.
#[async_trait]
pub trait Index: Send + Sync {
    /// Writes a transaction. Durable (synced) and published when it returns `Ok`. Dropping the future does not take the
    /// transaction back: whether it is written is then seen in the snapshot only.
    async fn commit(&self, txn: Txn) -> Result<(), CommitError>;

    /// What is published now. Cheap.
    fn snapshot(&self) -> Arc<Watermarks>;

    /// Reads one row's raw value, envelope included; decode it with [`Record::decode`].
    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, IndexError>;

    /// Reads every row that starts like `prefix`, in key order.
    fn scan(&self, prefix: &keys::Prefix) -> Result<Vec<(Row, Vec<u8>)>, IndexError>;

    /// Reads the first `most` rows that start like `prefix` and come after the row `after`, in key order. An index that may
    /// hold many rows reads only what it gives.
    fn range(
        &self,
        prefix: &keys::Prefix,
        after: Option<&Row>,
        most: usize,
    ) -> Result<Vec<(Row, Vec<u8>)>, IndexError> {
        let after = after.map(Row::bytes);
        let behind = |row: &Row| after.as_ref().is_none_or(|at| row.bytes() > *at);
        Ok(self.scan(prefix)?.into_iter().filter(|(row, _)| behind(row)).take(most).collect())
    }

    /// Is the storage in order? `Err` names what is wrong with it and what to do; the index may heal by itself.
    fn health(&self) -> Result<(), String>;
}

/// The rules that every implementation of [`Index::commit`] applies to marks before anything is written: makes `marks` what
/// is to be published after the write, or refuses and leaves them as they are.
pub(crate) fn admit(marks: &mut Watermarks, txn: &Txn) -> Result<(), CommitError> {
    let own = |row: &&Row| matches!(row, Row::Store(_) | Row::Meta(_));
    if let Some(row) = txn.puts.iter().map(|(row, _)| row).chain(&txn.deletes).find(own) {
        return Err(CommitError::Reserved { row: row.clone() });
    }
    if let Some(prefix) = txn.clears.iter().find(|p| matches!(p.keyspace, "wm" | "meta")) {
        return Err(CommitError::Unclearable { keyspace: prefix.keyspace });
    }
    for (store, mark) in &txn.marks {
        if let Some(fence) = &marks.fence {
            return Err(CommitError::Fenced { promotion: fence.promotion.clone() });
        }
        if let Some(have) = marks.stores.get(store) {
            let retracted = txn.retract.as_ref().is_some_and(|r| r.store == *store);
            follows(store, &have.record, &mark.record, retracted)?;
        }
    }
    if let (Some(fence), Some(have)) = (&txn.fence, &marks.fence)
        && fence != have
    {
        return Err(CommitError::Fenced { promotion: have.promotion.clone() });
    }
    marks.stores.extend(txn.marks.iter().cloned());
    if let Some(fence) = &txn.fence {
        marks.fence = Some(fence.clone());
    }
    Ok(())
}

/// May `new` come after `have`?
fn follows(store: &StoreId, have: &StoreRecord, new: &StoreRecord, retracted: bool) -> Result<(), CommitError> {
    if new.epoch < have.epoch {
        return Err(CommitError::OldEpoch { store: store.clone(), have: have.epoch, got: new.epoch });
    }
    match have.through {
        Some(from) if new.epoch == have.epoch && new.through < Some(from) && !retracted => {
            let to = new.through.unwrap_or(SourceTime(i64::MIN));
            Err(CommitError::Regress { store: store.clone(), from, to })
        }
        _ => Ok(()),
    }
}
