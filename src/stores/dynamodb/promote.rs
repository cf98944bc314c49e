//! What a promotion does to a standby table: sees that it answers, and makes it ready for traffic and for the way back.
//!
//! Only the first step is required, and it asks the data plane: a table takes writes as it is, and a control plane that
//! does not answer must not hold a recovery up for long. The others are best effort, one after the other because AWS
//! takes one change of a table at a time, each set to a value and never added to, so that sending it twice is the same as
//! once. prodX is never touched: there is no client for it here.
//!
//! Deliberately absent: lowering anything; auto scaling (its service has a client of its own); warm throughput, which
//! takes too long to help and belongs into the daytime (`plimsoll doctor` says when).

pub mod settings;
mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::update_table::builders::UpdateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    BillingMode, GlobalSecondaryIndexUpdate, ProvisionedThroughput, StreamSpecification, StreamViewType,
    TimeToLiveSpecification, UpdateGlobalSecondaryIndexAction,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use self::settings::{Capacity, Promoting};
use self::world::Raise;
use super::facts::{Facts, Recorded, Ttl};
use crate::aws::{classify, words};
use crate::change::{Class, StoreId};
use crate::promote::{Context, Description, Phase, Repeat, Step, StepError, StepId, World};

/// The ends of the steps' ids, behind `STORE.`; never renamed.
pub const STEPS: &[&str] = &["answers", "ttl", "stream", "deletion-protection", "capacity"];

/// For the required question whether the table answers.
const ANSWERS: Duration = Duration::from_secs(60);
/// For each small change: a control plane that is down costs so much and no more.
const CHANGE: Duration = Duration::from_secs(45);
/// For more capacity, without which traffic is throttled.
const RAISE: Duration = Duration::from_secs(300);
/// Between two looks.
const POLL: Duration = Duration::from_secs(1);

/// The standby table and what is to become of it.
#[derive(Debug, Clone)]
pub struct Standby {
    /// The store.
    pub store: StoreId,
    /// Of prodY.
    pub client: Client,
    /// The table there.
    pub table: String,
    /// prodY's region.
    pub region: String,
    /// As configured.
    pub promoting: Promoting,
    /// What the index has of the source.
    pub source: Option<String>,
}

/// The steps of a promotion for that table, in their order.
pub fn steps(standby: &Standby) -> Vec<Arc<dyn Step>> {
    let Promoting { stream, deletion_protection, ttl, ttl_attribute, capacity } = &standby.promoting;
    let mut acts = vec![Act::Answers];
    // Before the first change that makes the table UPDATING, in which TTL cannot be changed.
    if *ttl {
        let recorded = Recorded::parse(standby.source.as_deref());
        match (ttl_attribute, recorded) {
            (Some(attribute), _) => acts.push(Act::Ttl(Some(attribute.clone()))),
            (None, Some(Recorded { ttl: None })) => {}
            (None, Some(Recorded { ttl: Some(attribute) })) => acts.push(Act::Ttl(Some(attribute))),
            (None, None) => acts.push(Act::Ttl(None)),
        }
    }
    if *stream {
        acts.push(Act::Stream);
    }
    if *deletion_protection {
        acts.push(Act::Protect);
    }
    match capacity {
        Capacity::Keep => {}
        Capacity::OnDemand => acts.push(Act::OnDemand),
        Capacity::AtLeast { read, write } => acts.push(Act::AtLeast { read: *read, write: *write }),
    }
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    let mut before: Option<StepId> = None;
    for act in acts {
        let id = StepId(format!("{}.{}", standby.store, act.name()).into());
        let needs = before.replace(id.clone());
        steps.push(Arc::new(TableStep { id, needs, standby: standby.clone(), act }));
    }
    steps
}

/// What one step does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    /// Nothing: it asks.
    Answers,
    Stream,
    Protect,
    /// By this attribute; `None`: nobody knows which.
    Ttl(Option<String>),
    OnDemand,
    AtLeast {
        read: i64,
        write: i64,
    },
}

impl Act {
    fn name(&self) -> &'static str {
        let [answers, ttl, stream, protect, capacity] = STEPS else { unreachable!("there are five") };
        match self {
            Act::Answers => answers,
            Act::Stream => stream,
            Act::Protect => protect,
            Act::Ttl(_) => ttl,
            Act::OnDemand | Act::AtLeast { .. } => capacity,
        }
    }
}

struct TableStep {
    id: StepId,
    needs: Option<StepId>,
    standby: Standby,
    act: Act,
}

#[async_trait]
impl Step for TableStep {
    fn id(&self) -> StepId {
        self.id.clone()
    }

    fn describe(&self) -> Description {
        let answers = self.act == Act::Answers;
        Description {
            phase: Phase::Databases,
            needs: self.needs.clone().into_iter().collect(),
            calls: self.calls(),
            required: answers,
            reversible: true,
            deadline: match self.act {
                Act::Answers => ANSWERS,
                Act::OnDemand | Act::AtLeast { .. } => RAISE,
                Act::Stream | Act::Protect | Act::Ttl(_) => CHANGE,
            },
            poll: POLL,
            deferred: matches!(self.act, Act::Ttl(_)),
            repeat: if answers { Repeat::Safe } else { Repeat::Checked },
        }
    }

    async fn check(&self, _: &Context<'_>) -> Result<World, StepError> {
        match &self.act {
            Act::Answers => self.answers().await,
            Act::Ttl(None) => Ok(World::NotApplicable(
                "the source's TTL was never seen, so nobody knows the attribute; enable it by hand if it had one"
                    .into(),
            )),
            Act::Ttl(Some(attribute)) => Ok(match self.ttl().await? {
                Some(ttl) => world::ttl(attribute, &ttl),
                None => self.gone(),
            }),
            Act::Stream => self.judge(world::stream).await,
            Act::Protect => self.judge(world::protection).await,
            Act::OnDemand => self.judge(world::on_demand).await,
            Act::AtLeast { read, write } => self.judge(|facts| world::at_least(*read, *write, facts)).await,
        }
    }

    async fn act(&self, _: &Context<'_>) -> Result<(), StepError> {
        let update = || self.standby.client.update_table().table_name(&self.standby.table);
        match &self.act {
            Act::Answers | Act::Ttl(None) => Ok(()),
            Act::Stream => {
                let both = StreamSpecification::builder()
                    .stream_enabled(true)
                    .stream_view_type(StreamViewType::NewAndOldImages)
                    .build()
                    .map_err(unbuilt)?;
                self.update(update().stream_specification(both)).await
            }
            Act::Protect => self.update(update().deletion_protection_enabled(true)).await,
            Act::OnDemand => self.update(update().billing_mode(BillingMode::PayPerRequest)).await,
            Act::AtLeast { read, write } => {
                let Some(facts) = self.described().await? else {
                    return Err(StepError::Refused("the table is gone".into()));
                };
                let raise = world::raise(*read, *write, &facts);
                self.update(raised(update(), &raise).map_err(unbuilt)?).await
            }
            Act::Ttl(Some(attribute)) => {
                let by = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build();
                let ask = self.standby.client.update_time_to_live().table_name(&self.standby.table);
                let sent = ask.time_to_live_specification(by.map_err(unbuilt)?).send().await;
                sent.map(drop).map_err(|e| acted("UpdateTimeToLive", &e))
            }
        }
    }
}

impl TableStep {
    /// What `act` sends, as it can be typed.
    fn calls(&self) -> Vec<String> {
        let Standby { table, region, .. } = &self.standby;
        let aws = |what: &str, more: &str| format!("aws dynamodb {what} --region {region} --table-name {table} {more}");
        let call = match &self.act {
            Act::Answers => aws("scan", "--limit 1 --consistent-read   (check; nothing is sent)"),
            Act::Stream => {
                aws("update-table", "--stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES")
            }
            Act::Protect => aws("update-table", "--deletion-protection-enabled"),
            Act::OnDemand => aws("update-table", "--billing-mode PAY_PER_REQUEST"),
            Act::AtLeast { read, write } => aws(
                "update-table",
                &format!(
                    "--provisioned-throughput ReadCapacityUnits={},WriteCapacityUnits={}   (and each global index; what \
                     has more keeps it)",
                    unit(*read),
                    unit(*write)
                ),
            ),
            Act::Ttl(Some(attribute)) => aws(
                "update-time-to-live",
                &format!("--time-to-live-specification Enabled=true,AttributeName={attribute}"),
            ),
            Act::Ttl(None) => "nothing: the source's TTL was never seen".into(),
        };
        vec![call]
    }

    /// The data plane answers. A refusal is no reason to hold a recovery: up to the fence the table took every write.
    async fn answers(&self) -> Result<World, StepError> {
        let Standby { client, table, region, .. } = &self.standby;
        match client.scan().table_name(table).consistent_read(true).limit(1).send().await {
            Ok(_) => Ok(World::Done(format!("table {table} answers in {region}"))),
            Err(error) => match classify(&error, false) {
                Class::Missing => Ok(self.gone()),
                Class::Denied => {
                    Ok(World::NotApplicable(format!("not allowed to look (dynamodb:Scan): {}", words(&error))))
                }
                _ => Err(StepError::Failed(format!("Scan: {}", words(&error)))),
            },
        }
    }

    fn gone(&self) -> World {
        World::Conflict(format!("there is no table {} in {}", self.standby.table, self.standby.region))
    }

    async fn judge(&self, world: impl FnOnce(&Facts) -> World) -> Result<World, StepError> {
        Ok(self.described().await?.map_or_else(|| self.gone(), |facts| world(&facts)))
    }

    /// `None`: there is no such table.
    async fn described(&self) -> Result<Option<Facts>, StepError> {
        match self.standby.client.describe_table().table_name(&self.standby.table).send().await {
            Ok(answer) => match answer.table() {
                Some(table) => Ok(Some(Facts::of(table))),
                None => Err(StepError::Failed("DescribeTable: an answer without a table".into())),
            },
            Err(error) => asked("DescribeTable", &error).map(|()| None),
        }
    }

    async fn ttl(&self) -> Result<Option<Ttl>, StepError> {
        match self.standby.client.describe_time_to_live().table_name(&self.standby.table).send().await {
            Ok(answer) => Ok(Some(Ttl::of(answer.time_to_live_description()))),
            Err(error) => asked("DescribeTimeToLive", &error).map(|()| None),
        }
    }

    async fn update(&self, call: UpdateTableFluentBuilder) -> Result<(), StepError> {
        call.send().await.map(drop).map_err(|e| acted("UpdateTable", &e))
    }
}

fn unit(units: i64) -> String {
    if units > 0 { units.to_string() } else { "as it is".into() }
}

/// Only what changes is in the call: AWS refuses a capacity that is the same.
fn raised(call: UpdateTableFluentBuilder, raise: &Raise) -> Result<UpdateTableFluentBuilder, BuildError> {
    let through = |units: &super::facts::Units| {
        ProvisionedThroughput::builder().read_capacity_units(units.read).write_capacity_units(units.write).build()
    };
    let mut call = call;
    if let Some(units) = &raise.table {
        call = call.provisioned_throughput(through(units)?);
    }
    for (name, units) in &raise.indexes {
        let update = UpdateGlobalSecondaryIndexAction::builder().index_name(name);
        let update = update.provisioned_throughput(through(units)?).build()?;
        call = call.global_secondary_index_updates(GlobalSecondaryIndexUpdate::builder().update(update).build());
    }
    Ok(call)
}

fn unbuilt(error: BuildError) -> StepError {
    StepError::Refused(format!("the request cannot be made: {error}"))
}

/// A question that failed; `Ok`: the table is not there.
fn asked<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Result<(), StepError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match classify(error, false) {
        Class::Missing => Ok(()),
        Class::Denied | Class::Invalid => Err(StepError::Refused(format!("{what}: {}", words(error)))),
        _ => Err(StepError::Failed(format!("{what}: {}", words(error)))),
    }
}

/// A change that failed, or of which nobody knows.
fn acted<E>(what: &str, error: &SdkError<E, HttpResponse>) -> StepError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let why = format!("{what}: {}", words(error));
    match classify(error, true) {
        Class::Unknown => StepError::Unknown(why),
        // One call allowed more, or a table that is there again, would be news; the same call again is not.
        Class::Denied | Class::Invalid | Class::Missing => StepError::Refused(why),
        _ => StepError::Failed(why),
    }
}

#[cfg(test)]
mod tests;
