//! What systemd hears, on a real datagram socket.

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

/// The environment decides: this test runs itself again as the child of a service manager.
#[tokio::test]
async fn the_environment_names_the_socket() {
    if std::env::var_os("PLIMSOLL_TEST_CHILD").is_some() {
        let notifier = Arc::new(Notifier::from_env());
        let (clock, stop) = (plimsoll::seams::SystemClock::shared(), CancellationToken::new());
        stop.cancel();
        watch(notifier, Pulses::new(clock.clone()), || "child".into(), clock, stop).await;
        return;
    }
    let abstract_name = format!("plimsoll-test-{}", std::process::id());
    let address = {
        use std::os::linux::net::SocketAddrExt;
        std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name).unwrap()
    };
    let hidden = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
    hidden.set_nonblocking(true).unwrap();
    let hidden = Systemd { socket: UnixDatagram::from_std(hidden).unwrap(), ..Systemd::new() };
    let plain = Systemd::new();
    for (systemd, name) in [(&plain, plain.path.clone()), (&hidden, format!("@{abstract_name}").into())] {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "supervise::the_environment_names_the_socket"]);
        child
            .env("PLIMSOLL_TEST_CHILD", "1")
            .env("NOTIFY_SOCKET", name)
            .env("WATCHDOG_USEC", "30000000")
            .env_remove("WATCHDOG_PID");
        let child = child.kill_on_drop(true).output().await.unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        systemd.socket.readable().await.unwrap();
        assert_eq!(systemd.heard(), ["WATCHDOG=1", "STATUS=child"]);
    }
}
