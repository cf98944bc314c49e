//! The driver's part in a copy of what exists: its pages, what is put aside for them, how far it is, and what an operator
//! asks of it.
//!
//! A page's images go through the same order per key as all changes, so no image overtakes a change or is overtaken by one;
//! and an image whose key was read from a tail since its page was asked for is dropped (see [`super::recent`]).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use super::driver::Driver;
use super::order::Ticket;
use super::window::PageMark;
use crate::change::{Class, Key, LaneKind, Part, Stamp, StoreId};
use crate::stores::StoreError;
use crate::stores::contract::Shelf;
use crate::watermark::keys::Prefix;
use crate::watermark::{DirtyRecord, Index, LanePhase, Progress, Record, Row, Seed, Wanted};

/// A rate is believed after this.
const RATE_AFTER: Duration = Duration::from_secs(3);
/// A copy that takes longer is a risk of its own: prodY has no watermark for so long (BS-T4).
const LONG: Duration = Duration::from_secs(18 * 3600);

/// What an operator asks of a driver. It is answered when it is durable.
pub(super) enum Command {
    /// Copy everything anew, or, while a copy runs, let it remove more orphans.
    Reseed {
        /// How many orphans may be removed.
        allowed: u64,
        /// What came of it, in words.
        answer: Answer,
    },
    /// Compare source and standby, or, while that is under way, repair what it finds.
    Verify {
        /// What differs is copied again.
        repair: bool,
        /// How many items of the standby may be removed.
        allowed: u64,
        /// What came of it, in words.
        answer: Answer,
    },
}

/// Takes what came of a command.
pub(super) type Answer = oneshot::Sender<Result<String, String>>;

/// What the lanes of a copy find in the index.
pub(super) struct IndexShelf {
    pub(super) index: Arc<dyn Index>,
    pub(super) store: StoreId,
    pub(super) epoch: u64,
}

impl Shelf for IndexShelf {
    fn seen(&self, key: &Key) -> bool {
        let row = seen_row(&self.store, self.epoch, key);
        // What cannot be read is looked up in the source instead.
        self.index.get(&row).is_ok_and(|value| value.is_some())
    }

    fn dirty(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let bad = |e: Box<dyn std::error::Error + Send + Sync>| {
            StoreError::new(Class::Invalid, "reading the index", format!("store {}", self.store)).because(e)
        };
        let after = after.map(|key| Row::Dirty { store: self.store.clone(), key: key.clone() });
        let rows = self.index.range(&Prefix::dirty(&self.store), after.as_ref(), most).map_err(|e| bad(e.into()))?;
        let mut keys = Vec::with_capacity(rows.len());
        for (row, bytes) in rows {
            let record = DirtyRecord::decode(&row, &bytes).map_err(|e| bad(e.into()))?;
            let body = BASE64.decode(record.body).map_err(|e| bad(e.into()))?;
            if let Row::Dirty { key, .. } = row {
                keys.push((key, body.into()));
            }
        }
        Ok(keys)
    }
}

/// The row that says that the scan found a key.
pub(super) fn seen_row(store: &StoreId, epoch: u64, key: &Key) -> Row {
    let mut digest = [0; 16];
    for (to, from) in digest.iter_mut().zip(Sha256::digest(&key.0)) {
        *to = from;
    }
    Row::Seen { store: store.clone(), epoch, digest }
}

/// How fast the copy under way goes: since when this process has watched which stage of it, and where that stood then.
pub(super) struct Watched {
    what: &'static str,
    since: Stamp,
    done: u64,
}

impl Driver {
    pub(super) fn shelf(&self) -> IndexShelf {
        let epoch = self.state.record.epoch;
        IndexShelf { index: Arc::clone(&self.deps.index), store: self.store.id().clone(), epoch }
    }

    pub(super) fn on_part(&mut self, at: usize, asked: Stamp, part: Part, now: Stamp) {
        if self.verifying() && self.lanes[at].lane.kind != LaneKind::Repair {
            return self.on_compared_part(at, asked, part, now);
        }
        let replicate = Arc::clone(&self.store);
        let replicate = Self::replicate(&replicate);
        self.troubles.copy.cleared();
        let sweeping = self.state.record.seed_run.as_ref().is_some_and(|run| run.sweep);
        if sweeping {
            let (store, epoch) = (self.store.id(), self.state.record.epoch);
            self.pending.seen.extend(part.seen.iter().map(|key| seen_row(store, epoch, key)));
        }
        let mut mark = PageMark { position: part.to.clone(), looked: part.looked, orphans: 0, mended: part.mended };
        for orphan in part.orphans.iter().filter(|change| !self.recent.since(&change.key, asked.mono)) {
            let body = BASE64.encode(replicate.encode(orphan));
            let record = DirtyRecord { found_at: now.wall, orphan: true, body, what: None, seen_at: None };
            self.pending.dirty.insert(orphan.key.clone(), record);
            mark.orphans += 1;
        }
        for change in part.changes {
            if self.recent.since(&change.key, asked.mono) {
                continue;
            }
            self.outstanding += 1;
            self.bytes += change.size;
            let entry = self.lanes[at].window.push_image(change.size);
            self.order.push(Ticket { lane: at, entry }, change);
        }
        self.page_read(at, mark, part.pause, now);
    }

    /// A page was read, and what it brought is in the window before its end.
    pub(super) fn page_read(&mut self, at: usize, mark: PageMark, pause: Duration, now: Stamp) {
        let lane = &mut self.lanes[at];
        (lane.moved, lane.read_from, lane.due) = (true, mark.position.clone(), now.mono + pause);
        lane.window.push_page(mark);
        lane.pace.records(true);
        if lane.read_from.is_none() {
            lane.window.push_end(Vec::new());
            lane.ended = true;
        }
        self.pending.change(now.mono);
    }

    /// Takes into the record what passed pages say, and into the next commit what they leave behind.
    pub(super) fn count_pages(&mut self, kind: LaneKind, pages: Vec<PageMark>) {
        if self.verifying() {
            return self.count_compared(kind, pages);
        }
        for page in pages {
            if let Some(run) = &mut self.state.record.seed_run {
                match kind {
                    LaneKind::Scan => run.copied += page.looked,
                    LaneKind::Sweep => {
                        run.swept += page.looked;
                        run.orphans += page.orphans;
                    }
                    LaneKind::Tail | LaneKind::Repair => {}
                }
            }
            self.pending.mended.extend(page.mended);
        }
    }

    pub(super) fn on_command(&mut self, command: Command, closed: bool, now: Stamp) {
        let (allowed, answer) = match command {
            Command::Reseed { allowed, answer } => (allowed, answer),
            Command::Verify { repair, allowed, answer } => {
                return self.on_verify_command(repair, allowed, answer, closed, now);
            }
        };
        let result = if closed {
            Err("a promotion has cut the flow from prodX: nothing is copied any more".to_owned())
        } else {
            self.wish_reseed(allowed, now)
        };
        self.answer_when_durable(result, answer, now);
    }

    /// Whoever asked is told when what was decided is durable, or at once why nothing was.
    pub(super) fn answer_when_durable(&mut self, result: Result<String, String>, answer: Answer, now: Stamp) {
        match result {
            Ok(words) => {
                self.pending.answers.push((words, answer));
                self.pending.command();
                self.next_survey = now.mono;
            }
            // Whoever asked may be gone.
            Err(why) => drop(answer.send(Err(why))),
        }
    }

    fn wish_reseed(&mut self, allowed: u64, now: Stamp) -> Result<String, String> {
        let record = &mut self.state.record;
        let seeding = record.seed == Seed::Pending;
        match &mut record.seed_run {
            Some(run) if seeding && !run.broken && record.wanted.is_none() => {
                if allowed <= run.allowed {
                    return Err(format!(
                        "a copy is under way since {}; it goes on by itself (to let it remove more items of prodY, say \
                         how many)",
                        run.started_at
                    ));
                }
                run.allowed = allowed;
                Ok(format!("the copy under way may remove up to {allowed} items of prodY"))
            }
            _ if record.incarnation.is_none() => {
                Err("the table has not been seen yet; it is seeded by itself".to_owned())
            }
            _ => {
                record.wanted = Some(Wanted { at: now.wall, allowed });
                Ok("everything will be copied anew; the watermark is undefined until that is complete".to_owned())
            }
        }
    }

    /// How far the copy is: its stage, items done, items in all.
    pub(super) fn copy_progress(&self) -> Option<(&'static str, u64, u64)> {
        let seeding = self.state.record.seed == Seed::Pending;
        let run = self.state.record.seed_run.as_ref().filter(|run| seeding && !run.broken)?;
        let open = |kind: LaneKind| {
            let mut lanes = self.state.copy_lanes().filter(move |(lane, _)| lane.kind == kind);
            lanes.any(|(_, record)| record.phase != LanePhase::Drained)
        };
        Some(if open(LaneKind::Scan) {
            ("scan", run.copied, run.total.max(run.copied))
        } else if open(LaneKind::Sweep) {
            ("sweep", run.swept, run.total.max(run.swept))
        } else if open(LaneKind::Repair) {
            ("removal", 0, run.orphans)
        } else {
            ("catch-up", run.copied, run.copied)
        })
    }

    /// How far the copy or the verification is, and when it will be through at the rate that was seen.
    pub(super) fn progress(&mut self, now: Stamp) -> Option<Progress> {
        let (what, done, total) = self.long_work()?;
        if self.watched.as_ref().is_none_or(|watched| watched.what != what) {
            self.watched = Some(Watched { what, since: now, done });
        }
        let watched = self.watched.as_ref()?;
        let (took, made) = (now.since(watched.since), done.saturating_sub(watched.done));
        let eta = (took >= RATE_AFTER && made > 0 && total > done)
            .then(|| Duration::try_from_secs_f64(took.as_secs_f64() / made as f64 * (total - done) as f64).ok())
            .flatten();
        Some(Progress { what, done, total, eta })
    }

    /// What about the copy needs a human.
    pub(super) fn copy_words(&self, progress: Option<&Progress>) -> Option<String> {
        if let Some(held) = Self::replicate(&self.store).held(&self.state) {
            return Some(held);
        }
        let eta = progress.filter(|progress| progress.what != "verify")?.eta.filter(|eta| *eta > LONG)?;
        Some(format!(
            "at this rate the copy takes {} h more, and until then there is no watermark: raise its share of the capacity",
            eta.as_secs() / 3600
        ))
    }
}
