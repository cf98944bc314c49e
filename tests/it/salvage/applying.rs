//! Applying: only over what the list shows, only what is named, and safe to be stopped anywhere.

use std::time::Duration;

use plimsoll::salvage::AuditRecord;
use plimsoll::seams::SystemClock;
use plimsoll::supervise::Tasks;
use plimsoll::watermark::keys::Prefix;
use plimsoll::watermark::records::Identity;
use plimsoll::watermark::{Index as _, Record as _, rocks};
use plimsoll_lab::children::Process;
use plimsoll_lab::daemon::{Role, binary, cli_spec};
use plimsoll_lab::scripted::{Fault, FaultRule, Key, Value};
use serde_json::{Value as Json, json};

use super::scene::{Scene, only_read};
use crate::attack::fixture::{LONG, ORDERS, item, until};

/// Lost keys `k0` .. `kN`, prodX back again.
async fn lost(seed: u64, keys: u64) -> Scene {
    let mut scene = Scene::start(seed).await;
    scene.pair.put("k0", 1);
    scene.pair.converge(&scene.daemon).await;
    scene.cut();
    for n in 0..keys {
        scene.pair.put(&format!("k{n}"), 2);
    }
    scene.promote().await;
    scene.back();
    scene
}

/// A key that changed since the list was made is skipped and said, never overwritten.
#[tokio::test]
async fn a_key_that_changed_since_is_left() {
    let scene = lost(51, 4).await;
    let listed = scene.good_list("lost.jsonl", &[]).await;
    let y = &scene.pair.y;
    y.put(ORDERS, item("k0", 9)).expect("a good item");
    y.put(ORDERS, item("k1", 9)).expect("a good item");
    let applied = scene.apply(&listed.path, &["--all-without-conflict"]).await;
    assert_eq!(applied.code, Some(3), "{applied:?}");
    assert!(
        applied.out.contains("2 applied, 2 changed since") && applied.out.contains(&listed.id("k0")),
        "{applied:?}"
    );
    assert_eq!((scene.pair.standby_version("k0"), scene.pair.standby_version("k1")), (Some(9), Some(9)));
    // Not even when prodX is to win: the list is too old.
    let applied = scene.apply(&listed.path, &["--store", ORDERS, "--policy", "keep-x"]).await;
    assert!(applied.code == Some(3) && scene.pair.standby_version("k0") == Some(9), "{applied:?}");
    let fresh = scene.good_list("fresh.jsonl", &[]).await;
    assert_eq!((fresh.verdict("k0"), fresh.verdict("k1"), fresh.keys().len()), ("conflict", "conflict", 2));
}

/// A write in the moment between the look and the write fails the condition.
#[tokio::test]
async fn a_write_at_the_same_time_is_not_overwritten() {
    let scene = lost(52, 3).await;
    let listed = scene.good_list("lost.jsonl", &[]).await;
    let slow = FaultRule::on("PutItem").key("pk", Value::s("k1")).fault(Fault::Delay(Duration::from_millis(300)));
    scene.pair.y.fault(slow);
    let (calls, y) = (scene.pair.y.calls("PutItem"), std::sync::Arc::clone(&scene.pair.y));
    let writer = tokio::spawn(async move {
        until("the write is on its way", || y.calls("PutItem") > calls + 2).await;
        y.put(ORDERS, item("k1", 77)).expect("a good item");
    });
    let applied = scene.apply(&listed.path, &["--all-without-conflict"]).await;
    writer.await.expect("it writes");
    assert_eq!(applied.code, Some(3), "{applied:?}");
    assert_eq!(scene.pair.standby_version("k1"), Some(77), "{applied:?}");
    assert_eq!((scene.pair.standby_version("k0"), scene.pair.standby_version("k2")), (Some(2), Some(2)));
}

/// Throttled, failing, and with answers that never come: in the end it is as if nothing had been.
#[tokio::test]
async fn a_standby_that_stumbles_gets_everything_once_it_stands() {
    let scene = lost(53, 120).await;
    scene.pair.x.delete(ORDERS, Key::of("k7"));
    let listed = scene.good_list("lost.jsonl", &[]).await;
    let y = &scene.pair.y;
    for op in ["PutItem", "DeleteItem", "BatchGetItem"] {
        y.fault(FaultRule::on(op).probability(0.15).fault(Fault::Throttle));
        y.fault(FaultRule::on(op).probability(0.1).fault(Fault::InternalError));
    }
    y.fault(FaultRule::on("PutItem").probability(0.1).fault(Fault::LoseAnswer));
    let mut last = scene.apply(&listed.path, &["--all-without-conflict"]).await;
    for _ in 0..8 {
        if last.code == Some(0) {
            break;
        }
        assert!(!last.out.contains("changed since"), "{last:?}");
        last = scene.apply(&listed.path, &["--all-without-conflict"]).await;
    }
    assert_eq!(last.code, Some(0), "{last:?}");
    assert_eq!(scene.pair.x.snapshot(ORDERS), scene.pair.y.snapshot(ORDERS));
    only_read(&scene.pair.x);
}

/// Killed in the middle, the daemon and the command: the same command again ends it, and nothing is done twice.
#[tokio::test]
async fn killed_in_the_middle_and_applied_again() {
    let mut scene = lost(54, 400).await;
    let listed = scene.good_list("lost.jsonl", &[]).await;
    let file = listed.path.to_string_lossy().into_owned();
    let args = ["salvage", "--apply", &file, "--all-without-conflict"];
    scene.pair.y.set_latency("PutItem", Duration::from_millis(20));
    let before = scene.pair.y.items_put();
    for kills in 1..=3_u64 {
        let spec = cli_spec(&binary().expect("built"), &scene.pair.home, Role::Approver, &args).expect("a command");
        let mut command = Process::spawn(&spec).expect("it starts");
        until("some of it is applied", || scene.pair.y.items_put() >= before + kills * 60).await;
        scene.daemon.kill9();
        command.kill();
        // A user's write meanwhile.
        let user = format!("k{}", 399 - kills);
        scene.pair.y.put(ORDERS, item(&user, 1000 + kills)).expect("a good item");
        scene.daemon = scene.pair.start().await;
    }
    scene.pair.y.set_latency("PutItem", Duration::ZERO);
    let applied = scene.apply(&listed.path, &["--all-without-conflict"]).await;
    assert_eq!(applied.code, Some(3), "{applied:?}");
    assert!(applied.out.contains("3 changed since"), "{applied:?}");
    for n in 0..400_u64 {
        let expected = if (396..399).contains(&n) { 1000 + 399 - n } else { 2 };
        assert_eq!(scene.pair.standby_version(&format!("k{n}")), Some(expected), "k{n}");
    }
    // Nothing was written twice: every write changed something.
    let puts: Vec<_> = scene.pair.y.arrivals(ORDERS).into_iter().filter(|change| change.is_noop()).collect();
    assert!(puts.is_empty(), "{} writes changed nothing", puts.len());
    only_read(&scene.pair.x);
}

/// What is applied must be what was exported: by this daemon, for this promotion, and whole.
#[tokio::test]
async fn what_is_no_line_of_an_export_is_refused() {
    let mut scene = lost(55, 3).await;
    let listed = scene.good_list("lost.jsonl", &[]).await;
    let (begin, key) = (listed.lines[0].clone(), listed.keys()["k1"].clone());
    let apply = async |export: &Json, lines: Json, policy: &str| {
        let body = json!({"export": export, "policy": policy, "lines": lines}).to_string();
        let (code, text) = scene.daemon.client().post("/v1/salvage/apply", body, &[]).await.expect("an answer");
        (code, serde_json::from_str::<Json>(&text).expect("JSON"))
    };
    let (code, said) = apply(&json!("guessed"), json!([key]), "keep_x").await;
    assert!(code == 409 && said["type"] == "urn:plimsoll:unknown-export", "{code} {said}");
    let edit = |field: &str, value: Json| {
        let mut line = key.clone();
        line[field] = value;
        line
    };
    let other = json!({"pk": {"S": "k2"}, "v": {"N": "2"}});
    for (bad, what) in [
        (edit("id", json!("00112233445566778899")), "another key"),
        (edit("key", json!({"pk": {"S": "k2"}})), "another key"),
        (edit("primary", other), "another key"),
        (edit("store", json!("nothing")), "no store"),
        (edit("key", json!({"pk": {"Q": "k1"}})), "no key"),
        (edit("primary", json!({"pk": {"S": "k1"}, "v": {"N": "one"}})), ""),
    ] {
        let (code, said) = apply(&begin["export"], json!([bad]), "keep_x").await;
        let outcome = &said["outcomes"][0];
        assert!(code == 200 && outcome["outcome"] == "refused", "{bad}: {said}");
        assert!(outcome["detail"].as_str().is_some_and(|detail| detail.contains(what)), "{what}: {said}");
    }
    for bad in [json!({"primary": 7}), json!([]), json!("x"), edit("verdict", json!("maybe"))] {
        let (code, said) = apply(&begin["export"], json!([bad]), "keep_x").await;
        assert_eq!(code, 400, "{bad}: {said}");
    }
    assert_eq!(scene.pair.standby_version("k1"), None);
    // The export is known to the next process, too.
    scene.daemon.kill9();
    scene.daemon = scene.pair.start().await;
    let applied = scene.apply(&listed.path, &["--all-without-conflict"]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(tokio::time::timeout(LONG, scene.pair.converge(&scene.daemon)).await.is_ok());
}

/// Who listed and who applied what stays in the index, without a key and without an image.
#[tokio::test]
async fn every_listing_and_every_application_is_in_the_audit_log() {
    let mut scene = lost(56, 30).await;
    let listed = scene.good_list("lost.jsonl", &[]).await;
    assert_eq!(scene.apply(&listed.path, &["--all-without-conflict"]).await.code, Some(0));
    assert!(scene.daemon.terminate(Duration::from_secs(30)).await.success());
    let (clock, tasks) = (SystemClock::shared(), Tasks::new());
    let identity = Identity { app: "lab".into(), primary: "us-east-1".into(), standby: "us-west-2".into() };
    let index = rocks::open(rocks::Open { path: scene.pair.home.index(), identity, tasks, clock, on_commit: None });
    let index = index.expect("the daemon has closed it");
    let rows = index.scan(&Prefix::audit()).expect("readable");
    let records: Vec<AuditRecord> =
        rows.iter().map(|(row, bytes)| AuditRecord::decode(row, bytes).expect("a record of ours")).collect();
    let told: Vec<_> = records.iter().map(|record| (record.act.as_str(), record.by.as_str())).collect();
    let (listing, intent, done) =
        (("salvage_listed", "operator"), ("salvage_apply", "approver"), ("salvage_applied", "approver"));
    assert_eq!(told, [listing, intent, done, intent, done], "30 keys are two requests");
    let text = serde_json::to_string(&records).expect("JSON");
    assert!(text.contains(&listed.id("k7")) && !text.contains("\"pk\""), "{text}");
    index.close().await;
}
