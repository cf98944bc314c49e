//! The lab: what stands for AWS in the tests, the demo and the benches, and the truth they are judged against.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "it stands outside the daemon: it looks at real clocks, spawns and prints"
)]

pub mod canon;
pub mod children;
pub mod clients;
#[cfg(test)]
mod copier;
pub mod crossing;
pub mod daemon;
pub mod demo;
pub mod judge;
pub mod ledger;
pub mod live;
pub mod objects;
pub mod ports;
pub mod proxy;
pub mod random;
pub mod regions;
pub mod scripted;
pub mod tables;
pub mod trouble;
pub mod workload;
