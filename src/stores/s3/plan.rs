//! What is to be done to make an object the same. Pure.

use super::dress::wears;
use super::known::Known;
use super::object::Object;
use super::same::{Likeness, alike, known_same};
use super::settings::Carry;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// It is on neither side.
    Gone,
    /// The standby has it and the source does not.
    Remove,
    /// The bytes are to be copied.
    Copy,
    /// The bytes are the same, as is known: what is beside them is compared with what is known of it.
    BesideKnown,
    /// The bytes are the same, as they look: what is beside them is compared with the standby's.
    BesideTarget,
}

/// Decides. `known` is nothing when the key is to be compared afresh.
///
/// The class and the encryption count where an object was written again over what is known, or somebody wrote in the standby:
/// to write the same bytes once more is how an application changes them. Of all others they do not: a bucket's lifecycle
/// changes classes too, each on its own clock (S3-8).
pub(super) fn plan(known: Option<&Known>, target: Option<&Object>, source: Option<&Object>, carry: &Carry) -> Plan {
    match (target, source) {
        (None, None) => Plan::Gone,
        (Some(_), None) => Plan::Remove,
        (None, Some(_)) => Plan::Copy,
        (Some(target), Some(source)) => match known {
            Some(known) if known_same(known, source, target) => Plan::BesideKnown,
            Some(_) if !wears(source, target, carry) => Plan::Copy,
            _ if alike(source, target) == Likeness::Same => Plan::BesideTarget,
            _ => Plan::Copy,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::s3::known::Mark;
    use crate::stores::s3::object::Beside;
    use crate::stores::s3::same::{beside_digest, headers_digest};

    fn object(etag: &str) -> Object {
        Object { mark: Mark { etag: etag.into(), size: 1, ..Mark::default() }, ..Object::default() }
    }

    const CARRY: Carry =
        Carry { tags: true, acl: false, lock: false, annotations: false, storage_class: None, kms_key: None };

    fn plan(known: Option<&Known>, target: Option<&Object>, source: Option<&Object>) -> Plan {
        super::plan(known, target, source, &CARRY)
    }

    #[test]
    fn s3_1_every_state_of_both_ends_has_its_answer() {
        let (a, b) = (object("a"), object("b"));
        assert_eq!(plan(None, None, None), Plan::Gone);
        assert_eq!(plan(None, Some(&b), None), Plan::Remove);
        assert_eq!(plan(None, None, Some(&a)), Plan::Copy);
        assert_eq!(plan(None, Some(&b), Some(&a)), Plan::Copy, "nothing tells that they are the same");
        let known = Known {
            source: a.mark.clone(),
            target: b.mark.clone(),
            headers: headers_digest(&a.headers),
            beside: beside_digest(&Beside::default()),
            versions: Vec::new(),
            deleted: false,
        };
        assert_eq!(plan(Some(&known), Some(&b), Some(&a)), Plan::BesideKnown);
        assert_eq!(plan(Some(&known), Some(&object("c")), Some(&a)), Plan::Copy, "the standby's is another one");
        assert_eq!(plan(Some(&known), None, Some(&a)), Plan::Copy, "the standby's is gone");
        let md5 = object(&"a".repeat(32));
        assert_eq!(plan(None, Some(&md5), Some(&md5)), Plan::BesideTarget);
        let cold = Object { class: Some("STANDARD_IA".into()), ..md5.clone() };
        assert_eq!(plan(Some(&known), Some(&md5), Some(&cold)), Plan::Copy, "written again, in another class");
        assert_eq!(plan(None, Some(&md5), Some(&cold)), Plan::BesideTarget, "a lifecycle may have moved either");
    }
}
