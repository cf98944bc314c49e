//! What can happen to an index directory: taken away, garbled, given to another, never ours.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::change::Lane;
use plimsoll::watermark::records::Identity;
use plimsoll::watermark::{CommitError, Index, IndexError, Row, Txn};

use super::{advance, becomes, identity, image, open_as, opened, refusal, room, store, through};

/// An index with data in tables and in the log, stopped.
async fn make(path: &Path) {
    let fill = async |from: i64| {
        let index = opened(path);
        for n in from..from + 50 {
            let lane = Row::Lane { store: store("orders"), epoch: 0, lane: Lane::tail(&format!("shard-{n}")) };
            index.commit(Txn { puts: vec![(lane, vec![7; 100])], ..advance("orders", n) }).await.unwrap();
        }
        index.close().await;
    };
    // A second start moves what the first one wrote from the log into tables.
    fill(0).await;
    fill(50).await;
}

fn files(dir: &Path, matches: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = paths.filter(|path| matches(path.file_name().unwrap().to_str().unwrap())).collect();
    assert!(!found.is_empty(), "nothing to damage");
    found
}

fn tables(name: &str) -> bool {
    name.ends_with(".sst")
}

fn manifest(name: &str) -> bool {
    name.starts_with("MANIFEST-")
}

fn current(name: &str) -> bool {
    name == "CURRENT"
}

fn flip(at: impl Fn(usize) -> usize) -> impl Fn(&Path) {
    move |path| {
        let mut bytes = fs::read(path).unwrap();
        let at = at(bytes.len());
        bytes[at..].iter_mut().take(8).for_each(|byte| *byte ^= 0x5a);
        fs::write(path, bytes).unwrap();
    }
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn delete(path: &Path) {
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_damaged_index_is_refused_with_what_and_what_to_do() {
    let root = room();
    let good = root.path().join("good");
    make(&good).await;
    type Injury = (&'static str, fn(&str) -> bool, Box<dyn Fn(&Path)>);
    let injuries: [Injury; 11] = [
        ("CURRENT garbled", current, Box::new(flip(|_| 0))),
        ("CURRENT emptied", current, Box::new(|path| fs::write(path, "").unwrap())),
        ("CURRENT deleted", current, Box::new(delete)),
        ("manifest garbled at its start", manifest, Box::new(flip(|_| 12))),
        ("manifest garbled in the middle", manifest, Box::new(flip(|len| len / 2))),
        ("manifest cut", manifest, Box::new(cut)),
        ("manifest deleted", manifest, Box::new(delete)),
        ("tables garbled in their data", tables, Box::new(flip(|_| 5))),
        ("tables garbled in their index", tables, Box::new(flip(|len| len - 20))),
        ("tables cut", tables, Box::new(cut)),
        ("tables deleted", tables, Box::new(delete)),
    ];
    for (n, (what, which, injure)) in injuries.into_iter().enumerate() {
        let path = root.path().join(format!("bad-{n}"));
        image(&good, &path);
        files(&path, which).iter().for_each(|file| injure(file));
        let error = refusal(&path);
        assert!(matches!(error, IndexError::Damaged { .. }), "{what}: {error:?}");
        let said = error.to_string();
        let shown = path.display().to_string();
        assert!(said.contains(&shown) && said.contains("move it away and start again"), "{what}: {said}");
    }
    assert_eq!(through(opened(&good).as_ref(), "orders"), Some(99));
}

#[tokio::test]
async fn an_index_of_another_app_is_refused_and_left_alone() {
    let root = room();
    let path = root.path().join("index");
    make(&path).await;
    for other in [
        Identity { app: "bank".into(), ..identity() },
        Identity { primary: "us-west-2".into(), standby: "us-east-1".into(), ..identity() },
    ] {
        let wanted = format!("app {} ({} to {})", other.app, other.primary, other.standby);
        let Err(error) = open_as(&path, other, None) else { panic!("opened") };
        assert!(matches!(error, IndexError::Foreign { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("app shop (us-east-1 to us-west-2)") && said.contains(&wanted), "{said}");
    }
    let index = opened(&path);
    assert!(index.was_clean(), "a refused open leaves no trace");
    assert_eq!(through(index.as_ref(), "orders"), Some(99));
}

#[tokio::test]
async fn what_is_no_index_is_not_touched() {
    let root = room();
    let said = |path: &Path| match refusal(path) {
        error @ IndexError::Io { .. } => error.to_string(),
        other => panic!("{other:?}"),
    };
    fs::write(root.path().join("file"), "mine").unwrap();
    assert!(said(&root.path().join("file")).contains("it is a file, not a directory"));
    assert!(said(&root.path().join("file/index")).contains("a part of the path is a file"));
    assert!(said(root.path()).contains("give the index a directory of its own"));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    // A file system that nobody can make a directory in.
    assert!(said(Path::new("/proc/plimsoll")).contains("/proc/plimsoll"));
}

#[tokio::test]
async fn a_directory_deleted_while_running_is_noticed_by_the_next_commit() {
    let root = room();
    let path = root.path().join("index");
    let index = opened(&path);
    index.commit(advance("orders", 1)).await.unwrap();
    fs::remove_dir_all(&path).unwrap();
    for attempt in 0..20 {
        let error = index.commit(advance("orders", 2)).await.unwrap_err();
        assert!(matches!(error, CommitError::Io { .. }), "attempt {attempt}: {error:?}");
        let said = error.to_string();
        assert!(said.contains("was deleted while running; restart Plimsoll"), "{said}");
    }
    assert!(index.health().unwrap_err().contains("was deleted while running"));
    assert_eq!(through(index.as_ref(), "orders"), Some(1), "nothing is published that is nowhere");
    assert!(!path.exists(), "and nothing is made in its place");
    index.close().await;
    assert_eq!(through(opened(&path).as_ref(), "orders"), None);
}

#[tokio::test]
async fn a_directory_deleted_while_idle_is_noticed_and_one_that_returns_is_used_again() {
    let root = room();
    let (path, aside) = (root.path().join("index"), root.path().join("aside"));
    let index = opened(&path);
    index.commit(advance("orders", 1)).await.unwrap();
    fs::rename(&path, &aside).unwrap();
    becomes(index.as_ref(), false).await;
    assert!(index.commit(advance("orders", 2)).await.is_err());
    fs::rename(&aside, &path).unwrap();
    becomes(index.as_ref(), true).await;
    index.commit(advance("orders", 3)).await.unwrap();
    assert!(index.snapshot().stores[&store("orders")].proved.is_some());
    index.close().await;
    assert_eq!(through(opened(&path).as_ref(), "orders"), Some(3));
}

#[tokio::test]
async fn an_open_index_is_not_opened_twice() {
    let root = room();
    let path = root.path().join("index");
    let first = opened(&path);
    let error = refusal(&path);
    assert!(matches!(error, IndexError::InUse { .. }), "{error:?}");
    first.commit(advance("orders", 1)).await.unwrap();
    first.close().await;
    first.close().await;
    opened(&path).commit(advance("orders", 2)).await.unwrap();
}
/// The database takes a manifest without its end for a torn write, and opens without the tables named there: the mark is
/// there and the lanes that it rests on are not. Once opened it has also forgotten that anything was wrong.
#[tokio::test]
async fn a_manifest_that_lost_its_end_is_damage_at_every_byte_and_stays_damage() {
    let root = room();
    let good = root.path().join("good");
    make(&good).await;
    let len = fs::metadata(&files(&good, manifest)[0]).unwrap().len();
    for cut in (0..len).step_by(41).chain([len - 1]) {
        let path = root.path().join(format!("cut-{cut}"));
        image(&good, &path);
        let file = fs::OpenOptions::new().write(true).open(&files(&path, manifest)[0]).unwrap();
        file.set_len(cut).unwrap();
        for time in ["first", "second"] {
            let error = refusal(&path);
            assert!(matches!(error, IndexError::Damaged { .. }), "cut at {cut} of {len}, {time} start: {error:?}");
        }
        fs::remove_dir_all(&path).unwrap();
    }
}
