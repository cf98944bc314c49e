//! Reading a table: one item, or a page of a scan, now or as it was some writes ago.
//!
//! A scan is no snapshot: each page sees the table at the time the page is read. Its order is that of the partition
//! keys' hash, which never changes, so an item that is there all the time is seen exactly once.

use super::error::AwsError;
use super::schema::Key;
use super::table::{Place, Table};
use super::value::{Item, item_size};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

/// One page of a scan.
pub(crate) struct ScanPage {
    pub(crate) items: Vec<Arc<Item>>,
    pub(crate) last: Option<Arc<Key>>,
    /// Bytes read.
    pub(crate) bytes: usize,
}

/// Which part of a table a page reads.
#[derive(Debug, Clone)]
pub(crate) struct ScanRange {
    pub(crate) after: Option<Key>,
    pub(crate) segment: u64,
    pub(crate) segments: u64,
    pub(crate) limit: usize,
}

/// What an eventually consistent read sees instead of what is there: places and what they held. Empty when it is up to
/// date.
pub(crate) struct Past(BTreeMap<Place, Option<Arc<Item>>>);

impl Past {
    /// What a consistent read sees.
    pub(crate) fn none() -> Self {
        Self(BTreeMap::new())
    }
}

impl Table {
    /// How far behind this call reads. Draws a new delay each time.
    pub(crate) fn view(&mut self, consistent: bool, now: SystemTime) -> Past {
        let most = self.read_quirks.stale_writes;
        if consistent || most == 0 {
            return Past::none();
        }
        let behind = if self.read_quirks.stale_always {
            most
        } else {
            let drawn = self.dice.next() % (most as u64 + 1);
            usize::try_from(drawn).expect("no more than what was a usize")
        };
        let young = |commit: SystemTime| {
            let age = now.duration_since(commit).unwrap_or_default();
            self.read_quirks.stale_for.is_none_or(|longest| age < longest)
        };
        let mut past = BTreeMap::new();
        for change in self.log().iter().rev().take(behind).take_while(|change| young(change.commit)) {
            // Going back in time, so the oldest of the values stays.
            past.insert((change.key.hash_position(), Arc::clone(&change.key)), change.old.clone());
        }
        Past(past)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Item>> {
        self.get_as_of(key, &Past::none())
    }

    pub(crate) fn get_as_of(&self, key: &Key, past: &Past) -> Option<Arc<Item>> {
        let place = (key.hash_position(), Arc::new(key.clone()));
        match past.0.get(&place) {
            Some(then) => then.clone(),
            None => self.items.get(&place).map(|item| item.item()),
        }
    }

    /// One page of a scan.
    pub(crate) fn scan(&self, range: &ScanRange, past: &Past) -> Result<ScanPage, AwsError> {
        let (low, high) = segment(range.segment, range.segments);
        let from = match &range.after {
            Some(key) if (low..=high).contains(&key.hash_position()) => {
                Bound::Excluded((key.hash_position(), Arc::new(key.clone())))
            }
            Some(_) => {
                return Err(AwsError::validation(format!(
                    "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with \
                     correct Segment. TotalSegments: {} Segment: {}",
                    range.segments, range.segment
                )));
            }
            // An empty string sorts before every key there is.
            None => Bound::Included((low, Arc::new(Key::of("")))),
        };
        let bounds = (from, Bound::Unbounded);
        let mut now = self.items.range(bounds.clone()).peekable();
        let mut then = past.0.range(bounds).peekable();
        let mut page = ScanPage { items: Vec::new(), last: None, bytes: 0 };
        loop {
            let (place, item) = match (now.peek(), then.peek()) {
                (None, None) => break,
                (Some(&(place, item)), before) if before.is_none_or(|&(other, _)| place < other) => {
                    now.next();
                    (place, Some(item.item()))
                }
                (_, Some(&(place, item))) => {
                    now.next_if(|(other, _)| *other == place);
                    then.next();
                    (place, item.clone())
                }
                (Some(_), None) => unreachable!("a place without another before it was taken above"),
            };
            if place.0 > high {
                break;
            }
            let Some(item) = item else { continue };
            page.bytes += item_size(&item);
            page.items.push(item);
            page.last = Some(Arc::clone(&place.1));
            // As DynamoDB: the page that reaches its limit names its last key, though it may be the last of all.
            let quirks = &self.read_quirks;
            if page.items.len() >= range.limit.min(quirks.scan_page_items.max(1))
                || page.bytes >= quirks.scan_page_bytes
            {
                return Ok(page);
            }
        }
        if !self.read_quirks.mark_last_page {
            page.last = None;
        }
        Ok(page)
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
