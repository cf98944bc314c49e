//! History that is lost (DS-8), and its cure: seen within one poll, sticky, visible, and healed by a copy of a higher epoch
//! without anybody's help. Until that is complete the old watermark stands, as an upper bound.

use std::time::{Duration, Instant, SystemTime};

use plimsoll_lab::daemon::{Daemon, Status};
use plimsoll_lab::random::Random;
use plimsoll_lab::scripted::{Door, Fault, FaultRule, Key, TableSpec, TrimPoint};

use super::fixture::{Ask as _, LONG, Load, ORDERS, Pair, bound, came_true, field, note, of_store, streamed, until};
use super::seed::kills::{number, rounds, short_lives};
use super::seed::{arrives, forget, pair_with, slow_scans, with_past, zombies};
use super::truth::Watch;

/// A gap heals a second after the last copy began, at the earliest.
const SOON: &str = "reseed_every = \"1s\"\nseed_segments = 2";

fn watermark(status: &Status) -> SystemTime {
    status.watermark(ORDERS).unwrap_or_else(|| panic!("no watermark: {status}"))
}

/// A pair that is `ok`, with a past and a present.
async fn running(source: TableSpec, seed: u64, more: &str) -> (Pair, Daemon, Watch) {
    let pair = pair_with(source, seed, more);
    with_past(&pair, 200);
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    for number in 0..20 {
        pair.put(&format!("k{number}"), 7_000);
    }
    pair.converge(&daemon).await;
    let now = SystemTime::now();
    daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > now)).await;
    // The first copy began more than `reseed_every` ago.
    tokio::time::sleep(Duration::from_millis(500)).await;
    (pair, daemon, watch)
}

/// Waits for the gap, then for its cure, and looks all the while: no RPO before the end, and the frozen watermark stands.
async fn heals_itself(pair: &Pair, mut daemon: Daemon, watch: Watch, cause: &str) {
    let (began, mut frozen, mut said) = (Instant::now(), None, String::new());
    let mut healed = false;
    while !healed {
        let status = daemon.now().await;
        assert!(began.elapsed() < LONG, "{status}\n{}", daemon.tail(20));
        match status.state(ORDERS) {
            "gap" => {
                let at = watermark(&status);
                assert_eq!(*frozen.get_or_insert(at), at, "it stands: {status}");
                assert!(bound(&status).is_some() && field(&status, "rpo_seconds").is_null(), "{status}");
                said = note(&status).to_owned();
                assert!(
                    said.contains("history was lost") && said.contains("re-seed") && said.contains(cause),
                    "{said}"
                );
            }
            "ok" => healed = frozen.is_some(),
            state => assert!(frozen.is_none() || state == "unknown", "{status}"),
        }
        assert!(frozen.is_some() || began.elapsed() < Duration::from_secs(20), "no gap was seen: {status}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    pair.converge(&daemon).await;
    let now = SystemTime::now();
    let status = daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > now)).await;
    assert!(Some(watermark(&status)) > frozen, "{status}");
    assert_eq!(note(&status), "", "after: {said}");
    let seen = watch.truthful().await;
    assert!(seen.states.contains("gap"), "{:?}", seen.states);
    assert_eq!(daemon.metric("plimsoll_rpo_soundness_violations_total").await, Some(0.0));
}

/// Changes that nobody reads, of which the stream keeps nothing; the next one it keeps.
fn lose(pair: &Pair) {
    pair.put("k1", 8_001);
    pair.put("lost", 1);
    pair.x.delete(ORDERS, Key::of("k2"));
    let last = pair.x.history(ORDERS).last().and_then(|change| change.sequence).expect("a change");
    pair.x.trim(ORDERS, TrimPoint::Sequence(last));
    pair.put("kept", 1);
}

#[tokio::test]
async fn ds8a_trimmed_at_get_records_heals_itself() {
    let (pair, daemon, watch) = running(streamed(), 101, SOON).await;
    let down = pair.x.fault(FaultRule::on("GetRecords").fault(Fault::Throttle));
    tokio::time::sleep(Duration::from_millis(300)).await;
    lose(&pair);
    pair.x.remove_fault(down);
    heals_itself(&pair, daemon, watch, "trimmed").await;
}

#[tokio::test]
async fn ds8a_trimmed_at_get_shard_iterator_heals_itself() {
    let (pair, mut daemon, watch) = running(streamed().shards(2), 102, SOON).await;
    daemon.kill9();
    lose(&pair);
    pair.x.roll_all(ORDERS);
    let daemon = pair.start().await;
    heals_itself(&pair, daemon, watch, "trimmed").await;
}

#[tokio::test]
async fn ds8b_a_shard_that_is_not_found_heals_itself() {
    let (pair, daemon, watch) = running(streamed().shards(3), 103, SOON).await;
    // The survey sees nothing of it: only the reader is told.
    let survey = pair.x.fault(FaultRule::on("DescribeTable").fault(Fault::Throttle));
    pair.x.vanish(ORDERS, &pair.x.open_shards(ORDERS)[1]);
    pair.put("k3", 8_003);
    let mut daemon = daemon;
    daemon.state("gap").await;
    pair.x.remove_fault(survey);
    heals_itself(&pair, daemon, watch, "gone").await;
}

#[tokio::test]
async fn ds8c_a_shard_that_leaves_the_listing_heals_itself() {
    let (pair, daemon, watch) = running(streamed().shards(3), 104, SOON).await;
    let down = pair.x.fault(FaultRule::on("GetRecords").fault(Fault::Throttle));
    tokio::time::sleep(Duration::from_millis(300)).await;
    pair.x.vanish(ORDERS, &pair.x.open_shards(ORDERS)[2]);
    let mut daemon = daemon;
    daemon.state("gap").await;
    pair.x.remove_fault(down);
    heals_itself(&pair, daemon, watch, "left the listing").await;
}

#[tokio::test]
async fn ds8d_a_shard_whose_parent_nobody_saw_heals_itself() {
    let (pair, mut daemon, watch) = running(streamed(), 105, SOON).await;
    daemon.kill9();
    let first = pair.x.open_shards(ORDERS).remove(0);
    let middle = pair.x.roll(ORDERS, &first);
    pair.put("k4", 8_004);
    pair.put("only in the middle", 1);
    pair.x.roll(ORDERS, &middle);
    pair.put("k5", 8_005);
    // A day later neither is listed any more.
    pair.x.vanish(ORDERS, &first);
    pair.x.vanish(ORDERS, &middle);
    let daemon = pair.start().await;
    heals_itself(&pair, daemon, watch, "shard").await;
}

#[tokio::test]
async fn ds8f_a_stream_that_was_reset_heals_itself() {
    let (pair, daemon, watch) = running(streamed().shards(2), 106, SOON).await;
    pair.put("k6", 8_006);
    pair.x.disable_stream(ORDERS);
    pair.put("unseen", 1);
    pair.x.delete(ORDERS, Key::of("k7"));
    pair.x.enable_stream(ORDERS, plimsoll_lab::scripted::ViewType::NewAndOldImages);
    pair.put("in the new stream", 1);
    heals_itself(&pair, daemon, watch, "the stream was disabled").await;
}

/// What was proven of another table says nothing of this one: the watermark is dropped, not frozen.
#[tokio::test]
async fn ds8f_a_table_that_was_made_anew_heals_itself_without_the_old_watermark() {
    let (pair, mut daemon, watch) = running(streamed(), 107, SOON).await;
    watch.truthful().await;
    let (gate, held) = pair.x.hold_scan(ORDERS, 0);
    pair.x.recreate_table(ORDERS);
    (0..30).for_each(|n| pair.put(&format!("n{n}"), n));
    arrives(&gate).await;
    let status = daemon.reach(|status| status.watermark(ORDERS).is_none()).await;
    assert!(bound(&status).is_none() && status.state(ORDERS) != "ok", "{status}");
    pair.x.remove_fault(held);
    gate.open();
    daemon.state("ok").await;
    pair.converge(&daemon).await;
    assert_eq!(pair.y.item_count(ORDERS), 30, "nothing of the former table is left");
}

/// An index that is lost tells nothing; a standby that is full is swept (see `seed::zombies`). Here: the rate limit.
#[tokio::test]
async fn ds8_a_second_gap_waits_for_reseed_every_and_an_operator_need_not() {
    let (pair, mut daemon, watch) = running(streamed().shards(3), 108, "reseed_every = \"1h\"").await;
    pair.x.vanish(ORDERS, &pair.x.open_shards(ORDERS)[1]);
    let gap = daemon.state("gap").await;
    let at = watermark(&gap);
    let scans = pair.x.calls("Scan");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = daemon.now().await;
    assert_eq!((status.state(ORDERS), watermark(&status), pair.x.calls("Scan")), ("gap", at, scans), "{status}");
    assert!(
        note(&status).contains("a re-seed begins by itself at ") && note(&status).contains("plimsoll reseed orders"),
        "{}",
        note(&status)
    );
    daemon.kill9();
    let mut daemon = pair.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((daemon.now().await.state(ORDERS), pair.x.calls("Scan")), ("gap", scans), "sticky over a restart");
    let (code, body) = daemon.client().post("/v1/stores/orders/reseed", String::new(), &[]).await.expect("an answer");
    assert_eq!(code, 202, "{body}");
    daemon.state("ok").await;
    pair.converge(&daemon).await;
    watch.truthful().await;
}

/// BS-T5: history is lost again while the copy that heals the first loss runs. It is not taken for healed.
#[tokio::test]
async fn bs_t5_a_gap_during_a_reseed_begins_it_anew() {
    let (pair, mut daemon, watch) = running(streamed().shards(3), 109, SOON).await;
    let (gate, held) = pair.x.hold_scan(ORDERS, 0);
    let shards = pair.x.open_shards(ORDERS);
    pair.x.vanish(ORDERS, &shards[0]);
    let at = watermark(&daemon.state("gap").await);
    arrives(&gate).await;
    pair.x.vanish(ORDERS, &shards[1]);
    pair.put("k9", 8_009);
    // The copy that was under way comes to nothing; another begins, and its pages wait at the gate as well.
    until("another copy begins", || daemon.tail(400).matches("a copy begins").count() >= 3).await;
    assert!(daemon.tail(400).matches("history is lost").count() >= 2, "both losses are logged:\n{}", daemon.tail(400));
    let status = daemon.now().await;
    assert_eq!((status.state(ORDERS), watermark(&status)), ("gap", at), "the watermark before the first loss stands");
    pair.x.remove_fault(held);
    gate.open();
    heals_itself_from_here(&pair, daemon, watch).await;
}

async fn heals_itself_from_here(pair: &Pair, mut daemon: Daemon, watch: Watch) {
    let now = SystemTime::now();
    daemon.reach(|status| status.state(ORDERS) == "ok" && status.watermark(ORDERS).is_some_and(|w| w > now)).await;
    pair.converge(&daemon).await;
    watch.truthful().await;
}

/// An operator asks, without a gap: there is a reason to doubt, so the watermark is undefined until the copy is complete.
#[tokio::test]
async fn bs_a_requested_reseed_mends_what_is_wrong_in_the_standby() {
    let (pair, mut daemon, watch) = running(streamed().shards(2), 110, SOON).await;
    watch.truthful().await;
    // Somebody wrote to prodY.
    pair.y.put(ORDERS, super::fixture::item("k1", 1)).expect("a good item");
    pair.y.delete(ORDERS, Key::of("k2"));
    zombies(&pair, 5);
    let (gate, held) = pair.x.hold_scan(ORDERS, 0);
    let (code, body) = daemon.client().post("/v1/stores/orders/reseed", String::new(), &[]).await.expect("an answer");
    assert_eq!(code, 202, "{body}");
    arrives(&gate).await;
    let status = daemon.now().await;
    assert_eq!((status.state(ORDERS), status.watermark(ORDERS)), ("seeding", None), "{status}");
    let again = daemon.client().post("/v1/stores/orders/reseed", String::new(), &[]).await.expect("an answer");
    assert!(again.0 == 409 || again.0 == 422, "one at a time: {again:?}");
    pair.x.remove_fault(held);
    gate.open();
    daemon.state("ok").await;
    pair.converge(&daemon).await;
}

/// DS-8e: the time until the source may forget what was not read is shown, and runs while nothing can be read.
#[tokio::test]
async fn ds8e_the_retention_headroom_runs_while_nothing_is_read() {
    let (pair, mut daemon, watch) = running(streamed().shards(2), 111, SOON).await;
    let series = of_store("store_retention_headroom_seconds");
    let whole = 24.0 * 3600.0;
    let headroom = daemon.metric(&series).await.expect("it is there");
    assert!(headroom > whole - 30.0 && headroom <= whole, "{headroom}");
    pair.x.set_door(Door::Cut);
    let from = Instant::now();
    let runs = || async { daemon.metric(&series).await.is_some_and(|left| left < headroom - 3.0) };
    assert!(came_true(LONG, runs).await, "it does not run");
    let first = daemon.metric(&series).await.expect("it is there");
    // What was shown at the cut may have been some seconds old; it runs no faster than time.
    let gone = from.elapsed().as_secs_f64();
    assert!(headroom - first <= gone + 10.0, "{headroom} to {first} in {gone} s");
    pair.x.set_door(Door::Open);
    let wanted = || async { daemon.metric(&series).await.is_some_and(|left| left > first) };
    assert!(came_true(LONG, wanted).await, "it is read again");
    daemon.state("ok").await;
    watch.truthful().await;
}

/// Gaps, requests and kills in every stage of a re-seed, under load. `make torture` does it long.
mod kills {
    use super::*;

    #[tokio::test]
    async fn bs_t2_a_reseed_killed_in_every_stage() {
        let rounds = rounds(6);
        let seed = number("PLIMSOLL_TORTURE_SEED", u64::from(std::process::id()));
        println!("re-seed: {rounds} rounds, PLIMSOLL_TORTURE_SEED={seed}");
        let mut random = Random::fork(seed, 112);
        let pair = pair_with(streamed().shards(3), seed % 1000, SOON);
        short_lives(&pair);
        with_past(&pair, 400);
        let mut daemon = pair.start_ok().await;
        let load = Load::start(&pair.x, 500, 100, seed);
        slow_scans(&pair, 50, Duration::from_millis(60));
        // A request of an operator takes the watermark back on purpose: a watch for each round.
        let mut judged = 0;
        for round in 0..rounds {
            let watch = Watch::start(&pair, daemon.client());
            match random.below(3) {
                0 => {
                    // What it takes from now on goes to its child, which can be read.
                    let open = pair.x.open_shards(ORDERS);
                    let shard = &open[random.below(open.len())];
                    pair.x.roll(ORDERS, shard);
                    pair.x.vanish(ORDERS, shard);
                }
                1 => {
                    pair.x.disable_stream(ORDERS);
                    pair.x.enable_stream(ORDERS, plimsoll_lab::scripted::ViewType::NewAndOldImages);
                }
                _ => {
                    // Nothing is trimmed within a day, so nothing of a shard of which no record was read yet: all of them
                    // have been read for some seconds.
                    let since = SystemTime::now() + Duration::from_secs(2);
                    daemon.reach(|status| status.state(ORDERS) == "ok" && status.watermark(ORDERS) > Some(since)).await;
                    daemon.kill9();
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    forget(&pair);
                    daemon = pair.start().await;
                }
            }
            for _ in 0..2 {
                tokio::time::sleep(random.pause(Duration::from_millis(50), Duration::from_millis(2200))).await;
                daemon.kill9();
                daemon = pair.start().await;
            }
            if random.chance(0.5) {
                let now = SystemTime::now();
                daemon.reach(|status| status.state(ORDERS) == "ok" && status.watermark(ORDERS) > Some(now)).await;
            }
            let seen = watch.truthful().await;
            judged += seen.judged;
            println!("re-seed: round {round}: {:?}", seen.states);
        }
        load.stop().await;
        let watch = Watch::start(&pair, daemon.client());
        heals_itself_from_here(&pair, daemon, watch).await;
        println!("re-seed: {rounds} rounds, {judged} answers judged");
    }
}
