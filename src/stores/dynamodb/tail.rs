//! Reading a stream: where a shard stands, page by page, and what its errors mean.
//!
//! An iterator is a cache of a position, never a position: whatever happens to it, reading goes on after the last
//! sequence number that was handed out (DS-7). What other consumers of this API treat as the end of a shard (its
//! disappearance, trimmed records) is a gap here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodbstreams::types::{
    OperationType, Record, ShardFilter, ShardFilterType, ShardIteratorType, StreamStatus,
};

use super::Table;
use super::item::{self, Body, Image};
use super::lineage::{self, Incarnation, Shard, Start};
use crate::aws::classify;
use crate::change::{Change, Class, Gap, GapCause, Lane, Page, Position, Read, SourceTime};
use crate::stores::StoreError;
use crate::stores::contract::Spot;

/// Records in one page, at most; a page of as many is not the last.
const PAGE: i32 = 1000;
/// A page of about as many bytes is full too (DS-F10: 1 MB).
const FULL_BYTES: i64 = 900_000;
/// Pages of a listing, at most: 100 shards each. A longer one is a fault of the source.
const MOST_PAGES: usize = 2_000;
/// A throttled page of a listing is asked for again so often, for DescribeStream allows ten calls a second and a long listing
/// that begins anew each time would never end.
const MOST_THROTTLED: u32 = 8;
/// The pause after each time.
const THROTTLED_PAUSE: Duration = Duration::from_millis(500);

/// Where a shard's reader stands.
#[derive(Debug, Clone)]
enum Cursor {
    /// Ask this iterator next, if the reader still stands at this position.
    At { from: Option<Position>, iterator: String },
    /// Everything was handed out, to a reader that stands at this position.
    Ended { from: Option<Position> },
}

/// The cursors of all shards.
#[derive(Debug, Default)]
pub(super) struct Cursors(Mutex<HashMap<Lane, Cursor>>);

impl Cursors {
    fn get(&self, lane: &Lane) -> Option<Cursor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(lane).cloned()
    }
    /// Forgets them all.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
    fn set(&self, lane: &Lane, cursor: Option<Cursor>) {
        let mut cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match cursor {
            Some(cursor) => cursors.insert(lane.clone(), cursor),
            None => cursors.remove(lane),
        };
    }
}

/// A listing of a stream.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) shards: Vec<Shard>,
    pub(super) disabled: bool,
}

impl Table {
    pub(super) async fn read_shard(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        let now = self.clock.now();
        let incarnation = Incarnation::parse(spot.incarnation)
            .ok_or_else(|| StoreError::new(Class::Invalid, "reading the index", format!("store {}", self.id)))?;
        let arn = incarnation.stream_arn.as_str();
        let iterator = match self.cursors.get(spot.lane) {
            // Not to one that began anew: what was handed out then may never have been applied.
            Some(Cursor::Ended { from }) if from.as_ref() == spot.from => return self.end_of(arn, spot.lane).await,
            Some(Cursor::At { from, iterator }) if from.as_ref() == spot.from => iterator,
            _ => match lineage::start(spot.lane, spot.record, spot.from, now.wall) {
                Ok(start) => match self.iterator(arn, spot, &start).await? {
                    Ok(iterator) => iterator,
                    Err(told) => return Ok(told),
                },
                Err(why) => return Ok(Read::Lost { why }),
            },
        };
        let asked_at = self.clock.now();
        let on = || format!("table {}, shard {}", self.settings.table, spot.lane);
        let sent = self.streams.get_records().shard_iterator(iterator).limit(PAGE).send().await;
        let page = match sent {
            Ok(page) => page,
            Err(error) => {
                let service = error.as_service_error();
                let mut failed = StoreError::of_call(&error, false, "GetRecords", &on());
                if failed.class != Class::Throttled {
                    // The next read takes a new iterator from the last position. To be throttled says nothing about the
                    // iterator, and a second call for a new one would only be throttled, too.
                    self.cursors.set(spot.lane, None);
                }
                if service.is_some_and(|e| e.is_trimmed_data_access_exception()) {
                    if may_begin_anew(&spot, now.wall) {
                        return Ok(Read::Anew);
                    }
                    return Ok(Read::Lost { why: self.gap(GapCause::Trimmed, spot.lane) });
                }
                if service.is_some_and(|e| e.is_resource_not_found_exception()) {
                    return self.missing(arn, spot).await;
                }
                if service.is_some_and(|e| e.is_expired_iterator_exception()) {
                    failed.class = Class::Unavailable;
                }
                return Err(failed);
            }
        };
        let mut changes = Vec::with_capacity(page.records().len());
        let (mut bytes, mut names) = (0, None);
        for record in page.records.unwrap_or_default() {
            bytes += record.dynamodb().and_then(|d| d.size_bytes()).unwrap_or(0);
            match self.change(record, spot.lane, &mut names)? {
                Ok(change) => changes.push(change),
                Err(why) => return Ok(Read::Lost { why }),
            }
        }
        let from = changes.last().map_or_else(|| spot.from.cloned(), |c| Some(c.position.clone()));
        let cursor = match page.next_shard_iterator {
            Some(iterator) => Cursor::At { from, iterator },
            None => Cursor::Ended { from },
        };
        let ended = matches!(cursor, Cursor::Ended { .. });
        self.cursors.set(spot.lane, Some(cursor));
        if changes.is_empty() {
            return if ended { self.end_of(arn, spot.lane).await } else { Ok(Read::Empty { asked_at }) };
        }
        let full = ended || changes.len() >= PAGE as usize || bytes >= FULL_BYTES;
        Ok(Read::Records(Page { changes, full }))
    }

    fn gap(&self, cause: GapCause, lane: &Lane) -> Gap {
        Gap { cause, on: format!("table {}, shard {lane}", self.settings.table), declared_at: self.clock.now().wall }
    }

    /// An iterator, or what the attempt to get one tells of the shard.
    async fn iterator(&self, arn: &str, spot: Spot<'_>, start: &Start) -> Result<Result<String, Read>, StoreError> {
        let lane = spot.lane;
        let request = self.streams.get_shard_iterator().stream_arn(arn).shard_id(lane.name.as_ref());
        let request = match start {
            Start::After(position) => {
                request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(position.0.as_ref())
            }
            Start::Beginning => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
        };
        let on = format!("table {}, shard {lane}", self.settings.table);
        match request.send().await {
            Ok(answer) => match answer.shard_iterator {
                Some(iterator) => Ok(Ok(iterator)),
                None => Err(StoreError::new(Class::Unavailable, "GetShardIterator", on)),
            },
            Err(error) => {
                let service = error.as_service_error();
                if service.is_some_and(|e| e.is_trimmed_data_access_exception()) {
                    let anew = *start != Start::Beginning && may_begin_anew(&spot, self.clock.now().wall);
                    let why = || self.gap(GapCause::Trimmed, lane);
                    return Ok(Err(if anew { Read::Anew } else { Read::Lost { why: why() } }));
                }
                if service.is_some_and(|e| e.is_resource_not_found_exception()) {
                    return match self.missing(arn, spot).await? {
                        lost @ Read::Lost { .. } => Ok(Err(lost)),
                        _ => Err(StoreError::of_call(&error, false, "GetShardIterator", &on)),
                    };
                }
                Err(StoreError::of_call(&error, false, "GetShardIterator", &on))
            }
        }
    }

    /// The source says that a shard does not exist. Its listing decides whether that is so (DS-8b): a shard that is still
    /// listed, or was first seen a moment ago, is asked for again.
    async fn missing(&self, arn: &str, spot: Spot<'_>) -> Result<Read, StoreError> {
        let lane = spot.lane;
        let listed = self.list(arn, None).await?.is_some_and(|l| l.shards.iter().any(|s| s.id == *lane.name));
        if listed || lineage::settling(spot.record, self.clock.now().wall) {
            let on = format!("table {}, shard {lane}", self.settings.table);
            return Err(StoreError::new(
                Class::Unavailable,
                "reading a shard that is listed, or was just now, but not found",
                on,
            ));
        }
        Ok(Read::Lost { why: self.gap(GapCause::LaneMissing, lane) })
    }

    /// The end of a shard, with its children. They are taken only when two listings agree on them: a listing is
    /// eventually consistent, and a child that is missed here is a hole in the watermark (M2c).
    async fn end_of(&self, arn: &str, lane: &Lane) -> Result<Read, StoreError> {
        let now = self.clock.now().wall;
        let on = format!("table {}, shard {lane}", self.settings.table);
        // A stream that is not found is the survey's to judge: ended without children, the shard would no longer hold the
        // watermark back from what they hold.
        let Some(full) = self.list(arn, None).await? else {
            return Err(StoreError::new(Class::Unavailable, "looking for the children of a closed shard", on));
        };
        let children = lineage::children(&lane.name, &full.shards, now);
        if children.is_empty() && full.disabled {
            return Ok(Read::End { children });
        }
        let again = match self.list(arn, Some(lane)).await? {
            Some(filtered) => lineage::children(&lane.name, &filtered.shards, now),
            None => Vec::new(),
        };
        let same = children.iter().map(|c| &c.lane).eq(again.iter().map(|c| &c.lane));
        if children.is_empty() || !same {
            return Err(StoreError::new(
                Class::Unavailable,
                "waiting for the children of a closed shard to be listed",
                on,
            ));
        }
        Ok(Read::End { children })
    }

    /// Every shard of a stream, or the children of one; `None` when the stream does not exist.
    pub(super) async fn list(&self, arn: &str, children_of: Option<&Lane>) -> Result<Option<Listing>, StoreError> {
        let mut listing = Listing { shards: Vec::new(), disabled: false };
        let (mut after, mut throttled): (Option<String>, u32) = (None, 0);
        for _ in 0..MOST_PAGES {
            let filter = children_of.map(|lane| {
                ShardFilter::builder().r#type(ShardFilterType::ChildShards).shard_id(lane.name.as_ref()).build()
            });
            let request = self.streams.describe_stream().stream_arn(arn).set_shard_filter(filter);
            let described = match request.set_exclusive_start_shard_id(after.clone()).send().await {
                Ok(answer) => answer.stream_description,
                Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                    return Ok(None);
                }
                Err(error) if classify(&error, false) == Class::Throttled && throttled < MOST_THROTTLED => {
                    throttled += 1;
                    self.clock.sleep(THROTTLED_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(StoreError::of_call(&error, false, "DescribeStream", arn)),
            };
            let Some(described) = described else {
                return Err(StoreError::new(Class::Unavailable, "DescribeStream", arn));
            };
            throttled = 0;
            let status = described.stream_status();
            listing.disabled = matches!(status, Some(StreamStatus::Disabled | StreamStatus::Disabling));
            listing.shards.extend(described.shards().iter().filter_map(|shard| {
                Some(Shard { id: shard.shard_id()?.to_owned(), parent: shard.parent_shard_id().map(str::to_owned) })
            }));
            // Present does not mean that there is more, absent means that there is not (DS-F7).
            match described.last_evaluated_shard_id {
                Some(last) => after = Some(last),
                None => {
                    listing.shards.sort_by(|a, b| a.id.cmp(&b.id));
                    listing.shards.dedup_by(|a, b| a.id == b.id);
                    return Ok(Some(listing));
                }
            }
        }
        Err(StoreError::new(Class::Invalid, "DescribeStream", arn).hint("the listing does not end"))
    }

    /// A record as a change, or the gap that it shows.
    fn change(
        &self,
        record: Record,
        lane: &Lane,
        names: &mut Option<Arc<[String]>>,
    ) -> Result<Result<Change, Gap>, StoreError> {
        let on = || format!("table {}, shard {lane}", self.settings.table);
        let bad = |what: &str| StoreError::new(Class::Invalid, what, on());
        let operation = record.event_name;
        let data = record.dynamodb.ok_or_else(|| bad("reading a record without data"))?;
        let sequence = data.sequence_number.ok_or_else(|| bad("reading a record without a sequence number"))?;
        let at = data.approximate_creation_date_time.ok_or_else(|| bad("reading a record without a time"))?;
        let at = SourceTime(at.to_millis().map_err(|e| bad("reading the time of a record").because(e))?);
        let keys = data.keys.ok_or_else(|| bad("reading a record without keys"))?;
        let keys = item::from_stream(keys).map_err(|e| bad("reading a key").because(e))?;
        let key = item::identity(&keys);
        let key_names = item::key_names(&keys, names);
        let image = match (operation, data.new_image) {
            (Some(OperationType::Remove), _) => Image::Delete(keys),
            (Some(OperationType::Insert | OperationType::Modify), Some(new)) => {
                Image::Put(item::from_stream(new).map_err(|e| bad("reading an item").because(e))?)
            }
            (Some(OperationType::Insert | OperationType::Modify), None) => {
                return Ok(Err(self.gap(GapCause::ViewType, lane)));
            }
            _ => return Err(bad("reading a record of an unknown operation")),
        };
        let size = match &image {
            Image::Put(item) | Image::Delete(item) => item::size(item),
        };
        let position = Position(sequence.into());
        Ok(Ok(Change { key, position, at, body: Arc::new(Body { image, key_names }), size }))
    }
}

/// Nothing of the shard was read since the copy of this epoch began, which brings what the stream has trimmed: it is read
/// from whatever is left. After a day without a read that is no longer all that was written since.
fn may_begin_anew(spot: &Spot<'_>, now: SourceTime) -> bool {
    let unread = spot.record.initial && spot.from == spot.record.position.as_ref();
    unread && lineage::vouched(spot.record, now)
}
