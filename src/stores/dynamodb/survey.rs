//! Looking at a table: which it is, what its stream lists, and whether there was anything before the tail began.

use aws_sdk_dynamodb::types::{KeySchemaElement, StreamViewType, TableDescription};

use super::Table;
use super::lineage::{self, Incarnation, Sighting};
use crate::change::{Class, Stamp};
use crate::stores::{StoreError, StoreState, Transition};
use crate::watermark::Seed;

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
        let adopted_durably = adopted.is_some() && decisions.is_empty();
        if adopted_durably
            && state.record.seed == Seed::Pending
            && state.record.gap.is_none()
            && self.both_empty().await?
        {
            // The positions were durable before we looked (2.3 step 1), and there was nothing to copy and nothing to sweep:
            // an empty pair is a complete seed.
            decisions.push(Transition::Seeded);
        }
        Ok(decisions)
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
        if !table.replicas().is_empty() {
            return refuse(
                "the table is a global table: AWS replicates it already",
                "do not copy it a second time; remove this store",
            );
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

    async fn both_empty(&self) -> Result<bool, StoreError> {
        for (client, table, side) in
            [(&self.source, &self.settings.table, "primary"), (&self.target, &self.settings.standby_table, "standby")]
        {
            let scan = client.scan().table_name(table).consistent_read(true).limit(1).send().await;
            let page = scan.map_err(|e| StoreError::of_call(&e, false, "Scan", &format!("{side} table {table}")))?;
            if page.count() > 0 || page.last_evaluated_key().is_some_and(|k| !k.is_empty()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The table's stream, if it is on.
fn stream_of(table: &TableDescription) -> Option<String> {
    let on = table.stream_specification().is_some_and(aws_sdk_dynamodb::types::StreamSpecification::stream_enabled);
    table.latest_stream_arn().filter(|_| on).map(str::to_owned)
}

/// What tells this table from another of the same name: its id, or, where a server gives none, when it was created.
fn identity(table: &TableDescription) -> String {
    let created = || table.creation_date_time().map_or_else(String::new, |at| format!("created-{}", at.as_secs_f64()));
    table.table_id().map_or_else(created, str::to_owned)
}

fn schema(elements: &[KeySchemaElement]) -> Vec<(String, String)> {
    let mut all: Vec<_> =
        elements.iter().map(|e| (e.key_type().as_str().to_owned(), e.attribute_name().to_owned())).collect();
    all.sort();
    all
}
