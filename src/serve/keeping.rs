//! What an operator may ask of one store: the part of the drivers behind the API.

use async_trait::async_trait;

use crate::change::{Difference, SourceTime, StoreId};

/// An item that differs in the standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergent {
    /// The SHA-256 of its key, hexadecimal.
    pub key_sha256: String,
    /// Its key: customer data, for operators who ask for it.
    pub key: Option<String>,
    /// How it differs.
    pub what: Difference,
    /// When that was first proven.
    pub found_at: SourceTime,
}

/// The stores, as far as operators command them.
#[async_trait]
pub trait Keeping: Send + Sync {
    /// Copies a store anew, or lets the copy under way remove up to `allow_deletes` items of the standby that the source
    /// does not have. Gives what follows, once the wish is durable, or why not; `None` for a store that is not copied.
    async fn reseed(&self, store: &StoreId, allow_deletes: u64) -> Option<Result<String, String>>;

    /// Compares the standby with the source; with `repair` what differs is copied again, and up to `allow_deletes` items of
    /// the standby that the source does not have may be removed. The answer is as for [`Keeping::reseed`].
    async fn verify(&self, store: &StoreId, repair: bool, allow_deletes: u64) -> Option<Result<String, String>>;

    /// Items that are proven to differ, at most `most`; `None` for a store that is not copied.
    fn divergent(&self, store: &StoreId, most: usize) -> Option<Result<Vec<Divergent>, String>>;
}
