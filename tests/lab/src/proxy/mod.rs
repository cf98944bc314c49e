//! A fault proxy: an HTTP/1.1 reverse proxy in front of anything that stands for AWS, and the network between them.
//!
//! It is for the emulators, which never fail by themselves; the scripted server has its own, deeper faults. What it
//! forwards it does not change, except where a fault says so.
//!
//! Invariants: a fault is counted once for each call it was done to; the same seed and the same calls in the same
//! order give the same faults; when the proxy is dropped every connection through it ends.

mod faulty;
mod forward;
mod inspect;
#[cfg(test)]
mod tests;

pub use faulty::ProxyFault;

use crate::scripted::faults::Faults;
use crate::scripted::listener::{Listener, NoAnswer};
use crate::scripted::{Door, FaultId, FaultRule};
use forward::{ProxyBody, Upstream};
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Threads of a proxy: it only moves bytes.
const WORKERS: usize = 1;

/// What every connection of a proxy shares.
struct Shared {
    upstream: Upstream,
    faults: Faults<ProxyFault>,
    latency_micros: AtomicU64,
    requests: Mutex<BTreeMap<String, u64>>,
    forwarded: AtomicU64,
    late: AtomicU64,
    held: Mutex<Vec<forward::Outbound>>,
}

/// A running fault proxy. Dropping it ends it. Rules are built as for the scripted server; at this level
/// [`Call::shard`](crate::scripted::Call::shard) is always `None`, and the operation of a REST call (S3) is its HTTP
/// method: choose by [`Call::path`](crate::scripted::Call::path) with [`FaultRule::when`].
pub struct FaultProxy {
    shared: Arc<Shared>,
    listener: Listener,
}

impl FaultProxy {
    /// Starts a proxy on a free loopback port before `upstream`, an `http://host:port` URL.
    ///
    /// # Errors
    /// When the URL is not one, or no port or thread can be had.
    pub fn start(upstream: &str, seed: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            upstream: Upstream::new(upstream)?,
            faults: Faults::new(seed),
            latency_micros: AtomicU64::new(0),
            requests: Mutex::default(),
            forwarded: AtomicU64::new(0),
            late: AtomicU64::new(0),
            held: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let listener = Listener::start("fault-proxy", WORKERS, move |request| answer(Arc::clone(&serving), request))?;
        Ok(Self { shared, listener })
    }

    /// The URL to give to a client as its `endpoint_url`.
    pub fn endpoint(&self) -> String {
        self.listener.endpoint()
    }

    /// Resets every connection, new and existing ones: the link is cut.
    pub fn cut(&self) {
        self.listener.set_door(Door::Cut);
    }

    /// Accepts connections and never answers; calls under way are not answered either.
    pub fn blackhole(&self) {
        self.listener.set_door(Door::Blackhole);
    }

    /// Lets calls through again.
    pub fn restore(&self) {
        self.listener.set_door(Door::Open);
    }

    /// Makes every call take at least this long, as a distant region would.
    pub fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.shared.latency_micros.store(micros, Ordering::SeqCst);
    }

    /// Adds a fault rule; [`FaultRule::lasting`] is real time here.
    pub fn fault(&self, rule: FaultRule<ProxyFault>) -> FaultId {
        self.shared.faults.add(rule, SystemTime::now())
    }

    /// Takes a fault rule away; its count stays.
    pub fn remove_fault(&self, id: FaultId) {
        self.shared.faults.remove(id);
    }

    /// Takes every fault rule away.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// How often a rule fired.
    pub fn faults_applied(&self, id: FaultId) -> u64 {
        self.shared.faults.fired(id)
    }

    /// How often any rule fired.
    pub fn faults_applied_in_all(&self) -> u64 {
        self.shared.faults.fired_in_all()
    }

    /// Requests received so far, by operation.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests sent to the upstream so far; a duplicate counts.
    pub fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Ordering::SeqCst)
    }

    /// Calls held by [`ProxyFault::LoseAnswerHeld`].
    pub fn held_calls(&self) -> usize {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forwards the held calls; they have reached the upstream when [`Self::late_calls`] is 0 again.
    pub fn release_held(&self) {
        let held = std::mem::take(&mut *self.shared.held.lock().unwrap_or_else(PoisonError::into_inner));
        let _inside = self.listener.handle().enter();
        for request in held {
            drop(faulty::detached(&self.shared, request, Duration::ZERO));
        }
    }

    /// Calls cut off from their clients that have not reached the upstream's answer yet.
    pub fn late_calls(&self) -> u64 {
        self.shared.late.load(Ordering::SeqCst)
    }
}

impl std::fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultProxy").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<ProxyBody>, NoAnswer> {
    let outbound = forward::Outbound::read(request).await?;
    let op = inspect::operation(&outbound);
    *shared.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(op.clone()).or_default() += 1;
    let latency = shared.latency_micros.load(Ordering::SeqCst);
    if latency > 0 {
        tokio::time::sleep(Duration::from_micros(latency)).await;
    }
    let fault = if shared.faults.any() {
        let facts = inspect::Facts::of(&outbound);
        shared.faults.decide(&facts.call(&op, &outbound), SystemTime::now())
    } else {
        None
    };
    match fault {
        None => shared.send(outbound).await,
        Some(fault) => faulty::apply(shared, outbound, fault).await,
    }
}

impl Shared {
    /// Forwards a request; an upstream that cannot be reached is a connection that breaks.
    async fn send(&self, request: forward::Outbound) -> Result<hyper::Response<ProxyBody>, NoAnswer> {
        self.forwarded.fetch_add(1, Ordering::SeqCst);
        self.upstream.send(request).await
    }
}
