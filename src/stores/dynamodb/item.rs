//! Items: from the stream's types to the table's, without loss (AP-F5), and the identity of a key.
//!
//! The two SDK crates have different `AttributeValue` types. Numbers stay the text that DynamoDB sent: they never pass
//! through a float.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodbstreams::types::AttributeValue as StreamValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::change::Key;

/// An item, or a key.
pub(super) type Item = HashMap<String, AttributeValue>;

/// What a change of a table carries.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Body {
    pub(super) image: Image,
    /// The attributes that are the key; shared by the changes of a page.
    pub(super) key_names: Arc<[String]>,
}

/// What a record of the stream says about its key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Image {
    /// The item is now this.
    Put(Item),
    /// There is no item of this key any more.
    Delete(Item),
}

/// A value that this program does not know how to carry over; nothing of it may be dropped silently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an attribute of a type that this version does not know; update Plimsoll")]
pub(super) struct UnknownType;

/// An item of the stream as an item of the table.
pub(super) fn from_stream(item: HashMap<String, StreamValue>) -> Result<Item, UnknownType> {
    item.into_iter().map(|(name, value)| Ok((name, value_from_stream(value)?))).collect()
}

fn value_from_stream(value: StreamValue) -> Result<AttributeValue, UnknownType> {
    Ok(match value {
        StreamValue::S(text) => AttributeValue::S(text),
        StreamValue::N(number) => AttributeValue::N(number),
        StreamValue::B(blob) => AttributeValue::B(Blob::new(blob.into_inner())),
        StreamValue::Bool(flag) => AttributeValue::Bool(flag),
        StreamValue::Null(null) => AttributeValue::Null(null),
        StreamValue::Ss(set) => AttributeValue::Ss(set),
        StreamValue::Ns(set) => AttributeValue::Ns(set),
        StreamValue::Bs(set) => AttributeValue::Bs(set.into_iter().map(|b| Blob::new(b.into_inner())).collect()),
        StreamValue::L(list) => AttributeValue::L(list.into_iter().map(value_from_stream).collect::<Result<_, _>>()?),
        StreamValue::M(map) => AttributeValue::M(from_stream(map)?),
        _ => return Err(UnknownType),
    })
}

/// The names of a key's attributes: those of `last` when they are the same, which they are but for the first of a page.
pub(super) fn key_names(key: &Item, last: &mut Option<Arc<[String]>>) -> Arc<[String]> {
    match last {
        Some(names) if names.len() == key.len() && names.iter().all(|name| key.contains_key(name)) => Arc::clone(names),
        _ => Arc::clone(last.insert(key.keys().cloned().collect())),
    }
}

/// The identity of a key: the same bytes for the same key, however its number is written. Attributes in the order of
/// their names; a type byte, the length and the value of each.
pub(super) fn identity<'a>(key: impl IntoIterator<Item = (&'a String, &'a AttributeValue)>) -> Key {
    let mut attributes: Vec<_> = key.into_iter().collect();
    attributes.sort_by_key(|(name, _)| name.as_str());
    let mut bytes = Vec::with_capacity(64);
    for (name, value) in attributes {
        field(&mut bytes, b'=', name.as_bytes());
        match value {
            AttributeValue::S(text) => field(&mut bytes, b'S', text.as_bytes()),
            AttributeValue::N(number) => field(&mut bytes, b'N', canonical_number(number).as_bytes()),
            AttributeValue::B(blob) => field(&mut bytes, b'B', blob.as_ref()),
            // No key is of another type; whatever it is, it is distinct from all that are.
            other => field(&mut bytes, b'?', format!("{other:?}").as_bytes()),
        }
    }
    Key(bytes.into())
}

fn field(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(value);
}

/// One text for each number: sign, digits without leading and trailing zeros, exponent of ten. Up to 38 digits and beyond,
/// without a float. A text that is no number is kept as it is.
pub(super) fn canonical_number(text: &str) -> String {
    parse_number(text).unwrap_or_else(|| text.to_owned())
}

/// Is this a number?
pub(super) fn is_number(text: &str) -> bool {
    parse_number(text).is_some()
}

fn parse_number(text: &str) -> Option<String> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let exponent = exponent - i64::try_from(fraction.len()).ok()?;
    let trimmed = digits.trim_start_matches('0');
    let significant = trimmed.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let exponent = exponent + i64::try_from(trimmed.len() - significant.len()).ok()?;
    Some(format!("{}{significant}e{exponent}", if negative { "-" } else { "" }))
}

/// About how large an item is, bytes; for bounds, not for billing.
pub(super) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::Ss(set) | AttributeValue::Ns(set) => set.iter().map(String::len).sum(),
        AttributeValue::Bs(set) => set.iter().map(|b| b.as_ref().len()).sum(),
        AttributeValue::L(list) => list.iter().map(|v| 1 + value_size(v)).sum::<usize>() + 3,
        AttributeValue::M(map) => size(map) + 3,
        _ => 1,
    }
}

/// The bytes kept of a parked change: DynamoDB's own JSON.
pub(super) fn encode(body: &Body) -> Vec<u8> {
    let (what, item) = match &body.image {
        Image::Put(item) => ("put", item),
        Image::Delete(key) => ("delete", key),
    };
    json!({ "key_names": &*body.key_names, what: map_to_json(item) }).to_string().into_bytes()
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Option<Body> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let names = value.get("key_names")?.as_array()?;
    let key_names = names.iter().map(|n| n.as_str().map(str::to_owned)).collect::<Option<_>>()?;
    let image = match value.get("put") {
        Some(item) => Image::Put(map_from_json(item)?),
        None => Image::Delete(map_from_json(value.get("delete")?)?),
    };
    Some(Body { image, key_names })
}

/// A key as the text of a position.
pub(super) fn key_to_text(key: &Item) -> String {
    map_to_json(key).to_string()
}

/// The key that [`key_to_text`] gave.
pub(super) fn key_from_text(text: &str) -> Option<Item> {
    map_from_json(&serde_json::from_str(text).ok()?)
}

pub(super) fn map_to_json(item: &Item) -> Value {
    Value::Object(item.iter().map(|(name, value)| (name.clone(), to_json(value))).collect::<Map<_, _>>())
}

fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(blob) => json!({ "B": BASE64.encode(blob) }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::Ss(set) => json!({ "SS": set }),
        AttributeValue::Ns(set) => json!({ "NS": set }),
        AttributeValue::Bs(set) => json!({ "BS": set.iter().map(|b| BASE64.encode(b)).collect::<Vec<_>>() }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(to_json).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": map_to_json(map) }),
        // `from_stream` lets no other type in.
        _ => json!({ "NULL": true }),
    }
}

pub(super) fn map_from_json(value: &Value) -> Option<Item> {
    value.as_object()?.iter().map(|(name, value)| Some((name.clone(), from_json(value)?))).collect()
}

fn from_json(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let text = || value.as_str().map(str::to_owned);
    let texts = || value.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let blob = |text: String| BASE64.decode(text).ok().map(Blob::new);
    Some(match kind.as_str() {
        "S" => AttributeValue::S(text()?),
        "N" => AttributeValue::N(text()?),
        "B" => AttributeValue::B(blob(text()?)?),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(true),
        "SS" => AttributeValue::Ss(texts()?),
        "NS" => AttributeValue::Ns(texts()?),
        "BS" => AttributeValue::Bs(texts()?.into_iter().map(blob).collect::<Option<_>>()?),
        "L" => AttributeValue::L(value.as_array()?.iter().map(from_json).collect::<Option<_>>()?),
        "M" => AttributeValue::M(map_from_json(value)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodbstreams::primitives::Blob as StreamBlob;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_are_equal_have_one_text() {
        for same in [
            &["1", "1.0", "01", "+1", "1e0", "10e-1", "0.1E+1"][..],
            &["0", "-0", "0.000", "0e9"],
            &["-1200", "-1.2e3"],
        ] {
            let texts: Vec<_> = same.iter().map(|t| canonical_number(t)).collect();
            assert!(texts.iter().all(|t| *t == texts[0]), "{same:?} {texts:?}");
        }
        let long = "12345678901234567890123456789012345678";
        assert_ne!(canonical_number(long), canonical_number("12345678901234567890123456789012345679"));
        assert_ne!(canonical_number("1"), canonical_number("-1"));
        assert_eq!(canonical_number("no number"), "no number");
    }

    #[test]
    fn identities_never_run_into_each_other() {
        let key = |pairs: &[(&str, AttributeValue)]| {
            let map: Item = pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
            identity(&map)
        };
        let s = |t: &str| AttributeValue::S(t.into());
        assert_ne!(key(&[("a", s("bc")), ("d", s("e"))]), key(&[("a", s("b")), ("d", s("ce"))]));
        assert_ne!(key(&[("a", s("1"))]), key(&[("a", AttributeValue::N("1".into()))]));
        assert_ne!(key(&[("a", s("x"))]), key(&[("a", AttributeValue::B(Blob::new("x")))]));
        assert_eq!(key(&[("a", AttributeValue::N("1.50".into()))]), key(&[("a", AttributeValue::N("15e-1".into()))]));
    }

    fn value() -> impl Strategy<Value = StreamValue> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..12).prop_map(StreamBlob::new);
        let leaf = prop_oneof![
            ".{0,8}".prop_map(StreamValue::S),
            "-?[0-9]{1,38}(\\.[0-9]{1,5})?".prop_map(StreamValue::N),
            bytes().prop_map(StreamValue::B),
            any::<bool>().prop_map(StreamValue::Bool),
            Just(StreamValue::Null(true)),
            proptest::collection::vec(".{0,6}", 1..4).prop_map(StreamValue::Ss),
            proptest::collection::vec("[0-9]{1,38}", 1..4).prop_map(StreamValue::Ns),
            proptest::collection::vec(bytes(), 1..4).prop_map(StreamValue::Bs),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(StreamValue::L),
                proptest::collection::hash_map(".{0,4}", inner, 0..4).prop_map(StreamValue::M),
            ]
        })
    }

    proptest! {
        /// AP-F5: whatever an item holds, it arrives as it was; also through the bytes of a parked change.
        #[test]
        fn apf5_nothing_is_lost(item in proptest::collection::hash_map(".{0,6}", value(), 0..6)) {
            let converted = from_stream(item.clone()).unwrap();
            prop_assert_eq!(format!("{:?}", sorted(&converted)), format!("{:?}", sorted(&item)));
            let body = Body { image: Image::Put(converted), key_names: ["a".to_owned()].into() };
            prop_assert_eq!(decode(&encode(&body)), Some(body));
        }

        #[test]
        fn garbage_is_no_image(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }

    /// A text of an item that does not depend on the order of its maps.
    fn sorted<V: std::fmt::Debug>(item: &HashMap<String, V>) -> Vec<String> {
        let mut lines: Vec<_> = item
            .iter()
            .map(|(name, value)| {
                let mut characters: Vec<char> = format!("{value:?}").chars().collect();
                characters.sort_unstable();
                format!("{name:?} {characters:?}")
            })
            .collect();
        lines.sort();
        lines
    }
}
