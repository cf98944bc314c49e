//! What is known durably about one store, and how a decision changes it. Pure: no I/O, no clock.
//!
//! A decision ([`Transition`]) is carried out in memory and in the index in one atomic write, so a crash finds either all of
//! it or none.

use std::collections::BTreeMap;

use crate::change::{Gap, Key, Lane, LaneSeed, Method, SourceTime};
use crate::watermark::{LanePhase, LaneRecord, ParkedRecord, Seed, SeedRun, StoreRecord};

/// What a survey or the end of a lane decides. Applied to [`StoreState`] and to the index in one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The source was seen for the first time: this is what we copy.
    Adopt {
        /// Its identity.
        incarnation: String,
    },
    /// A lane is registered. A child inherits its parent's watermark, never now and never infinity (DS-11).
    Discover(LaneSeed),
    /// A lane was read to its end, everything in it is durable, and its children are registered with it (LE-6).
    Drain {
        /// The lane.
        lane: Lane,
        /// Its children.
        children: Vec<LaneSeed>,
    },
    /// A lane's history was lost.
    Lose {
        /// The lane.
        lane: Lane,
        /// How.
        gap: Gap,
    },
    /// The whole store lost history.
    Break(Gap),
    /// A drained lane that the source no longer lists is forgotten.
    Retire(Lane),
    /// The copy of what exists begins: the positions of all tails are durable (2.3 step 1).
    Copy {
        /// What it starts from.
        run: SeedRun,
        /// The lanes that read what exists.
        lanes: Vec<Lane>,
    },
    /// The copy is searched for what the source does not have, or that is removed: more lanes of the same copy.
    Continue(Vec<Lane>),
    /// Everything is copied anew, in a higher epoch: the cure of a gap.
    Reseed(Reseed),
    /// Everything that existed before the tail began is in the standby. Ends the copy and clears the gap that it heals.
    Seeded,
    /// What a recovery must know of the source, in the kind's own words, while the source can still be asked.
    Note(String),
}

/// A re-seed. The tails go on from where they are wherever that is still possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reseed {
    /// The new epoch; a state that has it already is left alone.
    pub epoch: u64,
    /// What we copy from now on.
    pub incarnation: String,
    /// All lanes that the source lists.
    pub lanes: Vec<LaneSeed>,
    /// What the run starts from.
    pub run: SeedRun,
}

/// All that is known durably about one store, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreState {
    /// The store's own record.
    pub record: StoreRecord,
    /// The lanes of the current epoch.
    pub lanes: BTreeMap<Lane, LaneRecord>,
    /// Changes that the standby refuses.
    pub parked: BTreeMap<Key, ParkedRecord>,
}

/// The rows that a [`StoreState`] change touched.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Lanes written.
    pub lanes: Vec<Lane>,
    /// Lanes deleted.
    pub retired: Vec<Lane>,
    /// Changes that are parked no more.
    pub unparked: Vec<Key>,
    /// All rows of this older epoch are void.
    pub left: Option<u64>,
    /// The copy of this epoch has ended: what was kept for it is void.
    pub copied: Option<u64>,
}

impl StoreState {
    /// Applies a decision. Idempotent: applying it again changes nothing.
    pub fn apply(&mut self, transition: &Transition, now: SourceTime) -> Touched {
        let mut touched = Touched::default();
        match transition {
            Transition::Adopt { incarnation } => {
                self.record.incarnation.get_or_insert_with(|| incarnation.clone());
            }
            Transition::Discover(seed) => self.discover(seed, now, &mut touched),
            Transition::Drain { lane, children } => {
                for child in children {
                    self.discover(child, now, &mut touched);
                }
                self.close(lane, LanePhase::Drained, now, &mut touched);
            }
            Transition::Lose { lane, gap } => {
                // Not if it was drained while the survey that misses it was under way.
                if self.live_lanes().any(|(live, _)| live == lane) {
                    self.lost(gap);
                    self.close(lane, LanePhase::Lost, now, &mut touched);
                }
            }
            Transition::Break(gap) => self.lost(gap),
            Transition::Retire(lane) => {
                if self.lanes.remove(lane).is_some() {
                    touched.retired.push(lane.clone());
                }
            }
            Transition::Copy { run, lanes } => {
                let broken = self.record.seed_run.as_ref().is_some_and(|run| run.broken);
                if self.record.seed == Seed::Pending && !broken && self.copy_lanes().next().is_none() {
                    // What was learnt of the run since this was decided stays.
                    let have = self.record.seed_run.get_or_insert_with(|| run.clone());
                    (have.total, have.bytes, have.sweep) = (run.total, run.bytes, run.sweep);
                    self.open(lanes, now, &mut touched);
                }
            }
            Transition::Continue(lanes) => self.open(lanes, now, &mut touched),
            Transition::Reseed(reseed) => self.reseed(reseed, now, &mut touched),
            Transition::Seeded => self.seeded(now, &mut touched),
            Transition::Note(facts) => self.record.source = Some(facts.clone()),
        }
        self.open_ready(&mut touched);
        touched
    }

    /// A gap is known. While a copy runs it is one that this copy cannot heal (BS-T5).
    fn lost(&mut self, gap: &Gap) {
        let seeding = self.record.seed == Seed::Pending;
        match &mut self.record.seed_run {
            Some(run) if seeding => {
                if !run.broken {
                    (run.broken, self.record.gap) = (true, Some(gap.clone()));
                }
            }
            _ => {
                self.record.gap.get_or_insert_with(|| gap.clone());
            }
        }
    }

    fn seeded(&mut self, now: SourceTime, touched: &mut Touched) {
        let broken = self.record.seed_run.as_ref().is_some_and(|run| run.broken);
        if self.record.seed != Seed::Pending || broken {
            return;
        }
        self.record.seed = Seed::Done { at: now };
        self.record.gap = None;
        let copies: Vec<Lane> = self.copy_lanes().map(|(lane, _)| lane.clone()).collect();
        for lane in copies {
            self.lanes.remove(&lane);
            touched.retired.push(lane);
        }
        touched.copied = Some(self.record.epoch);
    }

    /// Everything anew in a higher epoch. A tail that was not lost goes on from its position, so nothing that was proven is
    /// undone; one that was lost begins again there, or, if that is trimmed, at what is left: the copy brings the rest. The
    /// watermark stands frozen until the copy is complete; of another source it says nothing and is dropped.
    fn reseed(&mut self, reseed: &Reseed, now: SourceTime, touched: &mut Touched) {
        if reseed.epoch <= self.record.epoch {
            return;
        }
        let same = self.record.incarnation.as_deref() == Some(reseed.incarnation.as_str());
        let before = std::mem::take(&mut self.lanes);
        touched.left = Some(self.record.epoch);
        touched.unparked = std::mem::take(&mut self.parked).into_keys().collect();
        self.record.epoch = reseed.epoch;
        self.record.incarnation = Some(reseed.incarnation.clone());
        (self.record.seed, self.record.wanted) = (Seed::Pending, None);
        self.record.seed_run = Some(reseed.run.clone());
        let another_table = self.record.gap.as_ref().is_some_and(|gap| gap.cause == crate::change::GapCause::Recreated);
        if another_table || self.record.gap.is_none() {
            // What was proven of another table, or with an index whose doubt made an operator ask, is proven anew.
            (self.record.through, self.record.method, self.record.proved_at) = (None, None, None);
        }
        for seed in &reseed.lanes {
            let parent = seed.parent.clone().filter(|parent| reseed.lanes.iter().any(|s| s.lane == *parent));
            let fresh = LaneRecord {
                parent,
                born: seed.born,
                first_seen: now,
                phase: LanePhase::Waiting,
                position: None,
                through: None,
                method: Method::Assumed,
                tip_at: None,
                closed_at: None,
                initial: true,
            };
            let closed = reseed.lanes.iter().any(|s| s.parent.as_ref() == Some(&seed.lane));
            let record = match before.get(&seed.lane).filter(|_| same) {
                Some(have) if have.phase != LanePhase::Lost => have.clone(),
                // What it still holds is older than what was read of its children, and all of it is in the copy.
                Some(lost) if closed => LaneRecord { phase: LanePhase::Drained, ..lost.clone() },
                Some(lost) => LaneRecord { position: lost.position.clone(), ..fresh },
                None => fresh,
            };
            self.lanes.insert(seed.lane.clone(), record);
        }
        // A listing may miss a lane that is there; one that is gone the next survey tells.
        for (lane, record) in
            before.into_iter().filter(|(lane, r)| same && lane.is_tail() && r.phase != LanePhase::Lost)
        {
            self.lanes.entry(lane).or_insert(record);
        }
        touched.lanes.extend(self.lanes.keys().cloned());
    }

    /// Parents first (DS-4): a waiting lane may be read once its parent is closed, with every change of it durable, or was
    /// never there.
    fn open_ready(&mut self, touched: &mut Touched) {
        let closed =
            |lane: &Lane| self.lanes.get(lane).is_none_or(|r| matches!(r.phase, LanePhase::Drained | LanePhase::Lost));
        let ready: Vec<Lane> = self
            .lanes
            .iter()
            .filter(|(_, r)| r.phase == LanePhase::Waiting && r.parent.as_ref().is_none_or(closed))
            .map(|(lane, _)| lane.clone())
            .collect();
        for lane in ready {
            if let Some(record) = self.lanes.get_mut(&lane) {
                record.phase = LanePhase::Reading;
                touched.lanes.push(lane);
            }
        }
    }

    fn discover(&mut self, seed: &LaneSeed, now: SourceTime, touched: &mut Touched) {
        if self.lanes.contains_key(&seed.lane) {
            return;
        }
        let parent = seed.parent.as_ref().and_then(|lane| self.lanes.get(lane));
        let record = LaneRecord {
            parent: seed.parent.clone(),
            born: seed.born,
            first_seen: now,
            phase: LanePhase::Waiting,
            position: None,
            // Never now and never infinity: what the parent proved, or, for a lane that has none, what the store has
            // published; nothing at all during adoption.
            through: parent.map_or(self.record.through, |p| p.through),
            method: parent.map_or(Method::Assumed, |p| p.method),
            tip_at: None,
            closed_at: None,
            initial: self.adopting(),
        };
        self.lanes.insert(seed.lane.clone(), record);
        touched.lanes.push(seed.lane.clone());
    }

    /// The copy has not begun to read: whatever a lane that is found now lost before, the copy brings.
    fn adopting(&self) -> bool {
        self.record.seed == Seed::Pending && self.record.through.is_none() && self.copy_lanes().next().is_none()
    }

    fn open(&mut self, lanes: &[Lane], now: SourceTime, touched: &mut Touched) {
        for lane in lanes {
            self.discover(&LaneSeed { lane: lane.clone(), parent: None, born: None }, now, touched);
        }
    }

    fn close(&mut self, lane: &Lane, phase: LanePhase, now: SourceTime, touched: &mut Touched) {
        if let Some(record) = self.lanes.get_mut(lane)
            && matches!(record.phase, LanePhase::Waiting | LanePhase::Reading)
        {
            record.phase = phase;
            record.closed_at = Some(now);
            touched.lanes.push(lane.clone());
        }
    }

    /// The lanes that take part in the watermark: the tails whose changes are not all durable in the standby.
    pub fn live_lanes(&self) -> impl Iterator<Item = (&Lane, &LaneRecord)> {
        let live = |r: &LaneRecord| matches!(r.phase, LanePhase::Waiting | LanePhase::Reading);
        self.lanes.iter().filter(move |(lane, r)| lane.is_tail() && live(r))
    }

    /// History is lost, and no copy is under way that brings it: one more loss changes nothing. While such a copy runs, a
    /// loss is news, for that copy does not bring what was lost after it began (BS-T5).
    pub fn knows_gap(&self) -> bool {
        let healing = self.record.seed == Seed::Pending && self.record.seed_run.as_ref().is_some_and(|run| !run.broken);
        self.record.gap.is_some() && !healing
    }

    /// The lanes of the copy under way.
    pub fn copy_lanes(&self) -> impl Iterator<Item = (&Lane, &LaneRecord)> {
        self.lanes.iter().filter(|(lane, _)| !lane.is_tail())
    }
}
