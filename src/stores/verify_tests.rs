//! How a verification is decided: when it begins, goes on and ends, and what it proves.

use std::collections::BTreeMap;

use super::*;
use crate::change::{Gap, GapCause, Key, LaneSeed, Method};
use crate::stores::seed::OnGap;
use crate::watermark::{DirtyRecord, LaneRecord};

const POLICY: Policy = Policy { segments: 2, sweep_limit: 1, on_gap: OnGap::Reseed, every: Duration::ZERO };
const TERMS: Terms = Terms { every: Duration::from_secs(100), repair: false };

fn at(secs: i64) -> SourceTime {
    SourceTime::from_secs(secs)
}

fn seeded() -> StoreState {
    let mut state = StoreState::default();
    state.record.incarnation = Some("t".into());
    let lane = LaneSeed { lane: Lane::tail("a"), parent: None, born: None };
    state.apply(&Transition::Discover(lane), at(1));
    state.apply(&Transition::Seeded, at(2));
    state
}

fn dirty(what: Difference, seen: SourceTime) -> DirtyRecord {
    DirtyRecord {
        found_at: seen,
        orphan: what == Difference::Orphan,
        body: String::new(),
        what: Some(what),
        seen_at: Some(seen),
    }
}

fn drain(state: &mut StoreState, now: SourceTime) {
    let open: Vec<Lane> = state.copy_lanes().map(|(lane, _)| lane.clone()).collect();
    for lane in open {
        state.apply(&Transition::Drain { lane, children: vec![] }, now);
    }
}

fn step(state: &mut StoreState, now: SourceTime) -> Vec<Transition> {
    let next = proceed(state, &POLICY);
    next.iter().for_each(|transition| drop(state.apply(transition, now)));
    next
}

#[test]
fn it_begins_when_it_is_due_or_asked_for_and_never_in_doubt() {
    let mut state = seeded();
    assert_eq!(begins(&state, &TERMS, at(101)), None);
    assert!(begins(&state, &TERMS, at(102)).is_some());
    assert_eq!(begins(&state, &Terms { every: Duration::ZERO, ..TERMS }, at(9999)), None, "only when asked");
    let wish = crate::watermark::VerifyWish { at: at(3), repair: true, allowed: 7 };
    state.record.verify_wanted = Some(wish);
    let run = begins(&state, &TERMS, at(4)).unwrap();
    assert_eq!((run.repair, run.allowed, run.started_at), (true, 7, at(4)));
    let gap = Gap { cause: GapCause::Trimmed, on: "a".into(), declared_at: at(4) };
    state.apply(&Transition::Break(gap), at(4));
    assert_eq!(begins(&state, &TERMS, at(4)), None, "a gap");
    assert_eq!(begins(&StoreState::default(), &TERMS, at(9999)), None, "seeding");
}

#[test]
fn a_clean_pass_is_a_proof_of_the_whole_as_of_its_start() {
    let mut state = seeded();
    assert_eq!(state.record.whole_at, Some(at(1)), "when the positions of an empty pair were durable");
    let run = begins(&state, &TERMS, at(200)).unwrap();
    state.apply(&begin(&state, run, &POLICY), at(200));
    assert_eq!(state.copy_lanes().count(), 2);
    assert_eq!(begins(&state, &TERMS, at(999)), None, "one at a time");
    assert_eq!(proceed(&state, &POLICY), vec![]);
    drain(&mut state, at(210));
    assert!(matches!(step(&mut state, at(210))[..], [Transition::Continue(_)]), "the sweep");
    drain(&mut state, at(220));
    assert_eq!(step(&mut state, at(230)), vec![Transition::Verified { complete: true }]);
    assert_eq!((state.copy_lanes().count(), state.lanes.len()), (0, 1));
    assert_eq!((state.record.verified_at, state.record.whole_at), (Some(at(230)), Some(at(200))));
    assert_eq!(state.ceiling(), None);
    assert_eq!(begins(&state, &TERMS, at(299)), None);
    assert!(begins(&state, &TERMS, at(300)).is_some(), "counted from the start of the last");
}

#[test]
fn rp9_while_it_differs_no_more_is_promised_than_the_last_proof_of_the_whole() {
    let mut state = seeded();
    let run = begins(&state, &TERMS, at(200)).unwrap();
    state.apply(&begin(&state, run, &POLICY), at(200));
    state.dirty.insert(Key("old".into()), dirty(Difference::Missing, at(150)));
    state.dirty.insert(Key("new".into()), dirty(Difference::Missing, at(205)));
    assert_eq!(state.ceiling(), Some(at(1)));
    drain(&mut state, at(210));
    step(&mut state, at(210));
    drain(&mut state, at(220));
    let next = proceed(&state, &POLICY);
    let touched = state.apply(&next[0], at(220));
    assert_eq!(touched.mended, vec![Key("old".into())], "it was looked at and not found again");
    assert_eq!((state.dirty.len(), state.ceiling()), (1, Some(at(1))));
    assert!(held(&state, "t", &POLICY, &TERMS, at(221)).unwrap().contains("plimsoll verify t --repair"));
}

#[test]
fn i13_a_repair_never_removes_more_than_the_guard() {
    let mut state = seeded();
    let found = [("a", Difference::Orphan), ("b", Difference::Orphan), ("c", Difference::Missing)];
    state.dirty = found.into_iter().map(|(k, what)| (Key(k.into()), dirty(what, at(5)))).collect::<BTreeMap<_, _>>();
    let run = VerifyRun { started_at: at(4), repair: true, ..VerifyRun::default() };
    let Transition::Verify { lanes, .. } = begin(&state, run.clone(), &POLICY) else { panic!() };
    assert!(lanes.iter().all(|lane| lane.kind == LaneKind::Scan), "two are too many");
    state.apply(&begin(&state, run.clone(), &POLICY), at(4));
    drain(&mut state, at(6));
    step(&mut state, at(6));
    drain(&mut state, at(7));
    assert_eq!(proceed(&state, &POLICY), vec![Transition::Verified { complete: true }]);
    assert!(held(&state, "t", &POLICY, &TERMS, at(8)).unwrap().contains("--allow-deletes 2"));
    state.record.verify_run.as_mut().unwrap().allowed = 2;
    assert!(
        matches!(&proceed(&state, &POLICY)[..], [Transition::Continue(lanes)] if lanes[0].kind == LaneKind::Repair)
    );
    let Transition::Verify { lanes, .. } = begin(&state, VerifyRun { allowed: 2, ..run }, &POLICY) else { panic!() };
    assert_eq!(lanes.len(), 3, "what is known is repaired first");
}

#[test]
fn a_re_seed_ends_it_and_forgets_what_it_found() {
    let mut state = seeded();
    state.dirty.insert(Key("a".into()), dirty(Difference::Missing, at(5)));
    let run = VerifyRun { started_at: at(4), ..VerifyRun::default() };
    state.apply(&begin(&state, run, &POLICY), at(4));
    let lanes = vec![LaneSeed { lane: Lane::tail("a"), parent: None, born: None }];
    let run = crate::watermark::SeedRun::default();
    state.apply(&Transition::Reseed(crate::stores::Reseed { epoch: 1, incarnation: "t".into(), lanes, run }), at(9));
    assert_eq!((state.dirty.len(), under_way(&state), state.copy_lanes().count()), (0, None, 0));
    assert_eq!(state.record.verify_run.as_ref().and_then(|run| run.ended_at), Some(at(9)));
    let _: Option<&LaneRecord> = state.lanes.get(&Lane::tail("a")).filter(|lane| lane.method == Method::Assumed);
}

#[test]
fn what_was_compared_in_part_is_no_proof_of_the_whole() {
    let mut state = seeded();
    state.dirty.insert(Key("a".into()), dirty(Difference::Differs, at(150)));
    state.dirty.insert(Key("b".into()), dirty(Difference::Missing, at(150)));
    let run = VerifyRun { started_at: at(200), partial: true, ..VerifyRun::default() };
    state.apply(&begin(&state, run, &POLICY), at(200));
    state.apply(&Transition::Verified { complete: true }, at(210));
    assert_eq!(state.dirty.keys().collect::<Vec<_>>(), [&Key("a".into())], "it may differ where nobody looked");
    state.dirty.clear();
    assert_eq!(state.record.whole_at, Some(at(1)));
}
