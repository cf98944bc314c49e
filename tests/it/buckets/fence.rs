//! The fence, and the guard of removals.

use std::time::{Duration, SystemTime};

use plimsoll_lab::daemon::Daemon;
use plimsoll_lab::scripted::{Fault, FaultRule, Gate};
use serde_json::{Value as Json, json};

use super::events::{ask_verify, coverage, forgotten, until};
use super::fixture::{Ask as _, LONG, SOURCE, STANDBY, Scene, UPLOADS, came_true, note};
use super::kills::Load;

/// Waits until a promotion is over; its report.
async fn completed(daemon: &Daemon, id: &str) -> Json {
    let mut last = Json::Null;
    let deadline = std::time::Instant::now() + LONG;
    while last["state"] != "completed" {
        assert!(std::time::Instant::now() < deadline, "never completed: {last}\n{}", daemon.tail(20));
        tokio::time::sleep(Duration::from_millis(30)).await;
        last = daemon.client().json(&format!("/v1/promotions/{id}")).await.unwrap_or_default();
    }
    last
}

/// Promoted with events in the queue and copies under way: nothing is written behind the fence, and what comes late is
/// counted and kept, also by the next process.
#[tokio::test]
async fn fo_2_nothing_crosses_the_fence_and_what_comes_late_is_counted() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    let load = Load::start(&scene.x, 60, 60, 31);
    scene.proven(&mut daemon).await;
    // Some copies hang, others are slow, and events go on coming.
    let gate = Gate::new();
    scene.y.fault(FaultRule::on("CopyObject").object("k1").fault(Fault::Hold(gate.clone())));
    scene.y.fault(FaultRule::on("CopyObject").object("k2").fault(Fault::Delay(Duration::from_secs(1))));
    scene.put("k1", "hangs");
    until("it hangs", || gate.waiting() > 0).await;
    let request = json!({"mode": "failover", "reason": "a test", "accept_loss": {UPLOADS: "1h"}});
    let (code, answer) = daemon.client().promote(&request, "one").await.expect("an answer");
    assert_eq!(code, 202, "{answer}");
    let id = answer["id"].as_str().expect("an id").to_owned();
    completed(&daemon, &id).await;
    let status = daemon.reach(|status| status.state(UPLOADS) == "fenced").await;
    let (frozen, standby) = (status.watermark(UPLOADS), scene.y.s3().history(STANDBY).len());
    assert!(frozen.is_some_and(|w| w < SystemTime::now()));
    // The load goes on for a while, as the last events of a region do.
    let late = async |daemon: &Daemon| coverage(&daemon.now().await, "late").as_u64().unwrap_or_default();
    assert!(came_true(LONG, async || late(&daemon).await > 20).await, "{}", daemon.now().await);
    load.stop().await;
    scene.put("late one", "x");
    gate.open();
    forgotten(&scene).await;
    let counted = late(&daemon).await;
    assert!(daemon.metric("store_late_items").await.is_some_and(|items| items == counted as f64));
    daemon.kill9();
    let mut daemon = scene.start().await;
    daemon.reach(|status| status.state(UPLOADS) == "fenced" && coverage(status, "late") == counted).await;
    scene.put("later still", "x");
    daemon.reach(|status| coverage(status, "late") == counted + 1).await;
    forgotten(&scene).await;
    let (code, told) = ask_verify(&daemon, json!({"repair": true})).await;
    assert!(code == 409 && told.contains("promotion"), "{code}: {told}");
    assert_eq!(scene.y.s3().history(STANDBY).len(), standby, "written behind the fence");
    assert_eq!(daemon.now().await.watermark(UPLOADS), frozen);
}

/// prodX was emptied and no event told of it: what the walk finds to be too much is removed by nobody without a word.
#[tokio::test]
async fn s3_11_a_walk_removes_many_only_with_a_word() {
    let scene = Scene::new();
    (0..1_500).for_each(|number| scene.put(&format!("k{number:04}"), "x"));
    scene.put("other", "x");
    let mut daemon = scene.start_ok().await;
    scene.proven(&mut daemon).await;
    forgotten(&scene).await;
    scene.x.s3().stop_events(SOURCE);
    (0..1_500).for_each(|number| scene.x.s3().delete(SOURCE, &format!("k{number:04}")));
    let (code, told) = ask_verify(&daemon, json!({"repair": true})).await;
    assert_eq!(code, 202, "{told}");
    let asks = "plimsoll verify uploads --repair --allow-deletes 1500";
    daemon.reach(|status| note(status).contains(asks)).await;
    // Neither another walk nor another process takes it for said.
    let before = scene.y.calls("ListObjectsV2");
    ask_verify(&daemon, json!({"repair": true})).await;
    until("it walks again", || scene.y.calls("ListObjectsV2") > before + 1).await;
    daemon.reach(|status| note(status).contains(asks)).await;
    daemon.kill9();
    let mut daemon = scene.start().await;
    daemon.reach(|status| note(status).contains(asks)).await;
    assert_eq!(scene.y.s3().count(STANDBY), 1_501);
    // Too few.
    ask_verify(&daemon, json!({"repair": true, "allow_deletes": 1_400})).await;
    daemon.reach(|status| note(status).contains("removing more than 1400")).await;
    assert_eq!(scene.y.s3().count(STANDBY), 1_501);
    let (code, told) = ask_verify(&daemon, json!({"repair": true, "allow_deletes": 1_500})).await;
    assert!(code == 202, "{told}");
    scene.converge(&daemon).await;
    let status = daemon.reach(|status| !note(status).contains("allow-deletes") && status.state(UPLOADS) == "ok").await;
    assert!(coverage(&status, "certified").is_string());
    assert_eq!(scene.y.s3().count(STANDBY), 1);
}
