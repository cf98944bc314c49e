//! The lineage of shards as a pure state machine (DS-1 .. DS-8): from what the source lists and what is durable, to
//! decisions. No I/O, no clock.
//!
//! What it guards: no shard is ever invisible (a shard that could hold unread changes takes part in the watermark, or a gap
//! is declared), and history that cannot be vouched for is never skipped in silence.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::change::{Gap, GapCause, Lane, LaneSeed, Position, SourceTime};
use crate::stores::{StoreState, Transition};
use crate::watermark::{LanePhase, LaneRecord, Seed};

/// Younger than this, nothing of a shard can have been trimmed yet: an hour less than the 24 h that the stream keeps
/// (DS-5, DS-F13).
const VOUCHED: Duration = Duration::from_secs(23 * 3600);
/// A drained shard that is no longer listed is forgotten after this (LE-6).
const KEEP_DRAINED: Duration = Duration::from_secs(48 * 3600);
/// For so long after we first saw a shard that was not read yet, a listing without it is a stale one: listings are eventually consistent, and a
/// shard does not leave them before its records expire.
const SETTLING: Duration = Duration::from_secs(60);
/// A shard id's own time is believed only within this of our clock; an emulator's zeros are not (DS-F6).
const PLAUSIBLE: Duration = Duration::from_secs(48 * 3600);

/// Which table and which stream of it: what the standby is the copy of (DS-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incarnation {
    /// The table's own id; changes when it is deleted and created again.
    pub(super) table_id: String,
    /// The stream; changes when it is disabled and enabled again.
    pub(super) stream_arn: String,
}

impl Incarnation {
    /// As it is kept in the index. Neither part holds a space.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.table_id, self.stream_arn)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (table_id, stream_arn) = text.split_once(' ')?;
        Some(Self { table_id: table_id.to_owned(), stream_arn: stream_arn.to_owned() })
    }
}

/// A shard as the source lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) id: String,
    pub(super) parent: Option<String>,
}

/// What the source is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighting {
    /// The table's id now.
    pub(super) table_id: String,
    /// The table's stream now; `None` when it has none.
    pub(super) stream_arn: Option<String>,
    /// Every shard of the *adopted* stream (before adoption: of the current one), all pages; `None` when that stream no
    /// longer exists.
    pub(super) shards: Option<Vec<Shard>>,
}

/// When the shard was created, if its id says so plausibly: `shardId-<20 digits of epoch milliseconds>-<8 hex>`.
pub(super) fn born(shard: &str, now: SourceTime) -> Option<SourceTime> {
    let digits = shard.strip_prefix("shardId-")?.split('-').next().filter(|d| d.len() == 20)?;
    let at = SourceTime(digits.parse().ok()?);
    (at >= now - PLAUSIBLE && at <= now + Duration::from_secs(60)).then_some(at)
}

/// Every listed shard as a lane to begin with.
pub(super) fn all(shards: &[Shard], now: SourceTime) -> Vec<LaneSeed> {
    shards.iter().map(|shard| seed(shard, shard.parent.as_deref(), now)).collect()
}

fn seed(shard: &Shard, parent: Option<&str>, now: SourceTime) -> LaneSeed {
    LaneSeed { lane: Lane::tail(&shard.id), parent: parent.map(Lane::tail), born: born(&shard.id, now) }
}

/// The children of a shard as seeds, in a stable order.
pub(super) fn children(parent: &str, shards: &[Shard], now: SourceTime) -> Vec<LaneSeed> {
    let mut children: Vec<_> = shards.iter().filter(|s| s.parent.as_deref() == Some(parent)).collect();
    children.sort_by(|a, b| a.id.cmp(&b.id));
    children.into_iter().map(|shard| seed(shard, Some(parent), now)).collect()
}

/// What follows from a sighting.
pub(super) fn decide(state: &StoreState, seen: &Sighting, now: SourceTime) -> Vec<Transition> {
    let gap = |cause, on: &str| Gap { cause, on: on.to_owned(), declared_at: now };
    let Some(adopted) = state.record.incarnation.as_deref().and_then(Incarnation::parse) else {
        return adopt(seen, now);
    };
    let mut decisions = Vec::new();
    if adopted.table_id != seen.table_id {
        decisions.push(Transition::Break(gap(GapCause::Recreated, &format!("table id {}", seen.table_id))));
    } else if seen.stream_arn.as_deref() != Some(adopted.stream_arn.as_str()) {
        decisions.push(Transition::Break(gap(GapCause::StreamReset, &adopted.stream_arn)));
    }
    // A known gap is not declared twice.
    decisions.retain(|_| !state.knows_gap());
    let Some(shards) = &seen.shards else {
        for (lane, _) in state.live_lanes() {
            let gap = gap(GapCause::LaneMissing, &format!("shard {lane}"));
            decisions.push(Transition::Lose { lane: lane.clone(), gap });
        }
        return decisions;
    };
    let listed: BTreeSet<&str> = shards.iter().map(|s| s.id.as_str()).collect();
    let new: BTreeSet<&str> = listed.iter().copied().filter(|id| !state.lanes.contains_key(&Lane::tail(id))).collect();
    for shard in shards.iter().filter(|s| new.contains(s.id.as_str())) {
        let parent = shard.parent.as_deref();
        let known = parent.is_some_and(|p| state.lanes.contains_key(&Lane::tail(p)) || listed.contains(p));
        if known {
            decisions.push(Transition::Discover(seed(shard, parent, now)));
            continue;
        }
        // DS-4b, DS-8d: outside adoption a shard whose parent we never saw may continue history that we never read. It is
        // read all the same: a standby with a known gap is better for every change it still gets.
        let on = format!("shard {}", shard.id);
        let young_root =
            parent.is_none() && born(&shard.id, now).is_some_and(|born| state.record.through.is_some_and(|w| born > w));
        decisions.push(Transition::Discover(seed(shard, None, now)));
        // Before a copy reads, whatever a shard lost is the copy's to bring.
        let covered = state.record.seed == Seed::Pending && state.copy_lanes().next().is_none();
        if !young_root && !covered && !state.knows_gap() {
            decisions.push(Transition::Break(gap(GapCause::ParentUnknown, &on)));
        }
    }
    for (lane, record) in state.live_lanes() {
        let on = format!("shard {lane}");
        if !listed.contains(lane.name.as_ref()) {
            if settling(record, now) {
                continue;
            }
            decisions.push(Transition::Lose { lane: lane.clone(), gap: gap(GapCause::LaneVanished, &on) });
        } else if record.phase == LanePhase::Reading && !vouched(record, now) {
            decisions.push(Transition::Lose { lane: lane.clone(), gap: gap(GapCause::ReadTooLate, &on) });
        }
    }
    for (lane, record) in &state.lanes {
        let old = record.closed_at.is_some_and(|at| now.since(at) > KEEP_DRAINED);
        let old = old && lane.is_tail();
        let parent_of_waiting =
            state.lanes.values().any(|r| r.phase == LanePhase::Waiting && r.parent.as_ref() == Some(lane));
        if old && !listed.contains(lane.name.as_ref()) && !parent_of_waiting {
            decisions.push(Transition::Retire(lane.clone()));
        }
    }
    parents_first(&mut decisions);
    decisions
}

/// The first sighting: every listed shard is read from its beginning; a parent that is not listed was trimmed before our
/// time (DS-4b, DS-5).
fn adopt(seen: &Sighting, now: SourceTime) -> Vec<Transition> {
    let (Some(stream_arn), Some(shards)) = (&seen.stream_arn, &seen.shards) else { return Vec::new() };
    // A stream that is being enabled lists nothing yet (DS-F7); its first shard would then look like one without a past.
    if shards.is_empty() {
        return Vec::new();
    }
    let incarnation = Incarnation { table_id: seen.table_id.clone(), stream_arn: stream_arn.clone() };
    let listed: BTreeSet<&str> = shards.iter().map(|s| s.id.as_str()).collect();
    let mut decisions = vec![Transition::Adopt { incarnation: incarnation.text() }];
    decisions.extend(shards.iter().map(|shard| {
        let parent = shard.parent.as_deref().filter(|p| listed.contains(p));
        Transition::Discover(seed(shard, parent, now))
    }));
    parents_first(&mut decisions);
    decisions
}

/// Puts parents before their children, so that a child finds the watermark that it inherits. A listing is in any order
/// (DS-F7). Ids begin with their creation time; a parent is older than its child.
fn parents_first(decisions: &mut [Transition]) {
    // A stable sort by generation within the batch.
    let parents: std::collections::BTreeMap<Lane, Option<Lane>> = decisions
        .iter()
        .filter_map(|d| match d {
            Transition::Discover(seed) => Some((seed.lane.clone(), seed.parent.clone())),
            _ => None,
        })
        .collect();
    let generation = |lane: &Lane| {
        let (mut at, mut depth) = (lane.clone(), 0usize);
        // Bounded by the batch, should a listing ever name a circle.
        while let Some(Some(parent)) = parents.get(&at)
            && depth <= parents.len()
        {
            at = parent.clone();
            depth += 1;
        }
        depth
    };
    decisions.sort_by_key(|d| match d {
        Transition::Adopt { .. } => 0,
        Transition::Discover(seed) => 1 + generation(&seed.lane),
        _ => usize::MAX,
    });
}

/// Since when the stream can vouch for what we have not read of a shard: it was read to its tip, or to a record of that
/// time, or it did not exist before.
fn vouched_since(record: &LaneRecord) -> SourceTime {
    // A shard that was listed when a copy began is vouched for since then: what was before is the copy's to bring.
    let own_birth = record.born.filter(|_| record.parent.is_some() && !record.initial);
    let begin = own_birth.unwrap_or(record.first_seen);
    // Its watermark is reached only if it is its own: an inherited one says nothing about this shard.
    let reached = record.tip_at.max(record.position.as_ref().and(record.through));
    reached.map_or(begin, |at| at.max(begin))
}

/// Can the stream still vouch for what we have not read of a shard?
pub(super) fn vouched(record: &LaneRecord, now: SourceTime) -> bool {
    now.since(vouched_since(record)) <= VOUCHED
}

/// Is a shard so new to us, and not yet read, that its absence says nothing?
pub(super) fn settling(record: &LaneRecord, now: SourceTime) -> bool {
    record.position.is_none() && record.tip_at.is_none() && now.since(record.first_seen) < SETTLING
}

/// Where to begin to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// After this sequence number.
    After(Position),
    /// At the shard's beginning, which is still there.
    Beginning,
}

/// Where reading a shard begins, or the gap if its beginning cannot be vouched for any more (DS-5, DS-7). Never the tip:
/// what was written between a listing and the first read would be lost (DS-6).
pub(super) fn start(lane: &Lane, record: &LaneRecord, from: Option<&Position>, now: SourceTime) -> Result<Start, Gap> {
    if let Some(position) = from {
        return Ok(Start::After(position.clone()));
    }
    if !vouched(record, now) {
        return Err(Gap { cause: GapCause::ReadTooLate, on: format!("shard {lane}"), declared_at: now });
    }
    Ok(Start::Beginning)
}

#[cfg(test)]
mod tests;
