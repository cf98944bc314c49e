//! What is in the world of the fake store, and what becomes of it as time passes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::MS;
use crate::change::{Key, SourceTime};
use crate::stores::converge::{Channel, Event, Message, Receipt, Said};

/// A small seeded generator (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How events fare on their way, and calls at the far end. In percent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) late_by: Duration,
    pub(crate) twice: u64,
    pub(crate) copies: u64,
    pub(crate) fails: u64,
    /// The outcome of a write is not known, and it takes effect, now or later, or not.
    pub(crate) unknown: u64,
    pub(crate) slow: Duration,
}

/// One state of a key: `None`: removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) at: SourceTime,
    pub(super) object: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) message: Message,
    pub(super) visible: Duration,
    pub(super) handle: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Effect {
    Deliver(Vec<Event>),
    /// Put (`Some`) or remove, if the tag of the standby is this.
    Write {
        key: Key,
        object: Option<u64>,
        only_if: Option<u64>,
        id: u64,
    },
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
    pub(super) history: BTreeMap<Key, Vec<State>>,
    /// What the standby holds: the number of the object, and a tag that each write makes anew.
    pub(super) standby: BTreeMap<Key, (u64, u64)>,
    pub(super) queue: Vec<Queued>,
    pub(super) effects: Vec<(Duration, Effect)>,
    pub(super) landed: BTreeMap<u64, bool>,
    pub(super) numbers: u64,
    pub(crate) incarnation: String,
    pub(crate) channel: String,
    /// Classes of keys by their first byte.
    pub(crate) refused: BTreeMap<u8, (&'static str, bool)>,
    pub(crate) source_down: bool,
    pub(crate) survey_down: bool,
    pub(crate) released: u64,
    pub(crate) converged: u64,
    pub(crate) removed: u64,
}

impl World {
    /// An empty one.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            weather: Weather::default(),
            history: BTreeMap::new(),
            standby: BTreeMap::new(),
            queue: Vec::new(),
            effects: Vec::new(),
            landed: BTreeMap::new(),
            numbers: 0,
            incarnation: "bucket-1".into(),
            channel: "queue-1".into(),
            refused: BTreeMap::new(),
            source_down: false,
            survey_down: false,
            released: 0,
            converged: 0,
            removed: 0,
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn settle(&mut self, now: Duration, wall: SourceTime) {
        loop {
            let due = self.effects.iter().enumerate().filter(|(_, (at, _))| *at <= now).min_by_key(|(_, (at, _))| *at);
            let Some((at, _)) = due else { return };
            let (when, effect) = self.effects.remove(at);
            match effect {
                Effect::Deliver(events) => {
                    let sent = wall - now.saturating_sub(when);
                    self.push(Said::Events(events), when, sent);
                }
                Effect::Write { key, object, only_if, id } => {
                    let have = self.standby.get(&key).map(|(_, tag)| *tag);
                    let holds = have == only_if;
                    if holds {
                        let tag = self.number();
                        match object {
                            Some(object) => drop(self.standby.insert(key, (object, tag))),
                            None => {
                                self.removed += 1;
                                self.standby.remove(&key);
                            }
                        }
                    }
                    self.landed.insert(id, holds);
                }
            }
        }
    }

    pub(super) fn push(&mut self, says: Said, now: Duration, sent_at: SourceTime) {
        let number = self.number();
        let body: Arc<str> = match &says {
            Said::Events(events) => {
                let list: Vec<Value> = events.iter().map(|e| json!([e.key.0.to_vec(), e.at.0, e.canary])).collect();
                Value::from(list).to_string().into()
            }
            Said::Strange(text) => text.as_str().into(),
        };
        let receipt = Receipt { channel: Channel::Main, handle: "".into() };
        let message = Message { id: format!("m{number}").into(), receipt, sent_at, times: 0, body, says };
        self.queue.push(Queued { message, visible: now, handle: 0 });
    }

    pub(super) fn change(&mut self, key: &Key, object: bool, now: Duration, wall: SourceTime) {
        let object = object.then(|| self.number());
        self.history.entry(key.clone()).or_default().push(State { at: wall, object });
        let weather = self.weather;
        if self.dice.chance(weather.lost) {
            return;
        }
        let copies = if self.dice.chance(weather.twice) { 1 + weather.copies } else { 1 };
        let event =
            Event { key: key.clone(), at: wall, order: None, failed: false, canary: key.0.starts_with(b"canary") };
        for _ in 0..copies {
            let late = self.dice.chance(weather.late);
            let ms = if late { weather.late_by.as_millis() as u64 } else { 3_000 };
            let at = now + MS(self.dice.below(ms));
            self.effects.push((at, Effect::Deliver(vec![event.clone()])));
        }
    }

    pub(crate) fn source(&self, key: &Key) -> Option<(u64, SourceTime)> {
        let state = self.history.get(key)?.last()?;
        Some((state.object?, state.at))
    }

    /// Where the standby and the source differ.
    pub(crate) fn differences(&self) -> Vec<Key> {
        let keys = self.history.keys().chain(self.standby.keys()).collect::<std::collections::BTreeSet<_>>();
        let differs = |key: &&&Key| self.source(key).map(|(o, _)| o) != self.standby.get(**key).map(|(o, _)| *o);
        keys.iter().filter(differs).map(|key| (*key).clone()).collect()
    }

    /// A change at or before `through` that is not in the standby, nor is a later one of its key.
    pub(crate) fn missing(&self, through: SourceTime) -> Option<String> {
        for (key, states) in &self.history {
            let Some(last) = states.iter().rposition(|state| state.at <= through) else { continue };
            let have = self.standby.get(key).map(|(object, _)| *object);
            if key.0.first().is_some_and(|first| self.refused.get(first).is_some_and(|(_, excluded)| *excluded)) {
                continue;
            }
            if !states.iter().skip(last).any(|state| state.object == have) {
                let text = String::from_utf8_lossy(&key.0).into_owned();
                return Some(format!("{text}: {:?} of {}, standby has {have:?}", states[last].object, states[last].at));
            }
        }
        None
    }
}
