//! A promotion that does not run: taken up by a new process, held, resumed, remarked upon.
//!
//! A new process goes on only with the plan that was asked for. Before the fence another plan refuses the promotion;
//! behind it, it is held, and whoever resumes it consents to the plan of now.

use std::sync::Arc;

use super::answer::{Answers, RunError, StartError};
use super::journal::{Journal, JournalError};
use super::plan::{Plan, PlanError};
use super::promotions::Promotions;
use super::record::Entry;
use super::request::{Authorized, Principal, Role};
use super::state::{Stage, State};

/// The longest remark, bytes.
const NOTE_MAX: usize = 4000;

impl Promotions {
    /// Takes up what a dead process left unfinished. To be called once, after the flow is there. Gives the ids. One whose
    /// journal cannot be written stands still, and says so.
    pub async fn resume_all(self: &Arc<Self>) -> Vec<String> {
        let _one_at_a_time = self.deciding.lock().await;
        let mut unfinished: Vec<_> = self
            .known()
            .iter()
            .filter(|(_, k)| matches!(k.journal.stage(), Stage::Running | Stage::Fenced) && !k.running)
            .map(|(id, k)| (k.requested_at, id.clone(), Arc::clone(&k.journal)))
            .collect();
        unfinished.sort_by_key(|(at, id, journal)| (journal.stage() != Stage::Fenced, *at, id.clone()));
        let mut taken = Vec::new();
        for (_, id, journal) in unfinished {
            // Two can only be when the first write of one was lost and came back with a restart.
            let fenced = self.authority.fenced().map(|f| f.promotion);
            let other = taken.first().cloned().or(fenced).filter(|other| *other != id);
            let written = match other {
                Some(other) => {
                    let why = format!("promotion {other} went ahead of it");
                    journal.append(Entry::Refused { why, gate: None, by: None }).await
                }
                None => self.take_up(&id, &journal, self.make_plan()).await,
            };
            if let (Err(error), Some(one)) = (written, self.known().get_mut(&id)) {
                tracing::error!(promotion = id, %error, "a promotion cannot be taken up");
                one.stuck = Some(format!("its journal cannot be written: {error}"));
            }
            taken.push(id);
        }
        taken
    }

    /// Goes on with a promotion that nobody runs, if the plan is still the one that was asked for.
    pub(super) async fn take_up(
        self: &Arc<Self>,
        id: &str,
        journal: &Journal,
        plan: Result<Plan, Vec<PlanError>>,
    ) -> Result<(), JournalError> {
        let state = journal.state();
        let why = match plan {
            Ok(plan) if plan.hash == state.plan_hash => {
                let entry = Entry::Resumed { by: None, plan: None, done: Vec::new(), again: Vec::new() };
                journal.append(entry).await?;
                self.spawn(id, plan, true);
                return Ok(());
            }
            Ok(_) => "the plan is another one than when this was asked for".to_owned(),
            Err(problems) => StartError::Plan(problems).to_string(),
        };
        journal.append(changed(&state, why)).await
    }

    fn allowed(who: &Authorized, needs: Role) -> Result<(), RunError> {
        let Principal { name, role } = who.principal().clone();
        if who.may(needs) { Ok(()) } else { Err(RunError::Forbidden { name, role, needs }) }
    }

    fn journal(&self, id: &str) -> Result<Arc<Journal>, RunError> {
        let known = self.known();
        known.get(id).map(|k| Arc::clone(&k.journal)).ok_or_else(|| RunError::Missing(id.to_owned()))
    }

    /// Lets a held promotion go on, or one whose journal could not be written. Checks again from the first step that is
    /// not done. The plan of now holds from here on.
    pub async fn resume(self: &Arc<Self>, id: &str, who: &Authorized, answers: Answers) -> Result<(), RunError> {
        Self::allowed(who, Role::Approver)?;
        let _one_at_a_time = self.deciding.lock().await;
        let journal = self.journal(id)?;
        if self.known().get(id).is_some_and(|k| k.running) {
            return Err(RunError::Conflict("it is running; there is nothing to resume".into()));
        }
        if journal.stage().over() {
            return Err(RunError::Conflict(format!("it is over ({})", journal.stage().label())));
        }
        journal.recover().await?;
        if journal.stage().over() {
            // Its last record was the one in doubt.
            if let Some(one) = self.known().get_mut(id) {
                one.stuck = None;
            }
            return Ok(());
        }
        let plan = self.make_plan().map_err(RunError::Plan)?;
        let state = journal.state();
        let changed = (plan.hash != state.plan_hash).then(|| self.record(&plan));
        let entry = Entry::Resumed {
            by: Some(who.principal().clone()),
            plan: changed,
            done: answers.done,
            again: answers.again,
        };
        match journal.append(entry).await {
            Err(JournalError::Illegal(illegal)) => return Err(RunError::Conflict(illegal.to_string())),
            other => other?,
        }
        self.spawn(id, plan, true);
        Ok(())
    }

    /// Asks a running promotion to stand still: before the fence it ends refused, behind it it is held. Calls that are
    /// under way are waited for.
    pub fn hold(&self, id: &str, who: &Authorized) -> Result<(), RunError> {
        Self::allowed(who, Role::Operator)?;
        let known = self.known();
        let one = known.get(id).ok_or_else(|| RunError::Missing(id.to_owned()))?;
        if !one.running {
            return Err(RunError::Conflict(format!("it does not run ({})", one.journal.stage().label())));
        }
        one.hold.send_replace(Some(who.principal().clone()));
        Ok(())
    }

    /// Writes a human's remark into the journal.
    pub async fn note(&self, id: &str, who: &Authorized, text: &str) -> Result<(), RunError> {
        Self::allowed(who, Role::Operator)?;
        let text = text.trim();
        if text.is_empty() || text.len() > NOTE_MAX {
            return Err(RunError::Conflict(format!("a note has 1 to {NOTE_MAX} bytes")));
        }
        let by = Some(who.principal().clone());
        Ok(self.journal(id)?.append(Entry::Noted { text: text.to_owned(), by }).await?)
    }
}

/// The record of a promotion that cannot be taken up as it was asked for.
fn changed(state: &State, why: String) -> Entry {
    if state.fenced() {
        Entry::Held { why: format!("{why}; look at the plan, then resume"), step: None, by: None }
    } else {
        Entry::Refused { why: format!("{why}; call again"), gate: None, by: None }
    }
}
