//! The way of an event: what the source sends, and the queues that keep it.

use super::{Pair, Place, SeenQueue, check};
use crate::change::{Class, Finding};
use crate::stores::s3::facts::{Notification, Queue, region_of};
use crate::stores::s3::settings::S3Settings;

/// An event is at most so large (S3-F5).
const LARGEST_EVENT: u64 = 64 * 1024;
/// A weekend and a day: less is lost in an outage that nobody hurries for.
const CAREFUL_RETENTION: u64 = 4 * 86_400;
/// Below this the 12 h that a message may be held leave no room (S3-17).
const LEAST_RETENTION: u64 = 86_400;
/// The longest that SQS keeps a message.
const LONGEST_RETENTION: u64 = 14 * 86_400;
/// Restarts and slow copies are receipts too.
const LEAST_RECEIPTS: u64 = 5;
/// The key that only its owner's account can use: no service can send through it.
const ALIAS_OF_SQS: &str = "alias/aws/sqs";

pub(super) fn queues(pair: &Pair) -> Vec<Finding> {
    let mut found = Vec::new();
    for seen in std::iter::once(&pair.queue).chain(&pair.dead) {
        found.extend(queue(seen));
    }
    if let Ok(queue) = &pair.queue.queue {
        found.extend(dead_letters(pair, queue));
    }
    found
}

fn queue(seen: &SeenQueue) -> Vec<Finding> {
    let place = &seen.place;
    let facts = match &seen.queue {
        Ok(facts) => facts,
        Err(refused) if refused.class == Class::Missing => {
            let todo = "create it in the standby region; config/infrastructure/s3-events.yaml does it";
            return vec![place.problem(check::QUEUE, "there is no such queue").to_do(todo)];
        }
        Err(_) => return Vec::new(),
    };
    let mut found = Vec::new();
    let region = region_of(&facts.arn);
    if region != place.region {
        found.push(
            place
                .problem(
                    check::QUEUE,
                    format!("it is in {region}: what it holds is gone with that region, or cannot be read"),
                )
                .to_do(format!("make the queue in {}; a bucket reaches it through EventBridge", place.region)),
        );
    }
    if facts.arn.ends_with(".fifo") {
        found.push(
            place.problem(check::QUEUE, "it is a FIFO queue: S3 does not send to it").to_do("name a standard queue"),
        );
    }
    if facts.largest < LARGEST_EVENT {
        found.push(
            place
                .problem(
                    check::QUEUE,
                    format!(
                        "it takes messages of {} bytes, and an event may have {LARGEST_EVENT}: larger ones are lost",
                        facts.largest
                    ),
                )
                .to_do("raise its maximum message size")
                .command(place.sqs("MaximumMessageSize=262144")),
        );
    }
    if facts.retention < CAREFUL_RETENTION {
        let what = format!("it keeps a message for {} h", facts.retention / 3600);
        let raise = place.sqs(&format!("MessageRetentionPeriod={LONGEST_RETENTION}"));
        found.push(match facts.retention < LEAST_RETENTION {
            true => place
                .problem(check::QUEUE, format!("{what}: a copy may take that long, and its event is lost then"))
                .to_do("raise it to 14 days")
                .command(raise),
            false => place
                .warning(check::QUEUE, format!("{what}: an outage of the daemon over a weekend loses events"))
                .to_do("raise it to 4 days or more, better 14")
                .command(raise),
        });
    }
    if facts.delay > 0 {
        found.push(
            place
                .warning(
                    check::QUEUE,
                    format!("it holds every message back for {} s: so much older is what it proves", facts.delay),
                )
                .to_do("set its delay to 0")
                .command(place.sqs("DelaySeconds=0")),
        );
    }
    if facts.kms_key.as_deref().is_some_and(|key| key.ends_with(ALIAS_OF_SQS)) {
        found.push(
            place
                .problem(
                    check::QUEUE,
                    "it is encrypted by the key alias/aws/sqs, which neither S3 nor EventBridge may use",
                )
                .to_do("use SQS-managed encryption, or a key of your own that lets the service use it")
                .command(place.sqs("KmsMasterKeyId=,SqsManagedSseEnabled=true")),
        );
    }
    if found.is_empty() {
        found.push(place.ok(check::QUEUE, format!("it keeps a message for {} days", facts.retention / 86_400)));
    }
    found
}

/// S3-16: what the queue gives up is still missing in the standby.
fn dead_letters(pair: &Pair, queue: &Queue) -> Vec<Finding> {
    let place = &pair.queue.place;
    let Some((target, receipts)) = &queue.redrive else {
        let finding = place
            .warning(check::DEAD_LETTERS, "it gives nothing up: a message that cannot be handled comes round until it is lost")
            .to_do("give it a redrive policy to a queue with a retention of 14 days, and name that in dead_letter_queue_url");
        return vec![finding];
    };
    let mut found = Vec::new();
    match &pair.dead {
        None => found.push(
            place
                .problem(
                    check::DEAD_LETTERS,
                    format!(
                        "it gives messages up to {target}, which is not read: they would be missing and nobody knew"
                    ),
                )
                .to_do("name that queue in dead_letter_queue_url"),
        ),
        Some(SeenQueue { place: dead, queue: Ok(facts) }) => {
            if facts.arn != *target {
                found.push(
                    place
                        .problem(
                            check::DEAD_LETTERS,
                            format!("it gives messages up to {target}, and {} is read", facts.arn),
                        )
                        .to_do("name that queue in dead_letter_queue_url"),
                );
            }
            // A message keeps its age when it is given up.
            if facts.retention <= queue.retention && facts.retention < LONGEST_RETENTION {
                found.push(
                    dead.warning(
                        check::DEAD_LETTERS,
                        format!("it keeps a message for {} h from the day it was sent, and the queue before it for {} h: what is given up late is lost", facts.retention / 3600, queue.retention / 3600),
                    )
                    .to_do("raise it to 14 days")
                    .command(dead.sqs(&format!("MessageRetentionPeriod={LONGEST_RETENTION}"))),
                );
            }
        }
        Some(_) => {}
    }
    if *receipts < LEAST_RECEIPTS {
        found.push(
            place
                .warning(
                    check::DEAD_LETTERS,
                    format!("it gives a message up after {receipts} receipts, and each restart is one"),
                )
                .to_do(format!("raise maxReceiveCount of its redrive policy to {LEAST_RECEIPTS} or more")),
        );
    }
    if found.is_empty() {
        found.push(place.ok(check::DEAD_LETTERS, "what it gives up is read too"));
    }
    found
}

/// The events that must come, as the store is configured (S3-F6), each with what else covers it.
pub(super) fn wanted(settings: &S3Settings) -> Vec<(&'static str, &'static [&'static str])> {
    let carry = &settings.carry;
    let mut wanted: Vec<(&str, &[&str])> = vec![
        (
            "s3:ObjectCreated:*",
            &[
                "s3:ObjectCreated:Put",
                "s3:ObjectCreated:Post",
                "s3:ObjectCreated:Copy",
                "s3:ObjectCreated:CompleteMultipartUpload",
            ],
        ),
        ("s3:ObjectRemoved:*", &["s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated"]),
        // What a lifecycle rule deletes raises no ObjectRemoved.
        ("s3:LifecycleExpiration:*", &["s3:LifecycleExpiration:Delete", "s3:LifecycleExpiration:DeleteMarkerCreated"]),
    ];
    if carry.tags {
        wanted.push(("s3:ObjectTagging:*", &["s3:ObjectTagging:Put", "s3:ObjectTagging:Delete"]));
    }
    if carry.acl {
        wanted.push(("s3:ObjectAcl:Put", &[]));
    }
    if carry.lock {
        wanted.push(("s3:ObjectRetention:Put", &[]));
    }
    if carry.annotations {
        wanted.push(("s3:ObjectAnnotation:*", &["s3:ObjectAnnotation:Put", "s3:ObjectAnnotation:Delete"]));
    }
    wanted
}

/// What the notifications of one destination leave out.
fn left_out(settings: &S3Settings, sent: &[&Notification]) -> Vec<&'static str> {
    let whole: Vec<&&Notification> =
        sent.iter().filter(|to| to.suffix.is_empty() && settings.prefix.starts_with(&to.prefix)).collect();
    let has = |event: &str| whole.iter().any(|to| to.events.iter().any(|sent| sent == event));
    let covered = |event: &str, parts: &[&str]| has(event) || (!parts.is_empty() && parts.iter().all(|part| has(part)));
    wanted(settings).into_iter().filter(|(event, parts)| !covered(event, parts)).map(|(event, _)| event).collect()
}

/// Where the events of the source go.
pub(super) fn events(pair: &Pair) -> Vec<Finding> {
    let Ok(sent) = &pair.notifications else { return Vec::new() };
    let place = &pair.source.place;
    let queue = pair.queue.queue.as_ref().ok().map(|queue| queue.arn.as_str());
    let direct: Vec<&Notification> = sent.queues.iter().filter(|to| Some(to.arn.as_str()) == queue).collect();
    if sent.event_bridge {
        let twice = match direct.is_empty() {
            true => String::new(),
            false => "; and some to the queue itself, which does no harm".to_owned(),
        };
        return vec![place.ok(check::EVENTS, format!("it sends all events to EventBridge{twice}"))];
    }
    if !direct.is_empty() {
        return vec![complete(place, "the queue", &left_out(&pair.settings, &direct))];
    }
    if !sent.topics.is_empty() {
        let all: Vec<&Notification> = sent.topics.iter().collect();
        let left = left_out(&pair.settings, &all);
        let name = sent.topics.first().map_or("a topic", |to| to.arn.as_str());
        let seen = complete(place, &format!("SNS ({name})"), &left);
        let note = place
            .note(check::EVENTS, format!("whether {name} sends on to the queue is not looked at"))
            .to_do("see that the queue is subscribed to it, without a filter policy");
        return vec![seen, note];
    }
    let finding = place
        .problem(check::EVENTS, "it sends its events nowhere that leads to the queue: only comparisons find what changes")
        .to_do("send them to EventBridge, and from there to the queue (config/infrastructure/s3-events.yaml); keep the other notifications in the same call")
        .command(place.s3api("put-bucket-notification-configuration", "--notification-configuration '{\"EventBridgeConfiguration\": {}}'"));
    vec![finding]
}

fn complete(place: &Place, to: &str, left: &[&str]) -> Finding {
    if left.is_empty() {
        return place.ok(check::EVENTS, format!("it sends all events that are needed to {to}"));
    }
    place
        .problem(
            check::EVENTS,
            format!(
                "it does not send {} of every kept key to {to}: only a comparison finds those changes",
                left.join(", ")
            ),
        )
        .to_do("add them to the notification, without a suffix and with no narrower prefix than the store's")
}
