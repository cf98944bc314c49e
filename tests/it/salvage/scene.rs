//! Two scripted regions, a daemon that has promoted while prodX was cut off, and prodX back again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_lab::daemon::{Daemon, Home, Role, binary, cli};
use plimsoll_lab::scripted::{Door, Key, ScriptedAws, TableSpec};
use serde_json::{Value as Json, json};

use crate::attack::fixture::{Ask as _, LONG, ORDERS, Pair, plain, streamed};

/// A promoted pair.
pub(super) struct Scene {
    pub(super) pair: Pair,
    pub(super) daemon: Daemon,
}

/// What `plimsoll salvage` gave.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

/// A list and its lines.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) ran: Ran,
    pub(super) path: PathBuf,
    pub(super) lines: Vec<Json>,
}

impl Scene {
    /// A daemon that replicates.
    pub(super) async fn start(seed: u64) -> Self {
        Self::with(seed, streamed().shards(3), plain()).await
    }

    pub(super) async fn with(seed: u64, source: TableSpec, standby: TableSpec) -> Self {
        let pair = Pair::with(source, standby, seed, |spec| spec.more = "[promote]\ncatch_up = \"1s\"".into());
        let daemon = pair.start_ok().await;
        Self { pair, daemon }
    }

    /// prodX is cut off; what is written there from now on is lost.
    pub(super) fn cut(&self) {
        self.pair.x.set_door(Door::Cut);
    }

    /// prodX answers again.
    pub(super) fn back(&self) {
        self.pair.x.set_door(Door::Open);
    }

    /// prodY takes over.
    pub(super) async fn promote(&mut self) {
        promote(&self.daemon).await;
        self.daemon.state("fenced").await;
    }

    pub(super) async fn list(&self, name: &str, more: &[&str]) -> Listed {
        list(&self.pair.home, self.pair.folder(), name, more).await
    }

    /// Lists, and it works.
    pub(super) async fn good_list(&self, name: &str, more: &[&str]) -> Listed {
        let listed = self.list(name, more).await;
        assert_eq!(listed.ran.code, Some(0), "{}\n{}\n{}", listed.ran.out, listed.ran.err, self.daemon.tail(20));
        listed
    }

    pub(super) async fn apply(&self, list: &Path, more: &[&str]) -> Ran {
        let file = list.to_string_lossy().into_owned();
        let mut args = vec!["salvage", "--apply", &file];
        args.extend(more);
        salvage(&self.pair.home, Role::Approver, &args).await
    }

    /// The keys in which the regions differ now, with what prodX has.
    pub(super) fn differences(&self) -> BTreeMap<String, Json> {
        let (x, y) = (self.pair.x.snapshot(ORDERS), self.pair.y.snapshot(ORDERS));
        let keys = x.keys().chain(y.keys());
        let differ = keys.filter(|key| x.get(*key) != y.get(*key));
        differ.map(|key| (name(key), x.get(key).map_or(Json::Null, |item| json!(**item)))).collect()
    }
}

/// The text of a key of one text attribute.
pub(super) fn name(key: &Key) -> String {
    key.to_string()
}

pub(super) async fn promote(daemon: &Daemon) {
    let request = json!({"mode": "failover", "reason": "a test", "accept_loss": {ORDERS: "1h"}});
    let (code, started) = daemon.client().promote(&request, "k").await.expect("an answer");
    assert_eq!(code, 202, "{started}");
    let id = started["id"].as_str().expect("an id");
    let ended = daemon.client().wait_promotion(id, LONG).await.expect("it ends");
    assert_eq!(ended["state"], "completed", "{ended}");
}

pub(super) async fn salvage(home: &Home, role: Role, args: &[&str]) -> Ran {
    let ran = cli(&binary().expect("built"), home, role, args, Duration::from_secs(120)).await;
    let (code, out, err) = ran.expect("it ends");
    Ran { code, out, err }
}

pub(super) async fn list(home: &Home, folder: &Path, name: &str, more: &[&str]) -> Listed {
    let path = folder.join(name);
    let file = path.to_string_lossy().into_owned();
    let mut args = vec!["salvage", "--out", &file];
    args.extend(more);
    let ran = salvage(home, Role::Operator, &args).await;
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    Listed { ran, path, lines }
}

impl Listed {
    fn of(&self, kind: &str) -> impl Iterator<Item = &Json> {
        self.lines.iter().filter(move |line| line["salvage"] == kind)
    }

    /// The listed keys by their `pk`.
    pub(super) fn keys(&self) -> BTreeMap<String, &Json> {
        let text = |line: &Json| line["key"]["pk"]["S"].as_str().expect("a text key").to_owned();
        let all: Vec<_> = self.of("key").map(|line| (text(line), line)).collect();
        let keys: BTreeMap<_, _> = all.iter().cloned().collect();
        assert_eq!(keys.len(), all.len(), "a key is listed once");
        keys
    }

    /// What the list says prodX has, by key.
    pub(super) fn primaries(&self) -> BTreeMap<String, Json> {
        self.keys().into_iter().map(|(key, line)| (key, line["primary"].clone())).collect()
    }

    pub(super) fn verdict(&self, key: &str) -> &str {
        self.keys().get(key).and_then(|line| line["verdict"].as_str()).unwrap_or("not listed")
    }

    pub(super) fn id(&self, key: &str) -> String {
        self.keys()[key]["id"].as_str().expect("an id").to_owned()
    }

    pub(super) fn store(&self) -> &Json {
        self.of("store").next().expect("a summary")
    }

    pub(super) fn missing(&self) -> String {
        self.store()["missing"].to_string()
    }
}

/// No call but reads ever came to prodX.
pub(super) fn only_read(x: &ScriptedAws) {
    let calls = x.all_calls();
    let writes: Vec<_> = calls
        .iter()
        .filter(|(op, _)| op.contains("Put") || op.contains("Write") || op.contains("Delete") || op.contains("Update"))
        .collect();
    assert!(writes.iter().all(|(_, count)| **count == 0), "prodX was written to: {writes:?}");
}
