//! What an examination of a store found: whether both its ends are as a recovery needs them, and what to do where not.

use serde::Serialize;

use super::Stamp;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// A recovery would be worse for it, or somebody should know why it is so.
    Warning,
    /// Replication or the recovery fails for it, or will.
    Problem,
}

impl Severity {
    /// As in the API.
    pub fn label(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        }
    }
}

/// The check of every kind that says whether what was asked was answered at all; while it does not, it is asked again soon.
pub const ANSWERS: &str = "answers";

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Which question it answers: a name that does not change, the value of the metric's label.
    pub check: &'static str,
    /// On what: `standby table orders (us-west-2)`.
    pub on: String,
    /// What was found, a sentence.
    pub what: String,
    /// What to do, a sentence; `null` when nothing is to be done.
    #[serde(rename = "do")]
    pub todo: Option<String>,
    /// What can be typed for it.
    pub command: Option<String>,
}

impl Finding {
    /// Without anything to do.
    pub fn new(severity: Severity, check: &'static str, on: impl Into<String>, what: impl Into<String>) -> Self {
        Self { severity, check, on: on.into(), what: what.into(), todo: None, command: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn to_do(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }

    /// Adds what can be typed for it.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// What is wrong and what to do, in one line.
    pub fn sentence(&self) -> String {
        let mut text = format!("{}: {}", self.on, self.what);
        for more in [&self.todo, &self.command].into_iter().flatten() {
            text.push_str("; ");
            text.push_str(more);
        }
        text
    }
}

/// What the last examination of a store found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examination {
    /// When it ended; `None`: there was none.
    pub at: Option<Stamp>,
    /// Everything, the good too.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// What somebody should act on, the worst first.
    pub fn troubles(&self) -> Vec<&Finding> {
        let mut found: Vec<&Finding> = self.findings.iter().filter(|f| f.severity >= Severity::Warning).collect();
        found.sort_by_key(|f| std::cmp::Reverse(f.severity));
        found
    }

    /// Each check with the worst that it found, in the order of the checks.
    pub fn checks(&self) -> Vec<(&'static str, Severity)> {
        let mut checks: Vec<(&'static str, Severity)> = Vec::new();
        for finding in &self.findings {
            match checks.iter_mut().find(|(check, _)| *check == finding.check) {
                Some((_, worst)) => *worst = (*worst).max(finding.severity),
                None => checks.push((finding.check, finding.severity)),
            }
        }
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_check_counts_and_troubles_come_worst_first() {
        let find = |severity, check| Finding::new(severity, check, "table orders", "a sentence");
        let seen = Examination {
            at: None,
            findings: vec![
                find(Severity::Ok, "ttl"),
                find(Severity::Warning, "capacity"),
                find(Severity::Note, "table_class"),
                find(Severity::Problem, "ttl"),
            ],
        };
        let checks = [("ttl", Severity::Problem), ("capacity", Severity::Warning), ("table_class", Severity::Note)];
        assert_eq!(seen.checks(), checks);
        let troubles: Vec<_> = seen.troubles().into_iter().map(|f| f.check).collect();
        assert_eq!(troubles, ["ttl", "capacity"]);
    }

    #[test]
    fn a_sentence_says_what_and_what_to_do() {
        let finding = Finding::new(Severity::Problem, "ttl", "table orders", "TTL is on").to_do("switch it off");
        assert_eq!(finding.sentence(), "table orders: TTL is on; switch it off");
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!(json["do"], "switch it off");
        assert_eq!((json["severity"].as_str(), json["command"].is_null()), (Some("problem"), true));
    }
}
