//! Both buckets side by side (S3-10).
//!
//! ```text
//! known, then standby, then source  --join-->  what differs, or may     (a page of each, at most; nothing is kept between)
//! ```
//!
//! The order of the three is not by chance: what changes meanwhile is seen in the source, which is read last, with the time
//! at which it changed. The other way round a key that was copied in between would look as if an old state had been missed.
//!
//! - [`page`] reads a listing, [`merge`] joins, [`split`] finds where to cut the key space; the latter two are pure.
//! - What a listing cannot show: metadata and tags that changed without a new object, a lock, the key of encryption. Those
//!   have events, or are found when a key is compared afresh.

mod merge;
pub(super) mod page;
mod split;

use std::collections::BTreeSet;

use self::merge::{Memory, Remembered, Scope};
use self::page::{Current, End, Entry, PAGE, Page, Version};
use self::split::{Cuts, Seen};
use super::known::{Known, Mark};
use super::settings::Versions;
use super::versions::{REMEMBERED, label_of};
use super::{Bucket, keys};
use crate::change::{Class, Key};
use crate::stores::StoreError;
use crate::stores::converge::{ListFrom, ListPage, Notebook};

/// Parts of the key space for each that is listed at one time: whoever is done early has another one to take.
const PARTS_EACH: usize = 4;
/// Pairs of the index that are read at one time.
const ROWS: usize = 1100;

impl Bucket {
    /// The first keys of the parts.
    pub(super) async fn parts(&self) -> Result<Vec<Key>, StoreError> {
        let (source, prefix) = (self.source_end(), &self.settings.prefix);
        let seen = async |after: Option<&str>| -> Result<Seen, StoreError> {
            let page = source.objects(after, PAGE).await?;
            let keys = page.entries.iter().map(|entry| text(&entry.key).map(str::to_owned));
            Ok(Seen { keys: keys.collect::<Result<_, _>>()?, ended: page.ended })
        };
        // No key at or behind the successor of the prefix; bytes that are no text are behind every key.
        let mut top = prefix.clone().into_bytes();
        top.push(0xFF);
        let wanted = self.settings.tempo.list_ranges.max(1);
        let wanted = if wanted == 1 { 1 } else { wanted * PARTS_EACH };
        let mut cuts = Cuts::new(wanted, &seen(None).await?, top);
        while let Some(probe) = cuts.next() {
            let found = seen(Some(&probe.after)).await?;
            cuts.learn(probe, &found);
        }
        Ok(cuts
            .afters()
            .into_iter()
            .map(|after| after.map_or(Key(Vec::new().into()), |after| first_behind(&after)))
            .collect())
    }

    /// One page of both ends.
    pub(super) async fn side_by_side(&self, from: &ListFrom, notebook: &dyn Notebook) -> Result<ListPage, StoreError> {
        let scope = Scope {
            prefix: self.settings.prefix.as_bytes(),
            start: &from.start.0,
            end: from.end.as_ref().map(|end| &end.0[..]),
            canary: self.settings.canary_key.as_deref().map(str::as_bytes),
        };
        let after = match &from.after {
            Some(after) => Some(text(after)?.to_owned()),
            None => behind(&from.start),
        };
        let after = after.as_deref();
        let before = after.map(str::to_owned).or_else(|| behind(&Key(scope.prefix.to_vec().into())));
        let before = before.map(|before| Key(before.into_bytes().into()));
        let mut memory = remembered(notebook, before.as_ref(), ROWS)?;
        let standby = self.target_end().objects(after, PAGE).await?;
        let source = match self.settings.versions {
            Versions::Current => self.source_end().objects(after, PAGE).await?,
            Versions::History => self.source_end().versions(after).await?,
        };
        // Rows of what neither end has any more: read on, or a page would end there.
        let far = merge::reach(&source, &standby);
        while let Some(reach) = memory.reach.clone().filter(|reach| far.as_ref().is_none_or(|far| reach < far)) {
            let more = remembered(notebook, Some(&reach), ROWS)?;
            memory.rows.extend(more.rows);
            memory.rows.retain(|(key, _)| has(&source, key) || has(&standby, key));
            memory.reach = more.reach;
        }
        Ok(merge::join(&source, &standby, &memory, scope))
    }

    /// The source, for listing.
    pub(super) fn source_end(&self) -> End<'_> {
        let (bucket, prefix) = (&self.settings.bucket, &self.settings.prefix);
        End { client: &self.source, bucket, prefix, side: "source" }
    }

    /// The standby, for listing.
    pub(super) fn target_end(&self) -> End<'_> {
        let (bucket, prefix) = (&self.settings.standby_bucket, &self.settings.prefix);
        End { client: &self.target, bucket, prefix, side: "standby" }
    }
}

fn has(page: &Page, key: &Key) -> bool {
    page.entries.binary_search_by(|entry| entry.key.cmp(key)).is_ok()
}

pub(super) use self::merge::reach;

/// The entries of two pages up to a key, inclusive, side by side.
pub(super) fn pairs<'a>(
    source: &'a Page,
    standby: &'a Page,
    to: Option<&'a Key>,
) -> impl Iterator<Item = (Option<&'a Entry>, Option<&'a Entry>)> {
    let inside = move |entry: &&Entry| to.is_none_or(|to| entry.key <= *to);
    merge::zip(source.entries.iter().filter(inside), standby.entries.iter().filter(inside))
}

/// A plain listing shows the object of the source that was copied last.
pub(super) fn is_source(known: &Known, entry: &Entry) -> bool {
    known.source_is(entry)
}

/// A key as S3 takes it.
pub(super) fn text(key: &Key) -> Result<&str, StoreError> {
    keys::object_key(key).ok_or_else(|| {
        StoreError::new(Class::Invalid, "listing", format!("{key:?}")).because("a key that S3 cannot have".to_owned())
    })
}

/// The very next text behind one: a part that begins there is listed behind that one.
fn first_behind(after: &str) -> Key {
    let mut bytes = after.as_bytes().to_vec();
    bytes.push(0);
    Key(bytes.into())
}

/// Behind which text the keys from `start` on lie, and as few others as can be; `None`: from the first key of all.
fn behind(start: &Key) -> Option<String> {
    let (last, most) = start.0.split_last()?;
    if *last == 0 {
        return std::str::from_utf8(most).ok().filter(|most| !most.is_empty()).map(str::to_owned);
    }
    // Somebody else's cut: everything that begins like it up to its last character, from just below that on.
    let mut most = String::from_utf8_lossy(&start.0).into_owned();
    let last = most.pop()?;
    let lower = (0..u32::from(last)).rev().find_map(char::from_u32)?;
    most.push(lower);
    most.push(char::MAX);
    // Bytes that are no text come out as other bytes.
    (most.as_bytes() < &start.0[..]).then_some(most)
}

/// Some of what is known behind a key.
fn remembered(notebook: &dyn Notebook, after: Option<&Key>, most: usize) -> Result<Memory<Known>, StoreError> {
    let rows = notebook.known_after(after, most)?;
    let reach = if rows.len() < most { None } else { rows.last().map(|(key, _)| key.clone()) };
    Ok(Memory { rows: rows.into_iter().map(|(key, body)| (key, Known::read(&body))).collect(), reach })
}

/// A plain listing shows the object of the mark.
fn shows(mark: &Mark, now: &Current) -> bool {
    mark.matches_listing(&now.etag, now.size, now.modified, None)
}

impl Remembered for Known {
    fn source_is(&self, entry: &Entry) -> bool {
        let Some(versions) = &entry.versions else {
            return !self.deleted && entry.current.as_ref().is_some_and(|now| shows(&self.source, now));
        };
        let newest = versions.all.iter().find(|version| !version.marker);
        let shown = newest.is_some_and(|newest| {
            self.source.matches_listing(&newest.etag, newest.size, newest.modified, Some(&newest.id))
        });
        let known: BTreeSet<&str> = self.versions.iter().map(|pair| pair.source.as_str()).collect();
        // Of a long history only the newest are remembered.
        let long = known.len() >= REMEMBERED;
        let objects = versions.all.iter().filter(|version| !version.marker);
        let all = if long { known.len() } else { usize::MAX };
        let label = |version: &Version| label_of(Some(&version.id), version.marker, &version.etag, version.modified);
        let told = objects.take(all).all(|version| known.contains(label(version).as_str()));
        let there: Vec<String> = versions.all.iter().map(label).collect();
        let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
        !versions.cut && shown && self.deleted == entry.current.is_none() && told && known.is_subset(&there)
    }

    fn standby_is(&self, entry: Option<&Entry>) -> bool {
        match entry.and_then(|entry| entry.current.as_ref()) {
            Some(now) => !self.deleted && shows(&self.target, now),
            None => self.deleted,
        }
    }
}

#[cfg(test)]
mod tests;
