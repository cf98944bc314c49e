//! What a rule can know about a request: its operation, its tables, its items.

use super::forward::Outbound;
use crate::scripted::{Call, Item};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The operation of a request: from X-Amz-Target (JSON protocols), from `Action` (query protocol), else its method.
pub(super) fn operation(request: &Outbound) -> String {
    if let Some(target) = request.head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()) {
        return target.rsplit('.').next().unwrap_or(target).to_owned();
    }
    let query = request.head.uri.query().unwrap_or_default();
    let form = std::str::from_utf8(request.body.get(..4096).unwrap_or(&request.body)).unwrap_or_default();
    let is_form = request
        .head
        .headers
        .get(hyper::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let pairs = query.split('&').chain(form.split('&').filter(|_| is_form));
    let action = pairs.filter_map(|pair| pair.strip_prefix("Action=")).next();
    action.map_or_else(|| request.head.method.to_string(), str::to_owned)
}

/// Tables and items of a DynamoDB request; nothing of any other.
#[derive(Default)]
pub(super) struct Facts {
    tables: Vec<String>,
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    table_name: Option<String>,
    item: Option<Item>,
    key: Option<Item>,
    request_items: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Write {
    put_request: Option<Put>,
    delete_request: Option<Delete>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    item: Item,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    key: Item,
}

impl Facts {
    pub(super) fn of(request: &Outbound) -> Self {
        let dynamodb = request.head.headers.get("x-amz-target").is_some_and(|t| t.as_bytes().starts_with(b"DynamoDB"));
        if !dynamodb {
            return Self::default();
        }
        let Ok(body) = serde_json::from_slice::<Body>(&request.body) else { return Self::default() };
        let mut facts = Self { tables: Vec::from_iter(body.table_name), items: Vec::new() };
        facts.items.extend(body.item.into_iter().chain(body.key));
        for (table, entries) in body.request_items.into_iter().flatten() {
            facts.tables.push(table);
            // BatchGetItem has another shape here; its keys are not looked at.
            for write in serde_json::from_value::<Vec<Write>>(entries).unwrap_or_default() {
                facts.items.extend(write.put_request.map(|put| put.item));
                facts.items.extend(write.delete_request.map(|delete| delete.key));
            }
        }
        facts
    }

    pub(super) fn call<'a>(&'a self, op: &'a str, request: &'a Outbound) -> Call<'a> {
        Call {
            op,
            tables: self.tables.iter().map(String::as_str).collect(),
            objects: Vec::new(),
            shard: None,
            segment: None,
            items: self.items.iter().collect(),
            path: request.head.uri.path_and_query().map_or("/", |path| path.as_str()),
            body: &request.body,
        }
    }
}
