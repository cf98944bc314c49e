//! The harness around a daemon, with shell scripts in the daemon's place.

use super::*;
use crate::clients::Endpoint;

fn script(folder: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("plimsoll");
    // Written under another name first: a program that is open for writing cannot be run (another thread may fork now).
    let draft = folder.join("draft");
    std::fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(draft, &path).unwrap();
    path
}

fn home(folder: &Path) -> Home {
    let endpoint = Endpoint::new("http://127.0.0.1:1", "us-east-1");
    Home::prepare(&folder.join("home"), &ConfigSpec::new(&endpoint, &endpoint, vec![StoreSpec::table("orders")]))
        .unwrap()
}

#[tokio::test]
async fn a_daemon_that_ends_at_once_is_reported_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path());
    let mut daemon = Daemon::spawn(&script(folder.path(), "echo \"$1 $2: bad key\"; exit 78"), &home).unwrap();
    let why = daemon.wait_ready(Duration::from_secs(20)).await.unwrap_err().to_string();
    assert!(why.contains("exit status: 78") && why.contains("run -c: bad key"), "{why}");
    assert!(!daemon.is_alive());
}

#[tokio::test]
async fn a_daemon_that_ignores_sigterm_is_killed_after_the_grace() {
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path());
    let program = script(folder.path(), "trap '' TERM; echo up; while :; do sleep 1; done");
    let mut daemon = Daemon::spawn(&program, &home).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while daemon.tail(1) != "up" {
        assert!(Instant::now() < deadline, "the script does not start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(daemon.terminate(Duration::from_millis(200)).await.signal(), Some(9));
    assert!(daemon.client().status().await.unwrap_err().to_string().contains("/v1/status was not answered"));
}

#[tokio::test]
async fn the_cli_gets_the_url_and_the_token_and_gives_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path());
    let program = script(folder.path(), "echo \"$@\"; cat \"$7\"; echo refused >&2; exit 4");
    let args = ["promote", "--reason", "a test"];
    let (code, out, err) = cli(&program, &home, Role::Operator, &args, Duration::from_secs(20)).await.unwrap();
    assert_eq!((code, err.as_str()), (Some(4), "refused\n"));
    let file = home.token_file(Role::Operator);
    let expected = format!("promote --reason a test --url {} --token-file {}\n", home.url(), file.display());
    assert_eq!(out, format!("{expected}{}\n", home.token(Role::Operator)));
}

#[test]
fn a_status_is_read_by_store() {
    let status = Status::from(serde_json::json!({"stores": [
        {"id": "a", "state": "ok", "watermark": "2026-11-23T14:02:07.500Z"},
        {"id": "b", "state": "ok", "watermark": null},
    ]}));
    assert!(status.all("ok") && !status.all("unknown"));
    let expected = humantime::parse_rfc3339("2026-11-23T14:02:07.500Z").unwrap();
    assert_eq!((status.watermark("a"), status.watermark("b"), status.watermark("c")), (Some(expected), None, None));
    assert_eq!((status.state("b"), status.state("c")), ("ok", ""));
    assert!(!Status::from(serde_json::json!({"stores": []})).all("ok"), "no store is not all stores");
}
