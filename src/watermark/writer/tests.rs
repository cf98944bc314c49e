//! The writer over a storage that fails on request.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::change::SourceTime;
use crate::seams::SystemClock;
use crate::watermark::{Fence, Mark, Retraction, StoreRecord};

/// What the next write does; without one it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    FailLost,
    FailDurable,
}

#[derive(Default)]
struct Disk {
    durable: Watermarks,
    writes: VecDeque<Next>,
    /// Attempts to reopen that fail before one works.
    bad_opens: usize,
    opens: usize,
    gone: bool,
    closed: Option<bool>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Disk>>);

impl Fake {
    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }
}

impl Storage for Fake {
    fn write(&mut self, group: &[Txn]) -> Result<(), String> {
        self.with(|disk| {
            let next = disk.writes.pop_front();
            if next != Some(Next::FailLost) {
                for txn in group {
                    admit(&mut disk.durable, txn).expect("only admitted ones are written");
                }
            }
            next.map_or(Ok(()), |next| Err(format!("{next:?}")))
        })
    }
    fn intact(&self) -> Result<(), String> {
        self.with(|disk| if disk.gone { Err("gone".into()) } else { Ok(()) })
    }
    fn reopen(&mut self) -> Result<Watermarks, String> {
        self.with(|disk| {
            disk.opens += 1;
            if disk.opens <= disk.bad_opens {
                return Err(format!("still bad, attempt {}", disk.opens));
            }
            let mut found = disk.durable.clone();
            found.stores.values_mut().for_each(|mark| mark.proved = None);
            Ok(found)
        })
    }
    fn close(&mut self, clean: bool) -> Result<(), String> {
        self.with(|disk| disk.closed = Some(clean));
        Ok(())
    }
}

fn store() -> StoreId {
    StoreId::new("orders").unwrap()
}

fn advance(through: i64) -> Txn {
    let record = StoreRecord { through: Some(SourceTime(through)), ..StoreRecord::default() };
    let proved = Some(Stamp { wall: SourceTime(through), mono: Duration::from_secs(1) });
    Txn { marks: vec![(store(), Mark { record, proved })], ..Txn::default() }
}

fn start(fake: &Fake) -> Writer {
    let settings =
        Settings { path: "/index".into(), tasks: Tasks::new(), clock: SystemClock::shared(), on_commit: None };
    Writer::start(fake.clone(), Watermarks::default(), settings).unwrap()
}

fn through(writer: &Writer) -> Option<i64> {
    Some(writer.snapshot().stores.get(&store())?.record.through?.0)
}

async fn healed(writer: &Writer) {
    for _ in 0..2000 {
        if writer.health().is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never healed: {:?}", writer.health());
}

fn is_io(result: Result<(), CommitError>, words: &str) {
    match result {
        Err(CommitError::Io { path, what }) => assert!(path == "/index" && what.contains(words), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_lost_with_a_failed_write_is_not_published_and_can_be_sent_again() {
    let fake = Fake::default();
    let writer = start(&fake);
    writer.commit(advance(5)).await.unwrap();
    fake.with(|disk| disk.writes.push_back(Next::FailLost));
    is_io(writer.commit(advance(6)).await, "FailLost");
    assert_eq!(through(&writer), Some(5));
    healed(&writer).await;
    assert_eq!(through(&writer), Some(5));
    assert!(writer.snapshot().stores[&store()].proved.is_some(), "the proof was not the storage's to lose");
    writer.commit(advance(6)).await.unwrap();
    assert_eq!(through(&writer), Some(6));
}

#[tokio::test]
async fn what_became_durable_with_a_failed_write_is_published_once_it_was_read_back() {
    let fake = Fake::default();
    let writer = start(&fake);
    writer.commit(advance(5)).await.unwrap();
    fake.with(|disk| disk.writes.push_back(Next::FailDurable));
    is_io(writer.commit(advance(6)).await, "FailDurable");
    assert_eq!(through(&writer), Some(5));
    healed(&writer).await;
    assert_eq!(through(&writer), Some(6));
}

#[tokio::test]
async fn a_retraction_in_doubt_may_turn_out_durable() {
    let fake = Fake::default();
    let writer = start(&fake);
    writer.commit(advance(5)).await.unwrap();
    fake.with(|disk| disk.writes.push_back(Next::FailDurable));
    let retract = Some(Retraction { store: store(), why: "found to differ".into() });
    is_io(writer.commit(Txn { retract, ..advance(2) }).await, "FailDurable");
    healed(&writer).await;
    assert_eq!(through(&writer), Some(2));
}

#[tokio::test]
async fn until_it_is_healed_every_commit_is_answered_at_once_with_what_is_wrong() {
    let fake = Fake::default();
    let writer = start(&fake);
    fake.with(|disk| {
        disk.writes.push_back(Next::FailLost);
        disk.bad_opens = 2;
    });
    is_io(writer.commit(advance(6)).await, "FailLost");
    is_io(writer.commit(advance(6)).await, "FailLost");
    assert_eq!(writer.health(), Err("the index at /index could not be written: FailLost".into()));
    while fake.with(|disk| disk.opens) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    healed(&writer).await;
    assert_eq!(fake.with(|disk| disk.opens), 3);
    writer.commit(advance(6)).await.unwrap();
}

#[tokio::test]
async fn a_storage_that_forgot_what_it_acknowledged_is_not_believed() {
    for forget in [
        (|disk: &mut Disk| disk.durable.stores.clear()) as fn(&mut Disk),
        |disk| disk.durable.stores.get_mut(&store()).unwrap().record.through = Some(SourceTime(4)),
        |disk| disk.durable.fence = None,
    ] {
        let fake = Fake::default();
        let writer = start(&fake);
        let fence = Fence { promotion: "p".into(), at: SourceTime(1), direction_epoch: 1 };
        writer.commit(Txn { fence: Some(fence), ..advance(5) }).await.unwrap();
        fake.with(|disk| {
            forget(disk);
            disk.writes.push_back(Next::FailLost);
        });
        is_io(writer.commit(Txn::default()).await, "FailLost");
        while fake.with(|disk| disk.opens) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        is_io(writer.commit(Txn::default()).await, "lost acknowledged writes");
        assert_eq!(through(&writer), Some(5));
        assert!(writer.snapshot().fence.is_some());
    }
}

#[tokio::test]
async fn a_storage_that_is_gone_says_so_even_if_the_write_worked() {
    let fake = Fake::default();
    let writer = start(&fake);
    fake.with(|disk| disk.gone = true);
    is_io(writer.commit(advance(5)).await, "gone");
    assert_eq!(through(&writer), None);
    assert!(writer.health().unwrap_err().ends_with(": gone"));
    writer.close(true).await;
    assert_eq!(fake.with(|disk| disk.closed), Some(false), "that was no clean stop");
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_refuses_the_rest() {
    let fake = Fake::default();
    let writer = start(&fake);
    let (a, closed, b) = tokio::join!(writer.commit(advance(5)), writer.close(true), writer.commit(advance(6)));
    a.unwrap();
    let () = closed;
    assert_eq!(b, Err(CommitError::Closed));
    assert_eq!((through(&writer), fake.with(|disk| disk.closed)), (Some(5), Some(true)));
    assert_eq!(writer.commit(advance(7)).await, Err(CommitError::Closed));
}

#[tokio::test]
async fn the_last_handle_closes() {
    let (fake, tasks) = (Fake::default(), Tasks::new());
    let settings =
        Settings { path: "/index".into(), tasks: tasks.clone(), clock: SystemClock::shared(), on_commit: None };
    let writer = Writer::start(fake.clone(), Watermarks::default(), settings).unwrap();
    writer.commit(advance(5)).await.unwrap();
    drop(writer);
    assert_eq!(tasks.shutdown(Duration::from_secs(20)).await, Vec::<String>::new());
    assert_eq!(fake.with(|disk| disk.closed), Some(true));
}
