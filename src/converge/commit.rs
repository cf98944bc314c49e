//! From what is in memory to one atomic write, and what may happen behind it.

use std::sync::Arc;
use std::time::Duration;

use super::backoff;
use super::driver::{Driver, Event};
use super::marks::Dirty;
use super::pending::Pending;
use super::watermark::{self, Ceilings};
use crate::change::{Key, Method, Stamp};
use crate::watermark::course::DueRecord;
use crate::watermark::{CommitError, Mark, Retraction, Row, Seed, Txn};

/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(5);

impl Driver {
    /// Starts a commit if one is due, or if there is anything to commit and `now_or_never`.
    pub(super) fn start_commit(&mut self, now: Stamp, flush: bool) {
        if self.committing || self.pending.due().is_none_or(|due| !flush && due > now.mono) {
            return;
        }
        if self.commit_failures > 0 && self.pending.due().is_some_and(|due| due > now.mono) {
            return;
        }
        let closed = self.closed_since.is_some();
        if !closed {
            self.raise(now);
        }
        self.save_marks(closed || flush);
        if closed {
            // Behind a closed valve a message has done what it can when its marks are durable, as they are with this.
            let holders = self.marks.let_go();
            self.release_later(&holders);
        }
        let mut pending = std::mem::take(&mut self.pending);
        if self.frozen {
            pending.without_record();
        }
        let rows = Arc::new(std::mem::take(&mut pending.rows));
        let mut txn = Txn { clears: pending.clears.clone(), ..Txn::default() };
        for (row, bytes) in rows.iter() {
            match bytes {
                Some(bytes) => txn.puts.push((row.clone(), bytes.clone())),
                // The key is in work again, and may have noted that: the note of the work before it is void by itself.
                None if self.is_noting(row) => {}
                None => txn.deletes.push(row.clone()),
            }
        }
        if pending.has_record() {
            let id = self.store.id().clone();
            txn.marks.push((id.clone(), Mark { record: self.record.clone(), proved: self.proved }));
            txn.retract = pending.violation.as_ref().map(|(_, why)| Retraction { store: id, why: why.clone() });
        }
        // Everything that was heard before the newest drain is durable with this.
        let calm = (self.marks.heard() == 0).then_some(self.drained).flatten();
        self.shelf.committing();
        (self.committing, self.staged) = (true, Some(rows));
        let index = Arc::clone(&self.deps.index);
        self.events.push(Box::pin(async move {
            let result = index.commit(txn).await;
            Event::Committed { pending, calm, result }
        }));
    }

    fn is_noting(&self, row: &Row) -> bool {
        matches!(row, Row::Work { key, .. } if self.marks.get(key).is_some_and(Dirty::in_work))
    }

    /// Raises the watermark to what is proved, or takes it back.
    pub(super) fn raise(&mut self, now: Stamp) {
        if self.frozen {
            return;
        }
        let pin = [self.marks.oldest(), self.shelf_pin()].into_iter().flatten().min();
        let over = Ceilings { pin, canary: self.overdue_canary(now), alive: None };
        let allowance = self.allowance();
        let alive = self.alive.map(|alive| alive.wall - self.skew());
        let events = match alive {
            Some(alive) => watermark::events(self.course(), allowance, Ceilings { alive: Some(alive), ..over }),
            // Before prodX has answered nothing more is proved than was.
            None => self.course().events_through,
        };
        super::delay::forget(&mut self.course_mut().delays, now.wall);
        self.course_mut().events_through = events;
        if let Some((at, _)) = self.pending.violation {
            self.record.through = self.record.through.map(|have| watermark::taken_back(have, at, self.course()));
            return;
        }
        if self.record.seed == Seed::Pending {
            return;
        }
        let through = watermark::through(self.record.through, self.course(), now.wall);
        if through != self.record.through {
            self.record.through = through;
            self.pending.proof(now.mono);
        }
        self.record.method = through.map(|_| Method::Assumed);
        if self.record.through.is_some() {
            self.record.proved_at = self.proved.map(|proved| proved.wall).or(self.record.proved_at);
        }
    }

    /// Marks that outlived a commit are written; with `all`, every one.
    fn save_marks(&mut self, all: bool) {
        for (key, before) in self.marks.take_rows(all) {
            let row = self.dirty_row(&key);
            self.pending.put(row, &before.record());
            if before.saved.due != Some(before.since) {
                if let Some(old) = before.saved.due {
                    self.pending.delete(self.due_row(old, &key));
                }
                let due = self.due_row(before.since, &key);
                self.pending.put(due, &DueRecord {});
            }
        }
    }

    pub(super) fn on_committed(
        &mut self,
        mut pending: Pending,
        calm: Option<Duration>,
        result: Result<(), CommitError>,
        now: Stamp,
    ) {
        self.committing = false;
        let rows = self.staged.take().map(|rows| Arc::try_unwrap(rows).unwrap_or_else(|rows| (*rows).clone()));
        let rows = rows.unwrap_or_default();
        self.shelf.committed(result.is_ok());
        match result {
            Ok(()) => {
                self.commit_failures = 0;
                self.troubles.index.cleared();
                let known =
                    rows.keys().filter_map(|row| if let Row::Known { key, .. } = row { Some(key) } else { None });
                self.uncover(&known.cloned().collect::<Vec<Key>>());
                self.release.extend(pending.release);
                for (words, answer) in pending.answers {
                    // Whoever asked may be gone.
                    drop(answer.send(Ok(words)));
                }
                if let Some((_, what)) = pending.violation {
                    tracing::error!(store = %self.store.id(), what, "a published watermark was wrong; it is taken back");
                    self.deps.meter.violation();
                    // What holds now holds again.
                    self.pending.proof(now.mono);
                }
                if calm > self.settled {
                    self.settled = calm;
                }
                if self.frozen {
                    self.put_late_aside();
                }
                if self.marks.unsaved() {
                    self.pending.change(now.mono);
                }
            }
            Err(error) => {
                pending.rows = rows;
                let fenced = matches!(error, CommitError::Fenced { .. });
                if fenced {
                    // The marks stand as they are, for ever; what is heard is still written down.
                    self.frozen = true;
                    pending.without_record();
                } else {
                    self.commit_failures = self.commit_failures.saturating_add(1);
                    self.troubles.index.failed(&error.to_string(), "commit failed");
                }
                let pause = backoff(self.commit_failures, LONGEST, self.jitter());
                self.pending.take_back(pending, now.mono + if fenced { Duration::ZERO } else { pause });
            }
        }
    }

    /// What came behind the fence is durable and stays where it is.
    fn put_late_aside(&mut self) {
        for (key, record) in self.marks.late_and_saved() {
            self.marks.remove(&key);
            self.shelf.put(&key, &record);
        }
    }
}
