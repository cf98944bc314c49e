//! Looks at the configuration of both buckets, and on request at a sample of objects: whether they were replicated is told
//! by each of them. Reads only; each question stands alone, so that one that is refused hides no other.

use async_trait::async_trait;
use aws_sdk_s3::types::{BucketVersioningStatus, ReplicationStatus};
use futures_util::future::join;

use super::Replicated;
use super::rules::{check, retry_command};
use crate::change::{ANSWERS, Finding, Severity};
use crate::stores::StoreError;
use crate::stores::contract::{Examine, Look};
use crate::stores::s3::list::page::{End, PAGE};

/// Objects that are looked at, at most, of the first thousand.
const SAMPLE: usize = 20;
/// Failed objects that are named, at most.
const NAMED: usize = 20;

/// What a sample of objects says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    arrived: usize,
    pending: usize,
    failed: usize,
    /// No rule was about them when they were written.
    untouched: usize,
}

#[async_trait]
impl Examine for Replicated {
    async fn examine(&self, how: Look<'_>) -> Vec<Finding> {
        let (on_x, on_y) = (self.on_source(), self.on_standby());
        let silent = if how.probe { Severity::Problem } else { Severity::Warning };
        let unasked = |error: StoreError, on: &str| Finding::new(silent, ANSWERS, on, error.chain());
        let mut found = Vec::new();
        match self.configured().await {
            Ok(rules) => found.extend(self.wanted(&on_x).findings(&rules)),
            Err(error) => found.push(unasked(error, &on_x)),
        }
        let (common, x, y) = (&self.settings.common, &self.x.s3, &self.y.s3);
        let versioned = join(versioning(x, &common.bucket, &on_x), versioning(y, &common.standby_bucket, &on_y)).await;
        for (versioned, on) in [(versioned.0, &on_x), (versioned.1, &on_y)] {
            found.push(match versioned {
                Ok(true) => Finding::new(Severity::Ok, check::VERSIONING, on, "versioning is on"),
                Ok(false) => Finding::new(Severity::Problem, check::VERSIONING, on, "versioning is not on")
                    .to_do("enable it: S3 replicates only between versioned buckets"),
                Err(error) => unasked(error, on),
            });
        }
        found.push(self.failed_objects(&on_x).await);
        found.extend(if how.probe {
            match self.sample(&on_x).await {
                Ok(tally) => existing(tally, &on_x, &common.bucket, &self.x.region),
                Err(error) => vec![unasked(error, &on_x)],
            }
        } else {
            let what = "objects that were there before the rule are not replicated by it, and no metric tells of them";
            vec![
                Finding::new(Severity::Note, check::EXISTING, &on_x, what)
                    .to_do("replicate them once by a job of S3 Batch Replication; doctor --online looks at a sample"),
            ]
        });
        found
    }
}

impl Replicated {
    /// What the queue of failures holds, as of the last look.
    async fn failed_objects(&self, on: &str) -> Finding {
        if self.settings.failures_queue_url.is_none() {
            return Finding::new(
                Severity::Warning,
                check::FAILURES,
                on,
                "nobody tells which objects fail to be replicated",
            )
            .to_do(
                "send s3:Replication:OperationFailedReplication, OperationMissedThreshold and OperationNotTracked to a \
                     queue, and set failures_queue_url",
            );
        }
        let failures = self.failures().await;
        let open = self.board.lock().await.open(NAMED);
        let Some((failures, trouble)) = failures else {
            return Finding::new(Severity::Ok, check::FAILURES, on, "no queue of failures");
        };
        if let Some(trouble) = trouble {
            return Finding::new(Severity::Problem, check::FAILURES, on, trouble);
        }
        if failures.count == 0 {
            return Finding::new(Severity::Ok, check::FAILURES, on, "no object is known to have failed");
        }
        // Keys are customer data: the log and the status show none; whoever examines has asked.
        let named: Vec<String> = open
            .iter()
            .map(|failure| format!("{} ({}, {})", shown(&failure.key), failure.reason, failure.since))
            .collect();
        let more = failures.count.saturating_sub(open.len() as u64);
        let more = if more == 0 { String::new() } else { format!(", and {more} more") };
        let what = format!("{} operations were not replicated: {}{more}", failures.count, named.join(", "));
        Finding::new(Severity::Problem, check::FAILURES, on, what)
            .to_do("mend the reason, then have S3 try again what failed, and only that")
            .command(retry_command(&self.settings.common.bucket, &self.x.region))
    }

    /// Looks at some of the first objects.
    async fn sample(&self, on: &str) -> Result<Tally, StoreError> {
        let common = &self.settings.common;
        let end = End { client: &self.x.s3, bucket: &common.bucket, prefix: &common.prefix, side: "source" };
        let page = end.objects(None, PAGE).await?;
        let step = page.entries.len().div_ceil(SAMPLE).max(1);
        let mut tally = Tally::default();
        for entry in page.entries.iter().step_by(step) {
            let key = String::from_utf8_lossy(&entry.key.0).into_owned();
            let head = match self.x.s3.head_object().bucket(&common.bucket).key(key).send().await {
                Ok(head) => head,
                // Deleted since.
                Err(error) if error.as_service_error().is_some_and(|e| e.is_not_found()) => continue,
                Err(error) => return Err(StoreError::of_call(&error, false, "HeadObject", on)),
            };
            match head.replication_status() {
                Some(ReplicationStatus::Complete | ReplicationStatus::Completed | ReplicationStatus::Replica) => {
                    tally.arrived += 1;
                }
                Some(ReplicationStatus::Failed) => tally.failed += 1,
                Some(_) => tally.pending += 1,
                None => tally.untouched += 1,
            }
        }
        Ok(tally)
    }
}

/// A digest of a key.
fn shown(key: &str) -> String {
    format!("key#{:08x}", crc32fast::hash(key.as_bytes()))
}

fn existing(tally: Tally, on: &str, bucket: &str, region: &str) -> Vec<Finding> {
    let all = tally.arrived + tally.pending + tally.failed + tally.untouched;
    if all == 0 {
        return vec![Finding::new(Severity::Ok, check::EXISTING, on, "there are no objects")];
    }
    let mut found = Vec::new();
    if tally.untouched > 0 {
        let what = format!(
            "{} of {all} objects were never replicated: they are older than the rule, or outside of it",
            tally.untouched
        );
        found.push(
            Finding::new(Severity::Warning, check::EXISTING, on, what)
                .to_do("replicate them once by a job of S3 Batch Replication (ObjectReplicationStatuses NONE)"),
        );
    }
    if tally.failed > 0 {
        let what = format!("{} of {all} objects failed to be replicated", tally.failed);
        found.push(
            Finding::new(Severity::Problem, check::FAILURES, on, what)
                .to_do("mend the reason, then have S3 try again what failed, and only that")
                .command(retry_command(bucket, region)),
        );
    }
    if found.is_empty() {
        let what = format!("of a sample of {all} objects {} were replicated and {} wait", tally.arrived, tally.pending);
        found.push(Finding::new(Severity::Ok, check::EXISTING, on, what));
    }
    found
}

async fn versioning(client: &aws_sdk_s3::Client, bucket: &str, on: &str) -> Result<bool, StoreError> {
    let answer = client.get_bucket_versioning().bucket(bucket).send().await;
    let answer = answer.map_err(|e| StoreError::of_call(&e, false, "GetBucketVersioning", on))?;
    Ok(answer.status() == Some(&BucketVersioningStatus::Enabled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_says_what_was_never_replicated_and_what_failed() {
        let says = |tally: Tally| -> Vec<(Severity, &'static str)> {
            existing(tally, "b", "photos", "us-east-1").iter().map(|f| (f.severity, f.check)).collect()
        };
        assert_eq!(says(Tally::default()), [(Severity::Ok, check::EXISTING)]);
        assert_eq!(says(Tally { arrived: 3, pending: 1, ..Tally::default() }), [(Severity::Ok, check::EXISTING)]);
        let bad = Tally { arrived: 3, untouched: 1, failed: 1, pending: 0 };
        assert_eq!(says(bad), [(Severity::Warning, check::EXISTING), (Severity::Problem, check::FAILURES)]);
    }
}
