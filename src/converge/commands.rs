//! What an operator asks of a driver. It is answered when it is durable.

use tokio::sync::oneshot;

use super::driver::Driver;
use super::walk;
use crate::watermark::{Seed, VerifyWish, Wanted};

/// Takes what came of a command.
pub(super) type Answer = oneshot::Sender<Result<String, String>>;

/// A command.
pub(super) enum Command {
    /// Compare every key as if nothing was known of it.
    Reseed {
        /// How many keys of the standby may be removed.
        allowed: u64,
        /// What came of it, in words.
        answer: Answer,
    },
    /// Walk both ends.
    Verify {
        /// How many keys of the standby may be removed.
        allowed: u64,
        /// What came of it, in words.
        answer: Answer,
    },
}

impl Driver {
    pub(super) fn on_command(&mut self, command: Command, closed: bool) {
        let cut = closed || self.frozen;
        let no = || Err("a promotion has cut the flow from prodX: nothing is compared or copied any more".to_owned());
        let (result, answer) = match command {
            Command::Reseed { answer, .. } | Command::Verify { answer, .. } if cut => (no(), answer),
            Command::Reseed { allowed, answer } => (self.wish_reseed(allowed), answer),
            Command::Verify { allowed, answer } => (self.wish_verify(allowed), answer),
        };
        match result {
            Ok(words) => {
                self.pending.answers.push((words, answer));
                self.pending.decision();
            }
            // Whoever asked may be gone.
            Err(why) => drop(answer.send(Err(why))),
        }
    }

    /// Lets the walk under way remove more, if there is one and it may not remove so many yet.
    fn allow(&mut self, allowed: u64) -> Option<String> {
        let walk = self.course_mut().walk.as_mut().filter(|walk| walk.ended_at.is_none() && allowed > walk.allowed)?;
        walk.allowed = allowed;
        self.shelf.again();
        Some(format!("the walk under way may remove up to {allowed} keys of prodY"))
    }

    fn wish_reseed(&mut self, allowed: u64) -> Result<String, String> {
        if self.record.incarnation.is_none() {
            return Err("the source has not been seen yet; it is copied by itself".to_owned());
        }
        if self.record.seed == Seed::Pending && self.record.wanted.is_none() {
            if let Some(words) = self.allow(allowed) {
                return Ok(words);
            }
            if let Some(walk) = self.course().walk.as_ref().filter(|walk| walk.ended_at.is_none()) {
                return Err(format!(
                    "a copy is under way since {}; it goes on by itself (to let it remove more keys of prodY, say how many)",
                    walk.began
                ));
            }
        }
        let now = self.deps.clock.now();
        self.begin_anew(false);
        self.record.wanted = Some(Wanted { at: now.wall, allowed });
        Ok("every key will be compared anew; the watermark is undefined until that is complete".to_owned())
    }

    fn wish_verify(&mut self, allowed: u64) -> Result<String, String> {
        if let Some(words) = self.allow(allowed) {
            return Ok(words);
        }
        if self.record.seed == Seed::Pending {
            return Err("the store is being copied, which looks at every key by itself".to_owned());
        }
        if let Some(walk) = self.course().walk.as_ref().filter(|walk| walk::listing(Some(walk))) {
            return Ok(format!("a walk of both ends is under way since {}; it goes on", walk.began));
        }
        let now = self.deps.clock.now();
        self.record.verify_wanted = Some(VerifyWish { at: now.wall, repair: true, allowed });
        Ok("prodX and prodY will be compared, and what differs is made the same".to_owned())
    }
}
