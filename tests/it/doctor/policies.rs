//! IA-3 .. IA-5: the policies that are shipped grant what the code calls, and nothing else.

mod buckets;

use std::collections::BTreeSet;
use std::path::Path;

use plimsoll::stores::End;
use plimsoll::stores::contract::IamPolicy;
use plimsoll::stores::dynamodb::operations::{CANARY_X, OF_OBSERVE, OF_REPLICATE, OPERATIONS, READ_X};
use serde_json::Value as Json;

use crate::config::root;

/// Every policy, as shipped.
fn shipped() -> impl Iterator<Item = &'static IamPolicy> {
    OF_REPLICATE.iter().chain(OF_OBSERVE)
}

/// Every operation of DynamoDB and its streams that takes a table, an item or a stream.
const ALL: &[&str] = &[
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "CreateBackup",
    "CreateTable",
    "DeleteBackup",
    "DeleteItem",
    "DeleteTable",
    "DescribeBackup",
    "DescribeContinuousBackups",
    "DescribeContributorInsights",
    "DescribeEndpoints",
    "DescribeExport",
    "DescribeGlobalTable",
    "DescribeImport",
    "DescribeLimits",
    "DescribeStream",
    "DescribeTable",
    "DescribeTableReplicaAutoScaling",
    "DescribeTimeToLive",
    "ExecuteStatement",
    "ExecuteTransaction",
    "ExportTableToPointInTime",
    "GetItem",
    "GetRecords",
    "GetResourcePolicy",
    "GetShardIterator",
    "ImportTable",
    "ListBackups",
    "ListExports",
    "ListGlobalTables",
    "ListImports",
    "ListStreams",
    "ListTables",
    "ListTagsOfResource",
    "PutItem",
    "PutResourcePolicy",
    "Query",
    "RestoreTableFromBackup",
    "RestoreTableToPointInTime",
    "Scan",
    "TagResource",
    "TransactGetItems",
    "TransactWriteItems",
    "UntagResource",
    "UpdateContinuousBackups",
    "UpdateGlobalTable",
    "UpdateItem",
    "UpdateTable",
    "UpdateTimeToLive",
];

/// `describe_table` of `DescribeTable`.
fn method(operation: &str) -> String {
    let mut name = String::new();
    for c in operation.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// The operations that the code of the kind calls: `client.describe_table()`.
fn called() -> BTreeSet<&'static str> {
    let mut text = String::new();
    sources(&root().join("src/stores/dynamodb"), &mut text);
    assert!(text.len() > 50_000, "the sources are found");
    let calls = |operation: &&&str| text.contains(&format!(".{}()", method(operation)));
    ALL.iter().filter(calls).copied().collect()
}

/// Everything but tests.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "tests" {
            sources(&path, text);
        } else if name.ends_with(".rs") && !name.contains("tests") && name != "testing.rs" {
            let file = std::fs::read_to_string(&path).expect("text");
            text.push_str(file.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
        }
    }
}

/// `(action without its service, resource)` of every statement, all of them allowing.
fn grants(text: &str) -> Vec<(String, String)> {
    let document: Json = serde_json::from_str(text).expect("a policy is JSON");
    assert_eq!(document["Version"], "2012-10-17");
    let list = |value: &Json| -> Vec<String> {
        let many = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        many.iter().map(|one| one.as_str().expect("text").to_owned()).collect()
    };
    let mut granted = Vec::new();
    for statement in document["Statement"].as_array().expect("statements") {
        assert_eq!(statement["Effect"], "Allow");
        for action in list(&statement["Action"]) {
            // The one call to another service, which knows no resources.
            let Some(action) = action.strip_prefix("dynamodb:").map(str::to_owned) else {
                assert_eq!((action.as_str(), &statement["Resource"]), ("cloudwatch:GetMetricData", &Json::from("*")));
                continue;
            };
            assert!(!action.contains('*'), "{action}: a star is not the least");
            for resource in list(&statement["Resource"]) {
                granted.push((action.clone(), resource));
            }
        }
    }
    granted
}

#[test]
fn the_table_of_operations_is_what_the_code_calls() {
    let listed: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    let called = called();
    let unlisted: Vec<_> = called.difference(&listed).collect();
    assert!(unlisted.is_empty(), "called, and not in OPERATIONS (src/stores/dynamodb/operations.rs): {unlisted:?}");
    let stale: Vec<_> = listed.difference(&called).collect();
    assert!(stale.is_empty(), "in OPERATIONS, and called by nobody: {stale:?}");
}

#[test]
fn ia3_every_operation_is_granted_by_its_role_on_the_right_resource() {
    for operation in OPERATIONS {
        let policy = shipped().find(|policy| policy.role == operation.role).expect("a policy of that role");
        assert_eq!(policy.end, operation.end, "{operation:?}");
        let region = if operation.end == End::Primary { "REGION_X" } else { "REGION_Y" };
        let table = format!("arn:aws:dynamodb:{region}:ACCOUNT:table/TABLE");
        let resource = match operation.name {
            "DescribeStream" | "GetRecords" | "GetShardIterator" => format!("{table}/stream/*"),
            _ => table,
        };
        let granted = grants(policy.text);
        let wanted = (operation.name.to_owned(), resource);
        assert!(granted.contains(&wanted), "config/iam/{}.json does not grant {wanted:?}", policy.role);
    }
}

#[test]
fn ia3_nothing_is_granted_that_is_not_called_and_prod_x_is_not_written() {
    for policy in shipped() {
        for (action, _) in grants(policy.text) {
            let used = OPERATIONS.iter().any(|o| o.role == policy.role && o.name == action);
            assert!(used, "{} grants {action}, which nothing calls", policy.role);
        }
    }
    let read = shipped().find(|policy| policy.role == READ_X).expect("it is there");
    let reads = |action: &str| ["BatchGet", "Describe", "Get", "Scan"].iter().any(|verb| action.starts_with(verb));
    assert!(grants(read.text).iter().all(|(action, _)| reads(action)), "{}", read.text);
    let canary = shipped().find(|policy| policy.role == CANARY_X).expect("it is there");
    let document: Json = serde_json::from_str(canary.text).expect("JSON");
    let leading = &document["Statement"][0]["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
    assert_eq!(*leading, serde_json::json!(["__rpo_canary#*"]), "a canary writes no item of yours");
}

#[test]
fn every_policy_file_is_shipped_listed_and_explained() {
    let folder = root().join("config/iam");
    let readme = std::fs::read_to_string(folder.join("README.md")).expect("there");
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    files.sort();
    let all: Vec<&IamPolicy> = shipped().chain(buckets::shipped()).collect();
    let mut listed: Vec<String> = all.iter().map(|policy| format!("{}.json", policy.role)).collect();
    listed.sort();
    assert_eq!(files, listed);
    for policy in all {
        let file = format!("{}.json", policy.role);
        assert_eq!(std::fs::read_to_string(folder.join(&file)).expect("there"), policy.text);
        assert!(readme.contains(&format!("`{file}`")), "README.md does not name {file}");
        for (action, _) in buckets::grants(policy.text) {
            let bare = action.split(':').nth(1).unwrap_or(&action);
            let said = readme.contains(&format!("`{bare}`")) || readme.contains(&format!("`{action}`"));
            assert!(said, "README.md does not say what {action} is for");
        }
    }
}
