//! The lineage, rule by rule, and every mutant that loses a shard.

use super::*;
use crate::change::{LaneKind, Method};
use crate::watermark::{Seed, SeedRun};

const NOW: SourceTime = SourceTime(1_795_000_000_000);

fn id(age_minutes: i64, tail: &str) -> String {
    format!("shardId-{:020}-{tail:0>8}", NOW.0 - age_minutes * 60_000)
}

fn shard(id: &str, parent: Option<&str>) -> Shard {
    Shard { id: id.to_owned(), parent: parent.map(str::to_owned) }
}

fn sighting(shards: Vec<Shard>) -> Sighting {
    Sighting { table_id: "t1".into(), stream_arn: Some("arn:s1".into()), shards: Some(shards) }
}

fn run(state: &mut StoreState, seen: &Sighting, now: SourceTime) -> Vec<Transition> {
    let decisions = decide(state, seen, now);
    for decision in &decisions {
        state.apply(decision, now);
    }
    decisions
}

fn phase(state: &StoreState, id: &str) -> Option<LanePhase> {
    state.lanes.get(&Lane::tail(id)).map(|r| r.phase)
}

/// A store whose one root shard is being read, with a watermark.
fn running(root: &str) -> StoreState {
    let mut state = StoreState::default();
    run(&mut state, &sighting(vec![shard(root, None)]), NOW);
    state.record.seed = Seed::Done { at: NOW };
    let through = NOW - Duration::from_secs(5);
    let record = state.lanes.get_mut(&Lane::tail(root)).unwrap();
    (record.through, record.method, record.tip_at) = (Some(through), Method::Verified, Some(NOW));
    state.record.through = Some(through);
    state
}

#[test]
fn ds3_ds4_adoption_reads_roots_and_makes_children_wait_in_any_listing_order() {
    let (old, a, b, c) = (id(600, "0"), id(300, "a"), id(100, "b"), id(100, "c"));
    let shards = vec![shard(&c, Some(&a)), shard(&b, Some(&a)), shard(&a, Some(&old))];
    let mut state = StoreState::default();
    let decisions = run(&mut state, &sighting(shards.clone()), NOW);
    assert_eq!(state.record.incarnation.as_deref(), Some("t1 arn:s1"));
    assert!(
        matches!(&decisions[1], Transition::Discover(s) if s.lane == Lane::tail(&a)),
        "parents first: {decisions:?}"
    );
    assert_eq!(phase(&state, &a), Some(LanePhase::Reading), "its parent was trimmed before our time (DS-4b)");
    assert_eq!(phase(&state, &b), Some(LanePhase::Waiting));
    assert_eq!(phase(&state, &old), None);
    assert!(state.record.gap.is_none());
    assert!(run(&mut state, &sighting(shards), NOW).is_empty(), "seeing the same again decides nothing");
}

#[test]
fn ds11_a_child_inherits_its_parents_watermark_and_waits_for_it() {
    let (root, child) = (id(100, "a"), id(1, "b"));
    let mut state = running(&root);
    run(&mut state, &sighting(vec![shard(&child, Some(&root)), shard(&root, None)]), NOW);
    let record = &state.lanes[&Lane::tail(&child)];
    assert_eq!((record.phase, record.through), (LanePhase::Waiting, state.record.through));
    state.apply(&Transition::Drain { lane: Lane::tail(&root), children: vec![] }, NOW);
    assert_eq!(phase(&state, &child), Some(LanePhase::Reading));
    assert_eq!(phase(&state, &root), Some(LanePhase::Drained));
}

/// M2c: a drained parent must not leave the minimum before its children are in it.
#[test]
fn m2c_the_end_of_a_shard_registers_its_children_in_the_same_step() {
    let (root, b, c) = (id(100, "a"), id(1, "b"), id(1, "c"));
    let mut state = running(&root);
    let kids = children(&root, &[shard(&c, Some(&root)), shard(&b, Some(&root)), shard("x", Some("y"))], NOW);
    assert_eq!(kids.len(), 2);
    state.apply(&Transition::Drain { lane: Lane::tail(&root), children: kids }, NOW);
    let live: Vec<_> = state.live_lanes().map(|(l, r)| (l.name.to_string(), r.through)).collect();
    assert_eq!(live, [(b, state.record.through), (c, state.record.through)]);
}

/// M2b: a child may not be read while its parent has unread changes.
#[test]
fn m2b_no_child_is_read_before_its_parent_is_drained() {
    let (root, b) = (id(100, "a"), id(1, "b"));
    let mut state = running(&root);
    for _ in 0..3 {
        run(&mut state, &sighting(vec![shard(&root, None), shard(&b, Some(&root))]), NOW);
        assert_eq!(phase(&state, &b), Some(LanePhase::Waiting));
    }
}

#[test]
fn ds8c_a_shard_that_leaves_the_listing_before_its_end_is_a_gap() {
    let (root, b) = (id(100, "a"), id(1, "b"));
    let mut state = running(&root);
    let before = state.record.through;
    run(&mut state, &sighting(vec![shard(&b, Some(&root))]), NOW);
    assert_eq!(state.record.gap.as_ref().unwrap().cause, GapCause::LaneVanished);
    assert_eq!(phase(&state, &root), Some(LanePhase::Lost));
    assert_eq!(phase(&state, &b), Some(LanePhase::Reading), "what is left is read on");
    assert_eq!(state.record.through, before, "frozen, not lowered");
    let gap = state.record.gap.clone();
    run(&mut state, &sighting(vec![shard(&b, Some(&root))]), NOW + VOUCHED);
    assert_eq!(state.record.gap, gap, "sticky: the first cause stays");
}

/// Listings are eventually consistent: one of an older moment must not make a lasting gap of a shard just found.
#[test]
fn ds8c_a_shard_that_was_just_found_and_is_not_listed_is_not_lost_yet() {
    let (root, b) = (id(100, "a"), id(1, "b"));
    let mut state = running(&root);
    let root_lane = Lane::tail(&root);
    state.apply(&Transition::Drain { children: children(&root, &[shard(&b, Some(&root))], NOW), lane: root_lane }, NOW);
    let stale = sighting(vec![shard(&root, None)]);
    assert!(run(&mut state, &stale, NOW + Duration::from_secs(1)).is_empty());
    assert_eq!(phase(&state, &b), Some(LanePhase::Reading), "it holds the watermark all the while");
    run(&mut state, &stale, NOW + SETTLING);
    assert_eq!(state.record.gap.unwrap().cause, GapCause::LaneVanished);
}

/// A stream that is just being enabled lists nothing yet (DS-F7).
#[test]
fn dsf7_a_stream_without_shards_is_not_adopted() {
    let mut state = StoreState::default();
    assert!(run(&mut state, &sighting(vec![]), NOW).is_empty());
    run(&mut state, &sighting(vec![shard(&id(1, "a"), None)]), NOW);
    assert!(state.record.incarnation.is_some() && state.record.gap.is_none(), "its first shard is no orphan");
}

#[test]
fn ds8d_a_parent_that_was_never_seen_is_a_gap_outside_adoption() {
    let (root, ghost, b) = (id(100, "a"), id(60, "g"), id(1, "b"));
    let mut state = running(&root);
    run(&mut state, &sighting(vec![shard(&root, None), shard(&b, Some(&ghost))]), NOW);
    assert_eq!(state.record.gap.as_ref().unwrap().cause, GapCause::ParentUnknown);
    assert_eq!(phase(&state, &b), Some(LanePhase::Reading));
}

/// A gap that is being healed hides no other one: what is lost while the copy runs, that copy does not bring.
#[test]
fn bst5_every_loss_during_the_cure_of_a_gap_is_declared() {
    let (root, ghost, b) = (id(100, "a"), id(60, "g"), id(1, "b"));
    let gap = Gap { cause: GapCause::Trimmed, on: "a shard".into(), declared_at: NOW };
    let mut healing = running(&root);
    (healing.record.gap, healing.record.seed, healing.record.epoch) = (Some(gap), Seed::Pending, 1);
    healing.record.seed_run = Some(SeedRun { started_at: NOW, ..SeedRun::default() });
    healing.apply(&Transition::Continue(vec![Lane { kind: LaneKind::Scan, name: "0/1".into() }]), NOW);
    let same = sighting(vec![shard(&root, None)]);
    let losses = [
        (GapCause::ParentUnknown, sighting(vec![shard(&root, None), shard(&b, Some(&ghost))])),
        (GapCause::StreamReset, Sighting { stream_arn: Some("arn:s2".into()), ..same.clone() }),
        (GapCause::Recreated, Sighting { table_id: "t2".into(), ..same.clone() }),
    ];
    for (cause, seen) in losses {
        let mut state = healing.clone();
        assert!(run(&mut state, &same, NOW).is_empty());
        run(&mut state, &seen, NOW);
        assert_eq!(state.record.gap.as_ref().unwrap().cause, cause);
        assert!(state.record.seed_run.as_ref().unwrap().broken, "{cause:?}: the copy is not the cure");
        assert!(run(&mut state, &seen, NOW).is_empty(), "{cause:?}: once");
    }
}

#[test]
fn a_young_root_is_taken_in_at_the_published_watermark_and_an_old_one_is_a_gap() {
    let (root, young, old) = (id(100, "a"), id(0, "b"), id(50, "c"));
    let mut state = running(&root);
    run(&mut state, &sighting(vec![shard(&root, None), shard(&young, None)]), NOW);
    assert!(state.record.gap.is_none());
    assert_eq!(state.lanes[&Lane::tail(&young)].through, state.record.through);
    run(&mut state, &sighting(vec![shard(&root, None), shard(&young, None), shard(&old, None)]), NOW);
    assert_eq!(state.record.gap.unwrap().cause, GapCause::ParentUnknown);
}

#[test]
fn ds1_a_recreated_table_and_a_reset_stream_are_gaps() {
    let root = id(100, "a");
    for (seen, cause) in [
        (Sighting { table_id: "t2".into(), ..sighting(vec![shard(&root, None)]) }, GapCause::Recreated),
        (Sighting { stream_arn: Some("arn:s2".into()), ..sighting(vec![shard(&root, None)]) }, GapCause::StreamReset),
        (Sighting { stream_arn: None, ..sighting(vec![shard(&root, None)]) }, GapCause::StreamReset),
    ] {
        let mut state = running(&root);
        run(&mut state, &seen, NOW);
        assert_eq!(state.record.gap.as_ref().unwrap().cause, cause);
        assert_eq!(phase(&state, &root), Some(LanePhase::Reading), "the old stream is drained while it lasts");
        assert_eq!(state.record.incarnation.as_deref(), Some("t1 arn:s1"), "never switched in silence");
    }
}

#[test]
fn ds8b_a_stream_that_is_gone_loses_every_open_shard() {
    let root = id(100, "a");
    let mut state = running(&root);
    run(&mut state, &Sighting { shards: None, ..sighting(vec![]) }, NOW);
    assert_eq!(phase(&state, &root), Some(LanePhase::Lost));
    assert_eq!(state.record.gap.unwrap().cause, GapCause::LaneMissing);
}

#[test]
fn ds8e_a_shard_not_read_to_its_tip_for_23_hours_is_a_gap() {
    let root = id(100, "a");
    let mut state = running(&root);
    let seen = sighting(vec![shard(&root, None)]);
    run(&mut state, &seen, NOW + VOUCHED);
    assert!(state.record.gap.is_none());
    run(&mut state, &seen, NOW + VOUCHED + Duration::from_secs(1));
    assert_eq!(state.record.gap.unwrap().cause, GapCause::ReadTooLate);
}

#[test]
fn ds5_ds7_the_beginning_is_read_only_while_it_must_still_be_there() {
    let child = id(0, "b");
    let lane = Lane::tail(&child);
    let mut record = LaneRecord {
        parent: Some(Lane::tail("p")),
        born: Some(NOW),
        first_seen: NOW + Duration::from_secs(3600),
        phase: LanePhase::Reading,
        position: None,
        through: Some(NOW + Duration::from_secs(7200)),
        method: Method::Assumed,
        tip_at: None,
        closed_at: None,
        initial: false,
    };
    assert_eq!(start(&lane, &record, None, NOW + VOUCHED), Ok(Start::Beginning));
    let late = NOW + VOUCHED + Duration::from_secs(1);
    assert_eq!(
        start(&lane, &record, None, late).unwrap_err().cause,
        GapCause::ReadTooLate,
        "an inherited watermark vouches for nothing"
    );
    let position = Position("7".into());
    assert_eq!(
        start(&lane, &record, Some(&position), late),
        Ok(Start::After(position)),
        "DS-7: the checkpoint, never an empty number"
    );
    record.tip_at = Some(late);
    assert_eq!(start(&lane, &record, None, late), Ok(Start::Beginning), "it was empty at its tip until lately");
}

#[test]
fn dsf6_an_implausible_shard_time_is_no_time() {
    assert_eq!(born("shardId-00000000000000000000-00000000", NOW), None);
    assert_eq!(born(&id(-100, "a"), NOW), None, "the future");
    assert_eq!(born("shardId-17-ab", NOW), None);
    assert_eq!(born("nonsense", NOW), None);
    assert_eq!(born(&id(5, "a"), NOW), Some(NOW - Duration::from_secs(300)));
}

#[test]
fn le6_a_drained_shard_is_forgotten_after_two_days_unlisted() {
    let (root, b) = (id(100, "a"), id(1, "b"));
    let mut state = running(&root);
    let kids = vec![seed(&shard(&b, Some(&root)), Some(&root), NOW)];
    state.apply(&Transition::Drain { lane: Lane::tail(&root), children: kids }, NOW);
    let day = Duration::from_secs(24 * 3600);
    state.lanes.get_mut(&Lane::tail(&b)).unwrap().tip_at = Some(NOW + day * 3);
    let gone = sighting(vec![shard(&b, Some(&root))]);
    assert!(decide(&state, &gone, NOW + day).is_empty());
    assert_eq!(decide(&state, &gone, NOW + day * 3), [Transition::Retire(Lane::tail(&root))]);
}

#[test]
fn a_circle_in_a_listing_does_not_hang() {
    let (a, b) = (id(3, "a"), id(2, "b"));
    let mut state = StoreState::default();
    run(&mut state, &sighting(vec![shard(&a, Some(&b)), shard(&b, Some(&a))]), NOW);
    assert_eq!(state.lanes.len(), 2);
}
