//! One DynamoDB stream: its shards, their lineage, and what a reader is told about them.
//!
//! Invariants: the open shards partition the hash space; a change is appended to the one open shard its partition key
//! belongs to, so changes of one key are ordered along a lineage (DS-F1, DS-F4); sequence numbers rise within the
//! table; a closed shard's last number is above all of its records.

use super::error::AwsError;
use super::quirks::StreamQuirks;
use super::schema::ViewType;
use super::table::Change;
use crate::scripted::clock::epoch_millis;
use crate::scripted::rng::{Rng, mix};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

/// The life of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStatus {
    /// Being made: lists no shards.
    Enabling,
    /// Written to.
    Enabled,
    /// Being closed.
    Disabling,
    /// Closed; still readable.
    Disabled,
}

impl StreamStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Enabling => "ENABLING",
            Self::Enabled => "ENABLED",
            Self::Disabling => "DISABLING",
            Self::Disabled => "DISABLED",
        }
    }
}

/// A shard as its server knows it.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: Arc<str>,
    pub(crate) parent: Option<Arc<str>>,
    /// The part of the hash space it takes, both ends included.
    range: (u64, u64),
    start: u128,
    end: Option<u128>,
    created: SystemTime,
    /// The creation time its id shows.
    millis: u64,
    closed_at: Option<SystemTime>,
    records: VecDeque<Arc<Change>>,
    /// The highest sequence number this shard lost to trimming.
    trimmed_through: u128,
    vanished: bool,
}

/// A shard as a test sees it: the truth, whatever the listing says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardView {
    /// Shard id.
    pub id: String,
    /// Parent shard id, even when the parent is gone.
    pub parent: Option<String>,
    /// First sequence number.
    pub start: u128,
    /// Last sequence number, when closed.
    pub end: Option<u128>,
    /// Records still held.
    pub records: usize,
    /// Removed by `vanish` or by retention.
    pub vanished: bool,
}

/// A shard as DescribeStream shows it.
pub(crate) struct ListedShard {
    pub(crate) id: Arc<str>,
    pub(crate) parent: Option<Arc<str>>,
    pub(crate) start: u128,
    pub(crate) end: Option<u128>,
}

/// Where an iterator begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    TrimHorizon,
    Latest,
    At(u128),
    After(u128),
    AtTime(SystemTime),
}

/// A place in a shard: the next sequence number wanted, and how many quirk pages came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) next: u128,
    pub(crate) empties: u32,
}

/// What one GetRecords found.
pub(crate) struct Page {
    pub(crate) records: Vec<Arc<Change>>,
    pub(crate) next: Option<Position>,
}

/// A stream and all of its shards.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) arn: Arc<str>,
    pub(crate) label: String,
    pub(crate) view: ViewType,
    pub(crate) status: StreamStatus,
    pub(crate) created: SystemTime,
    shards: Vec<Shard>,
    by_id: HashMap<Arc<str>, usize>,
    /// Indexes of the open shards, by where their range begins.
    open: Vec<usize>,
    trim_point: u128,
    rng: Rng,
}

impl Stream {
    pub(crate) fn new(
        arn: String,
        label: String,
        view: ViewType,
        shards: usize,
        now: SystemTime,
        sequence: &mut u128,
    ) -> Self {
        let seed = arn.bytes().fold(0_u64, |h, b| mix(h ^ u64::from(b)));
        let mut stream = Self {
            arn: arn.into(),
            label,
            view,
            status: StreamStatus::Enabled,
            created: now,
            shards: Vec::new(),
            by_id: HashMap::new(),
            open: Vec::new(),
            trim_point: 0,
            rng: Rng::new(seed),
        };
        for range in divide((0, u64::MAX), shards) {
            stream.open_shard(None, range, now, sequence);
        }
        stream
    }

    fn open_shard(
        &mut self,
        parent: Option<Arc<str>>,
        range: (u64, u64),
        now: SystemTime,
        sequence: &mut u128,
    ) -> Arc<str> {
        // A child is never as old as its parent, also when a test makes both within a millisecond (DS-F6).
        let after_parent = parent.as_ref().map_or(0, |id| self.shards[self.by_id[id]].millis + 1);
        let millis = epoch_millis(now).max(after_parent);
        let id: Arc<str> = loop {
            let id = format!("shardId-{millis:020}-{:08x}", self.rng.next() >> 32);
            if !self.by_id.contains_key(id.as_str()) {
                break id.into();
            }
        };
        let index = self.shards.len();
        self.shards.push(Shard {
            id: Arc::clone(&id),
            parent,
            range,
            start: take(sequence),
            end: None,
            created: now,
            millis,
            closed_at: None,
            records: VecDeque::new(),
            trimmed_through: 0,
            vanished: false,
        });
        self.by_id.insert(Arc::clone(&id), index);
        let at = self.open.partition_point(|&other| self.shards[other].range.0 < range.0);
        self.open.insert(at, index);
        id
    }

    pub(crate) fn append(&mut self, position: u64, change: &Arc<Change>) {
        let after = self.open.partition_point(|&shard| self.shards[shard].range.0 <= position);
        let shard = self.open[after.checked_sub(1).expect("the open shards cover the hash space from 0")];
        self.shards[shard].records.push_back(Arc::clone(change));
    }

    fn close(&mut self, index: usize, now: SystemTime, sequence: &mut u128) {
        let shard = &mut self.shards[index];
        shard.end = Some(take(sequence));
        shard.closed_at = Some(now);
        self.open.retain(|&open| open != index);
    }

    /// Closes `shard` and opens `children` in its place; with one child it is a roll. The children's ids.
    pub(crate) fn split(
        &mut self,
        shard: &str,
        children: usize,
        now: SystemTime,
        sequence: &mut u128,
    ) -> Option<Vec<String>> {
        let index = *self.by_id.get(shard)?;
        let (id, range) = (Arc::clone(&self.shards[index].id), self.shards[index].range);
        if self.shards[index].end.is_some() {
            return None;
        }
        self.close(index, now, sequence);
        let ranges = divide(range, children);
        Some(
            ranges
                .into_iter()
                .map(|range| self.open_shard(Some(Arc::clone(&id)), range, now, sequence).to_string())
                .collect(),
        )
    }

    /// Closes every shard for ever.
    pub(crate) fn disable(&mut self, now: SystemTime, sequence: &mut u128) {
        for index in self.open.clone() {
            self.close(index, now, sequence);
        }
        self.status = StreamStatus::Disabled;
    }

    /// Drops every record up to and including `through`.
    pub(crate) fn trim(&mut self, through: u128) {
        self.trim_point = self.trim_point.max(through);
        for shard in &mut self.shards {
            while let Some(first) = shard.records.pop_front_if(|change| change.order() <= through) {
                shard.trimmed_through = first.order();
            }
        }
    }

    /// Trims what was committed before `horizon`.
    pub(crate) fn trim_before(&mut self, horizon: SystemTime) {
        let last_old =
            |shard: &Shard| shard.records.iter().take_while(|c| c.commit < horizon).last().map(|c| c.order());
        if let Some(through) = self.shards.iter().filter_map(last_old).max() {
            self.trim(through);
        }
    }

    /// Drops the shards that were closed before `horizon`.
    pub(crate) fn forget_closed_before(&mut self, horizon: SystemTime) {
        for shard in &mut self.shards {
            shard.vanished |= shard.closed_at.is_some_and(|at| at < horizon);
        }
    }

    /// Makes a shard unknown to every call. False: there is none.
    pub(crate) fn vanish(&mut self, shard: &str) -> bool {
        let Some(&index) = self.by_id.get(shard) else { return false };
        self.shards[index].vanished = true;
        true
    }

    pub(crate) fn view(&self) -> Vec<ShardView> {
        let view = |s: &Shard| ShardView {
            id: s.id.to_string(),
            parent: s.parent.as_ref().map(ToString::to_string),
            start: s.start,
            end: s.end,
            records: s.records.len(),
            vanished: s.vanished,
        };
        self.shards.iter().map(view).collect()
    }

    /// The ids of the shards that take writes.
    pub(crate) fn open_ids(&self) -> Vec<String> {
        self.open.iter().map(|&index| self.shards[index].id.to_string()).collect()
    }

    /// One page of the listing, and the marker of the next one.
    pub(crate) fn list(
        &self,
        quirks: &StreamQuirks,
        now: SystemTime,
        after: Option<&str>,
        children_of: Option<&str>,
        limit: usize,
    ) -> (Vec<ListedShard>, Option<Arc<str>>) {
        if self.status == StreamStatus::Enabling {
            return (Vec::new(), None);
        }
        let elapsed = |since: SystemTime| now.duration_since(since).unwrap_or_default();
        let rank = |id: &str| match quirks.shuffle {
            // The order must be the same on every page of one listing, or paging itself would lose shards.
            Some(seed) => id.bytes().fold(mix(seed), |h, b| mix(h ^ u64::from(b))),
            None => 0,
        };
        let after = after.map(|after| (rank(after), after));
        let mut listed: Vec<_> = self
            .shards
            .iter()
            .filter(|s| !s.vanished)
            .filter(|s| s.parent.is_none() || elapsed(s.created) >= quirks.hide_new_children_for)
            .filter(|s| children_of.is_none_or(|parent| s.parent.as_deref() == Some(parent)))
            .map(|s| ((rank(&s.id), &*s.id), s))
            .filter(|(place, _)| after.is_none_or(|after| *place > after))
            .collect();
        let more = listed.len() > limit;
        if more {
            // Only the page is sorted: a stream may list thousands.
            listed.select_nth_unstable_by(limit, |a, b| a.0.cmp(&b.0));
            listed.truncate(limit);
        }
        listed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let marker = listed.last().filter(|_| more || quirks.mark_last_page).map(|(_, s)| Arc::clone(&s.id));
        let show = |s: &Shard| ListedShard {
            id: Arc::clone(&s.id),
            parent: s.parent.clone(),
            start: s.start,
            end: s.end.filter(|_| s.closed_at.is_some_and(|at| elapsed(at) >= quirks.late_parent_end_for)),
        };
        (listed.into_iter().map(|(_, s)| show(s)).collect(), marker)
    }

    fn shard(&self, id: &str) -> Result<&Shard, AwsError> {
        let shard = self.by_id.get(id).map(|&index| &self.shards[index]).filter(|shard| !shard.vanished);
        shard.ok_or_else(|| AwsError::shard_not_found(id, &self.arn))
    }

    /// Where an iterator of this kind begins.
    pub(crate) fn position(
        &self,
        shard: &str,
        start: Start,
        quirks: &StreamQuirks,
        now: SystemTime,
    ) -> Result<Position, AwsError> {
        let shard = self.shard(shard)?;
        let oldest = shard.start.max(shard.trimmed_through + 1);
        let from_index = |index: usize| match (shard.records.get(index), shard.records.back()) {
            (Some(change), _) => change.order(),
            (None, Some(last)) => last.order() + 1,
            (None, None) => oldest,
        };
        let next = match start {
            Start::TrimHorizon => oldest,
            Start::Latest => from_index(shard.records.partition_point(|change| quirks.visible(change, now))),
            Start::AtTime(at) => from_index(shard.records.partition_point(|change| change.commit < at)),
            Start::At(sequence) | Start::After(sequence) => {
                if sequence <= self.trim_point {
                    return Err(AwsError::trimmed());
                }
                if sequence < shard.start || shard.end.is_some_and(|end| sequence > end) {
                    return Err(AwsError::validation(format!(
                        "Invalid SequenceNumber: {sequence} does not belong to shard {}",
                        shard.id
                    )));
                }
                sequence + u128::from(start == Start::After(sequence))
            }
        };
        Ok(Position { next, empties: 0 })
    }

    /// One page of records from `at`.
    pub(crate) fn read(
        &self,
        shard: &str,
        at: Position,
        limit: usize,
        quirks: &StreamQuirks,
        now: SystemTime,
    ) -> Result<Page, AwsError> {
        let shard = self.shard(shard)?;
        if shard.trimmed_through >= at.next {
            return Err(AwsError::trimmed());
        }
        let first = shard.records.partition_point(|change| change.order() < at.next);
        let waiting = shard.records.len() > first;
        let visible = shard.records.get(first).is_some_and(|change| quirks.visible(change, now));
        if visible && at.empties < quirks.empty_pages_before_data {
            let next = Position { empties: at.empties + 1, ..at };
            return Ok(Page { records: Vec::new(), next: Some(next) });
        }
        let mut bytes = 0;
        let mut records = Vec::new();
        for change in shard.records.range(first..).take(limit.min(quirks.page_limit).max(1)) {
            bytes += change.size;
            if !quirks.visible(change, now) || (bytes > quirks.page_bytes && !records.is_empty()) {
                break;
            }
            records.push(Arc::clone(change));
        }
        let exhausted = shard.end.is_some() && shard.records.len() == first + records.len();
        let over = exhausted && (quirks.null_with_last_records || !waiting);
        let next = records.last().map_or(at.next, |last| last.order() + 1);
        Ok(Page { records, next: (!over).then_some(Position { next, empties: 0 }) })
    }
}

fn take(sequence: &mut u128) -> u128 {
    let taken = *sequence;
    *sequence += 1;
    taken
}

/// Cuts a range of the hash space into `parts` of nearly equal width.
fn divide((low, high): (u64, u64), parts: usize) -> Vec<(u64, u64)> {
    let width = u128::from(high - low) + 1;
    let parts = (parts.max(1) as u128).min(width);
    let edge =
        |part: u128| low + u64::try_from(width * part / parts).expect("an inner edge lies below the end of the range");
    (0..parts).map(|part| (edge(part), if part + 1 == parts { high } else { edge(part + 1) - 1 })).collect()
}

#[cfg(test)]
mod tests {
    use super::divide;

    #[test]
    fn parts_touch_and_cover() {
        for (range, parts) in [((0, u64::MAX), 1), ((0, u64::MAX), 7), ((10, 12), 5), ((5, 5), 2), ((0, u64::MAX), 300)]
        {
            let cut = divide(range, parts);
            assert_eq!((cut[0].0, cut[cut.len() - 1].1), range);
            assert!(cut.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
        }
    }
}
