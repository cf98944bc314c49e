//! Listing both buckets side by side, and the canary, on an emulated region.

use super::*;
use crate::change::{Difference, Key, SourceTime, Stamp};
use crate::seams::SystemClock;
use crate::stores::converge::{Found, ListFrom};
use crate::stores::observe::Beat;
use crate::stores::s3::settings::Versions;
use crate::stores::s3::testing::key;

fn part(start: &Key, end: Option<&Key>) -> ListFrom {
    let began = Stamp { wall: SourceTime(0), mono: std::time::Duration::ZERO };
    ListFrom { after: None, start: start.clone(), end: end.cloned(), began }
}

/// Everything that a part says, page by page, and how much it looked at.
async fn walk(scene: &Scene, mut from: ListFrom) -> (Vec<Found>, u64, u64) {
    let (mut found, mut looked, mut standby) = (Vec::new(), 0, 0);
    loop {
        let page = scene.bucket.side_by_side(&from, &scene.pages).await.expect("a page");
        found.extend(page.found);
        (looked, standby) = (looked + page.looked, standby + page.standby);
        match page.to {
            Some(to) => from.after = Some(to),
            None => return (found, looked, standby),
        }
    }
}

async fn all(scene: &Scene) -> Vec<(String, Difference)> {
    let (found, ..) = walk(scene, part(&Key(Vec::new().into()), None)).await;
    found.into_iter().map(|found| (String::from_utf8_lossy(&found.key.0).into_owned(), found.what)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_10_both_ends_side_by_side_whatever_the_keys_are() {
    let mut settings = settings(Transfer::Stream);
    settings.canary_key = Some("canary".into());
    let scene = Scene::new(settings, true).await;
    let long = "l".repeat(1000);
    let mut names = vec!["a b", "a+b", "a%2Bb", "é/ü", "p/q/r", "tab\there", "~", "line\nbreak", "z", &long];
    names.sort_unstable();
    for name in &names {
        put(&scene, name, name.as_bytes()).await;
    }
    let missing: Vec<_> = names.iter().map(|name| ((*name).to_owned(), Difference::Missing)).collect();
    assert_eq!(all(&scene).await, missing);
    for name in &names {
        scene.same(name).await;
    }
    assert_eq!(all(&scene).await, [], "all are known to be the same");
    // It goes on behind any key.
    for (at, name) in names.iter().enumerate() {
        let from = ListFrom { after: Some(key(name)), ..part(&Key(Vec::new().into()), None) };
        assert_eq!(walk(&scene, from).await.1 as usize, names.len() - at - 1, "{name}");
    }

    put(&scene, "z", b"another").await;
    scene.x.delete_object().bucket("shop-x").key("a b").send().await.expect("a removal");
    scene.y.delete_object().bucket("shop-y").key("~").send().await.expect("a removal");
    scene
        .y
        .put_object()
        .bucket("shop-y")
        .key("p/q/r")
        .body(ByteStream::from_static(b"mine"))
        .send()
        .await
        .expect("a put");
    scene
        .y
        .put_object()
        .bucket("shop-y")
        .key("canary")
        .body(ByteStream::from_static(b"c"))
        .send()
        .await
        .expect("a put");
    let differ = [
        ("a b".to_owned(), Difference::Orphan),
        ("p/q/r".to_owned(), Difference::Differs),
        ("z".to_owned(), Difference::Differs),
        ("~".to_owned(), Difference::Missing),
    ];
    assert_eq!(all(&scene).await, differ);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_are_the_whole_and_each_key_is_in_one() {
    let mut settings = settings(Transfer::Stream);
    settings.tempo.list_ranges = 4;
    settings.prefix = "in/".into();
    let scene = Scene::new(settings, true).await;
    assert_eq!(scene.bucket.parts().await.expect("parts"), [Key(Vec::new().into())], "nothing is one part");
    let names: Vec<String> = (0..4300).map(|n| format!("in/{:03x}/{n}", n * 7919 % 4096)).collect();
    let puts: Vec<_> = names.iter().map(|name| put(&scene, name, b"1")).collect();
    futures_util::stream::StreamExt::collect::<Vec<()>>(futures_util::stream::StreamExt::buffer_unordered(
        futures_util::stream::iter(puts),
        16,
    ))
    .await;
    put(&scene, "before", b"1").await;
    put(&scene, "out/1", b"1").await;
    let starts = scene.bucket.parts().await.expect("parts");
    assert!(starts.len() > 1 && starts[0].0.is_empty() && starts.is_sorted(), "{}", starts.len());
    let mut found = Vec::new();
    let mut looked = 0;
    for (at, start) in starts.iter().enumerate() {
        let (more, seen, _) = walk(&scene, part(start, starts.get(at + 1))).await;
        found.extend(more.into_iter().map(|found| String::from_utf8_lossy(&found.key.0).into_owned()));
        looked += seen;
    }
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(looked as usize, names.len());
    assert!(found == sorted, "each once, in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_4_of_a_history_each_version_counts() {
    let mut settings = settings(Transfer::Stream);
    settings.versions = Versions::History;
    let scene = Scene::new(settings, true).await;
    for bucket in ["shop-x", "shop-y"] {
        let on = aws_sdk_s3::types::VersioningConfiguration::builder()
            .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
            .build();
        let on = scene.x.put_bucket_versioning().bucket(bucket).versioning_configuration(on).send().await;
        on.expect("versioning");
    }
    for body in [b"1", b"2", b"3"] {
        put(&scene, "k", body).await;
    }
    put(&scene, "other", b"1").await;
    for name in ["k", "other"] {
        scene.same(name).await;
    }
    assert_eq!(all(&scene).await, []);
    put(&scene, "k", b"4").await;
    assert_eq!(all(&scene).await, [("k".to_owned(), Difference::Differs)]);
    scene.same("k").await;
    scene.x.delete_object().bucket("shop-x").key("k").send().await.expect("a delete marker");
    assert_eq!(all(&scene).await, [("k".to_owned(), Difference::Orphan)]);
    scene.same("k").await;
    assert_eq!(all(&scene).await, [], "only versions that are not current, and all of them are known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_replaces_an_older_one_and_nothing_else() {
    let mut settings = settings(Transfer::Stream);
    settings.canary_key = Some("canary".into());
    let scene = Scene::new(settings, true).await;
    let beat = |by: &str, seq| Beat { by: by.into(), seq, at: SystemClock::shared().now().wall };
    let body = async || {
        let got = scene.x.get_object().bucket("shop-x").key("canary").send().await.expect("the canary");
        String::from_utf8(got.body.collect().await.expect("a body").to_vec()).expect("text")
    };
    scene.bucket.write_canary(&beat("me", 1)).await.expect("the first");
    scene.bucket.write_canary(&beat("me", 3)).await.expect("another");
    let third = body().await;
    assert!(third.contains(r#""seq":3"#), "{third}");
    scene.bucket.write_canary(&beat("me", 2)).await.expect("overtaken");
    assert_eq!(body().await, third);
    scene.bucket.write_canary(&beat("you", 1)).await.expect("another process");
    assert!(body().await.contains("you"));
    put(&scene, "canary", b"somebody's").await;
    let refused = scene.bucket.write_canary(&beat("me", 4)).await.expect_err("somebody's object");
    assert!(refused.hint.is_some_and(|hint| hint.contains("canary_key")));
    assert_eq!(body().await, "somebody's");
}
