//! What the next commit holds, and when it is due. Pure.
//!
//! Group commit: what was settled waits up to a quarter of a second for more, a decision does not wait. One commit is under
//! way at a time; if it fails, what it held goes into the next, under what came since.

use std::collections::BTreeMap;
use std::time::Duration;

use super::commands::Answer;
use super::marks::Ticket;
use crate::change::SourceTime;
use crate::watermark::keys::Prefix;
use crate::watermark::{Record, Row};

/// How long what was settled waits for company.
const CHANGES_WAIT: Duration = Duration::from_millis(250);
/// So many do not wait.
const CHANGES_ENOUGH: u64 = 1_000;
/// How long a mere proof waits.
const PROOF_WAIT: Duration = Duration::from_millis(900);

/// Rows to put, or to delete.
pub(super) type Rows = BTreeMap<Row, Option<Vec<u8>>>;

/// A published watermark is false: what is missing was changed then, and what was found.
pub(super) type Violation = (SourceTime, String);

/// What the next commit holds.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) rows: Rows,
    pub(super) clears: Vec<Prefix>,
    /// Messages to forget when this is durable.
    pub(super) release: Vec<Ticket>,
    /// Who waits for this to be durable, and what they are told then.
    pub(super) answers: Vec<(String, Answer)>,
    pub(super) violation: Option<Violation>,
    /// The store's record changed.
    record: bool,
    urgent: bool,
    changes: u64,
    due: Option<Duration>,
}

impl Pending {
    pub(super) fn put<R: Record>(&mut self, row: Row, record: &R) {
        let bytes = record.encode(&row);
        self.rows.insert(row, Some(bytes));
    }

    pub(super) fn delete(&mut self, row: Row) {
        self.rows.insert(row, None);
    }

    /// Sets of rows are void, and so is what was to be written of them.
    pub(super) fn clear(&mut self, prefix: Prefix) {
        self.rows.retain(|row, _| !inside(row, &prefix));
        self.clears.push(prefix);
    }

    /// Something was settled, or became dirty.
    pub(super) fn change(&mut self, now: Duration) {
        self.changes += 1;
        let wait = if self.changes >= CHANGES_ENOUGH { Duration::ZERO } else { CHANGES_WAIT };
        self.wait(now + wait);
    }

    /// The record says a little more.
    pub(super) fn proof(&mut self, now: Duration) {
        self.record = true;
        self.wait(now + PROOF_WAIT);
    }

    /// The record says more, as of what was found.
    pub(super) fn progress(&mut self, now: Duration) {
        self.record = true;
        self.change(now);
    }

    /// Something was decided that everything else rests on.
    pub(super) fn decision(&mut self) {
        (self.record, self.urgent) = (true, true);
    }

    /// Not to be waited with.
    pub(super) fn urgent(&mut self) {
        self.urgent = true;
    }

    pub(super) fn violation(&mut self, at: SourceTime, what: String) {
        if self.violation.as_ref().is_none_or(|(have, _)| at < *have) {
            self.violation = Some((at, what));
        }
        self.decision();
    }

    fn wait(&mut self, until: Duration) {
        self.due = Some(self.due.map_or(until, |due| due.min(until)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due().is_none()
    }

    /// The record is to be written.
    pub(super) fn has_record(&self) -> bool {
        self.record
    }

    /// The record cannot be written any more.
    pub(super) fn without_record(&mut self) {
        self.record = false;
    }

    /// When to commit, monotonic.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.urgent { Some(Duration::ZERO) } else { self.due }
    }

    /// Takes back what a failed commit held; it is due again then.
    pub(super) fn take_back(&mut self, failed: Pending, due: Duration) {
        for (row, value) in failed.rows {
            if !self.clears.iter().any(|prefix| inside(&row, prefix)) {
                self.rows.entry(row).or_insert(value);
            }
        }
        self.clears.splice(0..0, failed.clears);
        self.release.splice(0..0, failed.release);
        self.answers.splice(0..0, failed.answers);
        if let Some((at, what)) = failed.violation {
            self.violation(at, what);
        }
        self.record |= failed.record;
        self.changes += failed.changes;
        self.urgent = false;
        self.due = Some(due);
    }
}

fn inside(row: &Row, prefix: &Prefix) -> bool {
    row.keyspace() == prefix.keyspace && row.bytes().starts_with(&prefix.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Key, StoreId};
    use crate::watermark::course::DueRecord;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn what_failed_goes_under_what_came_since() {
        let store = StoreId::new("uploads").unwrap();
        let row = |text: &str| Row::Known { store: store.clone(), key: Key(text.as_bytes().to_vec().into()) };
        let mut failed = Pending::default();
        failed.put(row("a"), &DueRecord {});
        failed.put(row("b"), &DueRecord {});
        failed.change(MS(0));
        let mut pending = Pending::default();
        pending.delete(row("a"));
        pending.take_back(failed, MS(700));
        assert_eq!(pending.rows.get(&row("a")), Some(&None));
        assert!(pending.rows[&row("b")].is_some());
        assert_eq!(pending.due(), Some(MS(700)));
        let mut cleared = Pending::default();
        cleared.clear(Prefix::known(&store));
        cleared.take_back(pending, MS(900));
        assert!(cleared.rows.is_empty());
    }

    #[test]
    fn changes_wait_for_company_and_decisions_do_not() {
        let mut pending = Pending::default();
        assert!(pending.is_empty());
        pending.proof(MS(0));
        assert_eq!(pending.due(), Some(MS(900)));
        pending.change(MS(100));
        assert_eq!(pending.due(), Some(MS(350)));
        pending.decision();
        assert_eq!(pending.due(), Some(Duration::ZERO));
    }
}
