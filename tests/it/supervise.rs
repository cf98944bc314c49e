//! What systemd hears, on a real datagram socket.
#![allow(clippy::disallowed_methods)] // a test may wait by itself

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plimsoll::seams::{SharedClock, TokioClock};
use plimsoll::supervise::watchdog::{Notifier, Pulses, watch};
use tokio::net::UnixDatagram;
use tokio_util::sync::CancellationToken;

struct Systemd {
    socket: UnixDatagram,
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Systemd {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), path, _directory: directory }
    }

    /// All that has been sent so far. A datagram is there when its `send` has returned.
    fn heard(&self) -> Vec<String> {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(length) = self.socket.try_recv(&mut buffer) {
            all.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        all
    }
}

fn clock() -> SharedClock {
    TokioClock::shared(SystemTime::UNIX_EPOCH)
}

/// Lets the other tasks run, for `secs` of paused time.
async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[tokio::test]
async fn ready_status_and_stopping_are_sent_as_systemd_reads_them() {
    let systemd = Systemd::new();
    let notifier = Notifier::to(&systemd.path, None).unwrap();
    notifier.extend(Duration::from_secs(30));
    notifier.ready("replicating; worst: orders ok,\nup to 3.0 s would be lost");
    notifier.stopping(Duration::from_secs(20));
    systemd.socket.readable().await.unwrap();
    assert_eq!(
        systemd.heard(),
        [
            "EXTEND_TIMEOUT_USEC=30000000",
            "READY=1\nSTATUS=replicating; worst: orders ok, up to 3.0 s would be lost",
            "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=20000000",
        ]
    );
}

/// The watchdog is fed while every pulse beats, starved while one hangs, and fed again afterwards.
#[tokio::test(start_paused = true)]
async fn a_hung_task_starves_the_watchdog() {
    let (systemd, clock, stop) = (Systemd::new(), clock(), CancellationToken::new());
    let pulses = Pulses::new(clock.clone());
    let notifier = Arc::new(Notifier::to(&systemd.path, Some(Duration::from_secs(6))).unwrap());
    let words = || "replicating".to_owned();
    let watching = tokio::spawn(watch(notifier, pulses.clone(), words, clock.clone(), stop.clone()));
    let (orders, users) = (
        pulses.register("driver orders", Duration::from_secs(3)),
        pulses.register("driver users", Duration::from_secs(3)),
    );
    systemd.socket.writable().await.unwrap();
    for _ in 0..6 {
        orders.beat();
        users.beat();
        pass(1).await;
    }
    let fed = systemd.heard();
    assert!(fed.iter().filter(|m| *m == "WATCHDOG=1").count() >= 3, "{fed:?}");
    assert!(fed.contains(&"STATUS=replicating".to_owned()), "{fed:?}");

    for _ in 0..4 {
        users.beat();
        pass(1).await;
    }
    systemd.heard();
    for _ in 0..6 {
        users.beat();
        pass(1).await;
    }
    let starved = systemd.heard();
    assert!(!starved.iter().any(|m| m.contains("WATCHDOG")), "{starved:?}");
    assert!(starved.contains(&"STATUS=no sign of life from driver orders".to_owned()), "{starved:?}");

    drop(orders);
    for _ in 0..4 {
        users.beat();
        pass(1).await;
    }
    assert!(
        systemd.heard().contains(&"WATCHDOG=1".to_owned()),
        "an ended task is the supervisor's, not the watchdog's"
    );
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn nobody_listens_and_nothing_stops() {
    Notifier::silent().feed();
    let systemd = Systemd::new();
    let notifier = Notifier::to(&systemd.path, None).unwrap();
    drop(systemd);
    notifier.ready("x");
    notifier.feed();
}
