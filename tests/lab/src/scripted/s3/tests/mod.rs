//! The buckets and queues of the scripted server, asked by the official SDKs.

mod copies;
mod events;
mod faults;
mod listing;
mod objects;
mod queues;

use super::{ChecksumAlgorithm, Compare, Envelope, EventRoute, EventTwist, NewObject, Versioning};
use crate::clients::{Endpoint, Patience, settings};
use crate::scripted::sqs::QueueSettings;
use crate::scripted::{Fault, FaultRule, Gate, Options, ScriptedAws, Spoil};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::time::Duration;

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

/// The error code and the status of a call that failed.
fn refusal<E: ProvideErrorMetadata + std::fmt::Debug>(
    error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> (String, u16) {
    let status = error.raw_response().map_or(0, |raw| raw.status().as_u16());
    (error.as_service_error().and_then(|error| error.code()).unwrap_or_default().to_owned(), status)
}

fn is(code: &str, status: u16) -> (String, u16) {
    (code.to_owned(), status)
}

/// The bodies of the messages of the queue "q", the oldest first.
fn told(pair: &Pair) -> Vec<String> {
    pair.y.sqs().messages("q").iter().map(|message| message.body.to_string()).collect()
}

/// The keys that the messages of "q" tell, in their order.
fn told_keys(pair: &Pair) -> Vec<String> {
    let key = |record: &serde_json::Value| record["s3"]["object"]["key"].as_str().unwrap_or_default().to_owned();
    let records = |body: &String| {
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        value["Records"].as_array().map(|records| records.iter().map(key).collect::<Vec<_>>()).unwrap_or_default()
    };
    told(pair).iter().flat_map(records).collect()
}
