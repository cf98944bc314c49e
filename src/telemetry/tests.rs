//! The catalogue, and what of it appears in which state.

use std::collections::BTreeSet;
use std::time::Duration;

use super::scrape::PHASES;
use super::*;
use crate::change::{Class, Method, SourceTime, Stamp, StoreId};
use crate::rpo::Terms;
use crate::watermark::course::{Course, Tally};
use crate::watermark::{Assumptions, Board, CanarySigns, Mark, Seed, StoreRecord, Vitals, Watermarks};

const AT: i64 = 1_763_900_527_000;

fn id(text: &str) -> StoreId {
    StoreId::new(text).unwrap()
}

fn now() -> Stamp {
    Stamp { wall: SourceTime(AT), mono: Duration::from_secs(100) }
}

fn ago(secs: u64) -> Stamp {
    Stamp { wall: now().wall - Duration::from_secs(secs), mono: now().mono - Duration::from_secs(secs) }
}

fn terms(objective: u64) -> Terms {
    Terms { objective: Duration::from_secs(objective), period: Duration::from_secs(1) }
}

fn seeded(behind: u64, proved: Option<Stamp>) -> Mark {
    let record = StoreRecord {
        seed: Seed::Done { at: SourceTime(AT - 900_000) },
        through: Some(now().wall - Duration::from_secs(behind)),
        method: Some(Method::Verified),
        verified_at: Some(ago(60).wall),
        ..StoreRecord::default()
    };
    Mark { record, proved }
}

/// All that only stores with an event queue have.
fn course() -> Course {
    let tally = |items, bytes| Tally { items, bytes };
    Course {
        events_through: Some(now().wall - Duration::from_secs(130)),
        certified: Some(now().wall - Duration::from_secs(3600)),
        delays: [(20_000, 4_000), (20_001, 61_500)].into(),
        refused: [("archived".to_owned(), tally(2, 7_000))].into(),
        excluded: [("sse-c".to_owned(), tally(1, 10))].into(),
        untold: 3,
        ..Course::default()
    }
}

/// One healthy store and one that is still seeding.
fn fixed() -> (Watermarks, Board, Vec<(StoreId, &'static str, Terms)>) {
    let mut marks = Watermarks::default();
    let mut orders = seeded(3, Some(ago(1)));
    orders.record.course = Some(Box::new(course()));
    marks.stores.insert(id("orders"), orders);
    let board = Board::default();
    board.post(
        &id("orders"),
        Vitals {
            backlog_items: 7,
            failed_items: 1,
            divergent: 0,
            last_progress: Some(ago(1)),
            source_answered: Some(ago(1)),
            retention_headroom: Some(Duration::from_secs(80_000)),
            progress: Some(crate::watermark::Progress {
                what: "scan",
                done: 3,
                total: 9,
                eta: Some(Duration::from_secs(4)),
            }),
            trouble: None,
            about: None,
            canary: CanarySigns {
                visible_p50: Some(Duration::from_millis(250)),
                visible_p99: Some(Duration::from_millis(900)),
                visible_max: Some(Duration::from_millis(1200)),
                empty_run_max: Some(1),
            },
            assumptions: Some(Assumptions {
                propagation: Duration::from_secs(10),
                publish: Duration::from_secs(1),
                max_request_life: Duration::from_secs(10),
                empty_run: 3,
            }),
            delivery: Some(Duration::from_secs(120)),
            certify_within: Some(Duration::from_secs(86_400)),
            late: Some(4),
        },
    );
    (marks, board, vec![(id("orders"), "dynamodb", terms(30)), (id("users"), "dynamodb", terms(60))])
}

fn fed() -> std::sync::Arc<Metrics> {
    let metrics = Metrics::new();
    let orders = metrics.store(&id("orders"), "dynamodb");
    metrics.store(&id("users"), "dynamodb");
    orders.read(12);
    orders.applied(5);
    orders.error(Class::Throttled);
    orders.latency(Duration::from_millis(700));
    metrics.index_commit(Duration::from_millis(3));
    metrics.aws_request("dynamodb", "BatchWriteItem", "ok");
    metrics
}

fn render(metrics: &Metrics, marks: &Watermarks, board: &Board, stores: &[(StoreId, &'static str, Terms)]) -> String {
    metrics.render(&Scrape {
        now: now(),
        clock_skew: Duration::from_millis(20),
        marks,
        board,
        stores,
        rto_objective: Duration::from_secs(900),
        phase: "replicating",
        steps: &[("fence".into(), Duration::from_secs(2))],
        rto_achieved: Some(Duration::from_secs(61)),
        checks: &[("index", true), ("stores", false)],
    })
}

#[test]
fn names_follow_the_rules() {
    let names: BTreeSet<_> = catalogue::ALL.iter().map(|f| f.name).collect();
    assert_eq!(names.len(), catalogue::ALL.len(), "a name is used twice");
    for family in catalogue::ALL {
        assert!(family.name.starts_with("plimsoll_"), "{}", family.name);
        assert_eq!(family.name.ends_with("_total"), family.shape == catalogue::Shape::Counter, "{}", family.name);
        assert!(!family.labels.iter().any(|l| ["lane", "key", "shard"].contains(l)), "{}", family.name);
        assert!(family.help.ends_with('.') && !family.help.contains(['\n', '|']), "{}", family.name);
    }
    assert!(catalogue::find("plimsoll_replication_latency_seconds_bucket").is_some());
    assert!(catalogue::find("plimsoll_store_rpo_seconds_bucket").is_none());
}

#[test]
fn every_metric_of_the_catalogue_can_appear() {
    let (marks, board, mut stores) = fixed();
    stores.truncate(1);
    let metrics = fed();
    let text = render(&metrics, &marks, &board, &stores);
    for family in catalogue::ALL {
        assert!(text.contains(&format!("# TYPE {} {}\n", family.name, family.shape.label())), "{}", family.name);
    }
    assert!(text.contains("\nplimsoll_app_rpo_seconds 3.02\n"), "{text}");
    assert!(text.contains("\nplimsoll_rto_achieved_seconds 61\n"), "{text}");
}

#[test]
fn counters_are_there_from_the_start() {
    let metrics = Metrics::new();
    metrics.store(&id("orders"), "dynamodb");
    let (_, board, stores) = fixed();
    let text = render(&metrics, &Watermarks::default(), &board, &stores);
    for class in Class::ALL {
        let line = format!(
            "plimsoll_store_errors_total{{class=\"{}\",kind=\"dynamodb\",store=\"orders\"}} 0\n",
            class.label()
        );
        assert!(text.contains(&line), "{line}{text}");
    }
    for line in [
        "plimsoll_rpo_soundness_violations_total 0\n",
        "plimsoll_store_changes_read_total{kind=\"dynamodb\",store=\"orders\"} 0\n",
        "plimsoll_store_changes_applied_total{kind=\"dynamodb\",store=\"orders\"} 0\n",
        "plimsoll_index_commit_duration_seconds_count 0\n",
        "plimsoll_replication_latency_seconds_count{kind=\"dynamodb\",store=\"orders\"} 0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

/// RP-2, RP-3: unknown is never zero, and the bound is still told.
#[test]
fn what_is_not_known_is_absent() {
    let (_, board, stores) = fixed();
    let mut marks = Watermarks::default();
    marks.stores.insert(id("orders"), seeded(40, Some(ago(30))));
    let text = render(&Metrics::new(), &marks, &board, &stores);
    assert!(!text.contains("plimsoll_store_rpo_seconds"), "{text}");
    assert!(!text.contains("plimsoll_app_rpo_seconds"), "{text}");
    assert!(!text.contains("plimsoll_app_skew_seconds"), "{text}");
    assert!(text.contains("plimsoll_store_rpo_upper_bound_seconds{kind=\"dynamodb\",store=\"orders\"} 40.02\n"));
    assert!(text.contains("plimsoll_store_state{kind=\"dynamodb\",state=\"unknown\",store=\"orders\"} 1\n"));
    assert!(text.contains("plimsoll_store_state{kind=\"dynamodb\",state=\"seeding\",store=\"users\"} 1\n"));
    assert!(!text.contains("plimsoll_store_rpo_upper_bound_seconds{kind=\"dynamodb\",store=\"users\"}"));
    let none = render(&Metrics::new(), &marks, &board, &[]);
    assert!(!none.contains("plimsoll_app_rpo_seconds"), "the worst of no stores is not zero: {none}");
}

/// A driver that hangs posts nothing and commits nothing: the numbers of a later scrape show it all the same.
#[test]
fn a_hung_driver_shows() {
    let (marks, board, stores) = fixed();
    let later = now().after(Duration::from_secs(300));
    let text = fed().render(&Scrape {
        now: later,
        clock_skew: Duration::ZERO,
        marks: &marks,
        board: &board,
        stores: &stores,
        rto_objective: Duration::from_secs(900),
        phase: "held",
        steps: &[],
        rto_achieved: None,
        checks: &[],
    });
    assert!(
        text.contains("plimsoll_store_rpo_upper_bound_seconds{kind=\"dynamodb\",store=\"orders\"} 303\n"),
        "{text}"
    );
    assert!(!text.contains("plimsoll_store_rpo_seconds"), "{text}");
    assert!(text.contains("plimsoll_promote_state{state=\"held\"} 1\n"));
    assert_eq!(PHASES.iter().filter(|p| text.contains(&format!("state=\"{p}\"}} 0\n"))).count(), PHASES.len() - 1);
}
