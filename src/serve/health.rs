//! `/metrics`, `/healthz` and `/readyz`: open, cheap, and true while everything else hangs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::View;
use crate::telemetry;

/// One of the things that must be in order before traffic of operators makes sense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// Its name; the value of the metric's label.
    pub(super) check: &'static str,
    /// Is it in order?
    pub(super) passes: bool,
    /// What is wrong and what to do.
    pub(super) why: Option<String>,
}

impl View {
    /// `index`: the index can be written. `tasks`: every essential task shows life. `tokens`: somebody can call. The state of
    /// a store is no check: with prodX dead Plimsoll is as ready as it will ever have to be.
    pub(super) fn checks(&self) -> Vec<Check> {
        let check = |check, why: Option<String>| Check { check, passes: why.is_none(), why };
        let lifeless = (self.lifeless)();
        let tasks = (!lifeless.is_empty()).then(|| format!("no sign of life from {}", lifeless.join(", ")));
        vec![check("index", self.index.health().err()), check("tasks", tasks), check("tokens", self.tokens.trouble())]
    }
}

pub(super) async fn metrics(State(view): State<Arc<View>>) -> Response {
    ([(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)], view.exposition()).into_response()
}

pub(super) async fn healthz() -> Response {
    Json(json!({"alive": true})).into_response()
}

pub(super) async fn readyz(State(view): State<Arc<View>>) -> Response {
    let checks = view.checks();
    let ready = checks.iter().all(|c| c.passes);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready, "checks": checks}))).into_response()
}
