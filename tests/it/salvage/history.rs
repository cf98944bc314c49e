//! When the stream cannot tell everything any more: it is said, and the tables are compared.

use plimsoll_lab::scripted::{Key, TrimPoint, ViewType};
use serde_json::json;

use super::scene::{Listed, Scene, only_read};
use crate::attack::fixture::{ORDERS, item, plain, streamed};

/// Some items in both regions, then some more in prodX only; prodX back again.
async fn lost(seed: u64) -> Scene {
    let mut scene = Scene::with(seed, streamed().shards(2), plain()).await;
    for n in 0..40 {
        scene.pair.put(&format!("k{n}"), 1);
    }
    scene.pair.converge(&scene.daemon).await;
    scene.cut();
    for n in 20..60 {
        scene.pair.put(&format!("k{n}"), 2);
    }
    scene.pair.x.delete(ORDERS, Key::of("k3"));
    scene.promote().await;
    scene
}

/// It says that it is not complete and why, and what it lists are all the differences.
fn compared(listed: &Listed, scene: &Scene, why: &str) {
    let store = listed.store();
    assert_eq!((&store["complete"], &store["compared"]), (&json!(false), &json!(true)), "{store}");
    assert!(listed.missing().contains(why), "{why}: {}", listed.missing());
    assert_eq!(listed.primaries(), scene.differences());
    assert!(
        listed.ran.out.contains("NOT COMPLETE") && listed.ran.out.contains("nobody can tell"),
        "{}",
        listed.ran.out
    );
}

/// DS-8a.
#[tokio::test]
async fn ds8a_trimmed_records_are_said_and_the_tables_compared() {
    let scene = lost(71).await;
    // A part of the lost records is gone, a part is there.
    let x = &scene.pair.x;
    let records: Vec<_> = x.history(ORDERS).iter().filter_map(|change| change.sequence).collect();
    x.trim(ORDERS, TrimPoint::Sequence(records[records.len() - 10]));
    scene.back();
    let listed = scene.good_list("lost.jsonl", &[]).await;
    compared(&listed, &scene, "trimmed");
    let origins: Vec<_> =
        listed.keys().values().map(|line| (line["origin"].clone(), line["verdict"].clone())).collect();
    assert!(origins.contains(&(json!("stream"), json!("lost"))), "{origins:?}");
    assert!(origins.contains(&(json!("comparison"), json!("difference"))), "{origins:?}");
    // A difference is not applied without being asked for.
    let applied = scene.apply(&listed.path, &["--all-without-conflict"]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(!scene.differences().is_empty());
    let applied = scene.apply(&listed.path, &["--store", ORDERS, "--policy", "keep-x"]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(scene.differences().is_empty(), "{:?}", scene.differences());
    only_read(x);
}

#[tokio::test]
async fn without_a_comparison_what_is_left_of_the_stream_is_listed() {
    let scene = lost(72).await;
    let x = &scene.pair.x;
    let records: Vec<_> = x.history(ORDERS).iter().filter_map(|change| change.sequence).collect();
    x.trim(ORDERS, TrimPoint::Sequence(records[records.len() - 10]));
    scene.back();
    let listed = scene.good_list("lost.jsonl", &["--no-compare"]).await;
    assert_eq!((&listed.store()["complete"], &listed.store()["compared"]), (&json!(false), &json!(false)));
    let truth = scene.differences();
    let told = listed.primaries();
    assert!(!told.is_empty() && told.len() < truth.len(), "{} of {}", told.len(), truth.len());
    assert!(told.iter().all(|(key, image)| truth.get(key) == Some(image)));
    assert!(listed.ran.out.contains("--compare"), "{}", listed.ran.out);
    let asked = scene.good_list("asked.jsonl", &["--compare", "--scan-rate", "100000000"]).await;
    assert_eq!(asked.primaries(), truth);
}

/// A comparison that was not needed says nothing that the stream does not say better.
#[tokio::test]
async fn a_comparison_on_top_of_a_whole_stream_finds_later_writes_only() {
    let scene = lost(73).await;
    scene.back();
    scene.pair.y.put(ORDERS, item("only-y", 1)).expect("a good item");
    let listed = scene.good_list("lost.jsonl", &["--compare"]).await;
    assert_eq!(listed.store()["complete"], true);
    assert_eq!(listed.primaries(), scene.differences());
    assert_eq!((listed.verdict("only-y"), listed.verdict("k3"), listed.verdict("k59")), ("difference", "lost", "lost"));
}

/// A shard that is gone, and one that continues it.
#[tokio::test]
async fn ds8b_a_shard_that_vanished_is_said() {
    let scene = lost(74).await;
    let x = &scene.pair.x;
    let gone = x.open_shards(ORDERS).remove(0);
    x.split(ORDERS, &gone, 2);
    x.vanish(ORDERS, &gone);
    scene.pair.put("k100", 1);
    scene.back();
    let listed = scene.good_list("lost.jsonl", &[]).await;
    compared(&listed, &scene, &gone);
}

/// DS-1.
#[tokio::test]
async fn ds1_a_table_that_was_created_again_is_said() {
    let scene = lost(75).await;
    let x = &scene.pair.x;
    let before = scene.differences();
    x.recreate_table(ORDERS);
    scene.pair.put("new", 1);
    scene.back();
    let listed = scene.good_list("lost.jsonl", &[]).await;
    assert!(listed.missing().contains("created again"), "{}", listed.missing());
    let told = listed.primaries();
    // The old stream still tells what the old table lost.
    for (key, image) in before {
        assert_eq!(told.get(&key), Some(&image), "{key}");
        assert_eq!(listed.verdict(&key), "lost");
    }
    assert_eq!((listed.verdict("new"), listed.verdict("k0")), ("difference", "difference"));
}

#[tokio::test]
async fn ds1_a_stream_that_was_disabled_or_is_gone_is_said() {
    let scene = lost(76).await;
    let x = &scene.pair.x;
    let arn = x.stream_arn(ORDERS);
    x.disable_stream(ORDERS);
    scene.pair.put("unseen", 1);
    scene.back();
    let listed = scene.good_list("disabled.jsonl", &[]).await;
    compared(&listed, &scene, "disabled");
    assert_eq!((listed.verdict("k59"), listed.verdict("unseen")), ("lost", "difference"));
    x.enable_stream(ORDERS, ViewType::NewAndOldImages);
    x.forget_stream(&arn);
    let listed = scene.good_list("gone.jsonl", &[]).await;
    compared(&listed, &scene, "no longer exists");
    assert_eq!(listed.verdict("k59"), "difference");
}

/// The record at the position is trimmed, and nobody can know that nothing came between it and what is left.
#[tokio::test]
async fn ds8a_a_trimmed_position_is_said() {
    let mut scene = Scene::with(77, streamed(), plain()).await;
    scene.pair.put("old", 1);
    scene.pair.converge(&scene.daemon).await;
    scene.cut();
    let x = &scene.pair.x;
    let last = x.history(ORDERS).iter().filter_map(|change| change.sequence).max().expect("a record");
    x.trim(ORDERS, TrimPoint::Sequence(last));
    scene.pair.put("new", 1);
    scene.promote().await;
    scene.back();
    let listed = scene.good_list("lost.jsonl", &[]).await;
    compared(&listed, &scene, "trimmed");
    assert_eq!(listed.verdict("new"), "lost");
}

/// Without the old image nobody can tell a write in prodY from what was there.
#[tokio::test]
async fn new_images_only_leave_a_modified_key_unproven() {
    let mut scene = Scene::with(78, plain().stream(ViewType::NewImage), plain()).await;
    scene.pair.put("k", 1);
    scene.pair.converge(&scene.daemon).await;
    scene.cut();
    scene.pair.put("k", 2);
    scene.pair.put("new", 2);
    scene.promote().await;
    scene.back();
    let listed = scene.good_list("lost.jsonl", &[]).await;
    assert_eq!((listed.verdict("k"), listed.verdict("new")), ("unproven", "lost"));
    assert_eq!(listed.primaries(), scene.differences());
}
