//! Promotion as it is called from outside: who may, what is refused and with which numbers, and what it does to the flow.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use plimsoll_lab::daemon::{Daemon, Home, Role};
use plimsoll_lab::scripted::Door;
use serde_json::{Value as Json, json};

use super::fixture::{Ask as _, LONG, Load, ORDERS, Pair, came_true, plain, streamed, until};
use super::truth::Watch;

/// A pair with a step that appends a line to a file, and asks for it. `pause` is how long it takes, seconds.
pub(super) fn with_step(seed: u64, pause: &str) -> Pair {
    let pair = Pair::with(streamed(), plain(), seed, |_| {});
    let effect = effect(&pair);
    let effect = effect.display();
    let step = format!(
        "\n[promote]\ncatch_up = \"2s\"\n\n[[promote.step]]\nid = \"switch\"\nkind = \"command\"\n\
         run = [\"/bin/sh\", \"-c\", \"touch {effect}.begun; sleep {pause}; echo once >> {effect}\"]\n\
         check = [\"/bin/sh\", \"-c\", \"test -e {effect}\"]\n"
    );
    let text = std::fs::read_to_string(pair.home.config()).expect("written just now");
    std::fs::write(pair.home.config(), text + &step).expect("writable");
    pair
}

/// The file that the step appends to.
pub(super) fn effect(pair: &Pair) -> PathBuf {
    pair.folder().join("switched")
}

/// What the step has done so far.
pub(super) fn effects(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// A failover that accepts what it must.
pub(super) fn failover() -> Json {
    json!({"mode": "failover", "reason": "a test", "accept_loss": {ORDERS: "1h"}})
}

/// The id in an answer of `POST /v1/promote`.
pub(super) fn id_of(answer: &Json) -> String {
    answer["id"].as_str().unwrap_or_else(|| panic!("no id: {answer}")).to_owned()
}

/// Waits until a promotion is where it must be; its report.
pub(super) async fn stage(daemon: &Daemon, id: &str, stage: &str) -> Json {
    let mut last = Json::Null;
    let deadline = std::time::Instant::now() + LONG;
    while std::time::Instant::now() < deadline {
        last = daemon.client().json(&format!("/v1/promotions/{id}")).await.unwrap_or(last);
        if last["state"] == stage {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    panic!("never {stage}: {last}\n{}", daemon.tail(20));
}

/// Follows the events of a promotion until `enough` says so or the stream ends. Gives what it saw: number and name.
pub(super) async fn follow(home: &Home, id: &str, mut enough: impl FnMut(u64, &str) -> bool) -> Vec<(u64, String)> {
    let mut seen = Vec::new();
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("{}/v1/promotions/{id}/events", home.url());
    let Ok(answer) = http.get(url).bearer_auth(home.token(Role::Viewer)).send().await else { return seen };
    let (mut chunks, mut text) = (answer.bytes_stream(), String::new());
    while let Some(Ok(chunk)) = chunks.next().await {
        text += &String::from_utf8_lossy(&chunk);
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            let part = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(number), Some(name)) = (part("id: ").and_then(|n| n.parse().ok()), part("event: ")) {
                seen.push((number, name.to_owned()));
                if enough(number, name) {
                    return seen;
                }
            }
        }
    }
    seen
}

#[tokio::test]
async fn who_may_not_and_what_is_no_request() {
    let pair = with_step(1, "0");
    let daemon = pair.start_ok().await;
    let post = async |token: Option<&str>, body: String| {
        let client = daemon.client().clone().with_token(token);
        client.post("/v1/promote", body, &[("Idempotency-Key", "k")]).await.expect("an answer")
    };
    let approver = Some(pair.home.token(Role::Approver));
    let body = failover().to_string();
    assert_eq!(post(None, body.clone()).await.0, 401);
    assert_eq!(post(Some("guessed"), body.clone()).await.0, 401);
    for weak in [Role::Viewer, Role::Operator] {
        let (code, text) = post(Some(pair.home.token(weak)), body.clone()).await;
        assert!(code == 403 && text.contains("approver"), "{code}: {text}");
    }
    for bad in ["", "{", "[]", r#"{"reason": ""}"#, r#"{"reason": "x", "acept_loss": {}}"#] {
        let (code, text) = post(approver, bad.into()).await;
        assert_eq!(code, 400, "{bad}: {text}");
        assert!(text.contains("\"detail\""), "it says what is wrong: {text}");
    }
    let (code, text) = post(approver, format!("{{\"reason\": \"{}\"}}", "x".repeat(1 << 20))).await;
    assert_eq!(code, 413, "{text}");
    let unknown = json!({"mode": "failover", "reason": "x", "accept_loss": {"ordres": "1h"}}).to_string();
    let (code, text) = post(approver, unknown).await;
    assert!(code == 422 && text.contains("ordres") && text.contains(ORDERS), "{code}: {text}");
    // Nothing of it began anything.
    let list = daemon.client().json("/v1/promotions").await.expect("an answer");
    assert_eq!(list["promotions"], json!([]));
    assert_eq!(daemon.now().await.value["phase"], "replicating");
    assert_eq!(effects(&effect(&pair)), "");
}

#[tokio::test]
async fn one_promotion_however_often_it_is_asked_for() {
    let pair = with_step(2, "1");
    let mut daemon = pair.start_ok().await;
    pair.put("k", 1);
    pair.converge(&daemon).await;
    let (code, first) = daemon.client().promote(&failover(), "key-1").await.expect("an answer");
    assert_eq!(code, 202, "{first}");
    let id = id_of(&first);
    // At once, and while it runs.
    let (code, again) = daemon.client().promote(&failover(), "key-1").await.expect("an answer");
    assert_eq!((code, id_of(&again)), (202, id.clone()));
    assert_eq!(again["repeated"], true);
    let (code, other) = daemon.client().promote(&failover(), "key-2").await.expect("an answer");
    assert!(code == 409 && other.to_string().contains(&id), "{code}: {other}");
    let another = json!({"mode": "failover", "reason": "another", "accept_loss": {ORDERS: "2h"}});
    let (code, reused) = daemon.client().promote(&another, "key-1").await.expect("an answer");
    assert!(code == 422 && reused.to_string().contains(&id), "{code}: {reused}");
    stage(&daemon, &id, "completed").await;
    // And when it is over, also for the next process.
    for _ in 0..2 {
        let (code, again) = daemon.client().promote(&failover(), "key-1").await.expect("an answer");
        assert_eq!((code, id_of(&again)), (202, id.clone()));
        let (code, other) = daemon.client().promote(&failover(), "key-3").await.expect("an answer");
        assert!(code == 409 && other.to_string().contains("already promoted"), "{code}: {other}");
        assert_eq!(effects(&effect(&pair)), "once\n");
        daemon.kill9();
        daemon = pair.start().await;
    }
}

#[tokio::test]
async fn a_refused_gate_names_the_numbers_and_changes_nothing() {
    // Idle proofs alone are older than this objective, and without prodX they only get older.
    let pair = Pair::with(streamed(), plain(), 3, |spec| spec.rpo = "1s".into());
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    pair.put("k", 1);
    pair.converge(&daemon).await;
    pair.x.set_door(Door::Cut);
    daemon.reach(|status| super::fixture::bound(status).is_some_and(|bound| bound > 3.0)).await;
    let request = json!({"mode": "failover", "reason": "a test"});
    let (code, refusal) = daemon.client().promote(&request, "first").await.expect("an answer");
    assert_eq!(code, 409, "{refusal}");
    let store = &refusal["gate"]["stores"][0];
    assert!(store["store"] == ORDERS && store["ruling"] == "refused", "{refusal}");
    assert!(store["loss_seconds"].as_f64().is_some_and(|loss| loss > 3.0), "{refusal}");
    assert_eq!(store["objective_seconds"].as_f64(), Some(1.0), "{refusal}");
    let detail = refusal["detail"].as_str().expect("a sentence");
    assert!(detail.contains(ORDERS) && detail.contains("objective 1.0 s"), "{detail}");
    // The flag that it names is one that passes.
    let flag = store["flag_by_instant"].as_str().expect("a way out");
    assert!(flag.starts_with(&format!("--accept-loss {ORDERS}@")), "{flag}");
    pair.x.set_door(Door::Open);
    pair.put("k", 2);
    pair.converge(&daemon).await;
    assert_eq!(daemon.state("ok").await.value["phase"], "replicating", "replication goes on");
    let accepted = json!({"mode": "failover", "reason": "a test", "accept_loss": {ORDERS: "1h"}});
    let (code, started) = daemon.client().promote(&accepted, "second").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let report = stage(&daemon, &id_of(&started), "completed").await;
    assert!(report["frozen"].is_object(), "{report}");
    watch.truthful().await;
}

/// A store without a watermark has no number: it must be named.
#[tokio::test]
async fn a_store_that_is_seeding_must_be_accepted_by_name() {
    let pair = Pair::new();
    pair.put("k", 1);
    let mut daemon = pair.start().await;
    daemon.state("seeding").await;
    let (code, refusal) = daemon.client().promote(&failover(), "a").await.expect("an answer");
    assert!(code >= 400 && refusal.to_string().contains("accept"), "{code}: {refusal}");
    let request = json!({"mode": "failover", "reason": "a test", "accept_unknown": [ORDERS]});
    let (code, started) = daemon.client().promote(&request, "b").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    stage(&daemon, &id_of(&started), "completed").await;
}

/// FO-2, I8: from the commit of the fence no write goes from X to Y, over restarts too, and the report stands.
#[tokio::test]
async fn i8_after_the_fence_nothing_reaches_prod_y() {
    let pair = with_step(4, "0.5");
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 40, 150, 4);
    daemon.reach(|_| load.written() > 150).await;
    let (code, started) = daemon.client().promote(&failover(), "k").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let id = id_of(&started);
    let seen = follow(&pair.home, &id, |_, name| name == "fenced").await;
    assert_eq!(seen.last().map(|(_, name)| name.as_str()), Some("fenced"), "{seen:?}");
    let arrived = pair.y.arrivals(ORDERS).len();
    let fenced = daemon.state("fenced").await;
    let watermark = fenced.watermark(ORDERS);
    assert!(watermark.is_some(), "{fenced}");
    let report = stage(&daemon, &id, "completed").await;
    assert_eq!(daemon.now().await.value["phase"], "promoted");
    let frozen = report["frozen"].clone();
    for end in ["kill -9", "SIGTERM"] {
        if end == "SIGTERM" {
            assert!(daemon.terminate(Duration::from_secs(30)).await.success());
        } else {
            daemon.kill9();
        }
        daemon = pair.start().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let status = daemon.now().await;
        assert_eq!((status.state(ORDERS), status.watermark(ORDERS)), ("fenced", watermark), "{end}: {status}");
        assert_eq!(status.value["phase"], "promoted");
        let report = daemon.client().json(&format!("/v1/promotions/{id}")).await.expect("an answer");
        assert_eq!(report["frozen"], frozen, "{end}: the report is frozen");
    }
    assert!(load.stop().await > 300, "prodX went on all the while");
    assert_eq!(pair.y.arrivals(ORDERS).len(), arrived, "writes after the fence");
    assert_eq!(effects(&effect(&pair)), "once\n");
    watch.truthful().await;
}

/// It works with prodX gone, cut or hanging: what was fetched is applied, the rest is told.
#[tokio::test]
async fn prod_x_is_dead() {
    for (seed, door) in [(5, Door::Cut), (6, Door::Blackhole)] {
        let pair = with_step(seed, "0");
        let mut daemon = pair.start_ok().await;
        for key in 0..50 {
            pair.put(&format!("k{key}"), 1);
        }
        pair.converge(&daemon).await;
        let died = pair.x.now();
        pair.x.set_door(door);
        pair.put("never seen", 1);
        let (code, started) = daemon.client().promote(&failover(), "k").await.expect("an answer");
        assert_eq!(code, 202, "{door:?}: {started}");
        let report = stage(&daemon, &id_of(&started), "completed").await;
        assert_eq!(report["fence"], "unconfirmed", "{door:?}: prodX may live: {report}");
        let status = daemon.now().await;
        assert!(status.state(ORDERS) == "fenced" && status.watermark(ORDERS).is_some_and(|w| w < died), "{status}");
        assert_eq!(pair.y.item_count(ORDERS), 50);
        // It comes back and is not listened to.
        pair.x.set_door(Door::Open);
        pair.put("k1", 2);
        daemon.kill9();
        let daemon = pair.start().await;
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert_eq!(pair.standby_version("k1"), Some(1), "{door:?}");
        assert_eq!(daemon.now().await.value["phase"], "promoted");
    }
}

#[tokio::test]
async fn sigterm_in_a_step_and_the_next_process_completes() {
    let pair = with_step(7, "1.5");
    let mut daemon = pair.start_ok().await;
    let (code, started) = daemon.client().promote(&failover(), "k").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let id = id_of(&started);
    until("the program runs", || effect(&pair).with_extension("begun").exists()).await;
    let status = daemon.terminate(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(0), "{}", daemon.tail(10));
    let daemon = pair.start().await;
    stage(&daemon, &id, "completed").await;
    assert_eq!(effects(&effect(&pair)), "once\n");
}

/// A step without a check that must not be repeated: an unknown outcome waits for a human, and never runs twice.
#[tokio::test]
async fn an_unknown_outcome_of_a_step_that_must_not_be_repeated_is_held() {
    let pair = with_step(8, "1");
    let text = std::fs::read_to_string(pair.home.config()).expect("there");
    let kept: String =
        text.lines().filter(|line| !line.starts_with("check = ")).map(|line| format!("{line}\n")).collect();
    std::fs::write(pair.home.config(), kept + "repeat = \"never\"\n").expect("writable");
    let mut daemon = pair.start_ok().await;
    let (code, started) = daemon.client().promote(&failover(), "k").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let id = id_of(&started);
    until("the program runs", || effect(&pair).with_extension("begun").exists()).await;
    daemon.kill9();
    // The program is not the daemon's: it ends by itself.
    until("its effect", || effects(&effect(&pair)) == "once\n").await;
    let daemon = pair.start().await;
    let held = stage(&daemon, &id, "held").await;
    assert!(held["trouble"].as_str().is_some_and(|why| why.contains("switch")), "{held}");
    assert_eq!(daemon.now().await.value["phase"], "held");
    let resume = json!({"done": ["switch"]}).to_string();
    let path = format!("/v1/promotions/{id}/resume");
    let (code, text) = daemon.client().post(&path, resume, &[]).await.expect("an answer");
    assert_eq!(code, 200, "{text}");
    stage(&daemon, &id, "completed").await;
    assert_eq!(effects(&effect(&pair)), "once\n");
    let quiet = || async { daemon.now().await.value["phase"] == "promoted" };
    assert!(came_true(LONG, quiet).await);
}
