//! The recovery behind the API: [`Promotions`], its answers as JSON and its errors as problems.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::recovery::{Event, Recovery, Started, Timings};
use crate::promote::{Answers, Authorized, PlanError, Promotions, Request, RunError, StartError};

/// The promotions of this process, as the API speaks of them.
pub struct Promoting(pub Arc<Promotions>);

fn value<T: Serialize>(told: &T) -> Value {
    serde_json::to_value(told).expect("answers are plain data: no maps with non-text keys")
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no promotion {id}")).hint("GET /v1/promotions lists them")
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let made = |name| Problem::new(status(error.status()), name, error.to_string());
        match &error {
            StartError::Forbidden { .. } => made("forbidden").hint("use a token with the role approver"),
            StartError::Invalid(problems) => made("invalid").with(json!({"problems": problems})),
            StartError::KeyReused { promotion } => made("key-reused").with(json!({"promotion": promotion})),
            StartError::Running { promotion, stage } => {
                made("promotion-running").with(json!({"promotion": promotion, "state": stage}))
            }
            StartError::Promoted { promotion } => made("already-promoted").with(json!({"promotion": promotion})),
            StartError::Refused { promotion, verdict } => {
                let flags: Vec<&str> =
                    verdict.refused().filter_map(|s| s.flag_by_instant.as_deref().or(s.flag.as_deref())).collect();
                made("gate-refused")
                    .hint(format!("nothing was changed; to accept the loss: {}", flags.join(" ")))
                    .with(json!({"promotion": promotion, "gate": verdict}))
            }
            StartError::Plan(_) => {
                made("plan-broken").hint("mend the configuration; `plimsoll check` finds what is wrong")
            }
            StartError::Journal(_) => made("journal-unwritable")
                .hint("see /readyz; ask again with the same Idempotency-Key, which never starts a second one"),
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        let made = |name| Problem::new(status(error.status()), name, error.to_string());
        match &error {
            RunError::Missing(id) => missing(id),
            RunError::Forbidden { .. } => made("forbidden"),
            RunError::Conflict(_) => made("conflict"),
            RunError::Plan(_) => {
                made("plan-broken").hint("mend the configuration; `plimsoll check` finds what is wrong")
            }
            RunError::Journal(_) => made("journal-unwritable").hint("see /readyz; then resume again"),
        }
    }
}

#[async_trait]
impl Recovery for Promoting {
    fn phase(&self) -> String {
        self.0.phase().label().to_owned()
    }

    fn timings(&self) -> Timings {
        let mut timings = Timings::default();
        for report in self.0.list().iter().filter_map(|one| self.0.get(&one.promotion)) {
            for step in report.steps.iter().filter(|step| step.end.is_some()) {
                if let (Some(started), Some(ended)) = (step.started_at, step.ended_at) {
                    timings.steps.push((step.id.to_string(), ended.0.since(started.0)));
                }
            }
            timings.rto = report.rto_seconds.map(|rto| rto.0).or(timings.rto);
        }
        timings
    }

    async fn plan(&self) -> Result<Value, Problem> {
        let told = self.0.plan().await;
        told.map(|plan| value(&plan)).map_err(|problems: Vec<PlanError>| StartError::Plan(problems).into())
    }

    async fn start(&self, who: &Authorized, body: &[u8], key: Option<String>) -> Result<Started, Problem> {
        let request = Request::from_json(body)
            .map_err(|problems| Problem::bad_request(problems.join("; ")).with(json!({"problems": problems})))?;
        let started = self.0.start(who, request, key.as_deref()).await?;
        Ok(Started { id: started.promotion, repeated: started.repeated, stage: started.stage.label().to_owned() })
    }

    async fn list(&self) -> Result<Value, Problem> {
        Ok(value(&self.0.list()))
    }

    async fn get(&self, id: &str) -> Result<Value, Problem> {
        self.0.get(id).map(|report| value(&report)).ok_or_else(|| missing(id))
    }

    async fn text(&self, id: &str) -> Result<String, Problem> {
        self.0.get(id).map(|report| report.text()).ok_or_else(|| missing(id))
    }

    async fn events(&self, id: &str, after: Option<u64>) -> Result<Vec<Event>, Problem> {
        loop {
            let mut found = self.0.events(id, after).ok_or_else(|| missing(id))?;
            if !found.past.is_empty() || found.over {
                let told = |event: &crate::promote::Event| Event {
                    seq: event.seq,
                    name: event.record.entry.name().to_owned(),
                    data: value(event),
                };
                return Ok(found.past.iter().map(told).collect());
            }
            if found.count.changed().await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn hold(&self, who: &Authorized, id: &str) -> Result<(), Problem> {
        Ok(self.0.hold(id, who)?)
    }

    async fn resume(&self, who: &Authorized, id: &str, answers: Answers) -> Result<(), Problem> {
        Ok(self.0.resume(id, who, answers).await?)
    }

    async fn note(&self, who: &Authorized, id: &str, text: &str) -> Result<(), Problem> {
        Ok(self.0.note(id, who, text).await?)
    }
}
