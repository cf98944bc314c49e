//! Long copies, in parts (S3-5): UploadPartCopy, or a range read and a part written through us.
//!
//! The upload is noted before its first part is written, and begun with what the object wears. Who comes later (after a
//! crash, or after a failure) asks S3 which parts it has and goes on; a note of another source object, or of another dress,
//! is no use and its upload is given up. Every part is of the very object that was looked at, or the copy begins anew.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Bucket;
use super::copy::{Freight, PASSING, Written, say_expires};
use super::dress::{dressed, headed};
use super::keys::copy_source;
use super::known::{Mark, bare};
use super::object::{Checksum, Object, checksum_of, say_checksum};
use super::parts::{Cut, Part};
use super::refusal::Stop;
use super::seal::Seal;
use crate::change::Class;
use crate::stores::StoreError;
use crate::stores::converge::{Did, Notebook};

/// Parts of one object that are copied at one time by S3.
const COPIES_AT_ONCE: usize = 8;
/// And through us: what they take is bounded by the memory that is lent, and one object leaves room for others.
const STREAMS_AT_ONCE: usize = 4;

/// The note of the work under way. Durable: fields keep their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Work {
    /// Of which object.
    source: Mark,
    /// Digest of what it wears besides.
    beside: String,
    /// Through us.
    streamed: bool,
    /// How it is cut.
    cut: Cut,
    /// The upload; `None`: a whole copy of it took too long, and the next one is to be in parts.
    upload: Option<String>,
    /// What the upload is checked by.
    seal: Seal,
}

/// A part that S3 has.
#[derive(Debug, Clone)]
struct Done {
    etag: String,
    size: Option<u64>,
    checksum: Option<(&'static str, String)>,
}

impl Work {
    /// The note of a key; `None` if there is none, or none of ours.
    pub(super) fn read(body: Option<Value>) -> Option<Self> {
        Work::deserialize(body?).ok()
    }

    /// A whole copy of this object took too long.
    pub(super) fn slow(source: &Object) -> Self {
        let (beside, cut, seal) = (String::new(), Cut::Even(0), Seal::default());
        Self { source: source.mark.clone(), beside, streamed: false, cut, upload: None, seal }
    }

    /// It is of this object: a whole copy took too long, or parts of it are there.
    pub(super) fn says(&self, source: &Object) -> bool {
        self.source == source.mark
    }

    /// It is of this version of an object.
    pub(super) fn is_of(&self, version: &Mark) -> bool {
        (&self.source.version, &self.source.etag) == (&version.version, &version.etag)
    }

    /// The upload, if it has one.
    pub(super) fn upload(&self) -> Option<&str> {
        self.upload.as_deref()
    }

    /// As it is noted.
    pub(super) fn written(&self) -> Result<Value, StoreError> {
        serde_json::to_value(self)
            .map_err(|error| StoreError::new(Class::Invalid, "the note of a copy", "the index").because(error))
    }
}

impl Bucket {
    /// Copies the object in parts. `beside` is the digest of what it wears besides its headers.
    pub(super) async fn in_parts(
        &self,
        freight: Freight<'_>,
        beside: &str,
        streamed: bool,
        notebook: &dyn Notebook,
    ) -> Result<Written, Stop> {
        // A second time when the upload is gone: an old one was completed, given up, or cleaned away.
        for _ in 0..2 {
            let (work, upload, done) = self.begun(freight, beside, streamed, notebook).await?;
            let copied = self.all_parts(freight, &work, &upload, done).await;
            let stop = match copied {
                Ok(done) => match self.complete(freight, &work, &upload, &done).await {
                    Ok(written) => return Ok(written),
                    // The standby has changed, not the source: the parts serve the next attempt.
                    Err(Stop::Again) => return Err(Stop::Again),
                    // It may have been completed, by an attempt whose answer was lost: look.
                    Err(Stop::NoUpload) => return Err(Stop::Again),
                    Err(stop) => stop,
                },
                Err(stop) => stop,
            };
            match stop {
                Stop::NoUpload => {}
                Stop::Again => {
                    self.give_up(freight.name, &upload).await;
                    return Err(Stop::Again);
                }
                stop => return Err(stop),
            }
        }
        Err(Stop::Again)
    }

    /// Goes on with the upload that is noted, or begins one.
    async fn begun(
        &self,
        freight: Freight<'_>,
        beside: &str,
        streamed: bool,
        notebook: &dyn Notebook,
    ) -> Result<(Work, String, BTreeMap<i32, Done>), Stop> {
        if let Some(work) = Work::read(notebook.work(freight.key)?)
            && let Some(upload) = work.upload.clone()
        {
            if work.source == freight.source.mark && work.beside == beside && work.streamed == streamed {
                match self.parts_done(freight, &upload).await {
                    Ok(done) => return Ok((work, upload, done)),
                    Err(Stop::NoUpload) => {}
                    Err(stop) => return Err(stop),
                }
            } else {
                self.give_up(freight.name, &upload).await;
            }
        }
        let (cut, kept) = self.cut(freight).await?;
        let wanted = Seal::of(freight.source.checksum.as_ref(), kept);
        let (upload, seal) = self.begin(freight, wanted).await?;
        let source = freight.source.mark.clone();
        let work = Work { source, beside: beside.to_owned(), streamed, cut, upload: Some(upload.clone()), seal };
        notebook.note_work(freight.key, work.written()?).await?;
        Ok((work, upload, BTreeMap::new()))
    }

    /// How the object is to be cut, and whether that is how it was written.
    async fn cut(&self, freight: Freight<'_>) -> Result<(Cut, bool), Stop> {
        let source = freight.source;
        let size = source.mark.size;
        if let Some(count) = source.parts_of_etag() {
            let first = self.part_size_of(freight, 1).await?;
            if let Some(cut) = first.and_then(|first| Cut::kept(size, count, first)) {
                return Ok((cut, true));
            }
            // Uneven. It is asked for only where a checksum depends on it.
            if first.is_some() && source.checksum.as_ref().is_some_and(|checksum| checksum.composite) {
                let numbers = 1..=i32::try_from(count).unwrap_or(i32::MAX);
                let sizes = futures_util::stream::iter(numbers)
                    .map(|number| self.part_size_of(freight, number))
                    .buffered(COPIES_AT_ONCE)
                    .collect::<Vec<_>>()
                    .await;
                let sizes: Option<Vec<u64>> = sizes.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().collect();
                if let Some(sizes) = sizes.filter(|sizes| sizes.iter().sum::<u64>() == size) {
                    return Ok((Cut::Sizes(sizes), true));
                }
            }
        }
        Ok((Cut::even(size, self.settings.part_size, &self.hands.limits), false))
    }

    /// The size of a part of the source's object; `None`: S3 does not tell parts of it.
    async fn part_size_of(&self, freight: Freight<'_>, number: i32) -> Result<Option<u64>, Stop> {
        let asked = self
            .source
            .head_object()
            .bucket(&self.settings.bucket)
            .key(freight.name)
            .set_version_id(freight.source.mark.version.clone())
            .if_match(freight.etag())
            .part_number(number)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match asked {
            Ok(answer) if answer.parts_count().is_some() => {
                Ok(answer.content_length().and_then(|n| u64::try_from(n).ok()))
            }
            Ok(_) => Ok(None),
            Err(error) => Err(self.failed(&error, false, "HeadObject", freight.key)),
        }
    }

    async fn begin(&self, freight: Freight<'_>, wanted: Seal) -> Result<(String, Seal), Stop> {
        let request = self
            .target
            .create_multipart_upload()
            .bucket(&self.settings.standby_bucket)
            .key(freight.name)
            .set_checksum_algorithm(wanted.algorithm.as_deref().map(ChecksumAlgorithm::from))
            .set_checksum_type(wanted.algorithm.as_ref().map(|_| wanted.kind()));
        let request = headed!(dressed!(request, freight.dress), freight.dress);
        let sent = match freight.dress.raw_expires() {
            None => request.send().await,
            Some(raw) => request.customize().mutate_request(move |r| say_expires(r, &raw)).send().await,
        };
        let answer = sent.map_err(|error| self.failed(&error, true, "CreateMultipartUpload", freight.key))?;
        let upload = answer.upload_id().ok_or_else(|| self.says_nothing("CreateMultipartUpload", freight.key))?;
        let composite = answer.checksum_type().map(|kind| *kind == ChecksumType::Composite);
        Ok((upload.to_owned(), wanted.with_answer(composite)))
    }

    /// The parts that S3 has of an upload.
    async fn parts_done(&self, freight: Freight<'_>, upload: &str) -> Result<BTreeMap<i32, Done>, Stop> {
        let mut done = BTreeMap::new();
        let mut marker = None;
        loop {
            let page = self
                .target
                .list_parts()
                .bucket(&self.settings.standby_bucket)
                .key(freight.name)
                .upload_id(upload)
                .set_part_number_marker(marker)
                .send()
                .await
                .map_err(|error| self.failed(&error, false, "ListParts", freight.key))?;
            for part in page.parts() {
                if let (Some(number), Some(etag)) = (part.part_number(), part.e_tag()) {
                    let size = part.size().and_then(|n| u64::try_from(n).ok());
                    done.insert(number, Done { etag: bare(etag).to_owned(), size, checksum: checksum_of!(part) });
                }
            }
            let next = page.next_part_number_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) || next.is_none() {
                return Ok(done);
            }
            marker = next;
        }
    }

    /// Writes the parts that are missing.
    async fn all_parts(
        &self,
        freight: Freight<'_>,
        work: &Work,
        upload: &str,
        mut done: BTreeMap<i32, Done>,
    ) -> Result<Vec<(Part, Done)>, Stop> {
        let parts = work.cut.parts(freight.source.mark.size);
        done.retain(|number, done| {
            let of = parts.iter().find(|part| part.number == *number);
            of.is_some_and(|part| done.size == Some(part.size()))
        });
        let missing: Vec<Part> = parts.iter().filter(|part| !done.contains_key(&part.number)).copied().collect();
        let at_once = if work.streamed { STREAMS_AT_ONCE } else { COPIES_AT_ONCE };
        let mut copied = futures_util::stream::iter(missing)
            .map(|part| async move {
                let written = match work.streamed {
                    true => self.stream_part(freight, work, upload, part).await,
                    false => self.copy_part(freight, upload, part).await,
                };
                written.map(|written| (part.number, written))
            })
            .buffer_unordered(at_once);
        while let Some(part) = copied.next().await {
            let (number, written) = part?;
            done.insert(number, written);
        }
        drop(copied);
        Ok(parts.into_iter().filter_map(|part| Some((part, done.remove(&part.number)?))).collect())
    }

    async fn copy_part(&self, freight: Freight<'_>, upload: &str, part: Part) -> Result<Done, Stop> {
        let settings = &self.settings;
        let source = freight.source;
        let answer = self
            .target_bytes
            .upload_part_copy()
            .bucket(&settings.standby_bucket)
            .key(freight.name)
            .upload_id(upload)
            .part_number(part.number)
            .copy_source(copy_source(&settings.bucket, freight.name, source.mark.version.as_deref()))
            .copy_source_if_match(freight.etag())
            .copy_source_range(format!("bytes={}-{}", part.first, part.last))
            .send()
            .await
            .map_err(|error| self.stop(&error, true, "UploadPartCopy", freight.key))?;
        let part = answer.copy_part_result().ok_or_else(|| self.says_nothing("UploadPartCopy", freight.key))?;
        let etag = part.e_tag().ok_or_else(|| self.says_nothing("UploadPartCopy", freight.key))?;
        Ok(Done { etag: bare(etag).to_owned(), size: None, checksum: checksum_of!(part) })
    }

    async fn stream_part(&self, freight: Freight<'_>, work: &Work, upload: &str, part: Part) -> Result<Done, Stop> {
        let range = Some((part.first, part.last));
        let held = part.size() <= self.hands.body_most(self.settings.part_size);
        let _lent = self.hands.lend(if held { part.size() } else { PASSING }).await;
        let body = match held {
            true => self.fetch(freight, range).await?.into(),
            // A boundary of the source's that is kept, of a part too large to be held.
            false => self.open(freight, range).await?,
        };
        let answer = self
            .target_bytes
            .upload_part()
            .bucket(&self.settings.standby_bucket)
            .key(freight.name)
            .upload_id(upload)
            .part_number(part.number)
            .content_length(i64::try_from(part.size()).unwrap_or(i64::MAX))
            .set_checksum_algorithm(work.seal.algorithm.as_deref().map(ChecksumAlgorithm::from))
            .body(body)
            .send()
            .await
            .map_err(|error| self.failed(&error, true, "UploadPart", freight.key))?;
        let etag = answer.e_tag().ok_or_else(|| self.says_nothing("UploadPart", freight.key))?;
        Ok(Done { etag: bare(etag).to_owned(), size: None, checksum: checksum_of!(answer) })
    }

    async fn complete(
        &self,
        freight: Freight<'_>,
        work: &Work,
        upload: &str,
        done: &[(Part, Done)],
    ) -> Result<Written, Stop> {
        let source = freight.source;
        let of_parts = || done.iter().map(|(_, done)| done.checksum.as_ref().map(|(_, value)| value.as_str()));
        if work.seal.belied(source.checksum.as_ref(), of_parts()) {
            self.give_up(freight.name, upload).await;
            return Err(self.corrupt(freight));
        }
        let parts = done.iter().map(|(part, done)| {
            let told = CompletedPart::builder().part_number(part.number).e_tag(format!("\"{}\"", done.etag));
            match &done.checksum {
                Some((algorithm, value)) => say_checksum!(told, *algorithm, value.clone()).build(),
                None => told.build(),
            }
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let mut request = self
            .target_bytes
            .complete_multipart_upload()
            .bucket(&self.settings.standby_bucket)
            .key(freight.name)
            .upload_id(upload)
            .multipart_upload(parts)
            .mpu_object_size(i64::try_from(source.mark.size).unwrap_or(i64::MAX))
            .set_if_match(freight.onto.if_match())
            .set_if_none_match(freight.onto.if_none_match());
        // The source's own checksum of the whole: S3 completes nothing that is not it.
        if let Some(Checksum { algorithm, value, .. }) = source.checksum.as_ref().filter(|_| work.seal.whole) {
            request = say_checksum!(request, *algorithm, value.clone()).checksum_type(ChecksumType::FullObject);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let stop = self.failed(&error, true, "CompleteMultipartUpload", freight.key);
                if super::refusal::corrupt(&error) {
                    // Its parts are not what they were taken for: they are of no use.
                    self.give_up(freight.name, upload).await;
                }
                return Err(stop);
            }
        };
        let etag = answer.e_tag().ok_or_else(|| self.says_nothing("CompleteMultipartUpload", freight.key))?;
        let whole = checksum_of!(answer);
        if work.seal.belied_whole(source.checksum.as_ref(), whole.as_ref().map(|(_, value)| value.as_str())) {
            return Err(self.corrupt(freight));
        }
        let mark = Mark {
            etag: bare(etag).to_owned(),
            version: answer.version_id().map(str::to_owned),
            size: source.mark.size,
            modified: None,
        };
        let did = if work.streamed { Did::Streamed } else { Did::Copied };
        Ok(Written { mark, did, annotated: false, in_parts: true })
    }

    fn corrupt(&self, freight: Freight<'_>) -> Stop {
        let error = StoreError::new(Class::Invalid, "the copy", self.on(freight.key));
        Stop::Failed(error.because("its checksum is not the source's; it is copied again"))
    }

    /// Gives an upload up, as far as possible: a rule of the standby's lifecycle removes what is left (S3-5).
    pub(super) async fn give_up(&self, name: &str, upload: &str) {
        let bucket = &self.settings.standby_bucket;
        let asked = self.target.abort_multipart_upload().bucket(bucket).key(name).upload_id(upload).send().await;
        if let Err(error) = asked {
            tracing::debug!(store = %self.id, error = %crate::aws::words(&error), "an upload could not be given up");
        }
    }
}
