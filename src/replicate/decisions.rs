//! Decisions, carried out: what a survey, a lane or the state itself decides changes the state, and the lanes that are read.

use std::time::Duration;

use super::driver::Driver;
use super::lane::OpenLane;
use super::pace::backoff;
use crate::change::{Lane, Stamp};
use crate::stores::contract::Touched;
use crate::stores::{StoreError, Transition};
use crate::watermark::{LanePhase, Seed};

impl Driver {
    /// Carries out a decision in memory and marks what it touched for the next commit, which is at once.
    pub(super) fn decide(&mut self, transition: &Transition, now: Stamp) {
        let before = self.state.record.clone();
        let touched = self.state.apply(transition, now.wall);
        let parent = match transition {
            Transition::Drain { lane, .. } => self.by_lane.get(lane).and_then(|at| self.lanes[*at].proved),
            _ => None,
        };
        if let Some(epoch) = touched.left {
            self.pending.clear_epoch(self.store.id(), epoch);
        }
        if let Some(epoch) = touched.copied {
            self.pending.clear_copy(self.store.id(), epoch);
        }
        if let Some(epoch) = touched.compared {
            self.pending.clear_seen(self.store.id(), epoch);
        }
        self.pending.mended.extend(touched.mended.iter().cloned());
        for key in &touched.unparked {
            self.parked.remove(key);
            self.pending.parked.insert(key.clone());
        }
        if self.state.parked.is_empty() {
            self.troubles.parked.cleared();
        }
        self.detach(&touched);
        // A lane that should have been in the minimum when the watermark passed it.
        if let Some(published) = self.state.record.through.filter(|_| self.state.record.seed != Seed::Pending) {
            for (lane, record) in touched.lanes.iter().filter_map(|l| Some((l, self.state.lanes.get(l)?))) {
                let live = matches!(record.phase, LanePhase::Waiting | LanePhase::Reading) && lane.is_tail();
                if live && record.through.is_none_or(|through| through < published) {
                    self.pending.unseen(lane, record.through.unwrap_or(record.first_seen), published);
                }
            }
        }
        self.open_lanes(&touched.lanes, parent);
        if before != self.state.record || touched != Touched::default() {
            self.pending.decision(touched);
        }
    }

    /// Lets go of lanes that are none any more, and, in a new epoch, of all that do not go on as they were.
    fn detach(&mut self, touched: &Touched) {
        let goes_on = |lane: &Lane| self.state.lanes.get(lane).is_some_and(|record| !record.initial);
        let mut gone: Vec<Lane> = touched.retired.clone();
        if touched.left.is_some() {
            gone.extend(self.by_lane.keys().filter(|lane| !lane.is_tail() || !goes_on(lane)).cloned());
        }
        for lane in gone {
            if let Some(at) = self.by_lane.remove(&lane) {
                (self.lanes[at].detached, self.lanes[at].ended) = (true, true);
                self.verification.suspects.leave(at);
                self.note_end(at, true);
            }
        }
    }

    /// Makes an [`OpenLane`] of every one of these lanes that may be read and is not yet.
    pub(super) fn open_lanes(&mut self, lanes: &[Lane], proved: Option<Stamp>) {
        for (lane, record) in lanes.iter().filter_map(|lane| Some((lane, self.state.lanes.get(lane)?))) {
            if record.phase == LanePhase::Reading && !self.by_lane.contains_key(lane) {
                self.by_lane.insert(lane.clone(), self.lanes.len());
                self.agenda.add(Duration::ZERO, self.lanes.len());
                self.lanes.push(OpenLane::new(lane.clone(), record.position.clone(), proved, &self.rhythm));
            }
        }
    }

    pub(super) fn on_surveyed(&mut self, result: Result<Vec<Transition>, StoreError>, now: Stamp) {
        self.surveying = false;
        match result {
            Ok(transitions) => {
                self.survey_failures = 0;
                self.source_answered = Some(now);
                self.troubles.survey.cleared();
                self.next_survey = now.mono + self.rhythm.survey_every;
                for transition in &transitions {
                    if let Transition::Break(gap) | Transition::Lose { gap, .. } = transition
                        && !self.state.knows_gap()
                    {
                        tracing::error!(store = %self.store.id(), gap = %gap.sentence(), "history is lost; the watermark is frozen until a re-seed");
                    }
                    self.decide(transition, now);
                }
                if !transitions.is_empty() {
                    // What was just decided may make more to decide, once it is durable.
                    self.next_survey = now.mono;
                }
            }
            Err(error) => {
                self.survey_failures = self.survey_failures.saturating_add(1);
                self.deps.meter.error(error.class);
                self.troubles.survey.failed(&error.chain(), "survey of prodX failed");
                self.next_survey = now.mono + backoff(self.survey_failures, self.deps.ids.fresh()[0]);
            }
        }
    }
}
