//! Tables, TTL, backups: made and described. Everything is ready at once (ACTIVE, ENABLED).

use super::super::clock::epoch_seconds;
use super::super::faults::Call;
use super::super::model::error::AwsError;
use super::super::model::schema::{Index, KeyAttribute, KeyKind, TableSpec, ViewType};
use super::super::model::table::Table;
use super::super::region::Region;
use super::OneTable;
use super::items::encoded;
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyElement {
    attribute_name: String,
    key_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttributeDefinition {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexDefinition {
    index_name: String,
    key_schema: Vec<KeyElement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamSpecification {
    stream_enabled: bool,
    stream_view_type: Option<String>,
}

impl StreamSpecification {
    /// The view type wanted; `None` turns the stream off.
    fn view(&self) -> Result<Option<ViewType>, AwsError> {
        match (self.stream_enabled, self.stream_view_type.as_deref()) {
            (false, _) => Ok(None),
            (true, Some(name)) => ViewType::parse(name)
                .map(Some)
                .ok_or_else(|| AwsError::validation(format!("StreamViewType {name} is not one"))),
            (true, None) => Err(AwsError::validation("StreamViewType is required when a stream is enabled")),
        }
    }
}

/// CreateTable.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateTable {
    table_name: String,
    key_schema: Vec<KeyElement>,
    attribute_definitions: Vec<AttributeDefinition>,
    #[serde(default)]
    global_secondary_indexes: Vec<IndexDefinition>,
    #[serde(default)]
    local_secondary_indexes: Vec<IndexDefinition>,
    stream_specification: Option<StreamSpecification>,
}

/// UpdateTable, as far as it is about the stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateTable {
    table_name: String,
    stream_specification: Option<StreamSpecification>,
}

/// ListTables.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListTables {
    exclusive_start_table_name: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TtlSpecification {
    enabled: bool,
    attribute_name: String,
}

/// UpdateTimeToLive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateTimeToLive {
    table_name: String,
    time_to_live_specification: TtlSpecification,
}

impl CreateTable {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
    }

    fn spec(&self) -> Result<TableSpec, AwsError> {
        let (hash, range) = self.keys(&self.key_schema)?;
        let index = |definition: &IndexDefinition| {
            let (hash, range) = self.keys(&definition.key_schema)?;
            Ok(Index { name: definition.index_name.clone(), hash, range })
        };
        let mut spec = TableSpec::new(&self.table_name, &hash.name).hash_kind(hash.kind);
        spec.range = range;
        spec.indexes = self
            .global_secondary_indexes
            .iter()
            .chain(&self.local_secondary_indexes)
            .map(index)
            .collect::<Result<_, AwsError>>()?;
        spec.stream = self.stream_specification.as_ref().map(StreamSpecification::view).transpose()?.flatten();
        Ok(spec)
    }

    fn keys(&self, schema: &[KeyElement]) -> Result<(KeyAttribute, Option<KeyAttribute>), AwsError> {
        let attribute = |key_type: &str| {
            let Some(element) = schema.iter().find(|element| element.key_type == key_type) else { return Ok(None) };
            self.attribute_definitions
                .iter()
                .find(|definition| definition.attribute_name == element.attribute_name)
                .and_then(|definition| KeyKind::parse(&definition.attribute_type))
                .map(|kind| Some(KeyAttribute::new(&element.attribute_name, kind)))
                .ok_or_else(|| {
                    AwsError::validation(format!(
                        "One or more parameter values were invalid: key attribute {} is not defined",
                        element.attribute_name
                    ))
                })
        };
        let hash = attribute("HASH")?
            .ok_or_else(|| AwsError::validation("Invalid KeySchema: no HASH key was specified in the key schema"))?;
        Ok((hash, attribute("RANGE")?))
    }
}

impl UpdateTable {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
    }
}

impl UpdateTimeToLive {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
    }
}

fn key_schema(hash: &KeyAttribute, range: Option<&KeyAttribute>) -> Json {
    let element = |attribute: &KeyAttribute, key_type| json!({"AttributeName": attribute.name, "KeyType": key_type});
    std::iter::once(element(hash, "HASH")).chain(range.map(|range| element(range, "RANGE"))).collect()
}

/// The KeySchema of a table, which its streams repeat.
pub(super) fn table_key_schema(table: &Table) -> Json {
    key_schema(&table.spec.hash, table.spec.range.as_ref())
}

fn description(table: &Table, status: &str) -> Json {
    let spec = &table.spec;
    let mut attributes: Vec<&KeyAttribute> = std::iter::once(&spec.hash).chain(&spec.range).collect();
    for attribute in spec.indexes.iter().flat_map(|index| std::iter::once(&index.hash).chain(&index.range)) {
        if attributes.iter().all(|known| known.name != attribute.name) {
            attributes.push(attribute);
        }
    }
    let definition = |a: &&KeyAttribute| json!({"AttributeName": a.name, "AttributeType": a.kind.name()});
    let mut description = json!({
        "TableName": spec.name,
        "TableArn": table.arn,
        "TableId": table.id,
        "TableStatus": status,
        "CreationDateTime": epoch_seconds(table.created),
        "ItemCount": table.len(),
        "TableSizeBytes": table.bytes(),
        "KeySchema": table_key_schema(table),
        "AttributeDefinitions": attributes.iter().map(definition).collect::<Json>(),
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        "DeletionProtectionEnabled": false,
    });
    if !spec.indexes.is_empty() {
        let index = |index: &Index| {
            json!({
                "IndexName": index.name,
                "IndexStatus": "ACTIVE",
                "IndexArn": format!("{}/index/{}", table.arn, index.name),
                "KeySchema": key_schema(&index.hash, index.range.as_ref()),
                "Projection": {"ProjectionType": "ALL"},
                "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
            })
        };
        description["GlobalSecondaryIndexes"] = spec.indexes.iter().map(index).collect();
    }
    if let Some(view) = spec.stream {
        description["StreamSpecification"] = json!({"StreamEnabled": true, "StreamViewType": view.name()});
    }
    // As on AWS, the latest stream is named although it may be disabled (DS-F3).
    if let Some(stream) = table.streams.last() {
        description["LatestStreamArn"] = json!(&*stream.arn);
        description["LatestStreamLabel"] = json!(stream.label);
    }
    description
}

pub(super) fn create_table(region: &Region, input: CreateTable) -> Result<Vec<u8>, AwsError> {
    let cell = region.create(input.spec()?)?;
    let table = cell.lock();
    Ok(encoded(&json!({"TableDescription": description(&table, "ACTIVE")})))
}

pub(super) fn describe_table(region: &Region, input: OneTable) -> Result<Vec<u8>, AwsError> {
    let cell = region.table(&input.table_name)?;
    let table = cell.lock();
    Ok(encoded(&json!({"Table": description(&table, "ACTIVE")})))
}

pub(super) fn list_tables(region: &Region, input: ListTables) -> Result<Vec<u8>, AwsError> {
    let limit = input.limit.unwrap_or(100).clamp(1, 100);
    let after = input.exclusive_start_table_name.unwrap_or_default();
    let mut names: Vec<_> = region.table_names().into_iter().filter(|name| *name > after).collect();
    let more = names.len() > limit;
    names.truncate(limit);
    let mut answer = json!({"TableNames": names});
    if more {
        answer["LastEvaluatedTableName"] = json!(names.last());
    }
    Ok(encoded(&answer))
}

pub(super) fn delete_table(region: &Region, input: OneTable) -> Result<Vec<u8>, AwsError> {
    let cell = region.delete(&input.table_name)?;
    let table = cell.lock();
    Ok(encoded(&json!({"TableDescription": description(&table, "DELETING")})))
}

pub(super) fn update_table(region: &Region, input: UpdateTable) -> Result<Vec<u8>, AwsError> {
    let specification = input
        .stream_specification
        .ok_or_else(|| AwsError::validation("UpdateTable is supported for StreamSpecification only"))?;
    let wanted = specification.view()?;
    let cell = region.table(&input.table_name)?;
    let opened = {
        let mut table = cell.lock();
        match (table.spec.stream, wanted) {
            (Some(_), Some(_)) => {
                return Err(AwsError::validation("Table already has an enabled stream"));
            }
            (None, None) => return Err(AwsError::validation("Table is not currently streaming")),
            (None, Some(view)) => Some(table.open_stream(view, region.now())),
            (Some(_), None) => {
                table.close_stream(region.now());
                None
            }
        }
    };
    if let Some(arn) = opened {
        region.register_stream(arn.to_string(), &cell);
    }
    let table = cell.lock();
    Ok(encoded(&json!({"TableDescription": description(&table, "ACTIVE")})))
}

pub(super) fn describe_ttl(region: &Region, input: OneTable) -> Result<Vec<u8>, AwsError> {
    let cell = region.table(&input.table_name)?;
    let description = match &cell.lock().ttl {
        Some(attribute) => json!({"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}),
        None => json!({"TimeToLiveStatus": "DISABLED"}),
    };
    Ok(encoded(&json!({"TimeToLiveDescription": description})))
}

pub(super) fn update_ttl(region: &Region, input: UpdateTimeToLive) -> Result<Vec<u8>, AwsError> {
    let TtlSpecification { enabled, attribute_name } = input.time_to_live_specification;
    let cell = region.table(&input.table_name)?;
    let mut table = cell.lock();
    if table.ttl.is_some() == enabled {
        let state = if enabled { "enabled" } else { "disabled" };
        return Err(AwsError::validation(format!("TimeToLive is already {state}")));
    }
    table.ttl = enabled.then(|| attribute_name.clone());
    Ok(encoded(&json!({"TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": attribute_name}})))
}

pub(super) fn describe_backups(region: &Region, input: OneTable) -> Result<Vec<u8>, AwsError> {
    region.table(&input.table_name)?;
    Ok(encoded(&json!({"ContinuousBackupsDescription": {
        "ContinuousBackupsStatus": "ENABLED",
        "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
    }})))
}
