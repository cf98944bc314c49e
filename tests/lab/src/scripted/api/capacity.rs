//! ReturnConsumedCapacity and its answer.

use super::super::model::error::AwsError;
use serde::Serialize;

/// What a caller wants to know of the capacity it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// Nothing.
    No,
    /// The units of each table.
    Total,
    /// The units of each table and of the table alone: indexes use none here.
    Indexes,
}

impl Report {
    pub(super) fn parse(wanted: Option<&str>) -> Result<Self, AwsError> {
        match wanted {
            None | Some("NONE") => Ok(Self::No),
            Some("TOTAL") => Ok(Self::Total),
            Some("INDEXES") => Ok(Self::Indexes),
            Some(other) => Err(AwsError::validation(format!(
                "1 validation error detected: Value '{other}' at 'returnConsumedCapacity' failed to satisfy constraint: \
                 Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
            ))),
        }
    }

    /// The `ConsumedCapacity` member of an answer, when it was asked for.
    pub(super) fn of(self, table: &str, units: f64) -> Option<Consumed> {
        (self != Self::No).then(|| Consumed {
            table_name: table.to_owned(),
            capacity_units: units,
            table: (self == Self::Indexes).then_some(Units { capacity_units: units }),
        })
    }
}

/// A `ConsumedCapacity`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Consumed {
    table_name: String,
    capacity_units: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<Units>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Units {
    capacity_units: f64,
}
