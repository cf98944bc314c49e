//! What needs a process of its own: to be killed, to lock another out, to have no disk left, to be nobody.
//!
//! A child is this test binary again, asked for the one test [`child`], with its part in the environment.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plimsoll::change::SourceTime;
use plimsoll::watermark::keys::Prefix;
use plimsoll::watermark::{CommitError, Index, IndexError, Row, Txn};

use super::{advance, becomes, opened, refusal, store, through, try_open};

const PART: &str = "PLIMSOLL_TEST_PART";
const PLACE: &str = "PLIMSOLL_TEST_PLACE";
/// How many stores the doomed child keeps at once.
const STORES: usize = 4;

/// Starts a child by way of `command`, which ends with the binary to run.
fn start(mut command: Command, part: &str, place: &Path) -> Child {
    command.args(["--exact", "watermark::processes::child", "--nocapture", "--test-threads=1"]);
    command.env(PART, part).env(PLACE, place);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().unwrap()
}

fn this_binary() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

/// The words of the child after its mark, one per line, until it ends.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let out = BufReader::new(child.stdout.take().unwrap());
    out.lines().map_while(Result::ok).filter_map(|line| Some(line.split_once("child: ")?.1.to_owned()))
}

/// Nothing by itself; the children's side of the tests below.
#[test]
fn child() {
    let Some(part) = std::env::var_os(PART) else { return };
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match part.to_str().unwrap() {
            "hold" => hold(&place),
            "doomed" => doomed(&place).await,
            "full" => full(&place).await,
            "nobody" => nobody(&place),
            other => panic!("no part {other}"),
        }
    });
}

fn hold(place: &Path) {
    let _index = opened(place);
    println!("child: open");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test]
async fn a_second_process_is_told_that_the_index_is_in_use() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("index");
    let mut holder = start(this_binary(), "hold", &path);
    let mut said = lines(&mut holder);
    assert_eq!(said.next().as_deref(), Some("open"));
    let error = refusal(&path);
    assert!(matches!(error, IndexError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(holder.stdin.take());
    assert_eq!(said.next(), None);
    assert!(holder.wait().unwrap().success());
    assert!(opened(&path).was_clean(), "dropping the last handle is a clean stop, and is waited for");
}

/// Advances a few stores at once for ever; each number is said once its commit was acknowledged.
async fn doomed(place: &Path) {
    let index = opened(place);
    let tasks: Vec<_> = (0..STORES)
        .map(|n| {
            let index = index.clone();
            let name = format!("s-{n}");
            tokio::spawn(async move {
                for seq in index.scan(&Prefix::journal(&name)).unwrap().len() as u64.. {
                    let entry = Row::Saga { promotion: name.clone(), seq };
                    // Large enough that tables are written and the log is cut meanwhile.
                    let puts = vec![(entry, vec![0; 4_000])];
                    index.commit(Txn { puts, ..advance(&name, seq as i64) }).await.unwrap();
                    println!("child: {n} {seq}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// RK-1, RK-2: killed at any moment, everything acknowledged is there, and no transaction is there by half.
#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("index");
    let mut acknowledged = [None::<i64>; STORES];
    for round in 0..6 {
        let mut process = start(this_binary(), "doomed", &path);
        for (heard, line) in lines(&mut process).enumerate() {
            let (n, seq) = line.split_once(' ').unwrap();
            acknowledged[n.parse::<usize>().unwrap()] = Some(seq.parse().unwrap());
            // Odd numbers, so that a kill falls on different moments of a group; what it said before is read to the end.
            if heard == 37 + 101 * round {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        let index = opened(&path);
        assert!(!index.was_clean());
        for (n, acknowledged) in acknowledged.iter().enumerate() {
            let name = format!("s-{n}");
            let w = through(index.as_ref(), &name);
            assert!(w >= *acknowledged, "round {round}: {name} said {acknowledged:?} and has {w:?}");
            let entries = index.scan(&Prefix::journal(&name)).unwrap().len() as i64;
            assert_eq!(entries, w.map_or(0, |w| w + 1), "round {round}: a transaction of {name} is there by half");
        }
        index.close().await;
    }
    assert!(acknowledged.iter().all(|seq| *seq > Some(100)), "{acknowledged:?}");
}

/// Sets how long a file of this process may become, bytes; 0 is a full disk, and needs no privilege.
fn limit_files(to: &str) {
    let me = format!("--pid={}", std::process::id());
    let done = Command::new("prlimit").args([&me, &format!("--fsize={to}:unlimited")]).status();
    assert!(done.expect("prlimit is part of util-linux").success());
}

async fn full(place: &Path) {
    let index = opened(&place.join("index"));
    index.commit(advance("orders", 1)).await.unwrap();
    limit_files("0");
    for attempt in 0..5 {
        let error = index.commit(advance("orders", 2)).await.unwrap_err();
        assert!(matches!(error, CommitError::Io { .. }), "attempt {attempt}: {error:?}");
        assert!(error.to_string().contains("make room"), "attempt {attempt}: {error}");
        assert_eq!(through(index.as_ref(), "orders"), Some(1));
        // Long enough for attempts to heal between the commits.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(index.health().unwrap_err().contains("make room"));
    assert!(index.get(&Row::Store(store("orders"))).unwrap().is_some(), "reads go on");
    let Err(error) = try_open(&place.join("new")) else { panic!("opened on a full disk") };
    assert!(matches!(error, IndexError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("make room"), "{error}");

    limit_files("unlimited");
    becomes(index.as_ref(), true).await;
    let proved = index.snapshot().stores[&store("orders")].proved;
    assert_eq!(proved.unwrap().wall, SourceTime(1), "the proof was ours and still is");
    index.commit(advance("orders", 3)).await.unwrap();
    index.close().await;
    let again = opened(&place.join("index"));
    assert!(again.was_clean());
    assert_eq!(through(again.as_ref(), "orders"), Some(3));
    opened(&place.join("new")).commit(advance("orders", 1)).await.unwrap();
    println!("child: survived");
}

#[test]
fn a_full_disk_fails_commits_publishes_nothing_and_heals() {
    let root = tempfile::tempdir().unwrap();
    // The signal that goes with the limit would kill; ignored before `exec`, it stays ignored.
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(std::env::current_exe().unwrap());
    let mut process = start(shell, "full", root.path());
    assert_eq!(lines(&mut process).collect::<Vec<_>>(), ["survived"]);
    assert!(process.wait().unwrap().success());
}

fn nobody(place: &Path) {
    let error = refusal(place);
    assert!(matches!(error, IndexError::Io { .. }), "{error:?}");
    println!("child: {error}");
}

#[tokio::test]
async fn a_directory_of_another_user_is_refused_in_words() {
    let root = tempfile::tempdir().unwrap();
    let mut path = root.path().join("index");
    opened(&path).close().await;
    let mut command = Command::new("/proc/self/exe");
    if std::fs::metadata(root.path()).unwrap().uid() == 0 {
        command.uid(65_534).gid(65_534);
    } else {
        // We are nobody in particular ourselves: ask for a place that is root's.
        path = PathBuf::from("/usr/plimsoll-index");
    }
    let mut process = start(command, "nobody", &path);
    let said: Vec<_> = lines(&mut process).collect();
    assert!(process.wait().unwrap().success());
    assert!(said.len() == 1 && said[0].contains("must belong to the user that runs Plimsoll"), "{said:?}");
}
