//! Copies across regions, whole and in parts, and what they refuse.

use super::*;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective};

const GIB: u64 = 1 << 30;

#[tokio::test]
async fn a_copy_carries_over_what_aws_carries_over() {
    let Pair { x, y } = pair(Versioning::On);
    let client = s3(&y);
    let object = NewObject::bytes("body").metadata("m", "1").tag("t", "2").class("STANDARD_IA");
    let object = object.parts(&[1, 3]).about(|about| about.acl = Some("public-read".to_owned()));
    let version = x.s3().put("b", "k", object.checksum(Some(ChecksumAlgorithm::Sha256)));
    let source = format!("b/k?versionId={version}");
    let copy = client.copy_object().bucket("copy").key("k").copy_source(&source);
    let copied = copy.storage_class("STANDARD_IA".into()).if_none_match("*").send().await.unwrap();
    assert_eq!(copied.copy_source_version_id(), Some(version.as_str()));
    assert!(copied.copy_object_result().unwrap().checksum_sha256().is_some_and(|sum| !sum.contains('-')));
    assert!(x.s3().compare("b", &y, "copy", Compare::default()).equal());
    let (a, b) = (x.s3().object("b", "k").unwrap(), y.s3().object("copy", "k").unwrap());
    assert!((a.parts, b.parts, b.about.acl) == (2, 0, None) && a.etag != b.etag);
    let replace = client
        .copy_object()
        .bucket("copy")
        .key("k")
        .copy_source(&source)
        .if_match(copied.copy_object_result.unwrap().e_tag.unwrap());
    replace.metadata_directive(MetadataDirective::Replace).metadata("m", "9").send().await.unwrap();
    assert_eq!(y.s3().object("copy", "k").unwrap().about.metadata["m"], "9");
    assert_eq!(x.s3().compare("b", &y, "copy", Compare::default()).differences.len(), 1);
    let wrong = client.copy_object().bucket("copy").key("k").copy_source("b/k").copy_source_if_match("\"0\"");
    assert_eq!(refusal(&wrong.send().await.unwrap_err()), is("PreconditionFailed", 412));
    x.s3().delete("b", "k");
    let marker = x.s3().versions("b", "k").last().unwrap().id.clone();
    let current = client.copy_object().bucket("copy").key("k").copy_source("b/k").send().await.unwrap_err();
    assert_eq!(refusal(&current), is("NoSuchKey", 404));
    let named = client.copy_object().bucket("copy").key("k").copy_source(format!("b/k?versionId={marker}"));
    assert_eq!(refusal(&named.send().await.unwrap_err()), is("InvalidRequest", 400));
    y.s3().see_nobody();
    let unseen = client.copy_object().bucket("copy").key("k").copy_source(&source).send().await.unwrap_err();
    assert_eq!(refusal(&unseen), is("NoSuchBucket", 404));
}

#[tokio::test]
async fn five_gib_are_copied_and_a_byte_more_is_not() {
    let Pair { x, y } = pair(Versioning::Off);
    let client = s3(&y);
    for (key, size) in [("less", 5 * GIB - 1), ("most", 5 * GIB), ("more", 5 * GIB + 1)] {
        x.s3().put("b", key, NewObject::declared(size, 7));
        let copied = client.copy_object().bucket("copy").key(key).copy_source(format!("b/{key}")).send().await;
        assert_eq!(copied.is_ok(), key != "more", "{key}");
    }
    let id = client.create_multipart_upload().bucket("copy").key("more").send().await.unwrap().upload_id.unwrap();
    let mut parts = Vec::new();
    for (number, range) in [(1, format!("bytes=0-{}", 4 * GIB - 1)), (2, format!("bytes={}-{}", 4 * GIB, 5 * GIB))] {
        let part = client.upload_part_copy().bucket("copy").key("more").upload_id(&id).part_number(number);
        let part = part.copy_source("b/more").copy_source_range(range).send().await.unwrap();
        let result = part.copy_part_result.unwrap();
        let part = CompletedPart::builder().part_number(number).set_e_tag(result.e_tag);
        parts.push(
            part.set_checksum_crc64_nvme(result.checksum_crc64_nvme).set_checksum_crc32(result.checksum_crc32).build(),
        );
    }
    let past = client.upload_part_copy().bucket("copy").key("more").upload_id(&id).part_number(3);
    let past =
        past.copy_source("b/more").copy_source_range(format!("bytes=0-{}", 5 * GIB + 1)).send().await.unwrap_err();
    assert_eq!(refusal(&past), is("InvalidArgument", 400));
    let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let done = client.complete_multipart_upload().bucket("copy").key("more").upload_id(&id).multipart_upload(all);
    done.send().await.unwrap();
    let comparison = x.s3().compare("b", &y, "copy", Compare::default());
    // The type of what was made in parts is not the source's: nobody told it.
    assert!(comparison.differences.iter().all(|d| d.key == "more"), "{comparison}");
    assert_eq!(x.s3().object("b", "more").unwrap().body, y.s3().object("copy", "more").unwrap().body);
    let piece = s3(&x).get_object().bucket("b").key("more").range(format!("bytes={}-{}", 5 * GIB - 9, 5 * GIB));
    assert_eq!(piece.send().await.unwrap().body.collect().await.unwrap().into_bytes().len(), 10);
    x.s3().put("b", "cold", NewObject::declared(9, 1).class("DEEP_ARCHIVE"));
    let cold = client.copy_object().bucket("copy").key("cold").copy_source("b/cold").send().await.unwrap_err();
    assert_eq!(refusal(&cold), is("InvalidObjectState", 403));
}
