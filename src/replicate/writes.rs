//! The driver's writes to the standby: what is ready is applied, and what became of each change is settled in the window
//! of its lane.
//!
//! A change that a write does not speak of has an unknown outcome, and is written again: apply is idempotent.

use std::sync::Arc;

use super::driver::{Driver, Event, PARKED_RETRY};
use super::order::Ticket;
use super::pace::backoff;
use crate::change::{Change, Class, Outcome, Stamp};
use crate::stores::contract::Applied;

impl Driver {
    pub(super) fn start_applies(&mut self, now: Stamp) {
        self.order.wake(now.mono);
        if now.mono < self.write_gate {
            return;
        }
        while self.applies < self.rhythm.apply_concurrency && self.order.has_ready() {
            let changes = self.order.take(self.rhythm.apply_batch, now.mono);
            if changes.is_empty() {
                return;
            }
            self.applies += 1;
            let store = Arc::clone(&self.store);
            self.events.push(Box::pin(async move {
                let applied = Self::replicate(&store).apply(&changes).await;
                Event::Applied { changes, applied }
            }));
        }
    }

    pub(super) fn on_applied(&mut self, changes: &[Change], applied: Applied, now: Stamp) {
        self.applies -= 1;
        let jitter = self.deps.ids.fresh()[0];
        let pause = |failures: u32| backoff(failures, jitter);
        let mut slow = false;
        let (mut done, mut canaries, mut coalesced) = (0, 0, 0);
        let missing = std::iter::repeat(Outcome::Retry(Class::Unknown));
        for (change, outcome) in changes.iter().zip(applied.outcomes.into_iter().chain(missing)) {
            let durable = outcome == Outcome::Done;
            if let Outcome::Retry(class) = outcome {
                self.deps.meter.error(class);
                slow |= matches!(class, Class::Throttled | Class::Unavailable);
            }
            let resolved = self.order.resolve(&change.key, outcome, now.mono, &pause);
            if durable {
                done += 1;
                coalesced += resolved.coalesced;
                self.unpark(&change.key);
                let ours = self.sighting(change).is_some();
                canaries += u64::from(ours);
                // An image of a copy has no commit time to be late after.
                if !ours && resolved.settled.last().is_none_or(|ticket| self.lanes[ticket.lane].lane.is_tail()) {
                    self.deps.meter.latency(now.wall.since(change.at));
                }
            }
            if let Some((change, reason, tickets)) = resolved.parked {
                let lane = tickets.last().map(|ticket| &self.lanes[ticket.lane]);
                // What a lane that was left behind still had to say is in the copy.
                if lane.is_none_or(|lane| !lane.detached) {
                    let lane = lane.map(|lane| lane.lane.clone());
                    self.park(lane, change, reason, now);
                }
                self.settle(&tickets, now);
            }
            self.settle(&resolved.settled, now);
        }
        if done > 0 {
            self.deps.meter.applied(done - canaries);
            self.deps.meter.coalesced(coalesced);
            self.last_progress = Some(now);
        }
        if slow {
            // Requests that were under way together are one failure, or one throttled moment would close the gate for long.
            if now.mono >= self.write_gate {
                self.write_failures = self.write_failures.saturating_add(1);
            }
            self.write_gate = self.write_gate.max(now.mono + pause(self.write_failures));
        } else if done > 0 {
            self.write_failures = 0;
        }
        match applied.trouble {
            Some(trouble) if done == 0 => self.troubles.standby.failed(&trouble.chain(), "write to prodY failed"),
            _ => self.troubles.standby.cleared(),
        }
    }

    fn settle(&mut self, tickets: &[Ticket], now: Stamp) {
        for ticket in tickets {
            let lane = &mut self.lanes[ticket.lane];
            if let Some(size) = lane.window.settle(ticket.entry) {
                self.outstanding -= 1;
                self.bytes -= size;
                lane.moved = true;
                self.pending.change(now.mono);
            }
        }
    }

    pub(super) fn retry_parked(&mut self, now: Stamp) {
        for parked in self.parked.values_mut().filter(|p| p.due <= now.mono) {
            parked.failures = (parked.failures + 1).min(4);
            parked.due = now.mono + PARKED_RETRY * (1 << parked.failures);
            self.order.retry_parked(parked.change.clone());
        }
    }
}
