//! Single situations: a seed, a stop, the guard, blindness, what is refused, the fence.

use std::time::Duration;

use tokio::sync::oneshot;

use super::super::commands::Command;
use super::super::testing::{Weather, key, tempo};
use super::{Lab, Outside, S};
use crate::change::SourceTime;
use crate::replicate::Valve;
use crate::stores::Store as _;
use crate::stores::converge::Said;
use crate::watermark::keys::Prefix;
use crate::watermark::{Fence, Index as _, MarkRecord, Record as _, Seed, Txn};

fn seed_keys(lab: &Lab, many: usize) {
    for number in 0..many {
        let letter = ['a', 'h', 'r'][number % 3];
        lab.fake.change_untold(&key(&format!("{letter}{number}")), true);
    }
}

async fn ask(
    outside: &Outside,
    command: impl FnOnce(oneshot::Sender<Result<String, String>>) -> Command,
) -> Result<String, String> {
    let (answer, answered) = oneshot::channel();
    assert!(outside.commands.send(command(answer)).await.is_ok());
    answered.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn s3_12_a_seed_then_events_then_idle() {
    let mut lab = Lab::new(1, tempo());
    seed_keys(&lab, 40);
    lab.run(async |lab, _| {
        lab.until("seeded", S(60), Lab::seeded).await;
        assert!(lab.same());
        let began = lab.course().walk.unwrap().began;
        assert_eq!(lab.through(), Some(began), "nothing but the walk before the path is proved");
        assert!(matches!(lab.record().seed, Seed::Done { .. }));
        lab.pass(S(40)).await;
        // The path is proved by time, and drains carry it on.
        lab.pass(S(60)).await;
        let idle = lab.clock.now().wall.since(lab.through().unwrap());
        assert!(idle < S(75), "{idle:?}: D and a drain");
        lab.fake.change(&key("a0"), true);
        lab.fake.change(&key("zz"), true);
        lab.fake.change(&key("h1"), false);
        let at = lab.clock.now().wall;
        lab.until("same", S(10), |lab| lab.same() && lab.fake.calm()).await;
        lab.until("proved", S(80), |lab| lab.through().unwrap() >= at).await;
        assert_eq!(lab.rows(&Prefix::dirty(lab.fake.id())), 0);
        assert_eq!(lab.rows(&Prefix::due(lab.fake.id())), 0);
        assert_eq!(lab.vitals().backlog_items, 0);
    })
    .await;
    assert_eq!(lab.violations(), 0);
    assert_eq!(lab.course().untold, 0);
}
