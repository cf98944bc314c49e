//! A seed that is killed and stopped again and again: it goes on where it was, and ends right. `make torture` does it long.

use std::time::Duration;

use plimsoll_lab::daemon::Daemon;
use plimsoll_lab::random::Random;
use plimsoll_lab::scripted::{Fault, FaultRule};

use super::super::fixture::{Ask as _, Load, ORDERS, Pair, field, streamed};
use super::super::truth::Watch;
use super::{configure, ends_well, hurry, pair_with, slow_scans, with_past, zombies};

/// A number from the environment.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(otherwise)
}

/// How often something is killed: one in twenty of the restarts of `make torture`.
pub(crate) fn rounds(least: u64) -> u64 {
    (number("PLIMSOLL_TORTURE_RESTARTS", 0) / 20).max(least)
}

/// Items on a page of the scan.
const PAGE: u64 = 25;

/// A given-up request lives 600 ms here: each life begins with waiting for it.
pub(crate) fn short_lives(pair: &Pair) {
    configure(pair, &[("\"500ms\"\nmax", "\"300ms\"\nmax"), ("life = \"1s\"", "life = \"600ms\"")]);
}

/// How far the scan is, or all of it when it is past.
async fn done(daemon: &Daemon, items: u64) -> Option<u64> {
    let status = daemon.client().status().await.ok()?;
    let progress = field(&status, "progress");
    match progress["what"].as_str()? {
        "scan" => progress["done"].as_u64(),
        _ => Some(items),
    }
}

#[tokio::test]
async fn bs_t2_a_seed_that_is_killed_again_and_again() {
    let kills = rounds(6);
    let seed = number("PLIMSOLL_TORTURE_SEED", u64::from(std::process::id()));
    println!("seed: {kills} kills, PLIMSOLL_TORTURE_SEED={seed}");
    let mut random = Random::fork(seed, 91);
    let items = (700 * kills).min(12_000);
    let pair = pair_with(streamed().shards(3), seed % 1000, "seed_segments = 4");
    short_lives(&pair);
    with_past(&pair, items);
    zombies(&pair, 500);
    // The scan takes about as long as all lives together.
    slow_scans(&pair, PAGE as usize, Duration::from_millis(200));
    pair.y.fault(FaultRule::on("*").probability(0.02).fault(Fault::LoseAnswer));
    pair.x.fault(FaultRule::on("*").probability(0.01).fault(Fault::InternalError));
    let load = Load::start(&pair.x, items as usize * 5 / 4, 150, seed);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    let (mut best, mut worst) = (0, 0);
    for kill in 1..=kills {
        let (least, most) = if random.chance(0.3) { (50, 600) } else { (900, 1800) };
        tokio::time::sleep(random.pause(Duration::from_millis(least), Duration::from_millis(most))).await;
        let before = done(&daemon, items).await.unwrap_or(best);
        best = best.max(before);
        daemon.kill9();
        daemon = pair.start().await;
        if kill % 3 == 0 {
            pair.x.roll_all(ORDERS);
        }
        let after = daemon.reach(|status| !field(status, "progress").is_null() || status.state(ORDERS) == "ok").await;
        let progress = field(&after, "progress");
        let after = if progress["what"] == "scan" { progress["done"].as_u64().unwrap_or_default() } else { items };
        worst = worst.max(before.saturating_sub(after));
    }
    println!("seed: after {kills} kills {best} of {items} items were copied; {worst} were copied again at most");
    // What one commit holds, of every segment: a quarter of a second's pages, and those of a slow disk.
    assert!(worst <= 4 * PAGE * 8, "{worst} items were lost by one kill");
    assert!(best >= items / 8, "it begins anew each time: {best}");
    hurry(&pair);
    load.stop().await;
    pair.x.clear_faults();
    pair.y.clear_faults();
    ends_well(&pair, &mut daemon, watch).await;
}

#[tokio::test]
async fn bs_t2_a_seed_that_is_stopped_and_started_loses_no_page() {
    let pair = pair_with(streamed().shards(2), 92, "seed_segments = 2");
    with_past(&pair, 1_500);
    slow_scans(&pair, 25, Duration::from_millis(100));
    let load = Load::start(&pair.x, 2_000, 100, 92);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        let before = field(&daemon.now().await, "progress")["done"].as_u64().unwrap_or_default();
        let status = daemon.terminate(Duration::from_secs(30)).await;
        assert!(status.success(), "{status}\n{}", daemon.tail(20));
        daemon = pair.start().await;
        let after = daemon.reach(|status| !field(status, "progress").is_null()).await;
        let after = field(&after, "progress")["done"].as_u64().unwrap_or_default();
        assert!(after >= before && before > 0, "{before} before the stop, {after} after it");
    }
    hurry(&pair);
    load.stop().await;
    ends_well(&pair, &mut daemon, watch).await;
}
