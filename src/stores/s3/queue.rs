//! The event queue in prodY.

use std::time::Duration;

use super::Bucket;
use crate::change::Class;
use crate::stores::StoreError;
use crate::stores::converge::{Channel, Depth, Message, Receipt};

impl Bucket {
    pub(super) async fn poll(&self, _: Channel) -> Result<Vec<Message>, StoreError> {
        Err(StoreError::new(Class::Invalid, "not built", ""))
    }

    pub(super) async fn keep_hidden(&self, _: &[Receipt], _: Duration) -> Result<Vec<Receipt>, StoreError> {
        Err(StoreError::new(Class::Invalid, "not built", ""))
    }

    pub(super) async fn forget(&self, _: &[Receipt]) -> Result<Vec<Receipt>, StoreError> {
        Err(StoreError::new(Class::Invalid, "not built", ""))
    }

    pub(super) async fn send_again(&self, _: &Message) -> Result<(), StoreError> {
        Err(StoreError::new(Class::Invalid, "not built", ""))
    }

    pub(super) async fn count(&self) -> Result<Depth, StoreError> {
        Err(StoreError::new(Class::Invalid, "not built", ""))
    }
}
