//! Shards that split, roll, hide and vanish, against the wire: no change is skipped in silence, and what is lost is said.

use std::time::{Duration, SystemTime};

use plimsoll_lab::daemon::{Daemon, Status};
use plimsoll_lab::random::Random;
use plimsoll_lab::scripted::{AwsError, Call, Fault, FaultRule, TableSpec, TrimPoint, ViewType};

use super::fixture::{Ask as _, Load, ORDERS, PROPAGATION, Pair, field, note, plain, streamed, until};
use super::truth::Watch;

/// Everything awkward that a listing may do, and pages as small as they come.
fn awkward(pair: &Pair, seed: u64, null_with_last_records: bool) {
    pair.x.quirks(ORDERS, |quirks| {
        quirks.shuffle = Some(seed);
        quirks.mark_last_page = true;
        quirks.listing_limit = 3;
        quirks.hide_new_children_for = Duration::from_millis(300);
        quirks.late_parent_end_for = Duration::from_millis(400);
        quirks.page_limit = 7;
        quirks.empty_pages_before_data = 1;
        quirks.null_with_last_records = null_with_last_records;
        quirks.visibility_delay = PROPAGATION / 4;
    });
}

async fn splits_and_rolls(seed: u64, null_with_last_records: bool) {
    let pair = Pair::with(streamed().shards(2).first_sequence(995), plain(), seed, |_| {});
    awkward(&pair, seed, null_with_last_records);
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 60, 120, seed);
    let mut random = Random::new(seed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    pair.x.split(ORDERS, &pair.x.open_shards(ORDERS)[0], 5);
    for round in 0..7 {
        tokio::time::sleep(random.pause(Duration::from_millis(600), Duration::from_millis(1100))).await;
        pair.x.roll_all(ORDERS);
        if round % 2 == 0 {
            // A child that is closed before anybody has seen it.
            let open = pair.x.open_shards(ORDERS);
            pair.x.roll(ORDERS, &open[random.below(open.len())]);
            pair.x.expire_all_iterators(ORDERS);
        }
    }
    load.stop().await;
    let stopped = SystemTime::now();
    pair.converge(&daemon).await;
    let last = daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > stopped)).await;
    let seen = watch.truthful().await;
    assert!(!seen.states.contains("gap"), "{:?} {last}", seen.states);
    assert!(seen.watermarks.len() > 5, "it moved while shards rolled: {}", seen.watermarks.len());
    assert_eq!(daemon.metric("plimsoll_rpo_soundness_violations_total").await, Some(0.0));
}

#[tokio::test]
async fn ds4_splits_and_rolls_under_load() {
    splits_and_rolls(11, true).await;
}

#[tokio::test]
async fn ds4_splits_and_rolls_when_the_end_comes_on_an_empty_page() {
    splits_and_rolls(12, false).await;
}

#[tokio::test]
async fn ds7_expired_iterators_lose_nothing() {
    let pair = Pair::new();
    pair.x.quirks(ORDERS, |quirks| quirks.iterator_lifetime = Duration::from_millis(150));
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    for round in 0..15 {
        // A shard that has never had a record, and one that has.
        if round > 4 {
            pair.put("k", round);
            pair.put(&format!("k{round}"), 1);
        }
        pair.x.expire_all_iterators(ORDERS);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    pair.converge(&daemon).await;
    daemon.state("ok").await;
    assert!(!watch.truthful().await.states.contains("gap"));
}

/// DS-10: empty pages before data are no proof of a tip while there are fewer of them than the empty run.
#[tokio::test]
async fn ds10_sparse_pages_prove_nothing() {
    let pair = Pair::new();
    pair.x.quirks(ORDERS, |quirks| {
        quirks.empty_pages_before_data = 1;
        quirks.page_limit = 1;
        quirks.visibility_delay = PROPAGATION * 4 / 5;
    });
    let daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let mut random = Random::new(5);
    for version in 1..=40 {
        pair.put(&format!("k{}", random.below(5)), version);
        tokio::time::sleep(random.pause(Duration::from_millis(5), Duration::from_millis(400))).await;
    }
    pair.converge(&daemon).await;
    watch.truthful().await;
}

/// Tables whose gaps wait for an operator.
fn holding(source: TableSpec) -> Pair {
    Pair::with(source, plain(), 1, |spec| spec.stores[0].more += "\non_gap = \"hold\"")
}

/// What every gap must be: said within one poll, frozen, sticky, with a note that helps. Two restarts, one of each kind. And
/// healed by the re-seed that the note names, and by nothing before it is complete.
async fn is_a_gap(pair: &Pair, daemon: &mut Daemon, cause: &str) {
    stays_a_gap(pair, daemon, cause).await;
    heals(pair, daemon).await;
}

async fn heals(pair: &Pair, daemon: &mut Daemon) {
    let path = format!("/v1/stores/{ORDERS}/reseed");
    let (status, body) = daemon.client().post(&path, String::new(), &[]).await.expect("it answers");
    assert_eq!(status, 202, "{body}");
    daemon.state("ok").await;
    pair.converge(daemon).await;
}

async fn stays_a_gap(pair: &Pair, daemon: &mut Daemon, cause: &str) {
    let status = daemon.state("gap").await;
    gap_is_told(&status, cause);
    let watermark = status.watermark(ORDERS).expect("it was ok before");
    let state = format!("plimsoll_store_state{{kind=\"dynamodb\",state=\"gap\",store=\"{ORDERS}\"}}");
    assert_eq!(daemon.metric(&state).await, Some(1.0));
    let frozen = |status: &Status| {
        assert_eq!((status.state(ORDERS), status.watermark(ORDERS)), ("gap", Some(watermark)), "{status}");
        gap_is_told(status, cause);
    };
    tokio::time::sleep(Duration::from_millis(1500)).await;
    frozen(&daemon.now().await);
    daemon.kill9();
    *daemon = pair.start().await;
    frozen(&daemon.now().await);
    let status = daemon.terminate(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}\n{}", daemon.tail(20));
    *daemon = pair.start().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    frozen(&daemon.now().await);
}

fn gap_is_told(status: &Status, cause: &str) {
    let note = note(status);
    assert!(note.contains("history was lost") && note.contains("re-seed"), "{note}");
    assert!(note.contains(cause), "{cause} is not in: {note}");
    assert!(field(status, "rpo_seconds").is_null(), "{status}");
    assert!(field(status, "rpo_upper_bound_seconds").is_number(), "{status}");
}

#[tokio::test]
async fn ds8a_trimmed_before_it_was_read_in_mid_shard() {
    let pair = holding(streamed());
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.put("k", 1);
    pair.converge(&daemon).await;
    // Reads fail, changes come, and AWS's day is over.
    let down = pair.x.fault(FaultRule::on("GetRecords").fault(Fault::InternalError));
    tokio::time::sleep(Duration::from_millis(400)).await;
    pair.put("k", 2);
    pair.put("lost", 1);
    let last = pair.x.history(ORDERS).last().and_then(|change| change.sequence).expect("a change");
    pair.x.trim(ORDERS, TrimPoint::Sequence(last));
    pair.put("after", 1);
    pair.x.remove_fault(down);
    is_a_gap(&pair, &mut daemon, "trim").await;
    watch.truthful().await;
}

#[tokio::test]
async fn ds8a_trimmed_while_the_daemon_was_down() {
    let pair = holding(streamed());
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.put("k", 1);
    pair.converge(&daemon).await;
    let applied = SystemTime::now();
    daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > applied)).await;
    assert!(daemon.terminate(Duration::from_secs(30)).await.success());
    pair.put("k", 2);
    let last = pair.x.history(ORDERS).last().and_then(|change| change.sequence).expect("a change");
    pair.x.trim(ORDERS, TrimPoint::Sequence(last));
    let mut daemon = pair.start().await;
    is_a_gap(&pair, &mut daemon, "trim").await;
    watch.truthful().await;
}

#[tokio::test]
async fn ds8b_a_shard_that_vanishes() {
    let pair = holding(streamed().shards(3));
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let shards = pair.x.open_shards(ORDERS);
    pair.x.vanish(ORDERS, &shards[1]);
    stays_a_gap(&pair, &mut daemon, &shards[1]).await;
    watch.truthful().await;
    // The other shards are read all the same: a standby with a known gap is better for every change it still gets.
    for key in 0..30 {
        pair.put(&format!("k{key}"), 1);
    }
    until("most keys arrive", || pair.y.item_count(ORDERS) >= 10).await;
    heals(&pair, &mut daemon).await;
}

#[tokio::test]
async fn ds1_a_stream_that_was_turned_off_and_on() {
    let pair = holding(streamed());
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.put("k", 1);
    pair.put("last", 1);
    pair.x.disable_stream(ORDERS);
    pair.put("unseen", 1);
    pair.x.enable_stream(ORDERS, ViewType::NewAndOldImages);
    pair.put("in the new stream", 1);
    stays_a_gap(&pair, &mut daemon, "stream").await;
    // The old stream is drained to its end (it stays readable for a day).
    until("what the old stream held", || pair.standby_version("last") == Some(1)).await;
    heals(&pair, &mut daemon).await;
    watch.truthful().await;
}

#[tokio::test]
async fn ds1_a_table_that_was_made_anew() {
    let pair = holding(streamed());
    let mut daemon = pair.start_ok().await;
    pair.put("k", 1);
    pair.converge(&daemon).await;
    pair.x.recreate_table(ORDERS);
    pair.put("k", 9);
    stays_a_gap(&pair, &mut daemon, "created again").await;
    assert_eq!(pair.standby_version("k"), Some(1), "the new table's changes are not mixed into the old one's copy");
    heals(&pair, &mut daemon).await;
}

/// DescribeStream is eventually consistent: an answer that there is no such stream, while the table names it, neither ends
/// a shard without its children nor makes a gap.
#[tokio::test]
async fn ds8b_a_stream_that_is_not_found_for_a_moment() {
    let pair = Pair::with(streamed().shards(3), plain(), 1, |_| {});
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.put("k", 1);
    pair.converge(&daemon).await;
    let error = AwsError::new(400, "ResourceNotFoundException", "Requested resource not found: Stream not found");
    let rule = pair.x.fault(FaultRule::on("DescribeStream").fault(Fault::Error(error)));
    pair.x.roll(ORDERS, &pair.x.open_shards(ORDERS)[0]);
    for key in 0..30 {
        pair.put(&format!("k{key}"), 2);
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    pair.x.remove_fault(rule);
    pair.converge(&daemon).await;
    daemon.state("ok").await;
    assert!(!watch.truthful().await.states.contains("gap"));
    assert_eq!(daemon.metric("plimsoll_rpo_soundness_violations_total").await, Some(0.0));
}

/// A listing of many pages comes to its end although every other page is throttled.
#[tokio::test]
async fn ds3_a_long_listing_that_is_throttled() {
    let pair = Pair::with(streamed().shards(12), plain(), 1, |_| {});
    pair.x.quirks(ORDERS, |quirks| quirks.listing_limit = 1);
    let calls = std::sync::atomic::AtomicU64::new(0);
    let every_other = move |_: &Call<'_>| calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2);
    pair.x.fault(FaultRule::on("DescribeStream").when(every_other).fault(Fault::Throttle));
    let daemon = pair.start_ok().await;
    pair.put("k", 1);
    pair.converge(&daemon).await;
}
