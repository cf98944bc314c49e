//! Attribute values and items, in the shape of the wire and in one canonical form.
//!
//! Invariant: an item that passed [`canonicalise`] compares equal (`==`) to another exactly when DynamoDB would call
//! them the same item: numbers are plain decimals, sets are sorted, binary is decoded bytes.

use super::error::AwsError;
use super::number;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// An item: attribute name to value.
pub type Item = BTreeMap<String, Value>;

/// One attribute value. Serialises as AWS JSON: `{"S": "..."}`, numbers as strings, binary as base64.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// String.
    S(String),
    /// Number, as its numeral.
    N(String),
    /// Binary, decoded.
    B(Vec<u8>),
    /// Boolean.
    Bool(bool),
    /// Null.
    Null,
    /// List.
    L(Vec<Value>),
    /// Map.
    M(Item),
    /// String set.
    Ss(Vec<String>),
    /// Number set.
    Ns(Vec<String>),
    /// Binary set.
    Bs(Vec<Vec<u8>>),
}

impl Value {
    /// A string value.
    pub fn s(text: impl Into<String>) -> Self {
        Self::S(text.into())
    }

    /// A number value from anything that prints as a numeral.
    pub fn n(number: impl fmt::Display) -> Self {
        Self::N(number.to_string())
    }

    /// A binary value.
    pub fn b(bytes: impl Into<Vec<u8>>) -> Self {
        Self::B(bytes.into())
    }

    /// The wire name of the type: "S", "N", ...
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::B(_) => "B",
            Self::Bool(_) => "BOOL",
            Self::Null => "NULL",
            Self::L(_) => "L",
            Self::M(_) => "M",
            Self::Ss(_) => "SS",
            Self::Ns(_) => "NS",
            Self::Bs(_) => "BS",
        }
    }

    fn canonicalise(&mut self) -> Result<(), AwsError> {
        match self {
            Self::N(numeral) => canonical_number(numeral),
            Self::L(list) => list.iter_mut().try_for_each(Self::canonicalise),
            Self::M(map) => map.values_mut().try_for_each(Self::canonicalise),
            Self::Ss(set) => canonical_set(set),
            Self::Ns(set) => {
                set.iter_mut().try_for_each(canonical_number)?;
                canonical_set(set)
            }
            Self::Bs(set) => canonical_set(set),
            Self::S(_) | Self::B(_) | Self::Bool(_) | Self::Null => Ok(()),
        }
    }

    /// Size in bytes as DynamoDB counts it (Developer Guide, "Item sizes and formats").
    fn size(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(numeral) => number_size(numeral),
            Self::B(bytes) => bytes.len(),
            Self::Bool(_) | Self::Null => 1,
            Self::L(list) => 3 + list.iter().map(|v| 1 + v.size()).sum::<usize>(),
            Self::M(map) => 3 + map.iter().map(|(name, v)| 1 + name.len() + v.size()).sum::<usize>(),
            Self::Ss(set) => set.iter().map(String::len).sum(),
            Self::Ns(set) => set.iter().map(|n| number_size(n)).sum(),
            Self::Bs(set) => set.iter().map(Vec::len).sum(),
        }
    }
}

/// Rewrites `item` to its canonical form, or says why DynamoDB would not take it.
pub(crate) fn canonicalise(item: &mut Item) -> Result<(), AwsError> {
    item.values_mut().try_for_each(Value::canonicalise)
}

/// The size of an item in bytes: names and values.
pub(crate) fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

fn number_size(numeral: &str) -> usize {
    // One byte for two digits and one more, 21 at most.
    (numeral.bytes().filter(u8::is_ascii_digit).count().div_ceil(2) + 1).min(21)
}

fn canonical_number(numeral: &mut String) -> Result<(), AwsError> {
    let plain = number::canonical(numeral).map_err(AwsError::validation)?;
    if plain != numeral.as_str() {
        *numeral = plain.into_owned();
    }
    Ok(())
}

fn canonical_set<T: Ord>(set: &mut Vec<T>) -> Result<(), AwsError> {
    if set.is_empty() {
        return Err(AwsError::validation(
            "One or more parameter values were invalid: An number set or string set may not be empty",
        ));
    }
    let before = set.len();
    set.sort_unstable();
    set.dedup();
    if set.len() == before {
        Ok(())
    } else {
        Err(AwsError::validation("One or more parameter values were invalid: Input collection contains duplicates."))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        let name = self.type_name();
        match self {
            Self::S(text) | Self::N(text) => map.serialize_entry(name, text)?,
            Self::B(bytes) => map.serialize_entry(name, &BASE64.encode(bytes))?,
            Self::Bool(flag) => map.serialize_entry(name, flag)?,
            Self::Null => map.serialize_entry(name, &true)?,
            Self::L(list) => map.serialize_entry(name, list)?,
            Self::M(item) => map.serialize_entry(name, item)?,
            Self::Ss(set) | Self::Ns(set) => map.serialize_entry(name, set)?,
            Self::Bs(set) => {
                map.serialize_entry(name, &set.iter().map(|b| BASE64.encode(b)).collect::<Vec<_>>())?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValueVisitor)
    }
}

/// The type names of the wire; an enum so that reading one allocates nothing.
#[derive(Deserialize)]
enum Tag {
    S,
    N,
    B,
    #[serde(rename = "BOOL")]
    Bool,
    #[serde(rename = "NULL")]
    Null,
    L,
    M,
    #[serde(rename = "SS")]
    Ss,
    #[serde(rename = "NS")]
    Ns,
    #[serde(rename = "BS")]
    Bs,
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute value with exactly one type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let tag: Tag = map.next_key()?.ok_or_else(|| de::Error::custom("Supplied AttributeValue is empty"))?;
        let value = match tag {
            Tag::S => Value::S(map.next_value()?),
            Tag::N => Value::N(map.next_value()?),
            Tag::B => Value::B(decoded(&map.next_value::<String>()?)?),
            Tag::Bool => Value::Bool(map.next_value()?),
            Tag::Null => {
                map.next_value::<bool>()?;
                Value::Null
            }
            Tag::L => Value::L(map.next_value()?),
            Tag::M => Value::M(map.next_value()?),
            Tag::Ss => Value::Ss(map.next_value()?),
            Tag::Ns => Value::Ns(map.next_value()?),
            Tag::Bs => {
                let set: Vec<String> = map.next_value()?;
                Value::Bs(set.iter().map(|b| decoded(b)).collect::<Result<_, _>>()?)
            }
        };
        if map.next_key::<Tag>()?.is_some() {
            return Err(de::Error::custom("Supplied AttributeValue has more than one datatypes set"));
        }
        Ok(value)
    }
}

fn decoded<E: de::Error>(base64: &str) -> Result<Vec<u8>, E> {
    BASE64.decode(base64).map_err(|e| E::custom(format!("not base64: {e}")))
}
