//! UpdateItem, as far as it sets and removes whole top-level attributes. Anything else is refused, never ignored.

use super::super::faults::Call;
use super::super::model::error::AwsError;
use super::super::model::meter::throttled;
use super::super::model::value::{Item, Value, canonicalise};
use super::super::region::Region;
use super::items::{Wanted, unconditional, unsupported, write};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

/// UpdateItem.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateItem {
    table_name: String,
    key: Item,
    update_expression: Option<String>,
    #[serde(default)]
    expression_attribute_names: HashMap<String, String>,
    #[serde(default)]
    expression_attribute_values: Item,
    attribute_updates: Option<serde_json::Value>,
    condition_expression: Option<String>,
    expected: Option<serde_json::Value>,
    return_values: Option<String>,
    return_consumed_capacity: Option<String>,
}

impl UpdateItem {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
        call.items.push(&self.key);
    }

    /// What the expression does: attributes and their new values, `None` for those removed.
    fn steps(&self) -> Result<Vec<(String, Option<Value>)>, AwsError> {
        let mut clauses: Vec<(String, String)> = Vec::new();
        for word in self.update_expression.as_deref().unwrap_or_default().split_whitespace() {
            let keyword = word.to_ascii_uppercase();
            match (keyword.as_str(), clauses.last_mut()) {
                ("SET" | "REMOVE", _) => clauses.push((keyword, String::new())),
                ("ADD" | "DELETE", _) | (_, None) => {
                    return Err(unsupported("an UpdateExpression beside SET and REMOVE"));
                }
                (_, Some((_, clause))) => clause.push_str(word),
            }
        }
        let mut steps = Vec::new();
        for (keyword, clause) in &clauses {
            for part in clause.split(',') {
                steps.push(match part.split_once('=') {
                    Some((name, value)) if keyword == "SET" => {
                        let value = self.expression_attribute_values.get(value).cloned();
                        let value = value.ok_or_else(|| unsupported("a SET of anything but one value"))?;
                        (self.attribute(name)?, Some(value))
                    }
                    None if keyword == "REMOVE" => (self.attribute(part)?, None),
                    _ => return Err(AwsError::validation(format!("Invalid UpdateExpression: {part:?}"))),
                });
            }
        }
        Ok(steps)
    }

    fn attribute(&self, token: &str) -> Result<String, AwsError> {
        match self.expression_attribute_names.get(token) {
            Some(name) => Ok(name.clone()),
            None if !token.is_empty() && !token.contains(['#', '.', '[', '(']) => Ok(token.to_owned()),
            None => Err(AwsError::validation(format!("Invalid UpdateExpression: cannot use {token:?}"))),
        }
    }
}

pub(super) fn update_item(region: &Region, mut input: UpdateItem) -> Result<Vec<u8>, AwsError> {
    unconditional(input.condition_expression.as_ref(), input.expected.as_ref())?;
    if input.attribute_updates.is_some() {
        return Err(unsupported("AttributeUpdates"));
    }
    let wanted = Wanted::parse(input.return_values.as_deref(), input.return_consumed_capacity.as_deref())?;
    let steps = input.steps()?;
    let cell = region.table(&input.table_name)?;
    canonicalise(&mut input.key)?;
    let (old, units) = {
        let mut table = cell.lock();
        let now = region.now();
        let key = table.spec.key_of_parameter(&input.key)?;
        if let Some((name, _)) = steps.iter().find(|(name, _)| input.key.contains_key(name)) {
            return Err(AwsError::validation(format!(
                "One or more parameter values were invalid: Cannot update attribute {name}. This attribute is part of \
                 the key"
            )));
        }
        // An update of an item that is not there makes one.
        let mut item = table.get(&key).map_or(input.key, |old| Item::clone(&old));
        for (name, value) in steps {
            match value {
                Some(value) => drop(item.insert(name, value)),
                None => drop(item.remove(&name)),
            }
        }
        let key = table.check_put(&mut item)?;
        if !table.meter.lets_write(now) {
            return Err(throttled());
        }
        write(&mut table, key, Some(item), now)
    };
    region.counters.items_put.fetch_add(1, Ordering::Relaxed);
    Ok(wanted.answer(&input.table_name, old.as_ref(), units))
}
