//! The driver's vital signs: how long it may rest, and what it shows meanwhile.

use std::time::Duration;

use super::driver::Driver;
use super::fleet::View;
use super::walk::{self, Guard};
use crate::change::{SourceTime, Stamp};
use crate::watermark::course::Tally;
use crate::watermark::{Assumptions, Progress, Seed, Vitals};

/// Between two showings of the vital signs while busy.
const SHOW_EVERY: Duration = Duration::from_millis(50);
/// So long every work must have failed before the source counts as not answering.
const DEAD_AFTER: Duration = Duration::from_secs(3);
/// A rate is believed after this.
const RATE_AFTER: Duration = Duration::from_secs(3);
/// A message this close to its end in the channel is an alarm (S3-17); of a shorter retention, a quarter of it.
const NEARLY_LOST: Duration = Duration::from_secs(12 * 3600);

/// How fast the walk goes: since when this process has watched it, and where it stood then.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    began: SourceTime,
    since: Stamp,
    done: u64,
}

impl Driver {
    /// Somebody waits for the newest there is.
    pub(super) fn hurry(&mut self) {
        let now = self.deps.clock.now().mono;
        (self.walker.hurried, self.next_count) = (Some(now), Duration::ZERO);
    }

    /// How long there is nothing to do, at most a second so that the vital signs stay fresh.
    pub(super) fn nap(&self, closed: bool) -> Duration {
        let now = self.deps.clock.now().mono;
        let mut wake = if self.hidden { self.next_show } else { now + Duration::from_secs(1) };
        let holds = (self.holds.len() > 0).then_some(self.next_renewal);
        let release = (!self.release.is_empty()).then_some(self.next_release);
        for at in [self.poll_due(), holds, release].into_iter().flatten() {
            wake = wake.min(at);
        }
        if !closed && !self.frozen {
            let room = self.marks.working() < self.tempo.concurrency.max(1);
            let work = self.marks.next(now).filter(|_| room).map(|due| due.max(self.work_gate));
            let survey = (!self.surveying).then_some(self.next_survey);
            let beat = self.canaries.due().filter(|_| self.tempo.beat_every.is_some());
            for at in [work, survey, beat, self.list_due()].into_iter().flatten() {
                wake = wake.min(at);
            }
        }
        if !self.committing
            && let Some(at) = self.pending.due()
        {
            wake = wake.min(at);
        }
        wake.saturating_sub(now).max(Duration::from_millis(1))
    }

    /// Shows the vital signs, and to a promotion what is left.
    pub(super) fn show(&mut self, closed: bool) {
        let now = self.deps.clock.now();
        // That it flows again is shown at once: the next close must not take the last one's quiet for its own.
        self.hidden = !closed && now.mono < self.next_show && !self.view.borrow().closed;
        if self.hidden {
            return;
        }
        self.next_show = now.mono + SHOW_EVERY;
        if self.walker.hurried.is_some_and(|asked| self.drained.is_some_and(|at| at >= asked)) {
            self.walker.hurried = None;
        }
        let dead = self.failing_since.is_some_and(|since| now.mono >= since + DEAD_AFTER);
        let at_rest = self.marks.working() == 0 && !self.canaries.beating() && now.mono >= self.strays;
        let written = !self.committing && !self.pending.has_record();
        let view = View {
            backlog: self.marks.heard() as u64,
            // What cannot be read from prodX now is not waited for.
            settled: if dead { self.drained.max(self.settled) } else { self.settled },
            trouble: if dead { self.troubles.work.text() } else { self.troubles.queue.text() },
            closed: closed && at_rest && written,
            quiet: false,
        };
        self.view.send_if_modified(|have| {
            let changed = *have != view;
            *have = view.clone();
            changed
        });
        let vitals = self.vitals(now, view.closed || self.frozen);
        self.deps.board.post(self.store.id(), vitals);
    }

    fn vitals(&mut self, now: Stamp, shut: bool) -> Vitals {
        let late = if shut || self.closed_since.is_some() { self.marks.late() as u64 } else { 0 };
        let course = self.course();
        // Removals that wait for a word. Others wait for the end of the listing, and what is copied needs nobody.
        let waits = course.walk.as_ref().filter(|walk| walk::settling(Some(walk)));
        let waits = waits.is_some_and(|walk| matches!(walk::guard(walk, self.tempo.delete_limit), Guard::Holds { .. }));
        let notes = self.notes(now).into_iter().chain(self.troubles.sentence());
        // Behind a closed valve nothing is made the same any more: what was wrong then is no trouble now.
        let trouble = notes.reduce(|all, one| format!("{all}; {one}")).filter(|_| !shut);
        Vitals {
            backlog_items: (self.marks.len() as u64 + self.shelf.rows)
                .saturating_sub(self.shelf.held + self.shelf.refused),
            failed_items: self.shelf.refused + self.walker.strange,
            divergent: if waits { self.shelf.held } else { 0 },
            last_progress: self.last_progress,
            source_answered: self.source_answered,
            retention_headroom: self.headroom(now),
            progress: self.progress(now),
            trouble,
            about: self.about.clone(),
            assumptions: Some(self.assumptions()),
            delivery: Some(self.allowance()),
            certify_within: Some(self.tempo.certify_within),
            late: Some(self.shelf.late + late),
            ..Vitals::default()
        }
    }

    fn assumptions(&self) -> Assumptions {
        let delivery = self.allowance();
        let max_request_life = self.tempo.max_request_life;
        Assumptions { propagation: delivery, publish: Duration::ZERO, max_request_life, empty_run: 1 }
    }

    fn oldest_message(&self) -> Option<SourceTime> {
        [self.holds.oldest_sent(), self.drain.oldest_seen()].into_iter().flatten().min()
    }

    fn headroom(&self, now: Stamp) -> Option<Duration> {
        let retention = self.surveyed.as_ref().map(|survey| survey.retention).filter(|kept| !kept.is_zero())?;
        Some(retention.saturating_sub(self.oldest_message().map_or(Duration::ZERO, |at| now.wall.since(at))))
    }

    /// What needs a human, with what to type.
    fn notes(&self, now: Stamp) -> Vec<String> {
        let (course, id) = (self.course(), self.store.id());
        let mut notes = Vec::new();
        if let Some(walk) = course.walk.as_ref().filter(|walk| walk::settling(Some(walk)))
            && let Guard::Holds { orphans, limit } = walk::guard(walk, self.tempo.delete_limit)
        {
            notes.push(format!(
                "prodY has {orphans} keys that prodX does not have; removing more than {limit} needs a word: look at them, \
                 then `plimsoll verify {id} --repair --allow-deletes {orphans}`"
            ));
        }
        if let Some(blind) = &course.blind {
            notes.push(format!(
                "changes since {} may be missing ({}); a walk of both ends that begins later heals it",
                blind.since, blind.why
            ));
        }
        let listed = |all: &std::collections::BTreeMap<String, Tally>| {
            let one =
                |(class, tally): (&String, &Tally)| format!("{class}: {} keys, {} bytes", tally.items, tally.bytes);
            all.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        if !course.refused.is_empty() {
            notes.push(format!("cannot be made the same: {}", listed(&course.refused)));
        }
        if !course.excluded.is_empty() {
            notes.push(format!("excluded by the configuration: {}", listed(&course.excluded)));
        }
        if self.record.seed != Seed::Pending
            && course.certified.is_none_or(|at| now.wall.since(at) > self.tempo.certify_within)
        {
            let last = course.certified.map_or_else(|| "never".to_owned(), |at| at.to_string());
            notes.push(format!(
                "not certified within {}: last {last}",
                humantime::format_duration(self.tempo.certify_within)
            ));
        }
        if let (Some(left), Some(survey)) = (self.headroom(now), &self.surveyed)
            && left < NEARLY_LOST.min(survey.retention / 4)
        {
            notes.push(format!("the queue forgets its oldest message in {} h", left.as_secs() / 3600));
        }
        notes
    }

    /// How far the walk is, and when it will be through at the rate that was seen.
    fn progress(&mut self, now: Stamp) -> Option<Progress> {
        let walk = self.course().walk.as_ref().filter(|walk| walk.ended_at.is_none())?;
        let what = if self.record.seed == Seed::Pending { "seed" } else { "walk" };
        let left = self.marks.walked() as u64 + self.shelf.walked;
        let total = if walk.listed_at.is_some() { walk.looked } else { walk.expected.max(walk.looked) };
        let done = walk.looked.saturating_sub(left);
        if self.watched.as_ref().is_none_or(|watched| watched.began != walk.began) {
            self.watched = Some(Watched { began: walk.began, since: now, done });
        }
        let watched = self.watched.as_ref()?;
        let (took, made) = (now.since(watched.since), done.saturating_sub(watched.done));
        let eta = (took >= RATE_AFTER && made > 0 && total > done)
            .then(|| Duration::try_from_secs_f64(took.as_secs_f64() / made as f64 * (total - done) as f64).ok())
            .flatten();
        Some(Progress { what, done, total, eta })
    }
}
