//! A bucket with a past is seeded, its events are followed, and its watermark is true all the while.

use std::time::Duration;

use super::fixture::{Ask as _, SOURCE, STANDBY, Scene, UPLOADS, Watch, field};

#[tokio::test]
async fn a_bucket_with_a_past_is_seeded_and_followed() {
    let scene = Scene::new();
    for number in 0..300 {
        scene.put(&format!("past/{number}"), &format!("{number}"));
    }
    let mut daemon = scene.start().await;
    let watch = Watch::start(&scene, daemon.client());
    daemon.reach(|status| status.state(UPLOADS) == "ok").await;
    assert_eq!(scene.y.s3().count(STANDBY), 300);
    for number in 0..100 {
        scene.put(&format!("new {number}+é%"), "one");
        scene.put(&format!("past/{number}"), "changed");
        scene.x.s3().delete(SOURCE, &format!("past/{}", 200 + number));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scene.converge(&daemon).await;
    let status = scene.proven(&mut daemon).await;
    let coverage = field(&status, "coverage");
    assert!(coverage["certified"].is_string() && coverage["events"].is_string(), "{status}");
    assert_eq!(daemon.violations().await, 0.0);
    let messages = || async { scene.y.sqs().messages(super::fixture::EVENTS).is_empty() };
    assert!(super::fixture::came_true(super::fixture::LONG, messages).await, "every message is forgotten");
    watch.truthful().await;
}
