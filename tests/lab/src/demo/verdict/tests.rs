//! The verdict on hand-made runs, and once on real servers with the lab's copier in the daemon's place.

use serde_json::{Value, json};

use super::*;
use crate::canon::{self, Canon, Item, Key};
use crate::copier::{Copier, Honesty};
use crate::ledger::State;
use crate::regions::{Region, RegionSpec};
use crate::tables::TableSpec;
use crate::workload::{OnSilence, Workload};

fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(ms)
}

fn item(name: &str) -> Item {
    [("order".to_owned(), Canon::S(name.into()))].into()
}

fn key(name: &str) -> Key {
    Key::of(&item(name), &["order"])
}

/// Orders "a" and "b", acked at 1 s and 2 s.
fn two_orders() -> Traffic {
    let traffic = super::super::scene::traffics().remove(0);
    for (name, ms) in [("a", 1000), ("b", 2000)] {
        let ticket = traffic.ledger.send(key(name), State::Item(canon::digest(&item(name))), at(ms - 10));
        traffic.ledger.ack(ticket, at(ms));
    }
    traffic
}

fn served(watermark: Option<u64>) -> Status {
    let watermark = watermark.map(|ms| humantime::format_rfc3339_millis(at(ms)).to_string());
    json!({"stores": [{"id": "orders", "kind": "dynamodb", "watermark": watermark}]}).into()
}

fn verdict(standby: &[&str], watermark: Option<u64>, code: i32) -> Report {
    let contents = standby.iter().map(|name| (key(name), canon::digest(&item(name)))).collect();
    let promotion = Promotion::from_exit(Some(code), Duration::from_millis(1234));
    judge(&[two_orders()], &[contents], &served(watermark), at(2500), &promotion)
}

#[test]
fn a_loss_that_was_predicted_passes() {
    let report = verdict(&["a"], Some(1500), 0);
    assert!(report.pass);
    let expected = json!({
        "stores": [{"id": "orders", "kind": "dynamodb", "predicted_loss_seconds": 1.0, "actual_loss_seconds": 0.5,
            "lost_changes": 1, "committed_changes": 2, "sound": true}],
        "rto_seconds": 1.234, "promotion": "completed", "pass": true,
    });
    assert_eq!(serde_json::from_str::<Value>(&report.to_json()).unwrap(), expected);
}

#[test]
fn no_loss_is_a_loss_of_zero() {
    let report = verdict(&["a", "b"], Some(1500), 0);
    let row = report.stores.first().unwrap();
    assert_eq!((row.actual_loss_seconds, row.lost_changes, report.pass), (0.0, 0, true));
}

#[test]
fn a_loss_beyond_the_prediction_fails() {
    let report = verdict(&["a"], Some(2200), 0);
    let row = report.stores.first().unwrap();
    assert!(!row.sound && !report.pass && row.objections.len() == 2, "{row:?}");
    assert!(!verdict(&["a"], Some(3000), 0).pass, "a watermark after the kill promises everything");
}

#[test]
fn an_invented_item_no_prediction_or_no_promotion_fail() {
    assert!(!verdict(&["a", "b", "c"], Some(1500), 0).pass);
    assert!(!verdict(&["a", "b"], None, 0).pass);
    for (code, state) in [(3, "held"), (4, "refused"), (1, "failed")] {
        let report = verdict(&["a", "b"], Some(1500), code);
        assert!(!report.pass && report.promotion == state);
    }
}

/// A run of the demo without the daemon: load, kill, comparison, once with an honest copier and once with a liar.
#[tokio::test]
async fn real_servers_an_honest_prediction_passes_and_a_lie_fails() {
    for (honesty, pass) in [(Honesty::Honest, true), (Honesty::Liar, false)] {
        let folder = tempfile::tempdir().unwrap();
        let mut x = Region::start(RegionSpec::primary(folder.path())).await.unwrap();
        let y = Region::start(RegionSpec::standby(folder.path())).await.unwrap();
        let traffics = super::super::scene::traffics();
        let mut copiers = Vec::new();
        for traffic in &traffics {
            let table: &TableSpec = &traffic.table;
            table.create(&x.dynamodb(), true).await.unwrap();
            table.create(&y.dynamodb(), false).await.unwrap();
            copiers.push(Copier::start(&x, &y, table, Duration::from_millis(500), honesty));
        }
        let mut workload = Workload::start(x.endpoint(), &traffics, 4, OnSilence::End);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while traffics.iter().any(|traffic| traffic.ledger.committed() < 10) {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let killed_at = SystemTime::now();
        x.kill();
        let rows: Vec<Value> = traffics
            .iter()
            .zip(&copiers)
            .map(|(traffic, copier)| {
                let watermark = humantime::format_rfc3339_millis(copier.watermark().unwrap()).to_string();
                json!({"id": traffic.table.name, "kind": "dynamodb", "watermark": watermark})
            })
            .collect();
        let served = Status::from(json!({ "stores": rows }));
        workload.finish().await.unwrap();
        while copiers.iter().any(Copier::is_running) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut contents = Vec::new();
        for traffic in &traffics {
            contents.push(traffic.table.contents(&y.dynamodb()).await.unwrap());
        }
        let promotion = Promotion::from_exit(Some(0), Duration::from_secs(1));
        let report = judge(&traffics, &contents, &served, killed_at, &promotion);
        assert_eq!(report.pass, pass, "{honesty:?}: {report:#?}");
        assert!(report.stores.iter().any(|row| row.lost_changes > 0), "{report:#?}");
    }
}
