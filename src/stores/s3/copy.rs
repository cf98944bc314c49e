//! Copies of a whole object: CopyObject, or GET and PUT through us.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{AnnotationDirective, ChecksumMode, MetadataDirective, TaggingDirective};
use bytes::{Bytes, BytesMut};

use super::Bucket;
use super::dress::{Dress, dressed, headed};
use super::keys::copy_source;
use super::known::{Mark, bare};
use super::object::{Object, say_checksum};
use super::refusal::Stop;
use crate::change::{Class, Key};
use crate::seams;
use crate::stores::StoreError;
use crate::stores::converge::Did;

/// What the standby must still be when it is written to: what was read before the source was (S3-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Onto {
    /// The object of this ETag.
    Object(String),
    /// No object.
    Nothing,
}

/// An object was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Which.
    pub(super) mark: Mark,
    /// How.
    pub(super) did: Did,
    /// S3 took the annotations along.
    pub(super) annotated: bool,
    /// It went in parts, which takes so long that the source may be another by now.
    pub(super) in_parts: bool,
}

/// One object on its way.
#[derive(Clone, Copy)]
pub(super) struct Freight<'a> {
    /// Its key as the spine has it.
    pub(super) key: &'a Key,
    /// As S3 has it.
    pub(super) name: &'a str,
    /// What was looked at.
    pub(super) source: &'a Object,
    /// What it wears.
    pub(super) dress: &'a Dress,
    /// What it is written onto.
    pub(super) onto: &'a Onto,
}

impl Onto {
    /// Of what was read.
    pub(super) fn of(target: Option<&Object>) -> Self {
        target.map_or(Onto::Nothing, |object| Onto::Object(object.mark.etag.clone()))
    }

    /// `If-Match`.
    pub(super) fn if_match(&self) -> Option<String> {
        match self {
            Onto::Object(etag) => Some(format!("\"{etag}\"")),
            Onto::Nothing => None,
        }
    }

    /// `If-None-Match`.
    pub(super) fn if_none_match(&self) -> Option<String> {
        (*self == Onto::Nothing).then(|| "*".to_owned())
    }
}

impl Freight<'_> {
    /// The ETag that the source must still have, as a condition.
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.source.mark.etag)
    }

    /// What a whole body is checked by in the standby: the source's own checksum, so that nothing between the two disks
    /// goes unseen. Its name and value.
    fn checksum(&self) -> Option<(&'static str, String)> {
        let checksum = self.source.checksum.as_ref().filter(|checksum| !checksum.composite)?;
        Some((checksum.algorithm, checksum.value.clone()))
    }

    /// The MD5 of a body that has no checksum, where the ETag tells it (S3-F9).
    fn md5(&self) -> Option<String> {
        use base64::Engine as _;
        let source = self.source;
        if source.checksum.as_ref().is_some_and(|c| !c.composite)
            || !source.etag_tells()
            || source.mark.etag.len() != 32
        {
            return None;
        }
        let hex = source.mark.etag.as_bytes().chunks(2);
        let digest: Option<Vec<u8>> =
            hex.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        Some(base64::engine::general_purpose::STANDARD.encode(digest?))
    }

    fn mark(&self, etag: Option<&str>, version: Option<&str>) -> Option<Mark> {
        let (etag, version) = (bare(etag?).to_owned(), version.map(str::to_owned));
        Some(Mark { etag, version, size: self.source.mark.size, modified: None })
    }
}

impl Bucket {
    /// S3 copies the object: one request, at most 5 GiB.
    pub(super) async fn copy_whole(&self, freight: Freight<'_>) -> Result<Written, Stop> {
        let settings = &self.settings;
        let source = freight.source;
        let annotations = match settings.carry.annotations {
            true => AnnotationDirective::Copy,
            false => AnnotationDirective::Exclude,
        };
        let request = self
            .target_bytes
            .copy_object()
            .bucket(&settings.standby_bucket)
            .key(freight.name)
            .copy_source(copy_source(&settings.bucket, freight.name, source.mark.version.as_deref()))
            // The null version can be written over: only its ETag pins it.
            .copy_source_if_match(freight.etag())
            .metadata_directive(MetadataDirective::Copy)
            // Those that were read, so that what is remembered is what was written.
            .tagging_directive(TaggingDirective::Replace)
            .annotation_directive(annotations)
            .set_if_match(freight.onto.if_match())
            .set_if_none_match(freight.onto.if_none_match());
        let answer = dressed!(request, freight.dress)
            .send()
            .await
            .map_err(|error| self.stop(&error, true, "CopyObject", freight.key))?;
        let etag = answer.copy_object_result().and_then(|result| result.e_tag());
        let mark =
            freight.mark(etag, answer.version_id()).ok_or_else(|| self.says_nothing("CopyObject", freight.key))?;
        Ok(Written { mark, did: Did::Copied, annotated: true, in_parts: false })
    }

    /// The object goes through us in one piece, at most as large as one body may be in memory.
    pub(super) async fn stream_whole(&self, freight: Freight<'_>) -> Result<Written, Stop> {
        let _lent = self.hands.lend(freight.source.mark.size).await;
        let body = self.fetch(freight, None).await?;
        self.put_whole(freight, body.into(), freight.source.mark.size).await
    }

    /// The object goes through us in one piece that is never held: only where the source's checksum, which S3 makes of
    /// whole bodies only, is to be kept.
    pub(super) async fn pass_whole(&self, freight: Freight<'_>) -> Result<Written, Stop> {
        let _lent = self.hands.lend(PASSING).await;
        let body = self.open(freight, None).await?;
        self.put_whole(freight, body, freight.source.mark.size).await
    }

    /// Writes a whole body.
    pub(super) async fn put_whole(&self, freight: Freight<'_>, body: ByteStream, size: u64) -> Result<Written, Stop> {
        let length = i64::try_from(size).unwrap_or(i64::MAX);
        let request = self
            .target_bytes
            .put_object()
            .bucket(&self.settings.standby_bucket)
            .key(freight.name)
            .content_length(length)
            .set_if_match(freight.onto.if_match())
            .set_if_none_match(freight.onto.if_none_match())
            .set_content_md5(freight.md5())
            .body(body);
        let mut request = headed!(dressed!(request, freight.dress), freight.dress);
        if let Some((algorithm, value)) = freight.checksum() {
            request = say_checksum!(request, algorithm, value);
        }
        let raw = freight.dress.raw_expires();
        let sent = match raw {
            None => request.send().await,
            Some(raw) => request.customize().mutate_request(move |r| say_expires(r, &raw)).send().await,
        };
        let answer = sent.map_err(|error| self.failed(&error, true, "PutObject", freight.key))?;
        let mark = freight
            .mark(answer.e_tag(), answer.version_id())
            .ok_or_else(|| self.says_nothing("PutObject", freight.key))?;
        Ok(Written { mark, did: Did::Streamed, annotated: false, in_parts: false })
    }

    /// Opens the source's object, or a range of it, first and last byte: the very one that was looked at.
    pub(super) async fn open(&self, freight: Freight<'_>, range: Option<(u64, u64)>) -> Result<ByteStream, Stop> {
        let source = freight.source;
        let answer = self
            .source_bytes
            .get_object()
            .bucket(&self.settings.bucket)
            .key(freight.name)
            .set_version_id(source.mark.version.clone())
            .if_match(freight.etag())
            .set_range(range.map(|(first, last)| format!("bytes={first}-{last}")))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .map_err(|error| self.failed(&error, false, "GetObject", freight.key))?;
        let wanted = range.map_or(source.mark.size, |(first, last)| last - first + 1);
        if answer.content_length().and_then(|n| u64::try_from(n).ok()) != Some(wanted) {
            return Err(Stop::Again);
        }
        Ok(answer.body)
    }

    /// Reads the source's object, or a range of it, into memory that was lent: never more than was asked for.
    pub(super) async fn fetch(&self, freight: Freight<'_>, range: Option<(u64, u64)>) -> Result<Bytes, Stop> {
        let wanted = range.map_or(freight.source.mark.size, |(first, last)| last - first + 1);
        let body = self.open(freight, range).await?;
        let all = self.whole(freight.key, body, wanted).await?;
        match u64::try_from(all.len()) == Ok(wanted) {
            true => Ok(all),
            false => Err(self.cut_off(freight.key, "the body is not as long as it was announced".into())),
        }
    }

    /// Reads a body of at most so many bytes, within the time that a transfer may take.
    pub(super) async fn whole(&self, key: &Key, mut body: ByteStream, most: u64) -> Result<Bytes, Stop> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let read = async {
            let mut all =
                BytesMut::with_capacity(body.size_hint().1.map_or(0, |n| most.min(n.try_into().unwrap_or(most))));
            while let Some(piece) = body.next().await {
                // A body that breaks off, or that its checksum belies, is an error here.
                all.extend_from_slice(&piece.map_err(|error| self.cut_off(key, error.into()))?);
                if all.len() > most {
                    return Err(self.cut_off(key, "the body is longer than it was announced".into()));
                }
            }
            Ok(all.freeze())
        };
        let limit = self.settings.transfer_timeout;
        seams::timeout(self.clock.as_ref(), limit, read).await.unwrap_or_else(|| Err(self.too_slow(key, limit)))
    }

    fn cut_off(&self, key: &Key, why: Box<dyn std::error::Error + Send + Sync>) -> Stop {
        // What its own checksum belies is about this object; all else is about the region or the way to it.
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*why);
        let mut class = Class::Unavailable;
        while let Some(error) = cause {
            if error.to_string().contains("checksum mismatch") {
                class = Class::Invalid;
            }
            cause = error.source();
        }
        Stop::Failed(StoreError::new(class, "GetObject", self.on(key)).because(why))
    }

    fn too_slow(&self, key: &Key, limit: Duration) -> Stop {
        self.cut_off(key, format!("the body did not arrive within {limit:?}").into())
    }

    /// An answer without what it must say: nobody knows what was done.
    pub(super) fn says_nothing(&self, what: &str, key: &Key) -> Stop {
        Stop::Failed(StoreError::new(Class::Unknown, what, self.on(key)).because("the answer says no ETag"))
    }
}

/// What a body takes that is not held: buffers of two connections.
pub(super) const PASSING: u64 = 1 << 20;

/// Puts an Expires header that is no date into a request.
pub(super) fn say_expires(request: &mut aws_smithy_runtime_api::client::orchestrator::HttpRequest, raw: &str) {
    // What cannot be a header at all could not have been read as one.
    if request.headers_mut().try_insert("expires", raw.to_owned()).is_err() {
        tracing::debug!("an Expires header cannot be written");
    }
}
