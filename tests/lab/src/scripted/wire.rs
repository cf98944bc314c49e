//! The wire layer: a request as it came, an answer as it leaves, and the trait an AWS API implements to join.
//!
//! One listener serves every API; the first one that claims a request answers it.

use super::model::error::AwsError;
pub(crate) use super::payload::Payload;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A request with its whole body.
#[derive(Debug, Default)]
pub(crate) struct WireRequest {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// The body of a request that names its operation in a header: JSON, in one piece.
    pub(crate) body: Bytes,
    /// The body of every other request, as it came in: bytes of objects, which nobody copies.
    pub(crate) frames: Vec<Bytes>,
}

impl WireRequest {
    /// The X-Amz-Target header: `service.Operation`.
    pub(crate) fn target(&self) -> Option<(&str, &str)> {
        self.headers.get("x-amz-target")?.to_str().ok()?.split_once('.')
    }
}

/// What happens on the connection.
#[expect(clippy::large_enum_variant, reason = "nearly every reply is an answer, and none is kept")]
pub(crate) enum Reply {
    /// An answer.
    Answer(hyper::Response<Payload>),
    /// The connection is closed without one.
    Close,
    /// Nothing, until the client gives up.
    Never,
}

/// An answer that takes time.
pub(crate) type Replying = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// An AWS API behind the listener.
pub(crate) trait Api: Send + Sync + 'static {
    /// Whether a request is for this API.
    fn claims(&self, request: &WireRequest) -> bool;
    /// Answers it.
    fn answer(self: Arc<Self>, request: WireRequest) -> Replying;
}

/// Every API of one server.
pub(crate) struct Apis(pub(crate) Vec<Arc<dyn Api>>);

impl Apis {
    pub(crate) fn answer(&self, request: WireRequest) -> Replying {
        match self.0.iter().find(|api| api.claims(&request)) {
            Some(api) => Arc::clone(api).answer(request),
            None if request.method == Method::GET && request.uri.path() == "/" => {
                Box::pin(std::future::ready(json(StatusCode::OK, b"{}".to_vec())))
            }
            None => {
                let what = request.target().map_or_else(|| request.uri.to_string(), |(api, op)| format!("{api}.{op}"));
                let error = AwsError::new(400, "UnknownOperationException", format!("no API here answers {what}"));
                Box::pin(std::future::ready(json_error(&error)))
            }
        }
    }
}

/// An AWS JSON 1.0 answer. It carries no `x-amz-crc32`: clients verify the header only when it is there.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Reply {
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let id = format!("{:032X}", REQUESTS.fetch_add(1, Ordering::Relaxed));
    let mut response = hyper::Response::new(Payload::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    headers.insert("x-amzn-requestid", HeaderValue::try_from(id).expect("hexadecimal digits are a header value"));
    Reply::Answer(response)
}

/// An AWS JSON 1.0 error.
pub(crate) fn json_error(error: &AwsError) -> Reply {
    let body = serde_json::json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{}", error.code),
        "message": error.message,
    });
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, body.to_string().into_bytes())
}
