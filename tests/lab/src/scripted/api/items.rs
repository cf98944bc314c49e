//! PutItem, GetItem, DeleteItem, BatchWriteItem, BatchGetItem, Scan.
//!
//! What the model does not do (filters, most conditions) is refused, never ignored.

use super::super::faults::Call;
use super::super::model::error::AwsError;
use super::super::model::schema::Key;
use super::super::model::table::{ScanRange, Table};
use super::super::model::value::{Item, canonicalise, item_size};
use super::super::region::Region;
use super::condition::Condition;
use super::projection::{Projection, Shared};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most entries of a BatchWriteItem.
const BATCH_WRITE_LIMIT: usize = 25;
/// Most keys of a BatchGetItem.
const BATCH_GET_LIMIT: usize = 100;
/// Bytes of a page of Scan.
const SCAN_PAGE_BYTES: usize = 1 << 20;
/// Bytes of all the items of a BatchGetItem's answer.
const BATCH_GET_BYTES: usize = 16 << 20;

/// PutItem.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutItem {
    table_name: String,
    item: Item,
    return_values: Option<String>,
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
    #[serde(flatten)]
    condition: Condition,
    expected: Option<serde_json::Value>,
}

/// GetItem.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetItem {
    table_name: String,
    key: Item,
    projection_expression: Option<String>,
    #[serde(default)]
    expression_attribute_names: HashMap<String, String>,
}

/// One entry of a BatchWriteItem, kept as it came so that it can be handed back unprocessed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct WriteEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put_request: Option<PutRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delete_request: Option<DeleteRequest>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRequest {
    item: Item,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteRequest {
    key: Item,
}

/// BatchWriteItem.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchWriteItem {
    request_items: BTreeMap<String, Vec<WriteEntry>>,
    /// Entries beyond this many are handed back; a fault sets it.
    #[serde(skip)]
    keep: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeysOfTable {
    keys: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consistent_read: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    projection_expression: Option<String>,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    expression_attribute_names: HashMap<String, String>,
}

/// BatchGetItem.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchGetItem {
    request_items: BTreeMap<String, KeysOfTable>,
    #[serde(skip)]
    keep: Option<usize>,
}

/// Scan.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Scan {
    table_name: String,
    limit: Option<usize>,
    segment: Option<u64>,
    total_segments: Option<u64>,
    exclusive_start_key: Option<Item>,
    select: Option<String>,
    index_name: Option<String>,
    filter_expression: Option<String>,
    projection_expression: Option<String>,
    #[serde(default)]
    expression_attribute_names: HashMap<String, String>,
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

impl GetItem {
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

impl BatchGetItem {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.extend(self.request_items.keys().map(String::as_str));
        call.items.extend(self.request_items.values().flat_map(|table| &table.keys));
    }

    pub(super) fn keep(mut self, keep: usize) -> Self {
        self.keep = Some(keep);
        self
    }
}

impl Scan {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
    }
}

pub(super) fn encoded(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("answers have string keys and no fallible values")
}

fn unsupported(what: &str) -> AwsError {
    AwsError::validation(format!("{what} is not supported by the scripted server"))
}

fn without_expected(expected: Option<&serde_json::Value>) -> Result<(), AwsError> {
    if expected.is_some() { Err(unsupported("a write with Expected")) } else { Ok(()) }
}

/// The answer to a single write: the old item when it was asked for.
fn written(old: Option<&Arc<Item>>, return_values: Option<&str>) -> Result<Vec<u8>, AwsError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Written<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        attributes: Option<&'a Item>,
    }
    match return_values {
        None | Some("NONE") => Ok(b"{}".to_vec()),
        Some("ALL_OLD") => Ok(encoded(&Written { attributes: old.map(|item| &**item) })),
        Some(_) => Err(AwsError::validation("ReturnValues can only be ALL_OLD or NONE")),
    }
}

fn check_return_values(return_values: Option<&str>) -> Result<(), AwsError> {
    written(None, return_values).map(drop)
}

pub(super) fn put_item(region: &Region, mut input: PutItem) -> Result<Vec<u8>, AwsError> {
    without_expected(input.expected.as_ref())?;
    check_return_values(input.return_values.as_deref())?;
    let cell = region.table(&input.table_name)?;
    let old = {
        let mut table = cell.lock();
        let held = table.check_put(&mut input.item).map(|key| table.get(&key))?;
        input.condition.check(held.as_deref())?;
        table.put(input.item, region.now())?
    };
    region.counters.items_put.fetch_add(1, Ordering::Relaxed);
    written(old.as_ref(), input.return_values.as_deref())
}

pub(super) fn delete_item(region: &Region, mut input: DeleteItem) -> Result<Vec<u8>, AwsError> {
    without_expected(input.expected.as_ref())?;
    check_return_values(input.return_values.as_deref())?;
    let table = region.table(&input.table_name)?;
    canonicalise(&mut input.key)?;
    let old = {
        let mut table = table.lock();
        let key = table.spec.key_of_parameter(&input.key)?;
        input.condition.check(table.get(&key).as_deref())?;
        table.delete(key, region.now(), false)
    };
    region.counters.items_deleted.fetch_add(1, Ordering::Relaxed);
    written(old.as_ref(), input.return_values.as_deref())
}

pub(super) fn get_item(region: &Region, mut input: GetItem) -> Result<Vec<u8>, AwsError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Got<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<&'a Item>,
    }
    let projection = Projection::parse(input.projection_expression.as_deref(), &input.expression_attribute_names)?;
    let table = region.table(&input.table_name)?;
    let item = found(&table.lock(), &mut input.key)?.map(|item| projection.apply(item));
    Ok(encoded(&Got { item: item.as_deref() }))
}

fn found(table: &Table, key: &mut Item) -> Result<Option<Arc<Item>>, AwsError> {
    canonicalise(key)?;
    Ok(table.get(&table.spec.key_of_parameter(key)?))
}

/// A write that was checked and can no longer fail.
struct Checked {
    table: String,
    key: Key,
    item: Option<Item>,
}

pub(super) fn batch_write_item(region: &Region, input: BatchWriteItem) -> Result<Vec<u8>, AwsError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        unprocessed_items: BTreeMap<String, Vec<WriteEntry>>,
    }
    let count: usize = input.request_items.values().map(Vec::len).sum();
    if count == 0 || count > BATCH_WRITE_LIMIT {
        return Err(AwsError::validation(format!(
            "1 validation error detected: a BatchWriteItem takes 1 to {BATCH_WRITE_LIMIT} entries, not {count}"
        )));
    }
    let keep = input.keep.unwrap_or(usize::MAX);
    let mut unprocessed = BTreeMap::<String, Vec<WriteEntry>>::new();
    let mut writes = Vec::with_capacity(count);
    // The whole batch is refused for one bad entry, also for one that would have been handed back.
    for (name, entries) in input.request_items {
        let cell = region.table(&name)?;
        let table = cell.lock();
        let mut seen = HashSet::with_capacity(entries.len());
        for entry in entries {
            let back = writes.len() >= keep;
            let (key, entry) = checked(&table, entry, back)?;
            if !seen.insert(key.clone()) {
                return Err(AwsError::validation("Provided list of item keys contains duplicates"));
            }
            match entry {
                Entry::Write(item) => writes.push(Checked { table: name.clone(), key, item }),
                Entry::Back(entry) => unprocessed.entry(name.clone()).or_default().push(entry),
            }
        }
    }
    commit(region, writes)?;
    Ok(encoded(&Answer { unprocessed_items: unprocessed }))
}

enum Entry {
    Write(Option<Item>),
    Back(WriteEntry),
}

fn checked(table: &Table, entry: WriteEntry, back: bool) -> Result<(Key, Entry), AwsError> {
    match entry {
        WriteEntry { put_request: Some(put), delete_request: None } => {
            if back {
                let key = table.check_put(&mut put.item.clone())?;
                let entry = WriteEntry { put_request: Some(put), delete_request: None };
                return Ok((key, Entry::Back(entry)));
            }
            let mut item = put.item;
            let key = table.check_put(&mut item)?;
            Ok((key, Entry::Write(Some(item))))
        }
        WriteEntry { put_request: None, delete_request: Some(delete) } => {
            let mut canonical = delete.key.clone();
            canonicalise(&mut canonical)?;
            let key = table.spec.key_of_parameter(&canonical)?;
            let entry = WriteEntry { put_request: None, delete_request: Some(delete) };
            Ok((key, if back { Entry::Back(entry) } else { Entry::Write(None) }))
        }
        _ => Err(AwsError::validation("Supplied WriteRequest must have exactly one of PutRequest and DeleteRequest")),
    }
}

/// Writes come grouped by table; a table's lock is taken once.
fn commit(region: &Region, writes: Vec<Checked>) -> Result<(), AwsError> {
    let (mut put, mut deleted) = (0, 0);
    for group in chunks_by_table(writes) {
        let cell = region.table(&group[0].table)?;
        let mut table = cell.lock();
        for write in group {
            *(if write.item.is_some() { &mut put } else { &mut deleted }) += 1;
            table.commit(write.key, write.item, region.now(), false);
        }
    }
    region.counters.items_put.fetch_add(put, Ordering::Relaxed);
    region.counters.items_deleted.fetch_add(deleted, Ordering::Relaxed);
    Ok(())
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

pub(super) fn batch_get_item(region: &Region, input: BatchGetItem) -> Result<Vec<u8>, AwsError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        responses: BTreeMap<String, Vec<Shared>>,
        unprocessed_keys: BTreeMap<String, KeysOfTable>,
    }
    let count: usize = input.request_items.values().map(|table| table.keys.len()).sum();
    if count == 0 || count > BATCH_GET_LIMIT {
        return Err(AwsError::validation("Too many items requested for the BatchGetItem call"));
    }
    let mut keep = input.keep.unwrap_or(usize::MAX);
    let mut bytes = 0;
    let mut answer = Answer { responses: BTreeMap::new(), unprocessed_keys: BTreeMap::new() };
    for (name, mut wanted) in input.request_items {
        let projection =
            Projection::parse(wanted.projection_expression.as_deref(), &wanted.expression_attribute_names)?;
        let cell = region.table(&name)?;
        let table = cell.lock();
        let items = answer.responses.entry(name.clone()).or_default();
        let mut seen = HashSet::new();
        let mut back = Vec::new();
        for mut key in std::mem::take(&mut wanted.keys) {
            let item = found(&table, &mut key)?;
            if !seen.insert(key.clone()) {
                return Err(AwsError::validation("Provided list of item keys contains duplicates"));
            }
            if keep == 0 || bytes >= BATCH_GET_BYTES {
                back.push(key);
                continue;
            }
            keep -= 1;
            if let Some(item) = item {
                bytes += item_size(&item);
                items.push(Shared(projection.apply(item)));
            }
        }
        if !back.is_empty() {
            wanted.keys = back;
            answer.unprocessed_keys.insert(name, wanted);
        }
    }
    Ok(encoded(&answer))
}

pub(super) fn scan(region: &Region, input: Scan) -> Result<Vec<u8>, AwsError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(skip_serializing_if = "Option::is_none")]
        items: Option<Vec<Shared>>,
        count: usize,
        scanned_count: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_evaluated_key: Option<Item>,
    }
    if input.filter_expression.is_some() || input.index_name.is_some() {
        return Err(unsupported("a Scan with a filter or of an index"));
    }
    let (segment, segments) = match (input.segment, input.total_segments) {
        (None, None) => (0, 1),
        (Some(segment), Some(segments)) if segment < segments && segments <= 1_000_000 => (segment, segments),
        _ => return Err(AwsError::validation("Segment must be below TotalSegments, and neither comes alone")),
    };
    if input.limit == Some(0) {
        return Err(AwsError::validation("Limit must be at least 1"));
    }
    let projection = Projection::parse(input.projection_expression.as_deref(), &input.expression_attribute_names)?;
    let cell = region.table(&input.table_name)?;
    let table = cell.lock();
    let after = match input.exclusive_start_key {
        Some(mut key) => {
            canonicalise(&mut key)?;
            Some(table.spec.key_of_parameter(&key)?)
        }
        None => None,
    };
    let limit = input.limit.unwrap_or(usize::MAX);
    let page = table.scan(&ScanRange { after, segment, segments, limit, bytes: SCAN_PAGE_BYTES });
    let last_evaluated_key = page.last.map(|key| table.spec.key_item(&key));
    drop(table);
    let count = page.items.len();
    let items = (input.select.as_deref() != Some("COUNT"))
        .then(|| page.items.into_iter().map(|item| Shared(projection.apply(item))).collect());
    Ok(encoded(&Answer { items, count, scanned_count: count, last_evaluated_key }))
}
