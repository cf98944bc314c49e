//! What a store that AWS replicates owes to the spine: looks, and heartbeats that are written in prodX and looked for in
//! prodY.
//!
//! The spine (`observe/`) decides when to look and when to beat, keeps what was beaten, turns evidence into a watermark and
//! stops the beats at the fence. The kind makes the calls, and turns what it saw into [`Evidence`] with pure functions.
//!
//! Rules for a kind (semantics, section 5)
//! - A missing datapoint, an answer that did not come, an empty list: nothing was learnt. Never an `Advance` from silence.
//! - `through` is an instant up to which everything is in prodY, on prodX's clock: a heartbeat's own time comes from
//!   [`Beats`], never from the text that was read, and the skew of our clock is subtracted by the kind.
//! - Evidence that says nothing new renews nothing: the spine takes a proof for fresh only when its `through` is later than
//!   every one before it, so a datapoint or a heartbeat may be handed in again and again.
//! - A channel that does not keep the order of changes proves `sampled` at best (OB-3).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::change::{Evidence, SourceTime, Stamp};

/// Heartbeats that are remembered, at most: some twenty minutes of them, and the oldest that was never seen.
const MOST_BEATS: usize = 256;

/// Wall clock and monotonic clock may differ by this much between a heartbeat and its being seen; more is a step. Less than
/// what is subtracted from every heartbeat for the precision of the `Date` header.
const STEP: Duration = Duration::from_millis(500);

/// A store that AWS replicates.
#[async_trait]
pub trait Observe: Send + Sync {
    /// The times that it is observed by.
    fn cadence(&self) -> Cadence;

    /// Looks once, in either region; changes nothing. An error says that the look as a whole failed; what is merely
    /// missing is [`Evidence::Silent`].
    async fn observe(&self, look: Look<'_>) -> Result<(Vec<Evidence>, Facts), StoreError>;

    /// Writes a heartbeat in prodX: the one write that an observed store makes there. Never called behind the fence, nor
    /// twice at once. An older heartbeat of the same process must not replace a newer one.
    async fn beat(&self, beat: &Beat) -> Result<(), StoreError>;
}

/// The times that an observed store lives by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// Between two looks.
    pub look_every: Duration,
    /// Between two heartbeats; `None`: it has none.
    pub beat_every: Option<Duration>,
}

/// What a look may use.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// When it began.
    pub asked: Stamp,
    /// The measured bound on how far our clock is from prodX's, as of now; ask again after the calls.
    pub skew: &'a (dyn Fn() -> Duration + Send + Sync),
    /// The heartbeats of this process.
    pub beats: &'a Beats,
}

/// What a look found besides evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Which copy in prodY this is. Another one than before starts a new epoch: what was proved was of the old copy.
    pub incarnation: Option<String>,
    /// prodX answered.
    pub source_answered: bool,
    /// The newest heartbeat of this process that prodY holds in all its places.
    pub beat_seen: Option<u64>,
    /// What it is and how it is set, for a human; stands in the note even when all is well.
    pub about: Option<String>,
}

/// A heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Who writes it: another name for each process.
    pub by: Arc<str>,
    /// From 1; another value each time (DS-F2).
    pub seq: u64,
    /// Our wall clock just before it was sent.
    pub at: SourceTime,
}

/// A heartbeat as it was read in prodY.
pub type SeenBeat = Beat;

/// What a heartbeat that was seen in prodY proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Which.
    pub seq: u64,
    /// When it was sent, on our clocks.
    pub sent: Stamp,
    /// When its success was known.
    pub acked: Option<Stamp>,
}

/// Why a heartbeat that was read proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeatFault {
    /// There is none yet.
    #[error("no heartbeat has arrived in prodY yet")]
    Missing,
    /// Another process's.
    #[error(
        "the heartbeat in prodY is of another process; it passes after a restart, otherwise two daemons write to one place"
    )]
    Foreign,
    /// Not one that this process remembers.
    #[error("heartbeat {0} in prodY was never sent by this process, or too long ago")]
    Unknown(u64),
    /// Its time is not the one that was sent.
    #[error("heartbeat {0} in prodY carries another time than was sent")]
    Altered(u64),
    /// Our wall clock was set since.
    #[error("our wall clock moved by {0:?} against the monotonic clock since the heartbeat was sent")]
    ClockStepped(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    seq: u64,
    at: Stamp,
    acked: Option<Stamp>,
}

/// The heartbeats that this process has sent. Pure: told of everything, asks nothing.
#[derive(Debug, Clone)]
pub struct Beats {
    by: Arc<str>,
    sent: VecDeque<Sent>,
    last: u64,
}

impl Beats {
    /// None yet. `by` is another name for each process.
    pub fn new(by: &str) -> Self {
        Self { by: by.into(), sent: VecDeque::new(), last: 0 }
    }

    /// The next one, sent now.
    pub fn next(&mut self, now: Stamp) -> Beat {
        self.last += 1;
        if self.sent.len() >= MOST_BEATS {
            // Neither the newest that arrived nor the first after it, which says since when nothing arrives.
            self.sent.remove(2);
        }
        self.sent.push_back(Sent { seq: self.last, at: now, acked: None });
        Beat { by: Arc::clone(&self.by), seq: self.last, at: now.wall }
    }

    /// Its success is known.
    pub fn acked(&mut self, seq: u64, now: Stamp) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.seq == seq) {
            sent.acked = Some(now);
        }
    }

    /// It was seen in prodY: older ones need not be remembered.
    pub fn seen(&mut self, seq: u64) {
        while self.sent.front().is_some_and(|sent| sent.seq < seq) {
            self.sent.pop_front();
        }
    }

    /// When it was sent, if it is remembered.
    pub fn sent_at(&self, seq: u64) -> Option<Stamp> {
        self.sent.iter().find(|sent| sent.seq == seq).map(|sent| sent.at)
    }

    /// What is proved by the heartbeats that were read in all the places of a store: as much as the oldest of them.
    pub fn proof(&self, places: &[Option<SeenBeat>], now: Stamp) -> Result<Proof, BeatFault> {
        let mut oldest: Option<Proof> = None;
        for place in places {
            let proof = self.of_one(place.as_ref().ok_or(BeatFault::Missing)?, now)?;
            if oldest.is_none_or(|have| proof.seq < have.seq) {
                oldest = Some(proof);
            }
        }
        oldest.ok_or(BeatFault::Missing)
    }

    fn of_one(&self, seen: &SeenBeat, now: Stamp) -> Result<Proof, BeatFault> {
        if seen.by != self.by {
            return Err(BeatFault::Foreign);
        }
        let sent = self.sent.iter().find(|sent| sent.seq == seen.seq).ok_or(BeatFault::Unknown(seen.seq))?;
        if sent.at.wall != seen.at {
            return Err(BeatFault::Altered(seen.seq));
        }
        let by_mono = sent.at.wall + now.since(sent.at);
        let moved = now.wall.since(by_mono).max(by_mono.since(now.wall));
        if moved > STEP {
            return Err(BeatFault::ClockStepped(moved));
        }
        Ok(Proof { seq: sent.seq, sent: sent.at, acked: sent.acked })
    }

    /// When the oldest heartbeat was sent that prodX has acknowledged and prodY does not hold: a counterexample to every
    /// watermark from there on. `seen`: the newest that prodY holds in all places.
    pub fn missing_since(&self, seen: Option<u64>) -> Option<Stamp> {
        let later = |sent: &&Sent| sent.acked.is_some() && seen.is_none_or(|seen| sent.seq > seen);
        self.sent.iter().find(later).map(|sent| sent.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn at(ms: u64) -> Stamp {
        Stamp { wall: SourceTime(1_000_000) + MS(ms), mono: MS(ms) }
    }

    fn seen(beat: &Beat) -> Option<SeenBeat> {
        Some(beat.clone())
    }

    #[test]
    fn ob2_a_heartbeat_proves_when_it_was_sent_and_the_oldest_place_counts() {
        let mut beats = Beats::new("me");
        let (first, second) = (beats.next(at(0)), beats.next(at(1000)));
        beats.acked(1, at(10));
        assert_eq!(beats.proof(&[seen(&second), seen(&first)], at(1500)).map(|p| p.seq), Ok(1));
        assert_eq!(beats.proof(&[seen(&second)], at(1500)).map(|p| p.sent), Ok(at(1000)));
        assert_eq!(beats.proof(&[seen(&second), None], at(1500)), Err(BeatFault::Missing));
        assert_eq!(beats.proof(&[], at(1500)), Err(BeatFault::Missing));
        assert_ne!((first.seq, first.at), (second.seq, second.at), "DS-F2: another value each time");
    }

    #[test]
    fn ob2_what_was_not_sent_like_this_proves_nothing() {
        let mut beats = Beats::new("me");
        let beat = beats.next(at(0));
        let cases = [
            (Beat { by: "other".into(), ..beat.clone() }, BeatFault::Foreign),
            (Beat { seq: 7, ..beat.clone() }, BeatFault::Unknown(7)),
            (Beat { at: SourceTime(9_000_000), ..beat.clone() }, BeatFault::Altered(1)),
        ];
        for (beat, fault) in cases {
            assert_eq!(beats.proof(&[Some(beat)], at(100)), Err(fault));
        }
    }

    /// RP-5: neither a step forward nor one back makes a heartbeat look younger or older than it is.
    #[test]
    fn rp5_a_wall_clock_that_was_set_voids_the_heartbeats_before_it() {
        let mut beats = Beats::new("me");
        let beat = beats.next(at(0));
        let forward = Stamp { wall: at(400).wall + MS(3_600_000), mono: MS(400) };
        assert_eq!(beats.proof(&[seen(&beat)], forward), Err(BeatFault::ClockStepped(MS(3_600_000))));
        let back = Stamp { wall: at(400).wall - MS(700), mono: MS(400) };
        assert_eq!(beats.proof(&[seen(&beat)], back), Err(BeatFault::ClockStepped(MS(700))));
        let after = beats.next(forward);
        assert!(beats.proof(&[seen(&after)], forward.after(MS(300))).is_ok(), "those after it are good");
    }

    #[test]
    fn the_oldest_that_never_arrived_is_remembered_however_long_it_takes() {
        let mut beats = Beats::new("me");
        for n in 1..=1000 {
            beats.next(at(n * 1000));
            beats.acked(n, at(n * 1000 + 1));
            if n == 5 {
                beats.seen(4);
            }
        }
        assert_eq!(beats.missing_since(Some(4)), Some(at(5000)));
        assert!(beats.sent.len() <= MOST_BEATS);
        beats.seen(1000);
        assert_eq!(beats.missing_since(Some(1000)), None);
    }

    #[test]
    fn a_heartbeat_whose_answer_was_lost_pins_nothing_and_still_proves() {
        let mut beats = Beats::new("me");
        let beat = beats.next(at(0));
        assert_eq!(beats.missing_since(None), None, "nobody knows whether it was written");
        assert!(beats.proof(&[seen(&beat)], at(900)).is_ok());
    }
}
