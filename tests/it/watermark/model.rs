//! Both implementations against a plain model: random transactions, restarts and crashes at random points.
//!
//! The model knows the rules in its own words. After a crash the index must be a state that the model went through: all
//! of the acknowledged transactions, or with a torn log the first so many of them; never half of one.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use plimsoll::change::{Key, Lane, SourceTime};
use plimsoll::watermark::keys::Prefix;
use plimsoll::watermark::memory::{MemoryIndex, Tail};
use plimsoll::watermark::rocks::RocksIndex;
use plimsoll::watermark::{CommitError, Fence, Index, Record, Retraction, Row, StoreRecord, Txn};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{image, mark, opened, room, store};

const STORES: [&str; 3] = ["orders", "order", "users"];

#[derive(Debug, Clone)]
enum Op {
    /// These at once.
    Commit(Vec<Txn>),
    Restart,
    /// The process dies after the last answer.
    Crash,
    /// The process dies over these; the log's end is lost from somewhere on.
    Torn(Vec<Txn>, u64),
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    rows: BTreeMap<Row, Vec<u8>>,
    marks: BTreeMap<&'static str, (u64, i64)>,
    fence: Option<Fence>,
}

impl Model {
    /// `None` if the transaction is to be refused.
    fn after(&self, txn: &Txn) -> Option<Model> {
        let mut next = self.clone();
        for (id, mark) in &txn.marks {
            let name = *STORES.iter().find(|name| **name == id.as_str()).unwrap();
            let new = (mark.record.epoch, mark.record.through.unwrap().0);
            let free = txn.retract.as_ref().is_some_and(|r| r.store == *id);
            let old = self.marks.get(name).copied().unwrap_or((0, i64::MIN));
            if self.fence.is_some() || new.0 < old.0 || (new.0 == old.0 && new.1 < old.1 && !free) {
                return None;
            }
            next.marks.insert(name, new);
        }
        for (row, value) in &txn.puts {
            next.rows.insert(row.clone(), value.clone());
        }
        for row in &txn.deletes {
            next.rows.remove(row);
        }
        if let Some(fence) = &txn.fence {
            if self.fence.as_ref().is_some_and(|old| old != fence) {
                return None;
            }
            next.fence = Some(fence.clone());
        }
        Some(next)
    }

    /// What an index holds, by every way of reading it.
    fn of(index: &dyn Index) -> Model {
        let snapshot = index.snapshot();
        let mut model = Model { fence: snapshot.fence.clone(), ..Model::default() };
        let stored = index.scan(&Prefix::stores()).unwrap();
        assert_eq!(stored.len(), snapshot.stores.len());
        for (row, value) in stored {
            let record = StoreRecord::decode(&row, &value).unwrap();
            let Row::Store(id) = row else { panic!("{row:?}") };
            assert_eq!(snapshot.stores[&id].record, record, "what is published is what is durable");
            let name = *STORES.iter().find(|name| **name == id.as_str()).unwrap();
            model.marks.insert(name, (record.epoch, record.through.unwrap().0));
        }
        let of_stores = STORES.iter().flat_map(|name| [Prefix::lanes(&store(name)), Prefix::parked(&store(name))]);
        for prefix in of_stores.chain([Prefix::journals(), Prefix::audit(), Prefix::nonces()]) {
            let found = index.scan(&prefix).unwrap();
            assert!(found.is_sorted_by_key(|(row, _)| row.bytes()));
            for (row, value) in found {
                assert_eq!(index.get(&row).unwrap().as_ref(), Some(&value));
                assert_eq!(model.rows.insert(row, value), None, "no row is in two prefixes");
            }
        }
        model
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let name = || prop::sample::select(&STORES[..]);
    prop_oneof![
        (name(), 0..2_u64, "[a-c]").prop_map(|(name, epoch, lane)| Row::Lane {
            store: store(name),
            epoch,
            lane: Lane::tail(&lane)
        }),
        (name(), prop::collection::vec(any::<u8>(), 0..2))
            .prop_map(|(name, key)| Row::Parked { store: store(name), key: Key(key.into()) }),
        (name(), 0..3_u64).prop_map(|(name, seq)| Row::Saga { promotion: name.into(), seq }),
        (0..3_u64).prop_map(|seq| Row::Audit { seq }),
        "[a-c]".prop_map(Row::Nonce),
    ]
}

fn any_txn() -> impl Strategy<Value = Txn> {
    let name = || prop::sample::select(&STORES[..]);
    let marks = prop::collection::vec((name(), 0..3_u64, 0..50_i64), 0..3);
    let value = prop::collection::vec(any::<u8>(), 0..40);
    let puts = prop::collection::vec((any_row(), value), 0..5);
    let deletes = prop::collection::vec(any_row(), 0..3);
    let retract = prop::option::weighted(0.15, name());
    let fence = prop::option::weighted(0.02, prop::sample::select(&["p1", "p2"][..]));
    (marks, puts, deletes, retract, fence).prop_map(|(marks, puts, deletes, retract, fence)| Txn {
        clears: Vec::new(),
        marks: marks.into_iter().map(|(name, epoch, through)| (store(name), mark(epoch, through))).collect(),
        puts,
        deletes,
        retract: retract.map(|name| Retraction { store: store(name), why: "tried".into() }),
        fence: fence.map(|p| Fence { promotion: p.into(), at: SourceTime(5), direction_epoch: 1 }),
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    let some = |most| prop::collection::vec(any_txn(), 1..most);
    prop_oneof![
        8 => some(6).prop_map(Op::Commit),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
        2 => (some(8), any::<u64>()).prop_map(|(txns, seed)| Op::Torn(txns, seed)),
    ]
}

/// An implementation, and how it dies.
trait Subject {
    fn index(&self) -> &dyn Index;
    async fn restart(&mut self);
    async fn crash(&mut self);
    /// Commits, dies, and loses the end of its log; the answers may be of the dead.
    async fn torn(&mut self, txns: Vec<Txn>, seed: u64);
}

struct Rocks {
    root: TempDir,
    lives: usize,
    index: Arc<RocksIndex>,
}

impl Rocks {
    fn new() -> Self {
        let root = room();
        let index = opened(&root.path().join("0"));
        Self { root, lives: 0, index }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join(self.lives.to_string())
    }

    /// Goes on with a copy of the directory that was taken without stopping, after `injure`.
    async fn reincarnate(&mut self, injure: impl FnOnce(PathBuf)) {
        let old = self.path();
        self.lives += 1;
        image(&old, &self.path());
        injure(self.path());
        self.index.close().await;
        self.index = opened(&self.path());
    }
}

impl Subject for Rocks {
    fn index(&self) -> &dyn Index {
        self.index.as_ref()
    }

    async fn restart(&mut self) {
        self.index.close().await;
        self.index = opened(&self.path());
        assert!(self.index.was_clean());
    }

    async fn crash(&mut self) {
        self.reincarnate(|_| {}).await;
        assert!(!self.index.was_clean());
    }

    async fn torn(&mut self, txns: Vec<Txn>, seed: u64) {
        join_all(txns.into_iter().map(|txn| self.index.commit(txn))).await;
        self.reincarnate(|path| {
            let logs = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
            let newest = logs.filter(|path| path.extension().is_some_and(|ext| ext == "log")).max().unwrap();
            let log = fs::OpenOptions::new().write(true).open(newest).unwrap();
            let len = log.metadata().unwrap().len();
            log.set_len(seed % (len + 1)).unwrap();
        })
        .await;
    }
}

struct Memory(MemoryIndex);

impl Subject for Memory {
    fn index(&self) -> &dyn Index {
        &self.0
    }

    async fn restart(&mut self) {
        self.0.close();
        self.0 = self.0.crash(Tail::Lost);
        assert!(self.0.was_clean());
    }

    async fn crash(&mut self) {
        self.0 = self.0.crash(Tail::Lost);
    }

    async fn torn(&mut self, txns: Vec<Txn>, seed: u64) {
        self.0.hold(true);
        let next = {
            let mut dying = Box::pin(join_all(txns.into_iter().map(|txn| self.0.commit(txn))));
            assert!(futures_util::poll!(dying.as_mut()).is_pending() || self.0.unsynced() == 0);
            self.0.crash(Tail::Torn { seed })
        };
        self.0 = next;
    }
}

async fn compare(mut subject: impl Subject, ops: Vec<Op>) {
    // Every state of this life, in order: what a torn log may leave.
    let mut past = vec![Model::default()];
    for op in ops {
        match op {
            Op::Commit(txns) => {
                let answers = join_all(txns.iter().map(|txn| subject.index().commit(txn.clone()))).await;
                for (txn, answer) in txns.iter().zip(answers) {
                    match (past.last().unwrap().after(txn), answer) {
                        (Some(next), Ok(())) => past.push(next),
                        (
                            None,
                            Err(
                                CommitError::Regress { .. } | CommitError::OldEpoch { .. } | CommitError::Fenced { .. },
                            ),
                        ) => {}
                        (next, answer) => panic!("{txn:?} was answered {answer:?}; allowed: {}", next.is_some()),
                    }
                }
            }
            Op::Restart => {
                subject.restart().await;
                past.drain(..past.len() - 1);
            }
            Op::Crash => {
                subject.crash().await;
                past.drain(..past.len() - 1);
            }
            Op::Torn(txns, seed) => {
                for txn in &txns {
                    past.extend(past.last().unwrap().after(txn));
                }
                subject.torn(txns, seed).await;
                let found = Model::of(subject.index());
                assert!(past.contains(&found), "a state that never was: half a transaction, or one out of order");
                past = vec![found];
            }
        }
        assert_eq!(&Model::of(subject.index()), past.last().unwrap());
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn the_index_on_disk_does_what_the_model_does(ops in prop::collection::vec(any_op(), 1..14)) {
        block_on(async { compare(Rocks::new(), ops).await });
    }
}

proptest! {
    #![proptest_config(cases(400))]
    #[test]
    fn the_index_in_memory_does_what_the_model_does(ops in prop::collection::vec(any_op(), 1..20)) {
        block_on(compare(Memory(MemoryIndex::new()), ops));
    }
}
