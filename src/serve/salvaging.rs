//! Salvage behind the API: the listing as a stream of JSON lines, and the application of some of them.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;
use tokio::sync::mpsc;

use super::View;
use super::problem::Problem;
use super::request;
use crate::promote::Authorized;
use crate::salvage::{Apply, Ask, SalvageError};

/// Lines that wait for a slow reader: each holds two items of 400 KB at most.
const LINES: usize = 16;
/// The largest body of an application: some items of 400 KB, twice, in base 64.
const APPLY_LIMIT: usize = 16 << 20;

impl From<SalvageError> for Problem {
    fn from(error: SalvageError) -> Self {
        let said = error.to_string();
        match error {
            SalvageError::NotFenced => {
                Problem::new(StatusCode::CONFLICT, "not-promoted", said).hint("salvage begins after a promotion")
            }
            SalvageError::Busy => Problem::new(StatusCode::CONFLICT, "salvage-running", said)
                .hint("wait for its end, or end the command that reads it"),
            SalvageError::Store(_) => Problem::not_found(said),
            SalvageError::Unreachable(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "primary-unreachable", said)
                .hint("nothing was listed; ask again when prodX is back, within 24 h of the loss"),
            SalvageError::Index(_) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index", said).hint("see /readyz; then ask again")
            }
            SalvageError::Export(_) => Problem::new(StatusCode::CONFLICT, "unknown-export", said)
                .hint("make one with `plimsoll salvage`, and apply lines of it"),
        }
    }
}

/// `POST /v1/salvage`: NDJSON, a line as soon as it is known.
pub(super) async fn list(
    State(view): State<Arc<View>>,
    Extension(who): Extension<Authorized>,
    request: Request,
) -> Result<Response, Problem> {
    let ask: Ask = request::json_or_default(request).await?;
    let listing = view.salvage.list(ask, &who).await?;
    let (to, from) = mpsc::channel::<Bytes>(LINES);
    let lines = stream::unfold(from, |mut from| async move {
        let line = from.recv().await?;
        Some((Ok::<_, Infallible>(line), from))
    });
    // The listing runs while its answer is read and ends with it: no task of its own, none to forget.
    let work = stream::once(listing.run(to)).filter_map(|()| ready(None));
    let body = Body::from_stream(stream::select(lines, work));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// `POST /v1/salvage/apply`.
pub(super) async fn apply(
    State(view): State<Arc<View>>,
    Extension(who): Extension<Authorized>,
    request: Request,
) -> Result<Response, Problem> {
    let body = to_bytes(request.into_body(), APPLY_LIMIT).await.map_err(|_| {
        let what = format!("the body is larger than {APPLY_LIMIT} bytes, or did not come whole");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", what).hint("send fewer lines at a time")
    })?;
    let apply: Apply =
        serde_json::from_slice(&body).map_err(|e| Problem::bad_request(format!("the body does not fit: {e}")))?;
    let outcomes = view.salvage.apply(&who, apply).await?;
    Ok(Json(json!({"outcomes": outcomes})).into_response())
}
