//! The buckets and queues of the scripted server, asked by the official SDKs.

mod objects;

use super::{Envelope, EventRoute, Versioning};
use crate::clients::{Endpoint, Patience, settings};
use crate::scripted::sqs::QueueSettings;
use crate::scripted::{Options, ScriptedAws};

/// Two servers: X with the bucket "b", whose events go to the queue "q" of Y at once; Y with
/// the bucket "copy", which sees X.
struct Pair {
    x: ScriptedAws,
    y: ScriptedAws,
}

fn pair(versioning: Versioning) -> Pair {
    let x = ScriptedAws::start(Options::default()).unwrap();
    let y = ScriptedAws::start(Options { region: "us-west-2".to_owned(), seed: 2, workers: 2 }).unwrap();
    y.sqs().create("q", QueueSettings::default());
    x.s3().create("b", versioning);
    y.s3().create("copy", versioning);
    x.s3().send_events("b", &y, EventRoute::to("q").envelope(Envelope::S3));
    y.s3().see(&x);
    Pair { x, y }
}

fn s3(aws: &ScriptedAws) -> aws_sdk_s3::Client {
    let config = settings(&Endpoint::new(aws.endpoint(), "us-east-1"), Patience::OneAttempt);
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build())
}

fn sqs(aws: &ScriptedAws) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(&settings(&Endpoint::new(aws.endpoint(), "us-east-1"), Patience::OneAttempt))
}
