//! The modelled store behind the real contract.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plimsoll::change::{
    Change, Class, Gap, GapCause, Key, Lane, LaneKind, LaneSeed, Method, Outcome, Page, Part, Position, Read,
    SourceTime, Stamp, StoreId,
};
use plimsoll::promote::Step;
use plimsoll::seams::SharedClock;
use plimsoll::stores::canary::{Beat, Canary, CanaryTerms, Sighting};
use plimsoll::stores::contract::{Applied, Compared, Mode, Rhythm, Spot};
use plimsoll::stores::seed::{self, OnGap, Policy};
use plimsoll::stores::verify;
use plimsoll::stores::{Replicate, Reseed, Store, StoreError, StoreState, Transition};
use plimsoll::watermark::{ParkedRecord, SeedRun, Watermarks};
use tokio_util::sync::CancellationToken;

use crate::schedule::Schedule;
use crate::world::{CANARY, Held, MOST_EMPTIES, World};

/// Wall time at the start of every schedule.
pub(crate) const START: SourceTime = SourceTime(1_795_000_000_000);

/// A request that we gave up may still land for so long.
pub(crate) const REQUEST_LIFE: Duration = Duration::from_secs(8);

/// How often its canaries are written.
const EVERY: Duration = Duration::from_secs(2);

impl Schedule {
    /// How the store is seeded.
    fn policy(&self) -> Policy {
        Policy { segments: self.segments, sweep_limit: 1_000, on_gap: OnGap::Reseed, every: Duration::from_secs(5) }
    }
}

pub(crate) struct SimStore {
    pub(crate) id: StoreId,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) clock: SharedClock,
    pub(crate) schedule: Schedule,
    /// The process that uses this store is dead: its calls never return.
    pub(crate) dead: CancellationToken,
}

pub(crate) fn unavailable(what: &str) -> StoreError {
    StoreError::new(Class::Unavailable, what, "the simulation")
}

impl SimStore {
    fn now(&self) -> u64 {
        self.clock.now().wall.since(START).as_millis() as u64
    }

    pub(crate) fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A call takes a moment, and for the dead for ever.
    pub(crate) async fn pass(&self) {
        let ms = {
            let mut world = self.world();
            let longest = if world.calm { 10 } else { 150 };
            1 + world.dice.below(longest)
        };
        tokio::select! {
            biased;
            () = self.dead.cancelled() => std::future::pending().await,
            () = self.clock.sleep(Duration::from_millis(ms)) => {}
        }
    }

    async fn time_out(&self) {
        tokio::select! {
            biased;
            () = self.dead.cancelled() => std::future::pending().await,
            () = self.clock.sleep(Duration::from_secs(2)) => {}
        }
    }

    fn seed(&self, at: usize, world: &World) -> LaneSeed {
        let shard = &world.shards[at];
        let parent = shard.parent.as_deref().filter(|_| !self.schedule.children_do_not_wait).map(Lane::tail);
        LaneSeed { lane: Lane::tail(&shard.name), parent, born: None }
    }
}

impl Store for SimStore {
    fn id(&self) -> &StoreId {
        &self.id
    }
    fn kind(&self) -> &'static str {
        "sim"
    }
    fn mode(&self) -> Mode<'_> {
        Mode::Replicate(self)
    }
    fn rhythm(&self) -> Rhythm {
        Rhythm {
            poll_min: Duration::from_millis(250),
            poll_max: Duration::from_secs(1),
            empty_run: self.schedule.empty_run,
            propagation: self.schedule.allowance,
            publish: Duration::from_secs(1),
            max_request_life: self.schedule.hold,
            apply_concurrency: self.schedule.concurrency,
            apply_batch: self.schedule.batch,
            survey_every: Duration::from_secs(5),
        }
    }
    fn period(&self) -> Duration {
        EVERY
    }
    fn watermark(&self, state: &StoreState) -> Option<(SourceTime, Method)> {
        let all: Option<Vec<_>> = state.live_lanes().map(|(_, l)| Some((l.through?, l.method))).collect();
        let all = all?;
        let (through, method) = (all.iter().map(|l| l.0).min()?, all.iter().map(|l| l.1).min()?);
        match self.schedule.canaries {
            true => Some((through.min(state.record.canary_through?), Method::Verified)),
            false => Some((through, method)),
        }
    }
    fn promote_steps(&self, _: &Watermarks) -> Vec<Arc<dyn Step>> {
        vec![]
    }
}

#[async_trait]
impl Replicate for SimStore {
    async fn survey(&self, state: &StoreState, now: Stamp) -> Result<Vec<Transition>, StoreError> {
        self.pass().await;
        if self.world().source_frozen {
            self.time_out().await;
            return Err(unavailable("survey"));
        }
        let world = self.world();
        let mut decisions = vec![];
        if state.record.incarnation.is_none() {
            decisions.push(Transition::Adopt { incarnation: "sim".into() });
        }
        for at in 0..world.shards.len() {
            let seed = self.seed(at, &world);
            let known = state.lanes.contains_key(&seed.lane);
            let late = self.schedule.children_registered_late && world.shards[at].parent.is_some();
            if !known && !late {
                decisions.push(Transition::Discover(seed));
            }
        }
        if !decisions.is_empty() {
            return Ok(decisions);
        }
        if let Some(why) = seed::again(state, &self.schedule.policy(), now.wall) {
            let run = SeedRun { started_at: now.wall, cause: Some(why), ..SeedRun::default() };
            let lanes = (0..world.shards.len()).map(|at| self.seed(at, &world)).collect();
            let (epoch, incarnation) = (state.record.epoch + 1, "sim".to_owned());
            decisions.push(Transition::Reseed(Reseed { epoch, incarnation, lanes, run }));
        } else if seed::begins(state) {
            let (source, standby) = (World::items(&world.source), World::items(&world.standby));
            let first = state.record.gap.is_none() && state.record.seed_run.is_none();
            decisions.push(if first && source.is_empty() && standby.is_empty() {
                Transition::Seeded
            } else {
                let sweep = !standby.is_empty() && !self.schedule.no_sweep;
                let run =
                    state.record.seed_run.clone().unwrap_or(SeedRun { started_at: now.wall, ..SeedRun::default() });
                let lanes = seed::segments(LaneKind::Scan, self.schedule.segments);
                Transition::Copy { run: SeedRun { sweep, ..run }, lanes }
            });
        } else if let Some(run) = verify::begins(state, &self.terms(), now.wall) {
            decisions.push(verify::begin(state, run, &self.schedule.policy()));
        }
        Ok(decisions)
    }

    fn proceed(&self, state: &StoreState, _: SourceTime, skew: Duration) -> Vec<Transition> {
        let mut next = seed::proceed(state, &self.schedule.policy(), skew);
        next.extend(verify::proceed(state, &self.schedule.policy()));
        next
    }

    async fn compare(&self, keys: &[Change]) -> Result<Compared, StoreError> {
        self.compare_keys(keys).await
    }

    async fn read(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        let asked_at = self.clock.now();
        self.pass().await;
        if self.world().source_frozen {
            self.time_out().await;
            return Err(unavailable("read"));
        }
        if !spot.lane.is_tail() {
            return self.read_copy(spot).await;
        }
        let now = self.now();
        let mut guard = self.world();
        let world = &mut *guard;
        if !world.calm && world.dice.chance(5) {
            return Err(unavailable("read"));
        }
        let mut from: u64 = spot.from.map_or(0, |p| p.0.parse().unwrap());
        let shard = world.shards.iter_mut().find(|s| s.name == *spot.lane.name).unwrap();
        let asked = asked_at.wall.since(START).as_millis() as u64;
        // What was committed before the copy began is the copy's to bring; later records of AWS are not trimmed within the 23
        // hours in which a first read is believed, so losing them is the loss that it would be then.
        let untouched = spot.from == spot.record.position.as_ref();
        if shard.trimmed > from {
            let reached = spot.record.tip_at.filter(|_| spot.from.is_none());
            let known = reached.unwrap_or(spot.record.first_seen).since(START).as_millis() as u64;
            let covered = spot.record.initial || reached.is_some();
            if !(covered && untouched && shard.trimmed_at < known) {
                let why = Gap { cause: GapCause::Trimmed, on: shard.name.clone(), declared_at: START };
                return Ok(Read::Lost { why });
            }
            if spot.from.is_some() {
                return Ok(Read::Anew);
            }
            from = shard.trimmed;
        }
        if self.schedule.begins_at_the_tip && spot.record.initial && untouched {
            from = from.max(shard.records.last().map_or(0, |r| r.seq));
        }
        let fresh: Vec<_> = shard.records.iter().filter(|r| r.seq > from && r.visible <= now).cloned().collect();
        if shard.empties > 0 {
            // Data is there, and this answer is empty all the same (DS-F10).
            shard.empties -= 1;
            return Ok(Read::Empty { asked_at });
        }
        if fresh.is_empty() {
            let drained = shard.closed && shard.records.iter().all(|r| r.visible <= asked && r.seq <= from);
            if drained {
                let name = shard.name.clone();
                let kids = (0..world.shards.len()).filter(|at| world.shards[*at].parent.as_deref() == Some(&name));
                let children = if self.schedule.children_registered_late && world.dice.chance(70) {
                    vec![]
                } else {
                    kids.map(|at| self.seed(at, world)).collect()
                };
                return Ok(Read::End { children });
            }
            if !world.calm && world.dice.chance(15) {
                shard_empties(world, &spot);
            }
            return Ok(Read::Empty { asked_at });
        }
        let take = 1 + world.dice.below(self.schedule.page) as usize;
        if !world.calm && world.dice.chance(15) {
            shard_empties(world, &spot);
        }
        let full = take < fresh.len();
        let changes = fresh
            .into_iter()
            .take(take)
            .map(|r| Change {
                key: Key(Bytes::copy_from_slice(&r.key.to_be_bytes())),
                position: Position(r.seq.to_string().into()),
                at: (START + Duration::from_millis(r.committed)).floor_to_second(),
                body: Arc::new(Held { version: r.version, removed: r.removed }),
                size: 10,
            })
            .collect();
        Ok(Read::Records(Page { changes, full }))
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        if self.world().standby_frozen {
            self.time_out().await;
            return Applied {
                outcomes: vec![Outcome::Retry(Class::Unavailable); changes.len()],
                trouble: Some(unavailable("apply")),
            };
        }
        // Some writes take effect when they are sent, others when they are answered; a kill in between leaves either.
        let early = self.world().dice.chance(50);
        let write = |world: &mut World, change: &Change| {
            // What was to land before this has landed.
            world.tick(self.now());
            world.land(key_of(&change.key), held(change));
        };
        let early = early && !self.schedule.apply_lies && {
            let mut world = self.world();
            let lucky = world.calm || world.dice.chance(60);
            if lucky {
                changes.iter().for_each(|c| write(&mut world, c));
            }
            lucky
        };
        if early {
            self.pass().await;
            return Applied { outcomes: vec![Outcome::Done; changes.len()], trouble: None };
        }
        self.pass().await;
        let now = self.now();
        let mut world = self.world();
        let mut applied = Applied::default();
        for change in changes {
            let fate = if world.calm { 0 } else { world.dice.below(100) };
            applied.outcomes.push(match fate {
                0..70 => {
                    if !(self.schedule.apply_lies && fate > 60) {
                        write(&mut world, change);
                    }
                    Outcome::Done
                }
                70..82 => Outcome::Retry(Class::Throttled),
                82..88 => {
                    write(&mut world, change);
                    Outcome::Retry(Class::Unknown)
                }
                _ => {
                    if world.dice.chance(70) {
                        let late = world.dice.below(REQUEST_LIFE.as_millis() as u64);
                        world.stray_count += 1;
                        world.strays.push((now + late, key_of(&change.key), held(change)));
                    }
                    Outcome::Retry(Class::Unknown)
                }
            });
        }
        applied
    }

    fn canary(&self) -> Option<&dyn Canary> {
        self.schedule.canaries.then_some(self as &dyn Canary)
    }

    fn encode(&self, change: &Change) -> Bytes {
        change.key.0.clone()
    }

    fn decode(&self, _: &Key, _: &ParkedRecord, _: &[u8]) -> Result<Change, StoreError> {
        Err(unavailable("decode"))
    }
}

#[async_trait]
impl Canary for SimStore {
    fn terms(&self) -> CanaryTerms {
        CanaryTerms { keys: 2, every: EVERY, replicate: false }
    }

    fn sighting(&self, change: &Change) -> Option<Sighting> {
        let at = key_of(&change.key).checked_sub(CANARY)?;
        let (key, beat) = self.world().beats[at as usize].clone();
        Some(Sighting { key, beat: Some(beat) })
    }

    async fn write(&self, key: u32, beat: &Beat) -> Result<(), StoreError> {
        if self.world().source_frozen {
            self.time_out().await;
            return Err(StoreError::new(Class::Unknown, "a canary", "the simulation"));
        }
        // It takes effect before its answer is lost, or is lost before it takes effect.
        self.pass().await;
        let fate = if self.world().calm { 0 } else { self.world().dice.below(100) };
        if fate < 85 {
            let now = self.now();
            self.world().sing(key, beat, now);
        }
        self.pass().await;
        match fate {
            0..75 => Ok(()),
            75..95 => Err(StoreError::new(Class::Unknown, "a canary", "the simulation")),
            _ => Err(StoreError::new(Class::Throttled, "a canary", "the simulation")),
        }
    }
}

pub(crate) fn number(n: u64) -> Key {
    Key(Bytes::copy_from_slice(&n.to_be_bytes()))
}

fn held(change: &Change) -> Held {
    *change.body.downcast_ref().unwrap()
}

pub(crate) fn key_of(key: &Key) -> u64 {
    u64::from_be_bytes(key.0[..8].try_into().unwrap())
}

impl SimStore {
    /// One page of a copy: what it says was true at one moment of the call, and not at another.
    async fn read_copy(&self, spot: Spot<'_>) -> Result<Read, StoreError> {
        if spot.verify && spot.lane.kind != LaneKind::Repair {
            return self.compare_page(spot).await;
        }
        let early = self.world().dice.chance(50);
        if !early {
            self.pass().await;
        }
        let page = self.page(&spot);
        if early {
            self.pass().await;
        }
        let mut world = self.world();
        if world.source_frozen || (!world.calm && world.dice.chance(10)) {
            return Err(unavailable("a page"));
        }
        Ok(Read::Part(page))
    }

    fn page(&self, spot: &Spot<'_>) -> Part {
        let mut guard = self.world();
        let world = &mut *guard;
        let at = SourceTime(START.0 + self.now() as i64);
        let key = |n: u64| Key(Bytes::copy_from_slice(&n.to_be_bytes()));
        let change = |n: u64, held: Held| Change {
            key: key(n),
            position: Position("".into()),
            at,
            body: Arc::new(held),
            size: 10,
        };
        let gone = Held { version: world.next, removed: true };
        let mut part = Part::default();
        if spot.lane.kind == LaneKind::Repair {
            let after = spot.from.map(|p| key(p.0.parse().unwrap()));
            let rows = spot.shelf.dirty(after.as_ref(), 2).unwrap();
            for (dirty, _) in &rows {
                let now = world.source.get(&key_of(dirty)).copied().unwrap_or(gone);
                part.changes.push(change(key_of(dirty), now));
                part.mended.push(dirty.clone());
            }
            part.to =
                rows.last().filter(|_| rows.len() == 2).map(|(last, _)| Position(key_of(last).to_string().into()));
            return part;
        }
        let (segment, count) = seed::segment(spot.lane).unwrap();
        let after: Option<u64> = spot.from.map(|p| p.0.parse().unwrap());
        let take = 1 + world.dice.below(self.schedule.copy_page) as usize;
        let stale = self.schedule.stale_scan;
        let side = match spot.lane.kind {
            LaneKind::Sweep => &world.standby,
            _ if stale => &world.stale,
            _ => &world.source,
        };
        let mine = |n: u64| n % count as u64 == segment as u64 && after.is_none_or(|after| n > after);
        let found: Vec<(u64, Held)> =
            side.iter().filter(|(n, held)| mine(**n) && !held.removed).map(|(n, held)| (*n, *held)).collect();
        for (n, held) in found.iter().take(take) {
            part.looked += 1;
            if spot.lane.kind == LaneKind::Scan {
                part.seen.push(key(*n));
                part.changes.push(change(*n, *held));
            } else if !spot.shelf.seen(&key(*n)) && world.source.get(n).is_none_or(|held| held.removed) {
                part.orphans.push(change(*n, gone));
            }
        }
        part.to = found.get(take - 1).filter(|_| found.len() > take).map(|(n, _)| Position(n.to_string().into()));
        part
    }
}

fn shard_empties(world: &mut World, spot: &Spot<'_>) {
    let many = world.dice.below(u64::from(MOST_EMPTIES) + 1) as u32;
    if let Some(shard) = world.shards.iter_mut().find(|s| s.name == *spot.lane.name) {
        shard.empties = many;
    }
}
