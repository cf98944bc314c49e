//! `plimsoll plan`: what a promotion would do, call by call, and what would be lost, now.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, Connection, Failure};
use super::{complain, print};
use crate::promote::PlanView;

pub(super) const EXAMPLE: &str = "Example:\n  plimsoll plan --token-file ~/.plimsoll-token";

/// What `plimsoll plan` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct PlanArgs {
    /// The daemon.
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Prints what the daemon answers, as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Shows the plan.
pub(super) async fn run(args: &PlanArgs) -> ExitCode {
    match text(args).await {
        Ok(text) => print(&text),
        Err(failure) => complain(&format!("error: {failure}")),
    }
}

async fn text(args: &PlanArgs) -> Result<String, Failure> {
    let client = Client::new(&args.connection)?;
    if args.json {
        let told: Value = client.get("/v1/plan").await?;
        return Ok(format!("{told:#}\n"));
    }
    Ok(client.get::<PlanView>("/v1/plan").await?.text())
}
