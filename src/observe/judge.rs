//! From evidence to a watermark. Pure.

use crate::change::{Evidence, SourceTime, Stamp};
use crate::watermark::{Seed, StoreRecord};

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    /// The store's record after it.
    pub(super) record: StoreRecord,
    /// The latest instant that any evidence of this epoch reached.
    pub(super) reached: Option<SourceTime>,
    /// It said something new: the store is alive.
    pub(super) fresh: bool,
    /// What is wrong, for a human.
    pub(super) trouble: Option<String>,
}

/// Judges the evidence of one look. `reached`: the latest instant that earlier evidence reached.
pub(super) fn judge(
    record: &StoreRecord,
    reached: Option<SourceTime>,
    evidence: &[Evidence],
    incarnation: Option<&str>,
    now: Stamp,
) -> Judged {
    let mut says = Vec::new();
    let (mut record, mut reached) = (record.clone(), reached);
    if let Some(found) = incarnation
        && record.incarnation.as_deref() != Some(found)
    {
        if record.incarnation.is_some() {
            // What was proved was of another copy.
            let epoch = record.epoch + 1;
            record = StoreRecord { epoch, paused_until: record.paused_until, ..StoreRecord::default() };
            reached = None;
        }
        record.incarnation = Some(found.to_owned());
    }
    let mut best = None;
    let mut ceiling = None;
    for item in evidence {
        match item {
            // P1. A clock that is wrong by more than what was subtracted for it.
            Evidence::Advance { through, .. } if *through > now.wall => {
                says.push(format!(
                    "a proof of {through}, which is in the future, was not believed: look at the clocks"
                ));
            }
            Evidence::Advance { through, method } => {
                if best.is_none_or(|(have, _)| *through > have) {
                    best = Some((*through, *method));
                }
            }
            Evidence::Pinned { since, what } => {
                ceiling = Some(ceiling.map_or(*since, |have: SourceTime| have.min(*since)));
                says.push(what.clone());
            }
            Evidence::Gap(gap) => {
                record.gap.get_or_insert_with(|| gap.clone());
            }
            Evidence::Silent { what, .. } => says.push(what.clone()),
        }
    }
    let mut fresh = false;
    if record.gap.is_none()
        && let Some((through, method)) = best
    {
        fresh = reached.is_none_or(|reached| through > reached);
        let capped = ceiling.map_or(through, |ceiling| through.min(ceiling));
        if fresh && record.through.is_none_or(|have| capped > have) {
            (record.through, record.method) = (Some(capped), Some(method));
        }
        if fresh {
            reached = Some(through);
            record.proved_at = Some(now.wall);
            if record.seed == Seed::Pending {
                record.seed = Seed::Done { at: now.wall };
            }
        }
    }
    Judged { record, reached, fresh, trouble: (!says.is_empty()).then(|| says.join("; ")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::change::{Gap, GapCause, Method};

    const T: i64 = 1_795_500_000_000;

    fn now() -> Stamp {
        Stamp { wall: SourceTime(T), mono: Duration::from_secs(100) }
    }

    fn ago(secs: i64) -> SourceTime {
        SourceTime(T - secs * 1000)
    }

    fn to(secs_ago: i64, method: Method) -> Evidence {
        Evidence::Advance { through: ago(secs_ago), method }
    }

    fn first(evidence: &[Evidence]) -> Judged {
        judge(&StoreRecord::default(), None, evidence, Some("copy-1"), now())
    }

    #[test]
    fn rp4_silence_moves_nothing_and_is_no_sign_of_life() {
        let known = first(&[to(3, Method::Sampled)]);
        assert!(known.fresh && known.record.through == Some(ago(3)) && known.record.method == Some(Method::Sampled));
        for evidence in [vec![], vec![Evidence::Silent { since: now(), what: "no answer".into() }]] {
            let next = judge(&known.record, known.reached, &evidence, Some("copy-1"), now());
            assert_eq!((next.record, next.fresh), (known.record.clone(), false));
        }
        let never = first(&[Evidence::Silent { since: now(), what: "no datapoint".into() }]);
        assert!(never.record.through.is_none() && never.record.seed == Seed::Pending);
        assert_eq!(never.trouble.as_deref(), Some("no datapoint"));
    }

    #[test]
    fn the_same_evidence_again_renews_nothing_and_older_evidence_takes_nothing_back() {
        let known = first(&[to(3, Method::Metric)]);
        for secs in [3, 60] {
            let again = judge(&known.record, known.reached, &[to(secs, Method::Metric)], Some("copy-1"), now());
            assert!(!again.fresh && again.record == known.record, "{secs}");
        }
        let newer = judge(&known.record, known.reached, &[to(2, Method::Metric)], Some("copy-1"), now());
        assert!(newer.fresh && newer.record.through == Some(ago(2)));
    }

    /// After a restart the durable watermark is what evidence must pass.
    #[test]
    fn rk6_a_datapoint_from_before_the_start_is_no_sign_of_life() {
        let durable = first(&[to(100, Method::Metric)]).record;
        assert!(!judge(&durable, durable.through, &[to(100, Method::Metric)], Some("copy-1"), now()).fresh);
    }

    #[test]
    fn the_best_proof_counts_and_a_pin_holds_the_watermark_and_not_the_life() {
        let both = first(&[to(240, Method::Metric), to(4, Method::Sampled)]);
        assert_eq!((both.record.through, both.record.method), (Some(ago(4)), Some(Method::Sampled)));
        let pin = Evidence::Pinned { since: ago(20), what: "a heartbeat is missing".into() };
        let pinned = first(&[to(4, Method::Metric), pin.clone()]);
        assert!(pinned.fresh && pinned.record.through == Some(ago(20)));
        let late = judge(&both.record, both.reached, &[to(1, Method::Metric), pin], Some("copy-1"), now());
        assert_eq!(late.record.through, Some(ago(4)), "P2: never back");
    }

    #[test]
    fn p1_nothing_is_proved_about_the_future() {
        let early = first(&[to(-5, Method::Sampled)]);
        assert!(!early.fresh && early.record.through.is_none());
        assert!(early.trouble.is_some_and(|t| t.contains("future")));
    }

    #[test]
    fn another_copy_begins_a_new_epoch_without_a_watermark() {
        let known = first(&[to(3, Method::Sampled)]);
        let other = judge(&known.record, known.reached, &[], Some("copy-2"), now());
        assert_eq!((other.record.epoch, other.record.through), (1, None));
        assert_eq!(other.record.seed, Seed::Pending);
        let unknown = judge(&known.record, known.reached, &[], None, now());
        assert_eq!(unknown.record, known.record, "who does not answer is not another");
    }

    #[test]
    fn a_gap_freezes_it() {
        let gap = Gap { cause: GapCause::Recreated, on: "table orders".into(), declared_at: ago(1) };
        let known = first(&[to(3, Method::Sampled)]);
        let evidence = [to(1, Method::Sampled), Evidence::Gap(gap)];
        let lost = judge(&known.record, known.reached, &evidence, Some("copy-1"), now());
        assert!(lost.record.gap.is_some() && lost.record.through == Some(ago(3)) && !lost.fresh);
    }
}
