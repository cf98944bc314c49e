//! Two equal buckets are compared: the first look of a new store at a standby that is full already, then a comparison with
//! nothing to do, beside the tools that do nothing on such a pair.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll_lab::daemon::{Daemon, Status};
use plimsoll_lab::scripted::ScriptedAws;
use plimsoll_lab::trouble::{Because, Trouble};
use serde_json::{Value, json};

use super::peers::{Peer, Way};
use super::scene::{self, EAGER, Scene};
use crate::report::median;
use crate::usage::Usage;

/// Bytes of an object.
const BYTES: u64 = 100;
/// A million keys take their time.
const LONG: Duration = Duration::from_secs(1_800);

struct Row {
    name: String,
    seconds: Vec<f64>,
    cpu: Vec<f64>,
    peak: f64,
    lists: u64,
    others: u64,
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), seconds: Vec::new(), cpu: Vec::new(), peak: 0.0, lists: 0, others: 0 }
    }

    fn add(&mut self, seconds: f64, cpu: f64, peak: f64, calls: (u64, u64)) {
        self.seconds.push(seconds);
        self.cpu.push(cpu);
        self.peak = self.peak.max(peak);
        (self.lists, self.others) = calls;
    }
}

/// Every contender once a round.
pub(super) async fn shown(rounds: usize, keys: usize) -> Result<String, Trouble> {
    let mut rows = vec![Row::new("plimsoll, first look"), Row::new("plimsoll, nothing to do")];
    let peers = Peer::all(false);
    rows.extend(peers.iter().map(|peer| Row::new(&format!("{} sync", peer.name()))));
    for _ in 0..rounds.max(1) {
        let [first, second, ..] = rows.as_mut_slice() else { return Err(Trouble::new("there are two rows")) };
        daemon_run(keys, first, second).await?;
        for (peer, row) in peers.iter().zip(rows.iter_mut().skip(2)) {
            peer_run(*peer, keys, row).await?;
        }
    }
    let mut text = format!(
        "\nTwo equal buckets of {keys} objects\n{:<30} {:>9} {:>9} {:>15} {:>7} {:>7} {:>9}\n",
        "", "seconds", "keys/s", "CPU s/1,000,000", "RSS MB", "LISTs", "others"
    );
    for row in rows {
        let (seconds, cpu) = (median(row.seconds), median(row.cpu));
        text += &format!(
            "{:<30} {seconds:>9.2} {:>9.0} {:>15.2} {:>7.0} {:>7} {:>9}\n",
            row.name,
            keys as f64 / seconds,
            cpu * 1e6 / keys as f64,
            row.peak,
            row.lists,
            row.others
        );
    }
    Ok(text)
}

fn filled(keys: usize, servers: usize) -> Result<Scene, Trouble> {
    let scene = Scene::start(servers)?;
    scene.x.s3().load(scene::SOURCE, "o/", keys, BYTES);
    // Times are told in whole seconds, and a source that is newer than the standby is copied by some.
    std::thread::sleep(Duration::from_millis(1_100));
    scene.y.s3().load(scene::STANDBY, "o/", keys, BYTES);
    Ok(scene)
}

/// LIST calls, and other calls of S3.
fn calls(scene: &Scene) -> (u64, u64) {
    let of = |server: &ScriptedAws| server.calls("ListObjectsV2") + server.calls("ListObjects");
    let lists = of(&scene.x) + if Arc::ptr_eq(&scene.x, &scene.y) { 0 } else { of(&scene.y) };
    (lists, scene.calls().0 - lists)
}

fn verified(status: &Status) -> &Value {
    &status.value["stores"][0]["verified"]
}

async fn daemon_run(keys: usize, first: &mut Row, second: &mut Row) -> Result<(), Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let scene = filled(keys, 2)?;
    let before = calls(&scene);
    let mut daemon = scene.daemon(folder.path(), "server-side", EAGER).await?;
    let (usage, began) = (Usage::of(&daemon.pid().to_string())?, Instant::now());
    let status = daemon.wait_status(LONG, |status| !verified(status).is_null()).await?;
    take(first, &scene, &daemon, began, usage, before)?;

    let (last, before) = (verified(&status).clone(), calls(&scene));
    let (usage, began) = (Usage::of(&daemon.pid().to_string())?, Instant::now());
    let asked = daemon.client().post("/v1/stores/objects/verify", json!({}).to_string(), &[]).await?;
    if asked.0 != 202 {
        return Err(Trouble::new(format!("no comparison: {asked:?}")));
    }
    daemon.wait_status(LONG, |status| *verified(status) != last && !verified(status).is_null()).await?;
    take(second, &scene, &daemon, began, usage, before)?;
    daemon.terminate(Duration::from_secs(10)).await;
    Ok(())
}

fn take(
    row: &mut Row,
    scene: &Scene,
    daemon: &Daemon,
    began: Instant,
    before: Usage,
    calls_before: (u64, u64),
) -> Result<(), Trouble> {
    let seconds = began.elapsed().as_secs_f64();
    let ((cpu, peak), now) = (scene::used(daemon, before)?, calls(scene));
    row.add(seconds, cpu, peak, (now.0 - calls_before.0, now.1 - calls_before.1));
    Ok(())
}

async fn peer_run(peer: Peer, keys: usize, row: &mut Row) -> Result<(), Trouble> {
    let folder = tempfile::tempdir().because("could not make a folder")?;
    let scene = filled(keys, if peer.two_ends() { 2 } else { 1 })?;
    let ends = (scene.source(), scene.target());
    let way = Way { ends, buckets: (scene::SOURCE, scene::STANDBY), stream: false, scripted: true };
    let before = calls(&scene);
    let run = peer.sync(&way, folder.path()).await?;
    let now = calls(&scene);
    row.add(run.seconds, run.cpu, run.peak, (now.0 - before.0, now.1 - before.1));
    Ok(())
}
