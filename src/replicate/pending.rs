//! From progress in memory to one atomic write: what the next commit holds, and when it is due.
//!
//! Group commit: progress waits up to a quarter of a second for more, a decision about lanes or a parked change does not
//! wait (RK-2). One commit is under way at a time; if it fails, what it held goes into the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::copy::Answer;
use super::driver::{Driver, Event, ParkedRetry};
use super::pace::backoff;
use super::window::verified;
use crate::change::{Change, Key, Lane, Reason, SourceTime, Stamp, StoreId};
use crate::stores::StoreState;
use crate::stores::contract::Touched;
use crate::watermark::keys::Prefix;
use crate::watermark::{
    CommitError, DirtyRecord, LanePhase, LaneRecord, Mark, ParkedRecord, Record, Retraction, Row, Seed, Txn,
};

/// How long durable changes wait for company.
const CHANGES_WAIT: Duration = Duration::from_millis(250);
/// So many do not wait.
const CHANGES_ENOUGH: u64 = 1_000;
/// How long a mere proof of the tip waits: an idle daemon should sync about once a second, not four times.
const TIP_WAIT: Duration = Duration::from_millis(900);
/// How long DynamoDB Streams keeps a record (DS-F13).
const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// What the next commit holds.
#[derive(Default)]
pub(super) struct Pending {
    lanes: BTreeSet<Lane>,
    retired: BTreeSet<Lane>,
    pub(super) parked: BTreeSet<Key>,
    /// Keys that the scan found, as rows.
    pub(super) seen: Vec<Row>,
    /// Keys that differ.
    pub(super) dirty: BTreeMap<Key, DirtyRecord>,
    /// Keys that differ no more.
    pub(super) mended: Vec<Key>,
    /// What is void altogether.
    clears: Vec<Prefix>,
    /// Who waits for this to be durable, and what they are told then.
    pub(super) answers: Vec<(String, Answer)>,
    decided: bool,
    urgent: bool,
    changes: u64,
    due: Option<Duration>,
    /// A published watermark turned out to be false: its new ceiling, and what was found.
    violation: Option<Violation>,
}

/// A lane that was wrong, if one was, the new ceiling, and what was found.
type Violation = (Option<Lane>, SourceTime, String);

impl Pending {
    pub(super) fn change(&mut self, now: Duration) {
        self.changes += 1;
        let wait = if self.changes >= CHANGES_ENOUGH { Duration::ZERO } else { CHANGES_WAIT };
        self.wait(now + wait);
    }

    pub(super) fn tip(&mut self, now: Duration) {
        self.wait(now + TIP_WAIT);
    }

    pub(super) fn urgent(&mut self) {
        self.urgent = true;
    }

    pub(super) fn decision(&mut self, touched: Touched) {
        self.lanes.extend(touched.lanes);
        self.retired.extend(touched.retired);
        (self.decided, self.urgent) = (true, true);
    }

    /// The record of a lane changed.
    pub(super) fn lane(&mut self, lane: &Lane) {
        self.lanes.insert(lane.clone());
        self.urgent = true;
    }

    /// What is kept of this epoch's copy is void, and so is what was to be kept.
    pub(super) fn clear_copy(&mut self, store: &StoreId, epoch: u64) {
        self.seen.clear();
        self.dirty.clear();
        self.mended.clear();
        self.clears.extend([Prefix::seen(store, epoch), Prefix::dirty(store)]);
    }

    /// What the source was seen to have is void.
    pub(super) fn clear_seen(&mut self, store: &StoreId, epoch: u64) {
        self.seen.clear();
        self.clears.push(Prefix::seen(store, epoch));
    }

    /// The whole epoch is void.
    pub(super) fn clear_epoch(&mut self, store: &StoreId, epoch: u64) {
        self.clear_copy(store, epoch);
        self.clears.push(Prefix::lanes_of(store, epoch));
    }

    /// A command changed the record.
    pub(super) fn command(&mut self) {
        (self.decided, self.urgent) = (true, true);
    }

    pub(super) fn violation(&mut self, lane: &Lane, at: SourceTime, through: SourceTime) {
        let what = format!("lane {lane}: a change of {at} was read after the watermark had passed it ({through})");
        self.retract(Some(lane), at.floor_to_second() - Duration::from_millis(1), what);
    }

    /// A lane was found that the watermark has left behind.
    pub(super) fn unseen(&mut self, lane: &Lane, through: SourceTime, published: SourceTime) {
        let what =
            format!("lane {lane}, proven up to {through}, was found after the watermark had passed it ({published})");
        self.retract(Some(lane), through, what);
    }

    /// The standby is proven to differ where the watermark has passed.
    pub(super) fn divergence(&mut self, ceiling: SourceTime, what: String) {
        self.retract(None, ceiling, what);
    }

    fn retract(&mut self, lane: Option<&Lane>, ceiling: SourceTime, what: String) {
        if self.violation.as_ref().is_none_or(|(_, have, _)| ceiling < *have) {
            self.violation = Some((lane.cloned(), ceiling, what));
        }
        self.urgent = true;
    }

    fn wait(&mut self, until: Duration) {
        self.due = Some(self.due.map_or(until, |due| due.min(until)));
    }

    /// Decisions about lanes that are not durable yet.
    pub(super) fn decisions(&self) -> bool {
        self.decided
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due().is_none()
    }

    /// When to commit, monotonic.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.urgent { Some(Duration::ZERO) } else { self.due }
    }

    /// Takes back what a failed commit held.
    fn take_back(&mut self, failed: Pending, due: Duration) {
        self.lanes.extend(failed.lanes);
        self.retired.extend(failed.retired);
        self.parked.extend(failed.parked);
        self.clears.splice(0..0, failed.clears);
        self.seen.extend(failed.seen);
        // What was found to differ since stays; what was mended since is deleted after it is put.
        let differs = |key: &Key| self.dirty.contains_key(key);
        let mended = failed.mended.into_iter().filter(|key| !differs(key)).collect::<Vec<_>>();
        self.mended.extend(mended);
        for (key, record) in failed.dirty {
            self.dirty.entry(key).or_insert(record);
        }
        self.answers.extend(failed.answers);
        self.decided |= failed.decided;
        self.changes += failed.changes;
        if self.violation.is_none() {
            self.violation = failed.violation;
        }
        self.urgent = false;
        self.due = Some(due);
    }
}

impl Driver {
    /// Starts a commit if one is due, or if there is anything to commit and `now_or_never`.
    pub(super) fn start_commit(&mut self, now: Stamp, flush: bool) {
        if self.committing || self.pending.due().is_none_or(|due| !flush && due > now.mono) {
            return;
        }
        if self.commit_failures > 0 && self.pending.due().is_some_and(|due| due > now.mono) {
            return;
        }
        self.advance_lanes(now);
        self.advance_canaries(now);
        let store = Arc::clone(&self.store);
        for transition in Self::replicate(&store).proceed(&self.state, now.wall, self.deps.skew()) {
            self.decide(&transition, now);
        }
        let violation = self.pending.violation.clone();
        self.raise(violation.as_ref());
        let pending = std::mem::take(&mut self.pending);
        let txn = self.transaction(&pending, violation);
        self.committing = true;
        let index = Arc::clone(&self.deps.index);
        self.events.push(Box::pin(async move { Event::Committed { pending, result: index.commit(txn).await } }));
    }

    /// Takes out of every window what is settled, and into the lane's record what that proves.
    fn advance_lanes(&mut self, now: Stamp) {
        let skew = self.deps.skew();
        let mut ended = Vec::new();
        let mut pages = Vec::new();
        for open in self.lanes.iter_mut().filter(|l| l.moved && !l.detached) {
            open.moved = false;
            let progress = open.window.advance(&self.rhythm, skew, now);
            if progress.is_empty() {
                continue;
            }
            let Some(record) = self.state.lanes.get_mut(&open.lane) else { continue };
            if let Some(position) = progress.position {
                record.position = Some(position);
                record.initial = false;
                self.last_progress = Some(now);
            }
            if !progress.pages.is_empty() {
                self.last_progress = Some(now);
                pages.push((open.lane.kind, progress.pages));
            }
            if let Some((through, method)) = progress.through
                && record.through.is_none_or(|have| through >= have)
            {
                (record.through, record.method) = (Some(through), method);
            }
            if let Some(tip) = progress.tip {
                record.tip_at = Some(tip.wall);
                record.initial = false;
                self.last_progress = Some(now);
            }
            open.proved = Some(now);
            self.pending.lanes.insert(open.lane.clone());
            if let Some(children) = progress.end {
                ended.push((open.lane.clone(), children));
            }
        }
        for (kind, pages) in pages {
            self.count_pages(kind, pages);
        }
        for (lane, children) in ended {
            tracing::info!(store = %self.store.id(), %lane, children = children.len(), "lane drained");
            self.decide(&crate::stores::Transition::Drain { lane, children }, now);
        }
    }

    /// Raises the store's watermark to what its lanes prove and its parked changes allow; a gap freezes it.
    fn raise(&mut self, violation: Option<&Violation>) {
        self.verification.mark = None;
        if let Some((lane, ceiling, what)) = violation {
            tracing::error!(store = %self.store.id(), what, "a published watermark was wrong; it is taken back");
            if let Some((lane, record)) = lane.as_ref().and_then(|l| Some((l, self.state.lanes.get_mut(l)?))) {
                record.through = record.through.map(|have| have.min(*ceiling));
                self.pending.lanes.insert(lane.clone());
            }
            self.state.record.through = self.state.record.through.map(|have| have.min(*ceiling));
        }
        let record = &self.state.record;
        if record.gap.is_some() || record.seed == Seed::Pending {
            return;
        }
        let Some((mut through, method)) = self.store.watermark(&self.state) else { return };
        for parked in self.state.parked.values() {
            through = through.min(verified(parked.since, &self.rhythm));
        }
        self.verification.mark = Some(through);
        // While the standby is known to differ nothing newer is promised than what was proven by looking at it all.
        through = self.state.ceiling().map_or(through, |ceiling| through.min(ceiling));
        let proved = self.proof();
        let record = &mut self.state.record;
        if record.through.is_none_or(|have| through > have) {
            (record.through, record.method) = (Some(through), Some(method));
        }
        if let Some(proved) = proved {
            record.proved_at = Some(proved.wall);
        }
    }

    /// The oldest of the open lanes' newest proofs: the moment up to which the whole store is proven. `None` if any
    /// has none, or if no lane is left to prove anything.
    fn proof(&self) -> Option<Stamp> {
        let open = self
            .lanes
            .iter()
            .filter(|l| l.lane.is_tail() && !l.detached)
            .filter(|l| self.state.lanes.get(&l.lane).is_some_and(|record| record.phase == LanePhase::Reading));
        self.with_canaries(open.map(|l| l.proved).min_by_key(|proved| proved.map(|p| p.mono)).flatten())
    }

    fn transaction(&self, pending: &Pending, violation: Option<Violation>) -> Txn {
        let (store, epoch) = (self.store.id().clone(), self.state.record.epoch);
        let row = |lane: &Lane| Row::Lane { store: store.clone(), epoch, lane: lane.clone() };
        let mut txn = Txn {
            marks: vec![(store.clone(), Mark { record: self.state.record.clone(), proved: self.proof() })],
            retract: violation.map(|(_, _, why)| Retraction { store: store.clone(), why }),
            ..Txn::default()
        };
        for lane in &pending.lanes {
            if let Some(record) = self.state.lanes.get(lane) {
                txn.puts.push((row(lane), record.encode(&row(lane))));
            }
        }
        txn.clears.clone_from(&pending.clears);
        txn.puts.extend(pending.seen.iter().map(|row| (row.clone(), Vec::new())));
        let dirty = |key: &Key| Row::Dirty { store: store.clone(), key: key.clone() };
        txn.puts.extend(pending.dirty.iter().map(|(key, record)| (dirty(key), record.encode(&dirty(key)))));
        txn.deletes.extend(pending.mended.iter().map(dirty));
        txn.deletes.extend(pending.retired.iter().filter(|l| !self.state.lanes.contains_key(*l)).map(row));
        for key in &pending.parked {
            let row = Row::Parked { store: store.clone(), key: key.clone() };
            match self.state.parked.get(key) {
                Some(record) => {
                    let bytes = record.encode(&row);
                    txn.puts.push((row, bytes));
                }
                None => txn.deletes.push(row),
            }
        }
        txn
    }

    pub(super) fn on_committed(&mut self, pending: Pending, result: Result<(), CommitError>, now: Stamp) {
        self.committing = false;
        match result {
            Ok(()) => {
                self.commit_failures = 0;
                self.troubles.index.cleared();
                if pending.violation.is_some() {
                    self.deps.meter.violation();
                }
                for (words, answer) in pending.answers {
                    // Whoever asked may be gone.
                    drop(answer.send(Ok(words)));
                }
            }
            // The fence is durable: the marks stand as they are, for ever.
            Err(error @ CommitError::Fenced { .. }) => {
                let ours = std::mem::take(&mut self.pending);
                for (_, answer) in pending.answers.into_iter().chain(ours.answers) {
                    drop(answer.send(Err(error.to_string())));
                }
            }
            Err(error) => {
                self.commit_failures = self.commit_failures.saturating_add(1);
                let pause = backoff(self.commit_failures, self.deps.ids.fresh()[0]);
                self.troubles.index.failed(&error.to_string(), "commit failed");
                self.pending.take_back(pending, now.mono + pause);
            }
        }
    }

    /// Parks a refused change, in memory; durable with the next commit, in the same write as the position that passes it.
    pub(super) fn park(&mut self, lane: Option<Lane>, change: Change, reason: Reason, now: Stamp) {
        let replicate = Self::replicate(&self.store);
        let body = BASE64.encode(replicate.encode(&change));
        let key = change.key.clone();
        let record = self.state.parked.entry(key.clone()).or_insert_with(|| ParkedRecord {
            lane: lane.unwrap_or_else(|| Lane::tail("unknown")),
            position: change.position.clone(),
            since: change.at,
            parked_at: now.wall,
            reason: String::new(),
            body: String::new(),
        });
        record.since = record.since.min(change.at);
        (record.position, record.reason, record.body) = (change.position.clone(), reason.0.clone(), body);
        let text =
            format!("{} changes are refused by prodY and pin the watermark: {}", self.state.parked.len(), reason.0);
        self.troubles.parked.failed(&text, "prodY refuses a change");
        let due = now.mono + super::driver::PARKED_RETRY;
        let retry = self.parked.entry(key.clone()).or_insert(ParkedRetry { change: change.clone(), due, failures: 0 });
        retry.change = change;
        self.pending.parked.insert(key);
        self.pending.urgent();
    }

    /// A change of this key is durable in the standby: nothing of it is parked any more.
    pub(super) fn unpark(&mut self, key: &Key) {
        if self.state.parked.remove(key).is_some() {
            self.parked.remove(key);
            self.pending.parked.insert(key.clone());
            self.pending.urgent();
            if self.state.parked.is_empty() {
                self.troubles.parked.cleared();
            }
        }
    }

    /// Takes up the changes that were parked before the start.
    pub(super) fn restore_parked(&mut self, now: Duration) {
        let replicate = Self::replicate(&self.store);
        for (key, record) in &self.state.parked {
            let change = BASE64
                .decode(&record.body)
                .map_err(|e| e.to_string())
                .and_then(|body| replicate.decode(key, record, &body).map_err(|e| e.chain()));
            match change {
                Ok(change) => {
                    self.parked.insert(key.clone(), ParkedRetry { change, due: now, failures: 0 });
                }
                Err(error) => {
                    self.troubles.parked.failed(&error, "a parked change cannot be read back; re-seed the store")
                }
            }
        }
    }
}

/// Time until the source may forget a change that was not read: by the lane that is furthest behind. `None` when no lane
/// is open.
pub(super) fn headroom(state: &StoreState, now: Stamp) -> Option<Duration> {
    let reached = |record: &LaneRecord| record.tip_at.max(record.through).unwrap_or(record.first_seen);
    let oldest = state.live_lanes().map(|(_, record)| reached(record)).min()?;
    Some(RETENTION.saturating_sub(now.wall.since(oldest)))
}
