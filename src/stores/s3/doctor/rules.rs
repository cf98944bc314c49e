//! The rules of EventBridge that are on the way of an event, from what they send to backwards.

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::{RuleState, Target};

use super::ask::{Asking, missing_is};
use crate::stores::s3::drift::Asked;
use crate::stores::s3::facts::Hop;

/// Where S3 sends its events.
const DEFAULT_BUS: &str = "default";
/// Buses that are looked at, at most.
const MOST_BUSES: usize = 20;

/// The ARNs of the buses in prodY from which rules lead to the queue, and those rules.
pub(super) async fn arriving(asking: Asking<'_>, client: &Client, queue: &str) -> (Vec<String>, Asked<Vec<Hop>>) {
    let all = asking.again("events:ListEventBuses", || client.list_event_buses().send()).await;
    let all = match all {
        Ok(answer) => answer.event_buses.unwrap_or_default(),
        Err(refused) => return (Vec::new(), Err(refused)),
    };
    let (mut buses, mut hops) = (Vec::new(), Vec::new());
    for (name, arn) in all.into_iter().filter_map(|bus| Some((bus.name?, bus.arn?))).take(MOST_BUSES) {
        match of_bus(asking, client, &name, queue).await {
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                buses.push(arn);
                hops.extend(found);
            }
            Err(refused) => return (buses, Err(refused)),
        }
    }
    (buses, Ok(hops))
}

/// The rules in prodX that lead to one of these buses.
pub(super) async fn leaving(asking: Asking<'_>, client: &Client, buses: &[String]) -> Asked<Vec<Hop>> {
    let mut hops = Vec::new();
    for bus in buses {
        hops.extend(of_bus(asking, client, DEFAULT_BUS, bus).await?);
    }
    Ok(hops)
}

/// The rules of one bus that lead to a target.
async fn of_bus(asking: Asking<'_>, client: &Client, bus: &str, target: &str) -> Asked<Vec<Hop>> {
    let ask = || client.list_rule_names_by_target().event_bus_name(bus).target_arn(target).send();
    let asked =
        asking.again("events:ListRuleNamesByTarget", ask).await.map(|answer| answer.rule_names.unwrap_or_default());
    let names = missing_is(Vec::new(), asked)?;
    let mut hops = Vec::new();
    for rule in names {
        let ask = || client.describe_rule().event_bus_name(bus).name(&rule).send();
        let described = asking.again("events:DescribeRule", ask).await?;
        let ask = || client.list_targets_by_rule().event_bus_name(bus).rule(&rule).send();
        let targets = asking.again("events:ListTargetsByRule", ask).await?.targets.unwrap_or_default();
        let to = targets.iter().find(|to| to.arn() == target);
        hops.push(Hop {
            enabled: described.state() != Some(&RuleState::Disabled),
            pattern: described.event_pattern().map(str::to_owned),
            rewritten: to.is_some_and(rewrites),
            attempts: to.and_then(|to| to.retry_policy()).and_then(|retry| retry.maximum_retry_attempts()),
            age: to.and_then(|to| to.retry_policy()).and_then(|retry| retry.maximum_event_age_in_seconds()),
            dead_letters: to.and_then(|to| to.dead_letter_config()).and_then(|dead| dead.arn()).map(str::to_owned),
            bus: bus.to_owned(),
            rule,
        });
    }
    Ok(hops)
}

/// What arrives is not the event as it came.
fn rewrites(target: &Target) -> bool {
    target.input().is_some()
        || target.input_path().is_some_and(|path| path != "$")
        || target.input_transformer().is_some()
}
