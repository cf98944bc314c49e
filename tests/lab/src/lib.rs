//! The lab.

pub mod proxy;
pub mod scripted;
