//! The house rules as a test: one pass over the tree, all violations at once, each with its place and what to do.
//!
//! What a rule allows beyond itself is a list of exceptions with reasons, and an exception that is no longer needed is a
//! violation too. Every rule is itself proved in [`trials`]: a change to the tree that breaks it must be noticed.
//!
//! Deliberately not here: what clippy can see (`clippy.toml`, `[workspace.lints]`), and whether the metrics used by
//! dashboards exist (`tests/it/metrics.rs` knows the catalogue).
#![allow(clippy::disallowed_macros, clippy::unwrap_used, reason = "tests print, and fail by panicking")]

mod durable;
mod files;
mod imports;
mod places;
mod registry;
mod tree;
mod trials;

use std::path::Path;

use tree::{Tree, Violation};

/// A rule: looks at the tree and tells what breaks it.
type Rule = fn(&Tree, &mut Vec<Violation>);

const RULES: &[Rule] = &[
    files::heads_and_lengths,
    files::names,
    files::words,
    files::foreign_paths,
    files::sources,
    places::one_place_only,
    imports::arrows,
    registry::kinds,
    registry::alerts,
    durable::names,
];

/// Everything that breaks a rule, by place.
fn violations(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in RULES {
        rule(tree, &mut found);
    }
    found.sort();
    found
}

#[test]
fn the_tree_is_tidy() {
    let found = violations(&Tree::read(Path::new(env!("CARGO_MANIFEST_DIR"))));
    for violation in &found {
        eprintln!("{violation}");
    }
    assert!(found.is_empty(), "{} violations of the house rules, listed above", found.len());
}
