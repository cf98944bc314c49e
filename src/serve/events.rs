//! The events of a promotion as server-sent events.
//!
//! Each event has its sequence number as `id`, so a client that reconnects with `Last-Event-ID` misses none and sees none
//! twice. Comments keep the connection alive; the stream ends after the last event, and when this process stops.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::unfold;

use super::problem::Problem;
use super::recovery::Event;
use super::{Limits, View};

/// Where a stream stands.
struct Reader {
    view: Arc<View>,
    id: String,
    after: Option<u64>,
    ready: VecDeque<Event>,
}

pub(super) async fn events(
    State(view): State<Arc<View>>,
    Extension(limits): Extension<Limits>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = match headers.get("last-event-id") {
        None => None,
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .map(Some)
            .ok_or_else(|| Problem::bad_request("Last-Event-ID is not the id of an event: a whole number"))?,
    };
    // An unknown promotion is a 404, not an empty stream.
    view.recovery.get(&id).await?;
    let stopping = view.stopping.clone();
    let reader = Reader { view, id, after, ready: VecDeque::new() };
    let stream = unfold(reader, next).take_until(stopping.cancelled_owned());
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(limits.keep_alive).text("still here")).into_response())
}

async fn next(mut reader: Reader) -> Option<(Result<Sent, axum::Error>, Reader)> {
    if reader.ready.is_empty() {
        match reader.view.recovery.events(&reader.id, reader.after).await {
            Ok(events) => reader.ready.extend(events),
            // The client reconnects with Last-Event-ID and is told as a problem what is wrong.
            Err(problem) => {
                tracing::warn!(promotion = reader.id, error = %problem.detail, "an event stream ends early");
                return None;
            }
        }
    }
    let event = reader.ready.pop_front()?;
    reader.after = Some(event.seq);
    let sent = Sent::default().id(event.seq.to_string()).event(event.name).json_data(event.data);
    Some((sent, reader))
}
