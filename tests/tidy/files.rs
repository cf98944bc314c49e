//! Rules about single files: their head, length and name, words that may not stay, and where things come from.

use crate::tree::{Tree, Violation, has_word};

/// Lines of a Rust file, at most: what is longer has two nouns in it.
const MOST_LINES: usize = 500;

/// Names that say nothing about what is inside, and so collect everything.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "manager", "service", "engine", "misc", "shared"];

/// This test names what it forbids.
const SELF: &str = "tests/tidy/";

/// A module doc first, and not too long.
pub(crate) fn heads_and_lengths(tree: &Tree, found: &mut Vec<Violation>) {
    for (path, text) in tree.matching("", ".rs") {
        if !text.starts_with("//! ") {
            let what = "the file must begin with a //! doc: its purpose, its invariants, what it does not do";
            found.push(Violation { path: path.into(), line: 1, what: what.into() });
        }
        let lines = text.lines().count();
        if lines > MOST_LINES {
            let what = format!("{lines} lines; split it by noun into files of at most {MOST_LINES}");
            found.push(Violation { path: path.into(), line: MOST_LINES + 1, what });
        }
    }
}

/// The folder list is the design: no file or folder of code is called something empty.
pub(crate) fn names(tree: &Tree, found: &mut Vec<Violation>) {
    for (path, _) in tree.matching("", ".rs") {
        let stem = path.trim_end_matches(".rs");
        if let Some(name) = stem.split('/').find(|part| EMPTY_NAMES.contains(part)) {
            let what = format!("{name:?} says nothing about what is inside; name it by its noun or verb");
            found.push(Violation { path: path.into(), line: 1, what });
        }
    }
}

/// What may not stay, what to do, and whether only what runs in production is meant.
const WORDS: &[(&str, &str, bool)] = &[
    ("todo!", "do it now, or refuse at the door with a reason", false),
    ("unimplemented!", "do it now, or refuse at the door with a reason", false),
    ("FIXME", "fix it, or write down in the docs that and why it is so", false),
    ("XXX", "fix it, or write down in the docs that and why it is so", false),
    ("TODO", "do it, or write down in the docs that and why it is not done", false),
    ("#[ignore", "a test that is not run proves nothing: run it or delete it", false),
    (".unwrap()", "say why it cannot fail: .expect(\"the reason\")", true),
    ("ShardIteratorType::Latest", "LATEST loses what comes between two reads (DS-6): begin at a sequence number", true),
];

/// No word that may not stay.
pub(crate) fn words(tree: &Tree, found: &mut Vec<Violation>) {
    for (path, lines) in tree.rust("").filter(|(path, _)| !path.starts_with(SELF)) {
        for line in lines {
            for (word, what, production) in WORDS {
                if !(*production && line.test) && has_word(line.text, word) {
                    let what = format!("{word}: {what}");
                    found.push(Violation { path: path.into(), line: line.number, what });
                }
            }
        }
        // Comments are no code, but these words are of comments.
        for (at, text) in tree.text(path).lines().enumerate().filter(|(_, text)| text.trim_start().starts_with("//")) {
            if let Some((word, what, _)) = WORDS.iter().take(5).find(|(word, ..)| has_word(text, word)) {
                found.push(Violation { path: path.into(), line: at + 1, what: format!("{word}: {what}") });
            }
        }
    }
}

/// The beginnings of paths that exist on one machine only.
const HOMES: &[&str] = &["/root/", "/home/", "/Users/"];

/// Files that may name such a path: path, pattern, reason. Stale ones are violations.
const HOME_EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// No text names a path of somebody's machine.
pub(crate) fn foreign_paths(tree: &Tree, found: &mut Vec<Violation>) {
    let mut used = vec![false; HOME_EXCEPTIONS.len()];
    for (path, text) in tree.files.iter().filter(|(path, _)| !path.starts_with(SELF)) {
        for (at, line) in text.lines().enumerate() {
            for home in HOMES {
                // A part of a longer path or of an address is no path of its own.
                let starts = |(at, _): (usize, &str)| {
                    let before = line.split_at(at).0;
                    !before.ends_with(|c: char| c.is_alphanumeric() || "._-~}/".contains(c))
                };
                if !line.match_indices(home).any(starts) {
                    continue;
                }
                match HOME_EXCEPTIONS.iter().position(|(file, allowed, _)| file == path && allowed == home) {
                    Some(exception) => used[exception] = true,
                    None => {
                        let what = format!("{home} is on one machine only; make it relative, or a setting");
                        found.push(Violation { path: path.clone(), line: at + 1, what });
                    }
                }
            }
        }
    }
    for ((path, home, _), _) in HOME_EXCEPTIONS.iter().zip(used).filter(|(_, used)| !used) {
        let what = format!("the exception for {home} in HOME_EXCEPTIONS (tests/tidy/files.rs) is stale; delete it");
        found.push(Violation { path: (*path).into(), line: 1, what });
    }
}

/// Dependencies come from the registry: a git revision can vanish, a patch hides what is built.
pub(crate) fn sources(tree: &Tree, found: &mut Vec<Violation>) {
    let manifests = tree.matching("", "Cargo.toml").chain(tree.matching("", "Cargo.lock"));
    for (path, text) in manifests {
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.contains("git = \"") || line.contains("\"git+") || line.starts_with("[patch") {
                let what = "a dependency that is not from the registry; use a released version";
                found.push(Violation { path: path.into(), line: at + 1, what: what.into() });
            }
        }
    }
}
