//! What the demo shows: short, aligned, at most 100 columns.
//!
//! On a terminal the status is one table that is redrawn in place; elsewhere it is a line every few seconds and at every
//! change of a state. Colours only on a terminal and without `NO_COLOR`. A reader that goes away ends no demo.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::scene::Scene;
use super::verdict::{Report, Row};
use crate::daemon::Status;

/// How often the status is asked for.
pub(super) const PERIOD: Duration = Duration::from_millis(250);

/// How often it is written where it cannot be redrawn.
const PLAIN_PERIOD: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

#[derive(Debug)]
pub(super) struct Screen {
    terminal: bool,
    colour: bool,
    start: Instant,
    /// Lines of the table that is on the terminal now.
    drawn: usize,
    /// When a plain line was last written, and the states that it showed.
    last_plain: Option<(Instant, Vec<String>)>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { terminal, colour, start: Instant::now(), drawn: 0, last_plain: None }
    }

    pub(super) fn title(&mut self, seed: u64) {
        let title = self.paint(Ink::Bold, "Plimsoll: lose a region, and know beforehand what is lost");
        let seed = self.paint(Ink::Dim, &format!("(seed {seed})"));
        self.line(&format!("{title}  {seed}"));
    }

    pub(super) fn scene(&mut self, scene: &Scene) {
        self.line("");
        for (region, role) in [(&scene.x, "the primary; it will die"), (&scene.y, "the standby; Plimsoll runs here")] {
            let endpoint = region.endpoint();
            self.line(&format!("  {:<10} {:<10} {:<24} {role}", region.name(), endpoint.region, endpoint.url));
        }
        self.line(&format!("  {:<10} {:<10} {:<24} status, metrics, promote", "plimsoll", "", scene.home.url()));
        let words = [
            "a steady stream of small items",
            "bursts, with many deletes and re-creations",
            "few changes, up to 300 KB each",
        ];
        for (traffic, words) in scene.traffics.iter().zip(words) {
            let rate = format!("{} changes/s", traffic.rate);
            self.line(&format!("  {:<10} {:<10} {rate:<24} {words}", traffic.table.name, "table"));
        }
        self.line("");
    }

    /// The status now. `title` says what is being waited for.
    pub(super) fn live(&mut self, status: &Status, committed: &[(&str, usize)], title: &str) {
        if self.terminal {
            self.redraw(status, committed, title);
        } else {
            self.plain(status, committed);
        }
    }

    /// Leaves the table where it is and goes on below it.
    pub(super) fn settle(&mut self) {
        if self.drawn > 0 {
            self.drawn = 0;
            self.line("");
        }
        self.last_plain = None;
    }

    pub(super) fn say(&mut self, text: &str) {
        self.line(text);
    }

    pub(super) fn note(&mut self, text: &str) {
        self.settle();
        let text = self.paint(Ink::Dim, text);
        self.line(&text);
    }

    pub(super) fn alarm(&mut self, text: &str) {
        let text = self.paint(Ink::Red, text);
        self.line(&text);
    }

    /// The prediction: what was served after the kill.
    pub(super) fn cutoffs(&mut self, served: &Status, scene: &Scene, killed_at: SystemTime) {
        self.line("Plimsoll, asked after the kill, predicts:");
        for traffic in &scene.traffics {
            let id = &traffic.table.name;
            let said = match served.watermark(id) {
                Some(watermark) => {
                    let loss = seconds(killed_at.duration_since(watermark).unwrap_or_default());
                    format!("changes after {} may be lost: at most the last {loss}", clock(watermark))
                }
                None => "nothing: it has no watermark".into(),
            };
            self.line(&format!("  {id:<10} {said}"));
        }
        self.line("");
    }

    /// The one call, as it would be typed.
    pub(super) fn command(&mut self, args: &[String]) {
        let shell = |arg: &String| if arg.contains(' ') { format!("'{arg}'") } else { arg.clone() };
        let mut words: Vec<String> = Vec::new();
        for arg in args {
            match words.last_mut() {
                // A flag and its value stay on one line.
                Some(flag) if flag.starts_with("--") && !flag.contains(' ') && !arg.starts_with("--") => {
                    flag.push(' ');
                    flag.push_str(&shell(arg));
                }
                _ => words.push(shell(arg)),
            }
        }
        let mut lines = vec!["$ plimsoll".to_owned()];
        for word in words {
            match lines.last_mut() {
                Some(line) if line.chars().count() + word.chars().count() < 90 => {
                    line.push(' ');
                    line.push_str(&word);
                }
                _ => lines.push(format!("    {word}")),
            }
        }
        let command = self.paint(Ink::Bold, &lines.join(" \\\n"));
        self.line(&command);
    }

    /// Shows the new lines of what a command writes: as they come, and at the end (`ended`) what is left.
    pub(super) fn quote(&mut self, quote: &mut Quote, ended: bool) {
        for line in quote.news(ended) {
            for (at, part) in wrapped(&line).iter().enumerate() {
                let line = self.paint(Ink::Dim, &format!("  | {}{part}", if at > 0 { "    " } else { "" }));
                self.line(&line);
            }
        }
    }

    pub(super) fn verdict(&mut self, report: &Report, file: &Path) {
        self.line("");
        self.line("The standby against the ledger of every change that was committed in prodX:");
        let head = ["store", "predicted loss", "actual loss", "lost", "committed", "sound"];
        let head = self.paint(Ink::Dim, &row_of(&head.map(str::to_owned)));
        self.line(&head);
        for row in &report.stores {
            let text = row_of(&cells(row));
            let text = self.paint(if row.sound { Ink::Green } else { Ink::Red }, &text);
            self.line(&text);
        }
        for row in &report.stores {
            for objection in &row.objections {
                let text = self.paint(Ink::Red, &format!("  {}: {objection}", row.id));
                self.line(&text);
            }
        }
        self.line("");
        let rto = seconds(Duration::from_secs_f64(report.rto_seconds));
        self.line(&format!("RTO {rto}, from the call to its end ({}). Report: {}", report.promotion, file.display()));
        let verdict = if report.pass {
            self.paint(Ink::Green, "PASS  no store lost more than Plimsoll had said")
        } else if report.promotion == "completed" {
            self.paint(Ink::Red, "FAIL  a prediction was wrong")
        } else {
            self.paint(Ink::Red, &format!("FAIL  the promotion was not completed: {}", report.promotion))
        };
        self.line(&verdict);
    }

    fn redraw(&mut self, status: &Status, committed: &[(&str, usize)], title: &str) {
        let mut lines = vec![self.paint(Ink::Dim, &format!("  {title}"))];
        let head = format!(
            "  {:<10} {:<9} {:>12} {:>10} {:>9} {:>11}",
            "store", "state", "RPO now", "allowed", "waiting", "committed"
        );
        lines.push(self.paint(Ink::Dim, &head));
        for (id, count) in committed {
            let store = status.store(id).unwrap_or(&Value::Null);
            let state = self.paint(ink_of(status.state(id)), &format!("{:<9}", status.state(id)));
            let allowed = number(store, "objective_seconds").map_or("-".into(), seconds_f64);
            let waiting = store.pointer("/backlog/items").and_then(Value::as_u64).map_or("-".into(), |n| n.to_string());
            lines.push(format!(
                "  {id:<10} {state} {:>12} {allowed:>10} {waiting:>9} {:>11}",
                rpo(store),
                grouped(*count)
            ));
        }
        let up = if self.drawn > 0 { format!("\x1b[{}A\r\x1b[J", self.drawn) } else { String::new() };
        self.drawn = lines.len();
        self.write(&format!("{up}{}\n", lines.join("\n")));
    }

    fn plain(&mut self, status: &Status, committed: &[(&str, usize)]) {
        let states: Vec<String> = committed.iter().map(|(id, _)| status.state(id).to_owned()).collect();
        if let Some((at, shown)) = &self.last_plain
            && at.elapsed() < PLAIN_PERIOD
            && *shown == states
        {
            return;
        }
        let parts: Vec<String> = committed
            .iter()
            .zip(&states)
            .map(|((id, _), state)| {
                format!("{:<26}", format!("{id} {state} {}", rpo(status.store(id).unwrap_or(&Value::Null))))
            })
            .collect();
        self.line(
            format!("  {:>5}  {}", format!("{:.0} s", self.start.elapsed().as_secs_f64()), parts.join(" ")).trim_end(),
        );
        self.last_plain = Some((Instant::now(), states));
    }

    fn paint(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Green => "32",
            Ink::Yellow => "33",
            Ink::Red => "1;31",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Nothing can be done about an output that is gone, and the regions must still be stopped in order: go on silently.
    fn write(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    }
}

/// The output of a command, read while it grows.
#[derive(Debug)]
pub(super) struct Quote<'a> {
    path: &'a Path,
    shown: usize,
    /// Nothing is shown after the first empty line: the events are the story, the report after them repeats it.
    only_first_part: bool,
    muted: bool,
}

impl<'a> Quote<'a> {
    /// All that the file holds and gets.
    pub(super) fn whole(path: &'a Path) -> Self {
        Self { path, shown: 0, only_first_part: false, muted: false }
    }

    /// What stands before the first empty line.
    pub(super) fn first_part(path: &'a Path) -> Self {
        Self { only_first_part: true, ..Self::whole(path) }
    }

    fn news(&mut self, ended: bool) -> Vec<String> {
        let bytes = std::fs::read(self.path).unwrap_or_default();
        let new = bytes.get(self.shown..).unwrap_or_default();
        let whole_lines = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let new = new.get(..if ended { new.len() } else { whole_lines }).unwrap_or_default();
        self.shown += new.len();
        let mut lines = Vec::new();
        for line in String::from_utf8_lossy(new).lines() {
            self.muted |= self.only_first_part && line.trim().is_empty();
            if !self.muted {
                lines.push(line.to_owned());
            }
        }
        lines
    }
}

/// A line in parts of at most 92 characters, cut between words.
fn wrapped(line: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match parts.last_mut() {
            Some(part) if part.chars().count() + word.chars().count() < 92 => {
                part.push(' ');
                part.push_str(word);
            }
            _ => parts.push(word.to_owned()),
        }
    }
    parts
}

fn cells(row: &Row) -> [String; 6] {
    [
        row.id.clone(),
        row.predicted_loss_seconds.map_or("none".into(), |s| format!("{s:.3} s")),
        format!("{:.3} s", row.actual_loss_seconds),
        grouped(row.lost_changes),
        grouped(row.committed_changes),
        if row.sound { "yes".into() } else { "NO".into() },
    ]
}

fn row_of([id, predicted, actual, lost, committed, sound]: &[String; 6]) -> String {
    format!("  {id:<10} {predicted:>15} {actual:>13} {lost:>8} {committed:>11} {sound:>7}")
}

fn ink_of(state: &str) -> Ink {
    match state {
        "ok" => Ink::Green,
        "gap" | "fenced" => Ink::Red,
        _ => Ink::Yellow,
    }
}

/// The number of an `ok` store; the growing bound of any other.
fn rpo(store: &Value) -> String {
    match (number(store, "rpo_seconds"), number(store, "rpo_upper_bound_seconds")) {
        (Some(rpo), _) => seconds_f64(rpo),
        (None, Some(bound)) => format!("<= {}", seconds_f64(bound)),
        (None, None) => "-".into(),
    }
}

fn number(store: &Value, name: &str) -> Option<f64> {
    store.get(name).and_then(Value::as_f64)
}

fn seconds_f64(value: f64) -> String {
    if value < 100.0 && value.fract() != 0.0 { format!("{value:.1} s") } else { format!("{value:.0} s") }
}

/// A duration in seconds, as people read it.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The time of day of an instant, in UTC, to the millisecond.
pub(super) fn clock(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_millis(at).to_string();
    text.split_once('T').map_or(text.clone(), |(_, time)| time.to_owned())
}

/// A count with separators.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_is_quoted_as_it_writes_and_until_its_first_empty_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut quote = Quote::first_part(&path);
        let mut write = |text: &str, ended| {
            let mut file = std::fs::File::options().create(true).append(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            quote.news(ended)
        };
        assert_eq!(write("one\ntw", false), ["one"]);
        assert_eq!(write("o\n", false), ["two"]);
        assert_eq!(write("three\n\nthe report\n", false), ["three"]);
        assert_eq!(write("its end", true), [""; 0]);
        assert_eq!(Quote::whole(&path).news(true).len(), 6);
        assert_eq!(wrapped(&"word ".repeat(40)).len(), 3);
        assert_eq!(wrapped("  two  spaces"), ["  two  spaces"]);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(["0", "999", "1,000", "1,234,567"].map(str::to_owned), [0, 999, 1000, 1_234_567].map(grouped));
        assert_eq!(seconds_f64(1.26), "1.3 s");
        assert_eq!(seconds_f64(30.0), "30 s");
        assert_eq!(rpo(&json!({"rpo_seconds": 2.04, "rpo_upper_bound_seconds": 2.04})), "2.0 s");
        assert_eq!(rpo(&json!({"rpo_seconds": null, "rpo_upper_bound_seconds": 7.5})), "<= 7.5 s");
        assert_eq!(rpo(&json!({})), "-");
        assert_eq!(clock(SystemTime::UNIX_EPOCH + Duration::from_millis(3_723_004)), "01:02:03.004Z");
    }
}
