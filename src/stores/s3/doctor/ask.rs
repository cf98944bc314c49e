//! One question to a control plane, asked until there is an answer, a few times.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::aws::{classify, words};
use crate::change::Class;
use crate::seams::SharedClock;
use crate::stores::s3::drift::{Asked, Refused};
use crate::stores::s3::survey::code;

/// A question without an answer is asked so often.
const ATTEMPTS: u32 = 3;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) clock: &'a SharedClock,
}

impl Asking<'_> {
    pub(super) async fn again<T, E, F>(self, action: &'static str, ask: impl Fn() -> F) -> Asked<T>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        // No code is empty.
        let answer = self.again_or(action, "", ask).await?;
        answer.ok_or_else(|| Refused { class: Class::Unavailable, action, words: "an answer without a content".into() })
    }

    /// `none` is the service's code for what is not configured: an answer, too.
    pub(super) async fn again_or<T, E, F>(
        self,
        action: &'static str,
        none: &str,
        ask: impl Fn() -> F,
    ) -> Asked<Option<T>>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut attempt = 1;
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => error,
            };
            if !none.is_empty() && code(&error) == Some(none) {
                return Ok(None);
            }
            let class = class(&error);
            let definite = matches!(class, Class::Denied | Class::Missing | Class::Invalid);
            if definite || attempt == ATTEMPTS {
                return Err(Refused { class, action, words: words(&error) });
            }
            attempt += 1;
            self.clock.sleep(PAUSE).await;
        }
    }
}

/// An answer to HEAD has no body and so no code: its status says the same.
fn class<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Class {
    match (classify(error, false), error.raw_response().map(|raw| raw.status().as_u16())) {
        (Class::Unavailable, Some(403)) => Class::Denied,
        (Class::Unavailable, Some(404)) => Class::Missing,
        (Class::Unavailable, Some(301 | 400)) => Class::Invalid,
        (class, _) => class,
    }
}

/// What is not there was allowed to be looked for.
pub(super) fn missing_is<T>(value: T, asked: Asked<T>) -> Asked<T> {
    match asked {
        Err(refused) if refused.class == Class::Missing => Ok(value),
        other => other,
    }
}
