//! A table as its control plane describes it, in plain values: what the comparison of two tables and the promotion steps
//! are decided on. No I/O.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, Projection, ProvisionedThroughputDescription, SseDescription,
    SseStatus, StreamSpecification, TableDescription, TimeToLiveDescription, TimeToLiveStatus,
};
use serde::{Deserialize, Serialize};

/// A key attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPart {
    /// `HASH` or `RANGE`; in this order.
    pub(super) role: String,
    /// The attribute.
    pub(super) name: String,
    /// `S`, `N` or `B`.
    pub(super) kind: String,
}

/// Read and write units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Units {
    pub(super) read: i64,
    pub(super) write: i64,
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Index {
    pub(super) keys: Vec<KeyPart>,
    /// What it holds besides keys: `ALL`, `KEYS_ONLY`, `INCLUDE a, b`.
    pub(super) projection: String,
    /// It is complete and answers; a local one always does.
    pub(super) active: bool,
    /// Provisioned; zero on demand, and of local ones.
    pub(super) units: Units,
}

/// How a table is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Encryption {
    /// By a key that DynamoDB owns: no permission is needed.
    #[default]
    Owned,
    /// By a key in KMS.
    Kms {
        /// Its ARN.
        key: String,
    },
    /// The key cannot be used, in words.
    Broken(String),
}

/// Items that delete themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ttl {
    /// No.
    Off,
    /// By this attribute.
    On(String),
    /// On its way to be on.
    Enabling(String),
    /// On its way to be off.
    Disabling,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub(super) arn: String,
    /// What tells it from another table of the same name.
    pub(super) id: String,
    /// `ACTIVE`, `UPDATING`, ...
    pub(super) status: String,
    pub(super) keys: Vec<KeyPart>,
    /// Every attribute whose type is fixed, by keys or indexes.
    pub(super) types: BTreeMap<String, String>,
    pub(super) globals: BTreeMap<String, Index>,
    pub(super) locals: BTreeMap<String, Index>,
    /// The view type of its stream, if it is on.
    pub(super) stream: Option<String>,
    /// That stream.
    pub(super) stream_arn: Option<String>,
    pub(super) on_demand: bool,
    /// Provisioned; zero on demand.
    pub(super) units: Units,
    /// The most that it takes on demand; zero: no limit of its own.
    pub(super) ceiling: Units,
    /// What it can take at once without growing first; zero when not told.
    pub(super) warm: Units,
    pub(super) protected: bool,
    pub(super) encryption: Encryption,
    /// `STANDARD` or `STANDARD_INFREQUENT_ACCESS`.
    pub(super) class: String,
    /// Regions of its replicas, if it is a global table.
    pub(super) replicas: Vec<String>,
}

impl Facts {
    pub(super) fn of(table: &TableDescription) -> Self {
        let types: BTreeMap<String, String> = table.attribute_definitions().iter().map(typed).collect();
        let stream = table.stream_specification().filter(|s| s.stream_enabled());
        let globals = table.global_secondary_indexes().iter().filter_map(|index| {
            let described = Index {
                keys: keys(index.key_schema(), &types),
                projection: projection(index.projection()),
                active: index.index_status().is_none_or(|s| matches!(s.as_str(), "ACTIVE" | "UPDATING"))
                    && index.backfilling() != Some(true),
                units: units(index.provisioned_throughput()),
            };
            Some((index.index_name()?.to_owned(), described))
        });
        let locals = table.local_secondary_indexes().iter().filter_map(|index| {
            let described = Index {
                keys: keys(index.key_schema(), &types),
                projection: projection(index.projection()),
                active: true,
                units: Units::default(),
            };
            Some((index.index_name()?.to_owned(), described))
        });
        let billing = table.billing_mode_summary().and_then(|b| b.billing_mode());
        let ceiling = table.on_demand_throughput();
        let warm = table.warm_throughput();
        Self {
            arn: table.table_arn().unwrap_or_default().to_owned(),
            id: super::survey::identity(table),
            status: table.table_status().map_or("ACTIVE", |s| s.as_str()).to_owned(),
            keys: keys(table.key_schema(), &types),
            globals: globals.collect(),
            locals: locals.collect(),
            stream: stream.map(view),
            stream_arn: stream.and(table.latest_stream_arn()).map(str::to_owned),
            on_demand: billing == Some(&BillingMode::PayPerRequest),
            units: units(table.provisioned_throughput()),
            ceiling: Units {
                read: ceiling.and_then(|c| c.max_read_request_units()).unwrap_or_default().max(0),
                write: ceiling.and_then(|c| c.max_write_request_units()).unwrap_or_default().max(0),
            },
            warm: Units {
                read: warm.and_then(|w| w.read_units_per_second()).unwrap_or_default(),
                write: warm.and_then(|w| w.write_units_per_second()).unwrap_or_default(),
            },
            protected: table.deletion_protection_enabled() == Some(true),
            encryption: encryption(table.sse_description()),
            class: table.table_class_summary().and_then(|c| c.table_class()).map_or("STANDARD", |c| c.as_str()).into(),
            replicas: table.replicas().iter().filter_map(|r| r.region_name().map(str::to_owned)).collect(),
            types,
        }
    }
}

impl Ttl {
    pub(super) fn of(described: Option<&TimeToLiveDescription>) -> Self {
        let attribute = described.and_then(|d| d.attribute_name()).unwrap_or_default().to_owned();
        match described.and_then(|d| d.time_to_live_status()) {
            Some(TimeToLiveStatus::Enabled) => Ttl::On(attribute),
            Some(TimeToLiveStatus::Enabling) => Ttl::Enabling(attribute),
            Some(TimeToLiveStatus::Disabling) => Ttl::Disabling,
            _ => Ttl::Off,
        }
    }

    /// The attribute, when it is on or will be.
    pub(super) fn attribute(&self) -> Option<&str> {
        match self {
            Ttl::On(attribute) | Ttl::Enabling(attribute) => Some(attribute),
            Ttl::Off | Ttl::Disabling => None,
        }
    }
}

fn typed(definition: &AttributeDefinition) -> (String, String) {
    (definition.attribute_name().to_owned(), definition.attribute_type().as_str().to_owned())
}

fn keys(schema: &[KeySchemaElement], types: &BTreeMap<String, String>) -> Vec<KeyPart> {
    let part = |element: &KeySchemaElement| KeyPart {
        role: element.key_type().as_str().to_owned(),
        name: element.attribute_name().to_owned(),
        kind: types.get(element.attribute_name()).cloned().unwrap_or_default(),
    };
    let mut parts: Vec<KeyPart> = schema.iter().map(part).collect();
    parts.sort();
    parts
}

fn projection(projection: Option<&Projection>) -> String {
    let kind = projection.and_then(|p| p.projection_type()).map_or("ALL", |kind| kind.as_str());
    let mut names = projection.map(|p| p.non_key_attributes().to_vec()).unwrap_or_default();
    names.sort();
    if names.is_empty() { kind.to_owned() } else { format!("{kind} {}", names.join(", ")) }
}

fn units(described: Option<&ProvisionedThroughputDescription>) -> Units {
    Units {
        read: described.and_then(|u| u.read_capacity_units()).unwrap_or_default(),
        write: described.and_then(|u| u.write_capacity_units()).unwrap_or_default(),
    }
}

fn view(stream: &StreamSpecification) -> String {
    stream.stream_view_type().map_or("UNKNOWN", |v| v.as_str()).to_owned()
}

fn encryption(described: Option<&SseDescription>) -> Encryption {
    let Some(described) = described else { return Encryption::Owned };
    if let Some(since) = described.inaccessible_encryption_date_time() {
        return Encryption::Broken(format!("its KMS key cannot be used since second {} of Unix time", since.secs()));
    }
    match described.status() {
        Some(SseStatus::Disabled) => Encryption::Owned,
        _ => Encryption::Kms { key: described.kms_master_key_arn().unwrap_or("alias/aws/dynamodb").to_owned() },
    }
}

/// What a recovery must know of the source table, kept in the index: when it is needed, prodX cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorded {
    /// The attribute by which items delete themselves; `None`: they do not.
    pub(super) ttl: Option<String>,
}

impl Recorded {
    /// As it is kept.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// What is kept; `None` when it was never seen, or by a newer program in other words.
    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        serde_json::from_str(text?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::{
        BillingModeSummary, GlobalSecondaryIndexDescription, KeyType, ProjectionType, ScalarAttributeType, SseType,
        StreamViewType, TableStatus,
    };

    fn element(name: &str, role: KeyType) -> KeySchemaElement {
        KeySchemaElement::builder().attribute_name(name).key_type(role).build().unwrap()
    }

    fn definition(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    }

    #[test]
    fn a_description_becomes_facts() {
        let index = GlobalSecondaryIndexDescription::builder()
            .index_name("by-day")
            .key_schema(element("day", KeyType::Hash))
            .projection(Projection::builder().projection_type(ProjectionType::Include).non_key_attributes("b").build())
            .provisioned_throughput(
                ProvisionedThroughputDescription::builder().read_capacity_units(1).write_capacity_units(2).build(),
            )
            .backfilling(true)
            .build();
        let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewImage);
        let table = TableDescription::builder()
            .table_status(TableStatus::Updating)
            .key_schema(element("sk", KeyType::Range))
            .key_schema(element("pk", KeyType::Hash))
            .attribute_definitions(definition("pk", ScalarAttributeType::S))
            .attribute_definitions(definition("sk", ScalarAttributeType::N))
            .attribute_definitions(definition("day", ScalarAttributeType::S))
            .global_secondary_indexes(index)
            .billing_mode_summary(BillingModeSummary::builder().billing_mode(BillingMode::PayPerRequest).build())
            .stream_specification(stream.build().unwrap())
            .latest_stream_arn("arn:stream")
            .table_id("id-1")
            .sse_description(SseDescription::builder().status(SseStatus::Enabled).sse_type(SseType::Kms).build())
            .build();
        let facts = Facts::of(&table);
        let words: Vec<_> = facts.keys.iter().map(|k| format!("{} {} {}", k.role, k.name, k.kind)).collect();
        assert_eq!(words, ["HASH pk S", "RANGE sk N"], "in the order of the roles");
        assert_eq!((facts.status.as_str(), facts.id.as_str(), facts.on_demand), ("UPDATING", "id-1", true));
        assert_eq!((facts.stream.as_deref(), facts.stream_arn.as_deref()), (Some("NEW_IMAGE"), Some("arn:stream")));
        let index = &facts.globals["by-day"];
        assert_eq!((index.projection.as_str(), index.active, index.units.write), ("INCLUDE b", false, 2));
        assert_eq!(facts.encryption, Encryption::Kms { key: "alias/aws/dynamodb".into() });
        assert!(!facts.protected && facts.class == "STANDARD");
    }

    #[test]
    fn a_table_that_says_nothing_is_provisioned_active_and_plain() {
        let facts = Facts::of(&TableDescription::builder().latest_stream_arn("of a stream that is off").build());
        assert_eq!((facts.status.as_str(), facts.on_demand, facts.stream_arn), ("ACTIVE", false, None));
        assert_eq!(facts.encryption, Encryption::Owned);
    }

    #[test]
    fn ttl_in_its_four_states() {
        let of = |status| {
            let described = TimeToLiveDescription::builder().attribute_name("ends").time_to_live_status(status).build();
            Ttl::of(Some(&described))
        };
        assert_eq!(of(TimeToLiveStatus::Enabled), Ttl::On("ends".into()));
        assert_eq!(of(TimeToLiveStatus::Enabling), Ttl::Enabling("ends".into()));
        assert_eq!(of(TimeToLiveStatus::Disabling), Ttl::Disabling);
        assert_eq!(of(TimeToLiveStatus::Disabled), Ttl::Off);
        assert_eq!(Ttl::of(None), Ttl::Off);
        assert_eq!(Ttl::Disabling.attribute(), None);
    }

    #[test]
    fn what_is_recorded_reads_back_and_unknown_words_are_unknown() {
        for ttl in [None, Some("ends".to_owned())] {
            let recorded = Recorded { ttl };
            assert_eq!(Recorded::parse(Some(&recorded.text())), Some(recorded));
        }
        assert_eq!(Recorded::parse(None), None);
        assert_eq!(Recorded::parse(Some("half a rec")), None);
    }
}
