//! One table: its items, its streams, and the log of everything that was ever written to it.
//!
//! Invariants: commit stamps never go back and sequence numbers only rise, in the order of arrival; a write that
//! changes nothing is in the log but has no sequence number and no stream record (DS-F2).

use super::error::AwsError;
use super::quirks::StreamQuirks;
use super::schema::{Key, TableSpec, ViewType};
use super::stream::{Stream, StreamStatus};
use super::value::{Item, canonicalise, item_size};
use crate::scripted::clock::epoch_millis;
use std::collections::BTreeMap;
use std::ops::Bound;
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

/// TTL of a table: off, or on by this attribute.
pub(crate) type TimeToLive = Option<String>;

/// A place in the order of a scan.
type Place = (u64, Arc<Key>);

/// One page of a scan.
pub(crate) struct ScanPage {
    pub(crate) items: Vec<Arc<Item>>,
    pub(crate) last: Option<Arc<Key>>,
}

/// Which part of a table a scan reads.
#[derive(Debug, Clone)]
pub(crate) struct ScanRange {
    pub(crate) after: Option<Key>,
    pub(crate) segment: u64,
    pub(crate) segments: u64,
    pub(crate) limit: usize,
    pub(crate) bytes: usize,
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) spec: TableSpec,
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) created: SystemTime,
    pub(crate) ttl: TimeToLive,
    pub(crate) quirks: StreamQuirks,
    /// Oldest first; the last one is the table's current stream when it is enabled.
    pub(crate) streams: Vec<Stream>,
    pub(crate) keep_log: bool,
    /// Iterators of an earlier generation are expired.
    pub(crate) iterator_generation: u64,
    items: BTreeMap<Place, Arc<Item>>,
    bytes: usize,
    log: Vec<Arc<Change>>,
    arrivals: u64,
    next_sequence: u128,
    last_commit: SystemTime,
}

impl Table {
    pub(crate) fn new(spec: TableSpec, id: String, arn: String, now: SystemTime) -> Self {
        let view = spec.stream;
        let mut table = Self {
            next_sequence: spec.first_sequence,
            spec,
            id,
            arn,
            created: now,
            ttl: None,
            quirks: StreamQuirks::default(),
            streams: Vec::new(),
            keep_log: true,
            iterator_generation: 0,
            items: BTreeMap::new(),
            bytes: 0,
            log: Vec::new(),
            arrivals: 0,
            last_commit: now,
        };
        if let Some(view) = view {
            table.open_stream(view, now);
        }
        table
    }

    /// Opens a new stream and returns its ARN. The label is unique within the table, as on AWS.
    pub(crate) fn open_stream(&mut self, view: ViewType, now: SystemTime) -> Arc<str> {
        let mut millis = epoch_millis(now);
        let label = loop {
            let label = stream_label(millis);
            if self.streams.iter().all(|stream| stream.label != label) {
                break label;
            }
            millis += 1;
        };
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
            Some(item) => self.items.insert(place, Arc::clone(item)),
            None => self.items.remove(&place),
        };
        let old_size = old.as_deref().map_or(0, item_size);
        self.bytes = self.bytes + new_size - old_size;
        let changed = old != new;
        let arrival = self.arrivals;
        self.arrivals += 1;
        let streaming = self.spec.stream.is_some();
        if !self.keep_log && !(changed && streaming) {
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

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Item>> {
        self.items.get(&(key.hash_position(), Arc::new(key.clone()))).map(Arc::clone)
    }

    /// One page of a scan: items in the order of their keys' hash.
    pub(crate) fn scan(&self, range: &ScanRange) -> ScanPage {
        let (low, high) = segment(range.segment, range.segments);
        let from = match &range.after {
            Some(key) => Bound::Excluded((key.hash_position(), Arc::new(key.clone()))),
            // An empty string sorts before every key there is.
            None => Bound::Included((low, Arc::new(Key::of("")))),
        };
        let inside = self.items.range((from, Bound::Unbounded)).take_while(|((position, _), _)| *position <= high);
        let mut page = ScanPage { items: Vec::new(), last: None };
        let mut bytes = 0;
        for ((_, key), item) in inside {
            page.items.push(Arc::clone(item));
            page.last = Some(Arc::clone(key));
            bytes += item_size(item);
            // As DynamoDB: the page that reaches its limit names its last key, though it may be the last of all.
            if page.items.len() >= range.limit || bytes >= range.bytes {
                return page;
            }
        }
        page.last = None;
        page
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<Key, Arc<Item>> {
        self.items.iter().map(|((_, key), item)| (Key::clone(key), Arc::clone(item))).collect()
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

/// The part of the hash space a parallel scan's segment reads.
fn segment(index: u64, count: u64) -> (u64, u64) {
    let width = (u128::from(u64::MAX) + 1) / u128::from(count.max(1));
    let low = width * u128::from(index);
    let high = if index + 1 >= count { u128::from(u64::MAX) } else { low + width - 1 };
    let narrow = |edge| u64::try_from(edge).unwrap_or(u64::MAX);
    (narrow(low), narrow(high))
}

/// A stream label as AWS writes it: `2026-11-23T14:02:07.123`.
fn stream_label(millis: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
    humantime::format_rfc3339_millis(at).to_string().trim_end_matches('Z').to_owned()
}
