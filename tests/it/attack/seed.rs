//! Tables that hold items before anything looks at them: they are copied while writers go on, and nothing is lost, kept
//! too long, or promised too early.

pub(super) mod kills;
mod outages;
mod pace;
mod races;
mod shapes;
mod told;
mod zombies;

use std::time::{Duration, SystemTime};

use plimsoll_lab::daemon::Daemon;
use plimsoll_lab::scripted::{Gate, TableSpec, TrimPoint, Value};

use super::fixture::{Ask as _, LONG, Load, ORDERS, Pair, item, plain, streamed};
use super::truth::Watch;

/// More lines of the store's configuration.
pub(super) fn pair_with(source: TableSpec, seed: u64, more: &str) -> Pair {
    Pair::with(source, plain(), seed, |spec| spec.stores[0].more += &format!("\n{more}"))
}

/// One segment, which leaves the server a thread for the stream, and requests that may take long.
fn patient(seed: u64, more: &str) -> Pair {
    let pair = pair_with(streamed().shards(2), seed, &format!("seed_segments = 1\n{more}"));
    configure(&pair, &[("\"500ms\"\nmax", "\"10s\"\nmax"), ("life = \"1s\"", "life = \"20s\"")]);
    pair
}

/// Undoes that: a given-up request may live for long here, and nobody waits for that in a test.
fn impatient(pair: &Pair) {
    configure(pair, &[("\"10s\"\nmax", "\"500ms\"\nmax"), ("life = \"20s\"", "life = \"1s\"")]);
}

/// Rewrites the configuration.
pub(super) fn configure(pair: &Pair, changes: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(pair.home.config()).expect("it is there");
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in\n{text}");
        text = text.replace(from, to);
    }
    std::fs::write(pair.home.config(), text).expect("writable");
}

/// Waits until a call has come to a gate.
pub(super) async fn arrives(gate: &Gate) {
    tokio::time::timeout(LONG, gate.until_arrived(1)).await.expect("a call comes to the gate");
}

/// The name of a key of the past.
pub(super) fn old_key(number: u64) -> String {
    format!("k{number}")
}

/// Items that prodX holds as if they had been there for ever: their records are trimmed, and the ledger knows them.
pub(super) fn with_past(pair: &Pair, items: u64) {
    for number in 0..items {
        pair.put(&old_key(number), number);
    }
    forget(pair);
}

/// All that prodX holds is as if it had been there for ever.
pub(super) fn forget(pair: &Pair) {
    pair.x.trim(ORDERS, TrimPoint::Before(SystemTime::now() + Duration::from_secs(1)));
}

/// Items that prodY holds and prodX does not.
pub(super) fn zombies(pair: &Pair, count: u64) {
    for number in 0..count {
        pair.y.put(ORDERS, item(&format!("zombie{number}"), number)).expect("a good item");
    }
}

/// Scans are answered in small pages, each after a while: so a seed takes about `items / page * pause / segments`.
pub(super) fn slow_scans(pair: &Pair, page: usize, pause: Duration) {
    pair.x.read_quirks(ORDERS, |quirks| quirks.scan_page_items = page);
    pair.x.set_latency("Scan", pause);
}

/// Ends a slow seed.
pub(super) fn hurry(pair: &Pair) {
    pair.x.read_quirks(ORDERS, |quirks| quirks.scan_page_items = usize::MAX);
    pair.x.set_latency("Scan", Duration::ZERO);
}

/// Waits until the seed is done and both tables hold the same, and nothing untrue was said.
pub(super) async fn ends_well(pair: &Pair, daemon: &mut Daemon, watch: Watch) {
    daemon.state("ok").await;
    pair.converge(daemon).await;
    let seen = watch.truthful().await;
    assert!(!seen.states.contains("gap"), "{:?}", seen.states);
    assert_eq!(daemon.metric("plimsoll_rpo_soundness_violations_total").await, Some(0.0));
}

/// The version that an item of prodX or prodY carries.
pub(super) fn version(item: Option<&plimsoll_lab::scripted::Item>) -> Option<u64> {
    match item?.get("v") {
        Some(Value::N(number)) => number.parse().ok(),
        _ => None,
    }
}

#[tokio::test]
async fn bs_a_table_with_a_past_is_copied_while_writers_go_on() {
    let pair = pair_with(streamed().shards(3), 5, "");
    with_past(&pair, 3_000);
    let load = Load::start(&pair.x, 4_000, 400, 3);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    daemon.state("ok").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.stop().await;
    ends_well(&pair, &mut daemon, watch).await;
}

/// DS-4, LE-6 while a seed runs: a split into five, children that are listed before their parent closes, rolls every 300 ms.
async fn shards_move(seed: u64, late_parent_end: Duration, hide_children: Duration) {
    let pair = pair_with(streamed().shards(2), seed, "seed_segments = 2");
    with_past(&pair, 2_000);
    pair.x.quirks(ORDERS, |quirks| {
        quirks.late_parent_end_for = late_parent_end;
        quirks.hide_new_children_for = hide_children;
        quirks.shuffle = Some(seed);
        quirks.listing_limit = 3;
    });
    slow_scans(&pair, 25, Duration::from_millis(80));
    let load = Load::start(&pair.x, 3_000, 200, seed);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    daemon.state("seeding").await;
    pair.x.split(ORDERS, &pair.x.open_shards(ORDERS)[0], 5);
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        pair.x.roll_all(ORDERS);
    }
    assert_eq!(daemon.now().await.state(ORDERS), "seeding", "the shards moved during the seed");
    hurry(&pair);
    load.stop().await;
    ends_well(&pair, &mut daemon, watch).await;
}

#[tokio::test]
async fn ds4_a_split_into_five_and_rolls_every_300_ms_during_a_seed() {
    shards_move(21, Duration::ZERO, Duration::ZERO).await;
}

#[tokio::test]
async fn ds4_children_are_listed_before_their_parent_closes_during_a_seed() {
    shards_move(22, Duration::from_millis(400), Duration::ZERO).await;
}

#[tokio::test]
async fn ds4_children_are_listed_late_and_out_of_order_during_a_seed() {
    shards_move(23, Duration::from_millis(100), Duration::from_millis(300)).await;
}
