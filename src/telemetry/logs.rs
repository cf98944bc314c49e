//! The log: one line per event on stderr, for a human or for a machine.
//!
//! `PLIMSOLL_LOG` is `text` or `json`; without it, text on a terminal and JSON elsewhere. `RUST_LOG` chooses what is shown;
//! `info` without it. ERROR means that a human must look.
// The environment of the log is read here, before there is a configuration that could say it.
#![expect(clippy::disallowed_methods, reason = "logs begin before there is a configuration")]

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a human.
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// Reads the value of `PLIMSOLL_LOG`; without one, text for a terminal.
    pub fn choose(value: Option<&str>, terminal: bool) -> Result<Self, String> {
        match value {
            Some("text") => Ok(Format::Text),
            Some("json") => Ok(Format::Json),
            None | Some("") if terminal => Ok(Format::Text),
            None | Some("") => Ok(Format::Json),
            Some(other) => Err(format!("PLIMSOLL_LOG is {other:?}; use text or json")),
        }
    }
}

/// Starts the log of this process. `Err` says which variable is wrong.
pub fn start() -> Result<(), String> {
    let format = Format::choose(std::env::var("PLIMSOLL_LOG").ok().as_deref(), std::io::stderr().is_terminal())?;
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .map_err(|e| format!("RUST_LOG is {text:?}: {e}; use for example info,plimsoll=debug"))?,
        _ => EnvFilter::new("info"),
    };
    // A line that cannot be written (a full disk, a pipe that nobody reads) is lost. To complain about it on stderr, as is
    // the default, panics when stderr is what fails: a driver would end over its log, and its end could not be told either.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).log_internal_errors(false);
    let started = match format {
        Format::Text => {
            log.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).try_init()
        }
        Format::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|e| format!("the log cannot be started: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_gets_json_and_a_human_text() {
        assert_eq!(Format::choose(None, true), Ok(Format::Text));
        assert_eq!(Format::choose(None, false), Ok(Format::Json));
        assert_eq!(Format::choose(Some("json"), true), Ok(Format::Json));
        assert_eq!(Format::choose(Some("text"), false), Ok(Format::Text));
        assert!(Format::choose(Some("xml"), true).unwrap_err().contains("text or json"));
    }
}
