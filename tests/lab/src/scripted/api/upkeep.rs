//! TTL and continuous backups.

use super::super::clock::epoch_seconds;
use super::super::faults::Call;
use super::super::model::error::AwsError;
use super::super::model::table::Table;
use super::super::region::{Region, TableCell};
use super::OneTable;
use super::items::encoded;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How far the latest time that can be restored lies behind.
const RECOVERY_LAG: Duration = Duration::from_mins(5);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TtlSpecification {
    enabled: bool,
    attribute_name: String,
}

/// UpdateTimeToLive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateTimeToLive {
    table_name: String,
    time_to_live_specification: TtlSpecification,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecoverySpecification {
    point_in_time_recovery_enabled: bool,
    recovery_period_in_days: Option<u32>,
}

/// UpdateContinuousBackups.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateContinuousBackups {
    table_name: String,
    point_in_time_recovery_specification: RecoverySpecification,
}

impl UpdateTimeToLive {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
    }
}

impl UpdateContinuousBackups {
    pub(super) fn describe<'a>(&'a self, call: &mut Call<'a>) {
        call.tables.push(&self.table_name);
    }
}

pub(super) fn describe_ttl(region: &Region, input: OneTable) -> Result<Vec<u8>, AwsError> {
    let cell = region.table(&input.table_name)?;
    let table = cell.lock();
    let (status, attribute) = table.control.ttl_status(region.now());
    let mut description = json!({"TimeToLiveStatus": status});
    if let Some(attribute) = attribute {
        description["AttributeName"] = json!(attribute);
    }
    Ok(encoded(&json!({"TimeToLiveDescription": description})))
}

pub(super) fn update_ttl(region: &Region, input: UpdateTimeToLive) -> Result<Vec<u8>, AwsError> {
    let TtlSpecification { enabled, attribute_name } = input.time_to_live_specification;
    let cell = region.table(&input.table_name)?;
    let mut table = cell.lock();
    let now = region.now();
    table.control.check_free(&table.spec.name, now)?;
    table.control.switch_ttl(enabled, &attribute_name, now)?;
    Ok(encoded(&json!({"TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": attribute_name}})))
}

/// The calls about backups have an error of their own for a table that is not there.
fn backed_up(region: &Region, name: &str) -> Result<Arc<TableCell>, AwsError> {
    region.table(name).map_err(|_| AwsError::new(400, "TableNotFoundException", format!("Table not found: {name}")))
}

fn backups(table: &Table, now: SystemTime) -> Json {
    let recovery = match table.control.settings.recovery_days {
        None => json!({"PointInTimeRecoveryStatus": "DISABLED"}),
        Some(days) => {
            let since = table.control.recovery_since.unwrap_or(table.created);
            let oldest = now - Duration::from_hours(24 * u64::from(days));
            json!({
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": days,
                "EarliestRestorableDateTime": epoch_seconds(since.max(oldest)),
                "LatestRestorableDateTime": epoch_seconds((now - RECOVERY_LAG).max(since)),
            })
        }
    };
    json!({"ContinuousBackupsDescription": {
        "ContinuousBackupsStatus": "ENABLED",
        "PointInTimeRecoveryDescription": recovery,
    }})
}

pub(super) fn describe_backups(region: &Region, input: OneTable) -> Result<Vec<u8>, AwsError> {
    let cell = backed_up(region, &input.table_name)?;
    let table = cell.lock();
    Ok(encoded(&backups(&table, region.now())))
}

pub(super) fn update_backups(region: &Region, input: UpdateContinuousBackups) -> Result<Vec<u8>, AwsError> {
    let RecoverySpecification { point_in_time_recovery_enabled: enabled, recovery_period_in_days: days } =
        input.point_in_time_recovery_specification;
    if days.is_some_and(|days| !enabled || !(1..=35).contains(&days)) {
        return Err(AwsError::validation(
            "RecoveryPeriodInDays must be between 1 and 35, of a recovery that is enabled",
        ));
    }
    let cell = backed_up(region, &input.table_name)?;
    let mut table = cell.lock();
    let now = region.now();
    let control = &mut table.control;
    if enabled && control.settings.recovery_days.is_none() {
        control.recovery_since = Some(now);
    }
    control.settings.recovery_days = enabled.then(|| days.or(control.settings.recovery_days).unwrap_or(35));
    Ok(encoded(&backups(&table, now)))
}
