//! What systemd is told, and the signs of life that the watchdog rests on.
//!
//! A [`Pulse`] is held by every essential task and beaten whenever the task has gone round: it says "I am not stuck", not
//! "all is well", so a driver whose source is dead beats too. The watchdog is fed only while no pulse is overdue: a hung
//! task brings a restart, which the index makes cheap. Without `NOTIFY_SOCKET` everything here is silent.
//!
//! A dropped pulse no longer counts: the task has ended, and the supervisor knows whether it may.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::seams::SharedClock;

/// The pulses of the process. Cheap to clone.
#[derive(Clone)]
pub struct Pulses {
    clock: SharedClock,
    beats: Arc<Mutex<Beats>>,
}

#[derive(Default)]
struct Beats {
    next: u64,
    tasks: BTreeMap<u64, Beat>,
}

struct Beat {
    name: String,
    bound: Duration,
    last: Duration,
}

/// One task's sign of life.
pub struct Pulse {
    id: u64,
    pulses: Pulses,
}

impl Pulses {
    /// None yet.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, beats: Arc::default() }
    }

    /// A pulse that is overdue when it was not beaten for longer than `bound`. Beaten now.
    pub fn register(&self, name: impl Into<String>, bound: Duration) -> Pulse {
        let last = self.clock.now().mono;
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let id = beats.next;
        beats.next += 1;
        beats.tasks.insert(id, Beat { name: name.into(), bound, last });
        drop(beats);
        Pulse { id, pulses: self.clone() }
    }

    /// The names of the tasks whose pulse is overdue.
    pub fn overdue(&self) -> Vec<String> {
        let now = self.clock.now().mono;
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let late = |beat: &&Beat| now.saturating_sub(beat.last) > beat.bound;
        beats.tasks.values().filter(late).map(|beat| beat.name.clone()).collect()
    }
}

impl Pulse {
    /// I am not stuck.
    pub fn beat(&self) {
        let now = self.pulses.clock.now().mono;
        let mut beats = self.pulses.beats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(beat) = beats.tasks.get_mut(&self.id) {
            beat.last = now;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.pulses.beats.lock().unwrap_or_else(PoisonError::into_inner).tasks.remove(&self.id);
    }
}

/// systemd's notification socket. A message that cannot be sent is told to the log once and never stops anything.
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often the watchdog wants to hear from us; `None` when it is off.
    watchdog: Option<Duration>,
    failed: Mutex<bool>,
}

impl Notifier {
    /// To nobody.
    pub fn silent() -> Self {
        Self { socket: None, watchdog: None, failed: Mutex::new(false) }
    }

    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` of this process say.
    #[expect(clippy::disallowed_methods, reason = "these variables are the service manager's, not configuration")]
    pub fn from_env() -> Self {
        let text = |name| std::env::var(name).ok();
        let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Self::silent();
        };
        let ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let usec = text("WATCHDOG_USEC").filter(|_| ours).and_then(|usec| usec.parse().ok()).filter(|usec| *usec > 0);
        Self::to(Path::new(&path), usec.map(Duration::from_micros)).unwrap_or_else(|error| {
            tracing::error!(path = %Path::new(&path).display(), %error, "NOTIFY_SOCKET cannot be used; systemd hears nothing");
            Self::silent()
        })
    }

    /// To a socket; a leading `@` names one in the abstract namespace.
    pub fn to(path: &Path, watchdog: Option<Duration>) -> std::io::Result<Self> {
        let address = match path.as_os_str().as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A full queue must not hang the process that it watches.
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Some((socket, address)), watchdog, failed: Mutex::new(false) })
    }

    /// The process is ready: index open, configuration built, listener bound.
    pub fn ready(&self, words: &str) {
        self.send(&format!("READY=1\nSTATUS={}", line(words)));
    }

    /// What the process does, in words.
    pub fn status(&self, words: &str) {
        self.send(&format!("STATUS={}", line(words)));
    }

    /// The process has begun to stop and needs at most `grace`.
    pub fn stopping(&self, grace: Duration) {
        self.send(&format!("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={}", grace.as_micros()));
    }

    /// The start (or the stop) needs `more` from now on: a large index is being opened.
    pub fn extend(&self, more: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", more.as_micros()));
    }

    /// All essential tasks show life.
    pub fn feed(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        let sent = socket.send_to_addr(message.as_bytes(), address);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match sent {
            Ok(_) => *failed = false,
            Err(error) if !*failed => {
                *failed = true;
                tracing::warn!(%error, "systemd could not be notified");
            }
            Err(_) => {}
        }
    }
}

/// The words of one line: a line break would begin another assignment.
fn line(words: &str) -> String {
    words.replace(['\n', '\r'], " ")
}

/// Between two looks when the watchdog is off: the words of `systemctl status` stay fresh.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Feeds the watchdog while no pulse is overdue and keeps the words fresh, until `stop`.
pub async fn watch(
    notifier: Arc<Notifier>,
    pulses: Pulses,
    words: impl Fn() -> String + Send,
    clock: SharedClock,
    stop: CancellationToken,
) {
    // Half the time would do; a third leaves room for a busy machine.
    let every = notifier.watchdog.map_or(STATUS_EVERY, |usec| STATUS_EVERY.min(usec / 3));
    let mut told = Vec::new();
    loop {
        let overdue = pulses.overdue();
        if overdue.is_empty() {
            notifier.feed();
            notifier.status(&words());
        } else {
            notifier.status(&format!("no sign of life from {}", overdue.join(", ")));
        }
        if overdue != told {
            if overdue.is_empty() {
                tracing::info!("every task shows life again");
            } else {
                tracing::error!(tasks = %overdue.join(", "), "no sign of life; the watchdog is not fed");
            }
            told = overdue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(every) => {}
        }
    }
}
