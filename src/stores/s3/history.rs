//! All versions of an object, in the order of the source (S3-4).

use super::Bucket;
use super::refusal::Stop;
use crate::stores::converge::{Same, Spot};

impl Bucket {
    pub(super) async fn settle_versions(&self, spot: Spot<'_>, _: &str) -> Result<Same, Stop> {
        Err(self.broken(spot.key, "not built"))
    }
}
