//! What garbage meets: a problem where one can be told, a closed connection where not, and a server that goes on.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::fixture::{APPROVER, Server, VIEWER, drain, short};
use plimsoll::serve::Limits;

async fn alive(server: &Server) {
    assert_eq!(server.call("GET", "/healthz", None, "").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn bad_json_is_told_with_its_place() {
    let server = Server::start().await;
    for (path, body, part) in [
        ("/v1/promote", "{\"reason\": ", "line 1"),
        ("/v1/promotions/run-1/notes", "{\"text\" 5}", "line 1 column 9"),
        ("/v1/promotions/run-1/notes", "{\"text\":\"a\",\"colour\":1}", "`colour`"),
        ("/v1/promotions/run-1/notes", "{}", "`text`"),
        ("/v1/promotions/run-1/notes", "{\"text\":\" \"}", "empty"),
        ("/v1/promotions/run-1/notes", "", "EOF"),
        ("/v1/promotions/run-1/resume", "{\"why\":1}", "`why`"),
    ] {
        let answer = server.call("POST", path, Some(APPROVER), body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path} {body}");
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(part), "{body}: {problem}");
    }
}

#[tokio::test]
async fn a_megabyte_is_too_much_and_is_told_so() {
    let server = Server::start().await;
    let big = format!("{{\"reason\":\"{}\"}}", "x".repeat(1024 * 1024));
    for _ in 0..3 {
        let answer = server.call("POST", "/v1/promote", Some(APPROVER), &big).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("65536"), "{problem}");
    }
    // Chunked: the length is not told before.
    let stream = futures_util::stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 16 * 1024])));
    let request = reqwest::Client::new().post(server.url("/v1/promote")).bearer_auth(APPROVER);
    let answer = request.body(reqwest::Body::wrap_stream(stream)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // A length that is a lie about far more than is ever drained.
    let head = format!(
        "POST /v1/promote HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {APPROVER}\r\nContent-Length: 99999999999\r\n\r\n"
    );
    assert!(server.raw(head.as_bytes()).await.starts_with("HTTP/1.1 413"));
    assert!(server.script.bodies.lock().unwrap().is_empty());
    // Without a token the body is not even read.
    assert_eq!(server.call("POST", "/v1/promote", None, "{}").await.status(), StatusCode::UNAUTHORIZED);
    alive(&server).await;
}

#[tokio::test]
async fn wrong_methods_and_paths_are_problems() {
    let server = Server::start().await;
    let wrong = server.call("DELETE", "/v1/status", None, "").await;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(wrong.headers()["allow"].to_str().unwrap().contains("GET"));
    assert_eq!(wrong.headers()["content-type"], "application/problem+json");
    let get = server.call("GET", "/v1/promote", Some(APPROVER), "").await;
    assert_eq!((get.status(), &get.headers()["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap()));
    for path in ["/v2/status", "/v1/", "/%00", "/v1/stores/../../etc/passwd", "/v1/promotions/%2e%2e"] {
        let none = server.call("GET", path, Some(VIEWER), "").await;
        assert_eq!(none.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(none.headers()["content-type"], "application/problem+json", "{path}");
    }
    assert_eq!(server.call("HEAD", "/healthz", None, "").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn binary_noise_and_half_requests_do_not_stop_it() {
    let server = Server::start().await;
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [
        &noise[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\0\0\0",
        b"",
    ] {
        let answer = server.raw(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(
        server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 200")
    );
    alive(&server).await;
}

#[tokio::test]
async fn huge_heads_are_refused() {
    let server = Server::start().await;
    let huge = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "a".repeat(256 * 1024));
    let answer = server.raw(huge.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let answer = server.raw(format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let token = format!("Bearer {}", "t".repeat(8 * 1024));
    let long = reqwest::Client::new().get(server.url("/v1/status")).header("authorization", token);
    assert_eq!(long.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    alive(&server).await;
}

/// A head that never ends, and a body that never ends: both connections are given up, and meanwhile others are served.
#[tokio::test]
async fn a_slow_loris_is_given_up() {
    let limits = Limits { answer: Duration::from_millis(600), ..short() };
    let server = Server::with(limits, None, true).await;
    let mut head = TcpStream::connect(server.address).await.unwrap();
    head.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").await.unwrap();
    let mut body = TcpStream::connect(server.address).await.unwrap();
    let start = format!(
        "POST /v1/promote HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {APPROVER}\r\nContent-Length: 100\r\n\r\n{{"
    );
    body.write_all(start.as_bytes()).await.unwrap();
    alive(&server).await;
    drain(&mut head).await;
    let answer = drain(&mut body).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("urn:plimsoll:timeout"), "{answer}");
    alive(&server).await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_timeout() {
    let limits = Limits { answer: Duration::from_millis(200), ..short() };
    let server = Server::with(limits, None, true).await;
    *server.script.slow.lock().unwrap() = true;
    assert_eq!(server.call("GET", "/v1/plan", Some(VIEWER), "").await.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(server.call("GET", "/v1/status", Some(VIEWER), "").await.status(), StatusCode::OK);
}

/// Connections above the bound wait; idle ones are closed in time, so the waiting ones are served.
#[tokio::test]
async fn the_number_of_connections_is_bounded() {
    let limits = Limits { connections: 2, ..short() };
    let server = Server::with(limits, None, true).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    alive(&server).await;
    for stream in &mut idle {
        drain(stream).await;
    }
}
