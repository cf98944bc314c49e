//! CloudWatch's `ReplicationLatency` of a global table: the question, and what of an answer is believed.
//!
//! A datapoint is about one minute and becomes visible one to three minutes late. It is missing when nothing was written,
//! and when nothing arrives: a missing datapoint says nothing, never 0. In which region it is emitted is not documented
//! beyond doubt, so both are asked and the newest wins; at the same minute the worse.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy, StatusCode};
use aws_smithy_types::DateTime;

use crate::change::{Class, SourceTime};
use crate::stores::StoreError;

/// What a datapoint is about: the minute from its time on.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// How late a datapoint becomes visible, at most (assumption A8).
pub(super) const PUBLISH_DELAY: Duration = Duration::from_secs(180);
/// How far back is asked for.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// No replication is believed to be later than this: DynamoDB gives a replica up long before.
const WORST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The newest minute that something is known about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Datapoint {
    /// The minute's beginning.
    pub(super) at: SourceTime,
    /// The latest of the arrivals of that minute was this late.
    pub(super) lag: Duration,
}

impl Datapoint {
    /// Everything up to here has arrived, as far as the metric can say: its minute began at `at`, what arrived then was
    /// `lag` late, and it speaks of some moment of its minute only.
    pub(super) fn through(self) -> SourceTime {
        self.at - self.lag - MINUTE
    }

    /// It is of the present, as far as a metric can be.
    pub(super) fn current(self, now: SourceTime) -> bool {
        now.since(self.at) <= MINUTE + PUBLISH_DELAY
    }
}

/// What one region answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Series {
    /// Minute (seconds since the epoch) and maximum, milliseconds.
    pub(super) maximum: Vec<(i64, f64)>,
    /// Minute and number of samples.
    pub(super) count: Vec<(i64, f64)>,
}

/// The newest datapoint of all regions' answers that can be believed, and what could not be.
pub(super) fn newest(answers: &[Series], now: SourceTime) -> (Option<Datapoint>, Option<String>) {
    let mut points: BTreeMap<i64, Duration> = BTreeMap::new();
    let mut garbage = None;
    let latest = (now + MINUTE).0.div_euclid(1000);
    for answer in answers {
        let counts: BTreeMap<i64, f64> = answer.count.iter().copied().collect();
        for (at, value) in &answer.maximum {
            // Without samples there is no maximum of them.
            if counts.get(at).is_none_or(|count| !count.is_finite() || *count < 1.0) {
                continue;
            }
            let possible = (0..=latest).contains(at);
            if !possible || !value.is_finite() || *value < 0.0 || *value > WORST.as_millis() as f64 {
                let when = if possible { SourceTime::from_secs(*at).to_string() } else { format!("second {at}") };
                garbage = Some(format!("CloudWatch says that ReplicationLatency was {value} ms at {when}"));
                continue;
            }
            let lag = Duration::from_secs_f64(*value / 1000.0).max(Duration::from_millis(value.ceil() as u64));
            let worst = points.entry(*at).or_default();
            *worst = lag.max(*worst);
        }
    }
    let newest = points.last_key_value().map(|(at, lag)| Datapoint { at: SourceTime::from_secs(*at), lag: *lag });
    (newest, garbage)
}

/// Asks one region.
pub(super) async fn ask(
    client: &aws_sdk_cloudwatch::Client,
    table: &str,
    receiving: &str,
    now: SourceTime,
    on: &str,
) -> Result<Series, StoreError> {
    let metric = Metric::builder()
        .namespace("AWS/DynamoDB")
        .metric_name("ReplicationLatency")
        .dimensions(Dimension::builder().name("TableName").value(table).build())
        .dimensions(Dimension::builder().name("ReceivingRegion").value(receiving).build())
        .build();
    let seconds = |at: SourceTime| DateTime::from_secs(at.0.div_euclid(1000));
    let mut call = client
        .get_metric_data()
        .start_time(seconds(now - WINDOW))
        .end_time(seconds(now + MINUTE))
        .scan_by(ScanBy::TimestampDescending);
    for (id, stat) in [("maximum", "Maximum"), ("count", "SampleCount")] {
        let stat = MetricStat::builder().metric(metric.clone()).period(60).stat(stat).build();
        call = call.metric_data_queries(MetricDataQuery::builder().id(id).metric_stat(stat).build());
    }
    let answer = call.send().await.map_err(|e| StoreError::of_call(&e, false, "GetMetricData", on))?;
    let mut series = Series::default();
    for result in answer.metric_data_results() {
        match result.status_code() {
            Some(StatusCode::Forbidden) => {
                return Err(StoreError::new(Class::Denied, "GetMetricData", on).hint("allow cloudwatch:GetMetricData"));
            }
            Some(StatusCode::InternalError) => return Err(StoreError::new(Class::Unavailable, "GetMetricData", on)),
            _ => {}
        }
        match result.id() {
            Some("maximum") => series.maximum = points(result),
            Some("count") => series.count = points(result),
            _ => {}
        }
    }
    Ok(series)
}

/// Pairs of minute and value, in whatever order they came; what has no pair is left out.
fn points(result: &MetricDataResult) -> Vec<(i64, f64)> {
    result.timestamps().iter().map(DateTime::secs).zip(result.values().iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_795_500_000;
    const NOW: SourceTime = SourceTime::from_secs(T + 90);

    fn series(points: &[(i64, f64)]) -> Series {
        Series { maximum: points.to_vec(), count: points.iter().map(|(at, _)| (*at, 3.0)).collect() }
    }

    #[test]
    fn the_newest_of_both_regions_wins_in_any_order_and_the_worse_of_one_minute() {
        let x = series(&[(T - 120, 900.0), (T - 60, 800.0)]);
        let y = series(&[(T, 450.5), (T - 60, 100.0)]);
        let (newest_of_both, garbage) = newest(&[x.clone(), y], NOW);
        assert_eq!(newest_of_both, Some(Datapoint { at: SourceTime::from_secs(T), lag: Duration::from_millis(451) }));
        assert_eq!(garbage, None);
        let (of_one_minute, _) = newest(&[x, series(&[(T - 60, 100.0)])], NOW);
        assert_eq!(of_one_minute.map(|d| d.lag), Some(Duration::from_millis(800)));
    }

    #[test]
    fn missing_is_unknown_and_never_zero() {
        assert_eq!(newest(&[Series::default(), Series::default()], NOW), (None, None));
        assert_eq!(newest(&[], NOW), (None, None));
        let no_samples = Series { maximum: vec![(T, 0.0)], count: vec![(T, 0.0)] };
        let no_count = Series { maximum: vec![(T, 0.0)], count: Vec::new() };
        assert_eq!(newest(&[no_samples, no_count], NOW), (None, None));
    }

    #[test]
    fn garbage_is_not_believed_and_said() {
        for value in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            let (point, garbage) = newest(&[series(&[(T, value), (T - 60, 5.0)])], NOW);
            assert_eq!(point.map(|p| p.at), Some(SourceTime::from_secs(T - 60)), "{value}");
            assert!(garbage.is_some_and(|g| g.contains("ReplicationLatency")), "{value}");
        }
        let (point, garbage) = newest(&[series(&[(T + 3600, 5.0), (i64::MAX, 1.0), (i64::MIN, 1.0), (-5, 1.0)])], NOW);
        assert!(point.is_none() && garbage.is_some(), "neither of the future nor before the epoch");
        let (point, _) = newest(&[Series { maximum: vec![(T, 5.0)], count: vec![(T, f64::NAN)] }], NOW);
        assert_eq!(point, None);
    }

    /// The general formula: RPO = age of the sample + its lag + granularity, and the delay of publishing is its age.
    #[test]
    fn a_datapoint_proves_its_minute_less_lag_and_granularity() {
        let point = Datapoint { at: SourceTime::from_secs(T), lag: Duration::from_secs(7) };
        assert_eq!(point.through(), SourceTime::from_secs(T - 67));
        assert!(point.current(SourceTime::from_secs(T + 240)) && !point.current(SourceTime::from_secs(T + 241)));
    }
}
