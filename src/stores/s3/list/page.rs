//! Pages of one bucket's listing, in the order of the keys.
//!
//! Invariant: every entry of a page lies behind the one before it and behind where the page began, or the page is an error.
//! A listing that is not in order (directory buckets are like that) would make objects look as if they were gone.
//!
//! Keys are asked for in URL encoding: XML cannot hold every character that a key can.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{EncodingType, Object};
use aws_smithy_types::DateTime;

use crate::change::{Class, Key, SourceTime};
use crate::stores::StoreError;
use crate::stores::s3::known::bare;

/// Entries of a page, at most; S3 gives no more.
pub(in crate::stores::s3) const PAGE: i32 = 1000;
/// Versions of one key that are looked at. Of a key that has more nothing is said but that it may differ.
pub(super) const MOST_VERSIONS: usize = 10_000;

/// An object, or in a listing of versions a key with all of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores::s3) struct Entry {
    pub(in crate::stores::s3) key: Key,
    /// What is current; `None`: nothing, a delete marker is.
    pub(in crate::stores::s3) current: Option<Current>,
    /// Of a listing of versions: all there are, the newest first.
    pub(in crate::stores::s3) versions: Option<Versions>,
    /// When the newest state was made.
    pub(in crate::stores::s3) modified: Option<SourceTime>,
}

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores::s3) struct Current {
    /// Without quotes.
    pub(in crate::stores::s3) etag: String,
    pub(in crate::stores::s3) size: u64,
    pub(in crate::stores::s3) modified: Option<SourceTime>,
}

/// The versions of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::stores::s3) struct Versions {
    /// The newest first.
    pub(in crate::stores::s3) all: Vec<Version>,
    /// There are more than were looked at.
    pub(in crate::stores::s3) cut: bool,
}

/// A version, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores::s3) struct Version {
    /// `null` for one that was made without versioning.
    pub(in crate::stores::s3) id: String,
    pub(in crate::stores::s3) marker: bool,
    pub(in crate::stores::s3) latest: bool,
    /// Without quotes; empty of a marker.
    pub(in crate::stores::s3) etag: String,
    pub(in crate::stores::s3) size: u64,
    pub(in crate::stores::s3) modified: Option<SourceTime>,
}

/// Some entries, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::stores::s3) struct Page {
    pub(in crate::stores::s3) entries: Vec<Entry>,
    /// Nothing comes behind them.
    pub(in crate::stores::s3) ended: bool,
}

impl Page {
    /// Up to where it tells everything; `None`: to the end.
    pub(in crate::stores::s3) fn reach(&self) -> Option<&Key> {
        if self.ended { None } else { self.entries.last().map(|entry| &entry.key) }
    }
}

/// One end.
#[derive(Debug, Clone, Copy)]
pub(in crate::stores::s3) struct End<'a> {
    pub(in crate::stores::s3) client: &'a aws_sdk_s3::Client,
    pub(in crate::stores::s3) bucket: &'a str,
    pub(in crate::stores::s3) prefix: &'a str,
    /// Which of the two, for a human: `source`, `standby`.
    pub(in crate::stores::s3) side: &'static str,
}

impl End<'_> {
    fn on(&self) -> String {
        format!("{} bucket {}", self.side, self.bucket)
    }

    fn strange(&self, call: &str, what: &str) -> StoreError {
        StoreError::new(Class::Invalid, call, self.on()).because(what.to_owned())
    }

    fn prefix(&self) -> Option<String> {
        (!self.prefix.is_empty()).then(|| self.prefix.to_owned())
    }

    /// The first objects behind a key, at most `most`.
    pub(in crate::stores::s3) async fn objects(&self, after: Option<&str>, most: i32) -> Result<Page, StoreError> {
        let call = "ListObjectsV2";
        let mut page = Page::default();
        let mut token: Option<String> = None;
        loop {
            let request = self
                .client
                .list_objects_v2()
                .bucket(self.bucket)
                .set_prefix(self.prefix())
                .encoding_type(EncodingType::Url)
                .max_keys(most);
            let request = match &token {
                Some(token) => request.continuation_token(token),
                None => request.set_start_after(after.map(str::to_owned)),
            };
            let answer = request.send().await.map_err(|e| StoreError::of_call(&e, false, call, &self.on()))?;
            let encoded = answer.encoding_type() == Some(&EncodingType::Url);
            for object in answer.contents() {
                let entry =
                    object_entry(object, encoded).ok_or_else(|| self.strange(call, "an object without a key"))?;
                page.entries.push(entry);
            }
            page.ended = !answer.is_truncated().unwrap_or(false);
            // A page without objects and with more behind it: what was deleted there is still being swept away.
            if page.ended || !page.entries.is_empty() {
                break;
            }
            let next = answer.next_continuation_token().map(str::to_owned);
            if next.is_none() || next == token {
                return Err(self.strange(call, "an empty page that says there is more, and not where"));
            }
            token = next;
        }
        self.in_order(call, &page, after)?;
        Ok(page)
    }

    /// The first keys behind a key, each with all of its versions.
    pub(in crate::stores::s3) async fn versions(&self, after: Option<&str>) -> Result<Page, StoreError> {
        let call = "ListObjectVersions";
        let mut gathered = Gathered { after: after.map(|after| after.as_bytes().to_vec()), ..Gathered::default() };
        let (mut key_marker, mut version_marker) = (after.map(str::to_owned), None::<String>);
        loop {
            let request = self
                .client
                .list_object_versions()
                .bucket(self.bucket)
                .set_prefix(self.prefix())
                .encoding_type(EncodingType::Url)
                .set_key_marker(key_marker.clone())
                .set_version_id_marker(version_marker.clone())
                .max_keys(PAGE);
            let answer = request.send().await.map_err(|e| StoreError::of_call(&e, false, call, &self.on()))?;
            let encoded = answer.encoding_type() == Some(&EncodingType::Url);
            let key = |key: Option<&str>| Some(decoded(key?, encoded));
            for version in answer.versions() {
                let key = key(version.key()).ok_or_else(|| self.strange(call, "a version without a key"))?;
                gathered.add(
                    key,
                    Version {
                        id: version.version_id().unwrap_or("null").to_owned(),
                        marker: false,
                        latest: version.is_latest().unwrap_or(false),
                        etag: bare(version.e_tag().unwrap_or_default()).to_owned(),
                        size: u64::try_from(version.size().unwrap_or(0)).unwrap_or(0),
                        modified: instant(version.last_modified()),
                    },
                );
            }
            for marker in answer.delete_markers() {
                let key = key(marker.key()).ok_or_else(|| self.strange(call, "a delete marker without a key"))?;
                gathered.add(
                    key,
                    Version {
                        id: marker.version_id().unwrap_or("null").to_owned(),
                        marker: true,
                        latest: marker.is_latest().unwrap_or(false),
                        etag: String::new(),
                        size: 0,
                        modified: instant(marker.last_modified()),
                    },
                );
            }
            if !answer.is_truncated().unwrap_or(false) {
                gathered.ended = true;
                break;
            }
            // The last key may have more: a page ends with a key that is whole.
            if gathered.keys.len() > 1 {
                break;
            }
            let next = key(answer.next_key_marker()).and_then(|key| String::from_utf8(key.0.to_vec()).ok());
            let next = (next, answer.next_version_id_marker().map(str::to_owned));
            if next.0.is_none() || next == (key_marker.clone(), version_marker.clone()) {
                return Err(self.strange(call, "a page that says there is more, and not where"));
            }
            (key_marker, version_marker) = next;
        }
        let page = gathered.page();
        self.in_order(call, &page, after)?;
        Ok(page)
    }

    fn in_order(&self, call: &str, page: &Page, after: Option<&str>) -> Result<(), StoreError> {
        let mut last = after.map(str::as_bytes);
        for entry in &page.entries {
            if last.is_some_and(|last| last >= &entry.key.0[..]) {
                return Err(self.strange(call, "keys that are not in the order of their bytes").hint(
                    "the buckets must list their keys in order: general purpose buckets do, directory buckets do not",
                ));
            }
            last = Some(&entry.key.0);
        }
        Ok(())
    }
}

/// Versions and delete markers, which come in two lists, each in the order of the keys.
#[derive(Default)]
struct Gathered {
    /// Whether a marker's own key comes once more is nowhere said beyond doubt: it is left out.
    after: Option<Vec<u8>>,
    keys: BTreeMap<Key, Versions>,
    ended: bool,
}

impl Gathered {
    fn add(&mut self, key: Key, version: Version) {
        if self.after.as_ref().is_some_and(|after| &key.0[..] <= after.as_slice()) {
            return;
        }
        let versions = self.keys.entry(key).or_default();
        if versions.all.len() >= MOST_VERSIONS {
            versions.cut = true;
        } else {
            versions.all.push(version);
        }
    }

    fn page(mut self) -> Page {
        // The last key goes on in the next page. One that is alone is whole: pages were read until another began.
        if !self.ended && self.keys.len() > 1 {
            self.keys.pop_last();
        }
        let entries = self.keys.into_iter().map(|(key, mut versions)| {
            // Stable: of one second each list keeps its own order, and the latest of all is marked.
            versions.all.sort_by_key(|version| (!version.latest, std::cmp::Reverse(version.modified)));
            let newest = versions.all.first();
            let current = newest.filter(|newest| newest.latest && !newest.marker).map(|newest| Current {
                etag: newest.etag.clone(),
                size: newest.size,
                modified: newest.modified,
            });
            Entry { key, current, modified: newest.and_then(|newest| newest.modified), versions: Some(versions) }
        });
        Page { entries: entries.collect(), ended: self.ended }
    }
}

fn object_entry(object: &Object, encoded: bool) -> Option<Entry> {
    let current = Current {
        etag: bare(object.e_tag().unwrap_or_default()).to_owned(),
        size: u64::try_from(object.size().unwrap_or(0)).unwrap_or(0),
        modified: instant(object.last_modified()),
    };
    Some(Entry {
        key: decoded(object.key()?, encoded),
        modified: current.modified,
        current: Some(current),
        versions: None,
    })
}

fn instant(at: Option<&DateTime>) -> Option<SourceTime> {
    at?.to_millis().ok().map(SourceTime)
}

/// A key as it is; in URL encoding a `+` is a space.
pub(in crate::stores::s3) fn decoded(text: &str, encoded: bool) -> Key {
    if !encoded {
        return Key(text.as_bytes().to_vec().into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        (bytes, rest) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let byte = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                bytes.push(byte);
                (bytes, tail)
            }
            (b'+', tail) => {
                bytes.push(b' ');
                (bytes, tail)
            }
            (other, tail) => {
                bytes.push(*other);
                (bytes, tail)
            }
        };
    }
    Key(bytes.into())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, secs: i64, latest: bool, marker: bool) -> Version {
        let etag = if marker { String::new() } else { format!("e{id}") };
        Version { id: id.into(), marker, latest, etag, size: 1, modified: Some(SourceTime::from_secs(secs)) }
    }

    fn key(text: &str) -> Key {
        Key(text.as_bytes().to_vec().into())
    }

    #[test]
    fn every_character_of_a_key_comes_through() {
        for (text, is) in [
            ("a+b%2Bc", "a b+c"),
            ("%E2%82%AC%0A%01%00", "€\n\u{1}\0"),
            ("a%20b/c", "a b/c"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("", ""),
        ] {
            assert_eq!(decoded(text, true), key(is), "{text}");
        }
        assert_eq!(decoded("a+b%2B", false), key("a+b%2B"));
    }

    #[test]
    fn a_page_of_versions_ends_with_a_key_that_is_whole() {
        let gather = |ended, after: Option<Vec<u8>>| {
            let mut gathered = Gathered { ended, after, ..Gathered::default() };
            gathered.add(key("a"), version("1", 10, false, false));
            gathered.add(key("b"), version("3", 30, true, false));
            gathered.add(key("a"), version("2", 20, true, true));
            gathered
        };
        let page = gather(false, None).page();
        assert_eq!(page.entries.iter().map(|e| e.key.clone()).collect::<Vec<_>>(), [key("a")]);
        assert_eq!(page.reach(), Some(&key("a")));
        assert!(page.entries[0].current.is_none(), "a delete marker is current");
        assert_eq!(page.entries[0].versions.as_ref().map(|v| v.all[0].id.as_str()), Some("2"), "the newest first");
        assert_eq!(gather(true, None).page().entries.len(), 2);
        let behind = gather(true, Some(b"a".to_vec())).page();
        assert_eq!((behind.entries.len(), behind.reach()), (1, None));
        assert_eq!(behind.entries[0].current.as_ref().map(|c| c.etag.as_str()), Some("e3"));
    }

    #[test]
    fn of_a_key_with_too_many_versions_no_more_is_kept() {
        let mut gathered = Gathered { ended: true, ..Gathered::default() };
        for n in 0..=MOST_VERSIONS {
            gathered.add(key("a"), version(&n.to_string(), 10, n == 0, false));
        }
        let page = gathered.page();
        let versions = page.entries[0].versions.as_ref().unwrap();
        assert!(versions.cut && versions.all.len() == MOST_VERSIONS);
    }
}
