//! The bare loops: the same calls with the same SDK, and nothing else. No index, no retries, no state, no proof of anything;
//! they stop when they have read as many changes as they were told. What the daemon costs is a ratio to these.
//!
//! A loop runs in a process of its own (this program again), so that its CPU time is its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use aws_sdk_dynamodbstreams::types::{AttributeValue as StreamValue, OperationType, Record, ShardIteratorType};
use plimsoll_lab::children::{ProcessSpec, run_to_end};
use plimsoll_lab::clients::{self, Endpoint};
use plimsoll_lab::trouble::{Because, Trouble};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::pair::LIMIT;
use crate::report::Run;
use crate::usage::Usage;

/// The first argument of this program when it is to be a bare loop.
pub(crate) const BARE: &str = "--bare-loop";

/// What the loop keeps of the order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Nothing: batches are sent as they come, and a newer change of a key may be overtaken by an older one.
    Nothing,
    /// The order per key: the last change of each key of a page, and a page only after the one before it.
    Order,
}

/// One loop.
#[derive(Debug, Clone)]
pub(crate) struct Job<'a> {
    pub(crate) keeps: Keeps,
    pub(crate) source: &'a Endpoint,
    pub(crate) target: &'a Endpoint,
    pub(crate) source_table: &'a str,
    pub(crate) target_table: &'a str,
    pub(crate) changes: u64,
    /// Batches in flight.
    pub(crate) at_once: usize,
}

/// Runs a loop in a process of its own.
pub(crate) async fn run(job: &Job<'_>, folder: &std::path::Path) -> Result<Run, Trouble> {
    let keeps = if job.keeps == Keeps::Order { "order" } else { "nothing" };
    let (changes, at_once) = (job.changes.to_string(), job.at_once.to_string());
    let args = [
        BARE,
        keeps,
        &job.source.url,
        &job.source.region,
        &job.target.url,
        &job.target.region,
        job.source_table,
        job.target_table,
        &changes,
        &at_once,
    ];
    apart(&args, job.changes, folder).await
}

/// Runs this program again with these arguments; what it measured of so many changes.
pub(crate) async fn apart(args: &[&str], changes: u64, folder: &std::path::Path) -> Result<Run, Trouble> {
    let program = std::env::current_exe().because("could not find the running program")?;
    let spec = ProcessSpec {
        name: "bare loop".into(),
        program,
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        stdout: folder.join("bare.out"),
        stderr: Some(folder.join("bare.err")),
    };
    for path in [folder.join("bare.out"), folder.join("bare.err")] {
        std::fs::write(&path, "").because(format!("could not write {}", path.display()))?;
    }
    let (status, out, err) = run_to_end(&spec, LIMIT).await?;
    let said: Value = serde_json::from_str(&out)
        .map_err(|_| Trouble::new(format!("the bare loop ended with {status} and said: {out}{err}")))?;
    let number = |name: &str| said.get(name).and_then(Value::as_f64).unwrap_or_default();
    Ok(Run {
        changes,
        seconds: number("seconds"),
        cpu: number("cpu"),
        peak: number("peak"),
        writes: number("writes") as u64,
        wrong: None,
    })
}

/// Is the loop, with the arguments that [`run`] gave; prints what it measured as JSON.
pub(crate) async fn be(args: &[String]) -> Result<Value, Trouble> {
    let [keeps, source, source_region, target, target_region, source_table, target_table, changes, at_once] = args
    else {
        return Err(Trouble::new("a bare loop needs nine arguments"));
    };
    let source = Endpoint::new(source, source_region);
    let target = Endpoint::new(target, target_region);
    let changes: u64 = changes.parse().because("the number of changes")?;
    let at_once: usize = at_once.parse().because("the number of batches at once")?;
    let writer = Writer::new(&target, target_table, at_once).await?;
    let streams = clients::streams(&source);
    let mut iterator = Some(first_iterator(&source, &streams, source_table).await?);

    let (before, began) = (Usage::of("self")?, Instant::now());
    let (mut read, mut writes) = (0, 0);
    let mut under_way = JoinSet::new();
    while read < changes {
        let Some(at) = iterator.take() else { return Err(Trouble::new("the shard ended")) };
        let page = streams.get_records().shard_iterator(at).limit(1000).send().await.because("could not read")?;
        iterator = page.next_shard_iterator;
        let records = page.records.unwrap_or_default();
        read += records.len() as u64;
        let requests: Vec<_> = records.into_iter().map(request).collect::<Result<_, _>>()?;
        let batches = if keeps == "order" { batches(last_of_each(requests)) } else { unordered(requests) };
        for batch in batches {
            writes += batch.len();
            writer.send(batch, &mut under_way).await?;
        }
        if keeps == "order" {
            finish(&mut under_way).await?;
        }
    }
    finish(&mut under_way).await?;
    let (seconds, after) = (began.elapsed().as_secs_f64(), Usage::of("self")?);
    Ok(json!({"seconds": seconds, "cpu": after.cpu - before.cpu, "peak": after.peak, "writes": writes}))
}

async fn first_iterator(
    source: &Endpoint,
    streams: &aws_sdk_dynamodbstreams::Client,
    table: &str,
) -> Result<String, Trouble> {
    let described = clients::dynamodb(source).describe_table().table_name(table).send().await;
    let described = described.because("could not describe the table")?;
    let arn = described.table().and_then(|t| t.latest_stream_arn()).unwrap_or_default();
    let listed = streams.describe_stream().stream_arn(arn).send().await.because("could not describe the stream")?;
    let shards = listed.stream_description().map(|d| d.shards()).unwrap_or_default();
    let [shard] = shards else { return Err(Trouble::new("a bare loop reads one shard")) };
    let request = streams.get_shard_iterator().stream_arn(arn).set_shard_id(shard.shard_id.clone());
    let answer = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await;
    answer.because("could not get an iterator")?.shard_iterator.ok_or_else(|| Trouble::new("no iterator was given"))
}

/// Writes to one table, so many batches at one time.
#[derive(Clone)]
pub(crate) struct Writer {
    client: aws_sdk_dynamodb::Client,
    table: String,
    room: Arc<Semaphore>,
}

impl Writer {
    /// One that has looked at its table: its first connection is made.
    pub(crate) async fn new(target: &Endpoint, table: &str, at_once: usize) -> Result<Self, Trouble> {
        let client = clients::dynamodb_once(target);
        let described = client.describe_table().table_name(table).send().await;
        described.because("could not describe the standby table")?;
        Ok(Self { client, table: table.to_owned(), room: Arc::new(Semaphore::new(at_once)) })
    }

    /// Sends a batch as soon as fewer than the bound are in flight.
    pub(crate) async fn send(
        &self,
        batch: Vec<WriteRequest>,
        under_way: &mut JoinSet<Result<(), Trouble>>,
    ) -> Result<(), Trouble> {
        let room = Arc::clone(&self.room).acquire_owned().await.because("the semaphore is closed")?;
        let call = self.client.batch_write_item().request_items(&self.table, batch);
        under_way.spawn(async move {
            let answer = call.send().await.because("could not write")?;
            drop(room);
            let left = answer.unprocessed_items.unwrap_or_default();
            if left.is_empty() { Ok(()) } else { Err(Trouble::new("items were left unwritten")) }
        });
        while let Some(done) = under_way.try_join_next() {
            done.because("a write panicked")??;
        }
        Ok(())
    }
}

pub(crate) async fn finish(under_way: &mut JoinSet<Result<(), Trouble>>) -> Result<(), Trouble> {
    while let Some(done) = under_way.join_next().await {
        done.because("a write panicked")??;
    }
    Ok(())
}

type Keyed = (String, WriteRequest);

/// A record as a write, with its key.
fn request(record: Record) -> Result<Keyed, Trouble> {
    let what = "could not make a request";
    let removed = record.event_name == Some(OperationType::Remove);
    let data = record.dynamodb.ok_or_else(|| Trouble::new("a record without data"))?;
    let keys = item(data.keys.unwrap_or_default())?;
    let Some(AttributeValue::S(key)) = keys.get("pk").cloned() else {
        return Err(Trouble::new("a record without a key"));
    };
    let request = WriteRequest::builder();
    let request = if removed {
        request.delete_request(DeleteRequest::builder().set_key(Some(keys)).build().because(what)?)
    } else {
        let new = item(data.new_image.unwrap_or_default())?;
        request.put_request(PutRequest::builder().set_item(Some(new)).build().because(what)?)
    };
    Ok((key, request.build()))
}

fn item(item: HashMap<String, StreamValue>) -> Result<HashMap<String, AttributeValue>, Trouble> {
    let value = |value| match value {
        StreamValue::S(text) => Ok(AttributeValue::S(text)),
        StreamValue::N(number) => Ok(AttributeValue::N(number)),
        _ => Err(Trouble::new("the workload has texts and numbers only")),
    };
    item.into_iter().map(|(name, v)| Ok((name, value(v)?))).collect()
}

/// Batches of 25 in the order of reading; a key once in a batch, because BatchWriteItem refuses it twice.
fn unordered(requests: Vec<Keyed>) -> Vec<Vec<WriteRequest>> {
    let mut requests = requests.into_iter().peekable();
    let mut all = Vec::new();
    while requests.peek().is_some() {
        all.extend(batches(last_of_each(requests.by_ref().take(25).collect())));
    }
    all
}

/// The last write of each key.
fn last_of_each(requests: Vec<Keyed>) -> Vec<WriteRequest> {
    let mut seen = HashSet::with_capacity(requests.len());
    requests.into_iter().rev().filter(|(key, _)| seen.insert(key.clone())).map(|(_, request)| request).collect()
}

fn batches(requests: Vec<WriteRequest>) -> Vec<Vec<WriteRequest>> {
    let mut requests = requests.into_iter().peekable();
    let mut all = Vec::new();
    while requests.peek().is_some() {
        all.push(requests.by_ref().take(25).collect());
    }
    all
}
