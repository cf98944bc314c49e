//! What a `[[store]]` of kind `s3` says: the buckets, the queue, how objects are carried over, and the numbers its proofs
//! rest on.

pub(super) mod keys;
mod names;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use self::keys as key;
pub(super) use self::names::{LONGEST_KEY, kms_region, queue_region};
use super::crr::settings as crr;
use super::operations::{COPY_X, hole};
use super::promote::settings::{self as promoting, Promoting};
use crate::aws::Aws;
use crate::change::{Finding, StoreId};
use crate::config::{Key, Section, duration_words};
use crate::stores::contract::{End, IamPolicy, Settings, Store};
use crate::stores::converge::Tempo;

/// How bytes get to the standby bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// `server-side`, and `stream` where the standby cannot see the source bucket.
    Auto,
    /// S3 copies: CopyObject, UploadPartCopy.
    ServerSide,
    /// They go through us: GetObject, PutObject, UploadPart.
    Stream,
}

/// Which versions are carried over (S3-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The one that is current.
    Current,
    /// Each, in the order of the source.
    History,
}

/// What is carried over besides the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carry {
    /// Object tags.
    pub tags: bool,
    /// The access control list, as grants by canonical id.
    pub acl: bool,
    /// Retention and legal hold.
    pub lock: bool,
    /// Annotations (only `server-side` can copy them).
    pub annotations: bool,
    /// The storage class in the standby; `None`: the source's.
    pub storage_class: Option<String>,
    /// The key of the standby for objects that are encrypted with a KMS key in the source; `None`: the bucket's default.
    pub kms_key: Option<String>,
}

/// One bucket and its standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket in the primary region.
    pub bucket: String,
    /// The bucket in the standby region.
    pub standby_bucket: String,
    /// Only keys that start like this; empty: all.
    pub prefix: String,
    /// The event queue, in the standby region.
    pub queue_url: String,
    /// What the event queue gives up.
    pub dead_letter_url: Option<String>,
    /// How bytes get there.
    pub transfer: Transfer,
    /// Which versions.
    pub versions: Versions,
    /// What besides the bytes.
    pub carry: Carry,
    /// Classes of objects that need not be carried over (S3-7): `archived`, `sse-c`.
    pub exclude: Vec<String>,
    /// The key of the canary object; `None`: none.
    pub canary_key: Option<String>,
    /// The size of a part of a long copy, bytes, unless the source's own boundaries are kept.
    pub part_size: u64,
    /// Bytes of objects that go through us at one time, at most.
    pub memory: u64,
    /// A request without a body of its own is given up after this.
    pub attempt_timeout: Duration,
    /// A request that carries or copies bytes is given up after this.
    pub transfer_timeout: Duration,
    /// What a promotion does to the standby bucket.
    pub promoting: Promoting,
    /// The numbers of the spine.
    pub tempo: Tempo,
}

/// Classes of objects that can be excluded (S3-7).
pub(super) const EXCLUDABLE: &[&str] = &["archived", "sse-c"];
/// Between two canaries, unless configured.
const BEAT_EVERY: Duration = Duration::from_secs(30);
/// The longest that SQS lets one receipt hide a message, whatever is done (S3-F11).
const HOLD_MOST: Duration = Duration::from_secs(12 * 3600);
/// "Usually seconds, sometimes a minute or longer" (S3-F1), doubled: less must be measured.
const CAREFUL_DELIVERY: Duration = Duration::from_secs(120);
/// The least life of a given-up request that is assumed unless configured (A2).
const DEFAULT_REQUEST_LIFE: Duration = Duration::from_secs(10);
/// For the requests themselves and the commit of the proof, in the floor.
const PROOF_ALLOWANCE: Duration = Duration::from_secs(2);

impl Settings for S3Settings {
    fn open(&self, id: &StoreId, aws: &Aws) -> Arc<dyn Store> {
        super::open(self.clone(), id, aws)
    }

    fn ends(&self) -> (String, String) {
        (self.bucket.clone(), self.standby_bucket.clone())
    }

    fn channels(&self) -> Vec<String> {
        std::iter::once(&self.queue_url).chain(&self.dead_letter_url).cloned().collect()
    }

    /// An idle bucket proves, whenever all its receivers came back with nothing, everything up to the start of the
    /// earliest of these polls less D (S3-13). Just before the next of them comes back that start is two polls old.
    fn floor(&self) -> Duration {
        self.tempo.delivery + self.tempo.poll_wait * 2 + PROOF_ALLOWANCE
    }

    fn floor_words(&self) -> String {
        format!(
            "delivery {} + 2 x poll_wait {} + {} for the requests and the commit",
            duration_words(self.tempo.delivery),
            duration_words(self.tempo.poll_wait),
            duration_words(PROOF_ALLOWANCE)
        )
    }

    fn dry(&self, primary: &str, standby: &str) -> Vec<Finding> {
        super::drift::dry(self, primary, standby)
    }

    fn policies(&self) -> &'static [IamPolicy] {
        super::operations::OF_REPLICATE
    }

    fn names(&self, policy: &IamPolicy) -> Vec<String> {
        let last = |text: &str, at: char| text.rsplit(at).next().unwrap_or(text).to_owned();
        match policy.hole {
            hole::QUEUE => self.channels().iter().map(|url| last(url, '/')).collect(),
            hole::ACCESS_POINT => self.promoting.mrap.iter().map(|mrap| last(&mrap.arn, '/')).collect(),
            hole::CANARY => self.canary_key.iter().map(|key| format!("{}/{key}", self.bucket)).collect(),
            // Objects that go through Plimsoll are read by the role of prodX.
            _ if policy.role == COPY_X && self.transfer == Transfer::Stream => Vec::new(),
            _ if policy.end == End::Primary => vec![self.bucket.clone()],
            _ => vec![self.standby_bucket.clone()],
        }
    }
}

pub(super) fn supports(mode: &str) -> Result<(), &'static str> {
    match mode {
        "replicate" | "observe" => Ok(()),
        _ => Err("write mode = \"replicate\", or mode = \"observe\" where S3 itself replicates"),
    }
}

pub(super) fn read(section: &mut Section<'_>) -> Option<Arc<dyn Settings>> {
    if section.peek("mode") == Some("observe") {
        return observed(section);
    }
    crr::without_effect(section);
    let bucket = names::bucket(section, &key::BUCKET);
    let standby_bucket = names::bucket(section, &key::STANDBY_BUCKET);
    if bucket.is_some() && bucket == standby_bucket {
        section.warn(
            &key::STANDBY_BUCKET,
            "the same name as bucket: in AWS they are one bucket, whatever the region",
            "give the standby bucket a name of its own; this is right only where both regions have an endpoint_url",
        );
    }
    let prefix = names::prefix(section);
    let queue_url = names::queue(section, &key::QUEUE_URL);
    let dead_letter_url = names::queue(section, &key::DEAD_LETTER_QUEUE_URL);
    if queue_url.is_some() && queue_url == dead_letter_url {
        section.problem(
            &key::DEAD_LETTER_QUEUE_URL,
            "the same queue as queue_url",
            "name the queue that queue_url gives up its messages to, or remove it",
        );
    }
    let transfer = match section.text(&key::TRANSFER).as_deref() {
        Some("server-side") => Transfer::ServerSide,
        Some("stream") => Transfer::Stream,
        _ => Transfer::Auto,
    };
    let versions = match section.text(&key::VERSIONS).as_deref() {
        Some("history") => Versions::History,
        _ => Versions::Current,
    };
    let carry = carry(section, transfer);
    let exclude = exclude(section);
    let (canary_key, beat_every) = canary(section, &prefix);
    let (part_size, memory) = (mebibytes(section, &key::PART_SIZE_MIB), mebibytes(section, &key::MEMORY_MIB));
    if part_size > memory && transfer != Transfer::ServerSide {
        let given = if section.has(&key::MEMORY_MIB) { &key::MEMORY_MIB } else { &key::PART_SIZE_MIB };
        let what = format!("part_size_mib {} is more than memory_mib {}", part_size >> 20, memory >> 20);
        section.problem(given, what, "a part must fit into the memory; change one of them");
    }
    let attempt_timeout = section.duration(&key::ATTEMPT_TIMEOUT);
    let transfer_timeout = section.duration(&key::TRANSFER_TIMEOUT);
    if transfer_timeout < attempt_timeout {
        let given = if section.has(&key::TRANSFER_TIMEOUT) { &key::TRANSFER_TIMEOUT } else { &key::ATTEMPT_TIMEOUT };
        let (bytes, none) = (duration_words(transfer_timeout), duration_words(attempt_timeout));
        let what = format!("transfer_timeout {bytes} is shorter than attempt_timeout {none}");
        section.problem(given, what, "a request with bytes takes longer than one without; change one of them");
    }
    let tempo = tempo(section, attempt_timeout, dead_letter_url.is_some(), beat_every);
    let promoting = promoting::read(section);
    Some(Arc::new(S3Settings {
        bucket: bucket?,
        standby_bucket: standby_bucket?,
        prefix,
        queue_url: queue_url?,
        dead_letter_url,
        transfer,
        versions,
        carry,
        exclude,
        canary_key,
        part_size,
        memory,
        attempt_timeout,
        transfer_timeout,
        promoting,
        tempo,
    }))
}

/// The keys that say the same in both modes.
const COMMON: [&str; 6] = ["bucket", "standby_bucket", "prefix", "canary_key", "canary_every", "attempt_timeout"];

/// Buckets between which S3 itself replicates.
fn observed(section: &mut Section<'_>) -> Option<Arc<dyn Settings>> {
    let of_observe = |name: &str| COMMON.contains(&name) || crr::KEYS.iter().any(|key| key.name == name);
    for key in key::KEYS.iter().filter(|key| !of_observe(key.name)) {
        section.without_effect(key, "has no effect with mode = \"observe\"");
    }
    let bucket = names::bucket(section, &key::BUCKET);
    let standby_bucket = names::bucket(section, &key::STANDBY_BUCKET);
    let prefix = names::prefix(section);
    let (canary_key, canary_every) = canary(section, &prefix);
    let attempt_timeout = section.duration(&key::ATTEMPT_TIMEOUT);
    let common = bucket.zip(standby_bucket).map(|(bucket, standby_bucket)| crr::Common {
        bucket,
        standby_bucket,
        prefix,
        canary_key,
        canary_every,
        attempt_timeout,
    });
    crr::read(section, common)
}

fn tempo(section: &mut Section<'_>, attempt: Duration, dead_letters: bool, beat_every: Option<Duration>) -> Tempo {
    let delivery = section.duration(&key::DELIVERY);
    if delivery < CAREFUL_DELIVERY {
        section.warn(
            &key::DELIVERY,
            format!("an event that takes longer than {} makes a published watermark wrong", duration_words(delivery)),
            format!(
                "AWS says: usually seconds, sometimes a minute or longer. Leave it at \"{}\" unless you have measured it",
                duration_words(CAREFUL_DELIVERY)
            ),
        );
    }
    let poll_wait = whole_seconds(section, &key::POLL_WAIT);
    let visibility = whole_seconds(section, &key::VISIBILITY);
    let walk_every = section.duration(&key::RECONCILE_EVERY);
    let certify_within = section.duration(&key::MAX_CERTIFY_AGE);
    if certify_within <= walk_every {
        let given = if section.has(&key::MAX_CERTIFY_AGE) { &key::MAX_CERTIFY_AGE } else { &key::RECONCILE_EVERY };
        let what = format!(
            "max_certify_age {} is not longer than reconcile_every {}: the store would be called uncertified before its \
             next comparison ends",
            duration_words(certify_within),
            duration_words(walk_every)
        );
        section.problem(
            given,
            what,
            "make max_certify_age longer, by more than a comparison takes, or compare more often",
        );
    }
    Tempo {
        poll_wait,
        receivers: number(section, &key::RECEIVERS) as usize,
        dead_letters,
        visibility,
        hold_most: HOLD_MOST,
        delivery,
        concurrency: number(section, &key::CONCURRENCY) as usize,
        max_request_life: request_life(section, attempt),
        walk_every,
        certify_within,
        list_ranges: number(section, &key::LIST_RANGES) as usize,
        list_rate: number(section, &key::LIST_RATE),
        delete_limit: section.integer(&key::DELETE_LIMIT),
        beat_every,
        settle: section.duration(&key::SETTLE),
    }
}

fn request_life(section: &mut Section<'_>, attempt: Duration) -> Duration {
    let least = attempt * 2;
    let life = section.opt_duration(&key::MAX_REQUEST_LIFE).unwrap_or(DEFAULT_REQUEST_LIFE.max(least));
    if life < least {
        let words = duration_words(least);
        section.problem(
            &key::MAX_REQUEST_LIFE,
            format!("below twice attempt_timeout ({words}): an old write could land behind the fence"),
            format!("set it to \"{words}\" or more, or lower attempt_timeout"),
        );
    }
    life
}

/// What goes over besides the bytes, and how that fits the transfer.
fn carry(section: &mut Section<'_>, transfer: Transfer) -> Carry {
    let annotations = section.flag(&key::COPY_ANNOTATIONS);
    if annotations && transfer != Transfer::ServerSide {
        let what = match transfer {
            Transfer::Stream => "annotations cannot go through Plimsoll, and transfer is \"stream\"",
            _ => "annotations cannot go through Plimsoll, and transfer = \"auto\" may let an object do so",
        };
        section.problem(&key::COPY_ANNOTATIONS, what, "write transfer = \"server-side\", or leave annotations out");
    }
    Carry {
        tags: section.flag(&key::COPY_TAGS),
        acl: section.flag(&key::COPY_ACL),
        lock: section.flag(&key::COPY_LOCK),
        annotations,
        storage_class: section.text(&key::STORAGE_CLASS),
        kms_key: names::kms_key(section),
    }
}

fn exclude(section: &mut Section<'_>) -> Vec<String> {
    let mut classes = section.texts(&key::EXCLUDE).unwrap_or_default();
    if let Some(unknown) = classes.iter().find(|class| !EXCLUDABLE.contains(&class.as_str())) {
        let what = format!("{unknown:?} is no class of objects that can be excluded");
        section.problem(&key::EXCLUDE, what, "write exclude = [\"archived\", \"sse-c\"], or one of them");
    }
    classes.sort();
    classes.dedup();
    classes
}

/// The key of the canary and the time between two.
fn canary(section: &mut Section<'_>, prefix: &str) -> (Option<String>, Option<Duration>) {
    let canary = section.text(&key::CANARY_KEY);
    let every = section.opt_duration(&key::CANARY_EVERY);
    let Some(canary) = canary else {
        if every.is_some() && !section.has(&key::CANARY_KEY) {
            let how = format!("{}, or delete it", key::CANARY_KEY.how());
            section.warn(&key::CANARY_EVERY, "says nothing while there is no canary", how);
        }
        return (None, None);
    };
    if canary.len() > names::LONGEST_KEY || canary.chars().any(char::is_control) {
        let hint = format!("write at most {} bytes without control characters", names::LONGEST_KEY);
        section.problem(&key::CANARY_KEY, "cannot be the key of an object", hint);
    } else if !canary.starts_with(prefix) {
        let what = "does not start with prefix: its events would say nothing about the objects that are kept warm";
        section.problem(&key::CANARY_KEY, what, format!("write canary_key = {:?}", format!("{prefix}plimsoll-canary")));
    }
    (Some(canary), Some(every.unwrap_or(BEAT_EVERY)))
}

/// A duration that AWS takes in whole seconds.
fn whole_seconds(section: &mut Section<'_>, key: &'static Key) -> Duration {
    let given = section.duration(key);
    if given.subsec_nanos() > 0 {
        section.problem(key, "not a whole number of seconds, and SQS takes nothing else", key.how());
    }
    Duration::from_secs(given.as_secs())
}

fn mebibytes(section: &mut Section<'_>, key: &'static Key) -> u64 {
    section.integer(key) << 20
}

fn number(section: &mut Section<'_>, key: &'static Key) -> u32 {
    u32::try_from(section.integer(key)).expect("the bounds of the key are far below")
}
