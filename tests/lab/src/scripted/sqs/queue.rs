//! One queue: messages that wait, that are hidden, that are forgotten. No HTTP, no clock of its own.
//!
//! Invariants: a message is in exactly one of `waiting` and `hidden`; a receipt handle is of one receipt of one message.

use crate::scripted::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The longest that a message can be hidden from its receipt on.
const LONGEST_HOLD: Duration = Duration::from_secs(12 * 3600);

/// The numbers of a queue, as its attributes set them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// VisibilityTimeout.
    pub visibility: Duration,
    /// DelaySeconds.
    pub delay: Duration,
    /// MessageRetentionPeriod.
    pub retention: Duration,
    /// ReceiveMessageWaitTimeSeconds.
    pub wait: Duration,
    /// MaximumMessageSize, bytes.
    pub maximum_message_size: usize,
    /// RedrivePolicy: the name of the queue for what was received too often, and how often that is.
    pub redrive: Option<(String, u32)>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(30),
            delay: Duration::ZERO,
            retention: Duration::from_secs(4 * 86_400),
            wait: Duration::ZERO,
            maximum_message_size: 1 << 20,
            redrive: None,
        }
    }
}

/// What a queue does that a test may want otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueQuirks {
    /// Received messages are any of those that wait, not the oldest.
    pub shuffled: bool,
    /// Messages that may be hidden at one time: about 120,000 on AWS, then OverLimit.
    pub most_in_flight: usize,
    /// A handle is good only while its message is hidden. On AWS the latest one still deletes a message that has come out
    /// of hiding.
    pub strict_handles: bool,
    /// Messages that one receipt gives at most.
    pub page: usize,
}

impl Default for QueueQuirks {
    fn default() -> Self {
        Self { shuffled: false, most_in_flight: 120_000, strict_handles: false, page: 10 }
    }
}

/// How many messages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    /// That could be received.
    pub waiting: u64,
    /// That were received and not deleted.
    pub in_flight: u64,
    /// That were sent with a delay.
    pub delayed: u64,
}

/// A message, as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageView {
    /// MessageId.
    pub id: String,
    /// Its text.
    pub body: Arc<str>,
    /// SentTimestamp.
    pub sent_at: SystemTime,
    /// ApproximateReceiveCount.
    pub receives: u32,
    /// It was received and not deleted, or is delayed.
    pub hidden: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Arc<str>,
    pub(super) sent_at: SystemTime,
    pub(super) receives: u32,
    pub(super) first_received: Option<SystemTime>,
    last_received: SystemTime,
    hidden_until: Option<SystemTime>,
    /// Of the latest receipt.
    receipt: u64,
}

/// What became of a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
    Done,
    /// Nothing to be done: the message is gone or was received again.
    Stale,
    /// The message is not hidden any more.
    NotInFlight,
    /// It would be hidden for more than 12 hours.
    TooLong,
    /// No handle of this queue.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) created: SystemTime,
    pub(super) settings: QueueSettings,
    pub(super) quirks: QueueQuirks,
    /// What the attributes say, until when.
    pub(super) lie: Option<(QueueDepth, SystemTime)>,
    messages: BTreeMap<u64, Message>,
    waiting: BTreeSet<u64>,
    hidden: BTreeSet<(SystemTime, u64)>,
    /// Tells the handles of this queue from those of one that had its name before.
    mark: u64,
    next: u64,
    rng: Rng,
}

/// Messages that a receipt gave, and those that go elsewhere instead.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) messages: Vec<(String, Message)>,
    pub(super) dead: Vec<Message>,
    pub(super) over_limit: bool,
}

impl Queue {
    pub(super) fn new(settings: QueueSettings, mark: u64, now: SystemTime) -> Self {
        Self {
            created: now,
            settings,
            quirks: QueueQuirks::default(),
            lie: None,
            messages: BTreeMap::new(),
            waiting: BTreeSet::new(),
            hidden: BTreeSet::new(),
            mark,
            next: 0,
            rng: Rng::new(mark),
        }
    }

    /// Takes a message in. `delay`: instead of the queue's own.
    pub(super) fn send(&mut self, id: String, body: Arc<str>, delay: Option<Duration>, now: SystemTime) {
        let delay = delay.unwrap_or(self.settings.delay);
        let hidden_until = (!delay.is_zero()).then(|| now + delay);
        let (receives, first_received) = (0, None);
        self.add(Message {
            id,
            body,
            sent_at: now,
            receives,
            first_received,
            last_received: now,
            hidden_until,
            receipt: 0,
        });
    }

    /// Takes in what another queue gave up: its time stays.
    pub(super) fn take(&mut self, message: Message) {
        self.add(Message { hidden_until: None, ..message });
    }

    fn add(&mut self, message: Message) {
        self.next += 1;
        let order = self.next;
        match message.hidden_until {
            Some(until) => drop(self.hidden.insert((until, order))),
            None => drop(self.waiting.insert(order)),
        }
        self.messages.insert(order, message);
    }

    /// Lets time pass: what was hidden long enough waits again, what is too old is gone.
    pub(super) fn settle(&mut self, now: SystemTime) {
        while let Some(&(until, order)) = self.hidden.first()
            && until <= now
        {
            self.hidden.pop_first();
            if let Some(message) = self.messages.get_mut(&order) {
                message.hidden_until = None;
                self.waiting.insert(order);
            }
        }
        let retention = self.settings.retention;
        while let Some(entry) = self.messages.first_entry()
            && now.duration_since(entry.get().sent_at).is_ok_and(|age| age > retention)
        {
            let (order, message) = entry.remove_entry();
            self.unlist(order, &message);
        }
    }

    fn unlist(&mut self, order: u64, message: &Message) {
        self.waiting.remove(&order);
        if let Some(until) = message.hidden_until {
            self.hidden.remove(&(until, order));
        }
    }

    fn in_flight(&self) -> usize {
        self.hidden.len()
    }

    pub(super) fn receive(&mut self, most: usize, visibility: Option<Duration>, now: SystemTime) -> Received {
        self.settle(now);
        let mut received = Received::default();
        let visibility = visibility.unwrap_or(self.settings.visibility);
        while received.messages.len() < most.min(self.quirks.page) && !self.waiting.is_empty() {
            if self.in_flight() >= self.quirks.most_in_flight {
                received.over_limit = received.messages.is_empty();
                break;
            }
            let order = if self.quirks.shuffled {
                let among = self.waiting.len().min(1000);
                let nth = usize::try_from(self.rng.next()).unwrap_or(0) % among;
                self.waiting.iter().nth(nth).copied()
            } else {
                self.waiting.first().copied()
            };
            let Some(order) = order else { break };
            self.waiting.remove(&order);
            let Some(message) = self.messages.get_mut(&order) else { continue };
            if self.settings.redrive.as_ref().is_some_and(|(_, most)| message.receives >= *most) {
                received.dead.extend(self.messages.remove(&order));
                continue;
            }
            message.receives += 1;
            message.first_received.get_or_insert(now);
            message.last_received = now;
            message.receipt += 1;
            if visibility.is_zero() {
                self.waiting.insert(order);
            } else {
                message.hidden_until = Some(now + visibility);
                self.hidden.insert((now + visibility, order));
            }
            received.messages.push((format!("{:016x}-{order}-{}", self.mark, message.receipt), message.clone()));
            if visibility.is_zero() {
                break;
            }
        }
        received
    }

    fn parsed(&self, handle: &str) -> Option<(u64, u64)> {
        let (mark, rest) = handle.split_once('-')?;
        let (order, receipt) = rest.split_once('-')?;
        (u64::from_str_radix(mark, 16).ok()? == self.mark).then_some(())?;
        Some((order.parse().ok()?, receipt.parse().ok()?))
    }

    pub(super) fn delete(&mut self, handle: &str, now: SystemTime) -> Handled {
        self.settle(now);
        let Some((order, receipt)) = self.parsed(handle) else { return Handled::Unknown };
        let Some(message) = self.messages.get(&order) else { return Handled::Stale };
        if message.receipt != receipt {
            return Handled::Stale;
        }
        if self.quirks.strict_handles && message.hidden_until.is_none() {
            return Handled::NotInFlight;
        }
        if let Some(message) = self.messages.remove(&order) {
            self.unlist(order, &message);
        }
        Handled::Done
    }

    pub(super) fn hide(&mut self, handle: &str, visibility: Duration, now: SystemTime) -> Handled {
        self.settle(now);
        let Some((order, receipt)) = self.parsed(handle) else { return Handled::Unknown };
        let Some(message) = self.messages.get_mut(&order) else { return Handled::Stale };
        let Some(until) = message.hidden_until.filter(|_| message.receipt == receipt) else {
            return Handled::NotInFlight;
        };
        let held = now.duration_since(message.last_received).unwrap_or_default();
        if held + visibility > LONGEST_HOLD {
            return Handled::TooLong;
        }
        self.hidden.remove(&(until, order));
        if visibility.is_zero() {
            message.hidden_until = None;
            self.waiting.insert(order);
        } else {
            message.hidden_until = Some(now + visibility);
            self.hidden.insert((now + visibility, order));
        }
        Handled::Done
    }

    pub(super) fn depth(&mut self, now: SystemTime) -> QueueDepth {
        self.settle(now);
        let delayed = self.hidden.iter().filter(|(_, order)| self.messages.get(order).is_some_and(|m| m.receives == 0));
        let delayed = delayed.count() as u64;
        QueueDepth { waiting: self.waiting.len() as u64, in_flight: self.hidden.len() as u64 - delayed, delayed }
    }

    /// What the attributes say: the depth, unless a lie was told to them.
    pub(super) fn approximate(&mut self, now: SystemTime) -> QueueDepth {
        match self.lie {
            Some((lie, until)) if now < until => lie,
            _ => self.depth(now),
        }
    }

    pub(super) fn purge(&mut self) {
        self.messages.clear();
        self.waiting.clear();
        self.hidden.clear();
    }

    /// Everything that is hidden waits again, as if its time were over.
    pub(super) fn reveal(&mut self) -> usize {
        let hidden = std::mem::take(&mut self.hidden);
        for (_, order) in &hidden {
            if let Some(message) = self.messages.get_mut(order) {
                message.hidden_until = None;
                self.waiting.insert(*order);
            }
        }
        hidden.len()
    }

    /// When the next hidden message waits again.
    pub(super) fn next_reveal(&self) -> Option<SystemTime> {
        self.hidden.first().map(|(until, _)| *until)
    }

    pub(super) fn views(&mut self, now: SystemTime) -> Vec<MessageView> {
        self.settle(now);
        let view = |message: &Message| MessageView {
            id: message.id.clone(),
            body: Arc::clone(&message.body),
            sent_at: message.sent_at,
            receives: message.receives,
            hidden: message.hidden_until.is_some(),
        };
        self.messages.values().map(view).collect()
    }
}
