//! `plimsoll doctor`, the rounds of the daemon, the policies, and what a promotion makes of a standby table: the real
//! program against emulated and scripted regions.

mod buckets;
mod dry;
mod online;
mod policies;
mod promotion;
mod rounds;
mod steps;

use std::path::Path;
use std::process::{Command, Output};

use plimsoll_lab::daemon::aws_env;
use serde_json::Value as Json;

/// Runs `plimsoll doctor -c FILE ...` with the lab's credentials.
fn doctor(config: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("doctor").arg("-c").arg(config).args(more).envs(aws_env());
    command.output().expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn json(output: &Output) -> Json {
    serde_json::from_str(&out(output)).unwrap_or_else(|e| panic!("{e}: {}{}", out(output), err(output)))
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// The findings that are worse than a note, as `store check severity`.
fn bad(report: &Json) -> Vec<String> {
    let text = |finding: &Json, field: &str| finding[field].as_str().unwrap_or("-").to_owned();
    let findings = report["findings"].as_array().expect("a list");
    let mut bad: Vec<String> = findings
        .iter()
        .filter(|f| matches!(f["severity"].as_str(), Some("warning" | "problem")))
        .map(|f| format!("{} {} {}", text(f, "store"), text(f, "check"), text(f, "severity")))
        .collect();
    bad.sort();
    bad
}

/// The sentences of one check.
fn said(report: &Json, check: &str) -> String {
    let findings = report["findings"].as_array().expect("a list");
    findings.iter().filter(|f| f["check"] == check).map(|f| format!("{f}\n")).collect()
}
