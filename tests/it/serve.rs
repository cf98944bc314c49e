//! The server on real sockets: who may call what, what garbage meets, TLS, event streams, and how it stops.
#![allow(clippy::disallowed_methods)] // a test may wait and spawn by itself

mod api;
mod events;
pub(crate) mod fixture;
mod garbage;
mod stop;
mod tls;
