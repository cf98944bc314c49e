//! What the event path does to events, and what the daemon makes of it: late, lost, doubled, in another order, wrapped in
//! three ways, and not understood.

use std::time::{Duration, SystemTime};

use plimsoll_lab::daemon::{Daemon, Status};
use plimsoll_lab::random::Random;
use plimsoll_lab::scripted::FaultRule;
use plimsoll_lab::scripted::s3::{Compare, Envelope, EventRoute, EventTwist};
use serde_json::{Value as Json, json};

use super::fixture::{Ask as _, EVENTS, LONG, SOURCE, STANDBY, Scene, UPLOADS, Watch, came_true, field, note};

/// Waits for something that must come.
#[track_caller]
pub(super) fn until(what: &str, mut good: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move { assert!(came_true(LONG, || std::future::ready(good())).await, "{at}: never came: {what}") }
}

/// What the two proofs of the store say.
pub(super) fn coverage<'a>(status: &'a Status, name: &str) -> &'a Json {
    &field(status, "coverage")[name]
}

/// Asks for a walk.
pub(super) async fn ask_verify(daemon: &Daemon, body: Json) -> (u16, String) {
    let path = format!("/v1/stores/{UPLOADS}/verify");
    daemon.client().post(&path, body.to_string(), &[]).await.expect("it answers")
}

/// Walks both ends, and waits for the end of a walk that began after this.
pub(super) async fn verify(daemon: &mut Daemon) -> Status {
    let before = coverage(&daemon.now().await, "certified").clone();
    let (code, told) = ask_verify(daemon, json!({"repair": true})).await;
    assert_eq!(code, 202, "{told}");
    daemon.reach(|status| *coverage(status, "certified") != before).await
}

/// Nothing is left in the queues.
pub(super) async fn forgotten(scene: &Scene) {
    let empty = |queue| scene.y.sqs().messages(queue).is_empty();
    until("every message is forgotten", || empty(EVENTS) && empty(super::fixture::DEAD)).await;
}

/// A body of every key in the standby, or nothing.
fn held(scene: &Scene, key: &str) -> Option<String> {
    let bytes = scene.y.s3().bytes(STANDBY, key)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A bucket that sends its events nowhere is as quiet as one that nobody writes to. Its empty queue proves nothing.
#[tokio::test]
async fn s3_12_a_bucket_that_tells_nobody_is_proven_by_walks_alone() {
    let scene = Scene::new();
    scene.put("past", "x");
    scene.x.s3().stop_events(SOURCE);
    let mut daemon = scene.start().await;
    let watch = Watch::start(&scene, daemon.client());
    daemon.reach(|status| note(status).contains("sends its events nowhere")).await;
    daemon.reach(|status| status.watermark(UPLOADS).is_some() && !coverage(status, "blind").is_null()).await;
    scene.put("untold", "x");
    // Long enough for a queue that is believed: twice the poll and the allowance.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = daemon.now().await;
    assert!(
        status
            .watermark(UPLOADS)
            .is_some_and(|w| humantime::format_rfc3339_millis(w).to_string() == *coverage(&status, "certified")),
        "{status}"
    );
    assert_eq!(held(&scene, "untold"), None);
    // It is told where to, and a walk brings what was not told.
    scene.x.s3().send_events(SOURCE, &scene.y, EventRoute::to(EVENTS));
    tokio::time::sleep(Duration::from_secs(3)).await;
    verify(&mut daemon).await;
    scene.converge(&daemon).await;
    scene.put("told", "x");
    scene.proven(&mut daemon).await;
    scene.converge(&daemon).await;
    daemon.reach(|status| coverage(status, "blind").is_null()).await;
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}

#[tokio::test]
async fn s3_13_an_event_later_than_the_allowance_takes_the_watermark_back() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    scene.x.s3().twist(FaultRule::on("*").object("late").fault(EventTwist::Delay(Duration::from_secs(7))));
    let before = SystemTime::now();
    scene.put("late", "x");
    // It is in prodX, and nobody knows: the watermark passes it, which is wrong.
    let passed = scene.proven(&mut daemon).await;
    assert!(held(&scene, "late").is_none(), "the event was not that late: {passed}");
    let back = |status: &Status| status.watermark(UPLOADS).is_some_and(|w| w <= before + Duration::from_millis(500));
    let longer =
        |status: &Status| coverage(status, "delivery_seconds").as_u64().is_some_and(|d| (10..=20).contains(&d));
    daemon.reach(|status| back(status) && longer(status)).await;
    scene.converge(&daemon).await;
    assert_eq!(daemon.violations().await, 1.0);
    // With the longer allowance it goes on, and is right from now on.
    let watch = Watch::start(&scene, daemon.client());
    scene.proven(&mut daemon).await;
    watch.truthful().await;
    assert_eq!(daemon.violations().await, 1.0, "told once");
    forgotten(&scene).await;
}

/// It says that it is half an hour old, and a walk has looked at everything since: nothing that was published is wrong. What
/// is learnt of the channel is kept, also over a restart.
#[tokio::test]
async fn s3_13_an_event_of_before_the_walk_is_no_violation_and_stretches_the_allowance() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    scene.x.s3().twist(FaultRule::on("*").times(1).fault(EventTwist::BackDate(Duration::from_secs(1800))));
    scene.put("old", "x");
    scene.converge(&daemon).await;
    let stretched = |status: &Status| coverage(status, "delivery_seconds").as_u64().is_some_and(|d| d >= 2700);
    daemon.reach(stretched).await;
    // The events prove little now; a walk still does.
    let status = verify(&mut daemon).await;
    let certified = coverage(&status, "certified").as_str().and_then(|at| humantime::parse_rfc3339(at).ok());
    daemon.reach(|status| status.watermark(UPLOADS) >= certified).await;
    daemon.terminate(Duration::from_secs(20)).await;
    let mut daemon = scene.start_ok().await;
    daemon.reach(stretched).await;
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}

#[tokio::test]
async fn s3_1_late_doubled_and_reordered_events_are_harmless_within_the_allowance() {
    let jittered = EventRoute::to(EVENTS).delay(Duration::from_millis(200)).jitter(Duration::from_millis(900));
    let scene = Scene::with(5, jittered, "server-side", "delivery = \"5s\"");
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let twist = |p, twist| scene.x.s3().twist(FaultRule::on("*").probability(p).fault(twist));
    let doubled = twist(0.2, EventTwist::Duplicate(5));
    let overtaken = twist(0.2, EventTwist::Behind(2));
    scene.y.sqs().quirks(EVENTS, |quirks| quirks.shuffled = true);
    let mut random = Random::new(5);
    for number in 0..300 {
        let key = format!("k{}", random.below(25));
        // Puts and deletes have sequencers of different lengths.
        if random.chance(0.35) {
            scene.x.s3().delete(SOURCE, &key)
        } else {
            scene.put(&key, &number.to_string())
        }
        tokio::time::sleep(Duration::from_millis(8)).await;
        if number % 50 == 49 {
            // What is behind others must not be so for long: that is not late but lost.
            scene.x.s3().release_events(SOURCE);
        }
    }
    scene.x.s3().release_events(SOURCE);
    assert!(scene.x.s3().twisted(doubled) > 20 && scene.x.s3().twisted(overtaken) > 20);
    scene.converge(&daemon).await;
    scene.proven(&mut daemon).await;
    forgotten(&scene).await;
    assert_eq!(daemon.violations().await, 0.0);
    assert_eq!(coverage(&daemon.now().await, "untold"), 0);
    watch.truthful().await;
}

/// Keys that an envelope, an URL or a comparison of texts may get wrong.
fn awkward() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a b",
        "a+b",
        "a%2Bb",
        "a%20b",
        "100%",
        "%",
        "+",
        " lead",
        "trail ",
        "é",
        "e\u{301}",
        "日本/語",
        "\u{1F600}",
        "a\nb",
        "a\tb",
        "a\u{1}b",
        "a\u{7f}b",
        "q?x=1&y=2",
        "h#1",
        "s;v=2",
        "back\\slash",
        "quote\"'",
        "<xml>&amp;",
        "a//b",
        "a/./b",
        "a/../b",
        "/a",
        "a/",
        "..",
        ".",
        "~",
        "*",
        "{}",
        "[1]",
        "a=b",
        "a,b",
        "a:b",
        "@a",
        "$a",
        "!a",
        "\u{ffff}",
        "\u{10ffff}",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("x".repeat(1024));
    keys.push("é".repeat(512));
    keys.push("+ %".repeat(341) + "a");
    keys
}

#[tokio::test]
async fn s3_f4_every_key_comes_through_every_envelope() {
    let scene = Scene::with(6, EventRoute::to(EVENTS), "server-side", "delivery = \"4s\"");
    let daemon = scene.start_ok().await;
    for (envelope, many) in [(Envelope::S3, 1), (Envelope::S3, 10), (Envelope::EventBridge, 1), (Envelope::Sns, 7)] {
        scene.x.s3().send_events(SOURCE, &scene.y, EventRoute::to(EVENTS).envelope(envelope).per_message(many));
        scene.x.s3().send_test_event(SOURCE);
        let text = format!("{envelope:?} {many}");
        awkward().iter().for_each(|key| scene.put(key, &text));
        scene.x.s3().flush_events(SOURCE);
        scene.converge(&daemon).await;
        awkward().iter().step_by(2).for_each(|key| scene.x.s3().delete(SOURCE, key));
        scene.x.s3().flush_events(SOURCE);
        scene.converge(&daemon).await;
        forgotten(&scene).await;
    }
    let status = daemon.now().await;
    // Nothing was strange, and nothing needed a walk.
    assert!(coverage(&status, "blind").is_null() && field(&status, "failed_items") == 0, "{status}");
    assert_eq!(daemon.violations().await, 0.0);
}

/// A message of many events is forgotten when the last of its keys is done, and not before.
#[tokio::test]
async fn s3_20_a_message_stays_until_the_last_of_its_records_is_done() {
    let scene = Scene::with(7, EventRoute::to(EVENTS).per_message(20), "server-side", "");
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let stuck =
        scene.y.fault(FaultRule::on("CopyObject").object("k7").fault(plimsoll_lab::scripted::Fault::InternalError));
    (0..20).for_each(|number| scene.put(&format!("k{number}"), "x"));
    until("all but one are there", || scene.y.s3().count(STANDBY) == 19).await;
    let tried = scene.y.faults_applied(stuck);
    until("it is tried again", || scene.y.faults_applied(stuck) > tried + 1).await;
    assert_eq!(scene.y.sqs().messages(EVENTS).len(), 1);
    scene.y.remove_fault(stuck);
    scene.converge(&daemon).await;
    scene.proven(&mut daemon).await;
    forgotten(&scene).await;
    watch.truthful().await;
}

/// A message that cannot be read took the place of an event. It holds the watermark until a walk has been everywhere.
#[tokio::test]
async fn s3_20_what_is_not_understood_blinds_until_a_walk() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let garbage = EventTwist::Garbage("\u{0}{not json".into());
    scene.x.s3().twist(FaultRule::on("*").object("unseen").fault(garbage));
    let before = SystemTime::now();
    scene.put("unseen", "x");
    for text in [
        "{}",
        "[]",
        "null",
        r#"{"Records": []}"#,
        r#"{"Records": [{"eventSource": "aws:sqs"}]}"#,
        r#"{"Type": "SubscriptionConfirmation", "Message": "x"}"#,
        r#"{"bucket": {"name": "b"}, "object": {"key": "k"}}"#,
        r#"{"detail-type": "Object Created", "source": "aws.s3", "time": "now", "detail": {"bucket": {"name": "b"}, "object": {"key": "k"}}}"#,
    ] {
        scene.y.sqs().send(EVENTS, text);
    }
    forgotten(&scene).await;
    daemon.reach(|status| field(status, "failed_items") == 9).await;
    // They are kept over a restart, and the next process is as blind.
    daemon.kill9();
    let mut daemon = scene.start().await;
    let status = daemon.reach(|status| field(status, "failed_items") == 9).await;
    assert!(note(&status).contains("not understood"), "{}", note(&status));
    // Another change goes its way, and proves nothing of what is not known.
    scene.put("seen", "x");
    until("it is there", || held(&scene, "seen").is_some()).await;
    let status = daemon.reach(|status| status.state(UPLOADS) == "ok").await;
    assert!(coverage(&status, "blind")["since"].is_string(), "{status}");
    assert!(status.watermark(UPLOADS).is_some_and(|w| w < before) && held(&scene, "unseen").is_none(), "{status}");
    verify(&mut daemon).await;
    scene.converge(&daemon).await;
    let status = scene.proven(&mut daemon).await;
    assert!(coverage(&status, "blind").is_null() && field(&status, "failed_items") == 0, "{status}");
    watch.truthful().await;
}

/// Only the walk finds what no event told. What the watermark had passed is a violation; it is told and counted.
#[tokio::test]
async fn s3_10_lost_events_are_found_by_the_walk_and_counted() {
    let scene = Scene::with(9, EventRoute::to(EVENTS), "server-side", "delivery = \"2s\"");
    scene.put("kept", "x");
    scene.put("gone", "x");
    let mut daemon = scene.start_ok().await;
    // S3 tells the second in which an object was made, and a walk has looked at all of before.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    scene.x.s3().twist(FaultRule::on("*").fault(EventTwist::Drop));
    scene.put("lost", "x");
    scene.put("kept", "changed");
    scene.x.s3().delete(SOURCE, "gone");
    // Nobody can know.
    scene.proven(&mut daemon).await;
    assert!(held(&scene, "lost").is_none());
    verify(&mut daemon).await;
    scene.converge(&daemon).await;
    let told = async || daemon.violations().await == 1.0;
    assert!(came_true(LONG, told).await, "told once: {}", daemon.violations().await);
    let status = daemon.reach(|status| coverage(status, "untold") == 3).await;
    assert!(coverage(&status, "blind").is_null(), "{status}");
    // What a walk finds before its event comes is no loss.
    scene.x.s3().hold_events(SOURCE);
    scene.put("soon", "x");
    verify(&mut daemon).await;
    scene.x.s3().release_events(SOURCE);
    forgotten(&scene).await;
    scene.proven(&mut daemon).await;
    assert_eq!(coverage(&daemon.now().await, "untold"), 3);
    assert_eq!(daemon.violations().await, 1.0);
    assert!(scene.x.s3().compare(SOURCE, &scene.y, STANDBY, Compare::default()).equal());
}
