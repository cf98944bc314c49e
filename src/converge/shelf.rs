//! Dirty keys that are durable and not in memory: refused ones, removals that wait for the guard, and what there was no room
//! for. They are counted, the oldest of them holds the watermark, and they are gone through when there is reason to.
//!
//! Invariant: a key is in memory or on the shelf, never both; what is on the shelf is in the index, or in the commit under
//! way, or in the next.

use std::time::Duration;

use super::driver::Driver;
use super::marks::Marks;
use super::walk::{self, Guard};
use crate::change::{Key, SourceTime, Stamp, StoreId};
use crate::watermark::course::{Course, Walk};
use crate::watermark::keys::Prefix;
use crate::watermark::{Index, IndexError, MarkRecord, Record, Row, StoreRecord};

/// Rows read at once.
const PAGE: usize = 500;
/// Dirty keys in memory, above which nothing more is put there by listing or reading.
pub(super) const ENOUGH: usize = 10_000;
/// Between two attempts at what was refused.
const RETRY_EVERY: Duration = Duration::from_secs(900);
/// Of what was refused, so much is tried in one go that no walk asked for.
const RETRY_MOST: u64 = 1_000;

/// Going through the rows once.
#[derive(Debug, Clone, Default)]
struct Pass {
    after: Option<Key>,
    /// For which walk, and with how many removals allowed.
    walk: Option<(SourceTime, u64)>,
    /// What was refused may be tried again so many times.
    retries: u64,
}

/// What is not in memory.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) rows: u64,
    pub(super) walked: u64,
    pub(super) held: u64,
    pub(super) refused: u64,
    pub(super) late: u64,
    oldest: Option<(SourceTime, Key)>,
    /// The oldest is to be looked for.
    stale: bool,
    pass: Option<Pass>,
    wanted: bool,
    /// What was on its way when it was wanted is in the commit under way.
    begun: bool,
    /// It is durable.
    ready: bool,
    swept: Option<(SourceTime, u64)>,
    next_retry: Duration,
    cursor: Option<Key>,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stay,
    Load,
    Drop,
}

impl Shelf {
    /// A row is on the shelf from now on.
    pub(super) fn put(&mut self, key: &Key, row: &MarkRecord) {
        self.count(row, 1);
        if !row.held && self.oldest.as_ref().is_none_or(|(at, _)| row.since < *at) && !self.stale {
            self.oldest = Some((row.since, key.clone()));
        }
    }

    /// A row is there no more.
    pub(super) fn took(&mut self, key: &Key, row: &MarkRecord) {
        self.count(row, -1);
        if self.oldest.as_ref().is_some_and(|(_, oldest)| oldest == key) {
            (self.oldest, self.stale) = (None, true);
        }
    }

    fn count(&mut self, row: &MarkRecord, by: i64) {
        let add = |count: &mut u64, counts: bool| {
            if counts {
                *count = count.saturating_add_signed(by);
            }
        };
        add(&mut self.rows, true);
        add(&mut self.walked, row.walked);
        add(&mut self.held, row.held);
        add(&mut self.refused, row.refused.is_some());
        add(&mut self.late, row.late);
    }

    /// The rows are to be gone through.
    pub(super) fn again(&mut self) {
        (self.wanted, self.begun, self.ready) = (true, false, false);
    }

    /// A commit has begun.
    pub(super) fn committing(&mut self) {
        self.begun |= self.wanted && !self.ready;
    }

    /// It has ended.
    pub(super) fn committed(&mut self, durable: bool) {
        self.ready |= self.begun && durable;
        self.begun = false;
    }

    /// Everything was gone through for this walk since it was listed.
    pub(super) fn swept(&self, walk: &Walk) -> bool {
        self.swept == Some((walk.began, walk.allowed))
    }

    /// It is being gone through, or will be.
    pub(super) fn busy(&self) -> bool {
        self.wanted || self.pass.is_some()
    }
}

/// What is durable about a store of this mode, as much as there is room for in memory.
pub(super) struct Loaded {
    pub(super) record: StoreRecord,
    pub(super) marks: Marks,
    pub(super) shelf: Shelf,
    pub(super) strange: u64,
}

/// Loads it; behind the fence nothing is put into memory.
pub(super) fn load(index: &dyn Index, store: &StoreId, fenced: bool) -> Result<Loaded, IndexError> {
    let row = Row::Store(store.clone());
    let record = match index.get(&row)? {
        Some(bytes) => StoreRecord::decode(&row, &bytes)?,
        None => StoreRecord::default(),
    };
    let (mut marks, mut shelf) = (Marks::default(), Shelf::default());
    let mut after = None;
    loop {
        let rows = index.range(&Prefix::dirty(store), after.as_ref(), PAGE)?;
        for (row, bytes) in &rows {
            let (Row::Dirty { key, .. }, mark) = (row, MarkRecord::decode(row, bytes)?) else { continue };
            let plain = !(mark.held || mark.refused.is_some());
            if plain && !fenced && marks.len() < ENOUGH {
                marks.restore(key.clone(), &mark);
            } else {
                shelf.put(key, &mark);
            }
        }
        match rows.into_iter().next_back() {
            Some((row, _)) => after = Some(row),
            None => break,
        }
    }
    shelf.again();
    let mut strange = 0;
    let mut after = None;
    loop {
        let rows = index.range(&Prefix::parked(store), after.as_ref(), PAGE)?;
        strange += rows.len() as u64;
        match rows.into_iter().next_back() {
            Some((row, _)) => after = Some(row),
            None => break,
        }
    }
    Ok(Loaded { record, marks, shelf, strange })
}

/// Judges a row. `retry`: what was refused may be tried.
fn fate(course: &Course, delete_limit: u64, row: &MarkRecord, retry: bool) -> Fate {
    let settling = course.walk.as_ref().filter(|walk| walk::settling(Some(walk)));
    match (&row.refused, settling) {
        _ if row.held => match settling {
            // The walk has been everywhere and has not found it again.
            Some(walk) if row.found_at < walk.began => Fate::Drop,
            Some(walk) if walk::guard(walk, delete_limit) == Guard::Passes => Fate::Load,
            _ => Fate::Stay,
        },
        (Some(refused), Some(walk)) if refused.at < walk.began => Fate::Load,
        (Some(_), _) => {
            if retry {
                Fate::Load
            } else {
                Fate::Stay
            }
        }
        (None, _) => Fate::Load,
    }
}

impl Driver {
    pub(super) fn dirty_row(&self, key: &Key) -> Row {
        Row::Dirty { store: self.store.id().clone(), key: key.clone() }
    }

    pub(super) fn due_row(&self, at: SourceTime, key: &Key) -> Row {
        Row::Due { store: self.store.id().clone(), at, key: key.clone() }
    }

    /// A row as it will be when all commits are durable; `Some(None)`: deleted; `None`: nothing is staged of it.
    fn staged(&self, row: &Row) -> Option<Option<&Vec<u8>>> {
        let staged = self.pending.rows.get(row).or_else(|| self.staged.as_ref().and_then(|rows| rows.get(row)));
        staged.map(Option::as_ref)
    }

    fn shelved(&mut self, key: &Key) -> Option<MarkRecord> {
        let row = self.dirty_row(key);
        let read = match self.staged(&row) {
            Some(bytes) => bytes.cloned(),
            None => match self.deps.index.get(&row) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.troubles.index.failed(&error.to_string(), "the index cannot be read");
                    return None;
                }
            },
        };
        MarkRecord::decode(&row, &read?).ok()
    }

    /// A key that something is about is in memory from now on, with what was known of it.
    pub(super) fn take_off_shelf(&mut self, key: &Key) {
        if self.shelf.rows == 0 || self.marks.contains(key) {
            return;
        }
        if let Some(row) = self.shelved(key) {
            self.shelf.took(key, &row);
            self.marks.restore(key.clone(), &row);
        }
    }

    /// The oldest change on the shelf that holds the watermark.
    pub(super) fn shelf_pin(&mut self) -> Option<SourceTime> {
        if self.shelf.rows == self.shelf.held {
            (self.shelf.oldest, self.shelf.stale) = (None, false);
            return None;
        }
        if self.shelf.stale {
            match self.look_for_oldest() {
                Ok(oldest) => (self.shelf.oldest, self.shelf.stale) = (oldest, false),
                Err(error) => {
                    self.troubles.index.failed(&error.to_string(), "the index cannot be read");
                    // Unknown: nothing may rise.
                    return Some(SourceTime(i64::MIN));
                }
            }
        }
        self.shelf.oldest.as_ref().map(|(at, _)| *at)
    }

    fn look_for_oldest(&self) -> Result<Option<(SourceTime, Key)>, IndexError> {
        let mut oldest: Option<(SourceTime, Key)> = None;
        let mut after = None;
        'pages: loop {
            let rows = self.deps.index.range(&Prefix::due(self.store.id()), after.as_ref(), PAGE)?;
            for (row, _) in &rows {
                let Row::Due { at, key, .. } = row else { continue };
                let deleted = self.staged(row) == Some(None);
                if !deleted && !self.marks.contains(key) {
                    oldest = Some((*at, key.clone()));
                    break 'pages;
                }
            }
            match rows.into_iter().next_back() {
                Some((row, _)) => after = Some(row),
                None => break,
            }
        }
        let under_way = self.staged.iter().flat_map(|rows| rows.keys());
        for row in self.pending.rows.keys().chain(under_way) {
            if let Row::Due { at, key, .. } = row
                && self.staged(row).is_some_and(|bytes| bytes.is_some())
                && !self.marks.contains(key)
                && oldest.as_ref().is_none_or(|(have, _)| at < have)
            {
                oldest = Some((*at, key.clone()));
            }
        }
        Ok(oldest)
    }

    /// Goes on through the rows, where there is reason to and room.
    pub(super) fn read_shelf(&mut self, now: Stamp) {
        if self.shelf.refused > 0 && now.mono >= self.shelf.next_retry {
            if self.shelf.next_retry > Duration::ZERO && self.shelf.pass.is_none() {
                let after = self.shelf.cursor.take();
                self.shelf.pass = Some(Pass { after, walk: None, retries: RETRY_MOST });
            }
            self.shelf.next_retry = now.mono + RETRY_EVERY;
        }
        let durable = self.shelf.ready || (self.pending.rows.is_empty() && !self.committing);
        if self.shelf.wanted && durable && self.shelf.pass.is_none() {
            let walk = self.course().walk.as_ref().filter(|walk| walk::settling(Some(walk)));
            let walk = walk.map(|walk| (walk.began, walk.allowed));
            self.shelf.pass = Some(Pass { after: None, walk, retries: 0 });
            (self.shelf.wanted, self.shelf.ready, self.shelf.begun) = (false, false, false);
        }
        while self.marks.len() < ENOUGH
            && let Some(mut pass) = self.shelf.pass.take()
        {
            if self.shelf.rows == 0 || !self.read_page(&mut pass) {
                self.shelf.swept = pass.walk.or(self.shelf.swept);
                return;
            }
            self.shelf.pass = Some(pass);
        }
    }

    /// Reads a page; `false`: there is nothing more to do.
    fn read_page(&mut self, pass: &mut Pass) -> bool {
        let after = pass.after.as_ref().map(|key| self.dirty_row(key));
        let rows = match self.deps.index.range(&Prefix::dirty(self.store.id()), after.as_ref(), PAGE) {
            Ok(rows) => rows,
            Err(error) => {
                self.troubles.index.failed(&error.to_string(), "the index cannot be read");
                // It was not gone through.
                pass.walk = None;
                self.shelf.again();
                return false;
            }
        };
        let trying = pass.retries > 0;
        let more = !rows.is_empty();
        for (row, _) in rows {
            let Row::Dirty { key, .. } = row else { continue };
            pass.after = Some(key.clone());
            if self.marks.contains(&key) {
                continue;
            }
            let Some(record) = self.shelved(&key) else { continue };
            match fate(self.course(), self.tempo.delete_limit, &record, pass.retries > 0) {
                Fate::Stay => {}
                Fate::Load => {
                    pass.retries = pass.retries.saturating_sub(u64::from(record.refused.is_some()));
                    self.shelf.took(&key, &record);
                    // It flows: what was late is an ordinary change.
                    self.marks.restore(key, &MarkRecord { late: false, ..record });
                }
                Fate::Drop => {
                    self.shelf.took(&key, &record);
                    let row = self.dirty_row(&key);
                    self.pending.delete(row);
                    self.pending.change(self.deps.clock.now().mono);
                }
            }
            if trying && pass.retries == 0 {
                // The rest of them the next time.
                self.shelf.cursor = Some(key_after(pass));
                return false;
            }
        }
        more
    }
}

fn key_after(pass: &Pass) -> Key {
    pass.after.clone().unwrap_or_else(|| Key(bytes::Bytes::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watermark::course::Refused;

    const S: fn(i64) -> SourceTime = SourceTime::from_secs;

    fn row(found_at: i64) -> MarkRecord {
        let (since, found_at) = (S(5), S(found_at));
        MarkRecord {
            since,
            found_at,
            generation: 1,
            walked: true,
            what: None,
            held: false,
            refused: None,
            late: false,
            order: None,
        }
    }

    #[test]
    fn removals_wait_for_the_whole_walk_and_its_guard() {
        let held = |found_at| MarkRecord { held: true, ..row(found_at) };
        let walk = Walk { began: S(100), orphans: 3, ..Walk::default() };
        let mut course = Course { walk: Some(walk), ..Course::default() };
        assert_eq!(fate(&course, 5, &held(110), false), Fate::Stay, "it is being listed");
        course.walk.as_mut().unwrap().listed_at = Some(S(120));
        assert_eq!(fate(&course, 5, &held(110), false), Fate::Load);
        assert_eq!(fate(&course, 2, &held(110), false), Fate::Stay, "the guard");
        assert_eq!(fate(&course, 2, &held(90), false), Fate::Drop, "of an earlier walk, and not found again");
    }

    #[test]
    fn what_was_refused_is_tried_once_by_each_walk_and_now_and_then() {
        let refused = |at| {
            let refused = Refused { class: "archived".into(), why: String::new(), bytes: 1, at: S(at) };
            MarkRecord { refused: Some(refused), ..row(1) }
        };
        let walk = Walk { began: S(100), listed_at: Some(S(120)), ..Walk::default() };
        let course = Course { walk: Some(walk), ..Course::default() };
        assert_eq!(fate(&course, 5, &refused(90), false), Fate::Load);
        assert_eq!(fate(&course, 5, &refused(125), false), Fate::Stay);
        assert_eq!(fate(&course, 5, &refused(125), true), Fate::Load);
        assert_eq!(fate(&course, 5, &row(1), false), Fate::Load);
    }
}
