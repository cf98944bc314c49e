//! Faults: what the client is told, and what really happened.

use super::tables::put_request;
use super::{dynamodb, eventually, s, sdk_item, server};
use crate::scripted::{Fault, FaultRule, Key, Value};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_lost_answer_hides_a_write_that_happened() {
    let aws = server();
    let client = dynamodb(&aws);
    let rule =
        aws.fault(FaultRule::on("PutItem").table("t").key("pk", Value::s("a")).times(1).fault(Fault::LoseAnswer));
    let put = |pk: &str| client.put_item().table_name("t").set_item(Some(sdk_item(pk, 1))).send();
    put("other").await.unwrap();
    assert!(put("a").await.is_err());
    assert!(aws.item("t", &Key::of("a")).is_some());
    assert_eq!(aws.faults_applied(rule), 1);
    put("a").await.unwrap();
    assert_eq!((aws.history("t").len(), aws.arrivals("t").len()), (2, 3), "the repeat changed nothing");
}

#[tokio::test]
async fn a_stray_write_lands_after_a_newer_one() {
    // AP-3: the request outlives its client and overwrites what came later.
    let aws = server();
    let client = dynamodb(&aws);
    let put = |v| client.put_item().table_name("t").set_item(Some(sdk_item("a", v))).send();
    aws.fault(FaultRule::on("PutItem").nth(1).fault(Fault::LoseAnswerHeld));
    assert!(put(1).await.is_err());
    assert_eq!((aws.item_count("t"), aws.held_calls()), (0, 1));
    put(2).await.unwrap();
    assert_eq!(aws.release_held(), [Ok(())]);
    let values = aws.values_of("t", &Key::of("a"));
    let seen: Vec<_> = values.iter().map(|item| item.as_ref().unwrap()["v"].clone()).collect();
    assert_eq!(seen, [Value::n(2), Value::n(1)], "I4 sees the regress");

    aws.clear_faults();
    aws.fault(FaultRule::on("PutItem").nth(1).fault(Fault::LoseAnswerLate { delay: Duration::from_millis(50) }));
    assert!(put(3).await.is_err());
    eventually("the late write lands", || aws.late_calls() == 0).await;
    assert_eq!(aws.item("t", &Key::of("a")).unwrap()["v"], Value::n(3));
}

#[tokio::test]
async fn a_delayed_call_takes_effect_though_its_client_gave_up() {
    let aws = server();
    let client = dynamodb(&aws);
    aws.fault(FaultRule::on("PutItem").fault(Fault::Delay(Duration::from_millis(200))));
    let put = client.put_item().table_name("t").set_item(Some(sdk_item("a", 1))).send();
    assert!(tokio::time::timeout(Duration::from_millis(50), put).await.is_err());
    eventually("the write lands", || aws.item_count("t") == 1).await;
    aws.clear_faults();
    aws.fault(FaultRule::on("PutItem").fault(Fault::Hang));
    let put = client.put_item().table_name("t").set_item(Some(sdk_item("b", 1))).send();
    assert!(tokio::time::timeout(Duration::from_millis(50), put).await.is_err());
    assert_eq!(aws.item_count("t"), 1);
}

#[tokio::test]
async fn a_batch_hands_back_what_it_did_not_do() {
    let aws = server();
    let client = dynamodb(&aws);
    let rule = aws.fault(FaultRule::on("BatchWriteItem").nth(1).fault(Fault::Unprocessed { keep: 1 }));
    aws.fault(FaultRule::on("BatchWriteItem").nth(1).fault(Fault::Unprocessed { keep: 0 }));
    let fill: Vec<_> = (0..25).map(|i| put_request(sdk_item(&format!("k{i}"), i))).collect();
    let answer = client.batch_write_item().request_items("t", fill.clone()).send().await.unwrap();
    let back = answer.unprocessed_items.unwrap().remove("t").unwrap();
    assert_eq!((back.len(), aws.item_count("t")), (24, 1));
    assert_eq!(back[..], fill[1..], "handed back as they came");
    let answer = client.batch_write_item().request_items("t", back).send().await.unwrap();
    let back = answer.unprocessed_items.unwrap().remove("t").unwrap();
    assert_eq!((back.len(), aws.item_count("t")), (24, 1), "200 with all unprocessed");
    client.batch_write_item().request_items("t", back).send().await.unwrap();
    assert_eq!((aws.item_count("t"), aws.faults_applied(rule), aws.faults_applied_in_all()), (25, 1, 2));
}

#[tokio::test]
async fn refusals_have_their_codes_and_do_nothing() {
    let aws = server();
    let client = dynamodb(&aws);
    for (fault, status, code) in [
        (Fault::Throttle, 400, "ProvisionedThroughputExceededException"),
        (Fault::InternalError, 500, "InternalServerError"),
        (Fault::Validation("no".into()), 400, "ValidationException"),
        (Fault::AccessDenied, 400, "AccessDeniedException"),
    ] {
        aws.clear_faults();
        aws.fault(FaultRule::on("PutItem").fault(fault));
        let error = client.put_item().table_name("t").item("pk", s("a")).send().await.unwrap_err();
        assert_eq!(error.raw_response().unwrap().status().as_u16(), status);
        assert_eq!(error.into_service_error().meta().code(), Some(code));
    }
    aws.clear_faults();
    aws.fault(FaultRule::on("PutItem").times(1).fault(Fault::Drop));
    assert!(client.put_item().table_name("t").item("pk", s("a")).send().await.is_err());
    assert_eq!(aws.item_count("t"), 0);
}

#[tokio::test]
async fn a_rule_ends_with_the_servers_clock() {
    let aws = server();
    let client = dynamodb(&aws);
    aws.fault(FaultRule::on("*").lasting(Duration::from_secs(600)).fault(Fault::Throttle));
    let put = || client.put_item().table_name("t").item("pk", s("a")).send();
    assert!(put().await.is_err());
    aws.advance_clock(Duration::from_secs(600));
    assert!(put().await.is_ok());
    aws.set_latency("PutItem", Duration::from_millis(30));
    let start = Instant::now();
    put().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
}
