//! The real daemon between two scripted regions with a bucket each, and a queue whose events come as the test says.

mod events;
mod fence;
mod first;
mod fixture;
mod kills;
mod queues;
