//! The order per key: at most one write of a key is in flight, and writes of a key go out in the order in which they were
//! read (AP-2). Pure: no I/O, no clock.
//!
//! - While a write of a key is in flight, newer changes of the key wait; of several that wait only the newest is sent
//!   (coalescing: we replicate state, not history), and when it is durable they all are.
//! - A write without a definite answer may still take effect, now or later. The *same* write is sent again until the
//!   answer is definite, and then no newer write of that key before the stray one can no longer land (AP-3 `strict`).
//! - A change that the standby refuses is handed back to be parked, unless a newer one of its key waits: then that is
//!   tried instead, for it replaces the refused image (AP-6).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::window::EntryNo;
use crate::change::{Change, Class, Key, Outcome, Reason};

/// Which window entry a change belongs to. A retry of a parked change belongs to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ticket {
    /// The lane's number within its driver.
    pub(super) lane: usize,
    /// The entry.
    pub(super) entry: EntryNo,
}

#[derive(Debug)]
struct Waiting {
    change: Change,
    tickets: Vec<Ticket>,
}

#[derive(Debug, Default)]
struct Queue {
    /// To be sent, or in flight.
    head: Option<Waiting>,
    /// The newest change behind the head, with the tickets of all that wait.
    next: Option<Waiting>,
    in_flight: bool,
    /// The head was sent without a definite answer: it must be sent again as it is.
    unresolved: bool,
    /// Until when a stray write of this key may still land, monotonic.
    stray_until: Option<Duration>,
    /// Failed attempts in a row, for the back-off.
    failures: u32,
}

/// What one outcome means.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// These are durable in the standby.
    pub(super) settled: Vec<Ticket>,
    /// Of these, how many were never sent because a newer change of their key was.
    pub(super) coalesced: u64,
    /// This change is refused and nothing newer replaces it.
    pub(super) parked: Option<(Change, Reason, Vec<Ticket>)>,
}

/// The schedule of writes of one store.
#[derive(Debug)]
pub(super) struct Order {
    keys: HashMap<Key, Queue>,
    ready: VecDeque<Key>,
    /// Keys that wait for an instant: back-off, or a stray write that may still land.
    timed: BTreeSet<(Duration, Key)>,
    max_request_life: Duration,
}

impl Order {
    /// An empty schedule.
    pub(super) fn new(max_request_life: Duration) -> Self {
        Self { keys: HashMap::new(), ready: VecDeque::new(), timed: BTreeSet::new(), max_request_life }
    }

    /// Adds a change that was read.
    pub(super) fn push(&mut self, ticket: Ticket, change: Change) {
        self.enqueue(change, vec![ticket]);
    }

    /// Tries a parked change again. Does nothing if its key is busy: whatever is under way replaces it.
    pub(super) fn retry_parked(&mut self, change: Change) -> bool {
        let idle = !self.keys.contains_key(&change.key);
        if idle {
            self.enqueue(change, Vec::new());
        }
        idle
    }

    fn enqueue(&mut self, change: Change, tickets: Vec<Ticket>) {
        let key = change.key.clone();
        let queue = self.keys.entry(key.clone()).or_default();
        let slot = if queue.head.is_none() { &mut queue.head } else { &mut queue.next };
        match slot {
            Some(waiting) => {
                waiting.change = change;
                waiting.tickets.extend(tickets);
            }
            None => {
                *slot = Some(Waiting { change, tickets });
                if queue.next.is_none() {
                    match queue.stray_until {
                        Some(until) => {
                            self.timed.insert((until, key));
                        }
                        None => self.ready.push_back(key),
                    }
                }
            }
        }
    }

    /// Wakes what has waited long enough. Call before [`Order::take`].
    pub(super) fn wake(&mut self, now: Duration) {
        while let Some((until, _)) = self.timed.first()
            && *until <= now
        {
            let Some((_, key)) = self.timed.pop_first() else { break };
            let Some(queue) = self.keys.get_mut(&key) else { continue };
            if queue.stray_until.is_some_and(|until| until <= now) {
                queue.stray_until = None;
            }
            if queue.head.is_none() {
                self.keys.remove(&key);
            } else if !queue.in_flight {
                self.ready.push_back(key);
            }
        }
    }

    /// Takes up to `most` changes of distinct keys to send now.
    pub(super) fn take(&mut self, most: usize, now: Duration) -> Vec<Change> {
        let mut batch = Vec::new();
        while batch.len() < most
            && let Some(key) = self.ready.pop_front()
        {
            let Some(queue) = self.keys.get_mut(&key) else { continue };
            let Some(head) = queue.head.as_ref().filter(|_| !queue.in_flight) else { continue };
            // The rule of AP-3 once more where it matters, whatever brought the key here.
            if let Some(until) = queue.stray_until.filter(|until| !queue.unresolved && *until > now) {
                self.timed.insert((until, key));
                continue;
            }
            queue.in_flight = true;
            batch.push(head.change.clone());
        }
        batch
    }

    /// Takes the outcome of a change that [`Order::take`] gave. `backoff` says how long to wait after so many failures in
    /// a row.
    pub(super) fn resolve(
        &mut self,
        key: &Key,
        outcome: Outcome,
        now: Duration,
        backoff: &dyn Fn(u32) -> Duration,
    ) -> Resolved {
        let mut resolved = Resolved::default();
        let Some(queue) = self.keys.get_mut(key).filter(|q| q.in_flight) else { return resolved };
        queue.in_flight = false;
        let Some(mut head) = queue.head.take() else { return resolved };
        match outcome {
            Outcome::Done => {
                queue.failures = 0;
                queue.unresolved = false;
                resolved.coalesced = head.tickets.len().saturating_sub(1) as u64;
                resolved.settled = head.tickets;
                queue.head = queue.next.take();
            }
            Outcome::Retry(class) => {
                queue.failures = queue.failures.saturating_add(1);
                if class == Class::Unknown {
                    queue.unresolved = true;
                    queue.stray_until = Some(now + self.max_request_life);
                } else if !queue.unresolved
                    && let Some(next) = queue.next.take()
                {
                    // It had no effect: the newer image can go out in its place.
                    head.tickets.extend(next.tickets);
                    head.change = next.change;
                }
                queue.head = Some(head);
                // An unresolved write is sent again after the back-off; it need not wait for its own stray copy, which
                // has the same effect.
                self.timed.insert((now + backoff(queue.failures), key.clone()));
                return resolved;
            }
            Outcome::Parked(reason) => {
                queue.failures = 0;
                queue.unresolved = false;
                match queue.next.take() {
                    Some(mut next) => {
                        next.tickets.splice(0..0, head.tickets);
                        queue.head = Some(next);
                    }
                    None => resolved.parked = Some((head.change, reason, head.tickets)),
                }
            }
        }
        match (queue.head.is_some(), queue.stray_until.filter(|until| *until > now)) {
            (_, Some(until)) => {
                self.timed.insert((until, key.clone()));
            }
            (true, None) => {
                queue.stray_until = None;
                self.ready.push_back(key.clone());
            }
            (false, None) => {
                self.keys.remove(key);
            }
        }
        resolved
    }

    /// When [`Order::wake`] has something to do, monotonic.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        self.timed.first().map(|(at, _)| *at)
    }

    /// Until when a write that was given up may still land, monotonic; `None` if none can.
    pub(super) fn strays_until(&self, now: Duration) -> Option<Duration> {
        self.keys.values().filter_map(|q| q.stray_until).filter(|until| *until > now).max()
    }

    /// A change is not durable yet, whatever it waits for.
    pub(super) fn has_work(&self) -> bool {
        self.keys.values().any(|q| q.head.is_some())
    }

    /// Something can be sent now.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests;
