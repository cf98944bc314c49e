//! AP-3: a write whose answer was lost may land later, and still the newest value of its key wins.

use std::time::{Duration, SystemTime};

use plimsoll_lab::scripted::{Change, Fault, FaultRule, Key, Value};

use super::fixture::{Ask as _, Load, ORDERS, Pair, REQUEST_LIFE, until};
use super::truth::{Watch, regressions};

/// A rule for the next write of "k".
fn next_write_of_k() -> FaultRule<()> {
    FaultRule::on("*").key("pk", Value::s("k")).times(1)
}

/// When the standby first held this version of "k".
fn held_from(pair: &Pair, version: u64) -> SystemTime {
    let is = |change: &Change| change.new.as_ref().is_some_and(|new| new.get("v") == Some(&Value::n(version)));
    let arrivals = pair.y.arrivals(ORDERS);
    arrivals.iter().find(|change| *change.key == Key::of("k") && is(change)).map(|change| change.commit).expect("held")
}

/// The newest is sent `REQUEST_LIFE` after the stray one at the earliest, and ends as the value.
async fn the_newest_won(pair: &Pair, stray_sent_after: SystemTime) {
    until("the newest value", || pair.standby_version("k") == Some(3)).await;
    let waited = held_from(pair, 3).duration_since(stray_sent_after).unwrap_or_default();
    assert!(waited >= REQUEST_LIFE, "the newer write went out after {waited:?} only");
    // The stray one is spent: what it would have done, it has done.
    assert_eq!((pair.y.held_calls(), pair.y.late_calls()), (0, 0));
    assert_eq!(pair.standby_version("k"), Some(3));
}

#[tokio::test]
async fn ap3_a_newer_write_waits_out_a_stray_one() {
    let pair = Pair::new();
    let daemon = pair.start_ok().await;
    pair.put("k", 1);
    pair.converge(&daemon).await;
    pair.y.fault(next_write_of_k().fault(Fault::LoseAnswerHeld));
    let sent_after = SystemTime::now();
    pair.put("k", 2);
    until("the write is held", || pair.y.held_calls() == 1).await;
    pair.put("k", 3);
    // The same write is sent again, and has its answer, while the stray one is still on its way.
    until("the same write again", || pair.standby_version("k") == Some(2)).await;
    assert!(pair.y.release_held().iter().all(Result::is_ok));
    the_newest_won(&pair, sent_after).await;
    pair.converge(&daemon).await;
    assert_eq!(daemon.metric(&super::throttling::errors("unknown_outcome")).await, Some(1.0));
}

#[tokio::test]
async fn ap3_after_kill9_the_next_process_waits_out_the_strays_of_the_last() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    pair.put("k", 1);
    pair.converge(&daemon).await;
    pair.y.fault(next_write_of_k().fault(Fault::LoseAnswerHeld));
    pair.put("k", 2);
    until("the write is held", || pair.y.held_calls() == 1).await;
    daemon.kill9();
    pair.put("k", 3);
    let started_after = SystemTime::now();
    let daemon = pair.start().await;
    // A request's life is counted from when it was given up; a start is later.
    assert!(pair.y.release_held().iter().all(Result::is_ok));
    the_newest_won(&pair, started_after).await;
    pair.converge(&daemon).await;
}

#[tokio::test]
async fn ap3_a_clean_start_has_no_strays_to_fear() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    pair.put("k", 1);
    pair.converge(&daemon).await;
    pair.y.fault(next_write_of_k().fault(Fault::LoseAnswerLate { delay: REQUEST_LIFE * 4 / 5 }));
    pair.put("k", 2);
    until("the stray one is on its way", || pair.y.late_calls() == 1).await;
    // The stop is asked for while a stray write may still land: either it waits, or the next start does.
    assert!(daemon.terminate(Duration::from_secs(30)).await.success());
    pair.put("k", 3);
    let daemon = pair.start().await;
    until("the newest value", || pair.standby_version("k") == Some(3)).await;
    until("the stray one has landed", || pair.y.late_calls() == 0).await;
    assert_eq!(pair.standby_version("k"), Some(3), "the stray write landed after the newer one");
    pair.converge(&daemon).await;
}

#[tokio::test]
async fn ap3_whole_batches_that_land_late_under_load() {
    let pair = Pair::new();
    let daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    for delay in [50, 300, 600] {
        let delay = Duration::from_millis(delay);
        pair.y.fault(FaultRule::on("*").probability(0.15).fault(Fault::LoseAnswerLate { delay }));
    }
    let load = Load::start(&pair.x, 15, 100, 3);
    until("enough of it", || load.written() > 500).await;
    load.stop().await;
    pair.converge(&daemon).await;
    assert!(pair.y.faults_applied_in_all() > 3, "{}", pair.y.faults_applied_in_all());
    pair.y.clear_faults();
    watch.truthful().await;
    // One life: no value ever followed a newer one.
    let wrong = regressions(&pair.x, &pair.y.arrivals(ORDERS));
    assert!(wrong.is_empty(), "{} regressions: {}", wrong.len(), wrong[0]);
}
