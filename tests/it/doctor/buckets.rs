//! `plimsoll doctor --online` of a bucket: both emulated regions asked, from nothing at all to a pair that fits.

use std::path::Path;

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint, BucketVersioningStatus,
    CreateBucketConfiguration, EventBridgeConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, NotificationConfiguration, PublicAccessBlockConfiguration, VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use plimsoll_lab::clients::{Endpoint, Patience, settings};
use plimsoll_lab::daemon::{ConfigSpec, Home};
use plimsoll_lab::regions::{Region, RegionSpec};

use super::{bad, doctor, err, json, said};

/// The clients of one region.
struct Side {
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
    rules: aws_sdk_eventbridge::Client,
}

fn side(endpoint: &Endpoint) -> Side {
    let shared = settings(endpoint, Patience::OneAttempt);
    let s3 = aws_sdk_s3::config::Builder::from(&shared).force_path_style(true).build();
    Side {
        s3: aws_sdk_s3::Client::from_conf(s3),
        sqs: aws_sdk_sqs::Client::new(&shared),
        rules: aws_sdk_eventbridge::Client::new(&shared),
    }
}

impl Side {
    async fn queue(&self, name: &str, attributes: &[(QueueAttributeName, &str)]) -> String {
        let mut call = self.sqs.create_queue().queue_name(name);
        for (attribute, value) in attributes {
            call = call.attributes(attribute.clone(), *value);
        }
        let url = call.send().await.expect("a queue").queue_url.expect("a URL");
        let ask = self.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::QueueArn);
        let told = ask.send().await.expect("told").attributes.expect("some");
        told[&QueueAttributeName::QueueArn].clone()
    }

    async fn rule(&self, name: &str, bus: &str, pattern: &str, target: &str, dead: &str) {
        let put = self.rules.put_rule().name(name).event_bus_name(bus).event_pattern(pattern);
        put.send().await.expect("a rule");
        let retry = aws_sdk_eventbridge::types::RetryPolicy::builder()
            .maximum_retry_attempts(185)
            .maximum_event_age_in_seconds(86_400)
            .build();
        let target = aws_sdk_eventbridge::types::Target::builder()
            .id("1")
            .role_arn("arn:aws:iam::000000000000:role/events")
            .arn(target)
            .retry_policy(retry)
            .dead_letter_config(aws_sdk_eventbridge::types::DeadLetterConfig::builder().arn(dead).build())
            .build()
            .expect("complete");
        self.rules.put_targets().rule(name).event_bus_name(bus).targets(target).send().await.expect("a target");
    }

    async fn versioned(&self, bucket: &str) {
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        self.s3.put_bucket_versioning().bucket(bucket).versioning_configuration(on).send().await.expect("versioned");
    }

    async fn shut(&self, bucket: &str) {
        let all = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true);
        let put = self.s3.put_public_access_block().bucket(bucket);
        put.public_access_block_configuration(all.build()).send().await.expect("shut");
    }

    async fn lifecycle(&self, bucket: &str, rule: LifecycleRule) {
        let all = BucketLifecycleConfiguration::builder().rules(rule).build().expect("complete");
        let put = self.s3.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(all);
        put.send().await.expect("a lifecycle");
    }
}

fn rule(id: &str, expires: bool) -> LifecycleRule {
    let rule = LifecycleRule::builder()
        .id(id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build());
    let rule = match expires {
        true => rule.expiration(LifecycleExpiration::builder().days(30).build()),
        false => rule.abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(7).build(),
        ),
    };
    rule.build().expect("complete")
}

fn config(folder: &Path, x: &Endpoint, y: &Endpoint) -> std::path::PathBuf {
    let queue = |name: &str| format!("{}/000000000000/{name}", y.url.trim_end_matches('/'));
    let store = format!(
        "[[store]]\nid = \"uploads\"\nkind = \"s3\"\nmode = \"replicate\"\nrpo = \"5m\"\nbucket = \"shop-x\"\n\
         standby_bucket = \"shop-y\"\nqueue_url = {:?}\ndead_letter_queue_url = {:?}\ncanary_key = \"canary\"\n",
        queue("events"),
        queue("dead")
    );
    let spec = ConfigSpec { more: store, ..ConfigSpec::new(x, y, Vec::new()) };
    Home::prepare(&folder.join("home"), &spec).expect("a folder").config().to_owned()
}

const PATTERN: &str = r#"{"source":["aws.s3"],"detail":{"bucket":{"name":["shop-x"]}}}"#;

#[tokio::test]
async fn two_emulated_buckets_that_do_not_fit_and_then_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let region_x = Region::start(RegionSpec::primary(folder.path())).await.expect("`make setup` installs it");
    let region_y = Region::start(RegionSpec::standby(folder.path())).await.expect("`make setup` installs it");
    let (x, y) = (side(region_x.endpoint()), side(region_y.endpoint()));
    let path = config(folder.path(), region_x.endpoint(), region_y.endpoint());
    let run = || doctor(&path, &["--online", "--json"]);

    // Nothing is there.
    let report = json(&run());
    assert_eq!(said(&report, "bucket").matches("there is no such bucket").count(), 2, "{report}");
    assert_eq!(said(&report, "queue").matches("there is no such queue").count(), 2, "{report}");

    // Everything is, and nothing is right.
    x.s3.create_bucket().bucket("shop-x").send().await.expect("a bucket");
    x.versioned("shop-x").await;
    x.shut("shop-x").await;
    x.lifecycle("shop-x", rule("old", true)).await;
    let there = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::UsWest2).build();
    y.s3.create_bucket().bucket("shop-y").create_bucket_configuration(there).send().await.expect("a bucket");
    y.lifecycle("shop-y", rule("old", true)).await;
    let short =
        [(QueueAttributeName::MessageRetentionPeriod, "3600"), (QueueAttributeName::MaximumMessageSize, "1024")];
    let queue = y.queue("events", &short).await;
    let dead = y.queue("dead", &[]).await;
    let output = run();
    let report = json(&output);
    let wanted = [
        "uploads dead_letters warning",
        "uploads events problem",
        "uploads lifecycle problem",
        "uploads public_access warning",
        "uploads queue problem",
        "uploads queue problem",
        "uploads versioning warning",
    ];
    assert_eq!(bad(&report), wanted, "{report:#}");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&report, "versioning").contains("put-bucket-versioning --region us-west-2 --bucket shop-y"),
        "{report}"
    );
    assert!(said(&report, "uploads").contains("AbortIncompleteMultipartUpload"), "{report}");

    // Done as it says, but for the rules.
    y.versioned("shop-y").await;
    y.shut("shop-y").await;
    y.lifecycle("shop-y", rule("uploads", false)).await;
    let url = format!("{}/000000000000/events", region_y.endpoint().url.trim_end_matches('/'));
    let redrive = format!(r#"{{"deadLetterTargetArn":{dead:?},"maxReceiveCount":10}}"#);
    let set = y.sqs.set_queue_attributes().queue_url(url);
    set.attributes(QueueAttributeName::MessageRetentionPeriod, "1209600")
        .attributes(QueueAttributeName::MaximumMessageSize, "262144")
        .attributes(QueueAttributeName::RedrivePolicy, redrive)
        .send()
        .await
        .expect("set");
    let url = format!("{}/000000000000/dead", region_y.endpoint().url.trim_end_matches('/'));
    let set = y.sqs.set_queue_attributes().queue_url(url);
    set.attributes(QueueAttributeName::MessageRetentionPeriod, "1209600").send().await.expect("set");
    let bridge = NotificationConfiguration::builder();
    let bridge = bridge.event_bridge_configuration(EventBridgeConfiguration::builder().build()).build();
    let put = x.s3.put_bucket_notification_configuration().bucket("shop-x");
    put.notification_configuration(bridge).send().await.expect("configured");
    let report = json(&run());
    assert_eq!(bad(&report), ["uploads event_rules warning"; 2], "{report:#}");
    assert!(said(&report, "event_rules").contains("no rule is seen that sends them to the queue"), "{report}");

    // A rule that keeps something back, and then one that does not.
    let bus = y.rules.create_event_bus().name("plimsoll").send().await.expect("a bus").event_bus_arn.expect("an ARN");
    let narrow = r#"{"source":["aws.s3"],"detail-type":["Object Created"]}"#;
    y.rule("to-queue", "plimsoll", narrow, &queue, &dead).await;
    x.rule("to-standby", "default", PATTERN, &bus, &dead).await;
    let report = json(&run());
    assert_eq!(bad(&report), ["uploads event_rules problem"], "{report:#}");
    assert!(said(&report, "event_rules").contains("keeps back Object Deleted"), "{report}");
    y.rule("to-queue", "plimsoll", PATTERN, &queue, &dead).await;
    let output = run();
    let report = json(&output);
    assert_eq!(bad(&report), [""; 0], "{report:#}");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(
        said(&report, "lifecycle").contains("1 rules are enabled; a promotion enables them in the standby"),
        "{report}"
    );
    assert!(
        said(&report, "permissions").contains("permissions to write are not tried"),
        "what it does not see is said"
    );

    // A region that does not answer is told once for each of its ends, and judged by nobody.
    drop(region_x);
    let report = json(&run());
    let only = |b: &String| b == "uploads answers problem" || b == "uploads lifecycle warning";
    assert!(bad(&report).iter().all(only), "{report:#}");
    assert!(said(&report, "lifecycle").contains("were never seen"), "the index belongs to the daemon: {report:#}");
}

#[test]
fn what_the_settings_tell_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.toml");
    let text = r#"app = "a"
[primary]
region = "us-east-1"
[standby]
region = "eu-north-1"
[[store]]
id = "uploads"
kind = "s3"
mode = "replicate"
rpo = "5m"
bucket = "shop-x"
standby_bucket = "shop-y"
queue_url = "https://sqs.us-east-1.amazonaws.com/111122223333/events"
kms_key = "arn:aws:kms:us-east-1:111122223333:key/1234"
mrap = "arn:aws:s3::111122223333:accesspoint/m.mrap"
"#;
    std::fs::write(&path, text).expect("written");
    let output = doctor(&path, &["--json"]);
    let report = json(&output);
    let wanted = ["uploads encryption problem", "uploads primary_dependence problem", "uploads queue problem"];
    let found: Vec<String> = bad(&report).into_iter().filter(|b| b.starts_with("uploads")).collect();
    assert_eq!(found, wanted, "{report:#}");
    assert!(said(&report, "queue").contains("the primary region, and is gone with it"), "{report}");
    assert!(said(&report, "primary_dependence").contains("write mrap_region"), "{report}");
}
