//! Verification, decided: when source and standby are compared, when that goes on to its next stage, when it has ended, and
//! what a proven difference does to the watermark (RP-9). Pure: no I/O, no clock.
//!
//! The order, each stage durable before the next begins:
//! 1. scan lanes compare every item of the source with the standby's; if what differs is to be repaired, a repair lane
//!    first copies what is known to differ already;
//! 2. sweep lanes look in the standby for what the source does not have;
//! 3. if wanted, a repair lane copies again what was proven to differ, below the guard of the seed's sweep (I13);
//! 4. it has ended: what it did not find again differs no more.
//!
//! A page that differs proves nothing, for changes are on their way. What proves it is the spine's business
//! (`replicate::verify`): nothing here sees a difference before it is proven.

use std::time::Duration;

use super::seed::{self, Policy};
use super::state::Touched;
use super::{StoreState, Transition};
use crate::change::{Difference, Lane, LaneKind, SourceTime};
use crate::watermark::{DirtyRecord, LanePhase, Seed, VerifyRun};

/// How a store is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// From the start of one verification to the start of the next; zero: only when somebody asks.
    pub every: Duration,
    /// What differs is copied again without asking.
    pub repair: bool,
}

/// Keys that are known to differ, at most: with more, the standby as a whole is not what it should be, and a re-seed is
/// the cure.
pub const MOST_DIVERGENT: usize = 10_000;

/// The verification under way.
pub fn under_way(state: &StoreState) -> Option<&VerifyRun> {
    let run = state.record.verify_run.as_ref()?;
    (state.record.seed != Seed::Pending && run.ended_at.is_none()).then_some(run)
}

/// Is a verification to begin? Gives what it starts from.
pub fn begins(state: &StoreState, terms: &Terms, now: SourceTime) -> Option<VerifyRun> {
    let record = &state.record;
    let Seed::Done { at } = record.seed else { return None };
    if record.gap.is_some() || record.wanted.is_some() || state.copy_lanes().next().is_some() {
        return None;
    }
    let last = record.verify_run.as_ref().map_or(at, |run| run.started_at.max(at));
    let due = !terms.every.is_zero() && now.since(last) >= terms.every;
    let wish = record.verify_wanted.as_ref();
    (due || wish.is_some()).then(|| VerifyRun {
        started_at: now,
        repair: terms.repair || wish.is_some_and(|wish| wish.repair),
        allowed: wish.map_or(0, |wish| wish.allowed),
        ..VerifyRun::default()
    })
}

/// Begins it.
pub fn begin(state: &StoreState, run: VerifyRun, policy: &Policy) -> Transition {
    let mut lanes = seed::segments(LaneKind::Scan, policy.segments);
    // The size of the table is what the last one saw.
    let before = state.record.verify_run.as_ref().map_or(0, |run| run.compared);
    if run.repair && !state.dirty.is_empty() && orphans(state) <= guard(&run, before, policy) {
        lanes.push(repair_lane("listed"));
    }
    Transition::Verify { run, lanes }
}

fn repair_lane(name: &str) -> Lane {
    Lane { kind: LaneKind::Repair, name: name.into() }
}

/// Items that a repair would delete.
fn orphans(state: &StoreState) -> u64 {
    state.dirty.values().filter(|dirty| dirty.what == Some(Difference::Orphan)).count() as u64
}

/// How many items a repair may delete.
fn guard(run: &VerifyRun, items: u64, policy: &Policy) -> u64 {
    policy.sweep_limit.max(items.max(run.compared) * seed::GUARD_PERCENT / 100).max(run.allowed)
}

/// The next stage, if the one before is complete.
pub fn proceed(state: &StoreState, policy: &Policy) -> Vec<Transition> {
    let Some(run) = under_way(state).filter(|_| state.record.gap.is_none()) else { return Vec::new() };
    if state.dirty.len() >= MOST_DIVERGENT {
        return vec![Transition::Verified { complete: false }];
    }
    let lanes: Vec<_> = state.copy_lanes().collect();
    if lanes.iter().any(|(_, record)| record.phase != LanePhase::Drained) {
        return Vec::new();
    }
    let has = |kind: LaneKind| lanes.iter().any(|(lane, _)| lane.kind == kind);
    if !has(LaneKind::Sweep) {
        let count = lanes.iter().filter(|(lane, _)| lane.kind == LaneKind::Scan).count();
        return vec![Transition::Continue(seed::segments(LaneKind::Sweep, u32::try_from(count).unwrap_or(1)))];
    }
    let repair = repair_lane("found");
    let within = orphans(state) <= guard(run, 0, policy);
    if run.repair && within && !state.dirty.is_empty() && !lanes.iter().any(|(lane, _)| **lane == repair) {
        return vec![Transition::Continue(vec![repair])];
    }
    vec![Transition::Verified { complete: true }]
}

/// What about verification needs a human.
pub fn held(state: &StoreState, store: &str, policy: &Policy, terms: &Terms, now: SourceTime) -> Option<String> {
    let record = &state.record;
    let Seed::Done { at } = record.seed else { return None };
    let (many, orphans) = (state.dirty.len(), orphans(state));
    if many >= MOST_DIVERGENT {
        return Some(format!(
            "{many} items and more differ in prodY, and the verification has stopped: run plimsoll reseed {store}"
        ));
    }
    if many > 0 {
        let run = record.verify_run.clone().unwrap_or_default();
        let guard = guard(&run, 0, policy);
        let whole = state.ceiling().map_or_else(String::new, |at| at.to_string());
        let them = if many == 1 { "1 item differs" } else { &format!("{many} items differ") };
        let cure = if orphans > guard {
            format!(
                "{orphans} of them are not in prodX, and more than {guard} are not removed without you: make sure that this \
                 is the right pair of tables, then run plimsoll verify {store} --repair --allow-deletes {orphans}"
            )
        } else if under_way(state).is_some_and(|run| run.repair) {
            "they are repaired by the verification under way".to_owned()
        } else {
            format!("run plimsoll verify {store} --repair")
        };
        return Some(format!("{them} in prodY, so no more is promised than what was proven at {whole}; {cure}"));
    }
    let verified = record.verified_at.unwrap_or(at);
    let old = !terms.every.is_zero() && now.since(verified) >= terms.every.saturating_mul(3);
    old.then(|| {
        let hours = now.since(verified).as_secs() / 3600;
        format!("the standby was last compared with prodX {hours} h ago: raise verify_share, or verify_every")
    })
}

impl StoreState {
    /// While the standby is known to differ: the last instant as of which it was proven whole (RP-9). When a difference came
    /// into being nobody knows, but it was not there then.
    pub fn ceiling(&self) -> Option<SourceTime> {
        let begun = self.record.seed_run.as_ref().map(|run| run.started_at);
        let seeded = match self.record.seed {
            Seed::Done { at } => Some(at),
            Seed::Pending => None,
        };
        if self.dirty.is_empty() { None } else { self.record.whole_at.or(begun).or(seeded) }
    }

    pub(super) fn verify(&mut self, run: &VerifyRun, lanes: &[Lane], now: SourceTime, touched: &mut Touched) {
        if self.record.seed == Seed::Pending || self.record.gap.is_some() || self.copy_lanes().next().is_some() {
            return;
        }
        let mut run = run.clone();
        // What was asked for since this was decided counts too.
        if let Some(wish) = self.record.verify_wanted.take() {
            (run.repair, run.allowed) = (run.repair || wish.repair, run.allowed.max(wish.allowed));
        }
        self.record.verify_run = Some(run);
        touched.compared = Some(self.record.epoch);
        self.open(lanes, now, touched);
    }

    pub(super) fn verified(&mut self, complete: bool, now: SourceTime, touched: &mut Touched) {
        if under_way(self).is_none() {
            return;
        }
        let copies: Vec<Lane> = self.copy_lanes().map(|(lane, _)| lane.clone()).collect();
        for lane in copies {
            self.lanes.remove(&lane);
            touched.retired.push(lane);
        }
        touched.compared = Some(self.record.epoch);
        let Some(run) = &mut self.record.verify_run else { return };
        run.ended_at = Some(now);
        let (began, partial) = (run.started_at, run.partial);
        if !complete {
            return;
        }
        self.record.verified_at = Some(now);
        let healed = |dirty: &DirtyRecord| {
            let sees = !partial || dirty.what != Some(Difference::Differs);
            sees && dirty.seen_at.unwrap_or(dirty.found_at) < began
        };
        touched.mended = self.dirty.iter().filter(|(_, dirty)| healed(dirty)).map(|(key, _)| key.clone()).collect();
        self.dirty.retain(|_, dirty| !healed(dirty));
        if self.dirty.is_empty() && !partial {
            self.record.whole_at = self.record.whole_at.max(Some(began));
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
