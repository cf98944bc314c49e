//! The only place that spawns. Every task has a kind, every kind a policy; shutdown is signal, stop reading, drain, grace,
//! abort.
//!
//! A task whose kind is essential takes the process down when it fails: a half-working Plimsoll that looks alive is worse
//! than a restart, and the index makes a restart cheap. The watchdog of systemd is fed only while every essential task
//! shows signs of life.

pub mod watchdog;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a task is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// Keeps one store warm.
    Driver,
    /// Owns the index's database.
    IndexWriter,
    /// Accepts connections.
    Listener,
    /// Answers one connection.
    Connection,
    /// Carries out a promotion.
    Promotion,
    /// Feeds the watchdog.
    Watchdog,
    /// Examines the stores now and then.
    Doctor,
}

impl TaskKind {
    /// May the process live on when a task of this kind fails?
    pub fn essential(self) -> bool {
        match self {
            TaskKind::Driver | TaskKind::IndexWriter | TaskKind::Listener => true,
            TaskKind::Connection | TaskKind::Promotion | TaskKind::Watchdog | TaskKind::Doctor => false,
        }
    }
}

/// Why a task of an essential kind ended although nobody asked it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} task {name} ended: {what}")]
pub struct Fatal {
    /// Its kind.
    pub kind: TaskKind,
    /// Its name.
    pub name: String,
    /// What happened.
    pub what: String,
}

/// The tasks of the process. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    fatal: Arc<watch::Sender<Option<Fatal>>>,
    names: Arc<Mutex<Vec<(TaskKind, String)>>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            fatal: Arc::new(watch::Sender::new(None)),
            names: Arc::default(),
        }
    }

    /// Cancelled when the process must stop: stop reading, drain, return.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Spawns a task. `Err` is a failure; a panic is one too. A task of an essential kind that ends before
    /// [`Tasks::stopping`] is cancelled is a failure however it ends.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, kind: TaskKind, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (name, this) = (name.into(), self.clone());
        self.started(kind, &name);
        self.tracker.spawn(async move {
            let ended = tokio::spawn(task).await;
            this.ended(kind, &name, ended.map_err(|e| e.to_string()).and_then(|r| r));
        });
    }

    /// Runs blocking work on a thread of its own until it returns. [`Tasks::shutdown`] does not wait for it: its owner
    /// tells it to end, when those that need it have.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn thread<F>(&self, kind: TaskKind, name: impl Into<String>, work: F) -> std::io::Result<()>
    where
        F: FnOnce() -> Result<(), String> + Send + 'static,
    {
        let (name, this) = (name.into(), self.clone());
        self.started(kind, &name);
        let label = name.clone();
        std::thread::Builder::new().name(label).spawn(move || {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            this.ended(kind, &name, ended.unwrap_or_else(|_| Err("it panicked".into())));
        })?;
        Ok(())
    }

    fn started(&self, kind: TaskKind, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push((kind, name.to_owned()));
    }

    fn ended(&self, kind: TaskKind, name: &str, result: Result<(), String>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = names.iter().position(|(k, n)| *k == kind && n == name) {
            names.swap_remove(at);
        }
        drop(names);
        if let Err(what) = &result {
            tracing::error!(task = name, kind = ?kind, error = %what, "task failed");
        }
        if kind.essential() && !self.stop.is_cancelled() {
            let what = result.err().unwrap_or_else(|| "it returned although nobody asked it to stop".into());
            self.fatal.send_if_modified(|slot| {
                let first = slot.is_none();
                if first {
                    *slot = Some(Fatal { kind, name: name.to_owned(), what });
                }
                first
            });
        }
    }

    /// Returns when an essential task has failed.
    pub async fn failed(&self) -> Fatal {
        let mut seen = self.fatal.subscribe();
        loop {
            if let Some(fatal) = seen.borrow_and_update().clone() {
                return fatal;
            }
            if seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells every task to stop and waits, at most for `grace`. Gives the names of those that did not end.
    #[expect(
        clippy::disallowed_methods,
        reason = "the grace is the operating system's, whatever clock the tasks were given"
    )]
    pub async fn shutdown(&self, grace: Duration) -> Vec<String> {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().map(|(kind, name)| format!("{kind:?} {name}")).collect()
    }
}
