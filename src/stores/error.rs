//! What a store says when something fails: what, on what, and what to do.

use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::aws::{classify, words};
use crate::change::Class;

/// A failure of a call for a store. `Display` gives what failed, on what and the hint; the cause is in `source`.
#[derive(Debug)]
pub struct StoreError {
    /// Decides retry and the metric label.
    pub class: Class,
    /// What failed: `GetRecords`.
    pub what: String,
    /// On what: `table orders, shard shardId-0001`.
    pub on: String,
    /// What to do, where a human is needed.
    pub hint: Option<String>,
    /// The cause.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Without hint and cause.
    pub fn new(class: Class, what: impl Into<String>, on: impl Into<String>) -> Self {
        Self { class, what: what.into(), on: on.into(), hint: None, source: None }
    }

    /// Of a call to AWS, with the service's own words.
    pub fn of_call<E>(error: &SdkError<E, HttpResponse>, write: bool, what: &str, on: &str) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let class = classify(error, write);
        let hint = match class {
            Class::Denied => Some("check the credentials and the policies in config/iam"),
            Class::Missing => Some("check its name and region"),
            _ => None,
        };
        let mut failed = Self::new(class, what, on).because(words(error));
        failed.hint = hint.map(str::to_owned);
        failed
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The whole chain of causes in one line, for a log entry or a status note.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed on {} ({})", self.what, self.on, self.class.label())?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
