//! Buckets between which S3 itself replicates (CRR): Plimsoll proves how far that is.
//!
//! - A canary is written in prodX and read in prodY; CloudWatch tells how late each rule is ([`metric`]), in prodY; a queue
//!   tells of operations that failed ([`notices`], [`failures`]). [`sample`] makes evidence of what was seen, [`rules`] says
//!   what the configuration leaves out, [`doctor`] asks for that.
//! - A watermark is about operations that the rules cover. What they do not (objects that were there before, versions that
//!   are deleted, what a lifecycle rule removes, tags without their option) is said by the doctor and proven by nobody.
//! - What it deliberately does not do: copy. A second writer in the standby bucket would give an object a version id of its
//!   own, and whoever needs those has replication by S3. So it does not mend what failed either: S3 tries it again by a
//!   batch job, which keeps version ids and is the only thing that takes the status FAILED away; the doctor gives the
//!   command. Copying in place in prodX, the other way that is often told, writes a new version of the customer's object.

mod doctor;
mod failures;
mod metric;
mod notices;
mod rules;
mod sample;
pub(super) mod settings;
mod step;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::future::join;

use self::failures::{Board, Reach};
use self::metric::{Failed, Subject};
use self::rules::{Rule, Wanted};
use self::sample::{Failures, RuleLag, Sample};
use self::settings::ReplicatedSettings;
use super::canary::{Perch, Standing};
use crate::aws::Aws;
use crate::change::{Class, Evidence, Method, SourceTime, Stamp, StoreId};
use crate::promote::Step;
use crate::seams::SharedClock;
use crate::stores::contract::{Examine, Mode, Rhythm, Store};
use crate::stores::observe::{Beat, Cadence, Facts, Look, Observe, SeenBeat};
use crate::stores::{StoreError, StoreState};
use crate::watermark::Watermarks;

/// Between two looks at the configuration.
const SURVEY_EVERY: Duration = Duration::from_secs(60);
/// A configuration that was not told is asked for again this soon.
const SURVEY_AGAIN: Duration = Duration::from_secs(5);
/// Failures are counted by the metric this often.
const COUNT_EVERY: Duration = Duration::from_secs(300);

/// A bucket in prodX that S3 replicates to one in prodY.
struct Replicated {
    id: StoreId,
    settings: ReplicatedSettings,
    clock: SharedClock,
    x: Side,
    y: Side,
    /// Where the queue of failures is.
    sqs: aws_sdk_sqs::Client,
    known: Mutex<Option<Known>>,
    metric: Mutex<Measured>,
    board: tokio::sync::Mutex<Board>,
}

struct Side {
    region: String,
    s3: aws_sdk_s3::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
}

/// What the last survey found.
#[derive(Debug, Clone)]
struct Known {
    /// What is observed.
    rules: Vec<Rule>,
    at: Stamp,
    x_answered: bool,
    /// The configuration was not told; what it was before is taken to hold.
    trouble: Option<String>,
}

/// What CloudWatch said last.
#[derive(Debug, Clone, Default)]
struct Measured {
    asked: Option<Stamp>,
    lags: Vec<RuleLag>,
    counted: Option<Stamp>,
    failed: Option<Failed>,
    x_answered: bool,
    trouble: Option<String>,
}

fn open(settings: ReplicatedSettings, id: &StoreId, aws: &Aws) -> Arc<dyn Store> {
    let attempt = settings.common.attempt_timeout;
    let side = |side: &crate::aws::Side| Side {
        region: side.region(),
        s3: side.s3(attempt),
        cloudwatch: side.cloudwatch(attempt),
    };
    let queue = settings.failures_queue_url.as_deref().and_then(settings::region_of);
    let in_x = queue.is_some_and(|region| region == aws.primary.region());
    Arc::new(Replicated {
        id: id.clone(),
        clock: Arc::clone(&aws.clock),
        x: side(&aws.primary),
        y: side(&aws.standby),
        sqs: if in_x { aws.primary.sqs(attempt) } else { aws.standby.sqs(attempt) },
        known: Mutex::default(),
        metric: Mutex::default(),
        board: tokio::sync::Mutex::default(),
        settings,
    })
}

impl Store for Replicated {
    fn id(&self) -> &StoreId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        "s3"
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
            survey_every: SURVEY_EVERY,
        }
    }

    /// What the canary or the metric proved is in the record itself.
    fn watermark(&self, state: &StoreState) -> Option<(SourceTime, Method)> {
        state.record.through.zip(state.record.method)
    }

    fn promote_steps(&self, _: &Watermarks) -> Vec<Arc<dyn Step>> {
        vec![Arc::new(step::Reachable {
            store: self.id.clone(),
            bucket: self.settings.common.standby_bucket.clone(),
            region: self.y.region.clone(),
            client: self.y.s3.clone(),
        })]
    }

    fn examine(&self) -> Option<&dyn Examine> {
        Some(self)
    }
}

#[async_trait]
impl Observe for Replicated {
    fn cadence(&self) -> Cadence {
        Cadence { look_every: self.settings.look_every, beat_every: self.settings.canary().map(|(_, every)| every) }
    }

    async fn observe(&self, look: Look<'_>) -> Result<(Vec<Evidence>, Facts), StoreError> {
        let known = self.known().await?;
        // From here on: what a read in prodY shows was there at this moment.
        let asked = self.clock.now();
        let (seen, (measured, failures)) =
            join(self.read_canary(), join(self.measure(&known.rules), self.failures())).await;
        let now = self.clock.now();
        let mut evidence = Vec::new();
        let (failures, unreadable) = failures.map_or((None, None), |(said, trouble)| (Some(said), trouble));
        let (canary, arrived, unseen) = match seen {
            None => (None, None, None),
            Some(Ok(place)) => {
                let proof = look.beats.proof(&[place], now);
                let arrived = proof.as_ref().ok().map(|proof| proof.seq);
                (Some(proof), Some(arrived), None)
            }
            Some(Err(error)) => (None, None, Some(error.chain())),
        };
        for what in known.trouble.iter().chain(&measured.trouble).chain(&unreadable).chain(&unseen) {
            evidence.push(Evidence::Silent { since: asked, what: what.clone() });
        }
        let about = self.about(&known.rules, &measured, failures.as_ref());
        let sample = Sample {
            asked,
            now,
            skew: (look.skew)(),
            canary,
            with_canary: self.settings.canary().is_some(),
            // Of a read that failed nothing is said to be missing.
            missing_since: arrived.and_then(|arrived| look.beats.missing_since(arrived)),
            lags: self.settings.metric_every.map(|_| measured.lags.clone()),
            failures,
            failed: measured.failed,
        };
        evidence.extend(sample::evidence(&sample));
        let facts = Facts {
            // A bucket has no other name than its name.
            incarnation: Some(self.settings.common.standby_bucket.clone()),
            source_answered: known.x_answered || measured.x_answered,
            beat_seen: arrived.flatten(),
            about: Some(about),
        };
        Ok((evidence, facts))
    }

    async fn beat(&self, beat: &Beat) -> Result<(), StoreError> {
        let on = self.on_source();
        let Some((key, _)) = self.settings.canary() else {
            return Err(StoreError::new(Class::Invalid, "PutObject of the canary", on).hint("set canary_key"));
        };
        Perch { client: &self.x.s3, bucket: &self.settings.common.bucket, key, on: &on }.write(beat).await
    }
}

impl Replicated {
    fn on_source(&self) -> String {
        format!("source bucket {} ({})", self.settings.common.bucket, self.x.region)
    }

    fn on_standby(&self) -> String {
        format!("standby bucket {} ({})", self.settings.common.standby_bucket, self.y.region)
    }

    fn wanted<'a>(&'a self, on: &'a str) -> Wanted<'a> {
        Wanted {
            standby_bucket: &self.settings.common.standby_bucket,
            prefix: &self.settings.common.prefix,
            canary_key: self.settings.canary().map(|(key, _)| key),
            rule_ids: &self.settings.rule_ids,
            metric: self.settings.metric_every.is_some(),
            on,
        }
    }

    /// The rules of the source bucket.
    async fn configured(&self) -> Result<Vec<Rule>, StoreError> {
        let answer = self.x.s3.get_bucket_replication().bucket(&self.settings.common.bucket).send().await;
        match answer {
            Ok(answer) => Ok(answer.replication_configuration().map(rules::rules).unwrap_or_default()),
            Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => Ok(Vec::new()),
            Err(error) => Err(StoreError::of_call(&error, false, "GetBucketReplication", &self.on_source())),
        }
    }

    /// The rules as of the last survey, or of one now when that is due.
    async fn known(&self) -> Result<Known, StoreError> {
        let last = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.clock.now();
        if let Some(last) = &last {
            let every = if last.trouble.is_none() { SURVEY_EVERY } else { SURVEY_AGAIN };
            if now.since(last.at) < every {
                // Who answered then need not answer now.
                return Ok(Known { x_answered: false, ..last.clone() });
            }
        }
        let on = self.on_source();
        let wanted = self.wanted(&on);
        let known = match self.configured().await {
            Ok(configured) => {
                if let Some((what, hint)) = wanted.refusal(&configured) {
                    *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return Err(StoreError::new(Class::Invalid, what, on.clone()).hint(hint));
                }
                let rules = wanted.observed(&configured).into_iter().cloned().collect();
                Known { rules, at: now, x_answered: true, trouble: None }
            }
            // prodX may be gone; what was configured goes on being told by CloudWatch in prodY.
            Err(error) => {
                let named = || (!self.settings.rule_ids.is_empty()).then(|| named(&self.settings));
                let Some(rules) = last.map(|last| last.rules).or_else(named) else { return Err(error) };
                Known { rules, at: now, x_answered: false, trouble: Some(error.chain()) }
            }
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    /// The canary as prodY holds it; `None`: there is none to read.
    async fn read_canary(&self) -> Option<Result<Option<SeenBeat>, StoreError>> {
        let (key, _) = self.settings.canary()?;
        let on = self.on_standby();
        let perch = Perch { client: &self.y.s3, bucket: &self.settings.common.standby_bucket, key, on: &on };
        Some(perch.read().await.map(|standing| match standing {
            Standing::Canary { beat, .. } => Some(beat),
            Standing::Nothing | Standing::Other => None,
        }))
    }

    /// What the queue of failures says, read again when that is due; `None`: there is none.
    async fn failures(&self) -> Option<(Failures, Option<String>)> {
        let url = self.settings.failures_queue_url.as_deref()?;
        let mut board = self.board.lock().await;
        if board.due(self.clock.now()) {
            let reach = Reach {
                sqs: &self.sqs,
                url,
                x: &self.x.s3,
                bucket: &self.settings.common.bucket,
                y: &self.y.s3,
                standby_bucket: &self.settings.common.standby_bucket,
                clock: &self.clock,
            };
            board.read(&reach).await;
        }
        Some(board.said())
    }

    /// What CloudWatch says, asked again when that is due.
    async fn measure(&self, rules: &[Rule]) -> Measured {
        let Some(every) = self.settings.metric_every else { return Measured::default() };
        let last = self.metric.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.clock.now();
        if last.asked.is_some_and(|asked| now.since(asked) < every) {
            return Measured { x_answered: false, ..last };
        }
        let ids: Vec<String> = rules.iter().map(|rule| rule.id.clone()).collect();
        let of = Subject { bucket: &self.settings.common.bucket, standby_bucket: &self.settings.common.standby_bucket };
        let on = |region: &str| format!("the replication metrics of {}, asked in {region}", of.bucket);
        let (on_x, on_y) = (on(&self.x.region), on(&self.y.region));
        let count = last.counted.is_none_or(|counted| now.since(counted) >= COUNT_EVERY);
        let counting = async {
            if !count {
                return None;
            }
            Some(metric::failures(&self.x.cloudwatch, of, &ids, now.wall, &on_x).await)
        };
        let asking = metric::lags(&self.y.cloudwatch, of, &ids, now.wall, &on_y);
        let (lags, failed) = join(asking, counting).await;
        let mut measured = Measured { asked: Some(now), x_answered: false, trouble: None, ..last };
        match lags {
            Ok(series) => {
                let mut newest = Vec::new();
                for (rule, series) in ids.iter().zip(series) {
                    let (point, garbage) = metric::newest(&series, now.wall);
                    // An answer without it does not make an older one untrue.
                    let before = measured.lags.iter().find(|lag| lag.rule == *rule).and_then(|lag| lag.newest);
                    newest.push(RuleLag { rule: rule.clone(), newest: point.or(before) });
                    measured.trouble = measured.trouble.take().or(garbage);
                }
                measured.lags = newest;
            }
            Err(error) => measured.trouble = Some(error.chain()),
        }
        // Without an answer: what was counted before still happened.
        if let Some(Ok(points)) = failed {
            measured.counted = Some(now);
            measured.failed = metric::failed(&points);
            measured.x_answered = true;
        }
        *self.metric.lock().unwrap_or_else(PoisonError::into_inner) = measured.clone();
        measured
    }

    /// What it is and how it is set, for a human.
    fn about(&self, rules: &[Rule], measured: &Measured, failures: Option<&Failures>) -> String {
        let ids: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
        let mut text = format!(
            "S3 replicates {} to {} by {}",
            self.settings.common.bucket,
            self.settings.common.standby_bucket,
            ids.join(", ")
        );
        if rules.iter().any(|rule| !rule.delete_markers) {
            text += "; removals are not replicated";
        }
        let sum = |of: fn(&metric::Datapoint) -> Option<u64>| -> Option<u64> {
            let points = measured.lags.iter().filter_map(|lag| lag.newest.as_ref());
            points.filter_map(of).reduce(u64::saturating_add)
        };
        if let (Some(pending), Some(bytes)) = (sum(|point| point.pending), sum(|point| point.bytes)) {
            text += &format!("; {pending} operations and {bytes} bytes were waiting");
        }
        match failures {
            Some(failures) if failures.count > 0 => {
                text += &format!("; {} failed, see plimsoll doctor --online", failures.count);
            }
            Some(_) => {}
            None => text += "; without failures_queue_url what failed is only counted",
        }
        text
    }
}

/// Rules of which only the names are known.
fn named(settings: &ReplicatedSettings) -> Vec<Rule> {
    let rule = |id: &String| Rule {
        id: id.clone(),
        enabled: true,
        prefix: String::new(),
        tags: false,
        to: settings.common.standby_bucket.clone(),
        delete_markers: true,
        kms: true,
        metrics: true,
        time_control: false,
    };
    settings.rule_ids.iter().map(rule).collect()
}

#[cfg(test)]
mod tests;
