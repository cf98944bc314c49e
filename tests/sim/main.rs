//! Seeded simulation of one replicated store: the real driver and the real window, order and commit logic, on a
//! modelled source, standby and index, in virtual time.
//!
//! One seed is one schedule: writes, shard splits and rolls, invisible and late records, empty pages that are not the tip,
//! throttles, lost answers whose writes land late, frozen regions, failing commits, and kills of the process at any
//! moment. A failing seed is printed; run it alone with `PLIMSOLL_SIM_SEED=n cargo test --test sim`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    reason = "tests read their environment and fail by panicking"
)]

mod channel;
mod compare;
mod observe;
mod schedule;
mod store;
mod world;

use schedule::{Schedule, run};

/// How many schedules a run tries.
const SCHEDULES: u64 = 2_000;

fn seeds() -> Vec<u64> {
    match std::env::var("PLIMSOLL_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("PLIMSOLL_SIM_SEED is a number")],
        Err(_) => {
            let many = std::env::var("PLIMSOLL_SIM_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(SCHEDULES);
            (0..many).collect()
        }
    }
}

/// I1 .. I5, I11: whatever happens, no published watermark is ahead of what is durable, none goes back, and once the
/// faults end the standby is the source and the watermark follows.
#[test]
fn no_schedule_breaks_a_promise() {
    let mut totals = schedule::Totals::default();
    for seed in seeds() {
        match run(seed, &Schedule::default()) {
            Ok(done) => totals.add(&done),
            Err(broken) => {
                panic!("seed {seed}: {broken}\nrun it alone with PLIMSOLL_SIM_SEED={seed} cargo test --test sim")
            }
        }
    }
    println!("{totals:?}");
    if std::env::var_os("PLIMSOLL_SIM_SEED").is_none() {
        assert!(
            totals.copies > 0
                && totals.reseeds > 0
                && totals.kills > 0
                && totals.splits > 0
                && totals.strays > 0
                && totals.late > 0
                && totals.cuts > 0
                && totals.tampered > 0
                && totals.verified > 0,
            "nothing happened: {totals:?}"
        );
    }
}

/// DS-12: with canaries every promise holds while the publisher of the stream stands still now and then, for seconds or for
/// ever, and shows one shard before another when it goes on.
#[test]
fn ds12_canaries_keep_the_promises_when_the_stream_stands_still() {
    let schedule = Schedule { canaries: true, stalls: true, ..Schedule::default() };
    let mut totals = schedule::Totals::default();
    for seed in seeds() {
        match run(seed, &schedule) {
            Ok(done) => totals.add(&done),
            Err(broken) => {
                panic!("seed {seed}: {broken}\nrun it alone with PLIMSOLL_SIM_SEED={seed} cargo test --test sim")
            }
        }
    }
    println!("{totals:?}");
    if std::env::var_os("PLIMSOLL_SIM_SEED").is_none() {
        assert!(totals.stalls > 0 && totals.canaries > 0 && totals.kills > 0, "nothing happened: {totals:?}");
    }
}

/// A simulation is worth something only if a seed always gives the same run.
#[test]
fn a_seed_is_a_schedule() {
    for seed in [1, 7, 42] {
        let (a, b) = (run(seed, &Schedule::default()).unwrap(), run(seed, &Schedule::default()).unwrap());
        assert_eq!(a, b, "seed {seed}");
    }
}

/// The same history ends the same, whatever the pages, the lanes, the batches, the accidents and the kills: what the standby
/// holds, and, to the precision of the last look, the watermark.
#[test]
fn a_history_ends_the_same_however_it_is_told() {
    let plain = Schedule { kills: false, page: 1_000, copy_page: 1_000, segments: 1, ..Schedule::default() };
    let tellings = [
        Schedule { luck: 1, page: 1, copy_page: 1, segments: 7, batch: 1, concurrency: 1, ..plain.clone() },
        Schedule { luck: 2, batch: 25, concurrency: 16, ..plain.clone() },
        Schedule { luck: 3, kills: true, page: 2, copy_page: 2, segments: 4, ..plain.clone() },
        Schedule { luck: 4, kills: true, segments: 2, ..plain.clone() },
    ];
    let mut compared = 0;
    for seed in 0..120 {
        let first = run(seed, &plain).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        // Where the flow is cut, or somebody alters the standby, the moment decides what it holds.
        if first.cuts > 0 || first.tampered > 0 {
            continue;
        }
        for telling in &tellings {
            let other = run(seed, telling).unwrap_or_else(|broken| panic!("seed {seed}, {telling:?}: {broken}"));
            assert_eq!(other.history, first.history, "seed {seed}: the telling changed the history: {telling:?}");
            assert_eq!(other.end, first.end, "seed {seed}: {telling:?}");
            let apart = (other.final_watermark - first.final_watermark).abs();
            assert!(apart <= 6_000, "seed {seed}: the watermarks end {apart} ms apart: {telling:?}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared} tellings");
}

/// The oracle must be able to fail: each mutant of the rules is caught by it.
mod mutants {
    use super::*;

    fn caught(name: &str, schedule: &Schedule) {
        let broken = (0..300).find_map(|seed| run(seed, schedule).err().map(|e| (seed, e)));
        let (seed, error) = broken.unwrap_or_else(|| panic!("{name} was not caught"));
        println!("{name}: seed {seed}: {error}");
    }

    /// M2a, M2b: a child is read while its parent has changes that are not durable, and those do not come again.
    #[test]
    fn m2b_children_that_do_not_wait() {
        caught("M2b", &Schedule { children_do_not_wait: true, ..Schedule::default() });
    }

    /// M2c: a parent ends before its children are registered.
    #[test]
    fn m2c_children_registered_late() {
        caught("M2c", &Schedule { children_registered_late: true, ..Schedule::default() });
    }

    /// M3b: the propagation allowance is smaller than the truth.
    #[test]
    fn m3b_allowance_too_small() {
        caught("M3b", &Schedule { allowance: std::time::Duration::from_secs(1), ..Schedule::default() });
    }

    /// M3a, M3c: one empty answer is taken for the tip where more may come before data.
    #[test]
    fn m3c_one_empty_answer_is_the_tip() {
        caught("M3c", &Schedule { empty_run: 1, ..Schedule::default() });
    }

    /// DS-12: the publisher of the stream stands still, and there are no canaries.
    #[test]
    fn ds12_a_stalled_stream_without_canaries() {
        caught("DS-12", &Schedule { stalls: true, ..Schedule::default() });
    }

    /// AP-3: a newer write does not wait for the stray of an older one.
    #[test]
    fn ap3_no_hold_after_an_unknown_outcome() {
        caught("AP-3", &Schedule { hold: std::time::Duration::ZERO, ..Schedule::default() });
    }

    /// FO-2: the flow is believed closed while strays can still land.
    #[test]
    fn fo2_closed_before_the_strays_have_landed() {
        caught("FO-2", &Schedule { hold: std::time::Duration::from_secs(1), ..Schedule::default() });
    }

    /// M1c: a scan that is not consistent gives an item as it was before its last change, and no record of that follows.
    #[test]
    fn m1c_a_stale_scan() {
        caught("M1c", &Schedule { stale_scan: true, ..Schedule::default() });
    }

    /// M1e: shards are read from where they stand when they are first read, and the scan was before that.
    #[test]
    fn m1e_positions_after_the_scan() {
        caught("M1e", &Schedule { begins_at_the_tip: true, ..Schedule::default() });
    }

    /// M1f: a standby that holds items is not searched for what the source does not have.
    #[test]
    fn m1f_no_sweep() {
        caught("M1f", &Schedule { no_sweep: true, ..Schedule::default() });
    }

    /// A page that differs is taken for a proof.
    #[test]
    fn rp9_no_second_look() {
        caught("no second look", &Schedule { no_second_look: true, ..Schedule::default() });
    }

    /// A difference is looked at again before the changes that explain it have arrived.
    #[test]
    fn rp9_a_look_that_does_not_wait_for_the_watermark() {
        caught("no wait", &Schedule { does_not_wait: true, ..Schedule::default() });
    }

    /// A key that was read from a tail meanwhile is not acquitted.
    #[test]
    fn rp9_what_was_read_meanwhile_is_not_consulted() {
        caught("not consulted", &Schedule { forgets_what_is_read: true, ..Schedule::default() });
    }

    /// RK-1: a commit is believed before it is synced.
    #[test]
    fn rk1_acknowledged_before_durable() {
        caught("RK-1", &Schedule { apply_lies: true, ..Schedule::default() });
    }
}
