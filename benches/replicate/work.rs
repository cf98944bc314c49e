//! The workload: changes of about 200 bytes on 2,000 keys, one in ten a delete, the same for the same seed.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use plimsoll_lab::random::Random;
use plimsoll_lab::scripted::{Item, ScriptedAws, Value, item_to_sdk};
use plimsoll_lab::trouble::{Because, Trouble};

/// Keys of the busy table.
const KEYS: usize = 2_000;
/// What makes an item about 200 bytes.
const FILLING: usize = 180;
/// Entries of a BatchWriteItem.
const BATCH: usize = 25;

/// One change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// A put of this key, with this number in it.
    Put(usize, u64),
    /// A delete of this key, which is there.
    Delete(usize),
}

/// A workload of so many changes; every one of them changes something, so the stream has as many records.
pub(crate) fn changes(count: u64) -> Vec<Op> {
    let mut random = Random::new(7);
    let mut present = vec![false; KEYS];
    let next = |number: u64| {
        let key = random.below(KEYS);
        let delete = random.chance(0.1) && present[key];
        present[key] = !delete;
        if delete { Op::Delete(key) } else { Op::Put(key, number) }
    };
    (0..count).map(next).collect()
}

/// The item that a put writes.
pub(crate) fn item(key: usize, number: u64) -> Item {
    let filling: String = std::iter::repeat_n(char::from(b'a' + (number % 26) as u8), FILLING).collect();
    Item::from([
        ("pk".to_owned(), Value::s(name(key))),
        ("n".to_owned(), Value::n(number)),
        ("v".to_owned(), Value::s(filling)),
    ])
}

fn name(key: usize) -> String {
    format!("k{key:05}")
}

/// The number that an item carries.
pub(crate) fn number(item: &Item) -> Option<u64> {
    match item.get("n") {
        Some(Value::N(text)) => text.parse().ok(),
        _ => None,
    }
}

/// Writes a workload into a scripted server, past HTTP.
pub(crate) fn load_scripted(aws: &ScriptedAws, table: &str, ops: &[Op], keys: &[plimsoll_lab::scripted::Key]) {
    for op in ops {
        match *op {
            Op::Put(key, number) => aws.put(table, item(key, number)).expect("the item is a valid one"),
            Op::Delete(key) => aws.delete(table, keys[key].clone()),
        }
    }
}

/// The keys of the workload as a scripted server knows them. It gives keys only of items that it holds.
pub(crate) fn keys(aws: &ScriptedAws) -> Vec<plimsoll_lab::scripted::Key> {
    let table = "bench-keys";
    aws.create_table(plimsoll_lab::scripted::TableSpec::new(table, "pk"));
    for key in 0..KEYS {
        aws.put(table, item(key, 0)).expect("the item is a valid one");
    }
    // In the order of the names, which is the order of the numbers.
    let mut by_name: Vec<_> = aws.snapshot(table).into_iter().map(|(key, item)| (item["pk"].clone(), key)).collect();
    by_name.sort();
    aws.delete_table(table);
    by_name.into_iter().map(|(_, key)| key).collect()
}

/// Writes a workload through the SDK, in its order.
pub(crate) async fn load(client: &Client, table: &str, ops: &[Op]) -> Result<(), Trouble> {
    let mut batch: Vec<WriteRequest> = Vec::new();
    let mut keys = BTreeSet::new();
    for op in ops {
        let key = match op {
            Op::Put(key, _) | Op::Delete(key) => *key,
        };
        if batch.len() == BATCH || keys.contains(&key) {
            send(client, table, std::mem::take(&mut batch)).await?;
            keys.clear();
        }
        keys.insert(key);
        batch.push(request(*op)?);
    }
    send(client, table, batch).await
}

fn request(op: Op) -> Result<WriteRequest, Trouble> {
    let what = "could not make a request";
    Ok(match op {
        Op::Put(key, number) => {
            let put = PutRequest::builder().set_item(Some(item_to_sdk(&item(key, number)))).build().because(what)?;
            WriteRequest::builder().put_request(put).build()
        }
        Op::Delete(key) => {
            let key = HashMap::from([("pk".to_owned(), AttributeValue::S(name(key)))]);
            let delete = DeleteRequest::builder().set_key(Some(key)).build().because(what)?;
            WriteRequest::builder().delete_request(delete).build()
        }
    })
}

async fn send(client: &Client, table: &str, batch: Vec<WriteRequest>) -> Result<(), Trouble> {
    if batch.is_empty() {
        return Ok(());
    }
    let answer = client.batch_write_item().request_items(table, batch).send().await;
    let left = answer.because(format!("could not load {table}"))?.unprocessed_items.unwrap_or_default();
    if left.is_empty() { Ok(()) } else { Err(Trouble::new(format!("the server of {table} left items unwritten"))) }
}
