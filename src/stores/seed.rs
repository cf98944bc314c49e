//! Seeding and re-seeding, decided: when a copy of what exists begins, goes on to its next stage, is complete, or must
//! begin anew (semantics 2.3). Pure: no I/O, no clock.
//!
//! The order, each stage durable before the next begins:
//! 1. the positions of all shards (`Adopt`/`Reseed` and `Discover`);
//! 2. scan lanes read the source, consistently, and what they find is put into the standby;
//! 3. sweep lanes look in a standby that was not empty for what the source does not have; what they find is counted, and
//!    only below a guard removed, each after a last look at the source;
//! 4. every shard has passed the end of that: the copy is complete, and a gap that it heals is cleared, in one write.
//!
//! Why no set of touched keys is kept over the whole copy: an image was read at some moment by a consistent read. Changes
//! that were read from the stream before that moment are in it. Changes that were read from the stream after it drop it
//! (the spine remembers those keys for as long as a page is on its way). Changes that are still to be read come later, and
//! replace it. After a crash the page is read again, at a later moment.

use std::time::Duration;

use super::{StoreState, Transition};
use crate::change::{GapCause, Lane, LaneKind, SourceTime};
use crate::watermark::{LanePhase, Seed, SeedRun};

/// What happens when history is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// Everything is copied anew.
    Reseed,
    /// A human decides.
    Hold,
}

/// How a store is seeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Parts that are read at one time.
    pub segments: u32,
    /// Orphans that are removed without asking, at least.
    pub sweep_limit: u64,
    /// What follows a gap.
    pub on_gap: OnGap,
    /// Between the starts of two seeds that nobody asked for.
    pub every: Duration,
}

/// A re-seed of a stream that was disabled waits so long for its last shards to be read to their end.
const DRAIN_OLD: Duration = Duration::from_secs(60);
/// Orphans in a hundred scanned items that the guard lets pass, when that is more than the configured number.
pub(super) const GUARD_PERCENT: u64 = 1;

/// The scan's segments as lanes.
pub fn segments(kind: LaneKind, count: u32) -> Vec<Lane> {
    (0..count).map(|at| Lane { kind, name: format!("{at}/{count}").into() }).collect()
}

/// A lane's segment and how many there are.
pub fn segment(lane: &Lane) -> Option<(i32, i32)> {
    let (at, count) = lane.name.split_once('/')?;
    Some((at.parse().ok()?, count.parse().ok()?))
}

/// Is a copy to begin: positions durable, nothing read yet?
pub fn begins(state: &StoreState) -> bool {
    let run_ok = state.record.seed_run.as_ref().is_none_or(|run| !run.broken);
    let healed_by_it = state.record.gap.is_none() || state.record.epoch > 0;
    state.record.seed == Seed::Pending && run_ok && healed_by_it && state.copy_lanes().next().is_none()
}

/// Must everything be copied anew? Gives why, for a human.
pub fn again(state: &StoreState, policy: &Policy, now: SourceTime) -> Option<String> {
    let record = &state.record;
    if record.wanted.is_some() {
        return Some("an operator asked for it".to_owned());
    }
    let gap = record.gap.as_ref()?;
    // In a higher epoch a gap is either being healed or was found meanwhile, which breaks the run.
    let healing = record.seed == Seed::Pending && record.seed_run.as_ref().is_some_and(|run| !run.broken);
    if policy.on_gap == OnGap::Hold || healing || !rested(state, policy.every, now) {
        return None;
    }
    let draining = gap.cause == GapCause::StreamReset
        && state.live_lanes().next().is_some()
        && now.since(gap.declared_at) < DRAIN_OLD;
    (!draining).then(|| gap.sentence())
}

/// Has the last copy begun long enough ago?
fn rested(state: &StoreState, every: Duration, now: SourceTime) -> bool {
    state.record.seed_run.as_ref().is_none_or(|run| now.since(run.started_at) >= every)
}

/// How many orphans may be removed without asking.
pub fn guard(run: &SeedRun, policy: &Policy) -> u64 {
    policy.sweep_limit.max(run.copied * GUARD_PERCENT / 100).max(run.allowed)
}

/// The next stage of a copy, if the one before is complete.
pub fn proceed(state: &StoreState, policy: &Policy, skew: Duration) -> Vec<Transition> {
    let Some(run) = state.record.seed_run.as_ref().filter(|run| !run.broken) else { return Vec::new() };
    let lanes: Vec<_> = state.copy_lanes().collect();
    let open = lanes.iter().any(|(_, record)| record.phase != LanePhase::Drained);
    if state.record.seed != Seed::Pending || lanes.is_empty() || open {
        return Vec::new();
    }
    let has = |kind: LaneKind| lanes.iter().any(|(lane, _)| lane.kind == kind);
    if run.sweep && !has(LaneKind::Sweep) {
        let count = lanes.iter().filter(|(lane, _)| lane.kind == LaneKind::Scan).count();
        return vec![Transition::Continue(segments(LaneKind::Sweep, u32::try_from(count).unwrap_or(1)))];
    }
    if run.orphans > 0 && !has(LaneKind::Repair) {
        let removal = Lane { kind: LaneKind::Repair, name: "orphans".into() };
        let within = run.orphans <= guard(run, policy);
        return if within { vec![Transition::Continue(vec![removal])] } else { Vec::new() };
    }
    // An item that prodY refuses is not there, and when it was written nobody knows: nothing can be proven before it is.
    let refused = state.parked.values().any(|parked| !parked.lane.is_tail());
    let copied = lanes.iter().filter_map(|(_, record)| record.closed_at).max();
    let passed = |end: SourceTime| {
        let mut tails = state.live_lanes().peekable();
        tails.peek().is_some() && tails.all(|(_, tail)| tail.through.is_some_and(|through| through >= end))
    };
    match copied {
        Some(end) if !refused && passed(end + skew) => vec![Transition::Seeded],
        _ => Vec::new(),
    }
}

/// What keeps a copy from its end until a human does something.
pub fn held(state: &StoreState, store: &str, policy: &Policy) -> Option<String> {
    let run = state.record.seed_run.as_ref();
    let seeding = state.record.seed == Seed::Pending;
    if let (Some(gap), OnGap::Hold) = (&state.record.gap, policy.on_gap)
        && (!seeding || run.is_none_or(|run| run.broken))
    {
        let what = gap.sentence();
        return Some(format!("{what}; on_gap = \"hold\" waits for you: run plimsoll reseed {store}"));
    }
    if let Some(run) = run.filter(|run| state.record.gap.is_some() && (!seeding || run.broken)) {
        // At once, or when the last copy is old enough.
        return Some(format!(
            "a re-seed begins by itself at {}, or by plimsoll reseed {store}",
            run.started_at + policy.every
        ));
    }
    let run = run.filter(|_| seeding)?;
    let removal = state.copy_lanes().any(|(lane, _)| lane.kind == LaneKind::Repair);
    let swept = state.copy_lanes().any(|(lane, _)| lane.kind == LaneKind::Sweep)
        && state.copy_lanes().all(|(_, record)| record.phase == LanePhase::Drained);
    let guard = guard(run, policy);
    (swept && !removal && run.orphans > guard).then(|| {
        format!(
            "prodY has {} items that prodX does not have, of {} looked at; more than {guard} are not removed without you: \
             make sure that this is the right pair of tables, then run plimsoll reseed {store} --allow-deletes {}",
            run.orphans, run.swept, run.orphans
        )
    })
}
