//! The shape of two tables: keys, indexes, and whether they are still the tables that they were.

use std::collections::BTreeMap;

use super::{Pair, Place, check};
use crate::change::Finding;
use crate::stores::dynamodb::facts::{Facts, Index, KeyPart};

/// DS-1: the table and the stream that were adopted.
pub(super) fn incarnation(pair: &Pair, source: &Facts) -> Option<Finding> {
    let place = &pair.source.place;
    let adopted = pair.adopted.as_ref()?;
    Some(if adopted.table_id != source.id {
        place
            .problem(check::INCARNATION, "it was deleted and created again: prodY holds a copy of another table")
            .to_do("the store has a gap until it is seeded again")
    } else if source.stream_arn.as_deref() != Some(adopted.stream_arn.as_str()) {
        place
            .problem(
                check::INCARNATION,
                "its stream was switched off and on again: what was written between is in neither stream",
            )
            .to_do("the store has a gap until it is seeded again")
    } else {
        place.ok(check::INCARNATION, "the table and the stream that were adopted")
    })
}

/// AWS must not replicate what we copy.
pub(super) fn global(pair: &Pair) -> Vec<Finding> {
    let mut found = Vec::new();
    for seen in [&pair.source, &pair.standby] {
        let Ok(facts) = &seen.table else { continue };
        let place = &seen.place;
        found.push(if facts.replicas.is_empty() {
            place.ok(check::GLOBAL_TABLE, "it has no replicas of its own")
        } else {
            let what = format!("it is a global table with replicas in {}", facts.replicas.join(", "));
            place
                .problem(check::GLOBAL_TABLE, what)
                .to_do("AWS replicates it already: do not copy it a second time; remove this store")
        });
    }
    found
}

/// The primary key decides which items are the same: it must be equal.
pub(super) fn keys(place: &Place, source: &Facts, standby: &Facts) -> Finding {
    if source.keys == standby.keys {
        return place.ok(check::KEY_SCHEMA, format!("its key is {}", words(&standby.keys)));
    }
    let what = format!("its key is {}, and the primary table's is {}", words(&standby.keys), words(&source.keys));
    place
        .problem(check::KEY_SCHEMA, what)
        .to_do("the key of a table cannot be changed: create the standby table anew, with the primary's key")
}

/// `pk (S), sk (N)`.
fn words(keys: &[KeyPart]) -> String {
    keys.iter().map(|key| format!("{} ({})", key.name, key.kind)).collect::<Vec<_>>().join(", ")
}

/// AP-6, AP-8: an index that the source lacks may refuse its items; one that the standby lacks is missed after a promotion.
pub(super) fn indexes(place: &Place, source: &Facts, standby: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    set(place, "global", &source.globals, &standby.globals, source, &mut found);
    set(place, "local", &source.locals, &standby.locals, source, &mut found);
    if found.is_empty() {
        let all: Vec<&str> = standby.globals.keys().chain(standby.locals.keys()).map(String::as_str).collect();
        let what =
            if all.is_empty() { "no indexes".to_owned() } else { format!("the same indexes: {}", all.join(", ")) };
        found.push(place.ok(check::INDEXES, what));
    }
    found
}

fn set(
    place: &Place,
    kind: &str,
    source: &BTreeMap<String, Index>,
    standby: &BTreeMap<String, Index>,
    table: &Facts,
    found: &mut Vec<Finding>,
) {
    let local = kind == "local";
    for (name, wanted) in source {
        let Some(index) = standby.get(name) else {
            let what = format!("the {kind} index {name} is missing: queries by it fail after a promotion");
            let todo = match local {
                true => "a local index is made with its table: create the standby table anew".to_owned(),
                false => format!("create it with the key {}, projecting {}", words(&wanted.keys), wanted.projection),
            };
            let finding = place.problem(check::INDEXES, what).to_do(todo);
            found.push(if local { finding } else { finding.command(create(place, name, wanted)) });
            continue;
        };
        if index.keys != wanted.keys {
            let what = format!(
                "the key of the {kind} index {name} is {}, and the primary's is {}: it may refuse items",
                words(&index.keys),
                words(&wanted.keys)
            );
            let finding = place.problem(check::INDEXES, what).to_do("delete it and create it as in the primary");
            found.push(if local { finding } else { finding.command(delete(place, name)) });
        } else if index.projection != wanted.projection {
            let what = format!(
                "the {kind} index {name} projects {}, and the primary's {}: queries by it find other attributes",
                index.projection, wanted.projection
            );
            found.push(place.warning(check::INDEXES, what).to_do("delete it and create it as in the primary"));
        } else if !index.active {
            let what = format!("the {kind} index {name} is still being built");
            found.push(place.warning(check::INDEXES, what).to_do("wait until it is ACTIVE"));
        }
    }
    for (name, index) in standby.iter().filter(|(name, _)| !source.contains_key(*name)) {
        let foreign = index.keys.iter().find(|key| table.types.get(&key.name) != Some(&key.kind));
        let finding = match foreign {
            Some(key) => {
                let what = format!(
                    "only the standby has the {kind} index {name}: an item whose {} is no {} is refused by it, and by \
                     nothing in the primary",
                    key.name,
                    kind_words(&key.kind)
                );
                place.problem(check::INDEXES, what).to_do("delete it, or add it to the primary table")
            }
            None => place
                .note(check::INDEXES, format!("only the standby has the {kind} index {name}; it can refuse no item"))
                .to_do("each write pays for it"),
        };
        found.push(if local { finding } else { finding.command(delete(place, name)) });
    }
}

fn kind_words(kind: &str) -> &'static str {
    match kind {
        "N" => "number",
        "B" => "binary",
        _ => "string",
    }
}

fn delete(place: &Place, index: &str) -> String {
    place.aws(
        "update-table",
        &format!("--global-secondary-index-updates '[{{\"Delete\":{{\"IndexName\":\"{index}\"}}}}]'"),
    )
}

fn create(place: &Place, name: &str, index: &Index) -> String {
    let definitions: Vec<String> =
        index.keys.iter().map(|key| format!("AttributeName={},AttributeType={}", key.name, key.kind)).collect();
    let keys: Vec<serde_json::Value> =
        index.keys.iter().map(|key| serde_json::json!({"AttributeName": key.name, "KeyType": key.role})).collect();
    let (kind, names) = index.projection.split_once(' ').unwrap_or((&index.projection, ""));
    let mut projection = serde_json::json!({"ProjectionType": kind});
    if !names.is_empty() {
        projection["NonKeyAttributes"] = names.split(", ").collect();
    }
    let update = serde_json::json!([{"Create": {"IndexName": name, "KeySchema": keys, "Projection": projection}}]);
    place.aws(
        "update-table",
        &format!("--attribute-definitions {} --global-secondary-index-updates '{update}'", definitions.join(" ")),
    )
}
