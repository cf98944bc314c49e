//! Rules for the tests of this kind, and that nothing of a rule is lost on its way.

use super::*;

/// A rule that ends current objects after a day.
pub(in crate::stores::s3) fn expiring(id: &str, enabled: bool) -> Rule {
    Rule {
        id: Some(id.into()),
        enabled,
        filter: Some(Filter::default()),
        expiration: Some(Expiration { days: Some(1), ..Expiration::default() }),
        ..Rule::default()
    }
}

/// One that drops uploads which were never completed.
pub(in crate::stores::s3) fn dropping(days: i32) -> Rule {
    Rule { id: Some("uploads".into()), enabled: true, abort_after: Some(days), ..Rule::default() }
}

#[test]
fn every_field_goes_there_and_back() {
    let filter = Filter {
        prefix: Some("p/".into()),
        tags: vec![("a".into(), "b".into()), ("c".into(), String::new())],
        larger_than: Some(5),
        smaller_than: Some(500),
        all: true,
    };
    let full = Rule {
        id: Some("r".into()),
        enabled: true,
        prefix: None,
        filter: Some(filter.clone()),
        expiration: Some(Expiration { date: Some(1_800_000_000), days: None, markers: Some(true) }),
        transitions: vec![Move { days: Some(3), class: Some("GLACIER_IR".into()), date: None }],
        old_transitions: vec![OldMove { days: Some(4), newer: Some(2), class: Some("GLACIER".into()) }],
        old_expiration: Some(OldExpiration { days: Some(30), newer: Some(3) }),
        abort_after: Some(2),
    };
    let one_tag = Filter { tags: vec![("a".into(), "b".into())], prefix: None, all: false, ..filter };
    let plain = Rule { filter: Some(one_tag), enabled: false, ..full.clone() };
    let old = Rule { prefix: Some("x".into()), filter: None, ..Rule::default() };
    for rule in [full, plain, old, expiring("e", true), dropping(2), Rule::default()] {
        assert_eq!(Rule::of(&rule.to_sdk().unwrap()), rule);
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule);
    }
}

#[test]
fn s3_8_what_a_rule_would_do() {
    assert!(expiring("e", true).expires() && !expiring("e", false).expires());
    assert!(expiring("e", false).on().expires());
    assert!(!dropping(2).expires() && dropping(2).drops_uploads() && dropping(2).drops_after() == Some(2));
    let markers = Rule {
        enabled: true,
        expiration: Some(Expiration { markers: Some(true), ..Expiration::default() }),
        ..Rule::default()
    };
    assert!(!markers.expires(), "a marker with nothing behind it is no object");
    let older = Rule { enabled: true, old_expiration: Some(OldExpiration::default()), ..Rule::default() };
    assert!(older.expires_old() && !older.expires());
}
