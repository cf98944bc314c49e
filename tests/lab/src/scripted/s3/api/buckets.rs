//! Buckets themselves: made, listed, and the documents of their configuration.

use super::super::Space;
use super::super::bucket::Versioning;
use super::super::xml::{Writer, first};
use super::Answer;
use super::objects::iso_date;
use super::request::Request;
use crate::scripted::model::error::AwsError;

/// The sub-resources of a bucket: the query that names it, and the operations that read, write and delete it.
pub(super) const SUB_RESOURCES: [(&str, &str, &str, &str); 18] = [
    ("location", "GetBucketLocation", "PutBucketLocation", "DeleteBucketLocation"),
    ("versioning", "GetBucketVersioning", "PutBucketVersioning", "DeleteBucketVersioning"),
    (
        "notification",
        "GetBucketNotificationConfiguration",
        "PutBucketNotificationConfiguration",
        "DeleteBucketNotificationConfiguration",
    ),
    ("lifecycle", "GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration", "DeleteBucketLifecycle"),
    ("encryption", "GetBucketEncryption", "PutBucketEncryption", "DeleteBucketEncryption"),
    ("replication", "GetBucketReplication", "PutBucketReplication", "DeleteBucketReplication"),
    ("object-lock", "GetObjectLockConfiguration", "PutObjectLockConfiguration", "DeleteObjectLockConfiguration"),
    ("tagging", "GetBucketTagging", "PutBucketTagging", "DeleteBucketTagging"),
    ("policy", "GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"),
    ("policyStatus", "GetBucketPolicyStatus", "PutBucketPolicyStatus", "DeleteBucketPolicyStatus"),
    ("acl", "GetBucketAcl", "PutBucketAcl", "DeleteBucketAcl"),
    ("metrics", "GetBucketMetricsConfiguration", "PutBucketMetricsConfiguration", "DeleteBucketMetricsConfiguration"),
    (
        "inventory",
        "GetBucketInventoryConfiguration",
        "PutBucketInventoryConfiguration",
        "DeleteBucketInventoryConfiguration",
    ),
    ("ownershipControls", "GetBucketOwnershipControls", "PutBucketOwnershipControls", "DeleteBucketOwnershipControls"),
    ("publicAccessBlock", "GetPublicAccessBlock", "PutPublicAccessBlock", "DeletePublicAccessBlock"),
    ("cors", "GetBucketCors", "PutBucketCors", "DeleteBucketCors"),
    ("logging", "GetBucketLogging", "PutBucketLogging", "DeleteBucketLogging"),
    ("requestPayment", "GetBucketRequestPayment", "PutBucketRequestPayment", "DeleteBucketRequestPayment"),
];

/// What AWS answers when a document was never put: another document, or an error.
fn unset(resource: &str) -> Result<String, AwsError> {
    let missing = |code: &'static str| Err(AwsError::new(404, code, "The configuration does not exist"));
    let empty = |root: &'static str| Ok(Writer::new(root).done());
    match resource {
        "notification" => empty("NotificationConfiguration"),
        "logging" => empty("BucketLoggingStatus"),
        "acl" => Ok(super::about::access(None)),
        "encryption" => {
            let mut xml = Writer::new("ServerSideEncryptionConfiguration");
            xml.open("Rule");
            xml.open("ApplyServerSideEncryptionByDefault");
            xml.field("SSEAlgorithm", "AES256");
            xml.close();
            xml.field("BucketKeyEnabled", false);
            Ok(xml.done())
        }
        "requestPayment" => {
            let mut xml = Writer::new("RequestPaymentConfiguration");
            xml.field("Payer", "BucketOwner");
            Ok(xml.done())
        }
        "lifecycle" => missing("NoSuchLifecycleConfiguration"),
        "replication" => missing("ReplicationConfigurationNotFoundError"),
        "object-lock" => missing("ObjectLockConfigurationNotFoundError"),
        "tagging" => missing("NoSuchTagSet"),
        "policy" | "policyStatus" => missing("NoSuchBucketPolicy"),
        "ownershipControls" => missing("OwnershipControlsNotFoundError"),
        "publicAccessBlock" => missing("NoSuchPublicAccessBlockConfiguration"),
        "cors" => missing("NoSuchCORSConfiguration"),
        _ => missing("NoSuchConfiguration"),
    }
}

pub(super) fn perform(space: &Space, request: &Request) -> Result<Answer, AwsError> {
    match request.op {
        "ListBuckets" => Ok(list(space)),
        "CreateBucket" => {
            let cell = space.create(&request.bucket)?;
            if request.header("x-amz-bucket-object-lock-enabled") == Some("true") {
                let document =
                    "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
                let mut bucket = cell.lock();
                bucket.documents.insert("object-lock", document.to_owned());
                bucket.versioning = Versioning::On;
            }
            let mut answer = Answer::empty(200);
            answer.set("location", format!("/{}", request.bucket));
            Ok(answer)
        }
        "DeleteBucket" => space.delete(&request.bucket).map(|()| Answer::empty(204)),
        "HeadBucket" => {
            space.bucket(&request.bucket)?;
            let mut answer = Answer::empty(200);
            answer.set("x-amz-bucket-region", &space.region.name);
            answer.set("x-amz-access-point-alias", "false");
            Ok(answer)
        }
        op => document(space, request, op),
    }
}

fn list(space: &Space) -> Answer {
    let mut xml = Writer::new("ListAllMyBucketsResult");
    xml.open("Buckets");
    for name in space.names() {
        let Some(cell) = space.find(&name) else { continue };
        xml.open("Bucket");
        xml.field("Name", &name);
        xml.field("CreationDate", iso_date(cell.lock().created));
        xml.field("BucketRegion", &space.region.name);
        xml.close();
    }
    Answer::xml(xml.done())
}

fn document(space: &Space, request: &Request, op: &'static str) -> Result<Answer, AwsError> {
    let unknown = || AwsError::new(501, "NotImplemented", format!("The scripted server has no {op}."));
    let (resource, get, put, _) = SUB_RESOURCES
        .into_iter()
        .find(|(_, get, put, delete)| [*get, *put, *delete].contains(&op))
        .ok_or_else(unknown)?;
    let cell = space.bucket(&request.bucket)?;
    let mut bucket = cell.lock();
    if op == get {
        return match resource {
            "location" => {
                // us-east-1 has no name here.
                let region = Some(&*space.region.name).filter(|name| *name != "us-east-1").unwrap_or_default();
                let root = "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
                Ok(Answer::xml(format!("{root}{region}</LocationConstraint>")))
            }
            "versioning" => {
                let mut xml = Writer::new("VersioningConfiguration");
                xml.some(
                    "Status",
                    match bucket.versioning {
                        Versioning::Off => None,
                        Versioning::On => Some("Enabled"),
                        Versioning::Suspended => Some("Suspended"),
                    },
                );
                Ok(Answer::xml(xml.done()))
            }
            _ => match bucket.documents.get(resource) {
                Some(document) => Ok(Answer::xml(document.clone())),
                None => unset(resource).map(Answer::xml),
            },
        };
    }
    if op != put {
        bucket.documents.remove(resource);
        return Ok(Answer::empty(204));
    }
    let text = request.text();
    if resource == "versioning" {
        bucket.versioning = match first(&text, "Status").as_deref() {
            Some("Enabled") => Versioning::On,
            Some("Suspended") if bucket.versioning != Versioning::Off => Versioning::Suspended,
            _ => bucket.versioning,
        };
    } else {
        bucket.documents.insert(resource, text);
    }
    Ok(Answer::empty(200))
}
