//! All drivers together: starting them, and what a promotion asks of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

use super::copy::{Answer, Command};
use super::driver::Driver;
use super::{Deps, LoadError, Valve, View, load};
use crate::change::{Difference, Key, SourceTime, StoreId};
use crate::promote::{CatchUp, Flow};
use crate::seams::{SharedClock, timeout};
use crate::stores::Store;
use crate::stores::contract::Mode;
use crate::supervise::{TaskKind, Tasks};
use crate::watermark::keys::Prefix;
use crate::watermark::{DirtyRecord, Index, IndexError, Record, Row};

/// Commands that wait for one driver: humans type them.
const COMMANDS: usize = 4;
/// A command is answered within this, or its outcome is unknown.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longer than any write can be in flight, and a stray of it can land: then something is wrong, and the promotion says so.
const CLOSE_WITHIN: Duration = Duration::from_secs(90);

struct Member {
    store: StoreId,
    view: watch::Receiver<View>,
    commands: mpsc::Sender<Command>,
    kept: Arc<dyn Store>,
    index: Arc<dyn Index>,
}

/// An item that differs in the standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergent {
    /// Its identity.
    pub key: Key,
    /// Its key for a human: customer data.
    pub text: Option<String>,
    /// How it differs.
    pub what: Difference,
    /// Our wall clock when it was first proven.
    pub found_at: SourceTime,
}

/// The drivers of all replicating stores.
pub struct Fleet {
    members: Vec<Member>,
    valve: watch::Sender<Valve>,
    clock: SharedClock,
}

impl Fleet {
    /// Loads every replicating store and starts its driver; others are left out. `deps` gives each its own. With `fenced`
    /// nothing flows: the drivers start with a closed valve that nobody opens.
    pub fn start(
        stores: &[Arc<dyn Store>],
        deps: impl Fn(&Arc<dyn Store>) -> Deps,
        tasks: &Tasks,
        fenced: bool,
        clock: SharedClock,
    ) -> Result<Arc<Self>, LoadError> {
        let valve = watch::Sender::new(if fenced { Valve::Closed } else { Valve::Open });
        let mut members = Vec::new();
        let mut drivers = Vec::new();
        for store in stores.iter().filter(|store| matches!(store.mode(), Mode::Replicate(_))) {
            let deps = deps(store);
            let state = load(deps.index.as_ref(), store.id())?;
            let (show, view) = watch::channel(View::default());
            let (commands, orders) = mpsc::channel(COMMANDS);
            let index = Arc::clone(&deps.index);
            let driver = Driver::new(Arc::clone(store), deps, state, valve.subscribe(), show, orders, tasks.stopping());
            let index = Arc::clone(&index);
            members.push(Member { store: store.id().clone(), view, commands, kept: Arc::clone(store), index });
            drivers.push((store.id().to_string(), driver));
        }
        for (name, driver) in drivers {
            let span = tracing::info_span!("driver", store = name);
            tasks.spawn(TaskKind::Driver, name, driver.run().instrument(span));
        }
        Ok(Arc::new(Self { members, valve, clock }))
    }

    /// Copies a store anew, or lets the copy under way remove up to `allowed` items of the standby that the source does not
    /// have. Gives what follows, in words, once the wish is durable; or why not. `None` for a store that is none of these.
    pub async fn reseed(&self, store: &StoreId, allowed: u64) -> Option<Result<String, String>> {
        self.ask(store, |answer| Command::Reseed { allowed, answer }).await
    }

    /// Compares the standby with the source, and copies again what differs if it is to be repaired; a repair may remove up to
    /// `allowed` items. The answer is as for [`Fleet::reseed`].
    pub async fn verify(&self, store: &StoreId, repair: bool, allowed: u64) -> Option<Result<String, String>> {
        self.ask(store, |answer| Command::Verify { repair, allowed, answer }).await
    }

    /// Items that are proven to differ, at most `most`, in the order of their keys. `None` for a store that is none of these.
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
    for (row, bytes) in member.index.range(&Prefix::dirty(&member.store), None, most)? {
        let record = DirtyRecord::decode(&row, &bytes)?;
        // What a copy has put aside is not proven.
        let (Row::Dirty { key, .. }, Some(what)) = (row, record.what) else { continue };
        let body = BASE64.decode(&record.body).unwrap_or_default();
        let text = Driver::replicate(&member.kept).key_text(&body);
        found.push(Divergent { key, text, what, found_at: record.found_at });
    }
    Ok(found)
}

#[async_trait]
impl Flow for Fleet {
    async fn catch_up(&self, bound: Duration) -> Vec<CatchUp> {
        let asked = self.clock.now().mono;
        // Drivers between two reads read now.
        self.valve.send_modify(|_| ());
        join_all(self.members.iter().map(async |member| {
            let mut view = member.view.clone();
            let done = |view: &View| view.settled.is_some_and(|at| at >= asked);
            let ended = timeout(self.clock.as_ref(), bound, view.wait_for(done)).await;
            let last = member.view.borrow().clone();
            let why = match (ended, last.source_trouble) {
                (Some(Ok(_)), None) => "nothing left".to_owned(),
                (Some(Ok(_)), Some(_)) => "all that was read is durable; prodX does not answer".to_owned(),
                (Some(Err(_)), _) => "the driver has stopped".to_owned(),
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
