//! The values of the index: versioned and checksummed.
//!
//! Envelope: kind (1 byte), version (1 byte), JSON payload, CRC-32 of key and everything before it (4 bytes,
//! big-endian). The key is part of the checksum, so a value found under another key is refused. JSON because these rows
//! are few and a human with a hex dump must be able to read them on the worst day.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Fence;
use super::course::{Course, DueRecord, KnownRecord, MarkRecord, WorkRecord};
use super::keys::Row;
use crate::change::{Difference, Gap, Lane, Method, Position, SourceTime};

/// A value that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Too short to be a record.
    #[error("{row:?}: {len} bytes are too short for a record")]
    Short {
        /// Where.
        row: Row,
        /// How long it is.
        len: usize,
    },
    /// The checksum does not match: torn, altered, or under the wrong key.
    #[error("{row:?}: the checksum does not match; the value is damaged")]
    Checksum {
        /// Where.
        row: Row,
    },
    /// Another kind of value.
    #[error("{row:?}: kind {got} where {want} belongs")]
    Kind {
        /// Where.
        row: Row,
        /// The kind that belongs there.
        want: u8,
        /// The kind found.
        got: u8,
    },
    /// Written by a newer Plimsoll.
    #[error("{row:?}: version {got} is newer than this program's {have}; run the newer program")]
    Newer {
        /// Where.
        row: Row,
        /// What this program knows.
        have: u8,
        /// What was found.
        got: u8,
    },
    /// The payload does not decode.
    #[error("{row:?}: {what}")]
    Payload {
        /// Where.
        row: Row,
        /// The decoder's words.
        what: String,
    },
}

/// A kind of value. `KIND` is never reused; `VERSION` goes up when the payload changes in a way that an older program
/// must not read. New optional fields need no new version.
pub trait Record: Serialize + DeserializeOwned {
    /// The kind byte.
    const KIND: u8;
    /// The version byte written.
    const VERSION: u8;

    /// The bytes to store under `row`.
    fn encode(&self, row: &Row) -> Vec<u8> {
        let mut bytes = vec![Self::KIND, Self::VERSION];
        serde_json::to_writer(&mut bytes, self)
            .expect("records are plain data: no maps with non-text keys, no failing writer");
        let sum = checksum(row, &bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Reads what [`Record::encode`] wrote.
    fn decode(row: &Row, bytes: &[u8]) -> Result<Self, BadRecord> {
        let short = || BadRecord::Short { row: row.clone(), len: bytes.len() };
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or_else(short)?;
        let (head, payload) = body.split_first_chunk::<2>().ok_or_else(short)?;
        if checksum(row, body) != u32::from_be_bytes(*sum) {
            return Err(BadRecord::Checksum { row: row.clone() });
        }
        let [kind, version] = *head;
        if kind != Self::KIND {
            return Err(BadRecord::Kind { row: row.clone(), want: Self::KIND, got: kind });
        }
        if version > Self::VERSION {
            return Err(BadRecord::Newer { row: row.clone(), have: Self::VERSION, got: version });
        }
        serde_json::from_slice(payload).map_err(|e| BadRecord::Payload { row: row.clone(), what: e.to_string() })
    }
}

fn checksum(row: &Row, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(row.keyspace().as_bytes());
    hasher.update(&[0]);
    hasher.update(&row.bytes());
    hasher.update(body);
    hasher.finalize()
}

/// How far the copy of what was there before the tail began has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seed {
    /// Not known to be complete: no watermark exists (2.3 step 6).
    #[default]
    Pending,
    /// Complete: every item that existed at `at` and was not changed since is in the standby.
    Done {
        /// Our wall clock at its end.
        at: SourceTime,
    },
}

/// The copy of what was there before the tail began: under way, or the last one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeedRun {
    /// Our wall clock when it began: the positions of all lanes were durable by then.
    pub started_at: SourceTime,
    /// Items of the source when it began, as the source counts them; an estimate, 0 when it does not say.
    #[serde(default)]
    pub total: u64,
    /// Their size, bytes; an estimate, 0 when the source does not say.
    #[serde(default)]
    pub bytes: u64,
    /// Items of the source that were looked at, and are durable in the standby or will be by a newer change.
    #[serde(default)]
    pub copied: u64,
    /// The standby was not empty: it is searched for what the source does not have.
    #[serde(default)]
    pub sweep: bool,
    /// Items of the standby that were looked at.
    #[serde(default)]
    pub swept: u64,
    /// Items of the standby that the source does not have.
    #[serde(default)]
    pub orphans: u64,
    /// How many of them an operator allowed to be deleted, beyond what the guard lets pass.
    #[serde(default)]
    pub allowed: u64,
    /// History was lost while it ran: it can no longer end (BS-T5).
    #[serde(default)]
    pub broken: bool,
    /// Why it was begun, when it was not the first.
    #[serde(default)]
    pub cause: Option<String>,
}

/// A re-seed that an operator asked for and that has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Our wall clock when it was asked for.
    pub at: SourceTime,
    /// How many orphans it may delete.
    #[serde(default)]
    pub allowed: u64,
}

/// A comparison of all items of source and standby: under way, or the last one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerifyRun {
    /// Our wall clock when it began: nothing was compared before.
    pub started_at: SourceTime,
    /// Our wall clock when it ended; `None` while it is under way.
    #[serde(default)]
    pub ended_at: Option<SourceTime>,
    /// Items of the source when it began, as the source counts them; an estimate, 0 when it does not say.
    #[serde(default)]
    pub total: u64,
    /// Items of the source that were compared, and what was seen to differ was judged.
    #[serde(default)]
    pub compared: u64,
    /// Items of the standby that were looked for in the source.
    #[serde(default)]
    pub swept: u64,
    /// What differs is copied again.
    #[serde(default)]
    pub repair: bool,
    /// How many items of the standby an operator allowed a repair to delete, beyond what the guard lets pass.
    #[serde(default)]
    pub allowed: u64,
    /// Only some attributes are compared: that nothing differs proves less than the whole.
    #[serde(default)]
    pub partial: bool,
}

/// A verification that an operator asked for and that has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyWish {
    /// Our wall clock when it was asked for.
    pub at: SourceTime,
    /// What differs is to be copied again.
    #[serde(default)]
    pub repair: bool,
    /// How many items of the standby it may delete.
    #[serde(default)]
    pub allowed: u64,
}

/// What is durable about a store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreRecord {
    /// Which source this is the copy of (DS-1); `None` before the first survey.
    #[serde(default)]
    pub incarnation: Option<String>,
    /// Raised by each re-seed.
    #[serde(default)]
    pub epoch: u64,
    /// Of this epoch.
    #[serde(default)]
    pub seed: Seed,
    /// Known loss, sticky.
    #[serde(default)]
    pub gap: Option<Gap>,
    /// The watermark: everything committed up to here is durable in the standby.
    #[serde(default)]
    pub through: Option<SourceTime>,
    /// How the watermark is founded.
    #[serde(default)]
    pub method: Option<Method>,
    /// Our wall clock when the watermark was last proved.
    #[serde(default)]
    pub proved_at: Option<SourceTime>,
    /// An operator's pause, until this instant of our wall clock.
    #[serde(default)]
    pub paused_until: Option<SourceTime>,
    /// The canaries of every key, committed at or after this instant, came by (DS-12).
    #[serde(default)]
    pub canary_through: Option<SourceTime>,
    /// The copy under way, or the last one; `None` when there never was anything to copy.
    #[serde(default)]
    pub seed_run: Option<SeedRun>,
    /// An operator's wish for a re-seed.
    #[serde(default)]
    pub wanted: Option<Wanted>,
    /// The verification under way, or the last one.
    #[serde(default)]
    pub verify_run: Option<VerifyRun>,
    /// An operator's wish for a verification.
    #[serde(default)]
    pub verify_wanted: Option<VerifyWish>,
    /// Our wall clock when the last verification that looked at every item ended.
    #[serde(default)]
    pub verified_at: Option<SourceTime>,
    /// As of this instant the standby was proven to be whole by looking at every item: when a copy had read them all, or the
    /// start of the last verification that left nothing different.
    #[serde(default)]
    pub whole_at: Option<SourceTime>,
    /// What a recovery must know of the source, in the kind's own words: when it is needed, the source cannot be asked.
    #[serde(default)]
    pub source: Option<String>,
    /// Of a store that is made the same key by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course: Option<Box<Course>>,
}

impl Record for StoreRecord {
    const KIND: u8 = 1;
    const VERSION: u8 = 1;
}

/// Where a lane stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanePhase {
    /// Its parent is not drained yet (DS-4).
    Waiting,
    /// It may be read.
    Reading,
    /// Read to its end, every change durable in the standby, and its children registered.
    Drained,
    /// Its history was lost before it was read (DS-8).
    Lost,
}

/// What is durable about a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRecord {
    /// The lane that comes before it.
    pub parent: Option<Lane>,
    /// The source's creation time, if its name says so plausibly (DS-F6).
    pub born: Option<SourceTime>,
    /// Our wall clock when it was registered.
    pub first_seen: SourceTime,
    /// Where it stands.
    pub phase: LanePhase,
    /// Every change up to here is durable in the standby, or durably parked (AP-7).
    pub position: Option<Position>,
    /// The lane's own watermark; a child inherits its parent's.
    pub through: Option<SourceTime>,
    /// How it is founded.
    pub method: Method,
    /// Our wall clock when it was last read to its tip; for DS-8e and the retention headroom.
    pub tip_at: Option<SourceTime>,
    /// Our wall clock when it was drained or lost; for retirement.
    #[serde(default)]
    pub closed_at: Option<SourceTime>,
    /// It was listed when the copy of this epoch began and nothing of it was read since: what the source trimmed of it is
    /// the copy's to bring, so it may be read from whatever is left (DS-5).
    #[serde(default)]
    pub initial: bool,
}

impl Record for LaneRecord {
    const KIND: u8 = 2;
    const VERSION: u8 = 1;
}

/// A change that the standby refuses; it pins the watermark until it is applied (AP-6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedRecord {
    /// The lane that it came from.
    pub lane: Lane,
    /// Where it stands in that lane.
    pub position: Position,
    /// Commit time of the oldest change that is waiting under this key: the pin.
    pub since: SourceTime,
    /// Our wall clock when it was first parked.
    pub parked_at: SourceTime,
    /// The standby's words.
    pub reason: String,
    /// The newest image, in the kind's own encoding, base 64.
    pub body: String,
}

impl Record for ParkedRecord {
    const KIND: u8 = 3;
    const VERSION: u8 = 1;
}

/// A key for which source and standby were found to differ. What to do about it is read from the source again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirtyRecord {
    /// Our wall clock when it was found.
    pub found_at: SourceTime,
    /// The standby has what the source does not.
    pub orphan: bool,
    /// The change that would have mended it then, in the kind's own encoding, base 64: for its key.
    pub body: String,
    /// How it differs, as a verification proved it.
    #[serde(default)]
    pub what: Option<Difference>,
    /// Our wall clock when a verification proved it last.
    #[serde(default)]
    pub seen_at: Option<SourceTime>,
}

impl Record for DirtyRecord {
    const KIND: u8 = 17;
    const VERSION: u8 = 1;
}

impl Record for MarkRecord {
    const KIND: u8 = 18;
    const VERSION: u8 = 1;
}

impl Record for DueRecord {
    const KIND: u8 = 19;
    const VERSION: u8 = 1;
}

impl Record for KnownRecord {
    const KIND: u8 = 20;
    const VERSION: u8 = 1;
}

impl Record for WorkRecord {
    const KIND: u8 = 21;
    const VERSION: u8 = 1;
}

impl Record for Fence {
    const KIND: u8 = 4;
    const VERSION: u8 = 1;
}

/// Whose index this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `app` of the configuration.
    pub app: String,
    /// prodX.
    pub primary: String,
    /// prodY.
    pub standby: String,
}

impl Record for Identity {
    const KIND: u8 = 5;
    const VERSION: u8 = 1;
}

/// A process that uses the index: written at its start, deleted at its clean stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Our wall clock at its start.
    pub since: SourceTime,
}

impl Record for Running {
    const KIND: u8 = 6;
    const VERSION: u8 = 1;
}

/// The layout of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Its number; 1.
    pub number: u32,
}

impl Record for Layout {
    const KIND: u8 = 7;
    const VERSION: u8 = 1;
}

// Kinds 8 to 15 belong to the promote journal and the audit log (see `promote::journal`).

/// How long the database's manifest, its list of files, was. A database whose manifest has lost its end opens without
/// complaint and without some of its tables, which is half a transaction; this tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its file name.
    pub name: String,
    /// Bytes of it that were durable.
    pub length: u64,
}

impl Record for Manifest {
    const KIND: u8 = 16;
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::StoreId;

    fn row() -> Row {
        Row::Store(StoreId::new("orders").unwrap())
    }

    #[test]
    fn a_record_reads_back() {
        let record = StoreRecord { epoch: 3, through: Some(SourceTime(77)), ..StoreRecord::default() };
        assert_eq!(StoreRecord::decode(&row(), &record.encode(&row())), Ok(record));
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let good = StoreRecord { epoch: 3, ..StoreRecord::default() }.encode(&row());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(StoreRecord::decode(&row(), &bad).is_err(), "byte {at}");
        }
        for len in 0..good.len() {
            assert!(StoreRecord::decode(&row(), &good[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn a_value_under_another_key_is_refused() {
        let other = Row::Store(StoreId::new("users").unwrap());
        let bytes = StoreRecord::default().encode(&other);
        assert!(matches!(StoreRecord::decode(&row(), &bytes), Err(BadRecord::Checksum { .. })));
    }

    #[test]
    fn a_newer_version_and_another_kind_say_so() {
        let mut body = vec![StoreRecord::KIND, StoreRecord::VERSION + 1];
        body.extend_from_slice(b"{}");
        let sum = checksum(&row(), &body);
        body.extend_from_slice(&sum.to_be_bytes());
        assert!(matches!(StoreRecord::decode(&row(), &body), Err(BadRecord::Newer { .. })));
        let bytes = Layout { number: 1 }.encode(&row());
        assert!(matches!(StoreRecord::decode(&row(), &bytes), Err(BadRecord::Kind { .. })));
    }
}
