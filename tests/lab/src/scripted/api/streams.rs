//! ListStreams, DescribeStream, GetShardIterator, GetRecords.
//!
//! An iterator is a token that carries its whole state; the server keeps none, so any number may be alive.

use super::super::clock::{epoch_millis, epoch_seconds};
use super::super::faults::Call;
use super::super::model::error::AwsError;
use super::super::model::schema::{TableSpec, ViewType};
use super::super::model::stream::{Position, Start};
use super::super::model::table::Change;
use super::super::model::value::Item;
use super::super::region::Region;
use super::describe::table_key_schema;
use super::items::encoded;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::time::{Duration, UNIX_EPOCH};

/// Most records GetRecords may be asked for.
const MAX_RECORDS: usize = 1000;

/// ListStreams.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListStreams {
    table_name: Option<String>,
    limit: Option<usize>,
    exclusive_start_stream_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter {
    #[serde(rename = "Type")]
    kind: Option<String>,
    shard_id: Option<String>,
}

/// DescribeStream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStream {
    stream_arn: String,
    limit: Option<usize>,
    exclusive_start_shard_id: Option<String>,
    shard_filter: Option<ShardFilter>,
}

/// GetShardIterator.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetShardIterator {
    stream_arn: String,
    shard_id: String,
    shard_iterator_type: String,
    sequence_number: Option<String>,
    timestamp: Option<f64>,
}

/// GetRecords.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetRecords {
    shard_iterator: String,
    limit: Option<usize>,
}

impl DescribeStream {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.extend(table_of(&self.stream_arn));
        call.shard = self.shard_filter.as_ref().and_then(|filter| filter.shard_id.as_deref());
    }
}

impl GetShardIterator {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.extend(table_of(&self.stream_arn));
        call.shard = Some(&self.shard_id);
    }
}

impl GetRecords {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        if let Some(token) = Token::parse(&self.shard_iterator) {
            call.tables.extend(table_of(token.arn));
            call.shard = Some(token.shard);
        }
    }
}

/// The table a stream ARN names.
fn table_of(arn: &str) -> Option<&str> {
    arn.split_once(":table/").and_then(|(_, rest)| rest.split_once("/stream/")).map(|(table, _)| table)
}

pub(super) fn list_streams(region: &Region, input: ListStreams) -> Result<Vec<u8>, AwsError> {
    let limit = input.limit.unwrap_or(100).clamp(1, 100);
    let after = input.exclusive_start_stream_arn.unwrap_or_default();
    let mut streams = Vec::new();
    let mut last = None;
    for (arn, cell) in region.streams() {
        let table = cell.lock();
        if arn <= after || input.table_name.as_ref().is_some_and(|name| *name != table.spec.name) {
            continue;
        }
        if streams.len() == limit {
            last = streams.last().map(|stream: &Json| stream["StreamArn"].clone());
            break;
        }
        let label = &table.stream(&arn)?.label;
        streams.push(json!({"StreamArn": arn, "TableName": table.spec.name, "StreamLabel": label}));
    }
    let mut answer = json!({"Streams": streams});
    if let Some(last) = last {
        answer["LastEvaluatedStreamArn"] = last;
    }
    Ok(encoded(&answer))
}

pub(super) fn describe_stream(region: &Region, input: DescribeStream) -> Result<Vec<u8>, AwsError> {
    let cell = region.stream(&input.stream_arn)?;
    let table = cell.lock();
    let stream = table.stream(&input.stream_arn)?;
    let children_of = match &input.shard_filter {
        None => None,
        Some(ShardFilter { kind, shard_id: Some(shard) }) if kind.as_deref() == Some("CHILD_SHARDS") => Some(shard),
        Some(_) => return Err(AwsError::validation("ShardFilter must be CHILD_SHARDS and name a ShardId")),
    };
    let limit = input.limit.unwrap_or(100);
    if !(1..=100).contains(&limit) {
        return Err(AwsError::validation("Limit must be between 1 and 100"));
    }
    let (shards, marker) = stream.list(
        &table.quirks,
        region.now(),
        input.exclusive_start_shard_id.as_deref(),
        children_of.map(String::as_str),
        limit.min(table.quirks.listing_limit.max(1)),
    );
    let shards = shards.iter().map(|shard| {
        let mut range = json!({"StartingSequenceNumber": shard.start.to_string()});
        if let Some(end) = shard.end {
            range["EndingSequenceNumber"] = json!(end.to_string());
        }
        let mut listed = json!({"ShardId": &*shard.id, "SequenceNumberRange": range});
        if let Some(parent) = &shard.parent {
            listed["ParentShardId"] = json!(&**parent);
        }
        listed
    });
    let mut description = json!({
        "StreamArn": &*stream.arn,
        "StreamLabel": stream.label,
        "StreamStatus": stream.status.name(),
        "StreamViewType": stream.view.name(),
        "CreationRequestDateTime": epoch_seconds(stream.created),
        "TableName": table.spec.name,
        "KeySchema": table_key_schema(&table),
        "Shards": shards.collect::<Json>(),
    });
    if let Some(marker) = marker {
        description["LastEvaluatedShardId"] = json!(&*marker);
    }
    Ok(encoded(&json!({"StreamDescription": description})))
}

/// What an iterator says: `arn|shard|next|empties|issued|generation`.
struct Token<'a> {
    arn: &'a str,
    shard: &'a str,
    at: Position,
    issued_millis: u64,
    generation: u64,
}

impl<'a> Token<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('|');
        let mut part = || parts.next();
        Some(Self {
            arn: part()?,
            shard: part()?,
            at: Position { next: part()?.parse().ok()?, empties: part()?.parse().ok()? },
            issued_millis: part()?.parse().ok()?,
            generation: part()?.parse().ok()?,
        })
    }

    fn write(&self) -> String {
        let Self { arn, shard, at, issued_millis, generation } = self;
        format!("{arn}|{shard}|{}|{}|{issued_millis}|{generation}", at.next, at.empties)
    }
}

pub(super) fn get_shard_iterator(region: &Region, input: GetShardIterator) -> Result<Vec<u8>, AwsError> {
    let cell = region.stream(&input.stream_arn)?;
    let table = cell.lock();
    let stream = table.stream(&input.stream_arn)?;
    let sequence = || {
        let given = input.sequence_number.as_deref().unwrap_or_default();
        given.parse::<u128>().map_err(|_| AwsError::validation(format!("Invalid SequenceNumber: {given:?}")))
    };
    let start = match input.shard_iterator_type.as_str() {
        "TRIM_HORIZON" => Start::TrimHorizon,
        "LATEST" => Start::Latest,
        "AT_SEQUENCE_NUMBER" => Start::At(sequence()?),
        "AFTER_SEQUENCE_NUMBER" => Start::After(sequence()?),
        "AT_TIMESTAMP" => {
            let seconds = input.timestamp.ok_or_else(|| AwsError::validation("AT_TIMESTAMP needs a Timestamp"))?;
            let since = Duration::try_from_secs_f64(seconds)
                .map_err(|_| AwsError::validation(format!("Invalid Timestamp: {seconds}")))?;
            // Milliseconds, rounded down: an f64 of now is no finer than a quarter of a microsecond.
            let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            Start::AtTime(UNIX_EPOCH + Duration::from_millis(millis))
        }
        other => return Err(AwsError::validation(format!("Invalid ShardIteratorType: {other}"))),
    };
    let now = region.now();
    let at = stream.position(&input.shard_id, start, &table.quirks, now)?;
    let token = Token {
        arn: &input.stream_arn,
        shard: &input.shard_id,
        at,
        issued_millis: epoch_millis(now),
        generation: table.iterator_generation,
    };
    Ok(encoded(&json!({"ShardIterator": token.write()})))
}

pub(super) fn get_records(region: &Region, input: GetRecords) -> Result<Vec<u8>, AwsError> {
    let limit = input.limit.unwrap_or(MAX_RECORDS);
    if !(1..=MAX_RECORDS).contains(&limit) {
        return Err(AwsError::validation(format!("Limit must be between 1 and {MAX_RECORDS}")));
    }
    let token = Token::parse(&input.shard_iterator).ok_or_else(|| AwsError::validation("Invalid ShardIterator"))?;
    let cell = region.stream(token.arn)?;
    let now = region.now();
    let (page, generation, spec, view) = {
        let table = cell.lock();
        let stream = table.stream(token.arn)?;
        let age = Duration::from_millis(epoch_millis(now).saturating_sub(token.issued_millis));
        if age >= table.quirks.iterator_lifetime || token.generation != table.iterator_generation {
            return Err(AwsError::expired_iterator());
        }
        let page = stream.read(token.shard, token.at, limit, &table.quirks, now)?;
        (page, table.iterator_generation, table.spec.clone(), stream.view)
    };
    let next = page.next.map(|at| Token { at, issued_millis: epoch_millis(now), generation, ..token }.write());
    let records: Vec<_> = page.records.iter().map(|change| Record::of(change, &spec, view, &region.name)).collect();
    Ok(encoded(&Answer { records, next_shard_iterator: next }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    records: Vec<Record<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: &'static str,
    event_version: &'static str,
    event_source: &'static str,
    aws_region: &'a str,
    dynamodb: StreamRecord<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity: Option<UserIdentity>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamRecord<'a> {
    approximate_creation_date_time: u64,
    keys: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_image: Option<&'a Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_image: Option<&'a Item>,
    sequence_number: String,
    size_bytes: usize,
    stream_view_type: &'static str,
}

/// Who deleted what TTL deleted (DS-F14).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserIdentity {
    principal_id: &'static str,
    #[serde(rename = "Type")]
    kind: &'static str,
}

impl<'a> Record<'a> {
    fn of(change: &'a Change, spec: &TableSpec, view: ViewType, region: &'a str) -> Self {
        let sequence = change.order().to_string();
        Self {
            // Unique for a record and the same whenever it is read again.
            event_id: format!("{:032x}", change.order()),
            event_name: match (&change.old, &change.new) {
                (None, _) => "INSERT",
                (Some(_), Some(_)) => "MODIFY",
                (Some(_), None) => "REMOVE",
            },
            event_version: "1.1",
            event_source: "aws:dynamodb",
            aws_region: region,
            dynamodb: StreamRecord {
                approximate_creation_date_time: epoch_seconds(change.commit),
                keys: spec.key_item(&change.key),
                new_image: change.new.as_deref().filter(|_| view.has_new()),
                old_image: change.old.as_deref().filter(|_| view.has_old()),
                sequence_number: sequence,
                size_bytes: change.size,
                stream_view_type: view.name(),
            },
            user_identity: change
                .by_ttl
                .then_some(UserIdentity { principal_id: "dynamodb.amazonaws.com", kind: "Service" }),
        }
    }
}
