//! What a key of the configuration is: its name, what it takes, its default and its documentation, in one value.
//!
//! The reader and the generated document use the same [`Key`], so a default cannot be documented and not be true.

use std::time::Duration;

use super::duration;

/// One key of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What may stand behind it.
    pub takes: Takes,
    /// What happens without it.
    pub need: Need,
    /// As it stands in TOML behind `name = `: the default with [`Need::Default`], an example otherwise. Empty for tables.
    pub value: &'static str,
    /// For the operator: what it does, and what to know before changing it.
    pub doc: &'static str,
}

/// What may stand behind a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Takes {
    /// A text that is not empty.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A length of time, written like `"30s"`, within these bounds (written the same way).
    Duration {
        /// The shortest.
        min: &'static str,
        /// The longest.
        max: &'static str,
    },
    /// A whole number within these bounds.
    Integer {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// `true` or `false`.
    Flag,
    /// The path of a file or folder.
    Path,
    /// A list of texts.
    Texts,
    /// A table with these keys.
    Table(&'static [Key]),
    /// Tables, each with these keys.
    Tables(&'static [Key]),
}

/// What happens without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The configuration is refused.
    Required,
    /// Nothing: `doc` says what holds then.
    Optional,
    /// `value` holds.
    Default,
}

impl Key {
    /// A key that must be given.
    pub const fn required(name: &'static str, takes: Takes, example: &'static str, doc: &'static str) -> Self {
        Self { name, takes, need: Need::Required, value: example, doc }
    }

    /// A key that may be left out.
    pub const fn optional(name: &'static str, takes: Takes, example: &'static str, doc: &'static str) -> Self {
        Self { name, takes, need: Need::Optional, value: example, doc }
    }

    /// A key with a default.
    pub const fn default(name: &'static str, takes: Takes, value: &'static str, doc: &'static str) -> Self {
        Self { name, takes, need: Need::Default, value, doc }
    }

    /// A table.
    pub const fn table(name: &'static str, keys: &'static [Key], doc: &'static str) -> Self {
        Self { name, takes: Takes::Table(keys), need: Need::Optional, value: "", doc }
    }

    /// A list of tables.
    pub const fn tables(name: &'static str, keys: &'static [Key], doc: &'static str) -> Self {
        Self { name, takes: Takes::Tables(keys), need: Need::Optional, value: "", doc }
    }

    /// The default without its quotes.
    pub(super) fn default_text(&self) -> Option<&'static str> {
        (self.need == Need::Default).then(|| self.value.trim_matches('"'))
    }

    /// The default as a length of time.
    pub(super) fn default_duration(&self) -> Option<Duration> {
        self.default_text().and_then(|text| duration::parse(text).ok())
    }

    /// How the value is written, for hints: `write rpo = "30s"`.
    pub(crate) fn how(&self) -> String {
        match &self.takes {
            Takes::Table(_) => format!("write [{}] on a line of its own and its keys below", self.name),
            Takes::Tables(_) => {
                format!("write [[{}]] on a line of its own and its keys below, once for each", self.name)
            }
            _ => format!("write {} = {}", self.name, self.value),
        }
    }

    /// What it takes, for the documentation.
    pub fn takes_words(&self) -> String {
        match &self.takes {
            Takes::Text => "text".to_owned(),
            Takes::OneOf(words) => words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(" or "),
            Takes::Duration { min, max } => format!("a duration from \"{min}\" to \"{max}\""),
            Takes::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Takes::Flag => "true or false".to_owned(),
            Takes::Path => "a path".to_owned(),
            Takes::Texts => "a list of texts".to_owned(),
            Takes::Table(_) => "a table".to_owned(),
            Takes::Tables(_) => "a list of tables".to_owned(),
        }
    }
}
