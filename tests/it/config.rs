//! The configuration: every mistake alone, all at once, and texts that nobody meant.

mod buckets;
mod canary;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll::config::{self, Checked, Problem, Severity};
use plimsoll::promote::Repeat;
use plimsoll::stores::KINDS;
use proptest::prelude::*;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect(name)
}

/// Compares with a file of the repository; `PLIMSOLL_BLESS=1` rewrites it.
pub(crate) fn golden(path: &str, actual: &str) {
    let path = root().join(path);
    if std::env::var_os("PLIMSOLL_BLESS").is_some() {
        fs::write(&path, actual).expect("written");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(actual == expected, "{} differs; PLIMSOLL_BLESS=1 rewrites it. Now:\n{actual}", path.display());
}

fn accepted(text: &str) -> Checked {
    config::read(text, "test.toml").unwrap_or_else(|problems| panic!("{}", listed(&problems)))
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut out, problem| {
        writeln!(out, "{problem}").expect("a String takes everything");
        out
    })
}

/// The examples name no tokens file, which would have to exist.
fn only_tokens_are_missing(checked: &Checked) {
    let paths: Vec<_> = checked.warnings.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["serve.tokens_file"], "{}", listed(&checked.warnings));
}

/// The one problem of a text, as displayed.
fn refused(text: &str) -> String {
    let problems = config::read(text, "test.toml").expect_err("refused");
    assert_eq!(problems.len(), 1, "{}", listed(&problems));
    problems[0].to_string()
}

const BASE: &str = r#"app = "shop"
[primary]
region = "us-east-1"
[standby]
region = "us-west-2"
[serve]
listen = "127.0.0.1:9187"
tokens_file = "t"
[[store]]
id = "orders"
kind = "dynamodb"
mode = "replicate"
table = "orders"
[promote]
[[promote.step]]
id = "switch"
kind = "command"
run = ["switch"]
repeat = "safe"
[[promote.step]]
id = "answers"
kind = "http-probe"
url = "https://y.example.com/"
"#;

#[test]
fn the_base_of_these_tests_is_accepted_and_understood() {
    let Checked { config, warnings } = accepted(BASE);
    assert!(warnings.is_empty(), "{}", listed(&warnings));
    assert_eq!(config.stores[0].settings.ends(), ("orders".to_owned(), "orders".to_owned()));
    assert_eq!(config.stores[0].rpo, Duration::from_secs(60));
    assert_eq!(config.stores[0].settings.floor(), Duration::from_secs(17));
    assert_eq!(config.objectives.rto, Duration::from_secs(900));
    assert_eq!(config.promote.catch_up, Duration::from_secs(30));
    assert_eq!(config.promote.steps.len(), 2);
    let config::StepKind::Command { repeat, check, .. } = &config.promote.steps[0].what else { panic!("a command") };
    assert_eq!((*repeat, check), (Repeat::Safe, &None));
    assert!(config.promote.steps[0].required);
}

/// Keys of the other mode are told, and what an observed table can prove at best.
#[test]
fn an_observed_table_has_its_own_keys_and_floor() {
    let with = |lines: &str| accepted(&BASE.replace("mode = \"replicate\"", lines));
    let Checked { config, warnings } = with("mode = \"observe\"\ncanary_every = \"5s\"");
    assert!(warnings.is_empty(), "{}", listed(&warnings));
    assert_eq!(config.stores[0].settings.floor(), Duration::from_secs(10));
    let Checked { config, warnings } = with("mode = \"observe\"\npoll_max = \"3s\"\npropagation = \"10s\"");
    assert_eq!(config.stores[0].settings.floor(), Duration::from_secs(300));
    let told = listed(&warnings);
    assert!(told.contains("poll_max: has no effect with mode = \"observe\"; remove it"), "{told}");
    assert!(told.contains("below the 5m that an idle store can prove") && told.contains("set canary_every"), "{told}");
    assert!(!told.contains("propagation: has no effect"), "the default harms nobody: {told}");
    let told = listed(&with("mode = \"replicate\"\ncanary_every = \"5s\"").warnings);
    assert!(told.contains("canary_every: says nothing while there are no canaries"), "{told}");
}

/// `(what to replace in BASE, with what, what the problem must say)`.
const MISTAKES: &[(&str, &str, &[&str])] = &[
    ("app = \"shop\"\n", "", &["error: app: missing; write app = \"shop\""]),
    ("app = \"shop\"", "app = \"\"", &["error: app: empty"]),
    ("app = \"shop\"", "app = 1", &["error: app: a text is needed here, and this is an integer", "test.toml:1  (1)"]),
    (
        "app = \"shop\"",
        "app = \"shop\"\nobjektives = 1",
        &["objektives: unknown key; did you mean \"objectives\"?", ":2"],
    ),
    ("app = \"shop\"", "app = \"shop\"\nobjectives = 1", &["objectives: a table is needed", "write [objectives]"]),
    ("[primary]\nregion = \"us-east-1\"\n", "", &["primary.region: missing, and so is its table [primary]"]),
    ("us-east-1", "us-east-1b", &["primary.region: an availability zone", "write region = \"us-east-1\""]),
    ("us-east-1", "Virginia", &["primary.region: not the name of a region"]),
    ("us-east-1", "us-west-2", &["the same region as the primary", "a source that is its own target"]),
    (
        "[standby]",
        "endpoint_url = \"http://10.0.0.1\"\n[standby]",
        &["primary.endpoint_url: plain http:// is accepted on loopback only"],
    ),
    ("[standby]", "endpoint_url = \"aws\"\n[standby]", &["primary.endpoint_url: not an http:// or https:// URL"]),
    ("[standby]", "endpoint_url = \"https://me:pw123@h/\"\n[standby]", &["holds a user or a password"]),
    ("127.0.0.1:9187", "localhost:9187", &["serve.listen: not an address and a port", "127.0.0.1:9187"]),
    (
        "127.0.0.1:9187\"\ntokens_file = \"t\"",
        "0.0.0.0:9187\"\ncert_file = \"c\"\nkey_file = \"k\"",
        &["serve.listen: reachable from other machines, and no tokens_file"],
    ),
    ("127.0.0.1:9187\"", "0.0.0.0:9187\"", &["serve.listen: reachable from other machines, and tokens would cross"]),
    (
        "127.0.0.1:9187\"",
        "127.0.0.1:1\"\ncert_file = \"c\"",
        &["serve.cert_file: a certificate without its private key"],
    ),
    ("127.0.0.1:9187\"", "127.0.0.1:1\"\nkey_file = \"c\"", &["serve.key_file: a private key without its certificate"]),
    (
        "127.0.0.1:9187\"",
        "127.0.0.1:1\"\nclient_ca_file = \"c\"",
        &["serve.client_ca_file: client certificates need TLS"],
    ),
    ("id = \"orders\"", "id = \"Orders\"", &["store[0].id: cannot be an id", "(\"Orders\")"]),
    (
        "kind = \"dynamodb\"",
        "kind = \"dynamo\"",
        &["store \"orders\".kind: unknown kind", "known kinds: ", "\"dynamodb\""],
    ),
    (
        "mode = \"replicate\"",
        "mode = \"replicat\"",
        &["store \"orders\".mode: unknown mode; did you mean \"replicate\"?"],
    ),
    (
        "mode = \"replicate\"",
        "mode = \"observe\"\nmetric = false",
        &["metric: neither a canary nor the metric: nothing to observe by; write canary_every"],
    ),
    (
        "mode = \"replicate\"\ntable = \"orders\"",
        "mode = \"observe\"\ntable = \"orders\"\nstandby_table = \"others\"",
        &["standby_table: a global table has one name in every region; remove it"],
    ),
    ("mode = \"replicate\"", "mode = \"observe\"\ncanary_every = \"1ms\"", &["canary_every: shorter than \"100ms\""]),
    ("mode = \"replicate\"\n", "", &["store \"orders\".mode: missing", "test.toml:9"]),
    (
        "table = \"orders\"",
        "tabel = \"orders\"",
        &["store \"orders\".table: missing", "store \"orders\".tabel: unknown key; did you mean \"table\"?"],
    ),
    ("table = \"orders\"", "table = \"o\"", &["store \"orders\".table: cannot be the name of a table"]),
    ("table = \"orders\"", "table = \"orders\"\nbucket = \"b\"", &["bucket: unknown key; known here: id, kind"]),
    (
        "table = \"orders\"",
        "table = \"orders\"\nrpo = \"30\"",
        &["rpo: not a duration; the unit is missing: write \"30s\""],
    ),
    ("table = \"orders\"", "table = \"orders\"\nrpo = 30", &["rpo: not a duration", "rpo = \"30s\""]),
    ("table = \"orders\"", "table = \"orders\"\nrpo = \"0s\"", &["rpo: shorter than \"1s\""]),
    ("table = \"orders\"", "table = \"orders\"\npoll_max = \"2m\"", &["poll_max: longer than \"60s\""]),
    ("table = \"orders\"", "table = \"orders\"\npoll_min = \"3s\"", &["poll_min 3s is longer than poll_max 2s"]),
    (
        "table = \"orders\"",
        "table = \"orders\"\nempty_run = 0",
        &["empty_run: out of bounds; write a whole number from 1"],
    ),
    ("table = \"orders\"", "table = \"orders\"\nempty_run = -1", &["empty_run: out of bounds"]),
    ("table = \"orders\"", "table = \"orders\"\nempty_run = 99999999999999999999", &["empty_run: out of bounds"]),
    (
        "table = \"orders\"",
        "table = \"orders\"\nmax_request_life = \"9s\"",
        &["max_request_life: below twice attempt_timeout (10s)"],
    ),
    (
        "kind = \"command\"",
        "kind = \"comand\"",
        &["promote.step \"switch\".kind: unknown kind; did you mean \"command\"?"],
    ),
    ("repeat = \"safe\"\n", "", &["promote.step \"switch\": nobody could tell", "check = "]),
    (
        "repeat = \"safe\"",
        "repeat = \"safe\"\ncheck = [\"c\"]",
        &["promote.step \"switch\".repeat: given beside check"],
    ),
    ("repeat = \"safe\"", "repeat = \"always\"", &["promote.step \"switch\".repeat: unknown repeat"]),
    ("run = [\"switch\"]", "run = \"switch\"", &["run: a list of texts is needed here"]),
    ("run = [\"switch\"]", "run = []", &["run: names no program"]),
    (
        "run = [\"switch\"]",
        "run = [\"switch\"]\nneeds = [\"answer\"]",
        &["needs: no step of yours has the id \"answer\"; did you mean \"answers\"?"],
    ),
    (
        "run = [\"switch\"]",
        "run = [\"switch\"]\nneeds = [\"switch\"]",
        &["needs: waits for itself: switch needs switch"],
    ),
    ("run = [\"switch\"]", "run = [\"switch\"]\ndeadline = \"0s\"", &["deadline: shorter than \"1s\""]),
    ("id = \"answers\"", "id = \"switch\"", &["promote.step[1].id: a second step of this id; the first is in line 15"]),
    ("https://y.example.com/", "y.example.com", &["url: not an http:// or https:// URL"]),
    ("url = ", "run = [\"x\"]\nurl = ", &["promote.step \"answers\".run: unknown key"]),
    ("url = ", "expect_status = 1000\nurl = ", &["expect_status: out of bounds"]),
    ("[[store]]\n", "[store]\n", &["store: a list of tables is needed here, and this is a table; write [[store]]"]),
    ("[promote]\n", "[primary]\n", &["this key or table stands twice"]),
    ("[promote]\n", "promote]\n", &["not TOML"]),
];

#[test]
fn each_mistake_is_named_with_its_place_and_what_to_write() {
    for (old, new, says) in MISTAKES {
        assert!(BASE.contains(old), "{old}");
        let text = BASE.replacen(old, new, 1);
        let problems = config::read(&text, "test.toml").expect_err(new);
        let shown = listed(&problems);
        for words in *says {
            assert!(shown.contains(words), "{new:?} must say {words:?}; it says\n{shown}");
        }
        assert!(problems.iter().all(|p| p.hint.is_some()), "{shown}");
        assert!(problems.iter().all(|p| p.line.is_some() || p.what.starts_with("missing")), "{shown}");
        assert!(!shown.contains("pw123"), "{shown}");
        assert!(problems.len() <= 2, "{new:?} is one mistake, and these are its problems:\n{shown}");
    }
}

#[test]
fn all_mistakes_at_once_are_reported_in_one_run() {
    let text = file("tests/it/golden/all-mistakes.toml");
    let problems = config::read(&text, "all-mistakes.toml").expect_err("refused");
    golden("tests/it/golden/all-mistakes.txt", &listed(&problems));
    assert!(!listed(&problems).contains("secret"), "a password is shown");
    assert!(problems.len() >= 35, "{}", problems.len());
}

#[test]
fn stores_that_touch_each_others_places_are_refused() {
    let second = "[[store]]\nid = \"b\"\nkind = \"dynamodb\"\nmode = \"replicate\"\n";
    let same_target = format!("{BASE}{second}table = \"b-table\"\nstandby_table = \"orders\"\n");
    let shown = refused(&same_target);
    assert!(shown.contains("store \"b\": writes to \"orders\" in us-west-2, as store \"orders\" does"), "{shown}");
    let same_id = format!("{BASE}{}table = \"b-table\"\n", second.replace("\"b\"", "\"orders\""));
    let shown = refused(&same_id);
    assert!(shown.contains("store[1].id: a second store of this id; the first is in line 9"), "{shown}");
}

#[test]
fn one_region_twice_is_for_two_endpoints_only() {
    let one = BASE.replace("us-west-2", "us-east-1");
    let ends = |x: &str, y: &str| {
        one.replace("[standby]\n", &format!("endpoint_url = \"{x}\"\n[standby]\nendpoint_url = \"{y}\"\n"))
    };
    accepted(&ends("http://127.0.0.1:4566", "http://127.0.0.1:4567"));
    accepted(&ends("http://localhost:4566", "http://[::1]:4567"));
    for (x, y) in
        [("http://127.0.0.1:4566", "http://127.0.0.1:4566/"), ("http://localhost:4566", "http://127.0.0.1:4566")]
    {
        let shown = listed(&config::read(&ends(x, y), "t").expect_err("the same place"));
        assert!(shown.contains("the same region as the primary") && shown.contains("its own target"), "{shown}");
    }
}

#[test]
fn an_objective_below_what_an_idle_store_can_prove_is_a_warning_that_says_what_to_set() {
    let checked = accepted(&BASE.replace("table = \"orders\"", "table = \"orders\"\nrpo = \"10s\""));
    let shown = listed(&checked.warnings);
    assert!(shown.starts_with("warning: store \"orders\".rpo: an objective of 10s is below the 17s"), "{shown}");
    assert!(shown.contains("set rpo = \"17s\" or more") && shown.contains("poll_max 2s"), "{shown}");
    assert_eq!(checked.warnings[0].severity, Severity::Warning);
}

#[test]
fn a_request_life_follows_the_attempt_timeout() {
    let life = |keys: &str| {
        let checked = accepted(&BASE.replace("table = \"orders\"", &format!("table = \"orders\"\n{keys}")));
        format!("{:?}", checked.config.stores[0].settings)
    };
    assert!(life("").contains("max_request_life: 10s"));
    assert!(life("attempt_timeout = \"20s\"").contains("max_request_life: 40s"));
    assert!(life("attempt_timeout = \"1s\"\nmax_request_life = \"2s\"").contains("max_request_life: 2s"));
}

#[test]
fn needs_that_go_round_are_shown_as_a_way() {
    let text = BASE
        .replace("repeat = \"safe\"", "repeat = \"safe\"\nneeds = [\"answers\"]")
        .replace("url = ", "needs = [\"switch\"]\nurl = ");
    let shown = listed(&config::read(&text, "t").expect_err("a circle"));
    assert!(shown.contains("waits for itself: switch needs answers needs switch"), "{shown}");
    assert!(shown.contains("waits for itself: answers needs switch needs answers"), "{shown}");
}

#[test]
fn golden_document_of_every_key_is_generated_and_accepted() {
    golden("config/plimsoll.toml", &config::document());
    let checked = accepted(&config::document());
    // With the objective of the whole application alone, what a kind can prove may be less.
    let paths: Vec<_> = checked.warnings.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["serve.tokens_file", "store \"uploads\".rpo"], "{}", listed(&checked.warnings));
    // What is documented as its default is its default.
    let minimal = accepted(&file("config/minimal.toml"));
    assert_eq!(format!("{:?}", checked.config.stores[0]), format!("{:?}", minimal.config.stores[0]));
    for (kind, store) in KINDS.iter().zip(&checked.config.stores) {
        let must = kind.keys.iter().filter(|key| key.need == config::Need::Required);
        let bare: String = must.map(|key| format!("{} = {}\n", key.name, key.value)).collect();
        let head = "app = \"a\"\n[primary]\nregion = \"us-east-1\"\n[standby]\nregion = \"us-west-2\"\n[[store]]\n";
        let text = format!("{head}id = \"{}\"\nkind = \"{}\"\nmode = \"replicate\"\n{bare}", store.id, kind.name);
        assert_eq!(format!("{:?}", accepted(&text).config.stores), format!("{:?}", [store]), "{}", kind.name);
    }
    assert_eq!(checked.config.serve, minimal.config.serve);
    assert_eq!(checked.config.objectives, minimal.config.objectives);
    assert_eq!(checked.config.index_path, minimal.config.index_path);
}

#[test]
fn every_documented_key_is_known_to_the_reader() {
    // Both of check and repeat stand in it, and http:// endpoints; what must not be there is an unknown key.
    let everything = config::document().replace("#? ", "");
    let problems = config::read(&everything, "t").err().unwrap_or_default();
    let unknown: Vec<_> =
        problems.iter().filter(|p| p.what != "given beside check" && p.severity == Severity::Error).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(problems.iter().any(|p| p.what == "given beside check"), "the steps were read too");
}

#[test]
fn the_examples_are_accepted() {
    for name in ["config/minimal.toml", "config/full.toml"] {
        let checked = config::load(&root().join(name)).unwrap_or_else(|p| panic!("{}", listed(&p)));
        only_tokens_are_missing(&checked);
    }
    let full = file("config/full.toml");
    for kind in KINDS {
        assert!(full.contains(kind.example), "config/full.toml holds the example of {} as it is", kind.name);
        accepted(&format!(
            "app = \"a\"\n[primary]\nregion = \"us-east-1\"\n[standby]\nregion = \"us-west-2\"\n{}",
            kind.example
        ));
    }
}

#[test]
fn files_that_are_named_must_be_there_and_be_private() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    let full = file("config/full.toml").replace("/etc/plimsoll/", &format!("{}/", dir.path().display()));
    let full = ["tokens_file", "cert_file", "key_file", "client_ca_file"]
        .iter()
        .fold(full, |text, key| text.replace(&format!("# {key} ="), &format!("{key} =")));
    let toml = at("plimsoll.toml");
    fs::write(&toml, full).expect("written");
    let missing = config::load(&toml).expect_err("no such files");
    assert_eq!(missing.len(), 4, "{}", listed(&missing));
    assert!(missing.iter().all(|p| p.what.contains("No such file")), "{}", listed(&missing));

    fs::create_dir(at("tls")).expect("a folder");
    for (name, mode) in [("tokens", 0o600), ("tls/cert.pem", 0o644), ("tls/key.pem", 0o600), ("tls/clients.pem", 0o644)]
    {
        fs::write(at(name), "").expect("written");
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("chmod");
    }
    assert!(config::load(&toml).is_ok());
    fs::set_permissions(at("tokens"), fs::Permissions::from_mode(0o644)).expect("chmod");
    fs::set_permissions(at("tls/key.pem"), fs::Permissions::from_mode(0o620)).expect("chmod");
    let open = listed(&config::load(&toml).expect_err("open to others"));
    assert!(open.contains("serve.tokens_file: open to others (mode 0644); run: chmod 0600"), "{open}");
    assert!(open.contains("serve.key_file: open to others (mode 0620)"), "{open}");
    fs::remove_file(at("tokens")).expect("removed");
    fs::create_dir(at("tokens")).expect("a folder");
    assert!(listed(&config::load(&toml).expect_err("a folder")).contains("serve.tokens_file: not a file"));
    fs::remove_dir(at("tokens")).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(at("tokens")).status().expect("mkfifo runs");
    assert!(made.success());
    assert!(listed(&config::load(&toml).expect_err("a pipe")).contains("serve.tokens_file: not a file"));
}

#[test]
fn a_file_that_is_no_configuration_is_refused_with_a_sentence() {
    let dir = tempfile::tempdir().expect("a folder");
    let says = |path: &Path, words: &str| {
        let problems = config::load(path).expect_err(words);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains(words), "{}", problems[0]);
    };
    says(&dir.path().join("absent.toml"), "No such file");
    says(dir.path(), "it is a folder");
    let path = dir.path().join("a.toml");
    fs::write(&path, vec![b'#'; 10_000_000]).expect("written");
    says(&path, "more than 1024 KiB");
    says(Path::new("/dev/zero"), "more than 1024 KiB");
    fs::write(&path, b"app = \"x\"\n# \xff\n").expect("written");
    says(&path, "not UTF-8 text: the first wrong byte is in line 2");
    fs::write(&path, "").expect("written");
    assert!(listed(&config::load(&path).expect_err("empty")).contains("error: app: missing"));
}

#[test]
fn the_built_in_steps_keep_their_ids() {
    let shown = refused(&BASE.replace("\"answers\"", "\"fence\""));
    assert!(shown.contains("promote.step[1].id: the id of a step that every promotion has"), "{shown}");
    let shown = refused(&BASE.replace("url = ", "needs = [\"fence\"]\nurl = "));
    assert!(shown.contains("leave it out: it is always done first"), "{shown}");
}

#[test]
fn an_absurd_number_of_steps_is_refused_at_once() {
    let steps = (0..9_000).fold(String::new(), |mut out, n| {
        let need = (n + 1) % 9_000;
        writeln!(out, "[[promote.step]]\nid = \"s{n}\"\nkind = \"command\"\nrun = [\"x\"]\nrepeat = \"safe\"\nneeds = [\"s{need}\"]")
            .expect("a String takes everything");
        out
    });
    let begun = std::time::Instant::now();
    let problems = config::read(&format!("{BASE}{steps}"), "t").expect_err("refused");
    assert!(listed(&problems).contains("promote.step: more than 256 steps"));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn no_truncation_of_the_full_example_panics() {
    let full = file("config/full.toml");
    for end in (0..full.len()).filter(|end| full.is_char_boundary(*end)) {
        let (head, _) = full.split_at(end);
        if let Err(problems) = config::read(head, "t") {
            assert!(!problems.is_empty());
        }
    }
}

#[test]
fn deep_and_wide_texts_end_in_a_sentence() {
    for text in [
        "[".repeat(100_000),
        format!("a = {}", "[".repeat(100_000)),
        "a.".repeat(100_000),
        "[[store]]\n".repeat(20_000),
    ] {
        assert!(config::read(&text, "t").is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_flipped_bytes_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = file("config/full.toml").into_bytes();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Err(problems) = config::read(&text, "t") {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(!problem.to_string().is_empty());
            }
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,400}") {
        prop_assert!(config::read(&text, "t").is_err());
    }
}
