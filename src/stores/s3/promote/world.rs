//! What a description says about a step: done, not started, or in a state that it cannot lead on from. Pure.

use aws_sdk_s3::types::{ReplicationConfiguration, ReplicationRule, ReplicationRuleStatus};
use aws_sdk_s3control::types::MultiRegionAccessPointRoute;

use crate::promote::World;
use crate::stores::s3::facts::bucket_of;
use crate::stores::s3::facts::lifecycle::Rule;

/// All traffic, and none.
const ACTIVE: i32 = 100;
const PASSIVE: i32 = 0;
/// AWS takes so many rules in one bucket.
const MOST_RULES: usize = 1000;

/// One route of an access point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Route {
    pub(super) bucket: Option<String>,
    pub(super) region: Option<String>,
    pub(super) dial: i32,
}

impl Route {
    pub(super) fn of(route: &MultiRegionAccessPointRoute) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self { bucket: text(route.bucket()), region: text(route.region()), dial: route.traffic_dial_percentage() }
    }

    fn is(&self, bucket: &str) -> bool {
        self.bucket.as_deref() == Some(bucket)
    }
}

/// The rule of the standby that stands for one of the source: of the same id, or, without ids, the same rule.
fn stands_for<'a>(source: &Rule, standby: &'a [Rule]) -> Option<&'a Rule> {
    let same = |rule: &&Rule| match (&source.id, &rule.id) {
        (Some(one), Some(other)) => one == other,
        _ => rule.on() == source.on(),
    };
    standby.iter().find(same)
}

/// Every rule that is enabled in the source is enabled in the standby.
pub(super) fn lifecycle(source: &[Rule], standby: &[Rule]) -> World {
    let missing: Vec<&str> = source
        .iter()
        .filter(|rule| rule.enabled && !stands_for(rule, standby).is_some_and(|own| own.enabled))
        .map(Rule::name)
        .collect();
    let all = enabled(source, standby).len();
    match missing.as_slice() {
        [] => World::Done("the rules of the source are enabled".into()),
        _ if all > MOST_RULES => World::Conflict(format!("there would be {all} rules, and AWS takes {MOST_RULES}")),
        some => World::NotStarted(format!("not enabled: {}", some.join(", "))),
    }
}

/// The standby's rules with those of the source enabled: as they are prepared there, and the source's own where none is.
pub(super) fn enabled(source: &[Rule], standby: &[Rule]) -> Vec<Rule> {
    let wanted: Vec<&Rule> = source.iter().filter(|rule| rule.enabled).collect();
    let is_wanted = |own: &Rule| wanted.iter().any(|rule| stands_for(rule, std::slice::from_ref(own)).is_some());
    let mut all: Vec<Rule> = standby.iter().map(|own| if is_wanted(own) { own.on() } else { own.clone() }).collect();
    all.extend(wanted.iter().filter(|rule| stands_for(rule, standby).is_none()).map(|rule| rule.on()));
    all
}

/// The standby takes the traffic and the primary none.
pub(super) fn routes(standby: &str, primary: &str, routes: &[Route]) -> World {
    let dial = |bucket: &str| routes.iter().find(|route| route.is(bucket)).map(|route| route.dial);
    let words = |dial: i32| if dial == PASSIVE { "passive" } else { "active" };
    match (dial(standby), dial(primary)) {
        (None, _) => World::Conflict(format!("the access point has no route to {standby}")),
        (Some(ACTIVE), None | Some(PASSIVE)) => World::Done(format!("{standby} is active")),
        (Some(y), x) => {
            let x = x.map_or_else(|| "is not there".to_owned(), |x| format!("is {}", words(x)));
            World::NotStarted(format!("{standby} is {}, {primary} {x}", words(y)))
        }
    }
}

/// What is sent to make it so: the routes of other buckets are left alone.
pub(super) fn turned(standby: &str, primary: &str, routes: &[Route]) -> Vec<Route> {
    let to =
        |bucket: &str, dial| routes.iter().find(|route| route.is(bucket)).map(|route| Route { dial, ..route.clone() });
    [to(standby, ACTIVE), to(primary, PASSIVE)].into_iter().flatten().collect()
}

/// The wanted rules are there and enabled. A configuration that holds others is somebody else's: putting ours would
/// remove it.
pub(super) fn replication(wanted: &ReplicationConfiguration, have: Option<&ReplicationConfiguration>) -> World {
    let Some(have) = have else { return World::NotStarted("there is no replication".into()) };
    let found = |rule: &ReplicationRule, among: &[ReplicationRule], on: bool| {
        among.iter().any(|other| same(rule, other) && (!on || *other.status() == ReplicationRuleStatus::Enabled))
    };
    if let Some(foreign) = have.rules().iter().find(|rule| !found(rule, wanted.rules(), false)) {
        let name = foreign.id().unwrap_or("without an id");
        return World::Conflict(format!("the bucket has a replication rule that is not in the file: {name}"));
    }
    let missing: Vec<&str> = wanted
        .rules()
        .iter()
        .filter(|rule| *rule.status() == ReplicationRuleStatus::Enabled && !found(rule, have.rules(), true))
        .map(|rule| rule.id().unwrap_or("without an id"))
        .collect();
    match missing.as_slice() {
        [] if have.role() == wanted.role() => World::Done("the replication is as in the file".into()),
        [] => World::NotStarted("the replication has another role".into()),
        some => World::NotStarted(format!("not enabled: {}", some.join(", "))),
    }
}

/// Two descriptions of one rule: AWS makes an id where none was given.
fn same(one: &ReplicationRule, other: &ReplicationRule) -> bool {
    let to = |rule: &ReplicationRule| rule.destination().map(|to| bucket_of(to.bucket()).to_owned());
    let ids = match (one.id(), other.id()) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    ids && to(one) == to(other)
}
