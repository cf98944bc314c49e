//! A page of both listings and what is remembered, put together.

use super::page::{Version, Versions as Listed};
use super::*;
use crate::change::SourceTime;
use crate::stores::s3::known::Pair;

fn key(text: &str) -> Key {
    Key(text.as_bytes().to_vec().into())
}

#[test]
fn a_part_is_listed_behind_the_text_that_it_begins_behind() {
    for after in ["a", "a/b c", "é", "a\u{10FFFF}"] {
        assert_eq!(behind(&first_behind(after)).as_deref(), Some(after));
    }
    assert_eq!(behind(&key("")), None);
    assert_eq!(behind(&key("\0")), None, "everything is behind nothing");
}

#[test]
fn of_any_other_start_no_key_is_left_out() {
    for start in ["b", "abc", "é", "a\u{E000}", "a\u{1}", "/"] {
        let from = behind(&key(start)).unwrap_or_default();
        assert!(from.as_str() < start, "{start:?} {from:?}");
        for other in ["a", "ab", "abb", "abbz", "b", "é", "d", "\u{D7FF}", "a\u{1}"] {
            assert!(other < start || other > from.as_str(), "{start:?} {other:?}");
        }
    }
    let no_text = Key(vec![b'a', 0xFF].into());
    assert!(behind(&no_text).is_none_or(|from| from.as_bytes() < &no_text.0[..]));
}

fn mark(etag: &str, secs: i64) -> Mark {
    Mark { etag: etag.into(), version: Some("v".into()), size: 7, modified: Some(SourceTime::from_secs(secs)) }
}

fn known() -> Known {
    let (source, target) = (mark("x", 10), mark("y", 20));
    Known { source, target, headers: String::new(), beside: String::new(), versions: Vec::new(), deleted: false }
}

fn object(etag: &str, secs: i64) -> Entry {
    let modified = Some(SourceTime::from_secs(secs));
    let current = Current { etag: etag.into(), size: 7, modified };
    Entry { key: key("k"), current: Some(current), versions: None, modified }
}

#[test]
fn a_plain_listing_shows_what_is_known_or_something_else() {
    assert!(known().source_is(&object("x", 10)) && known().standby_is(Some(&object("y", 20))));
    for (etag, secs) in [("z", 10), ("x", 11)] {
        assert!(!known().source_is(&object(etag, secs)), "{etag} {secs}");
    }
    assert!(!known().standby_is(None) && !known().standby_is(Some(&object("x", 20))));
    let deleted = Known { deleted: true, ..known() };
    assert!(deleted.standby_is(None) && !deleted.standby_is(Some(&object("y", 20))));
}

/// Versions of a key, the newest first: `d` and a name is a delete marker.
fn history(ids: &[&str]) -> Entry {
    let all = ids.iter().enumerate().map(|(at, id)| Version {
        id: (*id).to_owned(),
        marker: id.starts_with('d'),
        latest: at == 0,
        etag: "x".into(),
        size: 7,
        modified: Some(SourceTime::from_secs(10)),
    });
    let all: Vec<Version> = all.collect();
    let current = (!all[0].marker).then(|| Current { etag: "x".into(), size: 7, modified: all[0].modified });
    Entry { key: key("k"), current, versions: Some(Listed { all, cut: false }), modified: None }
}

fn with_history(newest: &str, ids: &[&str], deleted: bool) -> Known {
    let pair = |id: &&str| Pair { source: (*id).to_owned(), target: format!("y{id}") };
    let source = Mark { version: Some(newest.to_owned()), ..mark("x", 10) };
    Known { source, versions: ids.iter().map(pair).collect(), deleted, ..known() }
}

#[test]
fn s3_4_a_history_is_the_same_when_each_of_its_versions_is_known_and_none_is_gone() {
    let two = with_history("v2", &["v1", "v2"], false);
    assert!(two.source_is(&history(&["v2", "v1"])));
    for (why, ids) in [
        ("a new version", vec!["v3", "v2", "v1"]),
        ("a version in between", vec!["v2", "v9", "v1"]),
        ("the newest was deleted", vec!["v1"]),
        ("an old one was deleted", vec!["v2"]),
        ("a delete marker", vec!["d1", "v2", "v1"]),
    ] {
        assert!(!two.source_is(&history(&ids)), "{why}");
    }
    let deleted = with_history("v2", &["v1", "v2"], true);
    assert!(deleted.source_is(&history(&["d1", "v2", "v1"])) && !deleted.source_is(&history(&["v2", "v1"])));
    let markers_too = with_history("v2", &["v1", "d0", "v2", "d1"], true);
    assert!(markers_too.source_is(&history(&["d1", "v2", "d0", "v1"])));
}

#[test]
fn of_a_long_history_the_newest_are_compared() {
    let ids: Vec<String> = (0..REMEMBERED + 500).map(|n| format!("v{n}")).collect();
    let oldest_first: Vec<&str> = ids.iter().map(String::as_str).collect();
    let newest_first: Vec<&str> = oldest_first.iter().rev().copied().collect();
    let newest = newest_first[0];
    let remembers = with_history(newest, &oldest_first[500..], false);
    assert!(remembers.source_is(&history(&newest_first)));
    assert!(!remembers.source_is(&history(&newest_first[1..])));
    let mut cut = history(&newest_first);
    cut.versions.as_mut().expect("a history").cut = true;
    assert!(!remembers.source_is(&cut), "nobody looked at all of it");
}
