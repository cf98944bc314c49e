//! `plimsoll salvage`: what a promotion lost, written to a file first; and the application of what an operator names of it.
//!
//! Keys are customer data: the terminal shows their hashes unless it is asked for the keys. The file holds them, and the
//! images, and only its owner can read it.

mod apply;
mod export;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use self::export::{Export, Written};
use super::client::{Client, Connection, Failure};
use super::{complain, print};
use crate::salvage::{KeyLine, StoreLine, Verdict};

pub(super) const EXAMPLE: &str = "Example:\n  \
    plimsoll salvage --out lost.jsonl --token-file ~/.plimsoll-token\n  \
    plimsoll salvage --apply lost.jsonl --all-without-conflict --token-file ~/.plimsoll-token";

/// Keys of a store that are shown; all are in the file.
const SHOWN: usize = 10;

/// What `plimsoll salvage` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct SalvageArgs {
    /// The daemon.
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Only this store; may be given several times
    #[arg(long = "store", value_name = "STORE")]
    pub(super) stores: Vec<String>,
    /// Where the list is written to; plimsoll-salvage-APP-TIME.jsonl here unless given
    #[arg(long, value_name = "FILE", conflicts_with = "apply")]
    pub(super) out: Option<PathBuf>,
    /// Compares the tables even where the stream tells everything
    #[arg(long, conflicts_with_all = ["no_compare", "apply"])]
    pub(super) compare: bool,
    /// Does not compare the tables where the stream does not tell everything any more
    #[arg(long, conflicts_with = "apply")]
    pub(super) no_compare: bool,
    /// What a comparison may read of each table, bytes a second
    #[arg(long, value_name = "BYTES", conflicts_with = "apply")]
    pub(super) scan_rate: Option<u64>,
    /// Shows keys instead of their hashes
    #[arg(long)]
    pub(super) show_keys: bool,
    /// Brings keys of this list over to prodY; say which: --keys, --all-without-conflict or --store
    #[arg(long, value_name = "FILE")]
    pub(super) apply: Option<PathBuf>,
    /// Only these keys, by their hashes as listed
    #[arg(long, value_name = "HASH,...", value_delimiter = ',', requires = "apply")]
    pub(super) keys: Vec<String>,
    /// Every key that was lost and that nobody wrote in prodY since
    #[arg(long, requires = "apply")]
    pub(super) all_without_conflict: bool,
    /// Where prodY was written to, or may have been: whose item stays
    #[arg(long, value_enum, default_value_t = Keep::KeepY, requires = "apply")]
    pub(super) policy: Keep,
    /// Says what would be applied, and applies nothing
    #[arg(long, requires = "apply")]
    pub(super) dry_run: bool,
}

/// Whose item stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Keep {
    /// prodY's
    KeepY,
    /// prodX's replaces it
    KeepX,
}

/// Lists, or applies.
pub(super) async fn run(args: &SalvageArgs) -> ExitCode {
    let ended = match &args.apply {
        Some(file) => apply::run(args, file).await,
        None => list(args).await,
    };
    match ended {
        Ok(code) => code,
        Err(failure) => complain(&format!("error: {failure}")),
    }
}

async fn list(args: &SalvageArgs) -> Result<ExitCode, Failure> {
    let client = Client::new(&args.connection)?;
    let compare = match (args.compare, args.no_compare) {
        (true, _) => "always",
        (_, true) => "never",
        _ => "when_needed",
    };
    let body = json!({"stores": args.stores, "compare": compare, "scan_bytes_per_second": args.scan_rate});
    let mut answer = client.stream("/v1/salvage", &body).await?;
    let mut export = Export::begin(args.out.as_deref());
    let mut first: BTreeMap<String, Vec<KeyLine>> = BTreeMap::new();
    while let Some(chunk) = client.chunk(&mut answer).await? {
        export.take(&chunk, &mut |key: &KeyLine| {
            let shown = first.entry(key.store.to_string()).or_default();
            if shown.len() < SHOWN {
                shown.push(key.clone());
            }
        })?;
    }
    let written = export.finish()?;
    print(&report(&written, &first, args.show_keys));
    for line in written.stores.iter().filter(|line| line.violations > 0) {
        complain(&format!(
            "SOUNDNESS VIOLATION: store {}: {} keys lack a change that is OLDER than the watermark {} that was promised; \
             keep the file and the index, and see docs/runbooks/PlimsollSoundnessViolation.md",
            line.store,
            line.violations,
            line.watermark.map_or_else(String::new, |w| w.to_string())
        ));
    }
    for (store, why) in &written.failed {
        complain(&format!("error: store {store} could not be listed: {why}"));
    }
    Ok(if written.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is shown of a list.
fn report(written: &Written, first: &BTreeMap<String, Vec<KeyLine>>, show_keys: bool) -> String {
    let mut text = String::new();
    let begin = &written.begin;
    add(
        &mut text,
        format!("Lost by promotion {} of {}, fenced at {}\n\n", begin.promotion, begin.app, begin.fenced_at),
    );
    add(
        &mut text,
        format!(
            "{:<20} {:>9} {:>9} {:>9} {:>10}  {:<24} {:<24} LOSS (PREDICTED)\n",
            "STORE", "LOST", "CONFLICT", "UNPROVEN", "DIFFERENCE", "OLDEST", "NEWEST"
        ),
    );
    for line in &written.stores {
        let of = |verdict| line.count(verdict);
        let when = |at: Option<crate::promote::When>| at.map_or_else(|| "-".to_owned(), |at| at.to_second());
        let secs = |loss: Option<crate::promote::Secs>| loss.map_or_else(|| "-".to_owned(), |loss| loss.to_string());
        add(
            &mut text,
            format!(
                "{:<20} {:>9} {:>9} {:>9} {:>10}  {:<24} {:<24} {} ({})\n",
                line.store.as_str(),
                of(Verdict::Lost),
                of(Verdict::Conflict),
                of(Verdict::Unproven),
                of(Verdict::Difference),
                when(line.oldest),
                when(line.newest),
                secs(line.actual_loss_seconds),
                secs(line.predicted_loss_seconds),
            ),
        );
    }
    for line in &written.stores {
        notes(&mut text, line);
        for key in first.get(line.store.as_str()).into_iter().flatten() {
            add(&mut text, format!("  {}\n", shown(key, show_keys)));
        }
        let all: u64 = Verdict::LISTED.iter().map(|verdict| line.count(*verdict)).sum();
        let more = all.saturating_sub(SHOWN as u64);
        if more > 0 {
            add(&mut text, format!("  and {more} more, in the file\n"));
        }
    }
    add(
        &mut text,
        format!("\n{} keys written to {}\nsha256 {}\n", written.end.keys, written.path.display(), written.digest),
    );
    if written.end.keys > 0 {
        add(
            &mut text,
            format!(
                "bring over what has no conflict: plimsoll salvage --apply {} --all-without-conflict\n",
                written.path.display()
            ),
        );
    }
    text
}

fn add(text: &mut String, more: String) {
    text.write_str(&more).expect("writing to a String cannot fail");
}

/// What must be known to read a store's numbers.
fn notes(text: &mut String, line: &StoreLine) {
    let settled = line.count(Verdict::Settled);
    add(text, format!("\n{}: {} changes read; {settled} keys are in prodY already\n", line.store, line.changes));
    if !line.complete {
        add(text, "  NOT COMPLETE: the stream does not tell everything any more:\n".to_owned());
        for what in &line.missing {
            add(text, format!("    {what}\n"));
        }
        let compared = if line.compared {
            "the tables were compared: a `difference` may be a loss or a later write in prodY, nobody can tell"
        } else {
            "list again with --compare to see where the tables differ"
        };
        add(text, format!("  {compared}\n"));
    }
    if line.after_fence > 0 {
        add(
            text,
            format!("  {} keys were written in prodX only AFTER the fence: prodX was not cut off\n", line.after_fence),
        );
    }
}

/// A key as a line.
fn shown(key: &KeyLine, show_keys: bool) -> String {
    let name = if show_keys { key.key.to_string() } else { key.id.clone() };
    let what = if key.primary.is_some() { "put" } else { "delete" };
    let at = key.at.map_or_else(|| "-".to_owned(), |at| at.to_second());
    let expired = if key.expired { ", expired in prodX" } else { "" };
    format!("{:<10} {what:<6} {at:<20} {name}{expired}", key.verdict.label())
}
