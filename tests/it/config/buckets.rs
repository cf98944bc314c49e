//! What a configuration says about buckets.

use std::time::Duration;

use super::{BASE, accepted, listed, refused};

const BUCKET: &str = r#"[[store]]
id = "uploads"
kind = "s3"
mode = "replicate"
rpo = "5m"
bucket = "shop-uploads-x"
standby_bucket = "shop-uploads-y"
queue_url = "https://sqs.us-west-2.amazonaws.com/111122223333/uploads"
"#;

fn with(keys: &str) -> String {
    format!("{BASE}{BUCKET}{keys}\n")
}

#[test]
fn a_bucket_has_ends_a_queue_and_a_floor() {
    let checked = accepted(&with("dead_letter_queue_url = \"http://127.0.0.1:4567/000000000000/dead\""));
    assert!(checked.warnings.is_empty(), "{}", listed(&checked.warnings));
    let settings = &checked.config.stores[1].settings;
    assert_eq!(settings.ends(), ("shop-uploads-x".to_owned(), "shop-uploads-y".to_owned()));
    let queues = settings.channels();
    assert_eq!(queues.len(), 2, "{queues:?}");
    assert_eq!(settings.floor(), Duration::from_secs(120 + 2 * 20 + 2), "{}", settings.floor_words());
    let faster = accepted(&with("poll_wait = \"1s\"\ncanary_key = \"c\""));
    assert_eq!(faster.config.stores[1].settings.floor(), Duration::from_secs(124));
    let words = format!("{:?}", faster.config.stores[1].settings);
    assert!(words.contains("beat_every: Some(30s)") && words.contains("hold_most: 43200s"), "{words}");
}

#[test]
fn what_works_and_should_be_looked_at() {
    for (keys, says) in [
        ("delivery = \"30s\"", "delivery: an event that takes longer than 30s makes a published watermark wrong"),
        ("canary_every = \"30s\"", "canary_every: says nothing while there is no canary"),
        ("prefix = \"/uploads/\"", "prefix: begins with a slash"),
    ] {
        let shown = listed(&accepted(&with(keys)).warnings);
        assert!(shown.contains(says), "{keys}: {shown}");
    }
    let twice = with("").replace("shop-uploads-y", "shop-uploads-x");
    assert!(listed(&accepted(&twice).warnings).contains("the same name as bucket: in AWS they are one bucket"));
    let shown = listed(&accepted(&with("").replace("rpo = \"5m\"\n", "")).warnings);
    assert!(
        shown.contains("below the 162s that an idle store can prove") && shown.contains("2 x poll_wait 20s"),
        "{shown}"
    );
}

#[test]
fn each_mistake_of_a_bucket() {
    for (keys, says) in [
        (
            "transfer = \"stream\"\ncopy_annotations = true",
            "annotations cannot go through Plimsoll, and transfer is \"stream\"",
        ),
        ("copy_annotations = true", "transfer = \"auto\" may let an object do so"),
        ("storage_class = \"GLACIER\"", "storage_class: unknown storage_class"),
        ("kms_key = \"1234abcd-12ab\"", "kms_key: not the ARN of a key"),
        ("exclude = [\"big\"]", "\"big\" is no class of objects"),
        ("prefix = \"in/\"\ncanary_key = \"canary\"", "write canary_key = \"in/plimsoll-canary\""),
        ("visibility = \"1s\"", "visibility: shorter than \"2s\""),
        ("poll_wait = \"2500ms\"", "poll_wait: not a whole number of seconds"),
        ("poll_wait = \"21s\"", "poll_wait: longer than \"20s\""),
        ("max_certify_age = \"12h\"", "max_certify_age 12h is not longer than reconcile_every 12h"),
        ("reconcile_every = \"1d\"", "reconcile_every: max_certify_age"),
        ("attempt_timeout = \"30s\"\nmax_request_life = \"59s\"", "below twice attempt_timeout (1m)"),
        ("transfer_timeout = \"5s\"", "transfer_timeout 5s is shorter than attempt_timeout 10s"),
        ("part_size_mib = 300", "part_size_mib 300 is more than memory_mib 256"),
        ("mrap = \"x.mrap\"", "mrap: not the ARN of a Multi-Region Access Point"),
        ("mrap_region = \"us-west-2\"", "mrap_region: given without mrap"),
        ("mrap_region = \"eu-central-1\"", "mrap_region: unknown mrap_region"),
        (
            "dead_letter_queue_url = \"https://sqs.us-west-2.amazonaws.com/111122223333/uploads\"",
            "the same queue as queue_url",
        ),
        ("dead_letter_queue_url = \"https://sqs.us-west-2.amazonaws.com/111122223333/dead.fifo\"", "a FIFO queue"),
        ("dead_letter_queue_url = \"uploads\"", "dead_letter_queue_url: not the URL of a queue"),
        ("dead_letter_queue_url = \"arn:aws:sqs:us-west-2:1:q\"", "write dead_letter_queue_url = \"https://"),
    ] {
        let problems = plimsoll::config::read(&with(keys), "t").expect_err(keys);
        let shown = listed(&problems);
        assert!(shown.contains(says), "{keys} must say {says:?}; it says\n{shown}");
        assert!(problems.iter().all(|p| p.hint.is_some() && p.line.is_some()), "{shown}");
    }
}

#[test]
fn names_of_buckets_are_names() {
    for (bucket, says) in [
        ("s3://shop-uploads-x/in", "a URL, and the name of a bucket is needed; write bucket = \"shop-uploads-x\""),
        (
            "arn:aws:s3:::shop-uploads-x",
            "an ARN, and the name of a bucket is needed; write bucket = \"shop-uploads-x\"",
        ),
        ("Shop", "cannot be the name of a bucket"),
        ("shop--usw2-az1--x-s3", "the name of a directory bucket"),
    ] {
        let shown = refused(&with("").replace("shop-uploads-x", bucket));
        assert!(shown.contains(says), "{bucket}: {shown}");
    }
}

#[test]
fn a_queue_belongs_to_one_store() {
    let second = BUCKET.replace("\"uploads\"", "\"other\"").replace("-y\"", "-z\"").replace("uploads-x", "others-x");
    let shown = refused(&format!("{}{second}", with("")));
    assert!(shown.contains("store \"other\": reads") && shown.contains("as store \"uploads\" does"), "{shown}");
    let shown = refused(&with("").replace("mode = \"replicate\"\nrpo", "mode = \"copy\"\nrpo"));
    assert!(shown.contains("mode: unknown mode"), "{shown}");
}
