//! Operations that S3 failed to replicate, until each is in prodY.
//!
//! The queue of their events is the durable list: a message stays in it until every operation that it tells of has arrived,
//! or there is nothing left to replicate. A process that has just begun knows nothing before it has read the queue to its
//! end. So the queue must be this store's alone, without a redrive policy, and keep its messages as long as can be.
//!
//! Nothing is mended here. What failed is tried again by S3 itself, on request (see [`super::rules::retry_command`]).

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::ReplicationStatus;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use futures_util::StreamExt as _;

use super::notices::{Failure, Notice, understand};
use super::sample::Failures;
use crate::change::{Class, SourceTime, Stamp};
use crate::seams::SharedClock;
use crate::stores::StoreError;

/// Between two readings of the queue.
const READ_EVERY: Duration = Duration::from_secs(10);
/// Receipts in one reading, at most; each of ten messages.
const RECEIPTS: usize = 20;
/// A message that was read is not shown again for so long.
const HIDDEN: Duration = Duration::from_secs(300);
/// Operations that are looked at in one reading, at most; the longest not looked at first.
const LOOKS: usize = 100;
/// Looks at one time.
const AT_ONCE: usize = 8;
/// Messages that are remembered, at most. More pin no less.
const MOST: usize = 20_000;
/// A message that is not understood may be of an operation that began this long before it was sent.
const STRANGE_AFTER: Duration = Duration::from_secs(15 * 60);

/// What reading needs.
pub(super) struct Reach<'a> {
    pub(super) sqs: &'a aws_sdk_sqs::Client,
    pub(super) url: &'a str,
    /// prodX.
    pub(super) x: &'a Client,
    pub(super) bucket: &'a str,
    /// prodY.
    pub(super) y: &'a Client,
    pub(super) standby_bucket: &'a str,
    pub(super) clock: &'a SharedClock,
}

#[derive(Debug, Clone)]
struct Held {
    /// What has not arrived.
    open: Vec<Failure>,
    /// The message is not understood.
    strange: Option<(SourceTime, String)>,
    receipt: String,
    looked: Duration,
}

/// What is known of the queue.
#[derive(Debug, Default)]
pub(super) struct Board {
    held: BTreeMap<String, Held>,
    read_at: Option<Duration>,
    /// It was read to its end once.
    settled: bool,
    trouble: Option<String>,
}

/// Whether an operation has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// Or there is nothing left to arrive.
    Done,
    Open,
    /// An answer did not come.
    Unknown,
}

impl Board {
    /// What it says now, and what went wrong in reading.
    pub(super) fn said(&self) -> (Failures, Option<String>) {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        let mut failures = Failures { unread: !self.settled, ..Failures::default() };
        for held in self.held.values() {
            let strange = held.strange.iter().map(|(at, _)| (*at, "a message that is not understood"));
            let open = held.open.iter().map(|failure| (failure.since, failure.reason.as_str()));
            for (since, reason) in open.chain(strange) {
                failures.count += 1;
                failures.oldest = Some(failures.oldest.map_or(since, |have| have.min(since)));
                *reasons.entry(reason).or_default() += 1;
            }
        }
        let words: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
        failures.why = words.join(", ");
        (failures, self.trouble.clone())
    }

    /// The operations that have not arrived, the oldest first, at most `most`.
    pub(super) fn open(&self, most: usize) -> Vec<Failure> {
        let mut open: Vec<Failure> = self.held.values().flat_map(|held| held.open.iter().cloned()).collect();
        open.sort_by(|a, b| (a.since, a).cmp(&(b.since, b)));
        open.truncate(most);
        open
    }

    /// The next look reads.
    #[cfg(test)]
    pub(super) fn forget_when(&mut self) {
        self.read_at = None;
    }

    /// It is time to read.
    pub(super) fn due(&self, now: Stamp) -> bool {
        self.read_at.is_none_or(|at| now.mono.saturating_sub(at) >= READ_EVERY)
    }

    /// Reads the queue, and looks at what it holds.
    pub(super) async fn read(&mut self, reach: &Reach<'_>) {
        self.read_at = Some(reach.clock.now().mono);
        self.trouble = match self.receive(reach).await {
            Ok(empty) => self.settle(reach, empty).await.err(),
            Err(error) => Some(error),
        }
        .map(|error| error.chain());
        self.look(reach).await;
    }

    /// Takes what is in the queue; `true` when there was nothing more.
    async fn receive(&mut self, reach: &Reach<'_>) -> Result<bool, StoreError> {
        for _ in 0..RECEIPTS {
            if self.held.len() >= MOST {
                return Ok(false);
            }
            let answer = reach
                .sqs
                .receive_message()
                .queue_url(reach.url)
                .max_number_of_messages(10)
                .visibility_timeout(i32::try_from(HIDDEN.as_secs()).unwrap_or(300))
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .send()
                .await
                .map_err(|e| StoreError::of_call(&e, false, "ReceiveMessage", reach.url))?;
            if answer.messages().is_empty() {
                return Ok(true);
            }
            for message in answer.messages() {
                let sent = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
                let sent = sent.and_then(|text| text.parse().ok()).map(SourceTime);
                let now = reach.clock.now().wall;
                self.take(
                    message.message_id().unwrap_or_default(),
                    message.receipt_handle().unwrap_or_default(),
                    understand(message.body().unwrap_or_default(), reach.bucket, reach.standby_bucket),
                    sent.unwrap_or(now),
                );
            }
        }
        Ok(false)
    }

    fn take(&mut self, id: &str, receipt: &str, notice: Notice, sent: SourceTime) {
        if let Some(held) = self.held.get_mut(id) {
            // It has come again: only its newest receipt deletes it.
            receipt.clone_into(&mut held.receipt);
            return;
        }
        let (open, strange) = match notice {
            Notice::Failures(failures) => (failures, None),
            Notice::Strange(why) => (Vec::new(), Some((sent - STRANGE_AFTER, why))),
        };
        let held = Held { open, strange, receipt: receipt.to_owned(), looked: Duration::ZERO };
        self.held.insert(id.to_owned(), held);
    }

    /// All that the queue holds is held here.
    async fn settle(&mut self, reach: &Reach<'_>, empty: bool) -> Result<(), StoreError> {
        if self.settled || !empty {
            return Ok(());
        }
        let answer = reach
            .sqs
            .get_queue_attributes()
            .queue_url(reach.url)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            .send()
            .await
            .map_err(|e| StoreError::of_call(&e, false, "GetQueueAttributes", reach.url))?;
        let number = |name| {
            let text = answer.attributes().and_then(|all| all.get(&name));
            text.and_then(|text: &String| text.parse::<usize>().ok())
        };
        let waiting = number(QueueAttributeName::ApproximateNumberOfMessages);
        let hidden = number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible);
        // Those that an earlier process has read come back when it has lost them.
        self.settled = waiting == Some(0) && hidden.is_some_and(|hidden| hidden <= self.held.len());
        Ok(())
    }

    /// Looks at what was not looked at for the longest time, and forgets what has arrived.
    async fn look(&mut self, reach: &Reach<'_>) {
        let now = reach.clock.now().mono;
        let mut all: Vec<(Duration, String, Failure)> = Vec::new();
        for (id, held) in &self.held {
            all.extend(held.open.iter().map(|failure| (held.looked, id.clone(), failure.clone())));
        }
        all.sort_by_key(|found| found.0);
        all.truncate(LOOKS);
        let looks = all.into_iter().map(async |(_, id, failure)| (arrival(reach, &failure).await, id, failure));
        // Made before they are awaited: a closure held over an await is not `Send` for every lifetime.
        let looks: Vec<_> = looks.collect();
        let seen: Vec<_> = futures_util::stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        for (arrival, id, failure) in seen {
            let Some(held) = self.held.get_mut(&id) else { continue };
            held.looked = now;
            if arrival == Arrival::Done {
                held.open.retain(|open| *open != failure);
            }
        }
        let over = self.held.iter().filter(|(_, held)| held.open.is_empty() && held.strange.is_none());
        let over: Vec<(String, String)> = over.map(|(id, held)| (id.clone(), held.receipt.clone())).collect();
        for (id, receipt) in over {
            match reach.sqs.delete_message().queue_url(reach.url).receipt_handle(receipt).send().await {
                Ok(_) => drop(self.held.remove(&id)),
                // It comes again, and is found to be over again.
                Err(error) => {
                    let failed = StoreError::of_call(&error, true, "DeleteMessage", reach.url);
                    if failed.class == Class::Denied {
                        self.trouble = Some(failed.chain());
                    }
                    self.held.remove(&id);
                }
            }
        }
    }
}

/// Looks whether an operation has arrived: S3 keeps the version id of a replica.
async fn arrival(reach: &Reach<'_>, failure: &Failure) -> Arrival {
    let head = |client: &Client, bucket: &str| {
        let head = client.head_object().bucket(bucket).key(&failure.key);
        head.set_version_id(failure.version.clone()).send()
    };
    let source = match head(reach.x, reach.bucket).await {
        Ok(answer) => Some(answer.replication_status().cloned()),
        Err(error) => match error.raw_response().map(|answer| answer.status().as_u16()) {
            // The version is gone, and with it what was to be replicated.
            Some(404) => return Arrival::Done,
            // A delete marker: its status is not told.
            Some(405) => None,
            _ => return Arrival::Unknown,
        },
    };
    if source
        .flatten()
        .is_some_and(|status| matches!(status, ReplicationStatus::Complete | ReplicationStatus::Completed))
    {
        return Arrival::Done;
    }
    // A change of tags or of a lock makes no version: only the source's status tells.
    let makes_version =
        failure.operation.is_empty() || failure.operation == "OBJECT_PUT" || failure.operation.contains("DELETE");
    if failure.version.is_none() || !makes_version {
        return Arrival::Open;
    }
    match head(reach.y, reach.standby_bucket).await {
        Ok(_) => Arrival::Done,
        Err(error) => match error.raw_response().map(|answer| answer.status().as_u16()) {
            Some(405) => Arrival::Done,
            Some(404) => Arrival::Open,
            _ => Arrival::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(key: &str, secs: i64, reason: &str) -> Failure {
        Failure {
            key: key.into(),
            version: Some("v".into()),
            since: SourceTime::from_secs(secs),
            operation: "OBJECT_PUT".into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn nothing_is_known_before_the_queue_was_read_to_its_end() {
        assert!(Board::default().said().0.unread);
    }

    #[test]
    fn the_oldest_of_what_is_open_counts_with_its_reasons() {
        let mut board = Board { settled: true, ..Board::default() };
        assert_eq!(board.said().0, Failures::default());
        board.take("m1", "r", Notice::Failures(vec![failure("a", 50, "A"), failure("b", 40, "B")]), SourceTime(0));
        board.take("m2", "r", Notice::Failures(vec![failure("c", 45, "B")]), SourceTime(0));
        board.take("m3", "r", Notice::Strange("what".into()), SourceTime::from_secs(1000));
        let (said, _) = board.said();
        assert_eq!((said.count, said.oldest), (4, Some(SourceTime::from_secs(40))));
        assert_eq!(said.why, "A (1), B (2), a message that is not understood (1)");
        assert_eq!(board.open(2).iter().map(|open| open.key.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn a_message_that_comes_again_brings_back_nothing_that_has_arrived() {
        let mut board = Board::default();
        let told = || Notice::Failures(vec![failure("a", 50, "A"), failure("b", 40, "B")]);
        board.take("m1", "r1", told(), SourceTime(0));
        board.held.get_mut("m1").expect("held").open.remove(1);
        board.take("m1", "r2", told(), SourceTime(0));
        assert_eq!((board.held["m1"].open.len(), board.held["m1"].receipt.as_str()), (1, "r2"));
    }
}
