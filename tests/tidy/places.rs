//! What may be named in one place only: the edges of the process.

use crate::tree::{Tree, Violation, has_word};

/// Something that only some files of `src` may name.
struct Place {
    /// How it shows in the code.
    words: &'static [&'static str],
    /// Beginnings of the paths that may name it.
    only: &'static [&'static str],
    /// In production code only, or in unit tests as well?
    tests_too: bool,
    what: &'static str,
}

const PLACES: &[Place] = &[
    Place {
        words: &["rocksdb::"],
        only: &["src/watermark/rocks"],
        tests_too: true,
        what: "only src/watermark/rocks.rs knows the database; others use watermark::Index",
    },
    Place {
        words: &["aws_sdk_", "aws_config::"],
        only: &["src/aws.rs", "src/stores/", "src/promote/steps/", "src/announce/"],
        tests_too: true,
        what: "AWS is spoken to in aws.rs, stores/, promote/steps/ and announce/ only; keep the decision apart from the call",
    },
    Place {
        words: &["tokio::spawn", "tokio::task::spawn", "tokio::task::spawn_blocking", "std::thread", "thread::spawn"],
        only: &["src/supervise/"],
        tests_too: false,
        what: "only supervise spawns, so that every task has a kind, a policy and an end: supervise::Tasks",
    },
    Place {
        words: &["Authorized::new"],
        only: &["src/serve/auth.rs", "src/promote/journal.rs"],
        tests_too: false,
        what: "a caller is authorized by a token that serve/auth.rs compared, or by the journal; by nothing else",
    },
];

/// What may be named in one place only is.
pub(crate) fn one_place_only(tree: &Tree, found: &mut Vec<Violation>) {
    for (path, lines) in tree.rust("src/") {
        for place in PLACES.iter().filter(|place| !place.only.iter().any(|only| path.starts_with(only))) {
            for line in lines.iter().filter(|line| place.tests_too || !line.test) {
                if place.words.iter().any(|word| starts_word(line.text, word)) {
                    found.push(Violation { path: path.into(), line: line.number, what: place.what.into() });
                }
            }
        }
    }
}

/// As [`has_word`], but the word may go on: `aws_sdk_` begins many.
fn starts_word(text: &str, word: &str) -> bool {
    match word.strip_suffix('_') {
        Some(_) => text
            .match_indices(word)
            .any(|(at, _)| !text.split_at(at).0.ends_with(|c: char| c.is_alphanumeric() || c == '_')),
        None => has_word(text, word),
    }
}
