//! What a kind of store owes salvage: the changes that the primary committed and the standby never got, and a write to the
//! standby that never overwrites what it does not know.
//!
//! The spine (`salvage`) coalesces, judges and exports; the kind reads the primary, and it never writes there. Images cross
//! this border as JSON text in the kind's own lossless notation, with a digest: equal digests are equal images.

use async_trait::async_trait;
use serde_json::Value;

use super::converge::Notebook;
use super::{StoreError, StoreState};
use crate::change::{Key, SourceTime, Stamp};
use crate::watermark::ParkedRecord;
use crate::watermark::course::MarkRecord;

/// What tells one image from another; the same for images that the store itself would call equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// There is nothing of this key.
    pub const ABSENT: Digest = Digest([0; 16]);
}

/// What a store holds of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// JSON text.
    pub json: String,
    /// Its digest.
    pub digest: Digest,
}

/// The digest of what may be absent.
pub fn digest_of(image: Option<&Image>) -> Digest {
    image.map_or(Digest::ABSENT, |image| image.digest)
}

/// How a change was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The primary's own record of it.
    Stream,
    /// The standby refused it before the promotion, and the index kept it.
    Parked,
    /// Primary and standby differ; nobody can say by whose write.
    Comparison,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which key.
    pub key: Key,
    /// The key, JSON text.
    pub name: String,
    /// When it was committed, to the source's precision; `None` for a comparison.
    pub at: Option<SourceTime>,
    /// What was there before it; `None` when the source does not say.
    pub before: Option<Digest>,
    /// What is there now; `None`: nothing.
    pub image: Option<Image>,
    /// How it was found.
    pub origin: Origin,
    /// The source itself deleted it when its time had come.
    pub expired: bool,
}

/// Takes what is found. In the order of the changes of a key.
#[async_trait]
pub trait Sink: Send {
    /// A change.
    async fn found(&mut self, found: Found) -> Result<(), StoreError>;
    /// Nothing was found for a while, and the work goes on. To be called between any two requests.
    async fn alive(&mut self) -> Result<(), StoreError>;
}

/// What the index still holds of a store that is made the same key by key, as of the fence. Read only.
pub trait Rest: Notebook {
    /// Why a key is dirty, if it is.
    fn mark(&self, key: &Key) -> Result<Option<MarkRecord>, StoreError>;

    /// The dirty keys after `after` (from the first one on without), at most `most`.
    fn marks_after(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, MarkRecord)>, StoreError>;
}

/// A write to the standby: what is to be there, and what it was based on.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The key.
    pub key: Value,
    /// What the standby is to hold; `None`: nothing.
    pub image: Option<Value>,
    /// What the standby held when this was decided; `None`: nothing. Anything else is left as it is.
    pub based_on: Option<Value>,
}

/// What became of a [`Wish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The standby holds it now.
    Applied,
    /// It held it already.
    Already,
    /// The standby holds something else than the wish was based on: nothing was written.
    Changed,
    /// It was written in the same instant as another write that the store's conditions cannot see; this is what was there.
    Raced(String),
    /// It was not written, or nobody knows: asking again is safe.
    Failed(String),
    /// It cannot be written, and asking again will not help.
    Refused(String),
}

/// A store whose lost changes can be found and brought to the standby.
#[async_trait]
pub trait Salvage: Send + Sync {
    /// Does the primary answer?
    async fn reachable(&self) -> Result<(), StoreError>;

    /// Every change after the durable positions of `state`, to the end of the source as of `as_of`; of a store that is made
    /// the same key by key, every key of which that was not done. Gives what is missing from that, a sentence each; none: it
    /// is complete.
    async fn tail(
        &self,
        state: &StoreState,
        as_of: Stamp,
        rest: &dyn Rest,
        sink: &mut dyn Sink,
    ) -> Result<Vec<String>, StoreError>;

    /// A parked change of the index.
    fn parked(&self, key: &Key, record: &ParkedRecord) -> Result<Found, StoreError>;

    /// Every key in which primary and standby differ, reading at most `bytes_per_second` of each.
    async fn compare(&self, bytes_per_second: u64, sink: &mut dyn Sink) -> Result<(), StoreError>;

    /// The identity of a key; `None` when it is not a key of this store.
    fn identity(&self, key: &Value) -> Option<Key>;

    /// What the standby holds of these keys, a consistent read. In their order.
    async fn standby(&self, keys: &[Value]) -> Result<Vec<Option<Image>>, StoreError>;

    /// Writes to the standby if it holds exactly what the wish was based on.
    async fn settle(&self, wish: &Wish) -> Settled;
}
