//! What is said about an object: tags, access, locks, annotations, attributes; and restores of archived ones.

use super::super::Space;
use super::super::xml::{Writer, parse};
use super::objects::http_date;
use super::request::Request;
use super::{Answer, Body};
use crate::scripted::model::error::AwsError;
use std::collections::BTreeMap;
use std::sync::Arc;

fn malformed() -> AwsError {
    AwsError::new(400, "MalformedXML", "The XML you provided was not well-formed")
}

/// The object that is asked for, and its version id when its bucket has versions.
fn found(
    space: &Space,
    request: &Request,
) -> Result<(Arc<super::super::object::Stored>, Option<String>, std::time::SystemTime), AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let bucket = cell.lock();
    let version = bucket.find(&request.key, request.query("versionId"))?;
    let shown = bucket.shown(version).map(str::to_owned);
    match (&version.stored, request.query("versionId")) {
        (Some(stored), _) => Ok((Arc::clone(stored), shown, version.at)),
        (None, None) => Err(super::super::bucket::no_such_key()),
        (None, Some(_)) => {
            let words = "The specified method is not allowed against this resource.";
            Err(AwsError::new(405, "MethodNotAllowed", words))
        }
    }
}

/// Changes what is said about an object, and says which version it was.
fn changed(
    space: &Space,
    request: &Request,
    event: &'static str,
    status: u16,
    change: impl FnOnce(&mut super::super::object::Stored),
) -> Result<Answer, AwsError> {
    let cell = space.bucket(&request.bucket)?;
    let mut bucket = cell.lock();
    let version = bucket.describe(&request.key, request.query("versionId"), event, space.region.now(), change)?;
    let mut answer = Answer::empty(status);
    answer.set_some("x-amz-version-id", bucket.shown(&version));
    Ok(answer)
}

pub(super) fn tagging(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    match request.op {
        "PutObjectTagging" => {
            let root = parse(&request.text()).ok_or_else(malformed)?;
            let set = root.all("TagSet").next().ok_or_else(malformed)?;
            let tag = |tag: &super::super::xml::Element| {
                Some((tag.get("Key")?.to_owned(), tag.get("Value").unwrap_or_default().to_owned()))
            };
            let tags: BTreeMap<String, String> = set.all("Tag").filter_map(tag).collect();
            if tags.len() > 10 {
                return Err(AwsError::new(400, "BadRequest", "Object tags cannot be greater than 10"));
            }
            changed(space, request, "ObjectTagging:Put", 200, |stored| stored.about.tags = tags)
        }
        "DeleteObjectTagging" => {
            changed(space, request, "ObjectTagging:Delete", 204, |stored| stored.about.tags.clear())
        }
        _ => {
            let (stored, shown, _) = found(space, request)?;
            let mut xml = Writer::new("Tagging");
            xml.open("TagSet");
            for (key, value) in &stored.about.tags {
                xml.open("Tag");
                xml.field("Key", key);
                xml.field("Value", value);
                xml.close();
            }
            let mut answer = Answer::xml(xml.done());
            answer.set_some("x-amz-version-id", shown);
            Ok(answer)
        }
    }
}

const OWNER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(super) fn acl(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    if request.op == "PutObjectAcl" {
        let told = request.description()?.acl;
        let text = request.text();
        let grants =
            text.split_once("<AccessControlList>").and_then(|(_, rest)| rest.split_once("</AccessControlList>"));
        let grants = grants.map(|(grants, _)| grants.to_owned());
        return changed(space, request, "ObjectAcl:Put", 200, |stored| stored.about.acl = grants.or(told));
    }
    let (stored, _, _) = found(space, request)?;
    Ok(Answer::xml(access(stored.about.acl.as_deref())))
}

/// A policy of access: the grants that were put, or the owner's.
pub(super) fn access(acl: Option<&str>) -> String {
    let mut xml = Writer::new("AccessControlPolicy");
    xml.open("Owner");
    xml.field("ID", OWNER);
    xml.close();
    xml.open("AccessControlList");
    if let Some(grants) = acl.filter(|acl| acl.starts_with('<')) {
        xml.raw(grants);
    } else {
        let kind = "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=";
        let owner = format!("{kind}\"CanonicalUser\"><ID>{OWNER}</ID></Grantee>");
        xml.raw(&format!("<Grant>{owner}<Permission>FULL_CONTROL</Permission></Grant>"));
        if acl == Some("public-read") {
            let all = "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>";
            xml.raw(&format!("<Grant>{kind}\"Group\">{all}</Grantee><Permission>READ</Permission></Grant>"));
        }
    }
    xml.done()
}

pub(super) fn lock(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let missing = || {
        let words = "The specified object does not have a ObjectLock configuration";
        AwsError::new(404, "NoSuchObjectLockConfiguration", words)
    };
    let text = request.text();
    let told = |name: &str| super::super::xml::first(&text, name);
    match request.op {
        "PutObjectRetention" => {
            let (mode, until) = (told("Mode"), told("RetainUntilDate"));
            changed(space, request, "ObjectRetention:Put", 200, |stored| {
                stored.about.lock.mode = mode;
                stored.about.lock.until = until;
            })
        }
        // There is no event for it (S3-F6).
        "PutObjectLegalHold" => {
            changed(space, request, "ObjectLegalHold", 200, |stored| stored.about.lock.legal_hold = told("Status"))
        }
        "GetObjectRetention" => {
            let (stored, ..) = found(space, request)?;
            let mode = stored.about.lock.mode.as_ref().ok_or_else(missing)?;
            let mut xml = Writer::new("Retention");
            xml.field("Mode", mode);
            xml.some("RetainUntilDate", stored.about.lock.until.as_ref());
            Ok(Answer::xml(xml.done()))
        }
        _ => {
            let (stored, ..) = found(space, request)?;
            let status = stored.about.lock.legal_hold.as_ref().ok_or_else(missing)?;
            let mut xml = Writer::new("LegalHold");
            xml.field("Status", status);
            Ok(Answer::xml(xml.done()))
        }
    }
}

pub(super) fn annotation(space: &Space, request: Request) -> Result<Answer, AwsError> {
    let name = request.query("annotationName").unwrap_or_default().to_owned();
    match request.op {
        "PutObjectAnnotation" => {
            let text = request.text();
            changed(space, &request, "ObjectAnnotation:Put", 200, |stored| {
                stored.about.annotations.insert(name, text);
            })
        }
        "DeleteObjectAnnotation" => changed(space, &request, "ObjectAnnotation:Delete", 204, |stored| {
            stored.about.annotations.remove(&name);
        }),
        "GetObjectAnnotation" => {
            let (stored, ..) = found(space, &request)?;
            let missing = || AwsError::new(404, "NoSuchAnnotation", "The specified annotation does not exist.");
            let text = stored.about.annotations.get(&name).ok_or_else(missing)?;
            Ok(Answer { body: Body::Text(text.clone()), ..Answer::empty(200) })
        }
        _ => {
            let (stored, ..) = found(space, &request)?;
            let mut xml = Writer::new("ListObjectAnnotationsResult");
            for (name, text) in &stored.about.annotations {
                xml.open("Annotation");
                xml.field("AnnotationName", name);
                xml.field("Size", text.len());
                xml.close();
            }
            Ok(Answer::xml(xml.done()))
        }
    }
}

pub(super) fn attributes(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let (stored, shown, at) = found(space, request)?;
    super::objects::readable(request, &stored, false)?;
    let asked = request.list("x-amz-object-attributes");
    let wants = |name: &str| asked.split(',').any(|one| one.trim() == name);
    let mut xml = Writer::new("GetObjectAttributesResponse");
    if wants("ETag") {
        xml.field("ETag", &stored.etag);
    }
    if let Some(checksum) = stored.checksum.as_ref().filter(|_| wants("Checksum")) {
        xml.open("Checksum");
        // A composite one without the number of parts, as AWS gives it here.
        xml.field(checksum.algorithm.member(), checksum.value.split('-').next().unwrap_or_default());
        xml.field("ChecksumType", checksum.kind.name());
        xml.close();
    }
    if wants("ObjectParts") && !stored.parts.is_empty() {
        let after = request.header("x-amz-part-number-marker").and_then(|marker| marker.parse().ok()).unwrap_or(0);
        let most =
            request.header("x-amz-max-parts").and_then(|parts| parts.parse().ok()).unwrap_or(1000_usize).min(1000);
        let mut parts = stored.parts.iter().filter(|part| part.number > after);
        xml.open("ObjectParts");
        xml.field("PartsCount", stored.parts.len());
        xml.field("PartNumberMarker", after);
        xml.field("MaxParts", most);
        let mut last = after;
        for part in parts.by_ref().take(most) {
            last = part.number;
            xml.open("Part");
            xml.field("PartNumber", part.number);
            xml.field("Size", part.content.len());
            if let Some(checksum) = &part.checksum {
                xml.field(checksum.algorithm.member(), &checksum.value);
            }
            xml.close();
        }
        xml.field("NextPartNumberMarker", last);
        xml.field("IsTruncated", parts.next().is_some());
        xml.close();
    }
    if wants("StorageClass") {
        xml.field("StorageClass", &stored.about.storage_class);
    }
    if wants("ObjectSize") {
        xml.field("ObjectSize", stored.digest.size);
    }
    let mut answer = Answer::xml(xml.done());
    answer.set("last-modified", http_date(at));
    answer.set_some("x-amz-version-id", shown);
    Ok(answer)
}

/// The restore is under way until [`super::super::S3::finish_restore`].
pub(super) fn restore(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    let (stored, ..) = found(space, request)?;
    if stored.restore.as_deref().is_some_and(|restore| restore.contains("\"true\"")) {
        return Err(AwsError::new(409, "RestoreAlreadyInProgress", "Object restore is already in progress"));
    }
    if !stored.archived() {
        let words = "Restore is not allowed for the object's current storage class";
        return Err(AwsError::new(403, "InvalidObjectState", words));
    }
    changed(space, request, "ObjectRestore:Post", 202, |stored| {
        stored.restore = Some("ongoing-request=\"true\"".to_owned());
    })
}
