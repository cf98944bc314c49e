//! What replication costs: the real daemon beside bare loops that make the same calls with the same SDK, in the same run.
//!
//! `make bench` runs every part; `make bench ARGS="busy idle"` the parts named. Parts: `busy` (a backlog between in-memory
//! servers), `far` (the same with 30 ms a call), `emulator` (between two emulated regions), `seed` (a copy of a whole table,
//! and another one with a sweep), `verify` (a comparison of two equal tables, with the bytes that cross), `latency`, `idle`, `objects` (buckets: see there for its own
//! parts); and, only when named, `large` (100,000 changes in three rounds and not
//! one), `backlog` (a million changes) and `lanes` (a table of 1,000 shards). `--rounds N` sets the
//! rounds of each (3).
//!
//! CPU time is that of the daemon's process or of the loop's, from `/proc`; the servers run in this one. A ratio within one
//! run is worth more than a number: the machine may be busy.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a bench measures real time and prints")]

mod bare;
mod copy;
mod emulator;
mod objects;
mod pair;
mod report;
mod steady;
mod usage;
mod work;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use plimsoll_lab::trouble::{Because, Trouble};

use bare::Keeps;
use pair::Setup;
use report::Row;

/// The same as the daemon's, so that a loop differs from it by what it does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The daemon's default.
const AT_ONCE: usize = 8;
/// What the ratios are to.
const BASE: &str = "bare, no order";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Trouble::new(format!("no runtime: {error}"))),
    };
    let done = match args.split_first() {
        Some((first, rest)) if first == bare::BARE => runtime.block_on(bare::be(rest)).map(|said| println!("{said}")),
        Some((first, rest)) if first == copy::BARE => runtime.block_on(copy::be(rest)).map(|said| println!("{said}")),
        Some((first, rest)) if first == objects::bare::BARE => {
            runtime.block_on(objects::bare::be(rest)).map(|said| println!("{said}"))
        }
        _ => runtime.block_on(measure(&args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => failed(&trouble),
    }
}

fn failed(trouble: &Trouble) -> ExitCode {
    eprintln!("{trouble}");
    ExitCode::FAILURE
}

/// The parts of a plain run.
const PLAIN: [&str; 7] = ["busy", "far", "emulator", "seed", "verify", "latency", "idle"];
/// The parts that must be named.
const NAMED: [&str; 3] = ["large", "lanes", "backlog"];

async fn measure(args: &[String]) -> Result<(), Trouble> {
    let (mut rounds, mut parts, mut args) = (3, Vec::new(), args.iter());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => rounds = args.next().map_or("", String::as_str).parse().because("--rounds needs a number")?,
            part if PLAIN.contains(&part) || NAMED.contains(&part) => parts.push(part),
            part if part == objects::ALL || objects::PARTS.contains(&part) => parts.push(part),
            other => {
                return Err(Trouble::new(format!(
                    "{other} is no part; there are {PLAIN:?}, {:?} and {NAMED:?}",
                    objects::PARTS
                )));
            }
        }
    }
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("plimsoll replicate bench: {cores} cores, load {} at the start, {rounds} rounds", usage::load_average());
    println!("median (lowest-highest); ratios to `{BASE}`; dev profile");
    let chosen = |part: &str| if parts.is_empty() { PLAIN.contains(&part) } else { parts.contains(&part) };
    if chosen("busy") {
        let title = "20,000 changes of 200 bytes on 2,000 keys, 10 % deletes, in-memory servers";
        println!("{}", report::table(title, &busy(rounds, 20_000, 1).await?, BASE));
        if !chosen("large") {
            println!("{}", report::table("100,000 changes, one round", &busy(1, 100_000, 1).await?, BASE));
        }
    }
    if chosen("large") {
        println!("{}", report::table("100,000 changes", &busy(rounds, 100_000, 1).await?, BASE));
    }
    if chosen("far") {
        println!(
            "{}",
            report::table("20,000 changes, 30 ms a call", &far(rounds).await?, "bare, no order, 32 at once")
        );
    }
    if chosen("emulator") {
        let rows = emulator::rows(rounds, &work::changes(5_000), AT_ONCE).await?;
        println!("{}", report::table("5,000 changes, two emulated regions (ministack)", &rows, BASE));
    }
    if chosen("backlog") {
        println!("{}", report::table("1,000,000 changes, one round", &busy(1, 1_000_000, 1).await?, BASE));
    }
    if chosen("seed") {
        println!("{}", copy::shown(rounds, 200_000, 200).await?);
        println!("{}", copy::shown(rounds, 20_000, 4_000).await?);
    }
    if chosen("verify") {
        println!("{}", copy::compared(rounds, 200_000, 200).await?);
        println!("{}", copy::compared(rounds, 20_000, 4_000).await?);
    }
    if chosen("latency") {
        println!("{}", steady::latency().await?);
    }
    if chosen("idle") {
        println!("{}", steady::idle(&[(3, 1), (100, 1)]).await?);
    }
    if chosen("lanes") {
        let rows = busy(1, 20_000, 1_000).await?;
        println!("{}", report::table("20,000 changes in 1,000 shards (the bare loops: in one)", &rows, BASE));
        println!("{}", steady::idle(&[(1, 1_000)]).await?);
    }
    let of_objects = |part: &str| parts.is_empty() || parts.contains(&objects::ALL) || parts.contains(&part);
    objects::measure(rounds, of_objects).await?;
    println!("{:.0} s in all, load {} at the end", began.elapsed().as_secs_f64(), usage::load_average());
    Ok(())
}

async fn busy(rounds: usize, changes: u64, shards: usize) -> Result<Vec<Row>, Trouble> {
    let setup = Setup { ops: work::changes(changes), shards, latency: Duration::ZERO, at_once: AT_ONCE };
    let wide = Setup { at_once: 32, ..setup.clone() };
    let contenders = [
        ("plimsoll", &setup, None),
        (BASE, &setup, Some(Keeps::Nothing)),
        ("bare, order kept", &setup, Some(Keeps::Order)),
        ("bare, no order, 32 at once", &wide, Some(Keeps::Nothing)),
    ];
    rows(rounds, &contenders).await
}

async fn far(rounds: usize) -> Result<Vec<Row>, Trouble> {
    let latency = Duration::from_millis(30);
    let setup = Setup { ops: work::changes(20_000), shards: 1, latency, at_once: AT_ONCE };
    let wide = Setup { at_once: 32, ..setup.clone() };
    let contenders = [
        ("plimsoll, 8 at once", &setup, None),
        ("plimsoll, 32 at once", &wide, None),
        ("bare, no order, 8 at once", &setup, Some(Keeps::Nothing)),
        ("bare, no order, 32 at once", &wide, Some(Keeps::Nothing)),
        ("bare, order kept, 32 at once", &wide, Some(Keeps::Order)),
    ];
    rows(rounds, &contenders).await
}

/// Every contender once a round, so that all of them see the same moods of the machine.
async fn rows(rounds: usize, contenders: &[(&str, &Setup, Option<Keeps>)]) -> Result<Vec<Row>, Trouble> {
    let mut rows: Vec<Row> =
        contenders.iter().map(|(name, ..)| Row { name: (*name).to_owned(), runs: Vec::new() }).collect();
    for _ in 0..rounds.max(1) {
        for (row, (_, setup, keeps)) in rows.iter_mut().zip(contenders) {
            row.runs.push(match keeps {
                None => pair::daemon_run(setup).await?,
                Some(keeps) => pair::bare_run(setup, *keeps).await?,
            });
        }
    }
    Ok(rows)
}
