//! A copy of a whole table: the daemon's seed, its re-seed of a full standby with a sweep, and beside them a bare parallel
//! Scan with BatchWriteItem that keeps nothing and checks nothing.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use plimsoll_lab::clients::{self, Endpoint};
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, StoreSpec, binary};
use plimsoll_lab::scripted::numbered_item;
use plimsoll_lab::trouble::{Because, Trouble};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bare::{self, Writer};
use crate::pair::{EAGER, LIMIT, Pair, TABLE};
use crate::report::{Run, median};
use crate::usage::Usage;

/// The first argument of this program when it is to be the bare copy.
pub(crate) const BARE: &str = "--bare-copy";
/// Segments of a scan and batches in flight: the daemon's defaults.
const AT_ONCE: usize = 8;

/// Every contender once a round.
pub(crate) async fn shown(rounds: usize, items: u64, bytes: usize) -> Result<String, Trouble> {
    let mut runs: [Vec<Run>; 3] = Default::default();
    for _ in 0..rounds.max(1) {
        runs[0].push(bare_run(items, bytes).await?);
        let (seed, reseed) = daemon_runs(items, bytes).await?;
        runs[1].push(seed);
        runs[2].push(reseed);
    }
    let mut text = format!(
        "\nA copy of {items} items of {bytes} bytes, in-memory servers, {AT_ONCE} segments\n{:<34} {:>9} {:>7} {:>6} {:>12} {:>7} {:>6}\n",
        "", "items/s", "MB/s", "share", "CPU s/1,000", "RSS MB", "wrong"
    );
    let rate = |runs: &[Run]| median(runs.iter().map(|run| run.changes as f64 / run.seconds).collect());
    let limit = rate(&runs[0]);
    for (name, runs) in
        ["bare Scan + BatchWriteItem", "plimsoll, seed", "plimsoll, re-seed with sweep"].iter().zip(&runs)
    {
        let cpu = median(runs.iter().map(|run| run.cpu * 1000.0 / run.changes as f64).collect());
        let peak = runs.iter().map(|run| run.peak).fold(0.0, f64::max);
        let wrong = runs.iter().filter_map(|run| run.wrong).max().unwrap_or_default();
        let per_second = rate(runs);
        text += &format!(
            "{name:<34} {per_second:>9.0} {:>7.1} {:>6.2} {cpu:>12.4} {peak:>7.0} {wrong:>6}\n",
            per_second * bytes as f64 / 1e6,
            per_second / limit
        );
    }
    Ok(text)
}

fn filled(items: u64, bytes: usize) -> Result<Pair, Trouble> {
    let pair = Pair::start()?;
    pair.create(TABLE, 1);
    pair.x.keep_log(TABLE, false);
    pair.y.keep_log(TABLE, false);
    pair.x.load(TABLE, (0..items).map(|number| numbered_item(number, 1, bytes)));
    Ok(pair)
}

fn wrong(pair: &Pair) -> usize {
    let found = pair.x.compare(TABLE, &pair.y, TABLE, 0);
    found.missing + found.extra + found.different
}

async fn bare_run(items: u64, bytes: usize) -> Result<Run, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let pair = filled(items, bytes)?;
    let (source, target) = (pair.source(), pair.target());
    let args = [BARE, &source.url, &source.region, &target.url, &target.region, TABLE];
    let run = bare::apart(&args, items, folder.path()).await?;
    Ok(Run { wrong: Some(wrong(&pair)), ..run })
}

/// The seed of an empty standby, then a re-seed of the full one.
async fn daemon_runs(items: u64, bytes: usize) -> Result<(Run, Run), Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let pair = filled(items, bytes)?;
    let mut store = StoreSpec::table(TABLE);
    store.more = format!("{EAGER}\nseed_read_units = 1000000");
    let home = Home::prepare(folder.path(), &ConfigSpec::new(&pair.source(), &pair.target(), vec![store]))?;
    let mut daemon = Daemon::spawn(&binary()?, &home)?;
    let deadline = Instant::now() + LIMIT;
    while pair.x.calls("Scan") == 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let seed = measured(&pair, &daemon, items, || pair.y.item_count(TABLE) as u64 == items).await?;
    daemon.wait_status(LIMIT, |status| status.all("ok")).await?;

    // A hundred items that prodX does not have end the sweep: when they are gone, everything was copied and looked at.
    pair.y.load(TABLE, (items..items + 100).map(|number| numbered_item(number, 1, bytes)));
    let asked = daemon.client().post(&format!("/v1/stores/{TABLE}/reseed"), String::new(), &[]).await?;
    if asked.0 != 202 {
        return Err(Trouble::new(format!("no re-seed: {asked:?}")));
    }
    let reseed = measured(&pair, &daemon, items, || pair.y.item_count(TABLE) as u64 == items).await?;
    daemon.terminate(Duration::from_secs(10)).await;
    Ok((seed, reseed))
}

async fn measured(pair: &Pair, daemon: &Daemon, items: u64, done: impl Fn() -> bool) -> Result<Run, Trouble> {
    let (before, began, writes) = (Usage::of(&daemon.pid().to_string())?, Instant::now(), pair.y.items_put());
    while !done() {
        if began.elapsed() > LIMIT {
            return Err(Trouble::new(format!("not copied after {LIMIT:?}:\n{}", daemon.tail(15))));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (seconds, after) = (began.elapsed().as_secs_f64(), Usage::of(&daemon.pid().to_string())?);
    let (cpu, peak) = (after.cpu - before.cpu, after.peak);
    Ok(Run { changes: items, seconds, cpu, peak, writes: pair.y.items_put() - writes, wrong: Some(wrong(pair)) })
}

/// A comparison of the whole of two equal tables: how fast, and what crosses between the regions for it.
pub(crate) async fn compared(rounds: usize, items: u64, bytes: usize) -> Result<String, Trouble> {
    let mut text = format!(
        "\nA comparison of {items} items of {bytes} bytes, in-memory servers, {AT_ONCE} segments\n{:<34} {:>9} {:>12} {:>7} {:>14} {:>14}\n",
        "", "items/s", "CPU s/1,000", "RSS MB", "from prodX, B", "from prodY, B"
    );
    for (name, more) in [("plimsoll, whole items", ""), ("plimsoll, one attribute", "verify_attributes = [\"v\"]")] {
        let mut runs = Vec::new();
        for _ in 0..rounds.max(1) {
            runs.push(verification(items, bytes, more).await?);
        }
        let of = |value: fn(&Verification) -> f64| median(runs.iter().map(value).collect());
        text += &format!(
            "{name:<34} {:>9.0} {:>12.4} {:>7.0} {:>14.1} {:>14.1}\n",
            items as f64 / of(|run| run.seconds),
            of(|run| run.cpu) * 1000.0 / items as f64,
            of(|run| run.peak),
            of(|run| run.from_x) / items as f64,
            of(|run| run.from_y) / items as f64
        );
    }
    Ok(text)
}

struct Verification {
    seconds: f64,
    cpu: f64,
    peak: f64,
    from_x: f64,
    from_y: f64,
}

async fn verification(items: u64, bytes: usize, more: &str) -> Result<Verification, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let pair = filled(items, bytes)?;
    pair.y.load(TABLE, (0..items).map(|number| numbered_item(number, 1, bytes)));
    let mut store = StoreSpec::table(TABLE);
    store.more = format!("{EAGER}\nseed_read_units = 1000000\nverify_every = \"0s\"\nverify_share = 100\n{more}");
    let home = Home::prepare(folder.path(), &ConfigSpec::new(&pair.source(), &pair.target(), vec![store]))?;
    let mut daemon = Daemon::spawn(&binary()?, &home)?;
    daemon.wait_ready(LIMIT).await?;
    daemon.wait_status(LIMIT, |status| status.all("ok")).await?;
    let (before, began, x, y) =
        (Usage::of(&daemon.pid().to_string())?, Instant::now(), pair.x.traffic().1, pair.y.traffic().1);
    let asked = daemon.client().post(&format!("/v1/stores/{TABLE}/verify"), json!({}).to_string(), &[]).await?;
    if asked.0 != 202 {
        return Err(Trouble::new(format!("no verification: {asked:?}")));
    }
    let status = daemon.wait_status(LIMIT, |status| !status.value["stores"][0]["verified"].is_null()).await?;
    let (seconds, after) = (began.elapsed().as_secs_f64(), Usage::of(&daemon.pid().to_string())?);
    let (from_x, from_y) = ((pair.x.traffic().1 - x) as f64, (pair.y.traffic().1 - y) as f64);
    if status.value["stores"][0]["verified"]["divergent"] != 0 {
        return Err(Trouble::new(format!("equal tables differ: {status}")));
    }
    daemon.terminate(Duration::from_secs(10)).await;
    Ok(Verification { seconds, cpu: after.cpu - before.cpu, peak: after.peak, from_x, from_y })
}

/// Is the bare copy, with the arguments that [`bare_run`] gave; prints what it measured as JSON.
pub(crate) async fn be(args: &[String]) -> Result<Value, Trouble> {
    let [source, source_region, target, target_region, table] = args else {
        return Err(Trouble::new("a bare copy needs five arguments"));
    };
    let client = clients::dynamodb_once(&Endpoint::new(source, source_region));
    client.describe_table().table_name(table).send().await.because("could not describe the table")?;
    let writer = Writer::new(&Endpoint::new(target, target_region), table, AT_ONCE).await?;
    let (before, began) = (Usage::of("self")?, Instant::now());
    let mut segments = JoinSet::new();
    for at in 0..AT_ONCE {
        segments.spawn(segment(client.clone(), writer.clone(), table.clone(), at));
    }
    let mut writes = 0;
    while let Some(ended) = segments.join_next().await {
        writes += ended.because("a segment panicked")??;
    }
    let (seconds, after) = (began.elapsed().as_secs_f64(), Usage::of("self")?);
    Ok(json!({"seconds": seconds, "cpu": after.cpu - before.cpu, "peak": after.peak, "writes": writes}))
}

async fn segment(client: aws_sdk_dynamodb::Client, writer: Writer, table: String, at: usize) -> Result<u64, Trouble> {
    let (mut from, mut writes, mut under_way) = (None, 0, JoinSet::new());
    loop {
        let request = client.scan().table_name(&table).consistent_read(true).set_exclusive_start_key(from.take());
        let page = request.segment(at as i32).total_segments(AT_ONCE as i32).send().await.because("could not read")?;
        let mut requests = page.items.unwrap_or_default().into_iter().map(|item| {
            let put = PutRequest::builder().set_item(Some(item)).build().because("could not make a request")?;
            Ok(WriteRequest::builder().put_request(put).build())
        });
        loop {
            let batch = requests.by_ref().take(25).collect::<Result<Vec<_>, Trouble>>()?;
            if batch.is_empty() {
                break;
            }
            writes += batch.len() as u64;
            writer.send(batch, &mut under_way).await?;
        }
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            bare::finish(&mut under_way).await?;
            return Ok(writes);
        }
    }
}
