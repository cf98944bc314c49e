//! The canary: some items with keys of their own, rewritten in place, each time with another value (OB-2, DS-F2). Pure.
//!
//! An item that is no canary is never overwritten, and an older canary of the same process never replaces a newer one,
//! however late its request lands: the condition of the write sees to both.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType};

use super::member::KeyPart;
use crate::change::SourceTime;
use crate::stores::observe::{Beat, SeenBeat};

/// The attributes of a canary, besides its key.
const BY: &str = "plimsoll_by";
const SEQ: &str = "plimsoll_seq";
const AT: &str = "plimsoll_at";

/// When a canary may be written: no item, or a canary of another process, or an older one of ours.
pub(super) const CONDITION: &str =
    "attribute_not_exists(#pk) OR (attribute_exists(#by) AND attribute_exists(#seq) AND (#by <> :by OR #seq < :seq))";

/// An item, or its key.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The keys of the canaries of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Keys {
    pub(super) partition_key: String,
    pub(super) all: Vec<Item>,
}

/// Makes `count` keys, or says what cannot be made.
pub(super) fn keys(schema: &[KeyPart], prefix: &str, count: u32) -> Result<Keys, String> {
    let Some(partition_key) = schema.first().map(|part| part.name.clone()) else {
        return Err("the table does not say what its key is".into());
    };
    if let Some(taken) = schema.iter().find(|part| [BY, SEQ, AT].contains(&part.name.as_str())) {
        return Err(format!("the key attribute {} has the name of an attribute of the canary", taken.name));
    }
    let all = (0..count)
        .map(|n| {
            schema
                .iter()
                .map(|part| Ok((part.name.clone(), key_value(part, prefix, n)?)))
                .collect::<Result<Item, String>>()
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Keys { partition_key, all })
}

fn key_value(part: &KeyPart, prefix: &str, n: u32) -> Result<AttributeValue, String> {
    let text = format!("{prefix}{n}");
    match &part.kind {
        Some(ScalarAttributeType::S) => Ok(AttributeValue::S(text)),
        Some(ScalarAttributeType::B) => Ok(AttributeValue::B(Blob::new(text))),
        // A number of 38 digits, far below those that people use.
        Some(ScalarAttributeType::N) => {
            Ok(AttributeValue::N(format!("-9{:024}{:010}{n:03}", 0, crc32fast::hash(prefix.as_bytes()))))
        }
        other => Err(format!(
            "a canary cannot be made: key attribute {} is of type {}, and S, N and B are known; remove canary_every",
            part.name,
            other.as_ref().map_or("nothing", |kind| kind.as_str())
        )),
    }
}

/// The item of a heartbeat under one of the keys.
pub(super) fn item(key: &Item, beat: &Beat) -> Item {
    let mut item = key.clone();
    item.insert(BY.into(), AttributeValue::S(beat.by.to_string()));
    item.insert(SEQ.into(), AttributeValue::N(beat.seq.to_string()));
    item.insert(AT.into(), AttributeValue::N(beat.at.0.to_string()));
    item
}

/// The names in [`CONDITION`].
pub(super) fn names(partition_key: &str) -> HashMap<String, String> {
    let names = [("#pk", partition_key), ("#by", BY), ("#seq", SEQ)];
    names.into_iter().map(|(short, name)| (short.to_owned(), name.to_owned())).collect()
}

/// The values in [`CONDITION`].
pub(super) fn values(beat: &Beat) -> Item {
    let values = [(":by", AttributeValue::S(beat.by.to_string())), (":seq", AttributeValue::N(beat.seq.to_string()))];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The heartbeat of an item; `None` when it is no canary.
pub(super) fn beat_of(item: &Item) -> Option<SeenBeat> {
    let text = |name: &str| item.get(name)?.as_s().ok();
    let number = |name: &str| item.get(name)?.as_n().ok();
    Some(SeenBeat {
        by: text(BY)?.as_str().into(),
        seq: number(SEQ)?.parse().ok()?,
        at: SourceTime(number(AT)?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, kind: ScalarAttributeType) -> KeyPart {
        KeyPart { name: name.into(), kind: Some(kind) }
    }

    #[test]
    fn every_key_schema_has_canaries_with_keys_of_their_own() {
        for hash in [ScalarAttributeType::S, ScalarAttributeType::N, ScalarAttributeType::B] {
            for range in
                [None, Some(ScalarAttributeType::S), Some(ScalarAttributeType::N), Some(ScalarAttributeType::B)]
            {
                let mut schema = vec![part("id", hash.clone())];
                schema.extend(range.map(|kind| part("at", kind)));
                let made = keys(&schema, "plimsoll-canary-", 100).unwrap();
                assert_eq!(made.partition_key, "id");
                assert!(made.all.iter().all(|key| key.len() == schema.len()));
                let mut shown: Vec<String> = made.all.iter().map(|key| format!("{:?}", key["id"])).collect();
                shown.sort();
                shown.dedup();
                assert_eq!(shown.len(), 100, "each its own partition");
                for key in &made.all {
                    if let Ok(number) = key["id"].as_n() {
                        assert_eq!(number.len(), 39, "a sign and 38 digits, as many as a number may have: {number}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_a_sentence() {
        let odd = KeyPart { name: "id".into(), kind: Some(ScalarAttributeType::from("GEO")) };
        assert!(keys(&[odd], "p", 1).unwrap_err().contains("is of type GEO"));
        assert!(keys(&[KeyPart { name: "id".into(), kind: None }], "p", 1).unwrap_err().contains("is of type nothing"));
        assert!(keys(&[], "p", 1).is_err());
        assert!(keys(&[part(SEQ, ScalarAttributeType::S)], "p", 1).is_err());
    }

    #[test]
    fn a_heartbeat_reads_back_and_garbage_is_none() {
        let key = &keys(&[part("id", ScalarAttributeType::S)], "p", 1).unwrap().all[0];
        let beat = Beat { by: "me".into(), seq: 7, at: SourceTime(1_795_502_767_123) };
        assert_eq!(beat_of(&item(key, &beat)), Some(beat.clone()));
        for (name, value) in [
            (SEQ, AttributeValue::S("7".into())),
            (SEQ, AttributeValue::N("-1".into())),
            (AT, AttributeValue::N("1.5".into())),
            (BY, AttributeValue::Null(true)),
        ] {
            let mut bad = item(key, &beat);
            bad.insert(name.into(), value);
            assert_eq!(beat_of(&bad), None, "{name}");
        }
        assert_eq!(beat_of(key), None);
    }
}
