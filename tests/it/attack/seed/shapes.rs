//! AP-F5: items of every shape that DynamoDB allows, through the scan, the stream and the sweep.

use plimsoll_lab::daemon::StoreSpec;
use plimsoll_lab::scripted::{Item, KeyKind, TableSpec, Value, ViewType};

use super::super::fixture::{Ask as _, Pair, RHYTHM, plain, streamed, until};

const DIGITS: &str = "12345678901234567890123456789012345678";

/// An item with everything in it; `key` are its key's attributes.
fn motley(key: Vec<(&str, Value)>, n: u64) -> Item {
    let mut item: Item = key.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let more = [
        ("long number", Value::N(DIGITS.into())),
        ("small number", Value::N("1E-130".into())),
        ("negative", Value::N(format!("-0.{DIGITS}"))),
        ("empty text", Value::s("")),
        ("empty bytes", Value::b(Vec::new())),
        ("texts", Value::Ss(vec!["b".into(), "a".into(), String::new()])),
        ("numbers", Value::Ns(vec!["10".into(), "9.5".into(), DIGITS.into()])),
        ("blobs", Value::Bs(vec![vec![0xff], vec![0x00, 0x01]])),
        ("null", Value::Null),
        ("flag", Value::Bool(n.is_multiple_of(2))),
        ("list", Value::L(vec![Value::s("x"), Value::L(Vec::new()), Value::M(Item::new())])),
        ("nested", Value::M([("deep".to_owned(), Value::M([("n".to_owned(), Value::n(n))].into()))].into())),
        ("#odd name.with:all", Value::s("ünïcödé \u{1F6A2} \n\u{0}")),
    ];
    item.extend(more.map(|(name, value)| (name.to_owned(), value)));
    item
}

/// Keys of the tables: the name of the table, and how number `n` is written.
fn keys(table: &str, n: u64) -> Vec<(&'static str, Value)> {
    match table {
        "binary" => vec![("pk", Value::b(vec![0, n as u8, 0xff, (n >> 8) as u8]))],
        "number" => vec![("pk", Value::N(format!("-{n}.5")))],
        "pairs" => vec![("pk", Value::s(format!("p{}", n % 7))), ("sk", Value::N(format!("{n}")))],
        _ => vec![("pk", Value::s(format!("#{n} \u{e9}"))), ("sk", Value::b(vec![n as u8, 0, 0]))],
    }
}

fn specs() -> Vec<TableSpec> {
    vec![
        TableSpec::new("binary", "pk").hash_kind(KeyKind::B),
        TableSpec::new("number", "pk").hash_kind(KeyKind::N),
        TableSpec::new("pairs", "pk").range("sk", KeyKind::N),
        TableSpec::new("odd", "pk").range("sk", KeyKind::B),
    ]
}

#[tokio::test]
async fn ap_f5_items_of_every_shape_are_copied_and_swept() {
    let pair = Pair::with(streamed(), plain(), 71, |spec| {
        for table in specs() {
            spec.stores.push(StoreSpec { more: RHYTHM.into(), ..StoreSpec::table(&table.name) });
        }
    });
    for spec in specs() {
        let table = spec.name.clone();
        pair.y.create_table(spec.clone());
        pair.x.create_table(spec.stream(ViewType::NewAndOldImages));
        pair.x.load(&table, (0..120).map(|n| motley(keys(&table, n), n)));
        // Two of 400 KB, less what the rest of them takes.
        for n in [500, 501] {
            let mut large = motley(keys(&table, n), n);
            large.insert("filling".into(), Value::s("f".repeat(398_000)));
            pair.x.load(&table, [large]);
        }
        // The standby has zombies, and old versions of some.
        pair.y.load(&table, (1000..1040).map(|n| motley(keys(&table, n), n)));
        pair.y.load(&table, (0..20).map(|n| motley(keys(&table, n), n + 1)));
    }
    let mut daemon = pair.start().await;
    for spec in specs() {
        let table = spec.name;
        // And by the stream.
        for n in 100..140 {
            pair.x.put(&table, motley(keys(&table, n), n + 7)).expect("a good item");
        }
        let mut large = motley(keys(&table, 501), 3);
        large.insert("filling".into(), Value::s("g".repeat(398_000)));
        pair.x.put(&table, large).expect("a good item");
    }
    daemon.reach(|status| status.all("ok")).await;
    for spec in specs() {
        let name = &spec.name;
        until(name, || pair.x.compare(name, &pair.y, name, 0).same()).await;
        assert_eq!(pair.y.item_count(name), 142, "{}", pair.x.compare(name, &pair.y, name, 3));
    }
}
