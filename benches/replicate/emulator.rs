//! Throughput between two emulated regions. They are Python: a ceiling for any client, so the bare loop beside the daemon
//! says more than the number.

use std::time::{Duration, Instant};

use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, StoreSpec};
use plimsoll_lab::regions::{Region, RegionSpec};
use plimsoll_lab::tables::{KeyKind, TableSpec, differences};
use plimsoll_lab::trouble::{Because, Trouble};

use crate::bare::{self, Keeps};
use crate::pair::{EAGER, LIMIT, ready};
use crate::report::{Row, Run};
use crate::usage::Usage;
use crate::work::{self, Op};

/// Runs the rounds.
pub(crate) async fn rows(rounds: usize, ops: &[Op], at_once: usize) -> Result<Vec<Row>, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let x = Region::start(RegionSpec::primary(folder.path())).await?;
    let y = Region::start(RegionSpec::standby(folder.path())).await?;
    let (source, target) = (x.dynamodb(), y.dynamodb());
    let mut rows =
        [("plimsoll", None), ("bare, no order", Some(Keeps::Nothing)), ("bare, order kept", Some(Keeps::Order))]
            .map(|(name, keeps)| (keeps, Row { name: name.into(), runs: Vec::new() }));
    for round in 0..rounds {
        let spec = TableSpec::new(&format!("busy-{round}"), ("pk", KeyKind::Text));
        spec.create(&source, true).await?;
        spec.create(&target, false).await?;
        let home = Home::prepare(&folder.path().join(format!("home-{round}")), &{
            let mut store = StoreSpec::table(&spec.name);
            store.more = format!("{EAGER}\napply_concurrency = {at_once}");
            ConfigSpec::new(x.endpoint(), y.endpoint(), vec![store])
        })?;
        let mut daemon = ready(&home).await?;
        // Nothing is read while the backlog is made.
        daemon.freeze();
        let loaded = work::load(&source, &spec.name, ops).await;
        daemon.thaw();
        loaded?;
        let mut run = measured(&daemon, ops.len()).await?;
        daemon.terminate(Duration::from_secs(10)).await;
        let truth = spec.contents(&source).await?;
        run.wrong = Some(differences(&truth, &spec.contents(&target).await?).len());
        for (keeps, row) in &mut rows {
            let Some(keeps) = *keeps else {
                row.runs.push(run.clone());
                continue;
            };
            let copy = TableSpec::new(&format!("bare-{round}-{}", keeps as u8), ("pk", KeyKind::Text));
            copy.create(&target, false).await?;
            let job = bare::Job {
                keeps,
                source: x.endpoint(),
                target: y.endpoint(),
                source_table: &spec.name,
                target_table: &copy.name,
                changes: ops.len() as u64,
                at_once,
            };
            let wrong = |held| differences(&truth, &held).len();
            let run = bare::run(&job, folder.path()).await?;
            row.runs.push(Run { wrong: Some(wrong(copy.contents(&target).await?)), ..run });
        }
    }
    x.stop().await;
    y.stop().await;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// From now until the daemon says that everything is read and durable. Its own word is taken here, because looking at the
/// emulator costs the emulator time; what it holds is compared afterwards.
async fn measured(daemon: &Daemon, changes: usize) -> Result<Run, Trouble> {
    let (before, began) = (Usage::of(&daemon.pid().to_string())?, Instant::now());
    let seconds = loop {
        let text = daemon.client().metrics().await?;
        let of = |name: &str| value(&text, name);
        if of("plimsoll_store_changes_read_total") >= changes as f64 && of("plimsoll_store_backlog_items") == 0.0 {
            break began.elapsed().as_secs_f64();
        }
        if began.elapsed() > LIMIT {
            return Err(Trouble::new(format!("not done after {LIMIT:?}:\n{}", daemon.tail(15))));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = Usage::of(&daemon.pid().to_string())?;
    let text = daemon.client().metrics().await?;
    Ok(Run {
        changes: changes as u64,
        seconds,
        cpu: after.cpu - before.cpu,
        peak: after.peak,
        writes: value(&text, "plimsoll_store_changes_applied_total") as u64,
        wrong: None,
    })
}

/// The value of the one series of that name.
fn value(exposition: &str, name: &str) -> f64 {
    let line = exposition.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit_once(' ')).and_then(|(_, value)| value.parse().ok()).unwrap_or(f64::NAN)
}
