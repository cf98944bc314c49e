//! The steps that an operator configures, against real processes and a real listener; and the record of a promotion on
//! the real index.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use plimsoll::change::{Method, SourceTime, StoreId};
use plimsoll::config::{Promote, StepConfig, StepKind};
use plimsoll::promote::{
    CatchUp, Context, Entry, Flow, IndexAuthority, Inputs, Journal, Kept, KeyRecord, Phase, PlanRecord, Principal,
    Promotions, Repeat, Request, Role, Secs, Stage, Step, StepError, World, gate, plan, steps,
};
use plimsoll::rpo::Terms;
use plimsoll::seams::{SharedClock, SystemClock, SystemIds, timeout};
use plimsoll::supervise::Tasks;
use plimsoll::watermark::records::Identity;
use plimsoll::watermark::rocks::{self, Open, RocksIndex};
use plimsoll::watermark::{Index, Mark, Seed, StoreRecord, Txn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn sh(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(String::from).to_vec()
}

fn configured(what: StepKind) -> Arc<dyn Step> {
    steps::make(&StepConfig {
        id: "step".into(),
        needs: vec!["other".into()],
        required: true,
        deadline: Duration::from_secs(30),
        what,
    })
}

fn command(run: Vec<String>, check: Option<Vec<String>>) -> Arc<dyn Step> {
    configured(StepKind::Command { run, check, repeat: Repeat::Never })
}

async fn act(step: &dyn Step) -> Result<(), StepError> {
    let clock = SystemClock::shared();
    step.act(&Context { clock: clock.as_ref(), promotion: "p1", attempt: 3 }).await
}

async fn check(step: &dyn Step) -> Result<World, StepError> {
    let clock = SystemClock::shared();
    step.check(&Context { clock: clock.as_ref(), promotion: "p1", attempt: 3 }).await
}

/// Waits, bounded, until a file holds a process id.
async fn pid_in(file: &Path) -> u32 {
    for _ in 0..500 {
        if let Some(pid) = std::fs::read_to_string(file).ok().and_then(|t| t.trim().parse().ok()) {
            return pid;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} was never written", file.display());
}

/// Is it there, and not a zombie?
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

async fn is_gone(pid: u32) -> bool {
    for _ in 0..500 {
        if !lives(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn a_command_is_told_what_it_is_for_and_has_no_input() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("said");
    let script =
        format!("read x; echo \"[$x] $PLIMSOLL_PROMOTION $PLIMSOLL_STEP $PLIMSOLL_ATTEMPT\" > {}", file.display());
    act(command(sh(&script), None).as_ref()).await.unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "[] p1 step 3\n");
}

#[tokio::test]
async fn exit_codes_of_run_and_check() {
    let failed = act(command(sh("echo out; echo reason >&2; exit 7"), None).as_ref()).await.unwrap_err();
    assert_eq!(failed, StepError::Unknown("/bin/sh ended with 7: reason | out".into()));
    let killed = act(command(sh("kill -9 $$"), None).as_ref()).await.unwrap_err();
    assert_eq!(killed, StepError::Unknown("/bin/sh was killed by a signal".into()));
    let missing = act(command(vec!["/no/such/program".into()], None).as_ref()).await.unwrap_err();
    assert!(matches!(missing, StepError::Refused(why) if why.contains("/no/such/program cannot be started")));
    let checked = |script: &'static str| async move { check(command(sh("true"), Some(sh(script))).as_ref()).await };
    assert_eq!(checked("echo primary").await, Ok(World::Done("primary".into())));
    assert_eq!(checked("exit 1").await, Ok(World::NotStarted(String::new())));
    assert_eq!(checked("echo no; exit 2").await, Err(StepError::Failed("/bin/sh ended with 2: no".into())));
    assert_eq!(check(command(sh("true"), None).as_ref()).await, Ok(World::Unknowable));
}

#[tokio::test]
async fn output_is_bounded_and_never_blocks_the_program() {
    let step = command(
        sh(
            "i=0; while [ $i -lt 20000 ]; do echo 'a long line of output that fills the pipe'; i=$((i+1)); done; echo the end; exit 1",
        ),
        None,
    );
    let StepError::Unknown(why) = act(step.as_ref()).await.unwrap_err() else { panic!("an exit code") };
    assert!(why.len() < 4096 && why.ends_with("the end"), "{} bytes", why.len());
}

#[tokio::test]
async fn a_deadline_kills_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let (child, grandchild) = (dir.path().join("child"), dir.path().join("grandchild"));
    let script = format!(
        "echo $$ > {}; (sh -c 'echo $$ > {}; exec sleep 600' &) ; sleep 600",
        child.display(),
        grandchild.display()
    );
    let step = command(sh(&script), None);
    let clock = SystemClock::shared();
    let pids: PathBuf = grandchild.clone();
    let both = async {
        tokio::select! {
            ended = act(step.as_ref()) => panic!("it ended: {ended:?}"),
            pid = pid_in(&pids) => pid,
        }
    };
    // Dropping the act is what the executor's deadline does.
    let grandchild = timeout(clock.as_ref(), Duration::from_secs(20), both).await.expect("it starts");
    let child = pid_in(&child).await;
    assert!(is_gone(grandchild).await, "the grandchild lives on");
    assert!(is_gone(child).await, "the child lives on");
}

#[tokio::test]
async fn a_daemon_that_a_command_starts_lives_on_and_does_not_hold_it_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("daemon");
    let step = command(sh(&format!("(sh -c 'echo $$ > {}; exec sleep 60' &); echo started", file.display())), None);
    let clock = SystemClock::shared();
    let ended = timeout(clock.as_ref(), Duration::from_secs(20), act(step.as_ref())).await;
    assert_eq!(ended, Some(Ok(())), "the daemon holds the pipe, and nobody waits for it");
    let daemon = pid_in(&file).await;
    assert!(lives(daemon));
    // It is ours: it was started by this test.
    let killed = std::process::Command::new("kill").arg(daemon.to_string()).status().unwrap();
    assert!(killed.success());
}

#[test]
fn the_calls_of_a_plan_can_be_typed() {
    let words = ["aws", "rds", "promote", "--name", "it's a db", ""].map(String::from).to_vec();
    let d = command(words, Some(vec!["/opt/check".into()])).describe();
    assert_eq!(d.calls, [r"aws rds promote --name 'it'\''s a db' ''", "/opt/check   (check)"]);
    assert_eq!((d.phase, d.needs.len(), d.reversible), (Phase::Commands, 1, false));
}

/// A listener that answers each connection with the next of these status lines, then with the last for ever.
async fn listener(statuses: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut next = statuses.iter();
        let mut status = statuses[0];
        while let Ok((mut socket, _)) = listener.accept().await {
            status = next.next().copied().unwrap_or(status);
            let mut head = [0; 1024];
            let _read = socket.read(&mut head).await;
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nlocation: /else\r\nconnection: close\r\n\r\n");
            let _written = socket.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/health")
}

#[tokio::test]
async fn a_probe_waits_for_the_status_that_was_asked_for() {
    let url = listener(&["503 Service Unavailable", "302 Found", "200 OK"]).await;
    let step = configured(StepKind::HttpProbe { url: url.clone(), expect_status: 200 });
    assert_eq!(step.describe().calls, [format!("GET {url} until it answers 200")]);
    assert_eq!(step.describe().phase, Phase::Verify);
    let waiting = |status: u16| Ok(World::InProgress(format!("{url} answered {status}, waiting for 200")));
    assert_eq!(check(step.as_ref()).await, waiting(503));
    assert_eq!(check(step.as_ref()).await, waiting(302), "a redirect is an answer of its own");
    assert_eq!(check(step.as_ref()).await, Ok(World::Done(format!("{url} answered 200"))));
}

#[tokio::test]
async fn a_probe_of_nobody_waits_and_one_of_nonsense_is_refused() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = configured(StepKind::HttpProbe { url: format!("http://{free}/"), expect_status: 200 });
    let Ok(World::InProgress(why)) = check(nobody.as_ref()).await else { panic!("it waits") };
    assert!(why.contains("refused"), "{why}");
    let nonsense = configured(StepKind::HttpProbe { url: "not a url".into(), expect_status: 200 });
    assert!(matches!(check(nonsense.as_ref()).await, Err(StepError::Refused(_))));
}

/// A flow that has nothing to say.
struct Still;

#[async_trait]
impl Flow for Still {
    async fn catch_up(&self, _: Duration) -> Vec<CatchUp> {
        Vec::new()
    }
    async fn close(&self) -> Result<(), String> {
        Ok(())
    }
    fn reopen(&self) {}
}

fn opened(path: &Path, clock: &SharedClock) -> (Arc<RocksIndex>, Tasks) {
    let tasks = Tasks::new();
    let identity = Identity { app: "shop".into(), primary: "x".into(), standby: "y".into() };
    let open =
        Open { path: path.to_owned(), identity, tasks: tasks.clone(), clock: Arc::clone(clock), on_commit: None };
    (rocks::open(open).expect("the index opens"), tasks)
}

/// A promotion that a process journaled and did not live to carry out: the next one takes it up from RocksDB, runs its
/// commands, and the one after that finds it done.
#[tokio::test]
async fn sg1_a_promotion_is_taken_up_from_the_real_index() {
    let dir = tempfile::tempdir().unwrap();
    let (path, done) = (dir.path().join("index"), dir.path().join("done"));
    let clock = SystemClock::shared();
    let terms = Terms { objective: Duration::from_secs(3600), period: Duration::from_secs(2) };
    let stores = vec![(StoreId::new("orders").unwrap(), terms)];
    let promote = Promote {
        catch_up: Duration::from_secs(1),
        steps: vec![StepConfig {
            id: "switch".into(),
            needs: Vec::new(),
            required: true,
            deadline: Duration::from_secs(30),
            what: StepKind::Command {
                run: sh(&format!("echo once >> {}", done.display())),
                check: Some(sh(&format!("test -e {}", done.display()))),
                repeat: Repeat::Checked,
            },
        }],
    };

    let (index, tasks) = opened(&path, &clock);
    let record = StoreRecord {
        seed: Seed::Done { at: SourceTime(0) },
        through: Some(clock.now().wall),
        method: Some(Method::Verified),
        ..StoreRecord::default()
    };
    let marks = vec![(stores[0].0.clone(), Mark { record, proved: None })];
    index.commit(Txn { marks, ..Txn::default() }).await.unwrap();
    let request = Request::failover("a test");
    let planned = plan::plan(&promote, &stores, Vec::new()).unwrap();
    let used = KeyRecord { promotion: "p1".into(), request_hash: request.hash() };
    let first = Entry::Requested {
        gate: gate::judge(clock.now(), Duration::ZERO, &index.snapshot(), &stores, &request),
        request,
        by: Principal { name: "alice".into(), role: Role::Approver },
        key: "k".into(),
        plan: PlanRecord {
            hash: planned.hash,
            steps: planned.steps,
            objectives: planned.objectives,
            rto_seconds: Secs(Duration::from_secs(900)),
        },
    };
    let authority = Arc::new(IndexAuthority(Arc::clone(&index) as Arc<dyn Index>));
    Journal::begin("p1".into(), authority, Arc::clone(&clock), "k", &used, vec![first]).await.unwrap();
    index.close().await;
    tasks.shutdown(Duration::from_secs(10)).await;
    drop(index);

    for process in ["the second", "the third"] {
        let (index, tasks) = opened(&path, &clock);
        let kept =
            stores.iter().map(|(id, terms)| Kept { id: id.clone(), terms: *terms, steps: Arc::new(|_| Vec::new()) });
        let promotions = Promotions::open(Inputs {
            index: Arc::clone(&index) as Arc<dyn Index>,
            flow: Arc::new(Still),
            clock: Arc::clone(&clock),
            ids: Arc::new(SystemIds),
            tasks: tasks.clone(),
            stores: kept.collect(),
            promote: promote.clone(),
            rto: Duration::from_secs(900),
            skew: Arc::new(|| Duration::ZERO),
        })
        .unwrap();
        let taken = promotions.resume_all().await;
        assert_eq!(taken.len(), usize::from(process == "the second"), "{process}");
        let wait = async {
            loop {
                let mut events = promotions.events("p1", None).unwrap();
                if events.over {
                    break;
                }
                events.count.changed().await.unwrap();
            }
        };
        timeout(clock.as_ref(), Duration::from_secs(30), wait).await.expect("it ends");
        let report = promotions.get("p1").unwrap();
        assert_eq!(report.stage, Stage::Completed, "{process}\n{}", report.text());
        assert_eq!(std::fs::read_to_string(&done).unwrap(), "once\n", "{process}");
        assert_eq!(index.snapshot().fence.as_ref().unwrap().promotion, "p1");
        drop(promotions);
        index.close().await;
        tasks.shutdown(Duration::from_secs(10)).await;
        drop(index);
    }
}
