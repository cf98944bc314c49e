//! What becomes of a call when a fault rule fires, for the APIs that put what they do into a future: it is carried out
//! exactly when that is polled.

use super::model::error::AwsError;
use super::region::{Fault, Region};
use super::wire::{Payload, Reply};
use futures_util::FutureExt as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// An answer.
pub(crate) type Answered = hyper::Response<Payload>;

/// A call that has not been carried out yet.
pub(crate) type Deed = Pin<Box<dyn Future<Output = Result<Answered, AwsError>> + Send>>;

/// How an API says that it did not do something.
pub(crate) struct Manner {
    /// Writes an error down.
    pub(crate) refused: fn(&AwsError) -> Reply,
    /// Status and code when there are too many calls.
    pub(crate) throttled: (u16, &'static str),
    /// Status and code when it is its own fault.
    pub(crate) failed: (u16, &'static str),
}

impl Manner {
    fn told(&self, outcome: Result<Answered, AwsError>) -> Reply {
        outcome.map_or_else(|error| (self.refused)(&error), Reply::Answer)
    }

    /// An error that comes after the status line of a success.
    fn in_body(&self, error: &AwsError) -> Reply {
        let mut reply = (self.refused)(error);
        if let Reply::Answer(response) = &mut reply {
            *response.status_mut() = hyper::StatusCode::OK;
        }
        reply
    }
}

/// Carries a call out, or does what the fault says.
pub(crate) async fn act(region: &Arc<Region>, fault: Option<Fault>, deed: Deed, manner: &'static Manner) -> Reply {
    let refuse =
        |(status, code): (u16, &'static str), words: &str| (manner.refused)(&AwsError::new(status, code, words));
    let Some(fault) = fault else { return manner.told(deed.await) };
    match fault {
        Fault::Throttle => refuse(manner.throttled, "Please reduce your request rate."),
        Fault::InternalError => refuse(manner.failed, "We encountered an internal error. Please try again."),
        Fault::Validation(words) => refuse((400, "InvalidRequest"), &words),
        Fault::AccessDenied => refuse((403, "AccessDenied"), "Access Denied"),
        Fault::Error(error) => (manner.refused)(&error),
        Fault::ErrorAfterEffect(error) => {
            drop(deed.await);
            (manner.refused)(&error)
        }
        Fault::ErrorInBody(error) => manner.in_body(&error),
        Fault::ErrorInBodyAfterEffect(error) => {
            drop(deed.await);
            manner.in_body(&error)
        }
        Fault::Spoil(spoil) => match deed.await {
            Ok(mut response) => {
                if spoil.checksum {
                    let names: Vec<_> =
                        response.headers().keys().filter(|name| is_checksum(name.as_str())).cloned().collect();
                    for name in names {
                        response.headers_mut().insert(name, hyper::header::HeaderValue::from_static("AAAAAA=="));
                    }
                }
                response.body_mut().spoil(&spoil);
                Reply::Answer(response)
            }
            Err(error) => (manner.refused)(&error),
        },
        // What is left undone is the deed's own affair.
        Fault::Unprocessed { .. } => manner.told(deed.await),
        Fault::Drop => Reply::Close,
        Fault::LoseAnswer => {
            // Done or refused, the client is not told.
            drop(deed.await);
            Reply::Close
        }
        Fault::LoseAnswerLate { delay } => {
            drop(detached(region, deed, delay, manner));
            Reply::Close
        }
        Fault::LoseAnswerHeld => {
            region.hold(deed);
            Reply::Close
        }
        Fault::Delay(delay) => detached(region, deed, delay, manner).await.unwrap_or(Reply::Close),
        Fault::SlowAnswer(delay) => {
            let reply = manner.told(deed.await);
            tokio::time::sleep(delay).await;
            reply
        }
        Fault::Hang => Reply::Never,
        Fault::Hold(gate) => {
            gate.pass().await;
            manner.told(deed.await)
        }
        Fault::HoldAnswer(gate) => {
            let reply = manner.told(deed.await);
            gate.pass().await;
            reply
        }
    }
}

fn is_checksum(name: &str) -> bool {
    name.starts_with("x-amz-checksum-") && name != "x-amz-checksum-type"
}

/// Carries a call out after `delay`, whether or not anybody still waits.
fn detached(
    region: &Arc<Region>,
    deed: Deed,
    delay: Duration,
    manner: &'static Manner,
) -> tokio::task::JoinHandle<Reply> {
    region.late().fetch_add(1, Ordering::SeqCst);
    let region = Arc::clone(region);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let reply = manner.told(deed.await);
        region.late().fetch_sub(1, Ordering::SeqCst);
        reply
    })
}

/// Carries out a call that was held. One that waits for something itself (a long poll) is given up.
pub(crate) fn carried_out_now(deed: Deed) -> Result<(), AwsError> {
    deed.now_or_never().unwrap_or_else(|| Err(AwsError::new(500, "StillWaiting", "it waits"))).map(drop)
}
