//! What a promotion asks of the flow from prodX to prodY. Implemented by `replicate`; promote knows no store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::change::StoreId;

/// How a catch-up ended, per store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatchUp {
    /// The store.
    pub store: StoreId,
    /// Changes that were read and are still not durable in the standby.
    pub left: u64,
    /// Why it ended, for a human: `nothing left`, `prodX does not answer`, `30 s passed`.
    pub why: String,
}

/// The flow X to Y as a whole.
#[async_trait]
pub trait Flow: Send + Sync {
    /// Goes on until, for every store, all that was fetched is durable and the source has given all it has or does not
    /// answer; at most for `bound`.
    async fn catch_up(&self, bound: Duration) -> Vec<CatchUp>;

    /// Stops the flow: when it returns, no write is in flight or can still take effect, the last commits are durable, and
    /// no new write is sent until [`Flow::reopen`]. Idempotent.
    async fn close(&self) -> Result<(), String>;

    /// Lets it flow again. Only for a promotion that ends before its fence.
    fn reopen(&self);
}

/// Several flows as one: of the stores that we replicate, and of those that we observe.
pub struct Flows(pub Vec<Arc<dyn Flow>>);

#[async_trait]
impl Flow for Flows {
    async fn catch_up(&self, bound: Duration) -> Vec<CatchUp> {
        join_all(self.0.iter().map(|flow| flow.catch_up(bound))).await.into_iter().flatten().collect()
    }

    async fn close(&self) -> Result<(), String> {
        let ends = join_all(self.0.iter().map(|flow| flow.close())).await;
        let late: Vec<String> = ends.into_iter().filter_map(Result::err).collect();
        if late.is_empty() { Ok(()) } else { Err(late.join("; ")) }
    }

    fn reopen(&self) {
        self.0.iter().for_each(|flow| flow.reopen());
    }
}
