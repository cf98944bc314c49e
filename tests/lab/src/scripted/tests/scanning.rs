//! Scans as a seed meets them: pages, segments, writes between pages, staleness, capacity.

use super::{dynamodb, eventually, item, n, s, sdk_item, server};
use crate::scripted::tests::tables::put_request;
use crate::scripted::{
    CapacityLimit, Fault, FaultRule, Gate, Item, Key, ScriptedAws, TableSpec, Value, item_from_sdk, item_to_sdk,
    numbered_item,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

type SdkItem = HashMap<String, AttributeValue>;

/// Scans a segment of "t" to its end; the items of each page.
async fn pages(client: &Client, limit: Option<i32>, consistent: bool) -> Vec<Vec<SdkItem>> {
    let (mut pages, mut from) = (Vec::new(), None);
    loop {
        let scan = client.scan().table_name("t").consistent_read(consistent).set_limit(limit);
        let page = scan.set_exclusive_start_key(from).send().await.unwrap();
        pages.push(page.items.unwrap_or_default());
        from = page.last_evaluated_key;
        if from.is_none() {
            return pages;
        }
    }
}

fn sizes(pages: &[Vec<SdkItem>]) -> Vec<usize> {
    pages.iter().map(Vec::len).collect()
}

fn seen(pages: &[Vec<SdkItem>]) -> BTreeMap<String, String> {
    let one = |item: &SdkItem| (item["pk"].as_s().unwrap().clone(), item["v"].as_n().unwrap().clone());
    pages.iter().flatten().map(one).collect()
}

#[tokio::test]
async fn a_limit_hit_exactly_names_a_key_and_an_empty_page_follows() {
    let aws = server();
    let client = dynamodb(&aws);
    aws.load("t", (0..10).map(|i| numbered_item(i, 1, 0)));
    assert_eq!(sizes(&pages(&client, Some(5), true).await), [5, 5, 0]);
    assert_eq!(sizes(&pages(&client, Some(4), true).await), [4, 4, 2]);
    assert_eq!(sizes(&pages(&client, None, true).await), [10]);
    aws.read_quirks("t", |q| q.mark_last_page = true);
    assert_eq!(sizes(&pages(&client, None, true).await), [10, 0]);
    aws.read_quirks("t", |q| q.scan_page_items = 3);
    assert_eq!(sizes(&pages(&client, Some(7), true).await), [3, 3, 3, 1, 0]);
    assert!(aws.history("t").is_empty(), "loaded items are in no log");
}

#[tokio::test]
async fn a_page_is_a_megabyte() {
    let aws = server();
    let client = dynamodb(&aws);
    aws.load("t", (0..10).map(|i| numbered_item(i, 1, 300_000)));
    let read = pages(&client, None, true).await;
    assert_eq!(sizes(&read), [4, 4, 2]);
    assert_eq!(seen(&read).len(), 10);
}

#[tokio::test]
async fn a_key_of_another_segment_is_refused() {
    let aws = server();
    let client = dynamodb(&aws);
    aws.load("t", (0..50).map(|i| numbered_item(i, 1, 0)));
    let first = client.scan().table_name("t").limit(3).segment(0).total_segments(4).send().await.unwrap();
    let scan = |segment| client.scan().table_name("t").segment(segment).total_segments(4);
    let from = first.last_evaluated_key.unwrap();
    assert!(scan(0).set_exclusive_start_key(Some(from.clone())).send().await.is_ok());
    let wrong = scan(2).set_exclusive_start_key(Some(from)).send().await.unwrap_err();
    assert_eq!(wrong.into_service_error().meta().code(), Some("ValidationException"));
    let alone = client.scan().table_name("t").segment(0).send().await.unwrap_err();
    assert_eq!(alone.into_service_error().meta().code(), Some("ValidationException"));
    // The segments do not depend on what else is in the table.
    let of = async |segment| seen(&[scan(segment).send().await.unwrap().items.unwrap()]);
    let before = of(1).await;
    aws.load("t", (50..500).map(|i| numbered_item(i, 1, 0)));
    let after = of(1).await;
    assert!(before.keys().all(|key| after.contains_key(key)) && before.len() < after.len());
}

#[tokio::test]
async fn a_hook_writes_between_two_pages() {
    let aws = server();
    let client = dynamodb(&aws);
    aws.load("t", (0..20).map(|i| numbered_item(i, 1, 0)));
    let order: Vec<String> =
        pages(&client, None, true).await[0].iter().map(|i| i["pk"].as_s().unwrap().clone()).collect();
    let (early, late, gone) = (order[2].clone(), order[12].clone(), order[15].clone());
    let (e, l, g) = (early.clone(), late.clone(), gone.clone());
    aws.after_scan_page("t", move |page, hand| {
        if page.number == 2 {
            assert_eq!((page.segment, page.segments, page.count), (0, 1, 5));
            hand.put("t", item(&e, 2)).unwrap();
            hand.put("t", item(&l, 2)).unwrap();
            hand.delete("t", Key::of(&g)).unwrap();
        }
    });
    let read = seen(&pages(&client, Some(5), true).await);
    assert_eq!(read[&early], "1", "its page was read before");
    assert_eq!(read[&late], "2", "its page was read after");
    assert!(!read.contains_key(&gone));
    assert_eq!((read.len(), aws.history("t").len()), (19, 3));
    aws.clear_scan_hook("t");
    assert_eq!(seen(&pages(&client, Some(5), true).await)[&early], "2");
}

#[tokio::test]
async fn a_scan_is_held_at_a_page() {
    let aws = server();
    aws.load("t", (0..20).map(|i| numbered_item(i, 1, 0)));
    let (gate, rule) = aws.hold_scan("t", 2);
    let client = dynamodb(&aws);
    let scan = tokio::spawn(async move { pages(&client, Some(5), true).await });
    gate.until_arrived(1).await;
    assert_eq!((gate.waiting(), aws.calls("Scan")), (1, 3));
    (0..20).for_each(|i| aws.put("t", numbered_item(i, 2, 0)).unwrap());
    gate.let_through(1);
    gate.until_arrived(2).await;
    aws.remove_fault(rule);
    gate.open();
    let read = scan.await.unwrap();
    let versions: Vec<_> = read.iter().flatten().map(|item| item["v"].as_n().unwrap().as_str()).collect();
    assert_eq!(versions, [["1"; 10], ["2"; 10]].concat());
}

#[tokio::test]
async fn an_answer_is_held_while_its_page_grows_old() {
    let aws = server();
    aws.load("t", [numbered_item(0, 1, 0)]);
    let gate = Gate::new();
    aws.fault(FaultRule::on("Scan").segment(1).fault(Fault::Hang));
    aws.fault(
        FaultRule::on("Scan").table("t").when(|call| call.items.is_empty()).fault(Fault::HoldAnswer(gate.clone())),
    );
    let client = dynamodb(&aws);
    let scan = tokio::spawn(async move { pages(&client, None, true).await });
    gate.until_arrived(1).await;
    aws.put("t", numbered_item(0, 2, 0)).unwrap();
    gate.let_through(1);
    assert_eq!(seen(&scan.await.unwrap())["k00000000"], "1");
    let client = dynamodb(&aws);
    let given_up = tokio::spawn(async move { client.scan().table_name("t").send().await });
    gate.until_arrived(2).await;
    given_up.abort();
    eventually("the server sees that its client is gone", || gate.waiting() == 0).await;
}

#[tokio::test]
async fn eventually_consistent_reads_are_late_and_consistent_ones_are_not() {
    let aws = server();
    let client = dynamodb(&aws);
    aws.put("t", item("a", 1)).unwrap();
    aws.put("t", item("b", 1)).unwrap();
    aws.put("t", item("a", 2)).unwrap();
    aws.delete("t", Key::of("b"));
    aws.put("t", item("c", 1)).unwrap();
    aws.read_quirks("t", |q| {
        q.stale_writes = 3;
        q.stale_always = true;
    });
    let strings = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(seen(&pages(&client, Some(1), false).await), strings(&[("a", "1"), ("b", "1")]));
    assert_eq!(seen(&pages(&client, Some(1), true).await), strings(&[("a", "2"), ("c", "1")]));
    let get = async |pk: &str, consistent| {
        let got = client.get_item().table_name("t").key("pk", s(pk)).consistent_read(consistent).send().await.unwrap();
        got.item.map(|item| item["v"].clone())
    };
    assert_eq!((get("a", false).await, get("a", true).await), (Some(n("1")), Some(n("2"))));
    assert_eq!((get("b", false).await, get("b", true).await), (Some(n("1")), None));
    assert_eq!((get("c", false).await, get("c", true).await), (None, Some(n("1"))));
    let batch = async |consistent| {
        let keys = ["a", "b", "c"].map(|pk| HashMap::from([("pk".to_owned(), s(pk))]));
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys.into())).consistent_read(consistent);
        let got = client.batch_get_item().request_items("t", wanted.build().unwrap()).send().await.unwrap();
        seen(&[got.responses.unwrap().remove("t").unwrap()])
    };
    assert_eq!(batch(false).await, strings(&[("a", "1"), ("b", "1")]));
    assert_eq!(batch(true).await, strings(&[("a", "2"), ("c", "1")]));

    aws.read_quirks("t", |q| q.stale_always = false);
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(get("a", false).await.unwrap());
    }
    assert!(answers.contains(&n("1")) && answers.contains(&n("2")), "each call draws how late it is");
    aws.read_quirks("t", |q| {
        q.stale_always = true;
        q.stale_for = Some(Duration::from_secs(1));
    });
    aws.advance_clock(Duration::from_secs(1));
    assert_eq!(get("a", false).await, Some(n("2")), "in the end it is consistent");
}

#[tokio::test]
async fn calls_say_what_they_cost() {
    let aws = server();
    let client = dynamodb(&aws);
    let total = ReturnConsumedCapacity::Total;
    let big = |pk: &str, bytes: usize| {
        let mut item = sdk_item(pk, 1);
        item.insert("x".to_owned(), s(&"x".repeat(bytes)));
        item
    };
    let put = async |item| {
        let put = client.put_item().table_name("t").set_item(Some(item)).return_consumed_capacity(total.clone());
        put.send().await.unwrap().consumed_capacity.unwrap().capacity_units.unwrap()
    };
    assert_eq!((put(big("a", 9000)).await, put(big("a", 10)).await, put(big("b", 10)).await), (9.0, 9.0, 1.0));
    put(big("a", 9000)).await;
    let delete = async |pk: &str| {
        let delete = client.delete_item().table_name("t").key("pk", s(pk)).return_consumed_capacity(total.clone());
        delete.send().await.unwrap().consumed_capacity.unwrap().capacity_units.unwrap()
    };
    assert_eq!((delete("none").await, delete("b").await), (1.0, 1.0));
    let get = async |pk: &str, consistent| {
        let get = client.get_item().table_name("t").key("pk", s(pk)).consistent_read(consistent);
        let got = get.return_consumed_capacity(total.clone()).send().await.unwrap();
        got.consumed_capacity.unwrap().capacity_units.unwrap()
    };
    assert_eq!((get("a", true).await, get("a", false).await, get("none", false).await), (3.0, 1.5, 0.5));
    put(big("b", 4000)).await;
    let scan = client.scan().table_name("t").return_consumed_capacity(total.clone());
    let page = scan.clone().send().await.unwrap();
    let used = page.consumed_capacity.unwrap();
    assert_eq!((used.table_name.as_deref(), used.capacity_units), (Some("t"), Some(2.0)), "13 KB together");
    assert_eq!(scan.consistent_read(true).send().await.unwrap().consumed_capacity.unwrap().capacity_units, Some(4.0));
    let batch =
        client.batch_write_item().request_items("t", vec![put_request(big("c", 2000)), put_request(big("d", 10))]);
    let used = batch.return_consumed_capacity(total.clone()).send().await.unwrap().consumed_capacity.unwrap();
    assert_eq!(used[0].capacity_units, Some(3.0));
    let keys = ["a", "c", "none"].map(|pk| HashMap::from([("pk".to_owned(), s(pk))]));
    let wanted = KeysAndAttributes::builder().set_keys(Some(keys.into())).build().unwrap();
    let got =
        client.batch_get_item().request_items("t", wanted).return_consumed_capacity(ReturnConsumedCapacity::Indexes);
    let used = got.send().await.unwrap().consumed_capacity.unwrap();
    assert_eq!((used[0].capacity_units, used[0].table.as_ref().unwrap().capacity_units), (Some(2.5), Some(2.5)));
    assert!(client.get_item().table_name("t").key("pk", s("a")).send().await.unwrap().consumed_capacity.is_none());
    let all = aws.consumed("t");
    assert_eq!(
        (all.write, all.read),
        (9.0 + 9.0 + 1.0 + 9.0 + 2.0 + 4.0 + 3.0, 3.0 + 1.5 + 0.5 + 2.0 + 4.0 + 2.5 + 1.5)
    );
}

fn limited(aws: &ScriptedAws, read: f64, write: f64) {
    let limit = CapacityLimit { read: Some(read), write: Some(write), burst: Duration::from_secs(1) };
    aws.limit_capacity("t", Some(limit));
}

#[tokio::test]
async fn used_up_capacity_throttles_until_the_clock_moves() {
    let aws = server();
    let client = dynamodb(&aws);
    let two_units =
        |pk: &str| Item::from([("pk".to_owned(), Value::s(pk)), ("x".to_owned(), Value::s("x".repeat(2000)))]);
    aws.load("t", (0..10).map(|i| numbered_item(i, 1, 40_000)));
    // Slow, so that the real time that the test takes gives back nothing to speak of.
    limited(&aws, 0.01, 0.03);
    let scan = || client.scan().table_name("t").consistent_read(true).limit(4).send();
    scan().await.unwrap();
    let refused = scan().await.unwrap_err().into_service_error();
    assert!(refused.is_provisioned_throughput_exceeded_exception());
    let get = client.get_item().table_name("t").key("pk", s("k00000000")).send().await.unwrap_err();
    assert!(get.into_service_error().is_provisioned_throughput_exceeded_exception());
    let wanted = || {
        let keys = (0..3).map(|i| HashMap::from([("pk".to_owned(), s(&format!("k{i:08}")))])).collect();
        KeysAndAttributes::builder().set_keys(Some(keys)).build().unwrap()
    };
    let none = client.batch_get_item().request_items("t", wanted()).send().await.unwrap_err();
    assert!(none.into_service_error().is_provisioned_throughput_exceeded_exception(), "none of the keys");
    aws.advance_clock(Duration::from_secs(100_000));
    let some = client.batch_get_item().request_items("t", wanted()).send().await.unwrap();
    assert_eq!(some.responses.unwrap()["t"].len(), 1);
    assert_eq!(some.unprocessed_keys.unwrap()["t"].keys().len(), 2);

    let batch = client
        .batch_write_item()
        .request_items("t", ["a", "b", "c"].map(|k| put_request(item_to_sdk(&two_units(k)))).into());
    let some = batch.clone().send().await.unwrap();
    assert_eq!(some.unprocessed_items.unwrap()["t"].len(), 2);
    assert_eq!(aws.history("t").len(), 1);
    assert!(batch.send().await.unwrap_err().into_service_error().is_provisioned_throughput_exceeded_exception());
    let put = client.put_item().table_name("t").set_item(Some(sdk_item("d", 1)));
    assert!(put.clone().send().await.unwrap_err().into_service_error().is_provisioned_throughput_exceeded_exception());
    let delete = client.delete_item().table_name("t").key("pk", s("a"));
    assert!(delete.send().await.unwrap_err().into_service_error().is_provisioned_throughput_exceeded_exception());
    assert_eq!(aws.history("t").len(), 1, "a throttled write is none");
    let used = aws.consumed("t");
    assert_eq!((used.throttled_reads, used.throttled_writes), (2 + 3 + 2, 2 + 3 + 2));
    aws.limit_capacity("t", None);
    put.send().await.unwrap();
}

#[tokio::test]
async fn a_projection_reads_the_keys_alone() {
    let aws = server();
    aws.create_table(TableSpec::new("u", "name").range("size", crate::scripted::KeyKind::N));
    let whole = Item::from([
        ("name".to_owned(), Value::s("a")),
        ("size".to_owned(), Value::n("1.50")),
        ("rest".to_owned(), Value::L(vec![Value::Null])),
    ]);
    aws.load("u", [whole]);
    let scan = dynamodb(&aws).scan().table_name("u").projection_expression("#n, #s");
    let scan = scan.expression_attribute_names("#n", "name").expression_attribute_names("#s", "size");
    let page = scan.send().await.unwrap();
    let keys = item_from_sdk(&page.items()[0]).unwrap();
    assert_eq!(
        keys.into_iter().collect::<Vec<_>>(),
        [("name".to_owned(), Value::s("a")), ("size".to_owned(), Value::n("1.5"))]
    );
}
