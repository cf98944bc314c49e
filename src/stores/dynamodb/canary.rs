//! The canaries of a table: reserved keys of the primary table that only Plimsoll writes (DS-12).
//!
//! - Invariant: nothing but these keys is ever written in prodX (I7); the policy beside it allows no other.
//! - A key is made of the table's key schema: the prefix and a number where the partition key is text or binary, one of the
//!   operator's own numbers where it is a number; a constant for the sort key.
//! - Recognising needs no key schema: after a start records are read before the table was looked at.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, KeyType, ScalarAttributeType, TableDescription};

use super::Table;
use super::canary_settings::{CanarySettings, MOST_KEYS};
use super::item::{Body, Image, Item, canonical_number};
use crate::change::{Change, Class, SourceTime};
use crate::stores::StoreError;
use crate::stores::canary::{Beat, Canary, CanaryTerms, Sighting};

/// The attributes that a canary has beside its key.
const SEQ: &str = "plimsoll_seq";
const SENT_AT: &str = "plimsoll_sent_at_ms";
const RUN: &str = "plimsoll_run";

/// A part of a table's key: its name and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    kind: ScalarAttributeType,
}

/// What the keys of a table are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schema {
    hash: Part,
    range: Option<Part>,
}

/// The canaries of a table, and the key schema once it was looked up.
#[derive(Debug)]
pub(super) struct Canaries {
    settings: CanarySettings,
    schema: Mutex<Option<Arc<Schema>>>,
}

impl Schema {
    /// Of a table as it is described; `None` if that says too little.
    pub(super) fn of(table: &TableDescription) -> Option<Self> {
        let part = |kind: &KeyType| {
            let element = table.key_schema().iter().find(|e| e.key_type() == kind)?;
            let name = element.attribute_name();
            let definition = table.attribute_definitions().iter().find(|d| d.attribute_name() == name)?;
            Some(Part { name: name.to_owned(), kind: definition.attribute_type().clone() })
        };
        Some(Self { hash: part(&KeyType::Hash)?, range: part(&KeyType::Range) })
    }
}

impl CanarySettings {
    /// The key of canary `number`, or why a table of this schema can have none.
    fn key(&self, schema: &Schema, number: u32) -> Result<Item, &'static str> {
        let hash = match schema.hash.kind {
            ScalarAttributeType::N => {
                let own = self.numbers.get(number as usize);
                AttributeValue::N(
                    own.ok_or("the partition key is a number, and canary_numbers names none for it")?.clone(),
                )
            }
            ScalarAttributeType::S => AttributeValue::S(format!("{}{number}", self.prefix)),
            ScalarAttributeType::B => AttributeValue::B(Blob::new(format!("{}{number}", self.prefix))),
            _ => return Err("the partition key is of a type that this version does not know"),
        };
        let mut key = Item::from([(schema.hash.name.clone(), hash)]);
        if let Some(range) = &schema.range {
            let constant = match range.kind {
                ScalarAttributeType::N => AttributeValue::N("0".into()),
                ScalarAttributeType::S => AttributeValue::S(self.prefix.clone()),
                ScalarAttributeType::B => AttributeValue::B(Blob::new(self.prefix.clone())),
                _ => return Err("the sort key is of a type that this version does not know"),
            };
            key.insert(range.name.clone(), constant);
        }
        Ok(key)
    }

    /// The whole item.
    fn item(&self, schema: &Schema, number: u32, beat: &Beat) -> Result<Item, &'static str> {
        let mut item = self.key(schema, number)?;
        item.insert(SEQ.into(), AttributeValue::N(beat.seq.to_string()));
        item.insert(SENT_AT.into(), AttributeValue::N(beat.sent_at.0.to_string()));
        item.insert(RUN.into(), AttributeValue::S(beat.run.to_string()));
        Ok(item)
    }

    /// Can a table of this schema have canaries? If not, what to do.
    fn fits(&self, schema: &Schema) -> Result<(), &'static str> {
        (0..self.keys).try_for_each(|number| self.key(schema, number).map(drop))
    }

    /// Which canary's key these values are, whatever their attributes are called. Also of a key that is written no more, after
    /// `canary_keys` was made smaller.
    fn number<'a>(&self, mut values: impl Iterator<Item = &'a AttributeValue>) -> Option<u32> {
        let first = values.next()?;
        match (values.next(), values.next()) {
            (None, _) => self.hash(first),
            (Some(second), None) => {
                let either = |hash, range| self.hash(hash).filter(|_| self.is_range(range));
                either(first, second).or_else(|| either(second, first))
            }
            _ => None,
        }
    }

    fn hash(&self, value: &AttributeValue) -> Option<u32> {
        let bytes = match value {
            AttributeValue::S(text) => text.as_bytes(),
            AttributeValue::B(blob) => blob.as_ref(),
            AttributeValue::N(number) if !self.numbers.is_empty() => {
                let number = canonical_number(number);
                let at = self.numbers.iter().position(|own| canonical_number(own) == number)?;
                return u32::try_from(at).ok();
            }
            _ => return None,
        };
        let digits = std::str::from_utf8(bytes.strip_prefix(self.prefix.as_bytes())?).ok()?;
        // As it is written, and no other way: `#01` is somebody's own.
        digits.parse().ok().filter(|n: &u32| u64::from(*n) < MOST_KEYS && n.to_string() == digits)
    }

    fn is_range(&self, value: &AttributeValue) -> bool {
        match value {
            AttributeValue::S(text) => *text == self.prefix,
            AttributeValue::B(blob) => blob.as_ref() == self.prefix.as_bytes(),
            AttributeValue::N(number) => canonical_number(number) == "0",
            _ => false,
        }
    }

    /// The canary that a change is of.
    fn sighting(&self, body: &Body) -> Option<Sighting> {
        let (item, put) = match &body.image {
            Image::Put(item) => (item, true),
            Image::Delete(key) => (key, false),
        };
        let key = self.number(body.key_names.iter().filter_map(|name| item.get(name)))?;
        Some(Sighting { key, beat: if put { beat_of(item) } else { None } })
    }
}

fn beat_of(item: &Item) -> Option<Beat> {
    let number = |name| item.get(name)?.as_n().ok();
    Some(Beat {
        run: item.get(RUN)?.as_s().ok()?.as_str().into(),
        seq: number(SEQ)?.parse().ok()?,
        sent_at: SourceTime(number(SENT_AT)?.parse().ok()?),
    })
}

impl Canaries {
    pub(super) fn new(settings: CanarySettings) -> Self {
        Self { settings, schema: Mutex::default() }
    }

    fn known(&self) -> Option<Arc<Schema>> {
        self.schema.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, schema: Option<Schema>) -> Option<Arc<Schema>> {
        let mut known = self.schema.lock().unwrap_or_else(PoisonError::into_inner);
        *known = schema.map(Arc::new);
        known.clone()
    }
}

impl Table {
    /// Refuses a table whose keys cannot have canaries.
    pub(super) fn require_canary_keys(&self, table: &TableDescription) -> Result<(), StoreError> {
        let (Some(canaries), Some(schema)) = (&self.canaries, Schema::of(table)) else { return Ok(()) };
        canaries.settings.fits(&schema).map_err(|why| {
            let on = format!("table {}", self.settings.table);
            StoreError::new(Class::Invalid, format!("the table can have no canaries: {why}"), on).hint(HINT)
        })
    }

    /// Is this an item, or a key, that only exists in prodX because we write it there? Such a one is in no way the
    /// standby's: neither copied, nor missed, nor compared.
    pub(super) fn filtered<'a>(
        &self,
        item: impl IntoIterator<Item = (&'a String, &'a AttributeValue)>,
        names: &[String],
    ) -> bool {
        let replicate = self.canaries.as_ref().is_none_or(|canaries| canaries.settings.replicate);
        !replicate && self.is_canary(item.into_iter().filter(|(name, _)| names.contains(name)).map(|(_, value)| value))
    }

    /// Is this the key of a canary? Whoever writes it, nobody misses it.
    pub(super) fn is_canary<'a>(&self, key: impl Iterator<Item = &'a AttributeValue>) -> bool {
        self.canaries.as_ref().is_some_and(|canaries| canaries.settings.number(key).is_some())
    }

    async fn canary_schema(&self, canaries: &Canaries) -> Result<Arc<Schema>, StoreError> {
        if let Some(schema) = canaries.known() {
            return Ok(schema);
        }
        let table = self.describe(&self.source, &self.settings.table, "primary").await?;
        let on = format!("table {}", self.settings.table);
        canaries.learn(Schema::of(&table)).ok_or_else(|| StoreError::new(Class::Unavailable, "DescribeTable", on))
    }
}

/// What to do when a table's keys are not what canaries are made of.
const HINT: &str =
    "name as many numbers as canary_keys in canary_numbers that no item of yours has, or set canary_keys = 0";

#[async_trait]
impl Canary for Table {
    fn terms(&self) -> CanaryTerms {
        let settings = self.canaries.as_ref().map(|c| &c.settings).expect("asked for only where there are canaries");
        CanaryTerms { keys: settings.keys, every: settings.every, replicate: settings.replicate }
    }

    fn sighting(&self, change: &Change) -> Option<Sighting> {
        self.canaries.as_ref()?.settings.sighting(change.body.downcast_ref::<Body>()?)
    }

    async fn write(&self, key: u32, beat: &Beat) -> Result<(), StoreError> {
        let on = format!("primary table {}, canary {key}", self.settings.table);
        let Some(canaries) = &self.canaries else { return Ok(()) };
        let schema = self.canary_schema(canaries).await?;
        let item = canaries.settings.item(&schema, key, beat);
        let item = item.map_err(|why| StoreError::new(Class::Invalid, why, &on).hint(HINT))?;
        let sent = self.source.put_item().table_name(&self.settings.table).set_item(Some(item)).send().await;
        sent.map(drop).map_err(|error| {
            let failed = StoreError::of_call(&error, true, "PutItem", &on);
            match failed.class {
                Class::Denied => failed.hint(format!(
                    "allow dynamodb:PutItem on the keys {}* in prodX (config/iam/canary-x.json), or set canary_keys = 0",
                    canaries.settings.prefix
                )),
                // Perhaps the table was made anew with another key: look it up again.
                Class::Invalid => {
                    canaries.learn(None);
                    failed
                }
                _ => failed,
            }
        })
    }
}

#[cfg(test)]
mod tests;
