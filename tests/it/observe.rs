//! The daemon beside a global table: the number is proved by a canary and by a metric, and by nothing else.

mod fixture;

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use fixture::{CANARY, Lab, METRIC, X, Y};
use plimsoll_lab::daemon::{Status, StoreSpec};
use plimsoll_lab::proxy::ProxyFault;
use plimsoll_lab::scripted::FaultRule;
use plimsoll_lab::tables::{KeyKind, TableSpec};
use serde_json::json;

use crate::attack::fixture::{Ask as _, LONG, ORDERS, PATIENCE, bound, came_true, field, note, of_store};

const S: fn(u64) -> Duration = Duration::from_secs;

fn watermark(status: &Status) -> SystemTime {
    status.watermark(ORDERS).unwrap_or_else(|| panic!("a watermark: {status}"))
}

/// While nothing is proved: no number, and a bound that grows by what passed.
async fn the_bound_grows(lab: &Lab) {
    let first = lab.daemon.now().await;
    tokio::time::sleep(S(1)).await;
    let second = lab.daemon.now().await;
    assert_eq!(watermark(&first), watermark(&second), "nothing moves it: {second}");
    let grown = bound(&second).expect("a bound") - bound(&first).expect("a bound");
    let passed = second.asked_at.duration_since(first.asked_at).unwrap_or_default().as_secs_f64();
    assert!(grown > 0.5 && grown < passed + 2.0, "{grown} in {passed} s");
    assert!(field(&second, "rpo_seconds").is_null(), "{second}");
}

#[tokio::test]
async fn ob3_a_healthy_global_table_is_ok_sampled_and_truthful() {
    let mut lab = Lab::start(CANARY).await;
    let status = lab.daemon.state("ok").await;
    assert_eq!((field(&status, "method"), field(&status, "mode")), (&json!("sampled"), &json!("observe")), "{status}");
    for part in ["global table 2019.11.21 (MREC", "us-east-1 ACTIVE", "us-west-2 ACTIVE"] {
        assert!(note(&status).contains(part), "{part}: {}", note(&status));
    }
    // What was committed before a published watermark is in prodY.
    let put = lab.client(X).put_item().table_name(ORDERS).item("pk", AttributeValue::S("a".into()));
    put.send().await.expect("it takes items");
    let committed = SystemTime::now();
    let status = lab.daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > committed)).await;
    assert!(field(&status, "rpo_seconds").as_f64().is_some_and(|rpo| rpo < 10.0), "{status}");
    let get = lab.client(Y).get_item().table_name(ORDERS).key("pk", AttributeValue::S("a".into()));
    assert!(get.consistent_read(true).send().await.expect("an answer").item.is_some());
    let seen = lab.daemon.metric(&of_store("canary_roundtrip_seconds_count")).await;
    assert!(seen.is_some_and(|seen| seen >= 2.0), "{seen:?}");
    // DS-F2: in place, and another value each time.
    let before = lab.canary(Y).await.expect("a canary");
    assert!(came_true(LONG, || async { lab.canary(Y).await.is_some_and(|now| now.1 > before.1) }).await);
    let scan = lab.client(Y).scan().table_name(ORDERS).send().await.expect("an answer");
    assert_eq!(scan.count(), 1 + 3, "three canaries, however long it runs");
}

#[tokio::test]
async fn rp3_replication_stands_still_and_goes_on() {
    let mut lab = Lab::start(CANARY).await;
    lab.daemon.state("ok").await;
    let (held, stood) = (lab.hold_replication(), SystemTime::now());
    // A metric that goes on telling good news does not outvote what is missing.
    lab.datapoint(X, 0, "20").await;
    let status = lab.daemon.state("unknown").await;
    let took = status.asked_at.duration_since(stood).unwrap_or_default();
    assert!(took < PATIENCE + S(5), "it took {took:?}");
    assert!(watermark(&status) <= stood, "{status}");
    lab.daemon.reach(|status| note(status).contains("has not arrived in prodY")).await;
    the_bound_grows(&lab).await;
    lab.x.remove_fault(held);
    lab.daemon.state("ok").await;
    lab.daemon.reach(|status| !note(status).contains("has not arrived")).await;
}

#[tokio::test]
async fn i11_prod_x_hangs_and_the_promotion_stops_the_canary_for_good() {
    let mut lab = Lab::start(CANARY).await;
    lab.daemon.state("ok").await;
    let lost = SystemTime::now();
    lab.x.blackhole();
    let status = lab.daemon.state("unknown").await;
    assert!(watermark(&status) <= lost, "{status}");
    assert!(note(&status).contains("heartbeat in prodX"), "{}", note(&status));
    the_bound_grows(&lab).await;
    lab.daemon.reach(|status| status.value["primary"]["reachable"] == false).await;
    let request = json!({"mode": "failover", "reason": "a test"});
    let asked = SystemTime::now();
    let (code, started) = lab.daemon.client().promote(&request, "one").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let id = started["id"].as_str().expect("an id");
    let done = lab.daemon.client().wait_promotion(id, LONG).await.expect("an end");
    assert_eq!(done["state"], "completed", "{done}");
    assert!(asked.elapsed().unwrap_or_default() < S(40), "a dead prodX does not hold it up");
    let told = done.to_string();
    assert!(told.contains("global-table-orders") && told.contains("Late arrivals are possible"), "{told}");
    let status = lab.daemon.now().await;
    assert_eq!(status.state(ORDERS), "fenced", "{status}");
    // FO-2: prodX comes back, and nothing is written there, by this process or the next.
    let fenced = lab.daemon.now().await;
    lab.x.restore();
    let (canary, sent) = (lab.canary(X).await, lab.x.requests());
    tokio::time::sleep(S(3)).await;
    lab.daemon.kill9();
    lab.restart().await;
    tokio::time::sleep(S(3)).await;
    assert_eq!(lab.canary(X).await, canary);
    assert_eq!(lab.x.requests().get("PutItem"), sent.get("PutItem"));
    assert_eq!(watermark(&lab.daemon.now().await), watermark(&fenced));
}

#[tokio::test]
async fn the_gate_refuses_and_the_canary_goes_on() {
    let mut lab = Lab::start(&format!("rpo = \"1s\"\n{CANARY}")).await;
    lab.daemon.state("ok").await;
    let (code, refusal) =
        lab.daemon.client().promote(&json!({"mode": "failover", "reason": "a test"}), "one").await.expect("an answer");
    assert_eq!(code, 409, "{refusal}");
    let before = watermark(&lab.daemon.now().await);
    lab.daemon.reach(|status| status.state(ORDERS) == "ok" && watermark(status) > before).await;
}

#[tokio::test]
async fn the_metric_alone_proves_old_minutes_and_silence_proves_none() {
    let mut lab = Lab::start(METRIC).await;
    tokio::time::sleep(S(1)).await;
    let status = lab.daemon.now().await;
    assert_eq!((status.state(ORDERS), status.watermark(ORDERS)), ("seeding", None), "missing is not 0: {status}");
    let minute = lab.datapoint(X, 2, "1500").await;
    let status = lab.daemon.state("ok").await;
    assert_eq!(field(&status, "method"), "metric", "{status}");
    assert_eq!(watermark(&status), minute - Duration::from_millis(61_500), "its minute, less lag and granularity");
    // The same again, and older ones, in both regions: nothing new.
    lab.datapoint(Y, 4, "10").await;
    tokio::time::sleep(S(2)).await;
    assert_eq!(watermark(&lab.daemon.now().await), minute - Duration::from_millis(61_500));
    // Garbage is said and not believed.
    lab.datapoint(Y, 0, "-5").await;
    let status = lab.daemon.reach(|status| note(status).contains("ReplicationLatency was -5 ms")).await;
    assert_eq!(watermark(&status), minute - Duration::from_millis(61_500));
    // The newest of both regions wins.
    let newer = lab.datapoint(Y, 1, "700").await;
    lab.daemon.reach(|status| status.watermark(ORDERS) == Some(newer - Duration::from_millis(60_700))).await;
    assert!(lab.canary(X).await.is_none(), "no canary unless configured");
    // After a restart the old datapoint is no sign of life (RK-6).
    lab.daemon.kill9();
    lab.restart().await;
    tokio::time::sleep(S(2)).await;
    let status = lab.daemon.now().await;
    assert_eq!(status.state(ORDERS), "unknown", "{status}");
    assert_eq!(watermark(&status), newer - Duration::from_millis(60_700));
}

#[tokio::test]
async fn ob3_a_late_metric_widens_what_the_canary_samples() {
    let mut lab = Lab::start(CANARY).await;
    lab.daemon.state("ok").await;
    lab.datapoint(X, 0, "30000").await;
    lab.daemon.reach(|status| field(status, "rpo_seconds").as_f64().is_some_and(|rpo| rpo >= 30.0)).await;
    let status = lab.daemon.now().await;
    assert_eq!((status.state(ORDERS), field(&status, "method")), ("ok", &json!("sampled")), "{status}");
}

#[tokio::test]
async fn ds_f16_each_mode_refuses_the_other_kind_of_table() {
    let timing = "survey_every = \"500ms\"";
    let stores = vec![
        StoreSpec { more: format!("{timing}\ncanary_every = \"500ms\""), ..StoreSpec::global("alone") },
        StoreSpec { more: timing.into(), ..StoreSpec::table("global") },
    ];
    let lab = Lab::of(stores, async |emulator| {
        let x = emulator.dynamodb();
        for name in ["alone", "global"] {
            TableSpec::new(name, ("pk", KeyKind::Text)).create(&x, true).await.expect("a table");
        }
        fixture::make_global(&x, "global").await;
        let y = plimsoll_lab::clients::Endpoint::new(emulator.endpoint().url.clone(), Y);
        let y = plimsoll_lab::clients::dynamodb(&y);
        TableSpec::new("alone", ("pk", KeyKind::Text)).create(&y, false).await.expect("a table");
    })
    .await;
    let says = async |id: &str, part: &str| {
        let said = || async {
            let status = lab.daemon.now().await;
            status.store(id).is_some_and(|s| s["note"].as_str().is_some_and(|note| note.contains(part)))
        };
        assert!(came_true(LONG, said).await, "{id}: {part}: {}", lab.daemon.now().await);
        let status = lab.daemon.now().await;
        assert!(status.state(id) == "seeding" && status.watermark(id).is_none(), "{status}");
    };
    says("alone", "mode = \"replicate\"").await;
    says("global", "mode = \"observe\"").await;
    let scan = lab.client(X).scan().table_name("alone").send().await.expect("an answer");
    assert_eq!(scan.count(), 0, "no canary in a table that is not observed");
}

#[tokio::test]
async fn killed_again_and_again_between_write_and_read() {
    let mut lab = Lab::start(CANARY).await;
    let mut last = watermark(&lab.daemon.state("ok").await);
    let mut writers = std::collections::BTreeSet::new();
    for round in 0..6_u64 {
        tokio::time::sleep(Duration::from_millis(137 * round % 700)).await;
        lab.daemon.kill9();
        lab.restart().await;
        let first = lab.daemon.now().await;
        assert!(watermark(&first) >= last, "P2, over a kill: {first}");
        let status = lab.daemon.reach(|status| status.state(ORDERS) == "ok" && watermark(status) > last).await;
        last = watermark(&status);
        writers.insert(lab.canary(X).await.expect("a canary").0);
    }
    assert_eq!(writers.len(), 6, "each process has a name of its own");
    assert_eq!(lab.daemon.metric("plimsoll_rpo_soundness_violations_total").await, Some(0.0));
}

#[tokio::test]
async fn ap3_lost_late_and_doubled_canaries_take_nothing_back() {
    let mut lab = Lab::start(CANARY).await;
    lab.daemon.state("ok").await;
    lab.x.fault(FaultRule::on("PutItem").times(6).fault(ProxyFault::LoseAnswer));
    lab.x.fault(
        FaultRule::on("PutItem").times(6).fault(ProxyFault::LoseAnswerLate { delay: Duration::from_millis(1200) }),
    );
    lab.x.fault(FaultRule::on("PutItem").times(9).fault(ProxyFault::Duplicate));
    let (mut last, mut newest) = (watermark(&lab.daemon.now().await), 0);
    let until = SystemTime::now() + S(8);
    while SystemTime::now() < until {
        let status = lab.daemon.now().await;
        assert!(watermark(&status) >= last && watermark(&status) <= status.asked_at + S(1), "{status}");
        last = watermark(&status);
        let (_, seq) = lab.canary(X).await.expect("a canary");
        assert!(seq >= newest, "an older canary replaced a newer one: {seq} after {newest}");
        newest = seq;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(lab.x.faults_applied_in_all() >= 21, "{}", lab.x.faults_applied_in_all());
    let status = lab.daemon.state("ok").await;
    assert!(!note(&status).contains("heartbeat in prodX"), "{}", note(&status));
}

#[tokio::test]
async fn an_item_that_is_no_canary_is_never_overwritten() {
    let table = TableSpec::new(ORDERS, ("pk", KeyKind::Text));
    let mut lab = Lab::with(&table, CANARY, async |x| {
        let mine = x.put_item().table_name(ORDERS).item("pk", AttributeValue::S("plimsoll-canary-0".into()));
        mine.item("v", AttributeValue::N("1".into())).send().await.expect("it takes items");
    })
    .await;
    let status = lab.daemon.reach(|status| note(status).contains("set canary_prefix")).await;
    assert!(status.watermark(ORDERS).is_none(), "{status}");
    let get = lab.client(X).get_item().table_name(ORDERS).key("pk", AttributeValue::S("plimsoll-canary-0".into()));
    assert_eq!(
        get.send().await.expect("an answer").item.expect("it is there").get("v"),
        Some(&AttributeValue::N("1".into()))
    );
}

#[tokio::test]
async fn a_numeric_key_with_a_binary_sort_key_has_canaries_too() {
    let table = TableSpec::new(ORDERS, ("id", KeyKind::Number)).with_range(("at", KeyKind::Binary));
    let mut lab = Lab::with(&table, CANARY, async |_| {}).await;
    let status = lab.daemon.state("ok").await;
    assert_eq!(field(&status, "method"), "sampled", "{status}");
}

/// MRSC: nothing but a canary proves it, and only while every replica and the witness are ACTIVE.
#[tokio::test]
async fn strong_consistency_is_verified_while_all_are_active() {
    let mut lab = Lab::start(CANARY).await;
    lab.daemon.state("ok").await;
    let describe = async |witness: &str, replica: &str| {
        for (door, own, other) in [(&lab.x, X, Y), (&lab.y, Y, X)] {
            door.clear_faults();
            let body = json!({"Table": {
                "TableName": ORDERS, "TableId": format!("strong-{own}"), "TableStatus": "ACTIVE",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                "GlobalTableVersion": "2019.11.21", "MultiRegionConsistency": "STRONG",
                "Replicas": [{"RegionName": other, "ReplicaStatus": replica}],
                "GlobalTableWitnesses": [{"RegionName": "us-east-2", "WitnessStatus": witness}],
            }});
            let content_type = "application/x-amz-json-1.0".to_owned();
            let answer = ProxyFault::Answer { status: 200, content_type, body: body.to_string() };
            door.fault(FaultRule::on("DescribeTable").fault(answer));
        }
    };
    describe("ACTIVE", "ACTIVE").await;
    let verified = |status: &Status| status.state(ORDERS) == "ok" && field(status, "method") == "verified";
    let status = match lab.daemon.wait_status(LONG, verified).await {
        Ok(status) => status,
        Err(trouble) => panic!("{trouble}"),
    };
    assert!(note(&status).contains("MRSC") && note(&status).contains("witness us-east-2 ACTIVE"), "{}", note(&status));
    assert!(bound(&status).is_some_and(|bound| bound < 5.0), "{status}");
    describe("DELETING", "ACTIVE").await;
    let told = |status: &Status| note(status).contains("the witness in us-east-2 is DELETING");
    assert!(lab.daemon.wait_status(LONG, told).await.is_ok(), "{}", lab.daemon.now().await);
    let status = lab.daemon.wait_status(LONG, |status| status.state(ORDERS) == "unknown").await;
    assert!(status.is_ok(), "{}", lab.daemon.now().await);
    describe("ACTIVE", "INACCESSIBLE_ENCRYPTION_CREDENTIALS").await;
    let told = |status: &Status| note(status).contains("INACCESSIBLE_ENCRYPTION_CREDENTIALS");
    assert!(lab.daemon.wait_status(LONG, told).await.is_ok(), "{}", lab.daemon.now().await);
}
