//! The policies of buckets: the names of S3's permissions are not those of its operations, so the table says both.

use std::collections::BTreeSet;

use plimsoll::stores::End;
use plimsoll::stores::contract::IamPolicy;
use plimsoll::stores::s3::operations::{
    CANARY_X, COPY_X, FAILURES, OF_OBSERVE, OF_REPLICATE, OPERATIONS, READ_X, hole,
};
use serde_json::Value as Json;

use super::{method, sources};
use crate::config::root;

/// Every operation of S3, its control plane, SQS and EventBridge that this kind could call.
const ALL: &[&str] = &[
    "AbortMultipartUpload",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "DeleteBucketLifecycle",
    "DeleteBucketReplication",
    "DeleteMessage",
    "DeleteMessageBatch",
    "DeleteObject",
    "DeleteObjectAnnotation",
    "DeleteObjectTagging",
    "DeleteObjects",
    "DescribeEventBus",
    "DescribeRule",
    "GetBucketAcl",
    "GetBucketEncryption",
    "GetBucketLifecycleConfiguration",
    "GetBucketLocation",
    "GetBucketNotificationConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketReplication",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetMetricData",
    "GetMultiRegionAccessPoint",
    "GetMultiRegionAccessPointRoutes",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAnnotation",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectLockConfiguration",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetPublicAccessBlock",
    "GetQueueAttributes",
    "GetQueueUrl",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListEventBuses",
    "ListMultipartUploads",
    "ListObjectAnnotations",
    "ListObjectVersions",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "ListRuleNamesByTarget",
    "ListRules",
    "ListTargetsByRule",
    "PutBucketLifecycleConfiguration",
    "PutBucketNotificationConfiguration",
    "PutBucketReplication",
    "PutBucketVersioning",
    "PutObject",
    "PutObjectAcl",
    "PutObjectAnnotation",
    "PutObjectLegalHold",
    "PutObjectLockConfiguration",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutPublicAccessBlock",
    "PutRule",
    "PutTargets",
    "PurgeQueue",
    "ReceiveMessage",
    "RestoreObject",
    "SendMessage",
    "SendMessageBatch",
    "SetQueueAttributes",
    "SubmitMultiRegionAccessPointRoutes",
    "UploadPart",
    "UploadPartCopy",
];

/// Permissions that are about a bucket and not about what is in it.
const OF_BUCKETS: &[&str] = &[
    "s3:GetBucketNotification",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetReplicationConfiguration",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration",
];

/// Every policy, as shipped, once.
pub(super) fn shipped() -> Vec<&'static IamPolicy> {
    let mut all: Vec<&IamPolicy> = OF_REPLICATE.iter().collect();
    all.extend(OF_OBSERVE.iter().filter(|policy| OF_REPLICATE.iter().all(|other| other.role != policy.role)));
    all
}

/// The operations that the code of the kind calls: `client.head_bucket()`.
fn called() -> BTreeSet<&'static str> {
    let mut text = String::new();
    sources(&root().join("src/stores/s3"), &mut text);
    assert!(text.len() > 50_000, "the sources are found");
    ALL.iter().filter(|operation| text.contains(&format!(".{}()", method(operation)))).copied().collect()
}

/// `(action, resource)` of every statement, all of them allowing.
pub(super) fn grants(text: &str) -> BTreeSet<(String, String)> {
    let document: Json = serde_json::from_str(text).expect("a policy is JSON");
    assert_eq!(document["Version"], "2012-10-17");
    let list = |value: &Json| -> Vec<String> {
        let many = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        many.iter().map(|one| one.as_str().expect("text").to_owned()).collect()
    };
    let mut granted = BTreeSet::new();
    for statement in document["Statement"].as_array().expect("statements") {
        assert_eq!(statement["Effect"], "Allow");
        for action in list(&statement["Action"]) {
            assert!(!action.contains('*'), "{action}: a star is not the least");
            granted.extend(list(&statement["Resource"]).into_iter().map(|resource| (action.clone(), resource)));
        }
    }
    granted
}

/// What an action of that policy is granted on.
fn resource(action: &str, policy: &IamPolicy) -> String {
    match (action.split(':').next(), policy.hole) {
        // EventBridge is looked at as a whole: which rule it is, is what is asked.
        (Some("events" | "cloudwatch"), _) => "*".into(),
        // The queue of what was not replicated may be in either region.
        (Some("sqs"), _) if policy.role == FAILURES => "arn:aws:sqs:*:ACCOUNT:QUEUE".into(),
        (Some("sqs"), _) => "arn:aws:sqs:REGION_Y:ACCOUNT:QUEUE".into(),
        (_, hole::ACCESS_POINT) => "arn:aws:s3::ACCOUNT:accesspoint/ACCESS_POINT".into(),
        (_, hole::CANARY) => "arn:aws:s3:::BUCKET/CANARY_KEY".into(),
        _ if OF_BUCKETS.contains(&action) => "arn:aws:s3:::BUCKET".into(),
        _ => "arn:aws:s3:::BUCKET/*".into(),
    }
}

fn policy(role: &str) -> &'static IamPolicy {
    OF_REPLICATE.iter().find(|policy| policy.role == role).expect("a policy of that role")
}

#[test]
fn the_table_of_operations_is_what_the_code_calls() {
    let listed: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    let called = called();
    let unlisted: Vec<_> = called.difference(&listed).collect();
    assert!(unlisted.is_empty(), "called, and not in OPERATIONS (src/stores/s3/operations.rs): {unlisted:?}");
    let stale: Vec<_> = listed.difference(&called).collect();
    assert!(stale.is_empty(), "in OPERATIONS, and called by nobody: {stale:?}");
}

#[test]
fn ia3_the_policies_grant_the_table_and_nothing_else() {
    for shipped in shipped() {
        let mut wanted = BTreeSet::new();
        for operation in OPERATIONS.iter().filter(|operation| operation.role == shipped.role) {
            assert!(operation.end == shipped.end, "{operation:?}");
            wanted.extend(operation.actions.iter().map(|action| ((*action).to_owned(), resource(action, shipped))));
        }
        let granted = grants(shipped.text);
        let (missing, more): (Vec<_>, Vec<_>) =
            (wanted.difference(&granted).collect(), granted.difference(&wanted).collect());
        assert!(
            missing.is_empty() && more.is_empty(),
            "config/iam/{}.json lacks {missing:?} and has {more:?}",
            shipped.role
        );
    }
}

#[test]
fn ia4_prod_x_is_not_written_but_for_the_canary() {
    for shipped in shipped().into_iter().filter(|policy| policy.end == End::Primary && policy.role != CANARY_X) {
        let reads = |action: &str| {
            ["s3:Get", "s3:List", "events:Describe", "events:List", "cloudwatch:Get"]
                .iter()
                .any(|v| action.starts_with(v))
        };
        assert!(grants(shipped.text).iter().all(|(action, _)| reads(action)), "{}", shipped.text);
    }
    let canary = grants(policy(CANARY_X).text);
    let one = ("s3:PutObject".to_owned(), "arn:aws:s3:::BUCKET/CANARY_KEY".to_owned());
    assert_eq!(canary, BTreeSet::from([one]));
    assert_eq!((policy(READ_X).end, policy(COPY_X).end), (End::Primary, End::Primary));
}

#[test]
fn the_holes_are_filled_with_what_is_configured() {
    let text = r#"app = "a"
[primary]
region = "us-east-1"
[standby]
region = "us-west-2"
[[store]]
id = "uploads"
kind = "s3"
mode = "replicate"
rpo = "5m"
bucket = "shop-x"
standby_bucket = "shop-y"
queue_url = "https://sqs.us-west-2.amazonaws.com/111122223333/events"
dead_letter_queue_url = "https://sqs.us-west-2.amazonaws.com/111122223333/dead"
"#;
    let filled = |more: &str| {
        let checked = plimsoll::config::read(&format!("{text}{more}"), "t").unwrap_or_else(|p| panic!("{p:?}"));
        plimsoll::doctor::policies::policies(&checked.config)
    };
    let plain = filled("");
    let roles: Vec<_> = plain.keys().copied().collect();
    assert_eq!(roles, ["s3-copy-x", "s3-promote-y", "s3-queue-y", "s3-replicate-read-x", "s3-replicate-write-y"]);
    let queues = &plain["s3-queue-y"]["Statement"][0]["Resource"];
    assert_eq!(
        *queues,
        serde_json::json!(["arn:aws:sqs:us-west-2:ACCOUNT:events", "arn:aws:sqs:us-west-2:ACCOUNT:dead"])
    );
    let all =
        filled("canary_key = \"c\"\ntransfer = \"stream\"\nmrap = \"arn:aws:s3::111122223333:accesspoint/m.mrap\"\n");
    assert!(!all.contains_key("s3-copy-x"), "what goes through Plimsoll is read by the role of prodX");
    assert_eq!(all["s3-canary-x"]["Statement"][0]["Resource"][0], "arn:aws:s3:::shop-x/c");
    assert_eq!(all["s3-routes-y"]["Statement"][0]["Resource"][0], "arn:aws:s3::ACCOUNT:accesspoint/m.mrap");
    for policy in plain.values().chain(all.values()) {
        let text = policy.to_string();
        assert!(!text.contains("BUCKET") && !text.contains("REGION_") && !text.contains("QUEUE"), "{text}");
    }
}
