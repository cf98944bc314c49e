//! Event streams: in order, resumed by id, ended after the last, and by a stop.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::StatusCode;

use plimsoll::serve::Limits;

use super::fixture::{Server, VIEWER, short};

async fn open(server: &Server, after: Option<&str>) -> reqwest::Response {
    let mut request = reqwest::Client::new().get(server.url("/v1/promotions/run-1/events")).bearer_auth(VIEWER);
    if let Some(after) = after {
        request = request.header("Last-Event-ID", after);
    }
    request.send().await.unwrap()
}

async fn whole(answer: reqwest::Response) -> String {
    tokio::time::timeout(Duration::from_secs(10), answer.text()).await.expect("the stream ends").unwrap()
}

#[tokio::test]
async fn events_come_in_order_and_the_stream_ends_after_the_last() {
    let server = Server::start().await;
    server.script.play("started", false);
    let answer = open(&server, None).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut chunks = answer.bytes_stream();
    let first = String::from_utf8(chunks.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert_eq!(first, "id: 0\nevent: started\ndata: {\"at\":0,\"event\":\"started\"}\n\n");
    server.script.play("fenced", false);
    let second = String::from_utf8(chunks.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(second.starts_with("id: 1\nevent: fenced\n"), "{second}");
    server.script.play("completed", true);
    let mut rest = String::new();
    while let Some(chunk) = chunks.next().await {
        rest += std::str::from_utf8(&chunk.unwrap()).unwrap();
    }
    assert!(rest.starts_with("id: 2\nevent: completed\n"), "{rest}");
}

#[tokio::test]
async fn a_stream_is_resumed_after_the_last_event_seen() {
    let server = Server::start().await;
    for (name, last) in [("a", false), ("b", false), ("c", true)] {
        server.script.play(name, last);
    }
    let ids = |text: &str| text.lines().filter_map(|l| l.strip_prefix("id: ").map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(ids(&whole(open(&server, None).await).await), ["0", "1", "2"]);
    assert_eq!(ids(&whole(open(&server, Some("0")).await).await), ["1", "2"]);
    assert_eq!(whole(open(&server, Some("2")).await).await, "");
    assert_eq!(open(&server, Some("soon")).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_unknown_promotion_is_not_an_empty_stream() {
    let server = Server::start().await;
    let answer = server.call("GET", "/v1/promotions/other/events", Some(VIEWER), "").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stop_ends_the_stream() {
    let server = Server::start().await;
    server.script.play("started", false);
    let answer = open(&server, None).await;
    let stopped = server.tasks.shutdown(Duration::from_secs(10)).await;
    assert!(whole(answer).await.starts_with("id: 0\n"));
    assert_eq!(stopped, Vec::<String>::new());
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_past_the_time_of_an_answer() {
    let limits = Limits { answer: Duration::from_millis(100), keep_alive: Duration::from_millis(50), ..short() };
    let server = Server::with(limits, None, true).await;
    let mut chunks = open(&server, None).await.bytes_stream();
    for _ in 0..6 {
        assert_eq!(chunks.next().await.unwrap().unwrap(), ": still here\n\n");
    }
    server.script.play("completed", true);
    let mut rest = Vec::new();
    while let Some(chunk) = chunks.next().await {
        rest.extend(chunk.unwrap());
    }
    assert!(String::from_utf8(rest).unwrap().contains("event: completed"));
}
