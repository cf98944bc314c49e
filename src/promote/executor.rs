//! The executor: one promotion from where its journal stands to its end.
//!
//! A step, once and again (SG-1, SG-3): ask the world; only when it says "not started", write the intent, act, write what
//! came of it; ask the world again until it says "done" or the deadline passes. On "in progress" nothing is ever sent
//! again. After an answer that was lost, "not started" must hold for a while before the act is repeated: the lost request
//! may still take effect.
//!
//! Deadlines are of the monotonic clock of this process: they begin again when a new process takes a promotion up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::flow::Flow;
use super::gate::{self, Verdict};
use super::journal::{Journal, JournalError};
use super::notation::{Secs, When};
use super::plan::{Job, Plan};
use super::record::{ActResult, End, Entry};
use super::request::{Principal, Request};
use super::state::Stage;
use super::step::{Context, Description, Repeat, Step, StepError, StepId, World};
use crate::change::{Stamp, StoreId};
use crate::rpo::Terms;
use crate::seams::{SharedClock, timeout};
use crate::watermark::Index;

/// Steps at one time. The API calls of a recovery are slow and few; more at once only makes throttling likelier.
const CONCURRENT: usize = 8;
/// One check may take this long; a check that hangs must not hide that the deadline passes.
pub(super) const CHECK_BOUND: Duration = Duration::from_secs(30);
/// How long "not started" must hold after a lost answer, at least (three polls, if those are longer).
const SETTLE: Duration = Duration::from_secs(5);
/// Between two "in progress" records of a step, at least: progress is for humans, and the journal is not a log.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// The longest pause after failed attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Why a promotion stops before its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// The journal cannot be written.
    Journal(JournalError),
    /// The process stops; the next one takes it up.
    Stopping,
    /// A human asked.
    Asked(Principal),
    /// A step cannot go on.
    Failed { step: Option<StepId>, why: String },
    /// The gate, judged again.
    Refused(Box<Verdict>),
}

impl From<JournalError> for Halt {
    fn from(error: JournalError) -> Self {
        Halt::Journal(error)
    }
}

/// What every promotion of this process shares.
pub(super) struct Shared {
    pub(super) index: Arc<dyn Index>,
    pub(super) flow: Arc<dyn Flow>,
    pub(super) clock: SharedClock,
    pub(super) stores: Vec<(StoreId, Terms)>,
    pub(super) skew: Arc<dyn Fn() -> Duration + Send + Sync>,
    pub(super) stopping: CancellationToken,
}

impl Shared {
    /// The gate as of now.
    pub(super) fn judge(&self, request: &Request) -> Verdict {
        gate::judge(self.clock.now(), (self.skew)(), &self.index.snapshot(), &self.stores, request)
    }
}

/// One run of one promotion.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Arc<Journal>,
    pub(super) plan: Plan,
    pub(super) request: Request,
    /// The call, for the RTO.
    pub(super) requested_at: When,
    /// Set by a human who wants it to stand still.
    pub(super) hold: watch::Receiver<Option<Principal>>,
}

impl Run {
    /// Goes on to the end, or to where it must stop, and journals that. `Err` is why the journal could not be written.
    pub(super) async fn drive(&self, resumed: bool) -> Result<(), String> {
        let halt = match self.advance(resumed).await {
            Ok(()) => return Ok(()),
            Err(halt) => halt,
        };
        let fenced = self.journal.state().fenced();
        let entry = match halt {
            Halt::Stopping => return Ok(()),
            Halt::Journal(error) => {
                // While nobody knows whether the fence is durable, nothing may flow.
                if !fenced && !self.journal.fence_in_doubt().await {
                    self.shared.flow.reopen();
                }
                return Err(error.to_string());
            }
            Halt::Asked(by) if fenced => {
                Entry::Held { why: format!("{} asked for it", by.name), step: None, by: Some(by) }
            }
            Halt::Asked(by) => Entry::Refused {
                why: format!("{} stopped it before the fence; nothing was promoted", by.name),
                gate: None,
                by: Some(by),
            },
            Halt::Failed { step, why } if fenced => Entry::Held { why, step, by: None },
            Halt::Failed { why, .. } => Entry::Refused { why, gate: None, by: None },
            Halt::Refused(verdict) => Entry::Refused { why: verdict.refusal(), gate: Some(*verdict), by: None },
        };
        let written = self.journal.append(entry).await;
        if !fenced {
            self.shared.flow.reopen();
        }
        written.map_err(|e| e.to_string())
    }

    async fn advance(&self, resumed: bool) -> Result<(), Halt> {
        if resumed {
            self.take_up().await?;
        }
        let mut running = FuturesUnordered::new();
        let mut begun = BTreeSet::new();
        let mut halt: Option<Halt> = None;
        loop {
            if halt.is_none() {
                for id in self.journal.state().ready() {
                    if running.len() < CONCURRENT && begun.insert(id.clone()) {
                        running.push(self.one(id));
                    }
                }
            }
            match running.next().await {
                Some(Ok(())) => {}
                // Those that run go on to where they may stop; the first reason counts, unless the journal is gone.
                Some(Err(next)) => {
                    if halt.is_none() || matches!(next, Halt::Journal(_)) {
                        halt = Some(next);
                    }
                }
                None => break,
            }
        }
        if let Some(halt) = halt {
            return Err(halt);
        }
        let rto = self.shared.clock.now().wall.since(self.requested_at.0);
        Ok(self.journal.append(Entry::Completed { rto_seconds: Secs(rto) }).await?)
    }

    /// What a promotion that was interrupted does first: before the fence the gate is judged again, behind it the flow
    /// is made sure to be closed.
    async fn take_up(&self) -> Result<(), Halt> {
        if self.journal.state().fenced() {
            let closed = self.shared.flow.close().await;
            return closed.map_err(|why| Halt::Failed { step: None, why: format!("the flow did not close: {why}") });
        }
        let verdict = self.shared.judge(&self.request);
        if verdict.passes { Ok(()) } else { Err(Halt::Refused(Box::new(verdict))) }
    }

    /// One step to its end.
    async fn one(&self, id: StepId) -> Result<(), Halt> {
        let missing = || Halt::Failed { step: Some(id.clone()), why: format!("step {id} is not in the plan") };
        let planned = self.plan.step(&id).ok_or_else(missing)?;
        let description = &planned.description;
        self.may_go_on()?;
        let ended = match self.plan.job(&id).ok_or_else(missing)? {
            Job::CatchUp => self.catch_up(&id, description).await,
            Job::Fence => return self.fence(&id, description).await,
            Job::Step(step) => self.step(&id, description, step.as_ref()).await,
        };
        match ended {
            Ok(end) => Ok(self.journal.append(Entry::Settled { step: id, end }).await?),
            Err(Halt::Failed { why, .. }) if !description.required => {
                Ok(self.journal.append(Entry::Settled { step: id, end: End::GaveUp(why) }).await?)
            }
            Err(halt) => Err(halt),
        }
    }

    async fn step(&self, id: &StepId, d: &Description, step: &dyn Step) -> Result<End, Halt> {
        let clock = self.shared.clock.as_ref();
        let begun = clock.now();
        let mut pace = Pace { last: None, recorded: None, not_started_since: None, failures: 0 };
        loop {
            self.may_go_on()?;
            let left = d.deadline.saturating_sub(clock.now().since(begun));
            if left.is_zero() {
                return Err(self.failed(id, d, &pace.overdue(d)));
            }
            let attempts = self.progress(id).map_or(0, |p| p.attempts);
            let cx = Context { clock, promotion: self.journal.promotion(), attempt: attempts.max(1) };
            let world = match timeout(clock, left.min(CHECK_BOUND), step.check(&cx)).await {
                Some(Ok(world)) => world,
                Some(Err(StepError::Refused(why))) => {
                    return Err(self.failed(id, d, &format!("its check failed: {why}")));
                }
                Some(Err(StepError::Failed(why) | StepError::Unknown(why))) => {
                    pace.last = Some(format!("its check failed: {why}"));
                    self.pause(d.poll.min(left)).await;
                    continue;
                }
                None => {
                    pace.last = Some("its check does not end".into());
                    continue;
                }
            };
            match self.decide(id, d, &world, &mut pace) {
                Next::End(end) => return Ok(end),
                Next::Fail(why) => return Err(self.failed(id, d, &why)),
                Next::Wait => {
                    self.record_progress(id, &world, &mut pace).await?;
                    self.pause(d.poll.max(Duration::from_millis(10)).min(left)).await;
                }
                Next::Act => {
                    let result = self.act(id, step, attempts + 1, world, begun, d).await?;
                    pace.not_started_since = None;
                    match result {
                        ActResult::Refused(why) => return Err(self.failed(id, d, &why)),
                        ActResult::Failed(why) => {
                            pace.failures += 1;
                            pace.last = Some(why);
                            let backoff = d.poll.saturating_mul(1 << pace.failures.min(6)).min(BACKOFF_MAX);
                            self.pause(backoff.min(left)).await;
                        }
                        ActResult::Unknown(why) => pace.last = Some(why),
                        ActResult::Ok if d.deferred => return Ok(End::Started),
                        ActResult::Ok => {}
                    }
                }
            }
        }
    }

    /// What the world and the journal together ask for.
    fn decide(&self, id: &StepId, d: &Description, world: &World, pace: &mut Pace) -> Next {
        let result = self.progress(id).and_then(|p| p.result);
        match world {
            World::Done(what) => Next::End(End::Done(what.clone())),
            World::NotApplicable(why) => Next::End(End::NotApplicable(why.clone())),
            World::Conflict(why) => Next::Fail(format!("it found a conflict: {why}")),
            World::InProgress(_) if d.deferred => Next::End(End::Started),
            World::InProgress(what) => {
                pace.not_started_since = None;
                pace.last = Some(format!("in progress: {what}"));
                Next::Wait
            }
            World::NotStarted(_) => {
                match (result, d.repeat) {
                    // It was accepted and shows no effect yet. Only a human may say that it must be sent again.
                    (Some(ActResult::Ok), _) => {
                        pace.last = Some("it was accepted and shows no effect".into());
                        return Next::Wait;
                    }
                    (Some(ActResult::Unknown(_)), Repeat::Checked | Repeat::Never) => {}
                    _ => return Next::Act,
                }
                let now = self.shared.clock.now();
                let since = *pace.not_started_since.get_or_insert(now);
                if now.since(since) >= SETTLE.max(d.poll * 3) { Next::Act } else { Next::Wait }
            }
            World::Unknowable => match (result, d.repeat) {
                (Some(ActResult::Ok), _) => Next::End(End::Done("it ended well; it has no check".into())),
                (None | Some(ActResult::Failed(_) | ActResult::Refused(_)), _)
                | (Some(ActResult::Unknown(_)), Repeat::Safe) => Next::Act,
                (Some(ActResult::Unknown(why)), _) => Next::Fail(format!(
                    "nobody knows whether it took effect ({why}); look, then resume with done = [\"{id}\"] or again = \
                     [\"{id}\"]"
                )),
            },
        }
    }

    /// Intent, act, outcome.
    async fn act(
        &self,
        id: &StepId,
        step: &dyn Step,
        attempt: u32,
        observed: World,
        begun: Stamp,
        d: &Description,
    ) -> Result<ActResult, Halt> {
        let clock = self.shared.clock.as_ref();
        self.journal.append(Entry::Intent { step: id.clone(), attempt, observed }).await?;
        let left = d.deadline.saturating_sub(clock.now().since(begun));
        let cx = Context { clock, promotion: self.journal.promotion(), attempt };
        let result = match timeout(clock, left, step.act(&cx)).await {
            Some(Ok(())) => ActResult::Ok,
            Some(Err(StepError::Failed(why))) => ActResult::Failed(why),
            Some(Err(StepError::Unknown(why))) => ActResult::Unknown(why),
            Some(Err(StepError::Refused(why))) => ActResult::Refused(why),
            None => ActResult::Unknown("no answer within its deadline".into()),
        };
        let entry = Entry::Outcome { step: id.clone(), attempt, result: result.clone() };
        self.journal.append(entry).await?;
        Ok(result)
    }

    async fn record_progress(&self, id: &StepId, world: &World, pace: &mut Pace) -> Result<(), Halt> {
        let now = self.shared.clock.now();
        let due = match &pace.recorded {
            Some((last, at)) => last != world && now.since(*at) >= PROGRESS_EVERY,
            None => true,
        };
        if due {
            self.journal.append(Entry::Checked { step: id.clone(), world: world.clone() }).await?;
            pace.recorded = Some((world.clone(), now));
        }
        Ok(())
    }

    pub(super) fn progress(&self, id: &StepId) -> Option<super::state::Progress> {
        self.journal.state().steps.remove(id)
    }

    pub(super) fn failed(&self, id: &StepId, d: &Description, why: &str) -> Halt {
        let hint = if self.journal.stage() == Stage::Fenced && d.required {
            "; put it right and resume, or resume with it as done"
        } else {
            ""
        };
        Halt::Failed { step: Some(id.clone()), why: format!("step {id}: {why}{hint}") }
    }

    /// Has anybody asked to stop?
    pub(super) fn may_go_on(&self) -> Result<(), Halt> {
        if self.shared.stopping.is_cancelled() {
            return Err(Halt::Stopping);
        }
        match self.hold.borrow().clone() {
            Some(by) => Err(Halt::Asked(by)),
            None => Ok(()),
        }
    }

    /// Sleeps; shorter when somebody asks to stop.
    async fn pause(&self, d: Duration) {
        let mut hold = self.hold.clone();
        tokio::select! {
            () = self.shared.clock.sleep(d) => {}
            () = self.shared.stopping.cancelled() => {}
            // A dropped sender never asks.
            Ok(_) = hold.wait_for(Option::is_some) => {}
        }
    }
}

/// What one step remembers between two checks.
struct Pace {
    /// The last thing that is worth telling.
    last: Option<String>,
    /// The last progress in the journal.
    recorded: Option<(World, Stamp)>,
    /// Since when "not started" holds after a lost answer.
    not_started_since: Option<Stamp>,
    /// Failed attempts in a row.
    failures: u32,
}

impl Pace {
    fn overdue(&self, d: &Description) -> String {
        let last = self.last.as_deref().unwrap_or("it was never seen done");
        format!("not done within {} ({last})", humantime::format_duration(d.deadline))
    }
}

/// What to do after a check.
enum Next {
    Act,
    Wait,
    End(End),
    Fail(String),
}
