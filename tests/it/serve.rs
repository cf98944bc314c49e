//! The server on real sockets: who may call what, what garbage meets, TLS, event streams, and how it stops.

mod api;
mod events;
pub(crate) mod fixture;
mod garbage;
mod stop;
mod tls;
