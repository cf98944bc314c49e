//! Regions on real processes: start, loss, hang, and nothing left behind.

use super::*;
use crate::children::Process;
use crate::tables::{KeyKind, TableSpec};
use aws_sdk_dynamodb::types::AttributeValue;

fn is_running(pid: i32) -> bool {
    // A zombie is not running: it has been killed and waits for whoever inherited it.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

async fn wait_until_gone(pid: i32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(pid) {
        assert!(Instant::now() < deadline, "process {pid} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn two_regions_are_two_worlds_and_die_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut x = Region::start(RegionSpec::primary(folder.path())).await.unwrap();
    let y = Region::start(RegionSpec::standby(folder.path())).await.unwrap();
    let table = TableSpec::new("things", ("pk", KeyKind::Text));
    table.create(&x.dynamodb(), true).await.unwrap();
    table.create(&y.dynamodb(), false).await.unwrap();
    let put = |client: aws_sdk_dynamodb::Client| async move {
        client.put_item().table_name("things").item("pk", AttributeValue::S("a".into())).send().await
    };
    put(x.dynamodb()).await.unwrap();
    assert_eq!(table.contents(&x.dynamodb()).await.unwrap().len(), 1);
    assert!(table.contents(&y.dynamodb()).await.unwrap().is_empty());

    let pid = x.pid();
    x.kill();
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "killed and reaped when kill returns");
    assert!(put(clients::dynamodb_once(x.endpoint())).await.is_err());
    put(y.dynamodb()).await.unwrap();
    let pid = y.pid();
    drop(y);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "killed and reaped by drop");
}

#[tokio::test]
async fn a_frozen_region_hangs_and_goes_on_when_thawed() {
    let folder = tempfile::tempdir().unwrap();
    let mut x = Region::start(RegionSpec::primary(folder.path())).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = |limit: u64| http.get(x.health_url()).timeout(Duration::from_millis(limit)).send();
    assert_eq!(ask(5000).await.unwrap().status(), 200);
    x.freeze();
    assert!(ask(300).await.unwrap_err().is_timeout(), "a hang, not a refusal");
    x.thaw();
    assert_eq!(ask(5000).await.unwrap().status(), 200);
    x.freeze();
    x.kill();
    x.thaw();
}

#[tokio::test]
async fn a_program_that_dies_at_once_is_reported_with_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let spec = ProcessSpec {
        name: "prodX".into(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), "echo the port is taken; exit 3".into()],
        env: Vec::new(),
        stdout: folder.path().join("log"),
        stderr: None,
    };
    let mut process = Process::spawn(&spec).unwrap();
    let why = wait_until_healthy(&mut process, "http://127.0.0.1:9", "n").await.unwrap_err();
    assert!(why.to_string().contains("ended at once (exit status: 3)"), "{why}");
    assert_eq!(process.tail(1), "the port is taken");
}

/// Not a test of its own: the process that the next test kills. It starts a region with a grandchild beside it.
#[tokio::test]
async fn victim() {
    let Some(folder) = std::env::var_os("LAB_VICTIM_FOLDER").map(PathBuf::from) else { return };
    let region = Region::start(RegionSpec::primary(&folder)).await.unwrap();
    let family = Process::spawn(&ProcessSpec {
        name: "family".into(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), "sleep 1000 & echo $!; wait".into()],
        env: Vec::new(),
        stdout: folder.join("grandchild"),
        stderr: None,
    })
    .unwrap();
    let written = folder.join("pids.new");
    std::fs::write(&written, format!("{} {}", region.pid(), family.pid())).unwrap();
    std::fs::rename(written, folder.join("pids")).unwrap();
    region.freeze();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn sigkill_of_the_parent_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Process::spawn(&ProcessSpec {
        name: "victim".into(),
        program: std::env::current_exe().unwrap(),
        args: ["--exact", "regions::tests::victim", "--nocapture"].map(Into::into).into(),
        env: vec![("LAB_VICTIM_FOLDER".into(), folder.path().into())],
        stdout: folder.path().join("victim.log"),
        stderr: None,
    })
    .unwrap();
    let deadline = Instant::now() + Duration::from_secs(40);
    let pids = loop {
        let grandchild = std::fs::read_to_string(folder.path().join("grandchild")).unwrap_or_default();
        if let Ok(pids) = std::fs::read_to_string(folder.path().join("pids"))
            && grandchild.ends_with('\n')
        {
            break format!("{pids} {}", grandchild.trim());
        }
        assert!(Instant::now() < deadline && parent.is_alive(), "{}", parent.tail(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let pids: Vec<i32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3);
    // Only the parent: its children are in groups of their own, and must die by its death alone.
    parent.signal(nix::sys::signal::Signal::SIGKILL);
    for pid in pids {
        wait_until_gone(pid).await;
    }
}
