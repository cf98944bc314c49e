//! Who the caller of a promotion is.

use serde::{Deserialize, Serialize};

/// What a principal may do; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Holds and notes.
    Operator,
    /// Promotes and resumes.
    Approver,
}

/// Somebody, as the journal names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The name in the tokens file.
    pub name: String,
    /// The role at that time.
    pub role: Role,
}

/// Proof that a caller was authenticated. Made by `serve::auth`, or rebuilt from the journal when a promotion is resumed
/// after a restart; nothing else makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorized(Principal);

impl Authorized {
    /// Only for `serve::auth`, after a token was compared, and for the journal.
    // The listener calls it; until every caller is in the tree the compiler sees only the tests.
    #[allow(dead_code)]
    pub(crate) fn new(name: impl Into<String>, role: Role) -> Self {
        Self(Principal { name: name.into(), role })
    }

    /// Who.
    pub fn principal(&self) -> &Principal {
        &self.0
    }

    /// May they do what needs `role`?
    pub fn may(&self, role: Role) -> bool {
        self.0.role >= role
    }
}
