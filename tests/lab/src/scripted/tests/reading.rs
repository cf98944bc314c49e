//! Reading a stream: order, images, pages, iterators, delays.

use super::{drain, item, iterator, server, streams, values};
use crate::scripted::{Fault, FaultRule, Key, TableSpec, TrimPoint, ViewType};
use aws_sdk_dynamodbstreams::primitives::DateTime;
use aws_sdk_dynamodbstreams::types::{OperationType, ShardIteratorType, StreamViewType};
use std::time::{Duration, UNIX_EPOCH};

#[tokio::test]
async fn records_carry_what_happened_in_order() {
    let aws = server();
    aws.put("t", item("a", 1)).unwrap();
    aws.put("t", item("a", 1)).unwrap();
    aws.put("t", item("a", 2)).unwrap();
    aws.delete("t", Key::of("none"));
    aws.delete("t", Key::of("a"));
    aws.put("t", item("b", 3)).unwrap();
    aws.expire("t", Key::of("b"));
    let (records, ended) = drain(&aws, &aws.open_shards("t")[0]).await;
    assert!(!ended);
    let names: Vec<_> = records.iter().map(|r| r.event_name.clone().unwrap()).collect();
    use OperationType::{Insert, Modify, Remove};
    assert_eq!(names, [Insert, Modify, Remove, Insert, Remove], "a no-op write has no record (DS-F2)");
    assert_eq!(values(&records), ["1", "2", "deleted", "3", "deleted"]);
    let truth = aws.history("t");
    for (record, change) in records.iter().zip(&truth) {
        let dynamodb = record.dynamodb.as_ref().unwrap();
        assert_eq!(dynamodb.sequence_number.as_ref().unwrap(), &change.sequence.unwrap().to_string());
        assert!(dynamodb.sequence_number.as_ref().unwrap().len() >= 21);
        let seconds = change.commit.duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(dynamodb.approximate_creation_date_time, Some(DateTime::from_secs(seconds.cast_signed())));
        assert_eq!(dynamodb.keys.as_ref().unwrap().len(), 1);
        assert_eq!(dynamodb.old_image.is_some(), change.old.is_some());
        assert_eq!(dynamodb.stream_view_type, Some(StreamViewType::NewAndOldImages));
        assert!(dynamodb.size_bytes.unwrap() > 0 && record.event_id.is_some());
        assert_eq!(record.aws_region.as_deref(), Some("us-east-1"));
    }
    let by = |i: usize| records[i].user_identity.as_ref().map(|who| who.principal_id.clone().unwrap());
    assert_eq!((by(2), by(4).as_deref()), (None, Some("dynamodb.amazonaws.com")), "DS-F14");
}

#[tokio::test]
async fn the_view_type_decides_the_images() {
    let aws = server();
    for (view, new, old) in
        [(ViewType::NewImage, true, false), (ViewType::OldImage, false, true), (ViewType::KeysOnly, false, false)]
    {
        aws.disable_stream("t");
        aws.enable_stream("t", view);
        aws.put("t", item("a", 1)).unwrap();
        aws.put("t", item("a", 2)).unwrap();
        let (records, _) = drain(&aws, &aws.open_shards("t")[0]).await;
        let last = records.last().unwrap().dynamodb.as_ref().unwrap();
        assert_eq!((last.new_image.is_some(), last.old_image.is_some()), (new, old), "{view:?}");
        aws.delete("t", Key::of("a"));
    }
    let listed = streams(&aws).list_streams().table_name("t").send().await.unwrap();
    assert_eq!(listed.streams().len(), 4, "old streams stay readable (DS-F3)");
}

#[tokio::test]
async fn sequence_numbers_grow_longer_and_iterators_follow() {
    let aws = server();
    let first = 10_u128.pow(21) - 4;
    aws.create_table(TableSpec::new("u", "pk").stream(ViewType::NewImage).first_sequence(first));
    aws.recreate_table("t");
    for v in 0..10 {
        aws.put("u", item("a", v)).unwrap();
    }
    let lengths: Vec<_> = aws.history("u").iter().map(|c| c.sequence.unwrap().to_string().len()).collect();
    assert_eq!((lengths[0], lengths[9]), (21, 22), "DS-F8");

    for v in 0..10 {
        aws.put("t", item("a", v)).unwrap();
    }
    let (shard, history) = (&aws.open_shards("t")[0], aws.history("t"));
    let at = |i: usize| history[i].sequence.map(|s| s.to_string());
    let client = streams(&aws);
    for (kind, sequence, expected) in [
        (ShardIteratorType::AtSequenceNumber, at(3), 7),
        (ShardIteratorType::AfterSequenceNumber, at(3), 6),
        (ShardIteratorType::AfterSequenceNumber, at(9), 0),
        (ShardIteratorType::Latest, None, 0),
    ] {
        let token = iterator(&aws, shard, kind.clone(), sequence).await;
        let page = client.get_records().shard_iterator(token).send().await.unwrap();
        assert_eq!(page.records().len(), expected, "{kind:?}");
        assert!(page.next_shard_iterator.is_some());
    }
    aws.advance_clock(Duration::from_secs(3600));
    let then = aws.now();
    aws.put("t", item("a", 99)).unwrap();
    let call = client.get_shard_iterator().stream_arn(aws.stream_arn("t")).shard_id(shard);
    let call = call.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from(then));
    let token = call.send().await.unwrap().shard_iterator.unwrap();
    let page = client.get_records().shard_iterator(token).send().await.unwrap();
    assert_eq!(values(page.records()), ["99"]);
}

#[tokio::test]
async fn empty_pages_that_are_not_the_tip_come_before_data() {
    // DS-F10.
    let aws = server();
    aws.quirks("t", |q| {
        q.empty_pages_before_data = 3;
        q.page_limit = 2;
    });
    for v in 0..4 {
        aws.put("t", item("a", v)).unwrap();
    }
    let client = streams(&aws);
    let mut token = iterator(&aws, &aws.open_shards("t")[0], ShardIteratorType::TrimHorizon, None).await;
    let mut sizes = Vec::new();
    for _ in 0..10 {
        let page = client.get_records().shard_iterator(token).send().await.unwrap();
        sizes.push(page.records().len());
        token = page.next_shard_iterator.unwrap();
    }
    assert_eq!(sizes, [0, 0, 0, 2, 0, 0, 0, 2, 0, 0]);
}

#[tokio::test]
async fn a_page_holds_a_thousand_records_or_a_megabyte() {
    let aws = server();
    for v in 0..1500 {
        aws.put("t", item("a", v)).unwrap();
    }
    let shard = aws.open_shards("t").remove(0);
    let client = streams(&aws);
    let token = iterator(&aws, &shard, ShardIteratorType::TrimHorizon, None).await;
    let page = client.get_records().shard_iterator(token).send().await.unwrap();
    assert_eq!(page.records().len(), 1000);
    aws.quirks("t", |q| q.page_bytes = 10);
    let page = client.get_records().shard_iterator(page.next_shard_iterator.unwrap()).send().await.unwrap();
    assert_eq!(page.records().len(), 1, "a page has a record at least");
    let bad = client.get_records().shard_iterator("no|iterator").send().await.unwrap_err();
    assert_eq!(bad.into_service_error().meta().code(), Some("ValidationException"));
}

#[tokio::test]
async fn a_record_is_readable_only_after_its_delay() {
    let aws = server();
    aws.quirks("t", |q| q.visibility_delay = Duration::from_secs(3600));
    aws.put("t", item("a", 1)).unwrap();
    let shard = aws.open_shards("t").remove(0);
    assert_eq!(drain(&aws, &shard).await.0.len(), 0);
    aws.advance_clock(Duration::from_secs(3600));
    aws.put("t", item("a", 2)).unwrap();
    assert_eq!(values(&drain(&aws, &shard).await.0), ["1"]);
    aws.quirks("t", |q| q.visibility_delay = Duration::ZERO);
    aws.hold_stream("t");
    aws.put("t", item("a", 3)).unwrap();
    assert_eq!(values(&drain(&aws, &shard).await.0), ["1", "2"], "DS-12: the publisher stands still");
    let child = aws.roll("t", &shard);
    assert!(!drain(&aws, &shard).await.1, "a closed shard has not ended while a record is unread");
    aws.release_stream("t");
    let (records, ended) = drain(&aws, &shard).await;
    assert_eq!((values(&records), ended), (vec!["1".into(), "2".into(), "3".into()], true));
    assert_eq!(drain(&aws, &child).await.0.len(), 0);
}

#[tokio::test]
async fn iterators_expire() {
    // DS-F9.
    let aws = server();
    aws.put("t", item("a", 1)).unwrap();
    let shard = aws.open_shards("t").remove(0);
    let client = streams(&aws);
    let expired = async |token: String| {
        let answer = client.get_records().shard_iterator(token).send().await;
        answer.is_err_and(|error| error.into_service_error().is_expired_iterator_exception())
    };
    let token = iterator(&aws, &shard, ShardIteratorType::TrimHorizon, None).await;
    aws.advance_clock(Duration::from_secs(14 * 60));
    assert!(!expired(token.clone()).await);
    aws.advance_clock(Duration::from_secs(60));
    assert!(expired(token).await);
    let token = iterator(&aws, &shard, ShardIteratorType::TrimHorizon, None).await;
    aws.expire_all_iterators("t");
    assert!(expired(token).await);
    assert_eq!(drain(&aws, &shard).await.0.len(), 1);
}

#[tokio::test]
async fn trimmed_records_are_refused_at_both_calls() {
    // DS-F13.
    let aws = server();
    for v in 0..10 {
        aws.put("t", item("a", v)).unwrap();
    }
    let (shard, history) = (aws.open_shards("t").remove(0), aws.history("t"));
    let sequence = |i: usize| history[i].sequence.unwrap();
    let client = streams(&aws);
    let old = iterator(&aws, &shard, ShardIteratorType::TrimHorizon, None).await;
    aws.trim("t", TrimPoint::Sequence(sequence(4)));
    let late = client.get_records().shard_iterator(old).send().await.unwrap_err();
    assert!(late.into_service_error().is_trimmed_data_access_exception());
    for kind in [ShardIteratorType::AtSequenceNumber, ShardIteratorType::AfterSequenceNumber] {
        let call = client.get_shard_iterator().stream_arn(aws.stream_arn("t")).shard_id(&shard);
        let late = call.shard_iterator_type(kind).sequence_number(sequence(4).to_string()).send().await.unwrap_err();
        assert!(late.into_service_error().is_trimmed_data_access_exception());
    }
    assert_eq!(values(&drain(&aws, &shard).await.0), ["5", "6", "7", "8", "9"], "TRIM_HORIZON hides the loss");

    aws.advance_clock(Duration::from_secs(23 * 3600));
    let child = aws.roll("t", &shard);
    aws.put("t", item("a", 10)).unwrap();
    aws.advance_clock(Duration::from_secs(2 * 3600));
    aws.enforce_retention("t", Duration::from_secs(24 * 3600));
    assert_eq!(drain(&aws, &shard).await, (vec![], true));
    aws.advance_clock(Duration::from_secs(24 * 3600));
    aws.enforce_retention("t", Duration::from_secs(24 * 3600));
    let call = client.get_shard_iterator().stream_arn(aws.stream_arn("t")).shard_id(&shard);
    let gone = call.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
    assert_eq!(drain(&aws, &child).await.0.len(), 0, "its one record was trimmed too");
}

#[tokio::test]
async fn stream_calls_can_be_throttled_by_shard() {
    let aws = server();
    aws.recreate_table("t");
    let shard = aws.open_shards("t").remove(0);
    let rule = aws.fault(FaultRule::on("GetRecords").shard(&shard).times(1).fault(Fault::Throttle));
    let token = iterator(&aws, &shard, ShardIteratorType::TrimHorizon, None).await;
    let client = streams(&aws);
    let throttled = client.get_records().shard_iterator(&token).send().await.unwrap_err();
    assert_eq!(throttled.into_service_error().meta().code(), Some("ThrottlingException"));
    assert!(client.get_records().shard_iterator(&token).send().await.is_ok());
    assert_eq!((aws.faults_applied(rule), aws.calls("GetRecords")), (1, 2));
}
