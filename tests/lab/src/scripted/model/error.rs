//! What the server answers when it does not do what was asked: an AWS error code, its HTTP status, its words.

use std::borrow::Cow;
use std::fmt;

/// An AWS JSON error. `code` is the short name ("ValidationException"), without its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// HTTP status of the answer.
    pub status: u16,
    /// Short exception name.
    pub code: Cow<'static, str>,
    /// The `message` member.
    pub message: String,
}

impl AwsError {
    /// An error with a status of its own.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationException", message)
    }

    pub(crate) fn table_not_found(table: &str) -> Self {
        Self::new(400, "ResourceNotFoundException", format!("Requested resource not found: Table: {table} not found"))
    }

    pub(crate) fn stream_not_found(arn: &str) -> Self {
        Self::new(400, "ResourceNotFoundException", format!("Requested resource not found: Stream: {arn} not found"))
    }

    pub(crate) fn shard_not_found(shard: &str, arn: &str) -> Self {
        Self::new(
            400,
            "ResourceNotFoundException",
            format!("Requested resource not found: Shard does not exist: {shard} in stream: {arn}"),
        )
    }

    pub(crate) fn trimmed() -> Self {
        Self::new(
            400,
            "TrimmedDataAccessException",
            "The operation attempted to read past the oldest stream record in a shard",
        )
    }

    pub(crate) fn expired_iterator() -> Self {
        Self::new(400, "ExpiredIteratorException", "Iterator expired: the shard iterator is older than its lifetime")
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.status, self.message)
    }
}

impl std::error::Error for AwsError {}
