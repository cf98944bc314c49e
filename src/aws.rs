//! AWS SDK clients: region, role, timeouts, retries; and what an error of theirs means.
//!
//! The SDK's own retries are switched off (one attempt): they hide throttling (IA-8) and would resend a write behind the
//! back of the per-key order (AP-3). Retrying is the spine's. Every attempt has a time limit, because the SDK has none by
//! default and a region that hangs is the nastier failure.
//!
//! Every answer's `Date` header is compared with our clock: the measured bound on the skew is subtracted from every proof
//! that rests on our own clock, and added to every RPO (RP-5).

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region as AwsRegion, SdkConfig};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Layer, Storable, StoreReplace};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::change::{Class, SourceTime, Stamp};
use crate::config::Region;
use crate::seams::SharedClock;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(3);

/// Is told of every attempt: service, operation, outcome (`ok`, or a class of [`Class`]).
pub type OnRequest = Arc<dyn Fn(&str, &str, &str) + Send + Sync>;

/// The two regions.
#[derive(Clone)]
pub struct Aws {
    /// prodX.
    pub primary: Side,
    /// prodY.
    pub standby: Side,
    /// Time.
    pub clock: SharedClock,
}

impl Aws {
    /// Reads credentials the standard way and makes both sides. No call is made yet.
    pub async fn open(primary: &Region, standby: &Region, clock: &SharedClock, on_request: &OnRequest) -> Self {
        Self {
            primary: Side::open(primary, clock, on_request).await,
            standby: Side::open(standby, clock, on_request).await,
            clock: Arc::clone(clock),
        }
    }
}

/// One region.
#[derive(Clone)]
pub struct Side {
    config: SdkConfig,
    watch: Watch,
    /// The endpoint is not AWS's own.
    endpoint: bool,
    clients: Made<Clients>,
    cloudwatch: Made<aws_sdk_cloudwatch::Client>,
    s3: Made<aws_sdk_s3::Client>,
    s3control: Made<aws_sdk_s3control::Client>,
    sqs: Made<aws_sdk_sqs::Client>,
    eventbridge: Made<aws_sdk_eventbridge::Client>,
}

/// Clients by their time limit. Every client has connections and trusted certificates of its own, so stores share them.
type Made<C> = Arc<Mutex<HashMap<Duration, C>>>;

/// The clients of one time limit.
#[derive(Clone)]
struct Clients {
    dynamodb: aws_sdk_dynamodb::Client,
    streams: aws_sdk_dynamodbstreams::Client,
}

impl Side {
    async fn open(region: &Region, clock: &SharedClock, on_request: &OnRequest) -> Self {
        let name = AwsRegion::new(region.region.clone());
        let mut loader =
            aws_config::defaults(BehaviorVersion::latest()).region(name.clone()).retry_config(RetryConfig::disabled());
        if let Some(profile) = &region.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &region.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let mut config = loader.load().await;
        if let Some(role) = &region.role_arn {
            let provider = AssumeRoleProvider::builder(role.clone())
                .session_name("plimsoll")
                .region(name)
                .configure(&config)
                .build()
                .await;
            config = config
                .into_builder()
                .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(provider))
                .build();
        }
        Self {
            config,
            endpoint: region.endpoint_url.is_some(),
            watch: Watch { clock: Arc::clone(clock), skew: Arc::default(), on_request: Arc::clone(on_request) },
            clients: Arc::default(),
            cloudwatch: Arc::default(),
            s3: Arc::default(),
            s3control: Arc::default(),
            sqs: Arc::default(),
            eventbridge: Arc::default(),
        }
    }

    /// A client of DynamoDB whose attempts take at most `attempt`.
    pub fn dynamodb(&self, attempt: Duration) -> aws_sdk_dynamodb::Client {
        self.clients(attempt).dynamodb
    }

    /// A client of DynamoDB Streams whose attempts take at most `attempt`.
    pub fn streams(&self, attempt: Duration) -> aws_sdk_dynamodbstreams::Client {
        self.clients(attempt).streams
    }

    /// A client of CloudWatch whose attempts take at most `attempt`. Made when a store that needs it is opened.
    pub fn cloudwatch(&self, attempt: Duration) -> aws_sdk_cloudwatch::Client {
        made(&self.cloudwatch, attempt, || {
            let config = aws_sdk_cloudwatch::config::Builder::from(&self.config);
            aws_sdk_cloudwatch::Client::from_conf(
                config.timeout_config(timeouts(attempt)).interceptor(self.watch.clone()).build(),
            )
        })
    }

    /// A client of S3 whose attempts take at most `attempt`: until the answer begins, for one that has a body. With an
    /// endpoint of one's own the bucket is in the path: names in front of `127.0.0.1` are no names.
    pub fn s3(&self, attempt: Duration) -> aws_sdk_s3::Client {
        made(&self.s3, attempt, || {
            let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(self.endpoint);
            aws_sdk_s3::Client::from_conf(
                config.timeout_config(timeouts(attempt)).interceptor(self.watch.clone()).build(),
            )
        })
    }

    /// A client of the control plane of S3 whose attempts take at most `attempt`.
    pub fn s3control(&self, attempt: Duration) -> aws_sdk_s3control::Client {
        made(&self.s3control, attempt, || {
            let config = aws_sdk_s3control::config::Builder::from(&self.config);
            aws_sdk_s3control::Client::from_conf(
                config.timeout_config(timeouts(attempt)).interceptor(self.watch.clone()).build(),
            )
        })
    }

    /// A client of SQS whose attempts take at most `attempt`: more than a long poll waits.
    pub fn sqs(&self, attempt: Duration) -> aws_sdk_sqs::Client {
        made(&self.sqs, attempt, || {
            let config = aws_sdk_sqs::config::Builder::from(&self.config);
            aws_sdk_sqs::Client::from_conf(
                config.timeout_config(timeouts(attempt)).interceptor(self.watch.clone()).build(),
            )
        })
    }

    /// A client of EventBridge whose attempts take at most `attempt`.
    pub fn eventbridge(&self, attempt: Duration) -> aws_sdk_eventbridge::Client {
        made(&self.eventbridge, attempt, || {
            let config = aws_sdk_eventbridge::config::Builder::from(&self.config);
            aws_sdk_eventbridge::Client::from_conf(
                config.timeout_config(timeouts(attempt)).interceptor(self.watch.clone()).build(),
            )
        })
    }

    fn clients(&self, attempt: Duration) -> Clients {
        let mut made = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = timeouts(attempt);
        let new = || {
            let dynamodb = aws_sdk_dynamodb::config::Builder::from(&self.config);
            let streams = aws_sdk_dynamodbstreams::config::Builder::from(&self.config);
            Clients {
                dynamodb: aws_sdk_dynamodb::Client::from_conf(
                    dynamodb.timeout_config(limits.clone()).interceptor(self.watch.clone()).build(),
                ),
                streams: aws_sdk_dynamodbstreams::Client::from_conf(
                    streams.timeout_config(limits.clone()).interceptor(self.watch.clone()).build(),
                ),
            }
        };
        made.entry(attempt).or_insert_with(new).clone()
    }

    /// The region's name.
    pub fn region(&self) -> String {
        self.config.region().map_or_else(String::new, ToString::to_string)
    }

    /// How far our clock is, at least, from this region's, by the newest answer.
    pub fn skew(&self) -> Duration {
        Duration::from_millis(self.watch.skew.load(Ordering::Relaxed))
    }
}

/// The client of that time limit, made when it is first asked for.
fn made<C: Clone>(clients: &Made<C>, attempt: Duration, new: impl FnOnce() -> C) -> C {
    clients.lock().unwrap_or_else(PoisonError::into_inner).entry(attempt).or_insert_with(new).clone()
}

/// Time limits of one attempt.
fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT.min(attempt))
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt + Duration::from_secs(1))
        .build()
}

/// Watches the attempts of a client: counts them and measures the skew.
#[derive(Clone)]
struct Watch {
    clock: SharedClock,
    skew: Arc<AtomicU64>,
    on_request: OnRequest,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// When an attempt was sent, and how it is to be counted.
#[derive(Debug, Clone, Copy)]
struct Sent(Stamp);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "plimsoll-watch"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut layer = Layer::new("plimsoll-sent");
        layer.store_put(Sent(self.clock.now()));
        cfg.push_layer(layer);
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").and_then(humantime_http);
        if let (Some(date), Some(sent)) = (date, cfg.load::<Sent>()) {
            let skew = skew(date, sent.0.wall, self.clock.now().wall);
            self.skew.store(u64::try_from(skew.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(operation) = cfg.load::<Metadata>() {
            let outcome = match context.output_or_error() {
                Some(Ok(_)) => "ok",
                Some(Err(_)) => match context.response().map(|r| r.status().as_u16()) {
                    Some(400..=499) => "refused",
                    Some(_) => "failed",
                    None => "no_answer",
                },
                None => "no_answer",
            };
            (self.on_request)(operation.service(), operation.name(), outcome);
        }
        Ok(())
    }
}

/// An HTTP date as an instant.
fn humantime_http(text: &str) -> Option<SourceTime> {
    let date = aws_smithy_types::DateTime::from_str(text, aws_smithy_types::date_time::Format::HttpDate).ok()?;
    date.to_millis().ok().map(SourceTime)
}

/// The least distance between two clocks that an answer allows. The other clock showed the second that begins at `date`
/// at some moment between `sent` and `received` of ours; zero if that can be true of equal clocks.
fn skew(date: SourceTime, sent: SourceTime, received: SourceTime) -> Duration {
    let second = Duration::from_secs(1);
    // Theirs minus ours lies between (date - received) and (date + 1 s - sent).
    if date > received {
        date.since(received)
    } else if date + second < sent {
        sent.since(date + second)
    } else {
        Duration::ZERO
    }
}

/// What the failure of a call means. `write`: without a definite answer the call may have taken effect.
pub fn classify<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, write: bool) -> Class {
    let no_answer = if write { Class::Unknown } else { Class::Unavailable };
    match error {
        SdkError::ConstructionFailure(_) => Class::Invalid,
        // No connection was made, so nothing was sent.
        SdkError::DispatchFailure(failure) if refused(failure.as_connector_error().map(|e| e as _)) => {
            Class::Unavailable
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            match service.err().code().unwrap_or_default() {
                "ProvisionedThroughputExceededException"
                | "ThrottlingException"
                | "Throttling"
                | "RequestLimitExceeded"
                | "RequestThrottled"
                | "SlowDown"
                | "OverLimit"
                | "LimitExceededException" => Class::Throttled,
                "AccessDeniedException"
                | "AccessDenied"
                | "Forbidden"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "UnrecognizedClientException"
                | "InvalidSignatureException"
                | "ExpiredTokenException"
                | "MissingAuthenticationTokenException"
                | "IncompleteSignatureException" => Class::Denied,
                "ResourceNotFoundException"
                | "NoSuchBucket"
                | "NoSuchKey"
                | "NoSuchVersion"
                | "NotFound"
                | "QueueDoesNotExist"
                | "AWS.SimpleQueueService.NonExistentQueue" => Class::Missing,
                // The one refusal that is about what was sent and not about us.
                "ValidationException" | "ItemCollectionSizeLimitExceededException" | "SerializationException" => {
                    Class::Invalid
                }
                _ if status == 429 => Class::Throttled,
                // A write answered with 500 or 503 may have taken effect.
                _ if status >= 500 => no_answer,
                // Refused, and not for what it holds: the same may be accepted later.
                _ => Class::Unavailable,
            }
        }
        _ => no_answer,
    }
}

fn refused(error: Option<&(dyn std::error::Error + 'static)>) -> bool {
    let mut cause = error;
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What the service said, or what kept it from saying anything.
pub fn words<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if let SdkError::ServiceError(service) = error {
        let code = service.err().code().unwrap_or("an error without a code");
        let message = service.err().message().unwrap_or_default();
        return format!("{code} {message}").trim_end().to_owned();
    }
    let mut text = match error {
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "no answer in time".to_owned(),
        SdkError::DispatchFailure(_) => "no connection".to_owned(),
        SdkError::ResponseError(_) => "the answer makes no sense".to_owned(),
        _ => "the request could not be made".to_owned(),
    };
    let mut last = None;
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        last = Some(error.to_string());
        cause = error.source();
    }
    if let Some(last) = last.filter(|last| !text.contains(last.as_str())) {
        text.push_str(": ");
        text.push_str(&last);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rp5_a_date_header_bounds_the_skew_and_its_second_is_no_skew() {
        let at = |ms: i64| SourceTime(100_000 + ms);
        assert_eq!(skew(at(0), at(400), at(500)), Duration::ZERO, "within its second");
        assert_eq!(skew(at(0), at(900), at(1100)), Duration::ZERO, "across the second");
        assert_eq!(skew(at(0), at(3000), at(3100)), Duration::from_secs(2), "we are ahead");
        assert_eq!(skew(at(5000), at(900), at(1000)), Duration::from_secs(4), "we are behind");
        assert_eq!(skew(at(0), at(-9000), at(9000)), Duration::ZERO, "a slow answer proves nothing");
    }

    #[test]
    fn http_dates() {
        assert_eq!(humantime_http("Tue, 24 Nov 2026 06:46:07 GMT"), Some(SourceTime(1_795_502_767_000)));
        assert_eq!(humantime_http("yesterday"), None);
    }
}
