//! Runs a program: no shell, no input, bounded output, and nothing left behind when its time is over.
//!
//! The program gets a process group of its own. When the deadline passes or the process stops waiting, the whole group is
//! killed, so that a grandchild does not go on promoting after the report said that it failed. On a good end the group is
//! left alone: a program may start a daemon.
//!
//! Exit codes of `run`: 0 is accepted; anything else is an unknown outcome, since a program may fail half-way. Exit codes of
//! `check`: 0 done, 1 not started, anything else an error of the check.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command as Program};

use crate::config::{StepConfig, StepKind};
use crate::promote::step::{Context, Description, Phase, Repeat, Step, StepError, StepId, World};
use crate::seams::{Clock, timeout};

/// What is kept of a program's output, bytes per stream: its end, since that is where the reason is.
const KEPT: usize = 2048;
/// Between two checks.
const POLL: Duration = Duration::from_secs(1);
/// How long the output is still read after the program ended: a daemon that it started may hold the pipe for ever.
const LINGER: Duration = Duration::from_secs(1);

/// A `[[promote.step]]` of kind `command`.
pub struct Command {
    config: StepConfig,
    run: Vec<String>,
    check: Option<Vec<String>>,
    repeat: Repeat,
}

impl Command {
    /// From its configuration, which must be of this kind.
    pub fn new(config: StepConfig) -> Self {
        let (run, check, repeat) = match &config.what {
            StepKind::Command { run, check, repeat } => (run.clone(), check.clone(), *repeat),
            StepKind::HttpProbe { .. } => (Vec::new(), None, Repeat::Never),
        };
        Self { config, run, check, repeat }
    }

    async fn start(&self, argv: &[String], cx: &Context<'_>) -> Result<Ended, StepError> {
        let Some((program, arguments)) = argv.split_first() else {
            return Err(StepError::Refused("there is no program to run".into()));
        };
        let child = Program::new(program)
            .args(arguments)
            .env("PLIMSOLL_PROMOTION", cx.promotion)
            .env("PLIMSOLL_STEP", self.config.id.to_string())
            .env("PLIMSOLL_ATTEMPT", cx.attempt.to_string())
            // Not the program's business, and dangerous in its hands.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_PID")
            .env_remove("WATCHDOG_USEC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| StepError::Refused(format!("{program} cannot be started: {e}")))?;
        let mut group = Group { leader: pid(&child), armed: true };
        let ended = wait(child, cx.clock, &mut group).await;
        ended.map_err(|e| StepError::Unknown(format!("{program} was lost: {e}")))
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// Kills a process group when it is dropped, unless its leader ended first.
struct Group {
    leader: Option<Pid>,
    armed: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader.filter(|_| self.armed) {
            // An error means that the group is gone already, which is what we want. While any member lives the id of the
            // group is not given to another.
            if let Err(error) = kill_process_group(leader, Signal::KILL) {
                tracing::debug!(%error, "a process group was gone before it was killed");
            }
        }
    }
}

/// How a program ended.
struct Ended {
    code: Option<i32>,
    said: String,
}

async fn wait(mut child: Child, clock: &dyn Clock, group: &mut Group) -> io::Result<Ended> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut said_out, mut said_err) = (Vec::new(), Vec::new());
    let status = {
        let mut reading = std::pin::pin!(async {
            tokio::join!(drain(out.as_mut(), &mut said_out), drain(err.as_mut(), &mut said_err))
        });
        let mut read_all = false;
        let status = loop {
            tokio::select! {
                _ = &mut reading, if !read_all => read_all = true,
                status = child.wait() => break status?,
            }
        };
        group.armed = false;
        if !read_all {
            // `None` is a pipe that somebody else still holds; what was read is kept.
            let _rest = timeout(clock, LINGER, &mut reading).await;
        }
        status
    };
    let said = [said_err, said_out].into_iter().map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    let said = said.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" | ");
    Ok(Ended { code: status.code(), said })
}

/// Reads to the end and keeps the last [`KEPT`] bytes: the program never blocks on a full pipe.
async fn drain<R: AsyncRead + Unpin>(from: Option<&mut R>, kept: &mut Vec<u8>) {
    let Some(from) = from else { return };
    let mut buffer = vec![0; 4096];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => {
                kept.extend(buffer.iter().take(n));
                if kept.len() > KEPT {
                    kept.drain(..kept.len() - KEPT);
                }
            }
        }
    }
}

impl Ended {
    fn sentence(&self, program: &str) -> String {
        let how = match self.code {
            Some(code) => format!("{program} ended with {code}"),
            None => format!("{program} was killed by a signal"),
        };
        if self.said.is_empty() { how } else { format!("{how}: {}", self.said) }
    }
}

/// A command line that could be typed.
fn typed(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let word = |arg: &String| {
        if !arg.is_empty() && arg.chars().all(plain) {
            arg.clone()
        } else {
            format!("'{}'", arg.replace('\'', r"'\''"))
        }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Step for Command {
    fn id(&self) -> StepId {
        self.config.id.clone()
    }

    fn describe(&self) -> Description {
        let mut calls = vec![typed(&self.run)];
        calls.extend(self.check.as_ref().map(|check| format!("{}   (check)", typed(check))));
        Description {
            phase: Phase::Commands,
            needs: self.config.needs.clone(),
            calls,
            required: self.config.required,
            reversible: false,
            deadline: self.config.deadline,
            poll: POLL,
            deferred: false,
            repeat: self.repeat,
        }
    }

    async fn check(&self, cx: &Context<'_>) -> Result<World, StepError> {
        let Some(check) = &self.check else { return Ok(World::Unknowable) };
        let ended = self.start(check, cx).await?;
        let program = check.first().map_or("", String::as_str);
        match ended.code {
            Some(0) => Ok(World::Done(ended.said)),
            Some(1) => Ok(World::NotStarted(ended.said)),
            _ => Err(StepError::Failed(ended.sentence(program))),
        }
    }

    async fn act(&self, cx: &Context<'_>) -> Result<(), StepError> {
        let ended = self.start(&self.run, cx).await?;
        match ended.code {
            Some(0) => Ok(()),
            _ => Err(StepError::Unknown(ended.sentence(self.run.first().map_or("", String::as_str)))),
        }
    }
}
