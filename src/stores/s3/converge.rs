//! One object, made the same (S3-1).

use super::Bucket;
use crate::change::Class;
use crate::stores::StoreError;
use crate::stores::converge::{Settled, Spot};

impl Bucket {
    pub(super) async fn make_same(&self, _: Spot<'_>) -> Settled {
        Settled::Failed(StoreError::new(Class::Invalid, "not built", ""))
    }
}
