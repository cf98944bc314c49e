//! Both buckets side by side (S3-10).

use super::Bucket;
use crate::change::{Class, Key};
use crate::stores::StoreError;
use crate::stores::converge::{ListFrom, ListPage, Notebook};

impl Bucket {
    pub(super) async fn parts(&self) -> Result<Vec<Key>, StoreError> {
        Err(StoreError::new(Class::Invalid, "not built", ""))
    }

    pub(super) async fn side_by_side(&self, _: &ListFrom, _: &dyn Notebook) -> Result<ListPage, StoreError> {
        Err(StoreError::new(Class::Invalid, "not built", ""))
    }
}
