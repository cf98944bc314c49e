//! Telemetry is an interface: the exposition and its documentation are stored texts, and what dashboards and alerts use must
//! be in the catalogue.
//!
//! `PLIMSOLL_BLESS=1` rewrites the stored texts (`make bless`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll::change::{Class, Examination, Finding, Method, Severity, SourceTime, Stamp, StoreId};
use plimsoll::rpo::Terms;
use plimsoll::telemetry::{Metrics, Scrape, catalogue};
use plimsoll::watermark::course::{Course, Tally};
use plimsoll::watermark::{Assumptions, Board, CanarySigns, Mark, Seed, StoreRecord, Vitals, Watermarks};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden(path: &str, fresh: &str) {
    let path = root().join(path);
    if std::env::var_os("PLIMSOLL_BLESS").is_some() {
        std::fs::write(&path, fresh).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(stored, fresh, "{} differs; PLIMSOLL_BLESS=1 rewrites it", path.display());
}

/// One healthy store with traffic behind it, and one that is still seeding.
#[test]
fn golden_exposition_of_a_fixed_state() {
    let now = Stamp { wall: SourceTime(1_763_900_527_000), mono: Duration::from_secs(100) };
    let ago = |secs| Stamp { wall: now.wall - Duration::from_secs(secs), mono: now.mono - Duration::from_secs(secs) };
    let (orders, users) = (StoreId::new("orders").unwrap(), StoreId::new("users").unwrap());
    let mut marks = Watermarks::default();
    let record = StoreRecord {
        seed: Seed::Done { at: ago(90).wall },
        through: Some(ago(3).wall),
        method: Some(Method::Verified),
        verified_at: Some(ago(60).wall),
        course: Some(Box::new(Course {
            events_through: Some(now.wall - Duration::from_secs(130)),
            certified: Some(now.wall - Duration::from_secs(3600)),
            delays: [(20_000, 4_000), (20_001, 61_500)].into(),
            refused: [("archived".to_owned(), Tally { items: 2, bytes: 7_000 })].into(),
            excluded: [("sse-c".to_owned(), Tally { items: 1, bytes: 10 })].into(),
            untold: 3,
            ..Course::default()
        })),
        ..StoreRecord::default()
    };
    marks.stores.insert(orders.clone(), Mark { record, proved: Some(ago(1)) });
    let board = Board::default();
    let vitals = Vitals {
        backlog_items: 7,
        failed_items: 1,
        divergent: 2,
        last_progress: Some(ago(1)),
        source_answered: Some(ago(1)),
        retention_headroom: Some(Duration::from_secs(80_000)),
        progress: None,
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
    };
    board.post(&orders, vitals);
    let find = |severity, check| Finding::new(severity, check, "standby table orders", "a sentence");
    let findings = vec![
        find(Severity::Ok, "key_schema"),
        find(Severity::Warning, "backups"),
        find(Severity::Ok, "ttl"),
        find(Severity::Problem, "ttl"),
    ];
    board.examined(&orders, Examination { at: Some(ago(9)), findings });

    let metrics = Metrics::new();
    metrics.store(&users, "dynamodb");
    let fed = metrics.store(&orders, "dynamodb");
    fed.read(12);
    fed.applied(5);
    fed.coalesced(6);
    fed.error(Class::Throttled);
    fed.latency(Duration::from_millis(700));
    metrics.index_commit(Duration::from_millis(3));
    metrics.aws_request("dynamodb", "BatchWriteItem", "ok");
    let terms = |secs| Terms { objective: Duration::from_secs(secs), period: Duration::from_secs(1) };
    let text = metrics.render(&Scrape {
        now,
        clock_skew: Duration::from_millis(20),
        marks: &marks,
        board: &board,
        stores: &[(orders, "dynamodb", terms(30)), (users, "dynamodb", terms(60))],
        rto_objective: Duration::from_secs(900),
        phase: "replicating",
        steps: &[("fence".into(), Duration::from_secs(2))],
        rto_achieved: None,
        checks: &[("index", true), ("tasks", false)],
    });
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    golden("tests/it/golden/exposition.txt", &text.replace(&version, "version=\"VERSION\""));
}

#[test]
fn golden_documentation_of_the_metrics() {
    golden("docs/METRICS.md", &catalogue::markdown());
}

/// Every file below a folder with one of these endings; none when the folder does not exist.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if path.extension().is_some_and(|e| endings.iter().any(|wanted| e == *wanted)) {
            found.push(path);
        }
    }
    found
}

/// The words of a text that begin with `plimsoll_`.
fn identifiers(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        // The bare prefix stands in comments.
        .filter(|word| word.starts_with("plimsoll_") && *word != "plimsoll_")
        .collect()
}

#[test]
fn dashboards_and_alerts_use_only_what_is_in_the_catalogue() {
    for path in files(&root().join("dashboards"), &["json", "yml", "yaml"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        for name in identifiers(&text) {
            assert!(catalogue::find(name).is_some(), "{}: {name} is not in the catalogue", path.display());
        }
    }
    assert_eq!(identifiers("rate(plimsoll_a_total[5m]) / x_plimsoll_b"), BTreeSet::from(["plimsoll_a_total"]));
}
