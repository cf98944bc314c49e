//! A scripted AWS: an in-memory server that speaks the wire protocols the SDKs speak, does what a reference model
//! says, and fails as it is told to.
//!
//! `model` is pure (no HTTP, no clock), `api` translates, `wire` and `listener` are the network, `faults` decides what
//! goes wrong; `s3` and `sqs` are the same for buckets and queues. It answers the official SDKs and boto3 through
//! `endpoint_url`. One server holds many tables, buckets and queues and may be a source and a standby at once. Signatures
//! are not checked.
//!
//! Invariants: everything it does is in its log, in the order it did it; the same seed and the same calls in the same
//! order give the same faults; when it is dropped, nothing it started remains.

pub(crate) mod acting;
mod api;
mod clock;
mod compare;
mod control;
pub(crate) mod faults;
mod gate;
pub(crate) mod listener;
mod loading;
mod model;
mod observe;
mod payload;
mod region;
pub(crate) mod rng;
pub mod s3;
mod scans;
mod sdk;
pub mod sqs;
#[cfg(test)]
mod tests;
mod traffic;
mod upkeep;
mod wire;

pub use compare::{Comparison, Difference};
pub use control::TrimPoint;
pub use faults::{Call, FaultId, FaultRule};
pub use gate::Gate;
pub use listener::Door;
pub use loading::{numbered_item, numbered_key};
pub use model::error::AwsError;
pub use model::meter::{CapacityLimit, Consumed};
pub use model::quirks::{ReadQuirks, StreamQuirks};
pub use model::schema::{Index, IndexProjection, Key, KeyAttribute, KeyKind, KeyPart, TableSpec, ViewType};
pub use model::settings::{Billing, Encryption, Replica, Settings};
pub use model::stream::{ShardView, StreamStatus};
pub use model::table::Change;
pub use model::value::{Item, Value};
pub use observe::Values;
pub use payload::Spoil;
pub use region::Fault;
pub use scans::{Hand, ScanPage};
pub use sdk::{item_from_sdk, item_to_sdk};

use http_body_util::BodyExt as _;
use listener::{Listener, NoAnswer};
use region::Region;
use std::io;
use std::sync::Arc;
use wire::{Apis, Reply, WireRequest};

/// How a scripted server is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Region name: in ARNs and stream records.
    pub region: String,
    /// Seed of faults, ids and shuffles.
    pub seed: u64,
    /// Threads that serve requests.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { region: "us-east-1".to_owned(), seed: 1, workers: 2 }
    }
}

/// A running scripted server. Dropping it ends it. All methods may be called from any thread and none waits.
///
/// Methods that name a table or a shard that does not exist panic: that is a mistake in the test.
pub struct ScriptedAws {
    region: Arc<Region>,
    desk: Arc<sqs::Desk>,
    space: Arc<s3::Space>,
    listener: Listener,
}

impl ScriptedAws {
    /// Starts a server on a free loopback port.
    ///
    /// # Errors
    /// When no port or no thread can be had.
    pub fn start(options: Options) -> io::Result<Self> {
        let region = Arc::new(Region::new(&options.region, options.seed));
        let desk = Arc::new(sqs::Desk::new(Arc::clone(&region)));
        let space = Arc::new(s3::Space::new(Arc::clone(&region)));
        let apis = Arc::new(Apis(vec![
            Arc::new(api::DynamoDb(Arc::clone(&region))),
            Arc::new(sqs::SqsApi(Arc::clone(&desk))),
            Arc::new(s3::S3Api(Arc::clone(&space))),
        ]));
        let listener = Listener::start("scripted-aws", options.workers, move |request| {
            let apis = Arc::clone(&apis);
            async move {
                let (head, body) = request.into_parts();
                let mut wire =
                    WireRequest { method: head.method, uri: head.uri, headers: head.headers, ..WireRequest::default() };
                if wire.target().is_some() {
                    wire.body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
                } else {
                    wire.frames = frames(body).await?;
                }
                match apis.answer(wire).await {
                    Reply::Answer(response) => Ok(response),
                    Reply::Close => Err(NoAnswer),
                    Reply::Never => std::future::pending().await,
                }
            }
        })?;
        region.placed(listener.endpoint(), listener.handle().clone());
        Ok(Self { region, desk, space, listener })
    }

    /// Its buckets.
    pub fn s3(&self) -> s3::S3<'_> {
        s3::S3(&self.space)
    }

    /// Its queues.
    pub fn sqs(&self) -> sqs::Sqs<'_> {
        sqs::Sqs(&self.desk)
    }

    /// The URL to give to a client as its `endpoint_url`.
    pub fn endpoint(&self) -> String {
        self.listener.endpoint()
    }

    /// Bytes received and bytes sent so far, headers included.
    pub fn traffic(&self) -> (u64, u64) {
        self.listener.traffic()
    }

    /// Ends the server and every connection to it.
    pub fn shutdown(self) {
        drop(self);
    }

    /// Opens or shuts the way to the server: [`Door::Cut`] is a region that is gone, [`Door::Blackhole`] one that hangs.
    pub fn set_door(&self, door: Door) {
        self.listener.set_door(door);
    }
}

/// The frames of a body as they came in.
async fn frames(mut body: hyper::body::Incoming) -> Result<Vec<bytes::Bytes>, NoAnswer> {
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.extend(frame.map_err(|_| NoAnswer)?.into_data());
    }
    Ok(frames)
}

impl std::fmt::Debug for ScriptedAws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedAws").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}
