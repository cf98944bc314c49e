//! Pairs that fit, and every way not to: one difference at a time, and what is said of it.

use std::collections::BTreeMap;

use super::*;
use crate::stores::dynamodb::facts::{Encryption, Index, KeyPart, Units};
use crate::stores::dynamodb::promote::settings::Capacity;

fn key(role: &str, name: &str, kind: &str) -> KeyPart {
    KeyPart { role: role.into(), name: name.into(), kind: kind.into() }
}

fn types(parts: &[(&str, &str)]) -> BTreeMap<String, String> {
    parts.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
}

fn index(parts: &[KeyPart]) -> Index {
    Index { keys: parts.to_vec(), projection: "ALL".into(), active: true, units: Units::default() }
}

fn place(side: &'static str) -> Place {
    let region = if side == "primary" { "us-east-1" } else { "us-west-2" };
    let policy = if side == "primary" { "replicate-read-x" } else { "replicate-write-y" };
    Place { side, table: "orders".into(), region: region.into(), policy }
}

fn table() -> Facts {
    Facts {
        arn: "arn:aws:dynamodb:us-east-1:1:table/orders".into(),
        id: "table-1".into(),
        status: "ACTIVE".into(),
        keys: vec![key("HASH", "pk", "S"), key("RANGE", "sk", "N")],
        types: types(&[("pk", "S"), ("sk", "N"), ("day", "S")]),
        globals: [("by-day".to_owned(), index(&[key("HASH", "day", "S")]))].into(),
        locals: [("by-sk".to_owned(), index(&[key("HASH", "pk", "S"), key("RANGE", "day", "S")]))].into(),
        stream: Some("NEW_AND_OLD_IMAGES".into()),
        stream_arn: Some("stream-1".into()),
        on_demand: true,
        protected: true,
        class: "STANDARD".into(),
        ..Facts::default()
    }
}

fn seen(side: &'static str) -> Seen {
    Seen { place: place(side), table: Ok(table()), ttl: Ok(Ttl::Off), recovery: Ok(true), probes: Vec::new() }
}

/// Two tables that fit.
fn pair() -> Pair {
    Pair {
        source: seen("primary"),
        standby: seen("standby"),
        adopted: Some(Incarnation { table_id: "table-1".into(), stream_arn: "stream-1".into() }),
        recorded: Some(Recorded { ttl: None }),
        promoting: Promoting::default(),
    }
}

fn refused(class: Class, operation: &'static str) -> Refused {
    Refused { class, operation, words: "the service's words".into() }
}

/// What is not good, as `check severity`.
fn bad(pair: &Pair) -> Vec<String> {
    let all = compare(pair);
    for finding in &all {
        assert!(!finding.what.is_empty() && finding.on.contains("table orders ("), "{finding:?}");
        let nothing_to_do = matches!(finding.severity, Severity::Ok | Severity::Note);
        assert!(nothing_to_do || finding.todo.is_some(), "nothing is said to do: {finding:?}");
    }
    let bad = all.iter().filter(|f| f.severity != Severity::Ok);
    bad.map(|f| format!("{} {}", f.check, f.severity.label())).collect()
}

fn source(change: impl FnOnce(&mut Facts)) -> Pair {
    let mut pair = pair();
    change(pair.source.table.as_mut().unwrap());
    pair
}

fn standby(change: impl FnOnce(&mut Facts)) -> Pair {
    let mut pair = pair();
    change(pair.standby.table.as_mut().unwrap());
    pair
}

fn both(change: impl Fn(&mut Facts)) -> Pair {
    let mut pair = pair();
    change(pair.source.table.as_mut().unwrap());
    change(pair.standby.table.as_mut().unwrap());
    pair
}

fn says(pair: &Pair, check: &str, words: &str) {
    let all = compare(pair);
    let found: Vec<String> = all.iter().filter(|f| f.check == check).map(Finding::sentence).collect();
    assert!(found.iter().any(|sentence| sentence.contains(words)), "{check}: {found:?} do not say {words:?}");
}

#[test]
fn tables_that_fit_are_good_by_every_check() {
    assert_eq!(bad(&pair()), [""; 0]);
    let mut checks: Vec<_> = compare(&pair()).iter().map(|f| f.check).collect();
    checks.sort_unstable();
    checks.dedup();
    // The names are values of a metric's label: append, never rename.
    let names = [
        "answers",
        "backups",
        "capacity",
        "deletion_protection",
        "encryption",
        "global_table",
        "incarnation",
        "indexes",
        "key_schema",
        "permissions",
        "standby_stream",
        "stream",
        "table",
        "table_class",
        "ttl",
        "warm_throughput",
    ];
    assert_eq!(checks, names);
}

#[test]
fn the_key_must_be_equal_in_names_roles_and_types() {
    for keys in [
        vec![key("HASH", "pk", "S")],
        vec![key("HASH", "pk", "S"), key("RANGE", "sk", "S")],
        vec![key("HASH", "pk", "S"), key("RANGE", "other", "N")],
        vec![key("HASH", "sk", "N"), key("RANGE", "pk", "S")],
    ] {
        let changed = standby(|t| t.keys = keys.clone());
        assert_eq!(bad(&changed), ["key_schema problem"], "{keys:?}");
    }
    says(
        &standby(|t| t.keys.truncate(1)),
        "key_schema",
        "its key is pk (S), and the primary table's is pk (S), sk (N)",
    );
}

#[test]
fn ap6_an_index_that_the_source_lacks_is_a_problem_when_it_can_refuse_items() {
    let extra = |parts: Vec<KeyPart>| standby(move |t| drop(t.globals.insert("extra".into(), index(&parts))));
    let foreign = extra(vec![key("HASH", "color", "S")]);
    assert_eq!(bad(&foreign), ["indexes problem"], "an attribute that nothing in the source fixes");
    says(&foreign, "indexes", "an item whose color is no string is refused");
    says(&foreign, "indexes", r#"--global-secondary-index-updates '[{"Delete":{"IndexName":"extra"}}]'"#);
    assert_eq!(bad(&extra(vec![key("HASH", "day", "N")])), ["indexes problem"], "of another type");
    let harmless = extra(vec![key("HASH", "day", "S"), key("RANGE", "pk", "S")]);
    assert_eq!(bad(&harmless), ["indexes note"], "the source fixes all its attributes");
    let local = standby(|t| drop(t.locals.insert("extra".into(), index(&[key("RANGE", "color", "B")]))));
    assert_eq!(bad(&local), ["indexes problem"]);
    says(&local, "indexes", "is no binary");
}

#[test]
fn an_index_that_the_standby_lacks_or_has_otherwise() {
    let missing = standby(|t| drop(t.globals.remove("by-day")));
    assert_eq!(bad(&missing), ["indexes problem"]);
    says(&missing, "indexes", "--attribute-definitions AttributeName=day,AttributeType=S");
    says(&missing, "indexes", r#""ProjectionType":"ALL""#);
    let local = standby(|t| t.locals.clear());
    assert_eq!(bad(&local), ["indexes problem"]);
    says(&local, "indexes", "create the standby table anew");
    let change = |change: fn(&mut Index)| standby(|t| change(t.globals.get_mut("by-day").unwrap()));
    assert_eq!(bad(&change(|i| i.keys = vec![key("HASH", "day", "N")])), ["indexes problem"]);
    assert_eq!(bad(&change(|i| i.projection = "KEYS_ONLY".into())), ["indexes warning"]);
    assert_eq!(bad(&change(|i| i.active = false)), ["indexes warning"]);
    let two = standby(|t| {
        t.globals.clear();
        t.globals.insert("other".into(), index(&[key("HASH", "color", "S")]));
    });
    assert_eq!(bad(&two), ["indexes problem"; 2], "each difference is told");
}

#[test]
fn ap8_ttl_is_off_in_the_standby_and_known_of_the_source() {
    let with = |x: Ttl, y: Ttl| {
        let mut pair = pair();
        (pair.source.ttl, pair.standby.ttl) = (Ok(x), Ok(y));
        pair
    };
    let on = || Ttl::On("ends".into());
    for y in [on(), Ttl::Enabling("ends".into())] {
        let pair = with(on(), y);
        assert_eq!(bad(&pair), ["ttl problem"]);
        says(&pair, "ttl", "--time-to-live-specification Enabled=false,AttributeName=ends");
    }
    assert_eq!(bad(&with(on(), Ttl::Disabling)), ["ttl note"]);
    assert_eq!(bad(&with(on(), Ttl::Off)), [""; 0]);
    says(&with(on(), Ttl::Off), "ttl", "a promotion enables it in the standby");
    let mut off = with(on(), Ttl::Off);
    off.promoting.ttl = false;
    assert_eq!(bad(&off), ["ttl note"]);
    let mut other = with(on(), Ttl::Off);
    other.promoting.ttl_attribute = Some("else".into());
    assert_eq!(bad(&other), ["ttl warning"]);
    other.promoting.ttl_attribute = Some("ends".into());
    assert_eq!(bad(&other), [""; 0]);
}

#[test]
fn a_source_that_does_not_say_its_ttl_is_remembered_or_missed() {
    let mut pair = pair();
    pair.source.ttl = Err(refused(Class::Unavailable, "DescribeTimeToLive"));
    pair.recorded = Some(Recorded { ttl: Some("ends".into()) });
    assert_eq!(bad(&pair), ["answers warning"]);
    says(&pair, "ttl", "TTL was by ends when it last did");
    pair.recorded = None;
    assert_eq!(bad(&pair), ["answers warning", "ttl warning"]);
    pair.promoting.ttl_attribute = Some("ends".into());
    assert_eq!(bad(&pair), ["answers warning"], "the attribute is configured");
}

#[test]
fn ds2_the_stream_of_the_source() {
    let view = |view: Option<&str>| source(|t| t.stream = view.map(str::to_owned));
    assert_eq!(bad(&view(Some("NEW_IMAGE"))), ["stream note"]);
    for other in ["KEYS_ONLY", "OLD_IMAGE", "ELSE"] {
        assert_eq!(bad(&view(Some(other))), ["stream problem"], "{other}");
    }
    let none = source(|t| (t.stream, t.stream_arn) = (None, None));
    assert_eq!(bad(&none), ["incarnation problem", "stream problem"]);
    says(&none, "stream", "--stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES");
}

#[test]
fn ap8_the_stream_of_the_standby_is_for_the_way_back() {
    let view = |view: Option<&str>| standby(|t| t.stream = view.map(str::to_owned));
    assert_eq!(bad(&view(None)), ["standby_stream warning"]);
    says(&view(None), "standby_stream", "a promotion enables it");
    let mut left = view(None);
    left.promoting.stream = false;
    says(&left, "standby_stream", "promote_stream = false");
    assert_eq!(bad(&view(Some("KEYS_ONLY"))), ["standby_stream warning"]);
    assert_eq!(bad(&view(Some("NEW_IMAGE"))), [""; 0]);
}

/// Provisioned on both sides.
fn provisioned(x: (i64, i64), y: (i64, i64)) -> Pair {
    let set = |t: &mut Facts, (read, write): (i64, i64)| {
        t.on_demand = false;
        t.units = Units { read, write };
        t.globals.values_mut().for_each(|index| index.units = Units { read, write });
    };
    let mut pair = pair();
    set(pair.source.table.as_mut().unwrap(), x);
    set(pair.standby.table.as_mut().unwrap(), y);
    pair
}

#[test]
fn ap10_capacity() {
    assert_eq!(ability::wanted(100), 130);
    assert_eq!(ability::wanted(1), 2, "rounded up");
    assert_eq!(ability::wanted(i64::MAX), i64::MAX / 10, "no overflow");
    let on = ["capacity warning"; 2];
    assert_eq!(bad(&provisioned((10, 100), (10, 130))), [""; 0]);
    assert_eq!(bad(&provisioned((10, 100), (10, 129))), on, "the table and its index");
    assert_eq!(bad(&provisioned((10, 100), (10, 99))), ["capacity problem"; 2]);
    let reads = provisioned((10, 100), (9, 130));
    assert_eq!(bad(&reads), on);
    for enough in [Capacity::OnDemand, Capacity::AtLeast { read: 10, write: 0 }] {
        let mut raised = reads.clone();
        raised.promoting.capacity = enough;
        assert_eq!(bad(&raised), [""; 0], "{enough:?}");
    }
    let mut too_little = reads;
    too_little.promoting.capacity = Capacity::AtLeast { read: 9, write: 0 };
    assert_eq!(bad(&too_little), on);
    let mut narrow = provisioned((10, 100), (10, 130));
    narrow.standby.table.as_mut().unwrap().globals.get_mut("by-day").unwrap().units.write = 50;
    assert_eq!(bad(&narrow), ["capacity problem"], "an index throttles its table");
    says(&narrow, "capacity", "its index by-day has 50 write units, and the primary's 100");
}

#[test]
fn ap10_on_demand() {
    let fixed = standby(|t| (t.on_demand, t.units) = (false, Units { read: 5, write: 5 }));
    assert_eq!(bad(&fixed), ["capacity warning"]);
    says(&fixed, "capacity", "--billing-mode PAY_PER_REQUEST");
    let limit = |x: i64, y: i64| {
        let mut pair = standby(|t| t.ceiling.write = y);
        pair.source.table.as_mut().unwrap().ceiling.write = x;
        pair
    };
    assert_eq!(bad(&limit(0, 500)), ["capacity warning"], "the primary has no limit");
    assert_eq!(bad(&limit(500, 500)), [""; 0]);
    assert_eq!(bad(&limit(600, 500)), ["capacity warning"]);
    let mut from_provisioned = provisioned((10, 100), (0, 0));
    let to = from_provisioned.standby.table.as_mut().unwrap();
    (to.on_demand, to.ceiling.write) = (true, 100);
    assert_eq!(bad(&from_provisioned), ["capacity warning"], "130 are needed");
}

#[test]
fn what_keeps_the_data_and_what_costs_more() {
    assert_eq!(bad(&standby(|t| t.protected = false)), ["deletion_protection warning"]);
    assert_eq!(bad(&source(|t| t.protected = false)), [""; 0], "the primary is its owner's business");
    let mut backups = pair();
    backups.standby.recovery = Ok(false);
    assert_eq!(bad(&backups), ["backups warning"]);
    says(&backups, "backups", "off, and on in the primary");
    backups.source.recovery = Ok(false);
    assert_eq!(bad(&backups), ["backups warning"]);
    assert_eq!(bad(&standby(|t| t.class = "STANDARD_INFREQUENT_ACCESS".into())), ["table_class note"]);
    let warm = source(|t| t.warm = Units { read: 20_000, write: 8_000 });
    assert_eq!(bad(&warm), ["warm_throughput note"]);
    says(&warm, "warm_throughput", "ReadUnitsPerSecond=20000,WriteUnitsPerSecond=8000");
}

#[test]
fn keys_of_kms() {
    let kms = |region: &str| Encryption::Kms { key: format!("arn:aws:kms:{region}:1:key/a") };
    assert_eq!(bad(&source(|t| t.encryption = kms("us-east-1"))), ["encryption warning"]);
    assert_eq!(bad(&both(|t| t.encryption = kms("us-west-2"))), [""; 0]);
    let foreign = standby(|t| t.encryption = kms("us-east-1"));
    assert_eq!(bad(&foreign), ["encryption problem"], "a key of the region that is gone");
    assert_eq!(bad(&standby(|t| t.encryption = Encryption::Broken("no key".into()))), ["encryption problem"]);
    assert_eq!(bad(&standby(|t| t.encryption = Encryption::Kms { key: "alias/aws/dynamodb".into() })), [""; 0]);
}

#[test]
fn ds1_another_table_and_another_stream() {
    assert_eq!(bad(&source(|t| t.id = "table-2".into())), ["incarnation problem"]);
    assert_eq!(bad(&source(|t| t.stream_arn = Some("stream-2".into()))), ["incarnation problem"]);
    let mut new = source(|t| t.id = "table-2".into());
    new.adopted = None;
    assert_eq!(bad(&new), [""; 0], "nothing was adopted yet");
}

#[test]
fn a_global_table_is_never_copied_a_second_time() {
    let replicas = |t: &mut Facts| t.replicas = vec!["eu-west-1".into()];
    assert_eq!(bad(&source(replicas)), ["global_table problem"]);
    assert_eq!(bad(&standby(replicas)), ["global_table problem"]);
    assert_eq!(bad(&both(replicas)), ["global_table problem"; 2]);
}

#[test]
fn states_of_the_tables() {
    for (status, severity) in [
        ("ACTIVE", None),
        ("UPDATING", None),
        ("CREATING", Some("table warning")),
        ("DELETING", Some("table problem")),
        ("ARCHIVED", Some("table problem")),
        ("INACCESSIBLE_ENCRYPTION_CREDENTIALS", Some("table problem")),
        ("A_NEW_ONE", Some("table problem")),
    ] {
        let found: Vec<&str> = severity.into_iter().collect();
        assert_eq!(bad(&standby(|t| t.status = status.into())), found, "{status}");
        assert_eq!(bad(&source(|t| t.status = status.into())), found, "{status}");
    }
}

#[test]
fn a_table_that_is_missing_has_answered() {
    let mut none = pair();
    let missing = |operation| refused(Class::Missing, operation);
    none.standby.table = Err(missing("DescribeTable"));
    none.standby.ttl = Err(missing("DescribeTimeToLive"));
    none.standby.recovery = Err(missing("DescribeContinuousBackups"));
    assert_eq!(bad(&none), ["table problem"]);
    says(&none, "table", "create it with the key schema");
}

#[test]
fn each_missing_permission_is_told_with_what_to_grant() {
    let mut pair = pair();
    pair.source.table = Err(refused(Class::Denied, "DescribeTable"));
    pair.standby.recovery = Err(refused(Class::Denied, "DescribeContinuousBackups"));
    pair.source.probes = vec![Ok(()), Err(refused(Class::Denied, "GetShardIterator"))];
    assert_eq!(bad(&pair), ["permissions problem"; 3]);
    says(&pair, "permissions", "grant dynamodb:DescribeTable on arn:aws:dynamodb:us-east-1:ACCOUNT:table/orders (rep");
    says(&pair, "permissions", "dynamodb:GetShardIterator on arn:aws:dynamodb:us-east-1:ACCOUNT:table/orders/stream/*");
    says(&pair, "permissions", "dynamodb:DescribeContinuousBackups on arn:aws:dynamodb:us-west-2:ACCOUNT");
    says(&pair, "permissions", "replicate-write-y in config/iam");
}

/// A region that does not answer is no drift, and what could not be asked is judged by nobody.
#[test]
fn a_region_that_does_not_answer() {
    for class in [Class::Unavailable, Class::Throttled, Class::Unknown] {
        let mut pair = pair();
        let none = |operation| refused(class, operation);
        pair.source.table = Err(none("DescribeTable"));
        pair.source.ttl = Err(none("DescribeTimeToLive"));
        pair.source.recovery = Err(none("DescribeContinuousBackups"));
        assert_eq!(bad(&pair), ["answers warning"], "{class:?}");
        let about_both = ["key_schema", "indexes", "capacity", "warm_throughput", "table_class", "stream"];
        let judged = compare(&pair);
        assert!(judged.iter().all(|f| !about_both.contains(&f.check)), "{judged:?}");
        assert!(judged.iter().any(|f| f.check == "deletion_protection"), "the standby is judged all the same");
    }
}
