//! What the process says about itself: the log, and the metrics with their catalogue.
//!
//! Telemetry is an interface: a metric name, its labels and its unit are in [`catalogue`] and nowhere else, dashboards and
//! alerts may use only what is there, and nothing there is renamed or reused. There is no global registry: every
//! [`Metrics`] is its own, so two of them in one test never meet.

pub mod catalogue;
pub mod logs;

mod coverage;
mod metrics;
mod scrape;

pub use metrics::{Metrics, StoreMetrics};
pub use scrape::{CONTENT_TYPE, Scrape};

#[cfg(test)]
mod tests;
