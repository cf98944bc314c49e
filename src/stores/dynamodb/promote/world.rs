//! What a description says about a step: done, not started, on its way, or in a state that it cannot lead on from. Pure.

use std::collections::BTreeMap;

use crate::promote::World;
use crate::stores::dynamodb::facts::{Facts, Ttl, Units};

/// A table that cannot be changed now, or never again.
fn busy(facts: &Facts) -> Option<World> {
    match facts.status.as_str() {
        "ACTIVE" => None,
        "UPDATING" | "CREATING" => Some(World::InProgress(format!("the table is {}", facts.status))),
        other => Some(World::Conflict(format!("the table is {other}"))),
    }
}

/// Is it so already, or can it be made so now? What it is counts more than what it is busy with.
fn settle(facts: &Facts, is: Option<String>, now: impl FnOnce() -> String) -> World {
    match (is, busy(facts)) {
        (_, Some(World::Conflict(why))) => World::Conflict(why),
        (Some(is), _) => World::Done(is),
        (None, Some(busy)) => busy,
        (None, None) => World::NotStarted(now()),
    }
}

pub(super) fn stream(facts: &Facts) -> World {
    match facts.stream.as_deref() {
        Some(view @ ("NEW_AND_OLD_IMAGES" | "NEW_IMAGE")) => {
            settle(facts, Some(format!("its stream is on ({view})")), String::new)
        }
        // Changing the view means switching it off first, and losing what is in it.
        Some(view) => World::Conflict(format!("its stream is on with {view}: a failback cannot copy by it")),
        None => settle(facts, None, || "its stream is off".into()),
    }
}

pub(super) fn protection(facts: &Facts) -> World {
    let is = facts.protected.then(|| "it is protected from deletion".to_owned());
    settle(facts, is, || "it is not protected from deletion".into())
}

pub(super) fn on_demand(facts: &Facts) -> World {
    let is = facts.on_demand.then(|| "it is on demand".to_owned());
    settle(facts, is, || format!("it has {} read and {} write units", facts.units.read, facts.units.write))
}

pub(super) fn at_least(read: i64, write: i64, facts: &Facts) -> World {
    if facts.on_demand {
        return settle(facts, Some("it is on demand, and has no capacity to raise".into()), String::new);
    }
    let raise = raise(read, write, facts);
    let has = format!("it has {} read and {} write units", facts.units.read, facts.units.write);
    let is = raise.nothing().then(|| has.clone());
    settle(facts, is, || match raise.indexes.len() {
        0 => has,
        n => format!("{has}; {n} of its indexes have too few"),
    })
}

pub(super) fn ttl(wanted: &str, ttl: &Ttl) -> World {
    match ttl {
        Ttl::On(attribute) if attribute == wanted => World::Done(format!("TTL is on ({attribute})")),
        Ttl::Enabling(attribute) if attribute == wanted => {
            World::InProgress(format!("TTL is being enabled ({attribute}); AWS takes up to an hour"))
        }
        Ttl::On(other) | Ttl::Enabling(other) => {
            World::Conflict(format!("TTL is on by {other}, not by {wanted}: switch it off, an hour later on again"))
        }
        Ttl::Disabling => World::Conflict("TTL is being switched off; enable it by hand in an hour".into()),
        Ttl::Off => World::NotStarted("TTL is off".into()),
    }
}

/// What has too few units, with what it is to have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Raise {
    pub(super) table: Option<Units>,
    pub(super) indexes: BTreeMap<String, Units>,
}

impl Raise {
    fn nothing(&self) -> bool {
        self.table.is_none() && self.indexes.is_empty()
    }
}

/// To at least so much, and nothing is lowered. An index throttles its table (AP-10), so it is raised too.
pub(super) fn raise(read: i64, write: i64, facts: &Facts) -> Raise {
    let lifted = |has: Units| {
        let wanted = Units { read: has.read.max(read), write: has.write.max(write) };
        (wanted != has).then_some(wanted)
    };
    Raise {
        table: lifted(facts.units),
        indexes: facts.globals.iter().filter_map(|(name, i)| Some((name.clone(), lifted(i.units)?))).collect(),
    }
}
