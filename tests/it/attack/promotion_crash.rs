//! SG-1: kill -9 after every record of a promotion's journal, and at random: the next process completes it, the step took
//! effect exactly once, and nothing crosses the fence.

use std::time::Duration;

use futures_util::StreamExt as _;
use plimsoll_lab::random::Random;
use serde_json::json;

use super::fixture::{Ask as _, LONG, Load, ORDERS, Pair, came_true};
use super::promotion::{effect, effects, failover, follow, id_of, stage, with_step};

/// At one time: each has a daemon and two regions.
const AT_ONCE: usize = 3;

/// What must hold in the end, however it came there.
async fn completed_once(pair: &Pair, id: &str, context: &str) {
    let mut daemon = pair.start().await;
    // From here to the end: when the fence stands, what has arrived is all that ever arrives.
    follow(&pair.home, id, |_, name| name == "fenced").await;
    let arrived = pair.y.arrivals(ORDERS).len();
    let report = stage(&daemon, id, "completed").await;
    assert_eq!(effects(&effect(pair)), "once\n", "{context}: {report}");
    let list = daemon.client().json("/v1/promotions").await.expect("an answer");
    assert_eq!(list["promotions"].as_array().map(Vec::len), Some(1), "{context}: {list}");
    let status = daemon.state("fenced").await;
    assert_eq!(status.value["phase"], "promoted", "{context}");
    assert_eq!(pair.y.arrivals(ORDERS).len(), arrived, "{context}: writes after the fence");
    daemon.terminate(Duration::from_secs(30)).await;
}

/// Kills after the record of this number, in the first life and again in the second. Gives false when the promotion has
/// no such record.
async fn killed_after(number: u64) -> bool {
    let context = format!("killed after record {number}");
    let pair = with_step(20 + number, "0.3");
    let mut daemon = pair.start_ok().await;
    let load = Load::start(&pair.x, 20, 40, number);
    let (code, started) = daemon.client().promote(&failover(), "k").await.expect("an answer");
    assert_eq!(code, 202, "{context}: {started}");
    let id = id_of(&started);
    let seen = follow(&pair.home, &id, |at, _| at >= number).await;
    let reached = seen.last().is_some_and(|(at, _)| *at >= number);
    daemon.kill9();
    let mut daemon = pair.start().await;
    follow(&pair.home, &id, |at, _| at > number).await;
    daemon.kill9();
    completed_once(&pair, &id, &context).await;
    load.stop().await;
    reached
}

#[tokio::test]
async fn sg1_killed_after_every_record() {
    let reached: Vec<bool> = futures_util::stream::iter(0..11).map(killed_after).buffered(AT_ONCE).collect().await;
    // Whatever else is written, these are: requested, caught up, fenced, intent, outcome, settled, completed.
    assert!(reached.iter().filter(|reached| **reached).count() >= 7, "{reached:?}");
}

/// Killed at moments that no event tells: between the call and its answer, and inside of steps.
async fn killed_at_random(seed: u64) {
    let context = format!("seed {seed}");
    let mut random = Random::new(seed);
    let pair = with_step(40 + seed, "0.2");
    let mut daemon = pair.start_ok().await;
    let load = Load::start(&pair.x, 20, 40, seed);
    let client = daemon.client().clone();
    let asking = tokio::spawn(async move { client.promote(&failover(), "k").await.ok() });
    tokio::time::sleep(random.pause(Duration::ZERO, Duration::from_millis(60))).await;
    daemon.kill9();
    let answered = asking.await.expect("it was asked");
    for _ in 0..3 {
        daemon = pair.spawn();
        tokio::time::sleep(random.pause(Duration::from_millis(50), Duration::from_millis(2500))).await;
        daemon.kill9();
    }
    let mut daemon = pair.start().await;
    // Whoever had no answer asks again with the same key: one promotion, whether the first call had begun it or not.
    let (code, again) = daemon.client().promote(&failover(), "k").await.expect("an answer");
    assert_eq!(code, 202, "{context}: {again}");
    if let Some((202, first)) = answered {
        assert_eq!(id_of(&first), id_of(&again), "{context}");
    }
    daemon.kill9();
    completed_once(&pair, &id_of(&again), &context).await;
    load.stop().await;
}

#[tokio::test]
async fn sg1_killed_at_random() {
    let all = futures_util::stream::iter(0..6).map(killed_at_random).buffered(AT_ONCE).collect::<Vec<()>>();
    all.await;
}

/// Killed before the fence with a gate that no longer passes: the next process judges it again, and refuses.
#[tokio::test]
async fn a_promotion_taken_up_before_its_fence_is_judged_again() {
    let pair = with_step(60, "0");
    let mut daemon = pair.start_ok().await;
    // Accepted is little more than what is lost now, and prodX dies with the daemon.
    pair.x.set_door(plimsoll_lab::scripted::Door::Cut);
    let bound = super::fixture::bound(&daemon.now().await).expect("ok");
    let accepted = bound + 1.5;
    let request = json!({"mode": "failover", "reason": "a test", "accept_loss": {ORDERS: format!("{}ms", (accepted * 1000.0) as u64)}});
    let (code, started) = daemon.client().promote(&request, "k").await.expect("an answer");
    assert!(code == 202 || code == 409, "{code}: {started}");
    daemon.kill9();
    if code == 409 {
        // A loaded machine: the loss had passed what was accepted before the call came.
        return;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let daemon = pair.start().await;
    let id = id_of(&started);
    let over = || async {
        let report = daemon.client().json(&format!("/v1/promotions/{id}")).await.unwrap_or_default();
        report["state"] == "refused" || report["state"] == "completed"
    };
    assert!(came_true(LONG, over).await, "it ends");
    let report = daemon.client().json(&format!("/v1/promotions/{id}")).await.expect("an answer");
    if report["state"] == "refused" {
        assert!(report["trouble"].as_str().is_some_and(|why| why.contains(ORDERS)), "{report}");
        assert_eq!(daemon.now().await.value["phase"], "replicating");
        assert_eq!(effects(&effect(&pair)), "", "nothing was done");
        pair.x.set_door(plimsoll_lab::scripted::Door::Open);
        pair.put("k", 1);
        pair.converge(&daemon).await;
    } else {
        // The fence was faster than the kill.
        assert_eq!(report["frozen"]["stores"][0]["store"], ORDERS, "{report}");
    }
}
