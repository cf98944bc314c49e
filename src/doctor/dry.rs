//! What can be said without asking anybody: floors of the RPO, and what the recovery would need of a region that is gone.
//! Pure.

use serde::Serialize;

use crate::change::{Finding, Severity};
use crate::config::{Checked, Config, StepConfig, StepKind, duration_words};

/// Where the control planes of the global services are (FO-F1).
const CONTROL_PLANES: &str = "us-east-1";
/// Commands of the AWS CLI whose control plane is there.
const GLOBAL: &[&str] =
    &["iam", "organizations", "account", "route53", "route53domains", "cloudfront", "globalaccelerator", "shield"];

/// A finding, of a store or of the configuration as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The store; `null`: the configuration.
    pub store: Option<String>,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Everything that the configuration alone tells.
pub fn findings(checked: &Checked) -> Vec<Told> {
    let config = &checked.config;
    let mut told: Vec<Told> = checked.warnings.iter().filter(|w| !w.path.ends_with(".rpo")).map(warning).collect();
    told.extend(config.stores.iter().map(|store| {
        let settings = &store.settings;
        let floor = settings.floor();
        let on = "objective of an idle store";
        let made = settings.floor_words();
        let words = format!("it can prove {}; the objective is {}", duration_words(floor), duration_words(store.rpo));
        let finding = match store.rpo < floor {
            false => Finding::new(Severity::Ok, "rpo_floor", on, format!("{words} ({made})")),
            true => {
                Finding::new(Severity::Warning, "rpo_floor", on, format!("{words}, which is breached all the time"))
                    .to_do(format!("raise rpo, or lower what it is made of: {made}"))
            }
        };
        Told { store: Some(store.id.to_string()), finding }
    }));
    for store in &config.stores {
        let found = store.settings.dry(&config.primary.region, &config.standby.region);
        told.extend(found.into_iter().map(|finding| Told { store: Some(store.id.to_string()), finding }));
    }
    told.extend(regions(config).into_iter().map(|finding| Told { store: None, finding }));
    told
}

fn warning(problem: &crate::config::Problem) -> Told {
    let on = if problem.path.is_empty() { problem.source.to_string() } else { problem.path.clone() };
    let finding = Finding::new(Severity::Warning, "configuration", on, problem.what.clone());
    Told { store: None, finding: Finding { todo: problem.hint.clone(), ..finding } }
}

fn regions(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let primary = config.primary.region.as_str();
    if primary == CONTROL_PLANES {
        found.push(
            Finding::new(
                Severity::Note,
                "us_east_1",
                "prodX",
                "it is us-east-1: the control planes of IAM, Route 53, CloudFront and others go with it",
            )
            .to_do("have roles, policies and tokens made beforehand; let steps use data planes only"),
        );
    }
    for step in &config.promote.steps {
        let words = words(step);
        let global = words.iter().find(|word| GLOBAL.contains(&word.as_str()));
        if let Some(global) = global {
            let what = format!("it calls {global}, whose control plane is in {CONTROL_PLANES}");
            let todo = "prefer a data plane: a health check that flips, a routing control, a key-value store";
            found.push(Finding::new(Severity::Warning, "us_east_1", on(step), what).to_do(todo));
        }
        if words.iter().any(|word| names(word, primary)) {
            let what = format!("it names {primary}, the region that is gone then");
            let todo = "let it do without, or make it required = false with a short deadline";
            found.push(Finding::new(Severity::Warning, "primary_dependence", on(step), what).to_do(todo));
        }
    }
    let quiet = |check| found.iter().all(|f: &Finding| f.check != check);
    let steps = config.promote.steps.len();
    let ok = |check, what: String| Finding::new(Severity::Ok, check, "the promotion", what);
    let good = [
        quiet("us_east_1")
            .then(|| ok("us_east_1", format!("none of its {steps} steps is seen to need {CONTROL_PLANES}"))),
        quiet("primary_dependence")
            .then(|| ok("primary_dependence", format!("none of its {steps} steps names {primary}"))),
    ];
    found.extend(good.into_iter().flatten());
    found
}

fn on(step: &StepConfig) -> String {
    format!("step {}", step.id)
}

/// What a step says, word by word; a shell's one long word too.
fn words(step: &StepConfig) -> Vec<String> {
    let given: Vec<&str> = match &step.what {
        StepKind::Command { run, check, .. } => run.iter().chain(check.iter().flatten()).map(String::as_str).collect(),
        StepKind::HttpProbe { url, .. } => vec![url],
    };
    given.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

/// Is the region's name in it as a word? `us-east-1` is not in `us-east-10`.
fn names(word: &str, region: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-');
    word.match_indices(region).any(|(at, _)| {
        let (before, rest) = word.split_at(at);
        let after = rest.get(region.len()..).unwrap_or_default();
        !part(before.chars().last()) && !part(after.chars().next().filter(char::is_ascii_alphanumeric))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(steps: &str) -> Checked {
        let text = format!(
            "app = \"a\"\n[primary]\nregion = \"eu-west-1\"\n[standby]\nregion = \"us-west-2\"\n[[store]]\nid = \"orders\"\n\
             kind = \"dynamodb\"\nmode = \"replicate\"\ntable = \"orders\"\nrpo = \"5s\"\n{steps}"
        );
        crate::config::read(&text, "a.toml").expect("a good configuration")
    }

    fn step(id: &str, rest: &str) -> String {
        format!("[[promote.step]]\nid = \"{id}\"\n{rest}\n")
    }

    fn of<'a>(told: &'a [Told], check: &str) -> Vec<(&'a str, Severity)> {
        told.iter().filter(|t| t.finding.check == check).map(|t| (t.finding.on.as_str(), t.finding.severity)).collect()
    }

    #[test]
    fn steps_that_need_a_region_that_is_gone_are_told() {
        let command = |words: &str| format!("kind = \"command\"\nrepeat = \"safe\"\nrun = [{words}]");
        let steps = [
            step("dns", &command("\"aws\", \"route53\", \"change-resource-record-sets\"")),
            step("arc", &command("\"aws\", \"route53-recovery-cluster\", \"update-routing-control-state\"")),
            step("shell", &command("\"/bin/sh\", \"-c\", \"aws rds describe --region eu-west-1\"")),
            step("near", &command("\"aws\", \"--region\", \"eu-west-10\"")),
            step("probe", "kind = \"http-probe\"\nurl = \"https://api.eu-west-1.example.com/\""),
        ];
        let told = findings(&checked(&steps.concat()));
        assert_eq!(of(&told, "us_east_1"), [("step dns", Severity::Warning)]);
        let named = [("step shell", Severity::Warning), ("step probe", Severity::Warning)];
        assert_eq!(of(&told, "primary_dependence"), named);
    }

    #[test]
    fn a_floor_is_told_and_nothing_twice() {
        let told = findings(&checked(""));
        assert_eq!(of(&told, "rpo_floor"), [("objective of an idle store", Severity::Warning)]);
        assert!(of(&told, "configuration").iter().all(|(on, _)| !on.ends_with(".rpo")), "{told:?}");
        assert_eq!(of(&told, "us_east_1"), [("the promotion", Severity::Ok)]);
        let json = serde_json::to_value(&told).unwrap();
        assert!(json[0].get("check").is_some() && json[0].get("store").is_some(), "{json}");
    }
}
