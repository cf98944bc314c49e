//! The workload, the ledger and the judge together, on two emulated regions with the lab's own copier between them.

use std::time::SystemTime;

use super::*;
use crate::copier::{Copier, Honesty};
use crate::judge;
use crate::regions::{Region, RegionSpec};
use crate::tables::Contents;

struct Pair {
    x: Region,
    y: Region,
    _folder: tempfile::TempDir,
}

async fn pair(tables: &[TableSpec]) -> Pair {
    let folder = tempfile::tempdir().unwrap();
    let x = Region::start(RegionSpec::primary(folder.path())).await.unwrap();
    let y = Region::start(RegionSpec::standby(folder.path())).await.unwrap();
    for table in tables {
        table.create(&x.dynamodb(), true).await.unwrap();
        table.create(&y.dynamodb(), false).await.unwrap();
    }
    Pair { x, y, _folder: folder }
}

fn states(ledger: &Ledger) -> Contents {
    ledger.read(|history| {
        let last = |(key, changes): (&crate::canon::Key, &[crate::ledger::Change])| match changes.last()?.state {
            crate::ledger::State::Item(digest) => Some((key.clone(), digest)),
            crate::ledger::State::Absent => None,
        };
        history.iter().filter_map(last).collect()
    })
}

#[tokio::test]
async fn the_ledger_says_exactly_what_the_source_holds() {
    let kinds = [("text", KeyKind::Text), ("number", KeyKind::Number), ("binary", KeyKind::Binary)];
    let tables: Vec<TableSpec> = kinds
        .iter()
        .map(|(name, kind)| TableSpec::new(&format!("by-{name}"), ("k", *kind)).with_range(("größe", KeyKind::Number)))
        .collect();
    let pair = pair(&tables).await;
    let traffics: Vec<Traffic> = tables
        .iter()
        .map(|table| Traffic { limit: Some(400), keys: 20, ..Traffic::everything(table.clone(), 5000.0) })
        .collect();
    let mut workload = Workload::start(pair.x.endpoint(), &traffics, 11, OnSilence::GoOn);
    workload.finish().await.unwrap();
    assert_eq!(workload.alive(), 0);
    for traffic in &traffics {
        assert_eq!(traffic.ledger.committed(), 400);
        let source = traffic.table.contents(&pair.x.dynamodb()).await.unwrap();
        assert_eq!(crate::tables::differences(&states(&traffic.ledger), &source), [], "{}", traffic.table.name);
    }
}

#[tokio::test]
async fn a_copy_converges_and_an_honest_watermark_is_believed() {
    let table = plain_table("orders");
    let pair = pair(std::slice::from_ref(&table)).await;
    let traffic = Traffic::everything(table.clone(), 200.0);
    let workload = Workload::start(pair.x.endpoint(), std::slice::from_ref(&traffic), 3, OnSilence::GoOn);
    let copier = Copier::start(&pair.x, &pair.y, &table, Duration::ZERO, Honesty::Honest);
    let (mut judged, start) = (0, Instant::now());
    while start.elapsed() < Duration::from_secs(4) {
        if let Some(watermark) = copier.watermark() {
            let standby = table.contents(&pair.y.dynamodb()).await.unwrap();
            let violations = traffic.ledger.read(|history| judge::judge_watermark(history, &standby, watermark));
            assert_eq!(violations, [], "at {watermark:?}");
            judged += 1;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(judged > 10 && copier.is_running());
    let held = workload.pause().await;
    let before = traffic.ledger.committed();
    let standby = table.converged(&pair.x.dynamodb(), &pair.y.dynamodb(), Duration::from_secs(20)).await.unwrap();
    let found = traffic.ledger.read(|history| judge::compare(history, &standby, SystemTime::now()));
    assert!(found.lost.is_empty() && found.invented.is_empty() && found.unknown == 0);
    assert!(found.committed == before && before > 200, "paused at {before}, compared {}", found.committed);
    drop(held);
    workload.stop().await.unwrap();
}

#[tokio::test]
async fn a_lying_watermark_is_caught_live() {
    let table = plain_table("orders");
    let pair = pair(std::slice::from_ref(&table)).await;
    let traffic = Traffic::steady(table.clone(), 200.0);
    let workload = Workload::start(pair.x.endpoint(), std::slice::from_ref(&traffic), 3, OnSilence::GoOn);
    let copier = Copier::start(&pair.x, &pair.y, &table, Duration::from_millis(400), Honesty::Liar);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let watermark = copier.watermark().unwrap();
        let standby = table.contents(&pair.y.dynamodb()).await.unwrap();
        if !traffic.ledger.read(|history| judge::judge_watermark(history, &standby, watermark)).is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "the lie was not seen");
    }
    workload.stop().await.unwrap();
}

#[tokio::test]
async fn after_a_kill_the_ledger_says_what_is_lost_and_since_when() {
    let table = plain_table("orders");
    let mut pair = pair(std::slice::from_ref(&table)).await;
    let traffic = Traffic::everything(table.clone(), 300.0);
    let mut workload = Workload::start(pair.x.endpoint(), std::slice::from_ref(&traffic), 5, OnSilence::End);
    let copier = Copier::start(&pair.x, &pair.y, &table, Duration::from_millis(300), Honesty::Honest);
    let deadline = Instant::now() + Duration::from_secs(20);
    while traffic.ledger.committed() < 500 {
        assert!(Instant::now() < deadline, "{} changes only", traffic.ledger.committed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let killed_at = SystemTime::now();
    pair.x.kill();
    workload.finish().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while copier.is_running() {
        assert!(Instant::now() < deadline, "the copier does not notice the kill");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let watermark = copier.watermark().unwrap();
    let standby = table.contents(&pair.y.dynamodb()).await.unwrap();
    let found = traffic.ledger.read(|history| judge::compare(history, &standby, killed_at));
    assert!(!found.lost.is_empty(), "with 300 ms of delay something is lost");
    assert!(found.invented.is_empty() && found.unknown <= 4, "{} unknown", found.unknown);
    let predicted = killed_at.duration_since(watermark).unwrap();
    let actual = found.actual_loss(killed_at);
    assert!(actual <= predicted && actual > Duration::ZERO, "actual {actual:?}, predicted {predicted:?}");
}

#[tokio::test]
async fn writers_survive_a_freeze_and_the_ledger_stays_true() {
    let table = plain_table("orders");
    let pair = pair(std::slice::from_ref(&table)).await;
    let traffic = Traffic::everything(table.clone(), 300.0);
    let workload = Workload::start(pair.x.endpoint(), std::slice::from_ref(&traffic), 5, OnSilence::GoOn);
    let wait_for = async |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while traffic.ledger.committed() < count {
            assert!(Instant::now() < deadline, "{} of {count} changes", traffic.ledger.committed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    wait_for(200).await;
    pair.x.freeze();
    // Longer than an attempt may take, so that the changes under way become unknown.
    tokio::time::sleep(Duration::from_millis(5500)).await;
    pair.x.thaw();
    let before = traffic.ledger.committed();
    wait_for(before + 200).await;
    assert_eq!(workload.alive(), 4);
    workload.stop().await.unwrap();
    let source = table.contents(&pair.x.dynamodb()).await.unwrap();
    let found = traffic.ledger.read(|history| judge::compare(history, &source, SystemTime::now()));
    assert!(
        found.lost.is_empty() && found.invented.is_empty(),
        "{:?} {:?}",
        found.lost.first(),
        found.invented.first()
    );
    assert!((1..=4).contains(&found.unknown), "{} unknown", found.unknown);
}
