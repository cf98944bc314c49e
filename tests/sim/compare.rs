//! The modelled store's part in a verification: what each side says at its own moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll::change::{Change, Difference, Doubt, Key, LaneKind, Part, Position, Read, SourceTime};
use plimsoll::stores::StoreError;
use plimsoll::stores::contract::{Compared, Spot};
use plimsoll::stores::seed;
use plimsoll::stores::verify::Terms;

use crate::store::{START, SimStore, key_of, number, unavailable};
use crate::world::Held;

/// How often it is compared.
const COMPARED_EVERY: Duration = Duration::from_secs(12);

/// The version of an item that is there.
fn item(side: &BTreeMap<u64, Held>, key: u64) -> Option<u64> {
    side.get(&key).filter(|held| !held.removed).map(|held| held.version)
}

fn difference(source: Option<u64>, standby: Option<u64>) -> Option<Difference> {
    match (source, standby) {
        (Some(_), None) => Some(Difference::Missing),
        (None, Some(_)) => Some(Difference::Orphan),
        (source, standby) => (source != standby).then_some(Difference::Differs),
    }
}

impl SimStore {
    /// Single keys once more.
    pub(crate) async fn compare_keys(&self, keys: &[Change]) -> Result<Compared, StoreError> {
        let numbers: Vec<u64> = keys.iter().map(|change| key_of(&change.key)).collect();
        if self.schedule.no_second_look {
            let read_at = self.read_at();
            return Ok(Compared { found: vec![Some(Difference::Differs); keys.len()], read_at, ..Compared::default() });
        }
        self.pass().await;
        self.answers(true)?;
        let source: Vec<Option<u64>> = numbers.iter().map(|n| item(&self.world().source, *n)).collect();
        let read_at = self.read_at();
        self.pass().await;
        self.answers(false)?;
        let found =
            numbers.iter().zip(source).map(|(n, source)| difference(source, item(&self.world().standby, *n))).collect();
        Ok(Compared { found, read_at, ..Compared::default() })
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms { every: COMPARED_EVERY, repair: self.schedule.repair }
    }

    /// When the source has answered, for a rule that waits for it.
    fn read_at(&self) -> SourceTime {
        if self.schedule.does_not_wait { START } else { self.clock.now().wall }
    }

    /// Does a side answer?
    fn answers(&self, source: bool) -> Result<(), StoreError> {
        let mut world = self.world();
        let frozen = if source { world.source_frozen } else { world.standby_frozen };
        match frozen || (!world.calm && world.dice.chance(10)) {
            true => Err(unavailable("a comparison")),
            false => Ok(()),
        }
    }

    /// One page of a verification: the source at one moment, the standby at a later one.
    pub(crate) async fn compare_page(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        self.pass().await;
        self.answers(spot.lane.kind == LaneKind::Scan)?;
        let (numbers, mut part) = self.walk(&spot);
        let sides = |other: bool| {
            let world = self.world();
            let source = (spot.lane.kind == LaneKind::Scan) != other;
            let side = if source { &world.source } else { &world.standby };
            numbers.iter().map(|n| item(side, *n)).collect::<Vec<_>>()
        };
        let first = sides(false);
        let mut read_at = self.read_at();
        self.pass().await;
        self.answers(spot.lane.kind != LaneKind::Scan)?;
        let second = sides(true);
        if spot.lane.kind == LaneKind::Sweep {
            read_at = self.read_at();
        }
        part.read_at = read_at;
        for ((n, first), second) in numbers.iter().zip(first).zip(second) {
            let what = match spot.lane.kind {
                LaneKind::Scan => difference(first, second),
                _ if spot.shelf.seen(&number(*n)) => None,
                _ => (second.is_none() && first.is_some()).then_some(Difference::Orphan),
            };
            let mut key = number(*n).0.to_vec();
            if self.schedule.forgets_what_is_read {
                // Not the key that the tails tell of.
                key.push(0);
            }
            let change = Change {
                key: Key(key.into()),
                position: Position("".into()),
                at: read_at,
                body: Arc::new(Held { version: 0, removed: true }),
                size: 10,
            };
            part.doubts.extend(what.map(|what| Doubt { change, what }));
            if spot.lane.kind == LaneKind::Scan {
                part.seen.push(number(*n));
            }
        }
        Ok(Read::Part(part))
    }

    /// The next keys of a segment.
    fn walk(&self, spot: &Spot<'_>) -> (Vec<u64>, Part) {
        let mut guard = self.world();
        let world = &mut *guard;
        let (segment, count) = seed::segment(spot.lane).unwrap();
        let after: Option<u64> = spot.from.map(|p| p.0.parse().unwrap());
        let take = 1 + world.dice.below(self.schedule.copy_page) as usize;
        let side = if spot.lane.kind == LaneKind::Sweep { &world.standby } else { &world.source };
        let mine = |n: u64| n % count as u64 == segment as u64 && after.is_none_or(|after| n > after);
        let found: Vec<u64> = side.iter().filter(|(n, held)| mine(**n) && !held.removed).map(|(n, _)| *n).collect();
        let to = found.get(take - 1).filter(|_| found.len() > take).map(|n| Position(n.to_string().into()));
        let numbers: Vec<u64> = found.into_iter().take(take).collect();
        let part = Part { looked: numbers.len() as u64, to, ..Part::default() };
        (numbers, part)
    }
}
