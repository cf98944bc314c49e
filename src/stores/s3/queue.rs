//! The event queue in prodY, and the one that it gives its messages up to.
//!
//! A batch may be taken in part: what failed for a reason of the queue's own is sent again at once; what is left after that
//! counts as not ours any more, and comes again, which does no harm.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    Message as SqsMessage, MessageSystemAttributeName, QueueAttributeName,
};
use futures_util::future::join_all;

use super::Bucket;
use super::events::{Scope, understand};
use crate::change::{Class, SourceTime};
use crate::stores::StoreError;
use crate::stores::converge::{Channel, Depth, Message, Receipt};

/// Messages in one receipt, and in one batch.
const BATCH: usize = 10;
/// Batches that are sent at one time.
const AT_ONCE: usize = 8;
/// What failed for a reason of the queue's own is sent so often.
const ATTEMPTS: u64 = 3;
/// Before it is sent again, times the attempt.
const PAUSE: Duration = Duration::from_millis(100);
/// Buckets that are told to send what nobody here waits for, at most.
const MOST_OTHERS: usize = 100;

/// What becomes of the messages of a batch.
#[derive(Clone, Copy)]
enum Fate {
    /// Hidden for so long from now on.
    Hidden(Duration),
    /// Gone.
    Deleted,
}

/// What did not happen to a message, and whether trying again may help.
struct Undone {
    at: usize,
    again: bool,
}

impl Bucket {
    /// The URL of a channel's queue; `None`: it has none.
    fn queue_of(&self, channel: Channel) -> Option<&str> {
        match channel {
            Channel::Main => Some(&self.settings.queue_url),
            Channel::DeadLetters => self.settings.dead_letter_url.as_deref(),
        }
    }

    pub(super) async fn poll(&self, channel: Channel) -> Result<Vec<Message>, StoreError> {
        let Some(url) = self.queue_of(channel) else { return Ok(Vec::new()) };
        let tempo = &self.settings.tempo;
        let answer = self
            .queue
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(BATCH as i32)
            .wait_time_seconds(seconds(tempo.poll_wait))
            .visibility_timeout(seconds(tempo.visibility))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|e| StoreError::of_call(&e, false, "ReceiveMessage", url))?;
        answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .map(|message| self.read_message(message, channel, url))
            .collect()
    }

    fn read_message(&self, message: SqsMessage, channel: Channel, url: &str) -> Result<Message, StoreError> {
        let missing = |what: &str| {
            StoreError::new(Class::Unavailable, "ReceiveMessage", format!("{url}: a message without its {what}"))
        };
        let attribute = |name| message.attributes.as_ref().and_then(|all| all.get(&name)).and_then(|n| n.parse().ok());
        let sent_at: i64 = attribute(MessageSystemAttributeName::SentTimestamp).ok_or_else(|| missing("time"))?;
        let times = attribute(MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or(1);
        let handle = message.receipt_handle.ok_or_else(|| missing("handle"))?;
        let body = message.body.unwrap_or_default();
        let settings = &self.settings;
        let scope =
            Scope { bucket: &settings.bucket, prefix: &settings.prefix, canary: settings.canary_key.as_deref() };
        let told = understand(&body, scope);
        self.hear_of(told.others);
        Ok(Message {
            id: message.message_id.ok_or_else(|| missing("id"))?.into(),
            receipt: Receipt { channel, handle: handle.into() },
            sent_at: SourceTime(sent_at),
            times: u32::try_from(times).unwrap_or(u32::MAX),
            body: body.into(),
            says: told.says,
        })
    }

    /// Says once of each other bucket that its events come here, and are thrown away.
    fn hear_of(&self, others: BTreeSet<String>) {
        for other in others {
            if self.control.first_word_of(&other, MOST_OTHERS) {
                tracing::warn!(
                    store = %self.id,
                    bucket = other,
                    "the queue holds events of a bucket that is not this store's; they are removed: narrow the rule or the \
                     notification that sends them"
                );
            }
        }
    }

    pub(super) async fn keep_hidden(&self, receipts: &[Receipt], by: Duration) -> Result<Vec<Receipt>, StoreError> {
        self.decide(receipts, Fate::Hidden(by)).await
    }

    pub(super) async fn forget(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>, StoreError> {
        self.decide(receipts, Fate::Deleted).await
    }

    /// In batches of one queue each. Gives those to which it did not happen.
    async fn decide(&self, receipts: &[Receipt], fate: Fate) -> Result<Vec<Receipt>, StoreError> {
        let mut batches: Vec<(&str, Vec<&Receipt>)> = Vec::new();
        let mut undone: Vec<Receipt> = Vec::new();
        for channel in [Channel::Main, Channel::DeadLetters] {
            let of_it: Vec<&Receipt> = receipts.iter().filter(|receipt| receipt.channel == channel).collect();
            match self.queue_of(channel) {
                Some(url) => batches.extend(of_it.chunks(BATCH).map(|batch| (url, batch.to_vec()))),
                None => undone.extend(of_it.into_iter().cloned()),
            }
        }
        for group in batches.chunks(AT_ONCE) {
            let sent = join_all(group.iter().map(|(url, batch)| self.decide_batch(url, batch, fate))).await;
            for left in sent {
                undone.extend(left?);
            }
        }
        Ok(undone)
    }

    async fn decide_batch(&self, url: &str, batch: &[&Receipt], fate: Fate) -> Result<Vec<Receipt>, StoreError> {
        let mut left: Vec<&Receipt> = batch.to_vec();
        let mut lost = Vec::new();
        for attempt in 1..=ATTEMPTS {
            let failed = match fate {
                Fate::Hidden(by) => self.hide(url, &left, by).await?,
                Fate::Deleted => self.delete(url, &left).await?,
            };
            let (again, never): (Vec<Undone>, Vec<Undone>) = failed.into_iter().partition(|undone| undone.again);
            let of = |undone: &Undone| left.get(undone.at).copied();
            lost.extend(never.iter().filter_map(of).cloned());
            left = again.iter().filter_map(of).collect();
            if left.is_empty() {
                break;
            }
            if attempt < ATTEMPTS {
                self.clock.sleep(PAUSE * u32::try_from(attempt).unwrap_or(1)).await;
            }
        }
        lost.extend(left.into_iter().cloned());
        Ok(lost)
    }

    async fn hide(&self, url: &str, batch: &[&Receipt], by: Duration) -> Result<Vec<Undone>, StoreError> {
        let mut call = self.queue.change_message_visibility_batch().queue_url(url);
        for (at, receipt) in batch.iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(at.to_string())
                .receipt_handle(receipt.handle.as_ref())
                .visibility_timeout(seconds(by));
            call = call.entries(entry.build().map_err(|e| unbuilt("ChangeMessageVisibilityBatch", url, e))?);
        }
        let sent = call.send().await;
        let answer = sent.map_err(|e| StoreError::of_call(&e, true, "ChangeMessageVisibilityBatch", url))?;
        Ok(undone(answer.failed()))
    }

    async fn delete(&self, url: &str, batch: &[&Receipt]) -> Result<Vec<Undone>, StoreError> {
        let mut call = self.queue.delete_message_batch().queue_url(url);
        for (at, receipt) in batch.iter().enumerate() {
            let entry =
                DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(receipt.handle.as_ref());
            call = call.entries(entry.build().map_err(|e| unbuilt("DeleteMessageBatch", url, e))?);
        }
        let sent = call.send().await;
        let answer = sent.map_err(|e| StoreError::of_call(&e, true, "DeleteMessageBatch", url))?;
        Ok(undone(answer.failed()))
    }

    /// To the queue that it came from, so that a dead letter is still found among them.
    pub(super) async fn send_again(&self, message: &Message) -> Result<(), StoreError> {
        let channel = message.receipt.channel;
        let Some(url) = self.queue_of(channel) else {
            return Err(StoreError::new(Class::Invalid, "SendMessage", "a queue that is not configured"));
        };
        let sent = self.queue.send_message().queue_url(url).message_body(message.body.as_ref()).send().await;
        sent.map(drop).map_err(|e| StoreError::of_call(&e, true, "SendMessage", url))
    }

    pub(super) async fn count(&self) -> Result<Depth, StoreError> {
        let mut depth = Depth::default();
        for channel in [Channel::Main, Channel::DeadLetters] {
            let Some(url) = self.queue_of(channel) else { continue };
            let answer = self
                .queue
                .get_queue_attributes()
                .queue_url(url)
                .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
                .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
                .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
                .send()
                .await
                .map_err(|e| StoreError::of_call(&e, false, "GetQueueAttributes", url))?;
            // A number that is not told is not zero.
            let number = |name: QueueAttributeName| -> Result<u64, StoreError> {
                let text = answer.attributes().and_then(|all| all.get(&name));
                text.and_then(|text| text.parse().ok()).ok_or_else(|| {
                    let on = format!("{url}: an answer without {}", name.as_str());
                    StoreError::new(Class::Unavailable, "GetQueueAttributes", on)
                })
            };
            depth.waiting += number(QueueAttributeName::ApproximateNumberOfMessages)?;
            depth.delayed += number(QueueAttributeName::ApproximateNumberOfMessagesDelayed)?;
            depth.held += number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)?;
        }
        Ok(depth)
    }
}

fn undone(failed: &[BatchResultErrorEntry]) -> Vec<Undone> {
    // A handle that is not taken any more, or a message that is hidden no more, is our fault in SQS's words.
    let of =
        |entry: &BatchResultErrorEntry| Some(Undone { at: entry.id().parse().ok()?, again: !entry.sender_fault() });
    failed.iter().filter_map(of).collect()
}

fn unbuilt(what: &str, url: &str, error: aws_sdk_sqs::error::BuildError) -> StoreError {
    StoreError::new(Class::Invalid, what, url).because(error)
}

/// Whole seconds as SQS takes them.
fn seconds(d: Duration) -> i32 {
    i32::try_from(d.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
