//! A stop that is asked for: what was read is durable and committed, and the next start need not wait for anything.

use std::time::{Duration, Instant, SystemTime};

use super::fixture::{Ask as _, Load, ORDERS, Pair, of_store};
use super::truth::{Watch, regressions};

#[tokio::test]
async fn sigterm_under_load_commits_what_was_read() {
    // So long a life of a request that a start which waits for it would be seen.
    let pair = Pair::with(super::fixture::streamed(), super::fixture::plain(), 1, |spec| {
        spec.stores[0].more = super::fixture::RHYTHM.replace("max_request_life = \"1s\"", "max_request_life = \"40s\"");
    });
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 30, 200, 1);
    let mut read = 0.0;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let before = daemon.metric(&of_store("store_changes_read_total")).await.expect("a counter");
        let asked = Instant::now();
        let status = daemon.terminate(Duration::from_secs(30)).await;
        assert_eq!(status.code(), Some(0), "{}", daemon.tail(10));
        assert!(asked.elapsed() < Duration::from_secs(20), "within the grace: {:?}", asked.elapsed());
        read += before;
        let written = pair.y.arrivals(ORDERS).len();
        daemon = pair.start().await;
        let started = SystemTime::now();
        daemon.reach(|_| pair.y.arrivals(ORDERS).len() > written).await;
        let first = pair.y.arrivals(ORDERS)[written].commit;
        let waited = first.duration_since(started).unwrap_or_default();
        assert!(waited < Duration::from_secs(30), "a clean start waits for no strays: {waited:?}");
    }
    load.stop().await;
    pair.converge(&daemon).await;
    assert!(read > 100.0, "there was load: {read}");
    watch.truthful().await;
    // Nothing was read twice: no key ever went back, not even over the restarts.
    let wrong = regressions(&pair.x, &pair.y.arrivals(ORDERS));
    assert!(wrong.is_empty(), "{} were written again: {}", wrong.len(), wrong[0]);
}

#[tokio::test]
async fn ctrl_c_is_as_good_as_sigterm() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    pair.put("k", 1);
    pair.converge(&daemon).await;
    let sent = std::process::Command::new("kill").args(["-INT", &daemon.pid().to_string()]).status();
    assert!(sent.expect("there is a kill").success());
    let status = daemon.wait(Duration::from_secs(30)).await.expect("it ends by itself");
    assert_eq!(status.code(), Some(0), "{}", daemon.tail(10));
}

/// A standby that hangs does not make a stop hang.
#[tokio::test]
async fn sigterm_while_the_standby_hangs_ends_in_time() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    pair.y.set_door(plimsoll_lab::scripted::Door::Blackhole);
    pair.put("k", 1);
    daemon.reach(|status| super::fixture::note(status).contains("writing prodY")).await;
    let status = daemon.terminate(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(0), "{}", daemon.tail(10));
    pair.y.set_door(plimsoll_lab::scripted::Door::Open);
    let daemon = pair.start().await;
    pair.converge(&daemon).await;
}
