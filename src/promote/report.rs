//! The report of a promotion: who, why, what was lost at most, and what was done when. Pure: made of its events alone, so
//! it reads the same at any time, by any process, during the recovery and years later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gate::Verdict;
use super::notation::{Secs, When};
use super::record::{ActResult, CaughtUpStore, End, Entry, Event, FenceState, Frozen, PlanRecord};
use super::request::{Principal, Request};
use super::state::{Stage, State};
use super::step::{Phase, StepId};

/// A promotion, finished or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The promotion.
    #[serde(rename = "id")]
    pub promotion: String,
    /// Where it stands.
    #[serde(rename = "state")]
    pub stage: Stage,
    /// Who asked.
    pub by: Principal,
    /// What was asked and accepted.
    pub request: Request,
    /// When.
    pub requested_at: When,
    /// The hash of the plan that it goes by.
    pub plan_hash: String,
    /// The gate at the call.
    pub gate: Verdict,
    /// How the catch-up ended.
    pub catch_up: Vec<CaughtUpStore>,
    /// The RPO report, frozen at the fence; `null` before it.
    pub frozen: Option<Frozen>,
    /// Is prodX known to be unable to write? `null` before the fence.
    pub fence: Option<FenceState>,
    /// Why it is held, was refused, or stands still.
    pub trouble: Option<String>,
    /// Every step of the plan, in order.
    pub steps: Vec<StepReport>,
    /// From the call to the completion; `null` before it.
    pub rto_seconds: Option<Secs>,
    /// The RTO allowed.
    pub rto_objective_seconds: Secs,
    /// When it ended.
    pub ended_at: Option<When>,
    /// Holds, resumptions and remarks, in order.
    pub log: Vec<LogLine>,
    /// The number of the last event that is in this report.
    pub last_event: u64,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its id.
    pub id: StepId,
    /// Its phase.
    pub phase: Phase,
    /// A failure holds the promotion.
    pub required: bool,
    /// Its first record.
    pub started_at: Option<When>,
    /// Its last record.
    pub ended_at: Option<When>,
    /// How often it was sent.
    pub attempts: u32,
    /// How it ended; `null` while it has not.
    pub end: Option<End>,
    /// The last thing that its act or its check said.
    pub last: Option<String>,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: When,
    /// What.
    pub text: String,
}

impl Report {
    /// Makes the report; `None` for events that do not begin with the request or do not follow each other.
    pub fn of(events: &[Event]) -> Option<Report> {
        let first = events.first()?;
        let Entry::Requested { request, by, plan, gate, .. } = &first.record.entry else { return None };
        let state = State::replay(events.iter().map(|e| &e.record.entry)).ok()?;
        let mut report = Report {
            promotion: first.promotion.clone(),
            stage: state.stage,
            by: by.clone(),
            request: request.clone(),
            requested_at: first.record.at,
            plan_hash: state.plan_hash.clone(),
            gate: gate.clone(),
            catch_up: Vec::new(),
            frozen: None,
            fence: None,
            trouble: None,
            steps: Vec::new(),
            rto_seconds: None,
            rto_objective_seconds: plan.rto_seconds,
            ended_at: None,
            log: Vec::new(),
            last_event: events.last()?.seq,
        };
        let mut steps = BTreeMap::new();
        for event in events {
            let at = event.record.at;
            report.note(at, &event.record.entry);
            if let Some((id, last)) = about(&event.record.entry) {
                let seen: &mut (When, When, Option<String>) = steps.entry(id).or_insert((at, at, None));
                seen.1 = at;
                if last.is_some() {
                    seen.2 = last;
                }
            }
        }
        for id in &state.order {
            let Some(progress) = state.steps.get(id) else { continue };
            let seen = steps.remove(id);
            report.steps.push(StepReport {
                id: id.clone(),
                phase: progress.planned.description.phase,
                required: progress.planned.description.required,
                started_at: seen.as_ref().map(|s| s.0),
                ended_at: seen.as_ref().filter(|_| progress.end.is_some()).map(|s| s.1),
                attempts: progress.attempts,
                end: progress.end.clone(),
                last: seen.and_then(|s| s.2),
            });
        }
        Some(report)
    }

    fn note(&mut self, at: When, entry: &Entry) {
        match entry {
            Entry::CaughtUp { stores, .. } => self.catch_up.clone_from(stores),
            Entry::Fenced { report } => {
                self.fence = Some(report.fence);
                self.frozen = Some(report.clone());
            }
            Entry::Held { why, .. } => {
                self.trouble = Some(why.clone());
                self.log.push(LogLine { at, text: format!("held: {why}") });
            }
            Entry::Resumed { by, plan, done, again } => {
                self.trouble = None;
                self.log.push(LogLine { at, text: resumed(by.as_ref(), plan.as_ref(), done, again) });
            }
            Entry::Refused { why, .. } => {
                self.trouble = Some(why.clone());
                self.ended_at = Some(at);
                self.log.push(LogLine { at, text: format!("refused: {why}") });
            }
            Entry::Noted { text, by } => {
                let who = by.as_ref().map_or("plimsoll", |p| p.name.as_str());
                self.log.push(LogLine { at, text: format!("{who}: {text}") });
            }
            Entry::Completed { rto_seconds } => {
                self.rto_seconds = Some(*rto_seconds);
                self.ended_at = Some(at);
            }
            Entry::Requested { .. } | Entry::Intent { .. } | Entry::Outcome { .. } => {}
            Entry::Checked { .. } | Entry::Settled { .. } => {}
        }
    }
}

fn resumed(by: Option<&Principal>, plan: Option<&PlanRecord>, done: &[StepId], again: &[StepId]) -> String {
    let mut text = match by {
        Some(by) => format!("resumed by {}", by.name),
        None => "resumed by a new process".to_owned(),
    };
    if let Some(plan) = plan {
        text += &format!(" with another plan ({})", plan.hash);
    }
    for step in done {
        text += &format!("; vouches that {step} is done");
    }
    for step in again {
        text += &format!("; says that {step} did not take effect");
    }
    text
}

/// Which step a record is about, and what it says that is worth showing.
fn about(entry: &Entry) -> Option<(StepId, Option<String>)> {
    match entry {
        Entry::Intent { step, .. } => Some((step.clone(), None)),
        Entry::Outcome { step, result, .. } => {
            let said = match result {
                ActResult::Ok => None,
                ActResult::Failed(why) | ActResult::Unknown(why) | ActResult::Refused(why) => Some(why.clone()),
            };
            Some((step.clone(), said))
        }
        Entry::Checked { step, world } => Some((step.clone(), world.detail().map(str::to_owned))),
        Entry::Settled { step, end } => Some((step.clone(), end.detail().map(str::to_owned))),
        Entry::Held { step: Some(step), why, .. } => Some((step.clone(), Some(why.clone()))),
        Entry::Fenced { .. } => Some((super::plan::FENCE.into(), None)),
        _ => None,
    }
}

impl End {
    /// What it says, for a human.
    pub fn detail(&self) -> Option<&str> {
        match self {
            End::Done(text) | End::NotApplicable(text) | End::GaveUp(text) | End::Vouched(text) => Some(text),
            End::Started => None,
        }
    }

    /// One word for a table.
    pub fn word(&self) -> &'static str {
        match self {
            End::Done(_) => "done",
            End::NotApplicable(_) => "n/a",
            End::Started => "started",
            End::GaveUp(_) => "GAVE UP",
            End::Vouched(_) => "vouched",
        }
    }
}
