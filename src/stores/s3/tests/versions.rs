//! All versions of an object.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use super::super::settings::{Transfer, Versions};
use super::super::testing::{Scene, settings};
use super::put;
use crate::stores::converge::{Did, Settled};

async fn scene(transfer: Transfer, together: bool) -> Scene {
    let mut all = settings(transfer);
    all.versions = Versions::History;
    let scene = Scene::new(all, together).await;
    for (client, bucket) in [(&scene.x, "shop-x"), (&scene.y, "shop-y")] {
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        client.put_bucket_versioning().bucket(bucket).versioning_configuration(on).send().await.expect("versioning");
    }
    scene
}

/// What a bucket holds of a key, oldest first: bytes, or nothing for a delete marker.
async fn history(client: &aws_sdk_s3::Client, bucket: &str, name: &str) -> Vec<Option<Vec<u8>>> {
    let mut all = Vec::new();
    let mut after: (Option<String>, Option<String>) = (None, None);
    loop {
        // One by one, so that objects and markers come in their order.
        let request = client.list_object_versions().bucket(bucket).prefix(name).max_keys(1);
        let page =
            request.set_key_marker(after.0).set_version_id_marker(after.1).send().await.expect("a page of versions");
        for version in page.versions().iter().filter(|v| v.key() == Some(name)) {
            let request = client.get_object().bucket(bucket).key(name).set_version_id(version.version_id.clone());
            let body = request.send().await.expect("a version").body.collect().await.expect("a body");
            all.push(Some(body.to_vec()));
        }
        all.extend(page.delete_markers().iter().filter(|m| m.key() == Some(name)).map(|_| None));
        if page.is_truncated() != Some(true) {
            all.reverse();
            return all;
        }
        after = (page.next_key_marker, page.next_version_id_marker);
    }
}

fn bodies(of: &[&str]) -> Vec<Option<Vec<u8>>> {
    of.iter().map(|text| (*text != "-").then(|| text.as_bytes().to_vec())).collect()
}

#[tokio::test]
async fn s3_4_every_version_is_copied_in_the_order_of_the_source() {
    for (transfer, together) in [(Transfer::ServerSide, true), (Transfer::Stream, false)] {
        let scene = scene(transfer, together).await;
        put(&scene, "k", b"one").await;
        put(&scene, "k", b"two").await;
        put(&scene, "k2", b"another key").await;
        scene.x.delete_object().bucket("shop-x").key("k").send().await.expect("a delete");
        put(&scene, "k", b"three").await;
        let same = scene.same("k").await;
        assert_eq!(same.bytes, 11);
        assert_eq!(history(&scene.y, "shop-y", "k").await, bodies(&["one", "two", "-", "three"]), "{transfer:?}");
        assert_eq!(scene.same("k").await.did, Did::Nothing);

        for _ in 0..2 {
            scene.x.delete_object().bucket("shop-x").key("k").send().await.expect("a delete");
        }
        assert_eq!(scene.same("k").await.did, Did::Removed);
        let all = bodies(&["one", "two", "-", "three", "-", "-"]);
        assert_eq!(history(&scene.y, "shop-y", "k").await, all, "{transfer:?}");
        assert_eq!(scene.same("k").await.did, Did::Nothing);

        // Without an index nothing is copied twice.
        scene.pages.known.lock().unwrap().clear();
        assert_eq!(scene.same("k").await.did, Did::Nothing, "{transfer:?}");
        assert_eq!(history(&scene.y, "shop-y", "k").await, all);
    }
}

#[tokio::test]
async fn s3_4_a_version_removed_for_good_stays_and_what_is_current_follows() {
    let scene = scene(Transfer::ServerSide, true).await;
    put(&scene, "k", b"one").await;
    put(&scene, "k", b"two").await;
    scene.same("k").await;
    let head = scene.x.head_object().bucket("shop-x").key("k").send().await.expect("a head");
    let request = scene.x.delete_object().bucket("shop-x").key("k").set_version_id(head.version_id);
    request.send().await.expect("a delete");
    scene.same("k").await;
    assert_eq!(scene.read("k").await.as_deref(), Some(b"one".as_slice()));
    assert_eq!(history(&scene.y, "shop-y", "k").await, bodies(&["one", "two", "one"]));
    assert_eq!(scene.same("k").await.did, Did::Nothing);

    // And of one whose whole history is gone nothing is current.
    let head = scene.x.head_object().bucket("shop-x").key("k").send().await.expect("a head");
    let request = scene.x.delete_object().bucket("shop-x").key("k").set_version_id(head.version_id);
    request.send().await.expect("a delete");
    assert_eq!(scene.same("k").await.did, Did::Removed);
    assert_eq!(history(&scene.y, "shop-y", "k").await, bodies(&["one", "two", "one", "-"]));
    assert_eq!(scene.same("k").await.did, Did::Nothing);
}

#[tokio::test]
async fn a_standby_without_versions_is_named() {
    let mut all = settings(Transfer::ServerSide);
    all.versions = Versions::History;
    let scene = Scene::new(all, true).await;
    put(&scene, "k", b"one").await;
    match scene.converge("k", false).await {
        Settled::Failed(error) => assert!(error.to_string().contains("versioning"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn s3_4_a_copy_of_many_versions_goes_on_where_it_was() {
    let scene = scene(Transfer::ServerSide, true).await;
    for n in 0..20 {
        put(&scene, "k", format!("{n}").as_bytes()).await;
    }
    let watch = async {
        while history(&scene.y, "shop-y", "k").await.len() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        settled = scene.converge("k", false) => panic!("it was not in the middle: {settled:?}"),
        () = watch => {}
    }
    scene.same("k").await;
    let all: Vec<_> = (0..20).map(|n| Some(format!("{n}").into_bytes())).collect();
    let copied = history(&scene.y, "shop-y", "k").await;
    // The one that was under way may be there twice; none is missing, and the newest is on top.
    assert!(copied.len() <= 21 + 1 && all.iter().all(|one| copied.contains(one)), "{copied:?}");
    assert_eq!(copied.last(), all.last());
}
