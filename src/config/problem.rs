//! What is wrong with a configuration: where, which value, what, and what to write instead.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use toml::de::DeValue;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is accepted, and somebody should look.
    Warning,
}

/// One problem. Displayed on two lines: the sentence, and the place with the value as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// The key: `store "orders".table`, `store[2].id`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
    /// The name of the file.
    pub source: Arc<str>,
    /// The line, from 1; of the table when a key is missing.
    pub line: Option<usize>,
    /// The value as read, shortened; never one that holds a password.
    pub value: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        write!(f, "\n  --> {}", self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(value) = &self.value {
            write!(f, "  ({value})")?;
        }
        Ok(())
    }
}

/// Where problems are collected while one text is read.
pub(super) struct Sink {
    source: Arc<str>,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
}

impl Sink {
    pub(super) fn new(source: &str, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self {
            source: source.into(),
            line_starts: std::iter::once(0).chain(breaks).collect(),
            problems: RefCell::default(),
        }
    }

    /// The line that holds the byte, from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= byte)
    }

    pub(super) fn push(
        &self,
        severity: Severity,
        path: String,
        what: String,
        hint: Option<String>,
        line: Option<usize>,
        value: Option<String>,
    ) {
        let source = self.source.clone();
        self.problems.borrow_mut().push(Problem { severity, path, what, hint, source, line, value });
    }

    /// Everything found, in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|p| p.line.unwrap_or(usize::MAX));
        problems
    }
}

const SHOWN: usize = 60;

/// A text fit to be shown: quoted, shortened, and without what could be a password in a URL.
pub(super) fn show_text(text: &str) -> String {
    if text.contains("://") && text.contains('@') {
        return "not shown: it may hold a password".to_owned();
    }
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    format!("{:?}...", text.chars().take(SHOWN).collect::<String>())
}

/// A value fit to be shown.
pub(super) fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => show_text(text),
        DeValue::Integer(n) => shorten(&n.to_string()),
        DeValue::Float(n) => shorten(&n.to_string()),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(d) => d.to_string(),
        DeValue::Array(items) if items.len() == 1 => "a list of 1".to_owned(),
        DeValue::Array(items) => format!("a list of {}", items.len()),
        DeValue::Table(table) if table.len() == 1 => "a table with 1 key".to_owned(),
        DeValue::Table(table) => format!("a table with {} keys", table.len()),
    }
}

fn shorten(text: &str) -> String {
    if text.len() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN).chain("...".chars()).collect() }
}

/// The one of `known` that was probably meant: within two typing mistakes (one for short words).
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let folded = word.to_ascii_lowercase().replace('-', "_");
    known
        .map(|candidate| (distance(&folded, &candidate.replace('-', "_")), candidate))
        .filter(|(d, candidate)| *d <= (candidate.len() / 3).clamp(1, 3))
        .min_by_key(|(d, _)| *d)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_the_word_that_was_meant() {
        let known = ["table", "standby_table", "poll_min", "id", "kind"];
        for (typed, meant) in [
            ("tabel", Some("table")),
            ("Table", Some("table")),
            ("tables", Some("table")),
            ("standby-table", Some("standby_table")),
            ("stanbytable", Some("standby_table")),
            ("di", Some("id")),
            ("bucket", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known.into_iter()), meant, "{typed}");
        }
    }

    #[test]
    fn passwords_are_not_shown_and_long_values_are_cut() {
        assert!(!show_text("https://user:secret@host/").contains("secret"));
        assert!(show_text(&"x".repeat(1000)).len() < 80);
        assert_eq!(show_text("a\nb"), "\"a\\nb\"");
    }
}
