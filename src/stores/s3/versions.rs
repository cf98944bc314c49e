//! Which versions are to be copied, and in which order (S3-4). Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::known::{Mark, Pair};
use crate::change::SourceTime;

/// As many pairs are remembered.
pub(super) const REMEMBERED: usize = 1_000;

/// A version as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// Which; of a delete marker only version and time.
    pub(super) mark: Mark,
    /// It is a delete marker.
    pub(super) marker: bool,
}

/// What a version is remembered by. The null version can be written over: its name is not enough.
pub(super) fn label(version: &Version) -> String {
    let mark = &version.mark;
    label_of(mark.version.as_deref(), version.marker, &mark.etag, mark.modified)
}

/// The same, of what a listing says.
pub(super) fn label_of(id: Option<&str>, marker: bool, etag: &str, modified: Option<SourceTime>) -> String {
    match id {
        Some(id) if id != "null" => id.to_owned(),
        _ => {
            let seconds = modified.map_or(0, |at| at.0.div_euclid(1000));
            format!("null {} {seconds}", if marker { "marker" } else { etag })
        }
    }
}

/// What is to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Todo<'a> {
    /// The versions that the standby does not have, oldest first.
    pub(super) missing: Vec<&'a Version>,
    /// The newest is there, and must be copied once more, on top.
    pub(super) again: Again,
}

/// Whether the newest is copied once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It is among the missing, or there is none.
    No,
    /// It is what the standby shows: only if something older is put on top of it.
    IfCovered,
    /// The standby shows something else.
    Yes,
}

/// What is to be copied. `source` is oldest first; `exists` and `current` are what the standby shows.
pub(super) fn todo<'a>(source: &'a [Version], pairs: &[Pair], exists: bool, current: Option<&str>) -> Todo<'a> {
    let have: BTreeSet<&str> = pairs.iter().map(|pair| pair.source.as_str()).collect();
    let copied: Vec<bool> = source.iter().map(|version| have.contains(label(version).as_str())).collect();
    // Of what is older than all that is remembered nothing is known any more: it was copied before.
    let forgotten = pairs.len() >= REMEMBERED;
    let from = if forgotten { copied.iter().position(|copied| *copied).unwrap_or(0) } else { 0 };
    let missing = source.iter().zip(&copied).skip(from).filter(|(_, copied)| !**copied);
    let missing: Vec<&Version> = missing.map(|(version, _)| version).collect();
    let again = match source.last().filter(|_| copied.last() == Some(&true)) {
        None => Again::No,
        Some(newest) => {
            // The last copy of the newest is what the standby must show.
            let made = pairs.iter().rev().find(|pair| pair.source == label(newest)).map(|pair| pair.target.as_str());
            let shows = match newest.marker {
                true => !exists,
                false => exists && made.is_some() && current == made,
            };
            if shows { Again::IfCovered } else { Again::Yes }
        }
    };
    Todo { missing, again }
}

/// What is remembered: of each version that the source still has its last copy, in the source's order. Once there are too many
/// the oldest go and nothing else does, so that their number goes on telling that something is forgotten.
pub(super) fn remembered(source: &[Version], mut pairs: Vec<Pair>) -> Vec<Pair> {
    if pairs.len() < REMEMBERED {
        let mut last: BTreeMap<String, Pair> = pairs.into_iter().map(|pair| (pair.source.clone(), pair)).collect();
        return source.iter().filter_map(|version| last.remove(&label(version))).collect();
    }
    pairs.drain(..pairs.len() - REMEMBERED);
    pairs
}

/// Whether a page, put together by its times, newest first, may not be in its order: an object and a delete marker of one
/// second, below the latest.
pub(super) fn in_doubt(page: &[Version]) -> bool {
    let second = |version: &Version| version.mark.modified.map(|at| at.floor_to_second());
    page.get(1..)
        .unwrap_or_default()
        .windows(2)
        .any(|pair| matches!(pair, [one, other] if one.marker != other.marker && second(one) == second(other)))
}

/// Lays both lists side by side, oldest first: each version of the source is taken for the first of the standby's, behind
/// the one before it, that is like it.
pub(super) fn aligned(source: &[Version], target: &[Version], alike: impl Fn(&Version, &Version) -> bool) -> Vec<Pair> {
    let mut rest = target.iter();
    let mut pairs = Vec::new();
    for version in source {
        let mut ahead = rest.clone();
        let found = ahead.find(|other| other.marker == version.marker && (version.marker || alike(version, other)));
        if let Some(found) = found {
            pairs.push(Pair { source: label(version), target: found.mark.version.clone().unwrap_or_default() });
            rest = ahead;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str) -> Version {
        let (etag, version) = (format!("etag of {id}"), Some(id.to_owned()));
        Version { mark: Mark { etag, version, size: 1, modified: Some(SourceTime(1_000)) }, marker: false }
    }

    fn marker(id: &str) -> Version {
        Version { marker: true, ..version(id) }
    }

    fn pair(source: &str, target: &str) -> Pair {
        Pair { source: source.into(), target: target.into() }
    }

    fn names(order: &[&Version]) -> Vec<String> {
        order.iter().map(|version| label(version)).collect()
    }

    fn told(source: &[Version], pairs: &[Pair], current: Option<&str>) -> (Vec<String>, Again) {
        let todo = todo(source, pairs, current.is_some(), current);
        (names(&todo.missing), todo.again)
    }

    fn strings(of: &[&str]) -> Vec<String> {
        of.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn s3_4_what_is_new_is_copied_in_order() {
        let source = [version("1"), version("2"), marker("3")];
        assert_eq!(told(&source, &[], None), (strings(&["1", "2", "3"]), Again::No));
        let pairs = [pair("1", "a"), pair("2", "b")];
        assert_eq!(told(&source, &pairs, Some("b")), (strings(&["3"]), Again::No));
        let pairs = [pair("1", "a"), pair("2", "b"), pair("3", "c")];
        assert_eq!(told(&source, &pairs, None), (strings(&[]), Again::IfCovered));
        assert_eq!(told(&source, &pairs, Some("d")), (strings(&[]), Again::Yes), "somebody wrote in the standby");
    }

    #[test]
    fn s3_4_what_is_late_makes_the_newest_be_copied_again() {
        let source = [version("1"), version("2"), version("3")];
        let pairs = [pair("1", "a"), pair("3", "c")];
        assert_eq!(told(&source, &pairs, Some("c")), (strings(&["2"]), Again::IfCovered));
    }

    #[test]
    fn s3_4_a_newest_that_is_removed_for_good_makes_the_older_one_current_again() {
        let source = [version("1")];
        let pairs = [pair("1", "a"), pair("2", "b")];
        assert_eq!(told(&source, &pairs, Some("b")), (strings(&[]), Again::Yes));
        let pairs = [pair("1", "a"), pair("2", "b"), pair("1", "c")];
        assert_eq!(told(&source, &pairs, Some("c")), (strings(&[]), Again::IfCovered), "the last copy counts");
    }

    #[test]
    fn s3_4_what_is_forgotten_is_not_copied_again() {
        let source: Vec<_> = (0..1_500).map(|n| version(&n.to_string())).collect();
        let pairs: Vec<_> = (490..1_490).map(|n| pair(&n.to_string(), &format!("t{n}"))).collect();
        let (missing, again) = told(&source, &pairs, Some("t1489"));
        assert_eq!((missing.len(), missing.first().map(String::as_str), again), (10, Some("1490"), Again::No));
    }

    #[test]
    fn an_object_and_a_marker_of_one_second_are_in_doubt_unless_one_is_the_latest() {
        assert!(!in_doubt(&[]) && !in_doubt(&[version("2"), marker("1")]));
        assert!(in_doubt(&[version("3"), marker("2"), version("1")]));
        let mut old = version("1");
        old.mark.modified = Some(SourceTime(0));
        assert!(!in_doubt(&[version("3"), marker("2"), old]));
    }

    #[test]
    fn what_is_remembered_is_what_is_there_until_it_is_too_much() {
        let source = [version("1"), version("3")];
        let pairs = vec![pair("1", "a"), pair("2", "b"), pair("3", "c"), pair("1", "d")];
        assert_eq!(remembered(&source, pairs), [pair("1", "d"), pair("3", "c")]);
        let many: Vec<_> = (0..1_200).map(|n| pair(&n.to_string(), "t")).collect();
        let kept = remembered(&source, many);
        assert_eq!((kept.len(), kept.first()), (1_000, Some(&pair("200", "t"))));
        assert_eq!(remembered(&source, kept).len(), 1_000, "it goes on telling that something is forgotten");
    }

    #[test]
    fn s3_f12_the_null_version_is_known_by_what_it_is() {
        let (mut one, mut other) = (version("null"), version("null"));
        one.mark.etag = "a".into();
        other.mark.etag = "b".into();
        assert_ne!(label(&one), label(&other));
        assert_ne!(label(&marker("null")), label(&one));
    }

    #[test]
    fn s3_2_lists_are_laid_side_by_side() {
        let source = [version("1"), version("2"), marker("3"), version("4")];
        let target = [version("a1"), version("b"), version("a2"), marker("m"), version("a4")];
        let alike = |one: &Version, other: &Version| label(other).ends_with(&label(one));
        let pairs = aligned(&source, &target, alike);
        assert_eq!(pairs, [pair("1", "a1"), pair("2", "a2"), pair("3", "m"), pair("4", "a4")]);
        let pairs = aligned(&source, &target[1..], alike);
        assert_eq!(pairs, [pair("2", "a2"), pair("3", "m"), pair("4", "a4")]);
    }
}
