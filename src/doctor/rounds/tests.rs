//! When the rounds are made, and that they end with the fence. On tokio's paused clock.

use std::sync::Mutex;
use std::time::SystemTime;

use async_trait::async_trait;

use super::*;
use crate::change::{Method, SourceTime};
use crate::promote::Step;
use crate::seams::{SystemIds, TokioClock};
use crate::stores::contract::{Mode, Rhythm};
use crate::stores::{Examine, StoreState};
use crate::watermark::memory::MemoryIndex;
use crate::watermark::{Fence, Txn, Watermarks};

/// Counts its examinations.
struct Patient {
    id: StoreId,
    clock: SharedClock,
    looked: Mutex<Vec<Duration>>,
    silent: Mutex<bool>,
    hangs: bool,
}

#[async_trait]
impl Examine for Patient {
    async fn examine(&self, look: Look<'_>) -> Vec<Finding> {
        assert!(!look.probe, "the daemon proves its permissions by using them");
        self.looked.lock().unwrap().push(self.clock.now().mono);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let severity = if *self.silent.lock().unwrap() { Severity::Warning } else { Severity::Ok };
        vec![Finding::new(severity, "answers", "table", "a sentence")]
    }
}

impl Store for Patient {
    fn id(&self) -> &StoreId {
        &self.id
    }
    fn kind(&self) -> &'static str {
        "patient"
    }
    fn mode(&self) -> Mode<'_> {
        panic!("nobody drives it")
    }
    fn rhythm(&self) -> Rhythm {
        panic!("nobody drives it")
    }
    fn watermark(&self, _: &StoreState) -> Option<(SourceTime, Method)> {
        None
    }
    fn promote_steps(&self, _: &Watermarks) -> Vec<Arc<dyn Step>> {
        Vec::new()
    }
    fn examine(&self) -> Option<&dyn Examine> {
        Some(self)
    }
}

struct Ward {
    patients: Vec<Arc<Patient>>,
    index: MemoryIndex,
    board: Arc<Board>,
    stopping: CancellationToken,
    rounds: tokio::task::JoinHandle<()>,
}

fn ward(hangs: &[bool]) -> Ward {
    let clock = TokioClock::shared(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let patient = |(at, hangs): (usize, &bool)| {
        Arc::new(Patient {
            id: StoreId::new(&format!("p{at}")).unwrap(),
            clock: Arc::clone(&clock),
            looked: Mutex::default(),
            silent: Mutex::new(false),
            hangs: *hangs,
        })
    };
    let patients: Vec<_> = hangs.iter().enumerate().map(patient).collect();
    let (index, board, stopping) = (MemoryIndex::new(), Arc::new(Board::default()), CancellationToken::new());
    let rounds = Rounds {
        clock: Arc::clone(&clock),
        ids: Arc::new(SystemIds),
        index: Arc::new(index.clone()),
        board: Arc::clone(&board),
        stores: patients.iter().map(|p| Arc::clone(p) as Arc<dyn Store>).collect(),
        stopping: stopping.clone(),
    };
    Ward { patients, index, board, stopping, rounds: tokio::spawn(rounds.run()) }
}

async fn pass(d: Duration) {
    tokio::time::sleep(d).await;
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn at_the_start_and_then_every_hour_with_jitter() {
    let ward = ward(&[false]);
    pass(Duration::from_secs(4)).await;
    assert_eq!(ward.patients[0].looked.lock().unwrap().len(), 1);
    assert_eq!(ward.board.examination(&ward.patients[0].id).findings.len(), 1);
    pass(HOUR * 24).await;
    let looked = ward.patients[0].looked.lock().unwrap().clone();
    for pair in looked.windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause >= HOUR && pause <= HOUR + HOUR / 5 + Duration::from_secs(1), "{pause:?}");
    }
    assert!((20..=25).contains(&looked.len()), "{} rounds in a day", looked.len());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_is_asked_again_soon_and_ever_more_seldom() {
    let ward = ward(&[false]);
    *ward.patients[0].silent.lock().unwrap() = true;
    pass(HOUR / 4).await;
    let often = ward.patients[0].looked.lock().unwrap().len();
    assert!((3..=6).contains(&often), "{often}");
    pass(HOUR * 20).await;
    let all = ward.patients[0].looked.lock().unwrap().len();
    assert!(all <= often + 24, "{all}");
    *ward.patients[0].silent.lock().unwrap() = false;
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_keeps_nobody_from_being_looked_at_and_what_was_found_stays() {
    let ward = ward(&[true, false]);
    let known = Examination { at: None, findings: vec![Finding::new(Severity::Problem, "ttl", "table", "on")] };
    ward.board.examined(&ward.patients[0].id, known.clone());
    pass(BOUND + Duration::from_secs(10)).await;
    assert_eq!(ward.patients[1].looked.lock().unwrap().len(), 1);
    assert_eq!(ward.board.examination(&ward.patients[0].id), known);
}

#[tokio::test(start_paused = true)]
async fn the_fence_ends_them_and_so_does_a_stop() {
    let fenced = ward(&[false]);
    pass(Duration::from_secs(4)).await;
    let fence = Fence { promotion: "p".into(), direction_epoch: 1, at: SourceTime(0) };
    fenced.index.commit(Txn { fence: Some(fence), ..Txn::default() }).await.unwrap();
    pass(HOUR * 3).await;
    assert_eq!(fenced.patients[0].looked.lock().unwrap().len(), 1);
    assert!(fenced.rounds.is_finished());

    let stopped = ward(&[true]);
    pass(Duration::from_secs(4)).await;
    stopped.stopping.cancel();
    pass(Duration::from_millis(10)).await;
    assert!(stopped.rounds.is_finished(), "in the middle of an examination too");
}
