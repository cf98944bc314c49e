//! What a promotion lost of a bucket (FB-2): objects of prodX that are not what was copied last, removals that never came,
//! and the keys of which the index had heard and had not made the same.
//!
//! Both buckets are listed side by side, with what the index knows of each key. That is more than the objects that are newer
//! than the watermark: it finds those whose time says nothing (a multipart upload carries the time at which it began).
//! Nothing is ever written to prodX, and to prodY only with a condition.
//!
//! - Two objects count as the same when their bytes are proven to be (by a checksum that both have, or by an ETag that is an
//!   MD5) and their headers are equal. Where neither can be told they count as different: an operator sees both.
//! - What cannot be told: who wrote an object of prodY that is not what was copied last; when an object was removed from
//!   prodX (S3 keeps no time of it); changes of tags, access lists and locks that made no new object; versions that are not
//!   current.

mod image;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde_json::Value;

use self::image::{image, is_of};
use super::Bucket;
use super::copy::Onto;
use super::known::Known;
use super::list::page::{Entry, PAGE};
use super::look::End;
use super::object::Object;
use super::refusal::Stop;
use super::same::{Likeness, alike};
use super::settings::Versions;
use super::{keys, list};
use crate::change::{Class, Key, SourceTime, Stamp};
use crate::stores::converge::{Notebook, Spot};
use crate::stores::salvage::{Digest, Found, Image, Origin, Rest, Salvage, Settled, Sink, Wish};
use crate::stores::{StoreError, StoreState};
use crate::watermark::ParkedRecord;
use crate::watermark::course::MarkRecord;

/// Keys that are looked at on both ends at one time.
const LOOKS: usize = 8;
/// Dirty keys that are read at one time.
const ROWS: usize = 500;
/// What a look at a key counts for in the budget of a comparison, bytes.
const LOOK_COSTS: u64 = 4096;

#[async_trait]
impl Salvage for Bucket {
    async fn reachable(&self) -> Result<(), StoreError> {
        let on = format!("source bucket {}", self.settings.bucket);
        match self.source.head_bucket().bucket(&self.settings.bucket).send().await {
            Ok(_) => Ok(()),
            // It answers; what follows from a bucket that is gone is said where it is listed.
            Err(error) if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 404) => Ok(()),
            Err(error) => Err(StoreError::of_call(&error, false, "HeadBucket", &on)),
        }
    }

    async fn tail(
        &self,
        state: &StoreState,
        _: Stamp,
        rest: &dyn Rest,
        sink: &mut dyn Sink,
    ) -> Result<Vec<String>, StoreError> {
        let mut missing = Vec::new();
        if self.settings.versions == Versions::History {
            missing.push("only current versions are salvaged: older versions that were lost are not listed".into());
        }
        self.dirty(state, rest, sink).await?;
        self.both(Some((state, rest)), 0, sink).await?;
        Ok(missing)
    }

    fn parked(&self, key: &Key, record: &ParkedRecord) -> Result<Found, StoreError> {
        let _ = record;
        Err(StoreError::new(Class::Invalid, "reading a parked message", format!("store {}, {key:?}", self.id))
            .hint("a message of the queue was not understood; the comparison finds what it may have been about"))
    }

    async fn compare(&self, bytes_per_second: u64, sink: &mut dyn Sink) -> Result<(), StoreError> {
        self.both(None, bytes_per_second / LOOK_COSTS, sink).await
    }

    fn identity(&self, key: &Value) -> Option<Key> {
        let key = Key(key.as_str()?.as_bytes().to_vec().into());
        keys::object_key(&key).is_some().then_some(key)
    }

    async fn standby(&self, keys: &[Value]) -> Result<Vec<Option<Image>>, StoreError> {
        let mut looks = Vec::new();
        for key in keys {
            let key = self.identity(key).ok_or_else(|| {
                StoreError::new(
                    Class::Invalid,
                    "reading a key",
                    format!("standby bucket {}", self.settings.standby_bucket),
                )
            })?;
            looks.push(self.held(End::Target, key));
        }
        let held: Vec<Result<Option<Object>, StoreError>> =
            futures_util::stream::iter(looks).buffered(LOOKS).collect().await;
        held.into_iter().map(|object| Ok(object?.as_ref().map(|object| image(End::Target, object)))).collect()
    }

    async fn settle(&self, wish: &Wish) -> Settled {
        let Some(key) = self.identity(&wish.key) else {
            return Settled::Refused("its key is no key of a bucket".into());
        };
        match self.bring(&key, wish).await {
            Ok(settled) => settled,
            Err(Stop::Again | Stop::NoUpload) => Settled::Changed,
            Err(Stop::Refused(refusal)) => Settled::Refused(refusal.why),
            Err(Stop::Unseen(error) | Stop::Failed(error)) => Settled::Failed(error.chain()),
        }
    }
}

/// Both ends of a key.
struct Ends {
    key: Key,
    source: Option<Object>,
    target: Option<Object>,
}

impl Bucket {
    async fn held(&self, end: End, key: Key) -> Result<Option<Object>, StoreError> {
        let name = list::text(&key)?.to_owned();
        self.head(end, &key, &name, None).await.map_err(|stop| self.failure(&key, stop))
    }

    fn failure(&self, key: &Key, stop: Stop) -> StoreError {
        match stop {
            Stop::Failed(error) | Stop::Unseen(error) => error,
            Stop::Refused(refusal) => {
                StoreError::new(Class::Invalid, "HeadObject", format!("store {}, {key:?}", self.id))
                    .because(refusal.why)
            }
            Stop::Again | Stop::NoUpload => {
                StoreError::new(Class::Unavailable, "HeadObject", format!("store {}, {key:?}", self.id))
                    .because("it changes all the time")
            }
        }
    }

    /// Looks at keys on both ends, some at one time.
    async fn ends(&self, keys: Vec<Key>) -> Result<Vec<Ends>, StoreError> {
        let looks: Vec<_> = keys
            .into_iter()
            .map(async |key| {
                let target = self.held(End::Target, key.clone()).await?;
                let source = self.held(End::Source, key.clone()).await?;
                Ok::<Ends, StoreError>(Ends { key, source, target })
            })
            .collect();
        let ends: Vec<_> = futures_util::stream::iter(looks).buffered(LOOKS).collect().await;
        ends.into_iter().collect()
    }

    /// The keys that were dirty at the fence, or of which an event came behind it.
    async fn dirty(&self, state: &StoreState, rest: &dyn Rest, sink: &mut dyn Sink) -> Result<(), StoreError> {
        let mut after: Option<Key> = None;
        loop {
            let marks = rest.marks_after(after.as_ref(), ROWS)?;
            let Some((last, _)) = marks.last() else { return Ok(()) };
            after = Some(last.clone());
            let ours = marks.into_iter().filter(|(key, _)| keys::object_key(key).is_some() && !self.is_canary(key));
            let (keys, marks): (Vec<Key>, Vec<MarkRecord>) = ours.unzip();
            for (ends, mark) in self.ends(keys).await?.into_iter().zip(marks) {
                sink.alive().await?;
                let known = known(rest, &ends.key)?;
                if let Some(found) = self.found(state, &ends, known.as_ref(), Some(&mark))? {
                    sink.found(found).await?;
                }
            }
        }
    }

    /// Lists both ends side by side and looks at the keys that differ from what is known; without that, from one another.
    async fn both(
        &self,
        known_to: Option<(&StoreState, &dyn Rest)>,
        looks_per_second: u64,
        sink: &mut dyn Sink,
    ) -> Result<(), StoreError> {
        let mut after: Option<Key> = None;
        loop {
            sink.alive().await?;
            let from = after.as_ref().map(list::text).transpose()?;
            let standby = self.target_end().objects(from, PAGE).await?;
            let source = self.source_end().objects(from, PAGE).await?;
            let to = list::reach(&source, &standby);
            let begun = self.clock.now().mono;
            let mut keys = Vec::new();
            for (x, y) in list::pairs(&source, &standby, to.as_ref()) {
                let Some(key) = x.or(y).map(|entry| &entry.key).filter(|key| !self.is_canary(key)) else { continue };
                let look = match known_to {
                    Some((_, rest)) => rest.mark(key)?.is_none() && changed(x, y, known(rest, key)?.as_ref()),
                    None => !told_equal(x, y),
                };
                if look {
                    keys.push(key.clone());
                }
            }
            let looked = keys.len() as u64;
            for keys in keys.chunks(LOOKS * 8) {
                for ends in self.ends(keys.to_vec()).await? {
                    let found = match known_to {
                        Some((state, rest)) => self.found(state, &ends, known(rest, &ends.key)?.as_ref(), None)?,
                        None => compared(&ends)?,
                    };
                    if let Some(found) = found {
                        sink.found(found).await?;
                    }
                }
                sink.alive().await?;
            }
            if let Some(millis) = (looked * 1000).checked_div(looks_per_second) {
                let due = begun + std::time::Duration::from_millis(millis);
                self.clock.sleep(due.saturating_sub(self.clock.now().mono)).await;
            }
            match to {
                Some(to) => after = Some(to),
                None => return Ok(()),
            }
        }
    }

    fn is_canary(&self, key: &Key) -> bool {
        self.settings.canary_key.as_ref().is_some_and(|canary| canary.as_bytes() == &key.0[..])
    }

    /// What is to be said of a key; `None`: nothing was lost.
    fn found(
        &self,
        state: &StoreState,
        ends: &Ends,
        known: Option<&Known>,
        mark: Option<&MarkRecord>,
    ) -> Result<Option<Found>, StoreError> {
        let (source, target) = (ends.source.as_ref(), ends.target.as_ref());
        // What was copied last is still the source's: whatever is in prodY was written there.
        let copied = |known: &Known| source.is_some_and(|source| known.source.is(&source.mark));
        if mark.is_none() && known.is_some_and(copied) {
            return Ok(None);
        }
        // Never copied, and not in prodX: it is prodY's own.
        if source.is_none() && (known.is_none() || target.is_none()) {
            return Ok(None);
        }
        let held = target.map(|target| image(End::Target, target));
        let equal = match (source, target) {
            (Some(source), Some(target)) => alike(source, target) == Likeness::Same,
            (None, None) => true,
            _ => false,
        };
        if equal && mark.is_none_or(|mark| mark.refused.is_none()) {
            return Ok(None);
        }
        // What the standby held at the fence, as far as the index knows: an object that is there still, one that is not, or
        // none.
        let before = match (known, target, &held) {
            (Some(known), Some(target), Some(held)) if known.target.is(&target.mark) => held.digest,
            (Some(known), _, _) => image::digest(End::Target, &known.target),
            (None, _, _) => Digest::ABSENT,
        };
        let theirs = source.map(|source| match &held {
            Some(held) if equal => Image { digest: held.digest, ..image(End::Source, source) },
            _ => image(End::Source, source),
        });
        let at = match source {
            Some(source) => self.told_time(state, source),
            None => mark.map(|mark| mark.since),
        };
        Ok(Some(Found {
            name: name_of(&ends.key)?,
            key: ends.key.clone(),
            at,
            before: Some(before),
            image: theirs,
            origin: Origin::Stream,
            expired: false,
        }))
    }

    /// When an object was committed, as far as its time says that.
    fn told_time(&self, state: &StoreState, source: &Object) -> Option<SourceTime> {
        let at = source.mark.modified?;
        // A multipart upload carries the time at which it began. And what cannot be copied was never promised.
        let began = source.mark.etag.contains('-') || self.against(source, self.hands.streams()).is_some();
        let promised = state.record.through.is_some_and(|through| at <= through);
        (!(began && promised)).then_some(at)
    }

    /// Brings one object over, or removes one, if the standby is what the wish was based on.
    async fn bring(&self, key: &Key, wish: &Wish) -> Result<Settled, Stop> {
        let name = list::text(key)?;
        let target = self.head(End::Target, key, name, None).await?;
        let source = self.head(End::Source, key, name, None).await?;
        match (&wish.image, &source, &target) {
            (None, _, None) => return Ok(Settled::Already),
            (Some(wanted), Some(source), Some(target))
                if is_of(wanted, End::Source, source) && alike(source, target) == Likeness::Same =>
            {
                return Ok(Settled::Already);
            }
            _ => {}
        }
        let based = match (&wish.based_on, &target) {
            (None, None) => true,
            (Some(based), Some(target)) => is_of(based, End::Target, target),
            _ => false,
        };
        if !based {
            return Ok(Settled::Changed);
        }
        match (&wish.image, source, target) {
            (None, _, Some(target)) => {
                self.remove(key, name, &target.mark).await?;
                Ok(Settled::Applied)
            }
            (Some(wanted), Some(source), target) if is_of(wanted, End::Source, &source) => {
                let beside = self.beside(End::Source, key, name, &source).await?;
                let spot = Spot { key, notebook: &Blank, afresh: true };
                self.carry_over(spot, name, &source, &beside, &Onto::of(target.as_ref())).await?;
                Ok(Settled::Applied)
            }
            _ => Ok(Settled::Refused("prodX does not hold that object any more: list again".into())),
        }
    }
}

/// Does the listing show something that is not known to be the same?
fn changed(x: Option<&Entry>, y: Option<&Entry>, known: Option<&Known>) -> bool {
    match (x, known) {
        (Some(x), Some(known)) => !list::is_source(known, x),
        (Some(_), None) => true,
        // Gone from prodX: lost only if it was copied from there.
        (None, Some(_)) => y.is_some(),
        (None, None) => false,
    }
}

/// Both listings show the same bytes beyond doubt; headers are not in a listing.
fn told_equal(x: Option<&Entry>, y: Option<&Entry>) -> bool {
    let current = |entry: Option<&Entry>| entry.and_then(|entry| entry.current.clone());
    match (current(x), current(y)) {
        (Some(x), Some(y)) => x.size == y.size && x.etag == y.etag && x.etag.len() == 32 && !x.etag.contains('-'),
        _ => false,
    }
}

/// Two ends that are not alike; `None`: they are.
fn compared(ends: &Ends) -> Result<Option<Found>, StoreError> {
    let same = match (&ends.source, &ends.target) {
        (Some(source), Some(target)) => alike(source, target) == Likeness::Same,
        (None, None) => true,
        _ => false,
    };
    if same {
        return Ok(None);
    }
    Ok(Some(Found {
        name: name_of(&ends.key)?,
        key: ends.key.clone(),
        at: None,
        before: None,
        image: ends.source.as_ref().map(|source| image(End::Source, source)),
        origin: Origin::Comparison,
        expired: false,
    }))
}

/// A key as JSON text.
fn name_of(key: &Key) -> Result<String, StoreError> {
    Ok(Value::from(list::text(key)?).to_string())
}

fn known(rest: &dyn Rest, key: &Key) -> Result<Option<Known>, StoreError> {
    Ok(rest.known(key)?.as_ref().and_then(Known::read))
}

/// A notebook of which nothing is kept: behind a fence the index is not written to.
struct Blank;

#[async_trait]
impl Notebook for Blank {
    fn known(&self, _: &Key) -> Result<Option<Value>, StoreError> {
        Ok(None)
    }

    fn known_after(&self, _: Option<&Key>, _: usize) -> Result<Vec<(Key, Value)>, StoreError> {
        Ok(Vec::new())
    }

    fn work(&self, _: &Key) -> Result<Option<Value>, StoreError> {
        Ok(None)
    }

    async fn note_work(&self, _: &Key, _: Value) -> Result<(), StoreError> {
        Ok(())
    }
}
