//! Long objects, in parts.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};

use super::super::multipart::Work;
use super::super::settings::Transfer;
use super::super::testing::{Scene, key, settings};
use super::put;
use crate::stores::converge::{Did, Settled};

const MIB: usize = 1 << 20;

/// Bytes that differ from part to part.
fn body(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|i| (i / 4096) as u8 ^ (i % 251) as u8 ^ seed).collect()
}

async fn scene(transfer: Transfer, together: bool) -> Scene {
    let mut small = settings(transfer);
    small.part_size = 5 << 20;
    small.memory = 16 << 20;
    let mut scene = Scene::new(small, together).await;
    // What S3 sets at 5 GiB.
    scene.bucket.hands.limits.whole = 8 << 20;
    scene
}

const WAYS: [(Transfer, bool, Did); 2] =
    [(Transfer::ServerSide, true, Did::Copied), (Transfer::Stream, false, Did::Streamed)];

#[tokio::test]
async fn s3_5_a_long_object_goes_in_parts_either_way() {
    for (transfer, together, did) in WAYS {
        let scene = scene(transfer, together).await;
        let bytes = body(20 * MIB + 1, 0);
        put(&scene, "long", &bytes).await;
        let same = scene.same("long").await;
        assert_eq!((same.did, same.bytes), (did, bytes.len() as u64));
        assert!(scene.read("long").await.as_deref() == Some(bytes.as_slice()), "{transfer:?}");
        let head = scene.y.head_object().bucket("shop-y").key("long").send().await.expect("a head");
        assert!(head.e_tag().is_some_and(|etag| etag.contains("-5")), "{:?}", head.e_tag());
        assert_eq!(scene.same("long").await.did, Did::Nothing);
        let open = scene.y.list_multipart_uploads().bucket("shop-y").send().await.expect("uploads");
        assert!(open.uploads().is_empty());
    }
}

#[tokio::test]
async fn s3_5_an_object_that_was_written_in_parts_is_copied_with_all_that_was_said_of_it() {
    for (transfer, together, _) in WAYS {
        let scene = scene(transfer, together).await;
        let bytes = body(15 * MIB, 1);
        let begun = scene
            .x
            .create_multipart_upload()
            .bucket("shop-x")
            .key("parts")
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .metadata("owner", "me")
            .send()
            .await
            .expect("an upload");
        let upload = begun.upload_id().expect("an id");
        let mut parts = Vec::new();
        for (number, part) in (1..).zip(bytes.chunks(6 * MIB)) {
            let done = scene
                .x
                .upload_part()
                .bucket("shop-x")
                .key("parts")
                .upload_id(upload)
                .part_number(number)
                .checksum_algorithm(ChecksumAlgorithm::Sha256)
                .body(ByteStream::from(part.to_vec()))
                .send()
                .await
                .expect("a part");
            let part = CompletedPart::builder().part_number(number).set_e_tag(done.e_tag);
            parts.push(part.set_checksum_sha256(done.checksum_sha256).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = scene.x.complete_multipart_upload().bucket("shop-x").key("parts").upload_id(upload);
        request.multipart_upload(parts).send().await.expect("completed");

        scene.same("parts").await;
        let key = key("parts");
        let look = |end| scene.bucket.head(end, &key, "parts", None);
        let x = look(super::super::look::End::Source).await.expect("a look").expect("an object");
        let y = look(super::super::look::End::Target).await.expect("a look").expect("an object");
        assert_eq!(x.headers, y.headers);
        assert!(x.checksum.is_some_and(|checksum| checksum.composite));
        assert!(scene.read("parts").await.as_deref() == Some(bytes.as_slice()), "{transfer:?}");
        assert_eq!(scene.same("parts").await.did, Did::Nothing);
    }
}

/// Begins a copy and drops it when the standby has at least one part; gives the upload.
async fn drop_in_the_middle(scene: &Scene, name: &str) -> String {
    let watch = async {
        loop {
            let note = scene.pages.work.lock().unwrap().get(&key(name)).cloned();
            if let Some(upload) = Work::read(note).and_then(|work| work.upload().map(str::to_owned)) {
                let parts =
                    scene.y.list_parts().bucket("shop-y").key(name).upload_id(&upload).send().await.expect("parts");
                if !parts.parts().is_empty() {
                    return upload;
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        settled = scene.converge(name, false) => panic!("it was not in the middle: {settled:?}"),
        upload = watch => upload,
    }
}

#[tokio::test]
async fn s3_5_a_copy_that_was_dropped_in_the_middle_goes_on_where_it_was() {
    for (transfer, together, did) in WAYS {
        let scene = scene(transfer, together).await;
        let bytes = body(60 * MIB, 2);
        put(&scene, "long", &bytes).await;
        let upload = drop_in_the_middle(&scene, "long").await;
        let note = Work::read(scene.pages.work.lock().unwrap().get(&key("long")).cloned()).expect("a note");
        let same = scene.same("long").await;
        assert_eq!(same.did, did);
        assert_eq!(note.upload(), Some(upload.as_str()), "the upload that was begun was completed");
        let open = scene.y.list_multipart_uploads().bucket("shop-y").send().await.expect("uploads");
        assert!(open.uploads().is_empty(), "and no other one is left");
        assert!(scene.read("long").await.as_deref() == Some(bytes.as_slice()), "{transfer:?}");
    }
}

#[tokio::test]
async fn s3_5_another_object_is_not_completed_of_the_parts_of_the_last_one() {
    for (transfer, together, _) in WAYS {
        let scene = scene(transfer, together).await;
        put(&scene, "long", &body(60 * MIB, 3)).await;
        drop_in_the_middle(&scene, "long").await;
        let newer = body(20 * MIB, 4);
        put(&scene, "long", &newer).await;
        scene.same("long").await;
        assert!(scene.read("long").await.as_deref() == Some(newer.as_slice()), "{transfer:?}");
        let open = scene.y.list_multipart_uploads().bucket("shop-y").send().await.expect("uploads");
        assert!(open.uploads().is_empty(), "the old one was given up");

        // And of one that is gone nothing is left behind.
        put(&scene, "gone", &body(60 * MIB, 5)).await;
        drop_in_the_middle(&scene, "gone").await;
        scene.x.delete_object().bucket("shop-x").key("gone").send().await.expect("a delete");
        scene.same("gone").await;
        let open = scene.y.list_multipart_uploads().bucket("shop-y").send().await.expect("uploads");
        assert!(open.uploads().is_empty());
    }
}

#[tokio::test]
async fn s3_5_an_upload_that_vanished_is_begun_anew() {
    let scene = scene(Transfer::Stream, false).await;
    let bytes = body(60 * MIB, 6);
    put(&scene, "long", &bytes).await;
    let upload = drop_in_the_middle(&scene, "long").await;
    scene.y.abort_multipart_upload().bucket("shop-y").key("long").upload_id(&upload).send().await.expect("aborted");
    assert!(matches!(scene.converge("long", false).await, Settled::Same(_)));
    assert!(scene.read("long").await.as_deref() == Some(bytes.as_slice()));
}

#[tokio::test]
async fn s3_1_the_source_that_changes_under_a_copy_in_parts_is_looked_at_again() {
    for (transfer, together, _) in WAYS {
        let scene = scene(transfer, together).await;
        put(&scene, "long", &body(60 * MIB, 7)).await;
        let newer = body(1_000, 8);
        let change = async {
            while scene.pages.work.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            put(&scene, "long", &newer).await;
        };
        let (settled, ()) = tokio::join!(scene.converge("long", false), change);
        assert!(matches!(settled, Settled::Again), "{transfer:?}: {settled:?}");
        scene.same("long").await;
        assert!(scene.read("long").await.as_deref() == Some(newer.as_slice()), "{transfer:?}");
        let open = scene.y.list_multipart_uploads().bucket("shop-y").send().await.expect("uploads");
        assert!(open.uploads().is_empty());
    }
}

#[tokio::test]
async fn s3_f9_a_checksum_of_a_whole_body_is_kept_by_a_body_that_passes() {
    let scene = scene(Transfer::Stream, false).await;
    let bytes = body(7 * MIB, 9);
    let request = scene.x.put_object().bucket("shop-x").key("sha").checksum_algorithm(ChecksumAlgorithm::Sha256);
    request.body(ByteStream::from(bytes.clone())).send().await.expect("a put");
    assert_eq!(scene.same("sha").await.did, Did::Streamed);
    assert!(scene.read("sha").await.as_deref() == Some(bytes.as_slice()));
    scene.pages.known.lock().unwrap().clear();
    assert_eq!(scene.same("sha").await.did, Did::Nothing, "the same checksum on both sides");
}
