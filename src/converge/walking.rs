//! The driver's part in a walk of both ends: its parts are listed, what differs becomes dirty, and when nothing of that is left
//! its start is certified.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::backoff;
use super::driver::{Driver, Event};
use super::shelf::ENOUGH;
use super::walk::{self, Left};
use crate::change::{Difference, Key, SourceTime, Stamp};
use crate::stores::StoreError;
use crate::stores::converge::{Found, ListPage};
use crate::watermark::keys::Prefix;
use crate::watermark::{MarkRecord, ParkedRecord, Record, Row, Seed};

const LONGEST: Duration = Duration::from_secs(60);
/// Keys that were found and mended, and of which an event may still tell, at most; more are not counted.
const MOST_UNHEARD: usize = 10_000;
const PAGE: usize = 500;

/// A walk that is to begin.
#[derive(Debug, Clone)]
pub(super) struct Begin {
    id: u64,
    began: SourceTime,
    cause: String,
    allowed: u64,
    afresh: bool,
}

/// What is in memory of the walks.
#[derive(Debug, Default)]
pub(super) struct Walker {
    /// Goes up with each walk, so that what a former one listed is not taken for this one's.
    id: u64,
    listing: BTreeSet<usize>,
    ranging: bool,
    next_list: Duration,
    failures: u32,
    /// Messages that were not understood, and that no walk has made up for.
    pub(super) strange: u64,
    /// Found, mended, and until when an event may still tell of it.
    unheard: BTreeMap<Key, Duration>,
    /// Somebody waits for a clean drain that began after this, monotonic.
    pub(super) hurried: Option<Duration>,
}

impl Walker {
    pub(super) fn new(strange: u64) -> Self {
        Self { strange, ..Self::default() }
    }

    /// An event told of a key.
    pub(super) fn told(&mut self, key: &Key) {
        self.unheard.remove(key);
    }

    /// A walk found a key, and it was mended; until then an event may still tell of it.
    pub(super) fn unheard(&mut self, key: &Key, until: Duration) {
        if self.unheard.len() < MOST_UNHEARD {
            self.unheard.insert(key.clone(), until);
        }
    }

    fn untold(&mut self, now: Duration) -> u64 {
        let before = self.unheard.len();
        self.unheard.retain(|_, until| *until > now);
        (before - self.unheard.len()) as u64
    }

    /// What was going on is void.
    pub(super) fn restart(&mut self) {
        self.id += 1;
        self.listing.clear();
        self.unheard.clear();
        (self.ranging, self.failures, self.next_list) = (false, 0, Duration::ZERO);
    }

    fn failed(&mut self, now: Duration, jitter: u8) {
        self.failures = self.failures.saturating_add(1);
        self.next_list = now + backoff(self.failures, LONGEST, jitter);
    }
}

impl Driver {
    pub(super) fn start_walk(&mut self, now: Stamp) {
        let untold = self.walker.untold(now.mono);
        if untold > 0 {
            self.course_mut().untold += untold;
            self.pending.proof(now.mono);
        }
        let seen = self.record.incarnation.is_some() && self.surveyed.is_some();
        // What is forgotten must be so in the index: listings read it there.
        let clear = self.pending.clears.is_empty() && !self.committing;
        if self.walker.ranging || !seen || now.mono < self.walker.next_list {
            return;
        }
        let wished = self.record.verify_wanted.is_some() || self.record.wanted.is_some();
        let Some(cause) = walk::due(self.course(), wished, &self.tempo, now.wall).filter(|_| clear) else { return };
        let allowed = self.record.wanted.as_ref().map(|wanted| wanted.allowed);
        let allowed = allowed.max(self.record.verify_wanted.as_ref().map(|wish| wish.allowed)).unwrap_or(0);
        let (id, began, afresh) = (self.walker.id, now.wall - self.skew(), self.record.wanted.is_some());
        let begin = Begin { id, began, cause, allowed, afresh };
        self.walker.ranging = true;
        let store = Arc::clone(&self.store);
        self.events.push(Box::pin(async move {
            let result = Self::converge(&store).ranges().await;
            Event::Ranged { begin, result }
        }));
    }

    pub(super) fn on_ranged(&mut self, begin: Begin, result: Result<Vec<Key>, StoreError>, now: Stamp, closed: bool) {
        if begin.id != self.walker.id {
            return;
        }
        self.walker.ranging = false;
        match result {
            Ok(_) if closed || self.frozen => {}
            Ok(starts) => {
                self.troubles.walk.cleared();
                self.source_answered = Some(now);
                self.walker.restart();
                let mut walk = walk::begin(begin.began, &begin.cause, starts, self.course().walk.as_ref());
                (walk.allowed, walk.afresh) = (begin.allowed, begin.afresh);
                tracing::info!(store = %self.store.id(), cause = walk.cause, parts = walk.parts.len(), "a walk of both ends begins");
                self.course_mut().walk = Some(walk);
                (self.record.verify_wanted, self.record.wanted) = (None, None);
                self.pending.decision();
            }
            Err(error) => self.walk_failed(&error, now),
        }
    }

    fn walk_failed(&mut self, error: &StoreError, now: Stamp) {
        self.deps.meter.error(error.class);
        self.troubles.walk.failed(&error.chain(), "a walk does not go on");
        let jitter = self.jitter();
        self.walker.failed(now.mono, jitter);
    }

    /// A part can be listed.
    fn next_part(&self) -> Option<usize> {
        let walk = self.course().walk.as_ref().filter(|walk| walk::listing(Some(walk)))?;
        let room = self.walker.listing.len() < self.tempo.list_ranges.max(1) && self.marks.len() < ENOUGH;
        let mut open =
            walk.parts.iter().enumerate().filter(|(at, part)| !part.done && !self.walker.listing.contains(at));
        open.next().filter(|_| room).map(|(at, _)| at)
    }

    /// When the next page is to be listed, monotonic.
    pub(super) fn list_due(&self) -> Option<Duration> {
        self.next_part().map(|_| self.walker.next_list)
    }

    pub(super) fn start_lists(&mut self, now: Stamp) {
        while now.mono >= self.walker.next_list
            && let Some(part) = self.next_part()
        {
            let from = self.course().walk.as_ref().and_then(|walk| walk::from(walk, part, now));
            let Some(from) = from else {
                // Where it stood cannot be read: it is listed from its start again.
                self.restart_part(part);
                return;
            };
            self.walker.listing.insert(part);
            self.walker.next_list = now.mono + Duration::from_secs(1) / self.tempo.list_rate.max(1);
            let (store, pages, walk) = (Arc::clone(&self.store), self.pages(), self.walker.id);
            let published = self.record.through;
            self.events.push(Box::pin(async move {
                let result = Self::converge(&store).list(&from, &pages).await;
                Event::Listed { walk, part, published, result }
            }));
        }
    }

    fn restart_part(&mut self, part: usize) {
        if let Some(part) = self.course_mut().walk.as_mut().and_then(|walk| walk.parts.get_mut(part)) {
            part.at = None;
        }
        // Unreadable bounds: everything.
        if let Some(walk) = &mut self.course_mut().walk
            && walk.parts.get(part).is_some_and(|part| part.start.is_empty() || part.at.is_none())
        {
            let whole = walk::begin(walk.began, &walk.cause, Vec::new(), None).parts;
            let unreadable = walk.parts.iter().any(|part| {
                let text = |text: &String| crate::watermark::course::Part::key(text).is_none();
                text(&part.start) || part.end.as_ref().is_some_and(text)
            });
            if unreadable {
                walk.parts = whole;
            }
        }
    }

    pub(super) fn on_listed(
        &mut self,
        id: u64,
        part: usize,
        published: Option<SourceTime>,
        result: Result<ListPage, StoreError>,
        now: Stamp,
        closed: bool,
    ) {
        if id != self.walker.id {
            return;
        }
        self.walker.listing.remove(&part);
        if closed || self.frozen {
            return;
        }
        let page = match result {
            Ok(page) => page,
            Err(error) => return self.walk_failed(&error, now),
        };
        let Some(walk) = &mut self.course_mut().walk else { return };
        if !walk::page(walk, part, &page) {
            let text = "a page does not go on from the one before it";
            let error = StoreError::new(crate::change::Class::Invalid, "listing", text);
            return self.walk_failed(&error, now);
        }
        let began = walk.began;
        self.walker.failures = 0;
        (self.source_answered, self.last_progress) = (Some(now), Some(now));
        self.troubles.walk.cleared();
        for found in page.found {
            self.on_found(&found, began, published, now);
        }
        self.pending.progress(now.mono);
        if let Some(walk) = &mut self.course_mut().walk
            && walk::complete(walk)
        {
            walk.listed_at = Some(now.wall);
            let (looked, found, orphans) = (walk.looked, walk.found, walk.orphans);
            tracing::info!(store = %self.store.id(), looked, found, orphans, "both ends are listed");
            self.shelf.again();
            self.pending.decision();
        }
    }

    fn on_found(&mut self, found: &Found, began: SourceTime, published: Option<SourceTime>, now: Stamp) {
        let key = &found.key;
        if found.what == Difference::Orphan {
            if let Some(walk) = &mut self.course_mut().walk {
                walk.orphans += 1;
            }
            if !self.marks.contains(key) {
                return self.put_aside(key, began, now);
            }
        }
        self.take_off_shelf(key);
        let passed = |at: SourceTime| published.is_some_and(|published| at <= published);
        let walked = |at: SourceTime| self.course().certified.is_some_and(|certified| at <= certified);
        let below = found.made_at.is_some_and(|at| passed(at) && !walked(at)) && !self.was_excluded(key);
        self.marks.find(key, found.made_at.unwrap_or(began), found.what, below, now.wall);
    }

    /// A removal waits until all is listed, and for the guard.
    fn put_aside(&mut self, key: &Key, began: SourceTime, now: Stamp) {
        self.take_off_shelf(key);
        let before = self.marks.remove(key);
        if let Some(mark) = &before {
            self.unwrite(key, mark);
            if let Some(refused) = &mark.refused {
                self.untally(refused);
            }
        }
        let record = MarkRecord {
            since: began,
            found_at: now.wall,
            generation: before.map_or(0, |mark| mark.generation) + 1,
            walked: true,
            what: Some(Difference::Orphan),
            held: true,
            refused: None,
            late: false,
            order: None,
        };
        self.pending.put(self.dirty_row(key), &record);
        self.shelf.put(key, &record);
    }

    /// What is left of the walk that was listed.
    fn left(&mut self) -> Option<Left> {
        let walk = self.course().walk.as_ref().filter(|walk| walk::settling(Some(walk)))?;
        let unread = !self.shelf.swept(walk);
        let walked = self.marks.walked() as u64 + self.shelf.walked;
        let pin = [self.marks.oldest(), self.shelf_pin()].into_iter().flatten().min();
        Some(Left { walked, unread, pin })
    }

    pub(super) fn end_walk(&mut self, now: Stamp) {
        let Some(left) = self.left() else { return };
        if left.unread && !self.shelf.busy() {
            self.shelf.again();
        }
        if !self.course().walk.as_ref().is_some_and(|walk| walk::certifies(walk, left)) {
            return;
        }
        let Some(walk) = &mut self.course_mut().walk else { return };
        walk.ended_at = Some(now.wall);
        let began = walk.began;
        let first = self.record.seed == Seed::Pending;
        let course = self.course_mut();
        course.certified = Some(course.certified.map_or(began, |have| have.max(began)));
        if course.blind.as_ref().is_some_and(|blind| blind.noticed_at <= began) {
            course.blind = None;
        }
        if first {
            self.record.seed = Seed::Done { at: now.wall };
        }
        (self.record.verified_at, self.record.whole_at) = (Some(now.wall), Some(began));
        self.proved = Some(now);
        self.heal_strange(began);
        tracing::info!(store = %self.store.id(), %began, "both ends are the same as of the start of the walk");
        self.pending.decision();
    }

    /// Messages that were not understood before a walk that is complete.
    fn heal_strange(&mut self, began: SourceTime) {
        if self.walker.strange == 0 {
            return;
        }
        let mut left = 0;
        let mut after = None;
        while let Ok(rows) = self.deps.index.range(&Prefix::parked(self.store.id()), after.as_ref(), PAGE) {
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (row, bytes) in rows {
                match ParkedRecord::decode(&row, &bytes) {
                    Ok(parked) if parked.parked_at > began => left += 1,
                    _ => self.pending.delete(row),
                }
            }
        }
        let fresh = |row: &Row| matches!(row, Row::Parked { .. });
        left += self.pending.rows.iter().filter(|(row, bytes)| fresh(row) && bytes.is_some()).count() as u64;
        self.walker.strange = left;
        if left == 0 {
            self.troubles.strange.cleared();
        }
    }
}
