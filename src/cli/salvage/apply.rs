//! `plimsoll salvage --apply FILE`: the whole file is read and checked before the first write, then sent in small parts.
//! Stopped anywhere, it may be run again: what is in prodY already is not written again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::export::Read;
use super::{Keep, SalvageArgs};
use crate::cli::client::{Client, Failure};
use crate::cli::{complain, print};
use crate::salvage::{Apply, KeyLine, Outcome, OutcomeKind, Policy, Verdict};
use crate::seams::{Ids as _, SystemClock, SystemIds};

/// Lines in one request, at most.
const LINES: usize = 25;
/// Their bytes, at most: the daemon takes 16 MB.
const BYTES: usize = 4 << 20;
/// Attempts at one request.
const TRIES: u32 = 6;
/// Keys of an outcome that are shown.
const SHOWN: usize = 20;

/// Which lines are meant.
struct Selection<'a> {
    args: &'a SalvageArgs,
    keys: BTreeSet<&'a str>,
}

impl Selection<'_> {
    fn takes(&self, line: &KeyLine) -> bool {
        (self.keys.is_empty() || self.keys.contains(line.id.as_str()))
            && (self.args.stores.is_empty() || self.args.stores.iter().any(|store| store == line.store.as_str()))
            && (!self.args.all_without_conflict || line.verdict == Verdict::Lost)
    }
}

/// The answer to one request.
#[derive(Debug, Deserialize)]
struct Answer {
    outcomes: Vec<Outcome>,
}

pub(super) async fn run(args: &SalvageArgs, file: &Path) -> Result<ExitCode, Failure> {
    if args.keys.is_empty() && args.stores.is_empty() && !args.all_without_conflict {
        return Err(Failure::new(
            "nothing was named",
            "say what to apply: --keys HASH,..., --all-without-conflict or --store STORE",
        ));
    }
    let selection = Selection { args, keys: args.keys.iter().map(String::as_str).collect() };
    // All of it once before the first write: a file that is damaged at its end must not be half applied.
    let (chosen, seen) = count(file, &selection)?;
    if let Some(unknown) = selection.keys.iter().find(|key| !seen.contains(**key)) {
        return Err(Failure::new(
            format!("{} has no key {unknown}", file.display()),
            "nothing was applied; give hashes as they are listed",
        ));
    }
    if args.dry_run {
        print(&format!("{chosen} keys would be applied; nothing was\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let client = Client::new(&args.connection)?;
    let mut lines = Read::open(file)?;
    let policy = match args.policy {
        Keep::KeepY => Policy::KeepY,
        Keep::KeepX => Policy::KeepX,
    };
    let export = lines.begin.export.clone();
    let mut told = Told { show_keys: args.show_keys, raced: raced_file(file), ..Told::default() };
    let (mut part, mut bytes) = (Vec::new(), 0);
    while let Some(line) = lines.next()? {
        if !selection.takes(&line) {
            continue;
        }
        let size = serde_json::to_string(&line).map_or(0, |text| text.len());
        if part.len() >= LINES || (bytes + size > BYTES && !part.is_empty()) {
            told.add(&part, send(&client, &export, policy, &part).await.map_err(|e| told.broken(e))?);
            (part, bytes) = (Vec::new(), 0);
        }
        bytes += size;
        part.push(line);
    }
    if !part.is_empty() {
        told.add(&part, send(&client, &export, policy, &part).await.map_err(|e| told.broken(e))?);
    }
    Ok(told.say())
}

/// Beside the list: `lost.jsonl.raced`.
fn raced_file(list: &Path) -> PathBuf {
    let mut name = list.as_os_str().to_owned();
    name.push(".raced");
    name.into()
}

/// How many lines are meant, and which of the named keys are there.
fn count(file: &Path, selection: &Selection<'_>) -> Result<(u64, BTreeSet<String>), Failure> {
    let mut lines = Read::open(file)?;
    let (mut chosen, mut seen) = (0, BTreeSet::new());
    while let Some(line) = lines.next()? {
        if selection.keys.contains(line.id.as_str()) {
            seen.insert(line.id.clone());
        }
        chosen += u64::from(selection.takes(&line));
    }
    Ok((chosen, seen))
}

/// Sends until there is an answer: applying again is safe.
async fn send(client: &Client, export: &str, policy: Policy, lines: &[KeyLine]) -> Result<Vec<Outcome>, Failure> {
    let apply = Apply { export: export.to_owned(), policy, lines: lines.to_vec() };
    let body = serde_json::to_value(&apply)
        .map_err(|e| Failure::new(format!("the lines cannot be written as JSON: {e}"), "this is a bug"))?;
    let clock = SystemClock::shared();
    for attempt in 0.. {
        match client.post::<Answer>("/v1/salvage/apply", &SystemIds.id(), &body).await {
            Err(failure) if failure.again && attempt + 1 < TRIES => {
                complain(&format!("{failure}; trying again"));
                clock.sleep(Duration::from_millis(500 << attempt)).await;
            }
            Ok(answer) if answer.outcomes.len() == lines.len() => return Ok(answer.outcomes),
            Ok(_) => return Err(Failure::new("the daemon did not answer for every key", "are both the same version?")),
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::new("the daemon does not answer", "apply again"))
}

/// What became of the keys so far.
#[derive(Default)]
struct Told {
    show_keys: bool,
    /// Where images go that a race replaced: they are nowhere else.
    raced: PathBuf,
    counts: BTreeMap<OutcomeKind, u64>,
    /// The first that need a human, in words.
    left: Vec<String>,
    more: u64,
}

impl Told {
    fn add(&mut self, lines: &[KeyLine], outcomes: Vec<Outcome>) {
        for (line, one) in lines.iter().zip(outcomes) {
            *self.counts.entry(one.outcome).or_default() += 1;
            if matches!(one.outcome, OutcomeKind::Applied | OutcomeKind::Already) {
                continue;
            }
            if one.outcome == OutcomeKind::Raced {
                self.keep(line, one.detail.as_deref().unwrap_or("null"));
            }
            if self.left.len() >= SHOWN {
                self.more += 1;
                continue;
            }
            let name = if self.show_keys { line.key.to_string() } else { one.id.clone() };
            let detail = match one.outcome {
                OutcomeKind::Raced => format!(": what it replaced is kept in {}", self.raced.display()),
                _ => one.detail.map_or_else(String::new, |detail| format!(": {detail}")),
            };
            self.left.push(format!("  {} {name} {}{detail}\n", one.store, one.outcome.label()));
        }
    }

    fn keep(&self, line: &KeyLine, replaced: &str) {
        let text = format!("{{\"store\":\"{}\",\"key\":{},\"replaced\":{replaced}}}\n", line.store, line.key);
        let mut options = std::fs::File::options();
        let opened = options.create(true).append(true).mode(0o600).open(&self.raced);
        if let Err(error) = opened.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all())) {
            complain(&format!("error: {}: {error}; what was replaced: {text}", self.raced.display()));
        }
    }

    fn text(&self) -> String {
        let counts: Vec<String> = self.counts.iter().map(|(kind, n)| format!("{n} {}", kind.label())).collect();
        let mut text =
            if counts.is_empty() { "no key was meant\n".to_owned() } else { format!("{}\n", counts.join(", ")) };
        text.extend(self.left.iter().map(String::as_str));
        if self.more > 0 {
            text += &format!("  and {} more\n", self.more);
        }
        text
    }

    /// A failure in the middle: what was done until then is said first.
    fn broken(&self, failure: Failure) -> Failure {
        print(&self.text());
        let hint = failure.hint.unwrap_or_default();
        Failure { hint: Some(format!("{hint}; apply the same file again, what is done is not done twice")), ..failure }
    }

    fn say(&self) -> ExitCode {
        print(&self.text());
        let of = |kind| self.counts.get(&kind).copied().unwrap_or_default();
        if of(OutcomeKind::Failed) + of(OutcomeKind::Refused) + of(OutcomeKind::Raced) > 0 {
            ExitCode::FAILURE
        } else if of(OutcomeKind::Changed) + of(OutcomeKind::Kept) > 0 {
            ExitCode::from(3)
        } else {
            ExitCode::SUCCESS
        }
    }
}
