//! What a kind of store owes the spine for its canaries: items that we write at the source ourselves, to see them come by.
//!
//! A canary proves that the way from a commit to us is alive (DS-12), and measures how long it takes (A1, A3). It is the
//! one write in prodX. The spine decides when one is written and what it proves; the kind knows where it is written, and
//! recognises it in what it reads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::change::{Change, SourceTime};

/// How often, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanaryTerms {
    /// So many keys are written each time; at least one.
    pub keys: u32,
    /// From one time to the next.
    pub every: Duration,
    /// They are copied to the standby like everything else; otherwise they are filtered out.
    pub replicate: bool,
}

/// What a canary says. It is another one each time, for a write that changes nothing is in no stream (DS-F2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Which run of which daemon wrote it.
    pub run: Arc<str>,
    /// Its number within the run, from 1; all keys of one time have the same.
    pub seq: u64,
    /// Our wall clock before it was first sent: it was committed no earlier, as far as our clock is right.
    pub sent_at: SourceTime,
}

/// A canary among the changes that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which of its keys.
    pub key: u32,
    /// What it says; `None` when it was removed, or written by somebody else.
    pub beat: Option<Beat>,
}

/// The canaries of one store.
#[async_trait]
pub trait Canary: Send + Sync {
    /// How often, and how many.
    fn terms(&self) -> CanaryTerms;

    /// Is this change one of a canary's key, and what does it say? Pure, and cheap: it is asked for every change.
    fn sighting(&self, change: &Change) -> Option<Sighting>;

    /// Writes the canary of one key at the source. The same beat may be written again: it then changes nothing.
    async fn write(&self, key: u32, beat: &Beat) -> Result<(), StoreError>;
}
