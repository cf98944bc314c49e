//! SG-3, SG-6, house rule 10: every step meets every trouble; the plan says what must come of it.

use std::time::Duration;

use super::super::*;
use super::world::*;

const ALL: [Trouble; 9] = [
    Trouble::Fails,
    Trouble::LostBefore,
    Trouble::LostAfter,
    Trouble::DiesBefore,
    Trouble::DiesAfter,
    Trouble::Slow,
    Trouble::SlowLost,
    Trouble::CheckFails,
    Trouble::CheckHangs,
];

#[tokio::test(start_paused = true)]
async fn every_step_meets_every_trouble_and_takes_effect_once() {
    for step in STEPS {
        for trouble in ALL {
            let what = format!("{step} {trouble:?}");
            let lab = Lab::new().await;
            lab.trouble(step, trouble);
            let mut process = lab.process(None);
            process.start().await.unwrap().unwrap();
            let report = match process.settle().await {
                Some(report) => report,
                None => {
                    process = lab.process(None);
                    process.promotions.resume_all().await;
                    process.settle().await.unwrap()
                }
            };
            assert_eq!(report.stage, Stage::Completed, "{what}\n{}", report.text());
            assert!(lab.troubles.lock().unwrap().is_empty(), "{what}: the trouble was met");
            for other in STEPS {
                assert_eq!(lab.sent(other), 1, "{what}: {other}\n{}", report.text());
            }
        }
    }
}

/// A step with the same trouble at every attempt.
async fn with_stuck(required: bool) -> (std::sync::Arc<Lab>, Process, Report) {
    let lab = Lab::new().await;
    lab.extra.lock().unwrap().push(Fake { required, checks: true, ..fake("stuck", Phase::Verify) });
    let process = lab.process(None);
    process.start().await.unwrap().unwrap();
    let keep = std::sync::Arc::clone(&lab);
    let again = async move {
        loop {
            keep.trouble("stuck", Trouble::Fails);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let report = tokio::select! { r = process.settle() => r.unwrap(), () = again => unreachable!() };
    lab.troubles.lock().unwrap().clear();
    (lab, process, report)
}

#[tokio::test(start_paused = true)]
async fn sg3_behind_the_fence_a_required_step_that_fails_holds_and_a_resume_goes_on() {
    let (lab, process, report) = with_stuck(true).await;
    assert_eq!((report.stage, process.promotions.phase()), (Stage::Held, Phased::Held));
    let why = report.trouble.clone().unwrap();
    assert!(why.contains("step stuck") && why.contains("within 5m") && why.contains("throttled"), "{why}");
    let way_on = format!("POST /v1/promotions/{}/resume", report.promotion);
    assert!(report.text().contains("HELD") && report.text().contains(&way_on), "{}", report.text());
    // A restart does not take it up by itself.
    let process = {
        drop(process);
        lab.process(None)
    };
    assert!(process.promotions.resume_all().await.is_empty());
    process.promotions.resume(&report.promotion, &approver(), Answers::default()).await.unwrap();
    let report = process.settle().await.unwrap();
    assert_eq!(report.stage, Stage::Completed, "{}", report.text());
    assert_eq!(lab.sent("stuck"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_human_can_vouch_for_a_step_that_will_never_be_done() {
    let (lab, process, report) = with_stuck(true).await;
    let answers = |done: &str| Answers { done: vec![done.into()], again: Vec::new() };
    let bad = process.promotions.resume(&report.promotion, &approver(), answers("nope")).await.unwrap_err();
    assert_eq!(bad.status(), 409);
    process.promotions.resume(&report.promotion, &approver(), answers("stuck")).await.unwrap();
    let report = process.settle().await.unwrap();
    assert_eq!((report.stage, lab.sent("stuck")), (Stage::Completed, 0));
    assert!(matches!(report.steps.last().unwrap().end, Some(End::Vouched(_))));
}

#[tokio::test(start_paused = true)]
async fn sg6_a_best_effort_step_that_fails_is_noted_and_never_blocks() {
    let (lab, _process, report) = with_stuck(false).await;
    assert_eq!((report.stage, lab.sent("stuck")), (Stage::Completed, 0));
    assert!(matches!(report.steps.last().unwrap().end, Some(End::GaveUp(_))));
    assert!(report.text().contains("GAVE UP"));
}

#[tokio::test(start_paused = true)]
async fn a_required_failure_before_the_fence_refuses_and_replication_goes_on() {
    let lab = Lab::new().await;
    let process = lab.process(None);
    process.flow.refuses_to_close.store(true, std::sync::atomic::Ordering::SeqCst);
    process.start().await.unwrap().unwrap();
    let report = process.settle().await.unwrap();
    assert_eq!(report.stage, Stage::Refused);
    assert!(report.trouble.unwrap().contains("a write is stuck"));
    assert!(process.flow.open.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(lab.sent("db-a"), 0);
    // It may be called again, with another key.
    process.flow.refuses_to_close.store(false, std::sync::atomic::Ordering::SeqCst);
    process.promotions.start(&approver(), request(), Some("other")).await.unwrap();
    assert_eq!(process.settle().await.unwrap().stage, Stage::Completed);
}

/// A step without a check dies in mid-act.
async fn unknowable(repeat: Repeat) -> (std::sync::Arc<Lab>, Process, Report) {
    let lab = Lab::new().await;
    lab.extra.lock().unwrap().push(Fake { repeat, checks: false, ..fake("blind", Phase::Commands) });
    lab.trouble("blind", Trouble::DiesAfter);
    let process = lab.process(None);
    process.start().await.unwrap().unwrap();
    assert!(process.settle().await.is_none());
    let process = lab.process(None);
    process.promotions.resume_all().await;
    let report = process.settle().await.unwrap();
    (lab, process, report)
}

#[tokio::test(start_paused = true)]
async fn without_a_check_an_unknown_outcome_repeats_what_is_safe() {
    let (lab, _process, report) = unknowable(Repeat::Safe).await;
    assert_eq!((report.stage, lab.sent("blind")), (Stage::Completed, 2));
}

#[tokio::test(start_paused = true)]
async fn without_a_check_an_unknown_outcome_holds_what_must_never_be_repeated() {
    let (lab, process, report) = unknowable(Repeat::Never).await;
    assert_eq!((report.stage, lab.sent("blind")), (Stage::Held, 1));
    assert!(report.trouble.as_ref().unwrap().contains("again = [\"blind\"]"), "{:?}", report.trouble);
    // A bare resume does not decide it either.
    process.promotions.resume(&report.promotion, &approver(), Answers::default()).await.unwrap();
    assert_eq!((process.settle().await.unwrap().stage, lab.sent("blind")), (Stage::Held, 1));
    let again = Answers { done: Vec::new(), again: vec!["blind".into()] };
    process.promotions.resume(&report.promotion, &approver(), again).await.unwrap();
    assert_eq!((process.settle().await.unwrap().stage, lab.sent("blind")), (Stage::Completed, 2));
}

#[tokio::test(start_paused = true)]
async fn a_human_can_hold_it_on_either_side_of_the_fence() {
    let lab = Lab::new().await;
    lab.trouble("tell", Trouble::Slow);
    let process = lab.process(None);
    let id = process.start().await.unwrap().unwrap().promotion;
    tokio::time::sleep(Duration::from_secs(3)).await;
    process.promotions.hold(&id, &Authorized::new("bob", Role::Operator)).unwrap();
    let report = process.settle().await.unwrap();
    assert_eq!(report.stage, Stage::Refused);
    assert!(report.trouble.unwrap().contains("bob"));

    lab.effects.lock().unwrap().clear();
    lab.trouble("db-a", Trouble::Slow);
    process.promotions.start(&approver(), request(), Some("two")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let id = process.promotions.list().pop().unwrap().promotion;
    assert_eq!(process.promotions.phase(), Phased::Promoting);
    process.promotions.hold(&id, &approver()).unwrap();
    assert_eq!(process.settle().await.unwrap().stage, Stage::Held);
    assert_eq!(lab.sent("svc"), 0);
    process.promotions.resume(&id, &approver(), Answers::default()).await.unwrap();
    assert_eq!(process.settle().await.unwrap().stage, Stage::Completed);
    assert_eq!(lab.sent("db-a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_the_process_is_taken_up_by_the_next() {
    let lab = Lab::new().await;
    lab.trouble("db-a", Trouble::Slow);
    let process = lab.process(None);
    process.start().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(process.tasks.shutdown(Duration::from_secs(5)).await.is_empty(), "it stops at once");
    let process = lab.process(None);
    process.promotions.resume_all().await;
    assert_eq!(process.settle().await.unwrap().stage, Stage::Completed);
    assert_eq!(lab.sent("db-a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_with_a_bug_leaves_a_promotion_that_can_be_resumed() {
    let lab = Lab::new().await;
    lab.trouble("db-a", Trouble::Panics);
    let process = lab.process(None);
    let id = process.start().await.unwrap().unwrap().promotion;
    let report = process.settle().await.unwrap();
    assert_eq!((report.stage, process.promotions.phase()), (Stage::Fenced, Phased::Held));
    assert!(report.trouble.unwrap().contains("broke off"));
    process.promotions.resume(&id, &approver(), Answers::default()).await.unwrap();
    assert_eq!(process.settle().await.unwrap().stage, Stage::Completed);
    assert_eq!(lab.sent("db-a"), 1);
}
