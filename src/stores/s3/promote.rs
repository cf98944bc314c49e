//! What a promotion does to a standby bucket: sees that it answers, turns the routes of a Multi-Region Access Point, and
//! makes it what the source was: lifecycle rules, and replication for the way back.
//!
//! A bucket takes writes as it is, so the configuration is best effort and not waited for. Each step sets a value and never
//! adds to one, so that sending it twice is the same as once. prodX is never touched: there is no client for it here, and
//! the routes are changed in one of the regions that can and is not prodX.
//!
//! Deliberately absent: removing rules; public access and policies, which belong into the daytime (`plimsoll doctor` says
//! when); notifications of the standby, which the failback sets up.

mod replication;
pub mod settings;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketLifecycleConfiguration, ReplicationConfiguration, TransitionDefaultMinimumObjectSize};
use aws_sdk_s3control::config::Region;
use aws_sdk_s3control::types::MultiRegionAccessPointRoute;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use self::settings::{MRAP_REGIONS, Mrap, Promoting};
use self::world::Route;
use super::facts::lifecycle::Rule;
use super::facts::{Recorded, Versioning};
use super::survey::{NO_LIFECYCLE, NO_REPLICATION, code};
use crate::aws::{classify, words};
use crate::change::{Class, StoreId};
use crate::promote::{Context, Description, Phase, Repeat, Step, StepError, StepId, World};

/// The ends of the steps' ids, behind `STORE.`; never renamed.
pub const STEPS: &[&str] = &["answers", "routes", "lifecycle", "replication"];

/// For the required question whether the bucket answers.
const ANSWERS: Duration = Duration::from_secs(60);
/// For the routes, which traffic waits for.
const ROUTES: Duration = Duration::from_secs(180);
/// For each small change: a control plane that is down costs so much and no more.
const CHANGE: Duration = Duration::from_secs(45);
/// Between two looks.
const POLL: Duration = Duration::from_secs(1);

/// The standby bucket and what is to become of it.
#[derive(Debug, Clone)]
pub struct Standby {
    /// The store.
    pub store: StoreId,
    /// Of prodY.
    pub client: Client,
    /// Of prodY.
    pub control: aws_sdk_s3control::Client,
    /// The bucket there.
    pub bucket: String,
    /// The bucket in prodX.
    pub source_bucket: String,
    /// What of them is kept warm.
    pub prefix: String,
    /// prodY's region.
    pub region: String,
    /// As configured.
    pub promoting: Promoting,
    /// What the index has of the source.
    pub source: Option<String>,
}

/// The steps of a promotion for that bucket, in their order.
pub fn steps(standby: &Standby) -> Vec<Arc<dyn Step>> {
    let Promoting { lifecycle, mrap, replication_file } = &standby.promoting;
    let mut acts = vec![Act::Answers];
    if let Some(mrap) = mrap {
        acts.push(Act::Routes(mrap.clone()));
    }
    if *lifecycle {
        match Recorded::parse(standby.source.as_deref()) {
            Some(recorded) if recorded.lifecycle.iter().all(|rule| !rule.enabled) => {}
            recorded => acts.push(Act::Lifecycle(recorded.map(|recorded| recorded.lifecycle))),
        }
    }
    if let Some(path) = replication_file {
        acts.push(Act::Replication(path.as_path().into()));
    }
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    let answers = act_id(standby, &Act::Answers);
    for act in acts {
        let id = act_id(standby, &act);
        let needs = Some(answers.clone()).filter(|answers| *answers != id);
        steps.push(Arc::new(BucketStep { id, needs, standby: standby.clone(), act }));
    }
    steps
}

/// Whether a file holds a replication that a promotion can put; why not otherwise.
pub(super) fn replication_file(path: &Path) -> Result<ReplicationConfiguration, String> {
    replication::load(path)
}

fn act_id(standby: &Standby, act: &Act) -> StepId {
    StepId(format!("{}.{}", standby.store, act.name()).into())
}

/// What one step does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    /// Nothing: it asks.
    Answers,
    Routes(Mrap),
    /// Of the source; `None`: nobody knows them.
    Lifecycle(Option<Vec<Rule>>),
    Replication(Arc<Path>),
}

impl Act {
    fn name(&self) -> &'static str {
        let [answers, routes, lifecycle, replication] = STEPS else { unreachable!("there are four") };
        match self {
            Act::Answers => answers,
            Act::Routes(_) => routes,
            Act::Lifecycle(_) => lifecycle,
            Act::Replication(_) => replication,
        }
    }
}

struct BucketStep {
    id: StepId,
    needs: Option<StepId>,
    standby: Standby,
    act: Act,
}

#[async_trait]
impl Step for BucketStep {
    fn id(&self) -> StepId {
        self.id.clone()
    }

    fn describe(&self) -> Description {
        let answers = self.act == Act::Answers;
        Description {
            phase: Phase::Blobs,
            needs: self.needs.clone().into_iter().collect(),
            calls: self.calls(),
            // Traffic that goes by the access point stays in prodX without it.
            required: matches!(self.act, Act::Answers | Act::Routes(_)),
            reversible: true,
            deadline: match self.act {
                Act::Answers => ANSWERS,
                Act::Routes(_) => ROUTES,
                Act::Lifecycle(_) | Act::Replication(_) => CHANGE,
            },
            poll: POLL,
            deferred: matches!(self.act, Act::Lifecycle(_) | Act::Replication(_)),
            repeat: if answers { Repeat::Safe } else { Repeat::Checked },
        }
    }

    async fn check(&self, _: &Context<'_>) -> Result<World, StepError> {
        match &self.act {
            Act::Answers => self.answers().await,
            Act::Routes(mrap) => self.check_routes(mrap).await,
            Act::Lifecycle(None) => Ok(World::NotApplicable(
                "the source's lifecycle rules were never seen; enable the standby's by hand if it had any".into(),
            )),
            Act::Lifecycle(Some(source)) => Ok(match self.rules().await? {
                Some((rules, _)) => world::lifecycle(source, &rules),
                None => self.gone(),
            }),
            Act::Replication(path) => self.check_replication(path).await,
        }
    }

    async fn act(&self, _: &Context<'_>) -> Result<(), StepError> {
        let Standby { client, bucket, .. } = &self.standby;
        match &self.act {
            Act::Answers | Act::Lifecycle(None) => Ok(()),
            Act::Routes(mrap) => self.turn(mrap).await,
            Act::Lifecycle(Some(source)) => {
                let Some((rules, least)) = self.rules().await? else {
                    return Err(StepError::Refused("the bucket is gone".into()));
                };
                let all = world::enabled(source, &rules);
                let all = all.iter().map(Rule::to_sdk).collect::<Result<Vec<_>, _>>().map_err(unbuilt)?;
                let all = BucketLifecycleConfiguration::builder().set_rules(Some(all)).build().map_err(unbuilt)?;
                let call = client.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(all);
                // What is not said again falls back to its default.
                let sent = call.set_transition_default_minimum_object_size(least).send().await;
                sent.map(drop).map_err(|e| acted("PutBucketLifecycleConfiguration", &e))
            }
            Act::Replication(path) => {
                let wanted = replication::load(path).map_err(StepError::Refused)?;
                let sent =
                    client.put_bucket_replication().bucket(bucket).replication_configuration(wanted).send().await;
                sent.map(drop).map_err(|e| acted("PutBucketReplication", &e))
            }
        }
    }
}

impl BucketStep {
    /// What `act` sends, as it can be typed.
    fn calls(&self) -> Vec<String> {
        let Standby { bucket, region, source_bucket, .. } = &self.standby;
        let aws = |what: &str, more: &str| format!("aws s3api {what} --region {region} --bucket {bucket} {more}");
        let call = match &self.act {
            Act::Answers => aws("list-objects-v2", "--max-keys 1   (check; nothing is sent)"),
            Act::Routes(Mrap { arn, account, .. }) => format!(
                "aws s3control submit-multi-region-access-point-routes --region {} --account-id {account} --mrap {arn} \
                 --route-updates Bucket={bucket},TrafficDialPercentage=100 Bucket={source_bucket},TrafficDialPercentage=0",
                self.routes_region()
            ),
            Act::Lifecycle(Some(rules)) => {
                let names: Vec<&str> = rules.iter().filter(|rule| rule.enabled).map(Rule::name).collect();
                aws(
                    "put-bucket-lifecycle-configuration",
                    &format!("--lifecycle-configuration ...   (the rules there are, and {} Enabled)", names.join(", ")),
                )
            }
            Act::Lifecycle(None) => "nothing: the source's lifecycle rules were never seen".into(),
            Act::Replication(path) => {
                aws("put-bucket-replication", &format!("--replication-configuration file://{}", path.display()))
            }
        };
        vec![call]
    }

    fn routes_region(&self) -> &str {
        match &self.act {
            Act::Routes(mrap) => mrap.region.as_deref().unwrap_or(&self.standby.region),
            _ => &self.standby.region,
        }
    }

    /// The data plane answers. A refusal is no reason to hold a recovery: up to the fence the bucket took every write.
    async fn answers(&self) -> Result<World, StepError> {
        let Standby { client, bucket, region, prefix, .. } = &self.standby;
        match client.list_objects_v2().bucket(bucket).prefix(prefix).max_keys(1).send().await {
            Ok(_) => Ok(World::Done(format!("bucket {bucket} answers in {region}"))),
            Err(error) => match classify(&error, false) {
                Class::Missing => Ok(self.gone()),
                Class::Denied => {
                    Ok(World::NotApplicable(format!("not allowed to look (s3:ListBucket): {}", words(&error))))
                }
                _ => Err(StepError::Failed(format!("ListObjectsV2: {}", words(&error)))),
            },
        }
    }

    fn gone(&self) -> World {
        World::Conflict(format!("there is no bucket {} in {}", self.standby.bucket, self.standby.region))
    }

    async fn check_routes(&self, mrap: &Mrap) -> Result<World, StepError> {
        let region = self.routes_region();
        if !MRAP_REGIONS.contains(&region) {
            let can = MRAP_REGIONS.join(", ");
            return Ok(World::Conflict(format!(
                "routes cannot be changed in {region}; set mrap_region to one of {can}"
            )));
        }
        let Standby { bucket, source_bucket, .. } = &self.standby;
        Ok(match self.routes(mrap).await? {
            Some(routes) => world::routes(bucket, source_bucket, &routes),
            None => World::Conflict(format!("there is no access point {}", mrap.arn)),
        })
    }

    /// `None`: there is no such access point.
    async fn routes(&self, mrap: &Mrap) -> Result<Option<Vec<Route>>, StepError> {
        let call = self.standby.control.get_multi_region_access_point_routes();
        let call = call.account_id(&mrap.account).mrap(&mrap.arn).customize();
        match call.config_override(self.there()).send().await {
            Ok(answer) => Ok(Some(answer.routes().iter().map(Route::of).collect())),
            Err(error) if code(&error) == Some("NoSuchMultiRegionAccessPoint") => Ok(None),
            Err(error) => asked("GetMultiRegionAccessPointRoutes", &error).map(|()| None),
        }
    }

    /// The standby active, the primary passive, in one call: there is no moment without an active one.
    async fn turn(&self, mrap: &Mrap) -> Result<(), StepError> {
        let Standby { bucket, source_bucket, .. } = &self.standby;
        let Some(routes) = self.routes(mrap).await? else {
            return Err(StepError::Refused("the access point is gone".into()));
        };
        let mut call = self.standby.control.submit_multi_region_access_point_routes();
        call = call.account_id(&mrap.account).mrap(&mrap.arn);
        for route in world::turned(bucket, source_bucket, &routes) {
            call = call.route_updates(
                MultiRegionAccessPointRoute::builder()
                    .set_bucket(route.bucket)
                    .set_region(route.region)
                    .traffic_dial_percentage(route.dial)
                    .build()
                    .map_err(unbuilt)?,
            );
        }
        let sent = call.customize().config_override(self.there()).send().await;
        sent.map(drop).map_err(|e| acted("SubmitMultiRegionAccessPointRoutes", &e))
    }

    fn there(&self) -> aws_sdk_s3control::config::Builder {
        aws_sdk_s3control::config::Builder::new().region(Region::new(self.routes_region().to_owned()))
    }

    /// The rules, and from which size on they move objects unless they say so; `None`: there is no such bucket.
    async fn rules(&self) -> Result<Option<(Vec<Rule>, Option<TransitionDefaultMinimumObjectSize>)>, StepError> {
        let Standby { client, bucket, .. } = &self.standby;
        match client.get_bucket_lifecycle_configuration().bucket(bucket).send().await {
            Ok(answer) => {
                let least = answer.transition_default_minimum_object_size().cloned();
                Ok(Some((answer.rules().iter().map(Rule::of).collect(), least)))
            }
            Err(error) if code(&error) == Some(NO_LIFECYCLE) => Ok(Some((Vec::new(), None))),
            Err(error) => asked("GetBucketLifecycleConfiguration", &error).map(|()| None),
        }
    }

    async fn check_replication(&self, path: &Path) -> Result<World, StepError> {
        let wanted = match replication::load(path) {
            Ok(wanted) => wanted,
            Err(why) => return Ok(World::Conflict(format!("{}: {why}", path.display()))),
        };
        let Standby { client, bucket, .. } = &self.standby;
        let versioning = match client.get_bucket_versioning().bucket(bucket).send().await {
            Ok(answer) => Versioning::of(&answer),
            Err(error) => return asked("GetBucketVersioning", &error).map(|()| self.gone()),
        };
        if versioning != Versioning::Enabled {
            let is = versioning.words();
            return Ok(World::Conflict(format!("versioning of {bucket} is {is}, and replication needs it")));
        }
        match client.get_bucket_replication().bucket(bucket).send().await {
            Ok(answer) => Ok(world::replication(&wanted, answer.replication_configuration())),
            Err(error) if code(&error) == Some(NO_REPLICATION) => Ok(world::replication(&wanted, None)),
            Err(error) => asked("GetBucketReplication", &error).map(|()| self.gone()),
        }
    }
}

fn unbuilt(error: impl std::fmt::Display) -> StepError {
    StepError::Refused(format!("the request cannot be made: {error}"))
}

/// A question that failed; `Ok`: what was asked for is not there.
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
        Class::Denied | Class::Invalid | Class::Missing => StepError::Refused(why),
        _ => StepError::Failed(why),
    }
}

#[cfg(test)]
mod tests;
