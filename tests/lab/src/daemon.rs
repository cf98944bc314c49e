//! The daemon under test: its folder (configuration, tokens, index), its process, and its HTTP surface.
//!
//! The daemon is used as an operator uses it: the built binary, a configuration file, a tokens file, HTTP and the CLI.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::children::{Process, ProcessSpec, run_to_end};
use crate::clients::TEST_KEY;
use crate::trouble::{Because, Trouble};

mod home;

pub(crate) use home::quoted;
pub use home::{BucketSpec, ConfigSpec, Home, Role, StoreSpec};

/// The built binary: `PLIMSOLL_BIN`, else beside the running program (`target/debug/`), else one folder up (a test runs
/// in `target/debug/deps/`).
pub fn binary() -> Result<PathBuf, Trouble> {
    if let Some(set) = std::env::var_os("PLIMSOLL_BIN").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(set);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Trouble::new(format!("PLIMSOLL_BIN names {}, which is not a file", path.display())))
        };
    }
    let own = std::env::current_exe().because("could not find the running program")?;
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("plimsoll"));
    beside.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Trouble::new("the plimsoll binary is not built: run `cargo build` first, or set PLIMSOLL_BIN to its path")
    })
}

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    client: DaemonClient,
}

impl Daemon {
    /// Starts `plimsoll run -c FILE` in a prepared folder. Its output goes to `plimsoll.log` there, over all restarts.
    pub fn spawn(binary: &Path, home: &Home) -> Result<Self, Trouble> {
        let spec = ProcessSpec {
            name: "plimsoll".into(),
            program: binary.into(),
            args: vec!["run".into(), "-c".into(), home.config().into()],
            env: aws_env(),
            stdout: home.log(),
            stderr: None,
        };
        Ok(Self { process: Process::spawn(&spec)?, client: DaemonClient::new(home)? })
    }

    /// The HTTP surface; stays usable (and fails politely) after the daemon is gone.
    pub fn client(&self) -> &DaemonClient {
        &self.client
    }

    /// The id of its process.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// True while it runs.
    pub fn is_alive(&mut self) -> bool {
        self.process.is_alive()
    }

    /// SIGKILL; gone when this returns.
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and SIGKILL to what has not ended after `grace`. The status says which it was.
    pub async fn terminate(&mut self, grace: Duration) -> ExitStatus {
        self.process.terminate(grace).await
    }

    /// Waits for it to end by itself, as it must on a bad configuration.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Trouble> {
        self.process.wait(limit).await
    }

    /// Stops it in its tracks.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        self.process.tail(lines)
    }

    /// Waits until `/healthz` answers 200, which it must do in any state of the stores.
    pub async fn wait_ready(&mut self, limit: Duration) -> Result<(), Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.process.try_wait() {
                return Err(Trouble::new(format!("plimsoll ended ({status}); its last lines:\n{}", self.tail(15))));
            }
            if let Ok((200, _)) = self.client.get("/healthz").await {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let tail = self.tail(15);
                return Err(Trouble::new(format!("plimsoll does not answer after {limit:?}; its last lines:\n{tail}")));
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until `good` says yes to a status; the trouble shows the last one.
    pub async fn wait_status(&mut self, limit: Duration, good: impl Fn(&Status) -> bool) -> Result<Status, Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            let last = match self.client.status().await {
                Ok(status) if good(&status) => return Ok(status),
                Ok(status) => status.to_string(),
                Err(trouble) => trouble.to_string(),
            };
            if !self.is_alive() {
                return Err(Trouble::new(format!("plimsoll ended; its last lines:\n{}", self.tail(15))));
            }
            if Instant::now() >= deadline {
                return Err(Trouble::new(format!("not reached within {limit:?}; the last status: {last}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Test credentials, and no look at the machine's own (instance metadata, shared files).
pub fn aws_env() -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    [
        ("AWS_ACCESS_KEY_ID", TEST_KEY),
        ("AWS_SECRET_ACCESS_KEY", TEST_KEY),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("NO_COLOR", "1"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into()
}

/// Runs the CLI as a client of the daemon of a folder, with a token of the role, and returns its exit code, its output
/// and its error output. `args` come without `--url` and `--token-file`.
pub async fn cli(
    binary: &Path,
    home: &Home,
    role: Role,
    args: &[&str],
    limit: Duration,
) -> Result<(Option<i32>, String, String), Trouble> {
    let spec = cli_spec(binary, home, role, args)?;
    let (status, out, err) = run_to_end(&spec, limit).await?;
    Ok((status.code(), out, err))
}

/// The process that [`cli`] runs, for callers that want to watch its output while it runs.
pub fn cli_spec(binary: &Path, home: &Home, role: Role, args: &[&str]) -> Result<ProcessSpec, Trouble> {
    let mut all: Vec<std::ffi::OsString> = args.iter().map(Into::into).collect();
    all.extend(["--url".into(), home.url().into(), "--token-file".into(), home.token_file(role).into_os_string()]);
    let (stdout, stderr) = home.fresh_output_files()?;
    Ok(ProcessSpec {
        name: format!("plimsoll {}", args.first().copied().unwrap_or_default()),
        program: binary.into(),
        args: all,
        env: aws_env(),
        stdout,
        stderr: Some(stderr),
    })
}

/// The daemon's HTTP surface, with a token.
#[derive(Debug, Clone)]
pub struct DaemonClient {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl DaemonClient {
    /// A client with the approver's token, which may do everything.
    pub fn new(home: &Home) -> Result<Self, Trouble> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(10))
            .build()
            .because("could not make an HTTP client")?;
        Ok(Self { http, url: home.url().to_owned(), token: Some(home.token(Role::Approver).to_owned()) })
    }

    /// The same client with another token, or with none.
    #[must_use]
    pub fn with_token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(ToOwned::to_owned);
        self
    }

    /// `GET path`: the HTTP status and the body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), Trouble> {
        self.send(self.http.get(format!("{}{path}", self.url)), path).await
    }

    /// `POST path` with a body as it is and headers, for requests good and bad.
    pub async fn post(&self, path: &str, body: String, headers: &[(&str, &str)]) -> Result<(u16, String), Trouble> {
        let mut request = self.http.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body), path).await
    }

    /// The status, or the trouble.
    pub async fn status(&self) -> Result<Status, Trouble> {
        let asked_at = SystemTime::now();
        let value = self.json("/v1/status").await?;
        Ok(Status { asked_at, value })
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> Result<String, Trouble> {
        match self.get("/metrics").await? {
            (200, text) => Ok(text),
            (code, text) => Err(Trouble::new(format!("/metrics answered {code}: {text}"))),
        }
    }

    /// `POST /v1/promote` with an idempotency key: the HTTP status and the answer.
    pub async fn promote(&self, request: &Value, idempotency_key: &str) -> Result<(u16, Value), Trouble> {
        let headers = [("Idempotency-Key", idempotency_key)];
        let (code, body) = self.post("/v1/promote", request.to_string(), &headers).await?;
        let value = serde_json::from_str(&body).because(format!("POST /v1/promote answered {code} with no JSON"))?;
        Ok((code, value))
    }

    /// Waits until a promotion is `completed`, `held` or `refused`, and returns it.
    pub async fn wait_promotion(&self, id: &str, limit: Duration) -> Result<Value, Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            let promotion = self.json(&format!("/v1/promotions/{id}")).await?;
            let state = promotion.get("state").and_then(Value::as_str).unwrap_or_default();
            if matches!(state, "completed" | "held" | "refused") {
                return Ok(promotion);
            }
            if Instant::now() >= deadline {
                return Err(Trouble::new(format!("the promotion {id} is still {state} after {limit:?}: {promotion}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `GET path` as JSON; anything but 200 is a trouble.
    pub async fn json(&self, path: &str) -> Result<Value, Trouble> {
        match self.get(path).await? {
            (200, body) => serde_json::from_str(&body).because(format!("{path} answered no JSON")),
            (code, body) => Err(Trouble::new(format!("{path} answered {code}: {body}"))),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder, path: &str) -> Result<(u16, String), Trouble> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.because(format!("{path} was not answered"))?;
        let code = answer.status().as_u16();
        Ok((code, answer.text().await.because(format!("the answer of {path} broke off"))?))
    }
}

/// An answer of `/v1/status`, and the moment just before it was asked for.
#[derive(Debug, Clone)]
pub struct Status {
    /// Everything in it was true at this moment or later.
    pub asked_at: SystemTime,
    /// The answer.
    pub value: Value,
}

impl Status {
    /// The stores in it.
    pub fn stores(&self) -> impl Iterator<Item = &Value> {
        self.value.get("stores").and_then(Value::as_array).into_iter().flatten()
    }

    /// A store by its id.
    pub fn store(&self, id: &str) -> Option<&Value> {
        self.stores().find(|store| store.get("id").and_then(Value::as_str) == Some(id))
    }

    /// The state of a store; empty when the store is not there.
    pub fn state(&self, id: &str) -> &str {
        self.store(id).and_then(|store| store.get("state")).and_then(Value::as_str).unwrap_or_default()
    }

    /// The watermark of a store, if it has one.
    pub fn watermark(&self, id: &str) -> Option<SystemTime> {
        let text = self.store(id)?.get("watermark")?.as_str()?;
        humantime::parse_rfc3339(text).ok()
    }

    /// True when there are stores and all of them are in this state.
    pub fn all(&self, state: &str) -> bool {
        let mut stores = self.stores().peekable();
        stores.peek().is_some() && stores.all(|store| store.get("state").and_then(Value::as_str) == Some(state))
    }
}

#[cfg(test)]
impl From<Value> for Status {
    fn from(value: Value) -> Self {
        Self { asked_at: SystemTime::now(), value }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.value)
    }
}

#[cfg(test)]
mod tests;
