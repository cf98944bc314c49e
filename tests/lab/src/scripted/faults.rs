//! Fault rules: which calls, how often, and what goes wrong. Seeded and counted.
//!
//! Rules are asked in the order they were added and the first one that fires wins; a call that an earlier rule took
//! is not seen by the later ones. The same seed and the same order of calls give the same faults.

use super::model::value::{Item, Value};
use super::rng::Rng;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// What a rule may look at.
#[derive(Debug, Default)]
pub struct Call<'a> {
    /// Operation name: "PutItem", "GetRecords". Empty when the protocol has none.
    pub op: &'a str,
    /// The tables, the bucket or the queue named.
    pub tables: Vec<&'a str>,
    /// The object named.
    pub objects: Vec<&'a str>,
    /// The shard read.
    pub shard: Option<&'a str>,
    /// The segment scanned, of a parallel scan.
    pub segment: Option<u64>,
    /// Items put and keys named, as they came. Of a scan: the key it goes on from, none on its first page.
    pub items: Vec<&'a Item>,
    /// Request path and query.
    pub path: &'a str,
    /// Request body.
    pub body: &'a [u8],
}

type Predicate = Arc<dyn Fn(&Call<'_>) -> bool + Send + Sync>;

/// When something goes wrong, and what. Built as
/// `FaultRule::on("BatchWriteItem").table("orders").nth(3).fault(Fault::LoseAnswer)`.
#[derive(Clone)]
pub struct FaultRule<A> {
    op: Option<String>,
    table: Option<String>,
    shard: Option<String>,
    segment: Option<u64>,
    predicates: Vec<Predicate>,
    skip: u64,
    times: u64,
    probability: f64,
    lasting: Option<Duration>,
    action: A,
}

impl FaultRule<()> {
    /// A rule for one operation; "*" is every operation.
    pub fn on(op: impl Into<String>) -> Self {
        let op = op.into();
        Self {
            op: (op != "*").then_some(op),
            table: None,
            shard: None,
            segment: None,
            predicates: Vec::new(),
            skip: 0,
            times: u64::MAX,
            probability: 1.0,
            lasting: None,
            action: (),
        }
    }

    /// Says what happens, and completes the rule.
    pub fn fault<A>(self, action: A) -> FaultRule<A> {
        let Self { op, table, shard, segment, predicates, skip, times, probability, lasting, action: () } = self;
        FaultRule { op, table, shard, segment, predicates, skip, times, probability, lasting, action }
    }
}

impl<A> FaultRule<A> {
    /// Only calls that name this table.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = Some(table.into());
        self
    }

    /// Only reads of this shard.
    #[must_use]
    pub fn shard(mut self, shard: impl Into<String>) -> Self {
        self.shard = Some(shard.into());
        self
    }

    /// Only pages of this segment of a parallel scan.
    #[must_use]
    pub fn segment(mut self, segment: u64) -> Self {
        self.segment = Some(segment);
        self
    }

    /// Only calls that name this bucket.
    #[must_use]
    pub fn bucket(self, bucket: impl Into<String>) -> Self {
        self.table(bucket)
    }

    /// Only calls that name this queue.
    #[must_use]
    pub fn queue(self, queue: impl Into<String>) -> Self {
        self.table(queue)
    }

    /// Only calls that name this object: of a copy the one that is written.
    #[must_use]
    pub fn object(self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.when(move |call| call.objects.contains(&key.as_str()))
    }

    /// Only calls with an item or a key that has this attribute value.
    #[must_use]
    pub fn key(self, name: impl Into<String>, value: Value) -> Self {
        let name = name.into();
        self.when(move |call| call.items.iter().any(|item| item.get(&name) == Some(&value)))
    }

    /// Only calls this predicate likes; several must all agree.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Arc::new(predicate));
        self
    }

    /// Lets the first `calls` matching calls pass.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Only the `n`-th matching call, from 1.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        self.after(n.saturating_sub(1)).times(1)
    }

    /// At most this many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// With this probability for each matching call.
    #[must_use]
    pub fn probability(mut self, p: f64) -> Self {
        self.probability = p;
        self
    }

    /// For this long after it was added, by the clock of what it is added to.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        self.op.as_deref().is_none_or(|op| op == call.op)
            && self.table.as_deref().is_none_or(|table| call.tables.contains(&table))
            && self.shard.as_deref().is_none_or(|shard| call.shard == Some(shard))
            && self.segment.is_none_or(|segment| call.segment == Some(segment))
            && self.predicates.iter().all(|predicate| predicate(call))
    }
}

impl<A: fmt::Debug> fmt::Debug for FaultRule<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultRule")
            .field("op", &self.op)
            .field("table", &self.table)
            .field("shard", &self.shard)
            .field("segment", &self.segment)
            .field("predicates", &self.predicates.len())
            .field("skip", &self.skip)
            .field("times", &self.times)
            .field("probability", &self.probability)
            .field("lasting", &self.lasting)
            .field("action", &self.action)
            .finish()
    }
}

/// A rule that was added: asks how often it fired, or takes it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

struct Active<A> {
    id: FaultId,
    rule: FaultRule<A>,
    until: Option<SystemTime>,
    seen: u64,
    fired: u64,
    removed: bool,
}

struct Rules<A> {
    rng: Rng,
    rules: Vec<Active<A>>,
}

/// The rules in force.
pub(crate) struct Faults<A> {
    /// So that a server without rules pays one load for a call.
    any: AtomicBool,
    rules: Mutex<Rules<A>>,
}

impl<A: Clone> Faults<A> {
    pub(crate) fn new(seed: u64) -> Self {
        Self { any: AtomicBool::new(false), rules: Mutex::new(Rules { rng: Rng::new(seed), rules: Vec::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Rules<A>> {
        // A predicate that panics leaves nothing half done.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self, rule: FaultRule<A>, now: SystemTime) -> FaultId {
        let mut rules = self.lock();
        let id = FaultId(rules.rules.len() as u64);
        let until = rule.lasting.map(|lasting| now + lasting);
        rules.rules.push(Active { id, rule, until, seen: 0, fired: 0, removed: false });
        self.any.store(true, Ordering::SeqCst);
        id
    }

    /// Takes a rule away; its count stays.
    pub(crate) fn remove(&self, id: FaultId) {
        let mut rules = self.lock();
        if let Some(active) = rules.rules.iter_mut().find(|active| active.id == id) {
            active.removed = true;
        }
        self.any.store(rules.rules.iter().any(|active| !active.removed), Ordering::SeqCst);
    }

    pub(crate) fn clear(&self) {
        let mut rules = self.lock();
        rules.rules.iter_mut().for_each(|active| active.removed = true);
        self.any.store(false, Ordering::SeqCst);
    }

    /// How often a rule fired.
    pub(crate) fn fired(&self, id: FaultId) -> u64 {
        self.lock().rules.iter().find(|active| active.id == id).map_or(0, |active| active.fired)
    }

    /// How often any rule fired.
    pub(crate) fn fired_in_all(&self) -> u64 {
        self.lock().rules.iter().map(|active| active.fired).sum()
    }

    /// What goes wrong with this call, if anything.
    pub(crate) fn decide(&self, call: &Call<'_>, now: SystemTime) -> Option<A> {
        let mut rules = self.lock();
        let Rules { rng, rules } = &mut *rules;
        for active in rules.iter_mut().filter(|active| !active.removed) {
            if active.until.is_some_and(|until| now >= until) || !active.rule.matches(call) {
                continue;
            }
            active.seen += 1;
            let due = active.seen > active.rule.skip && active.fired < active.rule.times;
            if due && (active.rule.probability >= 1.0 || rng.chance(active.rule.probability)) {
                active.fired += 1;
                return Some(active.rule.action.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, FaultRule, Faults};
    use std::time::{Duration, UNIX_EPOCH};

    fn call(op: &str) -> Call<'_> {
        Call { op, tables: vec!["t"], ..Call::default() }
    }

    #[test]
    fn nth_times_and_duration_bound_a_rule() {
        let faults = Faults::new(1);
        let third = faults.add(FaultRule::on("PutItem").nth(3).fault('n'), UNIX_EPOCH);
        let short = faults.add(FaultRule::on("*").table("t").lasting(Duration::from_secs(5)).fault('d'), UNIX_EPOCH);
        let late = UNIX_EPOCH + Duration::from_secs(5);
        assert_eq!(faults.decide(&call("GetItem"), UNIX_EPOCH), Some('d'));
        assert_eq!(faults.decide(&call("GetItem"), late), None);
        let seen: Vec<_> = (0..4).map(|_| faults.decide(&call("PutItem"), late)).collect();
        assert_eq!(seen, [None, None, Some('n'), None]);
        assert_eq!((faults.fired(third), faults.fired(short), faults.fired_in_all()), (1, 1, 2));
        faults.remove(third);
        assert!(faults.any());
        faults.clear();
        assert!(!faults.any());
    }

    #[test]
    fn the_seed_decides_the_dice() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults.add(FaultRule::on("*").probability(0.3).fault(()), UNIX_EPOCH);
            (0..1000).map(|_| faults.decide(&call("x"), UNIX_EPOCH).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let hits = run(7).into_iter().filter(|hit| *hit).count();
        assert!((250..350).contains(&hits), "{hits}");
    }
}
