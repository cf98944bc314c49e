//! The driver's part with the channels: polls, depths, holds, releases.

use std::sync::Arc;
use std::time::Duration;

use super::backoff;
use super::drain::Drained;
use super::driver::{Driver, Event};
use super::marks::Ticket;
use crate::change::{Class, SourceTime, Stamp};
use crate::stores::StoreError;
use crate::stores::converge::{Channel, Depth, Message, Receipt, Tempo};

/// Messages that we hold, at most: far below what a queue lets one hold (120,000), and enough for all the works.
const MOST_HELD: usize = 10_000;
/// Their texts, bytes, at most.
const MOST_BYTES: usize = 64 << 20;
/// Dirty keys in memory, at most; with more, nothing is heard.
pub(super) const MOST_MARKS: usize = 20_000;
/// Receipts in one call, at most.
const BATCH: usize = 100;
/// Calls that forget messages, at one time.
const MOST_RELEASES: usize = 8;
/// An answer without messages that came sooner than this was no long poll.
const NO_WAIT: Duration = Duration::from_millis(200);
/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(10);
/// A poll that was dropped is over at the channel's end after this.
const POLLS_END: Duration = Duration::from_millis(100);
/// Between two depths that are asked for only to know how much waits.
const COUNT_EVERY: Duration = Duration::from_secs(20);

/// One receiver of a channel.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) channel: Channel,
    /// Polls under way: a second one when somebody is in a hurry.
    pub(super) polling: usize,
    /// When the newest of them began, monotonic.
    began: Duration,
    due: Duration,
    failures: u32,
}

impl Receiver {
    /// Those of a store.
    pub(super) fn all(tempo: &Tempo) -> Vec<Self> {
        let main = std::iter::repeat_n(Channel::Main, tempo.receivers.max(1));
        let dead = tempo.dead_letters.then_some(Channel::DeadLetters);
        let new = |channel| Self { channel, polling: 0, began: Duration::ZERO, due: Duration::ZERO, failures: 0 };
        main.chain(dead).map(new).collect()
    }
}

impl Driver {
    fn has_room(&self) -> bool {
        // Behind the fence the keys in memory are of before, and stay.
        let marks = self.frozen || self.marks.len() < MOST_MARKS;
        marks && self.holds.len() < MOST_HELD && self.holds.bytes() < MOST_BYTES
    }

    pub(super) fn start_polls(&mut self, now: Stamp) {
        if !self.has_room() {
            return;
        }
        for at in 0..self.receivers.len() {
            let receiver = &self.receivers[at];
            let hurried = self.walker.hurried.is_some_and(|asked| receiver.began < asked) && receiver.polling < 2;
            if (receiver.polling == 0 && receiver.due <= now.mono) || (hurried && receiver.failures == 0) {
                self.start_poll(at, now);
            }
        }
    }

    fn start_poll(&mut self, at: usize, now: Stamp) {
        let receiver = &mut self.receivers[at];
        receiver.polling += 1;
        receiver.began = now.mono;
        let (store, channel) = (Arc::clone(&self.store), receiver.channel);
        self.events.push(Box::pin(async move {
            let result = Self::converge(&store).receive(channel).await;
            Event::Polled { receiver: at, asked: now, result }
        }));
    }

    /// When there is something to poll, monotonic.
    pub(super) fn poll_due(&self) -> Option<Duration> {
        let idle = self.receivers.iter().filter(|receiver| receiver.polling == 0);
        idle.map(|receiver| receiver.due).min().filter(|_| self.has_room())
    }

    pub(super) fn on_polled(
        &mut self,
        at: usize,
        asked: Stamp,
        result: Result<Vec<Message>, StoreError>,
        now: Stamp,
        closed: bool,
    ) {
        let jitter = self.jitter();
        let receiver = &mut self.receivers[at];
        receiver.polling -= 1;
        let dead = receiver.channel == Channel::DeadLetters;
        match result {
            Ok(messages) => {
                receiver.failures = 0;
                let idle = messages.is_empty() && now.since(asked) < NO_WAIT.min(self.tempo.poll_wait);
                receiver.due = now.mono + if idle { NO_WAIT } else { Duration::ZERO };
                if dead {
                    self.troubles.dead.cleared()
                } else {
                    self.troubles.queue.cleared()
                }
                let sent: Vec<SourceTime> = messages.iter().map(|message| message.sent_at).collect();
                self.drain.polled(at, asked, &sent, now);
                for message in messages {
                    self.hear(&message, asked, now, closed);
                }
            }
            Err(error) => {
                receiver.failures = receiver.failures.saturating_add(1);
                receiver.due = now.mono + backoff(receiver.failures, LONGEST, jitter);
                self.deps.meter.error(error.class);
                self.drain.failed(at);
                if error.class == Class::Missing {
                    // It may be another one when it is back: what that proves waits for a look at it.
                    self.drain.doubt(now.mono);
                    self.surveyed = None;
                }
                let trouble = if dead { &mut self.troubles.dead } else { &mut self.troubles.queue };
                trouble.failed(&error.chain(), "a channel cannot be read");
            }
        }
    }

    pub(super) fn start_count(&mut self, now: Stamp) {
        if self.counting || self.surveyed.is_none() {
            return;
        }
        let about = self.drain.candidate();
        if about.is_none() && now.mono < self.next_count {
            return;
        }
        if let Some(about) = about {
            self.drain.asking(about);
        }
        (self.counting, self.next_count) = (true, now.mono + COUNT_EVERY);
        let (store, ours) = (Arc::clone(&self.store), self.holds.len() as u64);
        self.events.push(Box::pin(async move {
            let result = Self::converge(&store).depth().await;
            Event::Counted { about, ours, result }
        }));
    }

    pub(super) fn on_counted(
        &mut self,
        about: Option<Stamp>,
        ours: u64,
        result: Result<Depth, StoreError>,
        now: Stamp,
        closed: bool,
    ) {
        self.counting = false;
        match result {
            Ok(depth) => {
                self.troubles.queue.cleared();
                let ours = ours.min(self.holds.len() as u64);
                match self.drain.depth(about, depth, ours) {
                    Drained::Clean(at) if !closed => self.on_drained(at, now),
                    Drained::Vanished(_, lost) if !closed => {
                        let why = format!(
                            "{lost} messages left the queue and were not given to us: it was purged, or somebody else reads it"
                        );
                        self.blind(self.before_drain(), why, now);
                    }
                    _ => {}
                }
            }
            Err(error) => {
                self.drain.depth_failed();
                self.next_count = now.mono + COUNT_EVERY;
                self.deps.meter.error(error.class);
                self.troubles.queue.failed(&error.chain(), "the depth of the queue cannot be asked for");
            }
        }
    }

    /// Everything that was in the channels before `at` was heard.
    fn on_drained(&mut self, at: Stamp, now: Stamp) {
        self.drained = Some(self.drained.map_or(at.mono, |have| have.max(at.mono)));
        self.prove_drain(at.wall - self.skew(), now);
    }

    fn prove_drain(&mut self, at: SourceTime, now: Stamp) {
        let course = self.course_mut();
        course.drained = Some(course.drained.map_or(at, |have| have.max(at)));
        self.last_progress = Some(now);
        // It says nothing of what prodX has done since it answered last.
        let lately = self.alive.filter(|alive| alive.mono < now.mono).unwrap_or(now);
        if self.alive.is_some() && self.proved.is_none_or(|have| have.mono < lately.mono) {
            self.proved = Some(lately);
        }
        self.pending.proof(now.mono);
    }

    /// A channel that never runs dry proves less, and proves it too.
    pub(super) fn judge_busy(&mut self, now: Stamp) {
        if self.surveyed.is_none() {
            return;
        }
        if let Some(at) = self.drain.busy(now.mono).map(|at| at - self.skew())
            && self.course().drained.is_none_or(|have| at > have)
        {
            self.prove_drain(at, now);
        }
    }

    pub(super) fn start_holds(&mut self, now: Stamp) {
        if now.mono < self.next_renewal {
            return;
        }
        self.next_renewal = now.mono + Duration::from_secs(1).min(self.tempo.visibility / 12);
        loop {
            let held = self.holds.due_renewals(now.mono, self.tempo.visibility, BATCH);
            if held.is_empty() {
                break;
            }
            let (store, by) = (Arc::clone(&self.store), self.tempo.visibility);
            self.events.push(Box::pin(async move {
                let receipts: Vec<Receipt> = held.iter().map(|(_, receipt)| receipt.clone()).collect();
                let result = Self::converge(&store).hold(&receipts, by).await;
                Event::Renewed { held, asked: now.mono, result }
            }));
        }
        self.start_requeues(now);
    }

    pub(super) fn on_renewed(
        &mut self,
        held: &[(Ticket, Receipt)],
        asked: Duration,
        result: Result<Vec<Receipt>, StoreError>,
        now: Stamp,
    ) {
        match result {
            Ok(lost) => {
                for (ticket, receipt) in held {
                    // Received again meanwhile, it has another receipt, which is not lost.
                    if lost.contains(receipt) && self.holds.has(*ticket, receipt) {
                        self.holds.gone(*ticket);
                    } else {
                        self.holds.renewed(*ticket, Some(asked));
                    }
                }
            }
            Err(error) => {
                self.deps.meter.error(error.class);
                self.troubles.queue.failed(&error.chain(), "messages cannot be held");
                held.iter().for_each(|(ticket, _)| self.holds.renewed(*ticket, None));
                self.next_renewal = self.next_renewal.max(now.mono + Duration::from_secs(1));
            }
        }
    }

    pub(super) fn start_requeues(&mut self, now: Stamp) {
        for (ticket, message) in self.holds.due_requeues(now.mono, self.tempo.hold_most) {
            let store = Arc::clone(&self.store);
            self.events.push(Box::pin(async move {
                let result = Self::converge(&store).requeue(&message).await;
                Event::Requeued { ticket, result }
            }));
        }
    }

    pub(super) fn on_requeued(&mut self, ticket: Ticket, result: Result<(), StoreError>, now: Stamp) {
        match result {
            Ok(()) => {
                self.holds.requeued(ticket);
                self.release.push_back(ticket);
            }
            Err(error) => {
                self.deps.meter.error(error.class);
                self.troubles.queue.failed(&error.chain(), "a message cannot be sent again");
                self.holds.not_requeued(ticket, now.mono, self.tempo.hold_most);
            }
        }
    }

    pub(super) fn start_releases(&mut self, now: Stamp) {
        while self.releasing < MOST_RELEASES && !self.release.is_empty() && now.mono >= self.next_release {
            let some = self.release.len().min(BATCH);
            let tickets: Vec<Ticket> = self.release.drain(..some).collect();
            let held = self.holds.leaving(&tickets);
            if held.is_empty() {
                continue;
            }
            self.releasing += 1;
            let store = Arc::clone(&self.store);
            self.events.push(Box::pin(async move {
                let receipts: Vec<Receipt> = held.iter().map(|(_, receipt)| receipt.clone()).collect();
                let result = Self::converge(&store).release(&receipts).await;
                Event::Released { held, result }
            }));
        }
    }

    pub(super) fn on_released(
        &mut self,
        held: &[(Ticket, Receipt)],
        result: Result<Vec<Receipt>, StoreError>,
        now: Stamp,
    ) {
        self.releasing -= 1;
        match result {
            // What was not forgotten comes again.
            Ok(_) => held.iter().for_each(|(ticket, _)| self.holds.gone(*ticket)),
            Err(error) => {
                self.deps.meter.error(error.class);
                self.troubles.queue.failed(&error.chain(), "messages cannot be released");
                let tickets: Vec<Ticket> = held.iter().map(|(ticket, _)| *ticket).collect();
                self.holds.stay(&tickets);
                self.release.extend(tickets);
                self.next_release = now.mono + Duration::from_secs(1);
            }
        }
    }

    /// Gives back what is held, so that the next process need not wait for it.
    pub(super) async fn give_back(&mut self, until: Duration) {
        let clock = Arc::clone(&self.deps.clock);
        let receipts = self.holds.receipts();
        if receipts.is_empty() {
            return;
        }
        // A poll that still waits would take what is given back.
        self.events.clear();
        clock.sleep(POLLS_END).await;
        for some in receipts.chunks(BATCH) {
            let left = until.saturating_sub(clock.now().mono) + Duration::from_secs(1);
            let given = Self::converge(&self.store).hold(some, Duration::ZERO);
            if !matches!(crate::seams::timeout(clock.as_ref(), left, given).await, Some(Ok(_))) {
                tracing::warn!("not all messages could be given back; they come again after their visibility");
                return;
            }
        }
    }
}
