//! The order per key: by example, and against a standby in which strays land as late as they may.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::change::{Position, SourceTime};

const LIFE: Duration = Duration::from_secs(10);

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn backoff(n: u32) -> Duration {
    Duration::from_millis(100 * u64::from(n))
}

fn change(key: &str, value: u64) -> Change {
    Change {
        key: Key(Bytes::copy_from_slice(key.as_bytes())),
        position: Position(value.to_string().into()),
        at: SourceTime(0),
        body: Arc::new(value),
        size: 1,
    }
}

fn value(change: &Change) -> u64 {
    *change.body.downcast_ref::<u64>().unwrap()
}

fn ticket(entry: u64) -> Ticket {
    Ticket { lane: 0, entry: EntryNo(entry) }
}

fn taken(order: &mut Order, now: Duration) -> Vec<u64> {
    order.wake(now);
    order.take(25, now).iter().map(value).collect()
}

fn key(k: &str) -> Key {
    change(k, 0).key
}

#[test]
fn ap2_one_write_of_a_key_at_a_time_and_the_newest_of_those_that_wait() {
    let mut o = Order::new(LIFE);
    for n in 0..5 {
        o.push(ticket(n), change("a", n));
    }
    o.push(ticket(9), change("b", 9));
    assert_eq!(taken(&mut o, secs(0)), [0, 9]);
    assert!(taken(&mut o, secs(0)).is_empty());
    let done = o.resolve(&key("a"), Outcome::Done, secs(1), &backoff);
    assert_eq!(done.settled, [ticket(0)]);
    assert_eq!(taken(&mut o, secs(1)), [4], "1, 2 and 3 are never sent");
    let done = o.resolve(&key("a"), Outcome::Done, secs(1), &backoff);
    assert_eq!((done.settled.len(), done.coalesced), (4, 3));
    assert!(o.retry_parked(change("a", 5)), "the key is free again");
}

#[test]
fn ap3_an_unknown_outcome_repeats_itself_and_then_holds_the_newer_write() {
    let mut o = Order::new(LIFE);
    o.push(ticket(0), change("a", 0));
    assert_eq!(taken(&mut o, secs(0)), [0]);
    o.push(ticket(1), change("a", 1));
    o.resolve(&key("a"), Outcome::Retry(Class::Unknown), secs(5), &backoff);
    assert_eq!(taken(&mut o, secs(6)), [0], "the same write again");
    let done = o.resolve(&key("a"), Outcome::Done, secs(6), &backoff);
    assert_eq!(done.settled, [ticket(0)], "it is durable");
    assert!(taken(&mut o, secs(14)).is_empty(), "the stray may still land");
    assert_eq!(o.strays_until(secs(14)), Some(secs(15)));
    assert_eq!(taken(&mut o, secs(15)), [1]);
}

#[test]
fn ap3_a_change_that_arrives_during_the_hold_waits_too() {
    let mut o = Order::new(LIFE);
    o.push(ticket(0), change("a", 0));
    taken(&mut o, secs(0));
    o.resolve(&key("a"), Outcome::Retry(Class::Unknown), secs(1), &backoff);
    taken(&mut o, secs(2));
    o.resolve(&key("a"), Outcome::Done, secs(2), &backoff);
    o.push(ticket(1), change("a", 1));
    assert!(taken(&mut o, secs(10)).is_empty());
    assert_eq!(taken(&mut o, secs(11)), [1]);
}

#[test]
fn a_throttled_write_gives_way_to_a_newer_image() {
    let mut o = Order::new(LIFE);
    o.push(ticket(0), change("a", 0));
    taken(&mut o, secs(0));
    o.push(ticket(1), change("a", 1));
    o.resolve(&key("a"), Outcome::Retry(Class::Throttled), secs(1), &backoff);
    assert!(taken(&mut o, secs(1)).is_empty(), "it backs off");
    assert_eq!(taken(&mut o, secs(2)), [1]);
    assert_eq!(o.resolve(&key("a"), Outcome::Done, secs(2), &backoff).settled, [ticket(0), ticket(1)]);
}

#[test]
fn ap6_a_refused_change_is_parked_unless_a_newer_one_waits() {
    let mut o = Order::new(LIFE);
    o.push(ticket(0), change("a", 0));
    taken(&mut o, secs(0));
    let refused = || Outcome::Parked(Reason("no".into()));
    o.push(ticket(1), change("a", 1));
    assert!(o.resolve(&key("a"), refused(), secs(0), &backoff).parked.is_none());
    assert_eq!(taken(&mut o, secs(0)), [1]);
    let (parked, _, tickets) = o.resolve(&key("a"), refused(), secs(0), &backoff).parked.unwrap();
    assert_eq!((value(&parked), tickets), (1, vec![ticket(0), ticket(1)]));
    assert!(o.retry_parked(parked.clone()));
    assert!(!o.retry_parked(parked), "one at a time");
    o.push(ticket(2), change("a", 2));
    assert_eq!(taken(&mut o, secs(0)), [1]);
    assert!(o.resolve(&key("a"), Outcome::Done, secs(0), &backoff).settled.is_empty());
    assert_eq!(taken(&mut o, secs(0)), [2]);
}

#[test]
fn an_answer_for_nothing_in_flight_changes_nothing() {
    let mut o = Order::new(LIFE);
    o.push(ticket(0), change("a", 0));
    assert!(o.resolve(&key("a"), Outcome::Done, secs(0), &backoff).settled.is_empty());
    assert_eq!(taken(&mut o, secs(0)), [0]);
}

/// What happens to one attempt.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Done,
    Throttled,
    /// No answer; the write lands after so many tenths of its longest life, or never.
    Lost(Option<u64>),
    /// No answer to a write that had taken effect at once.
    Deaf,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Done),
        2 => Just(Fate::Throttled),
        2 => proptest::option::of(0u64..10).prop_map(Fate::Lost),
        1 => Just(Fate::Deaf),
    ]
}

proptest! {
    /// AP-3: whatever is lost, late or repeated, the newest value of every key wins, and a change is settled only when it
    /// or a newer one of its key is in the standby and stays there.
    #[test]
    fn ap3_the_newest_wins(
        pushes in proptest::collection::vec((0u64..4, 0u64..3), 1..40),
        mut fates in proptest::collection::vec(fate(), 0..60),
    ) {
        let mut order = Order::new(LIFE);
        let mut standby: BTreeMap<Bytes, u64> = BTreeMap::new();
        let mut strays: Vec<(Duration, Bytes, u64)> = Vec::new();
        let mut owner: BTreeMap<u64, (Bytes, u64)> = BTreeMap::new();
        let mut newest: BTreeMap<Bytes, u64> = BTreeMap::new();
        let (mut now, mut next) = (Duration::ZERO, pushes.iter().enumerate());
        let mut settled = 0;
        for _ in 0..10_000 {
            // Time goes on; strays land when they are due.
            now += Duration::from_millis(250);
            strays.sort();
            while strays.first().is_some_and(|(at, ..)| *at <= now) {
                let (_, key, value) = strays.remove(0);
                standby.insert(key, value);
            }
            if let Some((n, (pace, k))) = next.next() {
                let (n, key) = (n as u64, format!("k{k}"));
                order.push(ticket(n), change(&key, n));
                owner.insert(n, (change(&key, n).key.0, n));
                newest.insert(change(&key, n).key.0, n);
                now += Duration::from_millis(100 * pace);
            }
            order.wake(now);
            for sent in order.take(3, now) {
                let (key, value) = (sent.key.clone(), value(&sent));
                let outcome = match fates.pop().unwrap_or(Fate::Done) {
                    Fate::Done => { standby.insert(key.0.clone(), value); Outcome::Done }
                    Fate::Throttled => Outcome::Retry(Class::Throttled),
                    Fate::Lost(late) => {
                        if let Some(tenths) = late {
                            strays.push((now + LIFE / 10 * tenths as u32, key.0.clone(), value));
                        }
                        Outcome::Retry(Class::Unknown)
                    }
                    Fate::Deaf => { standby.insert(key.0.clone(), value); Outcome::Retry(Class::Unknown) }
                };
                for t in order.resolve(&key, outcome, now, &backoff).settled {
                    settled += 1;
                    let (key, value) = &owner[&t.entry.0];
                    prop_assert!(standby.get(key).is_some_and(|have| have >= value), "settled {value} of {key:?}, standby {standby:?}");
                }
            }
            if settled == pushes.len() && strays.is_empty() { break }
        }
        prop_assert_eq!(settled, pushes.len());
        prop_assert_eq!(standby, newest);
    }
}
