//! What a promotion does for a bucket that S3 replicates: nothing but to look. The standby bucket takes writes at any time.

use std::time::Duration;

use async_trait::async_trait;

use crate::change::StoreId;
use crate::promote::{Context, Description, Phase, Repeat, Step, StepError, StepId, World};
use crate::stores::StoreError;

/// Looks whether the bucket in prodY answers.
pub(super) struct Reachable {
    pub(super) store: StoreId,
    pub(super) bucket: String,
    pub(super) region: String,
    pub(super) client: aws_sdk_s3::Client,
}

#[async_trait]
impl Step for Reachable {
    fn id(&self) -> StepId {
        StepId(format!("replicated-bucket-{}", self.store).into())
    }

    fn describe(&self) -> Description {
        Description {
            phase: Phase::Databases,
            needs: Vec::new(),
            calls: vec![format!(
                "nothing: {} takes writes at any time; s3:HeadBucket in {} looks whether it answers",
                self.bucket, self.region
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
        let answer = self.client.head_bucket().bucket(&self.bucket).send().await;
        answer.map_err(|e| {
            StepError::Failed(StoreError::of_call(&e, false, "HeadBucket", &format!("bucket {}", self.bucket)).chain())
        })?;
        Ok(World::Done(format!(
            "{} takes writes in {}. Late arrivals are possible: what prodX accepted and had not replicated arrives when it \
             returns, as a version with the time that it has in prodX. For the way back a rule in the other direction is needed",
            self.bucket, self.region
        )))
    }

    async fn act(&self, _: &Context<'_>) -> Result<(), StepError> {
        Err(StepError::Refused("there is nothing to do for a bucket that S3 replicates".into()))
    }
}
