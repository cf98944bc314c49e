//! The messages that we hold: received, and not forgotten yet. Pure: told of everything, asks nothing.
//!
//! Invariants
//! - A message is forgotten when all its keys are done and that is durable; until then its hold is renewed.
//! - A message whose hold was lost is let go of: it comes again, and its keys stay dirty meanwhile.
//! - What the channel gives again while we hold it is the same message: only its receipt is another.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::marks::Ticket;
use crate::change::SourceTime;
use crate::stores::converge::{Message, Receipt, Said};

/// Of the longest that a message can be ours, this part may pass before it is sent again: 10 of 12 hours.
const REQUEUE_AFTER: (u32, u32) = (5, 6);
/// Texts that are remembered as sent again by ourselves, at most.
const MOST_RESENT: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Keys of it are dirty.
    Open,
    /// None is any more; it waits for a commit, or for its release.
    Done,
    /// A call is under way that ends it.
    Leaving,
}

#[derive(Debug)]
struct Held {
    message: Message,
    /// Monotonic.
    received: Duration,
    renewed: Duration,
    open: usize,
    stage: Stage,
    renewing: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Holds {
    held: BTreeMap<Ticket, Held>,
    by_id: HashMap<Arc<str>, Ticket>,
    sent: BTreeSet<(SourceTime, Ticket)>,
    last: Ticket,
    bytes: usize,
    resent: VecDeque<Arc<str>>,
}

impl Holds {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
    /// Their texts, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    /// When the oldest of them was sent.
    pub(super) fn oldest_sent(&self) -> Option<SourceTime> {
        self.sent.first().map(|(at, _)| *at)
    }

    /// A message came, asked for at `asked`. `None`: it is one that we hold.
    pub(super) fn take(&mut self, message: &Message, keys: usize, asked: Duration) -> Option<Ticket> {
        if let Some(held) = self.by_id.get(&message.id).and_then(|ticket| self.held.get_mut(ticket))
            && held.stage != Stage::Leaving
        {
            held.message.receipt = message.receipt.clone();
            (held.received, held.renewed) = (asked, asked);
            return None;
        }
        self.last += 1;
        let ticket = self.last;
        self.bytes += message.body.len();
        self.by_id.insert(Arc::clone(&message.id), ticket);
        self.sent.insert((message.sent_at, ticket));
        let message = Message { says: Said::Events(Vec::new()), ..message.clone() };
        let stage = if keys == 0 { Stage::Done } else { Stage::Open };
        let held = Held { message, received: asked, renewed: asked, open: keys, stage, renewing: false };
        self.held.insert(ticket, held);
        Some(ticket)
    }

    /// One key of it is done. `true`: that was the last, and it may be forgotten once this is durable.
    pub(super) fn done(&mut self, ticket: Ticket) -> bool {
        let Some(held) = self.held.get_mut(&ticket).filter(|held| held.stage == Stage::Open) else { return false };
        held.open = held.open.saturating_sub(1);
        if held.open == 0 {
            held.stage = Stage::Done;
        }
        held.open == 0
    }

    /// The receipts to forget these messages by, each with its ticket; those that are gone are left out.
    pub(super) fn leaving(&mut self, tickets: &[Ticket]) -> Vec<(Ticket, Receipt)> {
        let mut receipts = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            if let Some(held) = self.held.get_mut(ticket).filter(|held| held.stage == Stage::Done) {
                held.stage = Stage::Leaving;
                receipts.push((*ticket, held.message.receipt.clone()));
            }
        }
        receipts
    }

    /// They could not be forgotten: it is tried again.
    pub(super) fn stay(&mut self, tickets: &[Ticket]) {
        for ticket in tickets {
            if let Some(held) = self.held.get_mut(ticket).filter(|held| held.stage == Stage::Leaving) {
                held.stage = Stage::Done;
            }
        }
    }

    /// It is held by this receipt.
    pub(super) fn has(&self, ticket: Ticket, receipt: &Receipt) -> bool {
        self.held.get(&ticket).is_some_and(|held| held.message.receipt == *receipt)
    }

    /// It is ours no more.
    pub(super) fn gone(&mut self, ticket: Ticket) {
        if let Some(held) = self.held.remove(&ticket) {
            self.bytes -= held.message.body.len();
            self.sent.remove(&(held.message.sent_at, ticket));
            if self.by_id.get(&held.message.id) == Some(&ticket) {
                self.by_id.remove(&held.message.id);
            }
        }
    }

    /// The holds to renew now, at most `most`: a third of `visibility` has passed.
    pub(super) fn due_renewals(&mut self, now: Duration, visibility: Duration, most: usize) -> Vec<(Ticket, Receipt)> {
        let mut receipts = Vec::new();
        for (ticket, held) in &mut self.held {
            if receipts.len() == most {
                break;
            }
            let due = held.renewed + visibility / 3;
            if held.stage != Stage::Leaving && !held.renewing && due <= now {
                held.renewing = true;
                receipts.push((*ticket, held.message.receipt.clone()));
            }
        }
        receipts
    }

    /// A renewal that was asked for at `asked` has ended; `None`: it failed, or nobody knows.
    pub(super) fn renewed(&mut self, ticket: Ticket, asked: Option<Duration>) {
        if let Some(held) = self.held.get_mut(&ticket) {
            held.renewing = false;
            if let Some(asked) = asked {
                held.renewed = held.renewed.max(asked);
            }
        }
    }

    /// Messages that the channel will take away from us before long: each is sent again and then left.
    pub(super) fn due_requeues(&mut self, now: Duration, hold_most: Duration) -> Vec<(Ticket, Message)> {
        let most = hold_most * REQUEUE_AFTER.0 / REQUEUE_AFTER.1;
        let mut found = Vec::new();
        for (ticket, held) in &mut self.held {
            if held.stage == Stage::Open && !held.renewing && now.saturating_sub(held.received) >= most {
                held.stage = Stage::Leaving;
                found.push((*ticket, held.message.clone()));
            }
        }
        found
    }

    /// It was not sent again: it is as before, and tried again after a while.
    pub(super) fn not_requeued(&mut self, ticket: Ticket, now: Duration, hold_most: Duration) {
        if let Some(held) = self.held.get_mut(&ticket) {
            held.stage = if held.open == 0 { Stage::Done } else { Stage::Open };
            let most = hold_most * REQUEUE_AFTER.0 / REQUEUE_AFTER.1;
            held.received = (now + Duration::from_secs(10)).saturating_sub(most);
        }
    }

    /// It was sent again: the old one is to be forgotten.
    pub(super) fn requeued(&mut self, ticket: Ticket) {
        if let Some(held) = self.held.get_mut(&ticket) {
            (held.stage, held.open) = (Stage::Done, 0);
            if self.resent.len() >= MOST_RESENT {
                self.resent.pop_front();
            }
            self.resent.push_back(Arc::clone(&held.message.body));
        }
    }

    /// We sent this text again ourselves: how long it took says nothing of the channel.
    pub(super) fn resent(&self, body: &Arc<str>) -> bool {
        self.resent.contains(body)
    }

    /// Every receipt that is ours, to give the messages back.
    pub(super) fn receipts(&self) -> Vec<Receipt> {
        self.held
            .values()
            .filter(|held| held.stage != Stage::Leaving)
            .map(|held| held.message.receipt.clone())
            .collect()
    }
}
