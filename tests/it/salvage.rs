//! Salvage with the real daemon and the real command line: what a promotion lost is listed, all of it and nothing else;
//! nothing is overwritten that the list does not show; prodX is only read.

mod applying;
mod emulated;
mod files;
mod history;
mod listing;
mod scene;
