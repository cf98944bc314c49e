//! What the running daemon finds by itself: shown in the status and as a metric, and recorded for the day.

use plimsoll_lab::scripted::{Door, Fault, FaultRule};

use crate::attack::fixture::{Ask as _, LONG, ORDERS, Pair, came_true, field, note, series_of};

fn series(check: &str) -> String {
    format!("plimsoll_readiness_check_status{{check=\"{check}\",store=\"{ORDERS}\"}}")
}

#[tokio::test]
async fn drift_is_shown_in_the_status_and_as_a_metric() {
    let pair = Pair::new();
    // As somebody would who prepares the standby too well.
    let client = plimsoll_lab::clients::dynamodb(&plimsoll_lab::clients::Endpoint::new(pair.y.endpoint(), "us-west-2"));
    let on = aws_sdk_dynamodb::types::TimeToLiveSpecification::builder().enabled(true).attribute_name("ends");
    let update = client.update_time_to_live().table_name(ORDERS);
    update.time_to_live_specification(on.build().expect("complete")).send().await.expect("TTL is on");
    let mut daemon = pair.start_ok().await;
    let status = daemon.reach(|status| field(status, "drift").as_array().is_some_and(|d| !d.is_empty())).await;
    let drift = field(&status, "drift").as_array().expect("a list").clone();
    assert_eq!((drift[0]["check"].as_str(), drift[0]["severity"].as_str()), (Some("ttl"), Some("problem")), "{status}");
    assert!(drift[0]["do"].as_str().is_some_and(|todo| todo.contains("update-time-to-live")), "{status}");
    assert!(drift.iter().any(|d| d["check"] == "standby_stream" && d["severity"] == "warning"), "{status}");
    assert!(note(&status).contains("TTL is on (ends)"), "the worst is in the note: {}", note(&status));
    assert_eq!(status.state(ORDERS), "ok", "it is no state of the replication: {status}");
    let one = daemon.client().json(&format!("/v1/stores/{ORDERS}")).await.expect("an answer");
    assert_eq!(one["drift"], serde_json::Value::from(drift));
    let text = daemon.client().metrics().await.expect("an answer");
    assert_eq!(series_of(&text, &series("ttl")), Some(0.0), "{text}");
    assert_eq!(series_of(&text, &series("key_schema")), Some(1.0), "{text}");
    assert_eq!(series_of(&text, &series("standby_stream")), Some(1.0), "a warning is no problem: {text}");
    assert_eq!(series_of(&text, "plimsoll_readiness_check_status{check=\"index\"}"), Some(1.0), "{text}");
}

/// An examination that finds everything shut harms nobody: the store is ok, and a silent region is no drift.
#[tokio::test]
async fn a_control_plane_that_refuses_or_hangs_harms_nobody() {
    let pair = Pair::new();
    for side in [&pair.x, &pair.y] {
        side.fault(FaultRule::on("DescribeTimeToLive").fault(Fault::AccessDenied));
        side.fault(FaultRule::on("DescribeContinuousBackups").fault(Fault::Hang));
    }
    let mut daemon = pair.start_ok().await;
    let status = daemon.reach(|status| field(status, "drift").as_array().is_some_and(|d| !d.is_empty())).await;
    let drift = field(&status, "drift").to_string();
    assert!(drift.contains("grant dynamodb:DescribeTimeToLive on arn:aws:dynamodb:us-east-1"), "{drift}");
    assert!(drift.contains("DescribeContinuousBackups got no answer"), "{drift}");
    assert_eq!(status.state(ORDERS), "ok");
    pair.put("k", 1);
    pair.converge(&daemon).await;
}

/// DS-1 between two rounds is the survey's; here: prodX is gone before the first examination, and the standby is judged.
#[tokio::test]
async fn with_prod_x_gone_the_standby_is_judged() {
    let pair = Pair::new();
    pair.x.set_door(Door::Cut);
    let daemon = pair.start().await;
    let judged = || async { daemon.metric(&series("deletion_protection")).await == Some(1.0) };
    assert!(came_true(LONG, judged).await, "{}", daemon.tail(10));
    assert_eq!(daemon.metric(&series("answers")).await, Some(1.0), "other alerts tell of a region that is gone");
    assert_eq!(daemon.metric(&series("key_schema")).await, None, "what needs both is not judged");
}
