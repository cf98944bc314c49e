//! Every AWS operation that this kind calls, and the policies that grant them. A test holds the code, this table and
//! `config/iam/s3-*.json` together: what the code calls and no policy grants would fail on the worst day.
//!
//! The names of S3's permissions are not those of its operations, so both stand here.

use crate::stores::{End, IamPolicy};

/// What is called, on which end, and granted by which role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// As the SDK has it: `HeadObject`.
    pub name: &'static str,
    /// On which end.
    pub end: End,
    /// Granted by this role's policy.
    pub role: &'static str,
    /// The permissions that it needs, as in a policy.
    pub actions: &'static [&'static str],
}

/// Reads the source. No write.
pub const READ_X: &str = "s3-replicate-read-x";
/// Lets S3 read the source's objects for the copies that the standby's role orders. No write.
pub const COPY_X: &str = "s3-copy-x";
/// Keeps the standby the same.
pub const WRITE_Y: &str = "s3-replicate-write-y";
/// Reads and empties the queues.
pub const QUEUE_Y: &str = "s3-queue-y";
/// Makes the standby ready for traffic, in a promotion.
pub const PROMOTE_Y: &str = "s3-promote-y";
/// Turns the routes of an access point, in a promotion.
pub const ROUTES_Y: &str = "s3-routes-y";
/// Writes the canary object in the source, and nothing else there.
pub const CANARY_X: &str = "s3-canary-x";

/// Looks at a bucket that S3 itself replicates, in the primary region.
pub const OBSERVE_X: &str = "s3-observe-x";
/// Looks at its replica in the standby region.
pub const OBSERVE_Y: &str = "s3-observe-y";
/// Reads the queue of what was not replicated, in either region.
pub const FAILURES: &str = "s3-failures";

/// Where the names of a policy's resources belong.
pub mod hole {
    /// A bucket.
    pub const BUCKET: &str = "BUCKET";
    /// A queue.
    pub const QUEUE: &str = "QUEUE";
    /// A Multi-Region Access Point.
    pub const ACCESS_POINT: &str = "ACCESS_POINT";
    /// An object.
    pub const CANARY: &str = "BUCKET/CANARY_KEY";
}

const fn on(end: End, role: &'static str, name: &'static str, actions: &'static [&'static str]) -> Operation {
    Operation { name, end, role, actions }
}

const X: End = End::Primary;
const Y: End = End::Standby;

/// A current object, or one version of it.
const READ: &[&str] = &["s3:GetObject", "s3:GetObjectVersion"];
/// HEAD tells retention and holds to those who may know them.
const HEAD: &[&str] = &["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:GetObjectLegalHold"];
const READ_TAGS: &[&str] = &["s3:GetObjectTagging", "s3:GetObjectVersionTagging"];
const READ_ACL: &[&str] = &["s3:GetObjectAcl", "s3:GetObjectVersionAcl"];
/// With the tags, the retention and the hold in its headers.
const WRITE: &[&str] = &["s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectRetention", "s3:PutObjectLegalHold"];

/// Every operation.
pub const OPERATIONS: &[Operation] = &[
    on(X, READ_X, "HeadBucket", &["s3:ListBucket"]),
    on(X, READ_X, "ListObjectsV2", &["s3:ListBucket"]),
    on(X, READ_X, "ListObjectVersions", &["s3:ListBucketVersions"]),
    on(X, READ_X, "GetBucketVersioning", &["s3:GetBucketVersioning"]),
    on(X, READ_X, "GetBucketLifecycleConfiguration", &["s3:GetLifecycleConfiguration"]),
    on(X, READ_X, "GetBucketNotificationConfiguration", &["s3:GetBucketNotification"]),
    on(X, READ_X, "GetBucketEncryption", &["s3:GetEncryptionConfiguration"]),
    on(X, READ_X, "GetBucketReplication", &["s3:GetReplicationConfiguration"]),
    on(X, READ_X, "GetObjectLockConfiguration", &["s3:GetBucketObjectLockConfiguration"]),
    on(X, READ_X, "GetPublicAccessBlock", &["s3:GetBucketPublicAccessBlock"]),
    on(X, READ_X, "GetBucketOwnershipControls", &["s3:GetBucketOwnershipControls"]),
    on(X, READ_X, "HeadObject", HEAD),
    on(X, READ_X, "GetObject", READ),
    on(X, READ_X, "GetObjectTagging", READ_TAGS),
    on(X, READ_X, "GetObjectAcl", READ_ACL),
    on(X, READ_X, "ListObjectAnnotations", &["s3:ListObjectAnnotations"]),
    on(X, READ_X, "GetObjectAnnotation", &["s3:GetObjectAnnotation"]),
    on(X, READ_X, "ListRuleNamesByTarget", &["events:ListRuleNamesByTarget"]),
    on(X, READ_X, "DescribeRule", &["events:DescribeRule"]),
    on(X, READ_X, "ListTargetsByRule", &["events:ListTargetsByRule"]),
    on(
        X,
        COPY_X,
        "CopyObject",
        &[
            "s3:GetObject",
            "s3:GetObjectAnnotation",
            "s3:GetObjectTagging",
            "s3:GetObjectVersion",
            "s3:GetObjectVersionTagging",
        ],
    ),
    on(X, COPY_X, "UploadPartCopy", READ),
    on(X, CANARY_X, "PutObject", &["s3:PutObject"]),
    on(Y, WRITE_Y, "HeadBucket", &["s3:ListBucket"]),
    on(Y, WRITE_Y, "ListObjectsV2", &["s3:ListBucket"]),
    on(Y, WRITE_Y, "ListObjectVersions", &["s3:ListBucketVersions"]),
    on(Y, WRITE_Y, "GetBucketVersioning", &["s3:GetBucketVersioning"]),
    on(Y, WRITE_Y, "GetBucketLifecycleConfiguration", &["s3:GetLifecycleConfiguration"]),
    on(Y, WRITE_Y, "GetBucketEncryption", &["s3:GetEncryptionConfiguration"]),
    on(Y, WRITE_Y, "GetBucketReplication", &["s3:GetReplicationConfiguration"]),
    on(Y, WRITE_Y, "GetObjectLockConfiguration", &["s3:GetBucketObjectLockConfiguration"]),
    on(Y, WRITE_Y, "GetPublicAccessBlock", &["s3:GetBucketPublicAccessBlock"]),
    on(Y, WRITE_Y, "GetBucketOwnershipControls", &["s3:GetBucketOwnershipControls"]),
    on(Y, WRITE_Y, "HeadObject", HEAD),
    on(Y, WRITE_Y, "GetObject", READ),
    on(Y, WRITE_Y, "GetObjectTagging", READ_TAGS),
    on(Y, WRITE_Y, "GetObjectAcl", READ_ACL),
    on(Y, WRITE_Y, "ListObjectAnnotations", &["s3:ListObjectAnnotations"]),
    on(Y, WRITE_Y, "PutObjectAnnotation", &["s3:PutObjectAnnotation"]),
    on(Y, WRITE_Y, "DeleteObjectAnnotation", &["s3:DeleteObjectAnnotation"]),
    on(Y, WRITE_Y, "CopyObject", WRITE),
    on(Y, WRITE_Y, "PutObject", WRITE),
    on(Y, WRITE_Y, "CreateMultipartUpload", WRITE),
    on(Y, WRITE_Y, "UploadPart", &["s3:PutObject"]),
    on(Y, WRITE_Y, "UploadPartCopy", &["s3:PutObject"]),
    on(Y, WRITE_Y, "CompleteMultipartUpload", &["s3:PutObject"]),
    on(Y, WRITE_Y, "AbortMultipartUpload", &["s3:AbortMultipartUpload"]),
    on(Y, WRITE_Y, "ListParts", &["s3:ListMultipartUploadParts"]),
    on(Y, WRITE_Y, "DeleteObject", &["s3:DeleteObject", "s3:DeleteObjectVersion"]),
    on(Y, WRITE_Y, "PutObjectTagging", &["s3:PutObjectTagging", "s3:PutObjectVersionTagging"]),
    on(Y, WRITE_Y, "DeleteObjectTagging", &["s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"]),
    on(Y, WRITE_Y, "PutObjectAcl", &["s3:PutObjectAcl", "s3:PutObjectVersionAcl"]),
    on(Y, WRITE_Y, "PutObjectRetention", &["s3:PutObjectRetention"]),
    on(Y, WRITE_Y, "PutObjectLegalHold", &["s3:PutObjectLegalHold"]),
    on(Y, WRITE_Y, "ListEventBuses", &["events:ListEventBuses"]),
    on(Y, WRITE_Y, "ListRuleNamesByTarget", &["events:ListRuleNamesByTarget"]),
    on(Y, WRITE_Y, "DescribeRule", &["events:DescribeRule"]),
    on(Y, WRITE_Y, "ListTargetsByRule", &["events:ListTargetsByRule"]),
    on(Y, QUEUE_Y, "ReceiveMessage", &["sqs:ReceiveMessage"]),
    on(Y, QUEUE_Y, "ChangeMessageVisibilityBatch", &["sqs:ChangeMessageVisibility"]),
    on(Y, QUEUE_Y, "DeleteMessageBatch", &["sqs:DeleteMessage"]),
    on(Y, QUEUE_Y, "SendMessage", &["sqs:SendMessage"]),
    on(Y, QUEUE_Y, "GetQueueAttributes", &["sqs:GetQueueAttributes"]),
    on(Y, PROMOTE_Y, "PutBucketLifecycleConfiguration", &["s3:PutLifecycleConfiguration"]),
    on(Y, PROMOTE_Y, "PutBucketReplication", &["s3:PutReplicationConfiguration"]),
    on(Y, ROUTES_Y, "GetMultiRegionAccessPointRoutes", &["s3:GetMultiRegionAccessPointRoutes"]),
    on(Y, ROUTES_Y, "SubmitMultiRegionAccessPointRoutes", &["s3:SubmitMultiRegionAccessPointRoutes"]),
    on(X, OBSERVE_X, "HeadObject", READ),
    on(X, OBSERVE_X, "ListObjectsV2", &["s3:ListBucket"]),
    on(X, OBSERVE_X, "ListObjectVersions", &["s3:ListBucketVersions"]),
    on(X, OBSERVE_X, "GetBucketVersioning", &["s3:GetBucketVersioning"]),
    on(X, OBSERVE_X, "GetBucketReplication", &["s3:GetReplicationConfiguration"]),
    on(X, OBSERVE_X, "GetMetricData", &["cloudwatch:GetMetricData"]),
    on(Y, OBSERVE_Y, "HeadBucket", &["s3:ListBucket"]),
    on(Y, OBSERVE_Y, "HeadObject", READ),
    on(Y, OBSERVE_Y, "GetBucketVersioning", &["s3:GetBucketVersioning"]),
    on(Y, OBSERVE_Y, "GetMetricData", &["cloudwatch:GetMetricData"]),
    on(Y, FAILURES, "ReceiveMessage", &["sqs:ReceiveMessage"]),
    on(Y, FAILURES, "DeleteMessage", &["sqs:DeleteMessage"]),
    on(Y, FAILURES, "GetQueueAttributes", &["sqs:GetQueueAttributes"]),
];

/// The one object that Plimsoll writes in prodX.
const CANARY: IamPolicy = IamPolicy {
    role: CANARY_X,
    end: X,
    text: include_str!("../../../config/iam/s3-canary-x.json"),
    hole: hole::CANARY,
};

/// The policies of a bucket that S3 itself replicates.
pub const OF_OBSERVE: &[IamPolicy] = &[
    IamPolicy {
        role: OBSERVE_X,
        end: X,
        text: include_str!("../../../config/iam/s3-observe-x.json"),
        hole: hole::BUCKET,
    },
    IamPolicy {
        role: OBSERVE_Y,
        end: Y,
        text: include_str!("../../../config/iam/s3-observe-y.json"),
        hole: hole::BUCKET,
    },
    IamPolicy { role: FAILURES, end: Y, text: include_str!("../../../config/iam/s3-failures.json"), hole: hole::QUEUE },
    CANARY,
];

/// The policies of a bucket that is kept the same.
pub const OF_REPLICATE: &[IamPolicy] = &[
    IamPolicy {
        role: READ_X,
        end: X,
        text: include_str!("../../../config/iam/s3-replicate-read-x.json"),
        hole: hole::BUCKET,
    },
    IamPolicy { role: COPY_X, end: X, text: include_str!("../../../config/iam/s3-copy-x.json"), hole: hole::BUCKET },
    IamPolicy {
        role: WRITE_Y,
        end: Y,
        text: include_str!("../../../config/iam/s3-replicate-write-y.json"),
        hole: hole::BUCKET,
    },
    IamPolicy { role: QUEUE_Y, end: Y, text: include_str!("../../../config/iam/s3-queue-y.json"), hole: hole::QUEUE },
    IamPolicy {
        role: PROMOTE_Y,
        end: Y,
        text: include_str!("../../../config/iam/s3-promote-y.json"),
        hole: hole::BUCKET,
    },
    IamPolicy {
        role: ROUTES_Y,
        end: Y,
        text: include_str!("../../../config/iam/s3-routes-y.json"),
        hole: hole::ACCESS_POINT,
    },
    CANARY,
];
