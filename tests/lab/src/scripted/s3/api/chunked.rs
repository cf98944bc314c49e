//! The `aws-chunked` coding: chunks with their lengths, and trailers behind the last one. Signatures are not looked at.

use crate::scripted::model::error::AwsError;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

struct Cursor(VecDeque<Bytes>);

impl Cursor {
    /// A line without its end; `None` behind the last one.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let frame = self.0.front_mut()?;
            if let Some(end) = frame.iter().position(|byte| *byte == b'\n') {
                line.extend_from_slice(&frame.split_to(end + 1));
                break;
            }
            line.extend(self.0.pop_front()?);
        }
        let text = String::from_utf8(line).ok()?;
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The next bytes, as they are.
    fn take(&mut self, mut bytes: usize, into: &mut Vec<Bytes>) -> Option<()> {
        while bytes > 0 {
            let frame = self.0.front_mut()?;
            let now = bytes.min(frame.len());
            into.push(frame.split_to(now));
            if frame.is_empty() {
                self.0.pop_front();
            }
            bytes -= now;
        }
        Some(())
    }
}

/// The bytes themselves, and the trailers in small letters.
pub(super) fn decoded(frames: Vec<Bytes>) -> Result<(Vec<Bytes>, BTreeMap<String, String>), AwsError> {
    let incomplete = || AwsError::new(400, "IncompleteBody", "The request body terminated unexpectedly");
    let mut cursor = Cursor(frames.into());
    let (mut out, mut trailers) = (Vec::new(), BTreeMap::new());
    loop {
        let head = cursor.line().ok_or_else(incomplete)?;
        let length = head.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(length, 16).map_err(|_| incomplete())?;
        if length == 0 {
            break;
        }
        cursor.take(length, &mut out).ok_or_else(incomplete)?;
        if cursor.line().as_deref() != Some("") {
            return Err(incomplete());
        }
    }
    while let Some(line) = cursor.line() {
        if let Some((name, value)) = line.split_once(':') {
            trailers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    Ok((out, trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_found_wherever_the_frames_are_cut() {
        let text = "5;chunk-signature=x\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        for size in 1..text.len() {
            let frames: Vec<Bytes> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
            let (out, trailers) = decoded(frames).unwrap();
            assert_eq!(out.concat(), b"hello world");
            assert_eq!(trailers["x-amz-checksum-crc32"], "AAAA");
        }
        assert!(decoded(vec!["5\r\nhel".into()]).is_err());
    }
}
