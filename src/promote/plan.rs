//! The plan: which steps, in which order. Pure.
//!
//! Order: by phase, then by `needs`, then as given (the spine's own, the stores', the operator's in file order). Two steps
//! of one phase with their needs met may run at the same time. The hash covers everything that an approver would want to
//! know before signing: the steps with their calls and deadlines, and the objectives that the gate goes by.
//!
//! A store's `promote_steps` must not put moving numbers (a watermark) into a description, or the hash would never be
//! the same twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::notation::Secs;
use super::request::hex;
use super::step::{Description, Phase, Repeat, Step, StepId};
use super::steps;
use crate::change::StoreId;
use crate::config::{Promote, StepConfig};
use crate::rpo::Terms;

/// The id of the step that catches up.
pub const CATCH_UP: &str = "catch-up";
/// The id of the step that fences.
pub const FENCE: &str = "fence";
/// From the first attempt to close the flow until the fence is durable; then the promotion is refused and the flow goes
/// on. Longer than any request that we gave up may still take effect.
pub const FENCE_DEADLINE: Duration = Duration::from_secs(120);

/// Who carries a step out.
#[derive(Clone)]
pub enum Job {
    /// The executor: the flow catches up.
    CatchUp,
    /// The executor: the point of no return, one transaction with the journal.
    Fence,
    /// The step itself.
    Step(Arc<dyn Step>),
}

/// What the journal and the API know of a planned step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its journal key.
    pub id: StepId,
    /// Steps of one wave may run at the same time; waves run one after the other.
    pub wave: usize,
    /// What it is.
    pub description: Description,
}

/// What the gate and the hash know of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// The store.
    pub store: StoreId,
    /// The RPO allowed.
    pub rpo_seconds: Secs,
}

/// An ordered plan.
#[derive(Clone)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Planned>,
    /// Of every store.
    pub objectives: Vec<Objective>,
    /// SHA-256 of the steps and the objectives, hexadecimal.
    pub hash: String,
    jobs: BTreeMap<StepId, Job>,
}

/// A plan that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two steps have one id.
    #[error("two steps are called {0}: every step needs an id of its own")]
    Twice(StepId),
    /// A step waits for one that does not exist.
    #[error("step {step} needs {needs}, which is no step; known are {known}")]
    Unknown {
        /// The step.
        step: StepId,
        /// What it names.
        needs: StepId,
        /// All ids.
        known: String,
    },
    /// A step waits for one that runs later anyhow.
    #[error("step {step} ({phase:?}) needs {needs}, which runs later ({later:?})")]
    Later {
        /// The step.
        step: StepId,
        /// Its phase.
        phase: Phase,
        /// What it needs.
        needs: StepId,
        /// The phase of that.
        later: Phase,
    },
    /// Steps wait for each other.
    #[error("steps need each other in a circle: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> "))]
    Circle(Vec<StepId>),
}

/// Makes the plan of the spine's own steps, those of the stores, and those of the configuration. Gives every problem.
pub fn plan(
    promote: &Promote,
    stores: &[(StoreId, Terms)],
    store_steps: Vec<Arc<dyn Step>>,
) -> Result<Plan, Vec<PlanError>> {
    let mut parts =
        vec![(CATCH_UP.into(), catch_up(promote.catch_up), Job::CatchUp), (FENCE.into(), fence(), Job::Fence)];
    let configured = promote.steps.iter().map(step_of);
    for step in store_steps.into_iter().chain(configured) {
        parts.push((step.id(), step.describe(), Job::Step(step)));
    }
    order(parts, stores)
}

fn step_of(config: &StepConfig) -> Arc<dyn Step> {
    steps::make(config)
}

fn catch_up(bound: Duration) -> Description {
    Description {
        phase: Phase::CatchUp,
        needs: Vec::new(),
        calls: vec![format!(
            "apply what is fetched and read what prodX still gives, for at most {}",
            humantime::format_duration(bound)
        )],
        required: true,
        reversible: true,
        deadline: bound,
        poll: Duration::from_secs(1),
        deferred: false,
        repeat: Repeat::Safe,
    }
}

fn fence() -> Description {
    Description {
        phase: Phase::Fence,
        needs: Vec::new(),
        calls: vec![
            "stop the flow from prodX to prodY and drain it".into(),
            "judge the gate again; freeze the RPO report; raise the direction epoch, in one durable write".into(),
        ],
        required: true,
        reversible: false,
        deadline: FENCE_DEADLINE,
        poll: Duration::from_secs(1),
        deferred: false,
        repeat: Repeat::Safe,
    }
}

fn order(parts: Vec<(StepId, Description, Job)>, stores: &[(StoreId, Terms)]) -> Result<Plan, Vec<PlanError>> {
    let mut problems = Vec::new();
    let mut phases = BTreeMap::new();
    for (id, description, _) in &parts {
        if phases.insert(id.clone(), description.phase).is_some() {
            problems.push(PlanError::Twice(id.clone()));
        }
    }
    let known = || parts.iter().map(|(id, _, _)| id.to_string()).collect::<Vec<_>>().join(", ");
    for (id, description, _) in &parts {
        for needs in &description.needs {
            match phases.get(needs) {
                None => problems.push(PlanError::Unknown { step: id.clone(), needs: needs.clone(), known: known() }),
                Some(later) if *later > description.phase => problems.push(PlanError::Later {
                    step: id.clone(),
                    phase: description.phase,
                    needs: needs.clone(),
                    later: *later,
                }),
                Some(_) => {}
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut jobs = BTreeMap::new();
    let mut left: Vec<(StepId, Description)> = Vec::new();
    for (id, description, job) in parts {
        jobs.insert(id.clone(), job);
        left.push((id, description));
    }
    left.sort_by_key(|(_, description)| description.phase);
    let steps = waves(left).map_err(|circle| vec![PlanError::Circle(circle)])?;
    let objectives: Vec<_> = stores
        .iter()
        .map(|(store, terms)| Objective { store: store.clone(), rpo_seconds: Secs(terms.objective) })
        .collect();
    let signed = serde_json::to_vec(&(&steps, &objectives)).expect("a plan is plain data");
    Ok(Plan { steps, objectives, hash: hex(&Sha256::digest(&signed)), jobs })
}

/// Lays steps, sorted by phase, into waves: each holds the steps of the earliest unfinished phase whose needs are met.
fn waves(mut left: Vec<(StepId, Description)>) -> Result<Vec<Planned>, Vec<StepId>> {
    let mut steps = Vec::new();
    let mut placed = BTreeSet::new();
    let mut wave = 0;
    while let Some(phase) = left.first().map(|(_, description)| description.phase) {
        let ready = |(_, d): &(StepId, Description)| d.phase == phase && d.needs.iter().all(|n| placed.contains(n));
        let (now, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(ready);
        if now.is_empty() {
            return Err(circle(&rest, phase));
        }
        placed.extend(now.iter().map(|(id, _)| id.clone()));
        steps.extend(now.into_iter().map(|(id, description)| Planned { id, wave, description }));
        wave += 1;
        left = rest;
    }
    Ok(steps)
}

/// Walks the unmet needs until a step repeats.
fn circle(stuck: &[(StepId, Description)], phase: Phase) -> Vec<StepId> {
    let needs: BTreeMap<_, _> = stuck
        .iter()
        .filter(|(_, description)| description.phase == phase)
        .map(|(id, description)| (id.clone(), description.needs.clone()))
        .collect();
    let mut path: Vec<StepId> = needs.keys().next().cloned().into_iter().collect();
    while let Some(last) = path.last() {
        let Some(next) = needs.get(last).and_then(|n| n.iter().find(|id| needs.contains_key(*id))).cloned() else {
            break;
        };
        let again = path.iter().position(|id| *id == next);
        path.push(next);
        if let Some(from) = again {
            return path.split_off(from);
        }
    }
    path
}

impl Plan {
    /// Who carries out a step of this plan.
    pub fn job(&self, id: &StepId) -> Option<&Job> {
        self.jobs.get(id)
    }

    /// A step of this plan.
    pub fn step(&self, id: &StepId) -> Option<&Planned> {
        self.steps.iter().find(|s| s.id == *id)
    }
}

impl From<&str> for StepId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}
