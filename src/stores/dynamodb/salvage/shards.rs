//! Reading the adopted stream from the frozen positions to its end as of the call.
//!
//! Invariants
//! - Parents are read to their end before their children, so the changes of a key arrive in their order.
//! - A shard is read on from its durable position. One without, and one that the index does not know, from its beginning.
//! - What cannot be vouched for any more (trimmed, vanished, of unknown descent) is named, never skipped in silence, and
//!   what is left of it is read all the same (DS-5, DS-7, DS-8).
//!
//! The end of an open shard is a run of empty answers (DS-10), or a record committed well after the call: a primary that is
//! still being written to has no end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsOutput;
use aws_sdk_dynamodbstreams::types::{OperationType, Record, ShardIteratorType};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::image::{digest, image, key_text};
use super::source_time;
use crate::change::{Class, Lane, LaneKind, Position, SourceTime, Stamp};
use crate::stores::dynamodb::Table;
use crate::stores::dynamodb::item;
use crate::stores::dynamodb::lineage::{self, Shard};
use crate::stores::salvage::{Digest, Found, Origin, Sink};
use crate::stores::{StoreError, StoreState};
use crate::watermark::{LanePhase, LaneRecord};

/// Shards read at one time.
const READS: usize = 16;
/// Records in one page, at most.
const PAGE: i32 = 1000;
/// Listings, at most: a stream that is split while it is read is listed again.
const MOST_LISTINGS: usize = 20;
/// Without any good answer for so long, the primary is taken for gone again.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// A shard with children has an end; for so long it is waited for.
const END_WITHIN: Duration = Duration::from_secs(60);
/// A record committed this long after the call ends a shard: more than any two clocks differ (A5).
const BEYOND: Duration = Duration::from_secs(60);

/// One shard that is being read.
struct Reader {
    lane: Lane,
    parent: Option<Lane>,
    /// What the index knows of it.
    record: Option<LaneRecord>,
    /// The last record that was read.
    from: Option<Position>,
    iterator: Option<String>,
    /// Read from what is left, whatever was trimmed before it.
    from_horizon: bool,
    /// Its children are listed: it is closed and has an end.
    closed: bool,
    empties: u32,
    failures: u32,
    /// When it was first asked, monotonic.
    begun: Duration,
}

/// What one page said.
enum Page {
    Records {
        found: Vec<Found>,
        last: Option<SourceTime>,
        ended: bool,
    },
    Empty,
    End,
    /// History is gone, in a sentence; what is left is read.
    Gap(String),
    /// The shard is gone, in a sentence.
    Gone(String),
    Failed(StoreError),
}

/// The reading of one stream.
pub(super) struct Reading<'a> {
    table: &'a Table,
    arn: &'a str,
    state: &'a StoreState,
    as_of: Stamp,
    /// Shards that were read, and where they stood.
    read: HashMap<Lane, Reader>,
    /// Shards that are to be read, or are being read.
    unfinished: HashSet<Lane>,
    last_answer: Duration,
}

impl<'a> Reading<'a> {
    pub(super) fn new(table: &'a Table, arn: &'a str, state: &'a StoreState, as_of: Stamp) -> Self {
        let last_answer = table.clock.now().mono;
        Self { table, arn, state, as_of, read: HashMap::new(), unfinished: HashSet::new(), last_answer }
    }

    pub(super) async fn run(mut self, sink: &mut dyn Sink, missing: &mut Vec<String>) -> Result<(), StoreError> {
        let mut gaps = BTreeSet::new();
        for listing in 0..MOST_LISTINGS {
            let Some(shards) = self.list(sink).await? else {
                gaps.insert(format!("the stream {} no longer exists: its records are gone", self.arn));
                break;
            };
            let waiting = self.todo(&shards, listing == 0, &mut gaps);
            if waiting.is_empty() {
                break;
            }
            self.read_all(waiting, sink, &mut gaps).await?;
        }
        missing.extend(gaps);
        Ok(())
    }

    /// Every shard of the stream, patiently.
    async fn list(&mut self, sink: &mut dyn Sink) -> Result<Option<Vec<Shard>>, StoreError> {
        let mut failures = 0;
        loop {
            sink.alive().await?;
            match self.table.list(self.arn, None).await {
                Ok(listing) => {
                    self.last_answer = self.table.clock.now().mono;
                    return Ok(listing.map(|listing| listing.shards));
                }
                Err(error) => self.wait_after(&mut failures, error).await?,
            }
        }
    }

    /// Pauses, or gives up with the error when nothing has answered for long.
    async fn wait_after(&self, failures: &mut u32, error: StoreError) -> Result<(), StoreError> {
        let lasting = matches!(error.class, Class::Denied | Class::Invalid);
        if lasting || self.table.clock.now().mono.saturating_sub(self.last_answer) > PATIENCE {
            return Err(error);
        }
        self.table.clock.sleep(pause(*failures)).await;
        *failures += 1;
        Ok(())
    }

    /// The shards that are to be read, given a listing.
    fn todo(&mut self, shards: &[Shard], first: bool, gaps: &mut BTreeSet<String>) -> Vec<Reader> {
        let listed: HashMap<&str, &Shard> = shards.iter().map(|shard| (shard.id.as_str(), shard)).collect();
        let parents: HashSet<&str> = shards.iter().filter_map(|shard| shard.parent.as_deref()).collect();
        let begun = self.table.clock.now().mono;
        let known = |lane: &Lane| self.state.lanes.get(lane);
        if first {
            for (lane, record) in self.state.lanes.iter().filter(|(lane, _)| lane.kind == LaneKind::Tail) {
                let unread = record.phase != LanePhase::Drained;
                if record.phase == LanePhase::Lost {
                    gaps.insert(format!("shard {lane}: its history was lost before the promotion"));
                } else if unread && !listed.contains_key(lane.name.as_ref()) {
                    gaps.insert(format!("shard {lane}: it left the stream before it was read to its end"));
                }
            }
        }
        let mut waiting = Vec::new();
        for shard in shards {
            let lane = Lane::tail(&shard.id);
            let record = known(&lane);
            if record.is_some_and(|record| record.phase == LanePhase::Drained) {
                continue;
            }
            let parent = shard.parent.as_deref().map(Lane::tail);
            let closed = parents.contains(shard.id.as_str());
            if let Some(before) = self.read.remove(&lane) {
                // Read to a tip that was its end at the time: with children it is closed, and they come after all of it.
                if closed && !before.closed {
                    waiting.push(Reader { closed, begun, empties: 0, ..before });
                } else {
                    self.read.insert(lane, before);
                }
                continue;
            }
            if record.is_none() && !self.descends(shard, &listed) {
                gaps.insert(format!("shard {lane}: the shard before it is not in the stream any more"));
            }
            waiting.push(Reader {
                record: Some(record.cloned().unwrap_or_else(|| unknown(shard, self.state, self.as_of.wall))),
                from: record.and_then(|record| record.position.clone()),
                lane,
                parent,
                iterator: None,
                from_horizon: false,
                closed,
                empties: 0,
                failures: 0,
                begun,
            });
        }
        waiting
    }

    /// Does a shard that the index does not know continue one that it knows, or one that is listed?
    fn descends(&self, shard: &Shard, listed: &HashMap<&str, &Shard>) -> bool {
        match shard.parent.as_deref() {
            Some(parent) => listed.contains_key(parent) || self.state.lanes.contains_key(&Lane::tail(parent)),
            // A first shard that is younger than all that was proved holds nothing older.
            None => lineage::born(&shard.id, self.as_of.wall)
                .is_some_and(|born| self.state.record.through.is_some_and(|w| born > w)),
        }
    }

    async fn read_all(
        &mut self,
        mut waiting: Vec<Reader>,
        sink: &mut dyn Sink,
        gaps: &mut BTreeSet<String>,
    ) -> Result<(), StoreError> {
        self.unfinished = waiting.iter().map(|reader| reader.lane.clone()).collect();
        let mut running = FuturesUnordered::new();
        let mut ready: Vec<Reader> = Vec::new();
        let mut look = true;
        loop {
            if std::mem::take(&mut look) {
                let (now, later): (Vec<_>, Vec<_>) = waiting
                    .into_iter()
                    .partition(|reader| reader.parent.as_ref().is_none_or(|parent| !self.unfinished.contains(parent)));
                ready.extend(now);
                waiting = later;
            }
            while running.len() < READS
                && let Some(mut reader) = ready.pop()
            {
                reader.begun = self.table.clock.now().mono;
                running.push(page(self.table, self.arn, reader));
            }
            sink.alive().await?;
            let Some((mut reader, said)) = running.next().await else { break };
            if !matches!(said, Page::Failed(_)) {
                self.last_answer = self.table.clock.now().mono;
                reader.failures = 0;
            }
            let done = match said {
                Page::Records { found, last, ended } => {
                    for found in found {
                        sink.found(found).await?;
                    }
                    reader.empties = 0;
                    ended || last.is_some_and(|at| at > self.as_of.wall + BEYOND)
                }
                Page::Empty => {
                    reader.empties += 1;
                    self.at_tip(&reader, gaps)
                }
                Page::End => true,
                Page::Gap(what) => {
                    gaps.insert(what);
                    (reader.from_horizon, reader.iterator) = (true, None);
                    false
                }
                Page::Gone(what) => {
                    gaps.insert(what);
                    true
                }
                Page::Failed(error) => {
                    let lasting = matches!(error.class, Class::Denied | Class::Invalid);
                    if lasting || self.table.clock.now().mono.saturating_sub(self.last_answer) > PATIENCE {
                        return Err(error);
                    }
                    reader.failures += 1;
                    false
                }
            };
            if done {
                self.unfinished.remove(&reader.lane);
                self.read.insert(reader.lane.clone(), reader);
                look = true;
            } else {
                running.push(page(self.table, self.arn, reader));
            }
        }
        // A circle of parents, which no source has: nothing of it was read.
        for reader in waiting {
            gaps.insert(format!("shard {}: it waits for itself", reader.lane));
        }
        Ok(())
    }

    /// Is an unbroken run of empty answers the end?
    fn at_tip(&self, reader: &Reader, gaps: &mut BTreeSet<String>) -> bool {
        if reader.empties < self.table.settings.rhythm.empty_run {
            return false;
        }
        if !reader.closed {
            return true;
        }
        let waited = self.table.clock.now().mono.saturating_sub(reader.begun);
        if waited > END_WITHIN {
            gaps.insert(format!("shard {}: it has children and did not come to its end", reader.lane));
            return true;
        }
        false
    }
}

/// A shard that the index does not know, as if it had registered it when it last proved anything: no record in it is much
/// older than that, unless its id says when it was made. Whether its beginning is still there follows from it (DS-5).
fn unknown(shard: &Shard, state: &StoreState, now: SourceTime) -> LaneRecord {
    let proved = state.record.proved_at.or(state.record.through);
    LaneRecord {
        parent: Some(Lane::tail(shard.parent.as_deref().unwrap_or(&shard.id))),
        born: lineage::born(&shard.id, now),
        first_seen: proved.unwrap_or_default(),
        phase: LanePhase::Reading,
        position: None,
        through: None,
        method: crate::change::Method::Assumed,
        tip_at: None,
        closed_at: None,
        initial: false,
    }
}

fn pause(failures: u32) -> Duration {
    Duration::from_millis(200).saturating_mul(1 << failures.min(8)).min(PAUSE_MAX)
}

/// Reads one page, after the pause that the last ones ask for.
async fn page(table: &Table, arn: &str, mut reader: Reader) -> (Reader, Page) {
    if reader.failures > 0 {
        table.clock.sleep(pause(reader.failures - 1)).await;
    } else if reader.empties > 0 {
        table.clock.sleep(table.settings.rhythm.poll_min).await;
    }
    let said = match read(table, arn, &mut reader).await {
        Ok(page) | Err(page) => page,
    };
    (reader, said)
}

async fn read(table: &Table, arn: &str, reader: &mut Reader) -> Result<Page, Page> {
    let on = format!("table {}, shard {}", table.settings.table, reader.lane);
    let iterator = match reader.iterator.take() {
        Some(iterator) => iterator,
        None => iterator(table, arn, reader, &on).await?,
    };
    let page = match table.streams.get_records().shard_iterator(&iterator).limit(PAGE).send().await {
        Ok(page) => page,
        Err(error) => {
            let service = error.as_service_error();
            if service.is_some_and(|e| e.is_trimmed_data_access_exception()) {
                return Err(trimmed(reader));
            }
            if service.is_some_and(|e| e.is_resource_not_found_exception()) {
                return Err(Page::Gone(format!("shard {}: it is gone before it was read to its end", reader.lane)));
            }
            let expired = service.is_some_and(|e| e.is_expired_iterator_exception());
            let mut failed = StoreError::of_call(&error, false, "GetRecords", &on);
            if expired {
                failed.class = Class::Unavailable;
            } else if failed.class == Class::Throttled {
                reader.iterator = Some(iterator);
            }
            return Err(Page::Failed(failed));
        }
    };
    reader.iterator.clone_from(&page.next_shard_iterator);
    let ended = page.next_shard_iterator.is_none();
    take(table, page, reader, ended).map_err(|what| Page::Failed(StoreError::new(Class::Invalid, what, on)))
}

fn take(table: &Table, page: GetRecordsOutput, reader: &mut Reader, ended: bool) -> Result<Page, &'static str> {
    let records = page.records.unwrap_or_default();
    if records.is_empty() {
        return Ok(if ended { Page::End } else { Page::Empty });
    }
    let (mut found, mut last) = (Vec::with_capacity(records.len()), None);
    for record in records {
        let (change, position) = change(table, record)?;
        reader.from = Some(position);
        // What was trimmed before it does not matter any more.
        reader.from_horizon = false;
        let Some(change) = change else { continue };
        last = change.at.max(last);
        found.push(change);
    }
    Ok(Page::Records { found, last, ended })
}

/// History between the position and what is left may be gone (DS-8a). That nothing was there cannot be known: what is
/// trimmed leaves no trace.
fn trimmed(reader: &mut Reader) -> Page {
    reader.iterator = None;
    if reader.from_horizon {
        return Page::Gone(format!("shard {}: the source goes on trimming it", reader.lane));
    }
    Page::Gap(format!("shard {}: the source trimmed changes that were never read", reader.lane))
}

async fn iterator(table: &Table, arn: &str, reader: &mut Reader, on: &str) -> Result<String, Page> {
    let request = table.streams.get_shard_iterator().stream_arn(arn).shard_id(reader.lane.name.as_ref());
    let request = match reader.from.as_ref().filter(|_| !reader.from_horizon) {
        Some(position) => {
            request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(position.0.as_ref())
        }
        None => {
            // From the beginning: is that still there?
            let now = table.clock.now().wall;
            let record = reader.record.as_ref().filter(|_| !reader.from_horizon);
            if record.is_some_and(|record| lineage::start(&reader.lane, record, None, now).is_err()) {
                return Err(Page::Gap(format!(
                    "shard {}: not read for longer than the source keeps history",
                    reader.lane
                )));
            }
            request.shard_iterator_type(ShardIteratorType::TrimHorizon)
        }
    };
    match request.send().await {
        Ok(answer) => answer
            .shard_iterator
            .ok_or_else(|| Page::Failed(StoreError::new(Class::Unavailable, "GetShardIterator", on))),
        Err(error) => {
            let service = error.as_service_error();
            if service.is_some_and(|e| e.is_trimmed_data_access_exception()) {
                return Err(trimmed(reader));
            }
            if service.is_some_and(|e| e.is_resource_not_found_exception()) {
                return Err(Page::Gone(format!("shard {}: it is gone before it was read to its end", reader.lane)));
            }
            Err(Page::Failed(StoreError::of_call(&error, false, "GetShardIterator", on)))
        }
    }
}

/// A record as a change, and its position.
/// What a record says; nothing if it is of a canary, which nobody misses.
fn change(table: &Table, record: Record) -> Result<(Option<Found>, Position), &'static str> {
    // A deletion by the service itself is TTL's (DS-F14).
    let expired = record.user_identity().and_then(|who| who.principal_id()) == Some("dynamodb.amazonaws.com");
    let operation = record.event_name;
    let removed = operation == Some(OperationType::Remove);
    let data = record.dynamodb.ok_or("reading a record without data")?;
    let sequence = data.sequence_number.ok_or("reading a record without a sequence number")?;
    let at =
        data.approximate_creation_date_time.as_ref().and_then(source_time).ok_or("reading a record without a time")?;
    let convert =
        |what| item::from_stream(what).map_err(|_| "reading an attribute of a type that this version does not know");
    let keys = convert(data.keys.ok_or("reading a record without keys")?)?;
    let canary = table.is_canary(keys.values());
    let old = data.old_image.map(convert).transpose()?.map(|old| digest(&old));
    let (before, held) = match (operation, data.new_image) {
        (Some(OperationType::Remove), _) => (old, None),
        (Some(OperationType::Insert), Some(new)) => (Some(old.unwrap_or(Digest::ABSENT)), Some(image(&convert(new)?))),
        (Some(OperationType::Modify), Some(new)) => (old, Some(image(&convert(new)?))),
        (Some(OperationType::Insert | OperationType::Modify), None) => {
            return Err("reading a record without its new image");
        }
        _ => return Err("reading a record of an unknown operation"),
    };
    let found = Found {
        key: item::identity(&keys),
        name: key_text(&keys),
        at: Some(at),
        before,
        image: held,
        origin: Origin::Stream,
        expired: expired && removed,
    };
    Ok(((!canary).then_some(found), Position(sequence.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watermark::StoreRecord;

    /// DS-5: a shard that was made after the fence is read from its beginning only while that is still there.
    #[test]
    fn ds5_the_beginning_of_an_unknown_shard_is_vouched_for_a_day() {
        let (day, hour) = (1_760_000_000_000_i64, 3_600_000);
        let state = |proved: Option<i64>| StoreState {
            record: StoreRecord { proved_at: proved.map(SourceTime), ..StoreRecord::default() },
            ..StoreState::default()
        };
        let vouched = |id: String, proved: Option<i64>, now: i64| {
            let shard = Shard { id, parent: Some("shardId-00000000000000000000-00000000".into()) };
            let record = unknown(&shard, &state(proved), SourceTime(now));
            lineage::start(&Lane::tail(&shard.id), &record, None, SourceTime(now)).is_ok()
        };
        let made = |at: i64| format!("shardId-{at:020}-0000000a");
        assert!(vouched(made(day), Some(day - hour), day + 22 * hour));
        assert!(!vouched(made(day), Some(day - hour), day + 24 * hour));
        // Made long after the last proof: its own time counts.
        assert!(vouched(made(day + 10 * hour), Some(day), day + 30 * hour));
        // Without a time of its own, the last proof; without that, nothing.
        assert!(vouched("shard-a".into(), Some(day), day + 22 * hour));
        assert!(!vouched("shard-a".into(), Some(day), day + 24 * hour));
        assert!(!vouched("shard-a".into(), None, day));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(pause(0), Duration::from_millis(200));
        assert!(pause(3) > pause(2) && pause(400) == PAUSE_MAX);
    }
}
