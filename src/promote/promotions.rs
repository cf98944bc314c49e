//! All promotions of the process, as the listener sees them: start, look, hold, resume; and taking up what a dead process
//! left behind.
//!
//! Invariants
//! - One unfinished promotion at a time; none after a completed one (SG-7).
//! - The same idempotency key gives the same promotion, for ever; another request under it is an error.
//! - Nothing runs before its request is durable.
//!
//! A restart: [`Promotions::open`] reads every journal, [`Promotions::resume_all`] takes up the unfinished one. Before the
//! fence its gate is judged again with the numbers of that moment, and worse ones refuse it. When the plan is another
//! than the one that was asked for, a promotion before its fence is refused, and one behind it is held until a human
//! resumes it, which is consent to the plan of now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::answer::{Events, Phased, PromotionView, StartError, Started};
use super::authority::{Authority, AuthorityError, IndexAuthority};
use super::executor::{Run, Shared};
use super::flow::Flow;
use super::gate;
use super::journal::{Journal, JournalError, OnEvent};
use super::notation::{Secs, When};
use super::plan::{Plan, PlanError, plan};
use super::preview::{PlanView, preview};
use super::record::{Entry, KeyRecord, PlanRecord};
use super::report::Report;
use super::request::{Authorized, Mode, Principal, Request, Role};
use super::state::Stage;
use super::step::Step;
use crate::change::StoreId;
use crate::config;
use crate::rpo::Terms;
use crate::seams::{Ids, SharedClock};
use crate::supervise::{TaskKind, Tasks};
use crate::watermark::{Index, Watermarks};

/// The longest idempotency key, bytes.
const KEY_MAX: usize = 255;

/// The steps of a store's promotion, given what is durable. Pure.
pub type StepsOf = Arc<dyn Fn(&Watermarks) -> Vec<Arc<dyn Step>> + Send + Sync>;

/// One store as a promotion sees it.
#[derive(Clone)]
pub struct Kept {
    /// Its id.
    pub id: StoreId,
    /// What it promises.
    pub terms: Terms,
    /// What a promotion does for it. Pure.
    pub steps: StepsOf,
}

/// What promotions need.
pub struct Inputs {
    /// Numbers and journal.
    pub index: Arc<dyn Index>,
    /// The flow from prodX to prodY.
    pub flow: Arc<dyn Flow>,
    /// Time.
    pub clock: SharedClock,
    /// Ids of promotions.
    pub ids: Arc<dyn Ids>,
    /// Where promotions run.
    pub tasks: Tasks,
    /// What is kept warm.
    pub stores: Vec<Kept>,
    /// `[promote]`.
    pub promote: config::Promote,
    /// The RTO allowed.
    pub rto: Duration,
    /// The measured bound on the clock skew between the regions.
    pub skew: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// A promotion of this process's memory.
pub(super) struct Known {
    pub(super) journal: Arc<Journal>,
    pub(super) request: Request,
    pub(super) by: Principal,
    pub(super) requested_at: When,
    /// A run is under way.
    pub(super) running: bool,
    /// Why it stands still although its journal does not say so.
    pub(super) stuck: Option<String>,
    pub(super) hold: watch::Sender<Option<Principal>>,
}

/// All promotions.
pub struct Promotions {
    pub(super) shared: Arc<Shared>,
    pub(super) authority: Arc<dyn Authority>,
    pub(super) ids: Arc<dyn Ids>,
    pub(super) tasks: Tasks,
    pub(super) kept: Vec<Kept>,
    pub(super) promote: config::Promote,
    pub(super) rto: Duration,
    /// Held over a start or a resumption: one decision at a time.
    pub(super) deciding: tokio::sync::Mutex<()>,
    pub(super) known: Mutex<BTreeMap<String, Known>>,
    /// A promotion whose first write failed, or was given up half-way: it may be durable all the same.
    pub(super) doubt: Mutex<Option<String>>,
    pub(super) on_event: OnceLock<OnEvent>,
}

impl Promotions {
    /// Reads every journal. Starts nothing.
    pub fn open(inputs: Inputs) -> Result<Arc<Self>, JournalError> {
        let authority = Arc::new(IndexAuthority(Arc::clone(&inputs.index)));
        Self::with_authority(inputs, authority)
    }

    /// The same with another authority.
    pub fn with_authority(inputs: Inputs, authority: Arc<dyn Authority>) -> Result<Arc<Self>, JournalError> {
        let mut known = BTreeMap::new();
        for (promotion, records) in authority.journals()? {
            let (clock, authority) = (Arc::clone(&inputs.clock), Arc::clone(&authority));
            let journal = Journal::read(promotion.clone(), authority, clock, records)?;
            if let Some(one) = Known::new(journal) {
                known.insert(promotion, one);
            }
        }
        let shared = Shared {
            index: inputs.index,
            flow: inputs.flow,
            clock: inputs.clock,
            stores: inputs.stores.iter().map(|k| (k.id.clone(), k.terms)).collect(),
            skew: inputs.skew,
            stopping: inputs.tasks.stopping(),
        };
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
            authority,
            ids: inputs.ids,
            tasks: inputs.tasks,
            kept: inputs.stores,
            promote: inputs.promote,
            rto: inputs.rto,
            deciding: tokio::sync::Mutex::new(()),
            known: Mutex::new(known),
            doubt: Mutex::new(None),
            on_event: OnceLock::new(),
        }))
    }

    /// Tells somebody (metrics, announcements) of every event of this process once it is durable. To be called once,
    /// before [`Promotions::resume_all`]; it must be quick.
    pub fn on_event(&self, tell: OnEvent) {
        let tell = self.on_event.get_or_init(|| tell);
        self.known().values().for_each(|one| one.journal.on_event(Arc::clone(tell)));
    }

    pub(super) fn make_plan(&self) -> Result<Plan, Vec<PlanError>> {
        let marks = self.shared.index.snapshot();
        let steps = self.kept.iter().flat_map(|k| (k.steps)(&marks)).collect();
        plan(&self.promote, &self.shared.stores, steps)
    }

    pub(super) fn record(&self, plan: &Plan) -> PlanRecord {
        PlanRecord {
            hash: plan.hash.clone(),
            steps: plan.steps.clone(),
            objectives: plan.objectives.clone(),
            rto_seconds: Secs(self.rto),
        }
    }

    /// The plan with what its checks say now. Reads only; takes as long as the checks, at most about 20 s.
    pub async fn plan(&self) -> Result<PlanView, Vec<PlanError>> {
        Ok(preview(&self.shared, &self.make_plan()?, self.rto).await)
    }

    /// Starts a promotion, or finds the one that the same key started. Without a key a fresh one is made.
    pub async fn start(
        self: &Arc<Self>,
        who: &Authorized,
        request: Request,
        key: Option<&str>,
    ) -> Result<Started, StartError> {
        if !who.may(Role::Approver) {
            let Principal { name, role } = who.principal().clone();
            return Err(StartError::Forbidden { name, role });
        }
        let key = key.map_or_else(|| self.ids.id(), str::to_owned);
        if key.is_empty() || key.len() > KEY_MAX || !key.bytes().all(|b| b.is_ascii_graphic()) {
            let rule = format!("Idempotency-Key: use 1 to {KEY_MAX} visible ASCII characters without spaces");
            return Err(StartError::Invalid(vec![rule]));
        }
        let _one_at_a_time = self.deciding.lock().await;
        self.clear_doubt().map_err(StartError::Journal)?;
        let used = self.authority.used(&key).map_err(|e| StartError::Journal(e.into()))?;
        if let Some(used) = used {
            return self.again(&request, used).await;
        }
        self.nothing_else()?;
        let plan = self.make_plan().map_err(StartError::Plan)?;
        let problems = self.problems(&request, &plan);
        if !problems.is_empty() {
            return Err(StartError::Invalid(problems));
        }
        let verdict = self.shared.judge(&request);
        let promotion = self.ids.id();
        let used = KeyRecord { promotion: promotion.clone(), request_hash: request.hash() };
        let mut entries = vec![Entry::Requested {
            request,
            by: who.principal().clone(),
            key: key.clone(),
            plan: self.record(&plan),
            gate: verdict.clone(),
        }];
        if !verdict.passes {
            let gate = Some(verdict.clone());
            entries.push(Entry::Refused { why: verdict.refusal(), gate, by: None });
        }
        let (authority, clock) = (Arc::clone(&self.authority), Arc::clone(&self.shared.clock));
        // In doubt until it is known to be durable: the write may fail, or the caller may be dropped in the middle of it.
        self.set_doubt(Some(promotion.clone()));
        let journal = Journal::begin(promotion.clone(), authority, clock, &key, &used, entries).await;
        let journal = journal.map_err(StartError::Journal)?;
        self.set_doubt(None);
        let known = Known::new(journal).expect("the journal begins with its request");
        tracing::warn!(promotion, by = who.principal().name, passes = verdict.passes, "promotion requested");
        if let Some(tell) = self.on_event.get() {
            known.journal.events(None).iter().for_each(|event| tell(event));
            known.journal.on_event(Arc::clone(tell));
        }
        self.known().insert(promotion.clone(), known);
        if !verdict.passes {
            return Err(StartError::Refused { promotion, verdict: Box::new(verdict) });
        }
        self.spawn(&promotion, plan, false);
        Ok(Started { promotion, repeated: false, stage: Stage::Running })
    }

    pub(super) fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_doubt(&self, promotion: Option<String>) {
        *self.doubt.lock().unwrap_or_else(PoisonError::into_inner) = promotion;
    }

    /// Looks whether a first write that failed is durable all the same. Then the promotion exists and stands still.
    fn clear_doubt(&self) -> Result<(), JournalError> {
        let mut doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(promotion) = doubt.clone() else { return Ok(()) };
        if let Some(records) = self.authority.journals()?.remove(&promotion) {
            let (clock, authority) = (Arc::clone(&self.shared.clock), Arc::clone(&self.authority));
            let journal = Journal::read(promotion.clone(), authority, clock, records)?;
            if let Some(mut one) = Known::new(journal) {
                one.stuck = Some("nobody knew whether its first record was durable".into());
                self.known().insert(promotion, one);
            }
        }
        *doubt = None;
        Ok(())
    }

    /// The same key again: the same promotion.
    async fn again(self: &Arc<Self>, request: &Request, used: KeyRecord) -> Result<Started, StartError> {
        let promotion = used.promotion;
        if used.request_hash != request.hash() {
            return Err(StartError::KeyReused { promotion });
        }
        let found = self.known().get(&promotion).map(|k| (Arc::clone(&k.journal), k.running));
        let Some((journal, running)) = found else {
            let lost = AuthorityError::Hole { promotion, seq: 0 };
            return Err(StartError::Journal(lost.into()));
        };
        // A call that the gate refused is refused again, with the same numbers.
        let events = journal.events(None);
        match events.get(1).map(|e| &e.record.entry) {
            Some(Entry::Refused { gate: Some(verdict), .. }) => {
                return Err(StartError::Refused { promotion, verdict: Box::new(verdict.clone()) });
            }
            // Begun and never run: its first write was in doubt. The caller asks again, so it runs now.
            None if !running && journal.stage() == Stage::Running => {
                let plan = self.make_plan().map_err(StartError::Plan)?;
                self.take_up(&promotion, &journal, Ok(plan)).await.map_err(StartError::Journal)?;
            }
            _ => {}
        }
        Ok(Started { promotion, repeated: true, stage: journal.stage() })
    }

    /// Is there room for a new one?
    fn nothing_else(&self) -> Result<(), StartError> {
        for (promotion, one) in self.known().iter() {
            match one.journal.stage() {
                Stage::Completed => return Err(StartError::Promoted { promotion: promotion.clone() }),
                Stage::Refused if !one.running => {}
                stage => return Err(StartError::Running { promotion: promotion.clone(), stage }),
            }
        }
        match self.authority.fenced() {
            Some(fence) => Err(StartError::Promoted { promotion: fence.promotion }),
            None => Ok(()),
        }
    }

    fn problems(&self, request: &Request, plan: &Plan) -> Vec<String> {
        let mut problems = Vec::new();
        match request.mode {
            Mode::Failover => {}
            Mode::Switchover => problems.push(
                "mode: a switchover must know that prodX has stopped writing, and no configured step can prove it yet; \
                 stop the writers, wait until the loss is 0, and call a failover"
                    .to_owned(),
            ),
            Mode::Drill => problems.push(
                "mode: a drill runs every check and acts on nothing: that is `plimsoll plan`, or GET /v1/plan".to_owned(),
            ),
        }
        if request.reason.trim().is_empty() {
            problems.push("reason: is empty; say why, it goes into the report".to_owned());
        }
        if let Some(seen) = request.plan.as_ref().filter(|seen| **seen != plan.hash) {
            problems.push(format!("plan: it is {} now, not {seen}; look at it again", plan.hash));
        }
        let marks = self.shared.index.snapshot();
        problems.extend(gate::problems(self.shared.clock.now(), &marks, &self.shared.stores, request));
        problems
    }

    /// Runs a promotion from where its journal stands, in a task of its own.
    pub(super) fn spawn(self: &Arc<Self>, promotion: &str, plan: Plan, resumed: bool) {
        let mut known = self.known();
        let Some(one) = known.get_mut(promotion) else { return };
        one.running = true;
        one.stuck = None;
        one.hold.send_replace(None);
        let run = Run {
            shared: Arc::clone(&self.shared),
            journal: Arc::clone(&one.journal),
            plan,
            request: one.request.clone(),
            requested_at: one.requested_at,
            hold: one.hold.subscribe(),
        };
        drop(known);
        let mut end = RunEnd { promotions: Arc::clone(self), promotion: promotion.to_owned(), result: None };
        self.tasks.spawn(TaskKind::Promotion, format!("promotion {promotion}"), async move {
            let result = run.drive(resumed).await;
            end.result = Some(result.clone());
            let stage = run.journal.stage();
            match stage {
                Stage::Completed => tracing::info!(promotion = end.promotion, "promotion completed"),
                _ => tracing::warn!(promotion = end.promotion, state = stage.label(), "promotion stopped"),
            }
            drop(end);
            result
        });
    }

    /// The report of one promotion, finished or not.
    pub fn get(&self, id: &str) -> Option<Report> {
        let known = self.known();
        let one = known.get(id)?;
        let mut report = Report::of(&one.journal.events(None))?;
        if let Some(stuck) = &one.stuck {
            report.trouble = Some(format!("it stands still until it is resumed: {stuck}"));
        }
        Some(report)
    }

    /// All promotions, the oldest first.
    pub fn list(&self) -> Vec<PromotionView> {
        let view = |(id, one): (&String, &Known)| PromotionView {
            promotion: id.clone(),
            stage: one.journal.stage(),
            requested_at: one.requested_at,
            by: one.by.name.clone(),
            reason: one.request.reason.clone(),
            stuck: one.stuck.clone(),
        };
        let mut all: Vec<_> = self.known().iter().map(view).collect();
        all.sort_by_key(|view| view.requested_at);
        all
    }

    /// The events of one promotion after a number (`Last-Event-ID`).
    pub fn events(&self, id: &str, after: Option<u64>) -> Option<Events> {
        let known = self.known();
        let journal = &known.get(id)?.journal;
        // Watched before it is read, so that no event falls between.
        let count = journal.watch();
        Some(Events { past: journal.events(after), count, over: journal.stage().over() })
    }

    /// `phase` of `/v1/status`.
    pub fn phase(&self) -> Phased {
        let fenced = self.authority.fenced().is_some();
        let mut phase = if fenced { Phased::Fenced } else { Phased::Replicating };
        for one in self.known().values() {
            match one.journal.stage() {
                Stage::Completed => return Phased::Promoted,
                Stage::Held => return Phased::Held,
                Stage::Running | Stage::Fenced if one.stuck.is_some() => return Phased::Held,
                Stage::Running => phase = Phased::CatchingUp,
                Stage::Fenced => phase = Phased::Promoting,
                Stage::New | Stage::Refused => {}
            }
        }
        phase
    }
}

/// Notes that a run is over however it ends, a panic included: a promotion must never look busy with nobody at work.
struct RunEnd {
    promotions: Arc<Promotions>,
    promotion: String,
    result: Option<Result<(), String>>,
}

impl Drop for RunEnd {
    fn drop(&mut self) {
        if let Some(one) = self.promotions.known().get_mut(&self.promotion) {
            one.running = false;
            one.stuck = match self.result.take() {
                Some(Ok(())) => None,
                Some(Err(why)) => Some(format!("its journal cannot be written: {why}")),
                None => Some("its task broke off; the log says why".into()),
            };
        }
    }
}

impl Known {
    fn new(journal: Journal) -> Option<Self> {
        let events = journal.events(None);
        let first = events.first()?;
        let Entry::Requested { request, by, .. } = &first.record.entry else { return None };
        Some(Self {
            request: request.clone(),
            by: by.clone(),
            requested_at: first.record.at,
            journal: Arc::new(journal),
            running: false,
            stuck: None,
            hold: watch::Sender::new(None),
        })
    }
}
