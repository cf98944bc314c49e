//! Every metric, in one table: name, type, labels, help with the unit, and what its absence means.
//!
//! Base units, `_total` for counters, labels that the configuration bounds; never a lane or a key. `docs/METRICS.md` is
//! generated from this table. A metric appears here when something feeds it, not before: a series that is always absent or
//! always zero would be read as good news.

use std::fmt::Write;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Only goes up, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in these buckets; upper bounds in the unit of the name.
    Histogram(&'static [f64]),
}

impl Shape {
    /// As in the exposition.
    pub fn label(self) -> &'static str {
        match self {
            Shape::Counter => "counter",
            Shape::Gauge => "gauge",
            Shape::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// With the prefix `plimsoll_`.
    pub name: &'static str,
    /// Its type.
    pub shape: Shape,
    /// Label names, in their order.
    pub labels: &'static [&'static str],
    /// What it says, with the unit; no line break.
    pub help: &'static str,
}

/// From a change's commit in prodX to its being durable in prodY.
const LATENCY: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
/// From a canary's being sent to its having come by.
const CANARY: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];
/// A synced write: tenths of a millisecond on a good disk, seconds on one that is about to page somebody.
const COMMIT: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// A step of a recovery: from one call to a database's promotion.
const STEP: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0];

const STORE: &[&str] = &["store", "kind"];
const CLASS: &[&str] = &["store", "kind", "class"];

macro_rules! families {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $shape:expr, $labels:expr, $help:literal;)*) => {
        $($(#[$doc])* pub const $id: Family = Family { name: concat!("plimsoll_", $name), shape: $shape, labels: $labels, help: $help };)*
        /// Every metric, in the order of the documentation.
        pub const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    /// RP-1; absent unless ok.
    STORE_RPO = "store_rpo_seconds", Shape::Gauge, STORE,
        "Achieved RPO, seconds: what would be lost if prodX vanished now. Absent unless the store's state is ok; unknown is never zero.";
    /// RP-3.
    STORE_RPO_UPPER_BOUND = "store_rpo_upper_bound_seconds", Shape::Gauge, STORE,
        "What would be lost at most, seconds. Grows by a second a second while nothing is proved. Absent without a watermark.";
    /// A series, so that alerts need no templating.
    STORE_RPO_OBJECTIVE = "store_rpo_objective_seconds", Shape::Gauge, STORE,
        "The RPO allowed for the store, seconds.";
    /// An instant, so that `time() - x` grows when this process hangs.
    STORE_WATERMARK = "store_watermark_timestamp_seconds", Shape::Gauge, STORE,
        "Everything committed in prodX up to this Unix time, seconds, is durable in prodY. Absent without a watermark.";
    /// RP-2.
    STORE_STATE = "store_state", Shape::Gauge, &["store", "kind", "state"],
        "1 for the store's state, 0 for the others: fenced, paused, gap, seeding, unknown, ok; the first that holds.";
    /// From the driver's vital signs.
    STORE_LAST_PROGRESS = "store_last_progress_timestamp_seconds", Shape::Gauge, STORE,
        "Unix time, seconds, at which a change was last made durable in prodY or the source last proved that there was none. Absent before the first.";
    /// From the driver's vital signs.
    STORE_BACKLOG = "store_backlog_items", Shape::Gauge, STORE,
        "Changes that were read and are not yet durable in prodY.";
    /// AP-6.
    STORE_FAILED = "store_failed_items", Shape::Gauge, STORE,
        "Changes parked because prodY refuses them; the oldest of them pins the watermark.";
    /// RP-9.
    STORE_DIVERGENT = "store_divergent_items", Shape::Gauge, STORE,
        "Items that are proven to differ in prodY although the watermark had passed them. Absent before the first verification, unless something differs.";
    /// Of the last complete one.
    STORE_VERIFIED = "store_verified_timestamp_seconds", Shape::Gauge, STORE,
        "Unix time, seconds, at which the last verification that looked at every item ended. Absent before the first.";
    /// DS-8e.
    STORE_RETENTION_HEADROOM = "store_retention_headroom_seconds", Shape::Gauge, STORE,
        "Time until the source may forget a change that was not read yet, seconds. Absent when not known.";
    /// S3-13.
    STORE_EVENTS = "store_events_watermark_timestamp_seconds", Shape::Gauge, STORE,
        "What the events alone prove: everything committed up to this Unix time, seconds, is durable in prodY, if every event was delivered within the delivery allowance. Only of stores with an event queue.";
    /// S3-15.
    STORE_CERTIFIED = "store_certified_timestamp_seconds", Shape::Gauge, STORE,
        "What the last complete walk of both ends proves: everything committed up to this Unix time, seconds, is durable in prodY, whatever became of its event. Absent before the first.";
    /// A series, so that alerts need no templating.
    STORE_CERTIFY_WITHIN = "store_certify_within_seconds", Shape::Gauge, STORE,
        "A store whose last complete walk began longer ago, seconds, is not certified, as configured: max_certify_age.";
    /// D of S3-13.
    STORE_DELIVERY = "store_delivery_allowance_seconds", Shape::Gauge, STORE,
        "An event counts as delivered at most this long after its change, seconds: the configured delivery, or 1.5 times the longest of the last 7 days if that is more. Subtracted from every proof by an empty queue.";
    /// D, measured.
    STORE_DELIVERY_DELAY = "store_delivery_seconds_max", Shape::Gauge, STORE,
        "The longest from a change to its event's being in the queue, seconds, of the last 7 days. Absent before the first event.";
    /// S3-16, S3-17, S3-20.
    STORE_EVENTS_BLIND = "store_events_blind", Shape::Gauge, STORE,
        "1 while events may be missing (a queue that was made anew or lost messages, a message that is not understood) and no walk has made up for it; 0 otherwise.";
    /// S3-7.
    STORE_REFUSED = "store_refused_items", Shape::Gauge, CLASS,
        "Items that cannot be copied, by class (archived, sse-c, ...); the oldest pins the watermark. A class appears with its first.";
    /// S3-7.
    STORE_REFUSED_BYTES = "store_refused_bytes", Shape::Gauge, CLASS,
        "Bytes of the items that cannot be copied, by class.";
    /// S3-7.
    STORE_EXCLUDED = "store_excluded_items", Shape::Gauge, CLASS,
        "Items that are not copied because the configuration says that they need not be, by class; no RPO is about them.";
    /// S3-7.
    STORE_EXCLUDED_BYTES = "store_excluded_bytes", Shape::Gauge, CLASS,
        "Bytes of the items that need not be copied, by class.";
    /// S3-10.
    STORE_UNTOLD = "store_untold_items", Shape::Gauge, STORE,
        "Differences that walks found and no event had told of, since the index was made: the event path loses events.";
    /// FO-2.
    STORE_LATE = "store_late_items", Shape::Gauge, STORE,
        "Keys of which an event came behind the fence of a promotion; they were not copied and are in the salvage.";
    /// Of a seed or re-seed.
    STORE_COPY_DONE = "store_copy_done_items", Shape::Gauge, STORE,
        "Items that the copy under way (a seed or re-seed) has dealt with in its present stage. Absent when there is none.";
    /// Of a seed or re-seed.
    STORE_COPY_EXPECTED = "store_copy_expected_items", Shape::Gauge, STORE,
        "Items of the present stage of the copy under way, about: the source counts them every six hours. Absent when there is none.";
    /// Of a seed or re-seed.
    STORE_COPY_ETA = "store_copy_eta_seconds", Shape::Gauge, STORE,
        "Time until the present stage of the copy under way is through, at the rate seen, seconds. Absent while that is not known.";
    /// Must converge with applied.
    STORE_CHANGES_READ = "store_changes_read_total", Shape::Counter, STORE,
        "Changes read from prodX; a change that is read again counts again.";
    /// Must converge with read.
    STORE_CHANGES_APPLIED = "store_changes_applied_total", Shape::Counter, STORE,
        "Changes made durable in prodY.";
    /// AP-2.
    STORE_CHANGES_COALESCED = "store_changes_coalesced_total", Shape::Counter, STORE,
        "Changes that were not written to prodY themselves because a newer change of the same key, read meanwhile, was.";
    /// By class.
    STORE_ERRORS = "store_errors_total", Shape::Counter, &["store", "kind", "class"],
        "Failed calls for the store, by class: throttled, unknown_outcome, unavailable, denied, invalid, missing.";
    /// Commit to durable.
    REPLICATION_LATENCY = "replication_latency_seconds", Shape::Histogram(LATENCY), STORE,
        "From the commit of a change in prodX to its being durable in prodY, seconds; includes the difference of the two clocks.";
    /// OB-1, DS-12.
    CANARY_ROUNDTRIP = "canary_roundtrip_seconds", Shape::Histogram(CANARY), STORE,
        "From a canary's write in prodX to its being seen, seconds, each canary once. Mode observe: from its being sent to its being in prodY, with the pause between two looks. Mode replicate: from prodX's acknowledgement until it was read from the stream with everything before it durable in prodY.";
    /// A3, measured.
    STORE_PROPAGATION = "store_propagation_seconds", Shape::Gauge, &["store", "kind", "quantile"],
        "From the acknowledgement of a canary to its being visible in the stream, seconds, quantiles 0.5 and 0.99 of the last day or since the start. Rounded up to the next read. Absent without canaries.";
    /// A3, measured.
    STORE_PROPAGATION_MAX = "store_propagation_seconds_max", Shape::Gauge, STORE,
        "The longest from the acknowledgement of a canary to its being visible in the stream, seconds, of the last day or since the start. Must stay below the assumption propagation. Absent without canaries.";
    /// A1, measured.
    STORE_EMPTY_RUN_MAX = "store_empty_run_max", Shape::Gauge, STORE,
        "The most empty answers in a row before a canary that had to be visible by the assumption propagation, of the last day or since the start. The assumption empty_run must be greater by more than 2. Absent without canaries.";
    /// A2, A3.
    STORE_ASSUMPTION = "store_assumption_seconds", Shape::Gauge, &["store", "kind", "assumption"],
        "What the store's proofs assume, seconds, as configured: propagation, publish, max_request_life.";
    /// A1.
    STORE_ASSUMPTION_EMPTY_RUN = "store_assumption_empty_run", Shape::Gauge, STORE,
        "So many empty answers in a row are taken for the tip of a shard, as configured: empty_run.";
    /// RP-7.
    APP_RPO = "app_rpo_seconds", Shape::Gauge, &[],
        "The worst store's achieved RPO, seconds. Absent when any store has none.";
    /// RP-7.
    APP_SKEW = "app_skew_seconds", Shape::Gauge, &[],
        "Between the newest and the oldest watermark, seconds: for so long references between stores may dangle after a promote. Absent when any store has no watermark.";
    /// Group commit.
    INDEX_COMMIT = "index_commit_duration_seconds", Shape::Histogram(COMMIT), &[],
        "Duration of a synced write of the watermark index, seconds.";
    /// Attempts, not operations.
    AWS_REQUESTS = "aws_requests_total", Shape::Counter, &["service", "operation", "outcome"],
        "Requests sent to AWS, each attempt counted. A combination appears with its first request.";
    /// The phase of the application.
    PROMOTE_STATE = "promote_state", Shape::Gauge, &["state"],
        "1 for the application's phase, 0 for the others: replicating, catching_up, fenced, promoting, promoted, held, failing_back.";
    /// By the step's journal key.
    PROMOTE_STEP = "promote_step_duration_seconds", Shape::Histogram(STEP), &["step"],
        "Duration of a promotion's step from its first record to its end, seconds, over all promotions in the journal. A step appears when it has run.";
    /// From the configuration.
    RTO_OBJECTIVE = "rto_objective_seconds", Shape::Gauge, &[],
        "The RTO allowed for the application, seconds.";
    /// Of the last promotion.
    RTO_ACHIEVED = "rto_achieved_seconds", Shape::Gauge, &[],
        "Duration of the last completed promotion, seconds. Absent before the first.";
    /// What /readyz answers by, and what the last examination of a store found.
    READINESS = "readiness_check_status", Shape::Gauge, &["check", "store"],
        "Without a store: 1 while the check of /readyz passes, 0 while it fails. With one: 1 while the last examination of its two ends found no problem by this check, 0 while it found one; absent before the first and behind the fence.";
    /// The only unforgivable bug.
    SOUNDNESS = "rpo_soundness_violations_total", Shape::Counter, &[],
        "Published watermarks that were found untrue and taken back. Any increase is a bug that must page.";
    /// Which program.
    BUILD_INFO = "build_info", Shape::Gauge, &["version"],
        "Always 1; the label names the running program's version.";
}

/// The family of that name; of a histogram also by the names of its series.
pub fn find(name: &str) -> Option<&'static Family> {
    ALL.iter().find(|family| {
        let rest = name.strip_prefix(family.name);
        match family.shape {
            Shape::Histogram(_) => rest.is_some_and(|r| ["", "_bucket", "_sum", "_count"].contains(&r)),
            _ => rest == Some(""),
        }
    })
}

/// The text of `docs/METRICS.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         `GET /metrics`, Prometheus text format 0.0.4, no token. Generated from `src/telemetry/catalogue.rs`; do not edit.\n\n\
         Names, labels and units are stable. What a number judges (RPO, state, watermark) is computed at the scrape from the\n\
         published watermarks, so a hung store shows. A series that is absent says \"not known\"; alert on absence, never read it as 0.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in ALL {
        let labels = family.labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(" ");
        writeln!(text, "| `{}` | {} | {labels} | {} |", family.name, family.shape.label(), family.help)
            .expect("writing to a String cannot fail");
    }
    text
}
