//! What DescribeTable shows.

use super::super::clock::epoch_seconds;
use super::super::model::schema::{Index, IndexProjection, KeyAttribute};
use super::super::model::settings::{Billing, Encryption, Settings};
use super::super::model::table::Table;
use serde_json::{Value as Json, json};
use std::time::SystemTime;

/// Read and write units a second that a new on-demand table is warm for.
const WARM: (u64, u64) = (12_000, 4_000);

fn key_schema(hash: &KeyAttribute, range: Option<&KeyAttribute>) -> Json {
    let element = |attribute: &KeyAttribute, key_type| json!({"AttributeName": attribute.name, "KeyType": key_type});
    std::iter::once(element(hash, "HASH")).chain(range.map(|range| element(range, "RANGE"))).collect()
}

/// The KeySchema of a table, which its streams repeat.
pub(super) fn table_key_schema(table: &Table) -> Json {
    key_schema(&table.spec.hash, table.spec.range.as_ref())
}

/// The table as it is: `status` is told by the call, or by the table.
pub(super) fn description(table: &Table, status: Option<&str>, now: SystemTime) -> Json {
    let (spec, settings) = (&table.spec, &table.control.settings);
    let mut attributes: Vec<&KeyAttribute> = std::iter::once(&spec.hash).chain(&spec.range).collect();
    for attribute in spec.indexes.iter().flat_map(|index| std::iter::once(&index.hash).chain(&index.range)) {
        if attributes.iter().all(|known| known.name != attribute.name) {
            attributes.push(attribute);
        }
    }
    let definition = |a: &&KeyAttribute| json!({"AttributeName": a.name, "AttributeType": a.kind.name()});
    let truth = (table.len() as u64, table.bytes() as u64);
    let (items, bytes) = settings.counts.unwrap_or(truth);
    let mut description = json!({
        "TableName": spec.name,
        "TableArn": table.arn,
        "TableId": table.id,
        "TableStatus": status.unwrap_or(table.control.status(now)),
        "CreationDateTime": epoch_seconds(table.created),
        "ItemCount": items,
        "TableSizeBytes": bytes,
        "KeySchema": table_key_schema(table),
        "AttributeDefinitions": attributes.iter().map(definition).collect::<Json>(),
        "DeletionProtectionEnabled": settings.deletion_protection,
        "TableClassSummary": {"TableClass": settings.class},
    });
    capacity(&mut description, table);
    let shown = |local| spec.indexes.iter().filter(move |index| index.local == local);
    for (name, local) in [("GlobalSecondaryIndexes", false), ("LocalSecondaryIndexes", true)] {
        if shown(local).next().is_some() {
            description[name] = shown(local).map(|index| described_index(table, index)).collect();
        }
    }
    if let Some(view) = spec.stream {
        description["StreamSpecification"] = json!({"StreamEnabled": true, "StreamViewType": view.name()});
    }
    // As on AWS, the latest stream is named although it may be disabled (DS-F3).
    if let Some(stream) = table.streams.last() {
        description["LatestStreamArn"] = json!(&*stream.arn);
        description["LatestStreamLabel"] = json!(stream.label);
    }
    if let Encryption::Managed(key) | Encryption::Customer(key) = &settings.encryption {
        description["SSEDescription"] = json!({"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": key});
    }
    global(&mut description, settings);
    description
}

/// A table that was never on demand has no BillingModeSummary, as on AWS.
fn capacity(description: &mut Json, table: &Table) {
    let (control, settings) = (&table.control, &table.control.settings);
    if let Some(since) = control.on_demand_since {
        description["BillingModeSummary"] = json!({
            "BillingMode": settings.billing.name(),
            "LastUpdateToPayPerRequestDateTime": epoch_seconds(since),
        });
    }
    let (read, write) = settings.billing.units();
    let mut throughput = json!({
        "NumberOfDecreasesToday": control.decreases, "ReadCapacityUnits": read, "WriteCapacityUnits": write,
    });
    for (name, at) in [("LastIncreaseDateTime", control.increased), ("LastDecreaseDateTime", control.decreased)] {
        if let Some(at) = at {
            throughput[name] = json!(epoch_seconds(at));
        }
    }
    description["ProvisionedThroughput"] = throughput;
    let (read, write) = settings.warm.unwrap_or(match settings.billing {
        Billing::OnDemand => WARM,
        Billing::Provisioned { read, write } => (read, write),
    });
    description["WarmThroughput"] =
        json!({"ReadUnitsPerSecond": read, "WriteUnitsPerSecond": write, "Status": "ACTIVE"});
    if let Some((read, write)) = settings.on_demand_maximum {
        description["OnDemandThroughput"] = json!({"MaxReadRequestUnits": read, "MaxWriteRequestUnits": write});
    }
}

fn described_index(table: &Table, index: &Index) -> Json {
    let projection = match &index.projection {
        IndexProjection::All => json!({"ProjectionType": "ALL"}),
        IndexProjection::KeysOnly => json!({"ProjectionType": "KEYS_ONLY"}),
        IndexProjection::Include(names) => json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": names}),
    };
    let mut described = json!({
        "IndexName": index.name,
        "IndexArn": format!("{}/index/{}", table.arn, index.name),
        "KeySchema": key_schema(&index.hash, index.range.as_ref()),
        "Projection": projection,
        "ItemCount": table.len(),
        "IndexSizeBytes": table.bytes(),
    });
    if !index.local {
        let (read, write) = index.capacity.unwrap_or(table.control.settings.billing.units());
        described["IndexStatus"] = json!(index.status);
        described["ProvisionedThroughput"] =
            json!({"NumberOfDecreasesToday": 0, "ReadCapacityUnits": read, "WriteCapacityUnits": write});
    }
    described
}

fn global(description: &mut Json, settings: &Settings) {
    if settings.replicas.is_empty() {
        return;
    }
    let replica = |r: &super::super::model::settings::Replica| json!({"RegionName": r.region, "ReplicaStatus": r.status, "ReplicaTableClassSummary": {"TableClass": settings.class}});
    description["GlobalTableVersion"] = json!("2019.11.21");
    description["Replicas"] = settings.replicas.iter().map(replica).collect();
    if let Some(consistency) = &settings.consistency {
        description["MultiRegionConsistency"] = json!(consistency);
    }
    if !settings.witnesses.is_empty() {
        let witness = |region: &String| json!({"RegionName": region, "WitnessStatus": "ACTIVE"});
        description["GlobalTableWitnesses"] = settings.witnesses.iter().map(witness).collect();
    }
}
