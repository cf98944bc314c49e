//! What a copy may use of a table's capacity, so that it takes nothing from the application (BS-T6).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::{BillingMode, TableDescription};

/// What an on-demand table serves at once when it is new, in units per second; used where a table states no limit.
/// Source: "Default quotas for on-demand tables: 12,000 read request units" of the DynamoDB developer guide.
const ON_DEMAND_READ: u32 = 12_000;
/// The longest rest between two pages. Longer than what any page may cost that [`Budget::page`] allows, but for single
/// large items of a tiny table.
const LONGEST: Duration = Duration::from_secs(900);
/// Items of a first page, before it is known what one costs.
const FIRST: i32 = 100;
/// What the tables have is looked up again after this: people and autoscaling change it while a copy runs.
const LEARN_AGAIN: Duration = Duration::from_secs(300);

/// Units per second, and when the next one is free. Spending is never refused: who spends rests as long as it takes.
#[derive(Debug, Default)]
struct Meter {
    /// `None`: no limit.
    rate: Option<f64>,
    /// Monotonic.
    free_at: Duration,
}

impl Meter {
    fn spend(&mut self, units: f64, now: Duration) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let cost = Duration::try_from_secs_f64(units / rate).unwrap_or(LONGEST);
        self.free_at = self.free_at.max(now).saturating_add(cost);
        self.free_at.saturating_sub(now).min(LONGEST)
    }
}

/// What a copy may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    /// Of the source's read capacity, percent.
    pub(super) read_percent: u32,
    /// Of the standby's capacity, percent.
    pub(super) standby_percent: u32,
    /// Of the source, units per second; instead of a share.
    pub(super) read_units: Option<u32>,
    /// Of the standby, write units per second; instead of a share.
    pub(super) write_units: Option<u32>,
}

/// The budgets of one pair of tables.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<Option<Meters>>);

#[derive(Debug)]
struct Meters {
    /// Monotonic.
    learnt: Duration,
    /// Of one item, as the last page had them.
    cost: Option<Spent>,
    source_read: Meter,
    standby_read: Meter,
    standby_write: Meter,
}

impl Budget {
    /// Is it known what the tables have, and was it looked up not long ago?
    pub(super) fn known(&self, now: Duration) -> bool {
        self.lock().as_ref().is_some_and(|meters| now.saturating_sub(meters.learnt) < LEARN_AGAIN)
    }

    /// Takes what the tables say that they have. What was spent stays spent.
    pub(super) fn set(&self, shares: Shares, source: &TableDescription, standby: &TableDescription, now: Duration) {
        let percent = |units: u32, percent: u32| f64::from(units) * f64::from(percent) / 100.0;
        let (source_read, _) = capacity(source);
        let (standby_read, standby_write) = capacity(standby);
        let read = shares.read_units.map(f64::from);
        let read = read.unwrap_or_else(|| percent(source_read.unwrap_or(ON_DEMAND_READ), shares.read_percent));
        let write = shares.write_units.map(f64::from);
        let write = write.or_else(|| standby_write.map(|units| percent(units, shares.standby_percent)));
        let mut meters = self.lock();
        let old = meters.as_ref();
        let meter = |rate: Option<f64>, of: fn(&Meters) -> &Meter| Meter {
            rate: rate.map(|r| r.max(1.0)),
            free_at: old.map_or(Duration::ZERO, |meters| of(meters).free_at),
        };
        let standby_read = standby_read.map(|units| percent(units, shares.standby_percent));
        *meters = Some(Meters {
            source_read: meter(Some(read), |meters| &meters.source_read),
            standby_read: meter(standby_read, |meters| &meters.standby_read),
            standby_write: meter(write, |meters| &meters.standby_write),
            learnt: now,
            cost: old.and_then(|meters| meters.cost),
        });
    }

    /// Items of the next page, at most `most`: so many that a page of each of `lanes` lanes takes all of them together what
    /// is allowed in a second. Without that the first pages of a small table would cost minutes of its capacity at once.
    pub(super) fn page(&self, lanes: i32, most: i32) -> i32 {
        let meters = self.lock();
        let Some(meters) = meters.as_ref() else { return FIRST.min(most) };
        let Some(cost) = meters.cost else { return FIRST.min(most) };
        let by = |meter: &Meter, units: f64| {
            meter.rate.filter(|_| units > 0.0).map_or(f64::INFINITY, |rate| rate / f64::from(lanes.max(1)) / units)
        };
        let items = by(&meters.source_read, cost.source_read)
            .min(by(&meters.standby_read, cost.standby_read))
            .min(by(&meters.standby_write, cost.standby_write));
        if items >= f64::from(most) { most } else { (items as i32).max(1) }
    }

    /// Spends what a page of so many items took, and says how long to rest.
    pub(super) fn spend(&self, spent: Spent, items: u64, now: Duration) -> Duration {
        let mut meters = self.lock();
        let Some(meters) = meters.as_mut() else { return Duration::ZERO };
        if items > 0 {
            let each = |units: f64| units / items as f64;
            meters.cost = Some(Spent {
                source_read: each(spent.source_read),
                standby_read: each(spent.standby_read),
                standby_write: each(spent.standby_write),
            });
        }
        let rests = [
            meters.source_read.spend(spent.source_read, now),
            meters.standby_read.spend(spent.standby_read, now),
            meters.standby_write.spend(spent.standby_write, now),
        ];
        rests.into_iter().max().unwrap_or_default()
    }

    /// The shortest time in which so many bytes can be copied within the limits, if there is one.
    pub(super) fn least_time(&self, bytes: u64) -> Option<Duration> {
        let meters = self.lock();
        let meters = meters.as_ref()?;
        let by = |meter: &Meter, unit: f64| meter.rate.map(|rate| bytes as f64 / unit / rate);
        let seconds = [by(&meters.source_read, 4096.0), by(&meters.standby_write, 1024.0)];
        Duration::try_from_secs_f64(seconds.into_iter().flatten().fold(0.0, f64::max)).ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Meters>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Capacity units that a page took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Spent {
    pub(super) source_read: f64,
    pub(super) standby_read: f64,
    pub(super) standby_write: f64,
}

/// What a table serves per second, `(reads, writes)`; `None` where it has no stated limit.
fn capacity(table: &TableDescription) -> (Option<u32>, Option<u32>) {
    let mode = table.billing_mode_summary().and_then(|b| b.billing_mode());
    let units = |n: Option<i64>| n.filter(|n| *n > 0).and_then(|n| u32::try_from(n).ok());
    if mode == Some(&BillingMode::PayPerRequest) {
        let limits = table.on_demand_throughput();
        let of = |n: Option<i64>| units(n);
        return (
            of(limits.and_then(|l| l.max_read_request_units())),
            of(limits.and_then(|l| l.max_write_request_units())),
        );
    }
    let provisioned = table.provisioned_throughput();
    (
        units(provisioned.and_then(|p| p.read_capacity_units())),
        units(provisioned.and_then(|p| p.write_capacity_units())),
    )
}

/// Read units of a consistent read of so many bytes at once: one for each 4 KiB begun.
pub(super) fn read_units(bytes: usize) -> f64 {
    bytes.div_ceil(4096) as f64
}

/// Write units of an item of so many bytes: one for each KiB begun.
pub(super) fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1024).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::{BillingModeSummary, OnDemandThroughput, ProvisionedThroughputDescription};

    const SHARES: Shares = Shares { read_percent: 20, standby_percent: 80, read_units: None, write_units: None };

    fn provisioned(read: i64, write: i64) -> TableDescription {
        let units = ProvisionedThroughputDescription::builder().read_capacity_units(read).write_capacity_units(write);
        TableDescription::builder().provisioned_throughput(units.build()).build()
    }

    fn on_demand(most_read: Option<i64>) -> TableDescription {
        let mode = BillingModeSummary::builder().billing_mode(BillingMode::PayPerRequest).build();
        let limits = most_read.map(|n| OnDemandThroughput::builder().max_read_request_units(n).build());
        TableDescription::builder().billing_mode_summary(mode).set_on_demand_throughput(limits).build()
    }

    #[test]
    fn bst6_several_lanes_together_keep_to_the_share() {
        let budget = Budget::default();
        budget.set(SHARES, &provisioned(100, 100), &provisioned(100, 100), Duration::ZERO);
        // 20 units a second: four lanes that spend 10 each may go on after 0.5, 1, 1.5 and 2 s.
        let spent = Spent { source_read: 10.0, ..Spent::default() };
        let rests: Vec<_> = (0..4).map(|_| budget.spend(spent, 1, Duration::from_secs(7)).as_millis()).collect();
        assert_eq!(rests, [500, 1000, 1500, 2000]);
        assert_eq!(
            budget.spend(spent, 1, Duration::from_secs(60)),
            Duration::from_millis(500),
            "no credit for idleness"
        );
    }

    #[test]
    fn the_tighter_of_reading_and_writing_decides() {
        let budget = Budget::default();
        budget.set(SHARES, &on_demand(None), &provisioned(10, 10), Duration::ZERO);
        let spent = Spent { source_read: 2400.0, standby_write: 16.0, ..Spent::default() };
        assert_eq!(budget.spend(spent, 1, Duration::ZERO), Duration::from_secs(2), "8 write units a second");
        // 1 MB: 1000 write units at 8/s.
        assert_eq!(budget.least_time(1_024_000), Some(Duration::from_secs(125)));
    }

    #[test]
    fn on_demand_is_limited_by_what_it_states_or_by_the_default() {
        let budget = Budget::default();
        let spent = Spent { source_read: 100.0, standby_write: 1e9, ..Spent::default() };
        budget.set(SHARES, &on_demand(Some(500)), &on_demand(None), Duration::ZERO);
        assert_eq!(
            budget.spend(spent, 1, Duration::ZERO),
            Duration::from_secs(1),
            "20 % of 500; writes are not limited"
        );
        budget.set(Shares { read_units: Some(50), ..SHARES }, &on_demand(Some(500)), &on_demand(None), Duration::ZERO);
        assert_eq!(
            budget.spend(spent, 1, Duration::ZERO),
            Duration::from_secs(3),
            "as configured, after what was spent"
        );
    }

    /// 5 units a second for four lanes, and items of 2 units: a page is one item, and all that is spent is rested for.
    #[test]
    fn bst6_a_page_of_a_small_table_is_small() {
        let budget = Budget::default();
        budget.set(SHARES, &provisioned(25, 1000), &on_demand(None), Duration::ZERO);
        assert_eq!(budget.page(4, 1000), 100, "what one costs is not known yet");
        let spent = Spent { source_read: 200.0, ..Spent::default() };
        assert_eq!(budget.spend(spent, 100, Duration::ZERO), Duration::from_secs(40));
        assert_eq!(budget.page(4, 1000), 1);
        budget.set(SHARES, &provisioned(2500, 1000), &on_demand(None), Duration::from_secs(1));
        assert_eq!(budget.page(4, 1000), 62, "somebody raised the capacity");
        let more = Spent { source_read: 2.0, ..Spent::default() };
        assert_eq!(
            budget.spend(more, 1, Duration::from_secs(1)),
            Duration::from_millis(39_004),
            "what was spent stays"
        );
    }

    #[test]
    fn what_the_tables_have_is_looked_up_again() {
        let budget = Budget::default();
        assert!(!budget.known(Duration::ZERO));
        budget.set(SHARES, &on_demand(None), &on_demand(None), Duration::from_secs(10));
        assert!(budget.known(Duration::from_secs(300)) && !budget.known(Duration::from_secs(310)));
    }
}
