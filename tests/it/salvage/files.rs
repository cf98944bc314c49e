//! The file of a list: whole or not there, never overwritten, checked before anything of it is applied.

use std::os::unix::fs::PermissionsExt as _;

use plimsoll_lab::children::run_to_end;
use plimsoll_lab::daemon::{Role, binary, cli_spec};
use serde_json::json;

use super::scene::Scene;
use crate::attack::fixture::{LONG, ORDERS};

async fn lost(seed: u64, keys: u64) -> Scene {
    let mut scene = Scene::start(seed).await;
    scene.cut();
    for n in 0..keys {
        scene.pair.put(&format!("k{n}"), 2);
    }
    scene.promote().await;
    scene.back();
    scene
}

#[tokio::test]
async fn an_export_is_private_whole_and_never_overwritten() {
    let scene = lost(61, 30).await;
    let listed = scene.good_list("lost.jsonl", &[]).await;
    let mode = std::fs::metadata(&listed.path).expect("there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "customer data: {mode:o}");
    assert_eq!(listed.lines.last().map(|line| line["salvage"].clone()), Some(json!("end")));
    assert_eq!(listed.lines.last().map(|line| line["keys"].clone()), Some(json!(30)));
    let before = std::fs::read(&listed.path).expect("there");
    let again = scene.list("lost.jsonl", &[]).await;
    assert!(again.ran.code == Some(1) && again.ran.err.contains("exists"), "{again:?}");
    assert_eq!(std::fs::read(&listed.path).expect("there"), before);
    let nowhere = scene.list("no/such/folder/lost.jsonl", &[]).await;
    assert!(nowhere.ran.code == Some(1) && nowhere.ran.err.contains("could not be kept"), "{nowhere:?}");
}

/// Without room for the list nothing looks like one.
#[tokio::test]
async fn a_full_disk_leaves_no_list() {
    let scene = lost(62, 400).await;
    let path = scene.pair.folder().join("full.jsonl");
    let file = path.to_string_lossy().into_owned();
    let mut spec = cli_spec(&binary().expect("built"), &scene.pair.home, Role::Operator, &["salvage", "--out", &file])
        .expect("a command");
    // No file may be longer than some kilobytes, and whoever writes more is told so and not killed.
    let program = spec.program.clone();
    let mut args = vec!["-c".into(), "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"".into(), program.into_os_string()];
    args.append(&mut spec.args);
    (spec.program, spec.args) = ("/bin/sh".into(), args);
    let (status, out, err) = run_to_end(&spec, LONG).await.expect("it ends");
    assert_eq!(status.code(), Some(1), "{out} {err}");
    assert!(err.contains("could not be kept"), "{err}");
    let left: Vec<_> = std::fs::read_dir(scene.pair.folder()).expect("there").filter_map(Result::ok).collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains("full")), "{left:?}");
    // And the daemon is ready for the next one.
    assert_eq!(scene.good_list("lost.jsonl", &[]).await.keys().len(), 400);
}

/// Whatever is wrong with a file, nothing of it is applied.
#[tokio::test]
async fn garbage_is_refused_before_the_first_write() {
    let scene = lost(63, 40).await;
    let listed = scene.good_list("lost.jsonl", &[]).await;
    let text = std::fs::read_to_string(&listed.path).expect("there");
    let lines: Vec<&str> = text.lines().collect();
    let folder = scene.pair.folder();
    let mut torn = text.clone();
    torn.truncate(text.len() * 2 / 3);
    torn.truncate(torn.trim_end().len() - 5);
    let no_primary = lines[1].replacen("\"primary\":", "\"primery\":", 1);
    for (name, content) in [
        ("empty", String::new()),
        ("noise", "\u{0}\u{1}\u{2}garbage".repeat(100)),
        ("json", "{\"a\": 1}\n".to_owned()),
        ("headless", lines[1..].join("\n")),
        ("torn", torn),
        ("broken", format!("{}\n{}\n{{\"salvage\":\"key\"}}\n", lines[0], lines[1])),
        ("nameless", format!("{}\n{no_primary}\n", lines[0])),
        ("newer", text.replacen("\"format\":1", "\"format\":2", 1)),
        ("two", format!("{text}{}", text.replacen("\"export\":\"", "\"export\":\"x", 1))),
        ("long", format!("{}\n{}\n", lines[0], "x".repeat(9 << 20))),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, content).expect("writable");
        let applied = scene.apply(&path, &["--all-without-conflict"]).await;
        assert_eq!(applied.code, Some(1), "{name}: {applied:?}");
        assert!(applied.err.contains("error:") && applied.err.contains(name), "{name}: {}", applied.err);
    }
    let missing = scene.apply(&folder.join("nothing"), &["--all-without-conflict"]).await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    let unnamed = scene.apply(&listed.path, &[]).await;
    assert!(unnamed.code == Some(1) && unnamed.err.contains("nothing was named"), "{unnamed:?}");
    let unknown = scene.apply(&listed.path, &["--keys", "00112233445566778899"]).await;
    assert!(unknown.code == Some(1) && unknown.err.contains("has no key"), "{unknown:?}");
    let dry = scene.apply(&listed.path, &["--all-without-conflict", "--dry-run"]).await;
    assert!(dry.code == Some(0) && dry.out.contains("40 keys would be applied"), "{dry:?}");
    assert_eq!(scene.pair.y.item_count(ORDERS), 0, "nothing of it was applied");
    // A filtered file is the list.
    let chosen = folder.join("chosen.jsonl");
    std::fs::write(&chosen, lines[..6].join("\n")).expect("writable");
    let applied = scene.apply(&chosen, &["--all-without-conflict"]).await;
    assert!(applied.code == Some(0) && applied.out.contains("5 applied"), "{applied:?}");
    assert_eq!(scene.pair.y.item_count(ORDERS), 5);
}
