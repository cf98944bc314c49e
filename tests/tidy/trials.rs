//! The rules are rules: each is shown a tree that breaks it, made from the real one by a small change, and must tell.

use std::path::Path;
use std::sync::LazyLock;

use crate::tree::{Tree, Violation};
use crate::violations;

static REAL: LazyLock<Tree> = LazyLock::new(|| Tree::read(Path::new(env!("CARGO_MANIFEST_DIR"))));

static KNOWN: LazyLock<Vec<Violation>> = LazyLock::new(|| violations(&REAL));

/// What a change to the tree brings: `path:line: what` of every new violation.
fn after(change: impl FnOnce(&mut Tree)) -> Vec<String> {
    let mut tree = REAL.clone();
    change(&mut tree);
    violations(&tree).iter().filter(|violation| !KNOWN.contains(violation)).map(ToString::to_string).collect()
}

/// The change brings exactly one violation, there, that says so.
fn breaks(place: &str, says: &str, change: impl FnOnce(&mut Tree)) {
    let found = after(change);
    let [only] = found.as_slice() else { panic!("{place}: one violation was to be found, not {found:#?}") };
    assert!(only.starts_with(place) && only.contains(says), "{place} {says}: {only}");
}

/// A file is added and breaks a rule.
fn added(path: &str, text: &str, line: usize, says: &str) {
    breaks(&format!("{path}:{line}: "), says, |tree| {
        assert!(tree.files.insert(path.into(), text.into()).is_none(), "{path} was there");
    });
}

/// A file is added and nothing is wrong with it.
fn fine(path: &str, text: &str) {
    let found = after(|tree| {
        tree.files.insert(path.into(), text.into());
    });
    assert!(found.is_empty(), "{path}: {text}: {found:#?}");
}

/// A text in a file is replaced by another, which breaks a rule there.
fn replaced(path: &str, old: &str, new: &str, says: &str) {
    breaks(path, says, |tree| replace(tree, path, old, new));
}

fn replace(tree: &mut Tree, path: &str, old: &str, new: &str) {
    let text = tree.files.get_mut(path).unwrap_or_else(|| panic!("no {path}"));
    assert!(text.contains(old), "{path} has no {old:?}");
    *text = text.replacen(old, new, 1);
}

fn removed(path: &str, place: &str, says: &str) {
    breaks(place, says, |tree| {
        tree.files.remove(path).unwrap_or_else(|| panic!("no {path}"));
    });
}

#[test]
fn heads_lengths_and_names() {
    added("src/rpo/new.rs", "use std::fmt;\n", 1, "//! doc");
    added("tests/it/new.rs", &format!("//! x\n{}", "\n".repeat(500)), 501, "501 lines");
    fine("tests/it/new.rs", &format!("//! x\n{}", "\n".repeat(499)));
    added("src/serve/utils.rs", "//! x\n", 1, "says nothing");
    added("tests/lab/src/common/ports.rs", "//! x\n", 1, "says nothing");
}

#[test]
fn words_that_may_not_stay() {
    let text = |word: &str| format!("//! x\nfn f() {{\n    {word};\n}}\n");
    added("src/rpo/new.rs", &text("todo!()"), 3, "do it now");
    added("tests/it/new.rs", &text("unimplemented!()"), 3, "do it now");
    added("tests/it/new.rs", &text("// FIXME later"), 3, "fix it");
    added("tests/it/new.rs", &text("// XXX"), 3, "fix it");
    added("src/rpo/new.rs", &text("/// TODO: more"), 3, "do it");
    added("tests/it/new.rs", &text("#[ignore = \"slow\"]"), 3, "proves nothing");
    added("src/rpo/new.rs", &text("x.unwrap()"), 3, "expect");
    added("src/rpo/new.rs", &text("ShardIteratorType::Latest"), 3, "DS-6");
    fine("src/rpo/new.rs", &text("x.unwrap_or(1)"));
    fine("src/rpo/tests.rs", &text("x.unwrap()"));
    fine("src/rpo/new.rs", "//! x\n#[cfg(test)]\nmod tests {\n    fn f() {\n        x.unwrap();\n    }\n}\n");
    // What comes after the unit tests is production again.
    let late = "//! x\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n\nfn f() {\n    x.unwrap();\n}\n";
    added("src/rpo/new.rs", late, 8, "expect");
}

#[test]
fn paths_of_one_machine() {
    added("docs/new.md", "see\n/home/joe/notes\n", 2, "one machine");
    added("config/new.toml", "path = \"/root/x\"\n", 1, "one machine");
    fine("docs/new.md", "https://example.com/home/joe\n");
}

#[test]
fn dependencies_from_elsewhere() {
    let dependency = "[dependencies]\nx = { git = \"https://example.com/x\" }\n";
    added("tests/new/Cargo.toml", dependency, 2, "registry");
    replaced("Cargo.toml", "[profile.dev]", "[patch.crates-io]\n[profile.dev]", "registry");
    replaced("Cargo.lock", "\"registry+", "\"git+", "registry");
}

#[test]
fn edges_in_one_place_only() {
    let text = |code: &str| format!("//! x\n\nfn f() {{\n    {code};\n}}\n");
    added("src/watermark/new.rs", &text("rocksdb::DB::open(x)"), 4, "watermark::Index");
    added("src/replicate/new.rs", &text("aws_sdk_s3::Client::new(x)"), 4, "aws.rs");
    added("src/serve/new.rs", &text("tokio::spawn(x)"), 4, "supervise");
    added("src/serve/new.rs", &text("std::thread::sleep(x)"), 4, "supervise");
    added("src/serve/new.rs", &text("Authorized::new(x)"), 4, "serve/auth.rs");
    fine("src/stores/dynamodb/new.rs", &text("aws_sdk_dynamodb::Client::new(x)"));
    fine("src/watermark/new.rs", "//! x\n\n// As rocksdb::DB does.\n");
}

#[test]
fn arrows_that_point_back() {
    let using = |path: &str| format!("//! x\n\nuse {path};\n");
    for (file, path) in [
        ("src/change/new.rs", "crate::rpo::Rpo"),
        ("src/rpo/new.rs", "crate::seams::Clock"),
        ("src/watermark/new.rs", "crate::stores::Store"),
        ("src/promote/new.rs", "crate::stores::Store"),
        ("src/promote/new.rs", "crate::replicate::Fleet"),
        ("src/replicate/new.rs", "crate::stores::dynamodb::KIND"),
        ("src/replicate/new.rs", "crate::promote::Plan"),
        ("src/serve/new.rs", "crate::replicate::Fleet"),
        ("src/serve/new.rs", "crate::stores::KINDS"),
        ("src/telemetry/new.rs", "crate::serve::page"),
    ] {
        added(file, &using(path), 3, "may not use");
    }
    added("src/new.rs", "//! x\n", 1, "is not in ARROWS");
    added("src/rpo/new.rs", "//! x\n\nfn f() {\n    crate::serve::page::of()\n}\n", 4, "may not use serve::page");
    added("src/rpo/new.rs", "//! x\n\nuse crate::{\n    change::Stamp,\n    config::Key,\n};\n", 3, "config::Key");
    added("src/rpo/new.rs", "//! x\n\nuse super::super::seams::Clock;\n", 3, "may not use seams::Clock");
    fine("src/rpo/new.rs", &using("crate::change::Stamp"));
    fine("src/rpo/new.rs", "//! x\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n");
    fine("src/replicate/new.rs", &using("crate::promote::Flow"));
}

#[test]
fn kinds_that_know_each_other() {
    let cross = "//! x\n\nuse super::super::s3;\n";
    let found = after(|tree| {
        tree.files.insert("src/stores/dynamodb/new.rs".into(), cross.into());
        for (name, text) in [("mod.rs", "//! x\n"), ("settings.rs", "//! x\n"), ("example.toml", "")] {
            tree.files.insert(format!("src/stores/s3/{name}"), text.into());
        }
        replace(tree, "src/stores/mod.rs", "dynamodb::KIND", "dynamodb::KIND, s3::KIND");
        replace(tree, "config/plimsoll.toml", "kind = \"dynamodb\"", "kind = \"dynamodb\"\nkind = \"s3\"");
        tree.files.entry("docs/SEMANTICS.md".into()).or_default().push_str("\n## S3 and DynamoDB\n");
    });
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("src/stores/dynamodb/new.rs:3: stores/dynamodb may not use stores::s3"), "{found:?}");
}

#[test]
fn arrows_that_nothing_uses() {
    breaks("tests/tidy/imports.rs:1: ", "nothing in supervise uses seams", |tree| {
        for (path, text) in &mut tree.files {
            if path.starts_with("src/supervise/") {
                *text = text.replace("crate::seams", "std::time");
            }
        }
    });
}

#[test]
fn half_a_kind() {
    replaced("src/stores/mod.rs", "dynamodb::KIND", "", "not in KINDS");
    replaced("src/stores/mod.rs", "dynamodb::KIND", "dynamodb::KIND, cognito::KIND", "no folder");
    let example = "src/stores/dynamodb/example.toml";
    removed(example, example, "every kind");
    replaced("config/plimsoll.toml", "kind = \"dynamodb\"", "", "make bless");
    breaks("docs/SEMANTICS.md:1: ", "what it promises", |tree| {
        tree.files.insert("docs/SEMANTICS.md".into(), "# Promises\n\nDynamoDB is fine.\n\n## s3\n".into());
    });
}

#[test]
fn half_an_alert() {
    let alerts = "dashboards/plimsoll.alerts.yml";
    removed("docs/runbooks/PlimsollDown.md", alerts, "no docs/runbooks/PlimsollDown.md");
    added("docs/runbooks/PlimsollGone.md", "# Gone\n", 1, "no alert");
    breaks(alerts, "not tested", |tree| {
        for (path, text) in &mut tree.files {
            if path.starts_with("dashboards/tests/") {
                *text = text.replace("alertname: PlimsollDown", "alertname: PlimsollUp");
            }
        }
    });
}

#[test]
fn durable_names_that_change() {
    let keys = "src/watermark/keys.rs";
    replaced(keys, "    \"mpu\",\n", "", "\"mpu\" was released and is gone");
    replaced(keys, "    \"nonce\",\n", "    \"nonce\",\n    \"lease\",\n", "\"lease\" is new");
    replaced(keys, "    \"meta\",\n    \"shard\",\n", "    \"shard\",\n    \"meta\",\n", "another order");
    let records = "src/watermark/records.rs";
    let found = after(|tree| replace(tree, records, "const KIND: u8 = 2;", "const KIND: u8 = 1;"));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().any(|what| what.contains("both have KIND 1")), "{found:#?}");
    assert!(found.iter().any(|what| what.contains("released as KIND 2")), "{found:#?}");
    added("src/rpo/new.rs", "//! x\n\nimpl Record for New {\n    const KIND: u8 = 99;\n}\n", 4, "New is new");
    let found = after(|tree| replace(tree, keys, "= \"fence\";", "= \"wall\";"));
    assert_eq!(found.len(), 2, "{found:#?}");
    let found = after(|tree| replace(tree, "src/promote/plan.rs", "= \"fence\";", "= \"wall\";"));
    assert!(found.iter().any(|what| what.contains("\"fence\" was released")), "{found:#?}");
    let found = after(|tree| replace(tree, "src/promote/record.rs", "\"settled\",", "\"done\","));
    assert!(found.iter().any(|what| what.contains("\"settled\" was released")), "{found:#?}");
    breaks(records, "Manifest (KIND 16) was released and is gone", |tree| {
        replace(
            tree,
            records,
            "impl Record for Manifest {\n    const KIND: u8 = 16;",
            "impl Manifest {\n    const X: u8 = 16;",
        );
    });
}
