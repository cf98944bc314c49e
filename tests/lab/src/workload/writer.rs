//! One writer: picks a key of its own, decides on a change, writes it down, sends it, writes down the answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::sync::RwLock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Attributes, OnSilence, Traffic, items};
use crate::canon::{self, Key};
use crate::ledger::State;
use crate::random::Random;
use crate::trouble::{Trouble, chain};

/// Answers of DynamoDB that say "not now": nothing was written.
const THROTTLES: [&str; 4] =
    ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "LimitExceededException"];

/// A key of a writer, and what it holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    /// Counts the keys that this slot has had: a key with an unknown change is left behind.
    generation: u32,
    /// Counts the changes, so that each is different.
    revision: u64,
    /// The item as it was last committed.
    item: Option<Attributes>,
}

impl Slot {
    /// A key that holds an item before its writer starts: the first revision.
    pub(super) fn holding(item: Attributes) -> Self {
        Self { generation: 0, revision: 1, item: Some(item) }
    }
}

/// A change that was decided on.
enum Deed {
    Put(Attributes),
    Touch(Attributes),
    Delete,
}

/// What is known after an attempt.
enum Answer {
    Committed,
    Throttled,
    Silent,
    Wrong(String),
}

pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) traffic: Traffic,
    pub(super) seed: u64,
    pub(super) number: usize,
    pub(super) random: Random,
    pub(super) slots: Vec<Slot>,
    pub(super) stop: CancellationToken,
    pub(super) gate: Arc<RwLock<()>>,
    pub(super) on_silence: OnSilence,
    pub(super) start: Instant,
}

impl Writer {
    /// Writes until it is stopped, has reached its limit, or the region is gone and it is to end then.
    pub(super) async fn run(mut self) -> Result<(), Trouble> {
        let step = Duration::from_secs_f64(self.traffic.writers as f64 / self.traffic.rate.max(0.001));
        let mut left = self.traffic.limit.map(|limit| limit.div_ceil(self.traffic.writers as u64));
        let mut next = Instant::now() + step.mul_f64(self.random.unit());
        while left != Some(0) {
            next = self.busy(next);
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => {}
            }
            // Late writers catch up a little, not everything: the rate is an upper bound.
            next = next.max(Instant::now() - Duration::from_millis(200)) + step.mul_f64(0.5 + self.random.unit());
            match self.change().await {
                Answer::Committed => left = left.map(|left| left - 1),
                Answer::Throttled => next = next.max(Instant::now() + Duration::from_millis(50)),
                Answer::Wrong(why) => {
                    return Err(Trouble::new(format!("a write to {} was refused: {why}", self.traffic.table.name)));
                }
                Answer::Silent if self.on_silence == OnSilence::End => break,
                Answer::Silent => self.wait_for_region().await,
            }
        }
        Ok(())
    }

    /// The moment itself, or the start of the next busy phase when it falls into a quiet one.
    fn busy(&self, at: Instant) -> Instant {
        let Some(rhythm) = self.traffic.rhythm else { return at };
        let period = (rhythm.busy + rhythm.quiet).as_nanos().max(1);
        let phase = at.saturating_duration_since(self.start).as_nanos() % period;
        if phase < rhythm.busy.as_nanos() {
            return at;
        }
        at + Duration::from_nanos(u64::try_from(period - phase).unwrap_or(u64::MAX))
    }

    async fn change(&mut self) -> Answer {
        let gate = self.gate.clone();
        let _open = gate.read().await;
        let index = self.pick();
        let generation = self.slot(index).generation;
        let key = items::key(&self.traffic, self.seed, self.number, index, generation);
        let deed = self.decide(index, &key);
        let (state, next) = match &deed {
            Deed::Put(item) | Deed::Touch(item) => (State::Item(canon::digest(&canon::item(item))), Some(item.clone())),
            Deed::Delete => (State::Absent, None),
        };
        let names = self.traffic.table.key_names();
        let ticket = self.traffic.ledger.send(Key::of(&canon::item(&key), &names), state, SystemTime::now());
        let answer = self.send(key, deed).await;
        let now = SystemTime::now();
        match answer {
            Answer::Committed => {
                self.traffic.ledger.ack(ticket, now);
                self.slot(index).item = next;
            }
            Answer::Throttled | Answer::Wrong(_) => self.traffic.ledger.refuse(ticket),
            Answer::Silent => {
                let slot = self.slot(index);
                slot.generation += 1;
                slot.item = None;
            }
        }
        answer
    }

    fn slot(&mut self, index: usize) -> &mut Slot {
        self.slots.get_mut(index).expect("the index was picked below the number of slots")
    }

    fn pick(&mut self) -> usize {
        let hot = (self.slots.len() / 10).max(1);
        let among = if self.random.chance(self.traffic.hot) { hot } else { self.slots.len() };
        self.random.below(among)
    }

    fn decide(&mut self, index: usize, key: &Attributes) -> Deed {
        let slot = self.slot(index);
        slot.revision += 1;
        let revision = slot.revision;
        if let Some(old) = slot.item.clone() {
            let choice = self.random.unit();
            let (deletes, updates, repeats) = (self.traffic.deletes, self.traffic.updates, self.traffic.repeats);
            if choice < deletes {
                return Deed::Delete;
            }
            if choice < deletes + updates {
                let mut item = old;
                item.insert("rev".into(), AttributeValue::N(revision.to_string()));
                return Deed::Touch(item);
            }
            if choice < deletes + updates + repeats {
                return Deed::Put(old);
            }
        }
        let mut item = items::body(&self.traffic, &mut self.random, revision);
        item.extend(key.clone());
        Deed::Put(item)
    }

    async fn send(&self, key: Attributes, deed: Deed) -> Answer {
        let table = &self.traffic.table.name;
        match deed {
            Deed::Put(item) => answer(self.client.put_item().table_name(table).set_item(Some(item)).send().await),
            Deed::Touch(mut item) => {
                let revision = item.remove("rev").expect("every item has a rev");
                let call = self.client.update_item().table_name(table).set_key(Some(key));
                let call = call.update_expression("SET #r = :r").expression_attribute_names("#r", "rev");
                answer(call.expression_attribute_values(":r", revision).send().await)
            }
            Deed::Delete => answer(self.client.delete_item().table_name(table).set_key(Some(key)).send().await),
        }
    }

    /// Asks, gently, until the region answers anything.
    async fn wait_for_region(&mut self) {
        let mut pause = Duration::from_millis(100);
        while !self.stop.is_cancelled() {
            let asked = self.client.describe_table().table_name(&self.traffic.table.name).send().await;
            if matches!(answer(asked), Answer::Committed | Answer::Throttled) {
                return;
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

/// A 4xx answer is a refusal: nothing was written. Everything else that is not a success may have been carried out.
fn answer<T, E>(result: Result<T, SdkError<E, HttpResponse>>) -> Answer
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match result {
        Ok(_) => Answer::Committed,
        Err(SdkError::ServiceError(refusal)) if (400..500).contains(&refusal.raw().status().as_u16()) => {
            match refusal.err().code() {
                Some(code) if THROTTLES.contains(&code) => Answer::Throttled,
                _ => Answer::Wrong(chain(refusal.err())),
            }
        }
        Err(SdkError::ConstructionFailure(_)) => Answer::Wrong("the request could not be built".into()),
        Err(_) => Answer::Silent,
    }
}
