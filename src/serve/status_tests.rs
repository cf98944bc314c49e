//! The shape of the status, and its sentences.

use super::*;
use crate::change::{Examination, Finding, Gap, GapCause, Method};
use crate::watermark::{Fence, Seed, StoreRecord};

/// 2025-11-23T12:22:07Z.
const AT: i64 = 1_763_900_527_000;

fn id(text: &str) -> StoreId {
    StoreId::new(text).unwrap()
}

fn at(secs: u64) -> Stamp {
    Stamp { wall: SourceTime(AT) + Duration::from_secs(secs), mono: Duration::from_secs(1000 + secs) }
}

fn fleet() -> Fleet {
    let terms = Terms { objective: Duration::from_secs(30), period: Duration::from_secs(1) };
    Fleet {
        app: "shop".into(),
        primary: "us-east-1".into(),
        standby: "us-west-2".into(),
        rpo: Duration::from_secs(60),
        rto: Duration::from_secs(900),
        stores: vec![Watched { id: id("orders"), kind: "dynamodb", mode: "replicate", terms }],
    }
}

fn record() -> StoreRecord {
    StoreRecord {
        seed: Seed::Done { at: SourceTime(AT - 60_000) },
        through: Some(SourceTime(AT)),
        method: Some(Method::Verified),
        ..StoreRecord::default()
    }
}

fn marks(record: StoreRecord, proved: Option<Stamp>) -> Watermarks {
    let mut marks = Watermarks::default();
    marks.stores.insert(id("orders"), Mark { record, proved });
    marks
}

fn status(marks: &Watermarks, board: &Board, now: Stamp) -> Status {
    fleet().status(&Facts { now, started: at(0), clock_skew: Duration::ZERO, marks, board, phase: "replicating" })
}

#[test]
fn the_shape_is_the_published_one() {
    let board = Board::default();
    board.post(
        &id("orders"),
        Vitals {
            backlog_items: 7,
            failed_items: 0,
            divergent: 0,
            last_progress: Some(at(2)),
            source_answered: Some(at(2)),
            retention_headroom: Some(Duration::from_secs(80_000)),
            ..Vitals::default()
        },
    );
    let told = serde_json::to_value(status(&marks(record(), Some(at(2))), &board, at(5))).unwrap();
    let wanted = serde_json::json!({
        "app": "shop",
        "primary": {"region": "us-east-1", "reachable": true},
        "standby": {"region": "us-west-2"},
        "phase": "replicating",
        "rpo_seconds": 5.0,
        "rpo_objective_seconds": 60.0,
        "rto_objective_seconds": 900.0,
        "skew_seconds": 0.0,
        "stores": [{
            "id": "orders", "kind": "dynamodb", "mode": "replicate", "state": "ok", "method": "verified",
            "rpo_seconds": 5.0, "rpo_upper_bound_seconds": 5.0, "objective_seconds": 30.0,
            "watermark": "2025-11-23T12:22:07.000Z", "backlog": {"items": 7}, "failed_items": 0,
            "retention_headroom_seconds": 80000.0, "last_progress": "2025-11-23T12:22:09.000Z",
            "cutoff": "changes after 12:22:07Z would be lost; last proof 3.0 s ago",
            "progress": null, "verified": null, "coverage": null, "drift": [], "note": null
        }]
    });
    assert_eq!(told, wanted);
}

#[test]
fn what_an_examination_found_is_shown_until_the_fence() {
    let board = Board::default();
    let find = |severity, check| Finding::new(severity, check, "standby table orders", "a sentence");
    let findings = vec![
        find(Severity::Ok, "key_schema"),
        find(Severity::Warning, "backups").to_do("enable it"),
        find(Severity::Problem, "ttl").to_do("switch it off").command("aws dynamodb update-time-to-live"),
        find(Severity::Note, "table_class"),
    ];
    board.examined(&id("orders"), Examination { at: Some(at(1)), findings });
    let mut seen = marks(record(), Some(at(2)));
    let told = serde_json::to_value(&status(&seen, &board, at(5)).stores[0]).unwrap();
    let wanted = serde_json::json!([
        {"check": "ttl", "severity": "problem", "what": "standby table orders: a sentence",
         "do": "switch it off: aws dynamodb update-time-to-live"},
        {"check": "backups", "severity": "warning", "what": "standby table orders: a sentence", "do": "enable it"},
    ]);
    assert_eq!(told["drift"], wanted);
    let note = told["note"].as_str().expect("a problem is a note");
    assert!(note.starts_with("standby table orders: a sentence; switch it off; aws"), "{note}");
    assert!(note.ends_with("(and 1 more: plimsoll doctor --online)"), "{note}");
    seen.fence = Some(Fence { promotion: "p".into(), direction_epoch: 1, at: SourceTime(AT) });
    let told = &status(&seen, &board, at(5)).stores[0];
    assert!(told.drift.is_empty() && told.note.is_none(), "the two ends are meant to differ now: {told:?}");
}

#[test]
fn a_warning_alone_is_no_note() {
    let board = Board::default();
    let findings = vec![Finding::new(Severity::Warning, "backups", "standby table orders", "a sentence")];
    board.examined(&id("orders"), Examination { at: Some(at(1)), findings });
    let told = &status(&marks(record(), Some(at(2))), &board, at(5)).stores[0];
    assert_eq!((told.drift.len(), told.note.clone()), (1, None));
}

#[test]
fn nothing_known_is_null_and_never_zero() {
    let told = status(&Watermarks::default(), &Board::default(), at(0));
    assert_eq!((told.rpo_seconds, told.skew_seconds, told.primary.reachable), (None, None, None));
    let store = &told.stores[0];
    assert_eq!(store.state, "seeding");
    assert_eq!((store.rpo_seconds, store.rpo_upper_bound_seconds, store.watermark.clone()), (None, None, None));
    assert!(store.cutoff.starts_with("no cutoff yet"), "{}", store.cutoff);
    assert!(store.note.as_ref().unwrap().starts_with("seeding:"));
    let empty = Fleet { stores: vec![], ..fleet() };
    let facts = Facts {
        now: at(90),
        started: at(0),
        clock_skew: Duration::ZERO,
        marks: &Watermarks::default(),
        board: &Board::default(),
        phase: "replicating",
    };
    assert_eq!(empty.status(&facts).rpo_seconds, None);
}

#[test]
fn an_unreachable_primary_is_said_after_patience_and_not_before() {
    let board = Board::default();
    assert_eq!(status(&Watermarks::default(), &board, at(9)).primary.reachable, None);
    assert_eq!(status(&Watermarks::default(), &board, at(11)).primary.reachable, Some(false));
    board.post(&id("orders"), Vitals { source_answered: Some(at(10)), ..Vitals::default() });
    assert_eq!(status(&Watermarks::default(), &board, at(12)).primary.reachable, Some(true));
    assert_eq!(status(&Watermarks::default(), &board, at(40)).primary.reachable, Some(false));
}

#[test]
fn unknown_keeps_its_bound_and_says_since_when() {
    let told = status(&marks(record(), Some(at(1))), &Board::default(), at(61));
    let store = &told.stores[0];
    assert_eq!((store.state.as_str(), store.rpo_seconds, store.rpo_upper_bound_seconds), ("unknown", None, Some(61.0)));
    assert_eq!(store.cutoff, "changes after 12:22:07Z would be lost; last proof 60 s ago");
    assert!(store.note.as_ref().unwrap().starts_with("no proof for 60 s"));
    let old = status(&marks(record(), None), &Board::default(), at(1));
    assert!(old.stores[0].cutoff.ends_with("no proof since this process started"));
}

#[test]
fn a_gap_names_what_was_lost_and_what_heals() {
    let gap = Gap { cause: GapCause::Trimmed, on: "table orders".into(), declared_at: SourceTime(AT) };
    let board = Board::default();
    board.post(
        &id("orders"),
        Vitals { failed_items: 2, trouble: Some("GetRecords failed".into()), ..Vitals::default() },
    );
    let told = status(&marks(StoreRecord { gap: Some(gap), ..record() }, Some(at(1))), &board, at(2));
    let note = told.stores[0].note.clone().unwrap();
    for part in
        ["table orders: the source trimmed", "only a re-seed heals it", "2 changes are parked", "GetRecords failed"]
    {
        assert!(note.contains(part), "{note}");
    }
}

#[test]
fn a_fence_speaks_in_the_past() {
    let mut marks = marks(record(), Some(at(1)));
    marks.fence = Some(Fence { promotion: "p".into(), at: SourceTime(AT + 9_000), direction_epoch: 1 });
    let told = status(&marks, &Board::default(), at(3600));
    assert_eq!(told.stores[0].state, "fenced");
    assert_eq!(told.stores[0].cutoff, "changes after 12:22:07Z were not copied; fenced at 12:22:16Z");
    assert_eq!(told.primary.reachable, None, "nobody asks prodX after the fence");
}

#[test]
fn times_and_spans_for_humans() {
    let now = SourceTime(AT);
    assert_eq!(clock(SourceTime(AT - 1), now), "12:22:06Z");
    assert_eq!(clock(SourceTime(AT - 86_400_000), now), "2025-11-22T12:22:07Z");
    for (s, text) in [
        (0.4, "0.4 s"),
        (3.01, "3.1 s"),
        (9.99, "10 s"),
        (46.2, "47 s"),
        (61.0, "61 s"),
        (200.0, "3 min 20 s"),
        (9000.0, "2 h 30 min"),
        (200_000.0, "2 d 8 h"),
    ] {
        assert_eq!(span(Duration::from_secs_f64(s)), text);
    }
}
