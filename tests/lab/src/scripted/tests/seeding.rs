//! Many items at once: loaded without HTTP, and compared.

use super::{item, server};
use crate::scripted::{Item, Key, Options, ScriptedAws, TableSpec, Value, numbered_item};
use std::time::{Duration, Instant};

/// Items of the large table. The budget below is for a machine that compiles beside the test.
const MANY: u64 = 200_000;

#[test]
fn a_large_table_is_loaded_and_compared_in_seconds() {
    let (x, y) = (server(), ScriptedAws::start(Options::default()).unwrap());
    y.create_table(TableSpec::new("copy", "pk"));
    let start = Instant::now();
    assert_eq!(x.load("t", (0..MANY).map(|i| numbered_item(i, i, 200))), 200_000);
    let loaded = start.elapsed();
    y.load("copy", (0..MANY).rev().map(|i| numbered_item(i, i, 200)));
    let start = Instant::now();
    assert!(x.compare("t", &y, "copy", 10).same());
    println!("{MANY} items loaded in {loaded:?}, compared in {:?}", start.elapsed());
    assert!(loaded < Duration::from_secs(30));
    assert_eq!((x.item_count("t"), x.arrivals("t").len()), (200_000, 0));
}

#[test]
fn a_comparison_names_the_first_differences() {
    let x = server();
    x.create_table(TableSpec::new("copy", "pk"));
    x.load("t", (0..100).map(|i| item(&format!("k{i}"), i)));
    x.load("copy", (0..100).map(|i| item(&format!("k{i}"), i)));
    let with = |pk: &str, attribute: Value| Item::from([("pk".to_owned(), Value::s(pk)), ("x".to_owned(), attribute)]);
    x.load("t", [with("n", Value::Ns(vec!["1".into(), "2.0".into()]))]);
    x.load("copy", [with("n", Value::Ns(vec!["20E-1".into(), "1.00".into()]))]);
    assert!(x.compare("t", &x, "copy", 10).same(), "sets have no order, numbers have a value");
    assert!(x.compare("t", &x, "t", 10).same());

    x.delete("copy", Key::of("k1"));
    x.put("copy", item("new", 1)).unwrap();
    x.put("copy", with("k2", Value::s("y"))).unwrap();
    let found = x.compare("t", &x, "copy", 2);
    assert_eq!((found.keys, found.missing, found.extra, found.different), (102, 1, 1, 1));
    assert_eq!((found.first.len(), found.same()), (2, false));
    let all = x.compare("t", &x, "copy", 10).to_string();
    for part in ["k1: missing", "new: extra", "k2:", "v is absent, not N(\"2\")", "x is S(\"y\"), not absent"] {
        assert!(all.contains(part), "{part} in {all}");
    }
    let without = |key: &Key| !["k1", "k2", "new"].contains(&key.to_string().as_str());
    assert!(x.compare_where("t", &x, "copy", 10, without).same());
}
