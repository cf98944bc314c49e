//! Events on their way: late, lost, twice, out of order, wrapped, and not events at all.

use super::*;

fn write(pair: &Pair, keys: &[&str]) {
    keys.iter().for_each(|key| drop(pair.x.s3().put("b", key, NewObject::bytes("x"))));
}

#[tokio::test]
async fn twists_hit_the_events_that_they_name() {
    let pair = pair(Versioning::Off);
    let x = pair.x.s3();
    let lost = x.twist(FaultRule::on("*").object("lost").fault(EventTwist::Drop));
    x.twist(FaultRule::on("ObjectCreated:Put").bucket("b").object("thrice").fault(EventTwist::Duplicate(3)));
    x.twist(FaultRule::on("*").object("behind").fault(EventTwist::Behind(2)));
    x.twist(FaultRule::on("*").object("old").fault(EventTwist::BackDate(Duration::from_secs(1800))));
    x.twist(FaultRule::on("*").object("held").fault(EventTwist::Hold));
    write(&pair, &["lost", "thrice", "behind", "old", "held", "last"]);
    assert_eq!(told_keys(&pair), ["thrice", "thrice", "thrice", "old", "behind", "last"]);
    assert_eq!((x.twisted(lost), x.event_counts("b").lost, x.event_counts("b").held), (1, 1, 1));
    let sent = pair.y.sqs().messages("q")[3].sent_at;
    let body: serde_json::Value = serde_json::from_str(&told(&pair)[3]).unwrap();
    let at = humantime::parse_rfc3339(body["Records"][0]["eventTime"].as_str().unwrap()).unwrap();
    assert!(sent.duration_since(at).unwrap() >= Duration::from_secs(1799));
    assert_eq!(x.release_events("b"), 1);
    assert_eq!(told_keys(&pair).last().map(String::as_str), Some("held"));
    x.twist(FaultRule::on("*").object("odd").fault(EventTwist::Garbage("{\"what\":1}".to_owned())));
    write(&pair, &["odd"]);
    assert_eq!(told(&pair).last().map(String::as_str), Some("{\"what\":1}"));
    x.send_test_event("b");
    assert!(told(&pair).last().unwrap().contains("s3:TestEvent"));
}

#[tokio::test]
async fn what_is_held_is_told_in_any_order_or_dies_with_its_region() {
    let pair = pair(Versioning::Off);
    let x = pair.x.s3();
    x.hold_events("b");
    write(&pair, &["1", "2", "3"]);
    assert!(told(&pair).is_empty());
    pair.x.advance_clock(Duration::from_secs(1800));
    pair.y.advance_clock(Duration::from_secs(1800));
    x.release_events_in("b", |events| events.reverse());
    assert_eq!(told_keys(&pair), ["3", "2", "1"]);
    x.hold_events("b");
    write(&pair, &["4"]);
    assert_eq!(x.lose_events("b"), 1);
    x.release_events("b");
    x.send_events("b", &pair.y, EventRoute::to("q").delay(Duration::from_millis(20)).jitter(Duration::from_millis(20)));
    write(&pair, &["5"]);
    assert_eq!((x.event_counts("b").travelling, told(&pair).len()), (1, 3));
    x.until_events_arrived("b").await;
    assert_eq!(told_keys(&pair).last().map(String::as_str), Some("5"));
}

#[tokio::test]
async fn messages_have_the_shape_that_was_asked_for() {
    let pair = pair(Versioning::On);
    let x = pair.x.s3();
    x.send_events("b", &pair.y, EventRoute::to("q").per_message(3));
    write(&pair, &["a", "b", "c", "d"]);
    assert_eq!(told(&pair).len(), 1);
    x.flush_events("b");
    assert_eq!((told(&pair).len(), told_keys(&pair).len()), (2, 4));
    x.send_events("b", &pair.y, EventRoute::to("q").envelope(Envelope::EventBridge));
    x.delete("b", "a");
    let body: serde_json::Value = serde_json::from_str(told(&pair).last().unwrap()).unwrap();
    assert_eq!(
        (&body["detail-type"], &body["detail"]["deletion-type"]),
        (&"Object Deleted".into(), &"Delete Marker Created".into())
    );
    x.expire("b", "b");
    let body: serde_json::Value = serde_json::from_str(told(&pair).last().unwrap()).unwrap();
    assert_eq!(body["detail"]["reason"], "Lifecycle Expiration");
    x.send_events("b", &pair.y, EventRoute::to("q").envelope(Envelope::Sns));
    write(&pair, &["e"]);
    assert!(told(&pair).last().unwrap().contains("\"Type\":\"Notification\""));
    let before = told(&pair).len();
    x.change_silently("b", "e", |about| about.storage_class = "GLACIER".to_owned());
    assert_eq!(told(&pair).len(), before, "nobody is told");
    let tag = aws_sdk_s3::types::Tag::builder().key("k").value("v").build().unwrap();
    let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().unwrap();
    s3(&pair.x).put_object_tagging().bucket("b").key("e").tagging(tagging).send().await.unwrap();
    assert!(told(&pair).last().unwrap().contains("ObjectTagging:Put"));
    pair.y.sqs().delete("q");
    write(&pair, &["f"]);
    assert_eq!(x.event_counts("b").lost, 1, "there is no queue to take it");
}
