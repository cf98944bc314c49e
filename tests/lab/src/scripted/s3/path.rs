//! How the events of a bucket get into a queue: at once or later, in order or not, whole or broken.
//!
//! A path belongs to one bucket and ends in one queue, as a rule of the other region's server. What is on the way dies
//! with the bucket's region ([`super::S3::lose_events`]).

use super::events::{Envelope, ObjectEvent, message, test_message};
use crate::scripted::faults::{Call, Faults};
use crate::scripted::region::Region;
use crate::scripted::rng::Rng;
use crate::scripted::sqs::Desk;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What happens to one event instead of its being told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTwist {
    /// It is never told.
    Drop,
    /// It waits until [`super::S3::release_events`].
    Hold,
    /// It is told so many times.
    Duplicate(u32),
    /// It is told this much later than others, in real time.
    Delay(Duration),
    /// It is told after the next so many events of the bucket.
    Behind(u32),
    /// It says that it happened this much earlier: an event that is late, without the wait.
    BackDate(Duration),
    /// This text is sent in its place.
    Garbage(String),
}

/// How the events of a bucket are told, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRoute {
    /// The name of the queue.
    pub queue: String,
    /// How they are wrapped.
    pub envelope: Envelope,
    /// Real time from the commit to the queue. Zero: the event is in the queue before the write is answered.
    pub delay: Duration,
    /// Up to this much is added, by chance: events overtake each other.
    pub jitter: Duration,
    /// Records in a message. A message that is not full waits for more, or for [`super::S3::flush_events`].
    pub per_message: usize,
}

impl EventRoute {
    /// One record a message in S3's format, at once.
    pub fn to(queue: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            envelope: Envelope::S3,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            per_message: 1,
        }
    }

    /// Wrapped like this.
    #[must_use]
    pub fn envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = envelope;
        self
    }

    /// So much later.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// So much later at most, by chance.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// So many records a message.
    #[must_use]
    pub fn per_message(mut self, records: usize) -> Self {
        self.per_message = records.max(1);
        self
    }
}

/// Where the events of a bucket are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventCounts {
    /// Changes that were to be told.
    pub told: u64,
    /// Messages that reached the queue.
    pub sent: u64,
    /// Events that a rule dropped, and those that were lost with the region or without a queue.
    pub lost: u64,
    /// Events that wait for a test.
    pub held: usize,
    /// Messages that are under way.
    pub travelling: usize,
}

#[derive(Debug)]
struct Inner {
    holding: bool,
    held: Vec<ObjectEvent>,
    behind: Vec<(u32, ObjectEvent)>,
    batch: Vec<ObjectEvent>,
    counts: EventCounts,
    /// What set out under an older one is lost.
    generation: u64,
    rng: Rng,
}

struct State {
    route: EventRoute,
    bucket: Arc<str>,
    region: Arc<Region>,
    twists: Arc<Faults<EventTwist>>,
    desk: Arc<Desk>,
    inner: Mutex<Inner>,
}

/// A bucket's way to a queue. Clones are the same.
#[derive(Clone)]
pub(super) struct EventPath(Arc<State>);

impl std::fmt::Debug for EventPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventPath").field("route", &self.0.route).finish_non_exhaustive()
    }
}

impl EventPath {
    pub(super) fn new(
        route: EventRoute,
        bucket: Arc<str>,
        region: Arc<Region>,
        twists: Arc<Faults<EventTwist>>,
        desk: Arc<Desk>,
    ) -> Self {
        let inner = Inner {
            holding: false,
            held: Vec::new(),
            behind: Vec::new(),
            batch: Vec::new(),
            counts: EventCounts::default(),
            generation: 0,
            rng: Rng::new(region.seed()),
        };
        Self(Arc::new(State { route, bucket, region, twists, desk, inner: Mutex::new(inner) }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn route(&self) -> &EventRoute {
        &self.0.route
    }

    /// A change was committed.
    pub(super) fn tell(&self, event: ObjectEvent) {
        let mut inner = self.lock();
        inner.counts.told += 1;
        if inner.holding {
            inner.held.push(event);
            return;
        }
        let twist = if self.0.twists.any() {
            let call =
                Call { op: event.name, tables: vec![&event.bucket], objects: vec![&event.key], ..Call::default() };
            self.0.twists.decide(&call, self.0.region.now())
        } else {
            None
        };
        let mut stays = None;
        match twist {
            None => self.pass(&mut inner, event, Duration::ZERO),
            Some(EventTwist::Drop) => inner.counts.lost += 1,
            Some(EventTwist::Hold) => inner.held.push(event),
            Some(EventTwist::Duplicate(times)) => {
                (0..times).for_each(|_| self.pass(&mut inner, event.clone(), Duration::ZERO));
            }
            Some(EventTwist::Delay(by)) => self.pass(&mut inner, event, by),
            Some(EventTwist::Behind(others)) => stays = Some((others, event)),
            Some(EventTwist::BackDate(by)) => {
                let at = event.at - by;
                self.pass(&mut inner, ObjectEvent { at, ..event }, Duration::ZERO);
            }
            Some(EventTwist::Garbage(text)) => self.send(&mut inner, text, Duration::ZERO),
        }
        let waiting = std::mem::take(&mut inner.behind);
        for (others, event) in waiting {
            if others <= 1 {
                self.pass(&mut inner, event, Duration::ZERO);
            } else {
                inner.behind.push((others - 1, event));
            }
        }
        inner.behind.extend(stays);
    }

    fn pass(&self, inner: &mut Inner, event: ObjectEvent, later: Duration) {
        let route = &self.0.route;
        if route.per_message > 1 && route.envelope != Envelope::EventBridge && later.is_zero() {
            inner.batch.push(event);
            if inner.batch.len() >= route.per_message {
                self.flush_batch(inner);
            }
        } else {
            self.send(inner, message(route.envelope, &[event]), later);
        }
    }

    fn flush_batch(&self, inner: &mut Inner) {
        let batch = std::mem::take(&mut inner.batch);
        if !batch.is_empty() {
            self.send(inner, message(self.0.route.envelope, &batch), Duration::ZERO);
        }
    }

    fn send(&self, inner: &mut Inner, text: String, later: Duration) {
        let route = &self.0.route;
        let jitter = u64::try_from(route.jitter.as_nanos()).unwrap_or(u64::MAX);
        let by_chance = if jitter == 0 { 0 } else { inner.rng.next() % jitter };
        let wait = route.delay + later + Duration::from_nanos(by_chance);
        if wait.is_zero() {
            self.arrived(inner, text);
            return;
        }
        inner.counts.travelling += 1;
        let (path, generation) = (self.clone(), inner.generation);
        self.0.region.spawn(async move {
            tokio::time::sleep(wait).await;
            let mut inner = path.lock();
            if inner.generation == generation {
                inner.counts.travelling -= 1;
                path.arrived(&mut inner, text);
            }
        });
    }

    fn arrived(&self, inner: &mut Inner, text: String) {
        if self.0.desk.put(&self.0.route.queue, text) {
            inner.counts.sent += 1;
        } else {
            inner.counts.lost += 1;
        }
    }

    pub(super) fn send_test(&self) {
        let text = test_message(self.0.route.envelope, &self.0.bucket, self.0.region.now());
        self.send(&mut self.lock(), text, Duration::ZERO);
    }

    pub(super) fn hold(&self) {
        self.lock().holding = true;
    }

    /// Tells what waits, in the order that `order` leaves, and no longer holds.
    pub(super) fn release(&self, order: impl FnOnce(&mut Vec<ObjectEvent>)) -> usize {
        let mut inner = self.lock();
        inner.holding = false;
        let mut held = std::mem::take(&mut inner.held);
        held.extend(std::mem::take(&mut inner.behind).into_iter().map(|(_, event)| event));
        order(&mut held);
        let told = held.len();
        for event in held {
            self.pass(&mut inner, event, Duration::ZERO);
        }
        self.flush_batch(&mut inner);
        told
    }

    pub(super) fn flush(&self) {
        self.flush_batch(&mut self.lock());
    }

    /// What has not reached the queue never will.
    pub(super) fn lose(&self) -> usize {
        let mut inner = self.lock();
        inner.generation += 1;
        let lost = inner.held.len() + inner.behind.len() + inner.batch.len() + inner.counts.travelling;
        inner.held.clear();
        inner.behind.clear();
        inner.batch.clear();
        inner.counts.travelling = 0;
        inner.counts.lost += lost as u64;
        lost
    }

    pub(super) fn counts(&self) -> EventCounts {
        let inner = self.lock();
        EventCounts { held: inner.held.len() + inner.behind.len() + inner.batch.len(), ..inner.counts }
    }
}
