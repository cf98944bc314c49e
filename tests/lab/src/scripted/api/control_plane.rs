//! CreateTable, DescribeTable, ListTables, DeleteTable. A table is ready at once.

use super::super::faults::Call;
use super::super::model::error::AwsError;
use super::super::model::schema::{Index, IndexProjection, KeyAttribute, KeyKind, TableSpec, ViewType};
use super::super::model::settings::{Encryption, billing};
use super::super::region::Region;
use super::OneTable;
use super::describe::description;
use super::items::encoded;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeyElement {
    attribute_name: String,
    key_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttributeDefinition {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProjectionDefinition {
    projection_type: Option<String>,
    non_key_attributes: Option<Vec<String>>,
}

/// Units of a table or an index.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Throughput {
    read_capacity_units: u64,
    write_capacity_units: u64,
}

impl Throughput {
    pub(super) fn units(self) -> (u64, u64) {
        (self.read_capacity_units, self.write_capacity_units)
    }
}

/// SSESpecification.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EncryptionSpecification {
    enabled: Option<bool>,
    #[serde(rename = "KMSMasterKeyId")]
    key: Option<String>,
}

impl EncryptionSpecification {
    pub(super) fn encryption(&self, region: &str) -> Encryption {
        let arn = |id: &str| {
            if id.starts_with("arn:") { id.to_owned() } else { format!("arn:aws:kms:{region}:000000000000:key/{id}") }
        };
        match (self.enabled.unwrap_or(false), &self.key) {
            (false, _) => Encryption::Owned,
            (true, None) => Encryption::Managed(arn("aws-dynamodb")),
            (true, Some(key)) => Encryption::Customer(arn(key)),
        }
    }
}

/// An index to be made.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IndexDefinition {
    index_name: String,
    key_schema: Vec<KeyElement>,
    projection: Option<ProjectionDefinition>,
    provisioned_throughput: Option<Throughput>,
}

impl IndexDefinition {
    pub(super) fn index(&self, local: bool, attributes: &[AttributeDefinition]) -> Result<Index, AwsError> {
        let (hash, range) = keys(&self.key_schema, attributes)?;
        let projection = self.projection.as_ref();
        let projection = match projection.and_then(|projection| projection.projection_type.as_deref()) {
            None | Some("ALL") => IndexProjection::All,
            Some("KEYS_ONLY") => IndexProjection::KeysOnly,
            Some("INCLUDE") => {
                IndexProjection::Include(projection.and_then(|p| p.non_key_attributes.clone()).unwrap_or_default())
            }
            Some(other) => return Err(AwsError::validation(format!("ProjectionType {other} is not one"))),
        };
        let capacity = self.provisioned_throughput.map(Throughput::units);
        Ok(Index { range, local, projection, capacity, ..Index::global(&self.index_name, hash) })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamSpecification {
    stream_enabled: bool,
    stream_view_type: Option<String>,
}

impl StreamSpecification {
    /// The view type wanted; `None` turns the stream off.
    pub(super) fn view(&self) -> Result<Option<ViewType>, AwsError> {
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
    billing_mode: Option<String>,
    provisioned_throughput: Option<Throughput>,
    deletion_protection_enabled: Option<bool>,
    #[serde(rename = "SSESpecification")]
    encryption: Option<EncryptionSpecification>,
    table_class: Option<String>,
}

/// ListTables.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListTables {
    exclusive_start_table_name: Option<String>,
    limit: Option<usize>,
}

impl CreateTable {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
    }

    fn spec(&self, region: &Region) -> Result<TableSpec, AwsError> {
        let attributes = &self.attribute_definitions;
        let (hash, range) = keys(&self.key_schema, attributes)?;
        let mut spec = TableSpec::new(&self.table_name, &hash.name).hash_kind(hash.kind);
        spec.range = range;
        for (indexes, local) in [(&self.global_secondary_indexes, false), (&self.local_secondary_indexes, true)] {
            for definition in indexes {
                spec.indexes.push(definition.index(local, attributes)?);
            }
        }
        spec.stream = self.stream_specification.as_ref().map(StreamSpecification::view).transpose()?.flatten();
        let settings = &mut spec.settings;
        let units = self.provisioned_throughput.map(Throughput::units);
        settings.billing = billing(self.billing_mode.as_deref(), units, None)?;
        settings.deletion_protection = self.deletion_protection_enabled.unwrap_or(false);
        if let Some(encryption) = &self.encryption {
            settings.encryption = encryption.encryption(&region.name);
        }
        if let Some(class) = &self.table_class {
            settings.class.clone_from(class);
        }
        Ok(spec)
    }
}

fn keys(
    schema: &[KeyElement],
    attributes: &[AttributeDefinition],
) -> Result<(KeyAttribute, Option<KeyAttribute>), AwsError> {
    let attribute = |key_type: &str| {
        let Some(element) = schema.iter().find(|element| element.key_type == key_type) else { return Ok(None) };
        attributes
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

pub(super) fn create_table(region: &Region, input: CreateTable) -> Result<Vec<u8>, AwsError> {
    let cell = region.create(input.spec(region)?)?;
    let table = cell.lock();
    Ok(encoded(&json!({"TableDescription": description(&table, None, region.now())})))
}

pub(super) fn describe_table(region: &Region, input: OneTable) -> Result<Vec<u8>, AwsError> {
    let cell = region.table(&input.table_name)?;
    let table = cell.lock();
    Ok(encoded(&json!({"Table": description(&table, None, region.now())})))
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
    {
        let cell = region.table(&input.table_name)?;
        let table = cell.lock();
        table.control.check_free(&table.spec.name, region.now())?;
        if table.control.settings.deletion_protection {
            return Err(AwsError::validation(
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection \
                 first.",
            ));
        }
    }
    let cell = region.delete(&input.table_name)?;
    let table = cell.lock();
    Ok(encoded(&json!({"TableDescription": description(&table, Some("DELETING"), region.now())})))
}
