//! What the journal of a promotion says, record by record; the same values are the public events.
//!
//! Append-only like the keys of the index: a variant or field, once released, is never renamed or given another meaning.

use serde::{Deserialize, Serialize};

use super::gate::Verdict;
use super::notation::{Secs, When};
use super::plan::{Objective, Planned};
use super::request::{Principal, Request};
use super::step::{StepId, World};
use crate::change::{Method, StoreId};
use crate::watermark::Record;

/// One record of a journal, under [`crate::watermark::Row::Saga`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// Our wall clock; for humans and the report, never for a decision.
    pub at: When,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

impl Record for JournalRecord {
    const KIND: u8 = 8;
    const VERSION: u8 = 1;
}

/// What an idempotency key was used for, under [`crate::watermark::Row::Nonce`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The promotion that it began.
    pub promotion: String,
    /// The hash of its request: another request under the same key is a mistake.
    pub request_hash: String,
}

impl Record for KeyRecord {
    const KIND: u8 = 9;
    const VERSION: u8 = 1;
}

/// A journal record as the API shows it; `seq` is the id for SSE's `Last-Event-ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The promotion.
    pub promotion: String,
    /// Position in its journal, from 0 without a hole.
    pub seq: u64,
    /// When and what.
    #[serde(flatten)]
    pub record: JournalRecord,
}

/// The plan as it was when it was decided upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Its hash.
    pub hash: String,
    /// Its steps in order.
    pub steps: Vec<Planned>,
    /// The objectives that the gate goes by.
    pub objectives: Vec<Objective>,
    /// The RTO allowed.
    pub rto_seconds: Secs,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Entry {
    /// A promotion was asked for. The first record of every journal.
    Requested {
        /// What was asked and accepted.
        request: Request,
        /// By whom.
        by: Principal,
        /// The idempotency key.
        key: String,
        /// What will be done.
        plan: PlanRecord,
        /// The gate at the call.
        gate: Verdict,
    },
    /// `act` of a step is about to be called. Durable before it is.
    Intent {
        /// The step.
        step: StepId,
        /// From 1, over all runs of the process.
        attempt: u32,
        /// What `check` said just before.
        observed: World,
    },
    /// What `act` gave back.
    Outcome {
        /// The step.
        step: StepId,
        /// Of this intent.
        attempt: u32,
        /// What it gave.
        result: ActResult,
    },
    /// What a check found, when it is not what the last one found.
    Checked {
        /// The step.
        step: StepId,
        /// The world.
        world: World,
    },
    /// A step is over.
    Settled {
        /// The step.
        step: StepId,
        /// How.
        end: End,
    },
    /// How the catch-up ended.
    CaughtUp {
        /// The bound that was given, after what the gate leaves.
        bound_seconds: Secs,
        /// By store.
        stores: Vec<CaughtUpStore>,
    },
    /// The point of no return: written in the same transaction as the fence itself. Ends the fence step.
    Fenced {
        /// The frozen RPO report.
        report: Frozen,
    },
    /// It stands still after the fence until a human says how to go on.
    Held {
        /// Why, and what to do.
        why: String,
        /// The step that failed.
        step: Option<StepId>,
        /// Who asked for it; `null` when it held by itself.
        by: Option<Principal>,
    },
    /// It goes on.
    Resumed {
        /// Who asked; `null` when a new process took it up.
        by: Option<Principal>,
        /// The plan from here on, when it is another than before.
        plan: Option<PlanRecord>,
        /// Steps that the human vouches for.
        #[serde(default)]
        done: Vec<StepId>,
        /// Steps that the human says did not take effect.
        #[serde(default)]
        again: Vec<StepId>,
    },
    /// It ended before its fence; replication goes on.
    Refused {
        /// Why, with the numbers.
        why: String,
        /// The gate, when it was the gate.
        gate: Option<Verdict>,
        /// Who stopped it; `null` when nobody did.
        by: Option<Principal>,
    },
    /// A human's remark.
    Noted {
        /// The remark.
        text: String,
        /// Whose; `null` when it is Plimsoll's own.
        by: Option<Principal>,
    },
    /// Every step is over. The last record of a recovery.
    Completed {
        /// From the call to here.
        rto_seconds: Secs,
    },
}

/// What `act` gave back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "detail")]
pub enum ActResult {
    /// It was accepted.
    Ok,
    /// It did not take effect.
    Failed(String),
    /// Nobody knows.
    Unknown(String),
    /// It did not take effect, and trying again will not help.
    Refused(String),
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end", content = "detail")]
pub enum End {
    /// The world is as it should be.
    Done(String),
    /// It has no meaning here.
    NotApplicable(String),
    /// Deferred: started, and not waited for.
    Started,
    /// Best effort, and it failed.
    GaveUp(String),
    /// A human says that it is done.
    Vouched(String),
}

/// How the catch-up of one store ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaughtUpStore {
    /// Which.
    pub store: StoreId,
    /// Changes read and not durable in the standby.
    pub left: u64,
    /// Why it ended.
    pub why: String,
}

/// The RPO report, frozen at the fence commit (RP-10): what was lost, at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Our wall clock when the flow was closed and the numbers were read.
    pub at: When,
    /// The direction epoch that begins.
    pub direction_epoch: u64,
    /// Is prodX known to be unable to write? A failover does not wait for it.
    pub fence: FenceState,
    /// The gate on these numbers.
    pub gate: Verdict,
    /// By store.
    pub stores: Vec<FrozenStore>,
}

/// What is known of prodX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceState {
    /// It cannot write any more.
    Confirmed,
    /// Nobody knows: what it writes from here on is in no standby.
    Unconfirmed,
}

/// One store of the frozen report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenStore {
    /// Which.
    pub store: StoreId,
    /// Its state.
    pub state: String,
    /// How its watermark is founded.
    pub method: Option<Method>,
    /// Everything committed up to here is in the standby.
    pub watermark: Option<When>,
    /// What was lost at most; `null` when nothing bounds it.
    pub loss_seconds: Option<Secs>,
    /// The same for a human.
    pub cutoff: String,
    /// Changes that the standby refused and that wait in the index.
    pub parked: u64,
}

impl Entry {
    /// As in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Entry::Requested { .. } => "requested",
            Entry::Intent { .. } => "intent",
            Entry::Outcome { .. } => "outcome",
            Entry::Checked { .. } => "checked",
            Entry::Settled { .. } => "settled",
            Entry::CaughtUp { .. } => "caught_up",
            Entry::Fenced { .. } => "fenced",
            Entry::Held { .. } => "held",
            Entry::Resumed { .. } => "resumed",
            Entry::Refused { .. } => "refused",
            Entry::Noted { .. } => "noted",
            Entry::Completed { .. } => "completed",
        }
    }
}
