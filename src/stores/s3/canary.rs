//! The canary object.

use super::Bucket;
use crate::change::Class;
use crate::stores::StoreError;
use crate::stores::observe::Beat;

impl Bucket {
    pub(super) async fn write_canary(&self, _: &Beat) -> Result<(), StoreError> {
        Err(StoreError::new(Class::Invalid, "not built", ""))
    }
}
