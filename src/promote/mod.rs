//! Promote: carry out the recovery in one call, journaled, resumable, and refusing to lose more than was accepted.
//!
//! ```text
//! request --> plan (pure) --> gate (pure) --> journal --> catch-up --> FENCE --> databases .. commands .. verify --> report
//!                              refused: 409    |  before the fence: any failure ends refused, and the flow goes on
//!                                              |  behind it: the only way is forward; a failure holds for a human
//! ```
//!
//! Invariants
//! - Every act has a durable intent before it, and the world is asked before an act is repeated (SG-1).
//! - From the fence commit on nothing is written from prodX to prodY (FO-2); the RPO report is frozen in that commit.
//! - What cannot be journaled is not done.
//! - A process that dies resumes by itself: before the fence the gate is judged again with the numbers of that moment,
//!   behind it the first step that is not done is checked again.
//!
//! What this deliberately does not do: undo. A promoted database cannot be demoted; the way back is a failback.

mod answer;
mod authority;
mod executor;
mod fence;
mod flow;
pub mod gate;
mod journal;
mod notation;
pub mod plan;
mod preview;
mod promotions;
mod record;
mod report;
mod report_text;
mod request;
mod resume;
mod state;
mod step;
pub mod steps;

pub use answer::{Answers, Events, Phased, PromotionView, RunError, StartError, Started};
pub use authority::{Authority, AuthorityError, IndexAuthority};
pub use flow::{CatchUp, Flow, Flows};
pub use journal::{Journal, JournalError, OnEvent};
pub use notation::{Secs, When};
pub use plan::{Plan, PlanError, Planned};
pub use preview::{PlanView, StepView};
pub use promotions::{Inputs, Kept, Promotions, StepsOf};
pub use record::{ActResult, End, Entry, Event, FenceState, Frozen, FrozenStore, JournalRecord, KeyRecord, PlanRecord};
pub use report::Report;
pub use request::{Acceptance, Authorized, Mode, Principal, Request, Role};
pub use state::{Illegal, Stage, State, next_state};
pub use step::{Context, Description, Phase, Repeat, Step, StepError, StepId, World};

#[cfg(test)]
mod tests;
