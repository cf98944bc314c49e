//! `plimsoll verify`: compares a store with its standby, lists what differs, and has it repaired.
//!
//! Exit codes: 0 nothing is known to differ, 1 it could not be done, 3 something differs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, Connection, Failure};
use super::{complain, print};
use crate::seams::SystemClock;
use crate::serve::status::{StoreStatus, span};

pub(super) const EXAMPLE: &str = "Example:\n  plimsoll verify orders --wait --token-file ~/.plimsoll-token\n  \
    plimsoll verify orders --repair --wait --show-keys --token-file ~/.plimsoll-token\n\
    Exit codes: 0 nothing is known to differ, 3 something differs.";

/// Items that are printed, at most; the API lists all.
const MOST_PRINTED: usize = 1_000;
/// Between two looks of `--wait`.
const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row without an answer before `--wait` gives up.
const MOST_SILENT: u32 = 60;
/// The exit code when something differs.
const DIFFERS: u8 = 3;

/// What `plimsoll verify` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct VerifyArgs {
    /// The store, as the configuration names it
    store: String,
    /// Copies again what is proven to differ
    #[arg(long)]
    repair: bool,
    /// How many items of the standby that the primary does not have a repair may remove; by itself it removes only a few
    #[arg(long, value_name = "N", default_value_t = 0)]
    allow_deletes: u64,
    /// Shows the keys of what differs, which are customer data, instead of their digests; needs the role of an operator
    #[arg(long)]
    show_keys: bool,
    /// Waits for the end of the comparison, which keeps to its share of the capacity and may take hours
    #[arg(long)]
    wait: bool,
    /// The daemon.
    #[command(flatten)]
    connection: Connection,
}

/// Asks for the comparison.
pub(super) async fn run(args: &VerifyArgs) -> ExitCode {
    match ask(args).await {
        Ok((text, differ)) => {
            let printed = print(&text);
            if differ && printed == ExitCode::SUCCESS { ExitCode::from(DIFFERS) } else { printed }
        }
        Err(failure) => complain(&format!("error: {failure}")),
    }
}

async fn ask(args: &VerifyArgs) -> Result<(String, bool), Failure> {
    let client = Client::new(&args.connection)?;
    let path = format!("/v1/stores/{}", args.store);
    let before: StoreStatus = client.get(&path).await?;
    let wish = json!({"repair": args.repair, "allow_deletes": args.allow_deletes});
    let told: Value = client.act(&format!("{path}/verify"), &wish).await?;
    let what = told["what"].as_str().unwrap_or_default();
    let mut text = format!("{}: {what}\n", args.store);
    if args.wait {
        eprint!("{text}");
        text.clear();
        wait(&client, &path, &before).await?;
    }
    let question = if args.show_keys { "?show_keys=true" } else { "" };
    let found: Value = client.get(&format!("{path}/divergent{question}")).await?;
    let items = found["items"].as_array().cloned().unwrap_or_default();
    text.push_str(&list(&items, args));
    Ok((text, !items.is_empty()))
}

fn list(items: &[Value], args: &VerifyArgs) -> String {
    let known = match items.len() {
        0 if args.wait => "nothing differs in prodY".to_owned(),
        0 => "nothing is known to differ in prodY so far; plimsoll status shows how far it is".to_owned(),
        1 => "1 item is known to differ in prodY:".to_owned(),
        n => format!("{n} items are known to differ in prodY:"),
    };
    let mut text = format!("{known}\n");
    for item in items.iter().take(MOST_PRINTED) {
        let field = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let key = if args.show_keys { field("key") } else { format!("sha256:{}", field("key_sha256")) };
        text.push_str(&format!("  {:8} {}  {key}\n", field("what"), field("found_at")));
    }
    if items.len() > MOST_PRINTED {
        text.push_str(&format!("  and {} more\n", items.len() - MOST_PRINTED));
    }
    text
}

/// Until a verification has ended that had not before.
async fn wait(client: &Client, path: &str, before: &StoreStatus) -> Result<(), Failure> {
    let (clock, mut silent, mut idle, mut last) = (SystemClock::shared(), 0, 0, String::new());
    loop {
        clock.sleep(LOOK).await;
        let now: StoreStatus = match client.get(path).await {
            Ok(now) => now,
            Err(failure) if failure.again && silent < MOST_SILENT => {
                silent += 1;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        silent = 0;
        if now.verified.as_ref().map(|v| &v.at) != before.verified.as_ref().map(|v| &v.at) {
            return Ok(());
        }
        let progress = now.progress.filter(|progress| progress.what == "verify");
        // Between the wish and its begin lies a look at the table.
        idle = if progress.is_some() { 0 } else { idle + 1 };
        if matches!(now.state.as_str(), "gap" | "seeding" | "fenced") || idle > MOST_SILENT {
            let why = format!("the verification does not go on: the store is in state {}", now.state);
            return Err(Failure::new(why, now.note.unwrap_or_else(|| "look at plimsoll status".to_owned())));
        }
        if let Some(progress) = progress {
            let eta = progress.eta_seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
            let left = eta.map_or_else(String::new, |eta| format!(", {} left", span(eta)));
            let line = format!("{} of about {}{left}", progress.done, progress.total.unwrap_or(progress.done));
            if line != last {
                eprintln!("{line}");
                last = line;
            }
        }
    }
}
