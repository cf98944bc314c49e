//! UpdateTable: stream, capacity, protection, encryption, class, indexes.
//!
//! A call is refused whole before anything of it is done.

use super::super::faults::Call;
use super::super::model::error::AwsError;
use super::super::model::meter::CapacityLimit;
use super::super::model::schema::{Index, ViewType};
use super::super::model::settings::Billing;
use super::super::model::table::Table;
use super::super::region::Region;
use super::control_plane::{
    AttributeDefinition, EncryptionSpecification, IndexDefinition, StreamSpecification, Throughput,
};
use super::describe::description;
use super::items::{encoded, unsupported};
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// UpdateTable.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateTable {
    table_name: String,
    stream_specification: Option<StreamSpecification>,
    billing_mode: Option<String>,
    provisioned_throughput: Option<Throughput>,
    warm_throughput: Option<Warm>,
    on_demand_throughput: Option<Maximum>,
    deletion_protection_enabled: Option<bool>,
    #[serde(rename = "SSESpecification")]
    encryption: Option<EncryptionSpecification>,
    table_class: Option<String>,
    #[serde(default)]
    attribute_definitions: Vec<AttributeDefinition>,
    #[serde(default)]
    global_secondary_index_updates: Vec<IndexUpdate>,
    replica_updates: Option<Json>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Warm {
    read_units_per_second: u64,
    write_units_per_second: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Maximum {
    max_read_request_units: i64,
    max_write_request_units: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexUpdate {
    create: Option<IndexDefinition>,
    update: Option<IndexCapacity>,
    delete: Option<IndexName>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexCapacity {
    index_name: String,
    provisioned_throughput: Option<Throughput>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexName {
    index_name: String,
}

impl UpdateTable {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
    }

    fn is_empty(&self) -> bool {
        self.stream_specification.is_none()
            && self.billing_mode.is_none()
            && self.provisioned_throughput.is_none()
            && self.warm_throughput.is_none()
            && self.on_demand_throughput.is_none()
            && self.deletion_protection_enabled.is_none()
            && self.encryption.is_none()
            && self.table_class.is_none()
            && self.global_secondary_index_updates.is_empty()
    }

    /// The indexes after the update.
    fn indexes(&self, table: &Table) -> Result<Vec<Index>, AwsError> {
        let mut indexes = table.spec.indexes.clone();
        let missing = |name: &str| {
            let what = format!("Requested resource not found: Index: {name} of table {} not found", table.spec.name);
            AwsError::new(400, "ResourceNotFoundException", what)
        };
        let moved = |update: &&IndexUpdate| update.create.is_some() || update.delete.is_some();
        if self.global_secondary_index_updates.iter().filter(moved).count() > 1 {
            return Err(AwsError::new(
                400,
                "LimitExceededException",
                "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
            ));
        }
        for update in &self.global_secondary_index_updates {
            let find = |indexes: &[Index], name: &str| indexes.iter().position(|i| i.name == name && !i.local);
            match update {
                IndexUpdate { create: Some(definition), update: None, delete: None } => {
                    let index = definition.index(false, &self.attribute_definitions)?;
                    if indexes.iter().any(|other| other.name == index.name) {
                        let what = format!("Attempting to create an index which already exists: {}", index.name);
                        return Err(AwsError::validation(what));
                    }
                    indexes.push(index);
                }
                IndexUpdate { create: None, update: Some(change), delete: None } => {
                    let at = find(&indexes, &change.index_name).ok_or_else(|| missing(&change.index_name))?;
                    indexes[at].capacity = change.provisioned_throughput.map(Throughput::units);
                }
                IndexUpdate { create: None, update: None, delete: Some(gone) } => {
                    let at = find(&indexes, &gone.index_name).ok_or_else(|| missing(&gone.index_name))?;
                    indexes.remove(at);
                }
                _ => return Err(AwsError::validation("One of Create, Update and Delete is required for an index")),
            }
        }
        Ok(indexes)
    }
}

/// What is to become of the stream.
enum StreamStep {
    Stay,
    Open(ViewType),
    Close,
}

fn stream_step(table: &Table, wanted: Option<Option<ViewType>>) -> Result<StreamStep, AwsError> {
    let name = &table.spec.name;
    match (table.spec.stream, wanted) {
        (_, None) => Ok(StreamStep::Stay),
        (Some(_), Some(Some(_))) => {
            Err(AwsError::validation(format!("Table already has an enabled stream: TableName: {name}")))
        }
        (None, Some(None)) => Err(AwsError::validation(format!("Table is not currently streaming: TableName: {name}"))),
        (None, Some(Some(view))) => Ok(StreamStep::Open(view)),
        (Some(_), Some(None)) => Ok(StreamStep::Close),
    }
}

pub(super) fn update_table(region: &Region, input: UpdateTable) -> Result<Vec<u8>, AwsError> {
    if input.replica_updates.is_some() {
        return Err(unsupported("ReplicaUpdates"));
    }
    if input.is_empty() {
        return Err(AwsError::validation(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or \
             SSESpecification or ReplicaUpdates is required",
        ));
    }
    let view = input.stream_specification.as_ref().map(StreamSpecification::view).transpose()?;
    let cell = region.table(&input.table_name)?;
    let opened = {
        let mut table = cell.lock();
        let now = region.now();
        table.control.check_free(&table.spec.name, now)?;
        let step = stream_step(&table, view)?;
        let indexes = input.indexes(&table)?;
        if input.billing_mode.is_some() || input.provisioned_throughput.is_some() {
            let units = input.provisioned_throughput.map(Throughput::units);
            if table.control.rebill(input.billing_mode.as_deref(), units, now)? {
                follow_billing(&mut table, now);
            }
        }
        table.spec.indexes = indexes;
        let settings = &mut table.control.settings;
        if let Some(Warm { read_units_per_second: read, write_units_per_second: write }) = input.warm_throughput {
            settings.warm = Some((read, write));
        }
        if let Some(Maximum { max_read_request_units: read, max_write_request_units: write }) =
            input.on_demand_throughput
        {
            settings.on_demand_maximum = Some((read, write));
        }
        if let Some(protected) = input.deletion_protection_enabled {
            settings.deletion_protection = protected;
        }
        if let Some(encryption) = &input.encryption {
            settings.encryption = encryption.encryption(&region.name);
        }
        if let Some(class) = input.table_class {
            settings.class = class;
        }
        table.control.was_updated(now);
        match step {
            StreamStep::Stay => None,
            StreamStep::Open(view) => Some(table.open_stream(view, region.stream_label(), now)),
            StreamStep::Close => {
                table.close_stream(now);
                None
            }
        }
    };
    if let Some(arn) = opened {
        region.register_stream(arn.to_string(), &cell);
    }
    let table = cell.lock();
    Ok(encoded(&json!({"TableDescription": description(&table, None, region.now())})))
}

/// A limit that a test set follows the capacity that a call sets.
fn follow_billing(table: &mut Table, now: std::time::SystemTime) {
    let Some(limit) = table.meter.limit() else { return };
    let (read, write) = match table.control.settings.billing {
        Billing::OnDemand => (None, None),
        Billing::Provisioned { read, write } => (Some(units(read)), Some(units(write))),
    };
    table.meter.set_limit(Some(CapacityLimit { read, write, ..limit }), now);
}

fn units(units: u64) -> f64 {
    f64::from(u32::try_from(units).unwrap_or(u32::MAX))
}
