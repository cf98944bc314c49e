//! S3 buckets: events from a queue in prodY say which keys changed, each is made the same as it is now, and both ends are
//! walked side by side for what no event told (semantics section 3).
//!
//! - [`events`] understands a message (pure), [`queue`] receives and forgets it, [`survey`] looks at what both buckets and
//!   the queue are.
//! - [`converge`] makes one object the same, [`list`] puts both buckets side by side, [`canary`] writes the canary.
//! - [`facts`] is a bucket, a queue and a rule as described, [`drift`] judges them (pure), [`doctor`] asks for them,
//!   [`promote`] makes the standby ready for traffic, [`operations`] is every call with the policy that grants it.
//! - [`salvage`] finds what a promotion lost, [`crr`] observes buckets that S3 itself replicates.
//! - What it deliberately does not do: believe in the order of events, or in what they say besides the key (S3-1); write
//!   anything of its own into metadata or tags (S3-2).

mod annotations;
mod beside;
mod canary;
mod converge;
mod copy;
mod crr;
mod doctor;
mod dress;
mod drift;
mod events;
mod facts;
mod hands;
mod history;
mod keys;
mod known;
mod list;
mod look;
mod multipart;
mod object;
pub mod operations;
mod parts;
mod plan;
pub mod promote;
mod queue;
mod refusal;
mod salvage;
mod same;
mod seal;
mod settings;
mod survey;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::contract::{Examine, Kind, Mode, Rhythm, Store};
use super::converge::{
    Channel, Converge, Depth, ListFrom, ListPage, Message, Notebook, Receipt, Settled, Spot, Survey, Tempo,
};
use super::{StoreError, StoreState, observe};
use crate::aws::Aws;
use crate::change::{Key, Method, SourceTime, StoreId};
use crate::promote::Step;
use crate::seams::SharedClock;
use crate::watermark::Watermarks;

pub use settings::{Carry, S3Settings, Transfer, Versions};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "s3",
    supports: settings::supports,
    keys: settings::keys::KEYS,
    read: settings::read,
    example: include_str!("example.toml"),
};

/// A bucket and its standby.
pub(super) struct Bucket {
    id: StoreId,
    settings: S3Settings,
    /// prodX, for requests without a body.
    source: aws_sdk_s3::Client,
    /// prodX, for bodies.
    source_bytes: aws_sdk_s3::Client,
    /// prodY, for requests without a body.
    target: aws_sdk_s3::Client,
    /// prodY, for bodies and copies.
    target_bytes: aws_sdk_s3::Client,
    /// prodY.
    queue: aws_sdk_sqs::Client,
    /// What is asked about it, and what was learnt.
    control: doctor::Control,
    clock: SharedClock,
    /// What its transfers share.
    hands: hands::Hands,
}

fn open(settings: S3Settings, id: &StoreId, aws: &Aws) -> Arc<dyn Store> {
    let (attempt, bytes) = (settings.attempt_timeout, settings.transfer_timeout);
    Arc::new(Bucket {
        id: id.clone(),
        source: aws.primary.s3(attempt),
        source_bytes: aws.primary.s3(bytes),
        target: aws.standby.s3(attempt),
        target_bytes: aws.standby.s3(bytes),
        // The answer to a long poll begins when the poll ends.
        queue: aws.standby.sqs(settings.tempo.poll_wait + attempt),
        control: doctor::Control::new(&settings, aws),
        clock: Arc::clone(&aws.clock),
        hands: hands::Hands::new(&settings),
        settings,
    })
}

impl Store for Bucket {
    fn id(&self) -> &StoreId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn mode(&self) -> Mode<'_> {
        Mode::Converge(self)
    }

    fn rhythm(&self) -> Rhythm {
        let Tempo { poll_wait, delivery, max_request_life, concurrency, .. } = self.settings.tempo;
        Rhythm {
            poll_min: Duration::ZERO,
            poll_max: poll_wait,
            empty_run: 1,
            propagation: delivery,
            publish: Duration::ZERO,
            max_request_life,
            apply_concurrency: concurrency,
            apply_batch: 1,
            survey_every: poll_wait,
        }
    }

    /// The spine makes the watermark of the course; it stands in the record.
    fn watermark(&self, state: &StoreState) -> Option<(SourceTime, Method)> {
        Some((state.record.through?, state.record.method?))
    }

    fn promote_steps(&self, marks: &Watermarks) -> Vec<Arc<dyn Step>> {
        let record = marks.stores.get(&self.id).map(|mark| &mark.record);
        promote::steps(&promote::Standby {
            store: self.id.clone(),
            client: self.target.clone(),
            control: self.control.s3control.clone(),
            bucket: self.settings.standby_bucket.clone(),
            source_bucket: self.settings.bucket.clone(),
            prefix: self.settings.prefix.clone(),
            region: self.control.standby_region.clone(),
            promoting: self.settings.promoting.clone(),
            source: record.and_then(|record| record.source.clone()),
        })
    }

    fn examine(&self) -> Option<&dyn Examine> {
        Some(self)
    }

    fn salvage(&self) -> Option<&dyn super::salvage::Salvage> {
        Some(self)
    }
}

#[async_trait]
impl Converge for Bucket {
    fn tempo(&self) -> Tempo {
        self.settings.tempo.clone()
    }

    async fn survey(&self) -> Result<Survey, StoreError> {
        self.look().await
    }

    async fn receive(&self, channel: Channel) -> Result<Vec<Message>, StoreError> {
        self.poll(channel).await
    }

    async fn hold(&self, receipts: &[Receipt], by: std::time::Duration) -> Result<Vec<Receipt>, StoreError> {
        self.keep_hidden(receipts, by).await
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>, StoreError> {
        self.forget(receipts).await
    }

    async fn requeue(&self, message: &Message) -> Result<(), StoreError> {
        self.send_again(message).await
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        self.count().await
    }

    async fn converge(&self, spot: Spot<'_>) -> Settled {
        self.make_same(spot).await
    }

    async fn ranges(&self) -> Result<Vec<Key>, StoreError> {
        self.parts().await
    }

    async fn list(&self, from: &ListFrom, notebook: &dyn Notebook) -> Result<ListPage, StoreError> {
        self.side_by_side(from, notebook).await
    }

    async fn beat(&self, beat: &observe::Beat) -> Result<(), StoreError> {
        self.write_canary(beat).await
    }

    fn key_text(&self, key: &Key) -> String {
        String::from_utf8_lossy(&key.0).into_owned()
    }
}
