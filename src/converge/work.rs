//! The driver's part with one key: it is made the same, and what became of it is settled.
//!
//! A write that was given up, or of which nobody knows, may still take effect: the conditions of S3-1 keep it from replacing
//! what is newer, but not from replacing nothing. So a key of which that is so is looked at once more behind that, and only
//! then is it clean (A2).

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::backoff;
use super::driver::{Driver, Event};
use super::marks::{Dirty, Ticket};
use crate::change::{Class, Difference, Key, SourceTime, Stamp};
use crate::stores::StoreError;
use crate::stores::converge::{Did, Refusal, Same, Settled, Spot};
use crate::watermark::course::{DueRecord, KnownRecord, Refused, Tally};
use crate::watermark::{MarkRecord, Row};

/// The longest pause between two attempts at one key.
const LONGEST: Duration = Duration::from_secs(60);
/// The same for what changed while it was looked at.
const LONGEST_AGAIN: Duration = Duration::from_secs(5);
/// The longest pause of all work, when the far end cannot be reached or asks for it.
const LONGEST_GATE: Duration = Duration::from_secs(5);

impl Driver {
    pub(super) fn start_works(&mut self, now: Stamp) {
        if now.mono < self.work_gate {
            return;
        }
        while self.marks.working() < self.tempo.concurrency.max(1)
            && let Some((key, _)) = self.marks.take(now.mono)
        {
            let walked = self.marks.get(&key).is_some_and(|mark| mark.walked);
            let afresh = walked && self.course().walk.as_ref().is_some_and(|walk| walk.afresh);
            let (store, pages, give_up) = (Arc::clone(&self.store), self.pages(), self.give_up.clone());
            self.events.push(Box::pin(async move {
                let spot = Spot { key: &key, notebook: &pages, afresh };
                let settled = tokio::select! {
                    biased;
                    settled = Self::converge(&store).converge(spot) => Some(settled),
                    () = give_up.cancelled() => None,
                };
                let noted = pages.noted.load(Ordering::Relaxed);
                Event::Worked { key, settled, noted }
            }));
        }
    }

    pub(super) fn on_worked(&mut self, key: &Key, settled: Option<Settled>, noted: bool, now: Stamp) {
        if noted {
            self.marks.note(key);
        }
        let jitter = self.jitter();
        let failures = self.marks.get(key).map_or(0, |mark| mark.failures) + 1;
        if !matches!(settled, Some(Settled::Failed(_)) | None) {
            self.source_answered = Some(now);
            (self.work_failures, self.failing_since) = (0, None);
            self.troubles.work.cleared();
        }
        match settled {
            Some(Settled::Same(same)) => self.on_same(key, &same, None, now),
            Some(Settled::Refused(refusal)) => self.on_refused(key, refusal, now),
            Some(Settled::Again) => {
                let pause = if failures == 1 { Duration::ZERO } else { backoff(failures - 1, LONGEST_AGAIN, jitter) };
                self.marks.again(key, now.mono + pause, None);
            }
            Some(Settled::Failed(error)) => {
                self.on_failed(key, &error, now.mono + backoff(failures, LONGEST, jitter), now);
            }
            None => self.given_up(key, now.mono + backoff(failures, LONGEST, jitter), now),
        }
    }

    fn given_up(&mut self, key: &Key, due: Duration, now: Stamp) {
        let until = now.mono + self.tempo.max_request_life;
        self.strays = self.strays.max(until);
        self.marks.again(key, due, Some(until));
    }

    fn on_failed(&mut self, key: &Key, error: &StoreError, due: Duration, now: Stamp) {
        self.deps.meter.error(error.class);
        self.troubles.work.failed(&error.chain(), "a key cannot be made the same");
        self.failing_since.get_or_insert(now.mono);
        if error.class != Class::Throttled {
            self.convict(key, now);
        }
        if matches!(error.class, Class::Throttled | Class::Unavailable) {
            // What was under way together is one failure.
            if now.mono >= self.work_gate {
                self.work_failures = self.work_failures.saturating_add(1);
            }
            let pause = backoff(self.work_failures, LONGEST_GATE, self.jitter());
            self.work_gate = self.work_gate.max(now.mono + pause);
        }
        if error.class == Class::Unknown { self.given_up(key, due, now) } else { self.marks.again(key, due, None) }
    }

    /// What is suspected of a key that still differs is true.
    fn convict(&mut self, key: &Key, now: Stamp) {
        if let Some(suspect) = self.marks.acquit(key) {
            self.missed(suspect.at);
        }
        if let Some(at) = self.marks.take_below(key, Difference::Missing) {
            self.course_mut().untold += 1;
            self.missed(at);
        }
        self.pending.change(now.mono);
    }

    /// Both ends are the same, or, with `excluded`, need not be.
    fn on_same(&mut self, key: &Key, same: &Same, excluded: Option<(String, u64)>, now: Stamp) {
        let Some(settling) = self.marks.settle(key, now.mono) else {
            // It is looked at once more, behind what may still land; what is known saves it a copy.
            if same.known.is_some() {
                self.know(key, same.known.clone(), excluded);
            }
            return;
        };
        let mark = &settling.mark;
        self.last_progress = Some(now);
        if same.did != Did::Nothing {
            self.deps.meter.applied(1);
            if mark.told {
                self.deps.meter.latency(now.wall.since(mark.since));
            }
            self.judge_found(key, mark, same, now);
        }
        if let Some(refused) = &mark.refused {
            self.untally(refused);
        }
        self.know(key, same.known.clone(), excluded);
        if mark.noted {
            self.pending.delete(Row::Work { store: self.store.id().clone(), key: key.clone() });
        }
        if settling.cleared {
            self.unwrite(key, mark);
        }
        self.release_later(&settling.holders);
        self.pending.change(now.mono);
    }

    /// Something was missing in the standby: had the watermark passed it, and had an event told of it?
    fn judge_found(&mut self, key: &Key, mark: &Dirty, same: &Same, now: Stamp) {
        // It was left out, and no watermark spoke of it.
        if self.excused(key) {
            return;
        }
        let made_below = |at: Option<SourceTime>| at.is_none_or(|at| self.record.through.is_some_and(|w| at <= w));
        if let Some(suspect) = mark.suspect
            && made_below(same.made_at)
        {
            self.missed(suspect.at);
        }
        if !mark.walked || mark.told || self.course().certified.is_none() {
            return;
        }
        if mark.below {
            self.course_mut().untold += 1;
            self.missed(same.made_at.unwrap_or(mark.since));
        } else {
            self.walker.unheard(key, now.mono + self.allowance());
        }
    }

    /// The rows of a mark that is none any more.
    pub(super) fn unwrite(&mut self, key: &Key, mark: &Dirty) {
        if mark.saved.row {
            self.pending.delete(self.dirty_row(key));
        }
        if let Some(due) = mark.saved.due {
            self.pending.delete(self.due_row(due, key));
        }
    }

    /// These messages wait for one key less; the last one's commit releases them.
    pub(super) fn release_later(&mut self, holders: &[Ticket]) {
        for holder in holders {
            if self.holds.done(*holder) {
                self.pending.release.push(*holder);
            }
        }
    }

    fn on_refused(&mut self, key: &Key, refusal: Refusal, now: Stamp) {
        let Refusal { class, why, bytes, excluded } = refusal;
        if excluded {
            // It is not in the standby, and no watermark says that it is: a walk that finds it convicts nobody.
            return self.on_same(key, &Same::default(), Some((class.to_owned(), bytes)), now);
        }
        self.convict(key, now);
        let Some(mark) = self.marks.get(key) else { return };
        if self.marks.moved(key) {
            // Of another state of it than there is now.
            return self.marks.again(key, now.mono, None);
        }
        if let Some(before) = mark.refused.clone() {
            self.untally(&before);
        } else {
            tracing::warn!(store = %self.store.id(), class, why, "a key cannot be made the same");
        }
        let Some(mark) = self.marks.remove(key) else { return };
        let refused = Refused { class: class.to_owned(), why, bytes, at: now.wall };
        let tally = self.course_mut().refused.entry(class.to_owned()).or_default();
        (tally.items, tally.bytes) = (tally.items + 1, tally.bytes + bytes);
        self.know(key, None, None);
        let record = MarkRecord { refused: Some(refused), ..mark.record() };
        self.unwrite(key, &mark);
        let (row, due) = (self.dirty_row(key), self.due_row(record.since, key));
        self.pending.put(row, &record);
        self.pending.put(due, &DueRecord {});
        self.shelf.put(key, &record);
        self.release_later(mark.holders());
        self.pending.decision();
    }

    pub(super) fn untally(&mut self, refused: &Refused) {
        less(&mut self.course_mut().refused, &refused.class, refused.bytes);
        self.pending.decision();
    }

    /// The configuration said that it need not be the same: that it was not is no surprise.
    pub(super) fn excused(&self, key: &Key) -> bool {
        let excluded = |known: Option<KnownRecord>| known.is_some_and(|known| known.excluded.is_some());
        !self.course().excluded.is_empty() && self.pages().record(key).is_ok_and(excluded)
    }

    /// What the next look at a key is to know.
    fn know(&mut self, key: &Key, known: Option<serde_json::Value>, excluded: Option<(String, u64)>) {
        if !self.course().excluded.is_empty()
            && let Ok(Some(KnownRecord { excluded: Some((class, bytes)), .. })) = self.pages().record(key)
        {
            less(&mut self.course_mut().excluded, &class, bytes);
            self.pending.decision();
        }
        if let Some((class, bytes)) = &excluded {
            let tally = self.course_mut().excluded.entry(class.clone()).or_default();
            (tally.items, tally.bytes) = (tally.items + 1, tally.bytes + bytes);
            self.pending.decision();
        }
        let record = match (known, excluded) {
            (None, None) => None,
            (known, excluded) => Some(KnownRecord { body: known.unwrap_or_default(), excluded }),
        };
        let row = Row::Known { store: self.store.id().clone(), key: key.clone() };
        match &record {
            Some(record) => self.pending.put(row, record),
            None => self.pending.delete(row),
        }
        self.overlay.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), record);
    }
}

fn less(tallies: &mut std::collections::BTreeMap<String, Tally>, class: &str, bytes: u64) {
    if let Some(tally) = tallies.get_mut(class) {
        (tally.items, tally.bytes) = (tally.items.saturating_sub(1), tally.bytes.saturating_sub(bytes));
        if tally.items == 0 {
            tallies.remove(class);
        }
    }
}
