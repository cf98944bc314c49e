//! Transfers that do not go as they should: refused, torn, lost, killed. What is in the standby is the source's in the end, never
//! anything else, and no upload is left behind.

use std::time::Duration;

use plimsoll_lab::scripted::s3::{ChecksumAlgorithm, ChecksumKind, NewObject};
use plimsoll_lab::scripted::{AwsError, Fault, FaultRule, Gate, Spoil};

use super::fixture::{Ask as _, EVENTS, SOURCE, STANDBY, Scene, UPLOADS, Watch, came_true, note};
use super::hand::{MIB, WAYS, all_well, count, crash, each, held, never_wrong, on, put, scene, until, writes};

const GIB: u64 = 1 << 30;

fn error(status: u16, code: &'static str) -> AwsError {
    AwsError::new(status, code, "We encountered a problem. Please try again.")
}

/// `auto` begins by letting S3 copy, goes on by itself where the standby cannot see the source, and says which.
#[tokio::test]
async fn auto_streams_where_the_standby_cannot_see_the_source() {
    let scene = scene(31, "auto", "");
    scene.put("first", "one");
    let mut daemon = scene.start_ok().await;
    daemon.reach(|status| note(status).contains("transfer server-side (auto)")).await;
    assert_eq!((scene.y.calls("CopyObject"), scene.y.calls("PutObject")), (1, 0));
    scene.y.s3().see_nobody();
    scene.put("second", "two");
    all_well(&scene, &mut daemon).await;
    assert!(daemon.tail(200).contains("S3 cannot copy from the source bucket by itself"), "{}", daemon.tail(50));
    let before = scene.y.calls("CopyObject");
    put(&scene, "third", NewObject::declared(100_000, 1).metadata("a", "b").tag("c", "d"));
    all_well(&scene, &mut daemon).await;
    assert_eq!(scene.y.calls("CopyObject"), before, "it is not tried again for each object");
    // The note says so too, once it is looked up again: once a minute, which is not waited for here.
}

/// One object that S3 alone refuses to copy does not make all go through us.
#[tokio::test]
async fn auto_stays_server_side_when_only_an_object_is_refused() {
    let scene = scene(33, "auto", "");
    let mut daemon = scene.start_ok().await;
    scene.y.fault(on("CopyObject", "denied").times(2).fault(Fault::AccessDenied));
    scene.x.fault(on("GetObject", "denied").times(2).fault(Fault::AccessDenied));
    scene.put("denied", "one");
    scene.put("allowed", "one");
    all_well(&scene, &mut daemon).await;
    assert_eq!((scene.y.calls("CopyObject"), scene.y.calls("PutObject")), (4, 0));
}

/// Without `auto` the object fails, says what to allow, holds the watermark, and heals.
#[tokio::test]
async fn server_side_that_cannot_see_the_source_says_what_to_allow_and_heals() {
    let scene = scene(35, "server-side", "");
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    scene.proven(&mut daemon).await;
    scene.y.s3().see_nobody();
    scene.put("k", "one");
    let put_at = scene.x.now();
    let status = daemon.reach(|status| note(status).contains("making keys the same")).await;
    assert!(
        note(&status).contains("s3:GetObject") && note(&status).contains("transfer = \"stream\""),
        "{}",
        note(&status)
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(daemon.now().await.watermark(UPLOADS).is_some_and(|watermark| watermark < put_at));
    scene.y.s3().see(&scene.x);
    all_well(&scene, &mut daemon).await;
    watch.truthful().await;
}

/// Conditions that fail and conflicts, again and again: each time all is looked at anew.
#[tokio::test]
async fn s3_1_storms_of_412_and_409_end_well() {
    each(WAYS, |way| async move {
        let scene = scene(37, way, "part_size_mib = 5");
        let long = NewObject::declared(11 * MIB, 1).checksum(Some(ChecksumAlgorithm::Crc32)).parts(&[5 * MIB, 6 * MIB]);
        for n in 0..6 {
            scene.put(&format!("gone {n}"), "one");
        }
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        let ops = [writes(way), "DeleteObject", "CompleteMultipartUpload"];
        for op in ops {
            scene.y.fault(FaultRule::on(op).times(4).fault(Fault::precondition_failed()));
            scene.y.fault(FaultRule::on(op).times(4).fault(Fault::conflict()));
        }
        put(&scene, "long", long);
        for n in 0..6 {
            scene.put(&format!("new {n}"), "one");
            scene.x.s3().delete(SOURCE, &format!("gone {n}"));
        }
        all_well(&scene, &mut daemon).await;
        assert!(scene.y.faults_applied_in_all() >= 16, "{}", scene.y.faults_applied_in_all());
        assert!(scene.y.s3().uploads(STANDBY).is_empty(), "{way}");
        watch.truthful().await;
    })
    .await;
}

/// S3-F7: an error inside of a success. It may have been one: it is looked at again, and nothing is taken for done.
#[tokio::test]
async fn s3_f7_an_error_inside_a_200_is_looked_at_again() {
    each(WAYS, |way| async move {
        let scene = scene(39, way, "part_size_mib = 5");
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        let ops = match way {
            "server-side" => ["CopyObject", "CompleteMultipartUpload"],
            _ => ["CompleteMultipartUpload", "UploadPart"],
        };
        let errors = [error(500, "InternalError"), error(503, "SlowDown")];
        for op in ops.into_iter().filter(|op| *op != "UploadPart") {
            for error in &errors {
                scene.y.fault(FaultRule::on(op).times(1).fault(Fault::ErrorInBody(error.clone())));
                scene.y.fault(FaultRule::on(op).times(1).fault(Fault::ErrorInBodyAfterEffect(error.clone())));
            }
        }
        for n in 0..5 {
            scene.put(&format!("short {n}"), "one");
            let long = NewObject::declared(11 * MIB, n).checksum(Some(ChecksumAlgorithm::Crc32));
            put(&scene, &format!("long {n}"), long.parts(&[5 * MIB, 6 * MIB]));
        }
        all_well(&scene, &mut daemon).await;
        assert!(scene.y.faults_applied_in_all() >= 4, "{way}: {}", scene.y.faults_applied_in_all());
        assert!(scene.y.s3().uploads(STANDBY).is_empty(), "{way}");
        watch.truthful().await;
    })
    .await;
}

/// A2: answers that are lost behind the effect, and writes that take effect long after they were given up.
#[tokio::test]
async fn answers_are_lost_and_strays_come_late() {
    each(WAYS, |way| async move {
        let scene = scene(41, way, "part_size_mib = 5");
        for key in ["gone", "gone late", "kept"] {
            scene.put(key, "one");
        }
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        for op in [writes(way), "DeleteObject", "CompleteMultipartUpload", "UploadPart"] {
            scene.y.fault(FaultRule::on(op).times(2).fault(Fault::LoseAnswer));
        }
        for n in 0..3 {
            scene.put(&format!("new {n}"), "one");
        }
        scene.x.s3().delete(SOURCE, "gone");
        put(
            &scene,
            "long",
            NewObject::declared(11 * MIB, 1).checksum(Some(ChecksumAlgorithm::Crc32)).parts(&[5 * MIB, 6 * MIB]),
        );
        all_well(&scene, &mut daemon).await;
        assert!(scene.y.s3().uploads(STANDBY).is_empty(), "{way}");
        scene.y.clear_faults();

        // A write of what is deleted meanwhile, and a removal of what is written meanwhile.
        let held_back = scene.y.fault(on(writes(way), "stray").times(1).fault(Fault::LoseAnswerHeld));
        scene.put("stray", "never to be seen");
        until(&daemon, "the write is cut off", || scene.y.faults_applied(held_back) == 1).await;
        scene.x.s3().delete(SOURCE, "stray");
        let held_back = scene.y.fault(on("DeleteObject", "gone late").times(1).fault(Fault::LoseAnswerHeld));
        scene.x.s3().delete(SOURCE, "gone late");
        until(&daemon, "the removal is cut off", || scene.y.faults_applied(held_back) == 1).await;
        scene.put("gone late", "it is back");
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(scene.y.release_held().len(), 2);
        all_well(&scene, &mut daemon).await;
        assert!(held(&scene, "stray").is_none(), "{way}: the stray is found by the look behind its longest life");
        watch.truthful().await;
    })
    .await;
}

/// S3 asks for less: all waits a little, and goes on.
#[tokio::test]
async fn slow_down_slows_down_and_no_more() {
    each(WAYS, |way| async move {
        let scene = scene(43, way, "");
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        scene.y.fault(FaultRule::on("*").bucket(STANDBY).probability(0.3).times(40).fault(Fault::Throttle));
        scene.x.fault(FaultRule::on("*").bucket(SOURCE).probability(0.3).times(40).fault(Fault::Throttle));
        for n in 0..40 {
            put(&scene, &format!("k{n}"), NewObject::bytes("one").tag("a", "b"));
            if n % 3 == 0 {
                scene.x.s3().delete(SOURCE, &format!("k{}", n / 2));
            }
        }
        all_well(&scene, &mut daemon).await;
        watch.truthful().await;
    })
    .await;
}

/// A source that denies one object: it fails, is said with what to grant, holds the watermark, and heals when it is granted.
/// The others do not wait for it.
#[tokio::test]
async fn a_denied_object_holds_the_watermark_and_heals_when_it_is_granted() {
    each(
        [("server-side", "HeadObject"), ("stream", "GetObject"), ("server-side", "GetObjectTagging")],
        |(way, op)| async move {
            let scene = scene(45, way, "");
            let mut daemon = scene.start_ok().await;
            let watch = Watch::start(&scene, daemon.client());
            scene.proven(&mut daemon).await;
            let denied = scene.x.fault(on(op, "denied").fault(Fault::AccessDenied));
            put(&scene, "denied", NewObject::bytes("one").tag("a", "b"));
            let put_at = scene.x.now();
            let status = daemon.reach(|status| note(status).contains("making keys the same")).await;
            assert!(note(&status).contains(op) && note(&status).contains("denied"), "{op}: {}", note(&status));
            scene.put("allowed", "one");
            until(&daemon, "the others do not wait", || held(&scene, "allowed").is_some()).await;
            tokio::time::sleep(Duration::from_millis(1500)).await;
            assert!(daemon.now().await.watermark(UPLOADS).is_some_and(|watermark| watermark < put_at), "{op}");
            scene.x.remove_fault(denied);
            let status = all_well(&scene, &mut daemon).await;
            assert_eq!(count(&status, "failed_items"), 0, "{op}");
            assert!(!note(&status).contains("making keys the same"), "{op}: {}", note(&status));
            watch.truthful().await;
        },
    )
    .await;
}

/// What a lifecycle rule of the standby does to a long copy: its upload is gone between two parts. It is begun anew.
#[tokio::test]
async fn s3_5_an_upload_that_is_aborted_in_the_middle_is_begun_anew() {
    each([("server-side", "UploadPartCopy"), ("stream", "UploadPart")], |(way, op)| async move {
        let scene = scene(47, way, "part_size_mib = 5\nmemory_mib = 16");
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        let gate = Gate::new();
        scene.y.fault(FaultRule::on(op).after(2).times(1).fault(Fault::Hold(gate.clone())));
        let size = if way == "stream" { 32 * MIB } else { 6 * GIB };
        put(&scene, "long", NewObject::declared(size, 1));
        gate.until_arrived(1).await;
        assert_eq!(scene.y.s3().abort_uploads(STANDBY), 1);
        gate.open();
        all_well(&scene, &mut daemon).await;
        // And when all parts are there.
        scene.y.fault(FaultRule::on("CompleteMultipartUpload").times(1).fault(Fault::no_such_upload()));
        put(&scene, "long", NewObject::declared(size, 2));
        all_well(&scene, &mut daemon).await;
        assert!(scene.y.calls("CreateMultipartUpload") >= 3, "{way}");
        watch.truthful().await;
    })
    .await;
}

/// Bytes that are torn, altered or belied on their way are never taken for a copy, whatever checksum the object has.
#[tokio::test]
async fn s3_f9_torn_altered_and_belied_bytes_are_never_taken_for_a_copy() {
    use ChecksumAlgorithm::{Crc32, Crc32C, Crc64Nvme, Sha256};
    let scene = scene(49, "stream", "part_size_mib = 5\nmemory_mib = 64");
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let mut keys = Vec::new();
    for (nth, kind) in (1..).zip([Crc32, Crc32C, Crc64Nvme, Sha256]) {
        for (what, spoil) in [("cut", Spoil::cut(70_000)), ("flip", Spoil::flip(99_000)), ("belied", Spoil::checksum())]
        {
            let (short, long, parts) =
                (format!("{what} short {nth}"), format!("{what} long {nth}"), format!("{what} parts {nth}"));
            for key in [&short, &long, &parts] {
                scene.x.fault(on("GetObject", key).times(1).fault(Fault::Spoil(spoil.clone())));
            }
            put(&scene, &short, NewObject::declared(100_000, nth).checksum(Some(kind)));
            put(&scene, &long, NewObject::declared(6 * MIB, nth).checksum(Some(kind)));
            put(&scene, &parts, NewObject::declared(6 * MIB, nth).checksum(Some(kind)).parts(&[5 * MIB, MIB]));
            keys.extend([short, long, parts]);
        }
    }
    all_well(&scene, &mut daemon).await;
    assert_eq!(scene.x.faults_applied_in_all(), 36);
    keys.iter().for_each(|key| never_wrong(&scene, key));
    assert!(scene.y.s3().uploads(STANDBY).is_empty());
    watch.truthful().await;
}

/// S3-5, S3-F7: what one request copies ends at 5 GiB; what is longer goes in parts, in the source's own where its checksum is
/// of them.
#[tokio::test]
async fn s3_f7_the_boundary_of_five_gib() {
    let scene = scene(51, "server-side", "");
    put(&scene, "less", NewObject::declared(5 * GIB - 1, 1).metadata("a", "b"));
    put(&scene, "just", NewObject::declared(5 * GIB, 2));
    put(&scene, "more", NewObject::declared(5 * GIB + 1, 3).metadata("a", "b").tag("c", "d").class("STANDARD_IA"));
    let crc = Some(ChecksumAlgorithm::Crc32);
    put(&scene, "composite", NewObject::declared(20 * GIB, 4).checksum(crc).parts(&[GIB; 20]));
    put(&scene, "uneven", NewObject::declared(7 * GIB, 5).checksum(crc).parts(&[GIB, 3 * GIB, 2 * GIB, GIB]));
    let mut daemon = scene.start_ok().await;
    all_well(&scene, &mut daemon).await;
    assert_eq!(scene.y.calls("CopyObject"), 2, "less and just");
    assert_eq!(scene.y.calls("CreateMultipartUpload"), 3);
    assert_eq!(scene.y.calls("UploadPartCopy"), 81 + 20 + 4);
    for (key, parts) in [("composite", 20), ("uneven", 4)] {
        let (ours, theirs) = (held(&scene, key).expect("it is there"), super::hand::source(&scene, key));
        assert_eq!((ours.parts, &ours.checksum), (parts, &theirs.checksum), "{key}");
        assert_eq!(ours.checksum.map(|checksum| checksum.kind), Some(ChecksumKind::Composite));
    }
    assert!(scene.y.s3().uploads(STANDBY).is_empty());
    // By its checksum it is known again without an index.
    super::hand::reseed(&mut daemon).await;
    assert_eq!(scene.y.calls("CreateMultipartUpload"), 3, "nothing is copied again");
}

/// Puts a long object and kills the daemon when some of its parts are there.
async fn killed_in_the_middle(scene: &Scene, key: &str, op: &str, size: u64, parts: usize) {
    let gate = Gate::new();
    let rule = scene.y.fault(on(op, key).after(parts as u64).fault(Fault::Hold(gate.clone())));
    let daemon = scene.start_ok().await;
    put(scene, key, NewObject::declared(size, 1));
    gate.until_arrived(1).await;
    until(&daemon, "some parts are there", || {
        scene.y.s3().uploads(STANDBY).iter().any(|(of, done)| of == key && done.len() >= parts)
    })
    .await;
    crash(daemon).await;
    scene.y.remove_fault(rule);
    // What was held is not carried out when its client has gone.
    assert!(came_true(Duration::from_secs(10), || std::future::ready(gate.waiting() == 0)).await);
}

/// S3-5: a killed daemon goes on with the parts that are there. An object that is another one meanwhile, or is gone, leaves
/// nothing behind.
#[tokio::test]
async fn s3_5_parts_are_taken_up_after_kill_9() {
    each([("server-side", "UploadPartCopy"), ("stream", "UploadPart")], |(way, op)| async move {
        let scene = scene(53, way, "part_size_mib = 5\nmemory_mib = 64");
        let (size, all) = if way == "stream" { (60 * MIB, 12) } else { (100 * GIB, 20) };
        let more = if way == "stream" { "" } else { "part_size_mib = 5120" };
        let scene = if more.is_empty() { scene } else { super::hand::scene(53, way, more) };
        killed_in_the_middle(&scene, "resumed", op, size, 6).await;
        let before = scene.y.calls(op);
        let mut daemon = scene.start_ok().await;
        let watch = Watch::start(&scene, daemon.client());
        all_well(&scene, &mut daemon).await;
        let after = scene.y.calls(op) - before;
        assert!(after <= all - 6, "{way}: {after} parts are copied after the crash, of {all}");
        assert_eq!(scene.y.calls("CreateMultipartUpload"), 1, "{way}");
        crash(daemon).await;
        watch.truthful().await;

        for (key, gone) in [("changed", false), ("gone", true)] {
            killed_in_the_middle(&scene, key, op, size, 3).await;
            if gone {
                scene.x.s3().delete(SOURCE, key);
            } else {
                scene.put(key, "short now");
            }
            let mut daemon = scene.start_ok().await;
            all_well(&scene, &mut daemon).await;
            let left = || scene.y.s3().uploads(STANDBY).is_empty();
            until(&daemon, &format!("{way}: of what is {key} no upload is left"), left).await;
            crash(daemon).await;
        }
        assert!(came_true(Duration::from_secs(10), || async { scene.y.sqs().messages(EVENTS).len() < 100 }).await);
    })
    .await;
}

/// Daemons that are killed again and again while long objects come and change: in the end no upload is left behind that was
/// noted, and at most one for each kill that was not yet.
#[tokio::test]
async fn s3_5_no_upload_is_left_behind_by_kills() {
    let scene = scene(55, "stream", "part_size_mib = 5\nmemory_mib = 64");
    scene.y.set_latency("UploadPart", Duration::from_millis(15));
    for round in 0..4_u64 {
        let mut daemon = scene.start().await;
        for n in 0..4 {
            put(&scene, &format!("long {n}"), NewObject::declared((11 + round) * MIB, round * 10 + n));
        }
        if round > 0 {
            scene.x.s3().delete(SOURCE, &format!("long {round}"));
        }
        let seen = scene.y.calls("UploadPart");
        until(&daemon, "it copies", || scene.y.calls("UploadPart") > seen + 3).await;
        daemon.kill9();
        daemon.wait(Duration::from_secs(10)).await.expect("it is gone");
    }
    let mut daemon = scene.start_ok().await;
    all_well(&scene, &mut daemon).await;
    let left = scene.y.s3().uploads(STANDBY);
    // Between the answer of S3 and the note of it nobody knows of an upload: the bucket's lifecycle rule does (S3-5).
    assert!(left.iter().all(|(_, parts)| parts.is_empty()), "{left:?}");
    assert!(left.len() <= 4, "{left:?}");
    for n in 0..4 {
        never_wrong(&scene, &format!("long {n}"));
    }
}
