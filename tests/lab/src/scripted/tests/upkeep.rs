//! The control plane: what is described, what changes, what is refused.

use super::{dynamodb, item, server, streams, values};
use crate::scripted::tests::drain;
use crate::scripted::{
    Billing, CapacityLimit, Encryption, Item, KeyKind, Replica, ScriptedAws, TableSpec, Value, numbered_item,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_table::builders::UpdateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    BillingMode, IndexStatus, PointInTimeRecoverySpecification, PointInTimeRecoveryStatus, ProvisionedThroughput,
    SseSpecification, SseType, StreamSpecification, StreamViewType, TableDescription, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

async fn described(client: &Client, table: &str) -> TableDescription {
    client.describe_table().table_name(table).send().await.unwrap().table.unwrap()
}

fn units(read: i64, write: i64) -> ProvisionedThroughput {
    ProvisionedThroughput::builder().read_capacity_units(read).write_capacity_units(write).build().unwrap()
}

/// The code and the words of what a call must be refused with.
async fn refused(call: UpdateTableFluentBuilder) -> (String, String) {
    let error = call.send().await.unwrap_err().into_service_error();
    let meta = error.meta();
    (meta.code().unwrap().to_owned(), meta.message().unwrap().to_owned())
}

#[tokio::test]
async fn a_table_is_described_whole() {
    let aws = server();
    let client = dynamodb(&aws);
    let key = "arn:aws:kms:us-east-1:000000000000:key/k";
    let spec = TableSpec::new("d", "pk")
        .range("sk", KeyKind::S)
        .index("by-g", "g", KeyKind::N)
        .local_index("by-l", "l", KeyKind::B)
        .with(|s| {
            s.billing = Billing::Provisioned { read: 5, write: 6 };
            s.deletion_protection = true;
            s.encryption = Encryption::Customer(key.to_owned());
            s.recovery_days = Some(7);
            s.ttl = Some("e".to_owned());
        });
    aws.create_table(spec);
    let table = described(&client, "d").await;
    assert_eq!(table.table_id.as_deref(), Some(aws.table_id("d").as_str()));
    assert_eq!((table.global_secondary_indexes().len(), table.local_secondary_indexes().len()), (1, 1));
    assert_eq!(table.global_secondary_indexes()[0].index_status, Some(IndexStatus::Active));
    assert_eq!(table.attribute_definitions().len(), 4);
    assert!(table.billing_mode_summary.is_none(), "a table that was never on demand has none");
    let capacity = table.provisioned_throughput.as_ref().unwrap();
    assert_eq!((capacity.read_capacity_units, capacity.write_capacity_units), (Some(5), Some(6)));
    assert_eq!(table.deletion_protection_enabled, Some(true));
    let encryption = table.sse_description.as_ref().unwrap();
    assert_eq!(
        (encryption.sse_type.clone(), encryption.kms_master_key_arn.as_deref()),
        (Some(SseType::Kms), Some(key))
    );
    assert!(table.replicas().is_empty() && table.stream_specification.is_none());

    let plain = described(&client, "t").await;
    assert_eq!(plain.billing_mode_summary.as_ref().unwrap().billing_mode, Some(BillingMode::PayPerRequest));
    assert!(plain.sse_description.is_none());
    assert_eq!((plain.item_count, plain.table_size_bytes), (Some(0), Some(0)));
    aws.load("t", (0..10).map(|i| numbered_item(i, 1, 100)));
    let plain = described(&client, "t").await;
    assert_eq!(plain.item_count, Some(10));
    assert!((900..1100).contains(&plain.table_size_bytes.unwrap()));
    aws.change_settings("t", |s| {
        s.counts = Some((1_000_000, 200 << 30));
        s.replicas = vec![Replica { region: "us-west-2".to_owned(), status: "ACTIVE".to_owned() }];
        s.consistency = Some("STRONG".to_owned());
        s.witnesses = vec!["us-east-2".to_owned()];
        s.status = Some("UPDATING".to_owned());
    });
    let global = described(&client, "t").await;
    assert_eq!((global.item_count, global.table_size_bytes), (Some(1_000_000), Some(200 << 30)));
    assert_eq!(global.replicas()[0].region_name(), Some("us-west-2"));
    assert_eq!(global.global_table_version(), Some("2019.11.21"));
    assert_eq!(global.multi_region_consistency.as_ref().unwrap().as_str(), "STRONG");
    assert_eq!(global.global_table_witnesses()[0].region_name(), Some("us-east-2"));
    assert_eq!(global.table_status, Some(TableStatus::Updating));

    let first = aws.table_id("d");
    aws.change_schema("d", |spec| spec.indexes.clear());
    assert!(described(&client, "d").await.global_secondary_indexes().is_empty());
    assert_ne!(aws.recreate_table("d"), first);
    let other = aws.recreate_table_as(TableSpec::new("d", "id").hash_kind(KeyKind::N));
    let table = described(&client, "d").await;
    assert_eq!((table.table_id(), table.key_schema()[0].attribute_name()), (Some(other.as_str()), "id"));
}

#[tokio::test]
async fn a_stream_is_switched_by_calls() {
    // DS-1, DS-F3.
    let aws = server();
    let client = dynamodb(&aws);
    let (old, shard) = (aws.stream_arn("t"), aws.open_shards("t").remove(0));
    aws.put("t", item("a", 1)).unwrap();
    let update = |specification| client.update_table().table_name("t").stream_specification(specification);
    let on = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages);
    let (on, off) = (on.build().unwrap(), StreamSpecification::builder().stream_enabled(false).build().unwrap());
    assert_eq!(refused(update(on.clone())).await.0, "ValidationException");
    let closed = update(off.clone()).send().await.unwrap().table_description.unwrap();
    assert!(closed.stream_specification.is_none());
    assert_eq!(closed.latest_stream_arn.as_ref(), Some(&old));
    assert_eq!(refused(update(off)).await.0, "ValidationException");
    aws.put("t", item("a", 2)).unwrap();
    let new = update(on).send().await.unwrap().table_description.unwrap().latest_stream_arn.unwrap();
    assert_ne!(new, old);
    aws.put("t", item("a", 3)).unwrap();
    let client = streams(&aws);
    let first = client.get_shard_iterator().stream_arn(&old).shard_id(&shard);
    let first = first.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap().shard_iterator.unwrap();
    let page = client.get_records().shard_iterator(first).send().await.unwrap();
    assert_eq!(values(page.records()), ["1"]);
    assert!(page.next_shard_iterator.is_none(), "the shards of the old stream are closed");
    assert_eq!(values(&drain(&aws, &aws.open_shards("t")[0]).await.0), ["3"]);
    let listed = client.list_streams().table_name("t").send().await.unwrap();
    assert_eq!(listed.streams().len(), 2);
}

#[tokio::test]
async fn capacity_and_billing_change_by_the_rules() {
    let aws = server();
    let client = dynamodb(&aws);
    let update = || client.update_table().table_name("t");
    assert!(refused(update()).await.1.contains("At least one of"));
    assert!(refused(update().provisioned_throughput(units(5, 5))).await.1.contains("PAY_PER_REQUEST"));
    assert_eq!(refused(update().billing_mode(BillingMode::Provisioned)).await.0, "ValidationException");
    let both = update().billing_mode(BillingMode::Provisioned).provisioned_throughput(units(5, 5));
    let table = both.send().await.unwrap().table_description.unwrap();
    assert_eq!(table.billing_mode_summary.unwrap().billing_mode, Some(BillingMode::Provisioned));
    let same = refused(update().provisioned_throughput(units(5, 5))).await;
    assert!(same.0 == "ValidationException" && same.1.contains("will not change"), "{same:?}");

    let limit = CapacityLimit { read: Some(5.0), write: Some(0.01), burst: Duration::from_secs(1) };
    aws.limit_capacity("t", Some(limit));
    let put = || client.put_item().table_name("t").item("pk", super::s("a")).item("x", super::s(&"x".repeat(5000)));
    put().send().await.unwrap();
    assert!(put().send().await.is_err(), "throttled");
    aws.change_settings("t", |s| s.updates_take = HOUR);
    let raised = update().provisioned_throughput(units(6, 4)).send().await.unwrap().table_description.unwrap();
    assert_eq!(raised.table_status, Some(TableStatus::Updating));
    put().send().await.unwrap();
    let throughput = raised.provisioned_throughput.unwrap();
    assert!(throughput.last_increase_date_time.is_some() && throughput.number_of_decreases_today == Some(1));
    let busy = refused(update().billing_mode(BillingMode::PayPerRequest)).await;
    assert_eq!(busy.0, "ResourceInUseException");
    aws.advance_clock(HOUR);
    update().billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    for _ in 0..10 {
        put().send().await.unwrap();
    }
    assert_eq!(aws.settings("t").billing, Billing::OnDemand);
}

#[tokio::test]
async fn protection_keeps_a_table_and_encryption_is_shown() {
    let aws = server();
    let client = dynamodb(&aws);
    let update = || client.update_table().table_name("t");
    update().deletion_protection_enabled(true).send().await.unwrap();
    let kept = client.delete_table().table_name("t").send().await.unwrap_err().into_service_error();
    assert_eq!(kept.meta().code(), Some("ValidationException"));
    let key = SseSpecification::builder().enabled(true).sse_type(SseType::Kms).kms_master_key_id("k").build();
    let table = update().sse_specification(key).send().await.unwrap().table_description.unwrap();
    let shown = table.sse_description.unwrap().kms_master_key_arn.unwrap();
    assert_eq!(shown, "arn:aws:kms:us-east-1:000000000000:key/k");
    update().deletion_protection_enabled(false).send().await.unwrap();
    client.delete_table().table_name("t").send().await.unwrap();
    assert_eq!(refused(update().deletion_protection_enabled(true)).await.0, "ResourceNotFoundException");
}

async fn ttl(client: &Client) -> (TimeToLiveStatus, Option<String>) {
    let answer = client.describe_time_to_live().table_name("t").send().await.unwrap();
    let description = answer.time_to_live_description.unwrap();
    (description.time_to_live_status.unwrap(), description.attribute_name)
}

/// Switches TTL of "t"; what it is refused with.
async fn switch_ttl(client: &Client, enabled: bool, attribute: &str) -> Option<String> {
    let specification = TimeToLiveSpecification::builder().enabled(enabled).attribute_name(attribute).build().unwrap();
    let update = client.update_time_to_live().table_name("t").time_to_live_specification(specification).send().await;
    update.err().map(|error| error.into_service_error().meta().message().unwrap().to_owned())
}

#[tokio::test]
async fn ttl_changes_once_an_hour() {
    let aws = server();
    let client = dynamodb(&aws);
    assert!(switch_ttl(&client, false, "e").await.unwrap().contains("already disabled"));
    aws.change_settings("t", |s| s.ttl_takes = HOUR / 2);
    assert_eq!(switch_ttl(&client, true, "e").await, None);
    assert_eq!(ttl(&client).await, (TimeToLiveStatus::Enabling, Some("e".to_owned())));
    aws.advance_clock(HOUR / 2);
    assert_eq!(ttl(&client).await, (TimeToLiveStatus::Enabled, Some("e".to_owned())));
    assert!(switch_ttl(&client, true, "other").await.unwrap().contains("current AttributeName is e"));
    assert!(switch_ttl(&client, false, "e").await.unwrap().contains("multiple times within a fixed interval"));
    aws.advance_clock(HOUR / 2);
    assert_eq!(switch_ttl(&client, false, "e").await, None);
    assert_eq!(ttl(&client).await, (TimeToLiveStatus::Disabling, Some("e".to_owned())));
    aws.end_ttl_rest("t");
    assert_eq!(ttl(&client).await, (TimeToLiveStatus::Disabled, None));
    assert_eq!(switch_ttl(&client, true, "e").await, None);

    let expiring = |pk: &str, at: Duration| {
        let mut item: Item = item(pk, 1);
        item.insert("e".to_owned(), Value::n(at.as_secs()));
        item
    };
    let now = aws.now().duration_since(std::time::UNIX_EPOCH).unwrap();
    aws.load("t", [expiring("past", now - HOUR), expiring("future", now + HOUR), item("never", 1)]);
    assert_eq!((aws.expire_due("t"), aws.item_count("t")), (1, 2));
    assert!(aws.history("t")[0].by_ttl);
}

#[tokio::test]
async fn recovery_is_switched_and_its_window_grows() {
    let aws = server();
    let client = dynamodb(&aws);
    let recovery = async || {
        let answer = client.describe_continuous_backups().table_name("t").send().await.unwrap();
        answer.continuous_backups_description.unwrap().point_in_time_recovery_description.unwrap()
    };
    assert_eq!(recovery().await.point_in_time_recovery_status, Some(PointInTimeRecoveryStatus::Disabled));
    let on =
        PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).recovery_period_in_days(2);
    let update = client.update_continuous_backups().table_name("t");
    update.point_in_time_recovery_specification(on.build().unwrap()).send().await.unwrap();
    let enabled = recovery().await;
    assert_eq!(enabled.point_in_time_recovery_status, Some(PointInTimeRecoveryStatus::Enabled));
    aws.advance_clock(72 * HOUR);
    let later = recovery().await;
    let moved =
        later.earliest_restorable_date_time.unwrap().secs() - enabled.earliest_restorable_date_time.unwrap().secs();
    assert!((86_390..86_410).contains(&moved), "{moved}: only two days are kept");
    let missing = client.describe_continuous_backups().table_name("none").send().await.unwrap_err();
    assert!(missing.into_service_error().is_table_not_found_exception());
    let missing = client.describe_time_to_live().table_name("none").send().await.unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());
}

#[tokio::test]
async fn thousands_of_shards_are_made_and_listed_quickly() {
    let aws: ScriptedAws = server();
    let start = Instant::now();
    aws.grow_shards("t", 1000, 7000, Duration::from_secs(600));
    let made = start.elapsed();
    let open = aws.open_shards("t").len();
    let client = streams(&aws);
    aws.quirks("t", |q| q.shuffle = Some(3));
    let (mut ids, mut after) = (std::collections::BTreeSet::new(), None);
    let start = Instant::now();
    loop {
        let call = client.describe_stream().stream_arn(aws.stream_arn("t")).set_exclusive_start_shard_id(after);
        let page = call.send().await.unwrap().stream_description.unwrap();
        ids.extend(page.shards().iter().map(|shard| shard.shard_id.clone().unwrap()));
        after = page.last_evaluated_shard_id;
        if after.is_none() {
            break;
        }
    }
    println!("{} shards made in {made:?}, listed in {:?}", ids.len(), start.elapsed());
    assert_eq!((open, ids.len()), (1000, 7001));
    assert!(made < Duration::from_secs(10) && start.elapsed() < Duration::from_secs(20));
    aws.put("t", item("a", 7)).unwrap();
    let found = aws.shards("t").into_iter().find(|shard| shard.records > 0).unwrap();
    assert_eq!(values(&drain(&aws, &found.id).await.0), ["7"]);
    assert!(found.end.is_none());
}
