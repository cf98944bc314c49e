//! What the two proofs of a store that is made the same key by key reach, and what they leave out.

use serde::{Deserialize, Serialize};

use crate::watermark::Vitals;
use crate::watermark::course::{Course, Tally};

/// Of a store that is made the same key by key: what its events prove, what its walks prove, and what is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Everything committed up to here is durable in prodY, by the events alone; `null` before the first proof.
    pub events: Option<String>,
    /// The same, by the last complete walk of both ends: no event is needed for it to be true.
    pub certified: Option<String>,
    /// An event counts as delivered at most this long after its change; whole seconds, rounded up.
    pub delivery_seconds: Option<u64>,
    /// Events since then may be missing, and why; only a walk knows.
    pub blind: Option<Blind>,
    /// What cannot be copied and pins the watermark.
    pub refused: Vec<Left>,
    /// What need not be copied, by configuration: it is in no number.
    pub excluded: Vec<Left>,
    /// Differences that a walk found and no event had told of.
    pub untold: u64,
    /// Keys of which an event came behind the fence.
    pub late: u64,
}

/// Events may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blind {
    /// The oldest change that may be missing.
    pub since: String,
    /// What happened.
    pub why: String,
}

/// Objects of one class that are not copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Why: `archived`, `sse-c`.
    pub class: String,
    /// How many.
    pub items: u64,
    /// Their size.
    pub bytes: u64,
}

impl Coverage {
    /// Of what is durable, and of the driver's vital signs.
    pub fn of(course: &Course, vitals: &Vitals) -> Self {
        let left =
            |(class, tally): (&String, &Tally)| Left { class: class.clone(), items: tally.items, bytes: tally.bytes };
        Self {
            events: course.events_through.map(|at| at.to_string()),
            certified: course.certified.map(|at| at.to_string()),
            delivery_seconds: vitals.delivery.map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0)),
            blind: course.blind.as_ref().map(|b| Blind { since: b.since.to_string(), why: b.why.clone() }),
            refused: course.refused.iter().map(left).collect(),
            excluded: course.excluded.iter().map(left).collect(),
            untold: course.untold,
            late: vitals.late.unwrap_or_default(),
        }
    }
}
