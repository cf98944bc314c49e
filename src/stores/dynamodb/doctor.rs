//! Asks the two control planes, and on request exercises every permission that reading needs. Reads only; each question
//! stands alone, so that one that is refused hides no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, PointInTimeRecoveryStatus};
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::drift::{self, Asked, Pair, Place, Refused, Seen, check};
use super::facts::{Facts, Recorded, Ttl};
use super::lineage::Incarnation;
use super::{Table, operations};
use crate::aws::{classify, words};
use crate::change::{Class, Finding, Severity};
use crate::seams::SharedClock;
use crate::stores::{Examine, Look, StoreState, Transition};

/// A question without an answer is asked so often.
const ATTEMPTS: u32 = 3;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// What an examination needs besides the clients, and what it has learnt of the source.
pub(super) struct Control {
    pub(super) primary_region: String,
    pub(super) standby_region: String,
    seen: Arc<Mutex<Option<Recorded>>>,
}

impl Control {
    pub(super) fn new(primary_region: String, standby_region: String) -> Self {
        Self { primary_region, standby_region, seen: Arc::default() }
    }

    /// What the index must learn of the source, if it does not have it: for the day on which prodX cannot be asked.
    pub(super) fn to_record(&self, state: &StoreState) -> Option<Transition> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let have = Recorded::parse(state.record.source.as_deref());
        (have.as_ref() != Some(&seen)).then(|| Transition::Note(seen.text()))
    }

    fn learn(&self, ttl: &Asked<Ttl>) {
        if let Ok(ttl) = ttl {
            let recorded = Recorded { ttl: ttl.attribute().map(str::to_owned) };
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(recorded);
        }
    }
}

#[async_trait]
impl Examine for Table {
    async fn examine(&self, how: Look<'_>) -> Vec<Finding> {
        let primary = Place {
            side: "primary",
            table: self.settings.table.clone(),
            region: self.control.primary_region.clone(),
            policy: operations::READ_X,
        };
        let standby = Place {
            side: "standby",
            table: self.settings.standby_table.clone(),
            region: self.control.standby_region.clone(),
            policy: operations::WRITE_Y,
        };
        let (mut source, mut standby) = futures_util::future::join(
            see(&self.source, primary, &self.clock),
            see(&self.target, standby, &self.clock),
        )
        .await;
        self.control.learn(&source.ttl);
        if how.probe {
            let streams = self.probe_stream(&source);
            let tables = futures_util::future::join(
                probe_table(&self.source, &source, &self.clock),
                probe_table(&self.target, &standby, &self.clock),
            );
            let (streams, (of_source, of_standby)) = futures_util::future::join(streams, tables).await;
            source.probes = of_source.into_iter().chain(streams).collect();
            standby.probes = of_standby;
        }
        let known = how.known;
        let pair = Pair {
            source,
            standby,
            adopted: known.and_then(|record| record.incarnation.as_deref()).and_then(Incarnation::parse),
            recorded: known.and_then(|record| Recorded::parse(record.source.as_deref())),
            promoting: self.settings.promoting.clone(),
        };
        let mut found = drift::compare(&pair);
        if how.probe {
            // Whoever asks for an examination has none while an end is silent.
            for finding in found.iter_mut().filter(|f| f.check == check::ANSWERS && f.severity == Severity::Warning) {
                finding.severity = Severity::Problem;
            }
            found.extend(unasked(&pair, known.is_none()));
        }
        found
    }
}

/// What this examination does not look at, so that nobody takes its silence for an answer.
fn unasked(pair: &Pair, no_index: bool) -> Vec<Finding> {
    let note = |place: &Place, check, what: &str, todo: &str| {
        Finding::new(Severity::Note, check, place.words(), what).to_do(todo)
    };
    let (x, y) = (&pair.source.place, &pair.standby.place);
    let mut found = vec![
        note(
            x,
            check::TRIGGERS,
            "other readers of its stream (Lambda event source mappings) are not looked for",
            "a shard takes two readers at a time: with a Lambda function on the stream it has both",
        ),
        note(
            y,
            check::PERMISSIONS,
            "permissions to write are not tried, because trying them is writing",
            "plimsoll doctor --policies prints the policies to compare with",
        ),
    ];
    if no_index {
        found.push(note(
            x,
            check::INCARNATION,
            "whether it is still the table that was adopted is not known here: the index belongs to the daemon",
            "the running daemon compares it all the time: plimsoll status",
        ));
    }
    found
}

/// Asks the control plane of one table.
async fn see(client: &Client, place: Place, clock: &SharedClock) -> Seen {
    let name = &place.table;
    let table = async {
        let asked = again(clock, "DescribeTable", || client.describe_table().table_name(name).send()).await?;
        let described = asked.table.ok_or_else(|| empty("DescribeTable"))?;
        Ok(Facts::of(&described))
    };
    let ttl = async {
        let asked = again(clock, "DescribeTimeToLive", || client.describe_time_to_live().table_name(name).send());
        Ok(Ttl::of(asked.await?.time_to_live_description()))
    };
    let recovery = async {
        let ask = || client.describe_continuous_backups().table_name(name).send();
        let asked = again(clock, "DescribeContinuousBackups", ask).await?;
        let described = asked.continuous_backups_description().and_then(|d| d.point_in_time_recovery_description());
        let status = described.and_then(|d| d.point_in_time_recovery_status());
        Ok(status == Some(&PointInTimeRecoveryStatus::Enabled))
    };
    let (table, (ttl, recovery)) = futures_util::future::join(table, futures_util::future::join(ttl, recovery)).await;
    Seen { table, ttl, recovery, probes: Vec::new(), place }
}

/// Reads next to nothing: whether it is allowed is the answer.
async fn probe_table(client: &Client, seen: &Seen, clock: &SharedClock) -> Vec<Asked<()>> {
    let name = &seen.place.table;
    let scan = async {
        let ask = || client.scan().table_name(name).consistent_read(true).limit(1).send();
        again(clock, "Scan", ask).await.map(drop)
    };
    let mut probes = vec![scan.await];
    // Without its key schema no item can be named.
    let Ok(facts) = &seen.table else { return probes };
    let key: HashMap<String, AttributeValue> =
        facts.keys.iter().map(|part| (part.name.clone(), nobody(&part.kind))).collect();
    let ask = || client.get_item().table_name(name).consistent_read(true).set_key(Some(key.clone())).send();
    probes.push(again(clock, "GetItem", ask).await.map(drop));
    let wanted = KeysAndAttributes::builder().consistent_read(true).keys(key).build();
    // IAM knows it by its own name, and a seed asks the source only.
    if let (Ok(wanted), "primary") = (wanted, seen.place.side) {
        let ask = || client.batch_get_item().request_items(name, wanted.clone()).send();
        probes.push(again(clock, "BatchGetItem", ask).await.map(drop));
    }
    probes
}

/// A key value that no item has.
fn nobody(kind: &str) -> AttributeValue {
    match kind {
        "N" => AttributeValue::N("-98765432109876543210987654321".into()),
        "B" => AttributeValue::B(b"plimsoll doctor asks for nothing".to_vec().into()),
        _ => AttributeValue::S("plimsoll doctor asks for nothing".into()),
    }
}

impl Table {
    /// The stream as far as reading it goes without taking a record.
    async fn probe_stream(&self, source: &Seen) -> Vec<Asked<()>> {
        let Some(arn) = source.table.as_ref().ok().and_then(|facts| facts.stream_arn.clone()) else {
            return Vec::new();
        };
        let ask = || self.streams.describe_stream().stream_arn(&arn).limit(1).send();
        let described = match again(&self.clock, "DescribeStream", ask).await {
            Ok(described) => described,
            Err(refused) => return vec![Err(refused)],
        };
        let shard = described
            .stream_description()
            .and_then(|stream| stream.shards().first())
            .and_then(|shard| shard.shard_id().map(str::to_owned));
        let Some(shard) = shard else { return vec![Ok(())] };
        let ask = || {
            let request = self.streams.get_shard_iterator().stream_arn(&arn).shard_id(&shard);
            request.shard_iterator_type(ShardIteratorType::TrimHorizon).send()
        };
        vec![Ok(()), again(&self.clock, "GetShardIterator", ask).await.map(drop)]
    }
}

fn empty(operation: &'static str) -> Refused {
    Refused { class: Class::Unavailable, operation, words: "an answer without a content".into() }
}

/// Asks until there is an answer, a few times.
async fn again<T, E, F>(clock: &SharedClock, operation: &'static str, ask: impl Fn() -> F) -> Asked<T>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    let mut attempt = 1;
    loop {
        let refused = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => Refused { class: classify(&error, false), operation, words: words(&error) },
        };
        let definite = matches!(refused.class, Class::Denied | Class::Missing | Class::Invalid);
        if definite || attempt == ATTEMPTS {
            return Err(refused);
        }
        attempt += 1;
        clock.sleep(PAUSE).await;
    }
}
