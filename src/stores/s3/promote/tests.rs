//! The steps of a bucket as pure values: which there are, what they say, and what they make of a description.

use super::settings::{Mrap, Promoting};
use super::world::{Route, enabled, lifecycle, replication, routes, turned};
use super::*;
use crate::stores::s3::facts::lifecycle::tests::{dropping, expiring};

fn standby(promoting: Promoting, rules: Option<Vec<Rule>>) -> Standby {
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new("us-west-2"));
    let control = aws_sdk_s3control::config::Builder::new()
        .behavior_version(aws_sdk_s3control::config::BehaviorVersion::latest())
        .region(Region::new("us-west-2"));
    Standby {
        store: StoreId::new("uploads").unwrap(),
        client: Client::from_conf(config.build()),
        control: aws_sdk_s3control::Client::from_conf(control.build()),
        bucket: "shop-y".into(),
        source_bucket: "shop-x".into(),
        prefix: String::new(),
        region: "us-west-2".into(),
        promoting,
        source: rules.map(|lifecycle| Recorded { lifecycle, ..Recorded::default() }.text()),
    }
}

fn full() -> Promoting {
    let arn = "arn:aws:s3::111122223333:accesspoint/m.mrap".to_owned();
    Promoting {
        lifecycle: true,
        mrap: Some(Mrap { arn, account: "111122223333".into(), region: None }),
        replication_file: Some("/etc/plimsoll/reverse.json".into()),
    }
}

fn described(promoting: Promoting, rules: Option<Vec<Rule>>) -> Vec<(String, Description)> {
    steps(&standby(promoting, rules)).iter().map(|step| (step.id().to_string(), step.describe())).collect()
}

fn ids(promoting: Promoting, rules: Option<Vec<Rule>>) -> Vec<String> {
    described(promoting, rules).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn the_ids_of_the_steps_are_journal_keys_and_never_renamed() {
    assert_eq!(STEPS, ["answers", "routes", "lifecycle", "replication"]);
    let ids = ids(full(), Some(vec![expiring("e", true)]));
    assert_eq!(ids, ["uploads.answers", "uploads.routes", "uploads.lifecycle", "uploads.replication"]);
}

#[test]
fn steps_are_those_that_are_configured_and_have_a_meaning() {
    let usual = || Promoting { lifecycle: true, ..Promoting::default() };
    assert_eq!(ids(usual(), Some(vec![expiring("e", false)])), ["uploads.answers"], "no rule is enabled in the source");
    assert_eq!(ids(usual(), None).len(), 2, "rules that were never seen show as a step that says so");
    assert_eq!(ids(Promoting::default(), Some(vec![expiring("e", true)])), ["uploads.answers"]);
}

#[test]
fn what_is_waited_for_and_what_is_not() {
    for (id, d) in described(full(), Some(vec![expiring("e", true)])) {
        let waits = matches!(id.as_str(), "uploads.answers" | "uploads.routes");
        assert_eq!((d.required, d.deferred), (waits, !waits), "{id}");
        assert_eq!(d.needs.is_empty(), id == "uploads.answers", "{id}");
        assert_eq!(d.phase, Phase::Blobs);
        assert_eq!(d.repeat == Repeat::Checked, id != "uploads.answers");
        assert!(d.deadline <= Duration::from_secs(180), "{id}");
    }
}

#[test]
fn calls_can_be_typed_and_do_not_need_prod_x() {
    let calls: Vec<String> =
        described(full(), Some(vec![expiring("e", true)])).into_iter().flat_map(|(_, d)| d.calls).collect();
    assert_eq!(
        calls[0],
        "aws s3api list-objects-v2 --region us-west-2 --bucket shop-y --max-keys 1   (check; nothing is sent)"
    );
    assert!(calls[1].contains("--region us-west-2 --account-id 111122223333"), "{}", calls[1]);
    assert!(calls[1].contains("Bucket=shop-y,TrafficDialPercentage=100 Bucket=shop-x,TrafficDialPercentage=0"));
    assert!(calls[2].contains("put-bucket-lifecycle-configuration") && calls[2].contains(" e Enabled"), "{}", calls[2]);
    assert!(calls[3].ends_with("--replication-configuration file:///etc/plimsoll/reverse.json"), "{}", calls[3]);
    assert!(calls.iter().all(|call| !call.contains("us-east-1")), "{calls:?}");
}

#[tokio::test]
async fn what_cannot_be_done_asks_nobody() {
    let clock = crate::seams::SystemClock::shared();
    let cx = Context { clock: clock.as_ref(), promotion: "p", attempt: 1 };
    let of = |standby: Standby, id: &'static str| {
        let all = steps(&standby);
        all.into_iter().find(|step| step.id() == StepId(id.into())).expect("it is there")
    };
    let unseen = of(standby(Promoting { lifecycle: true, ..Promoting::default() }, None), "uploads.lifecycle");
    assert!(matches!(unseen.check(&cx).await, Ok(World::NotApplicable(_))));
    let mut far = standby(full(), None);
    far.region = "eu-north-1".into();
    assert!(
        matches!(of(far, "uploads.routes").check(&cx).await, Ok(World::Conflict(why)) if why.contains("mrap_region"))
    );
    let none = of(standby(full(), None), "uploads.replication");
    assert!(matches!(none.check(&cx).await, Ok(World::Conflict(why)) if why.contains("cannot be read")));
}

fn off(rule: &Rule) -> Rule {
    let mut rule = rule.clone();
    rule.enabled = false;
    rule
}

#[test]
fn s3_8_rules_are_enabled_as_prepared_or_as_the_source_had_them() {
    let source = [expiring("a", true), expiring("b", true), expiring("off", false)];
    let mut prepared = dropping(9);
    prepared.id = Some("a".into());
    let standby = [off(&prepared), dropping(2), expiring("mine", false)];
    assert!(matches!(lifecycle(&source, &standby), World::NotStarted(what) if what == "not enabled: a, b"));
    let then = enabled(&source, &standby);
    assert_eq!(then[0], prepared, "the standby's own words count");
    assert_eq!(then[1..3], [dropping(2), expiring("mine", false)], "what is not of the source is left alone");
    assert_eq!(then[3..], [expiring("b", true)]);
    // What it becomes needs nothing: sending it twice is the same as once.
    assert!(matches!(lifecycle(&source, &then), World::Done(_)));
    assert_eq!(enabled(&source, &then), then);
    assert!(matches!(lifecycle(&[], &standby), World::Done(_)));
    let mut nameless = expiring("x", true);
    nameless.id = None;
    let own = [off(&nameless)];
    assert_eq!(enabled(std::slice::from_ref(&nameless), &own), [nameless], "without ids the same rule is the same");
    let many: Vec<Rule> = (0..1001).map(|n| expiring(&n.to_string(), true)).collect();
    assert!(matches!(lifecycle(&many, &[]), World::Conflict(_)));
}

#[test]
fn routes_in_every_state() {
    let route = |bucket: &str, dial| Route { bucket: Some(bucket.into()), region: Some("r".into()), dial };
    let is = |all: &[Route]| routes("shop-y", "shop-x", all);
    assert!(matches!(is(&[route("shop-x", 100), route("shop-y", 0)]), World::NotStarted(_)));
    assert!(matches!(is(&[route("shop-x", 100), route("shop-y", 100)]), World::NotStarted(_)));
    assert!(matches!(is(&[route("shop-x", 0), route("shop-y", 0)]), World::NotStarted(_)));
    assert!(matches!(is(&[route("shop-x", 0), route("shop-y", 100)]), World::Done(_)));
    assert!(matches!(is(&[route("shop-y", 100)]), World::Done(_)));
    assert!(matches!(is(&[route("shop-x", 100)]), World::Conflict(_)));
    assert!(matches!(is(&[]), World::Conflict(_)));
    let all = [route("shop-x", 100), route("other", 100), route("shop-y", 0)];
    assert_eq!(turned("shop-y", "shop-x", &all), [route("shop-y", 100), route("shop-x", 0)], "others are left alone");
}

const REVERSE: &str = r#"{
  "Role": "arn:aws:iam::111122223333:role/replication",
  "Rules": [{
    "ID": "back", "Priority": 1, "Status": "Enabled", "Filter": {"And": {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}]}},
    "DeleteMarkerReplication": {"Status": "Disabled"}, "ExistingObjectReplication": {"Status": "Enabled"},
    "SourceSelectionCriteria": {"SseKmsEncryptedObjects": {"Status": "Enabled"}, "ReplicaModifications": {"Status": "Enabled"}},
    "Destination": {"Bucket": "arn:aws:s3:::shop-x", "Account": "111122223333", "StorageClass": "STANDARD",
      "EncryptionConfiguration": {"ReplicaKmsKeyID": "arn:aws:kms:us-east-1:111122223333:key/k"},
      "ReplicationTime": {"Status": "Enabled", "Time": {"Minutes": 15}},
      "Metrics": {"Status": "Enabled", "EventThreshold": {"Minutes": 15}}}
  }]
}"#;

#[test]
fn a_replication_in_a_file_is_read_whole_or_not_at_all() {
    let read = super::replication::parse(REVERSE).unwrap();
    let rule = &read.rules()[0];
    let to = rule.destination().unwrap();
    assert_eq!((rule.id(), rule.priority(), to.bucket()), (Some("back"), Some(1), "arn:aws:s3:::shop-x"));
    let and = rule.filter().and_then(|filter| filter.and()).unwrap();
    assert_eq!((and.prefix(), and.tags().len()), (Some("a/"), 1));
    assert_eq!(to.replication_time().and_then(|t| t.time()).and_then(|t| t.minutes()), Some(15));
    for (old, new) in [
        ("\"Priority\"", "\"Prority\""),
        ("\"Role\"", "\"Rolle\""),
        ("\"Status\": \"Enabled\", \"Filter\"", "\"Filter\""),
        ("\"Bucket\"", "\"Buckets\""),
        ("{", "["),
    ] {
        assert!(super::replication::parse(&REVERSE.replacen(old, new, 1)).is_err(), "{old}");
    }
    assert!(super::replication::parse(r#"{"Role":"r","Rules":[]}"#).is_err());
    assert!(super::replication::parse("").is_err());
}

#[test]
fn replication_in_every_state() {
    let read = |text: &str| super::replication::parse(text).unwrap();
    let wanted = read(REVERSE);
    assert!(matches!(replication(&wanted, None), World::NotStarted(_)));
    assert!(matches!(replication(&wanted, Some(&wanted)), World::Done(_)));
    let disabled = read(&REVERSE.replacen("\"Status\": \"Enabled\"", "\"Status\": \"Disabled\"", 1));
    assert!(matches!(replication(&wanted, Some(&disabled)), World::NotStarted(what) if what.contains("back")));
    let other = read(&REVERSE.replace("\"back\"", "\"theirs\""));
    assert!(matches!(replication(&wanted, Some(&other)), World::Conflict(_)), "somebody else's is not removed");
    let role = read(&REVERSE.replace("role/replication", "role/other"));
    assert!(matches!(replication(&wanted, Some(&role)), World::NotStarted(_)));
    let nameless = read(&REVERSE.replace("\"ID\": \"back\", ", ""));
    assert!(matches!(replication(&nameless, Some(&wanted)), World::Done(_)), "AWS makes an id");
}

/// House rule 10 in small, against an emulated bucket: each step is done once, again without a change, and says so.
#[tokio::test]
async fn each_step_comes_to_its_end_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let spec = plimsoll_lab::regions::RegionSpec::primary(folder.path());
    let region = plimsoll_lab::regions::Region::start(spec).await.expect("`make setup` installs it");
    let client = crate::stores::s3::testing::client_of(&region.endpoint().url, &region.endpoint().region);
    for bucket in ["shop-x", "shop-y"] {
        client.create_bucket().bucket(bucket).send().await.unwrap();
        let on = aws_sdk_s3::types::VersioningConfiguration::builder()
            .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
            .build();
        client.put_bucket_versioning().bucket(bucket).versioning_configuration(on).send().await.unwrap();
    }
    let prepared = BucketLifecycleConfiguration::builder()
        .rules(off(&expiring("a", true)).to_sdk().unwrap())
        .rules(dropping(2).to_sdk().unwrap())
        .build()
        .unwrap();
    client
        .put_bucket_lifecycle_configuration()
        .bucket("shop-y")
        .lifecycle_configuration(prepared)
        .send()
        .await
        .unwrap();
    let file = folder.path().join("reverse.json");
    std::fs::write(&file, REVERSE).unwrap();
    let promoting = Promoting { lifecycle: true, mrap: None, replication_file: Some(file) };
    let rules = vec![expiring("a", true), expiring("b", true)];
    let mut standby = standby(promoting, Some(rules.clone()));
    standby.client = client.clone();
    let clock = crate::seams::SystemClock::shared();
    let cx = Context { clock: clock.as_ref(), promotion: "p", attempt: 1 };
    for step in steps(&standby) {
        let first = step.check(&cx).await.unwrap();
        let asks = step.describe().repeat == Repeat::Safe;
        assert!(asks || matches!(first, World::NotStarted(_)), "{}: {first:?}", step.id());
        for _ in 0..2 {
            step.act(&cx).await.unwrap_or_else(|e| panic!("{}: {e}", step.id()));
            let then = step.check(&cx).await.unwrap();
            assert!(matches!(then, World::Done(_)), "{}: {then:?}", step.id());
        }
    }
    let now = client.get_bucket_lifecycle_configuration().bucket("shop-y").send().await.unwrap();
    let now: Vec<Rule> = now.rules().iter().map(Rule::of).collect();
    assert_eq!(now.len(), 3, "what was there stays: {now:?}");
    assert!(now.iter().all(|rule| rule.enabled), "{now:?}");

    // A bucket that is gone leads nowhere, and nobody waits for it.
    standby.bucket = "shop-gone".into();
    for step in steps(&standby) {
        let world = step.check(&cx).await.unwrap();
        assert!(matches!(world, World::Conflict(_)), "{}: {world:?}", step.id());
        if step.id() != StepId("uploads.answers".into()) {
            assert!(matches!(step.act(&cx).await, Err(StepError::Refused(_))), "{}", step.id());
        }
    }
}
