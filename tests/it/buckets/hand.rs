//! What tests of objects have in common: ways of transfer, waits, what the standby ever held, a second daemon.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_lab::clients::{self, Endpoint};
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, Status, StoreSpec};
use plimsoll_lab::scripted::s3::{BodyDigest, EventRoute, NewObject, ObjectView};
use plimsoll_lab::scripted::{FaultRule, ScriptedAws};
use serde_json::json;
use tempfile::TempDir;

use super::fixture::{Ask as _, EVENTS, LONG, RHYTHM, SOURCE, STANDBY, Scene, UPLOADS, came_true, field};

pub(super) const MIB: u64 = 1 << 20;

/// Both ways of carrying bytes over.
pub(super) const WAYS: [&str; 2] = ["server-side", "stream"];

/// One test for each of several settings, all at the same time: each has servers and a daemon of its own.
pub(super) async fn each<T, F: Future<Output = ()>>(all: impl IntoIterator<Item = T>, test: impl Fn(T) -> F) {
    futures_util::future::join_all(all.into_iter().map(test)).await;
}

/// A scene with this transfer and these lines.
pub(super) fn scene(seed: u64, transfer: &str, more: &str) -> Scene {
    Scene::with(seed, EventRoute::to(EVENTS), transfer, more)
}

/// Waits until it is so, or says what is not.
pub(super) async fn until(daemon: &Daemon, what: &str, mut good: impl FnMut() -> bool) {
    assert!(came_true(LONG, || std::future::ready(good())).await, "{what}\n{}", daemon.tail(30));
}

/// Both buckets are the same, the watermark has passed this moment, and nothing that was published was taken back.
pub(super) async fn all_well(scene: &Scene, daemon: &mut Daemon) -> Status {
    scene.converge(daemon).await;
    let status = scene.proven(daemon).await;
    assert_eq!(daemon.violations().await, 0.0);
    status
}

/// The operation that writes a whole object of this transfer.
pub(super) fn writes(transfer: &str) -> &'static str {
    if transfer == "stream" { "PutObject" } else { "CopyObject" }
}

/// A rule on one operation of one object.
pub(super) fn on(op: &str, key: &str) -> FaultRule<()> {
    FaultRule::on(op).object(key)
}

/// An object of the source.
pub(super) fn source(scene: &Scene, key: &str) -> ObjectView {
    scene.x.s3().object(SOURCE, key).expect("prodX has it")
}

/// An object of the standby.
pub(super) fn held(scene: &Scene, key: &str) -> Option<ObjectView> {
    scene.y.s3().object(STANDBY, key)
}

/// Puts this into prodX.
pub(super) fn put(scene: &Scene, key: &str, object: NewObject) {
    scene.x.s3().put(SOURCE, key, object);
}

/// All bodies that a bucket ever showed under a key.
pub(super) fn bodies(aws: &ScriptedAws, bucket: &str, key: &str) -> BTreeSet<(u64, u64)> {
    let history = aws.s3().history(bucket);
    let of = |digest: &BodyDigest| (digest.size, digest.crc64);
    history.iter().filter(|c| &*c.key == key).filter_map(|c| Some(of(&c.state.as_ref()?.body))).collect()
}

/// The standby never showed bytes that prodX never had.
pub(super) fn never_wrong(scene: &Scene, key: &str) {
    let (theirs, ours) = (bodies(&scene.x, SOURCE, key), bodies(&scene.y, STANDBY, key));
    assert!(ours.is_subset(&theirs), "{key}: the standby showed {ours:?}, prodX {theirs:?}");
}

/// A client of prodX, as an application has it.
pub(super) fn application(scene: &Scene) -> aws_sdk_s3::Client {
    clients::s3(&Endpoint::new(scene.x.endpoint(), "us-east-1"))
}

/// Asks for a walk, and waits until one that began later is complete.
pub(super) async fn verify(daemon: &mut Daemon) {
    asked(daemon, "verify", json!({"repair": true})).await;
}

/// Asks for every key to be compared afresh, and waits until that is done.
pub(super) async fn reseed(daemon: &mut Daemon) {
    asked(daemon, "reseed", json!({})).await;
}

async fn asked(daemon: &mut Daemon, what: &str, body: serde_json::Value) {
    let at = |status: &Status| field(status, "verified")["at"].clone();
    let before = at(&daemon.now().await);
    let path = format!("/v1/stores/{UPLOADS}/{what}");
    let (code, told) = daemon.client().post(&path, body.to_string(), &[]).await.expect("it answers");
    assert_eq!(code, 202, "{told}");
    daemon.reach(|status| status.state(UPLOADS) == "ok" && at(status) != before).await;
}

/// A number of the store in a status.
pub(super) fn count(status: &Status, name: &str) -> u64 {
    field(status, name).as_u64().unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// Kills a daemon as a crash does, and waits until it is gone.
pub(super) async fn crash(mut daemon: Daemon) {
    daemon.kill9();
    daemon.wait(Duration::from_secs(10)).await.expect("it is gone");
}

/// The folder of one more daemon on the same two buckets and the same queue.
pub(super) fn another(scene: &Scene, transfer: &str, more: &str) -> (TempDir, Home) {
    let url = scene.y.sqs().url(EVENTS);
    let store = StoreSpec::bucket(UPLOADS, SOURCE, STANDBY, &url)
        .with_transfer(transfer)
        .with_more(&format!("{RHYTHM}\n{more}"))
        .with_rpo("1h");
    let ends = (Endpoint::new(scene.x.endpoint(), "us-east-1"), Endpoint::new(scene.y.endpoint(), "us-west-2"));
    let folder = tempfile::tempdir().expect("a folder");
    let home =
        Home::prepare(folder.path(), &ConfigSpec::new(&ends.0, &ends.1, vec![store])).expect("a prepared folder");
    (folder, home)
}
