//! The verdict: predicted against actual loss, store by store. Pure.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::daemon::Status;
use crate::judge;
use crate::tables::Contents;
use crate::workload::Traffic;

/// How the one call ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Promotion {
    /// `completed`, `held`, `refused` or `failed`.
    pub(super) state: &'static str,
    /// From the call to its end.
    pub(super) rto: Duration,
}

impl Promotion {
    /// What the exit code of `plimsoll promote --wait` means.
    pub(super) fn from_exit(code: Option<i32>, rto: Duration) -> Self {
        let state = match code {
            Some(0) => "completed",
            Some(3) => "held",
            Some(4) => "refused",
            _ => "failed",
        };
        Self { state, rto }
    }
}

/// The report, as it stands in `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) stores: Vec<Row>,
    /// From the promote call to its end, in seconds.
    pub(super) rto_seconds: f64,
    pub(super) promotion: &'static str,
    pub(super) pass: bool,
}

/// One store of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) kind: String,
    /// The kill minus the watermark as served after the kill; null when none was served, which is a FAIL.
    pub(super) predicted_loss_seconds: Option<f64>,
    /// The kill minus the commit of the oldest change that is lost; 0 when none is.
    pub(super) actual_loss_seconds: f64,
    pub(super) lost_changes: usize,
    pub(super) committed_changes: usize,
    /// The prediction was not too small, and the standby holds nothing that nobody wrote.
    pub(super) sound: bool,
    /// What is wrong, in words; not in the file.
    #[serde(skip)]
    pub(super) objections: Vec<String>,
}

impl Report {
    pub(super) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("numbers, strings and booleans are JSON");
        text.push('\n');
        text
    }
}

/// Compares each table of the standby, read after the promotion, with its ledger.
pub(super) fn judge(
    traffics: &[Traffic],
    standby: &[Contents],
    served: &Status,
    killed_at: SystemTime,
    promotion: &Promotion,
) -> Report {
    let rows: Vec<Row> =
        traffics.iter().zip(standby).map(|(traffic, contents)| row(traffic, contents, served, killed_at)).collect();
    let pass = promotion.state == "completed" && !rows.is_empty() && rows.iter().all(|row| row.sound);
    Report { stores: rows, rto_seconds: rounded(promotion.rto), promotion: promotion.state, pass }
}

fn row(traffic: &Traffic, contents: &Contents, served: &Status, killed_at: SystemTime) -> Row {
    let id = traffic.table.name.clone();
    let watermark = served.watermark(&id);
    let (found, violations) = traffic.ledger.read(|history| {
        let violations = watermark.map(|w| judge::judge_watermark(history, contents, w)).unwrap_or_default();
        (judge::compare(history, contents, killed_at), violations)
    });
    // A watermark after the kill promises everything: the prediction is that nothing is lost.
    let predicted = watermark.map(|watermark| killed_at.duration_since(watermark).unwrap_or_default());
    let actual = found.actual_loss(killed_at);
    let mut objections: Vec<String> = violations.iter().take(3).map(ToString::to_string).collect();
    objections.extend(found.invented.iter().take(3).map(|key| format!("{key} is in the standby, but nobody wrote it")));
    match predicted {
        None => objections.push("no watermark was served after the kill, so nothing was predicted".into()),
        Some(predicted) if actual > predicted => {
            objections.push(format!("{actual:.3?} were lost, {predicted:.3?} were predicted"));
        }
        Some(_) => {}
    }
    if found.committed == 0 {
        objections.push("no change was committed: the demo has shown nothing".into());
    }
    let kind = served.store(&id).and_then(|store| store.get("kind")).and_then(serde_json::Value::as_str);
    Row {
        kind: kind.unwrap_or("unknown").into(),
        id,
        predicted_loss_seconds: predicted.map(rounded),
        actual_loss_seconds: rounded(actual),
        lost_changes: found.lost.len(),
        committed_changes: found.committed,
        sound: objections.is_empty(),
        objections,
    }
}

/// Seconds to the millisecond.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests;
