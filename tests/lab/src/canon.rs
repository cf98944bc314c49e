//! Items in canonical form, so that two items are equal exactly when DynamoDB would say so.
//!
//! Numbers are compared by value (`1.0` = `1` = `1E0`), sets without order, everything else exactly; strings are not
//! normalised, an empty string is not an absent one. A [`Digest`] stands for a whole item: the ledger keeps one per
//! change, whatever the item's size.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest as _, Sha256};

/// An attribute value in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canon {
    /// A string.
    S(String),
    /// A number as `[-]DIGITSeEXPONENT` without leading or trailing zeros; zero is `0`.
    N(String),
    /// Bytes.
    B(Vec<u8>),
    /// A boolean.
    Bool(bool),
    /// The null value.
    Null,
    /// A set of strings.
    SS(BTreeSet<String>),
    /// A set of numbers.
    NS(BTreeSet<String>),
    /// A set of byte strings.
    BS(BTreeSet<Vec<u8>>),
    /// A list.
    L(Vec<Canon>),
    /// A map.
    M(BTreeMap<String, Canon>),
    /// A type this SDK does not know; never equal to anything that was written.
    Unknown,
}

/// An item: its attributes by name.
pub type Item = BTreeMap<String, Canon>;

/// A primary key: the one or two key attributes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(BTreeMap<String, Canon>);

/// SHA-256 over the canonical form of an item.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl From<&AttributeValue> for Canon {
    fn from(value: &AttributeValue) -> Self {
        match value {
            AttributeValue::S(text) => Self::S(text.clone()),
            AttributeValue::N(number) => Self::N(number_of(number)),
            AttributeValue::B(bytes) => Self::B(bytes.as_ref().to_vec()),
            AttributeValue::Bool(flag) => Self::Bool(*flag),
            AttributeValue::Null(_) => Self::Null,
            AttributeValue::Ss(set) => Self::SS(set.iter().cloned().collect()),
            AttributeValue::Ns(set) => Self::NS(set.iter().map(|number| number_of(number)).collect()),
            AttributeValue::Bs(set) => Self::BS(set.iter().map(|bytes| bytes.as_ref().to_vec()).collect()),
            AttributeValue::L(list) => Self::L(list.iter().map(Self::from).collect()),
            AttributeValue::M(map) => Self::M(map.iter().map(|(name, value)| (name.clone(), value.into())).collect()),
            _ => Self::Unknown,
        }
    }
}

/// An item as the SDK gives it, in canonical form.
pub fn item<'a>(attributes: impl IntoIterator<Item = (&'a String, &'a AttributeValue)>) -> Item {
    attributes.into_iter().map(|(name, value)| (name.clone(), value.into())).collect()
}

/// The digest of an item.
pub fn digest(item: &Item) -> Digest {
    let mut hash = Sha256::new();
    feed_map(&mut hash, item);
    Digest(hash.finalize().into())
}

impl Key {
    /// The key of an item, given the names of the key attributes. An attribute that is missing is left out.
    pub fn of(item: &Item, names: &[&str]) -> Self {
        Self(names.iter().filter_map(|name| Some(((*name).to_owned(), item.get(*name)?.clone()))).collect())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, value) in &self.0 {
            write!(f, "{separator}{name}={value}")?;
            separator = " ";
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Canon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S(text) => write!(f, "{text:?}"),
            Self::N(number) => write!(f, "{number}"),
            Self::B(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Canonical text of a decimal number. It shares no code with the daemon's keys and the scripted server's table on
/// purpose: a judge must not repeat the mistake of the judged. Text that is no number is kept as it is, so that it equals only itself.
fn number_of(text: &str) -> String {
    decimal(text).unwrap_or_else(|| text.to_owned())
}

fn decimal(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if (whole.is_empty() && fraction.is_empty()) || !(whole.bytes().chain(fraction.bytes())).all(|c| c.is_ascii_digit())
    {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    let dropped = digits.len() - kept.len();
    let exponent = exponent - i64::try_from(fraction.len()).ok()? + i64::try_from(dropped).ok()?;
    let significant = kept.trim_start_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    Some(format!("{}{significant}e{exponent}", if negative { "-" } else { "" }))
}

/// Every part is preceded by its type and its length, so that no two items have one encoding.
fn feed(hash: &mut Sha256, value: &Canon) {
    match value {
        Canon::S(text) => feed_bytes(hash, b'S', text.as_bytes()),
        Canon::N(number) => feed_bytes(hash, b'N', number.as_bytes()),
        Canon::B(bytes) => feed_bytes(hash, b'B', bytes),
        Canon::Bool(flag) => feed_bytes(hash, b'?', &[u8::from(*flag)]),
        Canon::Null => feed_bytes(hash, b'0', &[]),
        Canon::SS(set) => {
            feed_count(hash, b's', set.len());
            set.iter().for_each(|text| feed_bytes(hash, b'S', text.as_bytes()));
        }
        Canon::NS(set) => {
            feed_count(hash, b'n', set.len());
            set.iter().for_each(|number| feed_bytes(hash, b'N', number.as_bytes()));
        }
        Canon::BS(set) => {
            feed_count(hash, b'b', set.len());
            set.iter().for_each(|bytes| feed_bytes(hash, b'B', bytes));
        }
        Canon::L(list) => {
            feed_count(hash, b'L', list.len());
            list.iter().for_each(|value| feed(hash, value));
        }
        Canon::M(map) => feed_map(hash, map),
        Canon::Unknown => feed_bytes(hash, b'!', &[]),
    }
}

fn feed_map(hash: &mut Sha256, map: &BTreeMap<String, Canon>) {
    feed_count(hash, b'M', map.len());
    for (name, value) in map {
        feed_bytes(hash, b'k', name.as_bytes());
        feed(hash, value);
    }
}

fn feed_bytes(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    feed_count(hash, kind, bytes.len());
    hash.update(bytes);
}

fn feed_count(hash: &mut Sha256, kind: u8, count: usize) {
    hash.update([kind]);
    hash.update((count as u64).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Canon {
        Canon::from(&AttributeValue::N(text.to_owned()))
    }

    #[test]
    fn numbers_are_compared_by_value() {
        for (a, b) in [("1", "1.0"), ("1", "1E0"), ("100", "1e2"), ("-0", "0"), ("0.00", "0"), ("00.1200", "1.2E-1")] {
            assert_eq!(n(a), n(b), "{a} = {b}");
        }
        for (a, b) in [("1", "-1"), ("1", "10"), ("0.1", "0.01"), ("1e2", "1e-2")] {
            assert_ne!(n(a), n(b), "{a} != {b}");
        }
        let long = "12345678901234567890123456789012345678";
        assert_ne!(n(long), n("12345678901234567890123456789012345679"), "38 digits count");
    }

    #[test]
    fn sets_have_no_order_and_lists_have() {
        let set = |items: &[&str]| Canon::from(&AttributeValue::Ns(items.iter().map(|i| (*i).to_owned()).collect()));
        let list = |items: &[&str]| {
            Canon::from(&AttributeValue::L(items.iter().map(|i| AttributeValue::N((*i).into())).collect()))
        };
        assert_eq!(set(&["1", "2.0"]), set(&["2", "1.00"]));
        assert_ne!(list(&["1", "2"]), list(&["2", "1"]));
    }

    #[test]
    fn a_digest_tells_types_nesting_and_emptiness_apart() {
        let values = [
            Canon::S(String::new()),
            Canon::S("1".into()),
            Canon::N("1e0".into()),
            Canon::B(b"1".to_vec()),
            Canon::B(Vec::new()),
            Canon::Bool(true),
            Canon::Bool(false),
            Canon::Null,
            Canon::L(Vec::new()),
            Canon::L(vec![Canon::S("1".into())]),
            Canon::L(vec![Canon::L(vec![Canon::S("1".into())])]),
            Canon::SS(["1".to_owned()].into()),
            Canon::NS(["1".to_owned()].into()),
            Canon::BS([b"1".to_vec()].into()),
            Canon::M(BTreeMap::new()),
            Canon::M([("a".to_owned(), Canon::Null)].into()),
        ];
        let mut digests: BTreeSet<Digest> =
            values.iter().map(|value| digest(&[("a".to_owned(), value.clone())].into())).collect();
        digests.insert(digest(&Item::new()));
        assert_eq!(digests.len(), values.len() + 1);
    }

    #[test]
    fn a_key_shows_its_attributes() {
        let item: Item =
            [("pk".to_owned(), Canon::S("a".into())), ("sk".to_owned(), n("7")), ("v".to_owned(), Canon::Null)].into();
        assert_eq!(Key::of(&item, &["pk", "sk"]).to_string(), "pk=\"a\" sk=7e0");
    }
}
