//! What both buckets and the queue are.

use super::Bucket;
use crate::change::Class;
use crate::stores::StoreError;
use crate::stores::converge::Survey;

impl Bucket {
    pub(super) async fn look(&self) -> Result<Survey, StoreError> {
        Err(StoreError::new(Class::Invalid, "not built", ""))
    }
}
