//! Copies within S3: a whole object, or a range of one into a part.

use super::super::Space;
use super::super::bucket::no_such_key;
use super::super::checksum::{Checksum, ChecksumAlgorithm};
use super::super::object::{Part, Stored, Version};
use super::super::xml::Writer;
use super::Answer;
use super::objects::{WriteIf, byte_range, failed, iso_date, read_if, readable, written};
use super::request::{Request, decoded};
use crate::scripted::model::error::AwsError;
use std::sync::Arc;

fn invalid(words: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidRequest", words)
}

/// A version, what it holds, its id when its bucket has versions, its bucket and its key.
type Source = (Version, Arc<Stored>, Option<String>, String, String);

/// The version that a copy reads.
fn source(space: &Space, request: &Request) -> Result<Source, AwsError> {
    let named = request.header("x-amz-copy-source").unwrap_or_default();
    let (path, id) = named.split_once("?versionId=").map_or((named, None), |(path, id)| (path, Some(id)));
    let path = decoded(path, false).ok_or_else(|| invalid("The copy source cannot be decoded"))?;
    let (bucket, key) = path.trim_start_matches('/').split_once('/').ok_or_else(|| {
        AwsError::new(
            400,
            "InvalidArgument",
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        )
    })?;
    let cell = space.source(bucket)?;
    let (version, shown) = {
        let source = cell.lock();
        let version = source.find(key, id)?.clone();
        let shown = source.shown(&version).map(str::to_owned);
        (version, shown)
    };
    let stored = match (&version.stored, id) {
        (Some(stored), _) => Arc::clone(stored),
        (None, None) => return Err(no_such_key()),
        (None, Some(_)) => {
            return Err(invalid(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ));
        }
    };
    read_if(request, "x-amz-copy-source-", &version, &stored.etag).map_err(|_| failed())?;
    readable(request, &stored, true)?;
    Ok((version, stored, shown, bucket.to_owned(), key.to_owned()))
}

pub(super) fn copy(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let target = space.bucket(&request.bucket)?;
    let (_, stored, source_id, from_bucket, from_key) = source(space, request)?;
    let largest = target.lock().quirks.max_copy;
    if stored.digest.size > largest {
        return Err(invalid(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {largest}"
        )));
    }
    let told = request.description()?;
    let replaces = |directive: &str| request.header(directive) == Some("REPLACE");
    let mut about = told.clone();
    if !replaces("x-amz-metadata-directive") {
        about.headers = stored.about.headers.clone();
        about.metadata = stored.about.metadata.clone();
        // The redirect is not copied (S3-F7).
        about.headers.remove("x-amz-website-redirect-location");
        let redirect = told.headers.get_key_value("x-amz-website-redirect-location");
        about.headers.extend(redirect.map(|(name, value)| (name.clone(), value.clone())));
        if from_key == request.key && from_bucket == request.bucket && source_id.is_none() && told_nothing(request) {
            return Err(invalid(
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
    }
    if !replaces("x-amz-tagging-directive") {
        about.tags = stored.about.tags.clone();
    }
    if request.header("x-amz-object-annotation-directive") != Some("EXCLUDE") {
        about.annotations = stored.about.annotations.clone();
    }
    let asked = request.header("x-amz-checksum-algorithm").and_then(ChecksumAlgorithm::named);
    let kept = stored.checksum.as_ref().map(|checksum| checksum.algorithm);
    let algorithm = asked.or(kept).unwrap_or(ChecksumAlgorithm::Crc64Nvme);
    let checksum = Checksum::whole(algorithm, &stored.content);
    let mut bucket = target.lock();
    WriteIf::of(request).check(bucket.current_stored(&request.key))?;
    bucket.encrypt_by_default(&mut about);
    let copied = Arc::new(Stored {
        content: stored.content.clone(),
        digest: stored.digest,
        // A copy is one part, whatever the source was.
        etag: stored.digest.etag(),
        parts: Vec::new(),
        checksum: Some(checksum.clone()),
        about,
        replication: None,
        restore: None,
    });
    let version = bucket.put(&request.key, Arc::clone(&copied), "ObjectCreated:Copy", space.region.now());
    let mut xml = Writer::new("CopyObjectResult");
    xml.field("LastModified", iso_date(version.at));
    xml.field("ETag", format!("\"{}\"", copied.etag));
    xml.field(checksum.algorithm.member(), &checksum.value);
    xml.field("ChecksumType", checksum.kind.name());
    let mut answer = Answer::xml(xml.done());
    written(&mut answer, &bucket, &version, &copied);
    answer.set_some("x-amz-copy-source-version-id", source_id);
    Ok(answer)
}

/// Nothing about the object would change.
fn told_nothing(request: &Request) -> bool {
    let telling = ["x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-server-side-encryption"];
    telling.iter().all(|name| request.header(name).is_none())
        && request.header("x-amz-tagging-directive") != Some("REPLACE")
        && request.header("x-amz-checksum-algorithm").is_none()
}

pub(super) fn copy_part(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let target = space.bucket(&request.bucket)?;
    let id = request.query("uploadId").unwrap_or_default();
    let (algorithm, quirks) = {
        let mut bucket = target.lock();
        let quirks = bucket.quirks.clone();
        (bucket.upload(id, &request.key)?.algorithm, quirks)
    };
    let number = super::multipart::part_number(request, quirks.max_parts)?;
    let (_, stored, source_id, ..) = source(space, request)?;
    let size = stored.digest.size;
    let (from, to) = match request.header("x-amz-copy-source-range") {
        None => (0, size),
        Some(range) => {
            let (from, to) = byte_range(range, size)?;
            let last = range.rsplit('-').next().and_then(|last| last.parse::<u64>().ok());
            if last.is_none_or(|last| last >= size) {
                return Err(AwsError::new(
                    400,
                    "InvalidArgument",
                    format!("Range specified is not valid for source object of size: {size}"),
                ));
            }
            // The least source of a range is the least size of a part: 5 MB on AWS (S3-F8).
            if size < quirks.min_part {
                return Err(invalid("The specified copy range is invalid for the source object size."));
            }
            (from, to)
        }
    };
    if to - from > quirks.max_copy {
        let most = quirks.max_copy;
        return Err(invalid(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {most}"
        )));
    }
    let content = stored.content.slice(from, to);
    let checksum = Checksum::whole(algorithm, &content);
    let part =
        Part { number, etag: content.digest().etag(), content, checksum: Some(checksum), at: space.region.now() };
    let mut xml = Writer::new("CopyPartResult");
    xml.field("LastModified", iso_date(part.at));
    xml.field("ETag", format!("\"{}\"", part.etag));
    if let Some(checksum) = &part.checksum {
        xml.field(checksum.algorithm.member(), &checksum.value);
    }
    target.lock().upload(id, &request.key)?.parts.insert(number, part);
    let mut answer = Answer::xml(xml.done());
    answer.set_some("x-amz-copy-source-version-id", source_id);
    Ok(answer)
}
