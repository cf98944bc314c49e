//! What a test does to the buckets of a scripted server, past HTTP: make them, fill them, wire their events, look.

use super::bucket::{Bucket, BucketQuirks, Versioning};
use super::checksum::{Checksum, ChecksumAlgorithm};
use super::content::Content;
use super::events::ObjectEvent;
use super::object::{Description, Stored};
use super::path::{EventCounts, EventPath, EventRoute, EventTwist};
use super::{BucketCell, Space};
use crate::scripted::ScriptedAws;
use crate::scripted::faults::{FaultId, FaultRule};
use crate::scripted::rng::mix;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// The buckets of a scripted server, as a test handles them: [`ScriptedAws::s3`].
///
/// Methods that name a bucket or an object that does not exist panic: that is a mistake in the test.
pub struct S3<'a>(pub(in crate::scripted) &'a Arc<Space>);

/// An object that a test puts without HTTP.
#[derive(Debug, Clone)]
pub struct NewObject {
    content: Content,
    about: Description,
    checksum: Option<ChecksumAlgorithm>,
    parts: Vec<u64>,
}

impl NewObject {
    /// These bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::of(Content::of(vec![bytes.into()]))
    }

    /// An object of this size whose bytes nobody holds: they repeat a block made from the seed. All that is told of them
    /// (ranges, checksums, a GET) is true, so 5 GiB cost nothing.
    pub fn declared(size: u64, seed: u64) -> Self {
        Self::of(Content::declared(seed, size))
    }

    fn of(content: Content) -> Self {
        let mut about = Description { storage_class: "STANDARD".to_owned(), ..Description::default() };
        about.headers.insert("content-type".to_owned(), "binary/octet-stream".to_owned());
        Self { content, about, checksum: Some(ChecksumAlgorithm::Crc64Nvme), parts: Vec::new() }
    }

    /// Changes what is said about it.
    #[must_use]
    pub fn about(mut self, change: impl FnOnce(&mut Description)) -> Self {
        change(&mut self.about);
        self
    }

    /// With user metadata.
    #[must_use]
    pub fn metadata(self, name: &str, value: &str) -> Self {
        self.about(|about| drop(about.metadata.insert(name.to_owned(), value.to_owned())))
    }

    /// With a tag.
    #[must_use]
    pub fn tag(self, name: &str, value: &str) -> Self {
        self.about(|about| drop(about.tags.insert(name.to_owned(), value.to_owned())))
    }

    /// In this storage class: GLACIER and DEEP_ARCHIVE cannot be read.
    #[must_use]
    pub fn class(self, class: &str) -> Self {
        self.about(|about| class.clone_into(&mut about.storage_class))
    }

    /// With a checksum of this kind, or with none, as objects have that are older than S3's default one.
    #[must_use]
    pub fn checksum(mut self, algorithm: Option<ChecksumAlgorithm>) -> Self {
        self.checksum = algorithm;
        self
    }

    /// As if it had been uploaded in parts of these sizes, whose sum is its size.
    #[must_use]
    pub fn parts(mut self, sizes: &[u64]) -> Self {
        assert_eq!(sizes.iter().sum::<u64>(), self.content.len(), "the parts are the object");
        self.parts = sizes.to_vec();
        self
    }

    fn stored(self, bucket: &Bucket, now: std::time::SystemTime) -> Stored {
        let mut about = self.about;
        bucket.encrypt_by_default(&mut about);
        let digest = self.content.digest();
        let mut stored = Stored {
            etag: digest.etag(),
            digest,
            checksum: self.checksum.map(|algorithm| Checksum::whole(algorithm, &self.content)),
            content: self.content,
            parts: Vec::new(),
            about,
            replication: None,
            restore: None,
        };
        if !self.parts.is_empty() {
            super::uploads::cut(&mut stored, &self.parts, self.checksum, now);
        }
        stored
    }
}

impl S3<'_> {
    #[track_caller]
    pub(super) fn cell(&self, bucket: &str) -> Arc<BucketCell> {
        self.0.find(bucket).unwrap_or_else(|| panic!("there is no bucket {bucket}"))
    }

    #[track_caller]
    fn path(&self, bucket: &str) -> EventPath {
        self.cell(bucket).lock().path.clone().unwrap_or_else(|| panic!("the events of {bucket} go nowhere"))
    }

    /// Makes a bucket.
    #[track_caller]
    pub fn create(&self, bucket: &str, versioning: Versioning) {
        match self.0.create(bucket) {
            Ok(cell) => cell.lock().versioning = versioning,
            Err(error) => panic!("{error}"),
        }
    }

    /// Turns the versions of a bucket on or off, also in ways that AWS does not allow.
    #[track_caller]
    pub fn set_versioning(&self, bucket: &str, versioning: Versioning) {
        self.cell(bucket).lock().versioning = versioning;
    }

    /// Lets copies into this server's buckets have those of `peer` as their source: CopyObject across regions. As on AWS,
    /// no two buckets of the two may have one name: a copy would read the one that is nearer.
    #[track_caller]
    pub fn see(&self, peer: &ScriptedAws) {
        let (ours, theirs) = (self.0.names(), peer.space.names());
        let twice = ours.iter().find(|name| theirs.contains(name));
        assert!(twice.is_none(), "both regions have a bucket {twice:?}: bucket names are global");
        let peer = Arc::downgrade(&peer.space);
        *self.0.peer.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(peer);
    }

    /// Copies can have no other server's buckets as their source: NoSuchBucket.
    pub fn see_nobody(&self) {
        *self.0.peer.write().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    /// Changes how awkward a bucket is.
    #[track_caller]
    pub fn quirks(&self, bucket: &str, change: impl FnOnce(&mut BucketQuirks)) {
        change(&mut self.cell(bucket).lock().quirks);
    }

    /// Puts a document of a bucket's configuration ("lifecycle", "notification", ...) as XML, or takes it away.
    #[track_caller]
    pub fn set_document(&self, bucket: &str, resource: &'static str, xml: Option<&str>) {
        let cell = self.cell(bucket);
        let mut bucket = cell.lock();
        match xml {
            Some(xml) => drop(bucket.documents.insert(resource, xml.to_owned())),
            None => drop(bucket.documents.remove(resource)),
        }
    }

    /// Puts an object, with its event. Its version id.
    #[track_caller]
    pub fn put(&self, bucket: &str, key: &str, object: NewObject) -> String {
        let cell = self.cell(bucket);
        let mut bucket = cell.lock();
        let now = self.0.region.now();
        let multipart = !object.parts.is_empty();
        let stored = object.stored(&bucket, now);
        let event = if multipart { "ObjectCreated:CompleteMultipartUpload" } else { "ObjectCreated:Put" };
        bucket.put(key, Arc::new(stored), event, now).id.to_string()
    }

    /// Puts `count` objects of `size` bytes under `prefix` and a number of seven digits: no events, no history, and the
    /// bytes are held once. For buckets of a million keys.
    #[track_caller]
    pub fn load(&self, bucket: &str, prefix: &str, count: usize, size: u64) {
        let cell = self.cell(bucket);
        let mut bucket = cell.lock();
        let stored = Arc::new(NewObject::declared(size, mix(size)).stored(&bucket, self.0.region.now()));
        let (path, keep) = (bucket.path.take(), bucket.quirks.keep_history);
        bucket.quirks.keep_history = false;
        for number in 0..count {
            bucket.put(&format!("{prefix}{number:07}"), Arc::clone(&stored), "ObjectCreated:Put", self.0.region.now());
        }
        bucket.path = path;
        bucket.quirks.keep_history = keep;
    }

    /// Deletes an object as a DELETE without a version id does.
    #[track_caller]
    pub fn delete(&self, bucket: &str, key: &str) {
        self.cell(bucket).lock().delete(key, false, self.0.region.now());
    }

    /// Deletes a version for good.
    #[track_caller]
    pub fn delete_version(&self, bucket: &str, key: &str, version_id: &str) {
        self.cell(bucket).lock().delete_version(key, version_id, self.0.region.now());
    }

    /// Lets an object expire: LifecycleExpiration tells of it, not ObjectRemoved.
    #[track_caller]
    pub fn expire(&self, bucket: &str, key: &str) {
        self.cell(bucket).lock().delete(key, true, self.0.region.now());
    }

    #[track_caller]
    fn describe(&self, bucket: &str, key: &str, event: &'static str, change: impl FnOnce(&mut Stored)) {
        let cell = self.cell(bucket);
        let described = cell.lock().describe(key, None, event, self.0.region.now(), change);
        described.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Changes what is said about the current version of an object, without an event: only a walk finds it.
    #[track_caller]
    pub fn change_silently(&self, bucket: &str, key: &str, change: impl FnOnce(&mut Description)) {
        self.describe(bucket, key, "Silent", |stored| change(&mut stored.about));
    }

    /// Sets what `x-amz-replication-status` says: PENDING, COMPLETED, FAILED, REPLICA. No event.
    #[track_caller]
    pub fn set_replication(&self, bucket: &str, key: &str, status: Option<&str>) {
        self.describe(bucket, key, "Replication", |stored| stored.replication = status.map(str::to_owned));
    }

    /// Moves an object to another storage class, as a lifecycle transition does: no event among those of S3-F6.
    #[track_caller]
    pub fn transition(&self, bucket: &str, key: &str, class: &str) {
        self.describe(bucket, key, "LifecycleTransition", |stored| class.clone_into(&mut stored.about.storage_class));
    }

    /// A restore is done: the object can be read, and an event tells of it.
    #[track_caller]
    pub fn finish_restore(&self, bucket: &str, key: &str) {
        let done = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2035 00:00:00 GMT\"";
        self.describe(bucket, key, "ObjectRestore:Completed", |stored| stored.restore = Some(done.to_owned()));
    }

    /// The same of a version that need not be the current one.
    #[track_caller]
    pub fn finish_restore_of(&self, bucket: &str, key: &str, version_id: &str) {
        let done = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2035 00:00:00 GMT\"";
        let (cell, now) = (self.cell(bucket), self.0.region.now());
        let restored = |stored: &mut Stored| stored.restore = Some(done.to_owned());
        let described = cell.lock().describe(key, Some(version_id), "ObjectRestore:Completed", now, restored);
        described.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Aborts every upload of a bucket, as a lifecycle rule does: NoSuchUpload from now on. How many.
    #[track_caller]
    pub fn abort_uploads(&self, bucket: &str) -> usize {
        let cell = self.cell(bucket);
        let mut bucket = cell.lock();
        std::mem::take(&mut bucket.uploads).len()
    }

    /// The uploads of a bucket that are under way: key and parts that are there.
    #[track_caller]
    pub fn uploads(&self, bucket: &str) -> Vec<(String, Vec<u32>)> {
        let cell = self.cell(bucket);
        let bucket = cell.lock();
        bucket.uploads.values().map(|upload| (upload.key.clone(), upload.parts.keys().copied().collect())).collect()
    }

    /// Tells the changes of a bucket to a queue of `to`, from now on: the way across the regions in one step. A bucket has
    /// one way; a new one takes the place of the old, and what was on that is lost.
    #[track_caller]
    pub fn send_events(&self, bucket: &str, to: &ScriptedAws, route: EventRoute) {
        let told = "<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>";
        self.set_document(bucket, "notification", Some(told));
        let cell = self.cell(bucket);
        let mut bucket = cell.lock();
        let (region, twists, desk) = (Arc::clone(&self.0.region), Arc::clone(&self.0.twists), Arc::clone(&to.desk));
        let path = EventPath::new(route, Arc::clone(&bucket.name), region, twists, desk);
        if let Some(old) = bucket.path.replace(path) {
            old.lose();
        }
    }

    /// Tells nobody any more.
    #[track_caller]
    pub fn stop_events(&self, bucket: &str) {
        self.set_document(bucket, "notification", None);
        if let Some(old) = self.cell(bucket).lock().path.take() {
            old.lose();
        }
    }

    /// What is to happen to some events: a rule on the event's name ("ObjectCreated:Put", "*"), a bucket, an object.
    pub fn twist(&self, rule: FaultRule<EventTwist>) -> FaultId {
        self.0.twists.add(rule, self.0.region.now())
    }

    /// Takes a twist away; its count stays.
    pub fn untwist(&self, id: FaultId) {
        self.0.twists.remove(id);
    }

    /// How often a twist was made.
    pub fn twisted(&self, id: FaultId) -> u64 {
        self.0.twists.fired(id)
    }

    /// Keeps back every event of a bucket from now on.
    #[track_caller]
    pub fn hold_events(&self, bucket: &str) {
        self.path(bucket).hold();
    }

    /// Tells what was kept back, in the order of the changes, and keeps back no more. How many.
    #[track_caller]
    pub fn release_events(&self, bucket: &str) -> usize {
        self.release_events_in(bucket, |_| {})
    }

    /// Tells what was kept back in the order that `order` leaves; it may remove and repeat.
    #[track_caller]
    pub fn release_events_in(&self, bucket: &str, order: impl FnOnce(&mut Vec<ObjectEvent>)) -> usize {
        self.path(bucket).release(order)
    }

    /// Tells what was kept back in an order of chance.
    #[track_caller]
    pub fn release_events_shuffled(&self, bucket: &str, seed: u64) -> usize {
        self.release_events_in(bucket, |events| events.sort_by_key(|event| mix(event.number ^ mix(seed))))
    }

    /// Sends a message that is not full ([`EventRoute::per_message`]).
    #[track_caller]
    pub fn flush_events(&self, bucket: &str) {
        self.path(bucket).flush();
    }

    /// Loses what has not reached the queue, as when the region dies. How many events and messages.
    #[track_caller]
    pub fn lose_events(&self, bucket: &str) -> usize {
        self.path(bucket).lose()
    }

    /// Sends what S3 sends when notifications are set up.
    #[track_caller]
    pub fn send_test_event(&self, bucket: &str) {
        self.path(bucket).send_test();
    }

    /// Where the events of a bucket are.
    #[track_caller]
    pub fn event_counts(&self, bucket: &str) -> EventCounts {
        self.path(bucket).counts()
    }

    /// How the events of a bucket are told.
    #[track_caller]
    pub fn event_route(&self, bucket: &str) -> EventRoute {
        self.path(bucket).route().clone()
    }

    /// Waits until no message of a bucket is under way, ten seconds at most.
    pub async fn until_events_arrived(&self, bucket: &str) {
        let path = self.path(bucket);
        for _ in 0..2000 {
            if path.counts().travelling == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("messages of {bucket} are still under way");
    }
}
