//! Nothing durable is renamed or reused (house rule 8). The lists here are what has been released: append to them, never
//! change a line. What the program no longer uses stays listed in the code, so that its name stays taken.

use std::collections::BTreeMap;

use crate::tree::{Tree, Violation};

/// The keyspaces of the index, in creation order.
const KEYSPACES: &[&str] = &[
    "meta",
    "shard",
    "wm",
    "hist",
    "dirty",
    "dirty_by_time",
    "s3obj",
    "mpu",
    "touched",
    "parked",
    "cognito",
    "saga",
    "audit",
    "nonce",
];

/// The values of the index: the type and its `Record::KIND`.
const RECORDS: &[(&str, &str)] = &[
    ("StoreRecord", "1"),
    ("LaneRecord", "2"),
    ("ParkedRecord", "3"),
    ("Fence", "4"),
    ("Identity", "5"),
    ("Running", "6"),
    ("Layout", "7"),
    ("JournalRecord", "8"),
    ("KeyRecord", "9"),
    ("AuditRecord", "10"),
    ("Manifest", "16"),
    ("DirtyRecord", "17"),
    ("MarkRecord", "18"),
    ("DueRecord", "19"),
    ("KnownRecord", "20"),
    ("WorkRecord", "21"),
];

/// The rows of the keyspace `meta`.
const META: &[&str] = &["layout", "identity", "fence", "running", "manifest"];

/// The records of a promotion's journal.
const EVENTS: &[&str] = &[
    "requested",
    "intent",
    "outcome",
    "checked",
    "settled",
    "caught_up",
    "fenced",
    "held",
    "resumed",
    "refused",
    "noted",
    "completed",
];

/// The steps that Plimsoll itself brings to a plan.
const STEPS: &[&str] = &["catch-up", "fence"];

const KEYS: &str = "src/watermark/keys.rs";

/// Where this file is, for saying so.
const HERE: &str = "tests/tidy/durable.rs";

/// What was released is still there, and what is there is listed.
pub(crate) fn names(tree: &Tree, found: &mut Vec<Violation>) {
    let keyspaces = between(tree.text(KEYS), "pub const KEYSPACES", "];");
    listed("keyspace", KEYS, KEYSPACES, &quoted(after(keyspaces, '=')), found);
    let meta: Vec<_> = constants(between(tree.text(KEYS), "pub mod meta {", "\n}"));
    listed("meta row", KEYS, META, &meta, found);
    let record = "src/promote/record.rs";
    let events: Vec<_> = tree.text(record).lines().filter(|line| line.trim_start().starts_with("Entry::")).collect();
    listed("event", record, EVENTS, &quoted(&events.join("\n")), found);
    let plan = "src/promote/plan.rs";
    listed("step", plan, STEPS, &constants(tree.text(plan)), found);
    records(tree, found);
}

/// Released names must stand in the code in their order, and the code's in the list.
fn listed(what: &str, path: &str, released: &[&str], code: &[&str], found: &mut Vec<Violation>) {
    for name in released.iter().filter(|name| !code.contains(name)) {
        let what =
            format!("the {what} {name:?} was released and is gone: never rename or delete one; list it as retired");
        found.push(Violation { path: path.into(), line: 1, what });
    }
    for name in code.iter().filter(|name| !released.contains(name)) {
        let what = format!("the {what} {name:?} is new: append it to the list in {HERE}");
        found.push(Violation { path: path.into(), line: 1, what });
    }
    let order = released.iter().filter_map(|name| code.iter().position(|have| have == name));
    if !order.is_sorted() {
        let what = format!("the {what}s are in another order than they were released in; append only");
        found.push(Violation { path: path.into(), line: 1, what });
    }
}

fn records(tree: &Tree, found: &mut Vec<Violation>) {
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    let mut types = Vec::new();
    for (path, lines) in tree.rust("src/") {
        let mut record = None;
        for line in lines.iter().filter(|line| !line.test) {
            if let Some(name) = line.text.strip_prefix("impl Record for ").and_then(|rest| rest.strip_suffix(" {")) {
                record = Some(name);
            }
            let number = line.text.trim().strip_prefix("const KIND: u8 = ").and_then(|rest| rest.strip_suffix(';'));
            let (Some(name), Some(number)) = (record, number) else { continue };
            types.push(name);
            let mut tell = |what| found.push(Violation { path: path.into(), line: line.number, what });
            if let Some(other) = numbers.insert(number, name) {
                tell(format!("{name} and {other} both have KIND {number}: a kind byte is never used twice"));
            }
            match RECORDS.iter().find(|(have, _)| *have == name) {
                Some((_, was)) if *was == number => {}
                Some((_, was)) => tell(format!("{name} was released as KIND {was}: a kind byte never changes")),
                None => tell(format!("the record {name} is new: append it to RECORDS in {HERE}")),
            }
        }
    }
    for (name, number) in RECORDS.iter().filter(|(name, _)| !types.contains(name)) {
        let what = format!(
            "the record {name} (KIND {number}) was released and is gone; keep it, so that its byte stays taken"
        );
        found.push(Violation { path: "src/watermark/records.rs".into(), line: 1, what });
    }
}

/// The text between two marks; empty when one is missing, which shows as everything being gone.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    text.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(inside, _)| inside)
}

fn after(text: &str, mark: char) -> &str {
    text.split_once(mark).map_or("", |(_, rest)| rest)
}

/// The values of its `pub const NAME: &str`.
fn constants(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("pub const ") && line.contains(": &str = "));
    lines.flat_map(quoted).collect()
}

fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}
