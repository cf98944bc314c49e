//! The join of listings and memory equals a comparison of sets, whatever the pages, the parts and the place it goes on from.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::page::{Current, Version, Versions};
use super::*;
use crate::change::SourceTime;

/// What the tests remember: what either end was.
#[derive(Debug, Clone, PartialEq)]
struct Then {
    source: Option<Entry>,
    standby: Option<Entry>,
}

impl Remembered for Then {
    fn source_is(&self, entry: &Entry) -> bool {
        self.source.as_ref() == Some(entry)
    }

    fn standby_is(&self, entry: Option<&Entry>) -> bool {
        self.standby.as_ref() == entry
    }
}

type Bucket = BTreeMap<Vec<u8>, u8>;

fn key(bytes: &[u8]) -> Key {
    Key(bytes.to_vec().into())
}

fn entry(of: &[u8], state: u8) -> Entry {
    let modified = Some(SourceTime::from_secs(i64::from(state)));
    let current = Current { etag: state.to_string(), size: u64::from(state), modified };
    Entry { key: key(of), current: Some(current), versions: None, modified }
}

/// The first objects behind a key.
fn page(bucket: &Bucket, after: Option<&[u8]>, most: usize) -> Page {
    let mut rest = bucket.iter().filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
    let entries: Vec<Entry> = rest.by_ref().take(most).map(|(key, state)| entry(key, *state)).collect();
    Page { ended: rest.next().is_none(), entries }
}

fn known(rows: &BTreeMap<Vec<u8>, Option<(u8, u8)>>, after: Option<&[u8]>, most: usize) -> Memory<Then> {
    let mut rest = rows.iter().filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
    let then = |of: &[u8], (x, y): (u8, u8)| Then { source: Some(entry(of, x)), standby: Some(entry(of, y)) };
    let rows: Vec<_> = rest.by_ref().take(most).map(|(of, row)| (key(of), row.map(|row| then(of, row)))).collect();
    let reach = rest.next().and(rows.last()).map(|(key, _)| key.clone());
    Memory { rows, reach }
}

/// Nothing is known, and that only up to a key.
fn known_to(reach: &[u8]) -> Memory<Then> {
    Memory { rows: Vec::new(), reach: Some(key(reach)) }
}

const ALL: Scope<'static> = Scope { prefix: b"", start: b"", end: None, canary: None };

fn one(x: Option<u8>, y: Option<u8>, then: Option<(u8, u8)>) -> Option<Difference> {
    let bucket = |state: Option<u8>| state.map(|state| (b"k".to_vec(), state)).into_iter().collect::<Bucket>();
    let rows = then.map(|then| (b"k".to_vec(), Some(then))).into_iter().collect();
    let joined = join(&page(&bucket(x), None, 9), &page(&bucket(y), None, 9), &known(&rows, None, 9), ALL);
    joined.found.first().map(|found| found.what)
}

#[test]
fn a_key_is_found_unless_it_is_known_to_be_the_same() {
    use Difference::{Differs, Missing, Orphan};
    for (x, y, then, what) in [
        (None, None, Some((1, 2)), None),
        (Some(1), None, None, Some(Missing)),
        (Some(1), None, Some((1, 2)), Some(Missing)),
        (None, Some(2), Some((1, 2)), Some(Orphan)),
        (Some(1), Some(1), None, Some(Differs)),
        (Some(1), Some(2), Some((1, 2)), None),
        (Some(3), Some(2), Some((1, 2)), Some(Differs)),
        (Some(1), Some(3), Some((1, 2)), Some(Differs)),
    ] {
        assert_eq!(one(x, y, then), what, "{x:?} {y:?} {then:?}");
    }
}

#[test]
fn what_cannot_be_read_is_not_known() {
    let bucket = Bucket::from([(b"k".to_vec(), 1)]);
    let rows = BTreeMap::from([(b"k".to_vec(), None)]);
    let joined = join(&page(&bucket, None, 9), &page(&bucket, None, 9), &known(&rows, None, 9), ALL);
    assert_eq!(joined.found.len(), 1);
}

#[test]
fn a_key_of_which_only_old_versions_are_left_is_settled_by_what_is_known() {
    let version = Version {
        id: "m".into(),
        marker: true,
        latest: true,
        etag: String::new(),
        size: 0,
        modified: Some(SourceTime::from_secs(9)),
    };
    let versions = Versions { all: vec![version], cut: false };
    let gone = Entry { key: key(b"k"), current: None, versions: Some(versions), modified: None };
    let source = Page { entries: vec![gone.clone()], ended: true };
    let empty = Page { entries: Vec::new(), ended: true };
    let then = |source| Memory { rows: vec![(key(b"k"), Some(Then { source, standby: None }))], reach: None };
    let what = |standby: &Page, memory| join(&source, standby, &memory, ALL).found.first().map(|found| found.what);
    assert_eq!(what(&empty, then(Some(gone))), None);
    assert_eq!(what(&empty, then(None)), Some(Difference::Differs));
    assert_eq!(what(&Page { entries: vec![entry(b"k", 1)], ended: true }, then(None)), Some(Difference::Orphan));
}

#[test]
fn a_page_goes_to_the_shorter_of_two_listings_and_no_further_than_the_part() {
    let all: Bucket = (b'a'..=b'j').map(|c| (vec![c], 1)).collect();
    let few: Bucket = [b"b".to_vec(), b"i".to_vec()].into_iter().map(|k| (k, 1)).collect();
    let none: Memory<Then> = Memory { rows: Vec::new(), reach: None };
    let joined = join(&page(&all, None, 4), &page(&few, None, 1), &none, ALL);
    assert_eq!((joined.to, joined.looked, joined.standby), (Some(key(b"b")), 2, 1));
    let joined = join(&page(&all, None, 4), &page(&few, None, 9), &none, ALL);
    assert_eq!((joined.to, joined.looked, joined.standby), (Some(key(b"d")), 4, 1));
    let part = Scope { start: b"b", end: Some(b"d"), ..ALL };
    let joined = join(&page(&all, None, 4), &page(&few, None, 9), &none, part);
    assert_eq!((joined.to, joined.looked, joined.found.len()), (None, 2, 2), "d is of the next part");
    let joined = join(&page(&all, None, 9), &page(&few, None, 9), &known_to(b"c"), ALL);
    assert_eq!(joined.to, Some(key(b"c")), "what is known counts as a listing");
}

#[test]
fn our_own_key_and_what_is_outside_of_the_prefix_are_nothing_to_us() {
    let source = Bucket::from([(b"p/a".to_vec(), 1), (b"q".to_vec(), 1)]);
    let standby = Bucket::from([(b"p/canary".to_vec(), 1), (b"o".to_vec(), 1), (b"p/z".to_vec(), 1)]);
    let scope = Scope { prefix: b"p/", canary: Some(b"p/canary"), ..ALL };
    let none: Memory<Then> = Memory { rows: Vec::new(), reach: None };
    let joined = join(&page(&source, None, 9), &page(&standby, None, 9), &none, scope);
    let found: Vec<_> = joined.found.iter().map(|found| (found.key.clone(), found.what)).collect();
    assert_eq!(found, [(key(b"p/a"), Difference::Missing), (key(b"p/z"), Difference::Orphan)]);
    assert_eq!((joined.looked, joined.standby), (1, 1));
}

fn some_key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(b'/'), Just(0xC3)], 0..4)
}

fn a_bucket() -> impl Strategy<Value = Bucket> {
    proptest::collection::btree_map(some_key(), 0..3_u8, 0..25)
}

/// Both ends and what is known, told at once.
fn naive(
    x: &Bucket,
    y: &Bucket,
    rows: &BTreeMap<Vec<u8>, Option<(u8, u8)>>,
    scope: &Scope<'_>,
) -> Vec<(Key, Difference)> {
    let mut all: Vec<&Vec<u8>> = x.keys().chain(y.keys()).collect();
    all.sort();
    all.dedup();
    let what = |of: &Vec<u8>| match (x.get(of), y.get(of)) {
        (Some(_), None) => Some(Difference::Missing),
        (None, Some(_)) => Some(Difference::Orphan),
        (Some(x), Some(y)) if rows.get(of) == Some(&Some((*x, *y))) => None,
        _ => Some(Difference::Differs),
    };
    all.into_iter().filter(|of| scope.has(&key(of))).filter_map(|of| Some((key(of), what(of)?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Page by page, in parts, resumed at every page, it is the same as all at once.
    #[test]
    fn s3_10_the_join_of_pages_is_the_comparison_of_sets(
        x in a_bucket(),
        changed in a_bucket(),
        removed in proptest::collection::vec(some_key(), 0..5),
        rows in proptest::collection::btree_map(some_key(), proptest::option::weighted(0.9, (0..3_u8, 0..3_u8)), 0..25),
        cut in proptest::option::of(some_key()),
        prefix in prop_oneof![Just(Vec::new()), Just(b"a".to_vec())],
        canary in proptest::option::of(some_key()),
        sizes in (1..5_usize, 1..5_usize, 1..5_usize),
    ) {
        let mut y = x.clone();
        y.extend(changed);
        y.retain(|key, _| !removed.contains(key));
        let whole = Scope { prefix: &prefix, start: b"", end: None, canary: canary.as_deref() };
        let mut found = Vec::new();
        let (mut looked, mut standby) = (0, 0);
        let cut = cut.as_deref().filter(|cut| !cut.is_empty());
        let parts = match cut {
            Some(cut) => vec![Scope { end: Some(cut), ..whole }, Scope { start: cut, ..whole }],
            None => vec![whole],
        };
        for scope in parts {
            // As it is asked for: behind the greatest key below the part.
            let mut after: Option<Vec<u8>> = scope.start.split_last().map(|(_, most)| most.to_vec());
            for turn in 0.. {
                prop_assert!(turn < 200, "it goes on");
                let from = after.as_deref();
                let joined = join(&page(&x, from, sizes.0), &page(&y, from, sizes.1), &known(&rows, from, sizes.2), scope);
                found.extend(joined.found.into_iter().map(|found| (found.key, found.what)));
                (looked, standby) = (looked + joined.looked, standby + joined.standby);
                match joined.to {
                    Some(to) => {
                        prop_assert!(from.is_none_or(|from| &to.0[..] > from), "it does not go on");
                        after = Some(to.0.to_vec());
                    }
                    None => break,
                }
            }
        }
        prop_assert_eq!(found, naive(&x, &y, &rows, &whole));
        let count = |bucket: &Bucket| bucket.keys().filter(|of| whole.has(&key(of))).count() as u64;
        prop_assert_eq!((looked, standby), (count(&x), count(&y)));
    }
}
