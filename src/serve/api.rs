//! The handlers of `/v1`: each reads its request, asks the view or the recovery, and answers JSON.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::View;
use super::problem::Problem;
use super::request::{self, Note};
use super::status::{Status, StoreStatus};
use crate::change::StoreId;
use crate::promote::{Authorized, Role};

type Answer = Result<Json<Value>, Problem>;
type Who = Extension<Authorized>;

pub(super) async fn status(State(view): State<Arc<View>>) -> Json<Status> {
    Json(view.status())
}

pub(super) async fn store(State(view): State<Arc<View>>, Path(id): Path<String>) -> Result<Json<StoreStatus>, Problem> {
    known(&view, &id)?;
    let found = view.status().stores.into_iter().find(|s| s.id == id);
    found.map(Json).ok_or_else(|| Problem::not_found(format!("there is no store {id:?}")))
}

pub(super) async fn reseed(
    State(view): State<Arc<View>>,
    Path(id): Path<String>,
    Extension(who): Who,
    request: Request,
) -> Result<Response, Problem> {
    let wish: request::Reseed = request::json_or_default(request).await?;
    let store = known(&view, &id)?;
    let told = view.keeping.reseed(&store, wish.allow_deletes).await;
    let told = told.ok_or_else(|| Problem::conflict(format!("{id} is observed: AWS copies it")))?;
    let what = told.map_err(|why| Problem::conflict(format!("{id}: {why}")))?;
    tracing::warn!(store = id, by = %who.principal().name, allow_deletes = wish.allow_deletes, "an operator asked for a re-seed");
    Ok((StatusCode::ACCEPTED, Json(json!({"store": id, "what": what}))).into_response())
}

/// Items that are listed, at most.
const MOST_LISTED: usize = 10_000;

pub(super) async fn verify(
    State(view): State<Arc<View>>,
    Path(id): Path<String>,
    Extension(who): Who,
    request: Request,
) -> Result<Response, Problem> {
    let wish: request::Verify = request::json_or_default(request).await?;
    let store = known(&view, &id)?;
    let told = view.keeping.verify(&store, wish.repair, wish.allow_deletes).await;
    let told = told.ok_or_else(|| not_compared(&id))?;
    let what = told.map_err(|why| Problem::conflict(format!("{id}: {why}")))?;
    tracing::info!(store = id, by = %who.principal().name, repair = wish.repair, allow_deletes = wish.allow_deletes, "an operator asked for a verification");
    Ok((StatusCode::ACCEPTED, Json(json!({"store": id, "what": what}))).into_response())
}

fn not_compared(id: &str) -> Problem {
    Problem::conflict(format!("{id} is observed: AWS copies it, and it is not compared"))
}

pub(super) async fn divergent(
    State(view): State<Arc<View>>,
    Path(id): Path<String>,
    Extension(who): Who,
    asked: Result<Query<request::Show>, QueryRejection>,
) -> Answer {
    let Query(asked) =
        asked.map_err(|e| Problem::bad_request(e.body_text()).hint("?show_keys=true is all there is"))?;
    let store = known(&view, &id)?;
    if asked.show_keys && !who.may(Role::Operator) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "keys are shown to operators only")
            .hint("without show_keys their digests are shown"));
    }
    let found = view.keeping.divergent(&store, MOST_LISTED).ok_or_else(|| not_compared(&id))?;
    let found = found.map_err(|why| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "index", why))?;
    if asked.show_keys {
        tracing::info!(store = id, by = %who.principal().name, items = found.len(), "keys of divergent items were shown");
    }
    let items: Vec<Value> = found
        .into_iter()
        .map(|item| {
            let mut shown = json!({
                "key_sha256": item.key_sha256,
                "what": item.what.label(),
                "found_at": item.found_at.to_string(),
            });
            if asked.show_keys {
                shown["key"] = json!(item.key);
            }
            shown
        })
        .collect();
    Ok(Json(json!({"store": id, "items": items})))
}

/// The store of that name.
fn known(view: &View, id: &str) -> Result<StoreId, Problem> {
    let found = view.fleet.stores.iter().find(|store| store.id.as_str() == id).map(|store| store.id.clone());
    found.ok_or_else(|| {
        let known: Vec<&str> = view.fleet.stores.iter().map(|store| store.id.as_str()).collect();
        Problem::not_found(format!("there is no store {id:?}"))
            .hint(format!("the stores of this application: {}", known.join(", ")))
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
        "state": started.stage,
        "repeated": started.repeated,
        "location": location,
        "events": format!("{location}/events"),
    });
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(answer)).into_response())
}

/// The key's own rules are the recovery's.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().map_err(|_| Problem::bad_request("the Idempotency-Key is not visible ASCII"))?;
    Ok(Some(key.to_owned()))
}

pub(super) async fn promotions(State(view): State<Arc<View>>) -> Answer {
    Ok(Json(json!({"promotions": view.recovery.list().await?})))
}

/// JSON, or with `Accept: text/plain` the report for a human.
pub(super) async fn promotion(
    State(view): State<Arc<View>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accept.starts_with("text/plain") {
        return view.recovery.text(&id).await.map(IntoResponse::into_response);
    }
    view.recovery.get(&id).await.map(|report| Json(report).into_response())
}

pub(super) async fn hold(State(view): State<Arc<View>>, Path(id): Path<String>, Extension(who): Who) -> Answer {
    view.recovery.hold(&who, &id).await?;
    view.recovery.get(&id).await.map(Json)
}

pub(super) async fn resume(
    State(view): State<Arc<View>>,
    Path(id): Path<String>,
    Extension(who): Who,
    request: Request,
) -> Answer {
    view.recovery.resume(&who, &id, request::json_or_default(request).await?).await?;
    view.recovery.get(&id).await.map(Json)
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
    view.recovery.note(&who, &id, &note.text).await?;
    view.recovery.get(&id).await.map(Json)
}
