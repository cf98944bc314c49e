//! Many connections at once: nothing is lost, and the rate is printed (the ceiling of every bench that uses the server).

use super::server;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use std::time::Instant;

const CONNECTIONS: usize = 16;
const BATCHES: usize = 50;
const ENTRIES: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_many_connections_all_arrive() {
    let aws = server();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let call = move |endpoint: String, target: &'static str, body: String| {
        let request = hyper::Request::post(endpoint).header("x-amz-target", target).body(Full::from(body)).unwrap();
        let answer = client.request(request);
        async move {
            let answer = answer.await.unwrap();
            assert!(answer.status().is_success());
            answer.into_body().collect().await.unwrap().to_bytes()
        }
    };
    let start = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (call, endpoint) = (call.clone(), aws.endpoint());
        writers.spawn(async move {
            for batch in 0..BATCHES {
                let put = |entry| {
                    let item = json!({"pk": {"S": format!("{connection}-{batch}-{entry}")}, "v": {"N": "1"},
                        "text": {"S": "x".repeat(150)}});
                    json!({"PutRequest": {"Item": item}})
                };
                let body = json!({"RequestItems": {"t": (0..ENTRIES).map(put).collect::<Vec<_>>()}});
                call(endpoint.clone(), "DynamoDB_20120810.BatchWriteItem", body.to_string()).await;
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    let items = CONNECTIONS * BATCHES * ENTRIES;
    let rate = |from: Instant| items as f64 / from.elapsed().as_secs_f64();
    println!("{items} items written in batches over HTTP, {:.0}/s", rate(start));
    assert_eq!((aws.item_count("t"), aws.history("t").len()), (items, items));

    let start = Instant::now();
    let shard = aws.open_shards("t").remove(0);
    let wanted = json!({"StreamArn": aws.stream_arn("t"), "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
    let answer = call(aws.endpoint(), "DynamoDBStreams_20120810.GetShardIterator", wanted.to_string()).await;
    let mut token = serde_json::from_slice::<serde_json::Value>(&answer).unwrap()["ShardIterator"].clone();
    let mut read = 0;
    while read < items {
        let wanted = json!({"ShardIterator": token}).to_string();
        let answer = call(aws.endpoint(), "DynamoDBStreams_20120810.GetRecords", wanted).await;
        let page: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        read += page["Records"].as_array().unwrap().len();
        token = page["NextShardIterator"].clone();
    }
    println!("{read} records read over HTTP, {:.0}/s", rate(start));
    assert_eq!(read, items);
}
