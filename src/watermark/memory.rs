//! The index in memory, for simulations and tests: the same rules, and a crash that can be had at any moment.
//!
//! Invariants
//! - Written and synced are two things: a commit is written at once, and answered and published only when it is synced;
//!   [`MemoryIndex::crash`] forgets what was not.
//! - Syncing is sequential, as in a log: when a transaction is synced, all before it are.
//! - Deterministic under a paused tokio clock: it has no thread, reads no other clock and draws no random number.
#![expect(clippy::disallowed_methods, reason = "a double, for tests under tokio's paused clock")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::keys::Prefix;
use super::{CommitError, Index, IndexError, Row, Txn, Watermarks, admit};

/// What errors call it.
const PATH: &str = "memory";

/// What an injected failure does to the transaction that meets it. Its answer is [`CommitError::Io`] either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of it is durable.
    Lost,
    /// All of it is durable, and shows in the snapshot: what a real index finds when it opens its storage anew.
    Durable,
}

/// What a crash leaves of the transactions that were written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Lost,
    /// A prefix of them, chosen by the seed: a torn log.
    Torn {
        /// Equal seeds leave prefixes of equal length.
        seed: u64,
    },
}

/// The index in memory. Clones are handles to the same one.
#[derive(Clone)]
pub struct MemoryIndex {
    state: Arc<Mutex<State>>,
    /// Told whenever something changed that a commit may be waiting for.
    changed: Arc<watch::Sender<()>>,
    clean: bool,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<(&'static str, Vec<u8>), Vec<u8>>,
    published: Arc<Watermarks>,
    /// Written and not synced, oldest first.
    tail: Vec<Written>,
    /// How many transactions were ever written.
    written: u64,
    /// How many of them are synced.
    synced: u64,
    faults: Vec<Fault>,
    trouble: Option<String>,
    delay: Duration,
    held: bool,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Crashed,
}

struct Written {
    txn: Txn,
    next: Watermarks,
    due: Instant,
}

impl State {
    /// The marks that the next transaction is judged against.
    fn staged(&self) -> &Watermarks {
        self.tail.last().map_or(&self.published, |last| &last.next)
    }

    fn sync(&mut self, count: usize) {
        for Written { txn, next, .. } in self.tail.drain(..count).collect::<Vec<_>>() {
            for prefix in &txn.clears {
                let inside = |key: &(&str, Vec<u8>)| key.0 == prefix.keyspace && key.1.starts_with(&prefix.bytes);
                self.rows.retain(|key, _| !inside(key));
            }
            for (row, value) in txn.writes() {
                let key = (row.keyspace(), row.bytes());
                match value {
                    Some(value) => self.rows.insert(key, value),
                    None => self.rows.remove(&key),
                };
            }
            self.published = Arc::new(next);
            self.synced += 1;
        }
    }

    /// Syncs what is due.
    fn settle(&mut self) {
        if self.held || self.end == Some(End::Crashed) {
            return;
        }
        let now = Instant::now();
        let due = self.tail.iter().take_while(|written| written.due <= now).count();
        self.sync(due);
    }
}

impl Default for MemoryIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::over(State::default(), true)
    }

    fn over(state: State, clean: bool) -> Self {
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(watch::Sender::new(())), clean }
    }

    /// What a new process finds after this one died now. The old index answers [`CommitError::Closed`] from here on, to
    /// those who are waiting too, and touches nothing of the new one.
    pub fn crash(&self, tail: Tail) -> MemoryIndex {
        let mut state = self.lock();
        if let Tail::Torn { seed } = tail {
            // Spread the seed so that neighbouring ones differ (the finaliser of SplitMix64).
            let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let choices = state.tail.len() as u64 + 1;
            let survived = ((mixed ^ (mixed >> 31)) % choices) as usize;
            state.sync(survived);
        }
        self.reborn(state)
    }

    fn reborn(&self, mut state: MutexGuard<'_, State>) -> MemoryIndex {
        let clean = state.end == Some(End::Closed);
        let mut marks = Watermarks::clone(&state.published);
        marks.stores.values_mut().for_each(|mark| mark.proved = None);
        let next = State { rows: state.rows.clone(), published: Arc::new(marks), ..State::default() };
        state.end = Some(End::Crashed);
        state.tail.clear();
        drop(state);
        self.changed.send_replace(());
        Self::over(next, clean)
    }

    /// Did the index before this one end by [`MemoryIndex::close`]? True for a new one.
    pub fn was_clean(&self) -> bool {
        self.clean
    }

    /// Syncs what is written and ends; [`MemoryIndex::crash`] then gives what the next process finds.
    pub fn close(&self) {
        let mut state = self.lock();
        if state.end.is_none() {
            let all = state.tail.len();
            state.sync(all);
            state.end = Some(End::Closed);
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// The next commits meet these failures, one each, after those that were asked for before.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults);
    }

    /// From now on every commit fails with these words and has no effect, and [`Index::health`] says so; `None` heals.
    pub fn set_trouble(&self, what: Option<&str>) {
        self.lock().trouble = what.map(str::to_owned);
    }

    /// Commits from now on take this long from written to synced, by tokio's clock.
    pub fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// While held, commits are written and not synced.
    pub fn hold(&self, held: bool) {
        let mut state = self.lock();
        state.held = held;
        state.settle();
        drop(state);
        self.changed.send_replace(());
    }

    /// How many transactions are written and not synced.
    pub fn unsynced(&self) -> usize {
        self.lock().tail.len()
    }

    /// The state with what is due synced.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle();
        state
    }

    /// Writes; gives the number to wait for and when it may be synced.
    fn write(&self, txn: Txn) -> Result<(u64, Instant), CommitError> {
        let io = |what: &str| CommitError::Io { path: PATH.to_owned(), what: what.to_owned() };
        let mut state = self.lock();
        if state.end.is_some() {
            return Err(CommitError::Closed);
        }
        if let Some(what) = &state.trouble {
            return Err(io(what));
        }
        let fault = (!state.faults.is_empty()).then(|| state.faults.remove(0));
        if fault == Some(Fault::Lost) {
            return Err(io("injected: lost"));
        }
        let mut next = state.staged().clone();
        admit(&mut next, &txn)?;
        let due = Instant::now() + state.delay;
        state.tail.push(Written { txn, next, due });
        state.written += 1;
        if fault == Some(Fault::Durable) {
            let all = state.tail.len();
            state.sync(all);
            drop(state);
            self.changed.send_replace(());
            return Err(io("injected: durable"));
        }
        Ok((state.written, due))
    }
}

#[async_trait]
impl Index for MemoryIndex {
    async fn commit(&self, txn: Txn) -> Result<(), CommitError> {
        let mut changed = self.changed.subscribe();
        let (number, due) = self.write(txn)?;
        // As with the real one, others run between a commit and its answer.
        tokio::task::yield_now().await;
        loop {
            {
                let state = self.lock();
                // Whoever died is told nothing good, whatever became durable.
                if state.end == Some(End::Crashed) {
                    return Err(CommitError::Closed);
                }
                if state.synced >= number {
                    return Ok(());
                }
            }
            // The sender lives in `self`, so `changed` only ends a wait by a change.
            if Instant::now() < due {
                tokio::select! {
                    biased;
                    _ = changed.changed() => {}
                    () = tokio::time::sleep_until(due) => {}
                }
            } else {
                changed.changed().await.map_err(|_| CommitError::Closed)?;
            }
        }
    }

    fn snapshot(&self) -> Arc<Watermarks> {
        self.lock().published.clone()
    }

    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.lock().rows.get(&(row.keyspace(), row.bytes())).cloned())
    }

    fn scan(&self, prefix: &Prefix) -> Result<Vec<(Row, Vec<u8>)>, IndexError> {
        let state = self.lock();
        let from = (prefix.keyspace, prefix.bytes.clone());
        let inside = |key: &(&str, Vec<u8>)| key.0 == prefix.keyspace && key.1.starts_with(&prefix.bytes);
        let found = state.rows.range(from..).take_while(|(key, _)| inside(key));
        let row = |key: &[u8]| Row::parse(prefix.keyspace, key).expect("only rows are written");
        Ok(found.map(|((_, key), value)| (row(key), value.clone())).collect())
    }

    fn health(&self) -> Result<(), String> {
        self.lock().trouble.clone().map_or(Ok(()), Err)
    }
}
