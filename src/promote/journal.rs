//! The journal of one promotion: checked, durable, then visible; in this order, always.
//!
//! Invariants
//! - No event is shown and no state moves before its record is durable.
//! - A record whose write failed, or was given up half-way, may be durable all the same. It is kept and written again
//!   before anything else, so that memory and disk cannot part. Until then every append fails: the promotion stands still (house rule 9).

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tokio::sync::{Mutex, watch};

use super::authority::{Authority, AuthorityError};
use super::notation::When;
use super::record::{Entry, Event, JournalRecord, KeyRecord};
use super::state::{Illegal, Stage, State, next_state};
use crate::seams::SharedClock;
use crate::watermark::Fence;

/// A record was not written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It may not follow. A bug, or a damaged journal.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// It is not known to be durable.
    #[error("{}", .0.chain())]
    Authority(#[from] AuthorityError),
}

/// Told of every event once it is durable. It must be quick: the promotion waits for it.
pub type OnEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// What others see of a journal.
#[derive(Debug, Clone, Default)]
struct Seen {
    events: Vec<Event>,
    state: State,
}

/// The journal of one promotion.
pub struct Journal {
    promotion: String,
    authority: Arc<dyn Authority>,
    clock: SharedClock,
    seen: RwLock<Seen>,
    /// The number of events; for those who wait for the next.
    count: watch::Sender<u64>,
    /// The record that is not known to be durable. The lock is held over the write: one record after the other.
    pending: Mutex<Option<(JournalRecord, Option<Fence>)>>,
    on_event: OnceLock<OnEvent>,
}

impl Journal {
    /// Begins a journal. Nothing is kept when the write fails.
    pub async fn begin(
        promotion: String,
        authority: Arc<dyn Authority>,
        clock: SharedClock,
        key: &str,
        used: &KeyRecord,
        entries: Vec<Entry>,
    ) -> Result<Self, JournalError> {
        let at = When(clock.now().wall);
        let records: Vec<_> = entries.into_iter().map(|entry| JournalRecord { at, entry }).collect();
        State::replay(records.iter().map(|r| &r.entry))?;
        authority.begin(&promotion, key, used, &records).await?;
        Self::read(promotion, authority, clock, records)
    }

    /// A journal that was read.
    pub fn read(
        promotion: String,
        authority: Arc<dyn Authority>,
        clock: SharedClock,
        records: Vec<JournalRecord>,
    ) -> Result<Self, JournalError> {
        let state = State::replay(records.iter().map(|r| &r.entry))?;
        let event = |(seq, record)| Event { promotion: promotion.clone(), seq, record };
        let events: Vec<_> = (0..).zip(records).map(event).collect();
        let count = watch::Sender::new(events.len() as u64);
        let seen = RwLock::new(Seen { events, state });
        Ok(Self { promotion, authority, clock, seen, count, pending: Mutex::new(None), on_event: OnceLock::new() })
    }

    /// The promotion's id.
    pub fn promotion(&self) -> &str {
        &self.promotion
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).state.clone()
    }

    /// Only the stage.
    pub fn stage(&self) -> Stage {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).state.stage
    }

    /// Every event after that number; all of them for `None`.
    pub fn events(&self, after: Option<u64>) -> Vec<Event> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(0, |seq| usize::try_from(seq).unwrap_or(usize::MAX).saturating_add(1));
        seen.events.get(from..).unwrap_or_default().to_vec()
    }

    /// Changes with every event.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// Tells somebody of every event from now on; only the first who asks.
    pub fn on_event(&self, tell: OnEvent) {
        self.on_event.get_or_init(|| tell);
    }

    /// Writes a record.
    pub async fn append(&self, entry: Entry) -> Result<(), JournalError> {
        self.write(entry, None).await
    }

    /// Writes the record of the fence and sets the fence, in one write.
    pub async fn fence(&self, entry: Entry, fence: Fence) -> Result<(), JournalError> {
        self.write(entry, Some(fence)).await
    }

    /// Writes again what is not known to be durable. To be called before a promotion that could not write goes on.
    pub async fn recover(&self) -> Result<(), JournalError> {
        let mut pending = self.pending.lock().await;
        if let Some((record, fence)) = pending.clone() {
            self.store(&record, fence.as_ref()).await?;
            *pending = None;
        }
        Ok(())
    }

    /// The fence was sent and nobody knows whether it is durable: the flow must stay closed.
    pub async fn fence_in_doubt(&self) -> bool {
        self.pending.lock().await.as_ref().is_some_and(|(_, fence)| fence.is_some())
    }

    async fn write(&self, entry: Entry, fence: Option<Fence>) -> Result<(), JournalError> {
        let mut pending = self.pending.lock().await;
        if let Some((record, fence)) = pending.clone() {
            self.store(&record, fence.as_ref()).await?;
            *pending = None;
        }
        next_state(&self.state(), &entry)?;
        let record = JournalRecord { at: When(self.clock.now().wall), entry };
        // Kept before it is sent: a caller that is dropped in the middle (its connection is gone) leaves a record that may
        // be durable, as a write that failed does.
        *pending = Some((record.clone(), fence.clone()));
        let written = self.store(&record, fence.as_ref()).await;
        if !matches!(written, Err(JournalError::Authority(AuthorityError::Write(_)))) {
            *pending = None;
        }
        written
    }

    /// Durable first, then visible.
    async fn store(&self, record: &JournalRecord, fence: Option<&Fence>) -> Result<(), JournalError> {
        let state = next_state(&self.state(), &record.entry)?;
        let seq = self.seen.read().unwrap_or_else(PoisonError::into_inner).events.len() as u64;
        match fence {
            Some(fence) => self.authority.fence(&self.promotion, seq, record, fence).await?,
            None => self.authority.append(&self.promotion, seq, record).await?,
        }
        let event = Event { promotion: self.promotion.clone(), seq, record: record.clone() };
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        seen.events.push(event.clone());
        seen.state = state;
        drop(seen);
        self.count.send_replace(seq + 1);
        if let Some(tell) = self.on_event.get() {
            tell(&event);
        }
        Ok(())
    }
}
