//! How awkward a table and its stream are: everything DynamoDB may do to a reader that the emulators never do.

use super::table::Change;
use std::time::{Duration, SystemTime};

/// The behaviour of one table's streams. Durations are of the server's clock, which a test moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamQuirks {
    /// Most records on one page of GetRecords (1000 on AWS).
    pub page_limit: usize,
    /// Most bytes on one page (1 MiB on AWS); a page holds one record at least.
    pub page_bytes: usize,
    /// Empty pages a reader gets before each page of data, although data is there (DS-F10).
    pub empty_pages_before_data: u32,
    /// How long after its commit a record becomes readable.
    pub visibility_delay: Duration,
    /// A publisher that stopped: records after this sequence number stay unreadable, and pages stay empty (DS-12).
    pub held_after: Option<u128>,
    /// How long an iterator lives (15 minutes on AWS).
    pub iterator_lifetime: Duration,
    /// True: the last records of a closed shard come with a null iterator. False: an empty page with null follows.
    pub null_with_last_records: bool,
    /// A child shard is not listed before this age.
    pub hide_new_children_for: Duration,
    /// A closed shard shows no EndingSequenceNumber before it has been closed this long (DS-F7).
    pub late_parent_end_for: Duration,
    /// Lists shards in an order of this seed instead of by id.
    pub shuffle: Option<u64>,
    /// Sets LastEvaluatedShardId on the last real page too, so that an empty page follows (DS-F7).
    pub mark_last_page: bool,
    /// Most shards on one page of DescribeStream (100 on AWS).
    pub listing_limit: usize,
}

impl Default for StreamQuirks {
    fn default() -> Self {
        Self {
            page_limit: 1000,
            page_bytes: 1 << 20,
            empty_pages_before_data: 0,
            visibility_delay: Duration::ZERO,
            held_after: None,
            iterator_lifetime: Duration::from_mins(15),
            null_with_last_records: true,
            hide_new_children_for: Duration::ZERO,
            late_parent_end_for: Duration::ZERO,
            shuffle: None,
            mark_last_page: false,
            listing_limit: 100,
        }
    }
}

impl StreamQuirks {
    pub(crate) fn visible(&self, change: &Change, now: SystemTime) -> bool {
        let age = now.duration_since(change.commit).unwrap_or_default();
        age >= self.visibility_delay && self.held_after.is_none_or(|held| change.order() <= held)
    }
}

/// How awkward the reads of one table are. Defaults are a table that behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadQuirks {
    /// Eventually consistent reads see the table as it was this many writes ago, or fewer: each call draws anew. The
    /// server knows the writes that are in its log, so not those of a table that keeps none.
    pub stale_writes: usize,
    /// Eventually consistent reads are always as stale as they may be.
    pub stale_always: bool,
    /// A write older than this, by the server's clock, is seen by every read. `None`: however old it is.
    pub stale_for: Option<Duration>,
    /// Most items on a page of Scan, whatever Limit says.
    pub scan_page_items: usize,
    /// A page of Scan ends with the item that reaches this many bytes (1 MiB on AWS).
    pub scan_page_bytes: usize,
    /// The page with a segment's last item names it as LastEvaluatedKey, so that an empty page follows.
    pub mark_last_page: bool,
}

impl Default for ReadQuirks {
    fn default() -> Self {
        Self {
            stale_writes: 0,
            stale_always: false,
            stale_for: None,
            scan_page_items: usize::MAX,
            scan_page_bytes: 1 << 20,
            mark_last_page: false,
        }
    }
}
