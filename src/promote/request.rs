//! What the caller of a promotion asks for and accepts, and who the caller is.
//!
//! Invariant: a loss is accepted by number or by instant, per store, never by a yes. [`Authorized`] is the token without
//! which no promotion starts (house rule 11).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::notation::{Secs, When};
use crate::change::StoreId;
use crate::config::{duration_words, parse_duration};

/// What a principal may do; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Holds and notes.
    Operator,
    /// Promotes and resumes.
    Approver,
}

/// Somebody, as the journal names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The name in the tokens file.
    pub name: String,
    /// The role at that time.
    pub role: Role,
}

/// Proof that a caller was authenticated. Made by `serve::auth`, or rebuilt from the journal when a promotion is resumed
/// after a restart; nothing else makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorized(Principal);

impl Authorized {
    /// Only for `serve::auth`, after a token was compared, and for the journal.
    pub(crate) fn new(name: impl Into<String>, role: Role) -> Self {
        Self(Principal { name: name.into(), role })
    }

    /// Who.
    pub fn principal(&self) -> &Principal {
        &self.0
    }

    /// May they do what needs `role`?
    pub fn may(&self, role: Role) -> bool {
        self.0.role >= role
    }
}

/// What kind of promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// prodX is lost or given up: it may be unfenced, and the report says so.
    Failover,
    /// Both regions are well and nothing may be lost.
    Switchover,
    /// Nothing is changed.
    Drill,
}

impl Mode {
    /// As in the request and the report.
    pub fn label(self) -> &'static str {
        match self {
            Mode::Failover => "failover",
            Mode::Switchover => "switchover",
            Mode::Drill => "drill",
        }
    }
}

/// A loss that the caller accepts for one store. Written `30s` or `@2026-11-23T14:02:07Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// Lose at most this much.
    Loss(Secs),
    /// Lose what came after this instant of the source's clock: the watermark must be there or later.
    Since(When),
}

impl FromStr for Acceptance {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(instant) = text.strip_prefix('@') {
            return When::parse(instant).map(Acceptance::Since);
        }
        if let Ok(seconds) = text.parse::<u32>() {
            return Ok(Acceptance::Loss(Secs(Duration::from_secs(u64::from(seconds)))));
        }
        // As in the configuration: `1M` is not a month.
        parse_duration(text)
            .map(|d| Acceptance::Loss(Secs(d)))
            .map_err(|e| format!("{text:?} is neither a span like 30s nor an instant like @2026-11-23T14:02:07Z: {e}"))
    }
}

impl fmt::Display for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Acceptance::Loss(limit) => write!(f, "{}", duration_words(limit.0)),
            Acceptance::Since(instant) => write!(f, "@{instant}"),
        }
    }
}

impl Serialize for Acceptance {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Acceptance {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The body of `POST /v1/promote`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What kind of promotion.
    pub mode: Mode,
    /// Why, for the report and for those who are woken.
    pub reason: String,
    /// Losses accepted.
    #[serde(default)]
    pub accept_loss: BTreeMap<StoreId, Acceptance>,
    /// Stores without a watermark that may be lost entirely.
    #[serde(default)]
    pub accept_unknown: BTreeSet<StoreId>,
    /// The hash of the plan that the caller has seen; refused when the plan is another by now (SG-4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

impl Request {
    /// The longest reason, bytes: it goes into every report and message.
    pub const REASON_MAX: usize = 2000;

    /// A failover that accepts nothing beyond the objectives.
    pub fn failover(reason: impl Into<String>) -> Self {
        Self {
            mode: Mode::Failover,
            reason: reason.into(),
            accept_loss: BTreeMap::new(),
            accept_unknown: BTreeSet::new(),
            plan: None,
        }
    }

    /// Reads a JSON body; gives every problem at once, a sentence each. Unknown fields are refused: a misspelt
    /// acceptance must not be a silent one.
    pub fn from_json(body: &[u8]) -> Result<Self, Vec<String>> {
        let value: serde_json::Value =
            serde_json::from_slice(body).map_err(|e| vec![format!("the body is not JSON: {e}")])?;
        let serde_json::Value::Object(fields) = value else {
            return Err(vec!["the body is not a JSON object".into()]);
        };
        let mut problems = Vec::new();
        let mut request = Request::failover("");
        let mut seen_reason = false;
        for (name, value) in fields {
            match name.as_str() {
                "mode" => match serde_json::from_value(value.clone()) {
                    Ok(mode) => request.mode = mode,
                    Err(_) => problems.push(format!("mode: {value} is not one of failover, switchover, drill")),
                },
                "reason" => {
                    seen_reason = true;
                    match value.as_str().map(str::trim) {
                        None => problems.push(format!("reason: {value} is not text")),
                        Some("") => problems.push("reason: is empty; say why, it goes into the report".into()),
                        Some(text) if text.len() > Self::REASON_MAX => {
                            problems.push(format!("reason: is longer than {} bytes", Self::REASON_MAX));
                        }
                        Some(text) => request.reason = text.to_owned(),
                    }
                }
                "accept_loss" => read_losses(&value, &mut request, &mut problems),
                "accept_unknown" => read_unknowns(&value, &mut request, &mut problems),
                "plan" => match value {
                    serde_json::Value::Null => {}
                    serde_json::Value::String(hash) => request.plan = Some(hash),
                    other => problems.push(format!("plan: {other} is not the hash of a plan")),
                },
                other => problems
                    .push(format!("{other}: unknown field; known are mode, reason, accept_loss, accept_unknown, plan")),
            }
        }
        if !seen_reason {
            problems.push("reason: is missing; say why, it goes into the report".into());
        }
        for store in request.accept_loss.keys().filter(|s| request.accept_unknown.contains(*s)) {
            problems.push(format!("accept_loss and accept_unknown both name {store}; give one"));
        }
        if problems.is_empty() { Ok(request) } else { Err(problems) }
    }

    /// What makes two requests the same: a digest of everything in it but the plan that the caller has seen. That one is
    /// a condition on starting; whoever asks again under the same key, to follow, has not read it again.
    pub fn hash(&self) -> String {
        let asked = Self { plan: None, ..self.clone() };
        let canonical = serde_json::to_vec(&asked).expect("a request is plain data with ordered maps");
        hex(&Sha256::digest(&canonical))
    }
}

fn read_losses(value: &serde_json::Value, request: &mut Request, problems: &mut Vec<String>) {
    let Some(fields) = value.as_object() else {
        problems.push("accept_loss: is not an object of store and loss, like {\"orders\": \"30s\"}".into());
        return;
    };
    for (store, loss) in fields {
        let text = match loss {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match (StoreId::new(store), text.parse()) {
            (Ok(id), Ok(acceptance)) => {
                request.accept_loss.insert(id, acceptance);
            }
            (id, acceptance) => {
                problems.extend(id.err().map(|e| format!("accept_loss: {e}")));
                problems.extend(acceptance.err().map(|e: String| format!("accept_loss.{store}: {e}")));
            }
        }
    }
}

fn read_unknowns(value: &serde_json::Value, request: &mut Request, problems: &mut Vec<String>) {
    let Some(items) = value.as_array() else {
        problems.push("accept_unknown: is not a list of stores".into());
        return;
    };
    for item in items {
        match item.as_str().map(StoreId::new) {
            Some(Ok(id)) => {
                request.accept_unknown.insert(id);
            }
            Some(Err(e)) => problems.push(format!("accept_unknown: {e}")),
            None => problems.push(format!("accept_unknown: {item} is not the id of a store")),
        }
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_request_reads() {
        let body = br#"{"mode":"failover","reason":" us-east-1 is gone ","accept_loss":{"orders":"30s","users":"@2026-11-23T14:02:07Z","c":90},"accept_unknown":["cache"]}"#;
        let request = Request::from_json(body).unwrap();
        assert_eq!(request.reason, "us-east-1 is gone");
        assert_eq!(request.accept_loss.len(), 3);
        assert_eq!(request.accept_loss[&StoreId::new("c").unwrap()].to_string(), "90s");
        for odd in ["1M", "1y", "-5s", "soon", ""] {
            assert!(odd.parse::<Acceptance>().is_err(), "{odd}");
        }
        let again: Request = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
        assert_eq!(again, request, "the journal reads back what it wrote");
        assert_eq!(again.hash(), request.hash());
        assert_ne!(Request::failover("x").hash(), request.hash());
    }

    #[test]
    fn all_problems_at_once() {
        let body = br#"{"mode":"yolo","accept_loss":{"Orders":"soon"},"accept_unknown":[7],"acept_loss":{}}"#;
        let problems = Request::from_json(body).unwrap_err();
        assert_eq!(problems.len(), 6, "{problems:#?}");
        let both = br#"{"reason":"x","accept_loss":{"a":"1s"},"accept_unknown":["a"]}"#;
        assert_eq!(Request::from_json(both).unwrap_err().len(), 1);
        for bad in [&b"{"[..], b"[]", b"null", br#"{"reason":"  "}"#, br#"{"reason":5}"#] {
            assert_eq!(Request::from_json(bad).unwrap_err().len(), 1, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn roles_include_those_before_them() {
        assert!(Authorized::new("a", Role::Approver).may(Role::Operator));
        assert!(!Authorized::new("a", Role::Operator).may(Role::Approver));
    }
}
