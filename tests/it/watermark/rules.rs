//! The rules of [`Index::commit`], on both implementations.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use plimsoll::change::{Lane, SourceTime};
use plimsoll::watermark::keys::{Prefix, meta};
use plimsoll::watermark::memory::{Fault, MemoryIndex, Tail};
use plimsoll::watermark::{CommitError, Fence, Index, Retraction, Row, Txn};

use super::{advance, image, mark, open_as, opened, room, store, through};

fn fence(promotion: &str) -> Fence {
    Fence { promotion: promotion.into(), at: SourceTime(99), direction_epoch: 1 }
}

/// Runs the same check on a new index of each kind.
async fn on_both(check: impl AsyncFn(&dyn Index)) {
    let dir = room();
    let rocks = opened(&dir.path().join("index"));
    check(rocks.as_ref()).await;
    rocks.close().await;
    check(&MemoryIndex::new()).await;
}

#[tokio::test]
async fn a_watermark_goes_back_only_by_a_retraction_of_its_own_store() {
    on_both(async |index| {
        index.commit(advance("orders", 50)).await.unwrap();
        index.commit(advance("users", 60)).await.unwrap();
        let back = index.commit(advance("orders", 40)).await;
        let (from, to) = (SourceTime(50), SourceTime(40));
        assert_eq!(back, Err(CommitError::Regress { store: store("orders"), from, to }));

        let retract = |name| Some(Retraction { store: store(name), why: "found to differ".into() });
        let wrong = Txn { retract: retract("users"), ..advance("orders", 40) };
        assert!(matches!(index.commit(wrong).await, Err(CommitError::Regress { .. })));
        let both = Txn {
            marks: vec![(store("orders"), mark(0, 40)), (store("users"), mark(0, 59))],
            retract: retract("orders"),
            ..Txn::default()
        };
        assert!(matches!(index.commit(both).await, Err(CommitError::Regress { .. })), "users must not ride along");
        assert_eq!(through(index, "orders"), Some(50), "nothing of a refused transaction is published");

        index.commit(Txn { retract: retract("orders"), ..advance("orders", 40) }).await.unwrap();
        assert_eq!((through(index, "orders"), through(index, "users")), (Some(40), Some(60)));
    })
    .await;
}

#[tokio::test]
async fn a_new_epoch_starts_lower_and_an_old_one_never_returns() {
    on_both(async |index| {
        index.commit(advance("orders", 50)).await.unwrap();
        let epoch = |epoch, through| Txn { marks: vec![(store("orders"), mark(epoch, through))], ..Txn::default() };
        index.commit(epoch(2, 10)).await.unwrap();
        let old = index.commit(epoch(1, 90)).await;
        assert_eq!(old, Err(CommitError::OldEpoch { store: store("orders"), have: 2, got: 1 }));
        assert_eq!(through(index, "orders"), Some(10));
    })
    .await;
}

#[tokio::test]
async fn rows_of_the_index_itself_are_not_written_as_rows() {
    on_both(async |index| {
        for row in [Row::Store(store("orders")), Row::Meta(meta::FENCE)] {
            let put = Txn { puts: vec![(row.clone(), vec![1])], ..Txn::default() };
            assert_eq!(index.commit(put).await, Err(CommitError::Reserved { row: row.clone() }));
            let delete = Txn { deletes: vec![row.clone()], ..Txn::default() };
            assert_eq!(index.commit(delete).await, Err(CommitError::Reserved { row: row.clone() }));
            assert_eq!(index.get(&row).unwrap(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_scan_sees_one_store_only_and_in_order() {
    on_both(async |index| {
        let lane = |name: &str, lane: &str| Row::Lane { store: store(name), epoch: 0, lane: Lane::tail(lane) };
        let rows = [lane("orders", "b"), lane("order", "x"), lane("orders", "a"), lane("orders-2", "c")];
        let puts = rows.iter().map(|row| (row.clone(), row.bytes())).collect();
        index.commit(Txn { puts, ..Txn::default() }).await.unwrap();
        let found = index.scan(&Prefix::lanes(&store("orders"))).unwrap();
        let want = [lane("orders", "a"), lane("orders", "b")];
        assert_eq!(found, want.map(|row| (row.clone(), row.bytes())).to_vec());
    })
    .await;
}

#[tokio::test]
async fn the_fence_refuses_marks_for_ever_and_after_a_restart() {
    let dir = room();
    let path = dir.path().join("index");
    let check = async |index: &dyn Index| {
        for txn in [advance("orders", 70), advance("never-seen", 1)] {
            assert_eq!(index.commit(txn).await, Err(CommitError::Fenced { promotion: "p1".into() }));
        }
        let other = Txn { fence: Some(fence("p2")), ..Txn::default() };
        assert_eq!(index.commit(other).await, Err(CommitError::Fenced { promotion: "p1".into() }));
        index
            .commit(Txn { fence: Some(fence("p1")), ..Txn::default() })
            .await
            .expect("the same fence again is no news");
        let journal = Row::Saga { promotion: "p1".into(), seq: 0 };
        index.commit(Txn { puts: vec![(journal, vec![1])], ..Txn::default() }).await.expect("the journal goes on");
        assert_eq!(index.snapshot().fence, Some(fence("p1")));
        assert_eq!(through(index, "orders"), Some(60));
    };
    let set = async |index: &dyn Index| {
        index.commit(advance("orders", 50)).await.unwrap();
        // The last marks and the fence in one write.
        index.commit(Txn { fence: Some(fence("p1")), ..advance("orders", 60) }).await.unwrap();
    };
    let rocks = opened(&path);
    set(rocks.as_ref()).await;
    check(rocks.as_ref()).await;
    rocks.close().await;
    check(opened(&path).as_ref()).await;

    let memory = MemoryIndex::new();
    set(&memory).await;
    check(&memory).await;
    check(&memory.crash(Tail::Lost)).await;
}

/// RK-6: an old watermark is shown, and is no sign of life.
#[tokio::test]
async fn an_old_copy_is_loaded_without_a_proof() {
    let dir = room();
    let (path, copy) = (dir.path().join("index"), dir.path().join("copy"));
    let rocks = opened(&path);
    assert!(rocks.was_clean(), "a new index has no past");
    rocks.commit(advance("orders", 50)).await.unwrap();
    assert!(rocks.snapshot().stores[&store("orders")].proved.is_some());
    image(&path, &copy);
    rocks.commit(advance("orders", 90)).await.unwrap();
    rocks.close().await;
    assert_eq!(rocks.commit(advance("orders", 91)).await, Err(CommitError::Closed));
    assert_eq!(through(rocks.as_ref(), "orders"), Some(90), "a closed index still shows its last word");
    assert!(rocks.get(&Row::Store(store("orders"))).is_err());

    let old = opened(&copy);
    assert!(!old.was_clean());
    assert_eq!(through(old.as_ref(), "orders"), Some(50));
    assert_eq!(old.snapshot().stores[&store("orders")].proved, None);
    let again = opened(&path);
    assert!(again.was_clean());
    assert_eq!(through(again.as_ref(), "orders"), Some(90));
    assert_eq!(again.snapshot().stores[&store("orders")].proved, None);

    let memory = MemoryIndex::new();
    memory.commit(advance("orders", 50)).await.unwrap();
    let next = memory.crash(Tail::Lost);
    assert!(!next.was_clean());
    assert_eq!(next.snapshot().stores[&store("orders")].proved, None);
    next.close();
    assert!(next.crash(Tail::Lost).was_clean());
}

/// While one group is being synced everybody else queues up, and all of them share the next sync.
#[tokio::test]
async fn two_hundred_commits_at_once_need_two_syncs() {
    let dir = room();
    let syncs = Arc::new(AtomicUsize::new(0));
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let count = syncs.clone();
    let hook = Box::new(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            gate.lock().unwrap().recv().unwrap();
        }
    });
    let index = open_as(&dir.path().join("index"), super::identity(), Some(hook)).unwrap();
    let first = tokio::spawn({
        let index = index.clone();
        async move { index.commit(advance("s-0", 1)).await }
    });
    while syncs.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(through(index.as_ref(), "s-0"), None, "synced is not yet published");
    let waiting = Arc::new(AtomicUsize::new(0));
    let rest: Vec<_> = (1..200)
        .map(|n| {
            let (index, waiting) = (index.clone(), waiting.clone());
            tokio::spawn(async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                index.commit(advance(&format!("s-{n}"), 1)).await
            })
        })
        .collect();
    // All on one thread: whoever has begun stands in the queue when it is our turn again.
    while waiting.load(Ordering::SeqCst) < 199 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    for committed in rest.into_iter().chain([first]) {
        committed.await.unwrap().unwrap();
    }
    assert_eq!(syncs.load(Ordering::SeqCst), 2);
    assert_eq!(index.snapshot().stores.len(), 200);
}

/// One bad transaction in a group harms nobody else, and sees those before it.
#[tokio::test]
async fn a_group_is_judged_in_order() {
    on_both(async |index| {
        let all = [advance("orders", 50), advance("orders", 40), advance("orders", 60), advance("users", 1)];
        let results = join_all(all.into_iter().map(|txn| index.commit(txn))).await;
        assert!(results[0].is_ok() && results[2].is_ok() && results[3].is_ok(), "{results:?}");
        assert!(matches!(results[1], Err(CommitError::Regress { .. })), "{results:?}");
        assert_eq!(through(index, "orders"), Some(60));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_double_can_fail_delay_hold_and_lose() {
    let index = MemoryIndex::new();
    index.fail_next([Fault::Lost, Fault::Durable]);
    assert!(matches!(index.commit(advance("a", 1)).await, Err(CommitError::Io { .. })));
    assert_eq!(through(&index, "a"), None);
    assert!(matches!(index.commit(advance("a", 2)).await, Err(CommitError::Io { .. })));
    assert_eq!(through(&index, "a"), Some(2));

    index.set_trouble(Some("disk full"));
    assert_eq!(index.health(), Err("disk full".into()));
    assert!(matches!(index.commit(advance("a", 3)).await, Err(CommitError::Io { .. })));
    index.set_trouble(None);
    index.health().unwrap();

    index.set_delay(Duration::from_secs(3));
    let began = tokio::time::Instant::now();
    index.commit(advance("a", 3)).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    index.set_delay(Duration::ZERO);

    index.hold(true);
    let mut held = Box::pin(join_all((4..10).map(|n| index.commit(advance("a", n)))));
    assert!(futures_util::poll!(held.as_mut()).is_pending());
    assert_eq!((index.unsynced(), through(&index, "a")), (6, Some(3)));
    index.hold(false);
    assert!(held.await.iter().all(Result::is_ok));
    assert_eq!(through(&index, "a"), Some(9));

    index.hold(true);
    let mut dying = Box::pin(index.commit(advance("a", 10)));
    assert!(futures_util::poll!(dying.as_mut()).is_pending());
    let next = index.crash(Tail::Lost);
    assert_eq!(dying.await, Err(CommitError::Closed));
    assert_eq!(index.commit(advance("a", 11)).await, Err(CommitError::Closed));
    assert_eq!(through(&next, "a"), Some(9));
    next.commit(advance("a", 12)).await.unwrap();
}
