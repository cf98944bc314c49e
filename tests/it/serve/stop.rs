//! The stop: no new connections, running requests finished, idle connections closed.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{APPROVER, Server, drain};

#[tokio::test]
async fn a_running_request_is_finished_and_then_nothing_is_accepted() {
    let server = Server::start().await;
    let body = r#"{"text":"half of this comes late"}"#;
    let (early, late) = body.split_at(10);
    let mut running = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/promotions/run-1/notes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {APPROVER}\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    running.write_all(head.as_bytes()).await.unwrap();
    // "100 Continue" says that the handler has begun to read.
    let mut go_on = [0; 25];
    running.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    running.write_all(early.as_bytes()).await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();

    let tasks = server.tasks.clone();
    let stopping = tokio::spawn(async move { tasks.shutdown(Duration::from_secs(10)).await });
    drain(&mut idle).await;
    running.write_all(late.as_bytes()).await.unwrap();
    let answer = drain(&mut running).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.script.bodies.lock().unwrap()[0]["note"], "half of this comes late");
    assert_eq!(stopping.await.unwrap(), Vec::<String>::new());
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_request_that_never_ends_is_left_to_the_grace() {
    let server = Server::start().await;
    *server.script.slow.lock().unwrap() = true;
    let mut stuck = TcpStream::connect(server.address).await.unwrap();
    let head = format!("GET /v1/plan HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {APPROVER}\r\n\r\n");
    stuck.write_all(head.as_bytes()).await.unwrap();
    // Only once another request is answered is the first surely running: both are served by this one thread, in order.
    assert!(server.call("GET", "/healthz", None, "").await.status().is_success());
    let left = server.tasks.shutdown(Duration::from_millis(200)).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with("Connection connection 127.0.0.1:"), "{left:?}");
}
