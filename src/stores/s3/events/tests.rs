//! Every kind of message, every way a key can be written, and texts that nobody meant.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SCOPE: Scope<'_> = Scope { bucket: "shop-x", prefix: "", canary: Some("canary") };

/// As S3 encodes a key in its own format: like a form, with the slash left alone.
fn encoded(key: &str) -> String {
    key.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

fn record(bucket: &str, key: &str, name: &str) -> Value {
    json!({
        "eventVersion": "2.2", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": "2026-11-24T13:30:55.194Z",
        "eventName": name,
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": bucket, "arn": "arn:aws:s3:::shop-x" },
                "object": { "key": encoded(key), "size": 1, "eTag": "e", "sequencer": "0055AED6DCD90281E5" } }
    })
}

fn of_s3(records: &[Value]) -> String {
    json!({ "Records": records }).to_string()
}

fn of_bridge(key: &str) -> Value {
    json!({
        "version": "0", "id": "17793124", "detail-type": "Object Created", "source": "aws.s3", "account": "111122223333",
        "time": "2026-11-24T13:30:55Z", "region": "us-east-1", "resources": ["arn:aws:s3:::shop-x"],
        "detail": { "version": "0", "bucket": { "name": "shop-x" },
                    "object": { "key": key, "size": 5, "etag": "e", "version-id": "v", "sequencer": "617f08299329d189" },
                    "reason": "PutObject" }
    })
}

fn in_sns(message: &str) -> String {
    json!({ "Type": "Notification", "MessageId": "m", "TopicArn": "arn", "Subject": "Amazon S3 Notification",
            "Message": message, "Timestamp": "2026-11-24T13:30:56.000Z" })
    .to_string()
}

fn events(body: &str) -> Vec<Event> {
    match understand(body, SCOPE).says {
        Said::Events(events) => events,
        Said::Strange(why) => panic!("{why}: {body}"),
    }
}

fn keys(body: &str) -> Vec<String> {
    events(body).iter().map(|event| String::from_utf8(event.key.0.to_vec()).unwrap()).collect()
}

fn strange(body: &str) -> String {
    match understand(body, SCOPE).says {
        Said::Strange(why) => why,
        Said::Events(events) => panic!("{events:?} of {body}"),
    }
}

#[test]
fn s3f2_sequencers_are_filled_on_the_right() {
    let table = [
        ("0055AED6DCD90281E5", "0055AED6DCD90281E6", Ordering::Less),
        ("0055AED6DCD90281E5", "0055AED6DCD90281E5", Ordering::Equal),
        // As numbers, or filled on the left, the longer one would be the later one.
        ("0055AED6DCD90281E5", "0055AED6DC", Ordering::Greater),
        ("0055AED6E", "0055AED6DCD90281E5", Ordering::Greater),
        ("55", "5500", Ordering::Equal),
        ("", "0", Ordering::Equal),
        ("", "1", Ordering::Less),
        ("0055aed6", "0055AED6", Ordering::Equal),
    ];
    for (a, b, is) in table {
        assert_eq!(order(a, b), is, "{a} {b}");
        assert_eq!(order(b, a), is.reverse(), "{b} {a}");
    }
}

#[test]
fn s3f4_the_envelope_says_how_a_key_is_written() {
    for key in ["red flower.jpg", "a+b", "a%2Bb", "a b+c%é\n1", "\u{1}", "/", "dir/", "日本語/🦀", "a//b/../c", "&=?#"]
    {
        assert_eq!(keys(&of_s3(&[record("shop-x", key, "ObjectCreated:Put")])), [key]);
        assert_eq!(keys(&of_bridge(key).to_string()), [key]);
        assert_eq!(keys(&in_sns(&of_s3(&[record("shop-x", key, "ObjectCreated:Put")]))), [key]);
        assert_eq!(keys(&in_sns(&of_bridge(key).to_string())), [key]);
    }
    let plus = of_s3(&[record("shop-x", "x", "ObjectCreated:Put")]).replace("\"x\"", "\"red+flower.jpg\"");
    assert_eq!(keys(&plus), ["red flower.jpg"]);
    assert_eq!(keys(&of_bridge("red+flower.jpg").to_string()), ["red+flower.jpg"], "raw in EventBridge");
}

#[test]
fn s3_19_event_bridge_keeps_seconds() {
    let at = |body: &str| events(body)[0].at.0;
    let s3 = at(&of_s3(&[record("shop-x", "k", "ObjectCreated:Put")]));
    assert_eq!(s3 % 1000, 194);
    assert_eq!(at(&of_bridge("k").to_string()), s3 - 194 - 1000, "floored, and a second before");
    let fraction = of_bridge("k").to_string().replace("55Z", "55.999Z");
    assert_eq!(at(&fraction), s3 - 194 - 1000, "whatever it claims");
    let coarse = of_s3(&[record("shop-x", "k", "ObjectCreated:Put")]).replace("55.194Z", "55Z");
    assert_eq!(at(&coarse), s3 - 194 - 1000, "a time of whole seconds is one");
}

#[test]
fn s3_20_many_records_are_marks_of_their_own_and_one_key_is_one() {
    let body = of_s3(&[
        record("shop-x", "a", "ObjectCreated:Put"),
        record("shop-x", "b", "ObjectRemoved:DeleteMarkerCreated"),
        record("shop-x", "canary", "ObjectCreated:Put"),
    ]);
    let all = events(&body);
    assert_eq!(all.iter().map(|event| event.canary).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(all[0].order.as_deref(), Some("0055AED6DCD90281E5"));
    let mut later = record("shop-x", "a", "ObjectRemoved:Delete");
    later["eventTime"] = "2026-11-24T13:30:50.000Z".into();
    later["s3"]["object"]["sequencer"] = "0055AED6E".into();
    let both = events(&of_s3(&[record("shop-x", "a", "ObjectCreated:Put"), later]));
    assert_eq!(both.len(), 1, "one key is looked at once");
    assert_eq!((both[0].at.0 % 60_000, both[0].order.as_deref()), (50_000, Some("0055AED6E")), "since the older one");
}

#[test]
fn s3_20_a_test_is_about_nothing() {
    let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-24T13:30:54.000Z","Bucket":"shop-x"}"#;
    assert!(events(test).is_empty());
    assert!(events(&in_sns(test)).is_empty());
}

#[test]
fn every_kind_of_event_marks_its_key() {
    for name in [
        "ObjectCreated:CompleteMultipartUpload",
        "s3:ObjectCreated:Copy",
        "LifecycleExpiration:DeleteMarkerCreated",
        "LifecycleTransition",
        "ObjectTagging:Delete",
        "ObjectAcl:Put",
        "ObjectRestore:Completed",
        "IntelligentTiering",
        "SomethingOfNextYear:Put",
    ] {
        let all = events(&of_s3(&[record("shop-x", "k", name)]));
        assert_eq!((all.len(), all[0].failed), (1, false), "{name}");
    }
    for name in ["Replication:OperationFailedReplication", "s3:Replication:OperationFailedReplication"] {
        assert!(events(&of_s3(&[record("shop-x", "k", name)]))[0].failed, "{name}");
    }
    assert!(!events(&of_s3(&[record("shop-x", "k", "Replication:OperationMissedThreshold")]))[0].failed);
}

#[test]
fn what_is_not_ours_is_heard_and_left() {
    let body = of_s3(&[record("other", "a", "ObjectCreated:Put"), record("shop-x", "b", "ObjectCreated:Put")]);
    let told = understand(&body, SCOPE);
    assert_eq!(told.others, BTreeSet::from(["other".to_owned()]));
    assert!(matches!(&told.says, Said::Events(events) if events.len() == 1));
    let scope = Scope { prefix: "in/", ..SCOPE };
    for (key, ours) in [("in/a", 1), ("in", 0), ("out/a", 0), ("IN/a", 0)] {
        let told = understand(&of_bridge(key).to_string(), scope);
        assert!(matches!(&told.says, Said::Events(events) if events.len() == ours), "{key}: {told:?}");
        assert!(told.others.is_empty());
    }
}

#[test]
fn s3_20_whatever_else_is_strange_and_says_why() {
    let good = of_s3(&[record("shop-x", "k", "ObjectCreated:Put")]);
    let bridge = of_bridge("k").to_string();
    let without = |field: &str| {
        let mut event = of_bridge("k");
        event.as_object_mut().unwrap().remove(field);
        event.to_string()
    };
    let detail = of_bridge("k")["detail"].to_string();
    for (body, says) in [
        (String::new(), "no JSON"),
        ("[1]".into(), "no JSON object"),
        ("{}".into(), "neither a notification of S3 nor an event of EventBridge"),
        (r#"{"Records":[]}"#.into(), "without records"),
        (r#"{"Records":{}}"#.into(), "without records"),
        (good.replace("aws:s3", "aws:sns"), "not of S3"),
        (good.replace("\"2.2\"", "\"3.0\""), "version \"3.0\""),
        (good.replace("eventName", "name"), "without eventName"),
        (good.replace("55.194Z", "55.194 in the afternoon"), "whose time is"),
        (good.replace("eventTime", "time"), "without its time"),
        (good.replace("\"key\":\"k\"", "\"key\":\"%zz\""), "not encoded"),
        (good.replace("\"key\":\"k\"", "\"key\":\"100%\""), "not encoded"),
        (good.replace("\"key\":\"k\"", "\"key\":\"%FF\""), "not encoded"),
        (good.replace("\"key\":\"k\"", "\"key\":\"\""), "empty key"),
        (good.replace("\"key\":\"k\"", &format!("\"key\":\"{}\"", "a".repeat(1025))), "1025 bytes"),
        (good.replace("\"name\":\"shop-x\"", "\"name\":7"), "name of a bucket"),
        (bridge.replace("aws.s3", "aws.ec2"), "an event of \"aws.ec2\""),
        (bridge.replace("\"object\"", "\"objekt\""), "without bucket and object"),
        (without("time"), "without its time"),
        (without("source"), "not of S3"),
        (detail, "take the input transformer"),
        (in_sns("hello"), "a message of SNS whose text is no JSON"),
        (in_sns(&in_sns(&good)), "neither"),
        (r#"{"Type":"Notification","Message":{"a":1}}"#.into(), "no text"),
        (r#"{"Type":"SubscriptionConfirmation","SubscribeURL":"u"}"#.into(), "not confirmed"),
    ] {
        let why = strange(&body);
        assert!(why.contains(says), "{body} must say {says:?}; it says {why}");
        assert!(why.len() < 250, "{why}");
    }
    // One that is not understood makes the message strange, whatever else it says.
    strange(&of_s3(&[record("shop-x", "a", "ObjectCreated:Put"), json!({})]));
    strange(&of_s3(&[record("other", "a", "ObjectCreated:Put"), json!(null)]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(body in any::<String>(), in_key in any::<String>()) {
        let _ = understand(&body, SCOPE);
        let _ = understand(&in_sns(&body), SCOPE);
        let wrong = of_s3(&[record("shop-x", "KEY", "ObjectCreated:Put")]).replace("KEY", json!(in_key).to_string().trim_matches('"'));
        let _ = understand(&wrong, SCOPE);
    }

    #[test]
    fn no_cut_or_changed_message_panics(cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for body in [of_s3(&[record("shop-x", "a b", "ObjectCreated:Put")]), in_sns(&of_bridge("a b").to_string())] {
            let at = cut.index(body.len());
            let mut bytes = body.into_bytes();
            bytes[at] = byte;
            let _ = understand(&String::from_utf8_lossy(&bytes), SCOPE);
            bytes.truncate(at);
            let _ = understand(&String::from_utf8_lossy(&bytes), SCOPE);
        }
    }

    #[test]
    fn s3f4_every_key_comes_back_from_every_envelope(key in "\\PC{1,200}|[ -~\\n\\t+%]{1,100}") {
        prop_assert_eq!(keys(&of_s3(&[record("shop-x", &key, "ObjectCreated:Put")])), [key.clone()]);
        prop_assert_eq!(keys(&in_sns(&of_bridge(&key).to_string())), [key]);
    }

    #[test]
    fn s3f2_the_order_is_one(a in "[0-9A-F]{0,20}", b in "[0-9A-F]{0,20}", c in "[0-9A-F]{0,20}") {
        prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
        if order(&a, &b).is_le() && order(&b, &c).is_le() {
            prop_assert!(order(&a, &c).is_le());
        }
    }
}
