//! Other people's tools, as they are called for the same task: s5cmd, which copies within one endpoint, and rclone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_lab::children::{Process, ProcessSpec};
use plimsoll_lab::clients::{Endpoint, TEST_KEY};
use plimsoll_lab::trouble::Trouble;

use super::AT_ONCE;
use super::copies::Run;
use crate::pair::LIMIT;
use crate::usage::{Usage, of_children};

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    S5cmd,
    Rclone,
}

/// From where to where.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) ends: (Endpoint, Endpoint),
    pub(super) buckets: (&'static str, &'static str),
    pub(super) stream: bool,
    /// The servers are the scripted ones, whose ETags are no MD5.
    pub(super) scripted: bool,
}

impl Peer {
    /// Those that are installed and can do it.
    pub(super) fn all(stream: bool) -> Vec<Self> {
        let can = |peer: &Self| !stream || peer.two_ends();
        [Self::S5cmd, Self::Rclone].into_iter().filter(can).filter(|peer| peer.program().is_some()).collect()
    }

    pub(super) fn name(self) -> String {
        self.command().to_owned()
    }

    fn command(self) -> &'static str {
        match self {
            Self::S5cmd => "s5cmd",
            Self::Rclone => "rclone",
        }
    }

    /// It can copy between two endpoints.
    pub(super) fn two_ends(self) -> bool {
        self == Self::Rclone
    }

    fn program(self) -> Option<PathBuf> {
        let own = std::env::var_os("PLIMSOLL_PEERS").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = own.into_iter().chain(std::env::split_paths(&path));
        folders.map(|folder| folder.join(self.command())).find(|file| file.is_file())
    }

    /// Everything is copied to an empty bucket.
    pub(super) async fn copy(self, way: &Way, folder: &Path) -> Result<Run, Trouble> {
        let (from, to) = way.buckets;
        let args = match self {
            Self::S5cmd => {
                let end = ["--endpoint-url", &way.ends.0.url, "--numworkers", &AT_ONCE.to_string()].map(OsString::from);
                let what = ["cp".into(), format!("s3://{from}/*").into(), format!("s3://{to}/").into()];
                end.into_iter().chain(what).collect()
            }
            Self::Rclone => self.rclone("copy", way),
        };
        self.run(args, way, folder).await
    }

    /// Two equal buckets are to be made the same.
    pub(super) async fn sync(self, way: &Way, folder: &Path) -> Result<Run, Trouble> {
        let (from, to) = way.buckets;
        let args = match self {
            Self::S5cmd => {
                let end = ["--endpoint-url", &way.ends.0.url, "--numworkers", &AT_ONCE.to_string()].map(OsString::from);
                let what = ["sync".into(), format!("s3://{from}/*").into(), format!("s3://{to}/").into()];
                end.into_iter().chain(what).collect()
            }
            Self::Rclone => self.rclone("sync", way),
        };
        self.run(args, way, folder).await
    }

    fn rclone(self, what: &str, way: &Way) -> Vec<OsString> {
        let (from, to) = way.buckets;
        let at_once = AT_ONCE.to_string();
        let mut args: Vec<OsString> = vec![what.into(), format!("x:{from}").into(), format!("y:{to}").into()];
        args.extend(["--transfers", &at_once, "--checkers", &at_once, "--fast-list"].map(OsString::from));
        // Else it asks for each object when its owner says that it was changed, which no listing tells.
        args.extend(["--use-server-modtime", "--update"].map(OsString::from));
        if way.scripted {
            args.push("--ignore-checksum".into());
        }
        if !way.stream {
            args.push("--server-side-across-configs".into());
        }
        args
    }

    async fn run(self, args: Vec<OsString>, way: &Way, folder: &Path) -> Result<Run, Trouble> {
        let program = self.program().ok_or_else(|| Trouble::new(format!("{} is not installed", self.command())))?;
        let mut env: Vec<(String, String)> = vec![
            ("AWS_ACCESS_KEY_ID".into(), TEST_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY".into(), TEST_KEY.into()),
            ("AWS_REGION".into(), way.ends.0.region.clone()),
            ("RCLONE_CONFIG".into(), folder.join("none.conf").display().to_string()),
        ];
        for (name, end) in [("X", &way.ends.0), ("Y", &way.ends.1)] {
            let of = |what: &str| format!("RCLONE_CONFIG_{name}_{what}");
            env.extend([
                (of("TYPE"), "s3".to_owned()),
                (of("PROVIDER"), "Other".to_owned()),
                (of("ENV_AUTH"), "true".to_owned()),
                (of("REGION"), end.region.clone()),
                (of("ENDPOINT"), end.url.clone()),
                (of("NO_CHECK_BUCKET"), "true".to_owned()),
            ]);
        }
        let spec = ProcessSpec {
            name: self.name(),
            program,
            args,
            env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            stdout: folder.join("peer.out"),
            stderr: None,
        };
        let (before, began) = (of_children()?, Instant::now());
        let mut process = Process::spawn(&spec)?;
        let (mut peak, pid) = (0.0_f64, process.pid().to_string());
        let status = loop {
            if let Some(status) = process.try_wait() {
                break status;
            }
            if began.elapsed() > LIMIT {
                return Err(Trouble::new(format!(
                    "{} has not ended after {LIMIT:?}: {}",
                    self.name(),
                    process.tail(5)
                )));
            }
            // It is gone when it cannot be read.
            peak = peak.max(Usage::of(&pid).map_or(0.0, |usage| usage.peak));
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let seconds = began.elapsed().as_secs_f64();
        if !status.success() {
            return Err(Trouble::new(format!("{} ended with {status}: {}", self.name(), process.tail(5))));
        }
        Ok(Run { seconds, cpu: of_children()? - before, peak, ..Run::default() })
    }
}
