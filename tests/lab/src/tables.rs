//! Tables of the lab: creating them, reading them whole, and knowing when two of them are equal.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, StreamSpecification,
    StreamViewType, TableStatus,
};

use crate::canon::{self, Digest, Key};
use crate::trouble::{Because, Trouble};

/// The type of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A string.
    Text,
    /// A number.
    Number,
    /// Bytes.
    Binary,
}

/// A key attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: KeyKind,
}

/// A table: its name and its primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// The name, the same in both regions.
    pub name: String,
    /// The partition key.
    pub hash: KeyPart,
    /// The sort key, if there is one.
    pub range: Option<KeyPart>,
}

/// What a table holds: the digest of each item by its key.
pub type Contents = BTreeMap<Key, Digest>;

impl TableSpec {
    /// A table with a partition key only.
    pub fn new(name: &str, hash: (&str, KeyKind)) -> Self {
        Self { name: name.into(), hash: KeyPart { name: hash.0.into(), kind: hash.1 }, range: None }
    }

    /// The same table with a sort key.
    #[must_use]
    pub fn with_range(mut self, range: (&str, KeyKind)) -> Self {
        self.range = Some(KeyPart { name: range.0.into(), kind: range.1 });
        self
    }

    /// The names of the key attributes.
    pub fn key_names(&self) -> Vec<&str> {
        std::iter::once(&self.hash).chain(&self.range).map(|part| part.name.as_str()).collect()
    }

    /// Creates the table, with a stream of new and old images when `stream` is set, and waits until it is active.
    pub async fn create(&self, client: &Client, stream: bool) -> Result<(), Trouble> {
        let what = || format!("could not create the table {}", self.name);
        let mut call = client.create_table().table_name(&self.name).billing_mode(BillingMode::PayPerRequest);
        for (part, role) in
            std::iter::once((&self.hash, KeyType::Hash)).chain(self.range.iter().map(|r| (r, KeyType::Range)))
        {
            let element =
                KeySchemaElement::builder().attribute_name(&part.name).key_type(role).build().because(what())?;
            let kind = match part.kind {
                KeyKind::Text => ScalarAttributeType::S,
                KeyKind::Number => ScalarAttributeType::N,
                KeyKind::Binary => ScalarAttributeType::B,
            };
            let definition = AttributeDefinition::builder()
                .attribute_name(&part.name)
                .attribute_type(kind)
                .build()
                .because(what())?;
            call = call.key_schema(element).attribute_definitions(definition);
        }
        if stream {
            let specification = StreamSpecification::builder()
                .stream_enabled(true)
                .stream_view_type(StreamViewType::NewAndOldImages)
                .build()
                .because(what())?;
            call = call.stream_specification(specification);
        }
        call.send().await.because(what())?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = client.describe_table().table_name(&self.name).send().await.because(what())?;
            if answer.table().and_then(|table| table.table_status()) == Some(&TableStatus::Active) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Trouble::new(format!("the table {} is not active after 30 s", self.name)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything the table holds, by consistent reads. A scan is no snapshot: each item is as of its own page.
    pub async fn contents(&self, client: &Client) -> Result<Contents, Trouble> {
        let names = self.key_names();
        let mut contents = Contents::new();
        let mut start = None;
        loop {
            let page = client
                .scan()
                .table_name(&self.name)
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .because(format!("could not read the table {}", self.name))?;
            for attributes in page.items() {
                let item = canon::item(attributes);
                contents.insert(Key::of(&item, &names), canon::digest(&item));
            }
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => start = Some(key),
                _ => return Ok(contents),
            }
        }
    }

    /// Waits until both regions hold the same items; the trouble names the first differences.
    /// Only meaningful while nothing is written to the source.
    pub async fn converged(&self, source: &Client, standby: &Client, limit: Duration) -> Result<Contents, Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            let (x, y) = (self.contents(source).await?, self.contents(standby).await?);
            if x == y {
                return Ok(y);
            }
            if Instant::now() >= deadline {
                let differences = differences(&x, &y);
                let shown: Vec<String> = differences.iter().take(5).map(ToString::to_string).collect();
                return Err(Trouble::new(format!(
                    "{} differs after {limit:?}: {} of {} keys, first: {}",
                    self.name,
                    differences.len(),
                    x.len(),
                    shown.join("; ")
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// How a key differs between the source and the standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Only the source has it.
    Missing(Key),
    /// Only the standby has it.
    Extra(Key),
    /// Both have it, with different values.
    Unequal(Key),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(key) => write!(f, "{key} is missing in the standby"),
            Self::Extra(key) => write!(f, "{key} is only in the standby"),
            Self::Unequal(key) => write!(f, "{key} has another value in the standby"),
        }
    }
}

/// All differences, in the order of the keys of the source, then the extra ones.
pub fn differences(source: &Contents, standby: &Contents) -> Vec<Difference> {
    let mut found = Vec::new();
    for (key, digest) in source {
        match standby.get(key) {
            None => found.push(Difference::Missing(key.clone())),
            Some(other) if other != digest => found.push(Difference::Unequal(key.clone())),
            Some(_) => {}
        }
    }
    found.extend(standby.keys().filter(|key| !source.contains_key(*key)).cloned().map(Difference::Extra));
    found
}
