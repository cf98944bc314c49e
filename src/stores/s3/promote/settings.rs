//! What a promotion does to the standby bucket, as configured.

use std::path::PathBuf;

use crate::config::{Key, Section, Takes};

pub(in crate::stores::s3) const LIFECYCLE: Key = Key::default(
    "promote_lifecycle",
    Takes::Flag,
    "true",
    "A promotion enables the lifecycle rules of the standby: those that are prepared there as Disabled under the ids of \
     the source's rules, and the source's own where none is. They are recorded while the source answers. Not waited for.",
);
pub(in crate::stores::s3) const MRAP: Key = Key::optional(
    "mrap",
    Takes::Text,
    "\"arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap\"",
    "The ARN of the Multi-Region Access Point of both buckets. A promotion makes its route to the standby active and the one \
     to the primary passive, and the traffic that uses it follows.",
);
pub(in crate::stores::s3) const MRAP_REGION: Key = Key::optional(
    "mrap_region",
    Takes::OneOf(MRAP_REGIONS),
    "\"us-west-2\"",
    "Where the routes of mrap are changed: one of the five regions that can. Not the primary. The standby region if it is \
     one of them, otherwise it must be given.",
);
pub(in crate::stores::s3) const REPLICATION_FILE: Key = Key::optional(
    "promote_replication_file",
    Takes::Path,
    "\"/etc/plimsoll/uploads-reverse.json\"",
    "A replication configuration, JSON as `aws s3api put-bucket-replication --replication-configuration` takes it, that a \
     promotion puts on the standby bucket for the way back. Not waited for.",
);

/// The regions in which the routes of a Multi-Region Access Point can be read and changed.
pub(in crate::stores::s3) const MRAP_REGIONS: &[&str] =
    &["us-east-1", "us-west-2", "eu-west-1", "ap-northeast-1", "ap-southeast-2"];

/// What a promotion does to the standby bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Promoting {
    /// Enables its lifecycle rules.
    pub lifecycle: bool,
    /// Turns these routes.
    pub mrap: Option<Mrap>,
    /// Puts this replication configuration.
    pub replication_file: Option<PathBuf>,
}

/// A Multi-Region Access Point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mrap {
    /// Its ARN.
    pub arn: String,
    /// Its account.
    pub account: String,
    /// Where its routes are changed; `None`: in the standby region.
    pub region: Option<String>,
}

pub(in crate::stores::s3) fn read(section: &mut Section<'_>) -> Promoting {
    let lifecycle = section.flag(&LIFECYCLE);
    let arn = section.text(&MRAP);
    let region = section.text(&MRAP_REGION);
    if region.is_some() && arn.is_none() && !section.has(&MRAP) {
        section.problem(&MRAP_REGION, "given without mrap", "remove it, or write mrap = the ARN of the access point");
    }
    let mrap = arn.and_then(|arn| match account(&arn) {
        Some(account) => Some(Mrap { account: account.to_owned(), arn, region }),
        None => {
            section.problem(&MRAP, "not the ARN of a Multi-Region Access Point", MRAP.how());
            None
        }
    });
    let replication_file = section.path(&REPLICATION_FILE);
    Promoting { lifecycle, mrap, replication_file }
}

/// The account of `arn:aws:s3::ACCOUNT:accesspoint/ALIAS.mrap`.
fn account(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let fixed = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let (account, name) = (parts.next()?, parts.next()?);
    let good = fixed[0] == "arn"
        && fixed[1].starts_with("aws")
        && fixed[2] == "s3"
        && fixed[3].is_empty()
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && name.strip_prefix("accesspoint/").is_some_and(|name| name.ends_with(".mrap") && name.len() > 5);
    good.then_some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_an_access_point() {
        assert_eq!(account("arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap"), Some("111122223333"));
        for bad in [
            "",
            "mfzwi23gnjvgw.mrap",
            "arn:aws:s3:us-west-2:111122223333:accesspoint/x.mrap",
            "arn:aws:s3::1111:accesspoint/x.mrap",
            "arn:aws:s3::111122223333:accesspoint/plain",
        ] {
            assert_eq!(account(bad), None, "{bad}");
        }
    }
}
