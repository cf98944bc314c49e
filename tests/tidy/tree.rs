//! The tree of the repository in memory, so that a rule can be shown a tree that breaks it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Text files by path from the root, with `/` between the parts.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, String>,
}

/// What is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl Tree {
    /// Reads everything below a folder but what git and cargo keep there. Files that are no text are left out.
    pub(crate) fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("the tree can be read") {
                let entry = entry.expect("the tree can be read");
                let path = entry.path();
                if entry.file_name() == ".git" {
                    continue;
                }
                if entry.file_type().expect("the tree can be read").is_dir() {
                    // Cargo marks its target folder so, wherever it is.
                    if !path.join("CACHEDIR.TAG").exists() {
                        folders.push(path);
                    }
                } else if let Ok(text) = std::fs::read_to_string(&path) {
                    let parts: Vec<_> = path.strip_prefix(root).expect("it is below the root").iter().collect();
                    tree.files.insert(parts.join("/".as_ref()).to_string_lossy().into_owned(), text);
                }
            }
        }
        tree
    }

    /// The text of a file; empty when there is none.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    /// The files whose path begins and ends so.
    pub(crate) fn matching<'a>(&'a self, start: &'a str, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(move |(path, _)| path.starts_with(start) && path.ends_with(end))
    }

    /// The Rust files below a folder, with their lines of code (see [`code`]).
    pub(crate) fn rust<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, Vec<Line<'a>>)> {
        self.matching(start, ".rs").map(|(path, text)| (path, code(path, text)))
    }
}

/// A line of code.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) text: &'a str,
    /// Compiled for tests only.
    pub(crate) test: bool,
    /// Inside of a `mod name { .. }` of the file.
    pub(crate) nested: bool,
}

/// The lines of a file without those that are only comment. The tree is formatted, so an inline module begins and ends
/// in the first column.
pub(crate) fn code<'a>(path: &str, text: &'a str) -> Vec<Line<'a>> {
    let tests = is_test(path);
    let (mut marked, mut nested, mut test) = (false, false, tests);
    let mut lines = Vec::new();
    for (at, text) in text.lines().enumerate() {
        if text.starts_with('}') {
            (nested, test) = (false, tests);
        }
        let module = text.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        if module.starts_with("mod ") && text.ends_with('{') {
            (nested, test) = (true, tests || marked);
        }
        marked = text == "#[cfg(test)]";
        if !text.trim_start().starts_with("//") {
            lines.push(Line { number: at + 1, text, test, nested });
        }
    }
    lines
}

/// A file that is compiled for tests only, by its name.
fn is_test(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    !path.starts_with("src/")
        || path.contains("/tests/")
        || path.contains("/testing/")
        || matches!(file, "tests.rs" | "testing.rs")
        || file.ends_with("_tests.rs")
}

/// Where in a text a word stands: not as a part of a longer one.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let after = rest.strip_prefix(word).unwrap_or_default();
        let longer_before = word.starts_with(part) && before.ends_with(part);
        let longer_after = word.ends_with(part) && after.starts_with(part);
        !longer_before && !longer_after
    })
}
