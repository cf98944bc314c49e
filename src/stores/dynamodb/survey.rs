//! Looking at a table: which it is, what its stream lists, and what a copy of it would begin with.

use std::sync::PoisonError;
use std::time::Duration;

use aws_sdk_dynamodb::types::{KeySchemaElement, StreamViewType, TableDescription};

use super::Table;
use super::lineage::{self, Incarnation, Sighting};
use crate::change::{Class, LaneKind, Stamp};
use crate::config::duration_words;
use crate::stores::{Reseed, StoreError, StoreState, Transition, seed};
use crate::watermark::SeedRun;

const SECOND: Duration = Duration::from_secs(1);

impl Table {
    pub(super) async fn look(&self, state: &StoreState, now: Stamp) -> Result<Vec<Transition>, StoreError> {
        let table = self.describe(&self.source, &self.settings.table, "primary").await?;
        let adopted = state.record.incarnation.as_deref().and_then(Incarnation::parse);
        let current = stream_of(&table);
        if adopted.is_none() {
            self.require_a_fit(&table).await?;
        }
        let arn = adopted.as_ref().map(|i| i.stream_arn.clone()).or_else(|| current.clone());
        let shards = match &arn {
            Some(arn) => match self.list(arn, None).await? {
                Some(listing) => Some(listing.shards),
                // The table says that this is its stream: one of the two answers is stale, and a gap is for ever (DS-8b).
                None if current.as_ref() == Some(arn) => {
                    return Err(StoreError::new(
                        Class::Unavailable,
                        "DescribeStream of a stream that the table has",
                        arn,
                    ));
                }
                None => None,
            },
            None => None,
        };
        let table_id = identity(&table);
        let sighting = Sighting { table_id, stream_arn: current, shards };
        let mut decisions = lineage::decide(state, &sighting, now.wall);
        if adopted.is_some() && decisions.is_empty() {
            // Everything that is decided about lanes is durable (2.3 step 1).
            if let Some(why) = seed::again(state, &self.settings.seed, now.wall) {
                decisions.push(self.reseed(state, &table, &sighting, why, now).await?);
            } else if seed::begins(state) {
                decisions.push(self.begin_copy(state, &table, now).await?);
            }
        }
        if adopted.is_some() {
            decisions.extend(self.control.to_record(state));
        }
        Ok(decisions)
    }

    /// A re-seed of what the table is now.
    async fn reseed(
        &self,
        state: &StoreState,
        table: &TableDescription,
        seen: &Sighting,
        why: String,
        now: Stamp,
    ) -> Result<Transition, StoreError> {
        self.require_a_fit(table).await?;
        // It may be another table than the one that was copied before.
        self.learn_keys(table);
        let on = format!("table {}", self.settings.table);
        let Some(arn) = &seen.stream_arn else {
            return Err(StoreError::new(Class::Invalid, "the table has no stream", on));
        };
        let listing = match self.list(arn, None).await? {
            Some(listing) if !listing.shards.is_empty() => listing,
            // A stream that is being enabled lists nothing yet (DS-F7).
            _ => return Err(StoreError::new(Class::Unavailable, "waiting for the shards of the stream", on)),
        };
        // What was cached of positions belongs to what is left behind.
        self.cursors.clear();
        let incarnation = Incarnation { table_id: seen.table_id.clone(), stream_arn: arn.clone() };
        let allowed = state.record.wanted.as_ref().map_or(0, |wanted| wanted.allowed);
        let run = SeedRun { started_at: now.wall, cause: Some(why), allowed, ..SeedRun::default() };
        let lanes = lineage::all(&listing.shards, now.wall);
        Ok(Transition::Reseed(Reseed { epoch: state.record.epoch + 1, incarnation: incarnation.text(), lanes, run }))
    }

    /// The copy of what exists. An empty pair is one that is complete: there is nothing to copy and nothing to sweep.
    async fn begin_copy(
        &self,
        state: &StoreState,
        table: &TableDescription,
        now: Stamp,
    ) -> Result<Transition, StoreError> {
        let standby_empty = self.is_empty(&self.target, &self.settings.standby_table, "standby").await?;
        let first = state.record.gap.is_none() && state.record.seed_run.is_none();
        if first && standby_empty && self.is_empty(&self.source, &self.settings.table, "primary").await? {
            return Ok(Transition::Seeded);
        }
        let count = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let fresh = SeedRun { started_at: now.wall, ..SeedRun::default() };
        let run = SeedRun {
            total: count(table.item_count()),
            bytes: count(table.table_size_bytes()),
            sweep: !standby_empty,
            ..state.record.seed_run.clone().unwrap_or(fresh)
        };
        self.learn_capacity().await?;
        let least = self.budget.least_time(run.bytes).map_or_else(String::new, |t| duration_words(t.max(SECOND)));
        tracing::info!(store = %self.id, items = run.total, bytes = run.bytes, sweep = run.sweep, least_time = least, "a copy begins");
        Ok(Transition::Copy { run, lanes: seed::segments(LaneKind::Scan, self.settings.seed.segments) })
    }

    pub(super) async fn describe(
        &self,
        client: &aws_sdk_dynamodb::Client,
        table: &str,
        side: &str,
    ) -> Result<TableDescription, StoreError> {
        let on = format!("{side} table {table}");
        let answer = client.describe_table().table_name(table).send().await;
        let answer = answer.map_err(|e| StoreError::of_call(&e, false, "DescribeTable", &on))?;
        answer.table.ok_or_else(|| StoreError::new(Class::Unavailable, "DescribeTable", on))
    }

    /// Before anything is promised: the stream carries what we need and the standby can hold it (DS-2, AP-8).
    async fn require_a_fit(&self, table: &TableDescription) -> Result<(), StoreError> {
        let on = format!("table {}", self.settings.table);
        let refuse = |what: &str, hint: &str| Err(StoreError::new(Class::Invalid, what, on.clone()).hint(hint));
        // Before the stream is looked at: one of strong consistency has none, and shall not be given one (DS-F16).
        if !table.replicas().is_empty() || table.global_table_version().is_some() {
            return refuse(
                "the table is a global table: AWS replicates it already, and a second copy would fight the first",
                "write mode = \"observe\" for this store, under a new id",
            );
        }
        let stream = table.stream_specification().filter(|s| s.stream_enabled());
        match stream.and_then(|s| s.stream_view_type()) {
            Some(StreamViewType::NewAndOldImages | StreamViewType::NewImage) => {}
            Some(_) => {
                return refuse(
                    "the stream does not carry new images",
                    "disable it and enable it again with NEW_AND_OLD_IMAGES",
                );
            }
            None => return refuse("the table has no stream", "enable it with NEW_AND_OLD_IMAGES"),
        }
        self.require_canary_keys(table)?;
        let standby = self.describe(&self.target, &self.settings.standby_table, "standby").await?;
        if schema(table.key_schema()) != schema(standby.key_schema()) {
            return refuse(
                &format!("the key of standby table {} is another", self.settings.standby_table),
                "create the standby table with the key schema of the primary",
            );
        }
        Ok(())
    }

    async fn is_empty(&self, client: &aws_sdk_dynamodb::Client, table: &str, side: &str) -> Result<bool, StoreError> {
        let scan = client.scan().table_name(table).consistent_read(true).limit(1).send().await;
        let page = scan.map_err(|e| StoreError::of_call(&e, false, "Scan", &format!("{side} table {table}")))?;
        Ok(page.count() == 0 && page.last_evaluated_key().is_none_or(std::collections::HashMap::is_empty))
    }

    /// Remembers what the key of the table is made of.
    pub(super) fn learn_keys(&self, table: &TableDescription) {
        let names: Vec<String> = table.key_schema().iter().map(|e| e.attribute_name().to_owned()).collect();
        if !names.is_empty() {
            *self.key_names.lock().unwrap_or_else(PoisonError::into_inner) = Some(names.into());
        }
    }
}

/// The table's stream, if it is on.
pub(super) fn stream_of(table: &TableDescription) -> Option<String> {
    let on = table.stream_specification().is_some_and(aws_sdk_dynamodb::types::StreamSpecification::stream_enabled);
    table.latest_stream_arn().filter(|_| on).map(str::to_owned)
}

/// What tells this table from another of the same name: its id, or, where a server gives none, when it was created.
pub(super) fn identity(table: &TableDescription) -> String {
    let created = || table.creation_date_time().map_or_else(String::new, |at| format!("created-{}", at.as_secs_f64()));
    table.table_id().map_or_else(created, str::to_owned)
}

fn schema(elements: &[KeySchemaElement]) -> Vec<(String, String)> {
    let mut all: Vec<_> =
        elements.iter().map(|e| (e.key_type().as_str().to_owned(), e.attribute_name().to_owned())).collect();
    all.sort();
    all
}
