//! Objects through the SDK.

use super::*;
use aws_sdk_s3::primitives::ByteStream;

#[tokio::test]
async fn an_object_goes_in_and_out_and_is_told() {
    let Pair { x, y } = pair(Versioning::Off);
    let (client, there) = (s3(&x), s3(&y));
    let key = "a b+c%/é\nü";
    let put = client.put_object().bucket("b").key(key).body(ByteStream::from_static(b"hello")).metadata("m", "1");
    let put = put.tagging("t=1&u=a%20b").send().await.unwrap();
    let got = client.get_object().bucket("b").key(key).send().await.unwrap();
    assert_eq!(got.e_tag(), put.e_tag());
    assert_eq!(got.metadata().unwrap()["m"], "1");
    assert_eq!(got.tag_count(), Some(2));
    assert_eq!(&got.body.collect().await.unwrap().into_bytes()[..], b"hello");
    let page = client.list_objects_v2().bucket("b").send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some(key));
    let source = format!("b/{}", super::super::form_encoded(key).replace('+', "%20"));
    there.copy_object().bucket("copy").key(key).copy_source(source).send().await.unwrap();
    assert!(x.s3().compare("b", &y, "copy", super::super::Compare::default()).equal());
    let queue = sqs(&y).receive_message().queue_url(y.sqs().url("q")).send().await.unwrap();
    assert!(queue.messages()[0].body().unwrap().contains("a+b%2Bc%25/%C3%A9%0A%C3%BC"));
    client.delete_object().bucket("b").key(key).send().await.unwrap();
    assert!(client.head_object().bucket("b").key(key).send().await.unwrap_err().into_service_error().is_not_found());
    assert_eq!(x.s3().history("b").len(), 2);
    assert_eq!((x.calls("PutObject"), x.calls("DeleteObject")), (1, 1));
}

#[tokio::test]
async fn conditions_protect_what_is_there() {
    let Pair { x, .. } = pair(Versioning::On);
    let client = s3(&x);
    let put = || client.put_object().bucket("b").key("k").body(ByteStream::from_static(b"1"));
    assert_eq!(refusal(&put().if_match("\"0\"").send().await.unwrap_err()), is("NoSuchKey", 404));
    let first = put().if_none_match("*").send().await.unwrap().e_tag.unwrap();
    assert_eq!(refusal(&put().if_none_match("*").send().await.unwrap_err()), is("PreconditionFailed", 412));
    assert_eq!(refusal(&put().if_match("\"0\"").send().await.unwrap_err()), is("PreconditionFailed", 412));
    let second = put().body(ByteStream::from_static(b"2")).if_match(first.as_str()).send().await.unwrap();
    let delete = || client.delete_object().bucket("b").key("k");
    assert_eq!(refusal(&delete().if_match(first.as_str()).send().await.unwrap_err()), is("PreconditionFailed", 412));
    let marker = delete().if_match(second.e_tag.unwrap()).send().await.unwrap();
    assert_eq!(marker.delete_marker, Some(true));
    assert_eq!(refusal(&delete().if_match(first).send().await.unwrap_err()), is("NoSuchKey", 404));
    put().if_none_match("*").send().await.expect("a delete marker is nothing");
    let get = client.get_object().bucket("b").key("k").if_none_match("*");
    assert_eq!(get.send().await.unwrap_err().raw_response().unwrap().status().as_u16(), 304);
}

#[tokio::test]
async fn versions_markers_and_the_null_version() {
    let pair = pair(Versioning::On);
    let (x, client) = (&pair.x, s3(&pair.x));
    let put = |body: &'static [u8]| client.put_object().bucket("b").key("k").body(ByteStream::from_static(body)).send();
    let one = put(b"1").await.unwrap().version_id.unwrap();
    put(b"2").await.unwrap();
    let marker = client.delete_object().bucket("b").key("k").send().await.unwrap().version_id.unwrap();
    client.delete_object().bucket("b").key("k").send().await.unwrap();
    let head = client.head_object().bucket("b").key("k").send().await.unwrap_err();
    assert_eq!(head.raw_response().unwrap().headers().get("x-amz-delete-marker"), Some("true"));
    let named = client.head_object().bucket("b").key("k").version_id(&marker).send().await.unwrap_err();
    assert_eq!(named.raw_response().unwrap().status().as_u16(), 405);
    // Both markers and the newest version go for good: the oldest one is current again.
    for version in x.s3().versions("b", "k").iter().skip(1) {
        client.delete_object().bucket("b").key("k").version_id(&version.id).send().await.unwrap();
    }
    let got = client.get_object().bucket("b").key("k").send().await.unwrap();
    assert_eq!(got.version_id, Some(one));
    x.s3().set_versioning("b", Versioning::Suspended);
    assert_eq!(put(b"3").await.unwrap().version_id.as_deref(), Some("null"));
    put(b"4").await.unwrap();
    client.delete_object().bucket("b").key("k").send().await.unwrap();
    let versions = x.s3().versions("b", "k");
    assert_eq!((versions.len(), versions[1].id.as_str(), versions[1].object.is_none()), (2, "null", true));
    let events: Vec<&str> = x.s3().history("b").iter().map(|change| change.event).collect();
    assert_eq!(events.iter().filter(|event| **event == "ObjectRemoved:Delete").count(), 3);
    assert_eq!(events.iter().filter(|event| **event == "ObjectRemoved:DeleteMarkerCreated").count(), 3);
    assert_eq!(told(&pair).len(), events.len());
}

#[tokio::test]
async fn ranges_checksums_and_parts() {
    let Pair { x, .. } = pair(Versioning::Off);
    x.s3().quirks("b", |quirks| quirks.min_part = 0);
    let client = s3(&x);
    use aws_sdk_s3::types::{
        ChecksumAlgorithm as Algorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, ObjectAttributes,
    };
    for algorithm in [Algorithm::Crc32, Algorithm::Crc32C, Algorithm::Crc64Nvme, Algorithm::Sha256] {
        let put = client.put_object().bucket("b").key("k").body(ByteStream::from_static(b"0123456789"));
        put.checksum_algorithm(algorithm).send().await.unwrap();
        let got = client.get_object().bucket("b").key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        assert_eq!(&got.body.collect().await.unwrap().into_bytes()[..], b"0123456789", "the SDK has verified it");
    }
    let wrong = client.put_object().bucket("b").key("k").body(ByteStream::from_static(b"x")).checksum_crc32("AAAAAA==");
    assert_eq!(refusal(&wrong.send().await.unwrap_err()), is("BadDigest", 400));
    for (range, bytes) in [("bytes=2-4", "234"), ("bytes=8-", "89"), ("bytes=-1", "9"), ("bytes=5-100", "56789")] {
        let got = client.get_object().bucket("b").key("k").range(range).send().await.unwrap();
        assert_eq!(got.body.collect().await.unwrap().into_bytes(), bytes);
    }
    let past = client.get_object().bucket("b").key("k").range("bytes=10-").send().await.unwrap_err();
    assert_eq!(refusal(&past), is("InvalidRange", 416));

    let upload = client.create_multipart_upload().bucket("b").key("m").checksum_algorithm(Algorithm::Crc32);
    let id = upload.send().await.unwrap().upload_id.unwrap();
    let mut parts = Vec::new();
    for (number, body) in [(1, &b"hello "[..]), (3, b"world")] {
        let part = client.upload_part().bucket("b").key("m").upload_id(&id).part_number(number);
        let put = part.body(ByteStream::from_static(body)).checksum_algorithm(Algorithm::Crc32).send().await.unwrap();
        let part = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag);
        parts.push(part.set_checksum_crc32(put.checksum_crc32).build());
    }
    let listed = client.list_parts().bucket("b").key("m").upload_id(&id).send().await.unwrap();
    assert_eq!(listed.parts().iter().map(|part| part.size()).collect::<Vec<_>>(), [Some(6), Some(5)]);
    let complete = || client.complete_multipart_upload().bucket("b").key("m").upload_id(&id);
    let swapped = CompletedMultipartUpload::builder().set_parts(Some(parts.iter().rev().cloned().collect())).build();
    let refused = complete().multipart_upload(swapped).send().await.unwrap_err();
    assert_eq!(refusal(&refused), is("InvalidPartOrder", 400));
    let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    x.s3().quirks("b", |quirks| quirks.min_part = 5 << 20);
    let small = complete().multipart_upload(all.clone()).send().await.unwrap_err();
    assert_eq!(refusal(&small), is("EntityTooSmall", 400));
    x.s3().quirks("b", |quirks| quirks.min_part = 0);
    let done = complete().multipart_upload(all.clone()).if_none_match("*").send().await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-2\"") && done.checksum_crc32().unwrap().ends_with("-2"));
    assert_eq!(refusal(&complete().multipart_upload(all).send().await.unwrap_err()), is("NoSuchUpload", 404));
    let second = client.head_object().bucket("b").key("m").part_number(2).send().await.unwrap();
    assert_eq!((second.parts_count(), second.content_length()), (Some(2), Some(5)));
    let attributes = client.get_object_attributes().bucket("b").key("m");
    let attributes =
        attributes.object_attributes(ObjectAttributes::ObjectParts).object_attributes(ObjectAttributes::Checksum);
    let attributes = attributes.object_attributes(ObjectAttributes::ObjectSize).send().await.unwrap();
    assert_eq!((attributes.object_parts().unwrap().parts().len(), attributes.object_size()), (2, Some(11)));
    assert_eq!(x.s3().bytes("b", "m").unwrap(), "hello world");
}

#[tokio::test]
async fn archived_locked_and_encrypted_objects_refuse() {
    let Pair { x, .. } = pair(Versioning::On);
    let client = s3(&x);
    x.s3().put("b", "cold", NewObject::bytes("x").class("GLACIER"));
    let get = || client.get_object().bucket("b").key("cold").send();
    assert_eq!(refusal(&get().await.unwrap_err()), is("InvalidObjectState", 403));
    let head = client.head_object().bucket("b").key("cold").send().await.unwrap();
    assert_eq!(head.storage_class().map(|class| class.as_str()), Some("GLACIER"));
    client.restore_object().bucket("b").key("cold").send().await.unwrap();
    x.s3().finish_restore("b", "cold");
    get().await.expect("a restored object is read");
    let secret = NewObject::bytes("x").about(|about| about.encryption.customer_key = Some("key".to_owned()));
    x.s3().put("b", "secret", secret);
    let head = client.head_object().bucket("b").key("secret").send().await.unwrap_err();
    assert_eq!(head.raw_response().unwrap().status().as_u16(), 400);
    let version = x.s3().put("b", "held", NewObject::bytes("x"));
    let hold = aws_sdk_s3::types::ObjectLockLegalHold::builder().status("ON".into()).build();
    client.put_object_legal_hold().bucket("b").key("held").legal_hold(hold).send().await.unwrap();
    let delete = client.delete_object().bucket("b").key("held").version_id(version).send().await.unwrap_err();
    assert_eq!(refusal(&delete), is("AccessDenied", 403));
    x.s3().set_replication("b", "held", Some("FAILED"));
    let head = client.head_object().bucket("b").key("held").send().await.unwrap();
    assert_eq!(head.replication_status().map(|status| status.as_str()), Some("FAILED"));
}

#[tokio::test]
async fn a_bucket_tells_what_it_is() {
    let Pair { y, .. } = pair(Versioning::On);
    let client = s3(&y);
    let head = client.head_bucket().bucket("copy").send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("us-west-2"));
    let versions = client.get_bucket_versioning().bucket("copy").send().await.unwrap();
    assert_eq!(versions.status().map(|status| status.as_str()), Some("Enabled"));
    let location = client.get_bucket_location().bucket("copy").send().await.unwrap();
    assert_eq!(location.location_constraint().map(|region| region.as_str()), Some("us-west-2"));
    let rules = client.get_bucket_lifecycle_configuration().bucket("copy");
    assert_eq!(refusal(&rules.send().await.unwrap_err()), is("NoSuchLifecycleConfiguration", 404));
    use aws_sdk_s3::types::{
        BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    };
    let rule = LifecycleRule::builder().id("r").status(ExpirationStatus::Disabled);
    let rule = rule.filter(LifecycleRuleFilter::builder().prefix("p").build());
    let rule = rule.expiration(LifecycleExpiration::builder().days(3).build()).build().unwrap();
    let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
    client.put_bucket_lifecycle_configuration().bucket("copy").lifecycle_configuration(rules).send().await.unwrap();
    let rules = client.get_bucket_lifecycle_configuration().bucket("copy").send().await.unwrap();
    assert_eq!(rules.rules()[0].id(), Some("r"));
    client.get_bucket_encryption().bucket("copy").send().await.unwrap();
    client.get_bucket_notification_configuration().bucket("copy").send().await.unwrap();
    assert_eq!(client.list_buckets().send().await.unwrap().buckets().len(), 1);
    let none = client.head_bucket().bucket("none").send().await.unwrap_err();
    assert_eq!(none.raw_response().unwrap().status().as_u16(), 404);
}

#[tokio::test]
async fn large_bodies_keep_their_bytes() {
    let Pair { x, .. } = pair(Versioning::Off);
    let client = s3(&x);
    let bytes: Vec<u8> = (0..8_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let put = client.put_object().bucket("b").key("big").body(ByteStream::from(bytes.clone()));
    put.send().await.unwrap();
    assert_eq!(x.s3().object("b", "big").unwrap().body, super::super::BodyDigest::of(&bytes));
    let got = client.get_object().bucket("b").key("big").send().await.unwrap();
    assert!(got.body.collect().await.unwrap().into_bytes() == bytes);
}
