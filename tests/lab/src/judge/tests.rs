//! The judge against hand-made histories: what it must see, and what it must not accuse.

use std::time::{Duration, SystemTime};

use super::*;
use crate::canon::{self, Canon, Item};

/// Second `s` of the test's clock.
fn at(s: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + s)
}

fn key(name: &str) -> Key {
    Key::of(&item(name, 0), &["pk"])
}

fn item(name: &str, value: u64) -> Item {
    [("pk".to_owned(), Canon::S(name.into())), ("v".to_owned(), Canon::N(format!("{value}e0")))].into()
}

fn value(name: &str, value: u64) -> State {
    State::Item(canon::digest(&item(name, value)))
}

fn standby(items: &[(&str, u64)]) -> Contents {
    items.iter().map(|(name, value)| (key(name), canon::digest(&item(name, *value)))).collect()
}

/// One key "a": put 1 (acked at 1), put 2 (at 2), delete (at 3), put 4 (at 4).
fn four_changes() -> History {
    let mut history = History::default();
    for (second, state) in [(1, value("a", 1)), (2, value("a", 2)), (3, State::Absent), (4, value("a", 4))] {
        history.push(key("a"), state, at(second - 1), Some(at(second)));
    }
    history
}

fn lost_versions(comparison: &Comparison) -> Vec<u64> {
    comparison.lost.iter().map(|missing| missing.version).collect()
}

#[test]
fn nothing_is_lost_when_the_last_value_is_there() {
    let found = compare(&four_changes(), &standby(&[("a", 4)]), at(10));
    assert_eq!((found.committed, found.unknown), (4, 0));
    assert!(found.lost.is_empty() && found.invented.is_empty());
    assert_eq!(found.actual_loss(at(10)), Duration::ZERO);
}

#[test]
fn an_old_value_means_that_every_later_change_is_lost() {
    let found = compare(&four_changes(), &standby(&[("a", 1)]), at(10));
    assert_eq!(lost_versions(&found), [2, 3, 4]);
    assert_eq!(found.oldest_lost_commit(), Some(at(2)));
    assert_eq!(found.actual_loss(at(10)), Duration::from_secs(8));
}

#[test]
fn a_delete_counts_as_a_change_both_ways() {
    // Absent equals the delete (version 3): only the put after it is lost.
    assert_eq!(lost_versions(&compare(&four_changes(), &standby(&[]), at(10))), [4]);
    // The value before the delete is there: the delete itself is lost.
    let mut history = History::default();
    history.push(key("a"), value("a", 1), at(0), Some(at(1)));
    history.push(key("a"), State::Absent, at(1), Some(at(2)));
    assert_eq!(lost_versions(&compare(&history, &standby(&[("a", 1)]), at(10))), [2]);
}

#[test]
fn an_item_that_never_arrived_is_lost_from_its_first_change() {
    let mut history = History::default();
    history.push(key("a"), value("a", 1), at(0), Some(at(1)));
    history.push(key("a"), value("a", 2), at(1), Some(at(2)));
    assert_eq!(lost_versions(&compare(&history, &standby(&[]), at(10))), [1, 2]);
}

#[test]
fn a_value_that_came_back_counts_as_its_newest_writing() {
    let mut history = History::default();
    for second in 1..=3 {
        history.push(key("a"), value("a", second % 2), at(second - 1), Some(at(second)));
    }
    assert!(compare(&history, &standby(&[("a", 1)]), at(10)).lost.is_empty());
}

#[test]
fn an_unknown_change_may_be_there_or_not() {
    let mut history = History::default();
    history.push(key("a"), value("a", 1), at(0), Some(at(1)));
    history.push(key("a"), value("a", 2), at(2), None);
    for items in [[("a", 1)], [("a", 2)]] {
        let found = compare(&history, &standby(&items), at(10));
        assert_eq!((found.committed, found.unknown), (1, 1));
        assert!(found.lost.is_empty() && found.invented.is_empty());
    }
    // But the change before it must be there.
    assert_eq!(lost_versions(&compare(&history, &standby(&[]), at(10))), [1]);
}

#[test]
fn an_unknown_delete_that_took_effect_hides_nothing_earlier() {
    let mut history = History::default();
    history.push(key("a"), value("a", 1), at(0), Some(at(1)));
    history.push(key("a"), State::Absent, at(2), None);
    assert!(compare(&history, &standby(&[]), at(10)).lost.is_empty());
    assert!(judge_watermark(&history, &standby(&[]), at(5)).is_empty());
}

#[test]
fn what_nobody_wrote_is_invented() {
    let unknown_value = compare(&four_changes(), &standby(&[("a", 3)]), at(10));
    assert_eq!(unknown_value.invented, [key("a")]);
    assert_eq!(lost_versions(&unknown_value), [1, 2, 3, 4], "an invented value stands for no change");
    assert_eq!(compare(&four_changes(), &standby(&[("a", 4), ("b", 1)]), at(10)).invented, [key("b")]);
}

#[test]
fn a_commit_is_never_placed_after_the_kill_nor_before_it_was_sent() {
    let mut history = History::default();
    history.push(key("a"), value("a", 1), at(8), Some(at(12)));
    let found = compare(&history, &standby(&[]), at(10));
    assert_eq!(found.oldest_lost_commit(), Some(at(10)));
    assert_eq!(found.actual_loss(at(10)), Duration::ZERO);
    assert_eq!(compare(&history, &standby(&[]), at(5)).oldest_lost_commit(), Some(at(8)));
}

#[test]
fn lost_changes_come_oldest_first_over_all_keys() {
    let mut history = History::default();
    history.push(key("a"), value("a", 1), at(4), Some(at(5)));
    history.push(key("b"), value("b", 1), at(1), Some(at(2)));
    history.push(key("c"), value("c", 1), at(2), Some(at(3)));
    let found = compare(&history, &standby(&[("c", 1)]), at(10));
    assert_eq!(found.lost.iter().map(|m| m.key.clone()).collect::<Vec<_>>(), [key("b"), key("a")]);
}

#[test]
fn a_true_watermark_is_accepted() {
    for (value, watermark) in [(1, 1), (2, 2), (4, 4), (4, 100)] {
        assert!(judge_watermark(&four_changes(), &standby(&[("a", value)]), at(watermark)).is_empty());
    }
    assert!(judge_watermark(&four_changes(), &standby(&[]), at(0)).is_empty(), "nothing is promised yet");
    assert!(judge_watermark(&four_changes(), &standby(&[]), at(3)).is_empty(), "the delete is durable");
}

#[test]
fn a_lie_is_caught_to_the_second() {
    // The standby is at version 1; a watermark of 2 promises version 2.
    let violations = judge_watermark(&four_changes(), &standby(&[("a", 1)]), at(2));
    assert_eq!(violations.len(), 1);
    let lie = violations.first().unwrap();
    assert_eq!((lie.version, lie.standby_version, lie.committed_by), (2, 1, at(2)));
    assert!(lie.to_string().contains("pk=\"a\" version 2"), "{lie}");
    assert!(judge_watermark(&four_changes(), &standby(&[("a", 1)]), at(2) - Duration::from_millis(1)).is_empty());
}

#[test]
fn an_older_value_after_a_promised_one_is_a_lie_even_if_a_newer_one_was_sent() {
    // Version 5 is on its way (unknown); the watermark promises version 4; the standby went back to 2.
    let mut history = four_changes();
    history.push(key("a"), value("a", 5), at(5), None);
    assert_eq!(judge_watermark(&history, &standby(&[("a", 2)]), at(4)).len(), 1);
    assert!(judge_watermark(&history, &standby(&[("a", 5)]), at(4)).is_empty());
}

#[test]
fn the_two_judgements_agree() {
    // For every state of the standby: a watermark is a lie exactly when it covers the oldest lost change.
    let history = four_changes();
    for contents in [standby(&[]), standby(&[("a", 1)]), standby(&[("a", 2)]), standby(&[("a", 4)])] {
        let oldest = compare(&history, &contents, at(10)).oldest_lost_commit();
        for second in 0..10 {
            let lie = !judge_watermark(&history, &contents, at(second)).is_empty();
            assert_eq!(lie, oldest.is_some_and(|oldest| oldest <= at(second)), "{contents:?} at {second}");
        }
    }
}
