//! Queues: hidden, redelivered, given up, forgotten, lying.

use super::*;
use crate::scripted::sqs::QueueDepth;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, MessageSystemAttributeName, QueueAttributeName};

fn depth(waiting: u64, in_flight: u64, delayed: u64) -> QueueDepth {
    QueueDepth { waiting, in_flight, delayed }
}

#[tokio::test]
async fn a_message_is_hidden_redelivered_and_given_up() {
    let Pair { y, .. } = pair(Versioning::Off);
    let (client, url) = (sqs(&y), y.sqs().url("q"));
    y.sqs().create("dead", QueueSettings::default());
    y.sqs().change("q", |settings| settings.redrive = Some(("dead".to_owned(), 2)));
    y.sqs().send("q", "hello");
    let receive = || {
        let call = client.receive_message().queue_url(&url).max_number_of_messages(10).visibility_timeout(60);
        call.message_system_attribute_names(MessageSystemAttributeName::All).send()
    };
    let first = receive().await.unwrap().messages.unwrap_or_default();
    let attributes = first[0].attributes.as_ref().unwrap();
    assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    assert!(attributes[&MessageSystemAttributeName::SentTimestamp].len() == 13);
    assert!(receive().await.unwrap().messages.unwrap_or_default().is_empty());
    assert_eq!(y.sqs().depth("q"), depth(0, 1, 0));
    let handle = first[0].receipt_handle.clone().unwrap();
    let hide = |handle: &str, by: i32| {
        client.change_message_visibility().queue_url(&url).receipt_handle(handle).visibility_timeout(by).send()
    };
    hide(&handle, 600).await.unwrap();
    y.advance_clock(Duration::from_secs(599));
    assert_eq!(y.sqs().depth("q"), depth(0, 1, 0));
    assert!(hide(&handle, 43_000).await.is_err(), "more than twelve hours from its receipt");
    y.advance_clock(Duration::from_secs(2));
    let code = hide(&handle, 60).await.unwrap_err().into_service_error();
    assert!(code.is_message_not_inflight(), "{code:?}");
    let second = receive().await.unwrap().messages.unwrap_or_default();
    // The old handle is answered with success and deletes nothing.
    client.delete_message().queue_url(&url).receipt_handle(&handle).send().await.unwrap();
    assert_eq!(y.sqs().messages("q").len(), 1);
    y.advance_clock(Duration::from_secs(61));
    assert!(receive().await.unwrap().messages.unwrap_or_default().is_empty(), "received twice already");
    let dead = y.sqs().messages("dead");
    assert_eq!((dead.len(), dead[0].receives), (1, 2));
    assert_ne!(second[0].receipt_handle, first[0].receipt_handle);
    assert_eq!(second[0].message_id.as_ref(), Some(&dead[0].id));
}

#[tokio::test]
async fn a_long_poll_waits_for_a_message_and_a_batch_fails_in_part() {
    let Pair { y, .. } = pair(Versioning::Off);
    let (client, url) = (sqs(&y), y.sqs().url("q"));
    let poll = || client.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(2).send();
    let waiting = tokio::spawn(poll());
    tokio::time::sleep(Duration::from_millis(50)).await;
    for n in 0..3 {
        y.sqs().send("q", format!("{n}"));
    }
    let mut got = waiting.await.unwrap().unwrap().messages.unwrap_or_default();
    while got.len() < 3 {
        got.extend(poll().await.unwrap().messages.unwrap_or_default());
    }
    y.fault(FaultRule::on("DeleteMessageBatch").queue("q").times(1).fault(Fault::Unprocessed { keep: 2 }));
    let entry = |(n, message): (usize, &aws_sdk_sqs::types::Message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(message.receipt_handle.clone().unwrap()).build().unwrap()
    };
    let entries = Some(got.iter().enumerate().map(entry).collect());
    let done = client.delete_message_batch().queue_url(&url).set_entries(entries).send().await.unwrap();
    assert_eq!((done.successful().len(), done.failed().len()), (2, 1));
    assert_eq!(y.sqs().depth("q"), depth(0, 1, 0));
    assert_eq!(y.sqs().reveal("q"), 1);
    assert_eq!(poll().await.unwrap().messages().len(), 1);
}

#[tokio::test]
async fn attributes_lie_and_a_queue_is_made_again() {
    let Pair { y, .. } = pair(Versioning::Off);
    let (client, url) = (sqs(&y), y.sqs().url("q"));
    let ask = || async {
        let call = client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
        call.send().await.unwrap().attributes.unwrap()
    };
    y.sqs().send("q", "x");
    y.sqs().lie("q", depth(0, 0, 0), Duration::from_secs(60));
    assert_eq!(ask().await[&QueueAttributeName::ApproximateNumberOfMessages], "0");
    y.advance_clock(Duration::from_secs(61));
    let before = ask().await;
    assert_eq!(before[&QueueAttributeName::ApproximateNumberOfMessages], "1");
    y.sqs().recreate("q");
    let after = ask().await;
    assert_ne!(before[&QueueAttributeName::CreatedTimestamp], after[&QueueAttributeName::CreatedTimestamp]);
    assert_eq!(after[&QueueAttributeName::ApproximateNumberOfMessages], "0");
    y.sqs().send("q", "x");
    y.advance_clock(Duration::from_secs(5 * 86_400));
    assert_eq!(y.sqs().depth("q"), depth(0, 0, 0), "it was kept for four days");
    y.sqs().change("q", |settings| settings.delay = Duration::from_secs(30));
    client.send_message().queue_url(&url).message_body("x").send().await.unwrap();
    assert_eq!(y.sqs().depth("q"), depth(0, 0, 1));
    client.purge_queue().queue_url(&url).send().await.unwrap();
    assert_eq!(y.sqs().depth("q"), depth(0, 0, 0));
    y.sqs().quirks("q", |quirks| quirks.most_in_flight = 0);
    y.sqs().change("q", |settings| settings.delay = Duration::ZERO);
    y.sqs().send("q", "x");
    let full = client.receive_message().queue_url(&url).send().await.unwrap_err().into_service_error();
    assert!(full.is_over_limit(), "{full:?}");
    y.sqs().delete("q");
    let gone = client.receive_message().queue_url(&url).send().await.unwrap_err().into_service_error();
    assert!(gone.is_queue_does_not_exist(), "{gone:?}");
}
