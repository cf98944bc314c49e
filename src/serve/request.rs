//! The bodies of requests: read whole within a limit, JSON, unknown fields refused by name.

use axum::http::{StatusCode, header};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The largest body that is read.
pub(super) const BODY_LIMIT: usize = 64 * 1024;

/// What is read and thrown away of a larger body, so that its sender sees the answer and not a reset connection.
const DRAIN_LIMIT: usize = 4 * 1024 * 1024;

/// `POST /v1/promotions/{id}/notes`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// The words.
    pub(super) text: String,
}

/// `POST /v1/stores/{id}/reseed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reseed {
    /// How many items of the standby that the source does not have may be removed.
    #[serde(default)]
    pub(super) allow_deletes: u64,
}

/// `POST /v1/stores/{id}/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    /// What differs is copied again.
    #[serde(default)]
    pub(super) repair: bool,
    /// How many items of the standby that the source does not have may be removed.
    #[serde(default)]
    pub(super) allow_deletes: u64,
}

/// The question of `GET /v1/stores/{id}/divergent`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Show {
    /// The keys, too.
    #[serde(default)]
    pub(super) show_keys: bool,
}

/// Reads a JSON body.
pub(super) async fn json<T: DeserializeOwned>(request: axum::extract::Request) -> Result<T, Problem> {
    let bytes = read(request).await?;
    serde_json::from_slice(&bytes).map_err(|e| {
        let what = if e.is_syntax() || e.is_eof() { "the body is not JSON" } else { "the body does not fit" };
        Problem::bad_request(format!("{what}: {e}"))
    })
}

/// Reads a JSON body that may be missing.
pub(super) async fn json_or_default<T: DeserializeOwned + Default>(
    request: axum::extract::Request,
) -> Result<T, Problem> {
    let bytes = read(request).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|e| Problem::bad_request(format!("the body does not fit: {e}")))
}

/// Reads a body, at most [`BODY_LIMIT`].
pub(super) async fn read(request: axum::extract::Request) -> Result<Vec<u8>, Problem> {
    let told = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    let mut stream = request.into_body().into_data_stream();
    let (mut bytes, mut seen) = (Vec::new(), 0_usize);
    if told.is_none_or(|n| n <= DRAIN_LIMIT) {
        while let Some(chunk) = next(&mut stream).await? {
            seen += chunk.len();
            if seen <= BODY_LIMIT {
                bytes.extend_from_slice(&chunk);
            } else if seen > DRAIN_LIMIT {
                break;
            }
        }
    }
    if seen.max(told.unwrap_or(0)) > BODY_LIMIT {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("the body is larger than {BODY_LIMIT} bytes"),
        ));
    }
    Ok(bytes)
}

async fn next(stream: &mut axum::body::BodyDataStream) -> Result<Option<bytes::Bytes>, Problem> {
    match stream.next().await {
        None => Ok(None),
        Some(Ok(chunk)) => Ok(Some(chunk)),
        Some(Err(e)) => Err(Problem::bad_request(format!("the body could not be read: {e}"))),
    }
}
