//! Achieved RPO: a pure judgement of published watermarks. No I/O, no clock.
//!
//! `W` is the instant up to which every committed change is durable in the standby; the RPO is `now - W`, plus the measured
//! clock skew: the window of commits that would be lost if prodX vanished now. It is an upper bound, never an estimate.
//!
//! What this module deliberately does not do: guess. Without a watermark there is no number, and without fresh proof the
//! number is only an upper bound that grows by a second a second.

use std::time::Duration;

use crate::change::{Method, SourceTime, Stamp, StoreId};
use crate::watermark::{Mark, Seed, Watermarks};

/// The states of a store, in the order of precedence: the first that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// A promotion has cut the flow from prodX.
    Fenced,
    /// An operator has paused it.
    Paused,
    /// History is known to be lost; a re-seed must heal it.
    Gap,
    /// The copy of what was there before is not complete: there is no watermark.
    Seeding,
    /// No proof arrived for too long.
    Unknown,
    /// A proof arrived lately, whatever the RPO.
    Ok,
}

impl State {
    /// Every state, in order of precedence.
    pub const ALL: [State; 6] = [State::Fenced, State::Paused, State::Gap, State::Seeding, State::Unknown, State::Ok];

    /// As in the API and the metric label.
    pub fn label(self) -> &'static str {
        match self {
            State::Fenced => "fenced",
            State::Paused => "paused",
            State::Gap => "gap",
            State::Seeding => "seeding",
            State::Unknown => "unknown",
            State::Ok => "ok",
        }
    }
}

/// What a store promises and how often it can prove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The RPO allowed.
    pub objective: Duration,
    /// The longest time between two proofs of a healthy idle store.
    pub period: Duration,
}

impl Terms {
    /// How old the newest proof may be for the state to be `ok`.
    pub fn patience(&self) -> Duration {
        (self.period * 3).max(Duration::from_secs(10))
    }
}

/// The verdict on one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rpo {
    /// Its state.
    pub state: State,
    /// How the watermark is founded; `None` without a watermark.
    pub method: Option<Method>,
    /// The achieved RPO; only in state `ok`.
    pub rpo: Option<Duration>,
    /// What would be lost at most; `None` without a watermark.
    pub upper_bound: Option<Duration>,
    /// The RPO allowed.
    pub objective: Duration,
    /// The watermark.
    pub watermark: Option<SourceTime>,
    /// How long ago the newest proof of this process arrived.
    pub last_proof: Option<Duration>,
    /// The upper bound is above the objective, or there is none.
    pub breached: bool,
}

/// Judges one store. `skew` is the measured bound on the difference between our clock and the source's.
pub fn assess(now: Stamp, skew: Duration, store: &StoreId, marks: &Watermarks, terms: &Terms) -> Rpo {
    let none = Mark { record: crate::watermark::StoreRecord::default(), proved: None };
    let mark = marks.stores.get(store).unwrap_or(&none);
    let last_proof = mark.proved.map(|proved| now.since(proved));
    // The watermark of a store that is not seeded says nothing, even if a record of it exists. One that stands frozen by a
    // gap goes on saying what it said while a re-seed heals it.
    let stands = matches!(mark.record.seed, Seed::Done { .. }) || mark.record.gap.is_some();
    let watermark = mark.record.through.filter(|_| stands);
    let state = if marks.fence.is_some() {
        State::Fenced
    } else if mark.record.paused_until.is_some_and(|until| now.wall < until) {
        State::Paused
    } else if mark.record.gap.is_some() {
        State::Gap
    } else if watermark.is_none() {
        State::Seeding
    } else if last_proof.is_none_or(|age| age > terms.patience()) {
        State::Unknown
    } else {
        State::Ok
    };
    let upper_bound = watermark.map(|w| age(now, w, mark.proved) + skew);
    Rpo {
        state,
        method: watermark.and(mark.record.method),
        rpo: upper_bound.filter(|_| state == State::Ok),
        upper_bound,
        objective: terms.objective,
        watermark,
        last_proof,
        breached: upper_bound.is_none_or(|bound| bound > terms.objective),
    }
}

/// The age of a watermark: by the wall clock, and by the wall clock of its proof plus the monotonic time since then. The
/// larger counts, so that no step of the wall clock, in either direction, makes an RPO look smaller (RP-5).
fn age(now: Stamp, watermark: SourceTime, proved: Option<Stamp>) -> Duration {
    let by_wall = now.wall.since(watermark);
    let by_proof = proved.map_or(Duration::ZERO, |p| p.wall.since(watermark) + now.since(p));
    by_wall.max(by_proof)
}

/// The verdict on the whole application (RP-7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRpo {
    /// The worst store's RPO; `None` when any store has none, since unknown is never zero.
    pub rpo: Option<Duration>,
    /// Between the newest and the oldest watermark: for so long references between stores may dangle after a promote.
    pub skew: Option<Duration>,
}

/// Judges the application from its stores.
pub fn assess_app(stores: &[Rpo]) -> AppRpo {
    let rpo = stores.iter().map(|s| s.rpo).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
    let marks = stores.iter().map(|s| s.watermark).collect::<Option<Vec<_>>>();
    let skew = marks.and_then(|all| Some(all.iter().max()?.since(*all.iter().min()?)));
    AppRpo { rpo, skew }
}

#[cfg(test)]
mod tests;
