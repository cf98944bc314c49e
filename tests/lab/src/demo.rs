//! The demo: two regions, three tables under load, the loss of a region, one promote, and the bill.
//!
//! It uses Plimsoll as an operator does (configuration file, `/v1/status`, the CLI) and knows what an operator cannot:
//! the truth ledger of every change. The prediction is taken from the status that is served *after* the kill; the loss
//! is what the ledger misses in the standby after the promote. PASS means that no prediction was too small.
//! Everything it starts ends with it, whatever ends it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;

use crate::children::Process;
use crate::daemon::{self, Role, Status};
use crate::random::Random;
use crate::trouble::{Because, Trouble};
use crate::workload::{OnSilence, Workload};

mod scene;
mod screen;
mod verdict;

use scene::Scene;
use screen::{Quote, Screen};
use verdict::{Promotion, Report};

/// Where the report goes, from the current directory.
const REPORT: &str = "target/demo/report.json";

/// How long the stores may take to say `ok` before the load starts.
const OK_LIMIT: Duration = Duration::from_secs(60);

/// How long a promotion may take: its two steps have a deadline of 30 s each.
const PROMOTE_LIMIT: Duration = Duration::from_secs(120);

/// Kills a region under load and shows that the loss Plimsoll predicted was not too small.
///
/// Starts two emulated AWS regions, keeps three tables of one warm in the other, kills the first with SIGKILL,
/// promotes the second with one call, and compares it with a ledger of every change that was committed.
/// Writes target/demo/report.json. Exits 0 on PASS, 1 on FAIL or trouble, 130 when interrupted.
#[derive(Debug, Clone, Parser)]
#[command(name = "demo", after_help = "Example: make demo ARGS=\"--seconds 60 --seed 7\"")]
pub struct Options {
    /// A short run, for CI
    #[arg(long)]
    pub fast: bool,
    /// How long the load runs before the kill [default: 30, or 5 with --fast]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: Option<u64>,
    /// The seed of the load and of the moment of the kill [default: from the clock]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Keep the run's folder with configuration, index and logs
    #[arg(long)]
    pub keep: bool,
}

impl Options {
    fn load(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.fast { 5 } else { 30 }))
    }

    /// How long the dead region is watched before the promote: an operator needs a moment too.
    fn watch_after_kill(&self) -> Duration {
        Duration::from_secs(if self.fast { 1 } else { 4 })
    }

    fn seed(&self) -> u64 {
        let clock =
            || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |now| now.as_secs() % 100_000);
        self.seed.unwrap_or_else(clock)
    }
}

/// Runs the demo; true when it passed. When the future is dropped, everything that was started ends.
pub async fn run(options: &Options) -> Result<bool, Trouble> {
    let binary = daemon::binary()?;
    let folder = RunFolder::create(options.keep)?;
    let mut screen = Screen::new();
    match play(options, &binary, &folder, &mut screen).await {
        Ok(report) => {
            write_report(&report)?;
            screen.verdict(&report, Path::new(REPORT));
            folder.finish(report.pass, &mut screen);
            Ok(report.pass)
        }
        Err(trouble) => {
            folder.finish(false, &mut screen);
            Err(trouble)
        }
    }
}

async fn play(options: &Options, binary: &Path, folder: &RunFolder, screen: &mut Screen) -> Result<Report, Trouble> {
    let seed = options.seed();
    screen.title(seed);
    let mut scene = Scene::set(folder.path(), binary).await?;
    screen.scene(&scene);

    screen.say("Plimsoll starts on empty tables and has to prove, table by table, that the standby is up to date.");
    let took = wait_until_ok(&mut scene, screen).await?;
    screen.say(&format!("Every store is ok after {}. The load starts.", screen::seconds(took)));

    let mut workload = Workload::start(scene.x.endpoint(), &scene.traffics, seed, OnSilence::End);
    let kill_after = moment_of_the_kill(options.load(), seed);
    show(&scene, screen, kill_after, "under load").await;

    let killed_at = SystemTime::now();
    scene.x.kill();
    screen.alarm(&format!("prodX is gone: SIGKILL under load, at {}.", screen::clock(killed_at)));
    let served = served_after_the_kill(&scene).await?;
    workload.finish().await?;
    screen.cutoffs(&served, &scene, killed_at);

    let latest = show(&scene, screen, options.watch_after_kill(), "prodX is gone; the bounds grow").await;
    let promotion = promote(&scene, binary, &latest.unwrap_or_else(|| served.clone()), screen).await?;
    let mut contents = Vec::new();
    for traffic in &scene.traffics {
        contents.push(traffic.table.contents(&scene.y.dynamodb()).await?);
    }
    Ok(verdict::judge(&scene.traffics, &contents, &served, killed_at, &promotion))
}

/// Shows the status until every store is `ok`; how long that took.
async fn wait_until_ok(scene: &mut Scene, screen: &mut Screen) -> Result<Duration, Trouble> {
    let start = Instant::now();
    loop {
        let last = match scene.daemon.client().status().await {
            Ok(status) => {
                screen.live(&status, &scene.committed(), "waiting until every store is ok");
                if status.all("ok") {
                    screen.settle();
                    return Ok(start.elapsed());
                }
                status.to_string()
            }
            Err(trouble) => trouble.to_string(),
        };
        if !scene.daemon.is_alive() {
            return Err(Trouble::new(format!("plimsoll ended; its last lines:\n{}", scene.daemon.tail(15))));
        }
        if start.elapsed() > OK_LIMIT {
            return Err(Trouble::new(format!("not every store is ok after {OK_LIMIT:?}; the last status: {last}")));
        }
        tokio::time::sleep(screen::PERIOD).await;
    }
}

/// Shows the status for some time; the last one. A status that is not answered is not shown, and no reason to stop: what
/// is judged is asked for by itself.
async fn show(scene: &Scene, screen: &mut Screen, how_long: Duration, title: &str) -> Option<Status> {
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < how_long {
        let left = how_long.saturating_sub(start.elapsed());
        if let Ok(status) = scene.daemon.client().status().await {
            screen.live(&status, &scene.committed(), &format!("{title}, {} s to go", left.as_secs() + 1));
            last = Some(status);
        }
        tokio::time::sleep(screen::PERIOD.min(left)).await;
    }
    screen.settle();
    last
}

/// The load's time, stretched until the bursts of the sessions are on: the kill is to hurt.
fn moment_of_the_kill(load: Duration, seed: u64) -> Duration {
    let rhythm = scene::RHYTHM;
    let period = rhythm.busy + rhythm.quiet;
    let within = rhythm.busy.mul_f64(0.4 + 0.5 * Random::fork(seed, 99).unit());
    let periods = load.saturating_sub(within).as_secs_f64() / period.as_secs_f64();
    period.mul_f64(periods.ceil()) + within
}

/// The first status that was asked for after the kill: the prediction.
async fn served_after_the_kill(scene: &Scene) -> Result<Status, Trouble> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match scene.daemon.client().status().await {
            Ok(status) => return Ok(status),
            Err(trouble) if Instant::now() >= deadline => {
                return Err(Trouble::new(format!("plimsoll serves no status after the loss of prodX: {trouble}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// One call. The accepted loss is what an operator would read off the status, and some seconds for the typing.
async fn promote(scene: &Scene, binary: &Path, status: &Status, screen: &mut Screen) -> Result<Promotion, Trouble> {
    let now = SystemTime::now();
    let mut args = vec!["promote".to_owned(), "--reason".into(), "demo: prodX is gone".into()];
    for traffic in &scene.traffics {
        let id = &traffic.table.name;
        if let Some(watermark) = status.watermark(id) {
            let accepted = now.duration_since(watermark).unwrap_or_default().as_secs() + 15;
            args.extend(["--accept-loss".into(), format!("{id}={accepted}s")]);
        }
    }
    args.extend(["--yes".into(), "--wait".into()]);
    screen.command(&args);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let spec = daemon::cli_spec(binary, &scene.home, Role::Approver, &args)?;
    let called = Instant::now();
    let mut process = Process::spawn(&spec)?;
    let mut events = Quote::first_part(&spec.stdout);
    let ended = loop {
        let ended = process.try_wait();
        screen.quote(&mut events, ended.is_some());
        if let Some(status) = ended {
            break status;
        }
        if called.elapsed() > PROMOTE_LIMIT {
            return Err(Trouble::new(format!("the promotion did not end within {PROMOTE_LIMIT:?}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let rto = called.elapsed();
    if !ended.success() {
        for path in std::iter::once(&spec.stdout).chain(&spec.stderr) {
            screen.quote(&mut Quote::whole(path), true);
        }
    }
    Ok(Promotion::from_exit(ended.code(), rto))
}

fn write_report(report: &Report) -> Result<(), Trouble> {
    let path = Path::new(REPORT);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).because(format!("could not create {}", folder.display()))?;
    }
    std::fs::write(path, report.to_json()).because(format!("could not write {REPORT}"))
}

/// The run's folder: removed at the end, unless it is to be kept or something went wrong.
#[derive(Debug)]
struct RunFolder {
    folder: tempfile::TempDir,
    keep: bool,
}

impl RunFolder {
    fn create(keep: bool) -> Result<Self, Trouble> {
        let folder = tempfile::Builder::new().prefix("plimsoll-demo-").disable_cleanup(keep).tempdir();
        Ok(Self { folder: folder.because("could not create the run's folder")?, keep })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn finish(self, passed: bool, screen: &mut Screen) {
        if self.keep || !passed {
            let kept: PathBuf = self.folder.keep();
            screen.note(&format!("Configuration, index and logs of this run: {}", kept.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kill_falls_into_a_burst_and_not_before_its_time() {
        let period = scene::RHYTHM.busy + scene::RHYTHM.quiet;
        for seed in 0..50 {
            for load in [1, 5, 30, 31] {
                let load = Duration::from_secs(load);
                let kill = moment_of_the_kill(load, seed);
                assert!(kill + Duration::from_millis(1) >= load && kill < load + period * 2, "{kill:?}");
                let phase = kill.as_secs_f64() % period.as_secs_f64();
                assert!(phase > 0.3 && phase < scene::RHYTHM.busy.as_secs_f64(), "phase {phase}");
            }
        }
    }
}
