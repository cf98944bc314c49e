//! One table: its items, its streams, and the log of everything that was ever written to it.
//!
//! Invariants: commit stamps never go back and sequence numbers only rise, in the order of arrival; a write that
//! changes nothing is in the log but has no sequence number and no stream record (DS-F2).

use super::error::AwsError;
use super::meter::Meter;
use super::quirks::{ReadQuirks, StreamQuirks};
use super::schema::{Key, TableSpec, ViewType};
use super::settings::Control;
use super::stored::Stored;
use super::stream::{Stream, StreamStatus};
use super::value::{Item, canonicalise, item_size};
use crate::scripted::rng::{Rng, mix};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// One write, as it was committed: an entry of the truth ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its place in the order of arrival at this table, from 0.
    pub arrival: u64,
    /// When it was committed, by the server's clock.
    pub commit: SystemTime,
    /// Its sequence number; `None` when it changed nothing.
    pub sequence: Option<u128>,
    /// The item's key.
    pub key: Arc<Key>,
    /// The item before.
    pub old: Option<Arc<Item>>,
    /// The item after; `None` is a delete.
    pub new: Option<Arc<Item>>,
    /// Deleted by TTL rather than by a caller (DS-F14).
    pub by_ttl: bool,
    /// Bytes of the key and both images.
    pub size: usize,
}

impl Change {
    /// True when the write left the item as it was.
    pub fn is_noop(&self) -> bool {
        self.sequence.is_none()
    }

    /// The sequence number of a change that is in a stream.
    pub(crate) fn order(&self) -> u128 {
        self.sequence.expect("only writes that changed something reach a stream")
    }
}

/// A place in the order of a scan.
pub(super) type Place = (u64, Arc<Key>);

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) spec: TableSpec,
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) created: SystemTime,
    pub(crate) control: Control,
    pub(crate) quirks: StreamQuirks,
    /// Oldest first; the last one is the table's current stream when it is enabled.
    pub(crate) streams: Vec<Stream>,
    pub(crate) keep_log: bool,
    /// Iterators of an earlier generation are expired.
    pub(crate) iterator_generation: u64,
    pub(crate) read_quirks: ReadQuirks,
    pub(crate) meter: Meter,
    pub(super) dice: Rng,
    pub(super) items: BTreeMap<Place, Stored>,
    bytes: usize,
    log: Vec<Arc<Change>>,
    arrivals: u64,
    next_sequence: u128,
    last_commit: SystemTime,
}

impl Table {
    /// A table; `label` names its stream, if it has one.
    pub(crate) fn new(spec: TableSpec, id: String, arn: String, label: String, now: SystemTime) -> Self {
        let view = spec.stream;
        let dice = Rng::new(id.bytes().fold(0, |h, b| mix(h ^ u64::from(b))));
        let mut table = Self {
            next_sequence: spec.first_sequence,
            control: Control::new(spec.settings.clone(), now),
            spec,
            id,
            arn,
            created: now,
            quirks: StreamQuirks::default(),
            streams: Vec::new(),
            keep_log: true,
            iterator_generation: 0,
            read_quirks: ReadQuirks::default(),
            meter: Meter::default(),
            dice,
            items: BTreeMap::new(),
            bytes: 0,
            log: Vec::new(),
            arrivals: 0,
            last_commit: now,
        };
        if let Some(view) = view {
            table.open_stream(view, label, now);
        }
        table
    }

    /// Opens a new stream and returns its ARN. The caller gives no label twice.
    pub(crate) fn open_stream(&mut self, view: ViewType, label: String, now: SystemTime) -> Arc<str> {
        let arn = format!("{}/stream/{label}", self.arn);
        let shards = self.spec.shards;
        let stream = Stream::new(arn, label, view, shards, now, &mut self.next_sequence);
        let arn = Arc::clone(&stream.arn);
        self.streams.push(stream);
        self.spec.stream = Some(view);
        arn
    }

    /// Closes the current stream; it stays readable.
    pub(crate) fn close_stream(&mut self, now: SystemTime) {
        if let Some(stream) = self.streams.last_mut().filter(|stream| stream.status != StreamStatus::Disabled) {
            stream.disable(now, &mut self.next_sequence);
        }
        self.spec.stream = None;
    }

    pub(crate) fn stream(&self, arn: &str) -> Result<&Stream, AwsError> {
        self.streams.iter().find(|stream| &*stream.arn == arn).ok_or_else(|| AwsError::stream_not_found(arn))
    }

    /// The stream that takes this table's changes.
    pub(crate) fn live_stream(&mut self) -> Option<&mut Stream> {
        self.streams.last_mut().filter(|stream| stream.status != StreamStatus::Disabled)
    }

    /// Splits a shard of the live stream; see [`Stream::split`].
    pub(crate) fn split(&mut self, shard: &str, children: usize, now: SystemTime) -> Option<Vec<String>> {
        let mut sequence = self.next_sequence;
        let ids = self.live_stream()?.split(shard, children, now, &mut sequence);
        self.next_sequence = sequence;
        ids
    }

    /// Stores an item, or says why DynamoDB would not. What was there before.
    pub(crate) fn put(&mut self, mut item: Item, now: SystemTime) -> Result<Option<Arc<Item>>, AwsError> {
        canonicalise(&mut item)?;
        let key = self.spec.key_of_item(&item)?;
        self.spec.check_item(&item)?;
        Ok(self.commit(key, Some(item), now, false))
    }

    /// Deletes an item. What was there before.
    pub(crate) fn delete(&mut self, key: Key, now: SystemTime, by_ttl: bool) -> Option<Arc<Item>> {
        self.commit(key, None, now, by_ttl)
    }

    /// Checks a put without doing it; its key.
    pub(crate) fn check_put(&self, item: &mut Item) -> Result<Key, AwsError> {
        canonicalise(item)?;
        let key = self.spec.key_of_item(item)?;
        self.spec.check_item(item)?;
        Ok(key)
    }

    /// The only way an item changes: `item` has been checked and `key` is its key.
    pub(crate) fn commit(&mut self, key: Key, item: Option<Item>, now: SystemTime, by_ttl: bool) -> Option<Arc<Item>> {
        self.last_commit = self.last_commit.max(now);
        let place = (key.hash_position(), Arc::new(key));
        let position = place.0;
        let key = Arc::clone(&place.1);
        let new = item.map(Arc::new);
        let new_size = new.as_deref().map_or(0, item_size);
        let old = match &new {
            Some(item) => self.items.insert(place, Stored::Whole(Arc::clone(item))),
            None => self.items.remove(&place),
        };
        let old = old.map(|old| old.item());
        let old_size = old.as_deref().map_or(0, item_size);
        self.bytes = self.bytes + new_size - old_size;
        let changed = old != new;
        let arrival = self.arrivals;
        self.arrivals += 1;
        let recorded = self.keep_log || (changed && self.spec.stream.is_some());
        if !recorded {
            return old;
        }
        let sequence = changed.then(|| {
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            sequence
        });
        let change = Arc::new(Change {
            arrival,
            commit: self.last_commit,
            sequence,
            key,
            old: old.clone(),
            new,
            by_ttl,
            size: old_size + new_size,
        });
        if changed && let Some(stream) = self.live_stream() {
            stream.append(position, &change);
        }
        if self.keep_log {
            self.log.push(change);
        }
        old
    }

    /// Stores items as they came to be long ago: no log, no stream record, no capacity. Later ones replace earlier ones.
    pub(crate) fn load(&mut self, mut item: Item) -> Result<(), AwsError> {
        let key = self.check_put(&mut item)?;
        let size = item_size(&item);
        let old = self.items.insert((key.hash_position(), Arc::new(key)), Stored::packed(&item));
        self.bytes = self.bytes + size - old.map_or(0, |old| old.size());
        Ok(())
    }

    /// Every item, in the order of a scan.
    pub(crate) fn entries(&self) -> Vec<(Place, Stored)> {
        self.items.iter().map(|(place, item)| (place.clone(), item.clone())).collect()
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<Key, Arc<Item>> {
        self.items.iter().map(|((_, key), item)| (Key::clone(key), item.item())).collect()
    }

    pub(crate) fn log(&self) -> &[Arc<Change>] {
        &self.log
    }

    pub(crate) fn clear_log(&mut self) {
        self.log.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn last_sequence(&self) -> u128 {
        self.next_sequence - 1
    }
}
