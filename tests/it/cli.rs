//! The program as it is typed: outputs and exit codes.

use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

use crate::config::{golden, root};

fn plimsoll(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(args).current_dir(root()).output().expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn check_says_ok_with_the_numbers() {
    let output = plimsoll(&["check", "-c", "config/full.toml"]);
    let said = (output.status.code(), out(&output));
    assert_eq!(said, (Some(0), "ok: 6 stores, 3 steps, 1 warning\n".to_owned()), "{}", err(&output));
    assert!(err(&output).starts_with("warning: serve.tokens_file: missing, so nobody may call"), "{}", err(&output));
    let output = plimsoll(&["check", "--config", "config/minimal.toml"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), "ok: 1 store, 0 steps, 1 warning\n"));
}

#[test]
fn check_and_run_refuse_with_the_same_words_and_78() {
    let path = "tests/it/golden/all-mistakes.toml";
    let check = plimsoll(&["check", "-c", path]);
    let run = plimsoll(&["run", "-c", path]);
    assert_eq!((check.status.code(), run.status.code()), (Some(78), Some(78)));
    assert_eq!(err(&check), err(&run));
    assert_eq!(out(&check), "");
    golden("tests/it/golden/check.txt", &err(&check));
    let absent = plimsoll(&["run", "-c", "absent.toml"]);
    assert_eq!(absent.status.code(), Some(78));
    assert!(err(&absent).starts_with("error: cannot be read: No such file"), "{}", err(&absent));
}

#[test]
fn a_warning_is_said_and_the_configuration_accepted() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a.toml");
    let minimal = std::fs::read_to_string(root().join("config/minimal.toml")).expect("there");
    std::fs::write(&path, minimal.replace("table =", "rpo = \"5s\"\ntable =")).expect("written");
    let output = plimsoll(&["check", "-c", path.to_str().expect("text")]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), "ok: 1 store, 0 steps, 2 warnings\n"));
    assert!(err(&output).contains("warning: store \"orders\".rpo: "), "{}", err(&output));
}

#[test]
fn a_token_is_printed_once_with_the_line_that_admits_it() {
    let mut seen = std::collections::BTreeSet::new();
    for role in ["viewer", "operator", "approver"] {
        let output = plimsoll(&["token", "new", "--name", "on-call@x.org", "--role", role]);
        assert!(output.status.success());
        let text = out(&output);
        let lines: Vec<&str> = text.lines().collect();
        let [token, line] = lines[..] else { panic!("two lines: {text}") };
        let token = token.strip_prefix("token: ").expect("first the token");
        let secret = token.strip_prefix("plk_").expect("a prefix to know it by");
        assert_eq!(secret.len(), 43, "256 bits in base 64");
        assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let digest: String = Sha256::digest(token.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(line, format!("line: on-call@x.org {role} {digest}"));
        assert!(err(&output).contains("serve.tokens_file"));
        assert!(!err(&output).contains(secret), "the token is not repeated");
        assert!(seen.insert(token.to_owned()));
    }
    for bad in
        [["--name", "a b", "--role", "viewer"], ["--name", "a", "--role", "root"], ["--name", "", "--role", "viewer"]]
    {
        let output = plimsoll(&[&["token", "new"], &bad[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn config_default_is_the_file_in_the_repository() {
    let output = plimsoll(&["config", "default"]);
    assert!(output.status.success());
    golden("config/plimsoll.toml", &out(&output));
}

#[test]
fn help_shows_an_example_and_version_a_version() {
    for args in [
        vec!["--help"],
        vec!["run", "--help"],
        vec!["check", "--help"],
        vec!["token", "new", "--help"],
        vec!["config", "default", "--help"],
    ] {
        let output = plimsoll(&args);
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains("Example"), "{args:?}: {}", out(&output));
    }
    assert_eq!(out(&plimsoll(&["--version"])), format!("plimsoll {}\n", env!("CARGO_PKG_VERSION")));
    let nothing = plimsoll(&[]);
    assert_eq!(nothing.status.code(), Some(2));
}
