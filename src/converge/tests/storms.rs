//! Seeded weather: late, lost, repeated and reordered events, calls that fail or whose outcome nobody knows, and kills at any
//! moment, with what was not synced lost. The watermark is never above the truth, and at the end both ends are the same.

use std::time::Duration;

use tokio::sync::oneshot;

use super::super::commands::Command;
use super::super::testing::{Dice, Weather, key, tempo};
use super::{Lab, S, seeds};
use crate::stores::Store as _;
use crate::stores::converge::Tempo;
use crate::watermark::keys::Prefix;

/// Enough for all that is late here.
const LATE: Duration = Duration::from_secs(1800);

fn weather(dice: &mut Dice) -> Weather {
    Weather {
        lost: 0,
        late: dice.below(40),
        late_by: LATE,
        twice: dice.below(50),
        copies: 4,
        fails: dice.below(15),
        unknown: dice.below(20),
        slow: Duration::from_millis(dice.below(1500)),
    }
}

fn scribble(lab: &Lab, dice: &mut Dice) {
    let letter = ['a', 'g', 'm', 'p', 'z'][dice.below(5) as usize];
    let key = key(&format!("{letter}{}", dice.below(3)));
    let object = dice.chance(60);
    lab.fake.change(&key, object);
    if dice.chance(30) {
        lab.fake.change(&key, !object);
    }
}

async fn history(seed: u64) {
    let mut dice = Dice(seed ^ 0xc0ff_ee00);
    let tempo = Tempo { delivery: LATE + S(5), walk_every: S(1200), delete_limit: 100, ..tempo() };
    let mut lab = Lab::new(seed, tempo);
    for number in 0..dice.below(12) {
        lab.fake.change_untold(&key(&format!("k{number}")), true);
    }
    (0..dice.below(4)).for_each(|number| lab.fake.litter(&key(&format!("w{number}"))));
    for life in 0..4 + dice.below(4) {
        lab.index.set_delay(Duration::from_millis(dice.below(300)));
        lab.fake.world().weather = weather(&mut dice);
        let (rounds, pause) = (1 + dice.below(60), 1 + dice.below(30));
        let draw = &mut dice;
        lab.run(async |lab, _| {
            for _ in 0..rounds {
                if draw.chance(50) {
                    scribble(lab, draw);
                }
                lab.pass(Duration::from_millis(draw.below(1000 * pause))).await;
                let down = draw.chance(4);
                lab.fake.world().source_down = down;
            }
        })
        .await;
        lab.crash(seed.wrapping_add(life));
        lab.fake.world().source_down = false;
    }
    // Fair weather; lost events are left to the walk.
    lab.index.set_delay(Duration::ZERO);
    lab.fake.world().weather = Weather { slow: Duration::from_millis(50), ..Weather::default() };
    let lost = key("lost");
    lab.run(async |lab, outside| {
        lab.until("the queue is empty", S(4000), |lab| lab.fake.calm()).await;
        let at = lab.clock.now().wall;
        lab.until("proved", S(6000), |lab| lab.through().is_some_and(|through| through > at)).await;
        assert!(lab.same(), "{:?}", lab.fake.world().differences());
        lab.fake.change_untold(&lost, true);
        let (answer, answered) = oneshot::channel();
        assert!(outside.commands.send(Command::Verify { allowed: 0, answer }).await.is_ok());
        assert!(answered.await.unwrap().is_ok());
        lab.until("only the walk finds it", S(4000), Lab::same).await;
        lab.until("certified", S(4000), |lab| lab.course().walk.is_some_and(|walk| walk.ended_at.is_some())).await;
        lab.clock.sleep(S(2)).await;
        assert_eq!(lab.rows(&Prefix::dirty(lab.fake.id())), 0);
        assert_eq!(lab.rows(&Prefix::due(lab.fake.id())), 0);
    })
    .await;
    assert_eq!(lab.violations(), 0);
}

#[test]
fn whatever_the_weather_and_whenever_it_is_killed() {
    for seed in seeds(60) {
        let run = std::panic::AssertUnwindSafe(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(history(seed));
        });
        let held = std::panic::catch_unwind(run).is_ok();
        assert!(held, "seed {seed}: run it alone with PLIMSOLL_CONVERGE_SEED={seed} cargo test --lib converge");
    }
}
