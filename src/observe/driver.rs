//! The driver of one observed store: a single task that owns the store's record and its heartbeats.
//!
//! Everything slow is a future in one set ([`Event`]s), at most one look, one heartbeat and one commit at a time. Nothing is
//! published from memory: the index publishes a mark after it synced it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::judge::judge;
use crate::change::{Evidence, SourceTime, Stamp};
use crate::replicate::{Deps, Trouble};
use crate::stores::contract::Mode;
use crate::stores::observe::{Beats, Cadence, Facts, Look, Observe};
use crate::stores::{Store, StoreError};
use crate::watermark::{CommitError, Mark, StoreRecord, Txn, Vitals};

/// A heartbeat that is under way when the flow closes is waited for this long.
const BEAT_GRACE: Duration = Duration::from_secs(1);
/// A stop waits this long for the last commit.
const DRAIN: Duration = Duration::from_secs(5);
/// The longest pause after failures in a row.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Does anything go to prodX?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Valve {
    Open,
    Closed,
}

/// What a driver shows to a promotion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// A look that began at this monotonic instant has ended, whatever it found, and what it found is durable.
    pub(super) settled: Option<Duration>,
    /// What the last look met.
    pub(super) trouble: Option<String>,
    /// The valve is closed, no heartbeat is under way, and the last commit is durable.
    pub(super) closed: bool,
}

enum Event {
    Looked {
        asked: Stamp,
        looked: Result<(Vec<Evidence>, Facts), StoreError>,
    },
    /// `None`: given up, because the flow closed.
    Beaten {
        seq: u64,
        result: Option<Result<(), StoreError>>,
    },
    Committed {
        result: Result<(), CommitError>,
    },
}

pub(super) struct Driver {
    store: Arc<dyn Store>,
    deps: Deps,
    cadence: Cadence,
    record: StoreRecord,
    /// When fresh evidence last arrived.
    proved: Option<Stamp>,
    /// The latest instant that evidence reached.
    reached: Option<SourceTime>,
    beats: Beats,
    /// The newest heartbeat that was seen in prodY.
    beat_seen: Option<u64>,
    /// The record has moved since the last commit began.
    dirty: bool,
    /// The fence is durable: marks stand as they are.
    frozen: bool,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    looking: bool,
    beating: Option<CancellationToken>,
    committing: bool,
    next_look: Duration,
    next_beat: Duration,
    commit_after: Duration,
    look_failures: u32,
    commit_failures: u32,
    /// A promotion waits: the next look comes after the heartbeat that is under way.
    hurried: bool,
    /// When the last look began that has ended.
    looked: Option<Duration>,
    source_answered: Option<Stamp>,
    about: Option<String>,
    look_trouble: Trouble,
    found_trouble: Trouble,
    beat_trouble: Trouble,
    index_trouble: Trouble,
    valve: watch::Receiver<Valve>,
    view: watch::Sender<View>,
    stop: CancellationToken,
}

impl Driver {
    pub(super) fn new(
        store: Arc<dyn Store>,
        deps: Deps,
        record: StoreRecord,
        valve: watch::Receiver<Valve>,
        view: watch::Sender<View>,
        stop: CancellationToken,
    ) -> Option<Self> {
        let Mode::Observe(observe) = store.mode() else { return None };
        let cadence = observe.cadence();
        Some(Self {
            beats: Beats::new(&deps.ids.id()),
            cadence,
            reached: record.through,
            record,
            store,
            deps,
            proved: None,
            beat_seen: None,
            dirty: false,
            frozen: false,
            events: FuturesUnordered::new(),
            looking: false,
            beating: None,
            committing: false,
            next_look: Duration::ZERO,
            next_beat: Duration::ZERO,
            commit_after: Duration::ZERO,
            look_failures: 0,
            commit_failures: 0,
            hurried: false,
            looked: None,
            source_answered: None,
            about: None,
            look_trouble: Trouble::default(),
            found_trouble: Trouble::default(),
            beat_trouble: Trouble::default(),
            index_trouble: Trouble::default(),
            valve,
            view,
            stop,
        })
    }

    fn observe(store: &Arc<dyn Store>) -> &dyn Observe {
        let Mode::Observe(observe) = store.mode() else {
            unreachable!("Driver::new takes observed stores only, and a store's mode never changes")
        };
        observe
    }

    /// Runs until told to stop. Cancel-safe at every await: what is not durable is looked at again.
    pub(super) async fn run(mut self) -> Result<(), String> {
        let stop = self.stop.clone();
        let clock = Arc::clone(&self.deps.clock);
        while !stop.is_cancelled() {
            if self.valve.has_changed().unwrap_or(false) {
                self.hurry();
            }
            let closed = *self.valve.borrow_and_update() == Valve::Closed;
            let now = self.deps.clock.now();
            self.start_work(closed, now);
            self.show(closed);
            self.deps.pulse.beat();
            let nap = self.nap(closed, now);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(event) = self.events.next(), if !self.events.is_empty() => self.handle(event, closed),
                changed = self.valve.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.hurry();
                }
                () = clock.sleep(nap) => {}
            }
        }
        self.drain().await;
        Ok(())
    }

    /// The last commit.
    async fn drain(&mut self) {
        let clock = Arc::clone(&self.deps.clock);
        let until = clock.now().mono + DRAIN;
        loop {
            let now = clock.now();
            self.start_commit(now);
            if (!self.committing && !self.dirty) || now.mono >= until {
                return;
            }
            tokio::select! {
                biased;
                // What a look says now is not looked at any more.
                Some(event) = self.events.next(), if !self.events.is_empty() => self.handle(event, true),
                () = clock.sleep(Duration::from_millis(50)) => {}
            }
        }
    }

    /// A promotion asks for the newest number there is, or closes the flow.
    fn hurry(&mut self) {
        (self.next_look, self.next_beat, self.hurried) = (Duration::ZERO, Duration::ZERO, true);
    }

    fn start_work(&mut self, closed: bool, now: Stamp) {
        if !closed && !self.frozen {
            self.start_beat(now);
            self.start_look(now);
        }
        self.start_commit(now);
    }

    fn start_beat(&mut self, now: Stamp) {
        let Some(every) = self.cadence.beat_every else { return };
        if self.beating.is_some() || now.mono < self.next_beat {
            return;
        }
        self.next_beat = now.mono + every;
        let beat = self.beats.next(now);
        let give_up = CancellationToken::new();
        self.beating = Some(give_up.clone());
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.deps.clock));
        self.events.push(Box::pin(async move {
            let given_up = async {
                give_up.cancelled().await;
                clock.sleep(BEAT_GRACE).await;
            };
            let result = tokio::select! {
                biased;
                result = Self::observe(&store).beat(&beat) => Some(result),
                () = given_up => None,
            };
            Event::Beaten { seq: beat.seq, result }
        }));
    }

    fn start_look(&mut self, now: Stamp) {
        if self.looking || now.mono < self.next_look || (self.hurried && self.beating.is_some()) {
            return;
        }
        (self.looking, self.hurried) = (true, false);
        self.next_look = now.mono + self.cadence.look_every;
        let (store, beats, skew) = (Arc::clone(&self.store), self.beats.clone(), Arc::clone(&self.deps.skew));
        self.events.push(Box::pin(async move {
            let look = Look { asked: now, skew: &*skew, beats: &beats };
            Event::Looked { asked: now, looked: Self::observe(&store).observe(look).await }
        }));
    }

    fn start_commit(&mut self, now: Stamp) {
        if self.committing || !self.dirty || now.mono < self.commit_after {
            return;
        }
        (self.committing, self.dirty) = (true, false);
        let mark = Mark { record: self.record.clone(), proved: self.proved };
        let txn = Txn { marks: vec![(self.store.id().clone(), mark)], ..Txn::default() };
        let index = Arc::clone(&self.deps.index);
        self.events.push(Box::pin(async move { Event::Committed { result: index.commit(txn).await } }));
    }

    fn handle(&mut self, event: Event, closed: bool) {
        let now = self.deps.clock.now();
        match event {
            Event::Looked { asked, looked } => {
                self.looking = false;
                // Behind a closed valve the number is being frozen, or is.
                if !closed {
                    self.on_looked(asked, looked, now);
                }
            }
            Event::Beaten { seq, result } => self.on_beaten(seq, result, now),
            Event::Committed { result } => self.on_committed(result, now),
        }
    }

    fn on_looked(&mut self, asked: Stamp, looked: Result<(Vec<Evidence>, Facts), StoreError>, now: Stamp) {
        self.looked = Some(asked.mono);
        let (evidence, facts) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                self.look_failures = self.look_failures.saturating_add(1);
                self.deps.meter.error(error.class);
                self.look_trouble.failed(&error.chain(), "looking failed");
                let pause = self.cadence.look_every.saturating_mul(self.look_failures.min(8));
                self.next_look = self.next_look.max(now.mono + pause.min(LONGEST_PAUSE));
                return;
            }
        };
        self.look_failures = 0;
        self.look_trouble.cleared();
        if facts.source_answered {
            self.source_answered = Some(now);
        }
        let mut judged = judge(&self.record, self.reached, &evidence, facts.incarnation.as_deref(), now);
        if judged.record.epoch != self.record.epoch {
            tracing::warn!(store = %self.store.id(), "prodY holds another copy than before; it must be proved anew");
            (self.proved, self.beat_seen) = (None, None);
        }
        if let Some(gap) = judged.record.gap.as_ref().filter(|_| self.record.gap.is_none()) {
            tracing::error!(store = %self.store.id(), gap = %gap.sentence(), "history is lost; the watermark is frozen");
        }
        if let Some(seen) = facts.beat_seen {
            match self.beat_seen {
                Some(newest) if seen < newest => {
                    // OB-2: nothing that is read now can be trusted to be the present.
                    let what = format!("the heartbeat in prodY went back from {newest} to {seen}");
                    judged.trouble = Some(judged.trouble.map_or(what.clone(), |trouble| format!("{what}; {trouble}")));
                }
                have if have != Some(seen) => {
                    self.beat_seen = Some(seen);
                    if let Some(sent) = self.beats.sent_at(seen) {
                        self.deps.meter.canary_roundtrip(now.since(sent));
                    }
                    self.beats.seen(seen);
                }
                _ => {}
            }
        }
        if judged.fresh {
            self.proved = Some(now);
        }
        self.dirty |= judged.fresh || judged.record != self.record;
        (self.record, self.reached) = (judged.record, judged.reached);
        match judged.trouble {
            Some(trouble) => self.found_trouble.failed(&trouble, "what was observed is not good"),
            None => self.found_trouble.cleared(),
        }
        self.about = facts.about.or(self.about.take());
    }

    fn on_beaten(&mut self, seq: u64, result: Option<Result<(), StoreError>>, now: Stamp) {
        self.beating = None;
        match result {
            Some(Ok(())) => {
                self.beats.acked(seq, now);
                self.source_answered = Some(now);
                self.beat_trouble.cleared();
                self.next_look = self.next_look.min(now.mono);
            }
            Some(Err(error)) => {
                self.deps.meter.error(error.class);
                self.beat_trouble.failed(&error.chain(), "the heartbeat could not be written in prodX");
            }
            None => {}
        }
    }

    fn on_committed(&mut self, result: Result<(), CommitError>, now: Stamp) {
        self.committing = false;
        match result {
            Ok(()) => {
                self.commit_failures = 0;
                self.index_trouble.cleared();
            }
            // The fence is durable: the marks stand as they are, for ever.
            Err(CommitError::Fenced { .. }) => self.frozen = true,
            Err(error) => {
                self.commit_failures = self.commit_failures.saturating_add(1);
                let pause = Duration::from_millis(250) * self.commit_failures.min(20);
                self.commit_after = now.mono + pause.min(LONGEST_PAUSE);
                self.index_trouble.failed(&error.to_string(), "commit failed");
                self.dirty = true;
            }
        }
    }

    /// How long there is nothing to do, at most a second so that the vital signs stay fresh.
    fn nap(&self, closed: bool, now: Stamp) -> Duration {
        let mut wake = now.mono + Duration::from_secs(1);
        if !closed && !self.frozen {
            if self.cadence.beat_every.is_some() && self.beating.is_none() {
                wake = wake.min(self.next_beat);
            }
            if !(self.looking || (self.hurried && self.beating.is_some())) {
                wake = wake.min(self.next_look);
            }
        }
        if self.dirty && !self.committing {
            wake = wake.min(self.commit_after);
        }
        wake.saturating_sub(now.mono).max(Duration::from_millis(1))
    }

    fn show(&mut self, closed: bool) {
        if let Some(beating) = self.beating.as_ref().filter(|_| closed) {
            beating.cancel();
        }
        let durable = !self.committing && !self.dirty;
        let settled = if durable { self.looked } else { self.view.borrow().settled };
        let trouble = self.sentence();
        let shut = closed && self.beating.is_none() && durable;
        let view = View { settled, trouble: trouble.clone(), closed: shut };
        self.view.send_if_modified(|have| {
            let changed = *have != view;
            *have = view;
            changed
        });
        let vitals = Vitals {
            last_progress: self.proved,
            source_answered: self.source_answered,
            // Behind a closed valve nobody looks any more: what was wrong then is no trouble now.
            trouble: trouble.filter(|_| !shut && !self.frozen),
            about: self.about.clone(),
            ..Vitals::default()
        };
        self.deps.board.post(self.store.id(), vitals);
    }

    /// All that is wrong in one sentence, for the status note.
    fn sentence(&self) -> Option<String> {
        let look = self.look_trouble.text();
        // What both calls need and do not have is said once.
        let beat = self.beat_trouble.text().filter(|beat| look.as_ref() != Some(beat));
        let found = self.found_trouble.text().filter(|_| look.is_none());
        let named = [
            ("looking", look),
            ("heartbeat in prodX", beat),
            ("observed", found),
            ("index", self.index_trouble.text()),
        ];
        let texts: Vec<String> =
            named.into_iter().filter_map(|(name, text)| text.map(|text| format!("{name}: {text}"))).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}
