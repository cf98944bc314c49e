//! What is said while a seed runs: no number before it is true, how far it is, and how long it still takes.

use std::time::{Duration, Instant};

use plimsoll_lab::daemon::Status;

use super::super::fixture::{Ask as _, ORDERS, bound, field, note, series_of, streamed};
use super::super::truth::Watch;
use super::zombies::told;
use super::{arrives, ends_well, pair_with, slow_scans, with_past};

/// RP-2: from the first answer to the end of the copy there is no watermark, no bound and no RPO, in no surface.
#[tokio::test]
async fn bs_there_is_no_watermark_before_the_seed_is_done() {
    let pair = pair_with(streamed().shards(2), 81, "seed_segments = 2");
    with_past(&pair, 200);
    pair.x.read_quirks(ORDERS, |quirks| quirks.scan_page_items = 50);
    let (gate, held) = pair.x.hold_scan(ORDERS, 2);
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    arrives(&gate).await;
    let until = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < until {
        let status = daemon.now().await;
        assert_eq!(
            (status.state(ORDERS), status.watermark(ORDERS), bound(&status)),
            ("seeding", None, None),
            "{status}"
        );
        assert!(field(&status, "rpo_seconds").is_null() && status.value["rpo_seconds"].is_null(), "{status}");
        assert!(note(&status).contains("seeding") && note(&status).contains("accepted by name"), "{}", note(&status));
        let scrape = daemon.client().metrics().await.expect("it answers");
        for series in [
            "store_rpo_seconds{",
            "store_rpo_upper_bound_seconds{",
            "store_watermark_timestamp_seconds{",
            "app_rpo_seconds ",
        ] {
            let line = scrape.lines().find(|line| line.starts_with(&format!("plimsoll_{series}")));
            assert_eq!(line, None);
        }
        let seeding = format!("plimsoll_store_state{{kind=\"dynamodb\",state=\"seeding\",store=\"{ORDERS}\"}}");
        assert_eq!(series_of(&scrape, &seeding), Some(1.0));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(watch.seen().watermarks.is_empty());
    pair.x.remove_fault(held);
    gate.open();
    ends_well(&pair, &mut daemon, watch).await;
}

fn number(status: &Status, name: &str) -> Option<f64> {
    field(status, "progress")[name].as_f64()
}

/// How far it is grows to the whole, and the time that is left is about what it then takes.
#[tokio::test]
async fn bs_progress_and_the_time_left_are_sane() {
    let pair = pair_with(streamed(), 82, "seed_segments = 2");
    with_past(&pair, 2_000);
    slow_scans(&pair, 20, Duration::from_millis(150));
    let began = Instant::now();
    let mut daemon = pair.start().await;
    let watch = Watch::start(&pair, daemon.client());
    let (mut last, mut guesses) = (0.0, Vec::new());
    let mut text = String::new();
    loop {
        let status = daemon.now().await;
        if status.state(ORDERS) == "ok" {
            break;
        }
        assert!(began.elapsed() < super::LONG, "{status}");
        if field(&status, "progress")["what"] == "scan" {
            let (done, total) =
                (number(&status, "done").expect("a number"), number(&status, "total").expect("a number"));
            assert!(done >= last && done <= total && total == 2_000.0, "{last} {done} {total}");
            last = done;
            if let Some(eta) = number(&status, "eta_seconds") {
                guesses.push((began.elapsed().as_secs_f64(), eta));
                if text.is_empty() {
                    text = told(&pair, &["status"]).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let whole = began.elapsed().as_secs_f64();
    assert!(guesses.len() > 5 && last > 1_000.0, "{guesses:?}");
    for (at, eta) in &guesses {
        let real = whole - at;
        assert!(
            *eta > 0.0 && *eta < 3.0 * real + 5.0 && *eta > real / 5.0 - 4.0,
            "at {at} of {whole}: {eta} were left"
        );
    }
    assert!(text.contains(" of about 2000 items (") && text.contains("left"), "{text}");
    println!("{text}");
    ends_well(&pair, &mut daemon, watch).await;
    assert!(field(&daemon.now().await, "progress").is_null());
}
