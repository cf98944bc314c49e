//! `plimsoll config default`: every key with its default and what it does.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::print;

pub(super) const EXAMPLE: &str = "Example:\n  plimsoll config default > plimsoll.toml";

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints every key with its default and what it does, as a file to start from
    #[command(after_help = EXAMPLE)]
    Default,
}

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    match args.command {
        ConfigCommand::Default => print(&crate::config::document()),
    }
}
