//! What must be everywhere if it is anywhere: a kind of store, an alert.

use std::collections::BTreeSet;

use crate::tree::{Tree, Violation};

/// The files of every kind of store.
const FIXED: &[&str] = &["mod.rs", "settings.rs", "example.toml"];

/// Registry = folder = example = documentation.
pub(crate) fn kinds(tree: &Tree, found: &mut Vec<Violation>) {
    let registry = "src/stores/mod.rs";
    let listed =
        tree.text(registry).split_once("static KINDS: &[Kind] = &[").and_then(|(_, rest)| rest.split_once(']'));
    let listed: BTreeSet<&str> = listed
        .into_iter()
        .flat_map(|(list, _)| list.split(','))
        .filter_map(|kind| kind.trim().strip_suffix("::KIND"))
        .collect();
    let folders: BTreeSet<&str> =
        tree.files.keys().filter_map(|path| Some(path.strip_prefix("src/stores/")?.split_once('/')?.0)).collect();
    let mut tell = |path: String, what: String| found.push(Violation { path, line: 1, what });
    for kind in folders.difference(&listed) {
        tell(registry.into(), format!("src/stores/{kind} is not in KINDS; add its line, or delete the folder"));
    }
    for kind in listed.difference(&folders) {
        tell(registry.into(), format!("KINDS names {kind}, which has no folder in src/stores"));
    }
    for kind in &folders {
        for file in FIXED.iter().map(|file| format!("src/stores/{kind}/{file}")) {
            if !tree.files.contains_key(&file) {
                tell(file, "every kind of store has this file".into());
            }
        }
        if !tree.text("config/plimsoll.toml").contains(&format!("kind = \"{kind}\"")) {
            tell("config/plimsoll.toml".into(), format!("has no store of kind {kind}; `make bless` writes it anew"));
        }
        let semantics = "docs/SEMANTICS.md";
        let mut promises = tree.text(semantics).lines().filter(|line| line.starts_with(['#', '|']));
        if !promises.any(|line| line.to_lowercase().contains(kind)) {
            tell(semantics.into(), format!("has no heading or table row for {kind}; say what it promises"));
        }
    }
}

/// Alert = runbook = test of the alert.
pub(crate) fn alerts(tree: &Tree, found: &mut Vec<Violation>) {
    let tests: String = tree.matching("dashboards/tests/", ".yml").map(|(_, text)| text).collect();
    let tested: BTreeSet<&str> = tests.lines().filter_map(|line| value(line, "alertname:")).collect();
    let mut alerts = BTreeSet::new();
    for (path, text) in tree.matching("dashboards/", ".yml").filter(|(path, _)| !path.starts_with("dashboards/tests/"))
    {
        for (at, line) in text.lines().enumerate() {
            let Some(alert) = value(line, "alert:") else { continue };
            alerts.insert(alert);
            let mut tell = |what| found.push(Violation { path: path.into(), line: at + 1, what });
            let runbook = format!("docs/runbooks/{alert}.md");
            if !tree.files.contains_key(&runbook) {
                tell(format!("{alert} has no {runbook}: say what it means and what to do"));
            }
            if !tested.contains(alert) {
                tell(format!("{alert} is not tested in dashboards/tests: prove that it fires"));
            }
        }
    }
    for (path, _) in tree.matching("docs/runbooks/", ".md").filter(|(path, _)| !path.ends_with("/README.md")) {
        let name = path.trim_start_matches("docs/runbooks/").trim_end_matches(".md");
        if !alerts.contains(name) {
            let what = "a runbook of no alert; name it as its alert, or delete it";
            found.push(Violation { path: path.into(), line: 1, what: what.into() });
        }
    }
}

/// The value of a key in a line of YAML.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    Some(line.trim_start().trim_start_matches("- ").strip_prefix(key)?.trim())
}
