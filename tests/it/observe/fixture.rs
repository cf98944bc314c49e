//! A global table between two regions of one emulator, each behind a door of its own, and a daemon that observes it.
//!
//! The emulator copies every write to the other region at once. That replication stands still is played by a prodX that
//! acknowledges a write and does not carry it out: prodY does not get it.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, CreateReplicationGroupMemberAction, ReplicationGroupUpdate};
use plimsoll_lab::clients::{self, Endpoint};
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, StoreSpec, binary};
use plimsoll_lab::proxy::{FaultProxy, ProxyFault};
use plimsoll_lab::regions::{Region, RegionSpec};
use plimsoll_lab::scripted::FaultRule;
use plimsoll_lab::tables::{KeyKind, TableSpec};
use tempfile::TempDir;

use crate::attack::fixture::{LONG, ORDERS};

pub(super) const X: &str = "us-east-1";
pub(super) const Y: &str = "us-west-2";

/// A canary twice a second, and short times otherwise.
pub(super) const CANARY: &str = r#"canary_every = "500ms"
look_every = "100ms"
metric_every = "200ms"
survey_every = "500ms"
attempt_timeout = "1s""#;

/// The metric alone.
pub(super) const METRIC: &str = r#"look_every = "100ms"
metric_every = "200ms"
survey_every = "500ms"
attempt_timeout = "1s""#;

pub(super) struct Lab {
    /// Both regions.
    pub(super) emulator: Region,
    /// The way to prodX.
    pub(super) x: FaultProxy,
    /// The way to prodY.
    pub(super) y: FaultProxy,
    pub(super) home: Home,
    pub(super) daemon: Daemon,
    _folder: TempDir,
}

impl Lab {
    /// A global table with a text key, observed.
    pub(super) async fn start(more: &str) -> Self {
        Self::with(&TableSpec::new(ORDERS, ("pk", KeyKind::Text)), more, async |_| {}).await
    }

    /// A global table, observed, after `prepare` has done the rest with it.
    pub(super) async fn with(table: &TableSpec, more: &str, prepare: impl AsyncFnOnce(&Client)) -> Self {
        let store = StoreSpec { more: more.into(), ..StoreSpec::global(ORDERS) };
        Self::of(vec![store], async |emulator: &Region| {
            let x = client(emulator, X);
            table.create(&x, true).await.expect("a table");
            make_global(&x, &table.name).await;
            prepare(&x).await;
        })
        .await
    }

    /// Any stores between the two regions of an emulator that `prepare` has filled.
    pub(super) async fn of(stores: Vec<StoreSpec>, prepare: impl AsyncFnOnce(&Region)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let emulator = Region::start(RegionSpec::primary(folder.path())).await.expect("`make setup` installs it");
        prepare(&emulator).await;
        let proxy = |seed| FaultProxy::start(&emulator.endpoint().url, seed).expect("a port is free");
        let (x, y) = (proxy(1), proxy(2));
        let ends = (Endpoint::new(x.endpoint(), X), Endpoint::new(y.endpoint(), Y));
        let spec = ConfigSpec::new(&ends.0, &ends.1, stores);
        let home = Home::prepare(&folder.path().join("daemon"), &spec).expect("a prepared folder");
        let mut daemon = Daemon::spawn(&binary().expect("cargo built it"), &home).expect("it starts");
        daemon.wait_ready(LONG).await.expect("it answers");
        Self { emulator, x, y, home, daemon, _folder: folder }
    }

    /// Another process in the place of the one that was killed.
    pub(super) async fn restart(&mut self) {
        self.daemon = Daemon::spawn(&binary().expect("cargo built it"), &self.home).expect("it starts");
        self.daemon.wait_ready(LONG).await.expect("it answers");
    }

    /// A client that goes round the doors.
    pub(super) fn client(&self, region: &str) -> Client {
        client(&self.emulator, region)
    }

    /// prodX acknowledges canaries and carries none out.
    pub(super) fn hold_replication(&self) -> plimsoll_lab::scripted::FaultId {
        let content_type = "application/x-amz-json-1.0".to_owned();
        self.x.fault(FaultRule::on("PutItem").fault(ProxyFault::Answer {
            status: 200,
            content_type,
            body: "{}".into(),
        }))
    }

    /// The canary as a region holds it.
    pub(super) async fn canary(&self, region: &str) -> Option<(String, u64)> {
        let key = AttributeValue::S("plimsoll-canary-0".into());
        let get = self.client(region).get_item().table_name(ORDERS).key("pk", key).consistent_read(true);
        let item = get.send().await.expect("an answer").item?;
        Some((item.get("plimsoll_by")?.as_s().ok()?.clone(), item.get("plimsoll_seq")?.as_n().ok()?.parse().ok()?))
    }

    /// A datapoint of ReplicationLatency in a region, of the minute so many minutes ago.
    pub(super) async fn datapoint(&self, region: &str, minutes_ago: u64, milliseconds: &str) -> SystemTime {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let minute = (now / 60 - minutes_ago) * 60;
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(minute);
        let form = format!(
            "Action=PutMetricData&Version=2010-08-01&Namespace=AWS%2FDynamoDB&MetricData.member.1.MetricName=\
             ReplicationLatency&MetricData.member.1.Dimensions.member.1.Name=TableName&MetricData.member.1.Dimensions.\
             member.1.Value={ORDERS}&MetricData.member.1.Dimensions.member.2.Name=ReceivingRegion&MetricData.member.1.\
             Dimensions.member.2.Value={Y}&MetricData.member.1.Timestamp={}&MetricData.member.1.Value={milliseconds}",
            humantime::format_rfc3339_seconds(at + Duration::from_secs(1)).to_string().replace(':', "%3A")
        );
        let scope = format!("test/20261124/{region}/monitoring/aws4_request");
        let sent = reqwest::Client::new()
            .post(&self.emulator.endpoint().url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
            .body(form)
            .send()
            .await
            .expect("an answer");
        assert_eq!(sent.status(), 200, "{}", sent.text().await.unwrap_or_default());
        at
    }
}

fn client(emulator: &Region, region: &str) -> Client {
    clients::dynamodb(&Endpoint::new(emulator.endpoint().url.clone(), region))
}

/// Adds the replica in prodY.
pub(super) async fn make_global(x: &Client, table: &str) {
    let replica = CreateReplicationGroupMemberAction::builder().region_name(Y).build().expect("a region");
    let update = ReplicationGroupUpdate::builder().create(replica).build();
    x.update_table().table_name(table).replica_updates(update).send().await.expect("a replica");
}
