//! `plimsoll status`: the state of the application for a tired human, the worst store first.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::client::{Client, Connection};
use super::{complain, print};
use crate::change::SourceTime;
use crate::promote::When;
use crate::seams::SystemClock;
use crate::serve::coverage::Coverage;
use crate::serve::status::{Progress, Status, StoreStatus, clock, span};

pub(super) const EXAMPLE: &str =
    "Example:\n  plimsoll status --token-file ~/.plimsoll-token\n  plimsoll status --watch";

/// Between two looks of `--watch`.
const EVERY: Duration = Duration::from_secs(2);

/// What `plimsoll status` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct StatusArgs {
    /// The daemon.
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Prints what the daemon answers, as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Looks again every 2 s until it is interrupted
    #[arg(long)]
    pub(super) watch: bool,
}

/// Shows the status.
pub(super) async fn run(args: &StatusArgs) -> ExitCode {
    let client = match Client::new(&args.connection) {
        Ok(client) => client,
        Err(failure) => return complain(&format!("error: {failure}")),
    };
    let terminal = std::io::stdout().is_terminal();
    let look = Look { color: terminal && !no_color(), width: width() };
    if !args.watch {
        return match one(&client, args.json, look).await {
            Ok(text) => print(&text),
            Err(why) => complain(&format!("error: {why}")),
        };
    }
    let wait = SystemClock::shared();
    let mut last: Option<(String, crate::change::Stamp)> = None;
    loop {
        let text = match one(&client, args.json, look).await {
            Ok(text) => {
                last = Some((text.clone(), wait.now()));
                text
            }
            // The last table stays, and it says how old it is: a screen that hangs must not look alive.
            Err(why) => match &last {
                Some((text, at)) => format!("NO ANSWER for {}: {why}\n\n{text}", span(wait.now().since(*at))),
                None => format!("NO ANSWER: {why}\n"),
            },
        };
        if !draw(&text, terminal) {
            return ExitCode::SUCCESS;
        }
        wait.sleep(EVERY).await;
    }
}

async fn one(client: &Client, json: bool, look: Look) -> Result<String, String> {
    let told: serde_json::Value = client.get("/v1/status").await.map_err(|e| e.to_string())?;
    if json {
        return serde_json::to_string_pretty(&told).map(|text| text + "\n").map_err(|e| e.to_string());
    }
    let status: Status = serde_json::from_value(told)
        .map_err(|e| format!("{} answers, but not like this program's Plimsoll: {e}", client.url()))?;
    Ok(render(&status, SystemClock::shared().now().wall, look))
}

/// Draws over what is there on a terminal, and appends elsewhere. `false`: nobody reads any more.
fn draw(text: &str, terminal: bool) -> bool {
    let mut out = std::io::stdout().lock();
    let text = match terminal {
        // Each line is cleared to its end, then the rest of the screen: no flicker.
        true => format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")),
        false => format!("{text}\n"),
    };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

#[expect(clippy::disallowed_methods, reason = "it is the terminal's, not configuration")]
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "it is the terminal's, not configuration")]
fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    told.filter(|columns| (40..=400).contains(columns)).unwrap_or(80)
}

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// With the terminal's colours.
    pub(super) color: bool,
    /// Columns.
    pub(super) width: usize,
}

impl Look {
    fn paint(self, text: &str, code: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn breached(store: &StoreStatus) -> bool {
    store.rpo_upper_bound_seconds.is_none_or(|bound| bound > store.objective_seconds)
}

/// How bad: known loss, no number, no proof, too much, and then by the share of the objective that is used up.
fn badness(store: &StoreStatus) -> (u8, f64) {
    let used = store.rpo_upper_bound_seconds.map_or(f64::INFINITY, |bound| bound / store.objective_seconds.max(0.001));
    let class = match store.state.as_str() {
        "gap" => 5,
        "seeding" => 4,
        "unknown" => 3,
        _ if breached(store) => 2,
        "paused" => 1,
        _ => 0,
    };
    (class, used)
}

fn seconds(value: Option<f64>) -> String {
    let told = value.map(|s| span(Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX)));
    told.unwrap_or_else(|| "-".into())
}

/// The status as text.
pub(super) fn render(status: &Status, now: SourceTime, look: Look) -> String {
    let reach = match status.primary.reachable {
        Some(true) => "prodX answers".to_owned(),
        Some(false) => look.paint("prodX DOES NOT ANSWER", "1;31"),
        None => "prodX is not being asked".to_owned(),
    };
    let mut text = format!(
        "{}  {} -> {}  {}  {reach}\n",
        look.paint(&status.app, "1"),
        status.primary.region,
        status.standby.region,
        look.paint(&status.phase.to_uppercase(), if status.phase == "held" { "1;31" } else { "1" }),
    );
    let fenced = !status.stores.is_empty() && status.stores.iter().all(|s| s.state == "fenced");
    let none = if fenced { "measured no more: nothing flows from prodX" } else { "not known (a store has none)" };
    let rpo = status.rpo_seconds.map_or_else(|| none.into(), |_| seconds(status.rpo_seconds));
    let over = status.rpo_seconds.is_none_or(|rpo| rpo > status.rpo_objective_seconds);
    text += &format!(
        "RPO {}, objective {}; RTO objective {}{}\n\n",
        look.paint(&rpo, if over { "1;31" } else { "32" }),
        seconds(Some(status.rpo_objective_seconds)),
        seconds(Some(status.rto_objective_seconds)),
        status.skew_seconds.map_or_else(String::new, |_| format!("; skew {}", seconds(status.skew_seconds))),
    );
    let mut stores: Vec<&StoreStatus> = status.stores.iter().collect();
    stores.sort_by(|a, b| {
        let (a, b) = (badness(a), badness(b));
        b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    text += &table(&stores, now, look);
    text
}

const HEAD: [&str; 7] = ["STORE", "STATE", "RPO", "LOST AT MOST", "OBJECTIVE", "BACKLOG", "PARKED"];

/// One line of numbers per store, and beneath it what they mean.
fn table(stores: &[&StoreStatus], now: SourceTime, look: Look) -> String {
    let row = |s: &StoreStatus| {
        [
            s.id.clone(),
            s.state.clone(),
            seconds(s.rpo_seconds),
            seconds(s.rpo_upper_bound_seconds),
            seconds(Some(s.objective_seconds)),
            s.backlog.items.to_string(),
            s.failed_items.to_string(),
        ]
    };
    let rows: Vec<[String; 7]> = stores.iter().map(|s| row(s)).collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|i| rows.iter().map(|r| r[i].chars().count()).chain([HEAD[i].len()]).max().unwrap_or(0))
        .collect();
    // Names to the left, numbers to the right.
    let pad = |i: usize, cell: &str| {
        let fill = " ".repeat(widths[i].saturating_sub(cell.chars().count()));
        if i < 2 { format!("{cell}{fill}") } else { format!("{fill}{cell}") }
    };
    let head: Vec<String> = HEAD.iter().enumerate().map(|(i, h)| pad(i, h)).collect();
    let mut text = look.paint(head.join("  ").trim_end(), "2") + "\n";
    for (store, cells) in stores.iter().zip(&rows) {
        let paint = |i: usize, cell: &String| {
            let padded = pad(i, cell);
            match i {
                1 if store.state == "ok" => look.paint(&padded, "32"),
                1 if store.state != "fenced" => look.paint(&padded, "1;31"),
                3 if breached(store) => look.paint(&padded, "1;31"),
                6 if store.failed_items > 0 => look.paint(&padded, "1;31"),
                _ => padded,
            }
        };
        let line: Vec<String> = cells.iter().enumerate().map(|(i, cell)| paint(i, cell)).collect();
        text += line.join("  ").trim_end();
        text.push('\n');
        text += &wrap(&store.cutoff, look.width);
        if let Some(progress) = &store.last_progress {
            text += &wrap(&format!("last progress {}", since(progress, now)), look.width);
        }
        if let Some(coverage) = &store.coverage {
            text += &wrap(&coverage_words(coverage, now), look.width);
        }
        if let Some(progress) = &store.progress {
            text += &wrap(&progress_words(progress), look.width);
        }
        if let Some(note) = &store.note {
            text += &look.paint(&wrap(note, look.width), "33");
        }
    }
    text
}

/// An RFC 3339 instant as its time of day and its age.
fn since(text: &str, now: SourceTime) -> String {
    match When::parse(text) {
        Ok(When(at)) => format!("{} ({} ago)", clock(at, now), span(now.since(at))),
        Err(_) => text.to_owned(),
    }
}

/// `certified 02:00:11Z (3 h 5 min ago) by a walk of both ends; by its events 05:03:00Z (150 s ago), delivered within 120 s`.
fn coverage_words(coverage: &Coverage, now: SourceTime) -> String {
    let mut text = match &coverage.certified {
        Some(at) => format!("certified {} by a walk of both ends", since(at, now)),
        None => "not certified yet: no walk of both ends is complete".to_owned(),
    };
    if let Some(at) = &coverage.events {
        text += &format!("; by its events {}", since(at, now));
    }
    if let Some(delivery) = coverage.delivery_seconds {
        text += &format!(", delivered within {delivery} s");
    }
    text
}

/// `scan: 1200 of about 5000 items (24 %), about 3 min 10 s left`.
fn progress_words(progress: &Progress) -> String {
    let mut text = format!("{}: {}", progress.what, progress.done);
    if let Some(total) = progress.total.filter(|total| *total > 0) {
        text += &format!(" of about {total} items ({} %)", progress.done.saturating_mul(100) / total);
    } else {
        text += " items";
    }
    if let Some(left) = progress.eta_seconds {
        text += &format!(", about {} left", seconds(Some(left)));
    }
    text
}

/// Words, indented and broken at the width.
fn wrap(text: &str, width: usize) -> String {
    const INDENT: &str = "    ";
    let (mut all, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && INDENT.len() + line.chars().count() + 1 + word.chars().count() > width {
            all += &format!("{INDENT}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    all + &format!("{INDENT}{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::status::{Backlog, Primary, Standby};

    fn store(id: &str, state: &str, bound: Option<f64>) -> StoreStatus {
        StoreStatus {
            id: id.into(),
            kind: "dynamodb".into(),
            mode: "replicate".into(),
            state: state.into(),
            method: None,
            rpo_seconds: bound.filter(|_| state == "ok"),
            rpo_upper_bound_seconds: bound,
            objective_seconds: 30.0,
            watermark: None,
            backlog: Backlog { items: 7 },
            failed_items: 0,
            retention_headroom_seconds: None,
            last_progress: Some("2025-11-23T12:22:05Z".into()),
            cutoff: "changes after 12:22:04Z would be lost; last proof 1.0 s ago".into(),
            progress: None,
            verified: None,
            coverage: None,
            drift: Vec::new(),
            note: None,
        }
    }

    fn status(stores: Vec<StoreStatus>) -> Status {
        Status {
            app: "shop".into(),
            primary: Primary { region: "us-east-1".into(), reachable: Some(false) },
            standby: Standby { region: "us-west-2".into() },
            phase: "replicating".into(),
            rpo_seconds: None,
            rpo_objective_seconds: 60.0,
            rto_objective_seconds: 900.0,
            skew_seconds: None,
            stores,
        }
    }

    const NOW: SourceTime = SourceTime(1_763_900_527_000);

    #[test]
    fn after_the_fence_nobody_asks_for_a_number() {
        let text = render(&status(vec![store("orders", "fenced", None)]), NOW, Look { color: false, width: 80 });
        assert!(text.contains("RPO measured no more: nothing flows from prodX, objective"), "{text}");
    }

    #[test]
    fn a_table_for_a_tired_human() {
        let mut users = store("users", "seeding", None);
        users.note = Some(
            "seeding: what existed before the tail began is not proven to be in prodY, so there is no RPO yet".into(),
        );
        let text =
            render(&status(vec![store("orders", "ok", Some(3.02)), users]), NOW, Look { color: false, width: 80 });
        let wanted = "\
shop  us-east-1 -> us-west-2  REPLICATING  prodX DOES NOT ANSWER
RPO not known (a store has none), objective 60 s; RTO objective 15 min 0 s

STORE   STATE      RPO  LOST AT MOST  OBJECTIVE  BACKLOG  PARKED
users   seeding      -             -       30 s        7       0
    changes after 12:22:04Z would be lost; last proof 1.0 s ago
    last progress 12:22:05Z (2.0 s ago)
    seeding: what existed before the tail began is not proven to be in prodY, so
    there is no RPO yet
orders  ok       3.1 s         3.1 s       30 s        7       0
    changes after 12:22:04Z would be lost; last proof 1.0 s ago
    last progress 12:22:05Z (2.0 s ago)
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn the_worst_comes_first() {
        let stores = vec![
            store("calm", "ok", Some(1.0)),
            store("late", "ok", Some(40.0)),
            store("gone", "gap", Some(5.0)),
            store("busy", "ok", Some(20.0)),
            store("mute", "unknown", Some(90.0)),
            store("new", "seeding", None),
        ];
        let text = render(&status(stores), NOW, Look { color: false, width: 80 });
        let order: Vec<&str> =
            text.lines().filter(|l| l.contains(" 30 s ")).filter_map(|l| l.split(' ').next()).collect();
        assert_eq!(order, ["gone", "new", "mute", "late", "busy", "calm"]);
        let colored = render(&status(vec![store("gone", "gap", Some(5.0))]), NOW, Look { color: true, width: 80 });
        assert!(colored.contains("\x1b[1;31mgap"), "{colored}");
    }
}
