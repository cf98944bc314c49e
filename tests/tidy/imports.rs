//! The import table: which part of `src` may use which. Arrows go with the flow and never point back.
//!
//! A part is a top-level module, or a kind of store (`stores/<kind>`). A whole part may be used, or, where a plain arrow
//! would point back, only the words named after it (`promote::Step`). An arrow that nothing uses is stale.

use std::collections::BTreeSet;

use crate::tree::{Line, Tree, Violation};

/// Who, and what it may use, in the order of the flow.
const ARROWS: &[(&str, &[&str])] = &[
    ("change", &[]),
    ("seams", &["change"]),
    ("supervise", &["seams"]),
    ("watermark", &["change", "seams", "supervise"]),
    ("rpo", &["change", "watermark"]),
    // Steps and kinds are configured: their names and keys are part of what `check` checks.
    ("config", &["change", "promote::plan", "promote::Repeat", "promote::StepId", "stores"]),
    ("aws", &["change", "config", "seams"]),
    // What is common to the kinds; a store says what a promotion does for it, and reads its own settings.
    ("stores", &["aws", "change", "config", "promote::Step", "watermark"]),
    (
        "stores/*",
        &[
            "aws",
            "change",
            "config",
            "promote::Context",
            "promote::Description",
            "promote::Phase",
            "promote::Repeat",
            "promote::Step",
            "promote::StepError",
            "promote::StepId",
            "promote::World",
            "seams",
            "stores",
            "watermark",
        ],
    ),
    // A step only where its tests are a store.
    ("doctor", &["change", "config", "promote::Step", "seams", "stores", "watermark"]),
    // A promotion closes the flow through a trait of its own.
    ("replicate", &["change", "promote::CatchUp", "promote::Flow", "seams", "stores", "supervise", "watermark"]),
    // The same for stores that are made the same key by key; what a driver is given is the same.
    (
        "converge",
        &[
            "change",
            "promote::CatchUp",
            "promote::Flow",
            "promote::Step",
            "replicate",
            "seams",
            "stores",
            "supervise",
            "watermark",
        ],
    ),
    // The same for stores that AWS replicates; what a driver is given is the same.
    (
        "observe",
        &["change", "promote::CatchUp", "promote::Flow", "replicate", "seams", "stores", "supervise", "watermark"],
    ),
    ("promote", &["change", "config", "rpo", "seams", "supervise", "watermark"]),
    // Behind a promotion: the frozen positions, and what is to be written by hand.
    (
        "salvage",
        &[
            "change",
            "promote::Authorized",
            "promote::Secs",
            "promote::When",
            "replicate::load",
            "seams",
            "stores",
            "watermark",
        ],
    ),
    ("telemetry", &["change", "rpo", "watermark"]),
    ("serve", &["change", "config", "promote", "rpo", "salvage", "seams", "supervise", "telemetry", "watermark"]),
    ("cli", &["*"]),
    // The one that puts everything together.
    ("run", &["*"]),
    ("main", &["*"]),
];

/// Every use of another part goes along an arrow, and every arrow is used.
pub(crate) fn arrows(tree: &Tree, found: &mut Vec<Violation>) {
    let kinds: BTreeSet<&str> = tree.matching("src/stores/", ".rs").filter_map(|(path, _)| kind_of(path)).collect();
    let mut used = BTreeSet::new();
    for (path, lines) in tree.rust("src/").filter(|(path, _)| *path != "src/lib.rs") {
        let part = part(path);
        let row = if part.starts_with("stores/") { "stores/*" } else { &part };
        let Some((row, allowed)) = ARROWS.iter().find(|(name, _)| *name == row) else {
            let what = format!("{part} is not in ARROWS (tests/tidy/imports.rs); put it where it stands in the flow");
            found.push(Violation { path: path.into(), line: 1, what });
            continue;
        };
        for (line, target) in uses(path, &lines) {
            let to = kinds.iter().find(|kind| target.split("::").take(2).eq(["stores", kind]));
            let to = to
                .map_or_else(|| target.split("::").next().unwrap_or_default().into(), |kind| format!("stores/{kind}"));
            // `super` inside of a unit test, or `crate::part` inside of that part. The registry names every kind.
            if to == part || allowed.contains(&"*") || (path == "src/stores/mod.rs" && to.starts_with("stores/")) {
                continue;
            }
            match allowed.iter().find(|arrow| covers(arrow, &to, &target)) {
                Some(arrow) => {
                    used.insert((*row, *arrow));
                }
                None => {
                    let what = format!("{part} may not use {target}: see ARROWS (tests/tidy/imports.rs)");
                    found.push(Violation { path: path.into(), line, what });
                }
            }
        }
    }
    for (row, allowed) in ARROWS {
        for arrow in allowed.iter().filter(|arrow| **arrow != "*" && !used.contains(&(*row, **arrow))) {
            let what = format!("nothing in {row} uses {arrow} any more; delete the arrow");
            found.push(Violation { path: "tests/tidy/imports.rs".into(), line: 1, what });
        }
    }
}

fn covers(arrow: &str, part: &str, target: &str) -> bool {
    match arrow.contains("::") {
        true => target.strip_prefix(arrow).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")),
        false => arrow == part,
    }
}

/// `dynamodb` of `src/stores/dynamodb/tail.rs`.
fn kind_of(path: &str) -> Option<&str> {
    path.strip_prefix("src/stores/")?.split_once('/').map(|(kind, _)| kind)
}

/// The part that a file belongs to.
fn part(path: &str) -> String {
    match kind_of(path) {
        Some(kind) => format!("stores/{kind}"),
        None => modules(path).first().cloned().unwrap_or_else(|| "main".into()),
    }
}

/// The module path of a file: `["stores", "dynamodb", "tail"]`.
fn modules(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let parts = inside.split('/').map(str::to_owned).collect::<Vec<_>>();
    if parts == ["main"] { Vec::new() } else { parts }
}

/// Every path of this crate that the code names, from the root: `promote::Step`, with its line. Understands groups
/// (`crate::a::{b, c::d}`) over several lines, `super` and, in the program, the name of the crate.
fn uses(path: &str, lines: &[Line<'_>]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let here = modules(path);
    for (at, line) in lines.iter().enumerate() {
        for root in ["crate::", "plimsoll::", "super::"] {
            for (begin, _) in line.text.match_indices(root) {
                let (before, mut rest) = line.text.split_at(begin);
                // The end of another name, a macro's own crate, a text, or a later `super` of a chain.
                if before.ends_with(|c: char| c.is_alphanumeric() || "_$\":".contains(c)) {
                    continue;
                }
                let mut base = String::new();
                if root == "super::" {
                    let ups = rest.split("::").take_while(|part| *part == "super").count();
                    let ups = ups - usize::from(line.nested).min(ups);
                    let Some(depth) = here.len().checked_sub(ups) else { continue };
                    base = here[..depth].join("::");
                }
                while let Some(shorter) = rest.strip_prefix(root) {
                    rest = shorter;
                }
                // A group may go on over some lines.
                let more = lines[at + 1..].iter().take(if rest.contains(';') { 0 } else { 40 });
                let text: Vec<_> = std::iter::once(rest).chain(more.map(|line| line.text.trim())).collect();
                let mut paths = Vec::new();
                spell(&text.join(" "), &base, &mut paths);
                found.extend(paths.into_iter().map(|path| (line.number, path)));
            }
        }
    }
    found
}

/// Spells out the paths that a text begins with, below `base`. Returns what comes after them.
fn spell<'a>(text: &'a str, base: &str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = spell(rest, base, paths).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().trim_start_matches('}'),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = match (base, name) {
        (_, "self" | "") => base.to_owned(),
        ("", name) => name.to_owned(),
        (base, name) => format!("{base}::{name}"),
    };
    if let Some(rest) = rest.strip_prefix("::") {
        return spell(rest, &path, paths);
    }
    paths.push(path);
    match rest.trim_start().strip_prefix("as ") {
        Some(rest) => rest.trim_start().trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
        None => rest,
    }
}

#[test]
fn paths_are_spelt_out() {
    let text = "use crate::{aws, rpo::{self, Terms as T},\n    seams::Clock};\nlet x = crate::config::read(&y);\nuse super::s3::Z;\n";
    let lines = crate::tree::code("src/stores/dynamodb/tail.rs", text);
    let named: Vec<_> = uses("src/stores/dynamodb/tail.rs", &lines).into_iter().map(|(_, path)| path).collect();
    assert_eq!(named, ["aws", "rpo", "rpo::Terms", "seams::Clock", "config::read", "stores::dynamodb::s3::Z"]);
}
