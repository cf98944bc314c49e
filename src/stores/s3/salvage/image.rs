//! An object as it stands in an export: what it is, not what it holds. Pure.
//!
//! The digest tells one object of one side from every other. Whether objects of both sides hold the same is not told by
//! digests but by [`alike`](crate::stores::s3::same::alike): the two sides need not have a checksum in common.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::stores::s3::known::Mark;
use crate::stores::s3::look::End;
use crate::stores::s3::object::Object;
use crate::stores::s3::same::headers_digest;
use crate::stores::salvage::{Digest, Image};

/// An object as it crosses to the spine.
pub(super) fn image(end: End, object: &Object) -> Image {
    Image { json: value(end, object).to_string(), digest: digest(end, &object.mark) }
}

fn side(end: End) -> &'static str {
    match end {
        End::Source => "source",
        End::Target => "standby",
    }
}

fn value(end: End, object: &Object) -> Value {
    let mark = &object.mark;
    json!({
        "side": side(end),
        "etag": mark.etag,
        "size": mark.size,
        "version": mark.version,
        "last_modified": mark.modified.map(|at| at.to_string()),
        "checksum": object.checksum.as_ref().map(|checksum| format!("{}:{}", checksum.algorithm, checksum.value)),
        "metadata": object.headers.metadata,
        "content_type": object.headers.content_type,
        "headers_digest": headers_digest(&object.headers),
    })
}

/// It is that very object, metadata included.
pub(super) fn is_of(image: &Value, end: End, object: &Object) -> bool {
    let now = value(end, object);
    ["side", "etag", "size", "version", "last_modified", "headers_digest"]
        .iter()
        .all(|field| image[field] == now[field])
}

/// The digest of an object of a side.
pub(super) fn digest(end: End, mark: &Mark) -> Digest {
    let mut hash = Sha256::new();
    let version = mark.version.as_deref().unwrap_or("null");
    let at = mark.modified.map_or(0, |at| at.floor_to_second().0);
    for part in [side(end), &mark.etag, version, &mark.size.to_string(), &at.to_string()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let full: [u8; 32] = hash.finalize().into();
    let mut short = [0; 16];
    short.copy_from_slice(&full[..16]);
    Digest(short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::SourceTime;

    fn object(etag: &str, version: Option<&str>) -> Object {
        let modified = Some(SourceTime::from_secs(10));
        let mark = Mark { etag: etag.into(), version: version.map(str::to_owned), size: 7, modified };
        Object { mark, ..Object::default() }
    }

    #[test]
    fn an_image_is_of_one_object_of_one_side() {
        let one = object("e", Some("v"));
        let read: Value = serde_json::from_str(&image(End::Source, &one).json).expect("JSON");
        assert!(is_of(&read, End::Source, &one));
        assert!(!is_of(&read, End::Target, &one), "the other side's");
        assert!(!is_of(&read, End::Source, &object("e", Some("w"))));
        assert!(!is_of(&read, End::Source, &object("f", Some("v"))));
        let mut dressed = one.clone();
        dressed.headers.content_type = Some("text/plain".into());
        assert!(!is_of(&read, End::Source, &dressed));
    }

    #[test]
    fn digests_tell_sides_and_objects_apart() {
        let of = |end, etag: &str, version| image(end, &object(etag, version)).digest;
        let all = [
            of(End::Source, "e", Some("v")),
            of(End::Target, "e", Some("v")),
            of(End::Target, "f", Some("v")),
            of(End::Target, "e", Some("w")),
            of(End::Target, "e", None),
            Digest::ABSENT,
        ];
        for (at, digest) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(digest), "{at}");
        }
        assert_eq!(of(End::Target, "e", None), of(End::Target, "e", Some("null")), "before versioning");
    }
}
