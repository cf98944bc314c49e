//! S3 buckets: events from a queue in prodY say which keys changed, each is made the same as it is now, and both ends are
//! walked side by side for what no event told (semantics section 3).

mod beside;
mod canary;
mod converge;
mod copy;
mod crr;
mod dress;
mod hands;
mod history;
mod keys;
mod known;
mod list;
mod look;
mod multipart;
mod object;
mod parts;
mod plan;
mod queue;
mod refusal;
mod same;
mod seal;
mod settings;
mod survey;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use super::converge::{
    Channel, Converge, Depth, ListFrom, ListPage, Message, Notebook, Receipt, Settled, Spot, Survey, Tempo,
};
use super::{StoreError, observe};
use crate::change::{Key, StoreId};
use crate::seams::SharedClock;

pub use settings::{Carry, S3Settings, Transfer, Versions};

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
    clock: SharedClock,
    /// What its transfers share.
    hands: hands::Hands,
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
