//! What goes wrong on the way.

use super::Shared;
use super::forward::{Outbound, ProxyBody, read_whole, whole};
use crate::scripted::AwsError;
use crate::scripted::listener::NoAnswer;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// What the proxy does with a call when a rule fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyFault {
    /// The call is forwarded this much later; it is forwarded even when the client has gone.
    Delay(Duration),
    /// The connection is closed; nothing is forwarded.
    Drop,
    /// The call is forwarded and answered, and the connection is closed without passing the answer on.
    LoseAnswer,
    /// The connection is closed first, and the call is forwarded this much later (AP-3).
    LoseAnswerLate {
        /// Real time between the two.
        delay: Duration,
    },
    /// As `LoseAnswerLate`, forwarded when the test says so: [`super::FaultProxy::release_held`].
    LoseAnswerHeld,
    /// The call is forwarded twice, one after the other; the client gets the second answer.
    Duplicate,
    /// An AWS JSON error; nothing is forwarded.
    Error(AwsError),
    /// Any answer, for instance a 500 with HTML; nothing is forwarded.
    Answer {
        /// HTTP status.
        status: u16,
        /// Content-Type.
        content_type: String,
        /// Body.
        body: String,
    },
    /// The answer's body comes in pieces with pauses between them.
    SlowBody {
        /// Bytes of a piece.
        piece: usize,
        /// Real time between two pieces.
        pause: Duration,
    },
    /// The answer breaks off after this many bytes of its body, or with its last byte if it has fewer.
    CutBody {
        /// Bytes that are passed on.
        after: usize,
    },
    /// Of a BatchWriteItem the first `keep` entries are forwarded and the rest come back as UnprocessedItems.
    Unprocessed {
        /// Entries that are forwarded.
        keep: usize,
    },
    /// Never forwarded, never answered; the connection stays.
    Hang,
}

impl ProxyFault {
    /// The throttle of DynamoDB.
    pub fn throttle() -> Self {
        Self::Error(AwsError::new(400, "ProvisionedThroughputExceededException", "Throughput exceeded, says the proxy"))
    }

    /// 500 InternalServerError.
    pub fn internal_error() -> Self {
        Self::Error(AwsError::new(500, "InternalServerError", "The request could not be completed, says the proxy"))
    }

    /// 503 ServiceUnavailable.
    pub fn unavailable() -> Self {
        Self::Error(AwsError::new(503, "ServiceUnavailable", "Service unavailable, says the proxy"))
    }
}

type Answer = Result<hyper::Response<ProxyBody>, NoAnswer>;

pub(super) async fn apply(shared: Arc<Shared>, request: Outbound, fault: ProxyFault) -> Answer {
    match fault {
        ProxyFault::Delay(delay) => detached(&shared, request, delay).await.unwrap_or(Err(NoAnswer)),
        ProxyFault::Drop => Err(NoAnswer),
        ProxyFault::LoseAnswer => {
            // Waits for the whole answer, so that the effect is there before the client hears of the loss.
            if let Ok(answer) = shared.send(request).await {
                drop(read_whole(answer).await);
            }
            Err(NoAnswer)
        }
        ProxyFault::LoseAnswerLate { delay } => {
            drop(detached(&shared, request, delay));
            Err(NoAnswer)
        }
        ProxyFault::LoseAnswerHeld => {
            shared.held.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            Err(NoAnswer)
        }
        ProxyFault::Duplicate => {
            read_whole(shared.send(request.clone()).await?).await?;
            shared.send(request).await
        }
        ProxyFault::Error(error) => Ok(json_error(&error)),
        ProxyFault::Answer { status, content_type, body } => Ok(plain(status, &content_type, body)),
        ProxyFault::SlowBody { piece, pause } => {
            let (head, body) = read_whole(shared.send(request).await?).await?;
            Ok(hyper::Response::from_parts(head, paced(body, piece.max(1), pause)))
        }
        ProxyFault::CutBody { after } => {
            let (head, body) = read_whole(shared.send(request).await?).await?;
            let keep = after.min(body.len().saturating_sub(1));
            Ok(hyper::Response::from_parts(head, broken(body.slice(..keep))))
        }
        ProxyFault::Unprocessed { keep } => unprocessed(&shared, request, keep).await,
        ProxyFault::Hang => std::future::pending().await,
    }
}

/// Forwards after `delay`, whether or not anybody still waits.
pub(super) fn detached(shared: &Arc<Shared>, request: Outbound, delay: Duration) -> tokio::task::JoinHandle<Answer> {
    shared.late.fetch_add(1, Ordering::SeqCst);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let answer = match shared.send(request).await {
            Ok(answer) => read_whole(answer).await.map(|(head, body)| hyper::Response::from_parts(head, whole(body))),
            Err(lost) => Err(lost),
        };
        shared.late.fetch_sub(1, Ordering::SeqCst);
        answer
    })
}

fn plain(status: u16, content_type: &str, body: String) -> hyper::Response<ProxyBody> {
    let mut answer = hyper::Response::new(whole(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(content_type) = HeaderValue::try_from(content_type) {
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    answer
}

fn json_error(error: &AwsError) -> hyper::Response<ProxyBody> {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{}", error.code);
    let body = json!({"__type": kind, "message": error.message}).to_string();
    plain(error.status, "application/x-amz-json-1.0", body)
}

/// `body` in pieces; the whole length is still announced.
fn paced(body: Bytes, piece: usize, pause: Duration) -> ProxyBody {
    let pieces = stream::unfold((body, true), move |(mut rest, first)| async move {
        if rest.is_empty() {
            return None;
        }
        if !first {
            tokio::time::sleep(pause).await;
        }
        let next = rest.split_to(piece.min(rest.len()));
        Some((Ok(Frame::data(next)), (rest, false)))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// `body`, and then the connection breaks.
fn broken(body: Bytes) -> ProxyBody {
    let pieces = stream::iter([Ok(Frame::data(body)), Err(NoAnswer.into())]);
    StreamBody::new(pieces).boxed_unsync()
}

/// Forwards the first entries of a BatchWriteItem and hands the rest back; other calls pass.
async fn unprocessed(shared: &Shared, request: Outbound, keep: usize) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<Json>(&request.body) else { return shared.send(request).await };
    let Some(tables) = body.get_mut("RequestItems").and_then(Json::as_object_mut) else {
        return shared.send(request).await;
    };
    let mut left = keep;
    let mut back = BTreeMap::<String, Vec<Json>>::new();
    for (table, entries) in tables.iter_mut() {
        let Some(entries) = entries.as_array_mut() else { return shared.send(request).await };
        let rest = entries.split_off(left.min(entries.len()));
        left -= entries.len();
        if !rest.is_empty() {
            back.insert(table.clone(), rest);
        }
    }
    tables.retain(|_, entries| entries.as_array().is_some_and(|entries| !entries.is_empty()));
    if tables.is_empty() {
        let answer = json!({"UnprocessedItems": back}).to_string();
        return Ok(plain(200, "application/x-amz-json-1.0", answer));
    }
    let forwarded = request.with_body(body.to_string().into_bytes());
    let (mut head, answer) = read_whole(shared.send(forwarded).await?).await?;
    let Ok(mut answer) = serde_json::from_slice::<Json>(&answer) else { return Err(NoAnswer) };
    if head.status == StatusCode::OK {
        let items = &mut answer["UnprocessedItems"];
        for (table, entries) in back {
            match items.get_mut(&table).and_then(Json::as_array_mut) {
                Some(theirs) => theirs.extend(entries),
                None => items[&table] = Json::Array(entries),
            }
        }
    }
    let answer = answer.to_string();
    // The checksum was of another body.
    head.headers.remove("x-amz-crc32");
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.len()));
    Ok(hyper::Response::from_parts(head, whole(answer)))
}
