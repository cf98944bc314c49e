//! Objects as the ledger and the judge know them, and the seeded writers of a bucket.
//!
//! An object is its bytes, its content type, its user metadata and its tags; one digest stands for them, as for an item
//! of a table, so that [`crate::ledger`] and [`crate::judge`] are the same for both: `judge::judge_watermark(history,
//! &contents, w)` says what is missing in a standby as of W. Version ids, ETags and times are never looked at.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;

use crate::canon::{self, Canon, Digest, Key};
use crate::scripted::ScriptedAws;
use crate::scripted::s3::{BodyDigest, ObjectView};
use crate::tables::Contents;
use crate::trouble::{Because, Trouble};

mod names;
mod writer;

pub use names::Names;
pub use writer::{ObjectTraffic, ObjectWorkload};

/// What an object is to the judge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    /// Its bytes.
    pub body: BodyDigest,
    /// Its content type.
    pub content_type: String,
    /// Its user metadata.
    pub metadata: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Form {
    /// The digest that the ledger keeps.
    pub fn digest(&self) -> Digest {
        let map = |map: &BTreeMap<String, String>| {
            Canon::M(map.iter().map(|(name, value)| (name.clone(), Canon::S(value.clone()))).collect())
        };
        let BodyDigest { size, crc64, crc32c } = self.body;
        canon::digest(&BTreeMap::from([
            ("body".to_owned(), Canon::S(format!("{size}-{crc64:016x}-{crc32c:08x}"))),
            ("type".to_owned(), Canon::S(self.content_type.clone())),
            ("metadata".to_owned(), map(&self.metadata)),
            ("tags".to_owned(), map(&self.tags)),
        ]))
    }
}

impl From<&ObjectView> for Form {
    fn from(view: &ObjectView) -> Self {
        let content_type = view.about.headers.get("content-type").cloned().unwrap_or_default();
        let (metadata, tags) = (view.about.metadata.clone(), view.about.tags.clone());
        Self { body: view.body, content_type, metadata, tags }
    }
}

/// The name of an object as a key of the ledger.
pub fn key(name: &str) -> Key {
    Key::of(&BTreeMap::from([("key".to_owned(), Canon::S(name.to_owned()))]), &["key"])
}

/// The objects of a bucket of a scripted server, at one instant.
pub fn contents_of(aws: &ScriptedAws, bucket: &str) -> Contents {
    let form = |view: &ObjectView| Form::from(view).digest();
    aws.s3().snapshot(bucket).iter().map(|(name, view)| (key(name), form(view))).collect()
}

/// The objects of a bucket, listed and read one by one: for small ones. An object that goes while it is read is left out.
///
/// # Errors
/// When the region does not answer.
pub async fn contents(client: &Client, bucket: &str) -> Result<Contents, Trouble> {
    let mut contents = Contents::new();
    let mut token = None;
    loop {
        let page = client.list_objects_v2().bucket(bucket).set_continuation_token(token);
        let page = page.send().await.because(format!("list {bucket}"))?;
        for name in page.contents().iter().filter_map(|object| object.key()) {
            if let Some(form) = form(client, bucket, name).await? {
                contents.insert(key(name), form.digest());
            }
        }
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(contents);
        }
    }
}

/// One object; `None` when there is none.
///
/// # Errors
/// When the region does not answer.
pub async fn form(client: &Client, bucket: &str, name: &str) -> Result<Option<Form>, Trouble> {
    let got = match client.get_object().bucket(bucket).key(name).send().await {
        Ok(got) => got,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
        Err(error) => return Err(error).because(format!("read {name:?} of {bucket}")),
    };
    let content_type = got.content_type.clone().unwrap_or_default();
    let metadata = got.metadata.clone().unwrap_or_default().into_iter().collect();
    let body = got.body.collect().await.because(format!("read the body of {name:?}"))?.into_bytes();
    let tagging = client.get_object_tagging().bucket(bucket).key(name).send().await;
    let tags = match tagging {
        Ok(tags) => tags.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect(),
        // Deleted since.
        Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 404) => return Ok(None),
        Err(error) => return Err(error).because(format!("read the tags of {name:?}")),
    };
    Ok(Some(Form { body: BodyDigest::of(&body), content_type, metadata, tags }))
}

#[cfg(test)]
mod tests;
