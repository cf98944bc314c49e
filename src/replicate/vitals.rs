//! The driver's vital signs: how long it may rest, and what it shows meanwhile.

use std::time::Duration;

use super::View;
use super::driver::{Driver, MOST_BYTES, MOST_OUTSTANDING, MOST_READS};
use super::lane::OpenLane;
use crate::watermark::Vitals;

/// Between two showings of the vital signs while busy.
const SHOW_EVERY: Duration = Duration::from_millis(50);

impl Driver {
    /// How long there is nothing to do, at most a second so that the vital signs stay fresh.
    pub(super) fn nap(&self, closed: bool) -> Duration {
        let stamp = self.deps.clock.now();
        let now = stamp.mono;
        let mut wake = if self.hidden { self.next_show } else { now + Duration::from_secs(1) };
        if !closed {
            let room = self.outstanding < MOST_OUTSTANDING && self.bytes < MOST_BYTES && self.reads < MOST_READS;
            let due = self.agenda.next().filter(|_| room);
            let survey =
                Some(self.next_survey).filter(|_| !self.surveying && !self.committing && !self.pending.decisions());
            let parked = self.parked.values().map(|p| p.due).min();
            let gate = Some(self.write_gate).filter(|at| *at > now && self.order.has_ready());
            for at in [due, self.order.next_wake(), survey, parked, gate, self.canary_due(stamp)].into_iter().flatten()
            {
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
        let at_rest = self.applies == 0
            && !self.committing
            && self.pending.is_empty()
            && now.mono >= self.former_strays
            && self.order.strays_until(now.mono).is_none();
        if !self.committing && self.commit_failures == 0 {
            self.lanes.iter_mut().for_each(OpenLane::settle);
        }
        let tails = self.lanes.iter().filter(|l| l.lane.is_tail() && !l.detached && l.unfinished());
        let settled = tails.map(|l| l.settled).min().unwrap_or(Some(now.mono));
        let view = View {
            backlog: self.outstanding as u64,
            settled,
            source_trouble: self.troubles.source.text(),
            closed: closed && at_rest,
            quiet: false,
        };
        self.view.send_if_modified(|have| {
            let changed = *have != view;
            *have = view;
            changed
        });
        let canary = self.canary_signs(now);
        let progress = self.progress(now);
        let copy = self.copy_words(progress.as_ref());
        let troubles =
            [copy, self.troubles.sentence()].into_iter().flatten().reduce(|all, one| format!("{all}; {one}"));
        self.deps.board.post(
            self.store.id(),
            Vitals {
                backlog_items: self.outstanding as u64,
                failed_items: self.state.parked.len() as u64,
                divergent: self.state.dirty.len() as u64,
                last_progress: self.last_progress,
                source_answered: self.source_answered,
                retention_headroom: super::pending::headroom(&self.state, now),
                // Behind a closed valve nobody reads or writes any more: what was wrong then is no trouble now.
                trouble: troubles.filter(|_| !(closed && at_rest)),
                progress,
                about: None,
                canary,
                assumptions: Some(self.assumptions()),
                delivery: None,
                certify_within: None,
                late: None,
            },
        );
    }
}
