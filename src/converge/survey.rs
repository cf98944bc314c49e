//! What both ends and the channels are, whether the event path is proved (S3-12, S3-17), and the canaries that prove it.

use std::sync::Arc;
use std::time::Duration;

use super::driver::{Driver, Event};
use super::{TICK, backoff};
use crate::change::{SourceTime, Stamp};
use crate::stores::StoreError;
use crate::stores::converge::Survey;
use crate::stores::observe::Beats;
use crate::watermark::keys::Prefix;
use crate::watermark::{Seed, StoreRecord};

/// Between two surveys, at most and at least. In between as often as the channel is polled: a drain proves nothing of a prodX
/// that has not answered since.
const SURVEY_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After a silence of prodX that was longer than this and than the allowance, events of that time may be missing.
const SILENCE: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(10);
/// A canary's own time, and when it was sent by our clock, differ by less than this and the skew.
const PRECISION: Duration = Duration::from_secs(2);
/// A canary that is being written when the flow closes is given up after this.
const BEAT_GRACE: Duration = Duration::from_secs(2);

/// The canaries of this process.
pub(super) struct Canaries {
    beats: Beats,
    beating: bool,
    due: Duration,
    /// The oldest that was written and has not come by.
    awaited: Option<Stamp>,
    /// The newest that has come by, and when, monotonic.
    came: Option<(SourceTime, Duration)>,
}

impl Canaries {
    pub(super) fn new(by: &str) -> Self {
        Self { beats: Beats::new(by), beating: false, due: Duration::ZERO, awaited: None, came: None }
    }

    pub(super) fn beating(&self) -> bool {
        self.beating
    }

    /// When the next is due, monotonic.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.beating).then_some(self.due)
    }
}

impl Driver {
    pub(super) fn start_survey(&mut self, now: Stamp) {
        if self.surveying || now.mono < self.next_survey {
            return;
        }
        self.surveying = true;
        let store = Arc::clone(&self.store);
        self.events.push(Box::pin(async move {
            let result = Self::converge(&store).survey().await;
            Event::Surveyed { asked: now, result }
        }));
    }

    pub(super) fn on_surveyed(&mut self, asked: Stamp, result: Result<Survey, StoreError>, now: Stamp, closed: bool) {
        self.surveying = false;
        match result {
            Ok(survey) => {
                self.survey_failures = 0;
                self.troubles.survey.cleared();
                self.source_answered = Some(now);
                self.next_survey = now.mono + self.tempo.poll_wait.clamp(SURVEY_EVERY.0, SURVEY_EVERY.1);
                if !closed && !self.frozen {
                    self.judge_silence(asked, now);
                    self.adopt(&survey, asked, now);
                }
                self.lives(asked);
                self.about = survey.about.clone().or(self.about.take());
                self.surveyed = Some(survey);
            }
            Err(error) => {
                self.survey_failures = self.survey_failures.saturating_add(1);
                self.deps.meter.error(error.class);
                self.troubles.survey.failed(&error.chain(), "a survey failed");
                self.next_survey = now.mono + backoff(self.survey_failures, LONGEST, self.jitter());
            }
        }
    }

    /// prodX has answered what was asked then.
    fn lives(&mut self, asked: Stamp) {
        if self.alive.is_none_or(|have| have.mono < asked.mono) {
            self.alive = Some(asked);
        }
    }

    /// An event is in the channel within the allowance if prodX lives so long. Of what was changed shortly before it fell silent
    /// and meanwhile that cannot be said when it is back.
    fn judge_silence(&mut self, asked: Stamp, now: Stamp) {
        let Some(last) = self.alive else { return };
        let silence = asked.since(last);
        if silence > self.allowance().max(SILENCE) {
            let since = last.wall - self.skew() - self.allowance() + TICK;
            let words = humantime::format_duration(Duration::from_secs(silence.as_secs()));
            self.blind(since, format!("prodX did not answer for {words}, and events of then may be lost"), now);
        }
    }

    fn adopt(&mut self, survey: &Survey, asked: Stamp, now: Stamp) {
        if self.record.incarnation.as_ref() != Some(&survey.incarnation) {
            if self.record.incarnation.is_some() {
                tracing::warn!(store = %self.store.id(), "prodX holds another source than before; everything is compared anew");
                self.begin_anew(true);
                self.drain.doubt(now.mono);
            }
            self.record.incarnation = Some(survey.incarnation.clone());
            self.pending.decision();
        }
        if survey.source.is_some() && self.record.source != survey.source {
            self.record.source.clone_from(&survey.source);
            self.pending.decision();
        }
        self.adopt_channel(survey, asked, now);
    }

    fn adopt_channel(&mut self, survey: &Survey, asked: Stamp, now: Stamp) {
        let before = self.before_drain();
        let course = self.course_mut();
        match &course.channel {
            Some(have) if *have == survey.channel => {
                // What was not read within the retention is gone (S3-17).
                let read = course.drained.max(course.path_since);
                let noticed = course.blind.as_ref().map(|blind| blind.noticed_at);
                if let Some(read) = read
                    && !survey.retention.is_zero()
                    && now.wall.since(read) > survey.retention
                    && noticed.is_none_or(|at| now.wall.since(at) > survey.retention)
                {
                    let why = format!(
                        "the queue was not read to its end since {read}, which is longer than it keeps messages"
                    );
                    self.blind(before, why, now);
                }
            }
            have => {
                let another = have.is_some();
                (course.channel, course.path_proved) = (Some(survey.channel.clone()), None);
                course.path_since = Some(asked.wall);
                self.drain.doubt(now.mono);
                self.pending.decision();
                if another {
                    self.canaries.came = None;
                    let why = "the queue is another than before: what the old one held is lost".to_owned();
                    self.blind(before, why, now);
                }
            }
        }
        if let Some(why) = &survey.deaf {
            // As long as that is so no walk heals it, and each one proves what was before it.
            let since = self.before_drain();
            self.blind(since, why.clone(), now);
        }
        self.prove_path(now);
    }

    /// Without canaries the path counts as proved when it had time enough to take effect.
    fn prove_path(&mut self, now: Stamp) {
        let settle = self.tempo.settle;
        let waits = self.tempo.beat_every.is_none();
        let came = self.canaries.came.map(|(reach, _)| reach);
        let course = self.course_mut();
        let Some(since) = course.path_since.filter(|_| course.path_proved.is_none()) else { return };
        // A canary may come by before it is known which channel it came by.
        if (waits && now.wall.since(since) >= settle) || came.is_some_and(|reach| since <= reach) {
            course.path_proved = Some(now.wall);
            self.pending.decision();
        }
    }

    /// A canary of this time came by.
    pub(super) fn canary_came(&mut self, at: SourceTime, now: Stamp) {
        let reach = at + self.skew() + PRECISION;
        self.canaries.came = Some((reach, now.mono));
        if self.canaries.awaited.is_some_and(|sent| sent.wall <= reach) {
            self.canaries.awaited = None;
            self.troubles.missing.cleared();
        }
        let course = self.course_mut();
        // One from before the path was set up says nothing about it.
        if course.path_proved.is_none() && course.path_since.is_some_and(|since| since <= reach) {
            course.path_proved = Some(now.wall);
            self.pending.decision();
        }
    }

    pub(super) fn start_beat(&mut self, now: Stamp) {
        let Some(every) = self.tempo.beat_every else { return };
        if self.canaries.beating || now.mono < self.canaries.due {
            return;
        }
        (self.canaries.beating, self.canaries.due) = (true, now.mono + every);
        let beat = self.canaries.beats.next(now);
        let (store, give_up, clock) = (Arc::clone(&self.store), self.give_up.clone(), Arc::clone(&self.deps.clock));
        self.events.push(Box::pin(async move {
            let given_up = async {
                give_up.cancelled().await;
                clock.sleep(BEAT_GRACE).await;
            };
            let result = tokio::select! {
                biased;
                result = Self::converge(&store).beat(&beat) => Some(result),
                () = given_up => None,
            };
            Event::Beaten { sent: now, result }
        }));
    }

    pub(super) fn on_beaten(&mut self, sent: Stamp, result: Option<Result<(), StoreError>>, now: Stamp) {
        self.canaries.beating = false;
        match result {
            Some(Ok(())) => {
                self.source_answered = Some(now);
                self.troubles.canary.cleared();
                self.lives(sent);
                // Its event may be faster than the answer.
                let came = self.canaries.came.is_some_and(|(reach, at)| at >= sent.mono && sent.wall <= reach);
                if !came {
                    self.canaries.awaited.get_or_insert(sent);
                }
            }
            Some(Err(error)) => {
                self.deps.meter.error(error.class);
                self.troubles.canary.failed(&error.chain(), "a canary could not be written in prodX");
            }
            None => {}
        }
    }

    /// A canary that was written and has not come by within the allowance holds the watermark: events are missing, or late.
    pub(super) fn overdue_canary(&mut self, now: Stamp) -> Option<SourceTime> {
        let sent = self.canaries.awaited.filter(|sent| now.since(*sent) > self.allowance())?;
        self.troubles.missing.failed(
            &format!("the canary of {} has not arrived: events are late or lost", sent.wall),
            "a canary has not arrived",
        );
        Some(sent.wall - self.skew())
    }

    /// A new epoch: nothing is known of what was the same. With `another`, of another source altogether.
    pub(super) fn begin_anew(&mut self, another: bool) {
        let store = self.store.id().clone();
        let before = std::mem::take(&mut self.record);
        let mut course = *before.course.unwrap_or_default();
        (course.certified, course.walk, course.events_through, course.untold) = (None, None, None, 0);
        course.excluded.clear();
        if another {
            (course.drained, course.blind, course.channel) = (None, None, None);
            (course.path_since, course.path_proved) = (None, None);
        }
        self.record = StoreRecord {
            incarnation: before.incarnation,
            epoch: before.epoch + 1,
            seed: Seed::Pending,
            source: before.source,
            paused_until: before.paused_until,
            course: Some(Box::new(course)),
            ..StoreRecord::default()
        };
        self.pending.clear(Prefix::known(&store));
        self.pending.clear(Prefix::work(&store));
        self.overlay.write().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        self.walker.restart();
        self.proved = None;
        self.pending.decision();
    }
}
