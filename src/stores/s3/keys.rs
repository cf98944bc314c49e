//! A key of the spine is the raw bytes of an object's key: UTF-8, as S3 has it. What S3 wants to have encoded is encoded
//! here and nowhere else (S3-F4).

use std::fmt::Write as _;

use crate::change::Key;

/// The object key; `None` if it is not one that can be asked for: S3's are UTF-8, of 1 to 1,024 bytes, and the SDK sends
/// none of blanks alone.
pub(super) fn object_key(key: &Key) -> Option<&str> {
    std::str::from_utf8(&key.0).ok().filter(|key| !key.trim().is_empty() && key.len() <= 1024)
}

/// What `x-amz-copy-source` says: bucket and key percent-encoded byte by byte but for what is unreserved and `/`, and the
/// version behind them, which is a query of the encoded name and no part of it.
pub(super) fn copy_source(bucket: &str, key: &str, version: Option<&str>) -> String {
    let mut text = String::with_capacity(bucket.len() + key.len() + 80);
    encode(bucket, true, &mut text);
    text.push('/');
    encode(key, true, &mut text);
    if let Some(version) = version {
        text.push_str("?versionId=");
        encode(version, false, &mut text);
    }
    text
}

/// Tags as `x-amz-tagging` wants them: a query string.
pub(super) fn tagging<'a>(tags: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut text = String::new();
    for (name, value) in tags {
        if !text.is_empty() {
            text.push('&');
        }
        encode(name, false, &mut text);
        text.push('=');
        encode(value, false, &mut text);
    }
    text
}

/// A key as a listing with `encoding-type=url` gives it: a form's encoding, where a blank is `+`.
pub(super) fn unquoted(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = behind.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = behind;
            }
            _ => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    bytes
}

fn encode(text: &str, slashes: bool, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            b'/' if slashes => into.push('/'),
            // Writing to a string cannot fail.
            _ => write!(into, "%{byte:02X}").unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_f4_a_copy_source_is_encoded_by_us_and_its_version_stands_behind() {
        assert_eq!(copy_source("b", "a b", None), "b/a%20b");
        assert_eq!(copy_source("b", "a+b/c%2Bd", None), "b/a%2Bb/c%252Bd");
        assert_eq!(copy_source("b", "é\u{1}\n?versionId=x", None), "b/%C3%A9%01%0A%3FversionId%3Dx");
        assert_eq!(copy_source("b", "k", Some("3/L4+=")), "b/k?versionId=3%2FL4%2B%3D");
        assert_eq!(copy_source("b", "k", Some("null")), "b/k?versionId=null");
        assert_eq!(copy_source("b", "//a/../b", None), "b///a/../b", "what looks like a path is none");
    }

    #[test]
    fn a_listing_gives_keys_in_the_encoding_of_a_form() {
        assert_eq!(unquoted("a+b%2Bc%25"), b"a b+c%");
        assert_eq!(unquoted("%C3%A9%0A/x"), "é\n/x".as_bytes());
        assert_eq!(unquoted("100%"), b"100%", "not encoded: as it is");
        assert_eq!(unquoted("%zz"), b"%zz");
    }

    #[test]
    fn tags_are_a_query_string() {
        let tags = [("a b".to_owned(), "1&2".to_owned()), ("k".to_owned(), String::new())];
        assert_eq!(tagging(tags.iter().map(|(n, v)| (n, v))), "a%20b=1%262&k=");
    }

    #[test]
    fn a_key_is_utf8_of_at_most_1024_bytes() {
        let key = |bytes: Vec<u8>| Key(bytes.into());
        assert_eq!(object_key(&key(b"a".to_vec())), Some("a"));
        assert!(object_key(&key(vec![b'a'; 1024])).is_some());
        assert!(object_key(&key(vec![b'a'; 1025])).is_none());
        assert!(object_key(&key(Vec::new())).is_none());
        assert!(object_key(&key(b" \n".to_vec())).is_none());
        assert!(object_key(&key(vec![0xff])).is_none());
    }
}
