//! The judge: compares the standby with the truth ledger. Pure; no clock, no I/O.
//!
//! The rule (semantics 6.1): a change is durable in the standby when its value, or that of a later change of the same
//! key, is there. Values are compared in canonical form. Where a value was written more than once, the newest writing
//! counts: if the standby's item equals what the last change left, nothing of that key is lost, however it came there.
//!
//! The standby must be read *before* the history is looked at, so that everything that can be in it is in the history;
//! and *after* a watermark was served that is judged with it. A standby that goes back to an older value after a restart
//! (replay) never goes back past a watermark, so the judgement holds at every moment.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::canon::Key;
use crate::ledger::{Change, History, State};
use crate::tables::Contents;

/// A committed change that is not durable in the standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its key.
    pub key: Key,
    /// Its version among the changes of the key.
    pub version: u64,
    /// The version that the standby has; 0: the item was never there.
    pub standby_version: u64,
    /// When it was sent: the commit is not earlier.
    pub sent_at: SystemTime,
    /// When it was known to be committed: the commit is not later. Never after the kill.
    pub committed_by: SystemTime,
}

/// What a failover lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Changes known to be committed.
    pub committed: usize,
    /// Changes whose answer never came; they are neither lost nor kept.
    pub unknown: usize,
    /// Committed changes that are gone, oldest first.
    pub lost: Vec<Missing>,
    /// Keys whose item in the standby was never written by anyone. Always an error.
    pub invented: Vec<Key>,
}

impl Comparison {
    /// When the oldest lost change was committed, at the latest.
    pub fn oldest_lost_commit(&self) -> Option<SystemTime> {
        self.lost.first().map(|missing| missing.committed_by)
    }

    /// How far the loss goes back from the kill: zero when nothing is lost.
    pub fn actual_loss(&self, killed_at: SystemTime) -> Duration {
        self.oldest_lost_commit().map_or(Duration::ZERO, |oldest| killed_at.duration_since(oldest).unwrap_or_default())
    }
}

/// Compares the standby with everything that was committed until the kill.
pub fn compare(history: &History, standby: &Contents, killed_at: SystemTime) -> Comparison {
    let mut result = Comparison { invented: invented(history, standby), ..Comparison::default() };
    for (key, changes) in history.iter() {
        let standby_version = version_in(changes, state_in(standby, key));
        for change in changes {
            let Some(acked_at) = change.acked_at else {
                result.unknown += 1;
                continue;
            };
            result.committed += 1;
            // An answer read after the kill was sent before it: so was the commit.
            let committed_by = acked_at.min(killed_at).max(change.sent_at);
            result.lost.extend(missing(key, change, committed_by, standby_version));
        }
    }
    result.lost.sort_by_key(|missing| missing.committed_by);
    result
}

/// Soundness of a published watermark: every change committed at or before it must be durable in the standby.
/// Returns the violations, oldest first. A change whose answer came after the watermark is given the benefit of doubt.
pub fn judge_watermark(history: &History, standby: &Contents, watermark: SystemTime) -> Vec<Missing> {
    let mut violations = Vec::new();
    for (key, changes) in history.iter() {
        let covered = |change: &&Change| change.acked_at.is_some_and(|acked_at| acked_at <= watermark);
        // Only the newest covered change of a key can be looked for; if it is durable, so are the older ones.
        let Some(change) = changes.iter().rev().find(covered) else { continue };
        let standby_version = version_in(changes, state_in(standby, key));
        let committed_by = change.acked_at.unwrap_or(watermark);
        violations.extend(missing(key, change, committed_by, standby_version));
    }
    violations.sort_by_key(|missing| missing.committed_by);
    violations
}

/// The keys whose item in the standby is not one that any change has ever left there.
pub fn invented(history: &History, standby: &Contents) -> Vec<Key> {
    let written = |key: &Key, state: State| history.of(key).iter().any(|change| change.state == state);
    standby.iter().filter(|(key, digest)| !written(key, State::Item(**digest))).map(|(key, _)| key.clone()).collect()
}

fn missing(key: &Key, change: &Change, committed_by: SystemTime, standby_version: u64) -> Option<Missing> {
    (change.version > standby_version).then(|| Missing {
        key: key.clone(),
        version: change.version,
        standby_version,
        sent_at: change.sent_at,
        committed_by,
    })
}

fn state_in(standby: &Contents, key: &Key) -> State {
    standby.get(key).map_or(State::Absent, |digest| State::Item(*digest))
}

/// The newest version of a key that left this state; 0 when none did: absent from the start, or invented.
fn version_in(changes: &[Change], state: State) -> u64 {
    changes.iter().rev().find(|change| change.state == state).map_or(0, |change| change.version)
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} version {}, committed by {}, is not in the standby (which has version {})",
            self.key,
            self.version,
            humantime::format_rfc3339_millis(self.committed_by),
            self.standby_version
        )
    }
}

#[cfg(test)]
mod tests;
