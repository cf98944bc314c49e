//! Whether two objects are the same (S3-2). Pure.
//!
//! What is known decides first: the source's object is the one that was copied, and the standby's the one that was made of
//! it. ETags of both ends are not compared with one another for that: they differ for the same bytes. Without provenance the
//! bytes are compared by what both ends say of them, and if that is not comparable they are not known to be the same.

use sha2::{Digest as _, Sha256};

use super::known::Known;
use super::object::{Beside, Headers, Object};

/// How two objects compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// The same bytes and the same headers.
    Same,
    /// Other bytes or headers, or nobody can tell.
    Other,
}

/// Digest of content headers and user metadata.
pub(super) fn headers_digest(headers: &Headers) -> String {
    digest(headers)
}

/// Digest of what is carried besides.
pub(super) fn beside_digest(beside: &Beside) -> String {
    digest(beside)
}

/// By provenance: both objects are the very ones that are known to be the same, headers included.
pub(super) fn known_same(known: &Known, source: &Object, target: &Object) -> bool {
    known.source.is(&source.mark) && known.target.is(&target.mark) && known.headers == headers_digest(&source.headers)
}

/// Without provenance: by size, checksum and headers.
pub(super) fn alike(source: &Object, target: &Object) -> Likeness {
    let same = source.mark.size == target.mark.size
        && headers(source) == headers(target)
        && source.untold == target.untold
        && same_bytes(source, target) == Some(true);
    if same { Likeness::Same } else { Likeness::Other }
}

/// Whether both hold the same bytes; `None`: they cannot be compared.
pub(super) fn same_bytes(source: &Object, target: &Object) -> Option<bool> {
    if source.mark.size != target.mark.size {
        return Some(false);
    }
    if let (Some(one), Some(other)) = (&source.checksum, &target.checksum)
        && one.algorithm == other.algorithm
    {
        if one.value == other.value {
            return Some(true);
        }
        // Checksums of parts tell something only when they are equal: the same bytes may be cut otherwise.
        if !one.composite && !other.composite {
            return Some(false);
        }
    }
    if source.etag_tells() && target.etag_tells() {
        if source.mark.etag == target.mark.etag {
            return Some(true);
        }
        if source.parts_of_etag().is_none() && target.parts_of_etag().is_none() {
            return Some(false);
        }
    }
    None
}

/// The headers as S3 means them: what an object without a type has.
fn headers(object: &Object) -> Headers {
    let mut headers = object.headers.clone();
    if headers.content_type.as_deref() == Some("binary/octet-stream") {
        headers.content_type = None;
    }
    headers
}

/// A digest of a value: equal values have equal ones.
pub(super) fn digest(value: &impl serde::Serialize) -> String {
    // Maps are sorted and fields stand in their order: equal values are equal texts. Serializing them cannot fail: they
    // are texts and numbers under textual keys; if it did, the digest is equal to none that is known.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let hash = Sha256::digest(&text);
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::SourceTime;
    use crate::stores::s3::known::Mark;
    use crate::stores::s3::object::Checksum;

    fn object(etag: &str) -> Object {
        Object {
            mark: Mark { etag: etag.into(), version: None, size: 3, modified: Some(SourceTime(1_000)) },
            ..Object::default()
        }
    }

    fn with(mut object: Object, algorithm: &'static str, value: &str, composite: bool) -> Object {
        object.checksum = Some(Checksum { algorithm, value: value.into(), composite });
        object
    }

    #[test]
    fn s3_2_provenance_decides_and_not_the_etags_of_both_ends() {
        let (source, target) = (object("a"), object("b"));
        let known = Known {
            source: source.mark.clone(),
            target: target.mark.clone(),
            headers: headers_digest(&source.headers),
            beside: beside_digest(&Beside::default()),
            versions: Vec::new(),
            deleted: false,
        };
        assert!(known_same(&known, &source, &target));
        assert!(!known_same(&known, &object("c"), &target), "the source has changed");
        assert!(!known_same(&known, &source, &object("c")), "somebody wrote in the standby");
        let mut renamed = source.clone();
        renamed.headers.content_type = Some("text/plain".into());
        assert!(!known_same(&known, &renamed, &target), "other headers");
        let mut again = source;
        again.mark.modified = Some(SourceTime(2_000));
        assert!(!known_same(&known, &again, &target), "the same bytes, written again: it may have other metadata");
    }

    #[test]
    fn s3_2_without_provenance_the_checksum_decides() {
        let (a, b) = (object("a"), object("b"));
        assert_eq!(same_bytes(&a, &b), None, "nothing is comparable: copy again");
        let full = |o: &Object, value| with(o.clone(), "CRC64NVME", value, false);
        assert_eq!(same_bytes(&full(&a, "1"), &full(&b, "1")), Some(true));
        assert_eq!(same_bytes(&full(&a, "1"), &full(&b, "2")), Some(false));
        assert_eq!(same_bytes(&full(&a, "1"), &with(b.clone(), "SHA256", "1", false)), None, "other algorithms");
        let parts = |o: &Object, value| with(o.clone(), "CRC32", value, true);
        assert_eq!(same_bytes(&parts(&a, "1-2"), &parts(&b, "1-2")), Some(true));
        assert_eq!(same_bytes(&parts(&a, "1-2"), &parts(&b, "1-3")), None, "cut otherwise");
        let mut longer = full(&b, "1");
        longer.mark.size = 4;
        assert_eq!(same_bytes(&full(&a, "1"), &longer), Some(false));
    }

    #[test]
    fn s3_f9_md5_etags_stand_in_for_a_checksum() {
        let md5 = |c: char| object(&c.to_string().repeat(32));
        assert_eq!(same_bytes(&md5('a'), &md5('a')), Some(true));
        assert_eq!(same_bytes(&md5('a'), &md5('b')), Some(false));
        let parts = object(&format!("{}-2", "a".repeat(32)));
        assert_eq!(same_bytes(&parts, &parts.clone()), Some(true));
        assert_eq!(same_bytes(&parts, &md5('b')), None);
        let mut kms = md5('a');
        kms.encrypted = Some("aws:kms".into());
        assert_eq!(same_bytes(&kms, &md5('b')), None);
    }

    #[test]
    fn metadata_counts_and_the_default_type_is_no_type() {
        let one = object(&"a".repeat(32));
        let mut typed = one.clone();
        typed.headers.content_type = Some("binary/octet-stream".into());
        assert_eq!(alike(&one, &typed), Likeness::Same);
        typed.headers.metadata.insert("k".into(), "v".into());
        assert_eq!(alike(&one, &typed), Likeness::Other);
    }
}
