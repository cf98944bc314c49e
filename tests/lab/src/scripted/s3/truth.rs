//! What a test reads of the buckets: contents, the history of changes, and two buckets compared.

use super::bucket::ObjectChange;
use super::control::S3;
use super::object::{ObjectView, VersionView};
use crate::scripted::ScriptedAws;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// What is compared of two objects besides their bytes, content headers and user metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compare {
    /// Tags.
    pub tags: bool,
    /// Storage class.
    pub class: bool,
    /// Access control lists.
    pub acl: bool,
    /// Retention and legal hold.
    pub lock: bool,
    /// Annotations.
    pub annotations: bool,
    /// How they are encrypted, but for the key.
    pub encryption: bool,
}

impl Default for Compare {
    /// Tags, class and encryption.
    fn default() -> Self {
        Self { tags: true, class: true, acl: false, lock: false, annotations: false, encryption: false }
    }
}

impl Compare {
    /// Whether two objects are the same. ETags, checksums, version ids and times are never looked at.
    pub fn same(self, a: &ObjectView, b: &ObjectView) -> bool {
        let (x, y) = (&a.about, &b.about);
        a.body == b.body
            && x.headers == y.headers
            && x.metadata == y.metadata
            && (!self.tags || x.tags == y.tags)
            && (!self.class || x.storage_class == y.storage_class)
            && (!self.acl || x.acl == y.acl)
            && (!self.lock || x.lock == y.lock)
            && (!self.annotations || x.annotations == y.annotations)
            && (!self.encryption || x.encryption.algorithm == y.encryption.algorithm)
    }
}

/// How two buckets differ in one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDifference {
    /// The key.
    pub key: String,
    /// What the one has.
    pub ours: Option<ObjectView>,
    /// What the other has.
    pub theirs: Option<ObjectView>,
}

/// Two buckets compared by their current objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketComparison {
    /// Keys that are the same.
    pub same: usize,
    /// Keys that are not, in their order.
    pub differences: Vec<ObjectDifference>,
}

impl BucketComparison {
    /// Nothing differs.
    pub fn equal(&self) -> bool {
        self.differences.is_empty()
    }
}

impl std::fmt::Display for BucketComparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} the same, {} not", self.same, self.differences.len())?;
        for difference in self.differences.iter().take(10) {
            let what = |object: &Option<ObjectView>| object.as_ref().map_or("nothing".to_owned(), |o| format!("{o:?}"));
            let (ours, theirs) = (what(&difference.ours), what(&difference.theirs));
            write!(f, "\n  {:?}: {ours}\n    there {theirs}", difference.key)?;
        }
        Ok(())
    }
}

impl S3<'_> {
    /// The current objects of a bucket.
    #[track_caller]
    pub fn snapshot(&self, bucket: &str) -> BTreeMap<String, ObjectView> {
        self.cell(bucket).lock().snapshot()
    }

    /// One object.
    #[track_caller]
    pub fn object(&self, bucket: &str, key: &str) -> Option<ObjectView> {
        self.cell(bucket).lock().current_stored(key).map(|stored| stored.view())
    }

    /// The bytes of an object: for small ones.
    #[track_caller]
    pub fn bytes(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let stored = self.cell(bucket).lock().current_stored(key).cloned()?;
        Some(stored.content.frames().collect::<Vec<_>>().concat().into())
    }

    /// The versions of a key, the oldest first, delete markers too.
    #[track_caller]
    pub fn versions(&self, bucket: &str, key: &str) -> Vec<VersionView> {
        self.cell(bucket).lock().versions(key)
    }

    /// How many keys have a current object.
    #[track_caller]
    pub fn count(&self, bucket: &str) -> usize {
        let cell = self.cell(bucket);
        let bucket = cell.lock();
        bucket
            .objects
            .values()
            .filter(|versions| versions.last().is_some_and(|version| version.stored.is_some()))
            .count()
    }

    /// The truth: every committed change of a bucket, in the order of commit.
    #[track_caller]
    pub fn history(&self, bucket: &str) -> Vec<Arc<ObjectChange>> {
        self.cell(bucket).lock().history().to_vec()
    }

    /// Empties the history of a bucket.
    #[track_caller]
    pub fn clear_history(&self, bucket: &str) {
        self.cell(bucket).lock().clear_history();
    }

    /// What a bucket held as of an instant, by its history: every change that was committed at or before it.
    #[track_caller]
    pub fn as_of(&self, bucket: &str, at: SystemTime) -> BTreeMap<String, Arc<ObjectView>> {
        let mut state = BTreeMap::new();
        for change in self.cell(bucket).lock().history().iter().filter(|change| change.at <= at) {
            match &change.state {
                Some(object) => drop(state.insert(change.key.to_string(), Arc::clone(object))),
                None => drop(state.remove(&*change.key)),
            }
        }
        state
    }

    /// Compares the current objects of a bucket with those of another one, of this server or of another.
    #[track_caller]
    pub fn compare(&self, bucket: &str, other: &ScriptedAws, theirs: &str, how: Compare) -> BucketComparison {
        let (ours, theirs) = (self.snapshot(bucket), other.s3().snapshot(theirs));
        let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let mut comparison = BucketComparison::default();
        for key in keys {
            let (a, b) = (ours.get(key), theirs.get(key));
            if a.zip(b).is_some_and(|(a, b)| how.same(a, b)) {
                comparison.same += 1;
            } else {
                let (ours, theirs) = (a.cloned(), b.cloned());
                comparison.differences.push(ObjectDifference { key: key.clone(), ours, theirs });
            }
        }
        comparison
    }
}
