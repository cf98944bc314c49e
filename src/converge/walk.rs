//! The walk of both ends, side by side (S3-10, S3-11, S3-15): when one begins, how far it is, what it may remove and when it
//! certifies. Pure.
//!
//! Invariants
//! - Where each part stands is durable together with what was found before that, so a walk goes on where it stood.
//! - Nothing is removed before the whole walk has listed and the guard has passed.
//! - A walk certifies its own start, when nothing that it found is left and no older change is waiting for anything.

use std::time::Duration;

use crate::change::{Key, SourceTime, Stamp};
use crate::stores::converge::{ListFrom, ListPage, Tempo};
use crate::watermark::course::{Course, Part, Walk};

/// Between the starts of two walks because of doubts, at least; and at least so many times as long as the last one listed.
const DOUBT_EVERY: Duration = Duration::from_secs(600);
const DOUBT_SHARE: u32 = 4;

/// What the guard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// What was found may be removed.
    Passes,
    /// Too much: so many keys, of which so many would pass.
    Holds { orphans: u64, limit: u64 },
}

/// A new walk over parts that start at these keys.
pub(super) fn begin(began: SourceTime, cause: &str, starts: Vec<Key>, before: Option<&Walk>) -> Walk {
    let mut starts = starts;
    starts.push(Key(bytes::Bytes::new()));
    starts.sort();
    starts.dedup();
    let ends = starts.iter().skip(1).map(|key| Some(Part::text(key))).chain([None]);
    let parts = starts.iter().zip(ends).map(|(start, end)| Part { start: Part::text(start), end, ..Part::default() });
    let expected = before.map_or(0, |walk| if walk.listed_at.is_some() { walk.looked } else { walk.expected });
    Walk { began, cause: cause.to_owned(), parts: parts.collect(), expected, ..Walk::default() }
}

/// Is it being listed?
pub(super) fn listing(walk: Option<&Walk>) -> bool {
    walk.is_some_and(|walk| walk.listed_at.is_none())
}

/// Listed, and something that it found is not settled.
pub(super) fn settling(walk: Option<&Walk>) -> bool {
    walk.is_some_and(|walk| walk.listed_at.is_some() && walk.ended_at.is_none())
}

/// Where a part goes on; `None` when it is done, or cannot be read.
pub(super) fn from(walk: &Walk, part: usize, now: Stamp) -> Option<ListFrom> {
    let part = walk.parts.get(part).filter(|part| !part.done)?;
    let after = match &part.at {
        Some(at) => Some(Part::key(at)?),
        None => None,
    };
    let end = match &part.end {
        Some(end) => Some(Part::key(end)?),
        None => None,
    };
    let ago = now.wall.since(walk.began);
    let began = Stamp { wall: walk.began, mono: now.mono.saturating_sub(ago) };
    Some(ListFrom { after, start: Part::key(&part.start)?, end, began })
}

/// Takes a page in. `false`: it does not go on from where the part stood.
pub(super) fn page(walk: &mut Walk, part: usize, page: &ListPage) -> bool {
    let Some(part) = walk.parts.get_mut(part).filter(|part| !part.done) else { return false };
    if let Some(to) = &page.to {
        let at = part.at.as_deref().and_then(Part::key);
        if at.is_some_and(|at| *to <= at) {
            return false;
        }
        part.at = Some(Part::text(to));
    } else {
        part.done = true;
    }
    walk.looked += page.looked;
    walk.bytes += page.bytes;
    walk.standby += page.standby;
    walk.found += page.found.len() as u64;
    true
}

/// Every part is listed.
pub(super) fn complete(walk: &Walk) -> bool {
    walk.parts.iter().all(|part| part.done)
}

/// May what the standby has and the source does not be removed (S3-11)?
pub(super) fn guard(walk: &Walk, delete_limit: u64) -> Guard {
    let limit = delete_limit.max(walk.looked / 100).max(walk.allowed);
    if walk.orphans <= limit { Guard::Passes } else { Guard::Holds { orphans: walk.orphans, limit } }
}

/// Why the next walk begins now; `None`: it does not. `now` is our wall clock.
pub(super) fn due(course: &Course, wished: bool, tempo: &Tempo, now: SourceTime) -> Option<String> {
    let Some(walk) = &course.walk else { return Some("the first look at both ends".to_owned()) };
    // What is being listed goes on first.
    let listed_at = walk.listed_at?;
    if wished {
        return Some("asked for by an operator".to_owned());
    }
    let age = now.since(walk.began);
    if let Some(blind) = &course.blind
        && blind.noticed_at > walk.began
        && age >= DOUBT_EVERY.max(listed_at.since(walk.began) * DOUBT_SHARE)
    {
        return Some(blind.why.clone());
    }
    (age >= tempo.walk_every).then(|| format!("every {}", humantime::format_duration(tempo.walk_every)))
}

/// What is left of a walk that was listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Keys that it found and that are not settled, refused and held ones too.
    pub(super) walked: u64,
    /// What waits in the index was not gone through since it was listed.
    pub(super) unread: bool,
    /// The oldest change that is not known to be in the standby.
    pub(super) pin: Option<SourceTime>,
}

/// Does it certify its start?
pub(super) fn certifies(walk: &Walk, left: Left) -> bool {
    settling(Some(walk)) && left.walked == 0 && !left.unread && left.pin.is_none_or(|pin| pin > walk.began)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watermark::course::Blind;

    const S: fn(i64) -> SourceTime = SourceTime::from_secs;

    fn key(text: &str) -> Key {
        Key(text.as_bytes().to_vec().into())
    }
    fn now(secs: i64) -> Stamp {
        Stamp { wall: S(secs), mono: Duration::from_secs(5) }
    }
    fn listed(to: Option<&str>, looked: u64) -> ListPage {
        ListPage { to: to.map(key), looked, ..ListPage::default() }
    }
    fn tempo() -> Tempo {
        Tempo { walk_every: Duration::from_secs(3600), delete_limit: 10, ..crate::converge::testing::tempo() }
    }

    #[test]
    fn parts_cover_every_key_once_and_go_on_where_they_stood() {
        let mut walk = begin(S(10), "x", vec![key("m"), key(""), key("t"), key("m")], None);
        let froms: Vec<_> = (0..3).map(|part| from(&walk, part, now(12)).unwrap()).collect();
        assert_eq!(froms[0].start, key(""));
        assert_eq!((froms[0].end.clone(), froms[1].start.clone()), (Some(key("m")), key("m")));
        assert_eq!((froms[2].start.clone(), froms[2].end.clone()), (key("t"), None));
        assert_eq!(froms[0].began, Stamp { wall: S(10), mono: Duration::from_secs(3) });
        assert!(page(&mut walk, 1, &listed(Some("p"), 3)));
        assert!(!page(&mut walk, 1, &listed(Some("p"), 3)), "a page that does not go on");
        assert_eq!(from(&walk, 1, now(12)).unwrap().after, Some(key("p")));
        for part in 0..3 {
            assert!(!complete(&walk));
            assert!(page(&mut walk, part, &listed(None, 1)));
            assert_eq!(from(&walk, part, now(12)), None);
        }
        assert!(complete(&walk));
        assert_eq!(walk.looked, 6);
        walk.listed_at = Some(S(20));
        assert_eq!(begin(S(30), "y", vec![], Some(&walk)).expected, 6);
    }

    #[test]
    fn s3_11_the_guard() {
        let walk = |looked, orphans, allowed| Walk { looked, orphans, allowed, ..Walk::default() };
        assert_eq!(guard(&walk(0, 10, 0), 10), Guard::Passes);
        assert_eq!(guard(&walk(0, 11, 0), 10), Guard::Holds { orphans: 11, limit: 10 });
        assert_eq!(guard(&walk(5_000, 50, 0), 10), Guard::Passes, "one of a hundred");
        assert_eq!(guard(&walk(5_000, 51, 0), 10), Guard::Holds { orphans: 51, limit: 50 });
        assert_eq!(guard(&walk(5_000, 51, 51), 10), Guard::Passes);
    }

    #[test]
    fn s3_15_only_when_nothing_is_left() {
        let mut walk = Walk { began: S(100), ..Walk::default() };
        let left = Left::default();
        assert!(!certifies(&walk, left), "not listed");
        walk.listed_at = Some(S(110));
        assert!(certifies(&walk, left));
        assert!(!certifies(&walk, Left { walked: 1, ..left }));
        assert!(!certifies(&walk, Left { unread: true, ..left }));
        assert!(!certifies(&walk, Left { pin: Some(S(100)), ..left }), "an older change waits");
        assert!(certifies(&walk, Left { pin: Some(S(101)), ..left }));
        walk.ended_at = Some(S(120));
        assert!(!certifies(&walk, left), "once");
    }

    #[test]
    fn when_the_next_begins() {
        let tempo = tempo();
        let mut course = Course::default();
        assert!(due(&course, false, &tempo, S(0)).is_some());
        course.walk = Some(Walk { began: S(1000), ..Walk::default() });
        assert_eq!(due(&course, true, &tempo, S(99_000)), None, "the one that is listed goes on");
        course.walk = Some(Walk { began: S(1000), listed_at: Some(S(1300)), ..Walk::default() });
        assert_eq!(due(&course, false, &tempo, S(1400)), None);
        assert!(due(&course, true, &tempo, S(1400)).is_some());
        assert!(due(&course, false, &tempo, S(4600)).is_some(), "even if it could not end");
        course.blind = Some(Blind { since: S(1), noticed_at: S(1100), why: "purged".into() });
        assert_eq!(due(&course, false, &tempo, S(2100)), None, "not more often than four times what it takes");
        assert_eq!(due(&course, false, &tempo, S(2200)).as_deref(), Some("purged"));
        course.blind = Some(Blind { since: S(1), noticed_at: S(900), why: "purged".into() });
        assert_eq!(due(&course, false, &tempo, S(2200)), None, "it began later");
    }
}
