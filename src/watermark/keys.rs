//! The keys of the index. Append-only: a keyspace or a byte layout, once released, is never changed or given to
//! something else; retired ones stay listed.
//!
//! Layout: big-endian fixed-width numbers; names end with a zero byte (store ids and lane names hold none), so that
//! byte order is the order of the fields and a prefix is a set of leading fields.

use crate::change::{Key, Lane, LaneKind, SourceTime, StoreId};

/// The column families (semantics 6.3), in creation order. All are created at once so that a later kind of store needs
/// no migration.
pub const KEYSPACES: [&str; 14] = [
    "meta",
    "shard",
    "wm",
    "hist",
    "dirty",
    "dirty_by_time",
    "s3obj",
    "mpu",
    "touched",
    "parked",
    "cognito",
    "saga",
    "audit",
    "nonce",
];

/// One row of the index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Row {
    /// `meta`: one value for the whole index, by name.
    Meta(&'static str),
    /// `wm`: the mark of a store.
    Store(StoreId),
    /// `shard`: one lane of one epoch of a store.
    Lane {
        /// The store.
        store: StoreId,
        /// The store's epoch (raised by each re-seed).
        epoch: u64,
        /// The lane.
        lane: Lane,
    },
    /// `touched`: a key that the scan of this epoch found in the source; a cache that spares the sweep a question each.
    Seen {
        /// The store.
        store: StoreId,
        /// The epoch of the scan.
        epoch: u64,
        /// The first half of the SHA-256 of the key.
        digest: [u8; 16],
    },
    /// `dirty`: a key for which source and standby were found to differ.
    Dirty {
        /// The store.
        store: StoreId,
        /// The key.
        key: Key,
    },
    /// `dirty_by_time`: a dirty key again, in the order of the changes that made them so: the first is the oldest.
    Due {
        /// The store.
        store: StoreId,
        /// When the oldest change was made that is not known to be in the standby.
        at: SourceTime,
        /// The key.
        key: Key,
    },
    /// `s3obj`: what made a key the same on both ends.
    Known {
        /// The store.
        store: StoreId,
        /// The key.
        key: Key,
    },
    /// `mpu`: work under way on a key that is too long to begin anew.
    Work {
        /// The store.
        store: StoreId,
        /// The key.
        key: Key,
    },
    /// `parked`: a change that the standby refuses.
    Parked {
        /// The store.
        store: StoreId,
        /// The change's key.
        key: Key,
    },
    /// `saga`: one record of the journal of a promotion.
    Saga {
        /// The promotion's id: no zero byte.
        promotion: String,
        /// Position in its journal, from 0.
        seq: u64,
    },
    /// `audit`: one entry of the audit log.
    Audit {
        /// Position in the log, from 0.
        seq: u64,
    },
    /// `nonce`: an idempotency key that was used, with what it was used for.
    Nonce(String),
}

/// The known names of [`Row::Meta`].
pub mod meta {
    /// The layout version of the index; written at creation, checked at open.
    pub const LAYOUT: &str = "layout";
    /// The app and the pair of regions that the index belongs to, so that it is never used for another.
    pub const IDENTITY: &str = "identity";
    /// The fence, once set.
    pub const FENCE: &str = "fence";
    /// Present while a process runs; found at a start, it says that the last one did not stop cleanly.
    pub const RUNNING: &str = "running";
    /// How long the database's own list of files was, so that one that lost its end is noticed.
    pub const MANIFEST: &str = "manifest";
    /// All known names, for decoding.
    pub const ALL: [&str; 5] = [LAYOUT, IDENTITY, FENCE, RUNNING, MANIFEST];
}

/// A set of rows: a keyspace and the leading bytes of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The keyspace.
    pub keyspace: &'static str,
    /// The leading bytes.
    pub bytes: Vec<u8>,
}

impl Prefix {
    /// Every lane of every epoch of a store.
    pub fn lanes(store: &StoreId) -> Self {
        Self { keyspace: "shard", bytes: named(store.as_str()) }
    }
    /// Every lane of one epoch of a store.
    pub fn lanes_of(store: &StoreId, epoch: u64) -> Self {
        Self { keyspace: "shard", bytes: of_epoch(store, epoch) }
    }
    /// Every key that the scan of an epoch found.
    pub fn seen(store: &StoreId, epoch: u64) -> Self {
        Self { keyspace: "touched", bytes: of_epoch(store, epoch) }
    }
    /// Every key of a store that differs.
    pub fn dirty(store: &StoreId) -> Self {
        Self { keyspace: "dirty", bytes: named(store.as_str()) }
    }
    /// Every dirty key of a store, the oldest first.
    pub fn due(store: &StoreId) -> Self {
        Self { keyspace: "dirty_by_time", bytes: named(store.as_str()) }
    }
    /// What made the keys of a store the same.
    pub fn known(store: &StoreId) -> Self {
        Self { keyspace: "s3obj", bytes: named(store.as_str()) }
    }
    /// The work under way on the keys of a store.
    pub fn work(store: &StoreId) -> Self {
        Self { keyspace: "mpu", bytes: named(store.as_str()) }
    }
    /// The first key after all that start like this; `None` when there is none.
    pub fn end(&self) -> Option<Vec<u8>> {
        let mut bytes = self.bytes.clone();
        while let Some(last) = bytes.pop() {
            if let Some(next) = last.checked_add(1) {
                bytes.push(next);
                return Some(bytes);
            }
        }
        None
    }
    /// Every parked change of a store.
    pub fn parked(store: &StoreId) -> Self {
        Self { keyspace: "parked", bytes: named(store.as_str()) }
    }
    /// The marks of all stores.
    pub fn stores() -> Self {
        Self { keyspace: "wm", bytes: Vec::new() }
    }
    /// The journal of one promotion, in order.
    pub fn journal(promotion: &str) -> Self {
        Self { keyspace: "saga", bytes: named(promotion) }
    }
    /// The journals of all promotions.
    pub fn journals() -> Self {
        Self { keyspace: "saga", bytes: Vec::new() }
    }
    /// The audit log, in order.
    pub fn audit() -> Self {
        Self { keyspace: "audit", bytes: Vec::new() }
    }
    /// Every used idempotency key.
    pub fn nonces() -> Self {
        Self { keyspace: "nonce", bytes: Vec::new() }
    }
}

fn named(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn of_epoch(store: &StoreId, epoch: u64) -> Vec<u8> {
    let mut bytes = named(store.as_str());
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes
}

fn split_name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    let (name, rest) = bytes.split_at(end);
    Some((std::str::from_utf8(name).ok()?, rest.get(1..)?))
}

/// A signed number as one whose big-endian bytes are in its order: the sign bit turned over.
fn in_order(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

fn out_of_order(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

fn lane_byte(kind: LaneKind) -> u8 {
    match kind {
        LaneKind::Tail => 1,
        LaneKind::Scan => 2,
        LaneKind::Sweep => 3,
        LaneKind::Repair => 4,
    }
}

fn lane_kind(byte: u8) -> Option<LaneKind> {
    [LaneKind::Tail, LaneKind::Scan, LaneKind::Sweep, LaneKind::Repair].into_iter().find(|k| lane_byte(*k) == byte)
}

impl Row {
    /// The column family it lives in.
    pub fn keyspace(&self) -> &'static str {
        match self {
            Row::Meta(_) => "meta",
            Row::Store(_) => "wm",
            Row::Lane { .. } => "shard",
            Row::Seen { .. } => "touched",
            Row::Dirty { .. } => "dirty",
            Row::Due { .. } => "dirty_by_time",
            Row::Known { .. } => "s3obj",
            Row::Work { .. } => "mpu",
            Row::Parked { .. } => "parked",
            Row::Saga { .. } => "saga",
            Row::Audit { .. } => "audit",
            Row::Nonce(_) => "nonce",
        }
    }

    /// Its key bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Row::Meta(name) => name.as_bytes().to_vec(),
            Row::Store(store) => store.as_str().as_bytes().to_vec(),
            Row::Lane { store, epoch, lane } => {
                let mut bytes = of_epoch(store, *epoch);
                bytes.push(lane_byte(lane.kind));
                bytes.extend_from_slice(lane.name.as_bytes());
                bytes
            }
            Row::Seen { store, epoch, digest } => {
                let mut bytes = of_epoch(store, *epoch);
                bytes.extend_from_slice(digest);
                bytes
            }
            Row::Due { store, at, key } => {
                let mut bytes = named(store.as_str());
                bytes.extend_from_slice(&in_order(at.0).to_be_bytes());
                bytes.extend_from_slice(&key.0);
                bytes
            }
            Row::Parked { store, key }
            | Row::Dirty { store, key }
            | Row::Known { store, key }
            | Row::Work { store, key } => {
                let mut bytes = named(store.as_str());
                bytes.extend_from_slice(&key.0);
                bytes
            }
            Row::Saga { promotion, seq } => {
                let mut bytes = named(promotion);
                bytes.extend_from_slice(&seq.to_be_bytes());
                bytes
            }
            Row::Audit { seq } => seq.to_be_bytes().to_vec(),
            Row::Nonce(nonce) => nonce.as_bytes().to_vec(),
        }
    }

    /// Reads a key back; `None` if the bytes are no key of this keyspace.
    pub fn parse(keyspace: &str, bytes: &[u8]) -> Option<Row> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        match keyspace {
            "meta" => meta::ALL.into_iter().find(|name| name.as_bytes() == bytes).map(Row::Meta),
            "wm" => Some(Row::Store(StoreId::new(&text(bytes)?).ok()?)),
            "shard" => {
                let (store, rest) = split_name(bytes)?;
                let (epoch, rest) = rest.split_at_checked(8)?;
                let (kind, name) = rest.split_first()?;
                let lane = Lane { kind: lane_kind(*kind)?, name: text(name)?.into() };
                Some(Row::Lane { store: StoreId::new(store).ok()?, epoch: number(epoch)?, lane })
            }
            "touched" => {
                let (store, rest) = split_name(bytes)?;
                let (epoch, digest) = rest.split_at_checked(8)?;
                let digest = digest.try_into().ok()?;
                Some(Row::Seen { store: StoreId::new(store).ok()?, epoch: number(epoch)?, digest })
            }
            "dirty_by_time" => {
                let (store, rest) = split_name(bytes)?;
                let (at, key) = rest.split_at_checked(8)?;
                let at = SourceTime(out_of_order(number(at)?));
                Some(Row::Due { store: StoreId::new(store).ok()?, at, key: Key(key.to_vec().into()) })
            }
            "parked" | "dirty" | "s3obj" | "mpu" => {
                let (store, key) = split_name(bytes)?;
                let (store, key) = (StoreId::new(store).ok()?, Key(key.to_vec().into()));
                Some(match keyspace {
                    "parked" => Row::Parked { store, key },
                    "dirty" => Row::Dirty { store, key },
                    "s3obj" => Row::Known { store, key },
                    _ => Row::Work { store, key },
                })
            }
            "saga" => {
                let (promotion, seq) = split_name(bytes)?;
                Some(Row::Saga { promotion: promotion.to_owned(), seq: number(seq)? })
            }
            "audit" => Some(Row::Audit { seq: number(bytes)? }),
            "nonce" => Some(Row::Nonce(text(bytes)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<(Row, &'static str)> {
        let store = StoreId::new("orders").unwrap();
        vec![
            (Row::Meta(meta::LAYOUT), "6c61796f7574"),
            (Row::Store(store.clone()), "6f7264657273"),
            (
                Row::Lane { store: store.clone(), epoch: 258, lane: Lane::tail("s-1") },
                "6f72646572730000000000000001 0201732d31",
            ),
            (
                Row::Seen { store: store.clone(), epoch: 258, digest: [7; 16] },
                "6f72646572730000000000000001020707070707070707 0707070707070707",
            ),
            (Row::Dirty { store: store.clone(), key: Key(vec![0, 255, 7].into()) }, "6f72646572730000ff07"),
            (
                Row::Due { store: store.clone(), at: SourceTime(258), key: Key(vec![0, 7].into()) },
                "6f7264657273008000000000000102 0007",
            ),
            (
                Row::Due { store: store.clone(), at: SourceTime(-1), key: Key(vec![9].into()) },
                "6f7264657273007fffffffffffffff 09",
            ),
            (Row::Known { store: store.clone(), key: Key(b"a b".to_vec().into()) }, "6f726465727300612062"),
            (Row::Work { store: store.clone(), key: Key(b"a".to_vec().into()) }, "6f72646572730061"),
            (Row::Parked { store, key: Key(vec![0, 255, 7].into()) }, "6f72646572730000ff07"),
            (Row::Saga { promotion: "p1".into(), seq: 3 }, "7031000000000000000003"),
            (Row::Audit { seq: 9 }, "0000000000000009"),
            (Row::Nonce("k".into()), "6b"),
        ]
    }

    /// The bytes are released: a change here would orphan every index in the field.
    #[test]
    fn key_bytes_never_change_and_read_back() {
        for (row, golden) in samples() {
            let hex: String = row.bytes().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, golden.replace(' ', ""), "{row:?}");
            assert_eq!(Row::parse(row.keyspace(), &row.bytes()), Some(row));
        }
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for keyspace in KEYSPACES {
            assert_eq!(
                Row::parse(keyspace, b"\xff\xfe"),
                match keyspace {
                    "parked" | "shard" | "wm" | "saga" | "audit" | "meta" | "nonce" => None,
                    _ => None,
                }
            );
        }
        assert_eq!(Row::parse("shard", b"orders\0\0\0\0\0\0\0\0\x01\x09name"), None);
    }

    #[test]
    fn the_end_of_a_prefix_is_behind_all_of_it_and_before_the_rest() {
        let store = StoreId::new("orders").unwrap();
        let prefix = Prefix::seen(&store, 0xff);
        let end = prefix.end().unwrap();
        assert!(Row::Seen { store: store.clone(), epoch: 0xff, digest: [0xff; 16] }.bytes() < end);
        assert!(Row::Seen { store, epoch: 0x100, digest: [0; 16] }.bytes() >= end);
        assert_eq!(Prefix { keyspace: "touched", bytes: vec![0xff, 0xff] }.end(), None);
    }

    #[test]
    fn a_prefix_of_one_store_does_not_match_another() {
        let prefix = Prefix::lanes(&StoreId::new("order").unwrap());
        let other = Row::Lane { store: StoreId::new("orders").unwrap(), epoch: 0, lane: Lane::tail("x") };
        assert!(!other.bytes().starts_with(&prefix.bytes));
    }
}
