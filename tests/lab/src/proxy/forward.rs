//! Forwarding: a request that was read whole, the upstream it goes to, the answer that streams back.

use crate::scripted::listener::NoAnswer;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, Scheme, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::io;

/// The body of an answer that passes through.
pub(super) type ProxyBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// Headers that belong to one connection and are not passed on (RFC 9110, 7.6.1); `Expect` was answered here.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    EXPECT,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// A request with its whole body, ready to be sent once or more.
#[derive(Debug, Clone)]
pub(super) struct Outbound {
    pub(super) head: Parts,
    pub(super) body: Bytes,
}

impl Outbound {
    pub(super) async fn read(request: hyper::Request<Incoming>) -> Result<Self, NoAnswer> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
        for name in &HOP_BY_HOP {
            head.headers.remove(name);
        }
        let mut outbound = Self { head, body };
        if outbound.head.headers.contains_key(CONTENT_LENGTH) || !outbound.body.is_empty() {
            outbound.set_length();
        }
        Ok(outbound)
    }

    /// Replaces the body.
    pub(super) fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = Bytes::from(body);
        self.set_length();
        self
    }

    fn set_length(&mut self) {
        self.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
    }
}

/// What is behind the proxy.
pub(super) struct Upstream {
    authority: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Upstream {
    pub(super) fn new(url: &str) -> io::Result<Self> {
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("upstream {url}: {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(wrong("only http:// is proxied"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?.clone();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self { authority, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    pub(super) async fn send(&self, outbound: Outbound) -> Result<hyper::Response<ProxyBody>, NoAnswer> {
        let Outbound { mut head, body } = outbound;
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| NoAnswer)?;
        // The Host header stays the client's: S3 reads the bucket from it, and a signature covers it.
        let request = hyper::Request::from_parts(head, Full::new(body));
        let answer = self.client.request(request).await.map_err(|_| NoAnswer)?;
        let (mut head, body) = answer.into_parts();
        for name in &HOP_BY_HOP {
            head.headers.remove(name);
        }
        Ok(hyper::Response::from_parts(head, body.map_err(Into::into).boxed_unsync()))
    }
}

/// Reads an answer to its end.
pub(super) async fn read_whole(
    answer: hyper::Response<ProxyBody>,
) -> Result<(hyper::http::response::Parts, Bytes), NoAnswer> {
    let (head, body) = answer.into_parts();
    Ok((head, body.collect().await.map_err(|_| NoAnswer)?.to_bytes()))
}

/// A body that is there already.
pub(super) fn whole(body: impl Into<Bytes>) -> ProxyBody {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}
