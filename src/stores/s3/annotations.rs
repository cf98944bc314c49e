//! Annotations of an object. CopyObject takes them along by itself; no other way of copying does (S3-F8), and they change
//! without a new object: they are compared by name and ETag and carried one by one.

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::ByteStream;

use super::Bucket;
use super::known::bare;
use super::look::End;
use super::object::Object;
use super::refusal::Stop;
use crate::change::{Class, Key};
use crate::stores::StoreError;

/// S3 takes no longer one.
const LONGEST: u64 = 1 << 20;

impl Bucket {
    /// The annotations of an object, name to ETag.
    pub(super) async fn annotations(
        &self,
        end: End,
        key: &Key,
        name: &str,
        object: &Object,
    ) -> Result<BTreeMap<String, String>, Stop> {
        let (client, bucket) = self.end(end);
        let mut all = BTreeMap::new();
        let mut after = None;
        loop {
            let page = client
                .list_object_annotations()
                .bucket(bucket)
                .key(name)
                .set_version_id(object.mark.version.clone())
                .set_continuation_token(after)
                .send()
                .await
                .map_err(|error| self.failed(&error, false, "ListObjectAnnotations", key))?;
            all.extend(
                page.annotations().iter().map(|entry| {
                    (entry.annotation_name().to_owned(), bare(entry.e_tag().unwrap_or_default()).to_owned())
                }),
            );
            match page.next_continuation_token {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Writes the annotations that differ, and removes those that are too many.
    pub(super) async fn put_annotations(
        &self,
        key: &Key,
        name: &str,
        source: &Object,
        target: &Object,
        wanted: &BTreeMap<String, String>,
        found: &BTreeMap<String, String>,
    ) -> Result<(), Stop> {
        for (annotation, etag) in wanted {
            if found.get(annotation) != Some(etag) {
                self.put_annotation(key, name, source, target, annotation).await?;
            }
        }
        for annotation in found.keys().filter(|annotation| !wanted.contains_key(*annotation)) {
            let request = self.target.delete_object_annotation().bucket(&self.settings.standby_bucket).key(name);
            let request = request.annotation_name(annotation).set_version_id(target.mark.version.clone());
            if let Err(error) = request.send().await {
                return Err(self.failed(&error, true, "DeleteObjectAnnotation", key));
            }
        }
        Ok(())
    }

    async fn put_annotation(
        &self,
        key: &Key,
        name: &str,
        source: &Object,
        target: &Object,
        annotation: &str,
    ) -> Result<(), Stop> {
        let _lent = self.hands.lend(LONGEST).await;
        let request = self.source_bytes.get_object_annotation().bucket(&self.settings.bucket).key(name);
        let request = request.annotation_name(annotation).set_version_id(source.mark.version.clone());
        // One that is gone meanwhile: look again.
        let got = request.send().await.map_err(|error| self.failed(&error, false, "GetObjectAnnotation", key))?;
        if got.content_length().and_then(|n| u64::try_from(n).ok()).is_none_or(|length| length > LONGEST) {
            let error = StoreError::new(Class::Invalid, "GetObjectAnnotation", self.on(key));
            return Err(Stop::Failed(error.because("it is longer than an annotation can be")));
        }
        let body = self.whole(key, got.annotation_payload, LONGEST).await?;
        let request = self.target_bytes.put_object_annotation().bucket(&self.settings.standby_bucket).key(name);
        let request = request.annotation_name(annotation).set_version_id(target.mark.version.clone());
        match request.annotation_payload(ByteStream::from(body)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(&error, true, "PutObjectAnnotation", key)),
        }
    }
}
