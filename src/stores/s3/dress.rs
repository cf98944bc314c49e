//! What a copy wears: everything that is said of an object when it is written, besides its bytes.
//!
//! Storage class, encryption, redirect, access list and lock are not copied by S3 and are always said (S3-F7, S3-6); the
//! key of the source is never used. Nothing of ours stands in the customer's metadata.

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{ObjectLockLegalHoldStatus, ObjectLockMode, ServerSideEncryption, StorageClass};

use super::keys::tagging;
use super::object::{Beside, Headers, Object};
use super::settings::Carry;

/// What is said of an object when it is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Dress {
    pub(super) headers: Headers,
    pub(super) expires: Option<DateTime>,
    pub(super) class: Option<StorageClass>,
    pub(super) encryption: Option<ServerSideEncryption>,
    pub(super) kms_key: Option<String>,
    pub(super) tagging: Option<String>,
    pub(super) grants: Grants,
    pub(super) lock_mode: Option<ObjectLockMode>,
    pub(super) lock_until: Option<DateTime>,
    pub(super) hold: Option<ObjectLockLegalHoldStatus>,
}

/// Grants, by the header that says them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grants {
    pub(super) full: Option<String>,
    pub(super) read: Option<String>,
    pub(super) read_acp: Option<String>,
    pub(super) write_acp: Option<String>,
}

impl Dress {
    /// For a copy of `source`.
    pub(super) fn of(source: &Object, beside: &Beside, carry: &Carry) -> Self {
        let tags = beside.tags.as_ref().filter(|tags| !tags.is_empty());
        let lock = beside.lock.clone().unwrap_or_default();
        let headers = source.headers.clone();
        Self {
            expires: headers
                .expires
                .as_deref()
                .and_then(|text| DateTime::from_str(text, DateTimeFormat::HttpDate).ok()),
            headers,
            class: class(source.class.as_deref(), carry.storage_class.as_deref()),
            encryption: encryption(source, carry),
            kms_key: if source.kms() { carry.kms_key.clone() } else { None },
            tagging: tags.map(tagging),
            grants: beside.grants.as_deref().map(Grants::of).unwrap_or_default(),
            lock_mode: lock.mode.as_deref().map(ObjectLockMode::from),
            lock_until: lock.until.map(|until| DateTime::from_millis(until.0)),
            hold: lock.hold.then_some(ObjectLockLegalHoldStatus::On),
        }
    }

    /// The Expires header where it is no date: the SDK writes dates only, and S3 keeps what it was given.
    pub(super) fn raw_expires(&self) -> Option<String> {
        if self.expires.is_some() { None } else { self.headers.expires.clone() }
    }
}

impl Grants {
    /// From `who` to `permission`.
    pub(super) fn of(grants: &[(String, String)]) -> Self {
        let of = |wanted: &str| {
            let who: Vec<&str> =
                grants.iter().filter(|(_, what)| what == wanted).map(|(who, _)| who.as_str()).collect();
            (!who.is_empty()).then(|| who.join(","))
        };
        Self { full: of("FULL_CONTROL"), read: of("READ"), read_acp: of("READ_ACP"), write_acp: of("WRITE_ACP") }
    }
}

/// The storage class: the configured one, else the source's if an object can be written in it. The standard class is not
/// said: it is what S3 takes.
fn class(source: Option<&str>, configured: Option<&str>) -> Option<StorageClass> {
    // Those belong to a place or a service; the standby's bucket has none of them.
    let bound = ["OUTPOSTS", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP"];
    let class = configured.or(source.filter(|class| !bound.contains(class)))?;
    (class != "STANDARD" && !class.starts_with("AWS_BACKUP")).then(|| StorageClass::from(class))
}

/// How it is encrypted: as the source's where a key of the standby is named for it, else as the bucket says (S3-6).
fn encryption(source: &Object, carry: &Carry) -> Option<ServerSideEncryption> {
    carry.kms_key.as_ref().filter(|_| source.kms())?;
    source.encrypted.as_deref().map(ServerSideEncryption::from)
}

/// Whether the standby's object has the class and the encryption that a copy of the source's would have.
pub(super) fn wears(source: &Object, target: &Object, carry: &Carry) -> bool {
    let wanted = class(source.class.as_deref(), carry.storage_class.as_deref());
    let encrypted = encryption(source, carry).is_none_or(|wanted| target.encrypted.as_deref() == Some(wanted.as_str()));
    wanted.as_ref().map(StorageClass::as_str) == target.class.as_deref().filter(|class| *class != "STANDARD")
        && encrypted
}

/// Says, in any request that writes an object, what S3 copies by no way of its own.
macro_rules! dressed {
    ($request:expr, $dress:expr) => {{
        let dress: &$crate::stores::s3::dress::Dress = $dress;
        $request
            .set_storage_class(dress.class.clone())
            .set_server_side_encryption(dress.encryption.clone())
            .set_ssekms_key_id(dress.kms_key.clone())
            .set_website_redirect_location(dress.headers.redirect.clone())
            .set_tagging(dress.tagging.clone())
            .set_grant_full_control(dress.grants.full.clone())
            .set_grant_read(dress.grants.read.clone())
            .set_grant_read_acp(dress.grants.read_acp.clone())
            .set_grant_write_acp(dress.grants.write_acp.clone())
            .set_object_lock_mode(dress.lock_mode.clone())
            .set_object_lock_retain_until_date(dress.lock_until)
            .set_object_lock_legal_hold_status(dress.hold.clone())
    }};
}
pub(super) use dressed;

/// Says, in a request that writes an object anew, the content headers and the user metadata.
macro_rules! headed {
    ($request:expr, $dress:expr) => {{
        let dress: &$crate::stores::s3::dress::Dress = $dress;
        let headers = &dress.headers;
        let metadata = headers.metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        $request
            .set_cache_control(headers.cache_control.clone())
            .set_content_disposition(headers.content_disposition.clone())
            .set_content_encoding(headers.content_encoding.clone())
            .set_content_language(headers.content_language.clone())
            .set_content_type(headers.content_type.clone())
            .set_expires(dress.expires)
            .set_metadata(Some(metadata))
    }};
}
pub(super) use headed;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::s3::object::Lock;

    fn carry() -> Carry {
        let (tags, acl, lock, annotations) = (true, true, true, false);
        Carry { tags, acl, lock, annotations, storage_class: None, kms_key: None }
    }

    #[test]
    fn s3_6_the_key_of_the_source_is_never_used() {
        let kms = Object { encrypted: Some("aws:kms".into()), ..Object::default() };
        let dress = Dress::of(&kms, &Beside::default(), &carry());
        assert_eq!((dress.encryption, dress.kms_key), (None, None), "the bucket's default");
        let ours = Carry { kms_key: Some("arn:y".into()), ..carry() };
        let dress = Dress::of(&kms, &Beside::default(), &ours);
        assert_eq!(dress.encryption, Some(ServerSideEncryption::AwsKms));
        assert_eq!(dress.kms_key.as_deref(), Some("arn:y"));
        let plain = Object { encrypted: Some("AES256".into()), ..Object::default() };
        assert_eq!(Dress::of(&plain, &Beside::default(), &ours).kms_key, None);
    }

    #[test]
    fn s3_f7_the_storage_class_is_the_sources_unless_configured() {
        assert_eq!(class(Some("STANDARD_IA"), None), Some(StorageClass::StandardIa));
        assert_eq!(class(None, None), None);
        assert_eq!(class(Some("OUTPOSTS"), None), None);
        assert_eq!(class(Some("STANDARD_IA"), Some("GLACIER_IR")), Some(StorageClass::GlacierIr));
        assert_eq!(class(Some("STANDARD_IA"), Some("STANDARD")), None);
    }

    #[test]
    fn a_copy_that_would_be_of_another_class_or_encryption_does_not_wear_it() {
        let of = |class: &str, encrypted: &str| Object {
            class: Some(class.into()),
            encrypted: Some(encrypted.into()),
            ..Object::default()
        };
        let plain = Object::default();
        assert!(wears(&plain, &of("STANDARD", "AES256"), &carry()));
        assert!(!wears(&of("STANDARD_IA", "AES256"), &plain, &carry()));
        assert!(wears(&of("STANDARD_IA", "AES256"), &of("STANDARD_IA", "aws:kms"), &carry()), "as its bucket says");
        let configured = Carry { storage_class: Some("GLACIER_IR".into()), kms_key: Some("arn:y".into()), ..carry() };
        assert!(wears(&plain, &of("GLACIER_IR", "AES256"), &configured));
        assert!(!wears(&of("STANDARD", "aws:kms"), &of("GLACIER_IR", "AES256"), &configured));
        assert!(wears(&of("STANDARD", "aws:kms"), &of("GLACIER_IR", "aws:kms"), &configured));
    }

    #[test]
    fn grants_and_locks_are_said_by_their_headers() {
        let grants = [("id=\"a\"", "FULL_CONTROL"), ("id=\"b\"", "READ"), ("uri=\"all\"", "READ")];
        let beside = Beside {
            tags: Some([("a".to_owned(), "b c".to_owned())].into()),
            grants: Some(grants.map(|(who, what)| (who.to_owned(), what.to_owned())).to_vec()),
            lock: Some(Lock { mode: None, until: None, hold: true }),
            annotations: None,
        };
        let dress = Dress::of(&Object::default(), &beside, &carry());
        assert_eq!(dress.grants.full.as_deref(), Some("id=\"a\""));
        assert_eq!(dress.grants.read.as_deref(), Some("id=\"b\",uri=\"all\""));
        assert_eq!(dress.tagging.as_deref(), Some("a=b%20c"));
        assert_eq!(dress.hold, Some(ObjectLockLegalHoldStatus::On));
    }

    #[test]
    fn an_expires_that_is_no_date_is_kept() {
        let mut object = Object::default();
        object.headers.expires = Some("0".into());
        let dress = Dress::of(&object, &Beside::default(), &carry());
        assert_eq!((dress.expires, dress.raw_expires().as_deref()), (None, Some("0")));
        object.headers.expires = Some("Thu, 01 Dec 1994 16:00:00 GMT".into());
        let dress = Dress::of(&object, &Beside::default(), &carry());
        assert!(dress.expires.is_some() && dress.raw_expires().is_none());
    }
}
