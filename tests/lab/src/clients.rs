//! SDK clients for an emulated region: static test credentials, short timeouts, nothing from the environment.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};

/// The access key and the secret that every part of the lab and every child uses. The emulators check neither.
pub const TEST_KEY: &str = "test";

/// Where a region answers, and under which name it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The AWS name of the region: "us-east-1".
    pub region: String,
}

impl Endpoint {
    /// An endpoint at `url` for `region`.
    pub fn new(url: impl Into<String>, region: impl Into<String>) -> Self {
        Self { url: url.into(), region: region.into() }
    }
}

/// What a client does about an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Up to five attempts: for readers and for setting up.
    Retries,
    /// One attempt, whose failure the caller sees: for writers that keep a ledger, because a retry whose first attempt
    /// is still under way could be overtaken by the next write of the same key.
    OneAttempt,
}

/// A DynamoDB client that retries.
pub fn dynamodb(endpoint: &Endpoint) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&settings(endpoint, Patience::Retries))
}

/// A DynamoDB client that makes one attempt a call.
pub fn dynamodb_once(endpoint: &Endpoint) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&settings(endpoint, Patience::OneAttempt))
}

/// A DynamoDB Streams client that retries.
pub fn streams(endpoint: &Endpoint) -> aws_sdk_dynamodbstreams::Client {
    aws_sdk_dynamodbstreams::Client::new(&settings(endpoint, Patience::Retries))
}

/// An S3 client that retries, path style.
pub fn s3(endpoint: &Endpoint) -> aws_sdk_s3::Client {
    s3_with(endpoint, Patience::Retries)
}

/// An S3 client that makes one attempt a call.
pub fn s3_once(endpoint: &Endpoint) -> aws_sdk_s3::Client {
    s3_with(endpoint, Patience::OneAttempt)
}

fn s3_with(endpoint: &Endpoint, patience: Patience) -> aws_sdk_s3::Client {
    let config = settings(endpoint, patience);
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build())
}

/// An SQS client that retries. Its long polls must be shorter than its attempts: 3 s.
pub fn sqs(endpoint: &Endpoint) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(&settings(endpoint, Patience::Retries))
}

/// The shared settings of the clients of an endpoint. An attempt may take 5 s.
pub fn settings(endpoint: &Endpoint, patience: Patience) -> SdkConfig {
    let retry = match patience {
        Patience::Retries => {
            RetryConfig::standard().with_max_attempts(5).with_initial_backoff(Duration::from_millis(100))
        }
        Patience::OneAttempt => RetryConfig::disabled(),
    };
    let timeout = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(Duration::from_secs(5))
        .build();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(endpoint.region.clone()))
        .endpoint_url(&endpoint.url)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(TEST_KEY, TEST_KEY, None, None, "lab")))
        .retry_config(retry)
        .timeout_config(timeout)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}
