//! Without asking anybody.

use super::{bad, doctor, err, json, out};
use crate::config::root;

#[test]
fn a_configuration_alone_is_judged_without_a_call() {
    let output = doctor(&root().join("config/full.toml"), &[]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", err(&output));
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("it is us-east-1: the control planes of IAM, Route 53, CloudFront"), "{text}");
    assert!(text.ends_with("nobody was asked: --online asks both regions\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100 || line.starts_with("    $ ")), "{text}");
    let report = json(&doctor(&root().join("config/full.toml"), &["--json"]));
    assert_eq!((report["online"].as_bool(), report["problems"].as_u64()), (Some(false), Some(0)));
    assert_eq!(report["app"], "shop");
    assert!(report["findings"].as_array().is_some_and(|all| all.iter().all(|f| f["check"] != "answers")), "{report}");
    assert!(bad(&report).contains(&"- configuration warning".to_owned()), "what check warns of: {report}");
}

#[test]
fn a_refused_configuration_is_refused_in_the_words_of_check() {
    let output = doctor(&root().join("tests/it/golden/all-mistakes.toml"), &["--online"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(78), ""));
    assert!(err(&output).contains("errors in "), "{}", err(&output));
}

#[test]
fn policies_are_printed_with_the_names_filled_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("two.toml");
    let text = r#"app = "shop"
[primary]
region = "eu-west-1"
[standby]
region = "eu-central-1"
[[store]]
id = "orders"
kind = "dynamodb"
mode = "replicate"
table = "orders-x"
standby_table = "orders-y"
[[store]]
id = "carts"
kind = "dynamodb"
mode = "replicate"
table = "carts"
"#;
    std::fs::write(&path, text).expect("written");
    let output = doctor(&path, &["--policies"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let policies = json(&output);
    let roles: Vec<&String> = policies.as_object().expect("by role").keys().collect();
    assert_eq!(roles, ["canary-x", "promote-y", "replicate-read-x", "replicate-write-y"]);
    let read = &policies["replicate-read-x"]["Statement"];
    let arn = |region: &str, table: &str| format!("arn:aws:dynamodb:{region}:ACCOUNT:table/{table}");
    let tables = serde_json::json!([arn("eu-west-1", "orders-x"), arn("eu-west-1", "carts")]);
    assert_eq!(read[0]["Resource"], tables);
    assert_eq!(read[1]["Resource"][1], format!("{}/stream/*", arn("eu-west-1", "carts")));
    let write = &policies["replicate-write-y"]["Statement"][0]["Resource"];
    assert_eq!(*write, serde_json::json!([arn("eu-central-1", "orders-y"), arn("eu-central-1", "carts")]));
    let text = policies.to_string();
    assert!(!text.contains("REGION_") && !text.contains("TABLE"), "{text}");
    // The same in --json, for tools.
    assert_eq!(json(&doctor(&path, &["--json"]))["policies"], policies);
}
