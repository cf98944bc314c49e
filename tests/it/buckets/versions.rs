//! Versions: delete markers, versions that are removed for good, buckets without versions, and all of a history.

use std::time::Duration;

use plimsoll_lab::scripted::s3::{BodyDigest, Compare, NewObject, Versioning};
use plimsoll_lab::scripted::{Fault, FaultRule, Gate};

use super::fixture::{Ask as _, SOURCE, STANDBY, Scene, UPLOADS, Watch, field};
use super::hand::{MIB, WAYS, all_well, crash, each, held, on, put, reseed, scene, until, verify, writes};

const HISTORY: &str = "versions = \"history\"";

/// The bodies of a key's versions, oldest first; nothing is a delete marker.
fn told(aws: &plimsoll_lab::scripted::ScriptedAws, bucket: &str, key: &str) -> Vec<Option<BodyDigest>> {
    aws.s3().versions(bucket, key).into_iter().map(|version| version.object.map(|object| object.body)).collect()
}

/// Waits until a key has the same versions in the same order on both ends.
async fn same_history(scene: &Scene, daemon: &plimsoll_lab::daemon::Daemon, key: &str) {
    let both = || (told(&scene.x, SOURCE, key), told(&scene.y, STANDBY, key));
    until(daemon, &format!("the history of {key} is the same"), || {
        let (theirs, ours) = both();
        theirs == ours
    })
    .await;
}

/// S3-F12: a marker on a marker, and versions that are removed for good: what is current follows.
#[tokio::test]
async fn s3_4_markers_on_markers_and_versions_that_come_back() {
    each(WAYS, |way| async move {
        let scene = scene(61, way, "");
        let older: Vec<String> = ["back", "marker", "all", "twice"]
            .iter()
            .map(|key| scene.x.s3().put(SOURCE, key, NewObject::bytes("older")))
            .collect();
        let newer = scene.x.s3().put(SOURCE, "back", NewObject::bytes("newer").tag("a", "b"));
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        // The older one is current again.
        scene.x.s3().delete_version(SOURCE, "back", &newer);
        // A marker that is removed for good.
        scene.x.s3().delete(SOURCE, "marker");
        scene.x.s3().delete(SOURCE, "twice");
        all_well(&scene, &mut daemon).await;
        assert!(held(&scene, "marker").is_none() && held(&scene, "twice").is_none());
        let marker = scene.x.s3().versions(SOURCE, "marker").pop().expect("a marker").id;
        scene.x.s3().delete_version(SOURCE, "marker", &marker);
        scene.x.s3().delete(SOURCE, "twice");
        // All there is.
        scene.x.s3().delete_version(SOURCE, "all", &older[2]);
        all_well(&scene, &mut daemon).await;
        let bytes = |key| scene.y.s3().bytes(STANDBY, key);
        assert_eq!(bytes("back").as_deref(), Some(b"older".as_slice()), "{way}");
        assert_eq!(bytes("marker").as_deref(), Some(b"older".as_slice()), "{way}");
        // A marker on a marker changes nothing in the standby: one there is enough.
        assert_eq!(
            scene.y.s3().versions(STANDBY, "twice").iter().filter(|version| version.object.is_none()).count(),
            1
        );
        // A version below the current one.
        scene.x.s3().put(SOURCE, "back", NewObject::bytes("newest"));
        scene.x.s3().delete_version(SOURCE, "back", &older[0]);
        all_well(&scene, &mut daemon).await;
        // The buckets were walked when they were like this.
        verify(&mut daemon).await;
        all_well(&scene, &mut daemon).await;
        watch.truthful().await;
    })
    .await;
}

/// Buckets whose versions are suspended, or never were on, at either end.
#[tokio::test]
async fn s3_f12_suspended_and_unversioned_buckets() {
    use Versioning::{Off, On, Suspended};
    each(
        [(Off, On), (Suspended, On), (Off, Off), (On, Suspended), (Suspended, Suspended)],
        |(source, standby)| async move {
            let way = if source == Off { "server-side" } else { "stream" };
            let scene = scene(63, way, "");
            for n in 0..4 {
                scene.put(&format!("from before {n}"), "one");
            }
            scene.x.s3().set_versioning(SOURCE, source);
            scene.y.s3().set_versioning(STANDBY, standby);
            for n in 0..4 {
                scene.put(&format!("k{n}"), "one");
            }
            let mut daemon = scene.start_ok().await;
            let watch = Watch::start(&scene, daemon.client());
            for key in ["k", "from before "] {
                put(&scene, &format!("{key}0"), NewObject::bytes("two").tag("a", "b"));
                scene.x.s3().delete(SOURCE, &format!("{key}1"));
                scene.x.s3().delete(SOURCE, &format!("{key}2"));
                scene.put(&format!("{key}2"), "again");
                put(&scene, &format!("{key}3"), NewObject::bytes("one").metadata("other", "words"));
            }
            all_well(&scene, &mut daemon).await;
            // Versions are switched on while it runs.
            scene.x.s3().set_versioning(SOURCE, On);
            scene.put("k0", "three");
            scene.x.s3().delete(SOURCE, "k2");
            all_well(&scene, &mut daemon).await;
            verify(&mut daemon).await;
            all_well(&scene, &mut daemon).await;
            watch.truthful().await;
        },
    )
    .await;
}

/// S3-4: all versions in their order, whatever the order of the events, and again after new ones.
#[tokio::test]
async fn s3_4_history_keeps_every_version_in_its_order() {
    each(WAYS, |way| async move {
        let scene = scene(65, way, HISTORY);
        let write = |round: u32| {
            for key in ["a", "b/c", "b"] {
                put(
                    &scene,
                    key,
                    NewObject::bytes(format!("{key} {round}").into_bytes()).metadata("round", &round.to_string()),
                );
                if round % 3 == 1 {
                    scene.x.s3().delete(SOURCE, key);
                }
                if round % 4 == 2 {
                    scene.x.s3().delete(SOURCE, key);
                }
            }
        };
        (0..4).for_each(write);
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        for key in ["a", "b/c", "b"] {
            same_history(&scene, &daemon, key).await;
        }
        scene.x.s3().hold_events(SOURCE);
        (4..12).for_each(write);
        scene.x.s3().release_events_shuffled(SOURCE, 7);
        all_well(&scene, &mut daemon).await;
        for key in ["a", "b/c", "b"] {
            same_history(&scene, &daemon, key).await;
        }
        let before = scene.y.calls(writes(way));
        verify(&mut daemon).await;
        assert_eq!(scene.y.calls(writes(way)), before, "{way}: a walk copies nothing twice");
        // Without an index the versions are laid side by side.
        reseed(&mut daemon).await;
        assert_eq!(scene.y.calls(writes(way)), before, "{way}: a reseed copies nothing twice");
        for key in ["a", "b/c", "b"] {
            same_history(&scene, &daemon, key).await;
        }
        all_well(&scene, &mut daemon).await;
        watch.truthful().await;
    })
    .await;
}

/// A version that is removed for good stays in the standby's past; what is current follows.
#[tokio::test]
async fn s3_4_history_that_is_destroyed_in_the_source_stays_in_the_standby() {
    let scene = scene(67, "server-side", HISTORY);
    let ids: Vec<String> =
        (0..4).map(|n| scene.x.s3().put(SOURCE, "k", NewObject::bytes(format!("{n}").into_bytes()))).collect();
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    scene.x.s3().delete_version(SOURCE, "k", &ids[1]);
    scene.x.s3().delete_version(SOURCE, "k", &ids[3]);
    all_well(&scene, &mut daemon).await;
    let bytes = || scene.y.s3().bytes(STANDBY, "k");
    assert_eq!(bytes().as_deref(), Some(b"2".as_slice()));
    assert_eq!(told(&scene.y, STANDBY, "k").len(), 5, "0, 1, 2, 3, and 2 on top");
    scene.x.s3().put(SOURCE, "k", NewObject::bytes("new"));
    all_well(&scene, &mut daemon).await;
    for id in scene.x.s3().versions(SOURCE, "k").iter().map(|version| &version.id) {
        scene.x.s3().delete_version(SOURCE, "k", id);
    }
    all_well(&scene, &mut daemon).await;
    assert!(held(&scene, "k").is_none());
    assert_eq!(told(&scene.y, STANDBY, "k").len(), 7, "and a marker");
    verify(&mut daemon).await;
    all_well(&scene, &mut daemon).await;
    assert_eq!(told(&scene.y, STANDBY, "k").len(), 7);
    watch.truthful().await;
}

/// A daemon that is killed between two versions goes on behind the last one that it noted: at most one is there twice, and the
/// order is the source's.
#[tokio::test]
async fn s3_4_a_history_goes_on_after_kill_9() {
    each(WAYS, |way| async move {
        let scene = scene(69, way, &format!("{HISTORY}\npart_size_mib = 5"));
        let daemon = scene.start_ok().await;
        let gate = Gate::new();
        let rule = scene.y.fault(on(writes(way), "k").after(5).fault(Fault::Hold(gate.clone())));
        scene.x.s3().hold_events(SOURCE);
        for n in 0..12 {
            put(&scene, "k", NewObject::bytes(format!("{n}").into_bytes()).metadata("n", &n.to_string()));
        }
        put(&scene, "k", NewObject::declared(6 * MIB, 1));
        scene.x.s3().release_events(SOURCE);
        gate.until_arrived(1).await;
        crash(daemon).await;
        scene.y.remove_fault(rule);
        let before = told(&scene.y, STANDBY, "k");
        assert_eq!(before.len(), 5, "{way}");
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        all_well(&scene, &mut daemon).await;
        same_history(&scene, &daemon, "k").await;
        watch.truthful().await;
    })
    .await;
}

/// An answer that is lost behind its effect makes a version that nobody asked for twice: it is there twice, in its place, and
/// what is current is right.
#[tokio::test]
async fn s3_4_a_lost_answer_may_repeat_a_version_and_never_turns_the_order() {
    let scene = scene(71, "server-side", HISTORY);
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    scene.y.fault(FaultRule::on("CopyObject").after(1).times(2).fault(Fault::LoseAnswer));
    scene.y.fault(FaultRule::on("DeleteObject").times(1).fault(Fault::LoseAnswer));
    scene.x.s3().hold_events(SOURCE);
    for n in 0..4 {
        scene.put("k", &n.to_string());
    }
    scene.x.s3().delete(SOURCE, "k");
    scene.put("k", "last");
    scene.x.s3().release_events(SOURCE);
    all_well(&scene, &mut daemon).await;
    let (theirs, mut ours) = (told(&scene.x, SOURCE, "k"), told(&scene.y, STANDBY, "k"));
    // Each lost answer one; and behind a write of which nobody knows all is looked at once more, and the newest may be copied
    // again: what was settled before that look is not remembered.
    assert!(ours.len() <= theirs.len() + 4, "{ours:?}");
    ours.dedup();
    assert_eq!(ours, theirs, "the same, but for repetitions");
    verify(&mut daemon).await;
    all_well(&scene, &mut daemon).await;
    watch.truthful().await;
}

/// A version that can be copied only later than a newer one: it is copied, and the newest once more on top of it.
#[tokio::test]
async fn s3_4_a_late_older_version_is_copied_and_the_newest_again_on_top() {
    let scene = scene(73, "server-side", HISTORY);
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let cold = scene.x.s3().put(SOURCE, "k", NewObject::bytes("cold").class("GLACIER"));
    daemon.reach(|status| field(status, "failed_items") == 1).await;
    scene.put("k", "newest");
    until(&daemon, "the newer one does not wait", || held(&scene, "k").is_some()).await;
    assert_eq!(told(&scene.y, STANDBY, "k").len(), 1);
    let put_at = scene.x.now();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(daemon.now().await.watermark(UPLOADS).is_none_or(|watermark| watermark < put_at), "it is still held");
    scene.x.s3().finish_restore_of(SOURCE, "k", &cold);
    all_well(&scene, &mut daemon).await;
    let bodies = told(&scene.y, STANDBY, "k");
    assert_eq!(bodies.len(), 3, "the newest, the older one, and the newest on top");
    assert_eq!(bodies[0], bodies[2]);
    let all = scene.x.s3().compare(SOURCE, &scene.y, STANDBY, Compare::default());
    assert!(all.equal(), "{all}");
    verify(&mut daemon).await;
    all_well(&scene, &mut daemon).await;
    assert_eq!(told(&scene.y, STANDBY, "k").len(), 3);
    watch.truthful().await;
}
