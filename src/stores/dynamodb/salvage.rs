//! What a promotion lost of a table: the records of the primary's stream after the frozen positions, what the index had
//! parked, and, where history is gone, the differences of the two tables.
//!
//! Reads the primary and never writes there. [`shards`] reads the stream, [`compare`] the tables, [`settle`] writes to the
//! standby under a condition, [`image`] says when two items are the same.

mod compare;
mod image;
mod settle;
mod shards;

use async_trait::async_trait;
use serde_json::Value;

use self::image::{image, key_text};
use super::Table;
use super::item::{self, Image as Held};
use super::lineage::Incarnation;
use crate::change::{Class, Key, SourceTime, Stamp};
use crate::stores::salvage::{Found, Image, Origin, Rest, Salvage, Settled, Sink, Wish};
use crate::stores::{StoreError, StoreState};
use crate::watermark::ParkedRecord;

#[async_trait]
impl Salvage for Table {
    async fn reachable(&self) -> Result<(), StoreError> {
        match self.source.describe_table().table_name(&self.settings.table).send().await {
            Ok(_) => Ok(()),
            // It answers; what follows from a table that is gone is said where it is read.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => Ok(()),
            Err(error) => Err(StoreError::of_call(&error, false, "DescribeTable", &self.primary_name())),
        }
    }

    async fn tail(
        &self,
        state: &StoreState,
        as_of: Stamp,
        _: &dyn Rest,
        sink: &mut dyn Sink,
    ) -> Result<Vec<String>, StoreError> {
        let Some(incarnation) = state.record.incarnation.as_deref().and_then(Incarnation::parse) else {
            return Ok(vec!["the table was never copied: there is no position to read on from".into()]);
        };
        let mut missing = self.identity_now(&incarnation).await?;
        shards::Reading::new(self, &incarnation.stream_arn, state, as_of).run(sink, &mut missing).await?;
        Ok(missing)
    }

    fn parked(&self, key: &Key, record: &ParkedRecord) -> Result<Found, StoreError> {
        use base64::Engine as _;
        let bad = || {
            StoreError::new(Class::Invalid, "reading a parked change", format!("store {}, {key:?}", self.id))
                .hint("the index does not give its image back; look at the item in prodX")
        };
        let body = base64::engine::general_purpose::STANDARD.decode(&record.body).map_err(|_| bad())?;
        let body = item::decode(&body).ok_or_else(bad)?;
        let (names, held) = match &body.image {
            Held::Put(item) => (item, Some(image(item))),
            Held::Delete(key) => (key, None),
        };
        let key_item = names.iter().filter(|(name, _)| body.key_names.contains(*name));
        let key_item = key_item.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Found {
            key: key.clone(),
            name: key_text(&key_item),
            at: Some(record.since),
            before: None,
            image: held,
            origin: Origin::Parked,
            expired: false,
        })
    }

    async fn compare(&self, bytes_per_second: u64, sink: &mut dyn Sink) -> Result<(), StoreError> {
        self.compare_tables(bytes_per_second, sink).await
    }

    fn identity(&self, key: &Value) -> Option<Key> {
        item::map_from_json(key).map(|key| item::identity(&key))
    }

    async fn standby(&self, keys: &[Value]) -> Result<Vec<Option<Image>>, StoreError> {
        let on = self.standby_name_of();
        let keys: Option<Vec<item::Item>> = keys.iter().map(item::map_from_json).collect();
        let keys = keys.ok_or_else(|| StoreError::new(Class::Invalid, "reading a key", on.clone()))?;
        let found = self.batch_get(&self.target, &self.settings.standby_table, &on, &keys, false).await?;
        Ok(found.into_iter().map(|item| item.as_ref().map(image)).collect())
    }

    async fn settle(&self, wish: &Wish) -> Settled {
        self.settle_one(wish).await
    }
}

impl Table {
    /// What cannot be in the adopted stream, given what the table is now (DS-1).
    async fn identity_now(&self, adopted: &Incarnation) -> Result<Vec<String>, StoreError> {
        let described = match self.source.describe_table().table_name(&self.settings.table).send().await {
            Ok(answer) => answer.table,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                return Ok(vec![format!("table {} no longer exists in prodX", self.settings.table)]);
            }
            Err(error) => return Err(StoreError::of_call(&error, false, "DescribeTable", &self.primary_name())),
        };
        let Some(table) = described else {
            return Err(StoreError::new(Class::Unavailable, "DescribeTable", self.primary_name()));
        };
        let now = super::survey::identity(&table);
        if now != adopted.table_id {
            return Ok(vec![format!(
                "table {} was deleted and created again in prodX: what is there now was never copied",
                self.settings.table
            )]);
        }
        if super::survey::stream_of(&table).as_deref() != Some(adopted.stream_arn.as_str()) {
            return Ok(vec![format!(
                "the stream of table {} was disabled: what was written without it is in no stream",
                self.settings.table
            )]);
        }
        Ok(Vec::new())
    }

    fn primary_name(&self) -> String {
        format!("primary table {}", self.settings.table)
    }

    fn standby_name_of(&self) -> String {
        format!("standby table {}", self.settings.standby_table)
    }
}

/// A time of the stream, which has no finer precision than a second (DS-F12).
fn source_time(at: &aws_sdk_dynamodbstreams::primitives::DateTime) -> Option<SourceTime> {
    at.to_millis().ok().map(SourceTime)
}
