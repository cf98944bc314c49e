//! Emulated regions: one `ministack` process each, so that killing the process is the loss of the region.
//!
//! What differs from AWS: one shard for ever, `ApproximateCreationDateTime` in whole seconds, no throttling, no signature
//! checks. A killed region forgets everything; a frozen one (SIGSTOP) still accepts connections and answers none.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::children::{Process, ProcessSpec};
use crate::clients::{self, Endpoint};
use crate::ports;
use crate::trouble::{Because, Trouble};

/// Measured: 0.3 s on a quiet machine; the bound is for a machine that is compiling.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A picked port can be lost to another process before it is bound.
const START_ATTEMPTS: usize = 3;

/// Where the health of an emulator is asked, for an `http-probe` step too.
pub const HEALTH_PATH: &str = "/_ministack/health";

/// What to start.
#[derive(Debug, Clone)]
pub struct RegionSpec {
    /// For messages and file names: "prodX".
    pub name: String,
    /// The AWS name of the region.
    pub region: String,
    /// The run's folder; the region keeps its state in a folder of its name there.
    pub folder: PathBuf,
}

impl RegionSpec {
    /// prodX, the primary: us-east-1.
    pub fn primary(folder: &Path) -> Self {
        Self { name: "prodX".into(), region: "us-east-1".into(), folder: folder.into() }
    }

    /// prodY, the standby: us-west-2.
    pub fn standby(folder: &Path) -> Self {
        Self { name: "prodY".into(), region: "us-west-2".into(), folder: folder.into() }
    }
}

/// A running region; gone when dropped.
#[derive(Debug)]
pub struct Region {
    name: String,
    process: Process,
    endpoint: Endpoint,
    port: u16,
}

impl Region {
    /// Starts a region and waits until it answers.
    pub async fn start(spec: RegionSpec) -> Result<Self, Trouble> {
        let program = ministack()?;
        let folder = spec.folder.join(&spec.name);
        for part in ["state", "s3", "tmp"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).because(format!("could not create {}", path.display()))?;
        }
        let mut why = String::new();
        for attempt in 0..START_ATTEMPTS {
            let port = ports::free()?;
            // The emulator repeats its "edition" in its health answer: proof that the answer is this process's.
            let nonce = format!("lab-{}-{}-{port}-{attempt}", std::process::id(), spec.name);
            let mut process = Process::spawn(&process_spec(&spec, &program, &folder, port, &nonce))?;
            let url = format!("http://127.0.0.1:{port}");
            match wait_until_healthy(&mut process, &url, &nonce).await {
                Ok(()) => {
                    let endpoint = Endpoint::new(url, spec.region);
                    return Ok(Self { name: spec.name, process, endpoint, port });
                }
                Err(reason) => why = format!("{reason}\n{}", process.tail(15)),
            }
        }
        Err(Trouble::new(format!("the region {} did not start: {why}", spec.name)))
    }

    /// Its name: "prodX".
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it answers.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its process.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// The URL that answers 200 while the region lives.
    pub fn health_url(&self) -> String {
        format!("{}{HEALTH_PATH}", self.endpoint.url)
    }

    /// A DynamoDB client that retries.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        clients::dynamodb(&self.endpoint)
    }

    /// A DynamoDB Streams client that retries.
    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        clients::streams(&self.endpoint)
    }

    /// The loss of the region: SIGKILL, and reaped when this returns.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// The region hangs: connections are accepted, nothing is answered.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// The region goes on where it was frozen; requests that waited in its sockets are carried out now.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// An orderly stop, which loses the data too.
    pub async fn stop(mut self) {
        self.process.terminate(Duration::from_secs(5)).await;
    }
}

fn process_spec(spec: &RegionSpec, program: &Path, folder: &Path, port: u16, nonce: &str) -> ProcessSpec {
    let env = [
        ("GATEWAY_PORT", port.to_string().into()),
        ("BIND_HOST", "127.0.0.1".into()),
        ("MINISTACK_REGION", spec.region.clone().into()),
        ("MINISTACK_EDITION", nonce.into()),
        ("STATE_DIR", folder.join("state").into_os_string()),
        ("S3_DATA_DIR", folder.join("s3").into_os_string()),
        ("TMPDIR", folder.join("tmp").into_os_string()),
        ("LOG_LEVEL", "WARNING".into()),
        // Listeners on fixed ports that two regions would fight for.
        ("IOT_MTLS_ENABLED", "0".into()),
        ("SFTP_ENABLED", "0".into()),
        ("PYTHONUNBUFFERED", "1".into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
    ];
    ProcessSpec {
        name: spec.name.clone(),
        program: program.into(),
        args: Vec::new(),
        env: env.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        stdout: spec.folder.join(format!("{}.log", spec.name)),
        stderr: None,
    }
}

async fn wait_until_healthy(process: &mut Process, url: &str, nonce: &str) -> Result<(), Trouble> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build()
        .because("could not make an HTTP client")?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Some(status) = process.try_wait() {
            return Err(Trouble::new(format!("ministack ended at once ({status}):")));
        }
        if let Ok(answer) = http.get(format!("{url}{HEALTH_PATH}")).send().await
            && let Ok(health) = answer.json::<serde_json::Value>().await
            && health.get("edition").and_then(serde_json::Value::as_str) == Some(nonce)
        {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Trouble::new(format!("no healthy answer from {url} within {START_LIMIT:?}:")));
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// The folder with what `make setup` installs for the lab.
pub fn lab_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("PLIMSOLL_LAB_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("plimsoll/lab")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/plimsoll/lab")))
}

/// The `ministack` program: the lab's own, else the one on PATH.
fn ministack() -> Result<PathBuf, Trouble> {
    let own = lab_folder().map(|folder| folder.join("venv/bin/ministack"));
    if let Some(own) = &own
        && own.is_file()
    {
        return Ok(own.clone());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join("ministack")).find(|file| file.is_file()).ok_or_else(|| {
        let looked = own.map_or_else(String::new, |own| format!("{} and ", own.display()));
        Trouble::new(format!(
            "ministack, the emulator of a region, is not installed (looked for {looked}on PATH): run `make setup`"
        ))
    })
}

#[cfg(test)]
mod tests;
