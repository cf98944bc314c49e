//! GetItem, BatchGetItem, Scan.
//!
//! What the model does not do (filters, indexes) is refused, never ignored.

use super::super::faults::Call;
use super::super::model::error::AwsError;
use super::super::model::meter::{read_units, throttled};
use super::super::model::reading::{Past, ScanRange};
use super::super::model::table::Table;
use super::super::model::value::{Item, canonicalise, item_size};
use super::super::region::Region;
use super::super::scans::ScanPage;
use super::capacity::{Consumed, Report};
use super::items::{encoded, unsupported};
use super::projection::{Projection, Shared};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Most keys of a BatchGetItem.
const BATCH_GET_LIMIT: usize = 100;
/// Bytes of all the items of a BatchGetItem's answer.
const BATCH_GET_BYTES: usize = 16 << 20;
/// Most segments of a parallel scan.
const MAX_SEGMENTS: u64 = 1_000_000;

/// GetItem.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetItem {
    table_name: String,
    key: Item,
    consistent_read: Option<bool>,
    return_consumed_capacity: Option<String>,
    attributes_to_get: Option<Vec<String>>,
    projection_expression: Option<String>,
    #[serde(default)]
    expression_attribute_names: HashMap<String, String>,
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
    return_consumed_capacity: Option<String>,
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
    consistent_read: Option<bool>,
    return_consumed_capacity: Option<String>,
    attributes_to_get: Option<Vec<String>>,
    select: Option<String>,
    index_name: Option<String>,
    filter_expression: Option<String>,
    projection_expression: Option<String>,
    #[serde(default)]
    expression_attribute_names: HashMap<String, String>,
}

impl GetItem {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
        call.items.push(&self.key);
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
        call.items.extend(&self.exclusive_start_key);
        call.segment = self.segment;
    }
}

/// One item, and what reading it cost.
fn found(table: &Table, key: &mut Item, past: &Past, consistent: bool) -> Result<(Option<Arc<Item>>, f64), AwsError> {
    canonicalise(key)?;
    let item = table.get_as_of(&table.spec.key_of_parameter(key)?, past);
    let units = read_units(item.as_deref().map_or(0, item_size), consistent);
    Ok((item, units))
}

pub(super) fn get_item(region: &Region, mut input: GetItem) -> Result<Vec<u8>, AwsError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Got<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<&'a Item>,
        #[serde(skip_serializing_if = "Option::is_none")]
        consumed_capacity: Option<Consumed>,
    }
    if input.attributes_to_get.is_some() {
        return Err(unsupported("AttributesToGet"));
    }
    let report = Report::parse(input.return_consumed_capacity.as_deref())?;
    let projection = Projection::parse(input.projection_expression.as_deref(), &input.expression_attribute_names)?;
    let consistent = input.consistent_read.unwrap_or(false);
    let cell = region.table(&input.table_name)?;
    let (item, units) = {
        let mut table = cell.lock();
        let now = region.now();
        let past = table.view(consistent, now);
        let (item, units) = found(&table, &mut input.key, &past, consistent)?;
        if !table.meter.lets_read(now) {
            return Err(throttled());
        }
        table.meter.charge_read(units);
        (item, units)
    };
    let item = item.map(|item| projection.apply(item));
    Ok(encoded(&Got { item: item.as_deref(), consumed_capacity: report.of(&input.table_name, units) }))
}

pub(super) fn batch_get_item(region: &Region, input: BatchGetItem) -> Result<Vec<u8>, AwsError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        responses: BTreeMap<String, Vec<Shared>>,
        unprocessed_keys: BTreeMap<String, KeysOfTable>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        consumed_capacity: Vec<Consumed>,
    }
    let report = Report::parse(input.return_consumed_capacity.as_deref())?;
    let count: usize = input.request_items.values().map(|table| table.keys.len()).sum();
    if count == 0 || count > BATCH_GET_LIMIT {
        return Err(AwsError::validation("Too many items requested for the BatchGetItem call"));
    }
    let mut keep = input.keep.unwrap_or(usize::MAX);
    let (mut bytes, mut done, mut refused) = (0, 0, 0);
    let mut answer =
        Answer { responses: BTreeMap::new(), unprocessed_keys: BTreeMap::new(), consumed_capacity: Vec::new() };
    for (name, mut wanted) in input.request_items {
        let projection =
            Projection::parse(wanted.projection_expression.as_deref(), &wanted.expression_attribute_names)?;
        let consistent = wanted.consistent_read.unwrap_or(false);
        let cell = region.table(&name)?;
        let mut table = cell.lock();
        let now = region.now();
        let past = table.view(consistent, now);
        let items = answer.responses.entry(name.clone()).or_default();
        let mut seen = HashSet::new();
        let mut back = Vec::new();
        let mut used = 0.0;
        for mut key in std::mem::take(&mut wanted.keys) {
            let (item, units) = found(&table, &mut key, &past, consistent)?;
            if !seen.insert(key.clone()) {
                return Err(AwsError::validation("Provided list of item keys contains duplicates"));
            }
            if keep == 0 || bytes >= BATCH_GET_BYTES {
                back.push(key);
                continue;
            }
            if !table.meter.lets_read(now) {
                refused += 1;
                back.push(key);
                continue;
            }
            keep -= 1;
            done += 1;
            used += units;
            table.meter.charge_read(units);
            if let Some(item) = item {
                bytes += item_size(&item);
                items.push(Shared(projection.apply(item)));
            }
        }
        answer.consumed_capacity.extend(report.of(&name, used));
        if !back.is_empty() {
            wanted.keys = back;
            answer.unprocessed_keys.insert(name, wanted);
        }
    }
    if done == 0 && refused > 0 {
        return Err(throttled());
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
        #[serde(skip_serializing_if = "Option::is_none")]
        consumed_capacity: Option<Consumed>,
    }
    if input.filter_expression.is_some() || input.index_name.is_some() || input.attributes_to_get.is_some() {
        return Err(unsupported("a Scan with a filter, of an index or with AttributesToGet"));
    }
    let report = Report::parse(input.return_consumed_capacity.as_deref())?;
    let (segment, segments) = match (input.segment, input.total_segments) {
        (None, None) => (0, 1),
        (Some(segment), Some(segments)) if segment < segments && segments <= MAX_SEGMENTS => (segment, segments),
        _ => return Err(AwsError::validation("Segment must be below TotalSegments, and neither comes alone")),
    };
    if input.limit == Some(0) {
        return Err(AwsError::validation("Limit must be at least 1"));
    }
    let projection = Projection::parse(input.projection_expression.as_deref(), &input.expression_attribute_names)?;
    let consistent = input.consistent_read.unwrap_or(false);
    let cell = region.table(&input.table_name)?;
    let first = input.exclusive_start_key.is_none();
    let (name, page, last_evaluated_key, units) = {
        let mut table = cell.lock();
        let now = region.now();
        let after = match input.exclusive_start_key {
            Some(mut key) => {
                canonicalise(&mut key)?;
                Some(table.spec.key_of_parameter(&key)?)
            }
            None => None,
        };
        let past = table.view(consistent, now);
        let range = ScanRange { after, segment, segments, limit: input.limit.unwrap_or(usize::MAX) };
        let page = table.scan(&range, &past)?;
        if !table.meter.lets_read(now) {
            return Err(throttled());
        }
        let units = read_units(page.bytes, consistent);
        table.meter.charge_read(units);
        let last = page.last.as_ref().map(|key| table.spec.key_item(key));
        (table.spec.name.clone(), page, last, units)
    };
    let count = page.items.len();
    let read = ScanPage { segment, segments, number: 0, count, last: page.last.as_deref().cloned() };
    region.scans.page_was_read(region, &name, first, read);
    let items = (input.select.as_deref() != Some("COUNT"))
        .then(|| page.items.into_iter().map(|item| Shared(projection.apply(item))).collect());
    let consumed_capacity = report.of(&name, units);
    Ok(encoded(&Answer { items, count, scanned_count: count, last_evaluated_key, consumed_capacity }))
}
