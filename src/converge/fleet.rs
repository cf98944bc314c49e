//! The drivers of all stores that are made the same key by key: starting them, and what a promotion and operators ask of
//! them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

use super::commands::{Answer, Command};
use super::driver::{Driver, Start};
use super::shelf;
use crate::change::StoreId;
use crate::promote::{CatchUp, Flow};
use crate::replicate::{Deps, Divergent, LoadError, Valve};
use crate::seams::{SharedClock, timeout};
use crate::stores::Store;
use crate::stores::contract::Mode;
use crate::supervise::{TaskKind, Tasks};
use crate::watermark::keys::Prefix;
use crate::watermark::{Index, IndexError, MarkRecord, Record, Row};

/// Commands that wait for one driver: humans type them.
const COMMANDS: usize = 4;
/// A command is answered within this, or its outcome is unknown.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The grace of what is in work, the life of a request that was given up, and the last commit: then something is wrong, and
/// the promotion says so.
const CLOSE_WITHIN: Duration = Duration::from_secs(90);
/// Rows read at once.
const PAGE: usize = 500;

/// What a driver shows to a promotion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// Keys that an event told of and that are not the same yet.
    pub(super) backlog: u64,
    /// Everything that was in the channel before this monotonic instant was heard, is the same on both ends as far as prodX
    /// answers, and that is durable.
    pub(super) settled: Option<Duration>,
    /// What keeps it from going on.
    pub(super) trouble: Option<String>,
    /// The valve is closed, nothing is in work, no stray can land, and the last mark is durable.
    pub(super) closed: bool,
    /// The driver has ended, and nothing that it sent can land any more.
    pub(super) quiet: bool,
}

struct Member {
    store: StoreId,
    view: watch::Receiver<View>,
    commands: mpsc::Sender<Command>,
    kept: Arc<dyn Store>,
    index: Arc<dyn Index>,
}

/// The drivers of all stores of this mode.
pub struct Fleet {
    members: Vec<Member>,
    valve: watch::Sender<Valve>,
    clock: SharedClock,
}

impl Fleet {
    /// Loads every store of this mode and starts its driver; others are left out. With `fenced` nothing is made the same: the
    /// drivers only keep what they hear.
    pub fn start(
        stores: &[Arc<dyn Store>],
        deps: impl Fn(&Arc<dyn Store>) -> Deps,
        tasks: &Tasks,
        fenced: bool,
        clock: SharedClock,
    ) -> Result<Arc<Self>, LoadError> {
        let valve = watch::Sender::new(if fenced { Valve::Closed } else { Valve::Open });
        let (mut members, mut drivers) = (Vec::new(), Vec::new());
        for store in stores.iter().filter(|store| matches!(store.mode(), Mode::Converge(_))) {
            let deps = deps(store);
            let index = Arc::clone(&deps.index);
            let loaded = shelf::load(index.as_ref(), store.id(), fenced)
                .map_err(|error| LoadError { store: store.id().clone(), error })?;
            let (view, seen) = watch::channel(View::default());
            let (commands, orders) = mpsc::channel(COMMANDS);
            let start = Start { loaded, valve: valve.subscribe(), view, commands: orders, stop: tasks.stopping() };
            let Some(driver) = Driver::new(Arc::clone(store), deps, start) else { continue };
            let kept = Arc::clone(store);
            members.push(Member { store: store.id().clone(), view: seen, commands, kept, index });
            drivers.push((store.id().to_string(), driver));
        }
        for (name, driver) in drivers {
            let span = tracing::info_span!("converger", store = name);
            tasks.spawn(TaskKind::Driver, name, driver.run().instrument(span));
        }
        Ok(Arc::new(Self { members, valve, clock }))
    }

    /// Compares every key of a store as if nothing was known of it, or lets the walk under way remove up to `allowed` keys of
    /// the standby that the source does not have. Gives what follows, in words, once the wish is durable; or why not. `None`
    /// for a store that is none of these.
    pub async fn reseed(&self, store: &StoreId, allowed: u64) -> Option<Result<String, String>> {
        self.ask(store, |answer| Command::Reseed { allowed, answer }).await
    }

    /// Walks both ends of a store, and makes the same what differs: that is the nature of a walk, so `repair` is not asked
    /// for. The walk may remove up to `allowed` keys. The answer is as for [`Fleet::reseed`].
    pub async fn verify(&self, store: &StoreId, repair: bool, allowed: u64) -> Option<Result<String, String>> {
        let _ = repair;
        self.ask(store, |answer| Command::Verify { allowed, answer }).await
    }

    /// Keys that a walk found to differ and that are not the same yet, at most `most`, in the order of the keys. `None` for a
    /// store that is none of these.
    pub fn divergent(&self, store: &StoreId, most: usize) -> Option<Result<Vec<Divergent>, String>> {
        let member = self.member(store)?;
        Some(divergent(member, most).map_err(|error| error.to_string()))
    }

    fn member(&self, store: &StoreId) -> Option<&Member> {
        self.members.iter().find(|member| member.store == *store)
    }

    async fn ask(&self, store: &StoreId, command: impl FnOnce(Answer) -> Command) -> Option<Result<String, String>> {
        let member = self.member(store)?;
        let (answer, answered) = oneshot::channel();
        let gone = || Err("the driver of the store has stopped".to_owned());
        if member.commands.send(command(answer)).await.is_err() {
            return Some(gone());
        }
        Some(match timeout(self.clock.as_ref(), ANSWER_WITHIN, answered).await {
            Some(Ok(result)) => result,
            Some(Err(_)) => gone(),
            None => Err("the index did not take it in time; look at the status before asking again".to_owned()),
        })
    }

    /// Every driver has ended and nothing that it sent can land any more: the next process need not wait for strays
    /// (AP-3, LE-4).
    pub fn quiet(&self) -> bool {
        self.members.iter().all(|member| member.view.borrow().quiet)
    }
}

fn divergent(member: &Member, most: usize) -> Result<Vec<Divergent>, IndexError> {
    let mut found = Vec::new();
    let mut after = None;
    while found.len() < most {
        let rows = member.index.range(&Prefix::dirty(&member.store), after.as_ref(), PAGE)?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(last.clone());
        for (row, bytes) in rows {
            let record = MarkRecord::decode(&row, &bytes)?;
            // What only an event told of is on its way.
            let (Row::Dirty { key, .. }, Some(what)) = (row, record.what.filter(|_| record.walked)) else { continue };
            let text = Some(Driver::converge(&member.kept).key_text(&key));
            found.push(Divergent { key, text, what, found_at: record.found_at });
        }
    }
    found.truncate(most);
    Ok(found)
}

#[async_trait]
impl Flow for Fleet {
    async fn catch_up(&self, bound: Duration) -> Vec<CatchUp> {
        let asked = self.clock.now().mono;
        // Receivers in a long poll poll once more now.
        self.valve.send_modify(|_| ());
        join_all(self.members.iter().map(async |member| {
            let mut view = member.view.clone();
            let done = |view: &View| view.settled.is_some_and(|at| at >= asked);
            let ended = timeout(self.clock.as_ref(), bound, view.wait_for(done)).await.map(|ended| ended.is_ok());
            let last = member.view.borrow().clone();
            let why = match (ended, last.trouble) {
                (Some(true), None) => "nothing left".to_owned(),
                (Some(true), Some(_)) => "everything was heard; prodX does not answer".to_owned(),
                (Some(false), _) => "the driver has stopped".to_owned(),
                (None, _) => format!("{} passed", humantime::format_duration(bound)),
            };
            CatchUp { store: member.store.clone(), left: last.backlog, why }
        }))
        .await
    }

    async fn close(&self) -> Result<(), String> {
        self.valve.send_replace(Valve::Closed);
        let all = join_all(self.members.iter().map(async |member| {
            let mut view = member.view.clone();
            match timeout(self.clock.as_ref(), CLOSE_WITHIN, view.wait_for(|view| view.closed)).await {
                Some(Ok(_)) => None,
                // A driver that is gone sends nothing, but what it sent may still land.
                Some(Err(_)) if member.view.borrow().quiet => None,
                Some(Err(_)) | None => Some(member.store.to_string()),
            }
        }))
        .await;
        let late: Vec<String> = all.into_iter().flatten().collect();
        if late.is_empty() {
            Ok(())
        } else {
            Err(format!("writes of {} may still be in flight after {CLOSE_WITHIN:?}", late.join(", ")))
        }
    }

    fn reopen(&self) {
        self.valve.send_replace(Valve::Open);
    }
}
