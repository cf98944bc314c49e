//! Files without a name that hold what does not fit into memory: whatever ends the process, nothing of them is left.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::coalesce::KeyId;
use super::lost::Lost;
use crate::change::SourceTime;
use crate::stores::salvage::{Digest, Image, Origin};

/// Files: so that each of them, for ten million keys of a kilobyte, is read back in three passes of the buffer.
const FILES: usize = 64;
/// One record, at most: an item of 400 KB in base 64 with its steps is far below. What is longer is damage.
const MOST_RECORD: usize = 64 << 20;

/// A record as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    i: KeyId,
    n: String,
    b: Option<[u8; 16]>,
    s: Vec<([u8; 16], Option<i64>)>,
    j: Option<(String, [u8; 16])>,
    f: Option<i64>,
    l: Option<i64>,
    c: u64,
    o: Origin,
    x: bool,
}

impl Kept {
    fn of(id: &KeyId, lost: &Lost) -> Self {
        Self {
            i: *id,
            n: lost.name.clone(),
            b: lost.before.map(|d| d.0),
            s: lost.steps.iter().map(|(digest, at)| (digest.0, at.map(|t| t.0))).collect(),
            j: lost.image.as_ref().map(|image| (image.json.clone(), image.digest.0)),
            f: lost.first.map(|t| t.0),
            l: lost.last.map(|t| t.0),
            c: lost.changes,
            o: lost.origin,
            x: lost.expired,
        }
    }

    fn back(self) -> (KeyId, Lost) {
        let lost = Lost {
            name: self.n,
            before: self.b.map(Digest),
            steps: self.s.into_iter().map(|(digest, at)| (Digest(digest), at.map(SourceTime))).collect(),
            image: self.j.map(|(json, digest)| Image { json, digest: Digest(digest) }),
            first: self.f.map(SourceTime),
            last: self.l.map(SourceTime),
            changes: self.c,
            origin: self.o,
            expired: self.x,
        };
        (self.i, lost)
    }
}

/// The files.
pub(super) struct Spill {
    files: Vec<(BufWriter<File>, u64)>,
    bytes: u64,
}

impl Spill {
    /// Makes the files and takes their names away.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        let mut files = Vec::with_capacity(FILES);
        for number in 0..FILES {
            let path = folder.join(format!("salvage-{number:02}.tmp"));
            let mut options = File::options();
            // A name that a process left behind when it was killed between these two calls is used again.
            let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            std::fs::remove_file(&path)?;
            files.push((BufWriter::with_capacity(32 << 10, file), 0));
        }
        Ok(Self { files, bytes: 0 })
    }

    /// Bytes in all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many files there are.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Bytes in one file.
    pub(super) fn bytes_of(&self, file: usize) -> u64 {
        self.files.get(file).map_or(0, |(_, bytes)| *bytes)
    }

    /// Adds a record to the file of its key.
    pub(super) fn write(&mut self, id: &KeyId, lost: &Lost) -> io::Result<()> {
        let text = serde_json::to_vec(&Kept::of(id, lost)).map_err(io::Error::other)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        let at = usize::from(id[0]) % self.files.len();
        let (file, bytes) = &mut self.files[at];
        file.write_all(&length.to_be_bytes())?;
        file.write_all(&text)?;
        *bytes += text.len() as u64 + 4;
        self.bytes += text.len() as u64 + 4;
        Ok(())
    }

    /// Everything written is in the files.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.files.iter_mut().try_for_each(|(file, _)| file.flush())
    }

    /// Reads one file, of its keys those whose `spread` belongs to this pass.
    pub(super) fn read(
        &mut self,
        file: usize,
        spread: impl Fn(&KeyId) -> u64,
        pass: u64,
        passes: u64,
        mut take: impl FnMut(KeyId, Lost),
    ) -> io::Result<()> {
        let Some((writer, bytes)) = self.files.get_mut(file) else { return Ok(()) };
        let mut left = *bytes;
        writer.get_mut().seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(256 << 10, writer.get_mut());
        while left > 0 {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            if length > MOST_RECORD {
                return Err(io::Error::other("a file of salvage is damaged"));
            }
            let mut text = vec![0; length];
            reader.read_exact(&mut text)?;
            left = left.saturating_sub(length as u64 + 4);
            let (id, lost) = serde_json::from_slice::<Kept>(&text).map_err(io::Error::other)?.back();
            if spread(&id) % passes.max(1) == pass {
                take(id, lost);
            }
        }
        Ok(())
    }
}
