//! Names: of stores, lanes and positions.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The operator's name for a store: `orders`. Lower-case letters, digits, `-` and `_`, 1 to 63 characters, so that it
/// can stand in a URL, a metric label and an index key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId(Arc<str>);

/// A text that cannot be a [`StoreId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a store id: use 1 to 63 of a-z, 0-9, '-' and '_'")]
pub struct InvalidStoreId(pub String);

impl StoreId {
    /// Checks and makes an id.
    pub fn new(text: &str) -> Result<Self, InvalidStoreId> {
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if fits { Ok(Self(text.into())) } else { Err(InvalidStoreId(text.to_owned())) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StoreId {
    type Error = InvalidStoreId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<StoreId> for String {
    fn from(id: StoreId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a lane is read for. Only a `Tail` moves the watermark; the others move state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneKind {
    /// Follows new changes: a shard, a queue.
    Tail,
    /// Copies what was there before the tail began.
    Scan,
    /// Looks in the standby for what the source no longer has.
    Sweep,
    /// Copies again what was found to differ.
    Repair,
}

/// An independently read part of a store.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lane {
    /// What it is read for.
    pub kind: LaneKind,
    /// The source's own name for it: a shard id, a segment number.
    pub name: Arc<str>,
}

impl Lane {
    /// A lane that follows new changes.
    pub fn tail(name: &str) -> Self {
        Self { kind: LaneKind::Tail, name: name.into() }
    }

    /// Does it follow new changes?
    pub fn is_tail(&self) -> bool {
        self.kind == LaneKind::Tail
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.kind, self.name)
    }
}

/// Where a reader stands in a lane, in the source's own notation (a sequence number). Opaque to the spine: it is kept,
/// given back, and never compared.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position(pub Arc<str>);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_id_fits_urls_labels_and_keys() {
        for good in ["orders", "a", "user-pool_2", &"x".repeat(63)] {
            assert!(StoreId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Orders", "a/b", "a b", "ü", &"x".repeat(64), "a\0b"] {
            assert!(StoreId::new(bad).is_err(), "{bad}");
        }
    }
}
