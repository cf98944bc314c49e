//! Tables that hold items before anything looks at them: they are copied while writers go on, and nothing is lost, kept
//! too long, or promised too early.

use std::time::{Duration, SystemTime};

use plimsoll_lab::scripted::{Key, TrimPoint};

use super::fixture::{Ask as _, Load, ORDERS, Pair, bound, field, item, plain, streamed};
use super::truth::Watch;

fn filled(items: u64, standby: u64) -> Pair {
    let pair = Pair::with(streamed().shards(3), plain(), 5, |_| {});
    for n in 0..items {
        pair.put(&format!("k{n}"), n);
    }
    // What nobody will ever write again, and what prodX does not have.
    for n in 0..standby {
        pair.y.put(ORDERS, item(&format!("k{n}"), 1_000_000 + n)).expect("a good item");
        pair.y.put(ORDERS, item(&format!("zombie{n}"), n)).expect("a good item");
    }
    pair
}

/// Everything that prodX held is as if it had been there for ever: its records are trimmed.
fn forget(pair: &Pair) {
    pair.x.trim(ORDERS, TrimPoint::Before(SystemTime::now() + Duration::from_secs(1)));
}

#[tokio::test]
async fn a_table_with_a_past_is_copied_while_writers_go_on() {
    let pair = filled(3_000, 0);
    forget(&pair);
    let load = Load::start(&pair.x, 4_000, 400, 3);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    daemon.state("ok").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.stop().await;
    pair.converge(&daemon).await;
    let seen = watch.truthful().await;
    assert!(!seen.states.contains("gap"), "{:?}", seen.states);
}

#[tokio::test]
async fn a_standby_that_holds_items_is_swept() {
    let pair = filled(500, 300);
    forget(&pair);
    let load = Load::start(&pair.x, 600, 200, 4);
    let mut daemon = pair.start().await;
    daemon.state("ok").await;
    load.stop().await;
    pair.converge(&daemon).await;
    assert_eq!(pair.y.item(ORDERS, &Key::of("zombie7")), None);
    assert!(bound(&daemon.now().await).is_some());
    daemon.reach(|status| field(status, "progress").is_null()).await;
}
