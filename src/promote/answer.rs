//! What the listener gets back from [`super::Promotions`]: answers, and errors with the status that HTTP has for them.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::gate::Verdict;
use super::journal::JournalError;
use super::notation::When;
use super::plan::PlanError;
use super::record::Event;
use super::request::Role;
use super::state::Stage;
use super::step::StepId;

/// A promotion was started, or had been under the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its id.
    pub promotion: String,
    /// The same key had started it before; nothing new began.
    pub repeated: bool,
    /// Where it stands.
    pub stage: Stage,
}

/// Why a promotion was not started. The HTTP status is in [`StartError::status`].
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The role does not allow it.
    #[error("promoting needs the role approver; {name} is {role:?}")]
    Forbidden {
        /// Who.
        name: String,
        /// As what.
        role: Role,
    },
    /// The request is wrong; every problem at once.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The key was used for another request.
    #[error("this idempotency key was used for another request, promotion {promotion}; take a fresh one")]
    KeyReused {
        /// That promotion.
        promotion: String,
    },
    /// Another one is on its way.
    #[error("promotion {promotion} is not finished ({}); look at it, or resume it", stage.label())]
    Running {
        /// Which.
        promotion: String,
        /// Where it stands.
        stage: Stage,
    },
    /// prodY is the active region already.
    #[error("already promoted, by promotion {promotion}")]
    Promoted {
        /// Which.
        promotion: String,
    },
    /// The gate. It is journaled; nothing else changed.
    #[error("more would be lost than is accepted: {}", verdict.refusal())]
    Refused {
        /// Its id.
        promotion: String,
        /// The numbers.
        verdict: Box<Verdict>,
    },
    /// The plan cannot be made.
    #[error("the plan cannot be carried out: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Plan(Vec<PlanError>),
    /// The request could not be made durable, so nothing was begun.
    #[error("nothing was begun: {0}")]
    Journal(JournalError),
}

impl StartError {
    /// The status that HTTP has for it.
    pub fn status(&self) -> u16 {
        match self {
            StartError::Forbidden { .. } => 403,
            StartError::Invalid(_) | StartError::KeyReused { .. } => 422,
            StartError::Running { .. } | StartError::Promoted { .. } | StartError::Refused { .. } => 409,
            StartError::Plan(_) => 500,
            StartError::Journal(_) => 503,
        }
    }
}

/// Why a promotion could not be held, resumed or annotated.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is none of that id.
    #[error("there is no promotion {0}")]
    Missing(String),
    /// The role does not allow it.
    #[error("this needs the role {needs:?}; {name} is {role:?}")]
    Forbidden {
        /// Who.
        name: String,
        /// As what.
        role: Role,
        /// What is needed.
        needs: Role,
    },
    /// It is not in a state for it.
    #[error("{0}")]
    Conflict(String),
    /// The plan cannot be made.
    #[error("the plan cannot be carried out: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Plan(Vec<PlanError>),
    /// The journal cannot be written.
    #[error("the journal cannot be written: {0}")]
    Journal(#[from] JournalError),
}

impl RunError {
    /// The status that HTTP has for it.
    pub fn status(&self) -> u16 {
        match self {
            RunError::Missing(_) => 404,
            RunError::Forbidden { .. } => 403,
            RunError::Conflict(_) => 409,
            RunError::Plan(_) => 500,
            RunError::Journal(_) => 503,
        }
    }
}

/// What a human says about steps when resuming.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// These are done, whatever their checks say.
    #[serde(default)]
    pub done: Vec<StepId>,
    /// These did not take effect: send them again.
    #[serde(default)]
    pub again: Vec<StepId>,
}

/// One promotion in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionView {
    /// Its id.
    #[serde(rename = "id")]
    pub promotion: String,
    /// Where it stands.
    #[serde(rename = "state")]
    pub stage: Stage,
    /// When it was asked for.
    pub requested_at: When,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Why it stands still, until it is resumed, although its journal does not say so: most often that it cannot be
    /// written.
    pub stuck: Option<String>,
}

/// Events, and how to wait for the next.
pub struct Events {
    /// Those asked for, in order.
    pub past: Vec<Event>,
    /// The number of events of the journal; changes with each.
    pub count: watch::Receiver<u64>,
    /// No more will follow (but remarks).
    pub over: bool,
}

/// What a restart or a status line knows of the recovery: `phase` of `/v1/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phased {
    /// No promotion.
    Replicating,
    /// A promotion before its fence.
    CatchingUp,
    /// The fence is durable and nothing is under way.
    Fenced,
    /// A promotion behind its fence.
    Promoting,
    /// It is done.
    Promoted,
    /// It waits for a human.
    Held,
}

impl Phased {
    /// Every value, for metrics.
    pub const ALL: [Phased; 6] =
        [Phased::Replicating, Phased::CatchingUp, Phased::Fenced, Phased::Promoting, Phased::Promoted, Phased::Held];

    /// As in the API.
    pub fn label(self) -> &'static str {
        match self {
            Phased::Replicating => "replicating",
            Phased::CatchingUp => "catching_up",
            Phased::Fenced => "fenced",
            Phased::Promoting => "promoting",
            Phased::Promoted => "promoted",
            Phased::Held => "held",
        }
    }
}
