//! The integration tests: one binary, a module per part.

mod metrics;
mod serve;
mod supervise;
mod watermark;
