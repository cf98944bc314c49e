//! A store in memory for the tests of this folder: a source and a standby with conditional writes, a queue with visibility,
//! and everything that can go wrong on the way, seeded and on tokio's clock.
//!
//! Every change of a key makes a new state of it, with a number; a removal is a state too. So what the standby lacks can be
//! told at any moment: that is the truth which every published watermark is held to.

mod world;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use crate::change::{Class, Difference, Key, Method, SourceTime, StoreId};
use crate::promote::Step;
use crate::seams::SharedClock;
use crate::stores::contract::{Mode, Rhythm, Store};
use crate::stores::converge::{
    Channel, Converge, Depth, Did, Event, Found, ListFrom, ListPage, Message, Notebook, Receipt, Refusal, Said, Same,
    Settled, Spot, Survey, Tempo,
};
use crate::stores::observe::Beat;
use crate::stores::{StoreError, StoreState};
use crate::watermark::Watermarks;

pub(crate) use world::{Dice, Weather};
use world::{Effect, Queued, State, World};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A quick tempo.
pub(crate) fn tempo() -> Tempo {
    Tempo {
        poll_wait: Duration::from_secs(2),
        receivers: 2,
        dead_letters: false,
        visibility: Duration::from_secs(30),
        hold_most: Duration::from_secs(12 * 3600),
        delivery: Duration::from_secs(60),
        concurrency: 4,
        max_request_life: Duration::from_secs(10),
        walk_every: Duration::from_secs(3600),
        certify_within: Duration::from_secs(24 * 3600),
        list_ranges: 2,
        list_rate: 20,
        delete_limit: 10,
        beat_every: None,
        settle: Duration::from_secs(30),
    }
}

/// The store.
pub(crate) struct Fake {
    id: StoreId,
    pub(crate) tempo: Tempo,
    clock: SharedClock,
    world: Arc<Mutex<World>>,
}

pub(crate) fn key(text: &str) -> Key {
    Key(text.as_bytes().to_vec().into())
}

impl Fake {
    pub(crate) fn new(clock: &SharedClock, seed: u64, tempo: Tempo) -> Arc<Self> {
        let world = World::new(seed);
        let id = StoreId::new("uploads").unwrap();
        Arc::new(Self { id, tempo, clock: Arc::clone(clock), world: Arc::new(Mutex::new(world)) })
    }

    /// The world as of now.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap();
        world.settle(self.clock.now().mono, self.clock.now().wall);
        world
    }

    /// The source changes: an object (`true`), or its removal.
    pub(crate) fn change(&self, key: &Key, object: bool) {
        let now = self.clock.now();
        self.world().change(key, object, now.mono, now.wall);
    }

    /// The source changes, and no event tells.
    pub(crate) fn change_untold(&self, key: &Key, object: bool) {
        let at = self.clock.now().wall;
        let mut world = self.world();
        let object = object.then(|| world.number());
        world.history.entry(key.clone()).or_default().push(State { at, object });
    }

    /// The standby has what the source never had.
    pub(crate) fn litter(&self, key: &Key) {
        let mut world = self.world();
        let (object, tag) = (world.number(), world.number());
        world.standby.insert(key.clone(), (object, tag));
    }

    /// A message as it is.
    pub(crate) fn send(&self, says: Said) {
        let now = self.clock.now();
        self.world().push(says, now.mono, now.wall);
    }

    /// Nothing is left to do.
    pub(crate) fn calm(&self) -> bool {
        let world = self.world();
        world.queue.is_empty() && world.effects.is_empty()
    }

    async fn nap(&self, most: Duration) {
        let ms = self.world().dice.below(most.as_millis() as u64 + 1);
        if ms > 0 {
            self.clock.sleep(MS(ms)).await;
        }
    }

    /// One call to a far end; it may fail.
    async fn call(&self, source: bool) -> Result<(), StoreError> {
        let slow = self.world().weather.slow;
        self.nap(slow).await;
        let mut world = self.world();
        let fails = world.weather.fails;
        if (source && world.source_down) || world.dice.chance(fails) {
            return Err(StoreError::new(Class::Unavailable, "a call", "the fake"));
        }
        Ok(())
    }

    /// A conditional write: `Ok(false)`: the condition did not hold.
    async fn write(&self, key: &Key, object: Option<u64>, only_if: Option<u64>) -> Result<bool, StoreError> {
        let (id, unknown, slow, life) = {
            let mut world = self.world();
            let (slow, unknown) = (world.weather.slow, world.weather.unknown);
            (world.number(), world.dice.chance(unknown), slow, self.tempo.max_request_life)
        };
        let lands = {
            let mut world = self.world();
            let most = if unknown { life.as_millis() as u64 - 1 } else { slow.as_millis() as u64 };
            let after = MS(world.dice.below(most + 1));
            let at = self.clock.now().mono + after;
            // From here on it is on its way, whatever becomes of us.
            if !(unknown && world.dice.chance(30)) {
                let effect = Effect::Write { key: key.clone(), object, only_if, id };
                world.effects.push((at, effect));
            }
            after
        };
        if unknown {
            self.nap(slow).await;
            return Err(StoreError::new(Class::Unknown, "a write", "the fake"));
        }
        self.clock.sleep(lands + MS(1)).await;
        Ok(self.world().landed.remove(&id).unwrap_or(false))
    }
}

impl Store for Fake {
    fn id(&self) -> &StoreId {
        &self.id
    }
    fn kind(&self) -> &'static str {
        "fake"
    }
    fn mode(&self) -> Mode<'_> {
        Mode::Converge(self)
    }
    fn rhythm(&self) -> Rhythm {
        crate::replicate::testing::RHYTHM
    }
    fn watermark(&self, state: &StoreState) -> Option<(SourceTime, Method)> {
        state.record.through.zip(state.record.method)
    }
    fn promote_steps(&self, _: &Watermarks) -> Vec<Arc<dyn Step>> {
        Vec::new()
    }
}

#[async_trait]
impl Converge for Fake {
    fn tempo(&self) -> Tempo {
        self.tempo.clone()
    }

    async fn survey(&self) -> Result<Survey, StoreError> {
        if self.world().survey_down {
            return Err(StoreError::new(Class::Unavailable, "a survey", "the fake"));
        }
        self.call(true).await?;
        let incarnation = self.world().incarnation.clone();
        let channel = self.world().channel.clone();
        let retention = Duration::from_secs(4 * 86_400);
        Ok(Survey { incarnation, channel, retention, about: Some("fake".into()), source: None, deaf: None })
    }

    async fn receive(&self, _: Channel) -> Result<Vec<Message>, StoreError> {
        let until = self.clock.now().mono + self.tempo.poll_wait;
        loop {
            let now = self.clock.now().mono;
            {
                let mut world = self.world();
                let mut found = Vec::new();
                for at in 0..world.queue.len() {
                    // Not the oldest first, and not all.
                    if world.queue[at].visible > now || world.dice.chance(30) || found.len() == 10 {
                        continue;
                    }
                    let handle = world.number();
                    let queued = &mut world.queue[at];
                    (queued.visible, queued.handle) = (now + self.tempo.visibility, handle);
                    queued.message.times += 1;
                    queued.message.receipt.handle = handle.to_string().into();
                    found.push(queued.message.clone());
                }
                if !found.is_empty() {
                    return Ok(found);
                }
                if now >= until && !world.queue.iter().any(|queued| queued.visible <= now) {
                    return Ok(Vec::new());
                }
            }
            self.clock.sleep(MS(50)).await;
        }
    }

    async fn hold(&self, receipts: &[Receipt], by: Duration) -> Result<Vec<Receipt>, StoreError> {
        self.call(false).await?;
        let now = self.clock.now().mono;
        let mut world = self.world();
        let mut lost = Vec::new();
        for receipt in receipts {
            let ours = |queued: &&mut Queued| queued.handle.to_string() == *receipt.handle && queued.visible > now;
            match world.queue.iter_mut().find(ours) {
                Some(queued) => queued.visible = now + by,
                None => lost.push(receipt.clone()),
            }
        }
        Ok(lost)
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>, StoreError> {
        self.call(false).await?;
        let mut world = self.world();
        let mut lost = Vec::new();
        for receipt in receipts {
            match world.queue.iter().position(|queued| queued.handle.to_string() == *receipt.handle) {
                Some(at) => {
                    world.queue.remove(at);
                    world.released += 1;
                }
                None => lost.push(receipt.clone()),
            }
        }
        Ok(lost)
    }

    async fn requeue(&self, message: &Message) -> Result<(), StoreError> {
        let events = serde_json::from_str::<Vec<(Vec<u8>, i64, bool)>>(&message.body).unwrap();
        let event = |(key, at, canary): (Vec<u8>, i64, bool)| Event {
            key: Key(key.into()),
            at: SourceTime(at),
            order: None,
            failed: false,
            canary,
        };
        self.send(Said::Events(events.into_iter().map(event).collect()));
        Ok(())
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        self.call(false).await?;
        let now = self.clock.now().mono;
        let world = self.world();
        let waiting = world.queue.iter().filter(|queued| queued.visible <= now).count() as u64;
        Ok(Depth { waiting, delayed: 0, held: world.queue.len() as u64 - waiting })
    }

    async fn converge(&self, spot: Spot<'_>) -> Settled {
        match self.make_same(&spot).await {
            Ok(settled) => settled,
            Err(error) => Settled::Failed(error),
        }
    }

    async fn ranges(&self) -> Result<Vec<Key>, StoreError> {
        self.call(true).await?;
        Ok(vec![key(""), key("g"), key("p")])
    }

    async fn list(&self, from: &ListFrom, _: &dyn Notebook) -> Result<ListPage, StoreError> {
        const MOST: usize = 5;
        self.call(true).await?;
        let inside = |key: &Key| {
            let behind = from.after.as_ref().map_or(*key >= from.start, |after| key > after);
            behind && from.end.as_ref().is_none_or(|end| key < end)
        };
        // The source first; the standby may change before it is listed.
        let source: Vec<(Key, (u64, SourceTime))> = {
            let world = self.world();
            let keys = world.history.keys().filter(|key| inside(key));
            keys.filter_map(|key| Some((key.clone(), world.source(key)?))).collect()
        };
        self.call(false).await?;
        let world = self.world();
        let mut keys: Vec<Key> = source.iter().map(|(key, _)| key.clone()).collect();
        keys.extend(world.standby.keys().filter(|key| inside(key)).cloned());
        keys.sort();
        keys.dedup();
        let more = keys.len() > MOST;
        keys.truncate(MOST);
        let mut page = ListPage { to: keys.last().cloned().filter(|_| more), ..ListPage::default() };
        for key in keys {
            let there = source.iter().find(|(k, _)| *k == key).map(|(_, state)| *state);
            let here = world.standby.get(&key).map(|(object, _)| *object);
            page.looked += u64::from(there.is_some());
            page.standby += u64::from(here.is_some());
            let what = match (there, here) {
                (Some(_), None) => Difference::Missing,
                (None, Some(_)) => Difference::Orphan,
                (Some((object, _)), Some(have)) if object != have => Difference::Differs,
                _ => continue,
            };
            page.found.push(Found { key, what, made_at: there.map(|(_, at)| at) });
        }
        Ok(page)
    }

    async fn beat(&self, _: &Beat) -> Result<(), StoreError> {
        self.call(true).await?;
        self.change(&key("canary"), true);
        Ok(())
    }

    fn key_text(&self, key: &Key) -> String {
        String::from_utf8_lossy(&key.0).into_owned()
    }
}

impl Fake {
    /// S3-1: the standby, the source, a write on the condition that the standby is still what was read.
    async fn make_same(&self, spot: &Spot<'_>) -> Result<Settled, StoreError> {
        let key = spot.key;
        self.call(false).await?;
        let here = self.world().standby.get(key).copied();
        self.call(true).await?;
        let there = self.world().source(key);
        let class = key.0.first().and_then(|first| self.world().refused.get(first).copied());
        if let (Some((class, excluded)), Some(_)) = (class, there) {
            return Ok(Settled::Refused(Refusal { class, why: "so it is".into(), bytes: 7, excluded }));
        }
        let known = there.map(|(object, _)| json!({ "object": object }));
        let made_at = there.map(|(_, at)| at);
        let did = match (here, there) {
            (None, None) => Did::Nothing,
            (Some((have, _)), Some((object, _))) if have == object => Did::Nothing,
            (here, there) => {
                let done = self.write(key, there.map(|(object, _)| object), here.map(|(_, tag)| tag)).await?;
                if !done {
                    return Ok(Settled::Again);
                }
                if there.is_some() { Did::Copied } else { Did::Removed }
            }
        };
        self.world().converged += 1;
        Ok(Settled::Same(Same { known, did, bytes: 1, made_at }))
    }
}
