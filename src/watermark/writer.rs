//! One thread owns every write of the index: it groups what is waiting, writes it with one sync, then publishes.
//!
//! Invariants
//! - Queue order is write order, and every transaction is judged ([`admit`]) against the ones before it in its own group.
//! - Synced, then published, then answered; never another order (RK-1).
//! - After a failed write nothing is assumed about what is durable: the group is answered `Io`, the storage is opened
//!   anew, and what it then holds decides. Until that worked, every transaction is answered `Io` at once.
//! - Healing never publishes less than was published: a storage that lost acknowledged writes stays in trouble, because
//!   only a restart may start again from an older mark (RK-6).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{CommitError, Txn, Watermarks, admit};
use crate::change::{Stamp, StoreId};
use crate::seams::SharedClock;
use crate::supervise::{TaskKind, Tasks};

/// Transactions waiting or being written. A store has at most a handful in flight, so this is room for hundreds of stores;
/// with fewer, a slow disk would make unrelated stores wait for a place instead of sharing the next sync.
const QUEUE: usize = 1024;
/// How often an idle writer looks whether its storage is still there.
const LOOK: Duration = Duration::from_secs(2);
/// Pause after the first failed attempt to heal; doubles up to [`HEAL_MAX`].
const HEAL_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts to heal.
const HEAL_MAX: Duration = Duration::from_secs(5);

/// What the writer writes to. Errors are sentences for a human.
pub(super) trait Storage: Send + 'static {
    /// Writes all transactions in one atomic, synced write. After an `Err` it is not known what is durable.
    fn write(&mut self, group: &[Txn]) -> Result<(), String>;
    /// Cheap: is the storage still the one that was opened?
    fn intact(&self) -> Result<(), String>;
    /// Opens it anew, shows that it takes writes, and gives what is durable in it.
    fn reopen(&mut self) -> Result<Watermarks, String>;
    /// Lets go of it, leaving the sign of a clean stop if it was one.
    fn close(&mut self, clean: bool) -> Result<(), String>;
}

/// Called after each synced write with the time it took.
pub type OnCommit = Box<dyn Fn(Duration) + Send + Sync>;

/// What a writer needs beside its storage.
pub(super) struct Settings {
    pub(super) path: String,
    pub(super) tasks: Tasks,
    pub(super) clock: SharedClock,
    pub(super) on_commit: Option<OnCommit>,
}

enum Job {
    Commit { txn: Txn, answer: oneshot::Sender<Result<(), CommitError>>, _room: OwnedSemaphorePermit },
    Close { clean: bool, done: oneshot::Sender<()>, _room: OwnedSemaphorePermit },
}

struct Shared {
    path: String,
    published: RwLock<Arc<Watermarks>>,
    trouble: RwLock<Option<String>>,
    closed: AtomicBool,
}

impl Shared {
    fn snapshot(&self) -> Arc<Watermarks> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, next: Watermarks) {
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn io(&self, what: &str) -> CommitError {
        CommitError::Io { path: self.path.clone(), what: what.to_owned() }
    }
}

/// How long dropping the last handle waits for the storage to be let go of.
const LET_GO: Duration = Duration::from_secs(5);

/// The way to the writer. The thread ends when this is dropped, or by [`Writer::close`].
pub(super) struct Writer {
    /// Present until the drop.
    jobs: Option<SyncSender<Job>>,
    /// Its other end goes with the thread.
    ended: Mutex<Receiver<()>>,
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl Writer {
    /// Starts the thread. `first` is published at once.
    pub(super) fn start(storage: impl Storage, first: Watermarks, settings: Settings) -> std::io::Result<Self> {
        let Settings { path, tasks, clock, on_commit } = settings;
        // A job holds its place in `room` until it is answered, so the channel itself is never full.
        let (jobs, queue) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            path,
            published: RwLock::new(Arc::new(first)),
            trouble: RwLock::default(),
            closed: AtomicBool::new(false),
        });
        let thread = Thread { storage, queue, shared: shared.clone(), clock, on_commit, broken: None };
        let (lives, ended) = sync_channel(0);
        tasks.thread(TaskKind::IndexWriter, "index-writer", move || {
            let result = thread.run();
            drop(lives);
            result
        })?;
        Ok(Self { jobs: Some(jobs), ended: Mutex::new(ended), room: Arc::new(Semaphore::new(QUEUE)), shared })
    }

    pub(super) async fn commit(&self, txn: Txn) -> Result<(), CommitError> {
        let room = self.room().await;
        let (answer, answered) = oneshot::channel();
        // Not taken, or dropped without an answer: the writer is closed, or it died, perhaps over this transaction.
        let gone = || {
            let closed = self.shared.closed.load(Ordering::Acquire);
            if closed { CommitError::Closed } else { self.shared.io("the writer ended") }
        };
        self.send(Job::Commit { txn, answer, _room: room }).ok_or_else(gone)?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Writes what is queued, leaves the sign of a clean stop if it is one, and lets go of the storage.
    pub(super) async fn close(&self, clean: bool) {
        let room = self.room().await;
        let (done, closed) = oneshot::channel();
        if self.send(Job::Close { clean, done, _room: room }).is_some() {
            // An error means that another close was faster.
            closed.await.unwrap_or_default();
        }
    }

    fn send(&self, job: Job) -> Option<()> {
        self.jobs.as_ref()?.try_send(job).ok()
    }

    async fn room(&self) -> OwnedSemaphorePermit {
        self.room.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    pub(super) fn snapshot(&self) -> Arc<Watermarks> {
        self.shared.snapshot()
    }

    pub(super) fn health(&self) -> Result<(), String> {
        match self.shared.trouble.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(what) => Err(self.shared.io(what).to_string()),
            None => Ok(()),
        }
    }
}

impl Drop for Writer {
    /// Waits until the storage is let go of, so that nobody finds it locked, and no process ends in the middle of it. A
    /// storage that hangs is not waited for for ever.
    fn drop(&mut self) {
        self.jobs = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(LET_GO) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(index = %self.shared.path, "the index was not closed in time");
        }
    }
}

/// Somebody closes it.
struct Closing {
    clean: bool,
    done: oneshot::Sender<()>,
}

/// The storage failed and has not been opened anew yet.
struct Broken {
    what: String,
    retry_at: Duration,
    pause: Duration,
    /// Stores whose retraction may or may not be durable: their mark may come back lower.
    retracted: BTreeSet<StoreId>,
}

struct Thread<S> {
    storage: S,
    queue: Receiver<Job>,
    shared: Arc<Shared>,
    clock: SharedClock,
    on_commit: Option<OnCommit>,
    broken: Option<Broken>,
}

/// Transactions with the places where their answers go.
type Group = Vec<(Txn, oneshot::Sender<Result<(), CommitError>>, OwnedSemaphorePermit)>;

impl<S: Storage> Thread<S> {
    fn run(mut self) -> Result<(), String> {
        loop {
            match self.queue.recv_timeout(self.patience()) {
                Ok(first) => {
                    let (group, closing) = self.gather(first);
                    self.look_after_broken();
                    self.commit(group);
                    if closing.is_some() {
                        return self.finish(closing);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return self.finish(None),
            }
        }
    }

    fn patience(&self) -> Duration {
        let now = self.clock.now().mono;
        self.broken.as_ref().map_or(LOOK, |broken| broken.retry_at.saturating_sub(now).clamp(HEAL_MIN / 10, LOOK))
    }

    /// Everything that is waiting, up to a close.
    fn gather(&self, first: Job) -> (Group, Option<Closing>) {
        let mut group = Group::new();
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Commit { txn, answer, _room } => group.push((txn, answer, _room)),
                Job::Close { clean, done, .. } => return (group, Some(Closing { clean, done })),
            }
            next = if group.len() < QUEUE { self.queue.try_recv().ok() } else { None };
        }
        (group, None)
    }

    fn commit(&mut self, group: Group) {
        if group.is_empty() {
            return;
        }
        if let Some(broken) = &self.broken {
            let error = self.shared.io(&broken.what);
            return group.into_iter().for_each(|(_, answer, _)| reply(answer, Err(error.clone())));
        }
        let mut staged = Watermarks::clone(&self.shared.snapshot());
        let mut admitted = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        for (txn, answer, room) in group {
            let verdict = admit(&mut staged, &txn).map(|()| admitted.push(txn));
            answers.push((verdict, answer, room));
        }
        if !admitted.is_empty()
            && let Err(what) = self.write(&admitted)
        {
            let what = self.breaks(what, &admitted);
            let error = self.shared.io(&what);
            // Refused ones too: they were judged against a state that may never have become durable.
            return answers.into_iter().for_each(|(_, answer, _)| reply(answer, Err(error.clone())));
        }
        self.shared.publish(staged);
        for retraction in admitted.iter().filter_map(|txn| txn.retract.as_ref()) {
            tracing::error!(store = %retraction.store, why = %retraction.why, "a published watermark was taken back");
        }
        answers.into_iter().for_each(|(verdict, answer, _)| reply(answer, verdict));
    }

    fn write(&mut self, admitted: &[Txn]) -> Result<(), String> {
        let began: Stamp = self.clock.now();
        self.storage.write(admitted)?;
        // Looked at after the sync: what went into a file that has lost its name is not durable.
        self.storage.intact()?;
        if let Some(on_commit) = &self.on_commit {
            on_commit(self.clock.now().since(began));
        }
        Ok(())
    }

    /// Notes that the storage failed; gives the words to answer with.
    fn breaks(&mut self, what: String, doubtful: &[Txn]) -> String {
        let what = self.storage.intact().err().unwrap_or(what);
        tracing::error!(index = %self.shared.path, error = %what, "the index cannot be written");
        let retracted = doubtful.iter().filter_map(|txn| txn.retract.as_ref()).map(|r| r.store.clone()).collect();
        self.shared.set_trouble(Some(what.clone()));
        let retry_at = self.clock.now().mono + HEAL_MIN;
        self.broken = Some(Broken { what: what.clone(), retry_at, pause: HEAL_MIN, retracted });
        what
    }

    fn look(&mut self) {
        if self.broken.is_some() {
            self.look_after_broken();
        } else if let Err(what) = self.storage.intact() {
            self.breaks(what, &[]);
        }
    }

    fn look_after_broken(&mut self) {
        let now = self.clock.now().mono;
        let Some(broken) = self.broken.as_mut().filter(|broken| broken.retry_at <= now) else { return };
        let published = self.shared.snapshot();
        let healed = self
            .storage
            .intact()
            .and_then(|()| self.storage.reopen())
            .and_then(|found| resume(&published, found, &broken.retracted));
        match healed {
            Ok(next) => {
                tracing::info!(index = %self.shared.path, "the index can be written again");
                self.shared.publish(next);
                self.shared.set_trouble(None);
                self.broken = None;
            }
            Err(what) => {
                broken.pause = (broken.pause * 2).min(HEAL_MAX);
                broken.retry_at = self.clock.now().mono + broken.pause;
                broken.what.clone_from(&what);
                self.shared.set_trouble(Some(what));
            }
        }
    }

    fn finish(mut self, closing: Option<Closing>) -> Result<(), String> {
        let clean = closing.as_ref().is_none_or(|closing| closing.clean);
        let closed = self.storage.close(clean && self.broken.is_none());
        let ended = self.broken.as_ref().map_or(closed, |broken| Err(broken.what.clone()));
        self.shared.closed.store(true, Ordering::Release);
        drop(self.queue);
        drop(self.storage);
        if let Some(closing) = closing {
            reply(closing.done, ());
        }
        ended
    }
}

/// Somebody who no longer waits for an answer misses nothing: the snapshot tells.
fn reply<T>(to: oneshot::Sender<T>, answer: T) {
    to.send(answer).unwrap_or_default();
}

/// What to publish after the storage was opened anew and holds `found`.
fn resume(published: &Watermarks, mut found: Watermarks, retracted: &BTreeSet<StoreId>) -> Result<Watermarks, String> {
    let lost = |what: &str| {
        Err(format!("the storage lost acknowledged writes ({what}); restart Plimsoll, it goes on from what is left"))
    };
    if published.fence.is_some() && found.fence != published.fence {
        return lost("the fence");
    }
    for (store, had) in &published.stores {
        let Some(has) = found.stores.get_mut(store) else { return lost(store.as_str()) };
        let back = has.record.epoch == had.record.epoch && has.record.through < had.record.through;
        if has.record.epoch < had.record.epoch || (back && !retracted.contains(store)) {
            return lost(store.as_str());
        }
        // The proof was ours and of this copy; a later mark that turned out durable does not make it worse.
        if has.record.epoch == had.record.epoch && has.record.incarnation == had.record.incarnation {
            has.proved = had.proved;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
