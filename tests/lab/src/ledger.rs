//! The truth ledger: what was committed in prodX, and when.
//!
//! A change is written down before it is sent and again when it is answered. Its commit lies in `[sent_at, acked_at]`.
//! A change whose answer never came is *unknown*: it may have been committed or not, then or later, and its writer never
//! touches the key again; so the order of the changes of a key is the order in which they stand here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use crate::canon::{Digest, Key};

/// What a change leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An item with this digest.
    Item(Digest),
    /// No item: it was deleted, or never written.
    Absent,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// 1 for the first change of its key, then counting up.
    pub version: u64,
    /// What it left behind.
    pub state: State,
    /// Just before it was sent.
    pub sent_at: SystemTime,
    /// Just after its success was known; `None`: unknown.
    pub acked_at: Option<SystemTime>,
}

/// The changes of a table, by key, each key's in the order in which they were made.
#[derive(Debug, Clone, Default)]
pub struct History(BTreeMap<Key, Vec<Change>>);

impl History {
    /// The keys and their changes.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &[Change])> {
        self.0.iter().map(|(key, changes)| (key, changes.as_slice()))
    }

    /// The changes of a key; empty when it was never written.
    pub fn of(&self, key: &Key) -> &[Change] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// How many changes are known to be committed.
    pub fn committed(&self) -> usize {
        self.0.values().flatten().filter(|change| change.acked_at.is_some()).count()
    }

    /// Adds a change to a key and returns its version.
    pub fn push(&mut self, key: Key, state: State, sent_at: SystemTime, acked_at: Option<SystemTime>) -> u64 {
        let changes = self.0.entry(key).or_default();
        let version = changes.len() as u64 + 1;
        changes.push(Change { version, state, sent_at, acked_at });
        version
    }
}

/// The ledger of a table, shared by its writers and its judges.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<History>>);

/// A change that was sent and not yet answered.
#[derive(Debug)]
#[must_use = "a change must be answered, or stays unknown"]
pub struct Ticket {
    key: Key,
    version: u64,
}

impl Ticket {
    /// The version of the change among those of its key.
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes down a change that is about to be sent.
    ///
    /// # Panics
    /// When the previous change of the key is unknown: the order would be lost, and with it every judgement.
    pub fn send(&self, key: Key, state: State, now: SystemTime) -> Ticket {
        let mut history = self.lock();
        let open = history.of(&key).last().is_some_and(|change| change.acked_at.is_none());
        assert!(!open, "{key} has a change without an answer and must not be written again");
        let version = history.push(key.clone(), state, now, None);
        Ticket { key, version }
    }

    /// Writes down an item that is in prodX before anything watches it: committed, at this moment at the latest.
    pub fn existed(&self, key: Key, state: State, by: SystemTime) {
        self.lock().push(key, state, by, Some(by));
    }

    /// The change is committed; `now` is just after the answer.
    pub fn ack(&self, ticket: Ticket, now: SystemTime) {
        let mut history = self.lock();
        let changes = history.0.get_mut(&ticket.key).expect("a ticket's key is in its ledger");
        let change = changes.last_mut().filter(|change| change.version == ticket.version);
        change.expect("a ticket is of the last change of its key").acked_at = Some(now);
    }

    /// The change was definitely not carried out (a 4xx answer): it is struck out.
    pub fn refuse(&self, ticket: Ticket) {
        let mut history = self.lock();
        let changes = history.0.get_mut(&ticket.key).expect("a ticket's key is in its ledger");
        let struck = changes.pop();
        assert_eq!(struck.map(|change| change.version), Some(ticket.version), "the last change of {}", ticket.key);
        if changes.is_empty() {
            history.0.remove(&ticket.key);
        }
    }

    /// Looks at the history while no writer can add to it.
    pub fn read<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.lock())
    }

    /// How many changes are known to be committed.
    pub fn committed(&self) -> usize {
        self.read(History::committed)
    }

    /// A poisoned lock means that a writer panicked on a broken rule above; its history is still what was observed.
    fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
