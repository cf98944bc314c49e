//! Between the model's values and the SDK's, so that what a client read can be compared with what the server holds.

use super::model::error::AwsError;
use super::model::value::{Item, Value, canonicalise};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;

/// The canonical form of an item a client read: equal to a [`super::ScriptedAws::snapshot`]'s item when both are the
/// same item.
///
/// # Errors
/// When it holds a value DynamoDB could not hold, or one this SDK does not know.
pub fn item_from_sdk(item: &HashMap<String, AttributeValue>) -> Result<Item, AwsError> {
    let mut converted = map_from_sdk(item)?;
    canonicalise(&mut converted)?;
    Ok(converted)
}

/// An item to give to a client.
pub fn item_to_sdk(item: &Item) -> HashMap<String, AttributeValue> {
    item.iter().map(|(name, value)| (name.clone(), value_to_sdk(value))).collect()
}

fn map_from_sdk(item: &HashMap<String, AttributeValue>) -> Result<Item, AwsError> {
    item.iter().map(|(name, value)| Ok((name.clone(), value_from_sdk(value)?))).collect()
}

fn value_from_sdk(value: &AttributeValue) -> Result<Value, AwsError> {
    let bytes = |blob: &Blob| blob.as_ref().to_vec();
    Ok(match value {
        AttributeValue::S(text) => Value::S(text.clone()),
        AttributeValue::N(numeral) => Value::N(numeral.clone()),
        AttributeValue::B(blob) => Value::B(bytes(blob)),
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::L(list) => Value::L(list.iter().map(value_from_sdk).collect::<Result<_, _>>()?),
        AttributeValue::M(map) => Value::M(map_from_sdk(map)?),
        AttributeValue::Ss(set) => Value::Ss(set.clone()),
        AttributeValue::Ns(set) => Value::Ns(set.clone()),
        AttributeValue::Bs(set) => Value::Bs(set.iter().map(bytes).collect()),
        _ => return Err(AwsError::validation("an attribute type this SDK does not know")),
    })
}

fn value_to_sdk(value: &Value) -> AttributeValue {
    match value {
        Value::S(text) => AttributeValue::S(text.clone()),
        Value::N(numeral) => AttributeValue::N(numeral.clone()),
        Value::B(bytes) => AttributeValue::B(Blob::new(bytes.clone())),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Null => AttributeValue::Null(true),
        Value::L(list) => AttributeValue::L(list.iter().map(value_to_sdk).collect()),
        Value::M(map) => AttributeValue::M(item_to_sdk(map)),
        Value::Ss(set) => AttributeValue::Ss(set.clone()),
        Value::Ns(set) => AttributeValue::Ns(set.clone()),
        Value::Bs(set) => AttributeValue::Bs(set.iter().map(|bytes| Blob::new(bytes.clone())).collect()),
    }
}
