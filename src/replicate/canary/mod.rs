//! The canaries of one store: when one is written, what one that comes by proves, and what it measures. Pure: no I/O, no
//! clock; [`drive`] is what the driver does with it.
//!
//! - A time T is proved when of every key a canary that was committed at or after T has come by, and everything that was read
//!   before it in its lane is durable in the standby (DS-12). So a stream that stands still proves nothing, however many of
//!   its empty pages say that all is well. What is proved is a ceiling of the watermark and never raises it.
//! - The tip of a lane is credited with no more than what was proved when its run of empty pages began: pages that were
//!   empty because nothing was published say nothing afterwards, either, when the canaries come by before the rest does.
//! - A canary that took longer than P shows that P was too little for a while, and for the shards that no canary is in it may
//!   still be: so what is proved counts for tips only from P later on. After that the shards are taken to be level again.
//! - T is the earlier of when we sent it, on our clock less the skew, and when its record says that it was made; less the
//!   publish allowance. A step of our clock between the two, or a value that somebody else wrote, credits nothing.
//! - Beats never overlap, and one whose outcome is unknown is sent again as it is until the next is due: the same value
//!   makes no second record (DS-F2), and nothing of it is measured, for nobody knows when it was committed.
//! - What canaries measure is the source, not us: a read that came late for a reason of ours is left out.

mod drive;

mod measured;

pub(super) use drive::Written;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::measured::Measured;
use super::pace::backoff;
use super::window::{EntryNo, Worth};
use crate::change::{Class, SourceTime, Stamp};
use crate::stores::canary::{Beat, CanaryTerms, Sighting};
use crate::stores::contract::Rhythm;
use crate::watermark::CanarySigns;

/// Canaries of one key that were acknowledged and not seen, at most: then the oldest of them say all that is to be said.
const MOST_UNSEEN: usize = 64;
/// Steps of what was proved that are remembered, for tips whose run of empty pages began before the last of them.
const MOST_STEPS: usize = 64;
/// A page that was asked for this much later than twice the longest pause was late for a reason of ours.
const LATE: Duration = Duration::from_secs(1);

/// One canary that the source has.
#[derive(Debug)]
struct Unseen {
    seq: u64,
    acknowledged: Duration,
    /// It is known when it was committed: the first attempt was acknowledged.
    clean: bool,
}

/// A canary that was read, and waits for what was read before it in its lane.
#[derive(Debug)]
struct Waiting {
    lane: usize,
    entry: EntryNo,
    key: usize,
    sent_at: SourceTime,
    recorded_at: SourceTime,
    acknowledged: Option<Duration>,
}

/// What is written at the moment, or was and must be written again.
#[derive(Debug)]
struct Round {
    beat: Beat,
    /// Keys without a definite answer yet, and whether an attempt at one may have taken effect without one.
    open: Vec<(u32, bool)>,
}

/// How a lane was read lately.
#[derive(Debug, Default)]
struct Reads {
    /// Starts of the empty pages since the last change, the newest of them.
    empties: VecDeque<Duration>,
    /// Start of the last page that was not full: it held all that was visible.
    level: Option<Duration>,
}

/// The canaries of one store.
#[derive(Debug)]
pub(super) struct Canaries {
    terms: CanaryTerms,
    rhythm: Rhythm,
    run: Arc<str>,
    seq: u64,
    /// When to write next, monotonic: a beat, or the next attempt at one.
    due: Duration,
    /// When the next beat begins.
    next_beat: Duration,
    writing: bool,
    failures: u32,
    round: Option<Round>,
    unseen: Vec<VecDeque<Unseen>>,
    waiting: Vec<Waiting>,
    /// By key: the newest instant that a canary of it has proved.
    newest: Vec<Option<SourceTime>>,
    proved: Option<Stamp>,
    /// Until when, monotonic, shards may still be behind the canary that came late.
    uneven: Duration,
    /// From when on, monotonic, tips are worth so much.
    steps: VecDeque<(Duration, SourceTime)>,
    reads: HashMap<usize, Reads>,
    measured: Measured,
}

impl Canaries {
    /// `through` is what was proved before the start; `run` names this run of this daemon.
    pub(super) fn new(terms: CanaryTerms, rhythm: Rhythm, run: Arc<str>, through: Option<SourceTime>) -> Self {
        let keys = terms.keys as usize;
        Self {
            terms,
            rhythm,
            run,
            seq: 0,
            due: Duration::ZERO,
            next_beat: Duration::ZERO,
            writing: false,
            failures: 0,
            round: None,
            unseen: (0..keys).map(|_| VecDeque::new()).collect(),
            waiting: Vec::new(),
            newest: vec![through; keys],
            proved: None,
            uneven: Duration::ZERO,
            steps: through.map(|through| (Duration::ZERO, through)).into_iter().collect(),
            reads: HashMap::new(),
            measured: Measured::default(),
        }
    }

    /// What is to be written now, if anything: a beat and its keys. To be answered with [`Canaries::written`].
    pub(super) fn next(&mut self, now: Stamp) -> Option<(Beat, Vec<u32>)> {
        if self.writing || now.mono < self.due {
            return None;
        }
        if now.mono >= self.next_beat || self.round.is_none() {
            // Whatever the last one left open is given up: skipped, for this one says more.
            self.seq += 1;
            self.next_beat = now.mono + self.terms.every;
            let beat = Beat { run: Arc::clone(&self.run), seq: self.seq, sent_at: now.wall };
            self.round = Some(Round { beat, open: (0..self.terms.keys).map(|key| (key, false)).collect() });
        }
        let round = self.round.as_ref()?;
        self.writing = true;
        Some((round.beat.clone(), round.open.iter().map(|(key, _)| *key).collect()))
    }

    /// When [`Canaries::next`] has something, monotonic.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.writing).then_some(self.due)
    }

    /// What became of a write: `results` as of `now`. Empty: it was given up half-way, as when the flow is cut.
    pub(super) fn written(&mut self, results: &[(u32, Result<(), Class>)], now: Stamp, jitter: u8) {
        self.writing = false;
        let Some(mut round) = self.round.take() else { return };
        for (key, result) in results {
            let Some(at) = round.open.iter().position(|(open, _)| open == key) else { continue };
            match result {
                Ok(()) => {
                    let (_, doubtful) = round.open.swap_remove(at);
                    let unseen = &mut self.unseen[*key as usize];
                    if unseen.len() < MOST_UNSEEN {
                        let (seq, acknowledged) = (round.beat.seq, now.mono);
                        unseen.push_back(Unseen { seq, acknowledged, clean: !doubtful });
                    }
                }
                Err(class) => round.open[at].1 |= *class == Class::Unknown,
            }
        }
        if results.is_empty() {
            round.open.iter_mut().for_each(|open| open.1 = true);
        }
        if round.open.is_empty() {
            self.failures = 0;
            self.due = self.next_beat;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.due = (now.mono + backoff(self.failures, jitter)).min(self.next_beat.max(now.mono));
            self.round = Some(round);
        }
    }

    /// A page of a lane, asked for at `asked`: `None` when it was empty, else whether it was full. To be called after
    /// [`Canaries::seen`] for what is on it.
    pub(super) fn read(&mut self, lane: usize, asked: Duration, records: Option<bool>) {
        let most = 2 * self.rhythm.empty_run as usize + 16;
        let reads = self.reads.entry(lane).or_default();
        match records {
            None => {
                reads.empties.push_back(asked);
                while reads.empties.len() > most {
                    reads.empties.pop_front();
                }
            }
            Some(_) => reads.empties.clear(),
        }
        if records != Some(true) {
            reads.level = Some(asked);
        }
    }

    /// A lane is read no more. `left`: what waits in its window is void.
    pub(super) fn ended(&mut self, lane: usize, left: bool) {
        self.reads.remove(&lane);
        self.waiting.retain(|waiting| !left || waiting.lane != lane);
    }

    /// A canary is on a page of `lane` that was asked for at `asked`; it is `entry` of the lane's window.
    pub(super) fn seen(
        &mut self,
        (lane, entry): (usize, EntryNo),
        sighting: &Sighting,
        recorded_at: SourceTime,
        asked: Duration,
        now: Stamp,
    ) {
        let key = sighting.key as usize;
        let (Some(beat), true) = (&sighting.beat, key < self.newest.len()) else { return };
        let acknowledged = if beat.run == self.run { self.take_unseen(key, beat.seq) } else { None };
        let mut age = (now.wall - now.mono.saturating_sub(asked)).since(beat.sent_at);
        if let Some(acknowledged) = acknowledged {
            self.measure(lane, acknowledged, asked, now);
            age = age.max(asked.saturating_sub(acknowledged));
        }
        if age > self.rhythm.propagation {
            self.uneven = now.mono + self.rhythm.propagation;
        }
        self.waiting.push(Waiting { lane, entry, key, sent_at: beat.sent_at, recorded_at, acknowledged });
    }

    /// When this one was acknowledged, if that says when it was committed. It, and those before it, are unseen no more.
    fn take_unseen(&mut self, key: usize, seq: u64) -> Option<Duration> {
        let unseen = &mut self.unseen[key];
        while let Some(first) = unseen.pop_front_if(|first| first.seq <= seq) {
            if first.seq == seq {
                return first.clean.then_some(first.acknowledged);
            }
        }
        None
    }

    fn measure(&mut self, lane: usize, acknowledged: Duration, asked: Duration, now: Stamp) {
        let none = Reads::default();
        let reads = self.reads.get(&lane).unwrap_or(&none);
        // It became visible between the last page that did not have it and this one.
        let invisible = reads.level.unwrap_or(Duration::ZERO).max(acknowledged);
        if asked.saturating_sub(invisible) <= self.rhythm.poll_max * 2 + LATE {
            self.measured.visible_after(asked.saturating_sub(acknowledged), now.mono);
        }
        // Empty pages that P explains are no surprise; of those that it does not, E must be more (DS-10, A1).
        let visible = acknowledged + self.rhythm.propagation;
        let pages = reads.empties.iter().filter(|start| **start >= visible).count();
        self.measured.empties_before(u32::try_from(pages).unwrap_or(u32::MAX), now.mono);
    }

    /// Takes what has left its window. `passed` says whether everything of a lane before an entry has. Gives how long each
    /// canary was under way, of those where that is known, and what is proved if that is more than before.
    pub(super) fn advance(
        &mut self,
        passed: impl Fn(usize, EntryNo) -> bool,
        skew: Duration,
        now: Stamp,
    ) -> (Vec<Duration>, Option<SourceTime>) {
        let before = self.through();
        let mut took = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            // Behind the entry itself, which may have to be written to the standby, too.
            if !passed(waiting.lane, EntryNo(waiting.entry.0 + 1)) {
                self.waiting.push(waiting);
                continue;
            }
            took.extend(waiting.acknowledged.map(|at| now.mono.saturating_sub(at)));
            let at = (waiting.sent_at - skew).min(waiting.recorded_at.floor_to_second()) - self.rhythm.publish;
            let newest = &mut self.newest[waiting.key];
            *newest = (*newest).max(Some(at));
        }
        let through = self.through().filter(|through| before.is_none_or(|before| *through > before));
        if let Some(through) = through {
            self.proved = Some(now);
            self.steps.push_back((now.mono.max(self.uneven), through));
            if self.steps.len() > MOST_STEPS {
                self.steps.pop_front();
            }
        }
        (took, through)
    }

    /// What the proof of a lane's tip is worth: no more than what was proved when its run of empty pages began. Without
    /// canaries all of it.
    pub(super) fn worth(canaries: Option<&Self>, tip: Stamp) -> Worth {
        let Some(canaries) = canaries else { return Worth::Full };
        let known = canaries.steps.iter().rev().find(|(since, _)| *since <= tip.mono);
        known.map_or(Worth::Nothing, |(_, through)| Worth::UpTo(*through))
    }

    /// Up to when all keys have proved that the way is alive.
    fn through(&self) -> Option<SourceTime> {
        self.newest.iter().min().copied().flatten()
    }

    /// When that was last raised, in this run.
    pub(super) fn proved(&self) -> Option<Stamp> {
        self.proved
    }

    /// Canaries that the source has and that should have come by: since when.
    pub(super) fn missing(&self, now: Stamp) -> Option<Duration> {
        let patience = self.rhythm.propagation + self.rhythm.poll_max * 2 + LATE;
        let oldest = self.unseen.iter().filter_map(|unseen| Some(unseen.front()?.acknowledged)).min()?;
        let age = now.mono.saturating_sub(oldest);
        (age > patience).then_some(age)
    }

    /// The vital signs.
    pub(super) fn signs(&self, now: Stamp) -> CanarySigns {
        let Some(summary) = self.measured.summary(now.mono) else { return CanarySigns::default() };
        CanarySigns {
            visible_p50: Some(summary.p50),
            visible_p99: Some(summary.p99),
            visible_max: Some(summary.longest),
            empty_run_max: Some(summary.empties),
        }
    }

    /// The assumptions that were measured to be too small, and what to do.
    pub(super) fn warning(&self, now: Stamp) -> Option<String> {
        let summary = self.measured.summary(now.mono)?;
        let mut says = Vec::new();
        if summary.longest > self.rhythm.propagation {
            says.push(format!(
                "a canary was visible only after {}, and propagation is {}: raise it to 1.5 times that",
                words(summary.longest),
                words(self.rhythm.propagation)
            ));
        }
        if summary.empties > 0 && summary.empties + 2 >= self.rhythm.empty_run {
            says.push(format!(
                "{} empty pages came before a canary that was due, and empty_run is {}: raise it to {} or more",
                summary.empties,
                self.rhythm.empty_run,
                summary.empties + 3
            ));
        }
        (!says.is_empty()).then(|| says.join("; "))
    }
}

/// A duration in tenths of a second, rounded up.
fn words(d: Duration) -> String {
    let tenths = d.as_millis().div_ceil(100);
    format!("{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests;
