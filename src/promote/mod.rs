//! Promote: carry out the recovery in one call, journaled, resumable, and refusing to lose more than was accepted.

mod flow;
mod request;
mod step;

pub use flow::{CatchUp, Flow};
pub use request::{Authorized, Principal, Role};
pub use step::{Context, Description, Phase, Repeat, Step, StepError, StepId, World};
