//! What a process has used, from `/proc`: of the daemon and of the bare loops alone, never of the servers beside them.

use plimsoll_lab::trouble::{Because, Trouble};

/// The unit of CPU time in `/proc/PID/stat`: USER_HZ, which Linux shows as 100 whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// CPU seconds, of all its threads, in user and kernel mode.
    pub(crate) cpu: f64,
    /// Memory it holds now, MB.
    pub(crate) rss: f64,
    /// The most it has held, MB.
    pub(crate) peak: f64,
}

impl Usage {
    /// Of a process by its id; `self` is this one.
    pub(crate) fn of(pid: &str) -> Result<Self, Trouble> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).because(format!("could not read {path}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        // The name of the program, in brackets, may hold anything: count from its end. utime and stime are fields 14, 15.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum::<f64>();
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1024.0
        };
        Ok(Self { cpu: ticks / TICKS_PER_SECOND, rss: megabytes("VmRSS:"), peak: megabytes("VmHWM:") })
    }
}

/// CPU seconds of the children that this process has waited for, and of theirs.
pub(crate) fn of_children() -> Result<f64, Trouble> {
    let stat = std::fs::read_to_string("/proc/self/stat").because("could not read /proc/self/stat")?;
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    // cutime and cstime are fields 16 and 17.
    Ok(fields.split_whitespace().skip(13).take(2).filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND)
}

/// The load of the machine, for the head of the report: numbers of a busy machine are worth less.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}
