//! What a journal means: a checked state machine. Pure.
//!
//! Whatever the journal says, it is read through [`next_state`]; a record that may not follow is an error that names it,
//! so that a bug or a damaged journal stops a recovery instead of steering it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::{FENCE, Planned};
use super::record::{ActResult, End, Entry};
use super::step::{Phase, StepId};

/// Where a promotion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing is written yet.
    New,
    /// Before the fence: it may still end with nothing changed.
    Running,
    /// Behind the fence, on its way.
    Fenced,
    /// Behind the fence, standing still.
    Held,
    /// Ended before the fence; replication goes on.
    Refused,
    /// Done.
    Completed,
}

impl Stage {
    /// Nothing follows any more, except remarks.
    pub fn over(self) -> bool {
        matches!(self, Stage::Refused | Stage::Completed)
    }

    /// As in the API.
    pub fn label(self) -> &'static str {
        match self {
            Stage::New => "new",
            Stage::Running => "running",
            Stage::Fenced => "fenced",
            Stage::Held => "held",
            Stage::Refused => "refused",
            Stage::Completed => "completed",
        }
    }
}

/// What the journal knows of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// As planned.
    pub planned: Planned,
    /// The number of the last intent; 0 before the first.
    pub attempts: u32,
    /// An intent without an outcome.
    pub open: bool,
    /// What the last act gave; after a restart in mid-act: unknown.
    pub result: Option<ActResult>,
    /// How it ended.
    pub end: Option<End>,
}

/// A promotion as its journal tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where it stands.
    pub stage: Stage,
    /// The hash of the plan that it goes by.
    pub plan_hash: String,
    /// The steps of that plan.
    pub steps: BTreeMap<StepId, Progress>,
    /// Their order.
    pub order: Vec<StepId>,
}

impl Default for State {
    fn default() -> Self {
        Self { stage: Stage::New, plan_hash: String::new(), steps: BTreeMap::new(), order: Vec::new() }
    }
}

/// A record that may not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal may not say {entry} here ({stage}): {why}")]
pub struct Illegal {
    /// The record.
    pub entry: &'static str,
    /// The stage.
    pub stage: &'static str,
    /// The rule.
    pub why: String,
}

/// The state after one more record.
pub fn next_state(state: &State, entry: &Entry) -> Result<State, Illegal> {
    let illegal = |why: &str| Illegal { entry: entry.name(), stage: state.stage.label(), why: why.to_owned() };
    let mut next = state.clone();
    match (state.stage, entry) {
        (Stage::New, Entry::Requested { plan, .. }) => {
            next.stage = Stage::Running;
            next.adopt(&plan.hash, &plan.steps);
        }
        (Stage::New, _) => return Err(illegal("a journal begins with its request")),
        (_, Entry::Requested { .. }) => return Err(illegal("it was requested already")),
        (_, Entry::Noted { .. }) => {}
        (Stage::Refused | Stage::Completed, _) => return Err(illegal("it is over")),

        (Stage::Running | Stage::Fenced, Entry::Intent { step, attempt, .. }) => {
            let may = state.stage == Stage::Fenced;
            let progress = next.unsettled(step).ok_or_else(|| illegal("no such step, or it is over"))?;
            if progress.open {
                return Err(illegal("the last intent has no outcome"));
            }
            if *attempt != progress.attempts + 1 {
                return Err(illegal("attempts are counted one by one"));
            }
            if (progress.planned.description.phase > Phase::Fence) != may {
                return Err(illegal("the step belongs to the other side of the fence"));
            }
            progress.attempts = *attempt;
            progress.open = true;
            progress.result = None;
        }
        (Stage::Running | Stage::Fenced, Entry::Outcome { step, attempt, result }) => {
            let progress = next.unsettled(step).ok_or_else(|| illegal("no such step, or it is over"))?;
            if !progress.open || *attempt != progress.attempts {
                return Err(illegal("it answers no open intent"));
            }
            progress.open = false;
            progress.result = Some(result.clone());
        }
        (Stage::Running | Stage::Fenced, Entry::Checked { step, .. }) => {
            next.unsettled(step).ok_or_else(|| illegal("no such step, or it is over"))?;
        }
        (Stage::Running | Stage::Fenced, Entry::Settled { step, end }) => {
            if step == &StepId::from(FENCE) {
                return Err(illegal("only the fence itself ends the fence step"));
            }
            let progress = next.unsettled(step).ok_or_else(|| illegal("no such step, or it is over"))?;
            if progress.open {
                return Err(illegal("the last intent has no outcome"));
            }
            if matches!(end, End::GaveUp(_)) && progress.planned.description.required {
                return Err(illegal("a required step is not given up"));
            }
            progress.end = Some(end.clone());
        }
        (Stage::Running, Entry::CaughtUp { .. }) => {}
        (Stage::Running, Entry::Fenced { .. }) => {
            let early = |p: &Progress| p.planned.description.phase < Phase::Fence && p.end.is_none();
            if state.steps.values().any(early) {
                return Err(illegal("a step before the fence is not over"));
            }
            let fence = next.unsettled(&FENCE.into()).filter(|f| f.open);
            let fence = fence.ok_or_else(|| illegal("there is no intent to fence"))?;
            fence.open = false;
            fence.result = Some(ActResult::Ok);
            fence.end = Some(End::Done("nothing flows from prodX to prodY any more".into()));
            next.stage = Stage::Fenced;
        }
        (Stage::Running, Entry::Refused { .. }) => next.stage = Stage::Refused,
        (Stage::Fenced, Entry::Held { .. }) => next.stage = Stage::Held,
        (Stage::Running | Stage::Fenced | Stage::Held, Entry::Resumed { plan, done, again, by }) => {
            if let Some(plan) = plan {
                next.adopt(&plan.hash, &plan.steps);
            }
            if state.stage == Stage::Held {
                next.stage = Stage::Fenced;
            }
            for progress in next.steps.values_mut().filter(|p| p.open) {
                progress.open = false;
                progress.result = Some(ActResult::Unknown("the process ended before the answer".into()));
            }
            for step in again {
                let progress = next.unsettled(step).ok_or_else(|| illegal("no such step, or it is over"))?;
                progress.result = Some(ActResult::Failed("a human says that it did not take effect".into()));
            }
            for step in done {
                if by.is_none() {
                    return Err(illegal("only a human vouches for a step"));
                }
                let progress = next.unsettled(step).ok_or_else(|| illegal("no such step, or it is over"))?;
                let who = by.as_ref().map_or("", |p| p.name.as_str());
                progress.end = Some(End::Vouched(format!("{who} says that it is done")));
            }
        }
        (Stage::Fenced, Entry::Completed { .. }) => {
            if let Some(left) = state.steps.values().find(|p| p.end.is_none()) {
                return Err(illegal(&format!("step {} is not over", left.planned.id)));
            }
            next.stage = Stage::Completed;
        }
        (_, _) => return Err(illegal("it does not belong to this stage")),
    }
    Ok(next)
}

impl State {
    /// Reads a journal from its start.
    pub fn replay<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<State, Illegal> {
        entries.into_iter().try_fold(State::default(), |state, entry| next_state(&state, entry))
    }

    /// Is the fence behind it?
    pub fn fenced(&self) -> bool {
        matches!(self.stage, Stage::Fenced | Stage::Held | Stage::Completed)
    }

    /// The steps that may run now: of the earliest phase that is not over, those whose needs are over, in order.
    pub fn ready(&self) -> Vec<StepId> {
        let open = |id: &&StepId| self.steps.get(*id).is_some_and(|p| p.end.is_none());
        let phase_of = |id: &StepId| self.steps.get(id).map(|p| p.planned.description.phase);
        let Some(phase) = self.order.iter().filter(open).filter_map(phase_of).min() else {
            return Vec::new();
        };
        let met = |id: &&StepId| {
            let needs = self.steps.get(*id).map(|p| &p.planned.description.needs);
            needs.is_some_and(|needs| needs.iter().all(|n| self.steps.get(n).is_none_or(|p| p.end.is_some())))
        };
        self.order.iter().filter(open).filter(|id| phase_of(id) == Some(phase)).filter(met).cloned().collect()
    }

    fn unsettled(&mut self, step: &StepId) -> Option<&mut Progress> {
        self.steps.get_mut(step).filter(|p| p.end.is_none())
    }

    /// Goes by a plan, and keeps what is known of the steps that are in it.
    fn adopt(&mut self, hash: &str, steps: &[Planned]) {
        hash.clone_into(&mut self.plan_hash);
        let mut old = std::mem::take(&mut self.steps);
        self.order = steps.iter().map(|s| s.id.clone()).collect();
        let fenced = self.fenced();
        for planned in steps {
            // A step that joins the plan behind the fence and belongs before it has missed its time.
            let late = fenced && planned.description.phase <= Phase::Fence;
            let end = late.then(|| End::NotApplicable("it joined the plan after the fence".into()));
            let fresh = Progress { planned: planned.clone(), attempts: 0, open: false, result: None, end };
            let kept = old.remove(&planned.id).map(|p| Progress { planned: planned.clone(), ..p });
            self.steps.insert(planned.id.clone(), kept.unwrap_or(fresh));
        }
    }
}
