//! The lanes of a copy: reading a segment of the source, searching a segment of the standby, looking once more at keys that
//! differ. Every read is consistent: an image that was stale when it was read could be newer than nothing that follows
//! (model M1c).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Table;
use super::budget::{Spent, read_units, write_units};
use super::item::{self, Body, Image, Item};
use crate::change::{Change, Class, Key, LaneKind, Part, Position, Read, SourceTime};
use crate::stores::contract::Spot;
use crate::stores::{StoreError, seed};

/// Items in one page, at most: it bounds memory, and how long a page is on its way.
const PAGE: i32 = 1_000;
/// Keys in one BatchGetItem; the service takes 100.
const KEYS: usize = 100;
/// A batch is asked for again so often before what it left counts as throttled.
const MOST_ASKED: u32 = 5;

/// One page of a scan.
pub(super) struct Scanned {
    pub(super) items: Vec<Item>,
    pub(super) units: f64,
    pub(super) to: Option<Position>,
}

/// One of the two tables.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) client: &'a aws_sdk_dynamodb::Client,
    pub(super) table: &'a str,
    pub(super) name: &'static str,
}

/// The names that a projection of these attributes needs, and the projection.
pub(super) fn projection(only: &[String]) -> (HashMap<String, String>, String) {
    let names: HashMap<_, _> = only.iter().enumerate().map(|(at, name)| (format!("#k{at}"), name.clone())).collect();
    let all: Vec<String> = (0..only.len()).map(|at| format!("#k{at}")).collect();
    (names, all.join(", "))
}

impl Table {
    pub(super) async fn read_copy(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        self.learn_capacity().await?;
        match spot.lane.kind {
            LaneKind::Scan if spot.verify => self.compare_source(spot).await,
            LaneKind::Sweep if spot.verify => self.look_for_orphans(spot).await,
            LaneKind::Scan => self.read_source(spot).await,
            LaneKind::Sweep => self.search_standby(spot).await,
            LaneKind::Repair => self.look_again(spot).await,
            LaneKind::Tail => Err(StoreError::new(Class::Invalid, "reading a shard as a copy", spot.lane.to_string())),
        }
    }

    pub(super) async fn learn_capacity(&self) -> Result<(), StoreError> {
        if self.budget.known(self.clock.now().mono) {
            return Ok(());
        }
        let source = self.describe(&self.source, &self.settings.table, "primary").await?;
        let standby = self.describe(&self.target, &self.settings.standby_table, "standby").await?;
        self.learn_keys(&source);
        let now = self.clock.now().mono;
        self.verify_budget.set(self.settings.verify.shares(), &source, &standby, now);
        self.budget.set(self.settings.shares, &source, &standby, now);
        Ok(())
    }

    /// Items of the next page.
    fn page(&self, spot: Spot<'_>) -> i32 {
        self.budget.page(seed::segment(spot.lane).map_or(1, |(_, count)| count), PAGE)
    }

    /// A page of the source, to be put into the standby.
    async fn read_source(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        let at = self.clock.now().wall;
        let (table, on) = (&self.settings.table, format!("primary table {}", self.settings.table));
        let scanned = self.scan(&self.source, table, &on, spot, None, self.page(spot)).await?;
        let names = self.key_names(&on)?;
        let mut part = Part { looked: scanned.items.len() as u64, to: scanned.to, ..Part::default() };
        let mut spent = Spent { source_read: scanned.units, ..Spent::default() };
        for item in scanned.items {
            if self.filtered(&item, &names) {
                continue;
            }
            let change = self.put(item, &names, at);
            spent.standby_write += write_units(change.size);
            part.seen.push(change.key.clone());
            part.changes.push(change);
        }
        part.pause = self.budget.spend(spent, part.looked, self.clock.now().mono);
        Ok(Read::Part(part))
    }

    /// A page of the standby: keys that the scan did not find are looked for in the source.
    async fn search_standby(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        let at = self.clock.now().wall;
        let (table, on) = (&self.settings.standby_table, format!("standby table {}", self.settings.standby_table));
        let names = self.key_names(&on)?;
        let scanned = self.scan(&self.target, table, &on, spot, Some(&*names), self.page(spot)).await?;
        let looked = scanned.items.len() as u64;
        let unknown: Vec<Item> =
            scanned.items.into_iter().filter(|key| !spot.shelf.seen(&item::identity(key))).collect();
        let (found, units) = self.get(self.primary(), &unknown, &names, Some(&*names)).await?;
        let found: HashSet<Key> = found.into_keys().collect();
        let orphans = unknown
            .into_iter()
            .filter(|key| !found.contains(&item::identity(key)))
            .map(|key| self.delete(key, &names, at))
            .collect();
        let spent = Spent { source_read: units, standby_read: scanned.units, ..Spent::default() };
        let pause = self.budget.spend(spent, looked, self.clock.now().mono);
        Ok(Read::Part(Part { orphans, looked, to: scanned.to, pause, ..Part::default() }))
    }

    /// Keys that were found to differ: what the source has of them now.
    async fn look_again(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        let at = self.clock.now().wall;
        let on = format!("store {}, keys that differ", self.id);
        let bad = |what: &str| StoreError::new(Class::Invalid, what, on.clone());
        let after = spot.from.map(|p| BASE64.decode(p.0.as_bytes()).map_err(|e| bad("reading a position").because(e)));
        let after = after.transpose()?.map(|bytes| Key(bytes.into()));
        let rows = spot.shelf.dirty(after.as_ref(), KEYS)?;
        let mut keys = Vec::with_capacity(rows.len());
        for (_, body) in &rows {
            let body = item::decode(body).ok_or_else(|| bad("reading a key that differs"))?;
            keys.push(match body.image {
                Image::Delete(key) => key,
                Image::Put(item) => item.into_iter().filter(|(name, _)| body.key_names.contains(name)).collect(),
            });
        }
        let names = self.key_names(&on)?;
        let (mut found, units) = self.get(self.primary(), &keys, &names, None).await?;
        let mut part = Part { looked: rows.len() as u64, ..Part::default() };
        let mut spent = Spent { source_read: units, ..Spent::default() };
        for key in keys {
            let identity = item::identity(&key);
            let change = match found.remove(&identity) {
                Some(item) => self.put(item, &names, at),
                None => self.delete(key, &names, at),
            };
            spent.standby_write += write_units(change.size);
            part.mended.push(identity);
            part.changes.push(change);
        }
        part.to = rows.last().filter(|_| rows.len() == KEYS).map(|(key, _)| Position(BASE64.encode(&key.0).into()));
        part.pause = self.budget.spend(spent, part.looked, self.clock.now().mono);
        Ok(Read::Part(part))
    }

    pub(super) fn primary(&self) -> Side<'_> {
        Side { client: &self.source, table: &self.settings.table, name: "primary" }
    }

    pub(super) fn standby(&self) -> Side<'_> {
        Side { client: &self.target, table: &self.settings.standby_table, name: "standby" }
    }

    pub(super) async fn scan(
        &self,
        client: &aws_sdk_dynamodb::Client,
        table: &str,
        on: &str,
        spot: Spot<'_>,
        only: Option<&[String]>,
        most: i32,
    ) -> Result<Scanned, StoreError> {
        let bad = |what: &str| StoreError::new(Class::Invalid, what, format!("{on}, segment {}", spot.lane));
        let (segment, count) = seed::segment(spot.lane).ok_or_else(|| bad("reading a segment's name"))?;
        let from = spot.from.map(|p| item::key_from_text(&p.0).ok_or_else(|| bad("reading a position")));
        let mut request = client
            .scan()
            .table_name(table)
            .segment(segment)
            .total_segments(count)
            .consistent_read(true)
            .limit(most)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_exclusive_start_key(from.transpose()?);
        if let Some((names, expression)) = only.map(projection) {
            request = request.set_expression_attribute_names(Some(names)).projection_expression(expression);
        }
        let page = request.send().await.map_err(|e| StoreError::of_call(&e, false, "Scan", on))?;
        let items = page.items.unwrap_or_default();
        let units = page.consumed_capacity.and_then(|c| c.capacity_units);
        let units = units.unwrap_or_else(|| read_units(items.iter().map(item::size).sum()));
        let to =
            page.last_evaluated_key.filter(|key| !key.is_empty()).map(|key| Position(item::key_to_text(&key).into()));
        Ok(Scanned { items, units, to })
    }

    /// Items of one side by key, consistently, `only` those attributes of them, and the units that it took.
    pub(super) async fn get(
        &self,
        side: Side<'_>,
        keys: &[Item],
        names: &[String],
        only: Option<&[String]>,
    ) -> Result<(HashMap<Key, Item>, f64), StoreError> {
        let Side { client, table, name } = side;
        let on = format!("{name} table {table}");
        let (mut found, mut units) = (HashMap::new(), 0.0);
        for batch in keys.chunks(KEYS) {
            let mut left = batch.to_vec();
            for _ in 0..MOST_ASKED {
                let mut wanted = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true);
                if let Some((names, expression)) = only.map(projection) {
                    wanted = wanted.set_expression_attribute_names(Some(names)).projection_expression(expression);
                }
                let wanted =
                    wanted.build().map_err(|e| StoreError::new(Class::Invalid, "BatchGetItem", &on).because(e))?;
                let sent = client
                    .batch_get_item()
                    .request_items(table, wanted)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .send()
                    .await;
                let answer = sent.map_err(|e| StoreError::of_call(&e, false, "BatchGetItem", &on))?;
                units += answer.consumed_capacity().iter().filter_map(|c| c.capacity_units).sum::<f64>();
                let items = answer.responses.unwrap_or_default().remove(table).unwrap_or_default();
                for item in items {
                    found.insert(item::identity(item.iter().filter(|(name, _)| names.contains(name))), item);
                }
                left = answer.unprocessed_keys.unwrap_or_default().remove(table).map_or_else(Vec::new, |k| k.keys);
                if left.is_empty() {
                    break;
                }
            }
            if !left.is_empty() {
                // An item that was not looked at is not one that is not there.
                return Err(StoreError::new(Class::Throttled, "BatchGetItem (keys left unprocessed)", on));
            }
        }
        Ok((found, units))
    }

    fn put(&self, item: Item, names: &Arc<[String]>, at: SourceTime) -> Change {
        let key = item::identity(item.iter().filter(|(name, _)| names.contains(name)));
        let size = item::size(&item);
        let body = Body { image: Image::Put(item), key_names: Arc::clone(names) };
        Change { key, position: Position("".into()), at, body: Arc::new(body), size }
    }

    pub(super) fn delete(&self, key: HashMap<String, AttributeValue>, names: &Arc<[String]>, at: SourceTime) -> Change {
        let (identity, size) = (item::identity(&key), item::size(&key));
        let body = Body { image: Image::Delete(key), key_names: Arc::clone(names) };
        Change { key: identity, position: Position("".into()), at, body: Arc::new(body), size }
    }

    /// The names of the key's attributes, once the table was looked at.
    pub(super) fn key_names(&self, on: &str) -> Result<Arc<[String]>, StoreError> {
        let names = self.key_names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        names.ok_or_else(|| StoreError::new(Class::Unavailable, "looking up the key schema", on))
    }
}
