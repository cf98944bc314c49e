//! The judgement, rule by rule.

use super::*;
use crate::change::{Gap, GapCause};
use crate::watermark::{Fence, StoreRecord};

const TERMS: Terms = Terms { objective: Duration::from_secs(30), period: Duration::from_secs(2) };

fn at(secs: u64) -> Stamp {
    Stamp { wall: SourceTime::from_secs(1_000_000 + secs as i64), mono: Duration::from_secs(secs) }
}

fn id() -> StoreId {
    StoreId::new("orders").unwrap()
}

fn proven(through: u64, proved: Option<u64>) -> Watermarks {
    let record = StoreRecord {
        seed: Seed::Done { at: at(0).wall },
        through: Some(at(through).wall),
        method: Some(Method::Verified),
        ..StoreRecord::default()
    };
    let mut marks = Watermarks::default();
    marks.stores.insert(id(), Mark { record, proved: proved.map(at) });
    marks
}

fn judge(now: u64, marks: &Watermarks) -> Rpo {
    assess(at(now), Duration::ZERO, &id(), marks, &TERMS)
}

#[test]
fn never_seen_is_seeding_and_has_no_number() {
    let rpo = judge(5, &Watermarks::default());
    assert_eq!((rpo.state, rpo.rpo, rpo.upper_bound, rpo.watermark), (State::Seeding, None, None, None));
    assert!(rpo.breached, "no number is a breach");
}

#[test]
fn ok_is_about_proof_not_about_size() {
    let rpo = judge(500, &proven(100, Some(495)));
    assert_eq!((rpo.state, rpo.rpo), (State::Ok, Some(Duration::from_secs(400))));
    assert!(rpo.breached);
}

#[test]
fn rp3_unknown_after_three_periods_or_ten_seconds_and_the_bound_keeps_growing() {
    let marks = proven(98, Some(100));
    assert_eq!(judge(110, &marks).state, State::Ok);
    let rpo = judge(111, &marks);
    assert_eq!((rpo.state, rpo.rpo, rpo.upper_bound), (State::Unknown, None, Some(Duration::from_secs(13))));
    assert_eq!(judge(171, &marks).upper_bound, Some(Duration::from_secs(73)), "slope 1 (P4)");
    let slow = Terms { period: Duration::from_secs(10), ..TERMS };
    assert_eq!(assess(at(130), Duration::ZERO, &id(), &marks, &slow).state, State::Ok);
}

#[test]
fn rk6_a_restart_shows_the_old_watermark_as_unknown() {
    let rpo = judge(200, &proven(150, None));
    assert_eq!((rpo.state, rpo.upper_bound), (State::Unknown, Some(Duration::from_secs(50))));
}

#[test]
fn precedence_of_states() {
    let mut marks = proven(99, Some(100));
    let record = &mut marks.stores.get_mut(&id()).unwrap().record;
    record.gap = Some(Gap { cause: GapCause::Trimmed, on: "s".into(), declared_at: at(1).wall });
    assert_eq!(judge(100, &marks).state, State::Gap);
    assert!(judge(100, &marks).upper_bound.is_some(), "a gap keeps its frozen watermark");
    marks.stores.get_mut(&id()).unwrap().record.paused_until = Some(at(105).wall);
    assert_eq!(judge(100, &marks).state, State::Paused);
    assert_eq!(judge(105, &marks).state, State::Gap, "a pause ends by itself");
    marks.fence = Some(Fence { promotion: "p".into(), at: at(1).wall, direction_epoch: 1 });
    assert_eq!(judge(100, &marks).state, State::Fenced);
}

#[test]
fn rp5_no_step_of_the_wall_clock_makes_the_number_smaller() {
    let marks = proven(98, Some(100));
    for step in [-3600i64, -5, 0, 5, 3600] {
        let mut now = at(105);
        now.wall = SourceTime(now.wall.0 + step * 1000);
        let bound = assess(now, Duration::ZERO, &id(), &marks, &TERMS).upper_bound.unwrap();
        assert!(bound >= Duration::from_secs(7), "step {step}: {bound:?}");
    }
}

#[test]
fn clock_skew_is_added() {
    let rpo = assess(at(100), Duration::from_secs(2), &id(), &proven(97, Some(100)), &TERMS);
    assert_eq!(rpo.rpo, Some(Duration::from_secs(5)));
}

#[test]
fn rp7_the_app_is_its_worst_store_and_unknown_is_never_zero() {
    let good = judge(100, &proven(98, Some(100)));
    let worse = judge(100, &proven(90, Some(100)));
    let app = assess_app(&[good.clone(), worse]);
    assert_eq!((app.rpo, app.skew), (Some(Duration::from_secs(10)), Some(Duration::from_secs(8))));
    let unknown = judge(100, &Watermarks::default());
    assert_eq!(assess_app(&[good, unknown]), AppRpo { rpo: None, skew: None });
    assert_eq!(assess_app(&[]).rpo, None);
}
