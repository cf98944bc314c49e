//! Comparing two whole tables, where the stream cannot tell what was lost any more.
//!
//! The primary is scanned and its items are looked up in the standby; then the keys of the standby, which are looked up in
//! the primary. Bounded by a page of each. Both tables may be written to meanwhile: each pair is as of its own moment, and a
//! difference says nothing about whose write it was.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::KeysAndAttributes;

use super::image::{image, key_text};
use crate::aws::classify;
use crate::change::{Class, Key};
use crate::stores::StoreError;
use crate::stores::dynamodb::Table;
use crate::stores::dynamodb::copy::projection;
use crate::stores::dynamodb::item::{Item, identity};
use crate::stores::salvage::{Found, Image, Origin, Sink, digest_of};

/// Keys in one BatchGetItem.
const KEYS: usize = 100;
/// Attempts at one request.
const TRIES: u32 = 8;

impl Table {
    pub(super) async fn compare_tables(&self, bytes_per_second: u64, sink: &mut dyn Sink) -> Result<(), StoreError> {
        let (x, y) = (&self.settings.table, &self.settings.standby_table);
        let (on_x, on_y) = (format!("primary table {x}"), format!("standby table {y}"));
        let names = self.names_of_the_key(&on_y).await?;
        let key_of = |item: &Item| -> Item {
            names.iter().filter_map(|name| Some((name.clone(), item.get(name)?.clone()))).collect()
        };
        // Everything that prodX has.
        let mut from = None;
        loop {
            let begun = self.clock.now().mono;
            let (mut items, next, bytes) = self.scan_page(&self.source, x, &on_x, from, None).await?;
            items.retain(|item| !self.is_canary(key_of(item).values()));
            for items in items.chunks(KEYS) {
                sink.alive().await?;
                let keys: Vec<Item> = items.iter().map(key_of).collect();
                let held = self.batch_get(&self.target, y, &on_y, &keys, false).await?;
                for ((item, key), held) in items.iter().zip(&keys).zip(held) {
                    let (theirs, ours) = (image(item), held.as_ref().map(image));
                    if theirs.digest != digest_of(ours.as_ref()) {
                        sink.found(difference(key, Some(theirs))).await?;
                    }
                }
            }
            self.rest(begun, bytes, bytes_per_second).await;
            match next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        // What only prodY has: keys suffice.
        let mut from = None;
        loop {
            let begun = self.clock.now().mono;
            let (mut keys, next, bytes) = self.scan_page(&self.target, y, &on_y, from, Some(&names)).await?;
            keys.retain(|key| !self.is_canary(key.values()));
            for keys in keys.chunks(KEYS) {
                sink.alive().await?;
                let held = self.batch_get(&self.source, x, &on_x, keys, true).await?;
                for (key, _) in keys.iter().zip(held).filter(|(_, held)| held.is_none()) {
                    sink.found(difference(key, None)).await?;
                }
            }
            self.rest(begun, bytes, bytes_per_second).await;
            match next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The names of the key's attributes.
    async fn names_of_the_key(&self, on: &str) -> Result<Vec<String>, StoreError> {
        let sent = self.target.describe_table().table_name(&self.settings.standby_table).send().await;
        let answer = sent.map_err(|e| StoreError::of_call(&e, false, "DescribeTable", on))?;
        let table = answer.table.ok_or_else(|| StoreError::new(Class::Unavailable, "DescribeTable", on))?;
        Ok(table.key_schema().iter().map(|part| part.attribute_name().to_owned()).collect())
    }

    async fn scan_page(
        &self,
        client: &Client,
        table: &str,
        on: &str,
        from: Option<Item>,
        only: Option<&[String]>,
    ) -> Result<(Vec<Item>, Option<Item>, u64), StoreError> {
        for attempt in 0.. {
            let mut scan = client.scan().table_name(table).consistent_read(true).set_exclusive_start_key(from.clone());
            if let Some(names) = only {
                let (map, expression) = projection(names);
                scan = scan.projection_expression(expression).set_expression_attribute_names(Some(map));
            }
            match scan.send().await {
                Ok(page) => {
                    let items = page.items.unwrap_or_default();
                    let bytes = items.iter().map(crate::stores::dynamodb::item::size).sum::<usize>() as u64;
                    return Ok((items, page.last_evaluated_key.filter(|key| !key.is_empty()), bytes));
                }
                Err(error) => {
                    let failed = (classify(&error, false), StoreError::of_call(&error, false, "Scan", on));
                    self.again(attempt, failed).await?;
                }
            }
        }
        unreachable!("the attempts end with an error")
    }

    /// Items by their keys, in the order of the keys, by consistent reads.
    pub(super) async fn batch_get(
        &self,
        client: &Client,
        table: &str,
        on: &str,
        keys: &[Item],
        only_keys: bool,
    ) -> Result<Vec<Option<Item>>, StoreError> {
        let names: Vec<String> = keys.first().map(|key| key.keys().cloned().collect()).unwrap_or_default();
        let key_of = |item: &Item| identity(item.iter().filter(|(name, _)| names.contains(*name)));
        let mut found: HashMap<Key, Item> = HashMap::new();
        let (mut left, mut attempt) = (keys.to_vec(), 0);
        while !left.is_empty() {
            let asked: Vec<Item> = left.drain(..left.len().min(KEYS)).collect();
            let mut wanted = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(asked.clone()));
            if only_keys {
                let (map, expression) = projection(&names);
                wanted = wanted.projection_expression(expression).set_expression_attribute_names(Some(map));
            }
            let wanted = wanted.build().map_err(|e| StoreError::new(Class::Invalid, "BatchGetItem", on).because(e))?;
            match client.batch_get_item().request_items(table, wanted).send().await {
                Ok(answer) => {
                    for item in answer.responses.into_iter().flat_map(HashMap::into_values).flatten() {
                        found.insert(key_of(&item), item);
                    }
                    let back: Vec<Item> = answer
                        .unprocessed_keys
                        .into_iter()
                        .flat_map(HashMap::into_values)
                        .flat_map(|keys| keys.keys)
                        .collect();
                    if back.len() == asked.len() {
                        let failed = StoreError::new(Class::Throttled, "BatchGetItem", on);
                        self.again(attempt, (Class::Throttled, failed)).await?;
                        attempt += 1;
                    } else {
                        attempt = 0;
                    }
                    left.extend(back);
                }
                Err(error) => {
                    let failed = (classify(&error, false), StoreError::of_call(&error, false, "BatchGetItem", on));
                    self.again(attempt, failed).await?;
                    attempt += 1;
                    left.extend(asked);
                }
            }
        }
        Ok(keys.iter().map(|key| found.remove(&identity(key))).collect())
    }

    /// Pauses before the next attempt, or gives up.
    async fn again(&self, attempt: u32, (class, error): (Class, StoreError)) -> Result<(), StoreError> {
        if attempt + 1 >= TRIES || matches!(class, Class::Denied | Class::Invalid | Class::Missing) {
            return Err(error);
        }
        self.clock.sleep(Duration::from_millis(100 << attempt.min(5))).await;
        Ok(())
    }

    /// Keeps to the rate.
    async fn rest(&self, begun: Duration, bytes: u64, bytes_per_second: u64) {
        let due = Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64);
        self.clock.sleep(due.saturating_sub(self.clock.now().mono.saturating_sub(begun))).await;
    }
}

fn difference(key: &Item, image: Option<Image>) -> Found {
    Found {
        key: identity(key),
        name: key_text(key),
        at: None,
        before: None,
        image,
        origin: Origin::Comparison,
        expired: false,
    }
}
