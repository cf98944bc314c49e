//! The handlers of `/v1`: each reads its request, asks the view or the recovery, and answers JSON.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::View;
use super::problem::Problem;
use super::request::{self, Note, Why};
use super::status::{Status, StoreStatus};
use crate::promote::Authorized;

type Answer = Result<Json<Value>, Problem>;
type Who = Extension<Authorized>;

/// The longest idempotency key, bytes.
const KEY_LIMIT: usize = 128;

pub(super) async fn status(State(view): State<Arc<View>>) -> Json<Status> {
    Json(view.status())
}

pub(super) async fn store(State(view): State<Arc<View>>, Path(id): Path<String>) -> Result<Json<StoreStatus>, Problem> {
    let status = view.status();
    let known = status.stores.iter().map(|s| s.id.clone()).collect::<Vec<_>>().join(", ");
    let found = status.stores.into_iter().find(|s| s.id == id);
    found.map(Json).ok_or_else(|| {
        Problem::not_found(format!("there is no store {id:?}")).hint(format!("the stores of this application: {known}"))
    })
}

pub(super) async fn plan(State(view): State<Arc<View>>) -> Answer {
    view.recovery.plan().await.map(Json)
}

pub(super) async fn promote(
    State(view): State<Arc<View>>,
    Extension(who): Who,
    request: Request,
) -> Result<Response, Problem> {
    let key = idempotency_key(request.headers())?;
    let body = request::read(request).await?;
    let started = view.recovery.start(&who, &body, key).await?;
    let location = format!("/v1/promotions/{}", started.id);
    let answer = json!({
        "id": started.id,
        "repeated": started.repeated,
        "promotion": location,
        "events": format!("{location}/events"),
    });
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(answer)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().map(str::trim).filter(|key| (1..=KEY_LIMIT).contains(&key.len()));
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        Problem::bad_request(format!("the Idempotency-Key must be 1 to {KEY_LIMIT} visible ASCII characters"))
    })
}

pub(super) async fn promotions(State(view): State<Arc<View>>) -> Answer {
    view.recovery.list().await.map(Json)
}

pub(super) async fn promotion(State(view): State<Arc<View>>, Path(id): Path<String>) -> Answer {
    view.recovery.get(&id).await.map(Json)
}

pub(super) async fn hold(
    State(view): State<Arc<View>>,
    Path(id): Path<String>,
    Extension(who): Who,
    request: Request,
) -> Answer {
    let why: Why = request::json_or_default(request).await?;
    view.recovery.hold(&who, &id, &why.reason).await.map(Json)
}

pub(super) async fn resume(
    State(view): State<Arc<View>>,
    Path(id): Path<String>,
    Extension(who): Who,
    request: Request,
) -> Answer {
    let why: Why = request::json_or_default(request).await?;
    view.recovery.resume(&who, &id, &why.reason).await.map(Json)
}

pub(super) async fn note(
    State(view): State<Arc<View>>,
    Path(id): Path<String>,
    Extension(who): Who,
    request: Request,
) -> Answer {
    let note: Note = request::json(request).await?;
    if note.text.trim().is_empty() {
        return Err(Problem::bad_request("text: is empty; write what the next reader should know"));
    }
    view.recovery.note(&who, &id, &note.text).await.map(Json)
}
