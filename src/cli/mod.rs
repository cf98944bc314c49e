//! The command line. Each command is a file here; this one only says which there are.
//!
//! Exit codes: 0 done, 2 wrong arguments, 78 the configuration is refused (`EX_CONFIG`); others are a command's own.
//! The only folder that prints.
#![expect(clippy::disallowed_macros, reason = "the one place that prints")]

mod check;
mod client;
mod config;
mod doctor;
mod follow;
mod plan;
mod promote;
mod reseed;
mod salvage;
mod status;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Checked;

/// The exit code of a refused configuration: `EX_CONFIG` of sysexits.h.
pub const EX_CONFIG: u8 = 78;

#[derive(Debug, Parser)]
#[command(
    name = "plimsoll",
    version,
    about = "Keeps a standby AWS region warm, measures its achieved RPO, and promotes it in one call",
    after_help = "Example, from nothing to a running daemon:\n  \
        plimsoll config default > plimsoll.toml\n  \
        plimsoll check -c plimsoll.toml\n  \
        plimsoll run -c plimsoll.toml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon, in the standby region, until it is told to stop
    #[command(after_help = "Example:\n  plimsoll run -c /etc/plimsoll/plimsoll.toml")]
    Run(ConfigFile),
    /// Checks a configuration offline: every problem in one run; exit 0, or 78
    #[command(after_help = "Example:\n  plimsoll check -c /etc/plimsoll/plimsoll.toml")]
    Check(ConfigFile),
    /// Says whether everything is as a recovery needs it, and what to do where not; changes nothing
    #[command(after_help = doctor::EXAMPLE)]
    Doctor(doctor::DoctorArgs),
    /// Shows the state of every store, the worst first
    #[command(after_help = status::EXAMPLE)]
    Status(status::StatusArgs),
    /// Shows what a promotion would do and lose now; changes nothing
    #[command(after_help = plan::EXAMPLE)]
    Plan(plan::PlanArgs),
    /// Makes the standby region the active one
    #[command(after_help = promote::EXAMPLE)]
    Promote(promote::PromoteArgs),
    /// Copies a store anew, or lets a copy under way remove more items of the standby
    #[command(after_help = reseed::EXAMPLE)]
    Reseed(reseed::ReseedArgs),
    /// Lists what a promotion lost, exports it, and brings over what you name
    #[command(after_help = salvage::EXAMPLE)]
    Salvage(salvage::SalvageArgs),
    /// Makes access tokens for the API
    #[command(after_help = token::EXAMPLE)]
    Token(token::TokenArgs),
    /// Prints what can be configured
    #[command(after_help = config::EXAMPLE)]
    Config(config::ConfigArgs),
}

/// Which configuration.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file, TOML
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: PathBuf,
}

/// The program: reads the command line and carries it out. `start` is the daemon, called with a checked configuration
/// on a multi-threaded runtime.
pub fn main<F>(start: impl FnOnce(Checked) -> F) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    match Cli::parse().command {
        Command::Run(file) => match check::load(&file.config) {
            Ok(checked) => on_runtime(start(checked)),
            Err(refused) => refused,
        },
        Command::Check(file) => check::run(&file.config),
        Command::Doctor(args) => on_runtime(doctor::run(&args)),
        Command::Status(args) => on_runtime(status::run(&args)),
        Command::Plan(args) => on_runtime(plan::run(&args)),
        Command::Promote(args) => on_runtime(promote::run(&args)),
        Command::Reseed(args) => on_runtime(reseed::run(&args)),
        Command::Salvage(args) => on_runtime(salvage::run(&args)),
        Command::Token(args) => token::run(&args, &crate::seams::SystemIds),
        Command::Config(args) => config::run(&args),
    }
}

fn on_runtime(program: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(program),
        Err(error) => complain(&format!("error: the threads of the program cannot be started: {error}")),
    }
}

/// Prints a sentence to standard error and gives the exit code of a failure.
fn complain(sentence: &str) -> ExitCode {
    eprintln!("{sentence}");
    ExitCode::FAILURE
}

/// Prints to standard output. A closed pipe (`plimsoll config default | head`) is no failure worth a panic.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&format!("error: standard output cannot be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent_and_every_help_shows_an_example() {
        Cli::command().debug_assert();
        let mut open = vec![Cli::command()];
        let mut seen = 0;
        while let Some(mut command) = open.pop() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{}:\n{help}", command.get_name());
            assert!(help.contains("plimsoll "), "{}:\n{help}", command.get_name());
            open.extend(command.get_subcommands().filter(|c| c.get_name() != "help").cloned());
            seen += 1;
        }
        assert!(seen >= 7, "{seen} commands");
    }
}
