//! Objects: the daemon beside a bare loop of the same calls and beside the tools that people use for it, s5cmd and rclone,
//! where they are installed (on PATH, or in the folder that `PLIMSOLL_PEERS` names).
//!
//! `objects-copy`: a bucket is copied to another one, by S3 or through the process. `objects-emulator`: the same on ministack.
//! `objects-walk`: two equal buckets are compared. `objects-latency`, `objects-idle`: what the daemon does when nothing is
//! behind. `objects`: all of them.

pub(crate) mod bare;
mod copies;
mod emulator;
mod peers;
mod scene;
mod steady;
mod walk;

use plimsoll_lab::trouble::Trouble;

/// The parts.
pub(crate) const PARTS: [&str; 5] =
    ["objects-copy", "objects-emulator", "objects-walk", "objects-latency", "objects-idle"];
/// All of them.
pub(crate) const ALL: &str = "objects";

/// Objects under way at one time: the daemon's default.
const AT_ONCE: usize = 32;

/// Runs the parts that are chosen.
pub(crate) async fn measure(rounds: usize, chosen: impl Fn(&str) -> bool) -> Result<(), Trouble> {
    if chosen("objects-copy") {
        for stream in [false, true] {
            for (count, bytes) in [(5_000, 4 << 10), (300, 1 << 20), (10, 64 << 20)] {
                println!("{}", copies::shown(rounds, copies::Shape { count, bytes, stream }).await?);
            }
        }
    }
    if chosen("objects-emulator") {
        println!("{}", emulator::shown(rounds, 1_000, 4 << 10).await?);
    }
    if chosen("objects-walk") {
        let keys = std::env::var("PLIMSOLL_BENCH_KEYS").ok().and_then(|keys| keys.parse().ok()).unwrap_or(100_000);
        println!("{}", walk::shown(rounds, keys).await?);
    }
    if chosen("objects-latency") {
        println!("{}", steady::latency().await?);
    }
    if chosen("objects-idle") {
        println!("{}", steady::idle().await?);
    }
    Ok(())
}
