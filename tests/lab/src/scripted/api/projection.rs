//! ProjectionExpression, as far as it names whole top-level attributes.

use super::super::model::error::AwsError;
use super::super::model::value::Item;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::sync::Arc;

/// An item that is serialised without being copied.
pub(super) struct Shared(pub(super) Arc<Item>);

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The attributes wanted; all of them when there is no expression.
pub(super) struct Projection(Option<Vec<String>>);

impl Projection {
    pub(super) fn parse(expression: Option<&str>, names: &HashMap<String, String>) -> Result<Self, AwsError> {
        let Some(expression) = expression else { return Ok(Self(None)) };
        let attribute = |token: &str| {
            let token = token.trim();
            let plain = !token.is_empty() && !token.contains(['.', '[', ' ']);
            match names.get(token) {
                Some(name) => Ok(name.clone()),
                None if plain && !token.starts_with('#') => Ok(token.to_owned()),
                None => Err(AwsError::validation(format!("Invalid ProjectionExpression: cannot use {token:?}"))),
            }
        };
        expression.split(',').map(attribute).collect::<Result<_, _>>().map(Some).map(Self)
    }

    pub(super) fn apply(&self, item: Arc<Item>) -> Arc<Item> {
        match &self.0 {
            None => item,
            Some(names) => Arc::new(
                names.iter().filter_map(|name| item.get_key_value(name)).map(|(k, v)| (k.clone(), v.clone())).collect(),
            ),
        }
    }
}
