//! Pairs that fit, and every way not to: one difference at a time, and what is said of it.

use std::time::Duration;

use super::*;
use crate::stores::converge::Tempo;
use crate::stores::s3::facts::Notification;
use crate::stores::s3::facts::lifecycle::tests::{dropping, expiring};
use crate::stores::s3::promote::settings::{Mrap, Promoting};
use crate::stores::s3::settings::{Carry, Transfer, Versions};

const QUEUE: &str = "arn:aws:sqs:us-west-2:111122223333:events";
const DEAD: &str = "arn:aws:sqs:us-west-2:111122223333:dead";
const DAY: u64 = 86_400;

/// Settings for the tests of this kind.
pub(in crate::stores::s3) fn settings() -> S3Settings {
    let url = |name: &str| format!("https://sqs.us-west-2.amazonaws.com/111122223333/{name}");
    S3Settings {
        bucket: "shop-x".into(),
        standby_bucket: "shop-y".into(),
        prefix: "in/".into(),
        queue_url: url("events"),
        dead_letter_url: Some(url("dead")),
        transfer: Transfer::Auto,
        versions: Versions::Current,
        carry: Carry { tags: true, acl: false, lock: false, annotations: false, storage_class: None, kms_key: None },
        exclude: Vec::new(),
        canary_key: Some("in/canary".into()),
        part_size: 64 << 20,
        memory: 256 << 20,
        attempt_timeout: Duration::from_secs(10),
        transfer_timeout: Duration::from_secs(600),
        promoting: Promoting { lifecycle: true, mrap: None, replication_file: None },
        tempo: Tempo {
            poll_wait: Duration::from_secs(20),
            receivers: 2,
            dead_letters: true,
            visibility: Duration::from_secs(120),
            hold_most: Duration::from_secs(43_200),
            delivery: Duration::from_secs(120),
            concurrency: 32,
            max_request_life: Duration::from_secs(20),
            walk_every: Duration::from_secs(43_200),
            certify_within: Duration::from_secs(86_400),
            list_ranges: 8,
            list_rate: 50,
            delete_limit: 1000,
            beat_every: None,
            settle: Duration::from_secs(900),
        },
    }
}

fn seen(what: &'static str, name: &str, region: &str) -> Seen {
    let policy = if what.starts_with("primary") { "s3-replicate-read-x" } else { "s3-replicate-write-y" };
    Seen {
        place: Place { what, name: name.into(), region: region.into(), policy },
        region: Ok(Some(region.into())),
        versioning: Ok(Versioning::Enabled),
        lifecycle: Ok(vec![dropping(7)]),
        encryption: Ok(Some(Encryption { algorithm: "AES256".into(), key: None })),
        lock: Ok(false),
        shut: Ok(true),
        ownership: Ok(Some("BucketOwnerEnforced".into())),
        replication: Ok(Vec::new()),
        probes: Vec::new(),
    }
}

fn queue(what: &'static str, arn: &str, retention: u64, redrive: Option<(String, u64)>) -> SeenQueue {
    let facts = Queue {
        arn: arn.into(),
        created: 1,
        retention,
        visibility: 30,
        delay: 0,
        largest: 1 << 20,
        redrive,
        kms_key: None,
    };
    let place = Place { what, name: format!("https://{what}"), region: "us-west-2".into(), policy: "s3-queue-y" };
    SeenQueue { place, queue: Ok(facts) }
}

fn hop(rule: &str, bus: &str) -> Hop {
    Hop {
        rule: rule.into(),
        bus: bus.into(),
        enabled: true,
        pattern: Some(r#"{"source":["aws.s3"],"detail":{"bucket":{"name":["shop-x"]}}}"#.into()),
        rewritten: false,
        attempts: Some(185),
        age: Some(86_400),
        dead_letters: Some(DEAD.into()),
    }
}

fn rules(region: &str, hops: Vec<Hop>) -> SeenRules {
    let place = Place { what: "rules", name: "of EventBridge".into(), region: region.into(), policy: "p" };
    SeenRules { place, hops: Ok(hops) }
}

/// Two buckets that fit, and a way for the events.
fn pair() -> Pair {
    Pair {
        settings: settings(),
        source: seen("primary bucket", "shop-x", "us-east-1"),
        standby: seen("standby bucket", "shop-y", "us-west-2"),
        notifications: Ok(Notifications { event_bridge: true, ..Notifications::default() }),
        queue: queue("queue", QUEUE, 7 * DAY, Some((DEAD.into(), 10))),
        dead: Some(queue("dead-letter queue", DEAD, 14 * DAY, None)),
        leaving: rules("us-east-1", vec![hop("to-y", "default")]),
        arriving: rules("us-west-2", vec![hop("to-queue", "plimsoll")]),
        recorded: Some(Recorded::default()),
    }
}

fn refused(class: Class, action: &'static str) -> Refused {
    Refused { class, action, words: "AccessDenied no".into() }
}

/// `check severity` of everything that is not good.
fn bad(change: impl FnOnce(&mut Pair)) -> Vec<String> {
    let all = all(change);
    for finding in &all {
        assert!(!finding.what.is_empty() && finding.on.contains(" ("), "{finding:?}");
        let nothing_to_do = matches!(finding.severity, Severity::Ok | Severity::Note);
        assert!(nothing_to_do || finding.todo.is_some(), "nothing is said to do: {finding:?}");
    }
    let bad = all.iter().filter(|f| f.severity != Severity::Ok);
    bad.map(|f| format!("{} {}", f.check, f.severity.label())).collect()
}

fn all(change: impl FnOnce(&mut Pair)) -> Vec<Finding> {
    let mut pair = pair();
    change(&mut pair);
    compare(&pair)
}

fn says(change: impl FnOnce(&mut Pair), words: &str) {
    let found: Vec<String> = all(change).iter().map(Finding::sentence).collect();
    assert!(found.iter().any(|sentence| sentence.contains(words)), "{found:#?} do not say {words:?}");
}

fn edit(seen: &mut SeenQueue, change: impl FnOnce(&mut Queue)) {
    change(seen.queue.as_mut().unwrap());
}

#[test]
fn what_fits_is_good_by_every_check() {
    assert_eq!(bad(|_| {}), [""; 0]);
    let mut checks: Vec<_> = all(|_| {}).iter().map(|f| f.check).collect();
    checks.sort_unstable();
    checks.dedup();
    // The names are values of a metric's label: append, never rename.
    let names = [
        "answers",
        "bucket",
        "dead_letters",
        "encryption",
        "event_rules",
        "events",
        "lifecycle",
        "object_lock",
        "ownership",
        "permissions",
        "public_access",
        "queue",
        "replication",
        "uploads",
        "versioning",
    ];
    assert_eq!(checks, names);
}

#[test]
fn a_bucket_is_there_and_where_it_is_said_to_be() {
    assert_eq!(bad(|p| p.source.region = Ok(Some("eu-west-1".into()))), ["bucket problem"]);
    assert_eq!(bad(|p| p.standby.region = Err(refused(Class::Missing, "s3:ListBucket"))), ["bucket problem"]);
    assert_eq!(bad(|p| p.standby.region = Ok(None)), [""; 0], "not every server tells");
}

#[test]
fn what_aws_replicates_is_never_copied_a_second_time() {
    let of = |enabled, to: &str, prefix: &str| {
        vec![Replication { id: "r".into(), enabled, to: to.into(), prefix: prefix.into() }]
    };
    let rule = |enabled, to: &str| of(enabled, to, "");
    assert_eq!(bad(|p| p.source.replication = Ok(of(true, "shop-y", "in/deeper/"))), ["replication problem"]);
    assert_eq!(bad(|p| p.source.replication = Ok(of(true, "shop-y", "out/"))), [""; 0], "of other keys");
    assert_eq!(bad(|p| p.source.replication = Ok(rule(true, "shop-y"))), ["replication problem"]);
    assert_eq!(bad(|p| p.source.replication = Ok(rule(true, "elsewhere"))), [""; 0]);
    assert_eq!(bad(|p| p.standby.replication = Ok(rule(true, "shop-x"))), ["replication problem"]);
    assert_eq!(bad(|p| p.standby.replication = Ok(rule(false, "shop-x"))), [""; 0], "prepared");
    says(|p| p.source.replication = Ok(rule(true, "shop-y")), "mode = \"observe\"");
}

#[test]
fn s3_4_versioning_of_the_standby() {
    for off in [Versioning::Off, Versioning::Suspended] {
        assert_eq!(bad(|p| p.standby.versioning = Ok(off)), ["versioning warning"]);
        let history = |p: &mut Pair| {
            p.standby.versioning = Ok(off);
            p.settings.versions = Versions::History;
        };
        assert_eq!(bad(history), ["versioning problem"]);
        says(history, "put-bucket-versioning --region us-west-2 --bucket shop-y");
    }
    says(
        |p| p.standby.versioning = Ok(Versioning::Off),
        "enabled in the primary: an application that relies on it would miss it",
    );
}

#[test]
fn s3_8_a_standby_deletes_nothing_by_its_own_clock() {
    let with = |rule| move |p: &mut Pair| p.standby.lifecycle = Ok(vec![dropping(7), rule]);
    assert_eq!(bad(with(expiring("e", true))), ["lifecycle problem"]);
    assert_eq!(bad(with(expiring("e", false))), [""; 0], "prepared");
    assert_eq!(bad(|p| p.standby.lifecycle = Ok(Vec::new())), ["uploads note"]);
    assert_eq!(bad(|p| p.standby.lifecycle = Ok(vec![dropping(1)])), ["uploads warning"]);
    says(|p| p.source.lifecycle = Ok(vec![expiring("e", true)]), "1 rules are enabled; a promotion enables them");
    let off = |p: &mut Pair| {
        p.source.lifecycle = Ok(vec![expiring("e", true)]);
        p.settings.promoting.lifecycle = false;
    };
    assert_eq!(bad(off), ["lifecycle note"]);
    let silent = |p: &mut Pair| p.source.lifecycle = Err(refused(Class::Unavailable, "s3:GetLifecycleConfiguration"));
    assert_eq!(bad(silent), ["answers warning"], "it is recorded");
    let never = |p: &mut Pair| {
        silent(p);
        p.recorded = None;
    };
    assert_eq!(bad(never), ["answers warning", "lifecycle warning"]);
}

#[test]
fn s3_6_keys_are_of_their_region() {
    let kms = |key: Option<&str>| Ok(Some(Encryption { algorithm: "aws:kms".into(), key: key.map(str::to_owned) }));
    let arn = |region: &str| format!("arn:aws:kms:{region}:111122223333:key/k");
    assert_eq!(bad(|p| p.source.encryption = kms(Some("k"))), ["encryption warning"]);
    assert_eq!(
        bad(|p| (p.source.encryption, p.standby.encryption) = (kms(None), kms(Some(&arn("us-west-2"))))),
        [""; 0]
    );
    assert_eq!(bad(|p| p.standby.encryption = kms(Some(&arn("us-east-1")))), ["encryption problem"]);
    assert_eq!(bad(|p| p.settings.carry.kms_key = Some(arn("us-east-1"))), ["encryption problem"]);
}

#[test]
fn locks_lists_and_doors() {
    assert_eq!(bad(|p| p.source.lock = Ok(true)), ["object_lock warning"]);
    assert_eq!(bad(|p| p.settings.carry.lock = true), ["object_lock problem"]);
    assert_eq!(bad(|p| (p.source.lock, p.standby.lock) = (Ok(true), Ok(true))), ["object_lock note"]);
    let carried = |p: &mut Pair| (p.source.lock, p.standby.lock, p.settings.carry.lock) = (Ok(true), Ok(true), true);
    assert_eq!(bad(carried), [""; 0]);
    assert_eq!(bad(|p| p.standby.shut = Ok(false)), ["public_access warning"]);
    assert_eq!(bad(|p| (p.source.shut, p.standby.shut) = (Ok(false), Ok(false))), [""; 0]);
    assert_eq!(bad(|p| p.source.shut = Ok(false)), ["public_access note"]);
    assert_eq!(bad(|p| p.settings.carry.acl = true), ["ownership problem"]);
    assert_eq!(bad(|p| p.source.ownership = Ok(None)), ["ownership note"]);
    assert_eq!(
        bad(|p| (p.source.ownership, p.standby.ownership, p.settings.carry.acl) = (Ok(None), Ok(None), true)),
        [""; 0]
    );
}

#[test]
fn s3f3_the_queue_survives_the_primary() {
    let with = |change: fn(&mut Queue)| move |p: &mut Pair| edit(&mut p.queue, change);
    assert_eq!(bad(with(|q| q.arn = q.arn.replace("west-2", "east-1"))), ["queue problem"]);
    assert_eq!(bad(with(|q| q.arn.push_str(".fifo"))), ["queue problem"]);
    assert_eq!(bad(with(|q| q.largest = 65_535)), ["queue problem"], "S3-F5");
    assert_eq!(bad(with(|q| q.largest = 65_536)), [""; 0]);
    assert_eq!(bad(with(|q| q.retention = 4 * DAY - 1)), ["queue warning"]);
    assert_eq!(bad(with(|q| q.retention = DAY - 1)), ["queue problem"], "S3-17");
    assert_eq!(bad(with(|q| q.delay = 5)), ["queue warning"]);
    assert_eq!(bad(with(|q| q.kms_key = Some("alias/aws/sqs".into()))), ["queue problem"]);
    assert_eq!(bad(|p| p.queue.queue = Err(refused(Class::Missing, "sqs:GetQueueAttributes"))), ["queue problem"]);
}

#[test]
fn s3_16_what_the_queue_gives_up_is_read_too() {
    assert_eq!(bad(|p| edit(&mut p.queue, |q| q.redrive = None)), ["dead_letters warning"]);
    assert_eq!(bad(|p| p.dead = None), ["dead_letters problem"]);
    assert_eq!(bad(|p| edit(&mut p.queue, |q| q.redrive = Some(("arn:other".into(), 10)))), ["dead_letters problem"]);
    assert_eq!(bad(|p| edit(&mut p.queue, |q| q.redrive = Some((DEAD.into(), 4)))), ["dead_letters warning"]);
    let short = |p: &mut Pair| edit(p.dead.as_mut().unwrap(), |q| q.retention = 7 * DAY);
    assert_eq!(bad(short), ["dead_letters warning"]);
    says(
        short,
        "set-queue-attributes --region us-west-2 --queue-url https://dead-letter queue --attributes MessageRetentionPeriod=1209600",
    );
}

#[test]
fn s3f6_all_events_that_are_needed_come() {
    let sent = |events: &[&str], prefix: &str, suffix: &str| Notifications {
        queues: vec![Notification {
            arn: QUEUE.into(),
            events: events.iter().map(|e| format!("s3:{e}")).collect(),
            prefix: prefix.into(),
            suffix: suffix.into(),
        }],
        ..Notifications::default()
    };
    let needed = ["ObjectCreated:*", "ObjectRemoved:*", "LifecycleExpiration:*", "ObjectTagging:*"];
    let with = |sent: Notifications| move |p: &mut Pair| p.notifications = Ok(sent);
    assert_eq!(bad(with(sent(&needed, "", ""))), [""; 0]);
    assert_eq!(bad(with(sent(&needed, "in/", ""))), [""; 0]);
    for (prefix, suffix) in [("in/deeper/", ""), ("other/", ""), ("", ".jpg")] {
        assert_eq!(bad(with(sent(&needed, prefix, suffix))), ["events problem"], "{prefix} {suffix}");
    }
    for left in 0..needed.len() {
        let fewer: Vec<&str> = needed.iter().enumerate().filter(|(at, _)| *at != left).map(|(_, e)| *e).collect();
        says(with(sent(&fewer, "", "")), &format!("does not send s3:{}", needed[left]));
    }
    let parts = [
        "ObjectCreated:Put",
        "ObjectCreated:Post",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "LifecycleExpiration:Delete",
        "LifecycleExpiration:DeleteMarkerCreated",
        "ObjectTagging:Put",
        "ObjectTagging:Delete",
    ];
    assert_eq!(bad(with(sent(&parts, "", ""))), [""; 0]);
    assert_eq!(bad(with(sent(&parts[1..], "", ""))), ["events problem"]);
    let all = |p: &mut Pair| {
        let carry = &mut p.settings.carry;
        (carry.lock, carry.annotations) = (true, true);
        p.notifications = Ok(sent(&needed, "", ""));
    };
    says(all, "does not send s3:ObjectRetention:Put, s3:ObjectAnnotation:* of every kept key");
    assert_eq!(bad(with(Notifications::default())), ["events problem"]);
    let mut topic = sent(&needed, "", "");
    topic.topics = std::mem::take(&mut topic.queues);
    assert_eq!(bad(with(topic)), ["events note"], "a topic is not looked behind");
    let mut other = sent(&needed, "", "");
    other.queues[0].arn = "arn:other".into();
    assert_eq!(bad(with(other)), ["events problem"], "another queue");
}

#[test]
fn s3f3_event_bridge_passes_everything_on() {
    let with = |change: fn(&mut Hop)| move |p: &mut Pair| change(&mut p.arriving.hops.as_mut().unwrap()[0]);
    let is = |name: &'static str| vec![format!("event_rules {name}")];
    assert_eq!(bad(|p| p.leaving.hops = Ok(Vec::new())), is("warning"));
    assert_eq!(bad(with(|h| h.enabled = false)), is("problem"));
    assert_eq!(bad(with(|h| h.rewritten = true)), is("problem"));
    assert_eq!(bad(with(|h| h.attempts = Some(184))), is("warning"));
    assert_eq!(bad(with(|h| h.age = Some(300))), is("warning"));
    assert_eq!(bad(with(|h| (h.age, h.attempts) = (None, None))), is("warning"), "a bus of one's own may say 300 s");
    assert_eq!(bad(with(|h| (h.age, h.attempts, h.bus) = (None, None, "default".into()))), [""; 0]);
    assert_eq!(bad(with(|h| h.dead_letters = None)), is("warning"));
    assert_eq!(bad(with(|h| h.pattern = None)), is("problem"));
    let one_is_good = |p: &mut Pair| {
        let mut broken = hop("old", "plimsoll");
        broken.enabled = false;
        p.arriving.hops.as_mut().unwrap().push(broken);
    };
    assert_eq!(bad(one_is_good), [""; 0], "one good way is enough");
    let direct = |p: &mut Pair| {
        p.notifications = Ok(Notifications::default());
        p.arriving.hops = Ok(Vec::new());
    };
    assert_eq!(bad(direct), ["events problem"], "rules are not judged where no event goes to them");
}

#[test]
fn patterns_that_keep_events_back() {
    for (pattern, good) in [
        (r#"{"source":["aws.s3"]}"#, true),
        (r#"{"source":[{"prefix":"aws."}],"detail":{"bucket":{"name":[{"prefix":"shop-"}]}}}"#, true),
        (r#"{"source":["aws.ec2"]}"#, false),
        (r#"{"source":["aws.s3"],"detail":{"bucket":{"name":["other"]}}}"#, false),
        (r#"{"source":["aws.s3"],"detail":{"bucket":{"name":["other","shop-x"]}}}"#, true),
        (r#"{"source":["aws.s3"],"detail-type":["Object Created"]}"#, false),
        (r#"{"source":["aws.s3"],"detail-type":["Object Created","Object Deleted"]}"#, false),
        (
            r#"{"source":["aws.s3"],"detail-type":["Object Created","Object Deleted","Object Tags Added","Object Tags Deleted"]}"#,
            true,
        ),
        (r#"{"source":["aws.s3"],"detail-type":[{"prefix":"Object "}]}"#, true),
        (r#"{"source":["aws.s3"],"detail":{"object":{"key":[{"prefix":"in/"}]}}}"#, true),
        (r#"{"source":["aws.s3"],"detail":{"object":{"key":[{"prefix":"in/deeper"}]}}}"#, false),
        (r#"{"source":["aws.s3"],"detail":{"object":{"key":[{"suffix":".jpg"}]}}}"#, false),
        (r#"{"source":["aws.s3"],"detail":{"reason":["PutObject"]}}"#, false),
        ("no JSON", false),
    ] {
        let with = |p: &mut Pair| p.leaving.hops.as_mut().unwrap()[0].pattern = Some(pattern.into());
        assert_eq!(bad(with).is_empty(), good, "{pattern}");
    }
}

#[test]
fn each_missing_permission_is_told_with_what_to_grant() {
    let denied = |p: &mut Pair| {
        p.source.versioning = Err(refused(Class::Denied, "s3:GetBucketVersioning"));
        p.notifications = Err(refused(Class::Denied, "s3:GetBucketNotification"));
        p.standby.probes = vec![Ok(()), Err(refused(Class::Denied, "s3:GetObject"))];
        p.queue.queue = Err(refused(Class::Denied, "sqs:GetQueueAttributes"));
        p.leaving.hops = Err(refused(Class::Denied, "events:ListRuleNamesByTarget"));
    };
    let found = bad(denied);
    assert_eq!(found.iter().filter(|f| *f == "permissions problem").count(), 4, "{found:?}");
    assert_eq!(found.iter().filter(|f| *f == "permissions note").count(), 1, "rules need not be visible: {found:?}");
    says(denied, "grant s3:GetBucketVersioning (s3-replicate-read-x in config/iam)");
}

/// A region that does not answer is no drift, and what could not be asked is judged by nobody.
#[test]
fn a_region_that_does_not_answer() {
    for class in [Class::Unavailable, Class::Throttled, Class::Unknown] {
        let silent = |p: &mut Pair| {
            let none = |action| refused(class, action);
            let source = &mut p.source;
            source.region = Err(none("s3:ListBucket"));
            source.versioning = Err(none("s3:GetBucketVersioning"));
            source.lifecycle = Err(none("s3:GetLifecycleConfiguration"));
            source.encryption = Err(none("s3:GetEncryptionConfiguration"));
            source.lock = Err(none("s3:GetBucketObjectLockConfiguration"));
            source.shut = Err(none("s3:GetBucketPublicAccessBlock"));
            source.ownership = Err(none("s3:GetBucketOwnershipControls"));
            source.replication = Err(none("s3:GetReplicationConfiguration"));
            p.notifications = Err(none("s3:GetBucketNotification"));
            p.leaving.hops = Err(none("events:ListRuleNamesByTarget"));
        };
        assert_eq!(bad(silent), ["answers warning"; 2], "{class:?}");
    }
}

#[test]
fn what_the_settings_tell_alone() {
    let told = |change: fn(&mut S3Settings)| -> Vec<String> {
        let mut settings = settings();
        change(&mut settings);
        dry(&settings, "us-east-1", "us-west-2").iter().map(Finding::sentence).collect()
    };
    let one = |change: fn(&mut S3Settings), words: &str| {
        let found = told(change);
        assert!(found.len() == 1 && found[0].contains(words), "{found:?}: {words}");
    };
    assert!(told(|_| {}).is_empty());
    one(|s| s.queue_url = s.queue_url.replace("west-2", "east-1"), "the primary region, and is gone with it");
    one(
        |s| s.dead_letter_url = s.dead_letter_url.as_ref().map(|u| u.replace("us-west-2", "eu-west-1")),
        "no region of the pair",
    );
    one(|s| s.carry.kms_key = Some("arn:aws:kms:us-east-1:111122223333:key/k".into()), "name a key of us-west-2");
    assert!(told(|s| s.promoting.mrap = Some(Mrap { arn: "a".into(), account: "1".into(), region: None })).is_empty());
    one(
        |s| s.promoting.mrap = Some(Mrap { arn: "a".into(), account: "1".into(), region: Some("us-east-1".into()) }),
        "write mrap_region = \"us-west-2\"",
    );
    one(|s| s.promoting.replication_file = Some("/nowhere".into()), "it cannot be read");
    let mut elsewhere = settings();
    elsewhere.promoting.mrap = Some(Mrap { arn: "a".into(), account: "1".into(), region: None });
    elsewhere.queue_url = "http://127.0.0.1:4567/1/q".into();
    elsewhere.dead_letter_url = None;
    let found = dry(&elsewhere, "us-east-1", "eu-north-1");
    assert!(found.len() == 1 && found[0].what.contains("cannot be changed in eu-north-1"), "{found:?}");
}
