//! The HTTP server: metrics, health, the API of status and recovery, and a page for a human.
//!
//! Routes (the table is `router::routes`; the role is what the caller's token needs at least):
//!
//! ```text
//! GET  /metrics                        -         Prometheus exposition
//! GET  /healthz                        -         200 while the process answers, whatever the stores' state
//! GET  /readyz                         -         200 when every check passes, 503 with the reasons otherwise
//! GET  /                               -         a page that asks for a token and shows the status
//! GET  /v1/status                      viewer    the whole application
//! GET  /v1/stores/{id}                 viewer    one store
//! POST /v1/stores/{id}/reseed          operator  copies it anew
//! POST /v1/stores/{id}/verify          operator  compares it with its standby, and repairs what differs if asked to
//! GET  /v1/stores/{id}/divergent       viewer    items that differ; ?show_keys=true, for an operator, shows their keys
//! GET  /v1/plan                        viewer    what a promotion would do and lose now
//! POST /v1/promote                     approver  starts a promotion: 202 and its id; Idempotency-Key gives the same run
//! GET  /v1/promotions                  viewer    every promotion
//! GET  /v1/promotions/{id}             viewer    one, with its report
//! GET  /v1/promotions/{id}/events      viewer    its events (SSE; Last-Event-ID resumes; ends after the last)
//! POST /v1/promotions/{id}/hold        operator  stops after the running step
//! POST /v1/promotions/{id}/resume      approver  goes on
//! POST /v1/promotions/{id}/notes       operator  adds a human's words
//! POST /v1/salvage                     operator  what a promotion lost, as JSON lines
//! POST /v1/salvage/apply               approver  brings lines of such a list over to prodY
//! ```
//!
//! Errors are `application/problem+json` with `type`, `title`, `status`, `detail` and `hint`. No GET changes anything.
//!
//! Invariants
//! - A route cannot forget its role: roles stand in the table that the router is built from.
//! - Nothing here waits for a store: status and metrics are judgements of published marks, so they answer while prodX,
//!   prodY or a driver hangs.
//! - Every connection is bounded: in number, in the size and time of its head and body, in the time of its answer.
//!
//! What this module deliberately does not do: rate limits per address, and virtual hosts; a proxy does that better.

pub mod auth;
pub mod coverage;
pub mod problem;
pub mod recovery;
pub mod status;
pub mod tls;

mod api;
mod events;
mod health;
mod keeping;
mod listener;
mod page;
mod promoting;
mod request;
mod router;
mod salvaging;

pub use keeping::{Divergent, Keeping};
pub use listener::{Limits, Listener, StartError, tokens};
pub use promoting::Promoting;
pub use recovery::{Event, Recovery, Started, Timings};
pub use status::{Fleet, Status, Watched};

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::change::Stamp;
use crate::rpo::Terms;
use crate::salvage::Salvages;
use crate::seams::SharedClock;
use crate::telemetry::{Metrics, Scrape};
use crate::watermark::{Board, Index};

/// What the server shows and asks.
pub struct View {
    /// The application and its stores.
    pub fleet: Fleet,
    /// The published watermarks.
    pub index: Arc<dyn Index>,
    /// The drivers' vital signs.
    pub board: Arc<Board>,
    /// The recovery.
    pub recovery: Arc<dyn Recovery>,
    /// What a promotion lost.
    pub salvage: Arc<Salvages>,
    /// The stores, as far as operators command them.
    pub keeping: Arc<dyn Keeping>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Who may call.
    pub tokens: auth::Tokens,
    /// Time.
    pub clock: SharedClock,
    /// When this process began to look.
    pub started: Stamp,
    /// The measured bound on the difference between our clock and the source's.
    pub clock_skew: Box<dyn Fn() -> Duration + Send + Sync>,
    /// The essential tasks that show no life, by name; empty when all do.
    pub lifeless: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Cancelled when the process stops: event streams end.
    pub stopping: CancellationToken,
}

impl View {
    /// The status now.
    pub fn status(&self) -> Status {
        let marks = self.index.snapshot();
        self.fleet.status(&status::Facts {
            now: self.clock.now(),
            started: self.started,
            clock_skew: (self.clock_skew)(),
            marks: &marks,
            board: &self.board,
            phase: &self.recovery.phase(),
        })
    }

    /// The exposition now.
    pub fn exposition(&self) -> String {
        let marks = self.index.snapshot();
        let stores: Vec<(_, _, Terms)> = self.fleet.stores.iter().map(|s| (s.id.clone(), s.kind, s.terms)).collect();
        let timings = self.recovery.timings();
        let checks: Vec<_> = self.checks().into_iter().map(|c| (c.check, c.passes)).collect();
        self.metrics.render(&Scrape {
            now: self.clock.now(),
            clock_skew: (self.clock_skew)(),
            marks: &marks,
            board: &self.board,
            stores: &stores,
            rto_objective: self.fleet.rto,
            phase: &self.recovery.phase(),
            steps: &timings.steps,
            rto_achieved: timings.rto,
            checks: &checks,
        })
    }

    /// The state of the application in words, for systemd's `STATUS=`.
    pub fn words(&self) -> String {
        let status = self.status();
        let bound = |s: &status::StoreStatus| s.rpo_upper_bound_seconds.unwrap_or(f64::INFINITY);
        let worst = status.stores.iter().max_by(|a, b| bound(a).total_cmp(&bound(b)));
        let span = |s: f64| status::span(Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX));
        match worst {
            None => format!("{}; no stores", status.phase),
            Some(s) => match s.rpo_upper_bound_seconds {
                None => format!("{}; worst: {} {}, no RPO", status.phase, s.id, s.state),
                Some(bound) => format!(
                    "{}; worst: {} {}, up to {} would be lost (objective {})",
                    status.phase,
                    s.id,
                    s.state,
                    span(bound),
                    span(s.objective_seconds)
                ),
            },
        }
    }
}
