//! The doctor: is everything as a recovery needs it? What a store finds at its two ends, asked now and then by the daemon
//! and on request by `plimsoll doctor`; and what the configuration alone tells.
//!
//! Invariant: it reads, and it is never on the critical path. A store is kept warm, measured and promoted the same when
//! this is broken.

pub mod dry;
pub mod policies;
mod rounds;

pub use rounds::Rounds;
