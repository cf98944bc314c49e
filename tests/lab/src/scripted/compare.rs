//! Two tables compared, item by item.
//!
//! Items are held in canonical form (numbers by value, sets sorted), so equal ones are equal here exactly when DynamoDB
//! would say so. Each table is read at one instant, first the one, then the other.

use super::ScriptedAws;
use super::model::schema::Key;
use super::model::value::Item;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// One key that the two tables do not agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: Key,
    /// What the first table holds.
    pub source: Option<Arc<Item>>,
    /// What the other holds.
    pub standby: Option<Arc<Item>>,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Keys that are in either table.
    pub keys: usize,
    /// Keys of the first table that the other lacks.
    pub missing: usize,
    /// Keys of the other table that the first lacks.
    pub extra: usize,
    /// Keys with two different items.
    pub different: usize,
    /// The first differences, in the order of a scan.
    pub first: Vec<Difference>,
}

impl Comparison {
    /// Whether the tables hold the same.
    pub fn same(&self) -> bool {
        self.missing + self.extra + self.different == 0
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, missing, extra, different, first } = self;
        write!(f, "{keys} keys: {missing} missing, {extra} extra, {different} different")?;
        first.iter().try_for_each(|difference| write!(f, "\n  {difference}"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, &self.standby) {
            (Some(source), Some(standby)) => {
                write!(f, "{}:", self.key)?;
                for name in source.keys().chain(standby.keys().filter(|name| !source.contains_key(*name))) {
                    let (here, there) = (source.get(name), standby.get(name));
                    if here != there {
                        write!(f, " {name} is {}, not {}", Shown(there), Shown(here))?;
                    }
                }
                Ok(())
            }
            (Some(_), None) => write!(f, "{}: missing", self.key),
            (None, _) => write!(f, "{}: extra", self.key),
        }
    }
}

/// How much of a value is shown.
const SHOWN: usize = 60;

/// A value in a message, cut when it is long.
struct Shown<'a>(Option<&'a super::Value>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.0 else { return f.write_str("absent") };
        let text = format!("{value:?}");
        if text.chars().count() <= SHOWN {
            return f.write_str(&text);
        }
        write!(f, "{}...", text.chars().take(SHOWN).collect::<String>())
    }
}

impl ScriptedAws {
    /// Compares a table with one of another server (or of this one) and lists the first `most` differences.
    #[track_caller]
    pub fn compare(&self, table: &str, other: &ScriptedAws, other_table: &str, most: usize) -> Comparison {
        self.compare_where(table, other, other_table, most, |_| true)
    }

    /// As [`Self::compare`], of the keys that `wanted` likes: without the canary's, for one.
    #[track_caller]
    pub fn compare_where(
        &self,
        table: &str,
        other: &ScriptedAws,
        other_table: &str,
        most: usize,
        wanted: impl Fn(&Key) -> bool,
    ) -> Comparison {
        // One lock after the other: the two tables may be one.
        let source = self.cell(table).lock().entries();
        let standby = other.cell(other_table).lock().entries();
        let mut source = source.into_iter().filter(|((_, key), _)| wanted(key)).peekable();
        let mut standby = standby.into_iter().filter(|((_, key), _)| wanted(key)).peekable();
        let mut found = Comparison::default();
        loop {
            let order = match (source.peek(), standby.peek()) {
                (None, None) => return found,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((here, _)), Some((there, _))) => here.cmp(there),
            };
            found.keys += 1;
            let here = if order.is_le() { source.next() } else { None };
            let there = if order.is_ge() { standby.next() } else { None };
            match (&here, &there) {
                (Some((_, here)), Some((_, there))) if here == there => continue,
                (Some(_), Some(_)) => found.different += 1,
                (Some(_), None) => found.missing += 1,
                (None, _) => found.extra += 1,
            }
            if found.first.len() < most
                && let Some(((_, key), _)) = here.as_ref().or(there.as_ref())
            {
                let key = Key::clone(key);
                found.first.push(Difference {
                    key,
                    source: here.map(|e| e.1.item()),
                    standby: there.map(|e| e.1.item()),
                });
            }
        }
    }
}
