//! Names as AWS allows them: buckets, prefixes, queues, keys of KMS.

use super::keys::{KMS_KEY, PREFIX, QUEUE_URL};
use crate::config::{Key, Section};

/// Bytes of an object's key, at most.
pub(in crate::stores::s3) const LONGEST_KEY: usize = 1024;

/// A bucket's name: 3 to 63 of a-z, 0-9, '-' and '.', no address, begun and ended by a letter or digit.
pub(super) fn bucket(section: &mut Section<'_>, key: &'static Key) -> Option<String> {
    let name = section.text(key)?;
    if let Some(bare) = name.strip_prefix("arn:").and_then(|rest| rest.split_once(":s3:::")).map(|(_, bare)| bare) {
        let bare = bare.split('/').next().unwrap_or(bare);
        let bare = if plausible(bare) { bare } else { key.value.trim_matches('"') };
        section.problem(key, "an ARN, and the name of a bucket is needed", format!("write {} = {bare:?}", key.name));
        return None;
    }
    if let Some(bare) = name.strip_prefix("s3://") {
        let bare = bare.split('/').next().unwrap_or(bare);
        let bare = if plausible(bare) { bare } else { key.value.trim_matches('"') };
        let hint = format!("write {} = {bare:?}; a path belongs into prefix", key.name);
        section.problem(key, "a URL, and the name of a bucket is needed", hint);
        return None;
    }
    if name.ends_with("--x-s3") {
        let hint = "keep general purpose buckets warm; a directory bucket has no events, no versions and no order";
        section.problem(key, "the name of a directory bucket", hint);
        return None;
    }
    if !plausible(&name) {
        let hint =
            "a name is 3 to 63 of a-z, 0-9, '-' and '.', begins and ends with a letter or digit, and is no address";
        section.problem(key, "cannot be the name of a bucket", hint);
        return None;
    }
    Some(name)
}

pub(super) fn plausible(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (3..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && ends(name.as_bytes().first())
        && ends(name.as_bytes().last())
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|reserved| name.starts_with(reserved))
        && !["-s3alias", "--ol-s3", ".mrap", "--table-s3"].iter().any(|reserved| name.ends_with(reserved))
}

/// The prefix; empty without one.
pub(super) fn prefix(section: &mut Section<'_>) -> String {
    let prefix = section.text(&PREFIX).unwrap_or_default();
    if prefix.len() > LONGEST_KEY || prefix.chars().any(char::is_control) {
        let hint = format!("write at most {LONGEST_KEY} bytes without control characters");
        section.problem(&PREFIX, "cannot begin the key of an object", hint);
        return String::new();
    }
    if let Some(rest) = prefix.strip_prefix("s3://") {
        let path = rest.split_once('/').map_or("uploads/", |(_, path)| path);
        section.problem(&PREFIX, "a URL, and the start of the keys is needed", format!("write prefix = {path:?}"));
        return String::new();
    }
    if prefix.starts_with('/') {
        let bare = prefix.trim_start_matches('/');
        let hint = format!("write prefix = {bare:?} unless the keys really begin so");
        section.warn(&PREFIX, "begins with a slash, and keys of S3 seldom do", hint);
    }
    prefix
}

/// The URL of a queue: scheme, host, account and name. `None` when it is absent without need, or wrong.
pub(super) fn queue(section: &mut Section<'_>, key: &'static Key) -> Option<String> {
    let url = section.text(key)?;
    if url.starts_with("arn:") {
        section.problem(
            key,
            "an ARN, and the URL of a queue is needed",
            QUEUE_URL.how().replace(QUEUE_URL.name, key.name),
        );
        return None;
    }
    let parsed = reqwest::Url::parse(&url).ok();
    let parts = parsed.as_ref().and_then(|url| {
        let segments: Vec<&str> = url.path_segments()?.collect();
        let [account, name] = segments.as_slice() else { return None };
        let http = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        let account = !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit());
        let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        (http && account && bare && !name.is_empty()).then(|| (*name).to_owned())
    });
    let Some(name) = parts else {
        section.problem(key, "not the URL of a queue", key.how());
        return None;
    };
    if name.ends_with(".fifo") {
        let hint = "S3 and a rule of EventBridge for it send to standard queues; name one";
        section.problem(key, "a FIFO queue", hint);
        return None;
    }
    Some(url)
}

/// The region in the URL of a queue, where AWS's own names tell it: `sqs.us-west-2.amazonaws.com`.
pub(in crate::stores::s3) fn queue_region(url: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).ok()?;
    let host = url.host_str()?;
    host.ends_with(".amazonaws.com").then_some(())?;
    let mut labels = host.split('.');
    match (labels.next()?, labels.next()?) {
        ("sqs", region) if region != "amazonaws" => Some(region.to_owned()),
        (region, "queue") => Some(region.to_owned()),
        _ => None,
    }
}

/// An ARN, so that the region is told: an id or an alias alone could be taken for one of prodX.
pub(super) fn kms_key(section: &mut Section<'_>) -> Option<String> {
    let key = section.text(&KMS_KEY)?;
    if kms_region(&key).is_none() {
        section.problem(&KMS_KEY, "not the ARN of a key", KMS_KEY.how());
        return None;
    }
    Some(key)
}

/// The region of `arn:aws:kms:REGION:ACCOUNT:key/ID`.
pub(in crate::stores::s3) fn kms_region(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [arn, partition, "kms", region, account, key] = parts.as_slice() else { return None };
    let named = key.strip_prefix("key/").or_else(|| key.strip_prefix("alias/")).is_some_and(|id| !id.is_empty());
    (*arn == "arn" && partition.starts_with("aws") && !region.is_empty() && account.len() == 12 && named)
        .then_some(region)
}
