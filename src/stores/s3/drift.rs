//! Whether a bucket, its standby and what tells of its changes fit each other: described facts in, findings out. No I/O,
//! no clock.
//!
//! A finding is a *problem* when replication fails for it, or the recovery would; a *warning* when the recovery would be
//! worse; a *note* when somebody should know. What could not be asked is judged by nobody: a region that does not answer
//! is no drift.

mod buckets;
mod path;
mod rules;
#[cfg(test)]
mod tests;

use super::facts::lifecycle::Rule;
use super::facts::{Encryption, Hop, Notifications, Queue, Recorded, Replication, Versioning};
use super::settings::S3Settings;
use crate::change::{Class, Finding, Severity};

/// The names of the checks, as in the API and the metric; never renamed.
pub(super) mod check {
    /// Does it answer at all?
    pub(crate) use crate::change::ANSWERS;
    /// May it be asked?
    pub(crate) const PERMISSIONS: &str = "permissions";
    /// Is it there, and in its region?
    pub(crate) const BUCKET: &str = "bucket";
    /// Does AWS replicate it already?
    pub(crate) const REPLICATION: &str = "replication";
    /// Older versions (S3-4).
    pub(crate) const VERSIONING: &str = "versioning";
    /// Rules that delete (S3-8).
    pub(crate) const LIFECYCLE: &str = "lifecycle";
    /// Uploads that were never completed (S3-5).
    pub(crate) const UPLOADS: &str = "uploads";
    /// Keys (S3-6).
    pub(crate) const ENCRYPTION: &str = "encryption";
    /// Retention and legal holds.
    pub(crate) const OBJECT_LOCK: &str = "object_lock";
    /// The public doors.
    pub(crate) const PUBLIC_ACCESS: &str = "public_access";
    /// Access control lists.
    pub(crate) const OWNERSHIP: &str = "ownership";
    /// The queue (S3-F3, S3-F5, S3-F11).
    pub(crate) const QUEUE: &str = "queue";
    /// What the queue gives up (S3-16).
    pub(crate) const DEAD_LETTERS: &str = "dead_letters";
    /// Which events the source sends (S3-F6).
    pub(crate) const EVENTS: &str = "events";
    /// How EventBridge passes them on (S3-F3).
    pub(crate) const EVENT_RULES: &str = "event_rules";
}

/// A question and its answer, or why there is none.
pub(super) type Asked<T> = Result<T, Refused>;

/// A question without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) class: Class,
    /// As in a policy: `s3:GetBucketVersioning`.
    pub(super) action: &'static str,
    /// The service's words.
    pub(super) words: String,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `primary bucket`, `queue`, `rules of the standby`.
    pub(super) what: &'static str,
    pub(super) name: String,
    pub(super) region: String,
    /// The policy that grants what is asked of it.
    pub(super) policy: &'static str,
}

impl Place {
    /// `standby bucket shop-y (us-west-2)`.
    pub(super) fn words(&self) -> String {
        format!("{} {} ({})", self.what, self.name, self.region)
    }

    /// `aws s3api WHAT --region R --bucket B MORE`.
    pub(super) fn s3api(&self, what: &str, more: &str) -> String {
        format!("aws s3api {what} --region {} --bucket {} {more}", self.region, self.name).trim_end().to_owned()
    }

    /// `aws sqs set-queue-attributes --region R --queue-url U --attributes MORE`.
    fn sqs(&self, attributes: &str) -> String {
        let (region, url) = (&self.region, &self.name);
        format!("aws sqs set-queue-attributes --region {region} --queue-url {url} --attributes {attributes}")
    }

    fn find(&self, severity: Severity, check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(severity, check, self.words(), what)
    }

    fn ok(&self, check: &'static str, what: impl Into<String>) -> Finding {
        self.find(Severity::Ok, check, what)
    }

    pub(super) fn note(&self, check: &'static str, what: impl Into<String>) -> Finding {
        self.find(Severity::Note, check, what)
    }

    fn warning(&self, check: &'static str, what: impl Into<String>) -> Finding {
        self.find(Severity::Warning, check, what)
    }

    fn problem(&self, check: &'static str, what: impl Into<String>) -> Finding {
        self.find(Severity::Problem, check, what)
    }
}

/// One bucket, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) place: Place,
    /// The region that it is in, where that is told.
    pub(super) region: Asked<Option<String>>,
    pub(super) versioning: Asked<Versioning>,
    pub(super) lifecycle: Asked<Vec<Rule>>,
    pub(super) encryption: Asked<Option<Encryption>>,
    /// Is Object Lock on?
    pub(super) lock: Asked<bool>,
    /// Are all four public doors shut?
    pub(super) shut: Asked<bool>,
    /// `BucketOwnerEnforced`, or another; `None`: never set, so lists count.
    pub(super) ownership: Asked<Option<String>>,
    pub(super) replication: Asked<Vec<Replication>>,
    /// Calls that were made only to see whether they are allowed.
    pub(super) probes: Vec<Asked<()>>,
}

/// A queue, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenQueue {
    pub(super) place: Place,
    pub(super) queue: Asked<Queue>,
}

/// The rules of EventBridge in one region that are on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenRules {
    pub(super) place: Place,
    pub(super) hops: Asked<Vec<Hop>>,
}

/// Everything, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) settings: S3Settings,
    pub(super) source: Seen,
    pub(super) standby: Seen,
    /// Where the source's events go.
    pub(super) notifications: Asked<Notifications>,
    pub(super) queue: SeenQueue,
    pub(super) dead: Option<SeenQueue>,
    /// In prodX, to a bus in prodY.
    pub(super) leaving: SeenRules,
    /// In prodY, to the queue.
    pub(super) arriving: SeenRules,
    /// What the index has of the source.
    pub(super) recorded: Option<Recorded>,
}

/// Everything that can be said, the good too.
pub(super) fn compare(pair: &Pair) -> Vec<Finding> {
    let mut found = Vec::new();
    for seen in [&pair.source, &pair.standby] {
        found.extend(answers(&seen.place, &refusals(seen, &pair.notifications), !seen.probes.is_empty()));
        found.extend(buckets::state(seen));
    }
    for seen in std::iter::once(&pair.queue).chain(&pair.dead) {
        let refused: Vec<&Refused> = seen.queue.as_ref().err().into_iter().collect();
        found.extend(answers(&seen.place, &refused, false));
    }
    for seen in [&pair.leaving, &pair.arriving] {
        let refused: Vec<&Refused> = seen.hops.as_ref().err().into_iter().collect();
        found.extend(answers(&seen.place, &refused, false));
    }
    found.extend(buckets::compare(pair));
    found.extend(path::queues(pair));
    found.extend(path::events(pair));
    found.extend(rules::judge(pair));
    found
}

fn refusals<'a>(seen: &'a Seen, notifications: &'a Asked<Notifications>) -> Vec<&'a Refused> {
    let asked = [
        seen.region.as_ref().err(),
        seen.versioning.as_ref().err(),
        seen.lifecycle.as_ref().err(),
        seen.encryption.as_ref().err(),
        seen.lock.as_ref().err(),
        seen.shut.as_ref().err(),
        seen.ownership.as_ref().err(),
        seen.replication.as_ref().err(),
        notifications.as_ref().err().filter(|_| seen.place.what.starts_with("primary")),
    ];
    asked.into_iter().flatten().chain(seen.probes.iter().filter_map(|probe| probe.as_ref().err())).collect()
}

/// Whether it answered, and let itself be asked.
fn answers(place: &Place, refused: &[&Refused], probed: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for one in refused.iter().filter(|refused| refused.class == Class::Denied) {
        let what = format!("{} is not allowed: {}", one.action, one.words);
        let todo = format!(
            "grant {} ({} in config/iam); check the credentials if nothing is allowed",
            one.action, place.policy
        );
        // Without rules of EventBridge the events are judged by what arrives.
        found.push(match one.action.starts_with("events:") {
            true => place.note(check::PERMISSIONS, what).to_do(todo),
            false => place.problem(check::PERMISSIONS, what).to_do(todo),
        });
    }
    if found.is_empty() {
        let asked = if probed { "what was asked and tried was allowed" } else { "what was asked was allowed" };
        found.push(place.ok(check::PERMISSIONS, asked));
    }
    // What is missing has answered.
    let silent = refused.iter().find(|one| !matches!(one.class, Class::Denied | Class::Missing));
    found.push(match silent {
        Some(one) => place
            .warning(check::ANSWERS, format!("{} got no answer: {}", one.action, one.words))
            .to_do("what could not be asked was not judged; ask again when the region answers"),
        None => place.ok(check::ANSWERS, "it answers"),
    });
    found
}

/// What the settings tell alone, given the names of the regions.
pub(super) fn dry(settings: &S3Settings, primary: &str, standby: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let queues = std::iter::once(&settings.queue_url).chain(&settings.dead_letter_url);
    for (url, region) in queues.filter_map(|url| Some((url, super::settings::queue_region(url)?))) {
        if region != standby {
            let on = format!("queue {url}");
            let what =
                if region == primary { "the primary region, and is gone with it" } else { "no region of the pair" };
            found.push(
                Finding::new(Severity::Problem, check::QUEUE, on, format!("it is in {region}: {what}"))
                    .to_do(format!("make the queue in {standby}; config/infrastructure/s3-events.yaml does it")),
            );
        }
    }
    if let Some((key, region)) =
        settings.carry.kms_key.as_deref().and_then(|k| Some((k, super::settings::kms_region(k)?)))
        && region != standby
    {
        found.push(
            Finding::new(
                Severity::Problem,
                check::ENCRYPTION,
                format!("key {key}"),
                format!("it is a key of {region}: nothing in {standby} can be encrypted by it"),
            )
            .to_do(format!("name a key of {standby}")),
        );
    }
    if let Some(mrap) = &settings.promoting.mrap {
        let at = mrap.region.as_deref().unwrap_or(standby);
        let on = format!("access point {}", mrap.arn);
        let can = super::promote::settings::MRAP_REGIONS;
        if !can.contains(&at) {
            let what = format!("its routes cannot be changed in {at}");
            let todo = format!("write mrap_region = one of {}, and not {primary}", can.join(", "));
            found.push(Finding::new(Severity::Problem, "primary_dependence", on, what).to_do(todo));
        } else if at == primary {
            let what = format!("its routes are changed in {primary}, the region that is gone then");
            let other = can.iter().find(|region| **region != primary).copied().unwrap_or(standby);
            let todo = format!("write mrap_region = {other:?}");
            found.push(Finding::new(Severity::Problem, "primary_dependence", on, what).to_do(todo));
        }
    }
    if let Some(path) = &settings.promoting.replication_file {
        let on = format!("file {}", path.display());
        found.extend(super::promote::replication_file(path).err().map(|why| {
            Finding::new(Severity::Problem, check::REPLICATION, on, why)
                .to_do("write it as `aws s3api put-bucket-replication --replication-configuration` takes it")
        }));
    }
    found
}
