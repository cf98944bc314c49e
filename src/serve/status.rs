//! `GET /v1/status`: what is known about every store at this moment, as numbers and as sentences.
//!
//! Pure: made of published watermarks, vital signs and the time. Every field of the shape is always present; what is not
//! known is `null`, never zero. Durations are seconds, instants RFC 3339 in UTC. The command line reads the same types, so
//! the two cannot drift apart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::coverage::Coverage;
use crate::change::{Severity, SourceTime, Stamp, StoreId};
use crate::config::Config;
use crate::promote::When;
use crate::rpo::{Rpo, State, Terms, assess, assess_app};
use crate::watermark::{Board, Mark, Seed, Vitals, Watermarks};

/// The whole application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `app` of the configuration.
    pub app: String,
    /// prodX.
    pub primary: Primary,
    /// prodY.
    pub standby: Standby,
    /// `replicating`, `catching_up`, `fenced`, `promoting`, `promoted`, `held`, `failing_back`.
    pub phase: String,
    /// The worst store's achieved RPO; `null` when any store has none.
    pub rpo_seconds: Option<f64>,
    /// The RPO allowed.
    pub rpo_objective_seconds: f64,
    /// The RTO allowed.
    pub rto_objective_seconds: f64,
    /// Between the newest and the oldest watermark; `null` when any store has none.
    pub skew_seconds: Option<f64>,
    /// In the order of the configuration.
    pub stores: Vec<StoreStatus>,
}

/// prodX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Primary {
    /// Its AWS region.
    pub region: String,
    /// Some store's source answered lately; `null` when nobody asks (after the fence, and just after the start).
    pub reachable: Option<bool>,
}

/// prodY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standby {
    /// Its AWS region.
    pub region: String,
}

/// One store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The operator's name for it.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// `replicate` or `observe`.
    pub mode: String,
    /// `fenced`, `paused`, `gap`, `seeding`, `unknown`, `ok`.
    pub state: String,
    /// `verified`, `assumed`, `sampled`, `metric`; `null` without a watermark.
    pub method: Option<String>,
    /// The achieved RPO; only in state `ok`.
    pub rpo_seconds: Option<f64>,
    /// What would be lost at most; `null` without a watermark.
    pub rpo_upper_bound_seconds: Option<f64>,
    /// The RPO allowed.
    pub objective_seconds: f64,
    /// Everything committed up to here is durable in prodY.
    pub watermark: Option<String>,
    /// Changes on their way.
    pub backlog: Backlog,
    /// Changes that prodY refuses.
    pub failed_items: u64,
    /// Time until the source may forget a change that was not read.
    pub retention_headroom_seconds: Option<f64>,
    /// When a change was last made durable, or the source last proved that there was none.
    pub last_progress: Option<String>,
    /// The watermark, for a human.
    pub cutoff: String,
    /// Of a seed, a sweep or a verification.
    pub progress: Option<Progress>,
    /// Of the last verification.
    pub verified: Option<Verified>,
    /// Of a store that is made the same key by key.
    #[serde(default)]
    pub coverage: Option<Coverage>,
    /// Where its two ends are not as a recovery needs them, the worst first; empty when nothing was found, or not looked
    /// for yet, and behind the fence.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// What is wrong and what to do; `null` when nothing is.
    pub note: Option<String>,
}

/// Something that an examination of a store found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Which check.
    pub check: String,
    /// `warning` or `problem`.
    pub severity: String,
    /// What was found, and on what.
    pub what: String,
    /// What to do, with the command where there is one.
    #[serde(rename = "do")]
    pub todo: Option<String>,
}

/// Changes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Read and not yet durable in prodY.
    pub items: u64,
}

/// How far a long work has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The work.
    pub what: String,
    /// Items done.
    pub done: u64,
    /// Items in all, when known.
    pub total: Option<u64>,
    /// Time left, when it can be told.
    pub eta_seconds: Option<f64>,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When it ended, having looked at every item.
    pub at: String,
    /// Items that are known to differ now.
    pub divergent: u64,
}

/// A store as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its id.
    pub id: StoreId,
    /// Its kind.
    pub kind: &'static str,
    /// `replicate` or `observe`.
    pub mode: &'static str,
    /// What it promises.
    pub terms: Terms,
}

/// The application as the server knows it: what does not change while the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// `app` of the configuration.
    pub app: String,
    /// prodX's region.
    pub primary: String,
    /// prodY's region.
    pub standby: String,
    /// The RPO allowed.
    pub rpo: Duration,
    /// The RTO allowed.
    pub rto: Duration,
    /// In the order of the configuration.
    pub stores: Vec<Watched>,
}

/// What a status is made of.
pub struct Facts<'a> {
    /// Now.
    pub now: Stamp,
    /// When this process began to look.
    pub started: Stamp,
    /// The measured bound on the difference between our clock and the source's.
    pub clock_skew: Duration,
    /// What is published.
    pub marks: &'a Watermarks,
    /// The drivers' vital signs.
    pub board: &'a Board,
    /// The application's phase.
    pub phase: &'a str,
}

impl Fleet {
    /// As the configuration says, with its stores as they were opened.
    pub fn of(config: &Config, stores: Vec<Watched>) -> Self {
        Self {
            app: config.app.clone(),
            primary: config.primary.region.clone(),
            standby: config.standby.region.clone(),
            rpo: config.objectives.rpo,
            rto: config.objectives.rto,
            stores,
        }
    }

    /// The status of the application.
    pub fn status(&self, facts: &Facts<'_>) -> Status {
        let verdicts: Vec<Rpo> =
            self.stores.iter().map(|s| assess(facts.now, facts.clock_skew, &s.id, facts.marks, &s.terms)).collect();
        let app = assess_app(&verdicts);
        // The worst of no stores is not zero.
        let told = |d: Option<Duration>| d.filter(|_| !verdicts.is_empty()).map(secs);
        Status {
            app: self.app.clone(),
            primary: Primary { region: self.primary.clone(), reachable: self.reachable(facts) },
            standby: Standby { region: self.standby.clone() },
            phase: facts.phase.to_owned(),
            rpo_seconds: told(app.rpo),
            rpo_objective_seconds: secs(self.rpo),
            rto_objective_seconds: secs(self.rto),
            skew_seconds: told(app.skew),
            stores: self.stores.iter().zip(&verdicts).map(|(s, v)| store(s, v, facts)).collect(),
        }
    }

    /// Did a source answer lately? After the fence nobody asks it, and a process that has just started has not waited for
    /// an answer yet: then nothing is known.
    fn reachable(&self, facts: &Facts<'_>) -> Option<bool> {
        if facts.marks.fence.is_some() {
            return None;
        }
        let lately = |s: &Watched| {
            let answered = facts.board.read(&s.id).source_answered;
            answered.is_some_and(|at| facts.now.since(at) <= s.terms.patience())
        };
        if self.stores.iter().any(lately) {
            return Some(true);
        }
        let patience = self.stores.iter().map(|s| s.terms.patience()).max().unwrap_or_default();
        (!self.stores.is_empty() && facts.now.since(facts.started) > patience).then_some(false)
    }
}

fn store(watched: &Watched, verdict: &Rpo, facts: &Facts<'_>) -> StoreStatus {
    let vitals = facts.board.read(&watched.id);
    let mark = facts.marks.stores.get(&watched.id);
    let (drift, worst) = drift(&watched.id, facts);
    StoreStatus {
        id: watched.id.to_string(),
        kind: watched.kind.to_owned(),
        mode: watched.mode.to_owned(),
        state: verdict.state.label().to_owned(),
        method: verdict.method.map(|m| m.label().to_owned()),
        rpo_seconds: verdict.rpo.map(secs),
        rpo_upper_bound_seconds: verdict.upper_bound.map(secs),
        objective_seconds: secs(verdict.objective),
        watermark: verdict.watermark.map(|w| w.to_string()),
        backlog: Backlog { items: vitals.backlog_items },
        failed_items: vitals.failed_items,
        retention_headroom_seconds: vitals.retention_headroom.map(secs),
        last_progress: vitals.last_progress.map(|at| at.wall.to_string()),
        cutoff: cutoff(verdict, facts),
        progress: vitals.progress.as_ref().map(|progress| Progress {
            what: progress.what.to_owned(),
            done: progress.done,
            total: (progress.total > 0).then_some(progress.total),
            eta_seconds: progress.eta.map(secs),
        }),
        verified: mark
            .and_then(|mark| mark.record.verified_at)
            .map(|at| Verified { at: at.to_string(), divergent: vitals.divergent }),
        coverage: mark.and_then(|mark| mark.record.course.as_deref()).map(|course| Coverage::of(course, &vitals)),
        drift,
        note: note(verdict, mark, &vitals, facts, worst),
    }
}

/// What the last examination found, and the worst problem of it in a sentence.
fn drift(store: &StoreId, facts: &Facts<'_>) -> (Vec<Drift>, Option<String>) {
    if facts.marks.fence.is_some() {
        return (Vec::new(), None);
    }
    let seen = facts.board.examination(store);
    let troubles = seen.troubles();
    let worst = troubles.first().filter(|f| f.severity == Severity::Problem).map(|f| {
        let more = troubles.len() - 1;
        let rest = if more == 0 { String::new() } else { format!(" (and {more} more: plimsoll doctor --online)") };
        format!("{}{rest}", f.sentence())
    });
    let told = troubles.into_iter().map(|f| Drift {
        check: f.check.to_owned(),
        severity: f.severity.label().to_owned(),
        what: format!("{}: {}", f.on, f.what),
        todo: match (&f.todo, &f.command) {
            (Some(todo), Some(command)) => Some(format!("{todo}: {command}")),
            (todo, command) => todo.clone().or_else(|| command.clone()),
        },
    });
    (told.collect(), worst)
}

fn secs(d: Duration) -> f64 {
    d.as_secs_f64()
}

/// What would be lost, as a sentence.
fn cutoff(verdict: &Rpo, facts: &Facts<'_>) -> String {
    let Some(watermark) = verdict.watermark else {
        return "no cutoff yet: prodY is not proven to hold what prodX holds".into();
    };
    let since = clock(watermark, facts.now.wall);
    if let Some(fence) = &facts.marks.fence {
        return format!("changes after {since} were not copied; fenced at {}", clock(fence.at, facts.now.wall));
    }
    match verdict.last_proof {
        Some(age) => format!("changes after {since} would be lost; last proof {} ago", span(age)),
        None => format!("changes after {since} would be lost; no proof since this process started"),
    }
}

/// What is wrong and what to do.
fn note(
    verdict: &Rpo,
    mark: Option<&Mark>,
    vitals: &Vitals,
    facts: &Facts<'_>,
    drift: Option<String>,
) -> Option<String> {
    let mut says = Vec::new();
    let record = mark.map(|m| &m.record);
    match verdict.state {
        State::Fenced => {}
        State::Paused => {
            if let Some(until) = record.and_then(|r| r.paused_until) {
                says.push(format!("paused by an operator until {}", clock(until, facts.now.wall)));
            }
        }
        State::Gap => {
            if let Some(gap) = record.and_then(|r| r.gap.as_ref()) {
                let healing = record.is_some_and(|r| r.seed == Seed::Pending) && vitals.progress.is_some();
                let cure = if healing { "a re-seed is under way that heals it" } else { "only a re-seed heals it" };
                says.push(format!(
                    "history was lost at {}: {}; {cure}, until then changes may be missing in prodY",
                    clock(gap.declared_at, facts.now.wall),
                    gap.sentence()
                ));
            }
        }
        State::Seeding => says.push(
            "seeding: what existed before the tail began is not proven to be in prodY, so there is no RPO yet; \
             a promotion needs this store to be accepted by name"
                .into(),
        ),
        State::Unknown => says.push(match verdict.last_proof {
            Some(age) => format!(
                "no proof for {}: prodX does not answer or this store is stuck; the upper bound still holds",
                span(age)
            ),
            None => "no proof since this process started; the watermark of the last run still holds as an upper bound"
                .into(),
        }),
        State::Ok => {}
    }
    if vitals.failed_items > 0 {
        let changes =
            if vitals.failed_items == 1 { "1 change is" } else { &format!("{} changes are", vitals.failed_items) };
        says.push(format!("{changes} parked because prodY refuses what was sent; the oldest pins the watermark"));
    }
    says.extend(vitals.trouble.clone());
    says.extend(drift);
    says.extend(vitals.about.clone());
    (!says.is_empty()).then(|| says.join("; "))
}

/// An instant for a human: the time of day, with the date when it is not today's.
pub fn clock(at: SourceTime, now: SourceTime) -> String {
    let (text, today) = (When(at).to_second(), now.to_string());
    match (text.split_once('T'), today.split_once('T')) {
        (Some((date, time)), Some((day, _))) if date == day => time.to_owned(),
        _ => text,
    }
}

/// A duration for a human, rounded up: a loss is never made to look smaller.
pub fn span(d: Duration) -> String {
    let s = d.as_secs().saturating_add(u64::from(d.subsec_millis() > 0));
    let minutes = s.div_ceil(60);
    let tenths = d.as_millis().div_ceil(100);
    match s {
        0..10 => format!("{}.{} s", tenths / 10, tenths % 10),
        10..120 => format!("{s} s"),
        120..7200 => format!("{} min {} s", s / 60, s % 60),
        7200..172_800 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", s.div_ceil(3600) / 24, s.div_ceil(3600) % 24),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
