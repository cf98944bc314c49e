//! What the daemon does when nothing is behind: how late a change is under a steady load, and what idling costs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use plimsoll_lab::daemon::StoreSpec;
use plimsoll_lab::trouble::{Because, Trouble};

use crate::pair::Pair;
use crate::report::percentile;
use crate::usage::Usage;
use crate::work;

/// Changes a second for each table.
const RATE: u64 = 200;
/// How long is measured.
const FOR: Duration = Duration::from_secs(20);
/// Before lateness counts: a table that was idle is first read after its longest pause.
const WARM_UP: Duration = Duration::from_secs(3);
/// Before an idle daemon is measured: its pauses between reads have grown to the longest.
const SETTLE: Duration = Duration::from_secs(4);

/// From the commit of a change in the source to the arrival of it, or of a newer image of its key, in the standby.
pub(crate) async fn latency() -> Result<String, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let pair = Pair::start()?;
    let tables = [("default", "poll_min 250ms (default)", ""), ("quick", "poll_min 20ms", "poll_min = \"20ms\"")];
    let mut stores = Vec::new();
    for (table, _, more) in tables {
        pair.create(table, 1);
        let mut store = StoreSpec::table(table);
        store.more = more.to_owned();
        stores.push(store);
    }
    let mut daemon = pair.daemon(folder.path(), stores).await?;
    let before = Usage::of(&daemon.pid().to_string())?;
    let (early, count) = (RATE * WARM_UP.as_secs(), RATE * (WARM_UP + FOR).as_secs());
    let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE as u32);
    for number in 0..count {
        tick.tick().await;
        let key = (number * 7919 % 2_000) as usize;
        for (table, ..) in tables {
            pair.x.put(table, work::item(key, number)).because("could not write to the source")?;
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = Usage::of(&daemon.pid().to_string())?;
    daemon.terminate(Duration::from_secs(10)).await;

    let mut text = format!(
        "\nReplication latency, ms, commit in the source to durable in the standby; {RATE} changes/s a table for {FOR:?}\n\
         {:<34} {:>8} {:>8} {:>8} {:>9}\n",
        "", "p50", "p99", "max", "changes"
    );
    for (table, name, _) in tables {
        let late = lateness(&pair, table, early)?;
        text += &format!(
            "{name:<34} {:>8.1} {:>8.1} {:>8.1} {:>9}\n",
            percentile(&late, 0.5),
            percentile(&late, 0.99),
            percentile(&late, 1.0),
            late.len()
        );
    }
    let cpu = after.cpu - before.cpu;
    text += &format!("CPU of the daemon for both: {:.4} s per 1,000 changes\n", cpu * 1000.0 / (2 * count) as f64);
    Ok(text)
}

/// The lateness of every change of a table from number `early` on, ms, sorted.
fn lateness(pair: &Pair, table: &str, early: u64) -> Result<Vec<f64>, Trouble> {
    let mut arrived: HashMap<_, Vec<_>> = HashMap::new();
    for change in pair.y.arrivals(table) {
        if let Some(number) = change.new.as_deref().and_then(work::number) {
            arrived.entry((*change.key).clone()).or_default().push((number, change.commit));
        }
    }
    let mut late = Vec::new();
    for change in pair.x.history(table) {
        let number = change.new.as_deref().and_then(work::number).unwrap_or_default();
        if number < early {
            continue;
        }
        let of_key = arrived.get(&*change.key).map(Vec::as_slice).unwrap_or_default();
        let first = of_key.iter().filter(|(n, _)| *n >= number).map(|(_, at)| *at).min();
        let at = first.ok_or_else(|| Trouble::new(format!("change {number} of {table} never arrived")))?;
        late.push(at.duration_since(change.commit).unwrap_or_default().as_secs_f64() * 1000.0);
    }
    late.sort_by(f64::total_cmp);
    Ok(late)
}

/// Daemons with idle tables, all at the same time; `shapes` are (tables, shards of each).
pub(crate) async fn idle(shapes: &[(usize, usize)]) -> Result<String, Trouble> {
    let mut running = Vec::new();
    for (tables, shards) in shapes {
        let folder = tempfile::tempdir().because("could not make a folder")?;
        let pair = Pair::start()?;
        let names: Vec<String> = (0..*tables).map(|n| format!("table-{n}")).collect();
        names.iter().for_each(|name| pair.create(name, *shards));
        let stores = names.iter().map(|name| StoreSpec::table(name)).collect();
        let daemon = pair.daemon(folder.path(), stores).await?;
        running.push((folder, pair, daemon));
    }
    tokio::time::sleep(SETTLE).await;
    let look = || {
        let each = |(_, pair, daemon): &(_, Pair, plimsoll_lab::daemon::Daemon)| {
            Ok((Usage::of(&daemon.pid().to_string())?, pair.calls()))
        };
        running.iter().map(each).collect::<Result<Vec<_>, Trouble>>()
    };
    let (before, began) = (look()?, Instant::now());
    tokio::time::sleep(FOR).await;
    let (after, seconds) = (look()?, began.elapsed().as_secs_f64());
    let mut text = format!(
        "\nIdle, default rhythm, for {FOR:?}\n{:<34} {:>12} {:>8} {:>9}\n",
        "", "% of a core", "RSS MB", "calls/s"
    );
    for (((tables, shards), (start, calls)), (end, more)) in shapes.iter().zip(before).zip(after) {
        let name = format!("{tables} tables of {shards} shard{}", if *shards == 1 { "" } else { "s" });
        let (cpu, rate) = ((end.cpu - start.cpu) / seconds * 100.0, (more - calls) as f64 / seconds);
        text += &format!("{name:<34} {cpu:>12.2} {:>8.0} {rate:>9.1}\n", end.rss);
    }
    for (_, _, daemon) in &mut running {
        daemon.terminate(Duration::from_secs(10)).await;
    }
    Ok(text)
}
