//! Listings: objects, and versions.

use super::super::Space;
use super::super::bucket::Bucket;
use super::super::events::form_encoded;
use super::super::object::{Stored, Version};
use super::super::xml::Writer;
use super::Answer;
use super::objects::iso_date;
use super::request::Request;
use crate::scripted::model::error::AwsError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use std::ops::Bound;
use std::sync::Arc;

/// Keys as they are, or as `encoding-type=url` writes them.
struct Names(bool);

impl Names {
    fn of(request: &Request) -> Self {
        Self(request.query("encoding-type") == Some("url"))
    }

    fn show(&self, key: &str) -> String {
        if self.0 { form_encoded(key) } else { key.to_owned() }
    }
}

fn most(request: &Request, bucket: &Bucket) -> usize {
    let asked = request.number("max-keys").and_then(|keys| usize::try_from(keys).ok()).unwrap_or(1000);
    asked.min(bucket.quirks.page)
}

fn details(xml: &mut Writer, stored: &Stored) {
    xml.field("ETag", format!("\"{}\"", stored.etag));
    if let Some(checksum) = &stored.checksum {
        xml.field("ChecksumAlgorithm", checksum.algorithm.name());
        xml.field("ChecksumType", checksum.kind.name());
    }
    xml.field("Size", stored.digest.size);
    xml.field("StorageClass", &stored.about.storage_class);
}

/// ListObjectsV2 and its predecessor.
pub(super) fn objects(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let names = Names::of(request);
    let second = request.op == "ListObjectsV2";
    let prefix = request.query("prefix").unwrap_or_default();
    let delimiter = request.query("delimiter").filter(|delimiter| !delimiter.is_empty());
    let token = match request.query("continuation-token") {
        None => None,
        Some(token) => {
            let bytes = URL_SAFE.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let words = "The continuation token provided is incorrect";
            Some(bytes.ok_or_else(|| AwsError::new(400, "InvalidArgument", words))?)
        }
    };
    let told = request.query(if second { "start-after" } else { "marker" }).unwrap_or_default();
    let after = token.unwrap_or_else(|| told.to_owned());
    let bucket = cell.lock();
    let most = most(request, &bucket);
    let from = if &*after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after.as_str()) };
    let mut rows: Vec<(&Arc<str>, &Version, &Stored)> = Vec::new();
    let (mut prefixes, mut last, mut truncated) = (Vec::<&str>::new(), None, false);
    for (key, versions) in bucket.objects.range::<str, _>((from, Bound::Unbounded)) {
        if !key.starts_with(prefix) {
            break;
        }
        let Some((version, stored)) = versions.last().and_then(|v| Some((v, v.stored.as_deref()?))) else { continue };
        let common = delimiter.and_then(|delimiter| {
            let rest = key.get(prefix.len()..)?;
            key.get(..prefix.len() + rest.find(delimiter)? + delimiter.len())
        });
        // What the page before this one told as a prefix is not told again.
        if common.is_some_and(|common| prefixes.last() == Some(&common) || after.starts_with(common)) {
            last = Some(key);
            continue;
        }
        if rows.len() + prefixes.len() >= most {
            truncated = true;
            break;
        }
        last = Some(key);
        match common {
            Some(common) => prefixes.push(common),
            None => rows.push((key, version, stored)),
        }
    }
    let mut xml = Writer::new("ListBucketResult");
    xml.field("Name", &request.bucket);
    xml.field("Prefix", names.show(prefix));
    xml.some("Delimiter", delimiter);
    xml.field("MaxKeys", most);
    xml.some("EncodingType", names.0.then_some("url"));
    xml.field("IsTruncated", truncated);
    if second {
        xml.field("KeyCount", rows.len() + prefixes.len());
        xml.some("StartAfter", request.query("start-after").map(|after| names.show(after)));
        xml.some("ContinuationToken", request.query("continuation-token"));
        let next = last.filter(|_| truncated).map(|key| URL_SAFE.encode(key.as_bytes()));
        xml.some("NextContinuationToken", next);
    } else {
        xml.field("Marker", names.show(told));
        xml.some("NextMarker", last.filter(|_| truncated).map(|key| names.show(key)));
    }
    for (key, version, stored) in rows {
        xml.open("Contents");
        xml.field("Key", names.show(key));
        xml.field("LastModified", iso_date(version.at));
        details(&mut xml, stored);
        xml.close();
    }
    for common in prefixes {
        xml.open("CommonPrefixes");
        xml.field("Prefix", names.show(common));
        xml.close();
    }
    Ok(Answer::xml(xml.done()))
}

pub(super) fn versions(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let names = Names::of(request);
    let prefix = request.query("prefix").unwrap_or_default();
    let marker = request.query("key-marker").unwrap_or_default();
    let id_marker = request.query("version-id-marker").filter(|id| !id.is_empty());
    let bucket = cell.lock();
    let most = most(request, &bucket);
    let from = match id_marker {
        _ if marker < prefix => Bound::Included(prefix),
        Some(_) => Bound::Included(marker),
        None => Bound::Excluded(marker),
    };
    let mut rows: Vec<(&Arc<str>, &Version, bool)> = Vec::new();
    let mut truncated = false;
    'keys: for (key, versions) in bucket.objects.range::<str, _>((from, Bound::Unbounded)) {
        if !key.starts_with(prefix) {
            break;
        }
        // Behind the marker: the versions that are older than the one it names.
        let older = match id_marker.filter(|_| **key == *marker) {
            Some(id) => versions.iter().position(|version| &*version.id == id).unwrap_or(versions.len()),
            None => versions.len(),
        };
        for (nth, version) in versions.iter().enumerate().take(older).rev() {
            if rows.len() >= most {
                truncated = true;
                break 'keys;
            }
            rows.push((key, version, nth + 1 == versions.len()));
        }
    }
    let mut xml = Writer::new("ListVersionsResult");
    xml.field("Name", &request.bucket);
    xml.field("Prefix", names.show(prefix));
    xml.field("KeyMarker", names.show(marker));
    xml.some("VersionIdMarker", id_marker);
    xml.field("MaxKeys", most);
    xml.some("EncodingType", names.0.then_some("url"));
    xml.field("IsTruncated", truncated);
    if let Some((key, version, _)) = rows.last().filter(|_| truncated) {
        xml.field("NextKeyMarker", names.show(key));
        xml.field("NextVersionIdMarker", &version.id);
    }
    for (key, version, latest) in rows {
        xml.open(if version.stored.is_some() { "Version" } else { "DeleteMarker" });
        xml.field("Key", names.show(key));
        xml.field("VersionId", &version.id);
        xml.field("IsLatest", latest);
        xml.field("LastModified", iso_date(version.at));
        if let Some(stored) = &version.stored {
            details(&mut xml, stored);
        }
        xml.close();
    }
    Ok(Answer::xml(xml.done()))
}
