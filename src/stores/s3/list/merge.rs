//! Source, standby, and what is known of both, joined in the order of the keys (S3-10). Pure.
//!
//! A key is found when it is not known to be the same. So what is known only ever saves a look: a record that is stale, or
//! of another program, makes the key be looked at, and never passed over.

use std::cmp::Ordering;

use super::page::{Entry, Page};
use crate::change::{Difference, Key};
use crate::stores::converge::{Found, ListPage};

/// What is remembered of a key that was made the same.
pub(super) trait Remembered {
    /// The source is what it was then, as far as a listing can say.
    fn source_is(&self, entry: &Entry) -> bool;

    /// The standby is what it was then, as far as a listing can say. `None`: the listing does not have it.
    fn standby_is(&self, entry: Option<&Entry>) -> bool;
}

/// What belongs to the part that is listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Keys begin like this.
    pub(super) prefix: &'a [u8],
    /// The first key of the part.
    pub(super) start: &'a [u8],
    /// The first key behind the part; `None`: to the end.
    pub(super) end: Option<&'a [u8]>,
    /// Of this key nothing is said: it is ours.
    pub(super) canary: Option<&'a [u8]>,
}

impl Scope<'_> {
    fn has(&self, key: &Key) -> bool {
        let key = &key.0[..];
        key.starts_with(self.prefix)
            && key >= self.start
            && self.end.is_none_or(|end| key < end)
            && self.canary != Some(key)
    }
}

/// What is known of the keys that the pages may have.
#[derive(Debug)]
pub(super) struct Memory<R> {
    /// In the order of the keys; `None`: it cannot be read.
    pub(super) rows: Vec<(Key, Option<R>)>,
    /// Up to where they are all that is known, inclusive; `None`: to the end.
    pub(super) reach: Option<Key>,
}

impl<R> Memory<R> {
    fn of(&self, key: &Key) -> Option<&R> {
        let at = self.rows.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
        self.rows[at].1.as_ref()
    }
}

/// How far both listings tell everything; `None`: to the end.
pub(in crate::stores::s3) fn reach(source: &Page, standby: &Page) -> Option<Key> {
    earlier(source.reach(), standby.reach()).cloned()
}

fn earlier<'a>(one: Option<&'a Key>, other: Option<&'a Key>) -> Option<&'a Key> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Joins them. The page is done up to where all three tell everything.
pub(super) fn join<R: Remembered>(source: &Page, standby: &Page, memory: &Memory<R>, scope: Scope<'_>) -> ListPage {
    let both = reach(source, standby);
    let to = earlier(both.as_ref(), memory.reach.as_ref()).cloned();
    // Behind the end of the part there is nothing that concerns it.
    let to = to.filter(|to| scope.end.is_none_or(|end| &to.0[..] < end));
    let mut page = ListPage { to: to.clone(), ..ListPage::default() };
    let inside = |entry: &&Entry| to.as_ref().is_none_or(|to| entry.key <= *to) && scope.has(&entry.key);
    for (x, y) in zip(source.entries.iter().filter(inside), standby.entries.iter().filter(inside)) {
        if let Some(x) = x {
            page.looked += x.versions.as_ref().map_or(1, |versions| versions.all.len() as u64);
            page.bytes += match (&x.versions, &x.current) {
                (Some(versions), _) => versions.all.iter().map(|version| version.size).sum(),
                (None, current) => current.as_ref().map_or(0, |current| current.size),
            };
        }
        page.standby += u64::from(y.is_some());
        let Some(what) = judge(x, y, memory) else { continue };
        let Some(key) = x.or(y).map(|entry| entry.key.clone()) else { continue };
        page.found.push(Found { key, what, made_at: x.and_then(|entry| entry.modified) });
    }
    page
}

/// Entries of both ends, a pair for each key.
pub(super) fn zip<'a>(
    source: impl Iterator<Item = &'a Entry>,
    standby: impl Iterator<Item = &'a Entry>,
) -> impl Iterator<Item = (Option<&'a Entry>, Option<&'a Entry>)> {
    let (mut left, mut right) = (source.peekable(), standby.peekable());
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (Some(x), Some(y)) => x.key.cmp(&y.key),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let x = if order.is_le() { left.next() } else { None };
        let y = if order.is_ge() { right.next() } else { None };
        Some((x, y))
    })
}

/// How the two ends differ, or may; `None`: they are known not to.
fn judge<R: Remembered>(x: Option<&Entry>, y: Option<&Entry>, memory: &Memory<R>) -> Option<Difference> {
    let known = x.and_then(|x| memory.of(&x.key).filter(|known| known.source_is(x)));
    let is = |entry: Option<&Entry>| entry.is_some_and(|entry| entry.current.is_some());
    match (is(x), is(y)) {
        (true, false) => Some(Difference::Missing),
        (false, true) => Some(Difference::Orphan),
        (true, true) => (!known.is_some_and(|known| known.standby_is(y))).then_some(Difference::Differs),
        // Only versions that are not current any more.
        (false, false) => {
            (x.is_some() && !known.is_some_and(|known| known.standby_is(None))).then_some(Difference::Differs)
        }
    }
}

#[cfg(test)]
mod tests;
