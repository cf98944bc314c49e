//! Objects of every kind, and what becomes of them while they are copied.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::types::{Tag, Tagging};
use plimsoll_lab::scripted::s3::{ChecksumAlgorithm, Compare, Encryption, NewObject, Versioning};
use plimsoll_lab::scripted::{Fault, Gate};

use super::fixture::{Ask as _, SOURCE, STANDBY, Scene, UPLOADS, Watch, field, note};
use super::hand::{
    MIB, WAYS, all_well, another, application, count, each, held, never_wrong, on, put, reseed, scene, source, until,
    verify, writes,
};

/// One object of every kind, under names that end in `_{round}`.
fn of_every_kind(scene: &Scene, round: u8) {
    let name = |kind: &str| format!("{kind}_{round}");
    let text = || NewObject::bytes(format!("round {round}").into_bytes());
    put(scene, &name("plain"), text());
    put(scene, &name("empty"), NewObject::bytes(""));
    put(scene, &name("meta"), text().metadata("owner", "me").metadata("x-long", &"v".repeat(1500)));
    put(scene, &name("tags"), text().tag("team", "a b+c").tag("é", "=&").tag("empty", ""));
    put(scene, &name("class"), text().class("STANDARD_IA"));
    let headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "max-age=60, private"),
        ("content-disposition", "attachment; filename=\"a.txt\""),
        ("content-encoding", "gzip"),
        ("content-language", "de-CH"),
        ("expires", "Thu, 01 Dec 1994 16:00:00 GMT"),
        ("x-amz-website-redirect-location", "/elsewhere"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    put(scene, &name("headers"), text().about(|about| about.headers = BTreeMap::from(headers)));
    put(scene, &name("no date"), text().about(|about| drop(about.headers.insert("expires".into(), "0".into()))));
    put(
        scene,
        &name("parts"),
        NewObject::declared(6 * MIB, 7).parts(&[5 * MIB, MIB]).metadata("in", "parts").tag("t", "1"),
    );
}

#[tokio::test]
async fn s3_f7_whatever_is_said_of_an_object_arrives_either_way() {
    each(WAYS, |way| async move {
        let scene = scene(1, way, "");
        of_every_kind(&scene, 1);
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        of_every_kind(&scene, 2);
        all_well(&scene, &mut daemon).await;
        assert_eq!(scene.y.calls(if way == "stream" { "CopyObject" } else { "PutObject" }), 0, "{way}");
        assert!(scene.y.s3().uploads(STANDBY).is_empty());
        watch.truthful().await;
    })
    .await;
}

/// S3-6: of a KMS object the standby's own key is used, and the primary's never.
#[tokio::test]
async fn s3_6_kms_objects_get_the_standbys_key() {
    let ours = "arn:aws:kms:us-west-2:111122223333:key/ours";
    let theirs = "arn:aws:kms:us-east-1:111122223333:key/theirs";
    let kms = |kms_key: &str| Encryption {
        algorithm: "aws:kms".into(),
        kms_key: Some(kms_key.into()),
        ..Encryption::default()
    };
    each(WAYS, |way| async move {
        let scene = scene(3, way, &format!("kms_key = \"{ours}\""));
        put(&scene, "secret", NewObject::bytes("one").about(|about| about.encryption = kms(theirs)));
        put(&scene, "plain", NewObject::bytes("one"));
        let mut daemon = scene.start_ok().await;
        put(&scene, "secret", NewObject::bytes("two").about(|about| about.encryption = kms(theirs)));
        all_well(&scene, &mut daemon).await;
        let is = held(&scene, "secret").expect("it is there").about.encryption;
        assert_eq!((is.algorithm.as_str(), is.kms_key.as_deref()), ("aws:kms", Some(ours)), "{way}");
        assert_eq!(held(&scene, "plain").expect("it is there").about.encryption.kms_key, None, "{way}");

        // The same bytes, encrypted now: an application hardens its objects by copying them onto themselves.
        put(&scene, "plain", NewObject::bytes("one").about(|about| about.encryption = kms(theirs)));
        all_well(&scene, &mut daemon).await;
        until(&daemon, "the standby's is encrypted with its key", || {
            held(&scene, "plain").is_some_and(|held| held.about.encryption.kms_key.as_deref() == Some(ours))
        })
        .await;
    })
    .await;
}

/// S3-F9: a checksum of a whole object is the source's. One of parts is too where it goes through us or is longer than 5
/// GiB: in the source's own parts. CopyObject makes one part of it, and a checksum of the whole.
#[tokio::test]
async fn s3_f9_checksums_are_the_sources_and_parts_end_where_they_did() {
    use ChecksumAlgorithm::{Crc32, Crc32C, Crc64Nvme, Sha256};
    let kinds = [Some(Crc32), Some(Crc32C), Some(Crc64Nvme), Some(Sha256), None];
    each(WAYS, |way| async move {
        let scene = scene(5, way, "part_size_mib = 5");
        for (nth, kind) in (1..).zip(kinds) {
            put(&scene, &format!("whole {nth}"), NewObject::declared(100_000, nth).checksum(kind));
            let long = NewObject::declared(11 * MIB + 1, 10 + nth).checksum(kind);
            put(&scene, &format!("long {nth}"), long.clone());
            put(&scene, &format!("even {nth}"), long.clone().parts(&[5 * MIB, 5 * MIB, MIB + 1]));
            put(&scene, &format!("uneven {nth}"), long.parts(&[6 * MIB, 5 * MIB + 1]));
        }
        // Parts larger than ours, and than what may be held: their boundaries are kept.
        let large = NewObject::declared(30 * MIB, 20).checksum(Some(Crc32));
        put(&scene, "large parts", large.parts(&[9 * MIB, 20 * MIB, MIB]));
        let mut daemon = scene.start_ok().await;
        all_well(&scene, &mut daemon).await;
        for (key, theirs) in scene.x.s3().snapshot(SOURCE) {
            let ours = held(&scene, &key).expect("it is there");
            let Some(checksum) = &theirs.checksum else { continue };
            let composite = checksum.value.contains('-');
            if way == "server-side" && composite {
                let of_all = ours.checksum.as_ref().map(|c| (c.algorithm, c.value.contains('-')));
                assert_eq!((ours.parts, of_all), (0, Some((checksum.algorithm, false))), "{key}");
            } else {
                assert_eq!(ours.checksum.as_ref(), Some(checksum), "{way} {key}");
            }
            if composite && way == "stream" {
                assert_eq!(ours.parts, theirs.parts, "{way} {key}");
            }
            never_wrong(&scene, &key);
        }
        assert!(scene.y.s3().uploads(STANDBY).is_empty());
        // By these checksums a lost index is rebuilt without copying what is whole on both ends.
        let copies =
            |scene: &Scene| scene.y.calls("CopyObject") + scene.y.calls("PutObject") + scene.y.calls("UploadPart");
        let before = copies(&scene);
        reseed(&mut daemon).await;
        let again = copies(&scene) - before;
        if way == "stream" {
            // Two without a checksum, in parts or not: their ETags are no MD5 here, as under KMS.
            assert!(again <= 12, "{again} copies");
        }
        all_well(&scene, &mut daemon).await;
    })
    .await;
}

/// S3-1: whatever happens to the source's object between the look and the write, the standby ends as the source does, and the
/// watermark waits.
#[tokio::test]
async fn s3_1_overwritten_and_deleted_while_it_is_copied() {
    each(WAYS, |way| async move {
        let scene = scene(7, way, "");
        for key in ["overwritten", "deleted", "removed for good", "made again"] {
            scene.put(key, "the first");
        }
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        let gate = Gate::new();
        let keys = ["overwritten", "deleted", "removed for good", "made again"];
        let rules = keys.map(|key| scene.y.fault(on(writes(way), key).times(1).fault(Fault::Hold(gate.clone()))));
        let last = keys.map(|key| scene.x.s3().put(SOURCE, key, NewObject::bytes("the second")));
        gate.until_arrived(4).await;
        scene.put("overwritten", "the third");
        scene.x.s3().delete(SOURCE, "deleted");
        scene.x.s3().delete_version(SOURCE, "removed for good", &last[2]);
        scene.x.s3().delete(SOURCE, "made again");
        scene.put("made again", "the third");
        let changed = scene.x.now();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let watermark = daemon.now().await.watermark(UPLOADS);
        assert!(watermark.is_none_or(|w| w < changed), "{way}: what is held holds the watermark");
        gate.open();
        all_well(&scene, &mut daemon).await;
        assert!(rules.iter().all(|rule| scene.y.faults_applied(*rule) == 1));
        let bytes = |key| scene.y.s3().bytes(STANDBY, key);
        assert_eq!(bytes("removed for good").as_deref(), Some(b"the first".as_slice()), "{way}");
        assert_eq!(bytes("overwritten").as_deref(), Some(b"the third".as_slice()), "{way}");
        watch.truthful().await;
    })
    .await;
}

/// And while it is read, when it goes through us.
#[tokio::test]
async fn s3_1_the_source_changes_while_it_is_read() {
    let scene = scene(9, "stream", "part_size_mib = 5");
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let gate = Gate::new();
    let keys = ["overwritten", "deleted", "gone for good", "long"];
    let rules =
        keys.map(|key| on("GetObject", key).times(1).fault(Fault::Hold(gate.clone()))).map(|r| scene.x.fault(r));
    let first = keys[..3].iter().map(|key| scene.x.s3().put(SOURCE, key, NewObject::bytes("one"))).collect::<Vec<_>>();
    put(&scene, "long", NewObject::declared(22 * MIB, 1));
    gate.until_arrived(4).await;
    scene.put("overwritten", "two");
    scene.x.s3().delete(SOURCE, "deleted");
    scene.x.s3().delete_version(SOURCE, "gone for good", &first[2]);
    put(&scene, "long", NewObject::declared(12 * MIB, 2));
    gate.open();
    all_well(&scene, &mut daemon).await;
    assert!(rules.iter().all(|rule| scene.x.faults_applied(*rule) == 1));
    assert!(held(&scene, "gone for good").is_none() && held(&scene, "deleted").is_none());
    assert!(scene.y.s3().uploads(STANDBY).is_empty(), "the upload of what was overwritten is given up");
    never_wrong(&scene, "long");
    watch.truthful().await;
}

/// The same bytes with other words: metadata, headers, storage class. In a bucket without versions the ETag stays too.
#[tokio::test]
async fn s3_2_the_same_bytes_with_other_words_are_another_object() {
    let both = [Versioning::On, Versioning::Off].map(|versioning| WAYS.map(|way| (versioning, way)));
    each(both.into_iter().flatten(), |(versioning, way)| async move {
        let scene = scene(11, way, "");
        scene.x.s3().set_versioning(SOURCE, versioning);
        for key in ["meta", "type", "class", "bare"] {
            put(&scene, key, NewObject::bytes("same").metadata("a", "1"));
        }
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        // LastModified is told in seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        put(&scene, "meta", NewObject::bytes("same").metadata("a", "2"));
        let html = |about: &mut plimsoll_lab::scripted::s3::Description| {
            about.headers.insert("content-type".into(), "text/html".into());
        };
        put(&scene, "type", NewObject::bytes("same").metadata("a", "1").about(html));
        put(&scene, "class", NewObject::bytes("same").metadata("a", "1").class("STANDARD_IA"));
        put(&scene, "bare", NewObject::bytes("same"));
        all_well(&scene, &mut daemon).await;
        // And at once, within the second.
        put(&scene, "meta", NewObject::bytes("same").metadata("a", "3"));
        all_well(&scene, &mut daemon).await;
        watch.truthful().await;
    })
    .await;
}

#[tokio::test]
async fn s3_f6_a_change_of_tags_is_carried_over_without_the_bytes() {
    each(WAYS, |way| async move {
        let scene = scene(13, way, "");
        put(&scene, "k", NewObject::bytes("one").tag("a", "1"));
        put(&scene, "none", NewObject::bytes("one"));
        let mut daemon = scene.start_ok().await;
        let (watch, application) = (Watch::start(&scene, daemon.client()), application(&scene));
        let before = scene.y.calls(writes(way));
        for (key, value) in [("k", "2 +ü"), ("none", "3")] {
            let tag = Tag::builder().key("a").value(value).build().expect("a tag");
            let tags = Tagging::builder().tag_set(tag).build().expect("tags");
            application.put_object_tagging().bucket(SOURCE).key(key).tagging(tags).send().await.expect("tagged");
        }
        all_well(&scene, &mut daemon).await;
        application.delete_object_tagging().bucket(SOURCE).key("k").send().await.expect("untagged");
        all_well(&scene, &mut daemon).await;
        assert_eq!(scene.y.calls(writes(way)), before, "{way}: no bytes are copied for tags");
        watch.truthful().await;
    })
    .await;
}

/// What no event tells and no listing shows: tags that changed silently in either bucket. A walk passes them over; a reseed
/// compares every key afresh and finds them. A storage class that a lifecycle rule changed is not followed, by design: the
/// standby has rules of its own.
#[tokio::test]
async fn s3_10_what_a_listing_cannot_show_is_found_by_a_reseed_and_not_by_a_walk() {
    let scene = scene(15, "server-side", "");
    for key in ["theirs", "ours", "moved", "written", "gone"] {
        put(&scene, key, NewObject::bytes("one").tag("a", "1"));
    }
    let mut daemon = scene.start_ok().await;
    scene.proven(&mut daemon).await;
    scene.x.s3().change_silently(SOURCE, "theirs", |about| drop(about.tags.insert("a".into(), "2".into())));
    scene.y.s3().change_silently(STANDBY, "ours", |about| about.tags.clear());
    scene.x.s3().transition(SOURCE, "moved", "STANDARD_IA");
    // What a listing shows: other bytes, nothing, and too much.
    scene.y.s3().put(STANDBY, "written", NewObject::bytes("somebody else's"));
    scene.y.s3().delete(STANDBY, "gone");
    scene.y.s3().put(STANDBY, "too much", NewObject::bytes("somebody else's"));
    verify(&mut daemon).await;
    let differ = || -> Vec<String> {
        let all = scene.x.s3().compare(SOURCE, &scene.y, STANDBY, Compare::default());
        all.differences.into_iter().map(|difference| difference.key).collect()
    };
    assert_eq!(differ(), ["moved", "ours", "theirs"], "foreign writes are found by a walk, and repaired");
    reseed(&mut daemon).await;
    assert_eq!(differ(), ["moved"], "every key is compared");
    scene.proven(&mut daemon).await;
    assert_eq!(daemon.violations().await, 0.0);
}

/// S3-7: an object that lies in an archive, or under a key of the customer's, is refused: counted, said, and it holds the
/// watermark until somebody restores it, replaces it, or removes it.
#[tokio::test]
async fn s3_7_what_cannot_be_copied_holds_the_watermark_until_it_can() {
    each(WAYS, |way| async move {
        let scene = scene(17, way, "");
        scene.put("k", "one");
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        let before = scene.proven(&mut daemon).await.watermark(UPLOADS).expect("there is one");
        put(&scene, "cold", NewObject::bytes("cold!").class("GLACIER"));
        put(&scene, "colder", NewObject::bytes("colder").class("DEEP_ARCHIVE"));
        put(
            &scene,
            "theirs",
            NewObject::bytes("secret").about(|about| about.encryption.customer_key = Some("md5".into())),
        );
        let put_at = scene.x.now();
        scene.put("k", "two");
        let status =
            daemon.reach(|status| field(status, "failed_items") == 3 && note(status).contains("sse-c: 1 keys")).await;
        assert!(note(&status).contains("archived: 2 keys, 11 bytes"), "{way}: {}", note(&status));
        assert!(note(&status).contains("sse-c: 1 keys, 6 bytes"), "{way}: {}", note(&status));
        until(&daemon, "the others go on", || scene.y.s3().bytes(STANDBY, "k").as_deref() == Some(b"two")).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let watermark = daemon.now().await.watermark(UPLOADS).expect("there is one");
        assert!(watermark >= before && watermark < put_at, "{way}: it is held below them");
        scene.x.s3().finish_restore(SOURCE, "cold");
        until(&daemon, "what is restored is copied", || held(&scene, "cold").is_some()).await;
        scene.x.s3().delete(SOURCE, "colder");
        scene.put("theirs", "no secret any more");
        // The restored one keeps its class, and so does its copy: it is written into the archive.
        let status = scene.proven(&mut daemon).await;
        scene.converge(&daemon).await;
        assert_eq!(count(&status, "failed_items"), 0, "{way}");
        assert!(!note(&status).contains("cannot be made the same"), "{way}: {}", note(&status));
        assert_eq!(daemon.violations().await, 0.0);
        watch.truthful().await;
    })
    .await;
}

/// S3-7: with an exclusion it is counted in every report, and holds nothing.
#[tokio::test]
async fn s3_7_what_is_excluded_is_counted_and_holds_nothing() {
    let scene = scene(19, "server-side", "exclude = [\"archived\", \"sse-c\"]");
    scene.put("k", "one");
    put(&scene, "cold", NewObject::bytes("cold!").class("GLACIER"));
    let mut daemon = scene.start_ok().await;
    // LastModified is told in seconds: these are younger than the first walk beyond doubt, and a later one finds them.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    put(&scene, "colder", NewObject::bytes("colder").class("GLACIER"));
    put(&scene, "theirs", NewObject::bytes("secret").about(|about| about.encryption.customer_key = Some("md5".into())));
    let status = scene.proven(&mut daemon).await;
    assert!(
        note(&status).contains("excluded by the configuration: archived: 2 keys, 11 bytes, sse-c: 1 keys, 6 bytes"),
        "{status}"
    );
    assert_eq!(count(&status, "failed_items"), 0);
    // A walk counts none of them twice, and a restored one is copied.
    verify(&mut daemon).await;
    scene.x.s3().finish_restore(SOURCE, "cold");
    until(&daemon, "what is restored is copied", || held(&scene, "cold").is_some()).await;
    let status = scene.proven(&mut daemon).await;
    assert!(note(&status).contains("archived: 1 keys, 6 bytes, sse-c: 1 keys, 6 bytes"), "{status}");
    assert_eq!(daemon.violations().await, 0.0);
}

/// S3-F6: what a lifecycle rule removes is told by events of their own.
#[tokio::test]
async fn s3_f6_what_a_lifecycle_rule_expires_is_removed() {
    each([Versioning::On, Versioning::Off], |versioning| async move {
        let scene = scene(21, "server-side", "");
        scene.x.s3().set_versioning(SOURCE, versioning);
        for n in 0..20 {
            scene.put(&format!("logs/{n}"), "old");
        }
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        for n in 0..15 {
            scene.x.s3().expire(SOURCE, &format!("logs/{n}"));
        }
        all_well(&scene, &mut daemon).await;
        assert_eq!(scene.y.s3().count(STANDBY), 5, "{versioning:?}");
        watch.truthful().await;
    })
    .await;
}

/// S3-9: two daemons with two indexes share the buckets and the queue: each hears half, and neither undoes the other.
#[tokio::test]
async fn s3_9_two_daemons_on_the_same_buckets_lose_no_update() {
    each(WAYS, |way| async move {
        let scene = scene(23, way, "");
        let (_folder, home) = another(&scene, way, "");
        let mut one = scene.start_ok().await;
        let binary = plimsoll_lab::daemon::binary().expect("cargo built it");
        let mut other = plimsoll_lab::daemon::Daemon::spawn(&binary, &home).expect("it starts");
        other.wait_ready(super::fixture::LONG).await.expect("it answers");
        other.reach(|status| status.state(UPLOADS) == "ok").await;
        let watches = [Watch::start(&scene, one.client()), Watch::start(&scene, other.client())];
        scene.y.set_latency(writes(way), Duration::from_millis(20));
        for round in 0..60 {
            for key in ["hot", "warm", "cold"] {
                put(
                    &scene,
                    key,
                    NewObject::bytes(format!("{key} {round}").into_bytes()).metadata("round", &round.to_string()),
                );
            }
            if round % 7 == 3 {
                scene.x.s3().delete(SOURCE, "warm");
            }
            if round % 5 == 1 {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
        let compared = || scene.x.s3().compare(SOURCE, &scene.y, STANDBY, Compare::default());
        until(&one, &format!("{way}: both buckets are the same"), || compared().equal()).await;
        for daemon in [&mut one, &mut other] {
            scene.proven(daemon).await;
        }
        assert!(compared().equal(), "{way}: {}", compared());
        for watch in watches {
            watch.truthful().await;
        }
        assert_eq!((one.violations().await, other.violations().await), (0.0, 0.0));
        assert!(source(&scene, "hot").about.metadata["round"] == "59");
    })
    .await;
}
