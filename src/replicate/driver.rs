//! The driver of one store: a single task that owns the store's state.
//!
//! Everything slow is a future in one set ([`Event`]s); between two events nothing is half done. What the state says in
//! memory may run ahead of what is durable, but nothing is published from it: the index publishes a mark after it synced
//! it, together with the rows that it rests on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::canary::Canaries;
use super::copy::{Command, Watched};
use super::lane::{Agenda, OpenLane};
use super::order::{Order, Ticket};
use super::pending::Pending;
use super::recent::Recent;
use super::suspects::Suspect;
use super::verify::{HOLD, Verification};
use super::{Deps, Valve, View};
use crate::change::{Change, Gap, Key, Lane, Page, Read, Stamp};
use crate::stores::contract::{Applied, Compared, Mode, Rhythm, Spot};
use crate::stores::{Replicate, Store, StoreError, StoreState, Transition};
use crate::watermark::{CommitError, LanePhase};

/// Changes read and not yet durable, at most: enough for some hundred full batches, small enough to redo in a second.
pub(super) const MOST_OUTSTANDING: usize = 10_000;
/// Their images, bytes, at most.
pub(super) const MOST_BYTES: usize = 64 << 20;
/// Entries of one lane's window, at most: settled ones pile up behind one that is not.
const MOST_ENTRIES: usize = 100_000;
/// How long a page of a copy waits for room.
const COPY_WAIT: Duration = Duration::from_millis(20);
/// Reads at one time, at most: a table of a thousand shards must not open a thousand connections.
pub(super) const MOST_READS: usize = 64;
/// A stop waits this long for what was read to become durable; what is left is read again after the start.
const DRAIN: Duration = Duration::from_secs(10);
/// Between two attempts at a parked change: from this to sixteen times as long.
pub(super) const PARKED_RETRY: Duration = Duration::from_secs(20);

pub(super) enum Event {
    Read { at: usize, asked: Stamp, read: Result<Read, StoreError> },
    Applied { changes: Vec<Change>, applied: Applied },
    Committed { pending: Pending, result: Result<(), CommitError> },
    Surveyed { result: Result<Vec<Transition>, StoreError> },
    Looked { suspects: Vec<Suspect>, result: Result<Compared, StoreError> },
    Canary { results: super::canary::Written },
}

/// A parked change that is tried again from time to time.
pub(super) struct ParkedRetry {
    pub(super) change: Change,
    pub(super) due: Duration,
    pub(super) failures: u32,
}

pub(super) struct Driver {
    pub(super) store: Arc<dyn Store>,
    pub(super) deps: Deps,
    pub(super) rhythm: Rhythm,
    pub(super) state: StoreState,
    pub(super) lanes: Vec<OpenLane>,
    pub(super) by_lane: HashMap<Lane, usize>,
    pub(super) agenda: Agenda,
    pub(super) order: Order,
    pub(super) parked: BTreeMap<Key, ParkedRetry>,
    pub(super) events: FuturesUnordered<BoxFuture<'static, Event>>,
    pub(super) pending: Pending,
    pub(super) committing: bool,
    pub(super) commit_failures: u32,
    pub(super) reads: usize,
    pub(super) applies: usize,
    pub(super) surveying: bool,
    pub(super) next_survey: Duration,
    pub(super) survey_failures: u32,
    pub(super) outstanding: usize,
    pub(super) bytes: usize,
    /// Until when writes of a former process may still land.
    pub(super) former_strays: Duration,
    /// No write before this: throttled, or strays of a former process may still land.
    pub(super) write_gate: Duration,
    pub(super) write_failures: u32,
    pub(super) troubles: super::trouble::Troubles,
    pub(super) canaries: Option<Canaries>,
    pub(super) last_progress: Option<Stamp>,
    pub(super) source_answered: Option<Stamp>,
    pub(super) recent: Recent,
    pub(super) watched: Option<Watched>,
    pub(super) verification: Verification,
    commands: mpsc::Receiver<Command>,
    pub(super) next_show: Duration,
    /// The last showing was left out: it is due.
    pub(super) hidden: bool,
    pub(super) valve: watch::Receiver<Valve>,
    pub(super) view: watch::Sender<View>,
    stop: CancellationToken,
}

impl Driver {
    pub(super) fn new(
        store: Arc<dyn Store>,
        deps: Deps,
        state: StoreState,
        valve: watch::Receiver<Valve>,
        view: watch::Sender<View>,
        commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) -> Self {
        let rhythm = store.rhythm();
        let now = deps.clock.now().mono;
        // A process that did not stop cleanly may have left writes that are still on their way (LE-4).
        let former_strays = if deps.clean_start { Duration::ZERO } else { now + rhythm.max_request_life };
        let canaries = Canaries::of(&store, &state, deps.ids.as_ref());
        let mut driver = Self {
            order: Order::new(rhythm.max_request_life),
            store,
            deps,
            rhythm,
            state,
            lanes: Vec::new(),
            by_lane: HashMap::new(),
            agenda: Agenda::default(),
            parked: BTreeMap::new(),
            events: FuturesUnordered::new(),
            pending: Pending::default(),
            committing: false,
            commit_failures: 0,
            reads: 0,
            applies: 0,
            surveying: false,
            next_survey: Duration::ZERO,
            survey_failures: 0,
            outstanding: 0,
            bytes: 0,
            former_strays,
            write_gate: former_strays,
            write_failures: 0,
            troubles: super::trouble::Troubles::default(),
            canaries,
            last_progress: None,
            source_answered: None,
            recent: Recent::default(),
            watched: None,
            verification: Verification::default(),
            commands,
            next_show: Duration::ZERO,
            hidden: false,
            valve,
            view,
            stop,
        };
        driver.restore_parked(now);
        let lanes: Vec<Lane> = driver.state.lanes.keys().cloned().collect();
        driver.open_lanes(&lanes, None);
        driver
    }

    pub(super) fn replicate(store: &Arc<dyn Store>) -> &dyn Replicate {
        match store.mode() {
            Mode::Replicate(replicate) => replicate,
            Mode::Converge(_) | Mode::Observe(_) => {
                unreachable!("the fleet gives a driver to stores of this mode only")
            }
        }
    }

    /// Runs until told to stop. Cancel-safe at every await: what is not durable is read again.
    pub(super) async fn run(mut self) -> Result<(), String> {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            if self.valve.has_changed().unwrap_or(false) {
                // A promotion waits: whoever is between two reads reads now. Looked at here, for a driver that is never
                // without events would see the change by the way only.
                self.agenda.hurry();
            }
            let closed = *self.valve.borrow_and_update() == Valve::Closed;
            self.start_work(closed);
            self.show(closed);
            self.deps.pulse.beat();
            let nap = self.nap(closed);
            let clock = Arc::clone(&self.deps.clock);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(event) = self.events.next(), if !self.events.is_empty() => self.handle(event),
                changed = self.valve.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.agenda.hurry();
                }
                Some(command) = self.commands.recv() => self.on_command(command, closed, self.deps.clock.now()),
                () = clock.sleep(nap) => {}
            }
        }
        self.drain().await;
        Ok(())
    }

    /// Signal, stop reading, drain, last commit.
    async fn drain(&mut self) {
        let clock = Arc::clone(&self.deps.clock);
        let until = clock.now().mono + DRAIN;
        let closed = *self.valve.borrow() == Valve::Closed;
        loop {
            let now = clock.now();
            if !closed {
                self.start_applies(now);
            }
            self.start_commit(now, true);
            // Changes that wait for their next attempt count too.
            let left = !closed && self.order.has_work();
            let idle = self.applies == 0 && !self.committing && self.pending.is_empty() && !left;
            if idle || now.mono >= until {
                let quiet = idle && self.order.strays_until(now.mono).is_none() && now.mono >= self.write_gate;
                self.view.send_modify(|view| view.quiet = quiet);
                return;
            }
            tokio::select! {
                biased;
                Some(event) = self.events.next(), if !self.events.is_empty() => self.handle(event),
                () = clock.sleep(Duration::from_millis(50)) => {}
            }
        }
    }

    fn start_work(&mut self, closed: bool) {
        let now = self.deps.clock.now();
        if !closed {
            self.start_survey(now);
            self.start_canary(now);
            self.start_reads(now);
            self.retry_parked(now);
            self.start_applies(now);
            self.start_looks(now);
        }
        self.start_commit(now, closed);
    }

    fn start_survey(&mut self, now: Stamp) {
        // A survey judges what is durable: positions first, then the question whether anything was there before them.
        if self.surveying || now.mono < self.next_survey || self.pending.decisions() || self.committing {
            return;
        }
        self.surveying = true;
        let (store, state) = (Arc::clone(&self.store), self.state.clone());
        self.events.push(Box::pin(async move {
            Event::Surveyed { result: Self::replicate(&store).survey(&state, now).await }
        }));
    }

    fn start_reads(&mut self, now: Stamp) {
        if self.outstanding >= MOST_OUTSTANDING || self.bytes >= MOST_BYTES {
            return;
        }
        while self.reads < MOST_READS
            && let Some(at) = self.agenda.take(now.mono)
        {
            let lane = &mut self.lanes[at];
            if lane.detached {
                continue;
            }
            if lane.window.len() >= MOST_ENTRIES {
                self.agenda.add(now.mono + Duration::from_secs(1), at);
                continue;
            }
            let copies = !lane.lane.is_tail();
            if copies && self.verify_rests() {
                self.agenda.add(now.mono + HOLD, at);
                continue;
            }
            let lane = &mut self.lanes[at];
            // A stage of a copy begins when the one before it is durable, with all that it left on the shelf.
            let beginning = lane.read_from.is_none() && (self.committing || self.pending.decisions());
            if copies && (beginning || self.outstanding >= MOST_OUTSTANDING / 2 || self.bytes >= MOST_BYTES / 2) {
                // The other half of the room is for the tails.
                self.agenda.add(now.mono + COPY_WAIT, at);
                continue;
            }
            let record = self.state.lanes.get(&lane.lane).filter(|r| r.phase == LanePhase::Reading).cloned();
            let (Some(record), Some(incarnation)) = (record, self.state.record.incarnation.clone()) else {
                // Lost by a survey while it was open.
                lane.ended = true;
                continue;
            };
            self.reads += 1;
            let (store, name, from) = (Arc::clone(&self.store), lane.lane.clone(), lane.read_from.clone());
            if copies {
                self.recent.begin(now.mono);
            }
            let (shelf, verify) = (self.shelf(), self.verifying());
            self.events.push(Box::pin(async move {
                let (from, shelf) = (from.as_ref(), &shelf);
                let spot = Spot { incarnation: &incarnation, lane: &name, record: &record, from, shelf, verify };
                let read = Self::replicate(&store).read(spot).await;
                Event::Read { at, asked: now, read }
            }));
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.deps.clock.now();
        match event {
            Event::Read { at, asked, read } => self.on_read(at, asked, read, now),
            Event::Applied { changes, applied } => self.on_applied(&changes, applied, now),
            Event::Committed { pending, result } => self.on_committed(pending, result, now),
            Event::Surveyed { result } => self.on_surveyed(result, now),
            Event::Looked { suspects, result } => self.on_looked(suspects, result, now),
            Event::Canary { results } => self.on_canary(results, now),
        }
    }

    fn on_read(&mut self, at: usize, asked: Stamp, read: Result<Read, StoreError>, now: Stamp) {
        self.reads -= 1;
        let jitter = self.deps.ids.fresh()[0];
        let copies = !self.lanes[at].lane.is_tail();
        match read {
            _ if self.lanes[at].detached => {}
            Ok(Read::Part(part)) => self.on_part(at, asked, part, now),
            Err(error) if copies => {
                self.deps.meter.error(error.class);
                self.troubles.copy.failed(&error.chain(), "a copy does not go on");
                let lane = &mut self.lanes[at];
                lane.due = now.mono + lane.pace.failure(jitter);
            }
            Ok(read) => {
                self.source_answered = Some(now);
                self.troubles.source.cleared();
                match read {
                    Read::Records(page) => self.on_records(at, asked, page, now),
                    Read::Empty { asked_at } => {
                        let run = self.rhythm.empty_run;
                        let lane = &mut self.lanes[at];
                        if let Some(tip) = lane.empties.empty(asked_at, run) {
                            lane.window.push_tip(tip, Canaries::worth(self.canaries.as_ref(), tip));
                            lane.moved = true;
                            self.pending.tip(now.mono);
                        }
                        lane.gave_all(asked.mono);
                        lane.due = now.mono + lane.pace.empty();
                        self.note_page(at, asked, None);
                    }
                    Read::End { children } => {
                        let lane = &mut self.lanes[at];
                        lane.window.push_end(children);
                        (lane.ended, lane.moved) = (true, true);
                        self.pending.urgent();
                        self.note_end(at, false);
                    }
                    Read::Lost { why } => self.on_lost(at, why, now),
                    Read::Anew => self.on_anew(at, now),
                    Read::Part(_) => {}
                }
            }
            Err(error) => {
                self.deps.meter.error(error.class);
                self.troubles.source.failed(&error.chain(), "read of prodX failed");
                let lane = &mut self.lanes[at];
                lane.empties.broken();
                lane.due = now.mono + lane.pace.failure(jitter);
                if lane.pace.failing() {
                    // As of now, not as of when it was asked: it may have hung.
                    lane.gave_all(now.mono);
                }
            }
        }
        if copies {
            self.recent.end(asked.mono);
        }
        let lane = &self.lanes[at];
        if !lane.ended && !lane.detached {
            self.agenda.add(lane.due, at);
        }
    }

    fn on_records(&mut self, at: usize, asked: Stamp, page: Page, now: Stamp) {
        let canaries: Vec<_> = page.changes.iter().map(|change| self.sighting(change)).collect();
        let own = canaries.iter().flatten().count();
        self.deps.meter.read((page.changes.len() - own) as u64);
        let lane = &mut self.lanes[at];
        lane.empties.broken();
        lane.due = now.mono + lane.pace.records(page.full);
        let name = lane.lane.clone();
        let through = self.state.lanes.get(&name).and_then(|r| r.through);
        for (change, canary) in page.changes.into_iter().zip(canaries) {
            self.acquit(&change.key, now);
            if let Some(through) = through
                && canary.is_none()
                && change.at.floor_to_second() + Duration::from_secs(1) <= through
            {
                self.pending.violation(&name, change.at, through);
            }
            let lane = &mut self.lanes[at];
            self.recent.read(&change.key, now.mono);
            lane.read_from = Some(change.position.clone());
            let entry = lane.window.push_change(change.position.clone(), change.at, change.size);
            if canary.is_some_and(|canary| self.on_sighting((at, entry), &canary, change.at, asked, now)) {
                continue;
            }
            self.outstanding += 1;
            self.bytes += change.size;
            self.order.push(Ticket { lane: at, entry }, change);
        }
        if !page.full {
            self.lanes[at].gave_all(asked.mono);
        }
        self.note_page(at, asked, Some(page.full));
    }

    /// The position is forgotten: asked for again after the next start, it would look like a loss.
    fn on_anew(&mut self, at: usize, now: Stamp) {
        let lane = &mut self.lanes[at];
        (lane.read_from, lane.due) = (None, now.mono);
        if let Some(record) = self.state.lanes.get_mut(&lane.lane) {
            record.position = None;
            self.pending.lane(&lane.lane);
        }
    }

    fn on_lost(&mut self, at: usize, why: Gap, now: Stamp) {
        let lane = &mut self.lanes[at];
        lane.ended = true;
        tracing::error!(store = %self.store.id(), gap = %why.sentence(), "history is lost; the watermark is frozen until a re-seed");
        let lane = lane.lane.clone();
        self.decide(&Transition::Lose { lane, gap: why }, now);
    }
}
