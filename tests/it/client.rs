//! The client commands as an operator runs them: the real program, against a real server with real promotions on an index in
//! memory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use plimsoll::config;
use plimsoll::promote::{CatchUp, Flow, Inputs, Kept, Promotions, Repeat, StepId};
use plimsoll::seams::{SharedClock, SystemClock, SystemIds};
use plimsoll::serve::auth::Tokens;
use plimsoll::serve::{Limits, Promoting};
use plimsoll::supervise::Tasks;
use plimsoll::watermark::memory::MemoryIndex;
use plimsoll::watermark::{Index, Mark, Txn};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::serve::fixture::{APPROVER, Parts, VIEWER, fresh_mark, launch, orders, terms, write_tokens};

/// A flow that has nothing left to do.
struct Still;

#[async_trait]
impl Flow for Still {
    async fn catch_up(&self, _: Duration) -> Vec<CatchUp> {
        vec![CatchUp { store: orders(), left: 0, why: "nothing left".into() }]
    }
    async fn close(&self) -> Result<(), String> {
        Ok(())
    }
    fn reopen(&self) {}
}

fn step(run: &[&str], check: Option<&[&str]>, deadline: u64) -> config::StepConfig {
    let words = |argv: &[&str]| argv.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    config::StepConfig {
        id: StepId("start-api".into()),
        needs: vec![],
        required: true,
        deadline: Duration::from_secs(deadline),
        what: config::StepKind::Command { run: words(run), check: check.map(words), repeat: Repeat::Safe },
    }
}

/// A daemon without drivers.
struct Daemon {
    parts: Parts,
    listener: Tasks,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Daemon {
    async fn start(steps: Vec<config::StepConfig>) -> Self {
        Self::with(steps, |mark, _| mark).await
    }

    /// With the mark of `orders` as `change` makes it of a fresh one.
    async fn with(steps: Vec<config::StepConfig>, change: impl FnOnce(Mark, &SharedClock) -> Mark) -> Self {
        let clock = SystemClock::shared();
        let index: Arc<dyn Index> = Arc::new(MemoryIndex::new());
        let mark = change(fresh_mark(&clock), &clock);
        index.commit(Txn { marks: vec![(orders(), mark)], ..Txn::default() }).await.unwrap();
        let tasks = Tasks::new();
        let promotions = Promotions::open(Inputs {
            index: Arc::clone(&index),
            flow: Arc::new(Still),
            clock: Arc::clone(&clock),
            ids: Arc::new(SystemIds),
            tasks: tasks.clone(),
            stores: vec![Kept { id: orders(), terms: terms(), steps: Arc::new(|_| Vec::new()) }],
            promote: config::Promote { catch_up: Duration::from_secs(2), steps },
            rto: Duration::from_secs(900),
            skew: Arc::new(|| Duration::ZERO),
        })
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        write_tokens(&directory.path().join("tokens"));
        for (name, token) in [("viewer", VIEWER), ("approver", APPROVER)] {
            std::fs::write(directory.path().join(name), format!("{token}\n")).unwrap();
        }
        let parts = Parts { index, recovery: Arc::new(Promoting(promotions)), clock, tasks };
        let mut daemon = Self { parts, listener: Tasks::new(), address: "127.0.0.1:0".parse().unwrap(), directory };
        daemon.listen().await;
        daemon
    }

    /// Listens, again at the address of before; promotions do not notice.
    async fn listen(&mut self) {
        self.listener = Tasks::new();
        let tokens = Tokens::open(&self.directory.path().join("tokens")).unwrap();
        let view = plimsoll::serve::View { stopping: self.listener.stopping(), ..self.parts.view(tokens) };
        let limits = Limits { keep_alive: Duration::from_millis(300), ..Limits::default() };
        self.address = launch(view, limits, None, &self.address.to_string(), &self.listener).await;
    }

    fn token(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = program(&format!("http://{}", self.address));
        command.args(arguments).arg("--token-file").arg(self.token(token));
        command
    }

    async fn run(&self, token: &str, arguments: &[&str]) -> Output {
        finish(self.command(token, arguments)).await
    }
}

/// The program with nothing of the test's environment, and nobody at its terminal.
pub(crate) fn program(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.env_clear().env("PLIMSOLL_URL", url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

pub(crate) async fn finish(mut command: Command) -> Output {
    tokio::time::timeout(Duration::from_secs(60), command.output()).await.expect("the command ends").unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn status_is_a_table_or_json() {
    let daemon = Daemon::start(vec![]).await;
    let table = daemon.run("viewer", &["status"]).await;
    assert!(table.status.success(), "{}", err(&table));
    let text = out(&table);
    assert!(text.starts_with("shop  us-east-1 -> us-west-2  REPLICATING  prodX answers\n"), "{text}");
    assert!(text.contains("\norders  ok ") && text.contains("would be lost; last proof"), "{text}");
    assert!(!text.contains('\x1b') && text.lines().all(|l| l.chars().count() <= 80), "{text}");
    let json = daemon.run("viewer", &["status", "--json"]).await;
    let told: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(told["stores"][0]["state"], "ok");
}

#[tokio::test]
async fn what_does_not_work_is_a_sentence() {
    let daemon = Daemon::start(vec![]).await;
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut nobody = program(&format!("http://{free}"));
    nobody.arg("status");
    let nobody = finish(nobody).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        err(&nobody).starts_with(&format!("error: no Plimsoll answers at http://{free} (connection refused)")),
        "{}",
        err(&nobody)
    );

    let mut tokenless = program(&format!("http://{}", daemon.address));
    tokenless.arg("status");
    let tokenless = finish(tokenless).await;
    assert!(err(&tokenless).contains("--token-file"), "{}", err(&tokenless));

    let viewer = daemon.run("viewer", &["promote", "--reason", "x", "--yes"]).await;
    assert_eq!(viewer.status.code(), Some(1));
    assert!(err(&viewer).contains("needs the role approver"), "{}", err(&viewer));

    let unasked = daemon.run("approver", &["promote", "--reason", "x"]).await;
    assert_eq!(unasked.status.code(), Some(1));
    assert!(err(&unasked).contains("--yes"), "{}", err(&unasked));
    assert_eq!(daemon.parts.recovery.list().await.unwrap(), serde_json::json!([]), "nothing was begun");

    let unknown = daemon.run("approver", &["promote", "--reason", "x", "--yes", "--accept-loss", "nope=3s"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err(&unknown).contains("no store nope"), "{}", err(&unknown));
    let switchover = daemon.run("approver", &["promote", "--reason", "x", "--yes", "--mode", "switchover"]).await;
    assert_eq!(switchover.status.code(), Some(1));
    assert!(err(&switchover).contains("switchover"), "{}", err(&switchover));
}

#[tokio::test]
async fn the_plan_shows_the_exact_calls() {
    let daemon = Daemon::start(vec![step(&["true", "--now"], None, 20)]).await;
    let plan = daemon.run("viewer", &["plan"]).await;
    assert!(plan.status.success(), "{}", err(&plan));
    let text = out(&plan);
    assert!(text.contains("would pass the gate now") && text.contains("true --now"), "{text}");
    let json = daemon.run("viewer", &["plan", "--json"]).await;
    assert!(serde_json::from_slice::<serde_json::Value>(&json.stdout).unwrap()["hash"].is_string());
}

#[tokio::test]
async fn a_promotion_is_followed_to_its_end_and_there_is_one() {
    let daemon = Daemon::start(vec![step(&["true"], None, 20)]).await;
    let arguments = ["promote", "--reason", "drill of the test", "--yes", "--wait", "--idempotency-key", "k1"];
    let done = daemon.run("approver", &arguments).await;
    assert_eq!(done.status.code(), Some(0), "{}{}", out(&done), err(&done));
    let text = out(&done);
    for part in
        ["requested by ann: drill of the test", "FENCED", "start-api: done", "COMPLETED in ", "Asked for by ann"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The same key is the same promotion; another one is not begun.
    let again = daemon.run("approver", &arguments).await;
    assert_eq!(again.status.code(), Some(0), "{}", err(&again));
    assert!(out(&again).contains("had been started before"), "{}", out(&again));
    let other = daemon.run("approver", &["promote", "--reason", "again", "--yes"]).await;
    assert_eq!(other.status.code(), Some(1));
    assert!(err(&other).contains("already promoted"), "{}", err(&other));
    let exposition = reqwest::get(format!("http://{}/metrics", daemon.address)).await.unwrap().text().await.unwrap();
    for line in [
        "plimsoll_promote_state{state=\"promoted\"} 1\n",
        "plimsoll_promote_step_duration_seconds_count{step=\"start-api\"} 1\n",
        "\nplimsoll_rto_achieved_seconds ",
        "plimsoll_store_state{kind=\"dynamodb\",state=\"fenced\",store=\"orders\"} 1\n",
    ] {
        assert!(exposition.contains(line), "{line}: {exposition}");
    }
    let status = daemon.run("viewer", &["status"]).await;
    assert!(out(&status).contains("PROMOTED") && out(&status).contains("were not copied"), "{}", out(&status));
}

#[tokio::test]
async fn a_refused_gate_is_exit_4_with_the_flag_that_accepts() {
    let late = |mut mark: Mark, clock: &SharedClock| {
        mark.record.through = Some(clock.now().wall - Duration::from_secs(100));
        mark
    };
    let daemon = Daemon::with(vec![], late).await;
    let refused = daemon.run("approver", &["promote", "--reason", "x", "--yes", "--wait"]).await;
    assert_eq!(refused.status.code(), Some(4), "{}", err(&refused));
    let said = err(&refused);
    let flag = said.split_whitespace().find(|word| word.starts_with("orders@")).expect("the flag is told");
    let flag = flag.trim_end_matches([',', ';']).to_owned();
    let accepted =
        daemon.run("approver", &["promote", "--reason", "x", "--yes", "--wait", "--accept-loss", &flag]).await;
    assert_eq!(accepted.status.code(), Some(0), "{flag}: {}{}", out(&accepted), err(&accepted));
}

#[tokio::test]
async fn a_held_promotion_is_exit_3() {
    let daemon = Daemon::start(vec![step(&["false"], Some(&["false"]), 1)]).await;
    let held = daemon.run("approver", &["promote", "--reason", "x", "--yes", "--wait"]).await;
    assert_eq!(held.status.code(), Some(3), "{}{}", out(&held), err(&held));
    assert!(out(&held).contains("HELD: it waits for a human"), "{}", out(&held));
}

/// The listener goes away in the middle and comes back: no event is missed, none is shown twice.
#[tokio::test]
async fn following_survives_a_lost_connection() {
    let gate = tempfile::tempdir().unwrap();
    let open = gate.path().join("open");
    let waits = step(&["true"], Some(&["test", "-e", open.to_str().unwrap()]), 60);
    let mut daemon = Daemon::start(vec![waits]).await;
    let mut child = daemon.command("approver", &["promote", "--reason", "x", "--yes", "--wait"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.contains("start-api: begins")) {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.expect("it goes on").unwrap();
        seen.push(line.expect("the command goes on"));
    }
    assert_eq!(daemon.listener.shutdown(Duration::from_secs(10)).await, Vec::<String>::new());
    std::fs::write(&open, "").unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = tokio::time::timeout(Duration::from_secs(30), said.next_line()).await.expect("it says so").unwrap();
    assert!(said.unwrap().contains("the promotion goes on without us"));
    daemon.listen().await;
    while let Some(line) = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap() {
        seen.push(line);
    }
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "{seen:#?}");
    for once in ["requested by", "FENCED:", "start-api: begins", "  start-api: done", "COMPLETED in"] {
        let events = seen.iter().take_while(|line| !line.starts_with("Promotion "));
        assert_eq!(events.filter(|line| line.contains(once)).count(), 1, "{once}: {seen:#?}");
    }
}

/// On a terminal the numbers are shown and the application's name must be typed.
#[tokio::test]
async fn a_human_types_the_name_of_the_application() {
    for (typed, code, part) in [("shopp\n", 1, "not promoted"), ("shop\n", 0, "COMPLETED in")] {
        let daemon = Daemon::start(vec![step(&["true"], None, 20)]).await;
        let line = format!(
            "{} promote --reason x --wait --url http://{} --token-file {}",
            env!("CARGO_BIN_EXE_plimsoll"),
            daemon.address,
            daemon.token("approver").display()
        );
        // `script` gives the program a terminal.
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--echo", "never", "--command", &line, "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).await.unwrap();
        let done = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
        let text = out(&done);
        assert_eq!(done.status.code(), Some(code), "{text}");
        assert!(text.contains("would pass the gate now") && text.contains("Type the name"), "{text}");
        assert!(text.contains(part), "{text}");
    }
}
