//! What a promotion does for a global table: nothing but to look. Every replica takes writes at any time.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::TableStatus;

use crate::change::StoreId;
use crate::promote::{Context, Description, Phase, Repeat, Step, StepError, StepId, World};
use crate::stores::StoreError;

/// Looks whether the table in prodY takes writes.
pub(super) struct Writable {
    pub(super) store: StoreId,
    pub(super) table: String,
    pub(super) region: String,
    pub(super) client: aws_sdk_dynamodb::Client,
}

#[async_trait]
impl Step for Writable {
    fn id(&self) -> StepId {
        StepId(format!("global-table-{}", self.store).into())
    }

    fn describe(&self) -> Description {
        Description {
            phase: Phase::Databases,
            needs: Vec::new(),
            calls: vec![format!(
                "nothing: {} is active in every region; dynamodb:DescribeTable in {} looks whether it is ACTIVE",
                self.table, self.region
            )],
            // What is wrong with it cannot be mended by waiting for it: it is noted, and the rest goes on.
            required: false,
            reversible: true,
            deadline: Duration::from_secs(60),
            poll: Duration::from_secs(2),
            deferred: false,
            repeat: Repeat::Checked,
        }
    }

    async fn check(&self, _: &Context<'_>) -> Result<World, StepError> {
        let answer = self.client.describe_table().table_name(&self.table).send().await;
        let answer = answer.map_err(|e| {
            StepError::Failed(StoreError::of_call(&e, false, "DescribeTable", &format!("table {}", self.table)).chain())
        })?;
        Ok(match answer.table().and_then(|table| table.table_status()) {
            Some(TableStatus::Active | TableStatus::Updating) => World::Done(format!(
                "{} takes writes in {}. Late arrivals are possible: writes that prodX accepted and had not replicated arrive \
                 when it returns, and each wins or loses by its timestamp",
                self.table, self.region
            )),
            other => World::InProgress(format!(
                "{} in {} is {}",
                self.table,
                self.region,
                other.map_or("without a status", |status| status.as_str())
            )),
        })
    }

    async fn act(&self, _: &Context<'_>) -> Result<(), StepError> {
        Err(StepError::Refused("there is nothing to do for a global table".into()))
    }
}
