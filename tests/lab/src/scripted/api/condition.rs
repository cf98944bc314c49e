//! ConditionExpression, as far as it is a conjunction of `NAME = :value`, `attribute_exists(NAME)` and
//! `attribute_not_exists(NAME)` on top-level attributes. Anything else is refused, never ignored.

use super::super::model::error::AwsError;
use super::super::model::value::{Item, canonicalise};
use serde::Deserialize;
use std::collections::HashMap;

/// A condition as it comes with a write.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Condition {
    condition_expression: Option<String>,
    expression_attribute_names: HashMap<String, String>,
    expression_attribute_values: Item,
}

impl Condition {
    /// Does it hold of what is there?
    pub(super) fn check(mut self, held: Option<&Item>) -> Result<(), AwsError> {
        let Some(expression) = self.condition_expression.take() else { return Ok(()) };
        canonicalise(&mut self.expression_attribute_values)?;
        for clause in expression.split(" AND ") {
            if !self.holds(clause.trim(), held)? {
                return Err(AwsError::new(400, "ConditionalCheckFailedException", "The conditional request failed"));
            }
        }
        Ok(())
    }

    fn holds(&self, clause: &str, held: Option<&Item>) -> Result<bool, AwsError> {
        let invalid = || AwsError::validation(format!("Invalid ConditionExpression: cannot use {clause:?}"));
        let name = |token: &str| self.expression_attribute_names.get(token.trim()).ok_or_else(invalid);
        let inside = |function: &str| clause.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(token) = inside("attribute_exists") {
            let name = name(token)?;
            return Ok(held.is_some_and(|item| item.contains_key(name)));
        }
        if let Some(token) = inside("attribute_not_exists") {
            let name = name(token)?;
            return Ok(!held.is_some_and(|item| item.contains_key(name)));
        }
        let (left, right) = clause.split_once(" = ").ok_or_else(invalid)?;
        let value = self.expression_attribute_values.get(right.trim()).ok_or_else(invalid)?;
        let name = name(left)?;
        Ok(held.and_then(|item| item.get(name)) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(expression: &str, held: Option<serde_json::Value>) -> Result<(), String> {
        let condition = json!({
            "ConditionExpression": expression,
            "ExpressionAttributeNames": {"#a": "pk", "#b": "v"},
            "ExpressionAttributeValues": {":v": {"N": "1.0"}},
        });
        let condition: Condition = serde_json::from_value(condition).unwrap();
        let held: Option<Item> = held.map(|held| {
            let mut item = serde_json::from_value(held).unwrap();
            canonicalise(&mut item).unwrap();
            item
        });
        condition.check(held.as_ref()).map_err(|e| e.code.into_owned())
    }

    #[test]
    fn what_it_knows_is_judged_and_the_rest_is_refused() {
        let item = || Some(json!({"pk": {"S": "a"}, "v": {"N": "1"}}));
        assert_eq!(check("attribute_exists(#a) AND #b = :v", item()), Ok(()));
        let failed = Err("ConditionalCheckFailedException".to_owned());
        assert_eq!(check("attribute_not_exists(#a)", item()), failed);
        assert_eq!(check("#b = :v", None), failed);
        assert_eq!(check("attribute_not_exists(#a)", None), Ok(()));
        assert_eq!(check("#b = :v", Some(json!({"pk": {"S": "a"}, "v": {"N": "2"}}))), failed);
        for odd in ["#b > :v", "#c = :v", "#b = :w", "size(#b) = :v", "#b = :v OR #a = :v"] {
            assert_eq!(check(odd, item()), Err("ValidationException".to_owned()), "{odd}");
        }
    }
}
