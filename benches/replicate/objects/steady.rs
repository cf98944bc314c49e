//! What the daemon does when nothing is behind: how late an object is under a steady load, and what idling costs.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use plimsoll_lab::trouble::{Because, Trouble};

use super::scene::{self, Scene};
use crate::pair::LIMIT;
use crate::report::percentile;
use crate::usage::Usage;

/// Objects a second.
const RATE: usize = 100;
/// For so long.
const FOR: Duration = Duration::from_secs(20);
/// An idle store asks its queue three times a minute with each of its receivers.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// From the commit of an object in prodX to its commit in prodY.
pub(super) async fn latency() -> Result<String, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let scene = Scene::start(2)?;
    let mut daemon = scene.daemon(folder.path(), "server-side", "").await?;
    looked(&mut daemon).await?;
    let before = Usage::of(&daemon.pid().to_string())?;
    let count = RATE * FOR.as_secs() as usize;
    let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE as u32);
    for number in 0..count {
        tick.tick().await;
        scene.put(number);
    }
    scene.until(count, &daemon).await?;
    let (cpu, _) = scene::used(&daemon, before)?;
    daemon.terminate(Duration::from_secs(10)).await;
    let mut arrived = HashMap::new();
    for change in scene.y.s3().history(scene::STANDBY) {
        arrived.entry(change.key.to_string()).or_insert(change.at);
    }
    let mut late = Vec::new();
    for change in scene.x.s3().history(scene::SOURCE) {
        let at = arrived.get(&*change.key).ok_or_else(|| Trouble::new(format!("{} never arrived", change.key)))?;
        late.push(at.duration_since(change.at).unwrap_or_default().as_secs_f64() * 1000.0);
    }
    late.sort_by(f64::total_cmp);
    Ok(format!(
        "\nObjects of 4 KiB, {RATE} a second for {FOR:?}, default settings: commit in the source to commit in the standby, ms\n\
         p50 {:.1}, p99 {:.1}, max {:.1} of {}; CPU of the daemon {:.3} s per 1,000\n",
        percentile(&late, 0.5),
        percentile(&late, 0.99),
        percentile(&late, 1.0),
        late.len(),
        cpu * 1000.0 / count as f64
    ))
}

/// The first look at both ends is done.
async fn looked(daemon: &mut plimsoll_lab::daemon::Daemon) -> Result<(), Trouble> {
    daemon.wait_status(LIMIT, |status| !status.value["stores"][0]["verified"].is_null()).await.map(drop)
}

/// One idle store with default settings, without and with a canary.
pub(super) async fn idle() -> Result<String, Trouble> {
    let mut running = Vec::new();
    for (name, more) in [("one bucket", ""), ("one bucket with a canary", "canary_key = \"plimsoll-canary\"")] {
        let folder = tempfile::tempdir().because("could not make a folder")?;
        let scene = Scene::start(2)?;
        scene.fill(100, 100);
        let mut daemon = scene.daemon(folder.path(), "server-side", more).await?;
        looked(&mut daemon).await?;
        running.push((name, folder, scene, daemon));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut before = Vec::new();
    for (_, _, scene, daemon) in &running {
        before.push((Usage::of(&daemon.pid().to_string())?, by_name(scene)));
    }
    let began = Instant::now();
    tokio::time::sleep(IDLE_FOR).await;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let mut text = format!("\nIdle, default settings, for {IDLE_FOR:?}\n");
    for ((name, _, scene, daemon), (start, calls)) in running.iter_mut().zip(before) {
        let end = Usage::of(&daemon.pid().to_string())?;
        let of = |op: &str| calls.get(op).copied().unwrap_or_default();
        let more: Vec<(String, f64)> = by_name(scene)
            .into_iter()
            .map(|(op, n)| ((n - of(&op)) as f64 / minutes, op))
            .filter(|(rate, _)| *rate > 0.0)
            .map(|(rate, op)| (op, rate))
            .collect();
        let each: Vec<String> = more.iter().map(|(op, rate)| format!("{op} {rate:.0}")).collect();
        text += &format!(
            "{name:<30} {:.2} % of a core, {:.0} MB, {:.1} calls a minute: {}\n",
            (end.cpu - start.cpu) / (minutes * 60.0) * 100.0,
            end.rss,
            more.iter().map(|(_, rate)| rate).sum::<f64>(),
            each.join(", ")
        );
        daemon.terminate(Duration::from_secs(10)).await;
    }
    Ok(text)
}

fn by_name(scene: &Scene) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for (end, server) in [("x", &scene.x), ("y", &scene.y)] {
        for (op, n) in server.all_calls() {
            calls.insert(format!("{op}@{end}"), n);
        }
    }
    calls
}
