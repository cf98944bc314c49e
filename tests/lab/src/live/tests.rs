//! The live judge: rows that contradict themselves, and a copier on real servers that tells the truth or lies.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::clients::Endpoint;
use crate::copier::{Copier, Honesty};
use crate::daemon::{ConfigSpec, Home};
use crate::regions::{Region, RegionSpec};
use crate::workload::{OnSilence, Traffic, Workload, plain_table};

fn at(s: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + s)
}

#[test]
fn an_honest_row_has_no_contradiction() {
    let ok = json!({"state": "ok", "rpo_seconds": 5.0, "rpo_upper_bound_seconds": 5.0});
    assert!(contradictions(&ok, Some(at(0)), at(5), at(6)).is_empty());
    let unknown = json!({"state": "unknown", "rpo_seconds": null, "rpo_upper_bound_seconds": 50.2});
    assert!(contradictions(&unknown, Some(at(0)), at(50), at(51)).is_empty());
    let seeding = json!({"state": "seeding", "rpo_seconds": null, "rpo_upper_bound_seconds": null});
    assert!(contradictions(&seeding, None, at(0), at(1)).is_empty());
}

#[test]
fn a_row_that_understates_or_contradicts_itself_is_found() {
    let cases = [
        (json!({"state": "ok", "rpo_seconds": 3.0, "rpo_upper_bound_seconds": 3.0}), Some(at(0)), 2),
        (json!({"state": "unknown", "rpo_seconds": 0, "rpo_upper_bound_seconds": 6}), Some(at(0)), 2),
        (json!({"state": "ok", "rpo_seconds": null, "rpo_upper_bound_seconds": 6}), Some(at(0)), 1),
        (json!({"state": "ok", "rpo_seconds": 0, "rpo_upper_bound_seconds": 0}), Some(at(9)), 1),
        (json!({"state": "seeding", "rpo_upper_bound_seconds": 1}), None, 1),
        (json!({"state": "unknown"}), Some(at(0)), 1),
    ];
    for (row, watermark, count) in cases {
        let words = contradictions(&row, watermark, at(5), at(6));
        assert_eq!(words.len(), count, "{row}: {words:?}");
    }
}

#[test]
fn a_watermark_that_goes_back_is_found() {
    let mut highest = BTreeMap::new();
    assert_eq!(remember(&mut highest, "a", at(3)), None);
    assert_eq!(remember(&mut highest, "a", at(3)), None);
    assert_eq!(remember(&mut highest, "a", at(2)), Some(Finding::WentBack("a".into(), at(3), at(2))));
    assert_eq!(remember(&mut highest, "b", at(1)), None);
}

/// Serves a copier's watermark as a daemon would, on the port of the home.
async fn serve_status(home: &Home, copier: &Copier) {
    let address = home.url().strip_prefix("http://").unwrap();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        if socket.read(&mut request).await.unwrap_or(0) == 0 {
            continue;
        }
        let watermark = copier.watermark();
        let bound = watermark.map(|w| SystemTime::now().duration_since(w).unwrap_or_default().as_secs_f64());
        let watermark = watermark.map(|w| humantime::format_rfc3339_millis(w).to_string());
        let state = if bound.is_some() { "ok" } else { "unknown" };
        let store = json!({"id": "orders", "state": state, "watermark": watermark,
            "rpo_seconds": bound, "rpo_upper_bound_seconds": bound});
        let body = json!({ "stores": [store] }).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }
}

/// Watches a copier on two regions under load for some checks.
async fn watch_a_copier(honesty: Honesty, delay: Duration, checks: usize) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    let x = Region::start(RegionSpec::primary(folder.path())).await.unwrap();
    let y = Region::start(RegionSpec::standby(folder.path())).await.unwrap();
    let table = plain_table("orders");
    table.create(&x.dynamodb(), true).await.unwrap();
    table.create(&y.dynamodb(), false).await.unwrap();
    let endpoint = Endpoint::new("http://127.0.0.1:1", "us-east-1");
    let home = Home::prepare(folder.path(), &ConfigSpec::new(&endpoint, &endpoint, Vec::new())).unwrap();
    let traffic = Traffic::everything(table.clone(), 200.0);
    let workload = Workload::start(x.endpoint(), std::slice::from_ref(&traffic), 8, OnSilence::GoOn);
    let copier = Copier::start(&x, &y, &table, delay, honesty);
    let watched = Watched { store: "orders".into(), table, ledger: traffic.ledger.clone() };
    let mut watch = Watch::new(DaemonClient::new(&home).unwrap(), y.dynamodb(), vec![watched]);
    let mut findings = Vec::new();
    let watching = async {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while watch.judged() < checks {
            assert!(tokio::time::Instant::now() < deadline, "{} checks only", watch.judged());
            if let Check::Judged(found) = watch.check().await {
                findings.extend(found);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (before, half_a_second) = (watch.judged(), tokio::time::sleep(Duration::from_millis(500)));
        findings.extend(watch.until(half_a_second, Duration::from_millis(50)).await);
        assert!(watch.judged() > before);
    };
    tokio::select! {
        () = serve_status(&home, &copier) => {}
        () = watching => {}
    }
    workload.stop().await.unwrap();
    findings
}

#[tokio::test]
async fn an_honest_replicator_is_believed_on_real_servers() {
    assert_eq!(watch_a_copier(Honesty::Honest, Duration::from_millis(100), 25).await, []);
}

#[tokio::test]
async fn a_liar_is_found_on_real_servers() {
    let findings = watch_a_copier(Honesty::Liar, Duration::from_millis(400), 10).await;
    assert!(findings.iter().any(|finding| matches!(finding, Finding::Unsound(..))), "{findings:?}");
}
