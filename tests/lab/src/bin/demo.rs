//! `make demo`: runs [`plimsoll_lab::demo`] and ends it, with everything it started, on Ctrl-C.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use plimsoll_lab::demo::{self, Options};
use plimsoll_lab::trouble::{Because, Trouble};
use tokio::signal::unix::{SignalKind, signal};

/// What a shell expects of a program that was ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = Options::parse();
    match tokio::runtime::Runtime::new().because("could not start the runtime").and_then(|runtime| {
        // Whatever is selected, the other future is dropped inside: that ends the processes it had started.
        runtime.block_on(async {
            tokio::select! {
                biased;
                interrupted = interrupted() => interrupted.map(|()| None),
                passed = demo::run(&options) => passed.map(Some),
            }
        })
    }) {
        Ok(Some(true)) => ExitCode::SUCCESS,
        Ok(Some(false)) => ExitCode::FAILURE,
        Ok(None) => {
            complain("interrupted; everything that was started has been stopped");
            ExitCode::from(INTERRUPTED)
        }
        Err(trouble) => {
            complain(&trouble.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> Result<(), Trouble> {
    let listen = |kind| signal(kind).because("could not listen for signals");
    let mut int = listen(SignalKind::interrupt())?;
    let mut term = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// To the error output; if that is gone too, the exit code still says it.
fn complain(text: &str) {
    writeln!(std::io::stderr(), "\ndemo: {text}").ok();
}
