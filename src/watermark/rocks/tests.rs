//! What can only be tried from inside: values and keyspaces that this program would never write.

use super::*;
use crate::change::StoreId;
use crate::seams::SystemClock;

fn identity() -> Identity {
    Identity { app: "shop".into(), primary: "us-east-1".into(), standby: "us-west-2".into() }
}

fn try_open(path: &Path) -> Result<Arc<RocksIndex>, IndexError> {
    let (path, tasks) = (path.to_owned(), Tasks::new());
    open(Open { path, identity: identity(), tasks, clock: SystemClock::shared(), on_commit: None })
}

/// An index into which `value` was written under `row` by somebody else.
async fn with(path: &Path, row: &Row, value: Option<&[u8]>) -> Result<Arc<RocksIndex>, IndexError> {
    try_open(path).unwrap().close().await;
    {
        let db = open_db(path, false).unwrap();
        let mut batch = WriteBatch::default();
        stage(&db, &mut batch, row, value);
        db.write_opt(batch, &synced()).unwrap();
    }
    try_open(path)
}

fn said(result: Result<Arc<RocksIndex>, IndexError>) -> IndexError {
    match result {
        Ok(_) => panic!("it opened"),
        Err(e) => e,
    }
}

#[tokio::test]
async fn a_value_with_a_wrong_checksum_is_damage() {
    let orders = Row::Store(StoreId::new("orders").unwrap());
    for row in [orders, Row::Meta(meta::FENCE), Row::Meta(meta::LAYOUT), Row::Meta(meta::IDENTITY)] {
        let root = tempfile::tempdir().unwrap();
        let mut value = StoreRecord::default().encode(&row);
        value[5] ^= 1;
        let error = said(with(&root.path().join("index"), &row, Some(&value)).await);
        assert!(matches!(error, IndexError::Damaged { .. }), "{row:?}: {error:?}");
        assert!(error.to_string().contains("the checksum does not match"), "{error}");
    }
}

#[tokio::test]
async fn a_newer_program_is_named_not_blamed() {
    let root = tempfile::tempdir().unwrap();
    let row = Row::Meta(meta::LAYOUT);
    let error = said(with(&root.path().join("index"), &row, Some(&Layout { number: 2 }.encode(&row))).await);
    assert!(matches!(error, IndexError::Layout { found: 2, known: 1, .. }), "{error:?}");
    assert!(!error.to_string().contains("damaged"), "{error}");
}

#[tokio::test]
async fn an_index_without_a_name_is_damage() {
    let root = tempfile::tempdir().unwrap();
    for meta in [meta::LAYOUT, meta::IDENTITY] {
        let error = said(with(&root.path().join(meta), &Row::Meta(meta), None).await);
        assert!(matches!(error, IndexError::Damaged { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn keyspaces_of_a_newer_program_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("index");
    try_open(&path).unwrap().close().await;
    {
        let mut db = open_db(&path, false).unwrap();
        db.create_cf("later", &Options::default()).unwrap();
        db.put_cf(db.cf_handle("later").unwrap(), "k", "v").unwrap();
    }
    let index = try_open(&path).unwrap();
    index.commit(Txn { puts: vec![(Row::Audit { seq: 1 }, vec![1])], ..Txn::default() }).await.unwrap();
    let kept = index.place.read(|db| db.get_cf(db.cf_handle("later").unwrap(), "k")).unwrap();
    assert_eq!(kept.as_deref(), Some(b"v".as_slice()));
}

#[tokio::test]
async fn an_interrupted_creation_is_taken_up() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("index");
    std::fs::create_dir(&path).unwrap();
    // Killed between the database's creation and its first row.
    drop(open_db(&path, true).unwrap());
    let index = try_open(&path).unwrap();
    assert!(index.was_clean());
    index.close().await;
    try_open(&path).unwrap();
}

/// RK-2. A kill cannot show a missing sync, only a power cut can: so the database is asked for its count.
#[test]
fn every_write_is_synced() {
    let root = tempfile::tempdir().unwrap();
    let mut options = database_options(true);
    options.enable_statistics();
    options.set_statistics_level(StatsLevel::All);
    let cache = Cache::new_lru_cache(CACHE);
    let keyspaces = KEYSPACES.iter().map(|name| ColumnFamilyDescriptor::new(*name, keyspace_options(&cache)));
    let db = DB::open_cf_descriptors(&options, root.path().join("index"), keyspaces).unwrap();
    let before = options.get_ticker_count(Ticker::WalFileSynced);
    for seq in 0..5 {
        let mut batch = WriteBatch::default();
        stage(&db, &mut batch, &Row::Audit { seq }, Some(b"x"));
        db.write_opt(batch, &synced()).unwrap();
    }
    assert_eq!(options.get_ticker_count(Ticker::WalFileSynced) - before, 5);
}
