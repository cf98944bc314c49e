//! Single situations: a seed, a stop, the guard, blindness, what is refused, the fence.

use std::time::Duration;

use tokio::sync::oneshot;

use super::super::commands::Command;
use super::super::testing::{Weather, key, tempo};
use super::{Lab, Outside, S};
use crate::change::SourceTime;
use crate::replicate::Valve;
use crate::stores::Store as _;
use crate::stores::converge::Said;
use crate::watermark::keys::Prefix;
use crate::watermark::{Fence, Index as _, MarkRecord, Record as _, Seed, Txn};

fn seed_keys(lab: &Lab, many: usize) {
    for number in 0..many {
        let letter = ['a', 'h', 'r'][number % 3];
        lab.fake.change_untold(&key(&format!("{letter}{number}")), true);
    }
}

async fn ask(
    outside: &Outside,
    command: impl FnOnce(oneshot::Sender<Result<String, String>>) -> Command,
) -> Result<String, String> {
    let (answer, answered) = oneshot::channel();
    assert!(outside.commands.send(command(answer)).await.is_ok());
    answered.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn s3_12_a_seed_then_events_then_idle() {
    let mut lab = Lab::new(1, tempo());
    seed_keys(&lab, 40);
    lab.run(async |lab, _| {
        lab.until("seeded", S(60), Lab::seeded).await;
        assert!(lab.same());
        let began = lab.course().walk.unwrap().began;
        assert_eq!(lab.through(), Some(began), "nothing but the walk before the path is proved");
        assert!(matches!(lab.record().seed, Seed::Done { .. }));
        lab.pass(S(40)).await;
        // The path is proved by time, and drains carry it on.
        lab.pass(S(60)).await;
        let idle = lab.clock.now().wall.since(lab.through().unwrap());
        assert!(idle < S(75), "{idle:?}: D and a drain");
        lab.fake.change(&key("a0"), true);
        lab.fake.change(&key("zz"), true);
        lab.fake.change(&key("h1"), false);
        let at = lab.clock.now().wall;
        lab.until("same", S(10), |lab| lab.same() && lab.fake.calm()).await;
        lab.until("proved", S(80), |lab| lab.through().unwrap() >= at).await;
        assert_eq!(lab.rows(&Prefix::dirty(lab.fake.id())), 0);
        assert_eq!(lab.rows(&Prefix::due(lab.fake.id())), 0);
        assert_eq!(lab.vitals().backlog_items, 0);
    })
    .await;
    assert_eq!(lab.violations(), 0);
    assert_eq!(lab.course().untold, 0);
}

#[tokio::test(start_paused = true)]
async fn s3_11_removals_above_the_guard_wait_for_a_word() {
    let mut lab = Lab::new(2, tempo());
    seed_keys(&lab, 5);
    (0..12).for_each(|number| lab.fake.litter(&key(&format!("q{number}"))));
    lab.run(async |lab, outside| {
        lab.until("listed", S(60), |lab| lab.course().walk.is_some_and(|walk| walk.listed_at.is_some())).await;
        lab.pass(S(10)).await;
        assert_eq!((lab.through(), lab.fake.world().removed), (None, 0), "nothing is certified, nothing removed");
        let vitals = lab.vitals();
        assert!(vitals.trouble.is_some_and(|t| t.contains("--allow-deletes 12")));
        assert_eq!(vitals.divergent, 12);
        assert_eq!(lab.rows(&Prefix::due(lab.fake.id())), 0, "a removal that waits pins nothing");
        let few = ask(outside, |answer| Command::Verify { allowed: 11, answer }).await;
        assert!(few.is_ok(), "{few:?}");
        lab.pass(S(10)).await;
        assert_eq!(lab.fake.world().removed, 0);
        let all = ask(outside, |answer| Command::Verify { allowed: 12, answer }).await;
        assert!(all.is_ok(), "{all:?}");
        lab.until("certified", S(20), Lab::seeded).await;
        assert_eq!(lab.fake.world().removed, 12);
        assert!(lab.same());
        assert_eq!(lab.vitals().trouble, None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn removals_below_the_guard_need_no_word_and_survive_a_restart() {
    let mut lab = Lab::new(3, tempo());
    seed_keys(&lab, 5);
    (0..4).for_each(|number| lab.fake.litter(&key(&format!("b{number}"))));
    lab.run(async |lab, _| lab.until("found", S(20), |lab| lab.rows(&Prefix::dirty(lab.fake.id())) > 0).await).await;
    lab.crash(3);
    lab.run(async |lab, _| lab.until("certified", S(60), Lab::seeded).await).await;
    assert!(lab.same());
    assert_eq!(lab.rows(&Prefix::dirty(lab.fake.id())), 0);
}

#[tokio::test(start_paused = true)]
async fn s3_20_a_strange_message_blinds_until_a_later_walk() {
    let mut lab = Lab::new(4, tempo());
    seed_keys(&lab, 5);
    lab.run(async |lab, _| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.pass(S(150)).await;
        let sent = lab.clock.now().wall;
        lab.fake.send(Said::Strange("what is this".into()));
        lab.until("parked", S(10), |lab| lab.rows(&Prefix::parked(lab.fake.id())) == 1).await;
        lab.until("released", S(10), |lab| lab.fake.calm()).await;
        assert_eq!(lab.vitals().failed_items, 1);
        lab.pass(S(300)).await;
        assert!(lab.through().unwrap() < sent, "nothing is proved behind it");
        lab.until("healed", S(600), |lab| lab.through().unwrap() > sent).await;
        lab.pass(S(1)).await;
        assert_eq!(lab.course().blind, None);
        assert_eq!(lab.rows(&Prefix::parked(lab.fake.id())), 0);
        assert_eq!(lab.vitals().failed_items, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn s3_17_a_queue_that_is_another_blinds_until_a_later_walk() {
    let mut lab = Lab::new(5, crate::stores::converge::Tempo { concurrency: 1, ..tempo() });
    seed_keys(&lab, 5);
    lab.run(async |lab, _| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.pass(S(150)).await;
        lab.fake.world().channel = "queue-2".into();
        lab.until("blind", S(70), |lab| lab.course().blind.is_some()).await;
        let blind = lab.course().blind.unwrap();
        assert_eq!(lab.course().path_proved, None, "the path is another");
        lab.pass(S(200)).await;
        assert!(lab.through().unwrap() < blind.since);
        lab.until("healed", S(900), |lab| lab.course().blind.is_none()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn s3_7_what_is_refused_pins_and_what_is_excluded_does_not() {
    let mut lab = Lab::new(6, tempo());
    seed_keys(&lab, 5);
    lab.fake.world().refused = [(b'x', ("archived", false)), (b'y', ("sse-c", true))].into();
    lab.run(async |lab, outside| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.pass(S(150)).await;
        lab.fake.change(&key("y1"), true);
        lab.until("excluded", S(10), |lab| lab.course().excluded.contains_key("sse-c") && lab.fake.calm()).await;
        let at = lab.clock.now().wall;
        lab.fake.change(&key("x1"), true);
        lab.until("refused", S(10), |lab| lab.course().refused.contains_key("archived") && lab.fake.calm()).await;
        lab.pass(S(200)).await;
        assert!(lab.through().unwrap() < at && lab.through().unwrap() > at - S(70), "pinned at its change");
        let vitals = lab.vitals();
        assert_eq!((vitals.failed_items, vitals.backlog_items), (1, 0));
        assert!(vitals.trouble.is_some_and(|t| t.contains("archived: 1 keys, 7 bytes") && t.contains("sse-c: 1 keys")));
        // Somebody does something about it, and asks for a walk.
        lab.fake.world().refused.clear();
        assert!(ask(outside, |answer| Command::Verify { allowed: 0, answer }).await.is_ok());
        // What was excluded is missing until then, as everybody knows: the truth is not looked at.
        while !(lab.same() && lab.through().unwrap() > at) {
            lab.clock.sleep(S(1)).await;
        }
        lab.pass(S(2)).await;
        assert!(lab.course().refused.is_empty() && lab.course().excluded.is_empty());
        assert_eq!(lab.rows(&Prefix::dirty(lab.fake.id())) + lab.rows(&Prefix::due(lab.fake.id())), 0);
    })
    .await;
    assert_eq!(lab.violations(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_pins_over_a_restart() {
    let mut lab = Lab::new(7, tempo());
    seed_keys(&lab, 3);
    lab.run(async |lab, _| lab.until("seeded", S(60), Lab::seeded).await).await;
    lab.fake.world().refused = [(b'x', ("archived", false))].into();
    let at = lab.clock.now().wall;
    lab.fake.change(&key("x1"), true);
    lab.run(async |lab, _| {
        lab.until("refused", S(90), |lab| !lab.course().refused.is_empty() && lab.fake.calm()).await
    })
    .await;
    lab.crash(1);
    lab.run(async |lab, _| {
        lab.pass(S(300)).await;
        assert!(lab.through().unwrap() < at);
        // An event about it is enough.
        lab.fake.world().refused.clear();
        lab.fake.change(&key("x1"), false);
        lab.until("mended", S(120), |lab| lab.course().refused.is_empty() && lab.through().unwrap() > at).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn fo_2_behind_the_fence_events_are_kept_and_nothing_is_applied() {
    let mut lab = Lab::new(8, tempo());
    seed_keys(&lab, 5);
    lab.run(async |lab, outside| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.fake.world().weather = Weather { slow: S(1), ..Weather::default() };
        lab.fake.change(&key("a0"), true);
        lab.pass(S(4)).await;
        outside.valve.send_replace(Valve::Closed);
        let mut view = outside.view.clone();
        view.wait_for(|view| view.closed).await.unwrap();
        let before = (lab.fake.world().converged, lab.through());
        // Before the fence it may be opened again.
        lab.fake.change(&key("a1"), true);
        lab.pass(S(20)).await;
        assert_eq!(lab.fake.world().converged, before.0);
        outside.valve.send_replace(Valve::Open);
        lab.until("same", S(60), |lab| lab.same() && lab.fake.calm()).await;
        outside.valve.send_replace(Valve::Closed);
        view.wait_for(|view| !view.closed).await.unwrap();
        view.wait_for(|view| view.closed).await.unwrap();
        let fence = Fence { promotion: "p1".into(), at: lab.clock.now().wall, direction_epoch: 2 };
        lab.index.commit(Txn { fence: Some(fence), ..Txn::default() }).await.unwrap();
        let (converged, record) = (lab.fake.world().converged, lab.record());
        (0..9).for_each(|number| lab.fake.change(&key(&format!("late{number}")), true));
        lab.fake.change(&key("a2"), false);
        lab.until("kept and released", S(60), |lab| lab.fake.calm()).await;
        assert_eq!(lab.fake.world().converged, converged);
        assert_eq!(lab.record().through, record.through);
        let rows = lab.index.scan(&Prefix::dirty(lab.fake.id())).unwrap();
        assert_eq!(rows.len(), 10);
        assert!(rows.iter().all(|(row, bytes)| MarkRecord::decode(row, bytes).unwrap().late));
        lab.pass(S(2)).await;
        assert_eq!(lab.vitals().late, Some(10));
    })
    .await;
    lab.crash(1);
    lab.run(async |lab, _| {
        lab.fake.change(&key("late100"), true);
        lab.until("kept by the next process", S(90), |lab| lab.fake.calm()).await;
        assert_eq!(lab.rows(&Prefix::dirty(lab.fake.id())), 11);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_on_one_key_does_not_hold_the_watermark_at_its_first() {
    let mut lab = Lab::new(9, tempo());
    seed_keys(&lab, 3);
    lab.run(async |lab, _| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.pass(S(60)).await;
        lab.fake.world().weather = Weather { slow: Duration::from_millis(300), ..Weather::default() };
        for _ in 0..1200 {
            lab.fake.change(&key("a0"), true);
            lab.sound();
            lab.clock.sleep(Duration::from_millis(250)).await;
        }
        let behind = lab.clock.now().wall.since(lab.through().unwrap());
        assert!(behind < S(130), "{behind:?}: a visibility and D, although the queue never ran dry");
        lab.until("same", S(60), |lab| lab.same() && lab.fake.calm()).await;
    })
    .await;
    assert_eq!(lab.violations(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_later_than_the_allowance_takes_the_watermark_back() {
    let mut lab = Lab::new(10, tempo());
    seed_keys(&lab, 3);
    lab.run(async |lab, _| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.pass(S(120)).await;
        let at = lab.clock.now().wall;
        lab.fake.world().weather = Weather { late: 100, late_by: S(1800), ..Weather::default() };
        lab.fake.change(&key("a0"), true);
        lab.fake.world().weather = Weather::default();
        // The truth cannot be known meanwhile, so it is not looked at.
        while !lab.fake.calm() {
            lab.clock.sleep(S(1)).await;
        }
        lab.clock.sleep(S(5)).await;
        assert!(lab.same());
        let late = lab.clock.now().wall.since(at);
        assert_eq!(lab.violations(), u64::from(late > S(130)), "{late:?}");
        lab.pass(S(60)).await;
        // The same event once more is no violation: nothing was missing.
        let before = lab.violations();
        lab.fake.send(Said::Events(vec![crate::stores::converge::Event {
            key: key("a0"),
            at,
            order: None,
            failed: false,
            canary: false,
        }]));
        lab.pass(S(30)).await;
        assert_eq!(lab.violations(), before);
        assert!(lab.vitals().delivery > Some(S(60)), "the allowance has grown");
    })
    .await;
}

/// The queue is empty, and prodX cannot be asked: an empty queue says nothing of what a dead region has left to tell.
#[tokio::test(start_paused = true)]
async fn s3_f3_a_prod_x_that_is_silent_stops_the_watermark() {
    let mut lab = Lab::new(14, tempo());
    seed_keys(&lab, 3);
    lab.run(async |lab, _| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.pass(S(300)).await;
        let silent = lab.clock.now().wall;
        (lab.fake.world().source_down, lab.fake.world().survey_down) = (true, true);
        // Committed, and never told.
        lab.fake.change_untold(&key("a0"), true);
        for _ in 0..100 {
            lab.pass(S(10)).await;
            assert!(lab.through() < Some(silent), "it passed what it cannot know");
        }
        (lab.fake.world().source_down, lab.fake.world().survey_down) = (false, false);
        lab.until("a walk has made up for it", S(1000), |lab| lab.through() > Some(silent)).await;
        assert!(lab.same());
        assert_eq!(lab.violations(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_the_walk_finds_what_no_event_told() {
    let mut lab = Lab::new(11, tempo());
    seed_keys(&lab, 6);
    lab.run(async |lab, outside| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.pass(S(120)).await;
        let at = lab.clock.now().wall;
        lab.fake.change_untold(&key("a0"), true);
        lab.fake.change_untold(&key("h1"), false);
        // The truth is not known to anybody until then.
        while lab.through().unwrap() < at {
            lab.clock.sleep(S(1)).await;
        }
        assert!(ask(outside, |answer| Command::Verify { allowed: 0, answer }).await.is_ok());
        while !lab.same() {
            lab.clock.sleep(S(1)).await;
        }
        lab.clock.sleep(S(70)).await;
        assert_eq!(lab.course().untold, 2);
        assert_eq!(lab.violations(), 1, "of the object; when the other was removed nobody knows");
        lab.pass(S(30)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reseed_begins_anew_and_ends_proved() {
    let mut lab = Lab::new(12, tempo());
    seed_keys(&lab, 6);
    lab.run(async |lab, outside| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.pass(S(30)).await;
        let words = ask(outside, |answer| Command::Reseed { allowed: 0, answer }).await;
        assert!(words.is_ok(), "{words:?}");
        assert_eq!((lab.through(), lab.record().epoch), (None, 1));
        assert_eq!(lab.rows(&Prefix::known(lab.fake.id())), 0);
        lab.until("proved anew", S(60), Lab::seeded).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_back_what_is_held_and_the_next_process_need_not_wait() {
    let mut lab = Lab::new(13, tempo());
    seed_keys(&lab, 3);
    lab.run(async |lab, _| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.pass(S(120)).await;
    })
    .await;
    lab.crash(0);
    lab.fake.world().source_down = true;
    lab.fake.change(&key("a0"), true);
    let (driver, outside) = lab.process();
    let clock = lab.clock.clone();
    let view = outside.view.clone();
    let stop = async {
        clock.sleep(S(45)).await;
        outside.stop.cancel();
        clock.sleep(S(60)).await;
    };
    tokio::select! {
        biased;
        ended = driver.run() => assert_eq!(ended, Ok(())),
        () = stop => panic!("it does not stop"),
    }
    assert!(view.borrow().quiet);
    lab.clean = true;
    lab.fake.world().source_down = false;
    let began = lab.clock.now();
    lab.run(async |lab, _| {
        lab.until("same", S(5), |lab| lab.same() && lab.fake.calm()).await;
        lab.until("drained", S(45), |lab| lab.course().drained.is_some_and(|at| at > began.wall - S(1))).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_source_begins_a_new_epoch() {
    let mut lab = Lab::new(14, tempo());
    seed_keys(&lab, 3);
    lab.run(async |lab, _| {
        lab.until("seeded", S(60), Lab::seeded).await;
        lab.fake.world().incarnation = "bucket-2".into();
        lab.until("anew", S(70), |lab| lab.record().epoch == 1).await;
        lab.until("proved anew", S(60), |lab| lab.record().incarnation.as_deref() == Some("bucket-2") && lab.seeded())
            .await;
    })
    .await;
    assert_ne!(lab.through(), Some(SourceTime(0)));
}
