//! A standby that is not empty: what prodX does not have is removed, but never much of it without a human, and never what
//! prodX has by then.

use std::time::Duration;

use plimsoll_lab::daemon::{Role, binary, cli};
use plimsoll_lab::scripted::{Fault, FaultRule, Gate, Key};

use super::super::fixture::{Ask as _, LONG, Load, ORDERS, Pair, bound, field, item, note, streamed, until};
use super::super::truth::Watch;
use super::{arrives, ends_well, pair_with, patient, with_past, zombies};

#[tokio::test]
async fn m1g_a_standby_that_holds_items_is_swept() {
    let pair = pair_with(streamed().shards(3), 41, "");
    with_past(&pair, 500);
    zombies(&pair, 300);
    for number in 0..300 {
        // What prodX has, in another version: nobody will ever write it again.
        pair.y.put(ORDERS, item(&format!("k{number}"), 1_000_000 + number)).expect("a good item");
    }
    let load = Load::start(&pair.x, 600, 200, 4);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    daemon.state("ok").await;
    load.stop().await;
    ends_well(&pair, &mut daemon, watch).await;
    assert_eq!(pair.y.item(ORDERS, &Key::of("zombie7")), None, "M1f: a zombie lives");
    assert!(bound(&daemon.now().await).is_some());
    daemon.reach(|status| field(status, "progress").is_null()).await;
}

/// Runs a client command and gives what it printed.
pub(super) async fn told(pair: &Pair, args: &[&str]) -> String {
    let ran = cli(&binary().expect("cargo built it"), &pair.home, Role::Approver, args, LONG).await;
    let (code, out, err) = ran.expect("it runs");
    assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    out
}

async fn guarded(items: u64) {
    const FOREIGN: u64 = 5_000;
    let pair = pair_with(streamed(), 42 + items, "");
    with_past(&pair, items);
    zombies(&pair, FOREIGN);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    let status = daemon.reach(|status| note(status).contains("--allow-deletes")).await;
    assert_eq!(status.state(ORDERS), "seeding", "{status}");
    assert!(note(&status).contains("5000 items that prodX does not have"), "{}", note(&status));
    assert!(note(&status).contains("plimsoll reseed orders --allow-deletes 5000"), "{}", note(&status));
    // It survives a restart, and until somebody says so nothing is removed and nothing is promised.
    daemon.kill9();
    let mut daemon = pair.start().await;
    daemon.reach(|status| note(status).contains("--allow-deletes 5000")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = daemon.now().await;
    assert_eq!((status.state(ORDERS), status.watermark(ORDERS)), ("seeding", None));
    assert_eq!(pair.y.items_deleted(), 0);
    assert_eq!(pair.y.item_count(ORDERS) as u64, FOREIGN + items);
    let text = told(&pair, &["status"]).await;
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("plimsoll reseed orders --allow-deletes 5000"), "{text}");
    // Fewer than there are is not enough.
    let text = told(&pair, &["reseed", ORDERS, "--allow-deletes", "4999"]).await;
    assert!(text.contains("may remove up to 4999 items"), "{text}");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(pair.y.items_deleted(), 0);
    let text = told(&pair, &["reseed", ORDERS, "--allow-deletes", "5000"]).await;
    assert!(text.contains("may remove up to 5000 items"), "{text}");
    ends_well(&pair, &mut daemon, watch).await;
    assert!(pair.y.items_deleted() >= FOREIGN);
}

#[tokio::test]
async fn bs_guard_a_foreign_standby_loses_nothing_without_a_human() {
    guarded(10).await;
}

#[tokio::test]
async fn bs_guard_an_empty_source_empties_no_standby() {
    guarded(0).await;
}

/// An orphan that the source has by the time of the last look at it stays.
#[tokio::test]
async fn m1g_an_orphan_that_is_written_before_the_last_look() {
    let pair = patient(44, "");
    with_past(&pair, 20);
    zombies(&pair, 3);
    // The first look is the sweep's, the second the last before the removal.
    let gate = Gate::new();
    let held = pair.x.fault(FaultRule::on("BatchGetItem").after(1).fault(Fault::Hold(gate.clone())));
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    arrives(&gate).await;
    pair.put("zombie0", 77);
    pair.x.remove_fault(held);
    gate.open();
    ends_well(&pair, &mut daemon, watch).await;
    assert_eq!(pair.standby_version("zombie0"), Some(77));
    assert_eq!(pair.y.item(ORDERS, &Key::of("zombie2")), None);
}

/// One that is written while the answer of that look is on its way stays, too: what the stream says is newer.
#[tokio::test]
async fn m1g_an_orphan_that_is_written_during_the_last_look() {
    let pair = patient(47, "");
    with_past(&pair, 20);
    zombies(&pair, 3);
    let gate = Gate::new();
    let held = pair.x.fault(FaultRule::on("BatchGetItem").after(1).fault(Fault::HoldAnswer(gate.clone())));
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    arrives(&gate).await;
    pair.put("zombie1", 78);
    until("the stream brings it", || pair.standby_version("zombie1") == Some(78)).await;
    pair.x.remove_fault(held);
    gate.open();
    ends_well(&pair, &mut daemon, watch).await;
    let values = pair.y.values_of(ORDERS, &Key::of("zombie1"));
    assert!(values.iter().all(Option::is_some), "it was removed for a moment: {values:?}");
    assert_eq!(pair.y.item(ORDERS, &Key::of("zombie2")), None);
}

/// Somebody empties prodY during the seed. What was copied before is gone, and a re-seed brings it.
#[tokio::test]
async fn bs_a_standby_that_is_emptied_during_the_seed_is_mended_by_a_reseed() {
    let pair = pair_with(streamed(), 45, "seed_segments = 1");
    with_past(&pair, 200);
    pair.x.read_quirks(ORDERS, |quirks| quirks.scan_page_items = 50);
    let (gate, held) = pair.x.hold_scan(ORDERS, 3);
    let mut daemon = pair.start().await;
    until("some of it is copied", || pair.y.item_count(ORDERS) >= 100).await;
    arrives(&gate).await;
    let keys: Vec<Key> = pair.y.snapshot(ORDERS).into_keys().collect();
    keys.into_iter().for_each(|key| pair.y.delete(ORDERS, key));
    pair.x.remove_fault(held);
    gate.open();
    daemon.state("ok").await;
    let text = told(&pair, &["reseed", ORDERS]).await;
    assert!(text.contains("everything will be copied anew"), "{text}");
    pair.converge(&daemon).await;
    daemon.state("ok").await;
    assert_eq!(pair.y.item_count(ORDERS), 200);
}

/// The index is lost (`rm -r`) beside a full standby: it seeds itself, sweeps, and ends right.
#[tokio::test]
async fn bs_a_lost_index_beside_a_full_standby_seeds_itself() {
    let pair = pair_with(streamed().shards(2), 46, "");
    with_past(&pair, 300);
    let mut daemon = pair.start_ok().await;
    pair.converge(&daemon).await;
    daemon.kill9();
    std::fs::remove_dir_all(pair.home.index()).expect("it was there");
    // Meanwhile: changes, deletes that the trimmed stream does not tell, and an item that prodY alone has.
    pair.put("k1", 501);
    for number in 100..150 {
        pair.x.delete(ORDERS, Key::of(format!("k{number}")));
    }
    let now = std::time::SystemTime::now() + Duration::from_secs(1);
    pair.x.trim(ORDERS, plimsoll_lab::scripted::TrimPoint::Before(now));
    let load = Load::start(&pair.x, 200, 100, 46);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    daemon.state("seeding").await;
    daemon.state("ok").await;
    load.stop().await;
    ends_well(&pair, &mut daemon, watch).await;
}
