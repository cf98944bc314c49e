//! S3: buckets with versions, multipart uploads, copies within and across regions, and events that go into a queue.
//!
//! What differs from AWS on purpose: an ETag is 32 hexadecimal digits and no MD5 (nothing may compute with it); ids are
//! made from the seed; LastModified is the commit by the server's clock, shown in whole seconds; policies, signatures and
//! virtual-hosted names are not known.
//!
//! Locks: the directory of buckets for a moment, then one bucket's own lock, then one queue's; never two buckets at once.

mod api;
mod bucket;
mod checksum;
mod content;
mod control;
mod events;
mod object;
mod path;
#[cfg(test)]
mod tests;
mod truth;
mod uploads;
mod xml;

pub use bucket::{BucketQuirks, ObjectChange, Versioning};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
pub use content::BodyDigest;
pub use control::{NewObject, S3};
pub use events::{Envelope, ObjectEvent, form_encoded, message, test_message};
pub use object::{Description, Encryption, Lock, NULL_VERSION, ObjectView, VersionView};
pub use path::{EventCounts, EventRoute, EventTwist};
pub use truth::{BucketComparison, Compare, ObjectDifference};

pub(super) use api::S3Api;

use super::faults::Faults;
use super::model::error::AwsError;
use super::region::Region;
use super::rng::mix;
use bucket::Bucket;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

/// A bucket behind its lock.
#[derive(Debug)]
pub(super) struct BucketCell(Mutex<Bucket>);

impl BucketCell {
    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The buckets of one server.
pub(crate) struct Space {
    region: Arc<Region>,
    buckets: RwLock<BTreeMap<String, Arc<BucketCell>>>,
    /// The server whose buckets copies can have as their source besides its own.
    peer: RwLock<Option<Weak<Self>>>,
    twists: Arc<Faults<EventTwist>>,
}

impl Space {
    pub(super) fn new(region: Arc<Region>) -> Self {
        let twists = Arc::new(Faults::new(mix(region.seed())));
        Self { region, buckets: RwLock::default(), peer: RwLock::default(), twists }
    }

    fn find(&self, bucket: &str) -> Option<Arc<BucketCell>> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner).get(bucket).map(Arc::clone)
    }

    fn bucket(&self, bucket: &str) -> Result<Arc<BucketCell>, AwsError> {
        self.find(bucket).ok_or_else(no_such_bucket)
    }

    /// The bucket that a copy reads: of this region, or of the one it can see.
    fn source(&self, bucket: &str) -> Result<Arc<BucketCell>, AwsError> {
        let peer = self.peer.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        self.find(bucket).or_else(|| peer?.find(bucket)).ok_or_else(no_such_bucket)
    }

    fn create(&self, name: &str) -> Result<Arc<BucketCell>, AwsError> {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        if buckets.contains_key(name) {
            return Err(AwsError::new(409, "BucketAlreadyOwnedByYou", "You have it already"));
        }
        let seed = mix(self.region.seed() ^ name.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte))));
        let bucket = Bucket::new(name, &self.region.name, seed, self.region.now());
        let cell = Arc::new(BucketCell(Mutex::new(bucket)));
        buckets.insert(name.to_owned(), Arc::clone(&cell));
        Ok(cell)
    }

    fn names(&self) -> Vec<String> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn delete(&self, name: &str) -> Result<(), AwsError> {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        let cell = buckets.get(name).ok_or_else(no_such_bucket)?;
        if !cell.lock().objects.is_empty() {
            return Err(AwsError::new(409, "BucketNotEmpty", "The bucket you tried to delete is not empty"));
        }
        buckets.remove(name);
        Ok(())
    }
}

fn no_such_bucket() -> AwsError {
    AwsError::new(404, "NoSuchBucket", "The specified bucket does not exist")
}
