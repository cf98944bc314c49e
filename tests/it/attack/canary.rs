//! Canaries: what they prove when all is well, and that a stream that stands still or is slow is noticed, and that what they
//! write is nobody's change.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plimsoll_lab::daemon::{Daemon, Status};
use plimsoll_lab::scripted::{Change, Door, Fault, FaultRule, Key, Value};

use super::fixture::{
    Ask as _, Load, ORDERS, PATIENCE, PROPAGATION, Pair, RHYTHM, field, is_canary, item, note, of_store, plain,
    streamed, until,
};
use super::promotion::{failover, id_of, stage};
use super::truth::Watch;

/// How often, here.
const EVERY: Duration = Duration::from_millis(400);

/// A pair whose store has two canaries, and more lines of configuration.
fn watched(seed: u64, shards: usize, more: &str) -> Pair {
    Pair::with(streamed().shards(shards), plain(), seed, |spec| {
        spec.stores[0].more = format!("{RHYTHM}\ncanary_keys = 2\ncanary_every = \"400ms\"\n{more}");
    })
}

/// What the daemon wrote in prodX.
fn written(pair: &Pair) -> Vec<Arc<Change>> {
    pair.x.arrivals(ORDERS).into_iter().filter(|change| is_canary(&change.key)).collect()
}

/// No item that is a canary is in the standby.
fn filtered(pair: &Pair) {
    assert!(pair.y.arrivals(ORDERS).iter().all(|change| !is_canary(&change.key)), "a canary was written to prodY");
}

/// The watermark is verified, and was committed after `since`.
async fn verified_since(daemon: &mut Daemon, since: SystemTime) -> Status {
    let past = |status: &Status| status.watermark(ORDERS).is_some_and(|w| w > since);
    daemon.reach(|status| status.state(ORDERS) == "ok" && field(status, "method") == "verified" && past(status)).await
}

#[tokio::test]
async fn ds12_canaries_verify_the_watermark_and_are_nobodys_change() {
    let pair = watched(1, 3, "");
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 30, 60, 1);
    let status = verified_since(&mut daemon, SystemTime::now()).await;
    assert_eq!(field(&status, "note"), &serde_json::Value::Null, "{status}");
    load.stop().await;
    pair.converge(&daemon).await;
    // Idle: it goes on, at the pace of the canaries.
    verified_since(&mut daemon, SystemTime::now()).await;
    filtered(&pair);
    let all = written(&pair);
    assert!(all.len() > 6 && all.iter().all(|change| !change.is_noop()), "DS-F2: each is another");
    let keys: HashSet<String> = all.iter().map(|change| change.key.to_string()).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    // I7: and nothing else.
    assert_eq!(pair.x.items_put(), all.len() as u64);
    assert_eq!((pair.x.items_deleted(), pair.x.calls("BatchWriteItem"), pair.x.calls("DeleteItem")), (0, 0, 0));
    let users = pair.x.history(ORDERS).iter().filter(|change| !is_canary(&change.key)).count() as f64;
    assert_eq!(daemon.metric(&of_store("store_changes_read_total")).await, Some(users));
    let applied = daemon.metric(&of_store("store_changes_applied_total")).await.expect("a counter");
    assert!(applied > 0.0 && applied <= users, "{applied} of {users}");
    assert_eq!(daemon.metric(&of_store("replication_latency_seconds_count")).await, Some(applied));
    assert_eq!(daemon.metric(&of_store("store_backlog_items")).await, Some(0.0));
    let trips = daemon.metric(&of_store("canary_roundtrip_seconds_count")).await.expect("measured");
    assert!(trips >= 4.0 && trips <= all.len() as f64, "{trips} of {}", all.len());
    let slowest = daemon.metric(&of_store("store_propagation_seconds_max")).await.expect("measured");
    assert!(slowest < PROPAGATION.as_secs_f64(), "{slowest}");
    assert_eq!(daemon.metric(&of_store("store_assumption_empty_run")).await, Some(3.0));
    let assumed = "plimsoll_store_assumption_seconds{assumption=\"propagation\",kind=\"dynamodb\",store=\"orders\"}";
    assert_eq!(daemon.metric(assumed).await, Some(PROPAGATION.as_secs_f64()));
    watch.truthful().await;
}

/// DS-12: the publisher of the stream stops. Pages are empty, writes go on, and an idle table looks the same. Shards whose
/// changes come by later than the canaries of the others are no exception.
#[tokio::test]
async fn ds12_a_stream_that_stands_still_stops_the_watermark() {
    let pair = watched(2, 3, "");
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 30, 40, 2);
    verified_since(&mut daemon, SystemTime::now()).await;
    pair.x.hold_stream(ORDERS);
    let held = SystemTime::now();
    let status = daemon.state("unknown").await;
    let took = status.asked_at.duration_since(held).unwrap_or_default();
    assert!(took < PATIENCE + Duration::from_secs(5), "{took:?}");
    assert!(status.watermark(ORDERS).is_some_and(|w| w < held), "{status}");
    let told = note(&status);
    assert!(told.contains("canaries: none has come by") && told.contains("stands still"), "{told}");
    assert_eq!(status.value["primary"]["reachable"], true);
    // Still standing, over a kill: nothing is proved by the next process, either.
    daemon.kill9();
    let mut daemon = pair.start().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = daemon.now().await;
    assert!(status.state(ORDERS) == "unknown" && status.watermark(ORDERS).is_some_and(|w| w < held), "{status}");
    pair.x.release_stream(ORDERS);
    let released = SystemTime::now();
    verified_since(&mut daemon, released).await;
    load.stop().await;
    pair.converge(&daemon).await;
    filtered(&pair);
    watch.truthful().await;
    assert_eq!(daemon.metric("plimsoll_rpo_soundness_violations_total").await, Some(0.0));
}

/// The oracle of the test above can fail: without canaries the same is not noticed, and what is `assumed` is not true.
#[tokio::test]
async fn ds12_without_canaries_nobody_notices() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.put("k", 1);
    pair.converge(&daemon).await;
    pair.x.hold_stream(ORDERS);
    pair.put("k", 2);
    let written = SystemTime::now();
    let status = daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > written)).await;
    assert_eq!((status.state(ORDERS), field(&status, "method").as_str()), ("ok", Some("assumed")), "{status}");
    until("a lie is seen", || !watch.seen().lies.is_empty()).await;
}

/// A3: the stream is slower than P says. The watermark stays true, and the measurement is told.
#[tokio::test]
async fn a3_a_slow_stream_is_measured_and_told_and_the_watermark_stays_true() {
    let pair = watched(3, 2, "");
    let mut daemon = pair.start_ok().await;
    verified_since(&mut daemon, SystemTime::now()).await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 20, 30, 3);
    let late = PROPAGATION * 3;
    pair.x.quirks(ORDERS, |quirks| quirks.visibility_delay = late);
    let status = daemon.reach(|status| note(status).contains("assumptions: a canary was visible only after")).await;
    assert!(note(&status).contains("propagation is 0.5 s"), "{status}");
    let longest = daemon.metric(&of_store("store_propagation_seconds_max")).await.expect("measured");
    assert!(longest > late.as_secs_f64() - 0.1 && longest < late.as_secs_f64() + 1.5, "{longest}");
    // Proofs of tips alone would have passed what is not visible yet.
    verified_since(&mut daemon, SystemTime::now()).await;
    load.stop().await;
    pair.converge(&daemon).await;
    watch.truthful().await;
    assert_eq!(daemon.metric("plimsoll_rpo_soundness_violations_total").await, Some(0.0));
}

/// A1: more empty pages before data than the empty run allows for.
#[tokio::test]
async fn a1_sparse_pages_beyond_p_are_counted_and_told() {
    let pair = Pair::with(streamed(), plain(), 4, |spec| {
        let rhythm = RHYTHM.replace("propagation = \"500ms\"", "propagation = \"0s\"");
        spec.stores[0].more = format!("{rhythm}\ncanary_keys = 1\ncanary_every = \"400ms\"");
    });
    pair.x.quirks(ORDERS, |quirks| quirks.empty_pages_before_data = 2);
    let mut daemon = pair.start_ok().await;
    let status = daemon.reach(|status| note(status).contains("empty pages came before a canary that was due")).await;
    assert!(note(&status).contains("empty_run is 3: raise it to"), "{status}");
    assert!(daemon.metric(&of_store("store_empty_run_max")).await.is_some_and(|pages| pages >= 1.0));
}

/// Splits, rolls and kills: canaries move with their keys, and those of a process that was killed count for the next.
#[tokio::test]
async fn ds12_over_splits_rolls_and_kills() {
    let pair = watched(5, 2, "");
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 30, 60, 5);
    for round in 0..4 {
        pair.x.split(ORDERS, &pair.x.open_shards(ORDERS)[0], 3);
        pair.x.roll_all(ORDERS);
        tokio::time::sleep(Duration::from_millis(700)).await;
        // Between the write of a canary and its record.
        pair.x.hold_stream(ORDERS);
        let count = written(&pair).len();
        until("one more is written", || written(&pair).len() > count).await;
        daemon.kill9();
        pair.x.release_stream(ORDERS);
        daemon = pair.start().await;
        let trips = daemon.metric(&of_store("canary_roundtrip_seconds_count")).await.unwrap_or(0.0);
        assert!(trips <= 20.0, "{round}: what the last process wrote is not measured by this one: {trips}");
    }
    verified_since(&mut daemon, SystemTime::now()).await;
    load.stop().await;
    pair.converge(&daemon).await;
    filtered(&pair);
    let seen = watch.truthful().await;
    assert!(!seen.states.contains("gap"), "{:?}", seen.states);
}

/// IA-3, FO-2: behind the fence nothing is written in prodX any more, restarts included.
#[tokio::test]
async fn fo2_behind_the_fence_nothing_is_written_in_prod_x() {
    let pair = watched(6, 1, "");
    let mut daemon = pair.start_ok().await;
    verified_since(&mut daemon, SystemTime::now()).await;
    let (code, started) = daemon.client().promote(&failover(), "key").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    stage(&daemon, &id_of(&started), "completed").await;
    let (count, calls) = (written(&pair).len(), pair.x.calls("PutItem"));
    assert!(count > 0);
    tokio::time::sleep(EVERY * 4).await;
    daemon.kill9();
    let daemon = pair.start().await;
    tokio::time::sleep(EVERY * 4).await;
    assert_eq!((written(&pair).len(), pair.x.calls("PutItem")), (count, calls));
    assert_eq!(daemon.now().await.state(ORDERS), "fenced");
}

/// prodX hangs in the middle of a write: the promotion does not wait for it, and nothing is written afterwards.
#[tokio::test]
async fn fo2_a_write_under_way_does_not_hold_up_the_fence() {
    let pair = watched(7, 1, "");
    let mut daemon = pair.start_ok().await;
    verified_since(&mut daemon, SystemTime::now()).await;
    pair.x.fault(FaultRule::on("PutItem").fault(Fault::Hang));
    let calls = pair.x.calls("PutItem");
    until("a write hangs", || pair.x.calls("PutItem") > calls).await;
    let (code, started) = daemon.client().promote(&failover(), "key").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    stage(&daemon, &id_of(&started), "completed").await;
    let calls = pair.x.calls("PutItem");
    tokio::time::sleep(EVERY * 4).await;
    assert_eq!(pair.x.calls("PutItem"), calls);
}

#[tokio::test]
async fn a_canary_that_is_refused_is_told_with_what_to_do() {
    let pair = watched(8, 1, "");
    let mut daemon = pair.start_ok().await;
    verified_since(&mut daemon, SystemTime::now()).await;
    let watch = Watch::start(&pair, daemon.client());
    let refuse = pair.x.fault(FaultRule::on("PutItem").fault(Fault::AccessDenied));
    let status = daemon.reach(|status| note(status).contains("writing a canary to prodX")).await;
    let told = note(&status);
    assert!(told.contains("__rpo_canary#*") && told.contains("config/iam/canary-x.json"), "{told}");
    // What cannot be verified is not: changes flow, the watermark stands, and in the end it is unknown.
    pair.put("k", 1);
    pair.converge(&daemon).await;
    daemon.state("unknown").await;
    pair.x.remove_fault(refuse);
    let status = verified_since(&mut daemon, SystemTime::now()).await;
    assert!(!note(&status).contains("canary"), "{status}");
    watch.truthful().await;
}

/// An answer that is lost: the same beat again makes no second record, and a stray that lands late takes nothing back.
#[tokio::test]
async fn unknown_outcomes_and_strays_of_canaries_are_harmless() {
    let pair = watched(9, 1, "");
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.x.fault(FaultRule::on("PutItem").probability(0.3).fault(Fault::LoseAnswer));
    let late = Fault::LoseAnswerLate { delay: Duration::from_millis(900) };
    pair.x.fault(FaultRule::on("PutItem").probability(0.3).fault(late));
    pair.x.fault(FaultRule::on("PutItem").probability(0.2).fault(Fault::Throttle));
    let load = Load::start(&pair.x, 10, 20, 9);
    tokio::time::sleep(Duration::from_secs(6)).await;
    pair.x.clear_faults();
    verified_since(&mut daemon, SystemTime::now()).await;
    load.stop().await;
    pair.converge(&daemon).await;
    let all = written(&pair);
    let trips = daemon.metric(&of_store("canary_roundtrip_seconds_count")).await.expect("measured");
    assert!(trips <= all.iter().filter(|change| !change.is_noop()).count() as f64, "none is counted twice: {trips}");
    filtered(&pair);
    watch.truthful().await;
}

#[tokio::test]
async fn a_dead_prod_x_is_not_blamed_on_its_stream() {
    let pair = watched(10, 1, "");
    let mut daemon = pair.start_ok().await;
    verified_since(&mut daemon, SystemTime::now()).await;
    pair.x.set_door(Door::Cut);
    let status = daemon.state("unknown").await;
    let told = note(&status);
    assert!(told.contains("reading prodX") && !told.contains("stands still"), "{told}");
    pair.x.set_door(Door::Open);
    verified_since(&mut daemon, SystemTime::now()).await;
    // The time that prodX was away is not the stream's.
    let longest = daemon.metric(&of_store("store_propagation_seconds_max")).await.expect("measured");
    assert!(longest < 5.0, "{longest}");
}

/// Copied when asked for; and a table that has canaries in it when it is seen for the first time is seeded without them.
#[tokio::test]
async fn canaries_are_copied_only_when_asked_for_in_the_seed_too() {
    let pair = watched(11, 1, "canary_replicate = true");
    let mut daemon = pair.start_ok().await;
    verified_since(&mut daemon, SystemTime::now()).await;
    let key = Key::of("__rpo_canary#1");
    until("it is in prodY, too", || pair.y.item(ORDERS, &key).is_some()).await;
    assert_eq!(daemon.metric(&of_store("store_changes_read_total")).await, Some(0.0), "and is nobody's change");
    assert_eq!(daemon.metric(&of_store("store_changes_applied_total")).await, Some(0.0));

    let pair = watched(12, 1, "");
    let stale = [("pk".to_owned(), Value::s("__rpo_canary#0")), ("v".to_owned(), Value::n(1))];
    pair.x.put(ORDERS, stale.into()).expect("a good item");
    pair.x.put(ORDERS, item("user", 7)).expect("a good item");
    let mut daemon = pair.start_ok().await;
    pair.converge(&daemon).await;
    verified_since(&mut daemon, SystemTime::now()).await;
    assert_eq!(pair.standby_version("user"), Some(7));
    filtered(&pair);
}
