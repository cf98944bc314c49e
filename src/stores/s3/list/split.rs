//! Where to cut the key space into parts of about equal size, with few and cheap looks at it. Pure.
//!
//! A look is one page behind some text: it says which key comes first there, and by how far its keys reach, how dense they
//! lie. The part that is thought to hold most is cut, again and again: in the middle of what its keys have in common, while
//! that is long (one prefix, dates), and in the middle of the alphabet that was seen there otherwise (hashes). A cut behind
//! which nothing lies shrinks its part and is no cut.
//!
//! What is thought is never more than that: a bad cut costs balance, and no key. A cut is any text; the part in front of it
//! holds the keys up to it, inclusive, for that is how a listing begins: behind a key.

use std::collections::BTreeSet;

/// A part of so many keys need not be cut: a few pages.
const SMALL: f64 = 4000.0;
/// No part is thought to hold more: what a page tells of so many is not believed.
const LARGE: f64 = 1e7;
/// The share of a part that is seen to be no more than a page.
const TINY: f64 = 0.05;
/// What a page has in common is long when it is so much longer than what its part has in common.
const DEEP: usize = 3;
/// Characters of a key that its place in the alphabet is told by.
const DIGITS: usize = 8;
/// The last of all characters.
const LAST: char = '\u{10FFFF}';

/// What a look saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The keys, in order.
    pub(super) keys: Vec<String>,
    /// Nothing comes behind them.
    pub(super) ended: bool,
}

/// A look that is wanted: the keys behind a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    part: usize,
    /// Behind this.
    pub(super) after: String,
}

#[derive(Debug, Clone)]
struct Part {
    /// Its keys lie behind this; `None`: the first part.
    after: Option<String>,
    first: String,
    /// The last key of its first page.
    seen_to: String,
    /// Keys of that page.
    seen: usize,
    /// All of its keys are on that page.
    whole: bool,
    /// No key at or behind this belongs to it.
    top: Vec<u8>,
    /// Nobody has looked what comes in front of its top.
    open: bool,
    /// Its share of all keys, as far as can be thought.
    share: f64,
    /// No place for a cut was found.
    tight: bool,
}

/// The cuts so far.
#[derive(Debug)]
pub(super) struct Cuts {
    wanted: usize,
    looks: usize,
    /// In order.
    parts: Vec<Part>,
    /// The bytes that keys were seen to be made of.
    alphabet: BTreeSet<u8>,
}

impl Cuts {
    /// Begins with the first page of all. `top`: no key is at or behind this.
    pub(super) fn new(wanted: usize, first: &Seen, top: Vec<u8>) -> Self {
        let mut cuts = Self { wanted, looks: wanted * 3 + 16, parts: Vec::new(), alphabet: BTreeSet::new() };
        let all = cuts.part(None, first, top);
        cuts.parts.extend(all.map(|all| Part { share: 1.0, open: true, ..all }));
        cuts
    }

    fn part(&mut self, after: Option<String>, seen: &Seen, top: Vec<u8>) -> Option<Part> {
        self.alphabet.extend(seen.keys.iter().flat_map(|key| key.bytes()));
        let inside = seen.keys.iter().take_while(|key| key.as_bytes() < top.as_slice()).count();
        let (first, last) = (seen.keys.first()?, seen.keys.get(inside.checked_sub(1)?)?);
        let whole = seen.ended || inside < seen.keys.len();
        Some(Part {
            after,
            first: first.clone(),
            seen_to: last.clone(),
            seen: inside,
            whole,
            top,
            open: false,
            share: 0.0,
            tight: false,
        })
    }

    /// The next look; `None`: there is no use in more.
    pub(super) fn next(&mut self) -> Option<Probe> {
        while self.looks > 0 && self.parts.len() < self.wanted {
            let large = |part: &Part| !part.whole && !part.tight && self.estimate(part) > SMALL;
            let most = self.parts.iter().enumerate().filter(|(_, part)| large(part));
            let (at, part) = most.max_by(|a, b| self.weight(a.1).total_cmp(&self.weight(b.1)))?;
            if let Some(after) = self.middle(part) {
                self.looks -= 1;
                return Some(Probe { part: at, after });
            }
            self.parts[at].tight = true;
        }
        None
    }

    /// Takes what a look saw.
    pub(super) fn learn(&mut self, probe: Probe, seen: &Seen) {
        let mut below = probe.after.clone().into_bytes();
        // The text itself may be a key.
        below.push(0);
        let old = self.parts[probe.part].clone();
        let new = self.part(Some(probe.after), seen, old.top.clone());
        (self.parts[probe.part].top, self.parts[probe.part].open) = (below, false);
        if let Some(mut new) = new {
            let left = &self.parts[probe.part];
            let (left, right) = (left.whole.then_some(left.seen), new.whole.then_some(new.seen));
            // Halves, as far as anybody can tell, but for one that was seen to be small.
            let part = match (left, right) {
                (None, None) | (Some(_), Some(_)) => 0.5,
                (Some(_), None) => 1.0 - TINY,
                (None, Some(_)) => TINY,
            };
            new.share = old.share * part;
            self.parts[probe.part].share = old.share - new.share;
            new.open = old.open;
            self.parts.insert(probe.part + 1, new);
        }
    }

    /// Behind which texts the parts begin; the first begins with the first key. Small neighbours are one.
    pub(super) fn afters(&self) -> Vec<Option<String>> {
        let mut afters: Vec<Option<String>> = vec![None];
        let mut size = 0.0;
        for (at, part) in self.parts.iter().enumerate() {
            let own = self.estimate(part);
            if at > 0 && size + own > SMALL {
                afters.push(part.after.clone());
                size = 0.0;
            }
            size += own;
        }
        afters
    }

    /// What speaks for cutting it.
    fn weight(&self, part: &Part) -> f64 {
        part.share * self.estimate(part).sqrt()
    }

    /// How many keys it may have.
    fn estimate(&self, part: &Part) -> f64 {
        if part.whole {
            return part.seen as f64;
        }
        // Characters that were not seen yet may come behind all that were.
        if part.open { self.measure(part).max(SMALL * 2.0) } else { self.measure(part) }
    }

    /// How many keys it would have if they lay as close as on its first page.
    fn measure(&self, part: &Part) -> f64 {
        let skip = common(part.first.as_bytes(), &part.top);
        let place = |bytes: &[u8]| self.place(bytes.get(skip..).unwrap_or_default()) as f64;
        let first = place(part.first.as_bytes());
        let (page, all) = (place(part.seen_to.as_bytes()) - first, place(&part.top) - first);
        if page <= 0.0 { LARGE } else { (part.seen as f64 * all / page).clamp(SMALL / 2.0, LARGE) }
    }

    /// A text between what was seen of a part and its top; `None`: there is none to think of.
    fn middle(&self, part: &Part) -> Option<String> {
        let (first, low) = (part.first.as_str(), part.seen_to.as_str());
        let fits = |text: &String| text.as_str() > low && text.as_bytes() < part.top.as_slice();
        let (shared, base) = (common(first.as_bytes(), low.as_bytes()), common(first.as_bytes(), &part.top));
        if shared > base + DEEP {
            // In the middle of what the page has in common: behind all that begins like that.
            let upper = (base + 1 + shared) / 2;
            let common = (base + 1..=upper).rev().find_map(|end| first.get(..end));
            if let Some(text) = common.map(|common| format!("{common}{LAST}")).filter(fits) {
                return Some(text);
            }
        }
        let skip = common(low.as_bytes(), &part.top);
        let place = |bytes: &[u8]| self.place(bytes.get(skip..).unwrap_or_default());
        let middle = place(low.as_bytes()).midpoint(place(&part.top));
        let mut bytes = low.as_bytes()[..skip.min(low.len())].to_vec();
        bytes.extend(self.digits(middle));
        // One character of difference is enough, and the shortest text is the most even cut.
        let shortest = (skip + 1..=bytes.len()).filter_map(|end| {
            let text = std::str::from_utf8(&bytes[..end]).ok()?.to_owned();
            fits(&text).then_some(text)
        });
        let behind = || {
            let starts = (skip + 1..=low.len()).filter_map(|end| low.get(..end));
            starts.map(|start| format!("{start}{LAST}")).find(fits)
        };
        if part.open && self.measure(part) <= SMALL {
            return behind().or_else(|| shortest.into_iter().next());
        }
        shortest.into_iter().next().or_else(behind)
    }

    /// A digit is nothing, a byte of the alphabet, or what is behind all of them.
    fn base(&self) -> u128 {
        self.alphabet.len() as u128 + 2
    }

    /// Where bytes stand in the alphabet that was seen.
    fn place(&self, bytes: &[u8]) -> u128 {
        (0..DIGITS).fold(0, |place, at| {
            let digit = bytes.get(at).map_or(0, |byte| self.alphabet.range(..*byte).count() as u128 + 1);
            place * self.base() + digit
        })
    }

    /// The bytes at a place.
    fn digits(&self, mut place: u128) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..DIGITS {
            let digit = usize::try_from(place % self.base()).unwrap_or(0);
            place /= self.base();
            let byte = |rank| self.alphabet.iter().nth(rank).or(self.alphabet.last());
            match digit.checked_sub(1).and_then(byte) {
                Some(byte) => bytes.push(*byte),
                // Nothing stands here: what would follow does not count.
                None => bytes.clear(),
            }
        }
        bytes.reverse();
        bytes
    }
}

/// How many bytes they begin with in common.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts a bucket, and gives the sizes of its parts and how many looks it took.
    fn cut(keys: &[String], wanted: usize) -> (Vec<usize>, usize) {
        let look = |after: Option<&str>| {
            let from = after.map_or(0, |after| keys.partition_point(|key| key.as_str() <= after));
            let to = (from + 1000).min(keys.len());
            Seen { keys: keys[from..to].to_vec(), ended: to == keys.len() }
        };
        let mut looks = 1;
        let mut cuts = Cuts::new(wanted, &look(None), vec![0xFF]);
        while let Some(probe) = cuts.next() {
            looks += 1;
            let seen = look(Some(&probe.after));
            cuts.learn(probe, &seen);
        }
        let afters = cuts.afters();
        assert!(afters.is_sorted() && afters[0].is_none(), "{afters:?}");
        let at = |after: &Option<String>| {
            after.as_ref().map_or(0, |after| keys.partition_point(|key| key.as_str() <= after.as_str()))
        };
        let mut edges: Vec<usize> = afters.iter().map(at).collect();
        edges.push(keys.len());
        (edges.windows(2).map(|pair| pair[1] - pair[0]).collect(), looks)
    }

    fn bucket(count: usize, name: impl Fn(usize) -> String) -> Vec<String> {
        let mut keys: Vec<String> = (0..count).map(name).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn hash(n: usize) -> String {
        use sha2::{Digest as _, Sha256};
        Sha256::digest(n.to_be_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn what_is_small_is_one_part_and_takes_one_look() {
        for count in [0, 1, 999, 1000] {
            let keys = bucket(count, hash);
            let (sizes, looks) = cut(&keys, 16);
            assert_eq!((sizes, looks), (vec![count], 1));
        }
        let (sizes, looks) = cut(&bucket(3000, hash), 16);
        assert!(sizes.len() <= 4 && looks < 12, "{sizes:?} {looks}");
    }

    /// No part is larger than so many percent of the bucket, so that eight lanes end at about the same time, and the looks are
    /// few.
    #[test]
    fn a_hundred_thousand_keys_of_any_shape_are_cut_about_evenly() {
        let n = 100_000;
        let day = |i: usize| format!("{}/{:02}/{:02}", 2020 + i / 17_000, i / 1_400 % 12 + 1, i / 50 % 28 + 1);
        let shapes: Vec<(&str, Vec<String>, usize)> = vec![
            ("hashes", bucket(n, hash), 8),
            ("one long prefix", bucket(n, |i| format!("customer-data/production/objects/{}", hash(i))), 12),
            ("numbers", bucket(n, |i| format!("image-{i:09}.jpg")), 12),
            ("numbers without zeros", bucket(n, |i| format!("{i}")), 32),
            ("days", bucket(n, |i| format!("logs/{}/{}.gz", day(i), hash(i))), 20),
            (
                "cyrillic",
                bucket(n, |i| hash(i).chars().map(|c| char::from_u32(0x400 + c as u32).unwrap()).collect()),
                12,
            ),
            ("users", bucket(n, |i| format!("users/{}/{}", i % 700, hash(i))), 40),
            ("half and half", bucket(n, |i| if i % 2 == 0 { hash(i) } else { format!("logs/{}/{i}", day(i)) }), 12),
            ("uuids below words", bucket(n, |i| format!("{}/{}", ["a", "archive", "thumbs", "z"][i % 4], hash(i))), 10),
        ];
        for (shape, keys, worst) in shapes {
            let (sizes, looks) = cut(&keys, 32);
            let most = sizes.iter().max().copied().unwrap_or(0);
            assert!(looks <= 90, "{shape}: {looks}");
            assert!(most * 100 <= keys.len() * worst, "{shape}: {sizes:?}");
        }
    }
}
