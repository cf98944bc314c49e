//! What messages say: keys become dirty, delays are measured, and what is not understood makes the store blind.

use std::collections::BTreeMap;
use std::time::Duration;

use super::delay;
use super::driver::Driver;
use super::marks::{Suspect, Ticket, Word};
use crate::change::{Key, Lane, Position, SourceTime, Stamp};
use crate::stores::converge::{Event, Message, Said};
use crate::watermark::course::Blind;
use crate::watermark::{ParkedRecord, Row};

/// A suspicion is answered within this, or believed.
const SUSPECT_FOR: Duration = Duration::from_secs(10);

impl Driver {
    pub(super) fn allowance(&self) -> Duration {
        delay::allowance(&self.course().delays, self.tempo.delivery)
    }

    pub(super) fn hear(&mut self, message: &Message, asked: Stamp, now: Stamp, closed: bool) {
        match &message.says {
            Said::Events(events) => self.hear_events(message, events, asked, now, closed),
            Said::Strange(why) => self.hear_strange(message, why, asked, now, closed),
        }
    }

    fn hear_events(&mut self, message: &Message, events: &[Event], asked: Stamp, now: Stamp, closed: bool) {
        // The oldest word about each key.
        let mut keys: BTreeMap<&Key, &Event> = BTreeMap::new();
        for event in events {
            let older = keys.get(&event.key).is_none_or(|have| event.at < have.at);
            if older {
                keys.insert(&event.key, event);
            }
        }
        let Some(ticket) = self.holds.take(message, keys.len(), asked.mono) else { return };
        self.deps.meter.read(events.len() as u64);
        if keys.is_empty() {
            self.release.push_back(ticket);
            return;
        }
        for event in events.iter().filter(|event| event.canary) {
            self.deps.meter.canary_roundtrip(now.wall.since(event.at));
            self.canary_came(event.at, now);
        }
        for (key, event) in keys {
            self.tell(key, event, message, ticket, now, closed);
        }
        self.pending.change(now.mono);
    }

    fn tell(&mut self, key: &Key, event: &Event, message: &Message, ticket: Ticket, now: Stamp, closed: bool) {
        self.take_off_shelf(key);
        self.walker.told(key);
        let known = self.marks.get(key).is_some_and(|mark| mark.since <= event.at);
        let suspect = self.suspicion(event, message, now).filter(|_| !known);
        let ours = self.holds.resent(&message.body);
        if !(ours || known || closed) && delay::note(&mut self.course_mut().delays, event.at, message.sent_at) {
            self.pending.proof(now.mono);
        }
        let order = event.order.clone();
        let word = Word { at: event.at, order, holder: Some(ticket), late: closed, suspect, now: now.wall };
        self.marks.tell(key, word);
    }

    /// An event of a time that the watermark has passed, which no walk has looked at since, and which came later than any may
    /// or for the first time. It may be one that came twice: whether something was missing is seen when the key is.
    fn suspicion(&self, event: &Event, message: &Message, now: Stamp) -> Option<Suspect> {
        let passed = self.record.through.is_some_and(|through| event.at <= through);
        let walked = self.course().certified.is_some_and(|certified| event.at <= certified);
        let late = message.sent_at.since(event.at) > self.allowance() || message.times <= 1;
        let suspect = Suspect { at: event.at, until: now.mono + SUSPECT_FOR };
        (passed && !walked && late && !self.frozen && !self.holds.resent(&message.body)).then_some(suspect)
    }

    /// What is not understood may be about any key: it is kept, and only a walk that begins later knows (S3-20).
    fn hear_strange(&mut self, message: &Message, why: &str, asked: Stamp, now: Stamp, closed: bool) {
        let Some(ticket) = self.holds.take(message, 0, asked.mono) else { return };
        self.deps.meter.read(1);
        let key = Key(message.id.as_bytes().to_vec().into());
        let row = Row::Parked { store: self.store.id().clone(), key };
        let record = ParkedRecord {
            lane: Lane::tail("queue"),
            position: Position(message.id.clone()),
            since: message.sent_at,
            parked_at: now.wall,
            reason: why.to_owned(),
            body: {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(message.body.as_bytes())
            },
        };
        let known = self.pending.rows.contains_key(&row) || self.deps.index.get(&row).is_ok_and(|have| have.is_some());
        self.walker.strange += u64::from(!known);
        self.pending.put(row, &record);
        self.pending.release.push(ticket);
        self.pending.urgent();
        if !closed && !self.frozen {
            let since = message.sent_at - self.allowance();
            self.blind(since, format!("a message of {} is not understood: {why}", message.sent_at), now);
        }
    }

    /// Changes of this time on may be missing.
    pub(super) fn blind(&mut self, since: SourceTime, why: String, now: Stamp) {
        if self.course().blind.as_ref().is_none_or(|blind| blind.why != why) {
            tracing::warn!(store = %self.store.id(), %since, why, "changes may be missing; only a walk of both ends can tell");
        }
        let course = self.course_mut();
        let since = course.blind.as_ref().map_or(since, |blind| blind.since.min(since));
        course.blind = Some(Blind { since, noticed_at: now.wall, why });
        self.pending.decision();
    }

    /// What was sent before the last clean drain was heard; a change that is not known may be younger than this.
    pub(super) fn before_drain(&self) -> SourceTime {
        let course = self.course();
        let heard = course.drained.or(course.path_since).unwrap_or_default();
        heard - self.allowance() + super::TICK
    }

    /// Suspicions that were not answered in time.
    pub(super) fn judge_late(&mut self, now: Stamp) {
        for (_, at) in self.marks.overdue(now.mono) {
            self.missed(at);
        }
    }

    /// A change of this time was missing although the watermark had passed it.
    pub(super) fn missed(&mut self, at: SourceTime) {
        if let Some(through) = self.record.through.filter(|through| at <= *through) {
            let what = format!("a change of {at} was not in prodY although the watermark had passed it ({through})");
            self.pending.violation(at, what);
        }
    }
}
