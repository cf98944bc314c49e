//! The modelled source and standby, and the truth about both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll::stores::canary::Beat;

/// Virtual time since the start, milliseconds.
pub(crate) type Ms = u64;

/// A small seeded generator (splitmix64): schedules must not change when a library does.
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

/// What a key holds, on either side: a version, or that it was removed by that version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub(crate) version: u64,
    pub(crate) removed: bool,
}

/// One change of the source. Values are version numbers: higher is newer, and a deletion has one too.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) key: u64,
    pub(crate) version: u64,
    pub(crate) removed: bool,
    pub(crate) committed: Ms,
    pub(crate) visible: Ms,
}

#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) name: String,
    pub(crate) parent: Option<String>,
    pub(crate) records: Vec<Record>,
    pub(crate) closed: bool,
    /// Empty answers still to be given before the data that is there.
    pub(crate) empties: u32,
    /// The highest sequence number that was trimmed.
    pub(crate) trimmed: u64,
    /// When it became visible: a tip of before is no proof that it was read.
    pub(crate) trimmed_at: Ms,
}

/// Everything outside the process.
#[derive(Debug)]
pub(crate) struct World {
    /// What happens to the answers of the world.
    pub(crate) dice: Dice,
    /// What happens in it: the same whatever is asked of it.
    history: Dice,
    pub(crate) shards: Vec<Shard>,
    /// Which open shard each key is in. A key only ever moves from a shard to one of its children.
    pub(crate) home: Vec<usize>,
    pub(crate) truth: Vec<Record>,
    pub(crate) source: BTreeMap<u64, Held>,
    /// What the source held before its newest changes, for a read that is not consistent.
    pub(crate) stale: BTreeMap<u64, Held>,
    pub(crate) standby: BTreeMap<u64, Held>,
    /// Writes that nobody waits for any more: when they land, and what.
    pub(crate) strays: Vec<(Ms, u64, Held)>,
    pub(crate) next: u64,
    pub(crate) source_frozen: bool,
    pub(crate) standby_frozen: bool,
    /// The faults are over.
    pub(crate) calm: bool,
    pub(crate) stray_count: u64,
    pub(crate) late_count: u64,
    /// Keys of the standby that somebody else altered and that we have not written since.
    pub(crate) tampered: BTreeSet<u64>,
    /// Keys that somebody else ever altered.
    pub(crate) ever_tampered: BTreeSet<u64>,
    /// The publisher of the stream stands still: what is committed is not visible.
    pub(crate) held: bool,
    /// Canaries that were written, with their keys.
    pub(crate) beats: Vec<(u32, Beat)>,
}

/// Canary keys are numbered from here.
pub(crate) const CANARY: u64 = 1_000;

/// Keys in play: few, so that they meet.
pub(crate) const KEYS: u64 = 12;
/// Keys of the standby that the source never had, or has no more, when a run begins.
pub(crate) const ZOMBIES: u64 = 4;
/// Versions below are of another day.
const PAST: u64 = 1_000;
/// A record is visible at most this long after its commit: what the allowance of the rules must cover.
pub(crate) const VISIBLE_WITHIN: Duration = Duration::from_secs(6);
/// Empty answers before data, at most: what E must exceed by two.
pub(crate) const MOST_EMPTIES: u32 = 3;

impl World {
    pub(crate) fn new(seed: u64, luck: u64) -> Self {
        let root = Shard {
            name: "shard-0".into(),
            parent: None,
            records: vec![],
            closed: false,
            empties: 0,
            trimmed: 0,
            trimmed_at: 0,
        };
        let mut dice = Dice(seed);
        let (mut source, mut standby, mut truth) = (BTreeMap::new(), BTreeMap::new(), vec![]);
        // Half of the runs begin with a past: items that no stream tells of, and a standby that has seen another day.
        let past = dice.chance(50);
        for key in (0..KEYS).filter(|_| past) {
            if dice.chance(60) {
                let held = Held { version: PAST + 1, removed: false };
                source.insert(key, held);
                truth.push(Record { seq: 0, key, version: PAST + 1, removed: false, committed: 0, visible: 0 });
            }
            if dice.chance(40) {
                standby.insert(key, Held { version: dice.below(PAST), removed: false });
            }
        }
        for key in (KEYS..KEYS + ZOMBIES).filter(|_| past) {
            standby.insert(key, Held { version: 1, removed: false });
        }
        Self {
            stale: source.clone(),
            dice: Dice(seed ^ luck.wrapping_mul(0x9e37_79b9) ^ 0xacc1),
            history: dice,
            shards: vec![root],
            home: vec![0; KEYS as usize],
            truth,
            source,
            standby,
            strays: vec![],
            next: PAST + 1,
            source_frozen: false,
            standby_frozen: false,
            calm: false,
            stray_count: 0,
            late_count: 0,
            tampered: BTreeSet::new(),
            ever_tampered: BTreeSet::new(),
            held: false,
            beats: vec![],
        }
    }

    /// A commit in the source.
    pub(crate) fn write(&mut self, now: Ms) {
        let key = self.history.below(KEYS);
        self.next += 1;
        let late = if self.history.chance(10) { self.history.below(VISIBLE_WITHIN.as_millis() as u64) } else { 0 };
        self.late_count += u64::from(late > 0);
        let removed = self.history.chance(20);
        let held = Held { version: self.next, removed };
        let record = self.publish(key, self.home[key as usize], removed, now, late);
        self.truth.push(record);
        if let Some(before) = self.source.insert(key, held) {
            self.stale.insert(key, before);
        }
    }

    /// What was committed becomes a record of its shard.
    fn publish(&mut self, key: u64, home: usize, removed: bool, now: Ms, late: Ms) -> Record {
        let shard = &mut self.shards[home];
        let visible = if self.held { Ms::MAX } else { now + late };
        // A shard shows its records in order: one that is late holds back those behind it.
        let visible = visible.max(shard.records.last().map_or(0, |r| r.visible));
        let record = Record { seq: self.next, key, version: self.next, removed, committed: now, visible };
        shard.records.push(record.clone());
        record
    }

    /// A canary is written. The same one again changes nothing.
    pub(crate) fn sing(&mut self, key: u32, beat: &Beat, now: Ms) {
        let last = self.beats.iter().rev().find(|(of, _)| *of == key);
        if last.is_some_and(|(_, last)| last == beat) {
            return;
        }
        self.next += 1;
        let number = CANARY + self.beats.len() as u64;
        self.beats.push((key, beat.clone()));
        self.publish(number, self.home[key as usize], false, now, 0);
    }

    /// The publisher stops, or goes on.
    pub(crate) fn stall(&mut self, now: Ms) {
        self.held = !self.held;
        if self.held {
            return;
        }
        for shard in &mut self.shards {
            // One shard shows what it has before another does.
            let at = now + if self.calm { 0 } else { self.history.below(VISIBLE_WITHIN.as_millis() as u64) };
            let late = shard.records.iter().rev().find(|r| r.visible < Ms::MAX).map_or(0, |r| r.visible);
            shard.records.iter_mut().filter(|r| r.visible == Ms::MAX).for_each(|r| r.visible = at.max(late));
        }
    }

    /// One open shard closes, and one to three others go on where it ended: a roll or a split.
    pub(crate) fn split(&mut self) {
        let parent = self.home[self.history.below(KEYS) as usize];
        let kids = 1 + self.history.below(3) as usize;
        let first = self.shards.len();
        self.shards[parent].closed = true;
        let name = self.shards[parent].name.clone();
        for n in 0..kids {
            self.shards.push(Shard {
                name: format!("shard-{}", first + n),
                parent: Some(name.clone()),
                records: vec![],
                closed: false,
                empties: 0,
                trimmed: 0,
                trimmed_at: 0,
            });
        }
        for home in self.home.iter_mut().filter(|home| **home == parent) {
            *home = first + self.history.below(kids as u64) as usize;
        }
    }

    /// Time has come to `now`: strays land.
    pub(crate) fn tick(&mut self, now: Ms) {
        self.strays.sort();
        while self.strays.first().is_some_and(|(at, ..)| *at <= now) {
            let (_, key, held) = self.strays.remove(0);
            self.land(key, held);
        }
    }

    /// A write of ours takes effect in the standby.
    pub(crate) fn land(&mut self, key: u64, held: Held) {
        self.tampered.remove(&key);
        self.standby.insert(key, held);
    }

    /// Somebody else alters the standby behind our back: an item is lost, is another, or is there that never was.
    pub(crate) fn tamper(&mut self) {
        let key = self.history.below(KEYS + ZOMBIES);
        let removed = key < KEYS && self.history.chance(50);
        let version = self.history.below(PAST);
        self.standby.insert(key, Held { version, removed });
        self.tampered.insert(key);
        self.ever_tampered.insert(key);
    }

    /// Keys at which the two sides are not the same.
    pub(crate) fn divergent(&self) -> BTreeSet<u64> {
        let (source, standby) = (Self::items(&self.source), Self::items(&self.standby));
        source.keys().chain(standby.keys()).filter(|key| source.get(*key) != standby.get(*key)).copied().collect()
    }

    /// A shard loses all records that are visible now, read or not.
    pub(crate) fn trim(&mut self, now: Ms) {
        let at = self.history.below(self.shards.len() as u64) as usize;
        let shard = &mut self.shards[at];
        let last = shard.records.iter().rev().find(|r| r.visible <= now);
        if let Some((seq, visible)) = last.map(|r| (r.seq, r.visible)) {
            (shard.trimmed, shard.trimmed_at) = (seq, visible);
            shard.records.retain(|r| r.seq > seq);
        }
    }

    /// The items that are there, on one side.
    pub(crate) fn items(side: &BTreeMap<u64, Held>) -> BTreeMap<u64, u64> {
        side.iter().filter(|(_, held)| !held.removed).map(|(key, held)| (*key, held.version)).collect()
    }

    /// Is everything committed up to `watermark` in the standby, itself or superseded?
    pub(crate) fn unsound(&self, watermark: Ms) -> Option<String> {
        let ours = |r: &&Record| r.committed <= watermark && !self.tampered.contains(&r.key);
        self.truth.iter().filter(ours).find_map(|r| {
            let held = self.standby.get(&r.key).copied().unwrap_or(Held { version: 0, removed: true });
            let have = held.version;
            // That it is not there may be the work of any removal since: a copy does not tell which.
            let removal = |later: &Record| later.key == r.key && later.removed && later.version >= r.version;
            let gone = have < r.version && held.removed && self.truth.iter().any(removal);
            (have < r.version && !gone).then(|| {
                format!(
                    "W {watermark}: key {} version {} committed at {} is not durable (standby has {have})",
                    r.key, r.version, r.committed
                )
            })
        })
    }
}
