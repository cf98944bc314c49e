//! The lifecycle rules of a bucket: what they would do, and how they are kept in the index and written again. No I/O.
//!
//! The index keeps those of prodX, because a promotion needs them when prodX cannot be asked. Every field of a rule goes
//! there and back; a rule that holds something unknown is not taken apart silently: the SDK would have dropped it already.

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator,
    LifecycleRuleFilter, NoncurrentVersionExpiration, NoncurrentVersionTransition, Tag, Transition,
    TransitionStorageClass,
};
use serde::{Deserialize, Serialize};

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::stores::s3) struct Rule {
    #[serde(default)]
    pub(in crate::stores::s3) id: Option<String>,
    pub(in crate::stores::s3) enabled: bool,
    /// The old way to name a prefix, outside of a filter.
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    filter: Option<Filter>,
    #[serde(default)]
    expiration: Option<Expiration>,
    #[serde(default)]
    transitions: Vec<Move>,
    #[serde(default)]
    old_transitions: Vec<OldMove>,
    #[serde(default)]
    old_expiration: Option<OldExpiration>,
    /// Days after which an upload that was never completed is dropped; `Some(None)` is of the SDK's making.
    #[serde(default)]
    abort_after: Option<i32>,
}

/// Which objects.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Filter {
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    tags: Vec<(String, String)>,
    #[serde(default)]
    larger_than: Option<i64>,
    #[serde(default)]
    smaller_than: Option<i64>,
    /// All of it at once.
    #[serde(default)]
    all: bool,
}

/// When current versions end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Expiration {
    /// Seconds of Unix time.
    #[serde(default)]
    date: Option<i64>,
    #[serde(default)]
    days: Option<i32>,
    /// Of delete markers with nothing behind them.
    #[serde(default)]
    markers: Option<bool>,
}

/// When current versions go to another class.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Move {
    #[serde(default)]
    date: Option<i64>,
    #[serde(default)]
    days: Option<i32>,
    #[serde(default)]
    class: Option<String>,
}

/// When older versions go to another class.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct OldMove {
    #[serde(default)]
    days: Option<i32>,
    #[serde(default)]
    newer: Option<i32>,
    #[serde(default)]
    class: Option<String>,
}

/// When older versions end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct OldExpiration {
    #[serde(default)]
    days: Option<i32>,
    #[serde(default)]
    newer: Option<i32>,
}

impl Rule {
    /// Current objects vanish by it (S3-8).
    pub(in crate::stores::s3) fn expires(&self) -> bool {
        self.enabled && self.expiration.as_ref().is_some_and(|ends| ends.days.is_some() || ends.date.is_some())
    }

    /// Older versions vanish by it.
    pub(in crate::stores::s3) fn expires_old(&self) -> bool {
        self.enabled && self.old_expiration.is_some()
    }

    /// Uploads that were never completed are dropped by it.
    pub(in crate::stores::s3) fn drops_uploads(&self) -> bool {
        self.enabled && self.abort_after.is_some()
    }

    /// The days after which it does so.
    pub(in crate::stores::s3) fn drops_after(&self) -> Option<i32> {
        self.abort_after
    }

    /// Its name, for a human.
    pub(in crate::stores::s3) fn name(&self) -> &str {
        self.id.as_deref().unwrap_or("without an id")
    }

    /// The same, enabled.
    pub(in crate::stores::s3) fn on(&self) -> Self {
        Self { enabled: true, ..self.clone() }
    }

    pub(in crate::stores::s3) fn of(rule: &LifecycleRule) -> Self {
        let ends = rule.expiration().map(|ends| Expiration {
            date: ends.date().map(aws_smithy_types::DateTime::secs),
            days: ends.days(),
            markers: ends.expired_object_delete_marker(),
        });
        Self {
            id: rule.id().map(str::to_owned),
            enabled: *rule.status() == ExpirationStatus::Enabled,
            #[expect(deprecated, reason = "rules of old buckets still have it")]
            prefix: rule.prefix().map(str::to_owned),
            filter: rule.filter().map(Filter::of),
            expiration: ends,
            transitions: rule.transitions().iter().map(Move::of).collect(),
            old_transitions: rule.noncurrent_version_transitions().iter().map(OldMove::of).collect(),
            old_expiration: rule
                .noncurrent_version_expiration()
                .map(|ends| OldExpiration { days: ends.noncurrent_days(), newer: ends.newer_noncurrent_versions() }),
            abort_after: rule.abort_incomplete_multipart_upload().and_then(|abort| abort.days_after_initiation()),
        }
    }

    pub(in crate::stores::s3) fn to_sdk(&self) -> Result<LifecycleRule, BuildError> {
        let status = if self.enabled { ExpirationStatus::Enabled } else { ExpirationStatus::Disabled };
        let moves: Vec<Transition> = self.transitions.iter().map(Move::to_sdk).collect();
        let old: Vec<NoncurrentVersionTransition> = self.old_transitions.iter().map(OldMove::to_sdk).collect();
        let ends = self.expiration.as_ref().map(|ends| {
            LifecycleExpiration::builder()
                .set_date(ends.date.map(aws_smithy_types::DateTime::from_secs))
                .set_days(ends.days)
                .set_expired_object_delete_marker(ends.markers)
                .build()
        });
        let old_ends = self.old_expiration.as_ref().map(|ends| {
            NoncurrentVersionExpiration::builder()
                .set_noncurrent_days(ends.days)
                .set_newer_noncurrent_versions(ends.newer)
                .build()
        });
        let abort =
            self.abort_after.map(|days| AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build());
        #[expect(deprecated, reason = "rules of old buckets still have it")]
        let rule = LifecycleRule::builder().set_prefix(self.prefix.clone());
        rule.set_id(self.id.clone())
            .status(status)
            .set_filter(self.filter.as_ref().map(Filter::to_sdk).transpose()?)
            .set_expiration(ends)
            .set_transitions(Some(moves).filter(|moves| !moves.is_empty()))
            .set_noncurrent_version_transitions(Some(old).filter(|old| !old.is_empty()))
            .set_noncurrent_version_expiration(old_ends)
            .set_abort_incomplete_multipart_upload(abort)
            .build()
    }
}

impl Filter {
    fn of(filter: &LifecycleRuleFilter) -> Self {
        let tag = |tag: &Tag| (tag.key().to_owned(), tag.value().to_owned());
        match filter.and() {
            Some(and) => Self {
                prefix: and.prefix().map(str::to_owned),
                tags: and.tags().iter().map(tag).collect(),
                larger_than: and.object_size_greater_than(),
                smaller_than: and.object_size_less_than(),
                all: true,
            },
            None => Self {
                prefix: filter.prefix().map(str::to_owned),
                tags: filter.tag().map(tag).into_iter().collect(),
                larger_than: filter.object_size_greater_than(),
                smaller_than: filter.object_size_less_than(),
                all: false,
            },
        }
    }

    fn to_sdk(&self) -> Result<LifecycleRuleFilter, BuildError> {
        let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build();
        let tags = self.tags.iter().map(tag).collect::<Result<Vec<_>, _>>()?;
        let filter = LifecycleRuleFilter::builder();
        Ok(match self.all {
            true => filter
                .and(
                    LifecycleRuleAndOperator::builder()
                        .set_prefix(self.prefix.clone())
                        .set_tags(Some(tags).filter(|tags| !tags.is_empty()))
                        .set_object_size_greater_than(self.larger_than)
                        .set_object_size_less_than(self.smaller_than)
                        .build(),
                )
                .build(),
            false => filter
                .set_prefix(self.prefix.clone())
                .set_tag(tags.into_iter().next())
                .set_object_size_greater_than(self.larger_than)
                .set_object_size_less_than(self.smaller_than)
                .build(),
        })
    }
}

impl Move {
    fn of(moved: &Transition) -> Self {
        Self {
            date: moved.date().map(aws_smithy_types::DateTime::secs),
            days: moved.days(),
            class: moved.storage_class().map(|class| class.as_str().to_owned()),
        }
    }

    fn to_sdk(&self) -> Transition {
        Transition::builder()
            .set_date(self.date.map(aws_smithy_types::DateTime::from_secs))
            .set_days(self.days)
            .set_storage_class(self.class.as_deref().map(TransitionStorageClass::from))
            .build()
    }
}

impl OldMove {
    fn of(moved: &NoncurrentVersionTransition) -> Self {
        Self {
            days: moved.noncurrent_days(),
            newer: moved.newer_noncurrent_versions(),
            class: moved.storage_class().map(|class| class.as_str().to_owned()),
        }
    }

    fn to_sdk(&self) -> NoncurrentVersionTransition {
        NoncurrentVersionTransition::builder()
            .set_noncurrent_days(self.days)
            .set_newer_noncurrent_versions(self.newer)
            .set_storage_class(self.class.as_deref().map(TransitionStorageClass::from))
            .build()
    }
}

#[cfg(test)]
pub(in crate::stores::s3) mod tests;
