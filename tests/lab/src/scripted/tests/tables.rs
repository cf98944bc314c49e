//! Tables and items: every operation there and back.

use super::{dynamodb, item, n, s, sdk_item, server, streams};
use crate::scripted::{Door, Key, KeyKind, TableSpec, Value, ViewType, item_from_sdk, item_to_sdk};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, DeleteRequest, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    KeysAndAttributes, Projection, ProjectionType, PutRequest, ReturnValue, ScalarAttributeType, Select,
    StreamSpecification, StreamViewType, TimeToLiveSpecification, TimeToLiveStatus, WriteRequest,
};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

fn key_element(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
}

fn attribute(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
}

pub(super) fn put_request(item: HashMap<String, AttributeValue>) -> WriteRequest {
    WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item)).build().unwrap()).build()
}

fn delete_request(pk: &str) -> WriteRequest {
    WriteRequest::builder().delete_request(DeleteRequest::builder().key("pk", s(pk)).build().unwrap()).build()
}

#[tokio::test]
async fn a_table_is_made_described_listed_and_deleted() {
    let aws = server();
    let client = dynamodb(&aws);
    let index = GlobalSecondaryIndex::builder()
        .index_name("by-g")
        .key_schema(key_element("g", KeyType::Hash))
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()
        .unwrap();
    let made = client
        .create_table()
        .table_name("orders")
        .key_schema(key_element("a", KeyType::Hash))
        .key_schema(key_element("b", KeyType::Range))
        .attribute_definitions(attribute("a", ScalarAttributeType::B))
        .attribute_definitions(attribute("b", ScalarAttributeType::N))
        .attribute_definitions(attribute("g", ScalarAttributeType::S))
        .global_secondary_indexes(index)
        .billing_mode(BillingMode::PayPerRequest)
        .stream_specification(
            StreamSpecification::builder()
                .stream_enabled(true)
                .stream_view_type(StreamViewType::NewImage)
                .build()
                .unwrap(),
        )
        .send()
        .await
        .unwrap()
        .table_description
        .unwrap();
    let table = client.describe_table().table_name("orders").send().await.unwrap().table.unwrap();
    assert_eq!(table.table_id, made.table_id);
    assert_eq!(table.key_schema().len(), 2);
    assert_eq!(table.attribute_definitions().len(), 3);
    assert_eq!(table.global_secondary_indexes()[0].index_name(), Some("by-g"));
    assert_eq!(table.latest_stream_arn.as_deref(), Some(aws.stream_arn("orders").as_str()));
    let listed = client.list_tables().limit(1).send().await.unwrap();
    assert_eq!(listed.table_names(), ["orders"]);
    let rest = client.list_tables().set_exclusive_start_table_name(listed.last_evaluated_table_name).send().await;
    assert_eq!(rest.unwrap().table_names(), ["t"]);
    let again = client.describe_continuous_backups().table_name("orders").send().await;
    assert!(again.unwrap().continuous_backups_description.is_some());

    let (arn, id) = (aws.stream_arn("orders"), made.table_id);
    aws.recreate_table("orders");
    let table = client.describe_table().table_name("orders").send().await.unwrap().table.unwrap();
    assert!(table.table_id != id && table.latest_stream_arn.as_ref() != Some(&arn), "DS-1: another incarnation");
    assert!(streams(&aws).describe_stream().stream_arn(arn).send().await.is_ok(), "the old stream stays readable");

    client.delete_table().table_name("orders").send().await.unwrap();
    let gone = client.describe_table().table_name("orders").send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
    let missing = client.query().table_name("t").send().await.unwrap_err();
    assert_eq!(missing.into_service_error().meta().code(), Some("ValidationException"));
}

#[tokio::test]
async fn every_attribute_type_survives() {
    let aws = server();
    let client = dynamodb(&aws);
    let bytes = |b: &[u8]| Blob::new(b.to_vec());
    let all = HashMap::from([
        ("pk".to_owned(), s("\u{1F6A2} \"quoted\" \n")),
        ("empty".to_owned(), s("")),
        ("n".to_owned(), n("-12345678901234567890.123456789012345678")),
        ("b".to_owned(), AttributeValue::B(bytes(&[0, 255, 1]))),
        ("empty_b".to_owned(), AttributeValue::B(bytes(&[]))),
        ("yes".to_owned(), AttributeValue::Bool(true)),
        ("nil".to_owned(), AttributeValue::Null(true)),
        ("ss".to_owned(), AttributeValue::Ss(vec!["a".into(), "b".into()])),
        ("ns".to_owned(), AttributeValue::Ns(vec!["1".into(), "2.5".into()])),
        ("bs".to_owned(), AttributeValue::Bs(vec![bytes(&[1]), bytes(&[2])])),
        ("l".to_owned(), AttributeValue::L(vec![s("x"), AttributeValue::L(vec![]), n("0")])),
        ("m".to_owned(), AttributeValue::M(HashMap::from([("k".to_owned(), AttributeValue::M(HashMap::new()))]))),
    ]);
    client.put_item().table_name("t").set_item(Some(all.clone())).send().await.unwrap();
    let got = client.get_item().table_name("t").key("pk", all["pk"].clone()).send().await.unwrap();
    assert_eq!(got.item.as_ref(), Some(&all));
    let held = aws.snapshot("t").into_values().next().unwrap();
    assert_eq!(item_from_sdk(&all).as_ref(), Ok(&*held));
    assert_eq!(item_to_sdk(&held), all);

    // A put of the same item in other words changes nothing and writes no record (DS-F2).
    let mut same = all.clone();
    same.insert("n".to_owned(), n("-12345678901234567890.1234567890123456780"));
    same.insert("ss".to_owned(), AttributeValue::Ss(vec!["b".into(), "a".into()]));
    same.insert("ns".to_owned(), AttributeValue::Ns(vec!["25E-1".into(), "1.0".into()]));
    client.put_item().table_name("t").set_item(Some(same)).send().await.unwrap();
    assert_eq!((aws.history("t").len(), aws.arrivals("t").len()), (1, 2));

    let old = client
        .delete_item()
        .table_name("t")
        .key("pk", all["pk"].clone())
        .return_values(ReturnValue::AllOld)
        .send()
        .await
        .unwrap();
    assert_eq!(old.attributes, Some(all));
    assert_eq!(aws.item_count("t"), 0);
}

#[tokio::test]
async fn an_update_sets_and_removes_attributes() {
    let aws = server();
    let client = dynamodb(&aws);
    let update = |expression: &str| {
        let call = client.update_item().table_name("t").key("pk", s("a")).update_expression(expression);
        call.expression_attribute_values(":v", n("1.0"))
    };
    update("SET v = :v, #w=:v").expression_attribute_names("#w", "set").send().await.unwrap();
    update("set v = :v").send().await.unwrap();
    update("SET x = :v REMOVE #w, gone").expression_attribute_names("#w", "set").send().await.unwrap();
    assert_eq!(aws.history("t").len(), 2, "an update that changes nothing is no change (DS-F2)");
    let got = client.get_item().table_name("t").key("pk", s("a")).send().await.unwrap().item.unwrap();
    assert_eq!(got, HashMap::from([("pk".to_owned(), s("a")), ("v".to_owned(), n("1")), ("x".to_owned(), n("1"))]));
    for bad in ["SET v = v + :v", "ADD v :v", "SET pk = :v", "SET m.x = :v", "v = :v", "SET v"] {
        let refused = update(bad).send().await.unwrap_err().into_service_error();
        assert_eq!(refused.meta().code(), Some("ValidationException"), "{bad}");
    }
    assert_eq!(aws.arrivals("t").len(), 3);
}

#[tokio::test]
async fn equal_numbers_and_binaries_are_one_key() {
    let aws = server();
    aws.create_table(TableSpec::new("n", "pk").hash_kind(KeyKind::N).range("sk", KeyKind::B));
    let client = dynamodb(&aws);
    for (pk, v) in [("1", "a"), ("1.00", "b"), ("10E-1", "c")] {
        let put = client.put_item().table_name("n").item("pk", n(pk)).item("v", s(v));
        put.item("sk", AttributeValue::B(Blob::new(vec![7]))).send().await.unwrap();
    }
    let sk = || AttributeValue::B(Blob::new(vec![7]));
    let got = client.get_item().table_name("n").key("pk", n("0.1e1")).key("sk", sk()).send().await.unwrap();
    assert_eq!(got.item.unwrap()["v"], s("c"));
    assert_eq!(aws.item_count("n"), 1);
    for bad in [
        client.put_item().table_name("n").item("pk", s("1")).item("sk", sk()),
        client.put_item().table_name("n").item("pk", n("1")),
        client.put_item().table_name("n").item("pk", n("x")).item("sk", sk()),
        client.put_item().table_name("n").item("pk", n("1")).item("sk", AttributeValue::B(Blob::new(vec![]))),
        client.put_item().table_name("t").item("pk", s("big")).item("v", s(&"x".repeat(400 * 1024))),
    ] {
        let error = bad.send().await.unwrap_err().into_service_error();
        assert_eq!(error.meta().code(), Some("ValidationException"));
    }
    let wrong = client.get_item().table_name("n").key("pk", n("1")).send().await.unwrap_err();
    assert_eq!(wrong.into_service_error().meta().code(), Some("ValidationException"));
}

#[tokio::test]
async fn batches_write_and_read_and_are_refused_whole() {
    let aws = server();
    let client = dynamodb(&aws);
    let batch = |requests: Vec<WriteRequest>| client.batch_write_item().request_items("t", requests).send();
    let fill: Vec<_> = (0..25).map(|i| put_request(sdk_item(&format!("k{i}"), i))).collect();
    let done = batch(fill.clone()).await.unwrap();
    assert!(done.unprocessed_items.unwrap().is_empty());
    batch(vec![delete_request("k0"), put_request(sdk_item("k1", 100)), delete_request("none")]).await.unwrap();
    assert_eq!((aws.item_count("t"), aws.items_put(), aws.items_deleted()), (24, 26, 2));

    let before = aws.snapshot("t");
    let mut long = fill;
    long.push(put_request(sdk_item("k25", 25)));
    let twice = vec![put_request(sdk_item("a", 1)), put_request(sdk_item("b", 1)), delete_request("a")];
    let poison = vec![put_request(sdk_item("a", 1)), put_request(HashMap::from([("pk".to_owned(), n("1"))]))];
    for bad in [long, twice, poison, vec![]] {
        let error = batch(bad).await.unwrap_err().into_service_error();
        assert_eq!(error.meta().code(), Some("ValidationException"));
    }
    assert_eq!(aws.snapshot("t"), before, "a refused batch writes nothing");

    let mut wanted = KeysAndAttributes::builder();
    for pk in ["k1", "k2", "none"] {
        wanted = wanted.keys(HashMap::from([("pk".to_owned(), s(pk))]));
    }
    let got = client.batch_get_item().request_items("t", wanted.build().unwrap()).send().await.unwrap();
    let items = &got.responses.unwrap()["t"];
    assert_eq!(
        items.iter().map(|item| item["v"].as_n().unwrap().as_str()).collect::<BTreeSet<_>>(),
        ["100", "2"].into()
    );
    assert!(got.unprocessed_keys.unwrap().is_empty());
}

#[tokio::test]
async fn a_scan_sees_every_item_once_however_it_is_cut() {
    let aws = server();
    let client = dynamodb(&aws);
    for i in 0..500 {
        aws.put("t", item(&format!("k{i}"), i)).unwrap();
    }
    for segments in [1, 4] {
        let mut seen = Vec::new();
        for segment in 0..segments {
            let mut from = None;
            loop {
                let scan = client.scan().table_name("t").limit(37).consistent_read(true);
                let scan = if segments > 1 { scan.segment(segment).total_segments(segments) } else { scan };
                let page = scan.set_exclusive_start_key(from).send().await.unwrap();
                seen.extend(page.items().iter().map(|item| item["pk"].as_s().unwrap().clone()));
                from = page.last_evaluated_key;
                if from.is_none() {
                    break;
                }
            }
        }
        assert_eq!(seen.len(), 500, "{segments} segments");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 500);
    }
    let count = client.scan().table_name("t").select(Select::Count).send().await.unwrap();
    assert_eq!((count.count, count.items().len()), (500, 0));
    let keys = client.scan().table_name("t").projection_expression("#k").expression_attribute_names("#k", "pk").send();
    assert!(keys.await.unwrap().items().iter().all(|item| item.len() == 1 && item.contains_key("pk")));
    for i in 0..30 {
        let big = [("pk".to_owned(), Value::s(format!("big{i}"))), ("x".to_owned(), Value::s("x".repeat(100_000)))];
        aws.put("t", big.into()).unwrap();
    }
    let mut pages = 0;
    let mut from = None;
    loop {
        let page = client.scan().table_name("t").set_exclusive_start_key(from).send().await.unwrap();
        pages += 1;
        from = page.last_evaluated_key;
        if from.is_none() {
            break;
        }
    }
    assert!(pages >= 3, "3 MB is read 1 MB at a time, not in {pages} pages");
}

#[tokio::test]
async fn ttl_is_described_and_switched() {
    let aws = server();
    let client = dynamodb(&aws);
    let status = || async {
        let answer = client.describe_time_to_live().table_name("t").send().await.unwrap();
        answer.time_to_live_description.unwrap().time_to_live_status.unwrap()
    };
    assert_eq!(status().await, TimeToLiveStatus::Disabled);
    let on = TimeToLiveSpecification::builder().enabled(true).attribute_name("e").build().unwrap();
    let update = || client.update_time_to_live().table_name("t").time_to_live_specification(on.clone()).send();
    update().await.unwrap();
    assert_eq!(status().await, TimeToLiveStatus::Enabled);
    let twice = update().await.unwrap_err().into_service_error();
    assert_eq!(twice.meta().code(), Some("ValidationException"));
}

#[tokio::test]
async fn an_index_key_of_the_wrong_type_is_poison() {
    // AP-6: the standby refuses what the source took.
    let aws = server();
    aws.create_table(TableSpec::new("y", "pk").index("by-v", "v", KeyKind::S));
    let client = dynamodb(&aws);
    let refused = client.put_item().table_name("y").set_item(Some(sdk_item("a", 1))).send().await.unwrap_err();
    let refused = refused.into_service_error();
    assert_eq!(refused.meta().code(), Some("ValidationException"));
    assert!(refused.meta().message().unwrap().contains("Type mismatch for Index Key v Expected: S Actual: N"));
    let without = client.put_item().table_name("y").item("pk", s("a")).send().await;
    assert!(without.is_ok(), "an item without the index key is taken: the index is sparse");
}

#[tokio::test]
async fn the_door_cuts_hangs_and_opens_again() {
    let aws = server();
    let client = dynamodb(&aws);
    let get = || client.get_item().table_name("t").key("pk", s("a")).send();
    get().await.unwrap();
    aws.set_door(Door::Cut);
    assert!(get().await.is_err(), "an existing connection is dropped");
    assert!(get().await.is_err(), "a new one is reset");
    aws.set_door(Door::Blackhole);
    assert!(tokio::time::timeout(Duration::from_millis(50), get()).await.is_err());
    aws.set_door(Door::Open);
    get().await.unwrap();
    assert_eq!(aws.calls("GetItem"), 2);
}

#[test]
fn snapshots_compare_tables() {
    let aws = server();
    aws.create_table(TableSpec::new("y", "pk").stream(ViewType::KeysOnly));
    aws.put("t", item("a", 1)).unwrap();
    aws.put("y", [("pk".to_owned(), Value::s("a")), ("v".to_owned(), Value::n("1.0"))].into()).unwrap();
    assert_eq!(aws.snapshot("t"), aws.snapshot("y"));
    aws.delete("y", Key::of("a"));
    assert_ne!(aws.snapshot("t"), aws.snapshot("y"));
    assert_eq!(aws.values_of("y", &Key::of("a")).len(), 2);
    assert_eq!(aws.values_by_key("y").len(), 1);
}

#[test]
fn a_log_can_be_stopped_and_the_stream_goes_on() {
    let aws = server();
    aws.put("t", item("a", 1)).unwrap();
    aws.keep_log("t", false);
    aws.put("t", item("a", 2)).unwrap();
    aws.keep_log("t", true);
    aws.put("t", item("a", 3)).unwrap();
    let arrivals: Vec<_> = aws.arrivals("t").iter().map(|change| change.arrival).collect();
    assert_eq!(arrivals, [0, 2], "a gap in the log shows");
    assert_eq!(aws.shards("t")[0].records, 3);
    aws.clear_log("t");
    assert_eq!((aws.arrivals("t").len(), aws.item_count("t")), (0, 1));
}
