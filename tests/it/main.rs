//! The integration tests: one binary, a module per part.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    reason = "tests look at real clocks, spawn, print, and fail by panicking"
)]

mod attack;
mod buckets;
mod cli;
mod client;
mod config;
mod doctor;
mod metrics;
mod observe;
mod promote;
mod salvage;
mod serve;
mod supervise;
mod torture;
mod watermark;
