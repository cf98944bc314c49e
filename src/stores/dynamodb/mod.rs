//! DynamoDB tables: the stream of the primary table is read and applied to the standby table; global tables, which AWS
//! replicates, are observed ([`global`]).
//!
//! - [`lineage`] decides about shards (pure), [`survey`] looks at table and stream, [`tail`] reads a shard, [`apply`]
//!   writes to the standby, [`item`] carries items over without loss.
//! - [`facts`] is a table as described, [`drift`] compares two of them (pure), [`doctor`] asks for them, [`promote`] makes
//!   the standby ready for traffic, [`operations`] is every call with the policy that grants it.
//! - [`salvage`] finds what a promotion lost, and brings over what an operator names.
//! - [`copy`] reads what exists, as [`seed`] decides it, [`budget`] keeps that within its share.
//! - What it deliberately does not do: LATEST iterators (DS-6), partial updates (AP-1), attributes of its own in user
//!   items (AP-3), transactions (their changes arrive one by one; DS-F15).

mod apply;
mod budget;
mod canary;
mod canary_settings;
mod copy;
mod doctor;
mod drift;
mod facts;
mod global;
mod item;
mod lineage;
pub mod operations;
pub mod promote;
mod salvage;
mod settings;
mod survey;
mod tail;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use self::item::{Body, Image};
use super::canary::Canary;
use super::contract::{Applied, Examine, Kind, Mode, Replicate, Rhythm, Spot, Store};
use super::{StoreError, StoreState, Transition, seed};
use crate::aws::Aws;
use crate::change::{Change, Class, Key, Method, Read, SourceTime, Stamp, StoreId};
use crate::promote::Step;
use crate::seams::SharedClock;
use crate::watermark::{ParkedRecord, Watermarks};

pub use settings::DynamoDbSettings;

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "dynamodb",
    supports: settings::supports,
    keys: settings::KEYS,
    read: settings::read,
    example: include_str!("example.toml"),
};

/// A table and its standby.
struct Table {
    id: StoreId,
    settings: DynamoDbSettings,
    source: aws_sdk_dynamodb::Client,
    streams: aws_sdk_dynamodbstreams::Client,
    target: aws_sdk_dynamodb::Client,
    cursors: tail::Cursors,
    control: doctor::Control,
    budget: budget::Budget,
    /// The names of the key's attributes, once looked up. A table that was made anew may have others.
    key_names: Mutex<Option<Arc<[String]>>>,
    clock: SharedClock,
    canaries: Option<canary::Canaries>,
}

fn open(settings: DynamoDbSettings, id: &StoreId, aws: &Aws) -> Arc<dyn Store> {
    let attempt = settings.attempt_timeout;
    Arc::new(Table {
        id: id.clone(),
        source: aws.primary.dynamodb(attempt),
        streams: aws.primary.streams(attempt),
        target: aws.standby.dynamodb(attempt),
        cursors: tail::Cursors::default(),
        control: doctor::Control::new(aws.primary.region(), aws.standby.region()),
        budget: budget::Budget::default(),
        key_names: Mutex::default(),
        clock: Arc::clone(&aws.clock),
        canaries: settings.canary.clone().map(canary::Canaries::new),
        settings,
    })
}

impl Store for Table {
    fn id(&self) -> &StoreId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn mode(&self) -> Mode<'_> {
        Mode::Replicate(self)
    }

    fn rhythm(&self) -> Rhythm {
        self.settings.rhythm
    }

    fn period(&self) -> Duration {
        self.settings.canary.as_ref().map_or(Duration::ZERO, |c| c.every).max(self.settings.rhythm.poll_max)
    }

    fn watermark(&self, state: &StoreState) -> Option<(SourceTime, Method)> {
        let (through, method) = watermark(state)?;
        match (&self.canaries, state.record.canary_through) {
            (None, _) => Some((through, method)),
            // DS-12: no further than what came by. The tips of shards that no canary is in stay an assumption.
            (Some(_), proved) => Some((through.min(proved?), Method::Verified)),
        }
    }

    /// What the standby table needs before traffic comes. It takes writes as it is, so only its being there is required.
    fn promote_steps(&self, marks: &Watermarks) -> Vec<Arc<dyn Step>> {
        let record = marks.stores.get(&self.id).map(|mark| &mark.record);
        promote::steps(&promote::Standby {
            store: self.id.clone(),
            client: self.target.clone(),
            table: self.settings.standby_table.clone(),
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

/// The least of all shards that may hold changes which are not durable, waiting ones included (DS-11), and the weakest of
/// their methods. `None` while any of them has proved nothing, and when there is none left to prove anything.
fn watermark(state: &StoreState) -> Option<(SourceTime, Method)> {
    let lanes: Option<Vec<_>> = state.live_lanes().map(|(_, lane)| Some((lane.through?, lane.method))).collect();
    let lanes = lanes?;
    Some((lanes.iter().map(|l| l.0).min()?, lanes.iter().map(|l| l.1).min()?))
}

#[async_trait]
impl Replicate for Table {
    async fn survey(&self, state: &StoreState, now: Stamp) -> Result<Vec<Transition>, StoreError> {
        self.look(state, now).await
    }

    fn proceed(&self, state: &StoreState, _: SourceTime, skew: Duration) -> Vec<Transition> {
        seed::proceed(state, &self.settings.seed, skew)
    }

    fn held(&self, state: &StoreState) -> Option<String> {
        seed::held(state, self.id.as_str(), &self.settings.seed)
    }

    async fn read(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        if spot.lane.is_tail() { self.read_shard(spot).await } else { self.read_copy(spot).await }
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        self.write(changes).await
    }

    fn canary(&self) -> Option<&dyn Canary> {
        self.canaries.as_ref().map(|_| self as &dyn Canary)
    }

    fn encode(&self, change: &Change) -> Bytes {
        change.body.downcast_ref::<Body>().map(item::encode).unwrap_or_default().into()
    }

    fn decode(&self, key: &Key, parked: &ParkedRecord, body: &[u8]) -> Result<Change, StoreError> {
        let on = format!("store {}, {key:?}", self.id);
        let body = item::decode(body).ok_or_else(|| StoreError::new(Class::Invalid, "reading a parked change", on))?;
        let size = match &body.image {
            Image::Put(item) | Image::Delete(item) => item::size(item),
        };
        let position = parked.position.clone();
        Ok(Change { key: key.clone(), position, at: parked.since, body: Arc::new(body), size })
    }
}
