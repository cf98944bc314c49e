//! The same between two emulated regions, whose conditions and equality are of another make: every type of value.

use std::collections::HashMap;
use std::path::Path;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue as Av;
use plimsoll_lab::clients::Endpoint;
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, Role, StoreSpec, binary};
use plimsoll_lab::proxy::FaultProxy;
use plimsoll_lab::regions::{Region, RegionSpec};
use plimsoll_lab::tables::{KeyKind, TableSpec, differences};

use super::scene::{list, promote, salvage};
use crate::attack::fixture::{Ask as _, LONG, ORDERS, RHYTHM};

/// An item of every type.
fn rich(n: i64) -> HashMap<String, Av> {
    let text = |text: &str| Av::S(text.to_owned());
    let number = |number: &str| Av::N(number.to_owned());
    HashMap::from([
        ("s".to_owned(), text("ünïcode \u{1F6A2}")),
        ("empty".to_owned(), text("")),
        ("n".to_owned(), number(&n.to_string())),
        ("long".to_owned(), number("12345678901234567890123456789012345678")),
        ("b".to_owned(), Av::B(Blob::new(vec![0, 255, 7]))),
        ("t".to_owned(), Av::Bool(true)),
        ("null".to_owned(), Av::Null(true)),
        ("ss".to_owned(), Av::Ss(vec!["a".into(), "b".into()])),
        ("ns".to_owned(), Av::Ns(vec!["1".into(), "2.5".into()])),
        ("bs".to_owned(), Av::Bs(vec![Blob::new(vec![1]), Blob::new(vec![2])])),
        ("l".to_owned(), Av::L(vec![text("x"), number("-1"), Av::L(vec![])])),
        ("m".to_owned(), Av::M(HashMap::from([("size".to_owned(), number("1")), ("name".to_owned(), text("y"))]))),
        ("name".to_owned(), text("a reserved word")),
    ])
}

fn keyed(pk: &[u8], sk: i64) -> HashMap<String, Av> {
    HashMap::from([("pk".to_owned(), Av::B(Blob::new(pk))), ("sk".to_owned(), Av::N(sk.to_string()))])
}

fn item(pk: &[u8], sk: i64, n: i64) -> HashMap<String, Av> {
    let mut item = rich(n);
    item.extend(keyed(pk, sk));
    item
}

async fn put(client: &aws_sdk_dynamodb::Client, item: HashMap<String, Av>) {
    client.put_item().table_name(ORDERS).set_item(Some(item)).send().await.expect("it takes items");
}

#[tokio::test]
async fn emulated_regions_of_every_type_of_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let x = Region::start(RegionSpec::primary(folder.path())).await.expect("`make setup` installs it");
    let y = Region::start(RegionSpec::standby(folder.path())).await.expect("`make setup` installs it");
    let link = FaultProxy::start(&x.endpoint().url, 1).expect("a port is free");
    let table = TableSpec::new(ORDERS, ("pk", KeyKind::Binary)).with_range(("sk", KeyKind::Number));
    table.create(&x.dynamodb(), true).await.expect("a table");
    table.create(&y.dynamodb(), false).await.expect("a table");
    let store = StoreSpec { more: RHYTHM.into(), ..StoreSpec::table(ORDERS) };
    let mut spec = ConfigSpec::new(&Endpoint::new(link.endpoint(), "us-east-1"), y.endpoint(), vec![store]);
    spec.more = "[promote]\ncatch_up = \"1s\"".into();
    let home = Home::prepare(&folder.path().join("daemon"), &spec).expect("a folder");
    let mut daemon = Daemon::spawn(&binary().expect("built"), &home).expect("it starts");
    daemon.wait_ready(LONG).await.expect("it answers");
    daemon.state("ok").await;
    let (at_x, at_y) = (x.dynamodb(), y.dynamodb());
    for sk in 0..8 {
        put(&at_x, item(&[0, 200], sk, 1)).await;
    }
    table.converged(&at_x, &at_y, LONG).await.expect("replicated");
    link.cut();
    for sk in 4..12 {
        put(&at_x, item(&[0, 200], sk, 2)).await;
    }
    let delete = at_x.delete_item().table_name(ORDERS).set_key(Some(keyed(&[0, 200], 0)));
    delete.send().await.expect("it deletes");
    promote(&daemon).await;
    // Users of prodY: one key that was lost, and one that was not. The first differs in one member of a set only.
    let mut theirs = item(&[0, 200], 5, 1);
    theirs.insert("ss".to_owned(), Av::Ss(vec!["a".into(), "c".into()]));
    put(&at_y, theirs).await;
    put(&at_y, item(&[0, 200], 1, 9)).await;
    link.restore();
    let listed = list(&home, folder.path(), "lost.jsonl", &[]).await;
    assert_eq!(listed.ran.code, Some(0), "{}\n{}\n{}", listed.ran.out, listed.ran.err, daemon.tail(20));
    let verdict = |sk: i64| {
        let found = listed.lines.iter().find(|line| line["key"]["sk"]["N"].as_str() == Some(sk.to_string().as_str()));
        found.map_or("not listed", |line| line["verdict"].as_str().unwrap_or_default())
    };
    let verdicts: Vec<&str> = (0..12).map(verdict).collect();
    let (l, c, n) = ("lost", "conflict", "not listed");
    assert_eq!(verdicts, [l, n, n, n, l, c, l, l, l, l, l, l]);
    apply(&home, &listed.path, &["--all-without-conflict"], 0).await;
    let (in_x, in_y) = (table.contents(&at_x).await.expect("readable"), table.contents(&at_y).await.expect("readable"));
    // What differs is what prodY's users wrote.
    assert_eq!(differences(&in_x, &in_y).len(), 2, "{:?}", differences(&in_x, &in_y));
    apply(&home, &listed.path, &["--store", ORDERS, "--policy", "keep-x"], 0).await;
    let in_y = table.contents(&at_y).await.expect("readable");
    assert_eq!(differences(&in_x, &in_y).len(), 1, "{:?}", differences(&in_x, &in_y));
}

async fn apply(home: &Home, list: &Path, more: &[&str], code: i32) {
    let file = list.to_string_lossy().into_owned();
    let mut args = vec!["salvage", "--apply", &file];
    args.extend(more);
    let ran = salvage(home, Role::Approver, &args).await;
    assert_eq!(ran.code, Some(code), "{ran:?}");
}
