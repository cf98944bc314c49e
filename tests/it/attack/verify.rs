//! Standbys that somebody else altered, and standbys that nobody did: everything that differs is found, listed, held against
//! the watermark and repaired, and nothing else, whatever is on its way.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use plimsoll_lab::daemon::{Daemon, Role, binary};
use plimsoll_lab::scripted::{Item, Key, Value, numbered_item, numbered_key};
use serde_json::{Value as Json, json};

use super::fixture::{Ask as _, LONG, Load, ORDERS, Pair, came_true, field, item, note, of_store, plain, streamed};
use super::truth::Watch;

const VIOLATIONS: &str = "plimsoll_rpo_soundness_violations_total";

fn pair(more: &str) -> Pair {
    Pair::with(streamed().shards(2), plain(), 21, |spec| spec.stores[0].more += &format!("\n{more}"))
}

async fn ask(daemon: &Daemon, body: Json) -> (u16, String) {
    let path = format!("/v1/stores/{ORDERS}/verify");
    daemon.client().post(&path, body.to_string(), &[]).await.expect("it answers")
}

/// Asks for a verification, and waits for the end of one that began after that.
async fn verify(daemon: &mut Daemon, body: Json) {
    let before = field(&daemon.now().await, "verified")["at"].clone();
    let (status, told) = ask(daemon, body).await;
    assert_eq!(status, 202, "{told}");
    daemon.reach(|status| field(status, "verified")["at"] != before).await;
}

/// What is known to differ: key and how.
async fn divergent(daemon: &Daemon) -> BTreeMap<String, String> {
    let path = format!("/v1/stores/{ORDERS}/divergent?show_keys=true");
    let told = daemon.client().json(&path).await.expect("it answers");
    let text = |item: &Json, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let items = told["items"].as_array().cloned().unwrap_or_default();
    let key = |item: &Json| serde_json::from_str::<Json>(&text(item, "key")).expect("JSON")["pk"]["S"].clone();
    items.iter().map(|item| (key(item).as_str().unwrap_or_default().to_owned(), text(item, "what"))).collect()
}

/// Waits until exactly this is known to differ: what is shown may be ahead of what is durable by a commit.
async fn differs(daemon: &Daemon, wanted: &BTreeMap<String, String>) {
    let good = || async { divergent(daemon).await == *wanted };
    assert!(came_true(LONG, good).await, "{:?}, and {wanted:?} differ", divergent(daemon).await);
}

/// Waits until a metric shows that.
async fn shows(daemon: &Daemon, series: &str, good: impl Fn(f64) -> bool) {
    let shown = || async { daemon.metric(series).await.is_some_and(&good) };
    assert!(came_true(LONG, shown).await, "{series} is {:?}", daemon.metric(series).await);
}

#[tokio::test]
async fn nothing_differs_while_writers_go_on() {
    let pair = pair("");
    pair.x.load(ORDERS, (0..3_000).map(|n| numbered_item(n, 1, 60)));
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 500, 200, 5);
    let stop = Arc::new(AtomicBool::new(false));
    let (x, stopped) = (Arc::clone(&pair.x), Arc::clone(&stop));
    // A hot key, changes and deletes all over the table, and what TTL removes.
    let hot = tokio::spawn(async move {
        let mut n = 0_u64;
        while !stopped.load(Ordering::SeqCst) {
            n += 1;
            x.put(ORDERS, item("hot", n)).expect("a good item");
            x.put(ORDERS, numbered_item(n * 7 % 3_000, n, 60)).expect("a good item");
            if n.is_multiple_of(5) {
                x.expire(ORDERS, Key::of(numbered_key(n * 11 % 3_000)));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for _ in 0..3 {
        verify(&mut daemon, json!({})).await;
        assert_eq!(divergent(&daemon).await, BTreeMap::new());
    }
    stop.store(true, Ordering::SeqCst);
    hot.await.expect("it ends well");
    load.stop().await;
    assert_eq!(daemon.metric(VIOLATIONS).await, Some(0.0));
    shows(&daemon, &of_store("store_divergent_items"), |n| n == 0.0).await;
    let at = daemon.metric(&of_store("store_verified_timestamp_seconds")).await.expect("it was verified");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now - 60.0..=now).contains(&at), "{at}");
    pair.converge(&daemon).await;
    watch.truthful().await;
}

#[tokio::test]
async fn rp9_what_somebody_altered_is_found_holds_the_watermark_and_is_repaired() {
    let pair = pair("");
    pair.x.load(ORDERS, (0..400).map(|n| numbered_item(n, 1, 60)));
    let mut daemon = pair.start_ok().await;
    verify(&mut daemon, json!({})).await;
    let clean = SystemTime::now();
    let mut wanted = BTreeMap::new();
    for n in 0..5 {
        pair.y.delete(ORDERS, Key::of(numbered_key(n)));
        pair.y.put(ORDERS, numbered_item(100 + n, 2, 60)).expect("a good item");
        pair.y.put(ORDERS, item(&format!("alien{n}"), n)).expect("a good item");
        wanted.insert(numbered_key(n), "missing".to_owned());
        wanted.insert(numbered_key(100 + n), "differs".to_owned());
        wanted.insert(format!("alien{n}"), "orphan".to_owned());
    }
    let load = Load::start(&pair.x, 100, 50, 6);
    verify(&mut daemon, json!({})).await;
    differs(&daemon, &wanted).await;
    // It is held where all was proven.
    let held = daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w < clean)).await;
    let told = |status: &plimsoll_lab::daemon::Status| note(status).contains("plimsoll verify orders --repair");
    assert!(told(&held) || told(&daemon.reach(told).await), "{}", note(&held));
    // The vital signs are shown some times a second: a moment behind the index.
    shows(&daemon, &of_store("store_divergent_items"), |n| n == 15.0).await;
    shows(&daemon, VIOLATIONS, |n| n > 0.0).await;
    // It is durable, and a restart does not forget it.
    daemon.kill9();
    daemon = pair.start().await;
    daemon.state("ok").await;
    differs(&daemon, &wanted).await;
    daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w < clean)).await;
    // Keys are for those who ask.
    let path = format!("/v1/stores/{ORDERS}/divergent");
    assert!(!daemon.client().get(&path).await.expect("it answers").1.contains("alien"));
    // A change heals its key by itself.
    pair.put(&numbered_key(0), 9);
    wanted.remove(&numbered_key(0));
    daemon.reach(|status| field(status, "verified")["divergent"] == 14).await;
    differs(&daemon, &wanted).await;
    let (url, token) = (pair.home.url().to_owned(), pair.home.token_file(Role::Operator));
    let repair = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(binary().expect("cargo built it"));
        command.args(["verify", ORDERS, "--repair", "--wait", "--show-keys", "--url", &url, "--token-file"]);
        command.arg(token).output().expect("it runs")
    });
    let output = repair.await.expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("nothing differs"), "{output:?}");
    load.stop().await;
    pair.converge(&daemon).await;
    let repaired = SystemTime::now();
    daemon.reach(|status| status.watermark(ORDERS).is_some_and(|w| w > repaired)).await;
    daemon.reach(|status| !note(status).contains("differ")).await;
    shows(&daemon, &of_store("store_divergent_items"), |n| n == 0.0).await;
}

/// The process dies in the middle of a comparison of some seconds: it goes on where it was, and keeps to its share.
#[tokio::test]
async fn a_killed_verification_goes_on_and_keeps_to_its_share() {
    let pair = pair("verify_share = 5\nseed_read_share = 100");
    pair.x.load(ORDERS, (0..3_000).map(|n| numbered_item(n, 1, 3_900)));
    let mut daemon = pair.start_ok().await;
    pair.y.delete(ORDERS, Key::of(numbered_key(7)));
    let (before, began) = (pair.x.consumed(ORDERS).read, Instant::now());
    assert_eq!(ask(&daemon, json!({})).await.0, 202);
    let reached = |status: &plimsoll_lab::daemon::Status, least: u64| {
        let progress = field(status, "progress");
        progress["what"] == "verify" && progress["done"].as_u64().is_some_and(|done| done >= least)
    };
    daemon.reach(|status| reached(status, 1_500)).await;
    daemon.kill9();
    daemon = pair.start().await;
    daemon.reach(|status| reached(status, 1_000)).await;
    daemon.reach(|status| !field(status, "verified").is_null()).await;
    let (read, took) = (pair.x.consumed(ORDERS).read - before, began.elapsed().as_secs_f64());
    assert!(read < 3_000.0 * 1.7, "it began anew: {read} units");
    assert!(read / took < 600.0 * 1.5, "{read} units in {took} s, and its share is 600 a second");
    assert_eq!(divergent(&daemon).await, BTreeMap::from([(numbered_key(7), "missing".to_owned())]));
}

/// AP-F5: what is only written otherwise is the same, and what is as large as it gets is compared whole.
#[tokio::test]
async fn apf5_the_same_is_the_same_however_it_is_written() {
    let pair = pair("");
    let odd = |sets: [&str; 3], number: &str| {
        let words: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        Item::from([
            ("pk".to_owned(), Value::s("odd")),
            ("sets".to_owned(), Value::Ss(words)),
            ("number".to_owned(), Value::N(number.to_owned())),
            ("deep".to_owned(), Value::L(vec![Value::M(Item::from([("n".to_owned(), Value::N(number.to_owned()))]))])),
        ])
    };
    let digits = "12345678901234567890123456789012345678";
    pair.x.put(ORDERS, odd(["a", "b", "c"], digits)).expect("a good item");
    for n in 0..6 {
        pair.x.put(ORDERS, numbered_item(n, 1, 409_000)).expect("a good item");
    }
    let mut daemon = pair.start_ok().await;
    pair.y.put(ORDERS, odd(["c", "a", "b"], "1.2345678901234567890123456789012345678E37")).expect("a good item");
    let mut last_byte = numbered_item(3, 1, 409_000);
    if let Some(Value::S(fill)) = last_byte.get_mut("fill") {
        fill.pop();
        fill.push('!');
    }
    pair.y.put(ORDERS, last_byte).expect("a good item");
    verify(&mut daemon, json!({})).await;
    assert_eq!(divergent(&daemon).await, BTreeMap::from([(numbered_key(3), "differs".to_owned())]));
    verify(&mut daemon, json!({"repair": true})).await;
    assert_eq!(divergent(&daemon).await, BTreeMap::new());
    assert_eq!(pair.x.item(ORDERS, &Key::of(numbered_key(3))), pair.y.item(ORDERS, &Key::of(numbered_key(3))));
}

/// I13: a repair removes no more than the guard lets pass, unless somebody says how many.
#[tokio::test]
async fn i13_a_repair_is_guarded() {
    let pair = pair("sweep_limit = 3\nverify_repair = true");
    pair.x.load(ORDERS, (0..20).map(|n| numbered_item(n, 1, 60)));
    let mut daemon = pair.start_ok().await;
    (0..10).for_each(|n| pair.y.put(ORDERS, item(&format!("alien{n}"), n)).expect("a good item"));
    verify(&mut daemon, json!({})).await;
    assert_eq!(divergent(&daemon).await.len(), 10);
    assert_eq!(pair.y.item_count(ORDERS), 30, "nothing was removed");
    let status = daemon.reach(|status| note(status).contains("--allow-deletes 10")).await;
    assert!(status.watermark(ORDERS).is_some());
    verify(&mut daemon, json!({"repair": true, "allow_deletes": 10})).await;
    assert_eq!(divergent(&daemon).await, BTreeMap::new());
    pair.converge(&daemon).await;
}

/// What is documented not to be seen is not, and the rest is.
#[tokio::test]
async fn only_a_version_is_compared_when_that_is_all_that_is_asked_for() {
    let pair = pair("verify_attributes = [\"v\"]\nverify_every = \"1s\"");
    pair.x.load(ORDERS, (0..50).map(|n| numbered_item(n, 1, 500)));
    let mut daemon = pair.start_ok().await;
    pair.y.put(ORDERS, numbered_item(1, 2, 500)).expect("a good item");
    pair.y.put(ORDERS, numbered_item(2, 1, 400)).expect("a good item");
    pair.y.delete(ORDERS, Key::of(numbered_key(3)));
    // Nobody asks: it is time.
    daemon.reach(|status| field(status, "verified")["divergent"] == 2).await;
    let wanted = [(numbered_key(1), "differs".to_owned()), (numbered_key(3), "missing".to_owned())];
    assert_eq!(divergent(&daemon).await, BTreeMap::from(wanted));
}

#[tokio::test]
async fn nothing_is_compared_while_it_is_copied_and_after_the_fence() {
    let pair = pair("");
    pair.x.load(ORDERS, (0..50).map(|n| numbered_item(n, 1, 60)));
    let (gate, held) = pair.x.hold_scan(ORDERS, 0);
    let mut daemon = pair.start().await;
    assert!(came_true(LONG, || async { gate.waiting() > 0 }).await, "no scan came");
    let (status, told) = ask(&daemon, json!({})).await;
    assert_eq!((status, told.contains("being copied")), (409, true), "{told}");
    pair.x.remove_fault(held);
    gate.open();
    daemon.state("ok").await;
    let request = json!({"reason": "a test", "accept_loss": {ORDERS: "1h"}});
    let (status, told) = daemon.client().promote(&request, "v1").await.expect("it answers");
    assert_eq!(status, 202, "{told}");
    let id = told["id"].as_str().expect("an id").to_owned();
    daemon.client().wait_promotion(&id, LONG).await.expect("it ends");
    let (status, told) = ask(&daemon, json!({"repair": true})).await;
    assert_eq!((status, told.contains("promotion")), (409, true), "{told}");
}
