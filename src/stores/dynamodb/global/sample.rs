//! From what was seen to evidence. Pure.
//!
//! MREC does not keep the order of changes across items, so a canary is a sample of the channel and no bound (OB-3); the
//! metric, when there is a current one, says how late others were, and that much is subtracted from it. MRSC: a write is
//! acknowledged when another region has it, so a strongly consistent read in prodY that shows the canary of this moment
//! proves everything before the read.

use std::time::Duration;

use super::metric::Datapoint;
use crate::change::{Evidence, Method, Stamp};
use crate::stores::observe::{BeatFault, Proof};

/// What the `Date` header leaves open about the difference of two clocks, and what AWS's own may be off (A5).
pub(super) const DATE_PRECISION: Duration = Duration::from_secs(1);
/// A heartbeat that prodX has acknowledged may be on its way for this long before it is called missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a look has seen.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// When the reads in prodY began.
    pub(super) asked: Stamp,
    /// When everything had been answered.
    pub(super) now: Stamp,
    /// The measured bound on the difference between our clock and prodX's.
    pub(super) skew: Duration,
    /// Multi-Region strong consistency.
    pub(super) strong: bool,
    /// What the canary says; `None`: there is none, or it was not read.
    pub(super) canary: Option<Result<Proof, BeatFault>>,
    /// When the oldest canary was sent that prodX has acknowledged and prodY does not hold.
    pub(super) missing_since: Option<Stamp>,
    /// Between two canaries.
    pub(super) canary_every: Option<Duration>,
    /// The newest datapoint that is believed.
    pub(super) datapoint: Option<Datapoint>,
}

pub(super) fn evidence(sample: &Sample) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let ours = |at: Stamp| at.wall - sample.skew - DATE_PRECISION;
    match &sample.canary {
        Some(Ok(proof)) if sample.strong => {
            // The write came back, and lately: then the read speaks of its own moment.
            let lately = sample.canary_every.unwrap_or_default() * 2;
            let works =
                proof.acked.is_some_and(|acked| acked.mono <= sample.asked.mono && sample.asked.since(acked) <= lately);
            let through = if works { ours(sample.asked) } else { ours(proof.sent) };
            evidence.push(Evidence::Advance { through, method: Method::Verified });
        }
        Some(Ok(proof)) => {
            let lag = sample.datapoint.filter(|d| d.current(sample.now.wall)).map_or(Duration::ZERO, |d| d.lag);
            evidence.push(Evidence::Advance { through: ours(proof.sent) - lag, method: Method::Sampled });
        }
        // Just begun: the first is on its way.
        Some(Err(BeatFault::Missing | BeatFault::Foreign)) if !overdue(sample) => {}
        Some(Err(fault)) => evidence.push(Evidence::Silent { since: sample.asked, what: fault.to_string() }),
        None => {}
    }
    if let Some(datapoint) = sample.datapoint.filter(|_| !sample.strong) {
        evidence.push(Evidence::Advance { through: datapoint.through(), method: Method::Metric });
    }
    if let Some(sent) = sample.missing_since.filter(|_| overdue(sample)) {
        let what = format!(
            "a canary that prodX acknowledged {} s ago has not arrived in prodY: replication stands still or is late",
            sample.now.since(sent).as_secs()
        );
        evidence.push(Evidence::Pinned { since: ours(sent), what });
    }
    evidence
}

fn overdue(sample: &Sample) -> bool {
    sample.missing_since.is_some_and(|sent| sample.now.since(sent) > PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::SourceTime;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn at(secs: u64) -> Stamp {
        Stamp { wall: SourceTime::from_secs(1_795_500_000) + S(secs), mono: S(secs) }
    }

    fn proof(sent: u64, acked: Option<u64>) -> Option<Result<Proof, BeatFault>> {
        Some(Ok(Proof { seq: 1, sent: at(sent), acked: acked.map(at) }))
    }

    /// At second 1000, read a second ago.
    fn sample() -> Sample {
        Sample {
            asked: at(999),
            now: at(1000),
            skew: Duration::from_millis(300),
            strong: false,
            canary: None,
            missing_since: None,
            canary_every: Some(S(5)),
            datapoint: None,
        }
    }

    fn lag(at_secs: u64, lag: u64) -> Option<Datapoint> {
        Some(Datapoint { at: at(at_secs).wall, lag: S(lag) })
    }

    fn advances(sample: &Sample) -> Vec<(SourceTime, Method)> {
        let through = |e: Evidence| match e {
            Evidence::Advance { through, method } => Some((through, method)),
            _ => None,
        };
        evidence(sample).into_iter().filter_map(through).collect()
    }

    fn ours(secs: u64) -> SourceTime {
        at(secs).wall - Duration::from_millis(1300)
    }

    #[test]
    fn ob3_a_canary_of_an_unordered_channel_is_a_sample_and_the_metric_widens_it() {
        let alone = Sample { canary: proof(996, Some(997)), ..sample() };
        assert_eq!(advances(&alone), [(ours(996), Method::Sampled)], "A5: less skew and the precision of Date");
        let widened = Sample { datapoint: lag(880, 4), ..alone.clone() };
        assert_eq!(advances(&widened)[0], (ours(992), Method::Sampled));
        let stale = Sample { datapoint: lag(700, 4), ..alone };
        assert_eq!(advances(&stale)[0], (ours(996), Method::Sampled), "what is old says nothing about now");
    }

    #[test]
    fn without_a_canary_the_metric_stands_in_and_without_both_nothing_does() {
        let metric = Sample { datapoint: lag(880, 4), ..sample() };
        assert_eq!(advances(&metric), [(at(816).wall, Method::Metric)]);
        assert!(evidence(&sample()).is_empty());
    }

    /// MRSC: RPO 0 by contract, claimed only while canaries are written, come back and are read.
    #[test]
    fn strong_consistency_is_proved_up_to_the_read_while_the_canary_works() {
        let strong = Sample { strong: true, ..sample() };
        let works = Sample { canary: proof(996, Some(997)), ..strong.clone() };
        assert_eq!(advances(&works), [(ours(999), Method::Verified)]);
        for (what, acked) in [("no answer", None), ("too long ago", Some(988))] {
            let sent = Sample { canary: proof(987, acked), ..strong.clone() };
            assert_eq!(advances(&sent), [(ours(987), Method::Verified)], "{what}");
        }
        let metric = Sample { datapoint: lag(880, 4), ..strong };
        assert!(advances(&metric).is_empty(), "it has no such metric");
    }

    #[test]
    fn an_acknowledged_canary_that_does_not_arrive_pins_whatever_the_metric_says() {
        let canary = proof(900, Some(901));
        let late = Sample { canary: canary.clone(), missing_since: Some(at(905)), datapoint: lag(995, 0), ..sample() };
        let found = evidence(&late);
        assert!(found.iter().any(|e| matches!(e, Evidence::Pinned { since, .. } if *since == ours(905))), "{found:?}");
        let under_way = Sample { canary, missing_since: Some(at(995)), ..sample() };
        assert!(!evidence(&under_way).iter().any(|e| matches!(e, Evidence::Pinned { .. })));
    }

    #[test]
    fn faults_are_said_and_prove_nothing() {
        for (fault, said) in [
            (BeatFault::Missing, false),
            (BeatFault::Foreign, false),
            (BeatFault::Unknown(3), true),
            (BeatFault::ClockStepped(S(3600)), true),
        ] {
            let seen = Sample { canary: Some(Err(fault.clone())), ..sample() };
            assert_eq!(evidence(&seen).len(), usize::from(said), "{fault}");
            assert!(advances(&seen).is_empty());
            let overdue = Sample { missing_since: Some(at(980)), ..seen };
            assert_eq!(evidence(&overdue).len(), 2, "{fault}");
        }
    }
}
