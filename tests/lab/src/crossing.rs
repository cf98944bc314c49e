//! The way of a bucket's events across emulated regions: X's notification, X's queue, a forwarder that stands for the hop
//! between the regions, Y's queue. What is still on X's side when X dies is lost with it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, Event, NotificationConfiguration,
    QueueConfiguration, VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clients::{self, Endpoint};
use crate::trouble::{Because as _, Trouble};

/// Two buckets, two queues and the hop between them; the hop ends when this is dropped.
#[derive(Debug)]
pub struct Crossing {
    bucket: String,
    standby_bucket: String,
    queue_url: String,
    held: watch::Sender<bool>,
    forwarded: Arc<std::sync::atomic::AtomicU64>,
    hop: JoinHandle<()>,
}

impl Crossing {
    /// Makes `bucket` in X with its notifications, `standby_bucket` in Y, the queues, and starts the hop.
    ///
    /// # Errors
    /// When a region does not do what it is asked.
    pub async fn set_up(
        x: &Endpoint,
        y: &Endpoint,
        bucket: &str,
        standby_bucket: &str,
        versioned: bool,
    ) -> Result<Self, Trouble> {
        let (x_s3, y_s3) = (clients::s3(x), clients::s3(y));
        for (client, name, region) in [(&x_s3, bucket, &x.region), (&y_s3, standby_bucket, &y.region)] {
            // The one region that has no name here.
            let there = (region != "us-east-1").then(|| {
                let place = BucketLocationConstraint::from(region.as_str());
                CreateBucketConfiguration::builder().location_constraint(place).build()
            });
            let call = client.create_bucket().bucket(name).set_create_bucket_configuration(there);
            call.send().await.because(format!("make the bucket {name}"))?;
            if versioned {
                let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
                let call = client.put_bucket_versioning().bucket(name).versioning_configuration(on);
                call.send().await.because(format!("turn on the versions of {name}"))?;
            }
        }
        let (x_sqs, y_sqs) = (clients::sqs(x), clients::sqs(y));
        let from_name = format!("{bucket}-events");
        let from = x_sqs.create_queue().queue_name(&from_name).send().await.because("make the queue of X")?;
        let from = from.queue_url.unwrap_or_default();
        let to_name = format!("{standby_bucket}-events");
        let to = y_sqs.create_queue().queue_name(&to_name).send().await.because("make the queue of Y")?;
        let to = to.queue_url.unwrap_or_default();
        let asked = x_sqs.get_queue_attributes().queue_url(&from).attribute_names(QueueAttributeName::QueueArn);
        let attributes = asked.send().await.because("ask for the ARN of the queue")?.attributes.unwrap_or_default();
        let arn = attributes.get(&QueueAttributeName::QueueArn).cloned().unwrap_or_default();
        let all = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"].map(Event::from);
        let queue = QueueConfiguration::builder().queue_arn(arn).set_events(Some(all.to_vec())).build();
        let queue = queue.because("describe the notification")?;
        let notification = NotificationConfiguration::builder().queue_configurations(queue).build();
        let call = x_s3.put_bucket_notification_configuration().bucket(bucket);
        call.notification_configuration(notification).send().await.because("turn on the notifications")?;
        let (held, holding) = watch::channel(false);
        let forwarded = Arc::default();
        let hop = tokio::spawn(hop((x_sqs, from), (y_sqs, to.clone()), holding, Arc::clone(&forwarded)));
        let (bucket, standby_bucket) = (bucket.to_owned(), standby_bucket.to_owned());
        Ok(Self { bucket, standby_bucket, queue_url: to, held, forwarded, hop })
    }

    /// The bucket in X.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The bucket in Y.
    pub fn standby_bucket(&self) -> &str {
        &self.standby_bucket
    }

    /// The queue in Y that the daemon reads.
    pub fn queue_url(&self) -> &str {
        &self.queue_url
    }

    /// Messages that reached Y's queue.
    pub fn forwarded(&self) -> u64 {
        self.forwarded.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Holds what comes from now on in X's queue, or lets it go on: events that are late.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// The hop dies, as it does with X. What it had not forwarded is lost with X's queue.
    pub async fn kill(self) {
        self.hop.abort();
        // An error says that it was aborted, which is what was asked.
        let mut this = self;
        drop((&mut this.hop).await);
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        self.hop.abort();
    }
}

type Queue = (aws_sdk_sqs::Client, String);

async fn hop(from: Queue, to: Queue, mut held: watch::Receiver<bool>, forwarded: Arc<std::sync::atomic::AtomicU64>) {
    let pause = Duration::from_millis(100);
    // It ends with the sender.
    while held.wait_for(|held| !held).await.is_ok() {
        let poll = from.0.receive_message().queue_url(&from.1).max_number_of_messages(10).wait_time_seconds(1);
        let Ok(got) = poll.send().await else {
            tokio::time::sleep(pause).await;
            continue;
        };
        for message in got.messages.unwrap_or_default() {
            let sent = to.0.send_message().queue_url(&to.1).message_body(message.body.unwrap_or_default());
            // What could not be forwarded comes again after its visibility: at least once, as on AWS.
            if sent.send().await.is_ok() {
                forwarded.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let handle = message.receipt_handle.unwrap_or_default();
                drop(from.0.delete_message().queue_url(&from.1).receipt_handle(handle).send().await);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regions::{Region, RegionSpec};
    use std::time::Instant;

    #[tokio::test]
    async fn an_event_crosses_and_dies_with_its_region() {
        let folder = tempfile::tempdir().unwrap();
        let mut x = Region::start(RegionSpec::primary(folder.path())).await.unwrap();
        let y = Region::start(RegionSpec::standby(folder.path())).await.unwrap();
        let crossing = Crossing::set_up(x.endpoint(), y.endpoint(), "media", "media-copy", true).await.unwrap();
        let client = clients::s3(x.endpoint());
        let put = |key: &'static str| client.put_object().bucket("media").key(key).body(b"x".to_vec().into()).send();
        put("a b+c").await.unwrap();
        let sqs = clients::sqs(y.endpoint());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let poll = sqs.receive_message().queue_url(crossing.queue_url()).wait_time_seconds(1);
            let got = poll.send().await.unwrap();
            let bodies: Vec<&str> = got.messages().iter().filter_map(|message| message.body()).collect();
            if bodies.iter().any(|body| body.contains("a+b%2Bc")) {
                break;
            }
            assert!(Instant::now() < deadline, "no event came; {bodies:?}");
        }
        crossing.hold(true);
        x.kill();
        crossing.kill().await;
        assert!(put("late").await.is_err());
    }
}
