//! SQS: standard queues that hide, redeliver, give up and forget as AWS's do.
//!
//! All time is the server's clock, but for a long poll, which waits in real time: a message that becomes visible by
//! [`super::ScriptedAws::advance_clock`] is received by a poll that waits already.

mod api;
mod queue;

pub use queue::{MessageView, QueueDepth, QueueQuirks, QueueSettings};

pub(super) use api::SqsApi;

use super::region::Region;
use super::rng::mix;
use queue::Queue;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// The account of every queue.
const ACCOUNT: &str = "000000000000";

/// A queue behind its lock, and who waits for it.
#[derive(Debug)]
pub(super) struct QueueCell {
    name: String,
    queue: Mutex<Queue>,
    arrived: Notify,
}

impl QueueCell {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queues of one server.
pub(crate) struct Desk {
    region: Arc<Region>,
    queues: RwLock<BTreeMap<String, Arc<QueueCell>>>,
    messages: AtomicU64,
    made: AtomicU64,
}

impl Desk {
    pub(super) fn new(region: Arc<Region>) -> Self {
        Self { region, queues: RwLock::default(), messages: AtomicU64::new(0), made: AtomicU64::new(0) }
    }

    fn cell(&self, name: &str) -> Option<Arc<QueueCell>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    fn names(&self) -> Vec<String> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.region.endpoint())
    }

    fn arn(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{ACCOUNT}:{name}", self.region.name)
    }

    fn fresh_message_id(&self) -> String {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let (a, b) = (mix(self.region.seed() ^ number), mix(!number));
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        )
    }

    fn create(&self, name: &str, settings: QueueSettings) -> bool {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        if queues.contains_key(name) {
            return false;
        }
        let mark = mix(self.region.seed() ^ mix(self.made.fetch_add(1, Ordering::Relaxed)));
        let queue = Queue::new(settings, mark, self.region.now());
        let cell = QueueCell { name: name.to_owned(), queue: Mutex::new(queue), arrived: Notify::new() };
        queues.insert(name.to_owned(), Arc::new(cell));
        true
    }

    fn remove(&self, name: &str) -> bool {
        let cell = self.queues.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        // Whoever polls it finds that it is gone.
        cell.inspect(|cell| cell.arrived.notify_waiters()).is_some()
    }

    /// Sends a text to a queue. Whether there is such a queue.
    pub(super) fn put(&self, name: &str, body: String) -> bool {
        let Some(cell) = self.cell(name) else { return false };
        cell.lock().send(self.fresh_message_id(), body.into(), None, self.region.now());
        cell.arrived.notify_waiters();
        true
    }

    /// Time was moved: what was hidden may wait now.
    pub(super) fn time_moved(&self) {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.values().for_each(|cell| cell.arrived.notify_waiters());
    }
}

/// The queues of a scripted server, as a test handles them: [`super::ScriptedAws::sqs`].
///
/// Methods that name a queue that does not exist panic: that is a mistake in the test.
pub struct Sqs<'a>(pub(super) &'a Arc<Desk>);

impl Sqs<'_> {
    #[track_caller]
    fn cell(&self, queue: &str) -> Arc<QueueCell> {
        self.0.cell(queue).unwrap_or_else(|| panic!("there is no queue {queue}"))
    }

    /// Makes a queue. Its URL.
    #[track_caller]
    pub fn create(&self, queue: &str, settings: QueueSettings) -> String {
        assert!(self.0.create(queue, settings), "there is a queue {queue} already");
        self.0.url(queue)
    }

    /// Deletes a queue and makes an empty one of the same name and settings, with another CreatedTimestamp (by the
    /// server's clock, to the second). Old receipt handles are not its.
    #[track_caller]
    pub fn recreate(&self, queue: &str) -> String {
        let settings = self.cell(queue).lock().settings.clone();
        self.0.remove(queue);
        self.create(queue, settings)
    }

    /// Deletes a queue. What is sent to it is lost.
    #[track_caller]
    pub fn delete(&self, queue: &str) {
        assert!(self.0.remove(queue), "there is no queue {queue}");
    }

    /// The URL of a queue.
    pub fn url(&self, queue: &str) -> String {
        self.0.url(queue)
    }

    /// The ARN of a queue.
    pub fn arn(&self, queue: &str) -> String {
        self.0.arn(queue)
    }

    /// Sends a text.
    #[track_caller]
    pub fn send(&self, queue: &str, body: impl Into<String>) {
        assert!(self.0.put(queue, body.into()), "there is no queue {queue}");
    }

    /// Forgets every message.
    #[track_caller]
    pub fn purge(&self, queue: &str) {
        self.cell(queue).lock().purge();
    }

    /// The messages of a queue, the oldest first, hidden ones too.
    #[track_caller]
    pub fn messages(&self, queue: &str) -> Vec<MessageView> {
        self.cell(queue).lock().views(self.0.region.now())
    }

    /// How many messages there really are.
    #[track_caller]
    pub fn depth(&self, queue: &str) -> QueueDepth {
        self.cell(queue).lock().depth(self.0.region.now())
    }

    /// Lets GetQueueAttributes say this for so long by the server's clock, whatever is true.
    #[track_caller]
    pub fn lie(&self, queue: &str, depth: QueueDepth, lasting: Duration) {
        let until = self.0.region.now() + lasting;
        self.cell(queue).lock().lie = Some((depth, until));
    }

    /// Lets GetQueueAttributes say what is true again.
    #[track_caller]
    pub fn tell_the_truth(&self, queue: &str) {
        self.cell(queue).lock().lie = None;
    }

    /// Everything that is hidden is received again, as if its visibility had run out. How many messages.
    #[track_caller]
    pub fn reveal(&self, queue: &str) -> usize {
        let cell = self.cell(queue);
        let revealed = cell.lock().reveal();
        cell.arrived.notify_waiters();
        revealed
    }

    /// Changes the settings of a queue.
    #[track_caller]
    pub fn change(&self, queue: &str, change: impl FnOnce(&mut QueueSettings)) {
        change(&mut self.cell(queue).lock().settings);
    }

    /// Changes how awkward a queue is.
    #[track_caller]
    pub fn quirks(&self, queue: &str, change: impl FnOnce(&mut QueueQuirks)) {
        change(&mut self.cell(queue).lock().quirks);
    }

    /// CreatedTimestamp of a queue.
    #[track_caller]
    pub fn created(&self, queue: &str) -> SystemTime {
        self.cell(queue).lock().created
    }
}
