//! One bucket: its versions, its changes in the order of commit, and the events that tell of them. No HTTP.
//!
//! Invariants: the last version of a key is its current one; every committed change is in the history with the state that
//! it left as current, and in that order the events are handed to the event path.

use super::events::ObjectEvent;
use super::object::{Description, NULL_VERSION, ObjectView, Stored, Version, VersionView};
use super::path::EventPath;
use super::uploads::Upload;
use crate::scripted::model::error::AwsError;
use crate::scripted::rng::mix;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

/// Whether a bucket keeps old versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versioning {
    /// It never did.
    #[default]
    Off,
    /// It does.
    On,
    /// It did; new writes are the null version.
    Suspended,
}

/// What a bucket does that a test may want otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketQuirks {
    /// The least size of a part that is not the last: 5 MiB on AWS.
    pub min_part: u64,
    /// The largest source of CopyObject and of one UploadPartCopy: 5 GiB on AWS.
    pub max_copy: u64,
    /// The most parts of an upload: 10,000 on AWS.
    pub max_parts: u32,
    /// The status of a conditional DELETE of a key that does not exist: 404 or 412.
    pub missing_conditional_delete: u16,
    /// The most keys of a page of a listing: 1,000 on AWS.
    pub page: usize,
    /// Changes that are undone by the next one in the history are kept: a long bench may not want it.
    pub keep_history: bool,
}

impl Default for BucketQuirks {
    fn default() -> Self {
        Self {
            min_part: 5 << 20,
            max_copy: 5 << 30,
            max_parts: 10_000,
            missing_conditional_delete: 404,
            page: 1000,
            keep_history: true,
        }
    }
}

/// A committed change of a bucket.
#[derive(Debug, Clone)]
pub struct ObjectChange {
    /// 1 for the first change of the bucket, then counting up.
    pub number: u64,
    /// When, the server's clock.
    pub at: SystemTime,
    /// Of which key.
    pub key: Arc<str>,
    /// What it was, as an event names it: `ObjectCreated:Put`. A change without an event on AWS has a name of its own.
    pub event: &'static str,
    /// Which version it was about.
    pub version_id: Arc<str>,
    /// What a reader without a version id finds from now on; `None`: nothing.
    pub state: Option<Arc<ObjectView>>,
}

/// What a removal did.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// The version that was removed, or the marker that was made.
    pub(super) version_id: Option<Arc<str>>,
    /// It is, or was, a delete marker.
    pub(super) marker: bool,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: Arc<str>,
    pub(super) region: Arc<str>,
    pub(super) created: SystemTime,
    pub(super) versioning: Versioning,
    pub(super) objects: BTreeMap<Arc<str>, Vec<Version>>,
    pub(super) uploads: BTreeMap<String, Upload>,
    /// The documents of its configuration by sub-resource: "lifecycle" and the XML that was put.
    pub(super) documents: HashMap<&'static str, String>,
    pub(super) quirks: BucketQuirks,
    pub(super) path: Option<EventPath>,
    history: Vec<Arc<ObjectChange>>,
    changes: u64,
    seed: u64,
}

impl Bucket {
    pub(super) fn new(name: &str, region: &str, seed: u64, now: SystemTime) -> Self {
        Self {
            name: name.into(),
            region: region.into(),
            created: now,
            versioning: Versioning::Off,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            documents: HashMap::new(),
            quirks: BucketQuirks::default(),
            path: None,
            history: Vec::new(),
            changes: 0,
            seed,
        }
    }

    /// An id of 32 characters that is never given twice.
    pub(super) fn fresh_id(&mut self, salt: u64) -> String {
        self.changes += 1;
        let (a, b) = (mix(self.seed ^ mix(self.changes ^ salt)), mix(!self.seed ^ self.changes.wrapping_mul(salt | 1)));
        format!("{a:016x}{b:016x}")
    }

    /// What a reader finds without a version id.
    pub(super) fn current(&self, key: &str) -> Option<&Version> {
        self.objects.get(key)?.last()
    }

    /// What a reader without a version id finds, unless it is a delete marker.
    pub(super) fn current_stored(&self, key: &str) -> Option<&Arc<Stored>> {
        self.current(key)?.stored.as_ref()
    }

    /// The version that is asked for.
    ///
    /// # Errors
    /// 404, as AWS tells the two cases apart. A delete marker is given, not refused.
    pub(super) fn find(&self, key: &str, version_id: Option<&str>) -> Result<&Version, AwsError> {
        match version_id {
            None => self.current(key).ok_or_else(no_such_key),
            Some(id) => {
                let versions = self.objects.get(key).map_or(&[][..], Vec::as_slice);
                let found = versions.iter().find(|version| &*version.id == id);
                found.ok_or_else(|| AwsError::new(404, "NoSuchVersion", "The specified version does not exist."))
            }
        }
    }

    /// The version id that an answer names.
    pub(super) fn shown<'a>(&self, version: &'a Version) -> Option<&'a str> {
        (self.versioning != Versioning::Off || &*version.id != NULL_VERSION).then_some(&*version.id)
    }

    /// Stores a body under a key. Its version id.
    pub(super) fn put(&mut self, key: &str, stored: Arc<Stored>, event: &'static str, now: SystemTime) -> Version {
        let version = Version { id: self.next_version_id(), at: now, stored: Some(stored) };
        self.push(key, version.clone());
        self.committed(key, event, &version, now);
        version
    }

    fn next_version_id(&mut self) -> Arc<str> {
        match self.versioning {
            Versioning::On => self.fresh_id(1).into(),
            Versioning::Off | Versioning::Suspended => NULL_VERSION.into(),
        }
    }

    fn push(&mut self, key: &str, version: Version) {
        if let Some(versions) = self.objects.get_mut(key) {
            versions.retain(|old| *version.id != *NULL_VERSION || *old.id != *NULL_VERSION);
            versions.push(version);
        } else {
            self.objects.insert(key.into(), vec![version]);
        }
    }

    /// DELETE without a version id. `lifecycle`: by an expiration.
    pub(super) fn delete(&mut self, key: &str, lifecycle: bool, now: SystemTime) -> Removed {
        if self.versioning == Versioning::Off {
            let Some(version) = self.objects.remove(key).and_then(|mut versions| versions.pop()) else {
                return Removed::default();
            };
            let event = if lifecycle { "LifecycleExpiration:Delete" } else { "ObjectRemoved:Delete" };
            self.committed(key, event, &version, now);
            return Removed::default();
        }
        let marker = Version { id: self.next_version_id(), at: now, stored: None };
        self.push(key, marker.clone());
        let event =
            if lifecycle { "LifecycleExpiration:DeleteMarkerCreated" } else { "ObjectRemoved:DeleteMarkerCreated" };
        self.committed(key, event, &marker, now);
        Removed { version_id: Some(marker.id), marker: true }
    }

    /// DELETE of one version: for good, and the one before it becomes current.
    pub(super) fn delete_version(&mut self, key: &str, id: &str, now: SystemTime) -> Removed {
        let versions = self.objects.get_mut(key);
        let at = versions.as_ref().and_then(|versions| versions.iter().position(|version| &*version.id == id));
        let (Some(versions), Some(at)) = (versions, at) else {
            return Removed { version_id: Some(id.into()), marker: false };
        };
        let version = versions.remove(at);
        if versions.is_empty() {
            self.objects.remove(key);
        }
        self.committed(key, "ObjectRemoved:Delete", &version, now);
        Removed { marker: version.stored.is_none(), version_id: Some(version.id) }
    }

    /// Changes what is said about a version, in place.
    ///
    /// # Errors
    /// 404 when it does not exist, 405 when it is a delete marker.
    pub(super) fn describe(
        &mut self,
        key: &str,
        version_id: Option<&str>,
        event: &'static str,
        now: SystemTime,
        change: impl FnOnce(&mut Stored),
    ) -> Result<Version, AwsError> {
        let id = Arc::clone(&self.find(key, version_id)?.id);
        let versions = self.objects.get_mut(key).ok_or_else(no_such_key)?;
        let version = versions.iter_mut().find(|version| version.id == id).ok_or_else(no_such_key)?;
        let Some(stored) = &mut version.stored else {
            return Err(AwsError::new(
                405,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            ));
        };
        change(Arc::make_mut(stored));
        let version = version.clone();
        self.committed(key, event, &version, now);
        Ok(version)
    }

    /// Writes a change into the history and tells of it.
    fn committed(&mut self, key: &str, event: &'static str, version: &Version, now: SystemTime) {
        self.changes += 1;
        let number = self.changes;
        if self.quirks.keep_history {
            let state = self.current_stored(key).map(|stored| Arc::new(stored.view()));
            let change =
                ObjectChange { number, at: now, key: key.into(), event, version_id: Arc::clone(&version.id), state };
            self.history.push(Arc::new(change));
        }
        let version_id = self.shown(version).map(str::to_owned);
        // What has no event on AWS has a name without a colon.
        let Some(path) = self.path.as_ref().filter(|_| event.contains(':')) else { return };
        let created = event.starts_with("ObjectCreated");
        let stored = version.stored.as_ref();
        path.tell(ObjectEvent {
            number,
            name: event,
            at: now,
            region: Arc::clone(&self.region),
            bucket: Arc::clone(&self.name),
            key: key.into(),
            size: stored.filter(|_| created).map(|stored| stored.digest.size),
            etag: stored.filter(|_| !event.ends_with("Removed:Delete")).map(|stored| stored.etag.clone()),
            version_id,
        });
    }

    pub(super) fn history(&self) -> &[Arc<ObjectChange>] {
        &self.history
    }

    pub(super) fn clear_history(&mut self) {
        self.history.clear();
    }

    /// The current objects.
    pub(super) fn snapshot(&self) -> BTreeMap<String, ObjectView> {
        let current = |versions: &Vec<Version>| versions.last().and_then(|version| version.stored.clone());
        let objects = self.objects.iter().filter_map(|(key, versions)| Some((key, current(versions)?)));
        objects.map(|(key, stored)| (key.to_string(), stored.view())).collect()
    }

    /// The versions of a key, the oldest first.
    pub(super) fn versions(&self, key: &str) -> Vec<VersionView> {
        let view = |version: &Version| VersionView {
            id: version.id.to_string(),
            at: version.at,
            object: version.stored.as_ref().map(|stored| stored.view()),
        };
        self.objects.get(key).map(|versions| versions.iter().map(view).collect()).unwrap_or_default()
    }

    /// How objects are encrypted that name nothing themselves.
    pub(super) fn encrypt_by_default(&self, about: &mut Description) {
        if !about.encryption.algorithm.is_empty() || about.encryption.customer_key.is_some() {
            return;
        }
        let document = self.documents.get("encryption").map(String::as_str).unwrap_or_default();
        let within = |tag: &str| super::xml::first(document, tag);
        about.encryption.algorithm = within("SSEAlgorithm").unwrap_or_else(|| "AES256".to_owned());
        about.encryption.kms_key = within("KMSMasterKeyID");
        about.encryption.bucket_key = within("BucketKeyEnabled").as_deref() == Some("true");
    }
}

pub(super) fn no_such_key() -> AwsError {
    AwsError::new(404, "NoSuchKey", "The specified key does not exist.")
}
