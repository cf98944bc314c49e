//! The DynamoDB and DynamoDB Streams APIs: parse, count, apply faults, perform, answer.

mod capacity;
mod condition;
mod control_plane;
mod describe;
mod items;
mod projection;
mod reads;
mod streams;
mod update;
mod update_item;
mod upkeep;

use super::faults::Call;
use super::model::error::AwsError;
use super::region::{Fault, Region};
use super::wire::{Api, Payload, Reply, Replying, WireRequest, json, json_error};
use hyper::StatusCode;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest body of a request: 16 MB of items, and what JSON and base64 add.
const MAX_BODY_BYTES: usize = 16 << 20;

/// The name of a table, alone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneTable {
    table_name: String,
}

macro_rules! requests {
    ($( $service:literal $op:ident => $input:ty, $perform:path; )*) => {
        /// A request of either API, parsed.
        #[derive(Debug)]
        pub(crate) enum Request {
            $( $op($input), )*
        }

        impl Request {
            fn parse(service: &str, op: &str, body: &[u8]) -> Result<Self, AwsError> {
                match (service, op) {
                    $( ($service, stringify!($op)) => Ok(Self::$op(parsed(body)?)), )*
                    ("DynamoDB_20120810", other) => {
                        Err(AwsError::validation(format!("{other} is not supported by the scripted server")))
                    }
                    (_, other) => Err(AwsError::new(
                        400,
                        "UnknownOperationException",
                        format!("{other} is not an operation of {service}"),
                    )),
                }
            }

            pub(crate) fn op(&self) -> &'static str {
                match self { $( Self::$op(_) => stringify!($op), )* }
            }

            /// Carries it out, whole and at once.
            pub(crate) fn perform(self, region: &Region) -> Result<Vec<u8>, AwsError> {
                match self { $( Self::$op(input) => $perform(region, input), )* }
            }
        }
    };
}

requests! {
    "DynamoDB_20120810" CreateTable => control_plane::CreateTable, control_plane::create_table;
    "DynamoDB_20120810" DescribeTable => OneTable, control_plane::describe_table;
    "DynamoDB_20120810" ListTables => control_plane::ListTables, control_plane::list_tables;
    "DynamoDB_20120810" DeleteTable => OneTable, control_plane::delete_table;
    "DynamoDB_20120810" UpdateTable => update::UpdateTable, update::update_table;
    "DynamoDB_20120810" DescribeTimeToLive => OneTable, upkeep::describe_ttl;
    "DynamoDB_20120810" UpdateTimeToLive => upkeep::UpdateTimeToLive, upkeep::update_ttl;
    "DynamoDB_20120810" DescribeContinuousBackups => OneTable, upkeep::describe_backups;
    "DynamoDB_20120810" UpdateContinuousBackups => upkeep::UpdateContinuousBackups, upkeep::update_backups;
    "DynamoDB_20120810" PutItem => items::PutItem, items::put_item;
    "DynamoDB_20120810" GetItem => reads::GetItem, reads::get_item;
    "DynamoDB_20120810" UpdateItem => update_item::UpdateItem, update_item::update_item;
    "DynamoDB_20120810" DeleteItem => items::DeleteItem, items::delete_item;
    "DynamoDB_20120810" BatchWriteItem => items::BatchWriteItem, items::batch_write_item;
    "DynamoDB_20120810" BatchGetItem => reads::BatchGetItem, reads::batch_get_item;
    "DynamoDB_20120810" Scan => reads::Scan, reads::scan;
    "DynamoDBStreams_20120810" ListStreams => streams::ListStreams, streams::list_streams;
    "DynamoDBStreams_20120810" DescribeStream => streams::DescribeStream, streams::describe_stream;
    "DynamoDBStreams_20120810" GetShardIterator => streams::GetShardIterator, streams::get_shard_iterator;
    "DynamoDBStreams_20120810" GetRecords => streams::GetRecords, streams::get_records;
}

fn parsed<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, AwsError> {
    serde_json::from_slice(body).map_err(|e| {
        // AWS calls a body that is not JSON a SerializationException and a wrong shape a ValidationException.
        let code = if e.is_data() { "ValidationException" } else { "SerializationException" };
        AwsError::new(400, code, e.to_string())
    })
}

impl Request {
    /// What fault rules may look at.
    fn call<'a>(&'a self, wire: &'a WireRequest) -> Call<'a> {
        let mut call = Call { op: self.op(), path: wire.uri.path(), body: &wire.body, ..Call::default() };
        match self {
            Self::PutItem(input) => input.describe(&mut call),
            Self::GetItem(input) => input.describe(&mut call),
            Self::UpdateItem(input) => input.describe(&mut call),
            Self::DeleteItem(input) => input.describe(&mut call),
            Self::BatchWriteItem(input) => input.describe(&mut call),
            Self::BatchGetItem(input) => input.describe(&mut call),
            Self::Scan(input) => input.describe(&mut call),
            Self::CreateTable(input) => input.describe(&mut call),
            Self::UpdateTable(input) => input.describe(&mut call),
            Self::UpdateTimeToLive(input) => input.describe(&mut call),
            Self::UpdateContinuousBackups(input) => input.describe(&mut call),
            Self::DescribeTable(input)
            | Self::DeleteTable(input)
            | Self::DescribeTimeToLive(input)
            | Self::DescribeContinuousBackups(input) => call.tables.push(&input.table_name),
            Self::DescribeStream(input) => input.describe(&mut call),
            Self::GetShardIterator(input) => input.describe(&mut call),
            Self::GetRecords(input) => input.describe(&mut call),
            Self::ListTables(_) | Self::ListStreams(_) => {}
        }
        call
    }

    fn is_stream_call(&self) -> bool {
        matches!(self, Self::ListStreams(_) | Self::DescribeStream(_) | Self::GetShardIterator(_) | Self::GetRecords(_))
    }
}

/// Both APIs over one region.
pub(crate) struct DynamoDb(pub(crate) Arc<Region>);

impl Api for DynamoDb {
    fn claims(&self, request: &WireRequest) -> bool {
        request.target().is_some_and(|(service, _)| service.starts_with("DynamoDB"))
    }

    fn answer(self: Arc<Self>, request: WireRequest) -> Replying {
        Box::pin(answer(Arc::clone(&self.0), request))
    }
}

async fn answer(region: Arc<Region>, wire: WireRequest) -> Reply {
    let Some((service, op)) = wire.target() else {
        return json_error(&AwsError::new(400, "MissingAction", "the request names no operation"));
    };
    if wire.body.len() > MAX_BODY_BYTES * 3 / 2 {
        return json_error(&AwsError::new(413, "RequestEntityTooLarge", "the request is larger than 16 MB"));
    }
    let request = match Request::parse(service, op, &wire.body) {
        Ok(request) => request,
        Err(error) => return json_error(&error),
    };
    region.count_call(request.op());
    let latency = region.latency(request.op());
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let fault = if region.faults.any() { region.faults.decide(&request.call(&wire), region.now()) } else { None };
    match fault {
        None => perform(&region, request),
        Some(fault) => faulty(region, request, fault).await,
    }
}

fn perform(region: &Region, request: Request) -> Reply {
    match request.perform(region) {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => json_error(&error),
    }
}

async fn faulty(region: Arc<Region>, request: Request, fault: Fault) -> Reply {
    let refuse = |status, code: &'static str, message: &str| json_error(&AwsError::new(status, code, message));
    match fault {
        Fault::Throttle if request.is_stream_call() => refuse(400, "ThrottlingException", "Rate exceeded"),
        Fault::Throttle => refuse(
            400,
            "ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded",
        ),
        Fault::InternalError => refuse(500, "InternalServerError", "The request could not be completed"),
        Fault::Validation(message) => refuse(400, "ValidationException", &message),
        Fault::AccessDenied => refuse(400, "AccessDeniedException", "User is not authorized to perform this action"),
        Fault::Error(error) | Fault::ErrorInBody(error) => json_error(&error),
        Fault::ErrorAfterEffect(error) | Fault::ErrorInBodyAfterEffect(error) => {
            drop(request.perform(&region));
            json_error(&error)
        }
        Fault::Spoil(_) => perform(&region, request),
        Fault::Unprocessed { keep } => match request {
            Request::BatchWriteItem(input) => perform(&region, Request::BatchWriteItem(input.keep(keep))),
            Request::BatchGetItem(input) => perform(&region, Request::BatchGetItem(input.keep(keep))),
            other => perform(&region, other),
        },
        Fault::Drop => Reply::Close,
        Fault::LoseAnswer => {
            // Done or refused, the client is not told.
            drop(request.perform(&region));
            Reply::Close
        }
        Fault::LoseAnswerLate { delay } => {
            drop(detached(&region, request, delay));
            Reply::Close
        }
        Fault::LoseAnswerHeld => {
            let deed = {
                let region = Arc::clone(&region);
                async move { request.perform(&region).map(|body| hyper::Response::new(Payload::whole(body))) }
            };
            region.hold(Box::pin(deed));
            Reply::Close
        }
        Fault::Delay(delay) => detached(&region, request, delay).await.unwrap_or(Reply::Close),
        Fault::SlowAnswer(delay) => {
            let reply = perform(&region, request);
            tokio::time::sleep(delay).await;
            reply
        }
        Fault::Hang => Reply::Never,
        Fault::Hold(gate) => {
            gate.pass().await;
            perform(&region, request)
        }
        Fault::HoldAnswer(gate) => {
            let reply = perform(&region, request);
            gate.pass().await;
            reply
        }
    }
}

/// Carries a request out after `delay`, whether or not anybody still waits.
fn detached(region: &Arc<Region>, request: Request, delay: Duration) -> tokio::task::JoinHandle<Reply> {
    region.late().fetch_add(1, Ordering::SeqCst);
    let region = Arc::clone(region);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let reply = perform(&region, request);
        region.late().fetch_sub(1, Ordering::SeqCst);
        reply
    })
}
