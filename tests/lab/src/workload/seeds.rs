//! Items that are in prodX before anything watches it: what a seed must bring to the standby.
//!
//! They are planned (the same for the same seed), brought into the table, and written into the ledger as committed by
//! then. So the judge knows them: at a watermark that is not earlier, one that nobody has changed since must be in the
//! standby, and an item in the standby that was neither seeded nor written is invented.

use std::time::SystemTime;

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};

use super::writer::Slot;
use super::{Attributes, Traffic, items};
use crate::canon::{self, Key};
use crate::clients::{self, Endpoint};
use crate::ledger::State;
use crate::random::Random;
use crate::scripted::{ScriptedAws, item_from_sdk};
use crate::trouble::{Because as _, Trouble};

/// Entries of a BatchWriteItem.
const BATCH: usize = 25;
/// Writers have the numbers below this one; the keys of the others are nobody's.
const NOBODY: usize = 50;
/// Keys of one writer's number, at most.
const KEYS_OF_ONE: usize = 100_000;

/// The items of one table before its writers start.
#[derive(Debug, Clone, Default)]
pub struct Seeds {
    items: Vec<Attributes>,
    /// What each writer's keys hold.
    owned: Vec<Vec<Slot>>,
}

impl Seeds {
    /// Plans items for a share of the keys that the writers own, and `cold` more that no writer touches.
    ///
    /// # Panics
    /// When there are fifty writers or more, or five million cold items: their keys would not be unique.
    pub fn plan(traffic: &Traffic, seed: u64, share: f64, cold: usize) -> Self {
        assert!(traffic.writers < NOBODY && cold < NOBODY * KEYS_OF_ONE, "the keys would not be unique");
        let mut random = Random::fork(seed, u64::MAX);
        let mut seeds = Self::default();
        for writer in 0..traffic.writers {
            let mut slots = Vec::new();
            for index in 0..traffic.keys.max(1) {
                let there = random.chance(share);
                slots.push(if there {
                    seeds.plan_one(traffic, seed, writer, index, &mut random)
                } else {
                    Slot::default()
                });
            }
            seeds.owned.push(slots);
        }
        for number in 0..cold {
            let (writer, index) = (NOBODY + number / KEYS_OF_ONE, number % KEYS_OF_ONE);
            seeds.plan_one(traffic, seed, writer, index, &mut random);
        }
        seeds
    }

    fn plan_one(&mut self, traffic: &Traffic, seed: u64, writer: usize, index: usize, random: &mut Random) -> Slot {
        let mut item = items::body(traffic, random, 1);
        item.extend(items::key(traffic, seed, writer, index, 0));
        self.items.push(item.clone());
        Slot::holding(item)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Puts them into a table of a scripted server at once, and into the ledger.
    pub fn load(&self, aws: &ScriptedAws, traffic: &Traffic) {
        let converted = |item| item_from_sdk(item).expect("the workload makes items that DynamoDB holds");
        aws.load(&traffic.table.name, self.items.iter().map(converted));
        self.write_down(traffic, &self.items, SystemTime::now());
    }

    /// Writes them to a region, and into the ledger.
    ///
    /// # Errors
    /// When the region does not take them.
    pub async fn write(&self, endpoint: &Endpoint, traffic: &Traffic) -> Result<(), Trouble> {
        let client = clients::dynamodb(endpoint);
        let request = |item: &Attributes| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build().because("a put has an item")?;
            Ok(WriteRequest::builder().put_request(put).build())
        };
        // An item may have hundreds of kilobytes and a batch no more than 16 MB: 25 of them always fit.
        for batch in self.items.chunks(BATCH) {
            let mut left = batch.iter().map(request).collect::<Result<Vec<_>, Trouble>>()?;
            while !left.is_empty() {
                let call = client.batch_write_item().request_items(&traffic.table.name, left);
                let answer = call.send().await.because("seed a table")?;
                left = answer.unprocessed_items.unwrap_or_default().remove(&traffic.table.name).unwrap_or_default();
            }
            self.write_down(traffic, batch, SystemTime::now());
        }
        Ok(())
    }

    fn write_down(&self, traffic: &Traffic, items: &[Attributes], by: SystemTime) {
        let names = traffic.table.key_names();
        for item in items {
            let item = canon::item(item);
            traffic.ledger.existed(Key::of(&item, &names), State::Item(canon::digest(&item)), by);
        }
    }

    /// What the keys of a writer hold.
    pub(super) fn slots_of(&self, writer: usize) -> Option<Vec<Slot>> {
        self.owned.get(writer).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;
    use crate::scripted::Options;
    use crate::tables::Contents;
    use crate::workload::{OnSilence, Workload, plain_table};

    #[tokio::test]
    async fn the_ledger_knows_what_was_there_and_the_writers_go_on_from_it() {
        let aws = ScriptedAws::start(Options::default()).unwrap();
        let endpoint = Endpoint::new(aws.endpoint(), "us-east-1");
        let client = clients::dynamodb(&endpoint);
        let table = plain_table("orders");
        table.create(&client, true).await.unwrap();
        let traffic = Traffic { limit: Some(300), deletes: 0.2, ..Traffic::steady(table.clone(), 5000.0) };
        let seeds = Seeds::plan(&traffic, 3, 0.5, 2000);
        let again = Seeds::plan(&traffic, 3, 0.5, 2000);
        assert_eq!(seeds.items, again.items, "the same for the same seed");
        assert!((2050..2150).contains(&seeds.len()), "{}", seeds.len());
        let before = SystemTime::now();
        seeds.load(&aws, &traffic);
        let seeded = SystemTime::now();
        assert_eq!(aws.item_count("orders"), seeds.len());

        let history = traffic.ledger.clone();
        let judged =
            |standby: &Contents, at| history.read(|history| judge::judge_watermark(history, standby, at).len());
        assert_eq!(judged(&Contents::new(), before), 0);
        assert_eq!(judged(&Contents::new(), seeded), seeds.len(), "an empty standby lacks them all");
        let whole = table.contents(&client).await.unwrap();
        assert_eq!(judged(&whole, seeded), 0);

        let mut workload = Workload::start_seeded(&endpoint, &[(traffic.clone(), seeds.clone())], 3, OnSilence::End);
        workload.finish().await.unwrap();
        let after = table.contents(&client).await.unwrap();
        assert_eq!(judged(&after, SystemTime::now()), 0);
        assert!(judged(&whole, SystemTime::now()) > 0, "the writers changed what was there");
        assert!(history.read(|history| judge::invented(history, &after)).is_empty());
        let changed = aws.history("orders");
        assert_eq!(changed.len(), 300);
        assert!(changed.iter().any(|change| change.old.is_some() && change.new.is_none()), "seeded items are deleted");
    }

    #[tokio::test]
    async fn seeds_are_written_to_any_region() {
        let aws = ScriptedAws::start(Options::default()).unwrap();
        let endpoint = Endpoint::new(aws.endpoint(), "us-east-1");
        let client = clients::dynamodb(&endpoint);
        let table = plain_table("orders");
        table.create(&client, true).await.unwrap();
        let traffic = Traffic::everything(table.clone(), 1.0);
        let seeds = Seeds::plan(&traffic, 5, 1.0, 100);
        seeds.write(&endpoint, &traffic).await.unwrap();
        assert_eq!(aws.item_count("orders"), seeds.len());
        assert_eq!(aws.history("orders").len(), seeds.len());
        let there = table.contents(&client).await.unwrap();
        let wrong = traffic.ledger.read(|history| judge::judge_watermark(history, &there, SystemTime::now()));
        assert_eq!((wrong.len(), there.len()), (0, seeds.len()));
    }
}
