//! Names of objects: a pure function of the seed.

/// Texts that have broken replicators: what an encoding of a key, of a query, of a header or of XML can get wrong.
const AWKWARD: [&str; 12] = [
    "plain",
    "red flower.jpg",
    "a+b",
    "a%2Bb%zz",
    "größe/gro\u{308}ße",
    "注文🚢",
    "line\nbreak",
    "a&b<c>\"d'",
    "q?x=1#y;z",
    "(x)~!*@,$=:",
    "LONGEST",
    " end ",
];

/// The longest key, in bytes.
const LONGEST: usize = 1024;

/// What the names of the objects look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Letters and digits.
    Plain,
    /// Spaces, `+`, `%`, unicode in two forms, a line break, XML's own characters, and 1,024 bytes.
    Awkward,
}

impl Names {
    /// The name of a writer's slot: different for every (seed, writer, index, generation).
    pub(super) fn name(self, seed: u64, writer: usize, index: usize, generation: u32) -> String {
        let unique = format!("{seed}-{writer}/{index}-{generation}");
        match (self, AWKWARD.get(index % AWKWARD.len()).copied().unwrap_or_default()) {
            (Self::Plain, _) => unique,
            (Self::Awkward, "LONGEST") => format!("{unique:é<LONGEST$}")
                .chars()
                .scan(0, |bytes, character| {
                    *bytes += character.len_utf8();
                    (*bytes <= LONGEST).then_some(character)
                })
                .collect(),
            (Self::Awkward, text) => format!("{unique} {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_no_longer_than_a_key_may_be() {
        let mut names = BTreeSet::new();
        for index in 0..24 {
            for generation in 0..2 {
                names.insert(Names::Awkward.name(1, 2, index, generation));
            }
        }
        assert_eq!(names.len(), 48);
        let longest = names.iter().map(String::len).max();
        assert!(longest == Some(LONGEST) || longest == Some(LONGEST - 1), "{longest:?}");
    }
}
