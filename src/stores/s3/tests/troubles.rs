//! What goes wrong around one object.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::StorageClass;

use super::super::copy::{Freight, Onto};
use super::super::dress::Dress;
use super::super::look::End;
use super::super::object::Beside;
use super::super::refusal::Stop;
use super::super::settings::Transfer;
use super::super::testing::{Scene, bucket, client_of, key, settings};
use super::put;
use crate::change::Class;
use crate::stores::converge::{Did, Settled, Spot};

#[tokio::test]
async fn nothing_is_removed_because_the_source_bucket_is_not_there() {
    let scene = Scene::new(settings(Transfer::Stream), false).await;
    put(&scene, "k", b"one").await;
    scene.same("k").await;
    scene.x.delete_object().bucket("shop-x").key("k").send().await.expect("a delete");
    scene.x.delete_bucket().bucket("shop-x").send().await.expect("no bucket");
    match scene.converge("k", false).await {
        Settled::Failed(error) => assert_eq!(error.class, Class::Missing, "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.read("k").await.as_deref(), Some(b"one".as_slice()));
}

#[tokio::test]
async fn bytes_that_are_not_the_sources_are_not_taken() {
    let scene = Scene::new(settings(Transfer::Stream), false).await;
    put(&scene, "k", b"one").await;
    let key = key("k");
    let source = scene.bucket.head(End::Source, &key, "k", None).await.expect("a look").expect("an object");
    assert!(source.checksum.is_some() || source.etag_tells());
    let dress = Dress::of(&source, &Beside::default(), &scene.bucket.settings.carry);
    let freight = Freight { key: &key, name: "k", source: &source, dress: &dress, onto: &Onto::Nothing };
    match scene.bucket.put_whole(freight, ByteStream::from_static(b"two"), 3).await {
        Err(Stop::Failed(error)) => assert_eq!(error.class, Class::Unavailable, "tried again: {}", error.chain()),
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.read("k").await, None);
}

#[tokio::test]
async fn s3_1_a_standby_that_changed_after_it_was_read_is_not_written_over() {
    for (transfer, together) in [(Transfer::ServerSide, true), (Transfer::Stream, false)] {
        let scene = Scene::new(settings(transfer), together).await;
        put(&scene, "k", b"one").await;
        let key = key("k");
        let source = scene.bucket.head(End::Source, &key, "k", None).await.expect("a look").expect("an object");
        let spot = Spot { key: &key, notebook: &scene.pages, afresh: false };
        // Another worker was faster.
        let beside = Beside { tags: Some(Default::default()), ..Beside::default() };
        let first = scene.bucket.carry_over(spot, "k", &source, &beside, &Onto::Nothing).await.expect("written");
        // The emulator knows no conditions on what CopyObject writes onto.
        if !together {
            let second = scene.bucket.carry_over(spot, "k", &source, &beside, &Onto::Nothing).await;
            assert!(matches!(second, Err(Stop::Again)), "{second:?}");
            let other = Onto::Object("00000000000000000000000000000000".into());
            let second = scene.bucket.carry_over(spot, "k", &source, &beside, &other).await;
            assert!(matches!(second, Err(Stop::Again)), "{second:?}");
        }
        let stale = super::super::known::Mark { etag: "0".into(), ..first.mark.clone() };
        assert!(matches!(scene.bucket.remove(&key, "k", &stale).await, Err(Stop::Again)));
        // And a source that is not what was read is not copied.
        put(&scene, "k", b"two").await;
        let onto = Onto::Object(first.mark.etag.clone());
        assert!(matches!(scene.bucket.carry_over(spot, "k", &source, &beside, &onto).await, Err(Stop::Again)));
        assert_eq!(scene.same("k").await.did, if together { Did::Copied } else { Did::Streamed });
    }
}

#[tokio::test]
async fn s3_7_what_lies_in_an_archive_is_refused_by_name_and_size() {
    for exclude in [false, true] {
        let mut settings = settings(Transfer::ServerSide);
        settings.exclude = if exclude { vec!["archived".into()] } else { Vec::new() };
        let scene = Scene::new(settings, true).await;
        let request = scene.x.put_object().bucket("shop-x").key("cold").storage_class(StorageClass::Glacier);
        request.body(ByteStream::from_static(b"cold!")).send().await.expect("a put");
        match scene.converge("cold", false).await {
            Settled::Refused(refusal) => {
                assert_eq!((refusal.class, refusal.bytes, refusal.excluded), ("archived", 5, exclude));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn s3_7_what_only_the_customers_key_opens_is_refused() {
    use base64::Engine as _;
    let scene = Scene::new(settings(Transfer::Stream), false).await;
    let raw = [7_u8; 32];
    let request = scene.x.put_object().bucket("shop-x").key("theirs").body(ByteStream::from_static(b"secret"));
    let request = request
        .sse_customer_algorithm("AES256")
        .sse_customer_key(base64::engine::general_purpose::STANDARD.encode(raw))
        .sse_customer_key_md5("y4HAEFCYWuvAXWFTtA1Qpg==");
    request.send().await.expect("a put");
    match scene.converge("theirs", false).await {
        Settled::Refused(refusal) => assert_eq!((refusal.class, refusal.bytes), ("sse-c", 6)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_answer_is_no_success_and_no_key_without_a_name_is_tried() {
    // Nobody listens there.
    let nobody = client_of("http://127.0.0.1:9", "us-west-2");
    let bucket = bucket(settings(Transfer::Stream), nobody.clone(), nobody);
    let pages = super::super::testing::Pages::default();
    let key = key("k");
    let settled = bucket.make_same(Spot { key: &key, notebook: &pages, afresh: false }).await;
    assert!(matches!(&settled, Settled::Failed(error) if error.class == Class::Unavailable), "{settled:?}");
    let wrong = crate::change::Key(vec![0xff].into());
    let settled = bucket.make_same(Spot { key: &wrong, notebook: &pages, afresh: false }).await;
    assert!(matches!(&settled, Settled::Refused(refusal) if refusal.class == "key"), "{settled:?}");
}
