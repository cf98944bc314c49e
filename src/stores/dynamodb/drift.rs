//! Whether a table and its standby fit each other: described facts in, findings out. No I/O, no clock.
//!
//! A finding is a *problem* when replication fails for it, or the recovery would; a *warning* when the recovery would be
//! worse; a *note* when somebody should know. What could not be asked is judged by nobody: a region that does not answer
//! is no drift.

mod ability;
mod safety;
mod shape;
#[cfg(test)]
mod tests;

use super::facts::{Facts, Recorded, Ttl};
use super::lineage::Incarnation;
use super::promote::settings::Promoting;
use crate::change::{Class, Finding, Severity};

/// The names of the checks, as in the API and the metric; never renamed.
pub(super) mod check {
    /// Does it answer at all?
    pub(crate) use crate::change::ANSWERS;
    /// May it be asked?
    pub(crate) const PERMISSIONS: &str = "permissions";
    /// Is it there, and in order?
    pub(crate) const TABLE: &str = "table";
    /// Is it still the table and the stream that were adopted (DS-1)?
    pub(crate) const INCARNATION: &str = "incarnation";
    /// Does AWS replicate it already?
    pub(crate) const GLOBAL_TABLE: &str = "global_table";
    /// The primary key.
    pub(crate) const KEY_SCHEMA: &str = "key_schema";
    /// Secondary indexes (AP-6).
    pub(crate) const INDEXES: &str = "indexes";
    /// The source's stream (DS-2).
    pub(crate) const STREAM: &str = "stream";
    /// The standby's stream, for the way back (AP-8).
    pub(crate) const STANDBY_STREAM: &str = "standby_stream";
    /// Items that delete themselves (AP-8).
    pub(crate) const TTL: &str = "ttl";
    /// Read and write units (AP-10).
    pub(crate) const CAPACITY: &str = "capacity";
    /// What it takes without growing first (AP-8).
    pub(crate) const WARM_THROUGHPUT: &str = "warm_throughput";
    /// Point-in-time recovery.
    pub(crate) const BACKUPS: &str = "backups";
    /// Deletion protection.
    pub(crate) const DELETION_PROTECTION: &str = "deletion_protection";
    /// Keys.
    pub(crate) const ENCRYPTION: &str = "encryption";
    /// Standard or infrequent access.
    pub(crate) const TABLE_CLASS: &str = "table_class";
    /// Other readers of the stream (DS-13).
    pub(crate) const TRIGGERS: &str = "triggers";
}

/// A question and its answer, or why there is none.
pub(super) type Asked<T> = Result<T, Refused>;

/// A question without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) class: Class,
    /// `DescribeTable`.
    pub(super) operation: &'static str,
    /// The service's words.
    pub(super) words: String,
}

/// Where a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `primary` or `standby`.
    pub(super) side: &'static str,
    pub(super) table: String,
    pub(super) region: String,
    /// The policy that grants what is asked of it.
    pub(super) policy: &'static str,
}

impl Place {
    /// `standby table orders (us-west-2)`.
    pub(super) fn words(&self) -> String {
        format!("{} table {} ({})", self.side, self.table, self.region)
    }

    /// `aws dynamodb WHAT --region R --table-name T`.
    pub(super) fn aws(&self, what: &str, more: &str) -> String {
        let more = if more.is_empty() { String::new() } else { format!(" {more}") };
        format!("aws dynamodb {what} --region {} --table-name {}{more}", self.region, self.table)
    }

    fn find(&self, severity: Severity, check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(severity, check, self.words(), what)
    }

    fn ok(&self, check: &'static str, what: impl Into<String>) -> Finding {
        self.find(Severity::Ok, check, what)
    }

    fn note(&self, check: &'static str, what: impl Into<String>) -> Finding {
        self.find(Severity::Note, check, what)
    }

    fn warning(&self, check: &'static str, what: impl Into<String>) -> Finding {
        self.find(Severity::Warning, check, what)
    }

    fn problem(&self, check: &'static str, what: impl Into<String>) -> Finding {
        self.find(Severity::Problem, check, what)
    }
}

/// One end, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) place: Place,
    pub(super) table: Asked<Facts>,
    pub(super) ttl: Asked<Ttl>,
    /// Is point-in-time recovery on?
    pub(super) recovery: Asked<bool>,
    /// Calls that were made only to see whether they are allowed.
    pub(super) probes: Vec<Asked<()>>,
}

/// Both ends, and what is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) source: Seen,
    pub(super) standby: Seen,
    /// What the standby is the copy of; `None` before the adoption, or where the index is not at hand.
    pub(super) adopted: Option<Incarnation>,
    /// What the index has of the source.
    pub(super) recorded: Option<Recorded>,
    /// What a promotion will do.
    pub(super) promoting: Promoting,
}

/// Everything that can be said of a pair, the good too.
pub(super) fn compare(pair: &Pair) -> Vec<Finding> {
    let mut found = Vec::new();
    for seen in [&pair.source, &pair.standby] {
        found.extend(answers(seen));
        found.extend(state(seen));
    }
    if let Ok(source) = &pair.source.table {
        found.extend(shape::incarnation(pair, source));
        found.extend(safety::stream(&pair.source.place, source));
    }
    found.extend(shape::global(pair));
    found.extend(safety::ttl(pair));
    if let Ok(standby) = &pair.standby.table {
        found.push(safety::standby_stream(&pair.standby.place, standby, &pair.promoting));
        found.push(safety::protection(&pair.standby.place, standby, &pair.promoting));
        found.push(safety::encryption(pair, standby));
        found.extend(safety::backups(pair));
    }
    if let (Ok(source), Ok(standby)) = (&pair.source.table, &pair.standby.table) {
        found.push(shape::keys(&pair.standby.place, source, standby));
        found.extend(shape::indexes(&pair.standby.place, source, standby));
        found.extend(ability::capacity(&pair.standby.place, source, standby, &pair.promoting));
        found.push(ability::warm(&pair.standby.place, source, standby));
        found.push(ability::class(&pair.standby.place, source, standby));
    }
    found
}

/// Whether one end answered, and let itself be asked.
fn answers(seen: &Seen) -> Vec<Finding> {
    let Seen { place, table, ttl, recovery, probes } = seen;
    let mut refused: Vec<&Refused> =
        [table.as_ref().err(), ttl.as_ref().err(), recovery.as_ref().err()].into_iter().flatten().collect();
    refused.extend(probes.iter().filter_map(|p| p.as_ref().err()));
    let denied: Vec<&&Refused> = refused.iter().filter(|r| r.class == Class::Denied).collect();
    let mut found = Vec::new();
    for one in &denied {
        let what = format!("{} is not allowed: {}", one.operation, one.words);
        let grant = format!(
            "grant dynamodb:{} on {} ({} in config/iam); check the credentials if nothing is allowed",
            one.operation,
            resource(place, one.operation),
            place.policy
        );
        found.push(place.problem(check::PERMISSIONS, what).to_do(grant));
    }
    if found.is_empty() && table.is_ok() {
        let asked = if probes.is_empty() { "what was asked was allowed" } else { "every call that reads is allowed" };
        found.push(place.ok(check::PERMISSIONS, asked));
    }
    // A table that is missing has answered.
    let silent = refused.iter().find(|r| !matches!(r.class, Class::Denied | Class::Missing));
    match silent {
        Some(one) => found.push(
            place
                .warning(check::ANSWERS, format!("{} got no answer: {}", one.operation, one.words))
                .to_do("what could not be asked was not judged; ask again when the region answers"),
        ),
        None => found.push(place.ok(check::ANSWERS, "it answers")),
    }
    found
}

/// The resource that a permission is for.
fn resource(place: &Place, operation: &str) -> String {
    let table = format!("arn:aws:dynamodb:{}:ACCOUNT:table/{}", place.region, place.table);
    match operation {
        "DescribeStream" | "GetShardIterator" | "GetRecords" => format!("{table}/stream/*"),
        _ => table,
    }
}

/// Whether the table is there and can be used.
fn state(seen: &Seen) -> Vec<Finding> {
    let place = &seen.place;
    let found = match &seen.table {
        Ok(facts) => match facts.status.as_str() {
            "ACTIVE" | "UPDATING" => place.ok(check::TABLE, format!("it is {}", facts.status)),
            "CREATING" => place.warning(check::TABLE, "it is being created").to_do("wait until it is ACTIVE"),
            "INACCESSIBLE_ENCRYPTION_CREDENTIALS" => {
                place.problem(check::TABLE, "its KMS key cannot be used").to_do("enable the key, or its grant, again")
            }
            other => place
                .problem(check::TABLE, format!("it is {other}"))
                .to_do("a table in this state takes no writes: find out who did it"),
        },
        Err(refused) if refused.class == Class::Missing => {
            let what = "there is no such table";
            let hint = match place.side {
                "standby" => "create it with the key schema and the indexes of the primary table",
                _ => "check its name and region in the configuration",
            };
            place.problem(check::TABLE, what).to_do(hint)
        }
        Err(_) => return Vec::new(),
    };
    vec![found]
}
