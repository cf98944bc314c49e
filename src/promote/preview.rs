//! The plan as a human reads it before deciding: every step with its exact calls and what the world says now, and what
//! would be lost. Reads only.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};

use super::executor::{CHECK_BOUND, Shared};
use super::gate::Verdict;
use super::notation::Secs;
use super::plan::{Job, Plan};
use super::request::Request;
use super::step::{Context, Phase, Repeat, Step, StepId, World};
use crate::change::Stamp;
use crate::seams::{Clock, timeout};

/// Checks at one time.
const CONCURRENT: usize = 8;
/// All checks together, for whoever waits for the answer; shorter than the patience of a proxy.
const ALL_CHECKS: Duration = Duration::from_secs(20);

/// A plan with what is true now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// Its hash: give it in the request, and another plan is refused.
    pub hash: String,
    /// The promotion that has made prodY the active region already; `null` while a promotion makes sense.
    #[serde(default)]
    pub promoted_by: Option<String>,
    /// What would be lost now and how the gate would rule without any acceptance.
    pub gate: Verdict,
    /// The worst number of the stores that have one.
    pub predicted_loss_seconds: Option<Secs>,
    /// Stores whose loss nothing bounds.
    pub stores_without_bound: usize,
    /// The RTO allowed.
    pub rto_objective_seconds: Secs,
    /// In order.
    pub steps: Vec<StepView>,
}

/// A step with what its check says now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// Its id.
    pub id: StepId,
    /// Steps of one wave may run at the same time.
    pub wave: usize,
    /// Its phase.
    pub phase: Phase,
    /// What must be done first, besides earlier phases.
    pub needs: Vec<StepId>,
    /// The exact calls.
    pub calls: Vec<String>,
    /// A failure holds the promotion.
    pub required: bool,
    /// It can be undone by hand.
    pub reversible: bool,
    /// It starts, and is not waited for.
    pub deferred: bool,
    /// From its first attempt to its end.
    pub deadline_seconds: Secs,
    /// What an unknown outcome means.
    pub repeat: Repeat,
    /// What its check says now; `null` when the check failed.
    pub world: Option<World>,
    /// Why the check failed.
    pub check_error: Option<String>,
}

/// What the world says of one step, within what is left of the bound.
async fn look(clock: &dyn Clock, begun: Stamp, step: Option<Arc<dyn Step>>) -> Result<World, String> {
    let Some(step) = step else { return Ok(World::NotStarted("the flow runs".into())) };
    let cx = Context { clock, promotion: "plan", attempt: 1 };
    let left = ALL_CHECKS.saturating_sub(clock.now().since(begun)).min(CHECK_BOUND);
    match timeout(clock, left, step.check(&cx)).await {
        Some(found) => found.map_err(|e| e.to_string()),
        None => Err(format!("no answer within {}", Secs(left))),
    }
}

/// Runs every check, bounded, several at once.
pub(super) async fn preview(shared: &Shared, plan: &Plan, rto: Duration) -> PlanView {
    let gate = shared.judge(&Request::failover("plan"));
    let clock = shared.clock.as_ref();
    let begun = clock.now();
    let checks: Vec<Option<Arc<dyn Step>>> = plan
        .steps
        .iter()
        .map(|step| match plan.job(&step.id) {
            Some(Job::Step(step)) => Some(Arc::clone(step)),
            _ => None,
        })
        .collect();
    // Made before they are awaited: a closure held over an await is not `Send` for every lifetime.
    let looks: Vec<_> = checks.into_iter().map(|step| look(clock, begun, step)).collect();
    let looked: Vec<Result<World, String>> = stream::iter(looks).buffered(CONCURRENT).collect().await;
    let promoted_by = shared.index.snapshot().fence.as_ref().map(|fence| fence.promotion.clone());
    let fenced = promoted_by.is_some();
    let steps = plan.steps.iter().zip(looked).map(|(step, looked)| {
        let d = step.description.clone();
        let (world, check_error) = match looked {
            Ok(_) if fenced && d.phase <= Phase::Fence => (Some(World::Done("fenced".into())), None),
            Ok(world) => (Some(world), None),
            Err(why) => (None, Some(why)),
        };
        StepView {
            id: step.id.clone(),
            wave: step.wave,
            phase: d.phase,
            needs: d.needs,
            calls: d.calls,
            required: d.required,
            reversible: d.reversible,
            deferred: d.deferred,
            deadline_seconds: Secs(d.deadline),
            repeat: d.repeat,
            world,
            check_error,
        }
    });
    PlanView {
        hash: plan.hash.clone(),
        promoted_by,
        predicted_loss_seconds: gate.stores.iter().filter_map(|s| s.loss_seconds).max(),
        stores_without_bound: gate.stores.iter().filter(|s| s.loss_seconds.is_none()).count(),
        rto_objective_seconds: Secs(rto),
        steps: steps.collect(),
        gate,
    }
}
