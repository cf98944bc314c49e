//! The daemon under attack: the real program between two scripted or emulated regions, while everything goes wrong that
//! can. Each test names the rule that it guards and judges what is published by what really happened.

mod canary;
mod config;
mod daemon_stop;
pub(crate) mod fixture;
mod index;
mod lineage;
mod order;
mod promotion;
mod promotion_crash;
mod regions;
mod reseed;
mod scale;
mod seed;
mod start;
mod strays;
mod throttling;
pub(crate) mod truth;
