//! `plimsoll reseed`: copies a store anew.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, Connection, Failure};
use super::{complain, print};

pub(super) const EXAMPLE: &str = "Example:\n  plimsoll reseed orders --token-file ~/.plimsoll-token\n  \
    plimsoll reseed orders --allow-deletes 12000 --token-file ~/.plimsoll-token";

/// What `plimsoll reseed` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ReseedArgs {
    /// The store, as the configuration names it
    store: String,
    /// How many items of the standby that the primary does not have may be removed; by itself a copy removes only a few,
    /// and stops when it finds more
    #[arg(long, value_name = "N", default_value_t = 0)]
    allow_deletes: u64,
    /// The daemon.
    #[command(flatten)]
    connection: Connection,
}

/// Asks for the copy.
pub(super) async fn run(args: &ReseedArgs) -> ExitCode {
    match ask(args).await {
        Ok(words) => print(&format!("{}: {words}\nplimsoll status shows how far it is\n", args.store)),
        Err(failure) => complain(&format!("error: {failure}")),
    }
}

async fn ask(args: &ReseedArgs) -> Result<String, Failure> {
    let client = Client::new(&args.connection)?;
    let path = format!("/v1/stores/{}/reseed", args.store);
    let told: Value = client.act(&path, &json!({"allow_deletes": args.allow_deletes})).await?;
    Ok(told["what"].as_str().unwrap_or_default().to_owned())
}
