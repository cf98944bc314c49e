//! Who may call what, and what is answered.

use std::time::Duration;

use plimsoll::serve::auth::Tokens;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::fixture::{APPROVER, OPERATOR, Parts, Server, VIEWER, fresh_mark, orders, short};

/// Method, path, and how many of the roles (viewer, operator, approver) suffice.
const GUARDED: [(&str, &str, usize); 14] = [
    ("GET", "/v1/status", 3),
    ("GET", "/v1/stores/orders", 3),
    ("POST", "/v1/stores/orders/reseed", 2),
    ("POST", "/v1/stores/orders/verify", 2),
    ("GET", "/v1/stores/orders/divergent", 3),
    ("GET", "/v1/stores/orders/divergent?show_keys=true", 2),
    ("GET", "/v1/plan", 3),
    ("POST", "/v1/promote", 1),
    ("GET", "/v1/promotions", 3),
    ("GET", "/v1/promotions/run-1", 3),
    ("GET", "/v1/promotions/run-1/events", 3),
    ("POST", "/v1/promotions/run-1/hold", 2),
    ("POST", "/v1/promotions/run-1/resume", 1),
    ("POST", "/v1/promotions/run-1/notes", 2),
];

fn body_of(path: &str) -> &'static str {
    match path {
        "/v1/promote" => r#"{"reason":"prodX is gone"}"#,
        "/v1/promotions/run-1/notes" => r#"{"text":"database checked by hand"}"#,
        _ => "",
    }
}

#[tokio::test]
async fn every_route_asks_for_its_role() {
    let server = Server::start().await;
    server.script.play("completed", true);
    for (method, path, suffice) in GUARDED {
        let nobody = server.call(method, path, None, body_of(path)).await;
        assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        assert!(nobody.headers().contains_key("www-authenticate"));
        assert_eq!(nobody.headers()["content-type"], "application/problem+json");
        let wrong = server.call(method, path, Some("guess"), body_of(path)).await;
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        for (rank, token) in [VIEWER, OPERATOR, APPROVER].into_iter().enumerate() {
            let answer = server.call(method, path, Some(token), body_of(path)).await;
            if rank + suffice >= 3 {
                assert!(answer.status().is_success(), "{method} {path} {token}: {}", answer.status());
            } else {
                assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path} {token}");
                let problem: Value = answer.json().await.unwrap();
                let needed = if suffice == 1 { "approver" } else { "operator" };
                assert!(problem["detail"].as_str().unwrap().contains(needed), "{problem}");
            }
        }
    }
    let bodies = server.script.bodies.lock().unwrap();
    let promotes: Vec<_> = bodies.iter().filter(|b| b.get("note").is_none()).collect();
    assert_eq!(promotes.len(), 1, "only the approver's promote came through");
    assert_eq!(promotes[0]["who"], "ann");
}

#[tokio::test]
async fn health_metrics_and_the_page_are_open() {
    let server = Server::start().await;
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        let answer = server.call("GET", path, None, "").await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
    }
    let metrics = server.call("GET", "/metrics", None, "").await;
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = metrics.text().await.unwrap();
    assert!(text.contains("plimsoll_store_state{kind=\"dynamodb\",state=\"ok\",store=\"orders\"} 1\n"), "{text}");
    assert!(text.contains("plimsoll_readiness_check_status{check=\"index\"} 1\n"), "{text}");
    let page = server.call("GET", "/", None, "").await;
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert!(!page.text().await.unwrap().contains("shop"), "the open page holds no data");
}

#[tokio::test]
async fn ready_says_what_is_not_and_health_stays() {
    let server = Server::start().await;
    *server.index.ill.lock().unwrap() = Some("no space left on /var/lib/plimsoll; free some".into());
    server.lifeless.lock().unwrap().push("driver orders".into());
    let ready = server.call("GET", "/readyz", None, "").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(ready["ready"], false);
    assert_eq!(ready["checks"][0]["why"], "no space left on /var/lib/plimsoll; free some");
    assert_eq!(ready["checks"][1]["why"], "no sign of life from driver orders");
    assert_eq!(server.call("GET", "/healthz", None, "").await.status(), StatusCode::OK);
    let text = server.call("GET", "/metrics", None, "").await.text().await.unwrap();
    assert!(text.contains("plimsoll_readiness_check_status{check=\"tasks\"} 0\n"), "{text}");
}

#[tokio::test]
async fn status_and_one_store() {
    let server = Server::start().await;
    let status: Value = server.call("GET", "/v1/status", Some(VIEWER), "").await.json().await.unwrap();
    assert_eq!(status["stores"][0]["state"], "ok", "{status}");
    assert_eq!(status["primary"], json!({"region": "us-east-1", "reachable": true}));
    let store: Value = server.call("GET", "/v1/stores/orders", Some(VIEWER), "").await.json().await.unwrap();
    assert_eq!(store["id"], "orders");
    let none = server.call("GET", "/v1/stores/nope", Some(VIEWER), "").await;
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
    assert!(none.json::<Value>().await.unwrap()["hint"].as_str().unwrap().contains("orders"));
}

#[tokio::test]
async fn a_promotion_is_started_once_per_idempotency_key() {
    let server = Server::start().await;
    let client = reqwest::Client::new();
    let send = |key: &'static str| {
        let request = client.post(server.url("/v1/promote")).bearer_auth(APPROVER).header("Idempotency-Key", key);
        request.body(r#"{"reason":"x"}"#).send()
    };
    let first = send("k1").await.unwrap();
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    assert_eq!(first.headers()["location"], "/v1/promotions/run-1");
    let again: Value = send("k1").await.unwrap().json().await.unwrap();
    assert_eq!((&again["id"], &again["repeated"]), (&json!("run-1"), &json!(true)));
    let other: Value = send("k2").await.unwrap().json().await.unwrap();
    assert_eq!(other["id"], "run-2");
    let odd = client.post(server.url("/v1/promote")).bearer_auth(APPROVER).header("Idempotency-Key", "\u{e9}");
    assert_eq!(odd.body("{}").send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_refused_gate_comes_with_its_numbers() {
    let server = Server::start().await;
    let refused = server.call("POST", "/v1/promote", Some(APPROVER), r#"{"reason":"refuse"}"#).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["type"], "urn:plimsoll:gate-refused");
    assert_eq!(problem["stores"][0]["store"], "orders");
    assert_eq!((&problem["status"], &problem["title"]), (&json!(409), &json!("Conflict")));
}

#[tokio::test]
async fn without_tokens_nothing_that_needs_one_is_answered() {
    let server = Server::with(short(), None, false).await;
    let refused = server.call("GET", "/v1/status", Some(VIEWER), "").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.json::<Value>().await.unwrap()["hint"].as_str().unwrap().contains("plimsoll token new"));
    assert_eq!(server.call("GET", "/metrics", None, "").await.status(), StatusCode::OK);
}

#[test]
fn without_tokens_only_loopback_may_be_listened_on() {
    let serve =
        |listen: &str| plimsoll::config::Serve { listen: listen.parse().unwrap(), tokens_file: None, tls: None };
    assert!(plimsoll::serve::tokens(&serve("127.0.0.1:9187")).is_ok());
    assert!(plimsoll::serve::tokens(&serve("[::1]:9187")).is_ok());
    let why = plimsoll::serve::tokens(&serve("0.0.0.0:9187")).unwrap_err().to_string();
    assert!(why.contains("plimsoll token new"), "{why}");
}

#[tokio::test]
async fn a_changed_tokens_file_is_in_force_at_once() {
    let server = Server::start().await;
    assert!(server.call("GET", "/v1/status", Some(VIEWER), "").await.status().is_success());
    std::fs::remove_file(server.directory.path().join("tokens")).unwrap();
    assert_eq!(server.call("GET", "/v1/status", Some(VIEWER), "").await.status(), StatusCode::UNAUTHORIZED);
    let ready = server.call("GET", "/readyz", None, "").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE, "nobody can promote: that is not ready");
}

#[tokio::test]
async fn the_words_for_systemd_name_the_worst_store() {
    let clock = plimsoll::seams::SystemClock::shared();
    let server = Server::start().await;
    let (index, recovery, tasks) = (server.index.clone(), server.script.clone(), server.tasks.clone());
    let view = Parts { index, recovery, clock, tasks }.view(Tokens::none());
    server.index.marks.lock().unwrap().stores.clear();
    assert_eq!(view.words(), "replicating; worst: orders seeding, no RPO");
    let mut mark = fresh_mark(&view.clock);
    mark.record.through = mark.record.through.map(|w| w - Duration::from_secs(100));
    mark.proved = None;
    server.index.marks.lock().unwrap().stores.insert(orders(), mark);
    let words = view.words();
    assert!(words.starts_with("replicating; worst: orders unknown, up to 10"), "{words}");
    assert!(words.ends_with(" s would be lost (objective 30 s)"), "{words}");
}

/// IA-7: keys are customer data; who does not ask for them as an operator sees digests.
#[tokio::test]
async fn ia7_keys_of_divergent_items_are_shown_to_operators_who_ask() {
    let server = Server::start().await;
    let ask = async |path: &str, token| server.call("GET", path, Some(token), "").await.text().await.unwrap();
    let hidden = ask("/v1/stores/orders/divergent", OPERATOR).await;
    assert!(hidden.contains("ab12") && hidden.contains("missing") && !hidden.contains("secret"), "{hidden}");
    let shown = ask("/v1/stores/orders/divergent?show_keys=true", OPERATOR).await;
    assert!(shown.contains("secret"), "{shown}");
    let refused = ask("/v1/stores/orders/divergent?show_keys=true", VIEWER).await;
    assert!(refused.contains("operator") && !refused.contains("secret"), "{refused}");
    let odd = ask("/v1/stores/orders/divergent?keys=1", OPERATOR).await;
    assert!(odd.contains("show_keys"), "{odd}");
}
