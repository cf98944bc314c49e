//! The daemon's rounds: every store once at the start and then every hour, jittered, one after the other.
//!
//! They end with the fence: from then on the standby is no standby, and is meant to differ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::change::{ANSWERS, Examination, Finding, Severity, StoreId};
use crate::seams::{Ids, SharedClock, timeout};
use crate::stores::{Look, Store};
use crate::watermark::{Board, Index};

/// From the start to the first round, at least: the tails begin first.
const FIRST: Duration = Duration::from_secs(1);
/// Between two rounds.
const EVERY: Duration = Duration::from_secs(3600);
/// After a round in which something did not answer; doubles up to [`EVERY`].
const SOON: Duration = Duration::from_secs(60);
/// For one store.
const BOUND: Duration = Duration::from_secs(60);

/// What the rounds need.
pub struct Rounds {
    /// Time.
    pub clock: SharedClock,
    /// Jitter.
    pub ids: Arc<dyn Ids>,
    /// What is durable about the stores, and the fence.
    pub index: Arc<dyn Index>,
    /// Where findings are shown.
    pub board: Arc<Board>,
    /// Who is examined.
    pub stores: Vec<Arc<dyn Store>>,
    /// Cancelled when the process stops.
    pub stopping: CancellationToken,
}

impl Rounds {
    /// Makes rounds until the fence, or until the process stops.
    pub async fn run(self) {
        let mut pause = self.jittered(FIRST, 2.0);
        let mut soon = SOON;
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.clock.sleep(pause) => {}
            }
            let mut all_answered = true;
            for store in &self.stores {
                if self.fenced() || self.stopping.is_cancelled() {
                    return;
                }
                all_answered &= self.visit(store).await;
            }
            soon = if all_answered { SOON } else { (soon * 2).min(EVERY) };
            pause = self.jittered(if all_answered { EVERY } else { soon }, 0.2);
        }
    }

    fn fenced(&self) -> bool {
        self.index.snapshot().fence.is_some()
    }

    /// Between `d` and `d` and a share of it more.
    fn jittered(&self, d: Duration, share: f64) -> Duration {
        let random = f64::from(self.ids.fresh()[0]) / 255.0;
        d + d.mul_f64(random * share)
    }

    /// Examines one store. Did all that was asked answer?
    async fn visit(&self, store: &Arc<dyn Store>) -> bool {
        let Some(examine) = store.examine() else { return true };
        let marks = self.index.snapshot();
        let known = marks.stores.get(store.id()).map(|mark| &mark.record);
        let look = Look { known, probe: false };
        let looked = tokio::select! {
            () = self.stopping.cancelled() => return true,
            looked = timeout(self.clock.as_ref(), BOUND, examine.examine(look)) => looked,
        };
        // What an earlier round found is better than nothing.
        let Some(findings) = looked else { return false };
        let answered = findings.iter().all(|f| f.check != ANSWERS || f.severity == Severity::Ok);
        let before = self.board.examination(store.id());
        let now = Examination { at: Some(self.clock.now()), findings };
        tell(store.id(), &before, &now);
        self.board.examined(store.id(), now);
        answered
    }
}

/// Logs what is new, and what is gone, once.
fn tell(store: &StoreId, before: &Examination, now: &Examination) {
    let problems = |seen: &Examination| -> BTreeSet<(&'static str, String)> {
        let bad = |f: &&Finding| f.severity == Severity::Problem;
        seen.findings.iter().filter(bad).map(|f| (f.check, f.sentence())).collect()
    };
    let (old, new) = (problems(before), problems(now));
    for (check, sentence) in new.difference(&old) {
        tracing::warn!(%store, check, "{sentence}");
    }
    for (check, sentence) in old.difference(&new) {
        tracing::info!(%store, check, "no longer so: {sentence}");
    }
}

#[cfg(test)]
mod tests;
