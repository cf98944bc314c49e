//! SG-5: the gate, case by case, and judged again at the fence.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::gate::{Ruling, judge, problems};
use super::super::*;
use super::world::*;
use crate::change::{Gap, GapCause};
use crate::rpo::Terms;
use crate::watermark::{Mark, Watermarks};

const TERMS: Terms = Terms { objective: Duration::from_secs(30), period: Duration::from_secs(2) };

/// W is at BASE, proved then.
fn marks(change: impl FnOnce(&mut Mark)) -> Watermarks {
    let mut mark = Mark { proved: Some(at(0)), ..mark(base()) };
    change(&mut mark);
    let mut marks = Watermarks::default();
    marks.stores.insert(store("orders"), mark);
    marks
}

fn gap(mark: &mut Mark) {
    mark.record.gap = Some(Gap { cause: GapCause::Trimmed, on: "s-1".into(), declared_at: base() });
}

fn unseeded(mark: &mut Mark) {
    mark.record.seed = crate::watermark::Seed::Pending;
}

fn ask(accept: &str) -> Request {
    Request::from_json(format!("{{\"reason\":\"r\"{accept}}}").as_bytes()).unwrap()
}

#[test]
fn sg5_the_table() {
    let fine = |_: &mut Mark| {};
    let loss = |text: &str| format!(",\"accept_loss\":{{\"orders\":\"{text}\"}}");
    let unknown = ",\"accept_unknown\":[\"orders\"]".to_owned();
    type Change = fn(&mut Mark);
    // (what, mark, seconds since W, acceptance, ruling, state)
    let table: Vec<(&str, Change, u64, String, Ruling, &str)> = vec![
        ("within", fine, 5, String::new(), Ruling::Within, "ok"),
        ("at the objective", fine, 30, String::new(), Ruling::Within, "unknown"),
        ("above it", fine, 31, String::new(), Ruling::Refused, "unknown"),
        ("unknown is gated by its number", fine, 20, String::new(), Ruling::Within, "unknown"),
        ("accepted", fine, 47, loss("47s"), Ruling::Accepted, "unknown"),
        ("accepted too little", fine, 48, loss("47s"), Ruling::Refused, "unknown"),
        ("stricter than the objective", fine, 20, loss("10s"), Ruling::Refused, "unknown"),
        ("by instant", fine, 4000, loss("@2026-11-23T14:00:00Z"), Ruling::Accepted, "unknown"),
        ("by an instant after W", fine, 5, loss("@2026-11-23T14:00:01Z"), Ruling::Refused, "ok"),
        ("a gap within the objective", gap, 5, String::new(), Ruling::Refused, "gap"),
        ("a gap accepted", gap, 5, loss("10s"), Ruling::Accepted, "gap"),
        ("seeding", unseeded, 5, String::new(), Ruling::Refused, "seeding"),
        ("seeding, with a number", unseeded, 5, loss("1h"), Ruling::Refused, "seeding"),
        ("seeding, given up", unseeded, 5, unknown, Ruling::Accepted, "seeding"),
    ];
    for (what, change, secs, accept, ruling, state) in table {
        let verdict = judge(at(secs), Duration::ZERO, &marks(change), &[(store("orders"), TERMS)], &ask(&accept));
        let one = &verdict.stores[0];
        assert_eq!((one.ruling, one.state.as_str()), (ruling, state), "{what}: {}", one.why);
        assert_eq!(verdict.passes, ruling != Ruling::Refused, "{what}");
        assert_eq!(one.flag.is_some(), ruling == Ruling::Refused, "{what}");
    }
}

#[test]
fn the_refusal_names_the_numbers_and_a_flag_that_is_accepted() {
    let now = at(46).after(Duration::from_millis(200));
    let verdict = judge(now, Duration::ZERO, &marks(|_| {}), &[(store("orders"), TERMS)], &ask(""));
    let why = verdict.refusal();
    assert_eq!(
        why,
        "orders: unknown, up to 46.2 s would be lost (changes after 2026-11-23T14:00:00Z), objective 30.0 s; accept with \
         --accept-loss orders=47s, or with --accept-loss orders@2026-11-23T14:00:00Z, which stays true while the number \
         grows"
    );
    for accept in ["47s", "@2026-11-23T14:00:00Z"] {
        let request = ask(&format!(",\"accept_loss\":{{\"orders\":\"{accept}\"}}"));
        assert!(judge(now, Duration::ZERO, &marks(|_| {}), &[(store("orders"), TERMS)], &request).passes);
    }
    let seeding = judge(now, Duration::ZERO, &marks(unseeded), &[(store("orders"), TERMS)], &ask(""));
    assert!(seeding.refusal().contains("--accept-unknown orders"), "{}", seeding.refusal());
}

#[test]
fn rp5_a_skew_above_two_seconds_leaves_only_instants() {
    let stores = [(store("orders"), TERMS)];
    let judged = |skew, accept: &str| judge(at(5), Duration::from_millis(skew), &marks(|_| {}), &stores, &ask(accept));
    assert!(judged(2000, "").passes);
    assert!(!judged(2001, "").passes);
    assert!(!judged(2001, ",\"accept_loss\":{\"orders\":\"1h\"}").passes);
    assert!(judged(2001, ",\"accept_loss\":{\"orders\":\"@2026-11-23T14:00:00Z\"}").passes);
    assert_eq!(judged(2001, "").stores[0].flag.as_deref(), Some("--accept-loss orders@2026-11-23T14:00:00Z"));
}

#[test]
fn wrong_acceptances_are_named_all_at_once() {
    let stores = [(store("orders"), TERMS), (store("users"), TERMS)];
    let request =
        ask(",\"accept_loss\":{\"ordres\":\"1s\",\"users\":\"1s\"},\"accept_unknown\":[\"orders\",\"cache\"]");
    let found = problems(at(47), &marks(|_| {}), &stores, &request);
    assert_eq!(found.len(), 4, "{found:#?}");
    let all = found.join("\n");
    for part in [
        "no store ordres; known are orders, users",
        "no store cache",
        "users has no watermark",
        "--accept-loss orders=47s",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
}

fn plain() -> Request {
    Request::failover("r")
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_journaled_and_may_be_made_again() {
    let lab = Lab::new().await;
    let process = lab.process(None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let refused = process.promotions.start(&approver(), plain(), Some("k")).await.unwrap_err();
    assert_eq!(refused.status(), 409);
    assert!(refused.to_string().contains("--accept-loss users="), "{refused}");
    assert_eq!(process.promotions.phase(), Phased::Replicating);
    assert!(process.flow.open.load(Ordering::SeqCst));
    let again = process.promotions.start(&approver(), plain(), Some("k")).await.unwrap_err();
    assert_eq!(again.to_string(), refused.to_string(), "the same key, the same answer");
    tokio::time::sleep(Duration::from_secs(1)).await;
    process.promotions.start(&approver(), request(), Some("k2")).await.unwrap();
    assert_eq!(process.settle().await.unwrap().stage, Stage::Completed);
}

#[tokio::test(start_paused = true)]
async fn worse_numbers_at_the_fence_refuse_it_and_the_flow_opens_again() {
    let lab = Lab::new().await;
    let process = lab.process(None);
    let mut broken = mark(base());
    gap(&mut broken);
    process.flow.brings.lock().unwrap().push((store("orders"), broken));
    process.promotions.start(&approver(), plain(), None).await.unwrap();
    let report = process.settle().await.unwrap();
    assert_eq!(report.stage, Stage::Refused);
    assert!(report.trouble.unwrap().contains("orders: gap"));
    assert!(process.flow.open.load(Ordering::SeqCst));
    assert_eq!((lab.sent("db-a"), process.promotions.phase()), (0, Phased::Replicating));
}

#[tokio::test(start_paused = true)]
async fn the_catch_up_does_not_use_up_what_was_accepted() {
    let lab = Lab::new().await;
    let process = lab.process(None);
    *process.flow.takes.lock().unwrap() = Duration::from_secs(3600);
    tokio::time::sleep(Duration::from_secs(18)).await;
    // 23 of 30 s are gone; 2 s are kept for the fence.
    process.promotions.start(&approver(), plain(), None).await.unwrap();
    let report = process.settle().await.unwrap();
    let bound = process.flow.bound.lock().unwrap().unwrap();
    assert!(bound <= Duration::from_secs(5) && bound > Duration::from_secs(4), "{bound:?}");
    assert_eq!(report.stage, Stage::Completed, "{}", report.text());
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_died_before_its_fence_is_judged_again_with_the_numbers_of_now() {
    let lab = Lab::new().await;
    lab.trouble("tell", Trouble::DiesBefore);
    let process = lab.process(None);
    process.promotions.start(&approver(), plain(), Some("k")).await.unwrap();
    assert!(process.settle().await.is_none());
    tokio::time::sleep(Duration::from_secs(600)).await;
    let process = lab.process(None);
    process.promotions.resume_all().await;
    let report = process.settle().await.unwrap();
    assert_eq!(report.stage, Stage::Refused);
    assert!(report.trouble.unwrap().contains("objective 30.0 s"));
    assert!(process.flow.open.load(Ordering::SeqCst));
}
