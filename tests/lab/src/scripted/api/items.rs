//! PutItem, DeleteItem, BatchWriteItem.
//!
//! What the model does not do (most conditions) is refused, never ignored.

use super::super::faults::Call;
use super::super::model::error::AwsError;
use super::super::model::meter::{throttled, write_units};
use super::super::model::schema::Key;
use super::super::model::table::Table;
use super::super::model::value::{Item, canonicalise, item_size};
use super::super::region::Region;
use super::capacity::{Consumed, Report};
use super::condition::Condition;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// Most entries of a BatchWriteItem.
const BATCH_WRITE_LIMIT: usize = 25;

/// PutItem.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutItem {
    table_name: String,
    item: Item,
    return_values: Option<String>,
    return_consumed_capacity: Option<String>,
    #[serde(flatten)]
    condition: Condition,
    expected: Option<serde_json::Value>,
}

/// DeleteItem.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteItem {
    table_name: String,
    key: Item,
    return_values: Option<String>,
    return_consumed_capacity: Option<String>,
    #[serde(flatten)]
    condition: Condition,
    expected: Option<serde_json::Value>,
}

/// One entry of a BatchWriteItem, kept as it came so that it can be handed back unprocessed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct WriteEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put_request: Option<PutRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delete_request: Option<DeleteRequest>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRequest {
    item: Item,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteRequest {
    key: Item,
}

/// BatchWriteItem.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchWriteItem {
    request_items: BTreeMap<String, Vec<WriteEntry>>,
    return_consumed_capacity: Option<String>,
    /// Entries beyond this many are handed back; a fault sets it.
    #[serde(skip)]
    keep: Option<usize>,
}

impl PutItem {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
        call.items.push(&self.item);
    }
}

impl DeleteItem {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
        call.items.push(&self.key);
    }
}

impl BatchWriteItem {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.extend(self.request_items.keys().map(String::as_str));
        for entry in self.request_items.values().flatten() {
            call.items.extend(entry.put_request.as_ref().map(|put| &put.item));
            call.items.extend(entry.delete_request.as_ref().map(|delete| &delete.key));
        }
    }

    pub(super) fn keep(mut self, keep: usize) -> Self {
        self.keep = Some(keep);
        self
    }
}

pub(super) fn encoded(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("answers have string keys and no fallible values")
}

pub(super) fn unsupported(what: &str) -> AwsError {
    AwsError::validation(format!("{what} is not supported by the scripted server"))
}

fn without_expected(expected: Option<&serde_json::Value>) -> Result<(), AwsError> {
    if expected.is_some() { Err(unsupported("a write with Expected")) } else { Ok(()) }
}

pub(super) fn unconditional(condition: Option<&String>, expected: Option<&serde_json::Value>) -> Result<(), AwsError> {
    if condition.is_some() || expected.is_some() { Err(unsupported("a conditional write")) } else { Ok(()) }
}

/// What a single write is asked to answer.
pub(super) struct Wanted {
    old: bool,
    report: Report,
}

impl Wanted {
    pub(super) fn parse(return_values: Option<&str>, capacity: Option<&str>) -> Result<Self, AwsError> {
        let old = match return_values {
            None | Some("NONE") => false,
            Some("ALL_OLD") => true,
            Some(_) => return Err(AwsError::validation("ReturnValues can only be ALL_OLD or NONE")),
        };
        Ok(Self { old, report: Report::parse(capacity)? })
    }

    pub(super) fn answer(&self, table: &str, old: Option<&Arc<Item>>, units: f64) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Written<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            attributes: Option<&'a Item>,
            #[serde(skip_serializing_if = "Option::is_none")]
            consumed_capacity: Option<Consumed>,
        }
        let attributes = old.filter(|_| self.old).map(|item| &**item);
        encoded(&Written { attributes, consumed_capacity: self.report.of(table, units) })
    }
}

/// Commits a write that was let in, and charges for it. The item before, and the units.
pub(super) fn write(table: &mut Table, key: Key, item: Option<Item>, now: SystemTime) -> (Option<Arc<Item>>, f64) {
    let new_size = item.as_ref().map_or(0, item_size);
    let old = table.commit(key, item, now, false);
    let units = write_units(new_size.max(old.as_deref().map_or(0, item_size)));
    table.meter.charge_write(units);
    (old, units)
}

pub(super) fn put_item(region: &Region, mut input: PutItem) -> Result<Vec<u8>, AwsError> {
    without_expected(input.expected.as_ref())?;
    let wanted = Wanted::parse(input.return_values.as_deref(), input.return_consumed_capacity.as_deref())?;
    let cell = region.table(&input.table_name)?;
    let (old, units) = {
        let mut table = cell.lock();
        let now = region.now();
        let key = table.check_put(&mut input.item)?;
        if !table.meter.lets_write(now) {
            return Err(throttled());
        }
        input.condition.check(table.get(&key).as_deref())?;
        write(&mut table, key, Some(input.item), now)
    };
    region.counters.items_put.fetch_add(1, Ordering::Relaxed);
    Ok(wanted.answer(&input.table_name, old.as_ref(), units))
}

pub(super) fn delete_item(region: &Region, mut input: DeleteItem) -> Result<Vec<u8>, AwsError> {
    without_expected(input.expected.as_ref())?;
    let wanted = Wanted::parse(input.return_values.as_deref(), input.return_consumed_capacity.as_deref())?;
    let cell = region.table(&input.table_name)?;
    canonicalise(&mut input.key)?;
    let (old, units) = {
        let mut table = cell.lock();
        let now = region.now();
        let key = table.spec.key_of_parameter(&input.key)?;
        if !table.meter.lets_write(now) {
            return Err(throttled());
        }
        input.condition.check(table.get(&key).as_deref())?;
        write(&mut table, key, None, now)
    };
    region.counters.items_deleted.fetch_add(1, Ordering::Relaxed);
    Ok(wanted.answer(&input.table_name, old.as_ref(), units))
}

/// A write that was checked and can only be throttled.
struct Checked {
    table: String,
    key: Key,
    item: Option<Item>,
    /// As it came, when it may have to be handed back.
    entry: Option<WriteEntry>,
}

type Unprocessed = BTreeMap<String, Vec<WriteEntry>>;

pub(super) fn batch_write_item(region: &Region, input: BatchWriteItem) -> Result<Vec<u8>, AwsError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        unprocessed_items: Unprocessed,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        consumed_capacity: Vec<Consumed>,
    }
    let report = Report::parse(input.return_consumed_capacity.as_deref())?;
    let count: usize = input.request_items.values().map(Vec::len).sum();
    if count == 0 || count > BATCH_WRITE_LIMIT {
        return Err(AwsError::validation(format!(
            "1 validation error detected: a BatchWriteItem takes 1 to {BATCH_WRITE_LIMIT} entries, not {count}"
        )));
    }
    let keep = input.keep.unwrap_or(usize::MAX);
    let mut unprocessed = Unprocessed::new();
    let mut writes = Vec::with_capacity(count);
    // The whole batch is refused for one bad entry, also for one that would have been handed back.
    for (name, entries) in input.request_items {
        let cell = region.table(&name)?;
        let table = cell.lock();
        let mut seen = HashSet::with_capacity(entries.len());
        for entry in entries {
            let back = writes.len() >= keep;
            let original = (back || table.meter.limits_writes()).then(|| entry.clone());
            let (key, item) = checked(&table, entry)?;
            if !seen.insert(key.clone()) {
                return Err(AwsError::validation("Provided list of item keys contains duplicates"));
            }
            match original {
                Some(entry) if back => unprocessed.entry(name.clone()).or_default().push(entry),
                entry => writes.push(Checked { table: name.clone(), key, item, entry }),
            }
        }
    }
    let consumed_capacity = commit(region, writes, &mut unprocessed, report)?;
    Ok(encoded(&Answer { unprocessed_items: unprocessed, consumed_capacity }))
}

/// The key of an entry and the item it puts; `None` deletes.
fn checked(table: &Table, entry: WriteEntry) -> Result<(Key, Option<Item>), AwsError> {
    match entry {
        WriteEntry { put_request: Some(mut put), delete_request: None } => {
            let key = table.check_put(&mut put.item)?;
            Ok((key, Some(put.item)))
        }
        WriteEntry { put_request: None, delete_request: Some(mut delete) } => {
            canonicalise(&mut delete.key)?;
            Ok((table.spec.key_of_parameter(&delete.key)?, None))
        }
        _ => Err(AwsError::validation("Supplied WriteRequest must have exactly one of PutRequest and DeleteRequest")),
    }
}

/// Writes come grouped by table; a table's lock is taken once. What is throttled is handed back, and when that is
/// everything the call fails, as on AWS.
fn commit(
    region: &Region,
    writes: Vec<Checked>,
    unprocessed: &mut Unprocessed,
    report: Report,
) -> Result<Vec<Consumed>, AwsError> {
    let (mut put, mut deleted, wanted) = (0, 0, writes.len());
    let mut consumed = Vec::new();
    for group in chunks_by_table(writes) {
        let name = group[0].table.clone();
        let cell = region.table(&name)?;
        let mut table = cell.lock();
        let mut used = 0.0;
        for Checked { key, item, entry, .. } in group {
            let now = region.now();
            match entry {
                Some(entry) if !table.meter.lets_write(now) => {
                    unprocessed.entry(name.clone()).or_default().push(entry);
                }
                _ => {
                    *(if item.is_some() { &mut put } else { &mut deleted }) += 1;
                    used += write(&mut table, key, item, now).1;
                }
            }
        }
        consumed.extend(report.of(&name, used));
    }
    region.counters.items_put.fetch_add(put, Ordering::Relaxed);
    region.counters.items_deleted.fetch_add(deleted, Ordering::Relaxed);
    if wanted > 0 && put + deleted == 0 { Err(throttled()) } else { Ok(consumed) }
}

fn chunks_by_table(writes: Vec<Checked>) -> Vec<Vec<Checked>> {
    let mut groups: Vec<Vec<Checked>> = Vec::new();
    for write in writes {
        match groups.last_mut().filter(|group| group[0].table == write.table) {
            Some(group) => group.push(write),
            None => groups.push(vec![write]),
        }
    }
    groups
}
