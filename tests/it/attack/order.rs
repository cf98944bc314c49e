//! Many writes of one key, and a change that the standby refuses (AP-2, AP-6).

use std::time::{Duration, SystemTime};

use plimsoll_lab::daemon::Status;
use plimsoll_lab::scripted::{Fault, FaultRule, Item, Key, KeyKind, Value};

use super::fixture::{
    Ask as _, LONG, ORDERS, PATIENCE, Pair, came_true, field, item, note, of_store, plain, streamed, until,
};
use super::truth::{Watch, regressions};

#[tokio::test]
async fn ap2_five_thousand_writes_of_one_key_are_coalesced() {
    let pair = Pair::new();
    let daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    for burst in 0..5 {
        for version in 1..=1000 {
            pair.put("hot", burst * 1000 + version);
        }
        pair.put("cold", burst + 1);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    pair.converge(&daemon).await;
    let writes = pair.y.values_of(ORDERS, &Key::of("hot")).len();
    assert!(writes < 500, "{writes} writes of one key");
    let of = |name: &str| of_store(name);
    // Each change counts as read; a coalesced one is durable with the one that replaced it.
    assert!(daemon.metric(&of("store_changes_read_total")).await.is_some_and(|read| read >= 5000.0));
    let empty = || async { daemon.metric(&of("store_backlog_items")).await == Some(0.0) };
    assert!(came_true(LONG, empty).await, "the backlog stays");
    watch.truthful().await;
    let wrong = regressions(&pair.x, &pair.y.arrivals(ORDERS));
    assert!(wrong.is_empty(), "{}", wrong[0]);
}

/// An item whose index key is of this value.
fn indexed(key: &str, group: Value) -> Item {
    let mut item = item(key, 1);
    item.insert("group".into(), group);
    item
}

fn failed(status: &Status) -> Option<u64> {
    field(status, "failed_items").as_u64()
}

#[tokio::test]
async fn ap6_a_poison_record_pins_the_watermark_until_its_key_is_good() {
    // The standby has an index that the source has not: its key is a number there.
    let standby = plain().index("by_group", "group", KeyKind::N);
    let pair = Pair::with(streamed(), standby, 1, |_| {});
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.put("a", 1);
    pair.converge(&daemon).await;
    let before = SystemTime::now();
    pair.x.put(ORDERS, indexed("poison", Value::s("seven"))).expect("good in the source");
    let committed = pair.x.history(ORDERS).last().expect("it is there").commit;
    let parked = daemon.reach(|status| failed(status) == Some(1)).await;
    assert!(note(&parked).contains("parked") && note(&parked).contains("Index Key group"), "{}", note(&parked));
    for other in 0..20 {
        pair.put(&format!("other{other}"), 1);
    }
    until("the other keys go on", || pair.y.item_count(ORDERS) == 21).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Pinned below the change by the second that its time is given in, and by the publish allowance.
    let pinned = daemon.now().await;
    let watermark = pinned.watermark(ORDERS).expect("it had one");
    assert!(watermark < committed, "{pinned}");
    assert!(watermark + Duration::from_secs(4) > before, "it is pinned at the change, not long before: {pinned}");

    daemon.kill9();
    let mut daemon = pair.start().await;
    let again = daemon.reach(|status| failed(status) == Some(1)).await;
    assert_eq!(again.watermark(ORDERS), Some(watermark), "it stays pinned over a restart");
    // Tried again at the start and refused again: still one.
    until("more goes through", || {
        pair.put("after", 1);
        pair.y.item(ORDERS, &Key::of("after")).is_some()
    })
    .await;
    assert_eq!(failed(&daemon.now().await), Some(1));

    // A newer image of the key that the standby takes.
    pair.x.put(ORDERS, indexed("poison", Value::n(7))).expect("good");
    let free = daemon.reach(|status| failed(status) == Some(0)).await;
    assert!(!note(&free).contains("parked"), "{}", note(&free));
    daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > watermark + Duration::from_secs(1))).await;
    pair.converge(&daemon).await;
    watch.truthful().await;
}

/// The index was dropped, the permission was given: the parked change itself goes through.
#[tokio::test]
async fn ap6_a_parked_change_goes_through_when_the_standby_takes_it() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    let refuse = "One or more parameter values were invalid: Type mismatch for Index Key";
    let rule = FaultRule::on("PutItem").key("pk", Value::s("poison")).fault(Fault::Validation(refuse.into()));
    let rule = pair.y.fault(rule);
    pair.put("poison", 1);
    pair.put("poison", 2);
    let parked = daemon.reach(|status| failed(status) == Some(1)).await;
    let watermark = parked.watermark(ORDERS).expect("it had one");
    assert!(pair.y.item(ORDERS, &Key::of("poison")).is_none());
    daemon.kill9();
    pair.y.remove_fault(rule);
    let mut daemon = pair.start().await;
    daemon.reach(|status| failed(status) == Some(0)).await;
    pair.converge(&daemon).await;
    let freed = daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > watermark + PATIENCE / 10)).await;
    assert_eq!(note(&daemon.state("ok").await), "", "{freed}");
}
