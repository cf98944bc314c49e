//! The wire protocol of S3, path style: which operation a request is, and the way from it to an answer.

mod about;
mod buckets;
mod chunked;
mod copy;
mod listing;
mod multipart;
mod objects;
mod request;

use super::Space;
use super::xml::escaped;
use crate::scripted::acting::{Answered, Deed, Manner, act};
use crate::scripted::faults::Call;
use crate::scripted::model::error::AwsError;
use crate::scripted::wire::{Api, Payload, Reply, Replying, WireRequest};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use request::Request;
use std::sync::Arc;

/// S3 over the buckets of one server.
pub(crate) struct S3Api(pub(crate) Arc<Space>);

impl Api for S3Api {
    fn claims(&self, request: &WireRequest) -> bool {
        let lists_buckets = request.uri.query().is_some_and(|query| query.contains("x-id=ListBuckets"));
        let signed = request.headers.contains_key("x-amz-content-sha256");
        request.target().is_none() && (request.uri.path() != "/" || lists_buckets || signed)
    }

    fn answer(self: Arc<Self>, wire: WireRequest) -> Replying {
        let space = Arc::clone(&self.0);
        Box::pin(async move {
            let path = wire.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let request = match Request::parse(wire) {
                Ok(request) => request,
                Err(error) => return refused(&error),
            };
            let call = Call {
                op: request.op,
                tables: vec![&request.bucket],
                objects: vec![&request.key],
                path: &path,
                ..Call::default()
            };
            let region = Arc::clone(&space.region);
            let fault = region.met(request.op, &call).await;
            let deed: Deed = Box::pin(async move { perform(&space, request).map(Answer::into_response) });
            act(&region, fault, deed, &S3).await
        })
    }
}

static S3: Manner = Manner { refused, throttled: (503, "SlowDown"), failed: (500, "InternalError") };

fn refused(error: &AwsError) -> Reply {
    Reply::Answer(Answer::error(error).into_response())
}

/// An answer under construction.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Empty,
    Text(String),
    Content(super::content::Content),
    /// The answer to HEAD: what a GET would send.
    Length(u64),
}

impl Answer {
    fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Empty }
    }

    fn xml(text: String) -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Text(text) }
    }

    fn error(error: &AwsError) -> Self {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>\
             <RequestId>0000000000000000</RequestId></Error>",
            escaped(&error.code),
            escaped(&error.message)
        );
        Self { status: error.status, ..Self::xml(text) }
    }

    /// A header. A value that no header can have is left out, as S3 does.
    fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_ref()))
        {
            self.headers.push((name, value));
        }
    }

    fn set_some(&mut self, name: &str, value: Option<impl AsRef<[u8]>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn into_response(self) -> Answered {
        let mut length = None;
        let payload = match self.body {
            Body::Empty => Payload::whole(""),
            Body::Text(text) => Payload::whole(text),
            Body::Content(content) => Payload::of(content.frames(), content.len()),
            Body::Length(bytes) => {
                length = Some(bytes);
                Payload::whole("")
            }
        };
        let mut response = hyper::Response::new(payload);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert("x-amz-request-id", HeaderValue::from_static("0000000000000000"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        if !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        if let Some(length) = length {
            headers.insert(hyper::header::CONTENT_LENGTH, length.into());
        }
        response
    }
}

fn perform(space: &Space, request: Request) -> Result<Answer, AwsError> {
    match request.op {
        "PutObject" => objects::put(space, request),
        "GetObject" | "HeadObject" => objects::get(space, &request),
        "DeleteObject" => objects::delete(space, &request),
        "DeleteObjects" => objects::delete_many(space, &request),
        "CopyObject" => copy::copy(space, &request),
        "CreateMultipartUpload" => multipart::create(space, &request),
        "UploadPart" => multipart::upload(space, request),
        "UploadPartCopy" => copy::copy_part(space, &request),
        "CompleteMultipartUpload" => multipart::complete(space, &request),
        "AbortMultipartUpload" => multipart::abort(space, &request),
        "ListParts" => multipart::list_parts(space, &request),
        "ListMultipartUploads" => multipart::list_uploads(space, &request),
        "ListObjectsV2" | "ListObjects" => listing::objects(space, &request),
        "ListObjectVersions" => listing::versions(space, &request),
        "GetObjectAttributes" => about::attributes(space, &request),
        op if op.contains("ObjectTagging") => about::tagging(space, &request),
        op if op.contains("ObjectAcl") => about::acl(space, &request),
        op if op.contains("ObjectRetention") || op.contains("ObjectLegalHold") => about::lock(space, &request),
        op if op.contains("Annotation") => about::annotation(space, request),
        "RestoreObject" => about::restore(space, &request),
        _ => buckets::perform(space, &request),
    }
}
