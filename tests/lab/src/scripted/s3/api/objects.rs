//! Objects put, read and deleted, and the conditions of each.

use super::super::Space;
use super::super::bucket::{Bucket, no_such_key};
use super::super::checksum::{Checksum, ChecksumAlgorithm};
use super::super::object::{Stored, Version};
use super::super::xml::{Writer, parse};
use super::request::Request;
use super::{Answer, Body};
use crate::scripted::clock::since_epoch;
use crate::scripted::model::error::AwsError;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use hyper::Method;
use std::sync::Arc;
use std::time::SystemTime;

/// The condition on what is there when something is written.
#[derive(Debug, Default)]
pub(super) struct WriteIf<'a> {
    matches: Option<&'a str>,
    none: bool,
}

impl<'a> WriteIf<'a> {
    pub(super) fn of(request: &'a Request) -> Self {
        Self { matches: request.header("if-match"), none: request.header("if-none-match").is_some() }
    }

    /// # Errors
    /// 412; 404 when there is nothing that could match.
    pub(super) fn check(&self, current: Option<&Arc<Stored>>) -> Result<(), AwsError> {
        match (self.matches, current) {
            (Some(_), None) => Err(no_such_key()),
            (Some(etag), Some(stored)) if !same_etag(etag, &stored.etag) => Err(failed()),
            (_, Some(_)) if self.none => Err(failed()),
            _ => Ok(()),
        }
    }
}

pub(super) fn same_etag(asked: &str, etag: &str) -> bool {
    asked == "*" || asked.trim_matches('"') == etag
}

pub(super) fn failed() -> AwsError {
    AwsError::new(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
}

pub(super) fn http_date(at: SystemTime) -> String {
    let second = DateTime::from_secs(i64::try_from(since_epoch(at).as_secs()).unwrap_or_default());
    second.fmt(Format::HttpDate).unwrap_or_default()
}

/// An instant as the XML answers have it: whole seconds, with milliseconds written.
pub(super) fn iso_date(at: SystemTime) -> String {
    let second = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since_epoch(at).as_secs());
    humantime::format_rfc3339_millis(second).to_string()
}

fn parsed_date(text: &str) -> Option<u64> {
    let date =
        DateTime::from_str(text, Format::HttpDate).or_else(|_| DateTime::from_str(text, Format::DateTime)).ok()?;
    u64::try_from(date.secs()).ok()
}

/// The conditions of a read, also those of a copy on its source.
pub(super) fn read_if(request: &Request, prefix: &str, version: &Version, etag: &str) -> Result<(), u16> {
    let header = |name: &str| request.header(&format!("{prefix}{name}"));
    let at = since_epoch(version.at).as_secs();
    let unmodified = header("if-unmodified-since").and_then(parsed_date).is_none_or(|since| at <= since);
    match header("if-match") {
        Some(asked) if !same_etag(asked, etag) => return Err(412),
        Some(_) => {}
        None if !unmodified => return Err(412),
        None => {}
    }
    let modified = header("if-modified-since").and_then(parsed_date).is_none_or(|since| at > since);
    match header("if-none-match") {
        Some(asked) if same_etag(asked, etag) => Err(304),
        Some(_) => Ok(()),
        None if !modified => Err(304),
        None => Ok(()),
    }
}

pub(super) fn put(space: &Space, mut request: Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let (content, checksum) = request.content()?;
    let mut about = request.description()?;
    let wanted = request.header("x-amz-sdk-checksum-algorithm").and_then(ChecksumAlgorithm::named);
    let checksum =
        checksum.unwrap_or_else(|| Checksum::whole(wanted.unwrap_or(ChecksumAlgorithm::Crc64Nvme), &content));
    let digest = content.digest();
    let mut bucket = cell.lock();
    WriteIf::of(&request).check(bucket.current_stored(&request.key))?;
    bucket.encrypt_by_default(&mut about);
    let stored = Stored {
        etag: digest.etag(),
        digest,
        content,
        parts: Vec::new(),
        checksum: Some(checksum),
        about,
        replication: None,
        restore: None,
    };
    let stored = Arc::new(stored);
    let version = bucket.put(&request.key, Arc::clone(&stored), "ObjectCreated:Put", space.region.now());
    let mut answer = Answer::empty(200);
    written(&mut answer, &bucket, &version, &stored);
    Ok(answer)
}

/// What the answer to a write says of what was written.
pub(super) fn written(answer: &mut Answer, bucket: &Bucket, version: &Version, stored: &Stored) {
    answer.set("etag", format!("\"{}\"", stored.etag));
    answer.set_some("x-amz-version-id", bucket.shown(version));
    encryption(answer, stored);
    if let Some(checksum) = &stored.checksum {
        answer.set(checksum.algorithm.header(), &checksum.value);
        answer.set("x-amz-checksum-type", checksum.kind.name());
    }
}

fn encryption(answer: &mut Answer, stored: &Stored) {
    let encryption = &stored.about.encryption;
    if encryption.customer_key.is_some() {
        answer.set("x-amz-server-side-encryption-customer-algorithm", "AES256");
        answer.set_some("x-amz-server-side-encryption-customer-key-md5", encryption.customer_key.as_ref());
        return;
    }
    if !encryption.algorithm.is_empty() {
        answer.set("x-amz-server-side-encryption", &encryption.algorithm);
    }
    answer.set_some("x-amz-server-side-encryption-aws-kms-key-id", encryption.kms_key.as_ref());
    if encryption.bucket_key {
        answer.set("x-amz-server-side-encryption-bucket-key-enabled", "true");
    }
}

/// GetObject and HeadObject.
pub(super) fn get(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let (version, shown) = {
        let bucket = cell.lock();
        let version = bucket.find(&request.key, request.query("versionId"))?.clone();
        let shown = bucket.shown(&version).map(str::to_owned);
        (version, shown)
    };
    let Some(stored) = &version.stored else {
        return Ok(marker(request, &version));
    };
    let mut answer = Answer::empty(200);
    answer.set_some("x-amz-version-id", shown);
    describe(&mut answer, &version, stored);
    match read_if(request, "", &version, &stored.etag) {
        Ok(()) => {}
        Err(304) => {
            answer.status = 304;
            return Ok(answer);
        }
        Err(_) => return Err(failed()),
    }
    readable(request, stored, request.method == Method::GET)?;
    let size = stored.digest.size;
    let (mut from, mut to, mut partial) = (0, size, false);
    let mut checksum = stored.checksum.clone();
    if let Some(number) = request.number("partNumber") {
        (from, to) = part_range(stored, number)?;
        partial = true;
        if !stored.parts.is_empty() {
            answer.set("x-amz-mp-parts-count", stored.parts.len().to_string());
            let nth = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
            checksum = stored.parts.get(nth).and_then(|part| part.checksum.clone());
        }
    } else if let Some(range) = request.header("range") {
        (from, to) = byte_range(range, size)?;
        partial = true;
        checksum = checksum.filter(|_| (from, to) == (0, size));
    }
    if request.header("x-amz-checksum-mode") == Some("ENABLED")
        && let Some(checksum) = checksum
    {
        answer.set(checksum.algorithm.header(), &checksum.value);
        answer.set("x-amz-checksum-type", checksum.kind.name());
    }
    if partial && size > 0 {
        answer.status = 206;
        answer.set("content-range", format!("bytes {from}-{}/{size}", to.saturating_sub(1)));
    }
    answer.body = if request.method == Method::HEAD {
        Body::Length(to - from)
    } else {
        Body::Content(stored.content.slice(from, to))
    };
    Ok(answer)
}

/// A delete marker is not found, or when it is named itself, not to be read.
fn marker(request: &Request, version: &Version) -> Answer {
    let error = match request.query("versionId") {
        None => no_such_key(),
        Some(_) => {
            let words = "The specified method is not allowed against this resource.";
            AwsError::new(405, "MethodNotAllowed", words)
        }
    };
    let mut answer = Answer::error(&error);
    answer.set("x-amz-delete-marker", "true");
    answer.set("x-amz-version-id", &*version.id);
    answer.set("last-modified", http_date(version.at));
    answer
}

/// # Errors
/// When the customer's key is missing or another one; 403 when the bytes are asked for and the object is archived.
pub(super) fn readable(request: &Request, stored: &Stored, bytes: bool) -> Result<(), AwsError> {
    if let Some(key) = &stored.about.encryption.customer_key {
        let told = request
            .header("x-amz-server-side-encryption-customer-key-md5")
            .or_else(|| request.header("x-amz-copy-source-server-side-encryption-customer-key-md5"));
        match told {
            None => {
                let words = "The object was stored using a form of Server Side Encryption. The correct parameters must \
                             be provided to retrieve the object.";
                return Err(AwsError::new(400, "InvalidRequest", words));
            }
            Some(told) if told != key => return Err(AwsError::new(403, "AccessDenied", "Access Denied")),
            Some(_) => {}
        }
    }
    if bytes && stored.archived() {
        let words = "The operation is not valid for the object's storage class";
        return Err(AwsError::new(403, "InvalidObjectState", words));
    }
    Ok(())
}

fn describe(answer: &mut Answer, version: &Version, stored: &Stored) {
    let about = &stored.about;
    answer.set("etag", format!("\"{}\"", stored.etag));
    answer.set("last-modified", http_date(version.at));
    answer.set("accept-ranges", "bytes");
    if !about.headers.contains_key("content-type") {
        answer.set("content-type", "binary/octet-stream");
    }
    about.headers.iter().for_each(|(name, value)| answer.set(name, value));
    about.metadata.iter().for_each(|(name, value)| answer.set(&format!("x-amz-meta-{name}"), value));
    if about.storage_class != "STANDARD" {
        answer.set("x-amz-storage-class", &about.storage_class);
    }
    encryption(answer, stored);
    if !about.tags.is_empty() {
        answer.set("x-amz-tagging-count", about.tags.len().to_string());
    }
    answer.set_some("x-amz-replication-status", stored.replication.as_ref());
    answer.set_some("x-amz-restore", stored.restore.as_ref());
    answer.set_some("x-amz-object-lock-mode", about.lock.mode.as_ref());
    answer.set_some("x-amz-object-lock-retain-until-date", about.lock.until.as_ref());
    answer.set_some("x-amz-object-lock-legal-hold", about.lock.legal_hold.as_ref());
}

fn part_range(stored: &Stored, number: u64) -> Result<(u64, u64), AwsError> {
    let invalid = || AwsError::new(416, "InvalidPartNumber", "The requested partnumber is not satisfiable");
    let nth = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)).ok_or_else(invalid)?;
    if stored.parts.is_empty() {
        return if nth == 0 { Ok((0, stored.digest.size)) } else { Err(invalid()) };
    }
    let part = stored.parts.get(nth).ok_or_else(invalid)?;
    let from = stored.parts.iter().take(nth).map(|part| part.content.len()).sum();
    Ok((from, from + part.content.len()))
}

/// `bytes=a-b`, `bytes=a-`, `bytes=-n` as the first byte and the one behind the last.
pub(super) fn byte_range(range: &str, size: u64) -> Result<(u64, u64), AwsError> {
    let invalid = || AwsError::new(416, "InvalidRange", "The requested range is not satisfiable");
    let (a, b) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(invalid)?;
    let (from, to) = match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(from), Ok(last)) => (from, last.saturating_add(1).min(size)),
        (Ok(from), Err(_)) if b.is_empty() => (from, size),
        (Err(_), Ok(last)) if a.is_empty() => (size.saturating_sub(last), size),
        _ => return Err(invalid()),
    };
    if from < to { Ok((from, to)) } else { Err(invalid()) }
}

pub(super) fn delete(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let mut bucket = cell.lock();
    let (id, condition) = (request.query("versionId"), request.header("if-match"));
    let removed = remove(&mut bucket, &request.key, id, condition, space.region.now())?;
    let mut answer = Answer::empty(204);
    answer.set_some("x-amz-version-id", removed.version_id.as_deref());
    if removed.marker {
        answer.set("x-amz-delete-marker", "true");
    }
    Ok(answer)
}

fn remove(
    bucket: &mut Bucket,
    key: &str,
    version_id: Option<&str>,
    condition: Option<&str>,
    now: SystemTime,
) -> Result<super::super::bucket::Removed, AwsError> {
    if let Some(etag) = condition {
        let Some(current) = bucket.current_stored(key) else {
            let status = bucket.quirks.missing_conditional_delete;
            return Err(if status == 404 { no_such_key() } else { failed() });
        };
        if !same_etag(etag, &current.etag) {
            return Err(failed());
        }
    }
    if let Some(stored) = version_id.and_then(|id| bucket.find(key, Some(id)).ok()).and_then(|v| v.stored.as_ref())
        && (stored.about.lock.legal_hold.as_deref() == Some("ON") || stored.about.lock.mode.is_some())
    {
        let words = "Access Denied because object protected by object lock.";
        return Err(AwsError::new(403, "AccessDenied", words));
    }
    Ok(match version_id {
        Some(id) => bucket.delete_version(key, id, now),
        None => bucket.delete(key, false, now),
    })
}

pub(super) fn delete_many(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let malformed = || AwsError::new(400, "MalformedXML", "The XML you provided was not well-formed");
    let root = parse(&request.text()).ok_or_else(malformed)?;
    let quiet = root.get("Quiet") == Some("true");
    if root.all("Object").count() > 1000 {
        return Err(malformed());
    }
    let mut xml = Writer::new("DeleteResult");
    let mut bucket = cell.lock();
    for object in root.all("Object") {
        let key = object.get("Key").unwrap_or_default();
        let id = object.get("VersionId");
        match remove(&mut bucket, key, id, object.get("ETag"), space.region.now()) {
            Ok(_) if quiet => {}
            Ok(removed) => {
                xml.open("Deleted");
                xml.field("Key", key);
                xml.some("VersionId", id);
                if removed.marker {
                    xml.field("DeleteMarker", true);
                    xml.some("DeleteMarkerVersionId", removed.version_id.as_deref());
                }
                xml.close();
            }
            Err(error) => {
                xml.open("Error");
                xml.field("Key", key);
                xml.some("VersionId", id);
                xml.field("Code", &error.code);
                xml.field("Message", &error.message);
                xml.close();
            }
        }
    }
    Ok(Answer::xml(xml.done()))
}
