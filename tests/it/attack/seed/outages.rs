//! A seed while prodX or prodY fails, goes away, or becomes another table.

use std::time::Duration;

use plimsoll_lab::scripted::{Door, Fault, FaultRule, KeyKind, TableSpec, Value, ViewType};
use serde_json::json;

use super::super::fixture::{Ask as _, Load, ORDERS, Pair, field, item, note, plain, streamed, until};
use super::super::truth::Watch;
use super::{arrives, ends_well, hurry, pair_with, slow_scans, with_past, zombies};

/// prodX is cut, and later frozen, for some seconds in the middle of a seed.
#[tokio::test]
async fn bs_prod_x_goes_away_and_freezes_during_a_seed() {
    let pair = pair_with(streamed().shards(2), 51, "seed_segments = 2");
    with_past(&pair, 1_500);
    slow_scans(&pair, 25, Duration::from_millis(60));
    let load = Load::start(&pair.x, 2_000, 100, 51);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    for door in [Door::Cut, Door::Blackhole] {
        let have = pair.y.item_count(ORDERS);
        until("it goes on", || pair.y.item_count(ORDERS) > have + 60).await;
        pair.x.set_door(door);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let status = daemon.now().await;
        assert_eq!((status.state(ORDERS), status.watermark(ORDERS)), ("seeding", None), "{status}");
        assert!(note(&status).contains("prodX"), "{}", note(&status));
        pair.x.set_door(Door::Open);
    }
    hurry(&pair);
    load.stop().await;
    ends_well(&pair, &mut daemon, watch).await;
}

/// Every call of both sides fails now and then.
#[tokio::test]
async fn bs_a_seed_through_faults_of_both_sides() {
    let pair = pair_with(streamed().shards(2), 52, "seed_segments = 4");
    with_past(&pair, 2_000);
    zombies(&pair, 200);
    pair.x.read_quirks(ORDERS, |quirks| quirks.scan_page_items = 40);
    pair.x.fault(FaultRule::on("*").probability(0.05).fault(Fault::Throttle));
    pair.x.fault(FaultRule::on("*").probability(0.05).fault(Fault::LoseAnswer));
    pair.x.fault(FaultRule::on("BatchGetItem").probability(0.3).fault(Fault::Unprocessed { keep: 1 }));
    pair.y.fault(FaultRule::on("BatchWriteItem").probability(0.1).fault(Fault::Unprocessed { keep: 3 }));
    pair.y.fault(FaultRule::on("*").probability(0.05).fault(Fault::InternalError));
    pair.y.fault(FaultRule::on("*").probability(0.02).fault(Fault::LoseAnswer));
    let load = Load::start(&pair.x, 2_500, 100, 52);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    daemon.state("ok").await;
    load.stop().await;
    pair.x.clear_faults();
    pair.y.clear_faults();
    ends_well(&pair, &mut daemon, watch).await;
}

/// An image that the standby refuses is parked; nothing is promised before the key is good.
#[tokio::test]
async fn ap6_a_poison_item_in_the_scan_keeps_the_seed_from_its_end() {
    let standby = plain().index("by_group", "group", KeyKind::N);
    let pair = Pair::with(streamed(), standby, 53, |_| {});
    let mut poison = item("poison", 1);
    poison.insert("group".into(), Value::s("seven"));
    pair.x.put(ORDERS, poison.clone()).expect("good in the source");
    with_past(&pair, 200);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    let parked = daemon.reach(|status| field(status, "failed_items").as_u64() == Some(1)).await;
    assert!(note(&parked).contains("Index Key group"), "{}", note(&parked));
    until("the others are copied", || pair.y.item_count(ORDERS) == 200).await;
    daemon.kill9();
    let mut daemon = pair.start().await;
    daemon.reach(|status| field(status, "failed_items").as_u64() == Some(1)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let held = daemon.now().await;
    assert_eq!((held.state(ORDERS), held.watermark(ORDERS)), ("seeding", None), "{held}");
    assert!(note(&held).contains("refuse"), "{}", note(&held));
    poison.insert("group".into(), Value::n(7));
    pair.x.put(ORDERS, poison).expect("good");
    daemon.reach(|status| field(status, "failed_items").as_u64() == Some(0)).await;
    ends_well(&pair, &mut daemon, watch).await;
}

/// The source is deleted in the middle of the seed, and made anew with other items: the standby becomes its copy.
#[tokio::test]
async fn ds1_the_source_is_deleted_during_a_seed_and_made_anew() {
    let pair = pair_with(streamed(), 54, "seed_segments = 1\nreseed_every = \"1s\"");
    with_past(&pair, 300);
    pair.x.read_quirks(ORDERS, |quirks| quirks.scan_page_items = 50);
    let (gate, held) = pair.x.hold_scan(ORDERS, 3);
    let mut daemon = pair.start().await;
    arrives(&gate).await;
    pair.x.delete_table(ORDERS);
    pair.x.remove_fault(held);
    gate.open();
    let gone = daemon.reach(|status| note(status).contains("prodX")).await;
    assert_eq!(gone.watermark(ORDERS), None, "{gone}");
    assert_eq!(daemon.client().get("/healthz").await.expect("it answers").0, 200);
    pair.x.create_table(streamed());
    pair.put("other", 1);
    pair.put("k3", 9);
    daemon.reach(|status| status.state(ORDERS) == "ok").await;
    pair.converge(&daemon).await;
    assert_eq!(pair.y.item_count(ORDERS), 2, "nothing of the former table is left");
}

/// The same with another key: two items must not become one because the old key's name is looked for in them.
#[tokio::test]
async fn ds1_a_table_that_was_made_anew_with_another_key() {
    let pair = pair_with(streamed(), 55, "reseed_every = \"1s\"");
    with_past(&pair, 30);
    let mut daemon = pair.start_ok().await;
    pair.converge(&daemon).await;
    let other = || TableSpec::new(ORDERS, "id");
    pair.y.recreate_table_as(other());
    pair.x.recreate_table_as(other().stream(ViewType::NewAndOldImages));
    let put = |id: &str, v: u64| {
        let item = [("id".to_owned(), Value::s(id)), ("v".to_owned(), Value::n(v))].into();
        pair.x.put(ORDERS, item).expect("a good item");
    };
    (0..40).for_each(|n| put(&format!("id{n}"), n));
    super::forget(&pair);
    let arn = pair.x.stream_arn(ORDERS);
    daemon.reach(|status| status.state(ORDERS) != "ok").await;
    daemon.state("ok").await;
    put("after", 1);
    pair.converge(&daemon).await;
    assert_eq!(pair.y.item_count(ORDERS), 41, "{arn}");
}

/// A promotion in the middle of a seed: refused, unless the store is accepted by name; then the flow is cut for good.
#[tokio::test]
async fn fo_a_promotion_during_a_seed_needs_the_store_accepted_by_name() {
    let pair = pair_with(streamed(), 56, "seed_segments = 1");
    with_past(&pair, 300);
    pair.x.read_quirks(ORDERS, |quirks| quirks.scan_page_items = 50);
    let (gate, held) = pair.x.hold_scan(ORDERS, 3);
    let mut daemon = pair.start().await;
    arrives(&gate).await;
    let request = json!({"mode": "failover", "reason": "a test"});
    let (code, refusal) = daemon.client().promote(&request, "a").await.expect("an answer");
    assert!(code >= 400 && refusal.to_string().contains(ORDERS), "{code}: {refusal}");
    let request = json!({"mode": "failover", "reason": "a test", "accept_unknown": [ORDERS]});
    let (code, started) = daemon.client().promote(&request, "b").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let id = started["id"].as_str().expect("an id").to_owned();
    pair.x.remove_fault(held);
    gate.open();
    let report = daemon.client().wait_promotion(&id, super::LONG).await.expect("it ends");
    assert_eq!(report["state"], "completed", "{report}");
    let fenced = daemon.state("fenced").await;
    assert_eq!(fenced.watermark(ORDERS), None, "what was never whole has no watermark: {fenced}");
    let have = pair.y.arrivals(ORDERS).len();
    daemon.kill9();
    let mut daemon = pair.start().await;
    daemon.state("fenced").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(pair.y.arrivals(ORDERS).len(), have, "I8: nothing flows after the fence");
    let (code, body) = daemon.client().post("/v1/stores/orders/reseed", String::new(), &[]).await.expect("an answer");
    assert!(code >= 400 && body.contains("cut"), "{code}: {body}");
}
