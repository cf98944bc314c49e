//! Shards: splits, rolls, listings in every order they may come in.

use super::{drain, item, server, streams, values};
use crate::scripted::{Key, ScriptedAws, StreamStatus, TableSpec, ViewType};
use aws_sdk_dynamodbstreams::types::{Shard, ShardFilter, ShardFilterType, StreamStatus as SdkStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Lists every shard of "t", page by page; the shards in their order and how many pages it took.
async fn list(aws: &ScriptedAws) -> (Vec<Shard>, usize) {
    let client = streams(aws);
    let (mut shards, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let call = client.describe_stream().stream_arn(aws.stream_arn("t")).set_exclusive_start_shard_id(after);
        let page = call.send().await.unwrap().stream_description.unwrap();
        pages += 1;
        shards.extend(page.shards.unwrap_or_default());
        after = page.last_evaluated_shard_id;
        if after.is_none() {
            return (shards, pages);
        }
    }
}

async fn children_of(aws: &ScriptedAws, shard: &str) -> Vec<String> {
    let filter = ShardFilter::builder().r#type(ShardFilterType::ChildShards).shard_id(shard).build();
    let call = streams(aws).describe_stream().stream_arn(aws.stream_arn("t")).shard_filter(filter);
    let description = call.send().await.unwrap().stream_description.unwrap();
    description.shards().iter().map(|shard| shard.shard_id.clone().unwrap()).collect()
}

fn ended(shard: &Shard) -> bool {
    shard.sequence_number_range.as_ref().unwrap().ending_sequence_number.is_some()
}

#[tokio::test]
async fn a_split_keeps_each_key_on_one_line_of_descent() {
    let aws = server();
    let put_all = |v: u64| (0..40).for_each(|k| aws.put("t", item(&format!("k{k}"), v)).unwrap());
    put_all(1);
    let parent = aws.open_shards("t").remove(0);
    let children = aws.split("t", &parent, 5);
    put_all(2);
    let grandchild = aws.roll("t", &children[2]);
    put_all(3);
    assert_eq!(
        children_of(&aws, &parent).await.into_iter().collect::<BTreeSet<_>>(),
        children.iter().cloned().collect()
    );
    assert_eq!(children_of(&aws, &children[2]).await, [grandchild.clone()]);

    let (listed, _) = list(&aws).await;
    assert_eq!(listed.len(), 7);
    for shard in &listed {
        let id = shard.shard_id.clone().unwrap();
        assert!(id.starts_with("shardId-0000000") && id.len() == "shardId-".len() + 20 + 1 + 8, "{id} (DS-F6)");
        assert_eq!(ended(shard), id == parent || id == children[2], "DS-F8");
    }
    let mut lines = BTreeMap::<String, Vec<String>>::new();
    for id in std::iter::once(&parent).chain(&children).chain([&grandchild]) {
        let (records, over) = drain(&aws, id).await;
        assert_eq!(over, *id == parent || *id == children[2]);
        for record in &records {
            let key = record.dynamodb.as_ref().unwrap().keys.as_ref().unwrap()["pk"].as_s().unwrap().clone();
            lines.entry(key).or_default().extend(values(std::slice::from_ref(record)));
        }
    }
    assert_eq!(lines.len(), 40);
    assert!(lines.values().all(|line| line == &["1", "2", "3"]), "DS-F4: parents first gives each key its order");
    let spread = children.iter().filter(|id| aws.shards("t").iter().any(|s| s.id == **id && s.records > 0)).count();
    assert_eq!(spread, 5, "40 keys fall on all five children");
}

#[tokio::test]
async fn a_hundred_shards_are_a_page() {
    let aws = server();
    aws.delete_table("t");
    aws.create_table(TableSpec::new("t", "pk").stream(ViewType::NewImage).shards(230));
    let (listed, pages) = list(&aws).await;
    assert_eq!((listed.len(), pages), (230, 3));
    let ids = |shards: &[Shard]| shards.iter().map(|shard| shard.shard_id.clone().unwrap()).collect::<Vec<_>>();
    let plain = ids(&listed);
    aws.quirks("t", |q| {
        q.shuffle = Some(7);
        q.mark_last_page = true;
        q.listing_limit = 23;
    });
    let (shuffled, pages) = list(&aws).await;
    assert_eq!(pages, 11, "the last real page names a marker too (DS-F7)");
    assert_ne!(ids(&shuffled), plain);
    assert_eq!(ids(&shuffled).into_iter().collect::<BTreeSet<_>>(), plain.into_iter().collect());
}

#[tokio::test]
async fn listings_may_lag_behind_the_truth() {
    let aws = server();
    aws.quirks("t", |q| {
        q.hide_new_children_for = Duration::from_secs(600);
        q.late_parent_end_for = Duration::from_secs(1200);
    });
    let parent = aws.open_shards("t").remove(0);
    let child = aws.roll("t", &parent);
    let (listed, _) = list(&aws).await;
    assert!(listed.len() == 1 && !ended(&listed[0]));
    assert!(children_of(&aws, &parent).await.is_empty(), "one empty answer is not the absence of children (DS-3)");
    assert!(drain(&aws, &parent).await.1, "and yet the parent has ended");
    aws.advance_clock(Duration::from_secs(600));
    let (listed, _) = list(&aws).await;
    assert!(listed.len() == 2 && !ended(&listed[0]), "a child is listed before its parent shows its end");
    assert_eq!(listed[1].parent_shard_id.as_ref(), Some(&parent));
    aws.advance_clock(Duration::from_secs(600));
    assert!(ended(&list(&aws).await.0[0]));
    assert_eq!(children_of(&aws, &parent).await, [child]);
}

#[tokio::test]
async fn the_end_of_a_shard_comes_with_its_last_records_or_after() {
    let aws = server();
    aws.put("t", item("a", 1)).unwrap();
    let parent = aws.open_shards("t").remove(0);
    aws.roll_all("t");
    let client = streams(&aws);
    for with_records in [true, false] {
        aws.quirks("t", |q| q.null_with_last_records = with_records);
        let token =
            super::iterator(&aws, &parent, aws_sdk_dynamodbstreams::types::ShardIteratorType::TrimHorizon, None).await;
        let page = client.get_records().shard_iterator(token).send().await.unwrap();
        assert_eq!(page.records().len(), 1);
        assert_eq!(page.next_shard_iterator.is_none(), with_records);
        if let Some(token) = page.next_shard_iterator {
            let page = client.get_records().shard_iterator(token).send().await.unwrap();
            assert!(page.records().is_empty() && page.next_shard_iterator.is_none());
        }
    }
}

#[tokio::test]
async fn a_vanished_shard_does_not_exist() {
    let aws = server();
    let parent = aws.open_shards("t").remove(0);
    let child = aws.roll("t", &parent);
    let token = super::iterator(&aws, &parent, aws_sdk_dynamodbstreams::types::ShardIteratorType::Latest, None).await;
    aws.vanish("t", &parent);
    let gone = streams(&aws).get_records().shard_iterator(token).send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception(), "DS-8 b");
    let (listed, _) = list(&aws).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].shard_id.as_ref(), Some(&child));
    assert_eq!(listed[0].parent_shard_id.as_ref(), Some(&parent), "the child still names it (DS-8 d)");
    aws.forget_stream(&aws.stream_arn("t"));
    let gone = streams(&aws).describe_stream().stream_arn(aws.stream_arn("t")).send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
}

#[tokio::test]
async fn a_stream_turned_off_and_on_is_another_stream() {
    // DS-F3, DS-1.
    let aws = server();
    aws.put("t", item("a", 1)).unwrap();
    let (old, shard) = (aws.stream_arn("t"), aws.open_shards("t").remove(0));
    let client = streams(&aws);
    let describe =
        async |arn: &str| client.describe_stream().stream_arn(arn).send().await.unwrap().stream_description.unwrap();
    aws.disable_stream("t");
    aws.put("t", item("a", 2)).unwrap();
    let closed = describe(&old).await;
    assert_eq!(closed.stream_status, Some(SdkStatus::Disabled));
    assert!(closed.shards().iter().all(ended));
    assert_eq!(drain(&aws, &shard).await.0.len(), 1, "written while it was off: in no stream");
    assert_eq!(aws.history("t").len(), 2, "but in the truth");

    let new = aws.enable_stream("t", ViewType::NewImage);
    assert_ne!(new, old);
    aws.set_stream_status("t", StreamStatus::Enabling);
    let enabling = describe(&new).await;
    assert!(enabling.shards().is_empty());
    assert_eq!(enabling.stream_status, Some(SdkStatus::Enabling));
    aws.set_stream_status("t", StreamStatus::Enabled);
    aws.delete("t", Key::of("a"));
    assert_eq!(values(&drain(&aws, &aws.open_shards("t")[0]).await.0), ["deleted"]);
    assert!(!describe(&old).await.shards().is_empty(), "the old one stays readable");
}
