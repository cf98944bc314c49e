//! What the API asks of the recovery: the facade of `promote`, in the API's own words.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::problem::Problem;
use crate::promote::{Answers, Authorized};

/// A started promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub id: String,
    /// It was started by an earlier request with the same idempotency key.
    pub repeated: bool,
    /// Where it stands.
    pub stage: String,
}

/// One event of a promotion.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the promotion's events, from 0 without a hole; what `Last-Event-ID` names.
    pub seq: u64,
    /// Its name.
    pub name: String,
    /// Its content.
    pub data: Value,
}

/// How long promotions took, as the journal tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    /// Each step that has ended, of every promotion.
    pub steps: Vec<(String, Duration)>,
    /// The last completed promotion, from the call to its end.
    pub rto: Option<Duration>,
}

/// The recovery.
#[async_trait]
pub trait Recovery: Send + Sync {
    /// The phase of the application.
    fn phase(&self) -> String;

    /// How long promotions took.
    fn timings(&self) -> Timings;

    /// What a promotion would do and lose now.
    async fn plan(&self) -> Result<Value, Problem>;

    /// Starts the promotion that the JSON body describes, or names the one that the same idempotency key started.
    async fn start(&self, who: &Authorized, body: &[u8], key: Option<String>) -> Result<Started, Problem>;

    /// Every promotion, the oldest first.
    async fn list(&self) -> Result<Value, Problem>;

    /// One promotion, its report included once there is one.
    async fn get(&self, id: &str) -> Result<Value, Problem>;

    /// The same for a human.
    async fn text(&self, id: &str) -> Result<String, Problem>;

    /// The events after `after`, in order: waits until there is one. Empty: the promotion is over and no event follows.
    async fn events(&self, id: &str, after: Option<u64>) -> Result<Vec<Event>, Problem>;

    /// Stops after the running step.
    async fn hold(&self, who: &Authorized, id: &str) -> Result<(), Problem>;

    /// Goes on after a hold, with what a human says about steps.
    async fn resume(&self, who: &Authorized, id: &str, answers: Answers) -> Result<(), Problem>;

    /// Adds a human's words to the record.
    async fn note(&self, who: &Authorized, id: &str, text: &str) -> Result<(), Problem>;
}
