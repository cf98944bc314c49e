//! The drivers of all observed stores: starting them, and what a promotion asks of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::driver::{Driver, Valve, View};
use crate::change::StoreId;
use crate::promote::{CatchUp, Flow};
use crate::replicate::{Deps, LoadError, load};
use crate::seams::{SharedClock, timeout};
use crate::stores::Store;
use crate::supervise::{TaskKind, Tasks};

/// A heartbeat's grace and the last commit, many times over.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

struct Member {
    store: StoreId,
    view: watch::Receiver<View>,
}

/// The drivers of all observed stores. For a promotion there is nothing to drain: AWS moves the bytes. What is closed is
/// the heartbeat, and the mark.
pub struct Fleet {
    members: Vec<Member>,
    valve: watch::Sender<Valve>,
    clock: SharedClock,
}

impl Fleet {
    /// Loads every observed store and starts its driver; others are left out. With `fenced` nobody beats or looks.
    pub fn start(
        stores: &[Arc<dyn Store>],
        deps: impl Fn(&Arc<dyn Store>) -> Deps,
        tasks: &Tasks,
        fenced: bool,
        clock: SharedClock,
    ) -> Result<Arc<Self>, LoadError> {
        let valve = watch::Sender::new(if fenced { Valve::Closed } else { Valve::Open });
        let (mut members, mut drivers) = (Vec::new(), Vec::new());
        for store in stores.iter().filter(|store| store.mode().label() == "observe") {
            let deps = deps(store);
            let record = load(deps.index.as_ref(), store.id())?.record;
            let (show, view) = watch::channel(View::default());
            let driver = Driver::new(Arc::clone(store), deps, record, valve.subscribe(), show, tasks.stopping());
            if let Some(driver) = driver {
                members.push(Member { store: store.id().clone(), view });
                drivers.push((store.id().to_string(), driver));
            }
        }
        for (name, driver) in drivers {
            let span = tracing::info_span!("observer", store = name);
            tasks.spawn(TaskKind::Driver, name, driver.run().instrument(span));
        }
        Ok(Arc::new(Self { members, valve, clock }))
    }
}

#[async_trait]
impl Flow for Fleet {
    async fn catch_up(&self, bound: Duration) -> Vec<CatchUp> {
        let asked = self.clock.now().mono;
        // Drivers between two looks beat and look now.
        self.valve.send_modify(|_| ());
        join_all(self.members.iter().map(async |member| {
            let mut view = member.view.clone();
            let done = |view: &View| view.settled.is_some_and(|at| at >= asked);
            let ended = timeout(self.clock.as_ref(), bound, view.wait_for(done)).await.map(|ended| ended.is_ok());
            let last = member.view.borrow().clone();
            let why = match (ended, last.trouble) {
                (Some(true), None) => "AWS replicates it; looked once more".to_owned(),
                (Some(true), Some(trouble)) => format!("AWS replicates it; {trouble}"),
                (Some(false), _) => "the driver has stopped".to_owned(),
                (None, _) => format!("{} passed without a look", humantime::format_duration(bound)),
            };
            CatchUp { store: member.store.clone(), left: 0, why }
        }))
        .await
    }

    async fn close(&self) -> Result<(), String> {
        self.valve.send_replace(Valve::Closed);
        let all = join_all(self.members.iter().map(async |member| {
            let mut view = member.view.clone();
            let closed = timeout(self.clock.as_ref(), CLOSE_WITHIN, view.wait_for(|view| view.closed)).await;
            // A driver that is gone beats no more.
            closed.is_none().then(|| member.store.to_string())
        }))
        .await;
        let late: Vec<String> = all.into_iter().flatten().collect();
        if late.is_empty() {
            Ok(())
        } else {
            Err(format!("{} did not come to rest in {CLOSE_WITHIN:?}", late.join(", ")))
        }
    }

    fn reopen(&self) {
        self.valve.send_replace(Valve::Open);
    }
}
