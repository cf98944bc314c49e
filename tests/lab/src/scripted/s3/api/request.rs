//! A request of S3: its operation, its bucket and key decoded, its headers, its body.

use super::super::checksum::{Checksum, ChecksumAlgorithm};
use super::super::content::Content;
use super::super::object::{Description, Encryption, Lock};
use super::chunked;
use crate::scripted::model::error::AwsError;
use crate::scripted::wire::WireRequest;
use bytes::Bytes;
use hyper::{HeaderMap, Method};
use std::collections::BTreeMap;

pub(super) struct Request {
    pub(super) op: &'static str,
    pub(super) method: Method,
    pub(super) bucket: String,
    pub(super) key: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    frames: Vec<Bytes>,
}

/// The headers that are kept with a body as they came.
const CONTENT_HEADERS: [&str; 7] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
];

impl Request {
    pub(super) fn parse(wire: WireRequest) -> Result<Self, AwsError> {
        let path = wire.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let invalid = || AwsError::new(400, "InvalidURI", "Couldn't parse the specified URI.");
        let mut request = Self {
            op: "",
            method: wire.method,
            bucket: decoded(bucket, false).ok_or_else(invalid)?,
            key: decoded(key, false).ok_or_else(invalid)?,
            query: queries(wire.uri.query().unwrap_or_default()).ok_or_else(invalid)?,
            headers: wire.headers,
            frames: wire.frames,
        };
        if request.key.len() > 1024 {
            return Err(AwsError::new(400, "KeyTooLongError", "Your key is too long"));
        }
        request.op = request.operation().ok_or_else(|| {
            AwsError::new(405, "MethodNotAllowed", "The scripted server has no such operation of S3.")
        })?;
        Ok(request)
    }

    fn operation(&self) -> Option<&'static str> {
        let has = |name: &str| self.query(name).is_some();
        let method = self.method.as_str();
        if self.bucket.is_empty() {
            return (method == "GET").then_some("ListBuckets");
        }
        if self.key.is_empty() {
            return self.bucket_operation(method);
        }
        let part = has("partNumber") && has("uploadId");
        let copies = self.headers.contains_key("x-amz-copy-source");
        for (query, ops) in [
            ("tagging", [Some("GetObjectTagging"), Some("PutObjectTagging"), Some("DeleteObjectTagging")]),
            ("acl", [Some("GetObjectAcl"), Some("PutObjectAcl"), None]),
            ("retention", [Some("GetObjectRetention"), Some("PutObjectRetention"), None]),
            ("legal-hold", [Some("GetObjectLegalHold"), Some("PutObjectLegalHold"), None]),
            ("annotation", [Some("GetObjectAnnotation"), Some("PutObjectAnnotation"), Some("DeleteObjectAnnotation")]),
            ("annotations", [Some("ListObjectAnnotations"), None, None]),
            ("attributes", [Some("GetObjectAttributes"), None, None]),
        ] {
            if has(query) {
                let at = ["GET", "PUT", "DELETE"].iter().position(|name| *name == method)?;
                return ops[at];
            }
        }
        Some(match method {
            "GET" if has("uploadId") => "ListParts",
            "GET" => "GetObject",
            "HEAD" => "HeadObject",
            "PUT" if part && copies => "UploadPartCopy",
            "PUT" if part => "UploadPart",
            "PUT" if copies => "CopyObject",
            "PUT" => "PutObject",
            "POST" if has("uploads") => "CreateMultipartUpload",
            "POST" if has("uploadId") => "CompleteMultipartUpload",
            "POST" if has("restore") => "RestoreObject",
            "DELETE" if has("uploadId") => "AbortMultipartUpload",
            "DELETE" => "DeleteObject",
            _ => return None,
        })
    }

    fn bucket_operation(&self, method: &str) -> Option<&'static str> {
        let has = |name: &str| self.query(name).is_some();
        for (query, get, put, delete) in super::buckets::SUB_RESOURCES {
            if has(query) {
                return match method {
                    "GET" => Some(get),
                    "PUT" => Some(put),
                    "DELETE" => Some(delete),
                    _ => None,
                };
            }
        }
        Some(match method {
            "GET" if has("versions") => "ListObjectVersions",
            "GET" if has("uploads") => "ListMultipartUploads",
            "GET" if self.query("list-type") == Some("2") => "ListObjectsV2",
            "GET" => "ListObjects",
            "HEAD" => "HeadBucket",
            "PUT" => "CreateBucket",
            "DELETE" => "DeleteBucket",
            "POST" if has("delete") => "DeleteObjects",
            _ => return None,
        })
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(query, _)| query == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.query(name)?.parse().ok()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok()
    }

    /// A header that may come several times, as one list.
    pub(super) fn list(&self, name: &str) -> String {
        let values = self.headers.get_all(name).into_iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(",")
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.frames.concat()).into_owned()
    }

    /// The body as the bytes of an object, verified against what the request says of it, and the checksum to keep.
    ///
    /// # Errors
    /// 400 when it is not what the request says.
    pub(super) fn content(&mut self) -> Result<(Content, Option<Checksum>), AwsError> {
        let frames = std::mem::take(&mut self.frames);
        let streamed = self.header("x-amz-content-sha256").is_some_and(|sha| sha.starts_with("STREAMING-"))
            || self.header("content-encoding").is_some_and(|coding| coding.contains("aws-chunked"));
        let (frames, trailers) = if streamed { chunked::decoded(frames)? } else { (frames, BTreeMap::new()) };
        let content = Content::of(frames);
        if let Some(length) = self.header("x-amz-decoded-content-length")
            && length.parse() != Ok(content.len())
        {
            let words = "You did not provide the number of bytes specified by the Content-Length HTTP header";
            return Err(AwsError::new(400, "IncompleteBody", words));
        }
        let mut kept = None;
        for algorithm in ChecksumAlgorithm::ALL {
            let told = trailers.get(algorithm.header()).map(String::as_str).or_else(|| self.header(algorithm.header()));
            if let Some(told) = told {
                let checksum = Checksum::whole(algorithm, &content);
                if checksum.value != told {
                    let name = algorithm.name();
                    let words = format!("The {name} you specified did not match the calculated checksum.");
                    return Err(AwsError::new(400, "BadDigest", words));
                }
                kept = Some(checksum);
            }
        }
        Ok((content, kept))
    }

    /// What the request says about the body.
    pub(super) fn description(&self) -> Result<Description, AwsError> {
        let mut about = Description { storage_class: "STANDARD".to_owned(), ..Description::default() };
        for name in CONTENT_HEADERS {
            let value = self.header(name).map(|value| match name {
                "content-encoding" => without_chunked(value),
                _ => value.to_owned(),
            });
            about.headers.extend(value.filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value)));
        }
        // What a client leaves out is kept as this.
        about.headers.entry("content-type".to_owned()).or_insert_with(|| "binary/octet-stream".to_owned());
        for (name, value) in &self.headers {
            if let Some(name) = name.as_str().strip_prefix("x-amz-meta-") {
                about.metadata.insert(name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned());
            }
        }
        if let Some(tags) = self.header("x-amz-tagging") {
            let invalid = || AwsError::new(400, "InvalidArgument", "The header 'x-amz-tagging' shall be encoded");
            about.tags = queries(tags).ok_or_else(invalid)?.into_iter().collect();
        }
        if let Some(class) = self.header("x-amz-storage-class") {
            about.storage_class = class.to_owned();
        }
        about.encryption = self.encryption();
        let text = |name: &str| self.header(name).map(str::to_owned);
        about.lock = Lock {
            mode: text("x-amz-object-lock-mode"),
            until: text("x-amz-object-lock-retain-until-date"),
            legal_hold: text("x-amz-object-lock-legal-hold"),
        };
        let grants: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-amz-grant-"))
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        about.acl =
            text("x-amz-acl").filter(|acl| acl != "private").or((!grants.is_empty()).then(|| grants.join("; ")));
        Ok(about)
    }

    fn encryption(&self) -> Encryption {
        let text = |name: &str| self.header(name).map(str::to_owned);
        Encryption {
            algorithm: text("x-amz-server-side-encryption").unwrap_or_default(),
            kms_key: text("x-amz-server-side-encryption-aws-kms-key-id"),
            bucket_key: self.header("x-amz-server-side-encryption-bucket-key-enabled") == Some("true"),
            customer_key: text("x-amz-server-side-encryption-customer-key-md5")
                .or_else(|| text("x-amz-server-side-encryption-customer-key")),
        }
    }
}

/// The coding of the object itself: `aws-chunked` is one of the way here.
fn without_chunked(coding: &str) -> String {
    let own = coding.split(',').map(str::trim).filter(|part| *part != "aws-chunked");
    own.collect::<Vec<_>>().join(",")
}

/// Percent-decoded; in a query a plus is a space.
pub(super) fn decoded(text: &str, plus: bool) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'%' => {
                out.push(u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok()?);
                at += 2;
            }
            b'+' if plus => out.push(b' '),
            other => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8(out).ok()
}

/// The parameters of a query, in their order.
pub(super) fn queries(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| Some((decoded(name, true)?, decoded(value, true)?)))
        .collect()
}
