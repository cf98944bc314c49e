//! Two scripted regions with a bucket each, and a queue in prodY that is told what happens in prodX's.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use plimsoll_lab::clients::Endpoint;
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, StoreSpec, binary};
use plimsoll_lab::scripted::s3::{Compare, EventRoute, NewObject, Versioning};
use plimsoll_lab::scripted::sqs::QueueSettings;
use plimsoll_lab::scripted::{Options, ScriptedAws};
use plimsoll_lab::trouble::{Because, Trouble};

use crate::pair::LIMIT;
use crate::usage::Usage;

/// The bucket in prodX.
pub(super) const SOURCE: &str = "bench-x";
/// The bucket in prodY.
pub(super) const STANDBY: &str = "bench-y";
/// The queue in prodY.
const QUEUE: &str = "bench-events";
/// Proofs by an empty queue come once a second, and at once: what is measured is the work and not the pause before it.
pub(super) const EAGER: &str = "delivery = \"1s\"\npoll_wait = \"1s\"\nsettle = \"0s\"\nlist_rate = 1000";

/// prodX and prodY. With one server both buckets are there: for tools that know one endpoint only.
pub(super) struct Scene {
    pub(super) x: Arc<ScriptedAws>,
    pub(super) y: Arc<ScriptedAws>,
    queue: String,
}

/// What differs in the standby.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wrong {
    /// Missing, there without need, or with other bytes.
    pub(super) bytes: usize,
    /// With the same bytes, and other headers, metadata or tags.
    pub(super) about: usize,
}

impl Scene {
    pub(super) fn start(servers: usize) -> Result<Self, Trouble> {
        let start = |region: &str| {
            let options = Options { region: region.to_owned(), ..Options::default() };
            ScriptedAws::start(options).map(Arc::new).because("could not start a scripted server")
        };
        let x = start("us-east-1")?;
        let y = if servers > 1 { start("us-west-2")? } else { Arc::clone(&x) };
        x.s3().create(SOURCE, Versioning::On);
        y.s3().create(STANDBY, Versioning::On);
        let queue = y.sqs().create(QUEUE, QueueSettings::default());
        if servers > 1 {
            x.s3().send_events(SOURCE, &y, EventRoute::to(QUEUE));
            y.s3().see(&x);
        }
        Ok(Self { x, y, queue })
    }

    pub(super) fn source(&self) -> Endpoint {
        Endpoint::new(self.x.endpoint(), "us-east-1")
    }

    pub(super) fn target(&self) -> Endpoint {
        let region = if Arc::ptr_eq(&self.x, &self.y) { "us-east-1" } else { "us-west-2" };
        Endpoint::new(self.y.endpoint(), region)
    }

    /// Puts objects of this size into prodX, no two the same.
    pub(super) fn fill(&self, count: usize, bytes: u64) {
        for number in 0..count {
            self.x.s3().put(SOURCE, &format!("o/{number:07}"), object(number, bytes));
        }
    }

    /// Puts one of 4 KiB.
    pub(super) fn put(&self, number: usize) {
        self.x.s3().put(SOURCE, &format!("o/{number:07}"), object(number, 4 << 10));
    }

    /// Starts the daemon; it is on its way to the first look at both ends.
    pub(super) async fn daemon(&self, folder: &Path, transfer: &str, more: &str) -> Result<Daemon, Trouble> {
        let store = StoreSpec::bucket("objects", SOURCE, STANDBY, &self.queue).with_transfer(transfer).with_more(more);
        let home = Home::prepare(folder, &ConfigSpec::new(&self.source(), &self.target(), vec![store.with_rpo("1h")]))?;
        let mut daemon = Daemon::spawn(&binary()?, &home)?;
        daemon.wait_ready(LIMIT).await?;
        Ok(daemon)
    }

    pub(super) fn wrong(&self) -> Wrong {
        let found = self.x.s3().compare(SOURCE, &self.y, STANDBY, Compare::default());
        let mut wrong = Wrong::default();
        for difference in &found.differences {
            match (&difference.ours, &difference.theirs) {
                (Some(ours), Some(theirs)) if ours.body == theirs.body => wrong.about += 1,
                _ => wrong.bytes += 1,
            }
        }
        wrong
    }

    /// Calls that both have answered so far: of S3, and of the queue.
    pub(super) fn calls(&self) -> (u64, u64) {
        let mut calls: Vec<_> = self.x.all_calls().into_iter().collect();
        if !Arc::ptr_eq(&self.x, &self.y) {
            calls.extend(self.y.all_calls());
        }
        let of = |queue: bool| {
            let is = |op: &str| op.contains("Message") || op.contains("Queue");
            calls.iter().filter(|(op, _)| is(op) == queue).map(|(_, n)| n).sum()
        };
        (of(false), of(true))
    }

    /// Waits until the standby has so many objects; when the last of them was committed.
    pub(super) async fn until(&self, count: usize, daemon: &Daemon) -> Result<SystemTime, Trouble> {
        let began = Instant::now();
        while self.y.s3().count(STANDBY) < count {
            if began.elapsed() > LIMIT {
                return Err(Trouble::new(format!("not copied after {LIMIT:?}:\n{}", daemon.tail(15))));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let last = self.y.s3().history(STANDBY).last().map(|change| change.at);
        last.ok_or_else(|| Trouble::new("the standby has no history"))
    }
}

/// What a process has used since `before`.
pub(super) fn used(daemon: &Daemon, before: Usage) -> Result<(f64, f64), Trouble> {
    let after = Usage::of(&daemon.pid().to_string())?;
    Ok((after.cpu - before.cpu, after.peak))
}

fn object(number: usize, bytes: u64) -> NewObject {
    if bytes > 64 << 10 {
        return NewObject::declared(bytes, number as u64);
    }
    let block = (number as u64).to_le_bytes();
    NewObject::bytes(block.iter().copied().cycle().take(bytes as usize).collect::<Vec<u8>>())
}
