//! The replication configuration of the source bucket, as far as it is about our standby bucket, and what it leaves out. Pure.

use aws_sdk_s3::types::{
    DeleteMarkerReplicationStatus, MetricsStatus, ReplicationConfiguration, ReplicationRule, ReplicationRuleFilter,
    ReplicationRuleStatus, ReplicationTimeStatus, SseKmsEncryptedObjectsStatus,
};

use crate::change::{Finding, Severity};

/// The checks; names never change.
pub(super) mod check {
    /// Rules to the standby bucket, and what they cover.
    pub(in super::super) const RULES: &str = "replication_rules";
    /// Removals are replicated.
    pub(in super::super) const DELETE_MARKERS: &str = "delete_markers";
    /// Objects encrypted with KMS are replicated.
    pub(in super::super) const KMS: &str = "encryption";
    /// The metrics that are asked for are published.
    pub(in super::super) const METRICS: &str = "replication_metrics";
    /// Both buckets are versioned.
    pub(in super::super) const VERSIONING: &str = "versioning";
    /// What was there before the rule.
    pub(in super::super) const EXISTING: &str = "existing_objects";
    /// Objects that were not replicated.
    pub(in super::super) const FAILURES: &str = "failed_objects";
    /// The canary is replicated.
    pub(in super::super) const CANARY: &str = "canary";
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) enabled: bool,
    /// Keys begin like this; empty: all.
    pub(super) prefix: String,
    /// Only objects with such tags.
    pub(super) tags: bool,
    /// The name of the bucket.
    pub(super) to: String,
    pub(super) delete_markers: bool,
    pub(super) kms: bool,
    pub(super) metrics: bool,
    /// Replication time control.
    pub(super) time_control: bool,
}

/// The rules of a bucket, in the order of the configuration.
pub(super) fn rules(configuration: &ReplicationConfiguration) -> Vec<Rule> {
    configuration.rules().iter().map(rule).collect()
}

fn rule(rule: &ReplicationRule) -> Rule {
    let destination = rule.destination();
    let (prefix, tags) = match rule.filter() {
        Some(filter) => scope(filter),
        // The first format of rules, which has no filter.
        #[expect(deprecated, reason = "rules of the first format are still in force where they were written")]
        None => (rule.prefix().unwrap_or_default().to_owned(), false),
    };
    let on = destination.and_then(|to| to.metrics()).is_some_and(|metrics| *metrics.status() == MetricsStatus::Enabled);
    let time_control = destination
        .and_then(|to| to.replication_time())
        .is_some_and(|time| *time.status() == ReplicationTimeStatus::Enabled);
    Rule {
        id: rule.id().unwrap_or_default().to_owned(),
        enabled: *rule.status() == ReplicationRuleStatus::Enabled,
        prefix,
        tags,
        to: destination.map_or("", |to| to.bucket()).rsplit(':').next().unwrap_or_default().to_owned(),
        // Rules of the first format replicate them, except those that come of versions that are deleted.
        delete_markers: rule.filter().is_none()
            || rule
                .delete_marker_replication()
                .is_some_and(|markers| markers.status() == Some(&DeleteMarkerReplicationStatus::Enabled)),
        kms: rule
            .source_selection_criteria()
            .and_then(|criteria| criteria.sse_kms_encrypted_objects())
            .is_some_and(|kms| *kms.status() == SseKmsEncryptedObjectsStatus::Enabled),
        metrics: on || time_control,
        time_control,
    }
}

fn scope(filter: &ReplicationRuleFilter) -> (String, bool) {
    if let Some(both) = filter.and() {
        return (both.prefix().unwrap_or_default().to_owned(), !both.tags().is_empty());
    }
    (filter.prefix().unwrap_or_default().to_owned(), filter.tag().is_some())
}

/// What is wanted of them.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub(super) standby_bucket: &'a str,
    /// Keys that matter begin like this.
    pub(super) prefix: &'a str,
    pub(super) canary_key: Option<&'a str>,
    /// The rules that are observed; none: all to the standby bucket.
    pub(super) rule_ids: &'a [String],
    pub(super) metric: bool,
    /// For a human: `source bucket photos (us-east-1)`.
    pub(super) on: &'a str,
}

impl Wanted<'_> {
    /// The rules that are in force to the standby bucket, as far as they are observed.
    pub(super) fn observed<'r>(&self, rules: &'r [Rule]) -> Vec<&'r Rule> {
        let named = |rule: &&Rule| self.rule_ids.is_empty() || self.rule_ids.contains(&rule.id);
        rules.iter().filter(|rule| rule.enabled && rule.to == self.standby_bucket).filter(named).collect()
    }

    fn say(&self, severity: Severity, check: &'static str, what: String) -> Finding {
        Finding::new(severity, check, self.on, what)
    }

    /// Why there is nothing that could be observed; `None`: there is.
    pub(super) fn refusal(&self, rules: &[Rule]) -> Option<(String, String)> {
        let to = self.standby_bucket;
        if rules.is_empty() {
            return Some((
                "the bucket has no replication configuration, so nobody replicates it".into(),
                "write mode = \"replicate\" for this store, under a new id, or make a replication rule".into(),
            ));
        }
        if !self.observed(rules).is_empty() {
            return None;
        }
        let known: Vec<String> = rules
            .iter()
            .map(|rule| format!("{} to {}{}", rule.id, rule.to, if rule.enabled { "" } else { " (disabled)" }))
            .collect();
        Some((
            format!("no enabled replication rule that is observed goes to {to}; there are: {}", known.join(", ")),
            "enable the rule, or correct standby_bucket or rule_ids".into(),
        ))
    }

    /// What they leave out.
    pub(super) fn findings(&self, rules: &[Rule]) -> Vec<Finding> {
        if let Some((what, todo)) = self.refusal(rules) {
            return vec![self.say(Severity::Problem, check::RULES, what).to_do(todo)];
        }
        let observed = self.observed(rules);
        let mut found = vec![self.coverage(&observed)];
        for id in self.rule_ids.iter().filter(|id| !observed.iter().any(|rule| rule.id == **id)) {
            let what = format!("rule {id:?} of rule_ids is not an enabled rule to {}", self.standby_bucket);
            found.push(self.say(Severity::Problem, check::RULES, what).to_do("correct rule_ids, or enable the rule"));
        }
        let each = |wrong: fn(&Rule) -> bool| -> Vec<String> {
            observed.iter().filter(|rule| wrong(rule)).map(|rule| rule.id.clone()).collect()
        };
        let mut judge = |check, wrong: Vec<String>, severity, good: &str, bad: &str, todo: &str| {
            found.push(if wrong.is_empty() {
                self.say(Severity::Ok, check, good.into())
            } else {
                self.say(severity, check, format!("{bad} by rule {}", wrong.join(", "))).to_do(todo)
            });
        };
        judge(
            check::DELETE_MARKERS,
            each(|rule| !rule.delete_markers),
            Severity::Warning,
            "delete markers are replicated (versions that are deleted never are, nor what a lifecycle rule removes)",
            "delete markers are not replicated",
            "what is deleted in prodX stays in prodY, and the watermark says nothing of it: enable DeleteMarkerReplication \
             (a rule with a tag filter cannot)",
        );
        judge(
            check::KMS,
            each(|rule| !rule.kms),
            Severity::Note,
            "objects that are encrypted with KMS are replicated",
            "objects that are encrypted with KMS are not replicated",
            "if the bucket has any, enable SseKmsEncryptedObjects with a key in prodY",
        );
        judge(
            check::METRICS,
            each(|rule| !rule.metrics),
            if self.metric { Severity::Problem } else { Severity::Note },
            "replication metrics are published",
            "replication metrics are not published",
            "enable metrics on the rule (failures are only told with them), or write metric = false and rely on the canary",
        );
        judge(
            check::METRICS,
            each(|rule| !rule.time_control),
            Severity::Note,
            "replication time control is on",
            "replication time control is off",
            "without it AWS promises no time, and objects that are late have no event",
        );
        found.extend(self.canary(&observed));
        found
    }

    fn coverage(&self, observed: &[&Rule]) -> Finding {
        let whole = observed.iter().any(|rule| !rule.tags && self.prefix.starts_with(&rule.prefix));
        if whole {
            let ids: Vec<&str> = observed.iter().map(|rule| rule.id.as_str()).collect();
            return self.say(
                Severity::Ok,
                check::RULES,
                format!("replicated to {} by {}", self.standby_bucket, ids.join(", ")),
            );
        }
        let parts: Vec<String> = observed
            .iter()
            .map(|rule| format!("{:?}{}", rule.prefix, if rule.tags { " with some tags" } else { "" }))
            .collect();
        self.say(
            Severity::Warning,
            check::RULES,
            format!("only keys that begin with {} are replicated", parts.join(", ")),
        )
        .to_do(
            "what is outside of them is not in prodY, and the watermark says nothing of it: set prefix, or add a rule",
        )
    }

    fn canary(&self, observed: &[&Rule]) -> Option<Finding> {
        let key = self.canary_key?;
        let by = observed.iter().find(|rule| !rule.tags && key.starts_with(&rule.prefix));
        Some(match by {
            Some(rule) => self
                .say(Severity::Ok, check::CANARY, format!("the canary {key} is replicated by rule {}", rule.id))
                .to_do("each canary leaves a version: a lifecycle rule for its key ends them in both buckets"),
            None => self
                .say(Severity::Problem, check::CANARY, format!("no rule replicates the canary {key}"))
                .to_do("set canary_key to a key that begins as a rule's prefix says"),
        })
    }
}

/// What makes S3 try again what failed, and nothing else. It keeps version ids, which no copy of ours can, and is the only
/// thing that takes the status FAILED away; it is a job in prodX, so that a human starts it.
pub(super) fn retry_command(bucket: &str, region: &str) -> String {
    let generator = format!(
        r#"{{"S3JobManifestGenerator":{{"SourceBucket":"arn:aws:s3:::{bucket}","EnableManifestOutput":false,"Filter":{{"EligibleForReplication":true,"ObjectReplicationStatuses":["FAILED"]}}}}}}"#
    );
    format!(
        "aws s3control create-job --region {region} --account-id ACCOUNT --operation '{{\"S3ReplicateObject\":{{}}}}' \
         --report '{{\"Enabled\":false}}' --manifest-generator '{generator}' --priority 1 --role-arn ROLE \
         --no-confirmation-required"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(id: &str) -> Rule {
        Rule {
            id: id.into(),
            enabled: true,
            prefix: String::new(),
            tags: false,
            to: "photos-y".into(),
            delete_markers: true,
            kms: true,
            metrics: true,
            time_control: true,
        }
    }

    fn wanted<'a>() -> Wanted<'a> {
        Wanted {
            standby_bucket: "photos-y",
            prefix: "",
            canary_key: Some("plimsoll-canary"),
            rule_ids: &[],
            metric: true,
            on: "source bucket photos",
        }
    }

    fn worst(rules: &[Rule], check: &str) -> Severity {
        wanted().findings(rules).iter().filter(|f| f.check == check).map(|f| f.severity).max().unwrap_or(Severity::Ok)
    }

    #[test]
    fn a_rule_that_covers_all_is_good() {
        let found = wanted().findings(&[all("r")]);
        assert!(found.iter().all(|f| f.severity == Severity::Ok), "{found:?}");
        assert_eq!(wanted().refusal(&[all("r")]), None);
    }

    #[test]
    fn what_a_rule_leaves_out_is_said() {
        for (rule, check, severity) in [
            (Rule { delete_markers: false, ..all("r") }, check::DELETE_MARKERS, Severity::Warning),
            (Rule { kms: false, ..all("r") }, check::KMS, Severity::Note),
            (Rule { metrics: false, ..all("r") }, check::METRICS, Severity::Problem),
            (Rule { time_control: false, ..all("r") }, check::METRICS, Severity::Note),
            (Rule { prefix: "a/".into(), ..all("r") }, check::RULES, Severity::Warning),
            (Rule { prefix: "a/".into(), ..all("r") }, check::CANARY, Severity::Problem),
            (Rule { tags: true, ..all("r") }, check::RULES, Severity::Warning),
            (Rule { enabled: false, ..all("r") }, check::RULES, Severity::Problem),
            (Rule { to: "elsewhere".into(), ..all("r") }, check::RULES, Severity::Problem),
        ] {
            assert_eq!(worst(std::slice::from_ref(&rule), check), severity, "{rule:?}");
        }
        assert_eq!(worst(&[], check::RULES), Severity::Problem);
        let below = Wanted { prefix: "a/b", canary_key: None, ..wanted() };
        let found = below.findings(&[Rule { prefix: "a/".into(), ..all("r") }]);
        assert!(found.iter().all(|f| f.severity == Severity::Ok), "the prefix is inside of the rule's");
    }

    #[test]
    fn only_the_named_rules_are_observed() {
        let ids = ["b".to_owned(), "gone".to_owned()];
        let named = Wanted { rule_ids: &ids, ..wanted() };
        let rules = [all("a"), all("b")];
        assert_eq!(named.observed(&rules).iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(named.findings(&rules).iter().any(|f| f.severity == Severity::Problem && f.what.contains("gone")));
    }

    #[test]
    fn the_retry_asks_for_what_failed_only() {
        let command = retry_command("photos", "us-east-1");
        assert!(
            command.contains(r#""ObjectReplicationStatuses":["FAILED"]"#) && command.contains("arn:aws:s3:::photos")
        );
        let manifest = command.split("--manifest-generator '").nth(1).and_then(|rest| rest.split('\'').next());
        serde_json::from_str::<serde_json::Value>(manifest.expect("a generator")).expect("JSON");
    }
}
