//! Multipart uploads over HTTP.

use super::super::Space;
use super::super::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use super::super::object::Part;
use super::super::uploads::{NamedPart, Upload, no_such_upload};
use super::super::xml::{Writer, parse};
use super::Answer;
use super::objects::{WriteIf, iso_date, written};
use super::request::Request;
use crate::scripted::model::error::AwsError;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn part_number(request: &Request, most: u32) -> Result<u32, AwsError> {
    let number = request.query("partNumber").and_then(|number| number.parse().ok());
    number.filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        let words = format!("Part number must be an integer between 1 and {most}, inclusive");
        AwsError::new(400, "InvalidArgument", words)
    })
}

pub(super) fn create(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let mut about = request.description()?;
    let algorithm = request.header("x-amz-checksum-algorithm").and_then(ChecksumAlgorithm::named);
    let algorithm = algorithm.unwrap_or(ChecksumAlgorithm::Crc64Nvme);
    let kind = Checksum::kind_for(algorithm, request.header("x-amz-checksum-type"));
    let mut bucket = cell.lock();
    bucket.encrypt_by_default(&mut about);
    let id = bucket.fresh_id(2);
    let key = request.key.clone();
    let upload = Upload { key, begun: space.region.now(), about, algorithm, kind, parts: BTreeMap::new() };
    bucket.uploads.insert(id.clone(), upload);
    let mut xml = Writer::new("InitiateMultipartUploadResult");
    xml.field("Bucket", &request.bucket);
    xml.field("Key", &request.key);
    xml.field("UploadId", id);
    let mut answer = Answer::xml(xml.done());
    answer.set("x-amz-checksum-algorithm", algorithm.name());
    answer.set("x-amz-checksum-type", kind.name());
    Ok(answer)
}

pub(super) fn upload(space: &Space, mut request: Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let id = request.query("uploadId").unwrap_or_default().to_owned();
    let (algorithm, most) = {
        let mut bucket = cell.lock();
        let most = bucket.quirks.max_parts;
        (bucket.upload(&id, &request.key)?.algorithm, most)
    };
    let number = part_number(&request, most)?;
    let (content, told) = request.content()?;
    let checksum =
        told.filter(|told| told.algorithm == algorithm).unwrap_or_else(|| Checksum::whole(algorithm, &content));
    let part =
        Part { number, etag: content.digest().etag(), content, checksum: Some(checksum), at: space.region.now() };
    let mut answer = Answer::empty(200);
    answer.set("etag", format!("\"{}\"", part.etag));
    if let Some(checksum) = &part.checksum {
        answer.set(checksum.algorithm.header(), &checksum.value);
    }
    // The upload may have been aborted while the bytes came in.
    cell.lock().upload(&id, &request.key)?.parts.insert(number, part);
    Ok(answer)
}

pub(super) fn complete(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let id = request.query("uploadId").unwrap_or_default();
    let malformed = || AwsError::new(400, "MalformedXML", "The XML you provided was not well-formed");
    let root = parse(&request.text()).ok_or_else(malformed)?;
    let mut named = Vec::new();
    for part in root.all("Part") {
        let number = part.get("PartNumber").and_then(|number| number.parse().ok()).ok_or_else(malformed)?;
        let checksum = ChecksumAlgorithm::ALL.iter().find_map(|algorithm| part.get(algorithm.member()));
        let etag = part.get("ETag").unwrap_or_default().to_owned();
        named.push(NamedPart { number, etag, checksum: checksum.map(str::to_owned) });
    }
    let (upload, quirks) = {
        let mut bucket = cell.lock();
        let quirks = bucket.quirks.clone();
        (bucket.upload(id, &request.key)?.clone(), quirks)
    };
    let stored = Arc::new(upload.assembled(&named, &quirks)?);
    if let Some(checksum) = &stored.checksum
        && checksum.kind == ChecksumKind::FullObject
        && request.header(checksum.algorithm.header()).is_some_and(|told| told != checksum.value)
    {
        return Err(AwsError::new(
            400,
            "BadDigest",
            "The checksum you specified did not match the calculated checksum.",
        ));
    }
    if let Some(size) = request.header("x-amz-mp-object-size")
        && size.parse() != Ok(stored.digest.size)
    {
        return Err(AwsError::new(
            400,
            "InvalidRequest",
            "The provided 'x-amz-mp-object-size' header value does not match",
        ));
    }
    let mut bucket = cell.lock();
    WriteIf::of(request).check(bucket.current_stored(&request.key))?;
    // Somebody else may have completed or aborted it.
    bucket.uploads.remove(id).ok_or_else(no_such_upload)?;
    let event = "ObjectCreated:CompleteMultipartUpload";
    let version = bucket.put(&request.key, Arc::clone(&stored), event, space.region.now());
    let mut xml = Writer::new("CompleteMultipartUploadResult");
    xml.field("Location", format!("{}/{}/{}", space.region.endpoint(), request.bucket, request.key));
    xml.field("Bucket", &request.bucket);
    xml.field("Key", &request.key);
    xml.field("ETag", format!("\"{}\"", stored.etag));
    if let Some(checksum) = &stored.checksum {
        xml.field(checksum.algorithm.member(), &checksum.value);
        xml.field("ChecksumType", checksum.kind.name());
    }
    let mut answer = Answer::xml(xml.done());
    written(&mut answer, &bucket, &version, &stored);
    Ok(answer)
}

pub(super) fn abort(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let mut bucket = cell.lock();
    let id = request.query("uploadId").unwrap_or_default();
    bucket.upload(id, &request.key)?;
    bucket.uploads.remove(id);
    Ok(Answer::empty(204))
}

pub(super) fn list_parts(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let mut bucket = cell.lock();
    let id = request.query("uploadId").unwrap_or_default();
    let upload = bucket.upload(id, &request.key)?;
    let after = request.number("part-number-marker").and_then(|marker| u32::try_from(marker).ok()).unwrap_or(0);
    let most = request.number("max-parts").unwrap_or(1000).min(1000);
    let most = usize::try_from(most).unwrap_or(1000);
    let mut parts = upload.parts.range(after + 1..).map(|(_, part)| part);
    let mut xml = Writer::new("ListPartsResult");
    xml.field("Bucket", &request.bucket);
    xml.field("Key", &request.key);
    xml.field("UploadId", id);
    xml.field("StorageClass", &upload.about.storage_class);
    xml.field("ChecksumAlgorithm", upload.algorithm.name());
    xml.field("ChecksumType", upload.kind.name());
    xml.field("PartNumberMarker", after);
    xml.field("MaxParts", most);
    let mut last = after;
    for part in parts.by_ref().take(most) {
        last = part.number;
        xml.open("Part");
        xml.field("PartNumber", part.number);
        xml.field("LastModified", iso_date(part.at));
        xml.field("ETag", format!("\"{}\"", part.etag));
        xml.field("Size", part.content.len());
        if let Some(checksum) = &part.checksum {
            xml.field(checksum.algorithm.member(), &checksum.value);
        }
        xml.close();
    }
    xml.field("NextPartNumberMarker", last);
    xml.field("IsTruncated", parts.next().is_some());
    Ok(Answer::xml(xml.done()))
}

pub(super) fn list_uploads(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let bucket = cell.lock();
    let prefix = request.query("prefix").unwrap_or_default();
    let mut uploads: Vec<_> = bucket.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix)).collect();
    uploads.sort_by(|(a_id, a), (b_id, b)| (&a.key, a.begun, a_id).cmp(&(&b.key, b.begun, b_id)));
    let mut xml = Writer::new("ListMultipartUploadsResult");
    xml.field("Bucket", &request.bucket);
    xml.field("IsTruncated", false);
    for (id, upload) in uploads {
        xml.open("Upload");
        xml.field("Key", &upload.key);
        xml.field("UploadId", id);
        xml.field("Initiated", iso_date(upload.begun));
        xml.field("StorageClass", &upload.about.storage_class);
        xml.close();
    }
    Ok(Answer::xml(xml.done()))
}
