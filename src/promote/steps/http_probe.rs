//! Waits until a URL answers with the expected status. Changes nothing: it is all check, so it is never sent, only asked.
//!
//! Redirects are not followed (a redirect is an answer with a status of its own), proxies of the environment are not used
//! (the question is whether this machine reaches it), and the body is not read.

use std::time::Duration;

use async_trait::async_trait;

use crate::config::{StepConfig, StepKind};
use crate::promote::step::{Context, Description, Phase, Repeat, Step, StepError, StepId, World};

/// One request, from connecting to the status line.
const REQUEST_BOUND: Duration = Duration::from_secs(5);
/// Between two requests.
const POLL: Duration = Duration::from_secs(1);

/// A `[[promote.step]]` of kind `http-probe`.
pub struct HttpProbe {
    config: StepConfig,
    url: String,
    expect: u16,
    client: Result<reqwest::Client, String>,
}

impl HttpProbe {
    /// From its configuration, which must be of this kind.
    pub fn new(config: StepConfig) -> Self {
        let (url, expect) = match &config.what {
            StepKind::HttpProbe { url, expect_status } => (url.clone(), *expect_status),
            StepKind::Command { .. } => (String::new(), 200),
        };
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(REQUEST_BOUND)
            .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("no HTTP client: {}", chain(&e)));
        Self { config, url, expect, client }
    }
}

/// An error with its causes, in one line: reqwest's own words leave out what matters.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[async_trait]
impl Step for HttpProbe {
    fn id(&self) -> StepId {
        self.config.id.clone()
    }

    fn describe(&self) -> Description {
        Description {
            phase: Phase::Verify,
            needs: self.config.needs.clone(),
            calls: vec![format!("GET {} until it answers {}", self.url, self.expect)],
            required: self.config.required,
            reversible: true,
            deadline: self.config.deadline,
            poll: POLL,
            deferred: false,
            repeat: Repeat::Safe,
        }
    }

    async fn check(&self, _: &Context<'_>) -> Result<World, StepError> {
        let client = self.client.as_ref().map_err(|why| StepError::Refused(why.clone()))?;
        let request = client.get(&self.url).build();
        let request = request.map_err(|e| StepError::Refused(format!("{} is no URL: {}", self.url, chain(&e))))?;
        Ok(match client.execute(request).await {
            Ok(answer) if answer.status().as_u16() == self.expect => {
                World::Done(format!("{} answered {}", self.url, self.expect))
            }
            Ok(answer) => World::InProgress(format!(
                "{} answered {}, waiting for {}",
                self.url,
                answer.status().as_u16(),
                self.expect
            )),
            Err(error) => World::InProgress(format!("no answer: {}", chain(&error))),
        })
    }

    async fn act(&self, _: &Context<'_>) -> Result<(), StepError> {
        Ok(())
    }
}
