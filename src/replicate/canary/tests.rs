//! What is written when, what it proves, and what it measures.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::replicate::testing::RHYTHM;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// Wall clock at monotonic zero: in the middle of a second.
const START: SourceTime = SourceTime(1_763_900_000_500);

fn at(ms: u64) -> Stamp {
    Stamp { wall: START + MS(ms), mono: MS(ms) }
}

fn canaries(keys: u32) -> Canaries {
    let terms = CanaryTerms { keys, every: MS(10_000), replicate: false };
    Canaries::new(terms, RHYTHM, "me".into(), None)
}

fn sighting(key: u32, beat: &Beat) -> Sighting {
    Sighting { key, beat: Some(beat.clone()) }
}

fn ok(keys: &[u32]) -> Vec<(u32, Result<(), Class>)> {
    keys.iter().map(|key| (*key, Ok(()))).collect()
}

/// Writes the beat that is due, and is acknowledged at `acked`.
fn beat(canaries: &mut Canaries, sent: u64, acked: u64) -> Beat {
    let (beat, keys) = canaries.next(at(sent)).expect("one is due");
    canaries.written(&ok(&keys), at(acked), 0);
    beat
}

/// A canary is on a page of lane 0 and passes at once.
fn comes_by(canaries: &mut Canaries, sighting: &Sighting, committed: u64, asked: u64) -> Option<SourceTime> {
    canaries.seen((0, EntryNo(0)), sighting, (START + MS(committed)).floor_to_second(), MS(asked), at(asked + 10));
    canaries.read(0, MS(asked), Some(false));
    canaries.advance(|_, _| true, Duration::ZERO, at(asked + 20)).1
}

#[test]
fn beats_come_at_their_time_and_never_overlap() {
    let mut c = canaries(2);
    let (first, keys) = c.next(at(0)).unwrap();
    assert_eq!((first.seq, first.sent_at, keys), (1, START, vec![0, 1]));
    assert_eq!((c.next(at(60_000)), c.due()), (None, None), "one is under way, however long it takes");
    c.written(&ok(&[0, 1]), at(60_000), 0);
    let (second, _) = c.next(at(60_000)).unwrap();
    assert_eq!(second.seq, 2);
    c.written(&ok(&[0, 1]), at(60_100), 0);
    assert_eq!((c.next(at(69_999)), c.due()), (None, Some(MS(70_000))));
    assert_eq!(c.next(at(70_000)).unwrap().0.seq, 3);
}

#[test]
fn an_unknown_outcome_is_sent_again_as_it_is_and_then_skipped_and_never_measured() {
    let mut c = canaries(2);
    let (first, _) = c.next(at(0)).unwrap();
    c.written(&[(0, Ok(())), (1, Err(Class::Unknown))], at(5_000), 0);
    let due = c.due().unwrap();
    assert!(due > MS(5_000) && due < MS(10_000));
    let (again, keys) = c.next(at(6_000)).unwrap();
    assert_eq!((&again, keys), (&first, vec![1]), "the same value, of the one key that is open");
    c.written(&ok(&[1]), at(6_100), 0);
    // It came by: proved by all of its keys, measured by the one whose commit is known.
    c.seen((0, EntryNo(0)), &sighting(0, &first), START, MS(5_500), at(5_600));
    c.seen((0, EntryNo(1)), &sighting(1, &first), START, MS(6_500), at(6_600));
    let (took, through) = c.advance(|_, _| true, Duration::ZERO, at(7_000));
    assert_eq!((took, through.is_some()), (vec![MS(2_000)], true));
    // Seen twice, after an expired iterator: counted once.
    c.seen((0, EntryNo(2)), &sighting(0, &first), START, MS(7_500), at(7_600));
    assert_eq!(c.advance(|_, _| true, Duration::ZERO, at(8_000)), (vec![], None));
    // Given up when the next is due.
    let (second, _) = c.next(at(10_000)).unwrap();
    c.written(&[(0, Err(Class::Throttled)), (1, Err(Class::Denied))], at(10_001), 0);
    let (third, keys) = c.next(at(20_000)).unwrap();
    assert_eq!((second.seq, third.seq, keys), (2, 3, vec![0, 1]));
    // Given up half-way: the same again, and not measured.
    c.written(&[], at(20_100), 0);
    let (same, _) = c.next(at(21_000)).unwrap();
    assert_eq!(same, third);
    c.written(&ok(&[0, 1]), at(21_100), 0);
    c.seen((0, EntryNo(3)), &sighting(0, &third), START + MS(21_000), MS(21_200), at(21_300));
    assert!(c.advance(|_, _| true, Duration::ZERO, at(22_000)).0.is_empty());
}

#[test]
fn ds12_a_time_is_proved_when_every_key_has_passed_behind_all_that_was_before_it() {
    let mut c = canaries(2);
    let first = beat(&mut c, 0, 50);
    c.seen((0, EntryNo(4)), &sighting(0, &first), START.floor_to_second(), MS(300), at(310));
    assert_eq!(c.advance(|_, _| true, Duration::ZERO, at(400)).1, None, "key 1 was not seen");
    c.seen((3, EntryNo(9)), &sighting(1, &first), START.floor_to_second(), MS(500), at(510));
    assert_eq!(c.advance(|lane, end| lane != 3 || end <= EntryNo(9), Duration::ZERO, at(600)).1, None, "not durable");
    assert_eq!((c.proved(), c.through()), (None, None));
    let (took, through) = c.advance(|_, _| true, Duration::ZERO, at(900));
    // The second of the record, less the publish allowance.
    assert_eq!(through, Some(START.floor_to_second() - RHYTHM.publish));
    assert_eq!((took, c.proved()), (vec![MS(850)], Some(at(900))));
}

#[test]
fn what_is_proved_is_the_earlier_of_two_clocks_less_the_skew() {
    let proved = |sent_at: SourceTime, recorded: SourceTime, skew: u64| {
        let mut c = canaries(1);
        let beat = Beat { run: "another".into(), seq: 99, sent_at };
        c.seen((0, EntryNo(0)), &sighting(0, &beat), recorded, MS(0), at(0));
        c.advance(|_, _| true, MS(skew), at(10)).1.unwrap() + RHYTHM.publish
    };
    let (hour, second) = (Duration::from_secs(3600), START.floor_to_second());
    assert_eq!(proved(START, START, 0), second);
    assert_eq!(proved(START, START, 2_000), START - MS(2_000));
    assert_eq!(proved(START + hour, START, 0), second, "our clock was an hour ahead when it was sent");
    assert_eq!(proved(START - hour, START, 0), START - hour, "or behind: sound, and mended by the next");
    assert_eq!(proved(SourceTime(i64::MAX), START, 0), second, "somebody else wrote it");
}

#[test]
fn a_canary_of_the_last_run_proves_as_much_and_measures_nothing() {
    let terms = CanaryTerms { keys: 1, every: MS(10_000), replicate: false };
    let before = START - Duration::from_secs(60);
    let mut c = Canaries::new(terms, RHYTHM, "me".into(), Some(before));
    assert_eq!((c.through(), c.proved()), (Some(before), None), "sound, but no sign of life");
    let old = Beat { run: "before the kill".into(), seq: 1, sent_at: START };
    assert_eq!(comes_by(&mut c, &sighting(0, &old), 0, 100), Some(START.floor_to_second() - RHYTHM.publish));
    assert_eq!((c.proved().is_some(), c.signs(at(200))), (true, CanarySigns::default()));
    // Read once more, as everything after a kill: it takes nothing back.
    let older = Beat { sent_at: START - Duration::from_secs(30), ..old };
    assert_eq!(comes_by(&mut c, &sighting(0, &older), 0, 300), None);
    assert_eq!(c.through(), Some(START.floor_to_second() - RHYTHM.publish));
}

#[test]
fn ds12_nothing_is_proved_while_the_stream_stands_still_and_it_is_said() {
    let mut c = canaries(1);
    let first = beat(&mut c, 0, 20);
    let through = comes_by(&mut c, &sighting(0, &first), 10, 200);
    for n in 1..20 {
        beat(&mut c, n * 10_000, n * 10_000 + 20);
        for page in 0..5 {
            c.read(0, MS(n * 10_000 + 100 + page * 2_000), None);
        }
        let (took, more) = c.advance(|_, _| true, Duration::ZERO, at(n * 10_000 + 9_000));
        assert_eq!((took, more), (vec![], None));
    }
    assert_eq!((c.through(), c.proved()), (through, Some(at(220))));
    assert_eq!(c.missing(at(10_020 + 15_000)), None, "P and two reads are waited for");
    assert_eq!(c.missing(at(10_020 + 60_000)), Some(MS(60_000)));
    // It goes on.
    let late = Beat { run: "me".into(), seq: 20, sent_at: START + MS(190_000) };
    c.seen((0, EntryNo(1)), &sighting(0, &late), START + MS(190_000), MS(200_000), at(200_010));
    c.advance(|_, _| true, Duration::ZERO, at(200_020));
    assert_eq!(c.missing(at(300_000)), None);
}

#[test]
fn ds12_a_tip_is_worth_what_was_proved_when_its_empty_pages_began() {
    let worth = |c: &Canaries, ms| Canaries::worth(Some(c), at(ms));
    assert_eq!(Canaries::worth(None, at(5_000)), Worth::Full);
    let mut c = canaries(1);
    let first = beat(&mut c, 0, 20);
    assert_eq!(worth(&c, 100), Worth::Nothing);
    let early = comes_by(&mut c, &sighting(0, &first), 10, 200).unwrap();
    assert_eq!((worth(&c, 219), worth(&c, 220)), (Worth::Nothing, Worth::UpTo(early)));
    // The stream stands still: pages are empty, and worth no more than the last canary.
    assert_eq!(worth(&c, 60_000), Worth::UpTo(early));
    // It goes on, and a canary comes by before everything else does: pages of before are worth what they were.
    let second = beat(&mut c, 60_000, 60_020);
    let late = comes_by(&mut c, &sighting(0, &second), 60_010, 70_000).unwrap();
    assert_eq!((worth(&c, 69_999), worth(&c, 70_020)), (Worth::UpTo(early), Worth::UpTo(late)));
    // One that took longer than P: the shards that it is not in may be behind it by as much once more.
    let third = beat(&mut c, 70_000, 70_020);
    let later = comes_by(&mut c, &sighting(0, &third), 70_010, 80_001).unwrap();
    assert_eq!((worth(&c, 90_010), worth(&c, 90_011)), (Worth::UpTo(late), Worth::UpTo(later)));
    let fourth = beat(&mut c, 81_000, 81_020);
    let latest = comes_by(&mut c, &sighting(0, &fourth), 81_010, 81_100).unwrap();
    assert_eq!(worth(&c, 90_010), Worth::UpTo(late), "a canary that is quick again says nothing about them");
    assert_eq!(worth(&c, 90_011), Worth::UpTo(latest));
    // A run that began before all that is remembered is worth nothing.
    (0..100).for_each(|n| {
        let next = beat(&mut c, 100_000 + n * 10_000, 100_020 + n * 10_000);
        comes_by(&mut c, &sighting(0, &next), 100_010 + n * 10_000, 100_200 + n * 10_000);
    });
    assert_eq!(worth(&c, 70_020), Worth::Nothing);
    assert_eq!(c.steps.len(), MOST_STEPS);
}

#[test]
fn a3_the_time_to_be_visible_is_measured_and_not_our_own_delay() {
    let mut c = canaries(1);
    let first = beat(&mut c, 0, 100);
    c.read(0, MS(200), None);
    c.read(0, MS(450), None);
    comes_by(&mut c, &sighting(0, &first), 50, 700);
    let signs = c.signs(at(1_000));
    assert_eq!((signs.visible_max, signs.empty_run_max), (Some(MS(600)), Some(0)));
    assert_eq!(c.warning(at(1_000)), None);
    // We could not read for half a minute: that says nothing about the stream.
    let second = beat(&mut c, 10_000, 10_100);
    c.read(0, MS(9_000), None);
    comes_by(&mut c, &sighting(0, &second), 10_050, 40_000);
    assert_eq!(c.signs(at(40_100)).visible_max, Some(MS(600)));
    // We read all the time, and it took longer than P.
    let third = beat(&mut c, 40_000, 40_100);
    (0..7).for_each(|n| c.read(0, MS(40_200 + n * 2_000), None));
    comes_by(&mut c, &sighting(0, &third), 40_050, 54_100);
    assert_eq!(c.signs(at(55_000)).visible_max, Some(MS(14_000)));
    assert!(c.warning(at(55_000)).unwrap().contains("visible only after 14.0 s, and propagation is 10.0 s"));
}

#[test]
fn a1_empty_pages_that_p_does_not_explain_are_counted() {
    let mut c = canaries(1);
    let first = beat(&mut c, 0, 100);
    // Within P: no surprise. Beyond: each had to show it. A change in between begins the run anew.
    for start in [200, 5_000, 10_200] {
        c.read(0, MS(start), None);
    }
    c.read(0, MS(10_300), Some(false));
    c.read(0, MS(10_400), None);
    c.read(0, MS(10_900), None);
    comes_by(&mut c, &sighting(0, &first), 50, 11_200);
    assert_eq!(c.signs(at(12_000)).empty_run_max, Some(2));
    let warning = c.warning(at(12_000)).unwrap();
    assert!(warning.contains("2 empty pages") && warning.contains("raise it to 5"), "{warning}");
    // In the lane that it is in, not in another.
    let second = beat(&mut c, 12_000, 12_100);
    (0..9).for_each(|n| c.read(1, MS(23_000 + n), None));
    c.seen((0, EntryNo(1)), &sighting(0, &second), START, MS(24_000), at(24_100));
    assert_eq!(c.signs(at(24_200)).empty_run_max, Some(2));
    c.ended(1, false);
    assert!(!c.reads.contains_key(&1));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut c = canaries(2);
    for n in 0..1_000 {
        beat(&mut c, n * 10_000, n * 10_000 + 20);
        c.read(0, MS(n * 10_000), None);
    }
    assert!(c.unseen.iter().all(|unseen| unseen.len() == MOST_UNSEEN));
    assert!(c.reads[&0].empties.len() <= 22);
    assert_eq!(c.missing(at(10_000_000)), Some(MS(10_000_000 - 20)), "the oldest is kept");
}

/// What a random history does.
#[derive(Debug, Clone)]
enum Step {
    Beat { lost: bool, landed_late: bool },
    Show { most: usize },
    Pass { most: usize },
    Stall(bool),
    Restart,
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>()).prop_map(|(lost, landed_late)| Step::Beat { lost, landed_late }),
        4 => (0_usize..8).prop_map(|most| Step::Show { most }),
        4 => (0_usize..8).prop_map(|most| Step::Pass { most }),
        1 => any::<bool>().prop_map(Step::Stall),
        1 => Just(Step::Restart),
        1 => (-4_000_000_i64..4_000_000).prop_map(Step::Clock),
    ]
}

proptest! {
    /// P3 of the ceiling, whatever happens: when T is said to be proved, of every key a canary that was committed at or after
    /// T has passed. So the publisher was alive then, by the source's own clock.
    #[test]
    fn ds12_what_is_proved_was_alive(keys in 1_u32..4, steps in proptest::collection::vec(step(), 1..80)) {
        let mut c = canaries(keys);
        let mut time = 0_u64;
        let mut offset = 0_i64;
        // Our clock is wrong by steps; the source's is right.
        let wall = |time: u64, offset: i64| Stamp { wall: SourceTime(START.0 + time as i64 + offset), mono: MS(time) };
        // Records of the one lane: key, beat, committed. Shown up to `shown`, passed up to `passed`.
        let mut stream: Vec<(u32, Beat, SourceTime)> = Vec::new();
        let (mut shown, mut passed, mut held) = (0_usize, 0_usize, None::<usize>);
        let mut proved: HashMap<u32, SourceTime> = HashMap::new();
        let mut run = 0;
        let mut durable = None;
        for step in steps {
            time += 3_000;
            match step {
                Step::Beat { lost, landed_late } => {
                    if let Some((beat, open)) = c.next(wall(time, offset)) {
                        time += 100;
                        let mut results = Vec::new();
                        for key in open {
                            let committed = START + MS(time);
                            let last = stream.iter().rev().find(|(k, ..)| *k == key).map(|(_, beat, _)| beat.clone());
                            if (!lost || landed_late) && last.as_ref() != Some(&beat) {
                                stream.push((key, beat.clone(), committed));
                            }
                            results.push((key, if lost { Err(Class::Unknown) } else { Ok(()) }));
                        }
                        c.written(&results, wall(time, offset), 0);
                    }
                }
                Step::Show { most } => {
                    let until = held.unwrap_or(stream.len()).min(shown + most);
                    for (at, (key, beat, committed)) in stream.iter().enumerate().take(until).skip(shown) {
                        let recorded = committed.floor_to_second();
                        c.seen((0, EntryNo(at as u64)), &sighting(*key, beat), recorded, MS(time), wall(time, offset));
                    }
                    shown = shown.max(until);
                    c.read(0, MS(time), (until > shown).then_some(false));
                }
                Step::Pass { most } => {
                    passed = shown.min(passed + most);
                    for (key, _, committed) in &stream[..passed] {
                        let newest = proved.entry(*key).or_insert(*committed);
                        *newest = (*newest).max(*committed);
                    }
                    let before = c.through();
                    let (_, through) = c.advance(|_, end| end.0 <= passed as u64, MS(500), wall(time, offset));
                    if let Some(through) = through {
                        prop_assert!(before < Some(through), "it never goes back");
                        for key in 0..keys {
                            let newest = proved.get(&key);
                            prop_assert!(newest.is_some_and(|newest| *newest >= through), "{:?} {:?}", newest, through);
                        }
                        durable = Some(through);
                    }
                }
                Step::Stall(on) => held = on.then_some(shown),
                Step::Restart => {
                    // What was not passed is read again; the beats under way may still have landed.
                    run += 1;
                    shown = passed;
                    let terms = CanaryTerms { keys, every: MS(10_000), replicate: false };
                    c = Canaries::new(terms, RHYTHM, format!("run {run}").into(), durable);
                }
                Step::Clock(by) => offset = by,
            }
        }
    }
}
