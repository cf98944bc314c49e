//! The plan: order, errors, hash; and what a human reads of it.

use std::sync::Arc;
use std::time::Duration;

use super::super::plan::plan;
use super::super::*;
use super::world::*;
use crate::config::{Promote, StepConfig, StepKind};
use crate::rpo::Terms;

const TERMS: Terms = Terms { objective: Duration::from_secs(30), period: Duration::from_secs(2) };

fn configured(id: &str, needs: &[&str]) -> StepConfig {
    StepConfig {
        id: id.into(),
        needs: needs.iter().map(|n| StepId::from(*n)).collect(),
        required: true,
        deadline: Duration::from_secs(60),
        what: StepKind::Command { run: vec!["/bin/true".into()], check: None, repeat: Repeat::Safe },
    }
}

fn made(steps: Vec<StepConfig>, stores: Vec<Fake>) -> Result<Plan, Vec<PlanError>> {
    let stores = stores.into_iter().map(|f| Arc::new(f) as Arc<dyn Step>).collect();
    plan(&Promote { catch_up: Duration::from_secs(10), steps }, &[(store("orders"), TERMS)], stores)
}

fn errors(result: Result<Plan, Vec<PlanError>>) -> String {
    result.err().expect("a bad plan").iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_order_is_phase_then_needs_then_file() {
    let steps = vec![configured("z", &["b"]), configured("b", &[]), configured("a", &[])];
    let plan = made(steps, vec![fake("dns", Phase::Dns), fake("tell", Phase::Announce), fake("db", Phase::Databases)])
        .unwrap();
    let order: Vec<_> = plan.steps.iter().map(|s| format!("{}{}", s.wave, s.id)).collect();
    assert_eq!(order, ["0tell", "1catch-up", "2fence", "3db", "4b", "4a", "5z", "6dns"]);
}

#[test]
fn needs_that_cannot_be_met_are_named() {
    let text =
        errors(made(vec![configured("a", &["nope", "dns"]), configured("a", &[])], vec![fake("dns", Phase::Dns)]));
    assert!(text.contains("two steps are called a"), "{text}");
    assert!(text.contains("step a needs nope, which is no step; known are catch-up, fence, dns, a, a"), "{text}");
    assert!(text.contains("needs dns, which runs later"), "{text}");
    let text = errors(made(
        vec![configured("x", &["c"]), configured("a", &["b"]), configured("b", &["c"]), configured("c", &["a"])],
        vec![],
    ));
    assert_eq!(text, "steps need each other in a circle: a -> b -> c -> a");
    assert!(errors(made(vec![configured("me", &["me"])], vec![])).contains("me -> me"));
}

#[test]
fn sg4_the_hash_covers_what_is_signed() {
    let hash = |steps| made(steps, vec![]).unwrap().hash;
    let one = hash(vec![configured("a", &[])]);
    assert_eq!(one, hash(vec![configured("a", &[])]));
    assert_eq!(one.len(), 64);
    let longer = StepConfig { deadline: Duration::from_secs(61), ..configured("a", &[]) };
    assert_ne!(one, hash(vec![longer]));
    assert_ne!(one, hash(vec![configured("b", &[])]));
    let strict = Terms { objective: Duration::from_secs(29), ..TERMS };
    let promote = Promote { catch_up: Duration::from_secs(10), steps: vec![configured("a", &[])] };
    assert_ne!(one, plan(&promote, &[(store("orders"), strict)], vec![]).unwrap().hash);
}

#[tokio::test(start_paused = true)]
async fn the_plan_is_shown_with_calls_checks_and_predicted_loss() {
    let lab = Lab::new().await;
    lab.trouble("db-a", Trouble::CheckHangs);
    lab.trouble("db-b", Trouble::CheckFails);
    let process = lab.process(None);
    let view = process.promotions.plan().await.unwrap();
    let text = view.text();
    for part in [
        "a promotion would pass the gate now",
        "orders",
        "5.0 s",
        "2026-11-23T14:00:00Z",
        "NO WAY BACK",
        "best effort",
        "CHECK FAILED: 503",
        "CHECK FAILED: no answer within 20.0 s",
        "not started: standby",
        "promote svc-after",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["predicted_loss_seconds"], 5.0);
    assert_eq!(json["steps"][0]["id"], "tell");
    assert_eq!(serde_json::from_value::<PlanView>(json).unwrap(), view, "a client reads it back");
    assert_eq!(lab.effects.lock().unwrap().len(), 0, "a plan acts on nothing");
}

#[tokio::test(start_paused = true)]
async fn another_plan_after_a_restart_is_refused_before_the_fence_and_held_behind_it() {
    for (step, stage) in [("tell", Stage::Refused), ("db-a", Stage::Held)] {
        let lab = Lab::new().await;
        lab.trouble(step, Trouble::DiesBefore);
        let process = lab.process(None);
        let id = process.start().await.unwrap().unwrap().promotion;
        assert!(process.settle().await.is_none());
        lab.extra.lock().unwrap().extend([fake("new", Phase::Dns), fake("late", Phase::Announce)]);
        let process = lab.process(None);
        process.promotions.resume_all().await;
        let report = process.settle().await.unwrap();
        assert_eq!(report.stage, stage);
        assert!(report.trouble.unwrap().contains("another one"));
        if stage == Stage::Held {
            process.promotions.resume(&id, &approver(), Answers::default()).await.unwrap();
            let report = process.settle().await.unwrap();
            assert_eq!(report.stage, Stage::Completed, "{}", report.text());
            assert_eq!((lab.sent("new"), lab.sent("late")), (1, 0));
        }
    }
}
