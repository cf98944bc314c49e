//! The lab: what stands for AWS in the tests, the demo and the benches, and the truth they are judged against.

pub mod canon;
pub mod children;
pub mod clients;
#[cfg(test)]
mod copier;
pub mod daemon;
pub mod demo;
pub mod judge;
pub mod ledger;
pub mod live;
pub mod ports;
pub mod random;
pub mod regions;
pub mod scripted;
pub mod tables;
pub mod trouble;
pub mod workload;
