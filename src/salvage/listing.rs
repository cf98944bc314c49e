//! The listing of what was lost, line by line, for as long as somebody reads it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::coalesce::{BUFFER, Coalescer, KeyId, shown};
use super::line::{Begin, End, FORMAT, KeyLine, Line, StoreLine};
use super::lost::{Lost, Verdict};
use super::rest::Left;
use super::{SalvageError, Salvages};
use crate::change::{Class, SourceTime, Stamp, StoreId};
use crate::promote::{Authorized, Secs, When};
use crate::seams::timeout;
use crate::stores::contract::Mode;
use crate::stores::salvage::{Found, Salvage, Sink, digest_of};
use crate::stores::{Store, StoreError, StoreState};
use crate::watermark::{Fence, Seed};

/// Between two lines, at most: below the idle limit of common proxies and of the command line.
const SILENCE: Duration = Duration::from_secs(5);
/// Keys that are looked up in prodY in one request.
const LOOKED_UP: usize = 100;
/// Between two attempts to reach prodX before it is called gone.
const AGAIN: Duration = Duration::from_millis(500);
/// What a comparison reads of each table unless told otherwise, bytes a second: 1,000 read units of a table that has just
/// become the active one.
const SCAN: u64 = 4 << 20;
/// Slower than this the pause after a page would be taken for silence.
const LEAST_SCAN: u64 = 256 << 10;
/// For prodX to answer at all: less than a caller waits for the beginning of an answer.
const REACH: Duration = Duration::from_secs(20);

/// May the tables be compared?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparing {
    /// Where the stream cannot tell everything any more.
    #[default]
    WhenNeeded,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The body of `POST /v1/salvage`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ask {
    /// The stores; none: every one that can be salvaged.
    pub stores: Vec<String>,
    /// May the tables be compared?
    pub compare: Comparing,
    /// What a comparison may read of each table, bytes a second.
    pub scan_bytes_per_second: Option<u64>,
}

/// A listing that was admitted. It begins when it is run.
pub struct Listing {
    salvages: Arc<Salvages>,
    ask: Ask,
    who: Authorized,
    fence: Fence,
    stores: Vec<Arc<dyn Store>>,
    asked_at: Stamp,
    export: String,
    /// Held to its end.
    _one: OwnedSemaphorePermit,
}

impl Salvages {
    /// Admits a listing: there is a fence, no other listing, and prodX answers for one store at least.
    pub async fn list(self: &Arc<Self>, ask: Ask, who: &Authorized) -> Result<Listing, SalvageError> {
        let fence = self.fence()?;
        let stores: Vec<Arc<dyn Store>> = if ask.stores.is_empty() {
            self.inputs.stores.iter().filter(|store| store.salvage().is_some()).cloned().collect()
        } else {
            let mut named = Vec::new();
            for id in &ask.stores {
                let store = self.store(id)?;
                if !named.iter().any(|have: &Arc<dyn Store>| have.id() == store.id()) {
                    named.push(Arc::clone(store));
                }
            }
            named
        };
        if stores.is_empty() {
            return Err(SalvageError::Store("no store of this application can be salvaged".into()));
        }
        let one = Arc::clone(&self.listing).try_acquire_owned().map_err(|_| SalvageError::Busy)?;
        let reached = timeout(self.inputs.clock.as_ref(), REACH, self.reach(&stores)).await;
        reached.unwrap_or_else(|| {
            let what = format!("DescribeTable (within {} s)", REACH.as_secs());
            Err(SalvageError::Unreachable(StoreError::new(Class::Unavailable, what, self.inputs.primary.clone())))
        })?;
        let asked_at = self.inputs.clock.now();
        let export = self.inputs.ids.id();
        Ok(Listing { salvages: Arc::clone(self), ask, who: who.clone(), fence, stores, asked_at, export, _one: one })
    }

    async fn reach(&self, stores: &[Arc<dyn Store>]) -> Result<(), SalvageError> {
        let mut last = None;
        for attempt in 0..2 {
            if attempt > 0 {
                self.inputs.clock.sleep(AGAIN).await;
            }
            let reached = join_all(stores.iter().filter_map(|store| store.salvage()).map(Salvage::reachable)).await;
            if reached.iter().any(Result::is_ok) {
                return Ok(());
            }
            last = reached.into_iter().find_map(Result::err);
        }
        Err(last.map_or_else(|| SalvageError::Store("there are no stores".into()), SalvageError::Unreachable))
    }
}

impl Listing {
    /// Sends its lines until the last, or until nobody reads them any more.
    pub async fn run(self, to: mpsc::Sender<Bytes>) {
        let mut out = Out {
            to,
            salvages: Arc::clone(&self.salvages),
            sum: Sha256::new(),
            keys: 0,
            last: self.salvages.inputs.clock.now().mono,
        };
        if let Err(error) = self.all(&mut out).await {
            tracing::warn!(export = self.export, error = error.chain(), "a salvage listing broke off");
            // To nobody, if it was the reader that went away.
            let line = Line::Failed { store: None, why: error.chain() };
            drop(out.line(&line).await);
        }
    }

    async fn all(&self, out: &mut Out) -> Result<(), StoreError> {
        let inputs = &self.salvages.inputs;
        let begin = Begin {
            format: FORMAT,
            export: self.export.clone(),
            app: inputs.app.clone(),
            primary: inputs.primary.clone(),
            standby: inputs.standby.clone(),
            promotion: self.fence.promotion.clone(),
            fenced_at: When(self.fence.at),
            asked_at: When(self.asked_at.wall),
        };
        out.line(&Line::Begin(begin)).await?;
        let (mut told, mut whole) = (Vec::new(), true);
        for store in &self.stores {
            match self.one(store, out).await {
                Ok(line) => {
                    told.push(summary(&line));
                    out.line(&Line::Store(Box::new(line))).await?;
                }
                Err(error) => {
                    whole = false;
                    let why = error.chain();
                    out.line(&Line::Failed { store: Some(store.id().clone()), why }).await?;
                }
            }
        }
        let sha256: String = out.sum.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let end = End { keys: out.keys, sha256, whole };
        let detail = json!({
            "export": self.export,
            "promotion": self.fence.promotion,
            "keys": end.keys,
            "sha256": end.sha256,
            "stores": told,
        });
        let written = self.salvages.audit.listed(&self.who, detail).await;
        written.map_err(|e| StoreError::new(Class::Unavailable, e.to_string(), "the audit log"))?;
        out.line(&Line::End(end)).await
    }

    async fn one(&self, store: &Arc<dyn Store>, out: &mut Out) -> Result<StoreLine, StoreError> {
        let inputs = &self.salvages.inputs;
        let on = format!("store {}", store.id());
        let salvage = store.salvage().ok_or_else(|| StoreError::new(Class::Invalid, "salvage", on.clone()))?;
        let rest = Left::new(Arc::clone(&inputs.index), store.id().clone());
        let by_key = matches!(store.mode(), Mode::Converge(_));
        let state = if by_key {
            rest.state()?
        } else {
            let state = crate::replicate::load(inputs.index.as_ref(), store.id());
            state.map_err(|e| StoreError::new(Class::Invalid, e.to_string(), on.clone()))?
        };
        let mut missing = unproven_at_the_fence(&state);
        missing.extend(if by_key { rest.unheard()? } else { rest.unmended()? });
        let coalescer = Coalescer::new(inputs.spill.clone(), BUFFER);
        let mut collect = Collect { coalescer, out, store: store.id() };
        // Before what the stream says of the same keys: they are older.
        for (key, record) in &state.parked {
            match salvage.parked(key, record) {
                Ok(found) => collect.found(found).await?,
                Err(error) => missing.push(error.chain()),
            }
        }
        missing.extend(salvage.tail(&state, self.asked_at, &rest, &mut collect).await?);
        let compared = match self.ask.compare {
            Comparing::Always => true,
            Comparing::WhenNeeded => !missing.is_empty(),
            Comparing::Never => false,
        };
        if compared {
            let rate = self.ask.scan_bytes_per_second.unwrap_or(SCAN).max(LEAST_SCAN);
            if let Err(error) = salvage.compare(rate, &mut collect).await {
                collect.alive().await?;
                missing.push(format!("the comparison failed: {}", error.chain()));
            }
        }
        let through = state.record.through;
        let since_fence = |at: SourceTime| Secs(self.fence.at.since(at));
        let mut line = StoreLine {
            store: store.id().clone(),
            complete: missing.is_empty(),
            missing,
            compared,
            changes: collect.coalescer.changes(),
            counts: super::Counts::new(),
            after_fence: 0,
            oldest: None,
            newest: None,
            watermark: through.map(When),
            predicted_loss_seconds: through.map(since_fence),
            actual_loss_seconds: None,
            violations: 0,
        };
        let disk =
            |e: std::io::Error| StoreError::new(Class::Unavailable, "keeping changes on disk", on.clone()).because(e);
        let mut parts = collect.coalescer.finish().map_err(disk)?;
        while let Some(part) = parts.next().map_err(disk)? {
            let mut part = part.into_iter();
            loop {
                let batch: Vec<(KeyId, Lost)> = part.by_ref().take(LOOKED_UP).collect();
                if batch.is_empty() {
                    break;
                }
                self.judge(salvage, batch, &mut line, out).await?;
            }
        }
        line.actual_loss_seconds = line.oldest.map(|oldest| since_fence(oldest.0));
        if line.violations > 0 {
            tracing::error!(
                store = %store.id(),
                keys = line.violations,
                "SOUNDNESS VIOLATION: changes older than the frozen watermark are missing in prodY"
            );
            (inputs.on_violation)();
        }
        Ok(line)
    }

    /// Looks at prodY and says what is to be said of each key.
    async fn judge(
        &self,
        salvage: &dyn Salvage,
        batch: Vec<(KeyId, Lost)>,
        line: &mut StoreLine,
        out: &mut Out,
    ) -> Result<(), StoreError> {
        let read = |text: &str| -> Result<Value, StoreError> {
            serde_json::from_str(text)
                .map_err(|e| StoreError::new(Class::Invalid, "reading an image", "salvage").because(e))
        };
        let keys = batch.iter().map(|(_, lost)| read(&lost.name)).collect::<Result<Vec<Value>, _>>()?;
        let held = salvage.standby(&keys).await?;
        for (((id, lost), key), standby) in batch.into_iter().zip(keys).zip(held) {
            let (verdict, certain) = lost.verdict(digest_of(standby.as_ref()));
            *line.counts.entry(verdict).or_default() += 1;
            if verdict == Verdict::Settled {
                continue;
            }
            let since = certain.or(lost.first);
            let after_fence = since.is_some_and(|at| at > self.fence.at);
            line.after_fence += u64::from(after_fence);
            let earlier = |have: Option<When>| [have, since.map(When)].into_iter().flatten().min();
            (line.oldest, line.newest) = (earlier(line.oldest), line.newest.max(lost.last.map(When)));
            // A record of that second is at least that old (DS-F12).
            let promised =
                |at: SourceTime| line.watermark.is_some_and(|w| at.floor_to_second() + Duration::from_secs(1) <= w.0);
            line.violations += u64::from(certain.is_some_and(promised));
            let found = KeyLine {
                store: line.store.clone(),
                id: shown(&id),
                verdict,
                origin: lost.origin,
                at: lost.last.map(When),
                since: since.map(When),
                changes: lost.changes,
                expired: lost.expired,
                after_fence,
                key,
                primary: lost.image.as_ref().map(|image| read(&image.json)).transpose()?,
                standby: standby.as_ref().map(|image| read(&image.json)).transpose()?,
            };
            out.key(found).await?;
        }
        out.alive(&line.store, line.changes).await
    }
}

/// What the frozen positions cannot vouch for.
fn unproven_at_the_fence(state: &StoreState) -> Vec<String> {
    let mut missing = Vec::new();
    if let Some(gap) = &state.record.gap {
        missing.push(format!("history was lost before the promotion: {}", gap.sentence()));
    }
    if state.record.incarnation.is_some() && !matches!(state.record.seed, Seed::Done { .. }) {
        missing.push("the store was still being seeded at the promotion: what was never copied is in no record".into());
    }
    missing
}

/// What the audit log keeps of a store: the prediction and the truth (RP-10).
fn summary(line: &StoreLine) -> Value {
    json!({
        "store": line.store,
        "complete": line.complete,
        "counts": line.counts,
        "predicted_loss_seconds": line.predicted_loss_seconds,
        "actual_loss_seconds": line.actual_loss_seconds,
        "violations": line.violations,
    })
}

/// Where lines go.
struct Out {
    to: mpsc::Sender<Bytes>,
    salvages: Arc<Salvages>,
    sum: Sha256,
    keys: u64,
    /// When the last line was sent.
    last: Duration,
}

impl Out {
    async fn send(&mut self, text: String) -> Result<(), StoreError> {
        self.last = self.salvages.inputs.clock.now().mono;
        let sent = self.to.send(text.into()).await;
        sent.map_err(|_| StoreError::new(Class::Unavailable, "sending a line", "a reader that is gone"))
    }

    async fn line(&mut self, line: &Line) -> Result<(), StoreError> {
        self.send(line.text()).await
    }

    async fn key(&mut self, key: KeyLine) -> Result<(), StoreError> {
        let text = Line::Key(key).text();
        self.sum.update(text.as_bytes());
        self.keys += 1;
        self.send(text).await
    }

    /// A sign of life, if one is due; and the places where a listing ends early.
    async fn alive(&mut self, store: &StoreId, changes: u64) -> Result<(), StoreError> {
        if self.salvages.inputs.stopping.is_cancelled() {
            return Err(StoreError::new(Class::Unavailable, "listing", "a daemon that is stopping").hint("list again"));
        }
        if self.to.is_closed() {
            return Err(StoreError::new(Class::Unavailable, "sending a line", "a reader that is gone"));
        }
        if self.salvages.inputs.clock.now().mono.saturating_sub(self.last) < SILENCE {
            return Ok(());
        }
        self.line(&Line::Progress { store: store.clone(), changes }).await
    }
}

/// Takes what a kind finds.
struct Collect<'a> {
    coalescer: Coalescer,
    out: &'a mut Out,
    store: &'a StoreId,
}

#[async_trait]
impl Sink for Collect<'_> {
    async fn found(&mut self, found: Found) -> Result<(), StoreError> {
        self.coalescer.add(found).map_err(|e| {
            StoreError::new(Class::Unavailable, "keeping changes on disk", format!("store {}", self.store))
                .because(e)
                .hint("make room where the index is, or salvage the stores one by one")
        })
    }

    async fn alive(&mut self) -> Result<(), StoreError> {
        self.out.alive(self.store, self.coalescer.changes()).await
    }
}
