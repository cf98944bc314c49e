//! What a promotion does to a standby bucket.

pub mod settings;

use std::sync::Arc;

use aws_sdk_s3::Client;

use self::settings::Promoting;
use crate::change::StoreId;
use crate::promote::Step;

/// The standby bucket and what is to become of it.
#[derive(Debug, Clone)]
pub struct Standby {
    /// The store.
    pub store: StoreId,
    /// Of prodY.
    pub client: Client,
    /// Of prodY.
    pub control: aws_sdk_s3control::Client,
    /// The bucket there.
    pub bucket: String,
    /// The bucket in prodX.
    pub source_bucket: String,
    /// What of them is kept warm.
    pub prefix: String,
    /// prodY's region.
    pub region: String,
    /// prodX's region.
    pub primary_region: String,
    /// As configured.
    pub promoting: Promoting,
    /// What the index has of the source.
    pub source: Option<String>,
}

/// The steps of a promotion for that bucket, in their order.
pub fn steps(_: &Standby) -> Vec<Arc<dyn Step>> {
    Vec::new()
}
