//! Replication by S3 as an emulated region does it: at once, within the region.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination,
    ReplicationConfiguration, ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus, VersioningConfiguration,
};
use plimsoll_lab::clients::{Endpoint, Patience};
use plimsoll_lab::regions::{Region, RegionSpec};
use serde_json::json;

use super::settings::Common;
use super::*;
use crate::change::Severity;
use crate::seams::SystemClock;
use crate::stores::contract::Look as Examination;
use crate::stores::observe::Beats;
use crate::stores::s3::testing::client_of;

struct Scene {
    store: Replicated,
    queue: String,
    _region: Region,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new(prefix: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let region = Region::start(RegionSpec::primary(folder.path())).await.expect("a region");
        let endpoint = region.endpoint().clone();
        let s3 = client_of(&endpoint.url, &endpoint.region);
        for bucket in ["photos", "photos-y"] {
            s3.create_bucket().bucket(bucket).send().await.expect("a bucket");
            let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let on = s3.put_bucket_versioning().bucket(bucket).versioning_configuration(on).send().await;
            on.expect("versioning");
        }
        let rule = ReplicationRule::builder()
            .id("all")
            .priority(1)
            .status(ReplicationRuleStatus::Enabled)
            .filter(ReplicationRuleFilter::builder().prefix(prefix).build())
            .delete_marker_replication(
                DeleteMarkerReplication::builder().status(DeleteMarkerReplicationStatus::Enabled).build(),
            )
            .destination(Destination::builder().bucket("arn:aws:s3:::photos-y").build().expect("a destination"))
            .build()
            .expect("a rule");
        let rules = ReplicationConfiguration::builder().role("arn:aws:iam::000000000000:role/r").rules(rule);
        let rules = rules.build().expect("a configuration");
        let put = s3.put_bucket_replication().bucket("photos").replication_configuration(rules).send().await;
        put.expect("replication");
        let sqs = sqs_of(&endpoint);
        let made = sqs.create_queue().queue_name("failures").send().await.expect("a queue");
        let queue = made.queue_url().expect("its URL").to_owned();
        let common = Common {
            bucket: "photos".into(),
            standby_bucket: "photos-y".into(),
            prefix: String::new(),
            canary_key: Some("plimsoll-canary".into()),
            canary_every: Some(Duration::from_secs(30)),
            attempt_timeout: Duration::from_secs(20),
        };
        let settings = ReplicatedSettings {
            common,
            rule_ids: Vec::new(),
            metric_every: None,
            look_every: Duration::from_secs(1),
            failures_queue_url: Some(queue.clone()),
        };
        let shared = plimsoll_lab::clients::settings(&endpoint, Patience::OneAttempt);
        let side = |region: &str| Side {
            region: region.into(),
            s3: s3.clone(),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&shared),
        };
        let store = Replicated {
            id: StoreId::new("photos").expect("an id"),
            clock: SystemClock::shared(),
            x: side("us-east-1"),
            y: side("us-west-2"),
            sqs,
            known: Mutex::default(),
            metric: Mutex::default(),
            board: tokio::sync::Mutex::default(),
            settings,
        };
        Self { store, queue, _region: region, _folder: folder }
    }

    async fn look(&self, beats: &Beats) -> (Vec<Evidence>, Facts) {
        // What is read every few seconds is read now.
        *self.store.known.lock().expect("no panic") = None;
        self.store.board.lock().await.forget_when();
        let look = Look { asked: self.store.clock.now(), skew: &|| Duration::ZERO, beats };
        self.store.observe(look).await.expect("a look")
    }

    async fn tell(&self, version: &str) {
        let record = json!({
            "eventTime": "2026-11-24T10:00:09.000Z", "eventName": "Replication:OperationFailedReplication",
            "s3": {"bucket": {"name": "photos"}, "object": {"key": "b+c", "versionId": version}},
            "replicationEventData": {
                "destinationBucket": "arn:aws:s3:::photos-y", "s3Operation": "OBJECT_PUT",
                "requestTime": "2026-11-24T10:00:00.000Z", "failureReason": "DstKmsKeyNotFound"
            }
        });
        let body = json!({"Records": [record]}).to_string();
        self.store.sqs.send_message().queue_url(&self.queue).message_body(body).send().await.expect("a message");
    }
}

fn sqs_of(endpoint: &Endpoint) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(&plimsoll_lab::clients::settings(endpoint, Patience::OneAttempt))
}

fn pinned(evidence: &[Evidence]) -> Option<(SourceTime, String)> {
    evidence.iter().find_map(|e| match e {
        Evidence::Pinned { since, what } => Some((*since, what.clone())),
        _ => None,
    })
}

fn advances(evidence: &[Evidence]) -> Option<Method> {
    evidence.iter().find_map(|e| match e {
        Evidence::Advance { method, .. } => Some(*method),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn ob3_a_canary_that_s3_replicates_is_a_sample_and_failures_pin() {
    let scene = Scene::new("").await;
    let mut beats = Beats::new("me");
    let (evidence, _) = scene.look(&beats).await;
    assert_eq!((advances(&evidence), pinned(&evidence)), (None, None), "nothing has arrived: {evidence:?}");
    let beat = beats.next(scene.store.clock.now());
    scene.store.beat(&beat).await.expect("a canary");
    let (evidence, facts) = scene.look(&beats).await;
    assert_eq!(advances(&evidence), Some(Method::Sampled), "{evidence:?}");
    assert_eq!((facts.beat_seen, facts.source_answered), (Some(1), true));
    assert!(facts.about.is_some_and(|about| about.contains("photos-y by all")));

    // An object that the rule has not replicated: it was put while there was none.
    let s3 = &scene.store.x.s3;
    let rules = s3.get_bucket_replication().bucket("photos").send().await.expect("rules").replication_configuration;
    s3.delete_bucket_replication().bucket("photos").send().await.expect("no rules");
    let put = s3.put_object().bucket("photos").key("b c").body(ByteStream::from_static(b"1")).send().await;
    let version = put.expect("a put").version_id.expect("a version");
    let back = s3.put_bucket_replication().bucket("photos").set_replication_configuration(rules);
    back.send().await.expect("rules");
    scene.tell(&version).await;
    let (evidence, _) = scene.look(&beats).await;
    let (since, what) = pinned(&evidence).expect("a pin");
    assert_eq!(since.to_string(), "2026-11-24T09:59:59.999Z");
    assert!(what.contains("DstKmsKeyNotFound (1)"), "{what}");
    let found = Examine::examine(&scene.store, Examination { known: None, probe: true }).await;
    let failed = found.iter().find(|f| f.check == rules::check::FAILURES).expect("a finding");
    assert_eq!(failed.severity, Severity::Problem);
    assert!(
        failed.command.as_ref().is_some_and(|command| command.contains("create-job")) && !failed.what.contains("b c")
    );
    assert!(found.iter().any(|f| f.check == rules::check::EXISTING && f.severity == Severity::Warning), "{found:?}");

    // The version is gone, and with it what was to be replicated: the message goes too.
    s3.delete_object().bucket("photos").key("b c").version_id(&version).send().await.expect("a removal");
    let (evidence, _) = scene.look(&beats).await;
    assert_eq!(pinned(&evidence), None, "{evidence:?}");
    let attributes = scene.store.sqs.get_queue_attributes().queue_url(&scene.queue);
    let attributes = attributes.attribute_names(aws_sdk_sqs::types::QueueAttributeName::All).send().await;
    let left = attributes.expect("attributes").attributes.expect("some");
    let number = |name| left.get(&name).map(String::as_str);
    use aws_sdk_sqs::types::QueueAttributeName as Name;
    assert_eq!(number(Name::ApproximateNumberOfMessages), Some("0"));
    assert_eq!(number(Name::ApproximateNumberOfMessagesNotVisible), Some("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_rule_nothing_is_observed_and_outside_of_it_no_canary_arrives() {
    let scene = Scene::new("other/").await;
    let found = Examine::examine(&scene.store, Examination { known: None, probe: false }).await;
    assert!(found.iter().any(|f| f.check == rules::check::CANARY && f.severity == Severity::Problem), "{found:?}");
    let s3 = &scene.store.x.s3;
    s3.delete_bucket_replication().bucket("photos").send().await.expect("no rules");
    let beats = Beats::new("me");
    let look = Look { asked: scene.store.clock.now(), skew: &|| Duration::ZERO, beats: &beats };
    let refused = scene.store.observe(look).await.expect_err("nobody replicates");
    assert!(refused.chain().contains("no replication configuration"), "{}", refused.chain());
}
