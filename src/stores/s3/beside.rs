//! What is beside the bytes of an object that is the same otherwise: tags, access list, lock. Written on the version that
//! was looked at, and only where it differs.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{
    ObjectCannedAcl, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode, Tag,
    Tagging,
};

use super::Bucket;
use super::dress::Grants;
use super::object::{Beside, Lock, Object};
use super::refusal::Stop;
use crate::change::{Class, Key};
use crate::stores::StoreError;

impl Bucket {
    /// Makes what is beside the standby's object what it is beside the source's.
    pub(super) async fn touch(
        &self,
        key: &Key,
        name: &str,
        (source, target): (&Object, &Object),
        wanted: &Beside,
        found: &Beside,
    ) -> Result<(), Stop> {
        let version = target.mark.version.as_deref();
        if let Some(tags) = wanted.tags.as_ref().filter(|_| wanted.tags != found.tags) {
            self.put_tags(key, name, version, tags).await?;
        }
        if let Some(grants) = wanted.grants.as_deref().filter(|_| wanted.grants != found.grants) {
            self.put_grants(key, name, version, grants).await?;
        }
        if let Some(lock) = wanted.lock.as_ref().filter(|_| wanted.lock != found.lock) {
            self.put_lock(key, name, version, lock, &found.lock.clone().unwrap_or_default()).await?;
        }
        if let Some(annotations) = wanted.annotations.as_ref().filter(|_| wanted.annotations != found.annotations) {
            let found = found.annotations.clone().unwrap_or_default();
            self.put_annotations(key, name, source, target, annotations, &found).await?;
        }
        Ok(())
    }

    async fn put_tags(
        &self,
        key: &Key,
        name: &str,
        version: Option<&str>,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), Stop> {
        let bucket = &self.settings.standby_bucket;
        let version = version.map(str::to_owned);
        if tags.is_empty() {
            let request = self.target.delete_object_tagging().bucket(bucket).key(name).set_version_id(version);
            return match request.send().await {
                Ok(_) => Ok(()),
                Err(error) => Err(self.failed(&error, true, "DeleteObjectTagging", key)),
            };
        }
        let tags: Result<Vec<_>, _> =
            tags.iter().map(|(name, value)| Tag::builder().key(name).value(value).build()).collect();
        let tagging = tags
            .and_then(|tags| Tagging::builder().set_tag_set(Some(tags)).build())
            .map_err(|error| StoreError::new(Class::Invalid, "PutObjectTagging", self.on(key)).because(error))?;
        let request = self.target.put_object_tagging().bucket(bucket).key(name).set_version_id(version);
        match request.tagging(tagging).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(&error, true, "PutObjectTagging", key)),
        }
    }

    async fn put_grants(
        &self,
        key: &Key,
        name: &str,
        version: Option<&str>,
        grants: &[(String, String)],
    ) -> Result<(), Stop> {
        let bucket = &self.settings.standby_bucket;
        let request = self.target.put_object_acl().bucket(bucket).key(name).set_version_id(version.map(str::to_owned));
        let by = Grants::of(grants);
        let request = match grants.is_empty() {
            true => request.acl(ObjectCannedAcl::Private),
            false => request
                .set_grant_full_control(by.full)
                .set_grant_read(by.read)
                .set_grant_read_acp(by.read_acp)
                .set_grant_write_acp(by.write_acp),
        };
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(&error, true, "PutObjectAcl", key)),
        }
    }

    /// A retention is only ever made longer here: to shorten one takes a right that a replica must not have, and S3 says so.
    async fn put_lock(
        &self,
        key: &Key,
        name: &str,
        version: Option<&str>,
        wanted: &Lock,
        found: &Lock,
    ) -> Result<(), Stop> {
        let bucket = &self.settings.standby_bucket;
        if let (Some(mode), Some(until)) = (&wanted.mode, wanted.until)
            && (wanted.mode != found.mode || wanted.until != found.until)
        {
            let retention = ObjectLockRetention::builder()
                .mode(ObjectLockRetentionMode::from(mode.as_str()))
                .retain_until_date(aws_sdk_s3::primitives::DateTime::from_millis(until.0))
                .build();
            let request =
                self.target.put_object_retention().bucket(bucket).key(name).set_version_id(version.map(str::to_owned));
            if let Err(error) = request.retention(retention).send().await {
                return Err(self.failed(&error, true, "PutObjectRetention", key));
            }
        }
        if wanted.hold != found.hold {
            let status = if wanted.hold { ObjectLockLegalHoldStatus::On } else { ObjectLockLegalHoldStatus::Off };
            let hold = ObjectLockLegalHold::builder().status(status).build();
            let request =
                self.target.put_object_legal_hold().bucket(bucket).key(name).set_version_id(version.map(str::to_owned));
            if let Err(error) = request.legal_hold(hold).send().await {
                return Err(self.failed(&error, true, "PutObjectLegalHold", key));
            }
        }
        Ok(())
    }
}
