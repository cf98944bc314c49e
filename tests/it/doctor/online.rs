//! With both regions asked.

use std::path::PathBuf;
use std::time::Instant;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    PointInTimeRecoverySpecification, Projection, ProjectionType, ProvisionedThroughput, ScalarAttributeType,
    StreamSpecification, StreamViewType, TimeToLiveSpecification,
};
use plimsoll_lab::clients::Endpoint;
use plimsoll_lab::daemon::{ConfigSpec, Home, StoreSpec};
use plimsoll_lab::regions::{Region, RegionSpec};
use plimsoll_lab::scripted::{Door, Fault, FaultRule};
use plimsoll_lab::tables::{KeyKind, TableSpec};

use super::{bad, doctor, err, json, out, said};
use crate::attack::fixture::{ORDERS, Pair};

fn config(folder: &std::path::Path, x: &Endpoint, y: &Endpoint) -> PathBuf {
    let spec = ConfigSpec::new(x, y, vec![StoreSpec::table(ORDERS)]);
    Home::prepare(&folder.join("home"), &spec).expect("a folder").config().to_owned()
}

fn element(name: &str, role: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(role).build().expect("complete")
}

fn definition(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().expect("complete")
}

/// A standby that differs in everything: found in one run, each with what to do; then put right by what it says.
#[tokio::test]
async fn two_emulated_tables_that_do_not_fit_and_then_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let x = Region::start(RegionSpec::primary(folder.path())).await.expect("`make setup` installs it");
    let y = Region::start(RegionSpec::standby(folder.path())).await.expect("`make setup` installs it");
    let (of_x, of_y) = (x.dynamodb(), y.dynamodb());
    TableSpec::new(ORDERS, ("pk", KeyKind::Text)).create(&of_x, true).await.expect("a table");
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("ends").build().expect("complete");
    of_x.update_time_to_live().table_name(ORDERS).time_to_live_specification(ttl.clone()).send().await.expect("TTL");
    let path = config(folder.path(), x.endpoint(), y.endpoint());

    // No standby table at all.
    let report = json(&doctor(&path, &["--online", "--json"]));
    assert!(said(&report, "table").contains("there is no such table"), "{report}");
    assert!(report["problems"].as_u64() >= Some(1), "{report}");

    let index = GlobalSecondaryIndex::builder()
        .index_name("by-color")
        .key_schema(element("color", KeyType::Hash))
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .provisioned_throughput(units(5))
        .build()
        .expect("complete");
    of_y.create_table()
        .table_name(ORDERS)
        .billing_mode(BillingMode::Provisioned)
        .provisioned_throughput(units(5))
        .key_schema(element("pk", KeyType::Hash))
        .attribute_definitions(definition("pk", ScalarAttributeType::S))
        .attribute_definitions(definition("color", ScalarAttributeType::S))
        .global_secondary_indexes(index)
        .send()
        .await
        .expect("a table");
    of_y.update_time_to_live().table_name(ORDERS).time_to_live_specification(ttl).send().await.expect("TTL");
    let output = doctor(&path, &["--online", "--json"]);
    let report = json(&output);
    let wanted = [
        "orders backups warning",
        "orders capacity warning",
        "orders deletion_protection warning",
        "orders indexes problem",
        "orders standby_stream warning",
        "orders ttl problem",
    ];
    assert_eq!(bad(&report), wanted, "{report}");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&report, "ttl").contains("update-time-to-live --region us-west-2 --table-name orders"), "{report}");
    let text = out(&doctor(&path, &["--online"]));
    assert!(text.starts_with("SEVERITY  STORE   CHECK") && text.contains("\nproblem   orders  ttl"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100 || line.starts_with("    $ ")), "{text}");
    assert!(text.contains("2 problems, 4 warnings"), "{text}");

    // Done as it says.
    let off = TimeToLiveSpecification::builder().enabled(false).attribute_name("ends").build().expect("complete");
    of_y.update_time_to_live().table_name(ORDERS).time_to_live_specification(off).send().await.expect("TTL");
    of_y.delete_table().table_name(ORDERS).send().await.expect("deleted");
    TableSpec::new(ORDERS, ("pk", KeyKind::Text)).create(&of_y, false).await.expect("a table");
    let both = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages);
    let update = of_y.update_table().table_name(ORDERS);
    update.stream_specification(both.build().expect("complete")).send().await.expect("a stream");
    of_y.update_table().table_name(ORDERS).deletion_protection_enabled(true).send().await.expect("protected");
    let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build();
    let update = of_y.update_continuous_backups().table_name(ORDERS);
    update.point_in_time_recovery_specification(recovery.expect("complete")).send().await.expect("backups");
    let output = doctor(&path, &["--online", "--json"]);
    let report = json(&output);
    assert_eq!(bad(&report), [""; 0], "{report}");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(said(&report, "ttl").contains("TTL is on (ends); a promotion enables it in the standby"), "{report}");
    assert!(said(&report, "triggers").contains("are not looked for"), "what it does not see is said: {report}");
}

fn units(n: i64) -> ProvisionedThroughput {
    ProvisionedThroughput::builder().read_capacity_units(n).write_capacity_units(n).build().expect("complete")
}

/// IA-6: each read permission is exercised, and a missing one is told with exactly what to grant.
#[tokio::test]
async fn ia6_each_permission_that_is_missing_is_named() {
    let pair = Pair::new();
    let run = || doctor(&pair.home.config(), &["--online", "--json"]);
    let good = json(&run());
    assert!(!said(&good, "permissions").contains("not allowed"), "{good}");
    let stream = "arn:aws:dynamodb:us-east-1:ACCOUNT:table/orders/stream/*";
    let table = |region: &str| format!("arn:aws:dynamodb:{region}:ACCOUNT:table/orders");
    let primary = ["DescribeTable", "DescribeTimeToLive", "DescribeContinuousBackups", "Scan", "GetItem"];
    let of_x = primary.iter().chain(&["BatchGetItem"]).map(|op| (&pair.x, *op, table("us-east-1")));
    let of_stream = ["DescribeStream", "GetShardIterator"].iter().map(|op| (&pair.x, *op, stream.to_owned()));
    let of_y = primary.iter().map(|op| (&pair.y, *op, table("us-west-2")));
    for (side, operation, resource) in of_x.chain(of_stream).chain(of_y) {
        let fault = side.fault(FaultRule::on(operation).fault(Fault::AccessDenied));
        let output = run();
        side.remove_fault(fault);
        let report = json(&output);
        let grant = format!("grant dynamodb:{operation} on {resource} (replicate-");
        assert!(said(&report, "permissions").contains(&grant), "{operation}: no {grant}: {report}");
        assert_eq!(output.status.code(), Some(1), "{operation}");
    }
    assert_eq!((pair.x.items_put(), pair.y.items_put(), pair.y.items_deleted()), (0, 0, 0), "it only reads");
    let writes = |op: &str| pair.x.calls(op) + pair.y.calls(op);
    assert_eq!(writes("UpdateTable") + writes("UpdateTimeToLive") + writes("GetRecords"), 0);
}

#[tokio::test]
async fn a_region_that_is_gone_or_hangs_ends_in_time_and_is_no_success() {
    let pair = Pair::new();
    for door in [Door::Cut, Door::Blackhole] {
        pair.x.set_door(door);
        let begun = Instant::now();
        let output = doctor(&pair.home.config(), &["--online", "--json"]);
        let report = json(&output);
        assert!(begun.elapsed().as_secs() < 30, "{door:?}: {:?}", begun.elapsed());
        assert_eq!(output.status.code(), Some(1), "{door:?}");
        assert!(bad(&report).contains(&"orders answers problem".to_owned()), "{door:?}: {report}");
        assert!(said(&report, "deletion_protection").contains("us-west-2"), "the other end is judged: {report}");
        assert!(said(&report, "key_schema").is_empty(), "and what needs both is not: {report}");
    }
}
