//! The table of routes, and what every request passes through: role, time limit, headers, and problems for what no route
//! answers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};

use super::problem::Problem;
use super::{Limits, View, api, events, health, page, salvaging};
use crate::promote::Role;
use crate::seams;

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// The role that the caller's token needs at least; `None`: open to everybody.
    pub(super) role: Option<Role>,
    answers: MethodRouter<Arc<View>>,
}

fn reads(path: &'static str, role: Option<Role>, answers: MethodRouter<Arc<View>>) -> Route {
    Route { method: Method::GET, path, role, answers }
}

fn acts(path: &'static str, role: Role, answers: MethodRouter<Arc<View>>) -> Route {
    Route { method: Method::POST, path, role: Some(role), answers }
}

/// Every route.
pub(super) fn routes() -> Vec<Route> {
    let viewer = Some(Role::Viewer);
    vec![
        reads("/metrics", None, get(health::metrics)),
        reads("/healthz", None, get(health::healthz)),
        reads("/readyz", None, get(health::readyz)),
        reads("/", None, get(page::page)),
        reads("/v1/status", viewer, get(api::status)),
        reads("/v1/stores/{id}", viewer, get(api::store)),
        acts("/v1/stores/{id}/reseed", Role::Operator, post(api::reseed)),
        reads("/v1/plan", viewer, get(api::plan)),
        acts("/v1/promote", Role::Approver, post(api::promote)),
        reads("/v1/promotions", viewer, get(api::promotions)),
        reads("/v1/promotions/{id}", viewer, get(api::promotion)),
        reads("/v1/promotions/{id}/events", viewer, get(events::events)),
        acts("/v1/promotions/{id}/hold", Role::Operator, post(api::hold)),
        acts("/v1/promotions/{id}/resume", Role::Approver, post(api::resume)),
        acts("/v1/promotions/{id}/notes", Role::Operator, post(api::note)),
        acts("/v1/salvage", Role::Operator, post(salvaging::list)),
        acts("/v1/salvage/apply", Role::Approver, post(salvaging::apply)),
    ]
}

/// The router. `limits.answer` bounds every answer; of an event stream, its beginning.
pub(super) fn router(view: &Arc<View>, limits: Limits) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let answers = match route.role {
            None => route.answers,
            // On the route and not on its path: a wrong method is told as such, without a token.
            Some(role) => route.answers.route_layer(from_fn_with_state((Arc::clone(view), role), authorize)),
        };
        router = router.route(route.path, answers);
    }
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state((Arc::clone(view), limits.answer), bound))
        .layer(Extension(limits))
        .with_state(Arc::clone(view))
}

async fn authorize(State((view, role)): State<(Arc<View>, Role)>, mut request: Request, next: Next) -> Response {
    match view.tokens.authorize(request.headers(), role) {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn bound(State((view, within)): State<(Arc<View>, Duration)>, request: Request, next: Next) -> Response {
    let answer = seams::timeout(view.clock.as_ref(), within, next.run(request)).await;
    let mut response = answer.unwrap_or_else(|| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!("the request was not complete, or not answered, within {} s", within.as_secs_f64()),
        )
        .into_response()
    });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
        .hint("the API is under /v1: GET /v1/status, /v1/plan, /v1/promotions; POST /v1/promote")
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let known = routes();
    let hint = known.iter().find(|r| r.path == uri.path()).map(|r| format!("use {}", r.method));
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        format!("{} does not answer {method}", uri.path()),
    );
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem.hint("the Allow header names the method"),
    }
}
