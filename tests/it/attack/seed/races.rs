//! Model M1 against the wire: an item that changes while the page that shows it is on its way.
//!
//! A hook of the scripted server runs after a page was read and before it is answered. It changes the last item of the page
//! and waits until prodY has the change, so the stale image always comes second.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plimsoll_lab::scripted::{Fault, FaultRule, Key, ScriptedAws};

use super::super::fixture::{ORDERS, item, streamed, until};
use super::super::truth::{Watch, regressions};
use super::{arrives, ends_well, impatient, pair_with, patient, version, with_past, zombies};

/// What happens to a key while its image is on its way: versions put, `None` a delete.
type Story = &'static [Option<u64>];

/// A key, and what its story ended with.
type Raced = (Key, Option<u64>);

/// The last thing that was done to a key in prodY is this; a delete of what is not there counts.
fn reached(y: &ScriptedAws, key: &Key, last: Option<u64>) -> bool {
    let values = y.values_of(ORDERS, key);
    values.last().is_some_and(|value| version(value.as_deref()) == last)
}

/// Waits for that; `false`: it never came.
fn waited(y: &ScriptedAws, key: &Key, last: Option<u64>) -> bool {
    let deadline = Instant::now() + Duration::from_secs(8);
    while !reached(y, key, last) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

async fn race(seed: u64, stories: &'static [Story]) {
    let pair = patient(seed, "");
    with_past(&pair, 400);
    pair.x.read_quirks(ORDERS, |quirks| quirks.scan_page_items = 20);
    let raced: Arc<Mutex<Vec<Raced>>> = Arc::default();
    let (note, y, late) = (Arc::clone(&raced), Arc::clone(&pair.y), Arc::new(AtomicUsize::new(0)));
    let too_late = Arc::clone(&late);
    pair.x.after_scan_page(ORDERS, move |page, hand| {
        // The question whether there is anything comes first, and has one item.
        let Some(last) = page.last.clone().filter(|_| page.count > 1) else { return };
        let story = stories[(page.number as usize) % stories.len()];
        for step in story {
            match step {
                Some(version) => hand.put(ORDERS, item(&last.to_string(), *version)).expect("a good item"),
                None => hand.delete(ORDERS, last.clone()).expect("it is there"),
            }
        }
        let end = story.last().copied().flatten();
        // The server's other calls go on meanwhile.
        if !tokio::task::block_in_place(|| waited(&y, &last, end)) {
            too_late.fetch_add(1, Ordering::SeqCst);
            return;
        }
        note.lock().expect("nobody panicked").push((last, end));
    });
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    ends_well(&pair, &mut daemon, watch).await;
    let raced = raced.lock().expect("nobody panicked").clone();
    assert!(raced.len() >= 15, "{} pages were raced", raced.len());
    assert_eq!(late.load(Ordering::SeqCst), 0, "the stream goes on while a page is on its way");
    for (key, end) in &raced {
        assert_eq!(version(pair.y.item(ORDERS, key).as_deref()), *end, "{key}");
    }
    let wrong = regressions(&pair.x, &pair.y.arrivals(ORDERS));
    assert!(wrong.is_empty(), "a stale image came after a newer one:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn m1a_a_write_while_its_page_is_on_its_way() {
    race(31, &[&[Some(9001)], &[Some(9001), Some(9002)], &[Some(9001), None, Some(9002)]]).await;
}

#[tokio::test]
async fn m1b_a_delete_while_its_page_is_on_its_way() {
    race(32, &[&[None], &[Some(9001), None], &[None, Some(9001), None]]).await;
}

#[tokio::test]
async fn m1_value_value_delete_and_a_start_with_a_delete() {
    race(33, &[&[Some(9001), Some(9002), None], &[None, Some(9001), Some(9002)], &[None, None, Some(9003)]]).await;
}

/// M1c: the stalest server that DynamoDB allows changes nothing, for no read asks for a stale answer.
#[tokio::test]
async fn m1c_every_read_of_a_seed_is_consistent() {
    let pair = pair_with(streamed().shards(2), 34, "seed_segments = 3");
    with_past(&pair, 300);
    zombies(&pair, 40);
    for region in [&pair.x, &pair.y] {
        region.read_quirks(ORDERS, |quirks| {
            (quirks.stale_writes, quirks.stale_always, quirks.scan_page_items) = (50, true, 40);
        });
    }
    let reads: Arc<Mutex<Vec<(String, bool)>>> = Arc::default();
    for (name, region) in [("prodX", &pair.x), ("prodY", &pair.y)] {
        for op in ["Scan", "BatchGetItem", "GetItem", "Query"] {
            let reads = Arc::clone(&reads);
            let rule = FaultRule::on(op).when(move |call| {
                let body: serde_json::Value = serde_json::from_slice(call.body).unwrap_or_default();
                let consistent = match call.op {
                    "BatchGetItem" => body["RequestItems"].as_object().is_some_and(|tables| {
                        tables.values().all(|wanted| wanted["ConsistentRead"] == serde_json::Value::Bool(true))
                    }),
                    _ => body["ConsistentRead"] == serde_json::Value::Bool(true),
                };
                reads.lock().expect("nobody panicked").push((format!("{} of {name}", call.op), consistent));
                false
            });
            region.fault(rule.fault(Fault::InternalError));
        }
    }
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    ends_well(&pair, &mut daemon, watch).await;
    let reads = reads.lock().expect("nobody panicked").clone();
    for must in ["Scan of prodX", "Scan of prodY", "BatchGetItem of prodX"] {
        assert!(reads.iter().filter(|(what, _)| what == must).count() > 1, "{must} is not in {reads:?}");
    }
    let stale: Vec<_> = reads.iter().filter(|(_, consistent)| !consistent).collect();
    assert!(stale.is_empty(), "{stale:?}");
}

/// M1e: the stream is read from before the first page was asked for. A change of a key that the page has passed comes by
/// the stream alone, and it comes while the page is held.
#[tokio::test]
async fn m1e_the_stream_flows_before_the_first_page() {
    let pair = patient(35, "");
    with_past(&pair, 50);
    let (gate, held) = pair.x.hold_scan(ORDERS, 1);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    arrives(&gate).await;
    pair.put("new", 1);
    pair.put("k7", 9001);
    until("changes come while no page has come", || {
        pair.standby_version("new") == Some(1) && pair.standby_version("k7") == Some(9001)
    })
    .await;
    assert_eq!(pair.y.item_count(ORDERS), 2, "no page has come");
    // The process dies before any page came; its shard rolls and is read to its end by the next.
    daemon.kill9();
    pair.put("new", 2);
    pair.x.roll_all(ORDERS);
    pair.put("newer", 1);
    pair.x.remove_fault(held);
    gate.open();
    impatient(&pair);
    let mut daemon = pair.start().await;
    ends_well(&pair, &mut daemon, watch).await;
}
