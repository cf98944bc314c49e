//! The dirty keys in memory. Pure: told of everything, asks nothing.
//!
//! Invariants
//! - A key has one place: it waits for its turn, for an instant, or it is in work.
//! - A mark is cleared only if its generation is the one that was worked on. If it is not, what came before the work is done,
//!   and what came since stays: a storm of events on one key cannot hold the watermark at its first.
//! - Whoever holds a message is told when the last of its keys is done; forgetting is not decided here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::change::{Difference, Key, SourceTime};
use crate::watermark::MarkRecord;
use crate::watermark::course::Refused;

/// A message that is held.
pub(super) type Ticket = u64;

/// Among those that wait, every so many-th turn is of a key that only a walk found.
const WALKED_TURN: u32 = 8;

/// What is durable about a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Saved {
    /// There is a row of it.
    pub(super) row: bool,
    /// The instant of its row in the order of time.
    pub(super) due: Option<SourceTime>,
}

/// An event that came later than the allowance, of a time that the watermark has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suspect {
    /// Its time.
    pub(super) at: SourceTime,
    /// Until when it may be shown to have been in the standby already, monotonic.
    pub(super) until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Turn,
    Until(Duration),
    Work,
}

#[derive(Debug, Clone)]
struct Work {
    generation: u64,
    /// Monotonic.
    began: Duration,
    /// The oldest event that came since.
    later: Option<SourceTime>,
    /// Holders from before it began.
    holders: usize,
}

/// A dirty key.
#[derive(Debug, Clone)]
pub(super) struct Dirty {
    pub(super) since: SourceTime,
    pub(super) found_at: SourceTime,
    pub(super) generation: u64,
    pub(super) walked: bool,
    pub(super) what: Option<Difference>,
    pub(super) refused: Option<Refused>,
    pub(super) late: bool,
    pub(super) order: Option<Arc<str>>,
    /// An event told of it.
    pub(super) told: bool,
    pub(super) suspect: Option<Suspect>,
    /// A walk found it, and its state is older than what was published then.
    pub(super) below: bool,
    pub(super) failures: u32,
    /// Something may be noted of the work on it.
    pub(super) noted: bool,
    pub(super) saved: Saved,
    /// A write that we gave up may still take effect until then, monotonic.
    strays: Duration,
    holders: Vec<Ticket>,
    place: Place,
    work: Option<Work>,
}

/// One word of an event.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) at: SourceTime,
    pub(super) order: Option<Arc<str>>,
    pub(super) holder: Option<Ticket>,
    pub(super) late: bool,
    pub(super) suspect: Option<Suspect>,
    /// Our wall clock.
    pub(super) now: SourceTime,
}

/// What a finished work came to.
#[derive(Debug)]
pub(super) struct Settling {
    /// As it was.
    pub(super) mark: Dirty,
    /// It is dirty no more; otherwise what came since stays.
    pub(super) cleared: bool,
    /// Whose messages it concerns no more.
    pub(super) holders: Vec<Ticket>,
}

/// All dirty keys in memory.
#[derive(Debug, Default)]
pub(super) struct Marks {
    keys: BTreeMap<Key, Dirty>,
    pins: BTreeSet<(SourceTime, Key)>,
    told: VecDeque<Key>,
    found: VecDeque<Key>,
    waiting: BTreeSet<(Duration, Key)>,
    /// Changed since the last commit began.
    fresh: BTreeSet<Key>,
    /// Changed before that, and not written yet.
    aged: BTreeSet<Key>,
    walked: usize,
    heard: usize,
    suspects: BTreeSet<Key>,
    turns: u32,
    working: usize,
}

impl Dirty {
    fn new(since: SourceTime, now: SourceTime) -> Self {
        Self {
            since,
            found_at: now,
            generation: 0,
            walked: false,
            what: None,
            refused: None,
            late: false,
            order: None,
            told: false,
            suspect: None,
            below: false,
            failures: 0,
            noted: false,
            saved: Saved::default(),
            strays: Duration::ZERO,
            holders: Vec::new(),
            place: Place::Turn,
            work: None,
        }
    }

    /// As a row.
    pub(super) fn record(&self) -> MarkRecord {
        MarkRecord {
            since: self.since,
            found_at: self.found_at,
            generation: self.generation,
            walked: self.walked,
            what: self.what,
            held: false,
            refused: self.refused.clone(),
            late: self.late,
            order: self.order.as_deref().map(str::to_owned),
        }
    }

    /// It is being made the same now.
    pub(super) fn in_work(&self) -> bool {
        self.work.is_some()
    }

    /// Messages that are about it.
    pub(super) fn holders(&self) -> &[Ticket] {
        &self.holders
    }
}

impl Marks {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
    pub(super) fn get(&self, key: &Key) -> Option<&Dirty> {
        self.keys.get(key)
    }
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys.contains_key(key)
    }
    /// Keys in work.
    pub(super) fn working(&self) -> usize {
        self.working
    }
    /// Keys that a walk found.
    pub(super) fn walked(&self) -> usize {
        self.walked
    }
    /// Keys that an event told of.
    pub(super) fn heard(&self) -> usize {
        self.heard
    }
    /// The oldest change that is not known to be in the standby.
    pub(super) fn oldest(&self) -> Option<SourceTime> {
        self.pins.first().map(|(at, _)| *at)
    }
    fn ensure(&mut self, key: &Key, since: SourceTime, now: SourceTime, told: bool) -> &mut Dirty {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.clone(), Dirty::new(since, now));
            self.pins.insert((since, key.clone()));
            if told { self.told.push_back(key.clone()) } else { self.found.push_back(key.clone()) }
        }
        let mark = self.keys.get_mut(key).expect("it was put there if it was not");
        if since < mark.since {
            self.pins.remove(&(mark.since, key.clone()));
            self.pins.insert((since, key.clone()));
            mark.since = since;
        }
        mark
    }

    /// Puts a key back as it was durable. Only of a key that is not here.
    pub(super) fn restore(&mut self, key: Key, row: &MarkRecord) {
        let mark = self.ensure(&key, row.since, row.found_at, false);
        mark.generation = row.generation;
        (mark.walked, mark.what, mark.late) = (row.walked, row.what, row.late);
        mark.refused.clone_from(&row.refused);
        mark.order = row.order.as_deref().map(Arc::from);
        // What a former process noted of it is not known.
        mark.noted = true;
        mark.saved = Saved { row: true, due: (!row.held).then_some(row.since) };
        self.walked += usize::from(row.walked);
        if row.held {
            // It pins from now on: its row in the order of time is to be written.
            self.fresh.insert(key);
        }
    }

    /// An event told of it.
    pub(super) fn tell(&mut self, key: &Key, word: Word) {
        let fresh = !self.keys.contains_key(key);
        let mark = self.ensure(key, word.at, word.now, true);
        if fresh {
            mark.late = word.late;
        }
        mark.generation += 1;
        if let Some(work) = &mut mark.work {
            work.later = Some(work.later.map_or(word.at, |have| have.min(word.at)));
        }
        mark.late |= word.late && mark.work.is_none();
        let first = !mark.told;
        mark.told = true;
        mark.order = word.order.or(mark.order.take());
        if let Some(holder) = word.holder {
            mark.holders.push(holder);
        }
        if let Some(suspect) = word.suspect {
            let older = mark.suspect.is_none_or(|have| suspect.at < have.at);
            if older {
                mark.suspect = Some(suspect);
            }
            self.suspects.insert(key.clone());
        }
        self.heard += usize::from(first);
        self.fresh.insert(key.clone());
    }

    /// A walk found it. `below`: what it saw is older than what was published.
    pub(super) fn find(&mut self, key: &Key, since: SourceTime, what: Difference, below: bool, now: SourceTime) {
        let mark = self.ensure(key, since, now, false);
        mark.generation += 1;
        if let Some(work) = &mut mark.work {
            work.later = Some(work.later.map_or(since, |have| have.min(since)));
        }
        let newly = !mark.walked;
        (mark.walked, mark.what) = (true, Some(what));
        mark.below |= below;
        self.walked += usize::from(newly);
        // With the page that it came with, or the walk would have passed it.
        self.fresh.remove(key);
        self.aged.insert(key.clone());
    }

    /// The next key to look at, with its generation.
    pub(super) fn take(&mut self, now: Duration) -> Option<(Key, u64)> {
        while let Some((due, key)) = self.waiting.first().cloned()
            && due <= now
        {
            self.waiting.pop_first();
            self.queue(key);
        }
        loop {
            self.turns = self.turns.wrapping_add(1);
            let key = if self.turns.is_multiple_of(WALKED_TURN) {
                self.found.pop_front().or_else(|| self.told.pop_front())
            } else {
                self.told.pop_front().or_else(|| self.found.pop_front())
            }?;
            let Some(mark) = self.keys.get_mut(&key).filter(|mark| mark.place == Place::Turn) else { continue };
            mark.place = Place::Work;
            mark.work =
                Some(Work { generation: mark.generation, began: now, later: None, holders: mark.holders.len() });
            self.working += 1;
            return Some((key, mark.generation));
        }
    }

    /// When the next key that waits for an instant is due; `Some(now)` when one waits for its turn.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        if self.has_ready() { Some(now) } else { self.waiting.first().map(|(due, _)| *due) }
    }

    /// A key waits for its turn.
    pub(super) fn has_ready(&self) -> bool {
        !(self.told.is_empty() && self.found.is_empty())
    }

    fn queue(&mut self, key: Key) {
        if let Some(mark) = self.keys.get_mut(&key) {
            mark.place = Place::Turn;
            if mark.told { self.told.push_back(key) } else { self.found.push_back(key) }
        }
    }

    fn wait(&mut self, key: &Key, until: Duration) {
        if let Some(mark) = self.keys.get_mut(key) {
            mark.place = Place::Until(until);
            self.waiting.insert((until, key.clone()));
        }
    }

    /// The work on it has ended and left it dirty: it is looked at again at `due`. With `unknown`, a write of it may take
    /// effect until then.
    pub(super) fn again(&mut self, key: &Key, due: Duration, unknown: Option<Duration>) {
        let Some(mark) = self.keys.get_mut(key) else { return };
        if mark.work.take().is_some() {
            self.working -= 1;
        }
        mark.failures = mark.failures.saturating_add(1);
        if let Some(until) = unknown {
            mark.strays = mark.strays.max(until);
        }
        self.wait(key, due);
    }

    /// Both ends were the same: what was known when the work began is done. `None`: a write that was given up may still take
    /// effect, so it is looked at once more behind that.
    pub(super) fn settle(&mut self, key: &Key, now: Duration) -> Option<Settling> {
        let mark = self.keys.get_mut(key)?;
        let work = mark.work.take()?;
        self.working -= 1;
        if work.began < mark.strays {
            let until = mark.strays.max(now);
            self.wait(key, until);
            return None;
        }
        if work.generation == mark.generation {
            let mark = self.remove(key)?;
            let holders = mark.holders.clone();
            return Some(Settling { mark, cleared: true, holders });
        }
        let before = mark.clone();
        let holders = mark.holders.drain(..work.holders.min(mark.holders.len())).collect();
        let since = work.later.unwrap_or(mark.since);
        self.pins.remove(&(mark.since, key.clone()));
        self.pins.insert((since, key.clone()));
        mark.since = since;
        (mark.failures, mark.below) = (0, false);
        (mark.suspect, mark.refused) = (None, None);
        self.suspects.remove(key);
        self.fresh.insert(key.clone());
        self.queue(key.clone());
        Some(Settling { mark: before, cleared: false, holders })
    }

    /// Lets go of it, with those who hold messages about it.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Dirty> {
        let mark = self.keys.remove(key)?;
        self.working -= usize::from(mark.work.is_some());
        self.pins.remove(&(mark.since, key.clone()));
        if let Place::Until(due) = mark.place {
            self.waiting.remove(&(due, key.clone()));
        }
        self.walked -= usize::from(mark.walked);
        self.heard -= usize::from(mark.told);
        self.fresh.remove(key);
        self.aged.remove(key);
        self.suspects.remove(key);
        Some(mark)
    }

    /// Those who hold messages about what is written, who need not any more.
    pub(super) fn let_go(&mut self) -> Vec<Ticket> {
        let written = self.keys.values_mut().filter(|mark| mark.saved.row && !mark.holders.is_empty());
        written.flat_map(|mark| std::mem::take(&mut mark.holders)).collect()
    }

    /// Keys to write with this commit: those that outlived the last one; with `all`, every one. What is returned counts as
    /// written: a failed commit is written again as it was.
    pub(super) fn take_rows(&mut self, all: bool) -> Vec<(Key, Dirty)> {
        let fresh = std::mem::take(&mut self.fresh);
        let mut keys = std::mem::take(&mut self.aged);
        if all {
            keys.extend(fresh)
        } else {
            self.aged = fresh.difference(&keys).cloned().collect()
        }
        let mut saved = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(mark) = self.keys.get_mut(&key) {
                let before = mark.clone();
                mark.saved = Saved { row: true, due: Some(mark.since) };
                saved.push((key, before));
            }
        }
        saved
    }

    /// Something is to be written.
    pub(super) fn unsaved(&self) -> bool {
        !(self.fresh.is_empty() && self.aged.is_empty())
    }

    /// Keys whose suspicion is not answered in time; each is given once, with the event's time.
    pub(super) fn overdue(&mut self, now: Duration) -> Vec<(Key, SourceTime)> {
        let mut found = Vec::new();
        for key in self.suspects.iter().cloned().collect::<Vec<_>>() {
            match self.keys.get_mut(&key) {
                Some(mark) if mark.suspect.is_some_and(|s| s.until > now) => {}
                Some(mark) => {
                    found.extend(mark.suspect.take().map(|suspect| (key.clone(), suspect.at)));
                    self.suspects.remove(&key);
                }
                None => drop(self.suspects.remove(&key)),
            }
        }
        found
    }

    /// A word about it came since the work on it began.
    pub(super) fn moved(&self, key: &Key) -> bool {
        let moved = |mark: &Dirty| mark.work.as_ref().is_some_and(|work| work.generation != mark.generation);
        self.keys.get(key).is_some_and(moved)
    }

    /// When a key's state was made that a walk found to differ like this, below the watermark, and no event told of; once.
    pub(super) fn take_below(&mut self, key: &Key, what: Difference) -> Option<SourceTime> {
        let mark = self.keys.get_mut(key).filter(|mark| mark.below && !mark.told && mark.what == Some(what))?;
        mark.below = false;
        Some(mark.since)
    }

    /// Takes the suspicion from a key.
    pub(super) fn acquit(&mut self, key: &Key) -> Option<Suspect> {
        self.suspects.remove(key);
        self.keys.get_mut(key).and_then(|mark| mark.suspect.take())
    }

    /// What is known of a key's write-ups.
    pub(super) fn note(&mut self, key: &Key) {
        if let Some(mark) = self.keys.get_mut(key) {
            mark.noted = true;
        }
    }

    /// Keys that came late.
    pub(super) fn late(&self) -> usize {
        self.keys.values().filter(|mark| mark.late).count()
    }

    /// What came late and is written, with its rows.
    pub(super) fn late_and_saved(&self) -> Vec<(Key, MarkRecord)> {
        let saved = |(key, mark): &(&Key, &Dirty)| {
            mark.late && mark.saved.row && !self.fresh.contains(*key) && !self.aged.contains(*key)
        };
        self.keys.iter().filter(saved).map(|(key, mark)| (key.clone(), mark.record())).collect()
    }

    /// It flows again: what was late is an ordinary change.
    pub(super) fn reopen(&mut self) {
        let late: Vec<Key> = self.keys.iter().filter(|(_, mark)| mark.late).map(|(key, _)| key.clone()).collect();
        for key in late {
            if let Some(mark) = self.keys.get_mut(&key) {
                mark.late = false;
            }
            self.fresh.insert(key);
        }
    }
}
