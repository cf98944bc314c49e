//! SG-1, house rule 10: a promotion that dies anywhere comes to the same end, and no act takes effect twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::*;
use super::world::*;
use crate::watermark::Index as _;

/// Starts, restarts after every death until it is over, and judges the end.
async fn to_the_end(lab: &Arc<Lab>, first: Option<(usize, Trip)>, what: &str) -> Report {
    let mut process = lab.process(first);
    let mut asked = false;
    for _ in 0..20 {
        if !asked {
            match process.start().await {
                Some(Ok(_)) => asked = true,
                Some(Err(StartError::Journal(_))) => continue,
                Some(Err(other)) => panic!("{what}: {other}"),
                None => {}
            }
        }
        match process.settle().await {
            Some(report) if report.stage.over() => {
                assert!(!process.flow.violated.load(Ordering::SeqCst), "{what}: opened behind the fence");
                return report;
            }
            Some(report) => {
                // The journal could not be written, or it is held: a human resumes it.
                assert_eq!(process.promotions.phase(), Phased::Held, "{what}");
                process.promotions.resume(&report.promotion, &approver(), Answers::default()).await.unwrap();
            }
            None if lab.dead() => {
                process = lab.process(None);
                process.promotions.resume_all().await;
                asked = !process.promotions.list().is_empty();
            }
            None => panic!("{what}: nothing is known of it"),
        }
    }
    panic!("{what}: no end");
}

fn judge(lab: &Lab, report: &Report, what: &str) {
    assert_eq!(report.stage, Stage::Completed, "{what}: {}", report.text());
    for step in STEPS {
        assert_eq!(lab.sent(step), 1, "{what}: {step} took effect {} times\n{}", lab.sent(step), report.text());
    }
    let fence = lab.index().snapshot().fence.clone().expect("fenced");
    assert_eq!((fence.promotion.as_str(), fence.direction_epoch), (report.promotion.as_str(), 1), "{what}");
    assert_eq!(report.frozen.as_ref().unwrap().stores.len(), 2, "{what}");
}

/// The number of commits of a promotion that meets no trouble.
async fn commits() -> usize {
    let lab = Lab::new().await;
    let process = lab.process(None);
    process.start().await.unwrap().unwrap();
    let report = process.settle().await.unwrap();
    judge(&lab, &report, "clean");
    assert!(!process.flow.open.load(Ordering::SeqCst));
    assert_eq!(process.promotions.phase(), Phased::Promoted);
    process.dying.commits.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn sg1_dies_before_and_after_every_record_and_comes_to_the_same_end() {
    let commits = commits().await;
    assert!(commits > 15, "{commits} commits");
    for at in 0..commits {
        for trip in [Trip::DiesBefore, Trip::DiesAfter] {
            let what = format!("{trip:?} commit {at}");
            let lab = Lab::new().await;
            let report = to_the_end(&lab, Some((at, trip)), &what).await;
            judge(&lab, &report, &what);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sg1_dies_twice() {
    let commits = commits().await;
    for at in (1..commits).step_by(3) {
        let lab = Lab::new().await;
        let first = lab.process(Some((at, Trip::DiesAfter)));
        first.start().await;
        assert!(first.settle().await.is_none());
        for again in 0..6 {
            let second = lab.process(Some((again, Trip::DiesBefore)));
            tokio::select! {
                biased;
                _ = second.promotions.resume_all() => {}
                () = async { while !lab.dead() { tokio::time::sleep(std::time::Duration::from_millis(10)).await } } => {}
            }
            if second.settle().await.is_some() {
                break;
            }
        }
        let last = lab.process(None);
        last.promotions.resume_all().await;
        let report = last.settle().await.unwrap();
        judge(&lab, &report, &format!("died at {at} and six times more"));
    }
}

#[tokio::test(start_paused = true)]
async fn rule9_a_journal_that_cannot_be_written_stops_it_and_a_resume_ends_it() {
    let commits = commits().await;
    for at in 0..commits {
        for trip in [Trip::Fails, Trip::FailsDurable] {
            let what = format!("{trip:?} commit {at}");
            let lab = Lab::new().await;
            let report = to_the_end(&lab, Some((at, trip)), &what).await;
            judge(&lab, &report, &what);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule9_nothing_acts_while_the_journal_cannot_be_written() {
    let lab = Lab::new().await;
    let process = lab.process(None);
    lab.trouble("tell", Trouble::Slow);
    process.start().await.unwrap().unwrap();
    lab.index().set_trouble(Some("disk full"));
    let report = process.settle().await.unwrap();
    assert!(report.trouble.as_ref().unwrap().contains("disk full"), "{:?}", report.trouble);
    assert_eq!(lab.effects.lock().unwrap().keys().filter(|k| *k != "tell").count(), 0);
    assert!(process.flow.open.load(Ordering::SeqCst), "replication goes on meanwhile");
    let again = process.promotions.resume(&report.promotion, &approver(), Answers::default()).await;
    assert_eq!(again.unwrap_err().status(), 503);
    lab.index().set_trouble(None);
    process.promotions.resume(&report.promotion, &approver(), Answers::default()).await.unwrap();
    judge(&lab, &process.settle().await.unwrap(), "healed");
}

#[tokio::test(start_paused = true)]
async fn fo2_the_flow_stays_closed_while_nobody_knows_whether_the_fence_is_durable() {
    // Find the commit of the fence: the one after which the index has one.
    for at in 0..commits().await {
        let lab = Lab::new().await;
        let process = lab.process(Some((at, Trip::Fails)));
        if !matches!(process.start().await, Some(Ok(_))) {
            continue;
        }
        let report = process.settle().await.unwrap();
        let intents = process.promotions.events(&report.promotion, None).unwrap().past;
        let about_to_fence = matches!(
            intents.last().map(|e| &e.record.entry),
            Some(Entry::Intent { step, .. }) if *step == StepId::from(plan::FENCE)
        );
        if about_to_fence {
            assert!(!process.flow.open.load(Ordering::SeqCst));
            return;
        }
    }
    panic!("the fence was never in doubt");
}

#[tokio::test(start_paused = true)]
async fn resumes_from_every_prefix_of_a_journal_in_the_final_world() {
    let lab = Lab::new().await;
    let process = lab.process(None);
    process.start().await.unwrap().unwrap();
    let done = process.settle().await.unwrap();
    let events = process.promotions.events(&done.promotion, None).unwrap().past;
    for cut in 1..events.len() {
        let copy = Lab::new().await;
        *copy.effects.lock().unwrap() = lab.effects.lock().unwrap().clone();
        let authority = IndexAuthority(Arc::new(copy.index()));
        let used = KeyRecord { promotion: done.promotion.clone(), request_hash: request().hash() };
        for event in events.iter().take(cut) {
            let record = &event.record;
            match &record.entry {
                Entry::Requested { .. } => {
                    let first = std::slice::from_ref(record);
                    authority.begin(&done.promotion, "key", &used, first).await.unwrap();
                }
                Entry::Fenced { report } => {
                    let fence = crate::watermark::Fence {
                        promotion: done.promotion.clone(),
                        at: report.at.0,
                        direction_epoch: report.direction_epoch,
                    };
                    authority.fence(&done.promotion, event.seq, record, &fence).await.unwrap();
                }
                _ => authority.append(&done.promotion, event.seq, record).await.unwrap(),
            }
        }
        let process = copy.process(None);
        let taken = process.promotions.resume_all().await;
        assert_eq!(taken.as_slice(), std::slice::from_ref(&done.promotion), "cut {cut}");
        let report = process.settle().await.unwrap();
        judge(&copy, &report, &format!("cut after {cut}"));
        assert!(report.log.iter().any(|l| l.text.contains("new process")));
    }
}

/// The connection of a caller breaks while the first record is on its way: the listener drops the call, nothing else.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_half_way_is_still_the_only_one() {
    let lab = Lab::new().await;
    let process = lab.process(Some((0, Trip::Mute)));
    let dropped = tokio::time::timeout(Duration::from_secs(1), process.start()).await;
    assert!(dropped.is_err(), "no answer came");
    let who = approver();
    let other = process.promotions.start(&who, request(), Some("other")).await;
    assert!(matches!(other, Err(StartError::Running { .. })), "{other:?}");
    assert!(process.start().await.unwrap().unwrap().repeated, "the same key goes on with it");
    judge(&lab, &process.settle().await.unwrap(), "dropped");
}

/// A remark is written in the handler of its request, too: it must not stop the promotion that it is about.
#[tokio::test(start_paused = true)]
async fn a_remark_that_is_dropped_half_way_does_not_part_memory_and_disk() {
    let lab = Lab::new().await;
    let process = lab.process(Some((commits().await, Trip::Mute)));
    let id = process.start().await.unwrap().unwrap().promotion;
    judge(&lab, &process.settle().await.unwrap(), "before the remark");
    let who = approver();
    let dropped = tokio::time::timeout(Duration::from_secs(1), process.promotions.note(&id, &who, "one")).await;
    assert!(dropped.is_err(), "no answer came");
    process.promotions.note(&id, &who, "two").await.expect("the journal goes on");
    let seen = process.promotions.events(&id, None).unwrap().past;
    drop(process);
    let read = lab.process(None).promotions.events(&id, None).unwrap().past;
    assert_eq!(seen, read);
    let words =
        |event: &Event| matches!(&event.record.entry, Entry::Noted { text, .. } if text == "one" || text == "two");
    assert_eq!(seen.iter().filter(|event| words(event)).count(), 2);
}
