//! The client side of the API: how a command reaches the daemon, and what it says when it does not.
//!
//! Invariants: a token is sent to the named server only (no redirects, no proxies), and over plain `http://` only to this
//! machine. Every failure is one sentence that says what failed, on what, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::{Method, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::seams::{self, SystemClock};

/// How a client command reaches the daemon.
#[derive(Debug, Clone, Args)]
pub(super) struct Connection {
    /// Where the daemon listens
    #[arg(long, env = "PLIMSOLL_URL", default_value = "http://127.0.0.1:9187", value_name = "URL")]
    pub(super) url: String,
    /// A file that holds an access token, as printed by `plimsoll token new`
    #[arg(long, env = "PLIMSOLL_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The certificate authority of the daemon's certificate, PEM; the system's authorities without it
    #[arg(long, env = "PLIMSOLL_CA_FILE", value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// A client certificate and its key, PEM, one file; when the daemon asks for one
    #[arg(long, env = "PLIMSOLL_CLIENT_CERT_FILE", value_name = "FILE")]
    pub(super) client_cert_file: Option<PathBuf>,
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    /// What failed, on what.
    pub(super) sentence: String,
    /// What to do.
    pub(super) hint: Option<String>,
    /// No answer came, or one that says "not now": asking again may help.
    pub(super) again: bool,
    /// The answer's problem, when it was one.
    pub(super) problem: Option<Value>,
}

impl Failure {
    /// A sentence and what to do.
    pub(super) fn new(sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hint: Some(hint.into()), again: false, problem: None }
    }

    fn again(self) -> Self {
        Self { again: true, ..self }
    }

    /// The name of the problem: `gate-refused`.
    pub(super) fn name(&self) -> Option<&str> {
        self.problem.as_ref()?["type"].as_str()?.strip_prefix("urn:plimsoll:")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The daemon, as seen from here.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
}

/// To connect.
const CONNECT: Duration = Duration::from_secs(5);
/// For a whole answer: longer than the server's own limit, so that its own words arrive.
const ANSWER: Duration = Duration::from_secs(35);
/// Without a byte on an event stream: two of the server's keep-alives and some.
const SILENCE: Duration = Duration::from_secs(40);

impl Client {
    /// Reads the files; calls nobody.
    pub(super) fn new(connection: &Connection) -> Result<Self, Failure> {
        let base = Url::parse(&connection.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                let sentence = format!("{:?} is not the address of a Plimsoll", connection.url);
                Failure::new(sentence, "write it like http://127.0.0.1:9187 or https://plimsoll.example:9187")
            })?;
        let token = connection.token_file.as_deref().map(read_token).transpose()?;
        if token.is_some() && base.scheme() == "http" && !is_loopback(&base) {
            return Err(Failure::new(
                format!("{base} is plain http on another machine, and a token must not be sent in the clear"),
                "use https://, or a tunnel to 127.0.0.1",
            ));
        }
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &connection.ca_file {
            let found = reqwest::Certificate::from_pem_bundle(&read(path)?).ok().filter(|all| !all.is_empty());
            let certificates = found.ok_or_else(|| {
                Failure::new(
                    format!("{} holds no certificate in PEM", path.display()),
                    "give the authority's certificate",
                )
            })?;
            http = http.tls_certs_only(certificates);
        }
        if let Some(path) = &connection.client_cert_file {
            let identity = reqwest::Identity::from_pem(&read(path)?).map_err(|e| {
                let sentence = format!("{} cannot be used as a client certificate: {e}", path.display());
                Failure::new(sentence, "it must hold the certificate and its key, both in PEM")
            })?;
            http = http.identity(identity);
        }
        let http = http
            .build()
            .map_err(|e| Failure::new(format!("TLS cannot be set up: {}", chain(&e)), "check the files"))?;
        Ok(Self { http, base, token })
    }

    /// The address, for sentences.
    pub(super) fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Asks.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.request(Method::GET, path)?.timeout(ANSWER).send().await;
        self.read(answer.map_err(|e| self.silent(&e))?).await
    }

    /// Acts. The same `key` again is the same act.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, key: &str, body: &Value) -> Result<T, Failure> {
        let request = self.request(Method::POST, path)?.timeout(ANSWER).header("Idempotency-Key", key).json(body);
        self.read(request.send().await.map_err(|e| self.silent(&e))?).await
    }

    /// Acts, and opens the stream that answers it.
    pub(super) async fn stream(&self, path: &str, body: &Value) -> Result<reqwest::Response, Failure> {
        let request = self.request(Method::POST, path)?.json(body);
        let sent = seams::timeout(SystemClock::shared().as_ref(), ANSWER, request.send()).await;
        let answer = sent.ok_or_else(|| self.mute())?.map_err(|e| self.silent(&e))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer).await) }
    }

    /// Acts where doing it twice is the same as once.
    pub(super) async fn act<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        let request = self.request(Method::POST, path)?.timeout(ANSWER).json(body);
        self.read(request.send().await.map_err(|e| self.silent(&e))?).await
    }

    /// Opens a stream of events, after the one with the id `after`.
    pub(super) async fn events(&self, path: &str, after: Option<u64>) -> Result<reqwest::Response, Failure> {
        let mut request = self.request(Method::GET, path)?.header(header::ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after.to_string());
        }
        let sent = seams::timeout(SystemClock::shared().as_ref(), ANSWER, request.send()).await;
        let answer = sent.ok_or_else(|| self.mute())?.map_err(|e| self.silent(&e))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer).await) }
    }

    /// The next bytes of an event stream; `None` at its end.
    pub(super) async fn chunk(&self, answer: &mut reqwest::Response) -> Result<Option<bytes::Bytes>, Failure> {
        let read = seams::timeout(SystemClock::shared().as_ref(), SILENCE, answer.chunk()).await;
        read.ok_or_else(|| self.mute())?.map_err(|e| self.silent(&e))
    }

    fn mute(&self) -> Failure {
        Failure::new(format!("{} has gone silent", self.url()), "is it still running?").again()
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, Failure> {
        let url = self.base.join(path).map_err(|e| Failure::new(format!("{path:?}: {e}"), "check --url"))?;
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        Ok(request)
    }

    async fn read<T: DeserializeOwned>(&self, answer: reqwest::Response) -> Result<T, Failure> {
        if !answer.status().is_success() {
            return Err(self.refused(answer).await);
        }
        let bytes = answer.bytes().await.map_err(|e| self.silent(&e))?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Failure::new(
                format!("{} answers, but not like this program's Plimsoll: {e}", self.url()),
                "check --url, and that both are the same version",
            )
        })
    }

    async fn refused(&self, answer: reqwest::Response) -> Failure {
        let status = answer.status();
        let again = matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504);
        let bytes = answer.bytes().await.unwrap_or_default();
        let problem = serde_json::from_slice::<Value>(&bytes).ok().filter(|p| p["detail"].is_string());
        let Some(problem) = problem else {
            let sentence = format!("{} answers {status}, but not like a Plimsoll", self.url());
            return Failure { again, ..Failure::new(sentence, "check --url") };
        };
        let mut hint = problem["hint"].as_str().map(str::to_owned);
        if status == StatusCode::UNAUTHORIZED && self.token.is_none() {
            hint = Some("give one with --token-file FILE or PLIMSOLL_TOKEN_FILE".into());
        }
        let sentence = problem["detail"].as_str().unwrap_or_default().to_owned();
        Failure { sentence, hint, again, problem: Some(problem) }
    }

    /// No answer: why, in words.
    fn silent(&self, error: &reqwest::Error) -> Failure {
        let (url, why) = (self.url(), chain(error));
        if why.contains("CertificateRequired") || why.contains("certificate required") {
            let what = format!("{url} asks for a client certificate");
            return Failure::new(what, "give one, with its key, with --client-cert-file");
        }
        if why.contains("certificate") || why.contains("UnknownIssuer") {
            let what = format!("the certificate of {url} is not trusted: {why}");
            return Failure::new(what, "give its authority with --ca-file, and use the name that is in it");
        }
        if error.is_timeout() {
            return Failure::new(format!("{url} does not answer"), "is it running, and is the way to it open?").again();
        }
        if why.contains("refused") {
            let what = format!("no Plimsoll answers at {url} (connection refused)");
            return Failure::new(what, "is it running, and is this its address? --url or PLIMSOLL_URL says which")
                .again();
        }
        if why.contains("dns error") || why.contains("failed to lookup") {
            return Failure::new(format!("the name in {url} cannot be resolved: {why}"), "check --url");
        }
        Failure::new(format!("no Plimsoll answers at {url}: {why}"), "check --url, and http:// or https://").again()
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::new(format!("{}: {e}", path.display()), "check the path"))
}

/// The token in a file: the file may hold it alone, or all that `plimsoll token new` printed.
fn read_token(path: &Path) -> Result<String, Failure> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let token = lines().find_map(|line| line.strip_prefix("token:")).or_else(|| lines().next()).map(str::trim);
    let fits = |token: &&str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    token.filter(fits).map(str::to_owned).ok_or_else(|| {
        Failure::new(format!("{} holds no token", path.display()), "put into it what `plimsoll token new` printed")
    })
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(url: &str) -> Connection {
        Connection { url: url.into(), token_file: None, ca_file: None, client_cert_file: None }
    }

    #[test]
    fn an_address_is_checked_before_anything_is_sent() {
        for bad in ["", "127.0.0.1:9187", "ftp://x", "http://", "not a url"] {
            assert!(Client::new(&connection(bad)).is_err(), "{bad}");
        }
        assert!(Client::new(&connection("https://plimsoll.example:9187")).is_ok());
    }

    #[test]
    fn a_token_is_never_sent_in_the_clear_to_another_machine() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "token: plk_abc\nline: ann approver 00\n").unwrap();
        assert_eq!(read_token(&path).unwrap(), "plk_abc");
        let with = |url: &str| Client::new(&Connection { token_file: Some(path.clone()), ..connection(url) });
        for good in ["http://127.0.0.1:9187", "http://localhost:9187/", "http://[::1]:9187", "https://10.0.0.7"] {
            assert!(with(good).is_ok(), "{good}");
        }
        let why = with("http://10.0.0.7:9187").err().unwrap().to_string();
        assert!(why.contains("in the clear") && why.contains("https://"), "{why}");
        std::fs::write(&path, "  plk_abc  \n").unwrap();
        assert_eq!(read_token(&path).unwrap(), "plk_abc");
        std::fs::write(&path, "\n").unwrap();
        assert!(read_token(&path).unwrap_err().to_string().contains("plimsoll token new"));
    }
}
