//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll::cli::main(|checked| async move {
        eprintln!("error: this build holds no daemon for {}", checked.config.app);
        ExitCode::FAILURE
    })
}
