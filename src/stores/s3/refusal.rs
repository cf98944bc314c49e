//! What an answer means for the object it is about: look again, cannot be copied (S3-7), or did not work.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::Bucket;
use super::object::Object;
use crate::change::{Class, Key};
use crate::stores::StoreError;
use crate::stores::converge::{Refusal, Settled};

/// Why an object is not made the same in this call.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something changed meanwhile: look again.
    Again,
    /// The multipart upload is not there any more.
    NoUpload,
    /// The standby may not see the source bucket: S3 cannot copy from it by itself.
    Unseen(StoreError),
    /// It cannot be copied at all.
    Refused(Refusal),
    /// It did not work, or nobody knows.
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Failed(error)
    }
}

impl From<Stop> for Settled {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Again | Stop::NoUpload => Settled::Again,
            Stop::Refused(refusal) => Settled::Refused(refusal),
            Stop::Unseen(error) | Stop::Failed(error) => Settled::Failed(error),
        }
    }
}

/// What an answer says, by its code and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// A condition did not hold, or the object that was read is gone.
    Changed,
    /// The multipart upload is gone.
    NoUpload,
    /// It lies in an archive.
    Archived,
    /// It is encrypted with a key that only the customer has.
    CustomerKey,
    /// What arrived is not what was announced.
    Corrupt,
    /// The bucket is not there, or not for us.
    Unseen,
    /// S3 failed within an answer that began as a success (S3-F7): it may have done it.
    Unknown,
    /// Something else.
    Else,
}

/// Pure: of a code, a status and the words of an answer.
pub(super) fn told(code: &str, status: u16, words: &str) -> Told {
    match code {
        "PreconditionFailed" | "ConditionalRequestConflict" | "OperationAborted" | "NoSuchKey" | "NoSuchVersion" => {
            Told::Changed
        }
        "NoSuchUpload" => Told::NoUpload,
        "InvalidObjectState" => Told::Archived,
        "InvalidRequest" if words.contains("Server Side Encryption") => Told::CustomerKey,
        "BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" => Told::Corrupt,
        "NoSuchBucket" | "AccessDenied" | "AllAccessDisabled" | "PermanentRedirect" => Told::Unseen,
        // A condition on the range of a GET: another object, shorter than the one that was looked at.
        "InvalidRange" => Told::Changed,
        "" if status == 412 || status == 409 => Told::Changed,
        "SlowDown" | "ServiceUnavailable" => Told::Else,
        _ if status == 200 => Told::Unknown,
        _ => Told::Else,
    }
}

/// Code, status and words of an answer; nothing of one that did not come.
pub(super) fn answer<E>(error: &SdkError<E, HttpResponse>) -> Option<(String, u16, String)>
where
    E: ProvideErrorMetadata,
{
    let SdkError::ServiceError(service) = error else { return None };
    let code = service.err().code().unwrap_or_default().to_owned();
    let words = service.err().message().unwrap_or_default().to_owned();
    Some((code, service.raw().status().as_u16(), words))
}

/// What arrived is not what was announced.
pub(super) fn corrupt<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata,
{
    answer(error).is_some_and(|(code, status, words)| told(&code, status, &words) == Told::Corrupt)
}

impl Bucket {
    /// What a failed call on an object means. `write`: it may have taken effect if nobody says that it has not.
    pub(super) fn stop<E>(&self, error: &SdkError<E, HttpResponse>, write: bool, what: &str, key: &Key) -> Stop
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let failed = || StoreError::of_call(error, write, what, &self.on(key));
        let Some((code, status, words)) = answer(error) else { return Stop::Failed(failed()) };
        match told(&code, status, &words) {
            Told::Changed => Stop::Again,
            Told::NoUpload => Stop::NoUpload,
            Told::Archived => Stop::Refused(self.refusal("archived", 0)),
            Told::CustomerKey => Stop::Refused(self.refusal("sse-c", 0)),
            Told::Unseen => Stop::Unseen(failed()),
            Told::Corrupt => Stop::Failed(StoreError { class: Class::Unavailable, ..failed() }),
            Told::Unknown if write => Stop::Failed(StoreError { class: Class::Unknown, ..failed() }),
            Told::Unknown | Told::Else => Stop::Failed(failed()),
        }
    }

    /// What errors call an object: keys are the customer's, a digest is enough to find it again.
    pub(super) fn on(&self, key: &Key) -> String {
        format!("{key:?} of bucket {}", self.settings.bucket)
    }

    /// Why an object that was looked at cannot be copied; `None`: nothing is known against it.
    pub(super) fn against(&self, source: &Object, streamed: bool) -> Option<Refusal> {
        if source.archived {
            return Some(self.refusal("archived", source.mark.size));
        }
        (streamed && source.untold > 0).then(|| self.refusal("metadata", source.mark.size))
    }

    /// A refusal of a class.
    pub(super) fn refusal(&self, class: &'static str, bytes: u64) -> Refusal {
        let why = match class {
            "archived" => "it lies in an archive: restore it in the source, or exclude \"archived\"",
            "sse-c" => "it is encrypted with a key that only the customer has: exclude \"sse-c\"",
            "metadata" => "it has metadata that HTTP cannot carry: use transfer = \"server-side\"",
            "key" => "its key is not UTF-8 of 1 to 1,024 bytes, or blank: it cannot be asked for",
            _ => "it cannot be copied",
        };
        let excluded = self.settings.exclude.iter().any(|name| name == class);
        Refusal { class, why: why.to_owned(), bytes, excluded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_1_a_condition_that_fails_means_look_again() {
        for code in ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchVersion", "NoSuchKey"] {
            assert_eq!(told(code, 412, ""), Told::Changed);
            assert_eq!(told(code, 200, ""), Told::Changed, "within a 200 too");
        }
        assert_eq!(told("", 412, ""), Told::Changed);
        assert_eq!(told("", 409, ""), Told::Changed);
        assert_eq!(told("BucketAlreadyExists", 409, ""), Told::Else);
    }

    #[test]
    fn s3_f7_an_error_within_a_200_is_no_success_and_may_have_been_one() {
        assert_eq!(told("InternalError", 200, ""), Told::Unknown);
        assert_eq!(told("SlowDown", 200, ""), Told::Else);
        assert_eq!(told("InternalError", 500, ""), Told::Else, "the class of the call tells that already");
    }

    #[test]
    fn s3_7_archived_and_customer_keys_are_told_apart() {
        assert_eq!(told("InvalidObjectState", 403, ""), Told::Archived);
        let words =
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided";
        assert_eq!(told("InvalidRequest", 400, words), Told::CustomerKey);
        assert_eq!(told("InvalidRequest", 400, "something else"), Told::Else);
        assert_eq!(told("AccessDenied", 403, ""), Told::Unseen);
    }
}
