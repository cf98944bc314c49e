//! The scripted server, asked by the official SDK.

mod faults;
mod lineage;
mod reading;
mod scanning;
mod seeding;
mod speed;
mod tables;
mod upkeep;

use super::{Item, Options, ScriptedAws, TableSpec, Value, ViewType};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodbstreams::types::{Record, ShardIteratorType};
use std::collections::HashMap;
use std::time::Duration;

/// A client that does not retry, so that a test sees each answer.
fn dynamodb(aws: &ScriptedAws) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region, retry::RetryConfig};
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "lab"))
        .endpoint_url(aws.endpoint())
        .retry_config(RetryConfig::disabled())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

fn streams(aws: &ScriptedAws) -> aws_sdk_dynamodbstreams::Client {
    use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Config, Credentials, Region, retry::RetryConfig};
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "lab"))
        .endpoint_url(aws.endpoint())
        .retry_config(RetryConfig::disabled())
        .build();
    aws_sdk_dynamodbstreams::Client::from_conf(config)
}

/// A server with one table "t", partition key "pk", all images in its stream.
fn server() -> ScriptedAws {
    let aws = ScriptedAws::start(Options::default()).unwrap();
    aws.create_table(TableSpec::new("t", "pk").stream(ViewType::NewAndOldImages));
    aws
}

fn item(pk: &str, v: u64) -> Item {
    Item::from([("pk".to_owned(), Value::s(pk)), ("v".to_owned(), Value::n(v))])
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(numeral: &str) -> AttributeValue {
    AttributeValue::N(numeral.to_owned())
}

fn sdk_item(pk: &str, v: u64) -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".to_owned(), s(pk)), ("v".to_owned(), n(&v.to_string()))])
}

async fn iterator(aws: &ScriptedAws, shard: &str, kind: ShardIteratorType, sequence: Option<String>) -> String {
    let call = streams(aws)
        .get_shard_iterator()
        .stream_arn(aws.stream_arn("t"))
        .shard_id(shard)
        .shard_iterator_type(kind)
        .set_sequence_number(sequence);
    call.send().await.unwrap().shard_iterator.unwrap()
}

/// Reads a shard of "t" from its trim horizon until a page is empty or the shard ends; the records, whether it ended.
async fn drain(aws: &ScriptedAws, shard: &str) -> (Vec<Record>, bool) {
    let client = streams(aws);
    let mut next = Some(iterator(aws, shard, ShardIteratorType::TrimHorizon, None).await);
    let mut records = Vec::new();
    while let Some(iterator) = next {
        let page = client.get_records().shard_iterator(iterator).send().await.unwrap();
        let got = page.records.unwrap_or_default();
        next = page.next_shard_iterator;
        if got.is_empty() && next.is_some() {
            return (records, false);
        }
        records.extend(got);
    }
    (records, true)
}

fn values(records: &[Record]) -> Vec<String> {
    let value = |record: &Record| {
        let image = record.dynamodb.as_ref().unwrap().new_image.as_ref();
        image.map_or_else(|| "deleted".to_owned(), |image| image["v"].as_n().unwrap().clone())
    };
    records.iter().map(value).collect()
}

/// Waits for something another task does, at most ten seconds.
async fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if met() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}
