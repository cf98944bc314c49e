//! What a store owes the spine whose source only says *that* a key changed: it is looked at, and made the same, as often as
//! it takes (semantics 3.2, level-triggered).
//!
//! The spine (`converge/`) keeps which keys are dirty and since when, decides when a key is looked at and when a message may
//! be forgotten, walks both ends for what no event told, and makes a watermark of all that. The kind reads its channels,
//! makes one key the same, and lists both ends side by side.
//!
//! Rules for a kind
//! - [`Converge::converge`] reads the standby first, then the source, then writes on the condition that the standby is still
//!   what was read first (S3-1). A condition that was read after the source protects nothing.
//! - It never writes what it did not read in the same call, and leaves nothing of ours in the customer's metadata.
//! - A message that is not understood is handed over as such, never dropped: it may be about any key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::StoreError;
use crate::change::{Class, Difference, Key, SourceTime, Stamp};

/// A store that is made the same key by key.
#[async_trait]
pub trait Converge: Send + Sync {
    /// The numbers that it lives by.
    fn tempo(&self) -> Tempo;

    /// Looks at what both ends and the channels are. Reads only.
    async fn survey(&self) -> Result<Survey, StoreError>;

    /// One long poll of a channel: at most [`Tempo::poll_wait`] when there is nothing.
    async fn receive(&self, channel: Channel) -> Result<Vec<Message>, StoreError>;

    /// Keeps messages to ourselves for `by` from now on. Gives those whose hold is lost: they come again.
    async fn hold(&self, receipts: &[Receipt], by: Duration) -> Result<Vec<Receipt>, StoreError>;

    /// Forgets messages for good. Only behind the commit of all that they told. Gives those that were not forgotten: they
    /// come again, which does no harm.
    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>, StoreError>;

    /// Sends the same text again, so that the old message can be released before the channel takes it away from us
    /// ([`Tempo::hold_most`]).
    async fn requeue(&self, message: &Message) -> Result<(), StoreError>;

    /// How many messages the channels hold.
    async fn depth(&self) -> Result<Depth, StoreError>;

    /// Makes one key the same, in the order of S3-1. `known` is what the last call left for this key.
    async fn converge(&self, spot: Spot<'_>) -> Settled;

    /// The parts in which the key space is listed, about [`Tempo::list_ranges`] of equal size, each from its start
    /// (inclusive; the first is empty) in the order of the keys. Reads only.
    async fn ranges(&self) -> Result<Vec<Key>, StoreError>;

    /// One page of both ends side by side, in the order of the keys (S3-10).
    async fn list(&self, from: &ListFrom, notebook: &dyn Notebook) -> Result<ListPage, StoreError>;

    /// Writes the canary in the source. Never called behind the fence, nor twice at once.
    async fn beat(&self, beat: &super::observe::Beat) -> Result<(), StoreError>;

    /// A key for a human.
    fn key_text(&self, key: &Key) -> String;
}

/// The numbers that a store of this mode lives by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tempo {
    /// How long a poll waits when there is nothing.
    pub poll_wait: Duration,
    /// Polls of the main channel at one time.
    pub receivers: usize,
    /// The channel has a second one for what could not be delivered.
    pub dead_letters: bool,
    /// How long a received message is ours before it comes again.
    pub visibility: Duration,
    /// The longest that it can be ours from its receipt on, whatever we do.
    pub hold_most: Duration,
    /// D: the least delivery allowance (S3-13). An event is in the channel at most this long after the change.
    pub delivery: Duration,
    /// Keys that are made the same at one time.
    pub concurrency: usize,
    /// How long a request that we gave up may still take effect (assumption A2).
    pub max_request_life: Duration,
    /// Between the starts of two walks of both ends that nobody asked for.
    pub walk_every: Duration,
    /// A store whose last complete walk is older is not certified.
    pub certify_within: Duration,
    /// Parts of the key space that are listed at one time.
    pub list_ranges: usize,
    /// Pages listed in a second, at most, over all parts.
    pub list_rate: u32,
    /// Keys of the standby that are removed after a walk without asking, at least (S3-11).
    pub delete_limit: u64,
    /// Between two canaries; `None`: none.
    pub beat_every: Option<Duration>,
    /// Without a canary the event path counts as proved so long after it was set up (S3-12).
    pub settle: Duration,
}

/// Where messages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// The queue.
    Main,
    /// What the queue gave up.
    DeadLetters,
}

/// What a message is forgotten by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receipt {
    /// Where it came from.
    pub channel: Channel,
    /// The channel's own handle of this receipt.
    pub handle: Arc<str>,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// The channel's name for it; the same when it comes again.
    pub id: Arc<str>,
    /// What it is forgotten by.
    pub receipt: Receipt,
    /// When the channel took it in, the channel's clock.
    pub sent_at: SourceTime,
    /// How often it was received, with this time.
    pub times: u32,
    /// Its text.
    pub body: Arc<str>,
    /// What it says.
    pub says: Said,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// These keys changed; none: it is about nothing (a test).
    Events(Vec<Event>),
    /// It is not understood, and why: it may be about any key.
    Strange(String),
}

/// A key has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which.
    pub key: Key,
    /// When the source says that it had processed the change, rounded down to what the envelope keeps.
    pub at: SourceTime,
    /// The source's order of the changes of one key; compared as the kind says, for a human here.
    pub order: Option<Arc<str>>,
    /// The source says that it failed to replicate this object by itself (observed replication).
    pub failed: bool,
    /// It is of the canary.
    pub canary: bool,
}

/// How many messages a channel holds; the channel's own estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Waiting, over all channels.
    pub waiting: u64,
    /// Not deliverable yet.
    pub delayed: u64,
    /// Received by somebody and neither forgotten nor come back.
    pub held: u64,
}

/// What both ends and the channels are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Which source this is; another one than before starts a new epoch.
    pub incarnation: String,
    /// Which channel this is; another one than before has lost what the old one held.
    pub channel: String,
    /// How long the channel keeps a message.
    pub retention: Duration,
    /// How the store works, for a human; stands in the note even when all is well.
    pub about: Option<String>,
    /// What a recovery must know of the source, in the kind's own words.
    pub source: Option<String>,
    /// Why the source tells nobody of its changes, as it is set up now: then only walks prove anything. `None`: it does, or
    /// that cannot be known.
    pub deaf: Option<String>,
}

/// One key to be made the same.
#[derive(Clone, Copy)]
pub struct Spot<'a> {
    /// The key.
    pub key: &'a Key,
    /// What is known of it.
    pub notebook: &'a dyn Notebook,
    /// The key is to be compared as if nothing was known of it.
    pub afresh: bool,
}

/// What the index holds for a kind.
#[async_trait]
pub trait Notebook: Send + Sync {
    /// What the last [`Settled::Same`] left for a key.
    fn known(&self, key: &Key) -> Result<Option<Value>, StoreError>;

    /// The keys of which something is known after `after` (from the first one on without), at most `most`.
    fn known_after(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, Value)>, StoreError>;

    /// What is noted of the work under way on a key.
    fn work(&self, key: &Key) -> Result<Option<Value>, StoreError>;

    /// Notes the work under way on a key; durable when it returns. Gone when the key is settled.
    async fn note_work(&self, key: &Key, work: Value) -> Result<(), StoreError>;
}

/// What became of a key.
#[derive(Debug)]
pub enum Settled {
    /// Both ends are the same, as of a look at the source that began after this call did.
    Same(Same),
    /// Something changed meanwhile: look again.
    Again,
    /// It cannot be made the same, and trying again will not help until somebody does something.
    Refused(Refusal),
    /// It did not work, or nobody knows: try again later.
    Failed(StoreError),
}

/// Both ends are the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Same {
    /// What the next call is to know; `None`: nothing is left to know (the key is on neither end).
    pub known: Option<Value>,
    /// What was done for it.
    pub did: Did,
    /// Bytes that were copied.
    pub bytes: u64,
    /// When the source's state was made, if it says so.
    pub made_at: Option<SourceTime>,
}

/// What was done to make a key the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Did {
    /// It was the same already.
    #[default]
    Nothing,
    /// It was copied by the far end.
    Copied,
    /// It went through us.
    Streamed,
    /// It was removed.
    Removed,
}

/// Why a key cannot be made the same (S3-7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A short stable name of the class: `archived`, `sse-c`, `denied`.
    pub class: &'static str,
    /// What and why, for a human, and what to do.
    pub why: String,
    /// The size of what cannot be copied.
    pub bytes: u64,
    /// The configuration says that it need not be: it is counted and pins nothing.
    pub excluded: bool,
}

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFrom {
    /// After this key; `None`: from `start` on.
    pub after: Option<Key>,
    /// The first key of the part, inclusive; empty: the first of all.
    pub start: Key,
    /// The first key behind the part; `None`: to the end.
    pub end: Option<Key>,
    /// When the walk began: of what exists now and did not then, nothing need be said.
    pub began: Stamp,
}

/// One page of both ends side by side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Keys at which the two ends differ, or may.
    pub found: Vec<Found>,
    /// Objects of the source that were looked at.
    pub looked: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects of the standby that were looked at.
    pub standby: u64,
    /// All of the part up to this key, inclusive, was looked at; `None`: all of the part.
    pub to: Option<Key>,
}

/// A key at which the two ends differ, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub key: Key,
    /// How.
    pub what: Difference,
    /// When the source's state was made, if it says so.
    pub made_at: Option<SourceTime>,
}

/// The class of a failure, where one was met.
pub fn class(settled: &Settled) -> Option<Class> {
    match settled {
        Settled::Failed(error) => Some(error.class),
        _ => None,
    }
}
