//! The export: JSON lines, the same in the answer of the API and in the file that the command line writes.
//!
//! The first line says whose it is, a line per key follows, a line per store ends its keys, and the last line holds the
//! digest of all key lines. A file without it is a broken one. Images are lossless: what is read back is what was there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lost::Verdict;
use crate::change::StoreId;
use crate::promote::{Secs, When};
use crate::stores::salvage::Origin;

/// The format of the lines; raised when an older program must not read them.
pub const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "salvage")]
pub enum Line {
    /// The first.
    Begin(Begin),
    /// A key.
    Key(KeyLine),
    /// The work goes on; nothing to keep.
    Progress {
        /// The store.
        store: StoreId,
        /// Changes read so far.
        changes: u64,
    },
    /// A store is over.
    Store(Box<StoreLine>),
    /// A store could not be listed.
    Failed {
        /// The store; `null`: the listing as a whole.
        store: Option<StoreId>,
        /// Why, and what to do.
        why: String,
    },
    /// The last.
    End(End),
}

/// Whose export it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// [`FORMAT`].
    pub format: u32,
    /// Its name, which `apply` gives back.
    pub export: String,
    /// The application.
    pub app: String,
    /// prodX.
    pub primary: String,
    /// prodY.
    pub standby: String,
    /// The promotion that lost what is listed.
    pub promotion: String,
    /// Its fence.
    pub fenced_at: When,
    /// As of when.
    pub asked_at: When,
}

/// A lost key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyLine {
    /// The store.
    pub store: StoreId,
    /// The key's hash: its name where keys must not be shown.
    pub id: String,
    /// What is to be said of it.
    pub verdict: Verdict,
    /// How it was found.
    pub origin: Origin,
    /// The newest commit in prodX.
    pub at: Option<When>,
    /// The oldest commit that prodY may lack.
    pub since: Option<When>,
    /// Changes that became one.
    pub changes: u64,
    /// The newest change is an expiry by prodX itself.
    pub expired: bool,
    /// All of it was committed after the fence: prodX was written to after prodY took over.
    pub after_fence: bool,
    /// The key.
    pub key: Value,
    /// What prodX has; `null`: nothing.
    #[serde(deserialize_with = "Option::deserialize")]
    pub primary: Option<Value>,
    /// What prodY had when this was written; `null`: nothing.
    #[serde(deserialize_with = "Option::deserialize")]
    pub standby: Option<Value>,
}

/// How many keys of each verdict.
pub type Counts = BTreeMap<Verdict, u64>;

/// The summary of a store (RP-10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreLine {
    /// The store.
    pub store: StoreId,
    /// The list holds everything that prodX committed and prodY lacks.
    pub complete: bool,
    /// What it does not hold, a sentence each.
    pub missing: Vec<String>,
    /// The tables were compared.
    pub compared: bool,
    /// Changes read.
    pub changes: u64,
    /// Keys by verdict; `settled` ones are counted and not listed.
    pub counts: Counts,
    /// Keys of which everything was committed after the fence.
    pub after_fence: u64,
    /// The oldest commit that prodY lacks, or may lack.
    pub oldest: Option<When>,
    /// The newest commit.
    pub newest: Option<When>,
    /// The watermark that was frozen at the fence.
    pub watermark: Option<When>,
    /// What the frozen report said would be lost, at most.
    pub predicted_loss_seconds: Option<Secs>,
    /// What was lost: from the oldest commit that prodY lacks to the fence.
    pub actual_loss_seconds: Option<Secs>,
    /// Keys with a lost change that is older than the watermark: the watermark was wrong.
    pub violations: u64,
}

/// The end of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Key lines.
    pub keys: u64,
    /// SHA-256 of all key lines, each with its line end.
    pub sha256: String,
    /// Every store that was asked for is in it.
    pub whole: bool,
}

impl Line {
    /// As it is sent and kept, with its line end.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a line is plain data: no maps with non-text keys");
        text.push('\n');
        text
    }
}

impl StoreLine {
    /// Keys of a verdict.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.counts.get(&verdict).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key() -> KeyLine {
        KeyLine {
            store: StoreId::new("orders").unwrap(),
            id: "00".into(),
            verdict: Verdict::Lost,
            origin: Origin::Stream,
            at: Some(When(crate::change::SourceTime::from_secs(7))),
            since: None,
            changes: 2,
            expired: false,
            after_fence: false,
            key: json!({"pk": {"S": "a"}}),
            primary: None,
            standby: Some(json!({"pk": {"S": "a"}, "n": {"N": "12345678901234567890123456789012345678"}})),
        }
    }

    #[test]
    fn a_line_reads_back() {
        let line = Line::Key(key());
        assert_eq!(serde_json::from_str::<Line>(&line.text()).unwrap(), line);
        let counts = Counts::from([(Verdict::Lost, 2)]);
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(text, r#"{"lost":2}"#);
    }

    /// A line that was edited badly must not become a deletion.
    #[test]
    fn an_image_that_is_missing_is_not_an_item_that_is_gone() {
        for field in ["primary", "standby", "key", "verdict"] {
            let mut value: Value = serde_json::from_str(&Line::Key(key()).text()).unwrap();
            value.as_object_mut().unwrap().remove(field);
            assert!(serde_json::from_value::<Line>(value).is_err(), "{field}");
        }
    }
}
