//! How EventBridge passes the events on: a rule in prodX to a bus in prodY, and a rule there to the queue (S3-F3).
//!
//! Where rules are in another account, or may not be looked at, this says little; what arrives is measured all the same.

use serde_json::Value;

use super::{Pair, SeenRules, check, path};
use crate::change::Finding;
use crate::stores::s3::facts::Hop;
use crate::stores::s3::settings::S3Settings;

/// What EventBridge tries on its own, unless a bus or a target says less.
const ATTEMPTS: i32 = 185;
const AGE: i32 = 86_400;
const DEFAULT_BUS: &str = "default";

pub(super) fn judge(pair: &Pair) -> Vec<Finding> {
    // Direct notifications need no rules.
    match &pair.notifications {
        Ok(sent) if sent.event_bridge => {}
        _ => return Vec::new(),
    }
    let mut found = Vec::new();
    let (leaving, arriving) = (&pair.leaving, &pair.arriving);
    found.extend(side(&pair.settings, leaving, "sends the bucket's events to the bus of the standby region"));
    found.extend(side(&pair.settings, arriving, "sends them to the queue"));
    found
}

fn side(settings: &S3Settings, seen: &SeenRules, does: &str) -> Vec<Finding> {
    let Ok(hops) = &seen.hops else { return Vec::new() };
    let place = &seen.place;
    if hops.is_empty() {
        let finding = place.warning(check::EVENT_RULES, format!("no rule is seen that {does}")).to_do(
            "make it (config/infrastructure/s3-events.yaml), unless it is in another account; a canary proves the way",
        );
        return vec![finding];
    }
    let judged: Vec<Vec<Finding>> = hops.iter().map(|hop| one(settings, seen, hop)).collect();
    // One good way is enough.
    match judged.iter().position(Vec::is_empty) {
        Some(at) => {
            let name = hops.get(at).map_or("a rule", |hop| hop.rule.as_str());
            vec![place.ok(check::EVENT_RULES, format!("rule {name} {does}"))]
        }
        None => judged.into_iter().flatten().collect(),
    }
}

/// What is wrong with one rule.
fn one(settings: &S3Settings, seen: &SeenRules, hop: &Hop) -> Vec<Finding> {
    let place = &seen.place;
    let rule = format!("rule {} of bus {}", hop.rule, hop.bus);
    let mut found = Vec::new();
    if !hop.enabled {
        found.push(place.problem(check::EVENT_RULES, format!("{rule} is disabled")).to_do("enable it").command(
            format!(
                "aws events enable-rule --region {} --name {} --event-bus-name {}",
                place.region, hop.rule, hop.bus
            ),
        ));
    }
    if hop.rewritten {
        found.push(
            place
                .problem(
                    check::EVENT_RULES,
                    format!("{rule} rewrites the event: it arrives without its time and is not understood"),
                )
                .to_do("take the input, input path or input transformer off its target"),
        );
    }
    if let Err(why) = lets_through(settings, hop.pattern.as_deref()) {
        found.push(
            place
                .problem(check::EVENT_RULES, format!("{rule} {why}"))
                .to_do("write the pattern as in config/infrastructure/s3-events.yaml: source aws.s3 and the bucket's name, nothing else"),
        );
    }
    let (attempts, age) = (hop.attempts, hop.age);
    let careless = attempts.is_some_and(|n| n < ATTEMPTS) || age.is_some_and(|seconds| seconds < AGE);
    let unsaid = (attempts.is_none() || age.is_none()) && hop.bus != DEFAULT_BUS;
    if careless || unsaid {
        let what = match careless {
            true => format!(
                "{rule} gives an event up after {} attempts or {} s: an outage that is longer loses it",
                attempts.unwrap_or(ATTEMPTS),
                age.unwrap_or(AGE)
            ),
            false => {
                format!("{rule} has no retry policy, and a new bus gives an event up after 300 s: an outage loses it")
            }
        };
        found.push(
            place
                .warning(check::EVENT_RULES, what)
                .to_do(format!("give its target a retry policy of {ATTEMPTS} attempts and {AGE} s")),
        );
    }
    if hop.dead_letters.is_none() {
        found.push(
            place
                .warning(check::EVENT_RULES, format!("{rule} drops an event that it cannot deliver, and nobody knows"))
                .to_do("give its target a dead-letter queue, and an alarm on what is in it"),
        );
    }
    found
}

/// `Err`: which events the pattern keeps back.
fn lets_through(settings: &S3Settings, pattern: Option<&str>) -> Result<(), String> {
    let pattern = pattern.ok_or("goes by a clock and not by events")?;
    let pattern: Value = serde_json::from_str(pattern).map_err(|_| "has a pattern that is no JSON")?;
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .map(|all| all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
            .unwrap_or_default()
    };
    // A matcher that is no plain text (`prefix`, `exists`, `wildcard`) is given the benefit of the doubt.
    let names = |value: &Value, wanted: &str| {
        let all = value.as_array();
        all.is_none_or(|all| all.iter().any(|one| one.as_str().is_none_or(|text| text == wanted)))
    };
    if pattern.get("source").is_some_and(|source| !names(source, "aws.s3")) {
        return Err("does not let events of aws.s3 through".into());
    }
    if let Some(types) = pattern.get("detail-type") {
        let plain = texts(types);
        let all_plain = types.as_array().is_some_and(|all| all.len() == plain.len());
        let missing: Vec<&str> =
            needed(settings).into_iter().filter(|name| all_plain && !plain.iter().any(|have| have == name)).collect();
        if !missing.is_empty() {
            return Err(format!("keeps back {}", missing.join(", ")));
        }
    }
    let detail = pattern.get("detail");
    let of = |name: &str| detail.and_then(|detail| detail.get(name));
    if let Some(bucket) = of("bucket").and_then(|bucket| bucket.get("name"))
        && !names(bucket, &settings.bucket)
    {
        return Err(format!("does not let events of {} through", settings.bucket));
    }
    if let Some(keys) = of("object").and_then(|object| object.get("key")) {
        let prefixes = keys.as_array().map(|all| all.iter().map(|one| one.get("prefix").and_then(Value::as_str)));
        let covers = |prefix: Option<&str>| prefix.is_some_and(|prefix| settings.prefix.starts_with(prefix));
        if !prefixes.is_some_and(|mut all| all.any(covers)) {
            return Err("keeps back some of the keys that are kept warm".into());
        }
    }
    match ["reason", "deletion-type", "object.size"].into_iter().find(|name| of(name).is_some()) {
        Some(name) => Err(format!("keeps events back by their {name}")),
        None => Ok(()),
    }
}

/// The kinds of events that must come, in EventBridge's words.
fn needed(settings: &S3Settings) -> Vec<&'static str> {
    let mut needed = Vec::new();
    for (event, _) in path::wanted(settings) {
        needed.extend(match event {
            "s3:ObjectCreated:*" => &["Object Created"][..],
            // Deletions by lifecycle rules are among them.
            "s3:ObjectRemoved:*" => &["Object Deleted"],
            "s3:ObjectTagging:*" => &["Object Tags Added", "Object Tags Deleted"],
            "s3:ObjectAcl:Put" => &["Object ACL Updated"],
            _ => &[],
        });
    }
    needed
}
