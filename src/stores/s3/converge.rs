//! One object, made the same: level-triggered, in the order of S3-1.
//!
//! The standby is looked at first, then the source, then the standby is written on the condition that it is still what was
//! seen. Two that work on one key at once cannot undo one another that way: the later look at the source always belongs to
//! the write that wins, or the write does not happen. A last look at the source only saves a round: what changed meanwhile is
//! told by an event of its own, which marks the key anew. So it is made only after a copy in parts.

use std::collections::BTreeMap;

use super::Bucket;
use super::copy::{Freight, Onto, Written};
use super::dress::Dress;
use super::keys::object_key;
use super::known::{Known, Mark};
use super::look::End;
use super::multipart::Work;
use super::object::{Beside, Object};
use super::plan::{Plan, plan};
use super::refusal::Stop;
use super::same::{beside_digest, headers_digest};
use super::seal::Seal;
use super::settings::Versions;
use crate::change::{Class, Key};
use crate::stores::converge::{Did, Refusal, Same, Settled, Spot};

impl Bucket {
    /// Makes one object the same.
    pub(super) async fn make_same(&self, spot: Spot<'_>) -> Settled {
        let Some(name) = object_key(spot.key) else { return Settled::Refused(self.refusal("key", 0)) };
        let settled = match self.settings.versions {
            Versions::Current => self.settle(spot, name).await,
            Versions::History => self.settle_versions(spot, name).await,
        };
        settled.map_or_else(Settled::from, Settled::Same)
    }

    /// How bytes are carried over, for a human.
    pub(super) fn transfer_words(&self) -> String {
        self.hands.words()
    }

    async fn settle(&self, spot: Spot<'_>, name: &str) -> Result<Same, Stop> {
        let known = match spot.afresh {
            true => None,
            false => spot.notebook.known(spot.key)?.as_ref().and_then(Known::read),
        };
        let target = self.head(End::Target, spot.key, name, None).await?;
        let source = self.head(End::Source, spot.key, name, None).await?;
        let plan = plan(known.as_ref(), target.as_ref(), source.as_ref(), &self.settings.carry);
        if plan != Plan::Copy {
            self.give_up_noted(spot, name).await?;
        }
        match (plan, source, target) {
            (Plan::Copy, Some(source), target) => self.copy(spot, name, &source, target.as_ref()).await,
            (Plan::BesideKnown | Plan::BesideTarget, Some(source), Some(target)) => {
                let known = known.filter(|_| plan == Plan::BesideKnown);
                self.dress_again(spot, name, &source, &target, known.as_ref()).await
            }
            (Plan::Remove, None, Some(target)) => {
                self.surely_gone(spot.key, name).await?;
                self.remove(spot.key, name, &target.mark).await?;
                match self.head(End::Source, spot.key, name, None).await? {
                    Some(_) => Err(Stop::Again),
                    None => Ok(Same { did: Did::Removed, ..Same::default() }),
                }
            }
            _ => self.surely_gone(spot.key, name).await.map(|()| Same::default()),
        }
    }

    async fn copy(&self, spot: Spot<'_>, name: &str, source: &Object, target: Option<&Object>) -> Result<Same, Stop> {
        let beside = self.beside(End::Source, spot.key, name, source).await?;
        let written = self.carry_over(spot, name, source, &beside, &Onto::of(target)).await?;
        if written.in_parts {
            self.unchanged(spot, name, source).await?;
        }
        Ok(self.same(source, written.mark, &beside, written.did, source.mark.size))
    }

    /// What is beside the bytes, made the same.
    pub(super) async fn dress_again(
        &self,
        spot: Spot<'_>,
        name: &str,
        source: &Object,
        target: &Object,
        known: Option<&Known>,
    ) -> Result<Same, Stop> {
        let beside = self.beside(End::Source, spot.key, name, source).await?;
        if known.is_some_and(|known| known.beside == beside_digest(&beside)) {
            return Ok(self.same(source, target.mark.clone(), &beside, Did::Nothing, 0));
        }
        let theirs = self.beside(End::Target, spot.key, name, target).await?;
        if theirs == beside {
            return Ok(self.same(source, target.mark.clone(), &beside, Did::Nothing, 0));
        }
        self.touch(spot.key, name, (source, target), &beside, &theirs).await?;
        self.unchanged(spot, name, source).await?;
        Ok(self.same(source, target.mark.clone(), &beside, Did::Copied, 0))
    }

    /// What is left to know when both ends are the same.
    pub(super) fn same(&self, source: &Object, target: Mark, beside: &Beside, did: Did, bytes: u64) -> Same {
        let known = Known {
            source: source.mark.clone(),
            target,
            headers: headers_digest(&source.headers),
            beside: beside_digest(beside),
            versions: Vec::new(),
            deleted: false,
        };
        Same { known: known.written(), did, bytes, made_at: source.mark.modified }
    }

    /// The source's object is still the one that was looked at, or all begins anew.
    async fn unchanged(&self, spot: Spot<'_>, name: &str, source: &Object) -> Result<(), Stop> {
        let now = self.head(End::Source, spot.key, name, None).await?;
        let same = now.is_some_and(|now| {
            now.mark.is(&source.mark)
                && now.headers == source.headers
                && now.tags == source.tags
                && now.lock == source.lock
        });
        if same { Ok(()) } else { Err(Stop::Again) }
    }

    /// Copies the bytes and what they wear, whichever way is open.
    pub(super) async fn carry_over(
        &self,
        spot: Spot<'_>,
        name: &str,
        source: &Object,
        beside: &Beside,
        onto: &Onto,
    ) -> Result<Written, Stop> {
        let dress = Dress::of(source, beside, &self.settings.carry);
        let freight = Freight { key: spot.key, name, source, dress: &dress, onto };
        let digest = beside_digest(beside);
        let written = match self.hands.streams() {
            true => self.streamed(spot, freight, &digest).await,
            false => match self.copied(spot, freight, &digest).await {
                Err(Stop::Unseen(error)) if self.hands.may_switch() => {
                    // S3 refused, and we have just seen the object: only if we can carry it the bucket is to blame.
                    let written = self.streamed(spot, freight, &digest).await?;
                    let why = error.chain();
                    if self.hands.switch(why.clone()) {
                        tracing::warn!(
                            store = %self.id,
                            error = %why,
                            "S3 cannot copy from the source bucket by itself; objects go through this process from now on"
                        );
                    }
                    Ok(written)
                }
                Err(Stop::Unseen(error)) => Err(Stop::Failed(error.hint(
                    "let the standby's role read the source bucket (s3:GetObject, s3:GetObjectVersion, kms:Decrypt on its \
                     key), or set transfer = \"stream\"",
                ))),
                copied => copied,
            },
        };
        let written = written.map_err(|stop| match stop {
            Stop::Refused(refusal) if refusal.bytes == 0 => {
                Stop::Refused(Refusal { bytes: source.mark.size, ..refusal })
            }
            stop => stop,
        })?;
        if let Some(annotations) = beside.annotations.as_ref().filter(|all| !written.annotated && !all.is_empty()) {
            let made = Object { mark: written.mark.clone(), ..Object::default() };
            self.put_annotations(spot.key, name, source, &made, annotations, &BTreeMap::new()).await?;
        }
        Ok(written)
    }

    async fn copied(&self, spot: Spot<'_>, freight: Freight<'_>, beside: &str) -> Result<Written, Stop> {
        let source = freight.source;
        if let Some(refusal) = self.against(source, false) {
            return Err(Stop::Refused(refusal));
        }
        let noted = Work::read(spot.notebook.work(spot.key)?);
        let begun = noted.is_some_and(|work| work.says(source));
        if source.mark.size > self.hands.limits.whole || begun {
            return self.in_parts(freight, beside, false, spot.notebook).await;
        }
        self.give_up_noted(spot, freight.name).await?;
        let copied = self.copy_whole(freight).await;
        self.note_slow(spot, source, copied).await
    }

    async fn streamed(&self, spot: Spot<'_>, freight: Freight<'_>, beside: &str) -> Result<Written, Stop> {
        let source = freight.source;
        if let Some(refusal) = self.against(source, true) {
            return Err(Stop::Refused(refusal));
        }
        let checksum = source.checksum.as_ref();
        let parts_told = checksum.is_some_and(|checksum| checksum.composite);
        if source.mark.size == 0 || (source.mark.size <= self.hands.body_most(self.settings.part_size) && !parts_told) {
            self.give_up_noted(spot, freight.name).await?;
            return self.stream_whole(freight).await;
        }
        // A checksum that S3 makes of whole bodies only is kept, and proves the copy, only in one piece.
        let whole_only = checksum.is_some_and(|c| !c.composite && !Seal::of(Some(c), false).whole);
        let begun = Work::read(spot.notebook.work(spot.key)?).is_some_and(|work| work.says(source));
        if whole_only && source.mark.size <= self.hands.limits.whole && !begun {
            self.give_up_noted(spot, freight.name).await?;
            let passed = self.pass_whole(freight).await;
            return self.note_slow(spot, source, passed).await;
        }
        self.in_parts(freight, beside, true, spot.notebook).await
    }

    /// Notes a long object that did not get there in one request: it may have been too long for one, and of parts each has a
    /// time limit of its own.
    async fn note_slow(&self, spot: Spot<'_>, source: &Object, copied: Result<Written, Stop>) -> Result<Written, Stop> {
        if let Err(Stop::Failed(error)) = &copied
            && error.class == Class::Unknown
            && source.mark.size > self.settings.part_size
        {
            spot.notebook.note_work(spot.key, Work::slow(source).written()?).await?;
        }
        copied
    }

    /// Gives up the upload that is noted: its object is not to be copied any more, or not in parts.
    pub(super) async fn give_up_noted(&self, spot: Spot<'_>, name: &str) -> Result<(), Stop> {
        if let Some(work) = Work::read(spot.notebook.work(spot.key)?)
            && let Some(upload) = work.upload()
        {
            self.give_up(name, upload).await;
        }
        Ok(())
    }

    /// Removes the standby's object if it is still the one that was seen. In a versioned bucket that is a delete marker.
    pub(super) async fn remove(&self, key: &Key, name: &str, target: &Mark) -> Result<(), Stop> {
        let removed = self
            .target
            .delete_object()
            .bucket(&self.settings.standby_bucket)
            .key(name)
            .if_match(format!("\"{}\"", target.etag))
            .send()
            .await;
        match removed {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(&error, true, "DeleteObject", key)),
        }
    }
}
