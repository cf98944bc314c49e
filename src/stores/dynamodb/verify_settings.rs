//! What a `[[store]]` of kind `dynamodb` says about its verification.

use super::budget::Shares;
use crate::config::{Key, Section, Takes};
use crate::stores::verify::Terms;

pub(super) const EVERY: Key = Key::default(
    "verify_every",
    Takes::Duration { min: "0s", max: "90d" },
    "\"24h\"",
    "From the start of one comparison of all items with the standby's to the start of the next; a longer one is followed \
     at once. \"0s\": only when somebody runs `plimsoll verify`.",
);
pub(super) const SHARE: Key = Key::default(
    "verify_share",
    Takes::Integer { min: 1, max: 100 },
    "5",
    "What a comparison may use of the read capacity of both tables, percent: of what is provisioned, of the limit of an \
     on-demand table, or of 12,000 units a second.",
);
pub(super) const REPAIR: Key = Key::default(
    "verify_repair",
    Takes::Flag,
    "false",
    "true: what is proven to differ is copied again without asking, below the guard of sweep_limit. false: it is listed, \
     holds the watermark, and waits for `plimsoll verify STORE --repair`.",
);
pub(super) const ATTRIBUTES: Key = Key::optional(
    "verify_attributes",
    Takes::Texts,
    "[\"version\"]",
    "Compares only the key and these attributes, so that little else crosses the regions; whole items otherwise. A \
     difference in any other attribute is not seen: name one that every write changes. [] compares keys only.",
);

/// How a table is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerifySettings {
    pub(super) terms: Terms,
    /// Of the read capacity of both tables, percent.
    pub(super) share: u32,
    /// Attributes that are compared beside the key; `None`: all.
    pub(super) attributes: Option<Vec<String>>,
}

impl VerifySettings {
    /// What it may use.
    pub(super) fn shares(&self) -> Shares {
        Shares { read_percent: self.share, standby_percent: self.share, read_units: None, write_units: None }
    }
}

pub(super) fn read(section: &mut Section<'_>) -> VerifySettings {
    let share = u32::try_from(section.integer(&SHARE)).expect("the bounds of the key are far below");
    let terms = Terms { every: section.duration(&EVERY), repair: section.flag(&REPAIR) };
    let attributes = section.texts(&ATTRIBUTES);
    if attributes.as_ref().is_some_and(|names| names.iter().any(|name| name.len() > 255 || name.is_empty())) {
        section.problem(
            &ATTRIBUTES,
            "not the names of attributes",
            "a name is 1 to 255 characters; a path is not taken",
        );
    }
    VerifySettings { terms, share, attributes }
}
