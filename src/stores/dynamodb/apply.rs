//! Writing to the standby table: full images, in batches, an outcome for each (AP-1, AP-5).
//!
//! A batch is acknowledged item by item. What comes back unprocessed is tried again; a batch that is refused as invalid is
//! taken apart to find the item that poisons it; an answer that does not come says nothing about any of its items (AP-3).

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{DeleteRequest, PutRequest, WriteRequest};
use futures_util::future::join_all;

use super::Table;
use super::item::{self, Body, Image};
use crate::aws::classify;
use crate::change::{Change, Class, Key, Outcome, Reason};
use crate::stores::StoreError;
use crate::stores::contract::Applied;

/// Larger items go alone: the wire form of a batch must stay below its limit (AP-5).
const LARGE: usize = 300_000;

impl Table {
    pub(super) async fn write(&self, changes: &[Change]) -> Applied {
        let mut applied = Applied { outcomes: vec![Outcome::Retry(Class::Unavailable); changes.len()], trouble: None };
        let (large, small): (Vec<usize>, Vec<usize>) = (0..changes.len()).partition(|at| changes[*at].size > LARGE);
        let (singles, (batch, trouble)) = futures_util::future::join(
            join_all(large.iter().map(|at| self.write_one(&changes[*at]))),
            self.write_batch(changes, &small),
        )
        .await;
        for (at, outcome) in small.into_iter().zip(batch) {
            applied.outcomes[at] = outcome;
        }
        applied.trouble = trouble;
        for (at, (outcome, trouble)) in large.into_iter().zip(singles) {
            applied.outcomes[at] = outcome;
            applied.trouble = applied.trouble.or(trouble);
        }
        applied
    }

    async fn write_batch(&self, changes: &[Change], chosen: &[usize]) -> (Vec<Outcome>, Option<StoreError>) {
        match chosen {
            [] => return (Vec::new(), None),
            [only] => {
                let (outcome, trouble) = self.write_one(&changes[*only]).await;
                return (vec![outcome], trouble);
            }
            _ => {}
        }
        let requests: Option<Vec<WriteRequest>> = chosen.iter().map(|at| request(&changes[*at])).collect();
        let Some(requests) = requests else { return self.write_singly(changes, chosen).await };
        let sent = self.target.batch_write_item().request_items(&self.settings.standby_table, requests).send().await;
        match sent {
            Ok(answer) => {
                let left = answer.unprocessed_items.and_then(|mut all| all.remove(&self.settings.standby_table));
                self.unprocessed(changes, chosen, &left.unwrap_or_default())
            }
            Err(error) => match classify(&error, true) {
                Class::Invalid => self.write_singly(changes, chosen).await,
                class => {
                    let trouble = StoreError::of_call(&error, true, "BatchWriteItem", &self.standby_name());
                    (vec![Outcome::Retry(class); chosen.len()], Some(trouble))
                }
            },
        }
    }

    /// Tells what was written from what was not.
    fn unprocessed(
        &self,
        changes: &[Change],
        chosen: &[usize],
        left: &[WriteRequest],
    ) -> (Vec<Outcome>, Option<StoreError>) {
        if left.is_empty() {
            return (vec![Outcome::Done; chosen.len()], None);
        }
        let names = chosen.first().and_then(|at| body(&changes[*at])).map(|b| &*b.key_names).unwrap_or_default();
        let keys: Vec<Key> = left.iter().filter_map(|request| key_of(request, names)).collect();
        let written = |at: &usize| !keys.contains(&changes[*at].key);
        // What is left must be found again among what was sent, or nothing is believed to be written.
        let believed = chosen.iter().filter(|at| !written(at)).count() == left.len();
        let outcomes: Vec<Outcome> = chosen
            .iter()
            .map(|at| if believed && written(at) { Outcome::Done } else { Outcome::Retry(Class::Throttled) })
            .collect();
        let what = format!("BatchWriteItem (left {} of {} unwritten)", left.len(), chosen.len());
        (outcomes, Some(StoreError::new(Class::Throttled, what, self.standby_name())))
    }

    async fn write_singly(&self, changes: &[Change], chosen: &[usize]) -> (Vec<Outcome>, Option<StoreError>) {
        let all = join_all(chosen.iter().map(|at| self.write_one(&changes[*at]))).await;
        let (outcomes, troubles): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        (outcomes, troubles.into_iter().flatten().next())
    }

    async fn write_one(&self, change: &Change) -> (Outcome, Option<StoreError>) {
        let Some(body) = body(change) else {
            return (Outcome::Parked(Reason("the change is not of this kind of store".into())), None);
        };
        let table = &self.settings.standby_table;
        let failed = match &body.image {
            Image::Put(item) => {
                let sent = self.target.put_item().table_name(table).set_item(Some(item.clone())).send().await;
                sent.err().map(|e| (classify(&e, true), StoreError::of_call(&e, true, "PutItem", &self.standby_name())))
            }
            Image::Delete(key) => {
                let sent = self.target.delete_item().table_name(table).set_key(Some(key.clone())).send().await;
                sent.err()
                    .map(|e| (classify(&e, true), StoreError::of_call(&e, true, "DeleteItem", &self.standby_name())))
            }
        };
        match failed {
            None => (Outcome::Done, None),
            Some((Class::Invalid, error)) => (Outcome::Parked(Reason(error.chain())), Some(error)),
            Some((class, error)) => (Outcome::Retry(class), Some(error)),
        }
    }

    fn standby_name(&self) -> String {
        format!("standby table {}", self.settings.standby_table)
    }
}

fn body(change: &Change) -> Option<&Body> {
    change.body.downcast_ref::<Body>()
}

fn request(change: &Change) -> Option<WriteRequest> {
    let request = WriteRequest::builder();
    Some(match &body(change)?.image {
        Image::Put(item) => {
            request.put_request(PutRequest::builder().set_item(Some(item.clone())).build().ok()?).build()
        }
        Image::Delete(key) => {
            request.delete_request(DeleteRequest::builder().set_key(Some(key.clone())).build().ok()?).build()
        }
    })
}

fn key_of(request: &WriteRequest, names: &[String]) -> Option<Key> {
    if let Some(delete) = request.delete_request() {
        return Some(item::identity(delete.key()));
    }
    let item: &HashMap<_, _> = request.put_request()?.item();
    Some(item::identity(item.iter().filter(|(name, _)| names.contains(*name))))
}
