//! The kinds of store: one folder per AWS service, one line per kind in [`KINDS`].
//!
//! Invariant: kinds never import each other, and the spine (replicate, watermark, rpo, promote, serve) never names one.
//! `rm -r` of a folder and its line here removes a kind.

pub mod canary;
pub mod contract;
pub mod converge;
pub mod dynamodb;
pub mod observe;
pub mod s3;
pub mod salvage;
pub mod seed;
pub mod verify;

mod error;
mod state;

pub use contract::{End, Examine, IamPolicy, Kind, Look, Replicate, Store};
pub use converge::Converge;
pub use error::StoreError;
pub use observe::Observe;
pub use state::{Reseed, StoreState, Transition};

/// Every kind this program knows, by name.
pub static KINDS: &[Kind] = &[dynamodb::KIND, s3::KIND];

/// The kind of that name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
