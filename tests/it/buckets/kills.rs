//! Processes that are killed, stopped and started with nothing, and a prodX that is gone: what was heard is not forgotten, and
//! nothing is proved that is not so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use plimsoll_lab::daemon::{Daemon, Status, binary};
use plimsoll_lab::random::Random;
use plimsoll_lab::scripted::s3::{EventRoute, EventTwist, NewObject};
use plimsoll_lab::scripted::sqs::QueueDepth;
use plimsoll_lab::scripted::{Door, Fault, FaultRule, Gate, ScriptedAws};

use super::events::{forgotten, until};
use super::fixture::{Ask as _, EVENTS, SOURCE, STANDBY, Scene, UPLOADS, Watch, field};

const STOP: Duration = Duration::from_secs(20);

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(otherwise)
}

/// Changes of prodX until it is stopped.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<u64>,
}

impl Load {
    /// Puts and some deletes on `keys` keys.
    pub(super) fn start(x: &Arc<ScriptedAws>, keys: usize, per_second: u32, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (x, stopped) = (Arc::clone(x), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let (mut random, mut written) = (Random::fork(seed, 7), 0);
            while !stopped.load(Ordering::SeqCst) {
                written += 1;
                let key = format!("k{}", random.below(keys));
                if random.chance(0.2) {
                    x.s3().delete(SOURCE, &key);
                } else {
                    let text = format!("{written} {}", "x".repeat(random.below(2_000)));
                    x.s3().put(SOURCE, &key, NewObject::bytes(text.into_bytes()));
                }
                let pause = Duration::from_secs(1) / per_second;
                tokio::time::sleep(random.pause(pause / 2, pause * 3 / 2)).await;
            }
            written
        });
        Self { stop, task }
    }

    /// Stops it; nothing changes after this.
    pub(super) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("the load ends well")
    }
}

/// What was taken from the queue is forgotten only when its copy is durable.
#[tokio::test]
async fn i3_a_message_outlives_a_process_that_is_killed_before_its_copy() {
    let scene = Scene::new();
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let (before, after) = (Gate::new(), Gate::new());
    scene.y.fault(FaultRule::on("CopyObject").object("before").times(1).fault(Fault::Hold(before.clone())));
    scene.y.fault(FaultRule::on("CopyObject").object("after").times(1).fault(Fault::HoldAnswer(after.clone())));
    scene.put("before", "x");
    scene.put("after", "x");
    before.until_arrived(1).await;
    after.until_arrived(1).await;
    // Longer than any commit waits.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.y.sqs().messages(EVENTS).len(), 2);
    daemon.kill9();
    assert_eq!(scene.y.s3().count(STANDBY), 1, "the one without an answer");
    let mut daemon = scene.start().await;
    scene.converge(&daemon).await;
    forgotten(&scene).await;
    scene.proven(&mut daemon).await;
    assert_eq!(scene.y.s3().versions(STANDBY, "after").len(), 1, "what was there already is not copied again");
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}

/// A stop gives back what is held: the next process has it at once.
#[tokio::test]
async fn s3_14_a_stop_gives_messages_back() {
    let scene = Scene::with(21, EventRoute::to(EVENTS), "server-side", "visibility = \"40s\"");
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    scene.y.fault(FaultRule::on("CopyObject").times(8).fault(Fault::InternalError));
    let gate = Gate::new();
    scene.y.fault(FaultRule::on("CopyObject").object("stuck").fault(Fault::Hold(gate.clone())));
    (0..30).for_each(|number| scene.put(&format!("k{number}"), "x"));
    scene.put("stuck", "x");
    gate.until_arrived(1).await;
    let status = daemon.terminate(STOP).await;
    assert!(status.success(), "{status}");
    let left = scene.y.sqs().messages(EVENTS);
    assert!(!left.is_empty() && left.iter().all(|message| !message.hidden), "{left:?}");
    gate.open();
    let began = Instant::now();
    let daemon = scene.start().await;
    scene.converge(&daemon).await;
    forgotten(&scene).await;
    assert!(began.elapsed() < Duration::from_secs(35), "only when they came back by themselves: {:?}", began.elapsed());
    watch.truthful().await;
}

/// The index is gone and the standby is full: a walk compares, and copies only what differs.
#[tokio::test]
async fn s3_2_a_lost_index_beside_a_full_standby_seeds_itself_and_copies_nothing_twice() {
    let scene = Scene::new();
    (0..400).for_each(|number| scene.put(&format!("k{number}"), &number.to_string()));
    let mut daemon = scene.start_ok().await;
    scene.proven(&mut daemon).await;
    daemon.kill9();
    std::fs::remove_dir_all(scene.home.index()).expect("it was there");
    scene.put("k7", "changed meanwhile");
    scene.x.s3().delete(SOURCE, "k8");
    let (copies, puts) = (scene.y.calls("CopyObject"), scene.y.calls("PutObject"));
    let mut daemon = scene.start().await;
    let watch = Watch::start(&scene, daemon.client());
    daemon.reach(|status| status.state(UPLOADS) == "ok").await;
    scene.converge(&daemon).await;
    scene.proven(&mut daemon).await;
    forgotten(&scene).await;
    assert_eq!((scene.y.calls("CopyObject") - copies, scene.y.calls("PutObject") - puts), (1, 0));
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}

fn bound(status: &Status) -> f64 {
    field(status, "rpo_upper_bound_seconds").as_f64().unwrap_or_else(|| panic!("no bound: {status}"))
}

/// prodX is gone, and with it events that were on their way: the watermark stops before them, however empty the queue is.
async fn gone(door: Door, seed: u64) {
    let scene = Scene::with(seed, EventRoute::to(EVENTS), "server-side", "");
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let load = Load::start(&scene.x, 20, 40, seed);
    scene.proven(&mut daemon).await;
    load.stop().await;
    scene.converge(&daemon).await;
    scene.x.s3().hold_events(SOURCE);
    scene.x.set_door(door);
    let shut = SystemTime::now();
    scene.put("on its way", "x");
    let status = daemon.reach(|status| status.state(UPLOADS) == "unknown").await;
    assert!(status.watermark(UPLOADS).is_some_and(|w| w < shut), "{status}");
    let first = bound(&status);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = daemon.now().await;
    assert!(bound(&status) > first + 1.0, "{status}");
    // It comes back, with what it had.
    scene.x.s3().release_events(SOURCE);
    scene.x.set_door(Door::Open);
    scene.converge(&daemon).await;
    scene.proven(&mut daemon).await;
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}

#[tokio::test]
async fn s3_f3_nothing_is_proved_of_a_prod_x_that_is_cut_off() {
    gone(Door::Cut, 23).await;
}

#[tokio::test]
async fn s3_f3_nothing_is_proved_of_a_prod_x_that_hangs() {
    gone(Door::Blackhole, 24).await;
}

/// A write that was given up lands at most this much later: below `max_request_life`.
const STRAY: Duration = Duration::from_millis(150);

/// Short, because a life is short and begins with waiting for the writes of the last one.
const RHYTHM: &str = r#"attempt_timeout = "500ms"
transfer_timeout = "1s"
max_request_life = "1s"
delivery = "4s""#;

fn faults(x: &ScriptedAws, y: &ScriptedAws) {
    x.fault(FaultRule::on("*").probability(0.005).fault(Fault::InternalError));
    x.fault(FaultRule::on("*").probability(0.005).fault(Fault::LoseAnswer));
    y.fault(FaultRule::on("*").probability(0.01).fault(Fault::Throttle));
    y.fault(FaultRule::on("*").probability(0.01).fault(Fault::LoseAnswer));
    y.fault(FaultRule::on("*").probability(0.01).fault(Fault::LoseAnswerLate { delay: STRAY }));
    y.fault(FaultRule::on("DeleteMessageBatch").probability(0.1).fault(Fault::Unprocessed { keep: 3 }));
    x.s3().twist(FaultRule::on("*").probability(0.05).fault(EventTwist::Duplicate(2)));
}

async fn kill_loop(transfer: &str, seeded: u64) {
    let restarts = number("PLIMSOLL_TORTURE_RESTARTS", 20).div_ceil(2).min(1_000);
    let seed = number("PLIMSOLL_TORTURE_SEED", u64::from(std::process::id())) + seeded;
    println!("kill loop of a bucket, {transfer}: {restarts} restarts, PLIMSOLL_TORTURE_SEED={}", seed - seeded);
    let mut random = Random::fork(seed, 3);
    let route = EventRoute::to(EVENTS).jitter(Duration::from_millis(300));
    let scene = Scene::with(seed % 1000, route, transfer, RHYTHM);
    let mut daemon = scene.start_ok().await;
    faults(&scene.x, &scene.y);
    let watch = Watch::start(&scene, daemon.client());
    let load = Load::start(&scene.x, 40, 40, seed);
    for _ in 0..restarts {
        let (least, most) = if random.chance(0.4) { (10, 600) } else { (1_000, 3_500) };
        tokio::time::sleep(random.pause(Duration::from_millis(least), Duration::from_millis(most))).await;
        daemon.kill9();
        // What it sent may still land; the next life writes nothing before that is over.
        tokio::time::sleep(STRAY + Duration::from_millis(50)).await;
        daemon = Daemon::spawn(&binary().expect("cargo built it"), &scene.home).expect("it starts");
    }
    daemon.wait_ready(super::fixture::LONG).await.expect("it answers");
    let began = Instant::now();
    let written = load.stop().await;
    scene.x.clear_faults();
    scene.y.clear_faults();
    scene.converge(&daemon).await;
    let status = scene.proven(&mut daemon).await;
    forgotten(&scene).await;
    assert_eq!(field(&status, "coverage")["untold"], 0, "{status}");
    let judged = watch.truthful().await;
    println!("{transfer}: {written} changes, {judged} watermarks judged, proved {:?} after the last", began.elapsed());
}

#[tokio::test]
async fn kill_loop_of_a_bucket_that_s3_copies() {
    kill_loop("server-side", 0).await;
}

#[tokio::test]
async fn kill_loop_of_a_bucket_that_goes_through_us() {
    kill_loop("stream", 1).await;
}

/// A message was handed out, and the process that it was handed to never had it: it is hidden from everybody, and the queue
/// says that there is nothing.
#[tokio::test]
async fn s3_14_what_a_killed_process_was_given_is_waited_for() {
    let scene = Scene::with(25, EventRoute::to(EVENTS), "server-side", "visibility = \"4s\"");
    let mut daemon = scene.start_ok().await;
    let watch = Watch::start(&scene, daemon.client());
    let gate = Gate::new();
    let polls = FaultRule::on("ReceiveMessage").queue(EVENTS).fault(Fault::HoldAnswer(gate.clone()));
    let polls = scene.y.fault(polls);
    // Polls from before it are over.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    scene.put("k", "x");
    until("it is handed out", || scene.y.sqs().messages(EVENTS).iter().all(|message| message.hidden)).await;
    daemon.kill9();
    scene.y.remove_fault(polls);
    gate.open();
    scene.y.sqs().lie(EVENTS, QueueDepth::default(), Duration::from_secs(6));
    let mut daemon = scene.start().await;
    scene.converge(&daemon).await;
    scene.proven(&mut daemon).await;
    forgotten(&scene).await;
    assert_eq!(daemon.violations().await, 0.0);
    watch.truthful().await;
}
