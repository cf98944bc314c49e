//! The truth about what is published: a watch that asks, then reads the standby, then looks at what prodX committed.
//!
//! In that order everything that a served watermark promises is durable before the standby is read (I1), and everything
//! that the standby can hold is in the history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plimsoll_lab::daemon::{DaemonClient, Status};
use plimsoll_lab::scripted::{Change, Item, Key, ScriptedAws};

use super::fixture::{ORDERS, Pair, bound, field, is_canary, of_store, series_of};

/// A change as it was committed: when, and the item after it.
type Committed = (SystemTime, Option<Arc<Item>>);

/// Everything that prodX ever committed, by key, kept up as it grows.
#[derive(Default)]
struct History {
    seen: usize,
    keys: HashMap<Arc<Key>, Vec<Committed>>,
}

impl History {
    fn update(&mut self, x: &ScriptedAws) {
        let all = x.history(ORDERS);
        for change in all[self.seen..].iter().filter(|change| !is_canary(&change.key)) {
            self.keys.entry(Arc::clone(&change.key)).or_default().push((change.commit, change.new.clone()));
        }
        self.seen = all.len();
    }

    /// I1: what was committed at or before `watermark` and is not in the standby, in words.
    fn missing(&self, standby: &BTreeMap<Key, Arc<Item>>, watermark: SystemTime) -> Vec<String> {
        let mut missing = Vec::new();
        for (key, changes) in &self.keys {
            let last = changes.partition_point(|(commit, _)| *commit <= watermark);
            let Some(promised) = last.checked_sub(1) else { continue };
            let held = standby.get(&**key);
            if !changes[promised..].iter().any(|(_, new)| new.as_ref() == held) {
                let commit = humantime::format_rfc3339_nanos(changes[promised].0);
                let mark = humantime::format_rfc3339_nanos(watermark);
                missing.push(format!("I1: {key}, committed {commit}, is missing below the watermark {mark}"));
            }
        }
        missing
    }
}

/// What a watch has seen.
#[derive(Default, Clone)]
pub(crate) struct Seen {
    /// What was published and is not true.
    pub(crate) lies: Vec<String>,
    /// The states of the store.
    pub(crate) states: BTreeSet<String>,
    /// Every watermark, once.
    pub(crate) watermarks: BTreeSet<SystemTime>,
    /// Judged answers.
    pub(crate) judged: usize,
}

impl Seen {
    /// The highest watermark that was published.
    pub(crate) fn highest(&self) -> Option<SystemTime> {
        self.watermarks.last().copied()
    }
}

/// Watches one store over all restarts of its daemon.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Asks every few milliseconds.
    pub(crate) fn start(pair: &Pair, client: &DaemonClient) -> Self {
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (x, y, client) = (Arc::clone(&pair.x), Arc::clone(&pair.y), client.clone());
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut history = History::default();
            while !stopped.load(Ordering::SeqCst) {
                if let Ok(status) = client.status().await {
                    judge(&status, SystemTime::now(), &x, &y, &mut history, &shared);
                }
                if let Ok(scrape) = client.metrics().await {
                    let value = series_of(&scrape, &of_store("store_watermark_timestamp_seconds"));
                    // A float of seconds holds microseconds; the watermark is of milliseconds.
                    let at = value.map(|v| UNIX_EPOCH + Duration::from_millis((v * 1000.0).round() as u64));
                    published(at, &x, &y, &mut history, &shared);
                }
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        });
        Self { seen, stop, task }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, and fails the test if anything untrue was published.
    pub(crate) async fn truthful(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("the watch ends well");
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(seen.lies.is_empty(), "{} lies:\n{}", seen.lies.len(), seen.lies[..seen.lies.len().min(10)].join("\n"));
        assert!(seen.judged > 0, "nothing was judged");
        seen
    }
}

fn judge(
    status: &Status,
    answered: SystemTime,
    x: &ScriptedAws,
    y: &ScriptedAws,
    history: &mut History,
    shared: &Mutex<Seen>,
) {
    let watermark = status.watermark(ORDERS);
    published(watermark, x, y, history, shared);
    let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let state = status.state(ORDERS).to_owned();
    let rpo = field(status, "rpo_seconds").as_f64();
    if rpo.is_some() != (state == "ok") {
        seen.lies.push(format!("RP-2: state {state} with the RPO {rpo:?}"));
    }
    if bound(status).is_some() != watermark.is_some() {
        seen.lies.push(format!("a bound {:?} with the watermark {watermark:?}", bound(status)));
    }
    if let Some(watermark) = watermark {
        let age = status.asked_at.duration_since(watermark).unwrap_or_default().as_secs_f64();
        if watermark > answered {
            seen.lies.push(format!("P1: the watermark {} is in the future", humantime::format_rfc3339(watermark)));
        }
        if bound(status).is_some_and(|bound| bound + 0.01 < age) {
            seen.lies.push(format!("the bound {:?} is less than the age {age}", bound(status)));
        }
    }
    seen.states.insert(state);
    seen.judged += 1;
}

/// Judges a watermark that was published before this is called.
fn published(
    watermark: Option<SystemTime>,
    x: &ScriptedAws,
    y: &ScriptedAws,
    history: &mut History,
    shared: &Mutex<Seen>,
) {
    let Some(watermark) = watermark else { return };
    let standby = y.snapshot(ORDERS);
    history.update(x);
    let missing = history.missing(&standby, watermark);
    let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
    seen.lies.extend(missing);
    if let Some(highest) = seen.watermarks.last().copied()
        && watermark < highest
    {
        let (from, to) = (humantime::format_rfc3339_millis(highest), humantime::format_rfc3339_millis(watermark));
        seen.lies.push(format!("I2: the watermark went back from {from} to {to}"));
    }
    seen.watermarks.insert(watermark);
}

/// I4: between two restarts the values of a key in the standby are a subsequence of its values in the source. `arrivals`
/// are the writes of one life of the daemon; what is wrong with them, in words.
pub(crate) fn regressions(x: &ScriptedAws, arrivals: &[Arc<Change>]) -> Vec<String> {
    let source = x.values_by_key(ORDERS);
    let mut reached: HashMap<&Key, usize> = HashMap::new();
    let mut wrong = Vec::new();
    for arrival in arrivals {
        let at = reached.entry(&arrival.key).or_default();
        let values = source.get(&arrival.key).map(Vec::as_slice).unwrap_or_default();
        match values.get(*at..).unwrap_or_default().iter().position(|value| *value == arrival.new) {
            Some(ahead) => *at += ahead,
            None => wrong.push(format!("I4: {} became {:?} after a newer value", arrival.key, arrival.new)),
        }
    }
    wrong
}
