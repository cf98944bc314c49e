//! The list against the truth ledger.

use std::time::Duration;

use plimsoll_lab::daemon::Role;
use plimsoll_lab::random::Random;
use plimsoll_lab::scripted::{Door, Fault, FaultRule, Key, Value};
use serde_json::{Value as Json, json};

use super::scene::{Scene, only_read, salvage};
use crate::attack::fixture::{Ask as _, Load, ORDERS, Pair, item, until};

/// FB-2: exactly the lost keys, with what prodX has; over splits and rolls after the fence, and writes that go on.
#[tokio::test]
async fn fb2_it_lists_exactly_what_was_lost() {
    let mut scene = Scene::start(41).await;
    let load = Load::start(&scene.pair.x, 60, 300, 41);
    scene.daemon.reach(|_| load.written() > 300).await;
    scene.cut();
    let written = load.written();
    until("more is written", || load.written() > written + 200).await;
    scene.promote().await;
    let x = &scene.pair.x;
    // The stream goes on behind the fence, and its shards do too.
    let first = x.open_shards(ORDERS).remove(0);
    x.split(ORDERS, &first, 3);
    let written = load.written();
    until("more is written", || load.written() > written + 100).await;
    x.roll_all(ORDERS);
    // Times of the stream are of whole seconds: only what is a second later is surely after the fence.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut random = Random::new(41);
    for n in 0..200 {
        let key = format!("n{}", random.below(50));
        if random.chance(0.3) {
            x.delete(ORDERS, Key::of(key));
        } else {
            x.put(ORDERS, item(&key, 100_000 + n)).expect("a good item");
        }
    }
    load.stop().await;
    x.roll_all(ORDERS);
    scene.back();
    let truth = scene.differences();
    assert!(truth.len() > 50, "{} keys were lost", truth.len());
    let listed = scene.good_list("lost.jsonl", &[]).await;
    assert_eq!(listed.primaries(), truth);
    for (key, line) in listed.keys() {
        assert_eq!(line["verdict"], "lost", "{line}");
        let held = scene.pair.y.item(ORDERS, &Key::of(&*key)).map_or(Json::Null, |item| json!(*item));
        assert_eq!(line["standby"], held, "{line}");
        assert!(line["at"].is_string() && line["origin"] == "stream", "{line}");
    }
    // RP-10: the prediction held.
    let store = listed.store();
    assert_eq!((&store["complete"], &store["violations"]), (&json!(true), &json!(0)), "{store}");
    assert!(store["actual_loss_seconds"].as_f64() <= store["predicted_loss_seconds"].as_f64(), "{store}");
    assert!(store["after_fence"].as_u64() > Some(0), "prodX was written to after the fence: {store}");
    assert!(listed.ran.out.contains("AFTER the fence"), "{}", listed.ran.out);
    // Keys are customer data.
    assert!(!listed.ran.out.contains("\"pk\""), "{}", listed.ran.out);
    let shown = scene.good_list("again.jsonl", &["--show-keys"]).await;
    assert!(shown.ran.out.contains("{\"pk\":{\"S\":"), "{}", shown.ran.out);
    assert_eq!(shown.primaries(), truth, "a list changes nothing");
    // All of it, then nothing is left.
    let applied = scene.apply(&listed.path, &["--all-without-conflict"]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(applied.out.contains(&format!("{} applied", truth.len())), "{applied:?}");
    assert_eq!(scene.pair.x.snapshot(ORDERS), scene.pair.y.snapshot(ORDERS));
    let writes = scene.pair.y.arrivals(ORDERS).len();
    let again = scene.apply(&listed.path, &["--all-without-conflict"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.out.contains(&format!("{} already there", truth.len())), "{again:?}");
    assert_eq!(scene.pair.y.arrivals(ORDERS).len(), writes, "the second time does nothing");
    let empty = scene.good_list("empty.jsonl", &[]).await;
    assert!(empty.keys().is_empty(), "{:?}", empty.lines);
    only_read(&scene.pair.x);
}

/// What is durable in prodY behind the frozen position is not lost, and not taken for somebody's write.
#[tokio::test]
async fn what_ran_ahead_of_the_position_is_no_conflict() {
    let mut scene = Scene::with(42, crate::attack::fixture::streamed(), crate::attack::fixture::plain()).await;
    scene.pair.put("first", 1);
    scene.pair.put("b", 1);
    scene.pair.converge(&scene.daemon).await;
    // `first` is not answered: the position stays before it, and what comes behind it becomes durable.
    scene.pair.y.fault(FaultRule::on("*").key("pk", Value::s("first")).fault(Fault::Hang));
    scene.pair.put("first", 2);
    for version in 2..6 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        scene.pair.put("b", version);
    }
    until("what came behind it is there", || scene.pair.standby_version("b").is_some_and(|v| v >= 2)).await;
    scene.cut();
    scene.pair.put("b", 9);
    let request = json!({"mode": "failover", "reason": "a test", "accept_loss": {ORDERS: "1h"}});
    let (code, started) = scene.daemon.client().promote(&request, "k").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    scene.daemon.state("fenced").await;
    scene.pair.y.clear_faults();
    scene.back();
    let listed = scene.good_list("lost.jsonl", &[]).await;
    assert_eq!(listed.primaries(), scene.differences());
    assert_eq!((listed.verdict("first"), listed.verdict("b")), ("lost", "lost"), "{:?}", listed.lines);
    assert_eq!(listed.store()["violations"], 0);
}

/// FB-3: a write in prodY after the promotion is found, and one that made it equal is none.
#[tokio::test]
async fn fb3_writes_in_prod_y_are_conflicts() {
    let mut scene = Scene::start(43).await;
    for key in ["changed", "removed", "same", "untouched", "only-y"] {
        scene.pair.put(key, 1);
    }
    scene.pair.converge(&scene.daemon).await;
    scene.cut();
    for key in ["changed", "removed", "same", "untouched", "new"] {
        scene.pair.put(key, 2);
    }
    scene.pair.x.delete(ORDERS, Key::of("gone"));
    scene.promote().await;
    let y = &scene.pair.y;
    y.put(ORDERS, item("changed", 7)).expect("a good item");
    y.delete(ORDERS, Key::of("removed"));
    y.put(ORDERS, item("same", 2)).expect("a good item");
    y.put(ORDERS, item("only-y", 8)).expect("a good item");
    y.put(ORDERS, item("new-in-y", 8)).expect("a good item");
    scene.back();
    let listed = scene.good_list("lost.jsonl", &[]).await;
    let verdicts: Vec<_> = listed.keys().into_iter().map(|(key, line)| (key, line["verdict"].clone())).collect();
    let expected = [("changed", "conflict"), ("new", "lost"), ("removed", "conflict"), ("untouched", "lost")];
    assert_eq!(verdicts, expected.map(|(key, verdict)| (key.to_owned(), json!(verdict))));
    assert_eq!(listed.keys()["changed"]["standby"], json!(item("changed", 7)));
    // The default keeps prodY's, also when its key is named.
    let all = scene.apply(&listed.path, &["--store", ORDERS]).await;
    assert_eq!(all.code, Some(3), "{all:?}");
    assert!(all.out.contains("2 applied") && all.out.contains("2 kept as in prodY"), "{all:?}");
    assert_eq!((scene.pair.standby_version("changed"), scene.pair.standby_version("removed")), (Some(7), None));
    assert_eq!((scene.pair.standby_version("untouched"), scene.pair.standby_version("new")), (Some(2), Some(2)));
    let named = listed.id("changed");
    let one = scene.apply(&listed.path, &["--keys", &named]).await;
    assert_eq!((one.code, scene.pair.standby_version("changed")), (Some(3), Some(7)), "{one:?}");
    let one = scene.apply(&listed.path, &["--keys", &named, "--policy", "keep-x"]).await;
    assert_eq!((one.code, scene.pair.standby_version("changed")), (Some(0), Some(2)), "{one:?}");
    assert_eq!(scene.pair.standby_version("removed"), None, "only what was named");
}

/// AP-6: what prodY refused before the promotion belongs to what was lost.
#[tokio::test]
async fn parked_changes_are_listed() {
    let mut scene = Scene::start(44).await;
    scene.pair.put("good", 1);
    scene.pair.put("poison", 1);
    scene.pair.converge(&scene.daemon).await;
    let refuse = "Type mismatch for Index Key";
    let rule = FaultRule::on("*").key("pk", Value::s("poison")).fault(Fault::Validation(refuse.into()));
    scene.pair.y.fault(rule);
    scene.pair.put("poison", 2);
    scene.daemon.reach(|status| crate::attack::fixture::field(status, "failed_items") == 1).await;
    scene.cut();
    scene.promote().await;
    scene.back();
    scene.pair.y.clear_faults();
    let listed = scene.good_list("lost.jsonl", &[]).await;
    assert_eq!(listed.primaries(), scene.differences());
    let line = listed.keys()["poison"];
    assert_eq!((&line["verdict"], &line["origin"]), (&json!("unproven"), &json!("parked")), "{line}");
    let applied = scene.apply(&listed.path, &["--keys", &listed.id("poison"), "--policy", "keep-x"]).await;
    assert_eq!((applied.code, scene.pair.standby_version("poison")), (Some(0), Some(2)), "{applied:?}");
}

#[tokio::test]
async fn before_a_promotion_and_without_prod_x_it_says_so() {
    let mut scene = Scene::start(45).await;
    scene.pair.put("k", 1);
    scene.pair.converge(&scene.daemon).await;
    let early = scene.list("early.jsonl", &[]).await;
    assert_eq!(early.ran.code, Some(1), "{early:?}");
    assert!(early.ran.err.contains("nothing was promoted"), "{early:?}");
    let (code, text) = scene.daemon.client().post("/v1/salvage", String::new(), &[]).await.expect("an answer");
    assert!(code == 409 && text.contains("not-promoted"), "{code} {text}");
    scene.cut();
    scene.pair.put("k", 2);
    scene.promote().await;
    for door in [Door::Cut, Door::Blackhole] {
        scene.pair.x.set_door(door);
        let gone = scene.list("gone.jsonl", &[]).await;
        assert_eq!(gone.ran.code, Some(1), "{gone:?}");
        assert!(gone.ran.err.contains("prodX does not answer") && gone.lines.is_empty(), "{door:?}: {gone:?}");
    }
    scene.back();
    // Roles: a viewer may not list, an operator may not apply.
    let viewer = salvage(&scene.pair.home, Role::Viewer, &["salvage"]).await;
    assert!(viewer.code == Some(1) && viewer.err.contains("operator"), "{viewer:?}");
    let listed = scene.good_list("lost.jsonl", &[]).await;
    assert_eq!(listed.primaries(), scene.differences());
    let file = listed.path.to_string_lossy().into_owned();
    let args = ["salvage", "--apply", &file, "--all-without-conflict"];
    let operator = salvage(&scene.pair.home, Role::Operator, &args).await;
    assert!(operator.code == Some(1) && operator.err.contains("approver"), "{operator:?}");
    assert_eq!(scene.pair.standby_version("k"), Some(1));
    for bad in ["{\"stores\": [\"ordres\"]}", "{\"store\": []}", "[", "{\"compare\": \"maybe\"}"] {
        let (code, text) = scene.daemon.client().post("/v1/salvage", bad.into(), &[]).await.expect("an answer");
        assert!((400..500).contains(&code) && text.contains("detail"), "{bad}: {code} {text}");
    }
}

/// Throttled, failing and expiring: the list is the same.
#[tokio::test]
async fn a_source_that_stumbles_gives_the_same_list() {
    let mut scene = Scene::start(46).await;
    scene.pair.put("k0", 1);
    scene.pair.converge(&scene.daemon).await;
    scene.cut();
    for n in 0..300 {
        scene.pair.put(&format!("k{n}"), 5);
    }
    scene.promote().await;
    scene.back();
    let x: &Pair = &scene.pair;
    for (op, fault) in [
        ("GetRecords", Fault::Throttle),
        ("GetRecords", Fault::InternalError),
        ("DescribeStream", Fault::Throttle),
        ("GetShardIterator", Fault::InternalError),
    ] {
        x.x.fault(FaultRule::on(op).probability(0.3).fault(fault));
    }
    x.x.expire_all_iterators(ORDERS);
    x.y.fault(FaultRule::on("BatchGetItem").probability(0.4).fault(Fault::Unprocessed { keep: 3 }));
    let listed = scene.good_list("lost.jsonl", &[]).await;
    assert_eq!(listed.primaries(), scene.differences());
    assert_eq!(listed.store()["complete"], true);
}

/// RP-10: a publisher that stood still made the watermark wrong, and the list says so as loudly as it can.
#[tokio::test]
async fn rp10_a_lost_change_older_than_the_watermark_is_shouted() {
    let mut scene = Scene::start(47).await;
    scene.pair.put("k", 1);
    scene.pair.converge(&scene.daemon).await;
    scene.pair.x.hold_stream(ORDERS);
    scene.pair.put("k", 2);
    let committed = scene.pair.x.now();
    scene.daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > committed + Duration::from_secs(2))).await;
    scene.cut();
    scene.promote().await;
    scene.pair.x.release_stream(ORDERS);
    scene.back();
    let listed = scene.good_list("lost.jsonl", &[]).await;
    assert_eq!((listed.primaries(), listed.verdict("k")), (scene.differences(), "lost"));
    assert_eq!(listed.store()["violations"], 1, "{}", listed.store());
    assert!(listed.store()["actual_loss_seconds"].as_f64() > listed.store()["predicted_loss_seconds"].as_f64());
    assert!(listed.ran.err.contains("SOUNDNESS VIOLATION") && listed.ran.err.contains(ORDERS), "{}", listed.ran.err);
    assert!(scene.daemon.metric("plimsoll_rpo_soundness_violations_total").await >= Some(1.0));
}
