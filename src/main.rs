//! The program: the command line, and the daemon behind `plimsoll run`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll::cli::main(plimsoll::run::run)
}
