//! The seeded writers of a bucket: put, upload in parts, change metadata or tags alone, delete; each change is in the
//! ledger before it is sent. The rules are those of [`crate::workload`]: a writer owns its keys, makes one attempt, and
//! leaves a key for ever whose change was not answered.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective, Tag, Tagging};
use bytes::Bytes;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Form, Names, key};
use crate::clients::{self, Endpoint};
use crate::ledger::{Ledger, State};
use crate::random::Random;
use crate::scripted::s3::{BodyDigest, form_encoded};
use crate::trouble::{Trouble, chain};
use crate::workload::OnSilence;

/// The traffic on one bucket.
#[derive(Debug, Clone)]
pub struct ObjectTraffic {
    /// The bucket, which must exist.
    pub bucket: String,
    /// Its ledger.
    pub ledger: Ledger,
    /// How many writers.
    pub writers: usize,
    /// How many keys each of them owns.
    pub keys: usize,
    /// Changes a second over all writers, at most.
    pub rate: f64,
    /// What the keys look like.
    pub names: Names,
    /// The share of the changes that go to a tenth of the keys.
    pub hot: f64,
    /// The share of the changes of existing objects that delete.
    pub deletes: f64,
    /// The share of them that change the metadata alone: a copy of the object onto itself.
    pub metadata: f64,
    /// The share of them that change the tags alone.
    pub tags: f64,
    /// The share of the bodies that are uploaded in two parts.
    pub multipart: f64,
    /// The size of the first part of those: 5 MiB at least where the least size of a part is enforced.
    pub part: usize,
    /// Bytes of a body, at most.
    pub size: usize,
    /// All writers end after this many changes together (rounded up to a number for each); endless when absent.
    pub limit: Option<u64>,
}

impl ObjectTraffic {
    /// Steady traffic of small objects with plain names.
    pub fn steady(bucket: &str, rate: f64) -> Self {
        Self {
            bucket: bucket.into(),
            ledger: Ledger::new(),
            writers: 4,
            keys: 25,
            rate,
            names: Names::Plain,
            hot: 0.5,
            deletes: 0.0,
            metadata: 0.0,
            tags: 0.0,
            multipart: 0.0,
            part: 5 << 20,
            size: 4096,
            limit: None,
        }
    }

    /// Everything at once: awkward names, hot keys, deletes, changes of metadata and of tags alone, a few multipart
    /// uploads (of `part` and a little more bytes).
    pub fn everything(bucket: &str, rate: f64) -> Self {
        let names = Names::Awkward;
        Self { names, deletes: 0.15, metadata: 0.1, tags: 0.1, multipart: 0.02, ..Self::steady(bucket, rate) }
    }
}

/// Running writers; dropping it stops them, with the change that is under way left unknown.
#[derive(Debug)]
pub struct ObjectWorkload {
    writers: JoinSet<Result<(), Trouble>>,
    stop: CancellationToken,
    gate: Arc<RwLock<()>>,
}

impl ObjectWorkload {
    /// Starts the writers of all traffics against one region. Two workloads on one bucket need different seeds.
    pub fn start(endpoint: &Endpoint, traffics: &[ObjectTraffic], seed: u64, on_silence: OnSilence) -> Self {
        let client = clients::s3_once(endpoint);
        let (stop, gate) = (CancellationToken::new(), Arc::new(RwLock::new(())));
        let mut writers = JoinSet::new();
        for (bucket, traffic) in traffics.iter().enumerate() {
            for number in 0..traffic.writers {
                let writer = Writer {
                    client: client.clone(),
                    traffic: traffic.clone(),
                    seed,
                    number,
                    random: Random::fork(seed, (bucket * 1000 + number) as u64),
                    slots: vec![Slot::default(); traffic.keys.max(1)],
                    stop: stop.clone(),
                    gate: gate.clone(),
                    on_silence,
                };
                writers.spawn(writer.run());
            }
        }
        Self { writers, stop, gate }
    }

    /// Holds the writers between two changes: when this returns none is under way. Dropping the guard lets them go on.
    pub async fn pause(&self) -> OwnedRwLockWriteGuard<()> {
        self.gate.clone().write_owned().await
    }

    /// Stops the writers after the change that is under way.
    ///
    /// # Errors
    /// When the region told a writer that its request is wrong: a fault of the lab.
    pub async fn stop(mut self) -> Result<(), Trouble> {
        self.stop.cancel();
        self.finish().await
    }

    /// Waits until all writers have ended by themselves, by their limit or by silence.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn finish(&mut self) -> Result<(), Trouble> {
        let mut result = Ok(());
        while let Some(ended) = self.writers.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(Trouble::new(format!("a writer broke: {error}"))));
            result = result.and(ended);
        }
        result
    }
}

/// A key of a writer, and what it holds.
#[derive(Debug, Clone, Default)]
struct Slot {
    generation: u32,
    revision: u64,
    form: Option<Form>,
}

enum Deed {
    Put(Bytes),
    Multipart(Bytes),
    Describe,
    Tag,
    Delete,
}

enum Answer {
    Committed,
    Throttled,
    Silent,
    Wrong(String),
}

struct Writer {
    client: Client,
    traffic: ObjectTraffic,
    seed: u64,
    number: usize,
    random: Random,
    slots: Vec<Slot>,
    stop: CancellationToken,
    gate: Arc<RwLock<()>>,
    on_silence: OnSilence,
}

impl Writer {
    async fn run(mut self) -> Result<(), Trouble> {
        let step = Duration::from_secs_f64(self.traffic.writers as f64 / self.traffic.rate.max(0.001));
        let mut left = self.traffic.limit.map(|limit| limit.div_ceil(self.traffic.writers as u64));
        let mut next = Instant::now() + step.mul_f64(self.random.unit());
        while left != Some(0) {
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => {}
            }
            next = next.max(Instant::now() - Duration::from_millis(200)) + step.mul_f64(0.5 + self.random.unit());
            match self.change().await {
                Answer::Committed => left = left.map(|left| left - 1),
                Answer::Throttled => next = next.max(Instant::now() + Duration::from_millis(50)),
                Answer::Wrong(why) => {
                    return Err(Trouble::new(format!("a write to {} was refused: {why}", self.traffic.bucket)));
                }
                Answer::Silent if self.on_silence == OnSilence::End => break,
                Answer::Silent => next = next.max(Instant::now() + Duration::from_millis(200)),
            }
        }
        Ok(())
    }

    async fn change(&mut self) -> Answer {
        let gate = self.gate.clone();
        let _open = gate.read().await;
        let index = self.pick();
        let slot = self.slots.get(index).cloned().unwrap_or_default();
        let name = self.traffic.names.name(self.seed, self.number, index, slot.generation);
        let revision = slot.revision + 1;
        let (deed, form) = self.decide(slot.form, revision);
        let state = form.as_ref().map_or(State::Absent, |form| State::Item(form.digest()));
        let ticket = self.traffic.ledger.send(key(&name), state, SystemTime::now());
        let answer = self.send(&name, deed, form.clone().unwrap_or_default()).await;
        let now = SystemTime::now();
        let slot = self.slots.get_mut(index).expect("the index was picked below the number of slots");
        slot.revision = revision;
        match answer {
            Answer::Committed => {
                self.traffic.ledger.ack(ticket, now);
                slot.form = form;
            }
            Answer::Throttled | Answer::Wrong(_) => self.traffic.ledger.refuse(ticket),
            Answer::Silent => {
                slot.generation += 1;
                slot.form = None;
            }
        }
        answer
    }

    fn pick(&mut self) -> usize {
        let hot = (self.slots.len() / 10).max(1);
        let among = if self.random.chance(self.traffic.hot) { hot } else { self.slots.len() };
        self.random.below(among)
    }

    fn decide(&mut self, old: Option<Form>, revision: u64) -> (Deed, Option<Form>) {
        let (deletes, metadata, tags) = (self.traffic.deletes, self.traffic.metadata, self.traffic.tags);
        if let Some(mut form) = old {
            let choice = self.random.unit();
            if choice < deletes {
                return (Deed::Delete, None);
            }
            if choice < deletes + metadata {
                form.metadata.insert("rev".to_owned(), revision.to_string());
                return (Deed::Describe, Some(form));
            }
            if choice < deletes + metadata + tags {
                form.tags = [("rev".to_owned(), revision.to_string()), ("a b".to_owned(), "c+d=e".to_owned())].into();
                return (Deed::Tag, Some(form));
            }
        }
        let multipart = self.random.chance(self.traffic.multipart);
        let length = self.random.below(self.traffic.size + 1) + if multipart { self.traffic.part } else { 0 };
        let block = self.random.bytes(length.min(4096));
        let bytes: Bytes = block.iter().copied().cycle().take(length).collect::<Vec<u8>>().into();
        let mut form = Form { body: BodyDigest::of(&bytes), content_type: "text/x-lab".to_owned(), ..Form::default() };
        form.metadata.insert("rev".to_owned(), revision.to_string());
        if !multipart && self.random.chance(0.3) {
            form.tags.insert("t".to_owned(), format!("x {revision}"));
        }
        (if multipart { Deed::Multipart(bytes) } else { Deed::Put(bytes) }, Some(form))
    }

    async fn send(&self, name: &str, deed: Deed, form: Form) -> Answer {
        let bucket = &self.traffic.bucket;
        let metadata = Some(form.metadata.into_iter().collect());
        match deed {
            Deed::Put(bytes) => {
                let put = self.client.put_object().bucket(bucket).key(name).body(bytes.into()).set_metadata(metadata);
                let pairs =
                    form.tags.iter().map(|(tag, value)| format!("{}={}", form_encoded(tag), form_encoded(value)));
                let tagging = (!form.tags.is_empty()).then(|| pairs.collect::<Vec<_>>().join("&"));
                answer(put.content_type(form.content_type).set_tagging(tagging).send().await)
            }
            Deed::Multipart(bytes) => self.upload(name, bytes, form.content_type, metadata).await,
            Deed::Describe => {
                let source = format!("{bucket}/{}", form_encoded(name).replace('+', "%20"));
                let copy = self.client.copy_object().bucket(bucket).key(name).copy_source(source);
                let copy = copy.metadata_directive(MetadataDirective::Replace).set_metadata(metadata);
                answer(copy.content_type(form.content_type).send().await)
            }
            Deed::Tag => {
                let tag = |(tag, value): (&String, &String)| Tag::builder().key(tag).value(value).build().ok();
                let set = Some(form.tags.iter().filter_map(tag).collect());
                match Tagging::builder().set_tag_set(set).build() {
                    Ok(tagging) => {
                        answer(self.client.put_object_tagging().bucket(bucket).key(name).tagging(tagging).send().await)
                    }
                    Err(error) => Answer::Wrong(chain(&error)),
                }
            }
            Deed::Delete => answer(self.client.delete_object().bucket(bucket).key(name).send().await),
        }
    }

    async fn upload(
        &self,
        name: &str,
        bytes: Bytes,
        content_type: String,
        metadata: Option<std::collections::HashMap<String, String>>,
    ) -> Answer {
        let (client, bucket) = (&self.client, &self.traffic.bucket);
        let create = client.create_multipart_upload().bucket(bucket).key(name).content_type(content_type);
        let id = match create.set_metadata(metadata).send().await {
            Ok(created) => created.upload_id.unwrap_or_default(),
            // Nothing is committed before the upload is complete.
            Err(error) => return refused(answer::<(), _>(Err(error))),
        };
        let cut = self.traffic.part.min(bytes.len());
        let mut parts = Vec::new();
        for (number, part) in (1..).zip([bytes.slice(..cut), bytes.slice(cut..)]) {
            let call = client.upload_part().bucket(bucket).key(name).upload_id(&id).part_number(number);
            match call.body(ByteStream::from(part)).send().await {
                Ok(put) => {
                    let part = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag);
                    parts.push(part.set_checksum_crc32(put.checksum_crc32).build());
                }
                Err(error) => return refused(answer::<(), _>(Err(error))),
            }
        }
        let upload = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let call = client.complete_multipart_upload().bucket(bucket).key(name).upload_id(&id);
        answer(call.multipart_upload(upload).send().await)
    }
}

/// What failed before anything could be committed.
fn refused(answer: Answer) -> Answer {
    match answer {
        Answer::Silent => Answer::Throttled,
        other => other,
    }
}

/// A 4xx answer is a refusal, and SlowDown one for now. Everything else that is not a success may have been carried out.
fn answer<T, E>(result: Result<T, SdkError<E, HttpResponse>>) -> Answer
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match result {
        Ok(_) => Answer::Committed,
        Err(SdkError::ServiceError(refusal)) if refusal.err().code() == Some("SlowDown") => Answer::Throttled,
        Err(SdkError::ServiceError(refusal)) if (400..500).contains(&refusal.raw().status().as_u16()) => {
            Answer::Wrong(chain(refusal.err()))
        }
        Err(SdkError::ConstructionFailure(_)) => Answer::Wrong("the request could not be built".into()),
        Err(_) => Answer::Silent,
    }
}
