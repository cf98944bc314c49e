//! All versions of an object, in the order of the source (S3-4).
//!
//! Each version that the standby does not have is copied on top of what is there, oldest first; a delete marker becomes a
//! delete marker. What comes late, below one that was copied already, cannot be put there: it is copied, and the newest once
//! more on top of it. A version that is removed for good in the source stays in the standby, as with S3's own replication:
//! whoever can destroy the history of one region must not destroy that of both. Only what is current follows.
//!
//! What is beside the bytes is looked at anew for the newest version only: an event names the key, and to look at all would cost
//! a request each.
//!
//! Which version became which is remembered, the newest thousand; without that memory both lists are laid side by side.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Bucket;
use super::copy::Onto;
use super::keys::unquoted;
use super::known::{Known, Mark, Pair, bare};
use super::look::End;
use super::multipart::Work;
use super::object::{Beside, Object, instant};
use super::refusal::Stop;
use super::same::{digest, same_bytes};
use super::versions::{Again, REMEMBERED, Version, aligned, in_doubt, label, remembered, todo};
use crate::change::{Class, Key};
use crate::stores::StoreError;
use crate::stores::converge::{Did, Notebook, Same, Spot};

/// What stands for a version of the standby where there is none: it is excluded by configuration.
const NOWHERE: &str = "";

/// Where a listing of versions goes on: a key, and a version of it.
type Marker = (String, Option<String>);

/// The note of the work under way on all versions of a key. Durable: fields keep their meaning.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Chapter {
    /// Digest of what was known of the key when this was begun. What was settled since makes it void: its row is deleted with
    /// the next commit, and until then it can still be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    /// What was copied already.
    versions: Vec<Pair>,
    /// The note of the copy in parts of one of them.
    part: Option<Value>,
}

/// The notebook of one key's versions: a copy in parts finds its note within theirs.
struct Chapters<'a> {
    notebook: &'a dyn Notebook,
    chapter: Mutex<Chapter>,
}

/// What one look at all versions has done.
struct Passed {
    settled: Same,
    /// The last version that was copied, what was made of it, and what is beside it; nothing if that was a delete marker.
    last: Option<(Object, Mark, Beside)>,
    /// Which version became which.
    pairs: Vec<Pair>,
}

#[async_trait]
impl Notebook for Chapters<'_> {
    fn known(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        self.notebook.known(key)
    }

    fn known_after(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, Value)>, StoreError> {
        self.notebook.known_after(after, most)
    }

    fn work(&self, _: &Key) -> Result<Option<Value>, StoreError> {
        Ok(self.chapter.lock().unwrap_or_else(PoisonError::into_inner).part.clone())
    }

    async fn note_work(&self, key: &Key, work: Value) -> Result<(), StoreError> {
        self.chapter.lock().unwrap_or_else(PoisonError::into_inner).part = Some(work);
        self.note(key).await
    }
}

impl Chapters<'_> {
    async fn note(&self, key: &Key) -> Result<(), StoreError> {
        let chapter = self.chapter.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let body = serde_json::to_value(chapter)
            .map_err(|error| StoreError::new(Class::Invalid, "the note of a copy", "the index").because(error))?;
        self.notebook.note_work(key, body).await
    }

    fn copied(&self, versions: &[Pair]) {
        let mut chapter = self.chapter.lock().unwrap_or_else(PoisonError::into_inner);
        let from = versions.len().saturating_sub(REMEMBERED);
        (chapter.versions, chapter.part) = (versions.get(from..).unwrap_or_default().to_vec(), None);
    }
}

impl Bucket {
    /// Makes all versions of one object the same.
    pub(super) async fn settle_versions(&self, spot: Spot<'_>, name: &str) -> Result<Same, Stop> {
        let target = self.head(End::Target, spot.key, name, None).await?;
        let source = self.versions_of(End::Source, spot.key, name).await?;
        let base = spot.notebook.known(spot.key)?.as_ref().map(digest);
        let noted: Option<Chapter> = spot.notebook.work(spot.key)?.and_then(|body| Chapter::deserialize(body).ok());
        let noted = noted.filter(|noted| base.is_none() || noted.base == base);
        let Some(newest) = source.last() else {
            self.surely_gone(spot.key, name).await?;
            self.give_up_part(name, noted.and_then(|noted| noted.part)).await;
            let Some(target) = target else { return Ok(Same::default()) };
            self.remove(spot.key, name, &target.mark).await?;
            return Ok(Same { did: Did::Removed, ..Same::default() });
        };
        let known = match spot.afresh {
            true => None,
            false => spot.notebook.known(spot.key)?.as_ref().and_then(Known::read).filter(|k| !k.versions.is_empty()),
        };
        let chapter = match (noted, &known) {
            (Some(noted), _) if !spot.afresh => noted,
            (noted, Some(known)) => {
                Chapter { base, versions: known.versions.clone(), part: noted.and_then(|n| n.part) }
            }
            (noted, None) => {
                let versions = self.side_by_side_versions(spot, name, &source).await?;
                Chapter { base, versions, part: noted.and_then(|n| n.part) }
            }
        };
        let pairs = chapter.versions.clone();
        let chapters = Chapters { notebook: spot.notebook, chapter: Mutex::new(chapter) };
        let within = Spot { notebook: &chapters, ..spot };

        let current = target.as_ref().and_then(|target| target.mark.version.as_deref());
        let todo = todo(&source, &pairs, target.is_some(), current);
        let again = (todo.again != Again::No).then_some(newest);
        let order: Vec<&Version> = todo.missing.iter().copied().chain(again).collect();
        // Parts of a version that is not the next one are of no use.
        let part = within.notebook.work(spot.key)?;
        let next = order.first().filter(|next| !next.marker);
        if Work::read(part.clone()).is_some_and(|work| !next.is_some_and(|next| work.is_of(&next.mark))) {
            self.give_up_part(name, part).await;
        }
        let mut onto = Onto::of(target.as_ref());
        let settled = Same { made_at: newest.mark.modified, ..Same::default() };
        let mut passed = Passed { settled, last: None, pairs };
        let mut refused = None;
        for (step, version) in order.iter().copied().enumerate() {
            let on_top = step == todo.missing.len();
            if on_top && todo.again == Again::IfCovered && passed.settled.did == Did::Nothing {
                break;
            }
            // The first is noted by being settled, as a rule; of very many each note would be too dear.
            if step > 0 && (step < 32 || step % 16 == 0) {
                chapters.note(spot.key).await?;
            }
            if version.marker {
                let made = self.mark_deleted(spot.key, name, &onto).await?;
                passed.pairs.push(Pair { source: label(version), target: made });
                (onto, passed.last, passed.settled.did) = (Onto::Nothing, None, Did::Removed);
            } else {
                let id = version.mark.version.as_deref();
                let object = self.head(End::Source, spot.key, name, id).await?.ok_or(Stop::Again)?;
                if label(version) != label(&Version { mark: object.mark.clone(), marker: false }) {
                    return Err(Stop::Again);
                }
                let beside = self.beside(End::Source, spot.key, name, &object).await?;
                match self.carry_over(within, name, &object, &beside, &onto).await {
                    Ok(written) => {
                        let made = written.mark.version.clone().ok_or_else(|| self.not_versioned(spot.key))?;
                        passed.pairs.push(Pair { source: label(version), target: made });
                        onto = Onto::Object(written.mark.etag.clone());
                        passed.settled.did = written.did;
                        passed.settled.bytes += object.mark.size;
                        passed.last = Some((object, written.mark, beside));
                    }
                    Err(Stop::Refused(refusal)) if refusal.excluded && version != newest => {
                        passed.pairs.push(Pair { source: label(version), target: NOWHERE.to_owned() });
                    }
                    // The newer ones need not wait for it; the key is not the same until it is dealt with.
                    Err(Stop::Refused(refusal)) => refused = Some(refusal),
                    Err(stop) => return Err(stop),
                }
            }
            chapters.copied(&passed.pairs);
        }
        if let Some(refusal) = refused {
            chapters.note(spot.key).await?;
            return Err(Stop::Refused(refusal));
        }
        passed.pairs = remembered(&source, passed.pairs);
        if passed.settled.did != Did::Nothing
            && self.newest_of(spot.key, name).await?.as_ref().map(label) != Some(label(newest))
        {
            chapters.note(spot.key).await?;
            return Err(Stop::Again);
        }
        self.known_of_versions(spot, name, newest, (known, target), passed).await
    }

    /// Gives up the upload of a version that is not to be copied any more.
    async fn give_up_part(&self, name: &str, part: Option<Value>) {
        if let Some(upload) = Work::read(part).as_ref().and_then(Work::upload) {
            self.give_up(name, upload).await;
        }
    }

    /// What is left to know, once what is current is the same.
    async fn known_of_versions(
        &self,
        spot: Spot<'_>,
        name: &str,
        newest: &Version,
        (known, target): (Option<Known>, Option<Object>),
        passed: Passed,
    ) -> Result<Same, Stop> {
        let Passed { settled, last, pairs } = passed;
        let end = |known: Option<Known>, settled: Same| {
            let known = known.map(|known| Known { versions: pairs, deleted: newest.marker, ..known });
            Same { known: known.and_then(|known| known.written()), ..settled }
        };
        if newest.marker {
            let marked = known.unwrap_or(Known {
                source: Mark::default(),
                target: Mark::default(),
                headers: String::new(),
                beside: String::new(),
                versions: Vec::new(),
                deleted: true,
            });
            return Ok(end(Some(marked), settled));
        }
        let (of, settled) = match (last, target) {
            (Some((object, written, beside)), _) => {
                (self.same(&object, written, &beside, settled.did, settled.bytes), settled)
            }
            // Nothing was copied: what is beside the bytes of the newest may differ.
            (None, Some(target)) => {
                let id = newest.mark.version.as_deref();
                let object = self.head(End::Source, spot.key, name, id).await?.ok_or(Stop::Again)?;
                let of = self.dress_again(spot, name, &object, &target, known.as_ref()).await?;
                let did = if of.did == Did::Nothing { settled.did } else { of.did };
                (of, Same { did, ..settled })
            }
            (None, None) => return Err(Stop::Again),
        };
        Ok(end(of.known.as_ref().and_then(Known::read), settled))
    }

    /// The versions of a key, oldest first, in pages.
    pub(super) async fn versions_of(&self, end: End, key: &Key, name: &str) -> Result<Vec<Version>, Stop> {
        let mut all = Vec::new();
        let mut after: Option<Marker> = None;
        loop {
            let (page, mut next) = self.page_of_versions(end, key, name, after.clone(), None).await?;
            if in_doubt(&page) {
                // One by one they come in their order, which an answer with several does not tell.
                for _ in 0..page.len() {
                    let (one, then) = self.page_of_versions(end, key, name, after, Some(1)).await?;
                    all.extend(one);
                    (after, next) = (then.clone(), then);
                    if next.is_none() {
                        break;
                    }
                }
            } else {
                all.extend(page);
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        all.reverse();
        Ok(all)
    }

    async fn newest_of(&self, key: &Key, name: &str) -> Result<Option<Version>, Stop> {
        Ok(self.page_of_versions(End::Source, key, name, None, Some(2)).await?.0.into_iter().next())
    }

    /// One page, newest first, and where the next one begins if there may be more of this key.
    async fn page_of_versions(
        &self,
        end: End,
        key: &Key,
        name: &str,
        after: Option<Marker>,
        most: Option<i32>,
    ) -> Result<(Vec<Version>, Option<Marker>), Stop> {
        let (client, bucket) = self.end(end);
        let (key_marker, version_marker) = after.unzip();
        let page = client
            .list_object_versions()
            .bucket(bucket)
            .prefix(name)
            // A key may hold what XML cannot.
            .encoding_type(aws_sdk_s3::types::EncodingType::Url)
            .set_key_marker(key_marker)
            .set_version_id_marker(version_marker.flatten())
            .set_max_keys(most)
            .send()
            .await
            .map_err(|error| self.failed(&error, false, "ListObjectVersions", key))?;
        let ours = |theirs: Option<&str>| theirs.is_some_and(|theirs| unquoted(theirs) == name.as_bytes());
        let objects = page.versions().iter().filter(|v| ours(v.key())).map(|v| {
            let mark = Mark {
                etag: bare(v.e_tag().unwrap_or_default()).to_owned(),
                version: v.version_id().map(str::to_owned),
                size: v.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                modified: instant(v.last_modified()),
            };
            (v.is_latest() == Some(true), Version { mark, marker: false })
        });
        let markers = page.delete_markers().iter().filter(|m| ours(m.key())).map(|m| {
            let version = m.version_id().map(str::to_owned);
            let mark = Mark { version, modified: instant(m.last_modified()), ..Mark::default() };
            (m.is_latest() == Some(true), Version { mark, marker: true })
        });
        // The SDK gives objects and markers of a page apart, each newest first: their times put them together again, and which
        // is the latest is told. Of others of one moment nobody knows (`in_doubt`).
        let mut all: Vec<_> = objects.chain(markers).collect();
        all.sort_by_key(|(latest, version)| (std::cmp::Reverse(*latest), std::cmp::Reverse(version.mark.modified)));
        let more = page.is_truncated() == Some(true) && ours(page.next_key_marker());
        let next = page.next_key_marker().filter(|_| more);
        let next = next.map(|_| (name.to_owned(), page.next_version_id_marker().map(str::to_owned)));
        Ok((all.into_iter().map(|(_, version)| version).collect(), next))
    }

    /// Which of the standby's versions are the source's, by what both lists and, if need be, HEAD say.
    async fn side_by_side_versions(&self, spot: Spot<'_>, name: &str, source: &[Version]) -> Result<Vec<Pair>, Stop> {
        let target = self.versions_of(End::Target, spot.key, name).await?;
        let mut looked = BTreeMap::new();
        let mut same = BTreeSet::new();
        for one in source.iter().filter(|v| !v.marker) {
            for other in target.iter().filter(|v| !v.marker && v.mark.size == one.mark.size) {
                let alike = match one.mark.etag == other.mark.etag {
                    true => true,
                    false => {
                        // Each is looked at once: there may be very many of one size.
                        for (end, version) in [(End::Source, one), (End::Target, other)] {
                            let place = (end == End::Source, label(version));
                            if let Entry::Vacant(unseen) = looked.entry(place) {
                                let id = version.mark.version.as_deref();
                                unseen.insert(self.head(end, spot.key, name, id).await?);
                            }
                        }
                        let both = (looked.get(&(true, label(one))), looked.get(&(false, label(other))));
                        matches!(both, (Some(Some(a)), Some(Some(b))) if same_bytes(a, b) == Some(true))
                    }
                };
                if alike {
                    same.insert((label(one), label(other)));
                }
            }
        }
        Ok(aligned(source, &target, |one, other| same.contains(&(label(one), label(other)))))
    }

    /// Writes a delete marker on what was read; gives its version.
    async fn mark_deleted(&self, key: &Key, name: &str, onto: &Onto) -> Result<String, Stop> {
        let request = self.target.delete_object().bucket(&self.settings.standby_bucket).key(name);
        let answer = request
            .set_if_match(onto.if_match())
            .send()
            .await
            .map_err(|error| self.failed(&error, true, "DeleteObject", key))?;
        answer.version_id().map(str::to_owned).ok_or_else(|| self.not_versioned(key))
    }

    fn not_versioned(&self, key: &Key) -> Stop {
        let error = StoreError::new(Class::Invalid, "copying versions", self.on(key));
        Stop::Failed(error.hint("switch versioning on in the standby bucket, or set versions = \"current\""))
    }
}
