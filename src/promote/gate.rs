//! The gate: may this much be lost? Pure.
//!
//! Every store with a durable watermark is judged by its number (gate time - W, an upper bound), whatever its state,
//! against what the caller accepted for it, or else against its objective. Three things are never within an objective:
//! - a gap: more is lost than W says, so a human must accept it by name;
//! - no watermark at all: only `accept_unknown` lets it pass;
//! - a clock skew above [`SKEW_MAX`] (RP-5): a number made of two clocks that disagree is no number. A store that is
//!   accepted by instant still passes, since that compares two instants of the source's own clock.
//!
//! An acceptance takes the place of the objective, also when it is the stricter one: it is the caller's word.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notation::{Secs, When};
use super::request::{Acceptance, Request};
use crate::change::{Method, Stamp, StoreId};
use crate::rpo::{self, Rpo, State, Terms};
use crate::watermark::Watermarks;

/// The largest clock skew with which numbers are believed (RP-5).
pub const SKEW_MAX: Duration = Duration::from_secs(2);

/// How the gate rules on one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// Within its objective.
    Within,
    /// The caller accepted it.
    Accepted,
    /// Not accepted.
    Refused,
}

/// One store before the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreVerdict {
    /// Which.
    pub store: StoreId,
    /// Its state, as in `/v1/status`.
    pub state: String,
    /// How its watermark is founded.
    pub method: Option<Method>,
    /// Everything committed up to here is in the standby.
    pub watermark: Option<When>,
    /// What would be lost at most; `null` when nothing bounds it.
    pub loss_seconds: Option<Secs>,
    /// The RPO allowed.
    pub objective_seconds: Secs,
    /// What the caller accepted for it.
    pub accepted: Option<Acceptance>,
    /// The ruling.
    pub ruling: Ruling,
    /// The ruling as a sentence with its numbers; for a refused store with the flag that would accept it.
    pub why: String,
    /// The flag that would accept the loss of this moment; `null` unless refused.
    pub flag: Option<String>,
    /// The flag that would accept the loss of what came after W: it stays true while the number grows.
    pub flag_by_instant: Option<String>,
}

/// The verdict on all stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The gate time, our wall clock.
    pub at: When,
    /// The bound on the clock skew, included in every number.
    pub skew_seconds: Secs,
    /// Every store passes.
    pub passes: bool,
    /// By store.
    pub stores: Vec<StoreVerdict>,
}

impl Verdict {
    /// The refused stores.
    pub fn refused(&self) -> impl Iterator<Item = &StoreVerdict> {
        self.stores.iter().filter(|s| s.ruling == Ruling::Refused)
    }

    /// Why it does not pass, all stores in one sentence each.
    pub fn refusal(&self) -> String {
        self.refused().map(|s| s.why.clone()).collect::<Vec<_>>().join("; ")
    }

    /// For how long the flow may go on before a number that does not improve would pass its limit; `None` when no
    /// store is judged by a number. Catching up with a dead prodX must not use up what was accepted.
    pub fn headroom(&self) -> Option<Duration> {
        let left = |s: &StoreVerdict| {
            let loss = s.loss_seconds?.0;
            match s.accepted {
                Some(Acceptance::Since(_)) => None,
                Some(Acceptance::Loss(limit)) => Some(limit.0.saturating_sub(loss)),
                None => Some(s.objective_seconds.0.saturating_sub(loss)),
            }
        };
        self.stores.iter().filter_map(left).min()
    }
}

/// What is wrong with the acceptances themselves, a sentence each: unknown stores, and the wrong flag for a store.
pub fn problems(now: Stamp, marks: &Watermarks, stores: &[(StoreId, Terms)], request: &Request) -> Vec<String> {
    let known = stores.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ");
    let mut problems = Vec::new();
    let mut look = |what: &str, store: &StoreId| {
        let terms = stores.iter().find(|(id, _)| id == store).map(|(_, terms)| terms);
        if terms.is_none() {
            problems.push(format!("{what}: there is no store {store}; known are {known}"));
        }
        terms.map(|terms| rpo::assess(now, Duration::ZERO, store, marks, terms).upper_bound)
    };
    let mut wrong = Vec::new();
    for store in request.accept_loss.keys() {
        if look("accept_loss", store) == Some(None) {
            wrong.push(format!(
                "accept_loss: {store} has no watermark, so no number bounds its loss; if it may be lost entirely, \
                 use --accept-unknown {store}"
            ));
        }
    }
    for store in &request.accept_unknown {
        if let Some(Some(loss)) = look("accept_unknown", store) {
            let loss = Secs(loss);
            wrong.push(format!(
                "accept_unknown: {store} has a number ({loss}); accept it with --accept-loss {store}={}s",
                loss.ceil()
            ));
        }
    }
    problems.extend(wrong);
    problems
}

/// Judges all stores at `now`. `skew` bounds the difference between our clock and the source's.
pub fn judge(
    now: Stamp,
    skew: Duration,
    marks: &Watermarks,
    stores: &[(StoreId, Terms)],
    request: &Request,
) -> Verdict {
    let stores: Vec<_> = stores
        .iter()
        .map(|(store, terms)| {
            let rpo = rpo::assess(now, skew, store, marks, terms);
            judge_store(store, &rpo, skew, request)
        })
        .collect();
    let passes = stores.iter().all(|s| s.ruling != Ruling::Refused);
    Verdict { at: When(now.wall), skew_seconds: Secs(skew), passes, stores }
}

fn judge_store(store: &StoreId, rpo: &Rpo, skew: Duration, request: &Request) -> StoreVerdict {
    let accepted = request.accept_loss.get(store).copied();
    let watermark = rpo.watermark.map(When);
    let loss = rpo.upper_bound.map(Secs);
    let objective = Secs(rpo.objective);
    let state = rpo.state.label();
    let mut verdict = StoreVerdict {
        store: store.clone(),
        state: state.to_owned(),
        method: rpo.method,
        watermark,
        loss_seconds: loss,
        objective_seconds: objective,
        accepted,
        ruling: Ruling::Refused,
        why: String::new(),
        flag: None,
        flag_by_instant: None,
    };
    let (Some(loss), Some(watermark)) = (loss, watermark) else {
        if request.accept_unknown.contains(store) {
            verdict.ruling = Ruling::Accepted;
            verdict.why = format!("{store}: {state}, no watermark; accepted that it may be lost entirely");
        } else {
            let flag = format!("--accept-unknown {store}");
            verdict.why = format!(
                "{store}: {state}, no watermark, so nothing bounds its loss; wait for its seed, or, if it may be lost \
                 entirely, accept with {flag}"
            );
            verdict.flag = Some(flag);
        }
        return verdict;
    };
    let size = format!(
        "{store}: {state}, up to {loss} would be lost (changes after {}), objective {objective}",
        watermark.to_second()
    );
    let unclear = skew > SKEW_MAX;
    let gap = rpo.state == State::Gap;
    let (passes, why) = match accepted {
        // The operator who accepted everything of a store that meanwhile got a number accepted this too.
        _ if request.accept_unknown.contains(store) => (true, "; accepted that it may be lost entirely".into()),
        Some(Acceptance::Since(instant)) if watermark >= instant => {
            (true, format!("; accepted {}", Acceptance::Since(instant)))
        }
        Some(Acceptance::Since(instant)) => (false, format!("; accepted was only what came after {instant}")),
        _ if unclear => (
            false,
            format!(
                "; the clocks of the regions differ by up to {}, more than {}, so no number can be believed",
                Secs(skew),
                Secs(SKEW_MAX)
            ),
        ),
        Some(Acceptance::Loss(limit)) if loss <= limit => (true, format!("; accepted up to {limit}")),
        Some(Acceptance::Loss(limit)) => (false, format!("; accepted was only {limit}")),
        None if gap => (false, "; history is known to be lost, so more is missing than the number says".into()),
        None if loss <= objective => (true, String::new()),
        None => (false, String::new()),
    };
    verdict.ruling = match (passes, accepted, request.accept_unknown.contains(store)) {
        (false, _, _) => Ruling::Refused,
        (true, None, false) => Ruling::Within,
        (true, _, _) => Ruling::Accepted,
    };
    verdict.why = size + &why;
    if !passes {
        let by_instant = format!("--accept-loss {store}@{}", watermark.to_second());
        let by_number = format!("--accept-loss {store}={}s", loss.ceil());
        verdict.why += &if unclear {
            format!("; accept with {by_instant}")
        } else {
            format!("; accept with {by_number}, or with {by_instant}, which stays true while the number grows")
        };
        verdict.flag = Some(if unclear { by_instant.clone() } else { by_number });
        verdict.flag_by_instant = Some(by_instant);
    }
    verdict
}
