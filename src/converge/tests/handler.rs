//! The model of the handler.
