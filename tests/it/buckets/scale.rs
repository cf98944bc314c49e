//! A large bucket that is equal on both ends is walked: it costs the LIST calls that it must, and no memory for the keys. What
//! it takes is printed. `PLIMSOLL_SCALE_OBJECTS=1000000` does it large.

use std::time::{Duration, Instant};

use plimsoll_lab::daemon::Daemon;

use super::fixture::{Ask as _, LONG, SOURCE, STANDBY, UPLOADS, field};
use super::hand::scene;

/// A value of `/proc/PID/status`, MB.
fn memory(daemon: &Daemon, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says so");
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).expect("a number") / 1024
}

#[tokio::test]
async fn scale_a_large_bucket_is_walked_in_little_memory() {
    let keys = std::env::var("PLIMSOLL_SCALE_OBJECTS").map_or(50_000, |keys| keys.parse().expect("a number of keys"));
    let limit = LONG * 2 + Duration::from_micros(3_000) * u32::try_from(keys).expect("a number of keys");
    let scene = scene(81, "server-side", "list_rate = 1000\nconcurrency = 64");
    scene.x.s3().load(SOURCE, "k/", keys, 100);
    scene.y.s3().load(STANDBY, "k/", keys, 100);
    let lists = || scene.x.calls("ListObjectsV2") + scene.y.calls("ListObjectsV2");

    // The first walk looks at each of them, and remembers it.
    let began = Instant::now();
    let mut daemon = scene.start().await;
    let idle = memory(&daemon, "VmRSS:");
    daemon.wait_status(limit, |status| status.state(UPLOADS) == "ok").await.expect("it is seeded");
    let took = began.elapsed();
    let rate = |took: Duration| keys as f64 / took.as_secs_f64();
    println!(
        "{keys} keys: first walk in {took:.1?}, {:.0} keys/s, {} LIST calls, {idle} MB at the start, {} MB at most",
        rate(took),
        lists(),
        memory(&daemon, "VmHWM:"),
    );
    assert_eq!(scene.y.calls("CopyObject"), 0, "they are equal");

    // Every later one lists them.
    let before = (lists(), scene.x.calls("HeadObject"));
    let at = |status: &plimsoll_lab::daemon::Status| field(status, "verified")["at"].clone();
    let last = at(&daemon.now().await);
    let began = Instant::now();
    let (code, told) = daemon.client().post("/v1/stores/uploads/verify", "{}".into(), &[]).await.expect("an answer");
    assert_eq!(code, 202, "{told}");
    daemon.wait_status(limit, |status| at(status) != last).await.expect("it is walked");
    let (took, calls) = (began.elapsed(), lists() - before.0);
    let peak = memory(&daemon, "VmHWM:");
    println!("{keys} keys: later walk in {took:.1?}, {:.0} keys/s, {calls} LIST calls, {peak} MB at most", rate(took));
    assert_eq!(scene.x.calls("HeadObject"), before.1, "no key is looked at by itself");
    let least = 2 * keys as u64 / 1_000;
    // A page more for each part at either end, and those that find where to cut.
    assert!((least..least + least / 10 + 200).contains(&calls), "{calls} LIST calls for 2 x {keys} keys");
    assert!(peak < 150, "the keys are not kept in memory: {peak} MB");
    assert_eq!(scene.y.s3().count(STANDBY), keys);
    assert_eq!(daemon.violations().await, 0.0);
}
