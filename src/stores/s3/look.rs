//! Looking at an object, on either side.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use aws_sdk_s3::types::{ChecksumMode, Grantee};

use super::Bucket;
use super::object::{Beside, Lock, Object};
use super::refusal::{Stop, Told, answer, told};
use crate::change::{Class, Key};
use crate::stores::StoreError;

/// A side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Target,
}

impl Bucket {
    /// The client for requests without a body, and the bucket.
    pub(super) fn end(&self, end: End) -> (&aws_sdk_s3::Client, &str) {
        match end {
            End::Source => (&self.source, &self.settings.bucket),
            End::Target => (&self.target, &self.settings.standby_bucket),
        }
    }

    /// An object, or that there is none (a delete marker is none). Of a missing bucket HEAD says the same: before anything
    /// is removed for it, [`Bucket::surely_gone`] is asked.
    pub(super) async fn head(
        &self,
        end: End,
        key: &Key,
        name: &str,
        version: Option<&str>,
    ) -> Result<Option<Object>, Stop> {
        let (client, bucket) = self.end(end);
        let asked = client
            .head_object()
            .bucket(bucket)
            .key(name)
            .set_version_id(version.map(str::to_owned))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        let error = match asked {
            Ok(answer) => return Ok(Some(Object::read(&answer))),
            Err(error) => error,
        };
        match answer(&error).map(|(_, status, _)| status) {
            Some(404) => Ok(None),
            // A body would say why, and HEAD has none.
            Some(400) if end == End::Source => Err(self.why_not(key, name, version).await),
            Some(403) => {
                let failed = StoreError::of_call(&error, false, "HeadObject", &self.on_end(end, key));
                let hint = "grant s3:GetObject, s3:ListBucket (without it S3 calls what is missing denied) and \
                            kms:Decrypt on its key";
                Err(Stop::Failed(StoreError { class: Class::Denied, ..failed }.hint(hint)))
            }
            _ => Err(Stop::Failed(StoreError::of_call(&error, false, "HeadObject", &self.on_end(end, key)))),
        }
    }

    fn on_end(&self, end: End, key: &Key) -> String {
        format!("{key:?} of bucket {}", self.end(end).1)
    }

    /// Why the source does not show an object, in its own words.
    async fn why_not(&self, key: &Key, name: &str, version: Option<&str>) -> Stop {
        match self.first_byte(name, version).await {
            Ok(()) => Stop::Again,
            Err(error) => match self.stop(&error, false, "GetObject", key) {
                Stop::Refused(refusal) => {
                    Stop::Refused(crate::stores::converge::Refusal { bytes: self.size_of(name).await, ..refusal })
                }
                stop => stop,
            },
        }
    }

    /// The size of an object that cannot be looked at; 0 if that is not known either.
    async fn size_of(&self, name: &str) -> u64 {
        let asked = self.source.list_objects_v2().bucket(&self.settings.bucket).prefix(name).max_keys(1).send().await;
        let first = asked.ok().and_then(|page| page.contents.unwrap_or_default().into_iter().next());
        first.filter(|o| o.key() == Some(name)).and_then(|o| u64::try_from(o.size()?).ok()).unwrap_or(0)
    }

    async fn first_byte(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<
        (),
        aws_smithy_runtime_api::client::result::SdkError<
            aws_sdk_s3::operation::get_object::GetObjectError,
            aws_smithy_runtime_api::client::orchestrator::HttpResponse,
        >,
    > {
        let asked = self.source.get_object().bucket(&self.settings.bucket).key(name).range("bytes=0-0");
        asked.set_version_id(version.map(str::to_owned)).send().await.map(|_| ())
    }

    /// Makes sure that the source's object is gone, and not the bucket with it: HEAD cannot tell the two apart, and of a
    /// bucket that is lost or renamed nothing may be removed.
    pub(super) async fn surely_gone(&self, key: &Key, name: &str) -> Result<(), Stop> {
        let error = match self.first_byte(name, None).await {
            Ok(()) => return Err(Stop::Again),
            Err(error) => error,
        };
        match answer(&error) {
            Some((code, _, _)) if code == "NoSuchKey" => Ok(()),
            // An object of no bytes has no first one.
            Some((code, status, words)) if told(&code, status, &words) == Told::Changed => Err(Stop::Again),
            _ => Err(match self.stop(&error, false, "GetObject", key) {
                Stop::Unseen(error) => Stop::Failed(error),
                stop => stop,
            }),
        }
    }

    /// What is carried over besides bytes and headers.
    pub(super) async fn beside(&self, end: End, key: &Key, name: &str, object: &Object) -> Result<Beside, Stop> {
        let carry = &self.settings.carry;
        let tags = if carry.tags { Some(self.tags(end, key, name, object).await?) } else { None };
        let grants = if carry.acl { Some(self.grants(end, key, name, object).await?) } else { None };
        let lock = carry.lock.then(|| self.lock_now(&object.lock));
        let annotations = if carry.annotations { Some(self.annotations(end, key, name, object).await?) } else { None };
        Ok(Beside { tags, grants, lock, annotations })
    }

    /// A retention that has run out is none: it cannot be written any more.
    fn lock_now(&self, lock: &Lock) -> Lock {
        match lock.until {
            Some(until) if until > self.clock.now().wall => lock.clone(),
            _ => Lock { mode: None, until: None, hold: lock.hold },
        }
    }

    async fn tags(&self, end: End, key: &Key, name: &str, object: &Object) -> Result<BTreeMap<String, String>, Stop> {
        let shown = &self.hands.tags_shown;
        if end == End::Source && object.tags.is_none() && shown.load(Ordering::Relaxed) {
            return Ok(BTreeMap::new());
        }
        let (client, bucket) = self.end(end);
        let version = object.mark.version.clone();
        let asked = client.get_object_tagging().bucket(bucket).key(name).set_version_id(version).send().await;
        let answer = asked.map_err(|error| self.failed(&error, false, "GetObjectTagging", key))?;
        let tags: BTreeMap<_, _> = answer.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect();
        // Once HEAD has told a number it tells all of them. Without one it may be that it never does, as with some that are
        // not AWS: asking for tags that are not there is the price of not losing those that are.
        if end == End::Source && object.tags.is_some() {
            shown.store(true, Ordering::Relaxed);
        }
        Ok(tags)
    }

    async fn grants(&self, end: End, key: &Key, name: &str, object: &Object) -> Result<Vec<(String, String)>, Stop> {
        let (client, bucket) = self.end(end);
        let version = object.mark.version.clone();
        let asked = client.get_object_acl().bucket(bucket).key(name).set_version_id(version).send().await;
        let answer = asked.map_err(|error| self.failed(&error, false, "GetObjectAcl", key))?;
        let mut grants: Vec<_> = answer
            .grants()
            .iter()
            .filter_map(|grant| Some((grantee(grant.grantee()?)?, grant.permission()?.as_str().to_owned())))
            .collect();
        grants.sort();
        let owner = answer.owner().and_then(|owner| owner.id()).map(|id| format!("id=\"{id}\""));
        // What every object has without being told: it need not be carried.
        if let [(who, permission)] = grants.as_slice()
            && Some(who) == owner.as_ref()
            && permission == "FULL_CONTROL"
        {
            grants.clear();
        }
        Ok(grants)
    }

    /// A failed call whose refusal is about us and not about the transfer.
    pub(super) fn failed<E>(
        &self,
        error: &aws_smithy_runtime_api::client::result::SdkError<
            E,
            aws_smithy_runtime_api::client::orchestrator::HttpResponse,
        >,
        write: bool,
        what: &str,
        key: &Key,
    ) -> Stop
    where
        E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
    {
        match self.stop(error, write, what, key) {
            Stop::Unseen(error) => Stop::Failed(error),
            stop => stop,
        }
    }
}

/// Whom a grant is for, as the headers say it.
fn grantee(who: &Grantee) -> Option<String> {
    match (who.id(), who.uri()) {
        (Some(id), _) => Some(format!("id=\"{id}\"")),
        (None, Some(uri)) => Some(format!("uri=\"{uri}\"")),
        (None, None) => None,
    }
}
