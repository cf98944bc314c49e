//! What events and walks prove together (S3-13, S3-15). Pure.
//!
//! Invariants
//! - Without a complete walk there is no watermark, and without a proven event path only what a walk certified.
//! - It rises and never falls by itself: what is taken back is a retraction, with its reason, and never below what a walk has
//!   certified since.

use std::time::Duration;

use super::TICK;
use crate::change::SourceTime;
use crate::watermark::course::Course;

/// What holds back what events prove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ceilings {
    /// The oldest change that is not known to be in the standby.
    pub(super) pin: Option<SourceTime>,
    /// A canary that was written then has not come by.
    pub(super) canary: Option<SourceTime>,
    /// The newest call that prodX has answered was sent then. Of a change that was made less than the allowance before, it is
    /// not known that its event got out: an empty channel says nothing of it (S3-F3).
    pub(super) alive: Option<SourceTime>,
}

/// `W_event`: what the events alone prove.
pub(super) fn events(course: &Course, allowance: Duration, over: Ceilings) -> Option<SourceTime> {
    let heard = course.drained?;
    let drained = over.alive.map_or(heard, |alive| heard.min(alive)) - allowance;
    let blind = course.blind.as_ref().map(|blind| blind.since);
    let below = [over.pin, over.canary, blind].into_iter().flatten().map(|at| at - TICK);
    Some(below.fold(drained, SourceTime::min))
}

/// The watermark: never below `have`, nothing before a walk was complete, nothing of the future.
pub(super) fn through(have: Option<SourceTime>, course: &Course, now: SourceTime) -> Option<SourceTime> {
    let certified = course.certified?;
    let events = course.events_through.filter(|_| course.path_proved.is_some());
    let proved = events.map_or(certified, |events| events.max(certified)).min(now);
    Some(have.map_or(proved, |have| have.max(proved)))
}

/// Where a watermark falls to of which a change of `at` turned out to be missing.
pub(super) fn taken_back(have: SourceTime, at: SourceTime, course: &Course) -> SourceTime {
    let below = at - TICK;
    have.min(course.certified.map_or(below, |certified| below.max(certified)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watermark::course::Blind;

    const S: fn(i64) -> SourceTime = SourceTime::from_secs;
    const D: Duration = Duration::from_secs(120);

    fn course() -> Course {
        let (drained, certified, path_proved) = (Some(S(1000)), Some(S(500)), Some(S(1)));
        Course { drained, certified, path_proved, ..Course::default() }
    }

    #[test]
    fn s3_13_the_least_of_pins_drain_and_doubt() {
        let mut course = course();
        assert_eq!(events(&course, D, Ceilings::default()), Some(S(880)));
        let pinned = Ceilings { pin: Some(S(700)), canary: Some(S(600)), alive: None };
        assert_eq!(events(&course, D, pinned), Some(S(600) - TICK));
        assert_eq!(events(&course, D, Ceilings { canary: None, ..pinned }), Some(S(700) - TICK));
        let silent = Ceilings { alive: Some(S(950)), ..Ceilings::default() };
        assert_eq!(events(&course, D, silent), Some(S(830)), "prodX was not heard of since");
        let lively = Ceilings { alive: Some(S(1100)), ..Ceilings::default() };
        assert_eq!(events(&course, D, lively), Some(S(880)));
        course.blind = Some(Blind { since: S(650), noticed_at: S(990), why: String::new() });
        assert_eq!(events(&course, D, Ceilings { canary: None, ..pinned }), Some(S(650) - TICK));
        course.drained = None;
        assert_eq!(events(&course, D, Ceilings::default()), None);
    }

    #[test]
    fn s3_12_nothing_before_a_walk_and_only_that_before_the_path_is_proved() {
        let now = S(1010);
        let mut course = Course { events_through: Some(S(880)), ..course() };
        assert_eq!(through(None, &course, now), Some(S(880)));
        course.path_proved = None;
        assert_eq!(through(None, &course, now), Some(S(500)));
        course.certified = None;
        assert_eq!(through(None, &course, now), None);
    }

    #[test]
    fn it_never_falls_by_itself() {
        let course = Course { events_through: Some(S(400)), ..course() };
        assert_eq!(through(Some(S(600)), &course, S(1010)), Some(S(600)));
        assert_eq!(through(None, &course, S(450)), Some(S(450)), "nothing is proved about the future");
    }

    #[test]
    fn what_is_taken_back_stays_above_what_a_walk_saw_since() {
        assert_eq!(taken_back(S(880), S(700), &course()), S(700) - TICK);
        assert_eq!(taken_back(S(880), S(300), &course()), S(500));
        assert_eq!(taken_back(S(600), S(700), &course()), S(600));
    }
}
