//! `plimsoll check`: a configuration, offline. `plimsoll run` begins with the same.

use std::path::Path;
use std::process::ExitCode;

use super::{EX_CONFIG, print};
use crate::config::{self, Checked, Problem, Severity};

/// What is printed at most; a file with more problems is the wrong file.
const SHOWN: usize = 200;

pub(super) fn run(path: &Path) -> ExitCode {
    match load(path) {
        Ok(checked) => print(&format!("{}\n", summary(&checked))),
        Err(refused) => refused,
    }
}

/// Loads a configuration and prints what is wrong with it; on errors gives the exit code.
pub(super) fn load(path: &Path) -> Result<Checked, ExitCode> {
    match config::load(path) {
        Ok(checked) => {
            report(&checked.warnings);
            Ok(checked)
        }
        Err(problems) => Err(refuse(&problems, path)),
    }
}

/// Prints what is wrong with a configuration and gives the exit code.
pub(super) fn refuse(problems: &[Problem], path: &Path) -> ExitCode {
    report(problems);
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    eprintln!("{} in {}", counted(errors, "error"), path.display());
    ExitCode::from(EX_CONFIG)
}

fn report(problems: &[Problem]) {
    for problem in problems.iter().take(SHOWN) {
        eprintln!("{problem}");
    }
    if problems.len() > SHOWN {
        eprintln!("... and {} more", problems.len() - SHOWN);
    }
}

/// `ok: 3 stores, 2 steps`.
fn summary(checked: &Checked) -> String {
    let stores = counted(checked.config.stores.len(), "store");
    let steps = counted(checked.config.promote.steps.len(), "step");
    match checked.warnings.len() {
        0 => format!("ok: {stores}, {steps}"),
        n => format!("ok: {stores}, {steps}, {}", counted(n, "warning")),
    }
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
