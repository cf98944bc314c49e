//! The driver's part in a verification: suspects are looked at again when the changes that were on their way have arrived,
//! and what is proven to differ is written down, counted, and takes the watermark back (RP-9).
//!
//! A page of a verification leaves the window of its lane when all its suspects are judged, so after a crash no difference
//! is forgotten: the page is compared again. What is durable of a verification is where its lanes stand and what is proven.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::copy::{Answer, seen_row};
use super::driver::{Driver, Event};
use super::pace::backoff;
use super::suspects::{Suspect, Suspects};
use super::window::PageMark;
use crate::change::{Difference, Key, LaneKind, Part, SourceTime, Stamp};
use crate::stores::StoreError;
use crate::stores::contract::Compared;
use crate::stores::verify::{MOST_DIVERGENT, under_way};
use crate::watermark::{DirtyRecord, Seed, VerifyWish};

/// Suspects at one time, at most: with more, no page is asked for.
const MOST_SUSPECTS: usize = 10_000;
/// Looked at in one call.
const LOOK: usize = 100;
/// How long a lane waits while it must not be read.
pub(super) const HOLD: Duration = Duration::from_secs(1);

/// What is in memory of a verification.
#[derive(Default)]
pub(super) struct Verification {
    pub(super) suspects: Suspects,
    /// Everything up to here is durable in the standby, whatever holds the published watermark back.
    pub(super) mark: Option<SourceTime>,
    looking: bool,
    failures: u32,
    /// No look before this, monotonic.
    due: Duration,
}

impl Driver {
    pub(super) fn verifying(&self) -> bool {
        under_way(&self.state).is_some()
    }

    /// A verification rests in a gap, and while it has enough to judge.
    pub(super) fn verify_rests(&self) -> bool {
        self.verifying()
            && (self.state.record.gap.is_some()
                || self.verification.suspects.len() >= MOST_SUSPECTS
                || self.state.dirty.len() >= MOST_DIVERGENT)
    }

    /// A page that was compared.
    pub(super) fn on_compared_part(&mut self, at: usize, asked: Stamp, part: Part, now: Stamp) {
        self.troubles.copy.cleared();
        let (store, epoch) = (self.store.id(), self.state.record.epoch);
        self.pending.seen.extend(part.seen.iter().map(|key| seen_row(store, epoch, key)));
        let read_at = part.read_at + self.deps.skew();
        for doubt in part.doubts {
            // Read from a tail since the page was asked for: its image is on its way.
            if self.recent.since(&doubt.change.key, asked.mono) {
                continue;
            }
            let entry = self.lanes[at].window.end();
            if self.verification.suspects.add(doubt.change, doubt.what, (at, entry), read_at) {
                self.lanes[at].window.push_image(0);
            }
        }
        let mark = PageMark { position: part.to.clone(), looked: part.looked, ..PageMark::default() };
        self.page_read(at, mark, part.pause, now);
    }

    /// A change of this key was read from a tail.
    pub(super) fn acquit(&mut self, key: &Key, now: Stamp) {
        if let Some(suspect) = self.verification.suspects.read(key) {
            self.judged(&suspect, now);
        }
    }

    fn judged(&mut self, suspect: &Suspect, now: Stamp) {
        let lane = &mut self.lanes[suspect.lane];
        lane.window.settle(suspect.entry);
        lane.moved = true;
        self.pending.change(now.mono);
    }

    /// Judges what can be judged, and looks at what is to be looked at.
    pub(super) fn start_looks(&mut self, now: Stamp) {
        let mark = self.verification.mark;
        for suspect in self.verification.suspects.proven(mark) {
            self.convict(&suspect, now);
            self.judged(&suspect, now);
        }
        if self.verification.looking || now.mono < self.verification.due {
            return;
        }
        let suspects = self.verification.suspects.due(mark, LOOK);
        if suspects.is_empty() {
            return;
        }
        self.verification.looking = true;
        let store = Arc::clone(&self.store);
        self.events.push(Box::pin(async move {
            let keys: Vec<_> = suspects.iter().map(|suspect| suspect.change.clone()).collect();
            let result = Self::replicate(&store).compare(&keys).await;
            Event::Looked { suspects, result }
        }));
    }

    pub(super) fn on_looked(&mut self, suspects: Vec<Suspect>, result: Result<Compared, StoreError>, now: Stamp) {
        self.verification.looking = false;
        match result {
            Ok(compared) if compared.found.len() == suspects.len() => {
                self.verification.failures = 0;
                self.verification.due = now.mono + compared.pause;
                self.troubles.copy.cleared();
                let read_at = compared.read_at + self.deps.skew();
                for (suspect, found) in suspects.iter().zip(compared.found) {
                    if let Some(acquitted) = self.verification.suspects.looked(suspect, found, read_at) {
                        self.judged(&acquitted, now);
                    }
                }
            }
            other => {
                self.verification.failures = self.verification.failures.saturating_add(1);
                let pause = backoff(self.verification.failures, self.deps.ids.fresh()[0]);
                self.verification.due = now.mono + pause;
                if let Err(error) = other {
                    self.deps.meter.error(error.class);
                    self.troubles.copy.failed(&error.chain(), "a verification does not go on");
                }
                self.verification.suspects.again(suspects);
            }
        }
    }

    /// It differs, and no change explains it.
    fn convict(&mut self, suspect: &Suspect, now: Stamp) {
        let key = suspect.change.key.clone();
        let known = self.state.dirty.get(&key);
        let record = DirtyRecord {
            found_at: known.map_or(now.wall, |known| known.found_at),
            orphan: suspect.what == Difference::Orphan,
            body: BASE64.encode(Self::replicate(&self.store).encode(&suspect.change)),
            what: Some(suspect.what),
            seen_at: Some(now.wall),
        };
        let new = known.is_none();
        self.state.dirty.insert(key.clone(), record.clone());
        self.pending.mended.retain(|mended| *mended != key);
        self.pending.dirty.insert(key.clone(), record);
        if new && let Some(ceiling) = self.state.ceiling() {
            let what = format!(
                "{key:?} is {} in prodY although the watermark has passed all changes of it; what was proven last is {ceiling}",
                match suspect.what {
                    Difference::Missing => "missing",
                    Difference::Differs => "another",
                    Difference::Orphan => "not removed",
                }
            );
            self.pending.divergence(ceiling, what);
        }
    }

    /// A change of this key is durable in the standby: it differs no more.
    pub(super) fn mend(&mut self, key: &Key) {
        if self.state.dirty.remove(key).is_some() {
            self.pending.dirty.remove(key);
            self.pending.mended.push(key.clone());
            self.pending.urgent();
        }
    }

    /// Takes into the record what passed pages of a verification say.
    pub(super) fn count_compared(&mut self, kind: LaneKind, pages: Vec<PageMark>) {
        for page in pages {
            if let Some(run) = &mut self.state.record.verify_run {
                match kind {
                    LaneKind::Scan => run.compared += page.looked,
                    LaneKind::Sweep => run.swept += page.looked,
                    LaneKind::Tail | LaneKind::Repair => {}
                }
            }
            for key in page.mended {
                // What prodY refuses is not mended.
                if !self.state.parked.contains_key(&key) {
                    self.mend(&key);
                }
            }
        }
    }

    pub(super) fn wish_verify(&mut self, repair: bool, allowed: u64, now: Stamp) -> Result<String, String> {
        if self.state.record.seed == Seed::Pending {
            return Err("the table is being copied, which looks at every item by itself".to_owned());
        }
        if self.state.record.gap.is_some() {
            return Err("history was lost, so a comparison proves nothing; a re-seed copies everything anew".to_owned());
        }
        let open = under_way(&self.state).is_some();
        match &mut self.state.record.verify_run {
            Some(run) if open => {
                let changes = (repair && !run.repair) || allowed > run.allowed;
                (run.repair, run.allowed) = (run.repair || repair, run.allowed.max(allowed));
                let since = run.started_at;
                Ok(match changes {
                    true => "the verification under way repairs what it finds".to_owned(),
                    false => format!("a verification is under way since {since}; it goes on"),
                })
            }
            _ => {
                self.state.record.verify_wanted = Some(VerifyWish { at: now.wall, repair, allowed });
                Ok(match repair {
                    true => "prodX and prodY will be compared, and what differs is copied again".to_owned(),
                    false => "prodX and prodY will be compared".to_owned(),
                })
            }
        }
    }

    pub(super) fn on_verify_command(&mut self, repair: bool, allowed: u64, answer: Answer, closed: bool, now: Stamp) {
        let result = match closed {
            true => Err("a promotion has cut the flow from prodX: nothing is compared any more".to_owned()),
            false => self.wish_verify(repair, allowed, now),
        };
        self.answer_when_durable(result, answer, now);
    }

    /// How far the verification is: what is to be done, the standby's part of it for as many items as the source's.
    pub(super) fn verify_progress(&self) -> Option<(&'static str, u64, u64)> {
        let run = under_way(&self.state)?;
        let scanned = self.state.copy_lanes().any(|(lane, _)| lane.kind == LaneKind::Sweep);
        let items = if scanned { run.compared } else { run.total.max(run.compared) };
        let done = run.compared + run.swept;
        Some(("verify", done, (items * 2).max(done)))
    }

    /// Made of [`Driver::verify_progress`] like that of a copy.
    pub(super) fn long_work(&self) -> Option<(&'static str, u64, u64)> {
        if self.state.record.seed == Seed::Pending { self.copy_progress() } else { self.verify_progress() }
    }
}
