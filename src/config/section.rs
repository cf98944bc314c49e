//! A reader over one table of the configuration.
//!
//! It goes on after a problem: what is wrong is collected, and the reading method gives the default, or nothing. A kind
//! of store reads its part of a `[[store]]` with it. Every key that is asked for is known; [`Section::finish`] reports
//! the others.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::key::{Key, Need, Takes};
use super::problem::{Severity, Sink, nearest, show};

/// A reader over one table.
pub struct Section<'a> {
    sink: &'a Sink,
    table: Option<&'a DeTable<'a>>,
    /// Before the index or the name: `promote.step`.
    prefix: String,
    path: String,
    line: Option<usize>,
    /// The table could not be read at all, which was said: its missing keys are no news.
    muted: bool,
    /// Something in this very table is wrong.
    failed: bool,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn root(sink: &'a Sink, table: &'a DeTable<'a>) -> Self {
        Self::new(sink, Some(table), String::new(), None)
    }

    fn new(sink: &'a Sink, table: Option<&'a DeTable<'a>>, path: String, line: Option<usize>) -> Self {
        Self { sink, table, prefix: path.clone(), path, line, muted: false, failed: false, asked: Vec::new() }
    }

    /// Calls the section by the operator's own name from here on: `store "orders"` instead of `store[2]`.
    pub(super) fn name(&mut self, name: &str) {
        self.path = format!("{} {name:?}", self.prefix);
    }

    /// The line of its header.
    pub(super) fn line(&self) -> Option<usize> {
        self.line
    }

    /// Whether the key is there, right or wrong.
    pub fn has(&self, key: &Key) -> bool {
        self.table.is_some_and(|table| table.contains_key(key.name))
    }

    /// The text behind a name that is read elsewhere, if it is one: nothing is reported.
    pub fn peek(&self, name: &str) -> Option<&'a str> {
        self.table?.get(name)?.get_ref().as_str()
    }

    /// A key that is known here and has no effect: said when it is given another value than its default.
    pub fn without_effect(&mut self, key: &'static Key, why: &str) {
        self.asked.push(key.name);
        let found = self.table.and_then(|table| table.get(key.name));
        if found.is_some_and(|value| key.need != Need::Default || show(value.get_ref()) != key.value) {
            self.warn(key, why, "remove it");
        }
    }

    /// Whether the key is absent or a list of tables, so that an empty list means that there is none.
    pub(super) fn lists(&self, key: &Key) -> bool {
        self.table.and_then(|table| table.get(key.name)).is_none_or(|value| value.get_ref().is_array())
    }

    /// The path of a key in this section.
    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn found(&mut self, key: &Key) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key.name);
        let found = self.table.and_then(|table| table.get(key.name));
        if found.is_none() && key.need == Need::Required && !self.muted {
            self.failed = true;
            let what = if self.line.is_none() && !self.path.is_empty() {
                format!("missing, and so is its table [{}]", self.path)
            } else {
                "missing".to_owned()
            };
            self.sink.push(Severity::Error, self.at(key.name), what, Some(key.how()), self.line, None);
        }
        found
    }

    fn mistyped<T>(&mut self, key: &Key, value: &DeValue<'_>) -> Option<T> {
        let is = match value.type_str() {
            word @ ("integer" | "array") => format!("an {word}"),
            word => format!("a {word}"),
        };
        self.problem(key, format!("{} is needed here, and this is {is}", needed(key)), key.how());
        None
    }

    /// Whether nothing in this very table was wrong so far.
    pub fn sound(&self) -> bool {
        !self.failed
    }

    /// Reports a problem with a key's value.
    pub fn problem(&mut self, key: &Key, what: impl Into<String>, hint: impl Into<String>) {
        self.failed = true;
        self.report(Severity::Error, key, what.into(), hint.into());
    }

    /// Reports something that works and should be looked at.
    pub fn warn(&mut self, key: &Key, what: impl Into<String>, hint: impl Into<String>) {
        self.report(Severity::Warning, key, what.into(), hint.into());
    }

    /// Reports a problem with the table as a whole.
    pub fn problem_here(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.failed = true;
        self.sink.push(Severity::Error, self.path.clone(), what.into(), Some(hint.into()), self.line, None);
    }

    fn report(&self, severity: Severity, key: &Key, what: String, hint: String) {
        let found = self.table.and_then(|table| table.get_key_value(key.name));
        let line = found.map(|(name, _)| self.sink.line(name.span().start)).or(self.line);
        let value = found.map(|(_, value)| show(value.get_ref()));
        self.sink.push(severity, self.at(key.name), what, Some(hint), line, value);
    }

    /// A text; `None` when it is absent without a default, or wrong. One of the words of [`Takes::OneOf`] if it takes these.
    pub fn text(&mut self, key: &'static Key) -> Option<String> {
        let default = || key.default_text().map(str::to_owned);
        let Some(found) = self.found(key) else { return default() };
        let Some(text) = found.get_ref().as_str() else { return self.mistyped(key, found.get_ref()).or_else(default) };
        if text.trim().is_empty() {
            self.problem(key, "empty", key.how());
            return default();
        }
        if let Takes::OneOf(words) = key.takes
            && !words.contains(&text)
        {
            let hint = match nearest(text, words.iter().copied()) {
                Some(word) => format!("did you mean {word:?}?"),
                None => format!("write {}", key.takes_words()),
            };
            self.problem(key, format!("unknown {}", key.name), hint);
            return default();
        }
        Some(text.to_owned())
    }

    /// A length of time; `None` when it is absent without a default, or wrong without a default.
    pub fn opt_duration(&mut self, key: &'static Key) -> Option<Duration> {
        let default = key.default_duration();
        let Some(found) = self.found(key) else { return default };
        match found.get_ref() {
            DeValue::String(text) => match duration::parse(text) {
                Ok(value) => self.bounded(key, value).or(default),
                Err(how) => {
                    self.problem(key, "not a duration", how);
                    default
                }
            },
            DeValue::Integer(n) => {
                let n = n.to_string();
                let example = if n.len() < 20 { format!("\"{n}s\" for seconds") } else { key.value.to_owned() };
                let hint = format!("a duration is a text with a unit: write {} = {example}", key.name);
                self.problem(key, "not a duration", hint);
                default
            }
            other => self.mistyped(key, other).or(default),
        }
    }

    fn bounded(&mut self, key: &Key, value: Duration) -> Option<Duration> {
        let Takes::Duration { min, max } = key.takes else { return Some(value) };
        if duration::parse(min).is_ok_and(|min| value < min) {
            self.problem(key, format!("shorter than \"{min}\""), format!("write {}", key.takes_words()));
            return None;
        }
        if duration::parse(max).is_ok_and(|max| value > max) {
            self.problem(key, format!("longer than \"{max}\""), format!("write {}", key.takes_words()));
            return None;
        }
        Some(value)
    }

    /// A length of time of a key that has a default.
    pub fn duration(&mut self, key: &'static Key) -> Duration {
        self.opt_duration(key).expect("keys read this way have a default that a test has parsed")
    }

    /// A whole number of a key that has a default; the default when it is wrong.
    pub fn integer(&mut self, key: &'static Key) -> u64 {
        let default = || key.value.parse().expect("keys read this way have a value that a test has parsed");
        let Some(found) = self.found(key) else { return default() };
        let Some(written) = found.get_ref().as_integer() else {
            return self.mistyped(key, found.get_ref()).unwrap_or_else(default);
        };
        let Takes::Integer { min, max } = key.takes else { return default() };
        match i128::from_str_radix(written.as_str(), written.radix()) {
            Ok(n) if (i128::from(min)..=i128::from(max)).contains(&n) => u64::try_from(n).unwrap_or(max),
            _ => {
                self.problem(key, "out of bounds", format!("write {}", key.takes_words()));
                default()
            }
        }
    }

    /// A whole number of a key without a default; `None` when it is absent.
    pub fn opt_integer(&mut self, key: &'static Key) -> Option<u64> {
        let given = self.has(key);
        let number = self.integer(key);
        given.then_some(number)
    }

    /// Yes or no, of a key that has a default.
    pub fn flag(&mut self, key: &'static Key) -> bool {
        let default = key.value == "true";
        let Some(found) = self.found(key) else { return default };
        match found.get_ref().as_bool() {
            Some(value) => value,
            None => self.mistyped(key, found.get_ref()).unwrap_or(default),
        }
    }

    /// A path.
    pub fn path(&mut self, key: &'static Key) -> Option<PathBuf> {
        let text = self.text(key)?;
        if text.contains('\0') {
            self.problem(key, "a path cannot hold a zero byte", key.how());
            return None;
        }
        Some(PathBuf::from(text))
    }

    /// A list of texts; `None` when it is absent or wrong.
    pub fn texts(&mut self, key: &'static Key) -> Option<Vec<String>> {
        let found = self.found(key)?;
        let Some(items) = found.get_ref().as_array() else { return self.mistyped(key, found.get_ref()) };
        let mut texts = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let Some(text) = item.get_ref().as_str() else {
                let what = format!("its item {at} is {}, and a text is needed", show(item.get_ref()));
                self.problem(key, what, key.how());
                return None;
            };
            texts.push(text.to_owned());
        }
        Some(texts)
    }

    /// A table; an empty one when it is absent.
    pub(super) fn table(&mut self, key: &'static Key) -> Section<'a> {
        let path = self.at(key.name);
        let Some(found) = self.found(key) else { return Section::new(self.sink, None, path, None) };
        let line = Some(self.sink.line(found.span().start));
        match found.get_ref().as_table() {
            Some(table) => Section::new(self.sink, Some(table), path, line),
            None => {
                let _: Option<()> = self.mistyped(key, found.get_ref());
                Section { muted: true, ..Section::new(self.sink, None, path, line) }
            }
        }
    }

    /// A list of tables.
    pub(super) fn tables(&mut self, key: &'static Key) -> Vec<Section<'a>> {
        let prefix = self.at(key.name);
        let Some(found) = self.found(key) else { return Vec::new() };
        let Some(items) = found.get_ref().as_array() else {
            self.mistyped::<()>(key, found.get_ref());
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let Some(table) = item.get_ref().as_table() else {
                let what = format!("its item {at} is {}, and a table is needed", show(item.get_ref()));
                self.problem(key, what, key.how());
                continue;
            };
            let line = Some(self.sink.line(item.span().start));
            let path = format!("{prefix}[{at}]");
            sections.push(Section { prefix: prefix.clone(), ..Section::new(self.sink, Some(table), path, line) });
        }
        sections
    }

    /// Reports every key that was never asked for.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for (name, value) in table.iter().filter(|(name, _)| !self.asked.contains(&name.get_ref().as_ref())) {
            let hint = match nearest(name.get_ref(), self.asked.iter().copied()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            let line = Some(self.sink.line(name.span().start));
            let path = self.at(&bare(name.get_ref()));
            let value = Some(show(value.get_ref()));
            self.sink.push(Severity::Error, path, "unknown key".to_owned(), Some(hint), line, value);
        }
    }
}

fn needed(key: &Key) -> &'static str {
    match key.takes {
        Takes::Text | Takes::OneOf(_) | Takes::Path => "a text",
        Takes::Duration { .. } => "a duration (a text like \"30s\")",
        Takes::Integer { .. } => "a whole number",
        Takes::Flag => "true or false",
        Takes::Texts => "a list of texts",
        Takes::Table(_) => "a table",
        Takes::Tables(_) => "a list of tables",
    }
}

/// A key as it can be shown: quoted unless it is plain, and never long.
fn bare(name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain && name.len() <= 60 { name.to_owned() } else { super::problem::show_text(name) }
}
