//! What an operator may ask of one store: the part of the drivers behind the API.

use async_trait::async_trait;

use crate::change::StoreId;

/// The stores, as far as operators command them.
#[async_trait]
pub trait Keeping: Send + Sync {
    /// Copies a store anew, or lets the copy under way remove up to `allow_deletes` items of the standby that the source
    /// does not have. Gives what follows, once the wish is durable, or why not; `None` for a store that is not copied.
    async fn reseed(&self, store: &StoreId, allow_deletes: u64) -> Option<Result<String, String>>;
}
