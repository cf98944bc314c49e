//! Drives the stores whose bytes AWS moves: beat, look, judge, commit, publish.
//!
//! One driver per store ([`driver`]) is one task. A heartbeat is written in prodX and looked for in prodY; what a look says
//! is evidence, [`judge`] makes a watermark of it (pure), the index makes it durable and then publishes it, as for every
//! other store. A crash at any point loses a look and nothing else: the next process begins with the durable watermark, as
//! `unknown`, and its own heartbeats.
//!
//! Invariants
//! - A watermark rises by evidence that says something new, and by nothing else: no answer, a missing datapoint, or the same
//!   one again leave it where it is, and its age grows by a second a second (RP-3, RP-4).
//! - It never goes back, and never past what is known to be missing ([`crate::change::Evidence::Pinned`]).
//! - With the flow closed no heartbeat is sent and no look moves the mark (FO-2). One that was under way may still land: in
//!   prodX, under a key of its own, where it means nothing to anybody.

mod driver;
mod fleet;
mod judge;

pub use fleet::Fleet;
