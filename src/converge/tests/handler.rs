//! A model of the handler (M4): two processes work on one key of one queue with the dirty set and the holds of the driver, in
//! every order of their steps that a seed draws, and either dies at any step. When all is quiet the standby is the source.
//!
//! Each rule is left out once, and that must be noticed: a model that finds nothing proves nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::holds::Holds;
use super::super::marks::{Marks, Ticket, Word};
use super::super::testing::{Dice, key};
use super::seeds;
use crate::change::SourceTime;
use crate::stores::converge::{Channel, Message, Receipt, Said};

/// The rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The source is looked at before the standby.
    Order,
    /// The write has no condition.
    Condition,
    /// The mark is cleared whatever came since.
    Compare,
    /// The message is forgotten before its mark is durable.
    Durable,
}

/// Where a worker stands with the key.
#[derive(Debug, Clone, Copy)]
enum Step {
    Taken,
    /// The tag of the standby was read.
    Standby {
        tag: u64,
    },
    /// The source was read, after the standby, or before it.
    Source {
        tag: Option<u64>,
        state: u64,
    },
    Both {
        tag: u64,
        state: u64,
    },
    Written,
}

/// A process; dead, it holds nothing.
#[derive(Default)]
struct Process {
    marks: Marks,
    holds: Holds,
    step: Option<Step>,
    /// Settled, and not durable yet.
    leaving: Vec<Ticket>,
}

struct Model {
    without: Without,
    dice: Dice,
    source: u64,
    /// The state and its tag.
    standby: (u64, u64),
    /// Messages by id; visible, and how often received.
    queue: BTreeMap<u64, (bool, u32)>,
    /// Who holds which.
    held: BTreeMap<u64, usize>,
    processes: [Process; 2],
    /// Copies on their way of processes that died.
    astray: Vec<(u64, Option<u64>)>,
    messages: u64,
    writes: u64,
    crashes: u64,
}

impl Model {
    fn new(seed: u64, without: Without) -> Self {
        let processes = [Process::default(), Process::default()];
        let (queue, held) = (BTreeMap::new(), BTreeMap::new());
        Self {
            without,
            dice: Dice(seed),
            source: 0,
            standby: (0, 0),
            queue,
            held,
            processes,
            astray: Vec::new(),
            messages: 0,
            writes: 0,
            crashes: 0,
        }
    }

    fn write_source(&mut self) {
        self.source += 1;
        self.writes += 1;
        self.messages += 1;
        self.queue.insert(self.messages, (true, 0));
    }

    fn receive(&mut self, who: usize) -> bool {
        let Some(id) = self.queue.iter().find(|(_, (visible, _))| *visible).map(|(id, _)| *id) else { return false };
        let (visible, times) = self.queue.get_mut(&id).unwrap();
        (*visible, *times) = (false, *times + 1);
        let receipt = Receipt { channel: Channel::Main, handle: format!("{id}:{who}").into() };
        let message = Message {
            id: id.to_string().into(),
            receipt,
            sent_at: SourceTime(id as i64),
            times: *times,
            body: "".into(),
            says: Said::Events(Vec::new()),
        };
        self.held.insert(id, who);
        let process = &mut self.processes[who];
        let Some(ticket) = process.holds.take(&message, 1, Duration::ZERO) else { return true };
        let at = SourceTime(id as i64);
        let word = Word { at, order: None, holder: Some(ticket), late: false, suspect: None, now: at };
        process.marks.tell(&key("k"), word);
        if self.without == Without::Durable {
            self.queue.remove(&id);
            self.held.remove(&id);
        }
        true
    }

    fn copy(&mut self, state: u64, only_if: Option<u64>) -> bool {
        let holds = only_if.is_none_or(|tag| tag == self.standby.1);
        if holds {
            self.standby = (state, self.standby.1 + 1);
        }
        holds
    }

    fn work(&mut self, who: usize) -> bool {
        let k = key("k");
        let Some(step) = self.processes[who].step else {
            if self.processes[who].marks.take(Duration::MAX).is_none() {
                return false;
            }
            self.processes[who].step = Some(Step::Taken);
            return true;
        };
        let (source, tag_now) = (self.source, self.standby.1);
        let next = match step {
            Step::Taken if self.without == Without::Order => Some(Step::Source { tag: None, state: source }),
            Step::Taken => Some(Step::Standby { tag: tag_now }),
            Step::Standby { tag } => Some(Step::Source { tag: Some(tag), state: source }),
            Step::Source { tag, state } => Some(Step::Both { tag: tag.unwrap_or(tag_now), state }),
            Step::Both { tag, state } => {
                let same = self.standby == (state, tag);
                let only_if = (self.without != Without::Condition).then_some(tag);
                if same || self.copy(state, only_if) {
                    Some(Step::Written)
                } else {
                    self.processes[who].marks.again(&k, Duration::ZERO, None);
                    None
                }
            }
            Step::Written => {
                let process = &mut self.processes[who];
                let mut done = Vec::new();
                match process.marks.settle(&k, Duration::MAX) {
                    Some(settling) if !settling.cleared && self.without == Without::Compare => {
                        done.extend(settling.holders);
                        done.extend(process.marks.remove(&k).map(|mark| mark.holders().to_vec()).unwrap_or_default());
                    }
                    Some(settling) => done.extend(settling.holders),
                    None => {}
                }
                for ticket in done {
                    if process.holds.done(ticket) {
                        process.leaving.push(ticket);
                    }
                }
                None
            }
        };
        self.processes[who].step = next;
        true
    }

    fn commit(&mut self, who: usize) -> bool {
        let process = &mut self.processes[who];
        let tickets = std::mem::take(&mut process.leaving);
        let receipts = process.holds.leaving(&tickets);
        for (ticket, receipt) in &receipts {
            let (id, _) = receipt.handle.split_once(':').unwrap();
            let id: u64 = id.parse().unwrap();
            // A receipt of a hold that was lost is worth nothing.
            if self.held.get(&id) == Some(&who) {
                self.queue.remove(&id);
                self.held.remove(&id);
            }
            process.holds.gone(*ticket);
        }
        !receipts.is_empty()
    }

    fn crash(&mut self, who: usize) {
        self.crashes += 1;
        if let Some(Step::Both { tag, state }) = self.processes[who].step {
            // Sent, and perhaps on its way.
            if self.dice.chance(50) {
                let only_if = (self.without != Without::Condition).then_some(tag);
                self.astray.push((state, only_if));
            }
        }
        self.processes[who] = Process::default();
        let lost: Vec<u64> = self.held.iter().filter(|(_, holder)| **holder == who).map(|(id, _)| *id).collect();
        for id in lost {
            self.held.remove(&id);
            self.queue.entry(id).and_modify(|(visible, _)| *visible = true);
        }
    }

    /// Until all is quiet; gives what the standby holds then.
    fn run(&mut self) -> (u64, u64) {
        for _ in 0..400 {
            let who = self.dice.below(2) as usize;
            match self.dice.below(12) {
                0 if self.writes < 4 => self.write_source(),
                1 if self.crashes < 2 => self.crash(who),
                2 if !self.astray.is_empty() => self.land(),
                3 | 4 => drop(self.receive(who)),
                5 => drop(self.commit(who)),
                _ => drop(self.work(who)),
            }
        }
        // What a dead process sent lands before anybody waits for it no more (A2): marks outlive that.
        while !self.astray.is_empty() {
            self.land();
        }
        loop {
            let mut busy = false;
            for who in 0..2 {
                while self.receive(who) | self.work(who) | self.commit(who) {
                    busy = true;
                }
            }
            if !busy {
                return (self.standby.0, self.source);
            }
        }
    }

    fn land(&mut self) {
        let (state, only_if) = self.astray.remove(0);
        self.copy(state, only_if);
    }
}

fn differs(seed: u64, without: Without) -> bool {
    let (standby, source) = Model::new(seed, without).run();
    standby != source
}

#[test]
fn m4_the_standby_is_the_source_when_all_is_quiet() {
    for seed in seeds(3_000) {
        assert!(!differs(seed, Without::Nothing), "seed {seed}: run it alone with PLIMSOLL_CONVERGE_SEED={seed}");
    }
}

#[test]
fn m4_each_rule_that_is_left_out_is_noticed() {
    for without in [Without::Order, Without::Condition, Without::Compare, Without::Durable] {
        let caught = (0..20_000).find(|seed| differs(*seed, without));
        assert!(caught.is_some(), "{without:?} is not noticed");
    }
}
