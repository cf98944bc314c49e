//! Key schemas, keys, and the checks a write must pass before it is one.
//!
//! Invariant: two items have equal [`Key`]s exactly when DynamoDB would call them the same item, so a key is built
//! only from canonical values.

use super::error::AwsError;
use super::settings::Settings;
use super::value::{Item, Value, item_size};
use std::fmt;

/// Largest item DynamoDB stores, in bytes.
const MAX_ITEM_BYTES: usize = 400 * 1024;
/// Largest partition key value, in bytes.
const MAX_HASH_BYTES: usize = 2048;
/// Largest sort key value, in bytes.
const MAX_RANGE_BYTES: usize = 1024;

/// The type of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

impl KeyKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::N => "N",
            Self::B => "B",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "S" => Some(Self::S),
            "N" => Some(Self::N),
            "B" => Some(Self::B),
            _ => None,
        }
    }
}

/// A key attribute: its name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttribute {
    /// Attribute name.
    pub name: String,
    /// Attribute type.
    pub kind: KeyKind,
}

impl KeyAttribute {
    pub(crate) fn new(name: impl Into<String>, kind: KeyKind) -> Self {
        Self { name: name.into(), kind }
    }
}

/// What an index holds beside its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexProjection {
    /// The whole item.
    All,
    /// The keys alone.
    KeysOnly,
    /// The keys and these attributes.
    Include(Vec<String>),
}

/// A secondary index. It is described, and its key types decide which items are refused; it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Index name.
    pub name: String,
    /// Partition key.
    pub hash: KeyAttribute,
    /// Sort key.
    pub range: Option<KeyAttribute>,
    /// Local rather than global.
    pub local: bool,
    /// What it holds.
    pub projection: IndexProjection,
    /// Its own read and write units; `None`: those of the table.
    pub capacity: Option<(u64, u64)>,
    /// IndexStatus as shown: "ACTIVE", "CREATING", ...
    pub status: String,
}

impl Index {
    pub(crate) fn global(name: impl Into<String>, hash: KeyAttribute) -> Self {
        Self {
            name: name.into(),
            hash,
            range: None,
            local: false,
            projection: IndexProjection::All,
            capacity: None,
            status: "ACTIVE".to_owned(),
        }
    }
}

/// What a stream record carries beside the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewType {
    /// The item before and after.
    NewAndOldImages,
    /// The item after.
    NewImage,
    /// The item before.
    OldImage,
    /// The key alone.
    KeysOnly,
}

impl ViewType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NewAndOldImages => "NEW_AND_OLD_IMAGES",
            Self::NewImage => "NEW_IMAGE",
            Self::OldImage => "OLD_IMAGE",
            Self::KeysOnly => "KEYS_ONLY",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::NewAndOldImages, Self::NewImage, Self::OldImage, Self::KeysOnly].into_iter().find(|v| v.name() == name)
    }

    pub(crate) fn has_new(self) -> bool {
        matches!(self, Self::NewAndOldImages | Self::NewImage)
    }

    pub(crate) fn has_old(self) -> bool {
        matches!(self, Self::NewAndOldImages | Self::OldImage)
    }
}

/// What a table is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSpec {
    /// Table name.
    pub name: String,
    /// Partition key.
    pub hash: KeyAttribute,
    /// Sort key.
    pub range: Option<KeyAttribute>,
    /// Secondary indexes.
    pub indexes: Vec<Index>,
    /// The stream, when there is one.
    pub stream: Option<ViewType>,
    /// How many shards a new stream begins with.
    pub shards: usize,
    /// The first sequence number. Set it just below a power of ten to see numbers of different length (DS-F8).
    pub first_sequence: u128,
    /// Billing, protection and the like, as the table begins with them.
    pub settings: Settings,
}

impl TableSpec {
    /// A table with a string partition key `hash`, no sort key and no stream.
    pub fn new(name: impl Into<String>, hash: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            hash: KeyAttribute::new(hash, KeyKind::S),
            range: None,
            indexes: Vec::new(),
            stream: None,
            shards: 1,
            first_sequence: 100_000_000_000_000_000_000,
            settings: Settings::default(),
        }
    }

    /// Changes the type of the partition key.
    #[must_use]
    pub fn hash_kind(mut self, kind: KeyKind) -> Self {
        self.hash.kind = kind;
        self
    }

    /// Adds a sort key.
    #[must_use]
    pub fn range(mut self, name: impl Into<String>, kind: KeyKind) -> Self {
        self.range = Some(KeyAttribute::new(name, kind));
        self
    }

    /// Adds a global secondary index with a partition key alone.
    #[must_use]
    pub fn index(mut self, name: impl Into<String>, attribute: impl Into<String>, kind: KeyKind) -> Self {
        self.indexes.push(Index::global(name, KeyAttribute::new(attribute, kind)));
        self
    }

    /// Adds a local secondary index: the table's partition key and this sort key.
    #[must_use]
    pub fn local_index(mut self, name: impl Into<String>, attribute: impl Into<String>, kind: KeyKind) -> Self {
        let range = Some(KeyAttribute::new(attribute, kind));
        self.indexes.push(Index { range, local: true, ..Index::global(name, self.hash.clone()) });
        self
    }

    /// Changes what the table begins with besides its schema.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Turns the stream on.
    #[must_use]
    pub fn stream(mut self, view: ViewType) -> Self {
        self.stream = Some(view);
        self
    }

    /// Sets how many shards the stream begins with.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards.max(1);
        self
    }

    /// Sets the first sequence number.
    #[must_use]
    pub fn first_sequence(mut self, first: u128) -> Self {
        self.first_sequence = first;
        self
    }

    /// The key of a whole item, or why it has none.
    pub(crate) fn key_of_item(&self, item: &Item) -> Result<Key, AwsError> {
        let part = |attribute: &KeyAttribute, limit| match item.get(&attribute.name) {
            None => Err(AwsError::validation(format!(
                "One or more parameter values were invalid: Missing the key {} in the item",
                attribute.name
            ))),
            Some(value) => KeyPart::of(attribute, value, limit).ok_or_else(|| {
                AwsError::validation(format!(
                    "One or more parameter values were invalid: Type mismatch for key {} expected: {} actual: {}",
                    attribute.name,
                    attribute.kind.name(),
                    value.type_name()
                ))
            })?,
        };
        let hash = part(&self.hash, MAX_HASH_BYTES)?;
        let range = self.range.as_ref().map(|range| part(range, MAX_RANGE_BYTES)).transpose()?;
        Ok(Key { hash, range })
    }

    /// The key named by a `Key` parameter: exactly the key attributes, nothing else.
    pub(crate) fn key_of_parameter(&self, parameter: &Item) -> Result<Key, AwsError> {
        let wrong = || AwsError::validation("The provided key element does not match the schema");
        if parameter.len() != 1 + usize::from(self.range.is_some()) {
            return Err(wrong());
        }
        let part = |attribute: &KeyAttribute, limit| {
            let value = parameter.get(&attribute.name).ok_or_else(wrong)?;
            KeyPart::of(attribute, value, limit).ok_or_else(wrong)?
        };
        let hash = part(&self.hash, MAX_HASH_BYTES)?;
        let range = self.range.as_ref().map(|range| part(range, MAX_RANGE_BYTES)).transpose()?;
        Ok(Key { hash, range })
    }

    /// The key as an item of its own, as a stream record's `Keys`.
    pub(crate) fn key_item(&self, key: &Key) -> Item {
        let mut item = Item::new();
        item.insert(self.hash.name.clone(), key.hash.to_value());
        if let (Some(attribute), Some(range)) = (&self.range, &key.range) {
            item.insert(attribute.name.clone(), range.to_value());
        }
        item
    }

    /// What else a put must satisfy: its size, and the types of its index keys (the poison record of AP-6).
    pub(crate) fn check_item(&self, item: &Item) -> Result<(), AwsError> {
        if item_size(item) > MAX_ITEM_BYTES {
            return Err(AwsError::validation("Item size has exceeded the maximum allowed size"));
        }
        for index in &self.indexes {
            for attribute in std::iter::once(&index.hash).chain(&index.range) {
                let Some(value) = item.get(&attribute.name) else { continue };
                if value.type_name() != attribute.kind.name() {
                    return Err(AwsError::validation(format!(
                        "One or more parameter values were invalid: Type mismatch for Index Key {} Expected: {} \
                         Actual: {} IndexName: {}",
                        attribute.name,
                        attribute.kind.name(),
                        value.type_name(),
                        index.name
                    )));
                }
                if matches!(value, Value::S(s) if s.is_empty()) || matches!(value, Value::B(b) if b.is_empty()) {
                    return Err(AwsError::validation(format!(
                        "One or more parameter values are not valid. A value specified for a secondary index key is \
                         not supported. The AttributeValue for a key attribute cannot contain an empty value. \
                         IndexName: {}, IndexKey: {}",
                        index.name, attribute.name
                    )));
                }
            }
        }
        Ok(())
    }
}

/// One attribute of a key, canonical.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyPart {
    /// String.
    S(String),
    /// Canonical numeral.
    N(String),
    /// Binary.
    B(Vec<u8>),
}

impl KeyPart {
    /// `None`: the value has another type. `Some(Err)`: the type is right, the value cannot be a key.
    fn of(attribute: &KeyAttribute, value: &Value, limit: usize) -> Option<Result<Self, AwsError>> {
        let (part, length) = match (attribute.kind, value) {
            (KeyKind::S, Value::S(text)) => (Self::S(text.clone()), text.len()),
            // A number is never too long and never empty.
            (KeyKind::N, Value::N(numeral)) => (Self::N(numeral.clone()), 1),
            (KeyKind::B, Value::B(bytes)) => (Self::B(bytes.clone()), bytes.len()),
            _ => return None,
        };
        Some(if length == 0 {
            Err(AwsError::validation(format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
                 empty value. Key: {}",
                attribute.name
            )))
        } else if length > limit {
            Err(AwsError::validation(format!(
                "One or more parameter values were invalid: Size of key {} has exceeded the maximum size limit of \
                 {limit} bytes",
                attribute.name
            )))
        } else {
            Ok(part)
        })
    }

    /// The attribute value.
    pub fn to_value(&self) -> Value {
        match self {
            Self::S(text) => Value::S(text.clone()),
            Self::N(numeral) => Value::N(numeral.clone()),
            Self::B(bytes) => Value::B(bytes.clone()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::S(text) | Self::N(text) => text.as_bytes(),
            Self::B(bytes) => bytes,
        }
    }
}

/// The identity of an item in its table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Partition key.
    pub hash: KeyPart,
    /// Sort key.
    pub range: Option<KeyPart>,
}

impl Key {
    /// The key of a table whose partition key is a string and which has no sort key.
    pub fn of(hash: impl Into<String>) -> Self {
        Self { hash: KeyPart::S(hash.into()), range: None }
    }

    /// Where the partition key lies in the hash space: FNV-1a with a finaliser, because FNV alone leaves the high
    /// bits, which choose the shard, poorly mixed for short keys.
    pub(crate) fn hash_position(&self) -> u64 {
        let mut h: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in self.hash.bytes() {
            h = (h ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        crate::scripted::rng::mix(h)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, part: &KeyPart| match part {
            KeyPart::S(text) | KeyPart::N(text) => f.write_str(text),
            KeyPart::B(bytes) => write!(f, "{bytes:02x?}"),
        };
        part(f, &self.hash)?;
        if let Some(range) = &self.range {
            f.write_str("/")?;
            part(f, range)?;
        }
        Ok(())
    }
}
