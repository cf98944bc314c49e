//! The keys of a `[[store]]` of kind `s3`, as documented.

use crate::config::{Key, Takes};
use crate::stores::s3::crr::settings as crr;
use crate::stores::s3::promote::settings as promoting;

pub(in crate::stores::s3) const BUCKET: Key = Key::required(
    "bucket",
    Takes::Text,
    "\"shop-uploads-x\"",
    "The bucket in the primary region. Its events must come to queue_url (config/infrastructure shows how).",
);
pub(in crate::stores::s3) const STANDBY_BUCKET: Key = Key::required(
    "standby_bucket",
    Takes::Text,
    "\"shop-uploads-y\"",
    "The bucket in the standby region. Nobody else may write to it, and no lifecycle rule may delete in it. One store for \
     each standby bucket.",
);
pub(in crate::stores::s3) const PREFIX: Key = Key::optional(
    "prefix",
    Takes::Text,
    "\"uploads/\"",
    "Only keys that start like this are kept warm; all without it. Other keys of both buckets are left alone.",
);
pub(in crate::stores::s3) const QUEUE_URL: Key = Key::required(
    "queue_url",
    Takes::Text,
    "\"https://sqs.us-west-2.amazonaws.com/111122223333/shop-uploads-events\"",
    "The queue of the bucket's events, in the standby region, so that what was sent survives the primary. It belongs to \
     this store alone: what is read from it is deleted. Standard, with a maximum message size of 64 KiB or more.",
);
pub(in crate::stores::s3) const DEAD_LETTER_QUEUE_URL: Key = Key::optional(
    "dead_letter_queue_url",
    Takes::Text,
    "\"https://sqs.us-west-2.amazonaws.com/111122223333/shop-uploads-events-dead\"",
    "Where the queue puts what was received too often, in the standby region. It is read too: what lies there is not in the \
     standby. Give it the longest retention.",
);
pub(in crate::stores::s3) const TRANSFER: Key = Key::default(
    "transfer",
    Takes::OneOf(&["auto", "server-side", "stream"]),
    "\"auto\"",
    "How bytes get to the standby. server-side: S3 copies between the buckets, which the standby's credentials must be \
     allowed to read. stream: they go through Plimsoll. auto: server-side, and stream where the standby cannot see the \
     primary's bucket; the status says which.",
);
pub(in crate::stores::s3) const VERSIONS: Key = Key::default(
    "versions",
    Takes::OneOf(&["current", "history"]),
    "\"current\"",
    "current: the current version of each object. history: each version, in the order of the primary, with ids of the \
     standby's own; an application that stores version ids needs S3 Replication instead.",
);
pub(in crate::stores::s3) const COPY_TAGS: Key = Key::default(
    "copy_tags",
    Takes::Flag,
    "true",
    "Tags are carried over. Needs s3:GetObjectTagging in the primary and s3:PutObjectTagging in the standby.",
);
pub(in crate::stores::s3) const COPY_ACL: Key = Key::default(
    "copy_acl",
    Takes::Flag,
    "false",
    "Access control lists are carried over, as grants by canonical id. Both buckets must have them enabled (object \
     ownership other than BucketOwnerEnforced).",
);
pub(in crate::stores::s3) const COPY_LOCK: Key = Key::default(
    "copy_lock",
    Takes::Flag,
    "false",
    "Retention and legal holds are carried over. Object Lock must be on in both buckets. AWS sends no event for a legal \
     hold: it arrives with the next comparison (reconcile_every).",
);
pub(in crate::stores::s3) const COPY_ANNOTATIONS: Key = Key::default(
    "copy_annotations",
    Takes::Flag,
    "false",
    "Annotations are carried over. Only transfer = \"server-side\" can do that; false leaves them out, and says so.",
);
pub(in crate::stores::s3) const STORAGE_CLASS: Key = Key::optional(
    "storage_class",
    Takes::OneOf(&["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]),
    "\"STANDARD_IA\"",
    "The storage class in the standby; the object's own without it. Archives that must be restored first are not \
     offered: a standby is read at once.",
);
pub(in crate::stores::s3) const KMS_KEY: Key = Key::optional(
    "kms_key",
    Takes::Text,
    "\"arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab\"",
    "The KMS key of the standby region for objects that are encrypted with a KMS key in the primary; the standby bucket's \
     default without it. The primary's key is never used in the standby.",
);
pub(in crate::stores::s3) const EXCLUDE: Key = Key::default(
    "exclude",
    Takes::Texts,
    "[]",
    "Classes of objects that cannot be copied and need not be: \"archived\" (in an archive, not restored), \"sse-c\" \
     (encrypted with a key that only the client has). Without it each of them holds the watermark; with it they are \
     counted, in every report.",
);
pub(in crate::stores::s3) const CANARY_KEY: Key = Key::optional(
    "canary_key",
    Takes::Text,
    "\"uploads/plimsoll-canary\"",
    "An object of this key is written to the primary's bucket every canary_every: the only object that Plimsoll writes in \
     prodX (allow it: config/iam/s3-canary-x.json). Its events prove that the whole path works, and measure its delay. It is \
     copied to the standby like any object.",
);
pub(in crate::stores::s3) const CANARY_EVERY: Key = Key::optional(
    "canary_every",
    Takes::Duration { min: "100ms", max: "10m" },
    "\"30s\"",
    "Time between two canaries; 30s unless given. Without canary_key there are none.",
);
pub(in crate::stores::s3) const DELIVERY: Key = Key::default(
    "delivery",
    Takes::Duration { min: "0s", max: "1h" },
    "\"120s\"",
    "An event is in the queue at most this long after its change. Subtracted from every proof by an empty queue, and \
     raised to 1.5 times the longest delay of the last 7 days: lowering it without a measurement makes the RPO a guess.",
);
pub(in crate::stores::s3) const POLL_WAIT: Key = Key::default(
    "poll_wait",
    Takes::Duration { min: "1s", max: "20s" },
    "\"20s\"",
    "How long a question to an empty queue waits, in whole seconds. An idle bucket proves itself once in this time.",
);
pub(in crate::stores::s3) const RECEIVERS: Key = Key::default(
    "receivers",
    Takes::Integer { min: 1, max: 16 },
    "2",
    "Questions to the queue at one time. Each brings at most 10 messages.",
);
pub(in crate::stores::s3) const VISIBILITY: Key = Key::default(
    "visibility",
    Takes::Duration { min: "2s", max: "1h" },
    "\"2m\"",
    "How long a received message is hidden from others, in whole seconds; renewed while its object is copied. After a \
     crash so long passes before the queue can prove anything.",
);
pub(in crate::stores::s3) const CONCURRENCY: Key = Key::default(
    "concurrency",
    Takes::Integer { min: 1, max: 256 },
    "32",
    "Objects that are compared or copied at one time.",
);
pub(in crate::stores::s3) const PART_SIZE_MIB: Key = Key::default(
    "part_size_mib",
    Takes::Integer { min: 5, max: 5120 },
    "64",
    "The size of a part of a long copy, MiB, unless the boundaries of the source must be kept for its checksum, or 10,000 \
     parts would not be enough.",
);
pub(in crate::stores::s3) const MEMORY_MIB: Key = Key::default(
    "memory_mib",
    Takes::Integer { min: 16, max: 65_536 },
    "256",
    "Bytes of objects that go through Plimsoll (stream) and are in its memory at one time, MiB.",
);
pub(in crate::stores::s3) const ATTEMPT_TIMEOUT: Key = Key::default(
    "attempt_timeout",
    Takes::Duration { min: "100ms", max: "60s" },
    "\"10s\"",
    "A request without a body is given up after this; a question to the queue after poll_wait and this.",
);
pub(in crate::stores::s3) const TRANSFER_TIMEOUT: Key = Key::default(
    "transfer_timeout",
    Takes::Duration { min: "1s", max: "1h" },
    "\"10m\"",
    "A request that carries or copies bytes (up to 5 GiB) is given up after this.",
);
pub(in crate::stores::s3) const RECONCILE_EVERY: Key = Key::default(
    "reconcile_every",
    Takes::Duration { min: "1s", max: "30d" },
    "\"12h\"",
    "Time between two comparisons of both buckets, which find what no event told. One costs a LIST request for each 1,000 \
     objects of each bucket.",
);
pub(in crate::stores::s3) const MAX_CERTIFY_AGE: Key = Key::default(
    "max_certify_age",
    Takes::Duration { min: "2s", max: "90d" },
    "\"24h\"",
    "A store whose last complete comparison is older says so: its number rests on events alone then. Longer than \
     reconcile_every.",
);
pub(in crate::stores::s3) const LIST_RANGES: Key = Key::default(
    "list_ranges",
    Takes::Integer { min: 1, max: 64 },
    "8",
    "Parts of the key space that are listed at one time.",
);
pub(in crate::stores::s3) const LIST_RATE: Key = Key::default(
    "list_rate",
    Takes::Integer { min: 1, max: 1000 },
    "50",
    "Pages (1,000 keys each) that are listed in a second, at most.",
);
pub(in crate::stores::s3) const DELETE_LIMIT: Key = Key::default(
    "delete_limit",
    Takes::Integer { min: 0, max: 1_000_000_000 },
    "1000",
    "So many objects of the standby that the primary does not have are removed by a comparison without asking, or 1 % of \
     the primary's if that is more. Beyond that it stops and says so. Deletions that events tell are not limited.",
);
pub(in crate::stores::s3) const SETTLE: Key = Key::default(
    "settle",
    Takes::Duration { min: "0s", max: "1d" },
    "\"15m\"",
    "Without a canary the events count so long after they were set up: AWS takes a while until all of a bucket's changes \
     are told. Until then the watermark is that of the last comparison.",
);
pub(in crate::stores::s3) const MAX_REQUEST_LIFE: Key = Key::optional(
    "max_request_life",
    Takes::Duration { min: "200ms", max: "15m" },
    "\"20s\"",
    "How long a request that was given up may still take effect; waited for at the fence of a promotion. At least twice \
     attempt_timeout; the greater of that and 10s otherwise.",
);

/// The keys, as documented.
pub(in crate::stores::s3) const KEYS: &[Key] = &[
    BUCKET,
    STANDBY_BUCKET,
    PREFIX,
    QUEUE_URL,
    DEAD_LETTER_QUEUE_URL,
    TRANSFER,
    VERSIONS,
    COPY_TAGS,
    COPY_ACL,
    COPY_LOCK,
    COPY_ANNOTATIONS,
    STORAGE_CLASS,
    KMS_KEY,
    EXCLUDE,
    CANARY_KEY,
    CANARY_EVERY,
    DELIVERY,
    POLL_WAIT,
    RECEIVERS,
    VISIBILITY,
    CONCURRENCY,
    PART_SIZE_MIB,
    MEMORY_MIB,
    ATTEMPT_TIMEOUT,
    TRANSFER_TIMEOUT,
    RECONCILE_EVERY,
    MAX_CERTIFY_AGE,
    LIST_RANGES,
    LIST_RATE,
    DELETE_LIMIT,
    SETTLE,
    MAX_REQUEST_LIFE,
    crr::RULE_IDS,
    crr::METRIC,
    crr::METRIC_EVERY,
    crr::LOOK_EVERY,
    crr::FAILURES_QUEUE_URL,
    promoting::LIFECYCLE,
    promoting::MRAP,
    promoting::MRAP_REGION,
    promoting::REPLICATION_FILE,
];
