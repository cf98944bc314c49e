//! The real daemon between two scripted regions with a bucket each, and a queue whose events come as the test says.

mod events;
mod fence;
mod first;
mod fixture;
mod hand;
mod kills;
mod objects;
mod queues;
mod scale;
mod transfers;
mod versions;
