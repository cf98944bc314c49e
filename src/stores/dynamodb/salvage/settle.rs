//! Writing to the standby table what an operator named, if it holds exactly what that was based on.
//!
//! Look, then write under a condition that repeats what was seen: every attribute as it was, and no attribute of the new
//! image that was not there. One write can slip through such a condition, in the moment between the two: one that adds an
//! attribute that is in neither image and changes nothing else. The write gives back what it replaced, so that is noticed
//! and handed over instead of lost.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};

use super::image::{digest, image};
use crate::aws::{classify, words};
use crate::change::Class;
use crate::stores::StoreError;
use crate::stores::dynamodb::Table;
use crate::stores::dynamodb::item::{Item, identity, map_from_json};
use crate::stores::salvage::{Digest, Settled, Wish};

/// Attributes in a condition, at most: an expression has 4 KB.
const MOST_ATTRIBUTES: usize = 100;
/// Attempts at one write whose outcome is not known.
const TRIES: u32 = 3;

/// A condition, with what it names.
#[derive(Debug, Default)]
struct Condition {
    clauses: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Condition {
    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#a{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    /// The item is exactly `held`, as far as a condition can say, and can become `wanted`.
    fn of(key: &Item, held: Option<&Item>, wanted: Option<&Item>) -> Self {
        let mut condition = Self::default();
        let first = key.keys().min().map_or("", String::as_str);
        let Some(held) = held else {
            let name = condition.name(first);
            condition.clauses.push(format!("attribute_not_exists({name})"));
            return condition;
        };
        let name = condition.name(first);
        condition.clauses.push(format!("attribute_exists({name})"));
        for (name, value) in held.iter().filter(|(name, _)| !key.contains_key(*name)) {
            let placeholder = condition.name(name);
            let number = format!(":v{}", condition.values.len());
            condition.clauses.push(format!("{placeholder} = {number}"));
            condition.values.insert(number, value.clone());
        }
        for name in wanted.into_iter().flat_map(HashMap::keys).filter(|name| !held.contains_key(*name)) {
            let placeholder = condition.name(name);
            condition.clauses.push(format!("attribute_not_exists({placeholder})"));
        }
        condition
    }
}

/// A wish as items.
struct Wanted {
    key: Item,
    image: Option<Item>,
    based_on: Option<Item>,
}

impl Wanted {
    /// The names of the key's attributes are not asked for: the table refuses a key of other ones.
    fn read(wish: &Wish) -> Result<Self, String> {
        let read = |value: &serde_json::Value, what: &str| {
            map_from_json(value).ok_or_else(|| format!("{what} is not in the JSON of DynamoDB"))
        };
        let key = read(&wish.key, "the key")?;
        if key.is_empty() {
            return Err("the key is empty".into());
        }
        let wanted = Self {
            image: wish.image.as_ref().map(|value| read(value, "primary")).transpose()?,
            based_on: wish.based_on.as_ref().map(|value| read(value, "standby")).transpose()?,
            key,
        };
        for (item, what) in [(&wanted.image, "primary"), (&wanted.based_on, "standby")] {
            let of_item =
                item.as_ref().map(|item| identity(item.iter().filter(|(name, _)| wanted.key.contains_key(*name))));
            if of_item.is_some_and(|of_item| of_item != identity(&wanted.key)) {
                return Err(format!("{what} is an item of another key"));
            }
        }
        let count = |item: &Option<Item>| item.as_ref().map_or(0, HashMap::len);
        if count(&wanted.image) + count(&wanted.based_on) > 2 * MOST_ATTRIBUTES
            || count(&wanted.based_on) > MOST_ATTRIBUTES
        {
            return Err(format!(
                "it has more than {MOST_ATTRIBUTES} attributes, which no condition holds; write it by hand"
            ));
        }
        Ok(wanted)
    }
}

impl Table {
    pub(super) async fn settle_one(&self, wish: &Wish) -> Settled {
        let wanted = match Wanted::read(wish) {
            Ok(wanted) => wanted,
            Err(why) => return Settled::Refused(why),
        };
        let of = |item: Option<&Item>| item.map_or(Digest::ABSENT, digest);
        let (target, base) = (of(wanted.image.as_ref()), of(wanted.based_on.as_ref()));
        let mut sent = false;
        let mut why = String::new();
        for _ in 0..TRIES {
            let held = match self.look_at(&wanted.key).await {
                Ok(held) => held,
                Err(error) if matches!(error.class, Class::Invalid | Class::Denied) => {
                    return Settled::Refused(error.chain());
                }
                Err(error) => return Settled::Failed(error.chain()),
            };
            let holds = of(held.as_ref());
            if holds == target {
                // After an answer that did not come, this is most likely our own write.
                return if sent { Settled::Applied } else { Settled::Already };
            }
            if holds != base {
                return Settled::Changed;
            }
            let condition = Condition::of(&wanted.key, held.as_ref(), wanted.image.as_ref());
            match self.write_under(&wanted, condition).await {
                Ok(old) if of(old.as_ref()) == base => return Settled::Applied,
                Ok(old) => {
                    return Settled::Raced(old.as_ref().map_or_else(|| "null".to_owned(), |old| image(old).json));
                }
                Err(Refusal::Condition) => {}
                Err(Refusal::Invalid(what)) => return Settled::Refused(what),
                Err(Refusal::Other(what)) => (sent, why) = (true, what),
            }
        }
        if why.is_empty() { Settled::Changed } else { Settled::Failed(why) }
    }

    async fn look_at(&self, key: &Item) -> Result<Option<Item>, StoreError> {
        let on = self.standby_name_of();
        let found =
            self.batch_get(&self.target, &self.settings.standby_table, &on, std::slice::from_ref(key), false).await;
        found.map(|mut all| all.pop().flatten())
    }

    /// Writes, and gives what was there before.
    async fn write_under(&self, wanted: &Wanted, condition: Condition) -> Result<Option<Item>, Refusal> {
        let (table, on) = (&self.settings.standby_table, self.standby_name_of());
        let (text, names) = (condition.clauses.join(" AND "), Some(condition.names));
        let values = Some(condition.values).filter(|values| !values.is_empty());
        match &wanted.image {
            Some(item) => {
                let put = self.target.put_item().table_name(table).set_item(Some(item.clone()));
                let put = put.condition_expression(text).set_expression_attribute_names(names);
                let put = put.set_expression_attribute_values(values).return_values(ReturnValue::AllOld);
                let sent = put.send().await;
                sent.map(|answer| answer.attributes.filter(|old| !old.is_empty())).map_err(|e| {
                    let unmet = e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception());
                    refusal(unmet, &e, "PutItem", &on)
                })
            }
            None => {
                let delete = self.target.delete_item().table_name(table).set_key(Some(wanted.key.clone()));
                let delete = delete.condition_expression(text).set_expression_attribute_names(names);
                let delete = delete.set_expression_attribute_values(values).return_values(ReturnValue::AllOld);
                let sent = delete.send().await;
                sent.map(|answer| answer.attributes.filter(|old| !old.is_empty())).map_err(|e| {
                    let unmet = e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception());
                    refusal(unmet, &e, "DeleteItem", &on)
                })
            }
        }
    }
}

/// Why a write was not carried out.
enum Refusal {
    /// The item is not what it was a moment ago.
    Condition,
    /// The table will never take it.
    Invalid(String),
    /// Nobody knows, or not now.
    Other(String),
}

fn refusal<E>(
    unmet: bool,
    error: &SdkError<E, aws_smithy_runtime_api::client::orchestrator::HttpResponse>,
    what: &str,
    on: &str,
) -> Refusal
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
{
    if unmet {
        return Refusal::Condition;
    }
    let said = format!("{what} on {on}: {}", words(error));
    match classify(error, true) {
        Class::Invalid | Class::Denied => Refusal::Invalid(said),
        _ => Refusal::Other(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn item(value: serde_json::Value) -> Item {
        map_from_json(&value).unwrap()
    }

    #[test]
    fn a_condition_repeats_what_was_seen_and_nothing_may_be_new() {
        let key = item(json!({"pk": {"S": "a"}}));
        let held = item(json!({"pk": {"S": "a"}, "v": {"N": "1"}}));
        let wanted = item(json!({"pk": {"S": "a"}, "v": {"N": "2"}, "w": {"N": "3"}}));
        let condition = Condition::of(&key, Some(&held), Some(&wanted));
        assert_eq!(condition.clauses, ["attribute_exists(#a0)", "#a1 = :v0", "attribute_not_exists(#a2)"]);
        assert_eq!(condition.names["#a2"], "w");
        let condition = Condition::of(&key, None, Some(&wanted));
        assert_eq!(condition.clauses, ["attribute_not_exists(#a0)"]);
        assert!(condition.values.is_empty());
    }

    #[test]
    fn a_wish_that_does_not_fit_its_key_is_refused() {
        let wish = |key, image, based_on| Wish { key, image, based_on };
        let (a, b) = (json!({"pk": {"S": "a"}}), json!({"pk": {"S": "b"}}));
        assert!(Wanted::read(&wish(a.clone(), Some(a.clone()), None)).is_ok());
        for bad in [
            wish(a.clone(), Some(b.clone()), None),
            wish(a.clone(), None, Some(b)),
            wish(json!({}), None, None),
            wish(json!({"pk": {"Q": "a"}}), None, None),
            wish(json!("a"), None, None),
            wish(a.clone(), Some(json!({"v": {"N": "1"}})), None),
        ] {
            assert!(Wanted::read(&bad).is_err(), "{bad:?}");
        }
        let wide: serde_json::Map<_, _> = (0..150).map(|n| (format!("a{n}"), json!({"N": "1"}))).collect();
        let mut wide = serde_json::Value::Object(wide);
        wide["pk"] = json!({"S": "a"});
        assert!(Wanted::read(&wish(a, None, Some(wide))).is_err());
    }
}
