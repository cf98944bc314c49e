//! BS-T6: what a seed takes of the capacity of the tables, and what it does when it gets none.

use std::time::{Duration, Instant};

use plimsoll_lab::scripted::{Billing, CapacityLimit, Consumed, TableSpec, numbered_item};

use super::super::fixture::{Ask as _, Load, ORDERS, Pair, plain, streamed};
use super::super::truth::Watch;
use super::{ends_well, pair_with, with_past};

fn provisioned(spec: TableSpec, read: u64, write: u64) -> TableSpec {
    spec.with(|settings| settings.billing = Billing::Provisioned { read, write })
}

/// What was used while the seed ran, looked at all the while: never more than the share of the time that passed, and a
/// little at once.
struct Meter {
    began: Instant,
    rate: f64,
    burst: f64,
    used: fn(Consumed) -> f64,
}

impl Meter {
    fn judge(&self, used: Consumed) {
        let allowed = self.rate * self.began.elapsed().as_secs_f64() + self.burst;
        assert!((self.used)(used) <= allowed, "{} units used, {allowed} allowed", (self.used)(used));
    }
}

/// A table of 200 read units: the seed may take 40 a second, in whatever number of segments.
#[tokio::test]
async fn bs_t6_the_share_of_the_read_capacity_is_kept() {
    let pair = Pair::with(provisioned(streamed(), 200, 1000), plain(), 61, |spec| {
        spec.stores[0].more += "\nseed_read_share = 20\nseed_segments = 4";
    });
    // 900 items of 1 KB: 225 units, more than 5 s worth.
    pair.x.load(ORDERS, (0..900).map(|n| numbered_item(n, 1, 1000)));
    let mut daemon = pair.start().await;
    let meter = Meter { began: Instant::now(), rate: 40.0, burst: 130.0, used: |used| used.read };
    while daemon.now().await.state(ORDERS) != "ok" {
        meter.judge(pair.x.consumed(ORDERS));
        assert!(meter.began.elapsed() < super::LONG, "{}", daemon.tail(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(meter.began.elapsed() > Duration::from_millis(2300), "done after {:?}", meter.began.elapsed());
    daemon.state("ok").await;
    assert_eq!(pair.x.consumed(ORDERS).throttled_reads, 0);
    pair.converge(&daemon).await;
}

/// The standby's write capacity is kept to as well, and as configured in units.
#[tokio::test]
async fn bs_t6_the_write_units_of_the_standby_are_kept() {
    let pair = pair_with(streamed(), 62, "seed_write_units = 150\nseed_segments = 2");
    pair.x.load(ORDERS, (0..900).map(|n| numbered_item(n, 1, 900)));
    let mut daemon = pair.start().await;
    let meter = Meter { began: Instant::now(), rate: 150.0, burst: 400.0, used: |used| used.write };
    while daemon.now().await.state(ORDERS) != "ok" {
        meter.judge(pair.y.consumed(ORDERS));
        assert!(meter.began.elapsed() < super::LONG, "{}", daemon.tail(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    daemon.state("ok").await;
    pair.converge(&daemon).await;
}

/// A source that gives less than it says: throttled again and again, and copied to the end.
#[tokio::test]
async fn bs_t6_a_throttled_scan_ends_all_the_same() {
    let pair = pair_with(streamed().shards(2), 63, "seed_segments = 8");
    with_past(&pair, 600);
    pair.x.load(ORDERS, (0..600).map(|n| numbered_item(n, 1, 2000)));
    let limit = CapacityLimit { read: Some(60.0), write: None, burst: Duration::from_millis(500) };
    pair.x.limit_capacity(ORDERS, Some(limit));
    let load = Load::start(&pair.x, 700, 100, 63);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    daemon.reach(|_| pair.x.consumed(ORDERS).throttled_reads > 3).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    pair.x.limit_capacity(ORDERS, None);
    load.stop().await;
    ends_well(&pair, &mut daemon, watch).await;
}

/// A standby that takes 150 writes a second.
#[tokio::test]
async fn bs_t6_a_throttled_standby_is_filled_all_the_same() {
    let pair = pair_with(streamed().shards(2), 64, "");
    with_past(&pair, 1_500);
    let limit = CapacityLimit { read: None, write: Some(150.0), burst: Duration::from_secs(1) };
    pair.y.limit_capacity(ORDERS, Some(limit));
    let load = Load::start(&pair.x, 1_600, 50, 64);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    daemon.reach(|_| pair.y.consumed(ORDERS).throttled_writes > 20).await;
    let (from, began) = (pair.y.consumed(ORDERS).write, Instant::now());
    tokio::time::sleep(Duration::from_secs(4)).await;
    let used = (pair.y.consumed(ORDERS).write - from) / (150.0 * began.elapsed().as_secs_f64());
    println!("a throttled standby: {:.0} % of what it takes is used", used * 100.0);
    assert!(used > 0.2, "it goes on at the pace of prodY: {used}");
    pair.y.limit_capacity(ORDERS, None);
    load.stop().await;
    ends_well(&pair, &mut daemon, watch).await;
}
