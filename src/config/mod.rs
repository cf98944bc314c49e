//! The configuration: read whole, checked offline, every problem reported at once with its place, value and a hint.
//!
//! Unknown keys are refused everywhere: a misspelt objective that is silently ignored is worse than a daemon that does
//! not start. A key, its default and its documentation are one value ([`Key`]), used by the reader and by the generated
//! `config/plimsoll.toml`. Deliberately absent: environment variables and command-line overrides, so that the file is
//! the whole truth; and secrets, which are only named by file.

mod document;
mod duration;
mod files;
mod key;
mod keys;
mod places;
mod problem;
mod read;
mod section;
mod steps;
mod stores;

pub use document::document;
pub use duration::{parse as parse_duration, words as duration_words};
pub use files::{load, open_to_others};
pub use key::{Key, Need, Takes};
pub use problem::{Problem, Severity};
pub use read::read;
pub use section::Section;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::change::StoreId;
use crate::promote::StepId;
use crate::stores::contract::Settings;

/// The longest text that is read as a configuration; thousands of stores fit.
pub const MAX_BYTES: usize = 1 << 20;

/// A configuration without errors.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What it says.
    pub config: Config,
    /// What works and should be looked at.
    pub warnings: Vec<Problem>,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The application's name.
    pub app: String,
    /// prodX.
    pub primary: Region,
    /// prodY.
    pub standby: Region,
    /// What is promised.
    pub objectives: Objectives,
    /// Where the watermark index lives.
    pub index_path: PathBuf,
    /// The listener.
    pub serve: Serve,
    /// What is kept warm.
    pub stores: Vec<StoreConfig>,
    /// The recovery.
    pub promote: Promote,
}

/// One AWS region and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// `us-east-1`.
    pub region: String,
    /// A role to assume for it.
    pub role_arn: Option<String>,
    /// A profile of the shared AWS configuration.
    pub profile: Option<String>,
    /// Another endpoint for every service; `http://` on loopback only.
    pub endpoint_url: Option<String>,
}

/// What is promised for the whole application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objectives {
    /// The RPO allowed; a store may be stricter.
    pub rpo: Duration,
    /// The RTO allowed.
    pub rto: Duration,
}

/// The listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may call: a line per token.
    pub tokens_file: Option<PathBuf>,
    /// TLS; plain HTTP without.
    pub tls: Option<Tls>,
}

/// TLS of the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM certificate chain.
    pub cert_file: PathBuf,
    /// PEM private key.
    pub key_file: PathBuf,
    /// PEM certificate authority for client certificates; asked for and required when given.
    pub client_ca_file: Option<PathBuf>,
}

/// One `[[store]]`.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Its id.
    pub id: StoreId,
    /// The name of its kind.
    pub kind: &'static str,
    /// `replicate` or `observe`.
    pub mode: String,
    /// The RPO allowed for it.
    pub rpo: Duration,
    /// What its kind reads.
    pub settings: Arc<dyn Settings>,
}

/// `[promote]`.
#[derive(Debug, Clone)]
pub struct Promote {
    /// How long to catch up with what is fetched and reachable, at most.
    pub catch_up: Duration,
    /// The operator's own steps, in the order of the file.
    pub steps: Vec<StepConfig>,
}

/// One `[[promote.step]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepConfig {
    /// Its id.
    pub id: StepId,
    /// Other steps that must be done first.
    pub needs: Vec<StepId>,
    /// A failure holds the promotion.
    pub required: bool,
    /// From its first attempt to its end.
    pub deadline: Duration,
    /// What it does.
    pub what: StepKind,
}

/// What a configured step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// Runs a program.
    Command {
        /// Program and arguments; no shell is added.
        run: Vec<String>,
        /// Exit 0: done; 1: not started; anything else: an error. One of `check` and `repeat` must be given.
        check: Option<Vec<String>>,
        /// What an unknown outcome means without a check.
        repeat: crate::promote::Repeat,
    },
    /// Waits until a URL answers as expected.
    HttpProbe {
        /// GET this.
        url: String,
        /// The status that counts as done.
        expect_status: u16,
    },
}
