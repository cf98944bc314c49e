//! The driver of one store: a single task that owns the store's state.
//!
//! Everything slow is a future in one set ([`Event`]s); between two events nothing is half done. What the state says in memory
//! may run ahead of what is durable, but nothing is published or released from it: that is done behind the commit.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::commands::Command;
use super::drain::Drain;
use super::fleet::View;
use super::holds::Holds;
use super::marks::{Marks, Ticket};
use super::notebook::{Overlay, Pages};
use super::pending::{Pending, Rows};
use super::receive::Receiver;
use super::shelf::{Loaded, Shelf};
use super::survey::Canaries;
use super::troubles::Troubles;
use super::walking::Walker;
use crate::change::{Key, SourceTime, Stamp};
use crate::replicate::{Deps, Valve};
use crate::stores::contract::Mode;
use crate::stores::converge::{Depth, ListPage, Message, Receipt, Settled, Survey, Tempo};
use crate::stores::{Converge, Store, StoreError};
use crate::watermark::course::Course;
use crate::watermark::{CommitError, StoreRecord};

/// A stop waits this long for what is under way.
const DRAIN: Duration = Duration::from_secs(10);
/// Of that, what is in work may take this long.
const WORK_GRACE: Duration = Duration::from_secs(6);
/// Behind a valve that was closed, what is in work may take this long.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

pub(super) enum Event {
    Surveyed {
        asked: Stamp,
        result: Result<Survey, StoreError>,
    },
    Polled {
        receiver: usize,
        asked: Stamp,
        result: Result<Vec<Message>, StoreError>,
    },
    Counted {
        about: Option<Stamp>,
        ours: u64,
        result: Result<Depth, StoreError>,
    },
    Renewed {
        held: Vec<(Ticket, Receipt)>,
        asked: Duration,
        result: Result<Vec<Receipt>, StoreError>,
    },
    Released {
        held: Vec<(Ticket, Receipt)>,
        result: Result<Vec<Receipt>, StoreError>,
    },
    Requeued {
        ticket: Ticket,
        result: Result<(), StoreError>,
    },
    /// `None`: given up.
    Worked {
        key: Key,
        settled: Option<Settled>,
        noted: bool,
    },
    Ranged {
        begin: super::walking::Begin,
        result: Result<Vec<Key>, StoreError>,
    },
    Listed {
        walk: u64,
        part: usize,
        published: Option<SourceTime>,
        result: Result<ListPage, StoreError>,
    },
    /// `None`: given up.
    Beaten {
        sent: Stamp,
        result: Option<Result<(), StoreError>>,
    },
    Committed {
        pending: Pending,
        calm: Option<Duration>,
        result: Result<(), CommitError>,
    },
}

pub(super) struct Driver {
    pub(super) store: Arc<dyn Store>,
    pub(super) deps: Deps,
    pub(super) tempo: Tempo,
    pub(super) record: StoreRecord,
    pub(super) marks: Marks,
    pub(super) shelf: Shelf,
    pub(super) holds: Holds,
    pub(super) drain: Drain,
    pub(super) receivers: Vec<Receiver>,
    pub(super) walker: Walker,
    pub(super) canaries: Canaries,
    pub(super) events: FuturesUnordered<BoxFuture<'static, Event>>,
    pub(super) pending: Pending,
    /// What the commit under way writes.
    pub(super) staged: Option<Arc<Rows>>,
    pub(super) overlay: Overlay,
    pub(super) committing: bool,
    pub(super) commit_failures: u32,
    /// The fence is durable: the record stands as it is.
    pub(super) frozen: bool,
    /// Messages to forget now.
    pub(super) release: VecDeque<Ticket>,
    pub(super) releasing: usize,
    pub(super) next_release: Duration,
    pub(super) next_renewal: Duration,
    pub(super) counting: bool,
    pub(super) next_count: Duration,
    /// When the newest clean drain began, monotonic.
    pub(super) drained: Option<Duration>,
    /// The same, once it is durable with all that was heard before.
    pub(super) settled: Option<Duration>,
    pub(super) proved: Option<Stamp>,
    /// The newest call that prodX has answered was sent then.
    pub(super) alive: Option<Stamp>,
    pub(super) surveying: bool,
    pub(super) surveyed: Option<Survey>,
    pub(super) next_survey: Duration,
    pub(super) survey_failures: u32,
    /// No work before this, monotonic: throttled, or writes of a former process may still land.
    pub(super) work_gate: Duration,
    pub(super) work_failures: u32,
    /// Until when a write that was given up may still take effect, monotonic.
    pub(super) strays: Duration,
    pub(super) give_up: CancellationToken,
    /// When the valve was found closed, monotonic.
    pub(super) closed_since: Option<Duration>,
    pub(super) troubles: Troubles,
    pub(super) last_progress: Option<Stamp>,
    pub(super) source_answered: Option<Stamp>,
    /// Since when every work fails, monotonic.
    pub(super) failing_since: Option<Duration>,
    pub(super) about: Option<String>,
    pub(super) watched: Option<super::vitals::Watched>,
    pub(super) next_show: Duration,
    pub(super) hidden: bool,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) valve: watch::Receiver<Valve>,
    pub(super) view: watch::Sender<View>,
    stop: CancellationToken,
}

/// What a driver is started with.
pub(super) struct Start {
    pub(super) loaded: Loaded,
    pub(super) valve: watch::Receiver<Valve>,
    pub(super) view: watch::Sender<View>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) stop: CancellationToken,
}

impl Driver {
    pub(super) fn new(store: Arc<dyn Store>, deps: Deps, start: Start) -> Option<Self> {
        let Mode::Converge(converge) = store.mode() else { return None };
        let tempo = converge.tempo();
        let now = deps.clock.now();
        let Loaded { mut record, marks, shelf, strange } = start.loaded;
        let hidden = record.course.get_or_insert_default().hidden_until;
        // A process that did not stop cleanly may have left writes that are on their way (LE-4), and messages that are hidden
        // from everybody (S3-14); one that did knows what it left.
        let (strays, hidden) = match deps.clean_start {
            true => {
                (Duration::ZERO, hidden.map_or(Duration::ZERO, |until| until.since(now.wall).min(tempo.visibility)))
            }
            false => (now.mono + tempo.max_request_life, tempo.visibility),
        };
        let receivers = Receiver::all(&tempo);
        let drain = Drain::new(receivers.len(), now.mono + hidden, tempo.visibility);
        let frozen = deps.index.snapshot().fence.is_some();
        Some(Self {
            drain,
            receivers,
            walker: Walker::new(strange),
            canaries: Canaries::new(&deps.ids.id()),
            store,
            deps,
            tempo,
            record,
            marks,
            shelf,
            holds: Holds::default(),
            events: FuturesUnordered::new(),
            pending: Pending::default(),
            staged: None,
            overlay: Overlay::default(),
            committing: false,
            commit_failures: 0,
            frozen,
            release: VecDeque::new(),
            releasing: 0,
            next_release: Duration::ZERO,
            next_renewal: Duration::ZERO,
            counting: false,
            next_count: Duration::ZERO,
            drained: None,
            settled: None,
            proved: None,
            alive: None,
            surveying: false,
            surveyed: None,
            next_survey: Duration::ZERO,
            survey_failures: 0,
            work_gate: strays,
            work_failures: 0,
            strays,
            give_up: CancellationToken::new(),
            closed_since: None,
            troubles: Troubles::default(),
            last_progress: None,
            source_answered: None,
            failing_since: None,
            about: None,
            watched: None,
            next_show: Duration::ZERO,
            hidden: false,
            commands: start.commands,
            valve: start.valve,
            view: start.view,
            stop: start.stop,
        })
    }

    pub(super) fn converge(store: &Arc<dyn Store>) -> &dyn Converge {
        match store.mode() {
            Mode::Converge(converge) => converge,
            Mode::Replicate(_) | Mode::Observe(_) => {
                unreachable!("Driver::new takes stores of this mode only, and a store's mode never changes")
            }
        }
    }

    pub(super) fn course(&self) -> &Course {
        self.record.course.as_ref().expect("Driver::new gives every record a course, and nothing takes it away")
    }

    pub(super) fn course_mut(&mut self) -> &mut Course {
        self.record.course.get_or_insert_default()
    }

    pub(super) fn jitter(&self) -> u8 {
        self.deps.ids.fresh()[0]
    }

    pub(super) fn skew(&self) -> Duration {
        self.deps.skew()
    }

    /// The notebook, for one key or listing.
    pub(super) fn pages(&self) -> Pages {
        Pages {
            index: Arc::clone(&self.deps.index),
            store: self.store.id().clone(),
            overlay: Arc::clone(&self.overlay),
            clock: Arc::clone(&self.deps.clock),
            noted: Arc::new(AtomicBool::new(false)),
        }
    }

    /// What was settled of these keys is durable: it is read from the index from now on, unless there is something newer.
    pub(super) fn uncover(&self, keys: &[Key]) {
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            let row = crate::watermark::Row::Known { store: self.store.id().clone(), key: key.clone() };
            if !self.pending.rows.contains_key(&row) {
                overlay.remove(key);
            }
        }
    }

    /// Runs until told to stop. Cancel-safe at every await: what is not durable is heard or found again.
    pub(super) async fn run(mut self) -> Result<(), String> {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            if self.valve.has_changed().unwrap_or(false) {
                self.hurry();
            }
            let closed = *self.valve.borrow_and_update() == Valve::Closed;
            self.turn(closed);
            self.start(closed);
            self.show(closed);
            self.deps.pulse.beat();
            let nap = self.nap(closed);
            let clock = Arc::clone(&self.deps.clock);
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
                Some(command) = self.commands.recv() => self.on_command(command, closed),
                () = clock.sleep(nap) => {}
            }
        }
        self.finish().await;
        Ok(())
    }

    /// The valve was closed, or opened again.
    fn turn(&mut self, closed: bool) {
        let now = self.deps.clock.now();
        match (closed, self.closed_since) {
            (true, None) => {
                self.closed_since = Some(now.mono);
                // What is proved now is the last that is.
                self.raise(now);
                // And what is dirty is written, so that its messages may go.
                self.pending.change(now.mono);
            }
            (true, Some(since)) => {
                if now.mono >= since + CLOSE_GRACE && (self.marks.working() > 0 || self.canaries.beating()) {
                    self.give_up.cancel();
                }
            }
            (false, Some(_)) => {
                self.closed_since = None;
                self.give_up = CancellationToken::new();
                self.marks.reopen();
                self.shelf.again();
                self.pending.change(now.mono);
            }
            (false, None) => {}
        }
    }

    fn start(&mut self, closed: bool) {
        let now = self.deps.clock.now();
        self.start_polls(now);
        self.start_holds(now);
        self.start_releases(now);
        if !closed && !self.frozen {
            self.start_survey(now);
            self.start_beat(now);
            self.start_count(now);
            self.judge_busy(now);
            self.judge_late(now);
            self.start_walk(now);
            self.read_shelf(now);
            self.start_lists(now);
            self.start_works(now);
            self.end_walk(now);
        }
        self.start_commit(now, closed);
    }

    fn handle(&mut self, event: Event, closed: bool) {
        let now = self.deps.clock.now();
        match event {
            Event::Surveyed { asked, result } => self.on_surveyed(asked, result, now, closed),
            Event::Polled { receiver, asked, result } => self.on_polled(receiver, asked, result, now, closed),
            Event::Counted { about, ours, result } => self.on_counted(about, ours, result, now, closed),
            Event::Renewed { held, asked, result } => self.on_renewed(&held, asked, result, now),
            Event::Released { held, result } => self.on_released(&held, result, now),
            Event::Requeued { ticket, result } => self.on_requeued(ticket, result, now),
            Event::Worked { key, settled, noted } => self.on_worked(&key, settled, noted, now),
            Event::Ranged { begin, result } => self.on_ranged(begin, result, now, closed),
            Event::Listed { walk, part, published, result } => {
                self.on_listed(walk, part, published, result, now, closed);
            }
            Event::Beaten { sent, result } => self.on_beaten(sent, result, now),
            Event::Committed { pending, calm, result } => self.on_committed(pending, calm, result, now),
        }
    }

    /// Signal, stop hearing, let what is in work end, last commit, forget what may be forgotten, give the rest back.
    async fn finish(&mut self) {
        let clock = Arc::clone(&self.deps.clock);
        let began = clock.now().mono;
        let closed = *self.valve.borrow() == Valve::Closed;
        let mut noted = false;
        loop {
            let now = clock.now();
            if now.mono >= began + WORK_GRACE {
                self.give_up.cancel();
            }
            let resting = self.marks.working() == 0 && !self.canaries.beating();
            if resting && !noted {
                noted = true;
                self.note_hidden(now);
            }
            self.start_releases(now);
            self.start_commit(now, true);
            let over = now.mono >= began + DRAIN;
            let idle = resting && !self.committing && self.pending.is_empty();
            if over || (idle && self.releasing == 0 && self.release.is_empty()) {
                let quiet = idle && now.mono >= self.strays;
                self.give_back(began + DRAIN).await;
                self.view.send_modify(|view| view.quiet = quiet);
                return;
            }
            tokio::select! {
                biased;
                Some(event) = self.events.next(), if !self.events.is_empty() => self.handle(event, closed),
                () = clock.sleep(Duration::from_millis(50)) => {}
            }
        }
    }

    /// Messages that polls under way may have taken are hidden from the next process for a while (S3-14).
    fn note_hidden(&mut self, now: Stamp) {
        let polling = self.receivers.iter().any(|receiver| receiver.polling > 0);
        let until = polling.then(|| now.wall + self.tempo.visibility);
        if !self.frozen && self.course().hidden_until != until {
            self.course_mut().hidden_until = until;
            self.pending.decision();
        }
    }
}
