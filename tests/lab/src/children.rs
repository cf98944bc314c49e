//! Child processes that cannot outlive the process that started them.
//!
//! Every child leads its own process group, so that it can be stopped, continued and killed with all it has started,
//! and so that a Ctrl-C on the terminal reaches only the parent. Four things end a child, each for another death:
//! - [`Process::kill`], [`Process::terminate`] and drop (which also runs on a panic): kill the group, then reap it;
//! - the parent is killed, SIGKILL included: the kernel's parent-death signal, set by `setpriv` where there is one;
//! - the same, for grandchildren, and where there is no `setpriv`: a watchdog shell, which reads the groups from a pipe
//!   and kills them when the pipe ends, that is, when the parent is gone however it went.
//!
//! The parent-death signal fires when the *thread* that spawned the child ends. So all spawns are made by one thread
//! that lives as long as the process.
//! Nothing here is unsafe; signals go through `nix`, and only to groups that are known not to have been reaped.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::trouble::{Because, Trouble};

/// Reads `+ PGID` and `- PGID` lines; at the end of its input kills the groups that are still on the list.
const WATCHDOG: &str = r#"
groups=" "
while read -r op group; do
  case "$op" in
    +) groups="$groups$group " ;;
    -) before="${groups%% $group *}"; after="${groups#* $group }"; groups="$before $after" ;;
  esac
done
for group in $groups; do kill -9 "-$group" 2>/dev/null; done
"#;

/// The parent may die between the spawn and the moment the death signal is set; whoever finds another parent goes.
const GUARD: &str = r#"[ "$PPID" = "$1" ] || exit 125; shift; exec "$@""#;

/// How often an exit is looked for. There is no portable way to wait for a child without unsafe code or a thread each.
const POLL: Duration = Duration::from_millis(5);

/// What to start.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// For messages: "prodX", "plimsoll".
    pub name: String,
    /// The program, looked for on PATH when it has no slash.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables to set. The child inherits the others, except AWS, PLIMSOLL and proxy settings of the developer, which
    /// must not leak into a test.
    pub env: Vec<(OsString, OsString)>,
    /// The file that receives its output (appended).
    pub stdout: PathBuf,
    /// The file that receives its error output; the same as `stdout` when absent.
    pub stderr: Option<PathBuf>,
}

/// A running (or reaped) child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    stdout: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts the child in a new process group.
    pub fn spawn(spec: &ProcessSpec) -> Result<Self, Trouble> {
        let open = |path: &Path| {
            File::options().create(true).append(true).open(path).because(format!(
                "could not open {} for the output of {}",
                path.display(),
                spec.name
            ))
        };
        let stdout = open(&spec.stdout)?;
        let stderr = open(spec.stderr.as_ref().unwrap_or(&spec.stdout))?;
        let mut command = guarded(&spec.program, &spec.args);
        for (name, _) in std::env::vars_os() {
            if is_private(&name) {
                command.env_remove(name);
            }
        }
        command.envs(spec.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
        let child =
            spawn_on_keeper(command).because(format!("could not start {} ({})", spec.name, spec.program.display()))?;
        let group = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits i32"));
        tell_watchdog('+', group);
        Ok(Self { name: spec.name.clone(), child, group, stdout: spec.stdout.clone(), ended: None })
    }

    /// The process id, which is also the id of its group.
    pub fn pid(&self) -> i32 {
        self.group.as_raw()
    }

    /// The file with its output.
    pub fn output_path(&self) -> &Path {
        &self.stdout
    }

    /// The last `lines` lines of its output, for an error message.
    pub fn tail(&self, lines: usize) -> String {
        let bytes = std::fs::read(&self.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }

    /// The exit status if the process has ended. Ends and reaps what is left of its group.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() && has_exited(self.group) {
            self.reap();
        }
        self.ended
    }

    /// True while the process has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.try_wait().is_none()
    }

    /// Waits for the end, at most `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.try_wait() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Trouble::new(format!("{} did not end within {limit:?}", self.name)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// SIGKILL to the whole group, then reaps: when this returns the process is gone. Also works on a frozen one.
    pub fn kill(&mut self) -> ExitStatus {
        match self.ended {
            Some(status) => status,
            None => self.reap(),
        }
    }

    /// SIGTERM; what has not ended after `grace` is killed.
    pub async fn terminate(&mut self, grace: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        match self.wait(grace).await {
            Ok(status) => status,
            Err(_) => self.kill(),
        }
    }

    /// SIGSTOP to the group: a process that hangs, whose kernel still accepts connections.
    pub fn freeze(&self) {
        self.signal_group(Signal::SIGSTOP);
    }

    /// SIGCONT to the group.
    pub fn thaw(&self) {
        self.signal_group(Signal::SIGCONT);
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            expect_delivery(&self.name, kill(self.group, signal));
        }
    }

    fn signal_group(&self, signal: Signal) {
        if self.ended.is_none() {
            expect_delivery(&self.name, killpg(self.group, signal));
        }
    }

    /// Kills the group while its leader is not yet reaped, so that its id cannot have been given to another process.
    fn reap(&mut self) -> ExitStatus {
        self.signal_group(Signal::SIGKILL);
        let status = self.child.wait().expect("a child of this process that was not waited for yet");
        self.ended = Some(status);
        tell_watchdog('-', self.group);
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end, at most `limit`, and returns its status with its output and error output.
pub async fn run_to_end(spec: &ProcessSpec, limit: Duration) -> Result<(ExitStatus, String, String), Trouble> {
    let mut process = Process::spawn(spec)?;
    let status = process.wait(limit).await?;
    let read = |path: &Path| {
        let bytes = std::fs::read(path).because(format!("could not read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let err = match &spec.stderr {
        Some(path) => read(path)?,
        None => String::new(),
    };
    Ok((status, read(&spec.stdout)?, err))
}

/// A zombie is a valid target (the signal is lost), so a failure means that the bookkeeping here is wrong.
fn expect_delivery(name: &str, sent: Result<(), Errno>) {
    if let Err(errno) = sent {
        // EPERM: on macOS, for a group of which only zombies are left.
        assert!(matches!(errno, Errno::ESRCH | Errno::EPERM), "could not signal {name}: {errno}");
    }
}

/// Whether a child has exited, leaving it to be reaped.
fn has_exited(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::StillAlive))
}

/// Settings of the person at the keyboard that would change what a child does.
fn is_private(name: &OsString) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    name.starts_with("AWS_")
        || name.starts_with("PLIMSOLL_")
        || name.starts_with("MINISTACK_")
        || matches!(name.as_str(), "HTTP_PROXY" | "HTTPS_PROXY" | "ALL_PROXY" | "RUST_LOG")
}

fn guarded(program: &Path, args: &[OsString]) -> Command {
    let mut command = if has_setpriv() {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "/bin/sh", "-c", GUARD, "guard"]);
        command.arg(std::process::id().to_string()).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(args);
    command
}

/// BusyBox has a `setpriv` without the option, macOS has none: ask once.
fn has_setpriv() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

type Job = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Spawns on the thread that never ends.
fn spawn_on_keeper(command: Command) -> io::Result<Child> {
    static KEEPER: OnceLock<Mutex<mpsc::SyncSender<Job>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (jobs, inbox) = mpsc::sync_channel::<Job>(1);
        std::thread::Builder::new()
            .name("lab-keeper".into())
            .spawn(move || {
                for (mut command, answer) in inbox {
                    // The asker waits for the answer, so it cannot be gone.
                    answer.send(command.spawn()).expect("the asker waits for its child");
                }
            })
            .expect("a thread can be started");
        Mutex::new(jobs)
    });
    let (answer, child) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts children is gone");
    keeper.lock().map_err(|_| gone())?.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// Keeps the watchdog's list. A watchdog that cannot be started or has been killed is no reason to fail a run: the
/// parent-death signal and drop remain.
fn tell_watchdog(op: char, group: Pid) {
    static PIPE: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHDOG, "plimsoll-lab-watchdog"]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Mutex::new(spawn_on_keeper(command).ok().and_then(|mut child| child.stdin.take()))
    });
    if let Ok(mut pipe) = pipe.lock()
        && let Some(open) = pipe.as_mut()
        && writeln!(open, "{op} {group}").is_err()
    {
        *pipe = None;
    }
}
