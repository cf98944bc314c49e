//! The lab.

pub mod scripted;
