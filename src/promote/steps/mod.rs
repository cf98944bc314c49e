//! The steps that an operator writes into the configuration, one file per kind.

mod command;
mod http_probe;

use std::sync::Arc;

pub use command::Command;
pub use http_probe::HttpProbe;

use super::step::Step;
use crate::config::{StepConfig, StepKind};

/// Makes the step of a `[[promote.step]]`. Does no I/O.
pub fn make(config: &StepConfig) -> Arc<dyn Step> {
    match &config.what {
        StepKind::Command { .. } => Arc::new(Command::new(config.clone())),
        StepKind::HttpProbe { .. } => Arc::new(HttpProbe::new(config.clone())),
    }
}
