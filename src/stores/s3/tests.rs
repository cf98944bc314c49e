//! One object at a time, on emulated regions.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;

use super::settings::Transfer;
use super::testing::{Scene, settings};
use crate::stores::converge::{Did, Settled};

mod answers;
mod listing;
mod long;
mod salvaging;
mod troubles;
mod versions;

/// Writes an object in the source.
pub(super) async fn put(scene: &Scene, name: &str, body: &[u8]) {
    let body = ByteStream::from(body.to_vec());
    scene.x.put_object().bucket("shop-x").key(name).body(body).send().await.expect("a put");
}

/// The life of an object, whichever way it takes.
async fn life(transfer: Transfer, together: bool, did: Did) {
    let scene = Scene::new(settings(transfer), together).await;
    put(&scene, "k", b"one").await;
    let same = scene.same("k").await;
    assert_eq!((same.did, same.bytes), (did, 3));
    assert!(same.made_at.is_some());
    assert_eq!(scene.read("k").await.as_deref(), Some(b"one".as_slice()));
    assert_eq!(scene.same("k").await.did, Did::Nothing, "S3-2: known to be the same");

    put(&scene, "k", b"two").await;
    assert_eq!(scene.same("k").await.did, did);
    assert_eq!(scene.read("k").await.as_deref(), Some(b"two".as_slice()));

    // Somebody writes in the standby.
    scene.y.put_object().bucket("shop-y").key("k").body(ByteStream::from_static(b"bad")).send().await.expect("a put");
    assert_eq!(scene.same("k").await.did, did);
    assert_eq!(scene.read("k").await.as_deref(), Some(b"two".as_slice()));

    scene.x.delete_object().bucket("shop-x").key("k").send().await.expect("a delete");
    let same = scene.same("k").await;
    assert_eq!((same.did, &same.known), (Did::Removed, &None));
    assert_eq!(scene.read("k").await, None);
    assert_eq!(scene.same("k").await.did, Did::Nothing, "on neither side");
}

#[tokio::test]
async fn s3_1_an_object_is_copied_overwritten_and_removed_by_s3_itself() {
    life(Transfer::ServerSide, true, Did::Copied).await;
}

#[tokio::test]
async fn s3_1_an_object_is_copied_overwritten_and_removed_through_us() {
    life(Transfer::Stream, false, Did::Streamed).await;
}

#[tokio::test]
async fn auto_goes_through_us_where_the_standby_cannot_see_the_source_and_says_so() {
    let scene = Scene::new(settings(Transfer::Auto), false).await;
    put(&scene, "k", b"one").await;
    assert_eq!(scene.bucket.transfer_words(), "server-side (auto)");
    assert_eq!(scene.same("k").await.did, Did::Streamed);
    assert!(scene.bucket.transfer_words().contains("NoSuchBucket"), "{}", scene.bucket.transfer_words());
    let told = Scene::new(settings(Transfer::ServerSide), false).await;
    put(&told, "k", b"one").await;
    match told.converge("k", false).await {
        Settled::Failed(error) => assert!(error.to_string().contains("transfer = \"stream\""), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn s3_f4_every_key_arrives_under_its_own_name() {
    let long = format!("long/{}", "é".repeat(509));
    let names = ["a b", "a+b", "a%2Bb", "a%b", "é", "日本/語", "new\nline", "q?versionId=x", "a&b=c#d", "\u{1}", &long];
    for (transfer, together) in [(Transfer::ServerSide, true), (Transfer::Stream, false)] {
        let scene = Scene::new(settings(transfer), together).await;
        for name in names {
            put(&scene, name, name.as_bytes()).await;
            scene.same(name).await;
        }
        for name in names {
            assert_eq!(scene.read(name).await.as_deref(), Some(name.as_bytes()), "{name:?}");
        }
    }
}

#[tokio::test]
async fn what_the_customer_said_of_an_object_comes_along_and_nothing_of_ours() {
    for (transfer, together) in [(Transfer::ServerSide, true), (Transfer::Stream, false)] {
        let scene = Scene::new(settings(transfer), together).await;
        scene
            .x
            .put_object()
            .bucket("shop-x")
            .key("k")
            .body(ByteStream::from_static(b"body"))
            .content_type("text/plain")
            .cache_control("max-age=1")
            .content_disposition("attachment")
            .content_encoding("gzip")
            .content_language("de")
            .expires(aws_sdk_s3::primitives::DateTime::from_secs(1_900_000_000))
            .website_redirect_location("/elsewhere")
            .metadata("owner", "me")
            .tagging("a=1&b=x%20y")
            .storage_class(aws_sdk_s3::types::StorageClass::StandardIa)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .expect("a put");
        scene.same("k").await;
        let head = |client: &aws_sdk_s3::Client, bucket: &str| {
            let mode = aws_sdk_s3::types::ChecksumMode::Enabled;
            client.head_object().bucket(bucket).key("k").checksum_mode(mode).send()
        };
        let x = head(&scene.x, "shop-x").await.expect("a head");
        let y = head(&scene.y, "shop-y").await.expect("a head");
        let (x, y) = (super::object::Object::read(&x), super::object::Object::read(&y));
        assert_eq!(x.headers, y.headers, "{transfer:?}");
        assert_eq!(x.class, y.class, "{transfer:?}");
        assert_eq!(x.checksum, y.checksum, "S3-F7: the algorithm is kept ({transfer:?})");
        let got = scene.y.get_object_tagging().bucket("shop-y").key("k").send().await.expect("tags");
        let mut got: Vec<_> = got.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
        got.sort_unstable();
        assert_eq!(got, [("a", "1"), ("b", "x y")], "{transfer:?}");

        // Tags alone: no byte is copied for them.
        let tags = aws_sdk_s3::types::Tagging::builder()
            .tag_set(aws_sdk_s3::types::Tag::builder().key("a").value("2").build().expect("a tag"))
            .build()
            .expect("tags");
        scene.x.put_object_tagging().bucket("shop-x").key("k").tagging(tags).send().await.expect("tags");
        let same = scene.same("k").await;
        assert_eq!((same.did, same.bytes), (Did::Copied, 0));
        let got = scene.y.get_object_tagging().bucket("shop-y").key("k").send().await.expect("tags");
        let got: Vec<_> = got.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
        assert_eq!(got, [("a", "2")]);
        scene.x.delete_object_tagging().bucket("shop-x").key("k").send().await.expect("no tags");
        scene.same("k").await;
        let got = scene.y.get_object_tagging().bucket("shop-y").key("k").send().await.expect("tags");
        assert!(got.tag_set().is_empty());
        assert_eq!(scene.same("k").await.did, Did::Nothing);
    }
}

#[tokio::test]
async fn s3_2_a_lost_index_is_rebuilt_by_looking_and_not_by_copying() {
    let scene = Scene::new(settings(Transfer::Stream), false).await;
    put(&scene, "k", b"one").await;
    scene.same("k").await;
    scene.pages.known.lock().unwrap().clear();
    assert_eq!(scene.same("k").await.did, Did::Nothing);
    assert!(matches!(scene.converge("k", true).await, Settled::Same(same) if same.did == Did::Nothing), "afresh");
    // Equal bytes, other metadata: not the same. Without versions only the time tells, in whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    scene
        .y
        .put_object()
        .bucket("shop-y")
        .key("k")
        .metadata("a", "b")
        .body(ByteStream::from_static(b"one"))
        .send()
        .await
        .expect("a put");
    assert_eq!(scene.same("k").await.did, Did::Streamed);
}

#[tokio::test]
async fn s3_f12_in_versioned_buckets_what_is_current_is_made_the_same() {
    let scene = Scene::new(settings(Transfer::ServerSide), true).await;
    let versioning = |status| aws_sdk_s3::types::VersioningConfiguration::builder().status(status).build();
    for bucket in ["shop-x", "shop-y"] {
        let on = versioning(aws_sdk_s3::types::BucketVersioningStatus::Enabled);
        scene.x.put_bucket_versioning().bucket(bucket).versioning_configuration(on).send().await.expect("versioning");
    }
    put(&scene, "k", b"one").await;
    scene.same("k").await;
    put(&scene, "k", b"two").await;
    scene.same("k").await;
    let head = scene.x.head_object().bucket("shop-x").key("k").send().await.expect("a head");
    let second = head.version_id().expect("a version").to_owned();

    // A version is removed for good: the older one is current again.
    scene.x.delete_object().bucket("shop-x").key("k").version_id(second).send().await.expect("a delete");
    assert_eq!(scene.same("k").await.did, Did::Copied);
    assert_eq!(scene.read("k").await.as_deref(), Some(b"one".as_slice()));

    // A delete marker, and one on top of it.
    for _ in 0..2 {
        scene.x.delete_object().bucket("shop-x").key("k").send().await.expect("a delete");
        scene.same("k").await;
        assert_eq!(scene.read("k").await, None);
    }
    let markers = scene.y.list_object_versions().bucket("shop-y").prefix("k").send().await.expect("versions");
    assert_eq!(markers.delete_markers().len(), 1, "one is enough");
    assert_eq!(markers.versions().len(), 3, "S3-4: nothing is lost in the standby");

    // Suspended: the null version is written over.
    let off = versioning(aws_sdk_s3::types::BucketVersioningStatus::Suspended);
    scene.x.put_bucket_versioning().bucket("shop-x").versioning_configuration(off).send().await.expect("versioning");
    for body in [b"four", b"five"] {
        put(&scene, "k", body).await;
        assert_eq!(scene.same("k").await.did, Did::Copied);
        assert_eq!(scene.read("k").await.as_deref(), Some(body.as_slice()));
    }
    scene.x.delete_object().bucket("shop-x").key("k").send().await.expect("a delete");
    assert_eq!(scene.same("k").await.did, Did::Removed);
}

#[tokio::test]
async fn annotations_come_along_and_change_by_themselves() {
    for (transfer, together) in [(Transfer::ServerSide, true), (Transfer::Stream, false)] {
        let mut with = settings(transfer);
        with.carry.annotations = true;
        let scene = Scene::new(with, together).await;
        let annotate = |name: &'static str, words: &'static str| {
            let request = scene.x.put_object_annotation().bucket("shop-x").key("k").annotation_name(name);
            request.annotation_payload(ByteStream::from_static(words.as_bytes())).send()
        };
        let read = async |name: &'static str| {
            let request = scene.y.get_object_annotation().bucket("shop-y").key("k").annotation_name(name);
            let got = request.send().await.ok()?;
            Some(got.annotation_payload.collect().await.expect("an annotation").to_vec())
        };
        put(&scene, "k", b"body").await;
        annotate("note", "first").await.expect("an annotation");
        scene.same("k").await;
        // The emulator takes none along with a copy: then a look shows it, as with what an operator removed.
        scene.converge("k", true).await;
        assert_eq!(read("note").await.as_deref(), Some(b"first".as_slice()), "{transfer:?}");
        annotate("note", "second").await.expect("an annotation");
        annotate("other", "third").await.expect("an annotation");
        let same = scene.same("k").await;
        assert_eq!((same.did, same.bytes), (Did::Copied, 0));
        assert_eq!(read("note").await.as_deref(), Some(b"second".as_slice()));
        assert_eq!(read("other").await.as_deref(), Some(b"third".as_slice()));
        let request = scene.x.delete_object_annotation().bucket("shop-x").key("k").annotation_name("note");
        request.send().await.expect("no annotation");
        scene.same("k").await;
        assert_eq!(read("note").await, None);
        assert_eq!(scene.same("k").await.did, Did::Nothing);
    }
}

#[tokio::test]
async fn an_access_list_comes_along_where_it_is_asked_for() {
    for (transfer, together) in [(Transfer::ServerSide, true), (Transfer::Stream, false)] {
        let mut with = settings(transfer);
        with.carry.acl = true;
        let scene = Scene::new(with, together).await;
        for (client, bucket) in [(&scene.x, "shop-x"), (&scene.y, "shop-y")] {
            let rule = aws_sdk_s3::types::OwnershipControlsRule::builder()
                .object_ownership(aws_sdk_s3::types::ObjectOwnership::ObjectWriter)
                .build()
                .expect("a rule");
            let controls = aws_sdk_s3::types::OwnershipControls::builder().rules(rule).build().expect("rules");
            let request = client.put_bucket_ownership_controls().bucket(bucket).ownership_controls(controls);
            request.send().await.expect("access lists");
        }
        put(&scene, "k", b"body").await;
        scene.same("k").await;
        let public = aws_sdk_s3::types::ObjectCannedAcl::PublicRead;
        scene.x.put_object_acl().bucket("shop-x").key("k").acl(public).send().await.expect("an access list");
        let same = scene.same("k").await;
        assert_eq!((same.did, same.bytes), (Did::Copied, 0));
        let got = scene.y.get_object_acl().bucket("shop-y").key("k").send().await.expect("an access list");
        let all = got.grants().iter().filter(|grant| grant.grantee().is_some_and(|who| who.uri().is_some()));
        assert_eq!(all.count(), 1, "{transfer:?}: {:?}", got.grants());
        assert_eq!(scene.same("k").await.did, Did::Nothing);
    }
}

#[tokio::test]
async fn retention_and_legal_hold_come_along_where_they_are_asked_for() {
    for (transfer, together) in [(Transfer::ServerSide, true), (Transfer::Stream, false)] {
        let mut with = settings(transfer);
        with.carry.lock = true;
        let scene = Scene::new(with, together).await;
        let in_days = |days: i64| {
            let now = scene.bucket.clock.now().wall.0.div_euclid(1000);
            aws_sdk_s3::primitives::DateTime::from_secs(now + days * 86_400)
        };
        let (one, two) = (in_days(1), in_days(2));
        let request = scene.x.put_object().bucket("shop-x").key("k").body(ByteStream::from_static(b"body"));
        let request = request.object_lock_mode(aws_sdk_s3::types::ObjectLockMode::Governance);
        request.object_lock_retain_until_date(one).send().await.expect("a put");
        scene.same("k").await;
        let look = async || {
            let head = scene.y.head_object().bucket("shop-y").key("k").send().await.expect("a head");
            let read = super::object::Object::read(&head);
            (read.lock.mode, read.lock.until.map(|until| until.0.div_euclid(1000)), read.lock.hold)
        };
        assert_eq!(look().await, (Some("GOVERNANCE".into()), Some(one.secs()), false), "{transfer:?}");

        let longer = aws_sdk_s3::types::ObjectLockRetention::builder()
            .mode(aws_sdk_s3::types::ObjectLockRetentionMode::Governance)
            .retain_until_date(two)
            .build();
        scene.x.put_object_retention().bucket("shop-x").key("k").retention(longer).send().await.expect("longer");
        let on = aws_sdk_s3::types::ObjectLockLegalHoldStatus::On;
        let hold = aws_sdk_s3::types::ObjectLockLegalHold::builder().status(on).build();
        scene.x.put_object_legal_hold().bucket("shop-x").key("k").legal_hold(hold).send().await.expect("a hold");
        let same = scene.same("k").await;
        assert_eq!((same.did, same.bytes), (Did::Copied, 0));
        assert_eq!(look().await, (Some("GOVERNANCE".into()), Some(two.secs()), true), "{transfer:?}");
        assert_eq!(scene.same("k").await.did, Did::Nothing);
    }
}
