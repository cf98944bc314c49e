//! What a promotion does to the standby table, as configured.

use crate::config::{Key, Section, Takes};

pub(in crate::stores::dynamodb) const STREAM: Key = Key::default(
    "promote_stream",
    Takes::Flag,
    "true",
    "A promotion enables the standby table's stream (NEW_AND_OLD_IMAGES), if it is off: a later failback copies by it. \
     Better enable it now; it costs nothing while nobody reads it.",
);
pub(in crate::stores::dynamodb) const DELETION_PROTECTION: Key = Key::default(
    "promote_deletion_protection",
    Takes::Flag,
    "true",
    "A promotion protects the standby table from deletion: it holds the only good copy then.",
);
pub(in crate::stores::dynamodb) const TTL: Key = Key::default(
    "promote_ttl",
    Takes::Flag,
    "true",
    "A promotion enables TTL in the standby as the source had it. The source's attribute is recorded while the source \
     answers. Not waited for: AWS takes up to an hour, and allows one change an hour.",
);
pub(in crate::stores::dynamodb) const TTL_ATTRIBUTE: Key = Key::optional(
    "promote_ttl_attribute",
    Takes::Text,
    "\"expires_at\"",
    "The attribute for promote_ttl, whatever the source had.",
);
pub(in crate::stores::dynamodb) const ON_DEMAND: Key = Key::default(
    "promote_on_demand",
    Takes::Flag,
    "false",
    "A promotion switches the standby table to on-demand billing. It takes minutes, and AWS allows it 4 times in 24 hours: \
     better leave the table on demand always.",
);
pub(in crate::stores::dynamodb) const READ_CAPACITY: Key = Key::default(
    "promote_read_capacity",
    Takes::Integer { min: 0, max: 10_000_000 },
    "0",
    "A promotion raises a provisioned standby table, and each of its global indexes, to at least so many read units. It \
     never lowers them. 0: leaves them.",
);
pub(in crate::stores::dynamodb) const WRITE_CAPACITY: Key = Key::default(
    "promote_write_capacity",
    Takes::Integer { min: 0, max: 10_000_000 },
    "0",
    "The same for write units.",
);

/// What a promotion does to the standby table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoting {
    /// Enables its stream.
    pub stream: bool,
    /// Protects it from deletion.
    pub deletion_protection: bool,
    /// Enables TTL.
    pub ttl: bool,
    /// By this attribute; the recorded one of the source otherwise.
    pub ttl_attribute: Option<String>,
    /// What it must be able to take.
    pub capacity: Capacity,
}

/// What a standby table must be able to take after a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// What it can now.
    Keep,
    /// Whatever comes.
    OnDemand,
    /// At least these provisioned units, of the table and of each global index.
    AtLeast {
        /// 0: as they are.
        read: i64,
        /// 0: as they are.
        write: i64,
    },
}

impl Default for Promoting {
    fn default() -> Self {
        Self { stream: true, deletion_protection: true, ttl: true, ttl_attribute: None, capacity: Capacity::Keep }
    }
}

pub(in crate::stores::dynamodb) fn read(section: &mut Section<'_>) -> Promoting {
    let stream = section.flag(&STREAM);
    let deletion_protection = section.flag(&DELETION_PROTECTION);
    let ttl = section.flag(&TTL);
    let ttl_attribute = section.text(&TTL_ATTRIBUTE);
    if ttl_attribute.is_some() && !ttl {
        section.problem(
            &TTL_ATTRIBUTE,
            "given although promote_ttl is false",
            "remove it, or write promote_ttl = true",
        );
    }
    if ttl_attribute.as_ref().is_some_and(|name| name.len() > 255) {
        section.problem(&TTL_ATTRIBUTE, "longer than the 255 bytes that AWS allows", TTL_ATTRIBUTE.how());
    }
    let on_demand = section.flag(&ON_DEMAND);
    let mut units = |key| i64::try_from(section.integer(key)).expect("the bounds of the key are far below");
    let (read, write) = (units(&READ_CAPACITY), units(&WRITE_CAPACITY));
    if on_demand && (read > 0 || write > 0) {
        section.problem(
            &ON_DEMAND,
            "beside promote_read_capacity or promote_write_capacity: a table on demand has no capacity to raise",
            "keep one of them",
        );
    }
    let capacity = match (on_demand, read, write) {
        (true, _, _) => Capacity::OnDemand,
        (false, 0, 0) => Capacity::Keep,
        (false, read, write) => Capacity::AtLeast { read, write },
    };
    Promoting { stream, deletion_protection, ttl, ttl_attribute, capacity }
}
