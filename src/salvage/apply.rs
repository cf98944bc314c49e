//! Bringing over what an operator named: line by line of an export, each under the condition that prodY is as the line says.
//!
//! Safe to repeat: what is in prodY already is found there, and what was changed meanwhile is left.

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::coalesce::{id_of, shown};
use super::line::KeyLine;
use super::lost::Verdict;
use super::{SalvageError, Salvages};
use crate::promote::Authorized;
use crate::stores::salvage::{Settled, Wish};

/// Writes at one time.
const WRITES: usize = 8;

/// What is done where more than a loss is found (FB-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// prodY's item stays.
    #[default]
    KeepY,
    /// prodX's item replaces it.
    KeepX,
}

/// The body of `POST /v1/salvage/apply`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The export that the lines are of.
    pub export: String,
    /// Where prodY was written to.
    #[serde(default)]
    pub policy: Policy,
    /// Lines of it, all, some, or edited.
    pub lines: Vec<KeyLine>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// prodY has it now.
    Applied,
    /// prodY had it already.
    Already,
    /// prodY was written to, and the policy keeps it.
    Kept,
    /// prodY is not as the line says any more: skipped.
    Changed,
    /// Written together with another write that added an attribute; the detail holds what was replaced.
    Raced,
    /// Not written, or nobody knows: apply again.
    Failed,
    /// It cannot be written.
    Refused,
}

impl OutcomeKind {
    /// For a table.
    pub fn label(self) -> &'static str {
        match self {
            OutcomeKind::Applied => "applied",
            OutcomeKind::Already => "already there",
            OutcomeKind::Kept => "kept as in prodY",
            OutcomeKind::Changed => "changed since",
            OutcomeKind::Raced => "raced",
            OutcomeKind::Failed => "failed",
            OutcomeKind::Refused => "refused",
        }
    }
}

/// What became of a line, and of which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The store.
    pub store: String,
    /// The key's hash.
    pub id: String,
    /// What became of it.
    pub outcome: OutcomeKind,
    /// More, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Salvages {
    /// Applies lines of an export. An outcome for each, in their order.
    pub async fn apply(&self, who: &Authorized, apply: Apply) -> Result<Vec<Outcome>, SalvageError> {
        let fence = self.fence()?;
        match self.audit.export(&apply.export) {
            Some(promotion) if promotion == fence.promotion => {}
            Some(promotion) => {
                let what =
                    format!("export {} is of promotion {promotion}, and {} is in force", apply.export, fence.promotion);
                return Err(SalvageError::Export(what));
            }
            None => {
                let what = format!("this daemon completed no export {:?}", apply.export);
                return Err(SalvageError::Export(what));
            }
        }
        let _one_after_the_other = self.applying.lock().await;
        let lines: Vec<Value> =
            apply.lines.iter().map(|line| json!([line.store, line.id, line.verdict.label()])).collect();
        // Written down before it is done.
        let intent = json!({"export": apply.export, "policy": apply.policy, "lines": lines});
        self.audit.write(who, "salvage_apply", intent).await?;
        // Made before they are awaited: a closure held over an await is not `Send` for every lifetime.
        let writes: Vec<_> = apply.lines.iter().map(|line| self.one(line, apply.policy)).collect();
        let outcomes: Vec<Outcome> = stream::iter(writes).buffered(WRITES).collect().await;
        let told: Vec<Value> = outcomes.iter().map(|one| json!([one.store, one.id, one.outcome])).collect();
        self.audit.write(who, "salvage_applied", json!({"export": apply.export, "lines": told})).await?;
        Ok(outcomes)
    }

    async fn one(&self, line: &KeyLine, policy: Policy) -> Outcome {
        let (outcome, detail) = match self.settle(line, policy).await {
            Ok(Settled::Applied) => (OutcomeKind::Applied, None),
            Ok(Settled::Already) => (OutcomeKind::Already, None),
            Ok(Settled::Changed) => {
                (OutcomeKind::Changed, Some("prodY is not as the export says: list again".to_owned()))
            }
            Ok(Settled::Raced(was)) => (OutcomeKind::Raced, Some(was)),
            Ok(Settled::Failed(why)) => (OutcomeKind::Failed, Some(why)),
            Ok(Settled::Refused(why)) => (OutcomeKind::Refused, Some(why)),
            Err(left) => left,
        };
        Outcome { store: line.store.to_string(), id: line.id.clone(), outcome, detail }
    }

    /// Writes one line, or says why it is left.
    async fn settle(&self, line: &KeyLine, policy: Policy) -> Result<Settled, (OutcomeKind, Option<String>)> {
        let refuse = |why: String| (OutcomeKind::Refused, Some(why));
        let store = self.store(line.store.as_str()).map_err(|e| refuse(e.to_string()))?;
        let salvage = store.salvage().ok_or_else(|| refuse("its store cannot be salvaged".into()))?;
        let key = salvage.identity(&line.key).ok_or_else(|| refuse("its key is no key of this store".into()))?;
        if shown(&id_of(&key)) != line.id {
            return Err(refuse("its id is that of another key".into()));
        }
        if line.verdict != Verdict::Lost && policy == Policy::KeepY {
            return Err((OutcomeKind::Kept, Some(format!("{}: the policy keep_y leaves it", line.verdict.label()))));
        }
        let wish = Wish { key: line.key.clone(), image: line.primary.clone(), based_on: line.standby.clone() };
        Ok(salvage.settle(&wish).await)
    }
}
