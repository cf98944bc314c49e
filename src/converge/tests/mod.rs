//! The driver on a store in memory: what it proves is held to the truth at every moment, whatever the weather, and whenever it
//! is killed.
//!
//! A failing seed is printed; run it alone with `PLIMSOLL_CONVERGE_SEED=n cargo test --lib converge`.

mod handler;
mod operation;
mod storms;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::commands::Command;
use super::driver::{Driver, Start};
use super::fleet::View;
use super::shelf;
use super::testing::Fake;
use crate::change::{Class, SourceTime};
use crate::replicate::{Deps, Meter, Pulse, Valve};
use crate::seams::{Ids, SharedClock, TokioClock};
use crate::stores::Store;
use crate::watermark::keys::Prefix;
use crate::watermark::memory::{MemoryIndex, Tail};
use crate::watermark::{Board, Course, Index, Record as _, Row, StoreRecord, Vitals};

pub(super) const S: fn(u64) -> Duration = Duration::from_secs;

/// The seeds to run: one, if the environment names it.
pub(super) fn seeds(most: u64) -> Vec<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test is repeated by its environment")]
    match std::env::var("PLIMSOLL_CONVERGE_SEED") {
        Ok(seed) => vec![seed.parse().expect("PLIMSOLL_CONVERGE_SEED is a number")],
        Err(_) => (0..most).collect(),
    }
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) violations: std::sync::atomic::AtomicU64,
    pub(super) applied: std::sync::atomic::AtomicU64,
}

impl Meter for Counts {
    fn read(&self, _: u64) {}
    fn applied(&self, changes: u64) {
        self.applied.fetch_add(changes, std::sync::atomic::Ordering::Relaxed);
    }
    fn error(&self, _: Class) {}
    fn latency(&self, _: Duration) {}
    fn violation(&self) {
        self.violations.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

struct Still;

impl Pulse for Still {
    fn beat(&self) {}
}

struct Even(std::sync::atomic::AtomicU64);

impl Ids for Even {
    fn fresh(&self) -> [u8; 16] {
        let next = self.0.fetch_add(0x9e37_79b9, std::sync::atomic::Ordering::Relaxed);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&next.to_be_bytes());
        bytes[0] = next as u8;
        bytes
    }
}

pub(super) fn clock() -> SharedClock {
    TokioClock::shared(UNIX_EPOCH + S(1_795_500_000))
}

/// What outlives a process.
pub(super) struct Lab {
    pub(super) clock: SharedClock,
    pub(super) fake: Arc<Fake>,
    pub(super) index: MemoryIndex,
    pub(super) counts: Arc<Counts>,
    pub(super) board: Arc<Board>,
    pub(super) clean: bool,
}

/// A process as the outside sees it.
pub(super) struct Outside {
    pub(super) valve: watch::Sender<Valve>,
    pub(super) view: watch::Receiver<View>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) stop: CancellationToken,
}

impl Lab {
    pub(super) fn new(seed: u64, tempo: crate::stores::converge::Tempo) -> Self {
        let clock = clock();
        let fake = Fake::new(&clock, seed, tempo);
        let (counts, board) = (Arc::default(), Arc::default());
        Self { clock, fake, index: MemoryIndex::new(), counts, board, clean: true }
    }

    /// A process on what is durable now.
    pub(super) fn process(&self) -> (Driver, Outside) {
        let fenced = self.index.snapshot().fence.is_some();
        let loaded = shelf::load(&self.index, self.fake.id(), fenced).unwrap();
        let valve = watch::Sender::new(if fenced { Valve::Closed } else { Valve::Open });
        let (show, view) = watch::channel(View::default());
        let (commands, orders) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let deps = Deps {
            clock: Arc::clone(&self.clock),
            ids: Arc::new(Even(std::sync::atomic::AtomicU64::new(7))),
            index: Arc::new(self.index.clone()),
            board: Arc::clone(&self.board),
            meter: Arc::clone(&self.counts) as Arc<dyn Meter>,
            pulse: Arc::new(Still),
            skew: Arc::new(|| Duration::from_millis(5)),
            clean_start: self.clean,
        };
        let start = Start { loaded, valve: valve.subscribe(), view: show, commands: orders, stop: stop.clone() };
        let driver = Driver::new(Arc::clone(&self.fake) as Arc<dyn Store>, deps, start).unwrap();
        (driver, Outside { valve, view, commands, stop })
    }

    /// Runs a process while a script lasts, and then kills it where it stands.
    pub(super) async fn run<T>(&mut self, script: impl AsyncFnOnce(&Lab, &Outside) -> T) -> T {
        let (driver, outside) = self.process();
        let result = tokio::select! {
            biased;
            ended = driver.run() => panic!("the driver ended: {ended:?}"),
            result = script(self, &outside) => result,
        };
        self.clean = false;
        result
    }

    /// What the next process finds.
    pub(super) fn crash(&mut self, seed: u64) {
        self.index = self.index.crash(Tail::Torn { seed });
    }

    pub(super) fn record(&self) -> StoreRecord {
        let row = Row::Store(self.fake.id().clone());
        let bytes = self.index.get(&row).unwrap();
        bytes.map(|bytes| StoreRecord::decode(&row, &bytes).unwrap()).unwrap_or_default()
    }

    pub(super) fn course(&self) -> Course {
        self.record().course.map(|course| *course).unwrap_or_default()
    }

    pub(super) fn through(&self) -> Option<SourceTime> {
        self.index.snapshot().stores.get(self.fake.id()).and_then(|mark| mark.record.through)
    }

    pub(super) fn vitals(&self) -> Vitals {
        self.board.read(self.fake.id())
    }

    pub(super) fn rows(&self, prefix: &Prefix) -> usize {
        self.index.scan(prefix).unwrap().len()
    }

    pub(super) fn violations(&self) -> u64 {
        self.counts.violations.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Nothing committed at or before the published watermark is missing in the standby.
    pub(super) fn sound(&self) {
        if let Some(through) = self.through() {
            let missing = self.fake.world().missing(through);
            assert_eq!(missing, None, "W = {through}");
        }
    }

    /// Waits until it holds, looking at the truth all the while.
    pub(super) async fn until(&self, what: &str, most: Duration, holds: impl Fn(&Lab) -> bool) {
        let until = self.clock.now().mono + most;
        while !holds(self) {
            self.sound();
            assert!(
                self.clock.now().mono < until,
                "{what}: not within {most:?}; {:#?}",
                (self.vitals(), self.course())
            );
            self.clock.sleep(Duration::from_millis(100)).await;
        }
    }

    /// Lets time pass, looking at the truth.
    pub(super) async fn pass(&self, time: Duration) {
        let until = self.clock.now().mono + time;
        while self.clock.now().mono < until {
            self.sound();
            self.clock.sleep(Duration::from_millis(200)).await;
        }
    }

    /// Both ends are the same.
    pub(super) fn same(&self) -> bool {
        self.fake.world().differences().is_empty()
    }

    pub(super) fn seeded(&self) -> bool {
        self.through().is_some()
    }
}
