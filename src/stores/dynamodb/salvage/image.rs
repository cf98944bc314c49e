//! When two items are the same item: the digest of a canonical form in which numbers are values, sets have no order, and
//! maps neither.

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest as _, Sha256};

use crate::stores::dynamodb::item::{Item, canonical_number, map_to_json};
use crate::stores::salvage::{Digest, Image};

/// An item as it crosses to the spine.
pub(super) fn image(item: &Item) -> Image {
    Image { json: map_to_json(item).to_string(), digest: digest(item) }
}

/// A key as text; attributes in the order of their names, so that the same key is the same text.
pub(super) fn key_text(key: &Item) -> String {
    // A JSON object of this crate's serde_json keeps its names in order.
    map_to_json(key).to_string()
}

/// The digest of an item.
pub(super) fn digest(item: &Item) -> Digest {
    let mut hash = Sha256::new();
    feed_map(&mut hash, item);
    let full: [u8; 32] = hash.finalize().into();
    let mut short = [0; 16];
    short.copy_from_slice(&full[..16]);
    Digest(short)
}

fn feed(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn feed_map(hash: &mut Sha256, map: &Item) {
    feed(hash, b'M', &(map.len() as u64).to_be_bytes());
    let mut names: Vec<_> = map.iter().collect();
    names.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in names {
        feed(hash, b'=', name.as_bytes());
        feed_value(hash, value);
    }
}

fn feed_set(hash: &mut Sha256, kind: u8, mut members: Vec<Vec<u8>>) {
    members.sort();
    feed(hash, kind, &(members.len() as u64).to_be_bytes());
    for member in members {
        feed(hash, b'.', &member);
    }
}

fn feed_value(hash: &mut Sha256, value: &AttributeValue) {
    match value {
        AttributeValue::S(text) => feed(hash, b'S', text.as_bytes()),
        AttributeValue::N(number) => feed(hash, b'N', canonical_number(number).as_bytes()),
        AttributeValue::B(blob) => feed(hash, b'B', blob.as_ref()),
        AttributeValue::Bool(flag) => feed(hash, b'b', &[u8::from(*flag)]),
        AttributeValue::Ss(set) => feed_set(hash, b's', set.iter().map(|text| text.clone().into_bytes()).collect()),
        AttributeValue::Ns(set) => {
            feed_set(hash, b'n', set.iter().map(|number| canonical_number(number).into_bytes()).collect());
        }
        AttributeValue::Bs(set) => feed_set(hash, b'x', set.iter().map(|blob| blob.as_ref().to_vec()).collect()),
        AttributeValue::L(list) => {
            feed(hash, b'L', &(list.len() as u64).to_be_bytes());
            list.iter().for_each(|value| feed_value(hash, value));
        }
        AttributeValue::M(map) => feed_map(hash, map),
        // `from_stream` and the table's own reads let no type in that is not here.
        _ => feed(hash, b'0', &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::primitives::Blob;

    fn one(value: AttributeValue) -> Digest {
        digest(&Item::from([("a".to_owned(), value)]))
    }

    fn n(text: &str) -> AttributeValue {
        AttributeValue::N(text.into())
    }

    #[test]
    fn what_the_table_calls_equal_has_one_digest() {
        assert_eq!(one(n("1.50")), one(n("15e-1")));
        assert_eq!(
            one(AttributeValue::Ns(vec!["1".into(), "2.0".into()])),
            one(AttributeValue::Ns(vec!["2".into(), "1.0".into()]))
        );
        assert_eq!(
            one(AttributeValue::Ss(vec!["a".into(), "b".into()])),
            one(AttributeValue::Ss(vec!["b".into(), "a".into()]))
        );
    }

    #[test]
    fn what_differs_in_type_order_or_border_has_another() {
        let s = |text: &str| AttributeValue::S(text.into());
        let all = [
            one(n("1")),
            one(s("1")),
            one(AttributeValue::B(Blob::new("1"))),
            one(s("")),
            one(AttributeValue::Null(true)),
            one(AttributeValue::Bool(true)),
            one(AttributeValue::Bool(false)),
            one(AttributeValue::L(vec![s("a"), s("b")])),
            one(AttributeValue::L(vec![s("b"), s("a")])),
            one(AttributeValue::L(vec![s("ab")])),
            one(AttributeValue::Ss(vec!["a".into(), "b".into()])),
            one(AttributeValue::M(Item::from([("a".to_owned(), s("b"))]))),
            one(AttributeValue::M(Item::new())),
            digest(&Item::new()),
            Digest::ABSENT,
        ];
        for (at, digest) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(digest), "{at}");
        }
    }
}
