//! A whole promotion of a table on the real daemon: prodX is dead, and the standby table gets what it needs.

use aws_sdk_dynamodb::types::{AttributeValue, StreamViewType, TimeToLiveSpecification, TimeToLiveStatus};
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, StoreSpec, binary};
use plimsoll_lab::regions::{Region, RegionSpec};
use plimsoll_lab::tables::{KeyKind, TableSpec};
use serde_json::json;

use crate::attack::fixture::{Ask as _, LONG, ORDERS, RHYTHM, came_true, field};

#[tokio::test]
async fn ap8_a_promoted_table_has_stream_protection_and_the_ttl_that_its_source_had() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut x = Region::start(RegionSpec::primary(folder.path())).await.expect("`make setup` installs it");
    let y = Region::start(RegionSpec::standby(folder.path())).await.expect("`make setup` installs it");
    let table = TableSpec::new(ORDERS, ("pk", KeyKind::Text));
    table.create(&x.dynamodb(), true).await.expect("a table");
    table.create(&y.dynamodb(), false).await.expect("a table");
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("ends").build().expect("complete");
    let update = x.dynamodb().update_time_to_live().table_name(ORDERS).time_to_live_specification(ttl);
    update.send().await.expect("TTL");
    let store = StoreSpec { more: RHYTHM.into(), ..StoreSpec::table(ORDERS) };
    let spec = ConfigSpec::new(x.endpoint(), y.endpoint(), vec![store]);
    let home = Home::prepare(&folder.path().join("daemon"), &spec).expect("a folder");
    let mut daemon = Daemon::spawn(&binary().expect("built"), &home).expect("it starts");
    daemon.wait_ready(LONG).await.expect("it answers");
    daemon.state("ok").await;
    let item = x.dynamodb().put_item().table_name(ORDERS).item("pk", AttributeValue::S("k".into()));
    item.send().await.expect("it takes items");

    // Recorded while prodX lives; the plan says so.
    let planned = || async {
        let plan = daemon.client().json("/v1/plan").await.unwrap_or_default();
        plan["steps"].to_string().contains("Enabled=true,AttributeName=ends")
    };
    assert!(came_true(LONG, planned).await, "{}", daemon.tail(10));
    let plan = daemon.client().json("/v1/plan").await.expect("an answer");
    let steps: Vec<&str> = plan["steps"].as_array().expect("steps").iter().filter_map(|s| s["id"].as_str()).collect();
    let wanted = ["catch-up", "fence", "orders.answers", "orders.ttl", "orders.stream", "orders.deletion-protection"];
    assert_eq!(steps, wanted, "{plan}");
    // Durable: the process that promotes is another one.
    daemon.kill9();
    x.kill();
    let mut daemon = Daemon::spawn(&binary().expect("built"), &home).expect("it starts");
    daemon.wait_ready(LONG).await.expect("it answers");
    let request = json!({"mode": "failover", "reason": "a test", "accept_loss": {ORDERS: "1h"}});
    let (code, started) = daemon.client().promote(&request, "k").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let id = started["id"].as_str().expect("an id").to_owned();
    let report = daemon.client().wait_promotion(&id, LONG).await.expect("it ends");
    assert_eq!(report["state"], "completed", "{report}");

    let of_y = y.dynamodb();
    let described = of_y.describe_table().table_name(ORDERS).send().await.expect("an answer").table.expect("a table");
    let stream = described.stream_specification().expect("a stream");
    assert!(stream.stream_enabled() && stream.stream_view_type() == Some(&StreamViewType::NewAndOldImages));
    assert_eq!(described.deletion_protection_enabled(), Some(true));
    let ttl = of_y.describe_time_to_live().table_name(ORDERS).send().await.expect("an answer");
    let ttl = ttl.time_to_live_description.expect("a description");
    let seen = (ttl.time_to_live_status(), ttl.attribute_name());
    assert_eq!(seen, (Some(&TimeToLiveStatus::Enabled), Some("ends")));

    // Behind the fence the two ends are meant to differ.
    let status = daemon.reach(|status| status.value["phase"] == "promoted").await;
    assert_eq!(field(&status, "drift"), &json!([]), "{status}");
    let text = daemon.client().metrics().await.expect("an answer");
    assert!(!text.contains("readiness_check_status{check=\"ttl\""), "{text}");
}

/// SG-6 and the other way round: what is best effort is noted, and a table that is gone holds.
#[tokio::test]
async fn a_refused_change_is_noted_and_a_table_that_is_gone_holds() {
    use plimsoll_lab::scripted::{Fault, FaultRule};

    use crate::attack::fixture::Pair;
    let pair = Pair::new();
    let daemon = pair.start_ok().await;
    pair.y.fault(FaultRule::on("UpdateTable").fault(Fault::AccessDenied));
    let request = json!({"mode": "failover", "reason": "a test"});
    let (code, started) = daemon.client().promote(&request, "k").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let id = started["id"].as_str().expect("an id").to_owned();
    let report = daemon.client().wait_promotion(&id, LONG).await.expect("it ends");
    assert_eq!(report["state"], "completed", "{report}");
    let told = report.to_string();
    assert!(told.contains("UpdateTable: AccessDeniedException"), "{told}");

    let pair = Pair::new();
    let daemon = pair.start_ok().await;
    pair.y.delete_table(ORDERS);
    let (code, started) = daemon.client().promote(&request, "k").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let id = started["id"].as_str().expect("an id").to_owned();
    let report = daemon.client().wait_promotion(&id, LONG).await.expect("it ends");
    assert_eq!(report["state"], "held", "{report}");
    let why = report["trouble"].as_str().unwrap_or_default();
    assert!(why.contains("orders.answers") && why.contains("there is no table orders in us-west-2"), "{report}");
}
