//! DynamoDB tables: the stream of the primary table is read and applied to the standby table.

mod settings;

use std::sync::Arc;

use super::contract::{Kind, Store};
use crate::aws::Aws;
use crate::change::StoreId;

pub use settings::DynamoDbSettings;

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "dynamodb",
    supports: settings::supports,
    keys: settings::KEYS,
    read: settings::read,
    example: include_str!("example.toml"),
};

fn open(settings: DynamoDbSettings, id: &StoreId, _aws: &Aws) -> Arc<dyn Store> {
    panic!("store {id} ({settings:?}) cannot be opened: this build has only the configuration")
}
