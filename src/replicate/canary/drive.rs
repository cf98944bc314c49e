//! What the driver does with its canaries: writes them as one of its events, finds them in what it reads, and takes what
//! they prove into the next commit.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::super::Valve;
use super::super::driver::{Driver, Event};
use super::super::window::EntryNo;
use super::Canaries;
use crate::change::{Change, Class, SourceTime, Stamp};
use crate::seams::Ids;
use crate::stores::canary::Sighting;
use crate::stores::{Store, StoreError, StoreState};
use crate::watermark::{Assumptions, CanarySigns, Seed};

/// Keys with what became of the write of each.
pub(in crate::replicate) type Written = Vec<(u32, Result<(), StoreError>)>;

impl Canaries {
    /// Those of a store, if it is to have any.
    pub(in crate::replicate) fn of(store: &Arc<dyn Store>, state: &StoreState, ids: &dyn Ids) -> Option<Self> {
        let terms = Driver::replicate(store).canary()?.terms();
        Some(Self::new(terms, store.rhythm(), ids.id().into(), state.record.canary_through))
    }
}

impl Driver {
    /// Starts a write of the canaries when one is due. Not while the flow is cut, for this writes in prodX; and not before the
    /// survey has seen whether there was anything in the table, for this puts something into it.
    pub(in crate::replicate) fn start_canary(&mut self, now: Stamp) {
        if !self.sings(now) {
            return;
        }
        let Some((beat, keys)) = self.canaries.as_mut().and_then(|canaries| canaries.next(now)) else { return };
        let (store, mut valve) = (Arc::clone(&self.store), self.valve.clone());
        self.events.push(Box::pin(async move {
            let replicate = Self::replicate(&store);
            let write = join_all(keys.iter().map(async |key| match replicate.canary() {
                Some(canary) => (*key, canary.write(*key, &beat).await),
                None => (*key, Ok(())),
            }));
            // A promotion does not wait for it: what is not sent yet is not sent any more.
            let results = tokio::select! {
                biased;
                _ = valve.wait_for(|valve| *valve == Valve::Closed) => Written::new(),
                results = write => results,
            };
            Event::Canary { results }
        }));
    }

    /// When [`Driver::start_canary`] has something to do, monotonic.
    pub(in crate::replicate) fn canary_due(&self, now: Stamp) -> Option<Duration> {
        self.canaries.as_ref().filter(|_| self.sings(now)).and_then(Canaries::due)
    }

    fn sings(&self, now: Stamp) -> bool {
        let record = &self.state.record;
        (record.seed_run.is_some() || record.seed != Seed::Pending)
            && record.paused_until.is_none_or(|until| until <= now.wall)
    }

    pub(in crate::replicate) fn on_canary(&mut self, results: Written, now: Stamp) {
        let Some(canaries) = &mut self.canaries else { return };
        let class = |result: &Result<(), StoreError>| match result {
            Ok(()) => Ok(()),
            Err(error) => Err(error.class),
        };
        let classes: Vec<(u32, Result<(), Class>)> =
            results.iter().map(|(key, result)| (*key, class(result))).collect();
        canaries.written(&classes, now, self.deps.ids.fresh()[0]);
        let mut failed = None;
        for error in results.into_iter().filter_map(|(_, result)| result.err()) {
            self.deps.meter.error(error.class);
            failed = failed.or(Some(error));
        }
        match failed {
            Some(error) => self.troubles.canary.failed(&error.chain(), "a canary could not be written to prodX"),
            None if classes.is_empty() => {}
            None => self.troubles.canary.cleared(),
        }
    }

    /// Is this change one of our own canaries?
    pub(in crate::replicate) fn sighting(&self, change: &Change) -> Option<Sighting> {
        self.canaries.as_ref()?;
        Self::replicate(&self.store).canary()?.sighting(change)
    }

    /// A canary came by: it is `entry` of the window of its lane. Gives whether it is filtered out: then it is settled as
    /// soon as everything before it is, and nobody need write it.
    pub(in crate::replicate) fn on_sighting(
        &mut self,
        (lane, entry): (usize, EntryNo),
        sighting: &Sighting,
        recorded_at: SourceTime,
        asked: Stamp,
        now: Stamp,
    ) -> bool {
        let Some(canaries) = &mut self.canaries else { return false };
        canaries.seen((lane, entry), sighting, recorded_at, asked.mono, now);
        if canaries.terms.replicate {
            return false;
        }
        let lane = &mut self.lanes[lane];
        lane.window.settle(entry);
        lane.moved = true;
        self.pending.change(now.mono);
        true
    }

    /// A page was read from a lane: `None` when it was empty, else whether it was full.
    pub(in crate::replicate) fn note_page(&mut self, lane: usize, asked: Stamp, records: Option<bool>) {
        if let Some(canaries) = &mut self.canaries {
            canaries.read(lane, asked.mono, records);
        }
    }

    /// A lane is read no more. `left`: what waits in its window is void.
    pub(in crate::replicate) fn note_end(&mut self, lane: usize, left: bool) {
        if let Some(canaries) = &mut self.canaries {
            canaries.ended(lane, left);
        }
    }

    /// Takes what has left its window into the state; to be called with every commit, once the lanes are advanced.
    pub(in crate::replicate) fn advance_canaries(&mut self, now: Stamp) {
        let skew = (self.deps.skew)();
        let Some(canaries) = &mut self.canaries else { return };
        let lanes = &self.lanes;
        let (took, through) = canaries.advance(|lane, end| lanes[lane].window.passed(end), skew, now);
        took.into_iter().for_each(|took| self.deps.meter.canary_roundtrip(took));
        let record = &mut self.state.record;
        record.canary_through = record.canary_through.max(through);
    }

    /// The proof of the whole store: the lanes' and, where there are canaries, theirs. The older of the two.
    pub(in crate::replicate) fn with_canaries(&self, lanes: Option<Stamp>) -> Option<Stamp> {
        match &self.canaries {
            None => lanes,
            Some(canaries) => [lanes?, canaries.proved()?].into_iter().min_by_key(|proved| proved.mono),
        }
    }

    /// What the canaries say now: troubles are told or cleared, and the signs given.
    pub(in crate::replicate) fn canary_signs(&mut self, now: Stamp) -> CanarySigns {
        let Some(canaries) = &self.canaries else { return CanarySigns::default() };
        let answers = self.source_answered.is_some_and(|at| now.since(at) <= self.rhythm.poll_max * 2 + super::LATE);
        match canaries.missing(now).filter(|_| answers) {
            Some(age) => {
                let text = format!(
                    "none has come by for {} s although prodX took them and its stream answers: the stream stands still \
                     or is slow, and the watermark with it",
                    age.as_secs()
                );
                self.troubles.missing.failed(&text, "canaries do not come by");
            }
            None => self.troubles.missing.cleared(),
        }
        match canaries.warning(now) {
            Some(text) => self.troubles.assumptions.failed(&text, "an assumption was measured to be too small"),
            None => self.troubles.assumptions.cleared(),
        }
        canaries.signs(now)
    }

    /// What the store's proofs rest on.
    pub(in crate::replicate) fn assumptions(&self) -> Assumptions {
        Assumptions {
            propagation: self.rhythm.propagation,
            publish: self.rhythm.publish,
            max_request_life: self.rhythm.max_request_life,
            empty_run: self.rhythm.empty_run,
        }
    }
}
