//! Names as AWS allows them, and the regions in them.

use super::names::{kms_region, plausible, queue_region};

#[test]
fn names_of_buckets() {
    for good in ["abc", "shop-uploads-x", "logs.2026", "1st", &"a".repeat(63)] {
        assert!(plausible(good), "{good}");
    }
    let long = "a".repeat(64);
    let bad = [
        "",
        "ab",
        &long,
        "Shop",
        "a_b",
        "-abc",
        "abc-",
        ".abc",
        "a..b",
        "192.168.1.1",
        "xn--abc",
        "abc-s3alias",
        "a b",
        "ä-b",
    ];
    for bad in bad {
        assert!(!plausible(bad), "{bad}");
    }
}

#[test]
fn the_region_of_a_queue_is_in_its_url_where_aws_made_it() {
    let of = |url| queue_region(url);
    assert_eq!(of("https://sqs.us-west-2.amazonaws.com/111122223333/q").as_deref(), Some("us-west-2"));
    assert_eq!(of("https://us-west-2.queue.amazonaws.com/111122223333/q").as_deref(), Some("us-west-2"));
    assert_eq!(of("https://queue.amazonaws.com/111122223333/q"), None, "the old name of us-east-1 tells nothing");
    assert_eq!(of("http://127.0.0.1:4567/000000000000/q"), None);
    assert_eq!(of("no url"), None);
}

#[test]
fn the_region_of_a_key_is_in_its_arn() {
    assert_eq!(kms_region("arn:aws:kms:us-west-2:111122223333:key/1234"), Some("us-west-2"));
    assert_eq!(kms_region("arn:aws-cn:kms:cn-north-1:111122223333:alias/x"), Some("cn-north-1"));
    for bad in [
        "alias/x",
        "1234abcd",
        "arn:aws:kms:us-west-2:1:key/1",
        "arn:aws:kms:us-west-2:111122223333:key/",
        "arn:aws:s3:::b",
    ] {
        assert_eq!(kms_region(bad), None, "{bad}");
    }
}
