//! SG-7: who may call, idempotency, one at a time; events and the report.

use std::time::Duration;

use super::super::*;
use super::world::*;

#[tokio::test(start_paused = true)]
async fn roles() {
    let lab = Lab::new().await;
    let process = lab.process(None);
    for role in [Role::Viewer, Role::Operator] {
        let refused = process.promotions.start(&Authorized::new("bob", role), request(), None).await.unwrap_err();
        assert_eq!(refused.status(), 403);
    }
    assert!(process.promotions.list().is_empty());
    let id = process.start().await.unwrap().unwrap().promotion;
    let viewer = Authorized::new("v", Role::Viewer);
    assert_eq!(process.promotions.hold(&id, &viewer).unwrap_err().status(), 403);
    assert_eq!(process.promotions.note(&id, &viewer, "x").await.unwrap_err().status(), 403);
    let operator = Authorized::new("o", Role::Operator);
    let resumed = process.promotions.resume(&id, &operator, Answers::default()).await;
    assert_eq!(resumed.unwrap_err().status(), 403);
    assert_eq!(process.promotions.hold("nope", &operator).unwrap_err().status(), 404);
}

#[tokio::test(start_paused = true)]
async fn sg7_keys() {
    let lab = Lab::new().await;
    lab.trouble("db-a", Trouble::Slow);
    let process = lab.process(None);
    let promotions = &process.promotions;
    let first = promotions.start(&approver(), request(), Some("k")).await.unwrap();
    let again = promotions.start(&approver(), request(), Some("k")).await.unwrap();
    assert_eq!((again.promotion.as_str(), again.repeated, first.repeated), (first.promotion.as_str(), true, false));
    // Who follows it later with the same key does not name the plan that was consented to.
    let seen = Request { plan: Some("0".into()), ..request() };
    let followed = promotions.start(&approver(), seen, Some("k")).await.unwrap();
    assert_eq!((followed.promotion.as_str(), followed.repeated), (first.promotion.as_str(), true));
    let other = Request { reason: "another".into(), ..request() };
    let reused = promotions.start(&approver(), other.clone(), Some("k")).await.unwrap_err();
    assert_eq!(reused.status(), 422);
    let second = promotions.start(&approver(), request(), Some("k2")).await.unwrap_err();
    assert_eq!(second.status(), 409);
    assert!(second.to_string().contains(&first.promotion), "{second}");
    assert_eq!(process.settle().await.unwrap().stage, Stage::Completed);
    let after = promotions.start(&approver(), other, Some("k3")).await.unwrap_err();
    assert_eq!((after.status(), after.to_string().contains("already promoted")), (409, true));
    // All of it survives a restart.
    let process = lab.process(None);
    let same = process.promotions.start(&approver(), request(), Some("k")).await.unwrap();
    assert_eq!((same.promotion, same.stage), (first.promotion, Stage::Completed));
    assert_eq!(process.promotions.start(&approver(), request(), None).await.unwrap_err().status(), 409);
    for bad in ["", "a b", "ü", &"x".repeat(256)] {
        let refused = process.promotions.start(&approver(), request(), Some(bad)).await.unwrap_err();
        assert_eq!(refused.status(), 422, "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_honest_is_refused_and_all_problems_are_told() {
    let lab = Lab::new().await;
    let process = lab.process(None);
    let ask = |text: &str| Request::from_json(text.as_bytes()).unwrap();
    let bad = ask(r#"{"mode":"switchover","reason":"r","accept_loss":{"nope":"1s"},"plan":"abc"}"#);
    let refused = process.promotions.start(&approver(), bad, None).await.unwrap_err();
    let StartError::Invalid(problems) = &refused else { panic!("{refused}") };
    assert_eq!((refused.status(), problems.len()), (422, 3), "{problems:#?}");
    let drill = ask(r#"{"mode":"drill","reason":"r"}"#);
    assert!(process.promotions.start(&approver(), drill, None).await.unwrap_err().to_string().contains("plan"));
    assert!(process.promotions.list().is_empty());
    let hash = process.promotions.plan().await.unwrap().hash;
    let signed = Request { plan: Some(hash), ..request() };
    process.promotions.start(&approver(), signed, None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_are_numbered_resumable_and_survive_a_restart() {
    let lab = Lab::new().await;
    lab.trouble("db-a", Trouble::DiesAfter);
    let process = lab.process(None);
    let id = process.start().await.unwrap().unwrap().promotion;
    let mut seen = process.promotions.events(&id, None).unwrap();
    let last = seen.past.last().unwrap().seq;
    seen.count.changed().await.unwrap();
    assert_eq!(process.promotions.events(&id, Some(last)).unwrap().past.first().unwrap().seq, last + 1);
    assert!(process.settle().await.is_none());
    let before = process.promotions.events(&id, None).unwrap().past;
    let process = lab.process(None);
    assert_eq!(process.promotions.events(&id, None).unwrap().past, before);
    process.promotions.resume_all().await;
    process.settle().await.unwrap();
    let all = process.promotions.events(&id, None).unwrap();
    assert!(all.over);
    assert!(all.past.iter().enumerate().all(|(at, e)| e.seq == at as u64));
    let json = serde_json::to_value(&all.past).unwrap();
    assert_eq!((json[0]["event"].as_str(), json[0]["by"]["name"].as_str()), (Some("requested"), Some("alice")));
    let back: Vec<Event> = serde_json::from_value(json).unwrap();
    assert_eq!(back, all.past, "a client reads them back");
    assert!(process.promotions.events(&id, Some(u64::MAX)).unwrap().past.is_empty());
    assert!(process.promotions.events("nope", None).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_report_says_who_why_when_and_what_was_lost() {
    let lab = Lab::new().await;
    lab.trouble("svc", Trouble::Fails);
    let process = lab.process(None);
    let id = process.start().await.unwrap().unwrap().promotion;
    process.promotions.note(&id, &approver(), "calling the customers").await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let report = process.settle().await.unwrap();
    let text = report.text();
    for part in [
        "COMPLETED in 2.",
        "within the objective of 15 min 0 s",
        "Asked for by alice at 2026-11-23T14:00:05Z",
        "because: prodX is gone",
        "accepted: orders loses @2026-11-23T13:59:00.000Z",
        "Lost at most (frozen at the fence",
        "prodX is NOT known to be fenced",
        "prodX does not answer",
        "svc-after",
        "alice: calling the customers",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let svc = report.steps.iter().find(|s| s.id == "svc".into()).unwrap();
    assert_eq!((svc.attempts, svc.end.as_ref().unwrap().word()), (2, "done"));
    let frozen = report.frozen.as_ref().unwrap();
    assert_eq!((frozen.fence, frozen.stores[0].parked), (FenceState::Unconfirmed, 0));
    assert_eq!(frozen.stores[0].watermark, Some(When(base())));
    assert_eq!(frozen.stores[0].cutoff, "changes after 2026-11-23T14:00:00Z may be lost");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["fence"], "unconfirmed");
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_every_event_once_it_is_durable() {
    let lab = Lab::new().await;
    let process = lab.process(None);
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (ear, lab2) = (std::sync::Arc::clone(&heard), std::sync::Arc::clone(&lab));
    process.promotions.on_event(std::sync::Arc::new(move |event: &Event| {
        use crate::watermark::{Index as _, Row};
        let row = Row::Saga { promotion: event.promotion.clone(), seq: event.seq };
        assert!(lab2.index().get(&row).unwrap().is_some(), "heard before it was durable");
        ear.lock().unwrap().push(event.clone());
    }));
    let id = process.start().await.unwrap().unwrap().promotion;
    process.settle().await.unwrap();
    assert_eq!(*heard.lock().unwrap(), process.promotions.events(&id, None).unwrap().past);
    let plan = process.promotions.plan().await.unwrap();
    assert_eq!(plan.promoted_by.as_deref(), Some(id.as_str()));
    assert!(plan.text().contains("ALREADY PROMOTED"));
}
