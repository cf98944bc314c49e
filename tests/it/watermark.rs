//! The index under test: what both implementations promise, and what only the one on disk can be put through.

mod damage;
mod model;
mod processes;
mod rules;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plimsoll::change::{SourceTime, Stamp, StoreId};
use plimsoll::seams::SystemClock;
use plimsoll::supervise::Tasks;
use plimsoll::watermark::records::Identity;
use plimsoll::watermark::rocks::{OnCommit, Open, RocksIndex, open};
use plimsoll::watermark::{Index, IndexError, Mark, Seed, StoreRecord, Txn};

/// A place in memory where there is one: most of these tests are about logic, and a busy disk would only make them slow.
/// Those about kills and full disks use a real one.
fn room() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn identity() -> Identity {
    Identity { app: "shop".into(), primary: "us-east-1".into(), standby: "us-west-2".into() }
}

fn open_as(path: &Path, identity: Identity, on_commit: Option<OnCommit>) -> Result<Arc<RocksIndex>, IndexError> {
    open(Open { path: path.to_owned(), identity, tasks: Tasks::new(), clock: SystemClock::shared(), on_commit })
}

fn try_open(path: &Path) -> Result<Arc<RocksIndex>, IndexError> {
    open_as(path, identity(), None)
}

fn opened(path: &Path) -> Arc<RocksIndex> {
    try_open(path).unwrap_or_else(|e| panic!("{e}"))
}

fn refusal(path: &Path) -> IndexError {
    match try_open(path) {
        Ok(_) => panic!("the index at {} opened", path.display()),
        Err(e) => e,
    }
}

fn store(name: &str) -> StoreId {
    StoreId::new(name).unwrap()
}

/// A mark as a driver makes it: seeded, with a fresh proof.
fn mark(epoch: u64, through: i64) -> Mark {
    let record = StoreRecord {
        incarnation: Some("orders/2026".into()),
        epoch,
        seed: Seed::Done { at: SourceTime(1) },
        through: Some(SourceTime(through)),
        ..StoreRecord::default()
    };
    Mark { record, proved: Some(Stamp { wall: SourceTime(through), mono: Duration::from_secs(1) }) }
}

fn advance(name: &str, through: i64) -> Txn {
    Txn { marks: vec![(store(name), mark(0, through))], ..Txn::default() }
}

fn through(index: &dyn Index, name: &str) -> Option<i64> {
    Some(index.snapshot().stores.get(&store(name))?.record.through?.0)
}

/// What the disk would hold if the machine stopped now. The lock is left out: closing a copy of it would release ours.
fn image(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "LOCK" {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Waits until the index says that it is in order, or no longer.
async fn becomes(index: &dyn Index, healthy: bool) {
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while index.health().is_ok() != healthy {
        assert!(tokio::time::Instant::now() < until, "healthy={healthy} never came: {:?}", index.health());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
