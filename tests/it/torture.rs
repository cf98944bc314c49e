//! Kills and restarts the daemon under load, as often as asked. `make torture N=1000 SEED=7` runs it long.
//!
//! Beside the kills: splits and rolls of shards, throttles, lost answers that land late, items left unprocessed, and
//! iterators that expire, all at low rates. Everything that is published is judged at once; the end is judged too.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use plimsoll_lab::daemon::Daemon;
use plimsoll_lab::random::Random;
use plimsoll_lab::scripted::{Fault, FaultRule, ScriptedAws};

use crate::attack::fixture::{Ask as _, Load, ORDERS, Pair, came_true, plain, streamed};
use crate::attack::truth::{Watch, regressions};

/// A write that was given up lands at most this much later: below `max_request_life`.
const STRAY: Duration = Duration::from_millis(150);

/// How long a request lives here. Short, because a life is short and begins with waiting for it.
const RHYTHM: &str = r#"poll_min = "20ms"
poll_max = "200ms"
propagation = "500ms"
publish = "1s"
attempt_timeout = "300ms"
max_request_life = "600ms"
survey_every = "500ms""#;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(otherwise)
}

fn faults(x: &ScriptedAws, y: &ScriptedAws) {
    x.fault(FaultRule::on("GetRecords").probability(0.01).fault(Fault::Throttle));
    x.fault(FaultRule::on("*").probability(0.005).fault(Fault::InternalError));
    x.fault(FaultRule::on("*").probability(0.005).fault(Fault::LoseAnswer));
    y.fault(FaultRule::on("BatchWriteItem").probability(0.04).fault(Fault::Unprocessed { keep: 1 }));
    y.fault(FaultRule::on("BatchWriteItem").probability(0.01).fault(Fault::Unprocessed { keep: 0 }));
    y.fault(FaultRule::on("*").probability(0.02).fault(Fault::Throttle));
    y.fault(FaultRule::on("*").probability(0.01).fault(Fault::LoseAnswer));
    y.fault(FaultRule::on("*").probability(0.01).fault(Fault::LoseAnswerLate { delay: STRAY }));
    y.fault(FaultRule::on("*").probability(0.005).fault(Fault::Drop));
}

/// Rolls a shard, splits one while there are few, or expires what iterators are out.
fn reshard(x: &ScriptedAws, random: &mut Random) {
    let open = x.open_shards(ORDERS);
    let shard = &open[random.below(open.len())];
    match random.below(5) {
        0 => x.expire_all_iterators(ORDERS),
        1 if open.len() < 5 => drop(x.split(ORDERS, shard, 2)),
        _ => drop(x.roll(ORDERS, shard)),
    }
}

/// A short life most often ends in the start; a long one reads, writes and commits.
fn lifetime(random: &mut Random) -> Duration {
    let (least, most) = if random.chance(0.4) { (10, 450) } else { (800, 1700) };
    random.pause(Duration::from_millis(least), Duration::from_millis(most))
}

#[tokio::test]
async fn kill_loop() {
    let restarts = number("PLIMSOLL_TORTURE_RESTARTS", 100);
    let seed = number("PLIMSOLL_TORTURE_SEED", u64::from(std::process::id()));
    println!("kill_loop: PLIMSOLL_TORTURE_RESTARTS={restarts} PLIMSOLL_TORTURE_SEED={seed}");
    let mut random = Random::new(seed);
    let pair = Pair::with(streamed().shards(2), plain(), seed % 1000, |spec| spec.stores[0].more = RHYTHM.into());
    pair.x.quirks(ORDERS, |quirks| {
        quirks.shuffle = Some(seed);
        quirks.mark_last_page = true;
        quirks.empty_pages_before_data = 1;
        quirks.listing_limit = 20;
        quirks.hide_new_children_for = Duration::from_millis(100);
        quirks.late_parent_end_for = Duration::from_millis(150);
    });
    let mut daemon = pair.start_ok().await;
    faults(&pair.x, &pair.y);
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 60, 80, seed);
    let begin = Instant::now();
    let (mut wrong, mut from, mut moved) = (Vec::new(), 0, Vec::new());
    for restart in 1..=restarts {
        let end = Instant::now() + lifetime(&mut random);
        while Instant::now() < end {
            let pause = random.pause(Duration::from_millis(200), Duration::from_millis(900));
            tokio::time::sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
            if Instant::now() < end {
                reshard(&pair.x, &mut random);
            }
        }
        daemon.kill9();
        // What it sent may still land; the next life writes nothing before that is over.
        tokio::time::sleep(STRAY + Duration::from_millis(50)).await;
        let arrivals = pair.y.arrivals(ORDERS);
        wrong.extend(regressions(&pair.x, &arrivals[from..]));
        from = arrivals.len();
        daemon = pair.spawn();
        if restart % 10 == 0 {
            moved.push(watch.seen().highest());
        }
    }
    let killed_for = begin.elapsed();
    let written = load.stop().await;
    let stopped = SystemTime::now();
    let faults = pair.x.faults_applied_in_all() + pair.y.faults_applied_in_all();
    pair.x.clear_faults();
    pair.y.clear_faults();
    daemon.wait_ready(Duration::from_secs(60)).await.expect("it answers");
    pair.converge(&daemon).await;
    let last = daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > stopped)).await;
    let violations = daemon.metric("plimsoll_rpo_soundness_violations_total").await;
    let seen = watch.truthful().await;
    println!(
        "kill_loop: {restarts} kills in {killed_for:.0?}, {written} changes, {faults} faults, {} shards, {} answers judged, \
         {} watermarks",
        pair.x.shards(ORDERS).len(),
        seen.judged,
        seen.watermarks.len()
    );
    assert!(wrong.is_empty(), "{} regressions:\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
    assert_eq!(violations, Some(0.0));
    assert!(!seen.states.contains("gap") && last.state(ORDERS) != "gap", "{last}");
    // It lived: the watermark rose all the while, not only at the end.
    moved.dedup();
    assert!(moved.len() as u64 > restarts / 20, "the watermark moved {} times", moved.len());
}

/// The same, with a stop that is asked for: a clean start writes at once, so nothing may be left on its way.
#[tokio::test]
async fn stop_loop() {
    let restarts = number("PLIMSOLL_TORTURE_RESTARTS", 40) / 5;
    let seed = number("PLIMSOLL_TORTURE_SEED", u64::from(std::process::id()));
    println!("stop_loop: PLIMSOLL_TORTURE_RESTARTS={restarts} PLIMSOLL_TORTURE_SEED={seed}");
    let mut random = Random::fork(seed, 2);
    let pair = Pair::with(streamed(), plain(), seed % 1000, |spec| spec.stores[0].more = RHYTHM.into());
    let mut daemon: Daemon = pair.start_ok().await;
    faults(&pair.x, &pair.y);
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 20, 60, seed);
    let mut wrong: Vec<String> = Vec::new();
    for _ in 0..restarts {
        tokio::time::sleep(random.pause(Duration::from_millis(100), Duration::from_millis(1500))).await;
        let status = daemon.terminate(Duration::from_secs(30)).await;
        if !status.success() {
            wrong.push(format!("it ended with {status}"));
        }
        daemon = pair.start().await;
    }
    load.stop().await;
    pair.x.clear_faults();
    pair.y.clear_faults();
    pair.converge(&daemon).await;
    watch.truthful().await;
    assert!(wrong.is_empty(), "{wrong:?}");
    // No process ever died, so no write was ever repeated from before: the order of each key is whole.
    let arrivals = pair.y.arrivals(ORDERS);
    let wrong = regressions(&pair.x, &arrivals);
    assert!(wrong.is_empty(), "{} regressions:\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
    let x = Arc::clone(&pair.x);
    assert!(came_true(Duration::from_secs(5), || std::future::ready(x.held_calls() == 0)).await);
}
