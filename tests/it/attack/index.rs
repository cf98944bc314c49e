//! The index taken away, damaged, held by another process, or without room: a true state and a clear sentence each.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use plimsoll_lab::clients::Endpoint;
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, StoreSpec, binary};

use super::fixture::{Ask as _, LONG, Load, ORDERS, Pair, RHYTHM, came_true, field, note};
use super::truth::Watch;

const GRACE: Duration = Duration::from_secs(30);

/// A start that must fail: its exit code and the last lines of its log.
async fn refused(pair: &Pair) -> (Option<i32>, String) {
    let mut daemon = pair.spawn();
    let status = daemon.wait(LONG).await.expect("it ends by itself");
    (status.code(), daemon.tail(3))
}

#[tokio::test]
async fn deleted_while_running_then_started_anew() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.put("k", 1);
    pair.converge(&daemon).await;
    std::fs::remove_dir_all(pair.home.index()).expect("it was there");
    pair.put("k", 2);
    let told = daemon.reach(|status| note(status).contains("the index directory was deleted while running")).await;
    assert!(note(&told).contains("restart Plimsoll"), "{}", note(&told));
    let status = daemon.state("unknown").await;
    assert!(field(&status, "rpo_seconds").is_null(), "{status}");
    assert_eq!(daemon.client().get("/healthz").await.expect("it answers").0, 200);
    let (code, body) = daemon.client().get("/readyz").await.expect("it answers");
    assert!(code == 503 && body.contains("deleted while running"), "{code}: {body}");
    // What nobody made durable is not published, also not after the next change.
    let watermark = status.watermark(ORDERS);
    pair.put("k", 3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(daemon.now().await.watermark(ORDERS), watermark);
    watch.truthful().await;
    daemon.terminate(GRACE).await;
    // A new index over a table with data: what was there before is not proven to be in the standby.
    let mut daemon = pair.start().await;
    let status = daemon.state("seeding").await;
    assert_eq!(status.watermark(ORDERS), None);
    pair.put("k", 4);
    pair.converge(&daemon).await;
    assert_eq!(daemon.now().await.state(ORDERS), "seeding");
}

#[tokio::test]
async fn deleted_between_two_runs() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    pair.put("k", 1);
    pair.converge(&daemon).await;
    daemon.kill9();
    std::fs::remove_dir_all(pair.home.index()).expect("it was there");
    let mut daemon = pair.start().await;
    let status = daemon.state("seeding").await;
    assert!(status.watermark(ORDERS).is_none() && field(&status, "rpo_upper_bound_seconds").is_null(), "{status}");
    assert_eq!(pair.standby_version("k"), Some(1), "nothing is taken from the standby");
}

/// The files of an index whose name begins or ends so.
fn files(index: &Path, part: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(index).expect("an index").map(|entry| entry.expect("a file").path());
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part));
    all.filter(named).collect()
}

#[tokio::test]
async fn damaged_files_are_refused_with_one_sentence() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    pair.put("k", 1);
    pair.converge(&daemon).await;
    assert!(daemon.terminate(GRACE).await.success());
    for (part, garbage) in [("CURRENT", "garbage\n"), ("MANIFEST-", "garbage"), ("CURRENT", "")] {
        let file = files(&pair.home.index(), part).pop().expect("every index has one");
        let whole = std::fs::read(&file).expect("readable");
        std::fs::write(&file, garbage).expect("writable");
        let (code, said) = refused(&pair).await;
        assert_eq!(code, Some(1), "{part}: {said}");
        let error = said.lines().find(|line| line.contains("ERROR")).unwrap_or_default();
        assert!(error.contains(&pair.home.index().display().to_string()), "{part}: {said}");
        assert!(error.contains("damaged") && error.contains("move it away and start again"), "{part}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        std::fs::write(&file, whole).expect("writable");
    }
    // Whole again, it is used again, and refused starts have not harmed it.
    let mut daemon = pair.start().await;
    let status = daemon.state("ok").await;
    assert!(status.watermark(ORDERS).is_some());
}

#[tokio::test]
async fn held_by_another_process() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    let other = tempfile::tempdir().expect("a folder");
    let ends = (Endpoint::new(pair.x.endpoint(), "us-east-1"), Endpoint::new(pair.y.endpoint(), "us-west-2"));
    let store = StoreSpec { more: RHYTHM.into(), ..StoreSpec::table(ORDERS) };
    let home = Home::prepare(other.path(), &ConfigSpec::new(&ends.0, &ends.1, vec![store])).expect("a folder");
    let text = std::fs::read_to_string(home.config()).expect("written just now");
    let (own, taken) = (home.index().display().to_string(), pair.home.index().display().to_string());
    std::fs::write(home.config(), text.replace(&own, &taken)).expect("writable");
    let mut second = Daemon::spawn(&binary().expect("built"), &home).expect("it starts");
    let status = second.wait(LONG).await.expect("it ends by itself");
    let said = second.tail(3);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("the index at {taken} is in use by another process")), "{said}");
    // The first one has not noticed anything.
    pair.put("k", 1);
    pair.converge(&daemon).await;
    daemon.state("ok").await;
}

/// Lets a process write no file beyond so many bytes, or any (`unlimited`).
fn limit_files(pid: i32, to: &str) {
    let args = ["--pid".to_owned(), pid.to_string(), format!("--fsize={to}:unlimited")];
    let done = Command::new("prlimit").args(args).status().expect("prlimit is part of util-linux");
    assert!(done.success());
}

/// No room: writes of the index fail as they do on a full disk.
#[tokio::test]
async fn a_full_disk_is_told_and_heals() {
    let pair = Pair::new();
    // Without this the signal of the limit would kill it, which a full disk does not.
    let program = pair.folder().join("patient");
    let script = format!("#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n", binary().expect("built").display());
    std::fs::write(&program, script).expect("writable");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut daemon = Daemon::spawn(&program, &pair.home).expect("it starts");
    daemon.wait_ready(LONG).await.expect("it answers");
    daemon.state("ok").await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 20, 30, 1);
    daemon.reach(|_| load.written() > 30).await;
    limit_files(daemon.pid(), "1");
    let told = daemon.reach(|status| note(status).contains("index:")).await;
    assert!(note(&told).contains("File too large"), "{}", note(&told));
    let full = daemon.state("unknown").await;
    assert_eq!(daemon.client().get("/healthz").await.expect("it answers").0, 200);
    assert_eq!(daemon.client().get("/readyz").await.expect("it answers").0, 503);
    let watermark = full.watermark(ORDERS).expect("it was ok");
    limit_files(daemon.pid(), "unlimited");
    let ok = daemon.state("ok").await;
    assert!(ok.watermark(ORDERS).is_some_and(|w| w > watermark), "{ok}");
    let ready = || async { daemon.client().get("/readyz").await.is_ok_and(|(code, _)| code == 200) };
    assert!(came_true(LONG, ready).await, "it is ready again");
    load.stop().await;
    pair.converge(&daemon).await;
    // What it wrote before, in and after the trouble is a whole index.
    daemon.kill9();
    let mut daemon = pair.start().await;
    daemon.state("ok").await;
    watch.truthful().await;
}
