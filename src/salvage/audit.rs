//! Who listed and who applied what, in the audit log of the index. Written before a write to prodY and again after it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use super::SalvageError;
use crate::promote::Authorized;
use crate::promote::When;
use crate::seams::SharedClock;
use crate::watermark::keys::Prefix;
use crate::watermark::{Index, IndexError, Record, Row, Txn};

/// An export was completed. Its detail names it.
const LISTED: &str = "salvage_listed";

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Our wall clock.
    pub at: When,
    /// Whose token.
    pub by: String,
    /// What: never renamed.
    pub act: String,
    /// More of it; no keys and no images, only their hashes.
    pub detail: Value,
}

impl Record for AuditRecord {
    const KIND: u8 = 10;
    const VERSION: u8 = 1;
}

/// The writer of the audit log.
pub struct Audit {
    index: Arc<dyn Index>,
    clock: SharedClock,
    /// The next position. The lock is held over the write: one entry after the other.
    next: Mutex<u64>,
    /// The exports that were completed, with the promotion that they belong to.
    exports: RwLock<BTreeMap<String, String>>,
}

impl Audit {
    /// Finds its end and the exports that were made.
    pub fn open(index: Arc<dyn Index>, clock: SharedClock) -> Result<Self, IndexError> {
        let (mut next, mut exports) = (0, BTreeMap::new());
        for (row, bytes) in index.scan(&Prefix::audit())? {
            let Row::Audit { seq } = &row else { continue };
            next = next.max(seq + 1);
            // Entries of others are none of ours.
            if let Ok(record) = AuditRecord::decode(&row, &bytes)
                && record.act == LISTED
                && let Some((export, promotion)) = named(&record.detail)
            {
                exports.insert(export, promotion);
            }
        }
        Ok(Self { index, clock, next: Mutex::new(next), exports: RwLock::new(exports) })
    }

    /// Writes an entry; durable when it returns.
    pub(super) async fn write(&self, who: &Authorized, act: &str, detail: Value) -> Result<(), SalvageError> {
        let mut next = self.next.lock().await;
        let row = Row::Audit { seq: *next };
        let at = When(self.clock.now().wall);
        let record = AuditRecord { at, by: who.principal().name.clone(), act: act.to_owned(), detail };
        let value = record.encode(&row);
        // A position whose write failed may be taken all the same: it is left free.
        *next += 1;
        let written = self.index.commit(Txn { puts: vec![(row, value)], ..Txn::default() }).await;
        written.map_err(|e| SalvageError::Index(e.to_string()))
    }

    /// An export is complete.
    pub(super) async fn listed(&self, who: &Authorized, detail: Value) -> Result<(), SalvageError> {
        let named = named(&detail);
        self.write(who, LISTED, detail).await?;
        if let Some((export, promotion)) = named {
            self.exports.write().unwrap_or_else(PoisonError::into_inner).insert(export, promotion);
        }
        Ok(())
    }

    /// The promotion that a completed export belongs to.
    pub(super) fn export(&self, id: &str) -> Option<String> {
        self.exports.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

fn named(detail: &Value) -> Option<(String, String)> {
    Some((detail["export"].as_str()?.to_owned(), detail["promotion"].as_str()?.to_owned()))
}
