//! The program: the command line, and the daemon behind `plimsoll run`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    plimsoll::cli::main(plimsoll::run::run)
}
