//! The real daemon between two scripted regions with a bucket each, and a queue whose events come as the test says.

mod first;
mod fixture;
mod hand;
mod objects;
mod scale;
mod transfers;
mod versions;
