//! Keys of every schema, and that nothing but a canary is taken for one.

use aws_sdk_dynamodb::types::{AttributeDefinition, KeySchemaElement};
use proptest::prelude::*;

use super::*;

fn settings(keys: u32, numbers: &[&str]) -> CanarySettings {
    CanarySettings {
        keys,
        every: std::time::Duration::from_secs(10),
        replicate: false,
        prefix: "__rpo_canary#".into(),
        numbers: numbers.iter().map(|n| (*n).to_owned()).collect(),
    }
}

fn schema(hash: ScalarAttributeType, range: Option<ScalarAttributeType>) -> Schema {
    let mut table = TableDescription::builder();
    let parts = [("zz", KeyType::Hash, Some(hash)), ("aa", KeyType::Range, range)];
    for (name, role, kind) in parts.into_iter().filter_map(|(name, role, kind)| Some((name, role, kind?))) {
        let element = KeySchemaElement::builder().attribute_name(name).key_type(role).build().unwrap();
        let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap();
        table = table.key_schema(element).attribute_definitions(definition);
    }
    Schema::of(&table.build()).unwrap()
}

/// As it comes out of the stream.
fn body(item: &Item, names: &[&str], put: bool) -> Body {
    let key_names = names.iter().map(|n| (*n).to_owned()).collect();
    let key = item.iter().filter(|(name, _)| names.contains(&name.as_str()));
    let image = match put {
        true => Image::Put(item.clone()),
        false => Image::Delete(key.map(|(name, value)| (name.clone(), value.clone())).collect()),
    };
    Body { image, key_names }
}

fn beat(seq: u64) -> Beat {
    Beat { run: "run-1".into(), seq, sent_at: SourceTime(1_763_900_527_123) }
}

const KINDS: [ScalarAttributeType; 3] = [ScalarAttributeType::S, ScalarAttributeType::B, ScalarAttributeType::N];

#[test]
fn ds12_a_canary_of_any_key_schema_is_recognised_and_says_what_was_written() {
    let ours = settings(3, &["-1", "-2.50", "1e3"]);
    for hash in KINDS {
        for range in KINDS.into_iter().map(Some).chain([None]) {
            let schema = schema(hash.clone(), range);
            assert_eq!(ours.fits(&schema), Ok(()));
            let names: &[&str] = if schema.range.is_some() { &["aa", "zz"] } else { &["zz"] };
            let mut keys = std::collections::HashSet::new();
            for number in 0..3 {
                let item = ours.item(&schema, number, &beat(7)).unwrap();
                let put = ours.sighting(&body(&item, names, true)).unwrap();
                assert_eq!(put, Sighting { key: number, beat: Some(beat(7)) }, "{schema:?}");
                let removed = ours.sighting(&body(&item, names, false)).unwrap();
                assert_eq!(removed, Sighting { key: number, beat: None }, "it is ours all the same");
                keys.insert(format!("{:?}", item["zz"]));
                let other = ours.item(&schema, number, &beat(8)).unwrap();
                assert_ne!(item, other, "DS-F2: each beat changes the item");
            }
            assert_eq!(keys.len(), 3);
        }
    }
}

#[test]
fn numbers_are_compared_as_numbers_and_must_be_named() {
    let schema = schema(ScalarAttributeType::N, None);
    assert!(settings(2, &[]).fits(&schema).unwrap_err().contains("canary_numbers"));
    assert!(settings(2, &["1"]).fits(&schema).is_err());
    let ours = settings(2, &["-1", "2.50"]);
    let item = |n: &str| Item::from([("zz".to_owned(), AttributeValue::N(n.into()))]);
    let key = |n: &str| ours.sighting(&body(&item(n), &["zz"], true)).map(|s| s.key);
    assert_eq!((key("-1.0"), key("25e-1"), key("1"), key("0")), (Some(0), Some(1), None, None));
    let none = settings(2, &[]);
    assert_eq!(none.sighting(&body(&item("-1"), &["zz"], true)), None);
}

#[test]
fn what_only_looks_like_a_canary_is_somebodys_item() {
    let ours = settings(2, &[]);
    let s = |text: &str| AttributeValue::S(text.into());
    let found = |pairs: &[(&str, AttributeValue)]| {
        let item: Item = pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        let names: Vec<&str> = pairs.iter().map(|(n, _)| *n).collect();
        ours.sighting(&body(&item, &names, true)).map(|s| s.key)
    };
    for text in
        ["__rpo_canary#", "__rpo_canary#01", "__rpo_canary#+1", "__rpo_canary#64", "__rpo_canary#x", "rpo_canary#1", ""]
    {
        assert_eq!(found(&[("pk", s(text))]), None, "{text}");
    }
    assert_eq!(found(&[("pk", s("__rpo_canary#1"))]), Some(1));
    assert_eq!(found(&[("pk", s("__rpo_canary#63"))]), Some(63), "kept for us when canary_keys was larger");
    assert_eq!(found(&[("pk", s("__rpo_canary#1")), ("sk", s("order"))]), None);
    assert_eq!(found(&[("pk", s("__rpo_canary#1")), ("sk", s("__rpo_canary#"))]), Some(1));
    // An attribute that is no key says nothing.
    let item = Item::from([("pk".to_owned(), s("a")), ("note".to_owned(), s("__rpo_canary#1"))]);
    assert_eq!(ours.sighting(&body(&item, &["pk"], true)), None);
}

#[test]
fn a_value_that_somebody_else_wrote_proves_nothing_but_stays_ours() {
    let ours = settings(1, &[]);
    let mut item = ours.item(&schema(ScalarAttributeType::S, None), 0, &beat(1)).unwrap();
    for (name, value) in [(SEQ, "x"), (SENT_AT, "1.5"), (SENT_AT, "99999999999999999999")] {
        let mut bad = item.clone();
        bad.insert(name.into(), AttributeValue::N(value.into()));
        assert_eq!(ours.sighting(&body(&bad, &["zz"], true)), Some(Sighting { key: 0, beat: None }));
    }
    item.remove(RUN);
    assert_eq!(ours.sighting(&body(&item, &["zz"], true)), Some(Sighting { key: 0, beat: None }));
}

proptest! {
    /// I13: no key of a user is filtered out, whatever it is, unless it is exactly one that we write.
    #[test]
    fn no_other_key_is_taken(text in "(__rpo_canary#)?.{0,12}", bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
        let ours = settings(4, &[]);
        let written: Vec<String> = (0..64).map(|n| format!("__rpo_canary#{n}")).collect();
        for value in [AttributeValue::S(text.clone()), AttributeValue::B(Blob::new(bytes.clone()))] {
            let item = Item::from([("pk".to_owned(), value)]);
            let found = ours.sighting(&body(&item, &["pk"], true)).is_some();
            let same = written.iter().any(|key| *key == text || key.as_bytes() == bytes);
            prop_assert!(!found || same);
        }
    }
}
