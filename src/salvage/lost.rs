//! One key and all that happened to it after the frozen position, and the verdict on it. Pure.
//!
//! A change behind the frozen position may be in prodY all the same: what is durable there runs ahead of the position. So
//! every image that prodX went through is remembered by its digest: prodY holding one of them is our own work, and only
//! what came after it was lost. Anything else in prodY is somebody's write after the promotion.

use serde::{Deserialize, Serialize};

use crate::change::SourceTime;
use crate::stores::salvage::{Digest, Found, Image, Origin, digest_of};

/// Images of one key that are remembered. Beyond it, prodY holding one of the later ones is called a conflict.
const MOST_STEPS: usize = 1024;

/// What is to be said of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Lost, and nobody wrote it in prodY since.
    Lost,
    /// Lost, and prodY holds what prodX never had: somebody wrote it there.
    Conflict,
    /// Not in prodY, and what was there before is not known: it may have been written in prodY or not.
    Unproven,
    /// The two regions differ, found by comparison: a loss or a later write in prodY, nobody can say.
    Difference,
    /// prodY holds what prodX has: nothing to do.
    Settled,
}

impl Verdict {
    /// Every verdict that is listed, in the order of a table.
    pub const LISTED: [Verdict; 4] = [Verdict::Lost, Verdict::Conflict, Verdict::Unproven, Verdict::Difference];

    /// As in the export.
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Lost => "lost",
            Verdict::Conflict => "conflict",
            Verdict::Unproven => "unproven",
            Verdict::Difference => "difference",
            Verdict::Settled => "settled",
        }
    }
}

/// The changes of one key as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    /// The key, JSON text.
    pub(super) name: String,
    /// What was there before the first change, if that is known.
    pub(super) before: Option<Digest>,
    /// The image after each change, and when it was committed.
    pub(super) steps: Vec<(Digest, Option<SourceTime>)>,
    /// The newest image.
    pub(super) image: Option<Image>,
    /// The oldest commit.
    pub(super) first: Option<SourceTime>,
    /// The newest commit.
    pub(super) last: Option<SourceTime>,
    /// Changes.
    pub(super) changes: u64,
    pub(super) origin: Origin,
    /// The last change is an expiry of the source itself.
    pub(super) expired: bool,
}

impl Lost {
    /// The first change.
    pub(super) fn first(found: Found) -> Self {
        Self {
            name: found.name,
            before: found.before,
            steps: vec![(digest_of(found.image.as_ref()), found.at)],
            image: found.image,
            first: found.at,
            last: found.at,
            changes: 1,
            origin: found.origin,
            expired: found.expired,
        }
    }

    /// Adds what came later to the same key.
    pub(super) fn then(&mut self, later: Lost) {
        // What the stream tells says more than that two tables differ.
        if later.origin == Origin::Comparison && self.origin != Origin::Comparison {
            return;
        }
        self.steps.extend(later.steps);
        if self.steps.len() > MOST_STEPS {
            // The oldest are kept: only what was read before the fence can be in prodY. And the newest, which is the image.
            let newest = self.steps.pop();
            self.steps.truncate(MOST_STEPS - 1);
            self.steps.extend(newest);
        }
        self.first = [self.first, later.first].into_iter().flatten().min();
        (self.last, self.image, self.expired) = (later.last.max(self.last), later.image, later.expired);
        self.changes += later.changes;
        self.origin = self.origin.min(later.origin);
    }

    /// Bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        200 + self.name.len() + self.image.as_ref().map_or(0, |image| image.json.len()) + self.steps.len() * 40
    }

    /// The verdict, and the commit time of the oldest change that prodY lacks, as far as it is certain.
    pub(super) fn verdict(&self, standby: Digest) -> (Verdict, Option<SourceTime>) {
        let newest = self.steps.last().map(|step| step.0);
        if newest == Some(standby) {
            return (Verdict::Settled, None);
        }
        if self.origin == Origin::Comparison {
            return (Verdict::Difference, None);
        }
        // The latest that fits: nothing is called lost that may be there.
        if let Some(at) = self.steps.iter().rposition(|step| step.0 == standby) {
            return (Verdict::Lost, self.steps.get(at + 1).and_then(|step| step.1));
        }
        match self.before {
            Some(before) if before == standby => (Verdict::Lost, self.steps.first().and_then(|step| step.1)),
            Some(_) => (Verdict::Conflict, None),
            None => (Verdict::Unproven, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Key;

    fn image(n: u8) -> Option<Image> {
        (n > 0).then(|| Image { json: format!("{{\"v\":{n}}}"), digest: Digest([n; 16]) })
    }

    fn change(before: Option<u8>, after: u8, at: i64, origin: Origin) -> Lost {
        Lost::first(Found {
            key: Key(vec![1].into()),
            name: "{}".into(),
            at: (origin != Origin::Comparison).then(|| SourceTime::from_secs(at)),
            before: before.map(|n| Digest([n; 16])),
            image: image(after),
            origin,
            expired: false,
        })
    }

    fn all(changes: &[(Option<u8>, u8, i64, Origin)]) -> Lost {
        let mut lost: Option<Lost> = None;
        for (before, after, at, origin) in changes {
            let next = change(*before, *after, *at, *origin);
            match &mut lost {
                Some(lost) => lost.then(next),
                None => lost = Some(next),
            }
        }
        lost.unwrap()
    }

    /// FB-3.
    #[test]
    fn fb3_what_prod_y_holds_decides() {
        use Origin::Stream;
        let at = |secs| Some(SourceTime::from_secs(secs));
        let lost = all(&[(Some(1), 2, 10, Stream), (Some(2), 3, 11, Stream), (Some(3), 0, 12, Stream)]);
        for (standby, verdict) in [
            (1, (Verdict::Lost, at(10))),
            // Durable in prodY although behind the position: only what came later was lost.
            (2, (Verdict::Lost, at(11))),
            (3, (Verdict::Lost, at(12))),
            (0, (Verdict::Settled, None)),
            (9, (Verdict::Conflict, None)),
        ] {
            assert_eq!(lost.verdict(Digest([standby; 16])), verdict, "{standby}");
        }
    }

    #[test]
    fn an_image_that_came_back_counts_as_late_as_it_can() {
        use Origin::Stream;
        let lost = all(&[(Some(1), 2, 10, Stream), (Some(2), 1, 11, Stream), (Some(1), 4, 12, Stream)]);
        assert_eq!(lost.verdict(Digest([1; 16])), (Verdict::Lost, Some(SourceTime::from_secs(12))));
    }

    #[test]
    fn without_the_image_before_nobody_can_say() {
        let lost = all(&[(None, 2, 10, Origin::Stream)]);
        assert_eq!(lost.verdict(Digest([7; 16])).0, Verdict::Unproven);
        let parked = all(&[(None, 2, 10, Origin::Parked), (Some(2), 3, 12, Origin::Stream)]);
        assert_eq!((parked.verdict(Digest([7; 16])).0, parked.origin), (Verdict::Unproven, Origin::Stream));
        assert_eq!(parked.first, Some(SourceTime::from_secs(10)));
    }

    #[test]
    fn a_comparison_says_less_than_the_stream() {
        let both = all(&[(Some(1), 2, 10, Origin::Stream), (None, 3, 0, Origin::Comparison)]);
        assert_eq!((both.image.clone(), both.verdict(Digest([1; 16])).0), (image(2), Verdict::Lost));
        let only = all(&[(None, 3, 0, Origin::Comparison)]);
        assert_eq!(only.verdict(Digest([1; 16])).0, Verdict::Difference);
        assert_eq!(only.verdict(Digest([3; 16])).0, Verdict::Settled);
    }

    #[test]
    fn a_hot_key_is_bounded_and_keeps_its_oldest_steps_and_its_image() {
        let mut lost = change(Some(1), 2, 1, Origin::Stream);
        for at in 2..5000 {
            lost.then(change(Some(2), 3, at, Origin::Stream));
        }
        lost.then(change(Some(3), 4, 5000, Origin::Stream));
        assert!(lost.steps.len() <= MOST_STEPS && lost.size() < 100_000);
        assert_eq!((lost.changes, lost.verdict(Digest([4; 16])).0), (5000, Verdict::Settled));
        assert_eq!(lost.verdict(Digest([2; 16])).0, Verdict::Lost);
    }
}
