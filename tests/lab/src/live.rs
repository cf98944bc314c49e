//! The live judge: while the daemon works, is every number that it publishes true?
//!
//! One check asks for the status, then reads the standby, then looks at the ledger. In that order everything that a
//! served watermark promises is durable before the standby is read, and everything that the standby can hold is in the
//! ledger. What is judged, with the names of semantics 10.1 and 6.1:
//! - I1, P3: no change committed at or before a watermark is missing in the standby;
//! - nothing is in the standby that nobody wrote;
//! - I2: a watermark never goes back, restarts included (I3: it was durable before it was published);
//! - P1: a watermark is not in the future, and a bound is not smaller than the time since the watermark;
//! - RP-2: only `ok` has an `rpo_seconds`; a store without a watermark has no bound.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use serde_json::Value;

use crate::canon::Key;
use crate::daemon::DaemonClient;
use crate::judge::{self, Missing};
use crate::ledger::Ledger;
use crate::tables::TableSpec;
use crate::trouble::Trouble;

/// Rounding in the status: numbers to the millisecond, instants to the millisecond.
const ROUNDING: f64 = 0.01;

/// A store that is watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its id in the status.
    pub store: String,
    /// Its table in the standby.
    pub table: TableSpec,
    /// What was really committed in prodX.
    pub ledger: Ledger,
}

/// Something that the daemon published and that is not true.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The unforgivable one: a change below the watermark is not in the standby.
    Unsound(String, SystemTime, Missing),
    /// The standby holds an item that nobody wrote.
    Invented(String, Key),
    /// The watermark went back from the first to the second.
    WentBack(String, SystemTime, SystemTime),
    /// A number or an instant in the status contradicts itself; in words.
    Contradiction(String, String),
}

/// How a check went.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// The status was judged; this is what was wrong with it.
    Judged(Vec<Finding>),
    /// The daemon or the standby did not answer (it may have been killed on purpose): nothing was judged.
    NoAnswer(Trouble),
}

/// Watches stores through the status and the standby.
#[derive(Debug)]
pub struct Watch {
    daemon: DaemonClient,
    standby: Client,
    stores: Vec<Watched>,
    highest: BTreeMap<String, SystemTime>,
    judged: usize,
}

impl Watch {
    /// Keep one watch over all restarts of the daemon, or watermarks that go back over a restart are missed.
    pub fn new(daemon: DaemonClient, standby: Client, stores: Vec<Watched>) -> Self {
        Self { daemon, standby, stores, highest: BTreeMap::new(), judged: 0 }
    }

    /// How many checks got an answer and had at least one watermark to judge. A test must ask that there were some.
    pub fn judged(&self) -> usize {
        self.judged
    }

    /// One check.
    pub async fn check(&mut self) -> Check {
        let status = match self.daemon.status().await {
            Ok(status) => status,
            Err(trouble) => return Check::NoAnswer(trouble),
        };
        let answered_at = SystemTime::now();
        let mut findings = Vec::new();
        let mut watermarks = 0;
        for watched in &self.stores {
            let Some(store) = status.store(&watched.store) else {
                let words = "the store is not in the status".to_owned();
                findings.push(Finding::Contradiction(watched.store.clone(), words));
                continue;
            };
            let watermark = status.watermark(&watched.store);
            let words = contradictions(store, watermark, status.asked_at, answered_at);
            findings.extend(words.into_iter().map(|words| Finding::Contradiction(watched.store.clone(), words)));
            let standby = match watched.table.contents(&self.standby).await {
                Ok(standby) => standby,
                Err(trouble) => return Check::NoAnswer(trouble),
            };
            let (missing, invented) = watched.ledger.read(|history| {
                let missing = watermark.map(|w| judge::judge_watermark(history, &standby, w)).unwrap_or_default();
                (missing, judge::invented(history, &standby))
            });
            findings.extend(invented.into_iter().map(|key| Finding::Invented(watched.store.clone(), key)));
            if let Some(watermark) = watermark {
                watermarks += 1;
                let unsound = |missing| Finding::Unsound(watched.store.clone(), watermark, missing);
                findings.extend(missing.into_iter().map(unsound));
                findings.extend(remember(&mut self.highest, &watched.store, watermark));
            }
        }
        self.judged += usize::from(watermarks > 0);
        Check::Judged(findings)
    }

    /// Checks again and again until `stop` resolves; the findings of all checks. `pause` is the time between two.
    pub async fn until(&mut self, stop: impl Future<Output = ()>, pause: Duration) -> Vec<Finding> {
        let mut findings = Vec::new();
        tokio::pin!(stop);
        loop {
            if let Check::Judged(found) = self.check().await {
                findings.extend(found);
            }
            tokio::select! {
                () = &mut stop => return findings,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn remember(highest: &mut BTreeMap<String, SystemTime>, store: &str, watermark: SystemTime) -> Option<Finding> {
    let before = highest.insert(store.to_owned(), watermark)?;
    (watermark < before).then(|| Finding::WentBack(store.to_owned(), before, watermark))
}

/// What a store's row says against itself. The row was made between `asked_at` and `answered_at`.
fn contradictions(
    store: &Value,
    watermark: Option<SystemTime>,
    asked_at: SystemTime,
    answered_at: SystemTime,
) -> Vec<String> {
    let mut words = Vec::new();
    let state = store.get("state").and_then(Value::as_str).unwrap_or("absent");
    let number = |name: &str| store.get(name).and_then(Value::as_f64);
    let (rpo, bound) = (number("rpo_seconds"), number("rpo_upper_bound_seconds"));
    if rpo.is_some() && state != "ok" {
        words.push(format!("state {state} with an rpo_seconds"));
    }
    if rpo.is_none() && state == "ok" {
        words.push("state ok without an rpo_seconds".into());
    }
    let Some(watermark) = watermark else {
        if bound.is_some() {
            words.push("a bound without a watermark".into());
        }
        return words;
    };
    if let Ok(ahead) = watermark.duration_since(answered_at)
        && !ahead.is_zero()
    {
        words.push(format!("the watermark is {ahead:?} in the future"));
    }
    let age = asked_at.duration_since(watermark).unwrap_or_default().as_secs_f64();
    for (name, value) in [("rpo_seconds", rpo), ("rpo_upper_bound_seconds", bound)] {
        if let Some(value) = value
            && value + ROUNDING < age
        {
            words.push(format!("{name} is {value}, but the watermark was already {age:.3} s old"));
        }
    }
    if bound.is_none() && state != "fenced" {
        words.push("a watermark without a bound".into());
    }
    words
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: &SystemTime| humantime::format_rfc3339_millis(*at);
        match self {
            Self::Unsound(store, watermark, missing) => {
                write!(f, "{store}: the watermark {} is a lie: {missing}", time(watermark))
            }
            Self::Invented(store, key) => write!(f, "{store}: {key} is in the standby, but nobody wrote it"),
            Self::WentBack(store, from, to) => {
                write!(f, "{store}: the watermark went back from {} to {}", time(from), time(to))
            }
            Self::Contradiction(store, words) => write!(f, "{store}: {words}"),
        }
    }
}

#[cfg(test)]
mod tests;
