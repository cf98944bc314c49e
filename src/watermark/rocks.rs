//! The index in RocksDB, and the only file that imports it.
//!
//! Invariants
//! - Every write is one batch over all keyspaces, with the log and a sync, made by [`super::writer`] alone (RK-1, RK-3).
//! - Recovery takes the longest consistent prefix of the log: a torn tail loses the tail and nothing else (RK-4).
//! - What was durable before this process started is published without a proof (RK-6).
//! - An index is used by one process, for one app and one pair of regions.
//!
//! Deliberately absent: repair. The index is disposable (RK-5), and a repaired one would be believed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    Direction, ErrorKind, IteratorMode, LogLevel, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::directory::{Directory, Found, sentence};
use super::keys::{KEYSPACES, Prefix, meta};
use super::records::{BadRecord, Identity, Layout, Manifest, Record, Running, StoreRecord};
use super::writer::{Settings, Storage, Writer};
use super::{CommitError, Fence, Index, IndexError, Mark, Row, Txn, Watermarks};
use crate::seams::SharedClock;
use crate::supervise::Tasks;

#[cfg(test)]
use rocksdb::statistics::{StatsLevel, Ticker};

pub use super::writer::OnCommit;

/// The layout of the keys that this program reads and writes.
const LAYOUT: u32 = 1;

/// One keyspace's write buffer. The rows are few and rewritten often; there are fourteen keyspaces and most are idle.
const WRITE_BUFFER: usize = 1 << 20;
/// All write buffers together.
const WRITE_BUFFERS: usize = 8 << 20;
/// Cached blocks of all keyspaces.
const CACHE: usize = 4 << 20;
/// The log is cut when it is this long, so that a keyspace that is seldom written does not keep it for ever and a start
/// stays short.
const LOG_BYTES: u64 = 16 << 20;

/// What is needed to open the index.
pub struct Open {
    /// The directory; made if there is none.
    pub path: PathBuf,
    /// Whose index it must be, or becomes.
    pub identity: Identity,
    /// Where the writer's thread belongs.
    pub tasks: Tasks,
    /// For the start's time and the duration of commits.
    pub clock: SharedClock,
    /// Called after each synced write with the time it took.
    pub on_commit: Option<OnCommit>,
}

/// The index in RocksDB. The writer ends, and leaves the sign of a clean stop, when this is dropped or closed; a drop waits
/// for it, 5 s at most.
pub struct RocksIndex {
    writer: Writer,
    place: Arc<Place>,
    clean: bool,
}

/// The database and where it is. Absent while it is opened anew and after it was closed.
struct Place {
    directory: Directory,
    shown: String,
    db: RwLock<Option<DB>>,
}

/// Opens the index, or makes one.
///
/// # Errors
/// [`IndexError::InUse`], [`IndexError::Foreign`], [`IndexError::Layout`], [`IndexError::Damaged`] and
/// [`IndexError::Record`] (a value of a newer program) say that this directory must not be used as it is;
/// [`IndexError::Io`] that the machine does not let us. None of them has changed what is durable.
pub fn open(options: Open) -> Result<Arc<RocksIndex>, IndexError> {
    let Open { path, identity, tasks, clock, on_commit } = options;
    let (directory, found) = Directory::prepare(&path)?;
    let shown = path.display().to_string();
    let before = directory.manifest();
    let db = open_db(&path, found == Found::Nothing).map_err(|e| refused(&shown, found, &e))?;
    let reading = |e| unreadable(&shown, e);
    let running = Running { since: clock.now().wall };
    let clean = match found {
        Found::Nothing => {
            create(&db, &identity).map_err(|e| IndexError::Io { path: shown.clone(), what: words(&e) })?;
            true
        }
        Found::Index => {
            belongs(&db, &shown, &identity)?;
            whole(&db, &directory, &shown, before)?;
            get_row(&db, &Row::Meta(meta::RUNNING)).map_err(reading)?.is_none()
        }
    };
    let marks = load(&db, &shown)?;
    mark_running(&db, &running).map_err(|e| IndexError::Io { path: shown.clone(), what: words(&e) })?;
    let place = Arc::new(Place { directory, shown: shown.clone(), db: RwLock::new(Some(db)) });
    let storage = Disk { place: place.clone(), running, noted: None };
    let settings = Settings { path: shown.clone(), tasks, clock, on_commit };
    let writer = Writer::start(storage, marks, settings)
        .map_err(|e| IndexError::Io { path: shown, what: format!("the writer's thread did not start: {e}") })?;
    Ok(Arc::new(RocksIndex { writer, place, clean }))
}

impl RocksIndex {
    /// Did the process before this one stop cleanly? True for a new index.
    pub fn was_clean(&self) -> bool {
        self.clean
    }

    /// Writes what is queued, leaves the sign of a clean stop, and lets go of the directory. Later commits are answered
    /// [`CommitError::Closed`]; the snapshot stays.
    pub async fn close(&self) {
        self.writer.close(true).await;
    }

    /// The same without the sign: something that this process sent may still take effect, and the next one must wait for
    /// it as after a crash.
    pub async fn close_unclean(&self) {
        self.writer.close(false).await;
    }
}

#[async_trait]
impl Index for RocksIndex {
    async fn commit(&self, txn: Txn) -> Result<(), CommitError> {
        self.writer.commit(txn).await
    }

    fn snapshot(&self) -> Arc<Watermarks> {
        self.writer.snapshot()
    }

    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, IndexError> {
        self.place.read(|db| get_row(db, row))
    }

    fn scan(&self, prefix: &Prefix) -> Result<Vec<(Row, Vec<u8>)>, IndexError> {
        let found = self.place.read(|db| scan_rows(db, prefix))?;
        rows(prefix.keyspace, found).map_err(|what| IndexError::Damaged { path: self.place.shown.clone(), what })
    }

    fn range(&self, prefix: &Prefix, after: Option<&Row>, most: usize) -> Result<Vec<(Row, Vec<u8>)>, IndexError> {
        let found = self.place.read(|db| range_rows(db, prefix, after.map(Row::bytes), most))?;
        rows(prefix.keyspace, found).map_err(|what| IndexError::Damaged { path: self.place.shown.clone(), what })
    }

    fn health(&self) -> Result<(), String> {
        self.writer.health()
    }
}

impl Place {
    fn read<T>(&self, read: impl FnOnce(&DB) -> Result<T, rocksdb::Error>) -> Result<T, IndexError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = db.as_ref() else {
            return Err(IndexError::Io { path: self.shown.clone(), what: "it is not open now".into() });
        };
        read(db).map_err(|e| unreadable(&self.shown, e))
    }
}

/// The writer's side of the database.
struct Disk {
    place: Arc<Place>,
    running: Running,
    /// The manifest as the database holds a note of it.
    noted: Option<Manifest>,
}

impl Disk {
    /// The manifest, synced, if it has changed since it was last noted: after the database has moved rows from the log
    /// into tables.
    fn changed_manifest(&self) -> Option<Manifest> {
        let (name, file) = self.place.directory.manifest()?;
        let now = Manifest { name, length: file.metadata().ok()?.len() };
        // What is not synced may be shorter after a power cut, and nobody could then say that this is damage.
        (self.noted.as_ref() != Some(&now)).then(|| file.sync_all()).transpose().ok()??;
        Some(now)
    }
}

impl Storage for Disk {
    fn write(&mut self, group: &[Txn]) -> Result<(), String> {
        let manifest = self.changed_manifest();
        let db = self.place.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or("it is not open now")?;
        let mut batch = WriteBatch::default();
        for txn in group {
            for prefix in &txn.clears {
                clear(db, &mut batch, prefix);
            }
            for (row, value) in txn.writes() {
                stage(db, &mut batch, &row, value.as_deref());
            }
        }
        if let Some(manifest) = &manifest {
            note(db, &mut batch, manifest);
        }
        db.write_opt(batch, &synced()).map_err(|e| words(&e))?;
        self.noted = manifest.or(self.noted.take());
        Ok(())
    }

    fn intact(&self) -> Result<(), String> {
        self.place.directory.intact()
    }

    fn reopen(&mut self) -> Result<Watermarks, String> {
        // The old one still answers reads: it is given up only when the storage takes data again.
        self.place.directory.probe()?;
        let mut slot = self.place.db.write().unwrap_or_else(PoisonError::into_inner);
        *slot = None;
        let shown = &self.place.shown;
        let db =
            open_db(self.place.directory.path(), false).map_err(|e| refused(shown, Found::Index, &e).to_string())?;
        let marks = load(&db, shown).map_err(|e| e.to_string())?;
        mark_running(&db, &self.running).map_err(|e| words(&e))?;
        *slot = Some(db);
        Ok(marks)
    }

    fn close(&mut self, clean: bool) -> Result<(), String> {
        let manifest = self.changed_manifest();
        let db = self.place.db.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(db) = db.filter(|_| clean) else { return Ok(()) };
        let mut batch = WriteBatch::default();
        if let Some(manifest) = &manifest {
            note(&db, &mut batch, manifest);
        }
        stage(&db, &mut batch, &Row::Meta(meta::RUNNING), None);
        db.write_opt(batch, &synced()).map_err(|e| words(&e))
    }
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn stage(db: &DB, batch: &mut WriteBatch, row: &Row, value: Option<&[u8]>) {
    let keyspace = db.cf_handle(row.keyspace()).expect("every keyspace is created when the index is opened");
    match value {
        Some(value) => batch.put_cf(keyspace, row.bytes(), value),
        None => batch.delete_cf(keyspace, row.bytes()),
    }
}

fn clear(db: &DB, batch: &mut WriteBatch, prefix: &Prefix) {
    let keyspace = db.cf_handle(prefix.keyspace).expect("every keyspace is created when the index is opened");
    if let Some(end) = prefix.end() {
        batch.delete_range_cf(keyspace, prefix.bytes.as_slice(), end.as_slice());
    }
}

fn get_row(db: &DB, row: &Row) -> Result<Option<Vec<u8>>, rocksdb::Error> {
    let keyspace = db.cf_handle(row.keyspace()).expect("every keyspace is created when the index is opened");
    db.get_cf(keyspace, row.bytes())
}

/// Keys and values as the database has them.
type Raw = Vec<(Box<[u8]>, Box<[u8]>)>;

fn scan_rows(db: &DB, prefix: &Prefix) -> Result<Raw, rocksdb::Error> {
    range_rows(db, prefix, None, usize::MAX)
}

fn range_rows(db: &DB, prefix: &Prefix, after: Option<Vec<u8>>, most: usize) -> Result<Raw, rocksdb::Error> {
    let keyspace = db.cf_handle(prefix.keyspace).expect("every keyspace is created when the index is opened");
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    let from = after.as_deref().unwrap_or(&prefix.bytes);
    db.iterator_cf_opt(keyspace, options, IteratorMode::From(from, Direction::Forward))
        .take_while(|item| item.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix.bytes)))
        .filter(|item| item.as_ref().map_or(true, |(key, _)| after.as_deref() != Some(&key[..])))
        .take(most)
        .collect()
}

fn rows(keyspace: &str, raw: Raw) -> Result<Vec<(Row, Vec<u8>)>, String> {
    let row = |(key, value): (Box<[u8]>, Box<[u8]>)| match Row::parse(keyspace, &key) {
        Some(row) => Ok((row, value.into_vec())),
        None => Err(format!("keyspace {keyspace} holds the key {key:02x?}, which is none of its own")),
    };
    raw.into_iter().map(row).collect()
}

/// Makes a new database an index. Flushed out of the log, so that no torn log can leave an index without a name.
fn create(db: &DB, identity: &Identity) -> Result<(), rocksdb::Error> {
    let mut batch = WriteBatch::default();
    let (layout, whose) = (Row::Meta(meta::LAYOUT), Row::Meta(meta::IDENTITY));
    stage(db, &mut batch, &layout, Some(&Layout { number: LAYOUT }.encode(&layout)));
    stage(db, &mut batch, &whose, Some(&identity.encode(&whose)));
    db.write_opt(batch, &synced())?;
    db.flush_cf(db.cf_handle("meta").expect("every keyspace is created when the index is opened"))
}

fn mark_running(db: &DB, running: &Running) -> Result<(), rocksdb::Error> {
    let mut batch = WriteBatch::default();
    let row = Row::Meta(meta::RUNNING);
    stage(db, &mut batch, &row, Some(&running.encode(&row)));
    db.write_opt(batch, &synced())
}

fn note(db: &DB, batch: &mut WriteBatch, manifest: &Manifest) {
    let row = Row::Meta(meta::MANIFEST);
    stage(db, batch, &row, Some(&manifest.encode(&row)));
}

/// Was the manifest that the database was opened from, `before`, as long as it had ever been?
fn whole(db: &DB, place: &Directory, shown: &str, before: Option<(String, File)>) -> Result<(), IndexError> {
    let row = Row::Meta(meta::MANIFEST);
    let Some(bytes) = get_row(db, &row).map_err(|e| unreadable(shown, e))? else { return Ok(()) };
    let noted = Manifest::decode(&row, &bytes).map_err(|bad| untrusted(shown, bad))?;
    let Some((name, file)) = before.filter(|(name, _)| *name == noted.name) else { return Ok(()) };
    let refuse = |e: io::Error| IndexError::Io { path: shown.to_owned(), what: sentence(&e) };
    // Looked at now, with the lock: a process that was just closing may have added to it since we opened the file.
    let length = file.metadata().map_err(refuse)?.len();
    if length >= noted.length {
        return Ok(());
    }
    let what = format!("{name} has {length} bytes of {}: tables may be missing", noted.length);
    place.condemn(&what).map_err(refuse)?;
    Err(IndexError::Damaged { path: shown.to_owned(), what })
}

/// Is this an index that we can read, and ours?
fn belongs(db: &DB, shown: &str, wanted: &Identity) -> Result<(), IndexError> {
    let (layout, whose) = (Row::Meta(meta::LAYOUT), Row::Meta(meta::IDENTITY));
    let needed = |row: &Row| {
        let what = format!("it has no row {row:?}");
        let value = get_row(db, row).map_err(|e| unreadable(shown, e))?;
        value.ok_or(IndexError::Damaged { path: shown.to_owned(), what })
    };
    let found = Layout::decode(&layout, &needed(&layout)?).map_err(|bad| untrusted(shown, bad))?.number;
    if found != LAYOUT {
        return Err(IndexError::Layout { path: shown.to_owned(), found, known: LAYOUT });
    }
    let found = Identity::decode(&whose, &needed(&whose)?).map_err(|bad| untrusted(shown, bad))?;
    let name = |who: &Identity| format!("app {} ({} to {})", who.app, who.primary, who.standby);
    match found == *wanted {
        true => Ok(()),
        false => Err(IndexError::Foreign { path: shown.to_owned(), found: name(&found), wanted: name(wanted) }),
    }
}

/// What is durable, without proofs.
fn load(db: &DB, shown: &str) -> Result<Watermarks, IndexError> {
    let damaged = |what| IndexError::Damaged { path: shown.to_owned(), what };
    let mut marks = Watermarks::default();
    let prefix = Prefix::stores();
    let raw = scan_rows(db, &prefix).map_err(|e| unreadable(shown, e))?;
    for (row, value) in rows(prefix.keyspace, raw).map_err(damaged)? {
        let record = StoreRecord::decode(&row, &value).map_err(|bad| untrusted(shown, bad))?;
        if let Row::Store(store) = row {
            marks.stores.insert(store, Mark { record, proved: None });
        }
    }
    let row = Row::Meta(meta::FENCE);
    if let Some(value) = get_row(db, &row).map_err(|e| unreadable(shown, e))? {
        marks.fence = Some(Fence::decode(&row, &value).map_err(|bad| untrusted(shown, bad))?);
    }
    Ok(marks)
}

fn database_options(create: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS);
    options.set_max_total_wal_size(LOG_BYTES);
    options.set_max_manifest_file_size(1 << 20);
    options.set_max_open_files(128);
    options.set_max_background_jobs(2);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(1 << 20);
    options.set_keep_log_file_num(4);
    options
}

/// Opens the database. Keyspaces are created only with the index: an existing one that lacks some has lost its manifest's
/// end, and must not come back empty.
fn open_db(path: &Path, create: bool) -> Result<DB, rocksdb::Error> {
    let options = database_options(create);
    let cache = Cache::new_lru_cache(CACHE);
    let open = |names: Vec<String>| {
        let keyspaces = names.into_iter().map(|name| ColumnFamilyDescriptor::new(name, keyspace_options(&cache)));
        DB::open_cf_descriptors(&options, path, keyspaces)
    };
    let known = || KEYSPACES.iter().map(|name| (*name).to_owned()).chain(["default".to_owned()]);
    match open(known().collect()) {
        // A newer program has added keyspaces; they are left alone. Listed only now, because only an open takes the lock.
        Err(e) if e.kind() == ErrorKind::InvalidArgument && e.as_ref().contains("Column families not opened") => {
            let there = DB::list_cf(&options, path)?;
            let new: Vec<String> = there.into_iter().filter(|name| !known().any(|k| k == *name)).collect();
            open(known().chain(new).collect())
        }
        other => other,
    }
}

fn keyspace_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    // A sweep asks for many keys, and some are not there.
    blocks.set_bloom_filter(10.0, false);
    // In parts: the filter of a million keys is 1.2 MB, more than a shard of the cache, and would be read and checked as a
    // whole for every key.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(4096);
    blocks.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_max_write_buffer_number(2);
    options
}

/// The database's words, with what to do where that is known.
fn words(e: &rocksdb::Error) -> String {
    let what = e.as_ref();
    let full = ["No space left on device", "Disk quota exceeded", "File too large"];
    match full.iter().any(|full| what.contains(full)) {
        true => format!("{what}; make room, Plimsoll goes on by itself"),
        false => what.to_owned(),
    }
}

/// Why the database did not open.
fn refused(shown: &str, found: Found, e: &rocksdb::Error) -> IndexError {
    let what = e.as_ref();
    let path = shown.to_owned();
    let locked = what.contains("lock hold by current process")
        || (what.contains("lock file") && what.contains("temporarily unavailable"));
    let missing = found == Found::Index && what.contains("No such file or directory");
    match e.kind() {
        _ if locked => IndexError::InUse { path },
        ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotFound => {
            IndexError::Damaged { path, what: what.to_owned() }
        }
        _ if missing => IndexError::Damaged { path, what: what.to_owned() },
        _ => IndexError::Io { path, what: words(e) },
    }
}

/// Why a read failed.
fn unreadable(shown: &str, e: rocksdb::Error) -> IndexError {
    let path = shown.to_owned();
    match e.kind() {
        ErrorKind::Corruption => IndexError::Damaged { path, what: e.into_string() },
        _ => IndexError::Io { path, what: words(&e) },
    }
}

/// A value that does not decode is damage, unless a newer program wrote it.
fn untrusted(shown: &str, bad: BadRecord) -> IndexError {
    match bad {
        BadRecord::Newer { .. } => IndexError::Record(bad),
        _ => IndexError::Damaged { path: shown.to_owned(), what: bad.to_string() },
    }
}

#[cfg(test)]
mod tests;
