//! Keys and items: a pure function of the seed.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Attributes, Shape, Traffic};
use crate::random::Random;
use crate::tables::KeyKind;

/// Text that has broken replicators: composed and decomposed accents, other planes, separators, quotes, spaces, control
/// characters, the empty string.
const TEXTS: [&str; 12] = [
    "",
    "plain",
    "größe",
    "gro\u{308}ße",
    "注文番号",
    "🚢⚓️ waterline",
    "tab\tnew\nline",
    "quote\"back\\slash",
    " spaces ",
    "a#b/c+d%20?&=",
    "\u{0001}\u{007f}",
    "עברית \u{202e}mixed",
];

/// Numbers at the edges of what DynamoDB keeps: 38 digits, magnitudes up to 9.99E+125 and down to 1E-130.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "12.50",
    "0.00000123",
    "-98765432109876543210.123456789",
    "12345678901234567890123456789012345678",
    "-0.12345678901234567890123456789012345678",
    "1E+20",
    "1E-130",
    "9.99E+125",
    "3.0E2",
];

/// The key of a writer's slot. Different for every (seed, writer, index, generation), whatever the key's type.
pub(super) fn key(traffic: &Traffic, seed: u64, writer: usize, index: usize, generation: u32) -> Attributes {
    let unique = (((seed % 100_000) * 100 + writer as u64) * 100_000 + index as u64) * 1000 + u64::from(generation);
    let table = &traffic.table;
    let mut key = HashMap::from([(table.hash.name.clone(), part(table.hash.kind, unique, index))]);
    if let Some(range) = &table.range {
        // The partition key alone is unique; the sort key only has to be a stable function of it.
        key.insert(range.name.clone(), part(range.kind, unique % 7 + 1, index / 2));
    }
    key
}

fn part(kind: KeyKind, unique: u64, index: usize) -> AttributeValue {
    match kind {
        KeyKind::Text => {
            let text = TEXTS.get(index % TEXTS.len()).copied().unwrap_or_default();
            AttributeValue::S(format!("{unique}-{text}"))
        }
        // No two of these forms have the same value for different numbers.
        KeyKind::Number => AttributeValue::N(match index % 4 {
            0 => unique.to_string(),
            1 => format!("-{unique}"),
            2 => format!("{unique}.5"),
            _ => format!("9{unique:037}"),
        }),
        KeyKind::Binary => {
            let mut bytes = vec![0, 0xff, 0xfe];
            bytes.extend_from_slice(&unique.to_be_bytes());
            AttributeValue::B(Blob::new(bytes))
        }
    }
}

/// The attributes of a new item besides its key. `rev` makes it different from every other.
pub(super) fn body(traffic: &Traffic, random: &mut Random, rev: u64) -> Attributes {
    let mut item = match traffic.shape {
        Shape::Order => order(random),
        Shape::Session => session(random),
        Shape::Document => document(random),
        Shape::Everything => everything(random),
    };
    if random.chance(traffic.big) {
        let bytes = traffic.big_bytes / 2 + random.below(traffic.big_bytes / 2 + 1);
        item.insert("body".into(), AttributeValue::S(long_text(random, bytes)));
    }
    item.insert("rev".into(), AttributeValue::N(rev.to_string()));
    item
}

fn order(random: &mut Random) -> Attributes {
    let line = |random: &mut Random| {
        AttributeValue::M(HashMap::from([
            ("sku".into(), AttributeValue::S(format!("SKU-{:05}", random.below(100_000)))),
            ("qty".into(), number(1 + random.below(9))),
            ("price".into(), AttributeValue::N(format!("{}.{:02}", random.below(500), random.below(100)))),
        ]))
    };
    let lines = (0..=random.below(4)).map(|_| line(random)).collect();
    let status = ["placed", "paid", "packed", "shipped"].get(random.below(4)).copied().unwrap_or("placed");
    HashMap::from([
        ("customer".into(), AttributeValue::S(format!("customer-{}", random.below(10_000)))),
        ("status".into(), AttributeValue::S(status.into())),
        ("lines".into(), AttributeValue::L(lines)),
        ("gift".into(), AttributeValue::Bool(random.chance(0.1))),
    ])
}

fn session(random: &mut Random) -> Attributes {
    HashMap::from([
        ("token".into(), AttributeValue::B(Blob::new(random.bytes(48)))),
        ("scopes".into(), AttributeValue::Ss(some_of(&["read", "write", "admin", "billing"], random))),
        ("seen".into(), number(random.below(1 << 30))),
    ])
}

fn document(random: &mut Random) -> Attributes {
    let meta = HashMap::from([
        ("author".into(), text(random)),
        ("pages".into(), number(random.below(900))),
        ("deep".into(), nested(random, 5)),
    ]);
    let length = 2_000 + random.below(6_000);
    HashMap::from([
        ("title".into(), text(random)),
        ("abstract".into(), AttributeValue::S(long_text(random, length))),
        ("meta".into(), AttributeValue::M(meta)),
    ])
}

fn everything(random: &mut Random) -> Attributes {
    let mut item = HashMap::from([("naïve \"name\".#1".into(), AttributeValue::Null(true))]);
    for name in ["a", "b", "c", "größe", "🚢"] {
        if random.chance(0.8) {
            item.insert(name.into(), anything(random, 4));
        }
    }
    item
}

fn anything(random: &mut Random, depth: usize) -> AttributeValue {
    match random.below(if depth == 0 { 9 } else { 11 }) {
        0 => text(random),
        1 => AttributeValue::N(some_number(random)),
        2 => AttributeValue::B(Blob::new(Vec::new())),
        3 => {
            let length = random.below(40);
            AttributeValue::B(Blob::new(random.bytes(length)))
        }
        4 => AttributeValue::Bool(random.chance(0.5)),
        5 => AttributeValue::Null(true),
        6 => AttributeValue::Ss(some_of(TEXTS.get(1..).unwrap_or_default(), random)),
        7 => AttributeValue::Ns(some_of(&NUMBERS, random)),
        8 => AttributeValue::Bs(some_of(&["a", "b", "\u{ff}", "dd"], random).into_iter().map(Blob::new).collect()),
        9 => AttributeValue::L((0..random.below(4)).map(|_| anything(random, depth - 1)).collect()),
        _ => nested(random, depth - 1),
    }
}

fn nested(random: &mut Random, depth: usize) -> AttributeValue {
    let mut map = HashMap::from([("leaf".into(), text(random))]);
    if depth > 0 {
        map.insert("branch".into(), anything(random, depth - 1));
    }
    AttributeValue::M(map)
}

fn text(random: &mut Random) -> AttributeValue {
    AttributeValue::S(TEXTS.get(random.below(TEXTS.len())).copied().unwrap_or_default().into())
}

fn some_number(random: &mut Random) -> String {
    NUMBERS.get(random.below(NUMBERS.len())).copied().unwrap_or("0").into()
}

fn number(value: usize) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// At least one of the choices, none twice: a set may not be empty.
fn some_of(choices: &[&str], random: &mut Random) -> Vec<String> {
    let always = random.below(choices.len());
    let chosen = choices.iter().enumerate().filter(|(at, _)| *at == always || random.chance(0.4));
    chosen.map(|(_, choice)| (*choice).to_owned()).collect()
}

/// Text of a length that does not compress to nothing and costs little to make.
fn long_text(random: &mut Random, length: usize) -> String {
    let block: String = random.bytes(256).into_iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let mut text = String::with_capacity(length + block.len());
    while text.len() < length {
        text.push_str(&block);
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{self, Key};
    use crate::tables::TableSpec;
    use std::collections::BTreeSet;

    #[test]
    fn keys_are_unique_for_every_type_of_key() {
        for kind in [KeyKind::Text, KeyKind::Number, KeyKind::Binary] {
            let traffic =
                Traffic::steady(TableSpec::new("things", ("k", kind)).with_range(("r", KeyKind::Number)), 1.0);
            let mut keys = BTreeSet::new();
            for seed in [1, 2] {
                for writer in 0..3 {
                    for index in 0..30 {
                        for generation in 0..3 {
                            let key = key(&traffic, seed, writer, index, generation);
                            keys.insert(Key::of(&canon::item(&key), &["k"]));
                        }
                    }
                }
            }
            assert_eq!(keys.len(), 2 * 3 * 30 * 3, "{kind:?}");
        }
    }

    #[test]
    fn a_seed_makes_the_same_items_and_a_rev_makes_them_different() {
        let traffic = Traffic::everything(TableSpec::new("things", ("k", KeyKind::Text)), 1.0);
        let make = |seed, rev| canon::digest(&canon::item(&body(&traffic, &mut Random::new(seed), rev)));
        assert_eq!(make(1, 1), make(1, 1));
        assert_ne!(make(1, 1), make(1, 2));
    }
}
