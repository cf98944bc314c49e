//! `plimsoll token new`: an access token and the line that admits it. Only the token's digest is ever stored: whoever
//! reads the tokens file can not call.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand, ValueEnum};
use sha2::{Digest as _, Sha256};

use super::print;
use crate::seams::Ids;

pub(super) const EXAMPLE: &str = "Example:\n  plimsoll token new --name oncall --role approver";

/// Lets a leaked token be recognised, by people and by secret scanners.
const PREFIX: &str = "plk_";

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Prints a new access token, once, and the line for the tokens file
    #[command(after_help = EXAMPLE)]
    New(NewArgs),
}

#[derive(Debug, Args)]
struct NewArgs {
    /// Who holds it, as it stands in the audit: 1 to 63 letters, digits, '.', '_', '@' or '-'
    #[arg(long, value_parser = name)]
    name: String,
    /// What the holder may do: viewer reads, operator also holds a promotion and notes, approver also promotes
    #[arg(long)]
    role: Role,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Viewer,
    Operator,
    Approver,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Approver => "approver",
        }
    }
}

/// The tokens file separates by spaces and comments with '#', so a name holds neither.
fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-');
    match (1..=63).contains(&text.len()) && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("use 1 to 63 letters, digits, '.', '_', '@' or '-'".to_owned()),
    }
}

pub(super) fn run(args: &TokenArgs, ids: &dyn Ids) -> ExitCode {
    match &args.command {
        TokenCommand::New(new) => {
            let (token, line) = mint(&new.name, new.role, ids);
            let printed = print(&format!("token: {token}\nline: {line}\n"));
            eprintln!(
                "The token is shown this once; hand it to its holder. Append what follows \"line: \" to the file that\n\
                 serve.tokens_file names (mode 0600), which holds no secret."
            );
            printed
        }
    }
}

/// A token of 256 fresh bits, and its line: `NAME ROLE SHA256-HEX`, the digest being of the whole token as text.
fn mint(name: &str, role: Role, ids: &dyn Ids) -> (String, String) {
    let secret = [ids.fresh(), ids.fresh()].concat();
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let digest: String = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("{name} {} {digest}", role.word());
    (token, line)
}
