//! Answers that no emulator gives: errors within a success, objects of five GiB, no answer.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::Bucket;
use super::super::copy::{Freight, Onto};
use super::super::dress::Dress;
use super::super::known::Mark;
use super::super::object::{Beside, Object};
use super::super::refusal::Stop;
use super::super::settings::Transfer;
use super::super::testing::{Pages, bucket, client_of, key, settings};
use crate::change::Class;
use crate::stores::converge::{Did, Settled, Spot};

/// An S3 that says what it is told to, and remembers what it was asked: the head of each request.
struct Canned {
    asked: Arc<Mutex<Vec<String>>>,
    bucket: Bucket,
}

impl Canned {
    async fn start(transfer: Transfer, answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut text = Vec::new();
                    let mut piece = [0; 4096];
                    let end = loop {
                        match socket.read(&mut piece).await {
                            Ok(0) | Err(_) => return,
                            Ok(n) => text.extend_from_slice(&piece[..n]),
                        }
                        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
                            break end;
                        }
                    };
                    let head = String::from_utf8_lossy(&text[..end]).to_lowercase();
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
                    let mut body = text.len() - end - 4;
                    while body < length {
                        body += socket.read(&mut piece).await.expect("the body");
                    }
                    log.lock().unwrap().push(head.clone());
                    if let Some(answer) = answer(&head) {
                        socket.write_all(answer.as_bytes()).await.expect("the answer");
                    }
                });
            }
        });
        let client = client_of(&url, "us-west-2");
        let bucket = bucket(settings(transfer), client.clone(), client);
        Self { asked, bucket }
    }

    fn count(&self, of: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|head| head.contains(of)).count()
    }
}

fn say(status: &str, headers: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}

fn error(status: &str, code: &str) -> Option<String> {
    let body = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>said</Message></Error>");
    say(status, "content-type: application/xml\r\n", &body)
}

fn object(size: u64) -> Object {
    let etag = "0123456789abcdef0123456789abcdef".to_owned();
    Object { mark: Mark { etag, size, version: None, modified: None }, ..Object::default() }
}

/// What a copy of an object becomes when CopyObject is answered like that.
async fn copied(status: &'static str, code: &'static str) -> Stop {
    let canned = Canned::start(Transfer::ServerSide, move |_| error(status, code)).await;
    let (key, source, dress) = (key("k"), object(3), Dress::default());
    let freight = Freight { key: &key, name: "k", source: &source, dress: &dress, onto: &Onto::Nothing };
    canned.bucket.copy_whole(freight).await.expect_err("an error")
}

#[tokio::test]
async fn s3_f7_an_error_within_a_200_is_an_error() {
    let stop = copied("200 OK", "InternalError").await;
    assert!(matches!(&stop, Stop::Failed(error) if error.class == Class::Unknown), "it may have copied: {stop:?}");
    let stop = copied("200 OK", "SlowDown").await;
    assert!(matches!(&stop, Stop::Failed(error) if error.class == Class::Throttled), "{stop:?}");
    let stop = copied("200 OK", "PreconditionFailed").await;
    assert!(matches!(stop, Stop::Again), "{stop:?}");
    let stop = copied("200 OK", "AccessDenied").await;
    assert!(matches!(stop, Stop::Unseen(_)), "{stop:?}");
    let stop = copied("409 Conflict", "ConditionalRequestConflict").await;
    assert!(matches!(stop, Stop::Again), "{stop:?}");
    let stop = copied("500 Internal Server Error", "InternalError").await;
    assert!(matches!(&stop, Stop::Failed(error) if error.class == Class::Unknown), "{stop:?}");
    let stop = copied("403 Forbidden", "InvalidObjectState").await;
    assert!(matches!(&stop, Stop::Refused(refusal) if refusal.class == "archived"), "{stop:?}");
}

/// An S3 whose source has an object of that size, written in so many parts of which the first is so large, and whose standby
/// has none. It takes whatever it is given.
async fn huge(transfer: Transfer, size: u64, parts: Option<(u32, u64)>) -> Canned {
    Canned::start(transfer, move |head| {
        let source = head.contains(" /shop-x/");
        let result = "<ETag>\"e\"</ETag></";
        let etag = "etag: \"0123456789abcdef0123456789abcdef";
        let etag = parts.map_or(format!("{etag}\"\r\n"), |(count, _)| format!("{etag}-{count}\"\r\n"));
        let told = parts.map_or("", |_| "x-amz-checksum-sha256: AAAA-3\r\nx-amz-checksum-type: COMPOSITE\r\n");
        match () {
            () if head.starts_with("head") && source => {
                let one = parts.filter(|_| head.contains("partnumber=1"));
                let count = one.map_or(String::new(), |(count, _)| format!("x-amz-mp-parts-count: {count}\r\n"));
                let length = one.map_or(size, |(_, first)| first);
                let date = "last-modified: Tue, 24 Nov 2026 10:00:00 GMT\r\nconnection: close\r\n";
                Some(format!("HTTP/1.1 200 OK\r\n{date}{etag}{told}{count}content-length: {length}\r\n\r\n"))
            }
            () if head.starts_with("head") => say("404 Not Found", "", ""),
            () if head.contains("?tagging") => say("200 OK", "", "<Tagging><TagSet></TagSet></Tagging>"),
            () if head.starts_with("get") => {
                let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="))?;
                let (first, last) = range.split_once('-')?;
                let length = last.parse::<usize>().ok()? - first.parse::<usize>().ok()? + 1;
                say("206 Partial Content", &etag, &"x".repeat(length))
            }
            () if head.starts_with("post") && head.contains("?uploads") => say(
                "200 OK",
                "",
                "<InitiateMultipartUploadResult><UploadId>up</UploadId></InitiateMultipartUploadResult>",
            ),
            () if head.starts_with("post") => {
                say("200 OK", "", &format!("<CompleteMultipartUploadResult>{result}CompleteMultipartUploadResult>"))
            }
            () if head.contains("uploadid=") => {
                say("200 OK", &etag, &format!("<CopyPartResult>{result}CopyPartResult>"))
            }
            () => say("200 OK", "", &format!("<CopyObjectResult>{result}CopyObjectResult>")),
        }
    })
    .await
}

#[tokio::test]
async fn s3_5_parts_end_where_the_sources_do_where_its_checksum_is_of_parts() {
    const MIB: u64 = 1 << 20;
    for transfer in [Transfer::ServerSide, Transfer::Stream] {
        let mut canned = huge(transfer, 25 * MIB, Some((3, 9 * MIB))).await;
        canned.bucket.hands.limits.whole = 8 * MIB;
        let (key, pages) = (key("k"), Pages::default());
        let settled = canned.bucket.make_same(Spot { key: &key, notebook: &pages, afresh: false }).await;
        assert!(matches!(&settled, Settled::Same(same) if same.bytes == 25 * MIB), "{settled:?}");
        for (first, last) in [(0, 9 * MIB - 1), (9 * MIB, 18 * MIB - 1), (18 * MIB, 25 * MIB - 1)] {
            assert_eq!(canned.count(&format!("range: bytes={first}-{last}")), 1, "{transfer:?}");
        }
        assert_eq!(canned.count("x-amz-checksum-algorithm: sha256"), 1, "{transfer:?}");
        assert_eq!(canned.count("x-amz-checksum-type: composite"), 1, "{transfer:?}");
        if transfer == Transfer::Stream {
            // Parts too large to be held pass, and are checked by what follows them.
            assert_eq!(canned.count("x-amz-trailer: x-amz-checksum-sha256"), 3);
        }
    }
}

#[tokio::test]
async fn s3_f7_an_object_of_more_than_five_gib_is_copied_in_parts() {
    let five = 5_u64 << 30;
    for (size, whole, parts) in [(five - 1, 1, 0), (five, 1, 0), (five + 1, 0, 641)] {
        let canned = huge(Transfer::ServerSide, size, None).await;
        let (key, pages) = (key("k"), Pages::default());
        let settled = canned.bucket.make_same(Spot { key: &key, notebook: &pages, afresh: false }).await;
        match settled {
            Settled::Same(same) => assert_eq!((same.did, same.bytes), (Did::Copied, size)),
            other => panic!("{other:?}"),
        }
        let copies = canned.count("x-amz-copy-source: ");
        assert_eq!((copies - canned.count("x-amz-copy-source-range: "), canned.count("uploadid=up&")), (whole, 0));
        assert_eq!(canned.count("x-amz-copy-source-range: "), parts, "{size}");
        assert_eq!(canned.count("x-amz-copy-source-if-match: "), whole + parts, "each is of what was looked at");
        if parts > 0 {
            let last = format!("x-amz-copy-source-range: bytes={five}-{five}");
            assert_eq!(canned.count(&last), 1, "the last byte is a part");
        }
        assert_eq!(canned.count("if-none-match: *"), 1, "the write is on a condition");
    }
}

#[tokio::test]
async fn a_copy_without_an_answer_may_have_been_made_and_a_long_one_is_tried_in_parts() {
    let canned = Canned::start(Transfer::ServerSide, |_| None).await;
    let (key, pages) = (key("k"), Pages::default());
    let spot = Spot { key: &key, notebook: &pages, afresh: false };
    let source = object(20 << 20);
    let stop = canned.bucket.carry_over(spot, "k", &source, &Beside::default(), &Onto::Nothing).await;
    assert!(matches!(&stop, Err(Stop::Failed(error)) if error.class == Class::Unknown), "{stop:?}");
    assert_eq!(canned.count("x-amz-copy-source: "), 1);
    let again = canned.bucket.carry_over(spot, "k", &source, &Beside::default(), &Onto::Nothing).await;
    assert!(again.is_err());
    assert_eq!((canned.count("x-amz-copy-source: "), canned.count("?uploads")), (1, 1));
}
