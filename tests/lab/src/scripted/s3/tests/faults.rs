//! Faults where they hurt.

use super::*;
use aws_sdk_s3::primitives::ByteStream;

#[tokio::test]
async fn storms_and_errors_inside_a_success() {
    let Pair { x, y } = pair(Versioning::Off);
    let client = s3(&y);
    x.s3().put("b", "k", NewObject::bytes("x"));
    let copy = || client.copy_object().bucket("copy").key("k").copy_source("b/k").send();
    y.fault(FaultRule::on("CopyObject").times(1).fault(Fault::conflict()));
    assert_eq!(refusal(&copy().await.unwrap_err()), is("ConditionalRequestConflict", 409));
    y.fault(FaultRule::on("CopyObject").object("k").times(1).fault(Fault::precondition_failed()));
    assert_eq!(refusal(&copy().await.unwrap_err()), is("PreconditionFailed", 412));
    y.fault(FaultRule::on("CopyObject").times(1).fault(Fault::Throttle));
    assert_eq!(refusal(&copy().await.unwrap_err()), is("SlowDown", 503));
    y.fault(FaultRule::on("CopyObject").bucket("copy").times(1).fault(Fault::AccessDenied));
    assert_eq!(refusal(&copy().await.unwrap_err()), is("AccessDenied", 403));
    let error = crate::scripted::AwsError::new(500, "InternalError", "We encountered an internal error.");
    y.fault(FaultRule::on("CopyObject").times(1).fault(Fault::ErrorInBody(error.clone())));
    let inside = copy().await.unwrap_err();
    assert!(format!("{inside:?}").contains("InternalError"), "{inside:?}");
    assert!(y.s3().object("copy", "k").is_none());
    y.fault(FaultRule::on("CopyObject").times(1).fault(Fault::ErrorInBodyAfterEffect(error)));
    copy().await.unwrap_err();
    assert!(y.s3().object("copy", "k").is_some());
    y.fault(FaultRule::on("DeleteObject").times(1).fault(Fault::LoseAnswer));
    client.delete_object().bucket("copy").key("k").send().await.unwrap_err();
    assert!(y.s3().object("copy", "k").is_none());
    let gate = Gate::new();
    y.fault(FaultRule::on("CopyObject").times(1).fault(Fault::Hold(gate.clone())));
    let held = tokio::spawn(copy());
    gate.until_arrived(1).await;
    x.s3().put("b", "k", NewObject::bytes("changed meanwhile"));
    gate.open();
    held.await.unwrap().unwrap();
    assert_eq!(y.s3().bytes("copy", "k").unwrap(), "changed meanwhile");
    y.fault(FaultRule::on("PutObject").times(1).fault(Fault::LoseAnswerHeld));
    client.put_object().bucket("copy").key("late").body(ByteStream::from_static(b"x")).send().await.unwrap_err();
    assert!(y.s3().object("copy", "late").is_none());
    assert!(y.release_held()[0].is_ok() && y.s3().object("copy", "late").is_some());
    let id = client.create_multipart_upload().bucket("copy").key("m").send().await.unwrap().upload_id.unwrap();
    assert_eq!(y.s3().abort_uploads("copy"), 1);
    let part = client.upload_part().bucket("copy").key("m").upload_id(id).part_number(1);
    assert_eq!(refusal(&part.body(ByteStream::from_static(b"x")).send().await.unwrap_err()), is("NoSuchUpload", 404));
}

#[tokio::test]
async fn bodies_are_slow_cut_and_wrong() {
    let Pair { x, .. } = pair(Versioning::Off);
    let client = s3(&x);
    x.s3().put("b", "k", NewObject::declared(300_000, 3).checksum(Some(ChecksumAlgorithm::Crc32)));
    let read = || async {
        let mode = aws_sdk_s3::types::ChecksumMode::Enabled;
        let got = client.get_object().bucket("b").key("k").checksum_mode(mode).send().await.unwrap();
        got.body.collect().await.map(|bytes| bytes.into_bytes().len())
    };
    assert_eq!(read().await.unwrap(), 300_000);
    for spoil in [Spoil::cut(100_000), Spoil::flip(299_999), Spoil::checksum()] {
        x.fault(FaultRule::on("GetObject").times(1).fault(Fault::Spoil(spoil.clone())));
        assert!(read().await.is_err(), "{spoil:?}");
    }
    x.fault(FaultRule::on("GetObject").times(1).fault(Fault::Spoil(Spoil::slow(Duration::from_millis(20)))));
    let start = std::time::Instant::now();
    assert_eq!(read().await.unwrap(), 300_000);
    assert!(start.elapsed() >= Duration::from_millis(100));
}
