//! Plimsoll keeps a standby AWS region warm and shows, at every second, how much would be lost if the primary vanished.
//!
//! The modules, in the order of the flow:
//!
//! ```text
//! prodX                              prodY: this process
//! streams, queues, exports --read--> apply --> commit --> release        stores/ + replicate/
//! events, listings --look--> make the same --> commit --> release        stores/ + converge/
//! native replicas, canaries --------> observe --> commit                 stores/ + observe/
//!                                                 |
//!                                             watermark/ (RocksDB) --> rpo/ (pure) --> serve/ (metrics, api)
//!                                                 |
//!                                                 +---> promote/ (plan, gate, journal, steps) <-- serve/ POST /v1/promote
//! ```
//!
//! Arrows never point back; `tests/tidy.rs` holds the imports to it.
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "unit tests run on tokio's paused clock; the build without them is held to it"
    )
)]

// The edge.
pub mod aws;

// The words.
pub mod change;
pub mod seams;

// The flow.
pub mod converge;
pub mod observe;
pub mod replicate;
pub mod rpo;
pub mod stores;
pub mod watermark;

// The recovery.
pub mod doctor;
pub mod promote;
pub mod salvage;

// The process.
pub mod cli;
pub mod config;
pub mod run;
pub mod serve;
pub mod supervise;
pub mod telemetry;
