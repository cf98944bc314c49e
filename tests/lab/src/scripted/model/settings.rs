//! What a table is besides its schema and its items: billing, protection, encryption, TTL, backups, replicas; and the
//! rules by which DynamoDB lets them change.
//!
//! Times are of the server's clock. Changes are there at once unless the settings say how long one takes.

use super::error::AwsError;
use std::time::{Duration, SystemTime};

/// How capacity is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billing {
    /// PAY_PER_REQUEST.
    OnDemand,
    /// PROVISIONED, with units a second.
    Provisioned {
        /// Read units.
        read: u64,
        /// Write units.
        write: u64,
    },
}

impl Billing {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "PAY_PER_REQUEST",
            Self::Provisioned { .. } => "PROVISIONED",
        }
    }

    /// Read and write units; zeros when they are not provisioned, as DescribeTable shows them.
    pub(crate) fn units(self) -> (u64, u64) {
        match self {
            Self::OnDemand => (0, 0),
            Self::Provisioned { read, write } => (read, write),
        }
    }
}

/// The key that encrypts a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Owned by AWS: DescribeTable shows no SSEDescription.
    Owned,
    /// The account's `aws/dynamodb` key, with its ARN.
    Managed(String),
    /// A key of the customer, with its ARN.
    Customer(String),
}

/// A replica of a global table, as DescribeTable lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its region.
    pub region: String,
    /// "ACTIVE", "CREATING", "REGION_DISABLED", ...
    pub status: String,
}

/// The settings of a table. A test may change any of them at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Billing mode and capacity.
    pub billing: Billing,
    /// Read and write units a second that the table is warm for; `None`: what the billing mode gives.
    pub warm: Option<(u64, u64)>,
    /// Most read and write units a second of an on-demand table; `None`: no maximum.
    pub on_demand_maximum: Option<(i64, i64)>,
    /// Refuses DeleteTable over HTTP.
    pub deletion_protection: bool,
    /// The key it is encrypted with.
    pub encryption: Encryption,
    /// "STANDARD" or "STANDARD_INFREQUENT_ACCESS".
    pub class: String,
    /// Point-in-time recovery, with its period in days.
    pub recovery_days: Option<u32>,
    /// TTL: off, or on by this attribute.
    pub ttl: Option<String>,
    /// The replicas of a global table of version 2019.11.21; empty when it is none.
    pub replicas: Vec<Replica>,
    /// "EVENTUAL" or "STRONG", of a global table.
    pub consistency: Option<String>,
    /// Regions of the witnesses of a global table of strong consistency.
    pub witnesses: Vec<String>,
    /// ItemCount and TableSizeBytes as shown; `None`: the truth. AWS renews them about every six hours.
    pub counts: Option<(u64, u64)>,
    /// TableStatus as shown; `None`: ACTIVE, or UPDATING while a change takes place.
    pub status: Option<String>,
    /// How long UpdateTable takes; meanwhile the table is UPDATING and refuses other changes.
    pub updates_take: Duration,
    /// How long a change of TTL takes, ENABLING or DISABLING (up to an hour on AWS).
    pub ttl_takes: Duration,
    /// How long after a change of TTL another one is refused (an hour on AWS).
    pub ttl_rest: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            billing: Billing::OnDemand,
            warm: None,
            on_demand_maximum: None,
            deletion_protection: false,
            encryption: Encryption::Owned,
            class: "STANDARD".to_owned(),
            recovery_days: None,
            ttl: None,
            replicas: Vec::new(),
            consistency: None,
            witnesses: Vec::new(),
            counts: None,
            status: None,
            updates_take: Duration::ZERO,
            ttl_takes: Duration::ZERO,
            ttl_rest: Duration::from_hours(1),
        }
    }
}

/// The settings of a living table, and when they were changed by a call.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) settings: Settings,
    updating_until: Option<SystemTime>,
    /// The last change of TTL, and the attribute it was about.
    ttl_changed: Option<(SystemTime, String)>,
    pub(crate) recovery_since: Option<SystemTime>,
    pub(crate) on_demand_since: Option<SystemTime>,
    pub(crate) increased: Option<SystemTime>,
    pub(crate) decreased: Option<SystemTime>,
    pub(crate) decreases: u64,
}

impl Control {
    pub(crate) fn new(settings: Settings, now: SystemTime) -> Self {
        Self {
            recovery_since: settings.recovery_days.map(|_| now),
            on_demand_since: (settings.billing == Billing::OnDemand).then_some(now),
            settings,
            updating_until: None,
            ttl_changed: None,
            increased: None,
            decreased: None,
            decreases: 0,
        }
    }

    fn updating(&self, now: SystemTime) -> bool {
        self.updating_until.is_some_and(|until| now < until)
    }

    pub(crate) fn status(&self, now: SystemTime) -> &str {
        let moving = if self.updating(now) { "UPDATING" } else { "ACTIVE" };
        self.settings.status.as_deref().unwrap_or(moving)
    }

    /// Refuses a change while another one takes place.
    pub(crate) fn check_free(&self, table: &str, now: SystemTime) -> Result<(), AwsError> {
        let status = self.status(now);
        if status == "ACTIVE" {
            return Ok(());
        }
        let what = format!("Attempt to change a resource which is still in use: Table {table} is {status}");
        Err(AwsError::new(400, "ResourceInUseException", what))
    }

    pub(crate) fn was_updated(&mut self, now: SystemTime) {
        self.updating_until = Some(now + self.settings.updates_take);
    }

    /// Changes billing or capacity by the rules of UpdateTable; true when something changed.
    pub(crate) fn rebill(
        &mut self,
        mode: Option<&str>,
        units: Option<(u64, u64)>,
        now: SystemTime,
    ) -> Result<bool, AwsError> {
        let before = self.settings.billing;
        let wanted = billing(mode.or(Some(before.name())), units, Some(before))?;
        if let (Billing::Provisioned { read, write }, Some(_)) = (wanted, units)
            && before == wanted
        {
            return Err(AwsError::validation(format!(
                "The provisioned throughput for the table will not change. The requested value equals the current value. \
                 Current ReadCapacityUnits provisioned for the table: {read}. Requested ReadCapacityUnits: {read}. \
                 Current WriteCapacityUnits provisioned for the table: {write}. Requested WriteCapacityUnits: {write}. \
                 Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
            )));
        }
        if let (Billing::Provisioned { read, write }, Billing::Provisioned { read: r, write: w }) = (before, wanted) {
            if r > read || w > write {
                self.increased = Some(now);
            }
            if r < read || w < write {
                self.decreased = Some(now);
                self.decreases += 1;
            }
        }
        if wanted == Billing::OnDemand && before != wanted {
            self.on_demand_since = Some(now);
        }
        self.settings.billing = wanted;
        Ok(before != wanted)
    }

    /// TimeToLiveStatus, and the attribute shown with it.
    pub(crate) fn ttl_status(&self, now: SystemTime) -> (&'static str, Option<&str>) {
        let changing = self.ttl_changed.as_ref().filter(|(at, _)| now < *at + self.settings.ttl_takes);
        match (&self.settings.ttl, changing) {
            (Some(attribute), None) => ("ENABLED", Some(attribute)),
            (Some(attribute), Some(_)) => ("ENABLING", Some(attribute)),
            (None, Some((_, attribute))) => ("DISABLING", Some(attribute)),
            (None, None) => ("DISABLED", None),
        }
    }

    /// Switches TTL by the rules of UpdateTimeToLive.
    pub(crate) fn switch_ttl(&mut self, enabled: bool, attribute: &str, now: SystemTime) -> Result<(), AwsError> {
        let refuse = |what: String| Err(AwsError::validation(what));
        match &self.settings.ttl {
            Some(current) if current != attribute => {
                return refuse(format!(
                    "TimeToLive is active on a different AttributeName: current AttributeName is {current}"
                ));
            }
            Some(_) if enabled => return refuse("TimeToLive is already enabled".to_owned()),
            None if !enabled => return refuse("TimeToLive is already disabled".to_owned()),
            _ => {}
        }
        let rest = self.settings.ttl_rest.max(self.settings.ttl_takes);
        if self.ttl_changed.as_ref().is_some_and(|(at, _)| now < *at + rest) {
            return refuse("Time to live has been modified multiple times within a fixed interval".to_owned());
        }
        self.ttl_changed = Some((now, attribute.to_owned()));
        self.settings.ttl = enabled.then(|| attribute.to_owned());
        Ok(())
    }

    /// Lets the hour after a change of TTL be over.
    pub(crate) fn end_ttl_rest(&mut self) {
        self.ttl_changed = None;
    }
}

/// The billing that a mode and units ask for; `mode` absent is PROVISIONED, as in CreateTable.
pub(crate) fn billing(
    mode: Option<&str>,
    units: Option<(u64, u64)>,
    before: Option<Billing>,
) -> Result<Billing, AwsError> {
    let invalid = |what: &str| Err(AwsError::validation(format!("One or more parameter values were invalid: {what}")));
    match (mode, units, before) {
        (Some("PAY_PER_REQUEST"), None, _) => Ok(Billing::OnDemand),
        (Some("PAY_PER_REQUEST"), Some(_), _) => invalid(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        ),
        (Some("PROVISIONED") | None, Some((read, write)), _) if read > 0 && write > 0 => {
            Ok(Billing::Provisioned { read, write })
        }
        (Some("PROVISIONED") | None, Some(_), _) => invalid("capacity units must be at least 1"),
        (Some("PROVISIONED") | None, None, Some(same @ Billing::Provisioned { .. })) => Ok(same),
        (Some("PROVISIONED") | None, None, _) => {
            invalid("ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
        }
        (Some(other), ..) => invalid(&format!("BillingMode {other} is not one")),
    }
}
