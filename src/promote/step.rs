//! A step of a promotion: a (check, act) pair. `check` reads the world, `act` changes it, and the journal stands between
//! them (SG-1): the intent is durable before the act, and after a crash the world is asked again, never the memory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::seams::Clock;

/// The name of a step: the key of its journal records. Never renamed, never reused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub Arc<str>);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The order of a recovery. Steps of an earlier phase are finished before those of a later one begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Tell people. Best effort.
    Announce,
    /// Apply what is fetched and reachable.
    CatchUp,
    /// Stop the flow and freeze the RPO report: the point of no return.
    Fence,
    /// Databases and tables.
    Databases,
    /// Sign-in.
    Authentication,
    /// Caches.
    Cache,
    /// Buckets.
    Blobs,
    /// Compute, in dependency order.
    Services,
    /// The operator's own commands.
    Commands,
    /// CloudFront.
    Edge,
    /// DNS.
    Dns,
    /// Look from outside.
    Verify,
    /// Reports.
    Report,
}

/// What the operator reads before pressing the button, and what the executor goes by. Pure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// When it runs.
    pub phase: Phase,
    /// Steps that must be done before it, besides earlier phases.
    pub needs: Vec<StepId>,
    /// The exact calls that `act` makes, in words that could be typed.
    pub calls: Vec<String>,
    /// A failure holds the promotion; otherwise it is noted and the promotion goes on (SG-6).
    pub required: bool,
    /// Can be undone by hand.
    pub reversible: bool,
    /// From its first attempt to its end; then the promotion holds.
    pub deadline: Duration,
    /// Between two checks.
    pub poll: Duration,
    /// Starts, and is not waited for.
    pub deferred: bool,
    /// What an unknown outcome means when `check` cannot tell.
    pub repeat: Repeat,
}

/// May `act` be sent again when nobody can say whether it took effect?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// `check` can tell.
    Checked,
    /// It does the same again.
    Safe,
    /// No: hold for a human.
    Never,
}

/// What `check` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "world", content = "detail")]
pub enum World {
    /// As it should be after the step.
    Done(String),
    /// As before the step.
    NotStarted(String),
    /// On its way; never send again.
    InProgress(String),
    /// In a state that the step cannot lead on from.
    Conflict(String),
    /// The step has no meaning here.
    NotApplicable(String),
    /// The step has no check: only the journal knows whether it was sent (see [`Repeat`]).
    Unknowable,
}

/// A failed check or act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// It did not take effect; trying again may help.
    #[error("{0}")]
    Failed(String),
    /// Nobody knows whether it took effect: ask the world (SG-3).
    #[error("{0} (the outcome is unknown)")]
    Unknown(String),
    /// Trying again will not help.
    #[error("{0}")]
    Refused(String),
}

/// What a step may use.
pub struct Context<'a> {
    /// Time.
    pub clock: &'a dyn Clock,
    /// The promotion's id.
    pub promotion: &'a str,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// One step.
#[async_trait]
pub trait Step: Send + Sync {
    /// Its journal key.
    fn id(&self) -> StepId;
    /// What it is. Pure.
    fn describe(&self) -> Description;
    /// Reads the world; changes nothing.
    async fn check(&self, cx: &Context<'_>) -> Result<World, StepError>;
    /// Changes the world. Called only on [`World::NotStarted`] (or `Unknowable`), with the intent journaled.
    async fn act(&self, cx: &Context<'_>) -> Result<(), StepError>;
}

impl World {
    /// What it says, for a human.
    pub fn detail(&self) -> Option<&str> {
        match self {
            World::Done(text)
            | World::NotStarted(text)
            | World::InProgress(text)
            | World::Conflict(text)
            | World::NotApplicable(text) => Some(text),
            World::Unknowable => None,
        }
    }

    /// For a table: `done`, `not started`.
    pub fn word(&self) -> &'static str {
        match self {
            World::Done(_) => "done",
            World::NotStarted(_) => "not started",
            World::InProgress(_) => "in progress",
            World::Conflict(_) => "CONFLICT",
            World::NotApplicable(_) => "n/a",
            World::Unknowable => "no check",
        }
    }
}

impl Phase {
    /// As in the API.
    pub fn label(self) -> &'static str {
        match self {
            Phase::Announce => "announce",
            Phase::CatchUp => "catch_up",
            Phase::Fence => "fence",
            Phase::Databases => "databases",
            Phase::Authentication => "authentication",
            Phase::Cache => "cache",
            Phase::Blobs => "blobs",
            Phase::Services => "services",
            Phase::Commands => "commands",
            Phase::Edge => "edge",
            Phase::Dns => "dns",
            Phase::Verify => "verify",
            Phase::Report => "report",
        }
    }
}
