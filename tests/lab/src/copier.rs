//! A tiny replicator for the lab's own tests: it stands in for the daemon, so that the ledger, the judge and the demo's
//! verdict are proven on real servers by themselves, with a true watermark and with a lying one.
//!
//! It knows the emulator's one shard, keeps nothing on disk and stops at the first error.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue as Table;
use aws_sdk_dynamodbstreams::types::{AttributeValue as Stream, OperationType, ShardIteratorType};
use tokio::task::JoinHandle;

use crate::regions::Region;
use crate::tables::TableSpec;

/// Does it tell the truth?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Honesty {
    /// Its watermark is what it can prove.
    Honest,
    /// Its watermark is always now.
    Liar,
}

/// A running copier; ended when dropped.
#[derive(Debug)]
pub(crate) struct Copier {
    watermark: Arc<Mutex<Option<SystemTime>>>,
    honesty: Honesty,
    task: JoinHandle<Result<(), String>>,
}

impl Copier {
    /// Copies a table from one region to the other, with `delay` before each page is written.
    pub(crate) fn start(x: &Region, y: &Region, table: &TableSpec, delay: Duration, honesty: Honesty) -> Self {
        let watermark = Arc::new(Mutex::new(None));
        let (streams, source, standby) = (x.streams(), x.dynamodb(), y.dynamodb());
        let task = tokio::spawn(copy(streams, source, standby, table.clone(), delay, watermark.clone()));
        Self { watermark, honesty, task }
    }

    /// What the standby is promised to hold.
    pub(crate) fn watermark(&self) -> Option<SystemTime> {
        match self.honesty {
            Honesty::Honest => *self.watermark.lock().unwrap(),
            Honesty::Liar => Some(SystemTime::now()),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(
    streams: aws_sdk_dynamodbstreams::Client,
    source: aws_sdk_dynamodb::Client,
    standby: aws_sdk_dynamodb::Client,
    table: TableSpec,
    delay: Duration,
    watermark: Arc<Mutex<Option<SystemTime>>>,
) -> Result<(), String> {
    fn failed(error: impl std::error::Error) -> String {
        crate::trouble::chain(&error)
    }
    let described = source.describe_table().table_name(&table.name).send().await.map_err(failed)?;
    let arn = described.table().and_then(|table| table.latest_stream_arn()).unwrap().to_owned();
    let stream = streams.describe_stream().stream_arn(&arn).send().await.map_err(failed)?;
    let shard = stream.stream_description().unwrap().shards().first().unwrap().shard_id().unwrap().to_owned();
    let first = streams.get_shard_iterator().stream_arn(&arn).shard_id(shard);
    let first = first.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.map_err(failed)?;
    let mut iterator = first.shard_iterator;
    loop {
        let asked_at = SystemTime::now();
        let page = streams.get_records().set_shard_iterator(iterator).limit(1000).send().await.map_err(failed)?;
        let empty = page.records().is_empty();
        let mut last = None;
        if !empty {
            tokio::time::sleep(delay).await;
        }
        for record in page.records() {
            let change = record.dynamodb().unwrap();
            let convert =
                |map: &HashMap<String, Stream>| map.iter().map(|(k, v)| (k.clone(), table_value(v))).collect();
            if record.event_name() == Some(&OperationType::Remove) {
                let key = convert(change.keys().unwrap());
                standby.delete_item().table_name(&table.name).set_key(Some(key)).send().await.map_err(failed)?;
            } else {
                let item = convert(change.new_image().unwrap());
                standby.put_item().table_name(&table.name).set_item(Some(item)).send().await.map_err(failed)?;
            }
            last = change.approximate_creation_date_time().map(|time| time.secs());
        }
        let proven = match last {
            // More records of the same second may follow.
            Some(second) => {
                SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(second).unwrap()) - Duration::from_millis(1)
            }
            // The emulator shows a commit in the stream before it answers.
            None => asked_at,
        };
        publish(&watermark, proven);
        iterator = page.next_shard_iterator;
        if empty {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn publish(watermark: &Mutex<Option<SystemTime>>, proven: SystemTime) {
    let mut published = watermark.lock().unwrap();
    *published = (*published).max(Some(proven));
}

fn table_value(value: &Stream) -> Table {
    match value {
        Stream::S(text) => Table::S(text.clone()),
        Stream::N(number) => Table::N(number.clone()),
        Stream::B(bytes) => Table::B(bytes.clone()),
        Stream::Bool(flag) => Table::Bool(*flag),
        Stream::Null(_) => Table::Null(true),
        Stream::Ss(set) => Table::Ss(set.clone()),
        Stream::Ns(set) => Table::Ns(set.clone()),
        Stream::Bs(set) => Table::Bs(set.clone()),
        Stream::L(list) => Table::L(list.iter().map(table_value).collect()),
        Stream::M(map) => Table::M(map.iter().map(|(name, value)| (name.clone(), table_value(value))).collect()),
        other => unreachable!("the emulator sent {other:?}"),
    }
}
