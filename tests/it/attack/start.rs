//! What a start says of itself: never more than is known.

use std::time::{Duration, SystemTime};

use plimsoll_lab::scripted::{Door, Fault, FaultRule, TableSpec, ViewType};

use super::fixture::{
    Ask as _, LONG, Load, ORDERS, POLL_MAX, PROPAGATION, Pair, bound, came_true, field, note, of_store, plain,
    streamed, until,
};
use super::truth::Watch;

#[tokio::test]
async fn rp2_a_table_with_data_is_seeding_and_has_no_number() {
    let pair = Pair::new();
    for key in 0..10 {
        pair.put(&format!("k{key}"), 1);
    }
    // What is there cannot be looked at, so it is not copied.
    pair.x.fault(FaultRule::on("Scan").fault(Fault::Throttle));
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    daemon.state("seeding").await;
    // The tail runs from the trim horizon all the same.
    pair.converge(&daemon).await;
    pair.put("new", 1);
    pair.converge(&daemon).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = daemon.now().await;
    assert_eq!(status.state(ORDERS), "seeding");
    for absent in ["rpo_seconds", "rpo_upper_bound_seconds", "watermark", "method"] {
        assert!(field(&status, absent).is_null(), "{absent}: {status}");
    }
    assert!(status.value["rpo_seconds"].is_null() && status.value["skew_seconds"].is_null(), "{status}");
    assert!(note(&status).starts_with("seeding"), "{}", note(&status));
    for absent in ["store_rpo_seconds", "store_rpo_upper_bound_seconds", "store_watermark_timestamp_seconds"] {
        assert_eq!(daemon.metric(&of_store(absent)).await, None, "{absent} is unknown, which is never a number");
    }
    assert_eq!(daemon.metric("plimsoll_app_rpo_seconds").await, None);
    let state = format!("plimsoll_store_state{{kind=\"dynamodb\",state=\"seeding\",store=\"{ORDERS}\"}}");
    assert_eq!(daemon.metric(&state).await, Some(1.0));

    daemon.kill9();
    let mut daemon = pair.start().await;
    assert_eq!(daemon.state("seeding").await.watermark(ORDERS), None);
    pair.put("later", 1);
    pair.converge(&daemon).await;
    let seen = watch.truthful().await;
    assert_eq!(seen.states.into_iter().collect::<Vec<_>>(), ["seeding"], "at no moment anything else");
}

/// DS-2: what the stream or the pair of tables cannot carry is refused before anything is promised, with what to do; and the
/// daemon goes on looking, so that mending the table is enough.
#[tokio::test]
async fn ds2_a_pair_that_does_not_fit_is_refused_with_what_to_do() {
    let keys_only = plain().stream(ViewType::KeysOnly);
    let other_key = TableSpec::new(ORDERS, "another");
    for (source, standby, says) in [
        (keys_only, plain(), "disable it and enable it again with NEW_AND_OLD_IMAGES"),
        (plain(), plain(), "the table has no stream"),
        (streamed(), other_key, "create the standby table with the key schema of the primary"),
    ] {
        let pair = Pair::with(source, standby, 1, |_| ());
        let daemon = pair.start().await;
        let told = came_true(LONG, async || note(&daemon.now().await).contains(says)).await;
        let status = daemon.now().await;
        assert!(told, "{says}: {status}");
        assert_eq!(status.state(ORDERS), "seeding", "{status}");
        assert!(field(&status, "rpo_upper_bound_seconds").is_null(), "{status}");
    }
}

#[tokio::test]
async fn a_restart_shows_the_durable_watermark_as_unknown_until_it_is_proved_again() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 10, 30, 1);
    until("some load", || load.written() > 60).await;
    load.stop().await;
    pair.converge(&daemon).await;
    daemon.state("ok").await;
    pair.x.set_door(Door::Blackhole);
    // Nothing is proved any more, so the last watermark stands.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let last = daemon.now().await.watermark(ORDERS).expect("it was ok");
    daemon.kill9();
    let mut daemon = pair.start().await;
    let status = daemon.now().await;
    assert_eq!(status.state(ORDERS), "unknown", "{status}");
    assert_eq!(status.watermark(ORDERS), Some(last), "an old watermark is still sound");
    assert!(field(&status, "rpo_seconds").is_null() && bound(&status).is_some(), "{status}");
    assert!(note(&status).contains("no proof since this process started"), "{}", note(&status));
    pair.x.set_door(Door::Open);
    daemon.state("ok").await;
    daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > last)).await;
    watch.truthful().await;
}

/// P5: a healthy idle source proves itself: W >= now - (polls + P + what requests and commits take).
#[tokio::test]
async fn p5_an_idle_store_keeps_its_promise() {
    let pair = Pair::new();
    pair.x.quirks(ORDERS, |quirks| quirks.visibility_delay = PROPAGATION / 2);
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.put("k", 1);
    pair.converge(&daemon).await;
    // Three empty reads, the allowance, a second for the requests, another for the commit.
    let promise = POLL_MAX * 3 + PROPAGATION + Duration::from_secs(2);
    let (mut best, mut kept) = (Duration::MAX, 0);
    daemon.reach(|status| bound(status).is_some_and(|bound| bound < promise.as_secs_f64())).await;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let status = daemon.now().await;
        assert_eq!(status.state(ORDERS), "ok", "{status}");
        let age = SystemTime::now().duration_since(status.watermark(ORDERS).expect("ok")).expect("P1");
        assert!(age >= PROPAGATION, "an idle proof subtracts the allowance: {age:?}");
        best = best.min(age);
        kept += usize::from(age <= promise);
    }
    // A loaded machine may be late now and then.
    assert!(kept >= 20, "kept {kept} times of 30; at best {best:?}, promised {promise:?}");
    assert_eq!(field(&daemon.now().await, "method"), "assumed", "idleness is not a proof by a record");
    watch.truthful().await;
}
