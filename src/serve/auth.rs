//! Who may call: bearer tokens with a role, from a file that holds only their hashes.
//!
//! The file has a line per token, `NAME ROLE SHA256-HEX`, with `#` comments; it is read again when it changes. Nothing here
//! asks another system, so the promote works with prodX and us-east-1 gone (SE-5).
//!
//! Decisions
//! - The file must not be readable by others, nor writable by its group. The group may read it only when it is root's: that
//!   is how systemd hands out credentials (0440 with an access list).
//! - A changed file that cannot be used (a wrong line, loose permissions) is refused whole, said in the log, and the last
//!   good one stays in force: a slip of the finger must not lock out the people on call. A file that is gone means nobody.
//! - Roles: `viewer` reads, `operator` also holds and notes, `approver` also promotes and resumes.
//! - Only this module makes an [`Authorized`] from a request, and only after a token was compared (in constant time).

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::config;
use crate::promote::{Authorized, Role};

/// The name of a role, as in the tokens file.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Approver => "approver",
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: String,
    role: Role,
    hash: [u8; 32],
}

/// What tells one version of a file from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    inode: (u64, u64),
    size: u64,
    mode: u32,
    changed: (i64, i64),
    modified: Option<SystemTime>,
}

#[derive(Debug, Default)]
struct Loaded {
    version: Option<Version>,
    tokens: Vec<Token>,
    /// Why the present file is not in force.
    refused: Option<String>,
}

/// The tokens that are accepted.
#[derive(Debug)]
pub struct Tokens {
    path: Option<PathBuf>,
    loaded: Mutex<Loaded>,
}

impl Tokens {
    /// Nobody: everything that needs a token is refused.
    pub fn none() -> Self {
        Self { path: None, loaded: Mutex::default() }
    }

    /// From a file. At the start every problem is an error, one sentence.
    pub fn open(path: &Path) -> Result<Self, String> {
        let (version, tokens) = load(path)?;
        let loaded = Loaded { version: Some(version), tokens, refused: None };
        Ok(Self { path: Some(path.to_owned()), loaded: Mutex::new(loaded) })
    }

    /// Is there a file at all?
    pub fn configured(&self) -> bool {
        self.path.is_some()
    }

    /// Why the tokens file as it is now is not in force, for /readyz.
    pub fn trouble(&self) -> Option<String> {
        self.refresh();
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }

    /// Who sends this request, if they may do what needs `role`.
    pub fn authorize(&self, headers: &HeaderMap, role: Role) -> Result<Authorized, Problem> {
        if self.path.is_none() {
            return Err(unauthorized("no tokens file is configured, so nobody may call this").hint(
                "make a token with `plimsoll token new --name YOU --role approver` and name the file in [serve] tokens_file",
            ));
        }
        let Some(presented) = bearer(headers)? else {
            return Err(unauthorized("a token is needed").hint(
                "send `Authorization: Bearer TOKEN`; the command line takes --token-file or PLIMSOLL_TOKEN_FILE",
            ));
        };
        self.refresh();
        let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        // Every line is compared, whichever matches, so that the time tells nothing.
        let mut found = None;
        for token in &loaded.tokens {
            if bool::from(token.hash.ct_eq(&hash)) {
                found = Some(token);
            }
        }
        let Some(token) = found else {
            // Another token would not help while the file is not in force.
            let hint = if loaded.refused.is_some() {
                "the tokens file is gone or cannot be used: /readyz says why"
            } else {
                "it may have been removed; make another with `plimsoll token new` and add its line to the tokens file"
            };
            return Err(unauthorized("the token is not known").hint(hint));
        };
        let who = Authorized::new(token.name.clone(), token.role);
        if who.may(role) {
            return Ok(who);
        }
        let (has, needs) = (role_name(token.role), role_name(role));
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("{} has the role {has}; this needs the role {needs}", token.name),
        )
        .hint(format!("use a token with the role {needs}")))
    }

    /// Reads the file again if it is another version by now.
    fn refresh(&self) {
        let Some(path) = &self.path else { return };
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(path).ok().map(|meta| version(&meta));
        if now.is_some() && now == loaded.version {
            return;
        }
        if now.is_none() {
            if loaded.version.take().is_some() {
                tracing::error!(path = %path.display(), "the tokens file is gone; nobody may call until it is back");
                loaded.tokens.clear();
                loaded.refused = Some(format!("{} is gone", path.display()));
            }
            return;
        }
        match load(path) {
            Ok((version, tokens)) => {
                tracing::info!(path = %path.display(), tokens = tokens.len(), "tokens file read again");
                *loaded = Loaded { version: Some(version), tokens, refused: None };
            }
            Err(why) => {
                tracing::error!(error = %why, "the changed tokens file is refused; the last good one stays in force");
                loaded.version = now;
                loaded.refused = Some(why);
            }
        }
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let odd = || unauthorized("the Authorization header is not `Bearer TOKEN`");
    let (scheme, token) = value.to_str().map_err(|_| odd())?.split_once(' ').ok_or_else(odd)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(odd()) }
}

fn version(meta: &std::fs::Metadata) -> Version {
    Version {
        inode: (meta.dev(), meta.ino()),
        size: meta.size(),
        mode: meta.mode(),
        changed: (meta.ctime(), meta.ctime_nsec()),
        modified: meta.modified().ok(),
    }
}

/// Refuses a secret file that others could read, or that its group could change; `what` names it.
pub fn private(what: &str, path: &Path, meta: &std::fs::Metadata) -> Result<(), String> {
    if let Some(mode) = config::open_to_others(meta) {
        let path = path.display();
        return Err(format!("{what} {path} has mode {mode:04o}: others could read it; run `chmod 600 {path}`"));
    }
    Ok(())
}

fn load(path: &Path) -> Result<(Version, Vec<Token>), String> {
    let failed = |e: std::io::Error| format!("tokens file {}: {e}; make one with `plimsoll token new`", path.display());
    let meta = std::fs::metadata(path).map_err(failed)?;
    private("tokens file", path, &meta)?;
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let tokens = parse(&text).map_err(|why| format!("tokens file {}: {why}", path.display()))?;
    Ok((version(&meta), tokens))
}

/// Reads the lines. The problem names lines, never their content.
fn parse(text: &str) -> Result<Vec<Token>, String> {
    let (mut tokens, mut problems) = (Vec::<Token>::new(), String::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        if line.is_empty() {
            continue;
        }
        match token(line) {
            Ok(new) if tokens.iter().any(|old| old.name == new.name) => {
                write!(problems, "line {}: the name {} is used twice; ", number + 1, new.name)
                    .expect("writing to a String cannot fail");
            }
            Ok(new) => tokens.push(new),
            Err(why) => {
                write!(problems, "line {}: {why}; ", number + 1).expect("writing to a String cannot fail");
            }
        }
    }
    if problems.is_empty() {
        return Ok(tokens);
    }
    Err(format!("{problems}each line is NAME ROLE SHA256-HEX, as `plimsoll token new` prints it"))
}

fn token(line: &str) -> Result<Token, &'static str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [name, role, hash] = fields[..] else { return Err("it does not have three fields") };
    let role = [Role::Viewer, Role::Operator, Role::Approver].into_iter().find(|r| role_name(*r) == role);
    let role = role.ok_or("the role is not viewer, operator or approver")?;
    let hash = unhex(hash).ok_or("the hash is not 64 hexadecimal digits")?;
    Ok(Token { name: name.to_owned(), role, hash })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.chars().map(|c| c.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
    (digits.len() == 64).then_some(())?;
    bytes.try_into().ok()
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
