//! Comparing the two tables: a segment of the source with the same keys of the standby, a segment of the standby with the
//! keys that the source was seen to have, and single keys once more.
//!
//! What crosses the regions is a Scan of the source, whole or of the key and a few attributes, and the keys of the standby
//! that it did not show: DynamoDB has no digests. The standby is read in its own region. Every read is consistent, and the
//! source is read first: what the standby shows is never older than what it is compared with.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::TableDescription;

use super::Table;
use super::budget::Spent;
use super::item::{self, Body, Image, Item};
use crate::change::{Change, Class, Difference, Doubt, Key, Part, Read};
use crate::stores::contract::{Compared, Spot};
use crate::stores::{StoreError, StoreState, Transition, seed, verify};
use crate::watermark::VerifyRun;

/// Items in one page, at most.
const PAGE: i32 = 1_000;

impl Table {
    /// What a verification begins with.
    pub(super) async fn begin_verify(
        &self,
        state: &StoreState,
        run: VerifyRun,
        table: &TableDescription,
    ) -> Result<Transition, StoreError> {
        self.learn_capacity().await?;
        let total = table.item_count().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        tracing::info!(store = %self.id, items = total, repair = run.repair, "a verification begins");
        let partial = self.settings.verify.attributes.is_some();
        Ok(verify::begin(state, VerifyRun { total, partial, ..run }, &self.settings.seed))
    }

    /// The attributes that are compared; `None`: all.
    fn compared(&self, names: &[String]) -> Option<Vec<String>> {
        let more = self.settings.verify.attributes.as_ref()?;
        let mut all = names.to_vec();
        all.extend(more.iter().filter(|name| !names.contains(name)).cloned());
        Some(all)
    }

    /// A page of the source, and the same keys of the standby.
    pub(super) async fn compare_source(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        let at = self.clock.now().wall;
        let (table, on) = (&self.settings.table, format!("primary table {}", self.settings.table));
        let names = self.key_names(&on)?;
        let only = self.compared(&names);
        let lanes = seed::segment(spot.lane).map_or(1, |(_, count)| count);
        let most = self.verify_budget.page(lanes, PAGE);
        let scanned = self.scan(&self.source, table, &on, spot, only.as_deref(), most).await?;
        let read_at = self.clock.now().wall;
        // Canaries are not in the standby, unless they are copied.
        let items: Vec<Item> = scanned.items.into_iter().filter(|item| !self.filtered(item, &names)).collect();
        let keys: Vec<Item> = items.iter().map(|item| key_of(item, &names)).collect();
        let (mut found, units) = self.get(self.standby(), &keys, &names, only.as_deref()).await?;
        let mut part = Part { looked: keys.len() as u64, to: scanned.to, read_at, ..Part::default() };
        for (key, item) in keys.into_iter().zip(items) {
            let identity = item::identity(&key);
            if let Some(what) = difference(Some(&item), found.remove(&identity).as_ref()) {
                part.doubts.push(Doubt { change: self.delete(key, &names, at), what });
            }
            part.seen.push(identity);
        }
        let spent = Spent { source_read: scanned.units, standby_read: units, ..Spent::default() };
        part.pause = self.verify_budget.spend(spent, part.looked, self.clock.now().mono);
        Ok(Read::Part(part))
    }

    /// A page of the standby's keys: those that no scan found are looked for in the source.
    pub(super) async fn look_for_orphans(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        let at = self.clock.now().wall;
        let (table, on) = (&self.settings.standby_table, format!("standby table {}", self.settings.standby_table));
        let names = self.key_names(&on)?;
        let lanes = seed::segment(spot.lane).map_or(1, |(_, count)| count);
        let most = self.verify_budget.page(lanes, PAGE);
        let scanned = self.scan(&self.target, table, &on, spot, Some(&*names), most).await?;
        let looked = scanned.items.len() as u64;
        let unknown: Vec<Item> =
            scanned.items.into_iter().filter(|key| !spot.shelf.seen(&item::identity(key))).collect();
        let (found, units) = self.get(self.primary(), &unknown, &names, Some(&*names)).await?;
        let read_at = self.clock.now().wall;
        let found: HashSet<Key> = found.into_keys().collect();
        let doubts = unknown
            .into_iter()
            .filter(|key| !found.contains(&item::identity(key)))
            .map(|key| Doubt { change: self.delete(key, &names, at), what: Difference::Orphan })
            .collect();
        let spent = Spent { source_read: units, standby_read: scanned.units, ..Spent::default() };
        let pause = self.verify_budget.spend(spent, looked, self.clock.now().mono);
        Ok(Read::Part(Part { doubts, looked, to: scanned.to, pause, read_at, ..Part::default() }))
    }

    /// Single keys once more: the source, then the standby.
    pub(super) async fn compare_keys(&self, keys: &[Change]) -> Result<Compared, StoreError> {
        let on = format!("store {}, keys under suspicion", self.id);
        let names = self.key_names(&on)?;
        let key = |change: &Change| match change.body.downcast_ref::<Body>().map(|body| &body.image) {
            Some(Image::Delete(key)) => Some(key.clone()),
            _ => None,
        };
        let bad = || StoreError::new(Class::Invalid, "reading a key under suspicion", &on);
        let wanted: Vec<Item> = keys.iter().map(key).collect::<Option<_>>().ok_or_else(bad)?;
        let only = self.compared(&names);
        let (source, source_read) = self.get(self.primary(), &wanted, &names, only.as_deref()).await?;
        let read_at = self.clock.now().wall;
        let (standby, standby_read) = self.get(self.standby(), &wanted, &names, only.as_deref()).await?;
        let found = keys.iter().map(|change| difference(source.get(&change.key), standby.get(&change.key))).collect();
        let spent = Spent { source_read, standby_read, ..Spent::default() };
        let pause = self.verify_budget.spend(spent, keys.len() as u64, self.clock.now().mono);
        Ok(Compared { found, read_at, pause })
    }
}

fn key_of(item: &Item, names: &[String]) -> Item {
    item.iter().filter(|(name, _)| names.contains(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn difference(source: Option<&Item>, standby: Option<&Item>) -> Option<Difference> {
    match (source, standby) {
        (Some(source), Some(standby)) => (!item::same(source, standby)).then_some(Difference::Differs),
        (Some(_), None) => Some(Difference::Missing),
        (None, Some(_)) => Some(Difference::Orphan),
        (None, None) => None,
    }
}
