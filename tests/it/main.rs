//! The integration tests: one binary, a module per part.

mod attack;
mod cli;
mod client;
mod config;
mod metrics;
mod promote;
mod serve;
mod supervise;
mod torture;
mod watermark;
