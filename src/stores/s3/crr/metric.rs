//! What CloudWatch knows of a replication rule, and what of an answer is believed.
//!
//! AWS publishes `ReplicationLatency`, `OperationsPendingReplication` and `BytesPendingReplication` in the region of the
//! destination bucket, and `OperationsFailedReplication` in that of the source bucket, each with the dimensions
//! `SourceBucket`, `DestinationBucket` and `RuleId`; the first three also while nothing is replicated. So the lag is asked in
//! prodY and goes on being told when prodX is gone. A datapoint is about one minute, is delivered as well as can be, and
//! late: a missing one says nothing, never 0. The order of an answer is not trusted.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_cloudwatch::Client;
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
/// How far back failures are counted.
pub(super) const FAILED_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Failures are counted in steps of this.
const FAILED_PERIOD: Duration = Duration::from_secs(300);
/// No replication is believed to be later than this.
const WORST: f64 = 30.0 * 24.0 * 3600.0;

/// Whose metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) bucket: &'a str,
    pub(super) standby_bucket: &'a str,
}

/// The newest minute of a rule that something is known about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Datapoint {
    /// The minute's beginning.
    pub(super) at: SourceTime,
    /// The destination was this far behind in that minute, at most.
    pub(super) lag: Duration,
    /// Operations that waited; `None`: not told for that minute.
    pub(super) pending: Option<u64>,
    /// Bytes that waited.
    pub(super) bytes: Option<u64>,
}

impl Datapoint {
    /// Everything up to here has arrived, as far as the metric can say: it speaks of some moment of its minute only.
    pub(super) fn through(self) -> SourceTime {
        self.at - self.lag - MINUTE
    }
}

/// Operations that failed, as far as the metric tells: it says neither which nor whether they were mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed {
    /// The beginning of the first step with a failure.
    pub(super) since: SourceTime,
    /// How many.
    pub(super) count: u64,
}

/// Instants (seconds since the epoch) and values, in whatever order they came.
pub(super) type Points = Vec<(i64, f64)>;

/// What one answer says of a rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Series {
    /// Seconds.
    pub(super) latency: Points,
    pub(super) pending: Points,
    pub(super) bytes: Points,
}

/// The newest minute of which the lag is known, and what cannot be believed.
pub(super) fn newest(series: &Series, now: SourceTime) -> (Option<Datapoint>, Option<String>) {
    let latest = (now + MINUTE).0.div_euclid(1000);
    let mut lags: BTreeMap<i64, f64> = BTreeMap::new();
    let mut garbage = None;
    for (at, value) in &series.latency {
        if !(0..=latest).contains(at) || !(0.0..=WORST).contains(value) {
            garbage = Some(format!("CloudWatch says that ReplicationLatency was {value} s at second {at}"));
            continue;
        }
        let worst = lags.entry(*at).or_default();
        *worst = worst.max(*value);
    }
    let count = |points: &Points, at: i64| -> Option<u64> {
        let values = points.iter().filter(|(when, value)| *when == at && value.is_finite() && *value >= 0.0);
        values.map(|(_, value)| value.ceil() as u64).max()
    };
    let newest = lags.last_key_value().map(|(at, lag)| Datapoint {
        at: SourceTime::from_secs(*at),
        // Rounded up: a clock that is read to the millisecond must not make it less.
        lag: Duration::from_millis((lag * 1000.0).ceil() as u64),
        pending: count(&series.pending, *at),
        bytes: count(&series.bytes, *at),
    });
    (newest, garbage)
}

/// What is known of failures; `None`: none are told, which is not the same as none.
pub(super) fn failed(points: &Points) -> Option<Failed> {
    let told = points.iter().filter(|(at, value)| *at >= 0 && value.is_finite() && *value > 0.0);
    let count: u64 = told.clone().map(|(_, value)| value.ceil() as u64).fold(0, u64::saturating_add);
    let since = told.map(|(at, _)| *at).min()?;
    Some(Failed { since: SourceTime::from_secs(since), count })
}

fn query(id: String, name: &str, stat: &str, period: Duration, of: Subject<'_>, rule: &str) -> MetricDataQuery {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let metric = Metric::builder()
        .namespace("AWS/S3")
        .metric_name(name)
        .dimensions(dimension("SourceBucket", of.bucket))
        .dimensions(dimension("DestinationBucket", of.standby_bucket))
        .dimensions(dimension("RuleId", rule))
        .build();
    let period = i32::try_from(period.as_secs()).unwrap_or(60);
    let stat = MetricStat::builder().metric(metric).period(period).stat(stat).build();
    MetricDataQuery::builder().id(id).metric_stat(stat).build()
}

async fn ask(
    client: &Client,
    queries: Vec<MetricDataQuery>,
    window: Duration,
    now: SourceTime,
    on: &str,
) -> Result<BTreeMap<String, Points>, StoreError> {
    let seconds = |at: SourceTime| DateTime::from_secs(at.0.div_euclid(1000));
    let call = client
        .get_metric_data()
        .start_time(seconds(now - window))
        .end_time(seconds(now + MINUTE))
        .scan_by(ScanBy::TimestampDescending)
        .set_metric_data_queries(Some(queries));
    let mut found: BTreeMap<String, Points> = BTreeMap::new();
    let mut token: Option<String> = None;
    loop {
        let sent = call.clone().set_next_token(token.clone()).send().await;
        let answer = sent.map_err(|e| StoreError::of_call(&e, false, "GetMetricData", on))?;
        for result in answer.metric_data_results() {
            match result.status_code() {
                Some(StatusCode::Forbidden) => {
                    let denied = StoreError::new(Class::Denied, "GetMetricData", on);
                    return Err(denied.hint("allow cloudwatch:GetMetricData"));
                }
                Some(StatusCode::InternalError) => {
                    return Err(StoreError::new(Class::Unavailable, "GetMetricData", on));
                }
                _ => found.entry(result.id().unwrap_or_default().to_owned()).or_default().extend(points(result)),
            }
        }
        let next = answer.next_token().map(str::to_owned);
        if next.is_none() || next == token {
            return Ok(found);
        }
        token = next;
    }
}

/// The lag of each rule, asked in prodY.
pub(super) async fn lags(
    client: &Client,
    of: Subject<'_>,
    rules: &[String],
    now: SourceTime,
    on: &str,
) -> Result<Vec<Series>, StoreError> {
    let mut queries = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        for (id, name) in [
            ("latency", "ReplicationLatency"),
            ("pending", "OperationsPendingReplication"),
            ("bytes", "BytesPendingReplication"),
        ] {
            queries.push(query(format!("{id}{at}"), name, "Maximum", MINUTE, of, rule));
        }
    }
    let mut found = ask(client, queries, WINDOW, now, on).await?;
    let mut of = |id: &str, at: usize| found.remove(&format!("{id}{at}")).unwrap_or_default();
    let series = |at| Series { latency: of("latency", at), pending: of("pending", at), bytes: of("bytes", at) };
    Ok((0..rules.len()).map(series).collect())
}

/// The failures of all rules together, asked in prodX.
pub(super) async fn failures(
    client: &Client,
    of: Subject<'_>,
    rules: &[String],
    now: SourceTime,
    on: &str,
) -> Result<Points, StoreError> {
    let queries = rules
        .iter()
        .enumerate()
        .map(|(at, rule)| query(format!("failed{at}"), "OperationsFailedReplication", "Sum", FAILED_PERIOD, of, rule));
    let found = ask(client, queries.collect(), FAILED_WINDOW, now, on).await?;
    Ok(found.into_values().flatten().collect())
}

/// Pairs of instant and value; what has no pair is left out.
fn points(result: &MetricDataResult) -> Points {
    result.timestamps().iter().map(DateTime::secs).zip(result.values().iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_795_500_000;
    const NOW: SourceTime = SourceTime::from_secs(T + 90);

    fn latency(points: &[(i64, f64)]) -> Series {
        Series { latency: points.to_vec(), ..Series::default() }
    }

    #[test]
    fn the_newest_minute_counts_in_any_order_and_the_worst_of_it() {
        let mut series = latency(&[(T - 60, 90.0), (T, 4.0), (T, 7.25), (T - 120, 1.0)]);
        (series.pending, series.bytes) = (vec![(T - 60, 9.0), (T, 3.0)], vec![(T, 1e6)]);
        let (point, garbage) = newest(&series, NOW);
        let point = point.expect("a datapoint");
        assert_eq!((point.lag, point.pending, point.bytes), (Duration::from_millis(7250), Some(3), Some(1_000_000)));
        assert_eq!(point.through(), SourceTime::from_secs(T) - Duration::from_millis(67_250));
        assert!(garbage.is_none());
    }

    #[test]
    fn missing_is_unknown_and_never_zero() {
        assert_eq!(newest(&Series::default(), NOW), (None, None));
        let only_pending = Series { pending: vec![(T, 0.0)], bytes: vec![(T, 0.0)], ..Series::default() };
        assert_eq!(newest(&only_pending, NOW), (None, None), "nothing waits, and nobody says how late it was");
        let (point, _) = newest(&latency(&[(T, 0.0)]), NOW);
        assert_eq!(point.map(|p| (p.pending, p.bytes)), Some((None, None)));
        assert_eq!(failed(&Vec::new()), None);
    }

    #[test]
    fn garbage_is_not_believed_and_said() {
        for value in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            let (point, garbage) = newest(&latency(&[(T, value), (T - 60, 5.0)]), NOW);
            assert_eq!(point.map(|p| p.at), Some(SourceTime::from_secs(T - 60)), "{value}");
            assert!(garbage.is_some_and(|g| g.contains("ReplicationLatency")), "{value}");
        }
        let (point, garbage) = newest(&latency(&[(T + 3600, 5.0), (i64::MAX, 1.0), (i64::MIN, 1.0), (-5, 1.0)]), NOW);
        assert!(point.is_none() && garbage.is_some(), "neither of the future nor before the epoch");
    }

    #[test]
    fn failures_are_counted_from_the_first_on() {
        let points = vec![(T, 2.0), (T - 300, 0.0), (T - 600, 1.0), (T, f64::NAN), (T - 900, -3.0)];
        assert_eq!(failed(&points), Some(Failed { since: SourceTime::from_secs(T - 600), count: 3 }));
        assert_eq!(failed(&vec![(T, 0.0)]), None);
    }
}
