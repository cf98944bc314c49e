//! What keeps the data: streams, TTL, backups, protection, keys.

use super::{Pair, Place, check};
use crate::change::Finding;
use crate::stores::dynamodb::facts::{Encryption, Facts, Ttl};
use crate::stores::dynamodb::promote::settings::Promoting;

const BOTH_IMAGES: &str = "--stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES";

/// DS-2: the stream is what is copied.
pub(super) fn stream(place: &Place, source: &Facts) -> Option<Finding> {
    Some(match source.stream.as_deref() {
        Some("NEW_AND_OLD_IMAGES") => place.ok(check::STREAM, "its stream carries new and old images"),
        Some("NEW_IMAGE") => place.note(check::STREAM, "its stream carries new images only; it is enough to copy by"),
        Some(view) => place
            .problem(check::STREAM, format!("its stream is {view}: it does not carry new images"))
            .to_do("disable it and enable it again with NEW_AND_OLD_IMAGES; the store is seeded again then"),
        None => place
            .problem(check::STREAM, "it has no stream: nothing can be copied")
            .to_do("enable it with NEW_AND_OLD_IMAGES")
            .command(place.aws("update-table", BOTH_IMAGES)),
    })
}

/// AP-8: the way back needs the standby's own stream from the first write on.
pub(super) fn standby_stream(place: &Place, standby: &Facts, promoting: &Promoting) -> Finding {
    match standby.stream.as_deref() {
        Some("NEW_AND_OLD_IMAGES" | "NEW_IMAGE") => {
            place.ok(check::STANDBY_STREAM, "its stream is on, for the way back")
        }
        Some(view) => place
            .warning(check::STANDBY_STREAM, format!("its stream is {view}: a failback cannot copy by it"))
            .to_do("disable it and enable it again with NEW_AND_OLD_IMAGES"),
        None => {
            let then = match promoting.stream {
                true => "a promotion enables it, one call more at the worst time",
                false => {
                    "and a promotion leaves it off (promote_stream = false): a failback has to compare both tables"
                }
            };
            place
                .warning(check::STANDBY_STREAM, format!("its stream is off; {then}"))
                .to_do("enable it now; it costs nothing while nobody reads it")
                .command(place.aws("update-table", BOTH_IMAGES))
        }
    }
}

/// AP-8: a standby with TTL deletes by its own clock what the source may still have.
pub(super) fn ttl(pair: &Pair) -> Vec<Finding> {
    let mut found = Vec::new();
    let place = &pair.standby.place;
    match &pair.standby.ttl {
        Ok(Ttl::On(attribute) | Ttl::Enabling(attribute)) => found.push(
            place
                .problem(check::TTL, format!("TTL is on ({attribute}): the standby deletes items on its own"))
                .to_do("switch it off (it takes up to an hour); deletions come by the stream, a promotion enables it again")
                .command(place.aws(
                    "update-time-to-live",
                    &format!("--time-to-live-specification Enabled=false,AttributeName={attribute}"),
                )),
        ),
        Ok(Ttl::Disabling) => found.push(place.note(check::TTL, "TTL is on its way off; it takes up to an hour")),
        Ok(Ttl::Off) => found.push(place.ok(check::TTL, "TTL is off")),
        Err(_) => {}
    }
    let place = &pair.source.place;
    match (&pair.source.ttl, &pair.recorded) {
        (Ok(ttl), _) => found.push(match (ttl.attribute(), &pair.promoting) {
            (None, _) => place.ok(check::TTL, "TTL is off, so a promotion has none to enable"),
            (Some(attribute), Promoting { ttl: false, .. }) => place
                .note(
                    check::TTL,
                    format!("TTL is on ({attribute}), and a promotion leaves it off (promote_ttl = false)"),
                )
                .to_do("after a promotion nothing expires until you enable it"),
            (Some(attribute), Promoting { ttl_attribute: Some(other), .. }) if attribute != other => place
                .warning(check::TTL, format!("TTL is on ({attribute}), and a promotion enables it by {other}"))
                .to_do("correct promote_ttl_attribute, or remove it"),
            (Some(attribute), _) => {
                place.ok(check::TTL, format!("TTL is on ({attribute}); a promotion enables it in the standby"))
            }
        }),
        (Err(_), Some(recorded)) => {
            let had = recorded.ttl.as_deref().map_or("none".to_owned(), |attribute| format!("by {attribute}"));
            found.push(place.ok(check::TTL, format!("it does not say now; TTL was {had} when it last did")));
        }
        (Err(_), None) if pair.promoting.ttl && pair.promoting.ttl_attribute.is_none() => found.push(
            place
                .warning(check::TTL, "its TTL was never seen, so a promotion cannot restore it")
                .to_do("allow DescribeTimeToLive, or set promote_ttl_attribute"),
        ),
        (Err(_), None) => {}
    }
    found
}

/// After a promotion the standby is the only copy.
pub(super) fn protection(place: &Place, standby: &Facts, promoting: &Promoting) -> Finding {
    if standby.protected {
        return place.ok(check::DELETION_PROTECTION, "it cannot be deleted by mistake");
    }
    let then = if promoting.deletion_protection { "a promotion protects it" } else { "and a promotion leaves it so" };
    place
        .warning(check::DELETION_PROTECTION, format!("it is not protected from deletion; {then}"))
        .to_do("protect it now: its loss is the loss of the recovery")
        .command(place.aws("update-table", "--deletion-protection-enabled"))
}

pub(super) fn backups(pair: &Pair) -> Option<Finding> {
    let place = &pair.standby.place;
    Some(match pair.standby.recovery {
        Ok(true) => place.ok(check::BACKUPS, "point-in-time recovery is on"),
        Ok(false) => {
            let source = match pair.source.recovery {
                Ok(true) => ", and on in the primary",
                _ => "",
            };
            place
                .warning(check::BACKUPS, format!("point-in-time recovery is off{source}"))
                .to_do("enable it: replication copies a mistake within seconds, and only a backup takes it back")
                .command(place.aws(
                    "update-continuous-backups",
                    "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true",
                ))
        }
        Err(_) => return None,
    })
}

pub(super) fn encryption(pair: &Pair, standby: &Facts) -> Finding {
    let place = &pair.standby.place;
    let source = pair.source.table.as_ref().ok().map(|facts| &facts.encryption);
    match (&standby.encryption, source) {
        (Encryption::Broken(why), _) => place
            .problem(check::ENCRYPTION, why.clone())
            .to_do("enable the key, or its grant, again: nothing can be written"),
        (Encryption::Owned, Some(Encryption::Kms { .. })) => place
            .warning(check::ENCRYPTION, "it is encrypted by a key of DynamoDB's own, and the primary by a key in KMS")
            .to_do("if that is a rule of yours, give the standby a key of its own region"),
        (Encryption::Owned, _) => place.ok(check::ENCRYPTION, "encrypted by a key of DynamoDB's own"),
        (Encryption::Kms { key }, _) => {
            let other_region = key.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
            match other_region.filter(|region| *region != place.region) {
                Some(region) => place
                    .problem(check::ENCRYPTION, format!("its key {key} is of {region}: it is gone with that region"))
                    .to_do("give it a key of its own region, or a multi-region replica of that key"),
                None => place.ok(
                    check::ENCRYPTION,
                    format!("encrypted by {key}; the application must be allowed to use it too"),
                ),
            }
        }
    }
}
