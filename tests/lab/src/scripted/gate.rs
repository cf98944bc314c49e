//! A gate at which calls wait until a test lets them go on: [`super::Fault::Hold`] and [`super::Fault::HoldAnswer`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, watch};

/// A gate, shut when it is made. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<State>);

struct State {
    passes: Semaphore,
    waiting: AtomicUsize,
    arrived: watch::Sender<u64>,
}

impl Gate {
    /// A shut gate.
    pub fn new() -> Self {
        let arrived = watch::Sender::new(0);
        Self(Arc::new(State { passes: Semaphore::new(0), waiting: AtomicUsize::new(0), arrived }))
    }

    /// Calls that wait now. One whose client gave up waits no more.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// Calls that ever came here.
    pub fn arrived(&self) -> u64 {
        *self.0.arrived.borrow()
    }

    /// Waits until this many calls have come here since the gate was made.
    pub async fn until_arrived(&self, calls: u64) {
        let mut arrived = self.0.arrived.subscribe();
        arrived.wait_for(|count| *count >= calls).await.expect("the sender lives as long as self");
    }

    /// Lets so many calls go on, those that wait first.
    pub fn let_through(&self, calls: usize) {
        self.0.passes.add_permits(calls);
    }

    /// Lets every call go on, now and for ever.
    pub fn open(&self) {
        self.0.passes.close();
    }

    pub(super) async fn pass(&self) {
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let _waits = Waits(&self.0.waiting);
        self.0.arrived.send_modify(|count| *count += 1);
        // An error says that the gate is open.
        if let Ok(pass) = self.0.passes.acquire().await {
            pass.forget();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Gate {}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("waiting", &self.waiting()).field("arrived", &self.arrived()).finish()
    }
}
