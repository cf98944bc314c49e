//! The same between two buckets of one emulated region: a server that is not ours, and that all contenders can speak with.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use plimsoll_lab::clients::{self, Endpoint};
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, StoreSpec, binary};
use plimsoll_lab::objects::contents;
use plimsoll_lab::regions::{Region, RegionSpec};
use plimsoll_lab::trouble::{Because, Trouble};

use super::bare;
use super::copies::{Run, Shape, table};
use super::peers::{Peer, Way};
use super::scene::{self, EAGER, SOURCE, STANDBY, Wrong};
use crate::pair::LIMIT;
use crate::usage::Usage;

/// Every contender once a round, each with an emulator of its own.
pub(super) async fn shown(rounds: usize, count: usize, bytes: u64) -> Result<String, Trouble> {
    let shape = Shape { count, bytes, stream: false };
    let peers = Peer::all(false);
    let mut rows = vec![("bare loop".to_owned(), Vec::new()), ("plimsoll, seed".to_owned(), Vec::new())];
    rows.extend(peers.iter().map(|peer| (peer.name(), Vec::new())));
    for _ in 0..rounds.max(1) {
        for (at, (_, runs)) in rows.iter_mut().enumerate() {
            runs.push(run(shape, at, at.checked_sub(2).and_then(|at| peers.get(at)).copied()).await?);
        }
    }
    let title = format!("{count} objects of {} KiB, server-side, one emulated region (ministack)", bytes >> 10);
    Ok(table(&title, shape, &rows))
}

async fn run(shape: Shape, at: usize, peer: Option<Peer>) -> Result<Run, Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let region = Region::start(RegionSpec::primary(folder.path())).await?;
    // The tools know one region; the daemon wants two.
    let other = Endpoint::new(&region.endpoint().url, if at == 1 { "us-west-2" } else { "us-east-1" });
    let (client, theirs) = (clients::s3(region.endpoint()), clients::s3(&other));
    for (client, bucket, at) in [(&client, SOURCE, region.endpoint()), (&theirs, STANDBY, &other)] {
        let place = BucketLocationConstraint::from(at.region.as_str());
        let place = CreateBucketConfiguration::builder().location_constraint(place).build();
        // The oldest region is said by saying none.
        let place = (at.region != "us-east-1").then_some(place);
        let made = client.create_bucket().bucket(bucket).set_create_bucket_configuration(place).send().await;
        made.because(format!("could not make {bucket}"))?;
    }
    for number in 0..shape.count {
        let block = (number as u64).to_le_bytes();
        let body: Vec<u8> = block.iter().copied().cycle().take(shape.bytes as usize).collect();
        let put = client.put_object().bucket(SOURCE).key(format!("o/{number:07}")).body(body.into());
        put.send().await.because("could not fill the source")?;
    }
    let ends = (region.endpoint().clone(), region.endpoint().clone());
    let run = match (at, peer) {
        (_, Some(peer)) => {
            let way = Way { ends, buckets: (SOURCE, STANDBY), stream: false, scripted: false };
            peer.copy(&way, folder.path()).await?
        }
        (0, None) => bare::run(&ends, (SOURCE, STANDBY), shape, false, folder.path()).await?,
        _ => daemon_run(shape, &region, folder.path()).await?,
    };
    let wrong = wrong(&client, &theirs).await?;
    region.stop().await;
    Ok(Run { wrong, ..run })
}

/// Bytes, headers, metadata and tags are one digest here.
async fn wrong(source: &Client, standby: &Client) -> Result<Wrong, Trouble> {
    let (ours, theirs) = (contents(source, SOURCE).await?, contents(standby, STANDBY).await?);
    let missing = ours.iter().filter(|(key, form)| theirs.get(*key) != Some(*form)).count();
    let extra = theirs.keys().filter(|key| !ours.contains_key(*key)).count();
    Ok(Wrong { bytes: missing + extra, about: 0 })
}

/// From the start of the process until it has told that all objects are copied: asking the emulator costs it time.
async fn daemon_run(shape: Shape, region: &Region, folder: &std::path::Path) -> Result<Run, Trouble> {
    let x = region.endpoint().clone();
    let y = Endpoint::new(&x.url, "us-west-2");
    let queue = clients::sqs(&y).create_queue().queue_name("bench-events").send().await;
    let queue = queue.because("could not make a queue")?.queue_url.unwrap_or_default();
    let store = StoreSpec::bucket("objects", SOURCE, STANDBY, &queue).with_transfer("server-side").with_more(EAGER);
    let home = Home::prepare(&folder.join("home"), &ConfigSpec::new(&x, &y, vec![store.with_rpo("1h")]))?;
    let (mut daemon, began) = (Daemon::spawn(&binary()?, &home)?, Instant::now());
    daemon.wait_ready(LIMIT).await?;
    let before = Usage::of(&daemon.pid().to_string())?;
    while applied(&daemon.client().metrics().await?) < shape.count as f64 {
        if began.elapsed() > LIMIT {
            return Err(Trouble::new(format!("not copied after {LIMIT:?}:\n{}", daemon.tail(15))));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (cpu, peak) = scene::used(&daemon, before)?;
    daemon.terminate(Duration::from_secs(10)).await;
    Ok(Run { seconds, cpu, peak, ..Run::default() })
}

fn applied(metrics: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with("plimsoll_store_changes_applied_total"));
    line.and_then(|line| line.rsplit_once(' ')).and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
}
