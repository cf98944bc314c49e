//! The proxy in front of the scripted server, asked by the official SDK.

use super::{FaultProxy, ProxyFault};
use crate::scripted::{FaultRule, Key, Options, ScriptedAws, TableSpec, Value, ViewType};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region, retry::RetryConfig};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

struct Link {
    aws: ScriptedAws,
    proxy: FaultProxy,
    client: Client,
}

fn link() -> Link {
    let aws = ScriptedAws::start(Options::default()).unwrap();
    aws.create_table(TableSpec::new("t", "pk").stream(ViewType::NewAndOldImages));
    let proxy = FaultProxy::start(&aws.endpoint(), 1).unwrap();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "lab"))
        .endpoint_url(proxy.endpoint())
        .retry_config(RetryConfig::disabled())
        .build();
    Link { aws, proxy, client: Client::from_conf(config) }
}

impl Link {
    async fn put(&self, pk: &str, v: u64) -> Result<(), String> {
        let put = self.client.put_item().table_name("t").item("pk", AttributeValue::S(pk.to_owned()));
        let put = put.item("v", AttributeValue::N(v.to_string()));
        put.send()
            .await
            .map(drop)
            .map_err(|error| error.into_service_error().meta().code().unwrap_or("no answer").to_owned())
    }

    async fn eventually(&self, what: &str, met: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if met(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never: {what}");
    }
}

#[tokio::test]
async fn what_goes_through_is_counted_and_unchanged() {
    let link = link();
    link.put("a", 1).await.unwrap();
    let got = link.client.get_item().table_name("t").key("pk", AttributeValue::S("a".into())).send().await.unwrap();
    assert_eq!(got.item.unwrap()["v"], AttributeValue::N("1".into()));
    assert_eq!(link.proxy.requests(), [("GetItem".to_owned(), 1), ("PutItem".to_owned(), 1)].into());
    assert_eq!((link.proxy.forwarded(), link.proxy.faults_applied_in_all()), (2, 0));
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let link = link();
    let told = async |fault: ProxyFault| {
        link.proxy.clear_faults();
        let rule = link.proxy.fault(FaultRule::on("PutItem").table("t").key("pk", Value::s("a")).times(1).fault(fault));
        link.aws.delete("t", Key::of("a"));
        let arrived = link.aws.arrivals("t").len();
        let told = link.put("a", 1).await;
        assert_eq!(link.proxy.faults_applied(rule), 1);
        (told, link.aws.arrivals("t").len() - arrived)
    };
    let code = |code: &str| Err(code.to_owned());
    assert_eq!(told(ProxyFault::Drop).await, (code("no answer"), 0));
    assert_eq!(told(ProxyFault::LoseAnswer).await, (code("no answer"), 1));
    assert_eq!(told(ProxyFault::Duplicate).await, (Ok(()), 2));
    assert_eq!(told(ProxyFault::throttle()).await, (code("ProvisionedThroughputExceededException"), 0));
    assert_eq!(told(ProxyFault::internal_error()).await, (code("InternalServerError"), 0));
    assert_eq!(told(ProxyFault::unavailable()).await, (code("ServiceUnavailable"), 0));
    let html = || ProxyFault::Answer { status: 500, content_type: "text/html".into(), body: "<html>".into() };
    assert_eq!(told(html()).await, (code("no answer"), 0));
    assert_eq!(told(ProxyFault::CutBody { after: 1 }).await, (code("no answer"), 1));
    let slow = ProxyFault::SlowBody { piece: 1, pause: Duration::from_millis(10) };
    let start = Instant::now();
    assert_eq!(told(slow).await, (Ok(()), 1));
    assert!(start.elapsed() >= Duration::from_millis(10));
    assert_eq!(told(ProxyFault::Delay(Duration::from_millis(10))).await, (Ok(()), 1));
    assert_eq!(link.put("b", 1).await, Ok(()), "the rule was for the other key");
}

#[tokio::test]
async fn a_stray_write_arrives_after_its_client_gave_up() {
    // AP-3.
    let link = link();
    link.proxy.fault(FaultRule::on("PutItem").nth(1).fault(ProxyFault::LoseAnswerHeld));
    assert!(link.put("a", 1).await.is_err());
    link.put("a", 2).await.unwrap();
    assert_eq!((link.proxy.held_calls(), link.aws.arrivals("t").len()), (1, 1));
    link.proxy.release_held();
    link.eventually("the stray write lands", |link| link.proxy.late_calls() == 0).await;
    let values = link.aws.values_of("t", &Key::of("a"));
    let last = values.last().unwrap().as_ref().unwrap();
    assert_eq!((values.len(), &last["v"]), (2, &Value::n(1)));

    link.proxy.clear_faults();
    let late = ProxyFault::LoseAnswerLate { delay: Duration::from_millis(20) };
    link.proxy.fault(FaultRule::on("PutItem").nth(1).fault(late));
    assert!(link.put("a", 3).await.is_err());
    link.eventually("the late write lands", |link| link.aws.arrivals("t").len() == 3).await;

    link.proxy.clear_faults();
    let delay = link.proxy.fault(FaultRule::on("PutItem").fault(ProxyFault::Delay(Duration::from_millis(200))));
    let put = link.client.put_item().table_name("t").item("pk", AttributeValue::S("a".into())).send();
    let waiting = tokio::spawn(put);
    link.eventually("the call is delayed", |link| link.proxy.faults_applied(delay) == 1).await;
    waiting.abort();
    link.eventually("the delayed write lands", |link| link.aws.arrivals("t").len() == 4).await;
}

#[tokio::test]
async fn a_batch_is_forwarded_in_part() {
    let link = link();
    let write = |i: usize| {
        let item = HashMap::from([("pk".to_owned(), AttributeValue::S(format!("k{i}")))]);
        WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item)).build().unwrap()).build()
    };
    let all: Vec<_> = (0..25).map(write).collect();
    for keep in [3, 0] {
        link.proxy.fault(FaultRule::on("BatchWriteItem").times(1).fault(ProxyFault::Unprocessed { keep }));
    }
    for _ in 0..2 {
        let before = link.aws.item_count("t");
        let answer = link.client.batch_write_item().request_items("t", all.clone()).send().await.unwrap();
        let back = answer.unprocessed_items.unwrap().remove("t").unwrap();
        let keep = if before == 0 { 3 } else { 0 };
        assert_eq!(back[..], all[keep..]);
        assert_eq!(link.aws.item_count("t"), 3);
    }
    assert_eq!(link.proxy.forwarded(), 1, "a batch of which nothing is kept is not forwarded");
}

#[tokio::test]
async fn the_link_is_cut_blackholed_and_restored() {
    let link = link();
    link.put("a", 1).await.unwrap();
    link.proxy.cut();
    assert!(link.put("a", 2).await.is_err());
    assert!(link.put("a", 2).await.is_err());
    link.proxy.restore();
    link.put("a", 3).await.unwrap();
    link.proxy.blackhole();
    assert!(tokio::time::timeout(Duration::from_millis(50), link.put("a", 4)).await.is_err());
    link.proxy.restore();
    link.put("a", 5).await.unwrap();
    assert_eq!(link.aws.arrivals("t").len(), 3);
}

#[tokio::test]
async fn an_upstream_that_is_gone_breaks_the_connection() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = FaultProxy::start(&format!("http://{free}"), 1).unwrap();
    let mut connection = tokio::net::TcpStream::connect(proxy.endpoint().replace("http://", "")).await.unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let ended = connection.read(&mut [0; 16]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "closed without an answer");
    assert_eq!(proxy.requests(), [("GET".to_owned(), 1)].into());
    assert!(FaultProxy::start("https://example.org", 1).is_err());
}

#[tokio::test]
async fn dropping_the_proxy_ends_its_connections() {
    let link = link();
    link.proxy.fault(FaultRule::on("*").fault(ProxyFault::Hang));
    let address = link.proxy.endpoint().replace("http://", "");
    let mut idle = tokio::net::TcpStream::connect(&address).await.unwrap();
    let mut waiting = tokio::net::TcpStream::connect(&address).await.unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    link.eventually("the call hangs", |link| link.proxy.faults_applied_in_all() == 1).await;
    drop(link);
    for connection in [&mut idle, &mut waiting] {
        let ended = tokio::time::timeout(Duration::from_secs(10), connection.read(&mut [0; 16])).await;
        assert!(matches!(ended, Ok(Ok(0) | Err(_))), "the connection ends");
    }
}
