//! A bucket is copied to another one: by the daemon that is told of its objects, by the daemon that finds them, by a bare
//! loop, and by other people's tools.

use std::time::{Duration, Instant, SystemTime};

use plimsoll_lab::trouble::{Because, Trouble};

use super::peers::{Peer, Way};
use super::scene::{self, EAGER, Scene, Wrong};
use super::{AT_ONCE, bare};
use crate::pair::LIMIT;
use crate::report::median;
use crate::usage::Usage;

/// What is copied, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) count: usize,
    pub(super) bytes: u64,
    /// Through the process, and not by S3.
    pub(super) stream: bool,
}

impl Shape {
    pub(super) fn transfer(self) -> &'static str {
        if self.stream { "stream" } else { "server-side" }
    }
}

/// One run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    pub(super) seconds: f64,
    pub(super) cpu: f64,
    pub(super) peak: f64,
    /// Calls of S3 and of the queue.
    pub(super) calls: (u64, u64),
    pub(super) wrong: Wrong,
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Told,
    Found,
    Bare { looks: bool },
    Other(Peer),
}

/// Every contender once a round.
pub(super) async fn shown(rounds: usize, shape: Shape) -> Result<String, Trouble> {
    let mut rows = vec![
        ("bare loop".to_owned(), Who::Bare { looks: false }, Vec::new()),
        ("bare loop, the daemon's calls".to_owned(), Who::Bare { looks: true }, Vec::new()),
        ("plimsoll, told by events".to_owned(), Who::Told, Vec::new()),
        ("plimsoll, seed".to_owned(), Who::Found, Vec::new()),
    ];
    rows.extend(Peer::all(shape.stream).into_iter().map(|peer| (peer.name(), Who::Other(peer), Vec::new())));
    for _ in 0..rounds.max(1) {
        for (_, who, runs) in &mut rows {
            runs.push(match who {
                Who::Told => told(shape).await?,
                Who::Found => found(shape).await?,
                Who::Bare { looks } => bare_run(shape, *looks).await?,
                Who::Other(peer) => peer_run(*peer, shape).await?,
            });
        }
    }
    let title =
        format!("{} objects of {} KiB, {}, {AT_ONCE} at once", shape.count, shape.bytes >> 10, shape.transfer());
    let rows: Vec<_> = rows.into_iter().map(|(name, _, runs)| (name, runs)).collect();
    Ok(table(&title, shape, &rows))
}

/// A table of contenders; shares are of the first one's.
pub(super) fn table(title: &str, shape: Shape, rows: &[(String, Vec<Run>)]) -> String {
    let mut text = format!(
        "\n{title}\n{:<30} {:>22} {:>8} {:>6} {:>12} {:>6} {:>7} {:>8} {:>8} {:>6} {:>6}\n",
        "", "objects/s", "MB/s", "ratio", "CPU s/1,000", "ratio", "RSS MB", "S3/obj", "SQS/obj", "wrong", "about"
    );
    let count = shape.count as f64;
    let middle = |runs: &[Run], of: &dyn Fn(&Run) -> f64| median(runs.iter().map(of).collect());
    let rate = |run: &Run| count / run.seconds;
    let cpu = |run: &Run| run.cpu * 1000.0 / count;
    let base = rows.first().map(|(_, runs)| (middle(runs, &rate), middle(runs, &cpu))).unwrap_or_default();
    for (name, runs) in rows {
        let rates: Vec<f64> = runs.iter().map(rate).collect();
        let (low, high) = rates.iter().fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(*v), high.max(*v)));
        let (rate, cpu) = (median(rates), middle(runs, &cpu));
        text += &format!(
            "{name:<30} {:>22} {:>8.1} {:>6} {cpu:>12.3} {:>6} {:>7.0} {:>8.2} {:>8.2} {:>6} {:>6}\n",
            format!("{rate:.0} ({low:.0}-{high:.0})"),
            rate * shape.bytes as f64 / 1e6,
            ratio(rate, base.0),
            ratio(cpu, base.1),
            runs.iter().map(|run| run.peak).fold(0.0, f64::max),
            middle(runs, &|run| run.calls.0 as f64) / count,
            middle(runs, &|run| run.calls.1 as f64) / count,
            runs.iter().map(|run| run.wrong.bytes).max().unwrap_or_default(),
            runs.iter().map(|run| run.wrong.about).max().unwrap_or_default(),
        );
    }
    text
}

/// CPU time is told in hundredths of a second: of a short run it may be none.
fn ratio(value: f64, base: f64) -> String {
    if base > 0.0 { format!("{:.2}", value / base) } else { "-".to_owned() }
}

/// All events wait; from the moment they are in the queue until the standby has all objects.
async fn told(shape: Shape) -> Result<Run, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let scene = Scene::start(2)?;
    let mut daemon = scene.daemon(folder.path(), shape.transfer(), EAGER).await?;
    daemon.wait_status(LIMIT, |status| status.all("ok")).await?;
    scene.x.s3().hold_events(scene::SOURCE);
    scene.fill(shape.count, shape.bytes);
    let (before, calls, began) = (Usage::of(&daemon.pid().to_string())?, scene.calls(), SystemTime::now());
    scene.x.s3().release_events(scene::SOURCE);
    let run = measured(&scene, &daemon, shape, before, calls, began).await?;
    daemon.terminate(Duration::from_secs(10)).await;
    Ok(run)
}

/// The bucket has a past; from the first page of it until the standby has all objects.
async fn found(shape: Shape) -> Result<Run, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let scene = Scene::start(2)?;
    scene.x.s3().stop_events(scene::SOURCE);
    scene.fill(shape.count, shape.bytes);
    let mut daemon = scene.daemon(folder.path(), shape.transfer(), EAGER).await?;
    let waited = Instant::now();
    while scene.x.calls("ListObjectsV2") == 0 && waited.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (before, calls, began) = (Usage::of(&daemon.pid().to_string())?, scene.calls(), SystemTime::now());
    let run = measured(&scene, &daemon, shape, before, calls, began).await?;
    daemon.terminate(Duration::from_secs(10)).await;
    Ok(run)
}

async fn measured(
    scene: &Scene,
    daemon: &plimsoll_lab::daemon::Daemon,
    shape: Shape,
    before: Usage,
    calls: (u64, u64),
    began: SystemTime,
) -> Result<Run, Trouble> {
    let last = scene.until(shape.count, daemon).await?;
    // The last looks, commits and releases belong to the work.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (cpu, peak) = scene::used(daemon, before)?;
    let now = scene.calls();
    Ok(Run {
        seconds: last.duration_since(began).unwrap_or_default().as_secs_f64(),
        cpu,
        peak,
        calls: (now.0 - calls.0, now.1 - calls.1),
        wrong: scene.wrong(),
    })
}

async fn bare_run(shape: Shape, looks: bool) -> Result<Run, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let scene = Scene::start(2)?;
    scene.fill(shape.count, shape.bytes);
    let calls = scene.calls();
    let ends = (scene.source(), scene.target());
    let run = bare::run(&ends, (scene::SOURCE, scene::STANDBY), shape, looks, folder.path()).await?;
    let now = scene.calls();
    Ok(Run { calls: (now.0 - calls.0, now.1 - calls.1), wrong: scene.wrong(), ..run })
}

async fn peer_run(peer: Peer, shape: Shape) -> Result<Run, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    // s5cmd knows one endpoint.
    let scene = Scene::start(if peer.two_ends() { 2 } else { 1 })?;
    scene.fill(shape.count, shape.bytes);
    let calls = scene.calls();
    let way = Way {
        ends: (scene.source(), scene.target()),
        buckets: (scene::SOURCE, scene::STANDBY),
        stream: shape.stream,
        scripted: true,
    };
    let run = peer.copy(&way, folder.path()).await?;
    let now = scene.calls();
    Ok(Run { calls: (now.0 - calls.0, now.1 - calls.1), wrong: scene.wrong(), ..run })
}
