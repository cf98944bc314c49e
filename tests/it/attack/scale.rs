//! Many tables, many shards, one very busy key, many keys: it works, and what it takes is printed. No time is asserted but
//! by a generous bound. `make scale KEYS=5000000` does the last one large.

use std::path::Path;
use std::time::{Duration, Instant};

use plimsoll_lab::daemon::{Daemon, StoreSpec};
use plimsoll_lab::scripted::{TableSpec, ViewType, numbered_item};

use super::fixture::{Ask as _, LONG, ORDERS, Pair, RHYTHM, came_true, item, of_store, plain, streamed, until};
use super::seed::kills::number;
use super::seed::pair_with;

/// A value of `/proc/PID/status`, MB.
fn memory(daemon: &Daemon, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says so");
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).expect("a number") / 1024
}

/// What a folder holds, MB.
fn disk(folder: &Path) -> f64 {
    let files = std::fs::read_dir(folder).expect("a folder");
    let size = |entry: std::io::Result<std::fs::DirEntry>| entry.and_then(|e| e.metadata()).map_or(0, |m| m.len());
    files.map(size).sum::<u64>() as f64 / 1e6
}

#[tokio::test]
async fn scale_a_hundred_tables_are_seeded_at_once() {
    const TABLES: usize = 100;
    let name = |n: usize| format!("table-{n}");
    let pair = Pair::with(streamed(), plain(), 121, |spec| {
        let store = |n| StoreSpec { more: RHYTHM.replace("200ms", "1s"), ..StoreSpec::table(&name(n)) };
        spec.stores.extend((1..TABLES).map(store));
    });
    pair.put("k", 1);
    for n in 1..TABLES {
        pair.x.create_table(TableSpec::new(name(n), "pk").stream(ViewType::NewAndOldImages));
        pair.y.create_table(TableSpec::new(name(n), "pk"));
        pair.x.load(&name(n), (0..60).map(|key| numbered_item(key, n as u64, 100)));
        // Every other standby is not empty.
        if n % 2 == 0 {
            pair.y.load(&name(n), (50..70).map(|key| numbered_item(key, 0, 100)));
        }
    }
    let began = Instant::now();
    let mut daemon = pair.start().await;
    daemon.wait_status(LONG * 2, |status| status.all("ok")).await.expect("all are seeded");
    let took = began.elapsed();
    for n in 1..TABLES {
        let found = pair.x.compare(&name(n), &pair.y, &name(n), 3);
        assert!(found.same(), "{}: {found}", name(n));
    }
    println!("100 tables of 60 items: seeded in {took:.1?}, {} MB at most", memory(&daemon, "VmHWM:"));
}

#[tokio::test]
async fn scale_a_thousand_shards() {
    let pair = pair_with(streamed(), 122, "");
    pair.x.grow_shards(ORDERS, 1_000, 1_000, Duration::ZERO);
    for n in 0..3_000 {
        pair.put(&format!("k{n}"), n);
    }
    let began = Instant::now();
    let mut daemon = pair.start().await;
    let first = daemon.wait_status(LONG * 2, |status| status.watermark(ORDERS).is_some()).await.expect("a watermark");
    let took = began.elapsed();
    assert_eq!(first.state(ORDERS), "ok", "{first}");
    pair.converge(&daemon).await;
    let seeded = memory(&daemon, "VmHWM:");
    // And it moves: all thousand are read again and again.
    let now = std::time::SystemTime::now();
    daemon.wait_status(LONG * 2, |status| status.watermark(ORDERS).is_some_and(|w| w > now)).await.expect("it moves");
    println!("{} shards: the first watermark after {took:.1?}, {seeded} MB at most", pair.x.shards(ORDERS).len());
}

/// AP-2: a key that is written much faster than the standby can be is written there as often as that allows, and the rest
/// is counted.
#[tokio::test]
async fn ap2_ten_thousand_writes_a_second_to_one_key_are_coalesced_and_counted() {
    const WRITES: u64 = 20_000;
    let pair = Pair::new();
    pair.y.set_latency("*", Duration::from_millis(15));
    let mut daemon = pair.start_ok().await;
    let began = Instant::now();
    for version in 1..=WRITES {
        pair.put("hot", version);
        let due = Duration::from_micros(100 * version);
        if let Some(early) = due.checked_sub(began.elapsed()).filter(|early| *early > Duration::from_millis(2)) {
            tokio::time::sleep(early).await;
        }
    }
    let wrote = began.elapsed();
    pair.converge(&daemon).await;
    let took = began.elapsed();
    let now = std::time::SystemTime::now();
    daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > now)).await;
    let of = async |name: &str| daemon.metric(&of_store(name)).await.unwrap_or(-1.0) as u64;
    let (read, applied) = (of("store_changes_read_total").await, of("store_changes_applied_total").await);
    let coalesced = of("store_changes_coalesced_total").await;
    println!(
        "one key: {WRITES} writes in {wrote:.1?}, there after {took:.1?}: {applied} written, {coalesced} coalesced"
    );
    assert_eq!((read, applied + coalesced), (WRITES, WRITES));
    assert!(applied < WRITES / 10, "it is not one write for each: {applied}");
}

/// What a seed and a sweep of many keys take. The keys are not kept in memory.
#[tokio::test]
async fn scale_many_keys_are_seeded_and_swept_in_little_memory() {
    let keys = number("PLIMSOLL_SCALE_KEYS", 20_000);
    let limit = LONG * 2 + Duration::from_micros(200) * u32::try_from(keys).expect("a number of keys");
    let pair = pair_with(streamed().shards(4), 123, "seed_read_units = 1000000");
    for region in [&pair.x, &pair.y] {
        region.keep_log(ORDERS, false);
    }
    pair.x.load(ORDERS, (0..keys).map(|key| numbered_item(key, 1, 100)));
    let began = Instant::now();
    let mut daemon = pair.start().await;
    let idle = memory(&daemon, "VmRSS:");
    daemon.wait_status(limit, |status| status.state(ORDERS) == "ok").await.expect("it is seeded");
    let (took, peak, index) = (began.elapsed(), memory(&daemon, "VmHWM:"), disk(&pair.home.index()));
    assert!(pair.x.compare(ORDERS, &pair.y, ORDERS, 3).same());
    println!("{keys} keys: seeded in {took:.1?}, {idle} MB at the start, {peak} MB at most, index {index:.1} MB");

    // A full standby: every key is kept for the sweep, on disk, until the copy is complete.
    pair.y.load(ORDERS, (keys..keys + 500).map(|key| numbered_item(key, 1, 100)));
    // The server has closed the connection that was idle meanwhile.
    assert!(came_true(LONG, || async { daemon.client().status().await.is_ok() }).await, "it answers");
    let began = Instant::now();
    let (code, body) = daemon.client().post("/v1/stores/orders/reseed", String::new(), &[]).await.expect("an answer");
    assert_eq!(code, 202, "{body}");
    let mut most = 0.0_f64;
    until("the copy begins", || began.elapsed() > Duration::from_secs(1) || disk(&pair.home.index()) > index).await;
    loop {
        let status = daemon.now().await;
        most = most.max(disk(&pair.home.index()));
        if status.state(ORDERS) == "ok" && pair.y.item_count(ORDERS) as u64 == keys {
            break;
        }
        assert!(began.elapsed() < limit, "{status}\n{}", daemon.tail(20));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (took, peak) = (began.elapsed(), memory(&daemon, "VmHWM:"));
    assert!(pair.x.compare(ORDERS, &pair.y, ORDERS, 3).same());
    println!(
        "{keys} keys: swept in {took:.1?}, {peak} MB at most, index {most:.1} MB at most, {:.1} MB after",
        disk(&pair.home.index())
    );
    assert!(peak < 250, "the keys are not kept in memory: {peak} MB");
    // The stream goes on.
    pair.x.put(ORDERS, item("after", 1)).expect("a good item");
    until("the stream goes on", || pair.standby_version("after") == Some(1)).await;
}
