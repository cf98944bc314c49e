//! The exposition: what was counted, and the judgements of this very moment.
//!
//! Judgements are computed here, from the published watermarks and the driver's vital signs, and are never stored: a driver
//! that hangs, or one that was never started, shows as a watermark that does not move and a state that turns unknown.

use std::time::Duration;

use prometheus::{GaugeVec, Opts, Registry, TextEncoder};

use super::Metrics;
use super::catalogue::{self, Family};
use super::coverage::Coverage;
use super::metrics::{histograms, registered};
use crate::change::{Severity, Stamp, StoreId};
use crate::rpo::Terms;
use crate::rpo::{Rpo, State, assess, assess_app};
use crate::watermark::{Board, Vitals, Watermarks};

/// The content type of the exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every phase of the application, as in the API and the metric label.
pub(crate) const PHASES: [&str; 7] =
    ["replicating", "catching_up", "fenced", "promoting", "promoted", "held", "failing_back"];

/// What the judgements are made of.
pub struct Scrape<'a> {
    /// Now.
    pub now: Stamp,
    /// The measured bound on the difference between our clock and the source's.
    pub clock_skew: Duration,
    /// What is published.
    pub marks: &'a Watermarks,
    /// The drivers' vital signs.
    pub board: &'a Board,
    /// The stores, with kind and terms.
    pub stores: &'a [(StoreId, &'static str, Terms)],
    /// The RTO allowed.
    pub rto_objective: Duration,
    /// The application's phase.
    pub phase: &'a str,
    /// How long each step of a promotion took, of all promotions in the journal.
    pub steps: &'a [(String, Duration)],
    /// How long the last completed promotion took.
    pub rto_achieved: Option<Duration>,
    /// What /readyz answers by: name and whether it passes.
    pub checks: &'a [(&'static str, bool)],
}

impl Metrics {
    /// The exposition, families sorted by name.
    pub fn render(&self, scrape: &Scrape<'_>) -> String {
        let now = Self::judge(scrape);
        let mut families = self.gather();
        families.extend(now.gather());
        families.extend(drift(scrape).gather());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        // One family may come with a store and without.
        families.dedup_by(|next, first| {
            let same = next.name() == first.name();
            if same {
                first.mut_metric().append(next.mut_metric());
            }
            same
        });
        TextEncoder::new().encode_to_string(&families).expect("gathered families are not empty and encode to text")
    }

    fn judge(scrape: &Scrape<'_>) -> Registry {
        let registry = Registry::new();
        let verdicts: Vec<Rpo> = scrape
            .stores
            .iter()
            .map(|(id, _, terms)| assess(scrape.now, scrape.clock_skew, id, scrape.marks, terms))
            .collect();
        stores(&registry, scrape, &verdicts);

        let app = assess_app(&verdicts);
        let single = |family: &Family, value: Option<f64>| {
            if let Some(value) = value {
                gauges(&registry, family).with_label_values::<&str>(&[]).set(value);
            }
        };
        // Without stores nothing is proved and the worst of nothing is not zero.
        let secs = |d: Option<Duration>| d.filter(|_| !verdicts.is_empty()).map(|d| d.as_secs_f64());
        single(&catalogue::APP_RPO, secs(app.rpo));
        single(&catalogue::APP_SKEW, secs(app.skew));
        single(&catalogue::RTO_OBJECTIVE, Some(scrape.rto_objective.as_secs_f64()));
        single(&catalogue::RTO_ACHIEVED, scrape.rto_achieved.map(|d| d.as_secs_f64()));

        let phases = gauges(&registry, &catalogue::PROMOTE_STATE);
        for phase in PHASES {
            phases.with_label_values(&[phase]).set(0.0);
        }
        phases.with_label_values(&[scrape.phase]).set(1.0);

        let steps = histograms(&registry, &catalogue::PROMOTE_STEP);
        for (step, took) in scrape.steps {
            steps.with_label_values(&[step]).observe(took.as_secs_f64());
        }

        let readiness = gauges(&registry, &Family { labels: &["check"], ..catalogue::READINESS });
        for (check, passes) in scrape.checks {
            readiness.with_label_values(&[*check]).set(f64::from(u8::from(*passes)));
        }
        gauges(&registry, &catalogue::BUILD_INFO).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        registry
    }
}

/// What the last examination of each store found; nothing behind the fence, where the two ends are meant to differ.
fn drift(scrape: &Scrape<'_>) -> Registry {
    let registry = Registry::new();
    let found = gauges(&registry, &catalogue::READINESS);
    for (id, _, _) in scrape.stores.iter().filter(|_| scrape.marks.fence.is_none()) {
        for (check, worst) in scrape.board.examination(id).checks() {
            let passes = f64::from(u8::from(worst < Severity::Problem));
            found.with_label_values(&[check, id.as_str()]).set(passes);
        }
    }
    registry
}

fn stores(registry: &Registry, scrape: &Scrape<'_>, verdicts: &[Rpo]) {
    let [
        rpo,
        bound,
        objective,
        watermark,
        progress,
        backlog,
        failed,
        headroom,
        divergent,
        verified,
        done,
        expected,
        eta,
    ] = [
        catalogue::STORE_RPO,
        catalogue::STORE_RPO_UPPER_BOUND,
        catalogue::STORE_RPO_OBJECTIVE,
        catalogue::STORE_WATERMARK,
        catalogue::STORE_LAST_PROGRESS,
        catalogue::STORE_BACKLOG,
        catalogue::STORE_FAILED,
        catalogue::STORE_RETENTION_HEADROOM,
        catalogue::STORE_DIVERGENT,
        catalogue::STORE_VERIFIED,
        catalogue::STORE_COPY_DONE,
        catalogue::STORE_COPY_EXPECTED,
        catalogue::STORE_COPY_ETA,
    ]
    .map(|family| gauges(registry, &family));
    let states = gauges(registry, &catalogue::STORE_STATE);
    let canaries = Canaries::new(registry);
    let coverage = Coverage::new(registry);
    for ((id, kind, _), verdict) in scrape.stores.iter().zip(verdicts) {
        let labels = [id.as_str(), *kind];
        // Absent, never zero: a series is made only when there is a value.
        let set = |vec: &GaugeVec, value: Option<f64>| {
            if let Some(value) = value {
                vec.with_label_values(&labels).set(value);
            }
        };
        let vitals = scrape.board.read(id);
        set(&rpo, verdict.rpo.map(|d| d.as_secs_f64()));
        set(&bound, verdict.upper_bound.map(|d| d.as_secs_f64()));
        set(&objective, Some(verdict.objective.as_secs_f64()));
        set(&watermark, verdict.watermark.map(|w| w.as_secs_f64()));
        set(&progress, vitals.last_progress.map(|at| at.wall.as_secs_f64()));
        set(&backlog, Some(vitals.backlog_items as f64));
        set(&failed, Some(vitals.failed_items as f64));
        set(&headroom, vitals.retention_headroom.map(|d| d.as_secs_f64()));
        canaries.set(labels, &vitals);
        let record = scrape.marks.stores.get(id).map(|mark| &mark.record);
        if let Some(course) = record.and_then(|record| record.course.as_deref()) {
            coverage.set(labels, course, &vitals);
        }
        let compared = record.and_then(|record| record.verified_at);
        set(&divergent, (compared.is_some() || vitals.divergent > 0).then_some(vitals.divergent as f64));
        set(&verified, compared.map(|at| at.as_secs_f64()));
        let copy = vitals.progress.as_ref().filter(|progress| progress.what != "verify");
        set(&done, copy.map(|p| p.done as f64));
        set(&expected, copy.map(|p| p.total as f64));
        set(&eta, copy.and_then(|p| p.eta).map(|d| d.as_secs_f64()));
        for state in State::ALL {
            let holds = f64::from(u8::from(state == verdict.state));
            states.with_label_values(&[id.as_str(), *kind, state.label()]).set(holds);
        }
    }
}

/// What canaries measured, beside what is assumed.
struct Canaries {
    propagation: GaugeVec,
    longest: GaugeVec,
    empty_run: GaugeVec,
    assumption: GaugeVec,
    assumed_run: GaugeVec,
}

impl Canaries {
    fn new(registry: &Registry) -> Self {
        Self {
            propagation: gauges(registry, &catalogue::STORE_PROPAGATION),
            longest: gauges(registry, &catalogue::STORE_PROPAGATION_MAX),
            empty_run: gauges(registry, &catalogue::STORE_EMPTY_RUN_MAX),
            assumption: gauges(registry, &catalogue::STORE_ASSUMPTION),
            assumed_run: gauges(registry, &catalogue::STORE_ASSUMPTION_EMPTY_RUN),
        }
    }

    fn set(&self, [store, kind]: [&str; 2], vitals: &Vitals) {
        let signs = &vitals.canary;
        for (quantile, took) in [("0.5", signs.visible_p50), ("0.99", signs.visible_p99)] {
            if let Some(took) = took {
                self.propagation.with_label_values(&[store, kind, quantile]).set(took.as_secs_f64());
            }
        }
        if let Some(took) = signs.visible_max {
            self.longest.with_label_values(&[store, kind]).set(took.as_secs_f64());
        }
        if let Some(pages) = signs.empty_run_max {
            self.empty_run.with_label_values(&[store, kind]).set(f64::from(pages));
        }
        let Some(assumed) = &vitals.assumptions else { return };
        for (name, value) in [
            ("propagation", assumed.propagation),
            ("publish", assumed.publish),
            ("max_request_life", assumed.max_request_life),
        ] {
            self.assumption.with_label_values(&[store, kind, name]).set(value.as_secs_f64());
        }
        self.assumed_run.with_label_values(&[store, kind]).set(f64::from(assumed.empty_run));
    }
}

pub(super) fn gauges(registry: &Registry, family: &Family) -> GaugeVec {
    let vec = GaugeVec::new(Opts::new(family.name, family.help), family.labels);
    registered(registry, vec.expect("the catalogue's names and labels are valid, a test says so"))
}
