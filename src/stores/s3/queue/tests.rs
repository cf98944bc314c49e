//! Receipts, holds and releases at an emulated queue, and what both buckets and the queues are.

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region as SqsRegion};
use plimsoll_lab::regions::{Region, RegionSpec};

use super::*;
use crate::change::Key;
use crate::stores::converge::Said;
use crate::stores::s3::testing::{bucket, client_of, settings};
use crate::stores::s3::{Transfer, Versions};

/// A bucket in an emulated region whose queues are there too.
struct Scene {
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
    bucket: Bucket,
    _region: Region,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let region = Region::start(RegionSpec::primary(folder.path())).await.expect("`make setup` installs it");
        let endpoint = region.endpoint().clone();
        let s3 = client_of(&endpoint.url, &endpoint.region);
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(SqsRegion::new(endpoint.region.clone()))
            .credentials_provider(Credentials::new("test", "test", None, None, "lab"))
            .endpoint_url(&endpoint.url);
        let sqs = aws_sdk_sqs::Client::from_conf(config.build());
        for name in ["shop-x", "shop-y"] {
            s3.create_bucket().bucket(name).send().await.expect("a bucket");
        }
        let mut settings = settings(Transfer::Auto);
        settings.canary_key = Some("canary".into());
        settings.queue_url = queue(&sqs, "events").await;
        settings.dead_letter_url = Some(queue(&sqs, "dead").await);
        let mut bucket = bucket(settings, s3.clone(), s3.clone());
        bucket.queue = sqs.clone();
        bucket.control.standby_region = bucket.control.primary_region.clone();
        Self { s3, sqs, bucket, _region: region, _folder: folder }
    }

    async fn send(&self, channel: Channel, body: &str) {
        let url = self.bucket.queue_of(channel).expect("both are there");
        self.sqs.send_message().queue_url(url).message_body(body).send().await.expect("sent");
    }

    async fn held(&self) -> (u64, u64) {
        let depth = self.bucket.count().await.expect("counted");
        (depth.waiting, depth.held)
    }
}

async fn queue(sqs: &aws_sdk_sqs::Client, name: &str) -> String {
    sqs.create_queue().queue_name(name).send().await.expect("a queue").queue_url.expect("a URL")
}

#[tokio::test]
async fn a_message_is_received_held_sent_again_and_forgotten() {
    let scene = Scene::new().await;
    assert!(scene.bucket.poll(Channel::Main).await.expect("asked").is_empty(), "after a long poll");
    scene.send(Channel::Main, "hello").await;
    scene.send(Channel::DeadLetters, "old").await;
    assert_eq!(scene.held().await, (2, 0), "both queues count");
    let got = scene.bucket.poll(Channel::Main).await.expect("asked");
    let [message] = got.as_slice() else { panic!("{got:?}") };
    assert_eq!((message.body.as_ref(), message.times, message.receipt.channel), ("hello", 1, Channel::Main));
    assert!(message.sent_at.0 > 1_700_000_000_000, "milliseconds: {:?}", message.sent_at);
    assert!(matches!(&message.says, Said::Strange(why) if why.contains("no JSON")), "{message:?}");
    assert_eq!(scene.held().await, (1, 1));
    // Not hidden any more: it comes again at once, and says so.
    let lost = scene.bucket.keep_hidden(std::slice::from_ref(&message.receipt), Duration::ZERO).await.expect("asked");
    assert!(lost.is_empty());
    let again = scene.bucket.poll(Channel::Main).await.expect("asked");
    assert_eq!((again.len(), again[0].times, &again[0].id), (1, 2, &message.id));
    scene.bucket.send_again(&again[0]).await.expect("sent");
    assert!(scene.bucket.forget(std::slice::from_ref(&again[0].receipt)).await.expect("asked").is_empty());
    assert_eq!(scene.held().await, (2, 0), "the new one, and the dead letter");
    let new = scene.bucket.poll(Channel::Main).await.expect("asked");
    assert!(new.len() == 1 && new[0].body == message.body && new[0].id != message.id, "{new:?}");
    let dead = scene.bucket.poll(Channel::DeadLetters).await.expect("asked");
    assert_eq!((dead.len(), dead[0].receipt.channel), (1, Channel::DeadLetters));
}

#[tokio::test]
async fn batches_are_taken_in_part_and_say_what_was_not() {
    let scene = Scene::new().await;
    for n in 0..25 {
        scene.send(Channel::Main, &n.to_string()).await;
    }
    scene.send(Channel::DeadLetters, "dead").await;
    let mut receipts = Vec::new();
    while receipts.len() < 25 {
        let got = scene.bucket.poll(Channel::Main).await.expect("asked");
        assert!(!got.is_empty() && got.len() <= 10);
        receipts.extend(got.into_iter().map(|message| message.receipt));
    }
    receipts.extend(scene.bucket.poll(Channel::DeadLetters).await.expect("asked").into_iter().map(|m| m.receipt));
    let wrong = Receipt { channel: Channel::Main, handle: "of nobody".into() };
    receipts.insert(12, wrong.clone());
    let lost = scene.bucket.keep_hidden(&receipts, Duration::from_secs(60)).await.expect("asked");
    assert_eq!(lost, std::slice::from_ref(&wrong), "the others are held");
    let left = scene.bucket.forget(&receipts).await.expect("asked");
    assert_eq!(left, [wrong], "the others are gone");
    assert_eq!(scene.held().await, (0, 0));
}

#[tokio::test]
async fn a_queue_that_does_not_answer_or_is_gone_is_an_error_and_never_empty() {
    let mut scene = Scene::new().await;
    scene.bucket.settings.queue_url.push_str("-gone");
    let gone = scene.bucket.poll(Channel::Main).await.expect_err("no such queue");
    assert_eq!(gone.class, Class::Missing, "{}", gone.chain());
    assert_eq!(scene.bucket.count().await.expect_err("no such queue").class, Class::Missing);
    scene._region.kill();
    assert_eq!(scene.bucket.poll(Channel::DeadLetters).await.expect_err("no region").class, Class::Unavailable);
    scene.bucket.settings.dead_letter_url = None;
    assert!(scene.bucket.poll(Channel::DeadLetters).await.expect("nothing to ask").is_empty());
}

/// The real way: S3 tells, the queue holds, the event is understood.
#[tokio::test]
async fn s3f4_events_of_an_emulated_bucket_name_the_keys_as_they_are() {
    let scene = Scene::new().await;
    let described = scene.bucket.queue_facts(&scene.bucket.settings.queue_url).await.expect("described");
    let to = aws_sdk_s3::types::QueueConfiguration::builder()
        .queue_arn(described.arn)
        .events(aws_sdk_s3::types::Event::S3ObjectCreated)
        .events(aws_sdk_s3::types::Event::S3ObjectRemoved);
    let all = aws_sdk_s3::types::NotificationConfiguration::builder()
        .queue_configurations(to.build().expect("complete"))
        .event_bridge_configuration(aws_sdk_s3::types::EventBridgeConfiguration::builder().build());
    let put = scene.s3.put_bucket_notification_configuration().bucket("shop-x");
    put.notification_configuration(all.build()).send().await.expect("configured");
    let keys = ["a b+c%2B é\n1", "canary", "plain/key.jpg"];
    for key in keys {
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"x");
        scene.s3.put_object().bucket("shop-x").key(key).body(body).send().await.expect("put");
    }
    let mut events = Vec::new();
    for _ in 0..10 {
        for message in scene.bucket.poll(Channel::Main).await.expect("asked") {
            match message.says {
                Said::Events(some) => events.extend(some),
                Said::Strange(why) => panic!("{why}: {}", message.body),
            }
        }
        if events.len() >= keys.len() {
            break;
        }
    }
    for key in keys {
        let wanted = Key(key.as_bytes().to_vec().into());
        let found = events.iter().find(|event| event.key == wanted).expect(key);
        assert_eq!((found.canary, found.failed), (key == "canary", false));
        assert!(found.order.is_some() && found.at.0 > 1_700_000_000_000, "{found:?}");
    }
}

#[tokio::test]
async fn a_survey_says_which_channel_and_refuses_what_cannot_work() {
    let mut scene = Scene::new().await;
    let seen = scene.bucket.look().await.expect("both are there");
    assert_eq!(seen.incarnation, "s3://shop-x/ in us-east-1");
    assert_eq!(seen.retention, Duration::from_secs(345_600));
    assert!(seen.channel.contains(":events@") && seen.channel.contains(":dead@"), "{seen:?}");
    let about = seen.about.expect("said");
    assert!(about.contains("current versions, transfer server-side (auto), versioning of the standby off"), "{about}");
    assert!(seen.source.expect("it was told").contains("\"lifecycle\":[]"));
    assert_eq!(scene.bucket.look().await.expect("again").channel, seen.channel);
    // S3-17: another queue of that name has lost what the old one held.
    let url = scene.bucket.settings.queue_url.clone();
    scene.sqs.delete_queue().queue_url(&url).send().await.expect("deleted");
    // The queue says when it was made in whole seconds.
    scene.bucket.clock.sleep(Duration::from_millis(1100)).await;
    queue(&scene.sqs, "events").await;
    assert_ne!(scene.bucket.look().await.expect("again").channel, seen.channel);

    scene.bucket.settings.versions = Versions::History;
    let refused = scene.bucket.look().await.expect_err("no versioning");
    assert!(refused.to_string().contains("enable versioning on the standby bucket"), "{refused}");
    scene.bucket.settings.versions = Versions::Current;
    scene.bucket.settings.standby_bucket = "shop-z".into();
    let missing = scene.bucket.look().await.expect_err("no such bucket");
    assert_eq!(missing.class, Class::Missing, "{}", missing.chain());
    scene.bucket.settings.standby_bucket = "shop-y".into();
    scene.bucket.control.primary_region = "eu-west-1".into();
    let elsewhere = scene.bucket.look().await.expect_err("another region");
    assert!(elsewhere.to_string().contains("is in us-east-1 and not in eu-west-1"), "{elsewhere}");
}
