//! Catch up, then the point of no return.
//!
//! The fence, in this order: close the flow (when it returns no write is in flight and the last commits are durable);
//! read the numbers; judge the gate on them; write the frozen report, the new direction epoch and the fence in one
//! transaction. Worse than accepted: the flow opens again and the promotion is refused with the numbers.
//!
//! The number goes on growing while a dead prodX is waited for, so the catch-up may take no longer than the gate leaves
//! room for: it must not use up what was accepted.

use std::time::Duration;

use super::executor::{Halt, Run};
use super::notation::{Secs, When};
use super::record::{ActResult, CaughtUpStore, End, Entry, FenceState, Frozen, FrozenStore};
use super::request::Mode;
use super::step::{Description, StepId, World};
use crate::seams::timeout;
use crate::watermark::Fence;
use crate::watermark::keys::Prefix;

/// What closing the flow and the commit of the fence may take out of the room that the gate leaves.
const RESERVE: Duration = Duration::from_secs(2);
/// How much later than its bound a catch-up may return before it is left alone.
const CATCH_UP_GRACE: Duration = Duration::from_secs(5);

impl Run {
    pub(super) async fn catch_up(&self, id: &StepId, d: &Description) -> Result<End, Halt> {
        let attempt = self.begin(id, "the flow runs").await?;
        let room = self.shared.judge(&self.request).headroom();
        let bound = room.map_or(d.deadline, |room| d.deadline.min(room.saturating_sub(RESERVE)));
        let clock = self.shared.clock.as_ref();
        let stores = timeout(clock, bound + CATCH_UP_GRACE, self.shared.flow.catch_up(bound)).await;
        let entry = Entry::Outcome { step: id.clone(), attempt, result: ActResult::Ok };
        self.journal.append(entry).await?;
        let Some(stores) = stores else {
            return Ok(End::Done("it did not end in time; the fence drains what is in flight".into()));
        };
        let left: u64 = stores.iter().map(|s| s.left).sum();
        let stores = stores.into_iter().map(|s| CaughtUpStore { store: s.store, left: s.left, why: s.why }).collect();
        self.journal.append(Entry::CaughtUp { bound_seconds: Secs(bound), stores }).await?;
        Ok(End::Done(match left {
            0 => "everything that was read is in the standby".into(),
            left => format!("{left} changes that were read are not in the standby"),
        }))
    }

    pub(super) async fn fence(&self, id: &StepId, d: &Description) -> Result<(), Halt> {
        self.begin(id, "the flow runs").await?;
        match timeout(self.shared.clock.as_ref(), d.deadline, self.shared.flow.close()).await {
            Some(Ok(())) => {}
            Some(Err(why)) => return Err(self.failed(id, d, &format!("the flow did not close: {why}"))),
            None => return Err(self.failed(id, d, "the flow did not close in time")),
        }
        // The last moment at which it can still be stopped.
        self.may_go_on()?;
        let report = self.freeze(id, d)?;
        if !report.gate.passes {
            return Err(Halt::Refused(Box::new(report.gate)));
        }
        let fence = Fence {
            promotion: self.journal.promotion().to_owned(),
            at: report.at.0,
            direction_epoch: report.direction_epoch,
        };
        Ok(self.journal.fence(Entry::Fenced { report }, fence).await?)
    }

    /// The numbers of this moment. The flow is closed, so they are those of the fence.
    fn freeze(&self, id: &StepId, d: &Description) -> Result<Frozen, Halt> {
        let gate = self.shared.judge(&self.request);
        let epoch = self.shared.index.snapshot().fence.as_ref().map_or(0, |f| f.direction_epoch);
        let mut stores = Vec::new();
        for store in &gate.stores {
            let parked = self.shared.index.scan(&Prefix::parked(&store.store));
            let parked = parked.map_err(|e| self.failed(id, d, &format!("the index cannot be read: {e}")))?;
            stores.push(FrozenStore {
                store: store.store.clone(),
                state: store.state.clone(),
                method: store.method,
                watermark: store.watermark,
                loss_seconds: store.loss_seconds,
                cutoff: match store.watermark {
                    Some(w) => format!("changes after {} may be lost", w.to_second()),
                    None => "nothing bounds what is lost".into(),
                },
                parked: parked.len() as u64,
            });
        }
        // Only a planned switchover can know that prodX does not write any more.
        let fence = match self.request.mode {
            Mode::Failover | Mode::Switchover | Mode::Drill => FenceState::Unconfirmed,
        };
        Ok(Frozen { at: When(self.shared.clock.now().wall), direction_epoch: epoch + 1, fence, gate, stores })
    }

    /// Journals the intent of a step that the executor carries out itself.
    async fn begin(&self, id: &StepId, observed: &str) -> Result<u32, Halt> {
        let attempt = self.progress(id).map_or(0, |p| p.attempts) + 1;
        let observed = World::NotStarted(observed.into());
        self.journal.append(Entry::Intent { step: id.clone(), attempt, observed }).await?;
        Ok(attempt)
    }
}
