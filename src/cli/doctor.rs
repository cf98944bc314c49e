//! `plimsoll doctor`: is everything as a recovery needs it? Offline what the configuration tells; with `--online` what the
//! two regions answer. It only reads.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;

use super::check;
use super::print;
use crate::aws::Aws;
use crate::change::Severity;
use crate::config::Checked;
use crate::doctor::dry::{self, Told};
use crate::doctor::policies::policies;
use crate::seams::SystemClock;
use crate::stores::Look;

pub(super) const EXAMPLE: &str = "Example:\n  plimsoll doctor -c plimsoll.toml --online\n  \
    plimsoll doctor -c plimsoll.toml --online --json | jq '.findings[] | select(.severity == \"problem\")'\n  \
    plimsoll doctor -c plimsoll.toml --policies\n\n\
    Exit codes: 0 no problem, 1 problems found, 78 the configuration is refused.";

/// Stores at one time.
const CONCURRENT: usize = 8;
/// A line is no longer, except for a command that must stay in one.
const WIDTH: usize = 100;

/// What `plimsoll doctor` takes.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    file: super::ConfigFile,
    /// Asks both regions, with the credentials of this machine; reads only
    #[arg(long)]
    online: bool,
    /// Prints the findings as JSON, the good ones and the policies too
    #[arg(long)]
    json: bool,
    /// Prints the IAM policies that the configured stores need, and nothing else
    #[arg(long, conflicts_with = "json")]
    policies: bool,
}

pub(super) async fn run(args: &DoctorArgs) -> ExitCode {
    let checked = match crate::config::load(&args.file.config) {
        Ok(checked) => checked,
        Err(problems) => return check::refuse(&problems, &args.file.config),
    };
    if args.policies {
        let all = serde_json::to_string_pretty(&policies(&checked.config)).expect("plain data");
        return print(&(all + "\n"));
    }
    let mut told = dry::findings(&checked);
    if args.online {
        told.extend(ask(&checked).await);
    }
    let report = Report::new(&checked, args.online, told);
    let failed = report.problems > 0;
    let text = match args.json {
        true => serde_json::to_string_pretty(&report.with_policies(&checked)).expect("plain data") + "\n",
        false => report.text(),
    };
    let printed = print(&text);
    if failed { ExitCode::FAILURE } else { printed }
}

/// Examines every store that can be.
async fn ask(checked: &Checked) -> Vec<Told> {
    let config = &checked.config;
    let clock = SystemClock::shared();
    let on_request: crate::aws::OnRequest = Arc::new(|_, _, _| {});
    let aws = Aws::open(&config.primary, &config.standby, &clock, &on_request).await;
    let opened: Vec<_> = config.stores.iter().map(|store| store.settings.open(&store.id, &aws)).collect();
    let looks = opened.into_iter().map(|store| async move {
        let found = match store.examine() {
            Some(examine) => examine.examine(Look { known: None, probe: true }).await,
            None => Vec::new(),
        };
        let name = store.id().to_string();
        found.into_iter().map(move |finding| Told { store: Some(name.clone()), finding }).collect::<Vec<_>>()
    });
    // Made before they are awaited: a closure held over an await is not `Send` for every lifetime.
    let looks: Vec<_> = looks.collect();
    stream::iter(looks).buffered(CONCURRENT).collect::<Vec<_>>().await.concat()
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    app: String,
    online: bool,
    problems: usize,
    warnings: usize,
    notes: usize,
    findings: Vec<Told>,
}

impl Report {
    fn new(checked: &Checked, online: bool, mut findings: Vec<Told>) -> Self {
        findings.sort_by_key(|t| std::cmp::Reverse(t.finding.severity));
        let count = |severity| findings.iter().filter(|t| t.finding.severity == severity).count();
        Self {
            app: checked.config.app.clone(),
            online,
            problems: count(Severity::Problem),
            warnings: count(Severity::Warning),
            notes: count(Severity::Note),
            findings,
        }
    }

    fn with_policies(&self, checked: &Checked) -> serde_json::Value {
        let mut value = serde_json::to_value(self).expect("plain data");
        value["policies"] = serde_json::to_value(policies(&checked.config)).expect("plain data");
        value
    }

    /// The worst first, each with what to do; of what is in order one line a store.
    fn text(&self) -> String {
        let bad = || self.findings.iter().filter(|t| t.finding.severity != Severity::Ok);
        let store = |t: &Told| t.store.clone().unwrap_or_else(|| "-".into());
        let width = |heads: &str, cells: &mut dyn Iterator<Item = usize>| cells.chain([heads.len()]).max().unwrap_or(0);
        let of_store = width("STORE", &mut self.findings.iter().map(|t| store(t).chars().count()));
        let of_check = width("CHECK", &mut bad().map(|t| t.finding.check.len()));
        let mut text = String::new();
        if bad().next().is_some() {
            text += &format!("{:8}  {:of_store$}  {:of_check$}  FINDING\n", "SEVERITY", "STORE", "CHECK");
        }
        let indent = 8 + 2 + of_store + 2 + of_check + 2;
        for told in bad() {
            let f = &told.finding;
            let head = format!("{:8}  {:of_store$}  {:of_check$}  ", f.severity.label(), store(told), f.check);
            text += &wrap(&head, &format!("{}: {}", f.on, f.what), indent);
            if let Some(todo) = &f.todo {
                text += &wrap(&" ".repeat(indent), &format!("do: {todo}"), indent);
            }
            if let Some(command) = &f.command {
                // In one line, to be copied.
                text += &format!("    $ {command}\n");
            }
        }
        text += &self.good(&store);
        text += &self.last_line();
        text
    }

    fn good(&self, store: &dyn Fn(&Told) -> String) -> String {
        let mut stores: Vec<(String, Vec<&str>)> = Vec::new();
        for told in self.findings.iter().filter(|t| t.finding.severity == Severity::Ok) {
            let (name, check) = (store(told), told.finding.check);
            let worse =
                |t: &&Told| t.finding.severity != Severity::Ok && t.finding.check == check && t.store == told.store;
            if self.findings.iter().any(|t| worse(&t)) {
                continue;
            }
            match stores.iter_mut().find(|(known, _)| *known == name) {
                Some((_, checks)) if checks.contains(&check) => {}
                Some((_, checks)) => checks.push(check),
                None => stores.push((name, vec![check])),
            }
        }
        let width = stores.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(5);
        let line = |(name, checks): &(String, Vec<&str>)| {
            let head = format!("{:8}  {name:width$}  ", "ok");
            let indent = head.chars().count();
            wrap(&head, &checks.join(", "), indent)
        };
        stores.iter().map(line).collect()
    }

    fn last_line(&self) -> String {
        let counted = |n: usize, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
        let how = if self.online { "" } else { "; nobody was asked: --online asks both regions" };
        format!(
            "{}, {}, {}{how}\n",
            counted(self.problems, "problem"),
            counted(self.warnings, "warning"),
            counted(self.notes, "note")
        )
    }
}

/// Words behind a head, broken at the width and indented.
fn wrap(head: &str, text: &str, indent: usize) -> String {
    let (mut all, mut line) = (String::new(), head.to_owned());
    let mut fresh = true;
    for word in text.split_whitespace() {
        if !fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            all += line.trim_end();
            all.push('\n');
            line = " ".repeat(indent);
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line += word;
        fresh = false;
    }
    all + line.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Finding;

    fn told(severity: Severity, check: &'static str) -> Told {
        Told {
            store: Some("orders".into()),
            finding: Finding::new(severity, check, "standby table orders", "a sentence"),
        }
    }

    fn report(findings: Vec<Told>) -> Report {
        let text = "app = \"a\"\n[primary]\nregion = \"us-east-1\"\n[standby]\nregion = \"us-west-2\"\n[[store]]\n\
                    id = \"orders\"\nkind = \"dynamodb\"\nmode = \"replicate\"\ntable = \"orders\"\n";
        Report::new(&crate::config::read(text, "a").expect("a good configuration"), true, findings)
    }

    #[test]
    fn a_table_that_reads_well_in_100_columns() {
        let mut bad = told(Severity::Problem, "ttl");
        bad.finding.what =
            "TTL is on (expires_at): the standby deletes items on its own, and what the primary extended is gone"
                .into();
        bad.finding = bad.finding.to_do("switch it off (it takes up to an hour); a promotion enables it again");
        bad.finding = bad.finding.command("aws dynamodb update-time-to-live --region us-west-2 --table-name orders");
        let all = vec![
            told(Severity::Ok, "key_schema"),
            told(Severity::Ok, "ttl"),
            told(Severity::Note, "table_class"),
            told(Severity::Ok, "indexes"),
            bad,
        ];
        let wanted = "\
SEVERITY  STORE   CHECK        FINDING
problem   orders  ttl          standby table orders: TTL is on (expires_at): the standby deletes
                               items on its own, and what the primary extended is gone
                               do: switch it off (it takes up to an hour); a promotion enables it
                               again
    $ aws dynamodb update-time-to-live --region us-west-2 --table-name orders
note      orders  table_class  standby table orders: a sentence
ok        orders  key_schema, indexes
1 problem, 0 warnings, 1 note
";
        let text = report(all).text();
        assert_eq!(text, wanted);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn nothing_to_say_is_said() {
        assert_eq!(
            report(vec![told(Severity::Ok, "ttl")]).text(),
            "ok        orders  ttl\n0 problems, 0 warnings, 0 notes\n"
        );
    }
}
