//! Drives the stores that are made the same key by key: hear, mark, converge, commit, release, and never another order.
//!
//! A message only says *that* a key changed. Its keys become dirty, each is looked at and made the same by the kind, and the
//! message is forgotten when all of its keys were, and that is durable. A crash before that: the message comes again, the key
//! is looked at again, with the same result. There is no case in which an order of events matters.
//!
//! One driver per store ([`driver`]) is one task that owns all of its state; everything slow (a poll, a copy, a listing, a
//! commit) is a future that it waits for. What it decides is pure and tested alone: the dirty keys ([`marks`]), the messages
//! that are held ([`holds`]), when the queue was empty ([`drain`]), how long events take ([`delay`]), the walk of both ends
//! ([`walk`]) and what all that proves ([`watermark`]).
//!
//! Invariants
//! - A key is in work once at a time; its mark is cleared only if no word about it came since the work began.
//! - A message is released behind the commit of the last of its keys, never before.
//! - Nothing is proved by a queue that was not read to its end, nor by one that others read too.
//! - Behind a closed valve nothing is made the same; what is heard is kept as late (FO-2).

mod commands;
mod commit;
mod delay;
mod drain;
mod driver;
mod fleet;
mod heard;
mod holds;
mod marks;
mod notebook;
mod pending;
mod receive;
mod shelf;
mod survey;
mod troubles;
mod vitals;
mod walk;
mod walking;
mod watermark;
mod work;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use fleet::Fleet;

use std::time::Duration;

/// One millisecond: a watermark below an event is this much before it.
const TICK: Duration = Duration::from_millis(1);

/// How long to wait after `failures` failures in a row: 100 ms doubling up to `most`, less up to a half at random so that
/// many that failed together do not come back together.
fn backoff(failures: u32, most: Duration, jitter: u8) -> Duration {
    let full = Duration::from_millis(100).saturating_mul(1 << failures.saturating_sub(1).min(20)).min(most);
    full - full / 2 * u32::from(jitter) / 256
}
