//! What the demo starts: two regions, three tables in each, the daemon.

use std::path::Path;
use std::time::Duration;

use crate::daemon::{ConfigSpec, Daemon, Home, StoreSpec};
use crate::regions::{Region, RegionSpec};
use crate::tables::{KeyKind, TableSpec};
use crate::trouble::Trouble;
use crate::workload::{Rhythm, Traffic};

/// The bursts of the sessions.
pub(super) const RHYTHM: Rhythm = Rhythm { busy: Duration::from_secs(2), quiet: Duration::from_secs(2) };

/// How long the daemon may take to answer.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Everything that runs; the drop of each part ends its process.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) daemon: Daemon,
    pub(super) x: Region,
    pub(super) y: Region,
    pub(super) home: Home,
    pub(super) traffics: Vec<Traffic>,
}

impl Scene {
    /// Starts it all, on empty tables.
    pub(super) async fn set(folder: &Path, binary: &Path) -> Result<Self, Trouble> {
        let (x, y) =
            tokio::try_join!(Region::start(RegionSpec::primary(folder)), Region::start(RegionSpec::standby(folder)))?;
        let traffics = traffics();
        for traffic in &traffics {
            traffic.table.create(&x.dynamodb(), true).await?;
            traffic.table.create(&y.dynamodb(), false).await?;
        }
        let home = Home::prepare(&folder.join("plimsoll"), &configuration(folder, &x, &y))?;
        let mut daemon = Daemon::spawn(binary, &home)?;
        daemon.wait_ready(READY_LIMIT).await?;
        Ok(Self { daemon, x, y, home, traffics })
    }

    /// How many changes are known to be committed in prodX, by table.
    pub(super) fn committed(&self) -> Vec<(&str, usize)> {
        self.traffics.iter().map(|traffic| (traffic.table.name.as_str(), traffic.ledger.committed())).collect()
    }
}

/// Three tables, three temperaments.
pub(super) fn traffics() -> Vec<Traffic> {
    let orders = TableSpec::new("orders", ("order", KeyKind::Text));
    let sessions = TableSpec::new("sessions", ("session", KeyKind::Binary));
    let documents = TableSpec::new("documents", ("folder", KeyKind::Text)).with_range(("page", KeyKind::Number));
    vec![
        Traffic { keys: 100, ..Traffic::steady(orders, 60.0) },
        Traffic { keys: 100, ..Traffic::bursts(sessions, 150.0, RHYTHM) },
        Traffic::documents(documents, 3.0),
    ]
}

/// The configuration as an operator would write it. The traffic switch is a file in this demo; with you it is a script.
fn configuration(folder: &Path, x: &Region, y: &Region) -> ConfigSpec {
    let stores = vec![
        StoreSpec::table("orders").with_rpo("30s"),
        StoreSpec::table("sessions").with_rpo("30s"),
        StoreSpec::table("documents"),
    ];
    let mut spec = ConfigSpec::new(x.endpoint(), y.endpoint(), stores);
    spec.app = "shop".into();
    let quoted = crate::daemon::quoted;
    let switch = folder.join("traffic-goes-to-prodY").to_string_lossy().into_owned();
    spec.more = format!(
        r#"[[promote.step]]
id = "traffic-switch"
kind = "command"
run = ["/bin/sh", "-c", "echo prodY > \"$0\"", {file}]
check = ["/bin/sh", "-c", "test -e \"$0\"", {file}]
deadline = "30s"

[[promote.step]]
id = "standby-answers"
kind = "http-probe"
url = {url}
expect_status = 200
deadline = "30s"
needs = ["traffic-switch"]"#,
        file = quoted(&switch),
        url = quoted(&y.health_url()),
    );
    spec
}
