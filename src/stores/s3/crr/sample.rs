//! From what was seen to evidence. Pure.
//!
//! Replication by S3 keeps no order across objects, so a canary is a sample and no bound (OB-3). The metric bounds the lag
//! of a rule, minutes late. Where both are asked for, both must speak and the earlier of the two instants counts: a canary
//! that is quick says nothing about an object that is slow, and a metric that is not told is not 0. An object that failed is
//! not tried again for ever: it pins the watermark until it is in prodY.

use std::time::Duration;

use super::metric::{Datapoint, FAILED_WINDOW, Failed};
use crate::change::{Evidence, Method, SourceTime, Stamp};
use crate::stores::observe::{BeatFault, Proof};

/// What the `Date` header leaves open about the difference of two clocks, and what AWS's own may be off (A5).
pub(super) const DATE_PRECISION: Duration = Duration::from_secs(1);
/// A heartbeat that prodX has acknowledged may be on its way for this long before it is called missing. Most objects take
/// seconds; with replication time control AWS calls one late after 15 minutes.
const PATIENCE: Duration = Duration::from_secs(120);
/// A failure that only a count tells of is of an operation that may have waited this long before: the longest that AWS
/// calls normal.
const FAILED_AFTER: Duration = Duration::from_secs(15 * 60);

/// What the metric says of a rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RuleLag {
    pub(super) rule: String,
    /// `None`: nothing is told.
    pub(super) newest: Option<Datapoint>,
}

/// What is known of objects that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// When the oldest operation was requested that has not arrived.
    pub(super) oldest: Option<SourceTime>,
    /// How many.
    pub(super) count: u64,
    /// Why they failed, for a human.
    pub(super) why: String,
    /// Not all that the queue holds was read yet: there may be older ones.
    pub(super) unread: bool,
}

/// What a look has seen.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// When the reads in prodY began.
    pub(super) asked: Stamp,
    /// When everything had been answered.
    pub(super) now: Stamp,
    /// The measured bound on the difference between our clock and prodX's.
    pub(super) skew: Duration,
    /// What the canary says; `None`: there is none, or it was not read.
    pub(super) canary: Option<Result<Proof, BeatFault>>,
    /// There is to be a canary.
    pub(super) with_canary: bool,
    /// When the oldest canary was sent that prodX has acknowledged and prodY does not hold.
    pub(super) missing_since: Option<Stamp>,
    /// What the metric says of each rule; `None`: it is not asked.
    pub(super) lags: Option<Vec<RuleLag>>,
    /// What the queue of failures says; `None`: there is no such queue.
    pub(super) failures: Option<Failures>,
    /// Failures that the metric counts.
    pub(super) failed: Option<Failed>,
}

/// What it proves.
pub(super) fn evidence(sample: &Sample) -> Vec<Evidence> {
    let mut found = Vec::new();
    let ours = |at: Stamp| at.wall - sample.skew - DATE_PRECISION;
    let overdue = sample.missing_since.is_some_and(|sent| sample.now.since(sent) > PATIENCE);
    let mut silent = |what: String| found.push(Evidence::Silent { since: sample.asked, what });
    let canary = match &sample.canary {
        Some(Ok(proof)) => Some(ours(proof.sent)),
        // Just begun: the first is on its way.
        Some(Err(BeatFault::Missing | BeatFault::Foreign)) if !overdue => None,
        Some(Err(fault)) => {
            silent(fault.to_string());
            None
        }
        None => None,
    };
    let metric = sample.lags.as_ref().map(|lags| of_rules(lags));
    if let Some(Err(untold)) = &metric {
        silent(untold.clone());
    }
    let unread = sample.failures.as_ref().is_some_and(|failures| failures.unread);
    if unread {
        silent("the queue of failures was not read to its end yet".into());
    }
    let proved = match (sample.with_canary, &metric) {
        (true, None) => canary.map(|through| (through, Method::Sampled)),
        (false, Some(Ok(through))) => Some((*through, Method::Metric)),
        (true, Some(Ok(metric))) => {
            canary.map(|canary| if canary <= *metric { (canary, Method::Sampled) } else { (*metric, Method::Metric) })
        }
        (_, Some(Err(_))) | (false, None) => None,
    };
    if let Some((through, method)) = proved.filter(|_| !unread) {
        found.push(Evidence::Advance { through, method });
    }
    if let Some(sent) = sample.missing_since.filter(|_| overdue) {
        let what = format!(
            "a canary that prodX acknowledged {} s ago has not arrived in prodY: replication stands still or is late",
            sample.now.since(sent).as_secs()
        );
        found.push(Evidence::Pinned { since: ours(sent), what });
    }
    found.extend(pin_of_failures(sample));
    found
}

/// Everything up to here has arrived by every rule, or which of them says nothing.
fn of_rules(lags: &[RuleLag]) -> Result<SourceTime, String> {
    let mut least: Option<SourceTime> = None;
    for lag in lags {
        let Some(newest) = lag.newest else {
            return Err(format!(
                "CloudWatch has no ReplicationLatency of rule {}: unknown, not zero (are its metrics on?)",
                lag.rule
            ));
        };
        let through = newest.through();
        least = Some(least.map_or(through, |have| have.min(through)));
    }
    least.ok_or_else(|| "no rule replicates to the standby bucket".to_owned())
}

fn pin_of_failures(sample: &Sample) -> Option<Evidence> {
    if let Some(failures) = &sample.failures {
        let oldest = failures.oldest?;
        let what = format!(
            "{} by S3 since {oldest} and not in prodY: {}",
            match failures.count {
                1 => "1 operation was not replicated".to_owned(),
                n => format!("{n} operations were not replicated"),
            },
            failures.why
        );
        return Some(Evidence::Pinned { since: oldest - Duration::from_millis(1), what });
    }
    let failed = sample.failed?;
    let what = format!(
        "CloudWatch counts {} failed operations in the last {} h; without failures_queue_url nobody knows which, nor whether \
         they were replicated since",
        failed.count,
        FAILED_WINDOW.as_secs() / 3600
    );
    Some(Evidence::Pinned { since: failed.since - FAILED_AFTER, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn at(secs: u64) -> Stamp {
        Stamp { wall: SourceTime::from_secs(1_795_500_000) + S(secs), mono: S(secs) }
    }

    fn ours(secs: u64) -> SourceTime {
        at(secs).wall - Duration::from_millis(1300)
    }

    fn sent(secs: u64) -> Option<Result<Proof, BeatFault>> {
        Some(Ok(Proof { seq: 1, sent: at(secs), acked: None }))
    }

    fn lag(minute: u64, lag: u64) -> RuleLag {
        let newest = Datapoint { at: at(minute).wall, lag: S(lag), pending: None, bytes: None };
        RuleLag { rule: "r".into(), newest: Some(newest) }
    }

    /// At second 1000, read a second ago.
    fn sample() -> Sample {
        Sample {
            asked: at(999),
            now: at(1000),
            skew: Duration::from_millis(300),
            canary: None,
            with_canary: true,
            missing_since: None,
            lags: None,
            failures: None,
            failed: None,
        }
    }

    fn advance(sample: &Sample) -> Option<(SourceTime, Method)> {
        evidence(sample).into_iter().find_map(|e| match e {
            Evidence::Advance { through, method } => Some((through, method)),
            _ => None,
        })
    }

    fn pin(sample: &Sample) -> Option<SourceTime> {
        evidence(sample).into_iter().find_map(|e| match e {
            Evidence::Pinned { since, .. } => Some(since),
            _ => None,
        })
    }

    #[test]
    fn ob3_the_earlier_of_canary_and_metric_counts_and_gives_its_name() {
        let alone = Sample { canary: sent(970), ..sample() };
        assert_eq!(advance(&alone), Some((ours(970), Method::Sampled)));
        let both = Sample { lags: Some(vec![lag(840, 5)]), ..alone.clone() };
        assert_eq!(advance(&both), Some((at(775).wall, Method::Metric)));
        let late = Sample { canary: sent(700), ..both };
        assert_eq!(advance(&late), Some((ours(700), Method::Sampled)));
        let metric = Sample { with_canary: false, lags: Some(vec![lag(840, 5), lag(840, 90)]), ..sample() };
        assert_eq!(advance(&metric), Some((at(690).wall, Method::Metric)), "the worst rule");
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        let untold = RuleLag { rule: "all".into(), newest: None };
        for lags in [vec![], vec![lag(840, 5), untold]] {
            let sample = Sample { canary: sent(970), lags: Some(lags), ..sample() };
            assert_eq!(advance(&sample), None);
            assert!(evidence(&sample).iter().any(|e| matches!(e, Evidence::Silent { .. })));
        }
        assert_eq!(advance(&sample()), None, "no canary yet");
        assert_eq!(advance(&Sample { with_canary: false, ..sample() }), None);
        let no_canary_yet = Sample { lags: Some(vec![lag(840, 5)]), ..sample() };
        assert_eq!(advance(&no_canary_yet), None, "both must speak");
    }

    #[test]
    fn a_canary_that_does_not_arrive_pins_and_is_said() {
        let late = Sample { canary: sent(700), missing_since: Some(at(730)), ..sample() };
        assert_eq!(pin(&late), Some(ours(730)));
        let under_way = Sample { missing_since: Some(at(900)), ..late };
        assert_eq!(pin(&under_way), None);
    }

    #[test]
    fn failed_objects_pin_until_they_are_in_the_standby() {
        let failures =
            Failures { oldest: Some(at(500).wall), count: 2, why: "DstKmsKeyNotFound (2)".into(), unread: false };
        let failed = Sample { canary: sent(970), failures: Some(failures.clone()), ..sample() };
        assert_eq!(pin(&failed), Some(at(500).wall - Duration::from_millis(1)));
        assert!(advance(&failed).is_some(), "alive all the same: the pin holds the watermark");
        let none = Failures { oldest: None, count: 0, ..failures.clone() };
        assert_eq!(pin(&Sample { failures: Some(none.clone()), ..failed.clone() }), None);
        // What stands in the queue of a process that has just begun is not known yet.
        let unread = Sample { failures: Some(Failures { unread: true, ..none }), ..failed };
        assert_eq!(advance(&unread), None);
    }

    #[test]
    fn failures_that_are_only_counted_pin_too_and_the_queue_knows_better() {
        let failed = Some(Failed { since: at(5000).wall, count: 3 });
        let counted = Sample { failed, ..sample() };
        assert_eq!(pin(&counted), Some(at(5000).wall - FAILED_AFTER));
        let queue = Sample { failures: Some(Failures::default()), ..counted };
        assert_eq!(pin(&queue), None);
    }
}
