//! The reference model: what DynamoDB and its streams do, with no HTTP, no lock and no clock of its own.
//!
//! Every function takes the time it happens at; the wire layer above only translates.

pub(crate) mod error;
pub(crate) mod meter;
mod number;
pub(crate) mod quirks;
pub(crate) mod reading;
pub(crate) mod schema;
pub(crate) mod settings;
pub(crate) mod stored;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod value;
