//! A standby that takes little or nothing for a while: nothing is lost, and the bound tells how long it lasts.

use std::time::{Duration, Instant};

use plimsoll_lab::scripted::{Fault, FaultRule};

use super::fixture::{Ask as _, LONG, Load, ORDERS, Pair, bound, came_true, note, of_store};
use super::truth::Watch;

/// The count of failed calls of a class.
pub(crate) fn errors(class: &str) -> String {
    of_store("store_errors_total").replace("{kind", &format!("{{class=\"{class}\",kind"))
}

/// RPO grows by a second a second: the bound, asked twice, grew by the time that passed.
#[tokio::test]
async fn p4_throttled_for_ten_seconds() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 40, 50, 1);
    daemon.reach(|_| load.written() > 50).await;
    let rule = pair.y.fault(FaultRule::on("*").table(ORDERS).fault(Fault::Throttle));
    // What was on its way has ended, and the watermark stands.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (asked, first) = (Instant::now(), daemon.now().await);
    let answered = Instant::now();
    tokio::time::sleep(Duration::from_millis(8500)).await;
    let (asked_again, second) = (Instant::now(), daemon.now().await);
    let (least, most) = (asked_again - answered, answered.elapsed().max(asked.elapsed()));
    let grown = bound(&second).expect("a bound") - bound(&first).expect("a bound");
    assert_eq!(first.watermark(ORDERS), second.watermark(ORDERS), "nothing was written, nothing was proved");
    let range = least.as_secs_f64() - 0.1..=most.as_secs_f64() + 0.1;
    assert!(range.contains(&grown), "the bound grew by {grown}, not by {range:?}");
    assert!(note(&second).contains("writing prodY"), "{}", note(&second));
    assert!(daemon.metric(&errors("throttled")).await.is_some_and(|count| count > 0.0));
    assert!(pair.y.faults_applied(rule) < 400, "it backs off: {} calls", pair.y.faults_applied(rule));
    pair.y.clear_faults();
    daemon.reach(|status| bound(status).is_some_and(|bound| bound < 5.0)).await;
    load.stop().await;
    pair.converge(&daemon).await;
    let status = daemon.state("ok").await;
    assert_eq!(note(&status), "");
    watch.truthful().await;
}

#[tokio::test]
async fn ap5_unprocessed_24_of_25_then_all_of_them() {
    let pair = Pair::new();
    let daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let few = pair.y.fault(FaultRule::on("BatchWriteItem").fault(Fault::Unprocessed { keep: 1 }));
    let load = Load::start(&pair.x, 200, 100, 2);
    let enough = || async { pair.y.faults_applied(few) >= 20 };
    assert!(came_true(LONG, enough).await, "no batch was answered so");
    pair.y.remove_fault(few);
    let none = pair.y.fault(FaultRule::on("BatchWriteItem").fault(Fault::Unprocessed { keep: 0 }));
    let enough = || async { pair.y.faults_applied(none) >= 8 };
    assert!(came_true(LONG, enough).await, "no batch was answered so");
    assert!(daemon.metric(&errors("throttled")).await.is_some_and(|count| count > 20.0));
    pair.y.clear_faults();
    load.stop().await;
    pair.converge(&daemon).await;
    watch.truthful().await;
    let read = daemon.metric(&of_store("store_changes_read_total")).await;
    assert_eq!(read, Some(pair.x.history(ORDERS).len() as f64), "each change was read once");
}

#[tokio::test]
async fn ds14_a_source_that_throttles_is_read_to_the_end() {
    let pair = Pair::new();
    let daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.x.fault(FaultRule::on("*").probability(0.5).fault(Fault::Throttle));
    pair.x.fault(FaultRule::on("*").probability(0.2).fault(Fault::InternalError));
    let load = Load::start(&pair.x, 40, 50, 4);
    let enough = || async { pair.x.faults_applied_in_all() > 40 };
    assert!(came_true(LONG, enough).await, "no call was refused");
    load.stop().await;
    pair.converge(&daemon).await;
    let seen = watch.truthful().await;
    assert!(!seen.states.contains("gap"), "throttling is no loss: {:?}", seen.states);
}
