//! Global tables (version 2019.11.21): AWS replicates them; Plimsoll proves how far.
//!
//! - [`member`] is what DescribeTable says of a replica, [`canary`] the items that are written in prodX and read in prodY,
//!   [`metric`] what CloudWatch knows, [`sample`] makes evidence of what was seen. All pure but the calls below.
//! - What it deliberately does not do: read streams (each replica's is another; DS-F16), write in prodY, touch the legacy
//!   version 2017.11.29, add or remove replicas.

mod canary;
mod member;
mod metric;
mod sample;
pub(super) mod settings;
mod step;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use futures_util::future::{join, join_all};

use self::member::{Member, Pair};
use self::metric::Datapoint;
use self::sample::Sample;
use self::settings::GlobalTableSettings;
use crate::aws::Aws;
use crate::change::{Class, Evidence, Method, SourceTime, Stamp, StoreId};
use crate::promote::Step;
use crate::seams::SharedClock;
use crate::stores::contract::{Mode, Rhythm, Store};
use crate::stores::observe::{Beat, Cadence, Facts, Look, Observe, SeenBeat};
use crate::stores::{StoreError, StoreState};
use crate::watermark::Watermarks;

/// A pair that is not as it should be is looked at again this soon.
const SURVEY_AGAIN: Duration = Duration::from_secs(5);

/// A global table, with a replica in prodX and one in prodY.
struct GlobalTable {
    id: StoreId,
    settings: GlobalTableSettings,
    clock: SharedClock,
    x: Side,
    y: Side,
    known: Mutex<Option<Known>>,
    metric: Mutex<Measured>,
}

struct Side {
    region: String,
    dynamodb: aws_sdk_dynamodb::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
}

/// What the last survey found.
#[derive(Clone)]
struct Known {
    pair: Arc<Pair>,
    at: Stamp,
    x_answered: bool,
    /// prodY did not describe the table; what it said before is taken to hold.
    trouble: Option<String>,
}

/// What CloudWatch said last.
#[derive(Debug, Clone, Default)]
struct Measured {
    asked: Option<Stamp>,
    datapoint: Option<Datapoint>,
    x_answered: bool,
    trouble: Option<String>,
}

fn open(settings: GlobalTableSettings, id: &StoreId, aws: &Aws) -> Arc<dyn Store> {
    let attempt = settings.attempt_timeout;
    let side = |side: &crate::aws::Side| Side {
        region: side.region(),
        dynamodb: side.dynamodb(attempt),
        cloudwatch: side.cloudwatch(attempt),
    };
    Arc::new(GlobalTable {
        id: id.clone(),
        clock: Arc::clone(&aws.clock),
        x: side(&aws.primary),
        y: side(&aws.standby),
        known: Mutex::default(),
        metric: Mutex::default(),
        settings,
    })
}

impl Store for GlobalTable {
    fn id(&self) -> &StoreId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        super::KIND.name
    }

    fn mode(&self) -> Mode<'_> {
        Mode::Observe(self)
    }

    /// Of an observed store only the period between two proofs counts.
    fn rhythm(&self) -> Rhythm {
        Rhythm {
            poll_min: self.settings.look_every,
            poll_max: self.settings.period(),
            empty_run: 1,
            propagation: Duration::ZERO,
            publish: sample::DATE_PRECISION,
            max_request_life: Duration::ZERO,
            apply_concurrency: 1,
            apply_batch: 1,
            survey_every: self.settings.survey_every,
        }
    }

    /// What the canary or the metric proved is in the record itself.
    fn watermark(&self, state: &StoreState) -> Option<(SourceTime, Method)> {
        state.record.through.zip(state.record.method)
    }

    fn promote_steps(&self, _: &Watermarks) -> Vec<Arc<dyn Step>> {
        vec![Arc::new(step::Writable {
            store: self.id.clone(),
            table: self.settings.table.clone(),
            region: self.y.region.clone(),
            client: self.y.dynamodb.clone(),
        })]
    }
}

#[async_trait]
impl Observe for GlobalTable {
    fn cadence(&self) -> Cadence {
        Cadence { look_every: self.settings.look_every, beat_every: self.settings.canary_every }
    }

    async fn observe(&self, look: Look<'_>) -> Result<(Vec<Evidence>, Facts), StoreError> {
        let known = self.known().await?;
        let pair = &known.pair;
        // From here on: what a read in prodY shows was there at this moment.
        let asked = self.clock.now();
        let (seen, measured) = join(self.read_canaries(pair), self.measure(pair)).await;
        let now = self.clock.now();
        let mut evidence = Vec::new();
        let mut silent = |what: String| evidence.push(Evidence::Silent { since: asked, what });
        let (canary, arrived, read_failed) = match seen {
            None => (None, None, None),
            Some(Ok(places)) => {
                let proof = look.beats.proof(&places, now);
                let arrived = proof.as_ref().ok().map(|proof| proof.seq);
                (Some(proof), Some(arrived), None)
            }
            Some(Err(error)) => (None, None, Some(error)),
        };
        if let Some(error) = read_failed {
            if measured.datapoint.is_none() {
                return Err(error);
            }
            silent(error.chain());
        }
        for trouble in known.trouble.iter().chain(&measured.trouble) {
            silent(trouble.clone());
        }
        if pair.strong() && self.settings.canary_every.is_none() {
            silent("only a canary proves a table of strong consistency: set canary_every".into());
        }
        let inactive = pair.inactive();
        if let Some(inactive) = &inactive {
            silent(inactive.clone());
        }
        let sample = Sample {
            asked,
            now,
            skew: (look.skew)(),
            strong: pair.strong(),
            canary,
            // Of a read that failed nothing is said to be missing.
            missing_since: arrived.and_then(|arrived| look.beats.missing_since(arrived)),
            canary_every: self.settings.canary_every,
            datapoint: measured.datapoint,
        };
        let found = sample::evidence(&sample);
        evidence.extend(found.into_iter().filter(|e| inactive.is_none() || !matches!(e, Evidence::Advance { .. })));
        let facts = Facts {
            incarnation: Some(pair.y.1.identity.clone()),
            source_answered: known.x_answered || measured.x_answered,
            beat_seen: arrived.flatten(),
            about: Some(pair.about()),
        };
        Ok((evidence, facts))
    }

    async fn beat(&self, beat: &Beat) -> Result<(), StoreError> {
        let known = self.known().await?;
        let keys = self.keys(&known.pair)?;
        let puts = keys.all.iter().map(|key| self.put(&keys.partition_key, key, beat));
        join_all(puts).await.into_iter().collect()
    }
}

impl GlobalTable {
    fn on(&self, side: &Side) -> String {
        format!("table {} in {}", self.settings.table, side.region)
    }

    fn keys(&self, pair: &Pair) -> Result<canary::Keys, StoreError> {
        canary::keys(&pair.y.1.keys, &self.settings.canary_prefix, self.settings.canary_keys)
            .map_err(|what| StoreError::new(Class::Invalid, "making a canary", self.on(&self.x)).hint(what))
    }

    /// The pair as of the last survey, or of one now when that is due.
    async fn known(&self) -> Result<Known, StoreError> {
        let last = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.clock.now();
        if let Some(last) = &last {
            let good = last.x_answered && last.trouble.is_none() && last.pair.inactive().is_none();
            let every = self.settings.survey_every;
            let every = if good { every } else { every.min(SURVEY_AGAIN) };
            if now.since(last.at) < every {
                // Who answered then need not answer now.
                return Ok(Known { x_answered: false, ..last.clone() });
            }
        }
        let (x, y) = join(self.describe(&self.x), self.describe(&self.y)).await;
        let x_answered = x.is_ok();
        // prodX may be gone; prodY must say what it is.
        let x = x.ok().or_else(|| last.as_ref().and_then(|last| last.pair.x.1.clone()));
        let (y, trouble) = match (y, last) {
            (Ok(y), _) => (y, None),
            // The canary goes through the data plane and proves for itself. Of strong consistency the status is a part.
            (Err(error), Some(last)) if error.class != Class::Missing && !last.pair.strong() => {
                (last.pair.y.1.clone(), Some(error.chain()))
            }
            (Err(error), _) => return Err(error),
        };
        let pair = Pair { x: (self.x.region.clone(), x), y: (self.y.region.clone(), y) };
        if let Some((what, hint)) = pair.refusal() {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Err(self.refusal(what, hint).await);
        }
        let known = Known { pair: Arc::new(pair), at: now, x_answered, trouble };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    /// A table of the legacy version does not say so itself.
    async fn refusal(&self, what: String, hint: String) -> StoreError {
        let legacy = self.x.dynamodb.describe_global_table().global_table_name(&self.settings.table).send().await;
        let refuse = |what: &str, hint: &str| StoreError::new(Class::Invalid, what, self.on(&self.y)).hint(hint);
        match legacy.ok().and_then(|answer| answer.global_table_description) {
            Some(found) if !found.replication_group().is_empty() => refuse(
                "the table is a global table of version 2017.11.29, which is not observed",
                "upgrade it to version 2019.11.21",
            ),
            _ => refuse(&what, &hint),
        }
    }

    async fn describe(&self, side: &Side) -> Result<Member, StoreError> {
        let on = self.on(side);
        let answer = side.dynamodb.describe_table().table_name(&self.settings.table).send().await;
        let answer = answer.map_err(|e| StoreError::of_call(&e, false, "DescribeTable", &on))?;
        let table = answer.table.ok_or_else(|| StoreError::new(Class::Unavailable, "DescribeTable", on))?;
        Ok(Member::of(&table))
    }

    /// The canaries as prodY holds them; `None`: there are none to read.
    async fn read_canaries(&self, pair: &Pair) -> Option<Result<Vec<Option<SeenBeat>>, StoreError>> {
        self.settings.canary_every?;
        let keys = match self.keys(pair) {
            Ok(keys) => keys,
            Err(error) => return Some(Err(error)),
        };
        let reads = keys.all.into_iter().map(async |key| {
            let get =
                self.y.dynamodb.get_item().table_name(&self.settings.table).set_key(Some(key)).consistent_read(true);
            let answer = get.send().await;
            let answer =
                answer.map_err(|e| StoreError::of_call(&e, false, "GetItem of a canary", &self.on(&self.y)))?;
            Ok(answer.item.as_ref().and_then(canary::beat_of))
        });
        Some(join_all(reads).await.into_iter().collect())
    }

    async fn put(&self, partition_key: &str, key: &canary::Item, beat: &Beat) -> Result<(), StoreError> {
        let put = self
            .x
            .dynamodb
            .put_item()
            .table_name(&self.settings.table)
            .set_item(Some(canary::item(key, beat)))
            .condition_expression(canary::CONDITION)
            .set_expression_attribute_names(Some(canary::names(partition_key)))
            .set_expression_attribute_values(Some(canary::values(beat)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(()) };
        if let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() {
            let stands = refused.item().and_then(canary::beat_of);
            // Sent twice, or overtaken by a newer one: it is there.
            if stands.is_some_and(|stands| stands.by == beat.by && stands.seq >= beat.seq) {
                return Ok(());
            }
            return Err(StoreError::new(Class::Invalid, "writing a canary", self.on(&self.x))
                .hint("an item that is no canary stands under its key; set canary_prefix"));
        }
        Err(StoreError::of_call(&error, true, "PutItem of a canary", &self.on(&self.x)))
    }

    /// What CloudWatch says, asked again when that is due.
    async fn measure(&self, pair: &Pair) -> Measured {
        let Some(every) = self.settings.metric_every.filter(|_| !pair.strong()) else { return Measured::default() };
        let last = self.metric.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.clock.now();
        if last.asked.is_some_and(|asked| now.since(asked) < every) {
            return Measured { x_answered: false, ..last };
        }
        let ask = async |side: &Side| {
            let on = format!("ReplicationLatency of {}, asked in {}", self.settings.table, side.region);
            metric::ask(&side.cloudwatch, &self.settings.table, &self.y.region, now.wall, &on).await
        };
        let (x, y) = join(ask(&self.x), ask(&self.y)).await;
        let x_answered = x.is_ok();
        let (good, bad): (Vec<_>, Vec<_>) = [x, y].into_iter().partition(Result::is_ok);
        let answers: Vec<_> = good.into_iter().flatten().collect();
        let (datapoint, garbage) = metric::newest(&answers, now.wall);
        // One region is enough to know; none is worth a word.
        let unheard = bad.into_iter().filter_map(Result::err).map(|error| error.chain()).next();
        let measured = Measured {
            asked: Some(now),
            // An answer without it does not make an older one untrue.
            datapoint: datapoint.or(last.datapoint),
            x_answered,
            trouble: garbage.or(unheard.filter(|_| answers.is_empty())),
        };
        *self.metric.lock().unwrap_or_else(PoisonError::into_inner) = measured.clone();
        measured
    }
}
