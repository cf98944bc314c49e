//! An item as a table keeps it: whole, or packed when it was loaded with a million others.
//!
//! A packed item is the JSON of its canonical form, which is the same bytes for the same item. It takes about a third of
//! the memory, and is unpacked whenever it is read.

use super::value::{Item, item_size};
use std::sync::Arc;

/// An item in a table.
#[derive(Debug, Clone)]
pub(crate) enum Stored {
    Whole(Arc<Item>),
    Packed(Arc<[u8]>),
}

impl Stored {
    /// Packs an item in canonical form.
    pub(crate) fn packed(item: &Item) -> Self {
        Self::Packed(serde_json::to_vec(item).expect("an item has string keys and no fallible values").into())
    }

    pub(crate) fn item(&self) -> Arc<Item> {
        match self {
            Self::Whole(item) => Arc::clone(item),
            Self::Packed(bytes) => {
                Arc::new(serde_json::from_slice(bytes).expect("it was packed here and never changed"))
            }
        }
    }

    pub(crate) fn size(&self) -> usize {
        item_size(&self.item())
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Packed(this), Self::Packed(that)) => this == that,
            _ => self.item() == other.item(),
        }
    }
}
