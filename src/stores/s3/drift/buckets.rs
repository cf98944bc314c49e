//! What a bucket and its standby must be for each other.

use super::{Pair, Place, Seen, check};
use crate::change::{Class, Finding};
use crate::stores::s3::Versions;
use crate::stores::s3::facts::Versioning;
use crate::stores::s3::facts::lifecycle::Rule;
use crate::stores::s3::settings::kms_region;

/// An upload of a large object may take so many days.
const LEAST_UPLOAD_DAYS: i32 = 2;
/// Lists of access control are off.
const ENFORCED: &str = "BucketOwnerEnforced";

/// Whether the bucket is there, and where it is said to be.
pub(super) fn state(seen: &Seen) -> Option<Finding> {
    let place = &seen.place;
    Some(match &seen.region {
        Ok(Some(region)) if *region != place.region => place
            .problem(check::BUCKET, format!("it is in {region}"))
            .to_do("bucket is in the primary region and standby_bucket in the standby region: check both names"),
        Ok(_) => place.ok(check::BUCKET, "it is there"),
        Err(refused) if refused.class == Class::Missing => {
            let hint = match place.what.starts_with("standby") {
                true => "create it, with versioning; without a lifecycle rule that deletes",
                false => "check its name and region in the configuration",
            };
            place.problem(check::BUCKET, "there is no such bucket").to_do(hint)
        }
        Err(_) => return None,
    })
}

pub(super) fn compare(pair: &Pair) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(replication(pair));
    found.extend(versioning(pair));
    found.extend(lifecycle(pair));
    found.extend(uploads(pair));
    found.extend(encryption(pair));
    found.extend(lock(pair));
    found.extend(public(pair));
    found.extend(ownership(pair));
    found
}

/// Two that write to one bucket undo each other.
fn replication(pair: &Pair) -> Vec<Finding> {
    let mut found = Vec::new();
    let prefix = &pair.settings.prefix;
    let ends = [(&pair.source, &pair.settings.standby_bucket), (&pair.standby, &pair.settings.bucket)];
    for (seen, other) in ends {
        let Ok(rules) = &seen.replication else { continue };
        let place = &seen.place;
        let to_other =
            |on: bool| rules.iter().find(move |rule| rule.enabled == on && rule.to == *other && rule.meets(prefix));
        let standby = place.what.starts_with("standby");
        found.push(match (to_other(true), to_other(false)) {
            (Some(rule), _) if standby => place
                .problem(
                    check::REPLICATION,
                    format!("S3 Replication (rule {}) copies it back to the primary: each copy would go round", rule.id),
                )
                .to_do("disable the rule until a promotion; promote_replication_file lets the promotion put it"),
            (Some(rule), _) => place
                .problem(
                    check::REPLICATION,
                    format!("S3 Replication (rule {}) copies it to the standby already: a second copy would fight it", rule.id),
                )
                .to_do("disable the rule; or let AWS replicate, and write mode = \"observe\" for this store under a new id"),
            (None, Some(rule)) => {
                place.ok(check::REPLICATION, format!("a rule ({}) is prepared and disabled", rule.id))
            }
            (None, None) => place.ok(check::REPLICATION, "AWS does not replicate it to the other one"),
        });
    }
    found
}

fn versioning(pair: &Pair) -> Option<Finding> {
    let Ok(standby) = &pair.standby.versioning else { return None };
    let place = &pair.standby.place;
    let history = pair.settings.versions == Versions::History;
    let enable = place.s3api("put-bucket-versioning", "--versioning-configuration Status=Enabled");
    let source = pair.source.versioning.as_ref().ok();
    Some(match (standby, source) {
        (Versioning::Enabled, Some(Versioning::Enabled)) if !history => place.ok(
            check::VERSIONING,
            "enabled; the primary's older versions are not carried over (versions = \"current\")",
        ),
        (Versioning::Enabled, _) => place.ok(check::VERSIONING, "enabled"),
        (other, _) if history => place
            .problem(check::VERSIONING, format!("{}, and versions = \"history\" needs it", other.words()))
            .to_do("enable it")
            .command(enable),
        (other, Some(Versioning::Enabled)) => place
            .warning(
                check::VERSIONING,
                format!(
                    "{}, and enabled in the primary: an application that relies on it would miss it",
                    other.words()
                ),
            )
            .to_do(
                "enable it: a mistake in the primary is copied within seconds, and only an older version takes it back",
            )
            .command(enable),
        (other, _) => place
            .warning(check::VERSIONING, other.words())
            .to_do(
                "enable it: a mistake in the primary is copied within seconds, and only an older version takes it back",
            )
            .command(enable),
    })
}

/// S3-8: a standby that deletes by its own clock differs, and the next comparison copies it all again.
fn lifecycle(pair: &Pair) -> Vec<Finding> {
    let mut found = Vec::new();
    let history = pair.settings.versions == Versions::History;
    if let Ok(rules) = &pair.standby.lifecycle {
        let place = &pair.standby.place;
        for rule in rules.iter().filter(|rule| rule.expires()) {
            found.push(
                place
                    .problem(
                        check::LIFECYCLE,
                        format!("rule {} deletes objects by the standby's own clock", rule.name()),
                    )
                    .to_do("write it as Disabled; deletions come by events, and a promotion enables the rules again"),
            );
        }
        for rule in rules.iter().filter(|rule| history && rule.expires_old()) {
            found.push(
                place
                    .problem(
                        check::LIFECYCLE,
                        format!("rule {} deletes older versions, which are carried over", rule.name()),
                    )
                    .to_do("write it as Disabled; a promotion enables the rules again"),
            );
        }
        if found.is_empty() {
            found.push(place.ok(check::LIFECYCLE, "no rule deletes what is carried over"));
        }
    }
    found.extend(to_enable(pair));
    found
}

/// What a promotion will do about the rules of the source.
fn to_enable(pair: &Pair) -> Option<Finding> {
    let place = &pair.source.place;
    let on = |rules: &[Rule]| rules.iter().filter(|rule| rule.enabled).count();
    let promoting = pair.settings.promoting.lifecycle;
    Some(match (&pair.source.lifecycle, &pair.recorded) {
        (Ok(rules), _) if on(rules) == 0 => {
            place.ok(check::LIFECYCLE, "no rule is enabled, so a promotion has none to enable")
        }
        (Ok(rules), _) if promoting => place
            .ok(check::LIFECYCLE, format!("{} rules are enabled; a promotion enables them in the standby", on(rules))),
        (Ok(rules), _) => place
            .note(
                check::LIFECYCLE,
                format!("{} rules are enabled, and a promotion leaves them off (promote_lifecycle = false)", on(rules)),
            )
            .to_do("after a promotion nothing expires until you enable them"),
        (Err(_), Some(recorded)) => place.ok(
            check::LIFECYCLE,
            format!("it does not say now; {} rules were enabled when it last did", on(&recorded.lifecycle)),
        ),
        (Err(_), None) if promoting => place
            .warning(check::LIFECYCLE, "its lifecycle rules were never seen, so a promotion cannot enable them")
            .to_do("allow s3:GetLifecycleConfiguration, or prepare the rules in the standby as Disabled"),
        (Err(_), None) => return None,
    })
}

/// S3-5: parts of uploads that were never completed are paid for ever, and a long upload must not be dropped under way.
fn uploads(pair: &Pair) -> Option<Finding> {
    let Ok(rules) = &pair.standby.lifecycle else { return None };
    let place = &pair.standby.place;
    let least = rules.iter().filter(|rule| rule.drops_uploads()).filter_map(Rule::drops_after).min();
    Some(match least {
        Some(days) if days < LEAST_UPLOAD_DAYS => place
            .warning(
                check::UPLOADS,
                format!("a rule drops uploads after {days} day: one that is under way may be among them"),
            )
            .to_do(format!("let it wait {LEAST_UPLOAD_DAYS} days or more")),
        Some(days) => {
            place.ok(check::UPLOADS, format!("uploads that were never completed are dropped after {days} days"))
        }
        None => place
            .note(check::UPLOADS, "no rule drops uploads that were never completed: their parts are paid for ever")
            .to_do(format!("add a rule with AbortIncompleteMultipartUpload after {LEAST_UPLOAD_DAYS} days")),
    })
}

fn encryption(pair: &Pair) -> Option<Finding> {
    let Ok(standby) = &pair.standby.encryption else { return None };
    let place = &pair.standby.place;
    let configured = pair.settings.carry.kms_key.as_deref();
    let key = configured.or_else(|| standby.as_ref().and_then(|e| e.key.as_deref()));
    let foreign = key.and_then(kms_region).filter(|region| *region != place.region);
    let of_kms = |seen: &Seen| seen.encryption.as_ref().is_ok_and(|e| e.as_ref().is_some_and(super::Encryption::kms));
    Some(match (foreign, key) {
        (Some(region), Some(key)) => place
            .problem(
                check::ENCRYPTION,
                format!(
                    "its key {key} is of {region}: nothing can be written with it, or read when that region is gone"
                ),
            )
            .to_do("give it a key of its own region, or a multi-region replica of that key"),
        _ if of_kms(&pair.source) && !of_kms(&pair.standby) && configured.is_none() => place
            .warning(check::ENCRYPTION, "it is encrypted by keys of S3's own, and the primary by a key in KMS")
            .to_do("if that is a rule of yours, give the standby a key of its own region, or set kms_key"),
        (_, Some(key)) => {
            place.ok(check::ENCRYPTION, format!("encrypted by {key}; the application must be allowed to use it too"))
        }
        (_, None) => place.ok(check::ENCRYPTION, "encrypted by its default"),
    })
}

fn lock(pair: &Pair) -> Option<Finding> {
    let Ok(standby) = pair.standby.lock else { return None };
    let place = &pair.standby.place;
    let source = pair.source.lock.as_ref().ok().copied();
    let carried = pair.settings.carry.lock;
    Some(match (standby, source, carried) {
        (false, _, true) => place
            .problem(check::OBJECT_LOCK, "Object Lock is off, and copy_lock needs it")
            .to_do("enable it (versioning must be on), or write copy_lock = false"),
        (false, Some(true), false) => place
            .warning(
                check::OBJECT_LOCK,
                "Object Lock is off, and on in the primary: what is protected there is not here",
            )
            .to_do("enable it and write copy_lock = true"),
        (true, Some(true), false) => place
            .note(
                check::OBJECT_LOCK,
                "Object Lock is on in both, and copy_lock = false: retention and holds stay behind",
            )
            .to_do("write copy_lock = true, unless the standby's default retention is what you want"),
        (true, Some(false), true) => {
            place.note(check::OBJECT_LOCK, "Object Lock is off in the primary, so copy_lock has nothing to carry")
        }
        (true, ..) => place.ok(check::OBJECT_LOCK, "Object Lock is on"),
        (false, ..) => place.ok(check::OBJECT_LOCK, "Object Lock is off, as in the primary"),
    })
}

fn public(pair: &Pair) -> Option<Finding> {
    let Ok(standby) = pair.standby.shut else { return None };
    let place = &pair.standby.place;
    Some(match (standby, &pair.source.shut) {
        (true, Ok(false)) => place.note(
            check::PUBLIC_ACCESS,
            "all public access is blocked, and not so in the primary: what is public there will not be here",
        ),
        (true, _) => place.ok(check::PUBLIC_ACCESS, "all public access is blocked"),
        (false, Ok(false)) => {
            place.ok(check::PUBLIC_ACCESS, "public access is not blocked as a whole, as in the primary")
        }
        (false, _) => open(place),
    })
}

fn open(place: &Place) -> Finding {
    let all = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true";
    place
        .warning(check::PUBLIC_ACCESS, "public access is not blocked: the copy is less protected than the primary")
        .to_do("block it")
        .command(place.s3api("put-public-access-block", &format!("--public-access-block-configuration {all}")))
}

fn ownership(pair: &Pair) -> Option<Finding> {
    let Ok(standby) = &pair.standby.ownership else { return None };
    let place = &pair.standby.place;
    let enforced = |owner: &Option<String>| owner.as_deref() == Some(ENFORCED);
    let source = pair.source.ownership.as_ref().ok().map(enforced);
    Some(match (enforced(standby), source, pair.settings.carry.acl) {
        (true, _, true) => place
            .problem(check::OWNERSHIP, "access control lists are off (BucketOwnerEnforced), and copy_acl needs them")
            .to_do("write copy_acl = false, or set the object ownership of the bucket to BucketOwnerPreferred"),
        (false, Some(true), true) => {
            place.note(check::OWNERSHIP, "lists are off in the primary, so copy_acl has nothing to carry")
        }
        (false, _, true) => place.ok(check::OWNERSHIP, "access control lists are on, as copy_acl needs"),
        (true, Some(false), false) => place
            .note(check::OWNERSHIP, "lists are on in the primary and off here: grants of single objects stay behind")
            .to_do("grant by bucket policy; or turn lists on here and write copy_acl = true"),
        (false, Some(false), false) => place
            .note(check::OWNERSHIP, "lists are on in both and copy_acl = false: the standby's objects are private")
            .to_do("if objects are granted one by one, write copy_acl = true"),
        _ => place.ok(check::OWNERSHIP, "the bucket's owner owns its objects"),
    })
}
