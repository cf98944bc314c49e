//! Evidence: the only thing that moves a watermark, and what stops one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{SourceTime, Stamp};

/// How well a watermark is founded, weakest first: a store's method is its weakest lane's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A metric of somebody else's says so.
    Metric,
    /// A canary proves liveness of the channel but not the order in it (OB-3).
    Sampled,
    /// Silence at the tip, given the propagation allowance (DS-11, assumption A3).
    Assumed,
    /// A record, or a canary in an ordered channel, came through (DS-12).
    Verified,
}

impl Method {
    /// As in the API.
    pub fn label(self) -> &'static str {
        match self {
            Method::Metric => "metric",
            Method::Sampled => "sampled",
            Method::Assumed => "assumed",
            Method::Verified => "verified",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What is known about a store, from replicating or from observing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Everything committed up to `through` is durable in the standby.
    Advance {
        /// The new watermark.
        through: SourceTime,
        /// How well it is founded.
        method: Method,
    },
    /// The watermark may not pass `since` while this lasts.
    Pinned {
        /// The watermark's ceiling.
        since: SourceTime,
        /// What pins it, for a human.
        what: String,
    },
    /// History is lost; sticky until a re-seed.
    Gap(Gap),
    /// Nothing was learnt: an answer did not come.
    Silent {
        /// Since when.
        since: Stamp,
        /// What was tried, for a human.
        what: String,
    },
}

/// How the standby differs from the source at one key. Durable and in the API: never rename or reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The source has it, the standby does not.
    Missing,
    /// Both have it, and it is not the same.
    Differs,
    /// The standby has it, the source does not.
    Orphan,
}

impl Difference {
    /// As in the API.
    pub fn label(self) -> &'static str {
        match self {
            Difference::Missing => "missing",
            Difference::Differs => "differs",
            Difference::Orphan => "orphan",
        }
    }
}

/// Known loss of history. Sticky over restarts; only a completed re-seed of a higher epoch clears it (DS-8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Which rule found it.
    pub cause: GapCause,
    /// On what: the lane or the table, for a human.
    pub on: String,
    /// Our wall clock when it was declared.
    pub declared_at: SourceTime,
}

/// The conditions that declare a gap (DS-8). Durable: never rename or reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// DS-8a: the source has trimmed records that were never read.
    Trimmed,
    /// DS-8b: a lane that was not drained no longer exists.
    LaneMissing,
    /// DS-8c: a lane that was not drained is gone from a complete listing.
    LaneVanished,
    /// DS-8d: a lane's parent is unknown, outside the first survey.
    ParentUnknown,
    /// DS-8e: a lane was not read to its tip for longer than the source keeps history.
    ReadTooLate,
    /// DS-1: the table was deleted and created again.
    Recreated,
    /// DS-1: the stream was disabled, or disabled and enabled again.
    StreamReset,
    /// DS-2: the stream does not carry full new images.
    ViewType,
}

impl Gap {
    /// What happened, as a sentence without its end.
    pub fn sentence(&self) -> String {
        let on = &self.on;
        match self.cause {
            GapCause::Trimmed => format!("{on}: the source trimmed changes that were never read"),
            GapCause::LaneMissing => format!("{on}: the shard is gone before it was read to its end"),
            GapCause::LaneVanished => format!("{on}: the shard left the listing before it was read to its end"),
            GapCause::ParentUnknown => format!("{on}: the shard's parent was never seen"),
            GapCause::ReadTooLate => format!("{on}: not read to its tip within the 23 h that the stream can vouch for"),
            GapCause::Recreated => format!("{on}: the table was deleted and created again"),
            GapCause::StreamReset => {
                format!("{on}: the stream was disabled; writes made meanwhile are in no stream")
            }
            GapCause::ViewType => format!("{on}: the stream does not carry new images"),
        }
    }
}
