//! What the queue does: gives up, is purged, made anew, tells lies of its depth, never runs dry; and the holds of messages.

use std::time::{Duration, SystemTime};

use plimsoll_lab::scripted::s3::EventRoute;
use plimsoll_lab::scripted::sqs::{QueueDepth, QueueSettings};
use plimsoll_lab::scripted::{Fault, FaultRule, Gate};

use super::events::{coverage, forgotten, until, verify};
use super::fixture::{Ask as _, CANARY, DEAD, EVENTS, STANDBY, Scene, UPLOADS, Watch, field, note};

const STOP: Duration = Duration::from_secs(20);

/// Refused for so long that the queue gives the message up: it is read where it is then, and applied.
#[tokio::test]
async fn s3_16_what_the_queue_gives_up_is_read_among_the_dead_letters() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let refused = scene.x.fault(FaultRule::on("HeadObject").object("k").fault(Fault::AccessDenied));
    let before = SystemTime::now();
    scene.put("k", "x");
    // Each time that its visibility runs out it is received again, until that is too often.
    until("it is a dead letter", || {
        scene.y.sqs().reveal(EVENTS);
        scene.y.sqs().messages(DEAD).len() == 1
    })
    .await;
    assert!(scene.y.sqs().messages(EVENTS).is_empty());
    assert!(daemon.now().await.watermark(UPLOADS).is_some_and(|w| w < before));
    // Another process that knows nothing of it but what the queue says.
    daemon.kill9();
    std::fs::remove_dir_all(scene.home.index()).expect("it was there");
    scene.x.remove_fault(refused);
    let mut daemon = scene.start().await;
    scene.converge(&daemon).await;
    forgotten(&scene).await;
    scene.proven(&mut daemon).await;
    watch.truthful().await;
    // A letter that no walk of this process could have told of.
    daemon.terminate(STOP).await;
    scene.put("dead", "y");
    let body = scene.y.sqs().messages(EVENTS)[0].body.to_string();
    scene.y.sqs().purge(EVENTS);
    scene.y.sqs().send(DEAD, body);
    let mut daemon = scene.start().await;
    let watch = Watch::start(&scene, daemon.client());
    scene.converge(&daemon).await;
    forgotten(&scene).await;
    scene.proven(&mut daemon).await;
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}

/// Nobody was given what had been waiting: the watermark stands until a walk has been everywhere.
#[tokio::test]
async fn s3_17_a_purged_queue_blinds_until_a_walk() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    daemon.terminate(STOP).await;
    let before = SystemTime::now();
    (0..300).for_each(|number| scene.put(&format!("k{number}"), "x"));
    let throttled = scene.y.fault(FaultRule::on("ReceiveMessage").fault(Fault::Throttle));
    let asked = scene.y.calls("GetQueueAttributes");
    let mut daemon = scene.start().await;
    // The survey of two queues, and then how much waits in them.
    until("it knows how much waits", || scene.y.calls("GetQueueAttributes") >= asked + 4).await;
    scene.y.sqs().purge(EVENTS);
    scene.y.remove_fault(throttled);
    let status = daemon.reach(|status| coverage(status, "blind")["why"].is_string()).await;
    assert!(coverage(&status, "blind")["why"].as_str().is_some_and(|why| why.contains("purged")), "{status}");
    let status = daemon.reach(|status| status.state(UPLOADS) == "ok").await;
    assert!(status.watermark(UPLOADS).is_some_and(|w| w < before), "{status}");
    verify(&mut daemon).await;
    scene.converge(&daemon).await;
    let status = scene.proven(&mut daemon).await;
    assert!(coverage(&status, "blind").is_null(), "{status}");
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}

/// Deleted and made anew: what the old one held, and what was told to none, is lost.
#[tokio::test]
async fn s3_17_a_queue_that_is_made_anew_blinds_until_a_walk() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    // A queue is told from another by the second in which it was made; AWS makes none of the same name within a minute.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let missed = scene.y.calls("ReceiveMessage");
    scene.y.sqs().delete(EVENTS);
    (0..5).for_each(|number| scene.put(&format!("lost{number}"), "x"));
    let before = SystemTime::now();
    until("it is polled", || scene.y.calls("ReceiveMessage") > missed + 4).await;
    daemon.reach(|status| note(status).contains("reading the queue")).await;
    scene.y.sqs().create(EVENTS, QueueSettings { redrive: Some((DEAD.into(), 10)), ..QueueSettings::default() });
    let status = daemon.reach(|status| coverage(status, "blind")["why"].is_string()).await;
    assert!(coverage(&status, "blind")["why"].as_str().is_some_and(|why| why.contains("another")), "{status}");
    scene.put("told", "x");
    until("it is there", || scene.y.s3().count(STANDBY) == 1).await;
    assert!(daemon.now().await.watermark(UPLOADS).is_some_and(|w| w < before));
    verify(&mut daemon).await;
    scene.converge(&daemon).await;
    scene.proven(&mut daemon).await;
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}

/// While the depth says that something waits nothing is proved; a queue that never runs dry is judged by what comes out of it.
#[tokio::test]
async fn s3_13_a_depth_that_lies_and_a_queue_that_never_runs_dry() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let lie = QueueDepth { waiting: 7, in_flight: 0, delayed: 0 };
    scene.y.sqs().lie(EVENTS, lie, Duration::from_secs(3600));
    // What was being asked meanwhile may still be true.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lied = SystemTime::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let status = daemon.now().await;
    assert!(status.watermark(UPLOADS).is_some_and(|w| w < lied), "{status}");
    // Now there is always something.
    let busy = SystemTime::now();
    let mut proved = false;
    for number in 0..1_500 {
        scene.put(&format!("k{}", number % 40), &number.to_string());
        tokio::time::sleep(Duration::from_millis(20)).await;
        proved = number % 10 == 0 && daemon.now().await.watermark(UPLOADS).is_some_and(|w| w > busy);
        if proved {
            break;
        }
    }
    assert!(proved, "{}\n{}", daemon.now().await, daemon.tail(20));
    scene.y.sqs().tell_the_truth(EVENTS);
    scene.converge(&daemon).await;
    let status = scene.proven(&mut daemon).await;
    assert_eq!(field(&status, "method"), "assumed");
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}

/// A copy takes longer than the visibility: the message stays ours, and when it comes again all the same, nothing is copied
/// twice at once.
#[tokio::test]
async fn s3_5_a_long_copy_keeps_its_message_and_is_made_once() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let gate = Gate::new();
    scene.y.fault(FaultRule::on("CopyObject").object("big").fault(Fault::Hold(gate.clone())));
    scene.put("big", "x");
    gate.until_arrived(1).await;
    // Three times its visibility.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let message = scene.y.sqs().messages(EVENTS).pop().expect("it is held");
    assert_eq!((message.receives, message.hidden), (1, true), "renewed all the time");
    for times in 2..5 {
        scene.y.sqs().reveal(EVENTS);
        until("it came again", || scene.y.sqs().messages(EVENTS).iter().all(|m| m.receives == times && m.hidden)).await;
    }
    assert_eq!(gate.arrived(), 1, "one copy under way");
    gate.open();
    scene.converge(&daemon).await;
    scene.proven(&mut daemon).await;
    forgotten(&scene).await;
    assert_eq!(gate.arrived(), 1);
    watch.truthful().await;
}

/// The path counts as proved when a canary has come by; one that does not come holds the watermark.
#[tokio::test]
async fn s3_12_a_canary_proves_the_path_and_one_that_is_missing_holds_the_watermark() {
    let more = "canary_key = \"ops/canary\"\ncanary_every = \"3s\"\nreceivers = 1\nsettle = \"1h\"\ndelivery = \"2s\"";
    let scene = Scene::with(10, EventRoute::to(EVENTS), "server-side", more);
    scene.x.s3().stop_events(super::fixture::SOURCE);
    // The bucket says that it sends them: they are lost on their way.
    let sent = "<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>";
    scene.x.s3().set_document(super::fixture::SOURCE, "notification", Some(sent));
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    // Canaries are written, and none comes: only the walk counts.
    let certified = daemon.now().await.watermark(UPLOADS);
    let status = daemon.reach(|status| note(status).contains("has not arrived")).await;
    assert_eq!(status.watermark(UPLOADS), certified, "{status}");
    scene.x.s3().send_events(super::fixture::SOURCE, &scene.y, EventRoute::to(EVENTS));
    scene.proven(&mut daemon).await;
    assert!(daemon.metric("canary_roundtrip_seconds_count").await.is_some_and(|count| count > 0.0));
    scene.x.s3().hold_events(super::fixture::SOURCE);
    let held = SystemTime::now();
    daemon.reach(|status| note(status).contains("has not arrived")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = daemon.now().await;
    assert!(status.watermark(UPLOADS).is_some_and(|w| w < held + Duration::from_secs(6)), "{status}");
    scene.x.s3().release_events(super::fixture::SOURCE);
    scene.proven(&mut daemon).await;
    assert!(!note(&daemon.now().await).contains("has not arrived"));
    watch.truthful().await;
}

/// The event of a canary may be here before the answer to its write: it has come by all the same.
#[tokio::test]
async fn s3_12_a_canary_that_overtakes_its_own_answer_is_not_missed() {
    let more = "canary_key = \"ops/canary\"\ncanary_every = \"10m\"\nsettle = \"1h\"";
    let scene = Scene::with(11, EventRoute::to(EVENTS), "server-side", more);
    scene.x.fault(FaultRule::on("PutObject").object(CANARY).fault(Fault::SlowAnswer(Duration::from_millis(700))));
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    scene.proven(&mut daemon).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = scene.proven(&mut daemon).await;
    assert!(!note(&status).contains("has not arrived"), "{}", note(&status));
    watch.truthful().await;
}
