//! Salvage: when prodX answers again after a promotion, what was lost is listed, exported, and brought over where an
//! operator says so.
//!
//! ```text
//! frozen positions --tail--> changes --coalesce--> newest image per key --look at prodY--> verdict --> export (NDJSON)
//! parked changes  ----------/           ^                                                               |
//! comparison (where history is gone) ---'          the operator names keys; audit row; conditional write to prodY
//! ```
//!
//! Invariants
//! - Only behind a fence, and prodX is never written to.
//! - Nothing is written to prodY that was not exported before, and never over a state that the export does not show
//!   (FB-3: the default keeps prodY's).
//! - Memory is bounded however much was lost: changes are coalesced in a buffer and, beyond it, in files without a name.
//! - What cannot be read any more is said, per store; a comparison is marked as what it is.
//!
//! What this deliberately does not do: merge two images, and decide for anybody which of two is right.

mod apply;
mod audit;
mod coalesce;
mod line;
mod listing;
mod lost;
mod rest;
mod spill;

pub use apply::{Apply, Outcome, OutcomeKind, Policy};
pub use audit::{Audit, AuditRecord};
pub use line::{Begin, Counts, End, FORMAT, KeyLine, Line, StoreLine};
pub use listing::{Ask, Comparing, Listing};
pub use lost::Verdict;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::seams::{Ids, SharedClock};
use crate::stores::{Store, StoreError};
use crate::watermark::{Fence, Index, IndexError};

/// What salvage is given.
pub struct Inputs {
    /// The index: the fence and the frozen positions.
    pub index: Arc<dyn Index>,
    /// The stores.
    pub stores: Vec<Arc<dyn Store>>,
    /// Time.
    pub clock: SharedClock,
    /// Names for exports.
    pub ids: Arc<dyn Ids>,
    /// The application and its regions, for the head of an export.
    pub app: String,
    /// prodX.
    pub primary: String,
    /// prodY.
    pub standby: String,
    /// Where changes are kept that do not fit into memory: a directory of ours.
    pub spill: PathBuf,
    /// Told of each store in which a lost change is older than its published watermark.
    pub on_violation: Arc<dyn Fn() + Send + Sync>,
    /// Cancelled when the process stops.
    pub stopping: CancellationToken,
}

/// Salvage refuses, or cannot.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// Nothing was promoted.
    #[error("nothing was promoted: changes still flow from prodX to prodY, so none is lost")]
    NotFenced,
    /// One listing at a time.
    #[error("another listing is running")]
    Busy,
    /// A store that does not exist, or has no salvage.
    #[error("{0}")]
    Store(String),
    /// prodX does not answer.
    #[error("prodX does not answer: {}", .0.chain())]
    Unreachable(StoreError),
    /// The index cannot be read or written.
    #[error("the index cannot be used: {0}")]
    Index(String),
    /// The export is not one of this index and this promotion.
    #[error("{0}")]
    Export(String),
}

impl From<IndexError> for SalvageError {
    fn from(error: IndexError) -> Self {
        SalvageError::Index(error.to_string())
    }
}

/// The salvage of one application.
pub struct Salvages {
    inputs: Inputs,
    audit: Audit,
    /// Held by the listing that runs: its buffers are for one.
    listing: Arc<tokio::sync::Semaphore>,
    /// Held by the application that runs: one after the other.
    applying: tokio::sync::Mutex<()>,
}

impl Salvages {
    /// Reads the audit log for the exports that were made.
    pub fn open(inputs: Inputs) -> Result<Arc<Self>, IndexError> {
        let audit = Audit::open(Arc::clone(&inputs.index), Arc::clone(&inputs.clock))?;
        let listing = Arc::new(tokio::sync::Semaphore::new(1));
        Ok(Arc::new(Self { inputs, audit, listing, applying: tokio::sync::Mutex::new(()) }))
    }

    fn fence(&self) -> Result<Fence, SalvageError> {
        self.inputs.index.snapshot().fence.clone().ok_or(SalvageError::NotFenced)
    }

    fn store(&self, id: &str) -> Result<&Arc<dyn Store>, SalvageError> {
        let known = || self.inputs.stores.iter().map(|s| s.id().to_string()).collect::<Vec<_>>().join(", ");
        let found = self.inputs.stores.iter().find(|store| store.id().as_str() == id);
        let found =
            found.ok_or_else(|| SalvageError::Store(format!("there is no store {id:?}; known: {}", known())))?;
        if found.salvage().is_none() {
            let what = format!(
                "store {id}: nothing can be salvaged of kind {} in mode {}",
                found.kind(),
                found.mode().label()
            );
            return Err(SalvageError::Store(what));
        }
        Ok(found)
    }
}
